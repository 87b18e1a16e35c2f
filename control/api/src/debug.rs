//! `/v1/debug/panic`: makes a shard fail, so that tests see what the others do then. Only in an engine that was started
//! for tests (`run --allow-panic`); elsewhere the path does not exist, and it is in no description.

use crate::input;
use crate::problem::Problem;
use crate::server::Api;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use serde::{Deserialize, Serialize};

/// Which shard.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fail {
    /// `media-0`, `sip-0` …
    shard: String,
}

/// The shard fails at its next turn.
pub(crate) async fn panic(State(api): State<Api>, body: Body) -> Result<Json<Fail>, Problem> {
    let fail: Fail = input::json(&api.limits, body).await?;
    api.engine.fail(&fail.shard).map_err(|expected| Problem::field("shard", expected))?;
    Ok(Json(fail))
}
