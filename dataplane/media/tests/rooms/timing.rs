//! Turns that come late, large rooms, echoes, and the heap.

use super::counting::allocations;
use super::world::*;
use command::{Outcome, PlayMode, PortIndex, RoomSpec};
use media::Packet;
use media::wire::rtp::Header;
use media::{Bridges, Slot};

#[test]
fn a_turn_that_comes_a_hundred_milliseconds_late_loses_and_doubles_nothing() {
    let mut world = World::new();
    let (id, peers) = world.call(vec![side(l16(8_000), Says::Quiet), side(l16(8_000), Says::Quiet)]);
    world.run(500);
    let since = world.time;
    let samples: Vec<i16> = (1..24_001).collect();
    let ticket =
        world.order(id, &play(Some(PortIndex(1)), clip(8_000, samples.clone()), PlayMode::Replace)).unwrap();
    for _ in 0..5 {
        world.run(250);
        world.stalled_until = world.time + 100 * MS;
    }
    world.run(2_500);
    let heard = world.heard(peers[1], since);
    let first = heard.iter().position(|sample| *sample != 0).unwrap();
    assert_eq!(heard[first..first + 24_000], samples[..]);
    assert_eq!(world.ended(ticket).unwrap().outcome, Outcome::Done);
    let got: Vec<_> = world.peers[peers[1]].got.iter().filter(|got| got.at > since).collect();
    for pair in got.windows(2) {
        let (one, next) = (pair[0].header, pair[1].header);
        assert_eq!(next.sequence, one.sequence.wrapping_add(1));
        let ticks = next.timestamp.wrapping_sub(one.timestamp);
        assert!(ticks == 160 || ticks == 320, "{ticks}");
    }
}

#[test]
fn speech_that_is_mixed_late_is_heard_whole() {
    let mut world = World::new();
    let room = world.room(RoomSpec::default());
    let peers: Vec<usize> = [Says::Sine(430.0, 5_000.0), Says::Quiet]
        .into_iter()
        .map(|says| {
            let (_, peer) = world.solo(pcmu(), says);
            world.sit(peer, Some(seat(room)));
            peer
        })
        .collect();
    world.run(1_000);
    let since = world.time;
    for _ in 0..4 {
        world.run(400);
        world.stalled_until = world.time + 100 * MS;
    }
    world.run(400);
    let pcm = world.peers[peers[1]].timeline(since);
    assert!((15_700..=16_300).contains(&pcm.len()), "{}", pcm.len());
    let heard = amplitude(&pcm, 8_000, 430.0);
    // What was made up or cut would be out of phase.
    assert!(heard > 4_500.0, "{heard}");
}

#[test]
fn a_pause_of_seconds_is_left_out_rather_than_made_up_for() {
    let mut world = World::new();
    let (id, peers) = world.call(vec![side(l16(8_000), Says::Quiet), side(l16(8_000), Says::Quiet)]);
    world.run(500);
    world.order(id, &play(Some(PortIndex(1)), clip(8_000, vec![100; 80_000]), PlayMode::Replace)).unwrap();
    world.run(500);
    let since = world.time;
    world.stalled_until = world.time + 3_000 * MS;
    world.run(3_100);
    let got: Vec<_> = world.peers[peers[1]].got.iter().filter(|got| got.at > since).collect();
    assert!((10..=18).contains(&got.len()), "{}", got.len());
    let ticks = got
        .last()
        .unwrap()
        .header
        .timestamp
        .wrapping_sub(world.peers[peers[1]].speech(0, since).last().unwrap().header.timestamp);
    assert!((24_000..=25_200).contains(&ticks), "{ticks}");
}

#[test]
fn what_is_made_for_a_thousand_ports_at_once_is_handed_over_in_slices_and_all_comes() {
    let mut world = World::sized(1_010);
    world.keeps = false;
    let room = world.room(RoomSpec::default());
    let peers: Vec<usize> = (0..1_000)
        .map(|n| {
            let says = if n == 0 { Says::Sine(430.0, 5_000.0) } else { Says::Nothing };
            let (_, peer) = world.solo(pcmu(), says);
            world.sit(peer, Some(seat(room)));
            peer
        })
        .collect();
    world.run(100);
    let before: Vec<usize> = peers.iter().map(|peer| world.peers[*peer].got.len()).collect();
    world.stalled_until = world.time + 190 * MS;
    world.run(400);
    assert!(world.slices > 0, "several turns");
    for (peer, before) in peers.iter().zip(before) {
        let got = &world.peers[*peer].got[before..];
        assert!((19..=21).contains(&got.len()), "{}", got.len());
        assert!(
            got.windows(2).all(|pair| pair[1].header.sequence == pair[0].header.sequence.wrapping_add(1))
        );
        assert!(
            got.windows(2).all(|pair| pair[1].header.timestamp == pair[0].header.timestamp.wrapping_add(160))
        );
    }
}

/// Noise in syllables: what an echo canceller meets in speech, at a level of -20 dB.
fn syllables(seconds: u64) -> Vec<i16> {
    let mut rng = base::Rng::from_seed(7);
    let mut low = 0.0;
    (0..seconds * 8_000)
        .map(|n| {
            let noise = rng.below(20_000) as f64 - 10_000.0;
            low = 0.6 * low + 0.4 * noise;
            let envelope = 0.15 + 0.85 * (std::f64::consts::TAU * 3.0 * n as f64 / 8_000.0).sin().abs();
            (low * envelope) as i16
        })
        .collect()
}

/// How much less of its own speech the caller hears back after two seconds, in dB.
fn echo_return_loss(cancels: bool) -> f64 {
    let mut world = World::new();
    let factor = 10f64.powf(-0.5);
    let sides = vec![side(pcmu(), Says::Samples(syllables(6))), side(pcmu(), Says::Echo(30, factor))];
    let (_, peers) = world.call_with(sides, |spec| spec.ports[1].voice.echo_cancel = cancels);
    world.run(2_500);
    let since = world.time;
    world.run(3_000);
    let back = energy_db(&world.heard(peers[0], since));
    let there = energy_db(&world.heard(peers[1], since));
    there - 10.0 - back
}

#[test]
fn an_echo_is_taken_out_by_twenty_decibels_where_that_is_asked() {
    let without = echo_return_loss(false);
    assert!(without.abs() < 1.5, "{without} dB without the option");
    let with = echo_return_loss(true);
    assert!(with >= 20.0, "{with} dB");
}

/// Moves time and packets of a warm world through its bridges, and nothing else: tick by tick, with what peers say.
fn turn(
    bridges: &mut Bridges,
    time: &mut u64,
    peers: &[(u32, std::net::SocketAddr, u32)],
    n: u16,
    loud: usize,
) -> usize {
    let mut buffer = [0; 2048];
    for (k, (slot, source, ssrc)) in peers.iter().enumerate() {
        let header = Header { sequence: n, timestamp: u32::from(n) * 160, ssrc: *ssrc, ..Header::default() };
        buffer[..12].copy_from_slice(&header.to_bytes());
        let body = &mut buffer[12..172];
        // Whoever is loud swings between two levels; the others say silence.
        body.iter_mut().enumerate().for_each(|(i, byte)| {
            *byte = if k >= loud {
                0xff
            } else if (i / 4) % 2 == 0 {
                0x90
            } else {
                0x10
            };
        });
        let mut packet = Packet { buffer: &mut buffer, len: 172, truncated: false };
        let _ = bridges.handle_packet(at(*time), Slot(*slot), *source, &mut packet);
    }
    let mut made = 0;
    for _ in 0..20 {
        *time += MS;
        bridges.handle_timeout(at(*time));
        bridges.drain_made(|_, _| made += 1);
        while bridges.poll_event().is_some() {}
    }
    made
}

#[test]
fn ticks_of_rooms_recordings_prompts_and_echoes_take_nothing_from_the_heap() {
    let mut world = World::new();
    let room = world.room(RoomSpec::default());
    let mut peers = Vec::new();
    for _ in 0..20 {
        let (_, peer) = world.solo(pcmu(), Says::Nothing);
        world.sit(peer, Some(seat(room)));
        peers.push(peer);
    }
    let (call, pair) =
        world.call_with(vec![side(pcmu(), Says::Nothing), side(pcmu(), Says::Nothing)], |spec| {
            spec.ports[1].voice.echo_cancel = true;
        });
    let loops = |port| command::Order::Play {
        port,
        sound: clip(16_000, tone(1.0, 16_000, 430.0, 5_000.0)),
        mode: PlayMode::Mix,
        times: None,
        start: base::Duration::ZERO,
        gain_centibel: -300,
    };
    world.order(room, &loops(None)).unwrap();
    world.order(call, &loops(Some(PortIndex(0)))).unwrap();
    super::recording::record_nothing(&mut world, room);
    super::recording::record_nothing(&mut world, call);
    let all: Vec<_> = [&pair[..], &peers[..]]
        .concat()
        .into_iter()
        .enumerate()
        .map(|(k, peer)| (world.slot(peer), world.peers[peer].address, k as u32 + 1))
        .collect();
    let (mut time, mut n) = (world.time, 0u16);
    let mut step = |bridges: &mut Bridges| {
        n += 1;
        turn(bridges, &mut time, &all, n, 5)
    };
    // Timers of the wheel have been in every place after that.
    for _ in 0..1_500 {
        step(&mut world.bridges);
    }
    let (mut made, mut clean) = (0, 0);
    for _ in 0..500 {
        let mut here = 0;
        let taken = allocations(|| here = step(&mut world.bridges));
        made += here;
        clean += u32::from(taken == 0);
        // A report or a look at a clock is planned for a moment of which the wheel has never heard: it makes room once.
        assert!(taken <= 8, "{taken}");
    }
    assert!(made >= 500 * 22, "{made}");
    assert!(clean > 440, "{clean} ticks of 500 took nothing");
}
