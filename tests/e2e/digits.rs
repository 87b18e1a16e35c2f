//! Digits as events, as INFO and as tones, from each form into each other (S0-6, media.md "DTMF").

use crate::support::baresip::{Abilities, Baresip};
use crate::support::capture::Capture;
use crate::support::duet::{Duet, config, media_line, number_of, request_with};
use crate::support::talker::{Codec, OPUS, PCMU, Packet, Talker, Tone, decode, description};
use crate::support::wire::rtp;
use crate::support::{Engine, Net, SOON, wait_for};
use media::dtmf::tones::{Detector, Found, frequencies};
use std::f64::consts::TAU;
use std::time::Duration;

const DIGITS: &str = "123#";
/// Frames of 20 ms that a digit lasts, and that lie before the first and between two.
const LASTS: u32 = 5;
const PAUSE: u32 = 5;

/// A stream of speech with digits in it as events (RFC 4733): while one is down there is no speech; its end is told three
/// times. A lossy one loses and swaps packets of events.
struct Dialler {
    tone: Tone,
    clock: u32,
    events: u8,
    sequence: u16,
    lossy: bool,
}

impl Dialler {
    fn new(codec: Codec, events: u8, clock: u32, lossy: bool) -> Dialler {
        Dialler { tone: Tone::new(codec, 300.0, 0xd191), clock, events, sequence: 500, lossy }
    }

    fn frame(&mut self, n: u32) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        let at = n.checked_sub(20).map(|n| (n / (LASTS + PAUSE), n % (LASTS + PAUSE)));
        let digit = at.and_then(|(which, frame)| Some((DIGITS.chars().nth(which as usize)?, frame)));
        match digit.filter(|(_, frame)| *frame < LASTS) {
            Some((digit, frame)) => {
                let code = "0123456789*#".find(digit).expect("a digit") as u8;
                let step = self.clock / 50;
                let timestamp = 50_000 + (n - frame) * step;
                let ended = frame == LASTS - 1;
                for repeat in 0..if ended { 3 } else { 1 } {
                    let [high, low] = (((frame + 1) * step) as u16).to_be_bytes();
                    let payload = [code, if ended { 0x8a } else { 0x0a }, high, low];
                    let marker = if frame == 0 { 0x80 } else { 0 };
                    let packet = rtp(self.events | marker, self.next(), timestamp, 0xd191, &payload);
                    // The first of each is lost, and the first end.
                    if !self.lossy || frame > 0 && !(ended && repeat == 0) {
                        packets.push(packet);
                    }
                }
                if self.lossy && ended {
                    // The last two change places, and one comes twice.
                    packets.reverse();
                    packets.push(packets[0].clone());
                }
            }
            None => {
                let mut packet = self.tone.packet(n);
                packet[2..4].copy_from_slice(&self.next().to_be_bytes());
                packets.push(packet);
            }
        }
        packets
    }

    fn next(&mut self) -> u16 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }
}

/// Digits in these packets, with their length in ticks: one timestamp each, the end told at least three times.
fn digits_in(packets: &[Packet], number: u8) -> Vec<(char, u16)> {
    let mut digits: Vec<(u32, char, u16, usize)> = Vec::new();
    for packet in packets.iter().filter(|packet| packet.payload_type() == number) {
        let payload = packet.payload();
        let (code, ended) = (payload[0], payload[1] & 0x80 != 0);
        let duration = u16::from_be_bytes([payload[2], payload[3]]);
        match digits.iter_mut().find(|digit| digit.0 == packet.timestamp()) {
            Some(digit) => {
                digit.2 = digit.2.max(duration);
                digit.3 += usize::from(ended);
            }
            None => {
                assert!(packet.marker(), "an event begins with the marker");
                let name = "0123456789*#ABCD".chars().nth(code.into()).expect("a digit");
                digits.push((packet.timestamp(), name, duration, usize::from(ended)));
            }
        }
    }
    assert!(digits.iter().all(|digit| digit.3 >= 3), "each end is told three times: {digits:?}");
    digits.into_iter().map(|(_, name, duration, _)| (name, duration)).collect()
}

/// Waits until the event of the last digit has ended three times.
fn wait_digits(media: &Talker, number: u8) -> Vec<(char, u16)> {
    wait_for("the end of the last digit", SOON, || {
        let heard = media.heard();
        let ends = |packet: &&Packet| {
            packet.payload_type() == number && packet.payload()[0] == 11 && packet.payload()[1] & 0x80 != 0
        };
        (heard.iter().filter(ends).count() >= 3).then_some(())
    });
    // What would be doubled comes within the next packets.
    let speech = media.heard().len();
    wait_for("speech after the digits", SOON, || (media.heard().len() >= speech + 10).then_some(()));
    digits_in(&media.heard(), number)
}

fn assert_digits(digits: &[(char, u16)], clock: u32) {
    let named: String = digits.iter().map(|digit| digit.0).collect();
    assert_eq!(named, DIGITS, "{digits:?}");
    let (frame, wanted) = ((clock / 50) as u16, (LASTS * clock / 50) as u16);
    assert!(digits.iter().all(|digit| digit.1.abs_diff(wanted) <= frame), "{digits:?}, each of {wanted}");
}

/// Events between a phone with G.711 and one with Opus, both directions, seen by tshark as well.
fn events_cross(back_end: &str, lossy: bool) {
    let net = Net::new();
    let Some(capture) = Capture::start(&net) else { return };
    let mut line = Duet::with(net, &config(back_end, "", "codecs = [\"opus\"]"), Talker::at(net.ip(3)));
    let offer = description(line.media_a.address(), "RTP/AVP", &[PCMU], &[(101, 8_000)]);
    let media_b = line.media_b.address();
    let (mut opus, mut events) = (OPUS, 0);
    let call = line.connect_by(&offer, |offered| {
        opus = Codec { number: number_of(offered.body(), "opus/48000"), ..OPUS };
        events = number_of(offered.body(), "telephone-event/48000");
        description(media_b, "RTP/AVP", &[opus], &[(events, 48_000)])
    });
    assert_eq!(media_line(call.answered.body()), "m=audio RTP/AVP 0 101", "{}", call.answered.text);
    let mut of_a = Dialler::new(PCMU, 101, 8_000, lossy);
    line.media_a.say(call.answered.media(0), move |n| of_a.frame(n));
    let mut of_b = Dialler::new(opus, events, 48_000, lossy);
    line.media_b.say(call.offered.media(0), move |n| of_b.frame(n));
    assert_digits(&wait_digits(&line.media_b, events), 48_000);
    assert_digits(&wait_digits(&line.media_a, 101), 8_000);
    // Speech goes on in the same stream: no number is missing, and its time runs on underneath.
    for (media, clock) in [(&line.media_a, 8_000), (&line.media_b, 48_000)] {
        let heard = media.heard();
        for pair in heard.windows(2) {
            assert_eq!(pair[1].sequence(), pair[0].sequence().wrapping_add(1));
        }
        let speech: Vec<_> = heard.iter().filter(|p| ![101, events].contains(&p.payload_type())).collect();
        let (first, last) = (speech[0], speech[speech.len() - 1]);
        let ms = last.timestamp().wrapping_sub(first.timestamp()) / (clock / 1000);
        let passed = last.at.duration_since(first.at).as_millis() as u32;
        assert!(ms.abs_diff(passed) <= 60, "{ms} ms of timestamps in {passed} ms");
    }
    line.end(call);
    let engine = net.ip(1);
    let rows = capture.read(
        &format!("rtpevent && ip.src == {engine} && ip.dst == {}", net.ip(3)),
        &["rtp.timestamp", "rtpevent.event_id", "rtpevent.end_of_event", "rtpevent.duration"],
    );
    let mut seen: Vec<(&str, &str, u32)> = Vec::new();
    for row in &rows {
        let duration = row[3].parse().unwrap_or(0);
        match seen.iter_mut().find(|event| event.0 == row[0]) {
            Some(event) => event.2 = event.2.max(duration),
            None => seen.push((&row[0], &row[1], duration)),
        }
    }
    assert_eq!(seen.iter().map(|event| event.1).collect::<Vec<_>>(), ["1", "2", "3", "11"], "{rows:?}");
    assert!(seen.iter().all(|event| event.2.abs_diff(4_800) <= 960), "{seen:?}");
}

#[test]
fn events_cross_from_clock_to_clock_on_epoll() {
    events_cross("epoll", false);
}

#[test]
fn events_cross_from_clock_to_clock_on_uring() {
    events_cross("uring", false);
}

#[test]
fn no_digit_is_lost_or_doubled_by_a_bad_network_on_epoll() {
    events_cross("epoll", true);
}

#[test]
fn no_digit_is_lost_or_doubled_by_a_bad_network_on_uring() {
    events_cross("uring", true);
}

/// Events of A reach B by INFO.
fn events_become_info(back_end: &str) {
    let mut line = Duet::new(&config(back_end, "", "dtmf = \"info\""));
    let call = line.connect(&[PCMU], &[(101, 8_000)], &[PCMU], &[]);
    assert_eq!(media_line(call.offered.body()), "m=audio RTP/AVP 0", "{}", call.offered.text);
    assert_eq!(media_line(call.answered.body()), "m=audio RTP/AVP 0 101", "{}", call.answered.text);
    let mut of_a = Dialler::new(PCMU, 101, 8_000, false);
    line.media_a.say(call.answered.media(0), move |n| of_a.frame(n));
    for digit in DIGITS.chars() {
        let info = line.b.expect("INFO");
        assert_eq!(info.header("Content-Type"), "application/dtmf-relay");
        assert!(info.body().starts_with(&format!("Signal={digit}\r\n")), "{}", info.text);
        let duration = info.body().lines().find_map(|line| line.strip_prefix("Duration=")?.parse().ok());
        assert!(duration.is_some_and(|ms: u32| ms.abs_diff(LASTS * 20) <= 20), "{}", info.text);
        line.b.answer(&info, 200, "");
    }
    line.media_b.wait_heard(0, 10);
    assert!(line.b.expect_within("INFO", Duration::ZERO).is_none(), "no digit twice");
    let others = line.media_b.heard().iter().filter(|packet| packet.payload_type() != 0).count();
    assert_eq!(others, 0, "no event beside the speech");
    line.end(call);
}

#[test]
fn events_become_info_on_epoll() {
    events_become_info("epoll");
}

#[test]
fn events_become_info_on_uring() {
    events_become_info("uring");
}

/// INFO of A reaches B as events.
fn info_becomes_events(back_end: &str, own: &str) {
    let mut line = Duet::new(&config(back_end, own, "dtmf = \"rfc4733\""));
    // Without events in A's offer B is offered them all the same.
    let mut events = 0;
    let (offer, media_b) =
        (description(line.media_a.address(), "RTP/AVP", &[PCMU], &[]), line.media_b.address());
    let mut call = line.connect_by(&offer, |offered| {
        events = number_of(offered.body(), "telephone-event/8000");
        description(media_b, "RTP/AVP", &[PCMU], &[(events, 8_000)])
    });
    line.media_a.say_tone(call.answered.media(0), PCMU, 300.0);
    line.media_b.say_tone(call.offered.media(0), PCMU, 300.0);
    line.media_b.wait_heard(0, 10);
    for digit in DIGITS.chars() {
        let body = format!("Signal={digit}\r\nDuration=100\r\n");
        request_with(&line.a, &mut call.a, "INFO", "application/dtmf-relay", &body);
        line.a.expect("200 INFO");
    }
    assert_digits(&wait_digits(&line.media_b, events), 8_000);
    line.end(call);
}

#[test]
fn info_becomes_events_on_epoll() {
    info_becomes_events("epoll", "dtmf = \"info\"");
}

#[test]
fn info_becomes_events_on_uring() {
    info_becomes_events("uring", "");
}

/// Frame `n` of speech with digits as pairs of tones.
fn tones(n: u32) -> Vec<i16> {
    let at = n.checked_sub(20).map(|n| (n / (LASTS + PAUSE), n % (LASTS + PAUSE)));
    let digit =
        at.filter(|(_, frame)| *frame < LASTS).and_then(|(which, _)| DIGITS.chars().nth(which as usize));
    let pair = digit.and_then(frequencies);
    let sample = |i: u32| {
        let seconds = f64::from(n * 160 + i) / 8_000.0;
        pair.map_or(0.0, |(low, high)| {
            [low, high].iter().map(|hz| (TAU * f64::from(*hz) * seconds).sin() * 6_000.0).sum()
        })
    };
    (0..160).map(|i| sample(i) as i16).collect()
}

/// Tones of A reach B as events.
fn tones_become_events(back_end: &str, carrier: &str, of_b: Codec) {
    let mut line = Duet::new(&config(back_end, "dtmf = \"inband\"", carrier));
    let offer = description(line.media_a.address(), "RTP/AVP", &[PCMU], &[]);
    let media_b = line.media_b.address();
    let (mut events, mut codec) = (0, of_b);
    let name = format!("telephone-event/{}", of_b.clock);
    let call = line.connect_by(&offer, |offered| {
        events = number_of(offered.body(), &name);
        codec.number = number_of(offered.body(), &format!("{}/{}", of_b.name, of_b.clock));
        description(media_b, "RTP/AVP", &[codec], &[(events, of_b.clock)])
    });
    let mut of_a = Tone::new(PCMU, 0.0, 0x7075);
    line.media_a.say(call.answered.media(0), move |n| vec![of_a.of(n, &tones(n))]);
    let digits = wait_digits(&line.media_b, events);
    assert_digits(&digits, of_b.clock);
    line.end(call);
}

#[test]
fn tones_become_events_on_epoll() {
    tones_become_events("epoll", "dtmf = \"rfc4733\"", PCMU);
}

#[test]
fn tones_become_events_on_uring() {
    tones_become_events("uring", "codecs = [\"opus\"], dtmf = \"rfc4733\"", OPUS);
}

/// Events of A reach B as tones.
fn events_become_tones(back_end: &str) {
    let mut line = Duet::new(&config(back_end, "", "dtmf = \"inband\""));
    let call = line.connect(&[PCMU], &[(101, 8_000)], &[PCMU], &[]);
    let mut of_a = Dialler::new(PCMU, 101, 8_000, false);
    line.media_a.say(call.answered.media(0), move |n| of_a.frame(n));
    let enough = 20 + (LASTS + PAUSE) as usize * (DIGITS.len() + 1);
    wait_for("all digits", SOON, || (line.media_b.heard().len() >= enough).then_some(()));
    let heard: Vec<_> = line.media_b.heard();
    assert!(heard.iter().all(|packet| packet.payload_type() == 0), "speech only");
    let mut found = String::new();
    let mut detector = Detector::new(8_000);
    decode(PCMU, &heard).chunks(160).for_each(|pcm| {
        detector.process(pcm, |what| {
            if let Found::Begin { digit, .. } = what {
                found.push(digit);
            }
        });
    });
    assert_eq!(found, DIGITS);
    line.end(call);
}

#[test]
fn events_become_tones_on_epoll() {
    events_become_tones("epoll");
}

#[test]
fn events_become_tones_on_uring() {
    events_become_tones("uring");
}

/// Digits of a side that is not to be heard pass in no form; its speech does.
fn digits_are_blocked(back_end: &str) {
    let mut line = Duet::new(&config(back_end, "block_dtmf = true", ""));
    let mut call = line.connect(&[PCMU], &[(101, 8_000)], &[PCMU], &[(101, 8_000)]);
    let mut of_a = Dialler::new(PCMU, 101, 8_000, false);
    line.media_a.say(call.answered.media(0), move |n| of_a.frame(n));
    request_with(&line.a, &mut call.a, "INFO", "application/dtmf-relay", "Signal=5\r\nDuration=100\r\n");
    line.a.expect("200 INFO");
    let enough = 20 + PAUSE as usize * DIGITS.len() + 20;
    wait_for("speech between and after the digits", SOON, || {
        (line.media_b.heard().len() >= enough).then_some(())
    });
    assert!(line.media_b.heard().iter().all(|packet| packet.payload_type() == 0), "no event");
    assert!(line.b.expect_within("INFO", Duration::ZERO).is_none(), "no INFO");
    let dropped = &line.show()["legs"][0]["media"][0]["dropped"]["digit_blocked"];
    assert!(dropped.as_u64().is_some_and(|n| n >= 28), "counted: {dropped}");
    // The other side's pass.
    let mut of_b = Dialler::new(PCMU, 101, 8_000, false);
    line.media_b.say(call.offered.media(0), move |n| of_b.frame(n));
    assert_digits(&wait_digits(&line.media_a, 101), 8_000);
    line.end(call);
}

#[test]
fn digits_are_blocked_where_asked_on_epoll() {
    digits_are_blocked("epoll");
}

#[test]
fn digits_are_blocked_where_asked_on_uring() {
    digits_are_blocked("uring");
}

/// A real phone with Opus, whose events have the clock of 8 kHz, and one with G.711.
fn phones_dial(back_end: &str) {
    let net = Net::new();
    let phone = |n, user, callee, codecs| {
        Baresip::with(net.ip(n), user, 440.0, callee, Abilities { codecs, ..Abilities::default() })
    };
    let Some(mut a) = phone(2, "2001", false, "opus/48000/2") else { return };
    let Some(mut b) = phone(3, "15550100", true, "PCMU/8000") else { return };
    let engine = Engine::start(&net.fill(&config(back_end, "", "codecs = [\"PCMU\"]")));
    a.order("dial", &format!("sip:15550100@{}", engine.sip(0)));
    a.expect("CALL_ESTABLISHED");
    b.expect("CALL_ESTABLISHED");
    let id = engine.wait_call("answered");
    let sent = || engine.json(&format!("/v1/calls/{id}"))["legs"][1]["media"][0]["sent"]["packets"].as_u64();
    wait_for("speech", SOON, || sent().filter(|sent| *sent >= 20));
    for digit in ["5", "#"] {
        a.order("sndcode", digit);
        let begun = format!("received event: '{digit}' (end=0)");
        wait_for(&format!("digit {digit}"), SOON, || b.log().contains(&begun).then_some(()));
        let ended = format!("received event: '{digit}' (end=1)");
        wait_for(&format!("the end of digit {digit}"), SOON, || b.log().contains(&ended).then_some(()));
    }
    a.order("hangup", "");
    b.expect("CALL_CLOSED");
    engine.wait_idle();
}

#[test]
fn a_phone_with_opus_dials_to_one_with_ulaw_on_epoll() {
    phones_dial("epoll");
}

#[test]
fn a_phone_with_opus_dials_to_one_with_ulaw_on_uring() {
    phones_dial("uring");
}
