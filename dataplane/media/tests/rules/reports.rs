//! RTCP: what it tells, what it hides, how it follows a rewrite.

use crate::world::*;
use base::Duration;
use command::{Payload, Verdict};

const A_C: &str = "192.0.2.1:4001";
const B_C: &str = "198.51.100.1:5001";

/// A sender report of `ssrc` with one block about `about`.
fn sender_report(ssrc: u32, ntp: [u32; 2], about: u32, fraction: u32, last_sr: u32, delay: u32) -> Vec<u8> {
    let block = [about, fraction << 24, 5, 0, last_sr, delay];
    let words = [&[ssrc, ntp[0], ntp[1], 800, 5, 800][..], &block].concat();
    rtcp(0x81, 200, &words)
}

#[test]
fn loss_that_the_far_end_reports_belongs_to_the_stream_it_hears() {
    let mut world = World::new();
    world.talk(A_RTP, A, 7, 1..5).unwrap();
    world.talk(B_RTP, B, 8, 1..5).unwrap();
    world.send(B_RTCP, B_C, &sender_report(8, [1, 2], 7, 64, 0, 0)).unwrap();
    assert_eq!(world.port(0).streams[0].reported_loss, Some(64));
    assert_eq!(world.port(1).streams[0].reported_loss, None);
}

#[test]
fn the_round_trip_is_told_by_a_report_that_echoes_what_passed_here() {
    let mut world = World::new();
    world.talk(A_RTP, A, 7, 1..5).unwrap();
    world.talk(B_RTP, B, 8, 1..5).unwrap();
    // A's sender report passes; B holds it for half a second; B is 40 ms away.
    world.send(A_RTCP, A_C, &sender_report(7, [0xabcd_1234, 0x5678_0000], 8, 0, 0, 0)).unwrap();
    world.wait(540);
    world.send(B_RTCP, B_C, &sender_report(8, [1, 2], 7, 0, 0x1234_5678, 32_768)).unwrap();
    assert_eq!(world.port(0).streams[0].round_trip, Some(Duration::from_millis(40)));
    assert_eq!(world.port(1).streams[0].round_trip, None);
}

#[test]
fn reports_follow_a_rewrite_both_ways() {
    let mut world = World::with(|spec| spec.edges[0].transform = rewritten(99, 1000, 50_000));
    world.talk(A_RTP, A, 7, 1..5).unwrap();
    world.talk(B_RTP, B, 8, 1..5).unwrap();
    // A's report towards B speaks of 99.
    let (_, _, bytes) = world.pass(A_RTCP, A_C, &sender_report(7, [3, 4], 8, 0, 0, 0)).unwrap();
    let mut expected = sender_report(99, [3, 4], 8, 0, 0, 0);
    expected[16..20].copy_from_slice(&(800u32 + 50_000).to_be_bytes());
    assert_eq!(bytes, expected);
    // B's report about 99 speaks of 7 towards A, in A's numbers, and counts for A's stream.
    let mut about = sender_report(8, [5, 6], 99, 32, 0, 0);
    about[36..40].copy_from_slice(&1005u32.to_be_bytes());
    let (_, _, bytes) = world.pass(B_RTCP, B_C, &about).unwrap();
    assert_eq!(bytes, sender_report(8, [5, 6], 7, 32, 0, 0));
    assert_eq!(world.port(0).streams[0].reported_loss, Some(32));
}

#[test]
fn a_report_that_cannot_be_mapped_is_dropped() {
    let mut world = World::with(|spec| spec.edges[0].transform = rewritten(99, 1000, 50_000));
    world.talk(A_RTP, A, 7, 1..5).unwrap();
    assert_eq!(world.send(A_RTCP, A_C, &report_of(1234)), Err(Verdict::Unmapped));
    // A block about nobody is taken out of a report that is mapped.
    world.talk(B_RTP, B, 8, 1..5).unwrap();
    let (_, _, bytes) = world.pass(B_RTCP, B_C, &sender_report(8, [5, 6], 4444, 32, 0, 0)).unwrap();
    assert_eq!(bytes, rtcp(0x80, 200, &[8, 5, 6, 800, 5, 800]));
}

#[test]
fn cnames_are_hidden() {
    let mut world = World::new();
    let mut bytes = report_of(7);
    bytes.extend(rtcp(0x81, 202, &[7, u32::from_be_bytes(*b"\x01\x0auv"), 0, 0, 0]));
    let name = bytes.len() - 14..bytes.len() - 4;
    bytes[name.clone()].copy_from_slice(b"u@10.0.0.9");
    let (_, _, passed) = world.pass(A_RTCP, A_C, &bytes).unwrap();
    assert_eq!(passed.len(), bytes.len());
    assert_ne!(passed[name.clone()], bytes[name.clone()]);
    assert!(passed[name.clone()].is_ascii());
    // The same for as long as the bridge lives, and another in another bridge.
    assert_eq!(world.pass(A_RTCP, A_C, &bytes).unwrap().2, passed);
    let mut other = World::new();
    other.id = command::BridgeId::new(0, 0, 3, 2);
    let spec = other.spec.clone();
    for index in 0..2u16 {
        let slot = 10 + u32::from(index) * 2;
        let open = media::OpenPort {
            port: command::PortIndex(index),
            local: address("10.0.0.1:31000"),
            rtp: media::Slot(slot),
            rtcp: media::Slot(slot + 1),
        };
        other.bridges.open(other.now(), other.id, open).unwrap();
    }
    other.bridges.set(other.now(), other.id, &spec).unwrap();
    assert_ne!(other.pass(11, A_C, &bytes).unwrap().2, passed);
}

#[test]
fn streams_are_told_with_loss_and_jitter_by_their_own_clock() {
    let mut world = World::new();
    world.talk(A_RTP, A, 7, 1..11).unwrap();
    world.talk(A_RTP, A, 7, 13..20).unwrap();
    let stream = world.port(0).streams[0];
    assert_eq!((stream.ssrc, stream.payload, stream.packets, stream.lost), (7, 0, 17, 2));
    // Two numbers were skipped without time passing: 40 ms once, smoothed by 16 and fading since.
    let millis = stream.jitter_max.as_secs_f64() * 1e3;
    assert!((2.4..=2.5).contains(&millis), "{millis}");
    assert!(stream.jitter < stream.jitter_max);
}

#[test]
fn a_listener_far_away_hears_both_ways_of_the_delay_and_what_the_negotiated_codec_costs() {
    let g729 = Payload { number: 0, clock: 8_000, encoding: "g729".into(), fmtp: String::new() };
    let mut world = World::with(|spec| spec.ports[0].payloads = vec![g729]);
    for sequence in 1..61 {
        world.send(A_RTP, A, &rtp(7, sequence)).unwrap();
        world.send(B_RTP, B, &rtp(8, sequence)).unwrap();
        world.wait(20);
    }
    let rated = |world: &World| [0, 1].map(|n| world.port(n).streams[0].r_factor.unwrap());
    let [from_a, from_b] = rated(&world);
    assert!((from_a - 81.72).abs() < 0.01 && (from_b - 92.72).abs() < 0.01, "{from_a} {from_b}");
    // B is 400 ms away and back: half of it stands before what B sends as well as after what A sends.
    world.send(A_RTCP, A_C, &sender_report(7, [0xabcd_1234, 0x5678_0000], 8, 0, 0, 0)).unwrap();
    world.wait(400);
    world.send(B_RTCP, B_C, &sender_report(8, [1, 2], 7, 0, 0x1234_5678, 0)).unwrap();
    let cost = 0.024 * 200.0 + 0.11 * (220.0 - 177.3);
    for (before, after) in [from_a, from_b].into_iter().zip(rated(&world)) {
        assert!((before - after - cost).abs() < 0.01, "{before} {after}");
    }
    let (port, stream) = (world.port(0), world.port(0).streams[0]);
    assert!(
        port.mos() == stream.mos && stream.mos.is_some_and(|mos| (3.0..4.0).contains(&mos)),
        "{stream:?}"
    );
}
