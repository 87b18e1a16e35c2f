//! Forks: candidates of one port.

use crate::world::*;
use command::{RemoteTag, Verdict};

const C: &str = "198.51.100.2:7000";

/// B has rung twice: candidate 1 at B, candidate 2 at C; the later SDP is active.
fn forked() -> World {
    let mut world = World::with(|spec| {
        spec.ports[1].remotes = vec![remote(1, B)];
        spec.ports[1].active = Some(RemoteTag(1));
    });
    world.talk(B_RTP, B, 8, 1..5).unwrap();
    world.wait(5_000);
    world.set(|spec| {
        spec.ports[1].remotes.push(remote(2, C));
        spec.ports[1].active = Some(RemoteTag(2));
    });
    world
}

#[test]
fn the_active_candidate_is_sent_to_and_listened_to() {
    let mut world = forked();
    assert_eq!(world.send(A_RTP, A, &rtp(7, 1)), to(B_RTP, C));
    assert_eq!(world.send(B_RTP, C, &rtp(9, 1)), to(A_RTP, A));
}

#[test]
fn media_of_inactive_candidates_is_dropped_and_counted() {
    let mut world = forked();
    assert_eq!(world.talk(B_RTP, B, 8, 5..15), Err(Verdict::ForkInactive));
    assert_eq!(world.send(B_RTCP, "198.51.100.1:5001", &report_of(8)), Err(Verdict::ForkInactive));
    assert_eq!(world.dropped(1, Verdict::ForkInactive), 11);
    // It is never taken for the active one behind a NAT, and no attack either.
    assert_eq!(world.port(1).learned, None);
    assert!(!world.events().iter().any(|event| matches!(event, command::Event::Foreign { .. })));
}

#[test]
fn the_final_answer_reactivates_its_candidate_with_what_was_learned_of_it() {
    let mut world = World::with(|spec| {
        spec.ports[1].remotes = vec![remote(1, B)];
        spec.ports[1].active = Some(RemoteTag(1));
    });
    world.talk(B_RTP, "203.0.113.7:7", 8, 1..6).unwrap(); // B is behind a NAT
    world.set(|spec| {
        spec.ports[1].remotes.push(remote(2, C));
        spec.ports[1].active = Some(RemoteTag(2));
    });
    world.talk(B_RTP, C, 9, 1..5).unwrap();
    assert_eq!(world.send(B_RTP, "203.0.113.7:7", &rtp(8, 6)), Err(Verdict::ForkInactive));
    world.wait(10_000);
    world.set(|spec| spec.ports[1].active = Some(RemoteTag(1)));
    assert_eq!(world.send(A_RTP, A, &rtp(7, 1)), to(B_RTP, "203.0.113.7:7"));
    assert_eq!(world.send(B_RTP, "203.0.113.7:7", &rtp(8, 7)), to(A_RTP, A));
    assert_eq!(world.send(B_RTP, C, &rtp(9, 5)), Err(Verdict::ForkInactive));
}

#[test]
fn a_candidate_that_was_never_heard_gets_a_window_when_it_becomes_active() {
    let mut world = forked();
    world.wait(30_000);
    world.set(|spec| {
        spec.ports[1].remotes.push(remote(3, "192.168.9.9:4000"));
        spec.ports[1].active = Some(RemoteTag(3));
    });
    assert!(world.talk(B_RTP, "203.0.113.7:7", 10, 1..6).is_ok());
}

#[test]
fn statistics_are_kept_by_candidate() {
    let mut world = forked();
    // The second fork happens to use the same SSRC, far away in numbers.
    world.talk(B_RTP, C, 8, 30_000..30_010).unwrap();
    let streams = world.port(1).streams;
    assert_eq!(streams.iter().map(|s| (s.packets, s.lost)).collect::<Vec<_>>(), [(4, 0), (10, 0)]);
}

#[test]
fn two_forks_at_one_address_are_not_taken_for_each_other() {
    // Both come from the same media server.
    let mut world = forked();
    world.set(|spec| spec.ports[1].remotes[1] = remote(2, B));
    assert_eq!(world.send(B_RTP, B, &rtp(9, 1)), to(A_RTP, A));
}

#[test]
fn without_an_active_candidate_nothing_passes() {
    let mut world = forked();
    world.set(|spec| spec.ports[1].active = None);
    assert_eq!(world.send(B_RTP, B, &rtp(8, 9)), Err(Verdict::ForkInactive));
    assert_eq!(world.send(B_RTP, STRANGER, &rtp(8, 9)), Err(Verdict::SourceUnknown));
    assert_eq!(world.send(A_RTP, A, &rtp(7, 1)), Err(Verdict::NoTarget));
}
