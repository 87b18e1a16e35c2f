//! Single messages, right and wrong, sent to a running engine: what each is answered, and that it goes on answering.

use crate::support::{Engine, Net, PAIR, Phone, field, status};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

struct Bench {
    engine: Engine,
    phone: Phone,
    asked: std::cell::Cell<u32>,
}

impl Bench {
    fn new() -> Bench {
        let net = Net::new();
        let engine = Engine::start(&net.fill(PAIR));
        let phone = Phone::at((net.ip(2), 5060));
        // Nobody is at the carrier's address, so that calls end at once.
        Bench { engine, phone, asked: 0.into() }
    }

    fn sip(&self) -> SocketAddr {
        self.engine.sip(0)
    }

    /// Statuses of the responses to one datagram, without 100. An OPTIONS behind it says when the engine has seen it,
    /// for whatever it sends at once leaves in order.
    fn answers(&self, bytes: &[u8]) -> Vec<u16> {
        let mark = format!("mark{}", self.asked.replace(self.asked.get() + 1));
        self.phone.send(self.sip(), bytes);
        let options = self.phone.request("OPTIONS", &format!("sip:{}", self.sip()), &mark, 1, "", "");
        self.phone.send(self.sip(), options);
        let mut answers = Vec::new();
        loop {
            let message = self.phone.receive();
            if field(&message, "Call-ID").starts_with(&mark) {
                assert_eq!(status(&message), 200, "OPTIONS is still answered");
                return answers;
            }
            let code = status(&message);
            // Refusals of earlier messages are repeated until somebody acknowledges them: nobody does here.
            if code > 100 && field(&message, "Call-ID") == call_id(bytes) {
                answers.push(code);
            }
        }
    }
}

/// The Call-ID as the engine copies it.
fn call_id(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).replace("\r\n ", " ").replace("\r\n\t", " ");
    let mut lines = text.split("\r\n").filter_map(|line| line.split_once(':'));
    let found = lines.find(|(name, _)| ["call-id", "i"].contains(&name.trim().to_ascii_lowercase().as_str()));
    found.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

/// The message with a branch and a Call-ID that no other message of the run has: stored ones share theirs, and would
/// be taken for repetitions (RFC 3261 section 17.2.3) or merged requests (section 8.2.2.2).
fn made_unique(bytes: &[u8], number: usize) -> Vec<u8> {
    const COOKIE: &[u8] = b"z9hG4bK";
    let head = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(bytes.len());
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        // A bare cookie stays bare: that is what its message is about.
        let names_branch =
            rest.starts_with(COOKIE) && !matches!(rest.get(COOKIE.len()), Some(b'\r' | b';' | b',') | None);
        if at < head && names_branch {
            out.extend_from_slice(COOKIE);
            out.extend(format!("u{number}u").bytes());
            at += COOKIE.len();
        } else if at < head && rest.starts_with(b"own@") {
            out.extend(format!("own{number}@").bytes());
            at += "own@".len();
        } else {
            out.push(rest[0]);
            at += 1;
        }
    }
    out
}

/// Rows of `tests/data/sip/TABLE`: file and the status that the message earns, if any.
fn table(name: &str) -> Vec<(String, Option<u16>)> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sip").join(name);
    let text = std::fs::read_to_string(file).expect("the table is there");
    let rows = text.lines().skip(1).map(|line| {
        let columns: Vec<&str> = line.split(',').collect();
        (columns[0].to_owned(), columns[3].parse().ok())
    });
    rows.collect()
}

/// Sends every message of a folder, and compares what comes back with the table.
fn check(folder: &Path, rows: &[(String, Option<u16>)]) {
    let bench = Bench::new();
    let mut wrong = Vec::new();
    for (number, (file, earned)) in rows.iter().enumerate() {
        let bytes = std::fs::read(folder.join(file)).expect("a row has its file");
        let bytes = made_unique(&bytes, number);
        let method = bytes.split(|b| *b == b' ').next().unwrap_or_default();
        let answers = bench.answers(&bytes);
        let right = match (method, earned) {
            // A response is nobody's; it is let go, whatever it says.
            (b"SIP/2.0", _) => answers.is_empty(),
            // A proxy refuses it; one whose hops end at us has found us, as the RFC allows.
            (b"OPTIONS", None | Some(483)) => answers == [200],
            (_, Some(code)) => answers == [*code],
            // Until there is a registrar.
            (b"REGISTER", None) => answers == [405],
            (b"MESSAGE", None) => answers == [405],
            // A call, whose end comes later.
            (_, None) => !answers.contains(&400),
        };
        if !right {
            wrong.push(format!("{file}: expected {earned:?}, got {answers:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} messages:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    bench.engine.wait_idle();
}

#[test]
fn our_own_torture_messages_get_what_they_earn_and_the_engine_goes_on() {
    let rows = table("expectations.csv");
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sip"), &rows);
}

#[test]
fn messages_of_rfc_4475_get_what_they_earn_and_the_engine_goes_on() {
    let rows = table("rfc4475.csv");
    assert_eq!(rows.len(), 49, "none left out");
    let Some(folder) = corpus("sip/rfc4475") else { return };
    check(&folder, &rows);
}

/// A folder of `../shared/testdata`, or of STROWGER_TESTDATA. Its absence is said loudly.
fn corpus(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("STROWGER_TESTDATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/testdata"), PathBuf::from);
    let folder = root.join(name);
    if !folder.is_dir() {
        eprintln!("ABSENT CORPUS: {} is not there, so this test checks nothing", folder.display());
        return None;
    }
    Some(folder)
}

#[test]
fn lying_lengths_and_noise_hurt_nobody() {
    let bench = Bench::new();
    let sip = bench.sip();
    let good = bench.phone.request("OPTIONS", &format!("sip:{sip}"), "length", 1, "", "");
    let with = |lengths: &str| good.replacen("Content-Length: 0\r\n", lengths, 1);
    let cases: [(String, &[u16]); 8] = [
        (with("Content-Length: 9999\r\n"), &[400]),
        (with("Content-Length: -1\r\n"), &[400]),
        (with("Content-Length: 0\r\nContent-Length: 5\r\n"), &[400]),
        (with("Content-Length: 0x10\r\n"), &[400]),
        (with("Content-Length: 99999999999999999999\r\n"), &[400]),
        (with("Content-Length : 0\r\n"), &[200]),
        (with(""), &[200]),
        (good.replacen("Max-Forwards: 70", "Max-Forwards: 256", 1), &[400]),
    ];
    for (number, (text, expected)) in cases.iter().enumerate() {
        let text = text.replace("length1OPTIONS", &format!("length{number}OPTIONS"));
        let text = text.replace("Call-ID: length", &format!("Call-ID: length{number}"));
        assert_eq!(bench.answers(text.as_bytes()), *expected, "{text}");
    }
    let mut noise = vec![Vec::new(), b"\r\n\r\n".to_vec(), vec![0; 1_500], vec![0xff; 65_000]];
    noise.extend((1..good.len()).step_by(7).map(|len| good.as_bytes()[..len].to_vec()));
    for bytes in noise {
        let _ = bench.answers(&bytes);
    }
    bench.engine.wait_idle();
}

#[test]
fn replies_are_never_reordered() {
    const BURST: u32 = 100;
    let bench = Bench::new();
    let sip = bench.sip();
    for number in 0..BURST {
        // Now and then a refusal among them, which takes another way.
        let number_called = if number % 3 == 0 { "" } else { "sip@" };
        let uri = format!("sip:{number_called}{sip}");
        bench.phone.send(sip, bench.phone.request("OPTIONS", &uri, "order", number, "", ""));
    }
    let order: Vec<String> = (0..BURST).map(|_| field(&bench.phone.receive(), "CSeq")).collect();
    let sent: Vec<String> = (0..BURST).map(|number| format!("{number} OPTIONS")).collect();
    assert_eq!(order, sent);
    bench.engine.wait_idle();
}

#[test]
fn a_reply_goes_to_where_the_request_came_from() {
    let net = Net::new();
    let engine = Engine::start(&net.fill(&PAIR.replace("\"IP2:5060\"", "\"IP2\"")));
    let sip = engine.sip(0);
    let phone = Phone::at((net.ip(2), 0));
    // The Via names an address behind a NAT; `rport` asks for the port that the datagram came from (RFC 3581).
    let request = phone.request("OPTIONS", &format!("sip:{sip}"), "nat", 1, "", "");
    let request = request.replacen(&format!("UDP {}", phone.address()), "UDP 10.9.8.7:5060", 1);
    phone.send(sip, &request);
    let answer = phone.receive_within(Duration::from_secs(5)).expect("an answer").0;
    let via = field(&answer, "Via");
    assert!(via.contains(&format!("received={}", net.ip(2))), "{via}");
    assert!(via.contains(&format!("rport={}", phone.address().port())), "{via}");
    engine.wait_idle();
}
