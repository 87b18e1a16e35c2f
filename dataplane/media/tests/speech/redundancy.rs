//! Forward error correction of Opus: decoded whenever it is there, made while the far end loses (media.md, "Opus").

use crate::world::*;

/// Whether an Opus packet holds the frame before it as well (RFC 6716 section 4.2.4: LBRR), as far as its first bits
/// tell: SILK or hybrid, mono, one frame, its flag after those of the voice activity.
fn has_redundancy(payload: &[u8]) -> bool {
    let config = payload[0] >> 3;
    let frames = if config < 12 { [1, 1, 2, 3][usize::from(config % 4)] } else { 1 };
    config < 16 && payload[0] & 7 == 0 && payload.len() > 2 && payload[1] >> (7 - frames) & 1 == 1
}

/// A receiver report of B about the stream that it hears.
fn report(world: &World, of: u32, lost_of_256: u8) -> Vec<u8> {
    let seconds = (world.micros / 1_000_000) as u32;
    rtcp(0x81, 201, &[0xb, of, u32::from(lost_of_256) << 24 | seconds, seconds * 50, 0, 0, 0])
}

fn sink() -> command::Payload {
    with_parameters(opus(), "useinbandfec=1;maxaveragebitrate=24000")
}

fn redundant(heard: &[Heard]) -> usize {
    heard.iter().filter(|packet| has_redundancy(&packet.payload)).count()
}

#[test]
fn redundancy_is_made_while_the_far_end_reports_loss() {
    let mut world = World::call(&[pcmu()], 20, &[sink()], 20);
    let mut a = Talker::a(&pcmu(), 20);
    a.voiced = true;
    world.talk(1_000, &mut [&mut a]);
    let heard = world.heard(B_RTP);
    assert_eq!(redundant(&heard), 0);
    let lossy = report(&world, heard[0].header.ssrc, 40);
    assert_eq!(world.send(B_RTCP, B_CONTROL, &lossy), Ok(false));
    world.talk(1_000, &mut [&mut a]);
    assert!(redundant(&world.heard(B_RTP)) > 15);
    let clean = report(&world, heard[0].header.ssrc, 0);
    world.send(B_RTCP, B_CONTROL, &clean).unwrap();
    world.talk(1_000, &mut [&mut a]);
    assert!(redundant(&world.heard(B_RTP)) < 5);
    // A report about somebody else's stream says nothing.
    let other = report(&world, 12_345, 100);
    let _ = world.send(B_RTCP, B_CONTROL, &other);
    world.talk(1_000, &mut [&mut a]);
    assert_eq!(redundant(&world.heard(B_RTP)), 0);
}

#[test]
fn who_reports_nothing_is_taken_to_lose_what_we_see_lost_from_it() {
    let mut world = World::call(&[pcmu()], 20, &[sink()], 20);
    let (mut a, mut b) = (Talker::a(&pcmu(), 20), Talker::b(&sink(), 20));
    a.voiced = true;
    world.talk(1_000, &mut [&mut a, &mut b]);
    for n in 0..500 {
        let packets = [a.speak(), b.speak()];
        world.send(A_RTP, A, &packets[0]).unwrap();
        if n % 10 != 0 {
            world.send(B_RTP, B, &packets[1]).unwrap();
        }
        world.wait(20);
    }
    let heard = world.heard(B_RTP);
    assert_eq!(redundant(&heard[..50]), 0);
    let late = heard.iter().filter(|packet| packet.at > 9_000_000).cloned().collect::<Vec<_>>();
    assert!(redundant(&late) > 15, "{} of {}", redundant(&late), late.len());
    // Its reports count for more than what we see.
    let clean = report(&world, heard[0].header.ssrc, 0);
    world.send(B_RTCP, B_CONTROL, &clean).unwrap();
    world.talk(1_000, &mut [&mut a]);
    assert!(redundant(&world.heard(B_RTP)) < 5);
}

#[test]
fn redundancy_that_is_there_is_used_and_counted() {
    let source = sink();
    let mut world = World::call(std::slice::from_ref(&source), 20, &[pcmu()], 20);
    let mut a = Talker::a(&source, 20);
    a.set_loss(20);
    a.voiced = true;
    let mut lost = 0;
    for n in 0..200 {
        let packet = a.speak();
        if n > 20 && n % 10 == 0 {
            lost += 1;
        } else {
            world.send(A_RTP, A, &packet).unwrap();
        }
        world.wait(20);
    }
    let voice = world.port(0).voice.unwrap();
    // What had no voice in it is not repeated.
    assert_eq!(voice.recovered + voice.concealed.as_millis() as u64 / 20, lost);
    assert!(voice.recovered > lost / 2, "{voice:?}");
    assert_eq!(voice.decodes, Some("opus"));
    let heard = world.heard(B_RTP);
    assert_steps(&heard, 160);
}

#[test]
fn nothing_redundant_is_made_for_who_does_not_want_it() {
    let mut world = World::call(&[pcmu()], 20, &[with_parameters(opus(), "maxaveragebitrate=24000")], 20);
    let mut a = Talker::a(&pcmu(), 20);
    a.voiced = true;
    world.talk(1_000, &mut [&mut a]);
    let heard = world.heard(B_RTP);
    let lossy = report(&world, heard[0].header.ssrc, 40);
    world.send(B_RTCP, B_CONTROL, &lossy).unwrap();
    world.talk(1_000, &mut [&mut a]);
    assert_eq!(redundant(&world.heard(B_RTP)), 0);
}
