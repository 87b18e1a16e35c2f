//! "Learning the source".

use crate::world::*;
use command::{Accept, Event, Learn, MediaClass, Phase, PortIndex, SendTo, Verdict};
use media::wire::rtp::Header;

/// A's address behind its NAT, and signalling's address there.
const NAT: &str = "203.0.113.1:40000";

fn learned(world: &World) -> Option<String> {
    world.port(0).learned.map(|source| source.to_string())
}

/// A's SDP has a private address; signalling came from the NAT.
fn behind_nat() -> World {
    World::with(|spec| {
        spec.ports[0] = port(0, "192.168.1.2:4000");
        spec.ports[0].signalling_source = Some("203.0.113.1".parse().unwrap());
    })
}

#[test]
fn it_starts_with_the_address_in_the_sdp() {
    let mut world = World::new();
    assert_eq!(world.send(B_RTP, B, &rtp(8, 1)), to(A_RTP, A));
    assert_eq!(world.send(A_RTP, A, &rtp(7, 1)), to(B_RTP, B));
    assert_eq!(learned(&world), Some(A.into()));
    let told = |port, source: &str| Event::Learned {
        bridge: world.id,
        port: PortIndex(port),
        rtcp: false,
        source: address(source),
        moved: false,
    };
    let expected = vec![told(1, B), told(0, A)];
    assert_eq!(world.events(), expected);
}

#[test]
fn the_right_address_with_another_port_is_learned_at_once() {
    let mut world = World::new();
    assert_eq!(world.send(A_RTP, "192.0.2.1:4444", &rtp(7, 1)), to(B_RTP, B));
    assert_eq!(world.send(B_RTP, B, &rtp(8, 1)), to(A_RTP, "192.0.2.1:4444"));
}

#[test]
fn the_source_of_signalling_is_learned_at_once_also_after_the_window() {
    let mut world = behind_nat();
    world.wait(20_000);
    assert_eq!(world.send(A_RTP, NAT, &rtp(7, 1)), to(B_RTP, B));
    assert_eq!(world.send(B_RTP, B, &rtp(8, 1)), to(A_RTP, NAT));
}

#[test]
fn any_other_needs_five_packets_in_sequence() {
    let mut world = World::new();
    assert_eq!(world.talk(A_RTP, NAT, 7, 1..5), Err(Verdict::SourceUnknown));
    assert_eq!(learned(&world), None);
    assert_eq!(world.send(A_RTP, NAT, &rtp(7, 5)), to(B_RTP, B));
    assert_eq!(learned(&world), Some(NAT.into()));
    assert_eq!(world.dropped(0, Verdict::SourceUnknown), 4);
}

#[test]
fn a_gap_or_another_ssrc_begins_the_five_anew() {
    let mut world = World::new();
    world.talk(A_RTP, NAT, 7, 1..4).unwrap_err();
    world.talk(A_RTP, NAT, 7, 5..9).unwrap_err();
    world.talk(A_RTP, NAT, 9, 9..13).unwrap_err();
    assert_eq!(learned(&world), None);
    assert!(world.send(A_RTP, NAT, &rtp(9, 13)).is_ok());
}

#[test]
fn a_stranger_cannot_interrupt_the_five_of_another() {
    let mut world = World::new();
    for sequence in 1..5 {
        world.send(A_RTP, NAT, &rtp(7, sequence)).unwrap_err();
        world.send(A_RTP, STRANGER, &rtp(7, 1000 * sequence)).unwrap_err();
    }
    assert!(world.send(A_RTP, NAT, &rtp(7, 5)).is_ok());
}

#[test]
fn any_other_is_learned_only_within_three_seconds_after_the_sdp() {
    let mut world = World::new();
    world.wait(2_930);
    // The fifth comes at 3,010 ms.
    assert_eq!(world.talk(A_RTP, NAT, 7, 1..50), Err(Verdict::SourceUnknown));
    let mut world = World::new();
    world.wait(2_900);
    assert!(world.talk(A_RTP, NAT, 7, 1..6).is_ok());
}

#[test]
fn the_answer_opens_the_window_of_a_side_that_could_not_send_before() {
    // A rings for ten seconds, then B's SDP comes: only now does A know where to send.
    let mut world = World::with(|spec| spec.ports[1].remotes.clear());
    world.wait(10_000);
    world.set(|spec| spec.ports[1] = port(1, B));
    assert!(world.talk(A_RTP, NAT, 7, 1..6).is_ok());
}

#[test]
fn the_final_answer_opens_the_window_of_who_was_not_heard_before() {
    let mut world = World::with(|spec| spec.phase = Phase::Early);
    world.wait(10_000);
    world.set(|spec| spec.phase = Phase::Active);
    assert!(world.talk(A_RTP, NAT, 7, 1..6).is_ok());
    // Who is locked stays locked.
    world.set(|spec| spec.phase = Phase::Early);
    world.set(|spec| spec.phase = Phase::Active);
    assert_eq!(world.talk(A_RTP, STRANGER, 9, 1..20), Err(Verdict::SourceLocked));
}

#[test]
fn the_same_spec_again_changes_nothing() {
    let mut world = World::new();
    world.wait(2_990);
    world.set(|_| {});
    world.wait(20);
    // No window was opened,
    assert_eq!(world.talk(A_RTP, NAT, 7, 1..9), Err(Verdict::SourceUnknown));
    // and no lock is lost.
    world.talk(A_RTP, "192.0.2.1:4444", 7, 1..5).unwrap();
    world.events();
    world.set(|_| {});
    assert_eq!(learned(&world), Some("192.0.2.1:4444".into()));
    assert_eq!(world.send(B_RTP, B, &rtp(8, 1)), to(A_RTP, "192.0.2.1:4444"));
    assert_eq!(world.talk(A_RTP, STRANGER, 7, 5..20), Err(Verdict::SourceLocked));
}

#[test]
fn a_higher_rank_displaces_a_lower_one_at_once_whatever_its_ssrc() {
    let mut world = behind_nat();
    let ranks = ["198.18.0.9:1", NAT, "192.168.1.2:4999", "192.168.1.2:4000"];
    world.talk(A_RTP, ranks[0], 7, 1..6).unwrap();
    for (n, source) in (1..).zip(&ranks[1..]) {
        // Even long after the window.
        world.wait(10_000);
        world.talk(A_RTP, ranks[n - 1], 100 + n as u32 - 1, 7..9).unwrap();
        assert_eq!(world.send(A_RTP, source, &rtp(100 + n as u32, 500)), to(B_RTP, B));
        assert_eq!(learned(&world), Some((*source).into()));
        // And the lower one is foreign from then on.
        assert_eq!(world.talk(A_RTP, ranks[n - 1], 7, 9..15), Err(Verdict::SourceLocked));
    }
    assert_eq!(world.port(0).moves, 3);
    let moves = world.events().iter().filter(|e| matches!(e, Event::Learned { moved: true, .. })).count();
    assert_eq!(moves, 3);
}

#[test]
fn after_the_lock_foreign_packets_are_dropped_counted_and_told_of_once() {
    let mut world = World::new();
    world.talk(A_RTP, A, 7, 1..3).unwrap();
    world.talk(B_RTP, B, 8, 1..3).unwrap();
    world.events();
    assert_eq!(world.talk(A_RTP, STRANGER, 7, 3..10), Err(Verdict::SourceLocked));
    assert_eq!(world.talk(B_RTP, STRANGER, 8, 3..10), Err(Verdict::SourceLocked));
    let first = Event::Foreign { bridge: world.id, port: PortIndex(0), source: address(STRANGER) };
    assert_eq!(world.events(), [first]);
    assert_eq!((world.dropped(0, Verdict::SourceLocked), world.dropped(1, Verdict::SourceLocked)), (7, 7));
    assert_eq!(world.port(1).foreign, Some(address(STRANGER)));
    // Nothing of the attack shows in what was received.
    assert_eq!((world.port(0).received.packets, world.port(0).streams[0].packets), (2, 2));
}

#[test]
fn a_rebind_of_the_same_stream_is_followed_after_half_a_second() {
    let mut world = World::new();
    world.talk(A_RTP, A, 7, 1..10).unwrap();
    world.events();
    world.wait(460); // 480 ms after the last packet
    assert_eq!(world.send(A_RTP, NAT, &rtp(7, 34)), Err(Verdict::SourceLocked));
    world.wait(20);
    assert_eq!(world.send(A_RTP, NAT, &rtp(7, 35)), to(B_RTP, B));
    assert_eq!(world.send(B_RTP, B, &rtp(8, 1)), to(A_RTP, NAT));
    assert_eq!(world.port(0).moves, 1);
    let moved = Event::Learned {
        bridge: world.id,
        port: PortIndex(0),
        rtcp: false,
        source: address(NAT),
        moved: true,
    };
    assert!(world.events().contains(&moved));
}

#[test]
fn a_rebind_must_continue_ssrc_sequence_and_timestamp() {
    let check = |change: &dyn Fn(&mut Header), taken: bool| {
        let mut world = World::new();
        world.talk(A_RTP, A, 7, 1..11).unwrap();
        world.wait(1_000);
        let mut header = Header { ssrc: 7, sequence: 61, timestamp: 61 * 160, ..Header::default() };
        change(&mut header);
        assert_eq!(world.send(A_RTP, NAT, &rtp_with(header)).is_ok(), taken, "{header:?}");
    };
    check(&|_| {}, true);
    check(&|header| header.sequence = 11, true);
    check(&|header| header.sequence = 510, true);
    check(&|header| header.sequence = 511, false);
    check(&|header| header.sequence = 10, false);
    check(&|header| header.ssrc = 8, false);
    check(&|header| header.timestamp = 1, false);
    check(&|header| header.timestamp = 8000 * 60, false);
    check(&|header| header.payload_type = 33, false);
}

#[test]
fn a_source_moves_at_most_once_a_second() {
    let mut world = World::new();
    world.talk(A_RTP, A, 7, 1..10).unwrap();
    world.wait(600);
    world.send(A_RTP, NAT, &rtp(7, 20)).unwrap();
    world.wait(600);
    assert_eq!(world.send(A_RTP, "203.0.113.2:1", &rtp(7, 21)), Err(Verdict::SourceLocked));
    world.wait(400);
    assert!(world.send(A_RTP, "203.0.113.2:1", &rtp(7, 22)).is_ok());
    assert_eq!(world.port(0).moves, 2);
}

#[test]
fn payload_types_that_were_not_negotiated_teach_nothing() {
    let mut world = World::new();
    let strange = |sequence| rtp_with(Header { payload_type: 33, ssrc: 7, sequence, ..Header::default() });
    for sequence in 1..10 {
        assert_eq!(world.send(A_RTP, NAT, &strange(sequence)), Err(Verdict::SourceUnknown));
        assert_eq!(world.send(A_RTP, "192.0.2.1:4444", &strange(sequence)), Err(Verdict::SourceUnknown));
    }
    // From the address of the SDP itself they pass, and still teach nothing.
    assert!(world.send(A_RTP, A, &strange(10)).is_ok());
    assert_eq!(learned(&world), None);
}

#[test]
fn nothing_is_learned_from_a_side_that_does_not_send() {
    let mut world = behind_nat();
    world.set(|spec| spec.ports[0].remotes[0].sends = false);
    assert_eq!(world.talk(A_RTP, NAT, 7, 1..20), Err(Verdict::SourceUnknown));
    assert_eq!(world.talk(A_RTP, STRANGER, 7, 1..20), Err(Verdict::SourceUnknown));
    assert_eq!(world.send(B_RTP, B, &rtp(8, 1)), to(A_RTP, "192.168.1.2:4000"));
    // Its reports are taken where they can only be its own.
    assert!(world.send(A_RTCP, "203.0.113.1:40001", &report_of(7)).is_ok());
    assert_eq!(world.send(A_RTCP, STRANGER, &report_of(7)), Err(Verdict::SourceUnknown));
    assert_eq!(learned(&world), None);
}

#[test]
fn hold_and_resume_keep_the_lock_where_the_address_is_the_same() {
    let mut world = behind_nat();
    world.talk(A_RTP, NAT, 7, 1..5).unwrap();
    world.set(|spec| {
        spec.ports[0].remotes[0].sends = false;
        spec.ports[0].remotes[0].receives = false;
    });
    world.wait(60_000);
    world.set(|spec| {
        spec.ports[0].remotes[0].sends = true;
        spec.ports[0].remotes[0].receives = true;
    });
    assert_eq!(world.send(B_RTP, B, &rtp(8, 1)), to(A_RTP, NAT));
    assert_eq!(world.talk(A_RTP, STRANGER, 9, 1..20), Err(Verdict::SourceLocked));
    assert!(world.send(A_RTP, NAT, &rtp(7, 5)).is_ok());
}

#[test]
fn an_old_hold_by_the_address_zero_keeps_the_lock_too() {
    let mut world = behind_nat();
    world.talk(A_RTP, NAT, 7, 1..5).unwrap();
    world.set(|spec| {
        spec.ports[0].remotes[0].rtp = None;
        spec.ports[0].remotes[0].receives = false;
    });
    assert_eq!(world.send(B_RTP, B, &rtp(8, 1)), Err(Verdict::NoTarget));
    world.set(|spec| spec.ports[0].remotes[0] = remote(0, "192.168.1.2:4000"));
    assert_eq!(world.send(B_RTP, B, &rtp(8, 2)), to(A_RTP, NAT));
}

#[test]
fn a_changed_address_is_learned_anew() {
    let mut world = World::new();
    world.talk(A_RTP, A, 7, 1..5).unwrap();
    world.wait(10_000);
    world.set(|spec| spec.ports[0].remotes[0].rtp = Some(address("192.0.2.200:4000")));
    assert_eq!(world.send(B_RTP, B, &rtp(8, 1)), to(A_RTP, "192.0.2.200:4000"));
    // What the old source still had on the way passes, but teaches nothing.
    assert!(world.send(A_RTP, A, &rtp(7, 5)).is_ok());
    assert_eq!(learned(&world), None);
    assert!(world.send(A_RTP, "192.0.2.200:4000", &rtp(9, 5)).is_ok());
    assert_eq!(world.send(A_RTP, A, &rtp(7, 6)), Err(Verdict::SourceLocked));
}

#[test]
fn behind_a_nat_a_new_source_displaces_the_old_one_after_a_change() {
    let mut world = behind_nat();
    world.talk(A_RTP, NAT, 7, 1..5).unwrap();
    world.set(|spec| spec.ports[0].remotes[0].rtp = Some(address("192.168.1.2:4002")));
    // The old flow still runs: it is kept, for the change may mean nothing to the NAT,
    assert!(world.send(A_RTP, NAT, &rtp(7, 5)).is_ok());
    assert_eq!(world.send(B_RTP, B, &rtp(8, 1)), to(A_RTP, NAT));
    // until the new one begins.
    assert!(world.send(A_RTP, "203.0.113.1:40002", &rtp(9, 1)).is_ok());
    assert_eq!(world.send(B_RTP, B, &rtp(8, 2)), to(A_RTP, "203.0.113.1:40002"));
    assert_eq!(world.send(A_RTP, NAT, &rtp(7, 6)), Err(Verdict::SourceLocked));
    // Where no new one begins, the old one is locked again when the window ends.
    let mut world = behind_nat();
    world.talk(A_RTP, NAT, 7, 1..5).unwrap();
    world.set(|spec| spec.ports[0].remotes[0].rtp = Some(address("192.168.1.2:4002")));
    world.talk(A_RTP, NAT, 7, 5..200).unwrap();
    assert_eq!(world.send(A_RTP, "203.0.113.1:40002", &rtp(9, 1)), Err(Verdict::SourceLocked));
}

#[test]
fn strict_takes_the_signalled_address_only() {
    let mut world = behind_nat();
    world.set(|spec| spec.ports[0].learn = Learn::Strict);
    for source in [NAT, "192.168.1.2:4444", STRANGER] {
        assert_eq!(world.talk(A_RTP, source, 7, 1..10), Err(Verdict::SourceLocked), "{source}");
    }
    assert!(world.send(A_RTP, "192.168.1.2:4000", &rtp(7, 1)).is_ok());
}

#[test]
fn a_policy_that_becomes_strict_gives_up_what_was_learned() {
    let mut world = behind_nat();
    world.talk(A_RTP, NAT, 7, 1..5).unwrap();
    world.set(|spec| spec.ports[0].learn = Learn::Strict);
    assert_eq!(world.send(A_RTP, NAT, &rtp(7, 5)), Err(Verdict::SourceLocked));
    assert_eq!(world.send(B_RTP, B, &rtp(8, 1)), to(A_RTP, "192.168.1.2:4000"));
}

#[test]
fn what_may_be_encrypted_passes_with_only_its_headers_looked_at() {
    let mut world = World::with(|spec| spec.ports[0].learn = Learn::Strict);
    let mut sealed = rtp(7, 1);
    sealed[0] |= 0x20; // padding, but its count is encrypted
    *sealed.last_mut().unwrap() = 0xff;
    assert!(world.send(A_RTP, A, &sealed).is_ok());
    let mut report = report_of(7);
    report.extend([0xee; 30]); // ciphertext, index and tag
    assert_eq!(world.pass(A_RTCP, "192.0.2.1:4001", &report).unwrap().2, report);
    // In the clear the same is malformed.
    world.set(|spec| spec.ports[0].learn = Learn::Window);
    assert_eq!(world.send(A_RTP, A, &sealed), Err(Verdict::Malformed));
    assert_eq!(world.send(A_RTCP, "192.0.2.1:4001", &report), Err(Verdict::Version));
}

#[test]
fn signalled_never_learns_and_drops_nobody() {
    let mut world = World::with(|spec| spec.ports[0].learn = Learn::Signalled);
    assert!(world.talk(A_RTP, STRANGER, 7, 1..10).is_ok());
    assert_eq!(learned(&world), None);
    assert_eq!(world.send(B_RTP, B, &rtp(8, 1)), to(A_RTP, A));
}

#[test]
fn handover_learns_a_new_source_when_the_old_one_is_silent() {
    let mut world = World::with(|spec| spec.ports[0].learn = Learn::Handover);
    world.talk(A_RTP, A, 7, 1..10).unwrap();
    // Not while it talks,
    assert_eq!(world.talk(A_RTP, NAT, 99, 1..10), Err(Verdict::SourceLocked));
    world.talk(A_RTP, A, 7, 10..15).unwrap();
    // and a stranger needs its five packets even then.
    world.wait(600);
    assert_eq!(world.talk(A_RTP, NAT, 99, 1..5), Err(Verdict::SourceLocked));
    assert!(world.send(A_RTP, NAT, &rtp(99, 5)).is_ok());
    assert_eq!(world.send(B_RTP, B, &rtp(8, 1)), to(A_RTP, NAT));
}

#[test]
fn accept_any_takes_strangers_but_sends_by_the_rules() {
    let mut world = World::with(|spec| spec.ports[0].accept = Accept::Any);
    world.talk(A_RTP, A, 7, 1..10).unwrap();
    assert_eq!(world.talk(A_RTP, STRANGER, 99, 1..50), to(B_RTP, B));
    assert_eq!(world.send(B_RTP, B, &rtp(8, 1)), to(A_RTP, A));
}

#[test]
fn asymmetric_takes_anybody_for_three_seconds_then_locks_and_sends_as_signalled() {
    let mut world = World::with(|spec| {
        spec.ports[0].accept = Accept::AnyThenLocked;
        spec.ports[0].send_to = SendTo::Signalled;
    });
    // From the first packet on, and from anybody.
    assert!(world.send(A_RTP, NAT, &rtp(7, 1)).is_ok());
    assert!(world.send(A_RTP, STRANGER, &rtp(99, 1)).is_ok());
    world.talk(A_RTP, NAT, 7, 2..140).unwrap();
    assert_eq!(world.send(B_RTP, B, &rtp(8, 1)), to(A_RTP, A));
    world.wait(300);
    assert_eq!(world.send(A_RTP, STRANGER, &rtp(99, 2)), Err(Verdict::SourceLocked));
    assert!(world.send(A_RTP, NAT, &rtp(7, 140)).is_ok());
    assert_eq!(world.send(B_RTP, B, &rtp(8, 2)), to(A_RTP, A));
}

#[test]
fn accept_signalled_takes_only_what_the_sdp_names() {
    let mut world = World::with(|spec| spec.ports[0].accept = Accept::Signalled);
    assert_eq!(world.send(A_RTP, "192.0.2.1:4444", &rtp(7, 1)), Err(Verdict::SourceLocked));
    assert!(world.send(A_RTP, A, &rtp(7, 1)).is_ok());
}

#[test]
fn send_to_signalled_ignores_what_was_learned() {
    let mut world = World::with(|spec| spec.ports[0].send_to = SendTo::Signalled);
    world.talk(A_RTP, "192.0.2.1:4444", 7, 1..5).unwrap();
    assert_eq!(world.send(B_RTP, B, &rtp(8, 1)), to(A_RTP, A));
    assert_eq!(learned(&world), Some("192.0.2.1:4444".into()));
}

#[test]
fn rtcp_learns_apart() {
    let mut world = behind_nat();
    world.talk(A_RTP, NAT, 7, 1..5).unwrap();
    // RTCP still goes where the SDP says, until it has come itself.
    assert_eq!(world.send(B_RTCP, "198.51.100.1:5001", &report_of(8)), to(A_RTCP, "192.168.1.2:4001"));
    assert!(world.send(A_RTCP, "203.0.113.1:51234", &report_of(7)).is_ok());
    assert_eq!(world.send(B_RTCP, "198.51.100.1:5001", &report_of(8)), to(A_RTCP, "203.0.113.1:51234"));
    assert_eq!(learned(&world), Some(NAT.into()));
    assert!(
        world
            .events()
            .iter()
            .any(|event| matches!(event, Event::Learned { rtcp: true, port: PortIndex(0), .. }))
    );
    assert_eq!(world.send(A_RTCP, STRANGER, &report_of(7)), Err(Verdict::SourceLocked));
}

#[test]
fn rtcp_may_come_from_where_rtp_was_learned_and_follows_its_rebind() {
    // Nothing but five packets in sequence speaks for this source.
    let mut world = World::new();
    assert_eq!(world.send(A_RTCP, "203.0.113.1:40001", &report_of(7)), Err(Verdict::SourceUnknown));
    world.talk(A_RTP, NAT, 7, 1..6).unwrap();
    assert!(world.send(A_RTCP, "203.0.113.1:40001", &report_of(7)).is_ok());
    // The peer moves to another network.
    world.wait(600);
    assert!(world.send(A_RTP, "203.0.113.9:1000", &rtp(7, 10)).is_ok());
    assert_eq!(world.send(A_RTCP, STRANGER, &report_of(7)), Err(Verdict::SourceLocked));
    assert!(world.send(A_RTCP, "203.0.113.9:1001", &report_of(7)).is_ok());
    assert_eq!(world.send(B_RTCP, "198.51.100.1:5001", &report_of(8)), to(A_RTCP, "203.0.113.9:1001"));
}

#[test]
fn udptl_learns_from_its_first_datagram() {
    let mut world = World::with(|spec| {
        spec.ports[0].class = MediaClass::Udptl;
        spec.ports[0].payloads.clear();
    });
    assert_eq!(world.send(A_RTP, NAT, &[0, 0, 1, 2, 3]), to(B_RTP, B));
    assert_eq!(world.send(B_RTP, B, &rtp(8, 1)), to(A_RTP, NAT));
    assert_eq!(world.send(A_RTP, STRANGER, &[0, 1, 1, 2, 3]), Err(Verdict::SourceLocked));
    // Also UDPTL only within the window.
    let mut world = World::with(|spec| spec.ports[0].class = MediaClass::Udptl);
    world.wait(3_000);
    assert_eq!(world.send(A_RTP, NAT, &[0, 0, 1]), Err(Verdict::SourceUnknown));
}

#[test]
fn addresses_of_ipv6_are_the_same_whatever_their_scope() {
    let mut world = World::with(|spec| spec.ports[0] = port(0, "[fe80::1]:4000"));
    assert_eq!(world.send(A_RTP, "[fe80::1%3]:4000", &rtp(7, 1)), to(B_RTP, B));
    assert_eq!(world.send(A_RTP, "[fe80::1%4]:4000", &rtp(7, 2)), to(B_RTP, B));
    assert_eq!(world.port(0).moves, 0);
}
