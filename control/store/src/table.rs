//! Records on their way into SQLite: they gather and are committed together. While the database refuses (locked, disk
//! full) they wait up to a bound. Old ones are removed in small steps.

use crate::database::{self, StoreError};
use crate::record::Record;
use crate::rows;
use base::Wall;
use ledger::Cdr;
use rusqlite::{Connection, OptionalExtension};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Which records the database keeps; the others are removed. Both unlimited unless told otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Those created within this time.
    pub age: Option<Duration>,
    /// The latest so many.
    pub rows: Option<u64>,
}

/// A record that waits.
#[derive(Debug)]
pub(crate) enum Waiting {
    /// As signalling handed it over.
    Cdr(Box<Cdr>),
    /// As it was read back.
    Record(Box<Record<'static>>),
}

impl Waiting {
    /// As others see it.
    pub fn record(&self) -> Cow<'_, Record<'_>> {
        match self {
            Waiting::Cdr(cdr) => Cow::Owned(Record::from(&**cdr)),
            Waiting::Record(record) => Cow::Borrowed(&**record),
        }
    }
}

/// The table of records, for its one writer.
#[derive(Debug)]
pub(crate) struct Table {
    path: PathBuf,
    connection: Connection,
    waiting: VecDeque<Waiting>,
    next_seq: i64,
    /// Rows inserted since old ones were removed last.
    inserted: usize,
    failing: bool,
    /// That was told.
    told: bool,
    /// Commits that failed.
    pub errors: u64,
    /// Records given up because too many waited.
    pub lost: u64,
}

impl Table {
    /// Opens the database, and gives each of these sinks its cursor: one that is new is told from now on, one that is
    /// not named any more is forgotten. The cursors are in the order of the sinks.
    pub fn open(path: &Path, sinks: &[String]) -> Result<(Table, Vec<i64>), StoreError> {
        let mut connection = database::open(path, PATIENCE)?;
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let last: i64 = transaction.query_row(
            "select max(coalesce((select max(seq) from cdr), 0), coalesce((select max(seq) from cursor), 0))",
            [],
            |row| row.get(0),
        )?;
        let mut cursors = Vec::new();
        for sink in sinks {
            let known =
                transaction.query_row("select seq from cursor where sink = ?", [sink], |row| row.get(0));
            cursors.push(known.optional()?.unwrap_or(last));
        }
        transaction.execute("delete from cursor", [])?;
        for (sink, seq) in sinks.iter().zip(&cursors) {
            save_cursor(&transaction, sink, *seq)?;
        }
        transaction.commit()?;
        let table = Table {
            path: path.to_owned(),
            connection,
            waiting: VecDeque::new(),
            next_seq: last + 1,
            inserted: 0,
            failing: false,
            told: false,
            errors: 0,
            lost: 0,
        };
        Ok((table, cursors))
    }

    /// Puts a record behind those that wait; `false` if too many wait: the database will not have it.
    pub fn push(&mut self, record: Waiting) -> bool {
        if self.waiting.len() >= WAITING_MAX {
            self.lost += 1;
            return false;
        }
        self.waiting.push_back(record);
        true
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether the database refused last time.
    pub fn is_failing(&self) -> bool {
        self.failing
    }

    /// The number of the last record that was inserted.
    pub fn last_seq(&self) -> i64 {
        self.next_seq - 1
    }

    /// Commits some of those that wait; how many wait no more. 0 also when the database refuses.
    pub fn commit(&mut self) -> usize {
        let count = self.waiting.len().min(COMMIT_MAX);
        if count == 0 {
            return 0;
        }
        match self.insert(count) {
            Ok(next_seq) => {
                self.inserted += usize::try_from(next_seq - self.next_seq).unwrap_or(0);
                self.next_seq = next_seq;
                self.waiting.drain(..count);
                if self.waiting.is_empty() {
                    self.waiting.shrink_to(COMMIT_MAX);
                }
                self.failing = false;
                if core::mem::take(&mut self.told) {
                    tracing::info!(path = %self.path.display(), "the database takes records again");
                }
                count
            }
            Err(error) => {
                self.failed(&error);
                0
            }
        }
    }

    fn insert(&mut self, count: usize) -> Result<i64, StoreError> {
        let transaction =
            self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let mut seq = self.next_seq;
        {
            let mut statement = transaction.prepare(&rows::insert_text())?;
            for waiting in self.waiting.iter().take(count) {
                seq += i64::from(rows::insert(&mut statement, seq, &waiting.record())?);
            }
        }
        transaction.commit()?;
        Ok(seq)
    }

    fn failed(&mut self, error: &StoreError) {
        self.errors += 1;
        let is_first = !core::mem::replace(&mut self.failing, true);
        // Another connection of ours may hold it for a moment: an error is what lasts.
        if !self.told && !(is_first && matches!(error, StoreError::Busy)) {
            self.told = true;
            let path = self.path.display();
            tracing::error!(%path, %error, "the database refuses records; they wait and are tried again each second");
        }
    }

    /// Makes what was committed safe from the machine's crash. `false` if that failed or a reader stood in the way of
    /// a part.
    pub fn checkpoint(&mut self) -> bool {
        let done = self.connection.query_row("pragma wal_checkpoint(passive)", [], |row| {
            Ok(row.get::<_, i64>(0)? == 0 && row.get::<_, i64>(1)? == row.get::<_, i64>(2)?)
        });
        done.unwrap_or(false)
    }

    /// Removes some of the records that are not to be kept; those after `told` must first be told to a webhook.
    pub fn sweep(&mut self, keep: &Keep, told: i64, now: Wall) {
        let steps = SWEEP_STEP.max(2 * core::mem::take(&mut self.inserted));
        if let Err(error) = self.remove(keep, told, now, steps) {
            self.failed(&error);
        }
    }

    fn remove(&mut self, keep: &Keep, told: i64, now: Wall, steps: usize) -> Result<(), StoreError> {
        let steps = rows::whole(steps as u64);
        if let Some(age) = keep.age {
            let before = now.0.saturating_sub(u64::try_from(age.as_micros()).unwrap_or(u64::MAX));
            self.connection.execute(
                "delete from cdr where seq in \
                 (select seq from cdr where created < ?1 and +seq <= ?2 order by created limit ?3)",
                [rows::whole(before), told, steps],
            )?;
        }
        if let Some(rows) = keep.rows {
            let last = self.last_seq().saturating_sub(rows::whole(rows)).min(told);
            self.connection.execute(
                "delete from cdr where seq in (select seq from cdr where seq <= ?1 order by seq limit ?2)",
                [last, steps],
            )?;
        }
        Ok(())
    }
}

/// All records up to `seq` were told to this sink.
pub(crate) fn save_cursor(connection: &Connection, sink: &str, seq: i64) -> Result<(), StoreError> {
    let text = "insert into cursor (sink, seq) values (?1, ?2) on conflict (sink) do update set seq = ?2";
    connection.execute(text, (sink, seq))?;
    Ok(())
}

/// Records that wait for a database at most, about a kilobyte each; beyond that it will not have them.
pub(crate) const WAITING_MAX: usize = 50_000;
/// Records of one commit: some ten milliseconds of work.
pub(crate) const COMMIT_MAX: usize = 2048;
/// How long the writer waits for somebody who writes to the same database.
const PATIENCE: Duration = Duration::from_millis(50);
/// Records removed in one step at most, unless more came in.
const SWEEP_STEP: usize = 500;
