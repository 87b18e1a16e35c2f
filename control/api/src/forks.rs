//! `/v1/calls/{id}/fork` and the same of rooms: a copy of what is said goes elsewhere. The address is checked and resolved
//! before any shard hears of it.

use crate::ask::ask_owner;
use crate::engine::SoundError;
use crate::input;
use crate::media::{LayoutWord, Started, layout, printable};
use crate::problem::{Class, Problem};
use crate::rooms::ask_room;
use crate::server::Api;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use command::{ForkCoding, ForkTo};
use ledger::{Ask, ForkStart, Subject};
use serde::Deserialize;
use utoipa::ToSchema;

/// Where what is said is to be sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForkBody {
    /// `rtp://HOST:PORT` or `ws://HOST/PATH`.
    to: String,
    /// `mono` (default) or `stereo`: the caller left, others right.
    layout: Option<LayoutWord>,
    /// Samples a second: 8000, 16000, 24000 or 48000; the narrowest that holds all that is said, if not given.
    rate: Option<u32>,
    /// Of RTP: `l16` (default) or `pcmu`, which is at 8000.
    codec: Option<CodecWord>,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CodecWord {
    L16,
    Pcmu,
}

/// Sends what is said in a call elsewhere as well, until it is stopped.
#[utoipa::path(post, path = "/v1/calls/{id}/fork", tag = "media", request_body = ForkBody,
    params(("id" = String, Path, description = "Id of the call")),
    responses((status = 201, body = Started), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn call(
    State(api): State<Api>,
    Path(id): Path<String>,
    body: Body,
) -> Result<(StatusCode, Json<Started>), Problem> {
    let fork = fork_of(&api, body).await?;
    let id = ask_owner(&api, &id, |call, reply| Ask::Fork(Subject::Call(call), fork, reply)).await?;
    Ok((StatusCode::CREATED, Json(id.into())))
}

/// Sends what is said in a room elsewhere as well, until it is stopped.
#[utoipa::path(post, path = "/v1/rooms/{name}/fork", tag = "rooms", request_body = ForkBody,
    params(("name" = String, Path, description = "Its name")),
    responses((status = 201, body = Started), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn room(
    State(api): State<Api>,
    Path(name): Path<String>,
    body: Body,
) -> Result<(StatusCode, Json<Started>), Problem> {
    let fork = fork_of(&api, body).await?;
    let question = |reply| Ask::Fork(Subject::Room(name.clone()), fork.clone(), reply);
    let id = ask_room(&api, &name, question).await?;
    Ok((StatusCode::CREATED, Json(id.into())))
}

async fn fork_of(api: &Api, body: Body) -> Result<Box<ForkStart>, Problem> {
    const RATES: [u32; 4] = [8_000, 16_000, 24_000, 48_000];
    let ForkBody { to: target, layout: word, rate, codec } = input::json(&api.limits, body).await?;
    if rate.is_some_and(|wanted| !RATES.contains(&wanted)) {
        return Err(Problem::field("rate", "8000, 16000, 24000 or 48000"));
    }
    printable("to", &target)?;
    let mut to = api.engine.fork_to(&target).await.map_err(|error| match error {
        SoundError::Wrong(expected) => Problem::field("to", expected),
        SoundError::Busy(why) => Problem::new(Class::Busy, why),
    })?;
    match (&mut to, codec) {
        (_, None) => {}
        (ForkTo::WebSocket { .. }, Some(_)) => {
            return Err(Problem::field("codec", "none: a WebSocket gets samples of 16 bits"));
        }
        (ForkTo::Rtp { .. }, Some(CodecWord::Pcmu)) if rate.is_some_and(|rate| rate != 8_000) => {
            return Err(Problem::field("rate", "8000, the only one that pcmu has"));
        }
        (ForkTo::Rtp { coding, .. }, Some(CodecWord::Pcmu)) => *coding = ForkCoding::Pcmu,
        (ForkTo::Rtp { coding, .. }, Some(CodecWord::L16)) => *coding = ForkCoding::L16,
    }
    Ok(Box::new(ForkStart { to, target, layout: layout(word), rate }))
}
