//! How calls end, and which do not yet.

use crate::stand::{Make, Proxy, Setup, audio, scenarios};
use crate::support::{SOON, wait_for};
use serde_json::json;

scenarios! {
    what_is_deleted_is_gone_with_its_ports,
    a_delete_tells_what_has_passed,
    a_delete_by_a_foreign_tag_ends_nothing,
    a_delete_without_a_tag_ends_the_call,
    a_delay_of_the_request_is_kept,
    an_offer_revives_what_was_deleted,
}

fn what_is_deleted_is_gone_with_its_ports(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let ports = call.connect(&pair);
    pair.talk(ports);
    call.delete();
    is_gone(proxy, &call.id);
    pair.a_is_not_heard(ports);
    assert_eq!(call.refuses("query", &json!({})).to_lowercase(), "unknown call-id");
    assert_eq!(call.ng.does(&json!({"command": "list"}))["calls"], json!([]));
    // The same name again is a new call.
    pair.talk(call.connect(&pair));
}

fn is_gone(proxy: &Proxy, id: &str) {
    let ng = proxy.ng();
    wait_for("the call to be gone", SOON, || {
        let reply = ng.ask(&json!({"command": "query", "call-id": id}));
        (reply["result"] == "error").then_some(())
    });
}

fn a_delete_tells_what_has_passed(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let ports = call.connect(&pair);
    pair.talk(ports);
    let reply = call.delete();
    assert_eq!(reply["totals"]["RTP"]["packets"], 20, "{reply:#}");
    assert!(reply["tags"]["a"].is_object() && reply["tags"]["b"].is_object(), "{reply:#}");
}

fn a_delete_by_a_foreign_tag_ends_nothing(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let ports = call.connect(&pair);
    let reply = call.does("delete", &json!({"from-tag": "nobody"}));
    assert_eq!(reply["warning"], "Call-ID not found or tags didn't match", "{reply:#}");
    pair.talk(ports);
}

fn a_delete_without_a_tag_ends_the_call(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    call.connect(&pair);
    call.does("delete", &json!({}));
    is_gone(proxy, &call.id);
}

fn a_delay_of_the_request_is_kept(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let ports = call.connect(&pair);
    call.does("delete", &json!({"from-tag": "a", "delete-delay": 1}));
    // What is still on its way arrives.
    pair.talk(ports);
    is_gone(proxy, &call.id);
    pair.a_is_not_heard(ports);
}

fn an_offer_revives_what_was_deleted(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let ports = call.connect(&pair);
    call.does("delete", &json!({"from-tag": "a", "delete-delay": 1}));
    let again = call.connect_with(&pair, &json!({"to-tag": "b"}), &json!({}));
    assert_eq!((again.a, again.b), (ports.a, ports.b));
    // The delay runs out, the call does not.
    std::thread::sleep(std::time::Duration::from_millis(2_200));
    pair.talk(again);
}

fn the_delay_of_the_configuration(make: Make) {
    let setup = Setup { delete_delay: 2, ..Setup::default() };
    let Some(proxy) = Proxy::start(make, &setup) else { return };
    let (call, pair) = (proxy.call(), proxy.pair());
    let ports = call.connect(&pair);
    call.delete();
    pair.talk(ports);
    // And none at all where the request says so.
    let other = proxy.call();
    other.offer(&audio(pair.a.address()), &json!({}));
    other.does("delete", &json!({"from-tag": "a", "delete-delay": 0}));
    is_gone(&proxy, &other.id);
    pair.talk(ports);
    is_gone(&proxy, &call.id);
    proxy.check();
}

#[test]
fn strowger_keeps_deleted_calls_for_a_while() {
    the_delay_of_the_configuration(Make::Strowger);
}

#[test]
fn rtpengine_keeps_deleted_calls_for_a_while() {
    the_delay_of_the_configuration(Make::Rtpengine);
}
