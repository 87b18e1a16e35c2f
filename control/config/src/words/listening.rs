//! Where we are heard, and how packets are marked.

use crate::error::nearest;
use crate::value::{Bad, Lack, Word};
use crate::words::address::{Host, with_port};
use b2bua::spec::Transport;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::ops::RangeInclusive;

/// Where SIP is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SipAddress {
    /// How it travels.
    pub transport: Transport,
    /// May be a wildcard; port 0 lets the system choose.
    pub address: SocketAddr,
}

impl Word for SipAddress {
    const FORM: &'static str =
        "\"TRANSPORT:IP:PORT\" with udp, tcp, tls, ws or wss, such as \"udp:0.0.0.0:5060\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        let (name, address) = text.split_once(':').unwrap_or(("", text));
        let Some(transport) = Transport::parse(name.as_bytes()).filter(|t| t.param() == name) else {
            let fixed = Transport::parse(name.as_bytes()).map(|t| format!("{}:{address}", t.param()));
            let mut guesses = [fixed, Some(format!("udp:{text}"))].into_iter().flatten();
            let nearest = guesses.find(|guess| Self::parse(guess).is_ok()).or_else(|| {
                let transport = nearest(name, ["udp", "tcp", "tls", "ws", "wss"])?;
                Some(format!("{transport}:{address}"))
            });
            return Err(Bad { why: "names no transport".to_owned(), nearest });
        };
        let address = address.parse::<SocketAddr>().map_err(|_| Bad {
            why: "has no IP address with a port after the transport".to_owned(),
            nearest: with_port(address, transport.default_port()).map(|a| format!("{transport}:{a}")),
        })?;
        if address.ip().is_multicast() || address.ip() == IpAddr::V4(Ipv4Addr::BROADCAST) {
            return Err(Bad::new("is the address of many"));
        }
        Ok(SipAddress { transport, address })
    }

    fn word(&self) -> String {
        format!("{}:{}", self.transport, self.address)
    }

    fn lack(&self) -> Option<Lack> {
        match self.transport {
            Transport::Udp | Transport::Tcp => None,
            Transport::Tls | Transport::Ws | Transport::Wss => Some(Lack {
                why: "not in effect yet: SIP is heard over UDP and TCP; this address is not opened",
                protective: false,
            }),
        }
    }
}

/// Where media is heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaAddress {
    /// May be a wildcard.
    pub address: IpAddr,
    /// From an even port to an odd one; 0 to 0 lets the system choose.
    pub ports: RangeInclusive<u16>,
}

impl Word for MediaAddress {
    const FORM: &'static str =
        "\"IP:FIRST-LAST\" from an even port to an odd one, such as \"0.0.0.0:10000-29999\", or \"IP:0\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        let (address, ports) = text.rsplit_once(':').ok_or_else(|| Bad::new("has no ports"))?;
        let address = match address.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').and_then(|ip| ip.parse::<Ipv6Addr>().ok()).map(IpAddr::V6),
            None => address.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        };
        let address = address.ok_or_else(|| {
            let bare = text.parse::<Ipv6Addr>().ok().map(|ip| format!("[{ip}]:10000-29999"));
            Bad { why: "has no IP address before its ports (IPv6 in brackets)".to_owned(), nearest: bare }
        })?;
        if address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST) {
            return Err(Bad::new("is the address of many"));
        }
        let shown = SocketAddr::new(address, 0).to_string();
        let shown = shown.trim_end_matches('0');
        let bad = |why: &str, first: u16, last: u16| Bad::meant(why, format!("{shown}{first}-{last}"));
        if ports == "0" {
            return Ok(MediaAddress { address, ports: 0..=0 });
        }
        let ends = ports.split_once('-').map(|(first, last)| (first.parse::<u16>(), last.parse::<u16>()));
        let Some((Ok(first), Ok(last))) = ends else {
            return Err(bad("has no range of ports from 1 to 65535", 10000, 29999));
        };
        if first > last {
            return Err(bad("has its ports in reverse", last & !1, first | 1));
        }
        if first == 0 {
            return Err(bad("begins at port 0", 1024, last.max(1024) | 1));
        }
        // RTP on the even port, RTCP on the odd one above it (RFC 3550 section 11).
        if first % 2 == 1 || last % 2 == 0 {
            return Err(bad("must begin with an even port and end with an odd one", first & !1, last | 1));
        }
        Ok(MediaAddress { address, ports: first..=last })
    }

    fn word(&self) -> String {
        let ports = match (self.ports.start(), self.ports.end()) {
            (0, 0) => "0".to_owned(),
            (first, last) => format!("{first}-{last}"),
        };
        format!("{}:{ports}", Host::Ip(self.address))
    }
}

/// A mark of quality of service, 0 to 63 (RFC 4594 names).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dscp(pub u8);

const DSCP_NAMES: [(&str, u8); 23] = [
    ("CS0", 0),
    ("LE", 1),
    ("CS1", 8),
    ("AF11", 10),
    ("AF12", 12),
    ("AF13", 14),
    ("CS2", 16),
    ("AF21", 18),
    ("AF22", 20),
    ("AF23", 22),
    ("CS3", 24),
    ("AF31", 26),
    ("AF32", 28),
    ("AF33", 30),
    ("CS4", 32),
    ("AF41", 34),
    ("AF42", 36),
    ("AF43", 38),
    ("CS5", 40),
    ("VA", 44),
    ("EF", 46),
    ("CS6", 48),
    ("CS7", 56),
];

impl Word for Dscp {
    const FORM: &'static str =
        "a DSCP: \"CS0\" to \"CS7\", \"AF11\" to \"AF43\", \"EF\", \"VA\", \"LE\", or 0 to 63";
    const NUMBER_TOO: bool = true;

    fn parse(text: &str) -> Result<Self, Bad> {
        if let Some((_, value)) = DSCP_NAMES.iter().find(|(name, _)| *name == text) {
            return Ok(Dscp(*value));
        }
        match text.parse::<u8>() {
            Ok(value) if value < 64 => Ok(Dscp(value)),
            Ok(_) => Err(Bad::new("is no DSCP")),
            Err(_) => {
                let nearest = nearest(text, DSCP_NAMES.iter().map(|(name, _)| *name));
                Err(Bad { why: "is no DSCP".to_owned(), nearest })
            }
        }
    }

    fn word(&self) -> String {
        let named = DSCP_NAMES.iter().find(|(_, value)| *value == self.0);
        named.map_or_else(|| self.0.to_string(), |(name, _)| (*name).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::tests::check;

    #[test]
    fn listening_addresses() {
        check::<SipAddress>(
            &[
                ("udp:0.0.0.0:5060", "udp:0.0.0.0:5060"),
                ("tcp:[::]:5060", "tcp:[::]:5060"),
                ("tls:192.0.2.10:5061", "tls:192.0.2.10:5061"),
                ("udp:127.0.0.1:0", "udp:127.0.0.1:0"),
            ],
            &[
                ("0.0.0.0:5060", Some("udp:0.0.0.0:5060")),
                ("UDP:0.0.0.0:5060", Some("udp:0.0.0.0:5060")),
                ("upd:0.0.0.0:5060", Some("udp:0.0.0.0:5060")),
                ("udp:0.0.0.0", Some("udp:0.0.0.0:5060")),
                ("tls:192.0.2.10", Some("tls:192.0.2.10:5061")),
                ("udp:sip.example:5060", None),
                ("udp:224.0.1.75:5060", None),
            ],
        );
        check::<MediaAddress>(
            &[
                ("0.0.0.0:10000-29999", "0.0.0.0:10000-29999"),
                ("[2001:db8::10]:10000-10001", "[2001:db8::10]:10000-10001"),
                ("127.0.0.1:0", "127.0.0.1:0"),
            ],
            &[
                ("0.0.0.0:10001-20000", Some("0.0.0.0:10000-20001")),
                ("0.0.0.0:29999-10000", Some("0.0.0.0:10000-29999")),
                ("0.0.0.0:10000-70000", Some("0.0.0.0:10000-29999")),
                ("0.0.0.0", None),
                ("0.0.0.0:10000", Some("0.0.0.0:10000-29999")),
                ("2001:db8::10", Some("[2001:db8::10]:10000-29999")),
                ("0.0.0.0:0-99", Some("0.0.0.0:1024-1025")),
                ("239.0.0.1:10000-19999", None),
            ],
        );
    }

    #[test]
    fn marks() {
        check::<Dscp>(
            &[("EF", "EF"), ("CS3", "CS3"), ("46", "EF"), ("5", "5"), ("0", "CS0")],
            &[("ef", Some("EF")), ("AF14", Some("AF11")), ("64", None), ("CS8", Some("CS0"))],
        );
    }
}
