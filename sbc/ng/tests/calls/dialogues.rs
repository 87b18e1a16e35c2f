//! Offers and answers between two parties.

use crate::world::*;
use command::{Phase, RemoteTag};

#[test]
fn an_offer_and_an_answer_join_two_parties() {
    let mut world = World::new();
    let offered = world.sdp(&offer("call", "a", &audio(A, 4_000)));
    assert!(
        offered.contains("c=IN IP4 192.0.2.100") && !offered.contains(&format!("c=IN IP4 {A}")),
        "{offered}"
    );
    assert_eq!(world.bridge().spec, None, "nobody can be heard before the answer");
    let answered = world.sdp(&answer("call", "a", "b", &audio(B, 5_000)));
    assert_ne!(first_port(&offered), first_port(&answered));
    assert!(world.is_joined(&offered, &answered));
    assert_eq!(world.spec().phase, Phase::Active);
    let remote = |sdp| world.port(sdp).remotes[0].rtp.unwrap().to_string();
    assert_eq!((remote(&answered), remote(&offered)), (format!("{A}:4000"), format!("{B}:5000")));
    assert_eq!((world.port(&answered).party.0, world.port(&offered).party.0), (0, 1));
    assert_eq!(world.port(&answered).active, Some(RemoteTag(0)));
    assert_eq!((world.pool.used(), world.book.totals().now), (1, 1));
}

#[test]
fn a_re_invite_of_either_side_keeps_ports() {
    let mut world = World::new();
    let (offered, answered) = call(&mut world, "call");
    let again = world.sdp(&reoffer("call", "a", "b", &audio(A, 4_100)));
    assert_eq!(first_port(&again), first_port(&offered));
    assert_eq!(world.port(&answered).remotes[0].rtp.unwrap().port(), 4_000, "as agreed, until the answer");
    world.sdp(&answer("call", "a", "b", &audio(B, 5_000)));
    assert_eq!(world.port(&answered).remotes[0].rtp.unwrap().port(), 4_100);
    let back = world.sdp(&reoffer("call", "b", "a", &audio(B, 5_200)));
    assert_eq!(first_port(&back), first_port(&answered), "A is offered the port that it knows");
    world.sdp(&answer("call", "b", "a", &audio(A, 4_100)));
    assert_eq!(world.port(&offered).remotes[0].rtp.unwrap().port(), 5_200);
    assert!(world.is_joined(&offered, &answered));
    assert_eq!(world.bridge().ports.len(), 2);
}

#[test]
fn an_offer_again_that_names_nobody_keeps_ports_whoever_answers() {
    let mut world = World::new();
    let (offered, answered) = call(&mut world, "call");
    // As a proxy sends it that tries again after a failure.
    let again = world.sdp(&offer("call", "a", &audio(A, 4_100)));
    assert_eq!(first_port(&again), first_port(&offered));
    assert_eq!(world.sdp(&answer("call", "a", "b", &audio(B, 5_000))), answered);
    assert!(world.is_joined(&again, &answered));
    assert_eq!(world.port(&answered).remotes[0].rtp.unwrap().port(), 4_100);
    let third = world.sdp(&offer("call", "a", &audio(A, 4_100)));
    assert_eq!(first_port(&third), first_port(&offered));
    world.sdp(&answer("call", "a", "c", &audio("198.51.100.77", 6_000)));
    let port = world.port(&third);
    let active = port.remotes.iter().find(|remote| Some(remote.tag) == port.active).unwrap();
    assert_eq!(active.rtp.unwrap().to_string(), "198.51.100.77:6000", "a fork on the same ports");
    assert_eq!(world.bridge().ports.len(), 2);
}

#[test]
fn a_late_offer_is_answered_by_the_caller() {
    let mut world = World::new();
    // The 200 carries the offer: from-tag is its sender's, that of the callee.
    let offered = world.sdp(&reoffer("call", "b", "a", &audio(B, 5_000)));
    let answered = world.sdp(&answer("call", "b", "a", &audio(A, 4_000)));
    assert!(world.is_joined(&offered, &answered));
    assert_eq!(world.port(&offered).remotes[0].rtp.unwrap().to_string(), format!("{A}:4000"));
}

#[test]
fn an_answer_that_names_the_answerer_first_is_understood() {
    let mut world = World::new();
    let offered = world.sdp(&offer("call", "a", &audio(A, 4_000)));
    let answered = world.sdp(&answer("call", "b", "a", &audio(B, 5_000)));
    assert!(world.is_joined(&offered, &answered));
    world.sdp(&reoffer("call", "a", "b", &audio(A, 4_002)));
    world.sdp(&answer("call", "b", "a", &audio(B, 5_002)));
    assert_eq!(world.port(&offered).remotes[0].rtp.unwrap().to_string(), format!("{B}:5002"));
}

#[test]
fn a_hold_is_told_to_media_and_ends() {
    let mut world = World::new();
    let (offered, answered) = call(&mut world, "call");
    world.sdp(&reoffer("call", "a", "b", &with_direction(&audio(A, 4_000), "sendonly")));
    world.sdp(&answer("call", "a", "b", &with_direction(&audio(B, 5_000), "recvonly")));
    assert_eq!(world.spec().phase, Phase::Held);
    assert!(!world.port(&answered).remotes[0].receives && !world.port(&offered).remotes[0].sends);
    world.sdp(&reoffer("call", "a", "b", &audio(A, 4_000)));
    world.sdp(&answer("call", "a", "b", &audio(B, 5_000)));
    assert_eq!(world.spec().phase, Phase::Active);
}

#[test]
fn a_line_that_is_added_gets_ports_and_the_old_ones_stay() {
    let mut world = World::new();
    let (offered, _) = call(&mut world, "call");
    let two = |address, port| format!("{}m=video {} RTP/AVP 31\r\n", audio(address, port), port + 2);
    let again = world.sdp(&reoffer("call", "a", "b", &two(A, 4_000)));
    assert_eq!(ports_of(&again)[0], first_port(&offered));
    assert_eq!((ports_of(&again).len(), world.bridge().ports.len()), (2, 4));
    world.sdp(&answer("call", "a", "b", &two(B, 5_000)));
    assert_eq!((world.spec().ports.len(), world.spec().edges.len()), (4, 4));
}

#[test]
fn a_line_beside_one_that_its_sender_does_not_see_gets_ports() {
    let mut world = World::new();
    let video = |port| format!("m=video {port} RTP/AVP 31\r\n");
    let mut hidden = offer("call", "a", &(audio(A, 4_000) + &video(4_002)));
    hidden.put("sdp-media-remove", ng::value::Value::texts([b"video".to_vec()]));
    let offered = world.sdp(&hidden);
    assert_eq!(ports_of(&offered).len(), 1, "{offered}");
    world.sdp(&answer("call", "a", "b", &audio(B, 5_000)));
    let again = world.sdp(&reoffer("call", "b", "a", &(audio(B, 5_000) + &video(5_002))));
    assert!(ports_of(&again).iter().filter(|port| **port != 0).count() >= 2, "{again}");
    assert_eq!(world.bridge().ports.len(), 6);
}

#[test]
fn a_refused_line_passes_nothing() {
    let mut world = World::new();
    let video = |port| format!("m=video {port} RTP/AVP 31\r\n");
    world.sdp(&offer("call", "a", &(audio(A, 4_000) + &video(4_002))));
    world.sdp(&answer("call", "a", "b", &(audio(B, 5_000) + &video(0))));
    assert_eq!((world.spec().ports.len(), world.spec().edges.len()), (2, 2));
}

#[test]
fn an_offer_that_fails_leaves_the_call_as_it_was() {
    let mut world = World::new();
    call(&mut world, "call");
    let (before, sets) = (world.spec().clone(), world.bridge().sets);
    assert_eq!(world.error(&reoffer("call", "a", "b", "v=1")), "Failed to parse SDP");
    let dtls = with(reoffer("call", "a", "b", &audio(A, 4_000)), "transport-protocol", "UDP/TLS/RTP/SAVPF");
    assert_eq!(world.error(&dtls), "Unsupported transport protocol");
    assert_eq!((world.spec(), world.bridge().sets), (&before, sets));
    assert_eq!((world.ng.len(), world.pool.used()), (1, 1));
}

#[test]
fn a_first_offer_that_fails_leaves_nothing() {
    let mut world = World::new();
    assert_eq!(world.error(&offer("call", "a", "v=0\r\n")), "Incomplete SDP specification");
    world.assert_empty();
    let dtls = with(offer("call", "a", &audio(A, 4_000)), "transport-protocol", "UDP/TLS/RTP/SAVPF");
    assert_eq!(world.error(&dtls), "Unsupported transport protocol");
    world.assert_empty();
}

#[test]
fn requests_that_lack_a_key_are_told_which() {
    let mut world = World::new();
    let sdp = audio(A, 4_000);
    assert_eq!(world.error(&request("offer", &[("sdp", &sdp)])), "No call-id in message");
    assert_eq!(world.error(&request("offer", &[("call-id", "c"), ("sdp", &sdp)])), "No from-tag in message");
    assert_eq!(
        world.error(&request("offer", &[("call-id", "c"), ("from-tag", "a")])),
        "No SDP body in message"
    );
    world.assert_empty();
    world.sdp(&offer("c", "a", &sdp));
    let no_to = request("answer", &[("call-id", "c"), ("from-tag", "a"), ("sdp", &sdp)]);
    assert_eq!(world.error(&no_to), "No to-tag in message");
    let no_sdp = request("answer", &[("call-id", "c"), ("from-tag", "a"), ("to-tag", "b")]);
    assert_eq!(world.error(&no_sdp), "No SDP body in message");
}

#[test]
fn an_answer_to_nothing_is_refused() {
    let mut world = World::new();
    assert_eq!(world.error(&answer("call", "a", "b", &audio(B, 5_000))), "Unknown call-id");
    world.sdp(&offer("call", "a", &audio(A, 4_000)));
    let strange = world.error(&answer("call", "x", "y", &audio(B, 5_000)));
    assert_eq!(strange, "Invalid dialogue association");
    assert_eq!(world.error(&answer("call", "a", "a", &audio(B, 5_000))), "Invalid dialogue association");
    assert_eq!(world.error(&reoffer("call", "a", "a", &audio(B, 5_000))), "Invalid dialogue association");
}

#[test]
fn parties_of_one_call_id_talk_in_pairs() {
    let mut world = World::new();
    let (to_b, to_a) = call(&mut world, "call");
    let to_d = world.sdp(&offer("call", "c", &audio(C, 6_000)));
    let to_c = world.sdp(&answer("call", "c", "d", &audio(B, 7_000)));
    assert!(world.is_joined(&to_b, &to_a) && world.is_joined(&to_d, &to_c));
    assert_eq!(world.edge(&to_b, &to_c), None);
}

#[test]
fn a_party_that_is_offered_to_another_gives_up_the_first() {
    let mut world = World::new();
    let (to_b, to_a) = call(&mut world, "call");
    let to_c = world.sdp(&reoffer("call", "a", "c", &audio(A, 4_000)));
    assert!(world.is_joined(&to_b, &to_a), "until it is answered");
    let again = world.sdp(&answer("call", "a", "c", &audio(C, 6_000)));
    assert_eq!(first_port(&again), first_port(&to_a), "A has the same port towards all");
    assert!(world.is_joined(&to_c, &to_a) && world.edge(&to_b, &to_a).is_none());
}

#[test]
fn the_tos_of_an_offer_holds_until_the_next_one() {
    let mut world = World::with(|spec| spec.listeners[0].dscp = 10);
    let tos = |mut request: ng::value::Dict, tos: i64| {
        request.put("TOS", tos);
        request
    };
    let mut check = |request: &ng::value::Dict, expected: u8| {
        world.sdp(request);
        world.sdp(&answer("call", "a", "b", &audio(B, 5_000)));
        let dscp: Vec<u8> = world.spec().ports.iter().map(|port| port.dscp).collect();
        assert_eq!(dscp, [expected; 2], "an answer says nothing of it");
    };
    check(&tos(offer("call", "a", &audio(A, 4_000)), 184), 46);
    check(&tos(reoffer("call", "a", "b", &audio(A, 4_000)), -1), 46);
    check(&tos(reoffer("call", "a", "b", &audio(A, 4_000)), 256), 10);
    check(&tos(reoffer("call", "a", "b", &audio(A, 4_000)), 0), 0);
    check(&reoffer("call", "a", "b", &audio(A, 4_000)), 10);
}

#[test]
fn a_codec_that_cannot_be_made_is_a_warning() {
    let mut world = World::new();
    let words = ["transcode-G729", "codec-transcode-pcma", "codec-transcode-telephone-event"];
    let reply = world.get(&flags(offer("call", "a", &audio(A, 4_000)), &words));
    assert_eq!(text(&reply, "warning"), "G729 cannot be made here");
    assert!(text(&reply, "sdp").contains("RTP/AVP 0 8"));
}
