//! A decision told step by step: what would happen to a call, without one. Made by the code that decides on calls.

use base::Wall;
use core::net::SocketAddr;

/// A call that nobody makes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExplainQuestion {
    /// Calling number.
    pub from: String,
    /// Called number.
    pub to: String,
    /// Where the INVITE would come from; decides on the trunk unless `trunk` is given.
    pub source: Option<SocketAddr>,
    /// The source trunk by name.
    pub trunk: Option<String>,
    /// The calling account by name.
    pub account: Option<String>,
    /// Further headers of the INVITE.
    pub headers: Vec<(String, String)>,
    /// When; now, if not given. Only what looks at the clock (time windows) follows it.
    pub at: Option<Wall>,
}

/// What would happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// `route`, `refuse`, `divert`, `silence`, or `ask` where a hook would be asked.
    pub verdict: &'static str,
    /// What the caller would be told: status and phrase; none for a call that goes on.
    pub status: Option<(u16, String)>,
    /// Stable word of the refusal, as in counters and records.
    pub refusal: Option<&'static str>,
    /// Source trunk.
    pub trunk_in: Option<String>,
    /// The account.
    pub account: Option<String>,
    /// The route.
    pub route: Option<String>,
    /// The group by which the trunk was chosen.
    pub group: Option<String>,
    /// The trunk that would be called first.
    pub trunk_out: Option<String>,
    /// Request-URI of the first attempt.
    pub uri: Option<String>,
    /// Calling number on the outgoing leg.
    pub caller: String,
    /// Called number after all rewriting, without technical prefix.
    pub callee: String,
    /// Every step in order.
    pub steps: Vec<ExplainStep>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainStep {
    /// `who`, `guard`, `what`, `may it`, `where`, `how much`.
    pub stage: &'static str,
    /// What was looked at and what came of it, for people.
    pub text: String,
}
