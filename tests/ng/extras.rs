//! Beyond relaying: media that is played, copied, sent back and joined.

use crate::stand::{Call, Proxy, audio, bencoded, packets, read, scenarios, told};
use crate::support::baresip::share_at;
use crate::support::hearing::{sine, wav};
use crate::support::softphone::sdp;
use crate::support::talker::{PCMU, Talker, decode};
use crate::support::wire::Wire;
use loadtest::bencode::Value;
use serde_json::{Value as Json, json};

scenarios! {
    a_sound_is_played_to_a_party,
    a_sound_can_be_stopped,
    what_cannot_be_played_is_refused,
    media_can_be_echoed,
    media_can_be_swallowed,
    a_subscriber_hears_a_party,
    a_subscriber_leaves,
    what_is_published_can_be_heard,
    ;
    only strowger:
    parties_are_connected = "10.5 has no `connect`",
}

/// `play media` with a sound of so many samples of 8 kHz.
fn plays(call: &Call, more: &Json, samples: usize) -> Json {
    let request = call.request("play media", more);
    let Value::Dict(mut entries) = bencoded(&request) else { unreachable!("a request is a dictionary") };
    let sound = wav(8_000, &sine(8_000, 600, samples, 8_000.0));
    entries.push((b"blob".to_vec(), Value::Text(sound)));
    let mut bytes = Vec::new();
    Value::Dict(entries).write(&mut bytes);
    read(&call.ng.ask_bytes(&bytes))
}

/// A call of two talkers.
fn talking(proxy: &Proxy) -> (Call, Talker, Talker, [std::net::SocketAddr; 2]) {
    let call = proxy.call();
    let (a, b) = (Talker::at(proxy.net.ip(2)), Talker::at(proxy.net.ip(3)));
    let to_b = call.offer(&audio(a.address()), &json!({}));
    let to_a = call.answer(&audio(b.address()), &json!({}));
    (call, a, b, [to_a.media(0), to_b.media(0)])
}

fn a_sound_is_played_to_a_party(proxy: &Proxy) {
    let (call, mut a, b, [to_a, _]) = talking(proxy);
    a.say_tone(to_a, PCMU, 440.0);
    b.wait_heard(0, 5);
    let reply = plays(&call, &json!({"from-tag": "a"}), 8_000);
    assert_eq!(reply["result"], "ok", "{reply:#}");
    assert!(reply["duration"].as_i64().is_some_and(|ms| (900..=1_100).contains(&ms)), "{reply:#}");
    let heard = decode(PCMU, &a.wait_heard(0, 40));
    let share = share_at(8_000, &heard[1_600..6_400], 600.0);
    assert!(share > 0.9, "A hears the sound: {share:.3}");
    // B goes on hearing A.
    let heard = b.listen(PCMU);
    assert!(share_at(8_000, &heard[4_000..], 440.0) > 0.9);
}

fn a_sound_can_be_stopped(proxy: &Proxy) {
    let (call, a, mut b, [to_a, to_b]) = talking(proxy);
    let mut caller = a;
    caller.say_tone(to_a, PCMU, 440.0);
    b.wait_heard(0, 5);
    assert_eq!(plays(&call, &json!({"from-tag": "a"}), 24_000)["result"], "ok");
    let heard = decode(PCMU, &caller.wait_heard(0, 25));
    assert!(share_at(8_000, &heard[heard.len() - 1_600..], 600.0) > 0.9, "three seconds of it have begun");
    call.does("stop media", &json!({"from-tag": "a"}));
    b.say_tone(to_b, PCMU, 800.0);
    caller.wait_heard(0, 5);
    let heard = decode(PCMU, &caller.wait_heard(0, 20));
    assert!(share_at(8_000, &heard[heard.len() - 1_600..], 800.0) > 0.9, "B is heard");
}

fn what_cannot_be_played_is_refused(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    call.connect(&pair);
    let refused = |more: Json| call.refuses("play media", &more);
    assert_eq!(refused(json!({"from-tag": "a"})), "No media file specified");
    assert_eq!(
        refused(json!({"from-tag": "a", "file": "/nowhere/at-all.wav"})),
        "Failed to start media playback from file"
    );
    assert_eq!(
        refused(json!({"from-tag": "a", "blob": "no sound"})),
        "Failed to start media playback from blob"
    );
    assert_eq!(refused(json!({"blob": "no sound"})), "No participant party specified");
}

fn media_can_be_echoed(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let ports = call.connect_with(&pair, &json!({"media-echo": "both"}), &json!({}));
    for (wire, port) in [(&pair.a, ports.a), (&pair.b, ports.b)] {
        for packet in packets(wire, 5) {
            wire.rtp.send(port, &packet);
            assert_eq!(wire.rtp.receive().0[12..], packet[12..]);
        }
    }
}

fn media_can_be_swallowed(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let ports = call.connect_with(&pair, &json!({"media-echo": "blackhole"}), &json!({}));
    pair.a_is_not_heard(ports);
    pair.b_is_not_heard(ports);
}

fn receiving(wire: &Wire) -> String {
    audio(wire.address()).replace("a=sendrecv", "a=recvonly")
}

fn a_subscriber_hears_a_party(proxy: &Proxy) {
    let (call, pair, ear) = (proxy.call(), proxy.pair(), proxy.wire(6));
    let ports = call.connect(&pair);
    pair.talk(ports);
    let reply = call.does("subscribe request", &json!({"from-tag": "a", "to-tag": "listener"}));
    assert_eq!(reply["to-tag"], "listener", "{reply:#}");
    assert!(told(&reply).has(0, "a=sendonly"), "{reply:#}");
    call.does("subscribe answer", &json!({"from-tag": "a", "to-tag": "listener", "sdp": receiving(&ear)}));
    for packet in packets(&pair.a, 10) {
        pair.a.rtp.send(ports.a, &packet);
        assert_eq!(pair.b.rtp.receive().0, packet, "the callee hears as before");
        assert_eq!(ear.rtp.receive().0[12..], packet[12..], "and so does the subscriber");
    }
    pair.b_is_heard(ports, 5);
    ear.rtp.expect_silence();
}

fn a_subscriber_leaves(proxy: &Proxy) {
    let (call, pair, ear) = (proxy.call(), proxy.pair(), proxy.wire(6));
    let ports = call.connect(&pair);
    let reply = call.does("subscribe request", &json!({"from-tag": "a"}));
    let tag = reply["to-tag"].as_str().expect("a tag of its making").to_owned();
    call.does("subscribe answer", &json!({"from-tag": "a", "to-tag": tag, "sdp": receiving(&ear)}));
    pair.a_is_heard(ports, 5);
    (0..5).for_each(|_| drop(ear.rtp.receive()));
    call.does("unsubscribe", &json!({"from-tag": "a", "to-tag": tag}));
    pair.a_is_heard(ports, 5);
    ear.rtp.expect_silence();
}

fn what_is_published_can_be_heard(proxy: &Proxy) {
    let (call, stage, ear) = (proxy.call(), proxy.wire(2), proxy.wire(6));
    let publication = sdp(stage.address(), "audio {port} RTP/AVP 0", &["a=rtpmap:0 PCMU/8000", "a=sendonly"]);
    let reply = call.does("publish", &json!({"from-tag": "stage", "sdp": publication}));
    let answer = told(&reply);
    assert!(answer.has(0, "a=recvonly"), "{}", answer.0);
    let reply = call.does("subscribe request", &json!({"from-tag": "stage", "to-tag": "listener"}));
    assert_eq!(told(&reply).codecs(0), ["PCMU"]);
    let plain = sdp(ear.address(), "audio {port} RTP/AVP 0", &["a=recvonly"]);
    call.does("subscribe answer", &json!({"from-tag": "stage", "to-tag": "listener", "sdp": plain}));
    for packet in packets(&stage, 10) {
        stage.rtp.send(answer.media(0), &packet);
        assert_eq!(ear.rtp.receive().0[12..], packet[12..]);
    }
}

fn parties_are_connected(proxy: &Proxy) {
    // Two pairs in one call: the caller of one is joined with the callee of the other.
    let (call, left, right) = (proxy.call(), proxy.pair(), proxy.pair());
    let of_left = call.connect(&left);
    let to_d = call.offer(&audio(right.a.address()), &json!({"from-tag": "c"}));
    let to_c = call.answer(&audio(right.b.address()), &json!({"from-tag": "c", "to-tag": "d"}));
    let of_right = crate::stand::Ports { a: to_c.media(0), b: to_d.media(0) };
    left.talk(of_left);
    right.talk(of_right);
    call.does("connect", &json!({"from-tag": "a", "to-tag": "d"}));
    for (from, at, ear) in [(&left.a, of_left.a, &right.b), (&right.b, of_right.b, &left.a)] {
        for packet in packets(from, 5) {
            from.rtp.send(at, &packet);
            assert_eq!(ear.rtp.receive().0[12..], packet[12..]);
        }
    }
}
