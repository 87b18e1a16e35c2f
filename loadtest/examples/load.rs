//! Calls through a system, from the command line, for use before and without the `strowger` binary:
//! `cargo run --release -p loadtest --example load -- TO CALLS CPS SECONDS [UAC [UAS [PID]]]`, `-` for none.
#![expect(clippy::print_stdout, reason = "a command that prints a table")]

use loadtest::run::{LoadSip, run};

fn main() -> Result<std::process::ExitCode, Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [to, calls, cps, seconds, rest @ ..] = arguments.as_slice() else {
        return Err("TO CALLS CPS SECONDS [UAC [UAS [PID]]]".into());
    };
    let given = |at: usize| rest.get(at).filter(|text| *text != "-");
    let mut load = LoadSip::ramp(to.parse()?, calls.parse()?, cps.parse()?, seconds.parse()?);
    if let Some(uac) = given(0) {
        load.uac = uac.parse()?;
    }
    load.uas = given(1).map(|uas| uas.parse()).transpose()?;
    load.pid = given(2).map(|pid| pid.parse()).transpose()?;
    if std::env::var_os("NO_MEDIA").is_some() {
        load.media = None;
    }
    let report = run(&load, |p| {
        let media = p.media.clone().unwrap_or_default();
        println!(
            "{:5.1}s  {} active  {} done  {} failed  {} sent  {} missing  p99 {:.0} µs",
            p.seconds,
            p.calls.active,
            p.calls.completed,
            p.calls.failed,
            media.sent,
            media.missing,
            media.p99_us
        );
    })?;
    println!("{report}");
    Ok(report.exit_status().into())
}
