//! Reading TOML with the place of every key. Collects every error and goes on. Knows no table of the configuration.

use crate::error::{ConfigError, Kind, Place, cut, nearest};
use crate::place::{Path, Places, Segment, push_segment};
use crate::root::ERRORS_MAX;
use crate::value::{Bad, Value, Word};
use core::fmt::Write as _;
use std::borrow::Cow;
use std::sync::Arc;
use toml::Spanned;
use toml::de::DeValue;

/// One value with its place in the text.
pub type Item<'t> = Spanned<DeValue<'t>>;

/// Reads one text and remembers where everything stands.
pub struct Reader<'t> {
    file: Arc<str>,
    text: &'t str,
    /// What is added to offsets: the text may be read piece by piece.
    base: usize,
    /// The key or entry that is read now.
    here: u32,
    places: Places,
    errors: Vec<ConfigError>,
    more_errors: usize,
}

/// A state of a reader at the top of the file.
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    places: usize,
    errors: usize,
    more_errors: usize,
}

/// The path outside of what was opened.
#[derive(Clone, Copy)]
pub(crate) struct Opened {
    above: u32,
}

impl<'t> Reader<'t> {
    /// At the start of a text.
    pub fn new(text: &'t str, file: &str) -> Reader<'t> {
        Reader {
            file: file.into(),
            text,
            base: 0,
            here: 0,
            places: Places::new(text),
            errors: Vec::new(),
            more_errors: 0,
        }
    }

    /// From here on, offsets count from this byte of the text.
    pub fn set_base(&mut self, base: usize) {
        self.base = base;
    }

    /// Byte of the current key.
    pub fn offset(&self) -> usize {
        (self.places.nodes[self.here as usize].offset as usize).saturating_sub(self.base)
    }

    /// How much was found so far.
    pub(crate) fn mark(&self) -> Mark {
        Mark { places: self.places.len(), errors: self.errors.len(), more_errors: self.more_errors }
    }

    /// Forgets all that was found since, at the path of that time.
    pub(crate) fn reset(&mut self, mark: Mark) {
        self.places.cut(mark.places);
        self.errors.truncate(mark.errors);
        self.more_errors = mark.more_errors;
        (self.here, self.base) = (0, 0);
    }

    /// Goes one step further in, until [`close`](Reader::close).
    pub(crate) fn open(&mut self, segment: Segment<'_>, offset: usize) -> Opened {
        let above = self.here;
        self.here = self.places.open(above, segment, self.base + offset);
        Opened { above }
    }

    /// Goes back to where it was opened.
    pub(crate) fn close(&mut self, opened: Opened) {
        self.places.close(self.here);
        self.here = opened.above;
    }

    /// Does something one step further in, and remembers that this path is given there.
    pub fn inside<R>(&mut self, segment: Segment<'_>, offset: usize, act: impl FnOnce(&mut Self) -> R) -> R {
        let opened = self.open(segment, offset);
        let result = act(self);
        self.close(opened);
        result
    }

    /// The key is given by a short form.
    pub fn given(&mut self, segment: Segment<'_>) {
        self.inside(segment, self.offset(), |_| ());
    }

    /// Notes an error at the current path.
    pub fn error(&mut self, offset: usize, kind: Kind) {
        if self.has_room() {
            let path = self.places.path_of(self.here);
            self.push_error(path, offset, kind);
        }
    }

    /// Whether one more error is listed; counts it, if not.
    fn has_room(&mut self) -> bool {
        let room = self.errors.len() < ERRORS_MAX;
        self.more_errors += usize::from(!room);
        room
    }

    fn push_error(&mut self, path: String, offset: usize, kind: Kind) {
        let Place { line, column } = self.places.place(self.base + offset, self.text);
        self.errors.push(ConfigError { file: Arc::clone(&self.file), line, column, path, kind });
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

    /// Reads one key of a table into `slot`; `fits` says what is wrong with a value.
    pub fn field<T: Value>(
        &mut self,
        name: &Spanned<Cow<'_, str>>,
        item: &Item<'_>,
        slot: &mut T,
        fits: impl FnOnce(&T) -> Option<Kind>,
    ) {
        self.inside(Segment::Key(name.get_ref()), name.span().start, |reader| {
            let Some(value) = T::read(item, reader) else { return };
            match fits(&value) {
                Some(kind) => reader.error(item.span().start, kind),
                None => *slot = value,
            }
        });
    }

    /// Notes keys of a table that are none of `allowed`.
    pub fn unknown_keys(&mut self, mut keys: Vec<&Spanned<Cow<'_, str>>>, allowed: &[&str]) {
        keys.sort_by_key(|key| key.span().start);
        for key in keys {
            let word = key.get_ref().as_ref();
            let kind = Kind::UnknownKey {
                allowed: allowed.iter().map(|k| (*k).to_owned()).collect(),
                nearest: nearest(word, allowed.iter().copied()),
            };
            let start = key.span().start;
            self.inside(Segment::Key(&cut(word)), start, |reader| reader.error(start, kind));
        }
    }

    /// Notes that a key of the current table has to be given.
    pub fn missing(&mut self, key: &str, meaning: &str) {
        if self.has_room() {
            let mut path = self.places.path_of(self.here);
            push_segment(&mut path, Segment::Key(key));
            self.push_error(path, self.offset(), Kind::Missing(meaning.to_owned()));
        }
    }

    /// Path of another entry of the list that is read now.
    pub(crate) fn entry_path(&self, index: usize) -> String {
        let mut path = self.places.path_of(self.here);
        push_segment(&mut path, Segment::Index(index));
        path
    }

    /// Line of a path that was read before; 0 if it was not.
    pub(crate) fn line_of(&self, path: &Path<'_>) -> u32 {
        self.places.find(path).map_or(0, |node| self.places.line(node))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_quoted_where_toml_wants_it() {
        let mut out = String::new();
        push_key(&mut out, "2001@acme.test");
        assert_eq!(core::mem::take(&mut out), "\"2001@acme.test\"");
        push_text(&mut out, "a\"b\\c\n\u{1}");
        assert_eq!(out, r#""a\"b\\c\n\u0001""#);
    }
}
