//! The whole world in one thread, by seed: the signalling and media cores, many phones, and a network that delays,
//! loses, doubles and reorders, all in virtual time. `storm.rs` is what may happen, `check.rs` what must hold
//! afterwards, `directed.rs` what needs an exact race or hours, `judged.rs` where that is
//! about limits, fraud and hooks; `chaos.rs` storms at all that counts calls, and runs as a bench too.
#![expect(clippy::print_stderr, reason = "seeds and ladders are for who reads a failed test")]

pub(crate) mod chaos;
mod check;
mod directed;
mod judged;
mod media_shard;
mod phone;
mod plan;
mod storm;
mod world;
