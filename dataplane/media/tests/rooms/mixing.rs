//! Who hears whom in a room.

use super::world::*;
use command::{BridgeId, Event, Payload, PortIndex, RoomSpec, Seat};

/// Frequencies that are far from each other and from each other's harmonics.
const PITCHES: [f64; 5] = [430.0, 710.0, 1_130.0, 1_510.0, 1_970.0];
/// What each says, and what still counts as heard or not heard.
const LOUD: f64 = 5_000.0;
const HEARD: f64 = 4_000.0;
const UNHEARD: f64 = 60.0;

fn room_of(world: &mut World, talkers: u8) -> BridgeId {
    world.room(RoomSpec { talkers, ..RoomSpec::default() })
}

/// Somebody who sits down there.
fn guest(world: &mut World, room: BridgeId, format: Payload, says: Says) -> usize {
    let (_, peer) = world.solo(format, says);
    world.sit(peer, Some(seat(room)));
    peer
}

/// Those who all talk there, each at a pitch of its own.
fn talking(world: &mut World, room: BridgeId, formats: &[Payload]) -> Vec<usize> {
    let all = formats.iter().zip(PITCHES);
    all.map(|(format, pitch)| guest(world, room, format.clone(), Says::Sine(pitch, LOUD))).collect()
}

/// Each of these hears the others' pitches since then, and not its own, which is that of its place.
fn check_others(world: &World, peers: &[usize], talkers: usize, since: u64) {
    for (n, peer) in peers.iter().enumerate() {
        for (m, pitch) in PITCHES[..talkers].iter().enumerate() {
            let heard = world.hears(*peer, since, *pitch);
            if n == m {
                assert!(heard < UNHEARD, "{n} hears itself: {heard}");
            } else {
                assert!(heard > HEARD, "{n} hears {m} at {heard}");
            }
        }
    }
}

#[test]
fn each_of_three_five_and_twenty_hears_exactly_the_others() {
    for (seats, talkers) in [(3, 3), (5, 5), (20, 5)] {
        let mut world = World::new();
        let room = room_of(&mut world, talkers as u8);
        let mut peers = talking(&mut world, room, &[pcmu(), pcma(), pcmu(), pcma(), pcmu()][..talkers]);
        for _ in talkers..seats {
            peers.push(guest(&mut world, room, pcmu(), Says::Quiet));
        }
        world.run(1_000);
        let since = world.time;
        world.run(2_000);
        check_others(&world, &peers, talkers, since);
        for peer in peers {
            let packets = world.peers[peer].speech(since, since + 2_000 * MS).count();
            assert_eq!(packets, 100, "one packet a tick");
        }
    }
}

#[test]
fn the_loudest_are_heard_where_more_talk_than_may() {
    let mut world = World::new();
    let room = room_of(&mut world, 2);
    let levels = [600.0, 6_000.0, 5_000.0];
    let peers: Vec<usize> = levels
        .iter()
        .zip(PITCHES)
        .map(|(level, pitch)| guest(&mut world, room, pcmu(), Says::Sine(pitch, *level)))
        .collect();
    let listener = guest(&mut world, room, pcmu(), Says::Quiet);
    world.run(2_000);
    let since = world.time;
    world.run(1_000);
    assert!(world.hears(listener, since, PITCHES[0]) < UNHEARD);
    assert!(world.hears(listener, since, PITCHES[1]) > 5_000.0);
    assert!(world.hears(peers[0], since, PITCHES[2]) > HEARD);
}

#[test]
fn wideband_parties_hear_each_other_above_four_kilohertz_while_others_share_the_room() {
    let mut world = World::new();
    let room = room_of(&mut world, 6);
    let formats = [pcmu(), g722(), opus(), l16(16_000), l16(32_000)];
    let high = [0.0, 4_700.0, 5_300.0, 5_900.0, 6_500.0];
    let peers: Vec<usize> = (0..5)
        .map(|n| {
            let mut chord = vec![(PITCHES[n], LOUD)];
            chord.extend((n > 0).then_some((high[n], 2_500.0)));
            guest(&mut world, room, formats[n].clone(), Says::Chord(chord))
        })
        .collect();
    world.run(2_000);
    let since = world.time;
    world.run(2_000);
    for (n, peer) in peers.iter().enumerate() {
        for (m, pitch) in PITCHES.iter().enumerate() {
            let low = world.hears(*peer, since, *pitch);
            // Opus is no waveform coder: less exact.
            assert!(if n == m { low < 200.0 } else { low > 3_500.0 }, "{n} hears {m} at {low}");
            if n > 0 && m > 0 {
                let heard = world.hears(*peer, since, high[m]);
                assert!(
                    if n == m { heard < 200.0 } else { heard > 1_200.0 },
                    "{n} hears {m}'s high at {heard}"
                );
            }
        }
        let packets = world.peers[*peer].speech(since, since + 2_000 * MS).count();
        assert_eq!(packets, 100);
    }
    // Thirty-two kilohertz hold what is above eight.
    let (a, b) = (peers[4], guest(&mut world, room, l16(32_000), Says::Quiet));
    world.peers[a].says = Says::Sine(11_000.0, LOUD);
    world.run(500);
    let since = world.time;
    world.run(1_000);
    assert!(world.hears(b, since, 11_000.0) > HEARD);
    let narrow = world.heard(peers[0], since);
    assert!(amplitude(&narrow, 8_000, 3_000.0) < UNHEARD, "no alias");
}

#[test]
fn muted_deaf_and_quiet_seats_are_as_asked() {
    let mut world = World::new();
    let room = room_of(&mut world, 3);
    let peers = talking(&mut world, room, &[pcmu(), pcmu(), pcmu()]);
    world.run(500);
    world.sit(peers[0], Some(Seat { talks: false, ..seat(room) }));
    world.sit(peers[1], Some(Seat { hears: false, ..seat(room) }));
    world.sit(peers[2], Some(Seat { gain_centibel: -1_000, ..seat(room) }));
    world.run(500);
    let since = world.time;
    world.run(1_000);
    assert!(world.hears(peers[2], since, PITCHES[0]) < UNHEARD, "muted");
    assert!(world.hears(peers[0], since, PITCHES[1]) > HEARD, "the muted one hears");
    assert!(energy_db(&world.heard(peers[1], since)) < 20.0, "deaf");
    let quieter = world.hears(peers[0], since, PITCHES[2]);
    let wanted = LOUD / 10f64.powf(0.5);
    assert!((quieter / wanted - 1.0).abs() < 0.1, "{quieter} rather than {wanted}");
    for peer in &peers {
        world.sit(*peer, Some(seat(room)));
    }
    world.run(500);
    let since = world.time;
    world.run(1_000);
    check_others(&world, &peers, 3, since);
}

#[test]
fn a_coach_is_heard_by_one_and_hears_all() {
    let mut world = World::new();
    let room = room_of(&mut world, 3);
    let peers = talking(&mut world, room, &[pcmu(), pcma(), pcmu()]);
    let who = (world.peers[peers[0]].call, PortIndex(0));
    world.sit(peers[2], Some(Seat { coaches: Some(who), ..seat(room) }));
    world.run(500);
    let since = world.time;
    world.run(1_000);
    assert!(world.hears(peers[0], since, PITCHES[2]) > HEARD);
    assert!(world.hears(peers[1], since, PITCHES[2]) < UNHEARD);
    assert!(world.hears(peers[2], since, PITCHES[0]) > HEARD);
    assert!(world.hears(peers[2], since, PITCHES[1]) > HEARD);
}

#[test]
fn a_coach_that_sits_down_before_the_one_it_coaches_is_not_heard_by_all() {
    let mut world = World::new();
    let room = room_of(&mut world, 3);
    let (call, coached) = world.solo(pcmu(), Says::Quiet);
    let (_, coach) = world.solo(pcmu(), Says::Sine(PITCHES[0], LOUD));
    let other = guest(&mut world, room, pcmu(), Says::Quiet);
    world.sit(coach, Some(Seat { coaches: Some((call, PortIndex(0))), ..seat(room) }));
    world.run(500);
    world.sit(coached, Some(seat(room)));
    world.run(500);
    assert!(world.hears(other, 0, PITCHES[0]) < UNHEARD, "nobody else ever hears it");
    let since = world.time;
    world.run(500);
    assert!(world.hears(coached, since, PITCHES[0]) > HEARD);
}

#[test]
fn tones_tell_who_joins_and_leaves() {
    let mut world = World::new();
    let room = world.room(RoomSpec { tones: true, ..RoomSpec::default() });
    let listener = guest(&mut world, room, pcmu(), Says::Quiet);
    world.run(2_000);
    let since = world.time;
    world.run(500);
    assert!(energy_db(&world.heard(listener, since)) < 20.0);
    let since = world.time;
    let other = guest(&mut world, room, pcmu(), Says::Quiet);
    world.run(500);
    assert!(energy_db(&world.heard(listener, since)) > 40.0, "joins");
    world.run(1_000);
    let since = world.time;
    world.sit(other, None);
    world.run(500);
    assert!(energy_db(&world.heard(listener, since)) > 40.0, "leaves");
}

#[test]
fn who_talks_is_told_once_for_each_change() {
    for tell_talking in [true, false] {
        let mut world = World::new();
        let room = world.room(RoomSpec { tell_talking, ..RoomSpec::default() });
        let talker = guest(&mut world, room, pcmu(), Says::Quiet);
        let _listener = guest(&mut world, room, pcmu(), Says::Quiet);
        world.run(1_000);
        world.peers[talker].says = Says::Sine(PITCHES[0], LOUD);
        world.run(1_000);
        world.peers[talker].says = Says::Quiet;
        world.run(2_000);
        let who = (world.peers[talker].call, PortIndex(0));
        let told: Vec<Event> = world
            .events
            .iter()
            .map(|(_, event)| event.clone())
            .filter(|event| matches!(event, Event::Talking { .. }))
            .collect();
        let expected = [true, false].map(|on| Event::Talking { bridge: room, who, on });
        assert_eq!(told, if tell_talking { expected.to_vec() } else { Vec::new() });
    }
}

#[test]
fn a_call_that_leaves_is_relayed_again_without_a_seam() {
    let mut world = World::new();
    let room = room_of(&mut world, 3);
    let other = guest(&mut world, room, pcmu(), Says::Sine(PITCHES[2], LOUD));
    let (id, peers) = world
        .call(vec![side(pcmu(), Says::Sine(PITCHES[0], LOUD)), side(pcmu(), Says::Sine(PITCHES[1], LOUD))]);
    world.run(1_000);
    world.set(id, |spec| spec.ports.iter_mut().for_each(|port| port.voice.seat = Some(seat(room))));
    world.run(500);
    let since = world.time;
    world.run(1_000);
    check_others(&world, &[peers[0], peers[1], other], 3, since);
    world.set(id, |spec| spec.ports.iter_mut().for_each(|port| port.voice.seat = None));
    world.run(100);
    let since = world.time;
    world.run(1_000);
    assert!(world.hears(peers[0], since, PITCHES[1]) > HEARD);
    assert!(world.hears(peers[0], since, PITCHES[2]) < UNHEARD);
    assert!(energy_db(&world.heard(other, since)) < 20.0, "nobody else is there");
    for peer in [peers[0], peers[1]] {
        let got = &world.peers[peer].got;
        for pair in got.windows(2) {
            let (one, next) = (pair[0].header, pair[1].header);
            assert_eq!((next.ssrc, next.sequence), (one.ssrc, one.sequence.wrapping_add(1)));
            let ticks = next.timestamp.wrapping_sub(one.timestamp);
            assert!((160..=480).contains(&ticks), "{ticks}");
        }
        let sent: Vec<&[u8]> =
            world.peers[peers[0] + peers[1] - peer].sent.iter().map(|s| &s.1[12..]).collect();
        assert!(
            got.iter().rev().take(40).all(|got| sent.contains(&&got.bytes[12..])),
            "payloads are untouched"
        );
    }
}

#[test]
fn a_room_that_closes_leaves_its_calls_alive() {
    let mut world = World::new();
    let room = room_of(&mut world, 3);
    let (id, peers) = world
        .call(vec![side(pcmu(), Says::Sine(PITCHES[0], LOUD)), side(pcmu(), Says::Sine(PITCHES[1], LOUD))]);
    world.set(id, |spec| spec.ports.iter_mut().for_each(|port| port.voice.seat = Some(seat(room))));
    world.run(1_000);
    world.close(room);
    world.run(500);
    world.set(id, |spec| spec.ports.iter_mut().for_each(|port| port.voice.seat = None));
    world.run(100);
    let since = world.time;
    world.run(1_000);
    assert!(world.hears(peers[0], since, PITCHES[1]) > HEARD);
    assert!(world.hears(peers[1], since, PITCHES[0]) > HEARD);
    let ssrcs: std::collections::BTreeSet<u32> =
        world.peers[peers[0]].got.iter().map(|g| g.header.ssrc).collect();
    assert_eq!(ssrcs.len(), 1);
}

#[test]
fn a_call_that_closes_leaves_the_room_to_the_others() {
    let mut world = World::new();
    let room = room_of(&mut world, 3);
    let peers = talking(&mut world, room, &[pcmu(), pcmu(), pcmu()]);
    world.run(1_000);
    let who = (world.peers[peers[2]].call, PortIndex(0));
    world.peers[peers[2]].says = Says::Nothing;
    world.close(who.0);
    world.run(200);
    let since = world.time;
    world.run(1_000);
    check_others(&world, &peers[..2], 2, since);
    assert!(world.hears(peers[0], since, PITCHES[2]) < UNHEARD);
    assert!(
        world
            .events
            .iter()
            .any(|(_, event)| matches!(event, Event::Talking { who: of, on: false, .. } if *of == who)),
        "that it does not talk any more is told"
    );
}

#[test]
fn a_seat_in_an_unknown_room_is_refused_and_nothing_changes() {
    let mut world = World::new();
    let (id, peers) = world
        .call(vec![side(pcmu(), Says::Sine(PITCHES[0], LOUD)), side(pcmu(), Says::Sine(PITCHES[1], LOUD))]);
    world.run(500);
    let nowhere = BridgeId::new(0, 0, 3, 99_999);
    let refused = world.try_set(id, |spec| spec.ports[0].voice.seat = Some(seat(nowhere))).unwrap_err();
    assert!(refused.0.contains("room"), "{}", refused.0);
    world.run(500);
    let (sent, got) = (&world.peers[peers[0]].sent, &world.peers[peers[1]].got);
    assert!(got.len() > 40 && sent.iter().zip(got).all(|((_, sent), got)| *sent == got.bytes));
}

#[test]
fn the_same_spec_again_changes_nothing() {
    let mut world = World::new();
    let room = room_of(&mut world, 3);
    let peers = talking(&mut world, room, &[pcmu(), opus(), pcmu()]);
    world.run(1_000);
    let since = world.time;
    for _ in 0..50 {
        world.run(37);
        for peer in &peers {
            let id = world.peers[*peer].call;
            world.set(id, |_| {});
        }
        world.set(room, |_| {});
    }
    for peer in &peers {
        let got: Vec<_> = world.peers[*peer].got.iter().filter(|got| got.at >= since).collect();
        assert!((91..=94).contains(&got.len()), "{}", got.len());
        for pair in got.windows(2) {
            assert_eq!(pair[1].at - pair[0].at, 20 * MS);
            assert_eq!(pair[1].header.sequence, pair[0].header.sequence.wrapping_add(1));
            assert_eq!(pair[1].header.ssrc, pair[0].header.ssrc);
            assert!(!pair[1].header.marker);
        }
    }
    // A glitch would be heard at other frequencies than the two of the others.
    let heard = world.heard(peers[0], since);
    let total = energy_db(&heard);
    let parts: f64 =
        [PITCHES[1], PITCHES[2]].map(|pitch| amplitude(&heard, 8_000, pitch).powi(2) / 2.0).iter().sum();
    let rest = 10f64.powf(total / 10.0) - parts;
    assert!(10.0 * (parts / rest.max(1.0)).log10() > 20.0, "{parts} {rest}");
}

#[test]
fn silent_listeners_of_one_codec_get_the_same_bytes_and_a_talker_what_the_others_say() {
    let mut world = World::sized(60);
    let room = room_of(&mut world, 3);
    let talkers = talking(&mut world, room, &[pcmu(), pcmu()]);
    let listeners: Vec<usize> = (0..50).map(|_| guest(&mut world, room, pcmu(), Says::Quiet)).collect();
    world.run(500);
    let since = world.time;
    world.run(1_000);
    let payloads = |peer: usize| -> Vec<Vec<u8>> {
        world.peers[peer].speech(since, since + 1_000 * MS).map(|got| got.payload.clone()).collect()
    };
    let first = payloads(listeners[0]);
    assert_eq!(first.len(), 50);
    assert!(listeners.iter().all(|peer| payloads(*peer) == first));
    world.peers[listeners[7]].says = Says::Sine(PITCHES[2], LOUD);
    world.run(500);
    let since = world.time;
    world.run(1_000);
    check_others(&world, &[talkers[0], talkers[1], listeners[7]], 3, since);
    for listener in [listeners[0], listeners[49]] {
        assert!(PITCHES[..3].iter().all(|pitch| world.hears(listener, since, *pitch) > HEARD));
    }
}
