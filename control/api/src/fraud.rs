//! `/v1/fraud/reset`: what a fraud policy has counted is forgotten, so that a key that was cut may call again.

use crate::input;
use crate::problem::{Class, Problem};
use crate::server::Api;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

/// What to forget.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reset {
    /// Name of the policy.
    policy: String,
    /// The key as events show it, such as `trunk=pbx prefix=44`.
    key: String,
}

/// Forgets what a policy has counted of one key; its calls in progress are counted on.
#[utoipa::path(post, path = "/v1/fraud/reset", tag = "protection", request_body = Reset,
    responses((status = 204, description = "It begins anew"), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn reset(State(api): State<Api>, body: Body) -> Result<StatusCode, Problem> {
    let Reset { policy, key } = input::json(&api.limits, body).await?;
    if api.engine.reset_fraud(&policy, &key) {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::new(Class::NotFound, format!("policy {policy} has counted nothing of {key}")))
}
