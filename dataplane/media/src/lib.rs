//! What happens to one packet, and to the streams of one bridge. Knows nothing of SIP and opens no socket.
#![forbid(unsafe_code)]
pub mod wire; // rtp, rtcp: borrowed views; what a datagram is
pub mod quality; // RFC 3550 statistics of a stream, and what a listener would say (emodel)
pub mod srtp; // encryption under one key: Sealer, Opener
pub mod reporter; // RTCP of streams that begin or end here
pub mod playout; // from packets of one source to speech at the tick
pub mod tone; // tones by cadence and country: Player, named, parse
pub mod dtmf; // digits: RFC 4733 events, tones in speech, plans
pub mod echo; // line echo canceller
pub mod mixer; // one room: who is heard, and what each hears
pub mod bridge; // the bridges of one shard: port, learn, relay, silence, reports
#[cfg(test)]
mod material; // test material of others
pub mod fuzz; // fuzz entries: plain functions on bytes

pub use bridge::{
    Bridges, BridgesConfig, CODECS_MAX, Counters, Crossing, Hop, Kind, OpenPort, Packet, Slot, Stock, Tape,
    TapeWant, Unsupported,
};
