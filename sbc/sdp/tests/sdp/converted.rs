//! Sides that share no codec: what each is offered and told, and the edges that convert between them.

use crate::call::{OUR_A, OUR_B, audio, lines, media, port, show, text};
use command::{DigitsTowards, PortIndex, RemoteTag, Transform};
use proptest::prelude::*;
use sdp::{
    Codec, DigitsBy, Makeable, Negotiation, NegotiationConfig, Sdp, Side, SideConfig, Srtp, Transcode,
    Unacceptable, WhyNot,
};
use std::sync::Arc;

const TAG: RemoteTag = RemoteTag(1);
const FORK: RemoteTag = RemoteTag(2);
const EVENTS: &str = "a=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15";
const OPUS: &str = "a=rtpmap:111 opus/48000/2\na=fmtp:111 useinbandfec=1;maxaveragebitrate=24000\na=rtpmap:110 telephone-event/48000\na=rtpmap:101 telephone-event/8000";

pub fn makeable() -> Arc<[Makeable]> {
    let codec = |name, clock, channels, fmtp, number| Makeable {
        name,
        clock,
        channels,
        fmtp,
        number,
        ptimes: if name == "opus" { &[10, 20, 40, 60] } else { &[10, 20, 30, 40, 60] },
    };
    Arc::from([
        codec("PCMU", 8000, 1, "", 0),
        codec("PCMA", 8000, 1, "", 8),
        codec("G722", 8000, 1, "", 9),
        codec("opus", 48000, 2, "useinbandfec=1", 107),
        codec("L16", 8000, 1, "", 96),
        codec("L16", 16000, 1, "", 97),
    ])
}

pub fn side(address: &str, codecs: &[&str]) -> SideConfig {
    let codecs = codecs.iter().map(|name| Box::from(*name)).collect();
    SideConfig { address: address.parse().ok(), session_id: 7, codecs, ..SideConfig::default() }
}

pub fn between(a: SideConfig, b: SideConfig) -> Negotiation {
    let mut call =
        Negotiation::new(NegotiationConfig { a, b, makeable: makeable(), ..NegotiationConfig::default() });
    call.add_ports(Side::A, (0..2).map(|n| (PortIndex(n), 20000 + 2 * n)));
    call.add_ports(Side::B, (0..2).map(|n| (PortIndex(2 + n), 30000 + 2 * n)));
    call
}

/// A has no list; B this one.
fn call(codecs: &[&str]) -> Negotiation {
    between(side(OUR_A, &[]), side(OUR_B, codecs))
}

/// Offered and answered; what B was offered and A was told.
fn agree(call: &mut Negotiation, offer: &[u8], answer: &[u8]) -> (String, String) {
    let offered = call.offer(Side::A, offer).expect("a good offer");
    let told = call.answer(Side::B, TAG, answer).expect("a good answer");
    call.commit(TAG).expect("it has answered");
    call.answered();
    (media(&offered), media(&told.sdp))
}

fn edges(call: &Negotiation) -> String {
    let shown = show(&call.spec());
    shown.lines().filter(|line| line.contains('>')).collect::<Vec<_>>().join("; ")
}

#[test]
fn an_inside_that_knows_pcmu_only_is_offered_pcmu_only() {
    let mut call = call(&["PCMU"]);
    let offer = audio("192.0.2.10", 4000, "111 110 101", &format!("{OPUS}\na=ptime:40"));
    let answer = audio("192.0.2.20", 5000, "0 101", &format!("{EVENTS}\na=ptime:30"));
    let (offered, told) = agree(&mut call, &offer, &answer);
    assert_eq!(
        offered,
        "m=audio 30000 RTP/AVP 0 110 101\na=rtpmap:110 telephone-event/48000\na=rtpmap:101 telephone-event/8000\n\
         a=ptime:40\na=rtpmap:0 PCMU/8000"
    );
    // The outside keeps its Opus, with events of its clock, and the packet time that it wants.
    assert_eq!(
        told,
        "m=audio 20000 RTP/AVP 111 110\na=rtpmap:111 opus/48000/2\na=fmtp:111 useinbandfec=1\n\
         a=rtpmap:110 telephone-event/48000\na=fmtp:110 0-15\na=ptime:40"
    );
    assert_eq!(
        edges(&call),
        "0>2 transcode { to_payload: 0, ptime_ms: 30 }; 2>0 transcode { to_payload: 111, ptime_ms: 40 }"
    );
    let spec = call.spec();
    let opus = &port(&spec, 0).payloads[0];
    assert_eq!(
        (opus.number, opus.clock, opus.encoding.as_str(), opus.fmtp.as_str()),
        (111, 48000, "opus", "useinbandfec=1;maxaveragebitrate=24000"),
        "an encoder obeys what the far end wants to get"
    );
    assert_eq!(call.why_not_open(), None);
}

#[test]
fn shared_codecs_come_first_and_pass_untouched() {
    let mut call = call(&["opus", "PCMU", "PCMA", "G729"]);
    let offer = audio("192.0.2.10", 4000, "8 18 101", EVENTS);
    let answer = audio("192.0.2.20", 5000, "8 101", EVENTS);
    let (offered, told) = agree(&mut call, &offer, &answer);
    assert_eq!(lines(&offered, "m="), ["m=audio 30000 RTP/AVP 8 18 107 0 101 96"], "{offered}");
    assert_eq!(
        lines(&offered, "a=rtpmap:1"),
        ["a=rtpmap:101 telephone-event/8000", "a=rtpmap:107 opus/48000/2"]
    );
    assert_eq!(lines(&told, "m="), ["m=audio 20000 RTP/AVP 8 101"]);
    assert_eq!(edges(&call), "0>2 relay; 2>0 relay");
}

#[test]
fn without_a_list_nothing_is_added() {
    let mut call = call(&[]);
    let offer = audio("192.0.2.10", 4000, "111 110 101", OPUS);
    let (offered, told) = agree(&mut call, &offer, &audio("192.0.2.20", 5000, "111 101", OPUS));
    assert_eq!(
        offered,
        text(&offer[..])
            .replace(" 4000 ", " 30000 ")
            .split_once("m=")
            .map(|(_, m)| format!("m={}", m.trim_end()))
            .unwrap()
    );
    assert_eq!(lines(&told, "m="), ["m=audio 20000 RTP/AVP 111 101"]);
    assert_eq!(edges(&call), "0>2 relay; 2>0 relay");
}

#[test]
fn the_answerers_first_choice_decides() {
    // B prefers Opus, which A does not have: B would send it whatever else it can.
    let mut call = call(&["PCMU", "opus"]);
    let offer = audio("192.0.2.10", 4000, "0 8", "");
    let answer = audio("192.0.2.20", 5000, "107 0", "a=rtpmap:107 opus/48000/2");
    let (_, told) = agree(&mut call, &offer, &answer);
    assert_eq!(told, "m=audio 20000 RTP/AVP 0\na=rtpmap:0 PCMU/8000");
    assert_eq!(
        edges(&call),
        "0>2 transcode { to_payload: 107, ptime_ms: 20 }; 2>0 transcode { to_payload: 0, ptime_ms: 20 }"
    );
}

#[test]
fn new_numbers_mean_nothing_else_in_the_call() {
    let mut call = call(&["opus", "L16/16000"]);
    let taken = "a=rtpmap:107 AMR/8000\na=rtpmap:97 iLBC/8000";
    let offer = audio("192.0.2.10", 4000, "0 107 97", taken);
    let offered = text(&call.offer(Side::A, &offer).expect("a good offer"));
    assert_eq!(lines(&offered, "m="), ["m=audio 30000 RTP/AVP 96 98"]);
    let answer = audio("192.0.2.20", 5000, "98", "a=rtpmap:98 L16/16000");
    call.answer(Side::B, TAG, &answer).expect("a good answer");
    call.commit(TAG).expect("it has answered");
    // In a re-INVITE the numbers stay, although the preferred ones are free now.
    let offered = text(&call.offer(Side::A, &audio("192.0.2.10", 4000, "0", "")).expect("a good offer"));
    assert_eq!(lines(&offered, "m="), ["m=audio 30000 RTP/AVP 96 98"]);
}

#[test]
fn what_cannot_be_converted_says_why() {
    let offer = audio("192.0.2.10", 4000, "0 101", EVENTS);
    let check = |call: &mut Negotiation, offer: &[u8], why| {
        let error = call.offer(Side::A, offer).expect_err("nothing in common");
        assert_eq!((error, error.status()), (Unacceptable::NotConvertible(why), 488));
        assert!(!error.to_string().contains('"') || error.to_string().contains("never"));
    };
    let never = SideConfig { transcode: Transcode::Never, ..side(OUR_A, &[]) };
    check(&mut between(never, side(OUR_B, &["PCMA"])), &offer, WhyNot::Never);
    check(&mut call(&["PCMA"]), &audio("192.0.2.10", 4000, "18", ""), WhyNot::NotMade);
    check(&mut call(&["G729"]), &offer, WhyNot::NotMade);
    let key = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:MTIzNDU2Nzg5QUJDREUwMTIzNDU2Nzg5QUJjZGVm";
    check(&mut call(&["PCMA"]), &audio("192.0.2.10", 4000, "0", key), WhyNot::Sealed);
}

#[test]
fn speech_that_cannot_be_opened_says_why() {
    let open = |offer: &str, attributes: &str| {
        let mut call = call(&[]);
        agree(
            &mut call,
            &audio("192.0.2.10", 4000, offer, attributes),
            &audio("192.0.2.20", 5000, offer, attributes),
        );
        call.why_not_open()
    };
    let key = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:MTIzNDU2Nzg5QUJDREUwMTIzNDU2Nzg5QUJjZGVm";
    assert_eq!(open("0", ""), None);
    assert_eq!(open("18", ""), Some(WhyNot::NotMade));
    assert_eq!(open("0", key), Some(WhyNot::Sealed));
}

#[test]
fn a_fork_with_another_codec_needs_no_new_offer() {
    let mut call = call(&["PCMU", "opus"]);
    call.offer(Side::A, &audio("192.0.2.10", 4000, "0", "")).expect("a good offer");
    let first = call.answer(Side::B, TAG, &audio("192.0.2.20", 5000, "0", "")).expect("a good answer");
    call.open_early();
    assert_eq!(edges(&call), "0>2 relay; 2>0 relay");
    let opus = audio("192.0.2.21", 6000, "107", "a=rtpmap:107 opus/48000/2");
    let second = call.answer(Side::B, FORK, &opus).expect("a good answer");
    assert_eq!((second.reoffer, text(&second.sdp)), (false, text(&first.sdp)));
    assert_eq!(call.commit(FORK), Ok(false));
    call.answered();
    assert_eq!(
        edges(&call),
        "0>2 transcode { to_payload: 107, ptime_ms: 20 }; 2>0 transcode { to_payload: 0, ptime_ms: 20 }"
    );
}

#[test]
fn the_other_way_round_a_converted_side_keeps_its_codec() {
    // B, Opus only by its own offer, holds: A, which knows PCMU only and has no list, can still answer.
    let mut call = call(&["opus"]);
    let opus = "a=rtpmap:107 opus/48000/2";
    let (_, _) = agree(
        &mut call,
        &audio("192.0.2.10", 4000, "0 101", EVENTS),
        &audio("192.0.2.20", 5000, "107", opus),
    );
    let hold = audio("192.0.2.20", 5000, "107", &format!("{opus}\na=sendonly"));
    let offered = text(&call.offer(Side::B, &hold).expect("a good offer"));
    assert_eq!(lines(&offered, "m="), ["m=audio 20000 RTP/AVP 107 0"]);
    let told = call.answer(Side::A, RemoteTag(0), &audio("192.0.2.10", 4000, "0", "a=recvonly"));
    let told = media(&told.expect("a good answer").sdp);
    assert_eq!(
        told,
        "m=audio 30000 RTP/AVP 107\na=recvonly\na=rtpmap:107 opus/48000/2\na=fmtp:107 useinbandfec=1"
    );
    call.commit(RemoteTag(0)).expect("it has answered");
    assert_eq!(
        edges(&call),
        "0>2 transcode { to_payload: 107, ptime_ms: 20 }; 2>0 transcode { to_payload: 0, ptime_ms: 20 }"
    );
    assert_eq!(call.spec().phase, command::Phase::Held);
}

#[test]
fn a_late_offer_is_converted_alike() {
    let mut call = between(side(OUR_A, &["PCMA"]), side(OUR_B, &[]));
    let offered = call.offer(Side::B, &audio("192.0.2.20", 5000, "111 110 101", OPUS)).expect("a good offer");
    assert_eq!(lines(&text(&offered), "m="), ["m=audio 20000 RTP/AVP 8 110 101"]);
    let told = call.answer(Side::A, RemoteTag(0), &audio("192.0.2.10", 4000, "8 101", EVENTS));
    assert_eq!(lines(&text(&told.expect("a good answer").sdp), "m="), ["m=audio 30000 RTP/AVP 111 110"]);
    call.commit(RemoteTag(0)).expect("it has answered");
    call.answered();
    assert_eq!(
        edges(&call),
        "0>2 transcode { to_payload: 111, ptime_ms: 20 }; 2>0 transcode { to_payload: 8, ptime_ms: 20 }"
    );
}

#[test]
fn packets_longer_than_a_side_takes_are_packed_anew() {
    let mut call = call(&[]);
    let offer = audio("192.0.2.10", 4000, "0", "a=ptime:20\na=maxptime:30");
    let (_, told) = agree(&mut call, &offer, &audio("192.0.2.20", 5000, "0", "a=ptime:60"));
    assert_eq!(lines(&told, "a=ptime"), ["a=ptime:20"]);
    assert_eq!(
        edges(&call),
        "0>2 transcode { to_payload: 0, ptime_ms: 60 }; 2>0 transcode { to_payload: 0, ptime_ms: 20 }"
    );
    // Different wishes alone pass.
    let mut call = self::call(&[]);
    let offer = audio("192.0.2.10", 4000, "0", "a=ptime:20");
    agree(&mut call, &offer, &audio("192.0.2.20", 5000, "0", "a=ptime:30"));
    assert_eq!(edges(&call), "0>2 relay; 2>0 relay");
}

#[test]
fn extensions_and_sources_of_the_far_end_do_not_hold_for_what_we_make() {
    let level = "a=extmap:3 urn:ietf:params:rtp-hdrext:ssrc-audio-level vad=on\na=extmap:4 urn:x";
    let mut call = call(&["PCMU"]);
    let offer = audio("192.0.2.10", 4000, "111", &format!("{OPUS}\n{level}"));
    let answer = audio("192.0.2.20", 5000, "0", "a=extmap:4 urn:x\na=ssrc:5 cname:b\na=maxptime:20");
    let (_, told) = agree(&mut call, &offer, &answer);
    assert_eq!(
        told,
        "m=audio 20000 RTP/AVP 111\na=rtpmap:111 opus/48000/2\na=fmtp:111 useinbandfec=1\n\
         a=extmap:3 urn:ietf:params:rtp-hdrext:ssrc-audio-level"
    );
    let spec = call.spec();
    assert_eq!((port(&spec, 0).voice.level_extension, port(&spec, 2).voice.level_extension), (Some(3), None));
}

#[test]
fn an_opus_peer_with_events_at_8000_only_is_taken() {
    let mut call = call(&["opus"]);
    let answer = "a=rtpmap:107 opus/48000/2\na=rtpmap:101 telephone-event/8000";
    let (offered, told) = agree(
        &mut call,
        &audio("192.0.2.10", 4000, "0 101", EVENTS),
        &audio("192.0.2.20", 5000, "107 101", answer),
    );
    assert_eq!(lines(&offered, "m="), ["m=audio 30000 RTP/AVP 107 101 96"]);
    assert_eq!(lines(&offered, "a=rtpmap:96"), ["a=rtpmap:96 telephone-event/48000"]);
    assert_eq!(lines(&told, "m="), ["m=audio 20000 RTP/AVP 0 101"]);
    let events: Vec<_> = port(&call.spec(), 2).payloads.iter().map(|p| (p.number, p.clock)).collect();
    assert_eq!(events[..2], [(107, 48000), (101, 8000)]);
}

#[test]
fn digits_travel_as_each_side_wants_them() {
    let with = |digits| SideConfig { digits, ..side(OUR_B, &[]) };
    let run = |digits, a: &str, b: &str| {
        let mut call = between(side(OUR_A, &[]), with(digits));
        let sdp = |address, port, formats: &str| {
            audio(address, port, formats, if formats.contains("101") { EVENTS } else { "" })
        };
        let (offered, told) = agree(&mut call, &sdp("192.0.2.10", 4000, a), &sdp("192.0.2.20", 5000, b));
        let spec = call.spec();
        let head = |sdp: &str| sdp.lines().next().unwrap().rsplit_once("AVP ").unwrap().1.to_owned();
        (head(&offered), head(&told), port(&spec, 0).voice.digits, port(&spec, 2).voice.digits)
    };
    let plain = command::Digits::default();
    assert_eq!(run(DigitsBy::Auto, "0 101", "0 101"), ("0 101".into(), "0 101".into(), plain, plain));
    // INFO: it is offered no events, while the other side may send them.
    let (offered, told, a, b) = run(DigitsBy::Info, "0 101", "0");
    assert_eq!((offered.as_str(), told.as_str()), ("0", "0 101"));
    assert_eq!((a.report, a.listen_inband, b.towards), (true, false, DigitsTowards::Nothing));
    let (_, _, a, _) = run(DigitsBy::Info, "0", "0");
    assert!(a.listen_inband, "the digits of who has no events are in its speech");
    // Tones
    let (offered, told, a, b) = run(DigitsBy::Tones, "0 101", "0");
    assert_eq!((offered.as_str(), told.as_str()), ("0", "0 101"));
    assert_eq!((a, b.towards, b.listen_inband), (plain, DigitsTowards::Tones, true));
    // Events, although A has none
    let (offered, told, a, b) = run(DigitsBy::Events, "0", "0 101");
    assert_eq!((offered.as_str(), told.as_str()), ("0 101", "0"));
    assert_eq!((a.towards, a.listen_inband, b.towards), (DigitsTowards::Tones, true, DigitsTowards::Events));
}

#[test]
fn blocked_digits_and_echo_are_of_the_side_that_wants_them() {
    let b = SideConfig { block_digits: true, echo_cancel: true, ..side(OUR_B, &[]) };
    let mut call = between(side(OUR_A, &[]), b);
    agree(&mut call, &audio("192.0.2.10", 4000, "0", ""), &audio("192.0.2.20", 5000, "0", ""));
    let spec = call.spec();
    assert_eq!((port(&spec, 0).voice.digits.block, port(&spec, 0).voice.echo_cancel), (false, false));
    assert_eq!((port(&spec, 2).voice.digits.block, port(&spec, 2).voice.echo_cancel), (true, true));
}

#[test]
fn another_policy_can_choose_otherwise() {
    /// Always converts to the first of the list.
    #[derive(Debug)]
    struct ListOnly;
    impl sdp::CodecPolicy for ListOnly {
        fn offer(&self, from: &sdp::negotiate::policy::Choosing<'_>) -> Vec<sdp::negotiate::policy::Choice> {
            let ours = from.makeable.iter().position(|m| from.list.iter().any(|e| **e == *m.name));
            ours.map(sdp::negotiate::policy::Choice::Ours).into_iter().collect()
        }
        fn convert(&self, from: &sdp::negotiate::policy::Choosing<'_>) -> Option<usize> {
            from.theirs.len().checked_sub(1)
        }
    }
    let config = NegotiationConfig {
        a: side(OUR_A, &[]),
        b: side(OUR_B, &["opus"]),
        makeable: makeable(),
        policy: &ListOnly,
        ..NegotiationConfig::default()
    };
    let mut call = Negotiation::new(config);
    call.add_ports(Side::A, [(PortIndex(0), 20000)]);
    call.add_ports(Side::B, [(PortIndex(1), 30000)]);
    let offer = audio("192.0.2.10", 4000, "0 8", "");
    let answer = audio("192.0.2.20", 5000, "107", "a=rtpmap:107 opus/48000/2");
    let (offered, told) = agree(&mut call, &offer, &answer);
    assert_eq!(
        (lines(&offered, "m="), lines(&told, "m=")),
        (vec!["m=audio 30000 RTP/AVP 107"], vec!["m=audio 20000 RTP/AVP 8"])
    );
}

/// Codecs of an offer or answer, under numbers that may be anything.
fn formats() -> impl Strategy<Value = Vec<(u8, &'static str)>> {
    let codec = prop_oneof![
        Just("PCMU/8000"),
        Just("PCMA/8000"),
        Just("G722/8000"),
        Just("G729/8000"),
        Just("opus/48000/2"),
        Just("L16/8000"),
        Just("L16/16000"),
        Just("AMR/8000"),
        Just("red/8000"),
        Just("CN/8000"),
        Just("telephone-event/8000"),
        Just("telephone-event/48000"),
    ];
    prop::collection::vec((90u8..=127, codec), 1..8).prop_map(|mut formats| {
        let mut seen = [false; 128];
        formats.retain(|(number, _)| !std::mem::replace(&mut seen[usize::from(*number)], true));
        formats
    })
}

fn described(address: &str, formats: &[(u8, &str)], more: &str) -> Vec<u8> {
    let numbers: Vec<_> = formats.iter().map(|(number, _)| number.to_string()).collect();
    let maps: Vec<_> = formats.iter().map(|(number, name)| format!("a=rtpmap:{number} {name}")).collect();
    audio(address, 4000, &numbers.join(" "), &format!("{}\n{more}", maps.join("\n")))
}

fn any_side(address: &'static str) -> impl Strategy<Value = SideConfig> {
    let list = prop::sample::subsequence(vec!["PCMU", "opus", "L16", "G729", "G722"], 0..=4);
    let digits = prop_oneof![
        Just(DigitsBy::Auto),
        Just(DigitsBy::Events),
        Just(DigitsBy::Info),
        Just(DigitsBy::Tones)
    ];
    let srtp = prop_oneof![
        2 => Just(None),
        1 => Just(Some(Srtp::Never)),
        1 => Just(Some(Srtp::Optional)),
        1 => Just(Some(Srtp::Required))
    ];
    let transcode = prop_oneof![4 => Just(Transcode::Needed), 1 => Just(Transcode::Never)];
    (list, digits, srtp, transcode).prop_map(move |(list, digits, srtp, transcode)| SideConfig {
        digits,
        srtp,
        transcode,
        ..side(address, &list)
    })
}

fn speech<'a>(sdp: &'a Sdp<'a>) -> Vec<Codec<'a>> {
    sdp.media()[0].codecs().into_iter().filter(Codec::is_speech).collect()
}

proptest! {
    #[test]
    fn an_offerer_is_told_one_codec_of_its_own_and_edges_make_what_the_sink_has(
        a in any_side(OUR_A),
        b in any_side(OUR_B),
        rounds in prop::collection::vec((any::<bool>(), formats(), formats(), any::<u64>()), 1..4),
    ) {
        let mut call = between(a, b);
        call.set_keys(sdp::crypto::KeySource::from_seed([1; 32]));
        let times = ["", "a=ptime:20", "a=ptime:60", "a=maxptime:20", "a=ptime:30\na=maxptime:40"];
        for (is_a, theirs, others, dice) in rounds {
            let from = if is_a { Side::A } else { Side::B };
            let time = |shift: u64| times[(dice >> shift) as usize % times.len()];
            let offer = described("192.0.2.10", &theirs, time(0));
            let Ok(offered) = call.offer(from, &offer) else { continue };
            let asked = Sdp::parse(&offered).unwrap();
            let has_speech = !speech(&Sdp::parse(&offer).unwrap()).is_empty();
            prop_assert!(!has_speech || !speech(&asked).is_empty());
            let mut numbers: Vec<u8> = asked.media()[0].payload_numbers().collect();
            let count = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            prop_assert_eq!(numbers.len(), count, "a number means one thing: {}", text(&offered));
            // Mostly an answer to what was asked, under numbers of its own; else anything.
            let answer = if dice % 4 != 0 {
                let asked = asked.media()[0].codecs();
                let picked = asked.iter().enumerate().filter(|(index, _)| dice >> (8 + index) & 1 == 1);
                let picked: Vec<(u8, String)> = picked
                    .map(|(_, codec)| {
                        let channels = if codec.channels > 1 { "/2" } else { "" };
                        (codec.number, format!("{}/{}{channels}", codec.name, codec.clock))
                    })
                    .collect();
                let picked: Vec<_> = picked.iter().map(|(number, name)| (*number, name.as_str())).collect();
                if picked.is_empty() { call.rollback(); continue }
                described("192.0.2.20", &picked, time(32))
            } else {
                described("192.0.2.20", &others, time(32))
            };
            let Ok(told) = call.answer(from.other(), TAG, &answer) else { call.rollback(); continue };
            call.commit(TAG).unwrap();
            call.answered();
            let (offer, told) = (Sdp::parse(&offer).unwrap(), Sdp::parse(&told.sdp).unwrap());
            let (own, told) = (speech(&offer), speech(&told));
            let is_red = told.iter().any(Codec::is_redundancy);
            prop_assert!(told.len() == 1 || is_red, "{:?}", told);
            prop_assert!(is_red || own.iter().any(|codec| codec.is_same(&told[0])), "{:?} of {:?}", told, own);
            let spec = call.spec();
            for edge in &spec.edges {
                let Transform::Transcode { to_payload, ptime_ms } = edge.transform else { continue };
                prop_assert!([10, 20, 30, 40, 60].contains(&ptime_ms));
                let formats = |index: PortIndex| &port(&spec, index.0).payloads;
                let is_made = |payload: &command::Payload| {
                    makeable().iter().any(|m| m.name.eq_ignore_ascii_case(&payload.encoding) && m.clock == payload.clock)
                };
                let sink = formats(edge.to).iter().find(|payload| payload.number == to_payload);
                prop_assert!(sink.is_some_and(is_made), "{:?}", spec);
                prop_assert!(formats(edge.from).iter().any(is_made), "{:?}", spec);
            }
        }
    }
}
