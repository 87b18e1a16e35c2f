//! The writer: nothing that was handed over is lost, nothing is written twice, and whoever hands over never waits.

use crate::support::{LONG, ids, in_database, in_file, settings, start};
use crate::testing::{Folder, a_cdr};
use base::{Clock, Wall};
use ledger::Cdr;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use store::{CdrHandle, CdrReader, CdrSettings, CdrWriter, Keep, Sink, StartError, Started};

/// A whole leg.
fn hand_over(handle: &CdrHandle, cdr: Cdr) {
    handle.opened(Box::new(cdr.clone()));
    handle.ended(Box::new(cdr));
}

#[test]
fn records_of_many_threads_are_all_written_and_dropping_the_writer_loses_none() {
    let folder = Folder::new("threads");
    let settings = settings(&folder, 2);
    let (writer, started) = start(&settings);
    assert_eq!(started, Started::default());
    thread::scope(|scope| {
        for thread in 0..4 {
            let handle = writer.handle();
            scope.spawn(move || (0..500).for_each(|n| hand_over(&handle, a_cdr(thread * 1000 + n, 0))));
        }
    });
    let handle = writer.handle();
    drop(writer);
    let stats = handle.stats();
    assert_eq!((stats.written, stats.open_legs, stats.uncommitted, stats.dropped), (2000, 0, 0, 0));
    for n in 0..2 {
        assert_eq!(ids(&in_file(&folder, n)).len(), 2000);
    }
    assert_eq!(ids(&in_database(&folder)).len(), 2000);
    let (_, started) = start(&settings);
    assert_eq!(started, Started::default(), "a run that ended well leaves nothing");
}

#[test]
fn what_the_database_has_is_what_was_handed_over() {
    let folder = Folder::new("same");
    let (writer, _) = start(&settings(&folder, 1));
    let mut cdr = a_cdr(7, 3);
    cdr.tags = vec![("X-Sign-ID".into(), "4\"2, ü".into())];
    (cdr.group, cdr.account, cdr.account_code) = (Some("g".into()), Some("a".into()), Some("c".into()));
    (cdr.policy, cdr.release_reason) = (Some("fraud.spend".into()), Some("Q.850;cause=21".into()));
    (cdr.price_per_minute, cdr.cost) = (Some(0.012_345), Some(1.5));
    cdr.quality = Some(ledger::Quality {
        received: 1,
        sent: u64::MAX >> 1,
        lost: 3,
        jitter_max_us: 4,
        one_way: true,
        mos: Some(4.27),
    });
    hand_over(&writer.handle(), cdr);
    hand_over(&writer.handle(), Cdr { answered: None, local: None, progress: None, ..a_cdr(8, 0) });
    assert!(writer.handle().flush(LONG));
    let mut rows = in_database(&folder);
    rows.reverse();
    assert_eq!(rows, in_file(&folder, 0));
}

#[test]
fn a_full_disk_under_one_sink_loses_nothing_and_keeps_the_others_going() {
    let folder = Folder::new("refused");
    let mut settings = settings(&folder, 1);
    settings.sinks.push(Sink::Csv("/dev/full".into()));
    let (writer, _) = start(&settings);
    let handle = writer.handle();
    hand_over(&handle, a_cdr(1, 0));
    assert!(!handle.flush(LONG), "one sink has not taken it");
    let stats = handle.stats();
    assert!(stats.errors > 0 && stats.dropped == 0 && stats.uncommitted == 0, "{stats:?}");
    assert_eq!((in_file(&folder, 0).len(), in_database(&folder).len()), (1, 1));
}

#[test]
fn a_locked_database_keeps_nobody_waiting_and_gets_its_records_later() {
    let folder = Folder::new("locked");
    let (writer, _) = start(&settings(&folder, 1));
    let handle = writer.handle();
    let other = rusqlite::Connection::open(folder.path("strowger.db")).unwrap();
    other.execute_batch("begin immediate").unwrap();
    let begin = Instant::now();
    (0..1000).for_each(|n| hand_over(&handle, a_cdr(n, 0)));
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert!(!handle.flush(LONG));
    let stats = handle.stats();
    assert_eq!((in_file(&folder, 0).len(), stats.uncommitted, stats.dropped), (1000, 1000, 0));
    assert!(stats.errors > 0);
    other.execute_batch("rollback").unwrap();
    assert!(handle.flush(LONG));
    assert_eq!((ids(&in_database(&folder)).len(), handle.stats().uncommitted), (1000, 0));
}

#[test]
fn the_legs_of_a_dead_shard_are_recorded_as_interrupted() {
    let folder = Folder::new("shard");
    let (writer, _) = start(&settings(&folder, 1));
    let handle = writer.handle();
    let (lost, kept) = (a_cdr(1, 0), a_cdr(1 << 32 | 1, 0));
    assert_eq!((lost.call.shard(), kept.call.shard()), (0, 1));
    handle.opened(Box::new(lost.clone()));
    handle.opened(Box::new(kept));
    handle.shard_lost(0);
    handle.shard_lost(0);
    assert!(handle.flush(LONG));
    for records in [in_file(&folder, 0), in_database(&folder)] {
        assert_eq!(records.len(), 1);
        assert_eq!((records[0].id.to_string(), &*records[0].release_cause), (lost.id(), "interrupted"));
    }
    assert_eq!(handle.stats().open_legs, 1);
}

#[test]
fn a_second_engine_on_the_same_records_is_refused() {
    let folder = Folder::new("second");
    let first = settings(&folder, 1);
    let _writer = start(&first);
    let same_database = CdrSettings::new(&first.database);
    let same_file = CdrSettings { database: folder.path("other.db"), ..first.clone() };
    for second in [same_database, same_file] {
        let error = CdrWriter::spawn(&second, Clock::start()).unwrap_err();
        assert!(matches!(error, StartError::Busy { .. }), "{error}");
    }
    let twice =
        CdrSettings { sinks: vec![Sink::Jsonl("x".into()); 2], ..CdrSettings::new(folder.path("third.db")) };
    assert!(matches!(CdrWriter::spawn(&twice, Clock::start()), Err(StartError::Twice(_))));
}

#[test]
fn a_torn_journal_and_torn_files_are_caught_up_with() {
    let folder = Folder::new("torn-journal");
    let mut settings = settings(&folder, 1);
    settings.sinks.push(Sink::Csv(folder.path("cdr.csv")));
    let (writer, _) = start(&settings);
    hand_over(&writer.handle(), a_cdr(1, 0));
    drop(writer);
    // A run that died in the middle of everything: record 2 is in the JSON file, half in the CSV file and not in the
    // database; record 3 nowhere; record 4 is torn.
    let line = |letter: &str, n: u128| {
        let mut line = Vec::new();
        store::Record::from(&a_cdr(n, 0)).line(&mut line);
        format!("{letter}{}", String::from_utf8(line).unwrap())
    };
    let append = |path: &Path, text: &str| {
        fs::OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    };
    let journal = folder.path("strowger.db.journal-cdr");
    append(&journal, &(line("O", 2) + &line("E", 2) + &line("E", 3) + &line("O", 9) + &line("E", 4)[..50]));
    append(&folder.path("cdr0.jsonl"), &line("", 2));
    append(&folder.path("cdr.csv"), "000000000000000000000002-0,0000");
    let (writer, started) = start(&settings);
    assert_eq!((started.interrupted, started.torn_bytes, started.unreadable), (1, 50 + 31, 0));
    drop(writer);
    let expected: Vec<String> = [1, 2, 3, 9].iter().map(|n| a_cdr(*n, 0).id()).collect();
    let expected = expected.into_iter().collect();
    assert_eq!(ids(&in_file(&folder, 0)), expected);
    assert_eq!(ids(&in_database(&folder)), expected);
    assert_eq!(in_csv(&folder), expected.into_iter().collect::<Vec<_>>());
    let (_, started) = start(&settings);
    assert_eq!(started, Started::default());
}

/// Ids in the CSV file, in its order.
fn in_csv(folder: &Folder) -> Vec<String> {
    let text = fs::read_to_string(folder.path("cdr.csv")).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next().unwrap(), store::csv::NAMES.join(","));
    lines.map(|line| line.split(',').next().unwrap().to_owned()).collect()
}

#[test]
fn rotated_files_are_followed_and_begin_with_their_names() {
    let folder = Folder::new("rotated-csv");
    let mut settings = settings(&folder, 0);
    settings.sinks.push(Sink::Csv(folder.path("cdr.csv")));
    let (writer, _) = start(&settings);
    hand_over(&writer.handle(), a_cdr(1, 0));
    assert!(writer.handle().flush(LONG));
    assert_eq!(in_csv(&folder), [a_cdr(1, 0).id()]);
    fs::rename(folder.path("cdr.csv"), folder.path("cdr.csv.1")).unwrap();
    assert!(writer.handle().flush(LONG));
    hand_over(&writer.handle(), a_cdr(2, 0));
    drop(writer);
    assert_eq!(in_csv(&folder), [a_cdr(2, 0).id()]);
}

#[test]
fn what_is_not_to_be_kept_is_removed_in_steps() {
    let folder = Folder::new("keep");
    let reader = |folder: &Folder| CdrReader::open(&folder.path("strowger.db")).unwrap();
    let (writer, _) = start(&settings(&folder, 0));
    let now = Clock::start().now().wall;
    for n in 0..1500u64 {
        // Half of them a day old.
        let created = if n.is_multiple_of(2) { Wall(now.0 - 86_400_000_000) } else { now };
        hand_over(&writer.handle(), Cdr { created, ..a_cdr(n.into(), 0) });
    }
    drop(writer);
    assert_eq!(reader(&folder).count(&Default::default()).unwrap(), 1500);
    let age = Keep { age: Some(Duration::from_secs(3600)), rows: None };
    let (writer, _) = start(&CdrSettings { keep: age, ..settings(&folder, 0) });
    let mut counts = Vec::new();
    for _ in 0..3 {
        assert!(writer.handle().flush(LONG));
        counts.push(reader(&folder).count(&Default::default()).unwrap());
    }
    assert_eq!(counts, [1000, 750, 750], "500 at most in one step");
    drop(writer);
    let rows = Keep { age: None, rows: Some(100) };
    let (writer, _) = start(&CdrSettings { keep: rows, ..settings(&folder, 0) });
    assert!(writer.handle().flush(LONG) && writer.handle().flush(LONG));
    let left = in_database(&folder);
    assert!(left.len() <= 100 && ids(&left).contains(&a_cdr(1499, 0).id()), "{}", left.len());
}

/// The test is its own child: with the folder in its environment it writes records until it is killed, and says after
/// each flush how far it is.
#[test]
fn kill_nine_loses_no_record_that_was_handed_over() {
    const FOLDER: &str = "STROWGER_STORE_CHILD";
    const FIRST: &str = "STROWGER_STORE_FIRST";
    if let (Ok(folder), Ok(first)) = (std::env::var(FOLDER), std::env::var(FIRST)) {
        write_until_killed(Path::new(&folder), first.parse().unwrap());
    }
    let folder = Folder::new("kill");
    let rounds = 4;
    let mut reached = Vec::new();
    for round in 0..rounds {
        let first = round * 10_000_000;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer::kill_nine_loses_no_record_that_was_handed_over", "--nocapture"])
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
    let (writer, started) = start(&all_kinds(folder.root()));
    drop(writer);
    assert!(started.interrupted > 0 && started.unreadable == 0, "{started:?}");
    let files = in_file(&folder, 0);
    let all = ids(&files);
    assert_eq!(ids(&in_database(&folder)), all, "the database has what the file has");
    let csv = in_csv(&folder);
    assert_eq!((csv.len(), csv.into_iter().collect()), (all.len(), all), "and so has the CSV file");
    let causes: BTreeMap<String, &str> =
        files.iter().map(|record| (record.id.to_string(), &*record.release_cause)).collect();
    for (first, at) in reached {
        for n in first..at {
            let leg = |leg: u16| causes.get(&format!("{n:024x}-{leg}")).copied();
            assert_eq!(leg(0), Some("normal"), "call {n}");
            // Leg 1 of every hundredth call was still up.
            assert_eq!(leg(1), (n % 100 == 0).then_some("interrupted"), "call {n}");
        }
    }
}

fn all_kinds(folder: &Path) -> CdrSettings {
    let sinks = vec![Sink::Jsonl(folder.join("cdr0.jsonl")), Sink::Csv(folder.join("cdr.csv"))];
    CdrSettings { sinks, ..CdrSettings::new(folder.join("strowger.db")) }
}

#[expect(clippy::print_stdout, reason = "the parent reads it")]
fn write_until_killed(folder: &Path, first: u128) -> ! {
    let (writer, _) = start(&all_kinds(folder));
    let handle = writer.handle();
    for n in first.. {
        if n % 100 == 0 {
            handle.opened(Box::new(a_cdr(n, 1)));
        }
        hand_over(&handle, a_cdr(n, 0));
        // Every other time only after a while: then the database lags behind the journal when the end comes.
        if n % 500 == 499 {
            let before = handle.stats().written;
            if n % 1000 == 499 {
                while handle.stats().written < before + 500 && handle.stats().queued > 0 {
                    thread::yield_now();
                }
            } else if handle.flush(LONG) {
                println!("reached {}", n + 1);
            }
        }
    }
    unreachable!("it is killed before")
}
