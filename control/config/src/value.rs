//! What may stand behind a key: values of every type, words (values that are one text), lists, ranges.

use crate::error::{Kind, cut};
use crate::place::{Path, Segment};
use crate::read::{Item, Reader, found, push_text};
use crate::secret::Secret;
use core::fmt::Write as _;
use core::ops::RangeInclusive;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use toml::de::DeValue;

/// What stands behind a key.
pub trait Value: Sized + Clone + PartialEq {
    /// What may be written, for errors and for the reference page.
    fn form() -> String;

    /// Reads it; errors go to the reader, which is at this key.
    fn read(item: &Item<'_>, reader: &mut Reader<'_>) -> Option<Self>;

    /// As TOML that reads back equal.
    fn write(&self, out: &mut String);

    /// Shows every leaf below this value to the visitor.
    fn visit(&self, path: &Path<'_>, visitor: &mut dyn Visitor);

    /// The choices, if it is one (or a list) of them.
    fn choices() -> &'static [Choice] {
        &[]
    }

    /// The keys, if it is (a list of) tables.
    fn table() -> Option<TableDoc> {
        None
    }

    /// Asks for nothing that is not done anyway: `false`, an empty list.
    fn asks_nothing(&self) -> bool {
        false
    }

    /// The same entry twice in a list is a mistake.
    const UNIQUE: bool = false;
}

/// A value that is written as one TOML string.
pub trait Word: Sized + Clone + PartialEq {
    /// What may be written.
    const FORM: &'static str;

    /// A whole number may stand for its text: `408` for `"408"`.
    const NUMBER_TOO: bool = false;

    /// What is written may be repeated in errors.
    const ECHO: bool = true;

    /// Reads it.
    ///
    /// # Errors
    /// Why not, and what was probably meant.
    fn parse(text: &str) -> Result<Self, Bad>;

    /// Reads back equal.
    fn word(&self) -> String;

    /// The choices, for the page of reference.
    const CHOICES: &'static [Choice] = &[];

    /// This value is known but its function comes later.
    fn lack(&self) -> Option<Lack> {
        None
    }

    /// The secret, if it is one: then nothing is echoed.
    fn secret(&self) -> Option<&Secret> {
        None
    }
}

/// Why a word was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// Continues `"VALUE" …`.
    pub why: String,
    /// What was probably meant.
    pub nearest: Option<String>,
}

impl Bad {
    /// Without a suggestion.
    pub fn new(why: impl Into<String>) -> Bad {
        Bad { why: why.into(), nearest: None }
    }

    /// With a suggestion.
    pub fn meant(why: impl Into<String>, nearest: impl Into<String>) -> Bad {
        Bad { why: why.into(), nearest: Some(nearest.into()) }
    }
}

/// Something that is read and checked but whose function comes later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lack {
    /// The sentence.
    pub why: &'static str,
    /// `run` refuses to start rather than ignore it.
    pub protective: bool,
}

/// One of several words, for the page of reference.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// As written.
    pub word: &'static str,
    /// Its documentation, one entry a line.
    pub about: &'static [&'static str],
    /// Not in effect yet.
    pub lack: Option<Lack>,
}

/// Sees the leaves of a configuration.
pub trait Visitor {
    /// A value, or a list of values; `text` writes it as TOML.
    fn leaf(&mut self, path: &Path<'_>, text: &dyn Fn() -> String);
    /// An optional key that is not given.
    fn absent(&mut self, path: &Path<'_>);
    /// Something whose function comes later.
    fn lack(&mut self, path: &Path<'_>, lack: Lack);
    /// A secret; its leaf comes as well.
    fn secret(&mut self, path: &Path<'_>, secret: &Secret);
}

/// A table for the reference page.
pub struct TableDoc {
    /// Its documentation, one entry a line.
    pub about: &'static [&'static str],
    /// Its keys in the order of the struct.
    pub keys: Vec<KeyDoc>,
    /// The whole table is not in effect yet.
    pub lack: Option<Lack>,
}

/// A key for the reference page.
pub struct KeyDoc {
    /// As written.
    pub name: &'static str,
    /// What may be written.
    pub form: String,
    /// As TOML; empty if there is none.
    pub default: String,
    /// Has to be given.
    pub required: bool,
    /// Its documentation, one entry a line.
    pub about: &'static [&'static str],
    /// Not in effect yet.
    pub lack: Option<Lack>,
    /// The choices.
    pub choices: &'static [Choice],
    /// The keys behind it.
    pub table: Option<TableDoc>,
}

/// As TOML.
pub(crate) fn text_of<T: Value>(value: &T) -> String {
    let mut out = String::new();
    value.write(&mut out);
    out
}

// ---- words, flags, numbers -------------------------------------------------------------------------------------------

impl<T: Word> Value for T {
    fn form() -> String {
        T::FORM.to_owned()
    }

    fn choices() -> &'static [Choice] {
        T::CHOICES
    }

    fn read(item: &Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let offset = item.span().start;
        match item.get_ref() {
            DeValue::String(text) => reader.word(text, offset),
            DeValue::Integer(number) if T::NUMBER_TOO && number.radix() == 10 => {
                reader.word(number.as_str(), offset)
            }
            DeValue::Integer(number) => {
                let nearest = T::parse(number.as_str()).err().and_then(|bad| bad.nearest);
                let kind = Kind::WrongType { expected: T::FORM.to_owned(), found: "a number", nearest };
                reader.error(offset, kind);
                None
            }
            _ => {
                reader.wrong_type(item, T::FORM.to_owned());
                None
            }
        }
    }

    fn write(&self, out: &mut String) {
        push_text(out, &self.word());
    }

    fn visit(&self, path: &Path<'_>, visitor: &mut dyn Visitor) {
        if let Some(secret) = self.secret() {
            visitor.secret(path, secret);
        }
        if let Some(lack) = self.lack() {
            visitor.lack(path, lack);
        }
        visitor.leaf(path, &|| text_of(self));
    }

    const UNIQUE: bool = true;
}

impl Value for bool {
    fn form() -> String {
        "true | false".to_owned()
    }

    fn read(item: &Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let value = item.get_ref().as_bool();
        if value.is_none() {
            let nearest = match item.get_ref().as_str() {
                Some("yes" | "on" | "true" | "1") => Some("true".to_owned()),
                Some("no" | "off" | "false" | "0" | "never") => Some("false".to_owned()),
                _ => None,
            };
            let found = found(item.get_ref());
            reader.error(item.span().start, Kind::WrongType { expected: Self::form(), found, nearest });
        }
        value
    }

    fn write(&self, out: &mut String) {
        out.push_str(if *self { "true" } else { "false" });
    }

    fn visit(&self, path: &Path<'_>, visitor: &mut dyn Visitor) {
        visitor.leaf(path, &|| text_of(self));
    }

    fn asks_nothing(&self) -> bool {
        !self
    }
}

impl Value for u32 {
    fn form() -> String {
        "a whole number".to_owned()
    }

    fn read(item: &Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Integer(number) = item.get_ref() else {
            reader.wrong_type(item, Self::form());
            return None;
        };
        let value = u32::from_str_radix(number.as_str(), number.radix()).ok();
        if value.is_none() {
            let value = cut(number.as_str());
            let kind = Kind::OutOfRange { value, least: "0".to_owned(), most: u32::MAX.to_string() };
            reader.error(item.span().start, kind);
        }
        value
    }

    fn write(&self, out: &mut String) {
        let _ = write!(out, "{self}");
    }

    fn visit(&self, path: &Path<'_>, visitor: &mut dyn Visitor) {
        visitor.leaf(path, &|| text_of(self));
    }
}

impl Value for f64 {
    fn form() -> String {
        "a number".to_owned()
    }

    fn read(item: &Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let value = match item.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse().ok(),
            DeValue::Float(number) => number.as_str().parse().ok(),
            _ => None,
        };
        let value = value.filter(|v: &f64| v.is_finite());
        if value.is_none() {
            reader.wrong_type(item, Self::form());
        }
        value
    }

    fn write(&self, out: &mut String) {
        let _ = write!(out, "{self}");
    }

    fn visit(&self, path: &Path<'_>, visitor: &mut dyn Visitor) {
        visitor.leaf(path, &|| text_of(self));
    }
}

// ---- values in values ------------------------------------------------------------------------------------------------

impl<T: Value> Value for Option<T> {
    fn form() -> String {
        T::form()
    }

    fn read(item: &Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        T::read(item, reader).map(Some)
    }

    fn write(&self, out: &mut String) {
        if let Some(value) = self {
            value.write(out);
        }
    }

    fn visit(&self, path: &Path<'_>, visitor: &mut dyn Visitor) {
        match self {
            Some(value) => value.visit(path, visitor),
            None => visitor.absent(path),
        }
    }

    fn choices() -> &'static [Choice] {
        T::choices()
    }

    fn table() -> Option<TableDoc> {
        T::table()
    }

    fn asks_nothing(&self) -> bool {
        self.as_ref().is_none_or(T::asks_nothing)
    }
}

/// A list; one value stands for a list of one.
impl<T: Value> Value for Vec<T> {
    fn form() -> String {
        format!("{}, or a list of such", T::form())
    }

    fn read(item: &Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let offset = item.span().start;
        let DeValue::Array(entries) = item.get_ref() else {
            let one = reader.inside(Segment::Index(0), offset, |reader| T::read(item, reader));
            return one.map(|value| vec![value]);
        };
        let mut values = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            reader.inside(Segment::Index(index), entry.span().start, |reader| {
                values.extend(T::read(entry, reader));
            });
        }
        // With a bad entry the numbers no longer fit, and it is reported already.
        if T::UNIQUE && values.len() == entries.len() {
            for (first, again) in repeated(&values) {
                let offset = entries[again].span().start;
                let (value, other) = (text_of(&values[again]), reader.entry_path(first));
                reader.inside(Segment::Index(again), offset, |reader| {
                    reader.error(offset, Kind::Twice { value, other, line: 0 });
                });
            }
        }
        Some(values)
    }

    fn write(&self, out: &mut String) {
        out.push('[');
        for (index, value) in self.iter().enumerate() {
            if index > 0 {
                out.push_str(", ");
            }
            value.write(out);
        }
        out.push(']');
    }

    fn visit(&self, path: &Path<'_>, visitor: &mut dyn Visitor) {
        let tables = !self.is_empty() && T::table().is_some();
        for (index, value) in self.iter().enumerate() {
            let entry = path.entry(index);
            if tables {
                value.visit(&entry, visitor);
            } else {
                value.visit(&entry, &mut WithoutLeaves(visitor));
            }
        }
        if !tables {
            visitor.leaf(path, &|| text_of(self));
        }
    }

    fn choices() -> &'static [Choice] {
        T::choices()
    }

    fn table() -> Option<TableDoc> {
        T::table()
    }

    fn asks_nothing(&self) -> bool {
        self.is_empty()
    }
}

/// Shows what is special in the entries of a list whose leaf is the list.
struct WithoutLeaves<'a>(&'a mut dyn Visitor);

impl Visitor for WithoutLeaves<'_> {
    fn leaf(&mut self, _: &Path<'_>, _: &dyn Fn() -> String) {}
    fn absent(&mut self, _: &Path<'_>) {}
    fn lack(&mut self, path: &Path<'_>, lack: Lack) {
        self.0.lack(path, lack);
    }
    fn secret(&mut self, path: &Path<'_>, secret: &Secret) {
        self.0.secret(path, secret);
    }
}

/// Pairs of places with equal values, the second being a repetition of the first, in the order of the list.
fn repeated<T: Value>(values: &[T]) -> Vec<(usize, usize)> {
    if values.len() <= SHORT_LIST {
        let first = |at: usize| values[..at].iter().position(|value| *value == values[at]);
        return (1..values.len()).filter_map(|at| Some((first(at)?, at))).collect();
    }
    let mut seen = HashMap::with_capacity(values.len());
    let mut pairs = Vec::new();
    for (at, value) in values.iter().enumerate() {
        match seen.entry(text_of(value)) {
            Entry::Occupied(first) => pairs.push((*first.get(), at)),
            Entry::Vacant(place) => {
                place.insert(at);
            }
        }
    }
    pairs
}

/// Up to so many entries each is compared with each.
const SHORT_LIST: usize = 24;

// ---- ranges ----------------------------------------------------------------------------------------------------------

/// A value that can be held against a range.
pub trait Within<R> {
    /// Nothing, if it is inside.
    fn outside(&self, range: &RangeInclusive<R>) -> Option<Kind>;
}

impl<R: Value + PartialOrd> Within<R> for R {
    fn outside(&self, range: &RangeInclusive<R>) -> Option<Kind> {
        (!range.contains(self)).then(|| Kind::OutOfRange {
            value: text_of(self),
            least: text_of(range.start()),
            most: text_of(range.end()),
        })
    }
}

impl<R: Value + PartialOrd> Within<R> for Option<R> {
    fn outside(&self, range: &RangeInclusive<R>) -> Option<Kind> {
        self.as_ref().and_then(|value| value.outside(range))
    }
}

/// A range as the page of reference shows it.
pub(crate) fn range_text<R: Value>(range: &RangeInclusive<R>) -> String {
    format!("; {} to {}", text_of(range.start()), text_of(range.end()))
}
