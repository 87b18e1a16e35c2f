//! A warm turn allocates nothing, whatever the back end: counted by the allocator of this test binary.
#![expect(clippy::print_stdout, reason = "what could not be tested is named")]

#[path = "../../../tests/support/counting.rs"]
mod counting;
mod world;

use base::{Mailbox, Now};
use command::{BridgeId, Command, Event, Generation, PortWant};
use counting::allocations;
use shard::io::{Io, epoll::Epoll, uring::Uring};
use shard::outbox::Outbox;
use shard::run::{Remains, Shard};
use shard::sys::Bell;
use shard::{BackendChoice, ShardStats};
use std::sync::Arc;
use world::*;

/// Steps a shard in this thread until `done`, which gets it between two steps.
fn step<I: Io>(shard: &mut Shard<I>, mut done: impl FnMut() -> bool) {
    let mut now = Now::default();
    for _ in 0..10_000 {
        if done() {
            return;
        }
        now = shard.step(now);
    }
    panic!("it did not come to an end");
}

fn a_warm_turn_allocates_nothing<I: Io>(back_end: BackendChoice) {
    let config = config(back_end);
    let (bell, events) = (Bell::new().unwrap(), ring(1024));
    let commands = Mailbox::new(16, bell.clone());
    let stats = Arc::new(ShardStats::new(&config.listeners));
    let outbox = Outbox::new(vec![events.clone()], Arc::clone(&stats));
    let remains = Remains { outbox, places: Vec::new() };
    let made = Shard::<I>::new(&config, Generation(1), commands.clone(), bell, remains, Arc::clone(&stats));
    let mut shard = match made {
        Ok(shard) => shard,
        Err((error, _)) => return println!("{} is absent here ({error}): not tested", I::NAME),
    };

    let (a, b) = (Phone::at(V4), Phone::at(V6));
    let mut calls = Vec::new();
    for serial in 0..20 {
        let bridge = BridgeId::new(0, 0, 0, serial);
        let want = [V4, V6].map(|address| PortWant { listener: 0, address }).to_vec();
        commands.send(Command::Open { bridge, want }).unwrap();
        commands.send(Command::Set { bridge, spec: Box::new(relay(&[&a, &b])) }).unwrap();
        step(&mut shard, || {
            while let Some(event) = events.receive() {
                if let Event::Opened { ports, .. } = event {
                    calls.push((ports[0].local, ports[1].local));
                    return true;
                }
            }
            false
        });
    }

    let mut sequence = 0;
    let mut round = |shard: &mut Shard<I>| {
        sequence += 1;
        let wanted = stats.packets_out.get() + calls.len() as u64 * 4;
        for (ssrc, (x, y)) in (1..).zip(&calls) {
            a.rtp.send_to(&rtp(ssrc, sequence, 160), x).unwrap();
            b.rtp.send_to(&rtp(ssrc, sequence, 160), y).unwrap();
            a.rtcp.send_to(&rtcp(ssrc), odd(*x)).unwrap();
            b.rtcp.send_to(&rtcp(ssrc), odd(*y)).unwrap();
        }
        allocations(|| step(shard, || stats.packets_out.get() >= wanted))
    };
    let warming: Vec<_> = (0..20).map(|_| round(&mut shard)).collect();
    let warm: u64 = (0..100).map(|_| round(&mut shard)).sum();
    assert_eq!(warm, 0, "allocations while relaying 8,000 packets; while warming: {warming:?}");
    assert_eq!(stats.dropped_total(), 0);
}

#[test]
fn with_epoll() {
    a_warm_turn_allocates_nothing::<Epoll>(BackendChoice::Epoll);
}

#[test]
fn with_uring() {
    a_warm_turn_allocates_nothing::<Uring>(BackendChoice::Uring);
}
