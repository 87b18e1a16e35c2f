//! A running shard, the signalling shard that owns its bridges, and phones on loopback.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::disallowed_methods, reason = "tests with real sockets wait in real time")]

use base::{Clock, Duration, Mailbox, Wake};
use command::{
    BridgeId, BridgeReport, BridgeSpec, Command, EdgeSpec, Event, OpenRefusal, Party, Payload, Phase,
    PortIndex, PortSpec, PortWant, Remote, RemoteTag, Ticket, Timeouts, Transform,
};
use shard::{BackendChoice, MediaListener, ShardConfig, ShardHandle};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread::{self, Thread};
use std::time::Instant;

pub const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
pub const PATIENCE: Duration = Duration::from_secs(10);

pub struct World {
    pub shard: ShardHandle,
    pub events: Mailbox<Event>,
    serial: u64,
}

struct Unpark(Thread);
impl Wake for Unpark {
    fn wake(&self) {
        self.0.unpark();
    }
}

/// A signalling shard's ring, read by the calling thread.
pub fn ring(capacity: usize) -> Mailbox<Event> {
    Mailbox::new(capacity, Unpark(thread::current()))
}

/// Listener 0 on both loopback addresses, ports chosen by the system.
pub fn config(back_end: BackendChoice) -> ShardConfig {
    let listener = |address| MediaListener { listener: 0, address, ports: 0..=0 };
    let mut config = ShardConfig::new(Clock::start(), 7);
    config.listeners = vec![listener(V4), listener(V6)];
    config.back_end = back_end;
    config.pairs_max = 2_000;
    config
}

impl World {
    pub fn start(back_end: BackendChoice) -> World {
        World::with(config(back_end), ring(1024))
    }

    pub fn with(mut config: ShardConfig, events: Mailbox<Event>) -> World {
        config.events = vec![events.clone()];
        let shard = shard::spawn(config).unwrap();
        let mut world = World { shard, events, serial: 0 };
        assert!(matches!(world.event(), Event::Started { .. }));
        world
    }

    pub fn bridge(&mut self) -> BridgeId {
        self.serial += 1;
        BridgeId::new(0, 0, 0, self.serial)
    }

    pub fn command(&self, command: Command) {
        self.shard.commands().send(command).unwrap();
    }

    /// The next event, waited for.
    pub fn event(&mut self) -> Event {
        let asked = Instant::now();
        loop {
            if let Some(event) = self.events.receive() {
                return event;
            }
            assert!(asked.elapsed() < PATIENCE, "no event came");
            if self.events.sleep() {
                // May end early: an older wake-up has left its mark.
                thread::park_timeout(PATIENCE);
            }
            self.events.awake();
        }
    }

    /// The next event that is an answer; news is passed over.
    pub fn answer(&mut self) -> Event {
        loop {
            match self.event() {
                Event::Learned { .. } | Event::Foreign { .. } | Event::OneSideSilent { .. } => {}
                event => return event,
            }
        }
    }

    pub fn try_open(
        &mut self,
        bridge: BridgeId,
        addresses: &[IpAddr],
    ) -> Result<Vec<SocketAddr>, OpenRefusal> {
        let want = addresses.iter().map(|address| PortWant { listener: 0, address: *address }).collect();
        self.command(Command::Open { bridge, want });
        match self.answer() {
            Event::Opened { bridge: whose, ports } => {
                assert_eq!(whose, bridge);
                assert!(ports.iter().map(|port| port.port).eq((0..).map(PortIndex).take(ports.len())));
                Ok(ports.iter().map(|port| port.local).collect())
            }
            Event::Refused { bridge: whose, why } => {
                assert_eq!(whose, bridge);
                Err(why)
            }
            other => panic!("{other:?}"),
        }
    }

    /// A call between two phones.
    pub fn call(&mut self, a: &Phone, b: &Phone) -> (BridgeId, SocketAddr, SocketAddr) {
        let bridge = self.bridge();
        let ports = self.try_open(bridge, &[a.rtp_at.ip(), b.rtp_at.ip()]).unwrap();
        self.command(Command::Set { bridge, spec: Box::new(relay(&[a, b])) });
        (bridge, ports[0], ports[1])
    }

    pub fn report(&mut self, bridge: BridgeId) -> BridgeReport {
        self.serial += 1;
        let asked = Ticket(self.serial);
        self.command(Command::Report { bridge, ticket: asked });
        match self.answer() {
            Event::Report { bridge: whose, ticket, report } if whose == bridge && ticket == asked => *report,
            other => panic!("{other:?}"),
        }
    }

    pub fn close(&mut self, bridge: BridgeId) -> BridgeReport {
        self.command(Command::Close { bridge });
        match self.answer() {
            Event::Closed { bridge: whose, report } if whose == bridge => *report,
            other => panic!("{other:?}"),
        }
    }
}

/// A peer's pair of sockets.
pub struct Phone {
    pub rtp: UdpSocket,
    pub rtcp: UdpSocket,
    pub rtp_at: SocketAddr,
    pub rtcp_at: SocketAddr,
}

impl Phone {
    pub fn at(address: IpAddr) -> Phone {
        let bind = || {
            let socket = UdpSocket::bind((address, 0)).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket
        };
        let (rtp, rtcp) = (bind(), bind());
        let (rtp_at, rtcp_at) = (rtp.local_addr().unwrap(), rtcp.local_addr().unwrap());
        Phone { rtp, rtcp, rtp_at, rtcp_at }
    }
}

pub fn odd(even: SocketAddr) -> SocketAddr {
    SocketAddr::new(even.ip(), even.port() + 1)
}

/// Two parties; what comes from either goes to the other.
pub fn relay(phones: &[&Phone]) -> BridgeSpec {
    let ports = phones.iter().zip(0..).map(|(phone, index)| port(index, phone)).collect();
    let edge = |from, to| EdgeSpec {
        from: PortIndex(from),
        to: PortIndex(to),
        transform: Transform::Relay { payload_map: Vec::new(), rewrite: None },
        gain_centibel: 0,
        audience: command::spec::Audience::All,
    };
    let timeouts = Timeouts { both: None, one: None, hold: None };
    BridgeSpec { phase: Phase::Active, timeouts, ports, edges: vec![edge(0, 1), edge(1, 0)], room: None }
}

fn port(index: u16, phone: &Phone) -> PortSpec {
    let remote = Remote {
        tag: RemoteTag(1),
        rtp: Some(phone.rtp_at),
        rtcp: Some(phone.rtcp_at),
        sends: true,
        receives: true,
        keys: None,
        sealed: false,
    };
    PortSpec {
        port: PortIndex(index),
        party: Party(index),
        remotes: vec![remote],
        active: Some(RemoteTag(1)),
        payloads: vec![Payload { number: 0, clock: 8000, encoding: "pcmu".into(), fmtp: String::new() }],
        ..PortSpec::default()
    }
}

/// An RTP packet of PCMU (RFC 3550) with a payload of `len` bytes that depend on its number.
pub fn rtp(ssrc: u32, sequence: u16, len: usize) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend((0..len).map(|i| (i as u8).wrapping_mul(31).wrapping_add(sequence as u8)));
    packet
}

/// An empty receiver report with a CNAME (RFC 3550 sections 6.4.2 and 6.5).
pub fn rtcp(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0x81, 202, 0, 3]);
    packet.extend(ssrc.to_be_bytes());
    packet.extend([1, 4, b'a', b'@', b'b', b'c', 0, 0]);
    packet
}

/// Receives one packet and says from where.
pub fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 4096];
    let (len, from) = socket.recv_from(&mut buffer).expect("a packet in time");
    (buffer[..len].to_vec(), from)
}
