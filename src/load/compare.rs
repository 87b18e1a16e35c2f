//! `strowger load compare`: two engines under the same load in turns.

use super::ng::written;
use super::voices;
use crate::usage;
use anyhow::{Context, Result, bail};
use loadtest::compare::{self, Case, Compare, Spec};
use loadtest::{html, peers};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `load compare`.
#[derive(clap::Args)]
pub struct Arguments {
    /// The first engine: strowger or rtpengine, which are started on loopback, or ng:ADDRESS:PORT[,pid=NUMBER].
    #[arg(long, value_name = "ENGINE", default_value = "strowger")]
    a: Spec,
    /// The second one, by which the first is measured.
    #[arg(long, value_name = "ENGINE", default_value = "rtpengine")]
    b: Spec,
    /// What both get: issue is relay at 250 and 500 calls, set-up at 500 calls a second, conversions, memory.
    #[arg(long, value_enum, default_value_t = Suite::Issue)]
    suite: Suite,
    /// Only loads whose name has this in it, such as 'relay' or 'Opus'.
    #[arg(long, default_value = "")]
    only: String,
    /// How often each load is given to each engine.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long each load lasts.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Calls of each load, instead of its own number.
    #[arg(long)]
    calls: Option<usize>,
    /// How hard our engine's Opus encoders try; rtpengine's do 10.
    #[arg(long, default_value_t = 10)]
    opus_complexity: u8,
    /// How media shards of our engine receive and send: auto, epoll or uring.
    #[arg(long, default_value = "auto")]
    backend: String,
    /// Another build of our engine.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Everything random follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Writes the findings here.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes them here as a page.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Suite {
    Issue,
}

/// Runs it and prints the table.
pub fn run(arguments: &Arguments) -> ExitCode {
    match run_all(arguments) {
        Ok(code) => code,
        Err(error) => usage(format!("load compare: {error:#}")),
    }
}

fn run_all(arguments: &Arguments) -> Result<ExitCode> {
    let compare = plan(arguments)?;
    if compare.engines.iter().any(|engine| !matches!(engine, Spec::Running { .. })) {
        peers::stay_on_first_processor();
    }
    let live = std::io::stderr().is_terminal();
    let found = compare::run(&compare, |what| {
        if live {
            eprint!("\r\x1b[K{what} …");
            let _ = std::io::stderr().flush();
        }
    })?;
    if live {
        eprint!("\r\x1b[K");
    }
    println!("{found}");
    written(arguments.json.as_deref(), &found.json())?;
    written(arguments.html.as_deref(), &html::write(&found.page()))?;
    Ok(ExitCode::from(found.exit_status()))
}

fn plan(arguments: &Arguments) -> Result<Compare> {
    if arguments.rounds == 0 || !(arguments.seconds > 0.0 && arguments.seconds.is_finite()) {
        bail!("--rounds and --seconds must be more than 0");
    }
    if arguments.opus_complexity > 10 {
        bail!("--opus-complexity is from 0 to 10");
    }
    let mut cases = match arguments.suite {
        Suite::Issue => compare::issue(arguments.seconds, &voices::recording),
    };
    cases.retain(|case: &Case| case.name.to_lowercase().contains(&arguments.only.to_lowercase()));
    if cases.is_empty() {
        bail!("--only {}: there is no such load", arguments.only);
    }
    if let Some(calls) = arguments.calls {
        if calls == 0 {
            bail!("--calls must be more than 0");
        }
        for case in &mut cases {
            case.load.calls = calls;
            case.few = case.few.map(|_| (calls / 5).max(1));
            case.name = format!("{}, {calls} calls", case.name.split(',').next().unwrap_or_default());
        }
    }
    let program = match &arguments.program {
        Some(program) => program.clone(),
        None => std::env::current_exe().context("our own program")?,
    };
    let engine = vec![
        format!("opus_complexity = {}", arguments.opus_complexity),
        format!("backend = {:?}", arguments.backend),
    ];
    Ok(Compare {
        engines: [arguments.a.clone(), arguments.b.clone()],
        cases,
        rounds: arguments.rounds,
        seed: arguments.seed,
        program,
        engine,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn planned(words: &str) -> Result<Compare> {
        plan(&Command::try_parse_from(format!("compare {words}").split_whitespace())?.arguments)
    }

    #[test]
    fn one_command_has_every_row_of_the_issue() {
        let compare = planned("--a strowger --b rtpengine --suite issue").unwrap();
        let names: Vec<&str> = compare.cases.iter().map(|case| case.name.as_str()).collect();
        for part in ["relay, 250", "relay, 500", "set-up, 500", "Opus", "PCMA", "G.722", "memory"] {
            assert!(names.iter().any(|name| name.contains(part)), "{part}: {names:?}");
        }
    }

    #[test]
    fn parts_of_it_can_be_chosen() {
        let compare = planned("--b ng:127.0.0.1:2223,pid=7 --only opus --calls 3").unwrap();
        assert_eq!(compare.cases[0].name, "PCMU to Opus, 3 calls");
        assert_eq!((compare.cases.len(), compare.cases[0].load.calls), (1, 3));
        for bad in
            ["--only fax", "--rounds 0", "--seconds 0", "--opus-complexity 11", "--a kamailio", "--calls 0"]
        {
            assert!(planned(bad).is_err(), "{bad}");
        }
    }
}
