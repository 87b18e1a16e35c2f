//! Calls that come about: ringing, early media, late offers, and audio both ways on both back ends.

use crate::support::{Ear, PAIR, Sipp, Stage};

pub const CALLER: &str = "
    > INVITE sdp
    < 180 nosdp
    < 200 sdp
    > ACK
    pause 100
    > BYE
    < 200
";
pub const CALLEE: &str = "
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
        assert_eq!((&cdr["leg"], &cdr["direction"]), (&leg.into(), &direction.into()));
        assert_eq!(cdr["trunk"], trunk);
        assert_eq!((&cdr["from_user"], &cdr["to_user"]), (&"2001".into(), &"2002".into()));
        assert_eq!((&cdr["final_status"], &cdr["progress_status"]), (&200.into(), &180.into()));
        assert_eq!((&cdr["release_by"], &cdr["release_cause"]), (&"caller".into(), &"normal".into()));
        assert!(cdr["duration_ms"].as_u64().is_some_and(|ms| (90..5_000).contains(&ms)), "{cdr}");
    }
    assert_ne!(cdrs[0]["sip_call_id"], cdrs[1]["sip_call_id"], "each leg is a dialog of its own");
}

#[test]
fn the_carrier_calls_the_pbx() {
    let Some(stage) = Stage::new() else { return };
    let pbx = stage.party(crate::support::Role::Uas, 2, CALLEE).start();
    let carrier = stage.party(crate::support::Role::Uac, 3, CALLER).start();
    Sipp::all_pass([carrier, pbx]);
    stage.engine.wait_idle();
    let cdrs = stage.engine.wait_cdrs(2);
    assert_eq!((&cdrs[0]["trunk"], &cdrs[1]["trunk"]), (&"carrier".into(), &"pbx".into()));
}

fn both_hear(back_end: &str) {
    let config = format!("engine.backend = \"{back_end}\"\n{PAIR}");
    let Some(stage) = Stage::with(&config) else { return };
    assert_eq!(stage.engine.ready()["backend"], back_end);
    let (a, b) = (Ear::at(stage.net.ip(2)), Ear::at(stage.net.ip(3)));
    let callee = stage.uas(CALLEE).ear(&b).start();
    let caller = stage.uac(&CALLER.replace("pause 100", "pause 1000")).ear(&a).start();
    a.is_heard_by(&b, caller.media_of("200"), 1);
    b.is_heard_by(&a, callee.media_of("INVITE"), 2);
    Sipp::all_pass([caller, callee]);
    stage.engine.wait_idle();
    for cdr in stage.engine.wait_cdrs(2) {
        assert!(cdr["quality"]["received"].as_u64().is_some_and(|n| n >= 10), "{cdr}");
        assert_eq!((&cdr["quality"]["lost"], &cdr["quality"]["one_way"]), (&0.into(), &false.into()));
    }
}

#[test]
fn both_sides_hear_each_other_on_epoll() {
    both_hear("epoll");
}

#[test]
fn both_sides_hear_each_other_on_uring() {
    both_hear("uring");
}

/// SIPp's own RTP: it plays a file to an echo, and everything that was sent comes back.
#[test]
fn rtp_of_sipp_itself_is_echoed_through_the_engine() {
    let Some(stage) = Stage::new() else { return };
    let callee = stage.uas(CALLEE).with(&["-rtp_echo", "-mp", "6000"]).start();
    let caller = CALLER.replace("pause 100", "play speech.wav\n pause 1000");
    let caller = stage.uac(&caller).file("speech.wav", &tone()).start();
    Sipp::all_pass([caller, callee]);
    stage.engine.wait_idle();
    let cdrs = stage.engine.wait_cdrs(2);
    let figures = |n: usize| (cdrs[n]["quality"]["received"].as_u64(), cdrs[n]["quality"]["sent"].as_u64());
    let ((a_received, a_sent), (b_received, b_sent)) = (figures(0), figures(1));
    assert!(a_received.is_some_and(|n| n > 20), "a second of audio is 50 packets: {cdrs:#?}");
    assert_eq!((a_received, b_received), (b_sent, a_sent), "what comes in on one side goes out on the other");
    assert!(b_received.is_some_and(|n| n > 20), "the echo comes back");
}

/// A second of G.711 µ-law as a WAV file.
fn tone() -> Vec<u8> {
    const LEN: u32 = 8_000;
    let mut wav = b"RIFF".to_vec();
    wav.extend((LEN + 36).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16u32.to_le_bytes());
    // µ-law, one channel, 8,000 octets a second, one octet a sample.
    for word in [7u16, 1, 8_000, 0, 8_000, 0, 1, 8] {
        wav.extend(word.to_le_bytes());
    }
    wav.extend(b"data");
    wav.extend(LEN.to_le_bytes());
    wav.extend((0..LEN).map(|n| if n / 10 % 2 == 0 { 0x90 } else { 0x10 }));
    wav
}

#[test]
fn ringing_without_sdp_opens_no_way_for_early_packets_of_the_callee() {
    let Some(stage) = Stage::new() else { return };
    let (a, b) = (Ear::at(stage.net.ip(2)), Ear::at(stage.net.ip(3)));
    let callee = CALLEE.replace("> 180", "> 180\n pause 1500");
    let callee = stage.uas(&callee).ear(&b).start();
    let caller = stage.uac(&CALLER.replace("pause 100", "pause 1000")).ear(&a).start();
    let port_b = callee.media_of("INVITE");
    stage.engine.wait_call("ringing");
    b.is_not_heard_by(&a, port_b, 3);
    stage.engine.wait_call("answered");
    b.is_heard_by(&a, port_b, 4);
    a.is_heard_by(&b, caller.media_of("200"), 5);
    assert_eq!(a.heard(3), 0, "nothing was kept for later");
    Sipp::all_pass([caller, callee]);
    stage.engine.wait_idle();
}

#[test]
fn progress_with_sdp_opens_early_media() {
    let Some(stage) = Stage::new() else { return };
    let (a, b) = (Ear::at(stage.net.ip(2)), Ear::at(stage.net.ip(3)));
    let callee = CALLEE.replace("> 180", "> 183 sdp\n pause 1500");
    let callee = stage.uas(&callee).ear(&b).start();
    let caller = stage.uac(&CALLER.replace("< 180 nosdp", "< 183 sdp")).ear(&a).start();
    let port_a = caller.media_of("183");
    b.is_heard_by(&a, callee.media_of("INVITE"), 6);
    stage.engine.wait_call("ringing");
    assert_eq!(caller.media_of("200"), port_a, "the answer repeats the SDP of the 183");
    Sipp::all_pass([caller, callee]);
    stage.engine.wait_idle();
}

#[test]
fn a_late_offer_is_made_by_the_callee_and_answered_in_the_ack() {
    let Some(stage) = Stage::new() else { return };
    let (a, b) = (Ear::at(stage.net.ip(2)), Ear::at(stage.net.ip(3)));
    let callee = "
        < INVITE nosdp
        > 180
        > 200 sdp=both
        < ACK sdp
        ? body m=audio [0-9]+ RTP/AVP 8
        < BYE
        > 200
    ";
    let caller = "
        > INVITE
        < 180 nosdp
        < 200 sdp
        ? body m=audio [0-9]+ RTP/AVP 0 8
        > ACK sdp=PCMA
        pause 1000
        > BYE
        < 200
    ";
    let callee = stage.uas(callee).ear(&b).start();
    let caller = stage.uac(caller).ear(&a).start();
    a.is_heard_by(&b, caller.media_of("200"), 7);
    b.is_heard_by(&a, callee.media_of("ACK"), 8);
    Sipp::all_pass([caller, callee]);
    stage.engine.wait_idle();
}

#[test]
fn a_late_offer_that_the_ack_leaves_unanswered_ends_both_legs() {
    let Some(stage) = Stage::new() else { return };
    let caller = "
        > INVITE
        < 180
        < 200 sdp
        > ACK
        < BYE
        > 200
    ";
    let cdrs = stage.call(caller, &CALLEE.replace("< INVITE sdp", "< INVITE nosdp"));
    assert_eq!(cdrs[0]["release_by"], "engine");
}

#[test]
fn fifty_calls_on_two_signalling_shards() {
    let Some(stage) = Stage::with(&format!("engine.signalling_shards = 2\n{PAIR}")) else { return };
    let callee = stage.uas(CALLEE).calls(50, 50).start();
    let caller = stage.uac(&CALLER.replace("pause 100", "pause 500")).calls(50, 50).start();
    Sipp::all_pass([caller, callee]);
    stage.engine.wait_idle();
    let cdrs = stage.engine.wait_cdrs(100);
    assert!(cdrs.iter().all(|cdr| cdr["final_status"] == 200 && cdr["release_cause"] == "normal"));
    for legs in cdrs.chunks(2) {
        assert_eq!(legs[0]["call_id"], legs[1]["call_id"]);
    }
    let shards: std::collections::BTreeSet<&str> =
        cdrs.iter().filter_map(|cdr| cdr["call_id"].as_str()?.get(12..16)).collect();
    assert_eq!(shards.len(), 2, "an id names its shard, and both have worked");
}
