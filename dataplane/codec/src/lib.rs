//! Codecs and the facts about payload formats. Numbers in, numbers out: no packets, no streams.
#![forbid(unsafe_code)]
