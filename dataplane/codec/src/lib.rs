//! Codecs and the facts about payload formats. Bytes and samples in, bytes and samples out: no packets, no streams.
#![forbid(unsafe_code)]
pub mod payload; // what is known of payload formats: numbers, clocks, frames
pub mod coder; // what a codec is: two traits
pub mod g711; // µ-law and A-law
