//! What is asked of the media of a call reaches its bridge.

use crate::world::*;
use base::{Duration, Instant};
use command::{Clip, Ended, Event, Order, Outcome, PortIndex, Transform};

#[test]
fn blocked_media_passes_nothing_until_it_is_unblocked() {
    let mut world = World::new();
    let (offered, answered) = call(&mut world, "call");
    world.get(&request("block media", &[("call-id", "call"), ("from-tag", "a")]));
    assert_eq!(world.edge(&answered, &offered).unwrap().transform, Transform::Drop);
    world.sdp(&reoffer("call", "a", "b", &audio(A, 4_000)));
    world.sdp(&answer("call", "a", "b", &audio(B, 5_000)));
    assert_eq!(world.edge(&answered, &offered).unwrap().transform, Transform::Drop, "also after a re-INVITE");
    world.get(&request("unblock media", &[("call-id", "call"), ("from-tag", "a")]));
    assert!(world.is_joined(&offered, &answered));
}

/// A call, and somebody who publishes in it with these formats, to whom the caller is connected.
fn connected(formats: &str) -> (World, String, String, String) {
    let mut world = World::new();
    let (offered, to_a) = call(&mut world, "call");
    let sdp = audio(C, 6_000).replace("RTP/AVP 0 8", formats);
    let publish = request("publish", &[("call-id", "call"), ("from-tag", "c"), ("sdp", &sdp)]);
    let to_c = world.sdp(&flags(with(publish, "codec-accept", "any"), &["bidirectional"]));
    world.get(&request("connect", &[("call-id", "call"), ("from-tag", "a"), ("to-tag", "c")]));
    (world, offered, to_a, to_c)
}

#[test]
fn a_connection_is_over_when_its_parties_agree_with_others() {
    let (mut world, offered, to_a, to_c) = connected("RTP/AVP 0 8");
    assert!(world.is_joined(&to_a, &to_c) && !world.is_joined(&to_a, &offered));
    world.sdp(&reoffer("call", "a", "b", &audio(A, 4_000)));
    world.sdp(&answer("call", "a", "b", &audio(B, 5_000)));
    assert!(world.is_joined(&to_a, &offered) && !world.is_joined(&to_a, &to_c));
}

#[test]
fn a_connection_to_a_format_that_nobody_here_makes_passes_nothing() {
    for format in ["L16/44100", "PCMU/16000"] {
        let (world, _, to_a, to_c) = connected(&format!("RTP/AVP 96\r\na=rtpmap:96 {format}"));
        assert_eq!((world.edge(&to_a, &to_c), world.edge(&to_c, &to_a)), (None, None), "{format}");
    }
}

#[test]
fn a_sound_is_fetched_and_played() {
    let mut world = World::new();
    call(&mut world, "call");
    let play =
        world.ask(&request("play media", &[("call-id", "call"), ("from-tag", "a"), ("file", "hello.wav")]));
    let (ticket, _) = world.sounds.pop().expect("a sound is wanted");
    let clip = Clip { rate: 8_000, samples: vec![0; 8_000].into() };
    world.ng.handle_sound(world.now, ticket, Ok(clip));
    world.run();
    assert_eq!(text(&world.reply(&play), "result"), "ok");
    assert!(matches!(&world.bridge().orders[..], [Order::Play { .. }]));
}

#[test]
fn who_waits_for_a_sound_that_never_comes_is_told() {
    let mut world = World::new();
    call(&mut world, "call");
    let file = |name| request("play media", &[("call-id", "call"), ("from-tag", "a"), ("file", name)]);
    let lost = world.ask(&file("lost.wav"));
    world.pass(Duration::from_secs(5));
    let late = world.ask(&file("late.wav"));
    assert!(!world.replies.contains_key(&lost));
    world.pass(Duration::from_millis(4_500));
    assert_eq!(text(&world.reply(&lost), "error-reason"), "Failed to start media playback from file");
    assert!(!world.replies.contains_key(&late), "it has its own time");
    world.pass(Duration::from_secs(5));
    assert_eq!(text(&world.reply(&late), "result"), "error");
    // What comes after all plays to nobody.
    let clip = Clip { rate: 8_000, samples: vec![0; 8_000].into() };
    for (ticket, _) in core::mem::take(&mut world.sounds) {
        world.ng.handle_sound(world.now, ticket, Ok(clip.clone()));
    }
    world.run();
    assert!(world.bridge().orders.is_empty());
}

#[test]
fn who_waits_for_a_sound_of_a_call_that_ends_is_told() {
    let mut world = World::new();
    call(&mut world, "call");
    let play =
        world.ask(&request("play media", &[("call-id", "call"), ("from-tag", "a"), ("file", "hello.wav")]));
    world.get(&delete("call", "0"));
    assert_eq!(text(&world.reply(&play), "error-reason"), "Unknown call-id");
    let (ticket, _) = world.sounds.pop().unwrap();
    world.ng.handle_sound(world.now, ticket, Err("gone"));
    world.run();
    world.assert_empty();
}

#[test]
fn digits_are_told_to_whoever_listens() {
    let listener = "192.0.2.50:9000".parse().unwrap();
    let mut world = World::with(|spec| spec.events_to = vec![listener]);
    call(&mut world, "call");
    assert!(world.spec().ports.iter().all(|port| port.voice.digits.report));
    let bridge = world.bridge_id();
    let duration = Duration::from_millis(160);
    world.ng.handle_media(world.now, Event::Digit { bridge, port: PortIndex(0), digit: '5', duration });
    world.run();
    let event = world.events.recent(1).pop().unwrap();
    assert_eq!((event.event.kind, event.event.field("leg")), ("dtmf.digit", Some("a")));
    let (to, bytes) = world.notified.pop().unwrap();
    let told = String::from_utf8(bytes).unwrap();
    assert!(
        to == listener && told.contains("\"callid\":\"call\"") && told.contains("\"source_tag\":\"a\""),
        "{told}"
    );
}

#[test]
fn nobody_is_woken_for_nothing() {
    let mut world = World::new();
    assert_eq!(world.ng.poll_timeout(), None);
    call(&mut world, "call");
    let (at, _) = world.ng.poll_timeout().unwrap();
    assert!(at > Instant(0));
    world.get(&delete("call", "0"));
    world.assert_empty();
}

#[test]
fn a_recording_is_whole_after_its_call_or_failed_with_its_shard() {
    for dies in [false, true] {
        let mut world = World::new();
        call(&mut world, "call");
        assert_eq!(text(&world.get(&request("start recording", &[("call-id", "call")])), "result"), "ok");
        let bridge = world.bridge_id();
        assert!(matches!(&world.bridge().orders[..], [Order::Record(_)]));
        let ticket = world.tickets[0];
        world.get(&delete("call", "0"));
        world.assert_empty();
        assert_eq!(world.recordings.active(), 1, "its file is still being written");
        if dies {
            world.restart(0);
            world.restart(1);
        } else {
            let ended = Ended::after(Outcome::Done, Duration::from_secs(3));
            world.ng.handle_media(world.now, Event::Ended { bridge, ticket, ended });
        }
        let states: Vec<_> = world.recordings.unsaved().iter().map(|row| row.state).collect();
        let expected = if dies { ledger::RecordingState::Failed } else { ledger::RecordingState::Done };
        assert_eq!((states, world.recordings.active()), (vec![expected], 0));
    }
}
