//! What is wrong with a configuration, and where: one typed error a mistake, each with its line, its path, what is
//! allowed, and the nearest thing that would be right. Never holds the value of a secret.

use core::fmt;
use std::sync::Arc;

/// Line and column of a key or value; both count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

/// One mistake. Prints as `strowger.toml:7: trunk.acme.lern: unknown key; did you mean "learn"? (allowed: …)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// As given to [`Config::check`](crate::Config::check), or a rate file that the configuration names.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// The key: `trunk.acme.to[0].weight`, `route.us.via`; empty where the text is no TOML.
    pub path: String,
    /// What is wrong.
    pub kind: Kind,
}

impl core::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{}", self.kind)
    }
}

/// The kinds of mistakes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Kind {
    /// The text is no TOML.
    #[error("not TOML: {0}")]
    Syntax(String),
    /// More than [`TEXT_MAX`](crate::TEXT_MAX) bytes.
    #[error("the configuration is longer than {0} bytes")]
    TooLong(usize),
    /// Further errors are not listed.
    #[error("and {0} more errors")]
    More(usize),
    /// No such key in this table.
    #[error("unknown key{}", list(.nearest, "allowed", .allowed))]
    UnknownKey {
        /// Every key of this table.
        allowed: Vec<String>,
        /// The key that was probably meant.
        nearest: Option<String>,
    },
    /// A number where a text is wanted, and so on.
    #[error("expected {expected}, found {found}{}", meant(.nearest))]
    WrongType {
        /// What may be written.
        expected: String,
        /// What is written: "a number", "a table", ….
        found: &'static str,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// The right type, but not a value of this key.
    #[error("\"{value}\" {why}{}", hint(.nearest, "allowed", .allowed))]
    BadValue {
        /// As written, cut to 80 characters.
        value: String,
        /// Why it is refused.
        why: String,
        /// What may be written.
        allowed: String,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// A secret that is written into the file, or is otherwise no reference. The value is not repeated.
    #[error("a secret stands outside of the configuration; allowed: {0}")]
    BadSecret(&'static str),
    /// Too small or too large.
    #[error("{value} is out of range; allowed: {least} to {most}")]
    OutOfRange {
        /// As written.
        value: String,
        /// Smallest allowed value.
        least: String,
        /// Largest allowed value.
        most: String,
    },
    /// A key that has to be given.
    #[error("is missing: {0}")]
    Missing(String),
    /// A reference to something that is not defined.
    #[error("no {what} is called \"{name}\"{}", list(.nearest, "defined", .known))]
    NoSuch {
        /// "trunk", "trunk or group", "limit", ….
        what: &'static str,
        /// As written.
        name: String,
        /// What is defined.
        known: Vec<String>,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// The same thing is said twice, where only one can hold.
    #[error("{value} is also {other}{}", line_of(.line))]
    Twice {
        /// The value.
        value: String,
        /// Path of the other place.
        other: String,
        /// Its line; 0 if it is the same entry.
        line: u32,
    },
    /// An earlier route takes what this one would.
    #[error("{what} is taken by {other}{} before, so this is never reached", line_of(.line))]
    Shadowed {
        /// The pattern, or "any number".
        what: String,
        /// Path of the earlier route or of its pattern.
        other: String,
        /// Its line.
        line: u32,
    },
    /// A line of a rate file; the error's file and line are that file's.
    #[error("{0}")]
    BadRate(String),
    /// Groups that contain each other.
    #[error("groups go round in a circle: {}", .0.join(" -> "))]
    Circle(Vec<String>),
    /// Values that are fine alone but not together.
    #[error("{0}")]
    Unfit(String),
}

impl Kind {
    /// Stable name of the class, for the API and for tests.
    pub fn class(&self) -> &'static str {
        match self {
            Kind::Syntax(_) => "syntax",
            Kind::TooLong(_) => "too_long",
            Kind::More(_) => "more",
            Kind::UnknownKey { .. } => "unknown_key",
            Kind::WrongType { .. } => "wrong_type",
            Kind::BadValue { .. } => "bad_value",
            Kind::BadSecret(_) => "bad_secret",
            Kind::OutOfRange { .. } => "out_of_range",
            Kind::Missing(_) => "missing",
            Kind::NoSuch { .. } => "no_such",
            Kind::Twice { .. } => "twice",
            Kind::Shadowed { .. } => "shadowed",
            Kind::BadRate(_) => "bad_rate",
            Kind::Circle(_) => "circle",
            Kind::Unfit(_) => "unfit",
        }
    }
}

/// Something that is no mistake but that the operator should know: a key whose function comes with a later version, a
/// secret that cannot be read now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// As given to [`Config::check`](crate::Config::check).
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// The key.
    pub path: String,
    /// The sentence.
    pub why: String,
    /// The key would protect somebody or decide who may call: `run` refuses to start rather than ignore it.
    pub protective: bool,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.file, self.line, self.path, self.why)?;
        f.write_str(if self.protective { " (`run` refuses to start with it)" } else { "" })
    }
}

fn meant(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or_else(String::new, |n| format!("; did you mean \"{n}\"?"))
}

fn hint(nearest: &Option<String>, title: &str, allowed: &str) -> String {
    match nearest {
        Some(_) => format!("{} ({title}: {allowed})", meant(nearest)),
        None => format!("; {title}: {allowed}"),
    }
}

fn list(nearest: &Option<String>, title: &str, names: &[String]) -> String {
    let mut shown: Vec<&str> = names.iter().take(LISTED_MAX).map(String::as_str).collect();
    if names.len() > LISTED_MAX {
        shown.push("…");
    }
    if shown.is_empty() {
        shown.push("none");
    }
    hint(nearest, title, &shown.join(", "))
}

fn line_of(line: &u32) -> String {
    if *line == 0 { String::new() } else { format!(" (line {line})") }
}

/// At most `CUT` characters of what somebody wrote.
pub(crate) fn cut(text: &str) -> String {
    match text.char_indices().nth(CUT) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// The candidate that was probably meant: the fewest edits (a swap of neighbours is one), and no more than half of it.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let word: Vec<char> = word.chars().take(CUT).flat_map(char::to_lowercase).collect();
    let limit = 1 + word.len() / 3;
    candidates
        .into_iter()
        .take(CANDIDATES_MAX)
        .map(|candidate| {
            (edits(&word, &candidate.to_lowercase().chars().take(CUT).collect::<Vec<_>>()), candidate)
        })
        .filter(|(distance, candidate)| {
            *distance <= limit && *distance * 2 <= candidate.chars().count().max(2)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate.to_owned())
}

/// Optimal string alignment distance.
fn edits(a: &[char], b: &[char]) -> usize {
    let (mut older, mut old): (Vec<usize>, Vec<usize>) = (vec![0; b.len() + 1], (0..=b.len()).collect());
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = old[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(old[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(older[j - 2] + 1);
            }
        }
        older = core::mem::replace(&mut old, row);
    }
    old[b.len()]
}

const CUT: usize = 80;
const LISTED_MAX: usize = 30;
const CANDIDATES_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_the_one_that_was_meant() {
        for (word, expected) in [
            ("lern", Some("learn")),
            ("Listner", Some("listener")),
            ("mediatimeout", Some("media_timeout")),
            ("form", Some("from")),
            ("zzz", None),
            ("", None),
        ] {
            let candidates = ["listener", "from", "to", "learn", "media_timeout"];
            assert_eq!(nearest(word, candidates).as_deref(), expected, "{word}");
        }
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"é".repeat(200)).chars().count(), CUT + 1);
    }
}
