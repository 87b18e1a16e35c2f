//! Samples of a tone, block by block.

use super::STEPS_MAX;
use base::Duration;
use command::{Tone, ToneStep};

/// Peak of a sine of that level; 3.17 dBm0 reaches µ-law's largest value (G.711 table 2a, note 2).
pub fn amplitude(level_dbm0: f32) -> f32 {
    FULL_SCALE * power_of_ten((level_dbm0 - FULL_SCALE_DBM0) / 20.0)
}

fn power_of_ten(exponent: f32) -> f32 {
    10f32.powf(exponent)
}

/// A sine, sample by sample: a pointer that is turned.
#[derive(Clone, Copy, Debug)]
pub struct Oscillator {
    cosine: f64,
    sine: f64,
    step_cosine: f64,
    step_sine: f64,
}

impl Oscillator {
    /// Begins at zero, going up.
    pub fn new(frequency: f64, rate: u32) -> Self {
        let (step_sine, step_cosine) =
            (core::f64::consts::TAU * frequency / f64::from(rate.max(1))).sin_cos();
        Oscillator { cosine: 1.0, sine: 0.0, step_cosine, step_sine }
    }

    /// The next sample, from -1 to 1.
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> f32 {
        let sample = self.sine;
        let cosine = self.cosine * self.step_cosine - self.sine * self.step_sine;
        self.sine = self.sine * self.step_cosine + self.cosine * self.step_sine;
        self.cosine = cosine;
        sample as f32
    }

    /// Keeps the pointer's length at 1; once a block is enough.
    pub fn settle(&mut self) {
        let square = self.cosine * self.cosine + self.sine * self.sine;
        let correction = 1.5 - 0.5 * square;
        self.cosine *= correction;
        self.sine *= correction;
    }
}

/// What a call of [`Player::fill`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filled {
    /// So many samples are of the tone (its pauses are); the rest is silence.
    pub samples: usize,
    /// The tone is over.
    pub done: bool,
}

/// Sounds one tone.
#[derive(Debug)]
pub struct Player {
    rate: u32,
    gain: f32,
    steps: [Step; STEPS_MAX],
    len: usize,
    /// Rounds still to begin after this one; `None` is no end.
    rounds: Option<u32>,
    at: usize,
    /// Samples of this step that are over.
    position: u64,
    oscillators: [Oscillator; 4],
    done: bool,
}

impl Player {
    /// `times` as in [`command::Order::Play`]: how often the cadence is heard; `None` is without end, but once for a
    /// tone that is `once`. Begins `start` after its beginning.
    pub fn new(tone: &Tone, rate: u32, times: Option<u32>, start: Duration, gain_centibel: i16) -> Self {
        let mut steps = [Step::SILENCE; STEPS_MAX];
        let len = tone.steps.len().min(STEPS_MAX);
        for (step, spec) in steps.iter_mut().zip(&tone.steps) {
            *step = Step::new(spec, rate);
        }
        let times = times.or(tone.once.then_some(1));
        let mut player = Player {
            rate,
            gain: power_of_ten(f32::from(gain_centibel) / 2_000.0),
            steps,
            len,
            rounds: times.map(|times| times.saturating_sub(1)),
            at: 0,
            position: 0,
            oscillators: [Oscillator::new(0.0, rate); 4],
            done: times == Some(0),
        };
        let round: u64 = player.steps[..len].iter().map(|step| step.samples).sum();
        if round == 0 {
            player.done = true;
            return player;
        }
        let mut skip = (start.as_nanos() * u128::from(rate) / 1_000_000_000).min(u64::MAX.into()) as u64;
        let rounds = skip / round;
        match &mut player.rounds {
            Some(left) if u64::from(*left) < rounds => player.done = true,
            Some(left) => *left -= rounds as u32,
            None => {}
        }
        skip %= round;
        while skip >= player.steps[player.at].samples {
            skip -= player.steps[player.at].samples;
            player.at += 1;
        }
        player.position = skip;
        player.tune();
        player
    }

    /// Writes the next samples over `pcm`, all of it.
    pub fn fill(&mut self, pcm: &mut [i16]) -> Filled {
        let mut filled = 0;
        while filled < pcm.len() && !self.done {
            let step = self.steps[self.at];
            let left = step.samples - self.position;
            let count = (pcm.len() - filled).min(usize::try_from(left).unwrap_or(usize::MAX));
            self.sound(&step, &mut pcm[filled..filled + count]);
            filled += count;
            self.position += count as u64;
            if self.position == step.samples {
                self.advance();
            }
        }
        pcm[filled..].fill(0);
        self.oscillators.iter_mut().for_each(Oscillator::settle);
        Filled { samples: filled, done: self.done }
    }

    /// Whether the tone is over.
    pub fn is_done(&self) -> bool {
        self.done
    }

    fn sound(&mut self, step: &Step, pcm: &mut [i16]) {
        if step.is_pause() {
            pcm.fill(0);
            return;
        }
        let ramp = u64::from(self.rate / RAMP_PART).max(1);
        let (joined_before, joined_after) = (self.joins(-1), self.joins(1));
        for (at, sample) in (self.position..).zip(pcm) {
            let mut sum = 0.0;
            if step.modulated {
                let carrier = self.oscillators[0].next();
                sum = carrier * (1.0 + DEPTH * self.oscillators[1].next()) * step.amplitude * MODULATED_GAIN;
            } else {
                for (oscillator, frequency) in self.oscillators.iter_mut().zip(step.frequencies) {
                    if frequency != 0 {
                        sum += oscillator.next() * step.amplitude;
                    }
                }
            }
            // No click where a tone begins or ends.
            let rising = if joined_before { ramp } else { at + 1 };
            let falling = if joined_after { ramp } else { step.samples - at };
            let edge = rising.min(falling).min(ramp) as f32 / ramp as f32;
            *sample = (sum * edge * self.gain) as i16;
        }
    }

    /// Whether this step goes on in the next (or came from the last) without a change.
    fn joins(&self, way: isize) -> bool {
        let last = self.len - 1;
        let other = match way {
            1 if self.at == last && self.rounds == Some(0) => return false,
            1 => (self.at + 1) % self.len,
            _ => (self.at + last) % self.len,
        };
        self.steps[other].sounds_as(&self.steps[self.at])
    }

    fn advance(&mut self) {
        let before = self.steps[self.at];
        self.position = 0;
        loop {
            self.at += 1;
            if self.at == self.len {
                self.at = 0;
                match &mut self.rounds {
                    Some(0) => {
                        self.done = true;
                        return;
                    }
                    Some(rounds) => *rounds -= 1,
                    None => {}
                }
            }
            if self.steps[self.at].samples > 0 {
                break;
            }
        }
        if !self.steps[self.at].sounds_as(&before) {
            self.tune();
        }
    }

    fn tune(&mut self) {
        for (oscillator, frequency) in self.oscillators.iter_mut().zip(self.steps[self.at].frequencies) {
            *oscillator = Oscillator::new(frequency.into(), self.rate);
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Step {
    frequencies: [u16; 4],
    modulated: bool,
    amplitude: f32,
    samples: u64,
}

impl Step {
    const SILENCE: Step = Step { frequencies: [0; 4], modulated: false, amplitude: 0.0, samples: 0 };

    fn new(spec: &ToneStep, rate: u32) -> Step {
        let samples = spec.duration.as_nanos() * u128::from(rate) / 1_000_000_000;
        // What the rate cannot hold is not heard rather than heard elsewhere.
        let holds = |frequency: u16| if u32::from(frequency) * 2 < rate { frequency } else { 0 };
        Step {
            frequencies: spec.frequencies.map(holds),
            modulated: spec.modulated,
            amplitude: amplitude(f32::from(spec.level_dbm0)),
            samples: samples.min(u64::MAX.into()) as u64,
        }
    }

    fn is_pause(&self) -> bool {
        self.frequencies == [0; 4] || self.modulated && self.frequencies[0] == 0
    }

    fn sounds_as(&self, other: &Step) -> bool {
        self.frequencies == other.frequencies
            && self.modulated == other.modulated
            && self.amplitude == other.amplitude
    }
}

/// Peak of a sine at [`FULL_SCALE_DBM0`].
const FULL_SCALE: f32 = 32_636.0;
const FULL_SCALE_DBM0: f32 = 3.17;
/// A ramp takes this part of a second: 2 ms.
const RAMP_PART: u32 = 500;
/// How deep amplitude modulation goes.
const DEPTH: f32 = 0.85;
/// Keeps the power of a modulated tone at its level: 1 / sqrt(1 + DEPTH² / 2).
const MODULATED_GAIN: f32 = 0.857;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tone::parse;

    #[test]
    fn a_cadence_sounds_and_rests_as_long_as_it_says() {
        for rate in [8_000, 16_000, 48_000] {
            let tone = parse("440+480/400,0/200").unwrap();
            let mut player = Player::new(&tone, rate, Some(2), Duration::ZERO, 0);
            let ms = rate as usize / 1_000;
            let mut heard = Vec::new();
            let mut block = vec![0; 20 * ms];
            loop {
                let filled = player.fill(&mut block);
                heard.extend_from_slice(&block[..filled.samples]);
                if filled.done {
                    assert_eq!(player.fill(&mut block), Filled { samples: 0, done: true });
                    break;
                }
            }
            assert_eq!(heard.len(), 1_200 * ms, "two rounds at {rate}");
            for round in heard.chunks(600 * ms) {
                assert!(round[..400 * ms].chunks(10 * ms).all(|part| loudest(part) > 500), "it sounds");
                assert!(round[400 * ms..].iter().all(|sample| *sample == 0), "it rests");
            }
        }
    }

    #[test]
    fn a_level_is_a_level_of_each_frequency() {
        let heard = play("1004@0", 8_000, 8_000);
        let power = heard.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>() / 8_000.0;
        let expected = f64::from(amplitude(0.0)).powi(2) / 2.0;
        assert!((10.0 * (power / expected).log10()).abs() < 0.05, "{power} instead of {expected}");
        let two = play("440+480@-13", 8_000, 8_000);
        let power_two = two.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>() / 8_000.0;
        assert!((10.0 * (power_two / power).log10() + 10.0).abs() < 0.1, "two at -13 dBm0 make -10");
        let modulated = play("400*20@-13", 8_000, 8_000);
        let power_one = modulated.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>() / 8_000.0;
        assert!((10.0 * (power_one / power).log10() + 13.0).abs() < 0.1, "modulation keeps the level");
        let softer = Player::new(&parse("1004@0").unwrap(), 8_000, None, Duration::ZERO, -2_000)
            .fill_all(8_000)
            .iter()
            .map(|x| f64::from(*x) * f64::from(*x))
            .sum::<f64>()
            / 8_000.0;
        assert!((10.0 * (softer / power).log10() + 20.0).abs() < 0.1, "a gain of -20 dB");
    }

    #[test]
    fn a_continuous_tone_has_no_seam() {
        let heard = play("425", 8_000, 80_000);
        let step_max = f64::from(amplitude(-13.0)) * (core::f64::consts::TAU * 425.0 / 8_000.0);
        let jump = heard.windows(2).map(|pair| (f64::from(pair[1]) - f64::from(pair[0])).abs());
        assert!(jump.fold(0.0, f64::max) < step_max * 1.02 + 2.0, "no jump");
        let quiet = heard[100..].chunks(80).filter(|part| loudest(part) < 3_000).count();
        assert_eq!(quiet, 0, "no ramp in the middle");
    }

    #[test]
    fn it_begins_where_it_is_told() {
        let tone = parse("440/400,0/200").unwrap();
        let mut whole = vec![0; 4_800 * 2];
        Player::new(&tone, 8_000, Some(2), Duration::ZERO, 0).fill(&mut whole);
        for start_ms in [100usize, 500, 650, 1_100] {
            let start = Duration::from_millis(start_ms as u64);
            let mut player = Player::new(&tone, 8_000, Some(2), start, 0);
            let mut rest = vec![0; whole.len()];
            let filled = player.fill(&mut rest);
            assert_eq!(filled, Filled { samples: whole.len() - start_ms * 8, done: true });
            let sounds = |pcm: &[i16]| pcm.chunks(80).map(|part| loudest(part) > 0).collect::<Vec<_>>();
            assert_eq!(sounds(&rest[..filled.samples]), sounds(&whole[start_ms * 8..]));
        }
        assert!(Player::new(&tone, 8_000, Some(2), Duration::from_secs(2), 0).is_done());
        assert!(!Player::new(&tone, 8_000, None, Duration::from_secs(3_600), 0).is_done());
    }

    #[test]
    fn tones_without_length_are_over_at_once() {
        let silent = ToneStep {
            frequencies: [440, 0, 0, 0],
            modulated: false,
            level_dbm0: 0,
            duration: Duration::ZERO,
        };
        for steps in [vec![], vec![silent; 3]] {
            let mut player =
                Player::new(&Tone { steps, once: false }, 8_000, None, Duration::from_secs(1), 0);
            assert_eq!(player.fill(&mut [1; 160]), Filled { samples: 0, done: true });
        }
    }

    fn play(text: &str, rate: u32, samples: usize) -> Vec<i16> {
        Player::new(&parse(text).unwrap(), rate, None, Duration::ZERO, 0).fill_all(samples)
    }

    fn loudest(pcm: &[i16]) -> i32 {
        pcm.iter().map(|sample| i32::from(*sample).abs()).max().unwrap_or(0)
    }

    impl Player {
        fn fill_all(mut self, samples: usize) -> Vec<i16> {
            let mut pcm = vec![0; samples];
            pcm.chunks_mut(160).for_each(|block| {
                self.fill(block);
            });
            pcm
        }
    }
}
