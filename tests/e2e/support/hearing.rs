//! What is heard, judged: packets that go on without a jump, tones and where they break, sounds beside what they should be.

use super::talker::{Codec, Packet, decode};
use std::f64::consts::TAU;
use std::time::Duration;

/// Milliseconds of a window in which a tone must be clean.
const WINDOW_MS: u32 = 5;
/// What [`longest_break`] may say too much: a window is broken as soon as a part of it is.
pub const ACCURACY: Duration = Duration::from_millis(WINDOW_MS as u64);

/// The stream goes on: one SSRC, each number follows the one before, time grows by whole frames of 20 ms, and nowhere by
/// more than `gap`.
///
/// # Panics
/// Where it does not.
pub fn goes_on(packets: &[Packet], codec: Codec, gap: Duration) {
    let frame = codec.clock / 50;
    let most = (gap.as_millis() as u32 / 20 + 1) * frame;
    for (n, pair) in packets.windows(2).enumerate() {
        let [before, after] = pair else { continue };
        let place = format!(
            "packet {n} of {}: {:?}, {:?}",
            packets.len(),
            (before.ssrc(), before.sequence(), before.timestamp()),
            (after.ssrc(), after.sequence(), after.timestamp())
        );
        assert_eq!(before.ssrc(), after.ssrc(), "one SSRC: {place}");
        assert_eq!(before.sequence().wrapping_add(1), after.sequence(), "numbers follow: {place}");
        let step = after.timestamp().wrapping_sub(before.timestamp());
        assert!(step > 0 && step.is_multiple_of(frame) && step <= most, "time goes on by {step}: {place}");
    }
}

/// The speech of a stream of frames of 20 ms, each where its timestamp says; nothing where there was none.
pub fn timeline(codec: Codec, packets: &[Packet]) -> Vec<i16> {
    let Some(first) = packets.first() else { return Vec::new() };
    let speech = decode(codec, packets);
    let samples = codec.rate() as usize / 50;
    let mut line = Vec::new();
    for (packet, frame) in packets.iter().zip(speech.chunks(samples)) {
        let ticks = packet.timestamp().wrapping_sub(first.timestamp());
        let at = (u64::from(ticks) * u64::from(codec.rate()) / u64::from(codec.clock)) as usize;
        line.resize(line.len().max(at + frame.len()), 0);
        line[at..at + frame.len()].copy_from_slice(frame);
    }
    line
}

/// Amplitude of a tone in these samples.
pub fn amplitude(rate: u32, samples: &[i16], hz: u32) -> f64 {
    let (a, b, _) = fit(rate, samples, hz);
    a.hypot(b)
}

/// The longest stretch in which a tone is broken: it jumps, is weak, or something else is louder than a fifth of it.
/// Only what lies between its first and its last clean window counts.
pub fn longest_break(rate: u32, samples: &[i16], hz: u32) -> Duration {
    let (window, step) = ((rate * WINDOW_MS / 1000) as usize, (rate / 1000) as usize);
    let loud = amplitude(rate, &samples[..samples.len().min(rate as usize / 10)], hz);
    let is_clean = |window: &[i16]| {
        let (a, b, rest) = fit(rate, window, hz);
        a.hypot(b) > loud / 2.0 && rest < a.hypot(b) / 5.0
    };
    let clean: Vec<bool> = samples.windows(window).step_by(step).map(is_clean).collect();
    let (Some(first), Some(last)) = (clean.iter().position(|c| *c), clean.iter().rposition(|c| *c)) else {
        return Duration::from_secs(3_600);
    };
    let longest = clean[first..=last].split(|clean| *clean).map(<[bool]>::len).max().unwrap_or(0);
    // A window is broken as soon as its last millisecond is.
    Duration::from_millis((longest as u64).saturating_sub(u64::from(WINDOW_MS) - 2))
}

/// Fits a tone: its two parts, and the effective amplitude of what remains.
fn fit(rate: u32, samples: &[i16], hz: u32) -> (f64, f64, f64) {
    let step = TAU * f64::from(hz) / f64::from(rate);
    let (mut ss, mut cc, mut sc, mut sx, mut cx) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (n, x) in samples.iter().enumerate() {
        let ((s, c), x) = ((step * n as f64).sin_cos(), f64::from(*x));
        (ss, cc, sc, sx, cx) = (ss + s * s, cc + c * c, sc + s * c, sx + s * x, cx + c * x);
    }
    let det = ss * cc - sc * sc;
    if det.abs() < 1e-9 {
        return (0.0, 0.0, 0.0);
    }
    let (a, b) = ((sx * cc - cx * sc) / det, (cx * ss - sx * sc) / det);
    let rest: f64 = samples
        .iter()
        .enumerate()
        .map(|(n, x)| {
            let (s, c) = (step * n as f64).sin_cos();
            (f64::from(*x) - a * s - b * c).powi(2)
        })
        .sum();
    (a, b, (2.0 * rest / samples.len() as f64).sqrt())
}

/// Where `wanted` begins in `heard`, and how well it is matched there: decibels of signal over noise, at the best gain.
pub fn found(wanted: &[i16], heard: &[i16]) -> (usize, f64) {
    assert!(heard.len() >= wanted.len() && !wanted.is_empty(), "{} of {}", heard.len(), wanted.len());
    let power: f64 = wanted.iter().map(|x| f64::from(*x).powi(2)).sum();
    // Coarse by one sample of sixteen of the wanted sound, then by all.
    let likeness = |at: usize, each: usize| -> f64 {
        let pairs = wanted.iter().zip(&heard[at..]).step_by(each);
        pairs.map(|(w, h)| f64::from(*w) * f64::from(*h)).sum()
    };
    let mut places: Vec<(usize, f64)> =
        (0..=heard.len() - wanted.len()).map(|at| (at, likeness(at, 16))).collect();
    places.sort_by(|a, b| b.1.total_cmp(&a.1));
    let best = places.iter().take(32).map(|(at, _)| (*at, likeness(*at, 1)));
    let (at, like) = best.max_by(|a, b| a.1.total_cmp(&b.1)).expect("some places");
    let gain = like / power;
    let noise: f64 =
        wanted.iter().zip(&heard[at..]).map(|(w, h)| (f64::from(*h) - gain * f64::from(*w)).powi(2)).sum();
    (at, 10.0 * (gain * gain * power / noise.max(1.0)).log10())
}

/// A sound that is like no other: tones that glide and pulse as syllables do.
pub fn babble(rate: u32, samples: usize) -> Vec<i16> {
    let mut phases = [0.0f64; 3];
    (0..samples)
        .map(|n| {
            let t = n as f64 / f64::from(rate);
            let glide = [
                300.0 + 180.0 * (TAU * 1.3 * t).sin(),
                900.0 + 400.0 * (TAU * 0.7 * t).cos(),
                2_100.0 + 500.0 * (TAU * 2.1 * t).sin(),
            ];
            let loud = 0.55 + 0.45 * (TAU * 3.0 * t + 2.0 * (TAU * 0.4 * t).sin()).sin();
            let mut sum = 0.0;
            for (phase, hz) in phases.iter_mut().zip(glide) {
                *phase += TAU * hz / f64::from(rate);
                sum += phase.sin();
            }
            (sum * loud * 3_000.0) as i16
        })
        .collect()
}

/// A tone of this amplitude.
pub fn sine(rate: u32, hz: u32, samples: usize, amplitude: f64) -> Vec<i16> {
    let step = TAU * f64::from(hz) / f64::from(rate);
    (0..samples).map(|n| ((step * n as f64).sin() * amplitude) as i16).collect()
}

/// A WAV file of one channel.
pub fn wav(rate: u32, samples: &[i16]) -> Vec<u8> {
    let data: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let (len, bytes) = (data.len() as u32, rate * 2);
    [
        &b"RIFF"[..],
        &(len + 36).to_le_bytes(),
        b"WAVEfmt \x10\0\0\0\x01\0\x01\0",
        &rate.to_le_bytes(),
        &bytes.to_le_bytes(),
        b"\x02\0\x10\0data",
        &len.to_le_bytes(),
        &data,
    ]
    .concat()
}

#[test]
fn breaks_are_found_and_measured() {
    let tone = sine(8_000, 440, 8_000, 8_000.0);
    assert_eq!(longest_break(8_000, &tone, 440), Duration::ZERO);
    let mut gap = tone.clone();
    gap[3_000..3_240].fill(0);
    let found = longest_break(8_000, &gap, 440);
    assert!((28..=34).contains(&found.as_millis()), "{found:?}");
    // A jump of phase by half a period.
    let jump = [&tone[..3_000], &tone[3_009..]].concat();
    let found = longest_break(8_000, &jump, 440);
    assert!((1..=6).contains(&found.as_millis()), "{found:?}");
}

#[test]
fn a_sound_is_found_in_what_was_heard() {
    let wanted = babble(8_000, 8_000);
    let noise = |n: usize| (n as u32).wrapping_mul(2_654_435_761).wrapping_shr(24) as i16 - 128;
    let mut heard: Vec<i16> = (0..12_000).map(noise).collect();
    for (at, sample) in wanted.iter().enumerate() {
        heard[1_234 + at] += sample / 2;
    }
    let (at, decibels) = found(&wanted, &heard);
    assert!(at == 1_234 && (15.0..35.0).contains(&decibels), "{at} {decibels}");
}
