//! A media shard without sockets: the real bridges, with ports that are only numbers.

use base::{Instant, Now, Rng};
use command::{Command, Event, Generation, OpenRefusal, OpenedPort, PortWant};
use core::net::SocketAddr;
use media::{Bridges, BridgesConfig, OpenPort, Packet, Slot, Unsupported};
use std::collections::BTreeMap;

/// One media shard. Its port numbers are its own: the port says the shard.
pub struct MediaShard {
    pub number: u8,
    pub generation: u32,
    pub bridges: Bridges,
    by_port: BTreeMap<u16, Slot>,
    local: BTreeMap<Slot, SocketAddr>,
    free: Vec<u32>,
    next_port: u16,
    /// Port pairs that may be open at once.
    pub pairs_max: usize,
    events: Vec<Event>,
}

const SLOTS: u32 = 4096;
/// Even ports a shard has.
const PORTS: u16 = 10_000;

impl MediaShard {
    pub fn new(now: Now, number: u8, generation: u32, rng: Rng) -> Self {
        let config = BridgesConfig {
            shard: number,
            bridges_max: 1024,
            slots_max: SLOTS,
            events_max: 4096,
            orphan: base::Duration::from_secs(300),
            own: vec![super::world::SBC.ip()],
            rng,
        };
        MediaShard {
            number,
            generation,
            bridges: Bridges::new(now, config),
            by_port: BTreeMap::new(),
            local: BTreeMap::new(),
            free: (0..SLOTS / 2).rev().collect(),
            next_port: MediaShard::first(number),
            pairs_max: usize::MAX,
            events: Vec::new(),
        }
    }

    fn first(number: u8) -> u16 {
        20_000 + u16::from(number) * 2 * PORTS
    }

    /// Ports of a dead shard rest; the successor goes on behind them.
    pub fn inherit(&mut self, dead: &MediaShard) {
        self.next_port = dead.next_port;
        self.pairs_max = dead.pairs_max;
    }

    /// Whether a local port is one of this shard's.
    pub fn owns(&self, port: u16) -> bool {
        (MediaShard::first(self.number)..MediaShard::first(self.number) + 2 * PORTS).contains(&port)
    }

    /// Port pairs that are open.
    pub fn pairs_open(&self) -> usize {
        self.by_port.len() / 2
    }

    pub fn handle_command(&mut self, now: Now, command: Command) {
        match command {
            Command::Hello { signalling, generation } => self.bridges.hello(now, signalling, generation),
            Command::Open { bridge, want } => {
                let event = match self.open(now, bridge, &want) {
                    Ok(ports) => Event::Opened { bridge, ports },
                    Err(why) => Event::Refused { bridge, why },
                };
                self.events.push(event);
            }
            Command::Set { bridge, spec } => {
                if let Err(Unsupported(what)) = self.bridges.set(now, bridge, &spec) {
                    self.events.push(Event::Unsupported { bridge, ticket: None, what });
                }
            }
            Command::Close { bridge } => self.close(now, bridge),
            Command::Report { bridge, ticket } => {
                let report = Box::new(self.bridges.report(now, bridge).unwrap_or_default());
                self.events.push(Event::Report { bridge, ticket, report });
            }
            Command::Order { .. } | Command::Panic => panic!("signalling asks for what it cannot have"),
        }
    }

    fn open(
        &mut self,
        now: Now,
        bridge: command::BridgeId,
        want: &[PortWant],
    ) -> Result<Vec<OpenedPort>, OpenRefusal> {
        if self.pairs_open() + want.len() > self.pairs_max || !self.bridges.has_room(bridge, want.len()) {
            return Err(OpenRefusal::NoPorts);
        }
        let mut opened = Vec::new();
        for want in want {
            let pair = self.free.pop().ok_or(OpenRefusal::NoPorts)?;
            let (rtp, rtcp) = (Slot(pair * 2), Slot(pair * 2 + 1));
            // Every port is used once, so that a late packet of one call is never taken for another's.
            let number = self.next_port;
            self.next_port += 2;
            assert!(self.owns(number), "the world is longer than the port range");
            let local = SocketAddr::new(want.address, number);
            let port = self.bridges.next_port(bridge);
            self.bridges.open(now, bridge, OpenPort { port, local, rtp, rtcp })?;
            for (slot, number) in [(rtp, number), (rtcp, number + 1)] {
                self.by_port.insert(number, slot);
                self.local.insert(slot, SocketAddr::new(want.address, number));
            }
            opened.push(OpenedPort { port, local });
        }
        Ok(opened)
    }

    fn close(&mut self, now: Now, bridge: command::BridgeId) {
        let mut freed = Vec::new();
        let report = self.bridges.close(now, bridge, |rtp, rtcp| freed.push((rtp, rtcp)));
        for (rtp, rtcp) in freed {
            for slot in [rtp, rtcp] {
                let local = self.local.remove(&slot).expect("an open slot has an address");
                self.by_port.remove(&local.port());
            }
            self.free.push(rtp.0 / 2);
        }
        self.events.push(Event::Closed { bridge, report: Box::new(report.unwrap_or_default()) });
    }

    /// A datagram for one of its ports; what is to be sent: from, to, bytes.
    pub fn handle_packet(
        &mut self,
        now: Now,
        port: u16,
        source: SocketAddr,
        bytes: &[u8],
    ) -> Option<(SocketAddr, SocketAddr, Vec<u8>)> {
        let slot = *self.by_port.get(&port)?;
        let mut buffer = [0; 2048];
        buffer[..bytes.len()].copy_from_slice(bytes);
        let mut packet = Packet { buffer: &mut buffer, len: bytes.len(), truncated: false };
        let hop = self.bridges.handle_packet(now, slot, source, &mut packet).ok()??;
        let len = packet.len;
        Some((self.local[&hop.slot], hop.target, buffer[..len].to_vec()))
    }

    pub fn handle_timeout(&mut self, now: Now) {
        self.bridges.handle_timeout(now);
        while let Some(orphan) = self.bridges.poll_orphan() {
            self.close(now, orphan);
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.bridges.poll_timeout().map(|(at, _)| at)
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(event) = self.bridges.poll_event() {
            return Some(event);
        }
        (!self.events.is_empty()).then(|| self.events.remove(0))
    }

    /// What it says when it has started.
    pub fn started(&self) -> Event {
        Event::Started { shard: self.number, generation: Generation(self.generation) }
    }
}
