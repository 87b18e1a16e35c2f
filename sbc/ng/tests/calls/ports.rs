//! Where ports are opened and what SDPs say of them.

use crate::world::*;
use ng::value::Value;

fn direction(mut request: ng::value::Dict, near: &str, far: &str) -> ng::value::Dict {
    request.put("direction", Value::texts([near.as_bytes().to_vec(), far.as_bytes().to_vec()]));
    request
}

#[test]
fn direction_names_the_listener_of_each_side() {
    let mut world = World::new();
    let offered = world.sdp(&direction(offer("call", "a", &audio(A, 4_000)), "priv", "pub"));
    let answered = world.sdp(&answer("call", "a", "b", &audio(B, 5_000)));
    assert!(offered.contains("c=IN IP4 192.0.2.100") && answered.contains("c=IN IP4 10.0.0.100"));
    let locals: Vec<String> = world.bridge().ports.iter().map(|port| port.local.ip().to_string()).collect();
    assert_eq!(locals, ["10.0.0.100", "192.0.2.100"]);
    let again = world.sdp(&direction(reoffer("call", "b", "a", &audio(B, 5_000)), "priv", "pub"));
    assert!(again.contains("c=IN IP4 10.0.0.100"), "a side stays where it is");
}

#[test]
fn an_unknown_interface_is_the_first_one_and_a_warning() {
    let mut world = World::new();
    let reply = world.get(&direction(offer("call", "a", &audio(A, 4_000)), "nowhere", "priv"));
    assert!(text(&reply, "warning").contains("nowhere"), "{reply:?}");
    assert!(text(&reply, "sdp").contains("c=IN IP4 10.0.0.100"));
    assert_eq!(world.bridge().ports[0].local.ip().to_string(), "192.0.2.100");
}

#[test]
fn address_family_is_that_of_the_receiver() {
    let mut world = World::new();
    let offered = world.sdp(&with(offer("call", "a", &audio(A, 4_000)), "address-family", "IP6"));
    assert!(offered.contains("c=IN IP6 2001:db8::100"), "{offered}");
    let six = audio(B, 5_000).replace("IP4 203.0.113.1", "IP6 2001:db8::7");
    let answered = world.sdp(&answer("call", "a", "b", &six));
    assert!(answered.contains("c=IN IP4 192.0.2.100"), "{answered}");
    assert!(world.is_joined(&offered, &answered));
}

#[test]
fn a_caller_of_ipv6_gets_ports_of_its_family() {
    let mut world = World::new();
    let six = audio(A, 4_000).replace("IP4 198.51.100.1", "IP6 2001:db8::1");
    let offered = world.sdp(&with(offer("call", "a", &six), "address-family", "IP4"));
    assert!(offered.contains("c=IN IP4 192.0.2.100"));
    let answered = world.sdp(&answer("call", "a", "b", &audio(B, 5_000)));
    assert!(answered.contains("c=IN IP6 2001:db8::100"));
}

#[test]
fn what_is_advertised_stands_in_the_sdp() {
    let mut world = World::with(|spec| spec.listeners[0].advertise = vec!["192.0.2.200".parse().unwrap()]);
    assert!(world.sdp(&offer("call", "a", &audio(A, 4_000))).contains("c=IN IP4 192.0.2.200"));
    assert_eq!(world.bridge().ports[0].local.ip().to_string(), "192.0.2.100");
}

#[test]
fn a_media_address_is_said_instead_of_ours() {
    let mut world = World::new();
    let offered = world.sdp(&with(offer("call", "a", &audio(A, 4_000)), "media-address", "192.0.2.201"));
    assert!(offered.contains("c=IN IP4 192.0.2.201"), "{offered}");
}

#[test]
fn a_call_without_ports_is_refused_and_leaves_nothing() {
    let mut world = World::new();
    world.is_full = true;
    assert_eq!(world.error(&offer("call", "a", &audio(A, 4_000))), "Ran out of ports");
    world.assert_empty();
}

#[test]
fn a_branch_without_ports_leaves_the_call_as_it_was() {
    let mut world = World::new();
    let (offered, answered) = call(&mut world, "call");
    world.is_full = true;
    let branch = with(offer("call", "a", &audio(A, 4_000)), "via-branch", "z2");
    assert_eq!(world.error(&branch), "Ran out of ports");
    world.is_full = false;
    assert!(world.is_joined(&offered, &answered));
    assert!(world.sdp(&branch).contains("m=audio"));
    assert_eq!(world.bridge().ports.len(), 3);
}

#[test]
fn ports_of_an_offer_that_failed_serve_the_next_one() {
    let mut world = World::new();
    call(&mut world, "call");
    let branch = |n: usize| with(offer("call", "a", &audio(A, 4_000)), "via-branch", &format!("z{n}"));
    for n in 0..50 {
        world.error(&with(branch(n), "transport-protocol", "UDP/TLS/RTP/SAVPF"));
    }
    assert_eq!(world.bridge().ports.len(), 3);
    world.sdp(&branch(1));
    assert_eq!(world.bridge().ports.len(), 3);
}

#[test]
fn a_call_has_no_more_ports_than_it_may() {
    let mut world = World::new();
    let lines =
        |n: usize| (0..n).map(|n| format!("m=audio {} RTP/AVP 0\r\n", 4_000 + 2 * n)).collect::<String>();
    let sdp = |n| format!("v=0\r\no=- 1 1 IN IP4 {A}\r\ns=-\r\nc=IN IP4 {A}\r\nt=0 0\r\n{}", lines(n));
    for n in 0..7 {
        world.sdp(&with(offer("call", "a", &sdp(32)), "via-branch", &format!("z{n}")));
    }
    assert_eq!(world.error(&with(offer("call", "a", &sdp(32)), "via-branch", "z8")), "Ran out of ports");
    assert_eq!(world.bridge().ports.len(), 256);
}

#[test]
fn dscp_is_the_listeners_or_that_of_the_request() {
    let mut world = World::new();
    let (offered, _) = call(&mut world, "call");
    assert_eq!(world.port(&offered).dscp, 46);
    world.sdp(&with(reoffer("call", "a", "b", &audio(A, 4_000)), "TOS", "184"));
    world.sdp(&with(answer("call", "a", "b", &audio(B, 5_000)), "TOS", "96"));
    assert_eq!(world.port(&offered).dscp, 24);
}
