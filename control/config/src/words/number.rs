//! Numbers: patterns, templates, prefixes; and the codes of answers.

use crate::value::{Bad, Word};
use b2bua::number::{Pattern, Template};
use core::ops::RangeInclusive;

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

/// What a called number has to look like, as written and compiled.
#[derive(Clone, Debug)]
pub struct NumberPattern {
    /// As written.
    pub text: String,
    /// Ready to match.
    pub pattern: Pattern,
}

impl PartialEq for NumberPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Word for NumberPattern {
    const FORM: &'static str = "a number; a pattern with X (0-9), Z (1-9), N (2-9) and a final `.` (more follows); \"~REGEX\"; or \"=TEXT\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        if text.len() > 1024 {
            return Err(Bad::new("is longer than 1024 bytes"));
        }
        if !text.starts_with('~') && text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            let compact: String = text.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
            return Err(Bad::meant("holds a space, and numbers do not", compact));
        }
        match Pattern::parse(text) {
            Ok(pattern) => Ok(NumberPattern { text: text.to_owned(), pattern }),
            Err(bad) => Err(Bad::new(format!("is no pattern: {}", bad.0))),
        }
    }

    fn word(&self) -> String {
        self.text.clone()
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
            &[("+1NXXNXXXXXX", "+1NXXNXXXXXX"), ("~^00(\\d+)$", "~^00(\\d+)$")],
            &[("", None), ("1.2", None), ("~(", None), ("+1 503", Some("+1503"))],
        );
        check::<Digits>(
            &[("+15035550100", "+15035550100"), ("*67", "*67")],
            &[("+1 (503) 555-0100", Some("+15035550100")), ("abc", None), ("+", None)],
        );
        assert_eq!(NumberTemplate::parse("+{{{2}{1}{0-3}").unwrap().highest_group(), Some(2));
        assert_eq!(NumberTemplate::parse("+{2-}").unwrap().highest_group(), None);
        assert_eq!(crate::value::text_of(&NumberTemplate::parse("+{2-}").unwrap()), "\"+{2-}\"");
    }
}
