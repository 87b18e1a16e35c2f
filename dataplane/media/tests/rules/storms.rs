//! Random specs and packets: whatever comes, strangers get no media and nothing breaks.

use crate::world::*;
use command::{Accept, BridgeSpec, Learn, MediaClass, Phase, RemoteTag, RtcpMux, SendTo, Transform};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Packet { slot: u32, source: usize, bytes: Vec<u8> },
    Media { slot: u32, source: usize, ssrc: u32, sequence: u16, payload_type: u8 },
    Wait(u64),
    Set { port: usize, what: u8, value: u8 },
    Timers,
}

const SOURCES: [&str; 6] = [A, B, STRANGER, "192.0.2.1:4001", "203.0.113.1:1", "[2001:db8::1]:9"];

fn step() -> impl Strategy<Value = Step> {
    let source = 0..SOURCES.len();
    prop_oneof![
        4 => (0..5u32, source.clone(), 0..3u32, 0..20u16, prop_oneof![Just(0u8), any::<u8>()]).prop_map(
            |(slot, source, ssrc, sequence, payload_type)| Step::Media { slot, source, ssrc, sequence, payload_type }
        ),
        2 => (0..5u32, source, proptest::collection::vec(any::<u8>(), 0..100))
            .prop_map(|(slot, source, bytes)| Step::Packet { slot, source, bytes }),
        2 => (0..5_000u64).prop_map(Step::Wait),
        1 => (0..2usize, 0..14u8, any::<u8>()).prop_map(|(port, what, value)| Step::Set { port, what, value }),
        1 => Just(Step::Timers),
    ]
}

fn change(spec: &mut BridgeSpec, index: usize, what: u8, value: u8) {
    let port = &mut spec.ports[index];
    match what {
        0 => {
            let all = [Learn::Window, Learn::Strict, Learn::Signalled, Learn::Handover];
            port.learn = all[usize::from(value % 4)];
        }
        1 => {
            let all = [Accept::Locked, Accept::Any, Accept::AnyThenLocked, Accept::Signalled];
            port.accept = all[usize::from(value % 4)];
        }
        2 => port.send_to = if value.is_multiple_of(2) { SendTo::Learned } else { SendTo::Signalled },
        3 => port.mux = [RtcpMux::Separate, RtcpMux::Muxed, RtcpMux::Offered][usize::from(value % 3)],
        4 => port.class = [MediaClass::Rtp, MediaClass::Udptl, MediaClass::Opaque][usize::from(value % 3)],
        5 => port.remotes = vec![remote(0, SOURCES[usize::from(value) % SOURCES.len()]), remote(1, "")],
        6 => port.active = [None, Some(RemoteTag(0)), Some(RemoteTag(1))][usize::from(value % 3)],
        7 => port.remotes.iter_mut().for_each(|remote| remote.sends = value.is_multiple_of(2)),
        8 => port.remotes.iter_mut().for_each(|remote| remote.receives = value.is_multiple_of(2)),
        9 => spec.phase = [Phase::Early, Phase::Active, Phase::Held][usize::from(value % 3)],
        10 => spec.edges[index].transform = if value.is_multiple_of(2) { relay() } else { Transform::Drop },
        11 => spec.edges[index].transform = rewritten(value.into(), 7, 9),
        12 => port.remotes.clear(),
        _ => port.payloads.truncate(usize::from(value % 3)),
    }
}

/// Whether a packet went no further: digits for somebody who takes no events are looked at here.
fn play(world: &mut World, step: &Step) -> bool {
    match step {
        Step::Packet { slot, source, bytes } => {
            return world.take(*slot, SOURCES[*source], bytes) == Ok(None);
        }
        Step::Media { slot, source, ssrc, sequence, payload_type } => {
            let mut packet = rtp(*ssrc, *sequence);
            packet[1] = *payload_type;
            return world.take(*slot, SOURCES[*source], &packet) == Ok(None);
        }
        Step::Wait(ms) => world.wait(*ms),
        Step::Set { port, what, value } => drop(world.try_set(|spec| change(spec, *port, *what, *value))),
        Step::Timers => world.bridges.handle_timeout(world.now()),
    }
    false
}

proptest! {
    #[test]
    fn any_specs_and_packets_are_survived_and_add_up(steps in proptest::collection::vec(step(), 1..200)) {
        let mut world = World::new();
        let (mut kept, mut made) = (0, 0);
        for step in &steps {
            kept += u64::from(play(&mut world, step));
            world.events();
            world.bridges.drain_made(|_, _| made += 1);
        }
        let counters = world.bridges.counters().clone();
        let lost: u64 = counters.dropped.iter().sum();
        let (came, went) = (counters.packets_in + made, counters.packets_out + lost + kept);
        // What is made here can be lost, too.
        prop_assert!(came == went || kept > 0 && came < went, "{came} came or were made, {went} went");
        let report = world.report();
        let sent: u64 = report.ports.iter().map(|port| port.sent.packets + port.rtcp_sent).sum();
        prop_assert_eq!(sent, counters.packets_out);
    }

    /// The SDP's own sources talk, strangers try everything: nothing of theirs passes and nothing is sent to them.
    #[test]
    fn after_the_lock_strangers_neither_speak_nor_hear(steps in proptest::collection::vec(step(), 1..300)) {
        let mut world = World::new();
        let mut numbers = 1_000u16;
        let mut talk = |world: &mut World| {
            numbers = numbers.wrapping_add(1);
            for (slot, source, other) in [(A_RTP, A, B), (B_RTP, B, A)] {
                assert_eq!(world.send(slot, source, &rtp(0x5eed, numbers)), to(2 - slot, other));
            }
            for (slot, source, other) in [(A_RTCP, "192.0.2.1:4001", "198.51.100.1:5001"),
                (B_RTCP, "198.51.100.1:5001", "192.0.2.1:4001")] {
                assert_eq!(world.send(slot, source, &report_of(0x5eed)), to(4 - slot, other));
            }
        };
        talk(&mut world);
        for step in &steps {
            match step {
                Step::Packet { source, .. } | Step::Media { source, .. } if ![2, 4, 5].contains(source) => continue,
                Step::Set { .. } => world.set(|_| {}),
                _ => {}
            }
            let before = world.bridges.counters().packets_out;
            play(&mut world, &match step {
                Step::Set { .. } => Step::Timers,
                other => other.clone(),
            });
            prop_assert_eq!(world.bridges.counters().packets_out, before);
            talk(&mut world);
        }
        prop_assert_eq!((world.port(0).moves, world.port(1).moves), (0, 0));
    }
}
