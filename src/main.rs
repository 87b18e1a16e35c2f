//! `strowger`: reads the command line, then wires. What each command does lives in a module of its own.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]
#![expect(clippy::disallowed_methods, reason = "a shell: it starts threads and child processes")]
mod logging; // structured logs, off the threads that write them
mod metrics; // figures of media shards and hooks on the metrics page
mod standing; // how trunks, groups and limits stand now
mod clips; // sounds to be played: found, fetched, decoded, kept
mod forks; // where copies of speech may go, and WebSockets for them
mod engine; // the running engine as control sees it
mod keeping; // bans, versions and the index of recordings, over restarts
mod run; // `run`: builds the parts and the rings, supervises, stops
mod check; // `check`, `inspect`, `doctor`
mod explain; // `route explain --config`
mod import; // `config import`
mod client; // `calls`, `trunks`, `bans`, `events` and the like: the API from the terminal
mod load; // `demo`, `load`

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Signalling makes and drops many small things of every size; this allocator does that in less time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A session border controller and media engine in one binary.
#[derive(Parser)]
#[command(name = "strowger", version, about, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the engine: SIGTERM drains then stops, SIGHUP applies the file.
    #[command(after_help = "Example: strowger run /etc/strowger/strowger.toml")]
    Run(run::Arguments),
    /// Checks a configuration: every error with line, key and what is allowed. Exit 0 or 2.
    #[command(after_help = "Example: strowger check strowger.toml --defaults")]
    Check(check::CheckArguments),
    /// Starts an engine on loopback, sends real SIP calls with RTP through it, shows a live table and a verdict.
    #[command(after_help = "Example: strowger demo --calls 100 --cps 20 --seconds 15 --json demo.json")]
    Demo(load::DemoArguments),
    /// Loads a SIP system with calls and media, and judges every packet.
    #[command(
        after_help = "Example: strowger load sip --to sip:127.0.0.1:5060 --calls 100 --cps 20 --seconds 30 \
                            --uas 127.0.0.3:5060 --slo 'setup_p99<50ms,loss<0.01%'"
    )]
    Load(load::LoadArguments),
    /// What this host offers, and what to do about what is missing.
    #[command(after_help = "Example: strowger doctor")]
    Doctor,
    /// Parses one message and prints what it is as JSON.
    #[command(after_help = "Example: strowger inspect sip message.txt")]
    Inspect {
        /// What the file holds.
        kind: check::InspectKind,
        /// Raw bytes of one message.
        file: PathBuf,
    },
    #[command(flatten)]
    Client(client::Command),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Check(arguments) => check::check(&arguments),
        Command::Demo(arguments) => load::demo(&arguments),
        Command::Load(arguments) => load::load(&arguments),
        Command::Doctor => check::doctor(),
        Command::Inspect { kind, file } => check::inspect(kind, &file),
        Command::Client(command) => terminal(&command),
    }
}

/// The API from the terminal.
fn terminal(command: &client::Command) -> ExitCode {
    let stdout = std::io::stdout();
    let terminal = std::io::IsTerminal::is_terminal(&stdout);
    let mut screen = client::Screen {
        out: &mut stdout.lock(),
        terminal,
        offline: explain::offline,
        import: import::import,
    };
    match client::run(command, &mut screen) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if error.exit_code() != 0 {
                eprintln!("strowger: {error}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}

/// A usage or configuration error: said once, exit status 2.
fn usage(message: impl std::fmt::Display) -> ExitCode {
    eprintln!("strowger: {message}");
    ExitCode::from(2)
}
