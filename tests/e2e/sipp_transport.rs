//! Which way messages take: TCP and UDP on either leg, by size, between IPv4 and IPv6.

use crate::sipp_basic::{CALLEE, CALLER};
use crate::support::{Ear, PAIR, Phone, Role, Sipp, Stage};
use std::net::{Ipv6Addr, SocketAddr};

/// A pair whose carrier is called as `to` says.
fn pair_to(to: &str) -> String {
    PAIR.replace(
        "trunk.carrier = \"IP3:5060\"",
        &format!("trunk.carrier = {{ from = [\"IP3\"], to = [\"{to}\"] }}"),
    )
}

/// A description that makes an INVITE longer than 1,300 octets.
fn large(caller: &str) -> String {
    let header = format!("> INVITE sdp\n + X-Long: {}\n", "l".repeat(1_200));
    caller.replace("> INVITE sdp\n", &header)
}

#[test]
fn a_caller_on_tcp_and_a_callee_on_udp() {
    let Some(stage) = Stage::new() else { return };
    let callee = stage.callee(CALLEE);
    let caller = stage.uac(CALLER).tcp().start();
    Sipp::all_pass([caller, callee]);
    stage.engine.wait_idle();
    stage.engine.wait_cdrs(2);
}

#[test]
fn a_caller_on_udp_and_a_callee_on_tcp() {
    let Some(stage) = Stage::with(&pair_to("sip:IP3:5060;transport=tcp")) else { return };
    let callee =
        CALLEE.replace("< INVITE sdp", "< INVITE sdp\n ? Via: SIP/2.0/TCP\n ? Contact: transport=tcp");
    let callee = stage.uas(&callee).tcp().start();
    Sipp::all_pass([stage.caller(CALLER), callee]);
    stage.engine.wait_idle();
}

#[test]
fn the_callee_on_tcp_hangs_up() {
    let Some(stage) = Stage::with(&pair_to("sip:IP3:5060;transport=tcp")) else { return };
    let callee = stage.uas(&CALLEE.replace("< BYE\n    > 200", "> BYE\n < 200")).tcp().start();
    let caller = stage.caller(&CALLER.replace("pause 100\n    > BYE\n    < 200", "< BYE\n > 200"));
    Sipp::all_pass([caller, callee]);
    stage.engine.wait_idle();
}

#[test]
fn a_large_invite_goes_by_tcp() {
    let Some(stage) = Stage::new() else { return };
    let datagrams = Phone::at((stage.net.ip(3), 5060));
    let callee = CALLEE.replace("< INVITE sdp", "< INVITE sdp\n ? Via: SIP/2.0/TCP\n ? X-Long: llll");
    let callee = stage.uas(&callee).tcp().start();
    Sipp::all_pass([stage.caller(&large(CALLER)), callee]);
    stage.engine.wait_idle();
    assert_eq!(datagrams.receive_within(std::time::Duration::from_millis(50)), None);
}

#[test]
fn a_large_invite_falls_back_to_udp_where_nobody_listens_on_tcp() {
    let Some(stage) = Stage::new() else { return };
    let callee = CALLEE.replace("< INVITE sdp", "< INVITE sdp\n ? Via: SIP/2.0/UDP\n ? X-Long: llll");
    let callee = stage.callee(&callee);
    Sipp::all_pass([stage.caller(&large(CALLER)), callee]);
    stage.engine.wait_idle();
    // The attempt over TCP has a record, too.
    let cdrs = stage.engine.wait_cdrs(3);
    assert!(cdrs[1]["to_uri"].as_str().is_some_and(|uri| uri.ends_with("transport=tcp")), "{cdrs:#?}");
    assert_eq!(cdrs[2]["final_status"], 200);
}

#[test]
fn transport_udp_is_never_overridden() {
    let Some(stage) = Stage::with(&pair_to("sip:IP3:5060;transport=udp")) else { return };
    let stream = std::net::TcpListener::bind((stage.net.ip(3), 5060)).expect("the test's own address");
    stream.set_nonblocking(true).expect("a socket");
    let callee = CALLEE.replace("< INVITE sdp", "< INVITE sdp\n ? Via: SIP/2.0/UDP\n ? X-Long: llll");
    stage.call(&large(CALLER), &callee);
    assert!(stream.accept().is_err(), "nobody has connected");
}

#[test]
fn an_ipv6_caller_and_an_ipv4_callee_hear_each_other() {
    let config = r#"
        listener.main = { sip = ["udp:IP1:0", "udp:[::1]:0"], media = ["IP1:0", "[::1]:0"] }
        trunk.carrier = "IP3:5060"
        [trunk.pbx]
        from = ["::1"]
        to = ["sip:[::1]:9"]
        [[route]]
        via = "carrier"
    "#;
    let Some(stage) = Stage::with(config) else { return };
    let (a, b) = (Ear::at(Ipv6Addr::LOCALHOST), Ear::at(stage.net.ip(3)));
    let callee = CALLEE.replace("< INVITE sdp", "< INVITE sdp\n ? body c=IN IP4\n ! msg ::1");
    let callee = stage.uas(&callee).ear(&b).start();
    // All tests share ::1, so that the caller's port is the system's choice.
    let local = free_port();
    let caller = CALLER
        .replace("< 200 sdp", "< 200 sdp\n ? body c=IN IP6 ::1\n ! msg 127[.]")
        .replace("pause 100", "pause 800");
    let caller = Sipp::setup(Role::Uac, &caller, local, stage.engine.sip(1)).ear(&a).start();
    a.is_heard_by(&b, caller.media_of("200"), 1);
    b.is_heard_by(&a, callee.media_of("INVITE"), 2);
    Sipp::all_pass([caller, callee]);
    stage.engine.wait_idle();
}

fn free_port() -> SocketAddr {
    let socket = std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).expect("IPv6 on loopback");
    socket.local_addr().expect("bound")
}
