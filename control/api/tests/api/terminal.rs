//! `src/client.rs` of the root package against the real server: the commands as an operator types them.

use crate::fake::{CALL, CONFIG, ENDING, Mood, World, tokens};
use api::Limits;
use base::Wall;
use clap::Parser;
use serde_json::{Value, json};
use std::path::Path;

#[path = "../../../../src"]
#[allow(dead_code, unreachable_pub, reason = "the root package uses all of it")]
mod root {
    pub mod client;
}
use root::client;

#[derive(Parser)]
struct Strowger {
    #[command(subcommand)]
    command: client::Command,
}

/// What a command prints, or its error with the exit status.
fn strowger(world: &World, line: &str) -> Result<String, (u8, String)> {
    typed(&format!("--api http://{} {line}", world.address()))
}

fn typed(line: &str) -> Result<String, (u8, String)> {
    // Global options come before the subcommand's name in these tests and behind it for clap.
    let (api, rest) = line.strip_prefix("--api ").and_then(|rest| rest.split_once(' ')).expect("an address");
    let args = ["strowger"].into_iter().chain(rest.split_whitespace()).chain(["--api", api]);
    run(&Strowger::try_parse_from(args).map_err(|error| (2, error.to_string()))?.command)
}

fn run(command: &client::Command) -> Result<String, (u8, String)> {
    let mut out = Vec::new();
    let offline = |file: &Path, question: &str| match file.to_str() {
        Some("strowger.toml") => {
            Ok(json!({ "verdict": "route", "uri": "sip:x", "steps": [], "callee": question }))
        }
        _ => Err("there is no such file".to_owned()),
    };
    let import = |file: &Path, section: &str| Ok(format!("# {section} of {}\n", file.display()));
    let mut screen = client::Screen { out: &mut out, terminal: false, offline, import };
    let result = client::run(command, &mut screen);
    result.map_err(|error| (error.exit_code(), error.to_string()))?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

#[test]
fn an_import_is_printed_without_an_engine() {
    let printed = typed("--api http://127.0.0.1:1 config import rtpengine.conf --section two");
    assert_eq!(printed, Ok("# two of rtpengine.conf\n".to_owned()));
}

#[test]
fn calls_are_listed_in_columns_or_as_json() {
    let world = World::new();
    let list = strowger(&world, "calls").unwrap();
    let lines: Vec<&str> = list.lines().map(str::trim_end).collect();
    assert!(lines[0].starts_with("ID ") && lines[0].ends_with("OUT"), "{list}");
    // How wide a column is depends on the day: calls of long ago have long ages.
    let words: Vec<&str> = lines[2].split_whitespace().collect();
    let expected =
        ["0123456789ab000100000001", "ringing", "08:01:56.501", "-", "2001", "+15035550100", "pbx", "-"];
    assert_eq!(words, expected);
    assert_eq!(lines[4], "3 calls");
    assert_eq!(
        strowger(&world, "calls list --trunk carrier --number +1503 --limit 1").unwrap().lines().last(),
        Some("1 call shown, there are more")
    );
    let json: serde_json::Value =
        serde_json::from_str(&strowger(&world, "calls list --json").unwrap()).unwrap();
    assert_eq!(json["calls"].as_array().unwrap().len(), 3);
}

#[test]
fn show_ends_with_a_sentence_a_leg() {
    let world = World::new();
    let shown = strowger(&world, &format!("calls show {CALL}")).unwrap();
    let last: Vec<&str> = shown.lines().rev().take(2).collect();
    assert_eq!(
        last,
        [
            "B: 500 packets received from 198.51.100.7:4000.",
            "A: 500 packets received from 198.51.100.7:4000."
        ]
    );
    assert!(shown.contains("dropped 212 source_locked, last from 203.0.113.66:9"), "{shown}");
    assert!(shown.contains("stream deadbeef type 0: 500 packets, 3 lost"), "{shown}");
}

#[test]
fn trace_draws_the_ladder() {
    let world = World::new();
    let expected = "
  A = UDP 10.0.0.2:5060
  B = UDP 203.0.113.5:5060
 B2 = TCP [2001:db8::9]:5060
      (older messages forgotten: 1)
              A                          strowger                           B                             B2
              |                              |                              |                              |
08:01:56.500  |----------- INVITE ---------->|                              |                              |
08:01:56.501  |<--- 100 Trying (INVITE) -----|                              |                              |
08:01:56.502  |                              |----------- INVITE ---------->|                              |
08:01:56.530  |                              |<- 503 Service Unavailable ---|                              |
08:01:56.531  |                              |------------ ACK ------------>|                              |
08:01:56.532  |                              |-------------------------- INVITE -------------------------->|
08:01:56.590  |                              |<--------------------- 200 OK (INVITE) ----------------------|
08:01:56.591  |<----- 200 OK (INVITE) -------|                              |                              |
";
    let drawn = strowger(&world, &format!("calls trace {CALL}")).unwrap();
    assert_eq!(drawn, expected.trim_start_matches('\n'));
    let file = std::env::temp_dir().join(format!("strowger-trace-{}.pcap", std::process::id()));
    let said = strowger(&world, &format!("calls trace {CALL} --pcap {}", file.display())).unwrap();
    assert!(said.contains("bytes written to"), "{said}");
    let capture = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(capture[..4], 0xa1b2_c3d4_u32.to_le_bytes());
}

#[test]
fn watch_into_a_pipe_says_what_changes() {
    let world = World::new();
    let seen = strowger(&world, "calls watch --every 0.05 --times 3").unwrap();
    assert_eq!(seen.lines().count(), 3, "each call once: {seen}");
    assert!(seen.contains("0123456789ab000100000001 ringing 2001 -> +15035550100 pbx"), "{seen}");
}

#[test]
fn hangup_ends_a_call_and_says_why_not() {
    let world = World::new();
    assert_eq!(
        strowger(&world, &format!("calls hangup {CALL}")).unwrap(),
        format!("call {CALL} is being ended\n")
    );
    assert_eq!(
        strowger(&world, &format!("calls hangup {ENDING}")),
        Err((1, format!("call {ENDING} is ending already")))
    );
    assert_eq!(strowger(&world, "calls show nonsense/x"), Err((1, "there is no call nonsense/x".into())));
    *world.fake.mood.lock().unwrap() = Mood::Full;
    assert_eq!(strowger(&world, "calls").unwrap_err().0, 1);
}

#[test]
fn a_configuration_is_shown_compared_applied_and_rolled_back() {
    let world = World::new();
    let file = std::env::temp_dir().join(format!("strowger-config-{}.toml", std::process::id()));
    let path = file.display();
    assert_eq!(strowger(&world, "config").unwrap(), CONFIG);
    std::fs::write(&file, CONFIG.replace("10.0.0.2", "10.0.0.3")).unwrap();
    let diff = strowger(&world, &format!("config diff {path}")).unwrap();
    assert_eq!(diff, "~ trunk.pbx = \"10.0.0.2\" -> \"10.0.0.3\"\n1 change against version 1\n");
    assert_eq!(strowger(&world, &format!("config apply {path} --if-version 7")).unwrap_err().0, 1);
    assert_eq!(
        strowger(&world, &format!("config apply {path} --if-version 1")).unwrap(),
        "version 2 is in force\n"
    );
    assert_eq!(strowger(&world, "config rollback 1").unwrap(), "version 3 is in force\n");
    assert_eq!(strowger(&world, "config versions").unwrap().lines().count(), 4);
    std::fs::write(&file, "\ntrnk.x = 1\n").unwrap();
    let wrong = strowger(&world, &format!("config apply {path}")).unwrap_err();
    assert_eq!(wrong, (2, format!("{path}: 2: trnk: a known key; did you mean trunk?")));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(strowger(&world, &format!("config apply {path}")).unwrap_err().0, 2);
}

#[test]
fn trunks_log_and_drain_work_from_the_terminal() {
    let world = World::new();
    world.fake.stats[0].calls_active.add(&["pbx", "in"], 2);
    let trunks = strowger(&world, "trunks").unwrap();
    assert!(trunks.contains("pbx      10.0.0.2     up     -      2         0"), "{trunks}");
    assert_eq!(strowger(&world, "log set sip=debug").unwrap(), "log = \"sip=debug\"\n");
    assert_eq!(strowger(&world, "log").unwrap(), "log = \"sip=debug\"\n");
    assert_eq!(strowger(&world, "log set ==").unwrap_err(), (2, "filter: target=level".into()));
    assert_eq!(strowger(&world, "drain").unwrap(), "draining: no new calls\n");
    assert_eq!(strowger(&world, "drain --off").unwrap(), "taking new calls\n");
}

#[test]
fn an_engine_that_is_not_there_or_not_ours_is_said_clearly() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let (code, text) = typed(&format!("--api http://{address} calls")).unwrap_err();
    assert!(
        code == 1 && text.contains("nothing listens there") && text.contains(&address.to_string()),
        "{text}"
    );
    assert_eq!(typed("--api https://127.0.0.1 calls").unwrap_err().0, 2);
    let world = World::with(tokens(), Limits::default());
    let (code, text) = strowger(&world, "calls").unwrap_err();
    assert!(code == 2 && text.contains("token"), "{text}");
    assert!(strowger(&world, "calls --token read").is_ok());
    assert_eq!(strowger(&world, "drain --token read").unwrap_err().0, 2);
}

#[test]
fn trunks_are_taken_out_and_in() {
    let world = World::new();
    assert_eq!(
        strowger(&world, "trunks disable pbx --for 10m").unwrap(),
        "trunk pbx is disabled until 2026-11-21 08:11:56\n"
    );
    let list = strowger(&world, "trunks list").unwrap();
    assert!(list.contains("disabled until 2026-11-21 08:11:56  2026-11-21 08:01:56"), "{list}");
    assert_eq!(strowger(&world, "trunks enable pbx").unwrap(), "trunk pbx is up\n");
    let (code, text) = strowger(&world, "trunks disable nobody").unwrap_err();
    assert_eq!((code, text.as_str()), (1, "there is no trunk named nobody"));
    assert_eq!(strowger(&world, "trunks disable pbx --for soon").unwrap_err().0, 2);
}

#[test]
fn a_route_is_explained_by_the_engine_or_by_a_file() {
    let world = World::new();
    let told =
        strowger(&world, "route explain --from 2001 --to +882 --source 10.0.0.2 --header X-A:b").unwrap();
    let expected = "\
who   Some(10.0.0.2:5060) is trunk pbx
what  [(\"X-A\", \"b\")] at None

=> refuse 403 Forbidden (destination)
   from trunk  pbx
   caller      2001
   callee      +882
";
    assert_eq!(told, expected);
    let json = strowger(&world, "route explain --from 2001 --to +1503 --json").unwrap();
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["verdict"], "route");
    let (code, text) = strowger(&world, "route explain --from 1 --to 2 --source pbx").unwrap_err();
    assert!(code == 2 && text.starts_with("source: "), "{text}");
    assert_eq!(strowger(&world, "route explain --from 1 --to 2 --header x").unwrap_err().0, 2);
    assert_eq!(strowger(&world, "route explain --to 2").unwrap_err().0, 2);

    let by_file = |line: &str| {
        let args = ["strowger"].into_iter().chain(line.split_whitespace());
        let command = Strowger::try_parse_from(args).map_err(|error| (2, error.to_string()))?.command;
        run(&command)
    };
    let told = by_file("route explain --from 1 --to 2 --trunk pbx --config strowger.toml").unwrap();
    assert!(told.starts_with("\n=> route\n   uri         sip:x\n"), "{told}");
    assert!(told.contains(r#"{"from":"1","headers":{},"to":"2","trunk":"pbx"}"#), "{told}");
    assert_eq!(by_file("route explain --from 1 --to 2 --config gone.toml").unwrap_err().0, 2);
}

#[test]
fn bans_are_added_listed_and_removed() {
    let world = World::new();
    let said = strowger(&world, "bans add 203.0.113.0/24 --for 1h --reason scans").unwrap();
    assert!(said.starts_with("203.0.113.0/24 is banned until 20"), "{said}");
    assert_eq!(strowger(&world, "bans add 198.51.100.7").unwrap(), "198.51.100.7 is banned\n");
    let list = strowger(&world, "bans").unwrap();
    let lines: Vec<&str> = list.lines().collect();
    assert!(lines[1].starts_with("198.51.100.7    operator  20") && lines[2].ends_with("  scans"), "{list}");
    assert_eq!(lines[3], "2 of 2 bans");
    let short = strowger(&world, "bans list --limit 1").unwrap();
    assert!(short.ends_with("1 of 2 bans shown; next page: --after 198.51.100.7\n"), "{short}");
    assert_eq!(strowger(&world, "bans add 10.0.0.2").unwrap_err().0, 1, "a trunk");
    assert!(strowger(&world, "bans add 10.0.0.2 --force").is_ok());
    assert_eq!(strowger(&world, "bans add pbx").unwrap_err().0, 2);
    assert_eq!(
        strowger(&world, "bans remove 203.0.113.0/24").unwrap(),
        "203.0.113.0/24 is listened to again\n"
    );
    assert_eq!(strowger(&world, "bans remove 203.0.113.0/24").unwrap_err().0, 1);
    let json = strowger(&world, "bans list --json").unwrap();
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["total"], 2);
}

#[test]
fn records_are_listed_as_a_table_as_json_and_as_csv_over_all_pages() {
    let world = World::new();
    world.fake.records.write((0..1_205).map(crate::cdrs::record));
    let list = strowger(&world, "cdrs list --trunk acme --limit 2").unwrap();
    let lines: Vec<&str> = list.lines().map(str::trim_end).collect();
    let columns: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(
        columns,
        [
            "0000000000000000000004b3-0",
            "2026-11-21",
            "08:21:59",
            "in",
            "acme",
            "2001",
            "+15035551203",
            "486",
            "0:00",
            "callee",
            "busy"
        ]
    );
    assert!(lines[3].starts_with("2 records shown; next page: --after "), "{list}");
    let token = lines[3].rsplit(' ').next().unwrap();
    let next = strowger(&world, &format!("cdrs list --trunk acme --limit 2 --after {token}")).unwrap();
    assert!(next.contains("0000000000000000000004af-0"), "{next}");
    assert_eq!(
        strowger(&world, "cdrs list --answered false --status 486 --limit 5000").unwrap().lines().last(),
        Some("402 records")
    );
    let csv = strowger(&world, "cdrs list --csv --limit 1200 --oldest").unwrap();
    let ids: Vec<&str> = csv.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert!(ids.len() == 1_200 && ids.is_sorted(), "each record once, names once: {}", ids.len());
    let json = strowger(&world, "cdrs --json").unwrap();
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["cdrs"].as_array().unwrap().len(), 50);
    assert_eq!(
        strowger(&world, "cdrs list --from yesterday").unwrap_err(),
        (2, "from: a time such as 2026-11-21T08:00:00Z".into())
    );
}

#[test]
fn events_are_followed_from_where_one_left() {
    let world = World::new();
    let first = world.fake.events.published();
    for n in 0..4u32 {
        let event =
            ledger::Event::new(Wall(1_795_248_116_500_000), if n == 2 { "trunk.down" } else { "ban.added" });
        world.fake.events.publish(event.with("n", n).with("reason", "two words"));
    }
    assert_eq!(first, 0);
    let serial = world.fake.events.recent(4)[0].serial;
    assert_eq!(
        strowger(&world, &format!("events --after {serial} --kind ban.* --count 2")).unwrap(),
        "08:01:56.500 ban.added n=1 reason=\"two words\"\n08:01:56.500 ban.added n=3 reason=\"two words\"\n"
    );
    let json = strowger(&world, &format!("events --after {serial} --count 3 --json")).unwrap();
    let last: Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
    assert_eq!((&last["kind"], &last["id"]), (&json!("ban.added"), &json!((serial + 3).to_string())));
    assert_eq!(strowger(&world, "events --kind Ban --count 1").unwrap_err().0, 2);
}

#[test]
fn limits_are_a_table() {
    let world = World::new();
    let expected = "\
LIMIT      USED          MAX  RESERVED  RATE   FULL  TOO FAST
pstn       9             10   2         -      4     1
trunk.pbx  3             -    0         -      0     0
x          0 of 12 keys  -    0         0.5/s  0     0
";
    assert_eq!(strowger(&world, "limits").unwrap(), expected);
}

#[test]
fn what_a_call_says_and_hears_is_changed_from_the_terminal() {
    let world = World::new();
    let said = |line: &str| strowger(&world, &line.replace("CALL", CALL)).unwrap().trim_end().to_owned();
    let id = format!("{CALL}-3");
    assert_eq!(
        said("calls play CALL hello.wav --leg b --mix --loop ever --gain -3"),
        format!("plays, id {id}")
    );
    assert_eq!(said("calls dtmf CALL 12# --leg b --gap 200"), format!("digits are sent, id {id}"));
    let recorded = format!("start: recording {id}, file {id}.wav");
    assert_eq!(said("calls record CALL start --layout stereo --format opus --mask-digits"), recorded);
    let robot = "ws://robot/hear";
    assert_eq!(said(&format!("calls fork CALL {robot} --rate 16000")), format!("goes to {robot}, id {id}"));
    assert_eq!(said(&format!("calls stop CALL {id}")), "stopped");
    assert_eq!(said("calls mute CALL --leg a"), "muted");
    assert_eq!(said("calls mute CALL --off --json"), format!("{{\"call\":\"{CALL}\",\"muted\":false}}"));
    assert_eq!(said("calls hold CALL --leg a --music tone:ring"), "on hold");
    assert_eq!(said("calls join CALL --room blue"), "in room blue with 1 calls");
    assert_eq!(said("calls leave CALL"), "left its room");
    let wrong = |line: &str| strowger(&world, &line.replace("CALL", CALL)).unwrap_err();
    assert_eq!(wrong("calls play CALL nothing.wav"), (2, "source: a file below the folder of sounds".into()));
    assert_eq!(wrong("calls dtmf CALL 12x").0, 2);
    assert_eq!(wrong("calls join CALL --room red"), (1, "there is no room red".into()));
    assert_eq!(wrong("calls join CALL").0, 2);
}

#[test]
fn rooms_are_listed_shown_and_ended() {
    let world = World::new();
    let list = strowger(&world, "rooms").unwrap();
    let lines: Vec<&str> = list.lines().map(str::trim_end).collect();
    assert_eq!(lines[1..], ["blue  open   2026-11-21 08:01:56  1      3        no", "1 room"], "{list}");
    let shown = strowger(&world, "rooms show blue").unwrap();
    assert!(shown.lines().any(|line| line.contains("-1.5 dB") && line.ends_with(" b")), "{shown}");
    assert_eq!(strowger(&world, "rooms delete blue").unwrap(), "room blue is being ended\n");
    assert_eq!(strowger(&world, "rooms delete red").unwrap_err(), (1, "there is no room red".into()));
}

#[test]
fn recordings_are_listed_and_fetched() {
    let world = World::new();
    let id = ledger::OrderId { of: CALL.parse().unwrap(), number: 1 };
    world.fake.recordings.lock().unwrap().push(ledger::RecordingRow {
        id,
        room: None,
        file: format!("{id}.wav"),
        started: Wall(1_795_248_116_500_000),
        layout: command::Layout::Mono,
        format: command::FileFormat::Wav,
        state: ledger::RecordingState::Done,
        length: std::time::Duration::from_secs(65),
        lost: std::time::Duration::ZERO,
        metadata: None,
    });
    world.fake.records.write_file(&format!("{id}.wav"), b"RIFF and so on");
    let list = strowger(&world, &format!("recordings list --call {CALL} --limit 5")).unwrap();
    let row = format!("{id}  done   2026-11-21 08:01:56  1:05    mono    0 ms  -     {id}.wav");
    assert_eq!(list.lines().skip(1).collect::<Vec<_>>(), [row.as_str(), "1 recording"], "{list}");
    assert_eq!(strowger(&world, &format!("recordings get {id} --out -")).unwrap(), "RIFF and so on");
    let file = std::env::temp_dir().join(format!("strowger-terminal-{}.wav", std::process::id()));
    let got = strowger(&world, &format!("recordings get {id} --out {}", file.display())).unwrap();
    assert_eq!(got, format!("14 bytes written to {}\n", file.display()));
    assert_eq!(std::fs::read(&file).unwrap(), b"RIFF and so on");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(strowger(&world, &format!("recordings get {CALL}-9")).unwrap_err().0, 1);
}
