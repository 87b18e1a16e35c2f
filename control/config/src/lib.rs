//! The configuration: one TOML file, one schema, one struct a table. Reads it with the place of every key, finds every
//! error at once, and turns it into the plain specs of `b2bua`. Opens no socket, starts nothing.
#![forbid(unsafe_code)]
pub mod error; // what is wrong, where, and what was probably meant
pub mod secret; // where passwords are
pub mod place; // paths of keys, and where they stand in the text
pub mod read; // TOML with places
pub mod value; // what may stand behind a key
pub mod objects; // named and ordered objects
mod describe; // the one description of a table
pub mod words; // durations, rates, addresses, URIs, codes, patterns
pub mod listener; // listener.NAME
pub mod limit; // limit.NAME and own limits
pub mod trunk; // trunk.NAME
pub mod group; // group.NAME
pub mod headers; // headers of routes
pub mod route; // [[route]], [[number_rule]]
pub mod policy; // policy.NAME
pub mod account; // account."user@domain"
pub mod engine; // [engine], [unknown]
mod root; // the whole file
mod document; // from text to tables
mod check; // references, and what does not go together
pub mod book; // what versions share
mod spec; // what b2bua works with
pub mod diff; // what changed between two versions
pub mod docs; // the page of reference
pub mod import; // other programs' configurations as ours
pub mod fuzz; // entries for fuzzers: plain functions on bytes

pub use book::PoolBook;
pub use engine::{Engine, Unknown};
pub use error::{ConfigError, Kind, Notice, Place};
pub use root::{Checked, Config, TEXT_MAX};
pub use secret::{Secret, SecretError};
