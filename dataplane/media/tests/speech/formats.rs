//! What one says the other hears, whatever their formats and packet times.

use crate::world::*;
use command::Payload;

/// A says a tone; what B hears of it, after the first quarter of a second.
fn said(a: &Payload, a_ptime: u16, b: &Payload, b_ptime: u16) -> (Vec<Heard>, Vec<i16>, u32) {
    let mut world = World::call(std::slice::from_ref(a), a_ptime, std::slice::from_ref(b), b_ptime);
    world.talk(2_000, &mut [&mut Talker::a(a, a_ptime)]);
    assert_eq!(world.drops(0), []);
    let heard = world.heard(B_RTP);
    let (pcm, rate) = listen(b, &heard);
    (heard, pcm[rate as usize / 4..].to_vec(), rate)
}

fn check(a: &Payload, a_ptime: u16, b: &Payload, b_ptime: u16) {
    let name = format!("{} {a_ptime} ms to {} {b_ptime} ms", a.encoding, b.encoding);
    let (heard, pcm, rate) = said(a, a_ptime, b, b_ptime);
    assert!(heard.iter().all(|packet| packet.header.payload_type == b.number), "{name}");
    assert_steps(&heard, b.clock * u32::from(b_ptime) / 1000);
    let expected = 2_000 / usize::from(b_ptime);
    assert!((expected - 3..=expected + 5).contains(&heard.len()), "{name}: {}", heard.len());
    let hertz = frequency(&pcm, rate);
    assert!((hertz - 440.0).abs() <= 5.0, "{name}: {hertz} Hz");
    let level = level(&pcm);
    assert!((level + 12.25).abs() < 1.0, "{name}: {level} dB");
}

#[test]
fn a_tone_passes_between_all_formats_both_ways() {
    let formats = [pcmu(), pcma(), g722(), opus(), linear(), payload(98, "l16", 8_000)];
    for a in &formats {
        for b in formats.iter().filter(|b| *b != a) {
            check(a, 20, b, 20);
        }
    }
}

#[test]
fn packet_times_are_those_that_each_side_wants() {
    for a_ptime in [10, 20, 30, 40, 60] {
        for b_ptime in [10, 20, 30, 40, 60] {
            check(&pcmu(), a_ptime, &g722(), b_ptime);
            // Opus has no packets of 30 ms from an encoder that is asked for one frame.
            if b_ptime != 30 {
                check(&pcmu(), a_ptime, &opus(), b_ptime);
            }
            if a_ptime != 30 {
                check(&opus(), a_ptime, &pcma(), b_ptime);
            }
        }
    }
}

#[test]
fn both_talk_at_once_and_each_hears_only_the_other() {
    let mut world = World::call(&[pcmu()], 20, &[opus()], 20);
    let (mut a, mut b) = (Talker::a(&pcmu(), 20), Talker::b(&opus(), 20));
    b.tone.0 = 1_000.0;
    world.talk(1_000, &mut [&mut a, &mut b]);
    let (at_a, at_b) = (world.heard(A_RTP), world.heard(B_RTP));
    let (pcm, rate) = listen(&pcmu(), &at_a);
    assert!((frequency(&pcm[2_000..], rate) - 1_000.0).abs() < 5.0);
    let (pcm, rate) = listen(&opus(), &at_b);
    assert!((frequency(&pcm[12_000..], rate) - 440.0).abs() < 5.0);
    assert_ne!(at_a[0].header.ssrc, at_b[0].header.ssrc);
}

#[test]
fn wide_speech_stays_wide_where_both_can() {
    let mut world = World::call(&[g722()], 20, &[opus()], 20);
    let mut a = Talker::a(&g722(), 20);
    a.tone.0 = 6_000.0;
    world.talk(1_000, &mut [&mut a]);
    let (pcm, rate) = listen(&opus(), &world.heard(B_RTP));
    let level = level_at(&pcm[rate as usize / 4..rate as usize / 4 + 24_000], rate, 6_000.0);
    assert!(level > -16.0, "{level} dB at 6 kHz");
}

#[test]
fn the_gain_of_an_edge_is_heard() {
    let mut world = World::call(&[pcmu()], 20, &[g722()], 20);
    world.set(|spec| spec.edges[0].gain_centibel = -1_000);
    world.talk(1_000, &mut [&mut Talker::a(&pcmu(), 20)]);
    let (pcm, _) = listen(&g722(), &world.heard(B_RTP));
    let level = level(&pcm[4_000..]);
    assert!((level + 22.25).abs() < 1.0, "{level} dB");
}

#[test]
fn g711_is_converted_in_place_and_keeps_its_header() {
    let mut world = World::call(&[pcmu()], 20, &[pcma()], 20);
    let mut a = Talker::a(&pcmu(), 20);
    let (before, mut expected) = (a.header, Vec::new());
    for n in 0..50 {
        let packet = a.speak();
        // One is lost before us; the gap is kept.
        if n != 25 {
            assert_eq!(world.send(A_RTP, A, &packet), Ok(true));
            expected.push(before.sequence.wrapping_add(n));
        }
        world.wait(20);
    }
    let heard = world.heard(B_RTP);
    let numbers: Vec<u16> = heard.iter().map(|packet| packet.header.sequence).collect();
    assert_eq!(numbers, expected);
    assert_eq!((heard[0].header.ssrc, heard[0].header.timestamp), (before.ssrc, before.timestamp));
    assert!(heard.iter().all(|packet| packet.header.payload_type == 8 && packet.payload.len() == 160));
    let (pcm, rate) = listen(&pcma(), &heard[..25]);
    assert!((frequency(&pcm, rate) - 440.0).abs() < 1.0 && (level(&pcm) + 12.25).abs() < 0.5);
}

#[test]
fn g711_of_another_packet_time_falls_over_to_the_transcoder_without_a_jump() {
    for (a_ptime, b_ptime) in [(30, 20), (20, 30), (10, 40), (60, 20)] {
        let mut world = World::call(&[pcmu()], 20, &[pcma()], b_ptime);
        let mut a = Talker::a(&pcmu(), a_ptime);
        let before = a.header;
        world.talk(2_000, &mut [&mut a]);
        assert_eq!(world.drops(0), []);
        let heard = world.heard(B_RTP);
        assert_eq!(heard[0].header.ssrc, before.ssrc, "the first passes");
        assert_eq!(heard[0].payload.len(), usize::from(a_ptime) * 8);
        let steps = steps(&heard);
        assert_eq!(steps[0], u32::from(a_ptime) * 8, "what is made goes on where the first ended");
        assert!(
            steps[1..].iter().all(|step| *step == u32::from(b_ptime) * 8),
            "{a_ptime} {b_ptime} {steps:?}"
        );
        let (pcm, rate) = listen(&pcma(), &heard);
        let hertz = frequency(&pcm, rate);
        assert!((hertz - 440.0).abs() < 1.0, "{hertz} Hz: nothing is lost at the seam");
    }
}

#[test]
fn several_formats_of_one_source_become_one_stream() {
    let mut world = World::call(&[pcmu(), pcma(), g722()], 20, &[opus()], 20);
    let mut a = Talker::a(&pcmu(), 20);
    world.talk(500, &mut [&mut a]);
    for payload in [pcma(), g722(), pcmu()] {
        a.change(&payload);
        world.talk(500, &mut [&mut a]);
    }
    assert_eq!(world.drops(0), []);
    let heard = world.heard(B_RTP);
    assert_steps(&heard, 960);
    let (pcm, rate) = listen(&opus(), &heard);
    let hertz = frequency(&pcm[12_000..], rate);
    assert!((hertz - 440.0).abs() < 8.0, "{hertz}");
}
