//! Offers and answers from bytes that nobody vouches for.

use super::{Exchange, LineState, Place};
use crate::options::{
    CodecName, CodecOptions, Options, OsrtpOptions, RtcpMuxOptions, SdesOptions, Transport,
};
use command::{Suite, Transform};
use sdp::crypto::KeySource;
use sdp::{Makeable, Sdp, Side};
use std::sync::Arc;

/// The first bytes are wishes; what follows is cut at each `v=0`, and the pieces are offered and answered in turn by
/// either side. What fails changes nothing; what is told can be read; what media is to do can be done.
pub fn exchange(data: &[u8]) {
    let (wishes, text) = data.split_at(data.len().min(8));
    let mut wish = wishes.iter().copied().chain(core::iter::repeat(0));
    let mut exchange = Exchange::new(makeable(), KeySource::from_seed([1; 32]), 1);
    let starts: Vec<usize> = memchr_all(text, b"v=0");
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    for (round, (start, end)) in starts.iter().copied().zip(ends).take(8).enumerate() {
        let sdp = &text[start..end];
        let from = if wish.next() == Some(1) { Side::B } else { Side::A };
        let options = options(wish.next().unwrap_or(0));
        step(&mut exchange, round % 2 == 0, from, sdp, &options);
        // The same piece answers itself.
        step(&mut exchange, round % 2 != 0, from.other(), sdp, &options);
    }
}

fn step(exchange: &mut Exchange, is_offer: bool, from: Side, sdp: &[u8], options: &Options) {
    let before = (exchange.lines(), exchange.said(from).map(<[u8]>::to_vec));
    let told = match is_offer {
        true => exchange.offer(from, sdp, options, &places()),
        false => exchange.answer(from, sdp, options, &places()),
    };
    match told {
        Ok(told) => {
            let read = Sdp::parse(&told).expect("what was told can be read");
            let lines = exchange.lines();
            check(&lines, &makeable());
            assert_eq!(exchange.lines(), lines, "asking changes nothing");
            assert!(read.media().len() <= lines.len());
            let _ = exchange.is_held();
        }
        Err(_) => {
            let after = (exchange.lines(), exchange.said(from).map(<[u8]>::to_vec));
            assert_eq!(after, before, "what fails changes nothing");
        }
    }
}

/// What is made is what the sink takes, and keys come in pairs.
pub(super) fn check(lines: &[LineState], made: &[Makeable]) {
    for line in lines {
        for (from, transform) in line.transforms.iter().enumerate() {
            let sink = &line.sides[1 - from].payloads;
            match transform {
                Transform::Transcode { to_payload, ptime_ms } => {
                    let payload = sink.iter().find(|payload| payload.number == *to_payload);
                    let payload = payload.expect("the sink takes what is made for it");
                    let made = made.iter().find(|made| made.name.eq_ignore_ascii_case(&payload.encoding));
                    let ptimes = made.expect("it can be made").ptimes;
                    assert!(ptimes.iter().any(|ms| u16::from(*ms) == *ptime_ms));
                    assert!(!line.sides[from].is_sealed, "what is sealed is not opened");
                }
                Transform::Relay { payload_map, .. } => {
                    assert!(payload_map.iter().all(|(from, to)| *from < 128 && *to < 128));
                }
                other => panic!("{other:?}"),
            }
        }
        for side in &line.sides {
            assert!(side.keys.is_none() || side.secure.is_some(), "whose keys we have we have keys for");
            assert!(side.payloads.iter().all(|payload| payload.number < 128 && payload.clock > 0));
        }
    }
}

fn makeable() -> Arc<[Makeable]> {
    [("PCMA", 8000, 1, 8), ("opus", 48000, 2, 111)]
        .map(|(name, clock, channels, number)| Makeable {
            name,
            clock,
            channels,
            fmtp: "",
            number,
            ptimes: &[10, 20],
        })
        .into()
}

fn places() -> Vec<Place> {
    (0..40).map(|n| Place { address: [192, 0, 2, 9].into(), port: 20_000 + 2 * n }).collect()
}

/// Eight kinds of wishes, by bits.
pub(super) fn options(bits: u8) -> Options {
    let name = |name: &str| vec![CodecName { name: name.to_owned(), ..CodecName::default() }];
    let has = |bit: u8| bits >> bit & 1 != 0;
    let list = |bit: u8, entry: &str| if has(bit) { name(entry) } else { Vec::new() };
    let codec = CodecOptions {
        transcode: [list(0, "opus"), list(0, "PCMA"), list(5, "telephone-event")].concat(),
        mask: list(1, "all"),
        strip: list(2, "PCMU"),
        accept: list(3, "all"),
        single: has(4),
        reuse: has(4),
        always_transcode: has(5),
        ..CodecOptions::default()
    };
    let secure = Transport::Rtp { secure: has(7), feedback: has(1) };
    let mut options = Options {
        codec,
        transport: has(6).then_some(secure),
        osrtp: OsrtpOptions { offer: has(3), accept: has(2) },
        rtcp_mux: RtcpMuxOptions { offer: has(1), demux: has(4), ..RtcpMuxOptions::default() },
        sdes: SdesOptions { no_new: has(5), order: vec![Suite::AesCm128Sha1_32], ..SdesOptions::default() },
        ptime: has(4).then_some(40),
        ..Options::default()
    };
    options.sdp.replace_origin = true;
    options.sdp.replace_version = has(0);
    options.sdp.replace_zero_address = has(3);
    if has(7) && has(4) {
        options.sdp.remove_media = vec![b"video".to_vec()];
    }
    options
}

/// Where a text occurs.
fn memchr_all(text: &[u8], wanted: &[u8]) -> Vec<usize> {
    (0..text.len()).filter(|at| text[*at..].starts_with(wanted)).collect()
}
