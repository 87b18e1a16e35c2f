//! The engine under real load, beside what else there is: the least relay loops that can be, Debian's rtpengine, and
//! Kamailio with rtpengine. Every comparison is made in one run, the candidates taking turns, with the generator on the
//! first processor and the system under test on the second. A peer that is not installed is said and left out.
//!
//! `cargo bench --bench load -- [relay] [calls] [stamps] [memory] [transcode] [room] [--rounds N] [--seconds N]
//! [--calls N,N…] [--fill] [--only NAME]`
//! Without `--bench` (that is, as a test) it only shows that it works.
#![expect(clippy::print_stdout, reason = "a bench tells what it found")]
mod peers; // the systems under test, as child processes
mod relay; // media: CPU a packet, latency, loss, memory, descriptors
mod calls; // signalling: calls for each second of CPU, set-up times
mod stamps; // the engine's own part of set-up, by the kernel's stamps
mod memory; // what a held call takes
mod plane; // one media shard without signalling, in a process of its own
mod streams; // RTP in any codec, and what comes of it
mod transcode; // conversions: calls a processor, beside rtpengine's, and their memory
mod room; // a room of a thousand

use anyhow::{Result, bail};
use loadtest::report::Machine;

/// As the engine's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What to measure and how long.
pub struct Options {
    rounds: usize,
    seconds: f64,
    calls: Vec<usize>,
    /// Also add calls until there are too many.
    fill: bool,
    /// Only conversions whose name has this.
    only: String,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    loadtest::sys::raise_descriptor_limit();
    if let Some(at) = arguments.iter().position(|a| a == "--plane") {
        return plane::serve(arguments.get(at + 1).and_then(|n| n.parse().ok()).unwrap_or(5));
    }
    if !arguments.iter().any(|a| a == "--bench") || arguments.iter().any(|a| a == "--test") {
        return smoke();
    }
    let mut options =
        Options { rounds: 3, seconds: 5.0, calls: Vec::new(), fill: false, only: String::new() };
    let mut parts = Vec::new();
    let mut words = arguments.iter().filter(|a| *a != "--bench");
    while let Some(word) = words.next() {
        let mut value = || words.next().map(String::as_str).unwrap_or_default();
        match word.as_str() {
            "--rounds" => options.rounds = value().parse()?,
            "--seconds" => options.seconds = value().parse()?,
            "--calls" => options.calls = value().split(',').map(str::parse).collect::<Result<_, _>>()?,
            "--fill" => options.fill = true,
            "--only" => options.only = value().to_owned(),
            part @ ("relay" | "calls" | "stamps" | "memory" | "transcode" | "room") => parts.push(part),
            other => {
                bail!(
                    "{other}: relay, calls, stamps, memory, transcode, room, --rounds N, --seconds N, --calls N,N, --fill"
                )
            }
        }
    }
    if parts.is_empty() {
        parts = vec!["relay", "calls", "stamps", "memory", "transcode", "room"];
    }
    let machine = Machine::here();
    peers::stay_on_first_processor();
    println!("{}, {} processors, Linux {}; load {}", machine.cpu, machine.cpus, machine.kernel, busy());
    for part in parts {
        match part {
            "relay" => relay::measure(&options)?,
            "calls" => calls::measure(&options)?,
            "stamps" => stamps::measure(&options)?,
            "transcode" => transcode::measure(&options)?,
            "room" => room::measure(&options)?,
            _ => memory::measure()?,
        }
        println!("load average afterwards {}", busy());
    }
    Ok(())
}

/// The machine's load averages: figures of a busy machine are not to be believed.
fn busy() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// A few calls through everything that is always there.
fn smoke() -> Result<()> {
    let options = Options { rounds: 1, seconds: 0.5, calls: vec![5], fill: false, only: String::new() };
    relay::smoke(&options)?;
    calls::smoke()?;
    transcode::smoke()?;
    room::smoke()?;
    println!("the load bench works; 'cargo bench --bench load' measures");
    Ok(())
}
