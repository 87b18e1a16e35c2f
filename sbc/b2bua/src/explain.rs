//! What a decision looks like from inside: the code that decides says what it looks at, and a witness takes notes or
//! does not. Calls use `()`, which costs nothing.

use crate::spec::Spec;
use core::fmt::Write as _;
use ledger::ExplainStep;
use routing::explain::{Free, MemberVerdict, RouteVerdict, Step, Witness};
use routing::group::{Pick, Way};
use routing::rewrite::NumberOf;

/// Somebody who is told what is decided and why.
pub trait Tell: Witness {
    /// A line for people; `text` is made only if somebody listens.
    fn say(&mut self, stage: &'static str, text: impl FnOnce() -> String);
}

impl Tell for () {
    fn say(&mut self, _stage: &'static str, _text: impl FnOnce() -> String) {}
}

/// Takes notes, bounded.
#[derive(Debug)]
pub struct Notes<'s> {
    spec: &'s Spec,
    /// In the order of the decision.
    pub steps: Vec<ExplainStep>,
}

/// Steps that notes keep; a table of 100,000 routes has more to say than anybody reads.
const STEPS_MAX: usize = 1_000;

impl<'s> Notes<'s> {
    /// Empty ones; names come from this configuration.
    pub fn new(spec: &'s Spec) -> Notes<'s> {
        Notes { spec, steps: Vec::new() }
    }

    fn note(&mut self, stage: &'static str, text: String) {
        if self.steps.len() < STEPS_MAX {
            self.steps.push(ExplainStep { stage, text });
        } else if self.steps.len() == STEPS_MAX {
            self.steps.push(ExplainStep { stage, text: "and more that is left out".to_owned() });
        }
    }

    fn way(&self, way: Way) -> String {
        match way {
            Way::Trunk(index) => {
                format!("trunk {}", self.spec.trunks.get(index).map_or("?", |t| t.name.as_str()))
            }
            Way::Group(index) => {
                format!("group {}", self.spec.groups.get(index).map_or("?", |g| g.name.as_str()))
            }
        }
    }
}

impl Witness for Notes<'_> {
    fn saw(&mut self, step: Step<'_>) {
        let text = match &step {
            Step::Rewrote { name, of, from, to, .. } => {
                let (from, to) = (String::from_utf8_lossy(from), String::from_utf8_lossy(to));
                return self.note("what", format!("number rule {name}: {} {from} becomes {to}", whose(*of)));
            }
            Step::TooLong { name, .. } => {
                return self.note(
                    "what",
                    format!("number rule {name} would make the number too long: left as it is"),
                );
            }
            Step::Route { route, verdict } => {
                let name = self.spec.routes.get(*route).map_or("?", |r| r.name.as_str());
                format!("route {name}: {}", route_verdict(verdict))
            }
            Step::OtherRoutes(count) => format!("{count} more routes take other numbers"),
            Step::Group { group, pick } => format!("group {group} picks by {}", pick_word(*pick)),
            Step::Member { group, member, free, calls, weight, verdict, .. } => {
                let mut text = format!("group {group}: {member}: {}", member_verdict(verdict));
                let _ =
                    write!(text, " ({}{calls} calls, weight {weight})", free.map(room).unwrap_or_default());
                text
            }
            Step::Trunk { trunk, verdict } => {
                format!("{}: {}", self.way(Way::Trunk(*trunk)), member_verdict(verdict))
            }
            Step::Nobody { group, outcome } if group.is_empty() => format!("nobody to call: {outcome}"),
            Step::Nobody { group, outcome } => format!("group {group} has nobody: {outcome}"),
        };
        self.note("where", text);
    }
}

impl Tell for Notes<'_> {
    fn say(&mut self, stage: &'static str, text: impl FnOnce() -> String) {
        self.note(stage, text());
    }
}

fn whose(of: NumberOf) -> &'static str {
    match of {
        NumberOf::Callee => "called number",
        NumberOf::Caller => "calling number",
    }
}

fn room(free: Free) -> String {
    match free.max {
        u32::MAX => String::new(),
        max => format!("{} of {max} places in use, {:.0} % free, ", free.used, free.percent()),
    }
}

fn route_verdict(verdict: &RouteVerdict<'_>) -> String {
    match verdict {
        RouteVerdict::Chosen(_) => "taken".to_owned(),
        RouteVerdict::Behind(_) => "matches too, but another one comes first".to_owned(),
        RouteVerdict::Passed => "passed over by its hook".to_owned(),
        RouteVerdict::From => "takes calls of others".to_owned(),
        RouteVerdict::Callee => "does not take the called number".to_owned(),
        RouteVerdict::Caller => "does not take the caller's number".to_owned(),
        RouteVerdict::Time => "is not in force at this time".to_owned(),
        RouteVerdict::Header(name) => format!("wants another value of header {name}"),
    }
}

fn member_verdict(verdict: &MemberVerdict<'_>) -> String {
    match verdict {
        MemberVerdict::Chosen => "chosen".to_owned(),
        MemberVerdict::Behind => "could take it; another one comes first".to_owned(),
        MemberVerdict::Tried => "skipped: this call has tried it".to_owned(),
        MemberVerdict::NotNow(why) => format!("skipped: {why}"),
        MemberVerdict::Full(limit) => format!("skipped: limit {limit} reached"),
        MemberVerdict::Lacks(resource) => format!("skipped: has no resource {resource}"),
        MemberVerdict::Nobody(outcome) => format!("skipped: has nobody ({outcome})"),
    }
}

fn pick_word(pick: Pick) -> &'static str {
    match pick {
        Pick::RoundRobin => "turns",
        Pick::Weighted => "weight",
        Pick::LeastCalls => "fewest calls",
        Pick::FreeCapacity => "free capacity",
        Pick::Priority => "priority",
        Pick::Random => "chance",
        Pick::Hash(_) => "hash",
    }
}
