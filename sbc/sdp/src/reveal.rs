//! Finds addresses and host names in a line that would otherwise be kept. Errs on the side of finding: a version number
//! with four parts counts as an address.

use crate::line::{Lines, words};
use crate::parse::{Host, Sdp};
use core::net::Ipv6Addr;

/// The host names that an SDP gives as addresses; literal addresses are found by their form.
#[derive(Debug, Default)]
pub struct Names<'a>(Vec<&'a [u8]>);

impl<'a> Names<'a> {
    /// Those of o=, c=, a=rtcp and a=candidate.
    pub fn of(sdp: &Sdp<'a>) -> Self {
        let mut names = Names::default();
        if let Some(origin) = sdp.origin() {
            names.add(origin.address);
        }
        names.add_host(sdp.connection().map(|connection| connection.host));
        for media in sdp.media() {
            names.add_host(media.connection().map(|connection| connection.host));
            names.add_host(media.rtcp_line().and_then(|rtcp| rtcp.host));
        }
        names.add_candidates(sdp.session_lines());
        for media in sdp.media() {
            names.add_candidates(media.lines());
        }
        names
    }

    /// Whether a text names one of them, or any literal address.
    pub fn are_in(&self, text: &[u8]) -> bool {
        has_v4(text) || has_v6(text) || self.0.iter().any(|name| has_name(text, name))
    }

    fn add_host(&mut self, host: Option<Host<'a>>) {
        if let Some(Host::Name(name)) = host {
            self.add(name);
        }
    }

    fn add_candidates(&mut self, lines: Lines<'a>) {
        for line in lines {
            if let Some((b"candidate", value)) = line.attribute()
                && let Some(address) = words(value).nth(4)
            {
                self.add(address);
            }
        }
    }

    fn add(&mut self, name: &'a [u8]) {
        let is_name = name.len() > 2 && name.iter().any(u8::is_ascii_alphabetic) && !has_v6(name);
        if is_name && self.0.len() < NAMES_MAX && !self.0.contains(&name) {
            self.0.push(name);
        }
    }
}

/// Four or more numbers of up to three digits with dots between.
fn has_v4(text: &[u8]) -> bool {
    if memchr::memchr(b'.', text).is_none() {
        return false;
    }
    text.split(|b| !b.is_ascii_digit() && *b != b'.').any(|run| {
        let mut numbers = 0;
        run.split(|b| *b == b'.').any(|part| {
            numbers = if (1..=3).contains(&part.len()) { numbers + 1 } else { 0 };
            numbers == 4
        })
    })
}

/// An IPv6 address, also as the tail of a longer run (`cname:2001:db8::1`).
fn has_v6(text: &[u8]) -> bool {
    if memchr::memchr_iter(b':', text).nth(1).is_none() {
        return false;
    }
    text.split(|b| !b.is_ascii_hexdigit() && *b != b':' && *b != b'.').any(|run| {
        let tails = memchr::memchr_iter(b':', run).map(|colon| &run[colon + 1..]);
        core::iter::once(run).chain(tails).any(is_v6)
    })
}

fn is_v6(run: &[u8]) -> bool {
    let end = run.iter().rposition(|b| b.is_ascii_hexdigit()).map_or(0, |last| last + 1);
    let whole = core::str::from_utf8(&run[..end]).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok());
    // `2001:db8::` ends in colons
    whole || (end > 0 && run[end..].starts_with(b"::") && is_v6_text(&run[..end + 2]))
}

fn is_v6_text(text: &[u8]) -> bool {
    core::str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// Whole words only, in any case.
fn has_name(text: &[u8], name: &[u8]) -> bool {
    let is_edge = |b: Option<&u8>| b.is_none_or(|b| !b.is_ascii_alphanumeric());
    text.windows(name.len()).enumerate().any(|(at, window)| {
        window.eq_ignore_ascii_case(name)
            && is_edge(at.checked_sub(1).and_then(|before| text.get(before)))
            && is_edge(text.get(at + name.len()))
    })
}

const NAMES_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_wherever_they_stand() {
        for text in [
            "ntp=203.0.113.10",
            "incl IN IP4 239.0.0.1 192.168.20.20",
            "user@10.0.0.1",
            "x10.0.0.1y",
            "10.0.0.1.",
            "cname:2001:db8::1",
            "1 cname:user@[fe80::1]:5060",
            "ip=::1;x",
            "2001:db8:0:0:0:0:0:1",
            "net 2001:db8:: end",
            "::ffff:10.0.0.1",
            "at Phone.Example.COM!",
        ] {
            assert!(Names(vec![b"phone.example.com"]).are_in(text.as_bytes()), "{text}");
        }
        for text in [
            "opus/48000/2",
            "1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20|1:4",
            "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            "npt=0:00:10.5",
            "1.2.3",
            "x::",
            "mac 00:11:22:33:44:55",
            "smartphone.example.com",
            "profile-level-id=42e01f;packetization-mode=1",
        ] {
            let names = Names(vec![b"phone.example.com"]);
            assert!(!names.are_in(text.as_bytes()), "{text}");
        }
    }
}
