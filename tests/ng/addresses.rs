//! At which of our addresses each side is met.

use crate::stand::{Make, Ports, Proxy, Setup, audio, passes, scenarios};
use crate::support::wire::Wire;
use serde_json::json;
use std::net::{IpAddr, Ipv6Addr};

scenarios! {
    each_side_is_met_at_its_interface,
    one_interface_can_serve_both,
    a_direction_stays_over_an_offer_anew,
    an_unknown_interface_is_no_reason_to_fail,
    another_address_can_be_told,
}

fn each_side_is_met_at_its_interface(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let outside: IpAddr = proxy.net.ip(4).into();
    let ports = call.connect_with(&pair, &json!({"direction": ["main", "outside"]}), &json!({}));
    assert_eq!((ports.a.ip(), ports.b.ip()), (proxy.ip(), outside));
    pair.talk(ports);
    let call = proxy.call();
    let ports = call.connect_with(&pair, &json!({"direction": ["outside", "main"]}), &json!({}));
    assert_eq!((ports.a.ip(), ports.b.ip()), (outside, proxy.ip()));
    pair.talk(ports);
}

fn one_interface_can_serve_both(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let outside: IpAddr = proxy.net.ip(4).into();
    let ports = call.connect_with(&pair, &json!({"direction": ["outside", "outside"]}), &json!({}));
    assert_eq!((ports.a.ip(), ports.b.ip()), (outside, outside));
    pair.talk(ports);
}

fn a_direction_stays_over_an_offer_anew(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let ports = call.connect_with(&pair, &json!({"direction": ["main", "outside"]}), &json!({}));
    let to_b =
        call.offer(&audio(pair.a.address()), &json!({"to-tag": "b", "direction": ["main", "outside"]}));
    let to_a = call.answer(&audio(pair.b.address()), &json!({}));
    assert_eq!((to_a.media(0), to_b.media(0)), (ports.a, ports.b));
    // From the other side, whose words are turned round.
    let tags = json!({"from-tag": "b", "to-tag": "a", "direction": ["outside", "main"]});
    let to_a = call.offer(&audio(pair.b.address()), &tags);
    let to_b = call.answer(&audio(pair.a.address()), &json!({"from-tag": "b", "to-tag": "a"}));
    assert_eq!((to_a.media(0), to_b.media(0)), (ports.a, ports.b));
    pair.talk(ports);
}

fn an_unknown_interface_is_no_reason_to_fail(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let ports = call.connect_with(&pair, &json!({"direction": ["nowhere", "elsewhere"]}), &json!({}));
    assert_eq!((ports.a.ip(), ports.b.ip()), (proxy.ip(), proxy.ip()), "the first one serves");
    pair.talk(ports);
}

fn another_address_can_be_told(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let to_b = call.offer(&audio(pair.a.address()), &json!({"media-address": "192.0.2.44"}));
    assert_eq!(to_b.media(0).ip().to_string(), "192.0.2.44");
    let to_a = call.answer(&audio(pair.b.address()), &json!({}));
    assert_eq!(to_a.media(0).ip(), proxy.ip());
}

/// The caller has IPv4, the callee IPv6.
fn of_two_families(make: Make) {
    let Some(proxy) = Proxy::start(make, &Setup { ipv6: true, ..Setup::default() }) else { return };
    let (call, a, b) = (proxy.call(), proxy.wire(2), Wire::at(Ipv6Addr::LOCALHOST));
    let to_b = call.offer(&audio(a.address()), &json!({"address-family": "IP6"}));
    assert!(to_b.media(0).is_ipv6() && to_b.0.contains("c=IN IP6 ::1"), "{}", to_b.0);
    let to_a = call.answer(&audio(b.address()), &json!({"address-family": "IP4"}));
    assert_eq!(to_a.media(0).ip(), proxy.ip());
    let ports = Ports { a: to_a.media(0), b: to_b.media(0) };
    passes(&a, ports.a, &b, ports.b, 5);
    passes(&b, ports.b, &a, ports.a, 5);
    proxy.check();
}

#[test]
fn strowger_joins_both_families() {
    of_two_families(Make::Strowger);
}

#[test]
fn rtpengine_joins_both_families() {
    of_two_families(Make::Rtpengine);
}
