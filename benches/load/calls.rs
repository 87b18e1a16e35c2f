//! Whole calls with media anchored: the engine beside Kamailio with rtpengine, with our generator and with SIPp.
//! No RTP flows: what is measured is signalling, and opening and closing ports.

use crate::Options;
use crate::peers::{
    Engine, Folder, Kamailio, Process, cpu_seconds, is_installed, kernel_drops, sample, spawn,
};
use crate::relay::{CALLEES, CALLERS};
use anyhow::{Context, Result, bail};
use loadtest::figures::Rounds;
use loadtest::run::{Lines, LoadSip};
use std::net::SocketAddr;
use std::process::Command;

/// What one candidate did at one rate.
#[derive(Default)]
struct Row {
    per_cpu_second: Rounds,
    setup_ms: [Rounds; 2],
    placed: u64,
    failed: u64,
    resent: u64,
    drops: u64,
    invalid: Vec<String>,
    threads: String,
}

/// One round's findings, whichever generator made it.
struct Found {
    placed: u64,
    completed: u64,
    failed: u64,
    resent: u64,
    setup_ms: [f64; 2],
    own_drops: u64,
}

/// A system that carries calls.
enum System {
    Engine(Engine),
    Kamailio(Kamailio),
}

impl System {
    fn sip(&self) -> SocketAddr {
        match self {
            System::Engine(engine) => engine.sip,
            System::Kamailio(kamailio) => kamailio.sip,
        }
    }

    fn pids(&self) -> Vec<u32> {
        match self {
            System::Engine(engine) => vec![engine.pid()],
            System::Kamailio(kamailio) => kamailio.pids().to_vec(),
        }
    }
}

/// Both systems at 200 and 500 calls a second, with our generator and, once, with SIPp.
pub fn measure(options: &Options) -> Result<()> {
    let seconds = options.seconds.max(5.0) * 2.0;
    println!("\nCalls with media anchored: {} rounds of {seconds} s; min / median / max", options.rounds);
    println!(
        "| generator, calls/s | system | calls a CPU-second | × Kamailio + rtpengine | set-up p50 ms | p99 ms | calls | failed | sent again | kernel drops |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let mut notes = Vec::new();
    for (sipp, rounds) in [(false, options.rounds), (true, 1)] {
        if sipp && !is_installed("sipp") {
            println!("sipp is not installed (apt install sip-tester): left out");
            continue;
        }
        for cps in [200, 500] {
            let (mut ours, mut theirs) = (Row::default(), Row::default());
            for _ in 0..rounds {
                round(false, sipp, cps, seconds, &mut ours)?;
                round(true, sipp, cps, seconds, &mut theirs)?;
            }
            let name = if sipp { "SIPp" } else { "loadtest" };
            let what = format!("{name}, {cps}");
            show(&what, "strowger", &ours, &theirs, &mut notes);
            show(&what, "Kamailio + rtpengine", &theirs, &Row::default(), &mut notes);
        }
    }
    notes.iter().for_each(|note| println!("{note}"));
    Ok(())
}

/// A few calls through the engine.
pub fn smoke() -> Result<()> {
    let mut row = Row::default();
    round(false, false, 10, 0.5, &mut row)?;
    if row.failed > 0 || row.placed == 0 {
        bail!("{} of {} calls failed", row.failed, row.placed);
    }
    Ok(())
}

fn show(generator: &str, system: &str, row: &Row, other: &Row, notes: &mut Vec<String>) {
    if row.placed == 0 {
        return;
    }
    let [p50, p99] = &row.setup_ms;
    let ratio = row.per_cpu_second.ratio(&other.per_cpu_second);
    println!(
        "| {generator} | {system} | {:.0} | {ratio:.2} | {p50:.2} | {p99:.2} | {} | {} | {} | {} |",
        row.per_cpu_second, row.placed, row.failed, row.resent, row.drops
    );
    notes.push(format!("{generator}, {system}: {}", row.threads));
    notes.extend(
        row.invalid.iter().map(|why| format!("{generator}, {system}: a round is not to be believed: {why}")),
    );
}

fn round(kamailio: bool, sipp: bool, cps: u32, seconds: f64, row: &mut Row) -> Result<()> {
    let lines = Lines::bind((CALLERS, 0).into(), Some((CALLEES, 0).into()))?;
    let (uac, uas) = (lines.uac()?, lines.uas()?.context("an answering side")?);
    let system = if kamailio {
        let Some(kamailio) = Kamailio::start(uas)? else { return Ok(()) };
        System::Kamailio(kamailio)
    } else {
        System::Engine(Engine::start("epoll", uac, uas)?)
    };
    let before = sample(&system.pids());
    let found = if sipp {
        drop(lines);
        by_sipp(system.sip(), uac, uas, cps, seconds)?
    } else {
        by_loadtest(lines, system.sip(), cps, seconds)?
    };
    let after = sample(&system.pids());
    let cpu = cpu_seconds(&before, &after);
    row.per_cpu_second.add(found.completed as f64 / cpu.max(1e-9));
    for (rounds, value) in row.setup_ms.iter_mut().zip(found.setup_ms) {
        rounds.add(value);
    }
    row.placed += found.placed;
    row.failed += found.failed;
    row.resent += found.resent;
    row.drops += kernel_drops(system.sip());
    row.threads = shares(&before, &after, found.completed);
    if found.own_drops > 0 {
        row.invalid.push(format!("the generator's own sockets dropped {} datagrams", found.own_drops));
    }
    Ok(())
}

/// Microseconds of CPU a call, by thread or process.
fn shares(
    before: &[(u32, loadtest::process::Sample)],
    after: &[(u32, loadtest::process::Sample)],
    calls: u64,
) -> String {
    let mut parts = Vec::new();
    for (pid, after) in after {
        let Some((_, before)) = before.iter().find(|b| b.0 == *pid) else { continue };
        for thread in after.since(before).threads {
            let us = thread.cpu_seconds * 1e6 / calls.max(1) as f64;
            if us >= 1.0 {
                parts.push(format!("{} {us:.0} µs", thread.name));
            }
        }
    }
    format!("a call takes {}", parts.join(", "))
}

fn by_loadtest(lines: Lines, sip: SocketAddr, cps: u32, seconds: f64) -> Result<Found> {
    let mut load = LoadSip::steady(sip, cps, f64::from(cps), seconds);
    load.uac = lines.uac()?;
    load.uas = lines.uas()?;
    load.media = None;
    load.hold = std::time::Duration::ZERO;
    load.settle = std::time::Duration::ZERO;
    let report = loadtest::run::run_on(lines, &load, |_| ())?;
    let calls = report.calls;
    Ok(Found {
        placed: calls.placed,
        completed: calls.completed,
        failed: calls.failed + calls.unplaced,
        resent: calls.resent,
        setup_ms: [calls.setup.p50_us / 1e3, calls.setup.p99_us / 1e3],
        own_drops: calls.own_drops,
    })
}

/// SIPp's own scenarios at both ends; its set-up time is that of its RTT trace.
fn by_sipp(sip: SocketAddr, uac: SocketAddr, uas: SocketAddr, cps: u32, seconds: f64) -> Result<Found> {
    let folder = Folder::new("sipp")?;
    let calls = (f64::from(cps) * seconds) as u64;
    let base = |at: SocketAddr| {
        let mut command = Command::new("sipp");
        command.current_dir(&folder.0).env("TERM", "dumb");
        command.args(["-i", &at.ip().to_string(), "-p", &at.port().to_string(), "-bind_local"]);
        command.args(["-nostdin", "-skip_rlimit", "-t", "u1", "-buff_size", "4194304"]);
        command
    };
    let answering: Process = spawn(base(uas).args(["-sn", "uas"]), &folder)?;
    let mut calling = base(uac);
    calling.args(["-sn", "uac", "-r", &cps.to_string(), "-m", &calls.to_string(), "-d", "0"]);
    calling.args(["-l", "10000", "-timeout", "120s", "-trace_rtt", "-rtt_freq", "1000"]);
    calling.args(["-trace_stat", "-stf", "stat.csv", "-fd", "1"]).arg(sip.to_string());
    let mut calling = spawn(&mut calling, &folder)?;
    calling.wait()?;
    drop(answering);
    let mut times: Vec<f64> = Vec::new();
    for entry in std::fs::read_dir(&folder.0)?.flatten() {
        if entry.file_name().to_string_lossy().ends_with("_rtt.csv") {
            let text = std::fs::read_to_string(entry.path())?;
            times.extend(text.lines().skip(1).filter_map(|l| l.split(';').nth(1)?.parse::<f64>().ok()));
        }
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN);
    let text = std::fs::read_to_string(folder.0.join("stat.csv")).context("SIPp's statistics")?;
    let (head, last) = (text.lines().next().unwrap_or_default(), text.lines().last().unwrap_or_default());
    let column = |name: &str| {
        let index = head.split(';').position(|h| h == name)?;
        last.split(';').nth(index)?.parse::<u64>().ok()
    };
    Ok(Found {
        placed: column("TotalCallCreated").unwrap_or(0),
        completed: column("SuccessfulCall(C)").unwrap_or(0),
        failed: column("FailedCall(C)").unwrap_or(calls),
        resent: column("Retransmissions(C)").unwrap_or(0),
        setup_ms: [at(0.5), at(0.99)],
        own_drops: 0,
    })
}
