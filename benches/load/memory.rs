//! What a held call takes: resident memory and descriptors at 200 and at 2,000 calls, signalling and media together.
//! Before that, calls that fill what is filled once (the ring of recent messages), and a rest in which transactions end.

use crate::peers::{Engine, sample};
use crate::relay::{CALLEES, CALLERS};
use anyhow::{Context, Result};
use loadtest::run::{Lines, LoadSip};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

/// Longer than any transaction lives (64 × T1).
const REST: Duration = Duration::from_secs(36);

/// Prints the slope.
pub fn measure() -> Result<()> {
    println!("\nMemory of held calls:");
    let lines = Lines::bind((CALLERS, 0).into(), Some((CALLEES, 0).into()))?;
    let (uac, uas) = (lines.uac()?, lines.uas()?.context("an answering side")?);
    let engine = Engine::start("epoll", uac, uas)?;
    held(&engine, lines, 3_000, Duration::ZERO, Duration::ZERO)?;
    thread::sleep(REST);
    let mut readings = Vec::new();
    for calls in [200u32, 2_000] {
        let again = |at: SocketAddr| Lines::bind(at, Some(uas));
        readings.push((calls, held(&engine, again(uac)?, calls, Duration::from_secs(50), REST)?));
        thread::sleep(REST);
    }
    for (calls, (bytes, descriptors)) in &readings {
        println!("{calls} calls: {:.2} MB resident, {descriptors} descriptors", *bytes as f64 / 1e6);
    }
    if let [(few, (bytes, descriptors)), (many, (more_bytes, more_descriptors))] = readings[..] {
        let calls = f64::from(many - few);
        println!(
            "a call takes {:.2} KB and {:.2} descriptors",
            (more_bytes as f64 - bytes as f64) / calls / 1e3,
            (more_descriptors as f64 - descriptors as f64) / calls
        );
    }
    Ok(())
}

/// Places so many calls at 200 a second, and reads the process `after` they are all up.
fn held(engine: &Engine, lines: Lines, calls: u32, hold: Duration, after: Duration) -> Result<(u64, u64)> {
    let mut load = LoadSip::ramp(engine.sip, calls, 200.0, 1.0);
    (load.uac, load.uas, load.media) = (lines.uac()?, lines.uas()?, None);
    (load.hold, load.settle) = (hold, Duration::ZERO);
    let pid = engine.pid();
    let ramp = Duration::from_secs_f64(f64::from(calls) / 200.0);
    let reader = thread::Builder::new().name("reader".into()).spawn(move || {
        thread::sleep(ramp + after);
        sample(&[pid]).first().map(|(_, sample)| (sample.rss_bytes, sample.descriptors))
    })?;
    let report = loadtest::run::run_on(lines, &load, |_| ())?;
    if report.calls.failed > 0 {
        println!("{} of {} calls failed", report.calls.failed, report.calls.placed);
    }
    let reading = reader.join().ok().flatten();
    reading.context("the engine is gone")
}
