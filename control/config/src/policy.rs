//! `policy.NAME`: what is watched for fraud, where calls may go, who may call, and what happens at each level.

use crate::describe::{choices, table};
use crate::error::Kind;
use crate::place::Path;
use crate::read::{Item, Reader};
use crate::value::{Bad, TableDoc, Value, Visitor, Word, text_of};
use crate::words::Digits;
use base::Duration;
use policy::{Action, Base, Entry, Levels, Per};
use toml::de::DeValue;

table! {
    /// Rules against fraud: what is counted over a sliding window, and what happens at two levels; where calls may go; who
    /// may call. A value that reaches a level is at that level.
    pub struct Policy {
        /// What is counted apart: a key is the combination of these.
        per: Vec<Per> = vec![Per::Trunk];
        /// For `per = "prefix"`: the called prefixes that are counted, the longest one that fits; others are not.
        prefixes: Vec<Digits> = Vec::new();
        /// For `per = "prefix"` without `prefixes`: so many first digits of the called number. Not given, 4.
        prefix_digits: Option<u32> = None, in 1..=15;
        /// Over how long. The window slides: nothing begins anew at midnight.
        window: Duration = Duration::from_secs(86_400), in Duration::from_secs(1)..=Duration::from_secs(366 * 86_400);
        /// What is counted, with the two levels.
        rules: Thresholds = Thresholds::default();
        /// A file of `prefix,price a minute[,increment s][,minimum s]`, the longest prefix that fits holds; needed for
        /// `rules.spend`. Relative to the folder of the configuration.
        rates: Option<String> = None;
        /// What happens at the first level.
        warn: Vec<Action> = vec![Action::Event];
        /// What happens at the second level.
        critical: Vec<Action> = vec![Action::Event];
        /// Where calls may go.
        destinations: Option<Destinations> = None;
        /// Who may call, by the calling number.
        callers: Option<CallerLists> = None;
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
        /// Calls in the window one after the other to the same number.
        sequential: Option<Levels<f64>> = None;
        /// Length of one call; judged while it is up.
        duration: Option<Levels<Duration>> = None;
        /// Money in the window, by `rates`; judged while calls are up.
        spend: Option<Levels<f64>> = None;
        /// Different numbers called in the window.
        distinct: Option<Levels<f64>> = None;
        /// Answered calls that are short.
        short_calls: Option<ShortCalls> = None;
        /// Calls that are answered.
        answer_ratio: Option<AnswerRatio> = None;
    }
}

table! {
    /// Many answered calls are short.
    pub struct ShortCalls {
        /// Share of the answered calls, 0 to 1.
        ratio: Levels<f64> = Levels { warning: 0.5, critical: 0.8 }, required "the two shares, such as [0.5, 0.8]";
        /// What is short.
        under: Duration = Duration::from_secs(6), in Duration::from_millis(100)..=Duration::from_secs(3600);
        /// Before so many answered calls nothing is said.
        min_calls: u32 = 20, in 1..=1_000_000;
    }
}

table! {
    /// Few calls are answered.
    pub struct AnswerRatio {
        /// Share of the calls, 0 to 1; the critical level is the lower one.
        below: Falling = Falling(Levels { warning: 0.3, critical: 0.1 }), required "the two shares, such as [0.3, 0.1]";
        /// Before so many calls nothing is said.
        min_calls: u32 = 20, in 1..=1_000_000;
    }
}

table! {
    /// Calling numbers: exact ones, beginnings with a `*` at their end, or `anonymous`. An exact number beats a beginning,
    /// a longer beginning a shorter one, and what is denied beats what is allowed.
    pub struct CallerLists {
        /// These may call; if any stands here, others may not.
        allow: Vec<CallerEntry> = Vec::new();
        /// These may not.
        deny: Vec<CallerEntry> = Vec::new();
    }
}

impl<T: Value + PartialOrd> Value for Levels<T> {
    fn form() -> String {
        format!("[WARNING, CRITICAL], each {}", T::form())
    }

    fn read(item: &Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let levels = read_levels(item, reader)?;
        if levels.critical < levels.warning {
            let (warning, critical) = (text_of(&levels.warning), text_of(&levels.critical));
            let why = format!("the critical level {critical} is below the warning level {warning}");
            reader.error(item.span().start, Kind::Unfit(why));
            return None;
        }
        Some(levels)
    }

    fn write(&self, out: &mut String) {
        out.push('[');
        self.warning.write(out);
        out.push_str(", ");
        self.critical.write(out);
        out.push(']');
    }

    fn visit(&self, path: &Path<'_>, visitor: &mut dyn Visitor) {
        visitor.leaf(path, &|| text_of(self));
    }
}

fn read_levels<T: Value>(item: &Item<'_>, reader: &mut Reader<'_>) -> Option<Levels<T>> {
    let levels = match item.get_ref() {
        DeValue::Array(levels) if levels.len() == 2 => levels,
        _ => {
            reader.wrong_type(item, format!("[WARNING, CRITICAL], each {}", T::form()));
            return None;
        }
    };
    let mut read = levels.iter().map(|level| T::read(level, reader));
    let (warning, critical) = (read.next()??, read.next()??);
    Some(Levels { warning, critical })
}

/// Levels of a value that is the worse the lower it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Falling(pub Levels<f64>);

impl Value for Falling {
    fn form() -> String {
        Levels::<f64>::form()
    }

    fn read(item: &Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let levels: Levels<f64> = read_levels(item, reader)?;
        if levels.critical > levels.warning {
            let (warning, critical) = (text_of(&levels.warning), text_of(&levels.critical));
            let why = format!("the critical level {critical} is above the warning level {warning}");
            reader.error(item.span().start, Kind::Unfit(why));
            return None;
        }
        Some(Falling(levels))
    }

    fn write(&self, out: &mut String) {
        self.0.write(out);
    }

    fn visit(&self, path: &Path<'_>, visitor: &mut dyn Visitor) {
        visitor.leaf(path, &|| text_of(self));
    }
}

choices!(for Per {
    /// Each account; a call without one counts for its trunk.
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
});

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
                let verbs = ["event", "reject", "cut", "disable", "ban", "divert:tarpit", "lower:CALLS"];
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
    /// Prefixes of numbers; the longest that matches decides, then what stands here beats `base`, then what is denied
    /// beats what is allowed.
    pub struct Prefixes {
        /// What holds for numbers that nothing here matches.
        base: Base = Base::None;
        /// These may be called.
        allow: Vec<Entry> = Vec::new();
        /// These may not.
        deny: Vec<Entry> = Vec::new();
    }
}

choices!(for Base {
    /// The built-in table.
    Default = "default";
    /// They may not be called.
    None = "none";
});

impl Word for Entry {
    const FORM: &'static str = "a prefix such as \"+44\" or \"20\", X being any digit, or a list: \"@premium\", \"@high-risk\", \
         \"@satellite\", \"@toll-free\", or a country such as \"@GB\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        use policy::destination::{BadEntry, lists};
        Entry::parse(text).map_err(|bad| match bad {
            BadEntry::Empty => Bad::new("is empty"),
            BadEntry::Long => Bad::new("is longer than any number"),
            BadEntry::Character(c) => {
                let compact: String =
                    text.chars().filter(|c| !matches!(c, ' ' | '-' | '(' | ')' | '.' | '/')).collect();
                let nearest = Some(compact).filter(|guess| Entry::parse(guess).is_ok());
                Bad { why: format!("holds the character `{c}`"), nearest }
            }
            BadEntry::UnknownList => {
                let name = text.trim_start_matches('@').to_ascii_lowercase();
                let nearest = crate::error::nearest(&name, lists()).map(|near| format!("@{near}"));
                Bad { why: "names no list".to_owned(), nearest }
            }
        })
    }

    fn word(&self) -> String {
        match self {
            Entry::Plus(digits) => format!("+{digits}"),
            Entry::Plain(digits) => digits.clone(),
            Entry::List(name) => format!("@{name}"),
        }
    }
}

/// A calling number, or the beginning of some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerEntry(pub String);

impl Word for CallerEntry {
    const FORM: &'static str = "a calling number, the beginning of one as \"+44*\", or \"anonymous\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        match policy::Callers::new([text], []) {
            Ok(_) if !text.chars().any(char::is_control) => Ok(CallerEntry(text.to_owned())),
            _ => Err(Bad::new("is empty, too long, or has a `*` that is not its end")),
        }
    }

    fn word(&self) -> String {
        self.0.clone()
    }
}

impl Value for Destinations {
    fn form() -> String {
        "\"default\", or { base = \"default\" | \"none\", allow = [PREFIX, …], deny = [PREFIX, …] }"
            .to_owned()
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

    fn visit(&self, path: &Path<'_>, visitor: &mut dyn Visitor) {
        match self {
            Destinations::Default => visitor.leaf(path, &|| text_of(self)),
            Destinations::Own(prefixes) => prefixes.visit(path, visitor),
        }
    }

    fn table() -> Option<TableDoc> {
        Prefixes::table()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::tests::check;

    #[test]
    fn actions_and_entries() {
        check::<Action>(
            &[("disable:1h", "disable:1h"), ("disable", "disable"), ("lower:5", "lower:5"), ("cut", "cut")],
            &[("disable:1 h", Some("disable:1h")), ("rejekt", Some("reject")), ("lower:", None)],
        );
        check::<Entry>(
            &[
                ("+44", "+44"),
                ("+1XXX976", "+1XXX976"),
                ("20", "20"),
                ("@Premium", "@premium"),
                ("*98", "*98"),
            ],
            &[("+1 (900)", Some("+1900")), ("@premum", Some("@premium")), ("+", None), ("", None)],
        );
        check::<CallerEntry>(
            &[("+44*", "+44*"), ("anonymous", "anonymous"), ("alice", "alice")],
            &[("", None), ("+4*4", None)],
        );
    }
}
