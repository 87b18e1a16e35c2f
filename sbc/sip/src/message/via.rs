//! One Via value (RFC 3261 section 20.42, RFC 3581).
use super::grammar;
use super::text::{self, Params};
use super::uri::host_port;

/// What every branch of RFC 3261 begins with (section 8.1.1.7).
pub const COOKIE: &[u8] = b"z9hG4bK";

/// One hop of the way that the request came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Via<'a> {
    /// The whole value as it stands, perhaps folded.
    pub raw: &'a [u8],
    /// Version of SIP; all but `2.0` is malformed, yet can be answered with 505.
    pub version: &'a [u8],
    /// Transport as written: `UDP`, `TCP`, `TLS`, `WS`, `WSS` or an unknown one.
    pub transport: &'a [u8],
    /// Host of sent-by; IPv6 without its brackets. Answers go to where the request came from, so a sent-by that is
    /// no host and port is kept here whole.
    pub host: &'a [u8],
    /// Port of sent-by, if one is written.
    pub port: Option<u16>,
    /// Parameters from the first `;`.
    pub params: Params<'a>,
}

impl<'a> Via<'a> {
    /// Reads one value; the parameters may be broken. `None` without protocol and sent-by.
    #[must_use]
    pub fn read(value: &'a [u8]) -> Option<Self> {
        let raw = text::trim(value);
        let end = memchr::memchr(b';', raw).unwrap_or(raw.len());
        let head = &raw[..end];
        let slash = memchr::memchr(b'/', head)?;
        let rest = &head[slash + 1..];
        let second = memchr::memchr(b'/', rest)?;
        if !text::trim_end(&head[..slash]).eq_ignore_ascii_case(b"SIP") {
            return None;
        }
        let version = text::trim(&rest[..second]);
        let rest = text::trim_start(&rest[second + 1..]);
        // Some devices leave the transport out: SIP/2.0/192.0.2.9:5060.
        let blank = rest.iter().position(|&byte| text::is_blank(byte)).unwrap_or(0);
        let (transport, sent_by) = (&rest[..blank], text::trim(&rest[blank..]));
        let transport_ok =
            if transport.is_empty() { !text::is_token(sent_by) } else { text::is_token(transport) };
        if sent_by.is_empty() || !transport_ok {
            return None;
        }
        let (host, port) = host_port(sent_by).unwrap_or((sent_by, None));
        Some(Self { raw, version, transport, host, port, params: Params(&raw[end..]) })
    }

    /// Whether version, transport and parameters follow the grammar too.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        grammar::are_vias(self.raw)
    }

    /// The branch as written; RFC 2543 devices may have none.
    #[must_use]
    pub fn branch(&self) -> Option<&'a [u8]> {
        self.params.value(b"branch").filter(|branch| !branch.is_empty())
    }

    /// The branch if it identifies a transaction: cookie and something behind it (RFC 3261 section 17.2.3).
    /// The bare cookie identifies nothing (RFC 4475 section 3.2.1).
    #[must_use]
    pub fn transaction_branch(&self) -> Option<&'a [u8]> {
        self.branch().filter(|branch| {
            branch.len() > COOKIE.len() && branch[..COOKIE.len()].eq_ignore_ascii_case(COOKIE)
        })
    }

    /// `Some(None)`: asked for, `Some(Some(port))`: filled in by the next hop (RFC 3581 section 4).
    #[must_use]
    pub fn rport(&self) -> Option<Option<u16>> {
        let value = self.params.find(b"rport")?;
        Some(value.and_then(text::number).and_then(|port| u16::try_from(port).ok()))
    }

    /// The address that the next hop saw (RFC 3261 section 18.2.1); IPv6 perhaps in brackets.
    #[must_use]
    pub fn received(&self) -> Option<&'a [u8]> {
        self.params.value(b"received")
    }

    /// Where answers are to go instead (RFC 3261 section 18.2.2).
    #[must_use]
    pub fn maddr(&self) -> Option<&'a [u8]> {
        self.params.value(b"maddr")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_around_every_part_are_allowed() {
        let via =
            Via::read(b" SIP  / 2.0\r\n / UDP  [2001:db8::9] : 5070 ; rport; Branch =\r\n z9hG4bK1").unwrap();
        assert_eq!(via.transport, b"UDP");
        assert_eq!((via.host, via.port), (&b"2001:db8::9"[..], Some(5070)));
        assert_eq!(via.branch(), Some(&b"z9hG4bK1"[..]));
        assert_eq!(via.rport(), Some(None));
        assert!(via.is_well_formed());
    }

    #[test]
    fn the_bare_cookie_identifies_nothing() {
        assert_eq!(Via::read(b"SIP/2.0/UDP h;branch=z9hG4bK").unwrap().transaction_branch(), None);
        assert_eq!(Via::read(b"SIP/2.0/UDP h;branch=390skdjuw").unwrap().transaction_branch(), None);
        assert!(Via::read(b"SIP/2.0/UDP h;branch=z9hg4bkX").unwrap().transaction_branch().is_some());
    }

    #[test]
    fn broken_parameters_leave_the_hop_readable() {
        let via = Via::read(b"SIP/2.0/UDP 192.0.2.15;;,;,,").unwrap();
        assert_eq!(via.host, b"192.0.2.15");
        assert!(!via.is_well_formed());
        let via = Via::read(b"SIP/7.0/UDP 192.0.2.15").unwrap();
        assert_eq!(via.host, b"192.0.2.15");
        assert!(!via.is_well_formed());
    }

    #[test]
    fn an_odd_sent_by_is_kept_whole() {
        let via = Via::read(b"SIP/2.0/192.0.2.9:5070;branch=z9hG4bK1").unwrap();
        assert_eq!((via.transport, via.host, via.port), (&b""[..], &b"192.0.2.9"[..], Some(5070)));
        assert_eq!(Via::read(b"SIP/2.0/TCP u@h@x:0;rport").unwrap().host, b"u@h@x:0");
    }

    #[test]
    fn what_is_no_via_is_refused() {
        for bad in [&b""[..], b"SIP/2.0/UDP ", b"HTTP/2.0/UDP h", b"SIP/2.0 h", b"SIP/2.0/U@P h"] {
            assert_eq!(Via::read(bad), None);
        }
    }
}
