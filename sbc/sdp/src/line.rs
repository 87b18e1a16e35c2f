//! Lines and words: how an SDP is cut. Knows nothing of what they mean. RFC 8866 section 9.

/// One line without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The letter before `=`; 0 for a line that is none of SDP's.
    pub letter: u8,
    /// What follows `=`; the whole line if it is none of SDP's.
    pub value: &'a [u8],
    /// The whole line.
    pub text: &'a [u8],
    pub(crate) start: usize,
}

impl<'a> Line<'a> {
    /// Name and value of an `a=` line, the value trimmed and empty for a bare one.
    pub fn attribute(&self) -> Option<(&'a [u8], &'a [u8])> {
        if self.letter != b'a' {
            return None;
        }
        let (name, value) = match memchr::memchr(b':', self.value) {
            Some(colon) => (&self.value[..colon], &self.value[colon + 1..]),
            None => (self.value, &self.value[..0]),
        };
        Some((trim(name), trim(value)))
    }
}

/// Lines of a text, empty ones left out.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    /// Takes CRLF, LF and CR as ends, and a last line without one.
    pub fn new(text: &'a [u8]) -> Self {
        Lines { text, at: 0 }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        loop {
            let start = self.at;
            let rest = self.text.get(start..)?;
            if rest.is_empty() {
                return None;
            }
            let len = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            self.at = start + len + 1;
            let text = &rest[..len];
            if text.is_empty() {
                continue;
            }
            let (letter, value) = match text {
                [letter @ b'a'..=b'z', b'=', value @ ..] => (*letter, value),
                _ => (0, text),
            };
            return Some(Line { letter, value, text, start });
        }
    }
}

/// The value of the first attribute of that name.
pub(crate) fn find_attribute<'a>(text: &'a [u8], name: &str) -> Option<&'a [u8]> {
    Lines::new(text)
        .filter_map(|line| line.attribute())
        .find_map(|(found, value)| (found == name.as_bytes()).then_some(value))
}

/// Digits only, up to nine of them.
pub fn parse_number(text: &[u8]) -> Option<u32> {
    if text.is_empty() || text.len() > 9 {
        return None;
    }
    text.iter().try_fold(0, |sum, b| b.is_ascii_digit().then(|| sum * 10 + u32::from(b - b'0')))
}

/// The first word and the rest.
pub fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let text = trim(text);
    let len = text.iter().position(|b| is_space(*b)).unwrap_or(text.len());
    text.split_at(len)
}

/// The words between spaces and tabs.
pub fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|b| is_space(*b)).filter(|word| !word.is_empty())
}

/// Without spaces and tabs around it.
pub fn trim(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_space(*first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && is_space(*last)
    {
        text = rest;
    }
    text
}

fn is_space(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// What follows a first word, if that is the one.
pub(crate) fn strip_word<'a>(text: &'a [u8], first: &[u8]) -> Option<&'a [u8]> {
    let (found, rest) = word(text);
    (found == first).then_some(trim(rest))
}
