//! What happens within a call: hold, codec changes, glare, keep-alives, and what is passed or refused.

use crate::sipp_basic::{CALLEE, CALLER};
use crate::support::{Ear, Phone, Sipp, Stage};
use std::time::Duration;

/// The caller's ladder with these steps while it talks; the callee's likewise.
fn with(caller: &str, callee: &str) -> (String, String) {
    (CALLER.replace("pause 100", caller), CALLEE.replace("< ACK", &format!("< ACK\n {callee}")))
}

/// A hold of one form, and the resumption: each side hears what it should.
fn hold(offered: &str, passed_on: &str, answered: &str, a_is_heard: bool) {
    let Some(stage) = Stage::new() else { return };
    let (a, b) = (Ear::at(stage.net.ip(2)), Ear::at(stage.net.ip(3)));
    let (caller, callee) = with(
        &format!(
            "> INVITE sdp={offered}\n < 200 sdp\n > ACK\n pause 1200\n > INVITE sdp\n < 200 sdp\n ! body inactive\n ! body only\n > ACK\n pause 600"
        ),
        &format!(
            "< INVITE sdp\n ? body {passed_on}\n > 200 sdp={answered}\n < ACK\n < INVITE sdp\n ! body inactive\n ! body only\n > 200 sdp\n < ACK"
        ),
    );
    let callee = stage.uas(&callee).ear(&b).start();
    let caller = stage.uac(&caller).ear(&a).start();
    let (port_a, port_b) = (caller.media_of("200"), callee.media_of("INVITE"));
    crate::support::wait_for("the hold", Duration::from_secs(5), || {
        (caller.messages().matches("CSeq: 2 ACK").count() > 0).then_some(())
    });
    if a_is_heard {
        a.is_heard_by(&b, port_a, 1);
    } else {
        a.is_not_heard_by(&b, port_a, 2);
    }
    b.is_not_heard_by(&a, port_b, 3);
    crate::support::wait_for("the resumption", Duration::from_secs(5), || {
        (caller.messages().matches("CSeq: 3 ACK").count() > 0).then_some(())
    });
    a.is_heard_by(&b, port_a, 4);
    b.is_heard_by(&a, port_b, 5);
    assert_eq!((caller.media_of("200"), callee.media_of("INVITE")), (port_a, port_b), "our ports never move");
    Sipp::all_pass([caller, callee]);
    stage.engine.wait_idle();
}

#[test]
fn hold_with_sendonly_lets_music_through() {
    hold("sendonly", "a=sendonly", "recvonly", true);
}

#[test]
fn hold_with_inactive_is_silence() {
    hold("inactive", "a=inactive", "inactive", false);
}

#[test]
fn hold_with_the_null_address_is_silence_towards_the_holder() {
    hold("zero", "(a=sendonly|c=IN IP4 0.0.0.0)", "recvonly", true);
}

#[test]
fn the_callee_holds_and_resumes() {
    let Some(stage) = Stage::new() else { return };
    let (caller, callee) = with(
        "< INVITE sdp\n ? body a=sendonly\n > 200 sdp=recvonly\n < ACK\n < INVITE sdp\n > 200 sdp\n < ACK\n pause 100",
        // The caller's ACK may still be on its way to the engine: an INVITE before it would be glare.
        "pause 100\n > INVITE sdp=sendonly\n < 200 sdp\n ? body a=recvonly\n > ACK\n > INVITE sdp\n < 200 sdp\n > ACK",
    );
    stage.call(&caller, &callee);
}

#[test]
fn an_update_changes_the_codec() {
    let Some(stage) = Stage::new() else { return };
    let (caller, callee) = with(
        "> UPDATE sdp=PCMA\n < 200 sdp\n ? body RTP/AVP 8\n pause 100",
        "< UPDATE sdp\n ? body RTP/AVP 8\n > 200 sdp=PCMA",
    );
    stage.call(
        &caller,
        &callee
            .replace("> 200 sdp\n    < ACK", "> 200 sdp\n + Allow: INVITE, ACK, CANCEL, BYE, UPDATE\n < ACK"),
    );
}

#[test]
fn a_codec_that_the_far_end_refuses_leaves_the_call_as_it_is() {
    let Some(stage) = Stage::new() else { return };
    let (caller, callee) =
        with("> INVITE sdp=PCMA\n < 488\n > ACK\n pause 100", "< INVITE sdp\n > 488\n < ACK");
    let cdrs = stage.call(&caller, &callee);
    assert_eq!(cdrs[0]["release_cause"], "normal");
}

#[test]
fn an_invite_without_sdp_asks_the_far_end_for_its_offer() {
    let Some(stage) = Stage::new() else { return };
    let (caller, callee) = with(
        "> INVITE\n < 200 sdp\n ? body RTP/AVP 0 8\n > ACK sdp=PCMA\n pause 100",
        "< INVITE nosdp\n > 200 sdp=both\n < ACK sdp\n ? body RTP/AVP 8",
    );
    stage.call(&caller, &callee);
}

#[test]
fn an_offer_that_is_taken_back_leaves_the_call_as_it_is() {
    let Some(stage) = Stage::new() else { return };
    let (caller, callee) = with(
        "> INVITE sdp=PCMA\n < 100\n > CANCEL\n < 200\n < 487\n > ACK\n pause 100",
        "< INVITE sdp\n > 180\n < CANCEL\n > 200\n > 487 INVITE\n < ACK",
    );
    let cdrs = stage.call(&caller, &callee);
    assert_eq!(cdrs[0]["release_cause"], "normal");
}

#[test]
fn an_offer_that_meets_an_offer_gets_491() {
    let Some(stage) = Stage::new() else { return };
    // The callee's own INVITE is out before it answers the one of the caller: the engine has one pending (RFC 3261
    // section 14.2), so the callee's is refused, and the caller's goes on.
    let (caller, callee) = with(
        "> INVITE sdp=both\n < 200 sdp\n > ACK\n pause 100",
        "< INVITE sdp\n > INVITE sdp=both\n < 491\n > ACK\n > 200 INVITE sdp\n < ACK",
    );
    stage.call(&caller, &callee);
}

#[test]
fn options_within_a_dialog_is_answered_by_the_engine() {
    let Some(stage) = Stage::new() else { return };
    let (caller, callee) =
        with("> OPTIONS\n < 200\n ? Allow: INVITE\n pause 100", "> OPTIONS\n < 200\n ? Allow: INVITE");
    stage.call(&caller, &callee);
}

#[test]
fn refer_is_refused_and_no_invite_leaves() {
    let Some(stage) = Stage::new() else { return };
    let premium = Phone::at((stage.net.ip(4), 5060));
    let (caller, callee) = with("> REFER\n + Refer-To: <sip:+19005551234@IP4:5060>\n < 603\n pause 100", "");
    stage.call(&caller, &callee);
    assert_eq!(premium.receive_within(Duration::from_millis(50)), None, "nobody is called");
    assert_eq!(stage.engine.metric("strowger_calls_refused_total{reason=\"refer_declined\"}"), 1.0);
}

#[test]
fn a_redirection_is_not_followed() {
    let Some(stage) = Stage::new() else { return };
    let premium = Phone::at((stage.net.ip(4), 5060));
    let callee = "< INVITE\n > 302\n + Contact: <sip:+19005551234@IP4:5060>\n < ACK";
    let callee = stage.net.fill(callee);
    let cdrs = stage.call("> INVITE sdp\n < 480\n ! msg 1900\n > ACK", &callee);
    assert_eq!((&cdrs[0]["final_status"], &cdrs[1]["final_status"]), (&480.into(), &302.into()));
    assert_eq!(premium.receive_within(Duration::from_millis(50)), None, "nobody is called");
}

#[test]
fn info_and_its_answer_pass_with_their_bodies() {
    let Some(stage) = Stage::new() else { return };
    let (caller, callee) = with(
        "> INFO\n + Content-Type: application/dtmf-relay\n | Signal=5\n | Duration=160\n < 200\n ? body done=1\n
         < INFO\n ? body Signal=7\n > 415\n pause 100",
        "< INFO\n ? Content-Type: application/dtmf-relay\n ? body Signal=5\n ? body Duration=160\n
         > 200\n + Content-Type: text/plain\n | done=1\n
         > INFO\n + Content-Type: application/dtmf-relay\n | Signal=7\n < 415",
    );
    stage.call(&caller, &callee);
}

#[test]
fn a_message_within_a_call_passes() {
    let Some(stage) = Stage::new() else { return };
    let (caller, callee) = with(
        "> MESSAGE\n + Content-Type: text/plain\n | Guten Tag\n < 202\n pause 100",
        "< MESSAGE\n ? Content-Type: text/plain\n ? body Guten Tag\n ! msg IP2\n > 202",
    );
    stage.call(&caller, &callee);
}

#[test]
fn an_offer_that_changes_nothing_is_answered_without_asking_the_far_end() {
    let Some(stage) = Stage::new() else { return };
    let (caller, callee) = with("> INVITE sdp\n < 200 sdp\n > ACK\n pause 100", "");
    stage.call(&caller, &callee);
}

#[test]
fn a_request_for_a_dialog_that_is_gone_gets_481() {
    let Some(stage) = Stage::new() else { return };
    for method in ["BYE", "INFO", "UPDATE", "PRACK", "INVITE"] {
        let uri = format!("sip:2002@{}", stage.engine.sip(0));
        let phone = Phone::at((stage.net.ip(2), 5060));
        let request = phone.request(method, &uri, "gone", 7, "", "");
        let request = request.replacen(&format!("To: <{uri}>"), &format!("To: <{uri}>;tag=gone"), 1);
        phone.send(stage.engine.sip(0), &request);
        let answer = phone.receive_that_is_final();
        assert_eq!(crate::support::status(&answer), 481, "{method}: {answer}");
        if method == "INVITE" {
            phone.send(stage.engine.sip(0), Phone::ack(&request, &answer));
        }
    }
    stage.engine.wait_idle();
}
