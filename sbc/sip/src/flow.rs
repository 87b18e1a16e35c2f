//! Where a message came from and where one goes: transport, listener, addresses and, for streams, the connection.
//! Plain data; resolving names and opening connections is the shell's (RFC 3261 section 18, RFC 5626 "flow").

use core::fmt;
use std::net::{IpAddr, SocketAddr};

/// How SIP travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Datagrams: the transaction layer repeats what may be lost.
    Udp,
    /// A plain stream.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// WebSocket (RFC 7118).
    Ws,
    /// WebSocket over TLS.
    Wss,
}

impl Transport {
    /// Whether the transport itself repeats what is lost, so that transactions need not.
    pub fn is_reliable(self) -> bool {
        self != Transport::Udp
    }

    /// As written in a Via: `SIP/2.0/UDP`.
    pub fn via(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
            Transport::Ws => "WS",
            Transport::Wss => "WSS",
        }
    }

    /// As written in a URI: `;transport=udp`.
    pub fn param(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::Ws => "ws",
            Transport::Wss => "wss",
        }
    }

    /// Reads the name of a Via or of a `transport` parameter, in any case; `None` for one that we do not speak.
    pub fn parse(name: &[u8]) -> Option<Transport> {
        [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss]
            .into_iter()
            .find(|t| name.eq_ignore_ascii_case(t.param().as_bytes()))
    }

    /// The port where none is written (RFC 3261 section 19.1.2, RFC 7118 section 5.3).
    pub fn default_port(self) -> u16 {
        match self {
            Transport::Udp | Transport::Tcp => 5060,
            Transport::Tls => 5061,
            Transport::Ws => 80,
            Transport::Wss => 443,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.param())
    }
}

/// Names one connection; a connection that has gone is never mistaken for its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId {
    /// Place in the shell's table of connections.
    pub index: u32,
    /// How often the place had been taken.
    pub generation: u32,
}

/// The way that a message came: replies go back on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// How it travelled.
    pub transport: Transport,
    /// Which of our listeners received it.
    pub listener: u16,
    /// Our address, as the peer sent to it.
    pub local: SocketAddr,
    /// The peer's address, as we saw it.
    pub remote: SocketAddr,
    /// The connection, for streams.
    pub stream: Option<FlowId>,
}

/// The way that a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// How it travels.
    pub transport: Transport,
    /// From which of our listeners.
    pub listener: u16,
    /// From which of our addresses, where the listener has several; `None` leaves it to the shell.
    pub local: Option<SocketAddr>,
    /// To whom.
    pub remote: SocketAddr,
    /// On which connection; `None` lets the shell find or open one.
    pub stream: Option<FlowId>,
}

impl Flow {
    /// Back to where this came from.
    pub fn back(&self) -> Target {
        Target {
            transport: self.transport,
            listener: self.listener,
            local: Some(self.local),
            remote: self.remote,
            stream: self.stream,
        }
    }
}

impl Target {
    /// Whether one host may be reached there: no broadcast, no group, no "any", no port 0. What strangers write
    /// into a message must not make us send to many.
    pub fn is_unicast(&self) -> bool {
        let one_host = match self.remote.ip() {
            IpAddr::V4(ip) => !(ip.is_multicast() || ip.is_broadcast() || ip.is_unspecified()),
            IpAddr::V6(ip) => !(ip.is_multicast() || ip.is_unspecified()),
        };
        one_host && self.remote.port() != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports_read_back_in_any_case() {
        for name in ["udp", "TCP", "Tls", "WS", "wss"] {
            let transport = Transport::parse(name.as_bytes()).unwrap();
            assert!(
                transport.via().eq_ignore_ascii_case(name) && transport.param().eq_ignore_ascii_case(name)
            );
        }
        assert_eq!(Transport::parse(b"sctp"), None);
    }

    #[test]
    fn groups_and_broadcast_are_no_targets() {
        for (remote, fine) in [
            ("192.0.2.1:5060", true),
            ("[2001:db8::1]:5060", true),
            ("255.255.255.255:5060", false),
            ("224.0.1.75:5060", false),
            ("0.0.0.0:5060", false),
            ("[ff02::1]:5060", false),
            ("192.0.2.1:0", false),
        ] {
            let remote = remote.parse().unwrap();
            let target = Target { transport: Transport::Udp, listener: 0, local: None, remote, stream: None };
            assert_eq!(target.is_unicast(), fine, "{remote}");
        }
    }
}
