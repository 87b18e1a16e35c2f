//! What is played to one peer or to a room.

use super::world::*;
use base::Duration;
use command::{BridgeId, Event, Order, Outcome, PlayMode, PortIndex, RoomSpec, Sound, Tone, ToneStep};

const B: Option<PortIndex> = Some(PortIndex(1));

/// A call whose sides say nothing aloud; B hears what is played.
fn quiet(world: &mut World) -> (BridgeId, usize) {
    let (id, peers) = world.call(vec![side(l16(8_000), Says::Quiet), side(l16(8_000), Says::Quiet)]);
    world.run(500);
    (id, peers[1])
}

fn count(samples: std::ops::Range<i16>) -> Vec<i16> {
    samples.collect()
}

/// What was heard since then, without the silence around it.
fn heard(world: &World, peer: usize, since: u64) -> Vec<i16> {
    let all = world.heard(peer, since);
    let first = all.iter().position(|sample| *sample != 0).unwrap_or(all.len());
    let last = all.iter().rposition(|sample| *sample != 0).map_or(first, |last| last + 1);
    all[first..last].to_vec()
}

#[test]
fn every_sample_of_a_clip_is_heard_once_and_its_end_is_told_with_its_length() {
    let mut world = World::new();
    let (id, b) = quiet(&mut world);
    let since = world.time;
    let ticket = world.order(id, &play(B, clip(8_000, count(1..12_001)), PlayMode::Replace)).unwrap();
    world.run(3_000);
    assert_eq!(heard(&world, b, since), count(1..12_001));
    let ended = world.ended(ticket).unwrap();
    assert_eq!((ended.outcome, ended.length), (Outcome::Done, Duration::from_millis(1_500)));
}

#[test]
fn a_sound_fails_when_its_hearer_comes_to_speak_nothing_that_can_be_made() {
    let mut world = World::new();
    let (id, _) = quiet(&mut world);
    let ticket = world.order(id, &play(B, clip(8_000, vec![100; 16_000]), PlayMode::Replace)).unwrap();
    world.run(500);
    assert_eq!(world.ended(ticket), None);
    world.set(id, |spec| {
        spec.ports[1].payloads =
            vec![command::Payload { number: 18, clock: 8_000, encoding: "g729".into(), fmtp: String::new() }];
    });
    world.run(100);
    let ended = world.ended(ticket).expect("whoever waits is told");
    assert_eq!(ended.outcome, Outcome::Failed);
    assert!(ended.length >= Duration::from_millis(480), "{ended:?}");
}

#[test]
fn the_length_is_that_of_the_sound_to_the_sample() {
    let mut world = World::new();
    let (id, _) = quiet(&mut world);
    let ticket = world.order(id, &play(B, clip(8_000, vec![100; 1_208]), PlayMode::Replace)).unwrap();
    world.run(1_000);
    assert_eq!(world.ended(ticket).unwrap().length, Duration::from_millis(151));
}

#[test]
fn sounds_wait_for_each_other_repeat_and_begin_where_they_are_told() {
    let mut world = World::new();
    let (id, b) = quiet(&mut world);
    let since = world.time;
    let order = |sound: Sound, times: Option<u32>, start: u64| Order::Play {
        port: B,
        sound,
        mode: PlayMode::Replace,
        times,
        start: Duration::from_millis(start),
        gain_centibel: 0,
    };
    let first = world.order(id, &order(clip(8_000, count(1..1_601)), Some(3), 0)).unwrap();
    let second = world.order(id, &order(clip(8_000, count(1..1_601)), Some(1), 100)).unwrap();
    let third = world.order(id, &order(clip(8_000, vec![]), Some(1), 0)).unwrap();
    world.run(2_000);
    let expected = [count(1..1_601), count(1..1_601), count(1..1_601), count(801..1_601)].concat();
    assert_eq!(heard(&world, b, since), expected);
    let ended = [first, second, third].map(|ticket| world.ended(ticket).unwrap());
    assert!(ended.iter().all(|ended| ended.outcome == Outcome::Done));
    assert_eq!(ended.map(|ended| ended.length.as_millis()), [600, 100, 0]);
    let order: Vec<_> = world
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::Ended { ticket, .. } => Some(*ticket),
            _ => None,
        })
        .collect();
    assert_eq!(order, [first, second, third]);
}

#[test]
fn a_sound_without_end_goes_on_until_it_is_stopped() {
    let mut world = World::new();
    let (id, b) = quiet(&mut world);
    let order = Order::Play {
        port: B,
        sound: clip(8_000, tone(0.5, 8_000, 400.0, 8_000.0)),
        mode: PlayMode::Replace,
        times: None,
        start: Duration::ZERO,
        gain_centibel: -600,
    };
    let ticket = world.order(id, &order).unwrap();
    world.run(1_000);
    let since = world.time;
    world.run(4_000);
    let level = world.hears(b, since, 400.0);
    assert!((level / 4_009.0 - 1.0).abs() < 0.03, "6 dB less: {level}");
    assert_eq!(world.ended(ticket), None);
    world.order(id, &Order::Stop { started: ticket }).unwrap();
    world.run(40);
    let ended = world.ended(ticket).unwrap();
    assert_eq!(ended.outcome, Outcome::Stopped);
    assert!(ended.length.abs_diff(Duration::from_secs(5)) <= Duration::from_millis(20), "{:?}", ended.length);
    let since = world.time;
    world.run(500);
    assert!(energy_db(&world.heard(b, since)) < 10.0);
    world.order(id, &Order::Stop { started: ticket }).unwrap();
    world.run(100);
    world.ended(ticket);
}

#[test]
fn what_waits_can_be_stopped_before_it_is_heard() {
    let mut world = World::new();
    let (id, b) = quiet(&mut world);
    let since = world.time;
    let first = world.order(id, &play(B, clip(8_000, count(1..4_001)), PlayMode::Replace)).unwrap();
    let second = world.order(id, &play(B, clip(8_000, count(5_000..6_000)), PlayMode::Replace)).unwrap();
    world.run(100);
    world.order(id, &Order::Stop { started: second }).unwrap();
    world.run(1_500);
    assert_eq!(heard(&world, b, since), count(1..4_001));
    assert_eq!(world.ended(second).unwrap().outcome, Outcome::Stopped);
    assert_eq!(world.ended(second).unwrap().length, Duration::ZERO);
    assert_eq!(world.ended(first).unwrap().outcome, Outcome::Done);
}

#[test]
fn tones_sound_in_their_cadence() {
    let mut world = World::new();
    let (id, b) = quiet(&mut world);
    let step = |frequency: u16, ms: u64| ToneStep {
        frequencies: [frequency, 0, 0, 0],
        modulated: false,
        level_dbm0: -10,
        duration: Duration::from_millis(ms),
    };
    let sound = Sound::Tone(Tone { steps: vec![step(425, 300), step(0, 200)], once: true });
    let since = world.time;
    let ticket = world.order(id, &play(B, sound, PlayMode::Replace)).unwrap();
    world.run(1_500);
    assert_eq!(world.ended(ticket).unwrap().length, Duration::from_millis(500));
    let heard = heard(&world, b, since);
    assert!((2_380..=2_400).contains(&heard.len()), "{}", heard.len());
    assert!(amplitude(&heard, 8_000, 425.0) > 5_000.0);
}

#[test]
fn sounds_that_mix_are_heard_beside_each_other_and_beside_the_other_side() {
    let mut world = World::new();
    let sides = vec![side(pcmu(), Says::Sine(430.0, 5_000.0)), side(pcmu(), Says::Quiet)];
    let (id, peers) = world.call(sides);
    world.run(500);
    let mut sounds = Vec::new();
    for frequency in [710.0, 1_130.0] {
        let order = play(B, clip(8_000, tone(2.0, 8_000, frequency, 4_000.0)), PlayMode::Mix);
        sounds.push(world.order(id, &order).unwrap());
    }
    world.run(500);
    let since = world.time;
    world.run(1_000);
    for (frequency, level) in [(430.0, 5_000.0), (710.0, 4_000.0), (1_130.0, 4_000.0)] {
        let heard = world.hears(peers[1], since, frequency);
        assert!((heard / level - 1.0).abs() < 0.1, "{frequency}: {heard}");
    }
    world.run(1_000);
    assert!(sounds.iter().all(|ticket| world.ended(*ticket).unwrap().outcome == Outcome::Done));
}

#[test]
fn what_sounds_when_the_bridge_closes_ends_so() {
    let mut world = World::new();
    let (id, _) = quiet(&mut world);
    let room = world.room(RoomSpec::default());
    let playing = world.order(id, &play(B, clip(8_000, vec![1; 80_000]), PlayMode::Replace)).unwrap();
    let waiting = world.order(id, &play(B, clip(8_000, vec![1; 80_000]), PlayMode::Replace)).unwrap();
    let beside = world.order(id, &play(B, clip(8_000, vec![1; 80_000]), PlayMode::Mix)).unwrap();
    let everybody = world.order(room, &play(None, clip(8_000, vec![1; 80_000]), PlayMode::Mix)).unwrap();
    world.run(1_000);
    world.close(id);
    world.close(room);
    let length = |ticket| {
        let ended = world.ended(ticket).unwrap();
        assert_eq!(ended.outcome, Outcome::Closed);
        ended.length.as_millis()
    };
    assert_eq!([playing, waiting, beside, everybody].map(length), [1_000, 0, 1_000, 1_000]);
    assert!(world.order(id, &play(B, clip(8_000, vec![1]), PlayMode::Mix)).is_err());
}

#[test]
fn there_is_a_bound_on_what_waits() {
    let mut world = World::new();
    let (id, _) = quiet(&mut world);
    let order = play(B, clip(8_000, vec![1; 8_000]), PlayMode::Replace);
    let taken = (0..40).filter(|_| world.order(id, &order).is_ok()).count();
    assert_eq!(taken, 16);
    let refused = world.order(id, &order).unwrap_err();
    assert!(refused.0.contains("too many"), "{}", refused.0);
}

#[test]
fn a_wideband_prompt_stays_wideband_where_the_peer_can_hear_it() {
    let mut world = World::new();
    let (id, peers) = world.call(vec![side(opus(), Says::Quiet), side(opus(), Says::Quiet)]);
    world.run(500);
    let order = play(B, clip(48_000, tone(2.0, 48_000, 9_000.0, 8_000.0)), PlayMode::Replace);
    world.order(id, &order).unwrap();
    world.run(500);
    let since = world.time;
    world.run(1_000);
    let heard = world.hears(peers[1], since, 9_000.0);
    assert!(heard > 5_000.0, "{heard}");
}

#[test]
fn a_room_hears_announcements_and_one_seat_what_is_only_for_it() {
    let mut world = World::new();
    let room = world.room(RoomSpec { talkers: 1, ..RoomSpec::default() });
    let peers: Vec<usize> =
        [(pcmu(), Says::Sine(430.0, 9_000.0)), (g722(), Says::Quiet), (pcmu(), Says::Quiet)]
            .into_iter()
            .map(|(format, says)| {
                let (_, peer) = world.solo(format, says);
                world.sit(peer, Some(seat(room)));
                peer
            })
            .collect();
    world.run(500);
    let all =
        world.order(room, &play(None, clip(16_000, tone(3.0, 16_000, 1_130.0, 3_000.0)), PlayMode::Mix));
    let call = world.peers[peers[2]].call;
    let one = play(Some(PortIndex(0)), clip(8_000, tone(3.0, 8_000, 1_970.0, 3_000.0)), PlayMode::Mix);
    let one = world.order(call, &one).unwrap();
    world.run(500);
    let since = world.time;
    world.run(1_000);
    for peer in &peers {
        assert!(
            world.hears(*peer, since, 1_130.0) > 2_000.0,
            "{peer} hears the announcement over any talker"
        );
    }
    assert!(world.hears(peers[2], since, 1_970.0) > 2_500.0);
    assert!(world.hears(peers[1], since, 1_970.0) < 60.0);
    world.run(2_500);
    assert_eq!(world.ended(all.unwrap()).unwrap().length, Duration::from_secs(3));
    assert_eq!(world.ended(one).unwrap().length, Duration::from_secs(3));
    let since = world.time;
    world.run(500);
    assert!(world.hears(peers[1], since, 430.0) > 7_000.0, "the talker is heard again");
}

#[test]
fn a_sound_for_everybody_where_there_is_no_room_is_refused() {
    let mut world = World::new();
    let (id, _) = quiet(&mut world);
    let refused = world.order(id, &play(None, clip(8_000, vec![1]), PlayMode::Mix)).unwrap_err();
    assert!(refused.0.contains("room"), "{}", refused.0);
    let refused =
        world.order(id, &play(Some(PortIndex(7)), clip(8_000, vec![1]), PlayMode::Mix)).unwrap_err();
    assert!(refused.0.contains("port"), "{}", refused.0);
}
