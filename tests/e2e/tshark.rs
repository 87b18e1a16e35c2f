//! What leaves the engine, as tshark sees it: every packet comes from the address that its headers and SDP name.

use crate::support::capture::Capture;
use crate::support::softphone::{Softphone, audio};
use crate::support::wire::{Wire, sender_report};
use crate::support::{Engine, Net, PAIR};
use std::collections::BTreeSet;

/// Looks at all that went from the engine to the phones: each packet leaves from the address that its headers or an SDP
/// before it name.
fn every_packet_leaves_as_announced(net: Net, config: &str) {
    let Some(capture) = Capture::start(&net) else { return };
    let engine = Engine::start(&net.fill(config));
    let (a, b) = (Softphone::at((net.ip(2), 5060)), Softphone::at((net.ip(3), 5060)));
    let (media_a, media_b) = (Wire::at(net.ip(2)), Wire::at(net.ip(3)));
    let (offer, answer) = (audio(media_a.address()), audio(media_b.address()));
    let port = engine.sip(0).port();
    let mut call = a.connect(&b, (net.ip(1), port).into(), "15550100", &offer, &answer);
    let (to_a, to_b) = (call.answered.media(0), call.offered.media(0));
    media_a.reach(to_a, &media_b, 1);
    media_b.reach(to_b, &media_a, 2);
    media_a.rtcp.send((to_a.ip(), to_a.port() + 1).into(), &sender_report(1));
    media_b.rtcp.receive();
    a.hang_up(&mut call.a, &b);
    engine.wait_idle();
    let phones = format!(
        "(ip.dst == {0} || ip.dst == {1}) && !(ip.src == {0} || ip.src == {1})",
        net.ip(2),
        net.ip(3)
    );
    let rows = capture.read(
        &format!("{phones} && (sip || rtp || rtcp)"),
        &[
            "ip.src",
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
            "rtcp.pt",
            "_ws.malformed",
        ],
    );
    let mut announced = BTreeSet::new();
    let (mut requests, mut packets, mut reports) = (0, 0, 0);
    for row in &rows {
        let [
            ip,
            source,
            target,
            method,
            via,
            via_port,
            contact,
            contact_port,
            address,
            media,
            ssrc,
            report,
            malformed,
        ] = &row[..]
        else {
            panic!("thirteen fields: {row:?}")
        };
        assert!(malformed.is_empty(), "{row:?}");
        let source: u16 = source.parse().expect("a port");
        if !ssrc.is_empty() || !report.is_empty() {
            // Reports come from the port after the one of the SDP.
            let even = source & !1;
            assert_eq!(even == source, !ssrc.is_empty(), "{row:?}");
            assert!(
                announced.contains(&(target, ip, even)),
                "media from an address that no SDP names: {row:?}"
            );
            reports += u32::from(ssrc.is_empty());
            packets += u32::from(!ssrc.is_empty());
            continue;
        }
        assert_eq!(source, port, "SIP leaves from the listener: {row:?}");
        if !method.is_empty() {
            requests += 1;
            assert_eq!((via, via_port), (ip, &port.to_string()), "{row:?}");
        }
        if !contact.is_empty() {
            assert_eq!((contact, contact_port), (ip, &port.to_string()), "{row:?}");
        }
        if !media.is_empty() {
            announced.insert((target, address, media.parse().expect("a port")));
        }
    }
    assert!(requests >= 3 && packets >= 2 && reports >= 1, "{requests}, {packets}, {reports}");
    assert_eq!(announced.len(), 2, "{announced:?}");
}

#[test]
fn every_packet_leaves_from_the_address_that_is_announced() {
    every_packet_leaves_as_announced(Net::new(), PAIR);
}

#[test]
fn on_a_wildcard_the_address_of_the_kernel_is_announced() {
    // A range that no other test has: a wildcard takes its ports from all addresses.
    let config = PAIR.replace("tcp:IP1:0", "tcp:0.0.0.0:0").replace("udp:IP1:0", "udp:0.0.0.0:0");
    every_packet_leaves_as_announced(
        Net::new(),
        &config.replace("media = \"IP1:0\"", "media = \"0.0.0.0:31300-31399\""),
    );
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
