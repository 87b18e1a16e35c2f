//! Reliable provisional responses (RFC 3262) and session timers (RFC 4028), on either side or on one only.

use crate::sipp_basic::{CALLEE, CALLER};
use crate::support::{Phone, Sipp, Stage, field};

const RELIABLE_CALLER: &str = "
    > INVITE sdp
    + Supported: 100rel
    < 183 rel sdp
    ? Require: 100rel
    > PRACK
    < 200
    < 200
    > ACK
    pause 100
    > BYE
    < 200
";
const RELIABLE_CALLEE: &str = "
    < INVITE sdp
    ? msg 100rel
    > 183 rel sdp
    < PRACK
    ? RAck: 1 [0-9]+ INVITE
    > 200
    > 200 INVITE
    < ACK
    < BYE
    > 200
";

#[test]
fn both_sides_do_100rel() {
    let Some(stage) = Stage::new() else { return };
    stage.call(RELIABLE_CALLER, RELIABLE_CALLEE);
}

#[test]
fn other_media_before_the_answer_is_put_off_and_the_call_goes_on() {
    let Some(stage) = Stage::new() else { return };
    let caller =
        RELIABLE_CALLER.replace("> PRACK\n    < 200\n", "> PRACK\n < 200\n > UPDATE sdp=PCMA\n < 491\n");
    let callee = RELIABLE_CALLEE.replace("> 200\n    > 200 INVITE", "> 200\n pause 300\n > 200 INVITE");
    stage.call(&caller, &callee);
}

#[test]
fn a_caller_that_requires_100rel_gets_it_though_the_callee_does_not() {
    let Some(stage) = Stage::new() else { return };
    let caller = RELIABLE_CALLER.replace("+ Supported", "+ Require");
    let callee = CALLEE.replace("> 180", "! Require: .\n > 183 sdp");
    stage.call(&caller, &callee);
}

#[test]
fn a_callee_that_does_100rel_is_acknowledged_though_the_caller_does_not() {
    let Some(stage) = Stage::new() else { return };
    let caller = CALLER.replace("< 180 nosdp", "< 183 sdp\n ! RSeq: .\n ! Require: .");
    stage.call(&caller, RELIABLE_CALLEE);
}

#[test]
fn a_reliable_response_is_repeated_until_its_prack() {
    let Some(stage) = Stage::new() else { return };
    let callee = stage.callee(&CALLEE.replace("> 180", "> 183 sdp\n pause 2200"));
    // At 0, 500 and 1,500 ms, then the PRACK stops it.
    let caller = RELIABLE_CALLER.replace("> PRACK", "pause 1700\n > PRACK");
    let mut caller = stage.caller(&caller.replace("Supported", "Require"));
    caller.wait_passed();
    callee.passes();
    assert_eq!(caller.messages().matches("SIP/2.0 183").count(), 3, "{}", caller.messages());
    stage.engine.wait_idle();
}

#[test]
fn a_session_that_is_too_short_for_us_gets_422() {
    let Some(stage) = Stage::new() else { return };
    let callee = stage.callee(CALLEE);
    let caller = "
        > INVITE sdp
        + Supported: timer
        + Session-Expires: 60
        < 422
        ? Min-SE: ^ *90
        > ACK
        > INVITE sdp
        + Supported: timer
        + Session-Expires: 90
        + Min-SE: 90
        < 180
        < 200
        ? Session-Expires: ^ *90;refresher=uac
        ? Require: timer
        > ACK
        pause 100
        > BYE
        < 200
    ";
    Sipp::all_pass([stage.caller(caller), callee]);
    stage.engine.wait_idle();
}

#[test]
fn a_callee_that_wants_longer_sessions_is_asked_again() {
    let Some(stage) = Stage::new() else { return };
    let far = Phone::at((stage.net.ip(3), 5060));
    let caller = stage.caller(CALLER);
    let sip = stage.engine.sip(0);
    let first = far.receive_request("INVITE");
    assert!(field(&first, "Supported").contains("timer"), "{first}");
    far.send(sip, far.answer_with(&first, 422, "far", "Min-SE: 3600\r\n"));
    let second = far.receive_request("INVITE");
    assert_eq!((field(&second, "Session-Expires"), field(&second, "Min-SE")), ("3600".into(), "3600".into()));
    far.send(sip, far.answer(&second, 180));
    far.send(
        sip,
        far.answer_with(&second, 200, "far", "Require: timer\r\nSession-Expires: 3600;refresher=uac\r\n"),
    );
    let bye = far.receive_request("BYE");
    far.send(sip, far.answer(&bye, 200));
    caller.passes();
    stage.engine.wait_idle();
}

#[test]
fn a_side_without_session_timers_gets_none_that_it_must_refresh() {
    let Some(stage) = Stage::new() else { return };
    // The caller says nothing of timers, so that only we may be the refresher (RFC 4028 section 9, table 2).
    let caller =
        CALLER.replace("< 200 sdp", "< 200 sdp\n ! Require: timer\n ! Session-Expires: refresher=uac");
    stage.call(&caller, CALLEE);
}
