//! One band of G.722: adaptive quantiser and adaptive predictor, in the integer arithmetic of the recommendation, so that
//! both ends stay in step (clauses 3.2 to 3.6 and 4.1 to 4.3). Tables are those of ITU-T G.722.

/// The lower band: six bits, of which four steer.
pub struct Lower {
    predictor: Predictor,
    scale: Scale,
}

/// The upper band: two bits.
pub struct Upper {
    predictor: Predictor,
    scale: Scale,
}

impl Default for Lower {
    fn default() -> Self {
        Lower { predictor: Predictor::default(), scale: Scale { log: 0, step: 32 } }
    }
}

impl Default for Upper {
    fn default() -> Self {
        Upper { predictor: Predictor::default(), scale: Scale { log: 0, step: 8 } }
    }
}

impl Lower {
    /// The six bits of a sample.
    pub fn encode(&mut self, sample: i32) -> u8 {
        let difference = saturate(sample - self.predictor.guess);
        let magnitude = if difference < 0 { !difference } else { difference };
        // Levels grow, so that as many are passed as are below. All are asked at once, and those behind the last are
        // passed only with it.
        let (step, magnitude) = (self.scale.step as u16, magnitude as i16);
        let is_passed = |decision: &u16| ((u32::from(*decision) * u32::from(step)) >> 16) as i16 <= magnitude;
        let passed: i16 = LOWER_DECISIONS.iter().map(|decision| i16::from(is_passed(decision))).sum();
        let level = 1 + passed.min(29) as u8;
        let code = match (difference < 0, level) {
            (true, 1..=2) => 64 - level,
            (true, _) => 34 - level,
            (false, _) => 62 - level,
        };
        self.adapt(code);
        code
    }

    /// The sample of six bits, 15 bits wide.
    pub fn decode(&mut self, code: u8) -> i32 {
        let fine = (self.scale.step * LOWER_FINE[usize::from(code & 0x3f)]) >> 15;
        let sample = (self.predictor.guess + fine).clamp(-16_384, 16_383);
        self.adapt(code);
        sample
    }

    /// The two low bits may be stolen on the way in other modes: they change nothing here.
    fn adapt(&mut self, code: u8) {
        let coarse = usize::from((code >> 2) & 0x0f);
        let difference = (self.scale.step * LOWER_COARSE[coarse]) >> 15;
        self.scale.adapt(LOWER_GROWTH[coarse], 18_432, 8);
        self.predictor.adapt(difference);
    }
}

impl Upper {
    /// The two bits of a sample.
    pub fn encode(&mut self, sample: i32) -> u8 {
        let difference = saturate(sample - self.predictor.guess);
        let magnitude = if difference < 0 { !difference } else { difference };
        let is_far = magnitude >= (UPPER_DECISION * self.scale.step) >> 12;
        let code = match (difference < 0, is_far) {
            (true, false) => 1,
            (true, true) => 0,
            (false, false) => 3,
            (false, true) => 2,
        };
        self.adapt(code);
        code
    }

    /// The sample of two bits, 15 bits wide.
    pub fn decode(&mut self, code: u8) -> i32 {
        let guess = self.predictor.guess;
        (guess + self.adapt(code)).clamp(-16_384, 16_383)
    }

    /// Gives the difference that the code stands for.
    fn adapt(&mut self, code: u8) -> i32 {
        let code = usize::from(code & 3);
        let difference = (self.scale.step * UPPER_LEVELS[code]) >> 15;
        self.scale.adapt(UPPER_GROWTH[code], 22_528, 10);
        self.predictor.adapt(difference);
        difference
    }
}

/// The quantiser's step and its logarithm.
struct Scale {
    log: i32,
    step: i32,
}

impl Scale {
    fn adapt(&mut self, growth: i32, log_max: i32, shift: i32) {
        self.log = (((self.log * 127) >> 7) + growth).clamp(0, log_max);
        let mantissa = MANTISSAS[((self.log >> 6) & 31) as usize];
        let down = shift - (self.log >> 11);
        self.step = (if down < 0 { mantissa << -down } else { mantissa >> down }) << 2;
    }
}

/// Guesses the next sample from two samples and six differences before it.
#[derive(Default)]
struct Predictor {
    guess: i32,
    /// What the six differences contribute to it.
    zeros: i32,
    /// Newest first: samples as the decoder has them, and without what the two poles contribute.
    samples: [i32; 2],
    partials: [i32; 2],
    poles: [i32; 2],
    /// Six of each, and room for a whole vector: there the differences stay zero.
    differences: [i16; 8],
    taps: [i16; 8],
}

impl Predictor {
    /// Takes the difference to the guess as the decoder has it.
    fn adapt(&mut self, difference: i32) {
        let sample = saturate(self.guess + difference);
        let partial = saturate(self.zeros + difference);
        let agrees = |older: i32| (older ^ partial) >= 0;
        let (agrees_1, agrees_2) = (agrees(self.partials[0]), agrees(self.partials[1]));

        let quarter = saturate(self.poles[0] << 2);
        let turn = (if agrees_1 { -quarter } else { quarter }).min(32_767) >> 7;
        let second = turn + (if agrees_2 { 128 } else { -128 }) + ((self.poles[1] * 32_512) >> 15);
        let second = second.clamp(-12_288, 12_288);
        let first = saturate(((self.poles[0] * 32_640) >> 15) + if agrees_1 { 192 } else { -192 });
        let bound = 15_360 - second;
        self.poles = [first.clamp(-bound, bound), second];

        // Differences have less than 15 bits and taps leak 1/256, so that none of these sums leaves 16 bits.
        let difference = difference as i16;
        let push = if difference == 0 { 0 } else { 128 };
        for (tap, older) in self.taps.iter_mut().zip(&self.differences) {
            let pushed = if (older ^ difference) >= 0 { push } else { -push };
            *tap = (((i32::from(*tap) * 255) >> 8) as i16).wrapping_add(pushed);
        }
        let [a, b, c, d, e, ..] = self.differences;
        self.differences = [difference, a, b, c, d, e, 0, 0];
        self.samples = [sample, self.samples[0]];
        self.partials = [partial, self.partials[0]];

        let part = |pole: &i32, sample: &i32| (pole * saturate(2 * sample)) >> 15;
        let poles: i32 = self.poles.iter().zip(&self.samples).map(|(pole, sample)| part(pole, sample)).sum();
        let part = |tap: &i16, older: &i16| (i32::from(*tap) * i32::from(*older)) >> 14;
        let zeros: i32 = self.taps.iter().zip(&self.differences).map(|(tap, older)| part(tap, older)).sum();
        self.zeros = saturate(zeros);
        self.guess = saturate(saturate(poles) + self.zeros);
    }
}

/// To 16 bits.
fn saturate(value: i32) -> i32 {
    value.clamp(i16::MIN.into(), i16::MAX.into())
}

/// Where the magnitude of a difference passes to the next level, in 1/65536 of the step (Q6, times 16).
const LOWER_DECISIONS: [u16; 32] = {
    let levels = [
        35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1_023, 1_121,
        1_219, 1_339, 1_458, 1_612, 1_765, 1_980, 2_195, 2_557, 2_919,
    ];
    let mut decisions = [u16::MAX; 32];
    let mut level = 0;
    while level < levels.len() {
        decisions[level] = 16 * levels[level];
        level += 1;
    }
    decisions
};

/// What six bits stand for, in 1/32768 of the step (QM6).
const LOWER_FINE: [i32; 64] = [
    -136, -136, -136, -136, -24_808, -21_904, -19_008, -16_704, -14_984, -13_512, -12_280, -11_192, -10_232,
    -9_360, -8_576, -7_856, -7_192, -6_576, -6_000, -5_456, -4_944, -4_464, -4_008, -3_576, -3_168, -2_776,
    -2_400, -2_032, -1_688, -1_360, -1_040, -728, 24_808, 21_904, 19_008, 16_704, 14_984, 13_512, 12_280,
    11_192, 10_232, 9_360, 8_576, 7_856, 7_192, 6_576, 6_000, 5_456, 4_944, 4_464, 4_008, 3_576, 3_168,
    2_776, 2_400, 2_032, 1_688, 1_360, 1_040, 728, 432, 136, -432, -136,
];

/// The same of the upper four of them, by which both ends adapt (QM4).
const LOWER_COARSE: [i32; 16] = [
    0, -20_456, -12_896, -8_968, -6_288, -4_240, -2_584, -1_200, 20_456, 12_896, 8_968, 6_288, 4_240, 2_584,
    1_200, 0,
];

/// How these four let the step grow (WL by RL42).
const LOWER_GROWTH: [i32; 16] =
    [-60, 3_042, 1_198, 538, 334, 172, 58, -30, 3_042, 1_198, 538, 334, 172, 58, -30, -60];

/// As of the lower band.
const UPPER_DECISION: i32 = 564;
const UPPER_LEVELS: [i32; 4] = [-7_408, -1_616, 7_408, 1_616];
const UPPER_GROWTH: [i32; 4] = [798, -214, 798, -214];

/// 2048 times 2 to the power of n/32 (ILB).
const MANTISSAS: [i32; 32] = [
    2_048, 2_093, 2_139, 2_186, 2_233, 2_282, 2_332, 2_383, 2_435, 2_489, 2_543, 2_599, 2_656, 2_714, 2_774,
    2_834, 2_896, 2_960, 3_025, 3_091, 3_158, 3_228, 3_298, 3_371, 3_444, 3_520, 3_597, 3_676, 3_756, 3_838,
    3_922, 4_008,
];
