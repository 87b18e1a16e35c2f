//! Comfort noise (RFC 3389): what a gap sounds like while nobody speaks. Describes a background in a few bytes, and
//! makes noise of a background that was described or heard; never louder than that.

use crate::pcm;
use base::Rng;

/// Makes noise for one stream.
#[derive(Clone, Debug)]
pub struct ComfortNoise {
    rng: Rng,
    background: Background,
    /// What the excitation is multiplied by at this moment; goes to the background's within one block.
    gain: f32,
    /// The last samples made, the newest first.
    made: [f32; ORDER_MAX],
    /// The quietest that was heard for a while, as mean square.
    floor: f32,
    /// Blocks until quiet speech is analysed again.
    rest: u8,
    samples_a_ms: u32,
}

/// How many reflection coefficients are obeyed; more than these are ignored (RFC 3389 section 3).
const ORDER_MAX: usize = 12;
/// How many a description of ours holds.
pub const ORDER: usize = 10;
/// The longest description that [`describe`] makes, in bytes.
pub const DESCRIPTION_MAX: usize = 1 + ORDER;
/// Sharper resonances than this whistle, and are not noise.
const SHARPEST: f32 = 0.97;
/// Blocks of quiet from one look at their colour to the next.
const REST: u8 = 10;
/// How the floor rises a block, so that it follows a background that gets louder: 1.5 dB a second.
const RISE: f32 = 1.007;
/// Nothing louder is a background, as mean square: -30 dBov.
const LOUDEST: f32 = 32_768.0 * 32_768.0 * 1e-3;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Background {
    /// Mean square of the samples; 0 is silence.
    power: f32,
    /// What excites the filter, as mean square.
    excitation: f32,
    /// Feedback of the last samples: an all-pole filter.
    taps: [f32; ORDER_MAX],
    order: usize,
}

impl Background {
    const SILENCE: Background = Background { power: 0.0, excitation: 0.0, taps: [0.0; ORDER_MAX], order: 0 };

    fn new(power: f32, reflections: &[f32]) -> Background {
        let mut taps = [0.0; ORDER_MAX];
        let mut excitation = power;
        for (n, k) in reflections.iter().take(ORDER_MAX).enumerate() {
            let k = k.clamp(-SHARPEST, SHARPEST);
            excitation *= 1.0 - k * k;
            let before = taps;
            for i in 0..n {
                taps[i] = before[i] + k * before[n - 1 - i];
            }
            taps[n] = k;
        }
        Background { power, excitation, taps, order: reflections.len().min(ORDER_MAX) }
    }
}

impl ComfortNoise {
    /// For that sampling rate in Hz. Silent until it is told or has heard what to sound like.
    pub fn new(rate: u32, seed: u64) -> Self {
        ComfortNoise {
            rng: Rng::from_seed(seed),
            background: Background::SILENCE,
            gain: 0.0,
            made: [0.0; ORDER_MAX],
            floor: LOUDEST,
            rest: 0,
            samples_a_ms: (rate / 1_000).max(1),
        }
    }

    /// Sounds as a payload of RFC 3389 says: a level, then reflection coefficients. An empty one changes nothing.
    pub fn describe(&mut self, payload: &[u8]) {
        let Some((level, coefficients)) = payload.split_first() else { return };
        let mut reflections = [0.0; ORDER_MAX];
        for (k, code) in reflections.iter_mut().zip(coefficients) {
            *k = f32::from(i16::from(*code) - 127) * 258.0 / 32_768.0;
        }
        let order = coefficients.len().min(ORDER_MAX);
        // Its highest bit is reserved.
        self.sound(Background::new(power_of(level & 0x7f), &reflections[..order]));
    }

    /// Hears speech that was received, block by block; what is quiet in it becomes the background.
    pub fn learn(&mut self, pcm: &[i16]) {
        if pcm.is_empty() {
            return;
        }
        let power = pcm::energy(pcm) as f32 / pcm.len() as f32;
        if power < 1.0 {
            return; // digital silence: somebody else has suppressed the background
        }
        self.floor = (self.floor * RISE).min(LOUDEST);
        if power < self.floor {
            // Downwards it follows at once, but never to one quiet moment.
            self.floor = (self.floor * 0.5 + power * 0.5).max(1.0);
            self.rest = 0;
        }
        // Speech is more than 6 dB above its background.
        if power > self.floor * 4.0 || power > LOUDEST {
            return;
        }
        if self.rest > 0 {
            self.rest -= 1;
            return;
        }
        self.rest = REST;
        let mut reflections = [0.0; ORDER];
        analyse(pcm, &mut reflections);
        self.sound(Background::new(power, &reflections));
    }

    /// Mean level of what it would make, in dB below overload; 127 is silence.
    pub fn level(&self) -> u8 {
        pcm::level_of(self.background.power as u64, 1)
    }

    /// Fills a block with noise.
    pub fn fill(&mut self, pcm: &mut [i16]) {
        // In pieces, so that a long block is as steady as short ones.
        for piece in pcm.chunks_mut(10 * self.samples_a_ms as usize) {
            self.fill_piece(piece);
        }
    }

    /// Begins anew, knowing nothing.
    pub fn reset(&mut self) {
        self.background = Background::SILENCE;
        self.gain = 0.0;
        self.made = [0.0; ORDER_MAX];
        self.floor = LOUDEST;
        self.rest = 0;
    }

    fn sound(&mut self, background: Background) {
        self.background = background;
        // Upwards it takes a block, downwards it is at once.
        self.gain = self.gain.min(gain_of(background.excitation));
    }

    fn fill_piece(&mut self, pcm: &mut [i16]) {
        let Background { power, excitation, taps, order } = self.background;
        let target = gain_of(excitation);
        if target == 0.0 {
            (self.gain, self.made) = (0.0, [0.0; ORDER_MAX]);
            pcm.fill(0);
            return;
        }
        let step = (target - self.gain) / pcm.len() as f32;
        let mut sum = 0.0;
        let mut random = 0;
        for (n, sample) in pcm.iter_mut().enumerate() {
            if n % 4 == 0 {
                random = self.rng.u64();
            }
            let excited = self.gain * f32::from(random as i16);
            random >>= 16;
            let value =
                self.made[..order].iter().zip(&taps).fold(excited, |value, (made, tap)| value - made * tap);
            self.made.copy_within(..ORDER_MAX - 1, 1);
            self.made[0] = value;
            self.gain += step;
            *sample = value.round() as i16;
            sum += f32::from(*sample) * f32::from(*sample);
        }
        self.gain = target;
        // Noise is louder now and then; here it is not.
        let mean = sum / pcm.len() as f32;
        if mean > power {
            let quieter = (power / mean).sqrt();
            for sample in &mut *pcm {
                // Towards zero, so that rounding does not make it louder.
                *sample = (f32::from(*sample) * quieter) as i16;
            }
            self.made.iter_mut().for_each(|made| *made *= quieter);
        }
    }
}

/// Describes a block of background (10 ms or more) as a payload of RFC 3389; its length is what fits, at most
/// [`DESCRIPTION_MAX`], 0 if there is no room.
pub fn describe(pcm: &[i16], payload: &mut [u8]) -> usize {
    let len = payload.len().min(DESCRIPTION_MAX);
    let Some((level, codes)) = payload[..len].split_first_mut() else { return 0 };
    *level = pcm::level(pcm);
    let mut reflections = [0.0; ORDER];
    analyse(pcm, &mut reflections);
    for (code, k) in codes.iter_mut().zip(reflections) {
        *code = ((k * 32_768.0 / 258.0).round() as i16 + 127).clamp(0, 254) as u8;
    }
    len
}

/// Reflection coefficients of a block by the Levinson-Durbin recursion; as many as the slice holds, at most [`ORDER`].
fn analyse(pcm: &[i16], reflections: &mut [f32]) {
    let order = reflections.len().min(ORDER);
    reflections.fill(0.0);
    // Up to 20 ms of 48 kHz, with soft ends, in halves of their range so that the sums fit.
    let mut block = [0i16; 960];
    let len = pcm.len().min(block.len());
    let turn = core::f32::consts::TAU / len.max(1) as f32;
    let peak = pcm[..len].iter().fold(1, |peak: u16, sample| peak.max(sample.unsigned_abs()));
    let scale = 1_400.0 / f32::from(peak);
    for (n, (soft, sample)) in block.iter_mut().zip(&pcm[..len]).enumerate() {
        let window = 0.5 - 0.5 * (turn * (n as f32 + 0.5)).cos();
        *soft = (f32::from(*sample) * scale * window).round() as i16;
    }
    let block = &block[..len];
    let mut correlation = [0.0; ORDER + 1];
    for (lag, value) in correlation[..=order].iter_mut().enumerate() {
        *value = pcm::dot(&block[lag.min(len)..], block) as f32;
    }
    // A little white noise, or the recursion would chase what rounding has left.
    let mut error = correlation[0] * 1.000_4 + 1.0;
    let mut taps = [0.0; ORDER];
    for n in 0..order {
        let predicted: f32 = (0..n).map(|i| taps[i] * correlation[n - i]).sum();
        let k = (-(correlation[n + 1] + predicted) / error).clamp(-SHARPEST, SHARPEST);
        let before = taps;
        for i in 0..n {
            taps[i] = before[i] + k * before[n - 1 - i];
        }
        taps[n] = k;
        reflections[n] = k;
        error *= 1.0 - k * k;
    }
}

/// What a level in dB below overload is as mean square; 127 is silence.
fn power_of(level: u8) -> f32 {
    if level >= pcm::LEVEL_SILENT { 0.0 } else { 32_768.0 * 32_768.0 * 10f32.powf(-f32::from(level) / 10.0) }
}

/// What evenly spread random numbers of 16 bits are multiplied by to have that mean square.
fn gain_of(power: f32) -> f32 {
    (power * 3.0).sqrt() / 32_768.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn power(pcm: &[i16]) -> f32 {
        pcm::energy(pcm) as f32 / pcm.len() as f32
    }

    fn decibel(power: f32) -> f32 {
        10.0 * (power / (32_768.0 * 32_768.0)).log10()
    }

    /// Correlation of neighbours: near 1 for low frequencies, near -1 for high ones.
    fn color(pcm: &[i16]) -> f32 {
        let products: f32 = pcm.windows(2).map(|p| f32::from(p[0]) * f32::from(p[1])).sum();
        products / pcm::energy(pcm) as f32
    }

    #[test]
    fn noise_has_the_level_that_was_said_and_never_more() {
        for rate in [8_000, 16_000, 48_000] {
            for level in [20, 40, 55, 70] {
                let mut noise = ComfortNoise::new(rate, 1);
                noise.describe(&[level, 200, 90, 127]);
                assert_eq!(noise.level(), level);
                let mut pcm = vec![0; rate as usize];
                noise.fill(&mut pcm);
                let got = decibel(power(&pcm[rate as usize / 10..]));
                let wanted = -f32::from(level);
                assert!(got <= wanted && got > wanted - 3.0, "{got} dBov, not {wanted}, at {rate}");
            }
        }
    }

    #[test]
    fn noise_begins_softly_and_gets_quieter_at_once() {
        let mut noise = ComfortNoise::new(8_000, 1);
        let mut pcm = [9; 160];
        noise.fill(&mut pcm);
        assert_eq!(pcm, [0; 160], "nothing is known yet");
        noise.describe(&[30]);
        noise.fill(&mut pcm);
        assert!(power(&pcm[..8]) < power(&pcm[80..]) / 10.0);
        noise.describe(&[60]);
        noise.fill(&mut pcm);
        assert!(decibel(power(&pcm)) <= -60.0);
        noise.describe(&[127]);
        noise.fill(&mut pcm);
        assert_eq!(pcm, [0; 160]);
    }

    #[test]
    fn a_description_carries_level_and_colour() {
        let mut source = ComfortNoise::new(8_000, 5);
        for (coefficients, sign) in [([20, 127], 1.0f32), ([230, 127], -1.0)] {
            source.describe(&[&[45], &coefficients[..]].concat());
            let mut heard = [0; 1_600];
            source.fill(&mut heard);
            let mut payload = [0; 20];
            assert_eq!(describe(&heard[800..960], &mut payload), DESCRIPTION_MAX);
            assert!((43..50).contains(&payload[0]), "{}", payload[0]);
            assert!(payload[1].abs_diff(coefficients[0]) < 14, "{payload:?}");
            let mut again = ComfortNoise::new(8_000, 6);
            again.describe(&payload[..DESCRIPTION_MAX]);
            let mut pcm = [0; 8_000];
            again.fill(&mut pcm);
            assert!(color(&pcm) * sign > 0.6, "{}", color(&pcm));
        }
        let mut short = [0; 3];
        assert_eq!((describe(&[5; 80], &mut short), describe(&[5; 80], &mut [])), (3, 0));
        let mut payload = [0; 11];
        assert_eq!(describe(&[0; 160], &mut payload), 11);
        assert_eq!(payload, [127; 11], "silence has no colour");
    }

    #[test]
    fn the_background_of_speech_is_learned_and_its_words_are_not() {
        let mut source = ComfortNoise::new(8_000, 5);
        source.describe(&[55, 40]);
        let mut noise = ComfortNoise::new(8_000, 6);
        for n in 0..300 {
            let mut pcm = [0; 160];
            source.fill(&mut pcm);
            if n % 50 < 35 {
                for (k, sample) in pcm.iter_mut().enumerate() {
                    *sample += ((k as f32 * 0.3).sin() * 6_000.0) as i16;
                }
            }
            noise.learn(&pcm);
        }
        assert!((54..59).contains(&noise.level()), "{}", noise.level());
        let mut pcm = [0; 8_000];
        noise.fill(&mut pcm);
        assert!(color(&pcm) > 0.4, "{}", color(&pcm));
        // A louder room is learned too, in some seconds.
        source.describe(&[48]);
        for _ in 0..500 {
            let mut pcm = [0; 160];
            source.fill(&mut pcm);
            noise.learn(&pcm);
        }
        assert!((47..51).contains(&noise.level()), "{}", noise.level());
    }

    #[test]
    fn speech_alone_is_no_background() {
        let mut noise = ComfortNoise::new(8_000, 6);
        let loud: Vec<i16> = (0..160).map(|k| ((k as f32 * 0.3).sin() * 9_000.0) as i16).collect();
        for _ in 0..500 {
            noise.learn(&loud);
            noise.learn(&[0; 160]);
            noise.learn(&[]);
        }
        assert_eq!(noise.level(), 127);
    }

    proptest! {
        #[test]
        fn any_description_is_survived_and_obeyed(payload in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut noise = ComfortNoise::new(8_000, 1);
            noise.describe(&payload);
            let bound = payload.first().map_or(0.0, |level| power_of(level & 0x7f));
            for _ in 0..20 {
                let mut pcm = [0; 80];
                noise.fill(&mut pcm);
                prop_assert!(power(&pcm) <= bound + 0.5, "{} and not {bound}", power(&pcm));
            }
        }
    }
}
