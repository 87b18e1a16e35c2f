//! `name-addr` and `addr-spec` of From, To, Contact, Route and their like (RFC 3261 section 20.10 and 25.1).
use super::text::{self, Params, Split};
use super::uri::{Uri, is_scheme};
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

    /// The `tag` parameter, if it is not empty.
    #[must_use]
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.params.value(b"tag").filter(|tag| !tag.is_empty())
    }

    /// The value of a header parameter; `None` also for a flag.
    #[must_use]
    pub fn param(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.params.value(name)
    }

    /// Whether this is a name-addr or addr-spec of RFC 3261 section 25.1 for From and To, with the liberties that
    /// real devices need: any URI scheme (RFC 4475 section 3.3.4), display names out of more octets than tokens
    /// have (but no comma), a last `;` with nothing behind it, and text between `>` and `;`, which is ignored.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        self.has_shape() && has_scheme(self.uri) && are_params(self.params, Quotes::Closed)
    }

    /// As [`NameAddr::is_well_formed`], for a Contact: what is no URI passes and [`NameAddr::parsed`] says so; a
    /// quoted parameter without its last quote reaches to the end.
    pub(crate) fn is_contact(&self) -> bool {
        self.has_shape() && are_params(self.params, Quotes::MayBeOpen)
    }

    /// As [`NameAddr::is_well_formed`], for Route and its like: a URI that can be routed by.
    pub(crate) fn is_route(&self) -> bool {
        self.is_well_formed() && self.parsed().is_some()
    }

    fn has_shape(&self) -> bool {
        let uri_ok = if self.bracketed {
            let closed = self.raw.len() > self.display.len() + self.uri.len() + 1;
            closed && is_display(self.display)
        } else {
            // `?` and `,` would be taken for the header field's own, hence <> is a must (RFC 3261 section 20).
            let sip = self.parsed().is_none_or(|uri| uri.is_sip());
            memchr::memchr(b',', self.uri).is_none() && !(sip && memchr::memchr(b'?', self.uri).is_some())
        };
        uri_ok && text::is_uri_text(self.uri)
    }
}

fn has_scheme(uri: &[u8]) -> bool {
    memchr::memchr(b':', uri).is_some_and(|colon| is_scheme(&uri[..colon]))
}

/// Quoted text that begins the value, or anything without what would divide the value otherwise.
fn is_display(display: &[u8]) -> bool {
    if display.first() == Some(&b'"') {
        return text::quoted_len(display) == Some(display.len());
    }
    !display.iter().any(|&byte| {
        matches!(byte, b',' | b';' | b'<' | b'>' | 0x7f) || (byte < b' ' && !text::is_blank(byte))
    })
}

/// What becomes of a quoted parameter value without its last quote.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quotes {
    /// It is a fault: parameters that are added behind it would be swallowed.
    Closed,
    /// It reaches to the end.
    MayBeOpen,
}

/// Whether `params` is `*( ";" token [ "=" value ] )` with no empty member but perhaps the last.
pub(crate) fn are_params(params: Params<'_>, quotes: Quotes) -> bool {
    let mut rest = params.raw();
    while let Some(body) = rest.strip_prefix(b";") {
        let end = text::find_outside(body, b';').unwrap_or(body.len());
        let param = text::trim(&body[..end]);
        rest = &body[end..];
        let is_last_and_empty = param.is_empty() && rest.is_empty();
        if !is_last_and_empty && !is_param(param, quotes) {
            return false;
        }
    }
    true
}

fn is_param(param: &[u8], quotes: Quotes) -> bool {
    let Some(equals) = memchr::memchr(b'=', param) else { return text::is_token(param) };
    let value = text::trim_start(&param[equals + 1..]);
    let value_ok = match value.first() {
        Some(b'"') => match text::quoted_len(value) {
            Some(len) => len == value.len(),
            None => quotes == Quotes::MayBeOpen,
        },
        // An empty value (`;branch=`) is read as a flag; blanks and quotes inside a value are not repaired.
        _ => !value.iter().any(|&byte| text::is_blank(byte) || matches!(byte, b'"' | b',')),
    };
    value_ok && text::is_token(text::trim_end(&param[..equals]))
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
            "sip:a@b;;tag=1",
            "<sip:a@b>;=1",
            "<sip:a@b>;x=\"1",
            "something",
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
            "<sip:a@b> junk;tag=1",
            "<sip:a@b>;tag=1;",
            "http://example.com/?a=b",
        ] {
            assert!(read(good).is_well_formed(), "{good}");
        }
    }

    #[test]
    fn a_contact_has_more_liberties() {
        for good in ["something", "<sip:a@$HOST:$PORT>", "<sip:a@b>;+sip.instance=\"<urn:uuid:1>"] {
            assert!(read(good).is_contact(), "{good}");
            assert!(!read(good).is_route(), "{good}");
        }
        assert!(!read("\"Joe\" <sip:joe@example.org>;;;;").is_contact());
    }

    #[test]
    fn a_list_skips_empty_members() {
        let found: Vec<_> = addresses(b"<sip:a>, , \"x,y\" <sip:b>").map(|address| address.uri).collect();
        assert_eq!(found, [&b"sip:a"[..], b"sip:b"]);
    }
}
