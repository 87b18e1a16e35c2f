//! rtpengine's NG protocol as a core: it opens no socket. So far its notation; the commands, their flags and the
//! replay of answers stand upon it and come with the NG protocol itself, which the engine does not speak yet.
#![forbid(unsafe_code)]
pub mod bencode; // the notation: a checked, borrowed view, and a writer
pub mod fuzz; // entries for fuzzers: plain functions on bytes
