//! "Silence".

use crate::world::*;
use base::Duration;
use command::{BridgeSpec, Event, Party, Phase, PortIndex};

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Both have talked and told where they are; nothing waits.
fn talking() -> World {
    let mut world = World::new();
    world.send(A_RTP, A, &rtp(7, 1)).unwrap();
    world.send(B_RTP, B, &rtp(8, 1)).unwrap();
    world.events();
    world
}

fn silent(world: &World, n: u64) -> Event {
    Event::Silent { bridge: world.id, silent: seconds(n) }
}

fn one_side(world: &World, port: u16, n: u64) -> Event {
    Event::OneSideSilent { bridge: world.id, port: PortIndex(port), silent: seconds(n) }
}

#[test]
fn one_side_silent_for_thirty_seconds_is_told_once() {
    let mut world = talking();
    for n in 2..100 {
        world.send(A_RTP, A, &rtp(7, n)).unwrap();
        let events = world.run(1_000);
        let expected = if n == 31 { vec![one_side(&world, 1, 30)] } else { vec![] };
        assert_eq!(events, expected, "after {} s", n - 1);
    }
}

#[test]
fn it_is_told_again_after_the_side_was_heard() {
    let mut world = talking();
    let keep = |world: &mut World, s: u64| {
        let mut events = Vec::new();
        for _ in 0..s {
            world.send(A_RTP, A, &rtp(7, 2)).unwrap();
            events.extend(world.run(1_000).into_iter().map(|event| (world.ms() / 1000, event)));
        }
        events
    };
    assert_eq!(keep(&mut world, 40), [(30, one_side(&world, 1, 30))]);
    world.send(B_RTP, B, &rtp(8, 2)).unwrap(); // heard at 40 s
    assert_eq!(keep(&mut world, 60), [(70, one_side(&world, 1, 30))]);
}

#[test]
fn both_silent_for_sixty_seconds_ends_the_call() {
    let mut world = talking();
    assert_eq!(world.run(29_900), []);
    assert_eq!(world.run(10_000), [one_side(&world, 0, 30), one_side(&world, 1, 30)]);
    assert_eq!(world.run(29_900), []);
    assert_eq!(world.run(200), [silent(&world, 60)]);
    assert_eq!(world.run(600_000), [], "told once");
}

#[test]
fn a_call_that_never_had_media_is_silent_from_the_answer_on() {
    let mut world = World::new();
    world.run(40_000);
    assert_eq!(world.run(60_000), [silent(&world, 60)]);
}

#[test]
fn the_clock_starts_at_the_answer() {
    let mut world = World::with(|spec| spec.phase = Phase::Early);
    assert_eq!(world.run(3_600_000), []);
    world.set(|spec| spec.phase = Phase::Active);
    assert_eq!(world.run(29_900), []);
    assert_eq!(world.run(200).len(), 2);
}

#[test]
fn rtcp_counts_as_life() {
    let mut world = talking();
    for _ in 0..50 {
        world.send(A_RTCP, "192.0.2.1:4001", &report_of(7)).unwrap();
        world.send(B_RTCP, "198.51.100.1:5001", &report_of(8)).unwrap();
        world.events();
        assert_eq!(world.run(5_000), []);
    }
}

#[test]
fn foreign_packets_are_no_life() {
    let mut world = talking();
    let mut told = Vec::new();
    for _ in 0..70 {
        let _ = world.send(A_RTP, STRANGER, &rtp(99, 2));
        told.extend(world.run(1_000));
    }
    assert!(told.contains(&silent(&world, 60)), "{told:?}");
}

#[test]
fn media_that_is_dropped_at_a_closed_edge_is_life() {
    let mut world = talking();
    world.set(|spec| spec.edges.clear());
    for n in 2..100 {
        let _ = world.send(A_RTP, A, &rtp(7, n));
        let _ = world.send(B_RTP, B, &rtp(8, n));
        assert_eq!(world.run(1_000), []);
    }
}

#[test]
fn only_sides_that_should_send_can_be_silent() {
    let mut world = talking();
    world.set(|spec| spec.ports[1].remotes[0].sends = false);
    assert_eq!(world.run(31_000), [one_side(&world, 0, 30)]);
    assert_eq!(world.run(60_000), [silent(&world, 60)], "for the other one is not expected");
}

#[test]
fn a_side_that_begins_to_send_has_its_time_from_then_on() {
    let mut world = World::with(|spec| spec.ports[1].remotes[0].sends = false);
    for n in 1..50 {
        world.send(A_RTP, A, &rtp(7, n)).unwrap();
        world.events();
        assert_eq!(world.run(1_000), []);
    }
    world.set(|spec| spec.ports[1].remotes[0].sends = true);
    for n in 50..79 {
        world.send(A_RTP, A, &rtp(7, n)).unwrap();
        assert_eq!(world.run(1_000), []);
    }
    assert_eq!(world.run(1_000), [one_side(&world, 1, 30)]);
}

#[test]
fn on_hold_four_hours_may_be_silent() {
    let hold = |spec: &mut BridgeSpec| {
        spec.phase = Phase::Held;
        spec.ports.iter_mut().for_each(|port| port.remotes[0].sends = false);
    };
    let mut world = talking();
    world.run(25_000);
    world.set(hold);
    assert_eq!(world.run(4 * 3_600_000 - 100), []);
    assert_eq!(world.run(200), [silent(&world, 4 * 3600)]);
    // Music on hold is life.
    let mut world = talking();
    world.set(hold);
    for n in 0..9 {
        world.send(A_RTP, A, &rtp(7, n + 2)).unwrap();
        assert_eq!(world.run(3_600_000), []);
    }
}

#[test]
fn resuming_starts_the_clock_anew() {
    let mut world = talking();
    world.set(|spec| spec.phase = Phase::Held);
    world.run(1_000_000);
    world.set(|spec| spec.phase = Phase::Active);
    assert_eq!(world.run(29_900), []);
    assert_eq!(world.run(200).len(), 2);
}

#[test]
fn an_answered_call_in_which_nobody_should_send_is_on_hold() {
    let mut world = World::with(|spec| spec.ports.iter_mut().for_each(|port| port.remotes[0].sends = false));
    assert_eq!(world.run(4 * 3_600_000 - 100), []);
    assert_eq!(world.run(200), [silent(&world, 4 * 3600)]);
}

#[test]
fn video_that_lives_is_life_of_its_party() {
    let mut world = World::with(|spec| {
        spec.ports.push(port(2, "192.0.2.1:4002"));
        spec.ports[2].party = Party(0);
        spec.edges.push(edge(2, 1, relay()));
    });
    for n in 1..200 {
        world.send(4, "192.0.2.1:4002", &rtp(70, n)).unwrap();
        world.send(B_RTP, B, &rtp(8, n)).unwrap();
        world.events();
        assert_eq!(world.run(1_000), []);
    }
    // Then both of A's ports fall silent: told once, by the first.
    let mut told = Vec::new();
    for n in 200..260 {
        world.send(B_RTP, B, &rtp(8, n)).unwrap();
        told.extend(world.run(1_000));
    }
    assert_eq!(told, [one_side(&world, 0, 30)]);
}

#[test]
fn timeouts_may_be_changed_and_switched_off() {
    let mut world = talking();
    world.set(|spec| (spec.timeouts.one, spec.timeouts.both) = (None, Some(seconds(5))));
    assert_eq!(world.run(4_900), []);
    assert_eq!(world.run(200), [silent(&world, 5)]);
    let mut world = talking();
    world.set(|spec| (spec.timeouts.one, spec.timeouts.both) = (None, None));
    assert_eq!(world.run(1_000_000), []);
    assert_eq!(world.bridges.poll_timeout(), None);
}

#[test]
fn a_silent_bridge_wakes_the_shard_seldom() {
    let mut world = talking();
    let mut wakes = 0;
    for second in 0..3_600u64 {
        world.send(A_RTP, A, &rtp(7, second as u16)).unwrap();
        world.send(B_RTP, B, &rtp(8, second as u16)).unwrap();
        world.wait(1_000);
        if world.bridges.poll_timeout().is_some_and(|(at, _)| at <= world.now().mono) {
            world.bridges.handle_timeout(world.now());
            wakes += 1;
        }
    }
    assert!(wakes <= 3_600 / 25, "{wakes} in an hour");
}
