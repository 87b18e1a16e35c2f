//! Traffic that nobody has asked for, beside the calls: what scanners, guessers and broken devices send. Each message
//! is made from a seed; a thread sends them at intended times from an address of its own and counts what comes back.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use base::Rng;
use serde::Serialize;
use sip::frame::Framing;
use sip::message::Message;

use crate::figures::{Percentiles, Times};
use crate::profile::{Gaps, Profile, Shape};
use crate::sys::{self, Inbox, Target};

/// How a system is attacked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Attack {
    /// From where: an address that the system does not know as anybody's.
    pub from: SocketAddr,
    /// Messages a second.
    pub rate: f64,
}

/// What was sent, and what came back.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Messages sent, by trick.
    pub sent: BTreeMap<&'static str, u64>,
    /// Messages that the kernel did not take.
    pub send_errors: u64,
    /// Replies, by status; `request` for requests, `other` for what is no SIP.
    pub replies: BTreeMap<String, u64>,
    /// Intended to actual time of sending.
    pub lateness: Percentiles,
    /// Datagrams that the kernel dropped at the attacker's socket.
    pub own_drops: u64,
}

/// Whether traffic to `target` surely stays on this machine: loopback alone. A network namespace may have a way out.
pub fn stays_here(target: IpAddr) -> bool {
    target.to_canonical().is_loopback()
}

/// The names of what is sent, in turn.
const TRICKS: [&str; 10] =
    ["noise", "cut", "bent", "endless", "lies", "scan", "stranger", "guess", "orphan", "answer"];

/// Message number `index`, from `local` to `target`; and its trick.
pub fn message(index: u64, local: SocketAddr, target: SocketAddr, rng: &mut Rng) -> (&'static str, Vec<u8>) {
    let trick = TRICKS[(index % TRICKS.len() as u64) as usize];
    let sdp = sdp(local.ip());
    let invite = |rng: &mut Rng| {
        request("INVITE", "", "Content-Type: application/sdp\r\n", sdp.as_bytes(), local, target, rng)
    };
    let bytes = match trick {
        "noise" => (0..1 + rng.below(1_200)).map(|_| rng.u32() as u8).collect(),
        "cut" => {
            let mut bytes = invite(rng);
            bytes.truncate(rng.below(bytes.len() as u64) as usize);
            bytes
        }
        "bent" => {
            let mut bytes = invite(rng);
            for _ in 0..=rng.below(8) {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] = rng.u32() as u8;
            }
            bytes
        }
        "endless" => {
            let header = format!("X-Long: {}\r\n", "a,".repeat(1_000 + rng.below(6_000) as usize));
            request("OPTIONS", "", &header, b"", local, target, rng)
        }
        "lies" => {
            const LIES: [&str; 5] = [
                "Content-Length: 4000000000\r\n",
                "Content-Length: -1\r\n",
                "CSeq: 99999999999 INVITE\r\n",
                "Max-Forwards: 0\r\n",
                "Require: everything\r\n",
            ];
            request("INVITE", "", LIES[rng.below(5) as usize], sdp.as_bytes(), local, target, rng)
        }
        "scan" => request("OPTIONS", "", "User-Agent: friendly-scanner\r\n", b"", local, target, rng),
        "stranger" => invite(rng),
        "guess" => request("REGISTER", "", "Expires: 60\r\n", b"", local, target, rng),
        "orphan" => {
            const METHODS: [&str; 5] = ["BYE", "CANCEL", "ACK", "UPDATE", "NOTIFY"];
            request(METHODS[rng.below(5) as usize], ";tag=nobody", "", b"", local, target, rng)
        }
        _ => {
            let bytes = request("INVITE", ";tag=nobody", "", b"", local, target, rng);
            let line_end = bytes.windows(2).position(|two| two == b"\r\n").unwrap_or(0);
            [b"SIP/2.0 200 OK", &bytes[line_end..]].concat()
        }
    };
    (trick, bytes)
}

/// Media of whoever takes it goes to the attacker, never to a third party.
fn sdp(ip: IpAddr) -> String {
    let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
    format!(
        "v=0\r\no=- 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n"
    )
}

fn request(
    method: &str,
    to_tag: &str,
    header: &str,
    body: &[u8],
    local: SocketAddr,
    target: SocketAddr,
    rng: &mut Rng,
) -> Vec<u8> {
    let mut token = Vec::new();
    rng.token(10, &mut token);
    let token = String::from_utf8(token).expect("tokens are ASCII");
    let user = 100 + rng.below(9_900);
    let own = |name: &str| header.starts_with(name);
    let cseq = if own("CSeq") { String::new() } else { format!("CSeq: 1 {method}\r\n") };
    let length =
        if own("Content-Length") { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let forwards = if own("Max-Forwards") { "" } else { "Max-Forwards: 70\r\n" };
    let mut bytes = format!(
        "{method} sip:{user}@{target} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK{token};rport\r\n\
         From: <sip:{user}@{target}>;tag={token}\r\nTo: <sip:{user}@{target}>{to_tag}\r\nCall-ID: {token}@stranger\r\n\
         {cseq}{forwards}Contact: <sip:{user}@{local}>\r\n{header}{length}\r\n"
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// An attack that goes on.
#[derive(Debug)]
pub struct Assault {
    thread: JoinHandle<Report>,
    stop: Arc<AtomicBool>,
}

impl Assault {
    /// Attacks `target` until it is told to stop.
    ///
    /// # Errors
    /// The address cannot be bound, no thread left.
    pub fn start(attack: Attack, target: SocketAddr, mut rng: Rng) -> io::Result<Assault> {
        let socket = sys::udp_socket(attack.from, 1 << 20)?;
        let local = socket.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let its_stop = Arc::clone(&stop);
        // Longer than any run; the end comes from outside.
        let profile = Profile::new(Shape::Steady, attack.rate, Duration::from_secs(100 * 24 * 3_600));
        let times = profile.arrivals(Gaps::Poisson, rng.fork());
        let thread = thread::Builder::new().name("load-attack".to_owned()).spawn(move || {
            sys::sharpen_thread(None);
            drive(&socket, local, target, times, &mut rng, &its_stop)
        })?;
        Ok(Assault { thread, stop })
    }

    /// Ends it.
    ///
    /// # Panics
    /// If its thread did.
    pub fn stop(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the attacker's thread does not panic")
    }
}

fn drive(
    socket: &UdpSocket,
    local: SocketAddr,
    target: SocketAddr,
    times: impl Iterator<Item = u64>,
    rng: &mut Rng,
    stop: &AtomicBool,
) -> Report {
    let (mut report, mut lateness, mut inbox) = (Report::default(), Times::default(), Inbox::new(64, 4_096));
    let (start, to) = (sys::real_ns(), Target::from(target));
    for (index, due) in times.enumerate() {
        let due = start + due;
        loop {
            let _ = inbox.receive(socket, |datagram| {
                *report.replies.entry(kind_of(datagram.bytes)).or_default() += 1;
            });
            let now = sys::real_ns();
            if now >= due || stop.load(Ordering::Relaxed) {
                break;
            }
            sys::wait_readable(socket, due.min(now + 50_000_000));
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
        lateness.record(sys::real_ns().saturating_sub(due));
        let (trick, bytes) = message(index as u64, local, target, rng);
        match sys::send_to(socket, &bytes, &to) {
            Ok(()) => *report.sent.entry(trick).or_default() += 1,
            Err(_) => report.send_errors += 1,
        }
    }
    report.lateness = lateness.percentiles();
    report.own_drops = sys::kernel_drops(socket);
    report
}

fn kind_of(bytes: &[u8]) -> String {
    match Message::parse(bytes, Framing::Datagram) {
        Ok(message) => message.status().map_or_else(|| "request".to_owned(), |status| status.to_string()),
        Err(_) => "other".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tricks_come_in_turn_from_the_seed_and_fit_a_datagram() {
        let (local, target) = ("127.0.0.9:1".parse().unwrap(), "127.0.0.1:5060".parse().unwrap());
        let run = |seed| {
            let mut rng = Rng::from_seed(seed);
            (0..2_000).map(|index| message(index, local, target, &mut rng)).collect::<Vec<_>>()
        };
        let messages = run(1);
        assert_eq!(messages, run(1));
        for (trick, bytes) in &messages {
            let readable = Message::parse(bytes, Framing::Datagram).is_ok();
            assert!(bytes.len() < 20_000, "{trick}");
            let text = String::from_utf8_lossy(bytes);
            if matches!(*trick, "scan" | "stranger" | "guess" | "orphan" | "answer") {
                assert!(readable, "{trick}: {text}");
            }
        }
        let broken = messages.iter().filter(|m| Message::parse(&m.1, Framing::Datagram).is_err()).count();
        assert!(broken > 400, "{broken}");
    }

    #[test]
    fn an_attack_keeps_its_rate_and_counts_replies() {
        let victim = sys::udp_socket("127.0.0.1:0".parse().unwrap(), 1 << 20).unwrap();
        let attack = Attack { from: "127.0.0.1:0".parse().unwrap(), rate: 500.0 };
        let assault = Assault::start(attack, victim.local_addr().unwrap(), Rng::from_seed(1)).unwrap();
        let (mut inbox, mut came) = (Inbox::new(64, 65_000), 0);
        let end = std::time::Instant::now() + Duration::from_secs(20);
        while came < 100 && std::time::Instant::now() < end {
            sys::wait_readable(&victim, sys::real_ns() + 10_000_000);
            let _ = inbox.receive(&victim, |datagram| {
                came += 1;
                if let Ok(message) = Message::parse(datagram.bytes, Framing::Datagram)
                    && message.is_request()
                {
                    let reply = sip::message::write::Writer::reply(&message, 403, None).finish();
                    let _ = sys::send_to(&victim, &reply, &datagram.source.into());
                }
            });
        }
        thread::sleep(Duration::from_millis(20));
        let report = assault.stop();
        assert!(report.sent.values().sum::<u64>() >= 100 && report.replies["403"] > 10, "{report:?}");
    }

    #[test]
    fn strangers_beyond_this_machine_are_known_as_such() {
        for (address, here) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.1", false),
            ("192.0.2.1", false),
            ("0.0.0.0", false),
            ("fe80::1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(stays_here(address.parse().unwrap()), here, "{address}");
        }
    }

    #[test]
    fn media_that_an_attack_asks_for_comes_back_to_the_attacker() {
        let (local, target) = ("[::1]:9".parse().unwrap(), "[::1]:5060".parse().unwrap());
        let (trick, bytes) = message(6, local, target, &mut Rng::from_seed(1));
        assert_eq!(trick, "stranger");
        assert!(String::from_utf8(bytes).unwrap().contains("c=IN IP6 ::1\r\n"));
    }
}
