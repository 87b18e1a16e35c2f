//! Where a call goes: number rules, routes, groups, and what is known of the health of trunks. Pure: a question and a
//! time come in, a decision comes out, and every step of it can be told. Knows no SIP.
#![forbid(unsafe_code)]
pub mod number; // patterns and templates
pub mod when; // time windows with a zone
pub mod explain; // what was looked at, and why it was not taken
pub mod rewrite; // number rules
pub mod table; // routes, compiled
pub mod group; // members, and how one is picked
pub mod health; // probes, breaker, switched off: one trunk as all shards see it

pub use explain::{Collected, Step, Witness};
pub use group::{Candidate, Chosen, Group, Member, Outcome, Shape, Wanted, Way, World, choose};
pub use health::Health;
pub use rewrite::{NumberOf, NumberRule, rewrite};
pub use table::{Asked, From, Match, Order, Table};
pub use when::When;
