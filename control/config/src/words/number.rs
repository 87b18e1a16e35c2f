//! Numbers: patterns, templates, prefixes; and the codes of answers.

use crate::value::{Bad, Word};
use core::ops::RangeInclusive;
use routing::number::{Element, Pattern, Template};

/// Some final answers: one code or a range of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeRange(pub RangeInclusive<u16>);

impl Word for CodeRange {
    const FORM: &'static str = "a code or a range from 300 to 699, such as \"408\" or \"500-599\"";
    const NUMBER_TOO: bool = true;

    fn parse(text: &str) -> Result<Self, Bad> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (Code::parse(first), Code::parse(last)) {
            (Ok(Code(first)), Ok(Code(last))) if first > last => {
                Err(Bad::meant("runs backwards", format!("{last}-{first}")))
            }
            (Ok(Code(first)), Ok(Code(last))) => Ok(CodeRange(first..=last)),
            _ => {
                let class = text
                    .strip_suffix("xx")
                    .and_then(|c| c.parse::<u16>().ok())
                    .filter(|c| (3..=6).contains(c));
                let nearest = class.map(|c| format!("{c}00-{c}99"));
                Err(Bad { why: "is no code of a final answer that is no success".to_owned(), nearest })
            }
        }
    }

    fn word(&self) -> String {
        match (self.0.start(), self.0.end()) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        }
    }
}

/// One final answer that is no success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code(pub u16);

impl Word for Code {
    const FORM: &'static str = "a code from 300 to 699";
    const NUMBER_TOO: bool = true;

    fn parse(text: &str) -> Result<Self, Bad> {
        match text.parse() {
            Ok(code @ 300..=699) if text.len() == 3 => Ok(Code(code)),
            _ => Err(Bad::new("is no code of a final answer that is no success")),
        }
    }

    fn word(&self) -> String {
        self.0.to_string()
    }
}

/// What a number has to look like.
#[derive(Clone, Debug)]
pub struct NumberPattern(pub Pattern);

impl PartialEq for NumberPattern {
    fn eq(&self, other: &Self) -> bool {
        same_pattern(&self.0, &other.0)
    }
}

/// Two patterns that are written alike.
pub(crate) fn same_pattern(a: &Pattern, b: &Pattern) -> bool {
    match (a, b) {
        (Pattern::Exact(a), Pattern::Exact(b)) => a == b,
        (Pattern::Digits { elements: a, open }, Pattern::Digits { elements: b, open: other }) => {
            open == other && a == b
        }
        (Pattern::Regex(a), Pattern::Regex(b)) => a.as_str() == b.as_str(),
        (Pattern::Exact(_) | Pattern::Digits { .. } | Pattern::Regex(_), _) => false,
    }
}

/// As it is written, or shorter.
pub(crate) fn pattern_text(pattern: &Pattern) -> String {
    match pattern {
        Pattern::Exact(exact) => {
            let text = String::from_utf8_lossy(exact);
            let plain =
                !text.is_empty() && !text.starts_with(['~', '=']) && !text.contains(['X', 'Z', 'N', '.']);
            if plain { text.into_owned() } else { format!("={text}") }
        }
        Pattern::Digits { elements, open } => {
            let byte = |element: &Element| match element {
                Element::Literal(byte) => *byte,
                Element::X => b'X',
                Element::Z => b'Z',
                Element::N => b'N',
            };
            let end = open.then_some(b'.');
            let bytes: Vec<u8> = elements.iter().map(byte).chain(end).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        }
        Pattern::Regex(regex) => format!("~{regex}"),
    }
}

impl Word for NumberPattern {
    const FORM: &'static str = "a number; a pattern with X (0-9), Z (1-9), N (2-9) and a final `.` (more follows); \"~REGEX\"; or \"=TEXT\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        if text.len() > 1024 {
            return Err(Bad::new("is longer than 1024 bytes"));
        }
        let space = |c: char| c.is_whitespace() || c.is_control();
        let plain = text.bytes().all(|b| b.is_ascii_graphic());
        if !plain && !text.starts_with('~') && text.chars().any(space) {
            let compact: String = text.chars().filter(|c| !space(*c)).collect();
            return Err(Bad::meant("holds a space, and numbers do not", compact));
        }
        match Pattern::parse(text) {
            Ok(pattern) => Ok(NumberPattern(pattern)),
            Err(bad) => Err(Bad::new(format!("is no pattern: {}", bad.0))),
        }
    }

    fn word(&self) -> String {
        pattern_text(&self.0)
    }
}

/// What a number becomes, as written and compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberTemplate {
    /// As written.
    pub text: String,
    /// Ready to apply.
    pub template: Template,
}

impl NumberTemplate {
    /// The highest group that it names, if it names one.
    pub fn highest_group(&self) -> Option<usize> {
        let plain = self.text.replace("{{", "");
        let groups = plain.split('{').skip(1).filter_map(|part| part.split('}').next()?.parse().ok());
        groups.max()
    }
}

impl Word for NumberTemplate {
    const FORM: &'static str = "a text with {2-} (from the third character on), {0-3} (the first three), {1} (group of a regex), {{ (a brace)";

    fn parse(text: &str) -> Result<Self, Bad> {
        if text.is_empty() {
            return Err(Bad::new("is empty, and a number cannot become nothing"));
        }
        match Template::parse(text) {
            Ok(template) => Ok(NumberTemplate { text: text.to_owned(), template }),
            Err(bad) => Err(Bad::new(format!("is no template: {}", bad.0))),
        }
    }

    fn word(&self) -> String {
        self.text.clone()
    }
}

/// Letters, digits and signs of a user part that need no escape (RFC 3261 section 25.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserPart(pub String);

impl Word for UserPart {
    const FORM: &'static str = "1 to 64 letters, digits and signs such as \"9011#\" or \"+15035550100\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        let fine = |b: u8| b.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/#".contains(&b);
        match text.len() {
            1..=64 if text.bytes().all(fine) => Ok(UserPart(text.to_owned())),
            1..=64 => Err(Bad::new("holds a character that cannot stand before the @ of a URI")),
            _ => Err(Bad::new("is empty or too long")),
        }
    }

    fn word(&self) -> String {
        self.0.clone()
    }
}

/// A number, or the first digits of some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digits(pub String);

impl Word for Digits {
    const FORM: &'static str = "digits, mostly with `+` in front, such as \"+15035550100\" or \"+44\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        let plain = |t: &str| {
            let digits = t.strip_prefix('+').unwrap_or(t);
            (1..=32).contains(&digits.len())
                && digits.bytes().all(|b| b.is_ascii_digit() || b == b'*' || b == b'#')
        };
        if plain(text) {
            return Ok(Digits(text.to_owned()));
        }
        let compact: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '(' | ')' | '.')).collect();
        let nearest = Some(compact).filter(|c| plain(c));
        Err(Bad { why: "is no number".to_owned(), nearest })
    }

    fn word(&self) -> String {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::tests::check;

    #[test]
    fn numbers_and_codes() {
        check::<CodeRange>(
            &[("408", "408"), ("500-599", "500-599")],
            &[
                ("5xx", Some("500-599")),
                ("599-500", Some("500-599")),
                ("200", None),
                ("700", None),
                ("+408", None),
            ],
        );
        check::<NumberPattern>(
            &[
                ("+1NXXNXXXXXX", "+1NXXNXXXXXX"),
                ("~^00(\\d+)$", "~^00(\\d+)$"),
                ("00ZX.", "00ZX."),
                ("=alice", "alice"),
                ("=Nina", "=Nina"),
                ("=a.b", "=a.b"),
                ("=~x", "=~x"),
                ("==x", "==x"),
                ("=", "="),
                ("é", "é"),
                ("éX.", "éX."),
            ],
            &[("", None), ("1.2", None), ("~(", None), ("+1 503", Some("+1503"))],
        );
        check::<UserPart>(&[("9011#", "9011#")], &[("a@b", None), ("", None), ("a b", None)]);
        check::<Digits>(
            &[("+15035550100", "+15035550100"), ("*67", "*67")],
            &[("+1 (503) 555-0100", Some("+15035550100")), ("abc", None), ("+", None)],
        );
        assert_eq!(NumberTemplate::parse("+{{{2}{1}{0-3}").unwrap().highest_group(), Some(2));
        assert_eq!(NumberTemplate::parse("+{2-}").unwrap().highest_group(), None);
        assert_eq!(crate::value::text_of(&NumberTemplate::parse("+{2-}").unwrap()), "\"+{2-}\"");
    }
}
