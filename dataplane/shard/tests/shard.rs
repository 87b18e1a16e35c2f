//! A whole shard with real sockets on loopback, on every back end.
#![expect(clippy::disallowed_methods, reason = "tests with real sockets wait in real time")]

mod world;

use base::Duration;
use command::{BridgeId, Command, Event, Generation, Learn, OpenRefusal, Order, PortIndex, Ticket, Verdict};
use shard::{BackendChoice, MediaListener, SpawnError};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;
use world::*;

/// Makes a test of each behaviour for each back end. A host that forbids io_uring is named, and passes.
macro_rules! suite {
    ($($behaviour:ident)+) => {
        mod with_epoll {
            $(#[test] fn $behaviour() { super::$behaviour(shard::BackendChoice::Epoll); })+
        }
        mod with_uring {
            $(#[test] fn $behaviour() {
                match shard::spawn(super::config(shard::BackendChoice::Uring)) {
                    Ok(_) => super::$behaviour(shard::BackendChoice::Uring),
                    Err(error) => println!("{error}: not tested"),
                }
            })+
        }
    };
}

suite! {
    a_call_is_relayed_both_ways_byte_for_byte
    rtcp_goes_by_the_odd_ports
    the_families_talk_to_each_other
    many_calls_lose_nothing
    an_oversize_datagram_is_dropped_and_counted
    a_foreign_source_is_dropped_and_counted
    a_call_through_two_bridges_of_ours_is_heard
    a_closed_bridge_frees_its_ports_after_a_rest
    sockets_kept_for_the_next_calls_hear_nothing_of_the_last
    nothing_is_opened_when_one_port_is_missing
    two_shards_own_disjoint_ports
    a_panic_ends_the_bridges_and_starts_the_next_generation
    ports_of_a_failed_generation_rest_first
    a_command_to_fail_is_ignored_unless_allowed
    an_order_is_answered_that_it_is_unsupported
    unknown_bridges_get_answers
    orphans_are_closed_after_their_time
    a_slow_signalling_shard_gets_every_answer_in_order
    a_command_wakes_an_idle_shard
    what_can_wait_is_done_soon_even_if_nothing_else_comes
    an_idle_shard_does_not_spin
    stopping_closes_the_sockets
}

fn a_call_is_relayed_both_ways_byte_for_byte(back_end: BackendChoice) {
    let mut world = World::start(back_end);
    let (a, b) = (Phone::at(V4), Phone::at(V4));
    let (bridge, x, y) = world.call(&a, &b);
    for (sequence, len) in (1..).zip([160, 0, 1, 20, 320, 1400, 2036]) {
        let (up, down) = (rtp(0xa, sequence, len), rtp(0xb, sequence, len));
        a.rtp.send_to(&up, x).unwrap();
        b.rtp.send_to(&down, y).unwrap();
        assert_eq!(receive(&b.rtp), (up, y));
        assert_eq!(receive(&a.rtp), (down, x));
    }
    let report = world.close(bridge);
    assert_eq!((report.ports[0].received.packets, report.ports[0].sent.packets), (7, 7));
    let stats = world.shard.stats();
    assert_eq!((stats.packets_in.get(), stats.packets_out.get(), stats.dropped_total()), (14, 14, 0));
    assert_eq!(stats.bytes_in.get(), stats.bytes_out.get());
    assert_eq!(stats.forward.counts().iter().sum::<u64>(), 14);
}

fn rtcp_goes_by_the_odd_ports(back_end: BackendChoice) {
    let mut world = World::start(back_end);
    let (a, b) = (Phone::at(V4), Phone::at(V4));
    let (bridge, x, y) = world.call(&a, &b);
    a.rtcp.send_to(&rtcp(0xa), odd(x)).unwrap();
    let (bytes, from) = receive(&b.rtcp);
    assert_eq!((&bytes[..8], from), (&rtcp(0xa)[..8], odd(y)));
    let report = world.report(bridge);
    assert_eq!((report.ports[0].rtcp_received, report.ports[1].rtcp_sent), (1, 1));
}

fn the_families_talk_to_each_other(back_end: BackendChoice) {
    let mut world = World::start(back_end);
    let (a, b) = (Phone::at(V4), Phone::at(V6));
    let (_, x, y) = world.call(&a, &b);
    assert!(x.is_ipv4() && y.is_ipv6());
    a.rtp.send_to(&rtp(0xa, 1, 160), x).unwrap();
    b.rtp.send_to(&rtp(0xb, 1, 160), y).unwrap();
    assert_eq!(receive(&b.rtp), (rtp(0xa, 1, 160), y));
    assert_eq!(receive(&a.rtp), (rtp(0xb, 1, 160), x));
}

fn many_calls_lose_nothing(back_end: BackendChoice) {
    let mut world = World::start(back_end);
    let (a, b) = (Phone::at(V4), Phone::at(V4));
    let calls: Vec<_> = (0..150).map(|_| world.call(&a, &b)).collect();
    for round in 1..=10 {
        for (ssrc, (_, x, y)) in (1..).zip(&calls) {
            a.rtp.send_to(&rtp(ssrc, round, 160), x).unwrap();
            b.rtp.send_to(&rtp(ssrc, round, 160), y).unwrap();
        }
        // Each call's packets come from that call's ports.
        for (phone, port) in [(&b, 2), (&a, 1)] {
            let seen: BTreeSet<_> = calls.iter().map(|_| receive(&phone.rtp)).collect();
            let wanted = (1..)
                .zip(&calls)
                .map(|(ssrc, call)| (rtp(ssrc, round, 160), if port == 1 { call.1 } else { call.2 }));
            assert_eq!(seen, wanted.collect());
        }
    }
    for (bridge, ..) in calls {
        assert_eq!(world.close(bridge).ports.len(), 2);
    }
    assert_eq!(world.shard.stats().listeners[0].used.get(), 0);
}

fn an_oversize_datagram_is_dropped_and_counted(back_end: BackendChoice) {
    let mut world = World::start(back_end);
    let (a, b) = (Phone::at(V4), Phone::at(V4));
    let (bridge, x, y) = world.call(&a, &b);
    a.rtp.send_to(&rtp(0xa, 1, 2037), x).unwrap();
    a.rtp.send_to(&rtp(0xa, 2, 9000), x).unwrap();
    a.rtp.send_to(&rtp(0xa, 3, 160), x).unwrap();
    assert_eq!(receive(&b.rtp), (rtp(0xa, 3, 160), y));
    assert_eq!(world.shard.stats().dropped(Verdict::Oversize), 2);
    assert_eq!(world.report(bridge).ports[0].dropped, [(Verdict::Oversize, 2)]);
}

fn a_foreign_source_is_dropped_and_counted(back_end: BackendChoice) {
    let mut world = World::start(back_end);
    let (a, b, stranger) = (Phone::at(V4), Phone::at(V4), Phone::at(V4));
    let bridge = world.bridge();
    let ports = world.try_open(bridge, &[V4, V4]).unwrap();
    // Before the spec a port belongs to nobody.
    stranger.rtp.send_to(&rtp(0xc, 1, 160), ports[0]).unwrap();
    let mut spec = relay(&[&a, &b]);
    spec.ports[0].learn = Learn::Strict;
    world.report(bridge);
    world.command(Command::Set { bridge, spec: Box::new(spec) });
    world.report(bridge);
    stranger.rtp.send_to(&rtp(0xc, 2, 160), ports[0]).unwrap();
    a.rtp.send_to(&rtp(0xa, 1, 160), ports[0]).unwrap();
    assert_eq!(receive(&b.rtp).0, rtp(0xa, 1, 160));
    let stats = world.shard.stats();
    assert_eq!((stats.packets_in.get(), stats.packets_out.get(), stats.dropped_total()), (3, 1, 2));
}

fn a_call_through_two_bridges_of_ours_is_heard(back_end: BackendChoice) {
    let mut world = World::start(back_end);
    let (a, b) = (Phone::at(V4), Phone::at(V4));
    let (one, two) = (world.bridge(), world.bridge());
    let (x, y) = (world.try_open(one, &[V4, V4]).unwrap(), world.try_open(two, &[V4, V4]).unwrap());
    // The peer of each bridge's inner port is the other bridge's inner port.
    let mut spec = relay(&[&a, &b]);
    (spec.ports[1].remotes[0].rtp, spec.ports[1].remotes[0].rtcp) = (Some(y[0]), Some(odd(y[0])));
    world.command(Command::Set { bridge: one, spec: Box::new(spec) });
    let mut spec = relay(&[&a, &b]);
    (spec.ports[0].remotes[0].rtp, spec.ports[0].remotes[0].rtcp) = (Some(x[1]), Some(odd(x[1])));
    world.command(Command::Set { bridge: two, spec: Box::new(spec) });
    world.report(two);
    a.rtp.send_to(&rtp(0xa, 1, 160), x[0]).unwrap();
    b.rtp.send_to(&rtp(0xb, 1, 160), y[1]).unwrap();
    assert_eq!(receive(&b.rtp), (rtp(0xa, 1, 160), y[1]));
    assert_eq!(receive(&a.rtp), (rtp(0xb, 1, 160), x[0]));
}

/// A range of two pairs that nobody has, below the ports that the system chooses for others.
fn two_pairs() -> MediaListener {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    loop {
        let place = std::process::id() * 16 + TRIED.fetch_add(1, Ordering::Relaxed);
        let first = 10_000 + (place % 500) as u16 * 4;
        if (first..first + 4).all(|port| UdpSocket::bind((V4, port)).is_ok()) {
            return MediaListener { listener: 0, address: V4, ports: first..=first + 3 };
        }
    }
}

fn a_closed_bridge_frees_its_ports_after_a_rest(back_end: BackendChoice) {
    let mut config = config(back_end);
    config.listeners = vec![two_pairs()];
    config.rest = Duration::from_millis(600);
    let mut world = World::with(config, ring(64));
    let (first, second) = (world.bridge(), world.bridge());
    world.try_open(first, &[V4, V4]).unwrap();
    assert_eq!(world.try_open(second, &[V4]), Err(OpenRefusal::NoPorts));
    let closed = Instant::now();
    world.close(first);
    let stats = world.shard.stats().clone();
    let gauges = &stats.listeners[0];
    assert_eq!((gauges.free.get(), gauges.resting.get(), gauges.used.get()), (0, 2, 0));
    while world.try_open(second, &[V4, V4]) == Err(OpenRefusal::NoPorts) {
        assert!(closed.elapsed() < PATIENCE);
    }
}

fn sockets_kept_for_the_next_calls_hear_nothing_of_the_last(back_end: BackendChoice) {
    // An address of loopback that no other test has.
    let process = std::process::id();
    let address = Ipv4Addr::new(127, 200 + back_end as u8, (process >> 8) as u8, process as u8).into();
    let mut config = config(back_end);
    config.listeners = vec![MediaListener { listener: 0, address, ports: 20_000..=20_199 }];
    config.rest = Duration::from_millis(100);
    let mut world = World::with(config, ring(1024));
    let stats = world.shard.stats().clone();
    let (a, b) = (Phone::at(V4), Phone::at(V4));
    // Fast enough that sockets are kept: all of the range, so that only they can be taken again.
    let bridges: Vec<_> = (0..50).map(|_| world.bridge()).collect();
    let mut ports = BTreeSet::new();
    for bridge in &bridges {
        ports.extend(world.try_open(*bridge, &[address, address]).unwrap());
        world.command(Command::Set { bridge: *bridge, spec: Box::new(relay(&[&a, &b])) });
    }
    assert_eq!(ports.len(), 100);
    bridges.iter().for_each(|bridge| drop(world.close(*bridge)));
    // The peer has not noticed: it goes on while the ports rest.
    let dropped = stats.dropped(Verdict::Idle);
    for port in &ports {
        a.rtp.send_to(&rtp(0xa, 1, 160), port).unwrap();
        a.rtcp.send_to(&rtcp(0xa), odd(*port)).unwrap();
    }
    let asked = Instant::now();
    let mut next = Vec::new();
    while next.len() < 50 {
        assert!(asked.elapsed() < PATIENCE, "{} calls", next.len());
        let bridge = world.bridge();
        if let Ok(pair) = world.try_open(bridge, &[address, address]) {
            assert!(pair.iter().all(|port| ports.remove(port)), "each is used again once");
            world.command(Command::Set { bridge, spec: Box::new(relay(&[&a, &b])) });
            next.push((bridge, pair));
        }
    }
    for (ssrc, (bridge, pair)) in (1..).zip(&next) {
        a.rtp.send_to(&rtp(ssrc, 7, 160), pair[0]).unwrap();
        assert_eq!(receive(&b.rtp), (rtp(ssrc, 7, 160), pair[1]));
        let report = world.report(*bridge);
        assert_eq!(report.ports[0].received.packets, 1);
        assert_eq!((report.ports[0].rtcp_received, report.ports[1].received.packets), (0, 0));
        assert_eq!(report.ports.iter().map(|port| port.streams.len()).sum::<usize>(), 1);
    }
    // None was lost on the way: what came for the last calls was dropped and counted.
    assert_eq!(stats.dropped(Verdict::Idle) - dropped, 200);
    assert_eq!(stats.listeners[0].taken_by_others.get(), 0);
}

fn nothing_is_opened_when_one_port_is_missing(back_end: BackendChoice) {
    let mut config = config(back_end);
    config.listeners = vec![two_pairs()];
    let mut world = World::with(config, ring(64));
    let bridge = world.bridge();
    assert_eq!(world.try_open(bridge, &[V4, V4, V4]), Err(OpenRefusal::NoPorts));
    assert_eq!(world.try_open(bridge, &[V4, V6]), Err(OpenRefusal::NoListener));
    assert_eq!(world.shard.stats().listeners[0].free.get(), 2);
    assert!(world.try_open(bridge, &[V4, V4]).is_ok());
    let full = vec![V4; 3_000];
    assert_eq!(world.try_open(bridge, &full), Err(OpenRefusal::Full));
}

fn two_shards_own_disjoint_ports(back_end: BackendChoice) {
    let first = two_pairs();
    let mut ports = BTreeSet::new();
    let worlds: Vec<_> = (0..2)
        .map(|index| {
            let mut config = config(back_end);
            (config.index, config.shards) = (index, 2);
            config.listeners = vec![first.clone()];
            let mut world = World::with(config, ring(64));
            let bridge = world.bridge();
            let port = world.try_open(bridge, &[V4]).unwrap()[0].port();
            assert_eq!(port / 2 % 2, u16::from(index));
            ports.insert(port);
            assert_eq!(world.try_open(bridge, &[V4]), Err(OpenRefusal::NoPorts));
            world
        })
        .collect();
    assert_eq!((ports.len(), worlds.len()), (2, 2));
}

fn a_panic_ends_the_bridges_and_starts_the_next_generation(back_end: BackendChoice) {
    let mut config = config(back_end);
    config.allow_panic = true;
    let mut world = World::with(config, ring(64));
    let (a, b) = (Phone::at(V4), Phone::at(V4));
    let (bridge, x, _) = world.call(&a, &b);
    world.report(bridge);
    world.command(Command::Panic);
    assert_eq!(world.answer(), Event::Started { shard: 0, generation: Generation(2) });
    // The sockets are closed, the counters go on.
    assert!(UdpSocket::bind(x).is_ok());
    assert_eq!((world.shard.stats().starts.get(), world.shard.stats().bridges.get()), (2, 0));
    let (_, x, y) = world.call(&a, &b);
    a.rtp.send_to(&rtp(0xa, 1, 160), x).unwrap();
    assert_eq!(receive(&b.rtp), (rtp(0xa, 1, 160), y));
}

fn ports_of_a_failed_generation_rest_first(back_end: BackendChoice) {
    let mut config = config(back_end);
    (config.allow_panic, config.rest) = (true, Duration::from_secs(3600));
    config.listeners = vec![two_pairs()];
    let mut world = World::with(config, ring(64));
    let (one, other) = (world.bridge(), world.bridge());
    let used = world.try_open(one, &[V4]).unwrap();
    world.command(Command::Panic);
    assert_eq!(world.answer(), Event::Started { shard: 0, generation: Generation(2) });
    assert_eq!(world.shard.stats().listeners[0].resting.get(), 1);
    assert_ne!(world.try_open(other, &[V4]).unwrap(), used);
    assert_eq!(world.try_open(one, &[V4]), Err(OpenRefusal::NoPorts));
}

fn a_command_to_fail_is_ignored_unless_allowed(back_end: BackendChoice) {
    let mut world = World::start(back_end);
    let bridge = world.bridge();
    world.command(Command::Panic);
    world.try_open(bridge, &[V4]).unwrap();
    assert_eq!(world.shard.stats().starts.get(), 1);
}

fn an_order_is_answered_that_it_is_unsupported(back_end: BackendChoice) {
    let mut world = World::start(back_end);
    let bridge = world.bridge();
    world.try_open(bridge, &[V4]).unwrap();
    // There is nothing that could be paused.
    let order = Order::Pause { started: Ticket(1) };
    world.command(Command::Order { bridge, ticket: Ticket(9), order });
    let answer = world.answer();
    assert!(
        matches!(answer, Event::Unsupported { bridge: whose, ticket: Some(Ticket(9)), .. } if whose == bridge),
        "{answer:?}"
    );
}

fn unknown_bridges_get_answers(back_end: BackendChoice) {
    let mut world = World::start(back_end);
    let bridge = world.bridge();
    assert!(world.report(bridge).ports.is_empty());
    assert!(world.close(bridge).ports.is_empty());
}

fn orphans_are_closed_after_their_time(back_end: BackendChoice) {
    let mut config = config(back_end);
    config.orphan = Duration::from_millis(500);
    let mut world = World::with(config, ring(64));
    world.command(Command::Hello { signalling: 0, generation: Generation(1) });
    let (a, b) = (Phone::at(V4), Phone::at(V4));
    let (adopted, ..) = world.call(&a, &b);
    let (orphan, x, y) = world.call(&a, &b);
    world.command(Command::Hello { signalling: 0, generation: Generation(2) });
    world.command(Command::Set { bridge: adopted, spec: Box::new(relay(&[&a, &b])) });
    // It relays on meanwhile.
    a.rtp.send_to(&rtp(0xa, 1, 160), x).unwrap();
    assert_eq!(receive(&b.rtp), (rtp(0xa, 1, 160), y));
    let closed = world.answer();
    assert!(matches!(closed, Event::Closed { bridge, .. } if bridge == orphan), "{closed:?}");
    assert_eq!(world.report(adopted).ports.len(), 2);
}

fn a_slow_signalling_shard_gets_every_answer_in_order(back_end: BackendChoice) {
    let mut world = World::with(config(back_end), ring(1));
    let bridges: Vec<BridgeId> = (0..50).map(|_| world.bridge()).collect();
    for bridge in &bridges {
        world.command(Command::Report { bridge: *bridge, ticket: Ticket(1) });
        world.command(Command::Close { bridge: *bridge });
    }
    for wanted in bridges {
        assert!(matches!(world.answer(), Event::Report { bridge, .. } if bridge == wanted));
        assert!(matches!(world.answer(), Event::Closed { bridge, .. } if bridge == wanted));
    }
    assert_eq!(world.shard.stats().events_lost.get(), 0);
}

/// CPU time of a shard's thread in nanoseconds, found by its name.
fn thread_cpu_ns(name: &str) -> u64 {
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let task = tasks.into_iter().find(|task| read(task.join("comm")).trim() == name).unwrap();
    read(task.join("schedstat")).split(' ').next().unwrap().parse().unwrap()
}

/// A world whose thread has a name of its own in this process.
fn named(back_end: BackendChoice) -> (World, String) {
    let index = if back_end == BackendChoice::Uring { 5 } else { 4 };
    let mut config = config(back_end);
    (config.index, config.shards) = (index, 6);
    (World::with(config, ring(64)), format!("media-{index}"))
}

fn a_command_wakes_an_idle_shard(back_end: BackendChoice) {
    let mut world = World::start(back_end);
    let bridge = world.bridge();
    let best = (0..20)
        .map(|_| {
            let asked = Instant::now();
            world.report(bridge);
            asked.elapsed()
        })
        .min();
    assert!(best < Some(Duration::from_millis(20)), "{best:?}");
}

fn what_can_wait_is_done_soon_even_if_nothing_else_comes(back_end: BackendChoice) {
    let mut world = World::start(back_end);
    let (a, b) = (Phone::at(V4), Phone::at(V4));
    let (one, x, _) = world.call(&a, &b);
    let (other, ..) = world.call(&a, &b);
    // A second of many turns: the thread now looks for commands by itself.
    let (started, mut sequence) = (Instant::now(), 0u16);
    while started.elapsed() < Duration::from_millis(2_200) {
        sequence = sequence.wrapping_add(1);
        a.rtp.send_to(&rtp(0xa, sequence, 160), x).unwrap();
        receive(&b.rtp);
    }
    let asked = Instant::now();
    world.close(one);
    world.close(other);
    assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());
}

fn an_idle_shard_does_not_spin(back_end: BackendChoice) {
    let (mut world, name) = named(back_end);
    let (a, b) = (Phone::at(V4), Phone::at(V4));
    let (bridge, ..) = world.call(&a, &b);
    world.report(bridge);
    let (cpu, turns) = (thread_cpu_ns(&name), world.shard.stats().turns.get());
    // Nobody sends to `a`: the time-out is the point.
    a.rtp.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    a.rtp.recv_from(&mut [0; 1]).unwrap_err();
    let (cpu, turns) = (thread_cpu_ns(&name) - cpu, world.shard.stats().turns.get() - turns);
    assert!(cpu < 5_000_000 && turns < 20, "{cpu} ns in {turns} turns");
}

fn stopping_closes_the_sockets(back_end: BackendChoice) {
    let mut world = World::start(back_end);
    let bridge = world.bridge();
    let ports = world.try_open(bridge, &[V4, V4]).unwrap();
    drop(world);
    assert!(ports.iter().all(|port| UdpSocket::bind(port).is_ok() && UdpSocket::bind(odd(*port)).is_ok()));
}

#[test]
fn probing_names_every_back_end_and_epoll_is_there() {
    let probes = shard::probe();
    assert_eq!(probes.each_ref().map(|probe| probe.name), ["epoll", "uring", "xdp"]);
    assert_eq!(probes[0].absent, None);
    assert!(probes[2].absent.as_ref().is_some_and(|why| why.starts_with("xdp: off")));
}

#[test]
fn what_cannot_be_started_says_why() {
    let mut config = config(BackendChoice::Epoll);
    config.cpu = Some(1_000);
    let error = shard::spawn(config).unwrap_err();
    assert!(error.to_string().starts_with("a media thread cannot be started"), "{error}");
    let error = SpawnError::BackEnd { name: "uring", error: std::io::ErrorKind::PermissionDenied.into() };
    assert_eq!(error.to_string(), "this host does not allow the back end `uring`: permission denied");
}

#[test]
fn events_carry_the_port_that_they_are_about() {
    let mut world = World::start(BackendChoice::Epoll);
    let (a, b) = (Phone::at(V4), Phone::at(V4));
    let (whose, x, _) = world.call(&a, &b);
    a.rtp.send_to(&rtp(0xa, 1, 160), x).unwrap();
    match world.event() {
        Event::Learned { bridge, port, rtcp: false, source, moved: false } => {
            assert_eq!((bridge, port, source), (whose, PortIndex(0), a.rtp_at));
        }
        other => panic!("{other:?}"),
    }
}
