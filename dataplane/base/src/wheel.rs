//! A hashed timer wheel: inserting and expiring cost a few nanoseconds however many timers there are.
//! Timers cannot be cancelled; whoever gets a stale one ignores it (keys carry generations).

use crate::time::{Duration, Instant};

/// Timers with a payload, in slots of one tick. A timer fires at its time or up to one tick later, never before.
#[derive(Debug)]
pub struct Wheel<T> {
    slots: Vec<Vec<Timer<T>>>,
    tick: u64,
    /// The next tick to expire.
    cursor: u64,
    len: usize,
    /// No timer is due before this; kept low when in doubt.
    next: Instant,
}

#[derive(Debug)]
struct Timer<T> {
    at: Instant,
    value: T,
}

const SLOTS: usize = 4096;

impl<T> Wheel<T> {
    /// A wheel whose timers are exact to `tick`. A turn is 4,096 ticks; timers further ahead wait for their lap.
    pub fn new(now: Instant, tick: Duration) -> Self {
        Wheel::with_room(now, tick, 0)
    }

    /// As [`Wheel::new`], with room for so many timers in each slot: inserting takes memory only beyond that.
    pub fn with_room(now: Instant, tick: Duration, timers: usize) -> Self {
        let tick = u64::try_from(tick.as_nanos()).unwrap_or(u64::MAX).max(1);
        Wheel {
            slots: (0..SLOTS).map(|_| Vec::with_capacity(timers)).collect(),
            tick,
            cursor: now.0 / tick,
            len: 0,
            next: Instant(u64::MAX),
        }
    }

    /// Adds a timer. One that is already due fires at the next [`Wheel::expire`].
    pub fn insert(&mut self, at: Instant, value: T) {
        // Rounded up: a timer is never early.
        let tick = at.0.div_ceil(self.tick).max(self.cursor);
        self.slots[(tick % SLOTS as u64) as usize].push(Timer { at, value });
        self.len += 1;
        self.next = self.next.min(Instant(tick.saturating_mul(self.tick)));
    }

    /// Fires all that is due, in order of ticks; `fire` gets the time that was asked for.
    /// Timers added by the caller afterwards fire at a later call, so this ends.
    pub fn expire(&mut self, now: Instant, mut fire: impl FnMut(Instant, T)) {
        let last = now.0 / self.tick;
        if self.len == 0 || now < self.next {
            if self.len == 0 {
                self.cursor = self.cursor.max(last);
            }
            return;
        }
        // After a long pause one lap visits every slot once.
        let laps_end = last.min(self.cursor.saturating_add(SLOTS as u64 - 1));
        for tick in self.cursor..=laps_end {
            let slot = &mut self.slots[(tick % SLOTS as u64) as usize];
            let mut i = 0;
            while i < slot.len() {
                if slot[i].at.0.div_ceil(self.tick) <= last {
                    let timer = slot.swap_remove(i);
                    self.len -= 1;
                    fire(timer.at, timer.value);
                } else {
                    i += 1;
                }
            }
        }
        self.cursor = last;
        self.next = self.find_next();
    }

    /// When to call [`Wheel::expire`] next; `None` with no timers. May be early (a far timer's slot), never late.
    pub fn poll_timeout(&self) -> Option<Instant> {
        (self.len > 0).then_some(self.next)
    }

    /// How many timers wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no timer waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn find_next(&self) -> Instant {
        if self.len == 0 {
            return Instant(u64::MAX);
        }
        for tick in self.cursor..self.cursor + SLOTS as u64 {
            let slot = &self.slots[(tick % SLOTS as u64) as usize];
            if slot.iter().any(|t| t.at.0.div_ceil(self.tick) <= tick) {
                return Instant(tick.saturating_mul(self.tick));
            }
        }
        // Only timers of later laps: look again after this one.
        Instant((self.cursor + SLOTS as u64).saturating_mul(self.tick))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;

    fn fired(wheel: &mut Wheel<u32>, now: Instant) -> Vec<u32> {
        let mut out = Vec::new();
        wheel.expire(now, |_, v| out.push(v));
        out
    }

    #[test]
    fn timers_fire_at_their_time_and_not_before() {
        let mut wheel = Wheel::new(Instant(0), Duration::from_millis(1));
        wheel.insert(Instant(500_000_001), 1);
        wheel.insert(Instant(0), 0);
        wheel.insert(Instant(32_000_000_000), 3); // several laps ahead
        assert_eq!(fired(&mut wheel, Instant(0)), [0]);
        assert_eq!(fired(&mut wheel, Instant(500_000_000)), [0; 0]);
        assert_eq!(fired(&mut wheel, Instant(501_000_000)), [1]);
        assert_eq!(fired(&mut wheel, Instant(31_999_999_999)), [0; 0]);
        assert_eq!(fired(&mut wheel, Instant(32_000_000_000)), [3]);
        assert_eq!(wheel.poll_timeout(), None);
    }

    #[test]
    fn following_poll_timeout_fires_everything_within_a_tick() {
        let tick = 1_000_000;
        for seed in 0..20 {
            let mut rng = Rng::from_seed(seed);
            let mut wheel = Wheel::new(Instant(seed * 77), Duration::from_nanos(tick));
            let mut now = Instant(seed * 77);
            let mut waiting = 0;
            for _ in 0..500 {
                for _ in 0..rng.below(4) {
                    let reach = if rng.below(9) == 0 { 40_000_000_000 } else { 3_000_000_000 };
                    let at = now.0 + rng.below(reach);
                    wheel.insert(Instant(at), at);
                    waiting += 1;
                }
                now = wheel.poll_timeout().map_or(now, |t| t.max(now));
                wheel.expire(now, |at, value| {
                    assert_eq!(at.0, value);
                    assert!(at <= now && now.0 - at.0 <= tick + 1_000_000, "{at:?} fired at {now:?}");
                    waiting -= 1;
                });
                now.0 += rng.below(500_000);
            }
            while let Some(at) = wheel.poll_timeout() {
                now = at.max(now);
                wheel.expire(now, |at, _| {
                    assert!(at <= now);
                    waiting -= 1;
                });
            }
            assert_eq!(waiting, 0);
        }
    }
}
