//! Two peers, A and B, and the bridge between them; time moves when the test says so.

use base::{Duration, Instant, Now, Rng, Wall};
use command::spec::{Audience, Rewrite};
use command::{
    BridgeId, BridgeReport, BridgeSpec, EdgeSpec, Event, Party, Payload, Phase, PortIndex, PortReport,
    PortSpec, Remote, RemoteTag, Timeouts, Transform, Verdict,
};
use media::wire::rtp::Header;
use media::{Bridges, BridgesConfig, OpenPort, Packet, Slot, Unsupported};
use std::net::SocketAddr;

/// What the SDPs say, and strangers.
pub const A: &str = "192.0.2.1:4000";
pub const B: &str = "198.51.100.1:5000";
pub const STRANGER: &str = "203.0.113.66:6666";

/// The sockets of the bridge.
pub const A_RTP: u32 = 0;
pub const A_RTCP: u32 = 1;
pub const B_RTP: u32 = 2;
pub const B_RTCP: u32 = 3;

pub struct World {
    pub bridges: Bridges,
    pub id: BridgeId,
    pub spec: BridgeSpec,
    ms: u64,
}

/// A packet that left: the socket's number, the target, and its bytes.
pub type Passed = (u32, String, Vec<u8>);

/// Where a packet went: the socket's number and the target.
pub type Outcome = Result<(u32, String), Verdict>;

pub fn config() -> BridgesConfig {
    BridgesConfig {
        shard: 0,
        bridges_max: 8,
        slots_max: 64,
        events_max: 64,
        orphan: Duration::from_secs(300),
        own: vec!["10.0.0.1".parse().unwrap()],
        rng: Rng::from_seed(1),
    }
}

pub fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub fn remote(tag: u32, rtp: &str) -> Remote {
    let rtp = (!rtp.is_empty()).then(|| address(rtp));
    Remote { tag: RemoteTag(tag), rtp, rtcp: None, sends: true, receives: true, keys: None, sealed: false }
}

pub fn port(index: u16, rtp: &str) -> PortSpec {
    let payload = |number, encoding: &str| Payload {
        number,
        clock: 8000,
        encoding: encoding.into(),
        fmtp: String::new(),
    };
    PortSpec {
        port: PortIndex(index),
        party: Party(index),
        remotes: vec![remote(0, rtp)],
        active: Some(RemoteTag(0)),
        payloads: vec![payload(0, "pcmu"), payload(8, "pcma"), payload(101, "telephone-event")],
        dscp: 46,
        ..PortSpec::default()
    }
}

pub fn relay() -> Transform {
    Transform::Relay { payload_map: Vec::new(), rewrite: None }
}

pub fn rewritten(ssrc: u32, sequence_offset: u16, timestamp_offset: u32) -> Transform {
    let rewrite = Some(Rewrite { ssrc, sequence_offset, timestamp_offset });
    Transform::Relay { payload_map: Vec::new(), rewrite }
}

pub fn edge(from: u16, to: u16, transform: Transform) -> EdgeSpec {
    let (from, to) = (PortIndex(from), PortIndex(to));
    EdgeSpec { from, to, transform, gain_centibel: 0, audience: Audience::All }
}

/// An RTP packet of 160 bytes of µ-law.
pub fn rtp(ssrc: u32, sequence: u16) -> Vec<u8> {
    rtp_with(Header { ssrc, sequence, timestamp: u32::from(sequence) * 160, ..Header::default() })
}

pub fn rtp_with(header: Header) -> Vec<u8> {
    let mut packet = header.to_bytes().to_vec();
    packet.extend([0x55; 160]);
    packet
}

/// One part of RTCP.
pub fn rtcp(head: u8, kind: u8, words: &[u32]) -> Vec<u8> {
    let mut bytes = vec![head, kind];
    bytes.extend((words.len() as u16).to_be_bytes());
    words.iter().for_each(|word| bytes.extend(word.to_be_bytes()));
    bytes
}

/// A receiver report without blocks.
pub fn report_of(ssrc: u32) -> Vec<u8> {
    rtcp(0x80, 201, &[ssrc])
}

impl World {
    /// A relayed call that has just been answered.
    pub fn new() -> Self {
        World::with(|_| {})
    }

    /// The same, changed before it is set for the first time.
    pub fn with(change: impl FnOnce(&mut BridgeSpec)) -> Self {
        let mut spec = BridgeSpec {
            phase: Phase::Active,
            timeouts: Timeouts::default(),
            ports: vec![port(0, A), port(1, B)],
            edges: vec![edge(0, 1, relay()), edge(1, 0, relay())],
            room: None,
        };
        change(&mut spec);
        let mut world = World {
            bridges: Bridges::new(now(0), config()),
            id: BridgeId::new(0, 0, 3, 1),
            spec: spec.clone(),
            ms: 0,
        };
        let ports = spec.ports.iter().map(|port| port.port.0 + 1).max().unwrap_or(0).max(2);
        for index in 0..ports {
            world.open(index);
        }
        world.bridges.set(now(0), world.id, &spec).unwrap();
        world
    }

    fn open(&mut self, index: u16) {
        let slot = u32::from(index) * 2;
        let local = SocketAddr::new("10.0.0.1".parse().unwrap(), 30_000 + index * 2);
        let open = OpenPort { port: PortIndex(index), local, rtp: Slot(slot), rtcp: Slot(slot + 1) };
        self.bridges.open(self.now(), self.id, open).unwrap();
    }

    pub fn now(&self) -> Now {
        now(self.ms)
    }

    pub fn wait(&mut self, ms: u64) {
        self.ms += ms;
    }

    /// Changes the spec and sets it.
    pub fn set(&mut self, change: impl FnOnce(&mut BridgeSpec)) {
        assert_eq!(self.try_set(change), Ok(()));
    }

    pub fn try_set(&mut self, change: impl FnOnce(&mut BridgeSpec)) -> Result<(), Unsupported> {
        change(&mut self.spec);
        self.bridges.set(self.now(), self.id, &self.spec)
    }

    /// A packet comes; where it goes.
    pub fn send(&mut self, slot: u32, source: &str, bytes: &[u8]) -> Outcome {
        self.pass(slot, source, bytes).map(|(slot, target, _)| (slot, target))
    }

    /// A packet comes; where it goes and how it looks then.
    pub fn pass(&mut self, slot: u32, source: &str, bytes: &[u8]) -> Result<Passed, Verdict> {
        self.take(slot, source, bytes).map(|passed| passed.expect("it passes rather than being decoded"))
    }

    /// The same; `None` if it is decoded.
    pub fn take(&mut self, slot: u32, source: &str, bytes: &[u8]) -> Result<Option<Passed>, Verdict> {
        let mut buffer = [0; 2048];
        buffer[..bytes.len()].copy_from_slice(bytes);
        let mut packet = Packet { buffer: &mut buffer, len: bytes.len(), truncated: false };
        let hop = self.bridges.handle_packet(now(self.ms), Slot(slot), address(source), &mut packet)?;
        Ok(hop.map(|hop| (hop.slot.0, hop.target.to_string(), packet.buffer[..packet.len].to_vec())))
    }

    /// Packets `from..to` of one stream, 20 ms apart; the outcome of the last.
    pub fn talk(&mut self, slot: u32, source: &str, ssrc: u32, numbers: std::ops::Range<u16>) -> Outcome {
        let mut last = Err(Verdict::Idle);
        for sequence in numbers {
            last = self.send(slot, source, &rtp(ssrc, sequence));
            self.wait(20);
        }
        last
    }

    /// Lets time pass with all timers, to the end or to the first event.
    pub fn run(&mut self, ms: u64) -> Vec<Event> {
        let end = self.ms + ms;
        loop {
            let events = self.events();
            let next =
                self.bridges.poll_timeout().map_or(u64::MAX, |(at, _)| at.0.div_ceil(1_000_000) - START_MS);
            if !events.is_empty() || next > end {
                self.ms = if events.is_empty() { end } else { self.ms };
                return events;
            }
            self.ms = self.ms.max(next);
            self.bridges.handle_timeout(now(self.ms));
        }
    }

    pub fn ms(&self) -> u64 {
        self.ms
    }

    pub fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.bridges.poll_event()).collect()
    }

    pub fn report(&self) -> BridgeReport {
        self.bridges.report(now(self.ms), self.id).unwrap()
    }

    pub fn port(&self, index: usize) -> PortReport {
        self.report().ports[index].clone()
    }

    pub fn dropped(&self, index: usize, verdict: Verdict) -> u64 {
        self.port(index).dropped.iter().find(|(v, _)| *v == verdict).map_or(0, |(_, n)| *n)
    }
}

pub fn now(ms: u64) -> Now {
    Now { mono: Instant((ms + START_MS) * 1_000_000), wall: Wall(0) }
}

/// Late enough for times before the beginning.
const START_MS: u64 = 10_000;

/// What a hop should be.
pub fn to(slot: u32, target: &str) -> Outcome {
    Ok((slot, target.into()))
}
