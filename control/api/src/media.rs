//! `/v1/calls/{id}/play` and the others that change what a call's media does. Bodies are checked here, whole; the shard
//! that owns the call says whether it can be done as things stand.

use crate::ask::ask_owner;
use crate::engine::SoundError;
use crate::input;
use crate::problem::{Class, Problem};
use crate::server::Api;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use base::Duration;
use command::{FileFormat, Layout, PlayMode, Sound};
use ledger::control::DIGITS_MAX;
use ledger::{
    Ask, Hold, Legs, Mute, MuteDirection, OrderId, Play, RecordAsk, RecordFrom, RecordStart, Recorded,
    SendDigits, Subject,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A sound to play.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlayBody {
    /// A file below `engine.sounds`, an `http://` URL, or a tone such as `tone:busy/de` or `tone:440+480`.
    source: String,
    /// Who hears it; both, if not said. Not for rooms.
    leg: Option<LegWord>,
    /// `replace` (only the sound is heard, the default) or `mix`.
    mode: Option<ModeWord>,
    /// How often, 1 to 10000, or `true` until it is stopped.
    #[serde(rename = "loop")]
    times: Option<Times>,
    /// Where it begins, in milliseconds.
    start: Option<u64>,
    /// Decibels, -60 to 20.
    gain: Option<f64>,
}

/// `a`, `b` or `both`.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LegWord {
    A,
    B,
    Both,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ModeWord {
    Replace,
    Mix,
}

/// A number, or `true` for without end.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Times {
    Endless(bool),
    Number(u32),
}

/// What to stop.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StopBody {
    /// What `play`, `dtmf`, `record` or `fork` gave; all sounds and digits, if not said.
    id: Option<String>,
}

/// Digits to send.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DtmfBody {
    /// 1 to 100 of `0-9A-D*#`.
    digits: String,
    /// Who gets them; both, if not said.
    leg: Option<LegWord>,
    /// Milliseconds a digit, 100 to 1000; default 100.
    duration: Option<u64>,
    /// Milliseconds between digits, 0 to 5000; default 100. Less than 40 is sent as 40.
    gap: Option<u64>,
}

/// Something about a recording.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordBody {
    /// `start`, `stop`, `pause` or `resume`.
    action: ActionWord,
    /// Which recording, where several run; not for `start`.
    id: Option<String>,
    /// `mono` (default) or `stereo`: the caller left, others right.
    layout: Option<LayoutWord>,
    /// `wav` (default) or `opus` (Opus in Ogg).
    format: Option<FormatWord>,
    /// Samples a second: 8000, 16000, 24000 or 48000; the narrowest that holds all that is said, if not given.
    rate: Option<u32>,
    /// Digits are heard as silence.
    #[serde(default)]
    mask_digits: bool,
    /// `answer` (default: at once if the call is answered), `now`, or `first_packet`.
    from: Option<FromWord>,
}

/// How to record.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordOptions {
    /// `mono` (default) or `stereo`: the caller left, others right.
    layout: Option<LayoutWord>,
    /// `wav` (default) or `opus` (Opus in Ogg).
    format: Option<FormatWord>,
    /// Samples a second: 8000, 16000, 24000 or 48000; the narrowest that holds all that is said, if not given.
    rate: Option<u32>,
    /// Digits are heard as silence.
    #[serde(default)]
    mask_digits: bool,
    /// `answer` (default: at once if the call is answered), `now`, or `first_packet`.
    from: Option<FromWord>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ActionWord {
    Start,
    Stop,
    Pause,
    Resume,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LayoutWord {
    Mono,
    Stereo,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FormatWord {
    Wav,
    Opus,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FromWord {
    Answer,
    Now,
    FirstPacket,
}

/// Who is silenced.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MuteBody {
    /// Which legs; both, if not said.
    leg: Option<LegWord>,
    /// `in` (default: what the leg says), `out` (what it hears) or `both`.
    direction: Option<DirectionWord>,
    /// `false` lets it be heard again.
    on: Option<bool>,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DirectionWord {
    In,
    Out,
    Both,
}

/// Who is put on hold.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HoldBody {
    /// Which legs; both, if not said. The other leg hears nothing meanwhile.
    leg: Option<LegWord>,
    /// `false` takes it back.
    on: Option<bool>,
    /// What the legs on hold hear, as `source` of `play`; silence, if not said.
    music: Option<String>,
}

/// Something that goes on now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Started {
    /// For `stop`.
    id: String,
}

/// A recording.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecordedBody {
    /// Its name, for `record` and `/v1/recordings`.
    id: String,
    /// Its file, below `engine.recordings`.
    file: String,
}

/// Plays a file, what an address gives, or a tone to a call.
#[utoipa::path(post, path = "/v1/calls/{id}/play", tag = "media", request_body = PlayBody,
    params(("id" = String, Path, description = "Id of the call")),
    responses((status = 201, body = Started), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn play(
    State(api): State<Api>,
    Path(id): Path<String>,
    body: Body,
) -> Result<(StatusCode, Json<Started>), Problem> {
    let play = play_of(&api, body, true).await?;
    let id = ask_owner(&api, &id, |call, reply| Ask::Play(Subject::Call(call), play, reply)).await?;
    Ok((StatusCode::CREATED, Json(Started { id: id.to_string() })))
}

/// Stops what plays, is sent, recorded or forked.
#[utoipa::path(post, path = "/v1/calls/{id}/stop", tag = "media", request_body = StopBody,
    params(("id" = String, Path, description = "Id of the call")),
    responses((status = 204, description = "It is being ended"), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn stop(
    State(api): State<Api>,
    Path(id): Path<String>,
    body: Body,
) -> Result<StatusCode, Problem> {
    let order = stop_of(&api, body).await?;
    ask_owner(&api, &id, |call, reply| Ask::Stop(Subject::Call(call), order, reply)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends digits to a leg, as it gets them: events, tones or INFO.
#[utoipa::path(post, path = "/v1/calls/{id}/dtmf", tag = "media", request_body = DtmfBody,
    params(("id" = String, Path, description = "Id of the call")),
    responses((status = 201, body = Started), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn dtmf(
    State(api): State<Api>,
    Path(id): Path<String>,
    body: Body,
) -> Result<(StatusCode, Json<Started>), Problem> {
    let DtmfBody { digits, leg, duration, gap } = input::json(&api.limits, body).await?;
    let fits = |c: char| matches!(c, '0'..='9' | 'A'..='D' | '*' | '#');
    if digits.is_empty() || digits.len() > DIGITS_MAX || !digits.chars().all(fits) {
        return Err(Problem::field("digits", format!("1 to {DIGITS_MAX} of 0-9A-D*#")));
    }
    let digits = Box::new(SendDigits {
        legs: legs(leg),
        digits,
        duration_ms: within("duration", duration, 100, 100..=1_000)? as u16,
        gap_ms: within("gap", gap, 100, 0..=5_000)? as u16,
    });
    let id = ask_owner(&api, &id, |call, reply| Ask::Dtmf(call, digits, reply)).await?;
    Ok((StatusCode::CREATED, Json(Started { id: id.to_string() })))
}

/// Records a call: starts, stops, pauses, goes on; several may run at a time.
#[utoipa::path(post, path = "/v1/calls/{id}/record", tag = "media", request_body = RecordBody,
    params(("id" = String, Path, description = "Id of the call")),
    responses((status = 201, body = RecordedBody, description = "It has been started"), (status = 200, body = RecordedBody),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem),
        (status = 503, body = Problem)))]
pub(crate) async fn record(
    State(api): State<Api>,
    Path(id): Path<String>,
    body: Body,
) -> Result<(StatusCode, Json<RecordedBody>), Problem> {
    let (ask, status) = record_of(&api, body).await?;
    let recorded = ask_owner(&api, &id, |call, reply| Ask::Record(Subject::Call(call), ask, reply)).await?;
    Ok((status, Json(recorded.into())))
}

/// Silences a leg, or lets it be heard again.
#[utoipa::path(post, path = "/v1/calls/{id}/mute", tag = "media", request_body = MuteBody,
    params(("id" = String, Path, description = "Id of the call")),
    responses((status = 204, description = "It is so"), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn mute(
    State(api): State<Api>,
    Path(id): Path<String>,
    body: Body,
) -> Result<StatusCode, Problem> {
    let MuteBody { leg, direction, on } = input::json(&api.limits, body).await?;
    let direction = match direction {
        None | Some(DirectionWord::In) => MuteDirection::In,
        Some(DirectionWord::Out) => MuteDirection::Out,
        Some(DirectionWord::Both) => MuteDirection::Both,
    };
    let mute = Mute { legs: legs(leg), direction, on: on.unwrap_or(true) };
    ask_owner(&api, &id, |call, reply| Ask::Mute(call, mute, reply)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Puts a leg on hold, with music or without, or takes it back; no peer is asked.
#[utoipa::path(post, path = "/v1/calls/{id}/hold", tag = "media", request_body = HoldBody,
    params(("id" = String, Path, description = "Id of the call")),
    responses((status = 204, description = "It is so"), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn hold(
    State(api): State<Api>,
    Path(id): Path<String>,
    body: Body,
) -> Result<StatusCode, Problem> {
    let HoldBody { leg, on, music } = input::json(&api.limits, body).await?;
    let on = on.unwrap_or(true);
    if !on && music.is_some() {
        return Err(Problem::field("music", "none where the hold ends"));
    }
    let music = match music {
        Some(source) => Some((sound(&api, "music", &source).await?, source)),
        None => None,
    };
    let hold = Box::new(Hold { legs: legs(leg), on, music });
    ask_owner(&api, &id, |call, reply| Ask::Hold(call, hold, reply)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A sound of a body, loaded.
pub(crate) async fn play_of(api: &Api, body: Body, has_legs: bool) -> Result<Box<Play>, Problem> {
    let PlayBody { source, leg, mode, times, start, gain } = input::json(&api.limits, body).await?;
    if !has_legs && leg.is_some() {
        return Err(Problem::field("leg", "none: all in the room hear it"));
    }
    let times = match times {
        None | Some(Times::Endless(false)) => Some(1),
        Some(Times::Endless(true)) => None,
        Some(Times::Number(times)) => Some(within("loop", Some(u64::from(times)), 1, 1..=10_000)? as u32),
    };
    Ok(Box::new(Play {
        legs: legs(leg),
        mode: match mode {
            None | Some(ModeWord::Replace) => PlayMode::Replace,
            Some(ModeWord::Mix) => PlayMode::Mix,
        },
        times,
        start: Duration::from_millis(within("start", start, 0, 0..=86_400_000)?),
        gain_centibel: centibel("gain", gain)?,
        sound: sound(api, "source", &source).await?,
        source,
    }))
}

/// What a body wants stopped.
pub(crate) async fn stop_of(api: &Api, body: Body) -> Result<Option<OrderId>, Problem> {
    let StopBody { id } = input::json(&api.limits, body).await?;
    order(id)
}

/// What a body wants of a recording, and the status of its answer.
pub(crate) async fn record_of(api: &Api, body: Body) -> Result<(RecordAsk, StatusCode), Problem> {
    let RecordBody { action, id, layout, format, rate, mask_digits, from } =
        input::json(&api.limits, body).await?;
    let start = RecordOptions { layout, format, rate, mask_digits, from };
    let id = order(id)?;
    Ok(match action {
        ActionWord::Start if id.is_some() => {
            return Err(Problem::field("id", "none: a recording gets its id when it starts"));
        }
        ActionWord::Start => (RecordAsk::Start(start.checked("rate")?), StatusCode::CREATED),
        ActionWord::Stop => (RecordAsk::Stop(id), StatusCode::OK),
        ActionWord::Pause => (RecordAsk::Pause(id), StatusCode::OK),
        ActionWord::Resume => (RecordAsk::Resume(id), StatusCode::OK),
    })
}

impl RecordOptions {
    /// As the shards want it; `rate` is the path of that field.
    pub(crate) fn checked(self, rate: &str) -> Result<RecordStart, Problem> {
        const RATES: [u32; 4] = [8_000, 16_000, 24_000, 48_000];
        if self.rate.is_some_and(|wanted| !RATES.contains(&wanted)) {
            return Err(Problem::field(rate, "8000, 16000, 24000 or 48000"));
        }
        Ok(RecordStart {
            layout: layout(self.layout),
            format: match self.format {
                None | Some(FormatWord::Wav) => FileFormat::Wav,
                Some(FormatWord::Opus) => FileFormat::OggOpus,
            },
            rate: self.rate,
            mask_digits: self.mask_digits,
            from: match self.from {
                None | Some(FromWord::Answer) => RecordFrom::Answer,
                Some(FromWord::Now) => RecordFrom::Now,
                Some(FromWord::FirstPacket) => RecordFrom::FirstPacket,
            },
        })
    }
}

impl From<Recorded> for RecordedBody {
    fn from(Recorded { id, file }: Recorded) -> Self {
        RecordedBody { id: id.to_string(), file }
    }
}

impl From<OrderId> for Started {
    fn from(id: OrderId) -> Self {
        Started { id: id.to_string() }
    }
}

/// Mono, where a body does not say.
pub(crate) fn layout(word: Option<LayoutWord>) -> Layout {
    match word {
        None | Some(LayoutWord::Mono) => Layout::Mono,
        Some(LayoutWord::Stereo) => Layout::Stereo,
    }
}

/// Both, where a body does not say.
pub(crate) fn legs(word: Option<LegWord>) -> Legs {
    match word {
        Some(LegWord::A) => Legs::A,
        Some(LegWord::B) => Legs::B,
        None | Some(LegWord::Both) => Legs::Both,
    }
}

/// Decibels as hundredths of them.
pub(crate) fn centibel(field: &str, decibels: Option<f64>) -> Result<i16, Problem> {
    match decibels {
        None => Ok(0),
        Some(gain) if (-60.0..=20.0).contains(&gain) => Ok((gain * 100.0).round() as i16),
        Some(_) => Err(Problem::field(field, "decibels from -60 to 20")),
    }
}

fn order(id: Option<String>) -> Result<Option<OrderId>, Problem> {
    let wrong = |_| Problem::field("id", "what play, dtmf, record or fork gave");
    id.map(|id| id.parse().map_err(wrong)).transpose()
}

fn within(
    field: &str,
    value: Option<u64>,
    default: u64,
    range: core::ops::RangeInclusive<u64>,
) -> Result<u64, Problem> {
    let value = value.unwrap_or(default);
    let (low, high) = (range.start(), range.end());
    let wrong = || Problem::field(field, format!("a whole number from {low} to {high}"));
    range.contains(&value).then_some(value).ok_or_else(wrong)
}

/// The sound that a source names. Loading it may take a while.
async fn sound(api: &Api, field: &str, source: &str) -> Result<Sound, Problem> {
    printable(field, source)?;
    api.engine.sound(source).await.map_err(|error| match error {
        SoundError::Wrong(expected) => Problem::field(field, expected),
        SoundError::Busy(why) => Problem::new(Class::Busy, why),
    })
}

/// Whether a text is one that a file or an address may be called by.
pub(crate) fn printable(field: &str, text: &str) -> Result<(), Problem> {
    match text.is_empty() || text.len() > SOURCE_MAX || text.chars().any(char::is_control) {
        true => Err(Problem::field(field, format!("1 to {SOURCE_MAX} bytes without control characters"))),
        false => Ok(()),
    }
}

/// Longest name of a source.
const SOURCE_MAX: usize = 2_000;
