//! Load on a media proxy that speaks rtpengine's NG protocol:
//! `cargo run --release -p loadtest --example ng -- TO CALLS [SECONDS [PID]]`
#![expect(clippy::print_stdout, reason = "a command that prints a report")]

use loadtest::ng::{LoadNg, Says, run};
use loadtest::speech::Codec;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [to, calls, rest @ ..] = arguments.as_slice() else {
        return Err("TO CALLS [SECONDS [PID]]".into());
    };
    let seconds: f64 = rest.first().map_or(Ok(4.0), |text| text.parse())?;
    let mut load = LoadNg::new(to.parse()?, calls.parse()?, 250.0, seconds);
    load.media = Some([Says::Speech(Codec::Pcmu), Says::Speech(Codec::Pcmu)]);
    load.pid = rest.get(1).map(|pid| pid.parse()).transpose()?;
    println!("{}", run(&load, |_| ())?);
    Ok(())
}
