//! Records posted to others over HTTP, at least once and in the order of their arrival. The outbox is the table of
//! records itself; a cursor for each webhook says how far it was told, and lasts. A thread of their own: a server that
//! hangs or refuses keeps nobody waiting but itself.

use crate::database::{self, StoreError};
use crate::query::CdrReader;
use crate::record::Record;
use crate::table::save_cursor;
use core::fmt::Write;
use core::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use hmac::{Hmac, KeyInit, Mac};
use http_out::{Client, Limits, Url};
use rusqlite::Connection;
use sha2::Sha256;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;

/// Figures of one webhook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookStats {
    /// Its address.
    pub url: String,
    /// Records that its server took.
    pub delivered: u64,
    /// Posts that failed and are tried again.
    pub failed: u64,
    /// Records that wait for it.
    pub waiting: u64,
}

/// One webhook, as the thread and the figures see it.
#[derive(Debug)]
pub(crate) struct Outbox {
    url: Url,
    delivered: AtomicU64,
    failed: AtomicU64,
    /// All records up to this one were taken.
    cursor: AtomicI64,
}

/// How posts are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manner {
    /// Signs each post, so that its receiver knows where it comes from; none, no signature.
    pub secret: Option<Vec<u8>>,
    /// A post may take so long.
    pub deadline: Duration,
    /// After a failure, the first time; doubled with each further one.
    pub pause: Duration,
    /// The longest pause.
    pub pause_max: Duration,
    /// At the end of the engine, what can still be delivered is, for so long.
    pub grace: Duration,
}

impl Default for Manner {
    fn default() -> Self {
        Manner {
            secret: None,
            deadline: Duration::from_secs(10),
            pause: Duration::from_secs(1),
            pause_max: Duration::from_secs(60),
            grace: Duration::from_secs(2),
        }
    }
}

impl Outbox {
    pub fn new(url: Url, cursor: i64) -> Outbox {
        Outbox {
            url,
            delivered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            cursor: AtomicI64::new(cursor),
        }
    }

    /// All records up to this one were taken.
    pub fn cursor(&self) -> i64 {
        self.cursor.load(Ordering::Relaxed)
    }

    /// Figures, with the number of the last record.
    pub fn stats(&self, last: i64) -> WebhookStats {
        WebhookStats {
            url: self.url.to_string(),
            delivered: self.delivered.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            waiting: u64::try_from(last - self.cursor()).unwrap_or(0),
        }
    }
}

/// The running thread. Dropping it delivers what can be delivered within [`Manner::grace`], and ends it.
#[derive(Debug)]
pub(crate) struct Webhooks {
    stop: Option<watch::Sender<bool>>,
    thread: Option<JoinHandle<()>>,
}

impl Webhooks {
    /// Starts the thread. `last` tells the number of the last record that is in the database.
    pub fn spawn(
        database: &Path,
        outboxes: &[Arc<Outbox>],
        manner: &Manner,
        last: &watch::Receiver<i64>,
    ) -> Result<Webhooks, StoreError> {
        let file_error = |error: io::Error| StoreError::File { path: database.to_owned(), error };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(file_error)?;
        let (stop, stopped) = watch::channel(false);
        let mut posts = Vec::new();
        for outbox in outboxes {
            posts.push(Post {
                outbox: Arc::clone(outbox),
                client: Client::new(Limits { connections_per_host: 1, reply_max: REPLY_MAX }),
                reader: CdrReader::open(database)?,
                connection: database::open(database, PATIENCE)?,
                manner: manner.clone(),
                last: last.clone(),
                stopped: stopped.clone(),
                batch: BATCH_MAX,
                failures: 0,
            });
        }
        let mut over = stopped;
        let grace = manner.grace;
        let run = async move {
            let tasks: Vec<_> = posts.into_iter().map(|post| tokio::spawn(post.run())).collect();
            let all = async {
                for task in tasks {
                    let _ = task.await;
                }
            };
            let patience = async {
                let _ = over.wait_for(|stopped| *stopped).await;
                tokio::time::sleep(grace).await;
            };
            tokio::select! { () = all => {} () = patience => {} }
        };
        let thread = std::thread::Builder::new()
            .name("cdr-webhook".to_owned())
            .spawn(move || runtime.block_on(run))
            .map_err(file_error)?;
        Ok(Webhooks { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Webhooks {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(true);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The posting of one webhook.
struct Post {
    outbox: Arc<Outbox>,
    client: Client,
    reader: CdrReader,
    connection: Connection,
    manner: Manner,
    last: watch::Receiver<i64>,
    stopped: watch::Receiver<bool>,
    /// Records of a post; less once a server has said that so many are too large.
    batch: usize,
    failures: u32,
}

impl Post {
    async fn run(mut self) {
        loop {
            let pause = match self.turn().await {
                Ok(true) => continue,
                Ok(false) if *self.stopped.borrow() => return,
                Ok(false) => {
                    // Nothing waits: until there is a record, or the end.
                    let cursor = self.outbox.cursor();
                    let mut stopped = self.stopped.clone();
                    tokio::select! {
                        more = self.last.wait_for(|last| *last > cursor) => if more.is_err() { return },
                        _ = stopped.wait_for(|stopped| *stopped) => {}
                    }
                    continue;
                }
                Err(why) => self.failed(&why),
            };
            if *self.stopped.borrow() {
                return;
            }
            let _ = tokio::time::timeout(pause, self.stopped.wait_for(|stopped| *stopped)).await;
        }
    }

    /// Posts the next records. `false` if there are none.
    async fn turn(&mut self) -> Result<bool, String> {
        let cursor = self.outbox.cursor();
        if *self.last.borrow() <= cursor {
            return Ok(false);
        }
        let records = self.reader.arrived_after(cursor, self.batch).map_err(|error| error.to_string())?;
        let Some((last, _)) = records.last() else {
            // The numbers between were given to records that were there already.
            let last = *self.last.borrow();
            self.told(last, 0);
            return Ok(false);
        };
        let body = body(records.iter().map(|(_, record)| record));
        let signature = self.manner.secret.as_deref().map(|secret| signature(secret, &body));
        let headers: Vec<(&str, &str)> =
            signature.iter().map(|value| ("x-strowger-signature", value.as_str())).collect();
        let reply = self.client.post(&self.outbox.url, &headers, body, self.manner.deadline).await;
        match reply {
            Ok(reply) if reply.is_success() => {
                self.told(*last, records.len());
                self.save(*last);
                Ok(true)
            }
            Ok(reply) => {
                if reply.status == 413 {
                    self.batch = (records.len() / 2).max(1);
                }
                Err(format!("status {}", reply.status))
            }
            Err(failed) => Err(failed.to_string()),
        }
    }

    fn told(&mut self, seq: i64, count: usize) {
        self.outbox.cursor.store(seq, Ordering::Relaxed);
        self.outbox.delivered.fetch_add(count as u64, Ordering::Relaxed);
        if core::mem::take(&mut self.failures) > 0 {
            tracing::info!(url = %self.outbox.url, "the webhook takes records again");
        }
    }

    /// A cursor that cannot be saved means that some records come twice after a restart; the next one may succeed.
    fn save(&mut self, seq: i64) {
        if let Err(error) = save_cursor(&self.connection, &self.outbox.url.to_string(), seq) {
            tracing::warn!(url = %self.outbox.url, %error, "the webhook's cursor cannot be saved");
        }
    }

    /// How long to wait before the next try.
    fn failed(&mut self, why: &str) -> Duration {
        self.outbox.failed.fetch_add(1, Ordering::Relaxed);
        if self.failures == 0 {
            tracing::warn!(url = %self.outbox.url, why, "the webhook fails; records wait and are tried again");
        }
        let pause = self.manner.pause.saturating_mul(1 << self.failures.min(16)).min(self.manner.pause_max);
        self.failures = self.failures.saturating_add(1);
        pause
    }
}

/// Records as an array of JSON.
fn body<'a>(records: impl Iterator<Item = &'a Record<'static>>) -> Vec<u8> {
    let mut body = vec![b'['];
    for record in records {
        if body.len() > 1 {
            body.push(b',');
        }
        record.line(&mut body);
    }
    body.extend_from_slice(b"]\n");
    body
}

/// `sha256=` and the HMAC-SHA-256 (RFC 2104) of the body in hexadecimal digits.
pub fn signature(secret: &[u8], body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(body);
    let mut text = "sha256=".to_owned();
    for byte in mac.finalize().into_bytes() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Records of one post.
pub const BATCH_MAX: usize = 100;
/// What a server says to a post is of no interest but its status.
const REPLY_MAX: usize = 64 << 10;
/// How long the saving of a cursor waits for another writer.
const PATIENCE: Duration = Duration::from_secs(1);
