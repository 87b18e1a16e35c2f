//! How many calls there may be, how fast they may come, and who is refused: real calls against every kind of limit, and
//! the books of the limits afterwards.

use crate::support::attempt::Way;
use crate::support::command::said;
use crate::support::softphone::{Message, Softphone, audio};
use crate::support::{Engine, Net, Role, SOON, Stage, wait_for};
use std::time::{Duration, Instant};

struct World {
    engine: Engine,
    a: Softphone,
    b: Softphone,
    net: Net,
}

/// The PBX calls from IP2:5060 and IP4:5060, the carrier is at IP3:5060; `trunks` are further settings of both.
fn world(pbx: &str, carrier: &str, more: &str) -> World {
    let net = Net::new();
    let config = format!(
        r#"
listener.main = {{ sip = "udp:IP1:0", media = "IP1:0" }}
trunk.pbx = {{ from = ["IP2:5060", "IP4:5060"], to = "sip:IP2:5060"{pbx} }}
trunk.carrier = {{ address = "IP3:5060"{carrier} }}
{more}
[[route]]
from = "pbx"
via = "carrier"
[[route]]
from = "carrier"
via = "pbx"
"#
    );
    let engine = Engine::start(&net.fill(&config));
    let phone = |n| Softphone::at((net.ip(n), 5060));
    World { engine, a: phone(2), b: phone(3), net }
}

impl World {
    /// The PBX calls the carrier.
    fn out(&self) -> Way<'_> {
        Way { a: &self.a, b: &self.b, engine: self.engine.sip(0) }
    }

    /// The carrier calls the PBX.
    fn back(&self) -> Way<'_> {
        Way { a: &self.b, b: &self.a, engine: self.engine.sip(0) }
    }

    /// Places in use of a limit, as metrics and API tell.
    fn waits_for_use(&self, limit: &str, used: u32) {
        wait_for(&format!("{used} places of {limit} in use"), SOON, || {
            let limits = self.engine.json("/v1/limits");
            let of_api =
                limits["limits"].as_array()?.iter().find(|row| row["limit"] == limit)?["used"].as_u64()?;
            let of_page = self.engine.metric(&format!("strowger_limit_used{{limit=\"{limit}\"}}"));
            (of_api == u64::from(used) && of_page == f64::from(used)).then_some(())
        });
    }
}

/// Says which limit, and when to come back.
fn names(refusal: &Message, limit: &str, retry_after: &str) {
    let reason = refusal.header("Reason");
    assert!(reason.contains("cause=503") && reason.contains(&format!("limit {limit} reached")), "{reason}");
    assert_eq!(refusal.header("Retry-After"), retry_after);
}

#[test]
fn a_full_trunk_refuses_and_a_call_that_ends_makes_room() {
    let world = world(", limit = { calls = 2 }", "", "");
    let out = world.out();
    let (first, second) = (out.connects("15550100"), out.connects("15550101"));
    names(&out.is_refused("15550102", 503), "pbx", "10");
    world.waits_for_use("pbx", 2);
    // Both directions count together.
    names(&world.back().is_refused("2001", 503), "pbx", "10");
    out.ends(first);
    let third = world.back().connects("2001");
    names(&out.is_refused("15550103", 503), "pbx", "10");
    world.back().ends(third);
    out.ends(second);
    world.engine.wait_idle();
    let refused = world.engine.metric("strowger_limit_refused_total{limit=\"pbx\",reason=\"full\"}");
    assert_eq!(refused, 3.0);
    let cdrs = world.engine.wait_cdrs(9);
    let of_limit = cdrs.iter().filter(|cdr| cdr["policy"] == "pbx" && cdr["release_cause"] == "limit_full");
    assert_eq!(of_limit.count(), 3, "{cdrs:#?}");
}

#[test]
fn a_limit_of_one_direction_leaves_the_other_alone() {
    for (pbx, carrier, limit) in
        [(", limit_in = { calls = 1 }", "", "pbx/in"), ("", ", limit_out = { calls = 1 }", "carrier/out")]
    {
        let world = world(pbx, carrier, "");
        let (out, back) = (world.out(), world.back());
        let call = out.connects("15550100");
        names(&out.is_refused("15550101", 503), limit, "10");
        let returned = [back.connects("2001"), back.connects("2002")];
        world.waits_for_use(limit, 1);
        returned.into_iter().for_each(|call| back.ends(call));
        out.ends(call);
        let again = out.connects("15550102");
        out.ends(again);
        world.engine.wait_idle();
    }
}

#[test]
fn a_burst_is_exact_and_then_calls_come_at_their_rate() {
    const BURST: usize = 5;
    const TRIES: usize = 20;
    let world = world(", limit_in = { cps = \"1/s\", burst = 5 }", "", "");
    let engine = world.engine.sip(0);
    let began = Instant::now();
    let mut calls: Vec<_> = (0..TRIES)
        .map(|_| world.a.invite(engine, "15550100", &audio((world.net.ip(2), 4000).into())))
        .collect();
    let (mut refused, mut rung) = (0, Vec::new());
    while refused + rung.len() < TRIES {
        assert!(began.elapsed() < SOON, "{refused} refused, {} rung", rung.len());
        if let Some(invite) = world.b.expect_within("INVITE", Duration::from_millis(1)) {
            rung.push(invite);
        }
        let Some(refusal) = world.a.final_answer_within(Duration::from_millis(1)) else { continue };
        names(&refusal, "pbx/in", "1");
        let call =
            calls.iter_mut().find(|call| call.call_id == refusal.header("Call-ID")).expect("a call of ours");
        world.a.ack_refusal(call, &refusal);
        refused += 1;
    }
    // A machine that is busy elsewhere may take seconds to send them all.
    let more = began.elapsed().as_secs() as usize;
    assert!(
        (BURST..=BURST + more).contains(&rung.len()),
        "{} of {TRIES} in {:?}",
        rung.len(),
        began.elapsed()
    );
    wait_for("the metric to tell", SOON, || {
        let metric = world.engine.metric("strowger_limit_refused_total{limit=\"pbx/in\",reason=\"fast\"}");
        (metric == refused as f64).then_some(())
    });
    for invite in rung {
        world.b.answer(&invite, 486, "");
    }
    wait_for("the next call's turn", SOON, || world.out().call("15550101").ok());
}

#[test]
fn a_limit_for_each_caller_callee_or_source_holds_for_each_alone() {
    for (per, same, other) in [
        ("caller", ("2001", "15550100"), ("2002", "15550100")),
        ("callee", ("2001", "15550100"), ("2001", "15550101")),
    ] {
        let limit = format!("limit.each = {{ calls = 1, per = \"{per}\" }}");
        let world = world(", limit_in = { pool = \"each\" }", "", &limit);
        let out = world.out();
        let first = out.call_as(same.0, same.1).expect("the first of a key");
        let refusal = out.call_as(same.0, same.1).expect_err("the second of a key");
        names(&refusal, "each", "10");
        let second = out.call_as(other.0, other.1).expect("the first of another key");
        world.waits_for_use("each", 2);
        out.ends(first);
        let again = out.call_as(same.0, same.1).expect("a place that is free again");
        [second, again].into_iter().for_each(|call| out.ends(call));
        world.engine.wait_idle();
    }
    let world = world(", limit_in = { pool = \"each\" }", "", "limit.each = { calls = 1, per = \"source\" }");
    let elsewhere = Softphone::at((world.net.ip(4), 5060));
    let (here, there) = (world.out(), Way { a: &elsewhere, ..world.out() });
    let first = here.connects("15550100");
    names(&here.is_refused("15550101", 503), "each", "10");
    let second = there.connects("15550101");
    names(&there.is_refused("15550102", 503), "each", "10");
    here.ends(first);
    there.ends(second);
    world.engine.wait_idle();
}

#[test]
fn reserved_places_are_for_priority_and_emergencies_exceed_everything() {
    let net = Net::new();
    let config = r#"
listener.main = { sip = "udp:IP1:0", media = "IP1:0" }
limit.lines = { calls = 3, reserve = 1 }
trunk.pbx = { address = "IP2:5060", limit_in = { pool = "lines" } }
trunk.carrier = "IP3:5060"
[[route]]
to = "9."
class = "priority"
via = "carrier"
[[route]]
via = "carrier"
"#;
    let engine = Engine::start(&net.fill(config));
    let (a, b) = (Softphone::at((net.ip(2), 5060)), Softphone::at((net.ip(3), 5060)));
    let way = Way { a: &a, b: &b, engine: engine.sip(0) };
    let mut calls = vec![way.connects("15550100"), way.connects("15550101")];
    names(&way.is_refused("15550102", 503), "lines", "10");
    calls.push(way.connects("95550100"));
    names(&way.is_refused("95550101", 503), "lines", "10");
    calls.push(way.connects("911"));
    let limits = engine.json("/v1/limits");
    let lines = limits["limits"].as_array().and_then(|rows| rows.iter().find(|row| row["limit"] == "lines"));
    assert_eq!(lines.map(|row| &row["reserved"]), Some(&1.into()), "{limits:#}");
    calls.into_iter().for_each(|call| way.ends(call));
    engine.wait_idle();
}

#[test]
fn calls_that_are_up_survive_a_lower_limit_and_new_ones_are_refused() {
    let world = world(", limit = { calls = 3 }", "", "");
    let out = world.out();
    let mut calls = vec![out.connects("15550100"), out.connects("15550101"), out.connects("15550102")];
    let text = std::fs::read_to_string(world.engine.config_file()).expect("the file is there");
    let next = world.engine.folder().join("next.toml");
    std::fs::write(&next, text.replace("calls = 3", "calls = 1")).expect("writable");
    said(&world.engine, &["config", "apply", next.to_str().expect("a name")]);
    assert_eq!(world.engine.calls().len(), 3, "nobody is thrown out");
    for _ in 0..2 {
        names(&out.is_refused("15550103", 503), "pbx", "10");
        out.ends(calls.remove(0));
    }
    names(&out.is_refused("15550104", 503), "pbx", "10");
    out.ends(calls.remove(0));
    let last = out.connects("15550105");
    out.ends(last);
    world.engine.wait_idle();
}

/// Rings, speaks, and would go on for a minute.
const TALKER: &str = "
    > INVITE sdp
    < 180 ?
    < 200
    > ACK
    play speech.wav
    pause 60000
";
const LISTENER: &str = "
    < INVITE
    > 200 sdp
    < ACK
    < BYE
    > 200
";

#[test]
fn clients_that_are_killed_leave_no_place_taken() {
    const EACH: u32 = 8;
    const PLACES: u32 = 10;
    let config = r#"
listener.main = { sip = "udp:IP1:0", media = "IP1:0" }
limit.lines = { calls = 10 }
trunk.east = { address = "IP2:5060", limit_in = { pool = "lines" }, media_timeout = "2s" }
trunk.west = { address = "IP4:5060", limit_in = { pool = "lines" }, media_timeout = "2s" }
trunk.carrier = { address = "IP3:5060", limit = { calls = 100 } }
[[route]]
via = "carrier"
"#;
    let Some(stage) = Stage::with(config) else { return };
    let carrier = stage.uas(LISTENER).calls(2 * EACH, 60).start();
    let fleet = |n| {
        let setup = stage.party(Role::Uac, n, TALKER).file("speech.wav", &[0x55; 8_000]);
        setup.calls(EACH, 60).start()
    };
    let fleets = [fleet(2), fleet(4)];
    let engine = &stage.engine;
    let used = |limit: &str| engine.metric(&format!("strowger_limit_used{{limit=\"{limit}\"}}"));
    wait_for("a pool that two trunks share to be full, and no more", SOON, || {
        let refused = engine.metric("strowger_limit_refused_total{limit=\"lines\",reason=\"full\"}");
        (refused == f64::from(2 * EACH - PLACES) && used("lines") == f64::from(PLACES)).then_some(())
    });
    assert_eq!(used("carrier"), f64::from(PLACES));
    assert_eq!(used("east") + used("west"), f64::from(PLACES));
    wait_for("all of them to speak for longer than silence is borne", SOON, || {
        let calls = engine.calls();
        assert_eq!(calls.len(), PLACES as usize, "nobody ends these calls");
        calls.iter().all(|call| call["duration_ms"].as_u64().is_some_and(|ms| ms > 2_500)).then_some(())
    });
    // SIGKILL: no BYE, no more media.
    drop(fleets);
    engine.wait_idle();
    assert_eq!(engine.metric("strowger_limit_drift"), 0.0);
    let cdrs = engine.wait_cdrs((2 * PLACES + 2 * EACH - PLACES) as usize);
    let silent = cdrs.iter().filter(|cdr| cdr["release_cause"] == "media_timeout").count();
    assert_eq!(silent, 2 * PLACES as usize, "{cdrs:#?}");
    // And all of them can be taken anew.
    drop(carrier);
    let (a, b) = (Softphone::at((stage.net.ip(2), 5060)), Softphone::at((stage.net.ip(3), 5060)));
    let way = Way { a: &a, b: &b, engine: engine.sip(0) };
    for n in 0..PLACES {
        way.connects(&format!("1555{n}"));
    }
    names(&way.is_refused("15550199", 503), "lines", "10");
}
