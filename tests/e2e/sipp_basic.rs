//! Calls that come about, and how they end.

use crate::support::{Ear, Sipp, Stage};

const CALLER: &str = "
    > INVITE sdp
    < 180 nosdp
    < 200 sdp
    > ACK
    pause 100
    > BYE
    < 200
";
const CALLEE: &str = "
    < INVITE sdp
    > 180
    > 200 sdp
    < ACK
    < BYE
    > 200
";

#[test]
fn a_call_goes_through_and_leaves_nothing_behind() {
    let Some(stage) = Stage::new() else { return };
    let cdrs = stage.call(CALLER, CALLEE);
    for (cdr, leg, direction, trunk) in [(&cdrs[0], 0, "in", "pbx"), (&cdrs[1], 1, "out", "carrier")] {
        assert_eq!(
            (&cdr["leg"], &cdr["direction"], &cdr["trunk"]),
            (&leg.into(), &direction.into(), &trunk.into())
        );
        assert_eq!(cdr["final_status"], 200);
        assert_eq!(cdr["release_by"], "caller");
    }
    assert_ne!(cdrs[0]["sip_call_id"], cdrs[1]["sip_call_id"], "each leg is a dialog of its own");
}

#[test]
fn both_sides_hear_each_other() {
    let Some(stage) = Stage::new() else { return };
    let (a, b) = (Ear::at(stage.net.ip(2)), Ear::at(stage.net.ip(3)));
    let callee = stage.uas(CALLEE).ear(&b).start();
    let caller = stage.uac(&CALLER.replace("pause 100", "pause 2000")).ear(&a).start();
    a.is_heard_by(&b, caller.media_of("200"), 1);
    b.is_heard_by(&a, callee.media_of("INVITE"), 2);
    Sipp::all_pass([caller, callee]);
    stage.engine.wait_idle();
}
