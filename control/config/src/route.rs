//! `[[route]]` and `[[number_rule]]`: where calls go, and how numbers are rewritten before.

use crate::describe::{choices, table};
use crate::objects::Rule;
use crate::words::{Name, NumberPattern, NumberTemplate, Texts, Timer, Url};
use b2bua::number::{Pattern, Template};
use b2bua::spec::NumberOf;
use base::Duration;

table! {
    /// Where calls go. Routes are tried in the order of the file and the first that matches wins; with
    /// `engine.route_order = "longest"` the one with the longest match.
    pub struct Route {
        /// Its name; `route-N` if not given.
        name: Name = Name::default();
        /// Names of the trunks (or accounts) whose calls it takes; any, if not given.
        from: Vec<Name> = Vec::new();
        /// Called numbers that it takes; any, if not given.
        to: Vec<NumberPattern> = Vec::new();
        /// Name of the trunk or group that is called.
        via: Name = Name::default(), required "the trunk or group that is called";
        /// Its calls end after this; the shorter of this and the trunks' holds.
        max_duration: Timer = Timer::OFF, in Duration::from_secs(1)..=Duration::from_secs(3650 * 86_400);
        /// Which codes and texts refused callers get.
        texts: Texts = Texts::Rfc;
        /// A program that is asked by HTTP.
        hook: Option<Hook> = None;
    }
}

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
    pub struct Hook, protects "not in effect yet: nobody is asked, and the hook may want to refuse a call" {
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
    /// Rewrites numbers before routes are looked at. Rules are tried in the order of the file; the first that matches
    /// wins.
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
    NumberPattern { text: String::new(), pattern: Pattern::Exact(Vec::new()) }
}

fn no_template() -> NumberTemplate {
    NumberTemplate { text: String::new(), template: Template::parse("").expect("an empty template reads") }
}
