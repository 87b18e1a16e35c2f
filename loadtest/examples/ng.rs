//! Load on a media proxy that speaks rtpengine's NG protocol:
//! `cargo run --release -p loadtest --example ng -- TO CALLS [SECONDS [PID]]`
#![expect(clippy::print_stdout, reason = "a command that prints a report")]

use std::time::Duration;

use loadtest::ng::{LoadNg, run};
use loadtest::{media, relay};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [to, calls, rest @ ..] = arguments.as_slice() else {
        return Err("TO CALLS [SECONDS [PID]]".into());
    };
    let seconds: f64 = rest.first().map_or(Ok(4.0), |text| text.parse())?;
    let load = relay::Load {
        media: media::Config { rtcp: false, ..media::Config::default() },
        warm_up: Duration::from_secs(1),
        measure: Duration::from_secs_f64(seconds),
        pid: rest.get(1).map(|pid| pid.parse()).transpose()?,
    };
    let parties = [[127, 0, 0, 1].into(); 2];
    let report = run(&LoadNg { to: to.parse()?, calls: calls.parse()?, parties, load })?;
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}
