//! media.md where media is made here: transcoding, encryption, digits, reports, mute. Real codecs, virtual time, through
//! the boundary that the shard uses.

#[path = "../../../../tests/support/counting.rs"]
mod counting;
#[path = "../rules/world.rs"]
#[expect(dead_code, reason = "shared with the rules, which use more of it")]
mod rules;
mod world; // peers that talk and listen in real formats

mod digits; // events and tones, through and towards
mod formats; // what is said is heard, whatever the formats and packet times
mod memory; // nothing is taken from the heap by packets, and little by calls
mod mute; // silence packet for packet
mod numbers; // sequence, timestamp, SSRC, marker: order, gaps, restarts
mod pauses; // comfort noise
mod redundancy; // forward error correction of Opus
mod reports; // RTCP of streams that are made here, and of those that pass
mod sealed; // SRTP by SDES
