//! Headers of routes: what a call's must look like, and what is set on the outgoing leg.

use crate::error::{Kind, cut};
use crate::place::{Path, Segment};
use crate::read::{Item, Reader, push_key, push_text};
use crate::value::{Bad, Value, Visitor, Word, text_of};
use crate::words::NumberPattern;
use routing::number::Pattern;
use toml::de::DeValue;

/// `{ "X-Tag" = "gold" }`: headers that a call must have, by name.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct HeaderPatterns(pub Vec<(String, HeaderPattern)>);

/// `{ "X-accountcode" = "{caller}" }`: headers that are set, by name.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct HeaderTexts(pub Vec<(String, HeaderText)>);

/// What the value of a header has to look like: as a number pattern, but with spaces.
#[derive(Clone, Debug, PartialEq)]
pub struct HeaderPattern(pub NumberPattern);

/// The value of a header: a text in which `{callee}`, `{caller}`, `{trunk}` and `{account}` stand for what they say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderText(pub String);

const PLACES: [&str; 4] = ["callee", "caller", "trunk", "account"];

impl Word for HeaderPattern {
    const FORM: &'static str = "what its value looks like: as a number pattern, \"~REGEX\" or \"=TEXT\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        if text.len() > LONGEST || text.chars().any(char::is_control) {
            return Err(Bad::new("is too long or holds a control character"));
        }
        let refused = |bad: routing::number::BadPattern| Bad::new(format!("is no pattern: {}", bad.0));
        Pattern::parse(text).map(|pattern| HeaderPattern(NumberPattern(pattern))).map_err(refused)
    }

    fn word(&self) -> String {
        self.0.word()
    }
}

impl Word for HeaderText {
    const FORM: &'static str = "a text, in which {callee}, {caller}, {trunk} and {account} may stand";

    fn parse(text: &str) -> Result<Self, Bad> {
        if text.len() > LONGEST || text.chars().any(char::is_control) {
            return Err(Bad::new("is too long or holds a control character"));
        }
        for part in text.split('{').skip(1) {
            let Some((name, _)) = part.split_once('}') else {
                return Err(Bad::new("has `{` without `}`"));
            };
            if !PLACES.contains(&name) {
                let nearest = crate::error::nearest(name, PLACES);
                let whole = |near| text.replacen(&format!("{{{name}}}"), &format!("{{{near}}}"), 1);
                let why = format!("names `{}`, which stands for nothing", cut(name));
                return Err(Bad { why, nearest: nearest.map(whole) });
            }
        }
        Ok(HeaderText(text.to_owned()))
    }

    fn word(&self) -> String {
        self.0.clone()
    }
}

impl Value for HeaderPatterns {
    fn form() -> String {
        "a table of header names and patterns, such as { \"X-Tag\" = \"gold\" }".to_owned()
    }

    fn read(item: &Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        read(item, reader, Self::form(), |_| None).map(HeaderPatterns)
    }

    fn write(&self, out: &mut String) {
        write(&self.0, out);
    }

    fn visit(&self, path: &Path<'_>, visitor: &mut dyn Visitor) {
        visitor.leaf(path, &|| text_of(self));
    }
}

impl Value for HeaderTexts {
    fn form() -> String {
        "a table of header names and texts, such as { \"X-accountcode\" = \"{caller}\" }".to_owned()
    }

    fn read(item: &Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        read(item, reader, Self::form(), ours).map(HeaderTexts)
    }

    fn write(&self, out: &mut String) {
        write(&self.0, out);
    }

    fn visit(&self, path: &Path<'_>, visitor: &mut dyn Visitor) {
        visitor.leaf(path, &|| text_of(self));
    }
}

fn read<T: Word>(
    item: &Item<'_>,
    reader: &mut Reader<'_>,
    form: String,
    refused: impl Fn(&str) -> Option<&'static str>,
) -> Option<Vec<(String, T)>> {
    let DeValue::Table(table) = item.get_ref() else {
        reader.wrong_type(item, form);
        return None;
    };
    let mut headers: Vec<(usize, String, T)> = Vec::new();
    for (key, item) in table {
        let offset = key.span().start;
        let name = key.get_ref().as_ref();
        reader.inside(Segment::Key(&cut(name)), offset, |reader| {
            let refused = if is_token(name) { refused(name) } else { Some("is no name of a header") };
            if let Some(why) = refused {
                let allowed = "the name of a header, such as \"X-Tag\"".to_owned();
                let (value, why) = (cut(name), why.to_owned());
                reader.error(offset, Kind::BadValue { value, why, allowed, nearest: None });
            }
            let same = headers.iter().find(|(_, other, _)| other.eq_ignore_ascii_case(name));
            if let Some((_, other, _)) = same {
                let why =
                    format!("header names do not tell capital letters apart: \"{other}\" stands here too");
                reader.error(offset, Kind::Unfit(why));
            }
            if let Some(value) = T::read(item, reader) {
                headers.push((offset, name.to_owned(), value));
            }
        });
    }
    headers.sort_by_key(|(offset, ..)| *offset);
    Some(headers.into_iter().map(|(_, name, value)| (name, value)).collect())
}

fn write<T: Word>(headers: &[(String, T)], out: &mut String) {
    out.push('{');
    for (index, (name, value)) in headers.iter().enumerate() {
        out.push_str(if index > 0 { ", " } else { " " });
        push_key(out, name);
        out.push_str(" = ");
        push_text(out, &value.word());
    }
    out.push_str(" }");
}

/// A token of RFC 3261 section 25.1.
fn is_token(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b))
}

/// Why a route may not set this header.
fn ours(name: &str) -> Option<&'static str> {
    const OURS: [&str; 29] = [
        "via",
        "v",
        "from",
        "f",
        "to",
        "t",
        "contact",
        "m",
        "call-id",
        "i",
        "cseq",
        "max-forwards",
        "route",
        "record-route",
        "content-length",
        "l",
        "content-type",
        "c",
        "content-encoding",
        "e",
        "require",
        "supported",
        "k",
        "session-expires",
        "x",
        "min-se",
        "authorization",
        "proxy-authorization",
        "allow",
    ];
    let lower = name.to_ascii_lowercase();
    OURS.contains(&lower.as_str()).then_some("is a header that the engine itself writes")
}

const LONGEST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::tests::check;

    #[test]
    fn texts_and_patterns_of_headers() {
        check::<HeaderText>(
            &[("", ""), ("a{caller}b}{trunk}{callee}{account}", "a{caller}b}{trunk}{callee}{account}")],
            &[
                ("{", None),
                ("{{", None),
                ("{calle}", Some("{callee}")),
                ("x{nobody}", None),
                ("a\r\nb", None),
            ],
        );
        check::<HeaderPattern>(
            &[("gold", "gold"), ("=a b", "a b"), ("~^a b$", "~^a b$"), ("=NX", "=NX")],
            &[("", None), ("~(", None), ("a\nb", None)],
        );
    }
}
