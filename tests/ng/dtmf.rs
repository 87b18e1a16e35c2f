//! Digits: put into a call, kept out of it, and told to whoever wants to know.

use crate::stand::{Call, Proxy, of_codecs, packets, scenarios};
use crate::support::baresip::share_at;
use crate::support::softphone::audio;
use crate::support::talker::{PCMU, Talker, description};
use crate::support::wire::{Wire, rtp};
use crate::support::{SOON, wait_for};
use serde_json::{Value as Json, json};
use std::net::SocketAddr;

scenarios! {
    a_digit_is_put_in_as_events,
    a_digit_is_put_in_as_tones_where_there_are_no_events,
    digits_that_are_none_are_refused,
    blocked_digits_do_not_pass_and_speech_does,
    one_party_can_be_blocked,
    digits_are_told_over_udp,
}

const EVENTS: u8 = 101;

/// A call of two talkers; where A and B send.
fn marked(proxy: &Proxy, a: &Talker, b: &Talker, events: bool) -> (SocketAddr, SocketAddr, Call) {
    let call = proxy.call();
    let flags = json!({"flags": ["inject-DTMF"]});
    let sdp = |talker: &Talker| match events {
        true => description(talker.address(), "RTP/AVP", &[PCMU], &[(EVENTS, 8_000)]),
        false => of_codecs(talker.address(), &[PCMU]),
    };
    let to_b = call.offer(&sdp(a), &flags);
    let to_a = call.answer(&sdp(b), &flags);
    (to_a.media(0), to_b.media(0), call)
}

fn a_digit_is_put_in_as_events(proxy: &Proxy) {
    let (mut a, b) = (Talker::at(proxy.net.ip(2)), Talker::at(proxy.net.ip(3)));
    let (to_a, _, call) = marked(proxy, &a, &b, true);
    a.say_tone(to_a, PCMU, 440.0);
    b.wait_heard(PCMU.number, 5);
    call.does("play DTMF", &json!({"from-tag": "a", "code": "5", "duration": 120, "volume": 10}));
    let ends = wait_for("the end of the digit, three times", SOON, || {
        let heard = b.heard();
        let ends: Vec<_> =
            heard.iter().filter(|p| p.payload_type() == EVENTS && p.payload()[1] & 0x80 != 0).collect();
        (ends.len() >= 3).then(|| ends.iter().map(|p| p.payload().to_vec()).collect::<Vec<_>>())
    });
    assert!(ends.iter().all(|end| end[0] == 5 && end[1] & 0x3f == 10), "{ends:?}");
    let lasted = u16::from_be_bytes([ends[0][2], ends[0][3]]);
    assert!((900..=1_300).contains(&lasted), "about 120 ms of 8 kHz: {lasted}");
    let heard = b.heard();
    let events: Vec<_> = heard.iter().filter(|p| p.payload_type() == EVENTS).collect();
    assert!(events.windows(2).all(|p| p[0].timestamp() == p[1].timestamp()), "one event has one timestamp");
    assert!(heard.windows(2).all(|p| p[0].ssrc() == p[1].ssrc()), "within the stream");
    b.wait_heard(PCMU.number, 5);
}

fn a_digit_is_put_in_as_tones_where_there_are_no_events(proxy: &Proxy) {
    let (mut a, b) = (Talker::at(proxy.net.ip(2)), Talker::at(proxy.net.ip(3)));
    let (to_a, _, call) = marked(proxy, &a, &b, false);
    a.say_tone(to_a, PCMU, 440.0);
    b.wait_heard(PCMU.number, 5);
    call.does("play DTMF", &json!({"from-tag": "a", "code": 5, "duration": 500}));
    wait_for("770 Hz and 1336 Hz", SOON, || {
        let heard = crate::support::talker::decode(PCMU, &b.heard());
        heard
            .chunks(800)
            .any(|tenth| share_at(8_000, tenth, 770.0) > 0.3 && share_at(8_000, tenth, 1_336.0) > 0.3)
            .then_some(())
    });
}

fn digits_that_are_none_are_refused(proxy: &Proxy) {
    let (a, b) = (Talker::at(proxy.net.ip(2)), Talker::at(proxy.net.ip(3)));
    let (_, _, call) = marked(proxy, &a, &b, true);
    for code in [json!("X"), json!(99)] {
        let reason = call.refuses("play DTMF", &json!({"from-tag": "a", "code": code}));
        assert_eq!(reason, "Out of range 'code' specified", "{code}");
    }
}

/// An event of so many packets, three of them its end.
fn event(from: &Wire, digit: u8) -> Vec<Vec<u8>> {
    let first = packets(from, 8);
    let timestamp = u32::from_be_bytes([first[0][4], first[0][5], first[0][6], first[0][7]]);
    let ssrc = crate::stand::ssrc_of(from);
    (0u16..8)
        .map(|n| {
            let seq = u16::from_be_bytes([first[usize::from(n)][2], first[usize::from(n)][3]]);
            let [high, low] = (160 * (n.min(5) + 1)).to_be_bytes();
            let kind = EVENTS | if n == 0 { 0x80 } else { 0 };
            rtp(kind, seq, timestamp, ssrc, &[digit, if n >= 5 { 0x8a } else { 0x0a }, high, low])
        })
        .collect()
}

fn blocked_digits_do_not_pass_and_speech_does(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let ports = call.connect(&pair);
    pair.talk(ports);
    call.does("block DTMF", &json!({}));
    event(&pair.a, 1).iter().for_each(|packet| pair.a.rtp.send(ports.a, packet));
    pair.b.rtp.expect_silence();
    pair.talk(ports);
    call.does("unblock DTMF", &json!({}));
    for packet in event(&pair.a, 2) {
        pair.a.rtp.send(ports.a, &packet);
        assert_eq!(pair.b.rtp.receive().0[12..], packet[12..]);
    }
}

fn one_party_can_be_blocked(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let ports = call.connect(&pair);
    pair.talk(ports);
    call.does("block DTMF", &json!({"from-tag": "a"}));
    event(&pair.a, 1).iter().for_each(|packet| pair.a.rtp.send(ports.a, packet));
    pair.b.rtp.expect_silence();
    for packet in event(&pair.b, 2) {
        pair.b.rtp.send(ports.b, &packet);
        assert_eq!(pair.a.rtp.receive().0[12..], packet[12..]);
    }
    call.does("unblock DTMF", &json!({"from-tag": "a"}));
    for packet in event(&pair.a, 3) {
        pair.a.rtp.send(ports.a, &packet);
        assert_eq!(pair.b.rtp.receive().0[12..], packet[12..]);
    }
}

fn digits_are_told_over_udp(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let to_b = call.offer(&audio(pair.a.address()), &json!({"label": "caller"}));
    let to_a = call.answer(&audio(pair.b.address()), &json!({}));
    pair.talk(crate::stand::Ports { a: to_a.media(0), b: to_b.media(0) });
    for packet in event(&pair.a, 7) {
        pair.a.rtp.send(to_a.media(0), &packet);
        pair.b.rtp.receive();
    }
    let told = proxy.event_within(SOON).expect("an event");
    let told: Json = serde_json::from_str(&told).unwrap_or_else(|_| panic!("JSON: {told}"));
    assert_eq!((&told["type"], &told["callid"]), (&json!("DTMF"), &json!(call.id)), "{told:#}");
    assert_eq!((&told["source_tag"], &told["event"]), (&json!("a"), &json!(7)), "{told:#}");
    assert_eq!(told["volume"], 10, "{told:#}");
    // 10.5 does not tell the label yet.
    assert!(told["source_label"] == "caller" || !proxy.is_ours(), "{told:#}");
    assert!(told["duration"].as_i64().is_some_and(|ms| (100..=130).contains(&ms)), "{told:#}");
    assert_eq!(told["source_ip"], pair.a.address().ip().to_string(), "{told:#}");
    assert!(told["timestamp"].is_i64() || told["timestamp"].is_string(), "{told:#}");
}
