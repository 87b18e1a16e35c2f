//! What else lasts: bans and the versions of the configuration. Plain rows; what they mean is for others.

use crate::database::{self, StoreError};
use crate::query::CdrReader;
use crate::rows::whole;
use base::Wall;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The database of an installation, `engine.store`. May be shared between threads; its calls block while the disk does.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    connection: Mutex<Connection>,
}

/// A source that is shut out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BanRow {
    /// An address or a network, as its owner writes it; one row each.
    pub network: String,
    /// Until when; for ever, if none.
    pub until: Option<Wall>,
    /// Why, for people.
    pub reason: String,
    /// Who banned it: a rule's or a token's name.
    pub who: String,
}

/// A configuration that was in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigVersion {
    /// Counts up from 1.
    pub number: u64,
    /// Since when.
    pub at: Wall,
    /// Who applied it.
    pub who: String,
    /// The whole file.
    pub text: String,
}

impl Store {
    /// Opens the database, makes it if there is none, and brings its tables up to date.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub fn open(path: &Path) -> Result<Store, StoreError> {
        let connection = database::open(path, PATIENCE)?;
        Ok(Store { path: path.to_owned(), connection: Mutex::new(connection) })
    }

    /// Which file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A reader of records.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub fn reader(&self) -> Result<CdrReader, StoreError> {
        CdrReader::open(&self.path)
    }

    /// All bans, those that have passed included, in the order of their networks.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub fn load_bans(&self) -> Result<Vec<BanRow>, StoreError> {
        let connection = self.lock();
        let mut statement =
            connection.prepare("select network, until, reason, who from ban order by network")?;
        let rows = statement.query_map([], |row| {
            let until = row.get::<_, Option<i64>>(1)?.map(wall);
            Ok(BanRow { network: row.get(0)?, until, reason: row.get(2)?, who: row.get(3)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Keeps these bans in place of all earlier ones: all or none. Of two with one network the last counts.
    ///
    /// # Errors
    /// As [`StoreError`] says; then the earlier ones stand.
    pub fn save_bans(&self, bans: &[BanRow]) -> Result<(), StoreError> {
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        transaction.execute("delete from ban", [])?;
        {
            let text = "insert or replace into ban (network, until, reason, who) values (?, ?, ?, ?)";
            let mut statement = transaction.prepare(text)?;
            for ban in bans {
                let until = ban.until.map(|until| whole(until.0));
                statement.execute(params![ban.network, until, ban.reason, ban.who])?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// Keeps a version of the configuration; the oldest beyond [`VERSIONS_KEPT`] are forgotten. A number that is there
    /// already is replaced.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub fn save_version(&self, version: &ConfigVersion) -> Result<(), StoreError> {
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        transaction.execute(
            "insert or replace into config_version (number, at, who, text) values (?, ?, ?, ?)",
            params![whole(version.number), whole(version.at.0), version.who, version.text],
        )?;
        transaction.execute(
            "delete from config_version where number not in \
             (select number from config_version order by number desc limit ?)",
            [whole(VERSIONS_KEPT as u64)],
        )?;
        Ok(transaction.commit()?)
    }

    /// One version of the configuration.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub fn load_version(&self, number: u64) -> Result<Option<ConfigVersion>, StoreError> {
        let text = "select number, at, who, text from config_version where number = ?";
        Ok(self.lock().query_row(text, [whole(number)], version).optional()?)
    }

    /// The latest versions of the configuration, the newest first, at most `limit`.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub fn load_versions(&self, limit: usize) -> Result<Vec<ConfigVersion>, StoreError> {
        let connection = self.lock();
        let text = "select number, at, who, text from config_version order by number desc limit ?";
        let mut statement = connection.prepare(text)?;
        let rows = statement.query_map([whole(limit as u64)], version)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn version(row: &Row<'_>) -> Result<ConfigVersion, rusqlite::Error> {
    let number = u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0);
    Ok(ConfigVersion { number, at: wall(row.get(1)?), who: row.get(2)?, text: row.get(3)? })
}

fn wall(micros: i64) -> Wall {
    Wall(u64::try_from(micros).unwrap_or(0))
}

/// Versions of the configuration that can be gone back to.
pub const VERSIONS_KEPT: usize = 100;
/// How long a call waits while another writes.
const PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Folder;

    #[test]
    fn bans_are_kept_over_a_restart_and_replaced_as_a_whole() {
        let folder = Folder::new("bans");
        let path = folder.path("strowger.db");
        let ban = |network: &str, until: Option<u64>| BanRow {
            network: network.to_owned(),
            until: until.map(Wall),
            reason: "scanner".to_owned(),
            who: "unknown.ban".to_owned(),
        };
        let store = Store::open(&path).unwrap();
        assert_eq!(store.load_bans().unwrap(), []);
        store.save_bans(&[ban("203.0.113.9", Some(7)), ban("192.0.2.0/24", None)]).unwrap();
        drop(store);
        let store = Store::open(&path).unwrap();
        assert_eq!(store.load_bans().unwrap(), [ban("192.0.2.0/24", None), ban("203.0.113.9", Some(7))]);
        store.save_bans(&[ban("2001:db8::/32", Some(1)), ban("2001:db8::/32", Some(2))]).unwrap();
        assert_eq!(store.load_bans().unwrap(), [ban("2001:db8::/32", Some(2))]);
    }

    #[test]
    fn versions_of_the_configuration_are_kept_so_many() {
        let folder = Folder::new("versions");
        let store = Store::open(&folder.path("strowger.db")).unwrap();
        let version = |number: u64| ConfigVersion {
            number,
            at: Wall(number * 1_000_000),
            who: "api".to_owned(),
            text: format!("# {number}\n"),
        };
        for number in 1..=VERSIONS_KEPT as u64 + 5 {
            store.save_version(&version(number)).unwrap();
        }
        assert_eq!(store.load_version(5).unwrap(), None);
        assert_eq!(store.load_version(6).unwrap(), Some(version(6)));
        assert_eq!(store.load_versions(2).unwrap(), [version(105), version(104)]);
        assert_eq!(store.load_versions(1000).unwrap().len(), VERSIONS_KEPT);
    }

    #[test]
    fn while_another_holds_the_database_a_save_is_refused_in_time() {
        let folder = Folder::new("held");
        let path = folder.path("strowger.db");
        let store = Store::open(&path).unwrap();
        store.lock().busy_timeout(Duration::from_millis(10)).unwrap();
        let other = database::open(&path, Duration::ZERO).unwrap();
        other.execute_batch("begin immediate").unwrap();
        assert!(matches!(store.save_bans(&[]), Err(StoreError::Busy)));
        assert_eq!(store.load_bans().unwrap(), [], "reading goes on");
        other.execute_batch("rollback").unwrap();
        store.save_bans(&[]).unwrap();
    }
}
