//! Quadrature mirror filters of G.722: 16 kHz into two bands of 8 kHz, and back (clauses 3.1 and 4.4).

/// One half of the filter's impulse response; the other half mirrors it (table 11/G.722).
const TAPS: [i32; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

/// Pairs that the filters look at.
const PAIRS: usize = 12;
/// Pairs that are kept beside them, so that they move once in a while and not with every pair.
const SLACK: usize = 84;

/// The last pairs, the two members apart, newest last.
struct History {
    first: [i32; PAIRS + SLACK],
    second: [i32; PAIRS + SLACK],
    end: usize,
}

impl Default for History {
    fn default() -> Self {
        History { first: [0; PAIRS + SLACK], second: [0; PAIRS + SLACK], end: PAIRS }
    }
}

impl History {
    /// Takes a pair and gives the filter's two sums.
    fn push(&mut self, first: i32, second: i32) -> (i32, i32) {
        if self.end == PAIRS + SLACK {
            let kept = self.end - PAIRS..self.end;
            self.first.copy_within(kept.clone(), 0);
            self.second.copy_within(kept, 0);
            self.end = PAIRS;
        }
        (self.first[self.end], self.second[self.end]) = (first, second);
        self.end += 1;
        let seen = self.end - PAIRS..self.end;
        let (mut odd, mut even) = (0, 0);
        let pairs = self.first[seen.clone()].iter().zip(&self.second[seen]);
        for ((first, second), (tap, mirrored)) in pairs.zip(TAPS.iter().zip(TAPS.iter().rev())) {
            odd += first * tap;
            even += second * mirrored;
        }
        (odd, even)
    }
}

/// Into bands.
#[derive(Default)]
pub struct Analysis(History);

impl Analysis {
    /// The lower and the upper band's sample of a pair, 15 bits each.
    pub fn split(&mut self, pair: [i16; 2]) -> (i32, i32) {
        let (odd, even) = self.0.push(pair[0].into(), pair[1].into());
        // 12 bits for the gain of the filter, 1 for the sum, 1 for 15 bits.
        ((even + odd) >> 14, (even - odd) >> 14)
    }
}

/// From bands.
#[derive(Default)]
pub struct Synthesis(History);

impl Synthesis {
    /// The pair of samples of one sample in each band.
    pub fn join(&mut self, low: i32, high: i32) -> [i16; 2] {
        let (second, first) = self.0.push(low + high, low - high);
        [first, second].map(|sum| (sum >> 11).clamp(i16::MIN.into(), i16::MAX.into()) as i16)
    }
}
