//! `/v1/trunks/{name}/status`, `disable`, `enable`, `/v1/groups/{name}/status`, `/v1/limits`: who can be called now, and
//! how full everything is. The objects of the configuration with the same names are in `objects`.

use crate::input;
use crate::problem::{Class, Problem};
use crate::server::Api;
use crate::standing::{GroupStatus, LimitStatus, TrunkStatus};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// For how long.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Disable {
    /// A duration such as `10m`; until it is enabled again, if not given.
    #[serde(rename = "for")]
    period: Option<String>,
}

/// All limits.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LimitList {
    /// By name.
    limits: Vec<LimitStatus>,
}

/// Whether a trunk is called, since when, and until when it is not.
#[utoipa::path(get, path = "/v1/trunks/{name}/status", tag = "routing",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, body = TrunkStatus), (status = 404, body = Problem)))]
pub(crate) async fn status(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<TrunkStatus>, Problem> {
    let found = api.engine.trunks().into_iter().find(|status| status.trunk == name);
    found.map(Json).ok_or_else(|| no_trunk(&name))
}

/// Takes a trunk out: no new call goes to it, calls on it go on.
#[utoipa::path(post, path = "/v1/trunks/{name}/disable", tag = "routing",
    params(("name" = String, Path, description = "Its name")), request_body = Disable,
    responses((status = 200, body = TrunkStatus), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn disable(
    State(api): State<Api>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<TrunkStatus>, Problem> {
    let Disable { period } = input::json(&api.limits, body).await?;
    let period = period.map(|text| input::duration("for", &text)).transpose()?;
    api.engine.disable_trunk(&name, period).map(Json).ok_or_else(|| no_trunk(&name))
}

/// Takes a trunk in again, with its breaker closed; what probes say holds on.
#[utoipa::path(post, path = "/v1/trunks/{name}/enable", tag = "routing",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, body = TrunkStatus), (status = 404, body = Problem)))]
pub(crate) async fn enable(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<TrunkStatus>, Problem> {
    api.engine.enable_trunk(&name).map(Json).ok_or_else(|| no_trunk(&name))
}

/// The members of a group: which can be called, with how many calls and how full.
#[utoipa::path(get, path = "/v1/groups/{name}/status", tag = "routing",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, body = GroupStatus), (status = 404, body = Problem)))]
pub(crate) async fn group(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<GroupStatus>, Problem> {
    let missing = || Problem::new(Class::NotFound, format!("there is no group named {name}"));
    api.engine.group(&name).map(Json).ok_or_else(missing)
}

/// How full every limit is, and how often it refused a call.
#[utoipa::path(get, path = "/v1/limits", tag = "routing", responses((status = 200, body = LimitList)))]
pub(crate) async fn limits(State(api): State<Api>) -> Json<LimitList> {
    Json(LimitList { limits: api.engine.limits() })
}

fn no_trunk(name: &str) -> Problem {
    Problem::new(Class::NotFound, format!("there is no trunk named {name}"))
}
