//! The user code of a whole call through the signalling core: INVITE, 180, 200, ACK, BYE, 200, with media anchored by
//! ports that are only numbers. Counted is what a signalling thread does between its system calls: parsing what
//! comes, the switch, and fetching what it wants done. Time is virtual, 500 calls a second.
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

use b2bua::{Config, Hop, Output, Shared, Switch, Transport};
use base::{Duration, HashKey, Instant, Now, Rng, Wall};
use command::{Command, Event, OpenedPort, PortIndex};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sip::flow::Flow;
use sip::frame::Framing;
use sip::message::Message;
use std::net::SocketAddr;
use std::sync::Arc;

/// The smallest configuration: two trunks, a route.
const CONFIG: &str = "\
listener.main = { sip = \"udp:203.0.113.1:5060\", media = \"203.0.113.1:10000-49999\" }
trunk.callers = \"192.0.2.15\"
trunk.callees = \"198.51.100.40\"
[[route]]
from = \"callers\"
via = \"callees\"
";
const SBC: &str = "203.0.113.1:5060";
const CALLER: &str = "192.0.2.15:5060";
const CALLEE: &str = "198.51.100.40:5060";
const ANSWER: &str = include_str!("../tests/data/typical/answer.sdp");
const INVITE: &str = include_str!("../tests/data/typical/invite.sip");

fn calls(c: &mut Criterion) {
    let mut group = c.benchmark_group("calls");
    // One call.
    group.throughput(Throughput::Elements(1));
    group.bench_function("INVITE to BYE with media", |b| {
        let mut world = World::new();
        b.iter_custom(|calls| (0..calls).map(|_| world.call()).sum());
    });
    group.finish();
}

struct World {
    switch: Switch,
    now: Now,
    calls: u64,
    next_port: u16,
    caller: SocketAddr,
    callee: SocketAddr,
    sbc: SocketAddr,
    offer: &'static str,
    /// What the switch and its parser took in this call.
    spent: std::time::Duration,
    sent: Vec<(SocketAddr, Vec<u8>)>,
    records: u64,
}

impl World {
    fn new() -> Self {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let now = Now { mono: Instant(1_000_000_000), wall: Wall(1_700_000_000_000_000) };
        let checked = config::Config::check(CONFIG, "bench").expect("a valid configuration");
        let spec = Arc::new(checked.spec(1, &mut config::PoolBook::new()));
        let config = Config {
            node: 0,
            shard: 0,
            shards: 1,
            media_shards: 1,
            steering: HashKey::new([1, 2]),
            secret: HashKey::new([3, 4]),
            timers: sip::transaction::Timers::default(),
            calls_max: 262_144,
            trace_bytes: 16 << 20,
            generation: 1,
            allow_panic: false,
            shared: Shared::new(now, HashKey::new([5, 6])),
        };
        let mut switch = Switch::new(now, config, spec, Rng::from_seed(1), Arc::default());
        let sbc = address(SBC);
        switch.set_bound(vec![vec![(Transport::Udp, sbc)]]);
        let (_, offer) = INVITE.split_once("\r\n\r\n").expect("an INVITE with a body");
        World {
            switch,
            now,
            calls: 0,
            next_port: 10_000,
            caller: address(CALLER),
            callee: address(CALLEE),
            sbc,
            offer,
            spent: std::time::Duration::ZERO,
            sent: Vec::new(),
            records: 0,
        }
    }

    /// One whole call; the time that the engine's code took.
    fn call(&mut self) -> std::time::Duration {
        self.calls += 1;
        self.now.mono += Duration::from_millis(2);
        self.now.wall.0 += 2_000;
        self.spent = std::time::Duration::ZERO;
        let (records, now) = (self.records, self.now);
        self.timed(|switch| {
            if switch.poll_timeout().is_some_and(|(at, _)| at <= now.mono) {
                switch.handle_timeout(now);
            }
        });
        self.flush();

        let invite = self.request("INVITE", "", "sip:+15035550142@sbc.example.net", self.offer);
        self.receive(self.caller, &invite);
        let out = self.take(self.callee, "INVITE ");
        for (status, body) in [("180 Ringing", ""), ("200 OK", ANSWER)] {
            let reply = respond(&out, status, body);
            self.receive(self.callee, &reply);
        }
        let ok = self.take(self.caller, "SIP/2.0 200");
        let to = line(&ok, "To: ").to_owned();
        let contact = line(&ok, "Contact: ").to_owned();
        let target = contact.split(['<', '>']).nth(1).expect("a Contact in brackets");
        let tag = to.split_once(";tag=").expect("a tag of ours").1;
        let ack = self.request("ACK", tag, target, "");
        self.receive(self.caller, &ack);
        let bye = self.request("BYE", tag, target, "");
        self.receive(self.caller, &bye);
        let bye = self.take(self.callee, "BYE ");
        let reply = respond(&bye, "200 OK", "");
        self.receive(self.callee, &reply);
        assert_eq!(self.records, records + 2, "both legs have their record");
        self.sent.clear();
        self.spent
    }

    fn timed<T>(&mut self, work: impl FnOnce(&mut Switch) -> T) -> T {
        let start = std::time::Instant::now();
        let result = work(&mut self.switch);
        self.spent += start.elapsed();
        result
    }

    /// A datagram arrives, and all that follows from it at once is done.
    fn receive(&mut self, remote: SocketAddr, text: &str) {
        let flow = Flow { transport: Transport::Udp, listener: 0, local: self.sbc, remote, stream: None };
        let now = self.now;
        self.timed(|switch| {
            let Ok(message) = Message::parse(text.as_bytes(), Framing::Datagram) else {
                panic!("our own messages can be read: {text}")
            };
            switch.handle_message(now, &flow, &message);
        });
        self.flush();
    }

    fn flush(&mut self) {
        let now = self.now;
        while let Some(output) = self.timed(Switch::poll_output) {
            match output {
                Output::Send(transmit) => self.sent.push((transmit.target.remote, transmit.bytes.to_vec())),
                Output::Resolve { query, target } => {
                    let remote = SocketAddr::new(target.host.parse().expect("an address"), 5060);
                    let hop = Hop { transport: Transport::Udp, remote, local: self.sbc.ip() };
                    self.timed(|switch| switch.handle_resolved(now, query, vec![hop]));
                }
                Output::Media { command: Command::Open { bridge, want }, .. } => {
                    let mut ports = Vec::new();
                    for (index, want) in want.iter().enumerate() {
                        let local = SocketAddr::new(want.address, self.next_port);
                        self.next_port = if self.next_port >= 49_998 { 10_000 } else { self.next_port + 2 };
                        ports.push(OpenedPort { port: PortIndex(index as u16), local });
                    }
                    self.timed(|switch| switch.handle_media(now, Event::Opened { bridge, ports }));
                }
                Output::Media { command: Command::Close { bridge }, .. } => {
                    let event = Event::Closed { bridge, report: Box::default() };
                    self.timed(|switch| switch.handle_media(now, event));
                }
                Output::Media { .. } | Output::Opened(_) | Output::Ask { .. } => {}
                Output::Ended(_) => self.records += 1,
            }
        }
    }

    /// The last message to `remote` that begins so.
    fn take(&mut self, remote: SocketAddr, start: &str) -> String {
        let found =
            self.sent.iter().rev().find(|(to, bytes)| *to == remote && bytes.starts_with(start.as_bytes()));
        let (_, bytes) = found.unwrap_or_else(|| panic!("no {start} to {remote}"));
        String::from_utf8(bytes.clone()).expect("text")
    }

    /// A request of the caller in its present call.
    fn request(&self, method: &str, to_tag: &str, target: &str, body: &str) -> String {
        let (call, caller) = (self.calls, self.caller);
        let to = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
        let number = if method == "BYE" { 2 } else { 1 };
        let more = if body.is_empty() {
            String::new()
        } else {
            "Contact: <sip:+15035550100@192.0.2.15:5060>\r\n\
             Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, REFER, NOTIFY\r\n\
             Supported: 100rel, timer, replaces\r\n\
             P-Asserted-Identity: \"Reception\" <sip:+15035550100@pbx.example.net>\r\n\
             User-Agent: Example PBX 4.2\r\nContent-Type: application/sdp\r\n"
                .to_owned()
        };
        format!(
            "{method} {target} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {caller};branch=z9hG4bK{call}-{method};rport\r\nMax-Forwards: 70\r\n\
             From: \"Reception\" <sip:+15035550100@pbx.example.net>;tag=a{call}\r\n\
             To: <sip:+15035550142@sbc.example.net>{to}\r\nCall-ID: {call}-bench@192.0.2.15\r\n\
             CSeq: {number} {method}\r\n{more}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}

/// The callee's answer to what the engine sent it.
fn respond(request: &str, status: &str, body: &str) -> String {
    let mut reply = format!("SIP/2.0 {status}\r\n");
    for line in request.lines().take_while(|line| !line.is_empty()) {
        let copied =
            ["Via: ", "From: ", "To: ", "Call-ID: ", "CSeq: "].iter().any(|name| line.starts_with(name));
        if copied {
            let tag = if line.starts_with("To: ") && !line.contains(";tag=") { ";tag=callee" } else { "" };
            reply += &format!("{line}{tag}\r\n");
        }
    }
    if !body.is_empty() {
        reply += "Contact: <sip:callee@198.51.100.40:5060>\r\nContent-Type: application/sdp\r\n";
    }
    reply + &format!("Content-Length: {}\r\n\r\n{body}", body.len())
}

fn line<'a>(message: &'a str, name: &str) -> &'a str {
    message
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap_or_else(|| panic!("no {name}in {message}"))
}

criterion_group!(benches, calls);
criterion_main!(benches);
