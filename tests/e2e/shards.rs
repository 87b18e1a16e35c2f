//! Several shards of both kinds: every call finds its own, and the API sees them all.

use crate::support::softphone::{Connected, Softphone, audio};
use crate::support::wire::{Wire, rtp};
use crate::support::{Engine, Net, PAIR, SOON, wait_for};
use std::collections::BTreeSet;

/// One call with media of its own.
struct Leg {
    call: Connected,
    media_a: Wire,
    media_b: Wire,
}

#[test]
fn calls_spread_over_shards_and_none_is_lost() {
    const CALLS: usize = 24;
    let net = Net::new();
    let config = format!("engine.signalling_shards = 3\nengine.media_shards = 2\n{}", net.fill(PAIR));
    let config = config.replace(":0\" }", ":10000-10999\" }");
    let engine = Engine::start(&config);
    let (a, b) = (Softphone::at((net.ip(2), 5060)), Softphone::at((net.ip(3), 5060)));
    let mut legs: Vec<Leg> = (0..CALLS)
        .map(|n| {
            let (media_a, media_b) = (Wire::at(net.ip(2)), Wire::at(net.ip(3)));
            let number = format!("155501{n:02}");
            let (offer, answer) = (audio(media_a.address()), audio(media_b.address()));
            let call = a.connect(&b, engine.sip(0), &number, &offer, &answer);
            Leg { call, media_a, media_b }
        })
        .collect();
    for (n, leg) in legs.iter().enumerate() {
        let (to_a, to_b) = (leg.call.answered.media(0), leg.call.offered.media(0));
        // Both ports of a call belong to one media shard.
        assert_eq!(to_a.port() / 2 % 2, to_b.port() / 2 % 2, "{to_a} and {to_b}");
        for seq in 0..5 {
            let packet = rtp(0, seq, u32::from(seq) * 160, n as u32, &[n as u8; 160]);
            leg.media_a.rtp.send(to_a, &packet);
            leg.media_b.rtp.expect(&packet, to_b);
            leg.media_b.rtp.send(to_b, &packet);
            leg.media_a.rtp.expect(&packet, to_a);
        }
    }
    let media_shards: BTreeSet<u16> =
        legs.iter().map(|leg| leg.call.answered.media(0).port() / 2 % 2).collect();
    assert_eq!(media_shards.len(), 2, "calls are spread over the media shards");
    let calls = engine.calls();
    assert_eq!(calls.len(), CALLS, "the list has the calls of all shards");
    for call in &calls {
        let shown = engine.json(&format!("/v1/calls/{}", call["id"].as_str().expect("an id")));
        assert_eq!(shown["legs"][0]["media"][0]["received"]["packets"], 5, "{shown:#}");
    }
    // Some end by their peers, some by the operator.
    for leg in legs.drain(CALLS / 2..) {
        let mut call = leg.call;
        a.hang_up(&mut call.a, &b);
    }
    wait_for("half of the calls", SOON, || (engine.calls().len() == CALLS / 2).then_some(()));
    for call in engine.calls() {
        let answer =
            engine.request("DELETE", &format!("/v1/calls/{}", call["id"].as_str().expect("an id")), "", "");
        assert!(answer.status < 300, "{}", answer.body);
        a.expect_bye();
        b.expect_bye();
    }
    engine.wait_idle();
    assert_eq!(engine.wait_cdrs(2 * CALLS).len(), 2 * CALLS);
}

#[test]
fn a_failed_shard_takes_only_its_own_calls_with_it() {
    let net = Net::new();
    let config = format!("engine.media_shards = 2\n{}", net.fill(PAIR)).replace(":0\" }", ":10000-10999\" }");
    let engine = Engine::start_in(crate::support::Folder::new(), &config, &["--allow-panic"]);
    let (a, b) = (Softphone::at((net.ip(2), 5060)), Softphone::at((net.ip(3), 5060)));
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for n in 0..8 {
        let (media_a, media_b) = (Wire::at(net.ip(2)), Wire::at(net.ip(3)));
        let (offer, answer) = (audio(media_a.address()), audio(media_b.address()));
        let call = a.connect(&b, engine.sip(0), &format!("1555010{n}"), &offer, &answer);
        let of_first = call.answered.media(0).port() / 2 % 2 == 0;
        if of_first { &mut first } else { &mut second }.push(Leg { call, media_a, media_b });
    }
    assert!(!first.is_empty() && !second.is_empty(), "{} and {} calls", first.len(), second.len());
    let json = "Content-Type: application/json\r\n";
    engine.request("POST", "/v1/debug/panic", json, "{\"shard\":\"media-0\"}");
    for _ in &first {
        a.expect_bye();
        b.expect_bye();
    }
    wait_for("the other shard's calls alone", SOON, || (engine.calls().len() == second.len()).then_some(()));
    for leg in second {
        let packet = rtp(0, 1, 160, 9, &[9; 160]);
        leg.media_a.rtp.send(leg.call.answered.media(0), &packet);
        leg.media_b.rtp.expect(&packet, leg.call.offered.media(0));
        let mut call = leg.call;
        a.hang_up(&mut call.a, &b);
    }
    wait_for("the last call to be gone", SOON, || engine.calls().is_empty().then_some(()));
    assert_eq!(engine.metric("strowger_limit_drift"), 0.0);
}
