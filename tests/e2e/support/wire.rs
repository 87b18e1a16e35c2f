//! Media sockets of a test: a pair of ports for RTP and RTCP that send and receive whole packets.

use super::SOON;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// RTP on an even port, RTCP on the next.
pub struct Wire {
    pub rtp: Socket,
    pub rtcp: Socket,
}

/// One socket; packets that come are taken in order.
pub struct Socket(UdpSocket);

impl Wire {
    /// A pair of ports at this address.
    pub fn at(ip: impl Into<IpAddr>) -> Wire {
        let ip = ip.into();
        for _ in 0..256 {
            let rtp = UdpSocket::bind((ip, 0)).expect("a port of our own address");
            let port = rtp.local_addr().expect("bound").port();
            if port.is_multiple_of(2)
                && let Ok(rtcp) = UdpSocket::bind((ip, port + 1))
            {
                return Wire { rtp: Socket(rtp), rtcp: Socket(rtcp) };
            }
        }
        panic!("no pair of ports at {ip}");
    }

    pub fn address(&self) -> SocketAddr {
        self.rtp.address()
    }

    /// Talks to `to` until `other` hears it: the way is open and the source is known.
    pub fn reach(&self, to: SocketAddr, other: &Wire, ssrc: u32) {
        let end = Instant::now() + SOON;
        for seq in 0u16.. {
            let packet = rtp(0, seq, u32::from(seq) * 160, ssrc, &[0x55; 160]);
            self.rtp.send(to, &packet);
            if other.rtp.receive_within(Duration::from_millis(20)).is_some() {
                break;
            }
            assert!(Instant::now() < end, "{} is not heard through {to}", self.address());
        }
        other.rtp.drain();
    }
}

impl Socket {
    /// Any port at this address.
    pub fn any(ip: impl Into<IpAddr>) -> Socket {
        Socket(UdpSocket::bind((ip.into(), 0)).expect("a port of our own address"))
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("a bound socket")
    }

    /// The same socket for another thread.
    pub fn twin(&self) -> Socket {
        Socket(self.0.try_clone().expect("a socket"))
    }

    pub fn send(&self, to: SocketAddr, packet: &[u8]) {
        // An ICMP error of an earlier packet is told here; the next one counts.
        if self.0.send_to(packet, to).is_err() {
            let _ = self.0.send_to(packet, to);
        }
    }

    /// The next packet, or nothing within the time.
    pub fn receive_within(&self, within: Duration) -> Option<(Vec<u8>, SocketAddr)> {
        let mut buffer = vec![0; 65_536];
        self.0.set_read_timeout(Some(within)).expect("a socket");
        let end = Instant::now() + within;
        while Instant::now() < end {
            if let Ok((len, from)) = self.0.recv_from(&mut buffer) {
                buffer.truncate(len);
                return Some((buffer, from));
            }
        }
        None
    }

    /// The next packet; a failure if none comes soon.
    pub fn receive(&self) -> (Vec<u8>, SocketAddr) {
        self.receive_within(SOON).unwrap_or_else(|| panic!("nothing came to {}", self.address()))
    }

    /// The next packet is this one, and comes from there.
    pub fn expect(&self, packet: &[u8], from: SocketAddr) {
        let (got, source) = self.receive();
        assert_eq!(got, packet, "the packet arrives as it was sent");
        assert_eq!(source, from, "it comes from the address of the SDP");
    }

    /// Nothing has come.
    pub fn expect_silence(&self) {
        let came = self.receive_within(Duration::from_millis(30));
        assert!(came.is_none(), "something came to {}: {came:?}", self.address());
    }

    /// Forgets what has come.
    pub fn drain(&self) {
        while self.receive_within(Duration::from_millis(15)).is_some() {}
    }
}

/// An RTP packet (RFC 3550 section 5.1).
pub fn rtp(payload_type: u8, seq: u16, timestamp: u32, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type];
    packet.extend_from_slice(&seq.to_be_bytes());
    packet.extend_from_slice(&timestamp.to_be_bytes());
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

/// An RTCP sender report without blocks and a canonical name (RFC 3550 sections 6.4.1 and 6.5).
pub fn sender_report(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 200, 0, 6];
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(&[0x11; 20]);
    packet.extend_from_slice(&[0x81, 202, 0, 3]);
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(&[1, 4, b't', b'e', b's', b't', 0, 0]);
    packet
}
