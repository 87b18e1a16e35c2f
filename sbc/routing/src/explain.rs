//! What was looked at on the way to a decision, and why it was or was not taken. Told by the code that decides, to
//! whoever wants to hear it; calls are routed with `()`, which hears nothing and costs nothing.

use crate::group::{Outcome, Pick, Way};
use crate::rewrite::NumberOf;
use std::borrow::Cow;

/// Hears of each step.
pub trait Witness {
    /// Whether it listens at all; if not, nothing is worked out for it.
    const LISTENS: bool = true;
    /// One step. They come in the order in which they were looked at.
    fn saw(&mut self, step: Step<'_>);
}

impl Witness for () {
    const LISTENS: bool = false;
    fn saw(&mut self, _: Step<'_>) {}
}

impl<W: Witness> Witness for &mut W {
    const LISTENS: bool = W::LISTENS;
    fn saw(&mut self, step: Step<'_>) {
        (**self).saw(step);
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq)]
pub enum Step<'a> {
    /// A number rule matched.
    Rewrote {
        /// Index of the rule.
        rule: usize,
        /// Its name.
        name: Cow<'a, str>,
        /// Whose number.
        of: NumberOf,
        /// The number that matched.
        from: Cow<'a, [u8]>,
        /// What it became.
        to: Cow<'a, [u8]>,
    },
    /// A number rule matched but would have made a number beyond [`NUMBER_MAX`](crate::rewrite::NUMBER_MAX); the number
    /// stays as it was.
    TooLong {
        /// Index of the rule.
        rule: usize,
        /// Its name.
        name: Cow<'a, str>,
    },
    /// A route was looked at.
    Route {
        /// Its index.
        route: usize,
        /// What came of it.
        verdict: RouteVerdict<'a>,
    },
    /// So many more routes are not told singly: they do not take the called number, or too many do.
    OtherRoutes(usize),
    /// A group was entered.
    Group {
        /// Its name.
        group: Cow<'a, str>,
        /// How it picks.
        pick: Pick,
    },
    /// A member of a group was looked at.
    Member {
        /// Name of the group.
        group: Cow<'a, str>,
        /// Name of the member.
        member: Cow<'a, str>,
        /// What it leads to.
        way: Way,
        /// Room left in what was wanted, if anything bounds it.
        free: Option<Free>,
        /// Calls on it now.
        calls: u32,
        /// As configured.
        weight: u32,
        /// What came of it.
        verdict: MemberVerdict<'a>,
    },
    /// A trunk that a route leads to directly was looked at.
    Trunk {
        /// Its index.
        trunk: usize,
        /// What came of it.
        verdict: MemberVerdict<'a>,
    },
    /// A group (or trunk) had nobody for the call.
    Nobody {
        /// Name of the group; empty for a trunk that a route leads to directly.
        group: Cow<'a, str>,
        /// Why.
        outcome: Outcome,
    },
}

/// What came of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteVerdict<'a> {
    /// It matches and is taken; with so many fixed places.
    Chosen(usize),
    /// It matches too, but another one comes first; with so many fixed places.
    Behind(usize),
    /// It matches, but it or what follows it was taken before (a hook said: go on).
    Passed,
    /// The call comes from somebody else.
    From,
    /// It does not take the called number.
    Callee,
    /// It does not take the caller's number.
    Caller,
    /// It is not in force at this time.
    Time,
    /// The call has no such header, or none with such a value.
    Header(Cow<'a, str>),
}

/// What came of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberVerdict<'a> {
    /// It is taken.
    Chosen,
    /// It could have been taken; another one came first.
    Behind,
    /// This call has tried it already.
    Tried,
    /// It may not be tried now: down by probe, breaker open, disabled.
    NotNow(Cow<'a, str>),
    /// It has no room left, in this limit.
    Full(Cow<'a, str>),
    /// It does not offer this resource.
    Lacks(Cow<'a, str>),
    /// It leads to a group that has nobody.
    Nobody(Outcome),
}

impl MemberVerdict<'_> {
    /// Without borrowing.
    pub fn into_owned(self) -> MemberVerdict<'static> {
        match self {
            MemberVerdict::Chosen => MemberVerdict::Chosen,
            MemberVerdict::Behind => MemberVerdict::Behind,
            MemberVerdict::Tried => MemberVerdict::Tried,
            MemberVerdict::NotNow(why) => MemberVerdict::NotNow(owned(why)),
            MemberVerdict::Full(limit) => MemberVerdict::Full(owned(limit)),
            MemberVerdict::Lacks(resource) => MemberVerdict::Lacks(owned(resource)),
            MemberVerdict::Nobody(outcome) => MemberVerdict::Nobody(outcome),
        }
    }
}

/// Room left in a member, in the tightest of the wanted resources.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Free {
    /// Places in use there.
    pub used: u32,
    /// Places in all; `u32::MAX` has no end.
    pub max: u32,
}

impl Free {
    /// `max - used`; below zero when emergency calls or a lowered limit made it so.
    pub fn places(self) -> i64 {
        i64::from(self.max) - i64::from(self.used)
    }

    /// `100 - 100 * used / max`, with fractions; nothing of nothing is none.
    pub fn percent(self) -> f64 {
        if self.max == 0 { 0.0 } else { 100.0 - 100.0 * f64::from(self.used) / f64::from(self.max) }
    }
}

impl Step<'_> {
    /// Without borrowing, to be kept.
    pub fn into_owned(self) -> Step<'static> {
        match self {
            Step::Rewrote { rule, name, of, from, to } => Step::Rewrote {
                rule,
                name: owned(name),
                of,
                from: Cow::Owned(from.into_owned()),
                to: Cow::Owned(to.into_owned()),
            },
            Step::TooLong { rule, name } => Step::TooLong { rule, name: owned(name) },
            Step::Route { route, verdict } => {
                let verdict = match verdict {
                    RouteVerdict::Header(name) => RouteVerdict::Header(owned(name)),
                    RouteVerdict::Chosen(fixed) => RouteVerdict::Chosen(fixed),
                    RouteVerdict::Behind(fixed) => RouteVerdict::Behind(fixed),
                    RouteVerdict::Passed => RouteVerdict::Passed,
                    RouteVerdict::From => RouteVerdict::From,
                    RouteVerdict::Callee => RouteVerdict::Callee,
                    RouteVerdict::Caller => RouteVerdict::Caller,
                    RouteVerdict::Time => RouteVerdict::Time,
                };
                Step::Route { route, verdict }
            }
            Step::OtherRoutes(count) => Step::OtherRoutes(count),
            Step::Group { group, pick } => Step::Group { group: owned(group), pick },
            Step::Member { group, member, way, free, calls, weight, verdict } => Step::Member {
                group: owned(group),
                member: owned(member),
                way,
                free,
                calls,
                weight,
                verdict: verdict.into_owned(),
            },
            Step::Trunk { trunk, verdict } => Step::Trunk { trunk, verdict: verdict.into_owned() },
            Step::Nobody { group, outcome } => Step::Nobody { group: owned(group), outcome },
        }
    }
}

fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

/// Keeps what it hears, up to a bound.
#[derive(Clone, Debug)]
pub struct Collected {
    /// In the order in which they came.
    pub steps: Vec<Step<'static>>,
    /// Steps for which there was no room.
    pub left_off: usize,
    max: usize,
}

impl Collected {
    /// Keeps at most `max` steps.
    pub fn new(max: usize) -> Collected {
        Collected { steps: Vec::new(), left_off: 0, max }
    }
}

impl Default for Collected {
    fn default() -> Self {
        Collected::new(1000)
    }
}

impl Witness for Collected {
    fn saw(&mut self, step: Step<'_>) {
        if self.steps.len() < self.max {
            self.steps.push(step.into_owned());
        } else {
            self.left_off += 1;
        }
    }
}
