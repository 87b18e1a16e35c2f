//! Announced pauses: comfort noise by timer for a sink that takes none as such (media.md, "Gaps").

use crate::world::*;
use command::Payload;

/// A says something, announces a pause of `ms` by CN, says something again; what B hears.
fn paused(b: &[Payload], b_ptime: u16, ms: u64) -> Vec<Heard> {
    let mut world = World::call(&[pcmu(), noise()], 20, b, b_ptime);
    let mut a = Talker::a(&pcmu(), 20);
    world.talk(400, &mut [&mut a]);
    let silence = a.packet(13, &[50]);
    world.send(A_RTP, A, &silence).unwrap();
    a.pause(ms as u32);
    world.wait(ms);
    world.talk(400, &mut [&mut a]);
    assert_eq!(world.drops(0), []);
    world.heard(B_RTP)
}

#[test]
fn a_sink_without_comfort_noise_gets_frames_of_it_until_speech_returns() {
    let heard = paused(&[g722()], 20, 2_000);
    let pause: Vec<&Heard> = heard.iter().filter(|p| (400_000..2_395_000).contains(&p.at)).collect();
    assert!((98..=101).contains(&pause.len()), "{}", pause.len());
    for pair in pause.windows(2) {
        assert_eq!(pair[1].at - pair[0].at, 20_000);
    }
    let grown: u32 = steps(&heard).iter().inspect(|step| assert!((1..=320).contains(*step), "{step}")).sum();
    // 2.8 s in all, less the last frame.
    assert!((2_780 * 8 - 160..=2_780 * 8 + 160).contains(&grown), "{grown}");
    let (pcm, _) = listen(&g722(), &heard);
    let level = level(&pcm[8_000..32_000]);
    // -50 dBov; a sine of full scale has -3.
    assert!((-56.0..-40.0).contains(&level), "{level} dB");
    // It ends with the speech.
    assert_eq!(heard.iter().filter(|packet| packet.at >= 2_400_000).count(), 20);
}

#[test]
fn packet_times_other_than_twenty_have_noise_without_a_seam() {
    for ptime in [10, 40, 60] {
        let heard = paused(&[pcma()], ptime, 1_920);
        let step = u32::from(ptime) * 8;
        let odd: Vec<u32> = steps(&heard).into_iter().filter(|s| *s != step).collect();
        assert!(odd.len() <= 2 && odd.iter().all(|s| *s < 2 * step + 160), "{ptime}: {odd:?}");
    }
}

#[test]
fn many_pauses_do_not_move_the_clock() {
    let mut world = World::call(&[pcmu(), noise()], 20, &[opus()], 20);
    let mut a = Talker::a(&pcmu(), 20);
    for n in 0..100u64 {
        world.talk(200, &mut [&mut a]);
        let silence = a.packet(13, &[50]);
        world.send(A_RTP, A, &silence).unwrap();
        a.pause(300);
        // Speech comes back a little sooner or later than it should.
        world.wait(300 - 5 + n % 11);
        world.micros -= n % 11;
    }
    let heard = world.heard(B_RTP);
    let (first, last) = (&heard[0], heard.last().unwrap());
    let ticks = i64::from(last.header.timestamp.wrapping_sub(first.header.timestamp));
    let drift = ticks / 48 - (last.at - first.at) as i64 / 1_000;
    assert!(drift.abs() <= 60, "{drift} ms");
    assert!(steps(&heard).iter().all(|step| *step > 0 && *step < 5 * 960));
}

#[test]
fn a_sink_that_takes_comfort_noise_gets_its_description() {
    let heard = paused(&[pcma(), g722(), noise()], 20, 2_000);
    let described: Vec<&Heard> = heard.iter().filter(|p| p.header.payload_type == 13).collect();
    assert_eq!((described.len(), &described[0].payload[..]), (1, &[50][..]));
    assert_eq!(heard.len(), 41);
    assert_eq!(steps(&heard).iter().sum::<u32>(), 2_780 * 8);
}

#[test]
fn a_pause_that_opus_announces_is_filled_too() {
    let talks = with_parameters(opus(), "usedtx=1");
    let mut world = World::call(std::slice::from_ref(&talks), 20, &[pcmu()], 20);
    let mut a = Talker::a(&talks, 20);
    a.tone.1 = 8_000.0;
    world.talk(1_000, &mut [&mut a]);
    a.tone.1 = 0.0;
    // The encoder has nothing to say for most of this; packets that it leaves out are not sent.
    let mut silent = 0;
    for _ in 0..200 {
        let sequence = a.header.sequence;
        let packet = a.speak();
        if packet.len() > 12 {
            world.send(A_RTP, A, &packet).unwrap();
        } else {
            a.header.sequence = sequence;
            silent += 1;
        }
        world.wait(20);
    }
    assert!(silent > 100, "{silent}");
    a.tone.1 = 8_000.0;
    world.talk(400, &mut [&mut a]);
    assert_eq!(world.drops(0), []);
    let heard = world.heard(B_RTP);
    let steps = steps(&heard);
    assert!(steps.iter().all(|step| (1..=320).contains(step)), "{steps:?}");
    let grown: u32 = steps.iter().sum();
    assert!((5_380 * 8 - 320..=5_380 * 8 + 320).contains(&grown), "{}", grown / 8);
    let gaps = heard.windows(2).map(|pair| pair[1].at - pair[0].at).max().unwrap();
    assert!(gaps <= 40_000, "{gaps}");
}

#[test]
fn a_pause_that_is_never_ended_costs_no_more_than_noise() {
    let mut world = World::call(&[pcmu(), noise()], 20, &[g722()], 20);
    let mut a = Talker::a(&pcmu(), 20);
    world.talk(100, &mut [&mut a]);
    for _ in 0..10 {
        let silence = a.packet(13, &[60]);
        world.send(A_RTP, A, &silence).unwrap();
        a.pause(1_000);
        world.wait(1_000);
    }
    let heard = world.heard(B_RTP);
    assert!((500..=506).contains(&heard.len()), "{}", heard.len());
    assert!(steps(&heard).iter().all(|step| *step == 160));
}

#[test]
fn g711_by_table_falls_over_where_noise_must_be_made() {
    let mut world = World::call(&[pcmu(), noise()], 20, &[pcma()], 20);
    let mut a = Talker::a(&pcmu(), 20);
    world.talk(400, &mut [&mut a]);
    for _ in 0..3 {
        let silence = a.packet(13, &[50]);
        let _ = world.send(A_RTP, A, &silence);
        a.pause(500);
        world.wait(500);
    }
    world.talk(400, &mut [&mut a]);
    let heard = world.heard(B_RTP);
    assert!(heard.iter().all(|packet| packet.header.payload_type == 8), "it knows no other");
    let pause = heard.iter().filter(|p| (900_000..1_900_000).contains(&p.at)).count();
    assert!((48..=51).contains(&pause), "{pause}");
}
