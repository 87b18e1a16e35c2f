//! Whatever comes in whatever order: nothing of one side is seen by the other, what fails leaves no trace, and media does
//! what was told.

use super::world::*;
use crate::exchange::fuzz;
use proptest::prelude::*;
use sdp::{Sdp, Side};

/// One m-line of a side, by numbers.
#[derive(Clone, Debug)]
struct Part {
    kind: u8,
    port: u16,
    formats: Vec<u8>,
    secure: u8,
    direction: u8,
    extras: u8,
}

#[derive(Clone, Debug)]
struct Step {
    is_offer: bool,
    is_from_b: bool,
    wishes: u8,
    parts: Vec<Part>,
    is_broken: bool,
}

fn part() -> impl Strategy<Value = Part> {
    let formats = proptest::collection::vec(0u8..8, 1..5);
    (0u8..10, 0u16..6, formats, 0u8..6, 0u8..8, any::<u8>()).prop_map(
        |(kind, port, formats, secure, direction, extras)| Part {
            kind,
            port,
            formats,
            secure,
            direction,
            extras,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let parts = proptest::collection::vec(part(), 0..4);
    (any::<bool>(), any::<bool>(), any::<u8>(), parts, 0u8..8).prop_map(
        |(is_offer, is_from_b, wishes, parts, broken)| Step {
            is_offer,
            is_from_b,
            wishes,
            parts,
            is_broken: broken == 0,
        },
    )
}

/// An SDP full of what must not be seen elsewhere: the address and the key of its side.
fn write(step: &Step) -> String {
    let (address, key) = secrets(step.is_from_b);
    let mut sdp = format!("v=0\no=- 1 1 IN IP4 {address}\ns=-\nc=IN IP4 {address}\nt=0 0\n");
    if step.is_broken {
        sdp += "m=audio 70000 RTP/AVP 0\n";
    }
    for part in &step.parts {
        let port = if part.port == 0 { 0 } else { 4000 + 2 * part.port };
        let (kind, proto) = match (part.kind, part.secure) {
            (0, _) => ("image", "udptl"),
            (1, _) => ("video", "RTP/AVP"),
            (_, 0) => ("audio", "RTP/SAVP"),
            (_, 1) => ("audio", "RTP/SAVPF"),
            (_, 2) => ("audio", "RTP/AVPF"),
            _ => ("audio", "RTP/AVP"),
        };
        let names = [
            ("0", ""),
            ("8", ""),
            ("96", "opus/48000/2"),
            ("97", "telephone-event/48000"),
            ("101", "telephone-event/8000"),
            ("18", ""),
            ("99", "opus/48000/2"),
            ("13", ""),
        ];
        let formats: Vec<_> = part.formats.iter().map(|format| names[usize::from(*format)]).collect();
        let numbers: Vec<_> = formats.iter().map(|(number, _)| *number).collect();
        sdp += &format!("m={kind} {port} {proto} {}\n", numbers.join(" "));
        for (number, map) in formats.iter().filter(|(_, map)| !map.is_empty()) {
            sdp += &format!("a=rtpmap:{number} {map}\n");
        }
        if part.extras & 1 != 0 && part.direction < 4 {
            sdp += &format!("c=IN IP4 {}\n", if part.direction == 3 { "0.0.0.0" } else { address });
        }
        sdp += ["a=sendonly\n", "a=recvonly\n", "a=inactive\n", "a=sendrecv\n"]
            .get(usize::from(part.direction))
            .unwrap_or(&"");
        if part.secure < 2 || part.secure == 3 {
            sdp += &format!("a=crypto:{} AES_CM_128_HMAC_SHA1_80 inline:{key}\n", 1 + part.extras % 3);
        }
        for (bit, line) in [
            (2, "a=rtcp-mux\n".to_owned()),
            (4, format!("a=rtcp:4321 IN IP4 {address}\n")),
            (8, format!("a=candidate:1 1 udp 1 {address} 4000 typ host\n")),
            (16, format!("a=alt:1 1 : x {address} 4000\n")),
            (32, "a=ptime:30\na=maxptime:40\n".to_owned()),
            (64, "a=mid:m\n".to_owned()),
        ] {
            if part.extras & bit != 0 {
                sdp += &line;
            }
        }
    }
    sdp
}

fn secrets(is_b: bool) -> (&'static str, &'static str) {
    match is_b {
        false => ("192.0.2.77", "QjnnaukLn7iwASAs0YLzPUplJkjOhTZK2dvOwo6c"),
        true => ("198.51.100.66", "dfgadgdfgdfgdfgd6AYjs3vKw7CeBdWZCj0isbJv"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_sequence_of_offers_and_answers_tells_a_side_of_the_other(steps in proptest::collection::vec(step(), 1..8)) {
        let mut world = World::new();
        for step in &steps {
            let side = if step.is_from_b { Side::B } else { Side::A };
            let (sdp, options) = (write(step), fuzz::options(step.wishes));
            let before = world.exchange.lines();
            let told = match step.is_offer {
                true => world.offer(side, &sdp, &options),
                false => world.answer(side, &sdp, &options),
            };
            let lines = world.exchange.lines();
            let Ok(told) = told else {
                prop_assert_eq!(lines, before, "what fails changes nothing");
                continue;
            };
            let (address, key) = secrets(step.is_from_b);
            let (other_address, other_key) = secrets(!step.is_from_b);
            prop_assert!(!told.contains(address) && !told.contains(key), "{told}");
            prop_assert!(!told.contains(other_address) && !told.contains(other_key), "nor its own: {told}");
            fuzz::check(&lines, &makeable());
            let bytes = crlf(&told);
            let read = Sdp::parse(&bytes).expect("it can be read");
            // Each live line that was told is one of ours, in the order of the ports.
            let ports: Vec<u16> = read.media().iter().map(|media| media.port()).filter(|port| *port != 0).collect();
            let ours: Vec<u16> = places(side.other()).iter().map(|place| place.port).collect();
            prop_assert!(ports.is_sorted() && ports.iter().all(|port| ours.contains(port)));
            for line in lines.iter().filter(|line| !line.is_refused) {
                for side in &line.sides {
                    let keys = side.keys.as_ref();
                    prop_assert!(keys.is_none_or(|keys| !keys.key.is_empty()));
                }
            }
        }
    }

    #[test]
    fn what_media_does_is_what_was_told(mut first in step(), mut second in step()) {
        let mut world = World::new();
        (first.is_offer, first.is_from_b, first.is_broken) = (true, false, false);
        (second.is_offer, second.is_from_b, second.is_broken) = (false, true, false);
        let offered = world.offer(Side::A, &write(&first), &fuzz::options(first.wishes));
        prop_assume!(offered.is_ok());
        let told = world.answer(Side::B, &write(&second), &fuzz::options(second.wishes));
        prop_assume!(told.is_ok());
        let lines = world.exchange.lines();
        for (text, side) in [(offered.unwrap(), 1), (told.unwrap(), 0)] {
            let bytes = crlf(&text);
            let read = Sdp::parse(&bytes).expect("it can be read");
            if read.media().len() != lines.len() {
                continue;
            }
            for (media, line) in read.media().iter().zip(&lines).filter(|(_, line)| !line.is_refused) {
                prop_assert!(media.port() != 0);
                let state = &line.sides[side];
                if side == 0 {
                    prop_assert_eq!(state.secure.is_some(), media.has_crypto());
                    prop_assert_eq!(state.mux == command::RtcpMux::Muxed, media.rtcp_mux());
                    let numbers: Vec<u8> = media.payload_numbers().collect();
                    prop_assert!(state.payloads.iter().all(|payload| numbers.contains(&payload.number)));
                } else {
                    prop_assert!(state.secure.is_none() || media.has_crypto());
                }
            }
        }
    }

    #[test]
    fn anything_can_be_fed(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        fuzz::exchange(&data);
        let text = [&data[..data.len().min(8)], b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4 RTP/AVP 0\r\n", &data[..]].concat();
        fuzz::exchange(&text);
    }
}
