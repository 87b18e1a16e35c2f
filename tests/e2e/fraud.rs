//! Where calls may go and what looks like fraud, by real calls: the table of destinations, lists of callers, each rule
//! of a profile, each action, and live cuts within a second.

use crate::support::attempt::{Way, events};
use crate::support::softphone::{Connected, Message, Softphone, audio};
use crate::support::{Engine, Folder, Net, SOON, wait_for};
use std::time::{Duration, Instant};

struct World {
    engine: Engine,
    a: Softphone,
    b: Softphone,
}

/// The PBX calls by a policy called `p`, or by the policies that `trunk` names.
fn world(trunk: &str, policies: &str) -> World {
    let (net, folder) = (Net::new(), Folder::new());
    // One a second, begun seconds are billed.
    std::fs::write(folder.path().join("rates.csv"), "prefix,price\n*,60\n").expect("writable");
    let config = format!(
        r#"
listener.main = {{ sip = "udp:IP1:0", media = "IP1:0" }}
trunk.pbx = {{ address = "IP2:5060", {trunk} }}
trunk.carrier = {{ address = "IP3:5060", limit_out = {{ calls = 2 }} }}
{policies}
[[number_rule]]
match = "00ZX."
to = "+{{2-}}"
[[route]]
from = "pbx"
via = "carrier"
"#
    );
    let phone = |n| Softphone::at((net.ip(n), 5060));
    World { engine: Engine::start_in(folder, &net.fill(&config), &[]), a: phone(2), b: phone(3) }
}

/// A profile with this rule; at its critical level this happens.
fn profile(rule: &str, critical: &str) -> World {
    let policy = format!(
        "[policy.p]\nwindow = \"1h\"\nrules = {{ {rule} }}\nrates = \"rates.csv\"\ncritical = [{critical}]\n"
    );
    world("policy = \"p\"", &policy)
}

impl World {
    fn way(&self) -> Way<'_> {
        Way { a: &self.a, b: &self.b, engine: self.engine.sip(0) }
    }

    /// A call that comes about and ends at once.
    fn short_call(&self, number: &str) {
        let way = self.way();
        way.ends(way.connects(number));
    }

    /// A call that the carrier refuses.
    fn busy_call(&self, number: &str) {
        let refusal = self.way().call_answered("2001", number, 486).expect_err("the carrier is busy");
        assert_eq!(refusal.kind(), "486 INVITE", "{}", refusal.text);
    }

    /// The policy refuses a call, for this rule.
    fn is_fraud(&self, number: &str, rule: &str) {
        let refusal = self.way().is_refused(number, 403);
        says(&refusal, &format!("policy p: {rule} critical"));
    }

    /// The rule was told once at both levels, and each action was counted.
    fn told(&self, rule: &str, critical: &[&str]) {
        let is = |event: &serde_json::Value, kind: &str| event["kind"] == kind && event["rule"] == rule;
        let found = events(&self.engine, "fraud.*", |found| {
            ["fraud.warning", "fraud.critical"].iter().all(|kind| found.iter().any(|event| is(event, kind)))
        });
        for kind in ["fraud.warning", "fraud.critical"] {
            assert_eq!(found.iter().filter(|event| is(event, kind)).count(), 1, "{found:#?}");
        }
        let of_us = |event: &serde_json::Value| event["policy"] == "p" && event["key"] == "trunk=pbx";
        assert!(found.iter().all(of_us), "{found:#?}");
        for action in ["event"].iter().chain(critical) {
            let sample =
                format!("strowger_fraud_actions_total{{policy=\"p\",rule=\"{rule}\",action=\"{action}\"}}");
            wait_for(&sample, SOON, || (self.engine.metric(&sample) >= 1.0).then_some(()));
        }
    }

    /// Both sides of a call are hung up on within a second of the threshold, which the call reaches so long after its
    /// answer: that was after `before` and before `after`.
    fn is_cut(&self, before: Instant, after: Instant, threshold: Duration, rule: &str) {
        let bye = self.a.expect_bye();
        let (longest, shortest) = (before.elapsed(), after.elapsed());
        says(&bye, &format!("policy p: {rule} critical"));
        self.b.expect_bye();
        assert!(longest >= threshold, "cut {longest:?} after the call began");
        assert!(shortest <= threshold + Duration::from_secs(1), "cut {shortest:?} after the answer");
    }
}

fn says(message: &Message, text: &str) {
    let reason = message.header("Reason");
    assert!(reason.contains("cause=403") && reason.contains(text), "{reason} says nothing of {text}");
}

#[test]
fn the_table_of_destinations_decides_on_every_number() {
    let world = world("policy = \"geo\"", "policy.geo = { destinations = \"default\" }");
    let way = world.way();
    let other_countries = "242 246 264 268 284 345 441 473 649 658 664 721 758 767 784 868 869 876";
    let territories = "340 670 671 684";
    let unassigned = "211 555 999";
    let mut refused = 0;
    for npa in [other_countries, territories, unassigned, "900"].join(" ").split(' ') {
        says(&way.is_refused(&format!("+1{npa}5551234"), 403), "policy geo: ");
        refused += 1;
    }
    for (number, rule) in [
        ("+18765551234", "default:+1876 JM"),
        ("+19005551234", "premium:+1900"),
        ("+12129761234", "premium:+1XXX976"),
        ("+442079460123", "unlisted"),
        ("+5371234567", "unlisted"),
        ("+881612345678", "satellite:+881"),
        // Rewritten first, then judged.
        ("00442079460123", "unlisted"),
        // Not a number that has a country.
        ("14165550100", "not_e164"),
        ("+1416555010", "not_e164"),
        ("+1416555O100", "not_e164"),
        ("2002", "not_e164"),
    ] {
        says(&way.is_refused(number, 403), &format!("policy geo: {rule}"));
        refused += 1;
    }
    let mut passed = 0;
    assert!(world.b.expect_within("INVITE", Duration::from_millis(100)).is_none(), "no trunk has seen any");
    for npa in "212 202 416 604 800 888 787 939 809 829 849".split(' ') {
        world.busy_call(&format!("+1{npa}5550100"));
        passed += 1;
    }
    for number in ["+525512345678", "0014165550100", "911"] {
        world.busy_call(number);
        passed += 1;
    }
    let cdrs = world.engine.wait_cdrs(refused + 2 * passed);
    let of_policy = cdrs.iter().filter(|cdr| {
        cdr["policy"].as_str().is_some_and(|policy| policy.starts_with("geo: "))
            && cdr["release_cause"] == "policy"
    });
    assert_eq!(of_policy.count(), refused, "{cdrs:#?}");
    let told = events(&world.engine, "call.refused", |found| found.len() >= refused);
    assert!(told.iter().all(|event| event["by"] == "geo" && event["rule"] != ""), "{told:#?}");
    let metric = "strowger_calls_refused_total{reason=\"policy\"}";
    wait_for(metric, SOON, || (world.engine.metric(metric) == refused as f64).then_some(()));
}

#[test]
fn lists_of_callers_and_of_prefixes_of_ones_own_decide_before_any_trunk_is_called() {
    let policies = r#"
policy.people = { callers = { deny = ["+44*", "anonymous"] } }
policy.cheap = { destinations = { allow = ["@GB", "20"], deny = ["+449", "+447"] } }
"#;
    let world = world("policy = [\"people\", \"cheap\"]", policies);
    let way = world.way();
    for (caller, number, says_what) in [
        ("+442079460000", "+442079460123", "policy people: caller_deny:+44*"),
        ("anonymous", "+442079460123", "policy people: caller_deny:anonymous"),
        ("2001", "+447700900123", "policy cheap: deny:+447"),
        ("2001", "+14165550100", "policy cheap: unlisted"),
    ] {
        let refusal = way.call_as(caller, number).expect_err("it is forbidden");
        assert_eq!(refusal.kind(), "403 INVITE");
        says(&refusal, says_what);
    }
    assert!(world.b.expect_within("INVITE", Duration::from_millis(100)).is_none());
    world.busy_call("+442079460123");
    world.busy_call("2002");
}

#[test]
fn too_many_calls_a_minute() {
    let world = profile("cpm = [2, 3]", "\"reject\"");
    for number in ["15550100", "15550101"] {
        world.short_call(number);
    }
    world.is_fraud("15550102", "cpm");
    world.told("cpm", &["reject"]);
}

#[test]
fn too_many_calls_at_a_time() {
    let world = profile("concurrent = [2, 3]", "\"reject\"");
    let way = world.way();
    let calls = [way.connects("15550100"), way.connects("15550101")];
    world.is_fraud("15550102", "concurrent");
    // What was refused is not up.
    world.is_fraud("15550103", "concurrent");
    world.told("concurrent", &["reject"]);
    calls.into_iter().for_each(|call| way.ends(call));
    world.short_call("15550104");
}

#[test]
fn too_many_calls_in_the_window() {
    let world = profile("total = [2, 3]", "\"reject\"");
    for number in ["15550100", "15550101"] {
        world.short_call(number);
    }
    world.is_fraud("15550102", "total");
    world.told("total", &["reject"]);
    // Until an operator says that it was none.
    let reset = |key: &str| {
        let body = format!("{{\"policy\": \"p\", \"key\": \"{key}\"}}");
        world.engine.request("POST", "/v1/fraud/reset", "Content-Type: application/json\r\n", &body).status
    };
    assert_eq!((reset("trunk=other"), reset("trunk=pbx")), (404, 204));
    world.short_call("15550103");
}

#[test]
fn too_many_calls_one_after_the_other_to_one_number() {
    let world = profile("sequential = [2, 3]", "\"reject\"");
    for number in ["15550100", "15550100", "15550101", "15550100", "15550100"] {
        world.short_call(number);
    }
    world.is_fraud("15550100", "sequential");
    world.told("sequential", &["reject"]);
    world.short_call("15550101");
}

#[test]
fn too_many_different_numbers() {
    let world = profile("distinct = [2, 3]", "\"reject\"");
    for number in ["15550100", "15550101", "15550100", "15550101"] {
        world.short_call(number);
    }
    world.is_fraud("15550102", "distinct");
    world.told("distinct", &["reject"]);
}

#[test]
fn too_many_short_calls() {
    let world = profile("short_calls = { ratio = [0.5, 0.6], under = \"1s\", min_calls = 2 }", "\"reject\"");
    let way = world.way();
    let (long, began) = (way.connects("15550100"), Instant::now());
    wait_for("a call that is not short", SOON, || {
        (began.elapsed() > Duration::from_millis(1_100)).then_some(())
    });
    way.ends(long);
    // One of two, then two of three.
    for number in ["15550101", "15550102"] {
        world.short_call(number);
    }
    world.is_fraud("15550103", "short_calls");
    world.told("short_calls", &["reject"]);
}

#[test]
fn too_few_answered_calls() {
    let world = profile("answer_ratio = { below = [0.6, 0.4], min_calls = 2 }", "\"reject\"");
    world.short_call("15550100");
    // One of two, then one of three.
    for number in ["15550101", "15550102"] {
        world.busy_call(number);
    }
    world.is_fraud("15550103", "answer_ratio");
    world.told("answer_ratio", &["reject"]);
}

#[test]
fn calls_that_a_limit_refuses_are_not_calls_that_nobody_answers() {
    let world = profile("answer_ratio = { below = [0.6, 0.4], min_calls = 2 }", "\"reject\"");
    let way = world.way();
    let calls = [way.connects("15550100"), way.connects("15550101")];
    for _ in 0..5 {
        way.is_refused("15550102", 503);
    }
    calls.into_iter().for_each(|call| way.ends(call));
    world.short_call("15550103");
    assert_eq!(world.engine.metric("strowger_fraud_actions_total"), 0.0);
}

#[test]
fn a_call_that_lasts_too_long_is_cut_while_it_is_up() {
    let world = profile("duration = [\"1s\", \"2s\"]", "\"cut\"");
    let before = Instant::now();
    world.way().connects("15550100");
    world.is_cut(before, Instant::now(), Duration::from_secs(2), "duration");
    world.engine.wait_idle();
    let cdrs = world.engine.wait_cdrs(2);
    for cdr in &cdrs {
        assert_eq!(
            (&cdr["release_by"], &cdr["release_cause"]),
            (&"engine".into(), &"fraud".into()),
            "{cdr:#}"
        );
        assert_eq!(cdr["policy"], "p: duration critical", "{cdr:#}");
    }
    world.told("duration", &["cut"]);
    // It concerns that call alone.
    world.short_call("15550100");
}

#[test]
fn all_calls_are_cut_that_spend_too_much_together() {
    let world = profile("spend = [2, 3]", "\"cut\", \"reject\"");
    let (way, before) = (world.way(), Instant::now());
    let calls: [Connected; 2] = [way.connects("15550100"), way.connects("15550101")];
    let after = Instant::now();
    for _ in &calls {
        // Each costs 1 at once and 2 after a second.
        world.is_cut(before, after, Duration::from_secs(1), "spend");
    }
    world.engine.wait_idle();
    let cdrs = world.engine.wait_cdrs(4);
    for cdr in cdrs.iter().filter(|cdr| cdr["leg"] == 0) {
        assert_eq!(
            (&cdr["policy"], &cdr["release_cause"]),
            (&"p: spend critical".into(), &"fraud".into()),
            "{cdr:#}"
        );
        assert_eq!(cdr["price_per_minute"].as_f64(), Some(60.0), "{cdr:#}");
        // The record has whole milliseconds, of which a part more may have begun another second.
        let ms = cdr["duration_ms"].as_f64().expect("a duration");
        let begun = |ms: f64| (ms / 1_000.0).ceil();
        let cost = cdr["cost"].as_f64().expect("a cost");
        assert!(cost == begun(ms) || cost == begun(ms + 0.999), "{cdr:#}");
    }
    world.is_fraud("15550102", "spend");
    world.told("spend", &["cut", "reject"]);
}

#[test]
fn a_trunk_is_out_of_use_for_a_while() {
    let world = profile("total = [1, 2]", "\"disable:2s\"");
    let way = world.way();
    let call = way.connects("15550100");
    let began = Instant::now();
    world.is_fraud("15550101", "total");
    let refusal = way.is_refused("15550102", 403);
    says(&refusal, "pbx: disabled");
    let state = || world.engine.json("/v1/trunks/pbx/status")["state"].clone();
    assert_eq!(state(), "disabled");
    // The call that was up goes on.
    way.ends(call);
    let call = wait_for("the trunk to be in use again", SOON, || way.call("15550103").ok());
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    way.ends(call);
    assert_eq!(state(), "up");
    world.told("total", &["disable"]);
    events(&world.engine, "trunk.*", |found| {
        let kinds: Vec<_> = found.iter().filter_map(|event| event["kind"].as_str()).collect();
        kinds == ["trunk.disabled", "trunk.up"]
    });
}

#[test]
fn a_limit_is_lowered_until_an_operator_resets_the_key() {
    let world = profile("total = [1, 2]", "\"lower:1\"");
    let way = world.way();
    let call = way.connects("15550100");
    let refusal = way.is_refused("15550101", 503);
    assert!(refusal.header("Reason").contains("limit pbx reached"), "{}", refusal.text);
    way.ends(call);
    let call = way.connects("15550102");
    way.is_refused("15550103", 503);
    world.told("total", &["lower"]);
    let body = "{\"policy\": \"p\", \"key\": \"trunk=pbx\"}";
    let reset = world.engine.request("POST", "/v1/fraud/reset", "Content-Type: application/json\r\n", body);
    assert_eq!(reset.status, 204, "{}", reset.body);
    let second = way.connects("15550104");
    [call, second].into_iter().for_each(|call| way.ends(call));
    world.engine.wait_idle();
}

#[test]
fn a_call_is_diverted_and_no_carrier_hears_of_it() {
    let world = profile("total = [1, 2]", "\"divert:tarpit\"");
    world.short_call("15550100");
    let (a, engine) = (&world.a, world.engine.sip(0));
    let mut call = a.invite(engine, "15550101", &audio((a.address().ip(), 4000).into()));
    let ok = a.expect("200 INVITE");
    a.ack(&mut call, &ok);
    assert_eq!(ok.media(0).port(), 9, "its media leads nowhere");
    a.request(&mut call, "BYE", "");
    a.expect("200 BYE");
    assert!(world.b.expect_within("INVITE", Duration::from_millis(100)).is_none());
    let cdrs = world.engine.wait_cdrs(3);
    let diverted: Vec<_> = cdrs.iter().filter(|cdr| cdr["release_cause"] == "diverted").collect();
    assert_eq!(diverted.len(), 1, "{cdrs:#?}");
    assert_eq!((&diverted[0]["policy"], &diverted[0]["trunk"]), (&"p".into(), &"pbx".into()));
    assert_eq!(world.engine.metric("strowger_calls_diverted_total"), 1.0);
    world.told("total", &["divert"]);
    world.engine.wait_idle();
}

#[test]
fn a_trunk_is_never_banned_by_a_policy() {
    let world = profile("total = [1, 2]", "\"ban:1h\", \"reject\"");
    world.short_call("15550100");
    world.is_fraud("15550101", "total");
    world.is_fraud("15550102", "total");
    assert_eq!(world.engine.json("/v1/bans")["bans"].as_array().map(Vec::len), Some(0));
}
