//! Recordings that run, and those whose row is still to be written to the store: a small book that every signalling
//! shard writes into and control empties. It knows files only by name.

use crate::control::OrderId;
use base::{Duration, Wall};
use command::{FileFormat, Layout};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingRow {
    /// Its name; says the call or room.
    pub id: OrderId,
    /// The room's name, if it is one's.
    pub room: Option<String>,
    /// Its file, below the folder of recordings.
    pub file: String,
    /// Since when.
    pub started: Wall,
    /// Channels.
    pub layout: Layout,
    /// Of the file.
    pub format: FileFormat,
    /// Where it stands.
    pub state: RecordingState,
    /// What the file holds; zero until it has ended.
    pub length: Duration,
    /// How much could not be written.
    pub lost: Duration,
    /// What whoever asked for it wants kept beside it (NG `metadata`).
    pub metadata: Option<String>,
}

/// Where a recording stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordingState {
    /// It runs.
    Recording,
    /// Silence is written.
    Paused,
    /// The file is whole.
    Done,
    /// It could not go on; the file holds what came before.
    Failed,
    /// The engine ended before it; the file holds what came before, up to the last second.
    Interrupted,
}

impl RecordingState {
    /// Stable word.
    pub fn name(self) -> &'static str {
        match self {
            RecordingState::Recording => "recording",
            RecordingState::Paused => "paused",
            RecordingState::Done => "done",
            RecordingState::Failed => "failed",
            RecordingState::Interrupted => "interrupted",
        }
    }

    /// The state of that name.
    pub fn named(name: &str) -> Option<RecordingState> {
        use RecordingState::{Done, Failed, Interrupted, Paused, Recording};
        [Recording, Paused, Done, Failed, Interrupted].into_iter().find(|state| state.name() == name)
    }

    /// Whether nothing changes any more.
    pub fn is_over(self) -> bool {
        use RecordingState::{Done, Failed, Interrupted, Paused, Recording};
        match self {
            Recording | Paused => false,
            Done | Failed | Interrupted => true,
        }
    }
}

/// The book.
#[derive(Debug, Default)]
pub struct Recordings {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// With whether the store has this state already.
    rows: BTreeMap<OrderId, (RecordingRow, bool)>,
    forgotten: u64,
}

impl Recordings {
    /// Notes a recording as it stands now.
    pub fn note(&self, row: RecordingRow) {
        let mut inner = self.lock();
        if inner.rows.len() >= ROWS_MAX && !inner.rows.contains_key(&row.id) {
            // The store does not keep up, or cannot write at all: what has ended longest ago is lost from the index.
            let oldest = inner.rows.iter().find(|(_, (row, _))| row.state.is_over()).map(|(id, _)| *id);
            let Some(oldest) = oldest.or_else(|| inner.rows.keys().next().copied()) else { return };
            inner.rows.remove(&oldest);
            inner.forgotten += 1;
        }
        inner.rows.insert(row.id, (row, false));
    }

    /// Changes a recording that is in the book.
    pub fn change(&self, id: OrderId, change: impl FnOnce(&mut RecordingRow)) {
        if let Some((row, saved)) = self.lock().rows.get_mut(&id) {
            change(row);
            *saved = false;
        }
    }

    /// Rows that the store does not have yet; to be called again with what was written by [`Recordings::saved`].
    pub fn unsaved(&self) -> Vec<RecordingRow> {
        let inner = self.lock();
        inner.rows.values().filter(|(_, saved)| !saved).map(|(row, _)| row.clone()).collect()
    }

    /// The store has these now: those that are over leave the book.
    pub fn saved(&self, rows: &[RecordingRow]) {
        let mut inner = self.lock();
        for row in rows {
            let Some((known, saved)) = inner.rows.get_mut(&row.id).filter(|(known, _)| known == row) else {
                continue;
            };
            *saved = true;
            if known.state.is_over() {
                inner.rows.remove(&row.id);
            }
        }
    }

    /// Whether a recording still runs.
    pub fn is_live(&self, id: OrderId) -> bool {
        self.lock().rows.get(&id).is_some_and(|(row, _)| !row.state.is_over())
    }

    /// How many run now.
    pub fn active(&self) -> usize {
        self.lock().rows.values().filter(|(row, _)| !row.state.is_over()).count()
    }

    /// Rows that were lost because the store did not take them.
    pub fn forgotten(&self) -> u64 {
        self.lock().forgotten
    }

    /// A signalling shard has died, and its calls' recordings with it.
    pub fn interrupt_shard(&self, node: u8, shard: usize) {
        for (id, (row, saved)) in &mut self.lock().rows {
            if id.of.node() == node && id.of.shard() == shard && !row.state.is_over() {
                row.state = RecordingState::Interrupted;
                *saved = false;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Recordings that run or wait for the store.
pub const ROWS_MAX: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::CallIds;

    fn row(number: u32, state: RecordingState) -> RecordingRow {
        let id = OrderId { of: CallIds::new(Wall(1_795_248_116_500_000), 0, 1).mint(), number };
        RecordingRow {
            id,
            room: None,
            file: format!("{id}.wav"),
            started: Wall(1),
            layout: Layout::Mono,
            format: FileFormat::Wav,
            state,
            length: Duration::ZERO,
            lost: Duration::ZERO,
            metadata: None,
        }
    }

    #[test]
    fn the_book_forgets_what_the_store_has_and_is_over() {
        let book = Recordings::default();
        let (one, two) = (row(1, RecordingState::Recording), row(2, RecordingState::Recording));
        book.note(one.clone());
        book.note(two.clone());
        assert_eq!((book.unsaved(), book.active()), (vec![one.clone(), two.clone()], 2));
        book.change(one.id, |row| row.state = RecordingState::Done);
        book.saved(&[one.clone(), two.clone()]);
        // What was written of the first is old by now.
        let left = book.unsaved();
        assert_eq!(
            left.iter().map(|row| (row.id.number, row.state)).collect::<Vec<_>>(),
            [(1, RecordingState::Done)]
        );
        assert!(!book.is_live(one.id) && book.is_live(two.id));
        book.saved(&left);
        book.change(one.id, |row| row.state = RecordingState::Failed);
        assert_eq!((book.unsaved(), book.active()), (vec![], 1));
        book.interrupt_shard(0, 1);
        assert_eq!(book.unsaved()[0].state, RecordingState::Interrupted);
    }

    #[test]
    fn the_book_is_bounded_and_says_what_it_lost() {
        let book = Recordings::default();
        for number in 0..ROWS_MAX as u32 + 2 {
            book.note(row(
                number,
                if number == 5 { RecordingState::Done } else { RecordingState::Recording },
            ));
        }
        assert_eq!((book.unsaved().len(), book.forgotten()), (ROWS_MAX, 2));
    }

    #[test]
    fn states_have_names_of_their_own() {
        for state in ["recording", "paused", "done", "failed", "interrupted"] {
            assert_eq!(RecordingState::named(state).map(RecordingState::name), Some(state));
        }
        assert_eq!(RecordingState::named("x"), None);
    }
}
