//! Many bridges, and peers with real codecs that talk through them: what each hears is decoded and judged. Time is
//! virtual; timers run when they are due, or late where a test wants it so.

use base::{Duration, Instant, Now, Rng, Wall};
use codec::coder::{Decoder, Encoder, EncoderSettings, Format, PAYLOAD_MAX};
use codec::registry;
use command::spec::{Audience, Secure};
use command::{
    BridgeId, BridgeSpec, Clip, EdgeSpec, Ended, Event, Order, Party, Payload, Phase, PlayMode, PortIndex,
    PortSpec, Remote, RemoteTag, RoomSpec, SdesKeys, Seat, Sound, Ticket, Timeouts, Transform, Verdict,
};
use media::srtp::{Opener, Sealer};
use media::wire::rtcp::{Compound, SenderInfo};
use media::wire::rtp::{Header, Rtp};
use media::{Bridges, BridgesConfig, OpenPort, Packet, Slot, Unsupported};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;

pub const MS: u64 = 1_000_000;
/// Late enough for times before the beginning, and not on a tick of anything.
const START: u64 = 10_000 * MS + 3 * MS;

/// What a peer says, sample by sample.
pub enum Says {
    /// Frequency and amplitude.
    Sine(f64, f64),
    /// Several at once.
    Chord(Vec<(f64, f64)>),
    /// Packets of silence.
    Quiet,
    /// No packets.
    Nothing,
    /// These samples, then again.
    Samples(Vec<i16>),
    /// What it has heard, so many milliseconds later and changed by a factor: a line's echo. Besides nothing.
    Echo(u64, f64),
}

/// One packet that came.
#[derive(Clone)]
pub struct Got {
    /// Nanoseconds.
    pub at: u64,
    pub header: Header,
    pub payload: Vec<u8>,
    pub bytes: Vec<u8>,
}

/// One who talks through a port.
pub struct Peer {
    pub says: Says,
    pub payload: Payload,
    pub address: SocketAddr,
    pub port: PortIndex,
    pub call: BridgeId,
    slot: u32,
    rate: u32,
    ptime_ms: u64,
    encoder: Box<dyn Encoder>,
    sample: u64,
    pub ssrc: u32,
    pub sequence: u16,
    pub timestamp: u32,
    /// The next packet.
    due: u64,
    /// What packets are delayed by at most, at random.
    pub jitter: u64,
    /// Percent that never arrive.
    pub loss: u64,
    rng: Rng,
    /// Packets as they were sent, and where in time.
    pub sent: Vec<(u64, Vec<u8>)>,
    pub got: Vec<Got>,
    /// RTCP: when, and its bytes.
    pub reports: Vec<(u64, Vec<u8>)>,
    /// The samples of what came, by time, for echoes.
    line: Vec<i16>,
    line_decoder: Box<dyn Decoder>,
    sealer: Option<Sealer>,
    opener: Option<Opener>,
}

/// A packet on its way: when it arrives, a running number, slot, peer, bytes.
type UnderWay = (u64, u64, u32, usize, Vec<u8>);

pub struct World {
    pub bridges: Bridges,
    /// Nanoseconds.
    pub time: u64,
    pub peers: Vec<Peer>,
    pub specs: HashMap<BridgeId, BridgeSpec>,
    pub events: Vec<(u64, Event)>,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    by_address: HashMap<SocketAddr, usize>,
    /// Timers are not run before.
    pub stalled_until: u64,
    slots: u32,
    serial: u64,
    tickets: u64,
    /// What was dropped on the packet path.
    pub dropped: Vec<Verdict>,
    /// How often a turn of timers left something for another one at once.
    pub slices: usize,
    /// Whether payloads are kept.
    pub keeps: bool,
}

pub fn payload(number: u8, encoding: &str, clock: u32) -> Payload {
    Payload { number, clock, encoding: encoding.into(), fmtp: String::new() }
}

pub fn pcmu() -> Payload {
    payload(0, "pcmu", 8_000)
}

pub fn pcma() -> Payload {
    payload(8, "pcma", 8_000)
}

pub fn g722() -> Payload {
    payload(9, "g722", 8_000)
}

pub fn opus() -> Payload {
    payload(111, "opus", 48_000)
}

pub fn l16(rate: u32) -> Payload {
    payload(96, "l16", rate)
}

fn format(payload: &Payload) -> Format<'_> {
    let channels = if payload.encoding == "opus" { 2 } else { 1 };
    Format { name: &payload.encoding, clock: payload.clock, channels, fmtp: &payload.fmtp }
}

pub fn decoder(payload: &Payload) -> Box<dyn Decoder> {
    let format = format(payload);
    let codec = registry::find(&format).unwrap();
    codec.decoder(&format, codec.bandwidth(&format))
}

fn encoder(payload: &Payload) -> Box<dyn Encoder> {
    let format = format(payload);
    let codec = registry::find(&format).unwrap();
    codec.encoder(&format, EncoderSettings { rate: codec.bandwidth(&format), complexity: 5 })
}

pub fn relay() -> Transform {
    Transform::Relay { payload_map: Vec::new(), rewrite: None }
}

pub fn edge(from: u16, to: u16, transform: Transform) -> EdgeSpec {
    let (from, to) = (PortIndex(from), PortIndex(to));
    EdgeSpec { from, to, transform, gain_centibel: 0, audience: Audience::All }
}

/// A seat that talks and hears.
pub fn seat(room: BridgeId) -> Seat {
    Seat { room, talks: true, hears: true, gain_centibel: 0, coaches: None }
}

pub fn tone(seconds: f64, rate: u32, frequency: f64, amplitude: f64) -> Vec<i16> {
    let len = (seconds * f64::from(rate)) as u64;
    (0..len).map(|n| sine(n, rate, frequency, amplitude)).collect()
}

fn sine(n: u64, rate: u32, frequency: f64, amplitude: f64) -> i16 {
    (amplitude * (std::f64::consts::TAU * frequency * n as f64 / f64::from(rate)).sin()) as i16
}

/// The amplitude of one frequency in samples.
pub fn amplitude(pcm: &[i16], rate: u32, frequency: f64) -> f64 {
    let (mut re, mut im) = (0.0, 0.0);
    for (n, sample) in pcm.iter().enumerate() {
        let angle = std::f64::consts::TAU * frequency * n as f64 / f64::from(rate);
        re += f64::from(*sample) * angle.cos();
        im += f64::from(*sample) * angle.sin();
    }
    2.0 * re.hypot(im) / pcm.len().max(1) as f64
}

pub fn energy_db(pcm: &[i16]) -> f64 {
    let sum: f64 = pcm.iter().map(|s| f64::from(*s).powi(2)).sum();
    10.0 * (sum / pcm.len().max(1) as f64).max(1e-3).log10()
}

/// One side of a call: its format, what it says, how long its packets are, and keys (ours, its own).
pub struct Side {
    pub payload: Payload,
    pub says: Says,
    pub ptime_ms: u64,
    pub keys: Option<(SdesKeys, SdesKeys)>,
}

pub fn side(payload: Payload, says: Says) -> Side {
    Side { payload, says, ptime_ms: 20, keys: None }
}

impl World {
    pub fn new() -> Self {
        World::sized(64)
    }

    pub fn sized(ports: u32) -> Self {
        let config = BridgesConfig {
            shard: 0,
            bridges_max: ports + 8,
            slots_max: ports * 2 + 16,
            events_max: 1 << 16,
            orphan: Duration::from_secs(300),
            own: vec!["10.0.0.1".parse().unwrap()],
            rng: Rng::from_seed(1),
        };
        World {
            bridges: Bridges::new(at(START), config),
            time: START,
            peers: Vec::new(),
            specs: HashMap::new(),
            events: Vec::new(),
            under_way: BinaryHeap::new(),
            by_address: HashMap::new(),
            stalled_until: 0,
            slots: 0,
            serial: 0,
            tickets: 0,
            dropped: Vec::new(),
            slices: 0,
            keeps: true,
        }
    }

    pub fn now(&self) -> Now {
        at(self.time)
    }

    /// A bridge with these peers, each fed to each other as relayed; their numbers.
    pub fn call(&mut self, sides: Vec<Side>) -> (BridgeId, Vec<usize>) {
        self.call_with(sides, |_| {})
    }

    pub fn call_with(
        &mut self,
        sides: Vec<Side>,
        change: impl FnOnce(&mut BridgeSpec),
    ) -> (BridgeId, Vec<usize>) {
        self.serial += 1;
        let id = BridgeId::new(0, 0, 3, self.serial);
        let (mut ports, mut peers, mut edges) = (Vec::new(), Vec::new(), Vec::new());
        let count = sides.len() as u16;
        for (index, side) in sides.into_iter().enumerate() {
            let index = index as u16;
            let slot = self.slots;
            self.slots += 2;
            let local = SocketAddr::new("10.0.0.1".parse().unwrap(), 10_000 + slot as u16);
            let open = OpenPort { port: PortIndex(index), local, rtp: Slot(slot), rtcp: Slot(slot + 1) };
            self.bridges.open(self.now(), id, open).unwrap();
            let number = self.peers.len();
            let address =
                SocketAddr::new([172, 16, (number >> 8) as u8, number as u8].into(), 4_000 + (index * 2));
            ports.push(port(index, address, &side));
            for other in (0..count).filter(|other| *other != index) {
                edges.push(edge(index, other, relay()));
            }
            self.by_address.insert(address, number);
            self.by_address.insert(SocketAddr::new(address.ip(), address.port() + 1), number);
            let mut rng = Rng::from_seed(number as u64 + 99);
            let encoder = encoder(&side.payload);
            let (sealer, opener) = match &side.keys {
                Some((ours, theirs)) => {
                    (Some(Sealer::new(theirs).unwrap()), Some(Opener::new(ours).unwrap()))
                }
                None => (None, None),
            };
            self.peers.push(Peer {
                says: side.says,
                address,
                port: PortIndex(index),
                call: id,
                slot,
                rate: encoder.rate(),
                ptime_ms: side.ptime_ms,
                encoder,
                sample: 0,
                ssrc: rng.u32(),
                sequence: rng.u32() as u16,
                timestamp: rng.u32(),
                // Each at its own phase.
                due: self.time + MS + rng.below(19 * MS),
                jitter: 0,
                loss: 0,
                rng,
                sent: Vec::new(),
                got: Vec::new(),
                reports: Vec::new(),
                line: Vec::new(),
                line_decoder: decoder(&side.payload),
                payload: side.payload,
                sealer,
                opener,
            });
            peers.push(number);
        }
        let mut spec =
            BridgeSpec { phase: Phase::Active, timeouts: Timeouts::default(), ports, edges, room: None };
        change(&mut spec);
        self.bridges.set(self.now(), id, &spec).unwrap();
        self.specs.insert(id, spec);
        (id, peers)
    }

    /// A call of one leg.
    pub fn solo(&mut self, payload: Payload, says: Says) -> (BridgeId, usize) {
        let (id, peers) = self.call(vec![side(payload, says)]);
        (id, peers[0])
    }

    /// An empty room. A bridge without ports is made as the shard makes it.
    pub fn room(&mut self, spec: RoomSpec) -> BridgeId {
        self.serial += 1;
        let id = BridgeId::new(0, 0, 3, self.serial);
        self.bridges.open_room(self.now(), id).unwrap();
        let spec = BridgeSpec { room: Some(spec), phase: Phase::Active, ..BridgeSpec::default() };
        self.bridges.set(self.now(), id, &spec).unwrap();
        self.specs.insert(id, spec);
        id
    }

    pub fn set(&mut self, id: BridgeId, change: impl FnOnce(&mut BridgeSpec)) {
        assert_eq!(self.try_set(id, change), Ok(()));
    }

    pub fn try_set(&mut self, id: BridgeId, change: impl FnOnce(&mut BridgeSpec)) -> Result<(), Unsupported> {
        let now = self.now();
        let mut spec = self.specs[&id].clone();
        change(&mut spec);
        self.bridges.set(now, id, &spec)?;
        self.specs.insert(id, spec);
        Ok(())
    }

    /// Gives a peer's port a seat, or takes it away.
    pub fn sit(&mut self, peer: usize, seat: Option<Seat>) {
        let (id, port) = (self.peers[peer].call, self.peers[peer].port);
        self.set(id, |spec| spec.ports[usize::from(port.0)].voice.seat = seat);
    }

    pub fn order(&mut self, id: BridgeId, order: &Order) -> Result<Ticket, Unsupported> {
        let ticket = self.ticket();
        self.bridges.order(self.now(), id, ticket, order).map(|()| ticket)
    }

    pub fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    /// How an order has ended; it must have ended once at most.
    pub fn ended(&self, ticket: Ticket) -> Option<Ended> {
        let mut ended = self.events.iter().filter_map(|(_, event)| match event {
            Event::Ended { ticket: of, ended, .. } if *of == ticket => Some(*ended),
            _ => None,
        });
        let first = ended.next();
        assert_eq!(ended.next(), None, "{ticket:?} ended twice");
        first
    }

    pub fn close(&mut self, id: BridgeId) {
        self.bridges.close(self.now(), id, |_, _| {}).unwrap();
        self.collect();
    }

    /// Lets time pass.
    pub fn run(&mut self, ms: u64) {
        let end = self.time + ms * MS;
        loop {
            let timer = self.bridges.poll_timeout().map_or(u64::MAX, |(at, _)| at.0.max(self.stalled_until));
            let speech = self.peers.iter().map(|peer| peer.due).min().unwrap_or(u64::MAX);
            let packet = self.under_way.peek().map_or(u64::MAX, |Reverse((at, ..))| *at);
            let next = timer.min(speech).min(packet);
            if next > end {
                self.time = end;
                return;
            }
            self.time = self.time.max(next);
            if packet <= next {
                let Some(Reverse((_, _, slot, peer, bytes))) = self.under_way.pop() else { continue };
                self.deliver(slot, peer, &bytes);
            } else if speech <= next {
                self.speak();
            } else {
                self.bridges.handle_timeout(at(self.time));
                self.collect();
                // Whatever is left is due at once: the rest of a long turn.
                let mut turns = 0;
                while self
                    .bridges
                    .poll_timeout()
                    .is_some_and(|(at, why)| at.0 <= self.time && why != "silence")
                    && turns < 1_000
                {
                    turns += 1;
                    self.slices += 1;
                    self.bridges.handle_timeout(at(self.time));
                    self.collect();
                }
            }
        }
    }

    /// Whoever's time has come says its next packet.
    fn speak(&mut self) {
        let time = self.time;
        for n in 0..self.peers.len() {
            if self.peers[n].due <= time
                && let Some((delay, bytes)) = self.peers[n].packet()
            {
                self.serial += 1;
                let slot = self.peers[n].slot;
                self.under_way.push(Reverse((time + delay, self.serial, slot, n, bytes)));
            }
        }
    }

    /// A packet of a peer arrives, by its RTP or RTCP socket.
    pub fn deliver(&mut self, slot: u32, peer: usize, bytes: &[u8]) {
        let is_rtcp = slot % 2;
        let mut source = self.peers[peer].address;
        source.set_port(source.port() + is_rtcp as u16);
        let mut buffer = [0; 2048];
        buffer[..bytes.len()].copy_from_slice(bytes);
        let mut packet = Packet { buffer: &mut buffer, len: bytes.len(), truncated: false };
        match self.bridges.handle_packet(at(self.time), Slot(slot), source, &mut packet) {
            Ok(Some(hop)) => {
                let bytes = packet.buffer[..packet.len].to_vec();
                self.receive(hop.target, &bytes);
                for hop in self.bridges.more_hops().to_vec() {
                    self.receive(hop.target, &bytes);
                }
            }
            Ok(None) => {}
            Err(verdict) => self.dropped.push(verdict),
        }
        self.collect();
    }

    /// RTCP of a peer arrives.
    pub fn report_from(&mut self, peer: usize, bytes: &[u8]) {
        let slot = self.peers[peer].slot + 1;
        self.deliver(slot, peer, bytes);
    }

    fn receive(&mut self, target: SocketAddr, bytes: &[u8]) {
        let Some(peer) = self.by_address.get(&target) else { panic!("nobody is at {target}") };
        let peer = &mut self.peers[*peer];
        if target == peer.address {
            peer.hear(self.time, bytes, self.keeps);
        } else {
            let mut bytes = bytes.to_vec();
            if let Some(opener) = &mut peer.opener {
                let len = opener.open_rtcp(&mut bytes).unwrap();
                bytes.truncate(len);
            }
            peer.reports.push((self.time, bytes));
        }
    }

    fn collect(&mut self) {
        let mut made = Vec::new();
        self.bridges.drain_made(|hop, bytes| made.push((hop.target, bytes.to_vec())));
        made.into_iter().for_each(|(target, bytes)| self.receive(target, &bytes));
        while let Some(event) = self.bridges.poll_event() {
            self.events.push((self.time, event));
        }
    }

    /// What was heard from `time` on, decoded.
    pub fn heard(&self, peer: usize, since: u64) -> Vec<i16> {
        self.peers[peer].decoded(since, u64::MAX)
    }

    /// The number of a peer's socket.
    pub fn slot(&self, peer: usize) -> u32 {
        self.peers[peer].slot
    }

    pub fn rate(&self, peer: usize) -> u32 {
        self.peers[peer].rate
    }

    /// The amplitude of a frequency in what a peer heard since then.
    pub fn hears(&self, peer: usize, since: u64, frequency: f64) -> f64 {
        amplitude(&self.heard(peer, since), self.rate(peer), frequency)
    }
}

impl Peer {
    /// What it says next: how long it is under way, and the packet. Afterwards it is due again.
    fn packet(&mut self) -> Option<(u64, Vec<u8>)> {
        let time = self.due;
        self.due += self.ptime_ms * MS;
        let samples = (u64::from(self.rate) * self.ptime_ms / 1_000) as usize;
        let first = self.sample;
        self.sample += samples as u64;
        let (sequence, timestamp) = (self.sequence, self.timestamp);
        self.timestamp =
            self.timestamp.wrapping_add((u64::from(self.payload.clock) * self.ptime_ms / 1_000) as u32);
        let pcm: Vec<i16> = match &self.says {
            Says::Nothing => return None,
            Says::Quiet => vec![0; samples],
            Says::Sine(frequency, amplitude) => {
                (first..self.sample).map(|n| sine(n, self.rate, *frequency, *amplitude)).collect()
            }
            Says::Chord(parts) => (first..self.sample)
                .map(|n| {
                    parts
                        .iter()
                        .map(|(frequency, amplitude)| sine(n, self.rate, *frequency, *amplitude))
                        .sum()
                })
                .collect(),
            Says::Samples(all) => {
                (first..self.sample).map(|n| all[(n % all.len() as u64) as usize]).collect()
            }
            Says::Echo(ms, factor) => {
                let delay = self.rate as usize * *ms as usize / 1_000;
                let end = self.line.len().saturating_sub(delay);
                let begin = end.saturating_sub(samples);
                let mut pcm = vec![0; samples - (end - begin)];
                pcm.extend(self.line[begin..end].iter().map(|s| (f64::from(*s) * factor) as i16));
                pcm
            }
        };
        self.sequence = self.sequence.wrapping_add(1);
        let mut body = [0; PAYLOAD_MAX];
        let len = self.encoder.encode(&pcm, &mut body);
        let header = Header {
            payload_type: self.payload.number,
            sequence,
            timestamp,
            ssrc: self.ssrc,
            ..Header::default()
        };
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend(&body[..len]);
        if let Some(sealer) = &mut self.sealer {
            let plain = bytes.len();
            bytes.resize(plain + media::srtp::OVERHEAD_MAX, 0);
            let len = sealer.seal_rtp(&mut bytes, plain).unwrap();
            bytes.truncate(len);
        }
        self.sent.push((time, bytes.clone()));
        if self.rng.below(100) < self.loss {
            return None;
        }
        let delay = if self.jitter > 0 { self.rng.below(self.jitter) } else { 0 };
        Some((delay, bytes))
    }

    fn hear(&mut self, at: u64, bytes: &[u8], keeps: bool) {
        let mut plain = bytes.to_vec();
        if let Some(opener) = &mut self.opener {
            let len = opener.open_rtp(&mut plain).unwrap();
            plain.truncate(len);
        }
        let rtp = Rtp::parse(&plain).unwrap();
        if let Says::Echo(..) = self.says {
            let mut pcm = [0; 5_760];
            let len = self.line_decoder.decode(rtp.payload(), &mut pcm).unwrap();
            self.line.extend(&pcm[..len]);
        }
        let payload = if keeps { rtp.payload().to_vec() } else { Vec::new() };
        self.got.push(Got { at, header: rtp.header(), payload, bytes: bytes.to_vec() });
    }

    /// Speech packets that came in a time.
    pub fn speech(&self, since: u64, until: u64) -> impl Iterator<Item = &Got> {
        let number = self.payload.number;
        self.got
            .iter()
            .filter(move |got| got.at >= since && got.at < until && got.header.payload_type == number)
    }

    /// All samples of what came in a time, in order of arrival.
    pub fn decoded(&self, since: u64, until: u64) -> Vec<i16> {
        let mut decoder = decoder(&self.payload);
        let mut all = Vec::new();
        let mut pcm = [0; 5_760];
        for got in self.speech(0, until) {
            let len = decoder.decode(&got.payload, &mut pcm).unwrap();
            if got.at >= since {
                all.extend(&pcm[..len]);
            }
        }
        all
    }

    /// What a receiver would hear, by the timestamps: sample `n` of the answer is that of the timestamp of the first
    /// packet plus `n`. What is missing is silence.
    pub fn timeline(&self, since: u64) -> Vec<i16> {
        let mut decoder = decoder(&self.payload);
        let mut all = Vec::new();
        let mut pcm = [0; 5_760];
        let mut first = None;
        for got in self.speech(since, u64::MAX) {
            let len = decoder.decode(&got.payload, &mut pcm).unwrap();
            let first = *first.get_or_insert(got.header.timestamp);
            let ticks = got.header.timestamp.wrapping_sub(first);
            assert!(ticks < 1 << 30, "the timestamp went back or far away");
            let place = (u64::from(ticks) * u64::from(self.rate) / u64::from(self.payload.clock)) as usize;
            if all.len() < place + len {
                all.resize(place + len, 0);
            }
            all[place..place + len].copy_from_slice(&pcm[..len]);
        }
        all
    }

    /// Sender reports that came: when, of whom, and what they say.
    pub fn sender_reports(&self) -> Vec<(u64, u32, SenderInfo)> {
        let mut found = Vec::new();
        for (at, bytes) in &self.reports {
            for part in Compound::parse(bytes).unwrap().parts() {
                if let (Some(sender), Some(info)) = (part.sender(), part.sender_info()) {
                    found.push((*at, sender, info));
                }
            }
        }
        found
    }
}

fn port(index: u16, address: SocketAddr, side: &Side) -> PortSpec {
    let event = payload(101, "telephone-event", if side.payload.encoding == "opus" { 48_000 } else { 8_000 });
    let remote = Remote {
        tag: RemoteTag(0),
        rtp: Some(address),
        rtcp: None,
        sends: true,
        receives: true,
        keys: side.keys.as_ref().map(|(_, theirs)| theirs.clone()),
        sealed: false,
    };
    PortSpec {
        port: PortIndex(index),
        party: Party(index),
        remotes: vec![remote],
        active: Some(RemoteTag(0)),
        payloads: vec![side.payload.clone(), event],
        dscp: 46,
        secure: side.keys.as_ref().map(|(ours, _)| Secure::Sdes(ours.clone())),
        ..PortSpec::default()
    }
}

pub fn at(time: u64) -> Now {
    Now { mono: Instant(time), wall: Wall(1_700_000_000_000_000 + time / 1_000) }
}

/// A clip of these samples.
pub fn clip(rate: u32, samples: Vec<i16>) -> Sound {
    Sound::Clip(Clip { rate, samples: samples.into() })
}

/// A play of it, once, from its beginning.
pub fn play(port: Option<PortIndex>, sound: Sound, mode: PlayMode) -> Order {
    Order::Play { port, sound, mode, times: Some(1), start: Duration::ZERO, gain_centibel: 0 }
}
