//! Whether a call may: where it may go, who may call, what it costs, what looks like fraud, who is banned.
//! Decides nothing about how a call goes; knows no SIP, no socket and no clock.
#![forbid(unsafe_code)]
pub mod prefix; // longest match over digits, with `X` for any digit
pub mod destination; // where calls may go: the default table, own prefixes, named lists
pub mod numbers; // which callers may call
pub mod rates; // prefix to price, and the cost of a call
pub mod window; // counts over the last while, in fixed buckets
pub mod fraud; // profiles: counts a key, levels, live calls
pub mod guard; // strangers: offences, floods, scanners

pub use destination::{Base, Destinations, Entry, Verdict};
pub use fraud::{
    Action, AnswerRatio, Facts, Finding, Fraud, Level, Levels, LiveFinding, Money, Per, Prefixes, Profile,
    ProfileSpec, Rules, ShortCalls, Ticket,
};
pub use guard::{BanWanted, Guard, GuardSpec, Network, Offence, Rate};
pub use numbers::Callers;
pub use rates::{Amount, RateError, Rates};
