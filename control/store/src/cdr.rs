//! The writer of call detail records: one thread, one bounded queue. Signalling hands records over and goes on; the
//! thread writes whole lines in batches, keeps the journal of legs that are up, and tries again what a disk refuses.

use crate::append::Appender;
use crate::journal::{Journal, LegKey, left_by, written_already};
use crate::record::Record;
use base::{Clock, Duration, Mailbox, Wake, Wall};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use ledger::Cdr;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle, Thread};

/// Where records go: an entry of `engine.cdr`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    /// `jsonl:PATH`: one line of JSON a record.
    Jsonl(PathBuf),
}

/// The text names no sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected \"jsonl:PATH\"")]
pub struct SinkError;

impl FromStr for Sink {
    type Err = SinkError;
    fn from_str(text: &str) -> Result<Self, SinkError> {
        match text.split_once(':') {
            Some(("jsonl", path)) if !path.is_empty() => Ok(Sink::Jsonl(path.into())),
            _ => Err(SinkError),
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
    /// Records written, to each sink once.
    pub written: u64,
    /// Records that wait in the queue now.
    pub queued: u64,
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
}

/// The way to the writer; clones are the same way. No call blocks, but [`CdrHandle::flush`].
#[derive(Clone, Debug)]
pub struct CdrHandle {
    mailbox: Mailbox<Message>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    thread: OnceLock<Thread>,
    stopping: AtomicBool,
    /// Messages that found the queue full.
    refused: AtomicU64,
    lost: AtomicU64,
    written: AtomicU64,
    errors: AtomicU64,
    open_legs: AtomicU64,
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
    pub fn opened(&self, cdr: &Cdr) {
        self.send(Message::Opened(Box::new(cdr.clone())));
    }

    /// A leg has ended: its record is to be written.
    pub fn ended(&self, cdr: Cdr) {
        self.send(Message::Ended(Box::new(cdr)));
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
            dropped: get(&self.shared.refused) + get(&self.shared.lost),
            errors: get(&self.shared.errors),
            open_legs: get(&self.shared.open_legs),
        }
    }

    /// Waits until all that was handed over before is in the files and on disk. `false` if it could not be written in
    /// that time. For shutdown and tests: it blocks.
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
    /// Opens the files, writes what an earlier run left behind, and starts the thread. The journal stands beside the
    /// first file, as `FILE.open`. Without sinks records vanish.
    ///
    /// # Errors
    /// A file cannot be had, or another process holds it.
    pub fn spawn(sinks: &[Sink], clock: Clock) -> Result<(CdrWriter, Started), StartError> {
        let (files, journal, started) = open(sinks)?;
        let shared = Arc::new(Shared::default());
        let mailbox = Mailbox::new(QUEUE_LEN, Unpark(Arc::clone(&shared)));
        let handle = CdrHandle { mailbox, shared };
        let mut writer = Writer {
            clock,
            handle: handle.clone(),
            files,
            journal,
            closing: BTreeSet::new(),
            next_tick: Wall(0),
        };
        let thread = thread::Builder::new()
            .name("cdr".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| StartError::File { path: "thread".into(), error })?;
        let _ = handle.shared.thread.set(thread.thread().clone());
        // What was sent before the thread was known has woken nobody.
        thread.thread().unpark();
        Ok((CdrWriter { handle, thread: Some(thread) }, started))
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
    }
}

/// Opens files and journal and settles what an earlier run left.
fn open(sinks: &[Sink]) -> Result<(Vec<Appender>, Option<Journal>, Started), StartError> {
    let mut started = Started::default();
    let mut files = Vec::new();
    for Sink::Jsonl(path) in sinks {
        let (file, torn) = Appender::open(path).map_err(|error| start_error(path, error))?;
        if torn > 0 {
            tracing::warn!(path = %path.display(), bytes = torn, "torn last line moved to .torn");
        }
        started.torn_bytes += torn;
        files.push(file);
    }
    let Some(first) = files.first() else { return Ok((files, None, started)) };
    let path = PathBuf::from(format!("{}.open", first.path().display()));
    let journal_error = |error| start_error(&path, error);
    let left = left_by(&path).map_err(journal_error)?;
    started.unreadable = left.unreadable;
    started.interrupted = left.records.len();
    if started.unreadable > 0 {
        tracing::warn!(path = %path.display(), lines = started.unreadable, "journal has lines that cannot be read");
    }
    if !left.records.is_empty() {
        for file in &mut files {
            // Pipes and terminals cannot be read back.
            let written = written_already(file.path(), &left).unwrap_or_default();
            let mut line = Vec::new();
            for record in left.records.iter().filter(|record| !written.contains(&record.id)) {
                line.clear();
                record.line(&mut line);
                file.push(&line);
            }
            if !file.pump() {
                let path = file.path().to_owned();
                return Err(StartError::File { path, error: io::ErrorKind::WriteZero.into() });
            }
            file.sync();
        }
        tracing::warn!(legs = left.records.len(), "records of legs that an earlier run left up are written");
    }
    let journal = Journal::begin(&path, &lengths(&files)).map_err(journal_error)?;
    Ok((files, Some(journal), started))
}

fn start_error(path: &Path, error: io::Error) -> StartError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::ResourceBusy => StartError::Busy { path },
        _ => StartError::File { path, error },
    }
}

fn lengths(files: &[Appender]) -> BTreeMap<String, u64> {
    files.iter().map(|file| (file.path().display().to_string(), file.len())).collect()
}

/// The thread's side.
struct Writer {
    clock: Clock,
    handle: CdrHandle,
    files: Vec<Appender>,
    journal: Option<Journal>,
    /// Legs whose records are on their way into the files; the journal is told when they are there.
    closing: BTreeSet<LegKey>,
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
                return self.files.iter_mut().for_each(Appender::sync);
            }
            if mailbox.sleep() {
                if self.has_work() { thread::park_timeout(TICK) } else { thread::park() }
            }
            self.handle.mailbox.awake();
        }
    }

    /// A batch of messages, what they need of the disk, and once a second the rest. Whether there was any message.
    #[expect(clippy::disallowed_methods, reason = "the writer is a shell: it reads the clock once a turn")]
    fn turn(&mut self) -> bool {
        let now = self.clock.now().wall;
        let mut line = Vec::new();
        let mut waiting = Vec::new();
        let mut busy = false;
        for _ in 0..BATCH {
            match self.handle.mailbox.receive() {
                Some(Message::Opened(cdr)) => {
                    if let Some(journal) = &mut self.journal {
                        journal.open(&cdr, now);
                    }
                }
                Some(Message::Ended(cdr)) => {
                    line.clear();
                    Record::from(&*cdr).line(&mut line);
                    self.put((cdr.call, cdr.leg), &line);
                }
                Some(Message::ShardLost(shard)) => self.shard_lost(shard, now),
                Some(Message::Flush(done)) => waiting.push(done),
                None => break,
            }
            busy = true;
        }
        let written = self.write();
        if now >= self.next_tick || !waiting.is_empty() {
            self.tick(now);
        }
        for done in waiting {
            let _ = done.send(written);
        }
        self.publish();
        busy
    }

    fn put(&mut self, key: LegKey, line: &[u8]) {
        for file in &mut self.files {
            file.push(line);
        }
        if self.journal.as_ref().is_some_and(|journal| journal.holds(key)) {
            self.closing.insert(key);
        }
        self.handle.shared.written.fetch_add(1, Ordering::Relaxed);
    }

    fn shard_lost(&mut self, shard: usize, now: Wall) {
        let Some(journal) = &mut self.journal else { return };
        // The records are read back from the file.
        journal.pump();
        let lost = journal.of_shard(shard, now);
        if !lost.is_empty() {
            tracing::warn!(
                shard,
                legs = lost.len(),
                "records of legs that a dead signalling shard left up are written"
            );
        }
        for (key, record) in lost {
            if !self.closing.contains(&key) {
                let mut line = Vec::new();
                record.line(&mut line);
                self.put(key, &line);
            }
        }
    }

    /// Journal, records, journal: a leg leaves the journal only after its record is in every file.
    fn write(&mut self) -> bool {
        let opened = self.journal.as_mut().is_none_or(Journal::pump);
        let mut done = true;
        for file in &mut self.files {
            done &= file.pump();
        }
        let Some(journal) = &mut self.journal else { return done };
        if done {
            for key in core::mem::take(&mut self.closing) {
                journal.close(key);
            }
        }
        journal.pump() && opened && done
    }

    fn tick(&mut self, now: Wall) {
        self.next_tick = Wall(now.0 + TICK.as_micros() as u64);
        let mut moved = false;
        for file in &mut self.files {
            moved |= file.follow();
            file.sync();
        }
        let files = lengths(&self.files);
        if let Some(journal) = &mut self.journal {
            journal.alive(now);
            // The lengths are true only when no record is half-way; a rotation makes the old ones wrong at once.
            if self.closing.is_empty() {
                journal.compact(&files, moved);
            }
            journal.pump();
        }
    }

    fn has_work(&self) -> bool {
        self.journal.as_ref().is_some_and(|journal| journal.legs() > 0)
            || self.files.iter().any(Appender::has_work)
    }

    fn publish(&self) {
        let (mut errors, mut lost) = self.journal.as_ref().map_or((0, 0), Journal::errors_and_lost);
        for file in &self.files {
            errors += file.errors;
            lost += file.lost;
        }
        let shared = &self.handle.shared;
        shared.errors.store(errors, Ordering::Relaxed);
        shared.lost.store(lost, Ordering::Relaxed);
        let legs = self.journal.as_ref().map_or(0, Journal::legs);
        shared.open_legs.store(legs as u64, Ordering::Relaxed);
    }
}

/// How long records gather under load.
const GATHER: Duration = Duration::from_millis(5);

/// Messages that wait: 16 bytes each, and minutes of a busy engine.
const QUEUE_LEN: usize = 1 << 16;
/// Messages of one turn: about a megabyte of lines in one write.
const BATCH: usize = 1024;
/// Sign of life, retry, sync, rotation and compaction.
const TICK: Duration = Duration::from_secs(1);
/// Between two tries of a flush that finds the queue full.
const STEP: Duration = Duration::from_millis(1);

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use ledger::{CallId, Direction, ReleasedBy};
    use std::fs;
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    #[test]
    fn sinks_are_named_by_their_kind() {
        assert_eq!("jsonl:a:b.jsonl".parse(), Ok(Sink::Jsonl("a:b.jsonl".into())));
        for bad in ["", "jsonl:", "cdr.jsonl", "csv:x"] {
            assert_eq!(bad.parse::<Sink>(), Err(SinkError), "{bad}");
        }
    }

    #[test]
    fn records_of_many_threads_are_all_written_and_dropping_the_writer_loses_none() {
        let folder = Folder::new("threads");
        let (writer, started) = CdrWriter::spawn(&folder.sinks(2), Clock::start()).unwrap();
        assert_eq!(started, Started::default());
        thread::scope(|scope| {
            for thread in 0..4 {
                let handle = writer.handle();
                scope.spawn(move || {
                    for n in 0..500 {
                        let cdr = a_cdr(thread * 1000 + n, 0);
                        handle.opened(&cdr);
                        handle.ended(cdr);
                    }
                });
            }
        });
        let handle = writer.handle();
        drop(writer);
        assert_eq!((handle.stats().written, handle.stats().open_legs, handle.dropped()), (2000, 0, 0));
        for n in 0..2 {
            let ids: BTreeSet<String> = folder.records(n).into_iter().map(|record| record.id).collect();
            assert_eq!(ids.len(), 2000);
        }
        let (_, started) = CdrWriter::spawn(&folder.sinks(2), Clock::start()).unwrap();
        assert_eq!(started, Started::default(), "a run that ended well leaves nothing");
    }

    #[test]
    fn a_full_disk_loses_nothing_and_never_blocks_the_sender() {
        let folder = Folder::new("refused");
        let sinks = [folder.sinks(1).remove(0), Sink::Jsonl("/dev/full".into())];
        let (writer, _) = CdrWriter::spawn(&sinks, Clock::start()).unwrap();
        let (handle, cdr) = (writer.handle(), a_cdr(1, 0));
        handle.opened(&cdr);
        handle.ended(cdr);
        assert!(!handle.flush(Duration::from_secs(10)), "one sink has not taken it");
        let stats = handle.stats();
        assert!(stats.errors > 0 && stats.open_legs == 1 && stats.dropped == 0, "{stats:?}");
        assert_eq!(folder.records(0).len(), 1);
    }

    #[test]
    fn the_legs_of_a_dead_shard_are_recorded_as_interrupted() {
        let folder = Folder::new("shard");
        let (writer, _) = CdrWriter::spawn(&folder.sinks(1), Clock::start()).unwrap();
        let handle = writer.handle();
        let (lost, kept) = (a_cdr(1, 0), a_cdr(1 << 32 | 1, 0));
        assert_eq!((lost.call.shard(), kept.call.shard()), (0, 1));
        handle.opened(&lost);
        handle.opened(&kept);
        handle.shard_lost(0);
        handle.shard_lost(0);
        assert!(handle.flush(Duration::from_secs(10)));
        let records = folder.records(0);
        assert_eq!(records.len(), 1);
        assert_eq!((records[0].id.clone(), records[0].release_cause.as_str()), (lost.id(), "interrupted"));
        assert_eq!(handle.stats().open_legs, 1);
    }

    #[test]
    fn a_second_engine_on_the_same_records_is_refused() {
        let folder = Folder::new("second");
        let (_writer, _) = CdrWriter::spawn(&folder.sinks(1), Clock::start()).unwrap();
        let error = CdrWriter::spawn(&folder.sinks(1), Clock::start()).unwrap_err();
        assert!(matches!(error, StartError::Busy { .. }), "{error}");
    }

    /// The test is its own child: with the folder in its environment it writes records until it is killed, and says
    /// after each flush how far it is.
    #[test]
    fn kill_nine_loses_no_record_that_was_handed_over() {
        const FOLDER: &str = "STROWGER_STORE_CHILD";
        const FIRST: &str = "STROWGER_STORE_FIRST";
        if let (Ok(folder), Ok(first)) = (std::env::var(FOLDER), std::env::var(FIRST)) {
            write_until_killed(&folder, first.parse().unwrap());
        }
        let folder = Folder::new("kill");
        let rounds = 4;
        let mut reached = Vec::new();
        for round in 0..rounds {
            let first = round * 10_000_000;
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "cdr::tests::kill_nine_loses_no_record_that_was_handed_over",
                    "--nocapture",
                ])
                .env(FOLDER, folder.root())
                .env(FIRST, first.to_string())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // After some progress it is killed wherever it happens to be.
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let at: u128 = lines
                .filter_map(|line| line.unwrap().strip_prefix("reached ")?.parse().ok())
                .nth(5 + round as usize)
                .expect("the child goes on until it is killed");
            child.kill().unwrap();
            child.wait().unwrap();
            reached.push((first, at));
        }
        let (writer, started) = CdrWriter::spawn(&folder.sinks(1), Clock::start()).unwrap();
        drop(writer);
        assert!(started.interrupted > 0 && started.unreadable == 0, "{started:?}");
        let mut causes = BTreeMap::new();
        for record in folder.records(0) {
            assert_eq!(causes.insert(record.id.clone(), record.release_cause), None, "{} twice", record.id);
        }
        for (first, at) in reached {
            for n in first..at {
                let leg = |leg: u16| causes.get(&format!("{n:024x}-{leg}")).map(String::as_str);
                assert_eq!(leg(0), Some("normal"), "call {n}");
                // Leg 1 of every hundredth call was still up.
                assert_eq!(leg(1), (n % 100 == 0).then_some("interrupted"), "call {n}");
            }
        }
    }

    #[expect(clippy::print_stdout, reason = "the parent reads it")]
    fn write_until_killed(folder: &str, first: u128) -> ! {
        let sink = Sink::Jsonl(PathBuf::from(folder).join("cdr0.jsonl"));
        let (writer, _) = CdrWriter::spawn(&[sink], Clock::start()).unwrap();
        let handle = writer.handle();
        for n in first.. {
            if n % 100 == 0 {
                handle.opened(&a_cdr(n, 1));
            }
            let cdr = a_cdr(n, 0);
            handle.opened(&cdr);
            handle.ended(cdr);
            if n % 500 == 499 && handle.flush(Duration::from_secs(30)) {
                println!("reached {}", n + 1);
            }
        }
        unreachable!("it is killed before")
    }

    /// A folder of its own for each test, removed with it.
    pub(crate) struct Folder(PathBuf);

    impl Folder {
        pub(crate) fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("strowger-store-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        pub(crate) fn root(&self) -> &Path {
            &self.0
        }

        pub(crate) fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        fn sinks(&self, n: usize) -> Vec<Sink> {
            (0..n).map(|n| Sink::Jsonl(self.path(&format!("cdr{n}.jsonl")))).collect()
        }

        fn records(&self, n: usize) -> Vec<Record> {
            let text = fs::read_to_string(self.path(&format!("cdr{n}.jsonl"))).unwrap();
            assert!(text.is_empty() || text.ends_with('\n'));
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    pub(crate) fn a_cdr(call: u128, leg: u16) -> Cdr {
        let call: CallId = format!("{call:024x}").parse().unwrap();
        let created = Wall(1_795_248_116_500_000);
        Cdr {
            call,
            leg,
            direction: Direction::In,
            trunk: Some("pbx".into()),
            route: Some("us".into()),
            sip_call_id: "abc@example".into(),
            from_user: "2001".into(),
            from_name: "Ann".into(),
            from_header: "\"Ann\" <sip:2001@example>;tag=1".into(),
            to_user: "+15035550100".into(),
            to_host: "example".into(),
            to_uri: "sip:+15035550100@example".into(),
            local: Some("192.0.2.1:5060".parse().unwrap()),
            remote: Some("[2001:db8::1]:5060".parse().unwrap()),
            created,
            progress: Some(Wall(created.0 + 1_000_000)),
            progress_status: Some(180),
            answered: Some(Wall(created.0 + 4_000_000)),
            final_status: Some(200),
            final_reason: "OK".into(),
            ended: Wall(created.0 + 34_000_000),
            post_dial_delay: Some(Duration::from_secs(1)),
            duration: Duration::from_secs(30),
            released_by: ReleasedBy::Caller,
            release_cause: "normal".into(),
            tags: Vec::new(),
            quality: None,
        }
    }
}
