//! When work arrives: profiles of a rate over time, and the intended times that follow from them. Pure: a seed gives
//! the same times always, and nothing that the system under test does moves one (open loop).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base::Rng;
use serde::Serialize;

/// How the rate goes over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// From nothing to the full rate, evenly over the whole time: where does it give way?
    Ramp,
    /// The full rate from the first moment.
    #[default]
    Steady,
    /// The first tenth of the time (a minute at most) to get warm, then the full rate: does it still do after hours what
    /// it does after minutes?
    Soak,
    /// The full rate, but in the middle tenth of the time (ten seconds at most) [`Profile::SPIKE`] times that: does it
    /// recover?
    Spike,
    /// The full rate; hostile traffic of its own rate comes beside it.
    Attack,
}

impl Shape {
    /// All of them.
    pub const ALL: [Shape; 5] = [Shape::Ramp, Shape::Steady, Shape::Soak, Shape::Spike, Shape::Attack];

    fn name(self) -> &'static str {
        match self {
            Shape::Ramp => "ramp",
            Shape::Steady => "steady",
            Shape::Soak => "soak",
            Shape::Spike => "spike",
            Shape::Attack => "attack",
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no profile; there are ramp, steady, soak, spike and attack")]
pub struct UnknownShape(String);

impl FromStr for Shape {
    type Err = UnknownShape;

    fn from_str(text: &str) -> Result<Self, UnknownShape> {
        let found = Shape::ALL.into_iter().find(|shape| shape.name() == text);
        found.ok_or_else(|| UnknownShape(text.to_owned()))
    }
}

/// The gaps between arrivals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Gaps {
    /// As long as the rate says.
    #[default]
    Even,
    /// Exponentially distributed around that, as independent callers make them.
    Poisson,
}

/// A rate over time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Profile {
    /// How it goes.
    pub shape: Shape,
    /// The full rate, arrivals a second.
    pub rate: f64,
    /// How long work arrives.
    pub duration: Duration,
}

/// A stretch in which the rate goes evenly from one value to another.
#[derive(Clone, Copy)]
struct Stretch {
    seconds: f64,
    from: f64,
    to: f64,
}

impl Profile {
    /// How many times the full rate a spike reaches.
    pub const SPIKE: f64 = 10.0;

    /// `rate` arrivals a second for `duration`. A rate that is no positive number means none.
    pub fn new(shape: Shape, rate: f64, duration: Duration) -> Self {
        let rate = if rate.is_finite() { rate.max(0.0) } else { 0.0 };
        Profile { shape, rate, duration }
    }

    /// The rate at a time after the start, arrivals a second; 0 after the end.
    pub fn rate_at(&self, at: Duration) -> f64 {
        let mut left = at.as_secs_f64();
        for stretch in self.stretches() {
            if left < stretch.seconds {
                return stretch.from + (stretch.to - stretch.from) * left / stretch.seconds;
            }
            left -= stretch.seconds;
        }
        0.0
    }

    /// The highest rate that comes.
    pub fn peak(&self) -> f64 {
        self.stretches().iter().filter(|s| s.seconds > 0.0).map(|s| s.from.max(s.to)).fold(0.0, f64::max)
    }

    /// How many arrivals are to be expected in all.
    pub fn expected(&self) -> f64 {
        self.stretches().iter().map(Stretch::arrivals).sum()
    }

    /// The intended times, nanoseconds after the start, each not before the one before. The first is at the start.
    pub fn arrivals(&self, gaps: Gaps, rng: Rng) -> Arrivals {
        Arrivals { stretches: self.stretches(), gaps, rng, due: 0.0 }
    }

    fn stretches(&self) -> [Stretch; 3] {
        let (whole, rate) = (self.duration.as_secs_f64(), self.rate);
        let flat = |seconds, rate| Stretch { seconds, from: rate, to: rate };
        let nothing = flat(0.0, 0.0);
        match self.shape {
            Shape::Ramp => [Stretch { seconds: whole, from: 0.0, to: rate }, nothing, nothing],
            Shape::Steady | Shape::Attack => [flat(whole, rate), nothing, nothing],
            Shape::Soak => {
                let warm = (whole / 10.0).min(60.0);
                [Stretch { seconds: warm, from: 0.0, to: rate }, flat(whole - warm, rate), nothing]
            }
            Shape::Spike => {
                let spike = (whole / 10.0).min(10.0);
                let calm = flat((whole - spike) / 2.0, rate);
                [calm, flat(spike, rate * Self::SPIKE), calm]
            }
        }
    }
}

impl Stretch {
    fn arrivals(&self) -> f64 {
        (self.from + self.to) / 2.0 * self.seconds
    }

    /// When, after the start of the stretch, so many have arrived: the root of a parabola, in the form that also holds
    /// for a rate that does not change.
    fn when(&self, count: f64) -> f64 {
        let slope = (self.to - self.from) / self.seconds;
        let root = (self.from * self.from + 2.0 * slope * count).max(0.0).sqrt();
        let seconds = 2.0 * count / (self.from + root);
        if seconds.is_finite() { seconds.clamp(0.0, self.seconds) } else { 0.0 }
    }
}

/// Intended times. The rate's integral is cut into equal or exponentially distributed pieces, so that they keep to the
/// rate however it goes.
#[derive(Clone, Debug)]
pub struct Arrivals {
    stretches: [Stretch; 3],
    gaps: Gaps,
    rng: Rng,
    /// The integral of the rate up to the next arrival.
    due: f64,
}

impl fmt::Debug for Stretch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{} for {} s", self.from, self.to, self.seconds)
    }
}

impl Iterator for Arrivals {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let (mut count, mut start) = (self.due, 0.0);
        for stretch in self.stretches {
            if count < stretch.arrivals() {
                self.due += match self.gaps {
                    Gaps::Even => 1.0,
                    // Inverse of the exponential distribution; the uniform number is in (0, 1].
                    Gaps::Poisson => -((f64::from(self.rng.u32()) + 1.0) / (f64::from(u32::MAX) + 1.0)).ln(),
                };
                return Some(((start + stretch.when(count)) * 1e9) as u64);
            }
            count -= stretch.arrivals();
            start += stretch.seconds;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop, prop_assert, proptest};

    const SECOND: u64 = 1_000_000_000;

    fn profile(shape: Shape, rate: f64, seconds: u64) -> Profile {
        Profile::new(shape, rate, Duration::from_secs(seconds))
    }

    fn times(profile: Profile, gaps: Gaps) -> Vec<u64> {
        profile.arrivals(gaps, Rng::from_seed(1)).collect()
    }

    fn between(times: &[u64], from: u64, to: u64) -> usize {
        times.iter().filter(|&&at| (from * SECOND..to * SECOND).contains(&at)).count()
    }

    #[test]
    fn steady_arrivals_are_equally_far_apart() {
        for shape in [Shape::Steady, Shape::Attack] {
            let times = times(profile(shape, 4.0, 2), Gaps::Even);
            assert_eq!(times, [0, 250, 500, 750, 1000, 1250, 1500, 1750].map(|ms| ms * 1_000_000), "{shape}");
        }
    }

    #[test]
    fn a_ramp_begins_slowly_and_reaches_its_rate() {
        let ramp = profile(Shape::Ramp, 100.0, 10);
        let times = times(ramp, Gaps::Even);
        assert_eq!(times.len(), 500);
        assert_eq!((between(&times, 0, 1), between(&times, 4, 5), between(&times, 9, 10)), (5, 45, 95));
        assert_eq!(ramp.rate_at(Duration::from_secs(5)), 50.0);
        assert_eq!((ramp.peak(), ramp.rate_at(Duration::from_secs(10))), (100.0, 0.0));
    }

    #[test]
    fn a_soak_warms_up_for_a_minute_at_most() {
        let times = times(profile(Shape::Soak, 10.0, 3_600), Gaps::Even);
        assert_eq!(between(&times, 0, 60), 300);
        assert_eq!(between(&times, 60, 3_600), 35_400);
        assert_eq!(profile(Shape::Soak, 10.0, 10).rate_at(Duration::from_millis(1_500)), 10.0);
    }

    #[test]
    fn a_spike_is_ten_times_the_rate_in_the_middle() {
        let spike = profile(Shape::Spike, 10.0, 100);
        let times = times(spike, Gaps::Even);
        assert_eq!(
            (between(&times, 0, 45), between(&times, 45, 55), between(&times, 55, 100)),
            (450, 1_000, 450)
        );
        assert_eq!((spike.peak(), spike.expected()), (100.0, 1_900.0));
    }

    #[test]
    fn random_gaps_keep_the_rate_and_come_from_the_seed() {
        for shape in Shape::ALL {
            let profile = profile(shape, 100.0, 100);
            let random = times(profile, Gaps::Poisson);
            assert_eq!(random, times(profile, Gaps::Poisson));
            assert!((random.len() as f64 - profile.expected()).abs() < profile.expected() * 0.05, "{shape}");
        }
        let gaps: Vec<f64> = times(profile(Shape::Steady, 100.0, 200), Gaps::Poisson)
            .windows(2)
            .map(|pair| (pair[1] - pair[0]) as f64 / 1e7)
            .collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean - 1.0).abs() < 0.05 && (variance - 1.0).abs() < 0.1, "{mean} {variance}");
    }

    #[test]
    fn no_rate_and_no_time_bring_nothing() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(times(profile(Shape::Steady, rate, 10), Gaps::Even), [0u64; 0]);
        }
        for shape in Shape::ALL {
            assert!(times(profile(shape, 10.0, 0), Gaps::Poisson).is_empty(), "{shape}");
        }
    }

    #[test]
    fn names_read_back() {
        for shape in Shape::ALL {
            assert_eq!(shape.to_string().parse(), Ok(shape));
        }
        assert!("stead".parse::<Shape>().unwrap_err().to_string().contains("spike"));
    }

    proptest! {
        #[test]
        fn times_are_in_order_within_the_duration_and_as_many_as_expected(
            shape in prop::sample::select(&Shape::ALL[..]), rate in 0.1..2_000.0f64, ms in 1..20_000u64,
        ) {
            let duration = Duration::from_millis(ms);
            let profile = Profile::new(shape, rate, duration);
            let times = times(profile, Gaps::Even);
            prop_assert!(times.is_sorted());
            prop_assert!(times.iter().all(|&at| u128::from(at) <= duration.as_nanos()));
            prop_assert!((times.len() as f64 - profile.expected()).abs() <= 1.01);
        }
    }
}
