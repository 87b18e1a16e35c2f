//! What clients send, bounded: bodies by size and time, query strings by their known names.

use crate::problem::{Class, Problem};
use crate::server::Limits;
use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::Query;
use axum::http::{HeaderMap, Uri, header};
use base::{Duration, Wall};
use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeMap;

/// The body as text, read within its time.
///
/// # Errors
/// Too large, too slow, no UTF-8.
pub(crate) async fn text(limits: &Limits, body: Body) -> Result<String, Problem> {
    let too_large = || Problem::new(Class::TooLarge, format!("at most {} bytes", limits.body_max));
    // A length that is said is judged before anything is read.
    if body.size_hint().lower() > limits.body_max as u64 {
        return Err(too_large());
    }
    let bytes = match tokio::time::timeout(limits.body_timeout, to_bytes(body, limits.body_max)).await {
        Err(_) => return Err(Problem::new(Class::SlowBody, "the body did not come in time")),
        // Either too much came or the connection broke; nobody reads the answer then.
        Ok(Err(_)) => return Err(too_large()),
        Ok(Ok(bytes)) => bytes,
    };
    String::from_utf8(bytes.into()).map_err(|_| Problem::new(Class::BadRequest, "the body is not UTF-8"))
}

/// The body as JSON.
///
/// # Errors
/// As [`text`]; the field that does not fit.
pub(crate) async fn json<T: serde::de::DeserializeOwned>(limits: &Limits, body: Body) -> Result<T, Problem> {
    let text = text(limits, body).await?;
    let text = if text.trim().is_empty() { "{}" } else { &text };
    serde_json::from_str(text).map_err(|error| {
        let fault = crate::engine::Fault {
            field: "body".into(),
            expected: error.to_string(),
            line: Some(error.line()),
        };
        Problem::fields(vec![fault])
    })
}

/// Whether the body is said to be JSON.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    kind.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/json")
}

/// The query string, with only the names that the path knows.
///
/// # Errors
/// The unknown name.
pub(crate) fn query(uri: &Uri, known: &[&'static str]) -> Result<BTreeMap<&'static str, String>, Problem> {
    let Ok(Query(pairs)) = Query::<Vec<(String, String)>>::try_from_uri(uri) else {
        return Err(Problem::new(Class::BadRequest, "the query string cannot be read"));
    };
    let mut query = BTreeMap::new();
    for (name, value) in pairs {
        let Some(name) = known.iter().find(|known| **known == name) else {
            let expected =
                if known.is_empty() { "no query".to_owned() } else { format!("one of {}", known.join(", ")) };
            return Err(Problem::field(&name, expected));
        };
        query.insert(*name, value);
    }
    Ok(query)
}

/// A number of the query.
///
/// # Errors
/// The field.
pub(crate) fn number(query: &BTreeMap<&'static str, String>, name: &str) -> Result<Option<u64>, Problem> {
    let number = query.get(name).map(|text| text.parse::<u64>());
    number.transpose().map_err(|_| Problem::field(name, "a whole number"))
}

/// Rows of a list where the request does not say how many.
const LIMIT_DEFAULT: usize = 100;
/// Rows of a list at most.
pub(crate) const LIMIT_MAX: usize = 10_000;

/// `limit` of a query: rows of a list.
///
/// # Errors
/// The field.
pub(crate) fn limit(query: &BTreeMap<&'static str, String>) -> Result<usize, Problem> {
    let expected = || Problem::field("limit", format!("a number from 1 to {LIMIT_MAX}"));
    match number(query, "limit")? {
        None => Ok(LIMIT_DEFAULT),
        Some(limit) => {
            usize::try_from(limit).ok().filter(|limit| (1..=LIMIT_MAX).contains(limit)).ok_or_else(expected)
        }
    }
}

/// A duration as the configuration writes it: `30s`, `1h30m`, `200ms`.
///
/// # Errors
/// The field.
pub(crate) fn duration(field: &str, text: &str) -> Result<Duration, Problem> {
    let parse = || {
        let mut rest = text;
        let mut total = Duration::ZERO;
        while !rest.is_empty() {
            let (count, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
            let (unit, after) =
                after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
            let millis = match unit {
                "d" => 86_400_000,
                "h" => 3_600_000,
                "m" => 60_000,
                "s" => 1_000,
                "ms" => 1,
                _ => return None,
            };
            total = total.checked_add(Duration::from_millis(u64::from(count.parse::<u32>().ok()?) * millis))?;
            rest = after;
        }
        (Duration::from_millis(1)..=DURATION_MAX).contains(&total).then_some(total)
    };
    parse().ok_or_else(|| Problem::field(field, "a duration such as 30s, 10m, 1h30m, 7d"))
}

/// Ten years, as in the configuration.
const DURATION_MAX: Duration = Duration::from_secs(3650 * 86_400);

/// A moment as RFC 3339 writes it, with `Z` or an offset.
///
/// # Errors
/// The field.
pub(crate) fn time(field: &str, text: &str) -> Result<Wall, Problem> {
    rfc_3339(text).ok_or_else(|| Problem::field(field, "a time such as 2026-11-21T08:00:00Z"))
}

fn rfc_3339(text: &str) -> Option<Wall> {
    let number = |range: core::ops::Range<usize>| -> Option<i64> {
        let digits = text.get(range)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let mark = |at: usize, marks: &[u8]| text.as_bytes().get(at).filter(|byte| marks.contains(byte));
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    for (at, marks) in [(4, &b"-"[..]), (7, b"-"), (10, b"Tt "), (13, b":"), (16, b":")] {
        mark(at, marks)?;
    }
    let fits = (1970..=2200).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !fits || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut rest = text.get(19..)?;
    let mut micros = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        let known: String = fraction[..digits].chars().chain("000000".chars()).take(6).collect();
        micros = if digits == 0 { return None } else { known.parse::<i64>().ok()? };
        rest = &fraction[digits..];
    }
    let offset = match rest.as_bytes() {
        b"Z" | b"z" => 0,
        [
            sign @ (b'+' | b'-'),
            h1 @ b'0'..=b'9',
            h2 @ b'0'..=b'9',
            b':',
            m1 @ b'0'..=b'5',
            m2 @ b'0'..=b'9',
        ] => {
            let two = |a: &u8, b: &u8| i64::from(a - b'0') * 10 + i64::from(b - b'0');
            let minutes = two(h1, h2) * 60 + two(m1, m2);
            if *sign == b'-' { -minutes } else { minutes }
        }
        _ => return None,
    };
    // Days since 1970 by months that begin in March, so that a leap day is the last of its year.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1 - 719_468;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset * 60;
    let wall = Wall(u64::try_from(seconds * 1_000_000 + micros).ok()?);
    // A day that its month does not have comes out as another.
    let same_day = offset != 0 || second == 60 || wall.to_string().get(..10) == text.get(..10);
    same_day.then_some(wall)
}

/// An address with or without its port.
///
/// # Errors
/// The field.
pub(crate) fn source(field: &str, text: &str) -> Result<SocketAddr, Problem> {
    let bare = || text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    let parsed = text.parse().ok().or_else(|| Some(SocketAddr::new(bare()?, 5060)));
    parsed.ok_or_else(|| Problem::field(field, "ADDRESS or ADDRESS:PORT, such as 192.0.2.7:5060"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_the_configuration_writes_them() {
        let millis = |text: &str| duration("x", text).ok().map(|duration| duration.as_millis());
        for (text, expected) in [
            ("30s", Some(30_000)),
            ("1h30m", Some(5_400_000)),
            ("7d", Some(604_800_000)),
            ("200ms", Some(200)),
            ("", None),
            ("0s", None),
            ("s", None),
            ("10", None),
            ("-1s", None),
            ("1 h", None),
            ("1w", None),
            ("4000000000d", None),
            ("99999999999s", None),
        ] {
            assert_eq!(millis(text), expected, "{text}");
        }
    }

    #[test]
    fn times_are_read_as_they_are_shown_and_with_offsets() {
        for wall in [0, 951_782_400_000_001, 1_795_248_116_500_000, 4_102_444_799_999_999] {
            let shown = Wall(wall).to_string();
            assert_eq!(rfc_3339(&shown), Some(Wall(wall)), "{shown}");
        }
        let noon = rfc_3339("2026-11-21T12:00:00Z");
        assert!(noon.is_some());
        for same in ["2026-11-21 13:00:00+01:00", "2026-11-20t23:30:00.0-12:30"] {
            assert_eq!(rfc_3339(same), noon, "{same}");
        }
        for bad in [
            "",
            "2026-11-21",
            "2026-11-21T12:00:00",
            "2026-02-29T12:00:00Z",
            "2026-13-01T12:00:00Z",
            "2026-11-21T24:00:00Z",
            "2026-11-21T12:00:00.Z",
            "2026-11-21T12:00:00+1",
            "+026-11-21T12:00:00Z",
            "2026-11-21T12:00:00é",
            "1969-12-31T23:59:59Z",
        ] {
            assert_eq!(rfc_3339(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_source_needs_no_port() {
        let read = |text: &str| source("x", text).ok().map(|address| address.to_string());
        assert_eq!(read("192.0.2.7").as_deref(), Some("192.0.2.7:5060"));
        assert_eq!(read("192.0.2.7:9").as_deref(), Some("192.0.2.7:9"));
        assert_eq!(read("[2001:db8::1]").as_deref(), Some("[2001:db8::1]:5060"));
        assert_eq!(read("example.com"), None);
    }
}
