//! What clients send, bounded: bodies by size and time, query strings by their known names.

use crate::problem::{Class, Problem};
use crate::server::Limits;
use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::Query;
use axum::http::{HeaderMap, Uri, header};
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
