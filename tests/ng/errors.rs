//! What is refused, and in which words: clients match some of them byte for byte.

use crate::stand::{Make, Proxy, Setup, audio, bencoded, read, scenarios};
use crate::support::{SOON, wait_for};
use serde_json::json;

scenarios! {
    requests_that_are_none_say_what_they_lack,
    an_offer_needs_a_call_a_tag_and_an_sdp,
    an_answer_needs_both_tags_and_a_call,
    an_sdp_that_is_none_is_refused,
    unknown_calls_are_refused,
    unknown_parties_are_refused,
    a_failed_offer_leaves_no_call,
    ;
    only strowger:
    what_is_not_there_yet_is_refused_by_name = "10.5 has DTLS and ICE",
}

fn reason(proxy: &Proxy, body: &[u8]) -> String {
    let reply = proxy.ng().ask_bytes(body);
    let reply =
        if reply.starts_with(b"{") { serde_json::from_slice(&reply).expect("JSON") } else { read(&reply) };
    assert_eq!(reply["result"], "error", "{reply:#}");
    reply["error-reason"].as_str().expect("a reason").to_owned()
}

fn requests_that_are_none_say_what_they_lack(proxy: &Proxy) {
    assert_eq!(reason(proxy, b"de"), "Dictionary contains no key \"command\"");
    assert_eq!(reason(proxy, b"{}"), "Dictionary contains no key \"command\"");
    assert_eq!(reason(proxy, b"d7:command9:dancee"), "Could not decode bencode dictionary");
    assert_eq!(reason(proxy, b"d7:command5:dancee"), "Unrecognized command");
    assert_eq!(reason(proxy, b"hello"), "Invalid NG data format");
    assert_eq!(reason(proxy, b"{\"command\": "), "Failed to parse JSON document");
}

fn an_offer_needs_a_call_a_tag_and_an_sdp(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let without = |key: &str| {
        let mut request = call.offering(&audio(pair.a.address()), &json!({}));
        request.as_object_mut().expect("an object").remove(key);
        call.ng.refuses(&request)
    };
    assert_eq!(without("sdp"), "No SDP body in message");
    assert_eq!(without("call-id"), "No call-id in message");
    assert_eq!(without("from-tag"), "No from-tag in message");
}

fn an_answer_needs_both_tags_and_a_call(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let request = call.answering(&audio(pair.b.address()), &json!({}));
    assert_eq!(call.ng.refuses(&request), "Unknown call-id");
    call.offer(&audio(pair.a.address()), &json!({}));
    for (key, reason) in [
        ("to-tag", "No to-tag in message"),
        ("from-tag", "No from-tag in message"),
        ("sdp", "No SDP body in message"),
    ] {
        let mut request = request.clone();
        request.as_object_mut().expect("an object").remove(key);
        assert_eq!(call.ng.refuses(&request), reason);
    }
    call.ng.does(&request);
}

fn an_sdp_that_is_none_is_refused(proxy: &Proxy) {
    let call = proxy.call();
    for sdp in ["hello", "v=0\r\nm=audio x RTP/AVP 0\r\n", "m=\r\n"] {
        let reason = call.ng.refuses(&call.offering(sdp, &json!({})));
        assert_eq!(reason, "Failed to parse SDP", "of {sdp:?}");
    }
}

fn unknown_calls_are_refused(proxy: &Proxy) {
    let call = proxy.call();
    for command in
        ["query", "start recording", "stop recording", "block media", "silence media", "block DTMF"]
    {
        let reason = call.refuses(command, &json!({"from-tag": "a"}));
        // rtpengine spells it in two ways, and so clients do not mind.
        assert_eq!(reason.to_lowercase(), "unknown call-id", "{command}");
    }
    // A call that is gone is no failure of who ends it, unless that is asked for.
    let reply = call.does("delete", &json!({"from-tag": "a"}));
    assert!(reply["warning"].as_str().is_some_and(|w| w.contains("Call-ID not found")), "{reply:#}");
    let reason = call.refuses("delete", &json!({"from-tag": "a", "flags": ["fatal"]}));
    assert!(["Unknown call-id", "Call-ID not found or tags didn't match"].contains(&&*reason), "{reason}");
}

fn unknown_parties_are_refused(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    call.connect(&pair);
    let reason = call.refuses("block media", &json!({"from-tag": "nobody"}));
    assert_eq!(reason, "From-tag given, but no such tag exists");
    let reason = call.refuses("silence media", &json!({"label": "nobody"}));
    assert_eq!(reason, "No monologue matching the given label");
    let reason = call.refuses("block media", &json!({"address": "192.0.2.1"}));
    assert_eq!(reason, "Failed to match address to any tag");
}

fn a_failed_offer_leaves_no_call(proxy: &Proxy) {
    let call = proxy.call();
    call.ng.refuses(&call.offering("hello", &json!({})));
    let list = call.ng.does(&json!({"command": "list"}));
    assert_eq!(list["calls"], json!([]));
}

fn what_is_not_there_yet_is_refused_by_name(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    for more in [json!({"transport-protocol": "UDP/TLS/RTP/SAVP"}), json!({"ICE": "force"})] {
        let reason = call.ng.refuses(&call.offering(&audio(pair.a.address()), &more));
        assert_eq!(reason, "Unsupported transport protocol", "{more}");
    }
}

/// A proxy that has room for one call.
fn beyond_the_limit(make: Make) {
    let setup = Setup { calls: Some(1), ..Setup::default() };
    let Some(proxy) = Proxy::start(make, &setup) else { return };
    let (first, second, pair) = (proxy.call(), proxy.call(), proxy.pair());
    let ports = first.connect(&pair);
    let offer = second.offering(&audio(pair.a.address()), &json!({"supports": ["load limit"]}));
    let reply = second.ng.ask(&offer);
    assert_eq!(reply, json!({"result": "load limit", "message": "Parallel session limit reached"}));
    let mut bytes = Vec::new();
    bencoded(&second.offering(&audio(pair.a.address()), &json!({}))).write(&mut bytes);
    assert_eq!(reason(&proxy, &bytes), "Parallel session limit reached");
    // The call that is there may be offered again.
    let again = first.connect_with(&pair, &json!({"to-tag": "b"}), &json!({}));
    assert_eq!((again.a, again.b), (ports.a, ports.b));
    pair.talk(ports);
    first.delete();
    wait_for("the place to be free", SOON, || {
        let offer = second.offering(&audio(pair.a.address()), &json!({}));
        (second.ng.ask(&offer)["result"] == "ok").then_some(())
    });
    proxy.check();
}

#[test]
fn strowger_says_load_limit_to_those_who_know_it() {
    beyond_the_limit(Make::Strowger);
}

#[test]
fn rtpengine_says_load_limit_to_those_who_know_it() {
    beyond_the_limit(Make::Rtpengine);
}
