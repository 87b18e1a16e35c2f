//! What kind of address a peer named, and whether the address that signalling came from may help (media.md, "Learning
//! the source"). Decides nothing about packets.

use core::net::{IpAddr, Ipv4Addr};

/// What an address in an SDP says about where it can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressKind {
    /// Reachable from anywhere.
    Public,
    /// RFC 1918, or unique local (RFC 4193).
    Private,
    /// Shared address space of carrier-grade NAT (RFC 6598).
    Cgnat,
    /// The host itself.
    Loopback,
    /// One link only.
    LinkLocal,
    /// 0.0.0.0 or ::, "none".
    Unspecified,
    /// A group.
    Multicast,
    /// 255.255.255.255, or reserved (240.0.0.0/4, 0.0.0.0/8).
    Broadcast,
}

impl AddressKind {
    /// Whether media must never be sent there, whoever asks.
    pub fn is_refused(self) -> bool {
        matches!(self, Self::Multicast | Self::Broadcast)
    }

    /// Stable name, as in `calls show`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::Cgnat => "cgnat",
            Self::Loopback => "loopback",
            Self::LinkLocal => "link_local",
            Self::Unspecified => "unspecified",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
        }
    }
}

/// Classifies an address; IPv4 inside IPv6 counts as IPv4.
pub fn address_kind(address: IpAddr) -> AddressKind {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4_kind(v4),
        IpAddr::V6(v6) => {
            let first = v6.segments()[0];
            if v6.is_unspecified() {
                AddressKind::Unspecified
            } else if v6.is_loopback() {
                AddressKind::Loopback
            } else if v6.is_multicast() {
                AddressKind::Multicast
            } else if first & 0xffc0 == 0xfe80 {
                AddressKind::LinkLocal
            } else if first & 0xfe00 == 0xfc00 {
                AddressKind::Private
            } else {
                AddressKind::Public
            }
        }
    }
}

fn v4_kind(v4: Ipv4Addr) -> AddressKind {
    let [a, b, ..] = v4.octets();
    if v4.is_unspecified() {
        AddressKind::Unspecified
    } else if v4.is_loopback() {
        AddressKind::Loopback
    } else if v4.is_private() {
        AddressKind::Private
    } else if a == 100 && b & 0xc0 == 64 {
        AddressKind::Cgnat
    } else if v4.is_link_local() {
        AddressKind::LinkLocal
    } else if v4.is_multicast() {
        AddressKind::Multicast
    } else if a >= 240 || a == 0 {
        AddressKind::Broadcast
    } else {
        AddressKind::Public
    }
}

/// The address that SIP came from, where it outranks a stranger when a source is learned: only if the SDP's address
/// cannot be reached from afar (private, CGNAT, link-local, loopback) and the SIP source is not of that kind itself.
pub fn signalling_rank(in_sdp: Option<IpAddr>, sip_source: Option<IpAddr>) -> Option<IpAddr> {
    let (in_sdp, sip_source) = (in_sdp?, sip_source?);
    (is_hidden(in_sdp) && !is_hidden(sip_source)).then_some(sip_source)
}

fn is_hidden(address: IpAddr) -> bool {
    match address_kind(address) {
        AddressKind::Private | AddressKind::Cgnat | AddressKind::Loopback | AddressKind::LinkLocal => true,
        AddressKind::Public | AddressKind::Unspecified | AddressKind::Multicast | AddressKind::Broadcast => {
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_follow_the_registries() {
        for (text, kind) in [
            ("198.51.100.7", AddressKind::Public),
            ("10.0.0.5", AddressKind::Private),
            ("172.31.255.1", AddressKind::Private),
            ("172.32.0.1", AddressKind::Public),
            ("100.64.0.1", AddressKind::Cgnat),
            ("100.128.0.1", AddressKind::Public),
            ("127.0.0.1", AddressKind::Loopback),
            ("169.254.1.1", AddressKind::LinkLocal),
            ("0.0.0.0", AddressKind::Unspecified),
            ("0.0.0.9", AddressKind::Broadcast),
            ("224.0.0.1", AddressKind::Multicast),
            ("255.255.255.255", AddressKind::Broadcast),
            ("2001:db8::1", AddressKind::Public),
            ("fd00::1", AddressKind::Private),
            ("fe80::1", AddressKind::LinkLocal),
            ("ff02::1", AddressKind::Multicast),
            ("::", AddressKind::Unspecified),
            ("::1", AddressKind::Loopback),
            ("::ffff:10.0.0.1", AddressKind::Private),
        ] {
            assert_eq!(address_kind(text.parse().expect("an address")), kind, "{text}");
        }
    }

    #[test]
    fn signalling_helps_only_a_hidden_address() {
        let at = |text: &str| Some(text.parse::<IpAddr>().expect("an address"));
        assert_eq!(signalling_rank(at("10.0.0.5"), at("198.51.100.7")), at("198.51.100.7"));
        assert_eq!(signalling_rank(at("100.64.0.5"), at("198.51.100.7")), at("198.51.100.7"));
        assert_eq!(signalling_rank(at("203.0.113.5"), at("198.51.100.7")), None);
        assert_eq!(signalling_rank(at("10.0.0.5"), at("192.168.0.7")), None);
        assert_eq!(signalling_rank(None, at("198.51.100.7")), None);
    }
}
