//! `/v1/calls`: list, show, trace, hang up. Each question goes to the shards that own the calls.

use crate::ask::{ask_all, ask_owner};
use crate::input;
use crate::pcap;
use crate::problem::Problem;
use crate::server::Api;
use crate::view::{Call, CallList, Trace};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use ledger::{Ask, CallFilter};

/// Longest text that is looked for.
const FILTER_MAX: usize = 256;

/// Calls that exist now, of all shards, newest first.
#[utoipa::path(get, path = "/v1/calls", tag = "calls",
    params(
        ("trunk" = Option<String>, Query, description = "Only calls of this trunk, either side"),
        ("number" = Option<String>, Query, description = "Only calls whose caller or callee contains this"),
        ("limit" = Option<u64>, Query, description = "At most so many rows, 1 to 10000; default 100"),
    ),
    responses((status = 200, body = CallList), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn list(State(api): State<Api>, uri: Uri) -> Result<Json<CallList>, Problem> {
    let query = input::query(&uri, &["trunk", "number", "limit"])?;
    for (name, text) in &query {
        if text.len() > FILTER_MAX {
            return Err(Problem::field(name, format!("at most {FILTER_MAX} bytes")));
        }
    }
    let limit = input::limit(&query)?;
    let filter = CallFilter {
        trunk: query.get("trunk").cloned(),
        number: query.get("number").cloned(),
        // One more than asked for tells that there are more.
        limit: limit + 1,
    };
    let rows = ask_all(&api, |reply| Ask::List(filter.clone(), reply)).await?;
    Ok(Json(CallList::new(rows.concat(), limit, api.engine.now())))
}

/// All of one call: legs, timeline, media, and a sentence a leg that explains its media.
#[utoipa::path(get, path = "/v1/calls/{id}", tag = "calls", params(("id" = String, Path, description = "Id of the call")),
    responses((status = 200, body = Call), (status = 404, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn show(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Call>, Problem> {
    let call = ask_owner(&api, &id, Ask::Show).await?;
    Ok(Json(Call::new(&call, api.engine.now())))
}

/// Hangs up: CANCEL or BYE to both sides.
#[utoipa::path(delete, path = "/v1/calls/{id}", tag = "calls", params(("id" = String, Path, description = "Id of the call")),
    responses((status = 204, description = "It is being ended"), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn hangup(State(api): State<Api>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    ask_owner(&api, &id, Ask::Hangup).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The call's SIP messages in order, as JSON or as a capture file with made-up IP and UDP headers.
#[utoipa::path(get, path = "/v1/calls/{id}/trace", tag = "calls",
    params(("id" = String, Path, description = "Id of the call"),
        ("format" = Option<String>, Query, description = "`json` (default) or `pcap`")),
    responses((status = 200, body = Trace, description = "With format=pcap: application/vnd.tcpdump.pcap"),
        (status = 404, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn trace(
    State(api): State<Api>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = input::query(&uri, &["format"])?;
    let as_pcap = match query.get("format").map(String::as_str) {
        None | Some("json") => false,
        Some("pcap") => true,
        Some(_) => return Err(Problem::field("format", "json or pcap")),
    };
    let trace = ask_owner(&api, &id, Ask::Trace).await?;
    if !as_pcap {
        return Ok(Json(Trace::new(&trace)).into_response());
    }
    // The id has been parsed: it is hexadecimal digits.
    let name = format!("attachment; filename=\"call-{id}.pcap\"");
    let headers = [(CONTENT_TYPE, "application/vnd.tcpdump.pcap".to_owned()), (CONTENT_DISPOSITION, name)];
    Ok((headers, pcap::capture(&trace)).into_response())
}
