//! Two short tones that say that somebody joins or leaves.

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chime {
    /// Somebody has joined: upwards.
    Joined,
    /// Somebody has left: downwards.
    Left,
}

/// Chimes one after the other.
#[derive(Debug, Default)]
pub(super) struct Chimes {
    queue: [Option<Chime>; QUEUE],
    /// How long the first has sounded.
    sounded_ms: usize,
}

const QUEUE: usize = 4;
/// How long each of its two tones lasts.
const TONE_MS: usize = 100;
/// How long a tone takes to begin and to end.
const SOFT_MS: f32 = 10.0;
const LOW_HZ: f32 = 587.0;
const HIGH_HZ: f32 = 880.0;
/// About -25 dBov.
const AMPLITUDE: f32 = 2_600.0;

impl Chimes {
    /// Adds one; if too many wait, it is dropped.
    pub(super) fn push(&mut self, chime: Chime) {
        if let Some(place) = self.queue.iter_mut().find(|place| place.is_none()) {
            *place = Some(chime);
        }
    }

    /// Adds what sounds now to the sum of one rate.
    pub(super) fn add(&self, rate: u32, sum: &mut [i32]) {
        let Some(chime) = self.queue[0] else { return };
        let start = self.sounded_ms * rate as usize / 1_000;
        let tone = TONE_MS * rate as usize / 1_000;
        for (n, sum) in sum.iter_mut().enumerate().take((2 * tone).saturating_sub(start)) {
            let at = start + n;
            let hz = if (chime == Chime::Joined) == (at < tone) { LOW_HZ } else { HIGH_HZ };
            let time = (at % tone) as f32 / rate as f32;
            let edge = time.min(TONE_MS as f32 / 1_000.0 - time) * 1_000.0 / SOFT_MS;
            let loud = AMPLITUDE * edge.min(1.0);
            *sum += (loud * (core::f32::consts::TAU * hz * time).sin()) as i32;
        }
    }

    /// A tick is over.
    pub(super) fn advance(&mut self, ms: usize) {
        if self.queue[0].is_none() {
            return;
        }
        self.sounded_ms += ms;
        if self.sounded_ms >= 2 * TONE_MS {
            self.sounded_ms = 0;
            self.queue.rotate_left(1);
            self.queue[QUEUE - 1] = None;
        }
    }
}
