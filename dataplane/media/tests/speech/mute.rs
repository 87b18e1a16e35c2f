//! Mute: silence packet for packet, or nothing where the format is not known.

use crate::world::*;
use command::{Transform, Verdict};

#[test]
fn a_muted_side_sends_silence_packet_for_packet_under_its_own_header() {
    for payload in [pcmu(), pcma(), g722(), opus(), linear()] {
        let formats = std::slice::from_ref(&payload);
        let mut world = World::with(formats, formats, |_| {});
        let mut a = Talker::a(&payload, 20);
        world.talk(400, &mut [&mut a]);
        world.heard(B_RTP);
        world.set(|spec| spec.edges[0].transform = Transform::Silence);
        let before = a.header;
        world.talk(1_000, &mut [&mut a]);
        let heard = world.heard(B_RTP);
        let name = payload.encoding.as_str();
        assert_eq!(heard.len(), 50, "{name}");
        assert_eq!(heard[0].header, before, "{name}");
        assert_steps(&heard, payload.clock / 50);
        let (pcm, rate) = listen(&payload, &heard);
        assert_eq!(pcm.len(), rate as usize, "{name}: as long as it was");
        assert!(
            level(&pcm[rate as usize / 10..]) < -55.0,
            "{name}: {} dB",
            level(&pcm[rate as usize / 10..])
        );
        // The other way is as it was, and it ends.
        let mut b = Talker::b(&payload, 20);
        world.talk(100, &mut [&mut b]);
        assert_eq!(world.heard(A_RTP).len(), 5);
        world.set(|spec| spec.edges[0].transform = relay());
        let next = a.speak();
        assert_eq!(world.send(A_RTP, A, &next), Ok(true));
        assert_eq!(world.raw(B_RTP)[0].bytes, next, "{name}");
    }
}

#[test]
fn what_is_not_known_is_dropped_while_muted() {
    let unknown = payload(18, "g729", 8_000);
    let mut world = World::with(std::slice::from_ref(&unknown), std::slice::from_ref(&unknown), |_| {});
    let mut a = Talker::a(&pcmu(), 20);
    let packet = a.packet(18, &[0; 20]);
    assert_eq!(world.send(A_RTP, A, &packet), Ok(true));
    world.set(|spec| spec.edges[0].transform = Transform::Silence);
    let packet = a.packet(18, &[0; 20]);
    assert_eq!(world.send(A_RTP, A, &packet), Err(Verdict::Closed));
    assert_eq!(world.drops(0), [(Verdict::Closed, 1)]);
}

#[test]
fn a_transcoded_side_that_is_muted_is_silent_in_the_format_of_its_hearer() {
    let mut world = World::call(&[pcmu(), events()], 20, &[opus(), events()], 20);
    let mut a = Talker::a(&pcmu(), 20);
    world.talk(400, &mut [&mut a]);
    let before = world.heard(B_RTP);
    world.set(|spec| spec.edges[0].transform = Transform::Silence);
    world.talk(1_000, &mut [&mut a]);
    let muted = world.heard(B_RTP);
    assert!((48..=52).contains(&muted.len()), "{}", muted.len());
    assert!(muted.iter().all(|packet| packet.header.payload_type == 111));
    let (pcm, _) = listen(&opus(), &muted[5..]);
    assert!(level(&pcm) < -60.0, "{}", level(&pcm));
    world.set(|spec| spec.edges[0].transform = transcode(111, 20));
    world.talk(400, &mut [&mut a]);
    let after = world.heard(B_RTP);
    // Made at the tick for a while: at its begin and end a frame may be missing.
    let steps = steps(&[before, muted, after.clone()].concat());
    assert!(steps.iter().all(|step| [960, 1_920].contains(step)), "{steps:?}");
    assert!(steps.iter().filter(|step| **step != 960).count() <= 2);
    let (pcm, rate) = listen(&opus(), &after);
    assert!((frequency(&pcm[4_800..], rate) - 440.0).abs() < 5.0);
}

#[test]
fn the_same_format_under_other_numbers_is_renumbered_while_muted() {
    let mut world = World::with(&[opus()], &[payload(96, "opus", 48_000)], |spec| {
        spec.edges[0].transform = Transform::Silence;
    });
    world.talk(400, &mut [&mut Talker::a(&opus(), 20)]);
    let heard = world.heard(B_RTP);
    assert!((18..=20).contains(&heard.len()));
    assert!(heard.iter().all(|packet| packet.header.payload_type == 96));
}
