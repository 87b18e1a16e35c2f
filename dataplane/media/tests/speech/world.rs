//! A call between two peers that talk and listen in real formats; time moves when the test says so.

pub use crate::rules::{A, A_RTCP, A_RTP, B, B_RTCP, B_RTP, STRANGER, address, edge, relay, remote, rtcp};
use base::{Duration, Instant, Now, Wall};
use codec::coder::{Decoder, Encoder, EncoderSettings, Format, PAYLOAD_MAX};
use codec::registry;
use command::{
    BridgeId, BridgeSpec, Event, Order, Payload, Phase, PortIndex, PortReport, SdesKeys, Ticket, Timeouts,
    Transform, Verdict,
};
use media::wire::rtcp::{Compound, ReportBlock, SenderInfo};
use media::wire::rtp::{Header, Rtp};
use media::{Bridges, OpenPort, Packet, Slot, Unsupported};
use std::f64::consts::TAU;
use std::net::SocketAddr;

pub const A_CONTROL: &str = "192.0.2.1:4001";
pub const B_CONTROL: &str = "198.51.100.1:5001";

/// A payload type of a peer.
pub fn payload(number: u8, name: &str, clock: u32) -> Payload {
    Payload { number, clock, encoding: name.into(), fmtp: String::new() }
}

pub fn with_parameters(payload: Payload, fmtp: &str) -> Payload {
    Payload { fmtp: fmtp.into(), ..payload }
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

pub fn linear() -> Payload {
    payload(97, "l16", 16_000)
}

pub fn noise() -> Payload {
    payload(13, "cn", 8_000)
}

pub fn events() -> Payload {
    payload(101, "telephone-event", 8_000)
}

pub fn format_of(payload: &Payload) -> Format<'_> {
    let channels = if payload.encoding == "opus" { 2 } else { 1 };
    Format { name: &payload.encoding, clock: payload.clock, channels, fmtp: &payload.fmtp }
}

pub fn transcode(to: u8, ptime_ms: u16) -> Transform {
    Transform::Transcode { to_payload: to, ptime_ms }
}

/// Something that left.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Microseconds since the beginning.
    pub at: u64,
    pub slot: u32,
    pub target: String,
    pub bytes: Vec<u8>,
}

/// An RTP packet that left.
#[derive(Clone, Debug)]
pub struct Heard {
    pub at: u64,
    pub header: Header,
    pub payload: Vec<u8>,
}

pub struct World {
    pub bridges: Bridges,
    pub id: BridgeId,
    pub spec: BridgeSpec,
    /// Microseconds since the beginning.
    pub micros: u64,
    pub sent: Vec<Sent>,
    pub told: Vec<Event>,
    /// While timers are not looked at.
    pub stalled: bool,
}

impl World {
    /// A has these formats, B those; each hears the first of its own, in packets of so many milliseconds.
    pub fn call(a: &[Payload], a_ptime: u16, b: &[Payload], b_ptime: u16) -> Self {
        let (to_a, to_b) = (transcode(a[0].number, a_ptime), transcode(b[0].number, b_ptime));
        World::with(a, b, |spec| (spec.edges[0].transform, spec.edges[1].transform) = (to_b, to_a))
    }

    /// A relayed call, but for what `change` says.
    pub fn with(a: &[Payload], b: &[Payload], change: impl FnOnce(&mut BridgeSpec)) -> Self {
        let mut ports = vec![crate::rules::port(0, A), crate::rules::port(1, B)];
        (ports[0].payloads, ports[1].payloads) = (a.to_vec(), b.to_vec());
        let mut spec = BridgeSpec {
            phase: Phase::Active,
            timeouts: Timeouts::default(),
            ports,
            edges: vec![edge(0, 1, relay()), edge(1, 0, relay())],
            room: None,
        };
        change(&mut spec);
        let mut world = World {
            bridges: Bridges::new(at(0), crate::rules::config()),
            id: BridgeId::new(0, 0, 3, 1),
            spec: spec.clone(),
            micros: 0,
            sent: Vec::new(),
            told: Vec::new(),
            stalled: false,
        };
        let id = world.id;
        for index in 0..spec.ports.len() as u16 {
            world.open(id, index, u32::from(index) * 2);
        }
        world.bridges.set(at(0), id, &spec).unwrap();
        world
    }

    pub fn open(&mut self, bridge: BridgeId, index: u16, slot: u32) {
        let local = SocketAddr::new("10.0.0.1".parse().unwrap(), 30_000 + slot as u16);
        let open = OpenPort { port: PortIndex(index), local, rtp: Slot(slot), rtcp: Slot(slot + 1) };
        self.bridges.open(self.now(), bridge, open).unwrap();
    }

    pub fn now(&self) -> Now {
        at(self.micros)
    }

    pub fn set(&mut self, change: impl FnOnce(&mut BridgeSpec)) {
        assert_eq!(self.try_set(change), Ok(()));
    }

    pub fn try_set(&mut self, change: impl FnOnce(&mut BridgeSpec)) -> Result<(), Unsupported> {
        change(&mut self.spec);
        self.bridges.set(self.now(), self.id, &self.spec)
    }

    pub fn order(&mut self, ticket: u64, order: &Order) -> Result<(), Unsupported> {
        let taken = self.bridges.order(self.now(), self.id, Ticket(ticket), order);
        self.drain();
        taken
    }

    /// A packet comes; whether it passed (else something is or will be made of it), or why nothing comes of it.
    pub fn send(&mut self, slot: u32, source: &str, bytes: &[u8]) -> Result<bool, Verdict> {
        let mut buffer = [0; 2048];
        buffer[..bytes.len()].copy_from_slice(bytes);
        let mut packet = Packet { buffer: &mut buffer, len: bytes.len(), truncated: false };
        let hop = self.bridges.handle_packet(self.now(), Slot(slot), address(source), &mut packet);
        let len = packet.len;
        if let Ok(Some(hop)) = hop {
            let (slot, target, bytes) = (hop.slot.0, hop.target.to_string(), buffer[..len].to_vec());
            self.sent.push(Sent { at: self.micros, slot, target, bytes });
        }
        self.drain();
        hop.map(|hop| hop.is_some())
    }

    pub fn drain(&mut self) {
        let World { bridges, micros, sent, told, .. } = self;
        bridges.drain_made(|hop, bytes| {
            let (slot, target, bytes) = (hop.slot.0, hop.target.to_string(), bytes.to_vec());
            sent.push(Sent { at: *micros, slot, target, bytes });
        });
        told.extend(std::iter::from_fn(|| bridges.poll_event()));
    }

    /// Lets time pass, with all timers.
    pub fn wait(&mut self, ms: u64) {
        self.wait_micros(ms * 1_000);
    }

    pub fn wait_micros(&mut self, micros: u64) {
        let end = self.micros + micros;
        while let Some((due, _)) = self.bridges.poll_timeout().filter(|_| !self.stalled) {
            let due = due.0.div_ceil(1_000).saturating_sub(START_US);
            if due > end {
                break;
            }
            self.micros = self.micros.max(due);
            self.bridges.handle_timeout(self.now());
            self.drain();
        }
        self.micros = end;
    }

    /// RTP that has left by a slot since this was last asked; what left by others stays.
    pub fn heard(&mut self, slot: u32) -> Vec<Heard> {
        let is_rtp = |sent: &mut Sent| sent.slot == slot && !(192..=223).contains(&sent.bytes[1]);
        let sent: Vec<Sent> = self.sent.extract_if(.., is_rtp).collect();
        sent.into_iter()
            .map(|sent| {
                let rtp = Rtp::parse_sealed(&sent.bytes).unwrap();
                Heard { at: sent.at, header: rtp.header(), payload: rtp.payload().to_vec() }
            })
            .collect()
    }

    /// As [`World::heard`], but all of what has left by a slot, as it is.
    pub fn raw(&mut self, slot: u32) -> Vec<Sent> {
        self.sent.extract_if(.., |sent| sent.slot == slot).collect()
    }

    /// RTCP that has left by a slot since this was last asked: when, and what it says.
    pub fn reports(&mut self, slot: u32) -> Vec<Told> {
        let is_rtcp = |sent: &mut Sent| sent.slot == slot && (192..=223).contains(&sent.bytes[1]);
        let sent: Vec<Sent> = self.sent.extract_if(.., is_rtcp).collect();
        sent.into_iter().map(|sent| Told::of(sent.at, &sent.bytes)).collect()
    }

    pub fn port(&self, index: usize) -> PortReport {
        self.bridges.report(self.now(), self.id).unwrap().ports[index].clone()
    }

    pub fn dropped(&self, index: usize, verdict: Verdict) -> u64 {
        self.port(index).dropped.iter().find(|(v, _)| *v == verdict).map_or(0, |(_, n)| *n)
    }

    /// All that was dropped at a port.
    pub fn drops(&self, index: usize) -> Vec<(Verdict, u64)> {
        self.port(index).dropped
    }

    /// Both talk for so long, beginning now; each packet leaves when its last sample has been said.
    pub fn talk(&mut self, ms: u64, talkers: &mut [&mut Talker]) {
        let end = self.micros + ms * 1_000;
        talkers.iter_mut().for_each(|talker| talker.next = talker.next.max(self.micros));
        loop {
            let Some(talker) = talkers.iter_mut().min_by_key(|talker| talker.next) else { return };
            if talker.next >= end {
                break;
            }
            self.wait_micros(talker.next - self.micros);
            talker.next += u64::from(talker.ptime_ms) * 1_000;
            let packet = talker.speak();
            if packet.len() == 12 {
                // The encoder has nothing to say.
                talker.header.sequence = talker.header.sequence.wrapping_sub(1);
                continue;
            }
            self.send(talker.slot, talker.address, &packet).unwrap();
        }
        self.wait_micros(end - self.micros);
    }
}

/// What a compound RTCP packet says.
#[derive(Debug)]
pub struct Told {
    pub at: u64,
    pub kinds: Vec<u8>,
    pub sender: u32,
    pub info: Option<SenderInfo>,
    pub blocks: Vec<ReportBlock>,
}

impl Told {
    pub fn of(at: u64, bytes: &[u8]) -> Told {
        let compound = Compound::parse(bytes).unwrap();
        Told {
            at,
            kinds: compound.parts().map(|part| part.kind()).collect(),
            sender: compound.parts().next().and_then(|part| part.sender()).unwrap(),
            info: compound.parts().find_map(|part| part.sender_info()),
            blocks: compound.parts().flat_map(|part| part.blocks().collect::<Vec<_>>()).collect(),
        }
    }
}

/// A peer that says a tone of 440 Hz.
pub struct Talker {
    pub slot: u32,
    pub address: &'static str,
    pub header: Header,
    pub ptime_ms: u16,
    clock: u32,
    encoder: Box<dyn Encoder>,
    /// Hz, and amplitude.
    pub tone: (f64, f64),
    /// It says vowels instead: harmonics of 120 Hz that swell.
    pub voiced: bool,
    samples: u64,
    /// When its next packet leaves, in microseconds.
    next: u64,
}

impl Talker {
    pub fn a(payload: &Payload, ptime_ms: u16) -> Self {
        Talker::new(A_RTP, A, payload, ptime_ms)
    }

    pub fn b(payload: &Payload, ptime_ms: u16) -> Self {
        Talker::new(B_RTP, B, payload, ptime_ms)
    }

    fn new(slot: u32, address: &'static str, payload: &Payload, ptime_ms: u16) -> Self {
        let format = format_of(payload);
        let codec = registry::find(&format).unwrap();
        let encoder =
            codec.encoder(&format, EncoderSettings { rate: codec.bandwidth(&format), complexity: 5 });
        let header = Header {
            marker: true,
            payload_type: payload.number,
            sequence: 65_500,
            timestamp: u32::MAX - 20_000,
            ssrc: 0xa000_0000 | slot,
        };
        Talker {
            slot,
            address,
            header,
            ptime_ms,
            clock: payload.clock,
            encoder,
            tone: (440.0, 8_000.0),
            voiced: false,
            samples: 0,
            next: 0,
        }
    }

    /// The next packet.
    pub fn speak(&mut self) -> Vec<u8> {
        let rate = self.encoder.rate();
        let len = rate as usize * usize::from(self.ptime_ms) / 1000;
        let (hertz, amplitude) = self.tone;
        let pcm: Vec<i16> = (self.samples..self.samples + len as u64)
            .map(|n| {
                let time = n as f64 / f64::from(rate);
                if self.voiced { vowel(time) } else { (amplitude * (time * hertz * TAU).sin()) as i16 }
            })
            .collect();
        self.samples += len as u64;
        let mut coded = [0; PAYLOAD_MAX];
        let len = self.encoder.encode(&pcm, &mut coded);
        let packet = self.packet(self.header.payload_type, &coded[..len]);
        self.header.timestamp =
            self.header.timestamp.wrapping_add(self.clock * u32::from(self.ptime_ms) / 1000);
        packet
    }

    /// A packet of something else, with the next number and the present timestamp.
    pub fn packet(&mut self, payload_type: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = Header { payload_type, ..self.header }.to_bytes().to_vec();
        packet.extend(payload);
        self.header.sequence = self.header.sequence.wrapping_add(1);
        self.header.marker = false;
        packet
    }

    /// Says nothing for so long; what follows begins a talk spurt.
    pub fn pause(&mut self, ms: u32) {
        self.header.timestamp = self.header.timestamp.wrapping_add(self.clock / 1000 * ms);
        self.header.marker = true;
        self.samples += u64::from(self.encoder.rate() / 1000 * ms);
    }

    /// Goes on in another format of the same clock.
    pub fn change(&mut self, payload: &Payload) {
        let other = Talker::new(self.slot, self.address, payload, self.ptime_ms);
        self.samples = self.samples * u64::from(other.encoder.rate()) / u64::from(self.encoder.rate());
        (self.encoder, self.header.payload_type) = (other.encoder, payload.number);
    }

    /// The far end loses this much, in percent.
    pub fn set_loss(&mut self, percent: u8) {
        self.encoder.set_loss(percent);
    }
}

/// A moment of a voice: some vowel, louder and softer, four syllables a second.
fn vowel(time: f64) -> i16 {
    let pitch = 120.0 + 15.0 * (time * 2.1 * TAU).sin();
    let swell = 0.55 - 0.45 * (time * 4.0 * TAU).cos();
    let harmonics = (1..16).map(|n| {
        let hertz = f64::from(n) * pitch;
        let formant = |centre: f64, width: f64| 1.0 / (1.0 + ((hertz - centre) / width).powi(2));
        (formant(650.0, 90.0) + 0.5 * formant(1_200.0, 120.0)) * (time * f64::from(n) * 120.0 * TAU).sin()
    });
    (5_000.0 * swell * harmonics.sum::<f64>()) as i16
}

/// Decodes packets of one format, at the codec's highest rate: samples and their rate. No gaps are filled.
pub fn listen(payload: &Payload, heard: &[Heard]) -> (Vec<i16>, u32) {
    let mut decoder = decoder(payload);
    let mut samples = Vec::new();
    let mut pcm = vec![0; 48 * 120];
    for packet in heard.iter().filter(|packet| packet.header.payload_type == payload.number) {
        let len = decoder.decode(&packet.payload, &mut pcm).unwrap();
        samples.extend(&pcm[..len]);
    }
    (samples, decoder.rate())
}

pub fn decoder(payload: &Payload) -> Box<dyn Decoder> {
    let format = format_of(payload);
    let codec = registry::find(&format).unwrap();
    codec.decoder(&format, codec.bandwidth(&format))
}

/// The level in dB against a sine of amplitude 32,768.
pub fn level(pcm: &[i16]) -> f64 {
    let energy: f64 = pcm.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    10.0 * (2.0 * energy / pcm.len() as f64 / 32_768.0f64.powi(2)).log10()
}

/// The frequency of a lone tone, by its zero crossings upwards.
pub fn frequency(pcm: &[i16], rate: u32) -> f64 {
    let crossings: Vec<f64> = pcm
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| pair[0] < 0 && pair[1] >= 0)
        .map(|(n, pair)| n as f64 + f64::from(pair[0]) / (f64::from(pair[0]) - f64::from(pair[1])))
        .collect();
    let (Some(first), Some(last)) = (crossings.first(), crossings.last()) else { return 0.0 };
    (crossings.len() - 1) as f64 * f64::from(rate) / (last - first)
}

/// The level of one frequency in dB, as [`level`].
pub fn level_at(pcm: &[i16], rate: u32, hertz: f64) -> f64 {
    let (mut re, mut im) = (0.0, 0.0);
    for (n, sample) in pcm.iter().enumerate() {
        let angle = n as f64 * hertz * TAU / f64::from(rate);
        re += f64::from(*sample) * angle.cos();
        im += f64::from(*sample) * angle.sin();
    }
    20.0 * (2.0 * (re * re + im * im).sqrt() / pcm.len() as f64 / 32_768.0 + 1e-9).log10()
}

/// Sequence + 1 always, one SSRC, and timestamps that grow by `step` each, except at the packets that `jumps` names.
#[track_caller]
pub fn assert_steps(heard: &[Heard], step: u32) {
    for pair in heard.windows(2) {
        let [before, after] = pair else { unreachable!() };
        assert_eq!(after.header.ssrc, before.header.ssrc);
        assert_eq!(after.header.sequence, before.header.sequence.wrapping_add(1), "{:?}", after.header);
        let grown = after.header.timestamp.wrapping_sub(before.header.timestamp);
        assert_eq!(
            grown, step,
            "{:?} at {} after {:?} at {}",
            after.header, after.at, before.header, before.at
        );
    }
}

/// Sequence + 1 always and one SSRC; how the timestamps grow.
#[track_caller]
pub fn steps(heard: &[Heard]) -> Vec<u32> {
    heard
        .windows(2)
        .map(|pair| {
            assert_eq!(pair[1].header.ssrc, pair[0].header.ssrc);
            assert_eq!(pair[1].header.sequence, pair[0].header.sequence.wrapping_add(1));
            pair[1].header.timestamp.wrapping_sub(pair[0].header.timestamp)
        })
        .collect()
}

pub fn keys(suite: command::Suite, fill: u8) -> SdesKeys {
    let len = suite.key_len() + suite.salt_len();
    SdesKeys {
        suite,
        key: (0..len).map(|n| fill.wrapping_add((n as u8).wrapping_mul(7))).collect(),
        mki: Vec::new(),
    }
}

/// Late enough for times before the beginning.
const START_US: u64 = 10_000_000;
/// On the wall at the beginning.
pub const WALL_US: u64 = 1_700_000_000_000_000;

pub fn at(micros: u64) -> Now {
    Now { mono: Instant((micros + START_US) * 1_000), wall: Wall(WALL_US + micros) }
}

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
