//! `/v1/fraud/reset`: what a fraud policy has counted is forgotten, so that a key that was cut may call again.

use crate::input;
use crate::problem::{Class, Problem};
use crate::server::Api;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What to forget.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reset {
    /// Name of the policy.
    policy: String,
    /// The key as events show it; every key, if not given.
    key: Option<String>,
}

/// What was forgotten.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Forgotten {
    /// How many keys had something counted.
    keys: usize,
}

/// Forgets what a policy has counted of one key or of all; calls in progress are counted on.
#[utoipa::path(post, path = "/v1/fraud/reset", tag = "protection", request_body = Reset,
    responses((status = 200, body = Forgotten), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn reset(State(api): State<Api>, body: Body) -> Result<Json<Forgotten>, Problem> {
    let Reset { policy, key } = input::json(&api.limits, body).await?;
    let missing = || Problem::new(Class::NotFound, format!("there is no fraud policy named {policy}"));
    let keys = api.engine.reset_fraud(&policy, key.as_deref()).ok_or_else(missing)?;
    Ok(Json(Forgotten { keys }))
}
