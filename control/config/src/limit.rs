//! `limit.NAME`, and the limits of trunks and accounts.

use crate::describe::table;
use crate::words::{Name, Rate};

table! {
    /// How many calls may share something: trunks and accounts name it as their `pool`.
    pub struct Limit, protects "not in effect yet: calls are counted but not limited" {
        /// Calls at a time.
        calls: Option<u32> = None, in 1..=10_000_000;
        /// New calls in a time.
        cps: Option<Rate> = None;
        /// New calls that may come at once; needs `cps`.
        burst: Option<u32> = None, in 1..=1_000_000;
    }
}

table! {
    /// How many calls one trunk or account may have.
    pub struct OwnLimit, protects "not in effect yet: calls are counted but not limited" {
        /// Calls at a time.
        calls: Option<u32> = None, in 1..=10_000_000;
        /// New calls in a time.
        cps: Option<Rate> = None;
        /// New calls that may come at once; needs `cps`.
        burst: Option<u32> = None, in 1..=1_000_000;
        /// Name of a `limit` that is shared with others.
        pool: Option<Name> = None;
    }
}
