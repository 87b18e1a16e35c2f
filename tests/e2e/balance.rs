//! Which member of a group gets a call, and what happens when it does not take it: SIPp as media servers with caps, lines
//! that refuse, fall silent or die, and what the API tells meanwhile.

use crate::support::attempt::events;
use crate::support::line::{Caller, Line};
use crate::support::{Engine, Net, Role, SOON, Sipp, Stage, field, wait_for};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Three media servers of unequal size behind one group, and routes that ask for what they have, for what they do not
/// have, and with both sets of texts.
const MEDIA: &str = r#"
listener.main = { sip = "udp:IP1:0", media = "IP1:0" }
trunk.pbx = { from = ["IP2"], to = "sip:IP2:5060" }
trunk.fs1 = "IP3:5060"
trunk.fs2 = "IP4:5060"
trunk.fs3 = "IP5:5060"
[group.media]
pick = "free-capacity"
members = [
    { trunk = "fs1", resources = { pstn = 10 } },
    { trunk = "fs2", resources = { pstn = 20 } },
    { trunk = "fs3", resources = { pstn = 30 } },
]
[[route]]
to = "1."
via = "media"
resources = ["pstn"]
texts = "opensips"
[[route]]
to = "2."
via = "media"
resources = ["pstn"]
[[route]]
to = "3."
via = "media"
resources = ["fax"]
texts = "opensips"
[[route]]
to = "4."
via = "media"
resources = ["fax"]
"#;

/// Calls, and waits until the other side hangs up.
const PATIENT: &str = "
    > INVITE sdp
    < 180 ?
    < 200
    > ACK
    < BYE
    > 200
";
const SERVER: &str = "
    < INVITE
    > 200 sdp
    < ACK
    < BYE
    > 200
";

/// Places in use by member, as the API tells.
fn used(engine: &Engine, group: &str) -> Vec<u64> {
    let status = engine.json(&format!("/v1/groups/{group}/status"));
    let members = status["members"].as_array().expect("a list").iter();
    members.map(|member| member["resources"][0]["used"].as_u64().expect("a count")).collect()
}

fn switch(engine: &Engine, trunk: &str, how: &str) {
    let body = if how == "disable" { "{}" } else { "" };
    let json = "Content-Type: application/json\r\n";
    let answer = engine.request("POST", &format!("/v1/trunks/{trunk}/{how}"), json, body);
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// Calls that SIPp was called for, repetitions apart.
fn calls_seen(server: &Sipp) -> usize {
    let text = server.messages().replace("\r\n", "\n");
    let of_invites = text.split("message received").filter(|message| message.contains("\nINVITE sip:"));
    let ids = of_invites.map(|message| {
        let invite = message.split_once("\nINVITE sip:").expect("it is there").1.replace('\n', "\r\n");
        field(&invite, "Call-ID")
    });
    ids.collect::<BTreeSet<_>>().len()
}

#[test]
fn three_media_servers_fill_in_step_up_to_their_caps_and_the_next_call_is_told_why() {
    const CAPS: [u64; 3] = [10, 20, 30];
    const ALL: u64 = 60;
    let Some(stage) = Stage::with(MEDIA) else { return };
    let engine = &stage.engine;
    let mut servers: Vec<Sipp> = (3..6)
        .zip(CAPS)
        .map(|(n, cap)| stage.party(Role::Uas, n, SERVER).calls(cap as u32, 100).start())
        .collect();
    let callers = stage.uac(PATIENT).number("15550100").calls(ALL as u32, 40).start();
    // On a machine that is busy elsewhere the engine may shed calls: somebody else makes them then.
    let (helper, mut helped) = (Caller::at((stage.net.ip(2), 0), engine.sip(0)), 0);
    let shed = || engine.metric("strowger_calls_refused_total{reason=\"overload\"}") as u64;

    let (end, mut sums) = (Instant::now() + 2 * SOON, BTreeSet::new());
    loop {
        let used = used(engine, "media");
        let sum: u64 = used.iter().sum();
        for (used, cap) in used.iter().zip(CAPS) {
            let share = cap as f64 * sum as f64 / ALL as f64;
            assert!(
                (*used as f64 - share).abs() <= 1.001,
                "{used} of {cap} with {sum} calls: more than one call off"
            );
        }
        sums.insert(sum);
        if used == CAPS {
            break;
        }
        assert!(Instant::now() < end, "the servers are not filled: {used:?}");
        if helped < shed() {
            helped += u64::from(helper.calls("2001", "15550100", "").status() == 200);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(sums.len() > 10, "the ramp was looked at while it went on: {sums:?}");

    let caller = Caller::at((stage.net.ip(2), 0), engine.sip(0));
    assert_eq!(caller.tries("2001", "15550199", "").line(), "500 Service Full");
    let full = caller.tries("2001", "25550199", "");
    assert_eq!(full.status(), 503, "{}", full.answer.text);
    assert!(!full.answer.header("Retry-After").is_empty(), "{}", full.answer.text);
    let reason = full.answer.header("Reason");
    assert!(reason.contains("limit media/fs") && reason.contains("/pstn reached"), "{reason}");
    assert_eq!(caller.tries("2001", "35550199", "").line(), "500 No Resource");
    assert_eq!(caller.tries("2001", "45550199", "").line(), "503 No destination available");
    for trunk in ["fs1", "fs2", "fs3"] {
        switch(engine, trunk, "disable");
    }
    assert_eq!(caller.tries("2001", "15550199", "").line(), "500 Service Down");
    assert_eq!(caller.tries("2001", "25550199", "").line(), "503 No destination available");
    assert_eq!(used(engine, "media"), CAPS, "calls in progress go on, and refused ones took nothing");
    for trunk in ["fs1", "fs2", "fs3"] {
        switch(engine, trunk, "enable");
    }

    for call in engine.calls() {
        let id = call["id"].as_str().expect("an id");
        assert!(engine.request("DELETE", &format!("/v1/calls/{id}"), "", "").status < 300);
    }
    (0..helped).for_each(|_| helper.is_hung_up());
    for (server, cap) in servers.iter_mut().zip(CAPS) {
        server.wait_passed();
        assert_eq!(calls_seen(server) as u64, cap, "calls at the server of {cap}");
    }
    if helped == 0 {
        callers.passes();
    }
    engine.wait_idle();
    assert_eq!(used(engine, "media"), [0, 0, 0]);
    assert_eq!(engine.metric("strowger_limit_drift"), 0.0);
}

struct Lines {
    engine: Engine,
    caller: Caller,
    lines: [Line; 3],
    net: Net,
}

/// Three lines at IP3 to IP5, which answer with these statuses, and a PBX at IP2.
fn lines(config: &str, says: [u16; 3]) -> Lines {
    let net = Net::new();
    let common = r#"
listener.main = { sip = "udp:IP1:0", media = "IP1:0" }
trunk.pbx = { from = ["IP2"], to = "sip:IP2:5060" }
"#;
    let engine = Engine::start(&net.fill(&format!("{common}{config}")));
    let caller = Caller::at((net.ip(2), 0), engine.sip(0));
    let lines = [3, 4, 5].map(|n| Line::at((net.ip(n), 5060), says[n as usize - 3]));
    Lines { engine, caller, lines, net }
}

const PLAIN: &str = r#"
trunk.l1 = "IP3:5060"
trunk.l2 = "IP4:5060"
trunk.l3 = "IP5:5060"
"#;

impl Lines {
    /// How often each line has been called.
    fn counts(&self) -> [usize; 3] {
        core::array::from_fn(|n| self.lines[n].calls().len())
    }

    /// Which lines a call to this number is offered to, in any order, and what the caller is told.
    fn tried(&self, number: &str) -> ([usize; 3], u16) {
        let before = self.counts();
        let made = self.caller.tries("2001", number, "");
        let after = self.counts();
        (core::array::from_fn(|n| after[n] - before[n]), made.status())
    }

    /// The line that a call to this number is offered to, by a caller with this number.
    fn taken_by(&self, caller: &str, number: &str) -> usize {
        let before = self.counts();
        self.caller.tries(caller, number, "");
        let after = self.counts();
        let called: Vec<usize> = (0..3).filter(|n| after[*n] > before[*n]).collect();
        let [line] = called[..] else { panic!("one line is called: {before:?} {after:?}") };
        line
    }
}

#[test]
fn each_way_to_pick_picks_as_it_says() {
    let members = "members = [{ trunk = \"l1\", weight = 1 }, { trunk = \"l2\", weight = 2, priority = 0 }, \
                   { trunk = \"l3\", weight = 3 }]";
    let picks =
        ["round-robin", "weighted", "priority", "random", "hash:callee", "hash:caller", "least-calls"];
    let mut config = PLAIN.to_owned();
    for (n, pick) in picks.iter().enumerate() {
        config += &format!(
            "[group.g{n}]\npick = \"{pick}\"\n{members}\n[[route]]\nto = \"{n}.\"\nvia = \"g{n}\"\n"
        );
    }
    config += "[group.g7]\npick = \"free-capacity\"\ncompare = \"absolute\"\nties = \"first\"\nmembers = [{ trunk = \
               \"l1\", resources = { pstn = 2 } }, { trunk = \"l2\", resources = { pstn = 4 } }]\n[[route]]\n\
               to = \"7.\"\nvia = \"g7\"\n";
    // Busy ends the search, so that each call shows who was picked first.
    let world = lines(&config, [486; 3]);
    let sequence = |number: &str, calls: usize| -> Vec<usize> {
        (0..calls).map(|_| world.taken_by("2001", number)).collect()
    };
    let shares = |taken: &[usize]| [0, 1, 2].map(|line| taken.iter().filter(|taken| **taken == line).count());
    assert_eq!(sequence("05550100", 6), [0, 1, 2, 0, 1, 2]);
    assert_eq!(shares(&sequence("15550100", 12)), [2, 4, 6]);
    assert_eq!(sequence("25550100", 3), [1, 1, 1], "the lowest number comes first");
    // Of 60 calls the smallest share misses all with a probability of 2 in 100,000.
    let random = shares(&sequence("35550100", 60));
    assert!(random.iter().all(|count| *count > 0), "{random:?}");
    let same = sequence("45550100", 4);
    assert!(same.iter().all(|line| *line == same[0]), "{same:?}");
    let spread: BTreeSet<usize> = (0..40).map(|n| world.taken_by("2001", &format!("4555{n:04}"))).collect();
    assert_eq!(spread.len(), 3, "different numbers go to different lines");
    let by_caller: BTreeSet<usize> = (0..8).map(|n| world.taken_by("2001", &format!("5555{n:04}"))).collect();
    assert_eq!(by_caller.len(), 1, "the same caller goes to the same line");

    // These look at calls that are up.
    world.lines.iter().for_each(|line| line.says(200));
    let held: Vec<_> = (0..6).map(|_| world.caller.calls("2001", "65550100", "")).collect();
    let calls = world.engine.json("/v1/groups/g6/status");
    let calls: Vec<_> =
        calls["members"].as_array().expect("a list").iter().map(|m| m["calls"].as_u64()).collect();
    assert_eq!(calls, [Some(1), Some(2), Some(3)], "the fewest calls for the weight");
    held.iter().for_each(|made| world.caller.hangs_up(made));
    let mut filling = Vec::new();
    let held: Vec<_> = (0..6)
        .map(|_| {
            let made = world.caller.calls("2001", "75550100", "");
            filling.push(used(&world.engine, "g7"));
            made
        })
        .collect();
    assert_eq!(filling, [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3], [2, 4]], "the most places that are free");
    held.iter().for_each(|made| world.caller.hangs_up(made));
    world.engine.wait_idle();
}

#[test]
fn a_member_that_fails_is_followed_by_the_next_and_none_is_tried_twice() {
    let config = r#"
trunk.l1 = { address = "IP3:5060", codes = { map = { "603" = "486", "503" = "404" } } }
trunk.l2 = { address = "IP4:5060", codes = { retry = ["404", "500-599"], stop = ["501"] } }
trunk.l3 = "IP5:5060"
[group.lines]
pick = "priority"
members = [
    { trunk = "l1", resources = { pstn = 1 } },
    { trunk = "l2", resources = { pstn = 1 } },
    { trunk = "l3", resources = { pstn = 1 } },
]
[group.nested]
pick = "priority"
members = [{ trunk = "l1", priority = 1 }, { trunk = "lines", priority = 2 }]
[[route]]
to = "1."
via = "lines"
[[route]]
to = "2."
via = "l1"
[[route]]
to = "3."
via = "nested"
"#;
    let world = lines(config, [503, 200, 200]);
    let says = |says: [u16; 3]| world.lines.iter().zip(says).for_each(|(line, status)| line.says(status));

    // While the second line has the call, the first one's place is free again.
    let made = world.caller.calls("2001", "15550100", "");
    assert_eq!((made.status(), world.counts()), (200, [1, 1, 0]));
    assert_eq!(used(&world.engine, "lines"), [0, 1, 0]);
    world.caller.hangs_up(&made);

    for (answers, tried, told, why) in [
        ([503, 486, 200], [1, 1, 0], 486, "busy ends the search"),
        ([503, 503, 503], [1, 1, 1], 500, "nobody is left, and a 503 is not passed on"),
        ([408, 404, 200], [1, 1, 1], 200, "the second line's table goes on after 404"),
        ([404, 200, 200], [1, 0, 0], 404, "the first line's does not"),
        ([500, 501, 200], [1, 1, 0], 501, "what stops does so even if it stands in `retry`"),
        ([603, 200, 200], [1, 0, 0], 486, "the caller is told what the map says"),
    ] {
        says(answers);
        assert_eq!(world.tried("15550100"), (tried, told), "{answers:?}: {why}");
    }
    says([503, 200, 200]);
    assert_eq!(world.tried("25550100"), ([1, 0, 0], 404), "a 503 may be mapped too");
    assert_eq!(world.tried("35550100"), ([1, 1, 0], 200), "who stands in two groups is tried once");
    world.engine.wait_idle();
    assert_eq!(used(&world.engine, "lines"), [0, 0, 0]);
    // Each attempt has its record beside the caller's, and all of a call name one call.
    let cdrs = world.engine.wait_cdrs(26);
    let attempts = cdrs.iter().filter(|cdr| cdr["leg"] == 3).count();
    assert_eq!(attempts, 2, "two calls went to three lines: {cdrs:#?}");
}

/// Calls, speaks for a moment and hangs up.
const SHORT: &str = "
    > INVITE sdp
    < 180 ?
    < 200
    > ACK
    > BYE
    < 200
";

#[test]
fn calls_go_on_to_the_next_server_when_one_is_killed() {
    const EACH: u32 = 10;
    let config = r#"
listener.main = { sip = "udp:IP1:0", media = "IP1:0" }
trunk.pbx = "IP2:5060"
trunk.fs1 = "IP3:5060"
trunk.fs2 = "IP4:5060"
group.media = { pick = "priority", members = ["fs1", "fs2"] }
[[route]]
via = "media"
"#;
    let Some(stage) = Stage::with(config) else { return };
    let server = |n| stage.party(Role::Uas, n, SERVER).calls(2 * EACH, 100).start();
    let (first, second) = (server(3), server(4));
    stage.uac(SHORT).calls(EACH, 50).start().passes();
    assert_eq!((calls_seen(&first), calls_seen(&second)), (EACH as usize, 0));
    // SIGKILL: the kernel answers in its place, by ICMP.
    drop(first);
    let began = Instant::now();
    stage.uac(SHORT).calls(EACH, 50).start().passes();
    assert!(began.elapsed() < Duration::from_secs(4), "nobody waits for a timer: {:?}", began.elapsed());
    assert_eq!(calls_seen(&second), EACH as usize);
    stage.engine.wait_idle();
}

/// The state of a trunk, in one word.
fn state(engine: &Engine, trunk: &str) -> Value {
    engine.json(&format!("/v1/trunks/{trunk}/status"))["state"].clone()
}

/// Waits for the newest event about a trunk to be of this kind.
fn told(engine: &Engine, kind: &str, count: usize) {
    events(engine, kind, |events| events.iter().filter(|event| event["trunk"] == "l1").count() >= count);
}

#[test]
fn a_line_that_answers_no_probe_is_left_alone_until_it_answers_again() {
    let config = r#"
trunk.l1 = { address = "IP3:5060", probe = { every = "1s", down_after = 2, up_after = 2 } }
trunk.l2 = "IP4:5060"
trunk.l3 = "IP5:5060"
group.lines = { pick = "priority", members = ["l1", "l2"] }
[[route]]
via = "lines"
"#;
    let world = lines(config, [200; 3]);
    let up = || world.engine.metric("strowger_trunk_up{trunk=\"l1\"}");
    world.lines[0].has_heard("OPTIONS", 1);
    assert_eq!((world.tried("15550100"), up()), (([1, 0, 0], 200), 1.0));
    world.lines[0].is_mute(true);
    told(&world.engine, "trunk.down", 1);
    assert_eq!((state(&world.engine, "l1"), up()), ("down".into(), 0.0));
    assert_eq!(world.tried("15550100"), ([0, 1, 0], 200), "calls go elsewhere");
    world.lines[0].is_mute(false);
    let began = Instant::now();
    told(&world.engine, "trunk.up", 1);
    assert!(began.elapsed() > Duration::from_millis(500), "one answer is not enough");
    assert_eq!((state(&world.engine, "l1"), up()), ("up".into(), 1.0));
    assert_eq!(world.tried("15550100"), ([1, 0, 0], 200), "calls come back");
}

#[test]
fn a_line_whose_calls_fail_is_left_alone_for_a_while_and_then_tried() {
    let config = r#"
trunk.l1 = { address = "IP3:5060", breaker = { fail_ratio = 0.5, min_calls = 4, open = "1s", trial = 1 } }
trunk.l2 = "IP4:5060"
trunk.l3 = "IP5:5060"
group.lines = { pick = "priority", members = ["l1", "l2"] }
[[route]]
via = "lines"
"#;
    let world = lines(config, [486, 200, 200]);
    for _ in 0..4 {
        assert_eq!(world.tried("15550100"), ([1, 0, 0], 486), "who is busy lives");
    }
    world.lines[0].says(503);
    for _ in 0..4 {
        assert_eq!(world.tried("15550100"), ([1, 1, 0], 200), "half of the calls are not failed yet");
    }
    told(&world.engine, "trunk.open", 1);
    assert_eq!(world.tried("15550100"), ([0, 1, 0], 200), "nobody tries it");
    // Its time is over: one call tries it, and finds it as it was.
    told(&world.engine, "trunk.trial", 1);
    assert_eq!(world.tried("15550100"), ([1, 1, 0], 200));
    told(&world.engine, "trunk.open", 2);
    assert_eq!(world.tried("15550100"), ([0, 1, 0], 200));
    world.lines[0].says(200);
    told(&world.engine, "trunk.trial", 2);
    // While one call is trying it, others do not.
    world.lines[0].says(0);
    let trying = world.caller.invites("2001", "15550100", "");
    world.lines[0].has_heard("INVITE", 10);
    let other = Caller::at((world.net.ip(2), 0), world.engine.sip(0));
    let before = world.counts();
    assert_eq!(other.tries("2001", "15550100", "").status(), 200);
    assert_eq!(world.counts(), [before[0], before[1] + 1, 0], "the trial is taken");
    world.caller.cancels(&trying);
    assert_eq!(world.caller.outcome(trying).status(), 487);
    world.lines[0].says(200);
    wait_for("a call that closes the breaker", SOON, || {
        (world.tried("15550100").0 == [1, 0, 0]).then_some(())
    });
    told(&world.engine, "trunk.up", 1);
    assert_eq!(state(&world.engine, "l1"), "up");
    assert_eq!(world.tried("15550100"), ([1, 0, 0], 200));
}
