//! `policy.NAME`: what is watched for fraud, where calls may go, and what happens at each level.

use crate::describe::{choices, table};
use crate::error::Kind;
use crate::read::{Item, Reader};
use crate::value::{Bad, TableDoc, Value, Visitor, Word, text_of};
use crate::words::Digits;
use base::Duration;
use toml::de::DeValue;

table! {
    /// Rules against fraud: what is counted over a sliding window, and what happens at two levels; or where calls may go.
    pub struct Policy, protects "not in effect yet: no policy is applied" {
        /// What is counted apart.
        per: Vec<Per> = vec![Per::Trunk];
        /// Over how long.
        window: Duration = Duration::from_secs(86_400), in Duration::from_secs(1)..=Duration::from_secs(366 * 86_400);
        /// What is counted, with the two levels.
        rules: Thresholds = Thresholds::default();
        /// A file of `prefix,price a minute`, longest prefix first; needed for `rules.spend`.
        rates: Option<String> = None;
        /// What happens at the first level.
        warn: Vec<Action> = vec![Action::Event];
        /// What happens at the second level.
        critical: Vec<Action> = vec![Action::Event];
        /// Where calls may go.
        destinations: Option<Destinations> = None;
    }
}

table! {
    /// Two levels each: warning and critical.
    pub struct Thresholds {
        /// Calls in a minute.
        cpm: Option<Levels<f64>> = None;
        /// Calls at a time.
        concurrent: Option<Levels<f64>> = None;
        /// Calls in the window.
        total: Option<Levels<f64>> = None;
        /// Calls to consecutive numbers.
        sequential: Option<Levels<f64>> = None;
        /// Length of one call.
        duration: Option<Levels<Duration>> = None;
        /// Money in the window, by `rates`.
        spend: Option<Levels<f64>> = None;
    }
}

/// `[WARNING, CRITICAL]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Levels<T> {
    /// The first level.
    pub warning: T,
    /// The second, not below the first.
    pub critical: T,
}

impl<T: Value + PartialOrd> Value for Levels<T> {
    fn form() -> String {
        format!("[WARNING, CRITICAL], each {}", T::form())
    }

    fn read(item: &Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let levels = match item.get_ref() {
            DeValue::Array(levels) if levels.len() == 2 => levels,
            _ => {
                reader.wrong_type(item, Self::form());
                return None;
            }
        };
        let mut read = levels.iter().map(|level| T::read(level, reader));
        let (warning, critical) = (read.next()??, read.next()??);
        drop(read);
        if critical < warning {
            let (warning, critical) = (text_of(&warning), text_of(&critical));
            let why = format!("the critical level {critical} is below the warning level {warning}");
            reader.error(item.span().start, Kind::Unfit(why));
            return None;
        }
        Some(Levels { warning, critical })
    }

    fn write(&self, out: &mut String) {
        out.push('[');
        self.warning.write(out);
        out.push_str(", ");
        self.critical.write(out);
        out.push(']');
    }

    fn visit(&self, path: &str, visitor: &mut dyn Visitor) {
        visitor.leaf(path, text_of(self));
    }
}

choices! {
    /// What is counted apart.
    pub enum Per {
        /// Each account.
        Account = "account";
        /// Each trunk.
        Trunk = "trunk";
        /// Each called prefix.
        Prefix = "prefix";
        /// Each caller.
        Caller = "caller";
        /// Each called number.
        Callee = "callee";
        /// Each source address.
        Source = "source";
    }
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

impl Word for Action {
    const FORM: &'static str = "\"event\" | \"reject\" | \"cut\" | \"disable[:DURATION]\" | \"ban[:DURATION]\" | \"divert:FLOW\" | \"lower:CALLS\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        let (verb, with) = match text.split_once(':') {
            Some((verb, with)) => (verb, Some(with)),
            None => (text, None),
        };
        let time = |with: Option<&str>| match with.map(Duration::parse) {
            None => Ok(None),
            Some(Ok(time)) => Ok(Some(time)),
            Some(Err(bad)) => Err(Bad {
                why: format!("holds a text that {}", bad.why),
                nearest: bad.nearest.map(|near| format!("{verb}:{near}")),
            }),
        };
        match (verb, with) {
            ("event", None) => Ok(Action::Event),
            ("reject", None) => Ok(Action::Reject),
            ("cut", None) => Ok(Action::Cut),
            ("disable", with) => time(with).map(Action::Disable),
            ("ban", with) => time(with).map(Action::Ban),
            ("divert", Some(flow)) if !flow.is_empty() => Ok(Action::Divert(flow.to_owned())),
            ("lower", Some(calls)) if calls.parse::<u32>().is_ok() => {
                Ok(Action::Lower(calls.parse().unwrap_or_default()))
            }
            _ => {
                let verbs = ["event", "reject", "cut", "disable", "ban", "divert:", "lower:"];
                Err(Bad { why: "is no action".to_owned(), nearest: crate::error::nearest(text, verbs) })
            }
        }
    }

    fn word(&self) -> String {
        let timed = |verb: &str, time: &Option<Duration>| match time {
            Some(time) => format!("{verb}:{}", time.word()),
            None => verb.to_owned(),
        };
        match self {
            Action::Event => "event".to_owned(),
            Action::Reject => "reject".to_owned(),
            Action::Cut => "cut".to_owned(),
            Action::Disable(time) => timed("disable", time),
            Action::Ban(time) => timed("ban", time),
            Action::Divert(flow) => format!("divert:{flow}"),
            Action::Lower(calls) => format!("lower:{calls}"),
        }
    }
}

/// Where calls may go.
#[derive(Clone, Debug, PartialEq)]
pub enum Destinations {
    /// The built-in table: USA and Canada, Puerto Rico, the Dominican Republic, Mexico; no premium numbers.
    Default,
    /// Prefixes of one's own.
    Own(Prefixes),
}

table! {
    /// Prefixes of E.164 numbers; the longest that matches decides.
    pub struct Prefixes {
        /// These may be called.
        allow: Vec<Digits> = Vec::new();
        /// These may not.
        deny: Vec<Digits> = Vec::new();
    }
}

impl Value for Destinations {
    fn form() -> String {
        "\"default\", or { allow = [PREFIX, …], deny = [PREFIX, …] }".to_owned()
    }

    fn read(item: &Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        match item.get_ref() {
            DeValue::String(word) if word == "default" => Some(Destinations::Default),
            DeValue::String(word) => {
                let nearest = crate::error::nearest(word, ["default"]);
                let (value, why) = (crate::error::cut(word), "is no table of destinations".to_owned());
                reader
                    .error(item.span().start, Kind::BadValue { value, why, allowed: Self::form(), nearest });
                None
            }
            _ => Prefixes::read(item, reader).map(Destinations::Own),
        }
    }

    fn write(&self, out: &mut String) {
        match self {
            Destinations::Default => out.push_str("\"default\""),
            Destinations::Own(prefixes) => prefixes.write(out),
        }
    }

    fn visit(&self, path: &str, visitor: &mut dyn Visitor) {
        match self {
            Destinations::Default => visitor.leaf(path, text_of(self)),
            Destinations::Own(prefixes) => prefixes.visit(path, visitor),
        }
    }

    fn table() -> Option<TableDoc> {
        Prefixes::table()
    }
}
