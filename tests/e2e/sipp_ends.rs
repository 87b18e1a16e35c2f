//! How calls end: CANCEL in its races, BYE from either side, lost and late messages.

use crate::sipp_basic::{CALLEE, CALLER};
use crate::support::{Phone, SOON, Sipp, Stage, field, status};
use std::time::Duration;

#[test]
fn the_callee_hangs_up() {
    let Some(stage) = Stage::new() else { return };
    let caller = CALLER.replace("pause 100\n    > BYE\n    < 200", "< BYE\n > 200");
    let callee = CALLEE.replace("< BYE\n    > 200", "> BYE\n < 200");
    let cdrs = stage.call(&caller, &callee);
    assert_eq!((&cdrs[0]["release_by"], &cdrs[1]["release_by"]), (&"callee".into(), &"callee".into()));
}

#[test]
fn bye_meets_bye() {
    let Some(stage) = Stage::new() else { return };
    // The callee's own BYE is out before it answers ours.
    let callee = CALLEE.replace("< BYE\n    > 200", "< BYE\n > BYE\n < 200\n > 200 BYE");
    stage.call(CALLER, &callee);
}

#[test]
fn a_cancel_before_any_answer_reaches_the_callee_after_its_first() {
    let Some(stage) = Stage::new() else { return };
    let phone = Phone::at((stage.net.ip(2), 5060));
    let far = Phone::at((stage.net.ip(3), 5060));
    let sip = stage.engine.sip(0);
    let invite = phone.invite(sip, "2002", "early");
    phone.send(sip, &invite);
    let b_invite = far.receive_request("INVITE");
    let reason = "Reason: SIP;cause=487;text=\"gave up\"\r\nContent-Length";
    phone.send(sip, Phone::cancel(&invite).replacen("Content-Length", reason, 1));
    let refusal = phone.receive_status(487);
    phone.send(sip, Phone::ack(&invite, &refusal));
    // RFC 3261 section 9.1: not before a provisional response.
    let before = far.receive_within(Duration::from_millis(200)).map_or(String::new(), |(message, _)| message);
    assert!(!before.starts_with("CANCEL"), "{before}");
    far.send(sip, far.answer(&b_invite, 180));
    let cancel = far.receive_request("CANCEL");
    assert!(field(&cancel, "Reason").contains("gave up"), "{cancel}");
    assert_eq!(field(&cancel, "Via"), field(&b_invite, "Via"), "it is of the INVITE's transaction");
    far.send(sip, far.answer(&cancel, 200));
    far.send(sip, far.answer(&b_invite, 487));
    assert!(far.receive_request("ACK").contains("CSeq: 1 ACK"));
    stage.engine.wait_idle();
    let cdrs = stage.engine.wait_cdrs(2);
    assert_eq!((&cdrs[0]["final_status"], &cdrs[0]["release_cause"]), (&487.into(), &"cancel".into()));
    assert_eq!(cdrs[1]["release_by"], "caller");
    assert!(cdrs[0]["answered"].is_null() && cdrs[0]["duration_ms"] == 0);
}

const CANCELLER: &str = "
    > INVITE sdp
    < 180
    > CANCEL
    < 200
    < 487
    > ACK
";

#[test]
fn a_cancel_while_it_rings() {
    let Some(stage) = Stage::new() else { return };
    let callee = "
        < INVITE
        > 180
        < CANCEL
        > 200
        > 487 INVITE
        < ACK
    ";
    let cdrs = stage.call(CANCELLER, callee);
    assert_eq!((&cdrs[0]["final_status"], &cdrs[1]["release_by"]), (&487.into(), &"caller".into()));
}

#[test]
fn a_cancel_that_meets_the_answer_ends_the_answered_leg() {
    let Some(stage) = Stage::new() else { return };
    let callee = "
        < INVITE
        > 180
        < CANCEL
        > 200 INVITE sdp
        < ACK
        < BYE
        > 200 BYE
        > 200 CANCEL
    ";
    let cdrs = stage.call(CANCELLER, callee);
    assert_eq!(cdrs[0]["final_status"], 487);
    assert!(cdrs[0]["answered"].is_null());
}

#[test]
fn a_cancel_after_the_answer_changes_nothing() {
    let Some(stage) = Stage::new() else { return };
    let caller = CALLER.replace("> ACK", "> CANCEL\n < 200\n > ACK");
    let cdrs = stage.call(&caller, CALLEE);
    assert_eq!(cdrs[0]["release_cause"], "normal");
}

#[test]
fn the_answer_is_repeated_until_it_is_acknowledged() {
    let Some(stage) = Stage::new() else { return };
    let callee = stage.callee(CALLEE);
    // 200 at 0, 500 and 1,500 ms.
    let mut caller = stage.caller(&CALLER.replace("> ACK", "pause 1700\n > ACK"));
    caller.wait_passed();
    callee.passes();
    let sent = caller.messages().matches("CSeq: 1 INVITE").count()
        - caller.messages().matches("INVITE sip:").count();
    assert_eq!(sent, 5, "100, 180 and three times 200:\n{}", caller.messages());
    stage.engine.wait_idle();
}

#[test]
fn an_answer_that_is_never_acknowledged_ends_the_call() {
    let Some(stage) = Stage::new() else { return };
    let caller = "
        > INVITE sdp
        < 180
        < 200
        < BYE
        > 200
    ";
    let cdrs = stage.call(caller, CALLEE);
    assert_eq!((&cdrs[0]["release_by"], &cdrs[0]["release_cause"]), (&"engine".into(), &"no_ack".into()));
    assert!(
        cdrs[0]["duration_ms"].as_u64().is_some_and(|ms| (31_000..34_000).contains(&ms)),
        "64 T1 is 32 s"
    );
}

#[test]
fn a_repeated_invite_gets_the_last_response_again_and_no_second_call() {
    let Some(stage) = Stage::new() else { return };
    let callee = stage.callee(
        "
        < INVITE
        > 180
        < CANCEL
        > 200
        > 487 INVITE
        < ACK
    ",
    );
    let phone = Phone::at((stage.net.ip(2), 5060));
    let sip = stage.engine.sip(0);
    let invite = phone.invite(sip, "2002", "again");
    phone.send(sip, &invite);
    assert_eq!(status(&phone.receive()), 100);
    let ringing = phone.receive();
    assert_eq!(status(&ringing), 180);
    for _ in 0..3 {
        phone.send(sip, &invite);
        assert_eq!(phone.receive(), ringing, "the very same response");
    }
    assert_eq!(stage.engine.calls().len(), 1);
    phone.send(sip, Phone::cancel(&invite));
    let (mut answers, end) = (vec![phone.receive(), phone.receive()], SOON);
    answers.sort();
    assert_eq!((status(&answers[0]), status(&answers[1])), (200, 487));
    // Unacknowledged, the refusal comes again; acknowledged, it does not.
    let (repeated, _) = phone.receive_within(end).expect("487 again");
    assert_eq!(repeated, answers[1]);
    phone.send(sip, Phone::ack(&invite, &repeated));
    assert_eq!(phone.receive_within(Duration::from_millis(1_200)), None);
    callee.passes();
    stage.engine.wait_idle();
}

#[test]
fn a_bye_whose_answer_was_lost_is_answered_again() {
    let Some(stage) = Stage::new() else { return };
    let phone = Phone::at((stage.net.ip(2), 5060));
    let far = Phone::at((stage.net.ip(3), 5060));
    let sip = stage.engine.sip(0);
    let invite = phone.invite(sip, "2002", "lost");
    phone.send(sip, &invite);
    let b_invite = far.receive();
    far.send(sip, far.answer(&b_invite, 200));
    let answer = phone.receive_status(200);
    phone.send(sip, Phone::ack(&invite, &answer));
    assert!(far.receive_request("ACK").starts_with("ACK "));
    let bye = phone.in_dialog("BYE", &invite, &answer, 2);
    phone.send(sip, &bye);
    let first = phone.receive_status(200);
    phone.send(sip, &bye);
    assert_eq!(phone.receive(), first, "the same answer again");
    // The far end does not answer the BYE at first: it comes again, and is the same.
    let b_bye = far.receive_request("BYE");
    assert_eq!(far.receive_request("BYE"), b_bye);
    far.send(sip, far.answer(&b_bye, 200));
    assert_eq!(far.receive_within(Duration::from_millis(1_200)), None, "no BYE after the answer");
    // The dialog is gone: another request of it gets 481.
    phone.send(sip, phone.in_dialog("INFO", &invite, &answer, 3));
    assert_eq!(status(&phone.receive()), 481);
    stage.engine.wait_idle();
    assert_eq!(stage.engine.wait_cdrs(2)[0]["release_by"], "caller");
}

#[test]
fn an_answer_that_comes_again_is_acknowledged_again() {
    let Some(stage) = Stage::new() else { return };
    let far = Phone::at((stage.net.ip(3), 5060));
    let sip = stage.engine.sip(0);
    let mut caller = stage.caller(&CALLER.replace("pause 100", "pause 500"));
    let invite = far.receive_request("INVITE");
    far.send(sip, far.answer(&invite, 180));
    let answer = far.answer(&invite, 200);
    far.send(sip, &answer);
    let ack = far.receive_request("ACK");
    far.send(sip, &answer);
    assert_eq!(far.receive(), ack, "the same ACK, and nothing else");
    // What comes late or out of order changes nothing, and the caller is not bothered with it.
    far.send(sip, far.answer(&invite, 183));
    far.send(sip, far.answer(&invite, 486));
    let bye = far.receive_request("BYE");
    far.send(sip, far.answer(&bye, 200));
    caller.wait_passed();
    assert!(
        !caller.messages().contains("SIP/2.0 183") && !caller.messages().contains("SIP/2.0 486"),
        "{}",
        caller.messages()
    );
    stage.engine.wait_idle();
}

#[test]
fn a_call_that_an_operator_ends() {
    let Some(stage) = Stage::new() else { return };
    let callee = stage.callee(CALLEE);
    let caller = stage.caller(&CALLER.replace("pause 100\n    > BYE\n    < 200", "< BYE\n > 200"));
    let id = stage.engine.wait_call("answered");
    let response = stage.engine.request("DELETE", &format!("/v1/calls/{id}"), "", "");
    assert!((200..300).contains(&response.status), "{response:?}");
    Sipp::all_pass([caller, callee]);
    stage.engine.wait_idle();
    assert_eq!(stage.engine.wait_cdrs(2)[0]["release_by"], "operator");
}
