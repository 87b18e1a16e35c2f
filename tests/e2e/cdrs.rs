//! Records of calls as their readers get them: by the API with filters and pages, and the same in files, database and
//! webhooks, whatever dies in between.

use crate::sipp_basic::{CALLEE, CALLER};
use crate::support::attempt::Way;
use crate::support::softphone::{Softphone, audio};
use crate::support::wire::{Wire, rtp};
use crate::support::{Engine, Folder, Net, Phone, SOON, Sipp, Stage, wait_for};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

struct World {
    engine: Engine,
    a: Softphone,
    b: Softphone,
    net: Net,
}

/// The PBX may call 1555…, for one a second.
fn world() -> World {
    let (net, folder) = (Net::new(), Folder::new());
    std::fs::write(folder.path().join("rates.csv"), "prefix,price,increment\n1555,60,5\n").expect("writable");
    let config = r#"
listener.main = { sip = "udp:IP1:0", media = "IP1:0" }
trunk.pbx = { address = "IP2:5060", policy = "domestic" }
trunk.carrier = "IP3:5060"
[policy.domestic]
destinations = { allow = ["1555"] }
rules = { spend = [100_000, 200_000] }
rates = "rates.csv"
[[route]]
name = "out"
from = "pbx"
via = "carrier"
"#;
    let phone = |n| Softphone::at((net.ip(n), 5060));
    World { engine: Engine::start_in(folder, &net.fill(config), &[]), a: phone(2), b: phone(3), net }
}

impl World {
    fn way(&self) -> Way<'_> {
        Way { a: &self.a, b: &self.b, engine: self.engine.sip(0) }
    }

    /// Answered, offered anew, and ended by the caller; busy; ended by the callee; forbidden. 2 + 2 + 2 + 1 records.
    fn day(&self) {
        let (way, media) = (self.way(), |n| audio((self.net.ip(n), 4002).into()));
        let mut call = way.connects("15550100");
        self.a.reinvite(&mut call.a, &self.b, &media(2), &media(3));
        way.ends(call);
        way.call_answered("2002", "15550101", 486).expect_err("the carrier is busy");
        let mut call = way.connects("15550102");
        self.b.hang_up(&mut call.b, &self.a);
        way.is_refused("15560103", 403);
    }

    fn query(&self, query: &str) -> Value {
        self.engine.json(&format!("/v1/cdrs?{query}"))
    }

    /// Records of a query.
    fn rows(&self, query: &str) -> Vec<Value> {
        self.query(query)["cdrs"].as_array().cloned().expect("a list")
    }

    fn waits_for_rows(&self, count: usize) {
        wait_for(&format!("{count} records in the database"), SOON, || {
            (self.rows("limit=1000").len() == count).then_some(())
        });
    }
}

fn ids<'v>(rows: impl IntoIterator<Item = &'v Value>) -> Vec<String> {
    rows.into_iter().map(|row| row["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn a_query_finds_the_records_of_one_leg_each_and_of_calls_only() {
    let world = world();
    world.day();
    // These are not calls.
    let phone = Phone::at((world.net.ip(2), 0));
    let to = world.engine.sip(0);
    world.a.send_raw(to, phone.request("OPTIONS", &format!("sip:{to}"), "options", 1, "", "").as_bytes());
    world.a.send_raw(to, phone.request("REGISTER", &format!("sip:{to}"), "register", 1, "", "").as_bytes());
    world.a.expect("200 OPTIONS");
    world.a.expect("405 REGISTER");
    world.engine.wait_idle();
    world.waits_for_rows(7);

    let first = world.rows("order=oldest&limit=1").remove(0);
    let (call, created) =
        (first["call_id"].as_str().expect("an id"), first["created"].as_str().expect("a time"));
    for (query, count) in [
        ("trunk=pbx", 4),
        ("trunk=carrier", 3),
        ("caller=2002", 2),
        ("callee=15550102", 2),
        ("callee=1555*", 6),
        ("cause=busy", 2),
        ("cause=normal", 4),
        ("status=486", 2),
        ("policy=domestic", 1),
        ("policy=domestic:%20not_e164", 1),
        ("policy=domes", 0),
        ("answered=true", 4),
        ("answered=false&trunk=pbx", 2),
        ("released_by=caller", 2),
        ("released_by=callee", 4),
        ("released_by=engine", 1),
        ("account=nobody", 0),
        (&format!("call={call}"), 2),
        (&format!("from={created}"), 7),
        (&format!("until={created}"), 0),
    ] {
        let found = world.rows(query);
        assert_eq!(found.len(), count, "{query}: {found:#?}");
    }
    // Who ended it, why, and for how much: begun steps of five seconds.
    let of_first = world.rows(&format!("call={call}&order=oldest"));
    for (leg, row) in of_first.iter().enumerate() {
        assert_eq!((&row["leg"], &row["release_by"]), (&leg.into(), &"caller".into()), "{row:#}");
        assert_eq!((&row["release_cause"], &row["billable"]), (&"normal".into(), &true.into()), "{row:#}");
    }
    assert_eq!(of_first[0]["cost"].as_f64(), Some(5.0), "{:#}", of_first[0]);
    assert_eq!(of_first[0]["price_per_minute"].as_f64(), Some(60.0));
    let refused = world.rows("policy=domestic").remove(0);
    assert_eq!(
        (&refused["final_status"], &refused["release_cause"]),
        (&403.into(), &"policy".into()),
        "{refused:#}"
    );
    assert_eq!((&refused["policy"], &refused["billable"]), (&"domestic: not_e164".into(), &false.into()));

    let bad = world.engine.get("/v1/cdrs?colour=red");
    assert_eq!(bad.status, 422, "{}", bad.body);
}

#[test]
fn pages_neither_repeat_nor_skip_while_calls_come_in() {
    let world = world();
    world.day();
    world.waits_for_rows(7);
    let whole = ids(&world.rows("limit=1000"));
    let (mut paged, mut after) = (Vec::new(), String::new());
    for page in 0.. {
        let answer = world.query(&format!("limit=2&count=true{after}"));
        let rows = answer["cdrs"].as_array().expect("a list");
        assert!(rows.len() <= 2 && page < 10, "{answer:#}");
        paged.extend(ids(rows));
        if page == 0 {
            assert_eq!(answer["count"], 7);
            world.way().is_refused("15560104", 403);
            world.waits_for_rows(8);
        }
        let Some(next) = answer["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(paged, whole);
}

#[test]
fn a_record_says_what_the_call_sounded_like() {
    const PACKETS: u16 = 60;
    let world = world();
    let (media_a, media_b) = (Wire::at(world.net.ip(2)), Wire::at(world.net.ip(3)));
    let (offer, answer) = (audio(media_a.address()), audio(media_b.address()));
    let mut call = world.a.connect(&world.b, world.engine.sip(0), "15550100", &offer, &answer);
    let (to_a, to_b) = (call.answered.media(0), call.offered.media(0));
    for n in 0..PACKETS {
        let time = u32::from(n) * 160;
        media_b.rtp.send(to_b, &rtp(0, n, time, 2, &[2; 160]));
        // Every tenth is lost on its way to us, every fourth is 40 ms off its time.
        if n % 10 != 5 {
            media_a.rtp.send(to_a, &rtp(0, n, time + if n % 4 == 1 { 320 } else { 0 }, 1, &[1; 160]));
            assert!(media_b.rtp.receive_within(SOON).is_some());
        }
        assert!(media_a.rtp.receive_within(SOON).is_some());
        std::thread::sleep(Duration::from_millis(20));
    }
    world.a.hang_up(&mut call.a, &world.b);
    world.engine.wait_idle();
    world.waits_for_rows(2);
    let quality = |leg| world.rows(&format!("trunk={leg}"))[0]["quality"].clone();
    let (bad, good) = (quality("pbx"), quality("carrier"));
    let lost = u64::from(PACKETS / 10);
    assert_eq!((bad["lost"].as_u64(), good["lost"].as_u64()), (Some(lost), Some(0)), "{bad:#} {good:#}");
    assert_eq!(bad["received"].as_u64(), Some(u64::from(PACKETS) - lost));
    assert_eq!(bad["sent"].as_u64(), Some(u64::from(PACKETS)));
    assert!(bad["jitter_max_us"].as_u64().is_some_and(|us| us > 5_000), "{bad:#}");
    let mos = |quality: &Value| quality["mos"].as_f64().expect("a score");
    assert!(1.0 <= mos(&bad) && mos(&bad) + 0.3 < mos(&good) && mos(&good) <= 4.5, "{bad:#} {good:#}");
    assert_eq!((&bad["one_way"], &good["one_way"]), (&false.into(), &false.into()));
}

/// A web server that takes records.
struct Hook {
    got: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Hook {
    /// Listens there, from now on.
    fn at(address: SocketAddr) -> Hook {
        let listener = TcpListener::bind(address).expect("the test's own address is free");
        let (got, stop) = (Arc::<Mutex<Vec<_>>>::default(), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::spawn({
            let (got, stop) = (Arc::clone(&got), Arc::clone(&stop));
            move || {
                for stream in listener.incoming().flatten() {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let _ = stream.set_read_timeout(Some(SOON));
                    let mut reader = BufReader::new(stream);
                    let mut len = 0;
                    for line in
                        reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty())
                    {
                        let name_and_value =
                            line.split_once(':').map(|(n, v)| (n.to_lowercase(), v.trim().to_owned()));
                        if let Some(("content-length", value)) =
                            name_and_value.as_ref().map(|(n, v)| (n.as_str(), v))
                        {
                            len = value.parse().expect("a length");
                        }
                    }
                    let mut body = vec![0; len];
                    if reader.read_exact(&mut body).is_err() {
                        continue;
                    }
                    let records: Vec<Value> = serde_json::from_slice(&body).expect("an array of records");
                    got.lock().expect("not poisoned").extend(ids(&records));
                    let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
                    let _ = reader.get_mut().write_all(answer);
                }
            }
        });
        Hook { got, stop, address, thread: Some(thread) }
    }

    /// Ids in the order in which they came.
    fn got(&self) -> Vec<String> {
        self.got.lock().expect("not poisoned").clone()
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = std::net::TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Records in JSON lines, CSV, and at a web server, whose address is free.
fn sinks(net: Net) -> (SocketAddr, String) {
    let listener = TcpListener::bind((net.ip(5), 0)).expect("an address of the test");
    let hook = listener.local_addr().expect("bound");
    (hook, format!("engine.cdr = [\"jsonl:cdr.jsonl\", \"csv:cdr.csv\", \"webhook:http://{hook}/calls\"]\n"))
}

/// The first column, below its name.
fn of_csv(folder: &std::path::Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("cdr.csv")).unwrap_or_default();
    let mut lines = text.split_terminator("\r\n").map(|line| line.split(',').next().unwrap_or_default());
    assert_eq!(lines.next(), Some("id"));
    lines.map(str::to_owned).collect()
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

/// Every sink has these, each once.
fn all_have(engine: &Engine, hook: &Hook, wanted: &[String]) {
    let sinks = || {
        let rows = engine.json("/v1/cdrs?limit=1000");
        let database = ids(rows["cdrs"].as_array().expect("a list"));
        [ids(&engine.cdrs()), of_csv(engine.folder()), database, hook.got()].map(sorted)
    };
    let end = std::time::Instant::now() + SOON;
    while sinks().iter().any(|ids| ids != wanted) {
        assert!(std::time::Instant::now() < end, "wanted {wanted:#?}, but they have {:#?}", sinks());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn all_sinks_get_the_same_records_even_if_one_was_away() {
    let net = Net::new();
    let (address, settings) = sinks(net);
    let Some(stage) = Stage::with(&format!("{settings}{}", crate::support::PAIR)) else { return };
    let callee = stage.uas(CALLEE).calls(5, 50).start();
    let caller = stage.uac(CALLER).calls(5, 50).start();
    Sipp::all_pass([caller, callee]);
    let wanted = sorted(ids(&stage.engine.wait_cdrs(10)));
    wait_for("a post that fails", SOON, || {
        let posts = stage.engine.metrics();
        let failed =
            posts.iter().find(|(name, _)| name.contains("cdr_webhook_total") && name.contains("failed"));
        failed.is_some_and(|(_, count)| *count >= 1.0).then_some(())
    });
    let hook = Hook::at(address);
    all_have(&stage.engine, &hook, &wanted);
    stage.engine.wait_idle();
}

#[test]
fn a_killed_engine_loses_no_record_of_a_call_that_was_answered() {
    let net = Net::new();
    let (address, settings) = sinks(net);
    let config = format!("{settings}{}", crate::support::PAIR);
    let Some(stage) = Stage::with(&config) else { return };
    let callee = stage.uas(CALLEE).calls(200, 50).start();
    let caller = stage.uac(CALLER).calls(200, 50).start();
    wait_for("records of some calls while others are up", SOON, || {
        (stage.engine.cdrs().len() >= 20).then_some(())
    });
    let Stage { net, engine } = stage;
    let folder = engine.kill();
    let before = {
        let text = std::fs::read_to_string(folder.path().join("cdr.jsonl")).expect("there are records");
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let rows: Vec<Value> =
            whole.lines().map(|line| serde_json::from_str(line).expect("a record")).collect();
        ids(&rows)
    };
    let ended = call_ids_of_ended(&caller.messages());
    drop((caller, callee));
    assert!(ended.len() >= 5, "{ended:?}");

    let engine = Engine::start_in(folder, &net.fill(&config), &[]);
    let hook = Hook::at(address);
    // What was up is told by now, too.
    let rows = wait_for("a record of each call that was answered", SOON, || {
        let rows = engine.cdrs();
        let told: BTreeSet<_> = rows.iter().filter_map(|row| row["sip_call_id"].as_str()).collect();
        ended.iter().all(|call| told.contains(call.as_str())).then_some(rows)
    });
    let wanted = sorted(ids(&rows));
    assert!(before.iter().all(|id| wanted.contains(id)), "{before:#?}");
    all_have(&engine, &hook, &wanted);
}

/// Call-IDs of calls whose BYE the engine has answered.
fn call_ids_of_ended(messages: &str) -> BTreeSet<String> {
    let heads = messages.split("SIP/2.0 200 ").skip(1);
    let field = |head: &str, name: &str| {
        let mut lines = head.lines().take_while(|line| !line.trim().is_empty());
        lines.find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
    };
    let byes = heads.filter(|head| field(head, "CSeq:").is_some_and(|cseq| cseq.ends_with(" BYE")));
    byes.filter_map(|head| field(head, "Call-ID:")).collect()
}
