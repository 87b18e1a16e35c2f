//! A media socket of a party: sends RTP by order and counts what it hears.

use super::{SOON, wait_for};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

/// One RTP address. SIPp puts it into its SDP; packets are the test's own.
pub struct Ear {
    socket: UdpSocket,
    sequence: std::cell::Cell<u16>,
    ssrc: u32,
    heard: std::cell::RefCell<Vec<Vec<u8>>>,
}

/// Octets of a packet of 20 ms of G.711.
const PACKET: usize = 12 + 160;

impl Ear {
    /// An even port at this address.
    pub fn at(ip: impl Into<IpAddr>) -> Ear {
        let ip = ip.into();
        let socket = (0..64)
            .map(|_| UdpSocket::bind((ip, 0)).expect("a port of our own address"))
            .find(|socket| socket.local_addr().is_ok_and(|a| a.port() % 2 == 0))
            .expect("every second port is even");
        socket.set_nonblocking(true).expect("a socket");
        let port = socket.local_addr().expect("bound").port();
        Ear { socket, sequence: 1.into(), ssrc: 0x5151_0000 | u32::from(port), heard: Vec::new().into() }
    }

    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("a bound socket")
    }

    /// One packet whose payload is `mark`, 160 times.
    pub fn say(&self, to: SocketAddr, mark: u8) {
        let sequence = self.sequence.replace(self.sequence.get().wrapping_add(1));
        let mut packet = vec![mark; PACKET];
        packet[..2].copy_from_slice(&[0x80, 0]);
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        packet[4..8].copy_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
        packet[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        let _ = self.socket.send_to(&packet, to);
    }

    /// Packets heard so far that carry this mark.
    pub fn heard(&self, mark: u8) -> usize {
        let mut buffer = [0; 2048];
        while let Ok((len, _)) = self.socket.recv_from(&mut buffer) {
            self.heard.borrow_mut().push(buffer[..len].to_vec());
        }
        let of_mark = |p: &&Vec<u8>| p.len() == PACKET && p[12..].iter().all(|b| *b == mark);
        self.heard.borrow().iter().filter(of_mark).count()
    }

    /// Talks to `to` until `other` has heard ten packets of it.
    pub fn is_heard_by(&self, other: &Ear, to: SocketAddr, mark: u8) {
        let before = other.heard(mark);
        wait_for(&format!("ten packets with mark {mark} to be heard"), SOON, || {
            self.say(to, mark);
            (other.heard(mark) >= before + 10).then_some(())
        });
    }

    /// Talks to `to` for a while; `other` must hear nothing of it.
    pub fn is_not_heard_by(&self, other: &Ear, to: SocketAddr, mark: u8) {
        const PACKETS: usize = 40;
        let before = other.heard(mark);
        for _ in 0..PACKETS {
            self.say(to, mark);
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(other.heard(mark), before, "nothing with mark {mark} is heard");
    }
}
