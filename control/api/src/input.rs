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
    let reader = &mut serde_json::Deserializer::from_str(text);
    let read = serde_path_to_error::deserialize(&mut *reader);
    let wrong = |field: String, error: &serde_json::Error| {
        let fault = crate::engine::Fault { field, expected: error.to_string(), line: Some(error.line()) };
        Problem::fields(vec![fault])
    };
    let value = read.map_err(|error| {
        let path = error.path().to_string();
        let field = field_of(&path, &error.inner().to_string());
        wrong(field, error.inner())
    })?;
    reader.end().map_err(|error| wrong("body".to_owned(), &error))?;
    Ok(value)
}

/// The path of what does not fit: fields that are missing are named by the message only.
fn field_of(path: &str, message: &str) -> String {
    let named = ["missing field `", "unknown field `"]
        .iter()
        .find_map(|start| message.strip_prefix(start)?.split('`').next());
    match (path, named) {
        ("." | "", None) => "body".to_owned(),
        ("." | "", Some(name)) => name.to_owned(),
        (path, Some(name)) if path != name && !path.ends_with(&format!(".{name}")) => {
            format!("{path}.{name}")
        }
        (path, _) => path.to_owned(),
    }
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
            total =
                total.checked_add(Duration::from_millis(u64::from(count.parse::<u32>().ok()?) * millis))?;
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
    let time: Result<store::Time, _> = text.parse();
    time.map(|time| time.0).map_err(|_| Problem::field(field, "a time such as 2026-11-21T08:00:00Z"))
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
    fn a_source_needs_no_port() {
        let read = |text: &str| source("x", text).ok().map(|address| address.to_string());
        assert_eq!(read("192.0.2.7").as_deref(), Some("192.0.2.7:5060"));
        assert_eq!(read("192.0.2.7:9").as_deref(), Some("192.0.2.7:9"));
        assert_eq!(read("[2001:db8::1]").as_deref(), Some("[2001:db8::1]:5060"));
        assert_eq!(read("example.com"), None);
    }
}
