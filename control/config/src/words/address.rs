//! Addresses, hosts, sources and URIs: who is out there.

use crate::error::nearest;
use crate::value::{Bad, Lack, Word};
use b2bua::spec::Transport;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

impl Word for IpAddr {
    const FORM: &'static str = "an IP address such as \"192.0.2.10\" or \"2001:db8::10\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        text.parse().map_err(|_| {
            let bare = text.trim_matches(['[', ']']);
            let nearest = bare.parse::<IpAddr>().ok().map(|a| a.to_string());
            Bad { why: "is no IP address".to_owned(), nearest }
        })
    }

    fn word(&self) -> String {
        self.to_string()
    }
}

impl Word for SocketAddr {
    const FORM: &'static str = "\"IP:PORT\", such as \"127.0.0.1:8080\" or \"[::1]:8080\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        text.parse().map_err(|_| {
            let nearest = match text.strip_prefix("localhost:") {
                Some(port) => format!("127.0.0.1:{port}").parse().ok(),
                None => with_port(text, 8080).or_else(|| text.strip_prefix(':').and_then(any_with_port)),
            };
            Bad {
                why: "is no address with a port".to_owned(),
                nearest: nearest.map(|a: SocketAddr| a.to_string()),
            }
        })
    }

    fn word(&self) -> String {
        self.to_string()
    }
}

pub(crate) fn with_port(ip: &str, port: u16) -> Option<SocketAddr> {
    ip.trim_matches(['[', ']']).parse().ok().map(|ip| SocketAddr::new(ip, port))
}

fn any_with_port(port: &str) -> Option<SocketAddr> {
    port.parse().ok().map(|port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port))
}

/// A DNS server; port 53 where none is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsServer(pub SocketAddr);

impl Word for DnsServer {
    const FORM: &'static str = "\"IP[:PORT]\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        let address = text.parse().ok().or_else(|| with_port(text, 53));
        address.map(DnsServer).ok_or_else(|| Bad::new("is no address of a DNS server"))
    }

    fn word(&self) -> String {
        self.0.to_string()
    }
}

/// A host with or without a port, as people write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// Who.
    pub host: Host,
    /// Where, if said.
    pub port: Option<u16>,
}

/// An address or a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// An address.
    Ip(IpAddr),
    /// A name, to be resolved.
    Name(String),
}

impl core::fmt::Display for Host {
    /// As in a URI: IPv6 in brackets.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Host::Name(name) => f.write_str(name),
        }
    }
}

impl core::fmt::Display for HostPort {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => write!(f, "{}", self.host),
        }
    }
}

impl HostPort {
    /// Reads `HOST`, `HOST:PORT`, `[V6]`, `[V6]:PORT` or a bare IPv6 address.
    pub(crate) fn read(text: &str) -> Result<HostPort, Bad> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return HostPort { host: Host::Ip(ip.to_canonical()), port: None }.unicast();
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (ip, after) = rest.split_once(']').ok_or_else(|| Bad::new("has `[` without `]`"))?;
                let ip: Ipv6Addr =
                    ip.parse().map_err(|_| Bad::new("holds no IPv6 address in its brackets"))?;
                let port = match after.strip_prefix(':') {
                    Some(port) => Some(port),
                    None if after.is_empty() => None,
                    None => return Err(Bad::new("goes on after the bracket")),
                };
                (Host::Ip(IpAddr::V6(ip).to_canonical()), port)
            }
            None => {
                let (host, port) = match text.split_once(':') {
                    Some((_, port)) if port.contains(':') => {
                        return Err(Bad::new("is no IPv6 address; with a port it stands in brackets"));
                    }
                    Some((host, port)) => (host, Some(port)),
                    None => (text, None),
                };
                match host.parse() {
                    Ok(ip) => (Host::Ip(IpAddr::V4(ip)), port),
                    Err(_) => (Host::Name(host_name(host)?), port),
                }
            }
        };
        let port = match port {
            None => None,
            Some(port) => match port.parse::<u16>() {
                Ok(port) if port > 0 => Some(port),
                _ => return Err(Bad::new("has no port from 1 to 65535 after the colon")),
            },
        };
        HostPort { host, port }.unicast()
    }

    /// One host: no wildcard, no group, no broadcast.
    fn unicast(self) -> Result<HostPort, Bad> {
        match self.host {
            Host::Ip(ip) if ip.is_unspecified() => Err(Bad::new("is a wildcard, not the address of a host")),
            Host::Ip(ip) if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) => {
                Err(Bad::new("is the address of many, not of a host"))
            }
            Host::Ip(_) | Host::Name(_) => Ok(self),
        }
    }
}

impl Word for HostPort {
    const FORM: &'static str =
        "\"HOST[:PORT]\", the host being a name or an address (IPv6 with a port in brackets)";

    fn parse(text: &str) -> Result<Self, Bad> {
        if let Some(rest) = text.strip_prefix("sip:") {
            return Err(Bad::meant("is a URI, not a host", rest.split(';').next().unwrap_or(rest)));
        }
        HostPort::read(text)
    }

    fn word(&self) -> String {
        self.to_string()
    }
}

/// Checks a DNS name (RFC 1123 section 2.1, and the underscore that people use).
fn host_name(text: &str) -> Result<String, Bad> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let label_fine = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.is_empty() {
        return Err(Bad::new("has no host"));
    }
    if name.len() > 253 || !name.split('.').all(label_fine) {
        return Err(Bad::new("is neither an address nor a host name"));
    }
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Bad::new("is no IPv4 address, and no host name ends in a number"));
    }
    Ok(text.to_ascii_lowercase())
}

/// Who a trunk is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A network, or an address if the prefix is full; over UDP only from `port` if it is given.
    Network {
        /// Without host bits.
        address: IpAddr,
        /// Length of the prefix.
        prefix: u8,
        /// Source port of datagrams.
        port: Option<u16>,
    },
    /// A host name.
    Name {
        /// In lower case.
        name: String,
        /// Source port of datagrams.
        port: Option<u16>,
    },
    /// Whoever knows its password.
    Digest,
}

impl Source {
    /// That host.
    pub fn of(host_port: &HostPort) -> Source {
        match &host_port.host {
            Host::Ip(ip) => Source::Network { address: *ip, prefix: full(*ip), port: host_port.port },
            Host::Name(name) => Source::Name { name: name.clone(), port: host_port.port },
        }
    }
}

fn full(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

impl Word for Source {
    const FORM: &'static str =
        "a network \"IP/PREFIX\", an address or host name with or without a port, or \"digest\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        if text == "digest" {
            return Ok(Source::Digest);
        }
        let Some((ip, prefix)) = text.split_once('/') else {
            return HostPort::parse(text).map(|host_port| Source::of(&host_port));
        };
        let address = IpAddr::parse(ip)?;
        let most = full(address);
        let prefix = match prefix.parse::<u8>() {
            Ok(prefix) if prefix <= most => prefix,
            _ => return Err(Bad::new(format!("has no prefix from 0 to {most} after the slash"))),
        };
        let network = mask(address, prefix);
        if network != address {
            let network = format!("{network}/{prefix}");
            return Err(Bad::meant("is no network: bits are set behind the prefix", network));
        }
        if address.is_multicast() {
            return Err(Bad::new("is a group, and nobody sends from a group"));
        }
        Ok(Source::Network { address, prefix, port: None })
    }

    fn word(&self) -> String {
        match self {
            Source::Network { address, port: Some(port), .. } => SocketAddr::new(*address, *port).to_string(),
            Source::Network { address, prefix, port: None } if *prefix == full(*address) => {
                address.to_string()
            }
            Source::Network { address, prefix, .. } => format!("{address}/{prefix}"),
            Source::Name { name, port } => {
                HostPort { host: Host::Name(name.clone()), port: *port }.to_string()
            }
            Source::Digest => "digest".to_owned(),
        }
    }

    fn lack(&self) -> Option<Lack> {
        match self {
            Source::Digest => Some(Lack {
                why: "not in effect yet: trunks are recognised by their addresses; nobody is this trunk by digest",
                protective: false,
            }),
            Source::Network { .. } | Source::Name { .. } => None,
        }
    }
}

/// The network that an address is in.
fn mask(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(ip) => {
            let bits = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            Ipv4Addr::from_bits(ip.to_bits() & bits).into()
        }
        IpAddr::V6(ip) => {
            let bits = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            Ipv6Addr::from_bits(ip.to_bits() & bits).into()
        }
    }
}

/// A network, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Without host bits.
    pub address: IpAddr,
    /// Length of the prefix.
    pub prefix: u8,
}

impl Word for Network {
    const FORM: &'static str = "a network \"IP/PREFIX\" or an address";

    fn parse(text: &str) -> Result<Self, Bad> {
        match Source::parse(text)? {
            Source::Network { address, prefix, port: None } => Ok(Network { address, prefix }),
            Source::Network { address, port: Some(_), .. } => {
                Err(Bad::meant("has a port", address.to_string()))
            }
            Source::Name { .. } | Source::Digest => Err(Bad::new("is no network")),
        }
    }

    fn word(&self) -> String {
        Source::Network { address: self.address, prefix: self.prefix, port: None }.word()
    }
}

impl Word for Host {
    const FORM: &'static str = "a host name or an address";

    fn parse(text: &str) -> Result<Self, Bad> {
        match HostPort::parse(text)? {
            HostPort { host, port: None } => Ok(host),
            HostPort { host, port: Some(_) } => Err(Bad::meant("has a port", host.to_string())),
        }
    }

    fn word(&self) -> String {
        self.to_string()
    }
}

/// Where a trunk is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetUri {
    /// Who, and the port: without one, DNS is asked as RFC 3263 says.
    pub to: HostPort,
    /// Never overridden, if given.
    pub transport: Option<Transport>,
}

impl Word for TargetUri {
    const FORM: &'static str = "\"sip:HOST[:PORT][;transport=udp|tcp|tls|ws|wss]\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        let Some(rest) = text.strip_prefix("sip:") else {
            let nearest = match text.strip_prefix("sips:") {
                Some(rest) => Some(format!("sip:{};transport=tls", rest.split(';').next().unwrap_or(rest))),
                None => Some(format!("sip:{text}")),
            };
            let nearest = nearest.filter(|guess| TargetUri::parse(guess).is_ok());
            return Err(Bad { why: "is no SIP URI".to_owned(), nearest });
        };
        let (authority, parameters) = rest.split_once(';').unwrap_or((rest, ""));
        if let Some((_, host)) = authority.rsplit_once('@') {
            let nearest = Some(format!("sip:{host}")).filter(|guess| TargetUri::parse(guess).is_ok());
            return Err(Bad { why: "has a user part; the called number stands there".to_owned(), nearest });
        }
        if rest.contains('?') {
            return Err(Bad::new("has headers, which are not carried"));
        }
        let to = HostPort::read(authority)?;
        let mut transport = None;
        for parameter in parameters.split(';').filter(|p| !p.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match name.to_ascii_lowercase().as_str() {
                "transport" if transport.is_none() => {
                    let known = Transport::parse(value.as_bytes());
                    transport = Some(known.ok_or_else(|| {
                        let nearest = nearest(value, ["udp", "tcp", "tls", "ws", "wss"])
                            .map(|near| format!("sip:{to};transport={near}"));
                        Bad { why: "names no transport that is known".to_owned(), nearest }
                    })?);
                }
                "maddr" => {
                    return Err(Bad::meant(
                        "has `maddr`, which would send elsewhere than it says",
                        format!("sip:{to}"),
                    ));
                }
                _ => {
                    let why = format!(
                        "has the parameter `{}`; only one `transport` is understood",
                        crate::error::cut(name)
                    );
                    return Err(Bad::meant(why, format!("sip:{to}")));
                }
            }
        }
        Ok(TargetUri { to, transport })
    }

    fn word(&self) -> String {
        match self.transport {
            Some(transport) => format!("sip:{};transport={transport}", self.to),
            None => format!("sip:{}", self.to),
        }
    }

    fn lack(&self) -> Option<Lack> {
        match self.transport {
            None | Some(Transport::Udp | Transport::Tcp) => None,
            Some(Transport::Tls | Transport::Ws | Transport::Wss) => {
                Some(Lack { why: "not in effect yet: SIP is sent over UDP and TCP", protective: true })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::tests::check;

    #[test]
    fn hosts_and_uris() {
        check::<HostPort>(
            &[
                ("10.0.0.2", "10.0.0.2"),
                ("10.0.0.2:5080", "10.0.0.2:5080"),
                ("PBX.example", "pbx.example"),
                ("2001:db8::1", "[2001:db8::1]"),
                ("[2001:db8::1]:5060", "[2001:db8::1]:5060"),
                ("::ffff:10.0.0.2", "10.0.0.2"),
                ("pbx", "pbx"),
            ],
            &[
                ("10.0.0.256", None),
                ("10.0.0", None),
                ("pbx:0", None),
                ("pbx:65536", None),
                ("pbx:", None),
                ("[2001:db8::1", None),
                ("[2001:db8::1]5060", None),
                ("2001:db8::1:99999", None),
                ("0.0.0.0", None),
                ("224.0.0.1", None),
                ("a b", None),
                ("", None),
                ("-a.example", None),
                ("sip:pbx.example", Some("pbx.example")),
            ],
        );
        check::<TargetUri>(
            &[
                ("sip:sbc1.acme.example", "sip:sbc1.acme.example"),
                ("sip:10.0.0.2:5080;transport=TCP", "sip:10.0.0.2:5080;transport=tcp"),
                ("sip:[2001:db8::1]", "sip:[2001:db8::1]"),
                ("sip:2001:db8::1", "sip:[2001:db8::1]"),
            ],
            &[
                ("10.0.0.2", Some("sip:10.0.0.2")),
                ("sips:acme.example", Some("sip:acme.example;transport=tls")),
                ("sip:1000@acme.example", Some("sip:acme.example")),
                ("sip:acme.example;transport=udpp", Some("sip:acme.example;transport=udp")),
                ("sip:acme.example;maddr=10.0.0.1", Some("sip:acme.example")),
                ("sip:acme.example;lr", Some("sip:acme.example")),
                ("sip:acme.example?a=b", None),
                ("sip:", None),
            ],
        );
    }

    #[test]
    fn networks_and_hosts() {
        check::<Network>(
            &[("10.0.0.0/8", "10.0.0.0/8"), ("192.0.2.1", "192.0.2.1"), ("2001:db8::/32", "2001:db8::/32")],
            &[("192.0.2.1:5060", Some("192.0.2.1")), ("a.example", None), ("10.0.0.1/8", Some("10.0.0.0/8"))],
        );
        check::<Host>(
            &[("Line.example", "line.example"), ("[2001:db8::1]", "[2001:db8::1]")],
            &[("a.example:5060", Some("a.example")), ("a b", None)],
        );
    }

    #[test]
    fn sources() {
        check::<Source>(
            &[
                ("203.0.113.0/28", "203.0.113.0/28"),
                ("203.0.113.5/32", "203.0.113.5"),
                ("203.0.113.5:5060", "203.0.113.5:5060"),
                ("2001:db8::/32", "2001:db8::/32"),
                ("0.0.0.0/0", "0.0.0.0/0"),
                ("carrier.example", "carrier.example"),
                ("digest", "digest"),
            ],
            &[
                ("203.0.113.5/28", Some("203.0.113.0/28")),
                ("203.0.113.0/33", None),
                ("2001:db8::1/32", Some("2001:db8::/32")),
                ("carrier.example/24", None),
                ("224.0.0.0/4", None),
            ],
        );
    }
}
