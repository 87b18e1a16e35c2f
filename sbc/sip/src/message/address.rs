//! `name-addr` and `addr-spec` of From, To, Contact, Route and their like (RFC 3261 section 20.10 and 25.1).
use super::grammar::{self, Address};
use super::text::{self, Params, Split};
use super::uri::Uri;
use std::borrow::Cow;

/// One address with what stands around it, read leniently: what cannot be read is empty.
/// [`NameAddr::is_well_formed`] says whether the grammar holds; `Message::parse` has asked it for From and To.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// The whole value as it stands, perhaps folded.
    pub raw: &'a [u8],
    /// Display name as it stands, with its quotes if it has them; empty if there is none.
    pub display: &'a [u8],
    /// The URI without `<>`.
    pub uri: &'a [u8],
    /// Header parameters (`tag`, `expires`, `q`), from the first `;` after the URI.
    pub params: Params<'a>,
    /// Whether the URI stands in `<>`.
    pub bracketed: bool,
}

impl<'a> NameAddr<'a> {
    /// Reads one value; it must not be a list.
    #[must_use]
    pub fn read(value: &'a [u8]) -> Self {
        let raw = text::trim(value);
        match Self::opening(raw) {
            Some(open) => {
                let inside = &raw[open + 1..];
                let close = memchr::memchr(b'>', inside).unwrap_or(inside.len());
                let after = inside.get(close + 1..).unwrap_or_default();
                let params = memchr::memchr(b';', after).unwrap_or(after.len());
                Self {
                    raw,
                    display: text::trim_end(&raw[..open]),
                    uri: &inside[..close],
                    params: Params(&after[params..]),
                    bracketed: true,
                }
            }
            None => {
                // Without <> every parameter belongs to the header field (RFC 3261 section 20.10).
                let end = memchr::memchr(b';', raw).unwrap_or(raw.len());
                Self {
                    raw,
                    display: b"",
                    uri: text::trim_end(&raw[..end]),
                    params: Params(&raw[end..]),
                    bracketed: false,
                }
            }
        }
    }

    /// Index of the `<` that opens the URI, if the value has the form with brackets.
    fn opening(raw: &[u8]) -> Option<usize> {
        let start = if raw.first() == Some(&b'"') { text::quoted_len(raw)? } else { 0 };
        let at = start + memchr::memchr2(b'<', b';', &raw[start..])?;
        (raw[at] == b'<').then_some(at)
    }

    /// The URI in parts; `None` where it is none.
    #[must_use]
    pub fn parsed(&self) -> Option<Uri<'a>> {
        Uri::parse(self.uri)
    }

    /// The display name as text: without quotes, each quoted pair resolved.
    #[must_use]
    pub fn display_text(&self) -> Cow<'a, [u8]> {
        text::unquote(self.display)
    }

    /// The first `tag` parameter that is not empty.
    #[must_use]
    pub fn tag(&self) -> Option<&'a [u8]> {
        let mut tags = self.params.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"tag"));
        tags.find_map(|(_, value)| value.filter(|tag| !tag.is_empty()))
    }

    /// The value of a header parameter; `None` also for a flag.
    #[must_use]
    pub fn param(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.params.value(name)
    }

    /// Whether this is one address of From or To after the grammar: what `Message::parse` asks of requests.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        grammar::is_address(self.raw, Address::Party)
    }
}

/// The addresses of a list field, in order.
#[derive(Clone, Debug)]
pub struct NameAddrs<'a>(pub(crate) Split<'a>);

impl<'a> Iterator for NameAddrs<'a> {
    type Item = NameAddr<'a>;

    fn next(&mut self) -> Option<NameAddr<'a>> {
        self.0.by_ref().find(|value| !value.is_empty()).map(NameAddr::read)
    }
}

/// The addresses in one value that may be a list.
#[must_use]
pub fn addresses(value: &[u8]) -> NameAddrs<'_> {
    NameAddrs(text::split(value, b','))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> NameAddr<'_> {
        NameAddr::read(value.as_bytes())
    }

    #[test]
    fn both_forms_are_read() {
        let named = read("\"J \\\"Q\\\" <x>\"  <sip:a@b;lr>\r\n ;tag = 1 ; x=\";\"");
        assert_eq!(named.display_text().as_ref(), b"J \"Q\" <x>");
        assert_eq!(named.uri, b"sip:a@b;lr");
        assert_eq!(named.tag(), Some(&b"1"[..]));
        assert_eq!(named.param(b"X"), Some(&b"\";\""[..]));
        assert!(named.is_well_formed());
        let bare = read("sip:a@b ;tag=2");
        assert_eq!((bare.uri, bare.tag()), (&b"sip:a@b"[..], Some(&b"2"[..])));
        assert!(bare.is_well_formed());
        assert_eq!(read("caller<sip:a@b>").display, b"caller");
    }

    #[test]
    fn the_grammar_is_checked() {
        for bad in [
            "",
            "\"Mr. J. User <sip:j.user@example.com>",
            "< sip:t.watson@example.org >",
            "Bell, Alexander <sip:a@b>",
            "sip:user@example.com?Route=%3Csip:sip.example.com%3E",
            "\"Joe\" <sip:joe@example.org>;;;;",
            "<sip:a@b",
            "x  <sip:a@b",
            "sip:a@b;;tag=1",
            "<sip:a@b>;=1",
            "<sip:a@b>;x=\"1",
            "something",
            "<sip:a@b> junk;tag=1",
            "<sip:a@b>;tag=<1",
            "<sip:a@b>, <sip:c@d>",
            "<>",
        ] {
            assert!(!read(bad).is_well_formed(), "{bad}");
        }
        for good in [
            "<isbn:2983792873>",
            "J\u{f6}rg (home) <sip:a@b>",
            "<sip:a@b>;flag;empty=;v6=[::1]",
            "<sip:a@b?x=y>",
            "a b c<sip:a@b>",
            "\\\"a\\\" <sip:a@b>",
            "<sip:a@b>;tag=1;",
            "http://example.com/?a=b",
        ] {
            assert!(read(good).is_well_formed(), "{good}");
        }
    }

    #[test]
    fn a_contact_has_more_liberties() {
        for good in [
            "something",
            "<sip:a@$HOST:$PORT>",
            "<sip:a@b>;+sip.instance=\"<urn:uuid:1>",
            "<sip:a@b>;+sip.instance=<urn:uuid:1>;q=1",
            "<sip:a@b> junk;q=1",
        ] {
            assert!(grammar::are_addresses(good.as_bytes(), Address::Contact), "{good}");
            assert!(!grammar::are_addresses(good.as_bytes(), Address::Route), "{good}");
        }
        for bad in
            ["\"Joe\" <sip:joe@example.org>;;;;", "", ",", ",<sip:a>", "<sip:a>,,<sip:b>", "x\"y <sip:a>"]
        {
            assert!(!grammar::are_addresses(bad.as_bytes(), Address::Contact), "{bad}");
        }
        assert!(grammar::are_addresses(b"<sip:a> , b<sip:b>;lr,, ", Address::Route));
    }

    #[test]
    fn a_list_skips_empty_members() {
        let found: Vec<_> = addresses(b"<sip:a>, , \"x,y\" <sip:b>").map(|address| address.uri).collect();
        assert_eq!(found, [&b"sip:a"[..], b"sip:b"]);
    }
}
