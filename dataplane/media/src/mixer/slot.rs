//! One who is heard: fades where it begins and ends, and its speech at each rate that somebody hears.

use super::SeatKey;
use codec::pcm::{self, Gain};
use codec::resample::{RATES, Resampler};

/// Place of one who is heard. Its memory stays when others take it.
#[derive(Debug, Default)]
pub(super) struct Slot {
    seat: Option<SeatKey>,
    rate: usize,
    fade: Fade,
    leaving: bool,
    /// Nothing that it says from now on is heard: what it said last fades.
    cut: bool,
    /// It has left.
    done: bool,
    /// It is part of this tick's sums.
    sounds: bool,
    /// By its rate and the listeners'.
    resamplers: [[Option<Resampler>; RATES.len()]; RATES.len()],
    /// Its speech of this tick by the listeners' rate.
    parts: [Box<[i16]>; RATES.len()],
}

impl Slot {
    /// Takes the memory that these rates need.
    pub(super) fn grow(&mut self, used: &dyn Fn(usize) -> bool, frames: &[usize; RATES.len()]) {
        for to in (0..RATES.len()).filter(|rate| used(*rate)) {
            if self.parts[to].is_empty() {
                self.parts[to] = vec![0; frames[to]].into();
            }
            for from in (0..RATES.len()).filter(|rate| *rate != to && used(*rate)) {
                self.resamplers[from][to].get_or_insert_with(|| Resampler::new(RATES[from], RATES[to]));
            }
        }
    }

    /// Somebody is heard from this tick on.
    pub(super) fn enter(&mut self, seat: SeatKey, rate: usize) {
        (self.seat, self.rate, self.fade) = (Some(seat), rate, Fade::default());
        (self.leaving, self.cut, self.done, self.sounds) = (false, false, false, false);
        self.resamplers[rate].iter_mut().flatten().for_each(Resampler::reset);
    }

    /// It is not heard any more after this tick.
    pub(super) fn leave(&mut self) {
        self.leaving = true;
    }

    /// It is not heard any more from now on.
    pub(super) fn cut(&mut self) {
        (self.leaving, self.cut) = (true, true);
    }

    /// Nobody has listened at that rate.
    pub(super) fn forget(&mut self, to: usize) {
        self.resamplers.iter_mut().filter_map(|row| row[to].as_mut()).for_each(Resampler::reset);
    }

    /// Frees the place of one who has left; says whose it was.
    pub(super) fn free_if_done(&mut self) -> Option<SeatKey> {
        self.sounds = false;
        if self.done { self.seat.take() } else { None }
    }

    /// Prepares this tick's speech in `work`; `false` if there is none.
    pub(super) fn speak(&mut self, speaks: Option<(&[i16], Gain)>, rate: u32, work: &mut [i16]) -> bool {
        let speaks = speaks.filter(|_| !self.cut);
        let speaks = speaks.map(|(pcm, gain)| (pcm, if self.leaving { Gain::ZERO } else { gain }));
        self.done = self.leaving;
        self.sounds = self.fade.speak(speaks, rate, work);
        self.sounds
    }

    /// This tick's speech at a listeners' rate, made from what [`Slot::speak`] has prepared.
    pub(super) fn render(&mut self, to: usize, work: &[i16]) -> &[i16] {
        let part = &mut self.parts[to];
        match &mut self.resamplers[self.rate][to] {
            Some(resampler) => {
                resampler.process(work, part);
            }
            None => part.copy_from_slice(work),
        }
        part
    }

    /// This tick's speech at a rate that was rendered.
    pub(super) fn part(&self, to: usize) -> &[i16] {
        &self.parts[to]
    }

    pub(super) fn seat(&self) -> Option<SeatKey> {
        self.seat
    }

    pub(super) fn rate(&self) -> usize {
        self.rate
    }

    pub(super) fn sounds(&self) -> bool {
        self.seat.is_some() && self.sounds
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving
    }
}

/// Where a speaker's sound stands between two ticks: no change of it is a step.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fade {
    /// The factor at the end of the last tick.
    factor: f32,
    /// The last sample.
    last: i16,
}

/// So long a change takes.
pub(super) const FADE_MS: usize = 5;

impl Fade {
    /// Writes a tick's speech into `work`, with its gain: fades to a new one; without speech, the last sample fades.
    /// `false` if there is nothing to be heard.
    pub(super) fn speak(&mut self, speaks: Option<(&[i16], Gain)>, rate: u32, work: &mut [i16]) -> bool {
        let fade = (rate as usize * FADE_MS / 1_000).min(work.len());
        let (head, tail);
        match speaks {
            Some((pcm, gain)) => {
                if self.factor == 0.0 && gain == Gain::ZERO {
                    self.last = 0;
                    return false;
                }
                work.copy_from_slice(&pcm[..work.len()]);
                (head, tail) = work.split_at_mut(if self.factor == gain.factor() { 0 } else { fade });
                pcm::ramp(head, self.factor, gain.factor());
                gain.apply(tail);
                self.factor = gain.factor();
            }
            None => {
                self.factor = 0.0;
                if self.last == 0 {
                    return false;
                }
                (head, tail) = work.split_at_mut(fade);
                head.fill(self.last);
                pcm::ramp(head, 1.0, 0.0);
                tail.fill(0);
            }
        }
        self.last = work.last().copied().unwrap_or(0);
        true
    }
}
