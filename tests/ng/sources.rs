//! Where media comes from, which of it is believed, and where the answer goes.

use crate::stand::{Ports, Proxy, audio, is_dropped, packets, passes, scenarios};
use crate::support::softphone::sdp;
use crate::support::wire::Wire;
use serde_json::{Value as Json, json};
use std::net::SocketAddr;

scenarios! {
    a_source_behind_nat_is_learned_at_once_if_that_is_wanted,
    without_learning_media_goes_where_the_sdp_says,
    asymmetric_media_goes_where_the_sdp_says,
    a_strict_source_keeps_others_out,
    a_handover_goes_to_whoever_speaks,
    the_source_of_sip_counts_where_the_sdp_is_not_trusted,
}

fn learning(how: &str) -> Json {
    // As a flag, since 10.5 takes a list under the key where later ones take a word.
    json!({"flags": [format!("endpoint-learning-{how}")]})
}

/// The caller speaks from elsewhere than its SDP says; where that is, and the ports.
fn moved(proxy: &Proxy, more: &Json) -> (crate::stand::Pair, Wire, Ports) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let ports = call.connect_with(&pair, more, more);
    (pair, proxy.wire(2), ports)
}

/// What `from` says to `to` is heard by `ear`.
fn is_heard(from: &Wire, to: SocketAddr, ear: &Wire) {
    for packet in packets(from, 5) {
        from.rtp.send(to, &packet);
        assert_eq!(ear.rtp.receive().0, packet);
    }
}

fn a_source_behind_nat_is_learned_at_once_if_that_is_wanted(proxy: &Proxy) {
    let (pair, elsewhere, ports) = moved(proxy, &learning("immediate"));
    is_heard(&elsewhere, ports.a, &pair.b);
    is_heard(&pair.b, ports.b, &elsewhere);
    pair.a.rtp.expect_silence();
}

fn without_learning_media_goes_where_the_sdp_says(proxy: &Proxy) {
    let (pair, elsewhere, ports) = moved(proxy, &learning("off"));
    packets(&elsewhere, 5).iter().for_each(|packet| elsewhere.rtp.send(ports.a, packet));
    is_heard(&pair.b, ports.b, &pair.a);
    elsewhere.rtp.expect_silence();
}

fn asymmetric_media_goes_where_the_sdp_says(proxy: &Proxy) {
    let (pair, elsewhere, ports) = moved(proxy, &json!({"flags": ["asymmetric"]}));
    is_heard(&elsewhere, ports.a, &pair.b);
    is_heard(&pair.b, ports.b, &pair.a);
    elsewhere.rtp.expect_silence();
}

fn a_strict_source_keeps_others_out(proxy: &Proxy) {
    let more = json!({"flags": ["strict-source", "endpoint-learning-immediate"]});
    let (pair, stranger, ports) = moved(proxy, &more);
    pair.talk(ports);
    is_dropped(&stranger, ports.a, &pair.b);
    pair.talk(ports);
}

fn a_handover_goes_to_whoever_speaks(proxy: &Proxy) {
    let more = json!({"flags": ["media-handover", "endpoint-learning-immediate"]});
    let (pair, elsewhere, ports) = moved(proxy, &more);
    pair.talk(ports);
    // The new one may have to speak for a while before it is believed.
    elsewhere.reach(ports.a, &pair.b, 7);
    is_heard(&elsewhere, ports.a, &pair.b);
    is_heard(&pair.b, ports.b, &elsewhere);
    pair.a.reach(ports.a, &pair.b, 8);
    is_heard(&pair.a, ports.a, &pair.b);
    is_heard(&pair.b, ports.b, &pair.a);
}

fn the_source_of_sip_counts_where_the_sdp_is_not_trusted(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    // The SDP names an address of its own network; its port is right.
    let private = |wire: &Wire| {
        sdp(SocketAddr::new([192, 0, 2, 9].into(), wire.address().port()), "audio {port} RTP/AVP 0", &[])
    };
    let from = |wire: &Wire| json!({"flags": ["SIP-source-address"], "received-from": ["IP4", wire.address().ip().to_string()]});
    let to_b = call.offer(&private(&pair.a), &from(&pair.a));
    let to_a = call.answer(&private(&pair.b), &from(&pair.b));
    passes(&pair.a, to_a.media(0), &pair.b, to_b.media(0), 5);
    passes(&pair.b, to_b.media(0), &pair.a, to_a.media(0), 5);
    // And the SDP where it is.
    let call = proxy.call();
    let mut trusting = from(&proxy.wire(6));
    trusting["flags"] = json!(["trust-address"]);
    let to_b = call.offer(&audio(pair.a.address()), &trusting);
    let to_a = call.answer(&audio(pair.b.address()), &trusting);
    pair.talk(Ports { a: to_a.media(0), b: to_b.media(0) });
}
