//! Entries for fuzzers: plain functions on bytes, which must neither panic nor break what they state.

use crate::parse::Sdp;

/// Reads whatever comes.
pub fn parse(data: &[u8]) {
    let _ = Sdp::parse(data);
}
