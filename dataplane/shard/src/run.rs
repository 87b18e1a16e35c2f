//! The media thread's loop: one turn after the other, each with one reading of the clock. Blocks when idle.
//! What a packet meets inside the bridge is `media`'s; where packets come from is `io`'s.

use crate::io::Io;
use crate::outbox::Outbox;
use crate::ports::{Pair, Place, Ports, Taken, mark};
use crate::recorder::{Deck, Finished, fork_rate_for, rate_for};
use crate::spawn::ShardConfig;
use crate::stats::ShardStats;
use crate::sys::{self, Bell};
use base::{Clock, Duration, Instant, Key, Mailbox, Now, Slab};
use command::{
    BridgeId, BridgeReport, Command, Event, Fork, Generation, OpenRefusal, OpenedPort, Order, Outcome,
    PortWant, Recording, Ticket, Verdict,
};
use media::{Bridges, BridgesConfig, Crossing, OpenPort, Slot, Unsupported};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One media shard: its ports, sockets and bridges. All of it belongs to one thread.
#[derive(Debug)]
pub struct Shard<I> {
    clock: Clock,
    commands: Mailbox<Command>,
    outbox: Outbox,
    bridges: Bridges,
    ports: Ports,
    /// Open pairs, of bridges and kept for others; the pair at place `n` has the slots `2n` (RTP) and `2n + 1` (RTCP).
    pairs: Slab<OpenPair>,
    pairs_max: usize,
    io: I,
    stats: Arc<ShardStats>,
    allow_panic: bool,
    /// By shard: speech for seats on it. Its own is the one that it reads.
    crossings: Vec<Mailbox<Crossing>>,
    index: u8,
    /// Starts recordings and forks; `None` where there is no folder for them.
    deck: Option<Deck>,
    /// For the identities of what forks send.
    rng: base::Rng,
    /// How hard encoders try now, at most, and whether that follows the load.
    complexity: u8,
    complexity_max: u8,
    adapts: bool,
    meter: Meter,
    /// The last turn had neither command nor packet.
    idle: bool,
}

#[derive(Debug)]
struct OpenPair {
    place: Place,
    /// The mark that its sockets carry.
    dscp: u8,
    /// What the kernel had dropped, RTP and RTCP, when it was last asked.
    kernel_drops: [u32; 2],
    /// What it had dropped before the bridge had them.
    drops_before: [u32; 2],
}

/// What outlives a generation of a shard.
#[derive(Debug)]
pub struct Remains {
    /// Events that signalling has not got yet.
    pub outbox: Outbox,
    /// Ports that were in use: peers still send there, so they rest first.
    pub places: Vec<Place>,
}

/// Measures the thread about once a second; also the longest that it sleeps.
#[derive(Debug)]
struct Meter {
    next: Instant,
    since: Instant,
    cpu_ns: u64,
    /// Turns until then, and whether the thread has made so many in the last second that looking for commands now and
    /// then costs nothing.
    turns: u64,
    brisk: bool,
}

impl<I: Io> Shard<I> {
    /// A shard without a bridge. Tells every signalling shard that it has started.
    ///
    /// # Errors
    /// The back end's.
    pub fn new(
        config: &ShardConfig,
        generation: Generation,
        commands: Mailbox<Command>,
        bell: Bell,
        remains: Remains,
        stats: Arc<ShardStats>,
    ) -> Result<Self, (io::Error, Remains)> {
        let slots_max = config.pairs_max.saturating_mul(2);
        let alarm = bell.clone();
        let io = match I::new(slots_max, bell) {
            Ok(io) => io,
            Err(error) => return Err((error, remains)),
        };
        let Remains { mut outbox, places } = remains;
        let mut rng = base::Rng::from_seed(config.seed ^ u64::from(generation.0) << 32);
        let now = read(&config.clock);
        let bridges = BridgesConfig {
            shard: config.index,
            bridges_max: config.bridges_max,
            slots_max,
            events_max: EVENTS_MAX,
            orphan: config.orphan,
            own: config.own_addresses(),
            rng: rng.fork(),
        };
        let (index, shards) = (config.index, config.shards);
        let mut ports = Ports::new(
            &config.listeners,
            index,
            shards,
            config.rest,
            config.pairs_max as usize,
            &mut rng,
            Arc::clone(&stats),
        );
        ports.rest(now.mono, &places);
        stats.starts.set(generation.0.into());
        stats.forget_stock();
        outbox.started(index, generation);
        let mut bridges = Bridges::new(now, bridges);
        bridges.set_complexity(config.complexity);
        Ok(Shard {
            clock: config.clock,
            commands,
            outbox,
            bridges,
            ports,
            pairs: Slab::preallocated(config.pairs_max),
            pairs_max: config.pairs_max as usize,
            io,
            stats,
            allow_panic: config.allow_panic,
            crossings: config.crossings.clone(),
            index: config.index,
            rng,
            deck: config.recorder.as_ref().map(|recorder| recorder.deck(alarm)),
            complexity: config.complexity,
            complexity_max: config.complexity,
            adapts: config.adapts,
            meter: Meter {
                next: now.mono + SECOND,
                since: now.mono,
                cpu_ns: sys::thread_cpu_ns(),
                turns: 0,
                brisk: false,
            },
            idle: true,
        })
    }

    /// Steps until `stop` is set and the bell is rung.
    pub fn run(&mut self, stop: &AtomicBool) {
        let mut now = read(&self.clock);
        while !stop.load(Ordering::Relaxed) {
            now = self.step(now);
        }
    }

    /// Waits until something has come or is due, then takes one turn. From the last turn's end to this one's.
    pub fn step(&mut self, now: Now) -> Now {
        let due = self.due(now);
        // From here on senders ring the bell; what came just before must not be slept over.
        let (empty, wait) = if self.meter.brisk {
            (self.commands.doze(), due.since(now.mono).min(NAP))
        } else {
            (self.commands.sleep(), due.since(now.mono))
        };
        let quiet = empty || self.outbox.is_clogged();
        let released = self.release(now);
        let stay_up = !quiet || self.idle && (released || self.ports.stock_up(now.mono));
        self.io.wait(if stay_up { Duration::ZERO } else { wait });
        self.commands.awake();
        let now = read(&self.clock);
        if now.mono >= due {
            self.stats.lateness.record(now.mono.nanos_since(due), 1);
        }
        self.turn(now)
    }

    /// One turn: commands, packets in, timers, packets out, events out. Returns the time at its end.
    pub fn turn(&mut self, now: Now) -> Now {
        let commands = self.take_commands(now);
        self.take_crossings(now);
        self.io.recv();
        let packets = self.route(now);
        self.send_made();
        self.run_timers(now);
        self.send_made();
        self.send_crossings();
        self.io.send();
        self.take_finished();
        self.count_failed();
        self.tell_events();
        self.idle = commands + packets == 0;
        self.measure(now, packets)
    }

    /// When the next turn is due even if nothing comes.
    fn due(&self, now: Now) -> Instant {
        let timer = self.bridges.poll_timeout().map_or(self.meter.next, |(at, _why)| at.min(self.meter.next));
        // Nobody rings when a full event ring has room again.
        if self.outbox.has_waiting() { timer.min(now.mono + RETRY_EVENTS) } else { timer }
    }

    /// Closes everything; what the next generation needs is left.
    pub fn into_remains(self) -> Remains {
        let places = self.pairs.iter().map(|(_, pair)| pair.place).collect();
        Remains { outbox: self.outbox, places }
    }
}

/// Packets.
impl<I: Io> Shard<I> {
    fn route(&mut self, now: Now) -> usize {
        let Shard { bridges, io, stats, .. } = self;
        let batch = io.batch();
        let (mut bytes_in, mut bytes_out) = (0, 0);
        batch.route(|slot, source, packet, hops| {
            bytes_in += packet.len as u64;
            match bridges.handle_packet(now, slot, source, packet) {
                Ok(Some(hop)) => {
                    hops.push(hop);
                    bridges.more_hops().iter().for_each(|hop| hops.push(*hop));
                    bytes_out += packet.len as u64 * (1 + bridges.more_hops().len() as u64);
                }
                Ok(None) => {}
                Err(verdict) => stats.dropped[verdict as usize].add(1),
            }
        });
        if !batch.is_empty() {
            stats.packets_in.add(batch.len() as u64);
            stats.bytes_in.add(bytes_in);
            stats.packets_out.add(batch.sends() as u64);
            stats.bytes_out.add(bytes_out);
        }
        batch.len()
    }

    /// Speech that has come from other shards.
    fn take_crossings(&mut self, now: Now) {
        let Some(own) = self.crossings.get(usize::from(self.index)) else { return };
        for _ in 0..CROSSINGS_A_TURN {
            let Some(crossing) = own.receive() else { break };
            self.bridges.handle_crossing(now.mono, crossing);
        }
    }

    /// Speech for seats on other shards. Nobody is woken: whoever it is for ticks by itself.
    fn send_crossings(&mut self) {
        while let Some(crossing) = self.bridges.poll_crossing() {
            let other = self.crossings.get(usize::from(crossing.to));
            if other.is_none_or(|other| other.send(crossing).is_err()) {
                self.stats.crossings_lost.add(1);
            }
        }
    }

    /// Sends what was made here rather than passed on.
    fn send_made(&mut self) {
        if !self.bridges.has_made() {
            return;
        }
        let Shard { bridges, io, stats, .. } = self;
        let (mut packets, mut bytes_out) = (0, 0);
        bridges.drain_made(|hop, bytes| {
            if !io.batch().put(hop, bytes) {
                io.flush();
                if !io.batch().put(hop, bytes) {
                    stats.dropped[Verdict::SendFailed as usize].add(1);
                    return;
                }
            }
            packets += 1;
            bytes_out += bytes.len() as u64;
        });
        stats.packets_out.add(packets);
        stats.bytes_out.add(bytes_out);
    }

    fn count_failed(&mut self) {
        for slot in self.io.batch().failed.drain(..) {
            self.bridges.handle_send_failed(slot);
            self.stats.dropped[Verdict::SendFailed as usize].add(1);
        }
    }

    fn run_timers(&mut self, now: Now) {
        if self.bridges.poll_timeout().is_none_or(|(at, _why)| at > now.mono) {
            return;
        }
        self.bridges.handle_timeout(now);
        while let Some(bridge) = self.bridges.poll_orphan() {
            self.close(now, bridge);
        }
    }
}

/// Commands and events.
impl<I: Io> Shard<I> {
    fn take_commands(&mut self, now: Now) -> usize {
        let mut taken = 0;
        while taken < COMMANDS_A_TURN
            && !self.outbox.is_clogged()
            && let Some(command) = self.commands.receive()
        {
            taken += 1;
            self.obey(now, command);
        }
        if taken > 0 {
            self.stats.commands.add(taken as u64);
            self.stats.take_stock(&self.bridges);
        }
        taken
    }

    fn obey(&mut self, now: Now, command: Command) {
        match command {
            Command::Hello { signalling, generation } => self.bridges.hello(now, signalling, generation),
            Command::Open { bridge, want } => {
                let event = match self.open(now, bridge, &want) {
                    Ok(ports) => Event::Opened { bridge, ports },
                    Err(why) => Event::Refused { bridge, why },
                };
                self.answer(bridge, event);
            }
            Command::Set { bridge, spec } => match self.bridges.set(now, bridge, &spec) {
                Ok(()) => self.mark_sockets(bridge),
                Err(Unsupported(what)) => {
                    self.answer(bridge, Event::Unsupported { bridge, ticket: None, what });
                }
            },
            Command::Close { bridge } => self.close(now, bridge),
            Command::Report { bridge, ticket } => {
                self.read_kernel_drops(bridge);
                // A bridge that has just gone as an orphan has seen nothing: the asker must not wait for ever.
                let report = Box::new(self.bridges.report(now, bridge).unwrap_or_default());
                self.answer(bridge, Event::Report { bridge, ticket, report });
            }
            Command::Order { bridge, ticket, order } => {
                let taken = match &order {
                    Order::Record(recording) => self.record(now, bridge, ticket, recording),
                    Order::Fork(fork) => self.fork(now, bridge, ticket, fork),
                    order => self.bridges.order(now, bridge, ticket, order),
                };
                if let Err(Unsupported(what)) = taken {
                    self.answer(bridge, Event::Unsupported { bridge, ticket: Some(ticket), what });
                }
            }
            Command::Panic if self.allow_panic => panic!("a command asked the media shard to fail"),
            Command::Panic => {
                tracing::warn!("a command to fail was ignored: the engine was not started for tests");
            }
        }
    }

    /// Begins a recording: its file is the recorder's, on a thread of its own.
    fn record(
        &mut self,
        now: Now,
        bridge: BridgeId,
        ticket: Ticket,
        recording: &Recording,
    ) -> Result<(), Unsupported> {
        let widest = self.bridges.tape_want(bridge)?.widest;
        let deck =
            self.deck.as_mut().ok_or(Unsupported("recording in an engine that has no folder for it"))?;
        let rate = rate_for(recording, widest);
        let tape = deck.record(bridge, ticket, recording, rate).map_err(|why| Unsupported(why.what()))?;
        self.bridges.record(now, bridge, ticket, recording, rate, Box::new(Spool(tape)))
    }

    /// Begins a fork: whoever gets it is the recorder's, on a thread of its own.
    fn fork(&mut self, now: Now, bridge: BridgeId, ticket: Ticket, fork: &Fork) -> Result<(), Unsupported> {
        let widest = self.bridges.tape_want(bridge)?.widest;
        let deck = self.deck.as_mut().ok_or(Unsupported("a fork in an engine without a recorder"))?;
        let rate = fork_rate_for(fork, widest);
        let seed = self.rng.u64();
        let tape = deck.fork_to(bridge, ticket, fork, rate, seed).map_err(|why| Unsupported(why.what()))?;
        self.bridges.fork(now, bridge, ticket, fork.layout, rate, Box::new(Spool(tape)))
    }

    /// Recordings whose files are whole, forks that are over, and what has failed.
    fn take_finished(&mut self) {
        while let Some(Finished { bridge, ticket, ended }) = self.deck.as_mut().and_then(Deck::poll) {
            self.bridges.forget_recording(bridge, ticket);
            self.answer(bridge, Event::Ended { bridge, ticket, ended });
        }
    }

    /// Closes a pair that was kept for calls which have not come; whether it did.
    fn release(&mut self, now: Now) -> bool {
        let key = self.ports.release(now.mono);
        key.is_some_and(|key| self.drop_pair(key))
    }

    /// Opens all of `want` or nothing.
    fn open(
        &mut self,
        now: Now,
        bridge: BridgeId,
        want: &[PortWant],
    ) -> Result<Vec<OpenedPort>, OpenRefusal> {
        let in_use = self.pairs.len() - self.ports.kept();
        if !self.bridges.has_room(bridge, want.len()) || in_use + want.len() > self.pairs_max {
            return Err(OpenRefusal::Full);
        }
        if want.is_empty() {
            self.bridges.open_room(now, bridge)?;
        }
        let mut taken = Vec::with_capacity(want.len());
        for want in want {
            match self.take(now, *want) {
                Ok((pair, stale)) => {
                    self.stats.dropped[Verdict::Idle as usize].add(stale);
                    taken.push(pair);
                }
                Err(why) => {
                    taken.into_iter().for_each(|pair| self.ports.put_back(pair));
                    return Err(why);
                }
            }
        }
        let mut opened = Vec::with_capacity(taken.len());
        let mut taken = taken.into_iter();
        while let Some(pair) = taken.next() {
            match self.open_pair(now, bridge, pair) {
                Ok(port) => opened.push(port),
                Err(why) => {
                    // Neither back end refuses a healthy socket; the bridge ends rather than being half open.
                    tracing::error!(%bridge, "a bound pair of ports could not be opened");
                    taken.for_each(|pair| self.ports.put_back(pair));
                    self.free(now, bridge);
                    return Err(why);
                }
            }
        }
        Ok(opened)
    }

    /// A pair of ports; what is kept for others gives way where descriptors are short.
    fn take(&mut self, now: Now, want: PortWant) -> Result<(Taken, u64), OpenRefusal> {
        loop {
            match self.ports.take(now.mono, want) {
                Err(OpenRefusal::NoDescriptors) => {
                    let key = self.ports.evict().ok_or(OpenRefusal::NoDescriptors)?;
                    self.drop_pair(key);
                }
                taken => return taken,
            }
        }
    }

    fn open_pair(&mut self, now: Now, bridge: BridgeId, taken: Taken) -> Result<OpenedPort, OpenRefusal> {
        let (key, place, ready) = match taken {
            Taken::Bound(Pair { place, rtp, rtcp }) => {
                while self.pairs.len() >= self.pairs_max
                    && let Some(key) = self.ports.evict()
                {
                    self.drop_pair(key);
                }
                let pair = OpenPair { place, dscp: 0, kernel_drops: [0; 2], drops_before: [0; 2] };
                let key = self.pairs.insert(pair).map_err(|_| OpenRefusal::Full)?;
                let (rtp_slot, rtcp_slot) = slots(key);
                let ready = self.io.open(rtp_slot, rtp).is_ok() & self.io.open(rtcp_slot, rtcp).is_ok();
                (key, place, ready)
            }
            Taken::Kept(key, place) => {
                self.resume_pair(key);
                (key, place, true)
            }
        };
        let (rtp, rtcp) = slots(key);
        let port = self.bridges.next_port(bridge);
        let result = match ready {
            true => self.bridges.open(now, bridge, OpenPort { port, local: place.local, rtp, rtcp }),
            false => Err(OpenRefusal::NoDescriptors),
        };
        if let Err(why) = result {
            self.close_pair(now, rtp);
            return Err(why);
        }
        Ok(OpenedPort { port, local: place.local })
    }

    /// Makes a pair that was kept ready for its next bridge: nothing that came for the last one is left.
    fn resume_pair(&mut self, key: Key) {
        let (rtp, rtcp) = slots(key);
        for (slot, side) in [(rtp, 0), (rtcp, 1)] {
            let stale = self.io.resume(slot);
            let Some(pair) = self.pairs.get_mut(key) else { continue };
            if stale > 0 {
                self.stats.dropped[Verdict::Idle as usize].add(stale);
                // More may have come than fitted.
                let socket = self.io.socket(slot);
                let drops =
                    socket.map_or(pair.kernel_drops[side], |socket| sys::kernel_drops(socket.as_fd()));
                self.stats.kernel_drops.add(drops.wrapping_sub(pair.kernel_drops[side]).into());
                pair.kernel_drops[side] = drops;
            }
            pair.drops_before[side] = pair.kernel_drops[side];
        }
    }

    /// Ends a bridge and answers, also when it is unknown: nobody must wait for ever.
    fn close(&mut self, now: Now, bridge: BridgeId) {
        self.read_kernel_drops(bridge);
        let report = Box::new(self.free(now, bridge).unwrap_or_default());
        self.answer(bridge, Event::Closed { bridge, report });
    }

    fn free(&mut self, now: Now, bridge: BridgeId) -> Option<BridgeReport> {
        let mut freed = Vec::new();
        let report = self.bridges.close(now, bridge, |rtp, _rtcp| freed.push(rtp));
        freed.into_iter().for_each(|rtp| self.close_pair(now, rtp));
        report
    }

    fn close_pair(&mut self, now: Now, rtp: Slot) {
        let Some((key, pair)) = self.pairs.at(rtp.0 / 2) else { return };
        if self.ports.give_back(now.mono, pair.place, key) {
            let (rtp, rtcp) = slots(key);
            self.io.rest(rtp);
            self.io.rest(rtcp);
        } else {
            self.drop_pair(key);
        }
    }

    /// Closes the sockets of a pair; whether there is such a pair.
    fn drop_pair(&mut self, key: Key) -> bool {
        let (rtp, rtcp) = slots(key);
        let known = self.pairs.remove(key).is_some();
        if known {
            self.io.close(rtp);
            self.io.close(rtcp);
        }
        known
    }

    /// Gives the sockets of a bridge the marks that its spec asks for.
    fn mark_sockets(&mut self, bridge: BridgeId) {
        let Shard { bridges, pairs, io, .. } = self;
        for (_port, rtp, rtcp) in bridges.slots(bridge) {
            let dscp = bridges.dscp(rtp);
            let Some((_, pair)) = pairs.at_mut(rtp.0 / 2).filter(|(_, pair)| pair.dscp != dscp) else {
                continue;
            };
            pair.dscp = dscp;
            for socket in [rtp, rtcp].into_iter().filter_map(|slot| io.socket(slot)) {
                if let Err(error) = mark(socket, pair.place.local.is_ipv6(), dscp) {
                    tracing::warn!(%bridge, dscp, %error, "packets cannot be marked");
                }
            }
        }
    }

    /// Asks the kernel what it has dropped at the sockets of a bridge: when a report is made, not per packet.
    fn read_kernel_drops(&mut self, bridge: BridgeId) {
        let Shard { bridges, pairs, io, stats, .. } = self;
        let slots: Vec<_> = bridges.slots(bridge).map(|(_port, rtp, rtcp)| [rtp, rtcp]).collect();
        for pair_slots in slots {
            let Some((_, pair)) = pairs.at_mut(pair_slots[0].0 / 2) else { continue };
            for (slot, side) in pair_slots.into_iter().zip(0..) {
                let before = pair.kernel_drops[side];
                let drops = io.socket(slot).map_or(before, |socket| sys::kernel_drops(socket.as_fd()));
                stats.kernel_drops.add(drops.wrapping_sub(before).into());
                pair.kernel_drops[side] = drops;
                bridges.set_kernel_drops(slot, drops.wrapping_sub(pair.drops_before[side]).into());
            }
        }
    }

    /// Events of a bridge come in the order in which they happened: what it has to tell goes before the answer.
    fn answer(&mut self, bridge: BridgeId, event: Event) {
        self.collect_events();
        self.outbox.put(bridge, event);
    }

    fn tell_events(&mut self) {
        self.collect_events();
        if self.outbox.has_waiting() {
            self.outbox.flush();
        }
    }

    fn collect_events(&mut self) {
        while let Some(event) = self.bridges.poll_event() {
            match bridge_of(&event) {
                Some(bridge) => self.outbox.put(bridge, event),
                None => self.stats.events_lost.add(1),
            }
        }
    }
}

/// Figures.
impl<I: Io> Shard<I> {
    fn measure(&mut self, start: Now, packets: usize) -> Now {
        let end = read(&self.clock);
        self.stats.turns.add(1);
        if packets > 0 {
            self.stats.forward.record(end.mono.nanos_since(start.mono), packets as u64);
        }
        if end.mono >= self.meter.next {
            let cpu_ns = sys::thread_cpu_ns();
            let passed = end.mono.nanos_since(self.meter.since).max(1);
            let load = (cpu_ns - self.meter.cpu_ns).saturating_mul(1000) / passed;
            self.stats.load_permille.set(load.min(1000));
            self.stats.take_stock(&self.bridges);
            let turns = self.stats.turns.get();
            if self.adapts {
                self.complexity = complexity(self.complexity, self.complexity_max, load);
            }
            self.bridges.set_complexity(self.complexity);
            let brisk = turns - self.meter.turns >= BRISK;
            self.meter = Meter { next: end.mono + SECOND, since: end.mono, cpu_ns, turns, brisk };
        }
        end
    }
}

/// How hard encoders try when the thread was busy for so many thousandths of the last second: speech that is late is
/// worse than speech that is a little less clear.
fn complexity(now: u8, most: u8, load: u64) -> u8 {
    match load {
        900.. => 0,
        750..900 => now.min(1),
        // Not at once up again: the load would follow.
        550..750 => now,
        _ => most,
    }
}

/// A tape as bridges know it.
struct Spool(crate::recorder::Tape);

impl media::Tape for Spool {
    fn push(&mut self, left: &[i16], right: &[i16]) {
        self.0.push(left, right);
    }

    fn mark_pause(&mut self, on: bool) {
        self.0.mark_pause(on);
    }

    fn finish(self: Box<Self>, outcome: Outcome) {
        self.0.finish(outcome);
    }
}

#[expect(clippy::disallowed_methods, reason = "the shard reads the clock at the start and the end of a turn")]
fn read(clock: &Clock) -> Now {
    clock.now()
}

fn slots(pair: Key) -> (Slot, Slot) {
    (Slot(pair.index * 2), Slot(pair.index * 2 + 1))
}

fn bridge_of(event: &Event) -> Option<BridgeId> {
    match event {
        Event::Started { .. } => None,
        Event::Opened { bridge, .. }
        | Event::Refused { bridge, .. }
        | Event::Unsupported { bridge, .. }
        | Event::Learned { bridge, .. }
        | Event::Foreign { bridge, .. }
        | Event::OneSideSilent { bridge, .. }
        | Event::Silent { bridge, .. }
        | Event::Digit { bridge, .. }
        | Event::Signal { bridge, .. }
        | Event::Talking { bridge, .. }
        | Event::Ended { bridge, .. }
        | Event::Report { bridge, .. }
        | Event::Closed { bridge, .. } => Some(*bridge),
    }
}

/// Commands taken in one turn: each may bind sockets, and packets wait meanwhile.
const COMMANDS_A_TURN: usize = 16;
/// Ticks of speech from other shards that are taken in one turn.
const CROSSINGS_A_TURN: usize = 256;
/// Events of bridges that may wait between two turns.
const EVENTS_MAX: usize = 4096;
/// Commands that can wait do so for this long at most, while the thread is busy.
const NAP: Duration = Duration::from_millis(20);
/// Turns a second of a busy thread; several times those that only look for commands.
const BRISK: u64 = 200;
const RETRY_EVENTS: Duration = Duration::from_millis(2);
const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::epoll::Epoll;
    use crate::stats::MediaListener;
    use base::Wake;
    use command::spec::{BridgeSpec, Phase, PortSpec, Timeouts};
    use command::{Party, PortIndex, Ticket};
    use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use std::net::UdpSocket;

    struct Nobody;
    impl Wake for Nobody {
        fn wake(&self) {}
    }

    /// A shard stepped by the test itself, and the event ring of signalling shard 0.
    fn shard(listeners: Vec<MediaListener>) -> (Shard<Epoll>, Mailbox<Event>) {
        let mut config = ShardConfig::new(Clock::start(), 1);
        (config.listeners, config.pairs_max) = (listeners, 16);
        let (bell, events) = (Bell::new().unwrap(), Mailbox::new(64, Nobody));
        let commands = Mailbox::new(16, bell.clone());
        let stats = Arc::new(ShardStats::new(&config.listeners));
        let outbox = Outbox::new(vec![events.clone()], Arc::clone(&stats));
        let remains = Remains { outbox, places: Vec::new() };
        let shard = Shard::new(&config, Generation(1), commands, bell, remains, stats);
        (shard.map_err(|(error, _)| error).unwrap(), events)
    }

    fn listener(address: IpAddr) -> MediaListener {
        MediaListener { listener: 0, address, ports: 0..=0 }
    }

    const BRIDGE: fn() -> BridgeId = || BridgeId::new(0, 0, 0, 1);

    fn open(shard: &mut Shard<Epoll>, events: &Mailbox<Event>, addresses: &[IpAddr]) -> Vec<OpenedPort> {
        let want = addresses.iter().map(|address| PortWant { listener: 0, address: *address }).collect();
        shard.commands.send(Command::Open { bridge: BRIDGE(), want }).unwrap();
        let now = read(&shard.clock);
        shard.turn(now);
        loop {
            if let Event::Opened { ports, .. } = events.receive().expect("an answer in the same turn") {
                return ports;
            }
        }
    }

    fn spec(dscp: u8) -> Box<BridgeSpec> {
        let port =
            |index| PortSpec { port: PortIndex(index), party: Party(index), dscp, ..PortSpec::default() };
        let ports = vec![port(0), port(1)];
        Box::new(BridgeSpec {
            phase: Phase::Early,
            timeouts: Timeouts::default(),
            ports,
            edges: Vec::new(),
            room: None,
        })
    }

    #[test]
    fn sockets_carry_the_mark_of_the_spec() {
        let (v4, v6) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST));
        let (mut shard, events) = shard(vec![listener(v4), listener(v6)]);
        open(&mut shard, &events, &[v4, v6]);
        for dscp in [46, 46, 0, 63] {
            shard.commands.send(Command::Set { bridge: BRIDGE(), spec: spec(dscp) }).unwrap();
            let now = read(&shard.clock);
            shard.turn(now);
            let class = |slot, v6: bool| {
                let socket = shard.io.socket(Slot(slot)).unwrap();
                if v6 { socket.tclass_v6() } else { socket.tos_v4() }.unwrap()
            };
            let wanted = u32::from(dscp) << 2;
            assert_eq!([class(0, false), class(1, false), class(2, true), class(3, true)], [wanted; 4]);
        }
    }

    #[test]
    fn what_the_kernel_has_dropped_is_reported() {
        let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let (mut shard, events) = shard(vec![listener(v4)]);
        let port = open(&mut shard, &events, &[v4])[0].local;
        let sender = UdpSocket::bind((v4, 0)).unwrap();
        // Nobody reads: the queue fills.
        for _ in 0..2_000 {
            sender.send_to(&[0; 1_000], port).unwrap();
        }
        let mut now = read(&shard.clock);
        for _ in 0..2 {
            shard.commands.send(Command::Report { bridge: BRIDGE(), ticket: Ticket(1) }).unwrap();
            now = shard.turn(now);
        }
        let dropped = shard.stats.kernel_drops.get();
        assert!((500..2_000).contains(&dropped), "{dropped}");
        let Some(Event::Report { report, .. }) = events.receive() else { panic!("no report") };
        assert_eq!(report.ports[0].kernel_drops, dropped);
        while shard.stats.packets_in.get() + dropped < 2_000 {
            now = shard.step(now);
        }
    }

    #[test]
    fn a_turn_obeys_a_bounded_number_of_commands() {
        let (mut shard, events) = shard(Vec::new());
        let mut now = read(&shard.clock);
        for _ in 0..16 {
            let hello = Command::Hello { signalling: 0, generation: Generation(1) };
            shard.commands.send(hello).unwrap();
        }
        assert!(shard.commands.send(Command::Close { bridge: BRIDGE() }).is_err(), "a full ring gives back");
        now = shard.turn(now);
        shard.commands.send(Command::Close { bridge: BRIDGE() }).unwrap();
        now = shard.step(now);
        assert_eq!(shard.stats.commands.get(), 17);
        assert!(now.mono < shard.meter.next, "it did not sleep over the command");
        assert!(matches!(events.receive(), Some(Event::Started { .. })));
        assert!(matches!(events.receive(), Some(Event::Closed { .. })));
    }
}
