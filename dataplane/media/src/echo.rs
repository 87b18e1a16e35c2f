//! Takes the echo of what a peer was sent out of what it says: a line echo canceller (the subject of ITU-T G.168).
//! A partitioned filter in the frequency domain, led by Kalman's rule: each weight knows how sure it is of itself, so
//! that it learns fast, and a peer that talks does not mislead it. Adds no delay.

mod fft;

use base::Duration;
use fft::{Fft, Spectrum};

/// Echo is found up to so long after the tick in which its cause was sent.
pub const TAIL: Duration = Duration::from_millis(320);

/// Cancels the echo of one peer.
#[derive(Debug)]
pub struct Canceller {
    /// Samples of a block: 10 ms.
    block_len: usize,
    fft: Fft,
    /// The newest samples that were sent, as many as the transform takes.
    sent: Vec<f32>,
    /// Their spectra, one a block, in a ring.
    spectra: Vec<Spectrum>,
    newest: usize,
    /// Each partition is two blocks of the echo's way.
    partitions: Vec<Partition>,
    /// Partition whose weights are made causal next.
    tidied: usize,
    /// Power of what is no echo, a bin.
    noise: Vec<f32>,
    /// Working space.
    spectrum: Spectrum,
    power: Vec<f32>,
    time: Vec<f32>,
    judge: Judge,
}

#[derive(Debug)]
struct Partition {
    weights: Spectrum,
    /// How far each weight may be off, as power.
    doubt: Vec<f32>,
}

impl Canceller {
    /// `rate`: samples a second, 8,000 to 48,000.
    pub fn new(rate: u32) -> Self {
        let block_len = (rate.clamp(8_000, 48_000) / 100) as usize;
        let fft = Fft::new((3 * block_len - 1).next_power_of_two());
        let bins = fft.bins();
        let count = (TAIL.as_millis() / 20) as usize;
        let partition = || Partition { weights: Spectrum::new(bins), doubt: vec![DOUBT; bins] };
        let len = 2 * (bins - 1);
        Canceller {
            block_len,
            fft,
            sent: vec![0.0; len],
            spectra: (0..2 * count - 1).map(|_| Spectrum::new(bins)).collect(),
            newest: 0,
            partitions: (0..count).map(|_| partition()).collect(),
            tidied: 0,
            noise: vec![0.0; bins],
            spectrum: Spectrum::new(bins),
            power: vec![0.0; bins],
            time: vec![0.0; len],
            judge: Judge::default(),
        }
    }

    /// Takes the echo out of `heard`, in place: whole blocks of 10 ms, the rest stays as it is. `sent` is what the peer
    /// was sent in the same tick (silence if nothing), as long as `heard`; call it each tick, or what was learned of
    /// the delay is lost.
    pub fn process(&mut self, sent: &[i16], heard: &mut [i16]) {
        let blocks = heard.chunks_exact_mut(self.block_len);
        let mut sent = sent.chunks(self.block_len);
        for block in blocks {
            self.on_block(sent.next().unwrap_or(&[]), block);
        }
    }

    /// How much softer the echo has become lately, in dB; 0 as long as nothing was sent.
    pub fn gain_db(&self) -> f32 {
        let Judge { before, after, .. } = self.judge;
        if after > 0.0 { 10.0 * (before / after).max(1.0).log10() } else { 0.0 }
    }

    fn on_block(&mut self, sent: &[i16], heard: &mut [i16]) {
        self.push(sent);
        self.estimate();
        let start = self.time.len() - self.block_len;
        let (mut before, mut echo, mut after) = (0.0, 0.0, 0.0);
        for (sample, heard) in self.time[start..].iter_mut().zip(&*heard) {
            let said = f32::from(*heard);
            before += said * said;
            echo += *sample * *sample;
            *sample = said - *sample;
            after += *sample * *sample;
        }
        let (from, to) = self.judge.on_block(before, echo, after);
        let step = (to - from) / self.block_len as f32;
        let mut gain = from;
        for (heard, sample) in heard.iter_mut().zip(&self.time[start..]) {
            gain += step;
            *heard = (sample * gain) as i16;
        }
        if self.judge.is_harmful() {
            self.forget();
            return;
        }
        self.learn();
        self.tidy();
    }

    /// What was sent, as the newest spectrum of the ring.
    fn push(&mut self, sent: &[i16]) {
        self.sent.copy_within(self.block_len.., 0);
        let start = self.sent.len() - self.block_len;
        for (at, sample) in self.sent[start..].iter_mut().enumerate() {
            *sample = sent.get(at).copied().map_or(0.0, f32::from);
        }
        self.newest = (self.newest + self.spectra.len() - 1) % self.spectra.len();
        self.fft.forward(&self.sent, &mut self.spectra[self.newest]);
    }

    /// The echo as the weights see it, at the end of `time`.
    fn estimate(&mut self) {
        let Spectrum { re: sum_re, im: sum_im } = &mut self.spectrum;
        sum_re.fill(0.0);
        sum_im.fill(0.0);
        for (at, partition) in self.partitions.iter().enumerate() {
            let sent = &self.spectra[(self.newest + 2 * at) % self.spectra.len()];
            let len = sum_re.len();
            let (x_re, x_im) = (&sent.re[..len], &sent.im[..len]);
            let (w_re, w_im) = (&partition.weights.re[..len], &partition.weights.im[..len]);
            let sum_im = &mut sum_im[..len];
            for bin in 0..len {
                sum_re[bin] += x_re[bin] * w_re[bin] - x_im[bin] * w_im[bin];
                sum_im[bin] += x_re[bin] * w_im[bin] + x_im[bin] * w_re[bin];
            }
        }
        self.fft.inverse(&self.spectrum, &mut self.time);
    }

    /// Moves the weights by what is left at the end of `time`.
    fn learn(&mut self) {
        let start = self.time.len() - self.block_len;
        self.time[..start].fill(0.0);
        self.fft.forward(&self.time, &mut self.spectrum);
        let len = self.power.len();
        let share = self.block_len as f32 / self.time.len() as f32;
        let (e_re, e_im) = (&self.spectrum.re[..len], &self.spectrum.im[..len]);
        let (power, noise) = (&mut self.power[..len], &mut self.noise[..len]);
        for bin in 0..len {
            let left = e_re[bin] * e_re[bin] + e_im[bin] * e_im[bin];
            noise[bin] += (left - noise[bin]) * NOISE_PART;
            power[bin] = noise[bin].max(left) / share + POWER_MIN;
        }
        for (at, partition) in self.partitions.iter().enumerate() {
            let sent = &self.spectra[(self.newest + 2 * at) % self.spectra.len()];
            let (x_re, x_im, doubt) = (&sent.re[..len], &sent.im[..len], &partition.doubt[..len]);
            for bin in 0..len {
                power[bin] += (x_re[bin] * x_re[bin] + x_im[bin] * x_im[bin]) * doubt[bin];
            }
        }
        for power in power.iter_mut() {
            *power = power.recip();
        }
        for (at, partition) in self.partitions.iter_mut().enumerate() {
            let sent = &self.spectra[(self.newest + 2 * at) % self.spectra.len()];
            let (x_re, x_im, doubt) = (&sent.re[..len], &sent.im[..len], &mut partition.doubt[..len]);
            let (w_re, w_im) = (&mut partition.weights.re[..len], &mut partition.weights.im[..len]);
            for bin in 0..len {
                let step = doubt[bin] * power[bin];
                w_re[bin] += step * (x_re[bin] * e_re[bin] + x_im[bin] * e_im[bin]);
                w_im[bin] += step * (x_re[bin] * e_im[bin] - x_im[bin] * e_re[bin]);
                let sure = share * step * (x_re[bin] * x_re[bin] + x_im[bin] * x_im[bin]);
                let weight = w_re[bin] * w_re[bin] + w_im[bin] * w_im[bin];
                doubt[bin] = KEEP * (1.0 - sure) * doubt[bin] + (1.0 - KEEP) * weight + DOUBT_MIN;
            }
        }
    }

    /// Weights of some partitions are made what a filter of two blocks can be: no echo is before its cause.
    fn tidy(&mut self) {
        for _ in 0..TIDIED {
            let weights = &mut self.partitions[self.tidied].weights;
            self.fft.inverse(weights, &mut self.time);
            self.time[2 * self.block_len..].fill(0.0);
            self.fft.forward(&self.time, weights);
            self.tidied = (self.tidied + 1) % self.partitions.len();
        }
    }

    fn forget(&mut self) {
        for partition in &mut self.partitions {
            partition.weights.re.fill(0.0);
            partition.weights.im.fill(0.0);
            partition.doubt.fill(DOUBT);
        }
        self.judge = Judge::default();
    }
}

/// Watches what the filter does, and softens what it leaves.
#[derive(Debug)]
struct Judge {
    /// Energies of a block, smoothed: before the filter and after it.
    before: f32,
    after: f32,
    /// The part of the echo that the filter leaves.
    leak: f32,
    gain: f32,
}

impl Default for Judge {
    fn default() -> Self {
        Judge { before: 0.0, after: 0.0, leak: 1.0, gain: 1.0 }
    }
}

impl Judge {
    /// Gain at the beginning and the end of this block.
    fn on_block(&mut self, before: f32, echo: f32, after: f32) -> (f32, f32) {
        self.before += (before - self.before) * 0.1;
        self.after += (after - self.after) * 0.1;
        let from = self.gain;
        if echo > ECHO_MIN {
            let leak = (after / echo).min(1.0);
            // It falls when the peer is silent; while it talks, what is left is mostly its own.
            self.leak += (leak - self.leak) * if leak < self.leak { 0.2 } else { 0.001 };
        }
        let left = self.leak * echo;
        let wanted =
            if after > 0.0 { (1.0 - OVERDO * left / after).max(GAIN_MIN * GAIN_MIN).sqrt() } else { 1.0 };
        self.gain += (wanted - self.gain) * if wanted > self.gain { 0.7 } else { 0.3 };
        (from, self.gain)
    }

    /// The filter makes it louder.
    fn is_harmful(&self) -> bool {
        self.after > 2.0 * self.before && self.after > ECHO_MIN
    }
}

/// What weights may be off at first, as power: an echo as loud as its cause would be 1.
const DOUBT: f32 = 0.1;
const DOUBT_MIN: f32 = 1e-9;
/// How much of what was learned holds for the next block.
const KEEP: f32 = 0.999;
/// Smoothing of what is no echo.
const NOISE_PART: f32 = 0.2;
const POWER_MIN: f32 = 1e3;
/// Partitions that are tidied each block.
const TIDIED: usize = 4;
/// Energy of a block's echo that is worth looking at.
const ECHO_MIN: f32 = 1e5;
/// What is left is softened by at most 9 dB.
const GAIN_MIN: f32 = 0.35;
const OVERDO: f32 = 1.5;

#[cfg(test)]
mod tests;
