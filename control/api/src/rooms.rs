//! `/v1/rooms`, and calls that join rooms or each other. Rooms are known to all signalling shards; what a room plays and
//! records is its owner's, and who joins is the shard's that owns the call.

use crate::ask::{ask, ask_all, ask_owner, refused};
use crate::input;
use crate::media::{
    LegWord, PlayBody, RecordBody, RecordOptions, RecordedBody, Started, StopBody, centibel, legs, play_of,
    record_of, stop_of,
};
use crate::problem::{Class, Problem};
use crate::server::Api;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use ledger::{Ask, AskFailed, CallId, Join, Reply, RoomMember, RoomOptions, RoomView, SeatOptions, Subject};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Rooms in the order of their names.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RoomList {
    rooms: Vec<Room>,
}

/// A room.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Room {
    /// Its name.
    name: String,
    /// Unique over restarts; recordings of it are found by it.
    id: String,
    /// Since when.
    created: String,
    /// It was made by calls that joined each other, and ends when they part.
    ad_hoc: bool,
    /// `open` or `closing`.
    state: &'static str,
    /// So many of the loudest are heard.
    talkers: u8,
    /// A tone when somebody joins or leaves.
    tones: bool,
    /// It is recorded from its first member on.
    record: bool,
    /// The media shard that mixes it; none before its first member.
    shard: Option<usize>,
    /// Calls that sit in it.
    calls: Vec<Member>,
}

/// A call in a room.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Member {
    /// Id of the call.
    call: String,
    /// Since when.
    joined: String,
    /// How the caller's leg sits.
    a: Seat,
    /// How the callee's leg sits.
    b: Seat,
}

/// How a leg sits in a room.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Seat {
    /// Others hear it.
    talks: bool,
    /// It hears others.
    hears: bool,
    /// Decibels on what it says.
    gain: f64,
    /// Only this leg hears it.
    coaches: Option<Coached>,
}

/// A leg of a call that somebody coaches.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Coached {
    /// Id of the call.
    call: String,
    /// `a` or `b`.
    leg: OneLeg,
}

/// `a` or `b`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OneLeg {
    A,
    B,
}

/// What holds for a room.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoomBody {
    /// So many of the loudest are heard, 1 to 8; default 3.
    talkers: Option<u8>,
    /// A tone when somebody joins or leaves.
    #[serde(default)]
    tones: bool,
    /// Records the room from its first member on.
    record: Option<RecordOptions>,
}

/// How a call sits in a room.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SeatBody {
    /// Which leg this is about; both, if not said. Both sit in the room in any case.
    leg: Option<LegWord>,
    /// Others hear it; default true.
    talks: Option<bool>,
    /// It hears others; default true.
    hears: Option<bool>,
    /// Decibels on what it says, -60 to 20.
    gain: Option<f64>,
    /// Only this leg of a call in the room hears it.
    coaches: Option<Coached>,
}

/// Whom to join.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct JoinBody {
    /// A room.
    room: Option<String>,
    /// Or a call: the legs of both hear each other until one leaves or ends.
    call: Option<String>,
}

/// All rooms, in the order of their names.
#[utoipa::path(get, path = "/v1/rooms", tag = "rooms",
    responses((status = 200, body = RoomList), (status = 503, body = Problem)))]
pub(crate) async fn list(State(api): State<Api>) -> Result<Json<RoomList>, Problem> {
    let rooms = ask(&api, 0, |reply| Ask::Rooms(None, reply)).await?;
    Ok(Json(RoomList { rooms: rooms.into_iter().map(Room::from).collect() }))
}

/// A room and the calls that sit in it.
#[utoipa::path(get, path = "/v1/rooms/{name}", tag = "rooms", params(("name" = String, Path, description = "Its name")),
    responses((status = 200, body = Room), (status = 404, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn show(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<Room>, Problem> {
    let asked = name.clone();
    let found = ask(&api, 0, |reply| Ask::Rooms(Some(asked), reply)).await?.pop();
    found.map(|room| Json(room.into())).ok_or_else(|| refused(&name, AskFailed::NoRoom))
}

/// Makes a room, or changes what holds for it.
#[utoipa::path(put, path = "/v1/rooms/{name}", tag = "rooms", request_body = RoomBody,
    params(("name" = String, Path, description = "Its name: 1 to 64 of letters, digits, - _ . @ +")),
    responses((status = 201, body = Room), (status = 200, body = Room, description = "It was there; changed"),
        (status = 409, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn put(
    State(api): State<Api>,
    Path(name): Path<String>,
    body: Body,
) -> Result<(StatusCode, Json<Room>), Problem> {
    let name = checked_name("name", name)?;
    let RoomBody { talkers, tones, record } = input::json(&api.limits, body).await?;
    let talkers = talkers.unwrap_or(RoomOptions::default().talkers);
    if !(1..=8).contains(&talkers) {
        return Err(Problem::field("talkers", "a whole number from 1 to 8"));
    }
    let record = record.map(|record| record.checked("record.rate")).transpose()?;
    let options = RoomOptions { talkers, tones, record };
    let asked = name.clone();
    let answer = ask(&api, 0, |reply| Ask::PutRoom(asked, options, reply)).await?;
    let (room, is_new) = answer.map_err(|failed| refused(&name, failed))?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(room.into())))
}

/// Ends a room: its calls are hung up, its recordings finished.
#[utoipa::path(delete, path = "/v1/rooms/{name}", tag = "rooms", params(("name" = String, Path, description = "Its name")),
    responses((status = 204, description = "It is being ended"), (status = 404, body = Problem),
        (status = 503, body = Problem)))]
pub(crate) async fn end(State(api): State<Api>, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    let known = ask_all(&api, |reply| Ask::CloseRoom(name.clone(), reply)).await?;
    match known.contains(&true) {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(refused(&name, AskFailed::NoRoom)),
    }
}

/// Seats a call in a room, or changes how it sits; the room must exist.
#[utoipa::path(put, path = "/v1/rooms/{name}/calls/{id}", tag = "rooms", request_body = SeatBody,
    params(("name" = String, Path, description = "Its name"), ("id" = String, Path, description = "Id of the call")),
    responses((status = 200, body = Room), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn seat(
    State(api): State<Api>,
    Path((name, id)): Path<(String, String)>,
    body: Body,
) -> Result<Json<Room>, Problem> {
    let SeatBody { leg, talks, hears, gain, coaches } = input::json(&api.limits, body).await?;
    let coaches = match coaches {
        Some(Coached { call, leg }) => {
            let call = call.parse().map_err(|_| Problem::field("coaches.call", "the id of a call"))?;
            Some((call, if matches!(leg, OneLeg::A) { 0 } else { 1 }))
        }
        None => None,
    };
    let seats = SeatOptions {
        talks: talks.unwrap_or(true),
        hears: hears.unwrap_or(true),
        gain_centibel: centibel("gain", gain)?,
        coaches,
    };
    let join = Join { room: name, ad_hoc: false, legs: legs(leg), seats: Some(seats) };
    Ok(Json(join_call(&api, &id, join).await?.into()))
}

/// Takes a call out of a room: its legs hear each other as before.
#[utoipa::path(delete, path = "/v1/rooms/{name}/calls/{id}", tag = "rooms",
    params(("name" = String, Path, description = "Its name"), ("id" = String, Path, description = "Id of the call")),
    responses((status = 204, description = "It has left"), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn unseat(
    State(api): State<Api>,
    Path((name, id)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    ask_owner(&api, &id, |call, reply| Ask::Leave(call, Some(name), reply)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Puts both legs of a call into a room, or into one with another call.
#[utoipa::path(post, path = "/v1/calls/{id}/join", tag = "media", request_body = JoinBody,
    params(("id" = String, Path, description = "Id of the call")),
    responses((status = 200, body = Room), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn join(
    State(api): State<Api>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Json<Room>, Problem> {
    let JoinBody { room, call } = input::json(&api.limits, body).await?;
    let plain = |room: String, ad_hoc| Join { room, ad_hoc, legs: ledger::Legs::Both, seats: None };
    match (room, call) {
        (Some(room), None) => Ok(Json(join_call(&api, &id, plain(room, false)).await?.into())),
        (None, Some(other)) => {
            if other == id {
                return Err(Problem::field("call", "another call"));
            }
            other.parse::<CallId>().map_err(|_| Problem::field("call", "the id of a call"))?;
            // The room of either, else one of their own.
            let sits = |id: String| {
                let api = &api;
                async move { Ok::<_, Problem>(ask_owner(api, &id, Ask::Show).await?.room) }
            };
            let (own, others) = (sits(id.clone()).await?, sits(other.clone()).await?);
            let was_seated = own.is_some();
            let room = own.or(others).unwrap_or_else(|| format!("calls-{id}"));
            join_call(&api, &id, plain(room.clone(), true)).await?;
            match join_call(&api, &other, plain(room.clone(), true)).await {
                Ok(room) => Ok(Json(room.into())),
                Err(problem) => {
                    if !was_seated {
                        let _ = ask_owner(&api, &id, |call, reply| Ask::Leave(call, Some(room), reply)).await;
                    }
                    Err(problem)
                }
            }
        }
        (Some(_), Some(_)) | (None, None) => Err(Problem::field("room", "either room or call")),
    }
}

/// Takes a call out of whatever room it sits in.
#[utoipa::path(post, path = "/v1/calls/{id}/leave", tag = "media",
    params(("id" = String, Path, description = "Id of the call")),
    responses((status = 204, description = "It has left"), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn leave(State(api): State<Api>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    ask_owner(&api, &id, |call, reply| Ask::Leave(call, None, reply)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Plays something to all in a room.
#[utoipa::path(post, path = "/v1/rooms/{name}/play", tag = "rooms", request_body = PlayBody,
    params(("name" = String, Path, description = "Its name")),
    responses((status = 201, body = Started), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn play(
    State(api): State<Api>,
    Path(name): Path<String>,
    body: Body,
) -> Result<(StatusCode, Json<Started>), Problem> {
    let play = play_of(&api, body, false).await?;
    let question = |reply| Ask::Play(Subject::Room(name.clone()), play.clone(), reply);
    let id = ask_room(&api, &name, question).await?;
    Ok((StatusCode::CREATED, Json(id.into())))
}

/// Stops what plays, is recorded or forked in a room.
#[utoipa::path(post, path = "/v1/rooms/{name}/stop", tag = "rooms", request_body = StopBody,
    params(("name" = String, Path, description = "Its name")),
    responses((status = 204, description = "It is being ended"), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn stop(
    State(api): State<Api>,
    Path(name): Path<String>,
    body: Body,
) -> Result<StatusCode, Problem> {
    let order = stop_of(&api, body).await?;
    ask_room(&api, &name, |reply| Ask::Stop(Subject::Room(name.clone()), order, reply)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Records a room: starts, stops, pauses, goes on.
#[utoipa::path(post, path = "/v1/rooms/{name}/record", tag = "rooms", request_body = RecordBody,
    params(("name" = String, Path, description = "Its name")),
    responses((status = 201, body = RecordedBody, description = "It has been started"), (status = 200, body = RecordedBody),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem),
        (status = 503, body = Problem)))]
pub(crate) async fn record(
    State(api): State<Api>,
    Path(name): Path<String>,
    body: Body,
) -> Result<(StatusCode, Json<RecordedBody>), Problem> {
    let (wanted, status) = record_of(&api, body).await?;
    let question = |reply| Ask::Record(Subject::Room(name.clone()), wanted, reply);
    let recorded = ask_room(&api, &name, question).await?;
    Ok((status, Json(recorded.into())))
}

async fn join_call(api: &Api, id: &str, join: Join) -> Result<RoomView, Problem> {
    let room = checked_name("room", join.room.clone())?;
    let answer = ask_owner_plainly(api, id, |call, reply| Ask::Join(call, Box::new(join), reply)).await?;
    answer.map_err(|failed| match failed {
        AskFailed::NoRoom => refused(&room, failed),
        failed => refused(id, failed),
    })
}

/// As [`ask_owner`], with a refusal for the caller to word.
async fn ask_owner_plainly<T: Send + 'static>(
    api: &Api,
    id: &str,
    question: impl FnOnce(CallId, Reply<Result<T, AskFailed>>) -> Ask,
) -> Result<Result<T, AskFailed>, Problem> {
    let call: CallId = match id.parse() {
        Ok(call) => call,
        Err(_) => return Ok(Err(AskFailed::NoCall)),
    };
    if call.shard() >= api.engine.shards() {
        return Ok(Err(AskFailed::NoCall));
    }
    ask(api, call.shard(), |reply| question(call, reply)).await
}

/// Asks the owner of a room: any shard knows who that is.
pub(crate) async fn ask_room<T: Send + 'static>(
    api: &Api,
    name: &str,
    question: impl Fn(Reply<Result<T, AskFailed>>) -> Ask,
) -> Result<T, Problem> {
    let mut shard = 0;
    for _ in 0..3 {
        match ask(api, shard, &question).await? {
            Ok(answer) => return Ok(answer),
            Err(AskFailed::Elsewhere(owner)) if owner < api.engine.shards() => shard = owner,
            Err(failed) => return Err(refused(name, failed)),
        }
    }
    Err(Problem::new(Class::Busy, format!("room {name} has just moved; try again")))
}

fn checked_name(field: &str, name: String) -> Result<String, Problem> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.@+".contains(c);
    match (1..=64).contains(&name.len()) && name.chars().all(fits) {
        true => Ok(name),
        false => Err(Problem::field(field, "1 to 64 of letters, digits, - _ . @ +")),
    }
}

impl From<RoomView> for Room {
    fn from(room: RoomView) -> Self {
        Room {
            name: room.name,
            id: room.id.to_string(),
            created: room.created.to_string(),
            ad_hoc: room.ad_hoc,
            state: if room.is_closing { "closing" } else { "open" },
            talkers: room.options.talkers,
            tones: room.options.tones,
            record: room.options.record.is_some(),
            shard: room.media_shard,
            calls: room.members.into_iter().map(Member::from).collect(),
        }
    }
}

impl From<RoomMember> for Member {
    fn from(member: RoomMember) -> Self {
        let [a, b] = member.seats.map(Seat::from);
        Member { call: member.call.to_string(), joined: member.joined.to_string(), a, b }
    }
}

impl From<SeatOptions> for Seat {
    fn from(seat: SeatOptions) -> Self {
        let coached = |(call, leg): (CallId, u8)| Coached {
            call: call.to_string(),
            leg: if leg == 0 { OneLeg::A } else { OneLeg::B },
        };
        Seat {
            talks: seat.talks,
            hears: seat.hears,
            gain: f64::from(seat.gain_centibel) / 100.0,
            coaches: seat.coaches.map(coached),
        }
    }
}
