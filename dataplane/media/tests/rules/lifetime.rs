//! Opening, closing, orphans, counters, bounds.

use crate::world::*;
use base::Duration;
use command::{BridgeId, Event, Generation, OpenRefusal, PortIndex, Verdict};
use media::{Bridges, OpenPort, Slot, Unsupported};

fn open_port(index: u16, slot: u32) -> OpenPort {
    OpenPort {
        port: PortIndex(index),
        local: address("10.0.0.1:30000"),
        rtp: Slot(slot),
        rtcp: Slot(slot + 1),
    }
}

fn bridge(serial: u64) -> BridgeId {
    BridgeId::new(0, 0, 3, serial)
}

#[test]
fn a_closed_bridge_gives_its_sockets_back_and_tells_what_it_saw() {
    let mut world = World::new();
    world.talk(A_RTP, A, 7, 1..5).unwrap();
    let mut freed = Vec::new();
    let report = world.bridges.close(world.now(), world.id, |rtp, rtcp| freed.push((rtp.0, rtcp.0))).unwrap();
    assert_eq!(freed, [(0, 1), (2, 3)]);
    assert_eq!((report.ports.len(), report.ports[0].received.packets), (2, 4));
    assert_eq!(world.send(A_RTP, A, &rtp(7, 5)), Err(Verdict::Idle));
    assert!(world.bridges.is_empty() && world.bridges.report(world.now(), world.id).is_none());
    assert!(world.bridges.close(world.now(), world.id, |_, _| panic!("freed twice")).is_none());
    // Its timers are nobody's, and its slots can be taken again.
    world.events();
    assert_eq!(world.run(1_000_000), []);
    assert_eq!(world.bridges.open(world.now(), bridge(2), open_port(0, 0)), Ok(()));
    assert_eq!(world.send(A_RTP, A, &rtp(7, 5)), Err(Verdict::Idle));
}

#[test]
fn there_is_room_for_so_many_and_no_more() {
    let mut bridges = Bridges::new(now(0), config());
    for n in 0..8u32 {
        assert!(bridges.has_room(bridge(n.into()), 1));
        assert_eq!(bridges.open(now(0), bridge(n.into()), open_port(0, n * 2)), Ok(()));
    }
    assert!(!bridges.has_room(bridge(8), 1));
    assert_eq!(bridges.open(now(0), bridge(8), open_port(0, 16)), Err(OpenRefusal::Full));
    assert!(bridges.has_room(bridge(0), 24) && !bridges.has_room(bridge(0), 25));
    assert_eq!(bridges.next_port(bridge(0)), PortIndex(1));
    // A slot that is taken, one that does not exist, an index out of order.
    assert_eq!(bridges.open(now(0), bridge(0), open_port(1, 2)), Err(OpenRefusal::Full));
    assert_eq!(bridges.open(now(0), bridge(0), open_port(1, 64)), Err(OpenRefusal::Full));
    assert_eq!(bridges.open(now(0), bridge(0), open_port(5, 20)), Err(OpenRefusal::Full));
    assert_eq!(bridges.open(now(0), bridge(0), open_port(1, 20)), Ok(()));
    let slots: Vec<_> = bridges.slots(bridge(0)).map(|(port, rtp, rtcp)| (port.0, rtp.0, rtcp.0)).collect();
    assert_eq!(slots, [(0, 0, 1), (1, 20, 21)]);
    assert_eq!(bridges.len(), 8);
}

#[test]
fn a_spec_for_a_bridge_that_does_not_exist_is_refused() {
    let world = World::new();
    let mut bridges = Bridges::new(now(0), config());
    let refused = Err(Unsupported("a bridge that was never opened"));
    assert_eq!(bridges.set(now(0), world.id, &world.spec), refused);
}

#[test]
fn orphans_live_on_until_their_time_is_over() {
    let mut world = World::new();
    world.bridges.hello(world.now(), 3, Generation(2));
    world.talk(A_RTP, A, 7, 1..5).unwrap();
    world.events();
    assert_eq!(world.bridges.poll_orphan(), None);
    world.wait(299_900);
    assert_eq!(world.bridges.poll_orphan(), None);
    assert!(world.send(A_RTP, A, &rtp(7, 5)).is_ok());
    world.wait(100);
    assert!(world.bridges.poll_timeout().is_some_and(|(at, _)| at <= world.now().mono));
    world.bridges.handle_timeout(world.now());
    assert_eq!(world.bridges.poll_orphan(), Some(world.id));
    assert_eq!(world.bridges.poll_orphan(), None);
}

#[test]
fn a_set_adopts_an_orphan() {
    let mut world = World::new();
    world.bridges.hello(world.now(), 3, Generation(2));
    world.wait(1_000);
    world.set(|_| {});
    world.bridges.hello(world.now(), 3, Generation(2)); // said twice, changes nothing
    world.wait(600_000);
    world.bridges.handle_timeout(world.now());
    assert_eq!(world.bridges.poll_orphan(), None);
}

#[test]
fn only_bridges_of_that_signalling_shard_become_orphans() {
    let mut world = World::new();
    world.bridges.hello(world.now(), 4, Generation(2));
    world.wait(600_000);
    world.bridges.handle_timeout(world.now());
    assert_eq!(world.bridges.poll_orphan(), None);
}

#[test]
fn events_that_find_no_place_are_counted() {
    let mut bridges = Bridges::new(now(0), media::BridgesConfig { events_max: 1, ..config() });
    let world = World::new();
    for index in 0..2 {
        bridges.open(now(0), world.id, open_port(index, u32::from(index) * 2)).unwrap();
    }
    bridges.set(now(0), world.id, &world.spec).unwrap();
    for (slot, source) in [(A_RTP, A), (B_RTP, B)] {
        let mut buffer = rtp(7, 1);
        let len = buffer.len();
        let mut packet = media::Packet { buffer: &mut buffer, len, truncated: false };
        let _ = bridges.handle_packet(now(0), Slot(slot), address(source), &mut packet);
    }
    assert!(matches!(bridges.poll_event(), Some(Event::Learned { .. })));
    assert_eq!((bridges.poll_event(), bridges.counters().events_lost), (None, 1));
}

#[test]
fn what_the_kernel_did_not_do_is_counted_at_the_port() {
    let mut world = World::new();
    world.bridges.handle_send_failed(Slot(B_RTP));
    world.bridges.handle_send_failed(Slot(40));
    world.bridges.set_kernel_drops(Slot(A_RTP), 5);
    world.bridges.set_kernel_drops(Slot(A_RTP), 7);
    world.bridges.set_kernel_drops(Slot(A_RTCP), 1);
    assert_eq!((world.dropped(1, Verdict::SendFailed), world.port(0).kernel_drops), (1, 8));
    assert_eq!(world.bridges.counters().dropped[Verdict::SendFailed as usize], 2);
}

#[test]
fn a_port_that_is_no_longer_named_falls_idle_and_may_come_back() {
    let mut world = World::new();
    world.talk(B_RTP, B, 8, 1..5).unwrap();
    let spec = world.spec.clone();
    world.set(|spec| {
        spec.ports.pop();
        spec.edges.clear();
    });
    assert_eq!(world.send(B_RTP, B, &rtp(8, 5)), Err(Verdict::Idle));
    world.set(|now| *now = spec);
    assert!(world.send(B_RTP, B, &rtp(8, 6)).is_ok());
    assert_eq!(world.port(1).received.packets, 5);
}

#[test]
fn the_time_of_waking_has_a_reason() {
    let mut world = World::new();
    let (at, why) = world.bridges.poll_timeout().unwrap();
    assert_eq!((at.since(world.now().mono), why), (Duration::from_secs(30), "silence"));
    world.bridges.hello(world.now(), 3, Generation(9));
    world.set(|spec| (spec.timeouts.one, spec.timeouts.both) = (None, None));
    world.bridges.hello(world.now(), 3, Generation(10));
    world.run(40_000);
    assert_eq!(world.bridges.poll_timeout().unwrap().1, "orphan");
}
