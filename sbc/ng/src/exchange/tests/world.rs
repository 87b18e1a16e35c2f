//! Two parties with ports of ours between them, and how SDP is compared.

use crate::exchange::{Exchange, Place};
use crate::failure::Failure;
use crate::options::{CodecName, Options};
use sdp::crypto::KeySource;
use sdp::{Makeable, Side};
use std::sync::Arc;

/// What can be converted in these tests.
pub fn makeable() -> Arc<[Makeable]> {
    [("PCMU", 8000, 1, 0), ("PCMA", 8000, 1, 8), ("G722", 8000, 1, 9), ("opus", 48000, 2, 111)]
        .map(|(name, clock, channels, number)| Makeable {
            name,
            clock,
            channels,
            fmtp: "",
            number,
            ptimes: &[10, 20, 40, 60],
        })
        .into()
}

/// An exchange with ports: towards A 198.51.100.9:20000 and on, towards B 203.0.113.9:30000 and on.
pub struct World {
    pub exchange: Exchange,
}

impl World {
    pub fn new() -> Self {
        World { exchange: Exchange::new(makeable(), KeySource::from_seed([3; 32]), 0x1234_5678_9abc) }
    }

    pub fn offer(&mut self, from: Side, sdp: &str, options: &Options) -> Result<String, Failure> {
        self.exchange.offer(from, &crlf(sdp), options, &places(from.other())).map(text)
    }

    pub fn answer(&mut self, from: Side, sdp: &str, options: &Options) -> Result<String, Failure> {
        self.exchange.answer(from, &crlf(sdp), options, &places(from.other())).map(text)
    }
}

/// Ours towards a side.
pub fn places(side: Side) -> Vec<Place> {
    let (address, port) = match side {
        Side::A => ([198, 51, 100, 9], 20_000),
        Side::B => ([203, 0, 113, 9], 30_000),
    };
    (0..32).map(|n| Place { address: address.into(), port: port + 2 * n }).collect()
}

pub fn crlf(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

pub fn text(bytes: Vec<u8>) -> String {
    let text = String::from_utf8(bytes).expect("text");
    assert!(text.ends_with("\r\n"));
    text.replace("\r\n", "\n")
}

/// `NAME[/clock[/channels[/bitrate]]]`, by spaces.
pub fn codecs(list: &str) -> Vec<CodecName> {
    let entry = |word: &str| {
        let mut parts = word.split('/');
        CodecName {
            name: parts.next().unwrap_or_default().to_owned(),
            clock: parts.next().and_then(|n| n.parse().ok()),
            channels: parts.next().and_then(|n| n.parse().ok()),
            bitrate: parts.next().and_then(|n| n.parse().ok()),
            ..CodecName::default()
        }
    };
    list.split_whitespace().map(entry).collect()
}

/// The head of an SDP of a side.
pub const ALICE: &str = "v=0\no=alice 111 222 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\n";
pub const BOB: &str = "v=0\no=bob 333 444 IN IP4 192.0.2.2\ns=bs\nc=IN IP4 192.0.2.2\nt=0 0\n";
/// What B and A get of these.
pub const OF_ALICE: &str = "v=0\no=alice 111 222 IN IP4 192.0.2.1\ns=-\nt=0 0\n";
pub const OF_BOB: &str = "v=0\no=bob 333 444 IN IP4 192.0.2.2\ns=bs\nt=0 0\n";
