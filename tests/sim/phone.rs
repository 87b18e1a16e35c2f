//! A phone: transactions and an agenda, written apart from the engine's own so that one mistake is not made twice;
//! only the reader and writer of messages and the bookkeeping of dialogs are shared. What it does in a call is in
//! `phone/`, from `dialog.rs` on.
mod callee;
mod caller;
mod description;
pub mod dialog;
mod midcall;
mod session;
mod talk;

use super::plan::Plan;
use super::world::SBC;
use base::{Duration, Instant, Rng};
use core::net::SocketAddr;
use dialog::{Dialog, Todo};
use sip::frame::Framing;
use sip::message::write::Writer;
use sip::message::{Message, Method, Name};
use std::collections::BTreeMap;

/// What leaves a phone.
pub enum Sent {
    Sip(Vec<u8>),
    Rtp { port: u16, to: SocketAddr, bytes: Vec<u8> },
}

/// Plans the answer to a call by its number.
pub type Answering = Box<dyn FnMut(&mut Rng, u32) -> Plan>;

pub struct Phone {
    pub address: SocketAddr,
    pub is_alive: bool,
    /// Does nothing of its own; it only answers.
    pub is_frozen: bool,
    /// It has been restarted and knows nothing of the calls that it had.
    pub has_forgotten: bool,
    /// Calls that it was offered, and how many it had at most at a time.
    pub offered: u64,
    pub most: usize,
    pub outbox: Vec<Sent>,
    pub dialogs: Vec<Dialog>,
    pub answering: Answering,
    /// What the engine must never do.
    pub faults: Vec<String>,
    /// Requests of ours that got no final answer: call and method.
    pub unanswered: Vec<(u32, String)>,
    /// Text that must not be in anything that comes: the addresses of the other side.
    pub hidden: &'static str,
    /// Requests outside of dialogs: method, final status.
    pub lone: Vec<(String, u16)>,
    clients: Vec<Client>,
    by_branch: BTreeMap<(Vec<u8>, Vec<u8>), usize>,
    servers: Vec<Server>,
    served: BTreeMap<(Vec<u8>, Vec<u8>), usize>,
    agenda: BTreeMap<(Instant, u64), (usize, Todo)>,
    order: u64,
    next_port: u16,
    rng: Rng,
}

/// A request of ours.
struct Client {
    dialog: Option<usize>,
    method: Vec<u8>,
    bytes: Vec<u8>,
    gap: Duration,
    heard: Heard,
    /// For a failure of an INVITE.
    ack: Option<Vec<u8>>,
    cancel_wanted: bool,
    purpose: Purpose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Nothing,
    Provisional,
    Final(u16),
    GaveUp,
}

/// What a request of ours is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Call,
    /// An offer, or the wish for one.
    Offer,
    Bye,
    Other,
    /// Not within a dialog.
    Lone,
}

/// A request of the engine.
struct Server {
    request: Vec<u8>,
    last: Option<Vec<u8>>,
    code: u16,
    gap: Duration,
    is_acked: bool,
    plan: Option<Plan>,
    number: u32,
    /// Dialogs by fork.
    forks: BTreeMap<u8, usize>,
}

const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
/// 64 * T1.
const GIVE_UP: Duration = Duration::from_secs(32);
/// How long a phone rings at the far end before its owner gives up.
const PATIENCE: Duration = Duration::from_secs(400);

impl Phone {
    pub fn new(address: SocketAddr, hidden: &'static str, rng: Rng, answering: Answering) -> Self {
        Phone {
            address,
            is_alive: true,
            is_frozen: false,
            has_forgotten: false,
            offered: 0,
            most: 0,
            outbox: Vec::new(),
            dialogs: Vec::new(),
            answering,
            faults: Vec::new(),
            unanswered: Vec::new(),
            hidden,
            lone: Vec::new(),
            clients: Vec::new(),
            by_branch: BTreeMap::new(),
            servers: Vec::new(),
            served: BTreeMap::new(),
            agenda: BTreeMap::new(),
            order: 0,
            next_port: 4_000,
            rng,
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.agenda.keys().next().map(|(at, _)| *at).filter(|_| self.is_alive && !self.is_frozen)
    }

    /// Calls to it that it believes in.
    pub fn calls_in(&self) -> usize {
        let is_up = |id: &usize| !self.dialogs[*id].is_over();
        let of_call = |server: &&Server| match server.code {
            ..200 => true,
            200..300 => server.forks.values().any(is_up),
            _ => false,
        };
        self.servers.iter().filter(|server| server.plan.is_some()).filter(of_call).count()
    }

    /// Calls of its own that it believes in.
    pub fn calls_out(&self) -> usize {
        self.dialogs.iter().filter(|dialog| dialog.is_caller && !dialog.is_over()).count()
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(entry) = self.agenda.first_entry().filter(|e| e.key().0 <= now) {
            let (dialog, todo) = entry.remove();
            self.act(now, dialog, todo);
        }
    }

    fn later(&mut self, at: Instant, dialog: usize, todo: Todo) {
        self.order += 1;
        self.agenda.insert((at, self.order), (dialog, todo));
    }

    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        if to != self.address {
            return self.handle_rtp(from, to.port(), bytes);
        }
        let Ok(message) = Message::parse(bytes, Framing::Datagram) else {
            // What answers our junk repeats what was wrong with it.
            if bytes.windows(13).any(|part| part == b"399 strowger ") {
                return;
            }
            return self.faults.push(format!("no SIP: {}", bytes.escape_ascii()));
        };
        let text = String::from_utf8_lossy(bytes);
        if text.contains(self.hidden) {
            self.faults.push(format!("shows the other side: {text}"));
        }
        match message.is_request() {
            true => self.handle_request(now, &message),
            false => self.handle_response(now, &message),
        }
    }

    /// Media must come from the other phone of the same call: streams are named by the call's number.
    fn handle_rtp(&mut self, from: SocketAddr, port: u16, bytes: &[u8]) {
        let Ok(packet) = media::wire::rtp::Rtp::parse(bytes) else {
            return self.faults.push(format!("no RTP at port {port}"));
        };
        let (header, address) = (packet.header(), self.address);
        let Some(dialog) = self.dialogs.iter_mut().find(|d| d.rtp_port == port) else {
            return self.faults.push(format!("RTP at port {port}, which nobody has"));
        };
        if header.ssrc != dialog.number * 2 + u32::from(dialog.is_caller) {
            let fault = format!("{address}: call {} hears stream {} from {from}", dialog.number, header.ssrc);
            return self.faults.push(fault);
        }
        dialog.rtp_heard += 1;
        dialog.codec_heard = Some(header.payload_type);
    }

    // ---- requests of ours

    /// Sends a request in a transaction.
    fn request(&mut self, now: Instant, dialog: Option<usize>, purpose: Purpose, bytes: Vec<u8>) -> usize {
        let message = Message::parse(&bytes, Framing::Datagram).expect("a phone writes SIP");
        let method = message.method().as_bytes().to_vec();
        let branch = message.top_via().branch().expect("with a branch").to_vec();
        let id = self.clients.len();
        self.by_branch.insert((branch, method.clone()), id);
        self.outbox.push(Sent::Sip(bytes.clone()));
        self.clients.push(Client {
            dialog,
            method,
            bytes,
            gap: T1,
            heard: Heard::Nothing,
            ack: None,
            cancel_wanted: false,
            purpose,
        });
        self.later(now + T1, id, Todo::ClientResend);
        self.later(now + GIVE_UP, id, Todo::ClientGiveUp);
        id
    }

    fn on_client_resend(&mut self, now: Instant, id: usize) {
        let client = &mut self.clients[id];
        let is_invite = client.method == b"INVITE";
        let goes_on = match client.heard {
            Heard::Nothing => true,
            Heard::Provisional => !is_invite,
            Heard::Final(_) | Heard::GaveUp => false,
        };
        if goes_on && !self.is_mute(self.clients[id].dialog) {
            let client = &mut self.clients[id];
            client.gap = if is_invite { client.gap * 2 } else { (client.gap * 2).min(T2) };
            let (at, bytes) = (now + client.gap, client.bytes.clone());
            self.outbox.push(Sent::Sip(bytes));
            self.later(at, id, Todo::ClientResend);
        }
    }

    /// Nobody has answered in time. An INVITE that rings is given up by its owner some time later.
    fn on_client_give_up(&mut self, now: Instant, id: usize) {
        if self.is_mute(self.clients[id].dialog) {
            return;
        }
        let client = &mut self.clients[id];
        let is_invite = client.method == b"INVITE";
        match client.heard {
            Heard::Final(_) | Heard::GaveUp => {}
            Heard::Provisional if is_invite && !client.cancel_wanted => {
                self.later(now + PATIENCE, id, Todo::LosePatience);
            }
            Heard::Nothing | Heard::Provisional => {
                client.heard = Heard::GaveUp;
                let number = client.dialog.map_or(0, |d| self.dialogs[d].number);
                let method = String::from_utf8_lossy(&client.method).into_owned();
                let end = client.dialog.and_then(|d| self.dialogs[d].end);
                let hung_up = matches!(end, Some(dialog::End::ByeSent | dialog::End::ByeHeard));
                if !(hung_up && client.purpose == Purpose::Offer) {
                    self.unanswered.push((number, method));
                }
                self.on_unanswered(now, id);
            }
        }
    }

    /// CANCEL for an INVITE of ours: at once if it may go, else after the first answer.
    fn cancel(&mut self, now: Instant, id: usize) {
        let client = &mut self.clients[id];
        if client.cancel_wanted || matches!(client.heard, Heard::Final(_) | Heard::GaveUp) {
            return;
        }
        client.cancel_wanted = true;
        if client.heard == Heard::Provisional {
            self.send_cancel(now, id);
        }
    }

    fn send_cancel(&mut self, now: Instant, id: usize) {
        let client = &self.clients[id];
        let dialog = client.dialog;
        let bytes = same_hop(&client.bytes, b"CANCEL", None);
        self.request(now, dialog, Purpose::Other, bytes);
        self.later(now + GIVE_UP, id, Todo::ClientGiveUp);
    }

    fn handle_response(&mut self, now: Instant, message: &Message<'_>) {
        let branch = message.top_via().branch().unwrap_or_default().to_vec();
        let key = (branch, message.cseq().method.as_bytes().to_vec());
        let Some(id) = self.by_branch.get(&key).copied() else {
            if !self.has_forgotten {
                self.faults.push(format!("answers nothing: {message:?}"));
            }
            return;
        };
        if self.is_mute(self.clients[id].dialog) {
            return;
        }
        let code = message.status().unwrap_or_default();
        let client = &mut self.clients[id];
        let is_invite = client.method == b"INVITE";
        let before = client.heard;
        match (before, code) {
            (Heard::Nothing | Heard::Provisional, ..200) => {
                client.heard = Heard::Provisional;
                if client.cancel_wanted && before == Heard::Nothing {
                    self.send_cancel(now, id);
                }
            }
            (Heard::Nothing | Heard::Provisional, _) => {
                client.heard = Heard::Final(code);
                if is_invite && code >= 300 {
                    let ack = same_hop(&client.bytes, b"ACK", Some(message));
                    client.ack = Some(ack.clone());
                    self.outbox.push(Sent::Sip(ack));
                }
            }
            (Heard::Final(first), _) => {
                let is_other = code >= 200 && (code < 300) != (first < 300);
                if is_other {
                    self.faults.push(format!("answers {first} and then {code}: {message:?}"));
                }
                if let Some(ack) = client.ack.clone() {
                    self.outbox.push(Sent::Sip(ack));
                }
                if !(is_invite && (200..300).contains(&code)) {
                    return;
                }
            }
            (Heard::GaveUp, _) => return,
        }
        self.on_response(now, id, code, message);
    }

    // ---- requests of the engine

    fn handle_request(&mut self, now: Instant, message: &Message<'_>) {
        if self.is_mute(self.dialogs.iter().position(|d| d.call_id == message.call_id())) {
            return;
        }
        let branch = message.top_via().branch().unwrap_or_default().to_vec();
        if message.max_forwards().is_none() {
            self.faults.push(format!("no Max-Forwards: {message:?}"));
        }
        let method = message.method();
        if method == Method::Ack {
            let failed = self.served.get(&(branch, b"INVITE".to_vec())).copied();
            match failed.filter(|id| self.servers[*id].code >= 300) {
                Some(id) => self.servers[id].is_acked = true,
                None => self.on_ack(now, message),
            }
            return;
        }
        let key = (branch.clone(), method.as_bytes().to_vec());
        if let Some(id) = self.served.get(&key).copied() {
            if let Some(last) = self.servers[id].last.clone() {
                self.outbox.push(Sent::Sip(last));
            }
            return;
        }
        let id = self.servers.len();
        self.served.insert(key, id);
        self.servers.push(Server {
            request: message.raw().to_vec(),
            last: None,
            code: 0,
            gap: T1,
            is_acked: false,
            plan: None,
            number: 0,
            forks: BTreeMap::new(),
        });
        if method == Method::Cancel {
            let invite = self.served.get(&(branch, b"INVITE".to_vec())).copied();
            return self.on_cancel(now, id, invite);
        }
        self.on_request(now, id, message);
    }

    /// Answers a request of the engine; `fill` adds to the answer.
    fn respond(
        &mut self,
        now: Instant,
        id: usize,
        code: u16,
        tag: &[u8],
        fill: impl FnOnce(&mut Writer),
    ) -> Vec<u8> {
        let request = self.servers[id].request.clone();
        let message = Message::parse(&request, Framing::Stream).expect("it was read before");
        let mut writer = Writer::reply_from(&message, SBC, code, Some(tag));
        fill(&mut writer);
        let bytes = writer.finish();
        let server = &mut self.servers[id];
        server.last = Some(bytes.clone());
        server.code = code;
        if message.method() == Method::Invite && code >= 300 {
            self.later(now + T1, id, Todo::ServerResend);
            self.later(now + GIVE_UP, id, Todo::ServerGiveUp);
        }
        if message.method() == Method::Invite && (200..300).contains(&code) {
            // A 2xx is repeated by its dialog, not by the request that comes again.
            self.servers[id].last = None;
        }
        self.outbox.push(Sent::Sip(bytes.clone()));
        bytes
    }

    fn on_server_resend(&mut self, now: Instant, id: usize) {
        let server = &mut self.servers[id];
        if server.is_acked {
            return;
        }
        server.gap = (server.gap * 2).min(T2);
        let at = now + server.gap;
        if let Some(last) = server.last.clone() {
            self.outbox.push(Sent::Sip(last));
            self.later(at, id, Todo::ServerResend);
        }
    }

    /// Whether the other side of a call must not hear of us any more.
    fn is_mute(&self, dialog: Option<usize>) -> bool {
        dialog.is_some_and(|d| self.dialogs[d].has_vanished)
    }

    fn token(&mut self, len: usize) -> Vec<u8> {
        let mut out = Vec::new();
        self.rng.token(len, &mut out);
        out
    }

    fn via(&mut self) -> Vec<u8> {
        let branch = String::from_utf8(self.token(12)).expect("letters");
        format!("SIP/2.0/UDP {};branch=z9hG4bK{branch};rport", self.address).into_bytes()
    }

    /// A request outside of any dialog.
    pub fn send_lone(&mut self, now: Instant, method: &str, headers: &[(&str, &str)]) {
        let bytes = self.lone_request(method, headers);
        self.request(now, None, Purpose::Lone, bytes);
    }

    /// What such a request looks like.
    pub fn lone_request(&mut self, method: &str, headers: &[(&str, &str)]) -> Vec<u8> {
        let (via, tag, call_id) = (self.via(), self.token(8), self.token(16));
        let mut writer = Writer::request(method.as_bytes(), format!("sip:{SBC}").as_bytes());
        writer.header("Via", via).header("Max-Forwards", "70");
        writer.header("From", [format!("<sip:me@{}>;tag=", self.address).as_bytes(), &tag].concat());
        if !headers.iter().any(|(name, _)| *name == "To") {
            writer.header("To", format!("<sip:{SBC}>"));
        }
        writer.header("Call-ID", call_id).header("CSeq", format!("7 {method}"));
        for (name, value) in headers {
            writer.header(name, value);
        }
        writer.finish()
    }
}

/// CANCEL, or the ACK of a failure: as the INVITE, with the To of the answer.
fn same_hop(invite: &[u8], method: &[u8], answer: Option<&Message<'_>>) -> Vec<u8> {
    let invite = Message::parse(invite, Framing::Stream).expect("a phone writes SIP");
    let uri = invite.request().expect("a request").uri;
    let mut writer = Writer::request(method, uri);
    writer.header("Via", invite.top_via().raw).header("Max-Forwards", "70");
    writer.copy(&invite, Name::Route).copy(&invite, Name::From);
    writer.copy(answer.unwrap_or(&invite), Name::To).copy(&invite, Name::CallId);
    let cseq = format!("{} {}", invite.cseq().number, String::from_utf8_lossy(method));
    writer.header("CSeq", cseq);
    writer.finish()
}
