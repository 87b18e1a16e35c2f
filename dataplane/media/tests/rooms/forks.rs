//! What is said is on the tape of a fork at once, on that of a recording later and better.

use super::recording::{Reel, counter, record, said, stereo};
use super::world::*;
use command::{BridgeId, Layout, Order, Outcome, Ticket};

fn fork(world: &mut World, id: BridgeId, layout: Layout) -> (Ticket, Reel) {
    let (reel, ticket, now) = (Reel::default(), world.ticket(), world.now());
    let rate = world.bridges.tape_want(id).unwrap().widest;
    world.bridges.fork(now, id, ticket, layout, rate, Box::new(reel.clone())).unwrap();
    (ticket, reel)
}

/// How many samples at 8 kHz lie between what was said last and what is on the tape.
fn lag(world: &World, channel: &[i16], peer: usize) -> usize {
    let said = said(world, peer);
    let last = &channel[channel.len() - 64..];
    let at = said.windows(64).rposition(|window| window == last).expect("it was said");
    said.len() - at - 64
}

#[test]
fn a_fork_hears_both_sides_sooner_than_a_recording() {
    let mut world = World::new();
    let mut call = || world.call(vec![side(pcmu(), counter(1)), side(pcmu(), counter(30_000))]);
    let ((forked, peers), (recorded, others)) = (call(), call());
    world.run(500);
    let (ticket, fork) = fork(&mut world, forked, Layout::Stereo);
    let (_, recording) = record(&mut world, recorded, &stereo());
    world.run(3_000);
    let soon = [(fork.left(), peers[0]), (fork.right(), peers[1])].map(|(pcm, peer)| lag(&world, &pcm, peer));
    let late = lag(&world, &recording.left(), others[0]);
    assert!(soon.iter().all(|lag| *lag <= 8 * 100), "{soon:?} samples late");
    assert!(late > 2 * soon[0], "a recording is patient: {late} samples, a fork {soon:?}");
    assert_eq!(fork.left().len(), fork.right().len());
    // A recording that begins beside it does not make it late.
    record(&mut world, forked, &stereo());
    world.run(1_000);
    assert!(lag(&world, &fork.left(), peers[0]) <= 8 * 100);
    world.order(forked, &Order::Stop { started: ticket }).unwrap();
    assert_eq!(fork.finished(), Some(Outcome::Done));
}
