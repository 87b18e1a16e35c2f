//! `/v1/bans`: sources that are not listened to. Automatic ones come from guards and fraud policies; here are all of
//! them to read, and an operator's own to add and remove.

use crate::input;
use crate::problem::{Class, Problem};
use crate::server::Api;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use ledger::ban::NoNet;
use ledger::{Added, Ban, Banner, Event, Net};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Rows of bans, in the order of their networks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BanList {
    /// The rows; at most `limit`.
    bans: Vec<BanRow>,
    /// How many there are, all pages together.
    total: usize,
    /// `after` of the next page, if there is one.
    next: Option<String>,
}

/// One ban.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BanRow {
    /// An address, or a network.
    address: String,
    /// `auto`, `fraud` or `operator`.
    by: &'static str,
    /// Since when.
    since: String,
    /// Until when; absent for one that an operator has to remove.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    /// Why.
    reason: String,
}

/// A ban to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewBan {
    /// An address or a network, such as `203.0.113.7` or `203.0.113.0/24`.
    address: String,
    /// For how long, such as `1h`; until it is removed, if not given.
    ttl: Option<String>,
    /// Why, for whoever reads the list.
    #[serde(default)]
    reason: String,
    /// Also if a trunk of ours calls from there.
    #[serde(default)]
    force: bool,
}

impl From<Ban> for BanRow {
    fn from(ban: Ban) -> Self {
        BanRow {
            address: ban.net.to_string(),
            by: ban.by.name(),
            since: ban.since.to_string(),
            until: ban.until.map(|until| until.to_string()),
            reason: ban.reason,
        }
    }
}

/// Longest reason.
const REASON_MAX: usize = 256;

/// Bans in force, in the order of their networks.
#[utoipa::path(get, path = "/v1/bans", tag = "protection",
    params(
        ("limit" = Option<u64>, Query, description = "At most so many rows, 1 to 10000; default 100"),
        ("after" = Option<String>, Query, description = "The page behind this network: `next` of the page before"),
    ),
    responses((status = 200, body = BanList), (status = 422, body = Problem)))]
pub(crate) async fn list(State(api): State<Api>, uri: Uri) -> Result<Json<BanList>, Problem> {
    let query = input::query(&uri, &["limit", "after"])?;
    let limit = input::limit(&query)?;
    let after = query.get("after").map(|text| net("after", text)).transpose()?;
    let now = api.engine.now().wall;
    let bans = api.engine.bans();
    let mut page = bans.list(after, limit + 1);
    let more = page.len() > limit;
    page.truncate(limit);
    let next = page.last().filter(|_| more).map(|ban| ban.net.to_string());
    // What has just ended is taken away by somebody else in a moment.
    page.retain(|ban| ban.until.is_none_or(|until| until > now));
    Ok(Json(BanList { bans: page.into_iter().map(BanRow::from).collect(), total: bans.len(), next }))
}

/// Bans a source, or changes a ban: packets from there are dropped unread.
#[utoipa::path(post, path = "/v1/bans", tag = "protection", request_body = NewBan,
    responses((status = 201, body = BanRow), (status = 200, body = BanRow, description = "It was banned already; changed"),
        (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn add(State(api): State<Api>, body: Body) -> Result<Response, Problem> {
    let NewBan { address, ttl, reason, force } = input::json(&api.limits, body).await?;
    let net = net("address", &address)?;
    let ttl = ttl.map(|text| input::duration("ttl", &text)).transpose()?;
    if reason.len() > REASON_MAX || reason.chars().any(char::is_control) {
        return Err(Problem::field("reason", format!("at most {REASON_MAX} bytes on one line")));
    }
    if !force && let Some(trunk) = api.engine.trunk_within(net) {
        let detail = format!("trunk {trunk} calls from {net}; \"force\": true bans it all the same");
        return Err(Problem::new(Class::WrongState, detail));
    }
    let since = api.engine.now().wall;
    let until = ttl.map(|ttl| base::Wall(since.0.saturating_add(ttl.as_micros() as u64)));
    let ban = Ban { net, until, since, by: Banner::Operator, reason };
    let full = |_| {
        Problem::new(
            Class::WrongState,
            format!("there are {} bans of operators already", ledger::ban::OPERATOR_MAX),
        )
    };
    let added = api.engine.bans().add(ban.clone()).map_err(full)?;
    let event = Event::new(since, "ban.added").with("net", net).with("by", ban.by.name());
    let until = ban.until.map(|until| until.to_string()).unwrap_or_default();
    api.engine.events().publish(event.with("reason", &ban.reason).with("until", until));
    let status = if added == Added::New { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(BanRow::from(ban))).into_response())
}

/// Ends a ban; the address or network must be as it was listed.
#[utoipa::path(delete, path = "/v1/bans", tag = "protection",
    params(("address" = String, Query, description = "The address or network")),
    responses((status = 204, description = "It is listened to again"), (status = 404, body = Problem),
        (status = 422, body = Problem)))]
pub(crate) async fn remove(State(api): State<Api>, uri: Uri) -> Result<StatusCode, Problem> {
    let query = input::query(&uri, &["address"])?;
    let address = query.get("address").ok_or_else(|| Problem::field("address", NET))?;
    let net = net("address", address)?;
    let missing = || Problem::new(Class::NotFound, format!("there is no ban of {net}"));
    let ban = api.engine.bans().remove(net).ok_or_else(missing)?;
    let event = Event::new(api.engine.now().wall, "ban.removed").with("net", net).with("by", "operator");
    api.engine.events().publish(event.with("reason", ban.reason));
    Ok(StatusCode::NO_CONTENT)
}

const NET: &str = "an address or a network, such as 203.0.113.7 or 203.0.113.0/24";

fn net(field: &str, text: &str) -> Result<Net, Problem> {
    text.parse().map_err(|error| match error {
        NoNet::Malformed => Problem::field(field, NET),
        NoNet::HostBits => Problem::field(field, format!("{NET}; bits behind the prefix must be 0")),
    })
}
