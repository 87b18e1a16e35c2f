//! Running the engine: drain, log filter, health, readiness, metrics, and the pages that document the API.

use crate::input;
use crate::metrics::families as f;
use crate::metrics::{Format, Page};
use crate::problem::{Class, Problem};
use crate::routes;
use crate::server::Api;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whether to drain.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Drain {
    /// Take no new calls (default), or take them again.
    #[serde(default = "yes")]
    on: bool,
}

fn yes() -> bool {
    true
}

/// What a log shows.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogFilter {
    /// Such as `info` or `info,sip=debug`.
    filter: String,
}

/// A state in a word.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`, or what is wrong.
    status: String,
}

/// Takes no new calls, or takes them again; calls in progress go on.
#[utoipa::path(post, path = "/v1/drain", tag = "operation", request_body = Drain,
    responses((status = 200, body = Drain), (status = 422, body = Problem)))]
pub(crate) async fn drain(State(api): State<Api>, body: Body) -> Result<Json<Drain>, Problem> {
    let Drain { on } = input::json(&api.limits, body).await?;
    // It tells every shard, whose mailbox may be full for a moment.
    let engine = api.engine.clone();
    let done = tokio::task::spawn_blocking(move || engine.drain(on)).await;
    done.map_err(|_| Problem::new(Class::Internal, "the engine could not be told"))?;
    Ok(Json(Drain { on: api.engine.draining() }))
}

/// The log filter in force.
#[utoipa::path(get, path = "/v1/log", tag = "operation", responses((status = 200, body = LogFilter)))]
pub(crate) async fn log(State(api): State<Api>) -> Json<LogFilter> {
    Json(LogFilter { filter: api.engine.log() })
}

/// Sets the log filter until the next start.
#[utoipa::path(put, path = "/v1/log", tag = "operation", request_body = LogFilter,
    responses((status = 200, body = LogFilter), (status = 422, body = Problem)))]
pub(crate) async fn set_log(State(api): State<Api>, body: Body) -> Result<Json<LogFilter>, Problem> {
    let LogFilter { filter } = input::json(&api.limits, body).await?;
    api.engine.set_log(&filter).map_err(|expected| Problem::field("filter", expected))?;
    Ok(Json(LogFilter { filter: api.engine.log() }))
}

/// Whether the process does its work. Needs no token.
#[utoipa::path(get, path = "/healthz", tag = "operation",
    responses((status = 200, body = Health), (status = 503, body = Health)))]
pub(crate) async fn health(State(api): State<Api>) -> Response {
    said(api.engine.health())
}

/// Whether new calls are welcome: not while starting or draining. Needs no token.
#[utoipa::path(get, path = "/readyz", tag = "operation",
    responses((status = 200, body = Health), (status = 503, body = Health)))]
pub(crate) async fn ready(State(api): State<Api>) -> Response {
    said(api.engine.ready())
}

fn said(state: Result<(), String>) -> Response {
    match state {
        Ok(()) => Json(Health { status: "ok".to_owned() }).into_response(),
        Err(status) => (StatusCode::SERVICE_UNAVAILABLE, Json(Health { status })).into_response(),
    }
}

/// Figures for Prometheus: text 0.0.4, or OpenMetrics 1.0 when Accept asks for it.
#[utoipa::path(get, path = "/metrics", tag = "operation", responses((status = 200, body = String, content_type = "text/plain")))]
pub(crate) async fn metrics(State(api): State<Api>, headers: HeaderMap) -> Response {
    let mut page = Page::default();
    page.add(&f::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1.0);
    page.add(&f::DRAINING, &[], f64::from(u8::from(api.engine.draining())));
    if let Some(config) = api.engine.config(None) {
        page.add(&f::CONFIG_VERSION, &[], config.version as f64);
    }
    for (shard, stats) in api.engine.signalling().iter().enumerate() {
        page.signalling(shard, stats);
    }
    let (bans, events) = (api.engine.bans(), api.engine.events());
    page.add(&f::BANS_ACTIVE, &[], bans.len() as f64);
    page.count(&f::BANS_STOPPED, &[], bans.stopped());
    page.count(&f::BANS_DISPLACED, &[], bans.displaced());
    page.count(&f::EVENTS, &["bus", "published"], events.published());
    page.count(&f::EVENTS, &["bus", "dropped"], events.dropped());
    page.count(&f::EVENTS, &["api", "sent"], api.events.sent());
    for limit in api.engine.limits() {
        page.limit(&limit);
    }
    for trunk in api.engine.trunks() {
        let up = matches!(trunk.state, "up" | "half-open");
        page.add(&f::TRUNK_UP, &[&trunk.trunk], f64::from(u8::from(up)));
    }
    api.engine.collect(&mut page);
    let format = Format::of_accept(headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or(""));
    ([(CONTENT_TYPE, format.content_type())], page.render(format)).into_response()
}

/// This API as OpenAPI. Needs no token.
#[utoipa::path(get, path = "/openapi.json", tag = "documentation", responses((status = 200, description = "OpenAPI 3.1")))]
pub(crate) async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], routes::openapi()).into_response()
}

/// This API as a page to read. Needs no token.
#[utoipa::path(get, path = "/docs", tag = "documentation", responses((status = 200, description = "HTML")))]
pub(crate) async fn docs() -> Response {
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, DOCS_POLICY)];
    (headers, include_str!("docs.html")).into_response()
}

/// The page brings all it needs and asks only for /openapi.json.
const DOCS_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'";
