//! Floods from strangers: the trunks' calls and their media do not notice, because strangers have a queue, a share of
//! the time and a number of connections of their own.

use crate::sipp_basic::CALLEE;
use crate::support::names::{A, Names, Record};
use crate::support::softphone::{Softphone, audio};
use crate::support::wire::{Wire, rtp};
use crate::support::{Engine, Net, PAIR, Phone, SOON, Sipp, Stage, status, wait_for};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Sends as many datagrams a second as it is told, until it is stopped.
struct Flood {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(u64, Duration)>,
}

impl Flood {
    fn start(from: Ipv4Addr, to: SocketAddr, rate: u64) -> Flood {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let socket = UdpSocket::bind((from, 0)).expect("the attacker's own address");
            let junk = junk(from, to);
            let (began, mut sent) = (Instant::now(), 0u64);
            while !told.load(Ordering::Relaxed) {
                let due = (began.elapsed().as_micros() as u64 * rate) / 1_000_000;
                while sent < due {
                    let _ = socket.send_to(&junk[sent as usize % junk.len()], to);
                    sent += 1;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            (sent, began.elapsed())
        });
        Flood { stop, thread }
    }

    /// Datagrams a second that were really sent.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let (sent, took) = self.thread.join().expect("the flood");
        (sent as f64 / took.as_secs_f64()) as u64
    }
}

/// What attackers send: calls, scans, and no SIP at all.
fn junk(from: Ipv4Addr, to: SocketAddr) -> Vec<Vec<u8>> {
    let request = |n: usize| {
        let method = ["OPTIONS", "INVITE", "REGISTER"][n % 3];
        format!(
            "{method} sip:100@{to} SIP/2.0\r\nVia: SIP/2.0/UDP {from}:5060;branch=z9hG4bKx{n};rport\r\n\
             Max-Forwards: 70\r\nFrom: \"scan\" <sip:100@{from}>;tag=x{n}\r\nTo: <sip:100@{to}>\r\n\
             Call-ID: x{n}@{from}\r\nCSeq: 1 {method}\r\nContact: <sip:100@{from}:5060>\r\nContent-Length: 0\r\n\r\n"
        )
    };
    (0..997).map(|n| if n % 5 == 4 { vec![n as u8; 200] } else { request(n).into_bytes() }).collect()
}

/// Fills the queue of strangers, and would fill that of everybody if there were one.
fn fill(from: Ipv4Addr, to: SocketAddr) {
    let socket = UdpSocket::bind((from, 0)).expect("the attacker's own address");
    for datagram in junk(from, to).iter().cycle().take(40_000) {
        let _ = socket.send_to(datagram, to);
    }
}

fn drops(engine: &Engine, queue: &str) -> f64 {
    engine.metric(&format!("strowger_kernel_drops_total{{listener=\"{queue}\"}}")).abs() // no sample is -0
}

#[test]
fn a_flood_from_strangers_costs_no_call_of_a_trunk() {
    const CALLS: u32 = 300;
    let config = "
listener.main = { sip = \"udp:IP1:0\", media = \"IP1:0\" }
trunk.pbx = \"IP2\"
trunk.carrier = \"IP3:5060\"
trunk.friend = \"IP4:5060\"
[[route]]
from = \"pbx\"
to = \"9.\"
via = \"friend\"
[[route]]
from = \"pbx\"
via = \"carrier\"
[unknown]
exempt = [\"IP6\"] # a flood that no ban ends, as if each datagram had another forged source
";
    let Some(stage) = Stage::with(config) else { return };
    let (net, sip) = (stage.net, stage.engine.sip(0));
    // One call whose every packet is counted.
    let (a, b) = (Softphone::at((net.ip(2), 5070)), Softphone::at((net.ip(4), 5060)));
    let (media_a, media_b) = (Wire::at(net.ip(2)), Wire::at(net.ip(4)));
    let mut call = a.connect(&b, sip, "95550100", &audio(media_a.address()), &audio(media_b.address()));
    let (to_a, to_b) = (call.answered.media(0), call.offered.media(0));
    media_a.reach(to_a, &media_b, 1);
    media_b.reach(to_b, &media_a, 2);

    let flood = Flood::start(net.ip(6), sip, 50_000);
    let caller = "
        > INVITE sdp
        < 180 nosdp
        < 200 sdp
        > ACK
        pause 300
        > BYE
        < 200
    ";
    let callee = stage.uas(CALLEE).calls(CALLS, 60).start();
    let caller = stage.uac(caller).calls(CALLS, 60).start();
    let (mut heard, packets) = (0, 250u16);
    for seq in 0..packets {
        media_a.rtp.send(to_a, &rtp(0, 1_000 + seq, u32::from(seq) * 160, 1, &[7; 160]));
        while media_b.rtp.receive_within(Duration::from_millis(2)).is_some() {
            heard += 1;
        }
        std::thread::sleep(Duration::from_millis(18));
    }
    while media_b.rtp.receive_within(Duration::from_millis(200)).is_some() {
        heard += 1;
    }
    Sipp::all_pass([caller, callee]);
    let rate = flood.stop();
    a.hang_up(&mut call.a, &b);
    stage.engine.wait_idle();
    let cdrs = stage.engine.wait_cdrs(2 * CALLS as usize + 2);
    let failed = cdrs.iter().filter(|cdr| cdr["final_status"] != 200).count();
    eprintln!(
        "{rate} datagrams/s from a stranger: {failed} of {} legs failed, {heard} of {packets} RTP packets heard, \
         {} datagrams of strangers and {} of trunks dropped by the kernel",
        cdrs.len(),
        drops(&stage.engine, "main/strangers"),
        drops(&stage.engine, "main"),
    );
    assert_eq!((failed, heard), (0, packets));
    assert_eq!(drops(&stage.engine, "main"), 0.0);
}

#[test]
fn a_trunk_does_not_wait_behind_strangers() {
    for shards in [1, 3] {
        let net = Net::new();
        let engine = Engine::start(&format!("engine.signalling_shards = {shards}\n{}", net.fill(PAIR)));
        let (sip, trunk) = (engine.sip(0), Phone::at((net.ip(2), 5060)));
        engine.signal("STOP");
        fill(net.ip(6), sip);
        trunk.send(sip, trunk.request("OPTIONS", &format!("sip:{sip}"), "patient", 1, "", ""));
        engine.signal("CONT");
        assert_eq!(status(&trunk.receive()), 200, "the trunk's only datagram found room");
        // The kernel tells its count with the next datagram of that queue; the port says which shard's queue it is.
        // The attacker itself is banned by now.
        wait_for("the drops to be counted", SOON, || {
            let stranger = UdpSocket::bind((net.ip(7), 0)).expect("an address of the test");
            let _ = stranger.send_to(b"x", sip);
            (drops(&engine, "main/strangers") > 0.0).then_some(())
        });
        assert_eq!(drops(&engine, "main"), 0.0);
    }
}

#[test]
fn who_was_called_by_name_does_not_wait_behind_strangers() {
    let net = Net::new();
    let names = Names::serve(net.ip(5), vec![("carrier.test", Record::A(net.ip(4)))]);
    let config = "
listener.main = { sip = \"udp:IP1:0\", media = \"IP1:0\" }
trunk.pbx = \"IP2:5060\"
trunk.carrier = { from = \"IP3\", to = \"sip:carrier.test:5060\" }
[[route]]
from = \"pbx\"
via = \"carrier\"
";
    let engine = Engine::start(&format!("engine.dns = [\"{}\"]\n{}", names.address(), net.fill(config)));
    let (sip, a, b) = (engine.sip(0), Softphone::at((net.ip(2), 5060)), Softphone::at((net.ip(4), 5060)));
    let media = |n| (net.ip(n), 4000).into();
    let mut call = a.invite(sip, "15550100", &audio(media(2)));
    let invite = b.expect("INVITE");
    assert!(names.was_asked("carrier.test", A));
    engine.signal("STOP");
    fill(net.ip(6), sip);
    // The carrier answers from an address from which it never calls.
    b.answer(&invite, 200, &audio(media(4)));
    engine.signal("CONT");
    let ok = a.expect("200 INVITE");
    a.ack(&mut call, &ok);
    a.hang_up(&mut call, &b);
    engine.wait_idle();
    assert_eq!(drops(&engine, "main"), 0.0);
}

const OPTIONS: &str = "OPTIONS sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:5060;branch=z9hG4bKtcp\r\n\
                       Max-Forwards: 70\r\nFrom: <sip:a@127.0.0.1>;tag=1\r\nTo: <sip:x@127.0.0.1>\r\n\
                       Call-ID: stream\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";

/// As many connections as asked for, from 127.0.0.1, and how many of them the engine has closed.
fn connect(engine: &Engine, count: usize) -> (Vec<TcpStream>, usize) {
    let mut streams: Vec<TcpStream> =
        (0..count).map(|_| TcpStream::connect(engine.sip(1)).expect("it listens")).collect();
    let mut closed = 0;
    for stream in &mut streams {
        stream.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket");
        closed += usize::from(matches!(stream.read(&mut [0; 16]), Ok(0)));
    }
    (streams, closed)
}

#[test]
fn strangers_have_few_connections_and_trunks_have_many() {
    const COUNT: usize = 150;
    let net = Net::new();
    let engine = Engine::start(&net.fill(PAIR));
    let (held, closed) = connect(&engine, COUNT);
    assert_eq!(closed, COUNT - 64);
    drop(held);
    // When those have gone there is room for others.
    wait_for("a stranger to be let in", SOON, || (connect(&engine, 1).1 == 0).then_some(()));
    drop(engine);

    let engine = Engine::start(&net.fill(PAIR).replace("trunk.pbx = \"", "trunk.pbx = \"127.0.0.1:5060\" #"));
    let (mut held, closed) = connect(&engine, COUNT);
    assert_eq!(closed, 0);
    for stream in &mut held {
        stream.set_read_timeout(Some(SOON)).expect("a socket");
        stream.write_all(OPTIONS.as_bytes()).expect("it reads");
        let mut answer = [0; 2048];
        let len = stream.read(&mut answer).expect("an answer");
        assert!(answer[..len].starts_with(b"SIP/2.0 200 "), "{}", String::from_utf8_lossy(&answer[..len]));
    }
}

#[test]
fn a_banned_source_takes_no_room_from_other_strangers() {
    let net = Net::new();
    let engine = Engine::start(&format!("{}\n[unknown]\nanswer = \"403\"\n", net.fill(PAIR)));
    let (sip, stranger) = (engine.sip(0), Phone::at((net.ip(7), 5060)));
    let ban = format!("{{\"address\": \"{}\", \"ttl\": \"1h\", \"reason\": \"test\"}}", net.ip(6));
    let answer = engine.request("POST", "/v1/bans", "Content-Type: application/json\r\n", &ban);
    assert!(answer.status < 300, "{}", answer.body);
    engine.signal("STOP");
    fill(net.ip(6), sip);
    stranger.send(sip, stranger.request("OPTIONS", &format!("sip:{sip}"), "polite", 1, "", ""));
    engine.signal("CONT");
    assert_eq!(status(&stranger.receive()), 403, "the only datagram of another stranger found room");
}
