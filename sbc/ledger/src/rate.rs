//! How fast calls may come: the generic cell rate algorithm (ITU-T I.371) as arithmetic on one word, the time at which
//! the next call would be due were they evenly spaced. Knows nothing of places; whoever holds the word makes it atomic.

use base::{Duration, Instant};
use core::sync::atomic::{AtomicU64, Ordering};

/// One call each `interval`; `burst` of them may come at once after a pause. A burst of 0 counts as 1, an interval of
/// zero as no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Time that earns one call.
    pub interval: Duration,
    /// Calls at one moment after a pause of `burst` intervals.
    pub burst: u32,
}

impl Rate {
    /// `count` calls `per` time, such as 40 a second; never faster than that by rounding. No calls at all is not a
    /// rate: 0 counts as 1.
    pub fn each(count: u32, per: Duration, burst: u32) -> Rate {
        let nanos = per.as_nanos().div_ceil(u128::from(count.max(1)));
        Rate { interval: Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)), burst }
    }
}

/// A rate in nanoseconds, ready to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Zero: as fast as they come.
    pub interval: u64,
    /// How far ahead of its time a call may come.
    pub tolerance: u64,
}

/// A call that came too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Early {
    /// Until when it would not have been.
    pub wait: u64,
    /// What the word must become; differs from what it was only after the clock has jumped back.
    due: u64,
}

/// What a granted call did to the word, so that it can be undone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    before: u64,
    after: u64,
    interval: u64,
}

impl Pace {
    pub fn of(rate: Option<Rate>) -> Pace {
        let Some(rate) = rate else { return Pace { interval: 0, tolerance: 0 } };
        let interval = u64::try_from(rate.interval.as_nanos()).unwrap_or(u64::MAX);
        Pace { interval, tolerance: interval.saturating_mul(u64::from(rate.burst.max(1) - 1)) }
    }

    /// Whether it limits anything.
    pub fn is_set(self) -> bool {
        self.interval > 0
    }

    /// A call at `now`, with the next one due at `due`: the word after it.
    pub fn step(self, due: u64, now: Instant) -> Result<u64, Early> {
        let allowed_from = due.saturating_sub(self.tolerance);
        if !self.is_set() {
            return Ok(due);
        }
        if allowed_from <= now.0 {
            return Ok(due.max(now.0).saturating_add(self.interval));
        }
        // Nothing that was granted can be due later than this. Clocks of shards differ by a turn, never by this much:
        // the clock has jumped back or the rate was changed, and calls must not wait for the old time to come again.
        let latest = now.0.saturating_add(self.tolerance).saturating_add(self.interval);
        match due > latest.saturating_add(CLOCK_SLACK) {
            true => Err(Early { wait: self.interval, due: latest }),
            false => Err(Early { wait: allowed_from - now.0, due }),
        }
    }

    /// [`Pace::step`] on a word that nobody else has.
    pub fn spend(self, word: &mut u64, now: Instant) -> Result<Token, Early> {
        match self.step(*word, now) {
            Ok(after) => {
                let before = core::mem::replace(word, after);
                Ok(Token { before, after, interval: self.interval })
            }
            Err(early) => {
                *word = early.due;
                Err(early)
            }
        }
    }

    /// [`Pace::step`] on a word that all shards share.
    pub fn spend_shared(self, word: &AtomicU64, now: Instant) -> Result<Token, Early> {
        let mut before = word.load(Ordering::Acquire);
        loop {
            let step = self.step(before, now);
            let after = match step {
                Err(early) if early.due == before => return Err(early),
                Err(early) => early.due,
                Ok(after) => after,
            };
            match word.compare_exchange_weak(before, after, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return step.map(|_| Token { before, after, interval: self.interval }),
                Err(changed) => before = changed,
            }
        }
    }
}

impl Token {
    /// The word without this call. If nobody came in between, it is as it was; else the calls on top of this one keep
    /// what they spent.
    pub fn undo(self, word: u64) -> u64 {
        if word == self.after {
            return self.before;
        }
        let without = word.saturating_sub(self.interval);
        if word > self.after { without.max(self.after) } else { without }
    }

    /// [`Token::undo`] on a word that all shards share.
    pub fn undo_shared(self, word: &AtomicU64) {
        word.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| Some(self.undo(word)))
            .expect("the closure always gives a value");
    }
}

/// More than clocks of shards can differ within their turns.
const CLOCK_SLACK: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn pace(count: u32, burst: u32) -> Pace {
        Pace::of(Some(Rate::each(count, Duration::from_secs(1), burst)))
    }

    fn granted(pace: Pace, word: &mut u64, times: impl IntoIterator<Item = u64>) -> usize {
        times.into_iter().filter(|now| pace.spend(word, Instant(*now)).is_ok()).count()
    }

    #[test]
    fn a_burst_comes_at_once_and_then_one_each_interval() {
        let (pace, mut word) = (pace(40, 80), 0);
        let start = 5_000 * MS;
        assert_eq!(granted(pace, &mut word, [start; 200]), 80);
        let early = pace.spend(&mut word, Instant(start)).unwrap_err();
        assert_eq!(early.wait, 25 * MS);
        assert!(pace.spend(&mut word, Instant(start + 25 * MS - 1)).is_err(), "one nanosecond early");
        assert!(pace.spend(&mut word, Instant(start + 25 * MS)).is_ok(), "exactly on time");
        assert!(pace.spend(&mut word, Instant(start + 25 * MS)).is_err());
        // Eager callers get what the rate says over any time: 40 a second.
        let second = (0..1_000).map(|n| start + 26 * MS + n * MS);
        assert_eq!(granted(pace, &mut word, second), 40);
        // After a long pause the burst is back, and no more than that.
        assert_eq!(granted(pace, &mut word, [start + 3_600_000 * MS; 200]), 80);
    }

    #[test]
    fn an_odd_rate_never_rounds_up() {
        let pace = pace(3, 1);
        assert_eq!(pace.interval, 333_333_334);
        assert_eq!(granted(pace, &mut 0, (0..1_000_000).map(|n| 1 + n * 10_000)), 30);
    }

    #[test]
    fn a_standing_clock_grants_the_burst_and_a_clock_set_back_costs_one_interval() {
        let (pace, mut word) = (pace(10, 5), 0);
        let late = 3_600_000 * MS;
        assert_eq!(granted(pace, &mut word, [late; 50]), 5);
        let back = 10 * MS;
        assert_eq!(pace.spend(&mut word, Instant(back)).unwrap_err().wait, 100 * MS);
        assert_eq!(granted(pace, &mut word, [back + 100 * MS]), 1, "not an hour later");
    }

    #[test]
    fn a_shard_whose_clock_lags_grants_nothing_extra() {
        let (pace, mut word) = (pace(10, 2), 0);
        let now = 1_000 * MS;
        assert_eq!(granted(pace, &mut word, [now, now, now - 5 * MS, now - 5 * MS, now]), 2);
        assert_eq!(granted(pace, &mut word, [now + 100 * MS - 1]), 0);
        assert_eq!(granted(pace, &mut word, [now + 100 * MS]), 1);
    }

    #[test]
    fn an_undone_call_leaves_the_word_as_it_was_and_later_calls_keep_theirs() {
        let pace = pace(10, 5);
        let now = Instant(1_000 * MS);
        let mut word = 7;
        let first = pace.spend(&mut word, now).unwrap();
        assert_eq!(first.undo(word), 7);
        let second = pace.spend(&mut word, now).unwrap();
        let without_first = first.undo(word);
        assert_eq!(without_first, 1_100 * MS, "the second call is still paid");
        assert_eq!(second.undo(without_first), 1_000 * MS, "both undone in any order leave a full burst");
    }

    #[test]
    fn extreme_values_neither_overflow_nor_block() {
        let slow = Pace::of(Some(Rate { interval: Duration::MAX, burst: u32::MAX }));
        let mut word = 0;
        assert!(slow.spend(&mut word, Instant(u64::MAX)).is_ok());
        let none = Pace::of(Some(Rate { interval: Duration::ZERO, burst: 0 }));
        assert!(!none.is_set() && none.spend(&mut word, Instant(0)).is_ok());
        assert_eq!(
            granted(Pace::of(Some(Rate { interval: Duration::from_secs(1), burst: 0 })), &mut 0, [9, 9]),
            1
        );
    }
}
