//! The back-to-back user agent: what happens to a call. Pure decisions and state machines: no socket, no clock, no DNS.
#![forbid(unsafe_code)]
pub mod number; // patterns and templates
pub mod spec; // the configuration as plain data
