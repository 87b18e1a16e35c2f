//! What these tests share.

use crate::testing::Folder;
use base::Clock;
use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};
use store::{CdrQuery, CdrReader, CdrSettings, CdrWriter, Record, Sink, Started};

pub const LONG: Duration = Duration::from_secs(30);

/// A database and so many files of JSON lines.
pub fn settings(folder: &Folder, files: usize) -> CdrSettings {
    let sinks = (0..files).map(|n| Sink::Jsonl(folder.path(&format!("cdr{n}.jsonl")))).collect();
    CdrSettings { sinks, ..CdrSettings::new(folder.path("strowger.db")) }
}

pub fn start(settings: &CdrSettings) -> (CdrWriter, Started) {
    CdrWriter::spawn(settings, Clock::start()).unwrap()
}

/// The records of a file.
pub fn in_file(folder: &Folder, n: usize) -> Vec<Record<'static>> {
    let text = fs::read_to_string(folder.path(&format!("cdr{n}.jsonl"))).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// All records of the database, page by page.
pub fn in_database(folder: &Folder) -> Vec<Record<'static>> {
    all_pages(
        &CdrReader::open(&folder.path("strowger.db")).unwrap(),
        CdrQuery { page_size: 1000, ..CdrQuery::default() },
    )
}

pub fn all_pages(reader: &CdrReader, mut query: CdrQuery) -> Vec<Record<'static>> {
    let mut rows = Vec::new();
    loop {
        let page = reader.query(&query).unwrap();
        rows.extend(page.rows);
        match page.next {
            Some(next) => query.after = Some(next),
            None => return rows,
        }
    }
}

/// Their ids; none may come twice.
pub fn ids<'a>(records: impl IntoIterator<Item = &'a Record<'static>>) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for record in records {
        assert!(ids.insert(record.id.to_string()), "{} twice", record.id);
    }
    ids
}

/// Waits for a condition.
pub fn until(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < LONG, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
