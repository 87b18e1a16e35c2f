//! The writer of call detail records: one thread, one bounded queue. Signalling hands records over and goes on; the
//! thread writes the journal and the files in whole lines, commits rows in batches, and tries again what a disk refuses.

use crate::append::Appender;
use crate::csv;
use crate::database::StoreError;
use crate::journal::{Journal, Left, left_by, written_already};
use crate::record::{Record, RecordId};
use crate::sink::Sink;
use crate::table::{Keep, Table, Waiting};
use crate::webhook::{Manner, Outbox, WebhookStats, Webhooks};
use base::{Clock, Duration, Mailbox, Wake, Wall};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use http_out::Url;
use ledger::Cdr;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle, Thread};
use tokio::sync::watch;

/// What the writer is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CdrSettings {
    /// The database; the journal stands beside it as `FILE.journal-cdr`.
    pub database: PathBuf,
    /// Where records go besides.
    pub sinks: Vec<Sink>,
    /// Which records stay in the database.
    pub keep: Keep,
    /// How webhooks are posted to.
    pub webhook: Manner,
}

impl CdrSettings {
    /// Records in this database only, for ever.
    pub fn new(database: impl Into<PathBuf>) -> CdrSettings {
        CdrSettings {
            database: database.into(),
            sinks: Vec::new(),
            keep: Keep::default(),
            webhook: Manner::default(),
        }
    }
}

/// The records cannot be written from the start on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another engine holds the file.
    #[error("{path}: another process writes its records there")]
    Busy {
        /// Which file.
        path: PathBuf,
    },
    /// The file cannot be had.
    #[error("{path}: {error}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Two sinks are one file or one address.
    #[error("{0} is named twice")]
    Twice(Sink),
    /// The database cannot be had.
    #[error("{path}: {error}")]
    Database {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        error: StoreError,
    },
}

/// What the start found of an earlier run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Started {
    /// Legs that were up when the earlier run died: their records are written now, with cause `interrupted`.
    pub interrupted: usize,
    /// Bytes of torn last lines that were moved to `FILE.torn`.
    pub torn_bytes: u64,
    /// Lines of the journal that could not be read.
    pub unreadable: usize,
}

/// Figures of the writer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CdrStats {
    /// Records written, to each file once.
    pub written: u64,
    /// Records that wait in the queue now.
    pub queued: u64,
    /// Records that wait for the database now.
    pub uncommitted: u64,
    /// Records or journal entries given up, because the queue or the memory behind a refusing disk was full; must stay 0.
    pub dropped: u64,
    /// Writes that failed and were tried again.
    pub errors: u64,
    /// Legs in the journal now.
    pub open_legs: u64,
}

/// The running writer. Dropping it writes all that was handed over and ends the thread.
#[derive(Debug)]
pub struct CdrWriter {
    handle: CdrHandle,
    thread: Option<JoinHandle<()>>,
    /// Ends after the writer, so that it may tell the last records.
    webhooks: Option<Webhooks>,
}

/// The way to the writer; clones are the same way. No call blocks, but [`CdrHandle::flush`].
#[derive(Clone, Debug)]
pub struct CdrHandle {
    mailbox: Mailbox<Message>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    thread: OnceLock<Thread>,
    stopping: AtomicBool,
    /// Messages that found the queue full.
    refused: AtomicU64,
    lost: AtomicU64,
    written: AtomicU64,
    uncommitted: AtomicU64,
    errors: AtomicU64,
    open_legs: AtomicU64,
    outboxes: Vec<Arc<Outbox>>,
    /// The number of the last record in the database.
    last: watch::Sender<i64>,
}

#[derive(Debug)]
enum Message {
    Opened(Box<Cdr>),
    Ended(Box<Cdr>),
    ShardLost(usize),
    Flush(SyncSender<bool>),
}

struct Unpark(Arc<Shared>);

impl Wake for Unpark {
    fn wake(&self) {
        if let Some(thread) = self.0.thread.get() {
            thread.unpark();
        }
    }
}

impl CdrHandle {
    /// A leg was answered: its record as known now. If the process dies before [`CdrHandle::ended`], the next start
    /// writes it with cause `interrupted`.
    pub fn opened(&self, cdr: Box<Cdr>) {
        self.send(Message::Opened(cdr));
    }

    /// A leg has ended: its record is to be written.
    pub fn ended(&self, cdr: Box<Cdr>) {
        self.send(Message::Ended(cdr));
    }

    /// A signalling shard has died and with it the calls it owned: records of its legs that were up are written with
    /// cause `interrupted`. To be called before the shard's next generation hands over anything.
    pub fn shard_lost(&self, shard: usize) {
        self.send(Message::ShardLost(shard));
    }

    /// Records or journal entries given up; must stay 0.
    pub fn dropped(&self) -> u64 {
        self.stats().dropped
    }

    /// Figures for the metrics page.
    pub fn stats(&self) -> CdrStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CdrStats {
            written: get(&self.shared.written),
            queued: self.mailbox.len() as u64,
            uncommitted: get(&self.shared.uncommitted),
            dropped: get(&self.shared.refused) + get(&self.shared.lost),
            errors: get(&self.shared.errors),
            open_legs: get(&self.shared.open_legs),
        }
    }

    /// Figures of each webhook, in the order of the settings.
    pub fn webhooks(&self) -> Vec<WebhookStats> {
        let last = *self.shared.last.borrow();
        self.shared.outboxes.iter().map(|outbox| outbox.stats(last)).collect()
    }

    /// Waits until all that was handed over before is in the files, in the database and on disk. `false` if it could
    /// not be written in that time. For shutdown and tests: it blocks. Webhooks are not waited for.
    pub fn flush(&self, timeout: Duration) -> bool {
        let (done, answer) = sync_channel(1);
        let mut message = Message::Flush(done);
        let mut waited = Duration::ZERO;
        while let Err(back) = self.mailbox.send(message) {
            if waited >= timeout {
                return false;
            }
            message = back;
            thread::sleep(STEP);
            waited += STEP;
        }
        answer.recv_timeout(timeout.saturating_sub(waited)).unwrap_or(false)
    }

    fn send(&self, message: Message) {
        if self.mailbox.send(message).is_err() {
            self.shared.refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl CdrWriter {
    /// Opens database and files, writes what an earlier run left behind, and starts the threads.
    ///
    /// # Errors
    /// A file cannot be had, or another process holds it.
    pub fn spawn(settings: &CdrSettings, clock: Clock) -> Result<(CdrWriter, Started), StartError> {
        let Opened { files, journal, table, outboxes, started } = Opened::new(settings)?;
        let (last, told) = watch::channel(table.last_seq());
        let database_error = |error| StartError::Database { path: settings.database.clone(), error };
        let webhooks = match outboxes.is_empty() {
            true => None,
            false => Some(
                Webhooks::spawn(&settings.database, &outboxes, &settings.webhook, &told)
                    .map_err(database_error)?,
            ),
        };
        let shared = Arc::new(Shared {
            thread: OnceLock::new(),
            stopping: AtomicBool::new(false),
            refused: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            written: AtomicU64::new(0),
            uncommitted: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            open_legs: AtomicU64::new(0),
            outboxes,
            last,
        });
        let mailbox = Mailbox::new(QUEUE_LEN, Unpark(Arc::clone(&shared)));
        let handle = CdrHandle { mailbox, shared };
        let mut writer = Writer {
            clock,
            handle: handle.clone(),
            files,
            journal,
            table,
            keep: settings.keep,
            line: Vec::new(),
            other: Vec::new(),
            commit_at: None,
            next_tick: Wall(0),
        };
        let thread = thread::Builder::new()
            .name("cdr".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| StartError::File { path: "thread".into(), error })?;
        let _ = handle.shared.thread.set(thread.thread().clone());
        // What was sent before the thread was known has woken nobody.
        thread.thread().unpark();
        Ok((CdrWriter { handle, thread: Some(thread), webhooks }, started))
    }

    /// The way to the writer.
    pub fn handle(&self) -> CdrHandle {
        self.handle.clone()
    }
}

impl Drop for CdrWriter {
    fn drop(&mut self) {
        self.handle.shared.stopping.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
        self.webhooks = None;
    }
}

/// All that is opened at start, with what an earlier run left settled.
struct Opened {
    files: Vec<RecordFile>,
    journal: Journal,
    table: Table,
    outboxes: Vec<Arc<Outbox>>,
    started: Started,
}

/// A file of records.
struct RecordFile {
    file: Appender,
    form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Csv,
}

impl Opened {
    fn new(settings: &CdrSettings) -> Result<Opened, StartError> {
        let sinks = &settings.sinks;
        if let Some(twice) = (1..sinks.len()).find(|n| sinks[..*n].contains(&sinks[*n])) {
            return Err(StartError::Twice(sinks[twice].clone()));
        }
        let mut started = Started::default();
        let (mut files, mut urls) = (Vec::new(), Vec::new());
        for sink in sinks {
            match sink {
                Sink::Jsonl(path) => files.push(RecordFile::open(path, Form::Json, &mut started)?),
                Sink::Csv(path) => files.push(RecordFile::open(path, Form::Csv, &mut started)?),
                Sink::Webhook(url) => urls.push(url.clone()),
            }
        }
        let database_error = |error| StartError::Database { path: settings.database.clone(), error };
        let names: Vec<String> = urls.iter().map(Url::to_string).collect();
        let (mut table, cursors) = Table::open(&settings.database, &names).map_err(database_error)?;
        let outboxes =
            urls.into_iter().zip(cursors).map(|(url, seq)| Arc::new(Outbox::new(url, seq))).collect();
        let path = PathBuf::from(format!("{}.journal-cdr", settings.database.display()));
        let journal_error = |error| start_error(&path, error);
        // Held while it is read, so that a second engine on this database is refused before it writes anything.
        let (old, torn) = Appender::open(&path, &[]).map_err(journal_error)?;
        started.torn_bytes += torn;
        let left = left_by(&path).map_err(journal_error)?;
        started.unreadable = left.unreadable;
        started.interrupted = left.interrupted.len();
        if started.unreadable > 0 {
            tracing::warn!(path = %path.display(), lines = started.unreadable, "journal has lines that cannot be read");
        }
        for file in &mut files {
            file.catch_up(&left)?;
        }
        for record in left.records() {
            table.push(Waiting::Record(Box::new(record.clone())));
            if table.waiting() >= crate::table::COMMIT_MAX && table.commit() == 0 {
                return Err(database_error(StoreError::Busy));
            }
        }
        while table.waiting() > 0 {
            if table.commit() == 0 {
                return Err(database_error(StoreError::Busy));
            }
        }
        if started.interrupted > 0 {
            tracing::warn!(
                legs = started.interrupted,
                "records of legs that an earlier run left up are written"
            );
        }
        table.checkpoint();
        let journal = Journal::begin(&path, &lengths(&files)).map_err(journal_error)?;
        drop(old);
        Ok(Opened { files, journal, table, outboxes, started })
    }
}

impl RecordFile {
    fn open(path: &Path, form: Form, started: &mut Started) -> Result<RecordFile, StartError> {
        let mut header = Vec::new();
        if form == Form::Csv {
            csv::header(&mut header);
        }
        let (file, torn) = Appender::open(path, &header).map_err(|error| start_error(path, error))?;
        if torn > 0 {
            tracing::warn!(path = %path.display(), bytes = torn, "torn last line moved to .torn");
        }
        started.torn_bytes += torn;
        Ok(RecordFile { file, form })
    }

    /// Writes what an earlier run should have written here.
    fn catch_up(&mut self, left: &Left) -> Result<(), StartError> {
        let id_of = match self.form {
            Form::Json => json_id,
            Form::Csv => |line: &[u8]| csv::id_of(line)?.parse().ok(),
        };
        if left.records().next().is_none() {
            return Ok(());
        }
        let written = written_already(self.file.path(), left, id_of).unwrap_or_default();
        let mut line = Vec::new();
        for record in left.records().filter(|record| !written.contains(&record.id)) {
            line.clear();
            match self.form {
                Form::Json => record.line(&mut line),
                Form::Csv => csv::line(record, &mut line),
            }
            self.file.push(&line);
        }
        if !line.is_empty() && !self.file.pump() {
            let path = self.file.path().to_owned();
            return Err(StartError::File { path, error: io::ErrorKind::WriteZero.into() });
        }
        self.file.sync();
        Ok(())
    }
}

fn json_id(line: &[u8]) -> Option<RecordId> {
    /// The one field that is asked for.
    #[derive(serde::Deserialize)]
    struct Id {
        id: RecordId,
    }
    serde_json::from_slice::<Id>(line).ok().map(|found| found.id)
}

fn start_error(path: &Path, error: io::Error) -> StartError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::ResourceBusy => StartError::Busy { path },
        _ => StartError::File { path, error },
    }
}

fn lengths(files: &[RecordFile]) -> BTreeMap<String, u64> {
    files.iter().map(|each| (each.file.path().display().to_string(), each.file.len())).collect()
}

/// The thread's side.
struct Writer {
    clock: Clock,
    handle: CdrHandle,
    files: Vec<RecordFile>,
    journal: Journal,
    table: Table,
    keep: Keep,
    /// The line of JSON in the making, and that of another form.
    line: Vec<u8>,
    other: Vec<u8>,
    /// When what waits for the database is committed.
    commit_at: Option<Wall>,
    next_tick: Wall,
}

impl Writer {
    fn run(&mut self) {
        loop {
            let stopping = self.handle.shared.stopping.load(Ordering::Acquire);
            let busy = self.turn();
            let mailbox = &self.handle.mailbox;
            if busy && !stopping {
                // The first record of a quiet time is written at once; under load the next ones gather for a moment, so
                // that signalling need not wake this thread for each of them.
                thread::sleep(GATHER);
            }
            if !mailbox.is_empty() {
                continue;
            }
            if stopping {
                return self.end();
            }
            if mailbox.sleep() {
                match self.next_work() {
                    Some(after) => thread::park_timeout(after),
                    None => thread::park(),
                }
            }
            self.handle.mailbox.awake();
        }
    }

    /// A batch of messages, what they need of the disk, and once a second the rest. Whether there was any message.
    fn turn(&mut self) -> bool {
        let now = self.now();
        let mut flushes = Vec::new();
        let mut busy = false;
        for _ in 0..BATCH {
            match self.handle.mailbox.receive() {
                Some(Message::Opened(cdr)) => self.journal.open(&Record::from(&*cdr)),
                Some(Message::Ended(cdr)) => self.ended(Waiting::Cdr(cdr)),
                Some(Message::ShardLost(shard)) => self.shard_lost(shard, now),
                Some(Message::Flush(done)) => flushes.push(done),
                None => break,
            }
            busy = true;
        }
        let mut written = self.write();
        if self.commit_due(now) || !flushes.is_empty() {
            written &= self.commit(now);
        }
        if now >= self.next_tick || !flushes.is_empty() {
            self.tick(now);
        }
        self.publish();
        for done in flushes {
            let _ = done.send(written);
        }
        busy
    }

    #[expect(clippy::disallowed_methods, reason = "the writer is a shell: it reads the clock once a turn")]
    fn now(&self) -> Wall {
        self.clock.now().wall
    }

    fn ended(&mut self, waiting: Waiting) {
        let record = waiting.record();
        self.line.clear();
        record.line(&mut self.line);
        for each in &mut self.files {
            match each.form {
                Form::Json => each.file.push(&self.line),
                Form::Csv => {
                    self.other.clear();
                    csv::line(&record, &mut self.other);
                    each.file.push(&self.other)
                }
            };
        }
        let id = record.id;
        drop(record);
        let taken = self.table.push(waiting);
        self.journal.ended(id, &self.line, !taken);
        self.handle.shared.written.fetch_add(1, Ordering::Relaxed);
    }

    fn shard_lost(&mut self, shard: usize, now: Wall) {
        // The records are read back from the file.
        self.journal.pump();
        let lost = self.journal.of_shard(shard, now);
        if !lost.is_empty() {
            let legs = lost.len();
            tracing::warn!(shard, legs, "records of legs that a dead signalling shard left up are written");
        }
        for record in lost {
            self.ended(Waiting::Record(Box::new(record)));
        }
    }

    /// First the journal, so that what is in any file is in the journal until it is everywhere.
    fn write(&mut self) -> bool {
        let mut done = self.journal.pump();
        for each in &mut self.files {
            done &= each.file.pump();
        }
        done
    }

    /// Rows gather, since each commit writes whole pages of every index.
    fn commit_due(&mut self, now: Wall) -> bool {
        match (self.table.waiting(), self.commit_at) {
            (0, _) => false,
            (_, None) => {
                self.commit_at = Some(later(now, COMMIT_EVERY));
                false
            }
            (waiting, Some(at)) => {
                now >= at || (waiting >= crate::table::COMMIT_MAX && !self.table.is_failing())
            }
        }
    }

    /// Commits all that waits. `false` if the database refuses.
    fn commit(&mut self, now: Wall) -> bool {
        loop {
            let count = self.table.commit();
            self.journal.settled(count);
            if count == 0 {
                break;
            }
        }
        self.handle.shared.last.send_if_modified(|last| {
            let new = self.table.last_seq();
            core::mem::replace(last, new) != new
        });
        let done = self.table.waiting() == 0;
        self.commit_at = if done { None } else { Some(later(now, TICK)) };
        done
    }

    fn tick(&mut self, now: Wall) {
        self.next_tick = later(now, TICK);
        let mut moved = false;
        for each in &mut self.files {
            moved |= each.file.follow();
        }
        if moved {
            // The lengths in the journal are of other files now.
            self.commit(now);
        }
        if moved || self.journal.is_long() {
            self.compact();
        }
        self.journal.alive(now);
        self.journal.pump();
        self.journal.sync();
        if self.keep != Keep::default() && !self.table.is_failing() {
            let told = self.handle.shared.outboxes.iter().map(|outbox| outbox.cursor()).min();
            self.table.sweep(&self.keep, told.unwrap_or(i64::MAX), now);
        }
    }

    /// Makes the journal forget what is safe in the files and the database; not while a file lacks some of it, unless
    /// that lasts.
    fn compact(&mut self) {
        let whole = self.files.iter_mut().all(|each| each.file.pump());
        if !whole && !self.journal.is_too_long() {
            return;
        }
        for each in &mut self.files {
            each.file.sync();
        }
        self.table.checkpoint();
        self.journal.compact(&lengths(&self.files));
    }

    /// The last turn is done: leaves nothing for the next start to catch up with.
    fn end(&mut self) {
        let now = self.now();
        if self.write() && self.commit(now) && self.journal.legs() == 0 {
            self.compact();
        } else {
            self.journal.sync();
        }
        self.publish();
    }

    /// When there is something to do without a message.
    fn next_work(&self) -> Option<Duration> {
        let busy = self.journal.legs() > 0
            || self.journal.has_work()
            || self.keep != Keep::default()
            || self.files.iter().any(|each| each.file.has_work());
        match self.table.waiting() {
            0 if busy => Some(TICK),
            0 => None,
            _ if self.table.is_failing() => Some(TICK),
            _ => Some(COMMIT_EVERY),
        }
    }

    fn publish(&self) {
        let (mut errors, mut lost) = self.journal.errors_and_lost();
        for each in &self.files {
            errors += each.file.errors;
            lost += each.file.lost;
        }
        let shared = &self.handle.shared;
        shared.errors.store(errors + self.table.errors, Ordering::Relaxed);
        shared.lost.store(lost + self.table.lost, Ordering::Relaxed);
        shared.open_legs.store(self.journal.legs() as u64, Ordering::Relaxed);
        shared.uncommitted.store(self.table.waiting() as u64, Ordering::Relaxed);
    }
}

fn later(now: Wall, by: Duration) -> Wall {
    Wall(now.0 + u64::try_from(by.as_micros()).unwrap_or(u64::MAX >> 1))
}

/// How long records gather under load.
const GATHER: Duration = Duration::from_millis(50);
/// How long rows gather.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// Messages that wait: 16 bytes each, and minutes of a busy engine.
const QUEUE_LEN: usize = 1 << 16;
/// Messages of one turn: about a megabyte of lines in one write.
const BATCH: usize = 1024;
/// Sign of life, retry, sync, rotation, compaction, and the removal of old rows.
const TICK: Duration = Duration::from_secs(1);
/// Between two tries of a flush that finds the queue full.
const STEP: Duration = Duration::from_millis(1);
