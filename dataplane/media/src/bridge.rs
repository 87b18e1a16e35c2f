//! The bridges of one media shard: what signalling wants, what each packet meets on its way, what was seen.
//! Opens no socket and reads no clock: the shard numbers sockets by [`Slot`] and sends where a [`Hop`] says.

mod learn; // where packets may come from
mod outgoing; // the identity of a stream that is made here, or goes on after that
mod made; // packets made here, until they are sent
mod maker; // speech into packets of one format
mod law; // PCMU to PCMA and back, in place
mod transcode; // one stream to a sink of another codec, driven by arrival
mod relay; // what changes on the way of a relayed packet
mod reports; // RTCP of rewritten streams
mod digits; // digits of a peer, and towards one
mod sounds; // what is played
mod audio; // speech of one port: ear and mouth
mod keys; // encryption towards one peer
mod port; // one port: class, source, counts, targets
mod silence; // the clock of silence
mod packet; // the way of a packet
mod control; // the way of RTCP, and RTCP of our own
mod fit; // what each port decodes and makes, from spec and orders
mod crossing; // seats of ports on other media shards
mod domain; // what ticks together: the mixed ports of a call, or a room
mod stock; // how many bridges do what
mod tick; // one tick of a domain
mod order; // play, digits, recordings

use base::hash::KeyedMap;
use base::{Duration, HashKey, Instant, Key, Now, Rng, Slab, Wheel};
use command::spec::{SINKS_MAX, Secure};
use command::{
    BridgeId, BridgeReport, BridgeSpec, EdgeSpec, Event, Generation, OpenRefusal, PortIndex, Transform,
    Verdict,
};
use core::net::{IpAddr, SocketAddr};
pub use crossing::Crossing;
use domain::Domain;
use made::Made;
pub use order::{Tape, TapeWant};
use port::{Aim, Port};
use relay::Edge;
use silence::Clock;
use std::collections::VecDeque;
pub use stock::{CODECS_MAX, Kind, Stock};

/// One local socket (an RTP or an RTCP address) as the shard numbers it: a dense index from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

/// Where a packet goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The socket that it leaves by.
    pub slot: Slot,
    /// Whom it goes to.
    pub target: SocketAddr,
}

/// A packet's bytes in a buffer of fixed capacity; what happens on the way may change the length.
#[derive(Debug)]
pub struct Packet<'b> {
    /// All of the buffer.
    pub buffer: &'b mut [u8],
    /// How much of it is the packet; at most `buffer.len()`.
    pub len: usize,
    /// The kernel cut it, because it was longer than the buffer.
    pub truncated: bool,
}

/// One pair of sockets that the shard has opened for a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenPort {
    /// Its index in the bridge: [`Bridges::next_port`].
    pub port: PortIndex,
    /// The even address; unspecified on a wildcard listener.
    pub local: SocketAddr,
    /// The socket of the even port.
    pub rtp: Slot,
    /// The socket of the odd port.
    pub rtcp: Slot,
}

/// What one shard's bridges need to know at start.
#[derive(Clone, Debug)]
pub struct BridgesConfig {
    /// The number of this media shard, as in the ids of its bridges.
    pub shard: u8,
    /// Bridges at most.
    pub bridges_max: u32,
    /// Slots at most: slots are below this.
    pub slots_max: u32,
    /// Events that may wait; one more is lost and counted.
    pub events_max: usize,
    /// How long bridges of a dead signalling shard live on.
    pub orphan: Duration,
    /// Addresses of this machine, so that a port on a wildcard listener is known when it would send to itself.
    pub own: Vec<IpAddr>,
    /// For what must not be guessed by peers (CNAMEs).
    pub rng: Rng,
}

/// A spec asks for what this build cannot do; says what, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsupported(pub &'static str);

/// What all bridges of the shard have seen since start.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Packets that were handed in.
    pub packets_in: u64,
    /// Bytes of them.
    pub bytes_in: u64,
    /// Packets that got a hop (every hop counts).
    pub packets_out: u64,
    /// Bytes of them.
    pub bytes_out: u64,
    /// By `Verdict as usize`.
    pub dropped: [u64; Verdict::COUNT],
    /// Events that found the queue full.
    pub events_lost: u64,
    /// Ticks of speech for other shards that found the queue full.
    pub crossings_lost: u64,
}

/// The bridges of one shard.
#[derive(Debug)]
pub struct Bridges {
    /// By slot: whose socket it is.
    slots: Vec<Place>,
    ports: Slab<Port>,
    bridges: Slab<Bridge>,
    bridges_max: u32,
    by_id: KeyedMap<BridgeId, Key>,
    more_hops: Vec<Hop>,
    silences: Wheel<Key>,
    /// Clocks of silence that are being looked at.
    quiet: Vec<(Instant, Key)>,
    /// Bridges without an owner, by the time until which they may live: the time is the same for all, so it is sorted.
    orphans: VecDeque<(Instant, Key)>,
    /// The time of the last `handle_timeout`.
    timed: Instant,
    /// What is due to the millisecond: ticks, gaps, reports.
    pulses: Wheel<Pulse>,
    fired: Vec<(Instant, Pulse)>,
    made: Made,
    /// Speech on its way to other shards; takes memory when the first seat is taken there.
    crossings: VecDeque<crossing::Crossing>,
    shard: u8,
    stock: Stock,
    scratch: Box<Scratch>,
    /// A packet for a sink that gets other bytes than the sinks beside it.
    copy: Box<[u8]>,
    /// How hard encoders try, 0 to 10.
    complexity: u8,
    /// Of each signalling shard.
    generations: Vec<Generation>,
    events: VecDeque<Event>,
    events_max: usize,
    orphan: Duration,
    own: Vec<IpAddr>,
    rng: Rng,
    counters: Counters,
}

/// What is due at a moment. Whoever it is for knows whether it still is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pulse {
    /// A tick of a domain: its bridge.
    Tick(Key),
    /// A transcoder of a port waits for something.
    Coder(Key),
    /// Keys of a port that are told by events.
    Keys(Key),
    /// A port's RTCP report.
    Report(Key),
    /// A bridge is to be fitted anew.
    Fit(Key),
}

/// Room for samples on their way, so that nothing on the packet path needs memory of its own.
#[derive(Debug)]
struct Scratch {
    first: [i16; transcode::SAMPLES_MAX],
    second: [i16; transcode::SAMPLES_MAX],
    sum: [i32; audio::TICK_SAMPLES],
}

/// One bridge: what its ports share.
#[derive(Debug)]
struct Bridge {
    id: BridgeId,
    /// Places, by port index.
    ports: Vec<u32>,
    clock: Clock,
    /// The first foreign source has been told of.
    foreign_told: bool,
    generation: Generation,
    /// Its signalling shard has died: the time until which it lives.
    orphaned: Option<Instant>,
    /// Hides CNAMEs.
    secret: HashKey,
    /// What of it ticks.
    domain: Option<Box<Domain>>,
    /// What it is counted as.
    share: stock::Share,
}

/// Which port a slot belongs to, and whether it is the RTCP one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place(u32);

impl Place {
    const NONE: Place = Place(u32::MAX);

    fn new(port: u32, is_rtcp: bool) -> Self {
        Place(port << 1 | u32::from(is_rtcp))
    }

    fn port(self) -> u32 {
        self.0 >> 1
    }

    fn is_rtcp(self) -> bool {
        self.0 & 1 == 1
    }
}

/// The longest packet of which copies are made.
const COPY_LEN: usize = 2_048;
/// How exact the clocks of silence are.
const SILENCE_TICK: Duration = Duration::from_millis(100);
/// How exact pulses are.
const PULSE_TICK: Duration = Duration::from_millis(1);
/// How hard encoders try while nothing presses.
const COMPLEXITY: u8 = 5;

impl Bridges {
    /// No bridge yet; takes the memory for `slots_max` slots and `events_max` events now.
    pub fn new(now: Now, mut config: BridgesConfig) -> Self {
        let key = HashKey::new([config.rng.u64(), config.rng.u64()]);
        Bridges {
            slots: vec![Place::NONE; config.slots_max as usize],
            ports: Slab::preallocated(config.slots_max / 2),
            bridges: Slab::preallocated(config.bridges_max),
            bridges_max: config.bridges_max,
            by_id: KeyedMap::with_hasher(key),
            more_hops: Vec::with_capacity(SINKS_MAX),
            silences: Wheel::with_room(now.mono, SILENCE_TICK, 1),
            quiet: Vec::with_capacity(16),
            orphans: VecDeque::new(),
            timed: now.mono,
            pulses: Wheel::with_room(now.mono, PULSE_TICK, 4),
            fired: Vec::with_capacity(64),
            made: Made::new(),
            crossings: VecDeque::new(),
            shard: config.shard,
            stock: Stock::default(),
            copy: vec![0; COPY_LEN].into(),
            scratch: Box::new(Scratch {
                first: [0; transcode::SAMPLES_MAX],
                second: [0; transcode::SAMPLES_MAX],
                sum: [0; audio::TICK_SAMPLES],
            }),
            complexity: COMPLEXITY,
            generations: vec![Generation::default(); 256],
            events: VecDeque::with_capacity(config.events_max),
            events_max: config.events_max,
            orphan: config.orphan,
            own: config.own,
            rng: config.rng,
            counters: Counters::default(),
        }
    }

    /// Whether `ports` more ports for this bridge (which may be new) would be taken; ask before binding sockets.
    pub fn has_room(&self, bridge: BridgeId, ports: usize) -> bool {
        let of_bridge = self.bridge(bridge).map_or(0, |bridge| bridge.ports.len());
        let is_known = self.by_id.contains_key(&bridge);
        (is_known || self.bridges.len() < self.bridges_max as usize)
            && self.ports.len() + ports <= self.slots.len() / 2
            && of_bridge + ports <= PORTS_MAX
    }

    /// The index that the next port of this bridge gets; 0 for a new bridge.
    pub fn next_port(&self, bridge: BridgeId) -> PortIndex {
        PortIndex(self.bridge(bridge).map_or(0, |bridge| bridge.ports.len() as u16))
    }

    /// Takes a pair of sockets over for a bridge; the first makes the bridge.
    ///
    /// # Errors
    /// [`OpenRefusal::Full`] when there is no room for it, when a slot is taken or too high, or when the port is not
    /// the next one; nothing has changed then.
    pub fn open(&mut self, now: Now, bridge: BridgeId, open: OpenPort) -> Result<(), OpenRefusal> {
        let is_free = |slot: Slot| self.slots.get(slot.0 as usize) == Some(&Place::NONE);
        if !self.has_room(bridge, 1)
            || open.port != self.next_port(bridge)
            || !(is_free(open.rtp) && is_free(open.rtcp) && open.rtp != open.rtcp)
        {
            return Err(OpenRefusal::Full);
        }
        let key = match self.by_id.get(&bridge) {
            Some(key) => *key,
            None => self.create(now, bridge)?,
        };
        let place = self.ports.insert(Port::new(key, &open)).map_err(|_| OpenRefusal::Full)?.index;
        self.slots[open.rtp.0 as usize] = Place::new(place, false);
        self.slots[open.rtcp.0 as usize] = Place::new(place, true);
        let bridge = self.bridges.get_mut(key).expect("found or made above");
        bridge.ports.push(place);
        self.adopt(key);
        Ok(())
    }

    /// Makes a bridge without ports of its own, if it is new: a room.
    ///
    /// # Errors
    /// [`OpenRefusal::Full`] when there are too many bridges.
    pub fn open_room(&mut self, now: Now, bridge: BridgeId) -> Result<(), OpenRefusal> {
        let key = match self.by_id.get(&bridge) {
            Some(key) => *key,
            None if self.bridges.len() < self.bridges_max as usize => self.create(now, bridge)?,
            None => return Err(OpenRefusal::Full),
        };
        self.adopt(key);
        Ok(())
    }

    fn create(&mut self, now: Now, id: BridgeId) -> Result<Key, OpenRefusal> {
        let bridge = Bridge {
            id,
            ports: Vec::new(),
            clock: Clock::new(now.mono),
            foreign_told: false,
            generation: Generation::default(),
            orphaned: None,
            secret: HashKey::new([self.rng.u64(), self.rng.u64()]),
            domain: None,
            share: stock::Share::default(),
        };
        let key = self.bridges.insert(bridge).map_err(|_| OpenRefusal::Full)?;
        self.by_id.insert(id, key);
        Ok(key)
    }

    /// Its signalling shard has spoken of it: it is no orphan.
    fn adopt(&mut self, key: Key) {
        if let Some(bridge) = self.bridges.get_mut(key) {
            bridge.orphaned = None;
            bridge.generation = self.generations[bridge.id.signalling_shard() % 256];
        }
    }

    /// Makes a bridge what the spec says. The same spec again changes nothing.
    ///
    /// # Errors
    /// What cannot be done, in words; the bridge is as before.
    pub fn set(&mut self, now: Now, bridge: BridgeId, spec: &BridgeSpec) -> Result<(), Unsupported> {
        let key = *self.by_id.get(&bridge).ok_or(Unsupported("a bridge that was never opened"))?;
        let opened = self.bridges.get(key).map_or(0, |bridge| bridge.ports.len());
        check(spec, opened)?;
        let mut seats = spec.ports.iter().filter_map(|port| port.voice.seat.as_ref());
        // What another shard holds is its own to know.
        let is_here = |room: BridgeId| room.media_shard() == usize::from(self.shard);
        if seats.any(|seat| is_here(seat.room) && !self.by_id.contains_key(&seat.room)) {
            return Err(Unsupported("a seat in a room that was never opened"));
        }
        let bridge = self.bridges.get_mut(key).expect("the map holds living bridges");
        let mut changed = bridge.clock.apply(now.mono, spec.phase, spec.timeouts);
        let places = bridge.ports.clone();
        self.adopt(key);
        let mut before = Vec::with_capacity(places.len());
        for (index, place) in places.iter().enumerate() {
            let Some((_, port)) = self.ports.at_mut(*place) else { continue };
            let edges = port.edge.take().into_iter().chain(port.more_edges.drain(..));
            before.extend(edges.map(|edge| (*place, edge)));
            port.feeders.clear();
            match spec.ports.iter().find(|spec| usize::from(spec.port.0) == index) {
                Some(spec) => changed |= port.apply(now.mono, spec),
                None => port.retire(),
            }
        }
        for edge in &spec.edges {
            let (from, to) = (places[usize::from(edge.from.0)], places[usize::from(edge.to.0)]);
            let old = before.iter().position(|(place, edge)| *place == from && edge.sink == to);
            self.connect(from, to, edge, old.map(|old| before.swap_remove(old).1));
        }
        for place in &places {
            if let Some((_, port)) = self.ports.at_mut(*place)
                && changed
            {
                port.reopen_window(now.mono);
            }
        }
        places.iter().for_each(|place| self.aim(*place));
        self.set_room(now.mono, key, spec.room);
        self.fit(now.mono, key);
        self.run_clock(now.mono, key);
        Ok(())
    }

    fn connect(&mut self, from: u32, to: u32, spec: &EdgeSpec, before: Option<Edge>) {
        let Some((_, sink)) = self.ports.at_mut(to) else { return };
        sink.feeders.push(from);
        let edge = Edge::new(spec, to, sink.party, before);
        let Some((_, source)) = self.ports.at_mut(from) else { return };
        match &source.edge {
            None => source.edge = Some(edge),
            Some(_) => source.more_edges.push(edge),
        }
    }

    /// Says anew where a port sends to.
    fn aim(&mut self, place: u32) {
        let Some((_, port)) = self.ports.at(place) else { return };
        let Some(bridge) = self.bridges.get(port.bridge) else { return };
        // An address of the bridge itself would send the packet round and round.
        let is_ours = |target: SocketAddr| {
            let mut ports = bridge.ports.iter().filter_map(|place| self.ports.at(*place));
            ports.any(|(_, port)| is_local(&self.own, port.local, target))
        };
        let aims = port.aims().map(|aim| match aim.target {
            Ok(target) if is_ours(target) => Aim { target: Err(Verdict::SelfSend), ..aim },
            Ok(_) | Err(_) => aim,
        });
        if let Some((_, port)) = self.ports.at_mut(place) {
            [port.media, port.control] = aims;
        }
    }

    /// Ends a bridge and gives its sockets back, a pair a call of `freed`: (RTP, RTCP). `None` if there is none.
    pub fn close(
        &mut self,
        now: Now,
        bridge: BridgeId,
        mut freed: impl FnMut(Slot, Slot),
    ) -> Option<BridgeReport> {
        let report = self.report(now, bridge)?;
        let key = *self.by_id.get(&bridge)?;
        self.end_orders(now.mono, key);
        self.leave_stock(key);
        self.by_id.remove(&bridge)?;
        for place in self.bridges.remove(key)?.ports {
            let Some((port_key, _)) = self.ports.at(place) else { continue };
            let Some(port) = self.ports.remove(port_key) else { continue };
            for slot in [port.rtp, port.rtcp] {
                self.slots[slot.0 as usize] = Place::NONE;
            }
            freed(port.rtp, port.rtcp);
        }
        Some(report)
    }

    /// What a bridge has seen so far.
    pub fn report(&self, _now: Now, bridge: BridgeId) -> Option<BridgeReport> {
        let ports = self.bridge(bridge)?.ports.iter().filter_map(|place| self.ports.at(*place));
        Some(BridgeReport { ports: ports.map(|(_, port)| port.report(self.round_trip(port))).collect() })
    }

    /// Between here and a port's peer: its reports tell that of the streams that go to it.
    fn round_trip(&self, port: &Port) -> Option<Duration> {
        let feeders = port.feeders.iter().filter_map(|place| self.ports.at(*place));
        feeders.filter_map(|(_, feeder)| feeder.streams.round_trip()).max()
    }

    #[cold]
    fn on_learned(&mut self, place: Place, source: SocketAddr, moved: bool) {
        let Some((_, port)) = self.ports.at(place.port()) else { return };
        let Some(bridge) = self.bridges.get(port.bridge) else { return };
        let rtcp = place.is_rtcp();
        self.tell(Event::Learned { bridge: bridge.id, port: port.index, rtcp, source, moved });
        self.aim(place.port());
    }

    fn on_dropped(&mut self, place: Place, source: SocketAddr, verdict: Verdict) {
        self.count_drop(place, verdict);
        if verdict == Verdict::SourceLocked {
            self.on_foreign(place, source);
        }
    }

    fn count_drop(&mut self, place: Place, verdict: Verdict) {
        self.counters.dropped[verdict as usize] += 1;
        if let Some((_, port)) = self.ports.at_mut(place.port()) {
            let dropped = &mut port.dropped[verdict as usize];
            *dropped = dropped.saturating_add(1);
        }
    }

    fn on_foreign(&mut self, place: Place, source: SocketAddr) {
        let Some((_, port)) = self.ports.at(place.port()) else { return };
        let Some(bridge) = self.bridges.get_mut(port.bridge) else { return };
        if !bridge.foreign_told {
            bridge.foreign_told = true;
            let event = Event::Foreign { bridge: bridge.id, port: port.index, source };
            self.tell(event);
        }
    }

    /// The kernel did not take a packet that was to leave by this slot. It stays counted as sent.
    pub fn handle_send_failed(&mut self, slot: Slot) {
        let place = self.slots.get(slot.0 as usize).copied().unwrap_or(Place::NONE);
        self.count_drop(place, Verdict::SendFailed);
    }

    /// How many packets the kernel has dropped in all on this slot's socket (`SO_RXQ_OVFL`).
    pub fn set_kernel_drops(&mut self, slot: Slot, n: u64) {
        let place = self.slots.get(slot.0 as usize).copied().unwrap_or(Place::NONE);
        if let Some((_, port)) = self.ports.at_mut(place.port()) {
            port.kernel_drops[usize::from(place.is_rtcp())] = n;
        }
    }

    /// The DSCP that packets leaving by this slot should carry, 0 to 63; changes only with [`Bridges::set`].
    pub fn dscp(&self, slot: Slot) -> u8 {
        let place = self.slots.get(slot.0 as usize).copied().unwrap_or(Place::NONE);
        self.ports.at(place.port()).map_or(0, |(_, port)| port.dscp)
    }

    /// The sockets of a bridge, by port: (RTP, RTCP).
    pub fn slots(&self, bridge: BridgeId) -> impl Iterator<Item = (PortIndex, Slot, Slot)> {
        let places = self.bridge(bridge).map(|bridge| bridge.ports.as_slice()).unwrap_or_default();
        let ports = places.iter().filter_map(|place| self.ports.at(*place));
        ports.map(|(_, port)| (port.index, port.rtp, port.rtcp))
    }

    /// Runs what is due: ticks, gaps, reports, the clocks of silence and of orphans. Afterwards ask
    /// [`Bridges::drain_made`] and [`Bridges::poll_orphan`]. When so much has been made that it should be sent first,
    /// the rest is due at once.
    pub fn handle_timeout(&mut self, now: Now) {
        self.timed = now.mono;
        self.run_pulses(now);
        let mut due = core::mem::take(&mut self.quiet);
        self.silences.expire(now.mono, |at, key| due.push((at, key)));
        for (at, key) in due.drain(..) {
            if let Some(bridge) = self.bridges.get_mut(key)
                && bridge.clock.due == Some(at)
            {
                bridge.clock.due = None;
                self.run_clock(now.mono, key);
            }
        }
        self.quiet = due;
    }

    fn run_pulses(&mut self, now: Now) {
        let mut fired = core::mem::take(&mut self.fired);
        if fired.is_empty() {
            self.pulses.expire(now.mono, |at, pulse| fired.push((at, pulse)));
            // Taken from the end.
            fired.reverse();
        }
        while !self.made.is_crowded()
            && let Some((at, pulse)) = fired.pop()
        {
            match pulse {
                Pulse::Tick(key) => self.run_domain(now.mono, at, key),
                Pulse::Coder(key) => self.run_coders(now.mono, key),
                Pulse::Keys(key) => self.run_keys(now.mono, key),
                Pulse::Report(key) => self.run_reports(now, key),
                Pulse::Fit(key) => self.fit(now.mono, key),
            }
        }
        self.fired = fired;
    }

    /// Hands over the packets that were made here, in order; they are to be sent as they are.
    pub fn drain_made(&mut self, mut send: impl FnMut(Hop, &[u8])) {
        let Bridges { made, counters, .. } = self;
        made.drain(|hop, bytes| {
            counters.packets_out += 1;
            counters.bytes_out += bytes.len() as u64;
            send(hop, bytes);
        });
    }

    /// Whether packets wait for [`Bridges::drain_made`].
    pub fn has_made(&self) -> bool {
        !self.made.is_empty()
    }

    /// How hard encoders try from now on, 0 to 10.
    pub fn set_complexity(&mut self, complexity: u8) {
        self.complexity = complexity.min(10);
    }

    /// Looks at a bridge's clock of silence and makes sure that it is looked at again in time.
    fn run_clock(&mut self, now: Instant, key: Key) {
        let Some(bridge) = self.bridges.get_mut(key) else { return };
        let ports = bridge.ports.iter().filter_map(|place| self.ports.at(*place)).map(|(_, port)| port);
        let mut told = Vec::new();
        let next = bridge.clock.check(now, bridge.id, &ports, |event| told.push(event));
        // A timer that fires too early only looks; that is cheaper than a wheel of stale ones.
        if let Some(next) = next
            && bridge.clock.due.is_none_or(|due| next < due)
        {
            bridge.clock.due = Some(next);
            self.silences.insert(next, key);
        }
        told.into_iter().for_each(|event| self.tell(event));
    }

    /// When to call [`Bridges::handle_timeout`] next, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let silence = self.silences.poll_timeout().map(|at| (at, "silence"));
        let orphan = self.orphans.front().map(|(at, _)| (*at, "orphan"));
        let pulse = self.pulses.poll_timeout().map(|at| (at, "pulse"));
        let rest = self.fired.last().map(|(at, _)| (*at, "rest of the pulses"));
        silence.into_iter().chain(orphan).chain(pulse).chain(rest).min()
    }

    /// The next event, in the order in which they happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn tell(&mut self, event: Event) {
        if self.events.len() < self.events_max {
            self.events.push_back(event);
        } else {
            self.counters.events_lost += 1;
        }
    }

    /// A bridge whose orphan time is over: the caller closes it as if its signalling shard had asked.
    pub fn poll_orphan(&mut self) -> Option<BridgeId> {
        loop {
            let (at, key) = *self.orphans.front().filter(|(at, _)| *at <= self.timed)?;
            self.orphans.pop_front();
            if let Some(bridge) = self.bridges.get(key).filter(|bridge| bridge.orphaned == Some(at)) {
                return Some(bridge.id);
            }
        }
    }

    /// A signalling shard has (re)started: bridges that an earlier generation of it left behind live on for the
    /// orphan time and are then named by [`Bridges::poll_orphan`], unless `set` or `open` comes for them before.
    pub fn hello(&mut self, now: Now, signalling: u8, generation: Generation) {
        self.generations[usize::from(signalling)] = generation;
        let until = now.mono + self.orphan;
        for (key, bridge) in self.bridges.iter_mut() {
            let is_its = bridge.id.signalling_shard() == usize::from(signalling);
            if is_its && bridge.generation != generation && bridge.orphaned.is_none() {
                bridge.orphaned = Some(until);
                self.orphans.push_back((until, key));
            }
        }
    }

    fn bridge(&self, id: BridgeId) -> Option<&Bridge> {
        self.bridges.get(*self.by_id.get(&id)?)
    }

    /// How many bridges there are.
    pub fn len(&self) -> usize {
        self.bridges.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bridges.is_empty()
    }

    /// What was seen since start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// Ports that one bridge may have.
const PORTS_MAX: usize = 256;

/// Whether a spec can be done with this many opened ports.
fn check(spec: &BridgeSpec, opened: usize) -> Result<(), Unsupported> {
    for port in &spec.ports {
        if usize::from(port.port.0) >= opened {
            return Err(Unsupported("a port that was never opened"));
        }
        if matches!(port.secure, Some(Secure::Dtls { .. })) {
            return Err(Unsupported("DTLS"));
        }
        if port.keys().any(|keys| {
            keys.key.len() != keys.suite.key_len() + keys.suite.salt_len() || keys.mki.len() > 128
        }) {
            return Err(Unsupported("a key that does not fit its suite"));
        }
        if port.ice.is_some() {
            return Err(Unsupported("ICE"));
        }
    }
    for edge in &spec.edges {
        if [edge.from, edge.to].iter().any(|port| usize::from(port.0) >= opened) {
            return Err(Unsupported("an edge of a port that was never opened"));
        }
        if let Transform::Transcode { to_payload, ptime_ms } = &edge.transform {
            let sink = spec.ports.iter().find(|port| port.port == edge.to);
            let to = sink.and_then(|sink| sink.payloads.iter().find(|payload| payload.number == *to_payload));
            if !to.is_some_and(|to| fit::can_make(to, *ptime_ms)) {
                return Err(Unsupported("transcoding to a format that cannot be made here"));
            }
        }
    }
    let mut sinks = vec![0; opened];
    spec.edges.iter().for_each(|edge| sinks[usize::from(edge.from.0)] += 1);
    if sinks.iter().any(|sinks| *sinks > SINKS_MAX) {
        return Err(Unsupported("more than 16 sinks of one port"));
    }
    Ok(())
}

/// Whether an address is the RTP or RTCP address of a port bound to `local`.
fn is_local(own: &[IpAddr], local: SocketAddr, target: SocketAddr) -> bool {
    let is_here = if local.ip().is_unspecified() {
        own.contains(&target.ip()) || target.ip().is_loopback()
    } else {
        local.ip() == target.ip()
    };
    is_here && (target.port() == local.port() || local.port().checked_add(1) == Some(target.port()))
}
