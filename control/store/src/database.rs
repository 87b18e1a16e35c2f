//! The SQLite file of an installation: how it is opened, and the steps by which its tables came to be. Every connection
//! of the engine comes from here; each user has one of its own, so that nobody waits for another's lock in the process.

use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why the database does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file or its folder cannot be had.
    #[error("{path}: {error}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It was made by a later version of the engine.
    #[error(
        "{path}: made by a later version of the engine (tables {found}, known {known}); use that version"
    )]
    TooNew {
        /// Which file.
        path: PathBuf,
        /// Its `user_version`.
        found: i64,
        /// The latest that this engine knows.
        known: usize,
    },
    /// Somebody else holds it; to be tried again.
    #[error("the database is in use by another process")]
    Busy,
    /// The query takes too long; it was ended.
    #[error("the query takes too long; narrow it by time")]
    TooSlow,
    /// Anything else that SQLite says, such as a full disk or a damaged file.
    #[error("database: {0}")]
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy,
            Some(ErrorCode::OperationInterrupted) => StoreError::TooSlow,
            _ => StoreError::Sqlite(error),
        }
    }
}

/// Opens the database for writing, makes it if there is none, and brings its tables up to date. A statement that finds
/// the database locked waits for `patience`.
///
/// # Errors
/// As [`StoreError`] says.
pub(crate) fn open(path: &Path, patience: Duration) -> Result<Connection, StoreError> {
    // Records name people: others have no business in them. SQLite gives the files beside it the same mode.
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
        .map_err(|error| StoreError::File { path: path.to_owned(), error })?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    // Whoever starts first makes the tables; others wait for that at least.
    connection.busy_timeout(patience.max(START_PATIENCE))?;
    // WAL: readers and the writer do not wait for each other. NORMAL: a commit survives the process at once, and the
    // machine from the next checkpoint on; until then the journal of records has what was committed.
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "journal_size_limit", WAL_KEPT)?;
    // Seldom, since the same pages of every index are written again and again.
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    migrate(&mut connection, path)?;
    connection.busy_timeout(patience)?;
    Ok(connection)
}

/// Opens a database that exists, to read it.
///
/// # Errors
/// As [`StoreError`] says.
pub(crate) fn open_to_read(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(START_PATIENCE)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    Ok(connection)
}

/// Takes the steps that this file has not taken yet, each whole or not at all.
fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let version = |connection: &Connection| {
        connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))
    };
    let found = version(connection)?;
    if usize::try_from(found).is_ok_and(|found| found == STEPS.len()) {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    // Another process may have taken them while we waited.
    let found = version(&transaction)?;
    let Some(steps) = usize::try_from(found).ok().and_then(|found| STEPS.get(found..)) else {
        return Err(StoreError::TooNew { path: path.to_owned(), found, known: STEPS.len() });
    };
    for step in steps {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", STEPS.len() as i64)?;
    transaction.commit()?;
    Ok(())
}

/// How the tables came to be; a step is never changed once it was released.
const STEPS: [&str; 3] =
    [include_str!("schema/1.sql"), include_str!("schema/2.sql"), include_str!("schema/3.sql")];

/// At start, and for readers, which only wait where a database is being recovered.
const START_PATIENCE: Duration = Duration::from_secs(5);
/// The WAL is cut to this length after a checkpoint.
const WAL_KEPT: i64 = 16 << 20;
/// The WAL is written into the database when it has so many pages of 4 KiB.
const CHECKPOINT_PAGES: i64 = 4096;
/// Pages that a connection may keep in memory, in KiB.
const CACHE_KIB: i64 = 32 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Folder;

    #[test]
    fn a_database_is_made_once_and_opened_again() {
        let folder = Folder::new("database");
        let path = folder.path("strowger.db");
        for _ in 0..2 {
            let connection = open(&path, Duration::ZERO).unwrap();
            let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
            assert_eq!(usize::try_from(version).unwrap(), STEPS.len());
        }
        assert!(open_to_read(&path).unwrap().execute("delete from cdr", []).is_err());
        let error = open(&folder.path("nowhere/x.db"), Duration::ZERO).unwrap_err().to_string();
        assert!(error.contains("nowhere"), "{error}");
    }

    #[test]
    fn what_is_no_database_of_ours_is_refused() {
        let folder = Folder::new("foreign");
        let path = folder.path("strowger.db");
        std::fs::write(
            &path,
            "this is a text and no database, and long enough to be seen as one\n".repeat(20),
        )
        .unwrap();
        assert!(matches!(open(&path, Duration::ZERO), Err(StoreError::Sqlite(_))));
        let later = folder.path("later.db");
        open(&later, Duration::ZERO).unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(open(&later, Duration::ZERO), Err(StoreError::TooNew { found: 99, .. })));
    }
}
