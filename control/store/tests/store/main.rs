//! The store from outside: records survive what may happen to process, disk, database and the servers of others.
#![expect(clippy::disallowed_methods, reason = "tests of a shell: they wait and measure")]

#[path = "../../src/testing.rs"]
mod testing;
mod query;
mod support;
mod webhook;
mod writer;
