//! Several answers to one offer, with branches and without.

use crate::world::*;
use command::RemoteTag;

fn branch(request: ng::value::Dict, branch: &str) -> ng::value::Dict {
    with(request, "via-branch", branch)
}

#[test]
fn forks_without_branches_share_ports_and_the_last_answer_is_heard() {
    let mut world = World::new();
    let offered = world.sdp(&offer("call", "a", &audio(A, 4_000)));
    let first = world.sdp(&answer("call", "a", "b1", &audio(B, 5_000)));
    let second = world.sdp(&answer("call", "a", "b2", &audio(C, 6_000)));
    assert_eq!(first_port(&first), first_port(&second));
    assert_eq!(world.bridge().ports.len(), 2);
    let port = world.port(&offered).clone();
    assert_eq!((port.remotes.len(), port.active), (2, Some(RemoteTag(2))));
    let active = port.remotes.iter().find(|remote| remote.tag == RemoteTag(2)).unwrap();
    assert_eq!(active.rtp.unwrap().to_string(), format!("{C}:6000"));
    // The first one answers again, with its 200.
    world.sdp(&answer("call", "a", "b1", &audio(B, 5_000)));
    assert_eq!(world.port(&offered).active, Some(RemoteTag(1)));
    assert_eq!(world.port(&first).remotes.len(), 1, "A is one remote, whoever it talks with");
}

#[test]
fn a_branch_has_ports_of_its_own() {
    let mut world = World::new();
    let one = world.sdp(&branch(offer("call", "a", &audio(A, 4_000)), "z1"));
    let two = world.sdp(&branch(offer("call", "a", &audio(A, 4_000)), "z2"));
    assert_ne!(first_port(&one), first_port(&two));
    assert_eq!(world.bridge().ports.len(), 3);
    let again = world.sdp(&branch(offer("call", "a", &audio(A, 4_000)), "z1"));
    assert_eq!(first_port(&again), first_port(&one), "an offer on a branch that is known");
    let told = world.sdp(&branch(answer("call", "a", "b2", &audio(C, 6_000)), "z2"));
    assert!(world.is_joined(&two, &told));
    let told_again = world.sdp(&branch(answer("call", "a", "b1", &audio(B, 5_000)), "z1"));
    assert_eq!(first_port(&told), first_port(&told_again));
    assert!(world.is_joined(&one, &told) && world.edge(&two, &told).is_none());
    assert_eq!(world.port(&one).remotes[0].rtp.unwrap().to_string(), format!("{B}:5000"));
}

#[test]
fn a_fork_within_a_branch_shares_its_ports() {
    let mut world = World::new();
    let one = world.sdp(&branch(offer("call", "a", &audio(A, 4_000)), "z1"));
    world.sdp(&branch(offer("call", "a", &audio(A, 4_000)), "z2"));
    world.sdp(&branch(answer("call", "a", "b1", &audio(B, 5_000)), "z1"));
    world.sdp(&branch(answer("call", "a", "b1x", &audio(C, 5_500)), "z1"));
    assert_eq!(world.port(&one).remotes.len(), 2);
    assert_eq!(world.bridge().ports.len(), 3);
}

#[test]
fn an_answer_by_tag_needs_no_branch() {
    let mut world = World::new();
    let one = world.sdp(&branch(offer("call", "a", &audio(A, 4_000)), "z1"));
    world.sdp(&branch(offer("call", "a", &audio(A, 4_000)), "z2"));
    world.sdp(&branch(answer("call", "a", "b1", &audio(B, 5_000)), "z1"));
    world.sdp(&branch(answer("call", "a", "b2", &audio(C, 6_000)), "z2"));
    let told = world.sdp(&answer("call", "a", "b1", &audio(B, 5_002)));
    assert!(world.is_joined(&one, &told));
    assert_eq!(world.port(&one).remotes[0].rtp.unwrap().port(), 5_002);
}

#[test]
fn an_offer_again_before_any_answer_is_the_same_dialogue() {
    let mut world = World::new();
    let offered = world.sdp(&offer("call", "a", &audio(A, 4_000)));
    let again = world.sdp(&offer("call", "a", &audio(A, 4_002)));
    assert_eq!((first_port(&offered), world.bridge().ports.len()), (first_port(&again), 2));
    let told = world.sdp(&answer("call", "a", "b", &audio(B, 5_000)));
    assert_eq!(world.port(&told).remotes[0].rtp.unwrap().port(), 4_002);
}

#[test]
fn each_fork_is_a_party_with_its_own_re_invites() {
    let mut world = World::new();
    let offered = world.sdp(&offer("call", "a", &audio(A, 4_000)));
    world.sdp(&answer("call", "a", "b1", &audio(B, 5_000)));
    world.sdp(&answer("call", "a", "b2", &audio(C, 6_000)));
    world.sdp(&reoffer("call", "b2", "a", &audio(C, 6_100)));
    let told = world.sdp(&answer("call", "b2", "a", &audio(A, 4_000)));
    assert_eq!(first_port(&told), first_port(&offered), "B2 hears where it was told to send");
    let port = world.port(&offered);
    let active = port.remotes.iter().find(|remote| Some(remote.tag) == port.active).unwrap();
    assert_eq!(active.rtp.unwrap().port(), 6_100);
}

#[test]
fn parties_are_bounded_and_the_call_goes_on() {
    let mut world = World::new();
    let offered = world.sdp(&offer("call", "a", &audio(A, 4_000)));
    for n in 0..31 {
        world.sdp(&answer("call", "a", &format!("b{n}"), &audio(B, 5_000 + n * 2)));
    }
    assert_eq!(world.error(&answer("call", "a", "late", &audio(B, 7_000))), "Too many parties in one call");
    assert_eq!(world.error(&offer("call", "other", &audio(B, 7_000))), "Too many parties in one call");
    let told = world.sdp(&answer("call", "a", "b3", &audio(B, 7_000)));
    assert!(world.is_joined(&offered, &told));
}
