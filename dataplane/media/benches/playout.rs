//! What the playout of decoded media makes of networks: `cargo bench -p media --bench playout`. One line a trace and way
//! of playing. The traces are those of `../shared/testdata/network` and some of our own.
#![expect(clippy::print_stdout, reason = "prints a table")]
#![expect(clippy::disallowed_methods, reason = "times what a party costs")]

#[path = "../tests/playout/traces.rs"]
mod traces;

use base::{Duration, Instant};
use media::wire::rtp::Header;
use traces::{all, levels_payload, play, playout};

fn main() {
    println!(
        "playout of 20 ms packets at a 20 ms tick; delays in ms; cut and put: ms of time-scaling a minute"
    );
    println!(
        "{:22} {:8} {:>6} {:>9} {:>7} {:>7} {:>5} {:>6} {:>6} {:>6} {:>6} {:>5} {:>5} {:>7}",
        "trace",
        "way",
        "loss %",
        "conceal %",
        "wait %",
        "frame %",
        "late",
        "delay",
        "p99",
        "limit",
        "depth",
        "cut",
        "put",
        "unheard"
    );
    for trace in all() {
        for (way, playout) in [
            ("scaled", playout(false)),
            ("unscaled", playout(false).without_scaling()),
            ("patient", playout(true)),
        ] {
            let score = play(&trace, playout, 7_000);
            let mut depth = score.depth.clone();
            depth.sort_by(f64::total_cmp);
            println!(
                "{:22} {:8} {:6.2} {:9.2} {:7.2} {:7.2} {:5} {:6.1} {:6.1} {:6.1} {:6.1} {:5} {:5} {:7}",
                trace.name,
                way,
                score.loss,
                score.concealed,
                score.waited,
                score.made_up,
                score.report.late,
                score.mean_delay,
                score.p99,
                score.p99 + 40.0,
                depth[depth.len() / 2],
                score.report.shortened / 8,
                score.report.stretched / 8,
                score.unheard,
            );
        }
    }
    cost();
}

/// What 1,000 parties cost for each packet of 20 ms, put in and pulled, without a codec.
fn cost() {
    const PARTIES: usize = 1_000;
    const TICKS: u32 = 500;
    let mut parties: Vec<_> = (0..PARTIES).map(|_| playout(false)).collect();
    let (payload, mut pcm) = (levels_payload(1), [0; 160]);
    let begun = std::time::Instant::now();
    for tick in 0..TICKS {
        let now = Instant(1_000_000_000) + Duration::from_millis(u64::from(tick) * 20);
        let header = Header { sequence: tick as u16, timestamp: tick * 160, ..Header::default() };
        for party in &mut parties {
            let _ = party.insert(now, &header, &payload);
            party.pull(now, &mut pcm);
        }
    }
    let nanos = begun.elapsed().as_nanos() / (PARTIES as u128 * u128::from(TICKS));
    println!("{PARTIES} parties: {nanos} ns a packet, inserted and pulled, without a codec");
}
