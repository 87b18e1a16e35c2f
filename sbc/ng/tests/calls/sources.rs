//! How the sources of media are learned: what requests say, and what holds if they say nothing.

use crate::world::*;
use command::{Accept, Learn, SendTo};
use ng::spec::SourceRule;
use ng::value::{Dict, Value};

/// How A's port takes media after these flags came with its offer.
#[track_caller]
fn check(rule: SourceRule, words: &[&str], expected: (Learn, Accept, SendTo)) {
    let mut world = World::with(|spec| spec.source = rule);
    world.sdp(&flags(offer("call", "a", &audio(A, 4_000)), words));
    let to_a = world.sdp(&answer("call", "a", "b", &audio(B, 5_000)));
    let port = world.port(&to_a);
    assert_eq!((port.learn, port.accept, port.send_to), expected, "{words:?}");
}

#[test]
fn sources_are_locked_or_taken_as_rtpengine_takes_them() {
    check(SourceRule::Locked, &[], (Learn::Window, Accept::Locked, SendTo::Learned));
    check(SourceRule::Rtpengine, &[], (Learn::Window, Accept::Any, SendTo::Learned));
    check(SourceRule::Rtpengine, &["strict-source"], (Learn::Window, Accept::Locked, SendTo::Learned));
}

#[test]
fn flags_say_how_sources_are_learned() {
    let rule = SourceRule::Locked;
    check(rule, &["media-handover"], (Learn::Handover, Accept::Locked, SendTo::Learned));
    check(rule, &["asymmetric"], (Learn::Window, Accept::AnyThenLocked, SendTo::Signalled));
    check(rule, &["endpoint-learning-off"], (Learn::Signalled, Accept::Locked, SendTo::Learned));
    check(
        rule,
        &["endpoint-learning-off", "strict-source"],
        (Learn::Strict, Accept::Locked, SendTo::Learned),
    );
    check(rule, &["endpoint-learning-immediate"], (Learn::Window, Accept::Locked, SendTo::Learned));
}

#[test]
fn flags_are_for_whoever_sends_the_sdp() {
    let mut world = World::new();
    let to_b = world.sdp(&flags(offer("call", "a", &audio(A, 4_000)), &["asymmetric"]));
    let to_a = world.sdp(&flags(answer("call", "a", "b", &audio(B, 5_000)), &["media-handover"]));
    assert_eq!((world.port(&to_a).learn, world.port(&to_a).send_to), (Learn::Window, SendTo::Signalled));
    assert_eq!((world.port(&to_b).learn, world.port(&to_b).send_to), (Learn::Handover, SendTo::Learned));
}

fn received_from(mut request: Dict, address: &str) -> Dict {
    request.put("received-from", Value::texts([b"IP4".to_vec(), address.as_bytes().to_vec()]));
    request
}

#[test]
fn the_address_of_signalling_counts_only_where_a_request_says_so() {
    let mut world = World::new();
    world.sdp(&received_from(offer("call", "a", &audio("10.1.2.3", 4_000)), "198.51.100.9"));
    let to_a = world.sdp(&received_from(answer("call", "a", "b", &audio(B, 5_000)), "203.0.113.9"));
    let port = world.port(&to_a);
    assert_eq!(port.signalling_source, None);
    assert_eq!(port.remotes[0].rtp.unwrap().to_string(), "10.1.2.3:4000");
}

#[test]
fn sip_source_address_goes_before_the_sdp() {
    let mut world = World::new();
    let request = received_from(offer("call", "a", &audio("10.1.2.3", 4_000)), "198.51.100.9");
    world.sdp(&flags(request, &["SIP-source-address"]));
    let to_a = world.sdp(&answer("call", "a", "b", &audio(B, 5_000)));
    let port = world.port(&to_a);
    assert_eq!(port.remotes[0].rtp.unwrap().to_string(), "198.51.100.9:4000");
    assert_eq!(port.signalling_source, Some("198.51.100.9".parse().unwrap()));
    assert_eq!(port.remotes[0].rtcp.unwrap().to_string(), "198.51.100.9:4001");
}
