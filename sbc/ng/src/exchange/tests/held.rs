//! Hold, later offers from either side, late offers, lines that are refused, added, or are no RTP.

use super::world::*;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::options::{Options, SdpOptions};
use command::{MediaClass, Transform};
use sdp::Side::{A, B};

fn audio(head: &str, port: u16) -> String {
    format!("{head}m=audio {port} RTP/AVP 0\n")
}

fn direction(sdp: &str) -> Option<&str> {
    let names = ["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"];
    sdp.lines().find(|line| names.contains(line))
}

/// A's SDP; what B is told: address and direction; the same with `zero-address`, with `original-sendrecv`.
#[test]
fn hold_is_told_whichever_way_it_is_said() {
    let zero = ALICE.replace("c=IN IP4 192.0.2.1", "c=IN IP4 0.0.0.0");
    let ours = "c=IN IP4 203.0.113.9";
    let table = [
        (audio(ALICE, 4000), (ours, "a=sendrecv"), (ours, "a=sendrecv"), None),
        (audio(ALICE, 4000) + "a=sendonly\n", (ours, "a=sendonly"), (ours, "a=sendonly"), Some("a=sendonly")),
        (audio(ALICE, 4000) + "a=inactive\n", (ours, "a=inactive"), (ours, "a=inactive"), Some("a=inactive")),
        (audio(&zero, 4000), ("c=IN IP4 0.0.0.0", "a=sendonly"), (ours, "a=sendonly"), None),
        (
            audio(&zero, 4000) + "a=recvonly\n",
            ("c=IN IP4 0.0.0.0", "a=inactive"),
            (ours, "a=inactive"),
            Some("a=recvonly"),
        ),
        (
            audio(&(ALICE.to_owned() + "a=inactive\n"), 4000),
            (ours, "a=inactive"),
            (ours, "a=inactive"),
            Some("a=inactive"),
        ),
    ];
    for (offer, plain, replaced, original) in table {
        let told = |sdp: SdpOptions| {
            let mut world = World::new();
            world.offer(A, &offer, &Options { sdp, ..Options::default() }).unwrap()
        };
        let of = |told: &str| {
            let connection = told.lines().find(|line| line.starts_with("c=")).unwrap().to_owned();
            (connection, direction(told).expect("a direction").to_owned())
        };
        let (address, way) = of(&told(SdpOptions::default()));
        assert_eq!((&*address, &*way), plain, "{offer}");
        let (address, way) = of(&told(SdpOptions { replace_zero_address: true, ..SdpOptions::default() }));
        assert_eq!((&*address, &*way), replaced, "{offer}");
        let told = told(SdpOptions { original_direction: true, ..SdpOptions::default() });
        assert_eq!(direction(&told), original, "{offer}");
        // What holds for the session stays there.
        let in_session = |sdp: &str| direction(sdp.split("m=").next().unwrap()).is_some();
        assert_eq!(in_session(&told), in_session(&offer), "{offer}");
    }
}

#[test]
fn a_call_is_held_and_goes_on() {
    let mut world = World::new();
    let none = Options::default();
    assert!(!world.exchange.is_held());
    world.offer(A, &audio(ALICE, 4000), &none).unwrap();
    world.answer(B, &audio(BOB, 5000), &none).unwrap();
    assert!(!world.exchange.is_held());
    // B holds; A is another phone by now.
    let told = world.offer(B, &(audio(BOB, 5000) + "a=sendonly\n"), &none).unwrap();
    assert!(told.contains("m=audio 20000 ") && direction(&told) == Some("a=sendonly"));
    let told = world.answer(A, &(audio(ALICE, 4100) + "a=recvonly\n"), &none).unwrap();
    assert!(told.contains("m=audio 30000 ") && direction(&told) == Some("a=recvonly"));
    assert!(world.exchange.is_held());
    let lines = world.exchange.lines();
    assert_eq!(lines[0].sides[0].rtp, Some("192.0.2.1:4100".parse().unwrap()));
    assert_eq!([lines[0].sides[0].sends, lines[0].sides[0].receives], [false, true]);
    assert_eq!([lines[0].sides[1].sends, lines[0].sides[1].receives], [true, false]);
    world.offer(B, &audio(BOB, 5000), &none).unwrap();
    world.answer(A, &audio(ALICE, 4100), &none).unwrap();
    assert!(!world.exchange.is_held());
    assert_eq!(world.exchange.said(A), Some(&*crlf(&audio(ALICE, 4100))));
}

#[test]
fn media_goes_on_as_agreed_until_a_later_offer_is_answered() {
    let mut world = World::new();
    let transcode = Options {
        codec: crate::options::CodecOptions { transcode: codecs("PCMA"), ..Default::default() },
        ..Options::default()
    };
    world.offer(A, &audio(ALICE, 4000), &transcode).unwrap();
    world.answer(B, &format!("{BOB}m=audio 5000 RTP/AVP 8\n"), &Options::default()).unwrap();
    let before = world.exchange.lines();
    assert_eq!(before[0].transforms[0], Transform::Transcode { to_payload: 8, ptime_ms: 20 });
    world.offer(A, &format!("{ALICE}m=audio 4004 RTP/AVP 0 8\n"), &Options::default()).unwrap();
    let during = world.exchange.lines();
    assert_eq!(during[0].transforms, before[0].transforms);
    assert_eq!(during[0].sides[0].payloads, before[0].sides[0].payloads);
    assert_eq!(during[0].sides[0].rtp, Some("192.0.2.1:4004".parse().unwrap()), "but to where it is now");
    world.answer(B, &format!("{BOB}m=audio 5000 RTP/AVP 8\n"), &Options::default()).unwrap();
    assert_eq!(
        world.exchange.lines()[0].transforms[0],
        Transform::Relay { payload_map: vec![], rewrite: None }
    );
}

#[test]
fn a_late_offer_comes_from_the_called_side() {
    let mut world = World::new();
    let none = Options::default();
    let told = world.offer(B, &audio(BOB, 5000), &none).unwrap();
    assert!(told.contains("m=audio 20000 RTP/AVP 0\n"));
    let told = world.answer(A, &audio(ALICE, 4000), &none).unwrap();
    assert!(told.contains("m=audio 30000 RTP/AVP 0\n"));
    assert!(!world.exchange.lines()[0].is_refused);
}

#[test]
fn each_answer_replaces_the_last() {
    let mut world = World::new();
    let none = Options::default();
    world.offer(A, &format!("{ALICE}m=audio 4000 RTP/AVP 0 8\n"), &none).unwrap();
    for (port, codec) in [(5000, "0"), (6000, "8"), (5000, "0")] {
        let told = world.answer(B, &format!("{BOB}m=audio {port} RTP/AVP {codec}\n"), &none).unwrap();
        assert!(told.contains(&format!("m=audio 20000 RTP/AVP {codec}\n")), "{told}");
        assert_eq!(world.exchange.lines()[0].sides[1].rtp.unwrap().port(), port);
    }
}

#[test]
fn lines_are_refused_and_come_back() {
    let mut world = World::new();
    let none = Options::default();
    let video = "m=video 4002 RTP/AVPF 96 97\na=rtpmap:96 VP8/90000\na=rtcp-fb:96 nack pli\n\
        a=rtpmap:97 rtx/90000\na=fmtp:97 apt=96\na=mid:v\n";
    let told = world.offer(A, &(audio(ALICE, 4000) + video), &none).unwrap();
    assert!(told.ends_with(
        "m=video 30002 RTP/AVPF 96 97\nc=IN IP4 203.0.113.9\na=mid:v\na=rtpmap:96 VP8/90000\na=rtcp-fb:96 nack pli\n\
        a=rtpmap:97 rtx/90000\na=fmtp:97 apt=96\na=sendrecv\na=rtcp:30003\n"
    ));
    let told = world
        .answer(B, &(audio(BOB, 5000) + "m=video 0 RTP/AVPF 96\na=sendrecv\na=label:x\n"), &none)
        .unwrap();
    assert!(told.ends_with("m=video 0 RTP/AVPF 96\nc=IN IP4 0.0.0.0\na=mid:v\na=label:x\n"), "{told}");
    assert_eq!(world.exchange.lines().iter().map(|line| line.is_refused).collect::<Vec<_>>(), [false, true]);
    // It is offered again, and taken.
    world.offer(A, &(audio(ALICE, 4000) + video), &none).unwrap();
    assert!(world.exchange.lines()[1].is_refused, "until it is answered");
    world.answer(B, &(audio(BOB, 5000) + &video.replace("4002", "5002")), &none).unwrap();
    let lines = world.exchange.lines();
    assert!(!lines[1].is_refused);
    assert_eq!(lines[1].sides[1].payloads[1].fmtp, "apt=96");
    // Refused in an offer, and left out of an answer.
    let told = world.offer(A, &(audio(ALICE, 4000) + "m=video 0 RTP/AVPF 96\n"), &none).unwrap();
    assert!(told.ends_with("m=video 0 RTP/AVPF 96\nc=IN IP4 0.0.0.0\na=mid:v\n"), "{told}");
    let told = world.answer(B, &audio(BOB, 5000), &none).unwrap();
    assert!(told.ends_with("m=video 0 RTP/AVPF 96\nc=IN IP4 0.0.0.0\n"), "{told}");
    assert!(world.exchange.lines()[1].is_refused);
}

#[test]
fn lines_are_added_by_either_side() {
    let mut world = World::new();
    let none = Options::default();
    world.offer(A, &audio(ALICE, 4000), &none).unwrap();
    world.answer(B, &audio(BOB, 5000), &none).unwrap();
    let told = world
        .offer(B, &(audio(BOB, 5000) + "m=text 5010 RTP/AVP 98\na=rtpmap:98 t140/1000\n"), &none)
        .unwrap();
    assert!(told.contains("m=text 20002 RTP/AVP 98\n"));
    let told = world
        .answer(A, &(audio(ALICE, 4000) + "m=text 4010 RTP/AVP 98\na=rtpmap:98 t140/1000\n"), &none)
        .unwrap();
    assert!(told.contains("m=text 30002 RTP/AVP 98\n"));
    assert_eq!(world.exchange.lines().len(), 2);
}

#[test]
fn faxes_and_unknown_media_pass() {
    let mut world = World::new();
    let none = Options::default();
    let fax = "m=image 4000 udptl t38\na=T38FaxVersion:0\na=T38MaxBitRate:14400\n";
    let told = world.offer(A, &format!("{ALICE}{fax}"), &none).unwrap();
    assert_eq!(
        told,
        format!(
            "{OF_ALICE}m=image 30000 udptl t38\nc=IN IP4 203.0.113.9\na=T38FaxVersion:0\na=T38MaxBitRate:14400\n\
            a=sendrecv\n"
        )
    );
    world.answer(B, &format!("{BOB}m=image 5000 udptl t38\na=T38FaxVersion:0\n"), &none).unwrap();
    let lines = world.exchange.lines();
    assert_eq!((lines[0].class, lines[0].is_refused), (MediaClass::Udptl, false));
    assert!(lines[0].sides.iter().all(|side| side.payloads.is_empty()));
    // An audio line becomes a fax.
    let mut world = World::new();
    world.offer(A, &audio(ALICE, 4000), &none).unwrap();
    world.answer(B, &audio(BOB, 5000), &none).unwrap();
    world.offer(B, &format!("{BOB}m=image 5000 udptl t38\n"), &none).unwrap();
    world.answer(A, &format!("{ALICE}m=image 4000 udptl t38\n"), &none).unwrap();
    assert_eq!(world.exchange.lines()[0].class, MediaClass::Udptl);

    let mut world = World::new();
    let told = world.offer(A, &format!("{ALICE}m=data 4000 udp x y\na=fmtp:x z\n"), &none).unwrap();
    assert!(told.ends_with("m=data 30000 udp x y\nc=IN IP4 203.0.113.9\na=fmtp:x z\na=sendrecv\n"), "{told}");
    let told = world.offer(A, &format!("{ALICE}m=audio 4000 RTP/AVP x:y\n"), &none).unwrap();
    assert!(told.contains("m=audio 30000 RTP/AVP x:y\n"), "{told}");
}

#[test]
fn what_is_not_over_udp_is_refused_and_the_rest_goes_on() {
    let mut world = World::new();
    let none = Options::default();
    let others = "m=message 4000 TCP/MSRP *\na=accept-types:text/plain\na=path:msrp://192.0.2.1:4000/x;tcp\n\
        a=label:7\nm=application 4001 TCP/TLS/BFCP *\na=setup:actpass\na=connection:new\na=mid:b\n";
    let told = world.offer(A, &(audio(ALICE, 4000) + others), &none).unwrap();
    assert!(
        told.ends_with(
            "a=rtcp:30001\nm=message 0 TCP/MSRP *\nc=IN IP4 0.0.0.0\na=label:7\n\
            m=application 0 TCP/TLS/BFCP *\nc=IN IP4 0.0.0.0\na=mid:b\n"
        ),
        "{told}"
    );
    // Also where the other side takes it nevertheless.
    let answer = audio(BOB, 5000) + &others.replace("192.0.2.1", "192.0.2.2");
    let told = world.answer(B, &answer, &none).unwrap();
    assert!(told.contains("m=message 0 TCP/MSRP *\n") && told.contains("m=application 0 "), "{told}");
    assert!(told.contains("m=audio 20000 RTP/AVP 0\n") && !told.contains("msrp:"), "{told}");
    let lines = world.exchange.lines();
    assert_eq!(lines.iter().map(|line| line.is_refused).collect::<Vec<_>>(), [false, true, true]);
}

#[test]
fn what_is_no_sdp_is_refused_and_changes_nothing() {
    let none = Options::default();
    for (sdp, failure) in [
        ("", Failure::BadSdp),
        ("hello", Failure::BadSdp),
        ("v=0\nm=audio x RTP/AVP 0\n", Failure::BadSdp),
        (ALICE, Failure::IncompleteSdp),
        ("v=0\nm=audio 4000 RTP/AVP 0\n", Failure::IncompleteSdp),
    ] {
        let mut world = World::new();
        assert_eq!(world.offer(A, sdp, &none), Err(failure), "{sdp}");
        assert_eq!(Exchange::lines_wanted(&crlf(sdp)), Err(failure), "{sdp}");
        assert!(world.exchange.lines().is_empty() && world.exchange.said(A).is_none());
        assert_eq!(world.answer(B, &audio(BOB, 5000), &none), Err(Failure::Dialogue));
        world.offer(A, &audio(ALICE, 4000), &none).unwrap();
        let lines = world.exchange.lines();
        assert_eq!(world.answer(B, sdp, &none), Err(failure), "{sdp}");
        assert_eq!(world.offer(A, sdp, &none), Err(failure), "{sdp}");
        assert_eq!(world.exchange.lines(), lines);
    }
    assert_eq!(Exchange::lines_wanted(&crlf(&audio(&audio(ALICE, 2), 4))), Ok(2));
    let mut world = World::new();
    let refused = world.exchange.offer(A, &crlf(&audio(ALICE, 4000)), &none, &[]);
    assert_eq!(refused, Err(Failure::NoPorts));
}
