//! An engine whose two signalling shards are one thread with canned calls, and an HTTP client that hides nothing.

use api::standing::{GroupStatus, LimitStatus, MemberStatus, Refusals, ResourceStatus, TrunkStatus};
use api::{ApplyError, ConfigVersion, Engine, Fault, Limits, Page, Role, Server, Tokens};
use base::{Clock, Instant, Mailbox, Now, Wake, Wall};
use command::report::{StreamReport, Totals};
use command::{Party, PortIndex, PortReport, Verdict};
use ledger::{
    Ask, AskFailed, Bans, CallId, CallState, CallSummary, CallView, Direction, EventBus, ExplainStep,
    Explanation, LegView, Net, SignallingStats, TraceEntry, TraceView,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How the fake's shards behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Shards answer.
    Fine,
    /// Mailboxes are full.
    Full,
    /// Questions are dropped, as by a shard that dies.
    Dead,
    /// Questions are kept and never answered.
    Silent,
}

pub struct Fake {
    pub mood: Mutex<Mood>,
    pub stats: Vec<Arc<SignallingStats>>,
    pub draining: AtomicBool,
    pub log: Mutex<String>,
    pub hung_up: Mutex<Vec<CallId>>,
    pub versions: Mutex<Vec<ConfigVersion>>,
    pub bans: Bans,
    pub events: Arc<EventBus>,
    pub records: Records,
    pub trunks: Mutex<Vec<TrunkStatus>>,
    pub recordings: Mutex<Vec<ledger::RecordingRow>>,
    mailbox: Questions,
    kept: Mutex<Vec<Ask>>,
    clock: Clock,
}

/// With the shard that each is for.
type Questions = Mailbox<(usize, Ask)>;

pub const CALL: &str = "0123456789ab000000000001";
pub const ENDING: &str = "0123456789ab000000000002";
pub const OTHER_SHARD: &str = "0123456789ab000100000001";
pub const CONFIG: &str = r#"listener.main = { sip = "udp:127.0.0.1:5060", media = "127.0.0.1:10000-10999" }
trunk.pbx = "10.0.0.2"
trunk.carrier = { address = "203.0.113.5", auth = { user = "u", password = "geheim" } }
[[route]]
from = "pbx"
via = "carrier"
[[number_rule]]
name = "strip-00"
on = "callee"
match = "00ZX."
to = "+{2-}"
"#;

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(&self) {
        self.0.unpark();
    }
}

impl Fake {
    pub fn new() -> Arc<Fake> {
        let slot: Arc<Mutex<Option<Questions>>> = Arc::default();
        let given = Arc::clone(&slot);
        // The thread lives as long as the test process.
        let thread = std::thread::Builder::new()
            .spawn(move || {
                loop {
                    let mailbox = given.lock().unwrap().clone();
                    let Some(mailbox) = mailbox else {
                        std::thread::park();
                        continue;
                    };
                    while let Some((shard, ask)) = mailbox.receive() {
                        answer(shard, ask);
                    }
                    if mailbox.sleep() {
                        std::thread::park();
                    }
                    mailbox.awake();
                }
            })
            .unwrap();
        let mailbox = Mailbox::new(64, Unpark(thread.thread().clone()));
        *slot.lock().unwrap() = Some(mailbox.clone());
        thread.thread().unpark();
        let version = ConfigVersion { version: 1, applied: Wall(1_795_248_116_500_000), text: CONFIG.into() };
        Arc::new(Fake {
            mood: Mutex::new(Mood::Fine),
            stats: vec![Arc::default(), Arc::default()],
            draining: AtomicBool::new(false),
            log: Mutex::new("info".to_owned()),
            hung_up: Mutex::default(),
            versions: Mutex::new(vec![version]),
            bans: Bans::new(base::HashKey::default()),
            events: EventBus::new(Wall(1_000)),
            records: Records::new(),
            trunks: Mutex::new(["pbx", "carrier"].map(up).into()),
            recordings: Mutex::default(),
            mailbox,
            kept: Mutex::default(),
            clock: Clock::start(),
        })
    }
}

/// A database of records in a folder of its own; made when it is first asked for.
pub struct Records {
    folder: std::path::PathBuf,
    opened: std::sync::OnceLock<(store::CdrReader, store::CdrWriter)>,
}

impl Records {
    fn new() -> Records {
        static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("strowger-api-{}-{number}", std::process::id());
        Records { folder: std::env::temp_dir().join(name), opened: std::sync::OnceLock::new() }
    }

    fn opened(&self) -> &(store::CdrReader, store::CdrWriter) {
        self.opened.get_or_init(|| {
            std::fs::create_dir_all(&self.folder).unwrap();
            let settings = store::CdrSettings::new(self.folder.join("strowger.db"));
            let (writer, _) = store::CdrWriter::spawn(&settings, Clock::start()).unwrap();
            (store::CdrReader::open(&settings.database).unwrap(), writer)
        })
    }

    fn reader(&self) -> &store::CdrReader {
        &self.opened().0
    }

    /// A file in the folder of the records.
    pub fn write_file(&self, name: &str, bytes: &[u8]) {
        std::fs::create_dir_all(&self.folder).unwrap();
        std::fs::write(self.folder.join(name), bytes).unwrap();
    }

    /// Writes records and waits until they can be read.
    pub fn write(&self, records: impl IntoIterator<Item = ledger::Cdr>) {
        let handle = self.opened().1.handle();
        records.into_iter().for_each(|record| handle.ended(Box::new(record)));
        assert!(handle.flush(Duration::from_secs(20)), "the records are not written");
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        drop(self.opened.take());
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn up(trunk: &str) -> TrunkStatus {
    TrunkStatus { trunk: trunk.into(), state: "up", since: None, until: None }
}

fn answer(shard: usize, ask: Ask) {
    let known = |id: CallId| match id.to_string().as_str() {
        CALL | OTHER_SHARD => Ok(()),
        ENDING => Err(AskFailed::Ending),
        _ => Err(AskFailed::NoCall),
    };
    match ask {
        Ask::List(filter, reply) => {
            let mut rows: Vec<CallSummary> = match shard {
                0 => vec![summary(CALL, CallState::Answered), summary(ENDING, CallState::Ending)],
                _ => vec![summary(OTHER_SHARD, CallState::Ringing)],
            };
            rows.retain(|row| {
                filter
                    .trunk
                    .as_ref()
                    .is_none_or(|trunk| row.trunk_in == *trunk || row.trunk_out.as_ref() == Some(trunk))
                    && filter
                        .number
                        .as_ref()
                        .is_none_or(|number| row.from.contains(number) || row.to.contains(number))
            });
            rows.truncate(filter.limit);
            reply(rows);
        }
        Ask::Show(id, reply) => reply(known(id).map(|()| view(&id.to_string()))),
        Ask::Trace(id, reply) => reply(known(id).map(|()| ladder())),
        Ask::Hangup(id, reply) => reply(known(id)),
        Ask::Explain(question, reply) => reply(match question.trunk.as_deref() {
            Some("nobody") => Err("there is no trunk named nobody".into()),
            _ => Ok(Box::new(Explanation {
                verdict: if question.to.starts_with("+1") { "route" } else { "refuse" },
                status: (!question.to.starts_with("+1")).then(|| (403, "Forbidden".into())),
                refusal: (!question.to.starts_with("+1")).then_some("destination"),
                trunk_in: Some("pbx".into()),
                caller: question.from.clone(),
                callee: question.to.clone(),
                steps: vec![
                    ExplainStep { stage: "who", text: format!("{:?} is trunk pbx", question.source) },
                    ExplainStep {
                        stage: "what",
                        text: format!("{:?} at {:?}", question.headers, question.at),
                    },
                ],
                ..Explanation::default()
            })),
        }),
        other => super::media::answer(shard, other),
    }
}

pub fn summary(id: &str, state: CallState) -> CallSummary {
    let id: CallId = id.parse().unwrap();
    let serial = u64::from(id.to_string().as_bytes()[23] - b'0');
    let answered = (state == CallState::Answered).then_some(Wall(1_795_248_118_000_000));
    CallSummary {
        id,
        state,
        created: Wall(1_795_248_116_500_000 + serial * 1_000 + id.shard() as u64 * 500),
        answered,
        from: "2001".into(),
        to: "+15035550100".into(),
        trunk_in: "pbx".into(),
        trunk_out: (state != CallState::Ringing).then(|| "carrier".into()),
    }
}

fn view(id: &str) -> CallView {
    let stream = StreamReport {
        ssrc: 0xdead_beef,
        payload: 0,
        packets: 500,
        lost: 3,
        jitter: Duration::from_micros(1_500),
        jitter_max: Duration::from_millis(9),
        reported_loss: Some(64),
        r_factor: Some(87.649),
        mos: Some(4.276),
        first: Instant(1_000_000_000),
        last: Instant(2_000_000_000),
        ..StreamReport::default()
    };
    let port = PortReport {
        port: PortIndex(0),
        party: Party(0),
        local: "192.0.2.1:10000".parse().unwrap(),
        signalled: Some("10.0.0.5:4000".parse().unwrap()),
        learned: Some("198.51.100.7:4000".parse().unwrap()),
        moves: 1,
        received: Totals { packets: 500, bytes: 86_000 },
        sent: Totals { packets: 480, bytes: 82_560 },
        rtcp_received: 2,
        rtcp_sent: 2,
        last_heard: Some(Instant(1_000_000_000)),
        dropped: vec![(Verdict::SourceLocked, 212)],
        foreign: Some("203.0.113.66:9".parse().unwrap()),
        kernel_drops: 0,
        voice: None,
        streams: vec![stream],
    };
    let leg = |name: &str, direction, remote: &str| LegView {
        name: name.into(),
        direction,
        trunk: Some("pbx".into()),
        state: "confirmed".into(),
        sip_call_id: "abc@example".into(),
        remote: Some(remote.parse().unwrap()),
        local: Some("192.0.2.1:5060".parse().unwrap()),
        transport: "UDP",
        media: vec![port.clone()],
        codecs: vec!["audio PCMU telephone-event".into()],
        sentence: format!("{name}: 500 packets received from 198.51.100.7:4000."),
    };
    CallView {
        summary: summary(id, CallState::Answered),
        route: Some("route-1".into()),
        legs: vec![leg("A", Direction::In, "10.0.0.2:5060"), leg("B", Direction::Out, "203.0.113.5:5060")],
        timeline: vec![(Wall(1_795_248_116_500_000), "INVITE from pbx".into())],
        room: None,
        orders: Vec::new(),
    }
}

fn ladder() -> TraceView {
    let entry = |at: u64, leg, received, remote: &str, transport, line: &str| TraceEntry {
        at: Wall(1_795_248_116_500_000 + at * 1_000),
        leg,
        received,
        local: if leg == 2 { "[2001:db8::1]:5060" } else { "192.0.2.1:5060" }.parse().unwrap(),
        remote: remote.parse().unwrap(),
        transport,
        line: line.into(),
        raw: (line != "ACK").then(|| message(line)),
    };
    let (a, b, b2) = ("10.0.0.2:5060", "203.0.113.5:5060", "[2001:db8::9]:5060");
    TraceView {
        entries: vec![
            entry(0, 0, true, a, "UDP", "INVITE"),
            entry(1, 0, false, a, "UDP", "100 Trying (INVITE)"),
            entry(2, 1, false, b, "UDP", "INVITE"),
            entry(30, 1, true, b, "UDP", "503 Service Unavailable (INVITE)"),
            entry(31, 1, false, b, "UDP", "ACK"),
            entry(32, 2, false, b2, "TCP", "INVITE"),
            entry(90, 2, true, b2, "TCP", "200 OK (INVITE)"),
            entry(91, 0, false, a, "UDP", "200 OK (INVITE)"),
        ],
        forgotten: 1,
    }
}

fn message(line: &str) -> Vec<u8> {
    let (first, method) = match line.split_once(" (") {
        Some((status, _)) => (format!("SIP/2.0 {status}"), "INVITE"),
        None => (format!("{line} sip:+15035550100@example.com SIP/2.0"), line),
    };
    format!(
        "{first}\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776\r\nFrom: <sip:2001@example.com>;tag=1\r\n\
         To: <sip:+15035550100@example.com>\r\nCall-ID: abc@example\r\nCSeq: 1 {method}\r\n\
         Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

impl Engine for Fake {
    #[expect(clippy::disallowed_methods, reason = "a test's shell")]
    fn now(&self) -> Now {
        self.clock.now()
    }

    fn shards(&self) -> usize {
        2
    }

    fn ask(&self, shard: usize, ask: Ask) -> Result<(), Ask> {
        match *self.mood.lock().unwrap() {
            Mood::Full => return Err(ask),
            Mood::Dead => return Ok(()),
            Mood::Silent => {
                self.kept.lock().unwrap().push(ask);
                return Ok(());
            }
            Mood::Fine => {}
        }
        if let Ask::Hangup(id, _) = &ask {
            self.hung_up.lock().unwrap().push(*id);
        }
        self.mailbox.send((shard, ask)).map_err(|(_, ask)| ask)
    }

    fn signalling(&self) -> Vec<Arc<SignallingStats>> {
        self.stats.clone()
    }

    fn collect(&self, page: &mut Page) {
        super::metrics::media(page);
    }

    fn cdrs(&self) -> &store::CdrReader {
        self.records.reader()
    }

    fn sound<'e>(&'e self, source: &'e str) -> api::Loading<'e> {
        Box::pin(async move { super::media::sound(source) })
    }

    fn fork_to<'e>(&'e self, to: &'e str) -> api::Resolving<'e> {
        Box::pin(async move { super::media::fork_to(to) })
    }

    fn recordings(&self, query: &store::RecordingQuery) -> Result<Vec<ledger::RecordingRow>, String> {
        let rows = self.recordings.lock().unwrap();
        let fits = |row: &&ledger::RecordingRow| {
            query.call.as_ref().is_none_or(|call| row.id.of.to_string() == *call)
                && query.room.as_ref().is_none_or(|room| row.room.as_ref() == Some(room))
        };
        Ok(rows.iter().filter(fits).take(query.limit).cloned().collect())
    }

    fn recording(&self, id: ledger::OrderId) -> Result<Option<ledger::RecordingRow>, String> {
        Ok(self.recordings.lock().unwrap().iter().find(|row| row.id == id).cloned())
    }

    fn recording_file(&self, file: &str) -> std::io::Result<std::fs::File> {
        std::fs::File::open(self.records.folder.join(file))
    }

    fn delete_recording(&self, id: ledger::OrderId, file: &str) -> Result<(), String> {
        self.recordings.lock().unwrap().retain(|row| row.id != id);
        let _ = std::fs::remove_file(self.records.folder.join(file));
        Ok(())
    }

    fn bans(&self) -> &Bans {
        &self.bans
    }

    fn trunk_within(&self, net: Net) -> Option<String> {
        net.contains("10.0.0.2".parse().unwrap()).then(|| "pbx".into())
    }

    fn events(&self) -> &Arc<EventBus> {
        &self.events
    }

    fn trunks(&self) -> Vec<TrunkStatus> {
        self.trunks.lock().unwrap().clone()
    }

    fn disable_trunk(&self, name: &str, period: Option<Duration>) -> Option<TrunkStatus> {
        let mut trunks = self.trunks.lock().unwrap();
        let status = trunks.iter_mut().find(|status| status.trunk == name)?;
        let since = Wall(1_795_248_116_500_000);
        let until = period.map(|period| Wall(since.0 + period.as_micros() as u64));
        *status = TrunkStatus { trunk: name.into(), state: "disabled", since: Some(since), until };
        Some(status.clone())
    }

    fn enable_trunk(&self, name: &str) -> Option<TrunkStatus> {
        let mut trunks = self.trunks.lock().unwrap();
        let status = trunks.iter_mut().find(|status| status.trunk == name)?;
        *status = up(name);
        Some(status.clone())
    }

    fn group(&self, name: &str) -> Option<GroupStatus> {
        let resources = vec![ResourceStatus { resource: "pstn".into(), used: 7, max: 30 }];
        let member = MemberStatus {
            name: "carrier".into(),
            kind: "trunk",
            weight: 1,
            state: "up",
            calls: 7,
            resources,
        };
        (name == "out").then(|| GroupStatus {
            group: "out".into(),
            pick: "free-capacity".into(),
            members: vec![member],
        })
    }

    fn limits(&self) -> Vec<LimitStatus> {
        let refused = Refusals { full: 4, fast: 1, crowded: 0 };
        let full = LimitStatus {
            limit: "pstn".into(),
            used: 9,
            max: Some(10),
            reserved: 2,
            refused,
            ..LimitStatus::default()
        };
        let counted = LimitStatus { limit: "trunk.pbx".into(), used: 3, ..LimitStatus::default() };
        let paced = LimitStatus {
            limit: "x".into(),
            rate: Some(0.5),
            burst: Some(3),
            keys: Some(12),
            ..LimitStatus::default()
        };
        vec![full, counted, paced]
    }

    fn reset_fraud(&self, policy: &str, key: &str) -> bool {
        policy == "toll-fraud" && key == "trunk=pbx"
    }

    fn health(&self) -> Result<(), String> {
        if *self.mood.lock().unwrap() == Mood::Dead {
            Err("signalling shard 0 is down".into())
        } else {
            Ok(())
        }
    }

    fn ready(&self) -> Result<(), String> {
        if self.draining() { Err("draining".into()) } else { Ok(()) }
    }

    fn drain(&self, on: bool) {
        self.draining.store(on, Ordering::Relaxed);
    }

    fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    fn set_log(&self, filter: &str) -> Result<(), String> {
        if filter.contains("==") {
            return Err("target=level".into());
        }
        *self.log.lock().unwrap() = filter.to_owned();
        Ok(())
    }

    fn config(&self, version: Option<u64>) -> Option<ConfigVersion> {
        let versions = self.versions.lock().unwrap();
        match version {
            None => versions.last().cloned(),
            Some(version) => versions.iter().find(|kept| kept.version == version).cloned(),
        }
    }

    fn versions(&self) -> Vec<(u64, Wall)> {
        self.versions.lock().unwrap().iter().map(|kept| (kept.version, kept.applied)).collect()
    }

    fn validate(&self, text: &str) -> Result<(), Vec<Fault>> {
        match text.lines().position(|line| line.starts_with("trnk")) {
            Some(at) => Err(vec![Fault {
                field: "trnk".into(),
                expected: "a known key; did you mean trunk?".into(),
                line: Some(at + 1),
            }]),
            None => Ok(()),
        }
    }

    fn apply(&self, text: &str, expected: Option<u64>) -> Result<u64, ApplyError> {
        self.validate(text).map_err(ApplyError::Invalid)?;
        let mut versions = self.versions.lock().unwrap();
        let version = versions.last().map_or(0, |last| last.version);
        if expected.is_some_and(|expected| expected != version) {
            return Err(ApplyError::Stale { version });
        }
        if text.contains("in_use") {
            return Err(ApplyError::Refused("udp:127.0.0.1:5060 is in use".into()));
        }
        versions.push(ConfigVersion { version: version + 1, applied: Wall(5), text: text.into() });
        Ok(version + 1)
    }
}

/// A served fake.
pub struct World {
    pub fake: Arc<Fake>,
    pub server: Server,
}

impl World {
    /// Loopback, no tokens, quick to lose patience.
    pub fn new() -> World {
        World::with(
            Tokens::default(),
            Limits { answer_timeout: Duration::from_millis(100), ..Limits::default() },
        )
    }

    pub fn with(tokens: Tokens, limits: Limits) -> World {
        let fake = Fake::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = api::spawn(listener, Arc::clone(&fake) as Arc<dyn Engine>, tokens, limits).unwrap();
        World { fake, server }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// One request on a connection of its own.
    pub fn ask(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Reply {
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address());
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        if !body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        let bytes = self.send(format!("{head}\r\n{body}").as_bytes());
        Reply::parse(&bytes).unwrap_or_else(|| panic!("no answer to {method} {path}: {bytes:?}"))
    }

    pub fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[], "")
    }

    /// Sends bytes and reads until the server closes.
    pub fn send(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }
}

/// Tokens of all roles, each named after its role.
pub fn tokens() -> Tokens {
    let mut tokens = Tokens::default();
    for role in [Role::Read, Role::Calls, Role::Admin] {
        tokens.add(role.name(), role).unwrap();
    }
    tokens
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn parse(bytes: &[u8]) -> Option<Reply> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
        let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        Some(Reply { status, head, body: bytes[end + 4..].to_vec() })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &&str| line.split(':').next().is_some_and(|n| n.eq_ignore_ascii_case(name));
        Some(self.head.lines().find(named)?.split_once(':')?.1.trim())
    }

    pub fn text(&self) -> &str {
        core::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Asserts the form of an error and gives its class.
    pub fn class(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{problem}");
        assert!(!problem["detail"].as_str().unwrap().is_empty());
        problem["type"].as_str().unwrap().strip_prefix("urn:strowger:problem:").unwrap().to_owned()
    }
}
