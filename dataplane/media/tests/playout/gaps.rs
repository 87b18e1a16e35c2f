//! Silence, loss, events and stalls.

use crate::world::*;
use base::Duration;
use media::playout::Pulled::{Concealed, Noise, Silence, Speech};

fn talk(world: &mut World, range: core::ops::Range<u32>) {
    for n in range {
        world.send(&frame(n)).unwrap();
        world.tick();
    }
}

#[test]
fn nothing_is_silence() {
    let mut world = World::new(false);
    assert_eq!((world.tick(), world.tick()), (Silence, Silence));
    assert_eq!(world.heard, [0; 2 * FRAME]);
}

#[test]
fn a_lost_packet_is_concealed_in_its_place() {
    let mut world = World::new(false);
    talk(&mut world, 0..50);
    world.lose();
    world.tick();
    talk(&mut world, 51..100);
    let wanted = [frames(40..50), vec![MADE_UP; FRAME], frames(51..60)].concat();
    assert!(find(&world.heard, &wanted).is_some());
    let report = world.playout.report();
    assert_eq!((report.concealed, report.waited, report.late), (FRAME as u64, 0, 0));
}

#[test]
fn a_lost_packet_is_won_back_where_the_next_one_holds_it_and_is_there() {
    let mut world = World::new(true);
    let mut holds = frame(51);
    holds[0] = HOLDS_MORE;
    talk(&mut world, 0..50);
    world.lose();
    world.tick();
    world.send(&holds).unwrap();
    world.tick();
    talk(&mut world, 52..80);
    let wanted = [frames(40..50), vec![WON_BACK; FRAME], holds.to_vec(), frames(52..60)].concat();
    assert!(find(&world.heard, &wanted).is_some());
    let report = world.playout.report();
    assert_eq!((report.concealed, report.recovered), (0, FRAME as u64));
}

#[test]
fn of_two_lost_packets_the_second_is_won_back() {
    let mut world = World::new(true);
    let mut holds = frame(52);
    holds[0] = HOLDS_MORE;
    talk(&mut world, 0..50);
    for _ in 0..2 {
        world.lose();
        world.tick();
    }
    world.send(&holds).unwrap();
    world.tick();
    talk(&mut world, 53..80);
    let wanted = [vec![MADE_UP; FRAME], vec![WON_BACK; FRAME], holds.to_vec()].concat();
    assert!(find(&world.heard, &wanted).is_some());
    assert_eq!(world.playout.report().recovered, FRAME as u64);
}

#[test]
fn a_gap_without_notice_is_concealed_for_sixty_milliseconds_and_then_is_noise() {
    let mut world = World::new(false);
    talk(&mut world, 0..50);
    world.kinds.clear();
    for _ in 0..10 {
        world.lose();
        world.tick();
    }
    talk(&mut world, 60..70);
    let last = world.kinds.iter().position(|kind| *kind != Speech).unwrap();
    assert_eq!(world.kinds[last..last + 10], [[Concealed; 3].as_slice(), &[Noise; 7]].concat());
    assert_eq!(world.kinds[last + 10], Speech);
    assert_eq!(world.playout.report().concealed, 10 * FRAME as u64);
}

#[test]
fn a_silence_told_by_comfort_noise_is_noise_and_nothing_is_concealed() {
    let mut world = World::new(false);
    talk(&mut world, 0..50);
    world.send_other(CN, &[40]).unwrap();
    world.kinds.clear();
    for _ in 0..50 {
        world.header.timestamp = world.header.timestamp.wrapping_add(FRAME as u32);
        world.tick();
    }
    let noise = world.kinds.iter().filter(|kind| **kind == Noise).count();
    assert!(noise >= 48 && !world.kinds.contains(&Concealed), "{:?}", world.kinds);
    let made: &[i16] = &world.heard[world.heard.len() - 20 * FRAME..];
    assert!(made.iter().any(|sample| *sample != 0), "it is heard");
    world.header.marker = true;
    talk(&mut world, 100..150);
    assert!(find(&world.heard, &frames(101..140)).is_some());
    let report = world.playout.report();
    assert_eq!((report.concealed, report.waited), (0, 0));
}

#[test]
fn a_silence_of_the_codec_is_noise_and_nothing_is_concealed() {
    let mut world = World::new(false);
    talk(&mut world, 0..50);
    world.send(&[0]).unwrap();
    world.kinds.clear();
    for n in 0..60 {
        world.tick();
        // One update in 400 ms, numbered on.
        world.header.timestamp = world.header.timestamp.wrapping_add(FRAME as u32);
        if n % 20 == 19 {
            world.header.timestamp = world.header.timestamp.wrapping_sub(FRAME as u32);
            world.send(&[0]).unwrap();
        }
    }
    assert!(!world.kinds.contains(&Concealed), "{:?}", world.kinds);
    talk(&mut world, 100..150);
    let report = world.playout.report();
    assert_eq!((report.concealed, report.waited), (0, 0));
}

#[test]
fn a_pause_that_the_timestamps_tell_of_is_not_counted_as_concealed() {
    let mut world = World::new(false);
    talk(&mut world, 0..50);
    for _ in 0..40 {
        world.header.timestamp = world.header.timestamp.wrapping_add(FRAME as u32);
        world.tick();
    }
    world.header.marker = true;
    talk(&mut world, 90..150);
    let report = world.playout.report();
    assert_eq!((report.concealed, report.waited), (0, 0));
    assert!(find(&world.heard, &frames(90..140)).is_some());
}

#[test]
fn events_between_speech_are_no_loss() {
    let mut world = World::new(false);
    talk(&mut world, 0..50);
    for _ in 0..10 {
        world.send_other(EVENT, &[5, 0, 0, 160]).unwrap();
        world.tick();
    }
    world.header.timestamp = world.header.timestamp.wrapping_add(10 * FRAME as u32);
    talk(&mut world, 60..100);
    let report = world.playout.report();
    assert_eq!((report.concealed, report.waited, report.late), (0, 0, 0));
    assert!(find(&world.heard, &frames(60..90)).is_some());
    // Events among packets of speech that run on beneath them.
    for n in 100..120 {
        world.send_other(EVENT, &[5, 0, 0, 160]).unwrap();
        world.send(&frame(n)).unwrap();
        world.tick();
    }
    talk(&mut world, 120..130);
    assert!(find(&world.heard, &frames(100..125)).is_some());
    assert_eq!(world.playout.report().concealed, 0);
}

#[test]
fn late_and_repeated_packets_are_counted_and_not_played() {
    let mut world = World::new(false);
    talk(&mut world, 0..20);
    let missed = world.header;
    world.lose();
    world.tick();
    talk(&mut world, 21..30);
    let late = bytes(&frame(20));
    assert_eq!(world.playout.insert(world.now, &missed, &late), Err(command::Verdict::Late));
    assert_eq!(world.playout.insert(world.now, &missed, &late), Err(command::Verdict::Duplicate));
    let repeated =
        media::wire::rtp::Header { sequence: world.header.sequence.wrapping_sub(1), ..world.header };
    assert_eq!(world.playout.insert(world.now, &repeated, &late), Err(command::Verdict::Duplicate));
    talk(&mut world, 30..40);
    let report = world.playout.report();
    assert_eq!((report.late, report.duplicates), (1, 2));
    assert!(find(&world.heard, &frames(21..38)).is_some());
}

#[test]
fn a_burst_behind_a_stall_is_played_whole() {
    let mut world = World::new(false);
    talk(&mut world, 0..100);
    for _ in 0..25 {
        world.tick();
    }
    for n in 100..125 {
        world.send(&frame(n)).unwrap();
    }
    talk(&mut world, 125..130);
    assert!(world.playout.report().delay > Duration::from_millis(480), "{:?}", world.playout.report());
    assert!(find(&world.heard, &frames(100..101)).is_some());
    let report = world.playout.report();
    assert_eq!((report.late, report.overruns, report.concealed), (0, 0, 0));
    // Loud noise is the last that can be shortened, and is all the same.
    talk(&mut world, 130..630);
    assert!(world.playout.report().delay < Duration::from_millis(70), "{:?}", world.playout.report());
}

#[test]
fn a_long_absence_ends_in_silence_and_begins_anew() {
    let mut world = World::new(false);
    talk(&mut world, 0..100);
    for _ in 0..400 {
        world.lose();
        world.tick();
    }
    assert_eq!(world.kinds.last(), Some(&Silence));
    talk(&mut world, 500..600);
    assert!(find(&world.heard, &frames(500..590)).is_some());
    // Any number of times, and of any length.
    for (round, absence) in (0..).zip([10u32, 50, 100, 200, 260, 300, 1_000]) {
        for _ in 0..absence {
            world.tick();
        }
        talk(&mut world, 1_000 + round * 500..1_500 + round * 500);
        let report = world.playout.report();
        assert!(report.delay < Duration::from_millis(80), "{absence}: {report:?}");
        assert_eq!(world.kinds.last(), Some(&Speech), "{absence}");
    }
}

#[test]
fn more_than_there_is_room_for_makes_the_oldest_give_way() {
    let mut world = World::new(false);
    talk(&mut world, 0..50);
    for n in 50..250 {
        world.send(&frame(n)).unwrap();
    }
    let report = world.playout.report();
    assert!(report.overruns > 100, "{report:?}");
    assert!(report.buffered <= Duration::from_millis(64 * 20 + 40), "{report:?}");
    talk(&mut world, 250..1_200);
    let report = world.playout.report();
    assert!(report.delay < Duration::from_millis(100), "{report:?}");
    assert_eq!(world.kinds.last(), Some(&Speech));
}
