//! Logs as JSON lines on standard error. Threads that log hand whole lines to one writer thread over a bounded queue
//! and never wait for a slow terminal or disk; what finds no room is counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

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
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(queued);
    let _ = tracing_subscriber::registry().with(layer).with(lines).try_init();
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

#[derive(Clone)]
struct Queue {
    lines: SyncSender<Vec<u8>>,
    dropped: Arc<AtomicU64>,
}

/// Collects one event's line and hands it over when it is whole.
struct Line<'a> {
    queue: &'a Queue,
    bytes: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Line<'a>;
    fn make_writer(&'a self) -> Line<'a> {
        Line { queue: self, bytes: Vec::with_capacity(256) }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if self.queue.lines.try_send(std::mem::take(&mut self.bytes)).is_err() {
            self.queue.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
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
    }
}
