//! What a fraud profile says: its key, rules, levels and actions. Counts nothing.

use crate::prefix::PrefixTree;
use crate::rates::Rates;
use crate::window::Span;
use base::{Duration, HashKey};
use core::ops::Deref;
use std::sync::Arc;

/// A profile ready for use; reads as its [`ProfileSpec`].
#[derive(Debug)]
pub struct Profile {
    spec: ProfileSpec,
    /// Of the name and the form of the keys, so that a changed profile goes on with its counts.
    pub(super) id: u64,
    /// Of the name.
    pub(super) policy: u64,
    /// Of all that changes what is stored a key; thresholds and actions do not.
    pub(super) shape: u64,
    pub(super) span: Span,
    prefixes: PrefixTree<()>,
}

/// A profile as configured.
#[derive(Clone, Debug)]
pub struct ProfileSpec {
    /// The policy's name; counts go on under it when the configuration changes.
    pub name: String,
    /// What is counted apart; empty counts all calls together.
    pub per: Vec<Per>,
    /// What [`Per::Prefix`] means.
    pub prefixes: Prefixes,
    /// 1 s to 366 days. What is counted counts for at least this and at most a sixtieth longer.
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
    /// The longest of these, digits with or without `+`, `X` is any digit; a number that has none is not counted by
    /// the profile.
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

/// Two thresholds; a value that reaches one is at that level. Zero is never reached.
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
    /// Calls in the last 60 s (to 61 s).
    pub cpm: Option<Levels<f64>>,
    /// Calls at a time.
    pub concurrent: Option<Levels<f64>>,
    /// Calls in the window.
    pub total: Option<Levels<f64>>,
    /// Consecutive calls to the identical number, in the window.
    pub sequential: Option<Levels<f64>>,
    /// Length of one call since its answer; concerns that call alone and no new one.
    pub duration: Option<Levels<Duration>>,
    /// Money that was spent in the window, by live calls too; needs rates.
    pub spend: Option<Levels<f64>>,
    /// Different numbers called in the window; a threshold above [`DISTINCT_MAX`] is taken as that.
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
    /// With fewer answered calls nothing is said.
    pub min_calls: u32,
}

/// Few calls are answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AnswerRatio {
    /// 0 to 1: below is bad, so critical is the lower one.
    pub below: Levels<f64>,
    /// With fewer ended calls nothing is said.
    pub min_calls: u32,
}

/// The largest threshold of `distinct`: so many numbers of 8 bytes each are kept a key at most.
pub const DISTINCT_MAX: u32 = 4096;

impl Profile {
    /// Makes a profile ready.
    pub fn new(spec: ProfileSpec) -> Arc<Profile> {
        let mut prefixes = PrefixTree::default();
        if let Prefixes::List(list) = &spec.prefixes {
            for prefix in list {
                prefixes.entry(prefix.trim_start_matches('+').as_bytes(), || ());
            }
        }
        // No stranger chooses these, so any key will do.
        let hash = |text: &str| HashKey::default().of(text.as_bytes());
        let rules = &spec.rules;
        let kept = [
            rules.cpm.is_some(),
            rules.total.is_some(),
            rules.sequential.is_some(),
            rules.spend.is_some(),
            rules.distinct.is_some(),
            rules.short_calls.is_some(),
            rules.answer_ratio.is_some(),
        ];
        let shape = hash(&format!("{:?} {kept:?}", spec.window));
        let id = hash(&format!("{} {:?} {:?}", spec.name, spec.per, spec.prefixes));
        let policy = hash(&spec.name);
        Arc::new(Profile { id, policy, shape, span: Span::of(spec.window), prefixes, spec })
    }

    /// The part of a called number that counts as its prefix.
    pub(super) fn prefix_of<'n>(&self, callee: &'n [u8]) -> Option<&'n [u8]> {
        let digits = callee.strip_prefix(b"+").unwrap_or(callee);
        let len = match &self.spec.prefixes {
            Prefixes::Digits(len) => usize::from(*len).min(digits.len()),
            Prefixes::List(_) => {
                let mut longest = None;
                self.prefixes.matches(digits, |len, ()| longest = longest.max(Some(len)));
                longest?
            }
        };
        Some(&digits[..len])
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

    pub(super) fn cuts(&self, level: Level) -> bool {
        self.actions(level).contains(&Action::Cut)
    }

    /// Whether a new call at this level does not go where it wants to.
    pub(super) fn refuses(&self, level: Level) -> bool {
        self.actions(level).iter().any(|action| match action {
            Action::Reject | Action::Divert(_) | Action::Disable(_) | Action::Ban(_) => true,
            Action::Event | Action::Cut | Action::Lower(_) => false,
        })
    }

    pub(super) fn spends(&self) -> bool {
        self.rules.spend.is_some() && self.rates.is_some()
    }
}

impl<T: Copy> Levels<T> {
    /// The threshold of a level.
    pub fn at(&self, level: Level) -> T {
        match level {
            Level::Warning => self.warning,
            Level::Critical => self.critical,
        }
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
