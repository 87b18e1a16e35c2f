//! Numbers: patterns that match them and templates that rewrite them. Patterns are compiled once, when a configuration
//! is applied; matching allocates nothing but what a regex needs and takes linear time on any input.

use core::fmt;

/// What a number has to look like. Written as
/// `+15551234` (exact), `+1NXXNXXXXXX` (X = 0-9, Z = 1-9, N = 2-9), `00ZX.` (a final `.` stands for one or more
/// further characters, so this is a prefix), `~REGEX` (anywhere in the number unless anchored), or `=TEXT` (exact, for
/// names that contain X, Z, N or `.`).
#[derive(Clone)]
pub enum Pattern {
    /// The whole number.
    Exact(Vec<u8>),
    /// Character by character; `open` when more must follow.
    Digits {
        /// Literal characters and classes.
        elements: Vec<Element>,
        /// A final `.`.
        open: bool,
    },
    /// Linear-time regular expression.
    Regex(regex::bytes::Regex),
}

/// One place of a digit pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// This character.
    Literal(u8),
    /// 0-9.
    X,
    /// 1-9.
    Z,
    /// 2-9.
    N,
}

impl Element {
    fn matches(self, byte: u8) -> bool {
        match self {
            Element::Literal(wanted) => wanted == byte,
            Element::X => byte.is_ascii_digit(),
            Element::Z => (b'1'..=b'9').contains(&byte),
            Element::N => (b'2'..=b'9').contains(&byte),
        }
    }
}

/// The text is no pattern; says why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadPattern(pub String);

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// An empty pattern, a `.` that is not last, a regex that does not compile or would be larger than 64 KiB.
    pub fn parse(text: &str) -> Result<Pattern, BadPattern> {
        if let Some(expression) = text.strip_prefix('~') {
            return regex::bytes::RegexBuilder::new(expression)
                .unicode(false)
                .size_limit(1 << 16)
                .build()
                .map(Pattern::Regex)
                .map_err(|e| {
                    BadPattern(e.to_string().lines().last().unwrap_or("bad regex").trim().to_owned())
                });
        }
        if let Some(exact) = text.strip_prefix('=') {
            return Ok(Pattern::Exact(exact.as_bytes().to_vec()));
        }
        let (body, open) = match text.strip_suffix('.') {
            Some(body) => (body, true),
            None => (text, false),
        };
        if text.is_empty() {
            return Err(BadPattern("a pattern is not empty; leave `to` away to match any number".into()));
        }
        if body.contains('.') {
            return Err(BadPattern("`.` stands only at the end of a pattern".into()));
        }
        let elements: Vec<Element> = body
            .bytes()
            .map(|byte| match byte {
                b'X' => Element::X,
                b'Z' => Element::Z,
                b'N' => Element::N,
                literal => Element::Literal(literal),
            })
            .collect();
        if !open && elements.iter().all(|e| matches!(e, Element::Literal(_))) {
            return Ok(Pattern::Exact(body.as_bytes().to_vec()));
        }
        Ok(Pattern::Digits { elements, open })
    }

    /// Whether a number has this form.
    pub fn matches(&self, number: &[u8]) -> bool {
        match self {
            Pattern::Exact(exact) => exact == number,
            Pattern::Digits { elements, open } => {
                let long_enough =
                    if *open { number.len() > elements.len() } else { number.len() == elements.len() };
                long_enough && elements.iter().zip(number).all(|(element, byte)| element.matches(*byte))
            }
            Pattern::Regex(regex) => regex.is_match(number),
        }
    }

    /// How many places are fixed: the more, the more specific. A number without classes and without end is more
    /// specific than all that is as long; a regex counts as none.
    pub fn specificity(&self) -> usize {
        match self {
            Pattern::Exact(exact) => exact.len() + 1,
            Pattern::Digits { elements, open } => {
                let exact = !open && elements.iter().all(|e| matches!(e, Element::Literal(_)));
                elements.len() + usize::from(exact)
            }
            Pattern::Regex(_) => 0,
        }
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Exact(exact) => write!(f, "{}", String::from_utf8_lossy(exact)),
            Pattern::Digits { elements, open } => {
                for element in elements {
                    match element {
                        Element::Literal(byte) => write!(f, "{}", char::from(*byte))?,
                        class => write!(f, "{class:?}")?,
                    }
                }
                f.write_str(if *open { "." } else { "" })
            }
            Pattern::Regex(regex) => write!(f, "~{regex}"),
        }
    }
}

/// What a number becomes. `{2-}` is the matched number from its third character on, `{0-3}` its first three (end not
/// included), `{1}` a group of a regex, `{{` a brace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Slice { from: usize, to: Option<usize> },
    Group(usize),
}

impl Template {
    /// Compiles a template.
    ///
    /// # Errors
    /// An open brace, or something in braces that is neither a slice nor a group.
    pub fn parse(text: &str) -> Result<Template, BadPattern> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            if at > 0 {
                parts.push(Part::Text(rest.as_bytes()[..at].to_vec()));
            }
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('{') {
                parts.push(Part::Text(b"{".to_vec()));
                rest = after;
                continue;
            }
            let end = rest.find('}').ok_or_else(|| BadPattern("`{` without `}`".into()))?;
            let inside = &rest[..end];
            rest = &rest[end + 1..];
            let number = |s: &str| {
                s.parse::<usize>()
                    .map_err(|_| BadPattern(format!("`{{{inside}}}` is neither `{{2-}}` nor `{{1}}`")))
            };
            parts.push(match inside.split_once('-') {
                Some((from, "")) => Part::Slice { from: number(from)?, to: None },
                Some((from, to)) => Part::Slice { from: number(from)?, to: Some(number(to)?) },
                None => Part::Group(number(inside)?),
            });
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.as_bytes().to_vec()));
        }
        Ok(Template { parts })
    }

    /// The new number; what a slice or group does not find is empty.
    pub fn apply(&self, pattern: &Pattern, number: &[u8]) -> Vec<u8> {
        self.apply_within(pattern, number, usize::MAX).expect("no number is that long")
    }

    /// The new number, unless it is longer than `max`.
    pub fn apply_within(&self, pattern: &Pattern, number: &[u8], max: usize) -> Option<Vec<u8>> {
        let groups = match pattern {
            Pattern::Regex(regex) => regex.captures(number),
            Pattern::Exact(_) | Pattern::Digits { .. } => None,
        };
        let mut out = Vec::with_capacity(number.len() + 4);
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Slice { from, to } => {
                    let end = to.unwrap_or(number.len()).min(number.len());
                    out.extend_from_slice(number.get(*from..end).unwrap_or_default());
                }
                Part::Group(group) => {
                    out.extend_from_slice(
                        groups.as_ref().and_then(|g| g.get(*group)).map_or(&[], |m| m.as_bytes()),
                    );
                }
            }
            if out.len() > max {
                return None;
            }
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, yes: &[&str], no: &[&str]) {
        let compiled = Pattern::parse(pattern).unwrap();
        for number in yes {
            assert!(compiled.matches(number.as_bytes()), "{pattern} should match {number}");
        }
        for number in no {
            assert!(!compiled.matches(number.as_bytes()), "{pattern} should not match {number}");
        }
    }

    #[test]
    fn patterns_match_as_written() {
        check("*100", &["*100"], &["*1000", "X100", "100"]);
        check(
            "+1NXXNXXXXXX",
            &["+12125551234"],
            &["+11125551234", "+1212555123", "+121255512345", "12125551234"],
        );
        check("00ZX.", &["00441", "0044123456"], &["0044", "00044123", "004"]);
        check("0.", &["01", "0123"], &["0", "1"]);
        check(
            "~^(\\+44|0044)7\\d{9}$",
            &["+447123456789", "00447123456789"],
            &["+4471234567890", "447123456789"],
        );
        check("=Nina.X", &["Nina.X"], &["2ina.X"]);
    }

    #[test]
    fn bad_patterns_say_why() {
        for (pattern, why) in [("", "not empty"), ("1.2", "only at the end"), ("~(", "unclosed")] {
            let error = Pattern::parse(pattern).unwrap_err().0;
            assert!(error.contains(why), "{pattern}: {error}");
        }
    }

    #[test]
    fn templates_cut_and_join() {
        let apply = |pattern: &str, template: &str, number: &str| {
            let pattern = Pattern::parse(pattern).unwrap();
            assert!(pattern.matches(number.as_bytes()));
            String::from_utf8(Template::parse(template).unwrap().apply(&pattern, number.as_bytes())).unwrap()
        };
        assert_eq!(apply("00ZX.", "+{2-}", "00441234"), "+441234");
        assert_eq!(apply("~^0(\\d+)$", "+49{1}", "0891234"), "+49891234");
        assert_eq!(apply("XX.", "{0-2}-{9-}-{{", "12345"), "12--{");
        assert!(Template::parse("{x}").is_err() && Template::parse("{1").is_err());
    }
}
