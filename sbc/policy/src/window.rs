//! Counts over the last while in 61 buckets: what was added counts for at least the window and at most a sixtieth of
//! it longer. Memory is fixed whatever is added; time is monotonic.

use base::{Duration, Instant};

/// How time is cut into buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    bucket_ns: u64,
}

/// The number of a bucket since the clock's origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Bucket(pub u64);

/// A sum over the window; `T` is what one bucket holds at most.
#[derive(Clone, Debug)]
pub struct Window<T> {
    buckets: Box<[T; BUCKETS]>,
    /// The one that is being filled.
    last: Bucket,
    sum: u64,
}

/// What a bucket is made of; it stays at its largest value rather than wrap.
pub trait Count: Copy + Default {
    /// This and `n` more.
    fn plus(self, n: u64) -> Self;
    /// As the common type.
    fn get(self) -> u64;
}

impl Span {
    /// 61 buckets of a sixtieth of `window`.
    pub fn of(window: Duration) -> Span {
        let bucket_ns = window.as_nanos().div_ceil(u128::from(SPLIT)).max(1);
        Span { bucket_ns: u64::try_from(bucket_ns).unwrap_or(u64::MAX) }
    }

    /// The bucket of a time.
    pub fn bucket(self, now: Instant) -> Bucket {
        Bucket(now.0 / self.bucket_ns)
    }
}

impl Bucket {
    /// Whether what lies in this bucket still counts at `now`.
    pub fn counts_at(self, now: Bucket) -> bool {
        now.0.saturating_sub(self.0) <= SPLIT
    }
}

impl<T: Count> Window<T> {
    /// Nothing yet.
    pub fn new() -> Window<T> {
        Window { buckets: Box::new([T::default(); BUCKETS]), last: Bucket(0), sum: 0 }
    }

    /// Adds. A time before the last one, of a thread whose reading is older, counts as the last one.
    pub fn add(&mut self, now: Bucket, n: u64) {
        self.advance(now);
        let bucket = &mut self.buckets[(self.last.0 % BUCKETS as u64) as usize];
        let before = bucket.get();
        *bucket = bucket.plus(n);
        self.sum = self.sum.saturating_add(bucket.get() - before);
    }

    /// What was added within the window.
    pub fn sum(&mut self, now: Bucket) -> u64 {
        self.advance(now);
        self.sum
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        if self.sum > 0 {
            *self.buckets = [T::default(); BUCKETS];
            self.sum = 0;
        }
    }

    fn advance(&mut self, now: Bucket) {
        if now <= self.last {
            return;
        }
        if self.sum > 0 && now.0 - self.last.0 >= BUCKETS as u64 {
            self.clear();
        } else if self.sum > 0 {
            for stale in self.last.0 + 1..=now.0 {
                let bucket = &mut self.buckets[(stale % BUCKETS as u64) as usize];
                self.sum = self.sum.saturating_sub(bucket.get());
                *bucket = T::default();
            }
        }
        self.last = now;
    }
}

impl<T: Count> Default for Window<T> {
    fn default() -> Self {
        Window::new()
    }
}

impl Count for u32 {
    fn plus(self, n: u64) -> u32 {
        self.saturating_add(u32::try_from(n).unwrap_or(u32::MAX))
    }
    fn get(self) -> u64 {
        self.into()
    }
}

impl Count for u64 {
    fn plus(self, n: u64) -> u64 {
        self.saturating_add(n)
    }
    fn get(self) -> u64 {
        self
    }
}

/// A window is cut into this many parts.
const SPLIT: u64 = 60;
/// One more, for the one that is being filled.
const BUCKETS: usize = SPLIT as usize + 1;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_call_counts_for_a_minute_and_at_most_a_second_more() {
        let span = Span::of(Duration::from_secs(60));
        let at = |ms: u64| span.bucket(Instant(ms * 1_000_000));
        let mut window = Window::<u32>::new();
        window.add(at(500), 1);
        window.add(at(1_500), 2);
        assert_eq!(window.sum(at(60_500)), 3);
        assert_eq!(window.sum(at(61_000)), 2);
        assert_eq!(window.sum(at(61_500)), 2);
        assert_eq!(window.sum(at(62_000)), 0);
    }

    #[test]
    fn a_full_bucket_stays_full_and_an_old_reading_does_no_harm() {
        let mut window = Window::<u32>::new();
        window.add(Bucket(100), u64::MAX);
        window.add(Bucket(99), 1);
        assert_eq!(window.sum(Bucket(0)), u64::from(u32::MAX));
        assert_eq!(window.sum(Bucket(u64::MAX)), 0);
        window.add(Bucket(3), 1);
        assert_eq!(window.sum(Bucket(u64::MAX)), 1);
    }

    proptest! {
        #[test]
        fn a_sum_lies_between_window_and_window_and_a_sixtieth(
            window_ms in 60u64..600_000,
            steps in proptest::collection::vec((0u64..20_000, 0u64..5), 1..200),
        ) {
            let span = Span::of(Duration::from_millis(window_ms));
            let (mut window, mut now, mut added) = (Window::<u64>::new(), 0u64, Vec::new());
            for (step_ms, n) in steps {
                now += step_ms * 1_000_000;
                window.add(span.bucket(Instant(now)), n);
                added.push((now, n));
                let within = |ns: u64| added.iter().filter(|(at, _)| now - at <= ns).map(|(_, n)| n).sum::<u64>();
                let sum = window.sum(span.bucket(Instant(now)));
                let (least, most) = (window_ms * 1_000_000, 61 * (window_ms * 1_000_000).div_ceil(60));
                prop_assert!((within(least)..=within(most)).contains(&sum));
            }
        }
    }
}
