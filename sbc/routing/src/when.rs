//! Time windows of routes: `Mo-Fr 09:00-17:00 Europe/Dublin`. Local time is worked out from a table of zones that is part
//! of the program, so that every engine of a version agrees; no file and no clock is read.

use base::Wall;
use core::fmt;
use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

/// When something holds: in any of its windows.
///
/// Written as days, times and a zone, each window's days first: `Mo-Fr 09:00-12:30,13:30-17:00, Sa 10:00-14:00
/// Europe/Dublin`. Without days it is every day, without times the whole day. Days are `Mo Tu We Th Fr Sa Su` (also `M`,
/// `W`, `F`, three letters, written together as in `MTuWThF`, ranges as `Fr-Mo`). An end before the begin lies on the
/// next day: `Fr 22:00-06:00` ends on Saturday morning. The end is not included; `24:00` is midnight at the end of the
/// day. A zone holds for the windows before it; without any it is UTC.
///
/// Times are as on a clock of the zone: what a clock skips in spring never comes, what it repeats in autumn comes twice.
#[derive(Clone, PartialEq, Eq)]
pub struct When {
    text: String,
    windows: Vec<Window>,
}

/// One window: on these days, between these times, in this zone.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Window {
    /// Bit 0 is Monday.
    days: u8,
    /// Minute of the day.
    begin: u16,
    /// Minute of the day, not included; up to 1440, or at most `begin` for the next day.
    end: u16,
    zone: TimeZone,
}

/// The text is no time window; says why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadWhen(pub String);

impl When {
    /// Reads windows.
    ///
    /// # Errors
    /// What is neither a day, a time nor a known zone; times that are none, or begin where they end; nothing at all.
    pub fn parse(text: &str) -> Result<When, BadWhen> {
        let mut windows: Vec<Window> = Vec::new();
        // Windows up to here have their zone.
        let mut zoned = 0;
        let mut last_zone = None;
        let (mut days, mut used) = (0, false);
        for word in text.split([' ', '\t', ',', ';']).filter(|word| !word.is_empty()) {
            if word.starts_with(|c: char| c.is_ascii_digit()) {
                let (begin, end) = times(word)?;
                let days = if days == 0 { EVERY_DAY } else { days };
                windows.push(Window { days, begin, end, zone: TimeZone::UTC });
                used = true;
            } else if let Some(more) = days_of(word) {
                if used {
                    (days, used) = (0, false);
                }
                days |= more;
            } else {
                if days != 0 && !used {
                    windows.push(Window { days, begin: 0, end: DAY, zone: TimeZone::UTC });
                }
                (days, used) = (0, false);
                let zone = zone(word)?;
                if zoned == windows.len() {
                    return Err(BadWhen(format!(
                        "the zone {word} stands after the days and times that it is for"
                    )));
                }
                windows[zoned..].iter_mut().for_each(|window| window.zone = zone.clone());
                zoned = windows.len();
                last_zone = Some(zone);
            }
        }
        if days != 0 && !used {
            windows.push(Window { days, begin: 0, end: DAY, zone: TimeZone::UTC });
        }
        if windows.is_empty() {
            return Err(BadWhen("says neither days nor times".into()));
        }
        if let Some(zone) = last_zone {
            windows[zoned..].iter_mut().for_each(|window| window.zone = zone.clone());
        }
        Ok(When { text: text.to_owned(), windows })
    }

    /// Whether it holds at this time.
    pub fn matches(&self, now: Wall) -> bool {
        self.windows.iter().any(|window| window.holds(now))
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Window {
    fn holds(&self, now: Wall) -> bool {
        let Some((day, minute)) = local(&self.zone, now) else { return false };
        let on = |day: u32| self.days & (1 << (day % 7)) != 0;
        if self.begin < self.end {
            return on(day) && (self.begin..self.end).contains(&minute);
        }
        // Over midnight: its second part belongs to the day before.
        (on(day) && minute >= self.begin) || (on(day + 6) && minute < self.end)
    }
}

/// Day of the week (0 is Monday) and minute of the day on a clock of the zone; none beyond the year 9999.
fn local(zone: &TimeZone, now: Wall) -> Option<(u32, u16)> {
    let seconds = i64::try_from(now.seconds()).ok()?;
    let offset = zone.to_offset(Timestamp::from_second(seconds).ok()?);
    let seconds = seconds + i64::from(offset.seconds());
    // 1970-01-01 was a Thursday.
    let day = (seconds.div_euclid(86_400) + 3).rem_euclid(7);
    let minute = seconds.rem_euclid(86_400) / 60;
    Some((day as u32, minute as u16))
}

const EVERY_DAY: u8 = 0b111_1111;
const DAY: u16 = 24 * 60;

/// Longest first where one begins with another.
const DAY_WORDS: [(&str, u8); 17] = [
    ("mon", 0),
    ("tue", 1),
    ("wed", 2),
    ("thu", 3),
    ("fri", 4),
    ("sat", 5),
    ("sun", 6),
    ("mo", 0),
    ("tu", 1),
    ("we", 2),
    ("th", 3),
    ("fr", 4),
    ("sa", 5),
    ("su", 6),
    ("m", 0),
    ("w", 2),
    ("f", 4),
];

/// Days as bits: `Mo`, `Mo-Fr`, `MTuWThF`.
fn days_of(word: &str) -> Option<u8> {
    let word = word.to_ascii_lowercase();
    let mut rest = word.as_str();
    let mut days = 0;
    while !rest.is_empty() {
        let from = one_day(&mut rest)?;
        let to = match rest.strip_prefix('-') {
            Some(after) => {
                rest = after;
                one_day(&mut rest)?
            }
            None => from,
        };
        let mut day = from;
        days |= 1 << day;
        while day != to {
            day = (day + 1) % 7;
            days |= 1 << day;
        }
    }
    Some(days)
}

fn one_day(rest: &mut &str) -> Option<u8> {
    let (word, day) = DAY_WORDS.iter().find(|(word, _)| rest.starts_with(word))?;
    *rest = &rest[word.len()..];
    Some(*day)
}

/// `09:00-17:00` in minutes.
fn times(word: &str) -> Result<(u16, u16), BadWhen> {
    let (begin, end) =
        word.split_once('-').ok_or_else(|| BadWhen(format!("{word} is no span such as 09:00-17:00")))?;
    let minutes = |text: &str| {
        let digits = |text: &str| {
            let two = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            two.then(|| text.parse::<u16>().ok()).flatten()
        };
        let time = text.split_once(':').and_then(|(hour, minute)| Some((digits(hour)?, digits(minute)?)));
        match time {
            Some((hour, minute)) if hour < 24 && minute < 60 => Ok(hour * 60 + minute),
            Some((24, 0)) => Ok(DAY),
            _ => Err(BadWhen(format!("{text} is no time such as 09:00"))),
        }
    };
    let (begin, end) = (minutes(begin)?, minutes(end)?);
    if begin == end || begin == DAY {
        return Err(BadWhen(format!("{word} holds no time")));
    }
    Ok((begin, end))
}

fn zone(name: &str) -> Result<TimeZone, BadWhen> {
    TimeZoneDatabase::bundled().get(name).map_err(|_| {
        BadWhen(format!("{name} is neither a day, a time nor a time zone such as Europe/Dublin"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Wall time of a text such as `2026-03-29T00:59:00Z`.
    fn at(text: &str) -> Wall {
        Wall(u64::try_from(text.parse::<Timestamp>().unwrap().as_second()).unwrap() * 1_000_000)
    }

    fn check(when: &str, yes: &[&str], no: &[&str]) {
        let compiled = When::parse(when).unwrap();
        for time in yes {
            assert!(compiled.matches(at(time)), "{when} should hold at {time}");
        }
        for time in no {
            assert!(!compiled.matches(at(time)), "{when} should not hold at {time}");
        }
    }

    #[test]
    fn windows_hold_on_their_days_and_times() {
        // 2026-11-21 is a Saturday.
        check(
            "Mo-Fr 09:00-17:00 Europe/Dublin",
            &["2026-11-20T09:00:00Z", "2026-11-20T16:59:59Z"],
            &["2026-11-20T08:59:59Z", "2026-11-20T17:00:00Z", "2026-11-21T12:00:00Z"],
        );
        check("Sa", &["2026-11-21T00:00:00Z", "2026-11-21T23:59:59Z"], &["2026-11-22T00:00:00Z"]);
        check("10:00-10:01", &["2026-11-21T10:00:30Z", "2026-11-23T10:00:30Z"], &["2026-11-21T10:01:00Z"]);
        check("MTuWThF;09:00-17:00", &["2026-11-20T09:00:00Z"], &["2026-11-21T09:00:00Z"]);
        check("SaSu", &["2026-11-21T09:00:00Z", "2026-11-22T09:00:00Z"], &["2026-11-23T09:00:00Z"]);
        check("Fr-Mo", &["2026-11-20T09:00:00Z", "2026-11-23T09:00:00Z"], &["2026-11-24T09:00:00Z"]);
    }

    #[test]
    fn several_windows_are_joined_and_share_a_zone() {
        check(
            "Mo-Fr 09:00-12:00,13:00-17:00, Sa 10:00-14:00 America/New_York",
            &["2026-11-20T14:00:00Z", "2026-11-20T18:00:00Z", "2026-11-21T15:00:00Z"],
            &["2026-11-20T17:30:00Z", "2026-11-21T14:59:00Z", "2026-11-22T15:00:00Z"],
        );
        check(
            "Mo, We 09:00-10:00",
            &["2026-11-23T09:00:00Z", "2026-11-25T09:00:00Z"],
            &["2026-11-23T11:00:00Z"],
        );
        check(
            "Mo 09:00-10:00 Asia/Tokyo, Mo 09:00-10:00 UTC",
            &["2026-11-23T00:30:00Z", "2026-11-23T09:30:00Z"],
            &["2026-11-23T10:30:00Z"],
        );
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins() {
        check(
            "Fr 22:00-06:00",
            &["2026-11-20T22:00:00Z", "2026-11-21T05:59:59Z"],
            &["2026-11-20T05:00:00Z", "2026-11-21T06:00:00Z", "2026-11-21T22:00:00Z"],
        );
        check("Su 22:00-24:00", &["2026-11-22T23:59:59Z"], &["2026-11-23T00:00:00Z"]);
    }

    #[test]
    fn clocks_that_change_are_followed() {
        // Dublin springs from 01:00 to 02:00 on 2026-03-29 (at 01:00 UTC): 01:30 never comes.
        let gap = When::parse("01:00-02:00 Europe/Dublin").unwrap();
        for minute in 0..24 * 60 {
            let time = Wall(at("2026-03-29T00:00:00Z").0 + minute * 60_000_000);
            assert!(!gap.matches(time), "{time}");
        }
        check("02:00-02:01 Europe/Dublin", &["2026-03-29T01:00:00Z"], &["2026-03-29T02:00:00Z"]);
        // On 2026-10-25 at 01:00 UTC it falls back from 02:00 to 01:00: 01:30 comes twice.
        check(
            "01:30-01:31 Europe/Dublin",
            &["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"],
            &["2026-10-25T02:30:00Z"],
        );
        // Working hours follow the clock on the wall.
        check("09:00-09:01 Europe/Dublin", &["2026-07-01T08:00:00Z", "2026-12-01T09:00:00Z"], &[]);
        // A day that ends in another zone's day, far ahead of UTC and behind it.
        check("Su 00:00-01:00 Pacific/Kiritimati", &["2026-11-21T10:30:00Z"], &["2026-11-22T00:30:00Z"]);
        check("Sa 23:00-24:00 Pacific/Pago_Pago", &["2026-11-22T10:30:00Z"], &["2026-11-21T10:30:00Z"]);
    }

    #[test]
    fn bad_windows_say_why() {
        for (text, why) in [
            ("", "neither days nor times"),
            ("Mo-Fr 9:00-17:00", "9:00 is no time"),
            ("Mo 25:00-26:00", "25:00 is no time"),
            ("Mo 09:00", "no span"),
            ("Mo 09:00-09:00", "holds no time"),
            ("Mo 09:00-17:00 Europe/Dubin", "Europe/Dubin is neither"),
            ("Xx 09:00-17:00", "Xx is neither"),
            ("Europe/Dublin Mo", "stands after"),
        ] {
            let error = When::parse(text).unwrap_err().0;
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_and_time_has_an_answer(text in "[MoTuWeFrSa0-9:,; /-]{0,40}|\\PC{0,20}", time: u64) {
            if let Ok(when) = When::parse(&text) {
                when.matches(Wall(time));
            }
        }

        #[test]
        fn a_window_and_what_it_leaves_out_are_the_whole_day(begin in 0u16..1440, end in 0u16..1440, time in 0u64..4_000_000_000) {
            prop_assume!(begin != end);
            let text = |begin: u16, end: u16| {
                format!("{:02}:{:02}-{:02}:{:02} Europe/Paris", begin / 60, begin % 60, end / 60, end % 60)
            };
            let time = Wall(time * 1_000_000);
            let holds = |text: String| When::parse(&text).unwrap().matches(time);
            prop_assert_ne!(holds(text(begin, end)), holds(text(end, begin)));
        }
    }
}
