//! Events as they come and go: whole, lost, late, doubled; captures of others.

use super::*;
use crate::wire::rtp::{Header, Rtp};
use base::{Instant, Rng};
use proptest::prelude::*;

const MS: u64 = 1_000_000;

#[test]
fn a_payload_is_as_rfc_4733_draws_it() {
    let payload = Payload { code: 11, end: true, volume: 10, duration: 0x1234 };
    assert_eq!(payload.to_bytes(), [11, 0x80 | 10, 0x12, 0x34]);
    assert_eq!(Payload::parse(&payload.to_bytes()), Ok(payload));
    // The reserved bit is ignored, as is what follows.
    assert_eq!(Payload::parse(&[11, 0xc0 | 10, 0x12, 0x34, 9]), Ok(payload));
    assert_eq!(Payload::parse(&[11, 0, 0]), Err(Verdict::Undecodable));
}

#[test]
fn one_press_is_a_begin_updates_and_an_end() {
    let mut world = World::new(Duration::ZERO);
    world.press(0, 5, 100, 0);
    world.run();
    let phases: Vec<(Phase, u32)> = world.told.iter().map(|(_, event)| (event.phase, event.ticks)).collect();
    let expected = [
        (Phase::Begin, 160),
        (Phase::Update, 320),
        (Phase::Update, 480),
        (Phase::Update, 640),
        (Phase::End, 800),
    ];
    assert_eq!(phases, expected);
    let (at, last) = world.told[4];
    assert_eq!((at, last.digit(), last.duration()), (80, Some('5'), Duration::from_millis(100)));
}

#[test]
fn any_packet_of_a_digit_is_enough() {
    for kept in 0..7 {
        let mut world = World::new(REORDER);
        world.press(0, 7, 100, 0);
        world.packets.retain(|packet| packet.at == [0, 20, 40, 60, 80, 100, 120][kept]);
        world.run();
        assert_eq!(world.digits(), "7", "packet {kept}");
        let ticks = [160, 320, 480, 640, 800, 800, 800][kept];
        assert_eq!(world.told.last().unwrap().1.ticks, ticks);
    }
}

#[test]
fn a_digit_whose_ends_are_lost_ends_by_itself_once() {
    let mut world = World::new(Duration::ZERO);
    world.press(0, 1, 200, 0);
    world.packets.retain(|packet| packet.at < 180);
    // A straggler, long after.
    world.packets.push(Wire { at: 900, ..world.packets[3] });
    world.run();
    assert_eq!(world.digits(), "1");
    let (at, end) = *world.told.last().unwrap();
    assert_eq!((at, end.phase, end.ticks), (160 + END_AFTER.as_millis() as u64, Phase::End, 1_440));
}

#[test]
fn the_next_digit_ends_one_whose_ends_are_lost() {
    let mut world = World::new(Duration::ZERO);
    world.press(0, 1, 60, 0);
    world.packets.retain(|packet| packet.at < 40);
    world.press(100, 1, 60, 10);
    world.run();
    assert_eq!(world.digits(), "11");
    assert_eq!(world.ends(), [(100, 320), (140, 480)]);
}

#[test]
fn long_digits_are_segments_of_one_press() {
    for (clock, lose) in [(8_000, false), (8_000, true), (48_000, false), (48_000, true)] {
        let mut world = World { clock, ..World::new(REORDER) };
        world.press(0, 9, 20_000, 0);
        if lose {
            // Three packets around each change of segment.
            let segment = u64::from(SEGMENT_MAX) * 1_000 / u64::from(clock);
            world.packets.retain(|packet| (packet.at + 40) % segment > 60 || packet.at < 100);
        }
        world.run();
        assert_eq!(world.digits(), "9", "{clock} {lose}");
        assert_eq!(world.told.last().unwrap().1.duration(), Duration::from_secs(20));
        let ticks: Vec<u32> = world.told.iter().map(|(_, event)| event.ticks).collect();
        assert!(ticks.is_sorted());
    }
}

#[test]
fn digits_back_to_back_in_one_packet_are_all_told() {
    let mut receiver = Receiver::new(Duration::ZERO);
    let payload = [[1, 0x8a, 1, 0], [2, 0x8a, 1, 0], [3, 0x0a, 1, 0]].concat();
    let header = Header { marker: true, payload_type: 101, sequence: 9, timestamp: 1_000, ssrc: 1 };
    receiver.handle(Instant(0), &header, 8_000, &payload).unwrap();
    let mut told = Vec::new();
    while let Some(event) = receiver.poll(Instant(0)) {
        told.push((event.phase, event.code, event.timestamp));
    }
    let expected = [
        (Phase::Begin, 1, 1_000),
        (Phase::End, 1, 1_000),
        (Phase::Begin, 2, 1_256),
        (Phase::End, 2, 1_256),
        (Phase::Begin, 3, 1_512),
    ];
    assert_eq!(told, expected);
}

#[test]
fn quirks_of_senders_double_and_lose_nothing() {
    let check = |name: &str, change: fn(usize, &mut Wire), expected: &str| {
        let mut world = World::new(REORDER);
        for (at, code) in [4, 4, 2].into_iter().enumerate() {
            world.press(at as u64 * 300, code, 100, at as u16 * 20);
        }
        world.packets.iter_mut().enumerate().for_each(|(at, packet)| change(at, packet));
        world.run();
        assert_eq!(world.digits(), expected, "{name}");
        assert!(world.ends().iter().all(|(_, ticks)| *ticks == 800), "{name}: {:?}", world.ends());
    };
    check("none", |_, _| {}, "442");
    check("no marker at all", |_, packet| packet.marker = false, "442");
    check("markers everywhere", |_, packet| packet.marker = true, "442");
    check(
        "first duration is zero",
        |at, packet| {
            if at % 7 == 0 {
                packet.payload.duration = 0;
            }
        },
        "442",
    );
    check(
        "repeated ends keep their number",
        |at, packet| {
            packet.sequence -= [0, 0, 0, 0, 0, 1, 2][at % 7];
        },
        "442",
    );
    check("one timestamp for all digits", |_, packet| packet.timestamp = 5_000, "442");
    check(
        "the timestamp moves with each packet",
        |at, packet| {
            packet.timestamp += [0, 160, 320, 480, 640, 800, 960][at % 7];
        },
        "442",
    );
    check(
        "numbers and timestamps restart with the third digit",
        |at, packet| {
            if at >= 14 {
                packet.sequence = packet.sequence.wrapping_sub(30_000);
                packet.timestamp = packet.timestamp.wrapping_sub(1_000_000);
            }
        },
        "442",
    );
    check(
        "numbers wrap",
        |_, packet| packet.sequence = packet.sequence.wrapping_add(65_536u32.wrapping_sub(1_015) as u16),
        "442",
    );
    check("timestamps wrap", |_, packet| packet.timestamp = packet.timestamp.wrapping_sub(12_345), "442");
}

#[test]
fn a_long_pause_says_nothing_of_numbers() {
    for step in [0u16, 1, 20_000, 40_000, 65_000] {
        let mut world = World::new(REORDER);
        world.press(0, 3, 100, 0);
        world.press(60_000, 3, 100, step);
        world.run();
        assert_eq!(world.digits(), "33", "{step}");
    }
}

#[test]
fn a_restart_lets_go_what_was_down() {
    let mut world = World::new(REORDER);
    world.press(1_000, 3, 100, 0);
    world.packets.truncate(3);
    let mut receiver = Receiver::new(REORDER);
    for packet in &world.packets {
        receiver
            .handle(Instant(packet.at * MS), &packet.header(), 8_000, &packet.payload.to_bytes())
            .unwrap();
    }
    let now = Instant(1_060 * MS);
    assert_eq!(receiver.poll(now), None, "it waits for earlier ones");
    receiver.restart(now);
    let phases: Vec<Phase> = core::iter::from_fn(|| receiver.poll(now)).map(|event| event.phase).collect();
    assert_eq!(phases, [Phase::Begin, Phase::End]);
    assert!(!receiver.is_active());
}

#[test]
fn rubbish_is_refused_and_bounded() {
    let mut receiver = Receiver::new(REORDER);
    let header =
        |sequence: u16| Header { sequence, timestamp: u32::from(sequence) * 5_000, ..Header::default() };
    assert_eq!(receiver.handle(Instant(0), &header(0), 8_000, &[1, 2, 3]), Err(Verdict::Undecodable));
    assert_eq!(receiver.handle(Instant(0), &header(0), 0, &[1, 2, 3, 4]), Err(Verdict::Undecodable));
    let taken = (0..100).map(|n| receiver.handle(Instant(0), &header(n), 8_000, &[n as u8, 0, 0, 80]));
    let refused = taken.filter(|result| *result == Err(Verdict::Overrun)).count();
    assert_eq!(refused, 92);
    assert_eq!(core::iter::from_fn(|| receiver.poll(Instant(1_000 * MS))).count(), 16);
}

#[test]
fn a_timed_press_is_sent_each_interval_and_its_end_three_times() {
    let mut sender = Sender::new(48_000, Duration::from_millis(20));
    let start = Instant(5_000 * MS);
    sender.press(start, 11, 10, 77, Duration::from_millis(70));
    let mut sent = Vec::new();
    let mut now = start;
    while sender.is_active() {
        while let Some(packet) = sender.poll(now) {
            let payload = Payload::parse(&packet.payload).unwrap();
            assert_eq!((packet.timestamp, payload.code, payload.volume), (77, 11, 10));
            sent.push(((now.0 - start.0) / MS, packet.marker, payload.duration, payload.end));
        }
        now = sender.poll_timeout().unwrap_or(now);
    }
    let expected = [
        (0, true, 960, false),
        (20, false, 1_920, false),
        (40, false, 2_880, false),
        (60, false, 3_360, true),
        (80, false, 3_360, true),
        (100, false, 3_360, true),
    ];
    assert_eq!(sent, expected);
}

#[test]
fn a_late_poll_catches_up_without_a_burst() {
    let mut sender = Sender::new(8_000, Duration::from_millis(20));
    sender.press(Instant(0), 1, 10, 0, Duration::from_millis(200));
    let at = |sender: &mut Sender, ms: u64| {
        core::iter::from_fn(|| sender.poll(Instant(ms * MS)))
            .map(|packet| Payload::parse(&packet.payload).unwrap().duration)
            .collect::<Vec<_>>()
    };
    assert_eq!(at(&mut sender, 0), [160]);
    assert_eq!(at(&mut sender, 95), [800]);
    assert_eq!(at(&mut sender, 100), [960]);
    assert!(sender.is_down());
    assert_eq!(at(&mut sender, 500), [1_600, 1_600, 1_600]);
    assert!(!sender.is_active());
}

#[test]
fn what_is_left_of_a_digit_goes_out_before_the_next() {
    let mut sender = Sender::new(8_000, Duration::from_millis(20));
    sender.press(Instant(0), 1, 10, 0, Duration::from_millis(20));
    assert!(sender.poll(Instant(0)).is_some());
    sender.press(Instant(10 * MS), 2, 10, 900, Duration::from_millis(20));
    let sent: Vec<(u8, bool)> = core::iter::from_fn(|| sender.poll(Instant(10 * MS)))
        .map(|packet| (packet.payload[0], packet.payload[1] & 0x80 != 0))
        .collect();
    assert_eq!(sent, [(1, true), (1, true), (2, true)]);
    // One that is down is let go.
    let mut sender = Sender::new(8_000, Duration::from_millis(20));
    sender.press(Instant(0), 1, 10, 0, Duration::from_secs(60));
    assert!(sender.poll(Instant(0)).is_some());
    sender.release(Instant(5 * MS));
    let ends =
        core::iter::from_fn(|| sender.poll(Instant(5 * MS))).chain(core::iter::from_fn(|| None)).count();
    assert_eq!(ends, 1);
    assert!(!sender.is_down() && sender.is_active());
}

#[test]
fn another_peers_digit_is_passed_on_in_our_clock() {
    for (from, to, ms) in
        [(8_000, 48_000, 4_000), (48_000, 8_000, 4_000), (8_000, 16_000, 100), (8_000, 8_000, 12_345)]
    {
        let mut world = World { clock: from, ..World::new(Duration::ZERO) };
        world.press(0, 6, ms, 0);
        let mut rng = Rng::from_seed(ms);
        world.packets.retain(|packet| packet.at % 100 == 0 || rng.below(3) > 0);
        world.run();
        let mut second = World { clock: to, ..World::new(Duration::ZERO) };
        let mut sender = Sender::new(to, Duration::from_millis(20));
        let mut sequence = 500;
        let mut send = |sender: &mut Sender, at: u64, second: &mut World| {
            while let Some(packet) = sender.poll(Instant(at * MS)) {
                let payload = Payload::parse(&packet.payload).unwrap();
                let (marker, timestamp) = (packet.marker, packet.timestamp);
                second.packets.push(Wire { at, sequence, timestamp, marker, payload });
                sequence += 1;
            }
        };
        for (at, event) in &world.told {
            sender.follow(Instant(*at * MS), event, 4_000_000_000);
            send(&mut sender, *at, &mut second);
        }
        while let Some(at) = sender.poll_timeout() {
            send(&mut sender, at.0 / MS, &mut second);
        }
        assert!(second.packets.iter().filter(|packet| packet.marker).count() == 1);
        let ends: Vec<&Wire> = second.packets.iter().filter(|packet| packet.payload.end).collect();
        assert_eq!(ends.len(), 3);
        assert!(ends.windows(2).all(|pair| pair[1].at - pair[0].at == 20));
        second.run();
        assert_eq!(second.digits(), "6");
        let off = second.told.last().unwrap().1.duration().abs_diff(Duration::from_millis(ms));
        assert!(off < Duration::from_millis(1), "{from} to {to}: {off:?}");
        assert_eq!(second.told[0].1.timestamp, 4_000_000_000);
    }
}

#[test]
fn captured_digits_are_those_that_their_captures_name() {
    let check = |name: &str, digits: &str, clock: u32| {
        let datagrams = crate::material::datagrams(name);
        let mut receiver = Receiver::new(REORDER);
        let mut told = String::new();
        for (at, datagram) in &datagrams {
            let now = Instant(at - datagrams[0].0 + 1);
            let Ok(rtp) = Rtp::parse(datagram) else { continue };
            if rtp.header().payload_type == 101 {
                receiver.handle(now, &rtp.header(), clock, rtp.payload()).unwrap();
            }
            while let Some(event) = receiver.poll(now) {
                told.extend(event.digit().filter(|_| event.phase == Phase::End));
            }
        }
        while let Some(at) = receiver.poll_timeout() {
            while let Some(event) = receiver.poll(at) {
                told.extend(event.digit().filter(|_| event.phase == Phase::End));
            }
        }
        assert!(datagrams.is_empty() || told == digits, "{name}: {told}");
    };
    for digit in "0123456789".chars() {
        check(&format!("dtmf_2833_{digit}.pcap"), &digit.to_string(), 8_000);
    }
    check("dtmf_2833_star.pcap", "*", 8_000);
    check("dtmf_2833_pound.pcap", "#", 8_000);
    check("rtp_ulaw_dtmf.pcap", "2013785496", 8_000);
    check("rtp_opus_dtmf.pcap", "2013785496", 48_000);
}

proptest! {
    #[test]
    fn digits_out_are_digits_in(
        keys in proptest::collection::vec((0..16u8, 40..400u64, 40..300u64), 1..12),
        seed: u64,
        loss in 0..70u64,
        jitter in 0..99u64,
        doubled in 0..50u64,
        clock in prop_oneof![Just(8_000u32), Just(16_000), Just(48_000)],
    ) {
        let mut rng = Rng::from_seed(seed);
        let mut world = World { clock, ..World::new(REORDER) };
        let (mut at, mut sequence) = (0, rng.u32() as u16);
        let mut expected = String::new();
        let mut kept_longest = Vec::new();
        for (code, duration, gap) in keys {
            let first = world.packets.len();
            world.press(at, code, duration, sequence);
            let kept = first as u64 + rng.below((world.packets.len() - first) as u64);
            let mut number = 0;
            world.packets.retain(|_| {
                number += 1;
                number <= first as u64 || number - 1 == kept || rng.below(100) >= loss
            });
            let kept = &world.packets[first..];
            let longest = kept.iter().map(|packet| packet.payload.duration).max().unwrap();
            let pause = kept.windows(2).map(|pair| pair[1].at - pair[0].at).max().unwrap_or(0);
            kept_longest.push((longest, pause + jitter < END_AFTER.as_millis() as u64));
            // Audio between has numbers too.
            sequence = sequence.wrapping_add(((duration + gap) / 20) as u16 + 3);
            at += duration + gap;
            expected.push(super::super::digit(code).unwrap());
        }
        let copies: Vec<Wire> = world.packets.iter().filter(|_| rng.below(100) < doubled).copied().collect();
        world.packets.extend(copies);
        for packet in &mut world.packets {
            packet.at += rng.below(jitter + 1);
        }
        world.run();
        prop_assert_eq!(world.digits(), expected);
        for ((_, ticks), (longest, is_steady)) in world.ends().into_iter().zip(kept_longest) {
            let ticks = ticks as u16;
            prop_assert!(ticks == longest || !is_steady && ticks < longest, "{ticks} rather than {longest}");
        }
    }
}

/// One packet under way.
#[derive(Clone, Copy, Debug)]
struct Wire {
    at: u64,
    sequence: u16,
    timestamp: u32,
    marker: bool,
    payload: Payload,
}

impl Wire {
    fn header(&self) -> Header {
        Header {
            marker: self.marker,
            payload_type: 101,
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: 1,
        }
    }
}

/// A network between a press and a receiver; times in milliseconds.
struct World {
    clock: u32,
    packets: Vec<Wire>,
    receiver: Receiver,
    told: Vec<(u64, Event)>,
}

impl World {
    fn new(hold: Duration) -> World {
        World { clock: 8_000, packets: Vec::new(), receiver: Receiver::new(hold), told: Vec::new() }
    }

    /// What a sender sends for one key; sequence numbers from `sequence` + 1,000.
    fn press(&mut self, at: u64, code: u8, duration_ms: u64, sequence: u16) {
        let mut sender = Sender::new(self.clock, Duration::from_millis(20));
        let timestamp = (at * u64::from(self.clock) / 1_000) as u32;
        sender.press(Instant(at * MS), code, 10, timestamp, Duration::from_millis(duration_ms));
        let mut sequence = sequence.wrapping_add(1_000);
        while let Some(now) = sender.poll_timeout() {
            while let Some(packet) = sender.poll(now) {
                let payload = Payload::parse(&packet.payload).unwrap();
                let (marker, timestamp) = (packet.marker, packet.timestamp);
                self.packets.push(Wire { at: now.0 / MS, sequence, timestamp, marker, payload });
                sequence = sequence.wrapping_add(1);
            }
        }
    }

    /// Delivers all packets in the order of their arrival, and polls as told.
    fn run(&mut self) {
        self.packets.sort_by_key(|packet| packet.at);
        for packet in core::mem::take(&mut self.packets) {
            self.poll_until(Instant(packet.at * MS));
            let (header, payload) = (packet.header(), packet.payload.to_bytes());
            let taken = self.receiver.handle(Instant(packet.at * MS), &header, self.clock, &payload);
            assert_eq!(taken, Ok(()));
            self.poll(Instant(packet.at * MS));
        }
        self.poll_until(Instant(u64::MAX));
        assert!(!self.receiver.is_active());
        self.check();
    }

    fn poll_until(&mut self, now: Instant) {
        while let Some(at) = self.receiver.poll_timeout().filter(|at| *at <= now) {
            let before = self.told.len();
            self.poll(at);
            assert!(self.told.len() > before, "a time to wake has a reason");
        }
    }

    fn poll(&mut self, now: Instant) {
        while let Some(event) = self.receiver.poll(now) {
            self.told.push((now.0 / MS, event));
        }
    }

    /// Each key begins, grows and ends.
    fn check(&self) {
        let mut down: Option<Event> = None;
        for (_, event) in &self.told {
            match (event.phase, down) {
                (Phase::Begin, None) => down = Some(*event),
                (Phase::Update | Phase::End, Some(before)) => {
                    assert_eq!((event.code, event.timestamp), (before.code, before.timestamp));
                    assert!(event.ticks >= before.ticks);
                    down = (event.phase == Phase::Update).then_some(*event);
                }
                (phase, down) => panic!("{phase:?} while {down:?}"),
            }
        }
        assert_eq!(down, None);
    }

    fn digits(&self) -> String {
        let begun = self.told.iter().filter(|(_, event)| event.phase == Phase::Begin);
        begun.filter_map(|(_, event)| event.digit()).collect()
    }

    /// When keys ended, and after how many ticks.
    fn ends(&self) -> Vec<(u64, u32)> {
        let ended = self.told.iter().filter(|(_, event)| event.phase == Phase::End);
        ended.map(|(at, event)| (*at, event.ticks)).collect()
    }
}
