//! Counters of the NG protocol on one signalling shard: written by its thread, read by the metrics page.

use base::{Counter, Histogram};
use ledger::stats::Labelled;

/// Clients that are counted one by one: `statistics` names each.
pub const CLIENTS_MAX: usize = 16;

/// All of one shard. Labels come from fixed lists.
#[derive(Debug, Default)]
pub struct NgStats {
    /// Command (`offer` …, `none` for what is no request), result (`ok`, `pong`, `load_limit`, or the class of a
    /// [`crate::failure::Failure`]).
    pub requests: Labelled,
    /// The same by client: its address, command, `ok` or `error`; of the first [`CLIENTS_MAX`] clients.
    pub clients: Labelled,
    /// From request to answer; what waits for ports or reports takes turns of the shard.
    pub seconds: Histogram,
    /// Calls that exist now, those that are deleted and still to go included.
    pub calls_now: Counter,
    /// How calls ended: `deleted`, `silence`, `unanswered`, `hangup`, `media_restarted`, `refused`.
    pub ended: Labelled,
    /// Requests that came again and got the answer of the first.
    pub replayed: Counter,
    /// Requests that came again before the first was answered.
    pub waited: Counter,
    /// Datagrams without a cookie: nobody can be answered.
    pub dropped: Counter,
    /// Offers of new calls that were refused because there are too many, or the shard is behind or drained.
    pub load_limited: Counter,
    /// Requests refused because too many of the same call waited.
    pub crowded: Counter,
    /// Places that the last recount of leases found wrong; must stay 0.
    pub limit_drift: Counter,
}

/// Whether a result of [`NgStats::requests`] is an error.
pub(crate) fn is_error(result: &str) -> bool {
    !matches!(result, "ok" | "pong" | "load_limit")
}
