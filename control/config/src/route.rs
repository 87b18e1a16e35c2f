//! `[[route]]` and `[[number_rule]]`: where calls go, and how numbers are rewritten before.

use crate::describe::{choices, table};
use crate::headers::{HeaderPatterns, HeaderTexts};
use crate::objects::Rule;
use crate::words::{Code, Name, NumberPattern, NumberTemplate, Texts, Timer, Url};
use base::Duration;
use ledger::Class;
use routing::number::{Pattern, Template};
use routing::{NumberOf, When};

table! {
    /// Where calls go. A route takes a call that fulfils all of its conditions: `from`, `to`, `caller`, `headers`, `when`.
    /// Routes are tried in the order of the file and the first that matches wins; with `engine.route_order = "longest"`
    /// the one with the longest match of the called number, and among equals the first.
    pub struct Route {
        /// Its name; `route-N` if not given.
        name: Name = Name::default();
        /// Names of the trunks (or accounts) whose calls it takes; any, if not given.
        from: Vec<Name> = Vec::new();
        /// Called numbers that it takes; any, if not given.
        to: Vec<NumberPattern> = Vec::new();
        /// Calling numbers that it takes; any, if not given.
        caller: Vec<NumberPattern> = Vec::new();
        /// Headers that a call must have, each with a value of that form.
        headers: HeaderPatterns = HeaderPatterns::default();
        /// When it takes calls; always, if not given.
        when: Option<When> = None;
        /// Name of the trunk or group that is called. Either this or `reject` is given.
        via: Option<Name> = None;
        /// Refuses its calls with this code.
        reject: Option<Code> = None;
        /// What the called number becomes; it is judged again.
        callee: Option<NumberTemplate> = None;
        /// What the calling number becomes.
        set_caller: Option<NumberTemplate> = None;
        /// Headers that are set on the outgoing leg; `{callee}`, `{caller}`, `{trunk}` and `{account}` stand for the
        /// numbers and for the names of where the call came from.
        set_headers: HeaderTexts = HeaderTexts::default();
        /// Names of the resources of group members that a call takes a place in; all that the member has, if not given.
        resources: Vec<Name> = Vec::new();
        /// How its calls are treated where room is scarce; as the class of the trunk they came from, if not given.
        class: Option<Class> = None;
        /// Its calls end after this; the shorter of this and the trunks' holds.
        max_duration: Timer = Timer::OFF, in Duration::from_secs(1)..=Duration::from_secs(3650 * 86_400);
        /// Which codes and texts refused callers get; as the listener says, if not given.
        texts: Option<Texts> = None;
        /// A program that is asked by HTTP before the call goes on.
        hook: Option<Hook> = None;
    }
}

choices!(for Class {
    /// They may use what is not reserved.
    Normal = "normal";
    /// They may use places that a limit reserves.
    Priority = "priority";
    /// They exceed every limit and capacity.
    Emergency = "emergency";
});

impl Rule for Route {
    const KIND: &'static str = "route";
    fn name(&self) -> &str {
        &self.name
    }
    fn set_name(&mut self, name: String) {
        self.name = Name(name);
    }
}

table! {
    /// Asks a program of yours where a call goes, or whether it may.
    pub struct Hook {
        /// Where to ask.
        url: Url = Url(String::new()), required "where to ask";
        /// How long to wait.
        deadline: Duration = Duration::from_millis(200), in Duration::from_millis(1)..=Duration::from_secs(30);
        /// How long an answer holds for equal questions.
        cache: Duration = Duration::ZERO, in Duration::ZERO..=Duration::from_secs(86_400);
        /// What happens without an answer.
        on_timeout: OnTimeout = OnTimeout::Continue;
    }
}

choices! {
    /// What happens when a hook does not answer.
    pub enum OnTimeout {
        /// The call goes on.
        Continue = "continue";
        /// The call is refused.
        Reject = "reject";
    }
}

table! {
    /// Rewrites numbers before routes are looked at. Of the rules for a number, the first in the file that matches is
    /// applied, and no other.
    pub struct NumberRule {
        /// Its name; `number-rule-N` if not given.
        name: Name = Name::default();
        /// Whose number.
        on: NumberOf = NumberOf::Callee;
        /// Names of the trunks whose calls it applies to; all, if not given.
        trunk: Vec<Name> = Vec::new();
        /// Numbers that it rewrites.
        matches as "match": NumberPattern = no_pattern(), required "the numbers that are rewritten";
        /// What they become.
        to: NumberTemplate = no_template(), required "what the numbers become";
    }
}

impl Rule for NumberRule {
    const KIND: &'static str = "number_rule";
    fn name(&self) -> &str {
        &self.name
    }
    fn set_name(&mut self, name: String) {
        self.name = Name(name);
    }
}

choices!(for NumberOf {
    /// The called number.
    Callee = "callee";
    /// The caller's.
    Caller = "caller";
});

fn no_pattern() -> NumberPattern {
    NumberPattern(Pattern::Exact(Vec::new()))
}

fn no_template() -> NumberTemplate {
    NumberTemplate { text: String::new(), template: Template::parse("").expect("an empty template reads") }
}
