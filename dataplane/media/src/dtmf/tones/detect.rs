//! Finds digits and fax tones in speech: Goertzel filters over short blocks, then checks of level, twist, purity and
//! pitch that speech does not pass for long. What is told to whom is not its business.

use super::{HIGH, LOW, PAD};
use crate::tone::amplitude;
use base::Duration;
use command::Signal;

/// What was heard. Times are counted back from the end of the samples that were just given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A digit sounds; it began `back` ago.
    Begin {
        /// `0-9A-D*#`.
        digit: char,
        /// How long ago its tone began: so much of what was said before is to be masked too.
        back: Duration,
    },
    /// The digit that began has ended.
    End {
        /// The same as at its begin.
        digit: char,
        /// How long it sounded.
        duration: Duration,
        /// How long ago it ended.
        back: Duration,
    },
    /// A fax tone; each is told once.
    Signal(Signal),
}

/// Listens to one party.
#[derive(Debug)]
pub struct Detector {
    rate: u32,
    block_len: usize,
    filters: Filters,
    /// Samples in the blocks so far.
    position: u64,
    /// The last two blocks, newest first.
    before: [Block; 2],
    press: Option<Press>,
    fax: [Fax; 2],
}

impl Detector {
    /// `rate`: samples a second, 8,000 to 48,000.
    pub fn new(rate: u32) -> Self {
        let rate = rate.clamp(8_000, 48_000);
        let block_len = rate as usize * BLOCK_8K / 8_000;
        Detector {
            rate,
            block_len,
            filters: Filters::new(rate, block_len),
            position: 0,
            before: [Block::default(); 2],
            press: None,
            fax: [Fax::new(CNG_BLOCKS), Fax::new(CED_BLOCKS)],
        }
    }

    /// Listens to the next samples, any number of them, and tells what it has found.
    pub fn process(&mut self, pcm: &[i16], mut found: impl FnMut(Found)) {
        let mut rest = pcm;
        while !rest.is_empty() {
            let (part, after) = rest.split_at(rest.len().min(self.block_len - self.filters.filled));
            self.filters.take(part);
            rest = after;
            if self.filters.filled == self.block_len {
                let block = self.filters.finish();
                self.position += self.block_len as u64;
                let signals = [Signal::FaxCalling, Signal::FaxAnswer];
                for ((fax, sounds), signal) in self.fax.iter_mut().zip(block.fax).zip(signals) {
                    if fax.on_block(sounds) {
                        found(Found::Signal(signal));
                    }
                }
                self.on_block(&block, after.len(), &mut found);
                self.before = [block, self.before[0]];
            }
        }
    }

    /// Whether the last block sounded like a digit, which only the next can confirm: a mask that hides digits closes
    /// here already.
    pub fn suspects(&self) -> bool {
        self.before[0].digit.is_some() || self.press.is_some()
    }

    /// Forgets what was heard, as for a new party; a digit that sounds gets no end.
    pub fn reset(&mut self) {
        *self = Detector::new(self.rate);
    }

    fn on_block(&mut self, block: &Block, after: usize, found: &mut impl FnMut(Found)) {
        if let Some(press) = &mut self.press {
            press.on_block(block);
            let over = press.missing >= MISSING_MAX;
            let sure = press.blocks >= SURE_BLOCKS;
            if sure && !press.told {
                press.told = true;
                let back = self.position + after as u64 - press.begin(self.block_len);
                found(Found::Begin { digit: press.name(), back: self.time(back) });
            }
            let Some(press) = self.press.filter(|_| over) else { return };
            self.press = None;
            if press.told {
                let length = (press.blocks * self.block_len as f32) as u64;
                let back =
                    (self.position + after as u64).saturating_sub(press.begin(self.block_len) + length);
                let (duration, back) = (self.time(length), self.time(back));
                found(Found::End { digit: press.name(), duration, back });
            }
        }
        let [last, first] = &self.before;
        if block.digit.is_some() && block.digit == last.digit && self.filters.is_steady(last, block) {
            let mut press = Press::new(block, last, first, self.position);
            if press.blocks >= SURE_BLOCKS {
                press.told = true;
                let back = self.position + after as u64 - press.begin(self.block_len);
                found(Found::Begin { digit: press.name(), back: self.time(back) });
            }
            self.press = Some(press);
        }
    }

    fn time(&self, samples: u64) -> Duration {
        Duration::from_nanos(samples * 1_000_000_000 / u64::from(self.rate))
    }
}

/// A digit that sounds.
#[derive(Clone, Copy, Debug)]
struct Press {
    key: Key,
    /// Powers of its tones in a block that they fill.
    full: [f32; 2],
    /// How many blocks it has lasted, in parts too.
    blocks: f32,
    /// How many of these had passed at `sure_at`.
    blocks_before: f32,
    /// Position at the end of the block that made it sure.
    sure_at: u64,
    /// How much of the last block with it was filled.
    last: f32,
    /// Blocks since then, and how much of them was empty.
    missed: f32,
    missing: f32,
    /// How much of the first of those was filled.
    tail: f32,
    told: bool,
}

impl Press {
    fn new(block: &Block, last: &Block, first: &Block, position: u64) -> Press {
        let key = block.digit.unwrap_or_default();
        let [a, b] = [block.pair(key), last.pair(key)];
        let full = [a[0].max(b[0]), a[1].max(b[1])];
        let head = part(first.pair(key), full);
        // Its beginning lies in one block; if it is in the first that sounds like it, the one before is empty.
        let whole = if head > 0.0 { 1.0 } else { part(last.pair(key), full) };
        let blocks = head + whole + 1.0;
        Press {
            key,
            full,
            blocks,
            blocks_before: blocks,
            sure_at: position,
            last: part(block.pair(key), full),
            missed: 0.0,
            missing: 0.0,
            tail: 0.0,
            told: false,
        }
    }

    fn on_block(&mut self, block: &Block) {
        let pair = block.pair(self.key);
        if block.digit == Some(self.key) {
            // What was missed was a drop-out.
            self.blocks += self.missed - self.tail + 1.0;
            if self.missed > 0.0 {
                self.blocks += self.cut();
            }
            self.full = [self.full[0].max(pair[0]), self.full[1].max(pair[1])];
            self.last = part(pair, self.full);
            (self.missed, self.missing, self.tail) = (0.0, 0.0, 0.0);
            return;
        }
        let part = if block.digit.is_some() { 0.0 } else { part(pair, self.full) };
        if self.missed == 0.0 {
            self.tail = part;
            self.blocks += part - self.cut();
        }
        self.missed += 1.0;
        self.missing += 1.0 - part;
    }

    /// What the last block with it lacked, if its end lay there.
    fn cut(&self) -> f32 {
        if self.tail > 0.0 { 0.0 } else { 1.0 - self.last }
    }

    fn begin(&self, block_len: usize) -> u64 {
        self.sure_at.saturating_sub((self.blocks_before * block_len as f32) as u64)
    }

    fn name(&self) -> char {
        PAD[usize::from(self.key.0)][usize::from(self.key.1)].into()
    }
}

/// How much of a block a pair of tones fills: the amplitude that is found grows with it.
fn part(powers: [f32; 2], full: [f32; 2]) -> f32 {
    let part = (powers[0] / full[0].max(1.0)).min(powers[1] / full[1].max(1.0)).sqrt();
    if part < PART_MIN { 0.0 } else { part.min(1.0) }
}

/// Counts blocks of one fax tone.
#[derive(Debug)]
struct Fax {
    blocks_min: u8,
    blocks: u8,
    missed: bool,
    told: bool,
}

impl Fax {
    fn new(blocks_min: u8) -> Fax {
        Fax { blocks_min, blocks: 0, missed: false, told: false }
    }

    /// Whether it is to be told now.
    fn on_block(&mut self, sounds: bool) -> bool {
        // The phase of 2,100 Hz turns over each 450 ms (G.165): the block where it does is empty.
        if !sounds && core::mem::replace(&mut self.missed, true) {
            self.blocks = 0;
        }
        if sounds {
            self.missed = false;
            self.blocks = self.blocks.saturating_add(1);
        }
        let tell = self.blocks >= self.blocks_min && !self.told;
        self.told |= tell;
        tell
    }
}

/// A row and a column.
type Key = (u8, u8);
type Lanes = [f32; LANES];
/// The same, as vector registers hold them.
type Fours = [[f32; 4]; LANES / 4];

/// What one block holds.
#[derive(Clone, Copy, Debug, Default)]
struct Block {
    digit: Option<Key>,
    powers: Lanes,
    /// Of the two tones at the block's end, in turns.
    phases: [f32; 2],
    fax: [bool; 2],
}

impl Block {
    fn pair(&self, (row, column): Key) -> [f32; 2] {
        [self.powers[usize::from(row)], self.powers[4 + usize::from(column)]]
    }
}

/// Goertzel filters for all tones, side by side.
#[derive(Debug)]
struct Filters {
    block_len: usize,
    filled: usize,
    s1: Fours,
    s2: Fours,
    energy: f32,
    coefficients: Fours,
    cosines: Lanes,
    sines: Lanes,
    /// Turns of each tone in a block.
    turns: Lanes,
    /// How far the turns of a block may be off.
    turns_off: Lanes,
    /// Least energy of a block that is looked at.
    energy_min: f32,
    /// Least power of each tone of a digit.
    digit_min: f32,
}

impl Filters {
    fn new(rate: u32, block_len: usize) -> Filters {
        let frequencies: [f64; LANES] = core::array::from_fn(|lane| match lane {
            0..4 => LOW[lane].into(),
            4..8 => HIGH[lane - 4].into(),
            CNG => 1_100.0,
            CED => 2_100.0,
            _ => 0.0,
        });
        let angle = |lane: usize| core::f64::consts::TAU * frequencies[lane] / f64::from(rate);
        let turns = |lane: usize| frequencies[lane] * block_len as f64 / f64::from(rate);
        let half = block_len as f32 / 2.0;
        Filters {
            block_len,
            filled: 0,
            s1: Fours::default(),
            s2: Fours::default(),
            energy: 0.0,
            coefficients: core::array::from_fn(|four| {
                core::array::from_fn(|lane| 2.0 * angle(4 * four + lane).cos() as f32)
            }),
            cosines: core::array::from_fn(|lane| angle(lane).cos() as f32),
            sines: core::array::from_fn(|lane| angle(lane).sin() as f32),
            turns: core::array::from_fn(|lane| turns(lane) as f32),
            turns_off: core::array::from_fn(|lane| turns(lane) as f32 * PITCH_OFF),
            energy_min: amplitude(FAX_MIN_DBM0).powi(2) * half,
            digit_min: (amplitude(DIGIT_MIN_DBM0) * half).powi(2),
        }
    }

    #[inline]
    fn take(&mut self, pcm: &[i16]) {
        let [c, d, e] = self.coefficients;
        // By name, so that all of them stay in registers.
        let ([mut c1, mut d1, mut e1], [mut c2, mut d2, mut e2]) = (self.s1, self.s2);
        let mut energy = self.energy;
        for sample in pcm {
            let sample = f32::from(*sample);
            energy += sample * sample;
            (c2, c1) = (c1, step(c, c1, c2, sample));
            (d2, d1) = (d1, step(d, d1, d2, sample));
            (e2, e1) = (e1, step(e, e1, e2, sample));
        }
        (self.s1, self.s2, self.energy) = ([c1, d1, e1], [c2, d2, e2], energy);
        self.filled += pcm.len();
    }

    /// What the block holds; the next begins.
    fn finish(&mut self) -> Block {
        let mut block = Block::default();
        if self.energy >= self.energy_min {
            for lane in 0..LANES {
                let (real, imaginary) = self.value(lane);
                block.powers[lane] = real * real + imaginary * imaginary;
            }
            let purity = |power: f32| power * 2.0 / (self.block_len as f32 * self.energy);
            block.fax = [purity(block.powers[CNG]) >= CNG_PURITY, purity(block.powers[CED]) >= CED_PURITY];
            block.digit = self.digit(&block.powers);
            if let Some((row, column)) = block.digit {
                block.phases = [usize::from(row), 4 + usize::from(column)].map(|lane| {
                    let (real, imaginary) = self.value(lane);
                    imaginary.atan2(real) / core::f32::consts::TAU
                });
            }
        }
        self.filled = 0;
        self.s1 = Fours::default();
        self.s2 = Fours::default();
        self.energy = 0.0;
        block
    }

    /// Of a pure tone of amplitude a its square is (a n / 2)², where the block's energy is a² n / 2.
    fn value(&self, lane: usize) -> (f32, f32) {
        let (s1, s2) = (self.s1[lane / 4][lane % 4], self.s2[lane / 4][lane % 4]);
        (s1 - s2 * self.cosines[lane], s2 * self.sines[lane])
    }

    /// The digit that a block sounds like.
    fn digit(&self, powers: &Lanes) -> Option<Key> {
        let (lows, highs) = (&powers[..4], &powers[4..8]);
        let (row, column) = (loudest(lows)?, loudest(highs)?);
        let (low, high) = (lows[row], highs[column]);
        if low < self.digit_min || high < self.digit_min {
            return None;
        }
        if high > low * TWIST_HIGH || low > high * TWIST_LOW {
            return None;
        }
        let purity = (low + high) * 2.0 / (self.block_len as f32 * self.energy);
        (purity >= DIGIT_PURITY).then_some((row as u8, column as u8))
    }

    /// Whether both tones go on as pure tones do: as loud, and of the right pitch, which their phases tell far better
    /// than a short block can.
    fn is_steady(&self, last: &Block, block: &Block) -> bool {
        let Some((row, column)) = block.digit else { return false };
        [usize::from(row), 4 + usize::from(column)].into_iter().enumerate().all(|(tone, lane)| {
            let louder = last.powers[lane].max(block.powers[lane]);
            let softer = last.powers[lane].min(block.powers[lane]);
            let off = block.phases[tone] - last.phases[tone] - self.turns[lane];
            let off = off - off.round();
            softer >= louder * STEADY && off.abs() <= self.turns_off[lane] + TURNS_NOISE
        })
    }
}

/// One sample through four filters.
#[inline(always)]
fn step(coefficients: [f32; 4], s1: [f32; 4], s2: [f32; 4], sample: f32) -> [f32; 4] {
    core::array::from_fn(|lane| coefficients[lane] * s1[lane] + (sample - s2[lane]))
}

/// The loudest of a group, if it is far louder than the others.
fn loudest(group: &[f32]) -> Option<usize> {
    let best = (0..group.len()).fold(0, |best, lane| if group[lane] > group[best] { lane } else { best });
    let apart = |lane: usize| lane == best || group[lane] * APART <= group[best];
    (0..group.len()).all(apart).then_some(best)
}

/// Filters side by side: eight of digits, two of fax, the rest to fill vector registers.
const LANES: usize = 12;
const CNG: usize = 8;
const CED: usize = 9;
/// Samples of a block at 8 kHz: 12.75 ms, so that 40 ms hold two whole ones wherever they begin.
const BLOCK_8K: usize = 102;
/// Softest tone of a digit and softest fax tone that are looked at.
const DIGIT_MIN_DBM0: f32 = -36.0;
const FAX_MIN_DBM0: f32 = -44.0;
/// How much louder the high tone may be, as power: 6 dB (Q.24 asks for 4).
const TWIST_HIGH: f32 = 4.0;
/// How much louder the low tone may be: 10 dB (Q.24 asks for 8).
const TWIST_LOW: f32 = 10.0;
/// How much louder a tone is than the others of its group: 7 dB.
const APART: f32 = 5.0;
/// The part of the energy that lies in the two tones.
const DIGIT_PURITY: f32 = 0.63;
const CNG_PURITY: f32 = 0.38;
const CED_PURITY: f32 = 0.6;
/// Pitch that is accepted: 2.2 % off (Q.24 asks for 1.5 %), and what noise adds in turns.
const PITCH_OFF: f32 = 0.022;
const TURNS_NOISE: f32 = 0.03;
/// Least power of one block against the one beside it, which a tone may fill in part.
const STEADY: f32 = 0.3;
/// Smaller parts of a block are noise.
const PART_MIN: f32 = 0.12;
/// A digit is told after so many blocks: 31 ms (Q.24: shorter than 23 ms is none, 40 ms is one).
const SURE_BLOCKS: f32 = 2.45;
/// A digit is over when so many blocks are missing: more than a lost packet of 20 ms, less than the shortest pause.
const MISSING_MAX: f32 = 1.75;
/// Fax tones are told after 357 ms (T.30: CNG lasts 425 ms or more) and 408 ms (CED 2.6 s).
const CNG_BLOCKS: u8 = 28;
const CED_BLOCKS: u8 = 32;

#[cfg(test)]
mod tests;
