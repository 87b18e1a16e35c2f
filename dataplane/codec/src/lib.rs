//! Codecs and the facts about payload formats. Bytes and samples in, bytes and samples out: no packets, no streams.
#![deny(unsafe_code)] // but in pcm.rs, resample.rs, g711/avx2.rs and opus/opusic.rs
pub mod payload; // what is known of payload formats: numbers, clocks, frames
pub mod coder; // what a codec is: two traits
pub mod pcm; // blocks of samples: level, gain, sum
pub mod resample; // from one sampling rate to another
pub mod noise; // comfort noise
pub mod plc; // concealment for codecs that code sample by sample
pub mod g711; // µ-law and A-law
pub mod g722; // 7 kHz in 64 kbit/s
pub mod l16; // samples as they are
pub mod opus; // libopus behind checks of our own
pub mod registry; // the list of codecs
pub mod stretch; // shorter or longer without a change of pitch
pub mod wav; // WAV files as bytes
pub mod ogg; // Opus in Ogg files, as bytes
pub mod fuzz; // entries for tests that feed it anything
