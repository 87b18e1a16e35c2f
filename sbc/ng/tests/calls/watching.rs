//! Parties that only speak or only hear get ports in the bridge of their call.

use crate::world::*;
use base::Duration;
use command::spec::SINKS_MAX;
use command::{Accept, Transform};
use ng::spec::SourceRule;
use ng::value::{Dict, Value};

fn subscribe(world: &mut World) -> (String, String) {
    subscribe_as(world, "ear")
}

fn subscribe_as(world: &mut World, ear: &str) -> (String, String) {
    let offered = world.sdp(&ask(ear));
    let reply = world.get(&subscribe_answer(ear));
    (offered, text(&reply, "result"))
}

fn ask(ear: &str) -> Dict {
    request("subscribe request", &[("call-id", "call"), ("from-tag", "a"), ("to-tag", ear)])
}

fn subscribe_answer(ear: &str) -> Dict {
    request("subscribe answer", &[("call-id", "call"), ("to-tag", ear), ("sdp", &audio(C, 7_000))])
}

#[test]
fn a_subscriber_hears_a_party_of_a_call() {
    let mut world = World::new();
    let (offered, to_a) = call(&mut world, "call");
    let (to_ear, result) = subscribe(&mut world);
    assert_eq!((result.as_str(), world.bridge().ports.len()), ("ok", 3));
    assert!(to_ear.contains("a=sendonly"), "{to_ear}");
    assert_ne!(world.edge(&to_a, &to_ear).unwrap().transform, Transform::Drop);
    assert_eq!(world.edge(&to_ear, &to_a), None);
    assert!(world.is_joined(&offered, &to_a));
    assert_eq!(world.port(&to_ear).remotes[0].rtp.unwrap().to_string(), format!("{C}:7000"));
    world.get(&request("unsubscribe", &[("call-id", "call"), ("to-tag", "ear")]));
    assert_eq!((world.spec().ports.len(), world.spec().edges.len()), (2, 2));
}

#[test]
fn a_call_with_a_subscriber_ends_with_its_talkers() {
    let mut world = World::new();
    call(&mut world, "call");
    subscribe(&mut world);
    world.get(&request("delete", &[("call-id", "call"), ("from-tag", "a"), ("delete-delay", "0")]));
    world.assert_empty();
}

#[test]
fn a_publication_is_a_call_of_its_own_until_it_is_deleted() {
    let mut world = World::new();
    let publish = request("publish", &[("call-id", "call"), ("from-tag", "a"), ("sdp", &audio(A, 4_000))]);
    let to_a = world.sdp(&publish);
    let (to_ear, result) = subscribe(&mut world);
    assert_eq!((result.as_str(), world.ng.len(), world.pool.used()), ("ok", 1, 1));
    assert_ne!(world.edge(&to_a, &to_ear).unwrap().transform, Transform::Drop);
    world.get(&delete("call", "10"));
    world.pass(Duration::from_secs(9));
    assert_eq!(world.ng.len(), 1);
    world.pass(Duration::from_secs(2));
    world.assert_empty();
    world.sdp(&publish);
    world.get(&request("delete", &[("call-id", "call"), ("from-tag", "a")]));
    world.assert_empty();
}

#[test]
fn a_publication_that_fails_leaves_nothing() {
    let mut world = World::new();
    let bad = request("publish", &[("call-id", "call"), ("from-tag", "a"), ("sdp", "v=0\r\n")]);
    assert_eq!(world.error(&bad), "Incomplete SDP specification");
    world.is_full = true;
    let publish = request("publish", &[("call-id", "call"), ("from-tag", "a"), ("sdp", &audio(A, 4_000))]);
    assert_eq!(world.error(&publish), "Ran out of ports");
    world.assert_empty();
}

/// A call whose caller is heard by as many as may be.
fn crowded() -> (World, String, String) {
    let mut world = World::new();
    let (offered, to_a) = call(&mut world, "call");
    for ear in 1..SINKS_MAX {
        assert_eq!(subscribe_as(&mut world, &format!("ear{ear}")).1, "ok");
    }
    (world, offered, to_a)
}

const CROWDED: &str = "Too many hear the same media";

#[test]
fn who_would_be_one_too_many_to_hear_a_party_is_refused() {
    let (mut world, offered, to_a) = crowded();
    let to_ear = world.sdp(&ask("more"));
    assert_eq!(world.error(&subscribe_answer("more")), CROWDED);
    assert!(world.is_joined(&offered, &to_a));
    assert_eq!(world.spec().edges.len(), SINKS_MAX + 1);
    // One leaves, and there is room.
    world.get(&request("unsubscribe", &[("call-id", "call"), ("to-tag", "ear1")]));
    world.get(&subscribe_answer("more"));
    assert!(world.edge(&to_a, &to_ear).is_some());
}

#[test]
fn a_connection_that_would_be_one_too_many_is_refused() {
    let (mut world, offered, to_a) = crowded();
    let to_d =
        world.sdp(&request("publish", &[("call-id", "call"), ("from-tag", "d"), ("sdp", &audio(C, 4_000))]));
    let connect = request("connect", &[("call-id", "call"), ("from-tag", "a"), ("to-tag", "d")]);
    let connect = flags(connect, &["directional"]);
    assert_eq!(world.error(&connect), CROWDED);
    assert!(world.is_joined(&offered, &to_a));
    assert_eq!(world.edge(&to_a, &to_d), None);
    world.get(&request("unsubscribe", &[("call-id", "call"), ("to-tag", "ear1")]));
    world.get(&connect);
    assert!(world.edge(&to_a, &to_d).is_some());
}

#[test]
fn what_was_promised_before_so_many_heard_is_left_out_and_the_rest_passes() {
    let mut world = World::new();
    let to_a =
        world.sdp(&request("publish", &[("call-id", "call"), ("from-tag", "a"), ("sdp", &audio(A, 4_000))]));
    world.sdp(&offer("call", "d", &audio(B, 5_000)));
    let connect = request("connect", &[("call-id", "call"), ("from-tag", "a"), ("to-tag", "d")]);
    assert_eq!(text(&world.get(&flags(connect, &["directional"])), "result"), "ok");
    for ear in 0..SINKS_MAX {
        assert_eq!(subscribe_as(&mut world, &format!("ear{ear}")).1, "ok");
    }
    let to_d = world.sdp(&answer("call", "d", "e", &audio(C, 6_000)));
    assert_eq!(world.edge(&to_a, &to_d), None);
    assert_eq!(world.spec().edges.len(), SINKS_MAX + 2);
}

#[test]
fn who_leaves_or_answers_does_not_call_a_deleted_call_back() {
    for last in [subscribe_answer("ear"), request("unsubscribe", &[("call-id", "call"), ("to-tag", "ear")])] {
        let mut world = World::new();
        world.sdp(&request("publish", &[("call-id", "call"), ("from-tag", "a"), ("sdp", &audio(A, 4_000))]));
        world.sdp(&ask("ear"));
        world.get(&delete("call", "10"));
        world.get(&last);
        world.pass(Duration::from_secs(11));
        world.assert_empty();
    }
}

#[test]
fn sources_of_who_only_speaks_or_hears_are_learned_as_those_of_calls_are() {
    let mut world = World::with(|spec| spec.source = SourceRule::Rtpengine);
    let from = |mut request: Dict| {
        request.put("received-from", Value::texts([&b"IP4"[..], b"198.51.100.9"].map(<[u8]>::to_vec)));
        flags(request, &["SIP-source-address"])
    };
    let publish =
        request("publish", &[("call-id", "call"), ("from-tag", "a"), ("sdp", &audio("10.1.2.3", 4_000))]);
    let to_a = world.sdp(&from(publish));
    let to_ear = world.sdp(&ask("ear"));
    world.get(&from(subscribe_answer("ear")));
    for (to, port) in [(&to_a, 4_000), (&to_ear, 7_000)] {
        let facing = world.port(to);
        assert_eq!(facing.accept, Accept::Any);
        assert_eq!(facing.signalling_source, Some("198.51.100.9".parse().unwrap()));
        assert_eq!(facing.remotes[0].rtp.unwrap().to_string(), format!("198.51.100.9:{port}"));
    }
}

#[test]
fn what_is_sent_to_a_subscriber_has_the_mark_of_its_own_listener() {
    let mut world = World::with(|spec| spec.listeners[1].dscp = 10);
    call(&mut world, "call");
    let to_ear = world.sdp(&with(ask("ear"), "to-interface", "priv"));
    world.get(&subscribe_answer("ear"));
    assert!(to_ear.contains("10.0.0.100"), "{to_ear}");
    assert_eq!(world.port(&to_ear).dscp, 10);
}
