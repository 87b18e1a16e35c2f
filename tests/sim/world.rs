//! The whole world in one thread: signalling shards, media shards, phones and the network between them.

use super::media_shard::MediaShard;
use super::phone::{Phone, Sent};
use b2bua::spec::{Action, Listener, Match, MediaRange, Route, SipBind, Source, Target as SpecTarget};
use b2bua::{Config, Hop, Output, Query, Shared, Spec, Switch, Transport};
use base::{Duration, HashKey, Instant, Key, Now, Rng, Wall};
use command::{Command, Event, Generation};
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use ledger::{Ask, CallFilter, CallId, CallSummary, Cdr, HookAnswer, HookFailed, Pool, SignallingStats};
use routing::group::Way;
use routing::table::From;
use sip::flow::Flow;
use sip::frame::Framing;
use sip::message::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// Where the engine listens.
pub const SBC: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 5060);

/// What programs do that are asked about calls.
#[derive(Clone, Debug)]
pub enum Hooks {
    /// They are too slow, and the shell says so.
    Late,
    /// The question gets lost.
    Lost,
    /// They answer this, after a while.
    Says(Duration, HookAnswer),
    /// Anything, at any time; trunks and groups that they may name.
    Anything(Vec<String>),
}

/// How the network treats datagrams.
#[derive(Clone, Copy)]
pub struct Weather {
    pub delay_max_ms: u64,
    /// Of 1,000.
    pub lost: u64,
    /// Of 1,000.
    pub doubled: u64,
}

impl Weather {
    /// Nothing is lost, all takes 5 ms.
    pub const FINE: Weather = Weather { delay_max_ms: 0, lost: 0, doubled: 0 };
}

pub struct World {
    pub now: Instant,
    pub rng: Rng,
    pub weather: Weather,
    pub spec: Arc<Spec>,
    /// The one in force; `spec` is what it began with.
    pub applied: Arc<Spec>,
    version: u64,
    pub switches: Vec<Switch>,
    generations: Vec<u32>,
    pub media: Vec<MediaShard>,
    pub phones: Vec<Phone>,
    /// By time and order.
    queue: BTreeMap<(Instant, u64), Item>,
    order: u64,
    steering: HashKey,
    secret: HashKey,
    /// What the signalling shards have in common; outlives each of them.
    pub shared: Shared,
    pub names: BTreeMap<String, Vec<SocketAddr>>,
    /// What the wall says now, in µs since 1970, but for the time since the start.
    pub wall_base: u64,
    /// What programs that decide about calls do.
    pub hooks: Hooks,
    /// Of 1,000 BYEs, those that never arrive however often they are repeated.
    pub byes_lost: u64,
    pub records: Vec<Cdr>,
    /// Records that would be left if a shard died.
    pub opened: Vec<Cdr>,
    /// Call-IDs of the INVITEs that begin a call: those that reached us and those that we sent.
    pub invited: BTreeSet<Vec<u8>>,
    pub called: BTreeSet<Vec<u8>>,
    /// Call-IDs that a dead shard knew: their records may be lost.
    pub forgotten: BTreeSet<Vec<u8>>,
    /// Call-IDs of INVITEs that we answered for good.
    pub settled: BTreeSet<Vec<u8>>,
    /// Whether clocks were set: times of records mean little then.
    pub clock_was_set: bool,
    /// Places that any recount of leases found wrong.
    pub drift: u64,
    /// Limits that let in what they should not.
    pub exceeded: Vec<String>,
    /// Limits that are watched at each step.
    pub watched: Vec<Arc<Pool>>,
    /// All SIP messages, for failures: time, from, to, first line.
    pub ladder: Vec<(Instant, SocketAddr, SocketAddr, Vec<u8>)>,
    /// Streams do not open.
    pub tcp_bound: bool,
    /// Datagrams to these are answered by ICMP.
    pub unreachable: BTreeSet<SocketAddr>,
    pub is_traced: bool,
}

enum Item {
    /// A datagram on its way.
    Datagram {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    /// One that arrived at the wrong shard.
    Handed {
        owner: usize,
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    Command {
        shard: usize,
        command: Command,
    },
    Event {
        shard: usize,
        event: Event,
    },
    Resolved {
        shard: usize,
        query: Query,
        hops: Vec<Hop>,
    },
    Unreachable {
        shard: usize,
        remote: SocketAddr,
        branch: Vec<u8>,
    },
    SendFailed {
        shard: usize,
        client: sip::stack::ClientTx,
    },
    Hooked {
        shard: usize,
        ticket: Key,
        answer: HookAnswer,
    },
}

impl World {
    pub fn new(seed: u64, shards: usize, media_shards: usize, mut spec: Spec) -> Self {
        let mut rng = Rng::from_seed(seed);
        let now = Instant(10_000_000_000);
        spec.listeners = vec![listener()];
        let mut world = World {
            now,
            weather: Weather::FINE,
            applied: Arc::new(spec.clone()),
            version: 0,
            spec: Arc::new(spec),
            switches: Vec::new(),
            generations: vec![0; shards],
            media: Vec::new(),
            phones: Vec::new(),
            queue: BTreeMap::new(),
            order: 0,
            steering: HashKey::new([rng.u64(), rng.u64()]),
            secret: HashKey::new([rng.u64(), rng.u64()]),
            shared: Shared::new(Now { mono: now, wall: Wall(0) }, HashKey::new([rng.u64(), rng.u64()])),
            names: BTreeMap::new(),
            wall_base: 1_700_000_000_000_000,
            hooks: Hooks::Late,
            byes_lost: 0,
            records: Vec::new(),
            opened: Vec::new(),
            invited: BTreeSet::new(),
            called: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            settled: BTreeSet::new(),
            clock_was_set: false,
            drift: 0,
            exceeded: Vec::new(),
            watched: Vec::new(),
            ladder: Vec::new(),
            tcp_bound: false,
            unreachable: BTreeSet::new(),
            is_traced: std::env::var_os("STROWGER_SEED").is_some(),
            rng,
        };
        for number in 0..media_shards {
            let rng = world.rng.fork();
            world.media.push(MediaShard::new(world.time(), number as u8, 1, rng));
        }
        for shard in 0..shards {
            let switch = world.make_switch(shard);
            world.switches.push(switch);
        }
        world
    }

    pub fn time(&self) -> Now {
        Now { mono: self.now, wall: Wall(self.wall_base + self.now.0 / 1_000) }
    }

    /// The machine's clock is set; no timer may care.
    pub fn set_clock(&mut self, to: u64) {
        self.wall_base = to;
        self.clock_was_set = true;
    }

    /// A changed configuration is in force on all shards.
    pub fn apply(&mut self, mut spec: Spec) {
        self.version += 1;
        spec.version = self.version;
        let spec = Arc::new(spec);
        for switch in &mut self.switches {
            switch.apply(Arc::clone(&spec));
        }
        self.applied = spec;
    }

    fn make_switch(&mut self, shard: usize) -> Switch {
        let config = Config {
            node: 1,
            shard: shard as u8,
            shards: self.generations.len(),
            media_shards: self.media.len(),
            steering: self.steering,
            secret: self.secret,
            timers: sip::transaction::Timers::default(),
            calls_max: 1_000,
            trace_bytes: 100_000,
            generation: self.generations[shard],
            allow_panic: false,
            shared: self.shared.clone(),
        };
        let stats = Arc::new(SignallingStats::default());
        let mut switch = Switch::new(self.time(), config, Arc::clone(&self.applied), self.rng.fork(), stats);
        switch.set_bound(vec![vec![(Transport::Udp, SBC)]]);
        switch
    }

    /// Streams may be tried from now on; none will open.
    pub fn bind_tcp(&mut self) {
        self.tcp_bound = true;
        for switch in &mut self.switches {
            switch.set_bound(vec![vec![(Transport::Udp, SBC), (Transport::Tcp, SBC)]]);
        }
    }

    /// A signalling shard dies and another takes its place; calls of the old one are gone.
    pub fn restart_switch(&mut self, shard: usize) {
        self.generations[shard] += 1;
        let ids: Vec<Vec<u8>> = self.invited.iter().chain(&self.called).cloned().collect();
        let shards = self.switches.len();
        let lost = ids.into_iter().filter(|id| self.steering.owner(id, shards) == shard);
        self.forgotten.extend(lost);
        // What was on its way to the dead one is lost with it.
        self.queue.retain(|_, item| match item {
            Item::Resolved { shard: to, .. }
            | Item::Unreachable { shard: to, .. }
            | Item::SendFailed { shard: to, .. }
            | Item::Hooked { shard: to, .. }
            | Item::Handed { owner: to, .. } => *to != shard,
            Item::Event { .. } | Item::Datagram { .. } | Item::Command { .. } => true,
        });
        let switch = self.make_switch(shard);
        self.switches[shard] = switch;
        let generation = Generation(self.generations[shard]);
        for media in 0..self.media.len() {
            let command = Command::Hello { signalling: shard as u8, generation };
            self.push(Duration::from_millis(1), Item::Command { shard: media, command });
        }
    }

    /// A media shard dies; its successor tells everybody.
    pub fn restart_media(&mut self, shard: usize) {
        let (generation, rng) = (self.media[shard].generation + 1, self.rng.fork());
        let successor = MediaShard::new(self.time(), shard as u8, generation, rng);
        let dead = std::mem::replace(&mut self.media[shard], successor);
        self.media[shard].inherit(&dead);
        self.queue.retain(|_, item| !matches!(item, Item::Command { shard: to, .. } if *to == shard));
        for to in 0..self.switches.len() {
            let event = self.media[shard].started();
            self.push(Duration::from_millis(3), Item::Event { shard: to, event });
        }
    }

    /// The calls that a shard lists.
    pub fn calls_of(&mut self, shard: usize) -> Vec<CallId> {
        let (now, ids) = (self.time(), Arc::new(Mutex::new(Vec::new())));
        let slot = Arc::clone(&ids);
        let filter = CallFilter { limit: 100, ..CallFilter::default() };
        let answer = move |rows: Vec<CallSummary>| {
            slot.lock().expect("one thread").extend(rows.iter().map(|row| row.id));
        };
        self.switches[shard].handle_ask(now, Ask::List(filter, Box::new(answer)));
        ids.lock().expect("one thread").clone()
    }

    fn push(&mut self, after: Duration, item: Item) {
        self.order += 1;
        self.queue.insert((self.now + after, self.order), item);
    }

    /// A datagram enters the network.
    pub fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let weather = self.weather;
        if self.byes_lost > 0 && bytes.starts_with(b"BYE ") {
            let branch =
                bytes.split(|b| *b == b'\r').find(|line| line.starts_with(b"Via")).unwrap_or_default();
            if self.secret.of(branch) % 1_000 < self.byes_lost {
                return;
            }
        }
        let copies = if self.rng.below(1_000) < weather.doubled { 2 } else { 1 };
        for _ in 0..copies {
            if self.rng.below(1_000) < weather.lost {
                continue;
            }
            let delay = Duration::from_micros(5_000 + self.rng.below(weather.delay_max_ms * 1_000 + 1));
            self.push(delay, Item::Datagram { from, to, bytes: bytes.to_vec() });
        }
    }

    /// Runs until nothing is left to do or the time has come.
    pub fn run_until(&mut self, end: Instant) {
        self.flush();
        while let Some(at) = self.next().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.step();
        }
        self.now = self.now.max(end);
    }

    pub fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now + duration);
    }

    fn next(&self) -> Option<Instant> {
        let queue = self.queue.keys().next().map(|(at, _)| *at);
        let switches = self.switches.iter().filter_map(|s| s.poll_timeout()).map(|(at, _)| at);
        let media = self.media.iter().filter_map(MediaShard::poll_timeout);
        let phones = self.phones.iter().filter_map(Phone::poll_timeout);
        switches.chain(media).chain(phones).chain(queue).min()
    }

    fn step(&mut self) {
        let now = self.time();
        while let Some(entry) = self.queue.first_entry().filter(|e| e.key().0 <= now.mono) {
            let item = entry.remove();
            let before = self.places();
            self.take(item);
            self.flush();
            self.look_at_limits(&before);
        }
        let before = self.places();
        for switch in &mut self.switches {
            if switch.poll_timeout().is_some_and(|(at, _)| at <= now.mono) {
                switch.handle_timeout(now);
                self.drift += switch.stats().limit_drift.get();
            }
        }
        for media in &mut self.media {
            if media.poll_timeout().is_some_and(|at| at <= now.mono) {
                media.handle_timeout(now);
            }
        }
        for phone in &mut self.phones {
            if phone.poll_timeout().is_some_and(|at| at <= now.mono) {
                phone.handle_timeout(now.mono);
            }
        }
        self.flush();
        self.look_at_limits(&before);
    }

    fn places(&self) -> Vec<u32> {
        self.watched.iter().map(|pool| pool.used()).collect()
    }

    /// A limit may be exceeded by emergency calls, and by calls that were there when it was lowered; by nobody else.
    fn look_at_limits(&mut self, before: &[u32]) {
        for (index, before) in before.iter().enumerate() {
            let pool = Arc::clone(&self.watched[index]);
            let most = pool.bounds().calls.min(pool.lowered().unwrap_or(u32::MAX));
            if pool.used() > *before
                && pool.used() > most
                && !self.rows().iter().any(|row| is_emergency(&row.to))
            {
                self.exceeded.push(format!("{} of {most} places of {} taken", pool.used(), pool.name()));
            }
        }
    }

    /// All calls as the shards list them.
    pub fn rows(&mut self) -> Vec<CallSummary> {
        let (now, rows) = (self.time(), Arc::new(Mutex::new(Vec::new())));
        for switch in &mut self.switches {
            let slot = Arc::clone(&rows);
            let filter = CallFilter { limit: usize::MAX, ..CallFilter::default() };
            let answer = move |found: Vec<CallSummary>| slot.lock().expect("one thread").extend(found);
            switch.handle_ask(now, Ask::List(filter, Box::new(answer)));
        }
        std::mem::take(&mut rows.lock().expect("one thread"))
    }

    /// Lets everything arrive that is under way, while nobody does anything of their own; for networks that lose nothing.
    pub fn hold_still(&mut self) {
        self.phones.iter_mut().for_each(|phone| phone.is_frozen = true);
        self.flush();
        while let Some(at) = self.queue.keys().next().map(|(at, _)| *at) {
            self.run_until(at);
        }
        self.phones.iter_mut().for_each(|phone| phone.is_frozen = false);
    }

    fn take(&mut self, item: Item) {
        let now = self.time();
        match item {
            Item::Datagram { from, to, bytes } if to == SBC => self.take_sip(from, &bytes),
            Item::Datagram { from, to, bytes } if to.ip() == SBC.ip() => {
                let shard = self.media.iter_mut().find(|m| m.owns(to.port()));
                let hop = shard.and_then(|m| m.handle_packet(now, to.port(), from, &bytes));
                if let Some((from, to, bytes)) = hop {
                    self.send(from, to, &bytes);
                }
            }
            Item::Datagram { from, to, bytes } => {
                if let Some(phone) = self.phones.iter_mut().find(|p| p.address.ip() == to.ip() && p.is_alive)
                {
                    phone.handle_datagram(now.mono, from, to, &bytes);
                }
            }
            Item::Handed { owner, from, bytes } => {
                let Ok(message) = Message::parse(&bytes, Framing::Stream) else {
                    panic!("a handed message was checked before");
                };
                self.switches[owner].handle_message(now, &flow(from), &message);
            }
            Item::Command { shard, command } => self.media[shard].handle_command(now, command),
            Item::Event { shard, event } => self.switches[shard].handle_media(now, event),
            Item::Resolved { shard, query, hops } => {
                self.switches[shard].handle_resolved(now, query, hops);
            }
            Item::Unreachable { shard, remote, branch } => {
                self.switches[shard].handle_unreachable(now, remote, Some(&branch));
            }
            Item::SendFailed { shard, client } => self.switches[shard].handle_send_failed(now, client),
            Item::Hooked { shard, ticket, answer } => {
                self.switches[shard].handle_hooked(now, ticket, &answer);
            }
        }
    }

    /// Any shard may get a datagram; the owner of its Call-ID takes it.
    fn take_sip(&mut self, from: SocketAddr, bytes: &[u8]) {
        let now = self.time();
        self.note(from, SBC, bytes);
        let receiver = self.rng.below(self.switches.len() as u64) as usize;
        match Message::parse(bytes, Framing::Datagram) {
            Ok(message) => {
                let is_initial = message.is_request()
                    && message.method() == sip::message::Method::Invite
                    && message.to_tag().is_none();
                if is_initial {
                    self.invited.insert(message.call_id().to_vec());
                }
                let owner = self.steering.owner(message.call_id(), self.switches.len());
                if owner == receiver {
                    self.switches[owner].handle_message(now, &flow(from), &message);
                } else {
                    let bytes = message.raw().to_vec();
                    self.push(Duration::from_micros(50), Item::Handed { owner, from, bytes });
                }
            }
            Err(malformed) => self.switches[receiver].handle_malformed(now, &flow(from), &malformed),
        }
    }

    fn flush(&mut self) {
        for shard in 0..self.switches.len() {
            while let Some(output) = self.switches[shard].poll_output() {
                self.take_output(shard, output);
            }
        }
        for shard in 0..self.media.len() {
            while let Some(event) = self.media[shard].poll_event() {
                let to = event_owner(&event);
                self.push(Duration::from_micros(200), Item::Event { shard: to, event });
            }
        }
        for index in 0..self.phones.len() {
            let from = self.phones[index].address;
            for sent in std::mem::take(&mut self.phones[index].outbox) {
                match sent {
                    Sent::Sip(bytes) => self.send(from, SBC, &bytes),
                    Sent::Rtp { port, to, bytes } => {
                        self.send(SocketAddr::new(from.ip(), port), to, &bytes);
                    }
                }
            }
        }
    }

    fn take_output(&mut self, shard: usize, output: Output) {
        match output {
            Output::Send(transmit) => {
                let to = transmit.target.remote;
                self.note(SBC, to, &transmit.bytes);
                if let Ok(message) = Message::parse(&transmit.bytes, Framing::Stream) {
                    if message.cseq().method == sip::message::Method::Invite
                        && message.status().is_some_and(|code| code >= 200)
                    {
                        self.settled.insert(message.call_id().to_vec());
                    }
                    let is_initial = message.is_request()
                        && message.method() == sip::message::Method::Invite
                        && message.to_tag().is_none();
                    if is_initial {
                        self.called.insert(message.call_id().to_vec());
                    }
                    if message.is_request() && self.unreachable.contains(&to) {
                        let branch = message.top_via().branch().unwrap_or_default().to_vec();
                        let item = Item::Unreachable { shard, remote: to, branch };
                        return self.push(Duration::from_millis(5), item);
                    }
                } else if !transmit.bytes.windows(13).any(|part| part == b"399 strowger ") {
                    // What answers malformed requests repeats what was malformed in them.
                    panic!("we sent what is no SIP: {}", transmit.bytes.escape_ascii());
                }
                if transmit.target.transport != Transport::Udp {
                    if let Some(client) = transmit.client {
                        self.push(Duration::from_millis(5), Item::SendFailed { shard, client });
                    }
                    return;
                }
                self.send(SBC, to, &transmit.bytes);
            }
            Output::Media { shard, command } => {
                self.push(Duration::from_micros(200), Item::Command { shard, command });
            }
            Output::Resolve { query, target } => {
                let (after, hops) = self.resolve(&target);
                self.push(after, Item::Resolved { shard, query, hops });
            }
            Output::Ask { ticket, .. } => {
                if let Some((after, answer)) = self.hook() {
                    self.push(after, Item::Hooked { shard, ticket, answer });
                }
            }
            Output::Opened(cdr) => self.opened.push(*cdr),
            Output::Ended(cdr) => self.records.push(*cdr),
        }
    }

    /// What a hook answers, and when.
    fn hook(&mut self) -> Option<(Duration, HookAnswer)> {
        let late = (Duration::ZERO, HookAnswer::Failed(HookFailed::Late));
        let ms = Duration::from_millis;
        match &self.hooks {
            Hooks::Late => Some(late),
            Hooks::Lost => None,
            Hooks::Says(after, answer) => Some((*after, answer.clone())),
            Hooks::Anything(via) => {
                let via = Some(via[self.rng.below(via.len() as u64) as usize].clone());
                let route =
                    HookAnswer::Route { via, to: None, from: None, headers: Vec::new(), max_duration: None };
                match self.rng.below(10) {
                    0 => None,
                    1 => Some((ms(2_500 + self.rng.below(3_000)), HookAnswer::Continue)),
                    2 => Some((ms(self.rng.below(500)), HookAnswer::Reject { status: 486, reason: None })),
                    3 => Some((ms(self.rng.below(500)), HookAnswer::Failed(HookFailed::Unreachable))),
                    4..=6 => Some((ms(self.rng.below(1_900)), route)),
                    _ => Some((ms(self.rng.below(1_900)), HookAnswer::Continue)),
                }
            }
        }
    }

    fn resolve(&mut self, target: &SpecTarget) -> (Duration, Vec<Hop>) {
        let transport = target.transport.unwrap_or(Transport::Udp);
        let hop = |remote| Hop { transport, remote, local: SBC.ip() };
        if let Ok(ip) = target.host.parse::<IpAddr>() {
            return (Duration::ZERO, vec![hop(SocketAddr::new(ip, target.port.unwrap_or(5060)))]);
        }
        let addresses = self.names.get(&target.host).cloned().unwrap_or_default();
        let after = Duration::from_millis(1 + self.rng.below(300));
        (after, addresses.into_iter().map(hop).collect())
    }

    fn note(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        if self.is_traced {
            self.ladder.push((self.now, from, to, bytes.to_vec()));
        }
    }

    /// All messages that have to do with a phone's call, for failures.
    pub fn story(&self, text: &str) -> String {
        let mut out = String::new();
        for (at, from, to, bytes) in &self.ladder {
            let message = String::from_utf8_lossy(bytes);
            if message.contains(text) {
                let wanted = |line: &&str| {
                    [
                        "CSeq",
                        "To:",
                        "RSeq",
                        "RAck",
                        "Session-E",
                        "Reason",
                        "Warning",
                        "Call-ID",
                        "a=send",
                        "a=recv",
                        "a=inact",
                        "m=",
                    ]
                    .iter()
                    .any(|name| line.starts_with(name))
                };
                let lines: Vec<&str> = message.lines().skip(1).filter(wanted).collect();
                let first = message.lines().next().unwrap_or_default();
                out.push_str(&format!("{at:?} {} -> {} {first} | {}\n", from, to, lines.join(" | ")));
            }
        }
        out
    }

    /// Whether nothing of any call is left anywhere in the engine.
    pub fn is_quiet(&self) -> bool {
        self.switches.iter().all(Switch::is_empty) && self.media.iter().all(|m| m.bridges.is_empty())
    }
}

/// Numbers that begin with 9 are emergencies here.
pub fn is_emergency(number: &str) -> bool {
    number.starts_with('9')
}

/// A phone's message as our socket sees it.
fn flow(from: SocketAddr) -> Flow {
    Flow { transport: Transport::Udp, listener: 0, local: SBC, remote: from, stream: None }
}

fn event_owner(event: &Event) -> usize {
    match event {
        Event::Started { .. } => unreachable!("told by the world itself"),
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
        | Event::Closed { bridge, .. } => bridge.signalling_shard(),
    }
}

fn listener() -> Listener {
    Listener {
        name: "main".into(),
        sip: vec![SipBind { transport: Transport::Udp, address: SBC }],
        media: vec![MediaRange { address: SBC.ip(), ports: 20_000..=59_999 }],
        advertise: Vec::new(),
        dscp_sip: 24,
        dscp_rtp: 46,
        texts: b2bua::spec::Texts::Rfc,
    }
}

/// A trunk with defaults: recognised by a network, called at these targets.
pub fn trunk(name: &str, network: [u8; 4], to: &[&str]) -> b2bua::spec::Trunk {
    b2bua::spec::Trunk {
        from: vec![Source::Net { address: IpAddr::from(network), prefix: 24, port: None }],
        to: to
            .iter()
            .map(|host| SpecTarget { host: (*host).into(), port: None, transport: None, weight: 1 })
            .collect(),
        ..b2bua::spec::Trunk::new(name, Pool::new(name, u32::MAX))
    }
}

/// A route by pattern.
pub fn route(name: &str, from: &[usize], to: &str, via: usize) -> (Match, Route) {
    let from = From { trunks: from.to_vec(), ..From::default() };
    let to = vec![b2bua::number::Pattern::parse(to).expect("a pattern")];
    (Match { from, to, ..Match::default() }, Route::new(name, Action::To(Way::Trunk(via))))
}
