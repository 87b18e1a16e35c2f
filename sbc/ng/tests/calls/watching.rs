//! Parties that only speak or only hear get ports in the bridge of their call.

use crate::world::*;
use base::Duration;
use command::Transform;

fn subscribe(world: &mut World) -> (String, String) {
    let ask = request("subscribe request", &[("call-id", "call"), ("from-tag", "a"), ("to-tag", "ear")]);
    let offered = world.sdp(&ask);
    let answer =
        request("subscribe answer", &[("call-id", "call"), ("to-tag", "ear"), ("sdp", &audio(C, 7_000))]);
    let reply = world.get(&answer);
    (offered, text(&reply, "result"))
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
