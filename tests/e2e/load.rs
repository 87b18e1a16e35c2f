//! `strowger load sip` as somebody uses it: against the engine, and against SIPp, which judges the generator itself.

use crate::support::capture::Capture;
use crate::support::command::alone;
use crate::support::{Engine, Folder, Net, PAIR, Role, Sipp, peer};
use serde_json::Value;
use std::net::SocketAddr;

/// Runs `strowger load sip` with these arguments and gives its findings.
fn load(folder: &Folder, arguments: &str) -> (Value, String) {
    let file = folder.path().join("found.json");
    let words = arguments.split_whitespace();
    let fixed = ["load", "sip", "--json", file.to_str().expect("a name")];
    let output = alone(&fixed.into_iter().chain(words).collect::<Vec<_>>());
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let json = std::fs::read_to_string(&file).unwrap_or_else(|_| panic!("nothing was found: {said}"));
    (serde_json::from_str(&json).expect("findings are JSON"), said)
}

/// A run of a scenario through the engine, both ends ours; every call must go as planned and every packet arrive.
fn through_the_engine(scenario: &str, more: &str) -> Value {
    let net = Net::new();
    let engine = Engine::start(&net.fill(PAIR));
    let folder = Folder::new();
    let arguments = net.fill(&format!(
        "--uac IP2:5060 --uas IP3:5060 --to sip:{} --calls 8 --cps 8 --seconds 2 --talk 1 --scenario {scenario} {more}",
        engine.sip(0)
    ));
    let (found, said) = load(&folder, &arguments);
    assert_eq!(found["verdict"]["complaints"], Value::Array(vec![]), "{said}");
    assert_eq!(found["calls"]["placed"], found["calls"]["completed"], "{said}");
    assert!(found["calls"]["placed"].as_u64().is_some_and(|placed| placed >= 8), "{said}");
    engine.wait_idle();
    found
}

#[test]
fn calls_are_held_and_taken_back() {
    let found = through_the_engine("hold", "");
    let (holds, calls) = (&found["calls"]["steps"]["hold"], &found["calls"]["placed"]);
    assert_eq!(holds["done"].as_u64(), calls.as_u64().map(|calls| calls * 2), "{holds}");
    assert_eq!(found["answering"]["holds"], holds["done"]);
}

#[test]
fn digits_arrive_within_the_audio() {
    let found = through_the_engine("dtmf", "");
    let counts = &found["media"]["counts"];
    assert_eq!(counts["digits_sent"].as_u64(), found["calls"]["placed"].as_u64().map(|calls| calls * 4));
    assert_eq!(counts["digits_heard"], counts["digits_sent"]);
}

#[test]
fn calls_are_cancelled_while_they_ring() {
    let found = through_the_engine("cancel", "--ring 5");
    assert_eq!(found["answering"]["cancelled"], found["calls"]["placed"]);
}

#[test]
fn transfers_that_the_engine_declines_are_counted_and_fail_nobody() {
    let found = through_the_engine("refer", "");
    assert_eq!(found["calls"]["steps"]["refer"]["refused"]["603"], found["calls"]["placed"]);
}

#[test]
fn all_kinds_of_calls_live_together_and_an_attack_does_not_reach_them() {
    let page = Folder::new();
    let html = page.path().join("page.html");
    let more = format!("--ring 3 --seed 5 --profile attack --attack-rate 200 --html {}", html.display());
    let found = through_the_engine("mixed", &more);
    assert!(found["calls"]["kinds"].as_object().is_some_and(|kinds| kinds.len() >= 4), "{found:#}");
    assert!(found["attack"]["sent"]["bent"].as_u64().is_some_and(|sent| sent > 5), "{:#}", found["attack"]);
    assert_eq!(found["arguments"]["scenario"]["name"], "mixed", "it says what is needed to repeat it");
    let html = std::fs::read_to_string(&html).expect("the page is written");
    assert!(html.contains("<svg") && !html.contains("src="), "one file that needs nothing else");
}

#[test]
fn every_message_of_ours_is_well_formed_in_the_eyes_of_tshark() {
    let net = Net::new();
    let Some(capture) = Capture::start(&net) else { return };
    let folder = Folder::new();
    let file = folder.path().join("all.toml");
    let steps = r#"["talk 100ms", "hold 100ms", "resume", "reinvite", "reinvite address", "reinvite codec pcma",
        "update", "options", "dtmf 1", "info 2", "refer", "talk 100ms"]"#;
    let text =
        format!("[[call]]\nsteps = {steps}\n[[call]]\nsteps = [\"cancel 100ms\"]\n[[call]]\nanswer = 486\n");
    std::fs::write(&file, text).expect("writable");
    // Caller and callee face each other: what one sends is what the other gets.
    let arguments = net.fill(&format!(
        "--uac IP2:5060 --uas IP3:5060 --to sip:IP3:5060 --calls 9 --cps 9 --seconds 1 --ring 0.3 --talk 1 \
         --scenario {} --gaps poisson",
        file.display()
    ));
    let (found, said) = load(&folder, &arguments);
    assert_eq!(found["verdict"]["complaints"], Value::Array(vec![]), "{said}");
    let rows = capture.read(
        "(sip || rtp || rtcp) && !icmp",
        &["sip.Method", "sip.Status-Code", "rtpevent.event_id", "_ws.malformed", "_ws.expert.severity"],
    );
    let (mut methods, mut events) = (std::collections::BTreeSet::new(), 0);
    for row in &rows {
        assert!(row[3].is_empty(), "{row:?}");
        methods.insert(row[0].clone());
        events += u32::from(!row[2].is_empty());
    }
    for method in ["INVITE", "ACK", "CANCEL", "BYE", "UPDATE", "OPTIONS", "INFO", "REFER", "NOTIFY"] {
        assert!(methods.contains(method), "{method} is missing in {methods:?}");
    }
    assert!(events >= 8, "{events} packets of digits");
}

/// One call to SIPp, which must find it as its ladder says.
fn to_sipp(ladder: &str, arguments: &str) {
    let Some(_) = peer("sipp") else { return };
    let (net, folder) = (Net::new(), Folder::new());
    let at = SocketAddr::from((net.ip(3), 5060));
    let sipp = Sipp::setup(Role::Uas, ladder, at, at).start();
    let arguments =
        net.fill(&format!("--uac IP2:5060 --to sip:{at} --calls 1 --cps 1 --seconds 0.5 {arguments}"));
    let (found, said) = load(&folder, &arguments);
    sipp.passes();
    assert_eq!((&found["calls"]["placed"], &found["calls"]["completed"]), (&1.into(), &1.into()), "{said}");
}

#[test]
fn sipp_is_held_and_taken_back() {
    let ladder = "
        < INVITE sdp
        > 180
        > 200 sdp
        < ACK
        < INVITE sdp
        ?body a=sendonly
        > 200 sdp
        < ACK
        < INVITE sdp
        ?body a=sendrecv
        > 200 sdp
        < ACK
        < INVITE sdp
        ?body a=inactive
        > 200 sdp
        < ACK
        < INVITE sdp
        ?body a=sendrecv
        > 200 sdp
        < ACK
        < BYE
        > 200
    ";
    to_sipp(ladder, "--scenario hold --talk 0.3 --strict");
}

#[test]
fn sipp_challenges_and_gets_the_right_response() {
    // MD5(MD5(anne:sipp.test:secret):4711:MD5(INVITE:sip:+15552000000@example.test))
    let ladder = "
        < INVITE sdp
        > 401
        + WWW-Authenticate: Digest realm=\"sipp.test\", nonce=\"4711\"
        < ACK
        < INVITE sdp
        ? Authorization: RESPONSE
        > 200 sdp
        < ACK
        < BYE
        > 200
    ";
    let ladder = ladder.replace("RESPONSE", RIGHT);
    to_sipp(&ladder, "--user anne --password secret --domain example.test --talk 0.2");
}

const RIGHT: &str = "09faf6b386bcbf9f32e6dc8760d8fda4";

#[test]
fn sipp_refuses_a_transfer() {
    let ladder = "
        < INVITE sdp
        > 200 sdp
        < ACK
        < REFER
        ? Refer-To: sip:.15550100@
        > 405
        < BYE
        > 200
    ";
    let folder = Folder::new();
    let file = folder.path().join("refer.toml");
    std::fs::write(&file, "[[call]]\nsteps = [\"talk 100ms\", \"refer +15550100\"]\n").expect("writable");
    to_sipp(ladder, &format!("--scenario {}", file.display()));
}

#[test]
fn mistakes_in_a_scenario_are_told_with_their_line() {
    let folder = Folder::new();
    let file = folder.path().join("bad.toml");
    std::fs::write(&file, "[[call]]\nsteps = [\"talk 2s\",\n\"hodl 1s\"]\n").expect("writable");
    let base = ["load", "sip", "--to", "sip:127.0.0.1:9", "--calls", "1", "--cps", "1", "--seconds", "1"];
    let run = |more: &[&str]| {
        let output = alone(&[&base[..], more].concat());
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, error) = run(&["--scenario", file.to_str().expect("a name")]);
    assert!(
        code == Some(2) && error.contains("line 3") && error.contains("hold [sendonly|inactive] TIME"),
        "{error}"
    );
    let (code, error) = run(&["--scenario", "bsic"]);
    assert!(code == Some(2) && error.contains("basic, hold"), "{error}");
}
