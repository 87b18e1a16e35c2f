//! Media through the running engine, packet by packet, with sockets of our own: what passes untouched, what is learned,
//! what is dropped and how that is told (media.md).

use crate::support::softphone::{Connected, Message, Softphone, audio, sdp};
use crate::support::wire::{Socket, Wire, rtp, sender_report};
use crate::support::{Engine, Net, SOON, wait_for};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

const CONFIG: &str = r#"
listener.main = { sip = "udp:IP1:0", media = "IP1:10000-19999" }
trunk.pbx = "IP2:5060"
trunk.carrier = "IP3:5060"
[[route]]
from = "pbx"
via = "carrier"
[[route]]
from = "carrier"
via = "pbx"
"#;

/// Two phones, their media, and an engine between them.
struct Line {
    engine: Engine,
    a: Softphone,
    b: Softphone,
    media_a: Wire,
    media_b: Wire,
}

impl Line {
    fn new(back_end: &str) -> Line {
        let net = Net::new();
        let engine = Engine::start(&net.fill(&format!("engine.backend = \"{back_end}\"\n{CONFIG}")));
        let phone = |n| Softphone::at((net.ip(n), 5060));
        let (a, b) = (phone(2), phone(3));
        Line { engine, a, b, media_a: Wire::at(net.ip(2)), media_b: Wire::at(net.ip(3)) }
    }

    fn connect(&self, offer: &str, answer: &str) -> Connected {
        self.a.connect(&self.b, self.engine.sip(0), "15550100", offer, answer)
    }

    fn connect_audio(&self) -> Connected {
        self.connect(&audio(self.media_a.address()), &audio(self.media_b.address()))
    }

    /// The first packets each way, so that both sources are known.
    fn open(&self, call: &Connected) -> (SocketAddr, SocketAddr) {
        let (to_a, to_b) = (call.answered.media(0), call.offered.media(0));
        self.media_a.reach(to_a, &self.media_b, 0xaaaa_0001);
        self.media_b.reach(to_b, &self.media_a, 0xbbbb_0001);
        (to_a, to_b)
    }

    fn end(&self, mut call: Connected) {
        self.a.hang_up(&mut call.a, &self.b);
        self.engine.wait_idle();
    }

    /// The one call as the API shows it.
    fn show(&self) -> serde_json::Value {
        self.engine.json(&format!("/v1/calls/{}", self.engine.wait_call("answered")))
    }

    fn sentences(&self) -> Vec<String> {
        let call = self.show();
        let legs = call["legs"].as_array().expect("legs").clone();
        legs.iter().map(|leg| leg["sentence"].as_str().expect("a sentence").to_owned()).collect()
    }
}

#[test]
fn a_foreign_source_is_dropped_counted_and_named() {
    let line = Line::new("epoll");
    let call = line.connect_audio();
    let (to_a, to_b) = line.open(&call);
    let stranger = Socket::any(line.media_b.address().ip());
    for n in 0..20 {
        stranger.send(to_a, &rtp(0, n, u32::from(n) * 160, 0x5555, &[0x99; 160]));
        stranger.send(to_b, &rtp(0, n, u32::from(n) * 160, 0x5555, &[0x99; 160]));
    }
    let known = rtp(0, 7, 1120, 0xaaaa_0001, &[0x11; 160]);
    line.media_a.rtp.send(to_a, &known);
    line.media_b.rtp.expect(&known, to_b);
    line.media_a.rtp.expect_silence();
    let foreign = format!("20 dropped source_locked from {}", stranger.address());
    let sentence = wait_for("the drops to be told", SOON, || {
        line.sentences().into_iter().next().filter(|s| s.contains(&foreign))
    });
    assert!(sentence.starts_with("A: "), "{sentence}");
    let counted = line.engine.metric("strowger_rtp_dropped_total");
    let dropped = line.engine.metrics().into_iter().find(|(name, _)| name.contains("source_locked"));
    assert!(dropped.as_ref().is_some_and(|(_, n)| *n == 40.0), "{dropped:?}, {counted} in all");
    line.end(call);
}

#[test]
fn behind_nat_the_source_is_learned_and_the_sentence_says_so() {
    let line = Line::new("epoll");
    let private: SocketAddr = "10.9.9.9:4000".parse().expect("an address");
    let call = line.connect(&audio(private), &audio(line.media_b.address()));
    let (to_a, to_b) = (call.answered.media(0), call.offered.media(0));
    let text = line.sentences().remove(0);
    assert!(text.contains("0 packets received") && text.contains("10.9.9.9:4000 (private)"), "{text}");
    assert!(text.contains(&format!("SIP came from {}", line.a.address().ip())), "{text}");
    // A loopback address of SIP is no better than the private one of the SDP, so it takes five packets in sequence.
    let packet = |n: u16| rtp(0, n, u32::from(n) * 160, 0xaaaa_0001, &[0x22; 160]);
    for n in 1..5 {
        line.media_a.rtp.send(to_a, &packet(n));
    }
    line.media_b.rtp.expect_silence();
    line.media_a.rtp.send(to_a, &packet(5));
    line.media_b.rtp.expect(&packet(5), to_b);
    let back = rtp(0, 1, 160, 0xbbbb_0001, &[0x33; 160]);
    line.media_b.rtp.send(to_b, &back);
    line.media_a.rtp.expect(&back, to_a);
    let text = line.sentences().remove(0);
    assert!(text.contains(&format!("media comes from {}", line.media_a.address())), "{text}");
    line.end(call);
}

#[test]
fn reports_take_the_odd_port() {
    let line = Line::new("epoll");
    let call = line.connect_audio();
    let (to_a, to_b) = line.open(&call);
    let next = |a: SocketAddr| SocketAddr::new(a.ip(), a.port() + 1);
    line.media_a.rtcp.send(next(to_a), &sender_report(0xaaaa_0001));
    let (report, from) = line.media_b.rtcp.receive();
    assert_eq!((report[1], from), (200, next(to_b)), "a sender report from the odd port");
    assert_eq!(report[4..8], 0xaaaa_0001u32.to_be_bytes(), "of the same source");
    line.media_b.rtcp.send(next(to_b), &sender_report(0xbbbb_0001));
    assert_eq!(line.media_a.rtcp.receive().1, next(to_a));
    line.end(call);
}

#[test]
fn with_rtcp_mux_reports_take_the_port_of_media() {
    let line = Line::new("epoll");
    let mux = |media: &Wire| format!("{}a=rtcp-mux\r\n", audio(media.address()));
    let call = line.connect(&mux(&line.media_a), &mux(&line.media_b));
    assert!(call.offered.body().contains("a=rtcp-mux") && call.answered.body().contains("a=rtcp-mux"));
    let (to_a, to_b) = line.open(&call);
    line.media_a.rtp.send(to_a, &sender_report(0xaaaa_0001));
    let (report, from) = line.media_b.rtp.receive();
    assert_eq!((report[1], from), (200, to_b));
    line.end(call);
}

/// Payload types with names, and payloads of any kind: nothing of them is for a relay to judge.
fn passes_untouched(back_end: &str, line_of: &str, more: &[&str], payload_type: u8) {
    let line = Line::new(back_end);
    let both = |media: &Wire| sdp(media.address(), line_of, more);
    let call = line.connect(&both(&line.media_a), &both(&line.media_b));
    let (to_a, to_b) = (call.answered.media(0), call.offered.media(0));
    for n in 0..60u16 {
        let payload: Vec<u8> = (0..(n % 7) * 190 + 1).map(|i| (i * 31 + n) as u8).collect();
        let mut packet = rtp(payload_type, n, u32::from(n) * 960, 0xaaaa_0002, &payload);
        packet[1] |= if n % 5 == 0 { 0x80 } else { 0 };
        line.media_a.rtp.send(to_a, &packet);
        line.media_b.rtp.expect(&packet, to_b);
        packet[11] = 3;
        line.media_b.rtp.send(to_b, &packet);
        line.media_a.rtp.expect(&packet, to_a);
    }
    line.end(call);
}

#[test]
fn opus_passes_untouched() {
    let more = ["a=rtpmap:111 opus/48000/2", "a=fmtp:111 useinbandfec=1"];
    passes_untouched("epoll", "audio {port} RTP/AVP 111", &more, 111);
}

#[test]
fn a_codec_that_nobody_here_can_decode_passes_untouched() {
    passes_untouched(
        "uring",
        "audio {port} RTP/AVP 18",
        &["a=rtpmap:18 G729/8000", "a=fmtp:18 annexb=no"],
        18,
    );
}

#[test]
fn video_passes_beside_audio() {
    let line = Line::new("epoll");
    let (video_a, video_b) = (Wire::at(line.media_a.address().ip()), Wire::at(line.media_b.address().ip()));
    let both = |media: &Wire, video: &Wire| {
        let port = video.address().port();
        let more = "a=rtpmap:99 H264/90000\r\na=fmtp:99 profile-level-id=42e01f\r\n";
        format!("{}m=video {port} RTP/AVP 99\r\n{more}", audio(media.address()))
    };
    let call = line.connect(&both(&line.media_a, &video_a), &both(&line.media_b, &video_b));
    line.open(&call);
    let (to_a, to_b) = (call.answered.media(1), call.offered.media(1));
    assert_ne!(to_a, call.answered.media(0), "each m-line has a port of its own");
    assert!(call.offered.body().contains("profile-level-id=42e01f"), "what we do not know is kept");
    for n in 0..40u16 {
        let packet = rtp(99, n, 3000, 0xaaaa_0003, &vec![n as u8; 1200]);
        video_a.rtp.send(to_a, &packet);
        video_b.rtp.expect(&packet, to_b);
        video_b.rtp.send(to_b, &packet);
        video_a.rtp.expect(&packet, to_a);
    }
    line.end(call);
}

#[test]
fn a_call_turns_into_a_fax_and_its_datagrams_pass_untouched() {
    let line = Line::new("epoll");
    let mut call = line.connect_audio();
    let (to_a, to_b) = line.open(&call);
    let image = |media: &Wire| {
        sdp(
            media.address(),
            "image {port} udptl t38",
            &["a=T38FaxVersion:0", "a=T38MaxBitRate:14400", "a=T38FaxUdpEC:t38UDPRedundancy"],
        )
    };
    let (offered, answered) =
        line.a.reinvite(&mut call.a, &line.b, &image(&line.media_a), &image(&line.media_b));
    assert!(
        offered.body().contains(" udptl t38") && offered.body().contains("T38FaxUdpEC"),
        "{}",
        offered.text
    );
    assert_eq!((answered.media(0), offered.media(0)), (to_a, to_b), "the ports never change");
    // First bytes that would be STUN, DTLS, RTP and nothing at all.
    for first in [0u8, 1, 20, 63, 64, 128, 200, 255] {
        for n in 0..4 {
            let packet = [&[first, n][..], &[6, 0xc0, 1, 0x80, 0, 0, 0xff][..]].concat();
            line.media_a.rtp.send(to_a, &packet);
            line.media_b.rtp.expect(&packet, to_b);
            line.media_b.rtp.send(to_b, &packet);
            line.media_a.rtp.expect(&packet, to_a);
        }
    }
    line.end(call);
}

#[test]
fn one_side_speaks_ipv6() {
    let net = Net::new();
    let b = Softphone::at(SocketAddr::from((Ipv6Addr::LOCALHOST, 0)));
    let config = net.fill(&format!(
        r#"
listener.main = {{ sip = ["udp:IP1:0", "udp:[::1]:0"], media = ["IP1:10000-19999", "[::1]:10000-19999"] }}
trunk.pbx = "IP2:5060"
trunk.carrier = "{}"
[[route]]
from = "pbx"
via = "carrier"
"#,
        b.address()
    ));
    let engine = Engine::start(&config);
    let a = Softphone::at((net.ip(2), 5060));
    let (media_a, media_b) = (Wire::at(net.ip(2)), Wire::at(IpAddr::from(Ipv6Addr::LOCALHOST)));
    let mut call =
        a.connect(&b, engine.sip(0), "15550100", &audio(media_a.address()), &audio(media_b.address()));
    let (to_a, to_b) = (call.answered.media(0), call.offered.media(0));
    assert!(to_b.is_ipv6() && to_a.is_ipv4(), "each side sees its own family");
    assert!(
        !call.offered.text.contains("127."),
        "nothing of the other family is seen: {}",
        call.offered.text
    );
    for n in 0..20u16 {
        let packet = rtp(0, n, u32::from(n) * 160, 6, &[n as u8; 160]);
        media_a.rtp.send(to_a, &packet);
        media_b.rtp.expect(&packet, to_b);
        media_b.rtp.send(to_b, &packet);
        media_a.rtp.expect(&packet, to_a);
    }
    a.hang_up(&mut call.a, &b);
    engine.wait_idle();
}

/// A PBX takes a call from the engine and sends it back through the engine, with the SDP as it got it: media meets itself.
fn hairpin(back_end: &str) {
    let line = Line::new(back_end);
    let sip = line.engine.sip(0);
    // The first call comes from A; its callee B is the PBX, which calls A's second phone line through the engine.
    let mut first = line.a.invite(sip, "15550100", &audio(line.media_a.address()));
    let at_pbx = line.b.expect("INVITE");
    let mut second = line.b.invite(sip, "15550199", at_pbx.body());
    let at_end = line.a.expect("INVITE");
    let mut end = line.a.answer(&at_end, 200, &audio(line.media_b.address()));
    let answered = line.b.expect("200 INVITE");
    line.b.ack(&mut second, &answered);
    let mut pbx = line.b.answer(&at_pbx, 200, answered.body());
    let ok = line.a.expect("200 INVITE");
    line.a.ack(&mut first, &ok);
    for n in 0..50u16 {
        let packet = rtp(0, n, u32::from(n) * 160, 0xaaaa_0004, &[n as u8; 160]);
        line.media_a.rtp.send(ok.media(0), &packet);
        line.media_b.rtp.expect(&packet, at_end.media(0));
        line.media_b.rtp.send(at_end.media(0), &packet);
        line.media_a.rtp.expect(&packet, ok.media(0));
    }
    line.a.request(&mut first, "BYE", "");
    line.b.expect_bye();
    line.b.request(&mut second, "BYE", "");
    line.a.expect_bye();
    let _ = (&mut end, &mut pbx);
    line.engine.wait_idle();
}

#[test]
fn a_call_that_meets_itself_is_relayed_twice_on_epoll() {
    hairpin("epoll");
}

#[test]
fn a_call_that_meets_itself_is_relayed_twice_on_uring() {
    hairpin("uring");
}

#[test]
fn a_stream_that_moves_behind_its_nat_is_followed() {
    let line = Line::new("epoll");
    let call = line.connect_audio();
    let (to_a, to_b) = line.open(&call);
    let mut seq = 600u16;
    line.media_a.rtp.send(to_a, &rtp(0, seq, u32::from(seq) * 160, 0xaaaa_0001, &[1; 160]));
    line.media_b.rtp.receive();
    // The same stream goes on from another port: believed once the old one has been silent for half a second.
    let moved = Socket::any(line.media_a.address().ip());
    let began = Instant::now();
    wait_for("the move to be followed", SOON, || {
        seq += 1;
        moved.send(to_a, &rtp(0, seq, u32::from(seq) * 160, 0xaaaa_0001, &[2; 160]));
        line.media_b.rtp.receive_within(Duration::from_millis(20))
    });
    assert!(began.elapsed() > Duration::from_millis(400), "not before the old source was silent");
    let back = rtp(0, 900, 9000, 0xbbbb_0001, &[3; 160]);
    line.media_b.rtp.send(to_b, &back);
    moved.expect(&back, to_a);
    let call_now = line.show();
    assert_eq!(call_now["legs"][0]["media"][0]["moves"], 1, "{call_now:#}");
    line.end(call);
}

#[test]
fn ports_rest_before_they_are_used_again() {
    let net = Net::new();
    // Room for two calls.
    let engine = Engine::start(&net.fill(&CONFIG.replace("10000-19999", "10000-10007")));
    let (a, b) = (Softphone::at((net.ip(2), 5060)), Softphone::at((net.ip(3), 5060)));
    let (media_a, media_b) = (Wire::at(net.ip(2)), Wire::at(net.ip(3)));
    let mut used = Vec::new();
    for number in ["1", "2"] {
        let (offer, answer) = (audio(media_a.address()), audio(media_b.address()));
        let mut call = a.connect(&b, engine.sip(0), &format!("1555010{number}"), &offer, &answer);
        used.extend([call.answered.media(0), call.offered.media(0)]);
        a.hang_up(&mut call.a, &b);
        engine.wait_idle();
    }
    used.sort_unstable();
    used.dedup();
    assert_eq!(used.len(), 4, "the second call has ports of its own: {used:?}");
    let mut third = a.invite(engine.sip(0), "15550103", &audio(media_a.address()));
    let refusal = a.expect("503 INVITE");
    a.ack_refusal(&mut third, &refusal);
    // Once they have rested they are good again.
    wait_for("a port that has rested", SOON, || {
        let mut call = a.invite(engine.sip(0), "15550104", &audio(media_a.address()));
        if let Some(refusal) = a.expect_within("503 INVITE", Duration::from_millis(200)) {
            a.ack_refusal(&mut call, &refusal);
            return None;
        }
        let invite = b.expect("INVITE");
        b.answer(&invite, 200, &audio(media_b.address()));
        let ok = a.expect("200 INVITE");
        a.ack(&mut call, &ok);
        b.expect("ACK");
        a.hang_up(&mut call, &b);
        Some(())
    });
}

/// UDP payloads of a capture file as recorded, if the corpus is here.
fn capture(name: &str) -> Option<Vec<Vec<u8>>> {
    let folder = std::env::var("STROWGER_TESTDATA")
        .unwrap_or_else(|_| format!("{}/../shared/testdata", env!("CARGO_MANIFEST_DIR")));
    let Ok(bytes) = std::fs::read(format!("{folder}/pcap/{name}")) else {
        eprintln!(
            "ABSENT CORPUS: {folder}/pcap/{name} is not here, so this capture is not replayed (STROWGER_TESTDATA)"
        );
        return None;
    };
    Some(datagrams(&bytes))
}

/// Reads a classic pcap file: Ethernet, Linux cooked, raw IP or loopback, IPv4 and UDP.
fn datagrams(file: &[u8]) -> Vec<Vec<u8>> {
    let swapped = file.starts_with(&[0xd4, 0xc3, 0xb2, 0xa1]) || file.starts_with(&[0x4d, 0x3c, 0xb2, 0xa1]);
    let word = |at: usize| {
        let bytes: [u8; 4] = file[at..at + 4].try_into().expect("four bytes");
        if swapped { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) }
    };
    let link = match word(20) {
        1 => 14,
        113 => 16,
        0 => 4,
        12 | 101 => 0,
        other => panic!("link type {other}"),
    };
    let (mut at, mut found) = (24, Vec::new());
    while at + 16 <= file.len() {
        let len = word(at + 8) as usize;
        let frame = &file[at + 16..at + 16 + len];
        at += 16 + len;
        let Some(ip) = frame.get(link..).filter(|ip| ip.len() > 28 && ip[0] >> 4 == 4 && ip[9] == 17) else {
            continue;
        };
        let udp = &ip[usize::from(ip[0] & 15) * 4..];
        let len = usize::from(u16::from_be_bytes([udp[4], udp[5]]));
        found.extend(udp.get(8..len).map(<[u8]>::to_vec));
    }
    found
}

fn replay(back_end: &str, names: &[&str]) {
    let line = Line::new(back_end);
    for name in names {
        let Some(packets) = capture(name) else { continue };
        let packets: Vec<_> =
            packets.into_iter().filter(|p| p.len() > 12 && p[0] >> 6 == 2 && p[1] & 0x60 != 0x40).collect();
        let ssrc = packets[0][8..12].to_vec();
        let packets: Vec<_> = packets.into_iter().filter(|p| p[8..12] == ssrc).collect();
        assert!(packets.len() >= 9, "{name} has {} packets", packets.len());
        let call = line.connect_audio();
        let (to_a, to_b) = (call.answered.media(0), call.offered.media(0));
        for packet in &packets {
            line.media_a.rtp.send(to_a, packet);
            line.media_b.rtp.expect(packet, to_b);
        }
        let seen = line.show();
        let received = &seen["legs"][0]["media"][0]["received"]["packets"];
        assert_eq!(received.as_u64(), Some(packets.len() as u64), "{name}");
        line.end(call);
    }
}

#[test]
fn captures_of_real_media_pass_byte_for_byte_on_epoll() {
    replay(
        "epoll",
        &["g711a_sipp.pcap", "rtp_pcmu_milliwatt.pcap", "rtp_opus_dtmf.pcap", "rtp_alaw_40ms.pcap"],
    );
}

#[test]
fn captures_of_real_media_pass_byte_for_byte_on_uring() {
    replay("uring", &["rtp_ulaw_dtmf.pcap", "dtmf_2833_5.pcap", "dtmf_2833_pound.pcap", "g711a_sipp.pcap"]);
}

#[test]
fn hold_silences_and_resume_restores() {
    let line = Line::new("epoll");
    let mut call = line.connect_audio();
    let (to_a, to_b) = line.open(&call);
    let held = audio(line.media_a.address()).replace("sendrecv", "sendonly");
    let receives = audio(line.media_b.address()).replace("sendrecv", "recvonly");
    let (offered, answered): (Message, Message) = line.a.reinvite(&mut call.a, &line.b, &held, &receives);
    assert!(offered.body().contains("a=sendonly") && answered.body().contains("a=recvonly"));
    let (offer, answer) = (audio(line.media_a.address()), audio(line.media_b.address()));
    let (offered, answered) = line.a.reinvite(&mut call.a, &line.b, &offer, &answer);
    assert!(!offered.body().contains("a=sendonly") && !answered.body().contains("a=recvonly"));
    assert_eq!((answered.media(0), offered.media(0)), (to_a, to_b), "the ports never change");
    let packet = rtp(0, 2_000, 320_000, 0xaaaa_0001, &[7; 160]);
    line.media_a.rtp.send(to_a, &packet);
    line.media_b.rtp.expect(&packet, to_b);
    line.end(call);
}

#[test]
fn a_refused_fax_leaves_the_call_as_it_was() {
    let line = Line::new("epoll");
    let mut call = line.connect_audio();
    let (to_a, to_b) = line.open(&call);
    let image = sdp(line.media_a.address(), "image {port} udptl t38", &["a=T38FaxVersion:0"]);
    line.a.request(&mut call.a, "INVITE", &image);
    let offered = line.b.expect("INVITE");
    line.b.answer(&offered, 488, "");
    line.b.expect("ACK");
    let refusal = line.a.expect("488 INVITE");
    line.a.ack_refusal(&mut call.a, &refusal);
    for n in 0..10u16 {
        let packet = rtp(0, 300 + n, 48_000 + u32::from(n) * 160, 0xaaaa_0001, &[n as u8; 160]);
        line.media_a.rtp.send(to_a, &packet);
        line.media_b.rtp.expect(&packet, to_b);
    }
    assert_eq!(line.show()["state"], "answered");
    line.end(call);
}

#[test]
fn reports_go_to_the_port_that_the_peer_names() {
    let line = Line::new("epoll");
    let reports = Socket::any(line.media_a.address().ip());
    let offer = format!("{}a=rtcp:{}\r\n", audio(line.media_a.address()), reports.address().port());
    let call = line.connect(&offer, &audio(line.media_b.address()));
    assert!(!call.offered.body().contains(&reports.address().port().to_string()), "{}", call.offered.text);
    let (to_a, to_b) = line.open(&call);
    let next = |a: SocketAddr| SocketAddr::new(a.ip(), a.port() + 1);
    line.media_b.rtcp.send(next(to_b), &sender_report(0xbbbb_0001));
    let (report, from) = reports.receive();
    assert_eq!((report[1], from), (200, next(to_a)));
    line.end(call);
}
