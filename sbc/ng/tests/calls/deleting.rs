//! `delete`: its delay, coming back within it, and parts of calls.

use crate::world::*;
use base::Duration;
use ng::value::Value;

const S: fn(u64) -> Duration = Duration::from_secs;

#[test]
fn a_deleted_call_lives_for_the_delay_and_leaves_nothing() {
    let mut world = World::new();
    let (offered, answered) = call(&mut world, "call");
    let reply = world.get(&request("delete", &[("call-id", "call"), ("from-tag", "a")]));
    assert_eq!(text(&reply, "result"), "ok");
    assert_eq!(number(&reply, &["totals", "RTP", "packets"]), 20);
    assert!(world.is_joined(&offered, &answered), "media goes on");
    world.pass(S(29));
    assert_eq!((world.ng.len(), world.pool.used()), (1, 1));
    world.pass(S(2));
    world.assert_empty();
    assert_eq!(world.book.totals().packets, 20);
}

#[test]
fn no_delay_is_at_once_and_the_name_is_free() {
    let mut world = World::new();
    call(&mut world, "call");
    world.is_quick = false;
    let cookie = world.ask(&delete("call", "0"));
    assert!(!world.replies.contains_key(&cookie), "its figures are on the way");
    assert_eq!(world.pool.used(), 1, "until the ports are gone");
    let next = world.ask(&offer("call", "a", &audio(A, 4_000)));
    world.is_quick = true;
    world.run();
    assert_eq!(number(&world.reply(&cookie), &["totals", "RTP", "packets"]), 20);
    assert_eq!(text(&world.reply(&next), "result"), "ok");
    assert_eq!((world.ng.len(), world.pool.used(), world.bridges.len()), (1, 1, 1));
}

#[test]
fn a_call_comes_back_within_the_delay_with_its_ports_and_its_place() {
    let mut world = World::new();
    let (offered, answered) = call(&mut world, "call");
    world.get(&delete("call", "10"));
    world.pass(S(5));
    let again = world.sdp(&reoffer("call", "a", "b", &audio(A, 4_000)));
    assert_eq!(first_port(&again), first_port(&offered));
    let told = world.sdp(&answer("call", "a", "b", &audio(B, 5_000)));
    assert_eq!(first_port(&told), first_port(&answered));
    world.pass(S(60));
    assert_eq!((world.ng.len(), world.pool.used()), (1, 1));
    world.get(&delete("call", "0"));
    world.assert_empty();
}

#[test]
fn the_delay_of_the_first_delete_holds() {
    let mut world = World::new();
    call(&mut world, "call");
    world.get(&delete("call", "10"));
    world.pass(S(5));
    world.get(&delete("call", "10"));
    world.pass(S(6));
    world.assert_empty();
}

#[test]
fn the_configured_delay_holds_where_none_is_said() {
    let mut world = World::with(|spec| spec.delete_delay = Duration::ZERO);
    call(&mut world, "call");
    world.get(&request("delete", &[("call-id", "call")]));
    world.assert_empty();
}

#[test]
fn an_unknown_call_is_a_warning_and_with_fatal_an_error() {
    let mut world = World::new();
    let reply = world.get(&request("delete", &[("call-id", "none"), ("from-tag", "a")]));
    assert_eq!(
        (text(&reply, "result"), text(&reply, "warning")),
        ("ok".into(), "Call-ID not found or tags didn't match".into())
    );
    let fatal = flags(request("delete", &[("call-id", "none")]), &["fatal"]);
    assert_eq!(world.error(&fatal), "Unknown call-id");
}

#[test]
fn an_unknown_tag_deletes_nothing() {
    let mut world = World::new();
    call(&mut world, "call");
    let unknown = request("delete", &[("call-id", "call"), ("from-tag", "x"), ("delete-delay", "0")]);
    let reply = world.get(&unknown);
    assert_eq!(text(&reply, "warning"), "Call-ID not found or tags didn't match");
    assert_eq!(world.error(&flags(unknown, &["fatal"])), "Call-ID not found or tags didn't match");
    assert_eq!(world.ng.len(), 1);
}

#[test]
fn a_branch_goes_and_the_rest_stays() {
    let mut world = World::new();
    let mut to = Vec::new();
    for (branch, tag, address) in [("z1", "b1", B), ("z2", "b2", C)] {
        to.push(world.sdp(&with(offer("call", "a", &audio(A, 4_000)), "via-branch", branch)));
        world.sdp(&with(answer("call", "a", tag, &audio(address, 5_000)), "via-branch", branch));
    }
    let told = world.sdp(&with(answer("call", "a", "b2", &audio(C, 5_000)), "via-branch", "z2"));
    assert!(world.is_joined(&to[1], &told));
    let cut = |branch: &str| {
        request(
            "delete",
            &[("call-id", "call"), ("from-tag", "a"), ("via-branch", branch), ("delete-delay", "0")],
        )
    };
    world.get(&cut("z2"));
    assert!(world.is_joined(&to[0], &told), "whoever is left is heard again");
    assert_eq!((world.ng.len(), world.spec().ports.len()), (1, 2));
    world.get(&cut("z1"));
    world.assert_empty();
}

#[test]
fn a_fork_goes_by_its_tag() {
    let mut world = World::new();
    let offered = world.sdp(&offer("call", "a", &audio(A, 4_000)));
    world.sdp(&answer("call", "a", "b1", &audio(B, 5_000)));
    let told = world.sdp(&answer("call", "a", "b2", &audio(C, 6_000)));
    let one =
        request("delete", &[("call-id", "call"), ("from-tag", "a"), ("to-tag", "b2"), ("delete-delay", "0")]);
    world.get(&flags(one.clone(), &["to-tag"]));
    assert_eq!(world.port(&offered).remotes.len(), 1);
    assert!(world.is_joined(&offered, &told));
    let unheard =
        request("delete", &[("call-id", "call"), ("from-tag", "a"), ("to-tag", "x"), ("delete-delay", "0")]);
    let reply = world.get(&flags(unheard, &["to-tag"]));
    assert_eq!(reply.get("tags").and_then(Value::as_dict).unwrap().0.len(), 2, "of whom it has deleted");
    world.assert_empty();
}

#[test]
fn one_tag_by_itself_names_a_party_on_whichever_side_it_stands() {
    for side in ["from-tag", "to-tag"] {
        let mut world = World::new();
        let offered = world.sdp(&offer("call", "a", &audio(A, 4_000)));
        world.sdp(&answer("call", "a", "b1", &audio(B, 5_000)));
        world.sdp(&answer("call", "a", "b2", &audio(C, 6_000)));
        world.get(&request("delete", &[("call-id", "call"), (side, "b2"), ("delete-delay", "0")]));
        assert_eq!((world.ng.len(), world.port(&offered).remotes.len()), (1, 1), "{side}");
    }
}

#[test]
fn a_caller_that_is_offered_elsewhere_after_a_delete_keeps_its_port_and_its_place() {
    let mut world = World::new();
    let (_, to_a) = call(&mut world, "call");
    world.get(&request("delete", &[("call-id", "call"), ("from-tag", "a")]));
    // The next target of a serial fork.
    let to_c = world.sdp(&offer("call", "a", &audio(A, 4_000)));
    let again = world.sdp(&answer("call", "a", "c", &audio(C, 6_000)));
    assert_eq!(first_port(&again), first_port(&to_a));
    world.pass(S(100));
    assert!(world.is_joined(&to_c, &again));
    assert_eq!((world.ng.len(), world.pool.used()), (1, 1));
}

#[test]
fn fast_tells_no_figures() {
    let mut world = World::new();
    call(&mut world, "call");
    let reply = world.get(&flags(delete("call", "0"), &["fast"]));
    assert!(reply.get("totals").is_none() && text(&reply, "result") == "ok");
    world.assert_empty();
}
