//! Sources that are nobody: what they are answered, when they are banned and when they are heard again; scanners and
//! floods; the tarpit. What the trunks do meanwhile goes on.

use crate::support::attempt::{Way, events};
use crate::support::command::{said, strowger};
use crate::support::softphone::{Softphone, audio};
use crate::support::wire::Wire;
use crate::support::{Engine, Folder, Net, Phone, SOON, field, peer, status, wait_for};
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// An engine between a PBX and a carrier, and strangers around them.
struct World {
    net: Net,
    engine: Engine,
    a: Softphone,
    b: Softphone,
}

/// Who is called here must begin with this, all else has no route.
const NUMBER: &str = "15550100";

const PARTS: &str = r#"
trunk.pbx = "IP2:5060"
trunk.carrier = "IP3:5060"
[[route]]
from = "pbx"
to = "1."
via = "carrier"
[unknown]
"#;

/// Nothing comes within this time: what is answered at all is answered at once.
const QUIET: Duration = Duration::from_millis(250);

impl World {
    /// With these lines in `[unknown]`.
    fn new(unknown: &str) -> World {
        World::listening("\"udp:IP1:0\"", unknown)
    }

    fn listening(sip: &str, unknown: &str) -> World {
        let net = Net::new();
        let listener = format!("listener.main = {{ sip = [{sip}], media = \"IP1:0\" }}");
        let engine = Engine::start(&net.fill(&format!("{listener}\n{PARTS}{unknown}\n")));
        World { net, engine, a: Softphone::at((net.ip(2), 5060)), b: Softphone::at((net.ip(3), 5060)) }
    }

    fn sip(&self) -> SocketAddr {
        self.engine.sip(0)
    }

    fn way(&self) -> Way<'_> {
        Way { a: &self.a, b: &self.b, engine: self.sip() }
    }

    /// A call between the trunks, from beginning to end; how long its set-up took.
    fn call(&self) -> Duration {
        let began = Instant::now();
        let call = self.way().connects(NUMBER);
        let took = began.elapsed();
        self.way().ends(call);
        took
    }

    /// A stranger at address `n`.
    fn stranger(&self, n: u32) -> Stranger {
        Stranger { phone: Phone::at((self.net.ip(n), 0)), to: self.sip() }
    }

    /// Waits until exactly these are banned, in the order of their addresses; gives the rows.
    fn banned(&self, nets: &[&str]) -> Vec<Value> {
        wait_for(&format!("bans of {nets:?}, not {:?}", bans(&self.engine)), SOON, || {
            let rows = bans(&self.engine);
            rows.iter()
                .map(|row| row["address"].as_str().unwrap_or_default())
                .eq(nets.iter().copied())
                .then_some(rows)
        })
    }

    /// The carrier was called by nobody else, and nobody is banned who is a trunk.
    fn nobody_was_called(&self) {
        assert!(
            self.b.expect_within("INVITE", Duration::ZERO).is_none(),
            "nothing of it reaches the carrier"
        );
    }

    fn ban(&self, body: &Value) -> (u16, String) {
        let json = "Content-Type: application/json\r\n";
        let answer = self.engine.request("POST", "/v1/bans", json, &body.to_string());
        (answer.status, answer.body)
    }

    fn ip(&self, n: u32) -> String {
        self.net.ip(n).to_string()
    }
}

fn bans(engine: &Engine) -> Vec<Value> {
    engine.json("/v1/bans")["bans"].as_array().cloned().expect("a list")
}

/// Somebody whom nobody knows.
struct Stranger {
    phone: Phone,
    to: SocketAddr,
}

impl Stranger {
    /// Sends a request; `id` makes it another one than those before.
    fn sends(&self, method: &str, id: &str, more: &str) -> String {
        let request = self.phone.request(method, &format!("sip:{NUMBER}@{}", self.to), id, 1, more, "");
        self.phone.send(self.to, &request);
        request
    }

    /// What an OPTIONS is answered; 0 for silence.
    fn asks(&self, id: &str) -> u16 {
        self.sends("OPTIONS", id, "");
        self.phone.receive_within(QUIET).map_or(0, |(answer, _)| status(&answer))
    }

    /// Nothing has come.
    fn hears_nothing(&self) {
        let came = self.phone.receive_within(QUIET);
        assert!(came.is_none(), "no answer leaves: {came:?}");
    }
}

/// A tool of SIPVicious at work; ended with its owner.
struct Scan(Child);

impl Scan {
    fn start(tool: &Path, folder: &Folder, arguments: &[&str]) -> Scan {
        // Left to itself it takes port 5060 of all addresses, and with it the ports of other tests' phones.
        let any = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a port");
        let port = any.local_addr().expect("bound").port();
        drop(any);
        let child = Command::new(tool)
            .args(["-P", &port.to_string()])
            .args(arguments)
            .env("HOME", folder.path())
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Scan(child.expect("SIPVicious starts"))
    }

    /// All that it has said when it is done.
    fn said(mut self) -> String {
        use std::io::Read;
        wait_for("the scan to end", Duration::from_secs(30), || self.0.try_wait().expect("a child"));
        let mut said = String::new();
        let _ = self.0.stdout.take().expect("a pipe").read_to_string(&mut said);
        let _ = self.0.stderr.take().expect("a pipe").read_to_string(&mut said);
        said
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn sipvicious_finds_nothing_and_is_banned_while_calls_go_on() {
    let (Some(map), Some(war), Some(crack)) =
        (peer("sipvicious_svmap"), peer("sipvicious_svwar"), peer("sipvicious_svcrack"))
    else {
        return;
    };
    let (world, folder) = (World::new(""), Folder::new());
    let (target, port, own) = (world.ip(1), format!("-p{}", world.sip().port()), world.ip(6));
    let answers = |engine: &Engine| {
        let metrics = engine.metrics().into_iter();
        let out = metrics.filter(|(name, _)| name.contains("sip_messages_total{direction=\"out\""));
        out.map(|(_, value)| value).sum::<f64>()
    };
    // Only the first tool lets itself be bound to an address; the others come from that of the machine.
    let mapping = Scan::start(&map, &folder, &["-b", &own, "-x", &own, &port, &target]);
    let dialling = Scan::start(&war, &folder, &["-e100-199", &port, &target]);
    let home = "127.0.0.1";
    let rows = world.banned(&[home, &own]);
    assert!(rows.iter().all(|row| row["by"] == "auto" && row["reason"] == "scanner"), "{rows:#?}");
    assert_eq!(answers(&world.engine), 0.0, "no answer leaves");
    assert_eq!(world.engine.metric("strowger_bans_active"), 2.0);
    let told = events(&world.engine, "ban.*", |found| found.len() >= 2);
    assert!(
        told.iter().all(|event| event["kind"] == "ban.added" && event["reason"] == "scanner"),
        "{told:#?}"
    );
    for _ in 0..20 {
        world.call();
    }
    let found = dialling.said();
    assert!(found.contains("found nothing"), "{found}");
    said(&world.engine, &["bans", "remove", home]);
    let cracking = Scan::start(&crack, &folder, &["-u", "2001", "-r1000-1099", &port, &target]);
    world.banned(&[home, &own]);
    drop(cracking);
    let found = mapping.said();
    assert!(found.contains("found nothing"), "{found}");
    world.engine.wait_idle();
    assert!(world.engine.wait_cdrs(40).iter().all(|cdr| cdr["final_status"] == 200));

    // Who answers is found: the tool is able to.
    let open = World::new("answer = \"403\"\nban_after = 0\nscanners = false");
    let (target, port, own) = (open.ip(1), format!("-p{}", open.sip().port()), open.ip(6));
    let found = Scan::start(&map, &folder, &["-b", &own, "-x", &own, &port, &target]).said();
    assert!(found.contains(&target) && !found.contains("found nothing"), "{found}");
    open.banned(&[]);
}

#[test]
fn unknown_sources_are_answered_as_configured_and_never_forwarded() {
    // With `attack`, one more text is for who claims to be of our domain: there is none until phones can register.
    for (answer, expected) in
        [("silent", ""), ("403", "SIP/2.0 403 "), ("attack", "SIP/2.0 500 Attack!!\r\n")]
    {
        let world = World::new(&format!("answer = \"{answer}\"\nban_after = 0"));
        let stranger = world.stranger(6);
        let invite = stranger.phone.invite(world.sip(), NUMBER, "plain");
        stranger.phone.send(world.sip(), &invite);
        if !expected.is_empty() {
            let refusal = stranger.phone.receive();
            assert!(refusal.starts_with(expected), "{answer}: {refusal}");
            assert_eq!(field(&refusal, "CSeq"), "1 INVITE");
            stranger.phone.send(world.sip(), Phone::ack(&invite, &refusal));
        }
        stranger.hears_nothing();
        world.nobody_was_called();
        assert!(world.engine.calls().is_empty() && world.engine.cdrs().is_empty());
        let line = format!("Attack from {}!!!", stranger.phone.address());
        wait_for(&line, SOON, || (world.engine.log().contains(&line) == (answer == "attack")).then_some(()));
        world.call();
        world.banned(&[]);
    }
}

#[test]
fn who_asks_too_often_is_banned_for_a_while_and_heard_again() {
    let world = World::new("answer = \"403\"\nban_after = 4\nban = \"2s\"");
    let (stranger, other) = (world.stranger(6), world.stranger(7));
    for id in ["one", "two", "three"] {
        let invite = stranger.phone.invite(world.sip(), NUMBER, id);
        stranger.phone.send(world.sip(), &invite);
        let refusal = stranger.phone.receive();
        assert_eq!(status(&refusal), 403);
        // What ends a call that was counted is not counted again.
        stranger.phone.send(world.sip(), Phone::ack(&invite, &refusal));
    }
    world.banned(&[]);
    assert_eq!(stranger.asks("four"), 0, "the fourth bans, and who is banned hears nothing");
    let rows = world.banned(&[&world.ip(6)]);
    assert_eq!((&rows[0]["by"], &rows[0]["reason"]), (&"auto".into(), &"unknown_request".into()));
    assert_eq!((stranger.asks("five"), other.asks("other")), (0, 403), "others are heard");
    let told =
        events(&world.engine, "ban.*", |found| found.iter().any(|event| event["kind"] == "ban.expired"));
    assert!(told.iter().all(|event| event["net"] == world.ip(6)), "{told:#?}");
    world.banned(&[]);
    assert_eq!(
        [stranger.asks("again"), stranger.asks("and"), stranger.asks("again")],
        [403; 3],
        "it begins anew"
    );
    world.banned(&[]);
    world.call();
}

#[test]
fn operators_ban_addresses_and_networks_and_a_restart_forgets_none() {
    let unknown = "answer = \"403\"\nban_after = 0";
    let world = World::new(unknown);
    let (engine, one, four) = (&world.engine, world.ip(4), world.ip(6));
    // Addresses 6 and 7 of the test, and no trunk.
    let pair = format!("{four}/31");
    assert!(
        said(engine, &["bans", "add", &pair, "--for", "1h", "--reason", "scans"]).contains("is banned until")
    );
    let (code, body) = world.ban(&serde_json::json!({"address": one, "ttl": "1h", "reason": "by hand"}));
    assert_eq!(code, 201, "{body}");
    let listed = said(engine, &["bans", "list"]);
    assert!(listed.contains(&pair) && listed.contains("scans") && listed.contains("operator"), "{listed}");
    let strangers = [world.stranger(4), world.stranger(6), world.stranger(7), world.stranger(5)];
    let asks = |id: &str| strangers.each_ref().map(|stranger| stranger.asks(id));
    assert_eq!(asks("banned"), [0, 0, 0, 403]);
    wait_for("the ban to be told", SOON, || (engine.metric("strowger_bans_active") == 2.0).then_some(()));

    // A trunk's own address, or a network with one, is refused with the reason.
    let (trunk, all) = (world.ip(2), format!("{}/29", world.ip(0)));
    for net in [&trunk, &all] {
        let (code, body) = world.ban(&serde_json::json!({"address": net}));
        assert_eq!(code, 409, "{body}");
        assert!(body.contains("trunk") && body.contains("calls from"), "{body}");
        let output = strowger(engine, &["bans", "add", net]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains("calls from"), "{error}");
    }
    // Who insists is obeyed.
    assert!(said(engine, &["bans", "add", &trunk, "--force"]).contains("is banned"));
    world.a.invite(world.sip(), NUMBER, &audio((world.net.ip(2), 4000).into()));
    assert!(world.b.expect_within("INVITE", QUIET).is_none(), "a banned trunk is not heard");
    assert!(world.a.expect_within("100 INVITE", Duration::ZERO).is_none(), "nor answered");
    said(engine, &["bans", "remove", &trunk]);
    world.banned(&[&one, &pair]);
    world.call();

    let World { net, mut engine, a, b } = world;
    engine.signal("TERM");
    engine.wait_end(SOON);
    let config = std::fs::read_to_string(engine.config_file()).expect("readable");
    let (_, config) = config.split_once('\n').expect("the line of the API");
    let port = engine.sip(0).port();
    let config = config.replacen(&format!("udp:{}:0", net.ip(1)), &format!("udp:{}:{port}", net.ip(1)), 1);
    let world = World { net, engine: Engine::start_in(engine.kill(), &config, &[]), a, b };
    let rows = world.banned(&[&one, &pair]);
    assert!(rows.iter().all(|row| row["by"] == "operator" && row["until"].is_string()), "{rows:#?}");
    assert_eq!(asks("still"), [0, 0, 0, 403]);
    said(&world.engine, &["bans", "remove", &pair]);
    wait_for("the network to be heard again", SOON, || (asks("free") == [0, 403, 403, 403]).then_some(()));
    world.banned(&[&one]);
    world.call();
}

#[test]
fn a_trunk_is_never_banned_by_itself_whatever_it_sends() {
    const REQUESTS: usize = 2_000;
    let world = World::new("flood = \"50/s\"\nban_after = 1");
    let (sip, hand) = (world.sip(), Phone::at((world.net.ip(2), 0)));
    let me = world.a.address();
    for n in 0..REQUESTS {
        // From the trunk's port, and from another one of its address.
        let id = format!("much{n}");
        let request =
            hand.request("OPTIONS", &format!("sip:{sip}"), &id, 1, "User-Agent: friendly-scanner\r\n", "");
        let as_trunk = request.replace(&hand.address().to_string(), &me.to_string());
        world.a.send_raw(sip, as_trunk.as_bytes());
        if n % 5 == 0 {
            hand.send(sip, &request);
            hand.send(sip, "INVITE sip:x SIP/2.0\r\nVia: what?\r\n\r\n");
            world.a.send_raw(sip, b"INVITE sip:x SIP/2.0\r\nCSeq: -1 \xff\r\n\r\n");
            world.a.send_raw(sip, &[0xff; 200]);
        }
    }
    for _ in 0..20 {
        world.way().is_refused("999", 404);
    }
    world.call();
    world.banned(&[]);
    assert_eq!(world.engine.metric("strowger_bans_active"), 0.0);
    // The same from nobody is punished at once.
    world.stranger(6).sends("OPTIONS", "once", "");
    world.banned(&[&world.ip(6)]);
}

#[test]
fn a_flood_bans_its_source_and_no_other() {
    let world = World::new("answer = \"403\"\nflood = \"20/s\"\nban_after = 0");
    let (flood, calm) = (world.stranger(6), world.stranger(7));
    for n in 0..100 {
        flood.sends("OPTIONS", &format!("flood{n}"), "");
    }
    assert_eq!(calm.asks("calm"), 403);
    let rows = world.banned(&[&world.ip(6)]);
    assert_eq!((&rows[0]["by"], &rows[0]["reason"]), (&"auto".into(), &"flood".into()));
    let answered = (0..100).take_while(|_| flood.phone.receive_within(QUIET).is_some()).count();
    assert!((20..60).contains(&answered), "{answered} of the flood were answered before the ban");
    assert_eq!((flood.asks("late"), calm.asks("still")), (0, 403));
    world.call();
}

#[test]
fn a_host_of_ipv6_is_banned_with_its_whole_network() {
    let world = World::listening("\"udp:IP1:0\", \"udp:[::1]:0\"", "answer = \"403\"\nban_after = 2");
    let stranger =
        || Stranger { phone: Phone::at((std::net::Ipv6Addr::LOCALHOST, 0)), to: world.engine.sip(1) };
    assert_eq!((stranger().asks("one"), stranger().asks("two")), (403, 0));
    world.banned(&["::/64"]);
    assert_eq!((stranger().asks("three"), world.stranger(6).asks("other")), (0, 403));
    said(&world.engine, &["bans", "remove", "::/64"]);
    assert_eq!(stranger().asks("four"), 403, "it is heard again, and begins anew");
    world.banned(&[]);
}

#[test]
fn what_is_malformed_is_counted_and_bans_without_an_answer() {
    let world = World::new("answer = \"403\"");
    let stranger = world.stranger(6);
    let bad = [
        "INVITE sip:x SIP/2.0\r\n\r\n".to_owned(),
        stranger.phone.request("INVITE", "sip:x@y", "bad", 1, "", "").replacen("CSeq: 1", "CSeq: -1", 1),
        "OPTIONS sip:x SIP/2.0\r\nVia: \0\r\n\r\n".to_owned(),
    ];
    // What does not even begin like SIP is not worth a count against anybody.
    for junk in [&[0u8; 4][..], b"\r\n\r\n", &[0x80; 300], b"GET / HTTP/1.1\r\n\r\n"] {
        stranger.phone.send(world.sip(), junk);
    }
    let dropped = "strowger_sip_unknown_dropped_total";
    wait_for("the junk to be counted", SOON, || (world.engine.metric(dropped) >= 2.0).then_some(()));
    world.banned(&[]);
    for message in &bad {
        stranger.phone.send(world.sip(), message);
    }
    let rows = world.banned(&[&world.ip(6)]);
    assert_eq!(rows[0]["reason"], "malformed", "{rows:#?}");
    assert_eq!(world.engine.metric("strowger_sip_parse_errors_total"), 3.0);
    stranger.hears_nothing();
    world.call();
    world.engine.wait_idle();
}

#[test]
fn the_tarpit_holds_strangers_to_its_cap_and_lets_them_go() {
    const CAP: usize = 4;
    let world = World::new("answer = \"divert:tarpit\"\ndivert_calls = 4\ndivert_duration = \"2s\"");
    let ear = Wire::at(world.net.ip(6));
    let offer = audio(ear.address());
    let attackers: Vec<Softphone> = (0..=CAP).map(|_| Softphone::at((world.net.ip(6), 0))).collect();
    let began = Instant::now();
    let mut dialogs: Vec<_> =
        attackers[..CAP].iter().map(|phone| phone.invite(world.sip(), NUMBER, &offer)).collect();
    for (phone, dialog) in attackers.iter().zip(&mut dialogs) {
        let ok = phone.expect("200 INVITE");
        assert_eq!(ok.media(0), (world.net.ip(1), 9).into(), "media leads nowhere: {}", ok.text);
        phone.ack(dialog, &ok);
        ear.rtp.send(ok.media(0), &[0x80; 172]);
    }
    let late = &attackers[CAP];
    late.invite(world.sip(), NUMBER, &offer);
    assert!(late.expect_within("200 INVITE", QUIET).is_none(), "there is no place: silence");
    // One hangs up: its place is free.
    attackers[0].request(&mut dialogs[0], "BYE", "");
    attackers[0].expect("200 BYE");
    let mut dialog = late.invite(world.sip(), NUMBER, &offer);
    let ok = late.expect("200 INVITE");
    late.ack(&mut dialog, &ok);
    // The trunks' calls have nothing to do with that cap.
    world.call();
    for phone in &attackers[1..] {
        phone.expect_bye();
    }
    let held = began.elapsed();
    assert!(held >= Duration::from_secs(2) && held < Duration::from_secs(5), "held for {held:?}");
    ear.rtp.expect_silence();
    world.nobody_was_called();
    let cdrs = world.engine.wait_cdrs(CAP + 1 + 2);
    let diverted: Vec<_> = cdrs.iter().filter(|cdr| cdr["release_cause"] == "diverted").collect();
    assert_eq!(diverted.len(), CAP + 1, "{cdrs:#?}");
    let by_caller = diverted.iter().filter(|cdr| cdr["release_by"] == "caller").count();
    assert_eq!(by_caller, 1, "the others were let go: {diverted:#?}");
    assert!(diverted.iter().all(|cdr| cdr["billable"] == false), "{diverted:#?}");
    assert_eq!(world.engine.metric("strowger_calls_diverted_total"), (CAP + 1) as f64);
    world.banned(&[]);
    world.engine.wait_idle();
}

/// A flood of calls, each from another of a network's addresses, until it is dropped.
struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Flood {
    fn start(to: SocketAddr, rate: u64) -> Flood {
        let (stop, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (told, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = std::thread::spawn(move || {
            let phones: Vec<Phone> = (1..=50).map(|n| Phone::at((Ipv4Addr::new(127, 0, 9, n), 0))).collect();
            let began = Instant::now();
            for n in 0usize.. {
                if told.load(Ordering::Relaxed) {
                    break;
                }
                let phone = &phones[n % phones.len()];
                phone.send(to, phone.invite(to, NUMBER, &format!("flood{n}")));
                count.store(n + 1, Ordering::Relaxed);
                let due = Duration::from_micros(n as u64 * 1_000_000 / rate);
                std::thread::sleep(due.saturating_sub(began.elapsed()));
            }
        });
        Flood { stop, sent, thread: Some(thread) }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[test]
fn calls_are_set_up_as_fast_while_strangers_are_diverted() {
    const CALLS: usize = 400;
    let world = World::new("answer = \"divert:tarpit\"\nflood = \"off\"");
    let slowest = || {
        let mut took: Vec<Duration> = (0..CALLS).map(|_| world.call()).collect();
        took.sort();
        took[CALLS * 99 / 100 - 1]
    };
    let before = slowest();
    let flood = Flood::start(world.sip(), 1_000);
    let diverted = || world.engine.metric("strowger_calls_diverted_total");
    wait_for("the tarpit to be full", SOON, || (diverted() >= 20.0).then_some(()));
    let meanwhile = slowest();
    let sent = flood.sent.load(Ordering::Relaxed);
    drop(flood);
    eprintln!("p99 of call set-up: {before:?} alone, {meanwhile:?} with {sent} calls of strangers");
    assert!(sent > 100, "{sent}");
    assert_eq!(diverted(), 20.0, "the cap holds, whoever never says ACK");
    // As many threads as a small machine has processors share them with all other tests.
    assert!(
        meanwhile < before * 3 + Duration::from_millis(60),
        "{before:?} alone, {meanwhile:?} with a flood"
    );
    world.nobody_was_called();
    let cdrs = world.engine.wait_cdrs(4 * CALLS);
    assert!(cdrs.iter().all(|cdr| cdr["final_status"] == 200 && cdr["release_cause"] != "diverted"));
}
