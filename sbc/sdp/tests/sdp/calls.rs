//! Whole calls: offers, answers, forks, hold, T.38, refusals, and the spec that follows each.

use crate::call::{OUR_A, OUR_B, audio, call, call_between, lines, media, port, show, text};
use command::{Learn, Phase, PortIndex, RemoteTag, RtcpMux, Transform};
use sdp::{Direction, Negotiation, NegotiationConfig, Side, SideConfig, Unacceptable};
use std::sync::Arc;

const TAG: RemoteTag = RemoteTag(1);
const FORK: RemoteTag = RemoteTag(2);
const EVENTS: &str = "a=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15";

/// A and B talk PCMU.
fn talking() -> Negotiation {
    let mut call = call(1);
    call.offer(Side::A, &audio("192.0.2.10", 4000, "0 8 101", EVENTS)).expect("a good offer");
    call.answer(Side::B, TAG, &audio("192.0.2.20", 5000, "0 101", EVENTS)).expect("a good answer");
    assert_eq!(call.commit(TAG), Ok(false));
    call.answered();
    call
}

#[test]
fn a_call_goes_from_offer_to_both_ways() {
    let mut call = call(1);
    let offer = audio("192.0.2.10", 4000, "0 8 101", EVENTS);
    assert_eq!(call.lines_wanted(&offer), Ok(1));
    let offered = call.offer(Side::A, &offer).expect("a good offer");
    assert_eq!(
        text(&offered),
        "v=0\no=- 2002 1 IN IP4 203.0.113.1\ns=-\nc=IN IP4 203.0.113.1\nt=0 0\nm=audio 30000 RTP/AVP 0 8 101\n\
         a=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\n"
    );
    assert_eq!(
        show(&call.spec()),
        "Early\n\
         0: Rtp Separate Window *0=192.0.2.10:4000/192.0.2.10:4001 sends receives \
         [0:pcmu/8000 8:pcma/8000 101:telephone-event/8000]\n\
         1: Rtp Separate Window [0:pcmu/8000 8:pcma/8000 101:telephone-event/8000]\n\
         0>1 drop\n1>0 drop"
    );

    let answered = call.answer(Side::B, TAG, &audio("192.0.2.20", 5000, "8 0 101", EVENTS));
    let answered = answered.expect("a good answer");
    assert!(answered.changed && !answered.reoffer);
    assert_eq!(
        text(&answered.sdp),
        "v=0\no=- 1001 1 IN IP4 198.51.100.1\ns=-\nc=IN IP4 198.51.100.1\nt=0 0\nm=audio 20000 RTP/AVP 8 101\n\
         a=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\n"
    );
    // 183: nothing flows before A has got it.
    assert!(call.spec().edges.iter().all(|edge| edge.transform == Transform::Drop));
    call.open_early();
    assert_eq!(call.spec().phase, Phase::Early);
    assert_eq!(call.commit(TAG), Ok(false));
    call.answered();
    assert_eq!(
        show(&call.spec()),
        "Active\n\
         0: Rtp Separate Window *0=192.0.2.10:4000/192.0.2.10:4001 sends receives \
         [8:pcma/8000 101:telephone-event/8000]\n\
         1: Rtp Separate Window *1=192.0.2.20:5000/192.0.2.20:5001 sends receives \
         [8:pcma/8000 0:pcmu/8000 101:telephone-event/8000]\n\
         0>1 relay\n1>0 relay"
    );
    assert_eq!(call.last_sent(Side::A).map(text), Some(text(&answered.sdp)));
    assert_eq!(call.last_sent(Side::B).map(text), Some(text(&offered)));
}

#[test]
fn early_media_opens_when_a_has_got_an_sdp() {
    let mut call = call(1);
    call.offer(Side::A, &audio("192.0.2.10", 4000, "0", "")).expect("a good offer");
    call.answer(Side::B, TAG, &audio("192.0.2.20", 5000, "0", "")).expect("a good answer");
    call.open_early();
    let spec = call.spec();
    assert_eq!(spec.phase, Phase::Early);
    assert!(show(&spec).ends_with("0>1 relay\n1>0 relay"));
}

/// What the offerer is told of an answer, m-lines only.
fn answer_told(offer: &[u8], answer: &[u8]) -> String {
    let mut call = call(2);
    call.offer(Side::A, offer).expect("a good offer");
    media(&call.answer(Side::B, TAG, answer).expect("a good answer").sdp)
}

#[test]
fn the_offerer_is_told_one_codec_of_its_own_and_events() {
    let offer = audio("192.0.2.10", 4000, "8 0 13 101", EVENTS);
    // B's choice, if A offered it
    for (answer, told) in [
        ("0 8", "m=audio 20000 RTP/AVP 0"),
        ("18 0 8", "m=audio 20000 RTP/AVP 0"),
        ("101 8", "m=audio 20000 RTP/AVP 8 101\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15"),
        ("8 13", "m=audio 20000 RTP/AVP 8 13"),
    ] {
        let attributes = if answer.contains("101") { EVENTS } else { "" };
        assert_eq!(answer_told(&offer, &audio("192.0.2.20", 5000, answer, attributes)), told, "{answer}");
    }
}

#[test]
fn an_answer_without_a_common_codec_is_unacceptable() {
    let mut call = call(1);
    call.offer(Side::A, &audio("192.0.2.10", 4000, "0 101", EVENTS)).expect("a good offer");
    for formats in ["18", "101"] {
        let answer = audio("192.0.2.20", 5000, formats, EVENTS);
        assert_eq!(call.answer(Side::B, TAG, &answer), Err(Unacceptable::NoCommonCodec));
    }
    assert_eq!(Unacceptable::NoCommonCodec.status(), 488);
    assert_eq!(call.spec().ports[1].remotes, []);
}

#[test]
fn packet_time_is_the_answers_and_within_the_offers_maximum() {
    let offer = audio("192.0.2.10", 4000, "0", "a=ptime:20\na=maxptime:30");
    for (answer, told) in [("a=ptime:20", "a=ptime:20"), ("a=ptime:60", "a=ptime:30")] {
        let told_media = answer_told(&offer, &audio("192.0.2.20", 5000, "0", answer));
        assert_eq!(lines(&told_media, "a=ptime"), [told]);
    }
}

#[test]
fn payload_types_are_renumbered_for_the_offerer() {
    let offer = audio(
        "192.0.2.10",
        4000,
        "111 96 101",
        "a=rtpmap:111 opus/48000/2\na=rtpmap:96 AMR/8000\na=rtpmap:101 telephone-event/8000",
    );
    let answer = audio(
        "192.0.2.20",
        5000,
        "97 110",
        "a=rtpmap:97 opus/48000/2\na=fmtp:97 useinbandfec=1\na=rtcp-fb:97 nack\na=rtpmap:110 telephone-event/8000",
    );
    let mut call = call(1);
    call.offer(Side::A, &offer).expect("a good offer");
    let told = call.answer(Side::B, TAG, &answer).expect("a good answer").sdp;
    assert_eq!(
        media(&told),
        "m=audio 20000 RTP/AVP 111 101\na=rtpmap:111 opus/48000/2\na=fmtp:111 useinbandfec=1\na=rtcp-fb:111 nack\n\
         a=rtpmap:101 telephone-event/8000"
    );
    call.commit(TAG).expect("it has answered");
    call.answered();
    let spec = show(&call.spec());
    // A sends its own numbers, B wants its own; B should send A's, and some send their own.
    assert!(spec.ends_with("0>1 relay [(111, 97), (101, 110)]\n1>0 relay [(97, 111), (110, 101)]"), "{spec}");
    assert!(
        spec.contains("[111:opus/48000 101:telephone-event/8000 97:opus/48000 110:telephone-event/8000]")
    );
}

#[test]
fn a_number_that_means_something_agreed_is_not_mapped_back() {
    // B swaps A's numbers: on the way to A they already mean what A thinks.
    let offer =
        audio("192.0.2.10", 4000, "96 97", "a=rtpmap:96 opus/48000/2\na=rtpmap:97 telephone-event/8000");
    let answer =
        audio("192.0.2.20", 5000, "97 96", "a=rtpmap:97 opus/48000/2\na=rtpmap:96 telephone-event/8000");
    let mut call = call(1);
    call.offer(Side::A, &offer).expect("a good offer");
    let told = call.answer(Side::B, TAG, &answer).expect("a good answer").sdp;
    assert_eq!(lines(&media(&told), "m="), ["m=audio 20000 RTP/AVP 96 97"]);
    call.commit(TAG).expect("it has answered");
    call.answered();
    assert!(show(&call.spec()).ends_with("0>1 relay [(96, 97), (97, 96)]\n1>0 relay"));
}

#[test]
fn under_foreign_keys_nothing_is_renumbered_or_learned() {
    let key = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:MTIzNDU2Nzg5QUJDREUwMTIzNDU2Nzg5QUJjZGVm";
    let offer = audio("192.0.2.10", 4000, "111", &format!("a=rtpmap:111 opus/48000/2\n{key}"));
    let answer = audio("192.0.2.20", 5000, "97", &format!("a=rtpmap:97 opus/48000/2\n{key}"));
    let mut call = call(1);
    call.offer(Side::A, &offer).expect("a good offer");
    let told = call.answer(Side::B, TAG, &answer).expect("a good answer").sdp;
    assert_eq!(media(&told), format!("m=audio 20000 RTP/AVP 97\na=rtpmap:97 opus/48000/2\n{key}"));
    call.commit(TAG).expect("it has answered");
    call.answered();
    let spec = call.spec();
    assert!(show(&spec).ends_with("0>1 relay\n1>0 relay"));
    assert!(spec.ports.iter().all(|port| port.learn == Learn::Strict));
}

#[test]
fn redundancy_passes_whole() {
    let offer = audio("192.0.2.10", 4000, "96 0", "a=rtpmap:96 red/8000\na=fmtp:96 0/0");
    let answer = audio("192.0.2.20", 5000, "98 0", "a=rtpmap:98 red/8000\na=fmtp:98 0/0");
    assert_eq!(
        answer_told(&offer, &answer),
        "m=audio 20000 RTP/AVP 98 0\na=rtpmap:98 red/8000\na=fmtp:98 0/0"
    );
}

#[test]
fn sloppy_answers_are_understood_by_number() {
    let offer = audio("192.0.2.10", 4000, "97 111", "a=rtpmap:97 iLBC/8000\na=rtpmap:111 opus/48000/2");
    for (formats, attributes, told) in [
        ("97", "", "m=audio 20000 RTP/AVP 97"),
        ("111", "a=rtpmap:111 opus/48000", "m=audio 20000 RTP/AVP 111\na=rtpmap:111 opus/48000"),
    ] {
        assert_eq!(answer_told(&offer, &audio("192.0.2.20", 5000, formats, attributes)), told);
    }
}

#[test]
fn one_answer_is_told_and_forks_only_change_the_remote() {
    let mut call = call(1);
    call.offer(Side::A, &audio("192.0.2.10", 4000, "0 8", "")).expect("a good offer");
    let first = call.answer(Side::B, TAG, &audio("192.0.2.20", 5000, "0", "")).expect("a good answer");
    let second = call.answer(Side::B, FORK, &audio("192.0.2.21", 6000, "0 8", "")).expect("a good answer");
    assert_eq!(text(&second.sdp), text(&first.sdp));
    assert!(second.changed && !second.reoffer);
    let b = show(&call.spec());
    assert!(
        b.contains("1=192.0.2.20:5000/192.0.2.20:5001 sends receives *2=192.0.2.21:6000/192.0.2.21:6001")
    );
    // Nothing new
    let again = call.answer(Side::B, FORK, &audio("192.0.2.21", 6000, "0 8", "")).expect("a good answer");
    assert_eq!((again.changed, text(&again.sdp)), (false, text(&first.sdp)));
    // The first one answers finally with its unchanged SDP: it is active again.
    let last = call.answer(Side::B, TAG, &audio("192.0.2.20", 5000, "0", "")).expect("a good answer");
    assert!(last.changed && !last.reoffer);
    assert_eq!(call.commit(TAG), Ok(false));
    call.answered();
    let spec = call.spec();
    let remotes = &port(&spec, 1).remotes;
    assert_eq!(remotes.len(), 1);
    assert_eq!(remotes[0].tag, TAG);
    assert_eq!(port(&spec, 1).active, Some(TAG));
}

#[test]
fn a_final_answer_with_another_codec_asks_for_a_new_offer() {
    let mut call = call(1);
    call.offer(Side::A, &audio("192.0.2.10", 4000, "0 8", "")).expect("a good offer");
    let first = call.answer(Side::B, TAG, &audio("192.0.2.20", 5000, "0", "")).expect("a good answer");
    let second = call.answer(Side::B, FORK, &audio("192.0.2.21", 6000, "8", "")).expect("a good answer");
    assert!(second.reoffer);
    assert_eq!(text(&second.sdp), text(&first.sdp));
    assert_eq!(call.commit(FORK), Ok(true));
    call.answered();
    let said = call.said(Side::B).expect("B has answered").to_vec();
    let offered = call.offer(Side::B, &said).expect("what B said can be offered");
    assert!(text(&offered).contains("o=- 1001 2 IN"), "a change counts the version up");
    assert!(text(&offered).contains("m=audio 20000 RTP/AVP 8"));
    call.answer(Side::A, RemoteTag(0), &audio("192.0.2.10", 4000, "8", "")).expect("a good answer");
    assert_eq!(call.commit(RemoteTag(0)), Ok(false));
    let spec = show(&call.spec());
    assert!(spec.contains("*0=192.0.2.10:4000") && spec.contains("*2=192.0.2.21:6000"), "{spec}");
    assert!(spec.ends_with("0>1 relay\n1>0 relay"));
}

#[test]
fn another_key_or_direction_of_a_fork_asks_for_a_new_offer() {
    let key = |n: u8| {
        format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:MTIzNDU2Nzg5QUJDREUwMTIzNDU2Nzg5QUJjZG{n}")
    };
    for (first, second) in [(key(1), key(2)), ("a=sendonly".to_owned(), "a=sendrecv".to_owned())] {
        let mut call = call(1);
        call.offer(Side::A, &audio("192.0.2.10", 4000, "0", &key(0))).expect("a good offer");
        call.answer(Side::B, TAG, &audio("192.0.2.20", 5000, "0", &first)).expect("a good answer");
        let other =
            call.answer(Side::B, FORK, &audio("192.0.2.21", 5000, "0", &second)).expect("a good answer");
        assert!(other.reoffer, "{second}");
    }
}

#[test]
fn the_next_target_gets_the_same_offer_and_a_keeps_its_answer() {
    let mut call = call(1);
    call.offer(Side::A, &audio("192.0.2.10", 4000, "0 8", "")).expect("a good offer");
    let first = call.answer(Side::B, TAG, &audio("192.0.2.20", 5000, "0", "")).expect("a good answer");
    let next = SideConfig {
        address: Some("203.0.113.99".parse().expect("an address")),
        session_id: 3003,
        ..SideConfig::default()
    };
    call.set_side(Side::B, next, true);
    assert_eq!(call.offer_again(), Err(Unacceptable::NoPorts));
    call.add_ports(Side::B, [(PortIndex(7), 31000)]);
    let offered = call.offer_again().expect("the next target can be asked");
    assert!(text(&offered).contains("o=- 3003 ") && text(&offered).contains("c=IN IP4 203.0.113.99"));
    assert!(text(&offered).contains("m=audio 31000 RTP/AVP 0 8"));
    assert_eq!(port(&call.spec(), 7).remotes, []);
    let second = call.answer(Side::B, FORK, &audio("192.0.2.30", 6000, "0", "")).expect("a good answer");
    assert_eq!(text(&second.sdp), text(&first.sdp));
    assert_eq!(call.commit(FORK), Ok(false));
}

#[test]
fn a_late_offer_goes_the_other_way() {
    let mut call = call(1);
    let offered = call.offer(Side::B, &audio("192.0.2.20", 5000, "8 0 101", EVENTS)).expect("a good offer");
    assert!(text(&offered).contains("c=IN IP4 198.51.100.1\nt=0 0\nm=audio 20000 RTP/AVP 8 0 101"));
    call.answered();
    assert_eq!(call.spec().phase, Phase::Early);
    assert!(show(&call.spec()).ends_with("0>1 drop\n1>0 drop"), "nothing flows before the ACK");
    let answered = call.answer(Side::A, RemoteTag(0), &audio("192.0.2.10", 4000, "0 8 101", EVENTS));
    assert_eq!(lines(&text(&answered.expect("a good answer").sdp), "m="), ["m=audio 30000 RTP/AVP 0 101"]);
    assert_eq!(call.commit(RemoteTag(0)), Ok(false));
    assert_eq!(call.spec().phase, Phase::Active);
    assert!(show(&call.spec()).ends_with("0>1 relay\n1>0 relay"));
}

#[test]
fn a_refused_offer_changes_nothing() {
    let mut call = talking();
    let (before, told) = (call.spec(), call.last_sent(Side::B).map(<[u8]>::to_vec));
    call.offer(Side::A, &audio("192.0.2.66", 4444, "8", "a=sendonly")).expect("a good offer");
    assert_eq!(call.spec(), before, "an offer alone changes nothing");
    assert_eq!(call.pending(), Some(Side::A));
    call.rollback();
    assert_eq!(call.pending(), None);
    assert_eq!(call.spec(), before);
    assert_eq!(call.last_sent(Side::B).map(<[u8]>::to_vec), told);
    // B saw version 2 and refused it.
    let next = call.offer(Side::A, &audio("192.0.2.10", 4000, "8", "")).expect("a good offer");
    assert!(text(&next).contains("o=- 2002 3 IN"));
}

#[test]
fn versions_grow_only_with_changes() {
    let mut call = talking();
    let same = call.offer(Side::A, &audio("192.0.2.10", 4000, "0 8 101", EVENTS)).expect("a good offer");
    assert!(text(&same).contains("o=- 2002 1 IN"));
    let answer = audio("192.0.2.20", 5000, "0 101", EVENTS);
    let told = call.answer(Side::B, TAG, &answer).expect("a good answer").sdp;
    assert!(text(&told).contains("o=- 1001 1 IN"));
    call.commit(TAG).expect("it has answered");
    // A's own address is nothing that B sees: B is told the same.
    let moved = call.offer(Side::A, &audio("192.0.2.11", 4000, "0 8 101", EVENTS)).expect("a good offer");
    assert!(text(&moved).contains("o=- 2002 1 IN"));
    call.rollback();
    let held =
        call.offer(Side::A, &audio("192.0.2.10", 4000, "0 8 101", "a=sendonly")).expect("a good offer");
    assert!(text(&held).contains("o=- 2002 2 IN"));
}

#[test]
fn hold_in_all_its_forms() {
    // what A says, what B answers, what B is told, what A is told, whether A and B get media
    for (a, b, told_b, told_a, a_gets, b_gets) in [
        ("a=sendonly", "a=recvonly", "sendonly", "recvonly", false, true),
        ("a=inactive", "a=inactive", "inactive", "inactive", false, false),
        ("a=recvonly", "a=sendonly", "recvonly", "sendonly", true, false),
        ("zero", "a=recvonly", "sendonly", "recvonly", false, true),
        ("zero", "", "sendonly", "", false, true),
        ("zero", "zero", "sendonly", "inactive", false, false),
        ("a=sendonly", "zero", "sendonly", "inactive", false, false),
        ("", "zero", "", "sendonly", true, false),
    ] {
        let sdp = |address: &str, port, form: &str| match form {
            "zero" => audio("0.0.0.0", port, "0", ""),
            other => audio(address, port, "0", other),
        };
        let mut call = talking();
        let offered = call.offer(Side::A, &sdp("192.0.2.10", 4000, a)).expect("a good offer");
        assert!(!text(&offered).contains("0.0.0.0"));
        let direction = |sdp: &[u8]| {
            let text = text(sdp);
            let found = text.lines().find(|line| matches!(&line[2..], "sendonly" | "recvonly" | "inactive"));
            found.map_or(String::new(), |line| line[2..].to_owned())
        };
        assert_eq!(direction(&offered), told_b, "{a} {b}");
        let told = call.answer(Side::B, TAG, &sdp("192.0.2.20", 5000, b)).expect("a good answer").sdp;
        assert_eq!(direction(&told), told_a, "{a} {b}");
        call.commit(TAG).expect("it has answered");
        let spec = call.spec();
        assert_eq!(spec.phase, Phase::Held, "{a} {b}");
        // Reports go on both ways; media only to who receives.
        assert!(show(&spec).ends_with("0>1 relay\n1>0 relay"), "{a} {b}: {}", show(&spec));
        let gets = |side| port(&spec, side).remotes.iter().all(|remote| remote.receives);
        assert_eq!((gets(0), gets(1)), (a_gets, b_gets), "{a} {b}");
        // and back
        call.offer(Side::A, &audio("192.0.2.10", 4000, "0", "")).expect("a good offer");
        call.answer(Side::B, TAG, &audio("192.0.2.20", 5000, "0", "")).expect("a good answer");
        call.commit(TAG).expect("it has answered");
        assert_eq!(call.spec().phase, Phase::Active);
    }
}

#[test]
fn a_held_side_is_neither_learned_nor_sent_to() {
    let mut call = talking();
    call.offer(Side::A, &audio("0.0.0.0", 4000, "0", "")).expect("a good offer");
    call.answer(Side::B, TAG, &audio("192.0.2.20", 5000, "0", "a=recvonly")).expect("a good answer");
    call.commit(TAG).expect("it has answered");
    let spec = call.spec();
    let (a, b) = (&port(&spec, 0).remotes[0], &port(&spec, 1).remotes[0]);
    assert_eq!((a.rtp, a.sends, a.receives), (None, true, false));
    assert_eq!((b.sends, b.receives), (false, true));
}

fn image(address: &str, port: u16) -> Vec<u8> {
    format!(
        "v=0\r\no=- 1 3 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=image {port} udptl t38\r\n\
         a=T38FaxVersion:0\r\na=T38FaxUdpEC:t38UDPRedundancy\r\n"
    )
    .into_bytes()
}

#[test]
fn fax_takes_the_port_of_the_audio_and_gives_it_back() {
    let mut call = talking();
    let speech = call.spec();
    assert_eq!(call.lines_wanted(&image("192.0.2.20", 5000)), Ok(1));
    let offered = call.offer(Side::B, &image("192.0.2.20", 5000)).expect("a good offer");
    assert_eq!(lines(&text(&offered), "m="), ["m=image 20000 udptl t38"]);
    assert_eq!(call.spec(), speech);
    // 488 from A: the port is audio again
    call.rollback();
    assert_eq!(call.spec(), speech);
    // or A agrees
    call.offer(Side::B, &image("192.0.2.20", 5000)).expect("a good offer");
    let told = call.answer(Side::A, RemoteTag(0), &image("192.0.2.10", 4000)).expect("a good answer").sdp;
    assert_eq!(lines(&text(&told), "m="), ["m=image 30000 udptl t38"]);
    call.commit(RemoteTag(0)).expect("it has answered");
    assert_eq!(
        show(&call.spec()),
        "Active\n\
         0: Udptl Separate Window *0=192.0.2.10:4000/192.0.2.10:4001 sends receives []\n\
         1: Udptl Separate Window *1=192.0.2.20:5000/192.0.2.20:5001 sends receives []\n\
         0>1 relay\n1>0 relay"
    );
    // and back to audio
    call.offer(Side::B, &audio("192.0.2.20", 5000, "0", "")).expect("a good offer");
    call.answer(Side::A, RemoteTag(0), &audio("192.0.2.10", 4000, "0", "")).expect("a good answer");
    call.commit(RemoteTag(0)).expect("it has answered");
    assert!(show(&call.spec()).contains("0: Rtp Separate Window *0=192.0.2.10:4000"));
}

#[test]
fn fax_refused_with_port_zero_leaves_no_live_line() {
    let mut call = talking();
    call.offer(Side::A, &image("192.0.2.10", 4000)).expect("a good offer");
    let told = call.answer(Side::B, TAG, &image("192.0.2.20", 0)).expect("a refusal is an answer").sdp;
    assert_eq!(lines(&text(&told), "m="), ["m=image 0 udptl t38"]);
    call.commit(TAG).expect("it has answered");
    assert_eq!(call.spec().ports, []);
    assert_eq!(call.spec().edges, []);
}

#[test]
fn an_answer_of_another_kind_does_not_fit() {
    let mut call = talking();
    call.offer(Side::A, &image("192.0.2.10", 4000)).expect("a good offer");
    assert_eq!(call.answer(Side::B, TAG, &audio("192.0.2.20", 5000, "0", "")), Err(Unacceptable::Mismatch));
    call.rollback();
    assert!(show(&call.spec()).ends_with("0>1 relay\n1>0 relay"));
}

#[test]
fn refused_lines_keep_their_place_and_have_no_port() {
    let two = |address: &str, audio: u16, video: u16| {
        format!(
            "v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=audio {audio} RTP/AVP 0\r\n\
             m=video {video} RTP/AVP 31\r\n"
        )
        .into_bytes()
    };
    let mut call = call(2);
    call.offer(Side::A, &two("192.0.2.10", 4000, 4002)).expect("a good offer");
    let told = call.answer(Side::B, TAG, &two("192.0.2.20", 0, 5002)).expect("a good answer").sdp;
    assert_eq!(lines(&text(&told), "m="), ["m=audio 0 RTP/AVP 0", "m=video 20002 RTP/AVP 31"]);
    call.commit(TAG).expect("it has answered");
    call.answered();
    let spec = call.spec();
    let ports: Vec<u16> = spec.ports.iter().map(|port| port.port.0).collect();
    assert_eq!(ports, [1, 3]);
    assert_eq!(spec.edges.len(), 2);
    let views = call.describe(Side::A);
    assert!(views[0].refused && !views[1].refused);
    // A line that is added later gets the next port.
    let three = [two("192.0.2.10", 4000, 4002), b"m=audio 4004 RTP/AVP 8\r\n".to_vec()].concat();
    assert_eq!(call.lines_wanted(&three), Ok(3));
    assert_eq!(call.offer(Side::A, &three), Err(Unacceptable::NoPorts));
    assert_eq!(call.lines_open(Side::A), 2);
    call.add_ports(Side::A, [(PortIndex(4), 20100)]);
    call.add_ports(Side::B, [(PortIndex(5), 30100)]);
    let offered = call.offer(Side::A, &three).expect("a good offer");
    assert_eq!(
        lines(&text(&offered), "m="),
        ["m=audio 30000 RTP/AVP 0", "m=video 30002 RTP/AVP 31", "m=audio 30100 RTP/AVP 8"]
    );
}

#[test]
fn an_answer_that_forgets_refused_lines_is_completed() {
    let offer =
        [audio("192.0.2.10", 4000, "0", ""), b"m=video 4002 RTP/AVP 31\r\na=mid:v\r\n".to_vec()].concat();
    assert_eq!(
        answer_told(&offer, &audio("192.0.2.20", 5000, "0", "")),
        "m=audio 20000 RTP/AVP 0\nm=video 0 RTP/AVP 31\na=mid:v"
    );
    // and one that has too many is cut
    let answer = [audio("192.0.2.20", 5000, "0", ""), b"m=video 4002 RTP/AVP 31\r\n".to_vec()].concat();
    assert_eq!(answer_told(&audio("192.0.2.10", 4000, "0", ""), &answer), "m=audio 20000 RTP/AVP 0");
}

#[test]
fn dtls_and_tcp_alone_leave_nothing() {
    for line in [
        "m=audio 4000 UDP/TLS/RTP/SAVPF 0",
        "m=audio 4000 RTP/SAVPF 0\r\na=fingerprint:sha-1 AA",
        "m=message 2855 TCP/MSRP *",
        "m=application 4000 TCP/BFCP *",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "m=audio 4000 FOO 0",
    ] {
        let sdp =
            format!("v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n{line}\r\n");
        let mut call = call(1);
        assert_eq!(call.lines_wanted(sdp.as_bytes()), Ok(0), "{line}");
        let error = call.offer(Side::A, sdp.as_bytes()).expect_err("nothing is left");
        assert_eq!((error, error.status(), error.warning()), (Unacceptable::NothingLeft, 488, 302), "{line}");
        assert_eq!(call.pending(), None);
    }
}

#[test]
fn an_offer_that_closes_everything_passes() {
    let mut call = talking();
    let offered = call.offer(Side::A, &audio("192.0.2.10", 0, "0", "")).expect("a good offer");
    assert_eq!(lines(&text(&offered), "m="), ["m=audio 0 RTP/AVP 0"]);
    call.answer(Side::B, TAG, &audio("192.0.2.20", 0, "0", "")).expect("a good answer");
    call.commit(TAG).expect("it has answered");
    assert_eq!(call.spec().ports, []);
}

#[test]
fn sides_may_be_of_different_families() {
    let mut call = call_between("2001:db8:a::1", OUR_B, 1);
    let offered = call.offer(Side::A, &audio("2001:db8::10", 4000, "0", "")).expect("a good offer");
    assert!(text(&offered).contains("c=IN IP4 203.0.113.1") && !text(&offered).contains("IP6"));
    let told = call.answer(Side::B, TAG, &audio("192.0.2.20", 5000, "0", "")).expect("a good answer").sdp;
    assert!(text(&told).contains("o=- 1001 1 IN IP6 2001:db8:a::1\ns=-\nc=IN IP6 2001:db8:a::1"));
    assert!(!text(&told).contains("IP4"));
    call.commit(TAG).expect("it has answered");
    assert!(show(&call.spec()).contains("*0=[2001:db8::10]:4000/[2001:db8::10]:4001"));
    // but one side has one family
    let mut call = call_between(OUR_A, OUR_B, 1);
    let error = call.offer(Side::A, &audio("2001:db8::10", 4000, "0", "")).expect_err("another family");
    assert_eq!((error, error.warning()), (Unacceptable::Family, 301));
}

#[test]
fn media_is_never_sent_to_groups_or_to_ourselves() {
    for (address, port, error) in [
        ("224.0.0.1", 4000, Unacceptable::Address),
        ("255.255.255.255", 4000, Unacceptable::Address),
        (OUR_A, 20000, Unacceptable::Loop),
        (OUR_A, 30001, Unacceptable::Loop),
        (OUR_B, 30000, Unacceptable::Loop),
    ] {
        assert_eq!(call(1).offer(Side::A, &audio(address, port, "0", "")), Err(error), "{address}");
    }
    let rtcp = audio("192.0.2.10", 4000, "0", "a=rtcp:4001 IN IP4 239.1.1.1");
    assert_eq!(call(1).offer(Side::A, &rtcp), Err(Unacceptable::Address));
    // A port of ours that another call has is a hairpin.
    assert!(call(1).offer(Side::A, &audio(OUR_A, 22222, "0", "")).is_ok());
    // Loopback of the peer is not ours: nothing is sent there before it is learned.
    let mut call = call(1);
    call.offer(Side::A, &audio("127.0.0.1", 4000, "0", "")).expect("a good offer");
    assert_eq!(port(&call.spec(), 0).remotes[0].rtp, None);
}

#[test]
fn a_host_name_is_left_to_learning() {
    let sdp = b"v=0\r\no=- 1 1 IN IP4 gw.example.org\r\ns=-\r\nc=IN IP4 gw.example.org\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    let mut call = call(1);
    call.offer(Side::A, sdp).expect("a good offer");
    let spec = call.spec();
    assert_eq!((port(&spec, 0).remotes[0].rtp, port(&spec, 0).remotes[0].sends), (None, true));
}

#[test]
fn the_sip_source_counts_only_for_a_hidden_sdp_address() {
    for (address, expected) in [("10.0.0.5", true), ("100.64.1.1", true), ("192.0.2.10", false)] {
        let source = "198.51.100.77".parse().ok();
        let a = SideConfig { address: OUR_A.parse().ok(), sip_source: source, ..SideConfig::default() };
        let b = SideConfig { address: OUR_B.parse().ok(), ..SideConfig::default() };
        let mut call = Negotiation::new(NegotiationConfig { a, b, ..NegotiationConfig::default() });
        call.add_ports(Side::A, [(PortIndex(0), 20000)]);
        call.add_ports(Side::B, [(PortIndex(1), 30000)]);
        call.offer(Side::A, &audio(address, 4000, "0", "")).expect("a good offer");
        let spec = call.spec();
        assert_eq!(port(&spec, 0).signalling_source, source.filter(|_| expected), "{address}");
    }
}

#[test]
fn rtcp_goes_where_it_is_wanted() {
    let cases = [
        // offer, answer: mux of A, mux of B, A's RTCP, B's RTCP
        ("", "", RtcpMux::Separate, RtcpMux::Separate, 4001, 5001),
        ("a=rtcp-mux", "a=rtcp-mux", RtcpMux::Muxed, RtcpMux::Muxed, 4000, 5000),
        ("a=rtcp-mux", "", RtcpMux::Separate, RtcpMux::Separate, 4001, 5001),
        ("", "a=rtcp-mux", RtcpMux::Separate, RtcpMux::Separate, 4001, 5001),
        ("a=rtcp:4100", "a=rtcp:5100 IN IP4 192.0.2.20", RtcpMux::Separate, RtcpMux::Separate, 4100, 5100),
    ];
    for (offer, answer, mux_a, mux_b, rtcp_a, rtcp_b) in cases {
        let mut call = call(1);
        let offered = call.offer(Side::A, &audio("192.0.2.10", 4000, "0", offer)).expect("a good offer");
        let is_offered = offer == "a=rtcp-mux";
        assert_eq!(text(&offered).contains("a=rtcp-mux"), is_offered);
        if is_offered {
            assert!(call.spec().ports.iter().all(|port| port.mux == RtcpMux::Offered));
        }
        let answered =
            call.answer(Side::B, TAG, &audio("192.0.2.20", 5000, "0", answer)).expect("a good answer");
        assert_eq!(text(&answered.sdp).contains("a=rtcp-mux"), mux_a == RtcpMux::Muxed);
        call.commit(TAG).expect("it has answered");
        let spec = call.spec();
        let (a, b) = (port(&spec, 0), port(&spec, 1));
        assert_eq!((a.mux, b.mux), (mux_a, mux_b), "{offer} {answer}");
        let rtcp = |port: &command::PortSpec| port.remotes[0].rtcp.map(|address| address.port());
        assert_eq!((rtcp(a), rtcp(b)), (Some(rtcp_a), Some(rtcp_b)), "{offer} {answer}");
    }
}

#[test]
fn a_trunk_is_offered_only_its_codecs() {
    let mut call = call(1);
    let codecs: Arc<[Box<str>]> = Arc::from(["PCMA".into(), "opus".into()]);
    let b = SideConfig { address: OUR_B.parse().ok(), codecs, ..SideConfig::default() };
    call.set_side(Side::B, b, false);
    let offer = audio("192.0.2.10", 4000, "0 18 8 101", EVENTS);
    let offered = call.offer(Side::A, &offer).expect("a good offer");
    assert_eq!(
        media(&offered),
        "m=audio 30000 RTP/AVP 8 101\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15"
    );
    call.rollback();
    let error = call.offer(Side::A, &audio("192.0.2.10", 4000, "0 101", EVENTS)).expect_err("no codec");
    assert_eq!((error, error.warning()), (Unacceptable::NoCommonCodec, 305));
}

#[test]
fn a_refresh_is_answered_from_memory() {
    let call = talking();
    let mut again = audio("192.0.2.10", 4000, "0 8 101", EVENTS);
    assert!(call.same_as_last(Side::A, &again));
    assert!(call.same_as_last(Side::B, &audio("192.0.2.20", 5000, "0 101", EVENTS)));
    // Some count o= up although nothing changes.
    again = text(&again).replace("o=phone 7 1", "o=phone 7 9").into_bytes();
    assert!(call.same_as_last(Side::A, &again));
    assert!(!call.same_as_last(Side::A, &audio("192.0.2.10", 4002, "0 8 101", EVENTS)));
    assert!(!call.same_as_last(Side::A, &audio("192.0.2.10", 4000, "0 8 101", "a=sendonly")));
    assert!(!call.same_as_last(Side::A, b"nonsense"));
}

#[test]
fn a_refresh_whose_answer_would_be_invalid_goes_across() {
    let key = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:MTIzNDU2Nzg5QUJDREUwMTIzNDU2Nzg5QUJjZGVm";
    for (a, b) in [("a=sendonly", "a=inactive"), (key, key)] {
        let mut call = call(1);
        call.offer(Side::A, &audio("192.0.2.10", 4000, "0", a)).expect("a good offer");
        call.answer(Side::B, TAG, &audio("192.0.2.20", 5000, "0", b)).expect("a good answer");
        call.commit(TAG).expect("it has answered");
        assert!(call.same_as_last(Side::A, &audio("192.0.2.10", 4000, "0", a)));
        assert!(!call.same_as_last(Side::B, &audio("192.0.2.20", 5000, "0", b)));
    }
}

#[test]
fn out_of_turn_is_an_error_and_changes_nothing() {
    let mut fresh = call(1);
    assert_eq!(fresh.answer(Side::B, TAG, &audio("192.0.2.20", 5000, "0", "")), Err(Unacceptable::NoOffer));
    assert_eq!(fresh.commit(TAG), Err(Unacceptable::NoOffer));
    assert_eq!(fresh.offer_again(), Err(Unacceptable::NoOffer));
    fresh.offer(Side::A, &audio("192.0.2.10", 4000, "0", "")).expect("a good offer");
    let glare = fresh.offer(Side::B, &audio("192.0.2.20", 5000, "0", "")).expect_err("glare");
    assert_eq!((glare, glare.status()), (Unacceptable::OfferPending, 491));
    assert_eq!(fresh.answer(Side::A, TAG, &audio("192.0.2.10", 4000, "0", "")), Err(Unacceptable::NoOffer));
    assert_eq!(fresh.commit(TAG), Err(Unacceptable::NoOffer));
    let malformed = fresh.answer(Side::B, TAG, b"v=0\r\nm=audio x RTP/AVP 0\r\n").expect_err("malformed");
    assert_eq!((malformed.status(), malformed.class()), (400, "port"));
}

#[test]
fn a_repeated_answer_after_the_end_changes_nothing() {
    let mut call = talking();
    let before = call.spec();
    let told = call.last_sent(Side::A).map(text);
    let again = call.answer(Side::B, TAG, &audio("192.0.2.20", 5000, "0 101", EVENTS)).expect("repeated");
    assert_eq!((again.changed, again.reoffer, Some(text(&again.sdp))), (false, false, told));
    assert_eq!(call.spec(), before);
}

#[test]
fn a_final_answer_of_another_fork_after_a_reliable_one() {
    let mut call = call(1);
    call.offer(Side::A, &audio("192.0.2.10", 4000, "0", "")).expect("a good offer");
    let first = call.answer(Side::B, TAG, &audio("192.0.2.20", 5000, "0", "")).expect("a good answer");
    call.commit(TAG).expect("PRACK");
    let second = call.answer(Side::B, FORK, &audio("192.0.2.21", 6000, "0", "")).expect("another fork");
    assert_eq!((text(&second.sdp), second.reoffer), (text(&first.sdp), false));
    assert_eq!(call.commit(FORK), Ok(false));
    assert_eq!(port(&call.spec(), 1).active, Some(FORK));
}

#[test]
fn lines_are_described_for_people() {
    let mut call = talking();
    let a = call.describe(Side::A);
    assert_eq!(a.len(), 1);
    assert_eq!(a[0].codecs, ["PCMU/8000", "telephone-event/8000"]);
    assert_eq!((a[0].direction, a[0].refused), (Direction::SendRecv, false));
    assert_eq!(a[0].remote, "192.0.2.10:4000".parse().ok());
    call.offer(Side::B, &audio("192.0.2.20", 5000, "0", "a=sendonly")).expect("a good offer");
    call.answer(Side::A, RemoteTag(0), &audio("192.0.2.10", 4000, "0", "a=recvonly")).expect("a good answer");
    call.commit(RemoteTag(0)).expect("it has answered");
    assert_eq!(call.describe(Side::A)[0].direction, Direction::RecvOnly);
    assert_eq!(call.describe(Side::B)[0].direction, Direction::SendOnly);
}

#[test]
fn a_typical_call_fits_in_two_kilobytes() {
    let call = talking();
    let texts: usize = [Side::A, Side::B]
        .iter()
        .map(|side| call.said(*side).map_or(0, <[u8]>::len) + call.last_sent(*side).map_or(0, <[u8]>::len))
        .sum();
    let size = size_of::<Negotiation>() + texts + 4 * size_of::<(PortIndex, u16)>();
    assert!(size <= 1536, "{size} bytes, {} of them the object", size_of::<Negotiation>());
}
