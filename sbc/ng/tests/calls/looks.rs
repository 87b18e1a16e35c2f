//! What clients and control see of calls.

use crate::world::*;
use base::Duration;
use ledger::{Answer, Ask, AskFailed, CallFilter, CallState, CallSummary, CallView, Subject};
use ng::value::Value;
use std::sync::{Arc, Mutex};

/// Asks control's question and has its answer.
fn asked<T: Send + 'static>(world: &mut World, ask: impl FnOnce(ledger::Reply<T>) -> Ask) -> Option<T> {
    let slot = Arc::new(Mutex::new(None));
    let filled = Arc::clone(&slot);
    let ask = ask(Box::new(move |answer| *filled.lock().unwrap() = Some(answer)));
    world.ng.handle_ask(world.now, ask);
    world.run();
    slot.lock().unwrap().take()
}

fn list(world: &mut World, filter: CallFilter) -> Vec<CallSummary> {
    asked(world, |reply| Ask::List(filter, reply)).unwrap()
}

fn all() -> CallFilter {
    CallFilter { limit: 100, ..CallFilter::default() }
}

#[test]
fn ng_calls_are_listed_as_others_are() {
    let mut world = World::new();
    call(&mut world, "one");
    world.sdp(&offer("two", "x", &audio(A, 4_000)));
    let rows = list(&mut world, all());
    let row = |n: usize| (rows[n].from.as_str(), rows[n].to.as_str(), rows[n].state);
    assert_eq!((row(0), row(1)), (("a", "b", CallState::Answered), ("x", "", CallState::Setup)));
    assert!(rows.iter().all(|row| row.trunk_in == "ng" && row.trunk_out.is_none() && row.id.is_ng()));
    assert_eq!(list(&mut world, CallFilter { trunk: Some("ng".into()), ..all() }).len(), 2);
    assert_eq!(list(&mut world, CallFilter { trunk: Some("acme".into()), ..all() }).len(), 0);
    assert_eq!(list(&mut world, CallFilter { number: Some("x".into()), ..all() }).len(), 1);
    assert_eq!(list(&mut world, CallFilter { limit: 1, ..CallFilter::default() }).len(), 1);
    world.get(&delete("one", "30"));
    assert_eq!(list(&mut world, all())[0].state, CallState::Ending);
}

#[test]
fn a_call_is_shown_with_its_media_and_what_happened() {
    let mut world = World::new();
    call(&mut world, "call");
    let id = list(&mut world, all())[0].id;
    assert!(world.ng.knows(id));
    let view: CallView =
        asked::<Answer<CallView>>(&mut world, |reply| Ask::Show(id, reply)).unwrap().unwrap();
    assert_eq!(view.legs.iter().map(|leg| leg.name.as_str()).collect::<Vec<_>>(), ["A", "B"]);
    let leg = &view.legs[0];
    assert_eq!((leg.sip_call_id.as_str(), leg.transport, leg.state.as_str()), ("call", "NG", "confirmed"));
    assert_eq!(leg.codecs, ["audio PCMU PCMA sendrecv"]);
    assert!(
        leg.sentence.starts_with("A: 10 packets received, 10 sent; SDP says 198.51.100.1:4000"),
        "{}",
        leg.sentence
    );
    assert_eq!(leg.media.len(), 1);
    let steps: Vec<&str> = view.timeline.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(steps, ["2 ports open", "offer of a", "answer of b"]);
}

#[test]
fn a_call_is_hung_up_by_control() {
    let mut world = World::new();
    call(&mut world, "call");
    let id = list(&mut world, all())[0].id;
    assert_eq!(asked(&mut world, |reply| Ask::Hangup(id, reply)), Some(Ok(())));
    world.assert_empty();
    assert_eq!(asked(&mut world, |reply| Ask::Hangup(id, reply)), Some(Err(AskFailed::NoCall)));
    assert_eq!(
        asked::<Answer<CallView>>(&mut world, |reply| Ask::Show(id, reply)).unwrap().err(),
        Some(AskFailed::NoCall)
    );
}

#[test]
fn all_calls_end_when_the_engine_stops() {
    let mut world = World::new();
    for name in ["one", "two", "three"] {
        call(&mut world, name);
    }
    world.ng.handle_ask(world.now, Ask::HangupAll);
    world.run();
    world.assert_empty();
}

#[test]
fn media_of_an_ng_call_is_not_controls() {
    let mut world = World::new();
    call(&mut world, "call");
    let id = list(&mut world, all())[0].id;
    let stop = asked(&mut world, |reply| Ask::Stop(Subject::Call(id), None, reply));
    assert!(matches!(stop, Some(Err(AskFailed::Unsupported(_)))));
}

#[test]
fn the_answer_and_the_end_of_a_call_are_told() {
    let mut world = World::new();
    call(&mut world, "call");
    world.sdp(&answer("call", "a", "b", &audio(B, 5_000)));
    let kinds: Vec<_> = world.events.recent(9).iter().map(|event| event.event.kind).collect();
    assert_eq!(kinds, ["call.answered"], "once");
    world.get(&delete("call", "0"));
    let event = world.events.recent(1).pop().unwrap();
    assert_eq!(event.event.kind, "call.ended");
    assert_eq!((event.event.field("trunk"), event.event.field("cause")), (Some("ng"), Some("deleted")));
}

#[test]
fn a_query_tells_of_all_parties_or_of_one() {
    let mut world = World::new();
    call(&mut world, "call");
    let reply = world.get(&request("query", &[("call-id", "call")]));
    assert_eq!(number(&reply, &["totals", "RTP", "packets"]), 20);
    let tags = reply.get("tags").and_then(Value::as_dict).unwrap();
    assert!(tags.get("a").is_some() && tags.get("b").is_some(), "{tags:?}");
    assert_eq!(world.error(&request("query", &[("call-id", "none")])), "Unknown call-id");
}

#[test]
fn labels_come_back_in_the_answers() {
    let mut world = World::new();
    world.sdp(&with(offer("call", "a", &audio(A, 4_000)), "label", "caller"));
    world.sdp(&with(answer("call", "a", "b", &audio(B, 5_000)), "set-label", "callee"));
    let reply = world.get(&request("query", &[("call-id", "call")]));
    let label = |tag: &str| {
        let tags = reply.get("tags").and_then(Value::as_dict).unwrap();
        text(tags.get(tag).and_then(Value::as_dict).unwrap(), "label")
    };
    assert_eq!((label("a"), label("b")), ("caller".into(), "callee".into()));
}

#[test]
fn list_and_statistics_know_the_calls() {
    let mut world = World::new();
    call(&mut world, "one");
    call(&mut world, "two");
    let reply = world.get(&request("list", &[]));
    let names: Vec<_> =
        reply.get("calls").and_then(Value::as_list).unwrap().iter().filter_map(Value::as_text).collect();
    assert_eq!(names, [b"one", b"two"]);
    let limited = world.get(&request("list", &[("limit", "1")]));
    assert_eq!(limited.get("calls").and_then(Value::as_list).unwrap().len(), 1);
    let statistics = world.get(&request("statistics", &[]));
    assert_eq!(number(&statistics, &["statistics", "currentstatistics", "sessionsown"]), 2);
    world.pass(Duration::from_secs(1));
    world.get(&delete("one", "0"));
    let statistics = world.get(&request("statistics", &[]));
    assert_eq!(number(&statistics, &["statistics", "totalstatistics", "regularterminatedsessions"]), 1);
    assert_eq!(number(&statistics, &["statistics", "totalstatistics", "relayedpackets"]), 20);
    let control = |key: &str| {
        let all = statistics.get("statistics").and_then(Value::as_dict).unwrap();
        all.get("controlstatistics").and_then(Value::as_dict).unwrap().get(key).unwrap().clone()
    };
    assert_eq!((control("totaloffercount"), control("totaldeletecount")), (Value::Int(2), Value::Int(1)));
    // The client, by its address.
    let clients = control("proxies");
    let [Value::Dict(client)] = clients.as_list().unwrap() else { panic!("{clients:?}") };
    assert_eq!(client.get("proxy"), Some(&Value::text("192.0.2.7")));
    assert_eq!(
        (client.get("offercount"), client.get("errorcount")),
        (Some(&Value::Int(2)), Some(&Value::Int(0)))
    );
}

#[test]
fn requests_are_counted_by_command_and_result() {
    let mut world = World::new();
    call(&mut world, "call");
    world.error(&answer("none", "a", "b", &audio(B, 5_000)));
    world.get(&request("ping", &[]));
    let counted = world.stats.requests.snapshot();
    let of = |command: &str, result: &str| {
        counted.iter().find(|(labels, _)| *labels == [command, result]).map_or(0, |(_, count)| *count)
    };
    assert_eq!(
        (of("offer", "ok"), of("answer", "ok"), of("answer", "unknown_call"), of("ping", "pong")),
        (1, 1, 1, 1)
    );
}
