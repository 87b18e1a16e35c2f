//! Octets of header values: blanks, tokens, quotes, lists. In a framed header section every CR and LF inside a
//! value belongs to a fold, so both count as blanks here (RFC 3261 section 25.1, LWS).
use std::borrow::Cow;

/// Sets of octets.
#[derive(Clone, Copy)]
pub(crate) struct Class(u8);

impl Class {
    /// Octets of a `token` (RFC 3261 section 25.1).
    pub(crate) const TOKEN: Self = Self(1);
    /// Space, tab and the line end inside a fold.
    pub(crate) const BLANK: Self = Self(2);
    /// Octets that a host name or address may hold; `_` because real hosts have it.
    pub(crate) const HOST: Self = Self(4);
    /// Octets that a URI may hold: all but blanks, controls, `<>"`.
    pub(crate) const URI: Self = Self(8);
    /// Octets of a display name or a URI without brackets: blanks too, but nothing that would divide the value.
    pub(crate) const DISPLAY: Self = Self(16);
    /// Octets of a parameter value without quotes.
    pub(crate) const VALUE: Self = Self(32);
    /// Octets up to the parameters of a Via.
    pub(crate) const SENT_BY: Self = Self(64);

    fn has(self, byte: u8) -> bool {
        CLASS[usize::from(byte)] & self.0 != 0
    }
}

static CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        let byte = octet as u8;
        let alphanumeric = byte.is_ascii_alphanumeric();
        let blank = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        let visible = byte > b' ' && byte != 0x7f;
        let divides = matches!(byte, b',' | b';');
        let bracket = matches!(byte, b'<' | b'>' | b'"');
        if alphanumeric
            || matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~')
        {
            class[octet] |= Class::TOKEN.0;
        }
        if blank {
            class[octet] |= Class::BLANK.0;
        }
        if alphanumeric || matches!(byte, b'-' | b'.' | b'_') {
            class[octet] |= Class::HOST.0;
        }
        if visible && !bracket {
            class[octet] |= Class::URI.0;
        }
        if (visible || blank) && !bracket && !divides {
            class[octet] |= Class::DISPLAY.0;
        }
        if visible && !divides && !matches!(byte, b'<' | b'"') {
            class[octet] |= Class::VALUE.0;
        }
        if (visible || blank) && !divides && !matches!(byte, b'<' | b'>' | b'\\') {
            class[octet] |= Class::SENT_BY.0;
        }
        octet += 1;
    }
    class
};

/// Offset of the first octet from `at` on that is not of this class.
pub(crate) fn skip(bytes: &[u8], at: usize, class: Class) -> usize {
    let mut end = at;
    while end < bytes.len() && class.has(bytes[end]) {
        end += 1;
    }
    end
}

pub(crate) fn is_blank(byte: u8) -> bool {
    Class::BLANK.has(byte)
}

pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && skip(bytes, 0, Class::TOKEN) == bytes.len()
}

pub(crate) fn is_token_byte(byte: u8) -> bool {
    Class::TOKEN.has(byte)
}

pub(crate) fn is_host_text(bytes: &[u8]) -> bool {
    !bytes.is_empty() && skip(bytes, 0, Class::HOST) == bytes.len()
}

pub(crate) fn is_uri_text(bytes: &[u8]) -> bool {
    !bytes.is_empty() && skip(bytes, 0, Class::URI) == bytes.len()
}

/// Without blanks (and folds) at both ends.
#[must_use]
pub fn trim(bytes: &[u8]) -> &[u8] {
    trim_end(trim_start(bytes))
}

pub(crate) fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_blank(*first)
    {
        bytes = rest;
    }
    bytes
}

pub(crate) fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., last] = bytes
        && is_blank(*last)
    {
        bytes = rest;
    }
    bytes
}

/// The value on one line: each fold (line end and the blanks around it) becomes one space
/// (RFC 3261 section 7.3.1). Borrowed where nothing is folded.
#[must_use]
pub fn unfold(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'\r', b'\n', value).is_none() {
        return Cow::Borrowed(value);
    }
    let mut line = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some(end) = memchr::memchr2(b'\r', b'\n', rest) {
        line.extend_from_slice(trim_end(&rest[..end]));
        rest = trim_start(&rest[end..]);
        if !line.is_empty() && !rest.is_empty() {
            line.push(b' ');
        }
    }
    line.extend_from_slice(rest);
    Cow::Owned(line)
}

/// The text of a quoted string: without its quotes, each quoted pair resolved. Other text is given back as it is.
#[must_use]
pub fn unquote(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(inner) = text.strip_prefix(b"\"") else { return Cow::Borrowed(text) };
    let inner = inner.strip_suffix(b"\"").unwrap_or(inner);
    if memchr::memchr(b'\\', inner).is_none() {
        return Cow::Borrowed(inner);
    }
    let mut plain = Vec::with_capacity(inner.len());
    let mut octets = inner.iter();
    while let Some(&octet) = octets.next() {
        plain.push(if octet == b'\\' { octets.next().copied().unwrap_or(octet) } else { octet });
    }
    Cow::Owned(plain)
}

/// Index after the quoted string that `bytes` begins with; `None` if it does not end.
pub(crate) fn quoted_len(bytes: &[u8]) -> Option<usize> {
    debug_assert_eq!(bytes.first(), Some(&b'"'), "a quoted string begins with a quote");
    let mut at = 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Index of the first `wanted` outside quotes and `<>`. What is opened and not closed lasts to the end.
pub(crate) fn find_outside(bytes: &[u8], wanted: u8) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = bytes.get(at..)?;
        at += memchr::memchr3(wanted, b'"', b'<', rest)?;
        match bytes[at] {
            byte if byte == wanted => return Some(at),
            b'"' => at += quoted_len(&bytes[at..])?,
            _ => at += memchr::memchr(b'>', &bytes[at..])? + 1,
        }
    }
}

/// The members of a list, trimmed, empty ones included; separators inside quotes and `<>` do not count.
#[derive(Clone, Debug)]
pub struct Split<'a> {
    rest: Option<&'a [u8]>,
    separator: u8,
}

/// Splits `value` at each `separator`, usually a comma.
#[must_use]
pub fn split(value: &[u8], separator: u8) -> Split<'_> {
    Split { rest: Some(value), separator }
}

impl<'a> Iterator for Split<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        if let Some(end) = find_outside(rest, self.separator) {
            self.rest = Some(&rest[end + 1..]);
            Some(trim(&rest[..end]))
        } else {
            self.rest = None;
            Some(trim(rest))
        }
    }
}

/// A number in decimal digits, leading zeros allowed; `None` beyond `u64` or with any other octet.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, &digit| {
        if !digit.is_ascii_digit() {
            return None;
        }
        sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}

/// The parameters after a value: `;name=value;flag`, blanks allowed around each part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params<'a>(pub(crate) &'a [u8]);

impl<'a> Params<'a> {
    /// The text as it stands, from the first `;`.
    #[must_use]
    pub fn raw(self) -> &'a [u8] {
        self.0
    }

    /// Name and value of each parameter in order; a flag has no value; quotes are kept.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
        split(self.0, b';').filter(|param| !param.is_empty()).map(|param| match memchr::memchr(b'=', param) {
            Some(equals) => (trim_end(&param[..equals]), Some(trim_start(&param[equals + 1..]))),
            None => (param, None),
        })
    }

    /// The parameter of this name in any case: `Some(None)` is a flag.
    #[must_use]
    pub fn find(self, name: &[u8]) -> Option<Option<&'a [u8]>> {
        self.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The value of the parameter of this name in any case; `None` also for a flag.
    #[must_use]
    pub fn value(self, name: &[u8]) -> Option<&'a [u8]> {
        self.find(name).flatten()
    }

    /// Whether a parameter of this name is there, with or without value.
    #[must_use]
    pub fn has(self, name: &[u8]) -> bool {
        self.find(name).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_split_outside_quotes_and_angle_brackets() {
        let members: Vec<_> = split(b" \"a, \\\" b\" <sip:a,b@c>;x=1 , d ,, e\r\n ", b',')
            .map(String::from_utf8_lossy)
            .collect();
        assert_eq!(members, ["\"a, \\\" b\" <sip:a,b@c>;x=1", "d", "", "e"]);
        assert_eq!(split(b"\"open, never closed", b',').count(), 1);
        assert_eq!(split(b"<open, never closed", b',').count(), 1);
    }

    #[test]
    fn a_fold_becomes_one_space() {
        assert_eq!(unfold(b"one \r\n\t two\n three").as_ref(), b"one two three");
        assert_eq!(unfold(b"\r\n one").as_ref(), b"one");
        assert!(matches!(unfold(b"plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn quoted_pairs_are_resolved() {
        assert_eq!(unquote(b"\"J \\\\\\\"D\"").as_ref(), b"J \\\"D");
        assert_eq!(unquote(b"plain").as_ref(), b"plain");
        assert_eq!(unquote(b"\"open\\").as_ref(), b"open\\");
        assert_eq!(quoted_len(b"\"a\\\"b\" c"), Some(6));
        assert_eq!(quoted_len(b"\"a\\\""), None);
        assert_eq!(quoted_len(b"\"a\\"), None);
    }

    #[test]
    fn parameters_are_found_in_any_case_with_blanks_around_them() {
        let params = Params(b"; Branch =\r\n z9 ;rport; x=\"a;b\" ;");
        assert_eq!(params.value(b"branch"), Some(&b"z9"[..]));
        assert_eq!(params.find(b"RPORT"), Some(None));
        assert_eq!(params.value(b"x"), Some(&b"\"a;b\""[..]));
        assert_eq!(params.iter().count(), 3);
        assert!(!params.has(b"y"));
    }

    #[test]
    fn numbers_do_not_wrap() {
        assert_eq!(number(b"0068"), Some(68));
        assert_eq!(number(b"36893488147419103232"), None);
        assert_eq!(number(b"-1"), None);
        assert_eq!(number(b""), None);
    }
}
