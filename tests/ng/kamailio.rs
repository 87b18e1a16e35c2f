//! A stock Kamailio with its own rtpengine module: SIPp, baresip and phones of our own around it, calls relayed and
//! converted. The script is the same for both proxies; only the address in it differs.

use crate::stand::kamailio::{Kamailio, USUAL};
use crate::stand::{Make, Proxy, Setup, audio, of_codecs, scenarios};
use crate::support::baresip::{Abilities, Baresip, share_at};
use crate::support::softphone::{Message, Softphone};
use crate::support::talker::{PCMA, PCMU, Talker};
use crate::support::wire::Wire;
use crate::support::{Ear, Net, Role, SOON, Sipp, wait_for};
use serde_json::json;
use std::net::{IpAddr, SocketAddr};

scenarios! {
    sipp_calls_are_relayed,
    sipp_sends_media_back,
    baresip_calls_are_relayed,
    baresip_calls_are_converted,
    phones_of_two_codecs_hear_each_other,
    early_media_comes_before_the_answer,
    an_offer_may_be_late,
    a_call_can_be_held,
    a_cancelled_call_is_deleted,
    a_refused_call_is_deleted,
    kamailio_reads_scores_and_totals,
}

const CALLER: &str = "
    > INVITE sdp
    < 180 nosdp
    < 200 sdp
    > ACK
    pause 600
    > BYE
    < 200
";
const CALLEE: &str = "
    < INVITE sdp
    > 180
    > 200 sdp
    < ACK
    < BYE
    > 200
";

fn party(proxy: &Proxy, kamailio: &Kamailio, role: Role, ladder: &str) -> crate::support::sipp::Setup {
    let n = if role == Role::Uac { 2 } else { 3 };
    Sipp::setup(role, ladder, SocketAddr::from((proxy.net.ip(n), 5060)), kamailio.sip)
}

/// The proxy has no call any more.
fn is_idle(proxy: &Proxy) {
    let ng = proxy.ng();
    wait_for("the last call to be deleted", SOON, || {
        (ng.does(&json!({"command": "list"}))["calls"] == json!([])).then_some(())
    });
}

fn sipp_calls_are_relayed(proxy: &Proxy) {
    if crate::support::peer("sipp").is_none() {
        return;
    }
    let Some(kamailio) = Kamailio::start(&[proxy], USUAL, USUAL) else { return };
    let (a, b) = (Ear::at(proxy.net.ip(2)), Ear::at(proxy.net.ip(3)));
    let callee = party(proxy, &kamailio, Role::Uas, CALLEE).ear(&b).start();
    let caller = party(proxy, &kamailio, Role::Uac, CALLER).ear(&a).start();
    let (to_a, to_b) = (caller.media_of("200"), callee.media_of("INVITE"));
    assert_eq!((to_a.ip(), to_b.ip()), (proxy.ip(), proxy.ip()));
    a.is_heard_by(&b, to_a, 1);
    b.is_heard_by(&a, to_b, 2);
    Sipp::all_pass([caller, callee]);
    is_idle(proxy);
}

fn sipp_sends_media_back(proxy: &Proxy) {
    if crate::support::peer("sipp").is_none() {
        return;
    }
    let Some(kamailio) = Kamailio::start(&[proxy], USUAL, USUAL) else { return };
    let a = Ear::at(proxy.net.ip(2));
    let callee = party(proxy, &kamailio, Role::Uas, CALLEE).with(&["-rtp_echo"]).start();
    let caller = party(proxy, &kamailio, Role::Uac, CALLER).ear(&a).start();
    let to_a = caller.media_of("200");
    wait_for("ten packets to come back", SOON, || {
        a.say(to_a, 7);
        (a.heard(7) >= 10).then_some(())
    });
    Sipp::all_pass([caller, callee]);
    is_idle(proxy);
}

/// Two phones with these codecs, through a script with these flags in its offers.
fn phones_talk(proxy: &Proxy, of_a: &str, of_b: &str, offer: &str) {
    const TONES: [f64; 2] = [440.0, 800.0];
    let phone = |n, user, tone, callee, codecs| {
        Baresip::with(proxy.net.ip(n), user, tone, callee, Abilities { codecs, ..Abilities::default() })
    };
    let Some(mut a) = phone(2, "2001", TONES[0], false, of_a) else { return };
    let Some(mut b) = phone(3, "15550100", TONES[1], true, of_b) else { return };
    let Some(kamailio) = Kamailio::start(&[proxy], offer, USUAL) else { return };
    a.order("dial", &format!("sip:15550100@{}", kamailio.sip));
    a.expect("CALL_ESTABLISHED");
    b.expect("CALL_ESTABLISHED");
    let ng = proxy.ng();
    let call = wait_for("the call", SOON, || {
        ng.does(&json!({"command": "list"}))["calls"][0].as_str().map(str::to_owned)
    });
    wait_for("a second of speech both ways", SOON, || {
        let reply = ng.does(&json!({"command": "query", "call-id": call}));
        let heard = |party: &serde_json::Value| {
            party["medias"][0]["streams"][0]["stats"]["packets"].as_i64().is_some_and(|n| n >= 70)
        };
        let parties = reply["tags"].as_object().expect("parties");
        (parties.len() == 2 && parties.values().all(heard)).then_some(())
    });
    a.order("hangup", "");
    b.expect("CALL_CLOSED");
    is_idle(proxy);
    for (phone, own, other) in [(&a, TONES[0], TONES[1]), (&b, TONES[1], TONES[0])] {
        let heard = wait_for("a second of recording", SOON, || {
            Some(phone.recording()).filter(|heard| heard.samples.len() >= heard.rate as usize)
        });
        let tail = &heard.samples[heard.samples.len() - heard.rate as usize * 6 / 10..];
        let (wanted, unwanted) = (share_at(heard.rate, tail, other), share_at(heard.rate, tail, own));
        assert!(wanted > 0.8, "{wanted:.3} of the power is the other's tone, {unwanted:.3} its own");
    }
}

fn baresip_calls_are_relayed(proxy: &Proxy) {
    phones_talk(proxy, "PCMU/8000", "PCMU/8000", USUAL);
}

fn baresip_calls_are_converted(proxy: &Proxy) {
    phones_talk(proxy, "PCMU/8000", "PCMA/8000", &format!("{USUAL} codec-mask-PCMU codec-transcode-PCMA"));
}

/// A caller and a callee of our own.
fn phones(proxy: &Proxy) -> (Softphone, Softphone) {
    let at = |n| Softphone::at((proxy.net.ip(n), 5060));
    (at(2), at(3))
}

fn phones_of_two_codecs_hear_each_other(proxy: &Proxy) {
    let flags = format!("{USUAL} codec-transcode-PCMA");
    let Some(kamailio) = Kamailio::start(&[proxy], &flags, USUAL) else { return };
    let (phone_a, phone_b) = phones(proxy);
    let (mut a, mut b) = (Talker::at(proxy.net.ip(2)), Talker::at(proxy.net.ip(3)));
    let (offer, answer) = (of_codecs(a.address(), &[PCMU]), of_codecs(b.address(), &[PCMA]));
    let mut call = phone_a.connect(&phone_b, kamailio.sip, "15550100", &offer, &answer);
    assert!(call.offered.body().contains("RTP/AVP 0 8"), "{}", call.offered.text);
    assert!(call.answered.body().contains("RTP/AVP 0\r\n"), "{}", call.answered.text);
    a.say_tone(call.answered.media(0), PCMU, 440.0);
    b.say_tone(call.offered.media(0), PCMA, 800.0);
    for (talker, codec, hz) in [(&a, PCMU, 800.0), (&b, PCMA, 440.0)] {
        let heard = talker.listen(codec);
        assert!(share_at(8_000, &heard[heard.len() / 2..], hz) > 0.9, "{hz} Hz is heard");
    }
    phone_a.hang_up(&mut call.a, &phone_b);
    is_idle(proxy);
}

/// Ten packets each way.
fn talk(a: &Wire, b: &Wire, at: &[SocketAddr; 2]) {
    crate::stand::passes(a, at[0], b, at[1], 10);
    crate::stand::passes(b, at[1], a, at[0], 10);
}

fn early_media_comes_before_the_answer(proxy: &Proxy) {
    let Some(kamailio) = Kamailio::start(&[proxy], USUAL, USUAL) else { return };
    let ((phone_a, phone_b), pair) = (phones(proxy), proxy.pair());
    let mut dialog = phone_a.invite(kamailio.sip, "15550100", &audio(pair.a.address()));
    let offered = phone_b.expect("INVITE");
    phone_b.answer(&offered, 183, &audio(pair.b.address()));
    let early = phone_a.expect("183 INVITE");
    talk(&pair.a, &pair.b, &[early.media(0), offered.media(0)]);
    phone_b.answer(&offered, 200, &audio(pair.b.address()));
    let answered = phone_a.expect("200 INVITE");
    assert_eq!(answered.media(0), early.media(0));
    phone_a.ack(&mut dialog, &answered);
    phone_b.expect("ACK");
    talk(&pair.a, &pair.b, &[answered.media(0), offered.media(0)]);
    phone_a.hang_up(&mut dialog, &phone_b);
    is_idle(proxy);
}

fn an_offer_may_be_late(proxy: &Proxy) {
    let Some(kamailio) = Kamailio::start(&[proxy], USUAL, USUAL) else { return };
    let ((phone_a, phone_b), pair) = (phones(proxy), proxy.pair());
    let mut dialog = phone_a.invite(kamailio.sip, "15550100", "");
    let asked = phone_b.expect("INVITE");
    phone_b.answer(&asked, 200, &audio(pair.b.address()));
    let offered = phone_a.expect("200 INVITE");
    assert_eq!(offered.media(0).ip(), proxy.ip());
    offered.header("To").clone_into(&mut dialog.remote);
    offered.header("Contact").trim_matches(['<', '>']).clone_into(&mut dialog.target);
    phone_a.request(&mut dialog, "ACK", &audio(pair.a.address()));
    let answered: Message = phone_b.expect("ACK");
    assert_eq!(answered.media(0).ip(), proxy.ip());
    talk(&pair.a, &pair.b, &[offered.media(0), answered.media(0)]);
    phone_a.hang_up(&mut dialog, &phone_b);
    is_idle(proxy);
}

fn a_call_can_be_held(proxy: &Proxy) {
    let Some(kamailio) = Kamailio::start(&[proxy], USUAL, USUAL) else { return };
    let ((phone_a, phone_b), pair) = (phones(proxy), proxy.pair());
    let (offer, answer) = (audio(pair.a.address()), audio(pair.b.address()));
    let mut call = phone_a.connect(&phone_b, kamailio.sip, "15550100", &offer, &answer);
    let at = [call.answered.media(0), call.offered.media(0)];
    talk(&pair.a, &pair.b, &at);
    let with = |sdp: &str, direction: &str| sdp.replace("a=sendrecv", direction);
    let (held, hears) =
        phone_a.reinvite(&mut call.a, &phone_b, &with(&offer, "a=sendonly"), &with(&answer, "a=recvonly"));
    assert!(held.body().contains("a=sendonly") && hears.body().contains("a=recvonly"), "{}", held.text);
    assert_eq!([hears.media(0), held.media(0)], at);
    let (again, answered) = phone_a.reinvite(&mut call.a, &phone_b, &offer, &answer);
    assert_eq!([answered.media(0), again.media(0)], at);
    talk(&pair.a, &pair.b, &at);
    phone_a.hang_up(&mut call.a, &phone_b);
    is_idle(proxy);
}

fn a_cancelled_call_is_deleted(proxy: &Proxy) {
    let Some(kamailio) = Kamailio::start(&[proxy], USUAL, USUAL) else { return };
    let ((phone_a, phone_b), pair) = (phones(proxy), proxy.pair());
    let mut dialog = phone_a.invite(kamailio.sip, "15550100", &audio(pair.a.address()));
    let offered = phone_b.expect("INVITE");
    phone_b.answer(&offered, 180, "");
    phone_a.expect("180 INVITE");
    phone_a.request(&mut dialog, "CANCEL", "");
    let cancel = phone_b.expect("CANCEL");
    phone_b.answer(&cancel, 200, "");
    phone_b.answer(&offered, 487, "");
    let refusal = phone_a.expect("487 INVITE");
    phone_a.ack_refusal(&mut dialog, &refusal);
    is_idle(proxy);
}

fn a_refused_call_is_deleted(proxy: &Proxy) {
    let Some(kamailio) = Kamailio::start(&[proxy], USUAL, USUAL) else { return };
    let ((phone_a, phone_b), pair) = (phones(proxy), proxy.pair());
    let mut dialog = phone_a.invite(kamailio.sip, "15550100", &audio(pair.a.address()));
    let offered = phone_b.expect("INVITE");
    phone_b.answer(&offered, 486, "");
    let refusal = phone_a.expect("486 INVITE");
    phone_a.ack_refusal(&mut dialog, &refusal);
    is_idle(proxy);
}

fn kamailio_reads_scores_and_totals(proxy: &Proxy) {
    let flags = format!("{USUAL} label=caller");
    let Some(kamailio) = Kamailio::start(&[proxy], &flags, USUAL) else { return };
    let ((phone_a, phone_b), pair) = (phones(proxy), proxy.pair());
    let (offer, answer) = (audio(pair.a.address()), audio(pair.b.address()));
    let mut call = phone_a.connect(&phone_b, kamailio.sip, "15550100", &offer, &answer);
    let at = [call.answered.media(0), call.offered.media(0)];
    crate::reports::speak_with_reports(&pair, at, 4);
    phone_a.hang_up(&mut call.a, &phone_b);
    let stat = kamailio.wait_told("stat");
    assert!(
        stat.contains("160 packets") && stat.to_lowercase().contains("packets"),
        "packets of RTP: {stat}"
    );
    let scores = kamailio.wait_told("mos");
    let of = |key: &str| {
        let value =
            scores.split(' ').find_map(|word| word.strip_prefix(&format!("{key}="))).unwrap_or_default();
        value.parse::<f64>().unwrap_or_else(|_| panic!("{key} in: {scores}"))
    };
    for key in ["average", "min", "max", "of_a"] {
        assert!((4.0..=4.5).contains(&of(key)), "{key} in: {scores}");
    }
    assert_eq!(of("packetloss"), 0.0, "{scores}");
    assert!(of("samples") >= 1.0 && of("roundtrip") >= 0.0 && of("jitter") <= 20.0, "{scores}");
    is_idle(proxy);
}

/// The first proxy is full: calls go to the second one.
fn fails_over(make: Make) {
    let full = Setup { calls: Some(1), ..Setup::default() };
    let Some(first) = Proxy::start(make, &full) else { return };
    let Some(second) = Proxy::start_at(Net::new(), make, &Setup::default()) else { return };
    let (taken, pair) = (first.call(), first.pair());
    taken.connect(&pair);
    let Some(kamailio) = Kamailio::start(&[&first, &second], USUAL, USUAL) else { return };
    let (phone_a, phone_b) = phones(&first);
    let second_ip: IpAddr = second.ip();
    for _ in 0..4 {
        let (offer, answer) = (audio(pair.a.address()), audio(pair.b.address()));
        let mut call = phone_a.connect(&phone_b, kamailio.sip, "15550100", &offer, &answer);
        let at = [call.answered.media(0), call.offered.media(0)];
        assert_eq!(at.map(|at| at.ip()), [second_ip; 2]);
        talk(&pair.a, &pair.b, &at);
        phone_a.hang_up(&mut call.a, &phone_b);
    }
    is_idle(&second);
    taken.delete();
    is_idle(&first);
}

#[test]
fn strowger_that_is_full_is_passed_over() {
    fails_over(Make::Strowger);
}

#[test]
fn rtpengine_that_is_full_is_passed_over() {
    fails_over(Make::Rtpengine);
}
