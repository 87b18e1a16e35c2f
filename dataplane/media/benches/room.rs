//! What a room costs from packets to packets: 1,000 parties of G.711 in one room, all send speech that is not silent,
//! the three loudest are heard. `cargo bench -p media --bench room`. Every output is decoded and checked once: each hears
//! the loudest but itself. Sockets are not part of it; CPU time is that of this thread.
#![expect(clippy::print_stdout, reason = "a bench tells what it found")]

use base::{Duration, Instant, Now, Rng, Wall};
use codec::coder::{Decoder, Encoder, EncoderSettings, Format, PAYLOAD_MAX};
use codec::registry;
use command::{
    BridgeId, BridgeSpec, Party, Payload, Phase, PortIndex, PortSpec, Remote, RemoteTag, RoomSpec, Seat,
    Timeouts, Voice,
};
use media::wire::rtp::Header;
use media::{Bridges, BridgesConfig, OpenPort, Packet, Slot};
use std::net::SocketAddr;

const PARTIES: u32 = 1_000;
/// Ticks before anything is measured, ticks that are measured, and ticks whose packets are decoded.
const WARM: u64 = 150;
const TICKS: u64 = 1_000;
const CHECKED: u64 = 25;
/// Of the loudest; multiples of 50, so that a packet ends where it began.
const PITCHES: [f64; 3] = [500.0, 750.0, 1_150.0];
/// Of all others, quietly.
const MURMUR: f64 = 2_400.0;
const MS: u64 = 1_000_000;

fn main() {
    let mut room = Room::new();
    room.run(WARM, |_, _| {});
    room.check();
    let begun = cpu_ns();
    let mut made = 0u64;
    room.run(TICKS, |_, _| made += 1);
    let nanos = (cpu_ns() - begun) as f64 / TICKS as f64;
    assert!(made >= u64::from(PARTIES) * TICKS, "{made} packets of {PARTIES} parties in {TICKS} ticks");
    let a_core = f64::from(PARTIES) * 20.0 * MS as f64 / nanos;
    println!("{PARTIES} parties of PCMU in one room, all talk, 3 are heard, every output checked for N-1");
    println!(
        "{:.0} us of CPU a tick of 20 ms, {:.0} ns a party; {a_core:.0} parties a core (goal 1000)",
        nanos / 1_000.0,
        nanos / f64::from(PARTIES)
    );
}

/// CPU time of this thread in nanoseconds, as the kernel counts it.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("a kernel that counts");
    text.split_whitespace().next().and_then(|first| first.parse().ok()).expect("nanoseconds first")
}

struct Room {
    bridges: Bridges,
    time: u64,
    tick: u64,
    /// What each sends, again and again.
    payloads: Vec<Vec<u8>>,
}

impl Room {
    fn new() -> Self {
        let time = 10_000 * MS;
        let config = BridgesConfig {
            shard: 0,
            bridges_max: PARTIES + 1,
            slots_max: PARTIES * 2,
            events_max: 1 << 14,
            orphan: Duration::from_secs(300),
            own: Vec::new(),
            rng: Rng::from_seed(1),
        };
        let mut bridges = Bridges::new(at(time), config);
        let room = BridgeId::new(0, 0, 0, 1);
        bridges.open_room(at(time), room).expect("there is room");
        let talk = RoomSpec { tell_talking: false, ..RoomSpec::default() };
        bridges
            .set(at(time), room, &BridgeSpec { room: Some(talk), ..BridgeSpec::default() })
            .expect("a room");
        let payloads = (0..PARTIES).map(|n| {
            let id = BridgeId::new(0, 0, 0, 2 + u64::from(n));
            let local = SocketAddr::new([10, 0, 0, 1].into(), (10_000 + n * 2) as u16);
            let open = OpenPort { port: PortIndex(0), local, rtp: Slot(n * 2), rtcp: Slot(n * 2 + 1) };
            bridges.open(at(time), id, open).expect("there is room");
            bridges.set(at(time), id, &seated(n, room)).expect("a seat");
            let (pitch, level) =
                PITCHES.get(n as usize).map_or((MURMUR, 200.0), |pitch| (*pitch, 6_000.0 + f64::from(n)));
            speech(pitch, level)
        });
        let payloads = payloads.collect();
        Room { bridges, time, tick: 0, payloads }
    }

    /// Ticks with a packet of each party, spread over the time between; `got` is called for each packet that is made.
    fn run(&mut self, ticks: u64, mut got: impl FnMut(SocketAddr, &[u8])) {
        let mut buffer = [0; 2048];
        for _ in 0..ticks {
            let n = self.tick;
            self.tick += 1;
            for ms in 0..20 {
                self.time += MS;
                for party in (ms..PARTIES).step_by(20) {
                    let header = Header {
                        sequence: n as u16,
                        timestamp: (n * 160) as u32,
                        ssrc: party + 1,
                        ..Header::default()
                    };
                    let payload = &self.payloads[party as usize];
                    buffer[..12].copy_from_slice(&header.to_bytes());
                    buffer[12..12 + payload.len()].copy_from_slice(payload);
                    let mut packet =
                        Packet { buffer: &mut buffer, len: 12 + payload.len(), truncated: false };
                    let passed = self.bridges.handle_packet(
                        at(self.time),
                        Slot(party * 2),
                        address(party),
                        &mut packet,
                    );
                    debug_assert!(passed.is_ok_and(|hop| hop.is_none()), "it is decoded rather than passed");
                }
                while self.bridges.poll_timeout().is_some_and(|(due, _)| due.0 <= self.time) {
                    self.bridges.handle_timeout(at(self.time));
                    self.bridges.drain_made(|hop, bytes| got(hop.target, bytes));
                    while self.bridges.poll_event().is_some() {}
                }
            }
        }
    }

    /// Each hears the loudest but itself, and nobody else.
    fn check(&mut self) {
        let mut heard: Vec<Vec<i16>> = vec![Vec::new(); PARTIES as usize];
        let mut decoder = decoder();
        self.run(CHECKED, |target, bytes| {
            // Reports go to odd ports.
            if target.port() == 4_000 {
                let SocketAddr::V4(target) = target else { return };
                let [.., high, low] = target.ip().octets();
                let mut pcm = [0; 960];
                let len = decoder.decode(&bytes[12..], &mut pcm).expect("PCMU");
                heard[usize::from(high) << 8 | usize::from(low)].extend(&pcm[..len]);
            }
        });
        for (n, pcm) in heard.iter().enumerate() {
            assert!(pcm.len() >= 160 * (CHECKED as usize - 1), "{n} got {} samples", pcm.len());
            let pcm = &pcm[..pcm.len() / 160 * 160];
            for (m, pitch) in PITCHES.iter().enumerate() {
                let level = amplitude(pcm, *pitch);
                assert!(if n == m { level < 150.0 } else { level > 4_500.0 }, "{n} hears {m} at {level}");
            }
            let murmur = amplitude(pcm, MURMUR);
            assert!(murmur < 150.0, "{n} hears the rest at {murmur}");
        }
    }
}

fn amplitude(pcm: &[i16], frequency: f64) -> f64 {
    let (mut re, mut im) = (0.0, 0.0);
    for (n, sample) in pcm.iter().enumerate() {
        let angle = std::f64::consts::TAU * frequency * n as f64 / 8_000.0;
        re += f64::from(*sample) * angle.cos();
        im += f64::from(*sample) * angle.sin();
    }
    2.0 * f64::hypot(re, im) / pcm.len() as f64
}

const PCMU: Format<'_> = Format { name: "pcmu", clock: 8_000, channels: 1, fmtp: "" };

fn decoder() -> Box<dyn Decoder> {
    registry::find(&PCMU).expect("it is there").decoder(&PCMU, 8_000)
}

/// 20 ms of a sine.
fn speech(pitch: f64, level: f64) -> Vec<u8> {
    let settings = EncoderSettings { rate: 8_000, complexity: 5 };
    let mut encoder: Box<dyn Encoder> = registry::find(&PCMU).expect("it is there").encoder(&PCMU, settings);
    let pcm: [i16; 160] =
        core::array::from_fn(|n| (level * (std::f64::consts::TAU * pitch * n as f64 / 8_000.0).sin()) as i16);
    let mut payload = [0; PAYLOAD_MAX];
    let len = encoder.encode(&pcm, &mut payload);
    payload[..len].to_vec()
}

fn address(party: u32) -> SocketAddr {
    SocketAddr::new([172, 16, (party >> 8) as u8, party as u8].into(), 4_000)
}

fn seated(party: u32, room: BridgeId) -> BridgeSpec {
    let remote = Remote {
        tag: RemoteTag(0),
        rtp: Some(address(party)),
        rtcp: None,
        sends: true,
        receives: true,
        keys: None,
        sealed: false,
    };
    let seat = Seat { room, talks: true, hears: true, gain_centibel: 0, coaches: None };
    let port = PortSpec {
        port: PortIndex(0),
        party: Party(0),
        remotes: vec![remote],
        active: Some(RemoteTag(0)),
        payloads: vec![Payload { number: 0, clock: 8_000, encoding: "pcmu".into(), fmtp: String::new() }],
        dscp: 46,
        voice: Voice { seat: Some(seat), ..Voice::default() },
        ..PortSpec::default()
    };
    BridgeSpec {
        phase: Phase::Active,
        timeouts: Timeouts::default(),
        ports: vec![port],
        edges: Vec::new(),
        room: None,
    }
}

fn at(time: u64) -> Now {
    Now { mono: Instant(time), wall: Wall(1_700_000_000_000_000 + time / 1_000) }
}
