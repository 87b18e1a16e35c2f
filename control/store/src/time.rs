//! Times as text: RFC 3339 in UTC with microseconds, as records carry them.

use base::Wall;
use core::fmt;
use core::str::FromStr;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A time that is written as `2026-11-21T08:00:00.000000Z`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Wall);

/// The text is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a time such as \"2026-11-21T08:00:00Z\"")]
pub struct NoTime;

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl FromStr for Time {
    type Err = NoTime;

    /// RFC 3339 in any offset, with up to nine digits of fraction, of which six count. Years from 1970 to 9999, and
    /// beyond as we write them.
    fn from_str(text: &str) -> Result<Self, NoTime> {
        read(text).map(|micros| Time(Wall(micros))).ok_or(NoTime)
    }
}

fn read(text: &str) -> Option<u64> {
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let mut date = date.split('-');
    let (year, month, day) = (date.next()?, number(date.next()?, 2)?, number(date.next()?, 2)?);
    let year = number(year, year.len().max(4))?;
    let in_range = (1970..=600_000).contains(&year) && (1..=12).contains(&month) && day >= 1;
    if date.next().is_some() || !in_range || day > days_of(year, month) {
        return None;
    }
    let zone = rest.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = rest.split_at(zone);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut time = time.split(':');
    let (hour, minute, second) =
        (number(time.next()?, 2)?, number(time.next()?, 2)?, number(time.next()?, 2)?);
    // A leap second is the one before it, as in Unix time.
    if time.next().is_some() || hour > 23 || minute > 59 || second > 60 || fraction.len() > 9 {
        return None;
    }
    let fraction =
        number(fraction, fraction.len())? * 10u64.pow(9 - u32::try_from(fraction.len()).ok()?) / 1_000;
    let of_day = hour * 3600 + minute * 60 + second.min(59);
    let seconds = days_before(year, month, day) * 86_400 + of_day;
    let seconds = match zone.split_at(1) {
        ("Z" | "z", "") => seconds,
        (sign, offset) => {
            let (hours, minutes) = offset.split_once(':')?;
            let offset = number(hours, 2)? * 3600 + number(minutes, 2)? * 60;
            if sign == "+" { seconds.checked_sub(offset)? } else { seconds + offset }
        }
    };
    seconds.checked_mul(1_000_000)?.checked_add(fraction)
}

fn number(text: &str, digits: usize) -> Option<u64> {
    let whole = text.len() == digits && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if whole { text.parse().ok() } else { None }
}

fn days_of(year: u64, month: u64) -> u64 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to this one (proleptic Gregorian calendar).
fn days_before(year: u64, month: u64, day: u64) -> u64 {
    // Years begin in March, so that the leap day is the last.
    let year = year - u64::from(month <= 2);
    let (era, of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn other_peoples_times_are_understood_and_nonsense_is_not() {
        let eight = Wall(1_795_248_000_000_000);
        for same in [
            "2026-11-21T08:00:00Z",
            "2026-11-21t08:00:00.0z",
            "2026-11-21 08:00:00.000000999Z",
            "2026-11-21T10:30:00+02:30",
            "2026-11-20T23:00:00-09:00",
        ] {
            assert_eq!(same.parse(), Ok(Time(eight)), "{same}");
        }
        assert_eq!(
            "2024-02-29T00:00:60Z".parse::<Time>().unwrap().to_string(),
            "2024-02-29T00:00:59.000000Z"
        );
        for bad in [
            "",
            "2026-11-21",
            "2026-11-21T08:00:00",
            "2026-11-21T08:00Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+01:00",
            "2026-11-21T24:00:00Z",
            "2026-11-21T08:00:00.Z",
            "2026-11-21T08:00:00.0000000000Z",
            "2026-11-21T08:00:00Zx",
            "+026-11-21T08:00:00Z",
            "99999999999999999999-01-01T00:00:00Z",
        ] {
            assert_eq!(bad.parse::<Time>(), Err(NoTime), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(micros in 0..u64::MAX) {
            let time = Time(Wall(micros));
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[-0-9TZ:.+ü]{0,40}") {
            let _ = text.parse::<Time>();
        }
    }
}
