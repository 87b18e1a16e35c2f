//! Makes the tones of digits, to the sample.

use super::frequencies;
use crate::tone::{Oscillator, amplitude};
use base::Duration;

/// Levels of the two tones in dBm0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Levels {
    /// Of the row.
    pub low_dbm0: f32,
    /// Of the column; a little louder, as lines take more of it.
    pub high_dbm0: f32,
}

impl Default for Levels {
    fn default() -> Self {
        Levels { low_dbm0: -9.0, high_dbm0: -7.0 }
    }
}

/// One digit after the other as samples, with soft edges.
#[derive(Debug)]
pub struct Generator {
    rate: u32,
    tones: [Oscillator; 2],
    amplitudes: [f32; 2],
    position: u64,
    /// Where it ends; `None` as long as the key is down.
    length: Option<u64>,
    active: bool,
}

impl Generator {
    /// `rate` in samples a second.
    pub fn new(rate: u32) -> Self {
        Generator {
            rate,
            tones: [Oscillator::new(0.0, rate); 2],
            amplitudes: [0.0; 2],
            position: 0,
            length: None,
            active: false,
        }
    }

    /// Begins a digit, for `duration` or until [`Generator::finish`]. Does nothing if it is no digit.
    pub fn start(&mut self, digit: char, levels: Levels, duration: Option<Duration>) {
        let Some((low, high)) = frequencies(digit) else { return };
        self.tones = [low, high].map(|frequency| Oscillator::new(frequency.into(), self.rate));
        self.amplitudes = [amplitude(levels.low_dbm0), amplitude(levels.high_dbm0)];
        self.position = 0;
        self.length = duration.map(|duration| self.samples(duration));
        self.active = true;
    }

    /// The digit that sounds lasts `duration` in all; if it has lasted longer already, it ends at once.
    pub fn finish(&mut self, duration: Duration) {
        self.length = Some(self.samples(duration).max(self.position + self.ramp()));
    }

    /// Writes the next samples over the beginning of `pcm` and says how many; the rest stays as it is.
    pub fn fill(&mut self, pcm: &mut [i16]) -> usize {
        if !self.active {
            return 0;
        }
        let ramp = self.ramp();
        let left = self.length.map_or(u64::MAX, |length| length.saturating_sub(self.position));
        let count = pcm.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        for (at, sample) in (self.position..).zip(&mut pcm[..count]) {
            let falling = self.length.map_or(ramp, |length| length - at);
            let edge = (at + 1).min(falling).min(ramp) as f32 / ramp as f32;
            let [low, high] = &mut self.tones;
            let sum = low.next() * self.amplitudes[0] + high.next() * self.amplitudes[1];
            *sample = (sum * edge) as i16;
        }
        self.tones.iter_mut().for_each(Oscillator::settle);
        self.position += count as u64;
        self.active = count as u64 != left;
        count
    }

    /// Whether a digit sounds.
    pub fn is_active(&self) -> bool {
        self.active
    }

    fn samples(&self, duration: Duration) -> u64 {
        (duration.as_nanos() * u128::from(self.rate) / 1_000_000_000).min(u64::MAX.into()) as u64
    }

    fn ramp(&self) -> u64 {
        u64::from(self.rate / 500).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digit_is_as_long_as_told_and_its_edges_are_soft() {
        for rate in [8_000, 16_000, 48_000] {
            let mut generator = Generator::new(rate);
            generator.start('7', Levels::default(), Some(Duration::from_millis(73)));
            let mut pcm = vec![0i16; rate as usize / 5];
            let mut len = 0;
            for block in pcm.chunks_mut(rate as usize / 50) {
                len += generator.fill(block);
            }
            assert_eq!(len, rate as usize * 73 / 1_000);
            assert!(!generator.is_active() && pcm[len..].iter().all(|sample| *sample == 0));
            assert!(pcm[0].abs() < 2_000 && pcm[len - 1].abs() < 2_000);
            assert!(pcm.iter().any(|sample| *sample > 9_000));
        }
    }

    #[test]
    fn a_followed_digit_ends_when_its_event_does() {
        let mut generator = Generator::new(8_000);
        generator.start('#', Levels::default(), None);
        let mut pcm = [0i16; 160];
        for _ in 0..5 {
            assert_eq!(generator.fill(&mut pcm), 160);
        }
        generator.finish(Duration::from_millis(110));
        assert_eq!((generator.fill(&mut pcm), generator.fill(&mut pcm)), (80, 0));
        generator.start('#', Levels::default(), None);
        assert_eq!(generator.fill(&mut pcm), 160);
        generator.finish(Duration::from_millis(10));
        assert_eq!((generator.fill(&mut pcm), generator.is_active()), (16, false), "late: a ramp and out");
        generator.start('x', Levels::default(), None);
        assert!(!generator.is_active());
    }
}
