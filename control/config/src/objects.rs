//! Objects of one kind: named ones in a table, ordered ones in a list.

use crate::error::{Kind, cut};
use crate::place::{Path, Segment};
use crate::read::{Item, Reader, found, push_key};
use crate::value::{TableDoc, Value, Visitor};
use std::collections::HashSet;
use toml::de::DeValue;

/// Objects of one kind, by name, in the order of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Objects<T> {
    objects: Vec<(String, T)>,
    /// Their numbers, sorted by name.
    by_name: Vec<u32>,
}

impl<T> Default for Objects<T> {
    fn default() -> Self {
        Objects { objects: Vec::new(), by_name: Vec::new() }
    }
}

impl<T> Objects<T> {
    /// In the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.objects.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// In the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.objects.iter().map(|(name, _)| name.as_str())
    }

    /// The object of this name.
    pub fn get(&self, name: &str) -> Option<&T> {
        self.position(name).map(|number| &self.objects[number].1)
    }

    /// The number of the object of this name, in the order of the file.
    pub fn position(&self, name: &str) -> Option<usize> {
        let of = |number: &u32| self.objects[*number as usize].0.as_str();
        let found = self.by_name.binary_search_by(|number| of(number).cmp(name)).ok()?;
        Some(self.by_name[found] as usize)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

impl<T: Value + Default> Value for Objects<T> {
    fn form() -> String {
        "a table of named tables".to_owned()
    }

    fn read(item: &Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Table(table) = item.get_ref() else {
            reader.wrong_type(item, Self::form());
            return None;
        };
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        let mut objects: Vec<(String, T)> = Vec::with_capacity(entries.len());
        for (name, item) in entries {
            let offset = name.span().start;
            let shown = cut(name.get_ref());
            reader.inside(Segment::Key(&shown), offset, |reader| {
                if let Err(why) = check_name(name.get_ref()) {
                    let allowed = NAME_FORM.to_owned();
                    reader
                        .error(offset, Kind::BadValue { value: shown.clone(), why, allowed, nearest: None });
                }
                // One that cannot be read keeps its name, so that references to it are no further errors.
                objects.push((shown.clone(), T::read(item, reader).unwrap_or_default()));
            });
        }
        let mut by_name: Vec<u32> = (0..).take(objects.len()).collect();
        by_name.sort_by(|a, b| objects[*a as usize].0.cmp(&objects[*b as usize].0));
        Some(Objects { objects, by_name })
    }

    fn write(&self, out: &mut String) {
        out.push_str("{ ");
        for (index, (name, value)) in self.objects.iter().enumerate() {
            out.push_str(if index > 0 { ", " } else { "" });
            push_key(out, name);
            out.push_str(" = ");
            value.write(out);
        }
        out.push_str(" }");
    }

    fn visit(&self, path: &Path<'_>, visitor: &mut dyn Visitor) {
        for (name, value) in &self.objects {
            value.visit(&path.key(name), visitor);
        }
    }

    fn table() -> Option<TableDoc> {
        T::table()
    }
}

/// An object of an ordered list: it may be named.
pub trait Rule: Value + Default {
    /// The key, and what unnamed ones are called: `KIND-N`.
    const KIND: &'static str;
    /// Its name.
    fn name(&self) -> &str;
    /// Names it.
    fn set_name(&mut self, name: String);
}

/// An ordered list of objects: the first match wins.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules<T>(Vec<T>);

impl<T> Default for Rules<T> {
    fn default() -> Self {
        Rules(Vec::new())
    }
}

impl<T> core::ops::Deref for Rules<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Rule> Rules<T> {
    /// Reads further objects; `names` are those that are taken.
    pub(crate) fn read_more<'i>(
        &mut self,
        entries: impl IntoIterator<Item = &'i Item<'i>>,
        reader: &mut Reader<'_>,
        names: &mut HashSet<String>,
    ) {
        for entry in entries {
            let given =
                entry.get_ref().as_table().and_then(|t| t.get("name")).and_then(|n| n.get_ref().as_str());
            let number = self.0.len() + 1;
            let unnamed = || format!("{}-{number}", T::KIND.replace('_', "-"));
            let name = given.map_or_else(unnamed, cut);
            let offset = entry.span().start;
            // A name that is taken is an error; what else is wrong in this entry is reported under its number.
            let taken = names.contains(&name);
            let shown = if taken { unnamed() } else { name.clone() };
            reader.inside(Segment::Key(&shown), offset, |reader| {
                if taken {
                    let other = Path::ROOT.key(T::KIND);
                    let other = other.key(&name);
                    let (line, other) = (reader.line_of(&other), other.to_string());
                    let kind = Kind::Twice { value: format!("the name \"{name}\""), other, line };
                    reader.error(offset, kind);
                }
                let mut rule = T::read(entry, reader).unwrap_or_default();
                rule.set_name(shown.clone());
                self.0.push(rule);
            });
            if !taken {
                names.insert(name);
            }
        }
    }
}

impl<T: Rule> Value for Rules<T> {
    fn form() -> String {
        "a list of tables".to_owned()
    }

    fn read(item: &Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Array(entries) = item.get_ref() else {
            let found = found(item.get_ref());
            let expected = format!("a list: every {} begins with [[{}]]", T::KIND, T::KIND);
            reader.error(item.span().start, Kind::WrongType { expected, found, nearest: None });
            return None;
        };
        let mut rules = Rules(Vec::with_capacity(entries.len()));
        rules.read_more(entries, reader, &mut HashSet::with_capacity(entries.len()));
        Some(rules)
    }

    fn write(&self, out: &mut String) {
        self.0.write(out);
    }

    fn visit(&self, path: &Path<'_>, visitor: &mut dyn Visitor) {
        for rule in &self.0 {
            rule.visit(&path.key(rule.name()), visitor);
        }
    }

    fn table() -> Option<TableDoc> {
        T::table()
    }
}

/// What a name may be.
pub(crate) const NAME_FORM: &str = "a name of 1 to 64 letters, digits and signs without spaces and quotes";

/// Names stand in metrics, logs, paths of the API and references.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let fine =
        |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, '"' | '\'' | '\\' | '/' | '{' | '}');
    match name.chars().count() {
        0 => Err("is empty".to_owned()),
        1..=64 if name.chars().all(fine) => Ok(()),
        1..=64 => Err("holds a space, a quote, a slash or a brace".to_owned()),
        _ => Err("is too long".to_owned()),
    }
}
