//! Samples that nobody may touch.

use crate::traces::shared;
use crate::world::*;
use base::{Duration, Instant, Rng};
use media::wire::rtp::Header;

#[test]
fn a_steady_stream_is_heard_exactly() {
    for patient in [false, true] {
        let mut world = World::new(patient);
        for n in 0..3_000 {
            world.send(&frame(n)).unwrap();
            world.tick();
        }
        let sent = frames(0..2_900);
        assert!(find(&world.heard, &sent).is_some(), "patient: {patient}");
        assert_eq!(world.playout.report().concealed + world.playout.report().waited, 0);
    }
}

#[test]
fn ticks_of_ten_milliseconds_and_packets_of_any_length_are_heard_exactly() {
    for (ms, tick_ms) in [(10, 10), (10, 20), (30, 20), (40, 20), (60, 20), (80, 20), (30, 10), (80, 10)] {
        let mut world = World::new(false);
        let sent = frames(0..1_200);
        let (per_packet, per_tick) = (ms * 8, tick_ms * 8);
        let mut packets = sent.chunks_exact(per_packet);
        for at in (0..25_000).step_by(10) {
            if at % ms == 0
                && let Some(packet) = packets.next()
            {
                world.playout.insert(world.now, &world.header, &bytes(packet)).unwrap();
                world.header.sequence = world.header.sequence.wrapping_add(1);
                world.header.timestamp = world.header.timestamp.wrapping_add(per_packet as u32);
            }
            if at % tick_ms == 0 {
                let mut pcm = vec![0; per_tick];
                world.playout.pull(world.now, &mut pcm);
                world.heard.extend(pcm);
            }
            world.now += Duration::from_millis(10);
        }
        assert!(find(&world.heard, &sent).is_some(), "{ms} ms by {tick_ms} ms: {:?}", world.playout.report());
    }
}

#[test]
fn a_recording_is_exact_under_jitter_and_late_ticks() {
    for seed in 0..5 {
        let mut rng = Rng::from_seed(seed);
        let mut arrivals: Vec<(u64, u32)> =
            (0..3_000).map(|n| (u64::from(n) * 20 * MS + rng.u64() % (150 * MS), n)).collect();
        arrivals.sort_unstable();
        let mut world = World::new(true);
        let start = world.now;
        let mut coming = arrivals.iter().peekable();
        let mut late_until = 0;
        for tick in 0..3_050u64 {
            let due = start.0 + tick * 20 * MS;
            if rng.u64().is_multiple_of(100) && due > late_until {
                late_until = due + rng.u64() % (100 * MS);
            }
            // Those that were missed come at once.
            world.now = Instant(due.max(late_until));
            while let Some((at, n)) = coming.next_if(|(at, _)| start.0 + at <= world.now.0) {
                let header = Header {
                    sequence: world.header.sequence.wrapping_add(*n as u16),
                    timestamp: world.header.timestamp.wrapping_add(n * 160),
                    ..world.header
                };
                world.playout.insert(Instant(start.0 + at), &header, &bytes(&frame(*n))).unwrap();
            }
            world.pull();
        }
        assert!(find(&world.heard, &frames(0..3_000)).is_some(), "seed {seed}: {:?}", world.playout.report());
    }
}

#[test]
fn a_tick_that_was_late_and_is_made_up_for_changes_nothing() {
    let mut world = World::new(false);
    let start = world.now;
    for n in 0..500u32 {
        let due = start + Duration::from_millis(u64::from(n) * 20);
        // Every hundredth tick comes with the fourth behind it.
        world.now = if n > 100 && n % 100 < 4 {
            start + Duration::from_millis(u64::from(n / 100 * 100 + 4) * 20)
        } else {
            due
        };
        let header = Header { sequence: n as u16, timestamp: n * 160, ..world.header };
        world.playout.insert(due, &header, &bytes(&frame(n))).unwrap();
        world.pull();
    }
    assert!(find(&world.heard, &frames(0..480)).is_some(), "{:?}", world.playout.report());
}

/// Frequency by the turns of the phase between frames, and the greatest break of the phase, in degrees.
fn phases(heard: &[i16], hertz: f64) -> Vec<f64> {
    let angle = |frame: &[i16], at: usize| {
        let (mut re, mut im) = (0.0, 0.0);
        for (n, sample) in frame.iter().enumerate() {
            let turn = core::f64::consts::TAU * hertz * (at + n) as f64 / 8_000.0;
            re += f64::from(*sample) * turn.cos();
            im += f64::from(*sample) * turn.sin();
        }
        im.atan2(re).to_degrees()
    };
    // 200 samples are whole turns of 440 Hz.
    heard.chunks_exact(200).enumerate().map(|(n, frame)| angle(frame, n * 200)).collect()
}

#[test]
fn a_tone_keeps_its_pitch_and_breaks_only_where_something_was_made_up() {
    let Some(trace) = shared("jitter80_reorder2") else { return crate::tell_of_absent() };
    let mut arrivals: Vec<(i64, u32)> =
        trace.rows.iter().filter_map(|row| Some((row.arrived?, row.slot))).collect();
    arrivals.sort_unstable();
    let mut world = World::new(false);
    let tone = |n: u32| -> [i16; FRAME] {
        core::array::from_fn(|i| {
            let at = f64::from(n * 160 + i as u32);
            (9_000.0 * (core::f64::consts::TAU * 440.0 * at / 8_000.0).sin()) as i16
        })
    };
    let mut coming = arrivals.iter().peekable();
    let start = world.now;
    let first = world.header;
    // Where something was done: 300 ms of sound around it.
    let mut disturbed = Vec::new();
    let mut before = world.playout.report();
    for tick in 0..3_000u64 {
        world.now = start + Duration::from_millis(tick * 20);
        while let Some((at, n)) = coming.next_if(|(at, _)| *at as u64 <= tick * 20_000) {
            let header = Header {
                sequence: first.sequence.wrapping_add(*n as u16),
                timestamp: first.timestamp.wrapping_add(n * 160),
                ..first
            };
            let _ =
                world.playout.insert(start + Duration::from_micros(*at as u64), &header, &bytes(&tone(*n)));
        }
        let pulled = world.pull();
        let now = world.playout.report();
        let change = |r: media::playout::PlayoutReport| (r.concealed, r.waited, r.shortened, r.stretched);
        if change(now) != change(before) || pulled != media::playout::Pulled::Speech {
            disturbed.push(world.heard.len());
        }
        before = now;
    }
    let (mut calm, mut turned) = (0, 0.0f64);
    let phases = phases(&world.heard, 440.0);
    for (n, pair) in phases.windows(2).enumerate() {
        let (from, to) = (n * 200, (n + 2) * 200);
        if disturbed.iter().any(|at| from < at + 480 && to + 480 > *at) {
            continue;
        }
        let turn = (pair[1] - pair[0] + 540.0).rem_euclid(360.0) - 180.0;
        assert!(turn.abs() < 3.0, "{turn} degrees at {from}");
        (calm, turned) = (calm + 1, turned + turn);
    }
    assert!(calm > 2_000, "{calm} of {}", phases.len());
    // Degrees in 25 ms, as turns a second.
    let off = turned / f64::from(calm) / 360.0 / 0.025;
    assert!(off.abs() < 0.05, "{off} Hz");
    // Over all of it, with what was disturbed: crossings upwards a second.
    let sound: Vec<i16> = world.heard.iter().copied().skip(8_000).collect();
    let crossings = sound.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
    let hertz = crossings as f64 * 8_000.0 / sound.len() as f64;
    assert!((hertz - 440.0).abs() < 4.0, "{hertz} Hz");
}
