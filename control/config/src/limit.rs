//! `limit.NAME`, and the limits of trunks and accounts.

use crate::describe::{choices, table};
use crate::words::{Name, Rate};

table! {
    /// How many calls may share something: trunks and accounts name it as their `pool`.
    pub struct Limit {
        /// Calls at a time.
        calls: Option<u32> = None, in 1..=10_000_000;
        /// New calls in a time.
        cps: Option<Rate> = None;
        /// New calls that may come at once; needs `cps`. Not given, what `cps` lets through in a second.
        burst: Option<u32> = None, in 1..=1_000_000;
        /// Of `calls`, places that only calls of class priority (and emergency calls) may take.
        reserve: u32 = 0, in 0..=10_000_000;
        /// Holds for each caller, each called number or each source address on its own, not for all calls together.
        per: Option<LimitPer> = None;
        /// So many keys of `per` are told apart at a time; a call with one more is refused. Not given, 100000.
        keys: Option<u32> = None, in 1..=10_000_000;
    }
}

choices! {
    /// What a limit holds for.
    pub enum LimitPer {
        /// Each calling number.
        Caller = "caller";
        /// Each called number.
        Callee = "callee";
        /// Each source address.
        Source = "source";
    }
}

table! {
    /// How many calls one trunk or account may have.
    pub struct OwnLimit {
        /// Calls at a time.
        calls: Option<u32> = None, in 1..=10_000_000;
        /// New calls in a time.
        cps: Option<Rate> = None;
        /// New calls that may come at once; needs `cps`. Not given, what `cps` lets through in a second.
        burst: Option<u32> = None, in 1..=1_000_000;
        /// Names of `limit`s that are shared with others: a call takes a place in each.
        pool: Vec<Name> = Vec::new();
    }
}
