//! `strowger calls play` and the like, `strowger rooms`, `strowger recordings`: what calls say and hear.

use super::http::{self, Answer, Api};
use super::table::{Table, clean, date_time, duration};
use super::{ApiArgs, ClientError, JSON, Screen, call_path, print_json, rows};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// `calls play`.
#[derive(Args, Debug)]
pub struct Play {
    /// Id of the call
    id: String,
    /// A file below the folder of sounds, an http:// URL, or a tone such as tone:busy/de
    source: String,
    /// a, b or both
    #[arg(long, value_name = "LEG")]
    leg: Option<String>,
    /// Both the sound and the other side are heard
    #[arg(long)]
    mix: bool,
    /// How often, or for ever
    #[arg(long = "loop", value_name = "N|ever")]
    times: Option<String>,
    /// Milliseconds into the sound where it begins
    #[arg(long, value_name = "MS")]
    start: Option<u64>,
    /// Decibels
    #[arg(long, value_name = "DB", allow_hyphen_values = true)]
    gain: Option<f64>,
}

/// `calls dtmf`.
#[derive(Args, Debug)]
pub struct Dtmf {
    /// Id of the call
    id: String,
    /// Of 0-9A-D*#
    digits: String,
    /// a, b or both
    #[arg(long, value_name = "LEG")]
    leg: Option<String>,
    /// Milliseconds a digit
    #[arg(long, value_name = "MS")]
    duration: Option<u64>,
    /// Milliseconds between digits
    #[arg(long, value_name = "MS")]
    gap: Option<u64>,
}

/// `calls record`.
#[derive(Args, Debug)]
pub struct Record {
    /// Id of the call
    id: String,
    /// start, stop, pause or resume
    action: String,
    /// Which recording, where several run
    #[arg(long, value_name = "ID")]
    recording: Option<String>,
    /// mono or stereo
    #[arg(long)]
    layout: Option<String>,
    /// wav or opus
    #[arg(long)]
    format: Option<String>,
    /// answer, now or first_packet
    #[arg(long)]
    from: Option<String>,
    /// Digits are heard as silence
    #[arg(long)]
    mask_digits: bool,
}

/// `calls fork`.
#[derive(Args, Debug)]
pub struct Fork {
    /// Id of the call
    id: String,
    /// rtp://HOST:PORT or ws://HOST/PATH
    to: String,
    /// mono or stereo
    #[arg(long)]
    layout: Option<String>,
    /// Samples a second
    #[arg(long, value_name = "HZ")]
    rate: Option<u32>,
    /// Of RTP: l16 or pcmu
    #[arg(long)]
    codec: Option<String>,
}

/// `calls stop`.
#[derive(Args, Debug)]
pub struct Stop {
    /// Id of the call
    id: String,
    /// What play, dtmf, record or fork gave; all sounds and digits, if not said
    order: Option<String>,
}

/// `calls mute`.
#[derive(Args, Debug)]
pub struct Mute {
    /// Id of the call
    id: String,
    /// a, b or both
    #[arg(long, value_name = "LEG")]
    leg: Option<String>,
    /// in (what it says), out (what it hears) or both
    #[arg(long)]
    direction: Option<String>,
    /// Let it be heard again
    #[arg(long)]
    off: bool,
}

/// `calls hold`.
#[derive(Args, Debug)]
pub struct Hold {
    /// Id of the call
    id: String,
    /// a, b or both
    #[arg(long, value_name = "LEG")]
    leg: Option<String>,
    /// What is heard meanwhile, as the source of play
    #[arg(long, value_name = "SOURCE")]
    music: Option<String>,
    /// Take it back
    #[arg(long)]
    off: bool,
}

/// `calls join`.
#[derive(Args, Debug)]
pub struct Join {
    /// Id of the call
    id: String,
    /// A room
    #[arg(long, value_name = "NAME", required_unless_present = "call")]
    room: Option<String>,
    /// Another call
    #[arg(long, value_name = "ID", conflicts_with = "room")]
    call: Option<String>,
}

/// `strowger rooms`.
#[derive(Args, Debug)]
pub struct Rooms {
    /// Where the engine is.
    #[command(flatten)]
    pub api: ApiArgs,
    /// What to do; `list` if not said.
    #[command(subcommand)]
    pub command: Option<RoomsCommand>,
}

/// What to do with rooms.
#[derive(Subcommand, Debug)]
pub enum RoomsCommand {
    /// One line a room
    #[command(after_help = "Example: strowger rooms list")]
    List,
    /// A room and the calls that sit in it
    #[command(after_help = "Example: strowger rooms show blue")]
    Show {
        /// Its name
        name: String,
    },
    /// End a room and the calls in it
    #[command(after_help = "Example: strowger rooms delete blue")]
    Delete {
        /// Its name
        name: String,
    },
}

/// `strowger recordings`.
#[derive(Args, Debug)]
pub struct Recordings {
    /// Where the engine is.
    #[command(flatten)]
    pub api: ApiArgs,
    /// What to do; `list` if not said.
    #[command(subcommand)]
    pub command: Option<RecordingsCommand>,
}

/// What to do with recordings.
#[derive(Subcommand, Debug)]
pub enum RecordingsCommand {
    /// One line a recording, newest first
    #[command(after_help = "Example: strowger recordings list --call 019a0c1e5f3a000000000001")]
    List(RecordingsFilter),
    /// The file of a recording
    #[command(after_help = "Example: strowger recordings get 019a0c1e5f3a000000000001-1 --out call.wav")]
    Get {
        /// Id of the recording
        id: String,
        /// Where to write it, if not under its own name; - is standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Which recordings.
#[derive(Args, Debug, Default)]
pub struct RecordingsFilter {
    /// Only of this call
    #[arg(long, value_name = "ID")]
    call: Option<String>,
    /// Only of this room
    #[arg(long, value_name = "NAME")]
    room: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

pub(super) fn play(api: &Api, args: &Play, screen: &mut Screen<'_>) -> Result<(), ClientError> {
    let times = match args.times.as_deref() {
        None => Value::Null,
        Some("ever") => json!(true),
        Some(times) => {
            let wrong = |_| ClientError::Usage("--loop: a number, or ever".into());
            json!(times.parse::<u32>().map_err(wrong)?)
        }
    };
    let body = body([
        ("source", json!(args.source)),
        ("leg", json!(args.leg)),
        ("mode", if args.mix { json!("mix") } else { Value::Null }),
        ("loop", times),
        ("start", json!(args.start)),
        ("gain", json!(args.gain)),
    ]);
    let answer = post(api, &args.id, "play", &body)?;
    said(api, &answer, screen, |answer| format!("plays, id {}", field(answer, "id")))
}

pub(super) fn dtmf(api: &Api, args: &Dtmf, screen: &mut Screen<'_>) -> Result<(), ClientError> {
    let body = body([
        ("digits", json!(args.digits)),
        ("leg", json!(args.leg)),
        ("duration", json!(args.duration)),
        ("gap", json!(args.gap)),
    ]);
    let answer = post(api, &args.id, "dtmf", &body)?;
    said(api, &answer, screen, |answer| format!("digits are sent, id {}", field(answer, "id")))
}

pub(super) fn record(api: &Api, args: &Record, screen: &mut Screen<'_>) -> Result<(), ClientError> {
    let body = body([
        ("action", json!(args.action)),
        ("id", json!(args.recording)),
        ("layout", json!(args.layout)),
        ("format", json!(args.format)),
        ("from", json!(args.from)),
        ("mask_digits", if args.mask_digits { json!(true) } else { Value::Null }),
    ]);
    let answer = post(api, &args.id, "record", &body)?;
    said(api, &answer, screen, |answer| {
        format!("{}: recording {}, file {}", clean(&args.action), field(answer, "id"), field(answer, "file"))
    })
}

pub(super) fn fork(api: &Api, args: &Fork, screen: &mut Screen<'_>) -> Result<(), ClientError> {
    let body = body([
        ("to", json!(args.to)),
        ("layout", json!(args.layout)),
        ("rate", json!(args.rate)),
        ("codec", json!(args.codec)),
    ]);
    let answer = post(api, &args.id, "fork", &body)?;
    said(api, &answer, screen, |answer| format!("goes to {}, id {}", clean(&args.to), field(answer, "id")))
}

pub(super) fn stop(api: &Api, args: &Stop, screen: &mut Screen<'_>) -> Result<(), ClientError> {
    post(api, &args.id, "stop", &body([("id", json!(args.order))]))?;
    done(api, screen, &json!({ "call": args.id, "stopped": args.order }), "stopped")
}

pub(super) fn mute(api: &Api, args: &Mute, screen: &mut Screen<'_>) -> Result<(), ClientError> {
    let body = body([
        ("leg", json!(args.leg)),
        ("direction", json!(args.direction)),
        ("on", if args.off { json!(false) } else { Value::Null }),
    ]);
    post(api, &args.id, "mute", &body)?;
    let says = if args.off { "heard again" } else { "muted" };
    done(api, screen, &json!({ "call": args.id, "muted": !args.off }), says)
}

pub(super) fn hold(api: &Api, args: &Hold, screen: &mut Screen<'_>) -> Result<(), ClientError> {
    let body = body([
        ("leg", json!(args.leg)),
        ("music", json!(args.music)),
        ("on", if args.off { json!(false) } else { Value::Null }),
    ]);
    post(api, &args.id, "hold", &body)?;
    let says = if args.off { "back from hold" } else { "on hold" };
    done(api, screen, &json!({ "call": args.id, "held": !args.off }), says)
}

pub(super) fn join(api: &Api, args: &Join, screen: &mut Screen<'_>) -> Result<(), ClientError> {
    let body = body([("room", json!(args.room)), ("call", json!(args.call))]);
    let answer = post(api, &args.id, "join", &body)?;
    said(api, &answer, screen, |room| {
        format!("in room {} with {} calls", field(room, "name"), rows(room, "calls").len())
    })
}

pub(super) fn leave(api: &Api, id: &str, screen: &mut Screen<'_>) -> Result<(), ClientError> {
    post(api, id, "leave", &json!({}))?;
    done(api, screen, &json!({ "call": id, "room": null }), "left its room")
}

pub(super) fn rooms(args: &Rooms, screen: &mut Screen<'_>) -> Result<(), ClientError> {
    let api = Api::new(&args.api)?;
    let path = |name: &str| format!("/v1/rooms/{}", http::escape(name));
    match args.command.as_ref().unwrap_or(&RoomsCommand::List) {
        RoomsCommand::List => {
            let answer = api.get("/v1/rooms")?;
            if api.json {
                return print_json(&answer, screen);
            }
            Ok(write!(screen.out, "{}", rooms_table(&answer.json()?))?)
        }
        RoomsCommand::Show { name } => {
            let answer = api.get(&path(name))?;
            if api.json {
                return print_json(&answer, screen);
            }
            Ok(write!(screen.out, "{}", room(&answer.json()?))?)
        }
        RoomsCommand::Delete { name } => {
            api.send("DELETE", &path(name), &[], b"")?;
            if api.json {
                return Ok(writeln!(screen.out, "{}", json!({ "room": name, "ending": true }))?);
            }
            Ok(writeln!(screen.out, "room {} is being ended", clean(name))?)
        }
    }
}

pub(super) fn recordings(args: &Recordings, screen: &mut Screen<'_>) -> Result<(), ClientError> {
    let api = Api::new(&args.api)?;
    match args.command.as_ref().unwrap_or(&RecordingsCommand::List(RecordingsFilter::default())) {
        RecordingsCommand::List(filter) => {
            let limit = filter.limit.map(|limit| limit.to_string());
            let pairs = [("call", &filter.call), ("room", &filter.room), ("limit", &limit)];
            let query: Vec<String> = pairs
                .into_iter()
                .filter_map(|(name, value)| Some(format!("{name}={}", http::escape(value.as_ref()?))))
                .collect();
            let mark = if query.is_empty() { "" } else { "?" };
            let answer = api.get(&format!("/v1/recordings{mark}{}", query.join("&")))?;
            if api.json {
                return print_json(&answer, screen);
            }
            Ok(write!(screen.out, "{}", recordings_table(&answer.json()?))?)
        }
        RecordingsCommand::Get { id, out } => {
            let path = format!("/v1/recordings/{}", http::escape(id));
            let known = api.get(&path)?.json()?;
            let file = api.get(&format!("{path}/file"))?;
            let own = || {
                // Whatever the engine calls it: nothing outside of this folder is written.
                let name = known["file"].as_str().unwrap_or("recording");
                PathBuf::from(name.rsplit(['/', '\\']).next().unwrap_or("recording"))
            };
            let out = out.clone().unwrap_or_else(own);
            if out.as_os_str() == "-" {
                return Ok(screen.out.write_all(&file.body)?);
            }
            std::fs::write(&out, &file.body)?;
            if api.json {
                return Ok(writeln!(screen.out, "{known}")?);
            }
            Ok(writeln!(screen.out, "{} bytes written to {}", file.body.len(), out.display())?)
        }
    }
}

fn rooms_table(list: &Value) -> String {
    let mut table = Table::new(&["NAME", "STATE", "SINCE", "CALLS", "TALKERS", "RECORDED"]);
    let all = rows(list, "rooms");
    for room in all {
        table.row([
            field(room, "name"),
            field(room, "state"),
            date_time(&room["created"]),
            rows(room, "calls").len().to_string(),
            room["talkers"].to_string(),
            if room["record"] == true { "yes" } else { "no" }.to_owned(),
        ]);
    }
    format!("{table}{} room{}\n", all.len(), if all.len() == 1 { "" } else { "s" })
}

fn room(room: &Value) -> String {
    let mut table = Table::new(&["CALL", "LEG", "SINCE", "TALKS", "HEARS", "GAIN", "COACHES"]);
    let yes = |value: &Value| if *value == true { "yes" } else { "no" }.to_owned();
    for member in rows(room, "calls") {
        for leg in ["a", "b"] {
            let seat = &member[leg];
            let coached = &seat["coaches"];
            let coaches = match coached["call"].as_str() {
                Some(call) => format!("{} {}", clean(call), field(coached, "leg")),
                None => "-".to_owned(),
            };
            table.row([
                field(member, "call"),
                leg.to_owned(),
                date_time(&member["joined"]),
                yes(&seat["talks"]),
                yes(&seat["hears"]),
                format!("{} dB", seat["gain"]),
                coaches,
            ]);
        }
    }
    format!(
        "room {}  {}  since {}\n{table}",
        field(room, "name"),
        field(room, "state"),
        date_time(&room["created"])
    )
}

fn recordings_table(list: &Value) -> String {
    let mut table = Table::new(&["ID", "STATE", "SINCE", "LENGTH", "LAYOUT", "LOST", "ROOM", "FILE"]);
    let all = rows(list, "recordings");
    for row in all {
        table.row([
            field(row, "id"),
            field(row, "state"),
            date_time(&row["started"]),
            row["length_ms"].as_u64().map_or_else(|| "-".to_owned(), duration),
            field(row, "layout"),
            format!("{} ms", row["lost_ms"]),
            clean(row["room"].as_str().unwrap_or("-")),
            field(row, "file"),
        ]);
    }
    let more = if list["more"] == true { " shown, there are more" } else { "" };
    format!("{table}{} recording{}{more}\n", all.len(), if all.len() == 1 { "" } else { "s" })
}

fn post(api: &Api, id: &str, what: &str, body: &Value) -> Result<Answer, ClientError> {
    api.send("POST", &format!("{}/{what}", call_path(id)), &[JSON], body.to_string().as_bytes())
}

/// What was not given is left out.
fn body<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let given = fields.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(given.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

fn said(
    api: &Api,
    answer: &Answer,
    screen: &mut Screen<'_>,
    line: impl FnOnce(&Value) -> String,
) -> Result<(), ClientError> {
    if api.json {
        return print_json(answer, screen);
    }
    Ok(writeln!(screen.out, "{}", line(&answer.json()?))?)
}

fn done(api: &Api, screen: &mut Screen<'_>, json: &Value, line: &str) -> Result<(), ClientError> {
    if api.json {
        return Ok(writeln!(screen.out, "{json}")?);
    }
    Ok(writeln!(screen.out, "{line}")?)
}

fn field(value: &Value, name: &str) -> String {
    clean(value[name].as_str().unwrap_or("-"))
}
