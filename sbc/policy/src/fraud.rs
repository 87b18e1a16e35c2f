//! Fraud profiles: what is counted a key over a sliding window, at which level that is, and the live calls that it
//! concerns. Shared by all signalling shards; acts on nothing itself.

use crate::rates::{Amount, Rates};
use base::{Duration, HashKey, Now};
use core::net::IpAddr;
use core::ops::Deref;
use std::sync::Arc;

/// What is counted apart; a profile's key is the tuple of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Per {
    /// Each account; a call without account counts for its trunk.
    Account,
    /// Each trunk.
    Trunk,
    /// Each called prefix, see [`Prefixes`].
    Prefix,
    /// Each caller.
    Caller,
    /// Each called number.
    Callee,
    /// Each source address.
    Source,
}

/// What the prefix of a called number is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prefixes {
    /// Its first digits, this many.
    Digits(u8),
    /// The longest of these, digits without `+`; a number that has none is not counted by the profile.
    List(Vec<String>),
}

/// What happens at a level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// An event.
    Event,
    /// New calls are refused.
    Reject,
    /// Live calls are ended.
    Cut,
    /// The account or trunk is out of use, for a time or until an operator acts.
    Disable(Option<Duration>),
    /// The source is banned, for a time or until an operator acts.
    Ban(Option<Duration>),
    /// Calls go to a flow.
    Divert(String),
    /// The limit of calls is lowered to this.
    Lower(u32),
}

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The first.
    Warning,
    /// The second.
    Critical,
}

/// Two thresholds; a value that reaches one is at that level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Levels<T> {
    /// The first.
    pub warning: T,
    /// The second.
    pub critical: T,
}

/// What is counted. A rule that is absent is not counted.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Rules {
    /// Calls in the last 60 s.
    pub cpm: Option<Levels<f64>>,
    /// Calls at a time.
    pub concurrent: Option<Levels<f64>>,
    /// Calls in the window.
    pub total: Option<Levels<f64>>,
    /// Consecutive calls to the identical number in the window.
    pub sequential: Option<Levels<f64>>,
    /// Length of one call since its answer; concerns that call alone.
    pub duration: Option<Levels<Duration>>,
    /// Money in the window, live calls included; needs rates.
    pub spend: Option<Levels<f64>>,
    /// Different numbers called in the window; at most [`DISTINCT_MAX`].
    pub distinct: Option<Levels<f64>>,
    /// Short calls among the answered ones that ended in the window.
    pub short_calls: Option<ShortCalls>,
    /// Answered calls among those that ended in the window.
    pub answer_ratio: Option<AnswerRatio>,
}

/// Many answered calls are too short.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShortCalls {
    /// 0 to 1: reached or above is bad.
    pub ratio: Levels<f64>,
    /// Shorter than this is short.
    pub under: Duration,
    /// Below this many answered calls nothing is said.
    pub min_calls: u32,
}

/// Few calls are answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AnswerRatio {
    /// 0 to 1: below is bad, so critical is the lower one.
    pub below: Levels<f64>,
    /// Below this many ended calls nothing is said.
    pub min_calls: u32,
}

/// The largest threshold of `distinct`.
pub const DISTINCT_MAX: u32 = 4096;

/// A profile as configured.
#[derive(Clone, Debug)]
pub struct ProfileSpec {
    /// The policy's name; counts go on under it when the configuration changes.
    pub name: String,
    /// What is counted apart; empty counts all calls together.
    pub per: Vec<Per>,
    /// What [`Per::Prefix`] means.
    pub prefixes: Prefixes,
    /// 1 s to 366 days.
    pub window: Duration,
    /// What is counted.
    pub rules: Rules,
    /// At [`Level::Warning`].
    pub warn: Vec<Action>,
    /// At [`Level::Critical`].
    pub critical: Vec<Action>,
    /// Prices, for `spend` and for the cost of a call.
    pub rates: Option<Arc<Rates>>,
}

/// A profile ready for use; reads as its [`ProfileSpec`].
#[derive(Debug)]
pub struct Profile {
    spec: ProfileSpec,
}

/// Who calls whom.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The account that proved itself.
    pub account: Option<&'a str>,
    /// The trunk that it came by.
    pub trunk: &'a str,
    /// The caller's number; the first 128 bytes count.
    pub caller: &'a [u8],
    /// The called number after all rewriting; the first 128 bytes count.
    pub callee: &'a [u8],
    /// Where it came from.
    pub source: IpAddr,
}

/// A rule whose value has reached a level.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Whose rule.
    pub profile: Arc<Profile>,
    /// `cpm`, `concurrent`, `total`, `sequential`, `duration`, `spend`, `distinct`, `short_calls`, `answer_ratio`.
    pub rule: &'static str,
    /// The level reached.
    pub level: Level,
    /// For people: `account=2001@acme.test prefix=+44`.
    pub key: String,
    /// The value; seconds for `duration`.
    pub value: f64,
    /// What it reached, or fell below for `answer_ratio`.
    pub threshold: f64,
    /// Not told before in this episode: worth an event.
    pub first: bool,
}

/// A finding about a live call, of [`Fraud::tick`].
#[derive(Clone, Debug)]
pub struct LiveFinding {
    /// As given to [`Fraud::begin`].
    pub call: u64,
    /// What was found.
    pub finding: Finding,
}

/// What a call cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Money {
    /// Zero if no profile has rates or none knows the prefix.
    pub price_per_minute: Amount,
    /// Of the whole call.
    pub cost: Amount,
}

/// A call that is counted. Ends it exactly once: by [`Fraud::end`], or unanswered when it is dropped.
#[must_use = "a dropped ticket ends its call"]
#[derive(Debug)]
pub struct Ticket {
    _private: (),
}

/// All counts.
#[derive(Debug)]
pub struct Fraud {
    _key: HashKey,
}

/// Figures for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Stats {
    /// Keys now.
    pub keys: u64,
    /// Of these, keys with live calls, which are never evicted.
    pub pinned: u64,
    /// Keys forgotten to make room.
    pub evicted: u64,
    /// Times that a profile could not count a call, because all keys were pinned.
    pub untracked: u64,
    /// Calls whose number no rate knew.
    pub unrated: u64,
}

impl Fraud {
    /// Holds at most `keys_max` keys of all profiles together.
    pub fn new(key: HashKey, _keys_max: usize) -> Fraud {
        Fraud { _key: key }
    }

    /// At set-up: counts the try in each profile and puts what is found into `found`, the worst level first, at most
    /// one finding a profile. `call` is the shard's own name of the call, told back by [`Fraud::tick`].
    pub fn begin(
        &self,
        _now: Now,
        _profiles: &[Arc<Profile>],
        _facts: &Facts<'_>,
        _shard: u8,
        _call: u64,
        _found: &mut Vec<Finding>,
    ) -> Ticket {
        Ticket { _private: () }
    }

    /// What [`Fraud::begin`] would find; counts nothing.
    pub fn peek(&self, _now: Now, _profiles: &[Arc<Profile>], _facts: &Facts<'_>) -> Vec<Finding> {
        Vec::new()
    }

    /// The call was answered: it begins to last and to cost.
    pub fn answered(&self, _now: Now, _ticket: &mut Ticket) {}

    /// The call is over.
    pub fn end(&self, _now: Now, _ticket: Ticket, _answered: bool) -> Money {
        Money::default()
    }

    /// Judges the live calls of a shard; call it every 250 ms. A key that is at a level with [`Action::Cut`] is told
    /// for each of its live calls, on the call's own shard, once a level.
    pub fn tick(&self, _now: Now, _shard: u8, _found: &mut Vec<LiveFinding>) {}

    /// Forgets the counts of a key, as [`Finding::key`] names it; live calls stay counted. False if there is no such key.
    pub fn reset(&self, _profile: &str, _key: &str) -> bool {
        false
    }

    /// Figures for metrics.
    pub fn stats(&self) -> Stats {
        Stats::default()
    }
}

impl Profile {
    /// Makes a profile ready.
    pub fn new(spec: ProfileSpec) -> Arc<Profile> {
        Arc::new(Profile { spec })
    }
}

impl Deref for Profile {
    type Target = ProfileSpec;
    fn deref(&self) -> &ProfileSpec {
        &self.spec
    }
}

impl ProfileSpec {
    /// What to do at a level.
    pub fn actions(&self, level: Level) -> &[Action] {
        match level {
            Level::Warning => &self.warn,
            Level::Critical => &self.critical,
        }
    }
}

impl Finding {
    /// What to do now.
    pub fn actions(&self) -> &[Action] {
        self.profile.actions(self.level)
    }
}

impl Level {
    /// `warning` or `critical`.
    pub fn word(self) -> &'static str {
        match self {
            Level::Warning => "warning",
            Level::Critical => "critical",
        }
    }
}
