//! The journal of legs that are up (`<cdr file>.open`): a record when a leg is answered, a mark when it has ended, a sign
//! of life each second. After a crash it says whose records are missing. Append-only, made small again when most of it
//! is past.

use crate::append::{Appender, each_line};
use crate::record::Record;
use base::Wall;
use ledger::{CallId, Cdr};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A leg's name in the journal.
pub type LegKey = (CallId, u16);

/// The journal of this run.
#[derive(Debug)]
pub struct Journal {
    file: Appender,
    /// Legs that are up, and where their lines stand: the text itself stays on disk.
    open: BTreeMap<LegKey, Span>,
    /// Bytes of those lines.
    live: u64,
    /// Compaction is tried at this length.
    compact_at: u64,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    at: u64,
    len: u32,
}

/// One line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// Length of each CDR file when the journal was begun: what stands before it concerns no leg of this journal.
    Files(BTreeMap<String, u64>),
    /// A leg was answered.
    Open(Box<Opened>),
    /// The records of this leg are written.
    Close(String),
    /// The engine lived at this time.
    Alive(u64),
}

#[derive(Serialize, Deserialize)]
struct Opened {
    record: Record,
    answered_us: Option<u64>,
    at_us: u64,
}

/// What the journal of a run that died tells.
#[derive(Debug, Default)]
pub struct Left {
    /// Records of legs that were up, as they are to be written.
    pub records: Vec<Record>,
    /// From where on each CDR file may hold one of them already.
    pub files: BTreeMap<String, u64>,
    /// Lines that could not be read.
    pub unreadable: usize,
}

/// The journal may have this length before anything is done about it.
const COMPACT_MIN: u64 = 1 << 20;

impl Journal {
    /// Begins an empty journal in place of an older one.
    ///
    /// # Errors
    /// As the system says.
    pub fn begin(path: &Path, files: &BTreeMap<String, u64>) -> io::Result<Journal> {
        let file = replace(path, files, &[])?;
        Ok(Journal { file, open: BTreeMap::new(), live: 0, compact_at: COMPACT_MIN })
    }

    /// A leg is up.
    pub fn open(&mut self, cdr: &Cdr, now: Wall) {
        let opened =
            Opened { record: Record::from(cdr), answered_us: cdr.answered.map(|at| at.0), at_us: now.0 };
        let text = line(&Line::Open(Box::new(opened)));
        let span = Span { at: self.file.len(), len: u32::try_from(text.len()).unwrap_or(u32::MAX) };
        if self.file.push(&text) {
            self.live += u64::from(span.len);
            if let Some(before) = self.open.insert((cdr.call, cdr.leg), span) {
                self.live -= u64::from(before.len);
            }
        }
    }

    /// Whether the leg is up, as far as the journal knows.
    pub fn holds(&self, key: LegKey) -> bool {
        self.open.contains_key(&key)
    }

    /// How many legs are up.
    pub fn legs(&self) -> usize {
        self.open.len()
    }

    /// The leg's record is safe.
    pub fn close(&mut self, key: LegKey) {
        if let Some(span) = self.open.remove(&key) {
            self.live -= u64::from(span.len);
            self.file.push(&line(&Line::Close(format!("{}-{}", key.0, key.1))));
        }
    }

    /// Says that the engine lives, while a leg is up.
    pub fn alive(&mut self, now: Wall) {
        if !self.open.is_empty() {
            self.file.push(&line(&Line::Alive(now.0)));
        }
    }

    /// Records of the legs of a signalling shard that has died. All must have been pumped.
    pub fn of_shard(&self, shard: usize, now: Wall) -> Vec<(LegKey, Record)> {
        let of_shard = self.open.iter().filter(|((call, _), _)| call.shard() == shard);
        of_shard
            .filter_map(|(key, span)| {
                let text = self.file.read(span.at, span.len as usize).ok()?;
                let Ok(Line::Open(opened)) = serde_json::from_slice(&text) else { return None };
                let mut record = opened.record;
                record.interrupt(opened.answered_us.map(Wall), now);
                Some((*key, record))
            })
            .collect()
    }

    /// Gives the kernel all that waits. `true` when nothing waits.
    pub fn pump(&mut self) -> bool {
        self.file.pump()
    }

    /// Makes the journal small again if most of it is past, or if it has to be (`now`).
    pub fn compact(&mut self, files: &BTreeMap<String, u64>, now: bool) {
        if !now && self.file.len() < self.compact_at || !self.file.pump() {
            return;
        }
        match self.rewrite(files) {
            Ok(()) => {}
            Err(error) => {
                let path = self.file.path().display();
                tracing::error!(%path, %error, "journal cannot be made small; it grows on");
            }
        }
        self.compact_at = self.file.len().max(4 * self.live) + COMPACT_MIN;
    }

    fn rewrite(&mut self, files: &BTreeMap<String, u64>) -> io::Result<()> {
        let mut lines = Vec::new();
        let mut open = BTreeMap::new();
        for (key, span) in &self.open {
            let text = self.file.read(span.at, span.len as usize)?;
            open.insert(*key, Span { at: lines.len() as u64, len: span.len });
            lines.extend_from_slice(&text);
        }
        let file = replace(self.file.path(), files, &lines)?;
        let shift = file.len() - lines.len() as u64;
        for span in open.values_mut() {
            span.at += shift;
        }
        let old = core::mem::replace(&mut self.file, file);
        (self.file.errors, self.file.lost, self.open) = (old.errors, old.lost, open);
        Ok(())
    }

    /// Writes that failed, and lines that were given up.
    pub fn errors_and_lost(&self) -> (u64, u64) {
        (self.file.errors, self.file.lost)
    }
}

/// Writes a new journal aside and puts it in the old one's place, so that there is always a whole one.
fn replace(path: &Path, files: &BTreeMap<String, u64>, lines: &[u8]) -> io::Result<Appender> {
    let aside = PathBuf::from(format!("{}.new", path.display()));
    let mut file = File::create(&aside)?;
    file.write_all(&line(&Line::Files(files.clone())))?;
    file.write_all(lines)?;
    file.sync_data()?;
    drop(file);
    fs::rename(&aside, path)?;
    Ok(Appender::open(path)?.0)
}

fn line(line: &Line) -> Vec<u8> {
    let mut text = serde_json::to_vec(line).expect("a line is plain data");
    text.push(b'\n');
    text
}

/// Reads the journal of a run that has ended; one that ended well leaves no record.
///
/// # Errors
/// As the system says. A journal that does not exist is an empty one.
pub fn left_by(path: &Path) -> io::Result<Left> {
    let (mut left, mut open, mut last) = (Left::default(), BTreeMap::new(), 0);
    let read = each_line(path, 0, |text| match serde_json::from_slice(text) {
        Ok(Line::Files(files)) => left.files = files,
        Ok(Line::Open(opened)) => {
            last = last.max(opened.at_us);
            open.insert(opened.record.id.clone(), opened);
        }
        Ok(Line::Close(id)) => drop(open.remove(&id)),
        Ok(Line::Alive(at)) => last = last.max(at),
        Err(_) => left.unreadable += 1,
    });
    match read {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) | Ok(()) => {}
    }
    for mut opened in open.into_values() {
        opened.record.interrupt(opened.answered_us.map(Wall), Wall(last));
        left.records.push(opened.record);
    }
    Ok(left)
}

/// Which of these records a CDR file holds already: the run died between writing them and saying so.
///
/// # Errors
/// As the system says.
pub fn written_already(path: &Path, left: &Left) -> io::Result<BTreeSet<String>> {
    /// The one field that is asked for.
    #[derive(Deserialize)]
    struct Id {
        id: String,
    }
    let names: BTreeSet<&str> = left.records.iter().map(|record| record.id.as_str()).collect();
    let mut written = BTreeSet::new();
    let mark = left.files.get(&path.display().to_string()).copied().unwrap_or(0);
    // A shorter file has been rotated since.
    let start = if fs::metadata(path)?.len() < mark { 0 } else { mark };
    each_line(path, start, |text| {
        if let Ok(Id { id }) = serde_json::from_slice(text)
            && names.contains(id.as_str())
        {
            written.insert(id);
        }
    })?;
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cdr::tests::{Folder, a_cdr};

    #[test]
    fn the_journal_tells_which_legs_were_up_and_until_when() {
        let folder = Folder::new("journal");
        let path = folder.path("cdr.jsonl.open");
        assert!(left_by(&path).unwrap().records.is_empty(), "no journal is an empty one");
        let mut journal = Journal::begin(&path, &BTreeMap::from([("cdr.jsonl".to_owned(), 7)])).unwrap();
        let (a, b) = (a_cdr(1, 0), a_cdr(1, 1));
        journal.open(&a, a.answered.unwrap());
        journal.open(&b, b.answered.unwrap());
        journal.close((a.call, a.leg));
        journal.close((a.call, a.leg));
        journal.alive(Wall(b.answered.unwrap().0 + 9_000_000));
        assert!(journal.pump());
        assert_eq!(journal.legs(), 1);
        // a torn last line and a damaged one
        let mut text = fs::read(&path).unwrap();
        text.extend_from_slice(b"{\"what\":1}\n{\"close\":\"");
        fs::write(&path, text).unwrap();
        let left = left_by(&path).unwrap();
        assert_eq!((left.records.len(), left.unreadable, left.files["cdr.jsonl"]), (1, 1, 7));
        let record = &left.records[0];
        assert_eq!((record.id.as_str(), record.duration_ms), ("000000000000000000000001-1", 9_000));
        assert_eq!((record.release_by.as_str(), record.release_cause.as_str()), ("engine", "interrupted"));
        assert_eq!(record.ended, "2026-11-21T08:02:09.500000Z");
    }

    #[test]
    fn the_journal_stays_small_however_many_calls_pass() {
        let folder = Folder::new("compact");
        let path = folder.path("j");
        let files = BTreeMap::new();
        let mut journal = Journal::begin(&path, &files).unwrap();
        let staying = a_cdr(0xffff, 3);
        journal.open(&staying, Wall(5));
        for n in 0..20_000 {
            let cdr = a_cdr(n, 0);
            journal.open(&cdr, Wall(6));
            journal.close((cdr.call, cdr.leg));
            if n % 100 == 0 {
                assert!(journal.pump());
                journal.compact(&files, false);
                assert!(fs::metadata(&path).unwrap().len() < 2 * COMPACT_MIN + (1 << 18));
            }
        }
        assert!(journal.pump());
        let left = left_by(&path).unwrap();
        assert_eq!(left.records.iter().map(|record| record.id.clone()).collect::<Vec<_>>(), [staying.id()]);
        assert_eq!(journal.of_shard(0, Wall(7)).len(), 1);
        assert!(journal.of_shard(1, Wall(7)).is_empty());
    }
}
