//! Figures for people and machines: percentiles of times, and the quality that a listener would note (ITU-T G.107).

use hdrhistogram::Histogram;
use serde::Serialize;

/// A histogram of times: 1 ns to 60 s, three significant digits. Longer times count as 60 s.
#[derive(Clone, Debug)]
pub struct Times(Histogram<u64>);

const LONGEST_NS: u64 = 60_000_000_000;

impl Default for Times {
    fn default() -> Self {
        Times(Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("constant bounds are valid"))
    }
}

impl Times {
    /// Counts one time.
    pub fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns.max(1));
    }

    /// Adds all of another one.
    pub fn add(&mut self, other: &Times) {
        self.0.add(&other.0).expect("same bounds");
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.0.reset();
    }

    /// How many times were counted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time that the share `quantile` (0 to 1) did not exceed, nanoseconds; 0 when empty.
    pub fn at(&self, quantile: f64) -> u64 {
        if self.0.is_empty() { 0 } else { self.0.value_at_quantile(quantile) }
    }

    /// The usual points.
    pub fn percentiles(&self) -> Percentiles {
        let us = |ns: u64| ns as f64 / 1e3;
        if self.0.is_empty() {
            return Percentiles::default();
        }
        Percentiles {
            count: self.0.len(),
            min_us: us(self.0.min()),
            mean_us: self.0.mean() / 1e3,
            p50_us: us(self.at(0.5)),
            p90_us: us(self.at(0.9)),
            p99_us: us(self.at(0.99)),
            p999_us: us(self.at(0.999)),
            max_us: us(self.0.max()),
        }
    }
}

/// Percentiles of a time, in microseconds. All zero when nothing was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// How many were counted.
    pub count: u64,
    /// The shortest.
    pub min_us: f64,
    /// The mean.
    pub mean_us: f64,
    /// Half were not longer.
    pub p50_us: f64,
    /// 90 % were not longer.
    pub p90_us: f64,
    /// 99 % were not longer.
    pub p99_us: f64,
    /// 99.9 % were not longer.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
}

impl std::fmt::Display for Percentiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.count == 0 {
            return f.write_str("-");
        }
        let [p50, p99, p999, max] = [self.p50_us, self.p99_us, self.p999_us, self.max_us].map(human_us);
        write!(f, "p50 {p50}  p99 {p99}  p99.9 {p999}  max {max}")
    }
}

/// Microseconds with a fitting unit: `87 µs`, `1.25 ms`, `2.00 s`.
pub fn human_us(us: f64) -> String {
    match us {
        us if us < 10.0 => format!("{us:.1} µs"),
        us if us < 1e3 => format!("{us:.0} µs"),
        us if us < 1e6 => format!("{:.2} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

/// Mean opinion score of G.711 with concealment, 1 to 4.5, from the share of packets lost at random (0 to 1) and the
/// one-way delay from mouth to ear (G.107 with the impairments of G.113 appendix I: Ie 0, Bpl 25.1).
pub fn mos(loss: f64, delay_ms: f64) -> f64 {
    let late = (delay_ms - 177.3).max(0.0);
    let delay_impairment = 0.024 * delay_ms + 0.11 * late;
    let percent = loss * 100.0;
    let equipment_impairment = 95.0 * percent / (percent + 25.1);
    let r = (93.2 - delay_impairment - equipment_impairment).clamp(0.0, 100.0);
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).clamp(1.0, 4.5)
}

/// One figure measured several times.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Rounds(Vec<f64>);

impl Rounds {
    /// Another round.
    pub fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    /// All of them.
    pub fn values(&self) -> &[f64] {
        &self.0
    }

    /// The middle one; NaN if there is none.
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => sorted[n / 2],
            n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
        }
    }

    /// Round by round, how many times `other` it is.
    pub fn ratio(&self, other: &Rounds) -> Rounds {
        Rounds(self.0.iter().zip(&other.0).map(|(a, b)| a / b).collect())
    }
}

impl std::fmt::Display for Rounds {
    /// `min / median / max`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let min = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let max = self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let digits = f.precision().unwrap_or(if max >= 100.0 { 0 } else { 2 });
        match self.0.len() {
            0 => f.write_str("-"),
            _ => write!(f, "{min:.digits$} / {:.digits$} / {max:.digits$}", self.median()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_a_known_series() {
        let mut times = Times::default();
        (1..=1000).for_each(|ms| times.record(ms * 1_000_000));
        times.record(u64::MAX); // counts as the longest
        let p = times.percentiles();
        assert_eq!(p.count, 1001);
        assert!(
            (p.p50_us - 501e3).abs() < 1e3 && (p.p99_us - 991e3).abs() < 1e3 && p.max_us >= 59.9e6,
            "{p:?}"
        );
        assert_eq!(Times::default().percentiles(), Percentiles::default());
    }

    #[test]
    fn quality_falls_with_loss_and_delay() {
        assert!((mos(0.0, 20.0) - 4.4).abs() < 0.05);
        assert!(mos(0.02, 20.0) < 4.3 && mos(0.02, 20.0) > 3.9);
        assert!(mos(0.0, 400.0) < 3.8);
        assert!(mos(1.0, 0.0) < 1.5 && mos(1.0, 1e9) >= 1.0);
    }
}
