//! How calls are bounded, and how they end when nobody deletes them.

use crate::world::*;
use base::Duration;
use command::{BridgeReport, Event};
use ng::book::Ended;
use ng::value::{Dict, Value};

const S: fn(u64) -> Duration = Duration::from_secs;

fn patient(request: Dict) -> Dict {
    request.with("supports", Value::texts([b"load limit".to_vec()]))
}

#[track_caller]
fn assert_limited(world: &mut World, name: &str) {
    let request = offer(name, "a", &audio(A, 4_000));
    assert_eq!(world.error(&request), "Parallel session limit reached");
    let reply = world.get(&patient(request));
    assert_eq!(text(&reply, "result"), "load limit");
    assert_eq!(text(&reply, "message"), "Parallel session limit reached");
}

#[test]
fn a_full_pool_refuses_new_calls_only() {
    let mut world = World::new();
    for n in 0..POOL {
        call(&mut world, &format!("call{n}"));
    }
    assert_limited(&mut world, "more");
    assert_eq!((world.stats.load_limited.get(), world.book.totals().rejected), (2, 2));
    let told = world.events.recent(1).pop().unwrap();
    assert_eq!((told.event.kind, told.event.field("by")), ("call.refused", Some("ng")));
    world.sdp(&reoffer("call0", "a", "b", &audio(A, 4_000)));
    world.get(&delete("call0", "0"));
    call(&mut world, "more");
    for n in 1..POOL {
        world.get(&delete(&format!("call{n}"), "0"));
    }
    world.get(&delete("more", "0"));
    world.assert_empty();
}

#[test]
fn a_full_shard_refuses_new_calls() {
    let mut world = World::with(|spec| spec.pools.clear());
    for n in 0..CALLS_MAX {
        call(&mut world, &format!("call{n}"));
    }
    assert_limited(&mut world, "more");
}

#[test]
fn a_shard_that_is_behind_or_drained_refuses_new_calls_only() {
    let mut world = World::new();
    call(&mut world, "call");
    world.ng.set_overloaded(true);
    assert_limited(&mut world, "more");
    world.ng.set_overloaded(false);
    world.ng.handle_ask(world.now, ledger::Ask::Drain(true));
    assert_limited(&mut world, "more");
    world.sdp(&reoffer("call", "a", "b", &audio(A, 4_000)));
    world.ng.set_draining(false);
    call(&mut world, "more");
}

#[test]
fn a_call_that_nobody_answers_ends() {
    let mut world = World::with(|spec| spec.unanswered = S(100));
    world.sdp(&offer("call", "a", &audio(A, 4_000)));
    world.pass(S(99));
    assert_eq!(world.ng.len(), 1);
    world.pass(S(2));
    world.assert_empty();
    assert_eq!(world.book.totals().ended(Ended::Unanswered), 1);
}

#[test]
fn a_branch_that_nobody_answers_goes_and_the_call_stays() {
    let mut world = World::with(|spec| spec.unanswered = S(100));
    call(&mut world, "call");
    world.sdp(&with(offer("call", "a", &audio(A, 4_000)), "via-branch", "z2"));
    world.pass(S(101));
    let reply = world.get(&request("query", &[("call-id", "call")]));
    let tags = reply.get("tags").and_then(Value::as_dict).unwrap();
    assert_eq!((world.ng.len(), tags.0.len()), (1, 2));
}

#[test]
fn a_silent_call_ends() {
    let mut world = World::new();
    call(&mut world, "call");
    let bridge = world.bridge_id();
    assert_eq!(world.spec().timeouts.both, Some(S(60)));
    assert_eq!((world.spec().timeouts.one, world.spec().timeouts.hold), (None, Some(S(3_600))));
    world.ng.handle_media(world.now, Event::Silent { bridge, silent: S(60) });
    world.run();
    world.assert_empty();
    assert_eq!(world.book.totals().ended(Ended::Silence), 1);
    assert_eq!(world.error(&reoffer_answer()), "Unknown call-id");
}

fn reoffer_answer() -> Dict {
    answer("call", "a", "b", &audio(B, 5_000))
}

#[test]
fn calls_end_with_their_media_shard_and_others_go_on() {
    let mut world = World::new();
    for name in ["one", "two", "three", "four"] {
        call(&mut world, name);
    }
    world.restart(0);
    assert_eq!((world.ng.len(), world.pool.used()), (2, 2));
    assert!(world.bridges.keys().all(|bridge| bridge.media_shard() == 1));
    assert_eq!(world.book.totals().ended(Ended::MediaLost), 2);
    world.restart(1);
    world.assert_empty();
}

#[test]
fn who_waits_for_a_shard_that_dies_is_told() {
    let mut world = World::new();
    world.is_quick = false;
    let first = world.ask(&offer("call", "a", &audio(A, 4_000)));
    let second = world.ask(&answer("call", "a", "b", &audio(B, 5_000)));
    world.restart(0);
    world.restart(1);
    assert_eq!(text(&world.reply(&first), "result"), "error");
    assert_eq!(text(&world.reply(&second), "result"), "error");
    world.assert_empty();
    world.is_quick = true;
    call(&mut world, "call");
    world.is_quick = false;
    let query = world.ask(&request("query", &[("call-id", "call")]));
    world.restart(0);
    world.restart(1);
    assert_eq!(text(&world.reply(&query), "result"), "ok", "it was there when it was asked about");
    world.assert_empty();
}

#[test]
fn what_a_new_shard_opens_for_a_call_that_the_old_one_has_lost_is_closed() {
    let mut world = World::new();
    world.is_quick = false;
    let asked = world.ask(&offer("call", "a", &audio(A, 4_000)));
    // It dies before it has read the question, which its successor then does.
    let question = world.waiting.pop().expect("ports are asked for");
    for shard in 0..2 {
        world.restart(shard);
    }
    assert_eq!(text(&world.reply(&asked), "result"), "error");
    world.waiting.insert(0, question);
    world.is_quick = true;
    world.run();
    world.assert_empty();
}

#[test]
fn a_bridge_that_media_has_lost_ends_its_call() {
    let mut world = World::new();
    call(&mut world, "call");
    let bridge = world.bridge_id();
    world.bridges.clear();
    world.ng.handle_media(world.now, Event::Closed { bridge, report: Box::new(BridgeReport::default()) });
    world.run();
    world.assert_empty();
}

#[test]
fn a_call_of_yesterday_keeps_its_configuration() {
    let mut world = World::new();
    call(&mut world, "old");
    let spec = ng::spec::Spec { delete_delay: Duration::ZERO, ..spec(&world.pool) };
    world.ng.apply(spec.into());
    call(&mut world, "new");
    world.get(&request("delete", &[("call-id", "old")]));
    world.get(&request("delete", &[("call-id", "new")]));
    assert_eq!(world.ng.len(), 1);
    world.pass(S(31));
    world.assert_empty();
}

#[test]
fn places_are_recounted_and_none_is_lost() {
    let mut world = World::new();
    call(&mut world, "call");
    world.pass(S(20));
    assert_eq!(world.stats.limit_drift.get(), 0);
    let stolen = ledger::Lease::take(
        ledger::ng_shard(1),
        world.now.mono,
        ledger::Class::Normal,
        [ledger::Part::Pool(&world.pool)],
    );
    world.pass(S(20));
    assert_eq!(world.stats.limit_drift.get(), 1);
    drop(stolen);
}
