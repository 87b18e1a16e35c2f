//! Time in grains of 1/96,000 s: whole numbers of them make a sample at every rate and a tick of every clock that speech
//! is sent with, so that nothing drifts by rounding.

use base::{Duration, Instant};
use core::ops::{Add, AddAssign, Sub, SubAssign};

/// Grains a second.
const PER_SECOND: i64 = 96_000;

/// A length or point of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grains(pub i64);

impl Grains {
    pub const ZERO: Grains = Grains(0);

    pub const fn from_ms(ms: i64) -> Self {
        Grains(ms * (PER_SECOND / 1_000))
    }

    pub fn at(now: Instant) -> Self {
        Grains((i128::from(now.0) * i128::from(PER_SECOND) / 1_000_000_000) as i64)
    }

    pub fn from_duration(duration: Duration) -> Self {
        Grains::at(Instant(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// This many samples or ticks at this many a second.
    pub fn from_samples(samples: i64, rate: u32) -> Self {
        Grains(samples * PER_SECOND / i64::from(rate.max(1)))
    }

    pub fn samples(self, rate: u32) -> i64 {
        self.0 * i64::from(rate) / PER_SECOND
    }

    /// Nothing if it is less than nothing.
    pub fn to_duration(self) -> Duration {
        Duration::from_nanos(
            u64::try_from(i128::from(self.0) * 1_000_000_000 / i128::from(PER_SECOND)).unwrap_or(0),
        )
    }
}

impl Add for Grains {
    type Output = Grains;
    fn add(self, other: Grains) -> Grains {
        Grains(self.0.saturating_add(other.0))
    }
}

impl Sub for Grains {
    type Output = Grains;
    fn sub(self, other: Grains) -> Grains {
        Grains(self.0.saturating_sub(other.0))
    }
}

impl AddAssign for Grains {
    fn add_assign(&mut self, other: Grains) {
        *self = *self + other;
    }
}

impl SubAssign for Grains {
    fn sub_assign(&mut self, other: Grains) {
        *self = *self - other;
    }
}
