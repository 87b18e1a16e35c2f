//! One figure measured several times.

use std::fmt;

/// The values of all rounds.
#[derive(Clone, Debug, Default)]
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

impl fmt::Display for Rounds {
    /// `min / median / max`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let min = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let max = self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let digits = f.precision().unwrap_or(if max >= 100.0 { 0 } else { 2 });
        match self.0.len() {
            0 => f.write_str("-"),
            _ => write!(f, "{min:.digits$} / {:.digits$} / {max:.digits$}", self.median()),
        }
    }
}
