//! The commands that ask a running engine through its API. Parsed arguments in, text out; whoever wires them owns
//! standard output. Exit status: 0 done, 1 not done, 2 usage or configuration.

mod http; // one request over a plain TCP connection
mod table; // columns, times and texts that cannot harm a terminal
mod show; // all of one call
mod ladder; // a call's messages as a drawing
mod routing; // `route explain`, `trunks`, `limits`
mod bans; // `bans`
mod cdrs; // `cdrs`
mod events; // `events`
mod media; // what calls say and hear; `rooms`, `recordings`

use clap::{Args, Subcommand};
use http::{Answer, Api};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use table::{Table, clean, clock_time, duration};

/// Where the engine is, and how to show what it says.
#[derive(Args, Clone, Debug)]
pub struct ApiArgs {
    /// Address of the engine's API; also by STROWGER_API
    #[arg(long, global = true, value_name = "URL")]
    pub api: Option<String>,
    /// Token for the API, or env:NAME or file:PATH; also by STROWGER_TOKEN
    #[arg(long, global = true, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Print what the API says, as JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// The commands that talk to a running engine.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Calls that exist now
    #[command(
        after_help = "Example: strowger calls list --trunk acme\n         strowger calls trace ID --pcap call.pcap"
    )]
    Calls(Calls),
    /// Rooms in which calls hear each other
    #[command(after_help = "Example: strowger rooms show blue")]
    Rooms(media::Rooms),
    /// Recordings of calls and rooms
    #[command(
        after_help = "Example: strowger recordings list --limit 20\n         strowger recordings get ID --out call.wav"
    )]
    Recordings(media::Recordings),
    /// Trunks, whether they are called, and the calls on them
    #[command(after_help = "Example: strowger trunks\n         strowger trunks disable acme --for 10m")]
    Trunks(routing::Trunks),
    /// Where a call would go
    #[command(
        after_help = "Example: strowger route explain --from 2001 --to +15035550100 --source 10.0.0.2:5060"
    )]
    Route(routing::Route),
    /// How full every limit is
    #[command(after_help = "Example: strowger limits")]
    Limits(routing::Limits),
    /// Sources that are not listened to
    #[command(after_help = "Example: strowger bans add 203.0.113.0/24 --for 1h --reason scans")]
    Bans(bans::Bans),
    /// Call detail records
    #[command(after_help = "Example: strowger cdrs list --trunk acme --limit 20")]
    Cdrs(cdrs::Cdrs),
    /// What happens, as it happens
    #[command(after_help = "Example: strowger events --kind 'fraud.*,trunk.*'")]
    Events(events::Events),
    /// The configuration in force
    #[command(
        after_help = "Example: strowger config diff strowger.toml && strowger config apply strowger.toml"
    )]
    Config(Configuration),
    /// What the engine logs
    #[command(after_help = "Example: strowger log set sip=debug")]
    Log(Log),
    /// Take no new calls; those in progress go on
    #[command(after_help = "Example: strowger drain\n         strowger drain --off")]
    Drain(Drain),
}

/// `strowger calls`.
#[derive(Args, Debug)]
pub struct Calls {
    /// Where the engine is.
    #[command(flatten)]
    pub api: ApiArgs,
    /// What to do; `list` if not said.
    #[command(subcommand)]
    pub command: Option<CallsCommand>,
}

/// What to do with calls.
#[derive(Subcommand, Debug)]
pub enum CallsCommand {
    /// One line a call, newest first
    #[command(after_help = "Example: strowger calls list --number +1503 --limit 20")]
    List(CallsFilter),
    /// All of one call, and a sentence a leg that explains its media
    #[command(after_help = "Example: strowger calls show 019a0c1e5f3a000000000001")]
    Show {
        /// Id of the call
        id: String,
    },
    /// The list, again and again; into a pipe, only what changes
    #[command(after_help = "Example: strowger calls watch --trunk acme --every 0.5")]
    Watch {
        /// Which calls.
        #[command(flatten)]
        filter: CallsFilter,
        /// Seconds between two looks
        #[arg(long, default_value_t = 1.0, value_name = "SECONDS")]
        every: f64,
        /// End after so many looks
        #[arg(long, value_name = "N")]
        times: Option<u64>,
    },
    /// The call's messages as a ladder, or as a capture file
    #[command(after_help = "Example: strowger calls trace 019a0c1e5f3a000000000001 --pcap call.pcap")]
    Trace {
        /// Id of the call
        id: String,
        /// Write a capture file for tshark or Wireshark; - is standard output
        #[arg(long, value_name = "FILE")]
        pcap: Option<PathBuf>,
    },
    /// Play a sound or tone to a call
    #[command(
        after_help = "Example: strowger calls play 019a0c1e5f3a000000000001 tone:busy/de --leg a --loop 3"
    )]
    Play(media::Play),
    /// Send digits to a leg
    #[command(after_help = "Example: strowger calls dtmf 019a0c1e5f3a000000000001 '12#' --leg b")]
    Dtmf(media::Dtmf),
    /// Record a call: start, stop, pause, resume
    #[command(after_help = "Example: strowger calls record 019a0c1e5f3a000000000001 start --layout stereo")]
    Record(media::Record),
    /// Send what is said in a call elsewhere as well
    #[command(
        after_help = "Example: strowger calls fork 019a0c1e5f3a000000000001 rtp://192.0.2.9:4000 --layout stereo"
    )]
    Fork(media::Fork),
    /// Stop what plays, is sent, recorded or forked
    #[command(
        after_help = "Example: strowger calls stop 019a0c1e5f3a000000000001 019a0c1e5f3a000000000001-1"
    )]
    Stop(media::Stop),
    /// Silence a leg
    #[command(after_help = "Example: strowger calls mute 019a0c1e5f3a000000000001 --leg a --direction in")]
    Mute(media::Mute),
    /// Put a leg on hold, with music or without
    #[command(
        after_help = "Example: strowger calls hold 019a0c1e5f3a000000000001 --leg a --music waiting.wav"
    )]
    Hold(media::Hold),
    /// Put a call into a room, or together with another call
    #[command(after_help = "Example: strowger calls join 019a0c1e5f3a000000000001 --room blue")]
    Join(media::Join),
    /// Take a call out of its room
    #[command(after_help = "Example: strowger calls leave 019a0c1e5f3a000000000001")]
    Leave {
        /// Id of the call
        id: String,
    },
    /// End a call
    #[command(after_help = "Example: strowger calls hangup 019a0c1e5f3a000000000001")]
    Hangup {
        /// Id of the call
        id: String,
    },
}

/// Which calls.
#[derive(Args, Debug, Default)]
pub struct CallsFilter {
    /// Only calls of this trunk, either side
    #[arg(long, value_name = "NAME")]
    pub trunk: Option<String>,
    /// Only calls whose caller or callee contains this
    #[arg(long, value_name = "DIGITS")]
    pub number: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

/// `strowger config`.
#[derive(Args, Debug)]
pub struct Configuration {
    /// Where the engine is.
    #[command(flatten)]
    pub api: ApiArgs,
    /// What to do; `show` if not said.
    #[command(subcommand)]
    pub command: Option<ConfigurationCommand>,
}

/// What to do with the configuration.
#[derive(Subcommand, Debug)]
pub enum ConfigurationCommand {
    /// The text in force, or a kept version
    #[command(after_help = "Example: strowger config show --version 3")]
    Show {
        /// Its number
        #[arg(long, value_name = "N")]
        version: Option<u64>,
    },
    /// The kept versions
    #[command(after_help = "Example: strowger config versions")]
    Versions,
    /// What a file would change
    #[command(after_help = "Example: strowger config diff strowger.toml")]
    Diff {
        /// The file
        file: PathBuf,
    },
    /// Put a file in force, whole or not at all
    #[command(after_help = "Example: strowger config apply strowger.toml --if-version 3")]
    Apply {
        /// The file
        file: PathBuf,
        /// Only if this version is in force
        #[arg(long, value_name = "N")]
        if_version: Option<u64>,
    },
    /// Make a configuration of an rtpengine.conf
    #[command(after_help = "Example: strowger config import /etc/rtpengine/rtpengine.conf > strowger.toml")]
    Import {
        /// An rtpengine.conf
        file: PathBuf,
        /// Its section
        #[arg(long, value_name = "NAME", default_value = "rtpengine")]
        section: String,
    },
    /// Put a kept version in force again
    #[command(after_help = "Example: strowger config rollback 2")]
    Rollback {
        /// Its number
        version: u64,
    },
}

/// `strowger log`.
#[derive(Args, Debug)]
pub struct Log {
    /// Where the engine is.
    #[command(flatten)]
    pub api: ApiArgs,
    /// What to do; `show` if not said.
    #[command(subcommand)]
    pub command: Option<LogCommand>,
}

/// What to do with the log.
#[derive(Subcommand, Debug)]
pub enum LogCommand {
    /// Set the filter until the engine's next start
    #[command(after_help = "Example: strowger log set info,sip=debug")]
    Set {
        /// Such as info or sip=debug
        filter: String,
    },
    /// The filter in force
    Show,
}

/// `strowger drain`.
#[derive(Args, Debug)]
pub struct Drain {
    /// Where the engine is.
    #[command(flatten)]
    pub api: ApiArgs,
    /// Take new calls again
    #[arg(long)]
    pub off: bool,
}

/// Why a command did not do its work.
#[derive(Debug)]
pub enum ClientError {
    /// An argument or a file cannot be used.
    Usage(String),
    /// Nobody answers there.
    Unreachable(String),
    /// The engine refuses.
    Refused {
        /// Its status.
        status: u16,
        /// What it says.
        message: String,
    },
    /// Standard output or a file cannot be written.
    Output(io::Error),
}

impl ClientError {
    /// For the process.
    pub fn exit_code(&self) -> u8 {
        match self {
            // A reader that has seen enough, such as `head`.
            ClientError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            ClientError::Refused { status: 400 | 401 | 403 | 413 | 415 | 422, .. }
            | ClientError::Usage(_) => 2,
            ClientError::Refused { .. } | ClientError::Unreachable(_) | ClientError::Output(_) => 1,
        }
    }
}

impl core::fmt::Display for ClientError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            ClientError::Usage(text) | ClientError::Unreachable(text) => f.write_str(text),
            ClientError::Refused { message, .. } => f.write_str(message),
            ClientError::Output(error) => write!(f, "cannot write: {error}"),
        }
    }
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        ClientError::Output(error)
    }
}

/// Where the text goes.
pub struct Screen<'a> {
    /// Standard output, or a buffer.
    pub out: &'a mut dyn Write,
    /// Somebody watches: the screen may be redrawn.
    pub terminal: bool,
    /// Decides by a file what would happen to a call; given the question, and giving the decision, as the API does.
    pub offline: fn(&Path, &str) -> Result<Value, String>,
    /// Makes a configuration of a section of an rtpengine.conf.
    pub import: fn(&Path, &str) -> Result<String, String>,
}

/// Runs one command.
///
/// # Errors
/// See [`ClientError`]; its text is for people, its [`ClientError::exit_code`] for the shell.
pub fn run(command: &Command, screen: &mut Screen<'_>) -> Result<(), ClientError> {
    match command {
        Command::Calls(args) => calls(args, screen),
        Command::Rooms(args) => media::rooms(args, screen),
        Command::Recordings(args) => media::recordings(args, screen),
        Command::Trunks(args) => routing::trunks(args, screen),
        Command::Route(args) => routing::route(args, screen),
        Command::Limits(args) => routing::limits(args, screen),
        Command::Bans(args) => bans::run(args, screen),
        Command::Cdrs(args) => cdrs::run(args, screen),
        Command::Events(args) => events::run(args, screen),
        Command::Config(args) => configuration(args, screen),
        Command::Log(args) => log(args, screen),
        Command::Drain(args) => drain(args, screen),
    }
}

fn calls(args: &Calls, screen: &mut Screen<'_>) -> Result<(), ClientError> {
    let api = Api::new(&args.api)?;
    match args.command.as_ref().unwrap_or(&CallsCommand::List(CallsFilter::default())) {
        CallsCommand::List(filter) => {
            let answer = api.get(&list_path(filter))?;
            if api.json {
                return print_json(&answer, screen);
            }
            Ok(screen.out.write_all(list_table(&answer.json()?).as_bytes())?)
        }
        CallsCommand::Show { id } => {
            let answer = api.get(&call_path(id))?;
            if api.json {
                return print_json(&answer, screen);
            }
            Ok(screen.out.write_all(show::call(&answer.json()?).as_bytes())?)
        }
        CallsCommand::Watch { filter, every, times } => {
            let every = Duration::try_from_secs_f64(every.max(0.05))
                .map_err(|_| ClientError::Usage("--every must be a number of seconds".into()))?;
            watch(&api, filter, every, *times, screen)
        }
        CallsCommand::Trace { id, pcap: Some(file) } => {
            let answer = api.get(&format!("{}/trace?format=pcap", call_path(id)))?;
            if file.as_os_str() == "-" {
                return Ok(screen.out.write_all(&answer.body)?);
            }
            std::fs::write(file, &answer.body)?;
            Ok(writeln!(screen.out, "{} bytes written to {}", answer.body.len(), file.display())?)
        }
        CallsCommand::Trace { id, pcap: None } => {
            let answer = api.get(&format!("{}/trace", call_path(id)))?;
            if api.json {
                return print_json(&answer, screen);
            }
            Ok(screen.out.write_all(ladder::draw(&answer.json()?).as_bytes())?)
        }
        CallsCommand::Play(args) => media::play(&api, args, screen),
        CallsCommand::Dtmf(args) => media::dtmf(&api, args, screen),
        CallsCommand::Record(args) => media::record(&api, args, screen),
        CallsCommand::Fork(args) => media::fork(&api, args, screen),
        CallsCommand::Stop(args) => media::stop(&api, args, screen),
        CallsCommand::Mute(args) => media::mute(&api, args, screen),
        CallsCommand::Hold(args) => media::hold(&api, args, screen),
        CallsCommand::Join(args) => media::join(&api, args, screen),
        CallsCommand::Leave { id } => media::leave(&api, id, screen),
        CallsCommand::Hangup { id } => {
            api.send("DELETE", &call_path(id), &[], b"")?;
            if api.json {
                return Ok(writeln!(screen.out, "{}", json!({ "id": id, "ending": true }))?);
            }
            Ok(writeln!(screen.out, "call {} is being ended", clean(id))?)
        }
    }
}

fn call_path(id: &str) -> String {
    format!("/v1/calls/{}", http::escape(id))
}

fn list_path(filter: &CallsFilter) -> String {
    let mut path = "/v1/calls".to_owned();
    let limit = filter.limit.map(|limit| limit.to_string());
    let pairs = [("trunk", &filter.trunk), ("number", &filter.number), ("limit", &limit)];
    for (name, value) in pairs.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
        path.push(if path.contains('?') { '&' } else { '?' });
        path.push_str(&format!("{name}={}", http::escape(value)));
    }
    path
}

fn list_table(list: &Value) -> String {
    let mut table = Table::new(&["ID", "STATE", "SINCE", "LENGTH", "FROM", "TO", "IN", "OUT"]);
    for row in rows(list, "calls") {
        let field = |name: &str| clean(row[name].as_str().unwrap_or("-"));
        table.row([
            field("id"),
            field("state"),
            clock_time(&row["created"]),
            row["duration_ms"].as_u64().map_or_else(|| "-".to_owned(), duration),
            field("from"),
            field("to"),
            field("trunk_in"),
            field("trunk_out"),
        ]);
    }
    let count = rows(list, "calls").len();
    let more = if list["more"] == true { " shown, there are more" } else { "" };
    format!("{table}{count} call{}{more}\n", if count == 1 { "" } else { "s" })
}

/// On a terminal the list is redrawn; into a pipe go only the calls whose state has changed.
fn watch(
    api: &Api,
    filter: &CallsFilter,
    every: Duration,
    times: Option<u64>,
    screen: &mut Screen<'_>,
) -> Result<(), ClientError> {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut looks = 0;
    loop {
        let answer = api.get(&list_path(filter))?;
        if screen.terminal && !api.json {
            // Home and clear to the end: less flicker than clearing first.
            write!(screen.out, "\x1b[H{}\x1b[J", list_table(&answer.json()?).replace('\n', "\x1b[K\n"))?;
        } else {
            changes(&answer.json()?, &mut known, api.json, screen)?;
        }
        screen.out.flush()?;
        looks += 1;
        if times.is_some_and(|times| looks >= times) {
            return Ok(());
        }
        std::thread::sleep(every);
    }
}

fn changes(
    list: &Value,
    known: &mut BTreeMap<String, String>,
    json: bool,
    screen: &mut Screen<'_>,
) -> Result<(), ClientError> {
    let mut gone = core::mem::take(known);
    for row in rows(list, "calls") {
        let (id, state) = (row["id"].as_str().unwrap_or(""), row["state"].as_str().unwrap_or(""));
        if gone.remove(id).as_deref() != Some(state) {
            if json {
                writeln!(screen.out, "{row}")?;
            } else {
                let field = |name: &str| clean(row[name].as_str().unwrap_or("-"));
                let (from, to) = (field("from"), field("to"));
                writeln!(screen.out, "{id} {state} {from} -> {to} {}", field("trunk_in"))?;
            }
        }
        known.insert(id.to_owned(), state.to_owned());
    }
    // A list that was cut says nothing about the calls that are not on it.
    if list["more"] != true {
        for id in gone.keys() {
            if json {
                writeln!(screen.out, "{}", json!({ "id": id, "state": "ended" }))?;
            } else {
                writeln!(screen.out, "{id} ended")?;
            }
        }
    }
    Ok(())
}

fn configuration(args: &Configuration, screen: &mut Screen<'_>) -> Result<(), ClientError> {
    let api = Api::new(&args.api)?;
    match args.command.as_ref().unwrap_or(&ConfigurationCommand::Show { version: None }) {
        ConfigurationCommand::Show { version } => {
            let query = version.map_or_else(String::new, |version| format!("?version={version}"));
            let answer = api.get(&format!("/v1/config{query}"))?;
            if api.json {
                let text = String::from_utf8_lossy(&answer.body);
                return Ok(writeln!(screen.out, "{}", json!({ "version": answer.version(), "text": text }))?);
            }
            Ok(screen.out.write_all(&answer.body)?)
        }
        ConfigurationCommand::Import { file, section } => {
            let imported = (screen.import)(file, section).map_err(ClientError::Usage)?;
            Ok(screen.out.write_all(imported.as_bytes())?)
        }
        ConfigurationCommand::Versions => {
            let answer = api.get("/v1/config/versions")?;
            if api.json {
                return print_json(&answer, screen);
            }
            let list = answer.json()?;
            let mut table = Table::new(&["VERSION", "APPLIED", ""]);
            for version in rows(&list, "versions") {
                let current = if version["version"] == list["current"] { "in force" } else { "" };
                let applied = clean(version["applied"].as_str().unwrap_or(""));
                table.row([version["version"].to_string(), applied, current.to_owned()]);
            }
            Ok(write!(screen.out, "{table}")?)
        }
        ConfigurationCommand::Diff { file } => {
            let answer = with_file(file, |text| api.send("POST", "/v1/config/diff", &[TOML], text))?;
            if api.json {
                return print_json(&answer, screen);
            }
            let diff = answer.json()?;
            for change in rows(&diff, "changes") {
                let path = clean(change["path"].as_str().unwrap_or(""));
                let (before, after) = (&change["before"], &change["after"]);
                match (before.is_null(), after.is_null()) {
                    (true, _) => writeln!(screen.out, "+ {path} = {after}")?,
                    (_, true) => writeln!(screen.out, "- {path} = {before}")?,
                    _ => writeln!(screen.out, "~ {path} = {before} -> {after}")?,
                }
            }
            let (count, version) = (rows(&diff, "changes").len(), &diff["version"]);
            let plural = if count == 1 { "" } else { "s" };
            Ok(writeln!(screen.out, "{count} change{plural} against version {version}")?)
        }
        ConfigurationCommand::Apply { file, if_version } => {
            let guard = if_version.map(|version| format!("If-Match: \"{version}\""));
            let headers: Vec<&str> = [TOML].into_iter().chain(guard.as_deref()).collect();
            let answer = with_file(file, |text| api.send("PUT", "/v1/config", &headers, text))?;
            in_force(&api, &answer, screen)
        }
        ConfigurationCommand::Rollback { version } => {
            let body = json!({ "version": version }).to_string();
            let answer = api.send("POST", "/v1/config/rollback", &[JSON], body.as_bytes())?;
            in_force(&api, &answer, screen)
        }
    }
}

/// Reads the file and sends it; what the engine says of lines is said of the file.
fn with_file(
    file: &PathBuf,
    send: impl FnOnce(&[u8]) -> Result<Answer, ClientError>,
) -> Result<Answer, ClientError> {
    let text =
        std::fs::read(file).map_err(|error| ClientError::Usage(format!("{}: {error}", file.display())))?;
    send(&text).map_err(|error| match error {
        ClientError::Refused { status: 422, message } => {
            let lines: Vec<String> =
                message.lines().map(|line| format!("{}: {line}", file.display())).collect();
            ClientError::Refused { status: 422, message: lines.join("\n") }
        }
        error => error,
    })
}

fn in_force(api: &Api, answer: &Answer, screen: &mut Screen<'_>) -> Result<(), ClientError> {
    if api.json {
        return print_json(answer, screen);
    }
    Ok(writeln!(screen.out, "version {} is in force", answer.json()?["version"])?)
}

fn log(args: &Log, screen: &mut Screen<'_>) -> Result<(), ClientError> {
    let api = Api::new(&args.api)?;
    let answer = match &args.command {
        Some(LogCommand::Set { filter }) => {
            api.send("PUT", "/v1/log", &[JSON], json!({ "filter": filter }).to_string().as_bytes())?
        }
        Some(LogCommand::Show) | None => api.get("/v1/log")?,
    };
    if api.json {
        return print_json(&answer, screen);
    }
    Ok(writeln!(screen.out, "log = {}", answer.json()?["filter"])?)
}

fn drain(args: &Drain, screen: &mut Screen<'_>) -> Result<(), ClientError> {
    let api = Api::new(&args.api)?;
    let answer = api.send("POST", "/v1/drain", &[JSON], json!({ "on": !args.off }).to_string().as_bytes())?;
    if api.json {
        return print_json(&answer, screen);
    }
    let says = if answer.json()?["on"] == true { "draining: no new calls" } else { "taking new calls" };
    Ok(writeln!(screen.out, "{says}")?)
}

const TOML: &str = "Content-Type: application/toml";
const JSON: &str = "Content-Type: application/json";

fn print_json(answer: &Answer, screen: &mut Screen<'_>) -> Result<(), ClientError> {
    screen.out.write_all(&answer.body)?;
    Ok(screen.out.write_all(b"\n")?)
}

/// The members of a list, or none if it is no list.
fn rows<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}
