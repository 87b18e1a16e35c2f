//! Logs as JSON lines on standard error. Threads that log hand whole lines to one writer thread over a bounded queue
//! and never wait for a slow terminal or disk; what finds no room is counted.

use base::Wall;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, reload};

/// The way to change the filter, and what was lost.
#[derive(Clone)]
pub struct Logging {
    set: Arc<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>,
    filter: Arc<std::sync::Mutex<String>>,
    dropped: Arc<AtomicU64>,
}

/// Lines that may wait for the writer.
const LINES_MAX: usize = 65_536;

/// Starts the writer and takes all logs of the process.
pub fn start(filter: &str) -> Logging {
    let (lines, queue) = sync_channel(LINES_MAX);
    let dropped = Arc::new(AtomicU64::new(0));
    let queued = Queue { lines, dropped: Arc::clone(&dropped) };
    let _ = std::thread::Builder::new().name("log".into()).spawn(move || write_lines(&queue));
    let (layer, handle) = reload::Layer::new(parse(filter).unwrap_or_else(|_| EnvFilter::new("info")));
    let _ = tracing_subscriber::registry().with(layer).with(queued).try_init();
    Logging {
        set: Arc::new(move |filter| handle.reload(filter).map_err(|e| e.to_string())),
        filter: Arc::new(std::sync::Mutex::new(filter.to_owned())),
        dropped,
    }
}

impl Logging {
    /// The filter in force.
    pub fn filter(&self) -> String {
        self.filter.lock().map(|f| f.clone()).unwrap_or_default()
    }

    /// Changes the filter; a part of the engine is named by its crate: `info,sip=debug`.
    pub fn set_filter(&self, filter: &str) -> Result<(), String> {
        (self.set)(parse(filter)?)?;
        if let Ok(mut kept) = self.filter.lock() {
            filter.clone_into(&mut kept);
        }
        Ok(())
    }

    /// Lines that found the queue full.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// The level of the whole is `info` where only parts are named.
fn parse(filter: &str) -> Result<EnvFilter, String> {
    let names_all = filter.split(',').any(|part| !part.contains('='));
    let whole = if names_all { filter.to_owned() } else { format!("info,{filter}") };
    EnvFilter::try_new(whole).map_err(|e| e.to_string())
}

struct Queue {
    lines: SyncSender<Vec<u8>>,
    dropped: Arc<AtomicU64>,
}

/// Lines that gather for this long are written in one call, so that a busy thread need not wake the writer for each.
const GATHER: Duration = Duration::from_millis(20);

impl<S: Subscriber> Layer<S> for Queue {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line { bytes: Vec::with_capacity(384) };
        let metadata = event.metadata();
        let _ = write!(
            line.bytes,
            "{{\"timestamp\":\"{}\",\"level\":\"{}\",\"target\":\"{}\"",
            now(),
            metadata.level(),
            metadata.target()
        );
        event.record(&mut line);
        line.bytes.extend_from_slice(b"}\n");
        if self.lines.try_send(line.bytes).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One event as a line of JSON.
struct Line {
    bytes: Vec<u8>,
}

impl Line {
    fn key(&mut self, field: &Field) {
        self.bytes.extend_from_slice(b",\"");
        self.bytes.extend_from_slice(field.name().as_bytes());
        self.bytes.extend_from_slice(b"\":");
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.key(field);
        let _ = serde_json::to_writer(&mut self.bytes, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.key(field);
        let _ = write!(self.bytes, "{value}");
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.key(field);
        let _ = write!(self.bytes, "{value}");
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.key(field);
        let _ = write!(self.bytes, "{value}");
    }
}

fn now() -> Wall {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Wall(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

fn write_lines(queue: &Receiver<Vec<u8>>) {
    let mut out = Vec::with_capacity(1 << 16);
    while let Ok(line) = queue.recv() {
        out.extend_from_slice(&line);
        // As many as wait go in one call.
        while out.len() < 1 << 16
            && let Ok(line) = queue.try_recv()
        {
            out.extend_from_slice(&line);
        }
        let _ = io::stderr().lock().write_all(&out);
        out.clear();
        std::thread::sleep(GATHER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_of_json_with_its_fields() {
        let (lines, queue) = sync_channel(8);
        let layer = Queue { lines, dropped: Arc::default() };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::info!(call = %"c\"1", code = 200u16, answered = true, "it \n happened");
        });
        let line = queue.try_recv().expect("one line");
        let json: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
        assert_eq!((json["call"].as_str(), json["code"].as_u64()), (Some("c\"1"), Some(200)));
        assert_eq!(
            (json["answered"].as_bool(), json["message"].as_str()),
            (Some(true), Some("it \n happened"))
        );
        assert_eq!(json["level"], "INFO");
        assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
    }

    #[test]
    fn parts_are_set_on_top_of_info() {
        assert_eq!(parse("sip=debug").map(|f| f.to_string()), Ok("sip=debug,info".to_owned()));
        assert_eq!(parse("warn,sip=debug").map(|f| f.to_string()), Ok("sip=debug,warn".to_owned()));
        assert!(parse("sip=loud").is_err());
    }
}
