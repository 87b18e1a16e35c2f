//! What needs an exact race or hours of virtual time: one caller, three callees, fine weather.

use super::check::{self, Trouble};
use super::phone::Phone;
use super::phone::dialog::{Dialog, End, State};
use super::plan::{Acks, Act, Answer, Plan, answer, ms, seconds};
use super::storm::address;
use super::world::{SBC, World, route, trunk};
use b2bua::Spec;
use b2bua::spec::Order;
use base::{Duration, Instant, Rng};
use ledger::{Ask, Bounds, Cdr, ReleasedBy};
use std::sync::{Arc, Mutex};

pub const CALLER: usize = 0;
/// 203.0.113.1, called by numbers that begin with 1.
pub const ONE: usize = 1;
/// 203.0.113.2.
pub const TWO: usize = 2;
/// 203.0.113.3.
const THREE: usize = 3;

// ---- session timers

#[test]
fn a_session_is_refreshed_at_half_time_by_update() {
    let mut world = world(|spec| spec.trunks[1].session_timer = Some(seconds(90)), long());
    let call = world.call(&Plan { bye_after: Some(seconds(400)), ..Plan::default() });
    world.run_for(seconds(390));
    let callee = &world.phones[ONE].dialogs[0];
    let up = world.answered_at(call);
    let updates: Vec<u64> =
        callee.heard.iter().filter(|(_, w)| w == "UPDATE").map(|(at, _)| after(up, *at)).collect();
    assert_eq!(updates, [45, 90, 135, 180, 225, 270, 315, 360], "{:?}", callee.words());
    world.ends();
}

#[test]
fn a_session_is_refreshed_by_reinvite_where_update_is_not_known() {
    let plan = Plan { updates: false, ..long() };
    let mut world = world(|spec| spec.trunks[1].session_timer = Some(seconds(90)), plan);
    let call = world.call(&Plan { bye_after: Some(seconds(200)), ..Plan::default() });
    world.run_for(seconds(190));
    let callee = &world.phones[ONE].dialogs[0];
    let up = world.answered_at(call);
    let refreshed = callee.heard.iter().filter(|(at, w)| w == "INVITE" && *at > up);
    let times: Vec<u64> = refreshed.map(|(at, _)| after(up, *at)).collect();
    assert_eq!(times, [45, 90, 135, 180], "{:?}", callee.words());
    assert!(!world.phones[CALLER].dialogs[call].words().contains(&"INVITE"), "the other side is not asked");
    world.ends();
}

#[test]
fn a_caller_that_does_not_refresh_is_given_up_with_bye_to_both() {
    let mut world = world(|_| {}, Plan { bye_after: None, ..Plan::default() });
    let caller = Plan {
        session: Some(90),
        refresher: "uac",
        vanish_after: Some(seconds(5)),
        bye_after: None,
        ..Plan::default()
    };
    let call = world.call(&caller);
    world.run_for(seconds(200));
    let callee = &world.phones[ONE].dialogs[0];
    assert_eq!(callee.end, Some(End::ByeHeard));
    // A third of the interval before its end (RFC 4028 section 10).
    assert_eq!(after(world.answered_at(call), callee.heard_at("BYE").unwrap()), 60);
    world.ends();
    assert_cause(&world, "session_expired", ReleasedBy::Engine);
}

#[test]
fn short_intervals_are_refused_and_longer_ones_obeyed() {
    let mut world = world(
        |spec| spec.trunks[1].session_timer = Some(seconds(90)),
        Plan { min_se: 600, ..Plan::default() },
    );
    let call = world.call(&Plan { session: Some(60), ..Plan::default() });
    world.run_for(seconds(2));
    let dialog = &world.phones[CALLER].dialogs[call];
    assert_eq!(dialog.end, Some(End::Refused(422)));
    assert!(dialog.answer_text.contains("\r\nMin-SE: 90\r\n"), "{}", dialog.answer_text);

    world.call(&Plan::default());
    world.run_for(seconds(60));
    world.ends();
    let legs: Vec<(u16, Option<u16>)> = world.legs().iter().map(|r| (r.leg, r.final_status)).collect();
    assert_eq!(legs, [(0, Some(422)), (0, Some(200)), (1, Some(422)), (2, Some(200))]);
    assert!(
        world.said(ONE, "INVITE").contains("\r\nSession-Expires: 600\r\n"),
        "the second INVITE takes their interval"
    );
}

#[test]
fn a_call_ends_after_its_longest_duration() {
    let mut world = world(|spec| spec.routes[0].max_duration = Some(seconds(600)), long());
    let call = world.call(&long());
    world.run_for(seconds(700));
    assert_eq!(after(world.answered_at(call), world.bye_at(CALLER)), 600);
    assert_eq!(after(world.answered_at(call), world.bye_at(ONE)), 600);
    world.ends();
    assert_cause(&world, "max_duration", ReleasedBy::Engine);
}

// ---- silence

#[test]
fn a_call_without_media_from_any_side_ends_after_a_minute() {
    let mute = || Plan { rtp_every: None, ..long() };
    let mut world = world(|_| {}, mute());
    let call = world.call(&mute());
    world.run_for(seconds(100));
    assert_eq!(after(world.answered_at(call), world.bye_at(CALLER)), 60);
    assert_eq!(after(world.answered_at(call), world.bye_at(ONE)), 60);
    world.ends();
    assert_cause(&world, "media_timeout", ReleasedBy::Engine);
}

#[test]
fn one_silent_side_is_told_and_counted_and_the_call_goes_on() {
    let mut world = world(|_| {}, long());
    let call = world.call(&Plan { rtp_every: None, ..long() });
    world.run_for(seconds(40));
    assert_eq!(world.phones[CALLER].dialogs[call].state, State::Up);
    let timeline = world.timeline();
    assert!(timeline.contains("no media from A for 30 s"), "{timeline}");
    assert_eq!(world.switches[0].stats().one_way.snapshot(), [(vec!["callers".to_owned()], 1)]);
    world.hang_up(call);
    world.ends();
    assert!(world.legs().iter().find(|r| r.leg == 0).unwrap().quality.unwrap().one_way);
}

#[test]
fn one_silent_side_ends_the_call_where_the_trunk_says_so() {
    let mut world = world(|spec| spec.trunks[0].one_ends = true, long());
    let call = world.call(&Plan { rtp_every: None, ..long() });
    world.run_for(seconds(40));
    assert_eq!(after(world.answered_at(call), world.bye_at(ONE)), 30);
    world.ends();
}

#[test]
fn a_held_call_may_be_silent_for_four_hours() {
    let hold = Act::Offer { update: false, direction: "inactive", codec: 0 };
    let mut world = world(|_| {}, long());
    let call = world.call(&Plan { acts: vec![(seconds(10), hold)], ..long() });
    world.run_for(seconds(4 * 3_600));
    assert_eq!(world.phones[CALLER].dialogs[call].state, State::Up);
    world.run_for(seconds(60));
    let ended = after(world.answered_at(call), world.bye_at(ONE));
    assert!((14_405..14_420).contains(&ended), "{ended} s");
    world.ends();
    assert_cause(&world, "media_timeout", ReleasedBy::Engine);
}

// ---- answers that do not come

#[test]
fn without_ack_the_call_ends_after_64_t1() {
    let mut world = world(|_| {}, long());
    world.call(&Plan { acks: Acks::Never, ..long() });
    world.run_for(seconds(60));
    let answered = world.phones[ONE].dialogs[0].heard_at("ACK").unwrap();
    assert_eq!(after(answered, world.bye_at(ONE)), 32);
    assert_eq!(after(answered, world.bye_at(CALLER)), 32);
    world.ends();
    assert_cause(&world, "no_ack", ReleasedBy::Engine);
}

#[test]
fn without_prack_the_invite_is_refused_with_504() {
    let ringing = Answer { reliable: true, ..answer(183) };
    let callee = Plan { answers: vec![(ms(50), ringing), (seconds(100), answer(200))], ..Plan::default() };
    let mut world = world(|_| {}, callee);
    let call = world.call(&Plan { pracks: false, ..Plan::default() });
    world.run_for(seconds(60));
    assert_eq!(world.phones[CALLER].dialogs[call].end, Some(End::Refused(504)));
    assert_eq!(world.phones[ONE].dialogs[0].end, Some(End::Cancelled));
    world.ends();
    assert_cause(&world, "no_prack", ReleasedBy::Engine);
}

#[test]
fn a_late_offer_that_is_not_answered_in_the_ack_ends_both_sides() {
    let mut world = world(|_| {}, long());
    world.call(&Plan { late_offer: true, acks: Acks::Empty, ..long() });
    world.run_for(seconds(10));
    assert_eq!(world.phones[CALLER].dialogs[0].end, Some(End::ByeHeard));
    assert_eq!(world.phones[ONE].dialogs[0].end, Some(End::ByeHeard));
    world.ends();
    assert_cause(&world, "bad_media", ReleasedBy::Engine);
}

#[test]
fn a_late_offer_that_is_answered_carries_media() {
    let mut world = world(|_| {}, Plan { bye_after: None, ..Plan::default() });
    let call = world.call(&Plan { late_offer: true, ..Plan::default() });
    world.run_for(seconds(20));
    assert!(world.phones[CALLER].dialogs[call].rtp_heard > 0 && world.phones[ONE].dialogs[0].rtp_heard > 0);
    world.run_for(seconds(60));
    world.ends();
}

// ---- races

#[test]
fn a_cancel_may_cross_the_answer_at_any_moment() {
    for offset in (0..80).step_by(2) {
        let callee = Plan { answers: vec![(ms(20), answer(180)), (ms(980), answer(200))], ..long() };
        let mut world = world(|_| {}, callee);
        let call = world.call(&Plan {
            cancel_after: Some(ms(960 + offset)),
            bye_after: Some(seconds(5)),
            ..Plan::default()
        });
        world.run_for(seconds(60));
        let caller = world.phones[CALLER].dialogs[call].end;
        assert!(matches!(caller, Some(End::Refused(487) | End::ByeSent)), "{offset} ms: {caller:?}");
        let callee = world.phones[ONE].dialogs[0].end;
        assert!(matches!(callee, Some(End::Cancelled | End::ByeHeard)), "{offset} ms: {callee:?}");
        world.ends();
    }
}

#[test]
fn a_caller_may_give_up_before_anybody_has_answered() {
    for offset in 0..30 {
        let mut world = world(|_| {}, long());
        let call = world.call(&Plan { cancel_after: Some(ms(offset)), ..long() });
        world.run_for(seconds(60));
        assert_eq!(world.phones[CALLER].dialogs[call].end, Some(End::Refused(487)), "{offset} ms");
        assert!(world.phones[ONE].dialogs.iter().all(|d| d.end == Some(End::Cancelled)), "{offset} ms");
        world.ends();
        let record = world.legs()[0].clone();
        assert_eq!((record.release_cause.as_str(), record.released_by), ("cancel", ReleasedBy::Caller));
    }
}

#[test]
fn offers_that_meet_are_refused_with_491_and_the_call_goes_on() {
    let hold = Act::Offer { update: false, direction: "sendonly", codec: 0 };
    let callee = Plan { acts: vec![(ms(5_005), hold)], ..long() };
    let mut world = world(|_| {}, callee);
    // The callee was up some 10 ms before the caller.
    let call = world.call(&Plan { acts: vec![(ms(4_994), hold)], ..Plan::default() });
    world.run_for(seconds(25));
    let words = [&world.phones[CALLER].dialogs[call], &world.phones[ONE].dialogs[0]].map(Dialog::words);
    assert!(words.iter().any(|w| w.contains(&"491 INVITE")), "{words:?}");
    assert_eq!(world.phones[CALLER].dialogs[call].state, State::Up);
    world.run_for(seconds(30));
    world.ends();
}

#[test]
fn both_sides_may_hang_up_at_once() {
    for lag in 0..30 {
        let mut world = world(|_| {}, Plan { bye_after: Some(ms(10_000 + lag)), ..Plan::default() });
        world.call(&Plan { bye_after: Some(seconds(10)), ..Plan::default() });
        world.run_for(seconds(60));
        world.ends();
    }
}

// ---- where a call goes

#[test]
fn targets_are_tried_in_order_and_each_has_its_record() {
    let change = |spec: &mut Spec| {
        spec.trunks[1].to =
            trunk("", [0; 4], &["203.0.113.9", "nowhere.example", "203.0.113.1", "203.0.113.2"]).to;
    };
    let mut world = world(change, Plan { answers: vec![(ms(10), answer(503))], ..Plan::default() });
    world.unreachable.insert(address("203.0.113.9:5060"));
    world.call(&Plan::default());
    world.run_for(seconds(60));
    world.ends();
    let legs: Vec<_> =
        world.legs().iter().map(|r| (r.leg, r.final_status, r.remote.unwrap().to_string())).collect();
    let expected = [
        (0, Some(200), "198.51.100.1:5060"),
        (1, None, "203.0.113.9:5060"),
        (2, Some(503), "203.0.113.1:5060"),
        (3, Some(200), "203.0.113.2:5060"),
    ];
    assert_eq!(legs, expected.map(|(leg, status, remote)| (leg, status, remote.to_owned())));
}

#[test]
fn the_search_ends_after_many_targets() {
    let change = |spec: &mut Spec| spec.trunks[1].to = trunk("", [0; 4], &["pool.example"; 10]).to;
    let mut world = world(change, Plan::default());
    let pool: Vec<_> = (100..116).map(|n| address(&format!("203.0.113.{n}:5060"))).collect();
    world.unreachable.extend(pool.iter().copied());
    world.names.insert("pool.example".into(), pool);
    let call = world.call(&Plan::default());
    world.run_for(seconds(60));
    assert_eq!(world.phones[CALLER].dialogs[call].end, Some(End::Refused(503)));
    world.ends();
    assert_eq!(world.legs().len(), 33);
}

#[test]
fn a_busy_callee_ends_the_search_and_the_caller_is_told() {
    let change = |spec: &mut Spec| spec.trunks[1].to = trunk("", [0; 4], &["203.0.113.1", "203.0.113.2"]).to;
    let mut world = world(change, Plan { answers: vec![(ms(10), answer(486))], ..Plan::default() });
    let call = world.call(&Plan::default());
    world.run_for(seconds(40));
    assert_eq!(world.phones[CALLER].dialogs[call].end, Some(End::Refused(486)));
    assert!(world.phones[TWO].dialogs.is_empty());
    world.ends();
    assert_cause(&world, "busy", ReleasedBy::Callee);
}

#[test]
fn a_late_answer_of_a_target_that_was_given_up_is_ended() {
    let change = |spec: &mut Spec| spec.trunks[1].to = trunk("", [0; 4], &["203.0.113.1", "203.0.113.2"]).to;
    // Silent for longer than the engine waits, then it answers all the same.
    for (delay, lasts) in [(6_000, 60), (20_000, 60), (25_000, 2)] {
        let late = Plan { says_trying: false, answers: vec![(ms(delay), answer(200))], ..long() };
        let mut world = world(change, late);
        world.call(&Plan { bye_after: Some(seconds(lasts)), ..Plan::default() });
        world.run_for(seconds(50));
        let stale = &world.phones[ONE].dialogs[0];
        assert_eq!(stale.end, Some(End::ByeHeard), "{delay} ms: {:?}", stale.words());
        assert!(stale.words().contains(&"ACK"), "{:?}", stale.words());
        world.run_for(seconds(30));
        world.ends();
    }
}

#[test]
fn a_large_invite_prefers_a_stream_and_falls_back_to_datagrams() {
    let mut world = world(|_| {}, Plan::default());
    world.bind_tcp();
    world.call(&Plan { headers: vec![("X-Long", "x".repeat(1_200))], ..Plan::default() });
    world.run_for(seconds(60));
    assert_eq!(world.phones[ONE].dialogs.len(), 1);
    assert!(world.said(ONE, "INVITE").contains("SIP/2.0/UDP"));
    world.ends();
}

#[test]
fn a_trunk_without_addresses_is_no_destination() {
    let mut world =
        world(|spec| spec.trunks[1].to = trunk("", [0; 4], &["nowhere.example"]).to, Plan::default());
    let call = world.call(&Plan::default());
    world.run_for(seconds(10));
    let text = &world.phones[CALLER].dialogs[call].answer_text;
    assert!(text.starts_with("SIP/2.0 503 No destination available\r\n"), "{text}");
    world.ends();
    assert_cause(&world, "no_destination", ReleasedBy::Engine);
}

#[test]
fn without_ports_the_call_is_refused_for_a_while() {
    let mut world = world(|_| {}, Plan::default());
    world.media[0].pairs_max = 1;
    let call = world.call(&Plan::default());
    world.run_for(seconds(10));
    let text = &world.phones[CALLER].dialogs[call].answer_text;
    assert!(text.starts_with("SIP/2.0 503 ") && text.contains("\r\nRetry-After: 10\r\n"), "{text}");
    world.ends();
    assert_cause(&world, "no_ports", ReleasedBy::Engine);
}

#[test]
fn a_full_trunk_refuses_and_is_free_again_afterwards() {
    let mut world = world(|spec| spec.trunks[1].pool.set(Bounds { calls: 1, ..Bounds::default() }), long());
    let first = world.call(&long());
    world.run_for(seconds(10));
    let second = world.call(&long());
    world.run_for(seconds(10));
    assert_eq!(world.phones[CALLER].dialogs[second].end, Some(End::Refused(503)));
    world.hang_up(first);
    world.run_for(seconds(60));
    let third = world.call(&long());
    world.run_for(seconds(10));
    assert_eq!(world.phones[CALLER].dialogs[third].state, State::Up);
    world.hang_up(third);
    world.ends();
}

#[test]
fn hops_are_counted_over_both_legs() {
    let mut world = world(|_| {}, Plan::default());
    let refused = world.call(&Plan { max_forwards: 0, ..Plan::default() });
    world.call(&Plan { max_forwards: 10, ..Plan::default() });
    world.run_for(seconds(60));
    assert_eq!(world.phones[CALLER].dialogs[refused].end, Some(End::Refused(483)));
    assert!(world.said(ONE, "INVITE").contains("\r\nMax-Forwards: 9\r\n"));
    world.ends();
}

#[test]
fn a_loop_through_ourselves_is_found() {
    let change = |spec: &mut Spec| {
        spec.trunks.push(trunk("self", [192, 0, 2, 0], &["192.0.2.1"]));
        let (matching, round) = route("round", &[], "9.", 2);
        spec.add_route(matching, round);
    };
    let mut world = world(change, Plan::default());
    let now = world.now;
    let call = world.phones[CALLER].call(now, "90001", &Plan::default());
    world.run_for(seconds(10));
    assert_eq!(world.phones[CALLER].dialogs[call].end, Some(End::Refused(482)));
    world.run_for(seconds(60));
    assert!(world.is_quiet());
    assert_eq!(world.called.len(), 2, "it goes round once");
}

// ---- forks

#[test]
fn a_fork_with_another_codec_leads_to_a_new_offer_to_the_caller() {
    let fork = |code, fork, codec| Answer { code, fork, sdp: true, reliable: false, codec: Some(codec) };
    let answers = vec![(ms(10), fork(183, 0, 0)), (ms(1_000), fork(200, 1, 8))];
    let mut world = world(|_| {}, Plan { answers, ..long() });
    let call = world.call(&Plan { bye_after: Some(seconds(60)), ..Plan::default() });
    world.run_for(seconds(30));
    let caller = &world.phones[CALLER].dialogs[call];
    assert!(caller.words().contains(&"INVITE"), "{:?}", caller.words());
    assert!(caller.ring_text.contains("RTP/AVP 0\r\n") && caller.answer_text.contains("RTP/AVP 0\r\n"));
    assert_eq!(caller.remote.as_ref().unwrap().codecs, [8]);
    assert_eq!((caller.codec_heard, world.phones[ONE].dialogs[1].codec_heard), (Some(8), Some(8)));
    world.run_for(seconds(60));
    world.ends();
}

#[test]
fn a_second_2xx_is_acknowledged_and_ended_once() {
    let fork = |fork| Answer { fork, ..answer(200) };
    let mut world = world(|_| {}, Plan { answers: vec![(ms(10), fork(0)), (ms(500), fork(1))], ..long() });
    world.call(&Plan::default());
    world.run_for(seconds(20));
    let loser = &world.phones[ONE].dialogs[1];
    assert_eq!(loser.words(), ["INVITE", "ACK", "BYE"]);
    assert_eq!(world.phones[ONE].dialogs[0].state, State::Up);
    world.run_for(seconds(60));
    world.ends();
}

// ---- what passes, what does not

#[test]
fn requests_within_a_call_get_the_answer_that_they_deserve() {
    let acts = [Act::Info, Act::Message, Act::Options, Act::Refer, Act::Unknown, Act::Junk];
    let acts = acts.into_iter().map(|act| (seconds(1), act)).collect();
    let mut world = world(|_| {}, long());
    let call = world.call(&Plan { acts, ..Plan::default() });
    world.phones[CALLER].send_lone(Instant(0), "OPTIONS", &[]);
    world.phones[CALLER].send_lone(Instant(0), "BYE", &[("To", "<sip:x@192.0.2.1>;tag=dead")]);
    world.phones[CALLER].send_lone(Instant(0), "SUBSCRIBE", &[]);
    world.run_for(seconds(20));
    let words = world.phones[CALLER].dialogs[call].words();
    for word in ["200 INFO", "200 MESSAGE", "200 OPTIONS", "603 REFER", "501 FETCH"] {
        assert!(words.contains(&word), "{word}: {words:?}");
    }
    let callee = world.phones[ONE].dialogs[0].words();
    assert_eq!(callee, ["INVITE", "ACK", "INFO", "MESSAGE"], "only these pass");
    let lone: Vec<(&str, u16)> = world.phones[CALLER].lone.iter().map(|(m, c)| (m.as_str(), *c)).collect();
    assert_eq!(lone, [("OPTIONS", 200), ("BYE", 481), ("SUBSCRIBE", 405)]);
    world.run_for(seconds(60));
    world.ends();
}

#[test]
fn a_stranger_hears_nothing() {
    let mut world = world(|_| {}, Plan::default());
    let stranger = phone("198.18.0.66", Plan::default());
    world.phones.push(stranger);
    let now = world.now;
    world.phones[4].send_lone(now, "OPTIONS", &[]);
    world.run_for(seconds(60));
    assert!(world.phones[4].lone.is_empty());
    let stats = world.switches[0].stats();
    assert!(
        stats.unknown_dropped.get() > 0 && stats.banned_dropped.get() > 3,
        "unknown at first, banned then"
    );
}

// ---- deaths

#[test]
fn calls_of_a_dead_media_shard_end_with_bye() {
    let mut world = world(|_| {}, long());
    world.call(&long());
    world.run_for(seconds(10));
    world.restart_media(0);
    world.run_for(seconds(1));
    assert_eq!(world.phones[CALLER].dialogs[0].end, Some(End::ByeHeard));
    assert_eq!(world.phones[ONE].dialogs[0].end, Some(End::ByeHeard));
    world.ends();
    assert_cause(&world, "media_failed", ReleasedBy::Engine);
}

#[test]
fn media_outlives_its_signalling_shard_for_a_while() {
    let mut world = world(|_| {}, long());
    let call = world.call(&long());
    world.run_for(seconds(10));
    world.restart_switch(0);
    world.run_for(seconds(200));
    let heard = world.phones[CALLER].dialogs[call].rtp_heard;
    world.run_for(seconds(30));
    assert!(world.phones[CALLER].dialogs[call].rtp_heard > heard, "media goes on");
    world.hang_up(call);
    world.run_for(seconds(100));
    assert!(world.phones[CALLER].dialogs[call].words().contains(&"481 BYE"));
    assert!(world.media[0].bridges.is_empty(), "orphans are closed after five minutes");
    assert_eq!(world.opened.len(), 2, "both legs had a record to fall back on");
}

// ---- tools

/// Callers at 198.51.100.1, callees at 203.0.113.1 to 3; the first callee follows this plan, the others are polite.
pub fn world(change: impl FnOnce(&mut Spec), callee: Plan) -> World {
    let mut spec = Spec {
        trunks: vec![
            trunk("callers", [198, 51, 100, 0], &["198.51.100.1"]),
            trunk("callees", [203, 0, 113, 0], &["203.0.113.1"]),
        ],
        orphan: seconds(300),
        ..Spec::default()
    };
    spec.set_routes([route("out", &[0], "1.", 1)], Order::First);
    change(&mut spec);
    let mut world = World::new(7, 1, 1, spec);
    world.is_traced = true;
    world.phones = vec![
        phone("198.51.100.1", Plan::default()),
        phone("203.0.113.1", callee),
        phone("203.0.113.2", long()),
        phone("203.0.113.3", long()),
    ];
    assert_eq!(world.phones[THREE].address, address("203.0.113.3:5060"));
    world
}

pub fn phone(ip: &str, plan: Plan) -> Phone {
    let hidden = if ip.starts_with("198") { "203.0.113." } else { "198.51.100." };
    let address = address(&format!("{ip}:5060"));
    Phone::new(address, hidden, Rng::from_seed(3), Box::new(move |_, _| plan.clone()))
}

/// Never hangs up.
pub fn long() -> Plan {
    Plan { bye_after: None, ..Plan::default() }
}

impl World {
    pub fn call(&mut self, plan: &Plan) -> usize {
        let number = self.phones[CALLER].dialogs.len() + 1;
        let now = self.now;
        self.phones[CALLER].call(now, &format!("1{number:04}"), plan)
    }

    pub fn hang_up(&mut self, call: usize) {
        let now = self.now;
        self.phones[CALLER].hang_up(now, call);
    }

    fn answered_at(&self, call: usize) -> Instant {
        self.phones[CALLER].dialogs[call].heard_at("200").expect("it was answered")
    }

    fn bye_at(&self, phone: usize) -> Instant {
        self.phones[phone].dialogs[0].heard_at("BYE").expect("it heard a BYE")
    }

    /// Waits for what is still on its way; then nothing may be left.
    pub fn ends(&mut self) {
        self.run_for(seconds(100));
        check::nothing_is_left(self, Trouble::None);
    }

    /// Records in the order of calls and legs.
    pub fn legs(&self) -> Vec<&Cdr> {
        let mut records: Vec<&Cdr> = self.records.iter().collect();
        records.sort_by_key(|record| (record.call, record.leg));
        records
    }

    /// The last request of this method that a phone got.
    fn said(&self, phone: usize, method: &str) -> String {
        let to = self.phones[phone].address;
        let is_it = |bytes: &[u8]| bytes.starts_with(method.as_bytes());
        let found =
            self.ladder.iter().rev().find(|(_, from, at, bytes)| (*from, *at) == (SBC, to) && is_it(bytes));
        String::from_utf8_lossy(&found.expect("it got one").3).into_owned()
    }

    /// What `calls show` tells of the only call.
    fn timeline(&mut self) -> String {
        let id = *self.calls_of(0).first().expect("there is a call");
        let now = self.time();
        let text = Arc::new(Mutex::new(String::new()));
        let slot = Arc::clone(&text);
        let show = Ask::Show(
            id,
            Box::new(move |view| *slot.lock().unwrap() = format!("{:?}", view.unwrap().timeline)),
        );
        self.switches[0].handle_ask(now, show);
        self.run_for(seconds(1));
        text.lock().unwrap().clone()
    }
}

/// Whole seconds between two times, rounded.
fn after(earlier: Instant, later: Instant) -> u64 {
    (later.since(earlier) + Duration::from_millis(500)).as_secs()
}

#[track_caller]
pub fn assert_cause(world: &World, cause: &str, by: ReleasedBy) {
    let last = world.legs().last().copied().expect("a record").clone();
    assert_eq!((last.release_cause.as_str(), last.released_by), (cause, by), "{last:?}");
}
