//! `src/client.rs` of the root package against the real server: the commands as an operator types them.

use crate::fake::{CALL, CONFIG, ENDING, Mood, World, tokens};
use api::Limits;
use clap::Parser;

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
    let command = Strowger::try_parse_from(args).map_err(|error| (2, error.to_string()))?.command;
    let mut out = Vec::new();
    let result = client::run(&command, &mut client::Screen { out: &mut out, terminal: false });
    result.map_err(|error| (error.exit_code(), error.to_string()))?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

#[test]
fn calls_are_listed_in_columns_or_as_json() {
    let world = World::new();
    let list = strowger(&world, "calls").unwrap();
    let lines: Vec<&str> = list.lines().map(str::trim_end).collect();
    assert!(lines[0].starts_with("ID ") && lines[0].ends_with("OUT"), "{list}");
    assert_eq!(
        lines[2],
        "0123456789ab000100000001  ringing   08:01:56.501  -        2001  +15035550100  pbx  -"
    );
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
    assert!(trunks.contains("pbx      10.0.0.2     2         0"), "{trunks}");
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
