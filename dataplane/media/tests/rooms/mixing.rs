//! Who hears whom in a room.

use super::world::*;
use command::RoomSpec;

/// Frequencies that are far from each other and from each other's harmonics.
const PITCHES: [f64; 5] = [430.0, 710.0, 1_130.0, 1_510.0, 1_970.0];
/// What each says, and what still counts as heard or not heard.
const LOUD: f64 = 5_000.0;
const HEARD: f64 = 4_000.0;
const UNHEARD: f64 = 60.0;

/// A room with these who all talk, each at a pitch of its own.
fn talking(world: &mut World, formats: &[command::Payload], talkers: u8) -> (command::BridgeId, Vec<usize>) {
    let room = world.room(RoomSpec { talkers, ..RoomSpec::default() });
    let peers = formats.iter().zip(PITCHES).map(|(format, pitch)| {
        let (_, peer) = world.solo(format.clone(), Says::Sine(pitch, LOUD));
        world.sit(peer, Some(seat(room)));
        peer
    });
    let peers = peers.collect();
    (room, peers)
}

#[test]
fn each_of_three_hears_exactly_the_others() {
    let mut world = World::new();
    let (_, peers) = talking(&mut world, &[pcmu(), pcma(), pcmu()], 3);
    world.run(1_000);
    let since = world.time;
    world.run(2_000);
    for (n, peer) in peers.iter().enumerate() {
        for (m, pitch) in PITCHES[..3].iter().enumerate() {
            let heard = world.hears(*peer, since, *pitch);
            if n == m {
                assert!(heard < UNHEARD, "{n} hears itself: {heard}");
            } else {
                assert!(heard > HEARD, "{n} hears {m} at {heard}");
            }
        }
        let packets = world.peers[*peer].speech(since, since + 2_000 * MS).count();
        assert_eq!(packets, 100, "one packet a tick");
    }
}
