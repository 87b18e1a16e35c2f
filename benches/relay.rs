//! The user code of one relayed packet, without system calls: socket's slot, classify, source check, statistics,
//! route. Packets of many calls come interleaved, as they do from the kernel, in batches of 64.
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

use base::{Duration, Instant, Now, Rng, Wall};
use command::spec::{Audience, EdgeSpec, Payload, Phase, PortSpec, Remote, Timeouts, Transform};
use command::{BridgeId, BridgeSpec, Party, PortIndex, RemoteTag};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use media::{Bridges, BridgesConfig, OpenPort, Packet, Slot};
use std::hint::black_box;
use std::net::SocketAddr;

/// Datagrams that one receive takes, as a media shard does.
const BATCH: usize = 64;
/// 20 ms of G.711 with its RTP header.
const PACKET: usize = 172;

fn relay(c: &mut Criterion) {
    let mut group = c.benchmark_group("relay");
    // One packet. Goal: at most 150 ns.
    group.throughput(Throughput::Elements(1));
    for calls in [1, 1_000] {
        group.bench_function(BenchmarkId::new("packet, calls", calls), |b| {
            let mut shard = Shard::new(calls);
            shard.run(100 * u64::from(calls) * 2); // learning is over, the latch is shut
            b.iter_custom(|packets| shard.run(packets));
        });
    }
    group.finish();
}

struct Shard {
    bridges: Bridges,
    now: Now,
    /// By stream: where its packets arrive and come from.
    streams: Vec<(Slot, SocketAddr)>,
    next: usize,
    sequence: u32,
    buffers: Vec<[u8; 2048]>,
}

impl Shard {
    fn new(calls: u32) -> Self {
        let now = Now { mono: Instant(1_000_000_000), wall: Wall(0) };
        let config = BridgesConfig {
            shard: 0,
            bridges_max: calls,
            slots_max: calls * 4,
            events_max: 4_096,
            orphan: Duration::from_secs(30),
            own: Vec::new(),
            rng: Rng::from_seed(1),
        };
        let mut bridges = Bridges::new(now, config);
        let mut streams = Vec::new();
        for call in 0..calls {
            let id = BridgeId::new(0, 0, 0, u64::from(call));
            let remotes = [[192, 0, 2, 15], [198, 51, 100, 40]]
                .map(|ip| SocketAddr::from((ip, 20_000 + 2 * call as u16)));
            for (side, remote) in remotes.into_iter().enumerate() {
                let slot = call * 4 + side as u32 * 2;
                let local = SocketAddr::from(([203, 0, 113, 1], 10_000 + slot as u16));
                let (rtp, rtcp) = (Slot(slot), Slot(slot + 1));
                let open = OpenPort { port: PortIndex(side as u16), local, rtp, rtcp };
                bridges.open(now, id, open).expect("there is room");
                streams.push((rtp, remote));
            }
            let spec = BridgeSpec {
                phase: Phase::Active,
                timeouts: Timeouts::default(),
                ports: vec![port(0, remotes[0]), port(1, remotes[1])],
                edges: vec![edge(0, 1), edge(1, 0)],
                room: None,
            };
            bridges.set(now, id, &spec).expect("a bridge of two is supported");
        }
        let buffers = vec![[0; 2048]; BATCH];
        Shard { bridges, now, streams, next: 0, sequence: 0, buffers }
    }

    /// Relays so many packets, and tells how long that took without making them.
    fn run(&mut self, packets: u64) -> std::time::Duration {
        let mut spent = std::time::Duration::ZERO;
        let mut left = packets;
        while left > 0 {
            if self.next == self.streams.len() {
                (self.next, self.sequence) = (0, self.sequence + 1);
                self.now.mono += Duration::from_millis(20);
                while self.bridges.poll_event().is_some() {}
            }
            let count = (self.streams.len() - self.next).min(BATCH).min(left as usize);
            for (index, buffer) in self.buffers[..count].iter_mut().enumerate() {
                rtp(buffer, (self.next + index) as u32, self.sequence);
            }
            let mut passed = 0;
            let start = std::time::Instant::now();
            for (index, buffer) in self.buffers[..count].iter_mut().enumerate() {
                let (slot, source) = self.streams[self.next + index];
                let mut packet = Packet { buffer, len: PACKET, truncated: false };
                let hop = self.bridges.handle_packet(self.now, slot, source, &mut packet);
                passed += usize::from(black_box(hop).is_ok());
            }
            spent += start.elapsed();
            assert_eq!(passed, count, "every packet is relayed");
            self.next += count;
            left -= count as u64;
        }
        spent
    }
}

fn rtp(buffer: &mut [u8], ssrc: u32, sequence: u32) {
    buffer[..2].copy_from_slice(&[0x80, 0]);
    buffer[2..4].copy_from_slice(&(sequence as u16).to_be_bytes());
    buffer[4..8].copy_from_slice(&sequence.wrapping_mul(160).to_be_bytes());
    buffer[8..12].copy_from_slice(&ssrc.to_be_bytes());
}

fn port(index: u16, rtp: SocketAddr) -> PortSpec {
    let payload = |number, encoding: &str| Payload {
        number,
        clock: 8_000,
        encoding: encoding.into(),
        fmtp: String::new(),
    };
    PortSpec {
        port: PortIndex(index),
        party: Party(index),
        remotes: vec![Remote {
            tag: RemoteTag(0),
            rtp: Some(rtp),
            rtcp: None,
            sends: true,
            receives: true,
            keys: None,
            sealed: false,
        }],
        active: Some(RemoteTag(0)),
        payloads: vec![payload(0, "pcmu"), payload(101, "telephone-event")],
        dscp: 46,
        ..PortSpec::default()
    }
}

fn edge(from: u16, to: u16) -> EdgeSpec {
    EdgeSpec {
        from: PortIndex(from),
        to: PortIndex(to),
        transform: Transform::Relay { payload_map: Vec::new(), rewrite: None },
        gain_centibel: 0,
        audience: Audience::All,
    }
}

criterion_group!(benches, relay);
criterion_main!(benches);
