//! "Classes and m-lines".

use crate::world::*;
use command::{MediaClass, Verdict};

const T38: [u8; 6] = [0, 1, 5, 6, 7, 8];

fn set_class(world: &mut World, class: MediaClass) {
    world.set(|spec| {
        for port in &mut spec.ports {
            port.class = class;
        }
    });
}

#[test]
fn on_a_port_of_rtp_everything_else_is_named_and_dropped() {
    let mut world = World::new();
    world.talk(A_RTP, A, 7, 1..3).unwrap();
    let mut check = |slot, bytes: &[u8], expected| {
        assert_eq!(world.send(slot, A, bytes), Err(expected), "{bytes:x?}");
    };
    check(A_RTP, &[], Verdict::Short);
    check(A_RTP, &[0x80; 5], Verdict::Short);
    check(A_RTP, &[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42], Verdict::Stun);
    check(A_RTP, &[22, 254, 253, 0], Verdict::Dtls);
    check(A_RTP, &[64; 20], Verdict::NotRtp);
    check(A_RTP, b"\r\n\r\n", Verdict::NotRtp);
    check(A_RTP, &[0x40; 1], Verdict::Short);
    check(A_RTP, &[0x7f; 20], Verdict::Version);
    check(A_RTP, &[0x8f; 20], Verdict::Malformed);
    check(A_RTCP, &[0x80, 201, 0, 9, 0, 0, 0, 1], Verdict::Malformed);
    check(A_RTCP, &rtp(7, 3), Verdict::NotRtp);
}

#[test]
fn udptl_is_opaque_whatever_its_first_byte_looks_like() {
    let mut world = World::with(|spec| {
        for port in &mut spec.ports {
            port.class = MediaClass::Udptl;
        }
    });
    for first in [0, 1, 22, 64, 128, 200, 255] {
        let bytes = [first, 9, 1, 2, 3];
        assert_eq!(world.pass(A_RTP, A, &bytes), Ok((B_RTP, B.into(), bytes.to_vec())));
    }
    assert_eq!((world.port(0).received.packets, world.port(0).streams.len()), (7, 0));
    assert_eq!(world.send(A_RTCP, "192.0.2.1:4001", &report_of(7)), Err(Verdict::NotRtp));
}

#[test]
fn between_audio_and_image_both_are_taken_for_two_seconds() {
    let mut world = World::new();
    world.talk(A_RTP, A, 7, 1..5).unwrap();
    set_class(&mut world, MediaClass::Udptl);
    world.wait(1_900);
    assert!(world.send(A_RTP, A, &T38).is_ok());
    assert!(world.send(A_RTP, A, &rtp(7, 5)).is_ok());
    assert!(world.send(A_RTCP, "192.0.2.1:4001", &report_of(7)).is_ok());
    assert_eq!(world.port(0).streams[0].packets, 5);
    world.wait(100);
    // From now on what looks like RTP is fax as well, and there is no RTCP.
    assert!(world.send(A_RTP, A, &rtp(7, 6)).is_ok());
    assert_eq!(world.port(0).streams[0].packets, 5);
    assert_eq!(world.send(A_RTCP, "192.0.2.1:4001", &report_of(7)), Err(Verdict::NotRtp));
}

#[test]
fn fax_that_looks_like_an_unknown_stream_is_fax_from_the_start() {
    let mut world = World::new();
    world.talk(A_RTP, A, 7, 1..5).unwrap();
    set_class(&mut world, MediaClass::Udptl);
    assert!(world.send(A_RTP, A, &rtp(1234, 5)).is_ok());
    assert_eq!(world.port(0).streams.len(), 1);
}

#[test]
fn after_a_refusal_the_port_is_audio_again() {
    let mut world = World::new();
    world.talk(A_RTP, A, 7, 1..5).unwrap();
    set_class(&mut world, MediaClass::Udptl);
    set_class(&mut world, MediaClass::Rtp);
    assert!(world.send(A_RTP, A, &T38).is_ok());
    assert!(world.send(A_RTP, A, &rtp(7, 5)).is_ok());
    world.wait(2_000);
    assert_eq!(world.send(A_RTP, A, &T38), Err(Verdict::Stun));
    assert!(world.send(A_RTP, A, &rtp(7, 6)).is_ok());
    assert_eq!(world.port(0).streams[0].packets, 6);
}

#[test]
fn late_fax_on_a_port_that_is_audio_again_teaches_nothing() {
    let mut world = World::new();
    set_class(&mut world, MediaClass::Udptl);
    set_class(&mut world, MediaClass::Rtp);
    assert_eq!(world.send(A_RTP, STRANGER, &T38), Err(Verdict::SourceUnknown));
    assert_eq!(world.port(0).learned, None);
}

#[test]
fn the_lock_survives_the_change_where_the_address_is_the_same() {
    let mut world = World::new();
    world.talk(A_RTP, "192.0.2.1:4444", 7, 1..5).unwrap();
    set_class(&mut world, MediaClass::Udptl);
    assert_eq!(world.send(A_RTP, STRANGER, &T38), Err(Verdict::SourceLocked));
    assert_eq!(world.send(B_RTP, B, &T38), to(A_RTP, "192.0.2.1:4444"));
}
