//! The real binary with real peers on loopback: each test has addresses of its own, so that tests run side by side.
//! `STROWGER_PEERS=required` makes a missing peer a failure; elsewhere it is named loudly and its tests pass empty.
#![expect(clippy::disallowed_methods, reason = "these tests live in real time, with deadlines")]
#![expect(clippy::print_stderr, reason = "what a failed test tells")]
mod support; // engine, SIPp, sockets, waiting: what the tests stand on
mod sipp_basic; // calls that come about, and how they end
