//! Requests that wait: for ports, behind others of their call, for the answer to themselves.

use crate::world::*;
use ng::frame::{Carrier, Frame, Origin};

#[test]
fn requests_of_a_call_wait_in_their_order_while_ports_open() {
    let mut world = World::new();
    world.is_quick = false;
    let first = world.ask(&offer("call", "a", &audio(A, 4_000)));
    let second = world.ask(&answer("call", "a", "b", &audio(B, 5_000)));
    let third = world.ask(&request("query", &[("call-id", "call")]));
    let other = world.ask(&offer("other", "a", &audio(A, 4_000)));
    assert!(world.replies.is_empty());
    world.is_quick = true;
    world.run();
    for cookie in [&first, &second, &third, &other] {
        assert_eq!(text(&world.reply(cookie), "result"), "ok");
    }
    assert!(world.reply(&third).get("tags").is_some());
}

#[test]
fn too_many_that_wait_are_refused() {
    let mut world = World::new();
    world.is_quick = false;
    world.ask(&offer("call", "a", &audio(A, 4_000)));
    let waiting: Vec<_> = (0..16).map(|_| world.ask(&request("query", &[("call-id", "call")]))).collect();
    let late = world.ask(&request("query", &[("call-id", "call")]));
    assert_eq!(text(&world.reply(&late), "result"), "error");
    assert_eq!(world.stats.crowded.get(), 1);
    world.is_quick = true;
    world.run();
    assert!(waiting.iter().all(|cookie| text(&world.reply(cookie), "result") == "ok"));
}

#[test]
fn who_waits_for_a_call_that_does_not_come_about_is_told() {
    let mut world = World::new();
    world.is_quick = false;
    world.is_full = true;
    let first = world.ask(&offer("call", "a", &audio(A, 4_000)));
    let answer = world.ask(&answer("call", "a", "b", &audio(B, 5_000)));
    let gone = world.ask(&delete("call", "0"));
    world.is_quick = true;
    world.run();
    assert_eq!(text(&world.reply(&first), "error-reason"), "Ran out of ports");
    assert_eq!(text(&world.reply(&answer), "error-reason"), "Unknown call-id");
    assert_eq!(text(&world.reply(&gone), "result"), "ok");
    world.assert_empty();
}

#[test]
fn a_repeated_request_is_done_once_and_answered_again() {
    let mut world = World::new();
    let request = offer("call", "a", &audio(A, 4_000));
    world.ask_as("twice", &request);
    world.ask_as("twice", &request);
    let replies = &world.replies["twice"];
    assert_eq!((replies.len(), &replies[0]), (2, &replies[1]));
    assert_eq!((world.bridge().ports.len(), world.stats.replayed.get()), (2, 1));
    world.ask_as("twice", &request);
    assert_eq!(world.bridge().ports.len(), 2);
}

#[test]
fn a_repetition_of_a_request_in_progress_waits_for_its_answer() {
    let mut world = World::new();
    world.is_quick = false;
    let request = offer("call", "a", &audio(A, 4_000)).to_bencode();
    let elsewhere = Origin { remote: "192.0.2.8:9".parse().unwrap(), ..origin() };
    for origin in [origin(), elsewhere] {
        world.send(origin, Frame { cookie: b"same", payload: &request });
    }
    assert_eq!((world.replies.len(), world.stats.waited.get()), (0, 1));
    world.is_quick = true;
    world.run();
    assert_eq!(world.replies["same"].len(), 2);
    assert_eq!(world.bridge().ports.len(), 2);
}

#[test]
fn what_is_no_request_is_answered_with_its_error() {
    let mut world = World::new();
    for (payload, reason) in [
        (&b"d7:command4:nopee"[..], "Unrecognized command"),
        (b"d5:helloi1ee", "Dictionary contains no key \"command\""),
        (b"d7:comm", "Could not decode bencode dictionary"),
        (b"junk", "Invalid NG data format"),
        (b"{\"command\": \"query\"}", "No call-id in message"),
        (b"[1, 2]", "Invalid NG data format"),
    ] {
        let cookie = format!("x{}", payload.len());
        world.send(origin(), Frame { cookie: cookie.as_bytes(), payload });
        assert_eq!(text(&world.reply(&cookie), "error-reason"), reason);
    }
    world.assert_empty();
}

#[test]
fn a_request_in_json_is_answered_in_json() {
    let mut world = World::new();
    let origin = Origin { carrier: Carrier::Http, ..origin() };
    world.ng.handle_request(world.now, origin, Frame::plain(b"{\"command\": \"ping\"}"));
    match world.ng.poll_output() {
        Some(ng::desk::Output::Reply { origin: to, bytes }) => {
            assert_eq!((to, &bytes[..]), (origin, &b"{\"result\":\"pong\"}"[..]));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_nobody_knows_is_a_warning() {
    let mut world = World::new();
    let reply = world.get(&flags(with(offer("call", "a", &audio(A, 4_000)), "colour", "blue"), &["sparkle"]));
    let warning = text(&reply, "warning");
    assert_eq!(text(&reply, "result"), "ok");
    assert!(warning.contains("colour") && warning.contains("sparkle"), "{warning}");
}
