//! From one sampling rate to another: a polyphase low-pass (sinc under a Kaiser window), at least 60 dB down beyond
//! 0.56 of the lower rate and flat to 0.44 of it; it delays by 16 samples of the lower rate. Tables are made once for
//! each pair of rates and shared.
#![expect(unsafe_code, reason = "the loop is compiled for AVX2 too: `wide` in `pcm`")]

use crate::pcm::wide;
use std::sync::{Arc, OnceLock};

/// Converts one stream. Blocks may have any length; how it is cut into blocks does not change what comes out.
#[derive(Clone, Debug)]
pub struct Resampler {
    /// `None` for equal rates.
    table: Option<Arc<Table>>,
    /// The last samples of earlier blocks: one less than there are taps.
    history: Box<[i16]>,
    /// When the next sample is due, after the first one of the next block, in ticks of the table.
    due: usize,
}

impl Resampler {
    /// Between any two rates in Hz; between 8, 12, 16, 24, 32 and 48 kHz the tables are shared.
    pub fn new(from: u32, to: u32) -> Self {
        let table = (from != to).then(|| table(from, to));
        let history = table.as_ref().map_or(0, |table| table.taps - 1);
        Resampler { table, history: vec![0; history].into(), due: 0 }
    }

    /// How many samples the next `input_len` ones give: for whole 10 ms exactly as many as last 10 ms.
    pub fn output_len(&self, input_len: usize) -> usize {
        let Some(table) = &self.table else { return input_len };
        (input_len * table.up).saturating_sub(self.due).div_ceil(table.down)
    }

    /// Converts a block and says how many samples were written: as many as [`Resampler::output_len`] says; `output`
    /// should hold them, what it does not hold is lost.
    pub fn process(&mut self, input: &[i16], output: &mut [i16]) -> usize {
        let Some(table) = &self.table else {
            let len = input.len().min(output.len());
            output[..len].copy_from_slice(&input[..len]);
            return len;
        };
        let held = self.history.len();
        let mut window = [0; TAPS_MAX + BLOCK];
        let mut written = 0;
        for block in input.chunks(BLOCK) {
            let window = &mut window[..held + block.len()];
            window[..held].copy_from_slice(&self.history);
            window[held..].copy_from_slice(block);
            let span = block.len() * table.up;
            let count = span.saturating_sub(self.due).div_ceil(table.down);
            let room = count.min(output.len() - written);
            filter(table, window, self.due, &mut output[written..written + room]);
            written += room;
            self.due = self.due + count * table.down - span;
            self.history.copy_from_slice(&window[block.len()..]);
        }
        written
    }

    /// Forgets what it has heard.
    pub fn reset(&mut self) {
        self.history.fill(0);
        self.due = 0;
    }
}

/// Converts a whole clip and takes the delay out: as long as the clip, rounded up to a whole sample.
pub fn clip(from: u32, to: u32, samples: &[i16]) -> Vec<i16> {
    let mut resampler = Resampler::new(from, to);
    let Some(table) = resampler.table.clone() else { return samples.to_vec() };
    let len = (samples.len() * table.up).div_ceil(table.down);
    let skipped = (table.delay + table.down / 2) / table.down;
    let flush = vec![0; table.taps + 2 * table.down.div_ceil(table.up)];
    let mut converted = vec![0; resampler.output_len(samples.len() + flush.len())];
    let written = resampler.process(samples, &mut converted);
    resampler.process(&flush, &mut converted[written..]);
    converted.drain(..skipped.min(converted.len()));
    converted.resize(len, 0);
    converted
}

/// Makes the tables of all pairs of the engine's rates, so that no call has to.
pub fn prepare() {
    for from in RATES {
        for to in RATES.into_iter().filter(|to| *to != from) {
            table(from, to);
        }
    }
}

/// The rates of the engine, in Hz.
pub const RATES: [u32; 6] = [8_000, 12_000, 16_000, 24_000, 32_000, 48_000];

/// Samples of the lower rate under the filter.
const SPAN: usize = 32;
/// Shape of the window: 60 dB (Kaiser's formula).
const BETA: f64 = 5.653;
/// The most taps a sample; the steepest of conversions is cut there and aliases a little.
const TAPS_MAX: usize = 1_024;
/// Samples that are converted at once.
const BLOCK: usize = 480;

/// One filter, taken apart: time runs in ticks of the least common multiple of both rates.
#[derive(Debug)]
struct Table {
    /// Ticks from one sample to the next on the way in.
    up: usize,
    /// The same on the way out.
    down: usize,
    /// Taps of a phase: a multiple of 8.
    taps: usize,
    /// Ticks by which it delays.
    delay: usize,
    /// Bits behind the point.
    shift: u32,
    /// `up` phases of `taps`, the oldest sample's tap first.
    phases: Box<[i16]>,
}

fn table(from: u32, to: u32) -> Arc<Table> {
    static TABLES: [[OnceLock<Arc<Table>>; RATES.len()]; RATES.len()] =
        [const { [const { OnceLock::new() }; RATES.len()] }; RATES.len()];
    let place = |rate| RATES.iter().position(|known| *known == rate);
    match (place(from), place(to)) {
        (Some(row), Some(column)) => Arc::clone(TABLES[row][column].get_or_init(|| design(from, to).into())),
        _ => design(from, to).into(),
    }
}

fn design(from: u32, to: u32) -> Table {
    let (from, to) = (from.max(1) as usize, to.max(1) as usize);
    let common = gcd(from, to);
    let (up, down) = (to / common, from / common);
    let ticks = up.max(down);
    let taps = (SPAN * ticks).div_ceil(up).next_multiple_of(8).min(TAPS_MAX);
    let len = (SPAN * ticks).min(taps * up);
    let middle = (len - 1) as f64 / 2.0;
    let tap = |tick: usize| {
        let at = tick as f64 - middle;
        let inside = 1.0 - (2.0 * at / len as f64).powi(2);
        if inside < 0.0 {
            return 0.0;
        }
        let turn = core::f64::consts::PI * at / ticks as f64;
        let sinc = if turn == 0.0 { 1.0 } else { turn.sin() / turn };
        sinc * bessel(BETA * inside.sqrt())
    };
    let mut exact = Vec::with_capacity(up * taps);
    for phase in 0..up {
        let start = exact.len();
        exact.extend((0..taps).rev().map(|k| tap(phase + k * up)));
        // Each phase passes a constant as it is: no ripple at the rate of the phases.
        let sum: f64 = exact[start..].iter().sum();
        exact[start..].iter_mut().for_each(|tap| *tap /= sum);
    }
    let peak = exact.iter().fold(0.0, |peak: f64, tap| peak.max(tap.abs()));
    let worst = exact.chunks(taps).map(|phase| phase.iter().map(|tap| tap.abs()).sum()).fold(0.0, f64::max);
    // As many bits as neither a tap nor the loudest sum of products overflows.
    let fits =
        |shift: u32| peak * f64::from(1 << shift) < 32_767.0 && worst * f64::from(1 << shift) < 65_000.0;
    let shift = (1..=18).rev().find(|shift| fits(*shift)).unwrap_or(1);
    let delay = (len - 1) / 2;
    let phases = exact.iter().map(|tap| (tap * f64::from(1 << shift)).round() as i16).collect();
    Table { up, down, taps, delay, shift, phases }
}

/// The modified Bessel function of order zero.
fn bessel(x: f64) -> f64 {
    let (mut term, mut sum) = (1.0, 1.0);
    for n in 1..40 {
        term *= (x / (2.0 * f64::from(n))).powi(2);
        sum += term;
    }
    sum
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

wide! {
    fn filter(table: &Table, window: &[i16], due: usize, output: &mut [i16]) = filter_plain
}

#[inline(always)]
fn filter_plain(table: &Table, window: &[i16], due: usize, output: &mut [i16]) {
    let (step, part) = (table.down / table.up, table.down % table.up);
    let (mut index, mut phase) = (due / table.up, due % table.up);
    let half = 1i32 << (table.shift - 1);
    for sample in output {
        let taps = &table.phases[phase * table.taps..][..table.taps];
        let under = &window[index..index + table.taps];
        let sum = taps
            .iter()
            .zip(under)
            .fold(0i32, |sum, (tap, sample)| sum.wrapping_add(i32::from(*tap) * i32::from(*sample)));
        *sample = (sum.wrapping_add(half) >> table.shift).clamp(i16::MIN.into(), i16::MAX.into()) as i16;
        index += step;
        phase += part;
        if phase >= table.up {
            phase -= table.up;
            index += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(rate: u32, hz: f64, amplitude: f64, len: usize) -> Vec<i16> {
        let turn = core::f64::consts::TAU * hz / f64::from(rate);
        (0..len).map(|n| ((n as f64 * turn).sin() * amplitude).round() as i16).collect()
    }

    /// Converts in blocks of `ms`, checking that each gives exactly as many samples as last as long.
    fn convert(from: u32, to: u32, ms: u32, input: &[i16]) -> Vec<i16> {
        let mut resampler = Resampler::new(from, to);
        let mut output = Vec::new();
        for block in input.chunks((from * ms / 1_000) as usize) {
            let mut pcm = [0; 960 * 6];
            let len = resampler.process(block, &mut pcm);
            assert_eq!(len, block.len() * to as usize / from as usize);
            output.extend(&pcm[..len]);
        }
        output
    }

    /// Power of the sine of that frequency and of all else, in dB of a sample's square.
    fn judge(rate: u32, hz: f64, pcm: &[i16]) -> (f64, f64) {
        let turn = core::f64::consts::TAU * hz / f64::from(rate);
        let n = pcm.len() as f64;
        let (mut real, mut imaginary) = (0.0, 0.0);
        for (k, sample) in pcm.iter().enumerate() {
            real += f64::from(*sample) * (k as f64 * turn).cos();
            imaginary += f64::from(*sample) * (k as f64 * turn).sin();
        }
        let tone = (real * real + imaginary * imaginary) * 2.0 / (n * n);
        let total = pcm.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / n;
        (10.0 * tone.max(1e-9).log10(), 10.0 * (total - tone).max(1e-9).log10())
    }

    fn pairs() -> impl Iterator<Item = (u32, u32)> {
        RATES
            .into_iter()
            .flat_map(|from| RATES.into_iter().filter(move |to| *to != from).map(move |to| (from, to)))
    }

    #[test]
    fn a_sine_stays_a_sine_between_all_rates() {
        for (from, to) in pairs() {
            let low = f64::from(from.min(to));
            for (share, loss_max) in [(0.05, 0.1), (0.2, 0.1), (0.4, 0.1), (0.44, 0.6)] {
                // A whole number of turns in 400 ms.
                let hz = (low * share / 10.0).round() * 10.0;
                let output = convert(from, to, 20, &sine(from, hz, 20_000.0, from as usize / 2));
                let (tone, rest) = judge(to, hz, &output[to as usize / 10..]);
                let full = 20.0 * (20_000.0 / 2f64.sqrt()).log10();
                assert!((tone - full).abs() < loss_max, "{from} to {to}, {hz} Hz: {tone} dB");
                assert!(tone - rest > 60.0, "{from} to {to}, {hz} Hz: {} dB", tone - rest);
            }
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_hold_is_gone() {
        for (from, to) in pairs().filter(|(from, to)| from > to) {
            for share in [0.57, 0.7, 0.9] {
                let hz = f64::from(to) * share;
                if hz * 2.0 > f64::from(from) {
                    continue;
                }
                let output = convert(from, to, 20, &sine(from, hz, 20_000.0, from as usize / 2));
                let (_, rest) = judge(to, 10.0, &output[to as usize / 10..]);
                assert!(rest < 83.0 - 60.0, "{from} to {to}, {hz} Hz: {rest} dB left");
            }
        }
    }

    #[test]
    fn speech_above_four_kilohertz_reaches_wider_rates() {
        let output = convert(16_000, 48_000, 20, &sine(16_000, 6_500.0, 10_000.0, 16_000));
        let (tone, _) = judge(48_000, 6_500.0, &output[4_800..]);
        assert!((tone - 77.0).abs() < 0.2, "{tone}");
    }

    #[test]
    fn blocks_leave_no_trace() {
        let mut rng = base::Rng::from_seed(3);
        for (from, to) in pairs() {
            let input: Vec<i16> = (0..from as usize / 10).map(|_| rng.u32() as i16 / 2).collect();
            let ten = convert(from, to, 10, &input);
            assert_eq!(ten, convert(from, to, 20, &input), "{from} to {to}");
            let mut resampler = Resampler::new(from, to);
            let (mut odd, mut rest): (Vec<i16>, _) = (Vec::new(), &input[..]);
            while !rest.is_empty() {
                let (block, more) = rest.split_at((rng.below(700) as usize).min(rest.len()));
                let mut pcm = [0; 960 * 6];
                let expected = resampler.output_len(block.len());
                assert_eq!(resampler.process(block, &mut pcm), expected);
                odd.extend(&pcm[..expected]);
                rest = more;
            }
            assert_eq!(ten, odd, "{from} to {to}");
            resampler.reset();
            let mut again = vec![0; ten.len()];
            resampler.process(&input, &mut again);
            assert_eq!(ten, again);
        }
    }

    #[test]
    fn the_delay_is_sixteen_samples_of_the_lower_rate() {
        for (from, to) in pairs() {
            let mut input = vec![0; from as usize / 20];
            // A soft hill rather than one sample, which the lower rate could not hold.
            let hill = (from / from.min(to)) as usize * 8;
            for (n, sample) in input[..hill].iter_mut().enumerate() {
                let turn = core::f64::consts::TAU * (n as f64 + 0.5) / hill as f64;
                *sample = ((1.0 - turn.cos()) * 8_000.0) as i16;
            }
            let center = |pcm: &[i16], rate: u32| {
                let weight: f64 = pcm.iter().map(|s| f64::from(*s)).sum();
                let moment: f64 = pcm.iter().enumerate().map(|(n, s)| n as f64 * f64::from(*s)).sum();
                moment / weight / f64::from(rate)
            };
            let delay = center(&convert(from, to, 10, &input), to) - center(&input, from);
            let wanted = 16.0 / f64::from(from.min(to));
            assert!((delay - wanted).abs() < 0.6 / f64::from(from.min(to)), "{from} to {to}: {delay} s");
            assert!(delay < 0.0021);
        }
    }

    #[test]
    fn the_loudest_is_clipped_and_never_wraps() {
        for (from, to) in pairs() {
            let half = from as usize / 100;
            let square: Vec<i16> = (0..half * 10)
                .map(|n| if (n / half).is_multiple_of(2) { i16::MAX } else { i16::MIN })
                .collect();
            let output = convert(from, to, 10, &square);
            // It overshoots before and after each edge; wrapped, it would change its sign there.
            let settled = &output[to as usize / 300..];
            let edges = settled.windows(2).filter(|pair| (pair[0] < 0) != (pair[1] < 0)).count();
            assert_eq!(edges, 9, "{from} to {to}");
            assert!(output.contains(&i16::MAX), "{from} to {to}");
        }
    }

    #[test]
    fn a_clip_keeps_its_place_and_length() {
        for (from, to) in
            [(8_000, 48_000), (48_000, 8_000), (44_100, 16_000), (22_050, 48_000), (8_000, 8_000)]
        {
            let input = sine(from, 440.0, 10_000.0, from as usize + 7);
            let output = clip(from, to, &input);
            assert_eq!(output.len(), (input.len() as u64 * u64::from(to)).div_ceil(from.into()) as usize);
            let exact = sine(to, 440.0, 10_000.0, output.len());
            let middle = to as usize / 10..to as usize * 9 / 10;
            let off = middle.map(|n| (i32::from(output[n]) - i32::from(exact[n])).abs()).max().unwrap();
            // Half a sample of the wider rate at most.
            let slope = 10_000.0 * core::f64::consts::TAU * 440.0 / f64::from(to);
            assert!(f64::from(off) < slope * 0.51 + 40.0, "{from} to {to}: {off}");
        }
        assert!(clip(8_000, 16_000, &[]).is_empty());
    }

    #[test]
    fn an_output_that_is_too_short_loses_the_rest() {
        let mut resampler = Resampler::new(8_000, 48_000);
        assert_eq!(resampler.process(&[1; 80], &mut [0; 100]), 100);
        assert_eq!(resampler.process(&[1; 80], &mut [0; 480]), 480);
        assert_eq!(Resampler::new(8_000, 8_000).process(&[1; 80], &mut [0; 10]), 10);
    }
}
