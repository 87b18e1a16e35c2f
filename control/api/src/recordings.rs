//! `/v1/recordings`: which there are, their files, and their end. Files stream from disk as the client takes them.

use crate::engine::FileGone;
use crate::input;
use crate::problem::{Class, Problem};
use crate::server::Api;
use axum::Json;
use axum::body::{Body, HttpBody};
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use command::FileFormat;
use core::pin::Pin;
use core::task::{Context, Poll};
use hyper::body::{Bytes, Frame, SizeHint};
use ledger::{OrderId, RecordingRow};
use serde::Serialize;
use std::fs::File;
use std::io::{self, Read};
use store::RecordingQuery;
use store::recordings::{format_name, layout_name};
use tokio::task::JoinHandle;
use utoipa::ToSchema;

/// Recordings, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecordingList {
    /// The rows; at most `limit`.
    recordings: Vec<RecordingBody>,
    /// There are more than these.
    more: bool,
}

/// One recording.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecordingBody {
    /// Its id.
    id: String,
    /// The call, or the room's id.
    call: String,
    /// The room's name, if it is one's.
    room: Option<String>,
    /// Its file, below `engine.recordings`.
    file: String,
    /// Since when.
    started: String,
    /// What the file holds; null while it runs.
    length_ms: Option<u64>,
    /// `mono` or `stereo`.
    layout: &'static str,
    /// `wav` or `opus`.
    format: &'static str,
    /// `recording`, `paused`, `done`, `failed` or `interrupted` (the engine ended; the file holds what came before).
    state: &'static str,
    /// How much could not be written.
    lost_ms: u64,
    /// What whoever asked for it by NG wants kept beside it (`metadata`); absent without.
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<String>,
}

/// Recordings, the newest first.
#[utoipa::path(get, path = "/v1/recordings", tag = "recordings",
    params(
        ("call" = Option<String>, Query, description = "Only of this call, or of the room of this id"),
        ("room" = Option<String>, Query, description = "Only of rooms of this name"),
        ("limit" = Option<u64>, Query, description = "At most so many rows, 1 to 10000; default 100"),
    ),
    responses((status = 200, body = RecordingList), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn list(State(api): State<Api>, uri: Uri) -> Result<Json<RecordingList>, Problem> {
    let query = input::query(&uri, &["call", "room", "limit"])?;
    let limit = input::limit(&query)?;
    let wanted = RecordingQuery {
        call: query.get("call").cloned(),
        room: query.get("room").cloned(),
        limit: limit + 1,
    };
    let mut rows = blocking(&api, move |api| api.engine.recordings(&wanted)).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    Ok(Json(RecordingList { recordings: rows.iter().map(RecordingBody::new).collect(), more }))
}

/// One recording.
#[utoipa::path(get, path = "/v1/recordings/{id}", tag = "recordings",
    params(("id" = String, Path, description = "Its id")),
    responses((status = 200, body = RecordingBody), (status = 404, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn show(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<RecordingBody>, Problem> {
    Ok(Json(RecordingBody::new(&find(&api, &id).await?.1)))
}

/// The file of a recording; of one that runs, what is written so far.
#[utoipa::path(get, path = "/v1/recordings/{id}/file", tag = "recordings",
    params(("id" = String, Path, description = "Its id")),
    responses((status = 200, content_type = "audio/wav", body = Vec<u8>, description = "Or audio/ogg"),
        (status = 404, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn file(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Problem> {
    let (_, row) = find(&api, &id).await?;
    let name = row.file.clone();
    let opened = blocking(&api, move |api| {
        let file = api.engine.recording_file(&name).map_err(|error| error.to_string())?;
        let length = file.metadata().map_err(|error| error.to_string())?.len();
        Ok((file, length))
    });
    let missing = |_| Problem::new(Class::NotFound, format!("the file {} is not there (any more)", row.file));
    let (file, length) = opened.await.map_err(missing)?;
    let kind = match row.format {
        FileFormat::Wav => "audio/wav",
        FileFormat::OggOpus => "audio/ogg",
    };
    // The name is made of an id and an extension of ours.
    let headers = [
        (CONTENT_TYPE, kind.to_owned()),
        (CONTENT_LENGTH, length.to_string()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", row.file)),
    ];
    Ok((headers, Body::new(FileBody { left: length, state: Reading::Idle(file) })).into_response())
}

/// Deletes a recording that has ended, with its file.
#[utoipa::path(delete, path = "/v1/recordings/{id}", tag = "recordings",
    params(("id" = String, Path, description = "Its id")),
    responses((status = 204, description = "It is gone"), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn delete(State(api): State<Api>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let (order, row) = find(&api, &id).await?;
    if !row.state.is_over() {
        return Err(Problem::new(Class::WrongState, format!("recording {id} still runs; stop it first")));
    }
    blocking(&api, move |api| api.engine.delete_recording(order, &row.file)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn find(api: &Api, id: &str) -> Result<(OrderId, RecordingRow), Problem> {
    let missing = || Problem::new(Class::NotFound, format!("there is no recording {id}"));
    let order: OrderId = id.parse().map_err(|_| missing())?;
    let row = blocking(api, move |api| api.engine.recording(order)).await?.ok_or_else(missing)?;
    Ok((order, row))
}

/// The store's calls block.
async fn blocking<T: Send + 'static>(
    api: &Api,
    work: impl FnOnce(&Api) -> Result<T, String> + Send + 'static,
) -> Result<T, Problem> {
    let api = api.clone();
    match tokio::task::spawn_blocking(move || work(&api)).await {
        Ok(done) => done.map_err(|why| Problem::new(Class::Busy, why)),
        Err(_) => Err(Problem::new(Class::Internal, "the engine could not do this")),
    }
}

impl RecordingBody {
    fn new(row: &RecordingRow) -> RecordingBody {
        RecordingBody {
            id: row.id.to_string(),
            call: row.id.of.to_string(),
            room: row.room.clone(),
            file: row.file.clone(),
            started: row.started.to_string(),
            length_ms: row.state.is_over().then_some(row.length.as_millis() as u64),
            layout: layout_name(row.layout),
            format: format_name(row.format),
            state: row.state.name(),
            lost_ms: row.lost.as_millis() as u64,
            metadata: row.metadata.clone(),
        }
    }
}

/// A file as the client takes it: one block is read at a time, where it may block.
struct FileBody {
    left: u64,
    state: Reading,
}

enum Reading {
    Idle(File),
    Busy(JoinHandle<(File, io::Result<Vec<u8>>)>),
    Over,
}

/// Bytes that are read at a time.
const BLOCK: u64 = 64 << 10;

impl HttpBody for FileBody {
    type Data = Bytes;
    type Error = FileGone;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, FileGone>>> {
        loop {
            match core::mem::replace(&mut self.state, Reading::Over) {
                Reading::Over => return Poll::Ready(None),
                Reading::Idle(_) if self.left == 0 => return Poll::Ready(None),
                Reading::Idle(mut file) => {
                    let wanted = self.left.min(BLOCK);
                    self.state = Reading::Busy(tokio::task::spawn_blocking(move || {
                        let mut block = Vec::with_capacity(wanted as usize);
                        let read = (&mut file).take(wanted).read_to_end(&mut block);
                        (file, read.map(|_| block))
                    }));
                }
                Reading::Busy(mut reading) => {
                    let Poll::Ready(done) = Pin::new(&mut reading).poll(cx) else {
                        self.state = Reading::Busy(reading);
                        return Poll::Pending;
                    };
                    return match done {
                        // A file that is shorter than it was cannot keep what the head has promised.
                        Ok((file, Ok(block))) if !block.is_empty() => {
                            self.left = self.left.saturating_sub(block.len() as u64);
                            self.state = Reading::Idle(file);
                            Poll::Ready(Some(Ok(Frame::data(block.into()))))
                        }
                        Ok(_) | Err(_) => Poll::Ready(Some(Err(FileGone))),
                    };
                }
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
