//! A ladder as a capture file that tshark reads: classic pcap, raw IP packets. We hold messages, not packets, so IP and
//! UDP headers are made up from the addresses, also for messages that came over TCP.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use ledger::{TraceEntry, TraceView};

/// Link type of packets that begin with the IP header.
const LINKTYPE_RAW: u32 = 101;
/// Most that fits into one UDP datagram over IPv4.
const PAYLOAD_MAX: usize = 65_507;
const UDP: u8 = 17;

/// The messages of a ladder whose bytes are still known.
pub(crate) fn capture(trace: &TraceView) -> Vec<u8> {
    let mut out = Vec::new();
    // microseconds, version 2.4, no offset, no accuracy, snapshot length
    for word in [0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 0x0004_0000, LINKTYPE_RAW] {
        out.extend_from_slice(&u32::to_le_bytes(word));
    }
    for entry in &trace.entries {
        if let Some(raw) = &entry.raw {
            record(entry, raw, &mut out);
        }
    }
    out
}

fn record(entry: &TraceEntry, raw: &[u8], out: &mut Vec<u8>) {
    let (source, target) =
        if entry.received { (entry.remote, entry.local) } else { (entry.local, entry.remote) };
    let packet = packet(source, target, &raw[..raw.len().min(PAYLOAD_MAX)]);
    let length = packet.len() as u32;
    // Seconds of 32 bits are unsigned in pcap and last until 2106.
    for word in [entry.at.seconds() as u32, (entry.at.0 % 1_000_000) as u32, length, length] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(&packet);
}

fn packet(source: SocketAddr, target: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let udp_len = (8 + payload.len()) as u16;
    let mut udp = Vec::with_capacity(usize::from(udp_len));
    for word in [source.port(), target.port(), udp_len, 0] {
        udp.extend_from_slice(&word.to_be_bytes());
    }
    udp.extend_from_slice(payload);
    let mut packet = Vec::with_capacity(40 + udp.len());
    let addresses: Vec<u8> = match (source.ip().to_canonical(), target.ip().to_canonical()) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            packet.extend_from_slice(&[0x45, 0]);
            packet.extend_from_slice(&(20 + udp_len).to_be_bytes());
            packet.extend_from_slice(&[0, 0, 0x40, 0, 64, UDP, 0, 0]);
            let addresses = [source.octets(), target.octets()].concat();
            packet.extend_from_slice(&addresses);
            let checksum = finish(sum(&packet));
            packet[10..12].copy_from_slice(&checksum.to_be_bytes());
            addresses
        }
        (source, target) => {
            packet.extend_from_slice(&[0x60, 0, 0, 0]);
            packet.extend_from_slice(&udp_len.to_be_bytes());
            packet.extend_from_slice(&[UDP, 64]);
            let addresses = [as_v6(source).octets(), as_v6(target).octets()].concat();
            packet.extend_from_slice(&addresses);
            addresses
        }
    };
    // The pseudo header of RFC 768 and RFC 8200: addresses, length, protocol.
    let checksum = finish(sum(&addresses) + u32::from(udp_len) + u32::from(UDP) + sum(&udp));
    // Zero means "none"; its other form is sent instead.
    let checksum = if checksum == 0 { 0xffff } else { checksum };
    udp[6..8].copy_from_slice(&checksum.to_be_bytes());
    packet.extend_from_slice(&udp);
    packet
}

fn as_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// Ones' complement sum, not folded (RFC 1071); 65,535 bytes cannot overflow it.
fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum()
}

fn finish(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn checksums_verify_for_any_addresses(
            source: SocketAddr, target: SocketAddr, payload in proptest::collection::vec(any::<u8>(), 0..300)
        ) {
            let packet = packet(source, target, &payload);
            let (addresses, udp) = match packet[0] >> 4 {
                4 => {
                    prop_assert_eq!(finish(sum(&packet[..20])), 0);
                    (&packet[12..20], &packet[20..])
                }
                _ => (&packet[8..40], &packet[40..]),
            };
            prop_assert_eq!(finish(sum(addresses) + udp.len() as u32 + u32::from(UDP) + sum(udp)), 0);
            prop_assert_eq!(&udp[8..], &payload[..]);
        }
    }
}
