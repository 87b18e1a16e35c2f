//! What has been decoded or made up and not yet been pulled: samples in order, and what they are.

use crate::playout::Pulled;

/// Changes of kind that are told apart; more are taken for the kind before them.
const RUNS: usize = 16;

pub struct Sound {
    pcm: Box<[i16]>,
    start: usize,
    end: usize,
    runs: [(Pulled, usize); RUNS],
    /// How many of the runs are in use.
    used: usize,
}

impl Sound {
    /// Holds this many samples.
    pub fn new(samples: usize) -> Self {
        Sound { pcm: vec![0; samples].into(), start: 0, end: 0, runs: [(Pulled::Silence, 0); RUNS], used: 0 }
    }

    /// Bytes on the heap.
    #[cfg(test)]
    pub fn heap_len(&self) -> usize {
        size_of_val(&*self.pcm)
    }

    pub fn len(&self) -> usize {
        self.end - self.start
    }

    pub fn clear(&mut self) {
        (self.start, self.end, self.used) = (0, 0, 0);
    }

    /// Where the next samples go: all the room that there is.
    pub fn room(&mut self) -> &mut [i16] {
        if self.start > 0 {
            self.pcm.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.pcm[self.end..]
    }

    /// The first samples of [`Sound::room`] have been written and are of this kind.
    pub fn add(&mut self, kind: Pulled, samples: usize) {
        debug_assert!(samples <= self.pcm.len() - self.end, "what was written lies in the room");
        self.end += samples;
        match self.runs[..self.used].last_mut() {
            Some(last) if last.0 == kind || self.used == RUNS => last.1 += samples,
            _ => {
                self.runs[self.used] = (kind, samples);
                self.used += 1;
            }
        }
    }

    /// Fills `pcm`, which must not be longer than what is there, and says what most of it is.
    pub fn take(&mut self, pcm: &mut [i16]) -> Pulled {
        pcm.copy_from_slice(&self.pcm[self.start..self.start + pcm.len()]);
        self.start += pcm.len();
        let mut most = (Pulled::Silence, 0);
        let mut left = pcm.len();
        let mut gone = 0;
        for run in &mut self.runs[..self.used] {
            let taken = run.1.min(left);
            if taken > most.1 {
                most = (run.0, taken);
            }
            left -= taken;
            run.1 -= taken;
            gone += usize::from(run.1 == 0);
            if left == 0 {
                break;
            }
        }
        self.runs[..self.used].rotate_left(gone);
        self.used -= gone;
        most.0
    }

    /// Whether all of it is what the sender sent.
    pub fn is_speech(&self) -> bool {
        self.runs[..self.used].iter().all(|run| run.0 == Pulled::Speech)
    }

    /// Changes the length of the first `len` samples: `change` is given them with all the room behind them, and says
    /// how many samples it took out (negative) or put in.
    pub fn reshape(&mut self, len: usize, change: impl FnOnce(&mut [i16]) -> isize) -> isize {
        self.room();
        // What is behind waits at the very end.
        let len = len.min(self.end);
        let (behind, capacity) = (self.end - len, self.pcm.len());
        self.pcm.copy_within(len..self.end, capacity - behind);
        let changed = change(&mut self.pcm[..capacity - behind]);
        let new_len = len.saturating_add_signed(changed);
        self.pcm.copy_within(capacity - behind.., new_len);
        self.end = new_len + behind;
        let mut left = changed;
        for run in &mut self.runs[..self.used] {
            let new = run.1.saturating_add_signed(left);
            left -= new as isize - run.1 as isize;
            run.1 = new;
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(sound: &mut Sound, kind: Pulled, samples: &[i16]) {
        sound.room()[..samples.len()].copy_from_slice(samples);
        sound.add(kind, samples.len());
    }

    #[test]
    fn samples_come_out_in_order_and_are_called_what_most_of_them_are() {
        let mut sound = Sound::new(10);
        add(&mut sound, Pulled::Speech, &[1, 2, 3]);
        add(&mut sound, Pulled::Noise, &[4, 5, 6, 7, 8]);
        let mut pcm = [0; 4];
        assert_eq!((sound.take(&mut pcm), pcm), (Pulled::Speech, [1, 2, 3, 4]));
        add(&mut sound, Pulled::Speech, &[9]);
        assert_eq!((sound.take(&mut pcm), pcm), (Pulled::Noise, [5, 6, 7, 8]));
        assert_eq!(sound.len(), 1);
        assert!(sound.is_speech());
    }

    #[test]
    fn the_front_is_reshaped_and_what_follows_stays_behind_it() {
        let mut sound = Sound::new(10);
        add(&mut sound, Pulled::Speech, &[1, 2, 3, 4, 5, 6]);
        sound.reshape(4, |pcm| {
            assert_eq!(pcm.len(), 8);
            pcm.copy_within(2..4, 0);
            -2
        });
        let mut pcm = [0; 4];
        sound.take(&mut pcm);
        assert_eq!((pcm, sound.len()), ([3, 4, 5, 6], 0));
        add(&mut sound, Pulled::Speech, &[1, 2, 3]);
        sound.reshape(2, |pcm| {
            pcm[2] = 9;
            1
        });
        sound.take(&mut pcm);
        assert_eq!((pcm, sound.len()), ([1, 2, 9, 3], 0));
    }
}
