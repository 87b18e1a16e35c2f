//! What coding costs, a packet of 20 ms at a time: G.711 beside `audio-codec-algorithms` in the same run, G.722, Opus at
//! the rates and complexities that calls use. `cargo bench -p codec`; ratios and goals are printed below the times.
#![expect(clippy::print_stdout, reason = "a bench tells what it found")]
#![expect(clippy::disallowed_methods, reason = "a bench is driven in real time")]

use audio_codec_algorithms as other;
use codec::coder::{Decoder, Encoder, EncoderSettings, Format, PAYLOAD_MAX};
use codec::g711;
use codec::registry::{CODECS, Codec, find};
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use std::hint::black_box;
use std::time::{Duration, Instant};

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

type Encode = (fn(&[i16], &mut [u8]), fn(i16) -> u8);
type Decode = (fn(&[u8], &mut [i16]), fn(u8) -> i16);

fn g711(c: &mut Criterion) {
    let mut group = c.benchmark_group("g711, 160 samples");
    let pcm = voice(8_000, 160);
    let mut coded = [0; 160];
    g711::encode_ulaw(&pcm, &mut coded);
    let mut ratios = Vec::new();
    let laws: [(&str, Encode, Decode); 2] = [
        ("u", (g711::encode_ulaw, other::encode_ulaw), (g711::decode_ulaw, other::decode_ulaw)),
        ("A", (g711::encode_alaw, other::encode_alaw), (g711::decode_alaw, other::decode_alaw)),
    ];
    for (law, encode, decode) in laws {
        let (mut out, mut samples) = ([0; 160], [0; 160]);
        let ours = best(&mut group, &format!("{law}-law encode"), || encode.0(black_box(&pcm), &mut out));
        let theirs = best(&mut group, &format!("{law}-law encode, other crate"), || {
            for (code, sample) in out.iter_mut().zip(black_box(&pcm)) {
                *code = encode.1(*sample);
            }
        });
        ratios.push((format!("{law}-law encode"), theirs / ours, 5.0));
        let ours =
            best(&mut group, &format!("{law}-law decode"), || decode.0(black_box(&coded), &mut samples));
        let theirs = best(&mut group, &format!("{law}-law decode, other crate"), || {
            for (sample, code) in samples.iter_mut().zip(black_box(&coded)) {
                *sample = decode.1(*code);
            }
        });
        ratios.push((format!("{law}-law decode"), theirs / ours, 2.5));
    }
    group.finish();
    for (what, ratio, goal) in ratios {
        println!("{what}: {ratio:.1} times as fast as audio-codec-algorithms (goal: {goal})");
    }
}

/// Each codec as calls use it: through the registry, with its concealment.
fn packets(c: &mut Criterion) {
    let mut group = c.benchmark_group("packets of 20 ms");
    group.measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    for codec in CODECS.iter().filter(|codec| codec.name != "opus" && codec.ptimes.contains(&20)) {
        let rate = codec.rates[0];
        let (mut encoder, mut decoder) = pair(codec, rate, 0);
        code(&mut group, &format!("{codec:?}"), &mut *encoder, &mut *decoder);
    }
    let opus = find(&OPUS).expect("a codec");
    for rate in [8_000, 16_000, 48_000] {
        for complexity in [0, 1, 5, 9] {
            let (mut encoder, mut decoder) = pair(opus, rate, complexity);
            let name = format!("opus at {rate} Hz, complexity {complexity}");
            code(&mut group, &name, &mut *encoder, &mut *decoder);
        }
    }
    let (mut encoder, _) = pair(opus, 48_000, 5);
    let mut decoder = opus.decoder(&OPUS, 8_000);
    let (sent, mut pcm, mut next) = (encoded(&mut *encoder), [0; 5_760], 0);
    best(&mut group, "opus of 48000 Hz decoded at 8000 Hz", || {
        decoder.decode(&sent[next], &mut pcm).expect("what was encoded");
        next = (next + 1) % sent.len();
    });
    best(&mut group, "opus concealed at 8000 Hz", || decoder.conceal(&mut pcm[..160]));
    group.finish();
}

const OPUS: Format<'_> = Format { name: "opus", clock: 48_000, channels: 2, fmtp: "" };

fn pair(codec: &Codec, rate: u32, complexity: u8) -> (Box<dyn Encoder>, Box<dyn Decoder>) {
    let format = Format { name: codec.name, clock: codec.clock, channels: codec.channels, fmtp: "" };
    (codec.encoder(&format, EncoderSettings { rate, complexity }), codec.decoder(&format, rate))
}

fn code(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    encoder: &mut dyn Encoder,
    decoder: &mut dyn Decoder,
) {
    let sent = encoded(encoder);
    let samples = encoder.rate() as usize / 50;
    let (spoken, mut payload) = (voice(encoder.rate(), 100 * samples), [0; PAYLOAD_MAX]);
    let (mut pcm, mut next) = ([0; 5_760], 0);
    best(group, &format!("{name}: encode"), || {
        encoder.encode(&spoken[next * samples..][..samples], &mut payload);
        next = (next + 1) % 100;
    });
    next = 0;
    best(group, &format!("{name}: decode"), || {
        decoder.decode(&sent[next], &mut pcm).expect("what was encoded");
        next = (next + 1) % sent.len();
    });
}

/// Two seconds in packets of 20 ms.
fn encoded(encoder: &mut dyn Encoder) -> Vec<Vec<u8>> {
    let samples = encoder.rate() as usize / 50;
    let mut payload = [0; PAYLOAD_MAX];
    let packet = |pcm: &[i16]| {
        let len = encoder.encode(pcm, &mut payload);
        payload[..len].to_vec()
    };
    voice(samples as u32 * 50, 100 * samples).chunks_exact(samples).map(packet).collect()
}

/// Recorded speech where the shared material is there, else a buzz that comes and goes.
fn voice(rate: u32, samples: usize) -> Vec<i16> {
    let root = std::env::var_os("STROWGER_TESTDATA").map_or_else(
        || std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/testdata"),
        Into::into,
    );
    let file = root.join("audio").join(format!("speech_{}k_a.wav", rate / 1_000));
    if let Ok(bytes) = std::fs::read(file) {
        // From one second on; the header is among what is passed over.
        let pcm =
            bytes[rate as usize * 2..].chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
        return pcm.take(samples).collect();
    }
    let sample = |n: usize| {
        let t = n as f64 / f64::from(rate) * core::f64::consts::TAU;
        let buzz: f64 = (1..12).map(|h| (t * 120.0 * f64::from(h)).sin() / f64::from(h)).sum();
        (buzz * (1.2 + (t * 3.0).sin()) * 3_000.0) as i16
    };
    (0..samples).map(sample).collect()
}

criterion_group!(benches, g711, packets);
criterion_main!(benches);
