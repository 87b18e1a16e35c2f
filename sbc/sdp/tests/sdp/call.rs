//! A call with our addresses and ports set, and readers for what comes out of it.

use command::{BridgeSpec, PortIndex, PortSpec, Transform};
use sdp::{Negotiation, NegotiationConfig, Side, SideConfig};
use std::fmt::Write as _;
use std::net::IpAddr;

/// Where we are towards side A.
pub const OUR_A: &str = "198.51.100.1";
/// Where we are towards side B.
pub const OUR_B: &str = "203.0.113.1";

/// Ports 0 to `lines`-1 face A (20000, 20002, …), the next ones B (30000, 30002, …).
pub fn call(lines: u16) -> Negotiation {
    call_between(OUR_A, OUR_B, lines)
}

pub fn call_between(our_a: &str, our_b: &str, lines: u16) -> Negotiation {
    let side = |address: &str, session_id| SideConfig {
        address: Some(address.parse::<IpAddr>().expect("an address")),
        session_id,
        ..SideConfig::default()
    };
    let config =
        NegotiationConfig { a: side(our_a, 1001), b: side(our_b, 2002), ..NegotiationConfig::default() };
    let mut call = Negotiation::new(config);
    call.add_ports(Side::A, (0..lines).map(|n| (PortIndex(n), 20000 + 2 * n)));
    call.add_ports(Side::B, (0..lines).map(|n| (PortIndex(lines + n), 30000 + 2 * n)));
    call
}

/// An SDP with one audio line: `audio("192.0.2.10", 4000, "0 8 101", "a=rtpmap:101 telephone-event/8000")`.
pub fn audio(address: &str, port: u16, formats: &str, attributes: &str) -> Vec<u8> {
    let family = if address.contains(':') { "IP6" } else { "IP4" };
    let mut text = format!(
        "v=0\r\no=phone 7 1 IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP {formats}\r\n"
    );
    for line in attributes.lines() {
        let _ = write!(text, "{}\r\n", line.trim());
    }
    text.into_bytes()
}

pub fn text(sdp: &[u8]) -> String {
    String::from_utf8_lossy(sdp).replace('\r', "")
}

/// The lines that begin with `prefix`.
pub fn lines<'t>(sdp: &'t str, prefix: &str) -> Vec<&'t str> {
    sdp.lines().filter(|line| line.starts_with(prefix)).collect()
}

/// The lines of an SDP from the first m-line on.
pub fn media(sdp: &[u8]) -> String {
    let text = text(sdp);
    text.find("m=").map_or(String::new(), |at| text[at..].trim_end().to_owned())
}

pub fn port(spec: &BridgeSpec, index: u16) -> &PortSpec {
    spec.ports.iter().find(|port| port.port == PortIndex(index)).expect("the spec names the port")
}

/// A spec in short: a line a port and an edge.
pub fn show(spec: &BridgeSpec) -> String {
    let mut out = format!("{:?}\n", spec.phase);
    for port in &spec.ports {
        let _ = write!(out, "{}: {:?} {:?} {:?}", port.port.0, port.class, port.mux, port.learn);
        for remote in &port.remotes {
            let star = if Some(remote.tag) == port.active { "*" } else { "" };
            let address = |address: Option<_>| {
                address.map_or("-".to_owned(), |address: std::net::SocketAddr| address.to_string())
            };
            let _ = write!(out, " {star}{}={}/{}", remote.tag.0, address(remote.rtp), address(remote.rtcp));
            let _ = write!(out, "{}", if remote.sends { " sends" } else { "" });
            let _ = write!(out, "{}", if remote.receives { " receives" } else { "" });
        }
        let payloads: Vec<_> =
            port.payloads.iter().map(|p| format!("{}:{}/{}", p.number, p.encoding, p.clock)).collect();
        let _ = writeln!(out, " [{}]", payloads.join(" "));
    }
    for edge in &spec.edges {
        let transform = match &edge.transform {
            Transform::Relay { payload_map, .. } if payload_map.is_empty() => "relay".to_owned(),
            Transform::Relay { payload_map, .. } => format!("relay {payload_map:?}"),
            other => format!("{other:?}").to_lowercase(),
        };
        let _ = writeln!(out, "{}>{} {transform}", edge.from.0, edge.to.0);
    }
    out.trim_end().to_owned()
}
