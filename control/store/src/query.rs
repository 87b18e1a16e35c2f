//! Asking for records: filters, an order, pages. Reads on a connection of its own, so that neither the writer nor
//! signalling notices; a query that takes too long is ended.

use crate::database::{self, StoreError};
use crate::record::Record;
use crate::rows::{self, COLUMNS, whole};
use base::Wall;
use core::fmt;
use core::str::FromStr;
use ledger::CallId;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is asked for: records that every given filter lets pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CdrQuery {
    /// Created at this time or later.
    pub from: Option<Wall>,
    /// Created before this time.
    pub until: Option<Wall>,
    /// Of this trunk.
    pub trunk: Option<String>,
    /// Of this account.
    pub account: Option<String>,
    /// User part of From.
    pub caller: Option<Match>,
    /// User part of the Request-URI.
    pub callee: Option<Match>,
    /// `release_cause` is this word.
    pub cause: Option<String>,
    /// `release_by` is this word.
    pub released_by: Option<String>,
    /// Final status of the leg.
    pub status: Option<u16>,
    /// The policy or limit that refused or cut: its name, or with its rule as records have it.
    pub policy: Option<String>,
    /// Legs of this call.
    pub call: Option<CallId>,
    /// Only those that were answered, or only those that were not.
    pub answered: Option<bool>,
    /// Which come first.
    pub order: Order,
    /// Goes on where an earlier page ended.
    pub after: Option<PageToken>,
    /// Records of a page; 0 is [`PAGE_DEFAULT`], and there are never more than [`PAGE_MAX`].
    pub page_size: usize,
}

/// How a number is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// The whole of it.
    Exactly(String),
    /// How it begins.
    Prefix(String),
}

impl FromStr for Match {
    type Err = core::convert::Infallible;

    /// `+1503*` is a prefix, anything else the whole.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.strip_suffix('*') {
            Some(prefix) => Match::Prefix(prefix.to_owned()),
            None => Match::Exactly(text.to_owned()),
        })
    }
}

/// By time of creation; equal ones in the order of their arrival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The newest first.
    #[default]
    Newest,
    /// The oldest first.
    Oldest,
}

/// Where a page ended. Opaque text outside; belongs to the query that it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageToken {
    created: u64,
    seq: u64,
}

/// The text is no token of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the token that an earlier page ended with")]
pub struct NoPageToken;

impl fmt::Display for PageToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.created, self.seq)
    }
}

impl FromStr for PageToken {
    type Err = NoPageToken;
    fn from_str(text: &str) -> Result<Self, NoPageToken> {
        let number = |text: &str| {
            let hex = (1..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
            if hex { u64::from_str_radix(text, 16).map_err(|_| NoPageToken) } else { Err(NoPageToken) }
        };
        let (created, seq) = text.split_once('-').ok_or(NoPageToken)?;
        Ok(PageToken { created: number(created)?, seq: number(seq)? })
    }
}

/// One page.
#[derive(Clone, Debug, PartialEq)]
pub struct CdrPage {
    /// In the order that was asked for.
    pub rows: Vec<Record<'static>>,
    /// For the next page; none at the end.
    pub next: Option<PageToken>,
}

/// Reads records. May be shared between threads; its calls block while they read, so keep them off threads that must
/// not wait.
#[derive(Debug)]
pub struct CdrReader {
    connections: Vec<Mutex<Connection>>,
    next: AtomicUsize,
}

impl CdrReader {
    /// Opens a database that exists.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub fn open(path: &Path) -> Result<CdrReader, StoreError> {
        let open = || Ok(Mutex::new(database::open_to_read(path)?));
        let connections = (0..READERS).map(|_| open()).collect::<Result<_, StoreError>>()?;
        Ok(CdrReader { connections, next: AtomicUsize::new(0) })
    }

    /// A page of records.
    ///
    /// # Errors
    /// [`StoreError::TooSlow`] after two seconds; others as the database says.
    pub fn query(&self, query: &CdrQuery) -> Result<CdrPage, StoreError> {
        self.with(|connection| {
            let size = match query.page_size {
                0 => PAGE_DEFAULT,
                size => size.min(PAGE_MAX),
            };
            let (direction, beyond) = match query.order {
                Order::Newest => ("desc", "<"),
                Order::Oldest => ("asc", ">"),
            };
            let mut filter = Filter::of(connection, query)?;
            if let Some(token) = query.after {
                let values = [whole(token.created), whole(token.seq)].map(Value::Integer);
                filter.add(&format!("(created, seq) {beyond} (?, ?)"), values);
            }
            let text = format!(
                "select {COLUMNS} from cdr{} order by created {direction}, seq {direction} limit {}",
                filter.text(),
                size + 1
            );
            let mut statement = connection.prepare(&text)?;
            let mut found = Vec::new();
            let mut rows = statement.query(params_from_iter(&filter.values))?;
            while let Some(row) = rows.next()? {
                found.push(rows::read(row)?);
            }
            // One more than asked for says that there is a next page.
            let next = (found.len() > size).then(|| {
                found.truncate(size);
                let (seq, last) = &found[size - 1];
                PageToken { created: last.created.0.0, seq: u64::try_from(*seq).unwrap_or(0) }
            });
            Ok(CdrPage { rows: found.into_iter().map(|(_, record)| record).collect(), next })
        })
    }

    /// How many records there are on all pages.
    ///
    /// # Errors
    /// As [`CdrReader::query`].
    pub fn count(&self, query: &CdrQuery) -> Result<u64, StoreError> {
        self.with(|connection| {
            let filter = Filter::of(connection, query)?;
            let text = format!("select count(*) from cdr{}", filter.text());
            let count: i64 =
                connection.query_row(&text, params_from_iter(&filter.values), |row| row.get(0))?;
            Ok(u64::try_from(count).unwrap_or(0))
        })
    }

    /// Records after this one in the order of their arrival, with their numbers: for those who are told of each.
    pub(crate) fn arrived_after(
        &self,
        seq: i64,
        limit: usize,
    ) -> Result<Vec<(i64, Record<'static>)>, StoreError> {
        self.with(|connection| {
            let text = format!("select {COLUMNS} from cdr where seq > ? order by seq limit ?");
            let mut statement = connection.prepare(&text)?;
            let rows = statement.query_map([seq, whole(limit as u64)], rows::read)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    fn with<T>(&self, read: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        // A free one, or else the turn of one.
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.connections.len();
        let free = self.connections.iter().find_map(|connection| connection.try_lock().ok());
        let mut connection =
            free.unwrap_or_else(|| self.connections[turn].lock().unwrap_or_else(PoisonError::into_inner));
        #[expect(clippy::disallowed_methods, reason = "a shell: the query's own clock")]
        let begin = Instant::now();
        connection.progress_handler(STEPS_BETWEEN, Some(move || begin.elapsed() > QUERY_MAX))?;
        read(&connection)
    }
}

/// The conditions of a query and their values.
#[derive(Debug, Default)]
struct Filter {
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Filter {
    fn of(connection: &Connection, query: &CdrQuery) -> Result<Filter, StoreError> {
        let mut filter = Filter::default();
        let text = |text: &String| Value::Text(text.clone());
        if let Some(from) = query.from {
            filter.add("created >= ?", [Value::Integer(whole(from.0))]);
        }
        if let Some(until) = query.until {
            filter.add("created < ?", [Value::Integer(whole(until.0))]);
        }
        let equal = [
            ("trunk = ?", &query.trunk),
            ("account = ?", &query.account),
            ("release_cause = ?", &query.cause),
            ("+release_by = ?", &query.released_by),
        ];
        for (condition, value) in equal {
            if let Some(value) = value {
                filter.add(condition, [text(value)]);
            }
        }
        if let Some(policy) = &query.policy {
            // By its name, or by name and rule as the record has them.
            let bounds = [policy.clone(), format!("{policy}: "), format!("{policy}:!")];
            filter.add("(policy = ? or (policy >= ? and policy < ?))", bounds.map(Value::Text));
        }
        if let Some(status) = query.status {
            filter.add("+final_status = ?", [Value::Integer(status.into())]);
        }
        if let Some(call) = query.call {
            filter.add("call_id = ?", [Value::Text(call.to_string())]);
        }
        match query.answered {
            Some(true) => filter.add("answered is not null", []),
            Some(false) => filter.add("answered is null", []),
            None => {}
        }
        for (column, number) in [("from_user", &query.caller), ("to_user", &query.callee)] {
            match number {
                Some(Match::Exactly(number)) => filter.add(&format!("{column} = ?"), [text(number)]),
                Some(Match::Prefix(prefix)) if !prefix.is_empty() => {
                    filter.prefix(connection, column, prefix)?;
                }
                Some(Match::Prefix(_)) | None => {}
            }
        }
        Ok(filter)
    }

    /// The index on numbers finds a prefix, but not in the order of time: it serves where it finds few. Where it finds
    /// many, going through time meets enough of them soon.
    fn prefix(&mut self, connection: &Connection, column: &str, prefix: &str) -> Result<(), StoreError> {
        let values = [Value::Text(prefix.to_owned()), Value::Text(after_prefix(prefix))];
        let few = format!(
            "select count(*) from (select 1 from cdr where {column} >= ? and {column} < ? limit {})",
            FEW + 1
        );
        let found: i64 = connection.query_row(&few, params_from_iter(&values), |row| row.get(0))?;
        let plus = if found > FEW { "+" } else { "" };
        self.add(&format!("{plus}{column} >= ? and {plus}{column} < ?"), values);
        Ok(())
    }

    fn add(&mut self, condition: &str, values: impl IntoIterator<Item = Value>) {
        self.conditions.push(condition.to_owned());
        self.values.extend(values);
    }

    fn text(&self) -> String {
        if self.conditions.is_empty() {
            return String::new();
        }
        format!(" where {}", self.conditions.join(" and "))
    }
}

/// The first text that sorts behind all texts with this prefix, as SQLite compares them: by octets.
fn after_prefix(prefix: &str) -> String {
    let mut after = prefix.to_owned();
    // The last code point is the largest that there is; no number contains it.
    after.push(char::MAX);
    after
}

/// Records of a page where nothing is said.
pub const PAGE_DEFAULT: usize = 50;
/// Records of a page at most.
pub const PAGE_MAX: usize = 1000;
/// Queries at once; further ones wait for one another.
const READERS: usize = 2;
/// So many matches of a prefix are sorted rather than searched for.
const FEW: i64 = 2000;
/// A query may take so long.
const QUERY_MAX: Duration = Duration::from_secs(2);
/// SQLite's steps between two looks at the clock: some tens of microseconds.
const STEPS_BETWEEN: i32 = 10_000;
