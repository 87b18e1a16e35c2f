//! What leaves the engine, as tshark sees it: every packet comes from the address that its headers and SDP name.

use crate::support::capture::Capture;
use crate::support::softphone::{Softphone, audio};
use crate::support::wire::Wire;
use crate::support::{Engine, Net, PAIR};
use std::collections::BTreeSet;

#[test]
fn every_packet_leaves_from_the_address_that_is_announced() {
    let net = Net::new();
    let Some(capture) = Capture::start(&net) else { return };
    let engine = Engine::start(&net.fill(PAIR));
    let (a, b) = (Softphone::at((net.ip(2), 5060)), Softphone::at((net.ip(3), 5060)));
    let (media_a, media_b) = (Wire::at(net.ip(2)), Wire::at(net.ip(3)));
    let (offer, answer) = (audio(media_a.address()), audio(media_b.address()));
    let mut call = a.connect(&b, engine.sip(0), "15550100", &offer, &answer);
    media_a.reach(call.answered.media(0), &media_b, 1);
    media_b.reach(call.offered.media(0), &media_a, 2);
    a.hang_up(&mut call.a, &b);
    engine.wait_idle();
    let rows = capture.read(
        &format!("ip.src == {} && (sip || rtp)", net.ip(1)),
        &[
            "udp.srcport",
            "ip.dst",
            "sip.Method",
            "sip.Via.sent-by.address",
            "sip.Via.sent-by.port",
            "sip.contact.host",
            "sip.contact.port",
            "sdp.connection_info.address",
            "sdp.media.port",
            "rtp.ssrc",
        ],
    );
    let (ip, port) = (net.ip(1).to_string(), engine.sip(0).port().to_string());
    let mut announced = BTreeSet::new();
    let (mut requests, mut packets) = (0, 0);
    for row in &rows {
        let [source, target, method, via, via_port, contact, contact_port, address, media, ssrc] = &row[..]
        else {
            panic!("ten fields: {row:?}")
        };
        if !ssrc.is_empty() {
            packets += 1;
            assert!(
                announced.contains(&(target.clone(), source.clone())),
                "RTP from a port that no SDP names: {row:?}"
            );
            continue;
        }
        assert_eq!(source, &port, "SIP leaves from the listener: {row:?}");
        if !method.is_empty() {
            requests += 1;
            assert_eq!((via, via_port), (&ip, &port), "{row:?}");
        }
        if !contact.is_empty() {
            assert_eq!((contact, contact_port), (&ip, &port), "{row:?}");
        }
        if !media.is_empty() {
            assert_eq!(address, &ip, "{row:?}");
            announced.insert((target.clone(), media.clone()));
        }
    }
    assert!(requests >= 3 && packets >= 2 && announced.len() == 2, "{requests}, {packets}, {announced:?}");
    let malformed = rows.iter().filter(|row| row.iter().any(|field| field.contains("alformed"))).count();
    assert_eq!(malformed, 0);
}

/// An engine behind a NAT that is the test itself: what is advertised leads to what is bound.
fn advertises(advertised: &str, net: Net, talks: bool) {
    let Some(capture) = Capture::start(&net) else { return };
    let config =
        PAIR.replace("media = \"IP1:0\"", &format!("media = \"IP1:0\", advertise = [\"{advertised}\"]"));
    let engine = Engine::start(&net.fill(&config));
    let (a, b) = (Softphone::at((net.ip(2), 5060)), Softphone::at((net.ip(3), 5060)));
    let (media_a, media_b) = (Wire::at(net.ip(2)), Wire::at(net.ip(3)));
    let mut dialog = a.invite(engine.sip(0), "15550100", &audio(media_a.address()));
    let invite = b.expect("INVITE");
    let port = engine.sip(0).port();
    assert!(invite.header("Via").contains(&format!("{advertised}:{port}")), "{}", invite.text);
    assert!(invite.header("Contact").contains(advertised), "{}", invite.text);
    assert_eq!(invite.media(0).ip().to_string(), advertised);
    assert!(!invite.body().contains(&net.ip(1).to_string()), "{}", invite.text);
    b.answer(&invite, 200, &audio(media_b.address()));
    let ok = a.expect("200 INVITE");
    assert!(ok.header("Contact").contains(advertised), "{}", ok.text);
    assert_eq!(ok.media(0).ip().to_string(), advertised);
    a.ack(&mut dialog, &ok);
    b.expect("ACK");
    if talks {
        media_a.reach((net.ip(1), ok.media(0).port()).into(), &media_b, 1);
    }
    a.hang_up(&mut dialog, &b);
    engine.wait_idle();
    let astray = capture.read(&format!("ip.addr == {advertised}"), &["frame.number"]);
    assert!(astray.is_empty(), "nothing is sent to or from the advertised address here: {astray:?}");
}

#[test]
fn the_advertised_address_is_told_and_the_bound_one_is_used() {
    let net = Net::new();
    advertises(&net.ip(5).to_string(), net, true);
}

#[test]
fn an_address_of_another_net_can_be_advertised() {
    advertises("198.51.100.1", Net::new(), false);
}
