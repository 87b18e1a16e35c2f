//! One offer and several callees: branches with ports of their own, several answers.

use crate::stand::{Ports, Proxy, audio, passes, scenarios};
use serde_json::json;

scenarios! {
    branches_have_ports_of_their_own,
    the_branch_that_answers_last_is_heard,
    branches_are_offered_anew_by_their_tags,
    a_second_callee_takes_over_from_the_first,
    a_branch_may_go_and_the_call_stay,
}

fn branches_have_ports_of_their_own(proxy: &Proxy) {
    let (call, pair, other) = (proxy.call(), proxy.pair(), proxy.wire(6));
    let offer = audio(pair.a.address());
    let one = call.offer(&offer, &json!({"via-branch": "z9hG4bK-1"}));
    let two = call.offer(&offer, &json!({"via-branch": "z9hG4bK-2"}));
    assert_ne!(one.media(0), two.media(0));
    let again = call.offer(&offer, &json!({"via-branch": "z9hG4bK-1"}));
    assert_eq!(one.media(0), again.media(0));
    // Each rings with media of its own.
    let ringing = call.answer(&audio(other.address()), &json!({"to-tag": "c", "via-branch": "z9hG4bK-2"}));
    passes(&other, two.media(0), &pair.a, ringing.media(0), 3);
    let ringing = call.answer(&audio(pair.b.address()), &json!({"to-tag": "b", "via-branch": "z9hG4bK-1"}));
    passes(&pair.b, one.media(0), &pair.a, ringing.media(0), 3);
}

fn the_branch_that_answers_last_is_heard(proxy: &Proxy) {
    let (call, pair, other) = (proxy.call(), proxy.pair(), proxy.wire(6));
    let offer = audio(pair.a.address());
    let one = call.offer(&offer, &json!({"via-branch": "1"}));
    let two = call.offer(&offer, &json!({"via-branch": "2"}));
    let early = call.answer(&audio(other.address()), &json!({"to-tag": "c", "via-branch": "2"}));
    passes(&pair.a, early.media(0), &other, two.media(0), 5);
    passes(&other, two.media(0), &pair.a, early.media(0), 5);
    let last = call.answer(&audio(pair.b.address()), &json!({"to-tag": "b", "via-branch": "1"}));
    pair.talk(Ports { a: last.media(0), b: one.media(0) });
}

fn branches_are_offered_anew_by_their_tags(proxy: &Proxy) {
    let (call, pair, other) = (proxy.call(), proxy.pair(), proxy.wire(6));
    let offer = audio(pair.a.address());
    let one = call.offer(&offer, &json!({"via-branch": "1"}));
    call.offer(&offer, &json!({"via-branch": "2"}));
    call.answer(&audio(other.address()), &json!({"to-tag": "c", "via-branch": "2"}));
    let last = call.answer(&audio(pair.b.address()), &json!({"to-tag": "b", "via-branch": "1"}));
    let ports = Ports { a: last.media(0), b: one.media(0) };
    pair.talk(ports);
    // Within the dialogue there is no branch any more.
    let to_b = call.offer(&offer, &json!({"to-tag": "b"}));
    let to_a = call.answer(&audio(pair.b.address()), &json!({"to-tag": "b"}));
    assert_eq!((to_a.media(0), to_b.media(0)), (ports.a, ports.b));
    pair.talk(ports);
}

fn a_second_callee_takes_over_from_the_first(proxy: &Proxy) {
    let (call, pair, other) = (proxy.call(), proxy.pair(), proxy.wire(6));
    // A proxy behind us forks: one offer of ours, two tags.
    let offered = call.offer(&audio(pair.a.address()), &json!({}));
    let first = call.answer(&audio(other.address()), &json!({"to-tag": "c"}));
    passes(&pair.a, first.media(0), &other, offered.media(0), 5);
    let second = call.answer(&audio(pair.b.address()), &json!({"to-tag": "b"}));
    for packet in crate::stand::packets(&pair.a, 5) {
        pair.a.rtp.send(second.media(0), &packet);
        assert_eq!(pair.b.rtp.receive().0, packet, "who answered last hears");
    }
}

fn a_branch_may_go_and_the_call_stay(proxy: &Proxy) {
    let (call, pair, other) = (proxy.call(), proxy.pair(), proxy.wire(6));
    let offer = audio(pair.a.address());
    let one = call.offer(&offer, &json!({"via-branch": "1"}));
    call.offer(&offer, &json!({"via-branch": "2"}));
    call.answer(&audio(other.address()), &json!({"to-tag": "c", "via-branch": "2"}));
    let last = call.answer(&audio(pair.b.address()), &json!({"to-tag": "b", "via-branch": "1"}));
    call.does("delete", &json!({"from-tag": "a", "via-branch": "2"}));
    pair.talk(Ports { a: last.media(0), b: one.media(0) });
    call.delete();
    assert_eq!(call.refuses("query", &json!({})).to_lowercase(), "unknown call-id");
}
