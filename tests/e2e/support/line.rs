//! A line that takes calls by itself and remembers them, and a caller who tries one number after the other.

use super::softphone::{Message, Softphone, audio};
use super::{Phone, SOON, wait_for};
use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Somebody who is called. It answers OPTIONS with 200, INVITE as it is told, and all else with 200, until it goes.
pub struct Line {
    state: Arc<State>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

struct State {
    /// Status of its answer to an INVITE; 0 leaves it ringing.
    status: AtomicU16,
    mute: AtomicBool,
    over: AtomicBool,
    /// Requests that came, repetitions apart, and when.
    heard: Mutex<Vec<(Instant, Message)>>,
}

impl Line {
    /// At this address, answering calls with this status.
    pub fn at(address: impl Into<SocketAddr>, status: u16) -> Line {
        let address = address.into();
        let socket = UdpSocket::bind(address).expect("the test's own address is free");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket");
        let state = Arc::new(State {
            status: status.into(),
            mute: false.into(),
            over: false.into(),
            heard: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        let thread = Some(std::thread::spawn(move || shared.serve(&socket)));
        Line { state, address, thread }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers calls with this status from now on; 0 lets them ring.
    pub fn says(&self, status: u16) {
        self.state.status.store(status, Ordering::Release);
    }

    /// Hears and says nothing, or does again.
    pub fn is_mute(&self, mute: bool) {
        self.state.mute.store(mute, Ordering::Release);
    }

    /// INVITEs so far.
    pub fn calls(&self) -> Vec<Message> {
        let heard = self.state.heard.lock().expect("nobody panics with it");
        heard
            .iter()
            .map(|(_, message)| message)
            .filter(|message| message.kind() == "INVITE")
            .cloned()
            .collect()
    }

    /// The last INVITE.
    pub fn last_call(&self) -> Message {
        self.last_call_with_time().1
    }

    /// The last INVITE, and when it came.
    pub fn last_call_with_time(&self) -> (Instant, Message) {
        let heard = self.state.heard.lock().expect("nobody panics with it");
        let last = heard.iter().rev().find(|(_, message)| message.kind() == "INVITE");
        last.cloned().unwrap_or_else(|| panic!("{} has been called", self.address))
    }

    /// Waits until so many requests of a method have come.
    pub fn has_heard(&self, method: &str, count: usize) {
        wait_for(&format!("{count} {method} at {}", self.address), SOON, || {
            let heard = self.state.heard.lock().expect("nobody panics with it");
            (heard.iter().filter(|(_, message)| message.kind() == method).count() >= count).then_some(())
        });
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if std::thread::panicking() {
            for call in self.calls() {
                eprintln!("=== {} was called\n{}", self.address, call.text);
            }
        }
    }
}

impl State {
    fn serve(&self, socket: &UdpSocket) {
        let (mut buffer, mut known) = (vec![0; 65_536], BTreeSet::new());
        let here = socket.local_addr().expect("a bound socket");
        while !self.over.load(Ordering::Acquire) {
            let Ok((len, from)) = socket.recv_from(&mut buffer) else { continue };
            let at = Instant::now();
            let message = Message { text: String::from_utf8_lossy(&buffer[..len]).into_owned(), from };
            if self.mute.load(Ordering::Acquire) {
                continue;
            }
            let kind = message.kind();
            let status = match kind.as_str() {
                "INVITE" => self.status.load(Ordering::Acquire),
                "ACK" => 0,
                _ => 200,
            };
            if known.insert(format!("{kind} {}", message.header("Via"))) {
                self.heard.lock().expect("nobody panics with it").push((at, message.clone()));
            }
            let status = if status == 0 && kind == "INVITE" { 180 } else { status };
            if status > 0 {
                let _ = socket.send_to(answer(&message, status, here).as_bytes(), from);
            }
        }
    }
}

fn answer(request: &Message, status: u16, here: SocketAddr) -> String {
    let to = request.header("To");
    let tag = if to.contains(";tag=") { "" } else { ";tag=line" };
    let mut text = format!("SIP/2.0 {status} As It Is\r\nTo: {to}{tag}\r\nContact: <sip:line@{here}>\r\n");
    for (name, values) in [("Via", 9), ("From", 1), ("Call-ID", 1), ("CSeq", 1)] {
        for value in request.headers(name).into_iter().take(values) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    let is_answer = request.kind() == "INVITE" && status == 200;
    let sdp = if is_answer { audio((here.ip(), 4000).into()) } else { String::new() };
    let kind = if is_answer { "Content-Type: application/sdp\r\n" } else { "" };
    text + &format!("{kind}Content-Length: {}\r\n\r\n{sdp}", sdp.len())
}

/// Somebody who calls an engine, one call at a time.
pub struct Caller {
    phone: Softphone,
    engine: SocketAddr,
}

/// A call that a [`Caller`] has made: its INVITE and the final answer.
pub struct Made {
    pub invite: String,
    pub answer: Message,
}

impl Made {
    pub fn status(&self) -> u16 {
        super::status(&self.answer.text)
    }

    /// Status and phrase.
    pub fn line(&self) -> &str {
        self.answer.text.lines().next().and_then(|line| line.strip_prefix("SIP/2.0 ")).unwrap_or_default()
    }
}

impl Caller {
    /// At this address; port 0 for any.
    pub fn at(address: impl Into<SocketAddr>, engine: SocketAddr) -> Caller {
        Caller { phone: Softphone::at(address), engine }
    }

    pub fn address(&self) -> SocketAddr {
        self.phone.address()
    }

    /// Sends an INVITE; `headers` are further lines, each with CRLF.
    pub fn invites(&self, caller: &str, callee: &str, headers: &str) -> String {
        static COUNTER: AtomicU32 = AtomicU32::new(1);
        let (me, engine) = (self.address(), self.engine);
        let id = format!("try{}x{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let sdp = audio((me.ip(), 4000).into());
        let text = format!(
            "INVITE sip:{callee}@{engine} SIP/2.0\r\nVia: SIP/2.0/UDP {me};rport;branch=z9hG4bK{id}\r\n\
             From: <sip:{caller}@{me}>;tag={id}\r\nTo: <sip:{callee}@{engine}>\r\nCall-ID: {id}@{}\r\n\
             CSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContact: <sip:caller@{me}>\r\n{headers}\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
            me.ip(),
            sdp.len()
        );
        self.phone.send_raw(engine, text.as_bytes());
        text
    }

    /// What becomes of it: the final answer, acknowledged.
    pub fn outcome(&self, invite: String) -> Made {
        let answer = self.phone.final_answer_within(SOON).expect("a final answer");
        let made = Made { invite, answer };
        let ack = match made.status() {
            200..=299 => self.in_dialog(&made, "ACK", 1),
            _ => Phone::ack(&made.invite, &made.answer.text),
        };
        self.phone.send_raw(self.engine, ack.as_bytes());
        made
    }

    /// Calls, and leaves a call that comes about as it is.
    pub fn calls(&self, caller: &str, callee: &str, headers: &str) -> Made {
        self.outcome(self.invites(caller, callee, headers))
    }

    /// Calls, and hangs up at once.
    pub fn tries(&self, caller: &str, callee: &str, headers: &str) -> Made {
        let made = self.calls(caller, callee, headers);
        if made.status() == 200 {
            self.hangs_up(&made);
        }
        made
    }

    pub fn hangs_up(&self, made: &Made) {
        self.phone.send_raw(self.engine, self.in_dialog(made, "BYE", 2).as_bytes());
        self.phone.expect("200 BYE");
    }

    /// Hears a BYE and answers it.
    pub fn is_hung_up(&self) {
        self.phone.expect_bye();
    }

    /// Gives up an INVITE that has no answer yet.
    pub fn cancels(&self, invite: &str) {
        self.phone.send_raw(self.engine, Phone::cancel(invite).as_bytes());
        self.phone.expect("200 CANCEL");
    }

    /// The next message of this kind; a failure if there is none soon.
    pub fn expects(&self, kind: &str) -> Message {
        self.phone.expect(kind)
    }

    fn in_dialog(&self, made: &Made, method: &str, cseq: u32) -> String {
        let header = |name: &str| super::field(&made.invite, name);
        let target = made.answer.header("Contact").trim_matches(['<', '>']).to_owned();
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {};rport;branch=z9hG4bK{method}{}\r\nFrom: {}\r\nTo: {}\r\n\
             Call-ID: {}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
            self.address(),
            header("Call-ID").replace('@', "."),
            header("From"),
            made.answer.header("To"),
            header("Call-ID"),
        )
    }
}
