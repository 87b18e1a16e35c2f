//! What is switched within a call: recording, silence, blocking; parties by tag, label and address.

use crate::stand::{Proxy, audio, packets, scenarios};
use crate::support::talker::{PCMU, Talker};
use crate::support::{SOON, wait_for};
use serde_json::{Value as Json, json};

scenarios! {
    all_media_can_be_blocked,
    media_of_one_party_can_be_blocked_by_its_tag,
    media_of_one_party_can_be_blocked_by_its_label,
    media_of_one_party_can_be_blocked_by_its_address,
    unblocking_the_call_leaves_parties_blocked_unless_all_is_said,
    silenced_media_goes_on_as_silence,
    labels_are_told,
    a_recording_is_written_from_start_to_stop,
    a_recording_can_begin_with_the_offer,
    ;
    only strowger:
    a_recording_can_pause = "10.5 has no `pause recording`",
}

fn all_media_can_be_blocked(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let ports = call.connect(&pair);
    pair.talk(ports);
    call.does("block media", &json!({}));
    pair.a_is_not_heard(ports);
    pair.b_is_not_heard(ports);
    call.does("unblock media", &json!({}));
    pair.talk(ports);
}

/// `who` names the caller.
fn caller_is_blocked(proxy: &Proxy, label: Option<&str>, who: impl Fn(&crate::stand::Pair) -> Json) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let ports = call.connect_with(&pair, &json!({"label": label}), &json!({}));
    pair.talk(ports);
    call.does("block media", &who(&pair));
    pair.a_is_not_heard(ports);
    pair.b_is_heard(ports, 10);
    call.does("unblock media", &who(&pair));
    pair.talk(ports);
}

fn media_of_one_party_can_be_blocked_by_its_tag(proxy: &Proxy) {
    caller_is_blocked(proxy, None, |_| json!({"from-tag": "a"}));
}

fn media_of_one_party_can_be_blocked_by_its_label(proxy: &Proxy) {
    caller_is_blocked(proxy, Some("caller"), |_| json!({"label": "caller"}));
}

fn media_of_one_party_can_be_blocked_by_its_address(proxy: &Proxy) {
    caller_is_blocked(proxy, None, |pair| json!({"address": pair.a.address().ip().to_string()}));
}

fn unblocking_the_call_leaves_parties_blocked_unless_all_is_said(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let ports = call.connect(&pair);
    pair.talk(ports);
    call.does("block media", &json!({"from-tag": "a"}));
    call.does("block media", &json!({}));
    pair.b_is_not_heard(ports);
    call.does("unblock media", &json!({}));
    pair.b_is_heard(ports, 5);
    pair.a_is_not_heard(ports);
    call.does("unblock media", &json!({"flags": ["all"]}));
    pair.talk(ports);
}

fn silenced_media_goes_on_as_silence(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let ports = call.connect(&pair);
    pair.talk(ports);
    call.does("silence media", &json!({"from-tag": "a"}));
    for packet in packets(&pair.a, 10) {
        pair.a.rtp.send(ports.a, &packet);
        let (got, _) = pair.b.rtp.receive();
        assert_eq!(got.len(), packet.len());
        assert!(got[12..].iter().all(|octet| octet & 0x7f == 0x7f), "silence in PCMU: {:02x?}", &got[12..20]);
    }
    pair.b_is_heard(ports, 10);
    call.does("unsilence media", &json!({"from-tag": "a"}));
    pair.talk(ports);
}

fn labels_are_told(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    call.offer(&audio(pair.a.address()), &json!({"label": "caller"}));
    call.answer(&audio(pair.b.address()), &json!({"label": "callee"}));
    let tags = call.does("query", &json!({}))["tags"].clone();
    assert_eq!(tags["a"]["label"], "caller", "{tags:#}");
    assert_eq!(tags["b"]["label"], "callee", "{tags:#}");
}

/// Octets in all files below the folder of recordings.
fn recorded(proxy: &Proxy) -> u64 {
    let (mut folders, mut octets) = (vec![proxy.recordings()], 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(data) if data.is_dir() => folders.push(entry.path()),
                Ok(data) => octets += data.len(),
                Err(_) => {}
            }
        }
    }
    octets
}

/// A call whose parties say a tone at the pace of phones.
fn tones(proxy: &Proxy, more: &Json) -> (crate::stand::Call, [Talker; 2]) {
    let call = proxy.call();
    let (mut a, mut b) = (Talker::at(proxy.net.ip(2)), Talker::at(proxy.net.ip(3)));
    let to_b = call.offer(&audio(a.address()), more);
    let to_a = call.answer(&audio(b.address()), &json!({}));
    a.say_tone(to_a.media(0), PCMU, 440.0);
    b.say_tone(to_b.media(0), PCMU, 800.0);
    (call, [a, b])
}

fn a_recording_is_written_from_start_to_stop(proxy: &Proxy) {
    let (call, [a, b]) = tones(proxy, &json!({}));
    a.wait_heard(0, 5);
    assert_eq!(recorded(proxy), 0, "nobody has asked for one");
    call.does("start recording", &json!({}));
    b.wait_heard(0, 40);
    call.does("stop recording", &json!({}));
    // Most of 0.8 s of two parties at 8000 octets a second at least.
    wait_for("a recording", SOON, || (recorded(proxy) > 8_000).then_some(()));
    b.wait_heard(0, 5);
    call.delete();
}

fn a_recording_can_begin_with_the_offer(proxy: &Proxy) {
    let (call, [_a, b]) = tones(proxy, &json!({"record-call": "on"}));
    b.wait_heard(0, 40);
    call.delete();
    wait_for("a recording", SOON, || (recorded(proxy) > 8_000).then_some(()));
}

fn a_recording_can_pause(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let ports = call.connect(&pair);
    call.does("start recording", &json!({}));
    pair.talk(ports);
    call.does("pause recording", &json!({}));
    pair.talk(ports);
    call.does("start recording", &json!({}));
    pair.talk(ports);
    call.does("stop recording", &json!({}));
    call.delete();
}
