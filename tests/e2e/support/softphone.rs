//! A small SIP phone over UDP: calls, answers and hangs up as a test tells it, with the SDP that the test wants.
//! Repeated messages are answered as before and not shown twice.

use super::SOON;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// One phone at one address.
pub struct Softphone {
    socket: UdpSocket,
    memory: RefCell<Memory>,
}

#[derive(Default)]
struct Memory {
    waiting: VecDeque<Message>,
    /// What was said to what was received: a repetition gets it again.
    answers: BTreeMap<String, Option<Vec<u8>>>,
}

/// One message as received.
#[derive(Clone, Debug)]
pub struct Message {
    pub text: String,
    pub from: SocketAddr,
}

/// One side of a dialog.
#[derive(Clone, Debug)]
pub struct Dialog {
    pub call_id: String,
    pub local: String,
    pub remote: String,
    pub target: String,
    pub peer: SocketAddr,
    pub cseq: u32,
}

/// A call that is up between two phones through an engine.
#[derive(Debug)]
pub struct Connected {
    pub a: Dialog,
    pub b: Dialog,
    /// What the engine offered to B.
    pub offered: Message,
    /// What the engine answered to A.
    pub answered: Message,
}

impl Message {
    /// Method of a request, `200 INVITE` for a response.
    pub fn kind(&self) -> String {
        let line = self.text.lines().next().unwrap_or_default();
        match line.strip_prefix("SIP/2.0 ") {
            Some(rest) => {
                format!("{} {}", &rest[..3], self.header("CSeq").split(' ').next_back().unwrap_or_default())
            }
            None => line.split(' ').next().unwrap_or_default().to_owned(),
        }
    }

    /// The first value of a header, by its long name; empty if absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers(name).first().copied().unwrap_or_default()
    }

    /// All values of a header.
    pub fn headers<'m>(&'m self, name: &str) -> Vec<&'m str> {
        let head = self.text.split("\r\n\r\n").next().unwrap_or_default();
        let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields
            .filter(|(key, _)| key.trim().eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    }

    pub fn body(&self) -> &str {
        self.text.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    /// Address of m-line `n` of the SDP.
    pub fn media(&self, n: usize) -> SocketAddr {
        let mut address: Option<IpAddr> = None;
        let mut lines = Vec::new();
        for line in self.body().lines() {
            if let Some(rest) = line.strip_prefix("c=IN IP") {
                let ip: IpAddr = rest[2..].trim().parse().expect("an address in c=");
                match lines.last_mut() {
                    Some((own, _)) => *own = Some(ip),
                    None => address = Some(ip),
                }
            } else if let Some(rest) = line.strip_prefix("m=") {
                let port = rest.split(' ').nth(1).and_then(|p| p.parse::<u16>().ok()).expect("a port in m=");
                lines.push((address, port));
            }
        }
        let (ip, port) = *lines.get(n).unwrap_or_else(|| panic!("no m-line {n} in {}", self.text));
        SocketAddr::new(ip.expect("an address for the m-line"), port)
    }

    fn name(&self) -> String {
        let line = self.text.lines().next().unwrap_or_default();
        format!("{line}|{}|{}|{}", self.header("Via"), self.header("CSeq"), self.header("To"))
    }
}

impl Softphone {
    /// At this address; port 0 for any.
    pub fn at(address: impl Into<SocketAddr>) -> Softphone {
        let socket = UdpSocket::bind(address.into()).expect("the test's own address is free");
        Softphone { socket, memory: RefCell::default() }
    }

    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("a bound socket")
    }

    /// Sends bytes as they are.
    pub fn send_raw(&self, to: SocketAddr, bytes: &[u8]) {
        self.socket.send_to(bytes, to).expect("loopback takes a datagram");
    }

    /// Takes all that has come and forgets it.
    pub fn forget(&self) {
        while self.expect_within("nothing", Duration::from_millis(50)).is_some() {}
        self.memory.borrow_mut().waiting.clear();
    }

    /// Begins a call as 2001.
    pub fn invite(&self, engine: SocketAddr, number: &str, sdp: &str) -> Dialog {
        self.invite_as("2001", engine, number, sdp)
    }

    /// Begins a call as somebody.
    pub fn invite_as(&self, caller: &str, engine: SocketAddr, number: &str, sdp: &str) -> Dialog {
        static COUNTER: AtomicU32 = AtomicU32::new(1);
        let (me, n) = (self.address(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let mut dialog = Dialog {
            call_id: format!("{}-{n}@{}", std::process::id(), me.ip()),
            local: format!("<sip:{caller}@{me}>;tag=a{n}"),
            remote: format!("<sip:{number}@{engine}>"),
            target: format!("sip:{number}@{engine}"),
            peer: engine,
            cseq: 0,
        };
        self.request(&mut dialog, "INVITE", sdp);
        dialog
    }

    /// Sends a request in the dialog.
    pub fn request(&self, dialog: &mut Dialog, method: &str, sdp: &str) {
        if method != "ACK" && method != "CANCEL" {
            dialog.cseq += 1;
        }
        // A CANCEL carries the branch of its INVITE (RFC 3261 section 9.1).
        self.send(dialog, method, if method == "CANCEL" { "INVITE" } else { method }, sdp);
    }

    /// Acknowledges a refusal: part of the INVITE's transaction (RFC 3261 section 17.1.1.3).
    pub fn ack_refusal(&self, dialog: &mut Dialog, refusal: &Message) {
        refusal.header("To").clone_into(&mut dialog.remote);
        self.send(dialog, "ACK", "INVITE", "");
    }

    fn send(&self, dialog: &Dialog, method: &str, branch: &str, sdp: &str) {
        let Dialog { call_id, local, remote, target, peer, cseq } = dialog;
        let (me, unique) = (self.address(), call_id.replace('@', "."));
        let kind = if sdp.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let text = format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {me};rport;branch=z9hG4bK{branch}{cseq}.{unique}\r\n\
             Max-Forwards: 70\r\nFrom: {local}\r\nTo: {remote}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:2001@{me}>\r\nAllow: INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE\r\n\
             {kind}Content-Length: {}\r\n\r\n{sdp}",
            sdp.len()
        );
        self.socket.send_to(text.as_bytes(), *peer).expect("loopback takes a datagram");
    }

    /// Acknowledges a 2xx and takes from it what the dialog lacks.
    pub fn ack(&self, dialog: &mut Dialog, ok: &Message) {
        ok.header("To").clone_into(&mut dialog.remote);
        dialog.target = in_brackets(ok.header("Contact"));
        self.request(dialog, "ACK", "");
    }

    /// Answers a request; a 2xx or 18x to an INVITE makes a dialog.
    pub fn answer(&self, request: &Message, status: u16, sdp: &str) -> Dialog {
        let me = self.address();
        let to = request.header("To");
        let to = if to.contains(";tag=") || status == 100 {
            to.to_owned()
        } else {
            format!("{to};tag=b{}", me.port())
        };
        let mut text = format!("SIP/2.0 {status} Said\r\n");
        for (name, values) in [("Via", 99), ("Record-Route", 99), ("From", 1), ("Call-ID", 1), ("CSeq", 1)] {
            for value in request.headers(name).into_iter().take(values) {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        let kind = if sdp.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        text.push_str(&format!(
            "To: {to}\r\nContact: <sip:callee@{me}>\r\n{kind}Content-Length: {}\r\n\r\n{sdp}",
            sdp.len()
        ));
        self.socket.send_to(text.as_bytes(), request.from).expect("loopback takes a datagram");
        self.memory.borrow_mut().answers.insert(request.name(), Some(text.into_bytes()));
        Dialog {
            call_id: request.header("Call-ID").to_owned(),
            local: to,
            remote: request.header("From").to_owned(),
            target: in_brackets(request.header("Contact")),
            peer: request.from,
            cseq: 1000,
        }
    }

    /// The next message of this kind (`INVITE`, `200 INVITE`); others wait for their turn.
    pub fn expect(&self, kind: &str) -> Message {
        self.expect_within(kind, SOON)
            .unwrap_or_else(|| panic!("no {kind} came to {}: {}", self.address(), self.overview()))
    }

    /// As [`Softphone::expect`], or nothing within the time.
    pub fn expect_within(&self, kind: &str, within: Duration) -> Option<Message> {
        let end = Instant::now() + within;
        loop {
            let mut memory = self.memory.borrow_mut();
            if let Some(at) = memory.waiting.iter().position(|m| m.kind() == kind) {
                return memory.waiting.remove(at);
            }
            drop(memory);
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.receive(left);
        }
    }

    /// The next final response to an INVITE, whatever it is, or nothing within the time.
    pub fn final_answer_within(&self, within: Duration) -> Option<Message> {
        let end = Instant::now() + within;
        let is_final = |kind: &str| kind.ends_with(" INVITE") && !kind.starts_with('1');
        loop {
            let mut memory = self.memory.borrow_mut();
            if let Some(at) = memory.waiting.iter().position(|m| is_final(&m.kind())) {
                return memory.waiting.remove(at);
            }
            drop(memory);
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.receive(left);
        }
    }

    /// What has come and was not asked for.
    fn overview(&self) -> String {
        let memory = self.memory.borrow();
        memory.waiting.iter().map(|m| m.text.as_str()).collect::<Vec<_>>().join("\n---\n")
    }

    fn receive(&self, within: Duration) {
        let mut buffer = vec![0; 65_536];
        self.socket.set_read_timeout(Some(within.max(Duration::from_millis(1)))).expect("a socket");
        let Ok((len, from)) = self.socket.recv_from(&mut buffer) else { return };
        let message = Message { text: String::from_utf8_lossy(&buffer[..len]).into_owned(), from };
        let mut memory = self.memory.borrow_mut();
        match memory.answers.get(&message.name()) {
            Some(Some(answer)) => drop(self.socket.send_to(answer, from)),
            Some(None) => {}
            None => {
                memory.answers.insert(message.name(), None);
                memory.waiting.push_back(message);
            }
        }
    }

    /// Calls `other` through an engine until both are connected.
    pub fn connect(
        &self,
        other: &Softphone,
        engine: SocketAddr,
        number: &str,
        offer: &str,
        answer: &str,
    ) -> Connected {
        let mut a = self.invite(engine, number, offer);
        let offered = other.expect("INVITE");
        let b = other.answer(&offered, 200, answer);
        let answered = self.expect("200 INVITE");
        self.ack(&mut a, &answered);
        other.expect("ACK");
        Connected { a, b, offered, answered }
    }

    /// Offers anew in the dialog; `other` answers. Gives what the engine offered to `other` and answered to us.
    pub fn reinvite(
        &self,
        dialog: &mut Dialog,
        other: &Softphone,
        offer: &str,
        answer: &str,
    ) -> (Message, Message) {
        self.request(dialog, "INVITE", offer);
        let offered = other.expect("INVITE");
        other.answer(&offered, 200, answer);
        let answered = self.expect("200 INVITE");
        self.ack(dialog, &answered);
        other.expect("ACK");
        (offered, answered)
    }

    /// Hangs up; `other` hears it.
    pub fn hang_up(&self, dialog: &mut Dialog, other: &Softphone) {
        self.request(dialog, "BYE", "");
        let bye = other.expect("BYE");
        other.answer(&bye, 200, "");
        self.expect("200 BYE");
    }

    /// Hears a BYE and answers it.
    pub fn expect_bye(&self) -> Message {
        let bye = self.expect("BYE");
        self.answer(&bye, 200, "");
        bye
    }
}

/// SDP with one m-line that begins as `m=` says (`audio {port} RTP/AVP 0`), and further lines of it.
pub fn sdp(media: SocketAddr, line: &str, more: &[&str]) -> String {
    let (ip, family) = (media.ip(), if media.is_ipv4() { 4 } else { 6 });
    let line = line.replace("{port}", &media.port().to_string());
    let more: String = more.iter().map(|line| format!("{line}\r\n")).collect();
    format!("v=0\r\no=- 1 1 IN IP{family} {ip}\r\ns=-\r\nc=IN IP{family} {ip}\r\nt=0 0\r\nm={line}\r\n{more}",)
}

/// SDP of a plain phone: G.711 and telephone events.
pub fn audio(media: SocketAddr) -> String {
    let more = ["a=rtpmap:0 PCMU/8000", "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-15", "a=sendrecv"];
    sdp(media, "audio {port} RTP/AVP 0 101", &more)
}

fn in_brackets(value: &str) -> String {
    let inner = value.split('<').nth(1).and_then(|rest| rest.split('>').next()).unwrap_or(value);
    inner.to_owned()
}
