//! Media that is encrypted on one side, on both, or where the other can (S0-13; media.md "SRTP by SDES").

use crate::support::baresip::{Abilities, Baresip, share_at};
use crate::support::capture::Capture;
use crate::support::duet::{Duet, assert_tone, config, media_line};
use crate::support::softphone::Message;
use crate::support::talker::{PCMU, Talker, decode, description, opened};
use crate::support::{Engine, Net, SOON, wait_for};
use command::{SdesKeys, Suite};
use sdp::crypto::CryptoLine;
use std::collections::BTreeSet;

const TONE_A: u32 = 440;
const TONE_B: u32 = 800;

/// A real phone calls another, each with encryption of its own kind.
fn phones(back_end: &str, (of_a, pbx): (&str, &str), (of_b, carrier): (&str, &str)) {
    let net = Net::new();
    let phone = |n, user, tone, callee, encryption| {
        let abilities = Abilities { encryption, ..Abilities::default() };
        Baresip::with(net.ip(n), user, f64::from(tone), callee, abilities)
    };
    let Some(mut a) = phone(2, "2001", TONE_A, false, of_a) else { return };
    let Some(mut b) = phone(3, "15550100", TONE_B, true, of_b) else { return };
    let Some(capture) = Capture::start(&net) else { return };
    let engine = Engine::start(&net.fill(&config(back_end, &srtp(pbx), &srtp(carrier))));
    a.order("dial", &format!("sip:15550100@{}", engine.sip(0)));
    a.expect("CALL_ESTABLISHED");
    b.expect("CALL_ESTABLISHED");
    let id = engine.wait_call("answered");
    let sent = |leg: usize| {
        engine.json(&format!("/v1/calls/{id}"))["legs"][leg]["media"][0]["sent"]["packets"]
            .as_u64()
            .unwrap_or(0)
    };
    wait_for("speech both ways", SOON, || (sent(0) >= 80 && sent(1) >= 80).then_some(()));
    // A phone may send from any loopback address, so that its packets are known by our ports.
    let call = engine.json(&format!("/v1/calls/{id}"));
    let ports = [0, 1].map(|leg| {
        let local = call["legs"][leg]["media"][0]["local"].as_str().expect("an address");
        local.rsplit(':').next().expect("a port").to_owned()
    });
    a.order("hangup", "");
    b.expect("CALL_CLOSED");
    engine.wait_idle();
    for (who, phone, wanted) in [("A", &a, TONE_B), ("B", &b, TONE_A)] {
        let heard = wait_for("a second of recording", SOON, || {
            Some(phone.recording()).filter(|heard| heard.samples.len() >= heard.rate as usize)
        });
        assert_tone(who, heard.rate, &heard.samples, wanted);
    }
    // What tshark has seen on either side: the tone in the clear, or nothing but noise.
    let fields = ["udp.srcport", "udp.dstport", "udp.payload"];
    let mut rows = capture.read("udp && !sip && udp.length > 170", &fields);
    rows.retain(|row| row[2].starts_with("8000") || row[2].starts_with("8080"));
    let sides = [(0, of_a, pbx, TONE_A, TONE_B), (1, of_b, carrier, TONE_B, TONE_A)];
    for (leg, ability, policy, says, hears) in sides {
        let is_encrypted = !ability.is_empty() && policy != "never";
        let port = &ports[leg];
        for (at, tone) in [(1, says), (0, hears)] {
            let packets = rows.iter().filter(|row| row[at] == *port).map(|row| bytes(&row[2]));
            let coded: Vec<u8> = packets.flat_map(|packet| packet[12..172].to_vec()).collect();
            assert!(coded.len() >= 50 * 160, "{} bytes on leg {leg}, field {at}", coded.len());
            let mut speech = vec![0; coded.len()];
            codec::g711::decode_ulaw(&coded, &mut speech);
            let share = share_at(8_000, &speech[speech.len() / 2..], f64::from(tone));
            assert_eq!(
                share < 0.1,
                is_encrypted,
                "leg {leg}, field {at}: {share:.3} of the power is the tone"
            );
        }
    }
}

fn srtp(policy: &str) -> String {
    if policy.is_empty() { String::new() } else { format!("srtp = \"{policy}\"") }
}

/// From hexadecimal digits, with or without colons.
fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks_exact(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

#[test]
fn one_phone_encrypts_and_the_other_does_not_on_epoll() {
    phones("epoll", ("srtp-mand", "required"), ("", "never"));
}

#[test]
fn one_phone_encrypts_and_the_other_does_not_on_uring() {
    phones("uring", ("", "never"), ("srtp-mand", "required"));
}

#[test]
fn both_phones_encrypt_on_epoll() {
    phones("epoll", ("srtp-mand", "required"), ("srtp-mand", "required"));
}

#[test]
fn both_phones_encrypt_on_uring() {
    phones("uring", ("srtp", "optional"), ("srtp-mand", "required"));
}

#[test]
fn encryption_is_used_where_the_phone_can_on_epoll() {
    phones("epoll", ("srtp", "optional"), ("", "optional"));
}

#[test]
fn encryption_is_used_where_the_phone_can_on_uring() {
    phones("uring", ("", "optional"), ("srtp", "optional"));
}

/// A key that is the same in every run.
fn key(suite: Suite, seed: u8) -> SdesKeys {
    let len = suite.key_len() + suite.salt_len();
    SdesKeys { suite, key: (0..len).map(|n| seed ^ (n as u8).wrapping_mul(37)).collect(), mki: Vec::new() }
}

/// SDP of a phone that encrypts with this key.
fn sealed(media: &Talker, profile: &str, tag: u32, keys: &SdesKeys) -> String {
    let mut value = Vec::new();
    CryptoLine { tag, keys: keys.clone() }.write(&mut value);
    let text = description(media.address(), profile, &[PCMU], &[]);
    format!("{text}a=crypto:{}\r\n", String::from_utf8(value).expect("base64"))
}

/// The lines `a=crypto` of what the engine said.
fn keys_of(message: &Message) -> Vec<CryptoLine> {
    let values = message.body().lines().filter_map(|line| line.strip_prefix("a=crypto:"));
    values.map(|value| CryptoLine::parse(value.trim().as_bytes()).expect("a line of RFC 4568")).collect()
}

/// A encrypts with this suite, B not; both hear each other.
fn a_suite_passes(back_end: &str, suite: Suite) {
    let mut line = Duet::new(&config(back_end, &srtp("required"), &srtp("never")));
    let own = key(suite, 0x5a);
    let answer = description(line.media_b.address(), "RTP/AVP", &[PCMU], &[]);
    let call = line.connect_by(&sealed(&line.media_a, "RTP/SAVP", 7, &own), |_| answer);
    assert!(!call.offered.body().contains("crypto"), "{}", call.offered.text);
    assert!(media_line(call.offered.body()).starts_with("m=audio RTP/AVP 0"), "{}", call.offered.text);
    assert!(media_line(call.answered.body()).starts_with("m=audio RTP/SAVP 0"), "{}", call.answered.text);
    let theirs = keys_of(&call.answered);
    assert_eq!(theirs.len(), 1, "{}", call.answered.text);
    assert_eq!((theirs[0].tag, theirs[0].keys.suite), (7, suite));
    assert_ne!(theirs[0].keys.key, own.key, "a key of its own");
    line.media_a.say_sealed(call.answered.media(0), PCMU, f64::from(TONE_A), &own);
    line.media_b.say_tone(call.offered.media(0), PCMU, f64::from(TONE_B));
    assert_tone("B", 8_000, &line.media_b.listen(PCMU), TONE_A);
    assert_tone("A", 8_000, &line.media_a.listen_sealed(PCMU, &theirs[0].keys), TONE_B);
    line.end(call);
}

#[test]
fn the_suites_with_tags_of_hmac_pass_on_epoll() {
    for suite in [Suite::AesCm128Sha1_80, Suite::AesCm128Sha1_32, Suite::AeadAes256Gcm] {
        a_suite_passes("epoll", suite);
    }
}

#[test]
fn the_suites_with_long_keys_pass_on_uring() {
    for suite in [Suite::AesCm256Sha1_80, Suite::AesCm256Sha1_32, Suite::AeadAes128Gcm] {
        a_suite_passes("uring", suite);
    }
}

#[test]
fn each_side_has_keys_of_its_own_which_stay_over_hold() {
    let mut line = Duet::new(&config("epoll", &srtp("required"), &srtp("required")));
    let (own_a, own_b) = (key(Suite::AesCm128Sha1_80, 0x11), key(Suite::AeadAes128Gcm, 0x22));
    let offer = sealed(&line.media_a, "RTP/SAVP", 1, &own_a);
    let media_b = line.media_b.address();
    let answer_to = |offered: &Message| {
        let lines = keys_of(offered);
        let line = lines.iter().find(|line| line.keys.suite == own_b.suite).expect("GCM is offered");
        let mut value = Vec::new();
        CryptoLine { tag: line.tag, keys: own_b.clone() }.write(&mut value);
        let text = description(media_b, "RTP/SAVP", &[PCMU], &[]);
        format!("{text}a=crypto:{}\r\n", String::from_utf8(value).expect("base64"))
    };
    let mut call = line.connect_by(&offer, answer_to);
    let offered = keys_of(&call.offered);
    let suites: BTreeSet<_> = offered.iter().map(|line| line.keys.suite).collect();
    let different: BTreeSet<_> = offered.iter().map(|line| line.keys.key.clone()).collect();
    assert_eq!((suites.len(), different.len()), (6, 6), "a line a suite, each with a key of its own");
    let to_b = offered.iter().find(|line| line.keys.suite == own_b.suite).expect("GCM").keys.clone();
    let to_a = keys_of(&call.answered)[0].keys.clone();
    assert!(![&own_a.key, &own_b.key, &to_b.key].contains(&&to_a.key), "keys do not pass from side to side");
    line.media_a.say_sealed(call.answered.media(0), PCMU, f64::from(TONE_A), &own_a);
    line.media_b.say_sealed(call.offered.media(0), PCMU, f64::from(TONE_B), &own_b);
    assert_tone("B", 8_000, &line.media_b.listen_sealed(PCMU, &to_b), TONE_A);
    assert_tone("A", 8_000, &line.media_a.listen_sealed(PCMU, &to_a), TONE_B);
    // Hold, and back: the same keys, whose index goes on.
    let hold = offer.replace("o=- 1 1", "o=- 1 2") + "a=sendonly\r\n";
    let held = line_answer(&answer_to(&call.offered), "recvonly");
    let (on_hold, _) = line.a.reinvite(&mut call.a, &line.b, &hold, &held);
    assert_eq!(keys_of(&on_hold).iter().find(|l| l.keys.suite == own_b.suite).map(|l| &l.keys), Some(&to_b));
    let back = offer.replace("o=- 1 1", "o=- 1 3");
    let resumed = line_answer(&answer_to(&call.offered), "sendrecv");
    let (_, answered) = line.a.reinvite(&mut call.a, &line.b, &back, &resumed);
    assert_eq!(keys_of(&answered)[0].keys, to_a);
    line.media_b.wait_heard(0, 20);
    line.media_a.wait_heard(0, 20);
    for (who, media, keys, wanted) in
        [("A", &line.media_a, &to_a, TONE_B), ("B", &line.media_b, &to_b, TONE_A)]
    {
        // One opener for all that ever came: no index was used twice, none fell back.
        let all: Vec<_> = media.heard().into_iter().filter(|packet| packet.payload_type() == 0).collect();
        assert_tone(who, 8_000, &decode(PCMU, &opened(&all, keys)), wanted);
    }
    line.end(call);
}

fn line_answer(answer: &str, direction: &str) -> String {
    format!("{}a={direction}\r\n", answer.replace("o=- 1 1", "o=- 1 2"))
}

#[test]
fn what_does_not_fit_the_policy_is_refused() {
    for (pbx, carrier, is_sealed) in
        [("required", "never", false), ("never", "never", true), ("never", "required", true)]
    {
        let line = Duet::new(&config("epoll", &srtp(pbx), &srtp(carrier)));
        let offer = if is_sealed {
            sealed(&line.media_a, "RTP/SAVP", 1, &key(Suite::AesCm128Sha1_80, 1))
        } else {
            description(line.media_a.address(), "RTP/AVP", &[PCMU], &[])
        };
        line.refused(&offer, 488);
    }
}

/// Packets under a key that nobody agreed on go nowhere; the call stays, and tells.
fn a_wrong_key_is_counted(back_end: &str) {
    let mut line = Duet::new(&config(back_end, &srtp("required"), &srtp("never")));
    let own = key(Suite::AesCm128Sha1_80, 0x33);
    let answer = description(line.media_b.address(), "RTP/AVP", &[PCMU], &[]);
    let call = line.connect_by(&sealed(&line.media_a, "RTP/SAVP", 1, &own), |_| answer);
    let wrong = key(Suite::AesCm128Sha1_80, 0x34);
    line.media_a.say_sealed(call.answered.media(0), PCMU, f64::from(TONE_A), &wrong);
    let dropped = || line.show()["legs"][0]["media"][0]["dropped"]["auth_failed"].as_u64().unwrap_or(0);
    wait_for("packets dropped as not authentic", SOON, || (dropped() >= 50).then_some(()));
    assert!(line.media_b.heard().is_empty(), "none of it passes");
    // The right key is heard at once.
    line.media_a.say_sealed(call.answered.media(0), PCMU, f64::from(TONE_A), &own);
    assert_tone("B", 8_000, &line.media_b.listen(PCMU), TONE_A);
    line.end(call);
}

#[test]
fn a_wrong_key_is_counted_and_nothing_of_it_heard_on_epoll() {
    a_wrong_key_is_counted("epoll");
}

#[test]
fn a_wrong_key_is_counted_and_nothing_of_it_heard_on_uring() {
    a_wrong_key_is_counted("uring");
}
