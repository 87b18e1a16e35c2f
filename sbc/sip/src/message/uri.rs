//! URIs as borrowed views: `sip:`, `sips:` and `tel:` are taken apart, other schemes stay opaque
//! (RFC 3261 section 19.1, RFC 3966). Nothing is unescaped unless a caller asks for it.
use super::text::{self, Params};
use std::borrow::Cow;

/// The scheme, compared without case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "a variant is the scheme of that name")]
pub enum Scheme<'a> {
    Sip,
    Sips,
    Tel,
    /// Any other scheme, as it was written.
    Other(&'a [u8]),
}

/// One URI without the `<>` around it. Escapes (`%40`) are kept in every part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    /// All of it.
    pub raw: &'a [u8],
    /// What stands before the first colon.
    pub scheme: Scheme<'a>,
    /// `sip:`: what stands before `:password@`; `tel:`: the number as written; other schemes: all after the colon.
    pub user: Option<&'a [u8]>,
    /// The password, which nobody should use.
    pub password: Option<&'a [u8]>,
    /// Host name or address; IPv6 without its brackets; empty unless `sip:` or `sips:`.
    pub host: &'a [u8],
    /// The port, if one is written.
    pub port: Option<u16>,
    /// URI parameters from the first `;`.
    pub params: Params<'a>,
    /// What stands after `?`, undivided.
    pub headers: Option<&'a [u8]>,
}

impl<'a> Uri<'a> {
    /// Takes one URI apart. `None` without a scheme, with a blank, a control octet or `<>"` in it, or where a `sip:`
    /// URI has no host, a host of other octets than names have, or a port beyond 65,535.
    #[must_use]
    pub fn parse(raw: &'a [u8]) -> Option<Self> {
        if text::is_uri_text(raw) { Self::split(raw) } else { None }
    }

    /// As [`Uri::parse`], for text that has none of the octets that no URI has.
    pub(super) fn split(raw: &'a [u8]) -> Option<Self> {
        let colon = scheme_len(raw)?;
        let (scheme, rest) = (&raw[..colon], &raw[colon + 1..]);
        if rest.is_empty() {
            return None;
        }
        let opaque = |scheme| Self {
            raw,
            scheme,
            user: Some(rest),
            password: None,
            host: b"",
            port: None,
            params: Params::default(),
            headers: None,
        };
        if scheme.eq_ignore_ascii_case(b"sip") {
            Self::parse_sip(raw, Scheme::Sip, rest)
        } else if scheme.eq_ignore_ascii_case(b"sips") {
            Self::parse_sip(raw, Scheme::Sips, rest)
        } else if scheme.eq_ignore_ascii_case(b"tel") {
            let end = memchr::memchr(b';', rest).unwrap_or(rest.len());
            Some(Self { user: Some(&rest[..end]), params: Params(&rest[end..]), ..opaque(Scheme::Tel) })
        } else {
            Some(opaque(Scheme::Other(scheme)))
        }
    }

    fn parse_sip(raw: &'a [u8], scheme: Scheme<'a>, rest: &'a [u8]) -> Option<Self> {
        // The user part may hold `;` and `?` (RFC 4475 section 3.1.1.9), so it is cut off first.
        let (user, password, rest) = match memchr::memchr(b'@', rest) {
            Some(at) => {
                let (user, password) = match memchr::memchr(b':', &rest[..at]) {
                    Some(colon) => (&rest[..colon], Some(&rest[colon + 1..at])),
                    None => (&rest[..at], None),
                };
                if user.is_empty() {
                    return None;
                }
                (Some(user), password, &rest[at + 1..])
            }
            None => (None, None, rest),
        };
        let end = memchr::memchr2(b';', b'?', rest).unwrap_or(rest.len());
        let (host, port) = host_port(&rest[..end])?;
        let tail = &rest[end..];
        let (params, headers) = match memchr::memchr(b'?', tail) {
            Some(mark) => (&tail[..mark], Some(&tail[mark + 1..])),
            None => (tail, None),
        };
        Some(Self { raw, scheme, user, password, host, port, params: Params(params), headers })
    }

    /// Whether this is `sip:` or `sips:`.
    #[must_use]
    pub fn is_sip(&self) -> bool {
        matches!(self.scheme, Scheme::Sip | Scheme::Sips)
    }

    /// The value of a URI parameter; `None` also for a flag.
    #[must_use]
    pub fn param(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.params.value(name)
    }

    /// Whether the loose-routing flag is there (RFC 3261 section 19.1.1).
    #[must_use]
    pub fn lr(&self) -> bool {
        self.params.has(b"lr")
    }

    /// The user part with its escapes resolved, for look-ups. Never put it back into a URI: it may hold any octet.
    #[must_use]
    pub fn user_text(&self) -> Option<Cow<'a, [u8]>> {
        self.user.map(unescape)
    }

    /// Whether both user parts say the same, `%61` being `a`; case counts (RFC 3261 section 19.1.4).
    #[must_use]
    pub fn same_user(&self, other: &Uri<'_>) -> bool {
        match (self.user, other.user) {
            (Some(one), Some(two)) => Unescaped(one).eq(Unescaped(two)),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
}

/// Host and port of `host[:port]`, blanks around the colon allowed; IPv6 comes out of its brackets.
/// `None` if the host is empty or no host, or the port is no number up to 65,535.
#[must_use]
pub fn host_port(bytes: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let bytes = text::trim(bytes);
    let (host, rest) = if let Some(inner) = bytes.strip_prefix(b"[") {
        let end = memchr::memchr(b']', inner)?;
        let host = &inner[..end];
        let plain = host.iter().all(|&byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'));
        if !plain || !host.contains(&b':') {
            return None;
        }
        (host, &inner[end + 1..])
    } else {
        let end = memchr::memchr(b':', bytes).unwrap_or(bytes.len());
        let host = text::trim_end(&bytes[..end]);
        if !text::is_host_text(host) {
            return None;
        }
        (host, &bytes[end..])
    };
    let rest = text::trim_start(rest);
    if rest.is_empty() {
        return Some((host, None));
    }
    let port = text::number(text::trim_start(rest.strip_prefix(b":")?))?;
    Some((host, Some(u16::try_from(port).ok()?)))
}

/// Resolves `%XX`; a `%` that begins no escape stays as it is. Borrowed where nothing is escaped.
#[must_use]
pub fn unescape(bytes: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'%', bytes).is_none() {
        return Cow::Borrowed(bytes);
    }
    Cow::Owned(Unescaped(bytes).collect())
}

struct Unescaped<'a>(&'a [u8]);

impl Iterator for Unescaped<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        if first == b'%'
            && let [high, low, after @ ..] = rest
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            self.0 = after;
            return Some(high << 4 | low);
        }
        self.0 = rest;
        Some(first)
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// Length of the scheme before the first colon.
pub(super) fn scheme_len(bytes: &[u8]) -> Option<usize> {
    let len =
        bytes.iter().position(|byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b'+' | b'-' | b'.'))?;
    (bytes[len] == b':' && bytes[0].is_ascii_alphabetic()).then_some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri<'_> {
        Uri::parse(text.as_bytes()).expect(text)
    }

    #[test]
    fn every_part_of_a_sip_uri_is_found() {
        let full = uri("SIPS:alice:pw@[2001:db8::1]:5061;transport=tcp;LR?Subject=x&Priority=urgent");
        assert_eq!(full.scheme, Scheme::Sips);
        assert_eq!(full.user, Some(&b"alice"[..]));
        assert_eq!(full.password, Some(&b"pw"[..]));
        assert_eq!(full.host, b"2001:db8::1");
        assert_eq!(full.port, Some(5061));
        assert_eq!(full.param(b"Transport"), Some(&b"tcp"[..]));
        assert!(full.lr());
        assert_eq!(full.headers, Some(&b"Subject=x&Priority=urgent"[..]));
        let short = uri("sip:example.com");
        assert_eq!((short.user, short.host, short.port), (None, &b"example.com"[..], None));
    }

    #[test]
    fn a_user_part_may_hold_semicolons_and_escapes() {
        let odd = uri("sip:user;par=u%40example.net@example.com");
        assert_eq!(odd.user, Some(&b"user;par=u%40example.net"[..]));
        assert_eq!(odd.params.iter().count(), 0);
        let escaped = uri("sip:sips%3Auser%40example.com@example.net");
        assert_eq!(escaped.host, b"example.net");
        assert_eq!(escaped.user_text().unwrap().as_ref(), b"sips:user@example.com");
        assert!(uri("sip:%61lice@a.example").same_user(&uri("sip:alice@b.example")));
        assert!(!uri("sip:%00@a.example").same_user(&uri("sip:%00%00@a.example")));
    }

    #[test]
    fn other_schemes_stay_opaque() {
        let tel = uri("tel:+1-201-555-0123;phone-context=example.com");
        assert_eq!((tel.scheme, tel.user), (Scheme::Tel, Some(&b"+1-201-555-0123"[..])));
        assert_eq!(tel.param(b"phone-context"), Some(&b"example.com"[..]));
        assert_eq!(uri("soap.beep://192.0.2.103:3002").scheme, Scheme::Other(b"soap.beep"));
        assert_eq!(uri("isbn:2983792873").user, Some(&b"2983792873"[..]));
    }

    #[test]
    fn what_is_no_uri_is_refused() {
        for bad in [
            "",
            "example.com",
            "sip:",
            "sip:a@",
            "sip:@b",
            "sip:a@b@c",
            "sip:a b@c",
            "sip:a@b:",
            "sip:a@b:65536",
            "sip:a@b:x",
            "sip:a@[::1",
            "sip:a@[dead]",
            "sip:a@b\"c",
            "<sip:a@b>",
            "1sip:a@b",
        ] {
            assert_eq!(Uri::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_percent_sign_that_escapes_nothing_stays() {
        assert_eq!(unescape(b"%Z%45%4").as_ref(), b"%ZE%4");
    }
}
