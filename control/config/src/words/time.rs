//! Durations and rates.

use crate::value::{Bad, Within, Word};
use base::Duration;
use core::ops::RangeInclusive;
use routing::When;

impl Word for Duration {
    const FORM: &'static str = "a duration such as \"30s\", \"4h\", \"200ms\", \"1h30m\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        match duration(text) {
            Some(duration) if duration <= DURATION_MAX => Ok(duration),
            Some(_) => Err(Bad::meant("is more than ten years", "87600h")),
            None => Err(Bad { why: "is no duration".to_owned(), nearest: probable_duration(text) }),
        }
    }

    fn word(&self) -> String {
        let (seconds, millis) = (self.as_secs(), self.subsec_millis());
        if seconds <= 120 && millis == 0 {
            return format!("{seconds}s");
        }
        [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s"), (millis.into(), "ms")]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, unit)| format!("{count}{unit}"))
            .collect()
    }
}

/// `1h30m`: whole numbers with units, the larger first, each at most once.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    let mut unit_before = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let count: u32 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_lowercase).count();
        let unit_ms = match &rest[..letters] {
            "d" => 86_400_000,
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1000,
            "ms" => 1,
            _ => return None,
        };
        rest = &rest[letters..];
        if unit_ms >= unit_before {
            return None;
        }
        unit_before = unit_ms;
        total = total.checked_add(Duration::from_millis(unit_ms.checked_mul(count.into())?))?;
    }
    (unit_before != u64::MAX).then_some(total)
}

fn probable_duration(text: &str) -> Option<String> {
    let compact: String = text.trim().to_lowercase().split_whitespace().collect();
    let digits = compact.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = compact.split_at(digits);
    let unit = match unit {
        "" | "sec" | "secs" | "second" | "seconds" => "s",
        "min" | "mins" | "minute" | "minutes" => "m",
        "hr" | "hrs" | "hour" | "hours" => "h",
        "day" | "days" => "d",
        "msec" | "msecs" | "millis" | "millisecond" | "milliseconds" => "ms",
        other => other,
    };
    let guess = format!("{count}{unit}");
    duration(&guess).map(|_| guess)
}

/// A duration that can be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer(pub Option<Duration>);

impl Timer {
    /// Switched off.
    pub const OFF: Timer = Timer(None);

    /// So many seconds.
    pub const fn seconds(seconds: u64) -> Timer {
        Timer(Some(Duration::from_secs(seconds)))
    }
}

impl Word for Timer {
    const FORM: &'static str = "a duration such as \"30s\", \"4h\", \"1h30m\", or \"off\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        match text {
            "off" => Ok(Timer::OFF),
            "never" | "none" | "no" | "0" => Err(Bad::meant("is no duration", "off")),
            _ => Duration::parse(text).map(|d| Timer(Some(d))),
        }
    }

    fn word(&self) -> String {
        self.0.map_or_else(|| "off".to_owned(), |d| d.word())
    }
}

impl Within<Duration> for Timer {
    fn outside(&self, range: &RangeInclusive<Duration>) -> Option<crate::error::Kind> {
        self.0.as_ref().and_then(|duration| duration.outside(range))
    }
}

/// So many in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At least 1.
    pub count: u32,
    /// A second, a minute or an hour.
    pub per: Duration,
}

impl Word for Rate {
    const FORM: &'static str = "a rate such as \"40/s\", \"100/m\", \"5000/h\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        let (count, unit) = text.split_once('/').unwrap_or((text, ""));
        let per = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => 0,
        };
        match count.parse() {
            Ok(0) => Err(Bad::meant("lets nothing pass", "1/s")),
            Ok(count) if per > 0 => Ok(Rate { count, per: Duration::from_secs(per) }),
            Ok(count) => Err(Bad::meant("is no rate", format!("{count}/s"))),
            Err(_) => Err(Bad::new("is no rate")),
        }
    }

    fn word(&self) -> String {
        let unit = match self.per.as_secs() {
            1 => "s",
            60 => "m",
            _ => "h",
        };
        format!("{}/{unit}", self.count)
    }
}

/// A rate that can be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit(pub Option<Rate>);

impl Word for RateLimit {
    const FORM: &'static str = "a rate such as \"40/s\", \"100/m\", \"5000/h\", or \"off\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        match text {
            "off" => Ok(RateLimit(None)),
            "never" | "none" | "no" | "0" => Err(Bad::meant("is no rate", "off")),
            _ => Rate::parse(text).map(|rate| RateLimit(Some(rate))),
        }
    }

    fn word(&self) -> String {
        self.0.map_or_else(|| "off".to_owned(), |rate| rate.word())
    }
}

impl Word for When {
    const FORM: &'static str =
        "days, times and a zone, such as \"Mo-Fr 09:00-17:00 Europe/Dublin\"; several with commas between";

    fn parse(text: &str) -> Result<Self, Bad> {
        if text.len() > 1024 {
            return Err(Bad::new("is longer than 1024 bytes"));
        }
        When::parse(text).map_err(|bad| Bad::new(format!("is no time window: {bad}")))
    }

    fn word(&self) -> String {
        self.text().to_owned()
    }
}

const DURATION_MAX: Duration = Duration::from_secs(3650 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::tests::check;

    #[test]
    fn durations() {
        check::<Duration>(
            &[
                ("30s", "30s"),
                ("4h", "4h"),
                ("200ms", "200ms"),
                ("1h30m", "1h30m"),
                ("90m", "1h30m"),
                ("60s", "60s"),
                ("1d", "24h"),
                ("0s", "0s"),
                ("1m500ms", "1m500ms"),
            ],
            &[
                ("30", Some("30s")),
                ("30 s", Some("30s")),
                ("4hours", Some("4h")),
                ("5 min", Some("5m")),
                ("1.5h", None),
                ("30m1h", None),
                ("1h1h", None),
                ("", None),
                ("s", None),
                ("99999999999s", None),
                ("4294967295h", Some("87600h")),
                ("-5s", None),
                ("５s", None),
            ],
        );
        check::<Timer>(&[("off", "off"), ("30m", "30m")], &[("never", Some("off")), ("0", Some("off"))]);
    }

    #[test]
    fn rates() {
        check::<Rate>(
            &[("40/s", "40/s"), ("100/m", "100/m"), ("5000/h", "5000/h")],
            &[
                ("40", Some("40/s")),
                ("40/sec", Some("40/s")),
                ("0/s", Some("1/s")),
                ("x/s", None),
                ("-1/s", None),
            ],
        );
    }
}
