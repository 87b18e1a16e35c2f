//! Offers and answers of two parties: ports that relay, late offers, offers anew, hold.

use crate::stand::{Ports, Proxy, Sdp, audio, passes, scenarios, told};
use crate::support::softphone::sdp;
use crate::support::wire::{Socket, Wire, sender_report};
use serde_json::json;
use std::net::SocketAddr;

scenarios! {
    media_passes_untouched_both_ways,
    reports_pass_both_ways,
    the_callee_may_speak_before_its_answer,
    a_late_offer_comes_from_the_callee,
    an_offer_anew_keeps_the_ports,
    the_callee_may_offer_anew,
    a_party_that_moves_is_heard_from_and_at_its_new_place,
    answers_before_the_final_one_are_replaced_by_it,
    a_line_that_is_added_gets_ports,
    a_line_that_is_refused_stays_refused,
    audio_and_video_pass_side_by_side,
    lines_of_other_kinds_pass,
    hold_and_its_end_are_told,
    a_held_phone_of_old_is_told_as_it_says,
    rtcp_on_one_port_is_agreed_end_to_end,
    an_address_of_the_line_counts_before_that_of_the_session,
    rtcp_goes_where_its_attribute_says,
    the_feedback_profile_is_converted,
}

fn is_at(proxy: &Proxy, sdp: &Sdp, n: usize) {
    assert_eq!(sdp.media(n).ip(), proxy.ip(), "our address: {}", sdp.0);
    assert_eq!(sdp.media(n).port() % 2, 0, "an even port: {}", sdp.0);
    assert_eq!(sdp.rtcp(n).port(), sdp.media(n).port() + 1, "RTCP on the next: {}", sdp.0);
}

fn media_passes_untouched_both_ways(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let to_b = call.offer(&audio(pair.a.address()), &json!({}));
    let to_a = call.answer(&audio(pair.b.address()), &json!({}));
    for sdp in [&to_b, &to_a] {
        is_at(proxy, sdp, 0);
        assert_eq!((sdp.protocol(0), sdp.formats(0).as_str()), ("RTP/AVP", "0 101"));
        assert!(sdp.has(0, "a=sendrecv"), "{}", sdp.0);
    }
    assert_ne!(to_a.media(0), to_b.media(0));
    pair.talk(Ports { a: to_a.media(0), b: to_b.media(0) });
}

fn reports_pass_both_ways(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let to_b = call.offer(&audio(pair.a.address()), &json!({}));
    let to_a = call.answer(&audio(pair.b.address()), &json!({}));
    pair.talk(Ports { a: to_a.media(0), b: to_b.media(0) });
    let report = sender_report(0xaaaa);
    pair.a.rtcp.send(to_a.rtcp(0), &report);
    is_reported(&pair.b.rtcp, &report, to_b.rtcp(0));
    pair.b.rtcp.send(to_b.rtcp(0), &report);
    is_reported(&pair.a.rtcp, &report, to_a.rtcp(0));
}

/// This report comes from there. The name of its sender may be another.
fn is_reported(ear: &Socket, report: &[u8], from: SocketAddr) {
    let (got, source) = ear.receive();
    assert_eq!((&got[..28], source), (&report[..28], from));
}

fn the_callee_may_speak_before_its_answer(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let to_b = call.offer(&audio(pair.a.address()), &json!({}));
    // rtpengine lets pass whatever comes to the port of the offer; ours waits for the SDP, of a 183 at the latest.
    if proxy.is_ours() {
        crate::stand::is_dropped(&pair.b, to_b.media(0), &pair.a);
    } else {
        pair.b.reach(to_b.media(0), &pair.a, 7);
    }
    let to_a = call.answer(&audio(pair.b.address()), &json!({}));
    pair.talk(Ports { a: to_a.media(0), b: to_b.media(0) });
}

fn a_late_offer_comes_from_the_callee(proxy: &Proxy) {
    // INVITE without SDP; the offer is in the 200, the answer in the ACK. Tags are of who offers and who answers.
    let (call, pair) = (proxy.call(), proxy.pair());
    let to_a = call.offer(&audio(pair.b.address()), &json!({"from-tag": "b", "to-tag": "a"}));
    let to_b = call.answer(&audio(pair.a.address()), &json!({"from-tag": "b", "to-tag": "a"}));
    pair.talk(Ports { a: to_a.media(0), b: to_b.media(0) });
}

fn an_offer_anew_keeps_the_ports(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let ports = call.connect(&pair);
    pair.talk(ports);
    let to_b = call.offer(&audio(pair.a.address()), &json!({"to-tag": "b"}));
    pair.talk(ports);
    let to_a = call.answer(&audio(pair.b.address()), &json!({}));
    assert_eq!((to_a.media(0), to_b.media(0)), (ports.a, ports.b));
    pair.talk(ports);
}

fn the_callee_may_offer_anew(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let ports = call.connect(&pair);
    pair.talk(ports);
    let tags = json!({"from-tag": "b", "to-tag": "a"});
    let to_a = call.offer(&audio(pair.b.address()), &tags);
    let to_b = call.answer(&audio(pair.a.address()), &tags);
    assert_eq!((to_a.media(0), to_b.media(0)), (ports.a, ports.b));
    pair.talk(ports);
}

fn a_party_that_moves_is_heard_from_and_at_its_new_place(proxy: &Proxy) {
    let (call, mut pair) = (proxy.call(), proxy.pair());
    let ports = call.connect(&pair);
    pair.talk(ports);
    pair.a = proxy.wire(6);
    let to_b = call.offer(&audio(pair.a.address()), &json!({"to-tag": "b"}));
    let to_a = call.answer(&audio(pair.b.address()), &json!({}));
    pair.talk(Ports { a: to_a.media(0), b: to_b.media(0) });
}

fn answers_before_the_final_one_are_replaced_by_it(proxy: &Proxy) {
    let (call, mut pair) = (proxy.call(), proxy.pair());
    let to_b = call.offer(&audio(pair.a.address()), &json!({}));
    let early = proxy.wire(6);
    let first = call.answer(&audio(early.address()), &json!({}));
    passes(&pair.a, first.media(0), &early, to_b.media(0), 5);
    let last = call.answer(&audio(pair.b.address()), &json!({}));
    // The ports that face the caller may be others: it has both answers.
    pair.talk(Ports { a: last.media(0), b: to_b.media(0) });
    pair.b = early;
    pair.b.rtp.expect_silence();
}

fn video(media: &Wire) -> String {
    format!("m=video {} RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n", media.address().port())
}

fn a_line_that_is_added_gets_ports(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let ports = call.connect(&pair);
    let (video_a, video_b) = (proxy.wire(2), proxy.wire(3));
    let to_b = call.offer(&(audio(pair.a.address()) + &video(&video_a)), &json!({"to-tag": "b"}));
    let to_a = call.answer(&(audio(pair.b.address()) + &video(&video_b)), &json!({}));
    assert_eq!((to_a.media(0), to_b.media(0)), (ports.a, ports.b));
    is_at(proxy, &to_b, 1);
    pair.talk(ports);
    passes(&video_a, to_a.media(1), &video_b, to_b.media(1), 5);
    passes(&video_b, to_b.media(1), &video_a, to_a.media(1), 5);
}

fn a_line_that_is_refused_stays_refused(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let (video_a, refused) = (proxy.wire(2), "m=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n");
    let to_b = call.offer(&(audio(pair.a.address()) + &video(&video_a)), &json!({}));
    let to_a = call.answer(&(audio(pair.b.address()) + refused), &json!({}));
    assert_eq!((to_a.count(), to_a.line(1)[1]), (2, "0"), "{}", to_a.0);
    pair.talk(Ports { a: to_a.media(0), b: to_b.media(0) });
    // And one that the caller does not want any more.
    let to_b = call.offer(&(audio(pair.a.address()) + refused), &json!({"to-tag": "b"}));
    assert_eq!((to_b.count(), to_b.line(1)[1]), (2, "0"), "{}", to_b.0);
}

fn audio_and_video_pass_side_by_side(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let (video_a, video_b) = (proxy.wire(2), proxy.wire(3));
    let to_b = call.offer(&(audio(pair.a.address()) + &video(&video_a)), &json!({}));
    let to_a = call.answer(&(audio(pair.b.address()) + &video(&video_b)), &json!({}));
    pair.talk(Ports { a: to_a.media(0), b: to_b.media(0) });
    passes(&video_a, to_a.media(1), &video_b, to_b.media(1), 5);
    passes(&video_b, to_b.media(1), &video_a, to_a.media(1), 5);
}

fn lines_of_other_kinds_pass(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let fax = |wire: &Wire| {
        sdp(wire.address(), "image {port} udptl t38", &["a=T38FaxVersion:0", "a=T38MaxBitRate:14400"])
    };
    let to_b = call.offer(&fax(&pair.a), &json!({}));
    let to_a = call.answer(&fax(&pair.b), &json!({}));
    for sdp in [&to_b, &to_a] {
        assert_eq!((sdp.line(0)[0], sdp.protocol(0), sdp.formats(0).as_str()), ("image", "udptl", "t38"));
        assert!(sdp.has(0, "a=T38FaxVersion:0") && sdp.has(0, "a=T38MaxBitRate:14400"), "{}", sdp.0);
    }
    let datagram = b"\0\x01\x04no RTP at all";
    pair.a.rtp.send(to_a.media(0), datagram);
    pair.b.rtp.expect(datagram, to_b.media(0));
    pair.b.rtp.send(to_b.media(0), datagram);
    pair.a.rtp.expect(datagram, to_a.media(0));
}

fn hold_and_its_end_are_told(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let ports = call.connect(&pair);
    pair.talk(ports);
    let with = |wire: &Wire, direction: &str| audio(wire.address()).replace("a=sendrecv", direction);
    let again = json!({"to-tag": "b"});
    for (says, answers) in [
        ("a=sendonly", "a=recvonly"),
        ("a=inactive", "a=inactive"),
        ("a=recvonly", "a=sendonly"),
        ("a=sendrecv", "a=sendrecv"),
    ] {
        let to_b = call.offer(&with(&pair.a, says), &again);
        let to_a = call.answer(&with(&pair.b, answers), &json!({}));
        assert!(to_b.has(0, says), "{says}: {}", to_b.0);
        assert!(to_a.has(0, answers), "{answers}: {}", to_a.0);
    }
    pair.talk(ports);
}

fn a_held_phone_of_old_is_told_as_it_says(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let ports = call.connect(&pair);
    pair.talk(ports);
    let zero = audio(pair.a.address()).replace(&pair.a.address().ip().to_string(), "0.0.0.0");
    let to_b = call.offer(&zero, &json!({"to-tag": "b"}));
    let to_a = call.answer(&audio(pair.b.address()), &json!({}));
    assert_eq!(to_b.media(0).ip().to_string(), "0.0.0.0", "{}", to_b.0);
    assert_eq!(to_a.media(0), ports.a);
    let to_b = call.offer(&zero, &json!({"to-tag": "b", "replace": ["zero-address"]}));
    assert_eq!(to_b.media(0), ports.b, "{}", to_b.0);
    call.answer(&audio(pair.b.address()), &json!({}));
    // And back.
    let to_b = call.offer(&audio(pair.a.address()), &json!({"to-tag": "b"}));
    let to_a = call.answer(&audio(pair.b.address()), &json!({}));
    pair.talk(Ports { a: to_a.media(0), b: to_b.media(0) });
}

fn rtcp_on_one_port_is_agreed_end_to_end(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let mux = |wire: &Wire| audio(wire.address()) + "a=rtcp-mux\r\n";
    let to_b = call.offer(&mux(&pair.a), &json!({}));
    assert!(to_b.has(0, "a=rtcp-mux"), "{}", to_b.0);
    let to_a = call.answer(&mux(&pair.b), &json!({}));
    assert!(to_a.has(0, "a=rtcp-mux"), "{}", to_a.0);
    assert_eq!(to_a.rtcp(0), to_a.media(0), "{}", to_a.0);
    pair.talk(Ports { a: to_a.media(0), b: to_b.media(0) });
    let report = sender_report(0xaaaa);
    pair.a.rtp.send(to_a.media(0), &report);
    is_reported(&pair.b.rtp, &report, to_b.media(0));
}

fn an_address_of_the_line_counts_before_that_of_the_session(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let own = |wire: &Wire| {
        let address = wire.address();
        let own = format!("c=IN IP4 {}\r\n", address.ip());
        audio(address).replacen(&own, "c=IN IP4 192.0.2.1\r\n", 1).replacen(
            "a=rtpmap",
            &format!("{own}a=rtpmap"),
            1,
        )
    };
    let to_b = call.offer(&own(&pair.a), &json!({}));
    let to_a = call.answer(&own(&pair.b), &json!({}));
    pair.talk(Ports { a: to_a.media(0), b: to_b.media(0) });
}

fn rtcp_goes_where_its_attribute_says(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let elsewhere = proxy.wire(3);
    let to_b = call.offer(&audio(pair.a.address()), &json!({}));
    let with = audio(pair.b.address()) + &format!("a=rtcp:{}\r\n", elsewhere.rtcp.address().port());
    let to_a = call.answer(&with, &json!({}));
    pair.talk(Ports { a: to_a.media(0), b: to_b.media(0) });
    let report = sender_report(0xaaaa);
    pair.a.rtcp.send(to_a.rtcp(0), &report);
    is_reported(&elsewhere.rtcp, &report, to_b.rtcp(0));
}

fn the_feedback_profile_is_converted(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let offer = call.offering(&audio(pair.a.address()), &json!({"transport-protocol": "RTP/AVPF"}));
    let to_b = told(&call.ng.does(&offer));
    assert_eq!(to_b.protocol(0), "RTP/AVPF");
    let to_a = call.answer(&audio(pair.b.address()).replace("RTP/AVP", "RTP/AVPF"), &json!({}));
    assert_eq!(to_a.protocol(0), "RTP/AVP", "the offerer gets its own back");
    pair.talk(Ports { a: to_a.media(0), b: to_b.media(0) });
}
