//! What the playout of decoded media makes of networks: `cargo bench -p media --bench playout`. One line a trace and way
//! of playing. The traces are those of `../shared/testdata/network` and some of our own.
#![expect(clippy::print_stdout, reason = "prints a table")]

#[path = "../tests/playout/traces.rs"]
mod traces;

use traces::{all, play, playout};

fn main() {
    println!(
        "playout of 20 ms packets at a 20 ms tick; delays in ms; cut and put: ms of time-scaling a minute"
    );
    println!(
        "{:22} {:8} {:>6} {:>9} {:>7} {:>7} {:>5} {:>6} {:>6} {:>6} {:>6} {:>5} {:>5}",
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
        "put"
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
                "{:22} {:8} {:6.2} {:9.2} {:7.2} {:7.2} {:5} {:6.1} {:6.1} {:6.1} {:6.1} {:5} {:5}",
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
            );
        }
    }
}
