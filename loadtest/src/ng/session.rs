//! The SDP of both parties as this test writes it, and what a media proxy may make of it: one audio line, addresses of its
//! own, the formats agreed, nothing of the other party.

use std::net::SocketAddr;

use crate::session::{self, Remote};

/// A format as `a=rtpmap` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Format {
    pub number: u8,
    /// `PCMU/8000`, `opus/48000/2`.
    pub map: String,
}

impl Format {
    /// `PCMU`.
    pub(super) fn name(&self) -> &str {
        self.map.split('/').next().unwrap_or_default()
    }

    fn is(&self, other: &Format) -> bool {
        self.name().eq_ignore_ascii_case(other.name())
    }
}

/// An offer or answer.
pub(super) fn write(address: SocketAddr, format: &Format, id: u64) -> String {
    let (ip, port, Format { number, map }) = (address.ip(), address.port(), format);
    let family = if address.is_ipv4() { "IP4" } else { "IP6" };
    format!(
        "v=0\r\no=- {id} 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP {number}\r\na=rtpmap:{number} {map}\r\na=ptime:20\r\na=sendrecv\r\n"
    )
}

/// What the proxy tells one party.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub remote: Remote,
    /// The number of the format wanted.
    pub format: Format,
}

/// What is wrong with an SDP, by a name that does not vary.
pub(super) type Fault = &'static str;

/// Reads what the proxy made of the SDP of the party at `from`, for the other party. `wanted` must be among its formats;
/// `only`: and nothing else, but digits.
///
/// # Errors
/// What makes it useless.
pub(super) fn read(
    sdp: &[u8],
    from: SocketAddr,
    wanted: &Format,
    only: bool,
) -> Result<(Told, Vec<Fault>), Fault> {
    let text = std::str::from_utf8(sdp).map_err(|_| "an SDP that is no text")?;
    let lines = || text.lines().map(|line| line.trim_end_matches('\r'));
    if !text.starts_with("v=0") {
        return Err("an SDP without v=0");
    }
    let mut audio = lines().filter_map(|line| line.strip_prefix("m=audio "));
    let media = audio.next().ok_or("an SDP without audio")?;
    let mut faults = Vec::new();
    if audio.next().is_some() || lines().filter(|line| line.starts_with("m=")).count() != 1 {
        faults.push("an SDP with more media lines than were offered");
    }
    let remote = session::read(sdp).ok_or("an SDP whose audio is refused or has no address")?;
    if remote.rtp == from {
        faults.push("an SDP with the port of the other party");
    }
    if remote.rtp.ip().is_unspecified() {
        faults.push("an SDP with the address 0.0.0.0");
    }
    // On one host the proxy may have the address of the party; then nothing can be said.
    if remote.rtp.ip() != from.ip() && names(text, &from.ip().to_string()) {
        faults.push("an SDP that names the address of the other party");
    }
    let mut words = media.split_whitespace().skip(1);
    if words.next() != Some("RTP/AVP") {
        faults.push("an SDP with another transport than was asked for");
    }
    let formats: Vec<Format> = words.filter_map(|number| format_of(text, number)).collect();
    let format = formats.iter().find(|format| format.is(wanted)).cloned();
    let format = format.ok_or("an SDP without the format that was agreed")?;
    let is_digits = |format: &Format| format.name().eq_ignore_ascii_case("telephone-event");
    if only && formats.iter().any(|format| !format.is(wanted) && !is_digits(format)) {
        faults.push("an SDP with a format that was not offered");
    }
    Ok((Told { remote, format }, faults))
}

/// Whether an address stands there as a word, not as part of a longer number.
fn names(text: &str, address: &str) -> bool {
    let part =
        |sign: Option<char>| sign.is_some_and(|sign| sign.is_ascii_digit() || sign == '.' || sign == ':');
    text.match_indices(address).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + address.len()..]);
        !part(before.chars().next_back()) && !part(after.chars().next())
    })
}

fn format_of(text: &str, number: &str) -> Option<Format> {
    let prefix = format!("a=rtpmap:{number} ");
    let map = text.lines().find_map(|line| line.strip_prefix(&prefix));
    let number = number.parse().ok()?;
    // RFC 3551 table 4.
    let map = match (map, number) {
        (Some(map), _) => map.trim(),
        (None, 0) => "PCMU/8000",
        (None, 8) => "PCMA/8000",
        (None, 9) => "G722/8000",
        (None, _) => return None,
    };
    Some(Format { number, map: map.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from() -> SocketAddr {
        "127.0.0.2:4000".parse().unwrap()
    }

    fn pcmu() -> Format {
        Format { number: 0, map: "PCMU/8000".into() }
    }

    fn check(sdp: &str) -> Result<Vec<Fault>, Fault> {
        read(sdp.as_bytes(), from(), &pcmu(), true).map(|(_, faults)| faults)
    }

    const GOOD: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 30000 RTP/AVP 0 101\r\nc=IN IP4 127.0.0.1\r\na=rtpmap:101 telephone-event/8000\r\n";

    #[test]
    fn what_a_proxy_should_write_is_read() {
        let (told, faults) = read(GOOD.as_bytes(), from(), &pcmu(), true).unwrap();
        assert_eq!((told.remote.rtp.port(), told.format, faults), (30_000, pcmu(), vec![]));
        let own = write("[::1]:6".parse().unwrap(), &Format { number: 96, map: "opus/48000/2".into() }, 3);
        assert!(own.contains("c=IN IP6 ::1\r\n") && own.contains("a=rtpmap:96 opus/48000/2\r\n"));
    }

    #[test]
    fn every_lie_has_its_name() {
        let wrong = |from: &str, to: &str| check(&GOOD.replace(from, to));
        assert_eq!(wrong("c=IN IP4 127.0.0.1", "c=IN IP4 127.0.0.20"), Ok(vec![]));
        assert_eq!(
            wrong("1 1 IN IP4 127.0.0.1", "1 1 IN IP4 127.0.0.2"),
            Ok(vec!["an SDP that names the address of the other party"])
        );
        assert_eq!(
            wrong("RTP/AVP 0", "RTP/SAVP 0"),
            Ok(vec!["an SDP with another transport than was asked for"])
        );
        assert_eq!(wrong("RTP/AVP 0", "RTP/AVP 0 8"), Ok(vec!["an SDP with a format that was not offered"]));
        assert_eq!(wrong("RTP/AVP 0", "RTP/AVP 8"), Err("an SDP without the format that was agreed"));
        assert_eq!(wrong("30000", "0"), Err("an SDP whose audio is refused or has no address"));
        assert_eq!(
            wrong("c=IN IP4 127.0.0.1", "c=IN IP4 0.0.0.0"),
            Ok(vec!["an SDP with the address 0.0.0.0"])
        );
        assert_eq!(check("v=0\r\n"), Err("an SDP without audio"));
        assert_eq!(check("x"), Err("an SDP without v=0"));
        let own = write(from(), &pcmu(), 1);
        assert_eq!(check(&own), Ok(vec!["an SDP with the port of the other party"]));
        assert_eq!(
            check(&(GOOD.to_owned() + "m=video 5 RTP/AVP 99\r\n")),
            Ok(vec!["an SDP with more media lines than were offered"])
        );
    }
}
