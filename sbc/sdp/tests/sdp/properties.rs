//! What holds for any SDP: made from its grammar, or bytes mutated from the samples.

use crate::call::{audio, call, text};
use command::RemoteTag;
use proptest::prelude::*;
use sdp::{Sdp, Side};
use std::path::Path;

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("a=sendonly".to_owned()),
        Just("a=recvonly".to_owned()),
        Just("a=inactive".to_owned()),
        Just("a=rtcp-mux".to_owned()),
        Just("a=ptime:20".to_owned()),
        Just("a=maxptime:40".to_owned()),
        Just("a=rtpmap:101 telephone-event/8000".to_owned()),
        Just("a=rtpmap:96 opus/48000/2".to_owned()),
        Just("a=fmtp:96 useinbandfec=1".to_owned()),
        Just("a=candidate:1 1 udp 1 10.0.0.9 4000 typ host".to_owned()),
        Just("a=ice-ufrag:abcd".to_owned()),
        Just("b=AS:64".to_owned()),
        (1u16..9999).prop_map(|port| format!("a=rtcp:{port}")),
        "a=X-[a-z]{1,6}(:[ -~]{0,12})?",
        "[b-z]=[ -~]{0,12}"
            .prop_filter("transport has its own rules", |line| !line.starts_with(['c', 'm', 'v'])),
    ]
}

fn media() -> impl Strategy<Value = String> {
    let head = prop_oneof![
        4 => Just(("audio", "RTP/AVP", "0 8 96 101")),
        1 => Just(("audio", "RTP/AVP", "96 0")),
        1 => Just(("video", "RTP/AVPF", "31")),
        1 => Just(("image", "udptl", "t38")),
        1 => Just(("audio", "RTP/SAVP", "0")),
        1 => Just(("audio", "UDP/TLS/RTP/SAVPF", "0")),
        1 => Just(("message", "TCP/MSRP", "*")),
        1 => Just(("application", "UDP/BFCP", "*")),
    ];
    let port = prop_oneof![6 => 1024u16..60000, 1 => Just(0u16)];
    let address =
        prop_oneof![3 => Just(""), 1 => Just("c=IN IP4 10.1.2.3\n"), 1 => Just("c=IN IP4 0.0.0.0\n")];
    (head, port, address, prop::collection::vec(line(), 0..6)).prop_map(
        |((kind, proto, formats), port, address, lines)| {
            format!("m={kind} {port} {proto} {formats}\n{address}{}\n", lines.join("\n"))
        },
    )
}

fn session() -> impl Strategy<Value = String> {
    (prop::collection::vec(line(), 0..4), prop::collection::vec(media(), 1..6)).prop_map(|(lines, media)| {
        let lines = lines.join("\n");
        format!("v=0\no=u 1 1 IN IP4 10.1.2.3\ns=-\nc=IN IP4 10.1.2.3\nt=0 0\n{lines}\n{}", media.concat())
    })
}

proptest! {
    #[test]
    fn m_lines_keep_number_order_and_kind(offer in session()) {
        let sdp = Sdp::parse(offer.as_bytes()).expect("it is made to be read");
        if let Ok(offered) = call(6).offer(Side::A, offer.as_bytes()) {
            let ours = Sdp::parse(&offered).expect("what we write can be read");
            prop_assert_eq!(ours.media().len(), sdp.media().len());
            for (ours, theirs) in ours.media().iter().zip(sdp.media()) {
                prop_assert_eq!(ours.kind(), theirs.kind());
                prop_assert_eq!(ours.proto_text(), theirs.proto_text());
                prop_assert!(theirs.port() != 0 || ours.port() == 0);
            }
            prop_assert!(!text(&offered).contains("10."), "{}", text(&offered));
        }
    }

    #[test]
    fn writing_is_idempotent(offer in session()) {
        sdp::fuzz::parse_and_write(offer.as_bytes());
    }

    #[test]
    fn any_offer_and_answer_keep_the_rules(offer in session(), answer in session()) {
        sdp::fuzz::offer_and_answer(format!("{offer}{answer}").as_bytes());
    }

    #[test]
    fn rollback_restores(offer in session()) {
        let mut call = call(6);
        call.offer(Side::A, &audio("192.0.2.10", 4000, "0 8", "")).expect("a good offer");
        call.answer(Side::B, RemoteTag(1), &audio("192.0.2.20", 5000, "0", "")).expect("a good answer");
        call.commit(RemoteTag(1)).expect("it has answered");
        call.answered();
        let before = (call.spec(), call.last_sent(Side::A).map(text), call.last_sent(Side::B).map(text));
        for side in [Side::A, Side::B] {
            if call.offer(side, offer.as_bytes()).is_ok() {
                let _ = call.answer(side.other(), RemoteTag(3), offer.as_bytes());
                call.rollback();
            }
            let after = (call.spec(), call.last_sent(Side::A).map(text), call.last_sent(Side::B).map(text));
            prop_assert_eq!(&before, &after);
        }
    }

    #[test]
    fn bytes_never_panic(data in prop::collection::vec(any::<u8>(), 0..300)) {
        sdp::fuzz::parse_and_write(&data);
        sdp::fuzz::offer_and_answer(&data);
    }
}

/// Seeded mutations of our samples: bytes changed, cut out and doubled.
#[test]
fn mutated_samples_never_panic() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    let mut samples: Vec<_> = std::fs::read_dir(folder)
        .expect("the samples are in the repository")
        .filter_map(|entry| std::fs::read(entry.ok()?.path()).ok())
        .collect();
    samples.sort();
    let mut rng = base::Rng::from_seed(3264);
    for _ in 0..20_000 {
        let mut pick = |len: usize| rng.below(len.max(1) as u64) as usize;
        let mut data = samples[pick(samples.len())].clone();
        data.extend_from_slice(&samples[pick(samples.len())]);
        for _ in 0..1 + pick(8) {
            let at = pick(data.len());
            match pick(4) {
                0 => data[at] = pick(256) as u8,
                1 => data[at] = b" /:=\n\r0.9"[pick(9)],
                2 => drop(data.drain(at..(at + 1 + pick(20)).min(data.len()))),
                _ => {
                    let piece = data[at..(at + 1 + pick(40)).min(data.len())].to_vec();
                    data.splice(at..at, piece);
                }
            }
            if data.is_empty() {
                break;
            }
        }
        sdp::fuzz::parse_and_write(&data);
        sdp::fuzz::offer_and_answer(&data);
    }
}

#[test]
fn limits_are_errors_with_names() {
    let class = |text: &[u8]| Sdp::parse(text).map(|_| ()).map_err(sdp::SdpError::class);
    let head = "v=0\nc=IN IP4 192.0.2.1\n";
    let many = |line: &str, times: usize| format!("{head}{}", line.repeat(times)).into_bytes();
    assert_eq!(class(&many("a=x\n", 1022)), Ok(()));
    assert_eq!(class(&many("a=x\n", 1023)), Err("too_many_lines"));
    assert_eq!(class(&many("m=audio 1 RTP/AVP 0\n", 32)), Ok(()));
    assert_eq!(class(&many("m=audio 1 RTP/AVP 0\n", 33)), Err("too_many_media"));
    assert_eq!(class(&many(&format!("m=audio 1 RTP/AVP{}\n", " 0".repeat(129)), 1)), Err("too_many_formats"));
    assert_eq!(class(&many(&"a".repeat(70_000), 1)), Err("too_long"));
    for (text, error) in [
        ("", "version"),
        ("\r\n\r\n", "version"),
        ("v=1\n", "version"),
        ("o=- 1 1 IN IP4 1.2.3.4\n", "version"),
        ("v=0\na=\0\n", "nul"),
        ("v=0\nm=audio\n", "media"),
        ("v=0\nm=audio 4000 RTP/AVP 0\n", "no_connection"),
        ("v=0\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP\n", "media"),
        ("v=0\nc=IN IP4 192.0.2.1\nm=audio 65536 RTP/AVP 0\n", "port"),
        ("v=0\nc=IN IP4 192.0.2.1\nm=audio -1 RTP/AVP 0\n", "port"),
        ("v=0\nc=IN IP4 192.0.2.1\nm=audio 0x10 RTP/AVP 0\n", "port"),
        ("v=0\nc=IN IP4 192.0.2.1\nm=audio 4000/ RTP/AVP 0\n", "port"),
        ("v=0\nc=IN IP4 192.0.2.256\n", "connection"),
        ("v=0\nc=IN IP4 010.0.0.1\n", "connection"),
        ("v=0\nc=IN IP4 2001:db8::1\n", "connection"),
        ("v=0\nc=IN IP6 192.0.2.1\n", "connection"),
        ("v=0\nc=IN IP4\n", "connection"),
        ("v=0\nc=ATM NSAP 47\n", "connection"),
        ("v=0\nc=IN IP4 192.0.2.1\nc=IN IP4 192.0.2.2\n", "connection"),
        ("v=0\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\na=rtcp:x\n", "rtcp"),
        ("v=0\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\na=rtcp:1 IN IP4 1.2.3\n", "rtcp"),
    ] {
        assert_eq!(class(text.as_bytes()), Err(error), "{text:?}");
    }
    for text in [
        "v=0",
        "v=0\rc=IN IP4 192.0.2.1\rm=audio 4000 RTP/AVP 0\r",
        "v=0\nc=IN IP4 192.0.2.1/127\n",
        "v=0\nc=IN IP4 233.252.0.1/64/3\nc=IN IP4 233.252.0.2/64/3\n",
        "v=0\nc=IN IP4 192.0.2.1 as before\n",
        "v=0\nm=audio 0 RTP/AVP\n",
    ] {
        assert_eq!(class(text.as_bytes()), Ok(()), "{text:?}");
    }
}
