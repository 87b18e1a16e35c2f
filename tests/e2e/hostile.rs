//! What nobody should send: torture messages, garbage and floods. A call in progress does not notice, the engine lives.

use crate::support::softphone::{Connected, Softphone, audio};
use crate::support::wire::{Socket, Wire, rtp};
use crate::support::{Engine, Net, PAIR, SOON, wait_for};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

struct World {
    net: Net,
    engine: Engine,
    a: Softphone,
    b: Softphone,
    media_a: Wire,
    media_b: Wire,
}

impl World {
    fn new(back_end: &str) -> World {
        let net = Net::new();
        // Nobody is banned, so that each message of a stranger is looked at, not only the first three.
        let unknown = "[unknown]\nban_after = 0\nflood = \"off\"\nscanners = false\n";
        let engine = Engine::start(&format!("engine.backend = \"{back_end}\"\n{}{unknown}", net.fill(PAIR)));
        let phone = |n| Softphone::at((net.ip(n), 5060));
        let (a, b) = (phone(2), phone(3));
        World { net, engine, a, b, media_a: Wire::at(net.ip(2)), media_b: Wire::at(net.ip(3)) }
    }

    fn connect(&self) -> Connected {
        let (offer, answer) = (audio(self.media_a.address()), audio(self.media_b.address()));
        let call = self.a.connect(&self.b, self.engine.sip(0), "15550100", &offer, &answer);
        self.media_a.reach(call.answered.media(0), &self.media_b, 1);
        self.media_b.reach(call.offered.media(0), &self.media_a, 2);
        call
    }

    /// Media of the call passes as if nothing had been.
    fn goes_on(&self, call: &Connected) {
        let (to_a, to_b) = (call.answered.media(0), call.offered.media(0));
        for n in 0..10u16 {
            let packet = rtp(0, 500 + n, u32::from(n) * 160, 1, &[n as u8; 160]);
            self.media_a.rtp.send(to_a, &packet);
            self.media_b.rtp.expect(&packet, to_b);
        }
    }

    /// The call ends as calls do, a new one is taken, and the engine has no complaint.
    fn is_well(&self, mut call: Connected) {
        self.goes_on(&call);
        self.a.hang_up(&mut call.a, &self.b);
        let mut next = self.connect();
        self.a.hang_up(&mut next.a, &self.b);
        self.engine.wait_idle();
        assert_eq!(self.engine.get("/healthz").status, 200);
    }
}

/// The torture messages of this project and what becomes of them by cuts and flipped bits; always the same.
fn torture() -> Vec<Vec<u8>> {
    let folder = format!("{}/tests/data/sip", env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the messages are part of the project")
        .filter_map(|file| Some(file.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "sip"))
        .collect();
    files.sort();
    assert!(files.len() > 30, "{} messages", files.len());
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut all = Vec::new();
    for file in files {
        let message = std::fs::read(file).expect("readable");
        for _ in 0..4 {
            all.push(message[..random(message.len())].to_vec());
            let mut bent = message.clone();
            for _ in 0..3 {
                let at = random(bent.len());
                bent[at] ^= 1 << random(8);
            }
            all.push(bent);
        }
        all.push(message);
    }
    all
}

#[test]
fn torture_from_a_trunk_harms_no_call() {
    let world = World::new("epoll");
    let call = world.connect();
    // From the trunk's own address, so that each is looked at in full; from another socket, so that answers go there.
    let trunk = world.engine.sip(0);
    for message in torture() {
        world.a.send_raw(trunk, &message);
    }
    world.goes_on(&call);
    wait_for("the malformed ones to be counted", SOON, || {
        (world.engine.metric("strowger_sip_parse_errors_total") > 20.0).then_some(())
    });
    // Calls that the well-formed ones among them have begun are given up by the operator.
    let own = world.engine.calls().len();
    assert!(own >= 1);
    for row in world.engine.calls() {
        let id = row["id"].as_str().expect("an id");
        if row["to"] != "15550100" {
            world.engine.request("DELETE", &format!("/v1/calls/{id}"), "", "");
        }
    }
    world.b.forget();
    world.a.forget();
    world.goes_on(&call);
    let mut call = call;
    world.a.request(&mut call.a, "BYE", "");
    world.a.expect("200 BYE");
    assert_eq!(world.engine.get("/healthz").status, 200);
    assert!(!world.engine.log().contains("panick"));
}

#[test]
fn torture_from_strangers_gets_no_answer() {
    let world = World::new("epoll");
    let call = world.connect();
    let stranger = Socket::any(world.net.ip(6));
    for message in torture() {
        stranger.send(world.engine.sip(0), &message);
    }
    world.goes_on(&call);
    stranger.expect_silence();
    assert_eq!(world.engine.calls().len(), 1);
    world.is_well(call);
}

/// Datagrams of every size and beginning to the ports of a call, from a stranger and from the party itself.
fn garbage_on_media_ports(back_end: &str) {
    let world = World::new(back_end);
    let call = world.connect();
    let (to_a, to_b) = (call.answered.media(0), call.offered.media(0));
    let stranger = Socket::any(world.net.ip(6));
    let next = |address: SocketAddr| SocketAddr::new(address.ip(), address.port() + 1);
    for first in 0..=255u8 {
        for len in [0usize, 1, 2, 3, 7, 11, 12, 13, 40, 1_400] {
            let mut packet = vec![first; len];
            if len > 1 {
                packet[1] = first.wrapping_mul(31).wrapping_add(len as u8);
            }
            for port in [to_a, next(to_a), to_b, next(to_b)] {
                stranger.send(port, &packet);
            }
            world.media_a.rtcp.send(next(to_a), &packet);
        }
        // Lying lengths: sources, extension and padding beyond the end.
        for packet in [[0x8f, first, 0, 1, 0, 0], [0x90, first, 0, 1, 0, 0], [0xbf, first, 0, 1, 0, 0]] {
            world.media_a.rtp.send(to_a, &packet);
            world.media_a.rtcp.send(next(to_a), &packet);
        }
    }
    world.media_b.rtp.drain();
    world.media_b.rtcp.drain();
    world.goes_on(&call);
    world.is_well(call);
}

#[test]
fn garbage_on_media_ports_harms_no_call_on_epoll() {
    garbage_on_media_ports("epoll");
}

#[test]
fn garbage_on_media_ports_harms_no_call_on_uring() {
    garbage_on_media_ports("uring");
}

#[test]
fn lengths_that_lie_on_a_stream_end_that_stream_only() {
    let world = World::new("epoll");
    let call = world.connect();
    let engine = world.engine.sip(1);
    let head = "OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bKa\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\n\
                Call-ID: c\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n";
    for lie in [
        "Content-Length: -1\r\n\r\n",
        "Content-Length: 99999999999999999999\r\n\r\n",
        "Content-Length: 4294967295\r\n\r\n",
        "Content-Length: 0\r\nContent-Length: 5\r\n\r\n",
        "Content-Length: x\r\n\r\n",
        "\r\n",
    ] {
        let mut stream = TcpStream::connect(engine).expect("it listens");
        stream.set_read_timeout(Some(SOON)).expect("a socket");
        stream.write_all(format!("{head}{lie}").as_bytes()).expect("it reads");
        // It is answered, closed, or both; never waited on for ever.
        let mut answer = [0; 2048];
        let end = stream.read(&mut answer);
        assert!(!end.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock), "{lie:?}: {end:?}");
    }
    // Half a message is no message: the connection waits, others do not.
    let mut half = TcpStream::connect(engine).expect("it listens");
    half.write_all(head.as_bytes()).expect("it reads");
    let mut endless = TcpStream::connect(engine).expect("it listens");
    for _ in 0..4_000 {
        if endless
            .write_all(b"X-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n")
            .is_err()
        {
            break;
        }
    }
    endless.set_read_timeout(Some(Duration::from_millis(50))).expect("a socket");
    world.is_well(call);
}

#[test]
fn descriptors_are_given_back() {
    let world = World::new("epoll");
    let count = || {
        let folder = format!("/proc/{}/fd", world.engine.pid());
        std::fs::read_dir(folder).map_or(0, Iterator::count)
    };
    let mut after = Vec::new();
    for _ in 0..3 {
        for _ in 0..10 {
            let mut call = world.connect();
            world.a.hang_up(&mut call.a, &world.b);
        }
        world.engine.wait_idle();
        after.push(count());
    }
    let (least, most) = (after.iter().min().expect("three"), after.iter().max().expect("three"));
    assert!(most - least <= 8, "descriptors after 10, 20 and 30 calls: {after:?}");
}
