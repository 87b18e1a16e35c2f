//! A switch between a caller and a callee who behave, and a media shard that takes what it gets, or refuses what it is
//! told to refuse. Time is virtual.

use crate::desk::{Config, Hop, Output, Shared};
use crate::spec::tests::trunk;
use crate::spec::{
    Action, Listener, Match, MediaRange, Route, SipBind, Source, Spec, Target, Texts, Transport,
};
use crate::switch::Switch;
use base::{Duration, HashKey, Instant, Now, Rng, Wake, Wall};
use command::{
    BridgeId, BridgeReport, BridgeSpec, Command, Ended, Event, OpenedPort, Order, Outcome, Party, PortIndex,
    Ticket, Transform,
};
use core::net::SocketAddr;
use ledger::{Ask, CallId, Reply, Subscription};
use routing::group::Way;
use sip::flow::Flow;
use sip::frame::Framing;
use sip::message::Message;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

const SBC: &str = "203.0.113.1:5060";
const CALLER: &str = "192.0.2.15:5060";
const CALLEE: &str = "198.51.100.40:5060";

pub(super) struct World {
    pub(super) switch: Switch,
    now: Now,
    calls: u32,
    sent: Vec<(SocketAddr, String)>,
    ports: BTreeMap<BridgeId, u16>,
    /// The last wanted state of each bridge that is open.
    pub(super) specs: BTreeMap<BridgeId, BridgeSpec>,
    /// Orders that were sent, in order.
    pub(super) orders: Vec<(BridgeId, Ticket, Order)>,
    pub(super) closed: Vec<BridgeId>,
    /// What media says to the next order, or to the next state in which something is silent or seated.
    pub(super) refuse: Option<&'static str>,
    /// Reports that wait, while they are held back.
    pub(super) held: Option<Vec<(BridgeId, Ticket)>>,
    pub(super) shared: Shared,
    events: Subscription,
    pub(super) records: usize,
}

/// One call, and what its peers know of it.
#[derive(Clone)]
pub(super) struct Phone {
    pub(super) id: CallId,
    pub(super) bridge: BridgeId,
    number: u32,
    to: String,
    target: String,
}

struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}
}

pub(super) fn sdp(address: &str, lines: &[&str]) -> String {
    let head = format!("v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n");
    lines.iter().fold(head, |text, line| text + line + "\r\n")
}

pub(super) const AUDIO: &str = "m=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000";
pub(super) const VIDEO: &str = "m=video 4002 RTP/AVP 96\r\na=rtpmap:96 VP8/90000";

impl World {
    pub(super) fn new() -> World {
        World::with(1, |_| {})
    }

    pub(super) fn with(media_shards: usize, change: impl FnOnce(&mut Spec)) -> World {
        let now = Now { mono: Instant(1_000_000_000), wall: Wall(1_700_000_000_000_000) };
        let source = |text: &str| Source::Net { address: address(text).ip(), prefix: 32, port: None };
        let mut callees = trunk("callees", vec![source(CALLEE)]);
        callees.to.push(Target {
            host: address(CALLEE).ip().to_string(),
            port: None,
            transport: None,
            weight: 1,
        });
        let listener = Listener {
            name: "main".into(),
            sip: vec![SipBind { transport: Transport::Udp, address: address(SBC) }],
            media: vec![MediaRange { address: address(SBC).ip(), ports: 10_000..=49_999 }],
            advertise: Vec::new(),
            dscp_sip: 0,
            dscp_rtp: 0,
            texts: Texts::Rfc,
        };
        let mut spec = Spec {
            listeners: vec![listener],
            trunks: vec![trunk("callers", vec![source(CALLER)]), callees],
            ..Spec::default()
        };
        spec.add_route(Match::default(), Route::new("out", Action::To(Way::Trunk(1))));
        change(&mut spec);
        let shared = Shared::new(now, HashKey::new([5, 6]));
        let config = Config {
            node: 0,
            shard: 0,
            shards: 1,
            media_shards,
            steering: HashKey::new([1, 2]),
            secret: HashKey::new([3, 4]),
            timers: sip::transaction::Timers::default(),
            calls_max: 100,
            trace_bytes: 1 << 16,
            generation: 1,
            allow_panic: false,
            shared: shared.clone(),
        };
        let mut switch = Switch::new(now, config, Arc::new(spec), Rng::from_seed(1), Arc::default());
        switch.set_bound(vec![vec![(Transport::Udp, address(SBC))]]);
        let events = shared.events.subscribe(4_096, Nobody, None).expect("a place").subscription;
        World {
            switch,
            now,
            calls: 0,
            sent: Vec::new(),
            ports: BTreeMap::new(),
            specs: BTreeMap::new(),
            orders: Vec::new(),
            closed: Vec::new(),
            refuse: None,
            held: None,
            shared,
            events,
            records: 0,
        }
    }

    /// A call with audio that is up.
    pub(super) fn call(&mut self) -> Phone {
        self.call_with(&[AUDIO])
    }

    pub(super) fn call_with(&mut self, lines: &[&str]) -> Phone {
        let (number, out) = self.ring(lines);
        self.answer(number, &out, lines)
    }

    /// A call that is not answered yet; its number and the INVITE at the callee.
    pub(super) fn ring(&mut self, lines: &[&str]) -> (u32, String) {
        self.calls += 1;
        let body = sdp("192.0.2.15", lines);
        let invite = self.request(self.calls, "INVITE", 1, "", "sip:+15035550142@sbc.example.net", &body);
        self.receive(CALLER, &invite);
        (self.calls, self.take(CALLEE, "INVITE "))
    }

    pub(super) fn answer(&mut self, number: u32, out: &str, lines: &[&str]) -> Phone {
        self.receive(CALLEE, &respond(out, "200 OK", &sdp("198.51.100.40", lines)));
        let ok = self.take(CALLER, "SIP/2.0 200");
        let to = line(&ok, "To: ").split_once(";tag=").expect("a tag of ours").1.to_owned();
        let target = line(&ok, "Contact: ").split(['<', '>']).nth(1).expect("brackets").to_owned();
        let ack = self.request(number, "ACK", 1, &to, &target, "");
        self.receive(CALLER, &ack);
        let (id, bridge) = self.newest();
        Phone { id, bridge, number, to, target }
    }

    pub(super) fn newest(&self) -> (CallId, BridgeId) {
        let (_, call) = self.switch.calls.iter().max_by_key(|(_, call)| call.id).expect("a call");
        (call.id, call.bridge.expect("a bridge"))
    }

    /// The caller makes a new offer, and the callee answers it.
    pub(super) fn reinvite(&mut self, phone: &Phone, direction: &str) {
        let lines = [AUDIO, direction];
        let (to, target) = (phone.to.clone(), phone.target.clone());
        let offer = sdp("192.0.2.15", &lines).replace("o=- 1 1", "o=- 1 2");
        let invite = self.request(phone.number, "INVITE", 2, &to, &target, &offer);
        self.receive(CALLER, &invite);
        let out = self.take(CALLEE, "INVITE ");
        let answer = sdp("198.51.100.40", &[AUDIO, "a=sendrecv"]).replace("o=- 1 1", "o=- 1 2");
        self.receive(CALLEE, &respond(&out, "200 OK", &answer));
        let ack = self.request(phone.number, "ACK", 2, &to, &target, "");
        self.receive(CALLER, &ack);
    }

    /// The caller sends INFO; the status line of what it gets, if it gets something at once.
    pub(super) fn info(&mut self, phone: &Phone, cseq: u32, kind: &str, body: &str) -> Option<String> {
        let info = self.request(phone.number, "INFO", cseq, &phone.to, &phone.target, "");
        let (head, _) = info.split_once("Content-Length").expect("a length");
        let length = body.len();
        let info = format!("{head}Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}");
        self.receive(CALLER, &info);
        let cseq = format!("CSeq: {cseq} INFO");
        let at = self.sent.iter().rposition(|(to, text)| {
            *to == address(CALLER) && text.starts_with("SIP/2.0") && text.contains(&cseq)
        })?;
        Some(self.sent.remove(at).1.lines().next().unwrap_or_default().to_owned())
    }

    /// The bodies of the INFO requests that the callee has got and answers now.
    pub(super) fn infos_answered(&mut self) -> Vec<String> {
        let mut bodies = Vec::new();
        while self.sent.iter().any(|(to, text)| *to == address(CALLEE) && text.starts_with("INFO ")) {
            let info = self.take(CALLEE, "INFO ");
            bodies.push(info.split_once("\r\n\r\n").expect("an end of fields").1.to_owned());
            self.receive(CALLEE, &respond(&info, "200 OK", ""));
        }
        bodies
    }

    /// The callee answers an INFO; which one.
    pub(super) fn answer_info(&mut self) -> String {
        let info = self.take(CALLEE, "INFO ");
        self.receive(CALLEE, &respond(&info, "200 OK", ""));
        info
    }

    /// The caller hangs up.
    pub(super) fn hang_up(&mut self, phone: &Phone) {
        let bye = self.request(phone.number, "BYE", 9, &phone.to, &phone.target, "");
        self.receive(CALLER, &bye);
        let bye = self.take(CALLEE, "BYE ");
        self.receive(CALLEE, &respond(&bye, "200 OK", ""));
    }

    /// Asks, and gives the answer once there is one.
    pub(super) fn ask<T: Send + 'static>(&mut self, make: impl FnOnce(Reply<T>) -> Ask) -> Option<T> {
        let (answer, reply) = slot();
        self.switch.handle_ask(self.now, make(reply));
        self.flush();
        take(&answer)
    }

    /// As [`World::ask`], where the answer is to come later.
    pub(super) fn ask_later<T: Send + 'static>(
        &mut self,
        make: impl FnOnce(Reply<T>) -> Ask,
    ) -> Box<dyn Fn() -> Option<T>> {
        let (answer, reply) = slot();
        self.switch.handle_ask(self.now, make(reply));
        self.flush();
        Box::new(move || take(&answer))
    }

    pub(super) fn media(&mut self, event: Event) {
        self.switch.handle_media(self.now, event);
        self.flush();
    }

    /// An order ends.
    pub(super) fn ended(&mut self, bridge: BridgeId, ticket: Ticket, outcome: Outcome, length_ms: u64) {
        let length = Duration::from_millis(length_ms);
        let ended = Ended::after(outcome, length);
        self.media(Event::Ended { bridge, ticket, ended });
    }

    pub(super) fn wait(&mut self, time: Duration) {
        self.now.mono += time;
        self.now.wall.0 += time.as_micros() as u64;
        self.switch.handle_timeout(self.now);
        self.flush();
    }

    /// What happened since the last look, but of the calls themselves: `kind field=value …`.
    pub(super) fn events(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(numbered) = self.events.queue().receive() {
            let event = &numbered.event;
            if !["call.answered", "call.ended"].contains(&event.kind) {
                let fields: Vec<String> =
                    event.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
                lines.push(format!("{} {}", event.kind, fields.join(" ")));
            }
        }
        lines
    }

    /// Whether speech passes from the caller to the callee, and back.
    pub(super) fn heard(&self, bridge: BridgeId) -> [bool; 2] {
        let spec = &self.specs[&bridge];
        let first = |party| spec.ports.iter().find(|port| port.party == Party(party)).expect("a port").port;
        let (a, b) = (first(0), first(1));
        [(a, b), (b, a)].map(|ends| {
            let is_it = |edge: &&command::EdgeSpec| (edge.from, edge.to) == ends;
            let edge = spec.edges.iter().find(is_it).expect("an edge");
            !matches!(edge.transform, Transform::Silence | Transform::Drop)
        })
    }

    fn receive(&mut self, remote: &str, text: &str) {
        let remote = address(remote);
        let flow = Flow { transport: Transport::Udp, listener: 0, local: address(SBC), remote, stream: None };
        let Ok(message) = Message::parse(text.as_bytes(), Framing::Datagram) else {
            panic!("our own messages can be read: {text}")
        };
        self.switch.handle_message(self.now, &flow, &message);
        self.flush();
    }

    pub(super) fn flush(&mut self) {
        while let Some(output) = self.switch.poll_output() {
            match output {
                Output::Send(transmit) => {
                    let text = String::from_utf8(transmit.bytes.to_vec()).expect("text");
                    self.sent.push((transmit.target.remote, text));
                }
                Output::Resolve { query, target } => {
                    let remote = SocketAddr::new(target.host.parse().expect("an address"), 5060);
                    let hop = Hop { transport: Transport::Udp, remote, local: address(SBC).ip() };
                    self.switch.handle_resolved(self.now, query, vec![hop]);
                }
                Output::Media { command, .. } => self.take_command(command),
                Output::Ended(_) => self.records += 1,
                Output::Opened(_) | Output::Ask { .. } => {}
            }
        }
    }

    fn take_command(&mut self, command: Command) {
        let answer = match command {
            Command::Open { bridge, want } => {
                let next = self.ports.entry(bridge).or_default();
                let mut ports = Vec::new();
                for want in &want {
                    let local = SocketAddr::new(want.address, 10_000 + 2 * *next);
                    ports.push(OpenedPort { port: PortIndex(*next), local });
                    *next += 1;
                }
                Event::Opened { bridge, ports }
            }
            Command::Set { bridge, spec } => {
                let is_special = spec.edges.iter().any(|edge| edge.transform == Transform::Silence)
                    || spec.ports.iter().any(|port| port.voice.seat.is_some());
                match self.refuse.take_if(|_| is_special) {
                    Some(what) => Event::Unsupported { bridge, ticket: None, what },
                    None => {
                        assert!(self.ports.contains_key(&bridge), "{bridge} is not open");
                        self.specs.insert(bridge, *spec);
                        return;
                    }
                }
            }
            Command::Order { bridge, ticket, order } => {
                assert!(self.ports.contains_key(&bridge), "{bridge} is not open");
                self.orders.push((bridge, ticket, order));
                match self.refuse.take() {
                    Some(what) => Event::Unsupported { bridge, ticket: Some(ticket), what },
                    None => return,
                }
            }
            Command::Report { bridge, ticket } => {
                if let Some(held) = &mut self.held {
                    held.push((bridge, ticket));
                    return;
                }
                Event::Report { bridge, ticket, report: Box::default() }
            }
            Command::Close { bridge } => {
                if self.ports.remove(&bridge).is_none() {
                    return;
                }
                self.specs.remove(&bridge);
                self.closed.push(bridge);
                Event::Closed { bridge, report: Box::<BridgeReport>::default() }
            }
            Command::Hello { .. } | Command::Panic => return,
        };
        self.switch.handle_media(self.now, answer);
    }

    /// The last message to `remote` that begins so.
    fn take(&mut self, remote: &str, start: &str) -> String {
        let remote = address(remote);
        let at = self.sent.iter().rposition(|(to, text)| *to == remote && text.starts_with(start));
        self.sent.remove(at.unwrap_or_else(|| panic!("no {start} to {remote}"))).1
    }

    /// How many messages to both sides begin so.
    pub(super) fn count_sent(&self, start: &str) -> usize {
        self.sent.iter().filter(|(_, text)| text.starts_with(start)).count()
    }

    fn request(&self, call: u32, method: &str, cseq: u32, to: &str, target: &str, body: &str) -> String {
        let to = if to.is_empty() { String::new() } else { format!(";tag={to}") };
        let more = if body.is_empty() {
            String::new()
        } else {
            "Contact: <sip:+15035550100@192.0.2.15:5060>\r\nContent-Type: application/sdp\r\n".to_owned()
        };
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bK{call}-{method}-{cseq};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:+15035550100@pbx.example.net>;tag=a{call}\r\n\
             To: <sip:+15035550142@sbc.example.net>{to}\r\nCall-ID: {call}@192.0.2.15\r\nCSeq: {cseq} {method}\r\n\
             {more}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn slot<T: Send + 'static>() -> (Arc<Mutex<Option<T>>>, Reply<T>) {
    let answer = Arc::new(Mutex::new(None));
    let given = Arc::clone(&answer);
    (answer, Box::new(move |value| *given.lock().expect("one thread") = Some(value)))
}

fn take<T>(answer: &Mutex<Option<T>>) -> Option<T> {
    answer.lock().expect("one thread").take()
}

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
