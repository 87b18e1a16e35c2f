//! Counters and histograms that one thread writes with plain stores and any thread reads: no locked instruction
//! on the packet path, no torn values on the reader's side.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number with one writer. Readers see a value that was true a moment ago.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; only the owning thread may call it (a second writer loses counts, nothing worse).
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Sets a level, for values that also fall.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// The current value.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A histogram of durations in fixed buckets, with one writer. Fit for Prometheus.
#[derive(Debug)]
pub struct Histogram {
    counts: [Counter; BOUNDS_US.len() + 1],
    sum_ns: Counter,
}

/// Upper bounds of the buckets in microseconds; the last bucket has none.
pub const BOUNDS_US: [u64; 20] = [
    5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000,
    1_000_000, 2_000_000, 5_000_000, 10_000_000,
];

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: core::array::from_fn(|_| Counter::default()), sum_ns: Counter::default() }
    }
}

impl Histogram {
    /// Records `n` events that took `nanos` each; only the owning thread may call it.
    #[inline]
    pub fn record(&self, nanos: u64, n: u64) {
        let bucket = BOUNDS_US.partition_point(|bound| bound * 1_000 < nanos);
        self.counts[bucket].add(n);
        self.sum_ns.add(nanos * n);
    }

    /// Counts by bucket, not cumulated; one more than [`BOUNDS_US`].
    pub fn counts(&self) -> [u64; BOUNDS_US.len() + 1] {
        core::array::from_fn(|i| self.counts[i].get())
    }

    /// The sum of all that was recorded, in nanoseconds.
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_belongs_below_it() {
        let h = Histogram::default();
        h.record(5_000, 1);
        h.record(5_001, 2);
        h.record(u64::from(u32::MAX) * 1_000, 1);
        assert_eq!((h.counts()[0], h.counts()[1], h.counts()[20]), (1, 2, 1));
    }
}
