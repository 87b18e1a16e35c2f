//! Asks an operator's program over HTTP where a call goes, or whether it may: one bounded queue, one task, deadlines
//! kept to the millisecond. A shell; it decides nothing about calls, and never waits for one.
#![forbid(unsafe_code)]
pub mod question; // what is asked, as JSON
pub mod answer; // what may be answered, checked
pub mod stats; // what is counted
mod cache; // answers that still hold, bounded
mod service; // the task: queue, flights, deadlines

pub use service::{Hooks, Limits};
pub use stats::HookStats;
