//! Session descriptions from outside: samples of each rule, whole calls, properties, and the corpus where it is present.
#![expect(clippy::print_stderr, reason = "an absent corpus is said loudly")]
mod call; // a call between two sides, for the other modules
mod calls;
mod converted; // sides that share no codec
mod encrypted; // keys that end here
mod corpus;
mod properties;
mod samples;
