//! Whether a run's figures may be believed: what the generator itself did wrong. Says nothing of the system under test.

use std::time::Duration;

use serde::Serialize;

/// Later than this after its intended time, and 1 % of the sends make a run invalid.
pub const LATENESS_MAX: Duration = Duration::from_millis(5);

/// What speaks against a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Validity {
    /// From the intended to the actual time of sending, the 99th percentile, microseconds; of all kinds of sends the
    /// worst.
    pub lateness_p99_us: f64,
    /// What that may be.
    pub bound_us: f64,
    /// Datagrams that the kernel dropped at the generator's own sockets, because they were fetched too late.
    pub kernel_drops: u64,
    /// Arrivals for which the generator had no place.
    pub unplaced: u64,
    /// Packets that the kernel refused to send.
    pub send_errors: u64,
    /// Whether the wall clock, which the kernel's stamps follow, was set meanwhile.
    pub clock_was_set: bool,
    /// Anything else, in words.
    pub other: Vec<String>,
}

impl Default for Validity {
    fn default() -> Self {
        Validity {
            lateness_p99_us: 0.0,
            bound_us: LATENESS_MAX.as_secs_f64() * 1e6,
            kernel_drops: 0,
            unplaced: 0,
            send_errors: 0,
            clock_was_set: false,
            other: Vec::new(),
        }
    }
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The figures are the system's.
    Valid,
    /// They are the generator's; each reason in words.
    Invalid(Vec<String>),
}

impl Validity {
    /// With a bound of one's own.
    pub fn with_bound(bound: Duration) -> Self {
        Validity { bound_us: bound.as_secs_f64() * 1e6, ..Validity::default() }
    }

    /// Takes in the lateness of one kind of sends; the worst decides.
    pub fn late(&mut self, p99_us: f64) {
        self.lateness_p99_us = self.lateness_p99_us.max(p99_us);
    }

    /// The judgement. Packets refused by the kernel are loss, which is counted elsewhere, and do not decide.
    pub fn verdict(&self) -> Verdict {
        let mut reasons = Vec::new();
        if self.clock_was_set {
            reasons.push("the wall clock was set during the run".to_owned());
        }
        if self.kernel_drops > 0 {
            reasons.push(format!(
                "the kernel dropped {} datagrams at the generator's own sockets",
                self.kernel_drops
            ));
        }
        if self.unplaced > 0 {
            reasons.push(format!("{} arrivals found no room in the generator", self.unplaced));
        }
        if self.lateness_p99_us > self.bound_us {
            let [late, bound] = [self.lateness_p99_us, self.bound_us].map(crate::figures::human_us);
            reasons.push(format!("the generator was late: p99 {late}, bound {bound}"));
        }
        reasons.extend(self.other.iter().cloned());
        if reasons.is_empty() { Verdict::Valid } else { Verdict::Invalid(reasons) }
    }
}

impl Verdict {
    /// Whether nothing speaks against it.
    pub fn is_valid(&self) -> bool {
        matches!(self, Verdict::Valid)
    }

    /// The reasons in one line; `None` if there are none.
    pub fn reasons(&self) -> Option<String> {
        match self {
            Verdict::Valid => None,
            Verdict::Invalid(reasons) => Some(reasons.join("; ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_of_the_generator_is_said_in_words() {
        let mut validity = Validity::default();
        assert_eq!(validity.verdict(), Verdict::Valid);
        validity.late(4_999.0);
        validity.send_errors = 3;
        assert!(validity.verdict().is_valid());
        validity.late(7_000.0);
        validity.late(1_000.0);
        (validity.kernel_drops, validity.unplaced, validity.clock_was_set) = (2, 1, true);
        validity.other.push("the engine went away".into());
        let reasons = validity.verdict().reasons().unwrap();
        assert_eq!(
            reasons,
            "the wall clock was set during the run; the kernel dropped 2 datagrams at the generator's own sockets; \
             1 arrivals found no room in the generator; the generator was late: p99 7.00 ms, bound 5.00 ms; \
             the engine went away"
        );
        assert!(
            Validity { lateness_p99_us: 9e3, ..Validity::with_bound(Duration::from_millis(10)) }
                .verdict()
                .is_valid()
        );
    }
}
