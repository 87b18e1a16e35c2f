//! Which codecs are offered, told and converted. The expectations are what rtpengine answers to the same (10.5, and its
//! description of 26 where that has more), but for codecs that it makes and we do not.

use super::world::*;
use crate::options::{CodecOptions, Options};
use command::Transform;
use sdp::Side::{A, B};

/// `0 opus:96 te:101 te48:97`: payload types in order; static ones as numbers.
fn medium(head: &str, port: u16, list: &str) -> String {
    let mut numbers = Vec::new();
    let mut lines = String::new();
    for word in list.split_whitespace() {
        let (name, number) = word.split_once(':').unwrap_or(("", word));
        numbers.push(number);
        let map = match name {
            "opus" => "opus/48000/2",
            "te" => "telephone-event/8000",
            "te48" => "telephone-event/48000",
            "te16" => "telephone-event/16000",
            "amr" => "AMR/8000",
            "wb" => "AMR-WB/16000",
            "pcma" => "PCMA/8000",
            "cn48" => "CN/48000",
            "" => continue,
            other => panic!("{other}"),
        };
        lines += &format!("a=rtpmap:{number} {map}\n");
        if name.starts_with("te") {
            lines += &format!("a=fmtp:{number} 0-15\n");
        }
    }
    format!("{head}m=audio {port} RTP/AVP {}\n{lines}", numbers.join(" "))
}

/// The payload types of the only m-line, in that notation.
fn list(sdp: &str) -> String {
    let head = sdp.lines().find(|line| line.starts_with("m=")).expect("an m-line");
    let name = |number: &str| {
        let map = sdp.lines().find_map(|line| line.strip_prefix(&format!("a=rtpmap:{number} ")));
        let short = match map.unwrap_or("") {
            "opus/48000/2" => "opus:",
            "telephone-event/8000" => "te:",
            "telephone-event/48000" => "te48:",
            "telephone-event/16000" => "te16:",
            "AMR/8000" => "amr:",
            "AMR-WB/16000" => "wb:",
            "CN/48000" => "cn48:",
            "PCMU/8000" | "PCMA/8000" | "G722/8000" | "G729/8000" | "CN/8000" => "",
            other => panic!("{other:?} in {sdp}"),
        };
        format!("{short}{number}")
    };
    head.split(' ').skip(3).map(name).collect::<Vec<_>>().join(" ")
}

fn way(transform: &Transform) -> String {
    match transform {
        Transform::Relay { payload_map, .. } if payload_map.is_empty() => "relay".to_owned(),
        Transform::Relay { payload_map, .. } => format!("relay {payload_map:?}"),
        Transform::Transcode { to_payload, ptime_ms: 20 } => format!("to {to_payload}"),
        Transform::Transcode { to_payload, ptime_ms } => format!("to {to_payload} by {ptime_ms}"),
        other => format!("{other:?}"),
    }
}

/// `strip=PCMU,opus transcode=PCMA always single`.
fn options(text: &str) -> Options {
    let mut options = CodecOptions::default();
    let mut whole = Options::default();
    for word in text.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let list = codecs(&value.replace(',', " "));
        match key {
            "strip" => options.strip = list,
            "ignore" => options.ignore = list,
            "offer" => options.offer = list,
            "except" => options.except = list,
            "mask" => options.mask = list,
            "consume" => options.consume = list,
            "accept" => options.accept = list,
            "transcode" => options.transcode = list,
            "set" => options.set = list,
            "single" => options.single = true,
            "always" => options.always_transcode = true,
            "reuse" => options.reuse = true,
            "ptime" => whole.ptime = value.parse().ok(),
            "reverse" => whole.ptime_reverse = value.parse().ok(),
            other => panic!("{other}"),
        }
    }
    Options { codec: options, ..whole }
}

/// What is offered; its options; what B is offered.
#[test]
fn offers_hold_the_codecs_that_the_client_wants() {
    let table = [
        ("0 8 te:101", "", "0 8 te:101"),
        ("0 8 te:101", "strip=PCMU", "8 te:101"),
        ("0 8 te:101", "strip=pcmu", "8 te:101"),
        ("0 8 te:101", "strip=8", "0 te:101"),
        // All of it cannot go: then it stays.
        ("0 8 te:101", "strip=all", "0 8 te:101"),
        ("0 te:101", "strip=PCMU", "0 te:101"),
        ("0", "strip=PCMU", "0"),
        ("0 8 te:101", "strip=all offer=PCMA", "8"),
        ("0 8 te:101", "strip=all offer=PCMA,telephone-event", "8 te:101"),
        ("0 8 9 te:101", "strip=all except=G722,PCMU", "0 9"),
        ("0 8 9 te:101", "strip=all offer=G722,PCMU", "9 0"),
        // Without `strip` there is nothing to bring back.
        ("0 8 te:101", "offer=PCMA", "0 8 te:101"),
        ("0 8 te:101", "except=PCMA", "0 8 te:101"),
        ("0 8 te:101", "strip=PCMU except=PCMU", "8 te:101"),
        // Events go with the last codec of their clock.
        ("opus:96 0 te48:97 te:101", "strip=opus", "0 te:101"),
        ("opus:96 0 te48:97 te:101", "mask=opus", "0 te:101"),
        ("opus:96 te:101", "", "opus:96 te:101"),
        // But for those at 8 kHz: many take no others, also beside Opus.
        ("opus:96 0 13 te:101", "strip=PCMU", "opus:96 te:101"),
        ("0 te:101", "mask=PCMU transcode=opus", "opus:96 te48:97 te:101"),
        // What is added stands behind the speech that comes before events, and events follow its clock.
        ("0 te:101", "transcode=PCMA", "0 8 te:101"),
        ("0", "transcode=PCMA", "0 8"),
        ("0 te:101 8", "transcode=G722", "0 9 te:101 8"),
        ("0 te:101", "transcode=opus", "0 opus:96 te48:97 te:101"),
        ("0 13 te:101", "transcode=opus", "0 opus:96 cn48:97 te48:98 13 te:101"),
        ("0 te:101", "transcode=PCMA/8000,opus/48000/2/16000", "0 8 opus:96 te48:97 te:101"),
        ("0 te:96", "transcode=opus", "0 opus:97 te48:98 te:96"),
        ("0 te:101", "transcode=PCMU", "0 te:101"),
        ("0 te:101", "transcode=telephone-event", "0 te:101"),
        ("0", "transcode=telephone-event", "0 te:96"),
        // What is not made here is left out.
        ("0", "transcode=G729,AMR,nonsense,PCMA", "0 8"),
        ("0 18 te:101", "transcode=PCMA", "0 18 8 te:101"),
        ("0 8 te:101", "mask=all transcode=G722", "9"),
        ("0 8 te:101", "mask=all transcode=PCMA", "8"),
        ("0 8 te:101", "mask=full transcode=PCMA", "8"),
        ("0 8 te:101", "strip=all transcode=opus,PCMA", "opus:96 8"),
        ("0 8 te:101", "strip=PCMA transcode=PCMA", "0 8 te:101"),
        ("0 8 te:101", "consume=PCMU", "8 te:101"),
        ("0 8 te:101", "accept=PCMU", "0 8 te:101"),
        ("0 8 te:101", "always", "0 8 te:101"),
        ("opus:96 0 8 te:101", "ignore=opus", "opus:96 0 8 te:101"),
        (
            "opus:96 8 0 te:101 te48:102",
            "strip=all except=PCMA,telephone-event transcode=PCMA,G722",
            "8 9 te:101",
        ),
    ];
    for (offer, how, expected) in table {
        let mut world = World::new();
        let told = world.offer(A, &medium(ALICE, 4000, offer), &options(how)).unwrap();
        assert_eq!(list(&told), expected, "{offer} with {how}");
    }
}

/// What is offered; its options; what is answered; what A is told; the way from A, and from B.
#[test]
fn offerers_are_answered_with_codecs_of_their_own() {
    let table = [
        ("0 8 te:101", "", "0 te:101", "0 te:101", "relay", "relay"),
        ("0 8 te:101", "", "8", "8", "relay", "relay"),
        ("0 te:101 8", "", "8 te:101", "8 te:101", "relay", "relay"),
        ("opus:96 0 te48:97 te:101", "", "opus:96 te:101", "opus:96 te:101", "relay", "relay"),
        ("opus:96 0 te48:97 te:101", "", "0 te48:97", "0 te48:97", "relay", "relay"),
        // A codec of ours is taken.
        ("0 te:101", "transcode=PCMA", "8 te:101", "0 te:101", "to 8", "to 0"),
        ("0 te:101", "transcode=PCMA", "8", "0", "to 8", "to 0"),
        ("0", "transcode=PCMA", "8", "0", "to 8", "to 0"),
        ("0 te:101", "transcode=PCMA", "0 te:101", "0 te:101", "relay", "relay"),
        // Who takes both may send either.
        ("0 te:101", "transcode=PCMA", "8 0 te:101", "0 te:101", "relay", "to 0"),
        ("0 te:101", "transcode=opus", "opus:96 te48:97", "0 te:101", "to 96", "to 0"),
        ("0 13 te:101", "transcode=opus", "opus:96", "0", "to 96", "to 0"),
        ("0 13 te:101", "transcode=PCMA", "8 13 te:101", "0 13 te:101", "to 8", "to 0"),
        ("opus:96 0 te:101", "transcode=PCMA", "8 0 te:101", "opus:96 0 te:101", "to 8", "to 96"),
        ("opus:96 0 te:101", "transcode=PCMA", "8 opus:96 te:101", "opus:96 te:101", "relay", "to 96"),
        ("0 te:101 8", "transcode=G722", "9 te:101", "0 te:101", "to 9", "to 0"),
        // Events at 8 kHz beside Opus.
        ("opus:96 te:101", "transcode=PCMA", "8 te:101", "opus:96 te:101", "to 8", "to 96"),
        ("opus:96 te48:97 te:101", "transcode=PCMA", "8 te:101", "opus:96 te48:97", "to 8", "to 96"),
        ("0 te:101", "mask=PCMU transcode=opus", "opus:96 te:101", "0 te:101", "to 96", "to 0"),
        // Hidden codecs are there to be converted.
        ("0 8 te:101", "mask=PCMU", "8 te:101", "8 te:101", "relay", "relay"),
        ("0 8 te:101", "mask=PCMU transcode=G722", "8 te:101", "8 te:101", "relay", "relay"),
        ("0 8 te:101", "mask=PCMU transcode=G722", "9 te:101", "0 te:101", "to 9", "to 0"),
        ("0 8 te:101", "consume=PCMU", "8 te:101", "0 te:101", "to 8", "to 0"),
        ("0 8 te:101", "mask=all transcode=G722", "9", "0", "to 9", "to 0"),
        ("0 8 te:101", "strip=all transcode=G722", "9", "0", "to 9", "to 0"),
        // What is accepted for A is converted although B has chosen another one that A has.
        ("0 8 te:101", "accept=PCMU", "8 te:101", "0 te:101", "to 8", "to 0"),
        ("0 8 9 te:101", "accept=G722", "8 te:101", "9 te:101", "to 8", "to 9"),
        ("0 8 te:101", "accept=all", "8 te:101", "0 te:101", "to 8", "to 0"),
        ("0 8 te:101", "always", "8 te:101", "0 te:101", "to 8", "to 0"),
        ("0 8 te:101", "always", "0 te:101", "0 te:101", "relay", "relay"),
        ("0 8 te:101", "always", "8", "0 te:101", "to 8", "to 0"),
        ("0 te:101", "accept=telephone-event", "0", "0 te:101", "relay", "relay"),
        // What was ignored is not told.
        ("8 0 te:101", "ignore=PCMA", "8 te:101", "0 te:101", "to 8", "to 0"),
        // Other numbers than those offered are mapped.
        ("opus:96 0", "", "opus:99", "opus:96", "relay [(96, 99)]", "relay [(99, 96)]"),
        ("0 8 te:101", "", "0 te:96", "0 te:101", "relay [(101, 96)]", "relay [(96, 101)]"),
        // Neither is made here: it passes.
        ("18 te:101", "transcode=PCMA", "18 te:101", "18 te:101", "relay", "relay"),
        // Nobody can convert this: what comes back is told as it is.
        ("18", "transcode=PCMA", "8", "8", "relay", "relay"),
        // The lengths of packets.
        ("0", "ptime=40", "0", "0", "to 0 by 40", "to 0"),
        ("0", "ptime=40 reverse=10", "0", "0", "to 0 by 40", "to 0 by 10"),
    ];
    for (offer, how, answer, expected, forth, back) in table {
        let mut world = World::new();
        world.offer(A, &medium(ALICE, 4000, offer), &options(how)).unwrap();
        let told = world.answer(B, &medium(BOB, 5000, answer), &Options::default()).unwrap();
        let case = format!("{offer} with {how} answered {answer}");
        assert_eq!(list(&told), expected, "{case}");
        let lines = world.exchange.lines();
        assert_eq!(lines[0].transforms.each_ref().map(way), [forth, back], "{case}");
        for (side, transform) in lines[0].transforms.iter().enumerate() {
            if let Transform::Transcode { to_payload, .. } = transform {
                let sink = &lines[0].sides[1 - side].payloads;
                assert!(sink.iter().any(|payload| payload.number == *to_payload), "{case}");
            }
        }
    }
}

#[test]
fn an_answer_can_be_cut_to_its_first_codec() {
    let mut world = World::new();
    world.offer(A, &medium(ALICE, 4000, "0 8 te:101"), &Options::default()).unwrap();
    let told = world.answer(B, &medium(BOB, 5000, "8 0 te:101"), &options("single")).unwrap();
    assert_eq!(list(&told), "8 te:101");
}

#[test]
fn a_later_offer_keeps_what_is_spoken_where_that_is_wanted() {
    for (how, expected) in [("", "0 8"), ("reuse", "8 0")] {
        let mut world = World::new();
        world.offer(A, &medium(ALICE, 4000, "8 0"), &Options::default()).unwrap();
        world.answer(B, &medium(BOB, 5000, "8"), &Options::default()).unwrap();
        let told = world.offer(A, &medium(ALICE, 4000, "0 8"), &options(how)).unwrap();
        assert_eq!(list(&told), expected, "{how}");
    }
}

#[test]
fn numbers_of_codecs_of_ours_stay_over_a_call() {
    let mut world = World::new();
    let how = options("transcode=opus");
    let told = world.offer(A, &medium(ALICE, 4000, "0"), &how).unwrap();
    assert_eq!(list(&told), "0 opus:96");
    world.answer(B, &medium(BOB, 5000, "opus:96"), &Options::default()).unwrap();
    let told = world.offer(A, &medium(ALICE, 4000, "0 te:96"), &how).unwrap();
    assert_eq!(list(&told), "0 opus:97 te48:98 te:96", "unless the other side takes them");
    let told = world.offer(A, &medium(ALICE, 4000, "0"), &how).unwrap();
    assert_eq!(list(&told), "0 opus:97");
    // The other way round the same codec has the same number.
    let told = world.offer(B, &medium(BOB, 5000, "opus:97"), &options("transcode=PCMU")).unwrap();
    assert_eq!(list(&told), "opus:97 0");
}

#[test]
fn bit_rates_are_told_to_the_encoder() {
    let fmtp = |world: &World, side: usize, number: u8| {
        let lines = world.exchange.lines();
        let payload = lines[0].sides[side].payloads.iter().find(|p| p.number == number).cloned();
        payload.expect("it is there").fmtp
    };
    let mut world = World::new();
    world.offer(A, &medium(ALICE, 4000, "0"), &options("transcode=opus/48000/2/16000")).unwrap();
    world.answer(B, &medium(BOB, 5000, "opus:96"), &Options::default()).unwrap();
    assert_eq!(fmtp(&world, 1, 96), "maxaveragebitrate=16000");

    let mut world = World::new();
    world
        .offer(A, &medium(ALICE, 4000, "opus:96"), &options("transcode=PCMU set=opus/48000/2/24000"))
        .unwrap();
    world.answer(B, &medium(BOB, 5000, "0"), &Options::default()).unwrap();
    assert_eq!(fmtp(&world, 0, 96), "maxaveragebitrate=24000");
}

#[test]
fn digits_become_tones_for_a_side_that_is_said_to_take_events_and_does_not() {
    let mut world = World::new();
    world.offer(A, &medium(ALICE, 4000, "0"), &options("transcode=telephone-event")).unwrap();
    world.answer(B, &medium(BOB, 5000, "0 te:96"), &Options::default()).unwrap();
    let lines = world.exchange.lines();
    let digits = lines[0].sides.each_ref().map(|side| side.digits);
    assert!(digits[0].listen_inband && !digits[1].listen_inband);
    assert_eq!(digits[0].towards, command::DigitsTowards::Tones);
    let is_event = |payload: &command::Payload| payload.encoding == "telephone-event";
    assert!(lines[0].sides[1].payloads.iter().any(is_event));
    assert!(!lines[0].sides[0].payloads.iter().any(is_event));
}

#[test]
fn header_extensions_are_not_told_of_where_speech_is_converted() {
    let extension = "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\n";
    for (answer, is_told) in [("0", true), ("8", false)] {
        let mut world = World::new();
        let offer = medium(ALICE, 4000, "0") + extension;
        let offered = world.offer(A, &offer, &options("transcode=PCMA")).unwrap();
        assert!(offered.contains(extension), "it may pass yet");
        let answer = medium(BOB, 5000, answer) + extension;
        let told = world.answer(B, &answer, &Options::default()).unwrap();
        assert_eq!(told.contains(extension), is_told, "{told}");
    }
}

#[test]
fn opus_is_told_as_its_rfc_wants() {
    let mut world = World::new();
    let told = world.offer(A, &medium(ALICE, 4000, "0"), &options("transcode=opus/48000/2/16000")).unwrap();
    assert!(told.contains("a=rtpmap:96 opus/48000/2\n") && !told.contains("maxplaybackrate"), "{told}");
}
