//! What a run must reach, as text: `setup_p99<50ms,loss<0.01%,fail<0.1%`.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Conditions that must all hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slo(Vec<Condition>);

/// One condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    metric: Metric,
    comparison: Comparison,
    /// Times in microseconds, shares from 0 to 1.
    limit: f64,
    text: String,
}

/// What can be limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// A time at a quantile.
    Time(Subject, Point),
    /// Packets lost of those sent.
    Loss,
    /// Calls failed of those placed.
    Fail,
    /// Mean opinion score.
    Mos,
    /// CPU seconds a second of the process under test.
    Cpu,
    /// CPU time a packet of the process under test.
    CpuPerPacket,
}

/// Which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// INVITE to 200.
    Setup,
    /// INVITE to 180 or 183.
    Ringing,
    /// BYE to its 200.
    Bye,
    /// Added to each RTP packet.
    Latency,
    /// Of each stream at its end.
    Jitter,
}

/// Which point of its distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "percentiles by their usual names")]
pub enum Point {
    P50,
    P90,
    P99,
    P999,
    Max,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Less,
    AtMost,
    More,
    AtLeast,
}

/// Why a text is no SLO.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSlo {
    /// No comparison.
    #[error("{0:?} has no `<`, `<=`, `>` or `>=`, as in setup_p99<50ms")]
    NoComparison(String),
    /// An unknown name.
    #[error(
        "{0:?} is not known; known are setup, ringing, bye, latency and jitter with _p50, _p90, _p99, _p999 or _max, and loss, fail, mos, cpu, cpu_packet"
    )]
    Metric(String),
    /// An unreadable limit.
    #[error("{0:?} is no limit here: times end in us, ms or s, shares may end in %")]
    Limit(String),
}

impl FromStr for Slo {
    type Err = BadSlo;

    fn from_str(text: &str) -> Result<Self, BadSlo> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(Condition::parse).collect::<Result<_, _>>().map(Slo)
    }
}

impl Slo {
    /// The conditions, in order.
    pub fn conditions(&self) -> &[Condition] {
        &self.0
    }
}

impl Condition {
    fn parse(text: &str) -> Result<Self, BadSlo> {
        let at = text.find(['<', '>']).ok_or_else(|| BadSlo::NoComparison(text.to_owned()))?;
        let (name, rest) = text.split_at(at);
        let (comparison, limit) = match (rest.as_bytes()[0], rest[1..].strip_prefix('=')) {
            (b'<', None) => (Comparison::Less, &rest[1..]),
            (b'<', Some(limit)) => (Comparison::AtMost, limit),
            (_, None) => (Comparison::More, &rest[1..]),
            (_, Some(limit)) => (Comparison::AtLeast, limit),
        };
        let metric = metric(name.trim()).ok_or_else(|| BadSlo::Metric(name.trim().to_owned()))?;
        let limit = match metric {
            Metric::Time(..) | Metric::CpuPerPacket => time_us(limit.trim()),
            Metric::Loss | Metric::Fail | Metric::Cpu => share(limit.trim()),
            Metric::Mos => limit.trim().parse().ok(),
        }
        .filter(|limit: &f64| limit.is_finite() && *limit >= 0.0)
        .ok_or_else(|| BadSlo::Limit(limit.trim().to_owned()))?;
        Ok(Condition { metric, comparison, limit, text: text.to_owned() })
    }

    /// What it is about.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Whether a measured value (microseconds, or a share) satisfies it.
    pub fn holds(&self, value: f64) -> bool {
        match self.comparison {
            Comparison::Less => value < self.limit,
            Comparison::AtMost => value <= self.limit,
            Comparison::More => value > self.limit,
            Comparison::AtLeast => value >= self.limit,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.0.iter().map(|condition| condition.text.as_str()).collect();
        f.write_str(&texts.join(","))
    }
}

impl Serialize for Slo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn metric(name: &str) -> Option<Metric> {
    match name {
        "loss" => return Some(Metric::Loss),
        "fail" => return Some(Metric::Fail),
        "mos" => return Some(Metric::Mos),
        "cpu" => return Some(Metric::Cpu),
        "cpu_packet" => return Some(Metric::CpuPerPacket),
        _ => (),
    }
    let (subject, point) = name.split_once('_')?;
    let subject = match subject {
        "setup" => Subject::Setup,
        "ringing" => Subject::Ringing,
        "bye" => Subject::Bye,
        "latency" => Subject::Latency,
        "jitter" => Subject::Jitter,
        _ => return None,
    };
    let point = match point {
        "p50" => Point::P50,
        "p90" => Point::P90,
        "p99" => Point::P99,
        "p999" => Point::P999,
        "max" => Point::Max,
        _ => return None,
    };
    Some(Metric::Time(subject, point))
}

fn time_us(text: &str) -> Option<f64> {
    let unit_at = text.find(|c: char| c.is_alphabetic() || c == 'µ')?;
    let (number, unit) = text.split_at(unit_at);
    let factor = match unit.trim() {
        "us" | "µs" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        _ => return None,
    };
    number.trim().parse::<f64>().ok().map(|number| number * factor)
}

fn share(text: &str) -> Option<f64> {
    match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().ok().map(|percent| percent / 100.0),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_example_reads() {
        let slo: Slo = "setup_p99<50ms, loss<0.01%,fail<0.1%".parse().unwrap();
        let [setup, loss, fail] = slo.conditions() else { panic!("{slo:?}") };
        assert_eq!(setup.metric(), Metric::Time(Subject::Setup, Point::P99));
        assert!(setup.holds(49_999.0) && !setup.holds(50_000.0));
        assert!(loss.holds(0.000_09) && !loss.holds(0.000_1));
        assert!(fail.holds(0.0) && !fail.holds(0.001));
        assert_eq!(slo.to_string(), "setup_p99<50ms,loss<0.01%,fail<0.1%");
    }

    #[test]
    fn all_comparisons_and_units_read() {
        let holds = |text: &str, value| text.parse::<Slo>().unwrap().conditions()[0].holds(value);
        assert!(holds("mos>=4", 4.0) && !holds("mos>4", 4.0) && holds("loss<=0", 0.0));
        assert!(holds("latency_p50<1.5us", 1.4) && holds("bye_max<2s", 1.9e6) && holds("cpu<90%", 0.8));
        assert_eq!("".parse::<Slo>(), Ok(Slo::default()));
    }

    #[test]
    fn mistakes_name_themselves() {
        let error = |text: &str| text.parse::<Slo>().unwrap_err();
        assert_eq!(error("loss=0"), BadSlo::NoComparison("loss=0".to_owned()));
        assert_eq!(error("setup_p98<1ms"), BadSlo::Metric("setup_p98".to_owned()));
        for bad in ["50", "50m", "-1ms", "ms", "", "1e999s"] {
            assert_eq!(error(&format!("setup_p99<{bad}")), BadSlo::Limit(bad.to_owned()));
        }
    }
}
