//! A media proxy that misbehaves on purpose, and that the judge sees through it.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::*;
use crate::media::{Recording, TONES};
use crate::peers::RtpEngine;
use crate::profile::Shape;
use crate::speech::Codec;

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// Every tenth packet waits for the next one.
    Reorders,
    /// Every tenth packet comes twice.
    Duplicates,
    /// A byte of every tenth payload.
    Changes,
    /// Every tenth packet.
    Loses,
    /// Sends from another port than it told.
    OtherSource,
    /// The SDP that one party gets has the other's address.
    TellsAddress,
    /// A format that nobody offered.
    AddsFormat,
    /// Two calls get the same port.
    SharesPort,
    /// Nothing happens for 400 ms, in the middle of the run.
    Stalls,
    /// The first copy of each request is lost.
    NeedsRepeats,
    /// All offers.
    Refuses,
    /// Hostile datagrams come.
    IsAttacked,
    /// Each side hears itself, and as another stream.
    Echoes,
}

struct Proxy {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Two ports of a call, and who is behind them.
struct Leg {
    sockets: [UdpSocket; 2],
    parties: [Option<SocketAddr>; 2],
    formats: [String; 2],
    kept: Option<Vec<u8>>,
    count: u64,
}

impl Proxy {
    fn start(fault: Fault) -> Proxy {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let (address, stop) = (socket.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || serve(&socket, fault, &told));
        Proxy { address, stop, thread: Some(thread) }
    }
}

fn serve(socket: &UdpSocket, fault: Fault, stop: &AtomicBool) {
    let mut legs: BTreeMap<Vec<u8>, Leg> = BTreeMap::new();
    let mut seen: Vec<Vec<u8>> = Vec::new();
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (mut buffer, mut offers) = (vec![0; 65_536], 0);
    while !stop.load(Ordering::Relaxed) {
        while let Ok((len, client)) = socket.recv_from(&mut buffer) {
            let space = buffer[..len].iter().position(|byte| *byte == b' ').unwrap_or(0);
            let Some(request) = Value::read(&buffer[(space + 1).min(len)..len]) else {
                assert_eq!(fault, Fault::IsAttacked);
                continue;
            };
            let cookie = buffer[..space].to_vec();
            let text = |key: &str| request.get(key).and_then(Value::as_text).unwrap_or_default().to_vec();
            let command = text("command");
            if fault == Fault::NeedsRepeats && command != b"ping" && !seen.contains(&cookie) {
                seen.push(cookie);
                continue;
            }
            let mut reply = vec![(b"result".to_vec(), Value::text("ok"))];
            match &command[..] {
                b"ping" => reply[0].1 = Value::text("pong"),
                b"offer" if fault == Fault::Refuses => {
                    reply[0].1 = Value::text("error");
                    reply.push((b"error-reason".to_vec(), Value::text("Ran out of ports")));
                }
                b"offer" | b"answer" => {
                    let side = usize::from(command == b"answer");
                    offers += 1 - side;
                    if fault == Fault::Stalls && offers == 20 && side == 0 {
                        std::thread::sleep(Duration::from_millis(400));
                    }
                    let sdp = String::from_utf8(text("sdp")).unwrap();
                    let call = if fault == Fault::SharesPort { b"one".to_vec() } else { text("call-id") };
                    let leg = legs.entry(call).or_insert_with(Leg::new);
                    let sdp = leg.describe(side, &sdp, fault, request.get("codec").is_some());
                    reply.push((b"sdp".to_vec(), Value::text(sdp)));
                }
                _ => drop(legs.remove(&text("call-id"))),
            }
            let mut bytes = [&cookie[..], b" "].concat();
            Value::Dict(reply).write(&mut bytes);
            socket.send_to(&bytes, client).unwrap();
        }
        legs.values_mut().for_each(|leg| leg.relay(fault, &stranger, &mut buffer));
        std::thread::sleep(Duration::from_micros(300));
    }
}

impl Leg {
    fn new() -> Leg {
        let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        sockets.iter().for_each(|socket| socket.set_nonblocking(true).unwrap());
        Leg { sockets, parties: [None; 2], formats: Default::default(), kept: None, count: 0 }
    }

    /// What the other side is told of `side`'s SDP.
    fn describe(&mut self, side: usize, sdp: &str, fault: Fault, converts: bool) -> String {
        let party = sdp::read(sdp.as_bytes()).unwrap().rtp;
        self.parties[side] = Some(party);
        let number = sdp.split("RTP/AVP ").nth(1).unwrap().split("\r\n").next().unwrap();
        self.formats[side] = number.to_owned();
        let own = self.sockets[1 - side].local_addr().unwrap();
        let mut text = sdp
            .replace(&format!("m=audio {}", party.port()), &format!("m=audio {}", own.port()))
            .replace(&party.ip().to_string(), "127.0.0.1");
        match fault {
            _ if converts => {
                text = text.replace("PCMU", "PCMA").replace("AVP 0", "AVP 8").replace("map:0", "map:8");
            }
            _ if side == 1 && self.formats[0] != self.formats[1] => {
                text = text.replace("PCMA", "PCMU").replace("AVP 8", "AVP 0").replace("map:8", "map:0");
            }
            Fault::TellsAddress => text = text.replacen("127.0.0.1", &party.ip().to_string(), 1),
            Fault::AddsFormat => text = text.replace("AVP 0", "AVP 0 8"),
            _ => {}
        }
        text
    }

    fn relay(&mut self, fault: Fault, stranger: &UdpSocket, buffer: &mut [u8]) {
        for side in 0..2 {
            while let Ok((len, _)) = self.sockets[side].recv_from(buffer) {
                // Port 0 faces the caller: what comes in there goes to the callee.
                let other = if fault == Fault::Echoes { side } else { 1 - side };
                let Some(to) = self.parties[other] else { continue };
                let mut packet = buffer[..len].to_vec();
                if packet[1] & 0x7f == 72 || packet[1] == 200 {
                    continue;
                }
                self.count += 1;
                let tenth = self.count.is_multiple_of(10);
                let through = if fault == Fault::OtherSource { stranger } else { &self.sockets[other] };
                let through = through.try_clone().unwrap();
                if self.formats[0] != self.formats[1] {
                    convert(&mut packet);
                }
                if fault == Fault::Changes && tenth {
                    packet[50] ^= 1;
                }
                if (fault == Fault::Loses && tenth)
                    || (fault == Fault::Reorders && tenth && self.hold(&packet))
                {
                    continue;
                }
                through.send_to(&packet, to).unwrap();
                if fault == Fault::Duplicates && tenth {
                    through.send_to(&packet, to).unwrap();
                }
                // Only behind one of the same stream is it out of order.
                if let Some(kept) = self.kept.take_if(|kept| kept[8..12] == packet[8..12]) {
                    through.send_to(&kept, to).unwrap();
                }
            }
        }
    }

    fn hold(&mut self, packet: &[u8]) -> bool {
        let free = self.kept.is_none();
        if free {
            self.kept = Some(packet.to_vec());
        }
        free
    }
}

/// µ-law to A-law or back, as another stream.
fn convert(packet: &mut [u8]) {
    let (from, to) = match packet[1] & 0x7f {
        0 => (Codec::Pcmu, Codec::Pcma),
        _ => (Codec::Pcma, Codec::Pcmu),
    };
    packet[1] = (packet[1] & 0x80) | to.payload_type();
    packet[8] ^= 0x55;
    packet[4] ^= 0x20;
    packet[12..].iter_mut().for_each(|byte| *byte = to.encode(from.decode(*byte)));
}

fn load(to: SocketAddr) -> LoadNg {
    let mut load = LoadNg::new(to, 3, 50.0, 0.6);
    load.media = Some([Says::Speech(Codec::Pcmu), Says::Speech(Codec::Pcmu)]);
    // What is tested is the judge; how busy this machine is must not matter.
    (load.idle, load.rtcp, load.lateness_max) = (0.0, false, Duration::from_secs(5));
    load
}

fn through(fault: Fault) -> Report {
    let proxy = Proxy::start(fault);
    run(&load(proxy.address), |_| ()).unwrap()
}

/// Of a run of a few calls with media that went well.
pub(crate) fn plain_report() -> Report {
    through(Fault::Nothing)
}

fn complaints(fault: Fault) -> String {
    let report = through(fault);
    assert_eq!(report.exit_status(), 1, "{report}");
    report.verdict.complaints.join("; ")
}

#[test]
fn a_proxy_that_does_its_work_passes() {
    let report = through(Fault::Nothing);
    assert!(report.verdict.passed, "{report}");
    assert_eq!((report.calls.placed, report.calls.completed), (3, 3));
    assert_eq!((report.offer.count, report.answer.count, report.delete.count), (3, 3, 3));
    let steady = report.steady.as_ref().unwrap();
    assert!(steady.calls == 3 && steady.packets > 50, "{steady:?}");
    let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
    assert_eq!((&json["arguments"]["seed"], &json["said"][0]), (&1.into(), &"PCMU/8000".into()));
    let page = crate::html::write(&report.page());
    assert!(page.contains("<svg") && page.contains("passed"), "{page}");
}

#[test]
fn what_happens_to_packets_is_told_by_its_name() {
    for (fault, words) in [
        (Fault::Reorders, "out of order"),
        (Fault::Duplicates, "packets came twice"),
        (Fault::Changes, "packets changed on the way"),
        (Fault::Loses, "packets lost"),
        (Fault::OtherSource, "from the wrong address"),
        (Fault::Echoes, "reached the wrong party"),
    ] {
        let told = complaints(fault);
        assert!(told.contains(words), "{fault:?}: {told}");
    }
}

#[test]
fn lies_in_the_sdp_are_told_by_their_names() {
    for (fault, words) in [
        (Fault::TellsAddress, "names the address of the other party"),
        (Fault::AddsFormat, "a format that was not offered"),
        (Fault::SharesPort, "a port that another call has"),
    ] {
        let told = complaints(fault);
        assert!(told.contains(words), "{fault:?}: {told}");
    }
}

#[test]
fn a_stall_shows_in_every_request_that_it_delayed() {
    let proxy = Proxy::start(Fault::Stalls);
    let mut load = load(proxy.address);
    (load.calls, load.cps, load.media) = (100, 200.0, None);
    let report = run(&load, |_| ()).unwrap();
    // 400 ms are 80 offers; a client that waits for each reply would have one slow one.
    let offer = &report.offer;
    assert!(offer.max_us > 350_000.0 && offer.p50_us > 100_000.0, "{offer}");
    assert_eq!(report.calls.completed, 100, "{report}");
    assert!(report.lateness.p50_us < 100_000.0, "{}", report.lateness);
}

#[test]
fn lost_requests_are_repeated_with_the_same_cookie_and_counted_from_the_first() {
    let proxy = Proxy::start(Fault::NeedsRepeats);
    let mut load = load(proxy.address);
    load.media = None;
    let report = run(&load, |_| ()).unwrap();
    assert_eq!((report.calls.completed, report.calls.sent_again), (3, 9), "{report}");
    assert!(report.offer.min_us > 900_000.0, "{}", report.offer);
}

#[test]
fn refusals_are_failures_by_the_proxy_s_reason() {
    let report = through(Fault::Refuses);
    let key = "offer: the media proxy refuses: Ran out of ports";
    assert_eq!(report.calls.failures.get(key), Some(&3), "{report}");
    assert_eq!(report.calls.failed, 3);
    // They are quick, and no offers done.
    assert_eq!((report.offer.count, report.set_up.count), (0, 0));
}

#[test]
fn a_limit_on_times_alone_lets_no_call_fail() {
    let proxy = Proxy::start(Fault::Refuses);
    for (slo, words) in [("bye_p99<10s", Some("3 of 3 calls failed")), ("bye_p99<10s,fail<=100%", None)] {
        let mut load = load(proxy.address);
        (load.slo, load.media, load.seconds) = (slo.parse().unwrap(), None, 0.1);
        let report = run(&load, |_| ()).unwrap();
        assert_eq!(report.verdict.complaints.first().map(String::as_str), words, "{report}");
    }
}

#[test]
fn converted_calls_are_judged_by_what_can_be_heard() {
    for fault in [Fault::Nothing, Fault::Echoes, Fault::Loses, Fault::Reorders] {
        let proxy = Proxy::start(fault);
        let mut load = load(proxy.address);
        let says = |codec, side: usize| Says::Recording(Arc::new(Recording::g711(codec, 1, TONES[side])));
        (load.media, load.converts) = (Some([says(Codec::Pcmu, 0), says(Codec::Pcma, 1)]), true);
        load.seconds = 1.3;
        let report = run(&load, |_| ()).unwrap();
        let counts = report.media.as_ref().unwrap().counts;
        match fault {
            Fault::Nothing => {
                assert!(report.verdict.passed && counts.listened == 6, "{report}");
                assert_eq!(counts.received, counts.sent);
            }
            Fault::Loses => assert!(counts.lost >= counts.sent / 20, "{report}"),
            Fault::Reorders => assert!(counts.reordered > 5 && counts.lost <= 6, "{report}"),
            _ => assert!(counts.corrupted > 100 && !report.verdict.passed, "{report}"),
        }
    }
}

#[test]
fn hostile_traffic_goes_beside_the_calls_of_an_attack() {
    let proxy = Proxy::start(Fault::IsAttacked);
    let mut load = load(proxy.address);
    (load.profile, load.media, load.calls, load.cps) = (Some(Shape::Attack), None, 5, 25.0);
    let report = run(&load, |_| ()).unwrap();
    assert!(report.verdict.passed && report.calls.placed == 15, "{report}");
    assert_eq!(report.calls.hostile, 15);
}

#[test]
fn nobody_at_the_address_is_an_error() {
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(matches!(run(&load(closed), |_| ()), Err(Failed::Network(_))));
}

#[test]
fn a_profile_brings_new_calls_all_the_time_and_gives_sockets_back() {
    let proxy = Proxy::start(Fault::Nothing);
    let mut load = load(proxy.address);
    (load.profile, load.calls, load.cps, load.seconds) = (Some(Shape::Steady), 2, 10.0, 2.5);
    let report = run(&load, |_| ()).unwrap();
    // Each lasts 0.2 s; there are sockets for 22, so that some serve twice.
    assert!(report.verdict.passed && report.calls.placed == 25, "{report}");
    assert_eq!(report.media.as_ref().unwrap().counts.streams, 50);
}

/// Its threads now and then overtake each other; the judge rightly says so.
fn is_fine(report: &Report) -> bool {
    report.verdict.complaints.iter().all(|what| what.contains("out of order"))
}

/// Debian's rtpengine, where it is installed.
fn with_rtpengine(arguments: &[&str], test: impl Fn(&RtpEngine)) {
    let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
    match RtpEngine::start_with(&arguments).unwrap() {
        Some(rtpengine) => test(&rtpengine),
        None => show("rtpengine is not installed (apt install rtpengine-daemon): not tested with it"),
    }
}

#[expect(clippy::print_stderr, reason = "a test says what it leaves out")]
fn show(text: &str) {
    eprintln!("{text}");
}

#[test]
fn rtpengine_relays_and_its_cost_is_known() {
    with_rtpengine(&[], |rtpengine| {
        let mut load = load(rtpengine.ng);
        (load.calls, load.pid, load.rtcp) = (10, Some(rtpengine.pid()), true);
        let report = run(&load, |_| ()).unwrap();
        assert!(is_fine(&report), "{report}");
        assert!(report.steady.as_ref().unwrap().cpu_ns_per_packet.unwrap() > 500.0, "{report}");
        assert!(report.descriptors_per_call.unwrap() >= 4.0, "{report}");
        assert!(report.engine.as_ref().unwrap().contains("rtpengine"), "{report}");
    });
}

#[test]
fn rtpengine_converts_and_each_party_hears_the_other() {
    with_rtpengine(&[], |rtpengine| {
        let mut load = load(rtpengine.ng);
        let says = |codec, side: usize| Says::Recording(Arc::new(Recording::g711(codec, 1, TONES[side])));
        (load.media, load.converts) = (Some([says(Codec::Pcmu, 0), says(Codec::Pcma, 1)]), true);
        load.seconds = 1.5;
        let report = run(&load, |_| ()).unwrap();
        assert!(is_fine(&report), "{report}");
        assert_eq!(report.media.as_ref().unwrap().counts.listened, 6, "{report}");
    });
}

#[test]
fn rtpengine_speaks_json_tcp_and_http_too() {
    let [tcp, http] =
        [0; 2].map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    with_rtpengine(&[&format!("--listen-tcp-ng={tcp}"), &format!("--listen-http={http}")], |rtpengine| {
        // Its TCP knows bencode only.
        for (to, transport, json) in [
            (rtpengine.ng, Transport::Udp, true),
            (tcp, Transport::Tcp, false),
            (http, Transport::Http, false),
            (http, Transport::Http, true),
        ] {
            let mut load = load(to);
            (load.transport, load.json, load.media, load.calls, load.seconds) =
                (transport, json, None, 10, 0.2);
            let report = run(&load, |_| ()).unwrap();
            assert!(report.verdict.passed && report.calls.completed == 10, "{transport:?} {json}: {report}");
        }
    });
}
