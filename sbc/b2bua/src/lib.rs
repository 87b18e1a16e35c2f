//! The back-to-back user agent: what happens to a call. Pure decisions and state machines: no socket, no clock, no DNS.
#![forbid(unsafe_code)]
pub mod spec; // the configuration as plain data
pub mod refusal; // why a request was refused, and what follows
pub mod trunk; // sources to trunks
pub mod explain; // what a decision looks like from inside
pub mod hop; // loops through us
pub mod headers; // what passes from leg to leg
pub mod judge; // whether somebody may call a number
pub mod admit; // whether a request becomes a call
pub mod session; // session timers
pub mod trace; // recent messages
pub mod desk; // what every call works with
mod orders; // sounds, digits and recordings of a call or room that go on
mod leg; // one leg
mod call; // one call
mod view; // a call as people see it
mod tarpit; // calls that are held and lead nowhere
pub mod switch; // all calls of one shard

pub use desk::{Config, Hop, Output, Query, Shared};
pub use routing::number;
pub use spec::{Spec, Transport};
pub use switch::Switch;
