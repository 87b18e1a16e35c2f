//! The yardstick: what the bare relays cost on this machine. `cargo run --release -p loadtest --example bare [CALLS]`
#![expect(clippy::print_stdout, reason = "a command that prints a table")]

use std::net::Ipv4Addr;
use std::time::Duration;

use loadtest::relay::{self, Load};
use loadtest::{bare, media, sys};

fn main() -> std::io::Result<()> {
    sys::raise_descriptor_limit();
    let calls: Vec<usize> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let calls = if calls.is_empty() { vec![100, 250, 500, 1000] } else { calls };
    println!("{:>6} {:<6} {:>9} {:>7} {:>7}  latency", "calls", "kind", "ns/packet", "lost", "gen cpu");
    for calls in calls {
        for (kind, start) in [("epoll", bare::epoll::start as fn(_, _) -> _), ("uring", bare::uring::start)] {
            let load = Load {
                media: media::Config { cpu: Some(0), ..media::Config::default() },
                warm_up: Duration::from_secs(1),
                measure: Duration::from_secs(4),
                pid: None,
            };
            let report = relay::run_bare(&load, calls, Ipv4Addr::LOCALHOST.into(), Some(1), start)?;
            let media = &report.media;
            println!(
                "{calls:>6} {kind:<6} {:>9.0} {:>7} {:>6.0}%  {}{}",
                report.cpu_ns_per_packet.unwrap_or_default(),
                media.counts.lost,
                media.cpu_seconds / media.seconds * 100.0,
                media.latency,
                media.invalid.as_ref().map(|why| format!("  INVALID: {why}")).unwrap_or_default(),
            );
        }
    }
    Ok(())
}
