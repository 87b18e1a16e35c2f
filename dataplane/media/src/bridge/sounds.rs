//! Sounds that are played to a port or a room: clips and tones, one after the other or beside each other. What they
//! replace or join is decided by each sound's mode.

use super::audio::TICK_SAMPLES;
use crate::tone::Player;
use base::Duration;
use codec::pcm::Gain;
use codec::resample::Resampler;
use command::{Clip, Ended, Outcome, PlayMode, Sound, Ticket};
use std::collections::VecDeque;

/// Sounds that one port or room may have waiting or playing.
pub(super) const SOUNDS_MAX: usize = 16;

/// See the module.
#[derive(Default)]
pub(super) struct Sounds {
    /// Those that replace what is heard, one after the other.
    queue: VecDeque<Play>,
    /// Those that are heard with it.
    beside: Vec<Play>,
}

/// One sound.
pub(super) struct Play {
    ticket: Ticket,
    mode: PlayMode,
    source: Source,
    /// Samples a second of what it is rendered at, when the resampler was made.
    rate: u32,
    /// Rounds that are left, with this one.
    times: Option<u32>,
    gain: Gain,
    /// Where it began.
    start: Duration,
    /// Samples of the sound that were rendered.
    played: u64,
}

enum Source {
    Clip { clip: Clip, at: usize, resampler: Resampler },
    Tone(command::Tone, Box<Player>),
}

impl Play {
    /// To be rendered at `rate`. A start behind the end of the clip is its end.
    pub fn new(
        ticket: Ticket,
        sound: &Sound,
        mode: PlayMode,
        times: Option<u32>,
        start: Duration,
        gain_centibel: i16,
        rate: u32,
    ) -> Self {
        let source = match sound {
            Sound::Clip(clip) => {
                let at = (start.as_nanos() * u128::from(clip.rate) / 1_000_000_000) as usize;
                let resampler = Resampler::new(clip.rate, rate);
                Source::Clip { at: at.min(clip.samples.len()), clip: clip.clone(), resampler }
            }
            Sound::Tone(tone) => {
                Source::Tone(tone.clone(), Box::new(Player::new(tone, rate, times, start, 0)))
            }
        };
        Play { ticket, mode, source, rate, times, gain: Gain::from_centibel(gain_centibel), start, played: 0 }
    }

    /// The rate of the sound itself: more is not needed to play it.
    pub fn rate_of(sound: &Sound) -> u32 {
        match sound {
            Sound::Clip(clip) => clip.rate,
            Sound::Tone(_) => 8_000,
        }
    }

    fn retune(&mut self, rate: u32) {
        let elapsed = Duration::from_nanos(self.played * 1_000_000_000 / u64::from(self.rate.max(1)));
        self.played = self.played * u64::from(rate) / u64::from(self.rate.max(1));
        self.rate = rate;
        match &mut self.source {
            Source::Clip { clip, resampler, .. } => *resampler = Resampler::new(clip.rate, rate),
            Source::Tone(tone, player) => {
                **player = Player::new(tone, rate, self.times, self.start + elapsed, 0);
            }
        }
    }

    /// Fills a block; `false` when this was the end.
    fn render(&mut self, block: &mut [i16]) -> bool {
        let (goes_on, sounded) = match &mut self.source {
            Source::Tone(_, player) => {
                let filled = player.fill(block);
                (!filled.done, filled.samples)
            }
            Source::Clip { clip, at, resampler } => {
                let wanted =
                    (block.len() as u64 * u64::from(clip.rate) / u64::from(self.rate.max(1))) as usize;
                let mut raw = [0; TICK_SAMPLES];
                let raw = &mut raw[..wanted.min(TICK_SAMPLES)];
                let mut filled = 0;
                let mut goes_on = true;
                while filled < raw.len() {
                    let rest = &clip.samples[*at..];
                    let take = rest.len().min(raw.len() - filled);
                    raw[filled..filled + take].copy_from_slice(&rest[..take]);
                    (filled, *at) = (filled + take, *at + take);
                    if *at == clip.samples.len() {
                        goes_on = !clip.samples.is_empty() && again(&mut self.times, || *at = 0);
                        if !goes_on {
                            break;
                        }
                    }
                }
                let len = resampler.process(raw, block);
                block[len..].fill(0);
                (goes_on, filled * block.len() / raw.len().max(1))
            }
        };
        self.gain.apply(block);
        self.played += sounded as u64;
        goes_on
    }

    fn ended(&self, outcome: Outcome) -> Ended {
        let length = Duration::from_nanos(self.played * 1_000_000_000 / u64::from(self.rate.max(1)));
        Ended::after(outcome, length)
    }
}

/// Whether there is another round, which is then begun.
fn again(times: &mut Option<u32>, restart: impl FnOnce()) -> bool {
    let goes_on = match times {
        None => true,
        Some(times) => {
            *times = times.saturating_sub(1);
            *times > 0
        }
    };
    if goes_on {
        restart();
    }
    goes_on
}

impl Sounds {
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.beside.is_empty()
    }

    /// Whether what is heard otherwise is not heard now.
    pub fn replaces(&self) -> bool {
        !self.queue.is_empty()
    }

    /// `false` if there are too many.
    pub fn add(&mut self, play: Play) -> bool {
        if self.queue.len() + self.beside.len() >= SOUNDS_MAX {
            return false;
        }
        match play.mode {
            PlayMode::Replace => self.queue.push_back(play),
            PlayMode::Mix => self.beside.push(play),
        }
        true
    }

    /// What is heard has another rate from now on.
    pub fn retune(&mut self, rate: u32) {
        self.queue.iter_mut().chain(&mut self.beside).for_each(|play| play.retune(rate));
    }

    /// Plays a tick over what is heard otherwise.
    pub fn render(&mut self, block: &mut [i16], mut ended: impl FnMut(Ticket, Ended)) {
        if let Some(play) = self.queue.front_mut()
            && !play.render(block)
        {
            ended(play.ticket, play.ended(Outcome::Done));
            self.queue.pop_front();
        }
        let mut room = [0; TICK_SAMPLES];
        let sound = &mut room[..block.len().min(TICK_SAMPLES)];
        self.beside.retain_mut(|play| {
            let goes_on = play.render(sound);
            for (sample, added) in block.iter_mut().zip(sound.iter()) {
                *sample = sample.saturating_add(*added);
            }
            if !goes_on {
                ended(play.ticket, play.ended(Outcome::Done));
            }
            goes_on
        });
    }

    /// Ends one; `None` if it is not here.
    pub fn stop(&mut self, ticket: Ticket) -> Option<Ended> {
        let queued = self.queue.iter().position(|play| play.ticket == ticket);
        let play = match queued {
            Some(place) => self.queue.remove(place),
            None => {
                let place = self.beside.iter().position(|play| play.ticket == ticket)?;
                Some(self.beside.swap_remove(place))
            }
        };
        play.map(|play| play.ended(Outcome::Stopped))
    }

    /// Ends all, for the bridge closes.
    pub fn close(&mut self, mut ended: impl FnMut(Ticket, Ended)) {
        for play in self.queue.drain(..).chain(self.beside.drain(..)) {
            ended(play.ticket, play.ended(Outcome::Closed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(samples: &[i16]) -> Sound {
        Sound::Clip(Clip { rate: 8_000, samples: samples.into() })
    }

    fn play(ticket: u64, samples: &[i16], mode: PlayMode, times: Option<u32>) -> Play {
        Play::new(Ticket(ticket), &clip(samples), mode, times, Duration::ZERO, 0, 8_000)
    }

    fn render(sounds: &mut Sounds, heard: i16, len: usize) -> (Vec<i16>, Vec<(u64, Ended)>) {
        let (mut block, mut told) = (vec![heard; len], Vec::new());
        sounds.render(&mut block, |ticket, ended| told.push((ticket.0, ended)));
        (block, told)
    }

    #[test]
    fn sounds_that_replace_are_heard_one_after_the_other_and_told_of_once() {
        let mut sounds = Sounds::default();
        assert!(sounds.add(play(1, &[1; 100], PlayMode::Replace, Some(2))));
        assert!(sounds.add(play(2, &[2; 80], PlayMode::Replace, Some(1))));
        let mut all = Vec::new();
        let mut tickets = Vec::new();
        for _ in 0..5 {
            let (block, told) = render(&mut sounds, 9, 80);
            all.push((block[0], block[79]));
            tickets.extend(told.into_iter().map(|(ticket, ended)| (ticket, ended.outcome)));
        }
        assert_eq!(all, [(1, 1), (1, 1), (1, 0), (2, 2), (9, 9)]);
        assert_eq!(tickets, [(1, Outcome::Done), (2, Outcome::Done)]);
        assert!(sounds.is_empty());
    }

    #[test]
    fn sounds_beside_are_added_and_never_wrap() {
        let mut sounds = Sounds::default();
        assert!(sounds.add(play(1, &[30_000; 80], PlayMode::Mix, None)));
        assert!(!sounds.replaces());
        assert_eq!(render(&mut sounds, 5, 80).0[..2], [30_005, 30_005]);
        assert_eq!(render(&mut sounds, 30_000, 80).0[0], i16::MAX);
        let stopped = sounds.stop(Ticket(1)).unwrap();
        assert_eq!((stopped.outcome, stopped.length), (Outcome::Stopped, Duration::from_millis(20)));
        assert_eq!(sounds.stop(Ticket(1)), None);
    }

    #[test]
    fn there_is_a_bound_and_an_empty_clip_ends_at_once() {
        let mut sounds = Sounds::default();
        for n in 0..SOUNDS_MAX as u64 {
            assert!(sounds.add(play(n, &[], PlayMode::Mix, None)));
        }
        assert!(!sounds.add(play(99, &[], PlayMode::Replace, None)));
        assert_eq!(render(&mut sounds, 1, 80).1.len(), SOUNDS_MAX);
    }
}
