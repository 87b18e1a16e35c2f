//! Conceals lost packets of codecs that code sample by sample, in the way of G.711 Appendix I but without its delay:
//! the last pitch periods go on, in full for 10 ms, gone after 60, when the background takes over.

use crate::noise::ComfortNoise;
use crate::pcm;

/// Hears one stream and fills its gaps.
#[derive(Clone, Debug)]
pub struct Plc {
    rate: usize,
    /// The last 48.75 ms: three of the longest periods and a quarter.
    history: Box<[i16]>,
    /// The history as it was before the gap.
    before: Box<[i16]>,
    /// Pitch period before the gap, in samples.
    period: usize,
    /// How many of the last periods are repeated: the cycle.
    periods: usize,
    /// Place in the cycle.
    at: usize,
    /// How much of this gap has been filled, in samples; 0 outside of gaps.
    filled: usize,
    noise: ComfortNoise,
}

/// The periods that are looked for, in microseconds: 200 to 66 Hz.
const PERIOD_MIN_US: usize = 5_000;
const PERIOD_MAX_US: usize = 15_000;
/// The longest history, that of 48 kHz, in samples.
const HISTORY_MAX: usize = 2_340;
/// Samples of 10 ms at 48 kHz.
const PIECE_MAX: usize = 480;

impl Plc {
    /// For that sampling rate in Hz, 8,000 to 48,000.
    pub fn new(rate: u32) -> Self {
        let rate = rate.clamp(8_000, 48_000) as usize;
        let longest = rate * PERIOD_MAX_US / 1_000_000;
        let len = longest * 13 / 4;
        Plc {
            rate,
            history: vec![0; len].into(),
            before: vec![0; len].into(),
            period: longest,
            periods: 1,
            at: 0,
            filled: 0,
            noise: ComfortNoise::new(rate as u32, 0x3389),
        }
    }

    /// A block that was received: remembered, and after a gap drawn to what had been made up.
    pub fn heard(&mut self, pcm: &mut [i16]) {
        if self.filled > 0 {
            self.rejoin(pcm);
            self.filled = 0;
        }
        self.noise.learn(pcm);
        self.remember(pcm);
    }

    /// Fills a block that was lost. Blocks of 10 ms or whole multiples sound best.
    pub fn conceal(&mut self, pcm: &mut [i16]) {
        self.make(pcm);
        self.remember(pcm);
    }

    /// Forgets what it has heard: another stream begins.
    pub fn reset(&mut self) {
        self.history.fill(0);
        self.filled = 0;
        self.noise.reset();
    }

    /// Goes on with what is made up, and fades over to what was received.
    fn rejoin(&mut self, pcm: &mut [i16]) {
        let ten = self.rate / 100;
        // A longer gap wants a longer transition: 4 ms for each 10 ms.
        let len = (self.period / 4 + self.filled / ten * self.rate / 250).min(ten).min(pcm.len());
        let mut old = [0; PIECE_MAX];
        let old = &mut old[..len];
        self.make(old);
        cross_fade(old, &mut pcm[..len]);
    }

    fn make(&mut self, pcm: &mut [i16]) {
        if self.filled == 0 {
            self.begin();
        }
        let ten = self.rate / 100;
        let mut rest = pcm;
        while !rest.is_empty() {
            let len = (ten - self.filled % ten).min(rest.len());
            let (piece, more) = rest.split_at_mut(len);
            self.make_piece(piece);
            self.filled += len;
            rest = more;
        }
    }

    /// Fills a piece that ends with 10 ms since the gap began, or before.
    fn make_piece(&mut self, piece: &mut [i16]) {
        let ten = self.rate / 100;
        if self.filled >= 6 * ten {
            self.noise.fill(piece);
            return;
        }
        let joint = (self.period / 4).min(piece.len());
        if self.filled == 0 {
            self.go_on(piece);
            // The last sample of speech and the first of the cycle were no neighbours: the step is spread.
            let last = self.before.len() - 1;
            let step = i32::from(self.before[last]) - i32::from(self.before[last - self.period]);
            for (n, sample) in piece[..joint].iter_mut().enumerate() {
                let part = step * (joint - n) as i32 / (joint + 1) as i32;
                *sample = (i32::from(*sample) + part).clamp(i16::MIN.into(), i16::MAX.into()) as i16;
            }
        } else if self.filled == ten || self.filled == 2 * ten {
            // More periods, so that it does not buzz; in phase with those before.
            let mut old = [0; PIECE_MAX];
            let old = &mut old[..joint];
            let at = self.at;
            self.go_on(old);
            self.at = at % self.period;
            self.periods = self.filled / ten + 1;
            self.go_on(piece);
            cross_fade(old, &mut piece[..joint]);
        } else {
            self.go_on(piece);
        }
        if self.filled < ten {
            return;
        }
        let level = |filled: usize| 1.0 - (filled - ten) as f32 / (5 * ten) as f32;
        let (before, after) = (level(self.filled), level(self.filled + piece.len()));
        pcm::ramp(piece, before, after);
        let mut noise = [0; PIECE_MAX];
        let noise = &mut noise[..piece.len()];
        self.noise.fill(noise);
        pcm::ramp(noise, 1.0 - before, 1.0 - after);
        for (sample, noise) in piece.iter_mut().zip(noise) {
            *sample = sample.saturating_add(*noise);
        }
    }

    fn begin(&mut self) {
        self.period = find_period(&self.history, self.rate);
        self.periods = 1;
        self.at = 0;
        self.before.copy_from_slice(&self.history);
    }

    /// The next samples of the cycle, whose end is drawn to what came before its beginning.
    fn go_on(&mut self, pcm: &mut [i16]) {
        let (len, joint) = (self.period * self.periods, self.period / 4);
        let start = self.before.len() - len;
        for sample in pcm {
            *sample = self.before[start + self.at];
            if let Some(n) = (self.at + joint).checked_sub(len) {
                *sample = between(*sample, self.before[start - joint + n], n + 1, joint + 1);
            }
            self.at = if self.at + 1 == len { 0 } else { self.at + 1 };
        }
    }

    fn remember(&mut self, pcm: &[i16]) {
        let len = self.history.len();
        let new = &pcm[pcm.len().saturating_sub(len)..];
        self.history.copy_within(new.len().., 0);
        self.history[len - new.len()..].copy_from_slice(new);
    }
}

/// The pitch period that fits the last 20 ms best, in samples.
fn find_period(history: &[i16], rate: usize) -> usize {
    // Ten bits hold the sums of products in 32.
    let peak = history.iter().fold(1, |peak: u16, sample| peak.max(sample.unsigned_abs()));
    let shift = (16 - peak.leading_zeros()).saturating_sub(10);
    let mut scaled = [0; HISTORY_MAX];
    let scaled = &mut scaled[..history.len()];
    for (scaled, sample) in scaled.iter_mut().zip(history) {
        *scaled = *sample >> shift;
    }
    let (min, max) = (rate * PERIOD_MIN_US / 1_000_000, rate * PERIOD_MAX_US / 1_000_000);
    // At 8 to 12 kHz first, then near what was found.
    let factor = (rate / 8_000).max(1);
    if factor == 1 {
        return best_lag(scaled, rate / 50, min, max);
    }
    let mut coarse = [0; HISTORY_MAX / 2];
    let len = scaled.len() / factor;
    let skipped = scaled.len() - len * factor;
    for (coarse, samples) in coarse.iter_mut().zip(scaled[skipped..].chunks_exact(factor)) {
        *coarse = (samples.iter().map(|sample| i32::from(*sample)).sum::<i32>() / factor as i32) as i16;
    }
    let near = best_lag(&coarse[..len], rate / factor / 50, min / factor, max / factor) * factor;
    best_lag(scaled, rate / 50, near.saturating_sub(factor).max(min), (near + factor).min(max))
}

/// The lag at which the last `window` samples resemble earlier ones most.
fn best_lag(samples: &[i16], window: usize, min: usize, max: usize) -> usize {
    let start = samples.len() - window;
    let last = &samples[start..];
    let square = |sample: i16| i32::from(sample) * i32::from(sample);
    let mut energy = pcm::energy(&samples[start - min..start - min + window]) as i32;
    let (mut best, mut best_score) = (max, 0.0);
    for lag in min..=max {
        let product = pcm::dot(&samples[start - lag..start - lag + window], last) as f32;
        let score = product * product / (energy as f32 + 1.0);
        if product > 0.0 && score > best_score {
            (best, best_score) = (lag, score);
        }
        if lag < max {
            energy += square(samples[start - lag - 1]) - square(samples[start - lag - 1 + window]);
        }
    }
    best
}

/// Goes from `old` to what `pcm` holds.
fn cross_fade(old: &[i16], pcm: &mut [i16]) {
    let whole = old.len() + 1;
    for (n, (sample, old)) in pcm.iter_mut().zip(old).enumerate() {
        *sample = between(*old, *sample, n + 1, whole);
    }
}

/// `part` of `whole` on the way from one sample to another.
fn between(from: i16, to: i16, part: usize, whole: usize) -> i16 {
    let way = i64::from(to) - i64::from(from);
    (i64::from(from) + way * part as i64 / whole as i64) as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    const RATES: [u32; 6] = [8_000, 12_000, 16_000, 24_000, 32_000, 48_000];

    fn sine(rate: u32, hz: f64, len: usize) -> Vec<i16> {
        let turn = core::f64::consts::TAU * hz / f64::from(rate);
        (0..len).map(|n| ((n as f64 * turn).sin() * 10_000.0) as i16).collect()
    }

    /// Phase of that frequency over the slice, in degrees.
    fn phase(rate: u32, hz: f64, start: usize, pcm: &[i16]) -> f64 {
        let turn = core::f64::consts::TAU * hz / f64::from(rate);
        let sum = |wave: fn(f64) -> f64| -> f64 {
            pcm.iter().enumerate().map(|(n, s)| f64::from(*s) * wave((start + n) as f64 * turn)).sum()
        };
        sum(f64::cos).atan2(sum(f64::sin)).to_degrees()
    }

    #[test]
    fn a_sine_goes_on_in_phase() {
        for rate in RATES {
            for hz in [100.0, 150.0, 440.0, 800.0] {
                let block = rate as usize / 50;
                let speech = sine(rate, hz, block * 7);
                let mut plc = Plc::new(rate);
                for n in 0..5 {
                    plc.heard(&mut speech[n * block..(n + 1) * block].to_vec());
                }
                let mut made = vec![0; block];
                plc.conceal(&mut made);
                let off = phase(rate, hz, 5 * block, &made)
                    - phase(rate, hz, 5 * block, &speech[5 * block..6 * block]);
                assert!(off.abs() < 6.0, "{hz} Hz at {rate}: {off} degrees off");
                // No click, neither before nor after.
                let mut next = speech[6 * block..].to_vec();
                plc.heard(&mut next);
                let whole = [&speech[4 * block..5 * block], &made[..], &next[..]].concat();
                let bend = |pcm: &[i16]| {
                    let bends =
                        pcm.windows(3).map(|w| i32::from(w[0]) - 2 * i32::from(w[1]) + i32::from(w[2]));
                    bends.map(i32::abs).max().unwrap()
                };
                let bound = bend(&speech) * 3 + 100;
                assert!(bend(&whole) < bound, "{hz} Hz at {rate}: {} of {bound}", bend(&whole));
            }
        }
    }

    #[test]
    fn a_long_gap_fades_within_sixty_milliseconds() {
        for rate in RATES {
            let block = rate as usize / 100;
            let speech = sine(rate, 200.0, block * 10);
            let mut plc = Plc::new(rate);
            for n in 0..10 {
                plc.heard(&mut speech[n * block..(n + 1) * block].to_vec());
            }
            let mut levels = Vec::new();
            for _ in 0..8 {
                let mut made = vec![0; block];
                plc.conceal(&mut made);
                levels.push(pcm::level(&made));
            }
            assert!(levels[0].abs_diff(pcm::level(&speech)) <= 1, "{levels:?}");
            assert!(levels.is_sorted() && levels[4] > levels[0] + 8, "{levels:?}");
            assert_eq!(levels[6..], [127, 127], "nothing is known of the background");
            // What comes then is faded in.
            let mut next = speech[..block].to_vec();
            plc.heard(&mut next);
            assert!(next[1].unsigned_abs() <= speech[1].unsigned_abs() && next[block / 3] != 0);
        }
    }

    #[test]
    fn a_long_gap_ends_in_the_background() {
        let mut source = ComfortNoise::new(8_000, 9);
        source.describe(&[50]);
        let mut plc = Plc::new(8_000);
        for n in 0..200 {
            let mut pcm = [0; 160];
            source.fill(&mut pcm);
            if n % 40 > 25 {
                pcm.iter_mut().zip(sine(8_000, 150.0, 160)).for_each(|(noisy, tone)| *noisy += tone);
            }
            plc.heard(&mut pcm);
        }
        let mut pcm = [0; 160];
        for _ in 0..10 {
            plc.conceal(&mut pcm);
        }
        assert!((48..54).contains(&pcm::level(&pcm)), "{}", pcm::level(&pcm));
    }

    #[test]
    fn speech_is_concealed_better_than_by_silence() {
        let speech = speech();
        for (name, block) in [("10 ms", 80), ("20 ms", 160)] {
            let mut rng = base::Rng::from_seed(11);
            let mut plc = Plc::new(8_000);
            let (mut concealed, mut silenced, mut lost) = (0.0, 0.0, 0);
            let mut gap = false;
            for original in speech.chunks_exact(block) {
                let mut pcm = original.to_vec();
                if rng.below(100) < 5 {
                    gap = true;
                    lost += 1;
                    plc.conceal(&mut pcm);
                    silenced += gain(original, &vec![0; block]);
                    concealed += gain(original, &pcm);
                } else {
                    plc.heard(&mut pcm);
                    assert!(gap || pcm == original, "what was received is left alone");
                    gap = false;
                }
            }
            let (concealed, silenced) = (concealed / f64::from(lost), silenced / f64::from(lost));
            assert!(lost > 20 && concealed > silenced + 1.0, "{name}: {concealed} and {silenced} dB");
        }
    }

    /// Likeness of the spectra of a block, in dB: of its first 16 bands, by power. Silence is 0.
    fn gain(original: &[i16], pcm: &[i16]) -> f64 {
        let band = |pcm: &[i16], hz: f64| {
            let turn = core::f64::consts::TAU * hz / 8_000.0;
            let (mut real, mut imaginary) = (0.0, 0.0);
            for (n, sample) in pcm.iter().enumerate() {
                real += f64::from(*sample) * (n as f64 * turn).cos();
                imaginary += f64::from(*sample) * (n as f64 * turn).sin();
            }
            (real * real + imaginary * imaginary).sqrt()
        };
        let (mut signal, mut error) = (1.0, 1.0);
        for n in 1..=16 {
            let (wanted, got) = (band(original, f64::from(n) * 200.0), band(pcm, f64::from(n) * 200.0));
            signal += wanted * wanted;
            error += (wanted - got).powi(2);
        }
        10.0 * (signal / error).log10()
    }

    #[test]
    fn any_lengths_are_survived() {
        let mut rng = base::Rng::from_seed(12);
        for rate in [1, 8_000, 11_025, 48_000, 96_000] {
            let mut plc = Plc::new(rate);
            for _ in 0..400 {
                let mut pcm: Vec<i16> = (0..rng.below(3_000)).map(|_| rng.u32() as i16).collect();
                if rng.below(2) == 0 {
                    plc.conceal(&mut pcm);
                } else {
                    plc.heard(&mut pcm);
                }
            }
            plc.reset();
            let mut pcm = [1; 100];
            plc.conceal(&mut pcm);
            assert_eq!(pcm, [0; 100]);
        }
    }

    /// Speech of the shared test data, or what resembles it: a buzz that glides, with pauses.
    #[expect(clippy::print_stderr, reason = "absent material is named")]
    fn speech() -> Vec<i16> {
        let root = std::env::var_os("STROWGER_TESTDATA").map_or_else(
            || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/testdata"),
            PathBuf::from,
        );
        if let Ok(file) = std::fs::read(root.join("audio/speech_8k_a.wav")) {
            return file[44..].chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
        }
        eprintln!("ABSENT: testdata/audio/speech_8k_a.wav: concealment was tried on a buzz");
        let mut turn = 0.0f64;
        let voice = (0..96_000).map(|n| {
            let time = f64::from(n) / 8_000.0;
            turn += (120.0 + 30.0 * (time * 3.0).sin()) / 8_000.0;
            let loud = (time * 2.0).sin().max(0.0);
            let buzz: f64 =
                (1..12).map(|k| (turn * core::f64::consts::TAU * f64::from(k)).sin() / f64::from(k)).sum();
            (buzz * loud * 5_000.0) as i16
        });
        voice.collect()
    }
}
