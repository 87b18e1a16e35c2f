//! The index of recordings: a row each, written while it runs and when it has ended. Files are others' concern.

use crate::database::StoreError;
use crate::keep::Store;
use crate::rows::whole;
use base::{Duration, Wall};
use command::{FileFormat, Layout};
use ledger::{OrderId, RecordingRow, RecordingState};
use rusqlite::{OptionalExtension, Row, params};

/// Which recordings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordingQuery {
    /// Only of this call (or room, by its id).
    pub call: Option<String>,
    /// Only of rooms of this name.
    pub room: Option<String>,
    /// At most so many, the newest first.
    pub limit: usize,
}

impl Store {
    /// Writes rows, in place of those of the same id: all or none.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub fn save_recordings(&self, rows: &[RecordingRow]) -> Result<(), StoreError> {
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        {
            let text = "insert or replace into recording \
                        (id, call, room, file, started, layout, format, state, length, lost, metadata) \
                        values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
            let mut statement = transaction.prepare(text)?;
            for row in rows {
                statement.execute(params![
                    row.id.to_string(),
                    row.id.of.to_string(),
                    row.room,
                    row.file,
                    whole(row.started.0),
                    layout_name(row.layout),
                    format_name(row.format),
                    row.state.name(),
                    micros(row.length),
                    micros(row.lost),
                    row.metadata,
                ])?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// At start: what the earlier run left running has ended with it; how many there were.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub fn interrupt_recordings(&self) -> Result<usize, StoreError> {
        let text = "update recording set state = 'interrupted' where state in ('recording', 'paused')";
        Ok(self.lock().execute(text, [])?)
    }

    /// Recordings, the newest first.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub fn load_recordings(&self, query: &RecordingQuery) -> Result<Vec<RecordingRow>, StoreError> {
        let connection = self.lock();
        let text = format!(
            "select {COLUMNS} from recording where (?1 is null or call = ?1) and (?2 is null or room = ?2) \
             order by started desc, id desc limit ?3"
        );
        let mut statement = connection.prepare(&text)?;
        let rows = statement.query_map(params![query.call, query.room, whole(query.limit as u64)], row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// One recording.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub fn load_recording(&self, id: OrderId) -> Result<Option<RecordingRow>, StoreError> {
        let text = format!("select {COLUMNS} from recording where id = ?");
        Ok(self.lock().query_row(&text, [id.to_string()], row).optional()?)
    }

    /// Forgets a recording; whether there was one.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub fn delete_recording(&self, id: OrderId) -> Result<bool, StoreError> {
        Ok(self.lock().execute("delete from recording where id = ?", [id.to_string()])? > 0)
    }
}

const COLUMNS: &str = "id, room, file, started, layout, format, state, length, lost, metadata";

fn row(row: &Row<'_>) -> Result<RecordingRow, rusqlite::Error> {
    let damaged = |column: usize| {
        rusqlite::Error::InvalidColumnType(column, "recording".to_owned(), rusqlite::types::Type::Text)
    };
    let id: OrderId = row.get::<_, String>(0)?.parse().map_err(|_| damaged(0))?;
    let layout = match row.get::<_, String>(4)?.as_str() {
        "stereo" => Layout::Stereo,
        _ => Layout::Mono,
    };
    let format = match row.get::<_, String>(5)?.as_str() {
        "opus" => FileFormat::OggOpus,
        _ => FileFormat::Wav,
    };
    Ok(RecordingRow {
        id,
        room: row.get(1)?,
        file: row.get(2)?,
        started: Wall(unsigned(row.get(3)?)),
        layout,
        format,
        state: RecordingState::named(&row.get::<_, String>(6)?).ok_or_else(|| damaged(6))?,
        length: Duration::from_micros(unsigned(row.get(7)?)),
        lost: Duration::from_micros(unsigned(row.get(8)?)),
        metadata: row.get(9)?,
    })
}

/// `mono` or `stereo`.
pub fn layout_name(layout: Layout) -> &'static str {
    match layout {
        Layout::Mono => "mono",
        Layout::Stereo => "stereo",
    }
}

/// `wav` or `opus`.
pub fn format_name(format: FileFormat) -> &'static str {
    match format {
        FileFormat::Wav => "wav",
        FileFormat::OggOpus => "opus",
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Folder;
    use ledger::CallIds;

    #[test]
    fn recordings_are_kept_over_a_restart_which_ends_those_that_ran() {
        let folder = Folder::new("recordings");
        let path = folder.path("strowger.db");
        let mut calls = CallIds::new(Wall(1_795_248_116_500_000), 0, 0);
        let (one, two) = (calls.mint(), calls.mint());
        let recording = |of, number, started, state| RecordingRow {
            id: OrderId { of, number },
            room: (number == 2).then(|| "blue".to_owned()),
            file: format!("{of}-{number}.opus"),
            started: Wall(started),
            layout: Layout::Stereo,
            format: FileFormat::OggOpus,
            state,
            length: Duration::from_millis(1_234),
            lost: Duration::ZERO,
            metadata: (number == 1).then(|| "case 7".to_owned()),
        };
        let runs = recording(one, 1, 10, RecordingState::Paused);
        let done = recording(two, 2, 20, RecordingState::Done);
        let store = Store::open(&path).unwrap();
        store.save_recordings(&[recording(one, 1, 10, RecordingState::Recording), done.clone()]).unwrap();
        store.save_recordings(core::slice::from_ref(&runs)).unwrap();
        let all = RecordingQuery { limit: 10, ..RecordingQuery::default() };
        assert_eq!(store.load_recordings(&all).unwrap(), [done.clone(), runs.clone()]);
        let of_one = RecordingQuery { call: Some(one.to_string()), ..all.clone() };
        assert_eq!(store.load_recordings(&of_one).unwrap(), core::slice::from_ref(&runs));
        let blue = RecordingQuery { room: Some("blue".into()), ..all.clone() };
        assert_eq!(store.load_recordings(&blue).unwrap(), core::slice::from_ref(&done));
        let latest = RecordingQuery { limit: 1, ..all.clone() };
        assert_eq!(store.load_recordings(&latest).unwrap(), core::slice::from_ref(&done));
        drop(store);
        let store = Store::open(&path).unwrap();
        assert_eq!((store.interrupt_recordings().unwrap(), store.interrupt_recordings().unwrap()), (1, 0));
        let ended = RecordingRow { state: RecordingState::Interrupted, ..runs };
        assert_eq!(store.load_recording(ended.id).unwrap(), Some(ended.clone()));
        assert!(store.delete_recording(ended.id).unwrap() && !store.delete_recording(ended.id).unwrap());
        assert_eq!(store.load_recording(ended.id).unwrap(), None);
    }
}
