//! The session descriptions that the generator's parties write, and the few lines that it reads of others
//! (RFC 8866, RFC 3264). No negotiation to speak of: one audio stream, one codec, digits beside it.

use std::net::{IpAddr, SocketAddr};

use crate::speech::Codec;

/// An offer or answer: audio in `codec`, to be sent to `address`.
pub fn write(address: SocketAddr, codec: Codec, session_id: u64) -> String {
    let direction = Direction::Both;
    Description { address, codec, session_id, version: 1, direction, digits: false }.text()
}

/// Who sends, as the one sees it who says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// `sendrecv`.
    #[default]
    Both,
    /// `sendonly`.
    Send,
    /// `recvonly`.
    Receive,
    /// `inactive`.
    Neither,
}

impl Direction {
    /// What an answerer says who agrees with everything.
    pub fn answer(self) -> Direction {
        match self {
            Direction::Send => Direction::Receive,
            Direction::Receive => Direction::Send,
            same => same,
        }
    }

    /// Whether the one who says so sends.
    pub fn sends(self) -> bool {
        matches!(self, Direction::Both | Direction::Send)
    }

    fn name(self) -> &'static str {
        match self {
            Direction::Both => "sendrecv",
            Direction::Send => "sendonly",
            Direction::Receive => "recvonly",
            Direction::Neither => "inactive",
        }
    }

    fn named(name: &str) -> Option<Direction> {
        let all = [Direction::Both, Direction::Send, Direction::Receive, Direction::Neither];
        all.into_iter().find(|direction| direction.name() == name)
    }
}

/// What one party says of its session.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// Where it wants audio.
    pub address: SocketAddr,
    /// What it speaks and understands.
    pub codec: Codec,
    /// Stays the same through a call.
    pub session_id: u64,
    /// Grows with each change.
    pub version: u32,
    /// Who sends.
    pub direction: Direction,
    /// Whether digits may come within the audio (RFC 4733, payload type 101).
    pub digits: bool,
}

/// Payload type of digits.
pub const DIGITS: u8 = 101;

impl Description {
    /// As SDP.
    pub fn text(&self) -> String {
        let (ip, port) = (self.address.ip(), self.address.port());
        let family = if self.address.is_ipv4() { "IP4" } else { "IP6" };
        let (number, clock, session) = (self.codec.payload_type(), self.codec.clock(), self.session_id);
        let channels = if self.codec == Codec::Opus { "/2" } else { "" };
        let (digits, rtpmap) = if self.digits {
            let map = format!("a=rtpmap:{DIGITS} telephone-event/{clock}\r\na=fmtp:{DIGITS} 0-15\r\n");
            (format!(" {DIGITS}"), map)
        } else {
            Default::default()
        };
        format!(
            "v=0\r\no=- {session} {} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP {number}{digits}\r\na=rtpmap:{number} {}/{clock}{channels}\r\n{rtpmap}\
             a=ptime:20\r\na={}\r\n",
            self.version,
            self.codec.name(),
            self.direction.name()
        )
    }
}

/// Where the other side wants its audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote {
    /// For RTP.
    pub rtp: SocketAddr,
    /// For RTCP: `a=rtcp` (RFC 3605), the same port with `a=rtcp-mux` (RFC 5761), else the next one.
    pub rtcp: SocketAddr,
}

/// What the other side said of its first audio line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Where it wants audio.
    pub remote: Remote,
    /// Who sends; `Send` too where the address is 0.0.0.0 (RFC 3264 section 8.4).
    pub direction: Direction,
    /// What it understands of what we know, best first.
    pub codecs: Vec<Codec>,
    /// Whether it takes digits within the audio.
    pub digits: bool,
}

/// Where the first audio line wants its audio; `None` if there is none, it is refused, or its address is no IP address.
pub fn read(body: &[u8]) -> Option<Remote> {
    understand(body).map(|said| said.remote)
}

/// Reads the first audio line; `None` as for [`read`].
pub fn understand(body: &[u8]) -> Option<Said> {
    let text = std::str::from_utf8(body).ok()?;
    let (mut session_ip, mut ip) = (None, None);
    let (mut port, mut rtcp_port, mut mux): (Option<u16>, Option<u16>, bool) = (None, None, false);
    let (mut direction, mut formats, mut maps) = (Direction::Both, Vec::new(), Vec::new());
    for line in text.lines() {
        if let Some(media) = line.strip_prefix("m=") {
            if port.is_some() {
                break; // the next media line: audio is complete
            }
            if let Some(rest) = media.strip_prefix("audio ") {
                port = Some(rest.split([' ', '/']).next()?.parse().ok()?);
                formats = rest.split(' ').skip(2).take(64).collect();
            }
        } else if let Some(connection) = line.strip_prefix("c=") {
            let address: Option<IpAddr> = connection.split_whitespace().nth(2).and_then(|ip| ip.parse().ok());
            // Before the first media line it holds for the session; under another media line it does not concern us.
            if port.is_some() {
                ip = address;
            } else if session_ip.is_none() {
                session_ip = address;
            }
        } else if let Some(attribute) = line.strip_prefix("a=") {
            direction = Direction::named(attribute).unwrap_or(direction);
            if port.is_none() {
                continue;
            }
            if let Some(rest) = attribute.strip_prefix("rtcp:") {
                rtcp_port = rest.split_whitespace().next().and_then(|port| port.parse().ok());
            } else if let Some((format, encoding)) =
                attribute.strip_prefix("rtpmap:").and_then(|map| map.split_once(' '))
            {
                maps.push((format, encoding.to_ascii_lowercase()));
            }
            mux |= attribute == "rtcp-mux";
        }
    }
    let (ip, port) = (ip.or(session_ip)?, port.filter(|&port| port != 0)?);
    let rtcp_port = if mux { port } else { rtcp_port.unwrap_or(port.saturating_add(1)) };
    let remote = Remote { rtp: SocketAddr::new(ip, port), rtcp: SocketAddr::new(ip, rtcp_port) };
    if ip.is_unspecified() && direction == Direction::Both {
        direction = Direction::Send;
    }
    let encoding = |format: &str| maps.iter().find(|map| map.0 == format).map(|map| map.1.as_str());
    let known = |format: &&str| match (*format, encoding(format)) {
        ("0", _) | (_, Some("pcmu/8000")) => Some(Codec::Pcmu),
        ("8", _) | (_, Some("pcma/8000")) => Some(Codec::Pcma),
        (_, Some("opus/48000/2")) => Some(Codec::Opus),
        _ => None,
    };
    let codecs = formats.iter().filter_map(known).collect();
    let digits = maps.iter().any(|map| map.1.starts_with("telephone-event/"));
    Some(Said { remote, direction, codecs, digits })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for text in ["127.0.0.3:4000", "[::1]:4002"] {
            let address: SocketAddr = text.parse().unwrap();
            let remote = read(write(address, Codec::Pcma, 7).as_bytes()).unwrap();
            assert_eq!(remote.rtp, address);
            assert_eq!(remote.rtcp.port(), address.port() + 1);
            for codec in [Codec::Pcmu, Codec::Pcma, Codec::Opus] {
                for direction in [Direction::Both, Direction::Send, Direction::Receive, Direction::Neither] {
                    for digits in [true, false] {
                        let own =
                            Description { address, codec, session_id: 1, version: 2, direction, digits };
                        let said = understand(own.text().as_bytes()).unwrap();
                        assert_eq!(
                            (said.direction, said.codecs, said.digits),
                            (direction, vec![codec], digits)
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn media_lines_overrule_the_session_and_refusals_are_none() {
        let read = |text: &str| read(text.as_bytes()).map(|r| (r.rtp.to_string(), r.rtcp.port()));
        let session = "v=0\nc=IN IP4 10.0.0.1\n";
        let both = format!(
            "{session}m=audio 6 RTP/AVP 0\nc=IN IP4 10.0.0.2\na=rtcp:9\nm=video 8 X 1\nc=IN IP4 9.9.9.9\n"
        );
        assert_eq!(read(&both), Some(("10.0.0.2:6".to_owned(), 9)));
        assert_eq!(
            read(&format!("{session}m=audio 6 X 0\na=rtcp-mux\n")),
            Some(("10.0.0.1:6".to_owned(), 6))
        );
        for refused in ["", "m=audio 6 X 0", "c=IN IP4 host\nm=audio 6 X 0"] {
            assert_eq!(read(refused), None);
        }
        assert_eq!(read(&format!("{session}m=audio 0 X 0\n")), None);
        assert_eq!(read(&format!("{session}m=audio 70000 X 0\n")), None);
    }

    #[test]
    fn codecs_directions_and_old_holds_are_understood() {
        let said = |text: &str| understand(text.as_bytes()).unwrap();
        let offer = said(
            "c=IN IP4 10.0.0.1\na=sendonly\nm=audio 6 RTP/AVP 9 96 8 0 97\na=rtpmap:96 OPUS/48000/2\n\
             a=rtpmap:97 telephone-event/8000\na=recvonly\nm=video 8 X 1\na=inactive\n",
        );
        assert_eq!(offer.codecs, [Codec::Opus, Codec::Pcma, Codec::Pcmu]);
        assert_eq!((offer.direction, offer.digits), (Direction::Receive, true));
        assert_eq!(said("c=IN IP4 0.0.0.0\nm=audio 6 RTP/AVP 0\n").direction, Direction::Send);
        assert_eq!(Direction::Send.answer(), Direction::Receive);
        assert!(!Direction::Receive.sends() && Direction::Both.answer().sends());
    }
}
