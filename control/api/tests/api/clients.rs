//! Clients that are slow, many, or send what is no request.

use crate::fake::{Reply, World};
use api::{Limits, Tokens};
use base::Rng;
use std::io::{Read, Write};
use std::time::Duration;

fn impatient() -> World {
    let limits = Limits {
        connections: 4,
        header_timeout: Duration::from_millis(200),
        body_timeout: Duration::from_millis(200),
        write_timeout: Duration::from_millis(200),
        answer_timeout: Duration::from_millis(200),
        body_max: 64 << 10,
        ..Limits::default()
    };
    World::with(Tokens::default(), limits)
}

#[test]
fn a_client_that_never_ends_its_header_is_cut_off() {
    let world = impatient();
    for start in [
        "",
        "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ",
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        let mut stream = world.connect();
        stream.write_all(start.as_bytes()).unwrap();
        // The server closes; the read timeout of the test would be an error.
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
    }
    assert_eq!(world.get("/healthz").status, 200);
}

#[test]
fn a_client_that_never_ends_its_body_is_told_so() {
    let world = impatient();
    let mut stream = world.connect();
    stream
        .write_all(b"PUT /v1/log HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{\"fil")
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let reply = Reply::parse(&answer).unwrap();
    assert_eq!((reply.status, reply.class().as_str()), (408, "slow_body"));
}

#[test]
fn a_client_that_does_not_read_its_answer_loses_its_place() {
    let world = impatient();
    let mut lazy: Vec<_> = (0..4).map(|_| world.connect()).collect();
    for stream in &mut lazy {
        // Answers of megabytes, none of which is read.
        let request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(400);
        let _ = stream.set_write_timeout(Some(Duration::from_secs(5)));
        let _ = stream.write_all(&request);
    }
    // Their places are free again when their time is over; the deadline is the read timeout of the client.
    let free = (0..200).any(|_| {
        std::thread::yield_now();
        let answer = world.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        Reply::parse(&answer).is_some_and(|reply| reply.status == 200) || {
            std::thread::park_timeout(Duration::from_millis(50));
            false
        }
    });
    assert!(free, "all places are still taken");
}

#[test]
fn bodies_headers_and_connections_are_bounded() {
    let world = impatient();
    let large = world.ask("PUT", "/v1/config", &[], &"#".repeat(65 << 10));
    assert_eq!((large.status, large.class().as_str()), (413, "too_large"));
    let header = format!("X: {}", "x".repeat(64 << 10));
    let answer =
        world.send(format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n").as_bytes());
    assert!(Reply::parse(&answer).is_none_or(|reply| reply.status == 431), "{answer:?}");

    let _held: Vec<_> = (0..4)
        .map(|_| {
            let mut stream = world.connect();
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            let mut first = [0; 12];
            stream.read_exact(&mut first).unwrap();
            assert_eq!(&first, b"HTTP/1.1 200");
            stream
        })
        .collect();
    let mut one_more = world.connect();
    let mut answer = Vec::new();
    let _ = one_more.read_to_end(&mut answer);
    let reply = Reply::parse(&answer).unwrap();
    assert_eq!((reply.status, reply.class().as_str()), (503, "busy"));
}

#[test]
fn other_origins_are_refused_where_nobody_needs_a_token() {
    let world = World::new();
    let foreign = world.ask("POST", "/v1/drain", &["Origin: http://evil.example"], "");
    assert_eq!((foreign.status, foreign.class().as_str()), (403, "forbidden"));
    let rebound = world.send(b"GET /v1/calls HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert_eq!(Reply::parse(&rebound).unwrap().status, 403);
}

#[test]
fn a_thousand_hostile_requests_leave_the_server_as_it_was() {
    let seed: u64 = std::process::id().into();
    let seed = std::env::var("STROWGER_SEED").ok().map_or(seed, |text| text.parse().expect("a u64"));
    eprintln!("replay: STROWGER_SEED={seed}");
    let mut rng = Rng::from_seed(seed);
    let world = World::new();
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let good = [
        "GET /v1/calls?limit=5&trunk=a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "PUT /v1/config HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\nConnection: close\r\n\r\na = 1\n",
        "GET /v1/calls/0123456789ab000000000001/trace?format=pcap HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "POST /v1/config/diff HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\na = [\r\n0\r\n\r\n",
        "DELETE /v1/calls/0123456789ab000000000002 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n\r\n",
    ];
    let before = descriptors();
    for round in 0..1000 {
        let mut bytes = match rng.below(4) {
            0 => (0..rng.below(400)).map(|_| rng.u32() as u8).collect::<Vec<u8>>(),
            _ => good[rng.below(good.len() as u64) as usize].as_bytes().to_vec(),
        };
        for _ in 0..rng.below(6) {
            let at = rng.below(bytes.len() as u64 + 1) as usize;
            match rng.below(4) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, rng.u32() as u8),
                2 if at < bytes.len() => bytes[at] = rng.u32() as u8,
                _ => {
                    let piece = bytes[at..].to_vec();
                    bytes.extend_from_slice(&piece[..piece.len().min(200)]);
                }
            }
        }
        let answer = world.send(&bytes);
        if let Some(reply) = Reply::parse(&answer) {
            assert_ne!(reply.status, 500, "round {round}: {}", String::from_utf8_lossy(&bytes));
        }
    }
    assert_eq!(world.get("/healthz").status, 200);
    // The server closes its side a moment after the client.
    let deadline = (0..400).any(|_| {
        std::thread::park_timeout(Duration::from_millis(10));
        descriptors() <= before + 8
    });
    assert!(deadline, "{} descriptors, {before} before", descriptors());
}
