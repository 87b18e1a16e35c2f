//! `/v1/cdrs`: call detail records of the database, by filters and pages; as JSON, or as CSV for spreadsheets.

use crate::input;
use crate::problem::{Class, Problem};
use crate::server::Api;
use axum::Json;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use core::str::FromStr;
use serde::Serialize;
use std::collections::BTreeMap;
use store::query::{Order, PAGE_DEFAULT, PAGE_MAX};
use store::{CdrPage, CdrQuery, Record, StoreError, csv};
use utoipa::ToSchema;

/// Records of a page.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CdrList {
    /// The records, with the fields of docs/cdr.md.
    #[schema(value_type = Vec<Object>)]
    cdrs: Vec<Record<'static>>,
    /// `after` of the next page, if there is one.
    next: Option<String>,
    /// How many there are on all pages; only if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
}

const NAMES: [&str; 17] = [
    "from",
    "until",
    "trunk",
    "account",
    "caller",
    "callee",
    "cause",
    "released_by",
    "status",
    "policy",
    "call",
    "answered",
    "order",
    "limit",
    "after",
    "count",
    "format",
];

/// Call detail records, newest first. As CSV with `Accept: text/csv`; `Next-Page` is then the token of the next page.
#[utoipa::path(get, path = "/v1/cdrs", tag = "calls",
    params(
        ("from" = Option<String>, Query, description = "Created at this time or later"),
        ("until" = Option<String>, Query, description = "Created before this time"),
        ("trunk" = Option<String>, Query, description = "Legs of this trunk"),
        ("account" = Option<String>, Query, description = "Legs of this account"),
        ("caller" = Option<String>, Query, description = "This calling number; `+1503*` for how it begins"),
        ("callee" = Option<String>, Query, description = "This called number; `+1503*` for how it begins"),
        ("cause" = Option<String>, Query, description = "This `release_cause`"),
        ("released_by" = Option<String>, Query, description = "`caller`, `callee`, `engine` or `operator`"),
        ("status" = Option<u16>, Query, description = "This final status"),
        ("policy" = Option<String>, Query, description = "Refused or cut by this policy or limit"),
        ("call" = Option<String>, Query, description = "Legs of this call"),
        ("answered" = Option<bool>, Query, description = "Only those that were answered, or were not"),
        ("order" = Option<String>, Query, description = "`newest` (default) or `oldest` first"),
        ("limit" = Option<u64>, Query, description = "At most so many records, 1 to 1000; default 50"),
        ("after" = Option<String>, Query, description = "The page behind: `next` of the page before, of the same query"),
        ("count" = Option<bool>, Query, description = "Also count all pages"),
        ("format" = Option<String>, Query, description = "`json` (default) or `csv`"),
    ),
    responses((status = 200, body = CdrList), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn list(State(api): State<Api>, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    let query = input::query(&uri, &NAMES)?;
    let as_csv = match query.get("format").map(String::as_str) {
        Some("csv") => true,
        Some("json") => false,
        Some(_) => return Err(Problem::field("format", "json or csv")),
        None => accepts_csv(&headers),
    };
    let count = flag(&query, "count")?.unwrap_or(false);
    let wanted = wanted(&query)?;
    let engine = api.engine.clone();
    // The database may take its time.
    let read = tokio::task::spawn_blocking(move || {
        let records = engine.cdrs();
        let count = count.then(|| records.count(&wanted)).transpose()?;
        records.query(&wanted).map(|page| (page, count))
    });
    let (CdrPage { rows, next }, count) = match read.await {
        Ok(read) => read.map_err(|error| failed(&error))?,
        Err(_) => return Err(Problem::new(Class::Internal, "the records could not be read")),
    };
    let next = next.map(|token| token.to_string());
    if !as_csv {
        return Ok(Json(CdrList { cdrs: rows, next, count }).into_response());
    }
    let mut text = Vec::new();
    csv::header(&mut text);
    rows.iter().for_each(|record| csv::line(record, &mut text));
    let mut response = ([(CONTENT_TYPE, "text/csv; charset=utf-8; header=present")], text).into_response();
    for (name, value) in [("next-page", next), ("total-count", count.map(|count| count.to_string()))] {
        if let Some(value) = value.and_then(|value| value.parse().ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

type Query = BTreeMap<&'static str, String>;

fn wanted(query: &Query) -> Result<CdrQuery, Problem> {
    for (name, text) in query {
        if text.len() > TEXT_MAX {
            return Err(Problem::field(name, format!("at most {TEXT_MAX} bytes")));
        }
    }
    let text = |name: &str| query.get(name).cloned();
    let page_size = match input::number(query, "limit")? {
        None => PAGE_DEFAULT,
        Some(limit) => usize::try_from(limit)
            .ok()
            .filter(|limit| (1..=PAGE_MAX).contains(limit))
            .ok_or_else(|| Problem::field("limit", format!("a number from 1 to {PAGE_MAX}")))?,
    };
    let order = match query.get("order").map(String::as_str) {
        None | Some("newest") => Order::Newest,
        Some("oldest") => Order::Oldest,
        Some(_) => return Err(Problem::field("order", "newest or oldest")),
    };
    Ok(CdrQuery {
        from: query.get("from").map(|text| input::time("from", text)).transpose()?,
        until: query.get("until").map(|text| input::time("until", text)).transpose()?,
        trunk: text("trunk"),
        account: text("account"),
        caller: parsed(query, "caller", "a number")?,
        callee: parsed(query, "callee", "a number")?,
        cause: text("cause"),
        released_by: text("released_by"),
        status: parsed(query, "status", "a status such as 486")?,
        policy: text("policy"),
        call: parsed(query, "call", "the id of a call, 24 hexadecimal digits")?,
        answered: flag(query, "answered")?,
        order,
        after: parsed(query, "after", "`next` of the page before")?,
        page_size,
    })
}

fn parsed<T: FromStr>(query: &Query, name: &str, expected: &str) -> Result<Option<T>, Problem> {
    query.get(name).map(|text| text.parse().map_err(|_| Problem::field(name, expected))).transpose()
}

fn flag(query: &Query, name: &str) -> Result<Option<bool>, Problem> {
    parsed(query, name, "true or false")
}

fn accepts_csv(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    accept.split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        parts.next() == Some("text/csv") && !parts.any(|part| part == "q=0")
    })
}

fn failed(error: &StoreError) -> Problem {
    match error {
        StoreError::TooSlow | StoreError::Busy => Problem::new(Class::Busy, error.to_string()),
        error => {
            tracing::error!(%error, "call detail records cannot be read");
            Problem::new(Class::Internal, "the records could not be read")
        }
    }
}

/// Longest text of a filter.
const TEXT_MAX: usize = 256;
