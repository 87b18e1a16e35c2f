//! The session descriptions that the generator's parties write, and the few lines that it reads of others
//! (RFC 8866, RFC 3264). No negotiation: one audio stream, one codec.

use std::net::{IpAddr, SocketAddr};

use crate::speech::Codec;

/// An offer or answer: audio in `codec`, to be sent to `address`.
pub fn write(address: SocketAddr, codec: Codec, session_id: u64) -> String {
    let (ip, family) = (address.ip(), if address.is_ipv4() { "IP4" } else { "IP6" });
    let (port, payload_type, name) = (address.port(), codec.payload_type(), codec.name());
    format!(
        "v=0\r\no=- {session_id} 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP {payload_type}\r\na=rtpmap:{payload_type} {name}/8000\r\na=ptime:20\r\na=sendrecv\r\n"
    )
}

/// Where the other side wants its audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote {
    /// For RTP.
    pub rtp: SocketAddr,
    /// For RTCP: `a=rtcp` (RFC 3605), the same port with `a=rtcp-mux` (RFC 5761), else the next one.
    pub rtcp: SocketAddr,
}

/// Reads the first audio line; `None` if there is none, it is refused, or its address is no IP address.
pub fn read(body: &[u8]) -> Option<Remote> {
    let text = std::str::from_utf8(body).ok()?;
    let (mut session_ip, mut ip) = (None, None);
    let (mut port, mut rtcp_port, mut mux): (Option<u16>, Option<u16>, bool) = (None, None, false);
    for line in text.lines() {
        if let Some(media) = line.strip_prefix("m=") {
            if port.is_some() {
                break; // the next media line: audio is complete
            }
            if let Some(rest) = media.strip_prefix("audio ") {
                port = Some(rest.split([' ', '/']).next()?.parse().ok()?);
            }
        } else if let Some(connection) = line.strip_prefix("c=") {
            let address: Option<IpAddr> = connection.split_whitespace().nth(2).and_then(|ip| ip.parse().ok());
            // Before the first media line it holds for the session; under another media line it does not concern us.
            if port.is_some() {
                ip = address;
            } else if session_ip.is_none() {
                session_ip = address;
            }
        } else if port.is_some() {
            if let Some(rest) = line.strip_prefix("a=rtcp:") {
                rtcp_port = rest.split_whitespace().next().and_then(|port| port.parse().ok());
            }
            mux |= line == "a=rtcp-mux";
        }
    }
    let (ip, port) = (ip.or(session_ip)?, port.filter(|&port| port != 0)?);
    let rtcp_port = if mux { port } else { rtcp_port.unwrap_or(port.saturating_add(1)) };
    Some(Remote { rtp: SocketAddr::new(ip, port), rtcp: SocketAddr::new(ip, rtcp_port) })
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
}
