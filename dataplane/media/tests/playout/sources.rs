//! New sources, formats and clocks in the middle of a call; and what it all takes.

use crate::counting::allocations;
use crate::world::*;
use base::Duration;
use codec::payload::Kind;
use command::Verdict;
use media::playout::Pulled::Speech;
use media::wire::rtp::Header;

#[test]
fn a_new_source_is_played_without_a_gap() {
    let mut world = World::new(false);
    for n in 0..100 {
        if n == 50 {
            world.header = Header { ssrc: 77, sequence: 3, timestamp: 12_345, ..world.header };
        }
        world.send(&frame(n)).unwrap();
        world.tick();
    }
    assert!(find(&world.heard, &frames(0..95)).is_some(), "{:?}", world.playout.report());
    let report = world.playout.report();
    assert_eq!((report.concealed, report.waited, report.late), (0, 0, 0));
}

#[test]
fn numbers_that_start_anew_are_followed_once_confirmed() {
    let mut world = World::new(false);
    for n in 0..100 {
        if n == 50 {
            world.header = Header { sequence: 20_000, timestamp: 99, ..world.header };
        }
        let sent = world.send(&frame(n));
        assert_eq!(sent, if n == 50 { Err(Verdict::Late) } else { Ok(()) });
        world.tick();
    }
    assert!(find(&world.heard, &frames(51..95)).is_some());
    assert_eq!(world.playout.report().late, 1);
}

#[test]
fn timestamps_that_jump_are_followed_at_once() {
    for jump in [8_000u32 * 3_600, 8_000 * 5, 0u32.wrapping_sub(8_000 * 5), 0u32.wrapping_sub(8_000 * 3_600)]
    {
        let mut world = World::new(false);
        for n in 0..100 {
            if n == 50 {
                world.header.timestamp = world.header.timestamp.wrapping_add(jump);
            }
            world.send(&frame(n)).unwrap();
            world.tick();
        }
        assert!(find(&world.heard, &frames(0..95)).is_some(), "{jump}");
    }
}

#[test]
fn formats_and_clocks_change_in_the_middle() {
    let formats = vec![plain(SPEECH, 8_000, 8_000), plain(96, 8_000, 8_000), plain(97, 48_000, 8_000)];
    let mut world = World::with(false, 8_000, formats);
    for n in 0..150 {
        world.header.payload_type = [SPEECH, 96, 97][n as usize / 50];
        world.send(&frame(n)).unwrap();
        if n >= 100 {
            // 20 ms are 960 ticks here.
            world.header.timestamp = world.header.timestamp.wrapping_add(800);
        }
        world.tick();
    }
    assert!(find(&world.heard, &frames(0..145)).is_some(), "{:?}", world.playout.report());
}

#[test]
fn a_decoder_of_another_rate_is_resampled() {
    for (from, to) in [(8_000, 16_000), (16_000, 8_000), (8_000, 48_000), (48_000, 8_000), (16_000, 48_000)] {
        let mut world = World::with(false, to, vec![plain(SPEECH, from, from)]);
        let samples = from as usize / 100;
        for n in 0..100usize {
            let tone: Vec<i16> = (0..samples)
                .map(|i| {
                    let at = (n * samples + i) as f64 / f64::from(from);
                    (8_000.0 * (core::f64::consts::TAU * 500.0 * at).sin()) as i16
                })
                .collect();
            world.playout.insert(world.now, &world.header, &bytes(&tone)).unwrap();
            world.header.sequence = world.header.sequence.wrapping_add(1);
            world.header.timestamp = world.header.timestamp.wrapping_add(samples as u32);
            world.now += Duration::from_millis(10);
            if n % 2 == 1 {
                world.pull();
            }
        }
        let sound = &world.heard[world.heard.len() / 2..];
        let crossings = sound.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
        let hertz = crossings as f64 * f64::from(to) / sound.len() as f64;
        assert!((hertz - 500.0).abs() < 4.0, "{from} {to}: {hertz}");
        let loudest = sound.iter().max().unwrap();
        assert!((7_500..8_500).contains(loudest), "{from} {to}: {loudest}");
    }
}

#[test]
fn what_was_not_negotiated_or_lies_is_refused_and_nothing_is_lost_by_it() {
    let mut world = World::with(
        false,
        8_000,
        vec![plain(SPEECH, 8_000, 8_000), other(98, Kind::Video), other(99, Kind::Audio)],
    );
    for n in 0..50 {
        world.send(&frame(n)).unwrap();
        let header = Header { sequence: 999, ..world.header };
        for (payload_type, payload, verdict) in [
            (98, &[0; 160][..], Verdict::NoCodec),
            (99, &[0; 160], Verdict::NoCodec),
            (5, &[0; 160], Verdict::NoCodec),
            (SPEECH, &[], Verdict::Undecodable),
            (SPEECH, &[0; 161], Verdict::Undecodable),
            (SPEECH, &[0; 1_600], Verdict::Undecodable),
        ] {
            let header = Header { payload_type, ..header };
            assert_eq!(world.playout.insert(world.now, &header, payload), Err(verdict));
        }
        world.tick();
    }
    assert!(find(&world.heard, &frames(0..45)).is_some());
}

#[test]
fn neither_packets_nor_ticks_take_from_the_heap() {
    let formats = vec![
        plain(SPEECH, 8_000, 8_000),
        plain(96, 16_000, 16_000),
        other(CN, Kind::Noise),
        other(EVENT, Kind::Event),
    ];
    let mut world = World::with(false, 8_000, formats);
    let payloads: Vec<Vec<u8>> = (0..50).map(|n| bytes(&frame(n))).collect();
    let mut rng = base::Rng::from_seed(3);
    let mut pcm = [0; FRAME];
    let count = allocations(|| {
        for n in 0..5_000usize {
            world.lose();
            let late = rng.u64() % 200;
            let payload_type = match n % 100 {
                40..60 => 96,
                70..75 => CN,
                80..85 => EVENT,
                _ => SPEECH,
            };
            let ssrc = (n / 700) as u32;
            let header = Header { payload_type, ssrc, ..world.header };
            if !rng.u64().is_multiple_of(20) {
                let now = world.now + Duration::from_millis(late);
                let _ = world.playout.insert(now, &header, &payloads[n % 50]);
            }
            world.playout.pull(world.now, &mut pcm);
            world.now += Duration::from_millis(20);
        }
    });
    assert_eq!(count, 0);
    let report = world.playout.report();
    assert!(report.concealed > 0 && report.stretched > 0 && report.shortened > 0, "{report:?}");
}

#[test]
fn speech_is_heard_after_any_of_it() {
    let mut world = World::new(false);
    let mut rng = base::Rng::from_seed(11);
    for round in 0..200u32 {
        for n in 0..20 {
            match rng.u64() % 12 {
                0 => world.header.ssrc = rng.u32(),
                1 => world.header.sequence = rng.u32() as u16,
                2 => world.header.timestamp = rng.u32(),
                3 => world.now += Duration::from_millis(rng.u64() % 3_000),
                4..7 => world.lose(),
                _ => {}
            }
            let _ = world.send(&frame(n));
            world.tick();
        }
        for n in 0..600 {
            let sent = world.send(&frame(n));
            assert!(n < 20 || sent.is_ok(), "round {round}: {sent:?}");
            world.tick();
        }
        world.kinds.clear();
        for n in 600..620 {
            world.send(&frame(n)).unwrap();
            world.tick();
        }
        assert_eq!(world.kinds, [Speech; 20], "round {round}: {:?}", world.playout.report());
        let report = world.playout.report();
        assert!(report.delay < Duration::from_millis(120), "round {round}: {report:?}");
    }
}
