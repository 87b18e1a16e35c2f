//! "Relay, transcode, mix", as far as relay goes, and hairpin.

use crate::world::*;
use command::SdesKeys;
use command::spec::{Audience, Ice, Secure};
use command::{MediaClass, Party, PortIndex, RtcpMux, Transform, Verdict};
use media::wire::rtp::Header;
use media::{Packet, Slot, Unsupported};

#[test]
fn packets_pass_both_ways_in_arrival_order_and_untouched() {
    let mut world = World::new();
    for sequence in [1, 3, 2, 2] {
        let packet = rtp(7, sequence);
        assert_eq!(world.pass(A_RTP, A, &packet), Ok((B_RTP, B.into(), packet)));
    }
    let mut odd = rtp(9, 1);
    odd[0] = 0x90; // an extension
    odd[12..16].copy_from_slice(&[0xbe, 0xde, 0, 1]);
    assert_eq!(world.pass(B_RTP, B, &odd), Ok((A_RTP, A.into(), odd)));
    assert_eq!((world.port(0).received.packets, world.port(1).sent.packets), (4, 4));
    assert_eq!((world.port(0).received.bytes, world.port(1).sent.bytes), (4 * 172, 4 * 172));
    let counters = world.bridges.counters();
    assert_eq!((counters.packets_in, counters.packets_out, counters.bytes_out), (5, 5, 5 * 172));
}

#[test]
fn rtcp_passes_beside_rtp_by_its_own_ports() {
    let mut world = World::new();
    assert_eq!(world.send(A_RTCP, "192.0.2.1:4001", &report_of(7)), to(B_RTCP, "198.51.100.1:5001"));
    world.set(|spec| spec.ports[1].remotes[0].rtcp = Some(address("198.51.100.1:5999")));
    assert_eq!(world.send(A_RTCP, "192.0.2.1:4001", &report_of(7)), to(B_RTCP, "198.51.100.1:5999"));
    assert_eq!((world.port(0).rtcp_received, world.port(1).rtcp_sent), (2, 2));
}

#[test]
fn muxed_rtcp_goes_and_comes_on_the_port_of_rtp() {
    let mut world = World::with(|spec| spec.ports[1].mux = RtcpMux::Muxed);
    assert_eq!(world.send(A_RTCP, "192.0.2.1:4001", &report_of(7)), to(B_RTP, B));
    assert_eq!(world.send(B_RTP, B, &report_of(8)), to(A_RTCP, "192.0.2.1:4001"));
}

#[test]
fn while_mux_is_offered_rtcp_is_taken_on_both_ports() {
    let mut world = World::with(|spec| spec.ports[0].mux = RtcpMux::Offered);
    assert_eq!(world.send(A_RTP, A, &report_of(7)), to(B_RTCP, "198.51.100.1:5001"));
    assert_eq!(world.send(A_RTCP, "192.0.2.1:4001", &report_of(7)), to(B_RTCP, "198.51.100.1:5001"));
}

#[test]
fn muxed_rtcp_teaches_nothing_about_rtp() {
    let mut world = World::with(|spec| spec.ports[0].mux = RtcpMux::Muxed);
    // From the right address but another port: it passes, and RTP still goes where the SDP says.
    assert_eq!(world.send(A_RTP, "192.0.2.1:9999", &report_of(7)), to(B_RTCP, "198.51.100.1:5001"));
    assert_eq!(world.send(A_RTP, STRANGER, &report_of(7)), Err(Verdict::SourceUnknown));
    assert_eq!((world.port(0).learned, world.events()), (None, vec![]));
}

#[test]
fn a_payload_type_that_looks_like_rtcp_is_rtp_where_it_was_negotiated() {
    let mut world = World::with(|spec| spec.ports[0].payloads[0].number = 72);
    let packet = rtp_with(Header { marker: true, payload_type: 72, ..Header::default() });
    assert_eq!(world.send(A_RTP, A, &packet), to(B_RTP, B));
    assert_eq!(world.port(0).received.packets, 1);
}

#[test]
fn payload_types_are_mapped_by_the_edge() {
    let map = Transform::Relay { payload_map: vec![(101, 96)], rewrite: None };
    let mut world = World::with(|spec| spec.edges[0].transform = map);
    let event = Header { payload_type: 101, marker: true, sequence: 5, timestamp: 9, ssrc: 7 };
    let (_, _, bytes) = world.pass(A_RTP, A, &rtp_with(event)).unwrap();
    assert_eq!(bytes, rtp_with(Header { payload_type: 96, ..event }));
    let (_, _, bytes) = world.pass(A_RTP, A, &rtp(7, 6)).unwrap();
    assert_eq!(bytes, rtp(7, 6));
}

#[test]
fn a_rewrite_keeps_sequence_gaps() {
    let mut world = World::with(|spec| spec.edges[0].transform = rewritten(99, 1000, 50_000));
    for sequence in [1, 2, 5] {
        let (_, _, bytes) = world.pass(A_RTP, A, &rtp(7, sequence)).unwrap();
        let timestamp = u32::from(sequence) * 160 + 50_000;
        let expected = Header { ssrc: 99, sequence: sequence + 1000, timestamp, ..Header::default() };
        assert_eq!(bytes, rtp_with(expected));
    }
    // The other way is as it was.
    assert_eq!(world.pass(B_RTP, B, &rtp(8, 1)).unwrap().2, rtp(8, 1));
}

#[test]
fn payload_types_that_were_not_negotiated_pass_from_the_locked_source() {
    let mut world = World::new();
    world.talk(A_RTP, A, 7, 1..3).unwrap();
    let strange = rtp_with(Header { payload_type: 33, ssrc: 7, sequence: 3, ..Header::default() });
    assert_eq!(world.send(A_RTP, A, &strange), to(B_RTP, B));
}

#[test]
fn a_closed_edge_and_no_edge_pass_nothing_but_count_it() {
    let mut world = World::with(|spec| {
        spec.edges[0].transform = Transform::Drop;
        spec.edges.truncate(1);
    });
    assert_eq!(world.talk(A_RTP, A, 7, 1..4), Err(Verdict::Closed));
    assert_eq!(world.talk(B_RTP, B, 8, 1..3), Err(Verdict::Closed));
    assert_eq!((world.dropped(0, Verdict::Closed), world.dropped(1, Verdict::Closed)), (3, 2));
    assert_eq!(world.bridges.counters().dropped[Verdict::Closed as usize], 5);
    // They were heard all the same.
    assert_eq!((world.port(0).received.packets, world.port(0).streams[0].packets), (3, 3));
}

#[test]
fn a_peer_that_does_not_receive_gets_no_media_but_rtcp() {
    let mut world = World::with(|spec| spec.ports[1].remotes[0].receives = false);
    assert_eq!(world.send(A_RTP, A, &rtp(7, 1)), Err(Verdict::NoTarget));
    assert_eq!(world.send(A_RTCP, "192.0.2.1:4001", &report_of(7)), to(B_RTCP, "198.51.100.1:5001"));
}

#[test]
fn a_peer_whose_address_is_unknown_gets_nothing() {
    for unknown in ["", "0.0.0.0:4000", "198.51.100.1:0"] {
        let mut world = World::with(|spec| spec.ports[1] = port(1, unknown));
        assert_eq!(world.send(A_RTP, A, &rtp(7, 1)), Err(Verdict::NoTarget), "{unknown}");
    }
}

#[test]
fn ports_that_no_spec_names_drop_everything() {
    let mut world = World::with(|spec| {
        spec.ports.pop();
        spec.edges.clear();
    });
    assert_eq!(world.send(B_RTP, B, &rtp(7, 1)), Err(Verdict::Idle));
    assert_eq!(world.dropped(1, Verdict::Idle), 1);
    // A slot that is nobody's.
    assert_eq!(world.send(50, B, &rtp(7, 1)), Err(Verdict::Idle));
    assert_eq!(world.send(5_000_000, B, &rtp(7, 1)), Err(Verdict::Idle));
    assert_eq!(world.bridges.counters().dropped[Verdict::Idle as usize], 3);
}

#[test]
fn packets_that_were_cut_are_not_passed_on() {
    let mut world = World::new();
    let mut buffer = rtp(7, 1);
    let len = buffer.len();
    let mut packet = Packet { buffer: &mut buffer, len, truncated: true };
    let outcome = world.bridges.handle_packet(world.now(), Slot(A_RTP), address(A), &mut packet);
    assert_eq!(outcome, Err(Verdict::Oversize));
    (packet.len, packet.truncated) = (5000, false);
    let outcome = world.bridges.handle_packet(world.now(), Slot(A_RTP), address(A), &mut packet);
    assert_eq!(outcome, Err(Verdict::Oversize));
}

#[test]
fn one_family_reaches_the_other() {
    let v6 = "[2001:db8::1]:4000";
    let mut world = World::with(|spec| spec.ports[0] = port(0, v6));
    assert_eq!(world.send(A_RTP, v6, &rtp(7, 1)), to(B_RTP, B));
    assert_eq!(world.send(B_RTP, B, &rtp(8, 1)), to(A_RTP, v6));
    assert_eq!(world.send(A_RTCP, "[2001:db8::1]:4001", &report_of(7)), to(B_RTCP, "198.51.100.1:5001"));
}

#[test]
fn several_sinks_get_the_same_bytes() {
    let mut world = World::with(|spec| {
        spec.ports.push(port(2, "198.51.100.2:5000"));
        spec.ports.push(port(3, "198.51.100.3:5000"));
        spec.ports[3].remotes[0].receives = false;
        spec.edges.extend([edge(0, 2, relay()), edge(0, 3, relay())]);
    });
    assert_eq!(world.send(A_RTP, A, &rtp(7, 1)), to(B_RTP, B));
    let more: Vec<_> =
        world.bridges.more_hops().iter().map(|hop| (hop.slot.0, hop.target.to_string())).collect();
    assert_eq!(more, [(4, "198.51.100.2:5000".into())]);
    assert_eq!((world.port(2).sent.packets, world.dropped(0, Verdict::NoTarget)), (1, 1));
    assert_eq!(world.bridges.counters().packets_out, 2);
    // The list is that of the last packet only.
    world.send(B_RTP, B, &rtp(8, 1)).unwrap();
    assert!(world.bridges.more_hops().is_empty());
    // With the first sink gone, the second is the answer.
    world.set(|spec| spec.ports[1].remotes[0].receives = false);
    assert_eq!(world.send(A_RTP, A, &rtp(7, 2)), to(4, "198.51.100.2:5000"));
    assert_eq!(world.dropped(0, Verdict::NoTarget), 3);
}

/// What was made for sinks that get bytes of their own, by target.
fn copies(world: &mut World) -> Vec<(String, Vec<u8>)> {
    let mut copies = Vec::new();
    world.bridges.drain_made(|hop, bytes| copies.push((hop.target.to_string(), bytes.to_vec())));
    copies
}

#[test]
fn each_of_several_sinks_gets_its_own_payload_types_and_numbers() {
    let map = |to| Transform::Relay { payload_map: vec![(0, to)], rewrite: None };
    let mut world = World::with(|spec| {
        spec.ports.extend([port(2, "198.51.100.2:5000"), port(3, "198.51.100.3:5000")]);
        spec.edges[0].transform = map(96);
        spec.edges.extend([edge(0, 2, relay()), edge(0, 3, rewritten(99, 10, 1_000))]);
    });
    let (_, target, bytes) = world.pass(A_RTP, A, &rtp(7, 1)).unwrap();
    assert_eq!((target.as_str(), bytes), ("198.51.100.2:5000", rtp(7, 1)), "whoever wants it as it is");
    let mapped = rtp_with(Header { payload_type: 96, ssrc: 7, sequence: 1, timestamp: 160, marker: false });
    let moved = rtp_with(Header { ssrc: 99, sequence: 11, timestamp: 1_160, ..Header::default() });
    assert_eq!(copies(&mut world), [(B.into(), mapped), ("198.51.100.3:5000".into(), moved)]);
    assert_eq!([1, 2, 3].map(|n| world.port(n).sent.packets), [1; 3]);
    assert_eq!(world.port(0).dropped, [], "nothing of it counts as dropped");
}

#[test]
fn each_of_several_sinks_gets_reports_of_the_stream_as_it_knows_it() {
    let mut world = World::with(|spec| {
        spec.ports.push(port(2, "198.51.100.2:5000"));
        spec.edges.extend([edge(0, 2, rewritten(99, 10, 1_000)), edge(2, 0, Transform::Drop)]);
    });
    world.talk(A_RTP, A, 7, 1..3).unwrap();
    copies(&mut world);
    let report = rtcp(0x80, 200, &[7, 0, 0, 320, 2, 344]);
    let (_, target, bytes) = world.pass(A_RTCP, "192.0.2.1:4001", &report).unwrap();
    assert_eq!((target.as_str(), bytes), ("198.51.100.1:5001", report));
    let moved = rtcp(0x80, 200, &[99, 0, 0, 1_320, 2, 344]);
    assert_eq!(copies(&mut world), [("198.51.100.2:5001".into(), moved)]);
}

#[test]
fn whoever_of_several_sinks_takes_no_events_gets_none_under_a_strange_number() {
    let mut world = World::with(|spec| {
        spec.ports.push(port(2, "198.51.100.2:5000"));
        spec.ports[1].payloads.truncate(2);
        spec.edges.push(edge(0, 2, relay()));
    });
    let event = Header { payload_type: 101, marker: true, sequence: 5, timestamp: 9, ssrc: 7 };
    let mut packet = event.to_bytes().to_vec();
    packet.extend([1, 10, 0, 160]);
    let (_, target, _) = world.pass(A_RTP, A, &packet).unwrap();
    assert_eq!((target.as_str(), world.bridges.more_hops().len()), ("198.51.100.2:5000", 0));
    assert_eq!((world.port(1).sent.packets, world.port(2).sent.packets), (0, 1));
}

#[test]
fn what_one_of_several_sinks_does_not_get_is_counted() {
    let mut world = World::with(|spec| {
        spec.ports.extend([port(2, "198.51.100.2:5000"), port(3, "198.51.100.3:5000")]);
        spec.ports[2].remotes[0].receives = false;
        spec.ports[3].remotes[0].receives = false;
        spec.edges.extend([edge(0, 2, rewritten(99, 10, 1_000)), edge(0, 3, rewritten(98, 10, 1_000))]);
    });
    assert_eq!(world.send(A_RTP, A, &rtp(7, 1)), to(B_RTP, B));
    assert_eq!(world.dropped(0, Verdict::NoTarget), 2);
    world.set(|spec| spec.edges[0].transform = Transform::Drop);
    assert_eq!(world.send(A_RTP, A, &rtp(7, 2)), Err(Verdict::NoTarget));
    assert_eq!(world.dropped(0, Verdict::NoTarget), 4);
}

#[test]
fn a_muted_sink_beside_others_hears_silence_and_they_hear_speech() {
    let mut world = World::with(|spec| {
        spec.ports.push(port(2, "198.51.100.2:5000"));
        spec.edges.push(edge(0, 2, Transform::Silence));
    });
    let (_, target, bytes) = world.pass(A_RTP, A, &rtp(7, 1)).unwrap();
    assert_eq!((target.as_str(), bytes), (B, rtp(7, 1)));
    let [(target, silent)] = &copies(&mut world)[..] else { panic!("one copy") };
    assert_eq!((target.as_str(), &silent[12..]), ("198.51.100.2:5000", &[0xff; 160][..]));
}

#[test]
fn an_edge_for_one_party_only_is_heard_by_that_party() {
    let mut world = World::with(|spec| spec.edges[0].audience = Audience::Only(Party(1)));
    assert!(world.send(A_RTP, A, &rtp(7, 1)).is_ok());
    world.set(|spec| spec.edges[0].audience = Audience::Only(Party(9)));
    assert_eq!(world.send(A_RTP, A, &rtp(7, 2)), Err(Verdict::Closed));
}

#[test]
fn a_target_that_is_a_port_of_another_bridge_is_normal() {
    // Both legs of a site on one engine: B is our own address, but a port of another call.
    let mut world = World::with(|spec| spec.ports[1] = port(1, "10.0.0.1:30100"));
    assert_eq!(world.send(A_RTP, A, &rtp(7, 1)), to(B_RTP, "10.0.0.1:30100"));
}

#[test]
fn a_port_that_would_send_to_itself_is_refused() {
    // Its own RTP, its own RTCP, and the other port of the bridge, which would send it back.
    for own in ["10.0.0.1:30002", "10.0.0.1:30003", "10.0.0.1:30000"] {
        let mut world = World::with(|spec| spec.ports[1] = port(1, own));
        assert_eq!(world.send(A_RTP, A, &rtp(7, 1)), Err(Verdict::SelfSend), "{own}");
    }
}

#[test]
fn an_echo_to_the_peer_itself_is_an_edge_like_any_other() {
    let mut world = World::with(|spec| spec.edges = vec![edge(0, 0, relay())]);
    assert_eq!(world.send(A_RTP, A, &rtp(7, 1)), to(A_RTP, A));
}

#[test]
fn what_cannot_be_done_is_said_and_changes_nothing() {
    let mut world = World::new();
    world.talk(A_RTP, A, 7, 1..3).unwrap();
    let keys = SdesKeys { suite: command::Suite::AesCm128Sha1_80, key: vec![0; 20], mki: Vec::new() };
    let ice = Ice { local: Default::default(), remote: Default::default(), lite: true };
    let check = |world: &mut World, change: &dyn Fn(&mut command::BridgeSpec), expected| {
        let before = world.spec.clone();
        assert_eq!(world.try_set(|spec| change(spec)), Err(Unsupported(expected)));
        world.spec = before;
        assert!(world.send(A_RTP, A, &rtp(7, 3)).is_ok(), "after {expected}");
    };
    let transcode = Transform::Transcode { to_payload: 77, ptime_ms: 20 };
    let what = "transcoding to a format that cannot be made here";
    check(&mut world, &|spec| spec.edges[0].transform = transcode.clone(), what);
    check(
        &mut world,
        &|spec| spec.ports[0].secure = Some(Secure::Sdes(keys.clone())),
        "a key that does not fit its suite",
    );
    check(&mut world, &|spec| spec.ports[0].ice = Some(ice.clone()), "ICE");
    check(&mut world, &|spec| spec.ports[0].port = PortIndex(7), "a port that was never opened");
    check(&mut world, &|spec| spec.edges[0].to = PortIndex(7), "an edge of a port that was never opened");
    let many = |spec: &mut command::BridgeSpec| spec.edges.extend((0..20).map(|_| edge(0, 1, relay())));
    check(&mut world, &many, "more than 16 sinks of one port");
}

#[test]
fn an_unknown_profile_passes_as_it_comes() {
    let mut world = World::with(|spec| {
        for port in &mut spec.ports {
            port.class = MediaClass::Opaque;
            port.payloads.clear();
        }
    });
    for bytes in [&[0u8; 40][..], &[0x16, 0xfe][..], &rtp(1, 1)] {
        assert_eq!(world.pass(A_RTP, A, bytes), Ok((B_RTP, B.into(), bytes.to_vec())));
    }
    assert_eq!(world.send(A_RTCP, "192.0.2.1:4001", &[1, 2, 3]), to(B_RTCP, "198.51.100.1:5001"));
    assert_eq!(world.send(A_RTP, A, &[]), Err(Verdict::Short));
    assert!(world.port(0).streams.is_empty());
}

#[test]
fn the_mark_of_a_port_is_what_its_spec_says() {
    let mut world = World::new();
    assert_eq!((world.bridges.dscp(Slot(A_RTP)), world.bridges.dscp(Slot(B_RTCP))), (46, 46));
    world.set(|spec| spec.ports[1].dscp = 10);
    assert_eq!((world.bridges.dscp(Slot(A_RTP)), world.bridges.dscp(Slot(B_RTCP))), (46, 10));
}
