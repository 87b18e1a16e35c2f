//! Digits: events through a transcode, tones for who takes no events, orders, policies (media.md, "DTMF").

use crate::world::*;
use base::Rng;
use command::{DigitsTowards, Ended, Event, Order, Outcome, Payload, PortIndex, Ticket, Verdict};
use media::dtmf::event::{Phase, Receiver};
use media::dtmf::tones::{Detector, Found, Generator, Levels};

fn wide_events() -> Payload {
    payload(102, "telephone-event", 48_000)
}

/// The packets of one key, 20 ms apart, the end three times: when, from its begin, in ms.
fn key(talker: &mut Talker, (number, clock): (u8, u32), digit: char, length: u32) -> Vec<(u64, Vec<u8>)> {
    let code = media::dtmf::code(digit).unwrap();
    let count = length / 20;
    talker.header.marker = true;
    let mut packets = Vec::new();
    for n in 1..=count + 2 {
        let (end, ticks) = (n >= count, n.min(count) * clock / 50);
        let [high, low] = (ticks as u16).to_be_bytes();
        let payload = [code, u8::from(end) << 7 | 10, high, low];
        packets.push((u64::from(n.min(count)) * 20, talker.packet(number, &payload)));
    }
    packets
}

/// A presses a key for so long, then says nothing for `gap`.
fn press(world: &mut World, talker: &mut Talker, format: (u8, u32), digit: char, length: u32, gap: u32) {
    let begin = world.micros;
    let packets = key(talker, format, digit, length);
    for (at, packet) in packets {
        world.wait_micros(begin + at * 1_000 - world.micros);
        let _ = world.send(talker.slot, talker.address, &packet);
    }
    talker.pause(length + gap);
    world.wait_micros(begin + u64::from(length + gap) * 1_000 - world.micros);
}

fn events_of(heard: &[Heard], number: u8) -> Vec<&Heard> {
    heard.iter().filter(|packet| packet.header.payload_type == number).collect()
}

/// The digits of events: which, how long in ms, and when they began.
fn read(heard: &[Heard], number: u8, clock: u32) -> Vec<(char, u64)> {
    let mut receiver = Receiver::new(ms(0));
    let mut digits = Vec::new();
    for packet in events_of(heard, number) {
        let now = at(packet.at).mono;
        receiver.handle(now, &packet.header, clock, &packet.payload).unwrap();
        while let Some(event) = receiver.poll(now) {
            if event.phase == Phase::End {
                digits.push((event.digit().unwrap(), event.duration().as_millis() as u64));
            }
        }
    }
    digits
}

/// The digits that sound, and how long in ms.
fn detect(payload: &Payload, heard: &[Heard]) -> Vec<(char, u64)> {
    let (mut pcm, rate) = listen(payload, heard);
    pcm.extend(vec![0; rate as usize / 5]);
    let mut digits = Vec::new();
    Detector::new(rate).process(&pcm, |found| {
        if let Found::End { digit, duration, .. } = found {
            digits.push((digit, duration.as_millis() as u64));
        }
    });
    digits
}

fn told_digits(world: &World) -> Vec<(u16, char, u64)> {
    let digit = |event: &Event| match event {
        Event::Digit { port, digit, duration, .. } => Some((port.0, *digit, duration.as_millis() as u64)),
        _ => None,
    };
    world.told.iter().filter_map(digit).collect()
}

fn ended(world: &World) -> Vec<(Ticket, Ended)> {
    let ended = |event: &Event| match event {
        Event::Ended { ticket, ended, .. } => Some((*ticket, *ended)),
        _ => None,
    };
    world.told.iter().filter_map(ended).collect()
}

#[test]
fn events_pass_a_transcode_with_their_durations_scaled() {
    for (source, from, sink, to) in [
        (opus(), wide_events(), pcmu(), events()),
        (pcmu(), events(), opus(), wide_events()),
        (pcmu(), events(), g722(), events()),
    ] {
        let mut world = World::call(&[source.clone(), from.clone()], 20, &[sink.clone(), to.clone()], 20);
        let mut a = Talker::a(&source, 20);
        world.talk(400, &mut [&mut a]);
        press(&mut world, &mut a, (from.number, from.clock), '7', 200, 100);
        world.talk(400, &mut [&mut a]);
        assert_eq!(world.drops(0), []);
        let heard = world.heard(B_RTP);
        assert_eq!(read(&heard, to.number, to.clock), [('7', 200)]);
        let packets = events_of(&heard, to.number);
        assert!(packets[0].header.marker && packets[1..].iter().all(|packet| !packet.header.marker));
        assert!(packets.iter().all(|packet| packet.header.timestamp == packets[0].header.timestamp));
        let ends: Vec<_> = packets.iter().filter(|packet| packet.payload[1] & 0x80 != 0).collect();
        assert_eq!(ends.len(), 3);
        let ticks = |packet: &Heard| u32::from(u16::from_be_bytes([packet.payload[2], packet.payload[3]]));
        assert!(ends.iter().all(|packet| ticks(packet) == to.clock / 5));
        assert!(packets.windows(2).all(|pair| ticks(pair[0]) <= ticks(pair[1])));
        // One numbering, and the audio's time has run on underneath.
        for pair in heard.windows(2) {
            assert_eq!(pair[1].header.sequence, pair[0].header.sequence.wrapping_add(1));
        }
        let audio: Vec<Heard> =
            heard.iter().filter(|packet| packet.header.payload_type == sink.number).cloned().collect();
        let all = audio.last().unwrap().header.timestamp.wrapping_sub(audio[0].header.timestamp);
        assert_eq!(all, (400 + 300 + 380) * (sink.clock / 1_000));
        let begin = packets[0].header.timestamp.wrapping_sub(audio[0].header.timestamp);
        assert_eq!(begin, 400 * (sink.clock / 1_000), "where the audio was");
    }
}

#[test]
fn a_peer_with_opus_may_have_events_of_eight_kilohertz_only() {
    let mut world = World::call(&[opus(), events()], 20, &[pcmu(), events()], 20);
    let mut a = Talker::a(&opus(), 20);
    world.talk(400, &mut [&mut a]);
    press(&mut world, &mut a, (101, 8_000), '#', 160, 140);
    world.talk(400, &mut [&mut a]);
    let heard = world.heard(B_RTP);
    assert_eq!(read(&heard, 101, 8_000), [('#', 160)]);
    let audio: Vec<Heard> = heard.into_iter().filter(|packet| packet.header.payload_type == 0).collect();
    let all = audio.last().unwrap().header.timestamp.wrapping_sub(audio[0].header.timestamp);
    assert_eq!(all, (400 + 300 + 380) * 8, "the audio's clock is not disturbed");
    // And towards it.
    let mut b = Talker::b(&pcmu(), 20);
    world.talk(400, &mut [&mut b]);
    press(&mut world, &mut b, (101, 8_000), '0', 160, 140);
    assert_eq!(read(&world.heard(A_RTP), 101, 8_000), [('0', 160)]);
}

#[test]
fn keys_arrive_once_over_a_bad_network() {
    for seed in 0..20 {
        let mut rng = Rng::from_seed(seed);
        let mut world = World::call(&[opus(), wide_events()], 20, &[pcmu(), events()], 20);
        let mut a = Talker::a(&opus(), 20);
        world.talk(200, &mut [&mut a]);
        let digits: Vec<char> = "0123456789*#ABCD5555".chars().collect();
        let mut network = Vec::new();
        let mut begin = world.micros / 1_000;
        for digit in &digits {
            for (at, packet) in key(&mut a, (102, 48_000), *digit, 160) {
                if rng.below(10) != 0 {
                    network.push((begin + at + rng.below(4) * rng.below(10), packet.clone()));
                }
                if rng.below(10) == 0 {
                    network.push((begin + at + rng.below(30), packet));
                }
            }
            a.pause(160);
            begin += 160;
            for _ in 0..5 {
                let packet = a.speak();
                begin += 20;
                network.push((begin, packet));
            }
        }
        network.sort_by_key(|(at, _)| *at);
        for (at, packet) in network {
            world.wait_micros(at * 1_000 - world.micros);
            let _ = world.send(A_RTP, A, &packet);
        }
        world.wait(500);
        let heard = world.heard(B_RTP);
        let read: String = read(&heard, 101, 8_000).into_iter().map(|(digit, _)| digit).collect();
        assert_eq!(read, digits.iter().collect::<String>(), "{seed}");
        for pair in heard.windows(2) {
            assert_eq!(pair[1].header.sequence, pair[0].header.sequence.wrapping_add(1));
        }
    }
}

#[test]
fn who_takes_no_events_gets_tones_and_five_seconds_later_the_call_passes_again() {
    let mut world = World::with(&[pcmu(), events()], &[pcmu()], |_| {});
    let mut a = Talker::a(&pcmu(), 20);
    world.talk(400, &mut [&mut a]);
    a.tone.1 = 0.0;
    for digit in ['5', '1', '#'] {
        press(&mut world, &mut a, (101, 8_000), digit, 200, 100);
        world.talk(200, &mut [&mut a]);
    }
    world.talk(3_000, &mut [&mut a]);
    let packet = a.speak();
    assert_eq!(world.send(A_RTP, A, &packet), Ok(false), "still made here");
    world.talk(2_500, &mut [&mut a]);
    let packet = a.speak();
    assert_eq!(world.send(A_RTP, A, &packet), Ok(true), "passes again");
    let heard = world.heard(B_RTP);
    assert_eq!(events_of(&heard, 101).len(), 0, "not even before the first key is known for one");
    let found = detect(&pcmu(), &heard);
    assert_eq!(found.iter().map(|(digit, _)| *digit).collect::<String>(), "51#");
    assert!(found.iter().all(|(_, ms)| (160..=240).contains(ms)), "{found:?}");
    steps(&heard);
}

#[test]
fn who_is_told_by_info_gets_digits_in_no_form() {
    let mut world = World::with(&[pcmu(), events()], &[pcmu()], |spec| {
        spec.ports[0].voice.digits.report = true;
        spec.ports[1].voice.digits.towards = DigitsTowards::Nothing;
    });
    let mut a = Talker::a(&pcmu(), 20);
    world.talk(400, &mut [&mut a]);
    a.tone.1 = 0.0;
    press(&mut world, &mut a, (101, 8_000), '5', 200, 100);
    world.talk(400, &mut [&mut a]);
    assert_eq!(told_digits(&world), [(0, '5', 200)]);
    let packet = a.speak();
    assert_eq!(world.send(A_RTP, A, &packet), Ok(true), "nothing is made for it");
    let heard = world.heard(B_RTP);
    assert_eq!(events_of(&heard, 101).len(), 0);
    assert_eq!(detect(&pcmu(), &heard), []);
}

#[test]
fn a_transcoded_sink_without_events_gets_tones_too() {
    let mut world = World::call(&[g722(), events()], 20, &[opus()], 20);
    let mut a = Talker::a(&g722(), 20);
    world.talk(400, &mut [&mut a]);
    a.tone.1 = 0.0;
    press(&mut world, &mut a, (101, 8_000), '9', 200, 100);
    world.talk(7_000, &mut [&mut a]);
    let heard = world.heard(B_RTP);
    let found = detect(&opus(), &heard);
    assert_eq!(found.iter().map(|(digit, _)| *digit).collect::<String>(), "9");
    let steps = steps(&heard);
    assert!(steps.iter().all(|step| (1..=10 * 960).contains(step)), "{steps:?}");
    // Transcoded on arrival again.
    world.micros += 7_000;
    let packet = a.speak();
    world.send(A_RTP, A, &packet).unwrap();
    assert_eq!(world.heard(B_RTP).len(), 1);
}

#[test]
fn blocked_digits_reach_nobody_but_are_told() {
    for b in [vec![pcmu(), events()], vec![opus(), wide_events()]] {
        let mut world = World::with(&[pcmu(), events()], &b, |spec| {
            if b[0] == opus() {
                spec.edges = vec![edge(0, 1, transcode(111, 20)), edge(1, 0, transcode(0, 20))];
            }
            spec.ports[0].voice.digits.block = true;
            spec.ports[0].voice.digits.report = true;
        });
        let mut a = Talker::a(&pcmu(), 20);
        world.talk(400, &mut [&mut a]);
        press(&mut world, &mut a, (101, 8_000), '4', 200, 100);
        world.talk(400, &mut [&mut a]);
        world.wait(500);
        assert_eq!(told_digits(&world), [(0, '4', 200)]);
        assert_eq!(world.drops(0), [(Verdict::DigitBlocked, 12)]);
        let heard = world.heard(B_RTP);
        assert!(heard.iter().all(|packet| packet.header.payload_type == b[0].number));
        assert_eq!(heard.len(), 40);
    }
}

#[test]
fn reported_digits_pass_and_are_told_once() {
    for transform in [relay(), transcode(0, 20)] {
        let mut world = World::with(&[pcmu(), events()], &[pcmu(), events()], |spec| {
            spec.edges[0].transform = transform.clone();
            spec.ports[0].voice.digits.report = true;
        });
        let mut a = Talker::a(&pcmu(), 20);
        world.talk(400, &mut [&mut a]);
        for digit in ['1', '1', 'D'] {
            press(&mut world, &mut a, (101, 8_000), digit, 100, 60);
        }
        world.wait(500);
        assert_eq!(told_digits(&world), [(0, '1', 100), (0, '1', 100), (0, 'D', 100)]);
        assert_eq!(read(&world.heard(B_RTP), 101, 8_000), [('1', 100), ('1', 100), ('D', 100)]);
        assert_eq!(world.drops(0), []);
    }
}

/// A says a digit as a tone.
fn sound(world: &mut World, a: &mut Talker, digit: char, length: u64) {
    let mut generator = Generator::new(8_000);
    generator.start(digit, Levels::default(), Some(ms(length)));
    for _ in 0..(length / 20 + 3) {
        let mut pcm = [0; 160];
        generator.fill(&mut pcm);
        let mut coded = [0; 160];
        codec::g711::encode_ulaw(&pcm, &mut coded);
        let packet = a.packet(0, &coded);
        a.pause(20);
        a.header.marker = false;
        world.send(A_RTP, A, &packet).unwrap();
        world.wait(20);
    }
}

#[test]
fn tones_in_speech_become_events_where_they_are_listened_for() {
    for b in [vec![pcmu(), events()], vec![opus(), wide_events()]] {
        let mut world = World::with(&[pcmu()], &b, |spec| {
            if b[0] == opus() {
                spec.edges = vec![edge(0, 1, transcode(111, 20)), edge(1, 0, transcode(0, 20))];
            }
            spec.ports[0].voice.digits.listen_inband = true;
            spec.ports[0].voice.digits.report = true;
        });
        let mut a = Talker::a(&pcmu(), 20);
        a.tone.1 = 0.0;
        world.talk(400, &mut [&mut a]);
        for digit in ['3', '6'] {
            sound(&mut world, &mut a, digit, 120);
        }
        world.talk(500, &mut [&mut a]);
        let told: Vec<char> = told_digits(&world).iter().map(|(_, digit, _)| *digit).collect();
        assert_eq!(told, ['3', '6']);
        let heard = world.heard(B_RTP);
        let found = read(&heard, b[1].number, b[1].clock);
        assert_eq!(found.iter().map(|(digit, _)| *digit).collect::<String>(), "36");
        assert!(found.iter().all(|(_, ms)| (100..=140).contains(ms)), "{found:?}");
    }
}

fn order(digits: &str) -> Order {
    Order::Dtmf { port: PortIndex(1), digits: digits.into(), duration_ms: 100, gap_ms: 60 }
}

#[test]
fn an_order_sends_digits_as_events_and_ends_once() {
    for (b, transform) in [
        (vec![pcmu(), events()], relay()),
        (vec![opus(), wide_events()], transcode(111, 20)),
        (vec![opus(), events()], transcode(111, 20)),
    ] {
        let mut world = World::with(&[pcmu()], &b, |spec| spec.edges[0].transform = transform.clone());
        let mut a = Talker::a(&pcmu(), 20);
        world.talk(400, &mut [&mut a]);
        world.order(7, &order("12#")).unwrap();
        world.talk(2_000, &mut [&mut a]);
        let heard = world.heard(B_RTP);
        let found = read(&heard, b[1].number, b[1].clock);
        assert_eq!(found.iter().map(|(digit, _)| *digit).collect::<String>(), "12#");
        assert!(found.iter().all(|(_, ms)| (80..=120).contains(ms)), "{found:?}");
        // Each begins with a marker; they are 160 ms apart.
        let packets = events_of(&heard, b[1].number);
        let begins: Vec<u64> = packets.iter().filter(|p| p.header.marker).map(|p| p.at / 1_000).collect();
        assert_eq!(begins.len(), 3);
        assert!(begins.windows(2).all(|pair| (140..=180).contains(&(pair[1] - pair[0]))), "{begins:?}");
        let ends = packets.iter().filter(|packet| packet.payload[1] & 0x80 != 0).count();
        assert_eq!(ends, 9);
        steps(&heard);
        let ended = ended(&world);
        assert_eq!((ended.len(), ended[0].0, ended[0].1.outcome), (1, Ticket(7), Outcome::Done));
        assert!((400..=480).contains(&ended[0].1.length.as_millis()), "{ended:?}");
        // What was there before is there again.
        let packet = a.speak();
        assert_eq!(world.send(A_RTP, A, &packet), Ok(transform == relay()));
    }
}

#[test]
fn an_order_sends_digits_as_tones_to_who_takes_no_events() {
    for towards in [DigitsTowards::Auto, DigitsTowards::Tones] {
        let with = if towards == DigitsTowards::Auto { vec![pcmu()] } else { vec![pcmu(), events()] };
        let mut world = World::with(&[pcmu()], &with, |spec| spec.ports[1].voice.digits.towards = towards);
        let mut a = Talker::a(&pcmu(), 20);
        a.tone.1 = 0.0;
        world.talk(400, &mut [&mut a]);
        world.order(7, &order("159D")).unwrap();
        world.talk(2_000, &mut [&mut a]);
        let heard = world.heard(B_RTP);
        assert!(heard.iter().all(|packet| packet.header.payload_type == 0));
        let found = detect(&pcmu(), &heard);
        assert_eq!(found.iter().map(|(digit, _)| *digit).collect::<String>(), "159D");
        assert!(found.iter().all(|(_, ms)| (80..=120).contains(ms)), "{found:?}");
        assert_eq!(ended(&world).len(), 1);
        steps(&heard);
    }
}

#[test]
fn an_order_that_is_stopped_ends_once_and_lets_its_key_go() {
    let mut world = World::with(&[pcmu()], &[pcmu(), events()], |_| {});
    let mut a = Talker::a(&pcmu(), 20);
    world.talk(400, &mut [&mut a]);
    world.order(7, &order("1234567890")).unwrap();
    world.order(8, &order("77")).unwrap();
    world.talk(410, &mut [&mut a]);
    world.order(9, &Order::Stop { started: Ticket(7) }).unwrap();
    world.order(9, &Order::Stop { started: Ticket(7) }).unwrap();
    world.talk(2_000, &mut [&mut a]);
    let outcomes: Vec<_> = ended(&world).iter().map(|(ticket, ended)| (ticket.0, ended.outcome)).collect();
    assert_eq!(outcomes, [(7, Outcome::Stopped), (8, Outcome::Done)]);
    let digits: String = read(&world.heard(B_RTP), 101, 8_000).into_iter().map(|(digit, _)| digit).collect();
    assert_eq!(digits, "12377");
}

#[test]
fn orders_that_cannot_be_done_are_refused_in_words() {
    let mut world = World::with(&[pcmu()], &[pcmu(), events()], |_| {});
    for bad in ["", "12x", &"1".repeat(101)] {
        assert!(world.order(1, &order(bad)).is_err(), "{bad}");
    }
    world.set(|spec| spec.ports[1].voice.digits.towards = DigitsTowards::Nothing);
    assert!(world.order(1, &order("1")).is_err());
    let packet = Talker::a(&pcmu(), 20).speak();
    assert_eq!(world.send(A_RTP, A, &packet), Ok(true), "nothing was promoted for it");
    assert_eq!(ended(&world), []);
}
