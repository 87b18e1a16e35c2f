//! Reading TOML with the place of every key. Collects every error and goes on. Knows no table of the configuration.

use crate::error::{ConfigError, Kind, Place, cut, nearest};
use crate::value::{Bad, Value, Word};
use core::fmt::Write as _;
use std::collections::HashMap;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One value with its place in the text.
pub type Item<'t> = Spanned<DeValue<'t>>;

/// Where every key and list entry stands, by path. Only looked up, never walked.
pub type Places = HashMap<String, Place>;

/// Reads one text and remembers where everything stands.
pub struct Reader<'t> {
    file: Arc<str>,
    text: &'t str,
    line_starts: Vec<usize>,
    path: String,
    offset: usize,
    places: Places,
    errors: Vec<ConfigError>,
    more_errors: usize,
}

/// One step of a path.
#[derive(Clone, Copy, Debug)]
pub enum Segment<'a> {
    /// A key of a table.
    Key(&'a str),
    /// An entry of a list, from 0.
    Index(usize),
}

impl<'t> Reader<'t> {
    /// At the start of a text.
    pub fn new(text: &'t str, file: &str) -> Reader<'t> {
        let line_starts = core::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Reader {
            file: file.into(),
            text,
            line_starts,
            path: String::new(),
            offset: 0,
            places: Places::new(),
            errors: Vec::new(),
            more_errors: 0,
        }
    }

    /// Line and column of a byte.
    pub fn place(&self, offset: usize) -> Place {
        let offset = offset.min(self.text.len());
        let index = self.line_starts.partition_point(|start| *start <= offset).saturating_sub(1);
        let before = &self.text.as_bytes()[self.line_starts[index]..offset];
        // Characters, as an editor counts; in an absurdly long line bytes do, so that this stays cheap.
        let column = if before.len() > 4096 {
            before.len()
        } else {
            before.iter().filter(|byte| **byte & 0xC0 != 0x80).count()
        };
        let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Place { line: small(index + 1), column: small(column + 1) }
    }

    /// Where the reader is now.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Byte of the current key.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Does something one step further in, and remembers that this path is given there.
    pub fn inside<R>(&mut self, segment: Segment<'_>, offset: usize, act: impl FnOnce(&mut Self) -> R) -> R {
        let (len, outer) = (self.path.len(), self.offset);
        push_segment(&mut self.path, segment);
        self.offset = offset;
        let place = self.place(offset);
        self.places.entry(self.path.clone()).or_insert(place);
        let result = act(self);
        self.path.truncate(len);
        self.offset = outer;
        result
    }

    /// The key is given by a short form.
    pub fn given(&mut self, segment: Segment<'_>) {
        self.inside(segment, self.offset, |_| ());
    }

    /// Notes an error at the current path.
    pub fn error(&mut self, offset: usize, kind: Kind) {
        if self.errors.len() >= ERRORS_MAX {
            self.more_errors += 1;
            return;
        }
        let Place { line, column } = self.place(offset);
        self.errors.push(ConfigError {
            file: Arc::clone(&self.file),
            line,
            column,
            path: self.path.clone(),
            kind,
        });
    }

    /// Notes that something else was expected here.
    pub fn wrong_type(&mut self, item: &Item<'_>, expected: String) {
        let found = found(item.get_ref());
        self.error(item.span().start, Kind::WrongType { expected, found, nearest: None });
    }

    /// Reads a word at the current path.
    pub fn word<T: Word>(&mut self, text: &str, offset: usize) -> Option<T> {
        match T::parse(text) {
            Ok(value) => Some(value),
            Err(Bad { why, nearest }) if T::ECHO => {
                let allowed = T::FORM.to_owned();
                self.error(
                    offset,
                    Kind::BadValue { value: cut(&without_password(text)), why, allowed, nearest },
                );
                None
            }
            Err(_) => {
                self.error(offset, Kind::BadSecret(T::FORM));
                None
            }
        }
    }

    /// Reads one key of a table into `slot`, if it is there; `fits` says what is wrong with a value.
    pub fn field<T: Value>(
        &mut self,
        table: &DeTable<'_>,
        key: &str,
        slot: &mut T,
        fits: impl FnOnce(&T) -> Option<Kind>,
    ) {
        let Some((name, item)) = table.get_key_value(key) else { return };
        self.inside(Segment::Key(key), name.span().start, |reader| {
            let Some(value) = T::read(item, reader) else { return };
            match fits(&value) {
                Some(kind) => reader.error(item.span().start, kind),
                None => *slot = value,
            }
        });
    }

    /// Notes every key of a table that is none of `allowed`.
    pub fn unknown_keys(&mut self, table: &DeTable<'_>, allowed: &[&str]) {
        let mut unknown: Vec<_> = table
            .iter()
            .map(|(key, _)| key)
            .filter(|key| !allowed.contains(&key.get_ref().as_ref()))
            .collect();
        unknown.sort_by_key(|key| key.span().start);
        for key in unknown {
            let word = key.get_ref().as_ref();
            let kind = Kind::UnknownKey {
                allowed: allowed.iter().map(|k| (*k).to_owned()).collect(),
                nearest: nearest(word, allowed.iter().copied()),
            };
            let shown = cut(word);
            let start = key.span().start;
            self.inside(Segment::Key(&shown), start, |reader| reader.error(start, kind));
        }
    }

    /// Notes that a key of the current table has to be given.
    pub fn missing(&mut self, key: &str, meaning: &str) {
        let (len, offset) = (self.path.len(), self.offset);
        push_segment(&mut self.path, Segment::Key(key));
        self.error(offset, Kind::Missing(meaning.to_owned()));
        self.path.truncate(len);
    }

    /// Line of a path that was read before; 0 if it was not.
    pub(crate) fn line_of(&self, path: &str) -> u32 {
        self.places.get(path).map_or(0, |place| place.line)
    }

    /// What was found.
    pub fn finish(self) -> (Arc<str>, Places, Vec<ConfigError>, usize) {
        (self.file, self.places, self.errors, self.more_errors)
    }
}

/// The text without what stands where URLs have a password.
fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let authority = rest.find('/').unwrap_or(rest.len());
    match rest[..authority].rfind('@') {
        Some(at) => format!("{scheme}://…{}", &rest[at..]),
        None => text.to_owned(),
    }
}

/// What a value of another type is called.
pub(crate) fn found(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Appends one step; keys are quoted where TOML wants quotes.
pub(crate) fn push_segment(path: &mut String, segment: Segment<'_>) {
    match segment {
        Segment::Index(index) => {
            let _ = write!(path, "[{index}]");
        }
        Segment::Key(key) => {
            if !path.is_empty() {
                path.push('.');
            }
            push_key(path, key);
        }
    }
}

/// The path of a key below another.
pub(crate) fn below(path: &str, key: &str) -> String {
    let mut longer = String::with_capacity(path.len() + key.len() + 1);
    longer.push_str(path);
    push_segment(&mut longer, Segment::Key(key));
    longer
}

/// Writes a key, bare where TOML allows it.
pub(crate) fn push_key(out: &mut String, key: &str) {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !key.is_empty() && key.bytes().all(bare) {
        out.push_str(key);
    } else {
        push_text(out, key);
    }
}

/// Writes a TOML basic string.
pub(crate) fn push_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

const ERRORS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let reader = Reader::new("é = 1\nab = 2", "f");
        assert_eq!(reader.place(0), Place { line: 1, column: 1 });
        assert_eq!(reader.place(3), Place { line: 1, column: 3 });
        assert_eq!(reader.place(7), Place { line: 2, column: 1 });
        assert_eq!(reader.place(999), Place { line: 2, column: 7 });
    }

    #[test]
    fn keys_are_quoted_where_toml_wants_it() {
        assert_eq!(below("account", "2001@acme.test"), "account.\"2001@acme.test\"");
        assert_eq!(below("", "trunk"), "trunk");
        let mut out = String::new();
        push_text(&mut out, "a\"b\\c\n\u{1}");
        assert_eq!(out, r#""a\"b\\c\n\u0001""#);
    }
}
