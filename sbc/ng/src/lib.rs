//! rtpengine's NG protocol as a core: it opens no socket. A request comes in as bytes, is read once, changes a call or asks
//! about one, and its answer goes out as bytes; what media has to do goes out as commands.
#![forbid(unsafe_code)]
pub mod bencode; // the notation: a checked, borrowed view, and a writer
pub mod value; // what a request or reply says, whichever notation it was in
pub mod failure; // why a request fails, in the words that clients match
pub mod options; // what a request wants beside its SDP, as plain data
pub mod request; // one request: command, parties, options
pub mod exchange; // offers and answers between two parties, and what media does in between
pub mod control; // block, silence, echo, connect, play, digits, recordings of one call
mod passage; // what happens between parties that never agreed with each other
pub mod tree; // answers of query, delete, list and statistics
pub mod notify; // what listeners are told without asking: digits
pub mod facts; // what controls, trees and subscriptions have to know of a call
pub mod spec; // the configuration as NG calls need it
pub mod counts; // counters of one shard
pub mod book; // what all shards know of all NG calls
pub mod fuzz; // entries for fuzzers: plain functions on bytes
