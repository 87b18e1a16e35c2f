//! A client, a shell and media shards in one: asks, answers what is asked of media, and keeps the last spec.

use base::{Duration, HashKey, Instant, Now, Rng, Wall};
use command::spec::SINKS_MAX;
use command::{
    BridgeId, BridgeReport, BridgeSpec, Command, EdgeSpec, Event, Generation, OpenRefusal, OpenedPort,
    PortIndex, PortReport, PortSpec, Ticket, Transform,
};
use ledger::{EventBus, Pool, Recordings};
use ng::book::Book;
use ng::counts::NgStats;
use ng::desk::{Config, Ng, Output, SoundSource};
use ng::frame::{Carrier, Frame, Origin};
use ng::spec::{Listener, Spec};
use ng::value::{Dict, Value};
use sdp::Makeable;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// One bridge as media has it.
#[derive(Debug, Default)]
pub struct Bridge {
    pub ports: Vec<OpenedPort>,
    pub spec: Option<BridgeSpec>,
    pub orders: Vec<command::Order>,
    /// How often a spec was set.
    pub sets: usize,
}

/// All of it.
pub struct World {
    pub ng: Ng,
    pub now: Now,
    pub pool: Arc<Pool>,
    pub book: Arc<Book>,
    pub stats: Arc<NgStats>,
    pub events: Arc<EventBus>,
    pub recordings: Arc<Recordings>,
    /// Of the orders that media was given.
    pub tickets: Vec<Ticket>,
    pub bridges: BTreeMap<BridgeId, Bridge>,
    /// Commands that media has not done yet.
    pub waiting: Vec<Command>,
    /// Media does at once what it is asked.
    pub is_quick: bool,
    /// Media has no ports left.
    pub is_full: bool,
    /// A media shard has died: it may be told to close what its successor never had.
    is_restarted: bool,
    /// By cookie: every reply that came.
    pub replies: BTreeMap<String, Vec<Dict>>,
    pub sounds: Vec<(Ticket, SoundSource)>,
    pub notified: Vec<(SocketAddr, Vec<u8>)>,
    cookies: u64,
    next_port: u16,
}

pub const CALLS_MAX: u32 = 50;
pub const POOL: u32 = 40;

/// An SDP of one audio line.
pub fn audio(address: &str, port: u16) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 8\r\n"
    )
}

pub fn with_direction(sdp: &str, direction: &str) -> String {
    format!("{sdp}a={direction}\r\n")
}

/// What is told to be converted.
pub fn makeable() -> Arc<[Makeable]> {
    let pcm =
        |name, number| Makeable { name, clock: 8_000, channels: 1, fmtp: "", number, ptimes: &[10, 20, 30] };
    Arc::from([pcm("PCMU", 0), pcm("PCMA", 8)])
}

pub fn spec(pool: &Arc<Pool>) -> Spec {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let listener = |name: &str, media: &[&str]| Listener {
        name: name.into(),
        media: media.iter().map(|text| ip(text)).collect(),
        advertise: Vec::new(),
        dscp: 46,
    };
    Spec {
        listeners: vec![
            listener("pub", &["192.0.2.100", "2001:db8::100"]),
            listener("priv", &["10.0.0.100"]),
        ],
        makeable: makeable(),
        pools: vec![Arc::clone(pool)],
        ..Spec::default()
    }
}

impl World {
    pub fn new() -> World {
        World::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Spec)) -> World {
        let pool = Pool::new("ng", POOL);
        let mut spec = spec(&pool);
        change(&mut spec);
        let now = Now { mono: Instant(1_000_000_000), wall: Wall(1_795_248_116_500_000) };
        let (book, stats, events) =
            (Arc::<Book>::default(), Arc::<NgStats>::default(), EventBus::new(now.wall));
        let recordings = Arc::<Recordings>::default();
        let config = Config {
            node: 0,
            shard: 1,
            media_shards: 2,
            generation: 0,
            calls_max: CALLS_MAX,
            secret: HashKey::new([3, 4]),
            recordings: Arc::clone(&recordings),
            events: Arc::clone(&events),
            book: Arc::clone(&book),
        };
        World {
            ng: Ng::new(now, config, Arc::new(spec), Rng::from_seed(7), Arc::clone(&stats)),
            now,
            pool,
            book,
            stats,
            events,
            recordings,
            tickets: Vec::new(),
            bridges: BTreeMap::new(),
            waiting: Vec::new(),
            is_quick: true,
            is_full: false,
            is_restarted: false,
            replies: BTreeMap::new(),
            sounds: Vec::new(),
            notified: Vec::new(),
            cookies: 0,
            next_port: 10_000,
        }
    }

    /// Asks; the cookie finds the reply.
    pub fn ask(&mut self, request: &Dict) -> String {
        self.cookies += 1;
        let cookie = format!("c{}", self.cookies);
        self.ask_as(&cookie, request);
        cookie
    }

    pub fn ask_as(&mut self, cookie: &str, request: &Dict) {
        let payload = request.to_bencode();
        self.send(origin(), Frame { cookie: cookie.as_bytes(), payload: &payload });
    }

    pub fn send(&mut self, origin: Origin, frame: Frame<'_>) {
        self.ng.handle_request(self.now, origin, frame);
        self.run();
    }

    /// Asks and has the answer.
    #[track_caller]
    pub fn get(&mut self, request: &Dict) -> Dict {
        let cookie = self.ask(request);
        self.reply(&cookie)
    }

    /// Asks and has the SDP of the answer.
    #[track_caller]
    pub fn sdp(&mut self, request: &Dict) -> String {
        let reply = self.get(request);
        assert_eq!(text(&reply, "result"), "ok", "{reply:?}");
        text(&reply, "sdp")
    }

    /// The only reply to a cookie.
    #[track_caller]
    pub fn reply(&self, cookie: &str) -> Dict {
        let replies = self.replies.get(cookie).unwrap_or_else(|| panic!("no reply to {cookie}"));
        assert_eq!(replies.len(), 1, "one reply a request");
        replies[0].clone()
    }

    #[track_caller]
    pub fn error(&mut self, request: &Dict) -> String {
        let reply = self.get(request);
        assert_eq!(text(&reply, "result"), "error", "{reply:?}");
        text(&reply, "error-reason")
    }

    /// Does whatever is to be done.
    pub fn run(&mut self) {
        loop {
            while let Some(output) = self.ng.poll_output() {
                match output {
                    Output::Reply { bytes, .. } => {
                        let frame = Frame::datagram(&bytes).expect("a reply begins with its cookie");
                        let (_, dict) = ng::frame::read(frame.payload).expect("a reply is a dictionary");
                        let cookie = String::from_utf8(frame.cookie.to_vec()).unwrap();
                        self.replies.entry(cookie).or_default().push(dict);
                    }
                    Output::Media { shard, command } => {
                        if let Some(bridge) = bridge_of(&command) {
                            assert_eq!(bridge.media_shard(), shard);
                        }
                        self.waiting.push(command);
                    }
                    Output::Sound { ticket, source } => self.sounds.push((ticket, source)),
                    Output::Notify { to, bytes } => self.notified.push((to, bytes)),
                }
            }
            if !self.is_quick || self.waiting.is_empty() {
                return;
            }
            self.work();
        }
    }

    /// Media does what it was asked so far.
    pub fn work(&mut self) {
        for command in core::mem::take(&mut self.waiting) {
            if let Some(event) = self.act(command) {
                self.ng.handle_media(self.now, event);
            }
        }
    }

    pub fn act(&mut self, command: Command) -> Option<Event> {
        match command {
            Command::Open { bridge, .. } if self.is_full => {
                Some(Event::Refused { bridge, why: OpenRefusal::NoPorts })
            }
            Command::Open { bridge, want } => {
                let entry = self.bridges.entry(bridge).or_default();
                let mut opened = Vec::new();
                for want in want {
                    let port = PortIndex(entry.ports.len() as u16);
                    let local = SocketAddr::new(want.address, self.next_port);
                    self.next_port = if self.next_port > 60_000 { 10_000 } else { self.next_port + 2 };
                    entry.ports.push(OpenedPort { port, local });
                    opened.push(OpenedPort { port, local });
                }
                Some(Event::Opened { bridge, ports: opened })
            }
            Command::Set { bridge, spec } => {
                let entry = self.bridges.get_mut(&bridge).expect("a spec is for a bridge that is open");
                check(entry, &spec);
                entry.spec = Some(*spec);
                entry.sets += 1;
                None
            }
            Command::Close { bridge } => {
                let closed = self.bridges.remove(&bridge);
                assert!(closed.is_some() || self.is_restarted, "what closes was open");
                let closed = closed?;
                Some(Event::Closed { bridge, report: Box::new(report(&closed)) })
            }
            Command::Report { bridge, ticket } => {
                let report = self.bridges.get(&bridge).map(report).unwrap_or_default();
                Some(Event::Report { bridge, ticket, report: Box::new(report) })
            }
            Command::Order { bridge, order, ticket } => {
                self.tickets.push(ticket);
                self.bridges
                    .get_mut(&bridge)
                    .expect("an order is for a bridge that is open")
                    .orders
                    .push(order);
                None
            }
            Command::Hello { .. } | Command::Panic => None,
        }
    }

    /// A media shard dies and comes back.
    pub fn restart(&mut self, shard: u8) {
        self.is_restarted = true;
        self.bridges.retain(|bridge, _| bridge.media_shard() != usize::from(shard));
        self.waiting
            .retain(|command| bridge_of(command).is_none_or(|b| b.media_shard() != usize::from(shard)));
        self.ng.handle_media(self.now, Event::Started { shard, generation: Generation(1) });
        self.run();
    }

    /// Lets time pass, waking as the desk wants to be woken.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now.mono + time;
        while let Some((at, _)) = self.ng.poll_timeout().filter(|(at, _)| *at <= until) {
            self.wait(at.since(self.now.mono));
            self.ng.handle_timeout(self.now);
            self.run();
        }
        self.wait(until.since(self.now.mono));
        self.ng.handle_timeout(self.now);
        self.run();
    }

    pub fn wait(&mut self, time: Duration) {
        self.now = Now { mono: self.now.mono + time, wall: self.now.wall + time };
    }

    /// The only bridge.
    #[track_caller]
    pub fn bridge(&self) -> &Bridge {
        assert_eq!(self.bridges.len(), 1, "one bridge");
        self.bridges.values().next().unwrap()
    }

    #[track_caller]
    pub fn bridge_id(&self) -> BridgeId {
        assert_eq!(self.bridges.len(), 1, "one bridge");
        *self.bridges.keys().next().unwrap()
    }

    #[track_caller]
    pub fn spec(&self) -> &BridgeSpec {
        self.bridge().spec.as_ref().expect("a spec was set")
    }

    /// The port that an SDP of ours names in its first m-line.
    #[track_caller]
    pub fn port(&self, sdp: &str) -> &PortSpec {
        let index = self.index(sdp);
        self.spec().ports.iter().find(|port| port.port == index).expect("the port is in the spec")
    }

    #[track_caller]
    pub fn index(&self, sdp: &str) -> PortIndex {
        let number = first_port(sdp);
        self.bridge().ports.iter().find(|port| port.local.port() == number).expect("the port is open").port
    }

    /// What happens between the ports that two SDPs of ours name.
    pub fn edge(&self, from: &str, to: &str) -> Option<&EdgeSpec> {
        let (from, to) = (self.index(from), self.index(to));
        self.spec().edges.iter().find(|edge| (edge.from, edge.to) == (from, to))
    }

    /// Whether media passes both ways between the ports that two SDPs of ours name.
    pub fn is_joined(&self, one: &str, two: &str) -> bool {
        let passes = |edge: Option<&EdgeSpec>| edge.is_some_and(|edge| edge.transform != Transform::Drop);
        passes(self.edge(one, two)) && passes(self.edge(two, one))
    }

    /// Nothing is left.
    #[track_caller]
    pub fn assert_empty(&self) {
        assert_eq!(
            (self.ng.len(), self.pool.used(), self.bridges.len()),
            (0, 0, 0),
            "calls, places, bridges"
        );
        assert_eq!((self.book.totals().now, self.stats.calls_now.get()), (0, 0));
    }
}

/// What must hold for every spec.
fn check(bridge: &Bridge, spec: &BridgeSpec) {
    let known = |index: PortIndex| usize::from(index.0) < bridge.ports.len();
    let mut last = None;
    for port in &spec.ports {
        assert!(known(port.port), "{:?} is open", port.port);
        assert!(last < Some(port.port), "each port once, in order");
        last = Some(port.port);
        let active = port.active.expect("a port in the spec faces somebody");
        assert_eq!(port.remotes.iter().filter(|remote| remote.tag == active).count(), 1);
    }
    for edge in &spec.edges {
        let has = |index| spec.ports.iter().any(|port| port.port == index);
        assert!(has(edge.from) && has(edge.to) && edge.from != edge.to, "{edge:?}");
        let sinks = spec.edges.iter().filter(|other| other.from == edge.from).count();
        assert!(sinks <= SINKS_MAX, "{:?} feeds {sinks}", edge.from);
    }
}

fn bridge_of(command: &Command) -> Option<BridgeId> {
    match command {
        Command::Open { bridge, .. }
        | Command::Set { bridge, .. }
        | Command::Close { bridge }
        | Command::Report { bridge, .. }
        | Command::Order { bridge, .. } => Some(*bridge),
        Command::Hello { .. } | Command::Panic => None,
    }
}

/// Ten packets on each port that faces somebody.
pub fn report(bridge: &Bridge) -> BridgeReport {
    let ports = bridge.spec.iter().flat_map(|spec| &spec.ports);
    let port = |port: &PortSpec| PortReport {
        port: port.port,
        party: port.party,
        local: bridge.ports[usize::from(port.port.0)].local,
        signalled: port.remotes.first().and_then(|remote| remote.rtp),
        learned: None,
        moves: 0,
        received: command::report::Totals { packets: 10, bytes: 1_720 },
        sent: command::report::Totals { packets: 10, bytes: 1_720 },
        rtcp_received: 0,
        rtcp_sent: 0,
        last_heard: None,
        dropped: Vec::new(),
        foreign: None,
        kernel_drops: 0,
        voice: None,
        streams: Vec::new(),
    };
    BridgeReport { ports: ports.map(port).collect() }
}

pub fn origin() -> Origin {
    Origin {
        carrier: Carrier::Udp,
        connection: 0,
        remote: "192.0.2.7:2223".parse().unwrap(),
        local: Some("192.0.2.100".parse().unwrap()),
    }
}

/// A request by its words.
pub fn request(command: &str, texts: &[(&str, &str)]) -> Dict {
    let mut dict = Dict::new().with("command", Value::text(command));
    for (key, value) in texts {
        dict.put(*key, Value::text(*value));
    }
    dict
}

pub fn offer(call: &str, from: &str, sdp: &str) -> Dict {
    request("offer", &[("call-id", call), ("from-tag", from), ("sdp", sdp)])
}

pub fn reoffer(call: &str, from: &str, to: &str, sdp: &str) -> Dict {
    request("offer", &[("call-id", call), ("from-tag", from), ("to-tag", to), ("sdp", sdp)])
}

pub fn answer(call: &str, from: &str, to: &str, sdp: &str) -> Dict {
    request("answer", &[("call-id", call), ("from-tag", from), ("to-tag", to), ("sdp", sdp)])
}

pub fn delete(call: &str, delay: &str) -> Dict {
    request("delete", &[("call-id", call), ("delete-delay", delay)])
}

pub fn flags(mut request: Dict, flags: &[&str]) -> Dict {
    request.put("flags", Value::texts(flags.iter().map(|flag| flag.as_bytes().to_vec())));
    request
}

pub fn with(mut request: Dict, key: &str, value: &str) -> Dict {
    request.put(key, Value::text(value));
    request
}

#[track_caller]
pub fn text(dict: &Dict, key: &str) -> String {
    let value = dict.get(key).and_then(Value::as_text).unwrap_or_else(|| panic!("{key} of {dict:?}"));
    String::from_utf8(value.to_vec()).unwrap()
}

/// The number after a path of keys.
#[track_caller]
pub fn number(dict: &Dict, path: &[&str]) -> i64 {
    let (last, keys) = path.split_last().unwrap();
    let inner = keys.iter().fold(dict, |dict, key| {
        dict.get(key).and_then(Value::as_dict).unwrap_or_else(|| panic!("{key} of {dict:?}"))
    });
    inner.get(last).and_then(Value::as_int).unwrap_or_else(|| panic!("{last} of {inner:?}"))
}

#[track_caller]
pub fn first_port(sdp: &str) -> u16 {
    let line = sdp.lines().find_map(|line| line.strip_prefix("m=")).expect("an m-line");
    line.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a port")
}

pub fn ports_of(sdp: &str) -> Vec<u16> {
    let lines = sdp.lines().filter_map(|line| line.strip_prefix("m="));
    lines.map(|line| line.split(' ').nth(1).unwrap().parse().unwrap()).collect()
}

pub const A: &str = "198.51.100.1";
pub const B: &str = "203.0.113.1";
pub const C: &str = "203.0.113.2";

/// A call that is up between `a` and `b`: what B was offered, and what A was answered.
#[track_caller]
pub fn call(world: &mut World, name: &str) -> (String, String) {
    let offered = world.sdp(&offer(name, "a", &audio(A, 4_000)));
    let answered = world.sdp(&answer(name, "a", "b", &audio(B, 5_000)));
    (offered, answered)
}
