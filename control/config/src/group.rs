//! `group.NAME`: trunks that stand for each other.

use crate::describe::{choices, table};
use crate::error::{cut, nearest};
use crate::read::{Item, Reader, Segment, push_key};
use crate::value::{Bad, Value, Visitor, Word, text_of};
use crate::words::Name;
use core::fmt::Write as _;
use std::collections::BTreeMap;
use toml::de::DeValue;

table! {
    /// Trunks among which a route may choose.
    pub struct Group, later "not in effect yet: a group can be defined but no call goes by it" {
        /// How one is picked.
        pick: Pick = Pick::RoundRobin;
        /// Trunks, or other groups.
        members: Vec<Member> = Vec::new(), required "the trunks of the group";
    }
}

table! {
    /// One member of a group.
    pub struct Member, short "the name of a trunk or group" from_name {
        /// Name of a trunk or of another group.
        trunk: Name = Name::default(), required "the name of a trunk or group";
        /// Share, for `pick = "weighted"`.
        weight: u32 = 1, in 1..=65_535;
        /// Capacity by name, for `pick = "free-capacity"`.
        resources: Resources = Resources::default();
    }
}

fn from_name(text: &str, offset: usize, reader: &mut Reader<'_>) -> Option<Member> {
    reader.given(Segment::Key("trunk"));
    let trunk = reader.word(text, offset)?;
    Some(Member { trunk, ..Member::default() })
}

/// `{ pstn = 30 }`: capacity by name.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Resources(pub BTreeMap<String, u32>);

impl Value for Resources {
    fn form() -> String {
        "a table of names and numbers, such as { pstn = 30 }".to_owned()
    }

    fn read(item: &Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Table(table) = item.get_ref() else {
            reader.wrong_type(item, Self::form());
            return None;
        };
        let mut resources = BTreeMap::new();
        for (key, item) in table {
            let shown = cut(key.get_ref());
            reader.inside(Segment::Key(&shown), key.span().start, |reader| {
                if let Some(count) = u32::read(item, reader) {
                    resources.insert(shown.clone(), count);
                }
            });
        }
        Some(Resources(resources))
    }

    fn write(&self, out: &mut String) {
        out.push('{');
        for (index, (name, count)) in self.0.iter().enumerate() {
            out.push_str(if index > 0 { ", " } else { " " });
            push_key(out, name);
            let _ = write!(out, " = {count}");
        }
        out.push_str(" }");
    }

    fn visit(&self, path: &str, visitor: &mut dyn Visitor) {
        visitor.leaf(path, text_of(self));
    }
}

/// How a member of a group is picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// One after the other.
    RoundRobin,
    /// By weight.
    Weighted,
    /// The one with the fewest calls.
    LeastCalls,
    /// The one with the largest free share of its resources.
    FreeCapacity,
    /// The first that can.
    Priority,
    /// By chance.
    Random,
    /// The same for the same key.
    Hash(HashKey),
}

choices! {
    /// What `hash:` looks at.
    pub enum HashKey {
        /// Called number.
        Callee = "callee";
        /// Calling number.
        Caller = "caller";
        /// Call-ID.
        CallId = "call-id";
        /// Source address.
        Source = "source";
    }
}

const PICKS: [(&str, Pick); 10] = [
    ("round-robin", Pick::RoundRobin),
    ("weighted", Pick::Weighted),
    ("least-calls", Pick::LeastCalls),
    ("free-capacity", Pick::FreeCapacity),
    ("priority", Pick::Priority),
    ("random", Pick::Random),
    ("hash:callee", Pick::Hash(HashKey::Callee)),
    ("hash:caller", Pick::Hash(HashKey::Caller)),
    ("hash:call-id", Pick::Hash(HashKey::CallId)),
    ("hash:source", Pick::Hash(HashKey::Source)),
];

impl Word for Pick {
    const FORM: &'static str = "\"round-robin\" | \"weighted\" | \"least-calls\" | \"free-capacity\" | \"priority\" | \
                                \"random\" | \"hash:KEY\" with callee, caller, call-id or source";

    fn parse(text: &str) -> Result<Self, Bad> {
        let known = PICKS.iter().find(|(word, _)| *word == text);
        known.map(|(_, pick)| *pick).ok_or_else(|| Bad {
            why: "is no way to pick".to_owned(),
            nearest: nearest(text, PICKS.iter().map(|(word, _)| *word)),
        })
    }

    fn word(&self) -> String {
        let known = PICKS.iter().find(|(_, pick)| pick == self);
        known.expect("the table holds every way to pick").0.to_owned()
    }
}
