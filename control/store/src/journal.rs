//! The journal of records (`<database>.journal-cdr`): a line when a leg is answered, its record when it has ended, a sign
//! of life each second. After a crash it says what the sinks may lack. Append-only, made small again when most of it is
//! past. A line is a letter and its value: `F` files, `O` a leg is up, `E` a leg has ended, `A` the engine lived.

use crate::append::{Appender, each_line};
use crate::record::{Record, RecordId};
use base::Wall;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The journal of this run.
#[derive(Debug)]
pub struct Journal {
    file: Appender,
    /// Legs that are up, and where their lines stand: the text itself stays on disk.
    open: BTreeMap<RecordId, Span>,
    /// Records that the database does not have yet, in their order.
    unsettled: VecDeque<Span>,
    /// Bytes of all those lines.
    live: u64,
    /// Compaction is tried at this length.
    compact_at: u64,
    /// A line in the making.
    line: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    at: u64,
    len: u32,
}

/// What the journal of a run that died tells.
#[derive(Debug, Default)]
pub struct Left {
    /// Records of legs that were up, as they are to be written.
    pub interrupted: Vec<Record<'static>>,
    /// Records that were handed over, in their order.
    pub ended: Vec<Record<'static>>,
    /// From where on each file of records may hold one of them already.
    pub files: BTreeMap<String, u64>,
    /// Lines that could not be read.
    pub unreadable: usize,
}

impl Left {
    /// All records, in the order in which they are to be written.
    pub fn records(&self) -> impl Iterator<Item = &Record<'static>> {
        self.ended.iter().chain(&self.interrupted)
    }
}

/// The journal may have this length before anything is done about it.
const COMPACT_MIN: u64 = 16 << 20;

/// At this length it is made small even though a file of records has not taken what is in it; that waits in memory.
const LEN_MAX: u64 = 512 << 20;

impl Journal {
    /// Begins an empty journal in place of an older one. `files` are the lengths of the files of records: what stands
    /// before them is no record of this journal.
    ///
    /// # Errors
    /// As the system says.
    pub fn begin(path: &Path, files: &BTreeMap<String, u64>) -> io::Result<Journal> {
        Ok(Journal {
            file: replace(path, files, &[])?,
            open: BTreeMap::new(),
            unsettled: VecDeque::new(),
            live: 0,
            compact_at: COMPACT_MIN,
            line: Vec::new(),
        })
    }

    /// A leg is up; its record as known by now.
    pub fn open(&mut self, record: &Record<'_>) {
        self.line.clear();
        self.line.push(b'O');
        record.line(&mut self.line);
        if let Some(span) = self.push()
            && let Some(before) = self.open.insert(record.id, span)
        {
            self.live -= u64::from(before.len);
        }
    }

    /// How many legs are up.
    pub fn legs(&self) -> usize {
        self.open.len()
    }

    /// A leg has ended: `json` is the line of its record. It is kept until it is settled, unless `settled` says that
    /// nobody will do that.
    pub fn ended(&mut self, id: RecordId, json: &[u8], settled: bool) {
        if let Some(span) = self.open.remove(&id) {
            self.live -= u64::from(span.len);
        }
        self.line.clear();
        self.line.push(b'E');
        self.line.extend_from_slice(json);
        let span = self.push();
        if settled {
            self.live -= span.map_or(0, |span| u64::from(span.len));
        } else {
            // One that found no room is settled like the others, in its turn.
            self.unsettled.push_back(span.unwrap_or(Span { at: 0, len: 0 }));
        }
    }

    /// The database has the oldest so many records.
    pub fn settled(&mut self, count: usize) {
        for span in self.unsettled.drain(..count.min(self.unsettled.len())) {
            self.live -= u64::from(span.len);
        }
    }

    /// Says that the engine lives, while a leg is up.
    pub fn alive(&mut self, now: Wall) {
        if !self.open.is_empty() {
            self.file.push(format!("A{}\n", now.0).as_bytes());
        }
    }

    /// Records of the legs of a signalling shard that has died. All must have been pumped.
    pub fn of_shard(&self, shard: usize, now: Wall) -> Vec<Record<'static>> {
        let of_shard = self.open.iter().filter(|(id, _)| id.call.shard() == shard);
        of_shard
            .filter_map(|(_, span)| {
                let text = self.file.read(span.at, span.len as usize).ok()?;
                let mut record: Record<'static> = serde_json::from_slice(text.get(1..)?).ok()?;
                record.interrupt(now);
                Some(record)
            })
            .collect()
    }

    /// Gives the kernel all that waits. `true` when nothing waits.
    pub fn pump(&mut self) -> bool {
        self.file.pump()
    }

    /// Asks the disk to keep what was written.
    pub fn sync(&mut self) {
        self.file.sync();
    }

    /// Whether something waits for a retry or a sync.
    pub fn has_work(&self) -> bool {
        self.file.has_work()
    }

    /// Whether most of it is past.
    pub fn is_long(&self) -> bool {
        self.file.len() >= self.compact_at
    }

    /// Whether it grows on because a file of records lacks what is in it.
    pub fn is_too_long(&self) -> bool {
        self.file.len() >= LEN_MAX
    }

    /// Makes the journal small again. What it forgets must be safe in the files, of these lengths, and the database.
    pub fn compact(&mut self, files: &BTreeMap<String, u64>) {
        if !self.file.pump() {
            return;
        }
        if let Err(error) = self.rewrite(files) {
            let path = self.file.path().display();
            tracing::error!(%path, %error, "journal cannot be made small; it grows on");
        }
        self.compact_at = self.file.len().max(4 * self.live) + COMPACT_MIN;
    }

    fn rewrite(&mut self, files: &BTreeMap<String, u64>) -> io::Result<()> {
        let mut lines = Vec::new();
        let mut copy = |span: &Span| -> io::Result<Span> {
            let at = lines.len() as u64;
            lines.append(&mut self.file.read(span.at, span.len as usize)?);
            Ok(Span { at, len: span.len })
        };
        let mut unsettled = VecDeque::with_capacity(self.unsettled.len());
        for span in &self.unsettled {
            unsettled.push_back(copy(span)?);
        }
        let mut open = BTreeMap::new();
        for (id, span) in &self.open {
            open.insert(*id, copy(span)?);
        }
        let file = replace(self.file.path(), files, &lines)?;
        let shift = file.len() - lines.len() as u64;
        for span in unsettled.iter_mut().chain(open.values_mut()) {
            span.at += shift;
        }
        let old = core::mem::replace(&mut self.file, file);
        (self.file.errors, self.file.lost) = (old.errors, old.lost);
        (self.open, self.unsettled) = (open, unsettled);
        Ok(())
    }

    /// Writes that failed, and lines that were given up.
    pub fn errors_and_lost(&self) -> (u64, u64) {
        (self.file.errors, self.file.lost)
    }

    fn push(&mut self) -> Option<Span> {
        let span = Span { at: self.file.len(), len: u32::try_from(self.line.len()).unwrap_or(u32::MAX) };
        self.file.push(&self.line).then(|| {
            self.live += u64::from(span.len);
            span
        })
    }
}

/// Writes a new journal aside and puts it in the old one's place, so that there is always a whole one.
fn replace(path: &Path, files: &BTreeMap<String, u64>, lines: &[u8]) -> io::Result<Appender> {
    let aside = PathBuf::from(format!("{}.new", path.display()));
    let mut file = File::create(&aside)?;
    let mut first = vec![b'F'];
    serde_json::to_writer(&mut first, files)?;
    first.push(b'\n');
    file.write_all(&first)?;
    file.write_all(lines)?;
    file.sync_data()?;
    drop(file);
    fs::rename(&aside, path)?;
    Ok(Appender::open(path, &[])?.0)
}

/// Reads the journal of a run that has ended; one that ended well leaves no record.
///
/// # Errors
/// As the system says. A journal that does not exist is an empty one.
pub fn left_by(path: &Path) -> io::Result<Left> {
    let (mut left, mut open, mut last) = (Left::default(), BTreeMap::new(), Wall(0));
    let mut ended = BTreeSet::new();
    let read = each_line(path, 0, |line| {
        let understood = match line.split_first() {
            Some((b'F', json)) => serde_json::from_slice(json).map(|files| left.files = files).is_ok(),
            Some((b'O', json)) => serde_json::from_slice::<Record<'static>>(json)
                .map(|record| {
                    last = last.max(record.answered.unwrap_or(record.created).0);
                    open.insert(record.id, record);
                })
                .is_ok(),
            Some((b'E', json)) => serde_json::from_slice::<Record<'static>>(json)
                .map(|record| {
                    open.remove(&record.id);
                    if ended.insert(record.id) {
                        left.ended.push(record);
                    }
                })
                .is_ok(),
            Some((b'A', at)) => core::str::from_utf8(at)
                .ok()
                .and_then(|at| at.parse().ok())
                .map(|at| last = last.max(Wall(at)))
                .is_some(),
            _ => false,
        };
        left.unreadable += usize::from(!understood);
    });
    match read {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) | Ok(()) => {}
    }
    for mut record in open.into_values() {
        record.interrupt(last);
        left.interrupted.push(record);
    }
    Ok(left)
}

/// Which of these records a file of records holds already: the run died between writing them and forgetting them.
/// `id_of` reads the id of a line.
///
/// # Errors
/// As the system says.
pub fn written_already(
    path: &Path,
    left: &Left,
    id_of: impl Fn(&[u8]) -> Option<RecordId>,
) -> io::Result<BTreeSet<RecordId>> {
    let names: BTreeSet<RecordId> = left.records().map(|record| record.id).collect();
    let mut written = BTreeSet::new();
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        // Pipes and terminals cannot be read back.
        return Ok(written);
    }
    let mark = left.files.get(&path.display().to_string()).copied().unwrap_or(0);
    // A shorter file has been rotated since.
    let start = if metadata.len() < mark { 0 } else { mark };
    each_line(path, start, |line| {
        if let Some(id) = id_of(line)
            && names.contains(&id)
        {
            written.insert(id);
        }
    })?;
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Folder, a_cdr};
    use ledger::Cdr;

    fn line(cdr: &Cdr) -> Vec<u8> {
        let mut line = Vec::new();
        Record::from(cdr).line(&mut line);
        line
    }

    fn id(cdr: &Cdr) -> RecordId {
        RecordId { call: cdr.call, leg: cdr.leg }
    }

    fn ids<'a>(records: impl IntoIterator<Item = &'a Record<'static>>) -> Vec<String> {
        records.into_iter().map(|record| record.id.to_string()).collect()
    }

    #[test]
    fn the_journal_tells_which_legs_were_up_and_until_when_and_which_had_ended() {
        let folder = Folder::new("journal");
        let path = folder.path("journal");
        assert!(left_by(&path).unwrap().records().next().is_none(), "no journal is an empty one");
        let mut journal = Journal::begin(&path, &BTreeMap::from([("cdr.jsonl".to_owned(), 7)])).unwrap();
        let (a, b) = (a_cdr(1, 0), a_cdr(1, 1));
        journal.open(&Record::from(&a));
        journal.open(&Record::from(&b));
        journal.ended(id(&a), &line(&a), false);
        journal.ended(id(&a), &line(&a), false);
        journal.alive(Wall(b.answered.unwrap().0 + 9_000_000));
        assert!(journal.pump());
        assert_eq!(journal.legs(), 1);
        // a damaged line and a torn last one
        let mut text = fs::read(&path).unwrap();
        text.extend_from_slice(b"E{\"what\":1}\nE{\"id\":\"");
        fs::write(&path, text).unwrap();
        let left = left_by(&path).unwrap();
        assert_eq!((left.unreadable, left.files["cdr.jsonl"]), (1, 7));
        assert_eq!(left.ended, [Record::from(&a)], "once");
        let [record] = &left.interrupted[..] else { panic!("{:?}", left.interrupted) };
        assert_eq!((record.id.to_string(), record.duration_ms), (b_name(), 9_000));
        assert_eq!((&*record.release_by, &*record.release_cause), ("engine", "interrupted"));
        assert_eq!(record.ended.to_string(), "2026-11-21T08:02:09.500000Z");
    }

    fn b_name() -> String {
        "000000000000000000000001-1".to_owned()
    }

    #[test]
    fn the_journal_stays_small_however_many_calls_pass() {
        let folder = Folder::new("compact");
        let path = folder.path("j");
        let files = BTreeMap::new();
        let mut journal = Journal::begin(&path, &files).unwrap();
        let staying = a_cdr(0xffff_ffff, 3);
        journal.open(&Record::from(&staying));
        let mut compacted = 0;
        for n in 0..30_000 {
            let cdr = a_cdr(n, 0);
            journal.open(&Record::from(&cdr));
            journal.ended(id(&cdr), &line(&cdr), false);
            // The database lags ten records behind.
            if n >= 10 {
                journal.settled(1);
            }
            if n % 100 == 0 {
                assert!(journal.pump());
                if journal.is_long() {
                    journal.compact(&files);
                    compacted += 1;
                }
                assert!(fs::metadata(&path).unwrap().len() < COMPACT_MIN + (1 << 20));
            }
        }
        assert!(journal.pump() && compacted > 0);
        journal.compact(&files);
        assert!(fs::metadata(&path).unwrap().len() < 1 << 16);
        let left = left_by(&path).unwrap();
        assert_eq!(ids(&left.interrupted), [id(&staying).to_string()]);
        let lag: Vec<_> = (29_990..30_000).map(|n| id(&a_cdr(n, 0)).to_string()).collect();
        assert_eq!(ids(&left.ended), lag, "what the database lacks stays");
        assert_eq!(journal.of_shard(0, Wall(7)).len(), 1);
        assert!(journal.of_shard(1, Wall(7)).is_empty());
        journal.settled(100);
        journal.ended(id(&staying), &line(&staying), true);
        assert_eq!((journal.live, journal.legs()), (0, 0));
    }
}
