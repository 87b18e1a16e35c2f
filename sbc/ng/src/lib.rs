//! rtpengine's NG protocol as a core: it opens no socket. A request comes in as bytes, is read once, changes a call or asks
//! about one, and its answer goes out as bytes; what media has to do goes out as commands.
#![forbid(unsafe_code)]
pub mod bencode; // the notation: a checked, borrowed view, and a writer
pub mod json; // the other notation
pub mod value; // what a request or reply says, whichever notation it was in
pub mod frame; // where a request begins and ends, from whom it came, and how its reply is written
pub mod replay; // requests that come twice: done once, answered each time
pub mod failure; // why a request fails, in the words that clients match
pub mod options; // what a request wants beside its SDP, as plain data
pub mod raw; // flags as one text, and words in their many spellings
pub mod flags; // keys and flags, read into options
pub mod request; // one request: command, parties, options
pub mod reply; // what is answered
pub mod exchange; // offers and answers between two parties, and what media does in between
pub mod control; // block, silence, echo, connect, play, digits, recordings of one call
pub mod subscription; // parties that only speak or only hear
mod source; // where a party's media is expected, and whose packets are taken
mod passage; // what happens between parties that never agreed with each other
pub mod tree; // answers of query, delete, list and statistics
pub mod notify; // what listeners are told without asking: digits
pub mod facts; // what controls, trees and subscriptions have to know of a call
pub mod spec; // the configuration as NG calls need it
pub mod counts; // counters of one shard
pub mod book; // what all shards know of all NG calls
mod call; // one call: parties, ports, offers and answers, its end
mod tools; // what every call of a shard works with
pub mod desk; // all NG calls of one signalling shard
pub mod fuzz; // entries for fuzzers: plain functions on bytes
