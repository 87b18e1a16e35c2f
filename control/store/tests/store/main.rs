//! The store from outside: records survive what may happen to process, disk, database and the servers of others.

#[path = "../../src/testing.rs"]
mod testing;
mod query;
mod support;
mod webhook;
mod writer;
