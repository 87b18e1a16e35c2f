//! Where calls may go: the default table of area codes and countries, prefixes of one's own, and named lists. Judges
//! the number after all rewriting; emergency numbers are the caller's matter and do not come here.

use crate::prefix::PrefixTree;
use std::sync::{Arc, LazyLock};

/// Where calls may go. The longest prefix decides; among equals an own entry beats the base, then deny beats allow.
#[derive(Clone, Debug)]
pub struct Destinations {
    /// Of numbers that begin with `+`.
    e164: PrefixTree<Rule>,
    /// Of all other numbers: own entries only.
    plain: PrefixTree<Rule>,
}

/// What stands below the own entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Base {
    /// The default table.
    #[default]
    Default,
    /// Nothing: what is not allowed is denied.
    None,
}

/// What an own list holds: a prefix or the name of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// `+44`, `+1XXX976`: numbers that begin with `+` and this. `X` is any digit.
    Plus(String),
    /// `20`, `*98`: numbers without `+` that begin so.
    Plain(String),
    /// `@premium`: a list by its name, without the `@`, in lower case.
    List(String),
}

/// Why a text is no [`Entry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadEntry {
    /// It is empty, or `+` or `@` alone.
    Empty,
    /// It holds something else than digits, `X`, `*` or `#`.
    Character(char),
    /// It is longer than any number: more than 15 digits after `+`, more than 32 characters otherwise.
    Long,
    /// There is no list of that name.
    UnknownList,
}

/// The answer for one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// Whether it may be called.
    pub allowed: bool,
    /// What decided: `default:+1876 JM`, `premium:+1900`, `allow:+44`, `deny:@premium +449`, `not_e164`, `unlisted`.
    pub rule: &'a str,
}

#[derive(Clone, Debug, Default)]
struct Rule {
    /// Allowed or not, own or not, and the name.
    decision: Option<(bool, bool, Arc<str>)>,
}

impl Destinations {
    /// The default table: USA and Canada, Puerto Rico, the Dominican Republic, Mexico; toll-free numbers; no premium.
    pub fn default_table() -> &'static Arc<Destinations> {
        static TABLE: LazyLock<Arc<Destinations>> =
            LazyLock::new(|| Arc::new(Destinations::own(Base::Default, &[], &[])));
        &TABLE
    }

    /// A table of one's own.
    pub fn own(_base: Base, _allow: &[Entry], _deny: &[Entry]) -> Destinations {
        Destinations { e164: PrefixTree::default(), plain: PrefixTree::default() }
    }

    /// Whether this number, `+` and digits, may be called. A number of another form is allowed by an own plain entry
    /// only.
    pub fn judge(&self, number: &[u8]) -> Verdict<'_> {
        let (tree, digits) = match number.split_first() {
            Some((b'+', digits)) => (&self.e164, digits),
            _ => (&self.plain, number),
        };
        let mut best: Option<(usize, &Rule)> = None;
        tree.matches(digits, |len, rule| {
            if best.is_none_or(|(longest, _)| len > longest) {
                best = Some((len, rule));
            }
        });
        match best.and_then(|(_, rule)| rule.decision.as_ref()) {
            Some((allowed, _, rule)) => Verdict { allowed: *allowed, rule },
            None => Verdict { allowed: false, rule: "unlisted" },
        }
    }
}

impl Entry {
    /// Reads an entry of a configuration.
    ///
    /// # Errors
    /// [`BadEntry`].
    pub fn parse(text: &str) -> Result<Entry, BadEntry> {
        let checked = |digits: &str, max: usize, others: &str| match digits
            .chars()
            .find(|c| !c.is_ascii_digit() && !others.contains(*c))
        {
            _ if digits.is_empty() => Err(BadEntry::Empty),
            Some(other) => Err(BadEntry::Character(other)),
            None if digits.len() > max => Err(BadEntry::Long),
            None => Ok(digits.to_owned()),
        };
        match text.as_bytes().first() {
            None => Err(BadEntry::Empty),
            Some(b'@') if text.len() == 1 => Err(BadEntry::Empty),
            Some(b'@') => {
                let name = text[1..].to_ascii_lowercase();
                if lists().any(|known| known == name) {
                    Ok(Entry::List(name))
                } else {
                    Err(BadEntry::UnknownList)
                }
            }
            Some(b'+') => checked(&text[1..], 15, "X").map(Entry::Plus),
            Some(_) => checked(text, 32, "X*#").map(Entry::Plain),
        }
    }
}

/// The names of all lists, without `@`: `premium`, `high-risk`, `satellite`, `toll-free` and the countries by ISO 3166.
pub fn lists() -> impl Iterator<Item = &'static str> {
    ["premium", "high-risk", "satellite", "toll-free", "us", "ca"].into_iter()
}
