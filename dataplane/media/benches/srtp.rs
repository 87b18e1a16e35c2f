//! What encryption costs, a packet of 20 ms of G.711 (172 bytes) at a time, beside `webrtc-srtp`'s AES-CM in the same
//! run. `cargo bench -p media --bench srtp`; ratios and goals are printed below the times.
#![expect(clippy::print_stdout, reason = "a bench tells what it found")]
#![expect(clippy::disallowed_methods, reason = "a bench is driven in real time")]

use command::{SdesKeys, Suite};
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use media::srtp::{OVERHEAD_MAX, Opener, Sealer};
use std::hint::black_box;
use std::time::Instant;
use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;

const LEN: usize = 172;
/// Packets under one opener, which opens each but once.
const COUNT: u16 = 10_000;

fn packets(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("srtp, 172 bytes");
    let (seal_theirs, open_theirs) = theirs(&mut group);
    let mut ratios = Vec::new();
    for suite in Suite::ALL {
        let goal = if matches!(suite, Suite::AeadAes256Gcm | Suite::AeadAes128Gcm) { 0.4 } else { 0.7 };
        let (seal, open) = ours(&mut group, suite);
        ratios.push((suite.name(), "seal", seal / seal_theirs, goal));
        ratios.push((suite.name(), "open", open / open_theirs, goal));
    }
    group.finish();
    println!("of what webrtc-srtp needs for AES_CM_128_HMAC_SHA1_80 (goals are for 128-bit suites):");
    for (suite, what, ratio, goal) in ratios {
        println!("{suite:<24} {what} {ratio:.2} (goal {goal})");
    }
}

fn ours(group: &mut BenchmarkGroup<'_, WallTime>, suite: Suite) -> (f64, f64) {
    let keys = SdesKeys { suite, key: vec![7; suite.key_len() + suite.salt_len()], mki: Vec::new() };
    let mut sealer = Sealer::new(&keys).expect("a key of its suite");
    let mut buffer = [0; LEN + OVERHEAD_MAX];
    let mut sequence = 0;
    let seal = best(group, &format!("{} seal", suite.name()), || {
        sequence += 1;
        buffer[..LEN].copy_from_slice(&packet(sequence as u16));
        sealer.seal_rtp(black_box(&mut buffer), LEN).expect("a fresh number");
    });
    let mut sealer = Sealer::new(&keys).expect("a key of its suite");
    let sealed: Vec<_> = (0..COUNT)
        .map(|sequence| {
            buffer[..LEN].copy_from_slice(&packet(sequence));
            let len = sealer.seal_rtp(&mut buffer, LEN).expect("a fresh number");
            buffer[..len].to_vec()
        })
        .collect();
    let mut opener = Opener::new(&keys).expect("a key of its suite");
    let mut next = 0;
    let open = best(group, &format!("{} open", suite.name()), || {
        if next == sealed.len() {
            (next, opener) = (0, Opener::new(&keys).expect("a key of its suite"));
        }
        let packet = &mut buffer[..sealed[next].len()];
        packet.copy_from_slice(&sealed[next]);
        opener.open_rtp(black_box(packet)).expect("it authenticates");
        next += 1;
    });
    (seal, open)
}

fn theirs(group: &mut BenchmarkGroup<'_, WallTime>) -> (f64, f64) {
    let context = || {
        let profile = ProtectionProfile::Aes128CmHmacSha1_80;
        Context::new(&[7; 16], &[7; 14], profile, None, None).expect("a key")
    };
    let mut sealing = context();
    let mut sequence = 0;
    let seal = best(group, "webrtc-srtp AES_CM_128_HMAC_SHA1_80 seal", || {
        sequence += 1;
        black_box(sealing.encrypt_rtp(black_box(&packet(sequence as u16))).expect("sealed"));
    });
    let mut sealing = context();
    let sealed: Vec<_> =
        (0..COUNT).map(|sequence| sealing.encrypt_rtp(&packet(sequence)).expect("sealed")).collect();
    let mut opening = context();
    let mut next = 0;
    let open = best(group, "webrtc-srtp AES_CM_128_HMAC_SHA1_80 open", || {
        if next == sealed.len() {
            (next, opening) = (0, context());
        }
        black_box(opening.decrypt_rtp(black_box(&sealed[next])).expect("it authenticates"));
        next += 1;
    });
    (seal, open)
}

/// Measures and gives the best time of a call in nanoseconds.
fn best(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, mut work: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    group.bench_function(name, |b| {
        b.iter_custom(|times| {
            let start = Instant::now();
            for _ in 0..times {
                work();
            }
            let taken = start.elapsed();
            best = best.min(taken.as_nanos() as f64 / times as f64);
            taken
        });
    });
    best
}

fn packet(sequence: u16) -> [u8; LEN] {
    let mut packet = [0x55; LEN];
    packet[..2].copy_from_slice(&[0x80, 0]);
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet
}

criterion_group!(benches, packets);
criterion_main!(benches);
