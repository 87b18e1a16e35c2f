//! The mixer alone: adding one block to a sum, and the ticks of rooms. `cargo bench -p media --bench mixer`.

use codec::pcm;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use media::mixer::{Heard, Mixer, MixerConfig, SeatConfig, SeatKey};
use std::hint::black_box;

criterion_main!(benches);
criterion_group!(benches, mix_in, rooms);

/// What is added for each talker and rate; goal: 20 ns for 160 samples.
fn mix_in(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mix_in");
    for samples in [160, 320, 960] {
        let (mut sum, pcm) = (vec![0; samples], speech(samples, 1));
        group.throughput(Throughput::Elements(samples as u64));
        group.bench_function(format!("{samples} samples"), |bench| {
            bench.iter(|| pcm::mix_in(black_box(&mut sum), black_box(&pcm)));
        });
    }
    group.finish();
}

/// One tick of 20 ms: all put what they say, three are heard, all take what they hear; goal: 1 ms for 1,000 seats.
fn rooms(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tick");
    for (name, seats, rates) in [
        ("1,000 seats at 8 kHz", 1_000, &[8_000][..]),
        ("1,000 seats at 8, 16 and 48 kHz", 1_000, &[8_000, 16_000, 48_000]),
        ("10 seats at 8 kHz", 10, &[8_000]),
        ("3 seats at 8, 16 and 48 kHz", 3, &[8_000, 16_000, 48_000]),
    ] {
        let mut mixer = Mixer::new(MixerConfig { frame_ms: 20, talkers: 3, seats_max: 1_000 });
        let says: Vec<(SeatKey, Vec<i16>)> = (0..seats)
            .map(|n| {
                let rate = rates[n % rates.len()];
                let seat = mixer.join(SeatConfig::at(rate)).expect("there is room");
                (seat, speech(rate as usize / 50, if n < 3 { 8_000 } else { 300 }))
            })
            .collect();
        let mut out = [0; 960];
        group.throughput(Throughput::Elements(seats as u64));
        group.bench_function(name, |bench| {
            bench.iter(|| {
                mixer.begin();
                for (seat, pcm) in &says {
                    mixer.put(*seat, pcm, None);
                }
                mixer.mix();
                let own =
                    says.iter().filter(|(seat, pcm)| mixer.take(*seat, &mut out[..pcm.len()]) == Heard::Own);
                assert_eq!(own.count(), 3, "three are heard");
            });
        });
    }
    group.finish();
}

/// Loud noise that repeats.
fn speech(samples: usize, loud: i16) -> Vec<i16> {
    (0..samples).map(|n| (n as i16).wrapping_mul(7_919) % loud.saturating_mul(2)).collect()
}
