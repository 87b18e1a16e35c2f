//! Calls that do not come about: refusals of ours and of others, failover, loops, forks.

use crate::sipp_basic::{CALLEE, CALLER};
use crate::support::{Phone, Role, SOON, Sipp, Stage, field, status};
use std::time::Duration;

/// The caller is refused with this status.
fn refused(code: u16) -> String {
    format!("> INVITE sdp\n < {code}\n > ACK")
}

#[test]
fn busy_is_passed_on_with_its_phrase_and_reason() {
    let Some(stage) = Stage::new() else { return };
    let callee = "< INVITE\n > 486\n + Reason: Q.850;cause=17\n < ACK";
    let caller = "> INVITE sdp\n < 486\n ? msg 486 Busy Here\n ? Reason: Q.850;cause=17\n > ACK";
    let cdrs = stage.call(caller, callee);
    for cdr in &cdrs {
        assert_eq!((&cdr["final_status"], &cdr["release_cause"]), (&486.into(), &"busy".into()));
        assert_eq!(cdr["release_by"], "callee");
    }
}

#[test]
fn a_503_of_the_only_target_is_a_500_for_the_caller() {
    let Some(stage) = Stage::new() else { return };
    let cdrs = stage.call(&refused(500), "< INVITE\n > 503\n < ACK");
    assert_eq!((&cdrs[0]["final_status"], &cdrs[1]["final_status"]), (&500.into(), &503.into()));
}

/// The carrier has two addresses; the second one answers.
const TWO: &str = r#"
listener.main = { sip = "udp:IP1:0", media = "IP1:0" }
trunk.pbx = "IP2:5060"
trunk.carrier = { from = ["IP3:5060", "IP4:5060"], to = ["sip:IP3:5060", "sip:IP4:5060"] }
[[route]]
from = "pbx"
via = "carrier"
"#;

#[test]
fn a_503_leads_to_the_second_target() {
    let Some(stage) = Stage::with(TWO) else { return };
    let first = stage.callee("< INVITE\n > 503\n < ACK");
    let second = stage.party(Role::Uas, 4, CALLEE).start();
    Sipp::all_pass([stage.caller(CALLER), first, second]);
    stage.engine.wait_idle();
    let cdrs = stage.engine.wait_cdrs(3);
    let legs: Vec<_> = cdrs.iter().map(|cdr| (cdr["leg"].as_u64(), cdr["final_status"].as_u64())).collect();
    assert_eq!(legs, [(Some(0), Some(200)), (Some(1), Some(503)), (Some(2), Some(200))]);
}

#[test]
fn a_closed_port_leads_to_the_second_target_at_once() {
    let Some(stage) = Stage::with(TWO) else { return };
    let second = stage.party(Role::Uas, 4, CALLEE).start();
    Sipp::all_pass([stage.caller(CALLER), second]);
    stage.engine.wait_idle();
    let cdrs = stage.engine.wait_cdrs(3);
    let delay = cdrs[0]["post_dial_delay_ms"].as_u64();
    assert!(delay.is_some_and(|ms| ms < 2_000), "ICMP is heard, no timer is waited for: {cdrs:#?}");
}

#[test]
fn silence_leads_to_the_second_target_after_a_few_seconds() {
    let Some(stage) = Stage::with(TWO) else { return };
    let silent = Phone::at((stage.net.ip(3), 5060));
    let second = stage.party(Role::Uas, 4, CALLEE).start();
    let caller = stage.caller(&CALLER.replace("pause 100", "pause 500"));
    let invite = silent.receive_request("INVITE");
    stage.engine.wait_call("answered");
    // The first target comes to life too late: its answer is acknowledged and ended, the call goes on.
    silent.send(stage.engine.sip(0), silent.answer(&invite, 200));
    let ack = silent.receive_request("ACK");
    let bye = silent.receive_request("BYE");
    assert_eq!(field(&ack, "Call-ID"), field(&invite, "Call-ID"));
    silent.send(stage.engine.sip(0), silent.answer(&bye, 200));
    Sipp::all_pass([caller, second]);
    stage.engine.wait_idle();
    let cdrs = stage.engine.wait_cdrs(3);
    let delay = cdrs[0]["post_dial_delay_ms"].as_u64();
    assert!(delay.is_some_and(|ms| (2_000..8_000).contains(&ms)), "{cdrs:#?}");
}

#[test]
fn busy_does_not_lead_to_the_second_target() {
    let Some(stage) = Stage::with(TWO) else { return };
    let second = Phone::at((stage.net.ip(4), 5060));
    stage.call(&refused(486), "< INVITE\n > 486\n < ACK");
    assert_eq!(second.receive_within(Duration::from_millis(50)), None);
}

/// Routes by number only.
const NUMBERS: &str = r#"
listener.main = { sip = "udp:IP1:0", media = "IP1:0" }
trunk.pbx = "IP2:5060"
trunk.carrier = "IP3:5060"
[[number_rule]]
on = "callee"
trunk = "pbx"
match = "00ZX."
to = "+{2-}"
[[number_rule]]
on = "caller"
match = "2XXX"
to = "+49302{1-}"
[[route]]
name = "america"
from = "pbx"
to = "+1NXXNXXXXXX"
via = "carrier"
[[route]]
name = "one"
from = "pbx"
to = "+4930555"
via = "carrier"
"#;

#[test]
fn numbers_are_rewritten_and_matched() {
    let Some(stage) = Stage::with(NUMBERS) else { return };
    let callee = CALLEE.replace(
        "< INVITE sdp",
        "< INVITE sdp\n ? msg ^INVITE sip:.?.?.?12125550100@\n ? From: 49302001@\n ? To: 12125550100@",
    );
    let callee = stage.callee(&callee);
    let caller = stage.uac(CALLER).number("0012125550100").start();
    Sipp::all_pass([caller, callee]);
    stage.engine.wait_idle();
    let cdrs = stage.engine.wait_cdrs(2);
    assert_eq!((&cdrs[0]["route"], &cdrs[0]["to_user"]), (&"america".into(), &"0012125550100".into()));
    assert_eq!((&cdrs[1]["to_user"], &cdrs[1]["from_user"]), (&"+12125550100".into(), &"+49302001".into()));
}

#[test]
fn a_number_without_route_gets_404_and_an_empty_one_484() {
    let Some(stage) = Stage::with(NUMBERS) else { return };
    for (number, code) in [("+4930556", 404), ("+493055", 404), ("+11115550100", 404), ("", 484)] {
        let at = if number.is_empty() { "" } else { "@" };
        let caller = format!("> INVITE sdp uri=sip:{number}{at}[remote_ip]:[remote_port]\n < {code}\n > ACK");
        // The ACK of SIPp goes to the URI with its own number, which is no matter: the transaction is what counts.
        stage.caller(&caller).passes();
    }
    stage.engine.wait_idle();
    assert_eq!(stage.engine.metric("strowger_calls_refused_total{reason=\"no_route\"}"), 3.0);
    assert_eq!(stage.engine.metric("strowger_calls_refused_total{reason=\"bad_number\"}"), 1.0);
}

#[test]
fn strangers_hear_nothing() {
    let Some(stage) = Stage::new() else { return };
    let sip = stage.engine.sip(0);
    let stranger = Phone::at((stage.net.ip(6), 5060));
    for method in ["INVITE", "OPTIONS", "REGISTER", "BYE", "SUBSCRIBE"] {
        stranger.send(sip, stranger.request(method, &format!("sip:2002@{sip}"), "who", 1, "", ""));
    }
    stranger.send(sip, "INVITE garbage\r\n\r\n");
    // The right address with the wrong port is a stranger, too.
    let other_port = Phone::at((stage.net.ip(2), 5070));
    other_port.send(sip, other_port.invite(sip, "2002", "port"));
    // Whoever is known is answered, so the others have been looked at by then.
    let known = Phone::at((stage.net.ip(2), 5060));
    known.send(sip, known.request("OPTIONS", &format!("sip:{sip}"), "known", 1, "", ""));
    assert_eq!(status(&known.receive()), 200);
    assert_eq!(stranger.receive_within(Duration::from_millis(50)), None);
    assert_eq!(other_port.receive_within(Duration::from_millis(50)), None);
    stage.engine.wait_idle();
}

#[test]
fn strangers_get_403_where_the_configuration_says_so() {
    let config = format!("unknown.answer = \"403\"\n{}", crate::support::PAIR);
    let Some(stage) = Stage::with(&config) else { return };
    let caller = stage.party(Role::Uac, 6, "> INVITE sdp\n < 403\n > ACK").start();
    caller.passes();
    stage.engine.wait_idle();
}

#[test]
fn options_to_us_is_answered_by_us() {
    let Some(stage) = Stage::new() else { return };
    let far = Phone::at((stage.net.ip(3), 5060));
    stage
        .caller("> OPTIONS\n < 200\n ? Allow: INVITE, ACK, CANCEL, BYE\n ? Accept: application/sdp")
        .passes();
    assert_eq!(far.receive_within(Duration::from_millis(50)), None, "nobody else is asked");
    stage.engine.wait_idle();
}

#[test]
fn methods_that_nobody_takes() {
    let Some(stage) = Stage::new() else { return };
    for (method, code) in [("SUBSCRIBE", 405), ("REFER", 603), ("FROBNICATE", 501)] {
        stage.caller(&format!("> {method}\n < {code}\n")).passes();
    }
    stage.caller("> OPTIONS\n + Require: nonsense\n < 420\n ? Unsupported: nonsense\n").passes();
    stage.engine.wait_idle();
}

/// A route that leads back to the engine itself.
#[test]
fn a_loop_is_found_although_each_leg_hides_the_other() {
    let text = r#"
        listener.main = { sip = "udp:IP1:5060", media = "IP1:0" }
        trunk.pbx = "IP2:5060"
        trunk.self = "IP1:5060"
        [[route]]
        via = "self"
    "#;
    let Some(stage) = Stage::with(text) else { return };
    stage.caller(&refused(482)).passes();
    stage.engine.wait_idle();
    let found = stage.engine.metric("strowger_calls_refused_total{reason=\"loop\"}");
    assert_eq!(found, 1.0, "found in the first round");
}

#[test]
fn hops_are_counted_across_legs() {
    let Some(stage) = Stage::new() else { return };
    let callee = CALLEE.replace("< INVITE sdp", "< INVITE sdp\n ? Max-Forwards: ^ *6$");
    stage.call(&CALLER.replace("> INVITE sdp", "> INVITE sdp max=7"), &callee);
}

#[test]
fn a_call_without_hops_left_ends_here() {
    let Some(stage) = Stage::new() else { return };
    let far = Phone::at((stage.net.ip(3), 5060));
    stage.caller("> INVITE sdp max=0\n < 483\n > ACK").passes();
    stage.engine.wait_idle();
    assert_eq!(far.receive_within(Duration::from_millis(50)), None);
    assert_eq!(stage.engine.wait_cdrs(1)[0]["final_status"], 483);
}

#[test]
fn only_business_and_identity_headers_are_carried() {
    let Some(stage) = Stage::new() else { return };
    let caller = stage.net.fill(
        "> INVITE sdp
         + X-Sign-ID: 42
         + P-Asserted-Identity: <sip:+4930100@pbx.example>
         + Privacy: none
         + Diversion: <sip:+4930200@pbx.example>;reason=unconditional
         + User-Agent: Secret PBX 1.0
         + Subject: hidden
         + Record-Route: <sip:IP2:5060;lr>
         < 180
         ? X-Ring: soft
         ! msg Secret Gateway
         ! msg IP3
         < 200
         ! msg Secret Gateway
         ! msg IP3
         > ACK
         pause 100
         > BYE
         < 200",
    );
    let callee = stage.net.fill(
        "< INVITE
         ? X-Sign-ID: ^ *42
         ? P-Asserted-Identity: 4930100@pbx.example
         ? Privacy: none
         ? Diversion: 4930200
         ! msg Secret
         ! msg hidden
         ! msg IP2
         ! msg Record-Route
         > 180
         + X-Ring: soft
         + Server: Secret Gateway
         > 200 sdp
         + Server: Secret Gateway
         < ACK
         ! msg IP2
         < BYE
         ! msg IP2
         > 200",
    );
    let cdrs = stage.call(&caller, &callee);
    assert_eq!(cdrs[0]["tags"]["X-Sign-ID"], "42");
}

#[test]
fn forks_beyond_the_callee_are_one_dialog_for_the_caller() {
    let Some(stage) = Stage::new() else { return };
    let callee = "
        < INVITE sdp
        > 183 sdp tag=one
        > 180 tag=two
        > 200 sdp tag=two
        < ACK
        ? To: two$
        < BYE
        ? To: two$
        > 200
    ";
    let caller = stage.callee(callee);
    let mut party = stage.caller(&CALLER.replace("< 180 nosdp", "< 183 sdp\n < 180 ?"));
    party.wait_passed();
    caller.passes();
    let messages = party.messages();
    let tags: std::collections::BTreeSet<&str> = messages
        .lines()
        .filter_map(|line| line.strip_prefix("To: ")?.split_once(";tag=").map(|(_, tag)| tag.trim()))
        .collect();
    assert_eq!(tags.len(), 1, "one tag in all that the caller sees: {tags:?}");
    stage.engine.wait_idle();
}

#[test]
fn a_second_answer_of_another_fork_is_acknowledged_and_ended() {
    let Some(stage) = Stage::new() else { return };
    let far = Phone::at((stage.net.ip(3), 5060));
    let sip = stage.engine.sip(0);
    let caller = stage.caller(&CALLER.replace("pause 100", "pause 500"));
    let invite = far.receive_request("INVITE");
    far.send(sip, far.answer_with(&invite, 180, "one", ""));
    far.send(sip, far.answer_with(&invite, 200, "one", ""));
    far.send(sip, far.answer_with(&invite, 200, "two", ""));
    let (mut acked, mut ended) = (Vec::new(), Vec::new());
    while ended.len() < 2 {
        let message = far.receive();
        let tag =
            field(&message, "To").split_once(";tag=").map(|(_, tag)| tag.to_owned()).unwrap_or_default();
        match message.split(' ').next() {
            Some("ACK") => acked.push(tag),
            Some("BYE") => {
                far.send(sip, far.answer(&message, 200));
                ended.push(tag);
            }
            _ => {}
        }
    }
    acked.sort();
    assert_eq!(acked, ["one", "two"], "both are acknowledged");
    assert_eq!(ended, ["two", "one"], "the second fork is ended at once, the first with the call");
    caller.passes();
    stage.engine.wait_idle();
    assert_eq!(far.receive_within(Duration::from_millis(50)), None);
}

#[test]
fn a_callee_that_never_answers_is_a_408() {
    let Some(stage) = Stage::new() else { return };
    let silent = Phone::at((stage.net.ip(3), 5060));
    let caller = stage.caller(&refused(408));
    assert!(silent.receive_within(SOON).is_some());
    caller.passes();
    stage.engine.wait_idle();
}
