//! What calls cost the media thread besides their packets: ports opened, a spec before and one after the answer, the
//! bridge closed; paced, so that the thread sleeps between them as it does in an engine.
//!
//! `cargo bench -p shard --bench burst -- [--rate CALLS_A_SECOND] [--seconds N] [--rounds N]`. Beside the CPU time of
//! the thread there are its context switches; `strace -c -f` on the same program counts its system calls.
#![expect(clippy::print_stdout, reason = "a bench tells what it found")]
#![expect(clippy::disallowed_methods, reason = "a bench is driven in real time")]

#[path = "../tests/world/mod.rs"]
mod world;

use base::Duration;
use command::{BridgeId, BridgeSpec, Command, Event, PortWant};
use shard::{BackendChoice, MediaListener};
use std::collections::VecDeque;
use std::time::Instant;
use world::*;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: u64| {
        let place = arguments.iter().position(|a| a == name);
        place.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    let bench = arguments.iter().any(|a| a == "--bench");
    let (rate, seconds, rounds) = if bench {
        (number("--rate", 500), number("--seconds", 10), number("--rounds", 3))
    } else {
        (100, 1, 1)
    };
    for _ in 0..rounds {
        round(rate.max(1), seconds);
    }
}

/// One engine's worth of calls. The first half warms up: ports that rest come back after four seconds.
fn round(rate: u64, seconds: u64) {
    let mut config = config(BackendChoice::Epoll);
    config.listeners = vec![MediaListener { listener: 0, address: V4, ports: 10_000..=29_999 }];
    config.pairs_max = 16_384;
    let mut world = World::with(config, ring(65_536));
    let (a, b) = (Phone::at(V4), Phone::at(V4));
    let answered = relay(&[&a, &b]);
    let mut offered = answered.clone();
    (offered.phase, offered.ports[1].remotes, offered.ports[1].active) =
        (command::Phase::Early, Vec::new(), None);
    let mut up: VecDeque<(Instant, bool, BridgeId)> = VecDeque::new();
    let (calls, started) = (rate * seconds, Instant::now());
    let mut before = Figures::default();
    let (mut placed, mut closed, mut refused) = (0, 0, 0u64);
    let (mut asked, mut waits) = (VecDeque::new(), Vec::new());
    let send = |world: &World, bridge, spec: &BridgeSpec| {
        world.command(Command::Set { bridge, spec: Box::new(spec.clone()) });
    };
    while closed + refused < calls {
        let now = Instant::now();
        while placed < calls && now >= started + Duration::from_nanos(placed * 1_000_000_000 / rate) {
            let bridge = world.bridge();
            let want = vec![PortWant { listener: 0, address: V4 }; 2];
            world.command(Command::Open { bridge, want });
            asked.push_back(now);
            placed += 1;
            if placed == calls / 2 {
                before = Figures::read();
            }
        }
        while let Some(event) = world.events.receive() {
            match event {
                Event::Opened { bridge, .. } => {
                    waits.extend(asked.pop_front().map(|asked: Instant| asked.elapsed()));
                    send(&world, bridge, &offered);
                    up.push_back((now + ANSWER, false, bridge));
                }
                Event::Refused { .. } => {
                    asked.pop_front();
                    refused += 1;
                }
                Event::Closed { .. } => closed += 1,
                _ => {}
            }
        }
        // Times ascend within either half of the calls' lives.
        for _ in 0..up.len() {
            let Some((at, is_answered, bridge)) = up.pop_front() else { break };
            if at > now {
                up.push_back((at, is_answered, bridge));
            } else if is_answered {
                world.command(Command::Close { bridge });
            } else {
                send(&world, bridge, &answered);
                up.push_back((now + TALK, true, bridge));
            }
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    let counted = calls - calls / 2;
    let after = Figures::read();
    let each = |after: u64, before: u64| (after - before) as f64 / counted as f64;
    waits.sort_unstable();
    let wait = |permille: usize| waits.get(waits.len() * permille / 1000).copied().unwrap_or_default();
    println!(
        "{rate} calls/s: {:.1} us of CPU, {:.2} context switches, {:.2} turns a call; {refused} refused; \
         ports after p50 {:?}, p99 {:?}, p99.9 {:?} (looked for every 0.5 ms)",
        each(after.cpu_ns, before.cpu_ns) / 1e3,
        each(after.switches, before.switches),
        world.shard.stats().turns.get() as f64 / calls as f64,
        wait(500),
        wait(990),
        wait(999),
    );
}

const ANSWER: Duration = Duration::from_millis(20);
const TALK: Duration = Duration::from_millis(100);

/// Of the media thread, so far.
#[derive(Clone, Copy, Default)]
struct Figures {
    cpu_ns: u64,
    switches: u64,
}

impl Figures {
    fn read() -> Figures {
        let text = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap_or_default();
        let tasks = std::fs::read_dir("/proc/self/task").expect("a process has tasks");
        let mut tasks = tasks.filter_map(|task| Some(task.ok()?.path()));
        let Some(task) = tasks.find(|task| text(task.join("comm")).starts_with("media-")) else {
            return Figures::default();
        };
        let switches = text(task.join("status"));
        let switches = switches.lines().filter(|line| line.contains("ctxt_switches"));
        let number =
            |text: &str| text.split_whitespace().next_back().and_then(|n| n.parse().ok()).unwrap_or(0);
        Figures {
            cpu_ns: text(task.join("schedstat")).split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0),
            switches: switches.map(number).sum::<u64>(),
        }
    }
}
