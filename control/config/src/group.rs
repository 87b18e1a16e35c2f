//! `group.NAME`: trunks that stand for each other.

use crate::describe::{choices, table};
use crate::error::{Kind, cut, nearest};
use crate::place::{Path, Segment};
use crate::read::{Item, Reader, push_key};
use crate::value::{Bad, Value, Visitor, Word, text_of};
use crate::words::{Host, Name, UserPart};
use core::fmt::Write as _;
use routing::group::{Compare, HashOf, Pick, Ties};
use std::collections::BTreeMap;
use toml::de::DeValue;

table! {
    /// Trunks among which a route may choose.
    pub struct Group {
        /// How one is picked. One that cannot be taken is passed over, whatever the way.
        pick: Pick = Pick::RoundRobin;
        /// What `free-capacity` compares.
        compare: Compare = Compare::Relative;
        /// Which of several equally good members `free-capacity` and `least-calls` take.
        ties: Ties = Ties::Random;
        /// Trunks, or other groups, in this order.
        members: Vec<Member> = Vec::new(), required "the trunks of the group";
    }
}

table! {
    /// One member of a group.
    pub struct Member, short "the name of a trunk or group" from_name {
        /// Name of a trunk or of another group.
        trunk: Name = Name::default(), required "the name of a trunk or group";
        /// Share, for `weighted`, `random` and `hash`; for `least-calls`, what its calls are divided by.
        weight: u32 = 1, in 1..=65_535;
        /// Rank, for `priority`: the lowest comes first, equals in this order.
        priority: u32 = 1, in 0..=65_535;
        /// How many calls it can carry at a time, by the name of a resource. None of them is ever exceeded but by
        /// emergency calls.
        resources: Resources = Resources::default();
        /// Technical prefix that is put before the called number, when all decisions are made.
        prefix: Option<UserPart> = None;
        /// What stands as the calling number instead.
        caller: Option<UserPart> = None;
        /// What stands as the host of the Request-URI instead of the trunk's.
        host: Option<Host> = None;
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
                if let Err(why) = crate::objects::check_name(key.get_ref()) {
                    let (value, allowed) = (shown.clone(), crate::objects::NAME_FORM.to_owned());
                    reader.error(key.span().start, Kind::BadValue { value, why, allowed, nearest: None });
                }
                let Some(count) = u32::read(item, reader) else { return };
                let range = 1..=10_000_000;
                if let Some(kind) = crate::value::Within::outside(&count, &range) {
                    reader.error(item.span().start, kind);
                }
                resources.insert(shown.clone(), count);
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

    fn visit(&self, path: &Path<'_>, visitor: &mut dyn Visitor) {
        visitor.leaf(path, &|| text_of(self));
    }
}

choices!(for Compare {
    /// The free share of the capacity.
    Relative = "relative";
    /// How many more calls it could carry.
    Absolute = "absolute";
});

choices!(for Ties {
    /// Any of them, by chance.
    Random = "random";
    /// The first of them.
    First = "first";
});

const PICKS: [(&str, Pick); 10] = [
    ("round-robin", Pick::RoundRobin),
    ("weighted", Pick::Weighted),
    ("least-calls", Pick::LeastCalls),
    ("free-capacity", Pick::FreeCapacity),
    ("priority", Pick::Priority),
    ("random", Pick::Random),
    ("hash:callee", Pick::Hash(HashOf::Callee)),
    ("hash:caller", Pick::Hash(HashOf::Caller)),
    ("hash:call-id", Pick::Hash(HashOf::CallId)),
    ("hash:source", Pick::Hash(HashOf::Source)),
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
