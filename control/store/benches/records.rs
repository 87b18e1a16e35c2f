//! What a call costs the writer: two legs answered and ended, their records in a file of JSON lines and in the database.
//! CPU time of the writer's thread, at a steady rate as an engine makes them. `RATES` in calls a second.

use base::{Clock, Wall};
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use store::{CdrSettings, CdrWriter, Sink};

#[path = "../src/testing.rs"]
mod testing;

const RATES: [u64; 2] = [100, 500];

fn main() {
    // `cargo bench -- --test` only looks whether it runs.
    let seconds = if std::env::args().any(|argument| argument == "--test") { 1 } else { 20 };
    for rate in RATES {
        run(rate, seconds, true);
        run(rate, seconds, false);
    }
}

#[expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a bench")]
fn run(rate: u64, seconds: u64, with_file: bool) {
    let folder = testing::Folder::new("bench");
    let mut settings = CdrSettings::new(folder.root().join("strowger.db"));
    if with_file {
        settings.sinks.push(Sink::Jsonl(folder.path("cdr.jsonl")));
    }
    let clock = Clock::start();
    let (writer, _) = CdrWriter::spawn(&settings, clock).expect("a folder of our own");
    let handle = writer.handle();
    let begin = Instant::now();
    let before = cpu_of("cdr");
    let calls = rate * seconds;
    let held = rate * 5;
    for n in 0..calls + held {
        let due = begin + Duration::from_nanos(n * 1_000_000_000 / rate);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let created = clock.now().wall;
        // A call lasts five seconds.
        for leg in 0..2 {
            if n < calls {
                handle.opened(Box::new(a_leg(created, n, leg)));
            }
            if let Some(ended) = n.checked_sub(held) {
                handle.ended(Box::new(a_leg(created, ended, leg)));
            }
        }
    }
    assert!(handle.flush(Duration::from_secs(30)));
    let used = cpu_of("cdr") - before;
    let each = used.as_nanos() as f64 / calls as f64 / 1000.0;
    let sinks = if with_file { "database and file" } else { "database" };
    let size = fs::metadata(folder.path("strowger.db")).map_or(0, |file| file.len()) / (2 * calls);
    println!("{rate} calls/s, {sinks}: {each:.1} us of the writer's CPU a call, {size} octets a record");
}

fn a_leg(created: Wall, n: u64, leg: u16) -> ledger::Cdr {
    ledger::Cdr {
        created,
        from_user: format!("+1503{:07}", n * 7919 % 10_000_000),
        to_user: format!("+44{:09}", n * 104_729 % 1_000_000_000),
        account: Some(format!("account{}", n % 1000)),
        ..testing::a_cdr(n.into(), leg)
    }
}

/// CPU time of the thread of this name.
fn cpu_of(name: &str) -> Duration {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux");
    let ours = tasks
        .filter_map(Result::ok)
        .map(|task| task.path())
        .filter(|task| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name));
    let nanos = |task: &Path| -> u64 {
        let text = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
    };
    Duration::from_nanos(ours.map(|task| nanos(&task)).sum())
}
