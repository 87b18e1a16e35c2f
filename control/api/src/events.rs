//! `/v1/events`: what happens, as server-sent events (WHATWG HTML section 9.2). Each client has a bounded queue; one that
//! is too slow is told so and let go, and comes back with `Last-Event-ID`.

use crate::input;
use crate::problem::{Class, Problem};
use crate::server::Api;
use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use base::Wake;
use core::convert::Infallible;
use core::pin::Pin;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use hyper::body::{Bytes, Frame};
use ledger::{Numbered, Subscribed, Subscription};
use serde_json::{Map, Value};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::{Instant, Sleep, sleep};

/// Events that went out, for metrics.
#[derive(Debug, Default)]
pub(crate) struct EventCounts {
    sent: AtomicU64,
}

impl EventCounts {
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// What happens, as it happens: server-sent events until the client leaves.
#[utoipa::path(get, path = "/v1/events", tag = "operation",
    params(
        ("kind" = Option<String>, Query, description = "Only these kinds, such as `fraud.*,trunk.down`"),
        ("Last-Event-ID" = Option<u64>, Header, description = "Begin behind this event, as far as it is remembered"),
    ),
    responses((status = 200, content_type = "text/event-stream", body = String), (status = 422, body = Problem),
        (status = 503, body = Problem)))]
pub(crate) async fn follow(
    State(api): State<Api>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = input::query(&uri, &["kind"])?;
    let kinds = Kinds::read(query.get("kind").map_or("", String::as_str))?;
    let after = headers.get("last-event-id").map(|value| {
        let number = value.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok());
        number.ok_or_else(|| Problem::field("Last-Event-ID", "the id of an event"))
    });
    let bell = Arc::<Bell>::default();
    let subscribed = api.engine.events().subscribe(QUEUE, Ring(Arc::clone(&bell)), after.transpose()?);
    let full = |_| Problem::new(Class::Busy, "too many clients follow the events already");
    let Subscribed { subscription, backlog, missed } = subscribed.map_err(full)?;
    let mut stream = EventStream {
        subscription,
        bell,
        kinds,
        ready: Vec::new(),
        alive: Box::pin(sleep(KEEP_ALIVE)),
        over: false,
        counts: Arc::clone(&api.events),
    };
    // A comment at once: the client sees that it is connected, and proxies that there is something to pass on.
    stream.ready.extend_from_slice(b": strowger\n\n");
    if missed > 0 {
        stream.ready.extend_from_slice(format!(": {missed} events are no longer remembered\n\n").as_bytes());
    }
    backlog.iter().for_each(|event| stream.write(event));
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-cache")];
    Ok((headers, Body::new(stream)).into_response())
}

/// Events that may wait for one client.
const QUEUE: usize = 1_024;
/// Without an event there is a comment this often, so that nobody on the way takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A frame is handed on when it has so many bytes.
const FRAME: usize = 16 << 10;
/// Kinds that one client may name.
const KINDS_MAX: usize = 32;

/// Which kinds are wanted; all if none is named.
#[derive(Debug, Default, PartialEq, Eq)]
struct Kinds(Vec<String>);

impl Kinds {
    fn read(text: &str) -> Result<Kinds, Problem> {
        let kinds: Vec<String> =
            text.split(',').map(str::trim).filter(|kind| !kind.is_empty()).map(str::to_owned).collect();
        let fits = |kind: &String| {
            let stem = kind.strip_suffix(".*").unwrap_or(kind);
            !stem.is_empty() && stem.bytes().all(|b| b.is_ascii_lowercase() || b == b'.' || b == b'_')
        };
        if kinds.len() > KINDS_MAX || !kinds.iter().all(fits) {
            return Err(Problem::field("kind", "kinds such as fraud.*,trunk.down"));
        }
        Ok(Kinds(kinds))
    }

    fn has(&self, kind: &str) -> bool {
        let fits = |wanted: &String| match wanted.strip_suffix(".*") {
            Some(stem) => kind.strip_prefix(stem).is_some_and(|rest| rest.starts_with('.')),
            None => kind == wanted,
        };
        self.0.is_empty() || self.0.iter().any(fits)
    }
}

/// The body of the answer: it ends when the client leaves or is too slow.
struct EventStream {
    subscription: Subscription,
    bell: Arc<Bell>,
    kinds: Kinds,
    /// Text that waits to be handed on.
    ready: Vec<u8>,
    alive: Pin<Box<Sleep>>,
    over: bool,
    counts: Arc<EventCounts>,
}

impl EventStream {
    fn write(&mut self, numbered: &Numbered) {
        let Numbered { serial, event } = numbered;
        if !self.kinds.has(event.kind) {
            return;
        }
        let mut data: Map<String, Value> = event
            .fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Value::String(value.clone())))
            .collect();
        data.insert("kind".to_owned(), Value::String(event.kind.to_owned()));
        data.insert("at".to_owned(), Value::String(event.at.to_string()));
        // JSON has no line breaks of its own, so the data is one line.
        let text = format!("id: {serial}\nevent: {}\ndata: {}\n\n", event.kind, Value::Object(data));
        self.ready.extend_from_slice(text.as_bytes());
        self.counts.sent.fetch_add(1, Ordering::Relaxed);
    }

    fn take(&mut self) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.alive.as_mut().reset(Instant::now() + KEEP_ALIVE);
        Poll::Ready(Some(Ok(Frame::data(core::mem::take(&mut self.ready).into()))))
    }
}

impl HttpBody for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.over {
            return Poll::Ready(None);
        }
        self.bell.listen(cx.waker());
        loop {
            self.subscription.queue().awake();
            while self.ready.len() < FRAME
                && let Some(event) = self.subscription.queue().receive()
            {
                self.write(&event);
            }
            if !self.ready.is_empty() {
                return self.take();
            }
            let dropped = self.subscription.dropped();
            if dropped > 0 {
                self.over = true;
                let text =
                    format!(": too slow, {dropped} events were dropped; come back with Last-Event-ID\n\n");
                self.ready.extend_from_slice(text.as_bytes());
                return self.take();
            }
            if !self.subscription.queue().sleep() {
                continue;
            }
            if self.alive.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.ready.extend_from_slice(b": keep-alive\n\n");
        }
    }
}

/// Wakes the task that serves the client.
#[derive(Debug, Default)]
struct Bell {
    waker: Mutex<Option<Waker>>,
}

impl Bell {
    fn listen(&self, waker: &Waker) {
        let mut known = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *known {
            Some(known) => known.clone_from(waker),
            None => *known = Some(waker.clone()),
        }
    }
}

struct Ring(Arc<Bell>);

impl Wake for Ring {
    fn wake(&self) {
        let waker = self.0.waker.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_chosen_by_name_or_by_stem() {
        let has = |wanted: &str, kind: &str| Kinds::read(wanted).unwrap().has(kind);
        assert!(has("", "fraud.critical"));
        assert!(has("fraud.*", "fraud.critical") && has("trunk.down, fraud.*", "fraud.warning"));
        assert!(has("trunk.down", "trunk.down"));
        assert!(
            !has("fraud.*", "fraudulent.x") && !has("fraud.*", "fraud") && !has("trunk.down", "trunk.up")
        );
        let many = vec!["a"; KINDS_MAX + 1].join(",");
        for bad in ["*", "fraud*", ".*", "Fraud.x", "a b", "a\nb", &many] {
            assert!(Kinds::read(bad).is_err(), "{bad}");
        }
    }
}
