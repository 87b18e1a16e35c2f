//! The answering parties: ring, answer, wait for ACK, talk, answer BYE, CANCEL and whatever else comes in a dialog
//! (RFC 3261 sections 8.2, 13.3 and 17.2). One machine for all calls, in virtual time; it opens no socket.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::SocketAddr;

use base::Rng;
use serde::Serialize;
use sip::frame::Framing;
use sip::message::write::Writer;
use sip::message::{Message, Method, NameAddr};

use crate::dialog::{AFTERLIFE, Dialog, Output, Resend, T2, call_of};
use crate::session;
use crate::speech::Codec;

/// How calls are answered.
#[derive(Clone, Debug)]
pub struct Script {
    /// Our own address: Contact.
    pub local: SocketAddr,
    /// Where each media socket receives; one call uses one at a time. Empty: calls without media.
    pub media: Vec<SocketAddr>,
    /// What is answered.
    pub codec: Codec,
    /// What comes before the answer.
    pub ring: Ring,
    /// From the INVITE to the final answer, nanoseconds.
    pub answer_after_ns: u64,
    /// Answer with this status (300 to 699) instead of 200.
    pub refuse: Option<u16>,
}

/// What comes before the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ring {
    /// Nothing.
    None,
    /// 180 without a session description.
    Ringing,
    /// 183 with one. Audio starts after the ACK all the same.
    Progress,
}

/// What came in.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tally {
    /// Calls that came in.
    pub calls: u64,
    /// Calls answered with 200.
    pub answered: u64,
    /// Calls whose 200 was acknowledged.
    pub acknowledged: u64,
    /// Calls ended by BYE from the other side.
    pub ended: u64,
    /// Calls cancelled.
    pub cancelled: u64,
    /// Calls refused: by the script, because the number names no call, or for want of a media socket.
    pub refused: u64,
    /// Calls whose 200 was never acknowledged; we hang up then.
    pub no_ack: u64,
    /// Requests that came again.
    pub repeated: u64,
    /// Datagrams that we sent again.
    pub resent: u64,
    /// Requests within a dialog that are neither ACK nor BYE: re-INVITE, UPDATE, OPTIONS …
    pub others: u64,
    /// Datagrams that belong to no call, or cannot be read.
    pub strays: u64,
}

/// The answering parties.
#[derive(Debug)]
pub struct Uas {
    script: Script,
    run: String,
    /// By Call-ID.
    calls: BTreeMap<Vec<u8>, Call>,
    active: usize,
    wakes: BinaryHeap<Reverse<(u64, Vec<u8>)>>,
    free: VecDeque<usize>,
    outputs: VecDeque<Output>,
    tally: Tally,
}

#[derive(Debug)]
struct Call {
    state: State,
    number: u32,
    source: SocketAddr,
    /// As it came: provisional and final responses are made from it.
    invite: Vec<u8>,
    /// The last response to it.
    response: Vec<u8>,
    tag: String,
    socket: Option<usize>,
    /// Where the caller wants its audio: from the INVITE, or from the ACK of a late offer.
    remote: Option<session::Remote>,
    wake_at: u64,
}

#[derive(Debug)]
enum State {
    /// The final answer goes at `answer_at`.
    Ringing { answer_at: u64 },
    /// 200 sent, no ACK yet.
    Answered(Resend),
    /// A refusal sent, no ACK yet.
    Refused(Resend),
    /// ACK came.
    Talking,
    /// BYE of our own sent, because no ACK came.
    Ending(Resend),
    /// Late messages are answered until `until`.
    Over { until: u64 },
}

impl Uas {
    /// Nothing rings yet.
    pub fn new(script: Script, mut rng: Rng) -> Self {
        let mut run = Vec::new();
        rng.token(8, &mut run);
        // Not from the seed: a system under test still knows the calls of the run before for half a minute, and what
        // comes again under their names it rightly takes for repetitions (RFC 3261 section 17.2).
        run.extend_from_slice(format!("{:x}", crate::sys::real_ns() / 1_000_000).as_bytes());
        Uas {
            run: String::from_utf8(run).expect("tokens are ASCII"),
            calls: BTreeMap::new(),
            active: 0,
            wakes: BinaryHeap::new(),
            free: (0..script.media.len()).collect(),
            outputs: VecDeque::new(),
            tally: Tally::default(),
            script,
        }
    }

    /// Calls that are not over.
    pub fn active(&self) -> usize {
        self.active
    }

    /// What came in so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// What is to be done next, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Uas::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<u64> {
        self.wakes.peek().map(|wake| wake.0.0)
    }

    /// Handles one timer that is due. Call again while `poll_timeout` is due.
    pub fn handle_timeout(&mut self, now: u64) {
        let Some(Reverse((at, _))) = self.wakes.peek() else { return };
        if *at > now {
            return;
        }
        let Some(Reverse((_, id))) = self.wakes.pop() else { return };
        // A timer that was moved has left its old entry behind.
        if self.calls.get(&id).is_none_or(|call| call.wake_at > now) {
            return;
        }
        if matches!(self.calls[&id].state, State::Over { .. }) {
            self.calls.remove(&id);
            return;
        }
        self.with_call(&id, |uas, call| match &mut call.state {
            State::Ringing { .. } => uas.answer(call, now),
            State::Answered(answer) => match answer.again() {
                Some(again) => uas.send_again(again),
                None => {
                    uas.tally.no_ack += 1;
                    uas.hang_up(call, now);
                }
            },
            State::Refused(refusal) => match refusal.again() {
                Some(again) => uas.send_again(again),
                None => uas.end(call, now),
            },
            State::Ending(bye) => match bye.again() {
                Some(again) => uas.send_again(again),
                None => uas.end(call, now),
            },
            State::Talking | State::Over { .. } => (),
        });
    }

    /// A datagram that came from `source`.
    pub fn handle_datagram(&mut self, now: u64, source: SocketAddr, bytes: &[u8]) {
        let Ok(message) = Message::parse(bytes, Framing::Datagram) else {
            self.tally.strays += 1;
            return;
        };
        let id = message.call_id().to_vec();
        if message.status().is_some() {
            // Only our own BYE is ever answered.
            self.with_call(&id, |uas, call| {
                if matches!(call.state, State::Ending(_)) {
                    uas.end(call, now);
                }
            });
            return;
        }
        match message.method() {
            Method::Invite if message.to_tag().is_none() && !self.calls.contains_key(&id) => {
                self.on_invite(now, source, &message);
            }
            method if self.calls.contains_key(&id) => {
                self.with_call(&id, |uas, call| match method {
                    Method::Invite if message.to_tag().is_none() => {
                        uas.on_repeated_invite(call, source, &message);
                    }
                    Method::Ack => uas.on_ack(call, now, &message),
                    Method::Bye => uas.on_bye(call, now, source, &message),
                    Method::Cancel => uas.on_cancel(call, now, source, &message),
                    Method::Invite | Method::Update => uas.on_new_offer(call, source, &message),
                    _ => uas.on_other(source, &message),
                });
            }
            Method::Options => self.on_other(source, &message),
            Method::Ack => self.tally.strays += 1,
            _ => {
                self.tally.strays += 1;
                self.reply(&message, source, 481);
            }
        }
    }

    /// Takes the call out, lets `act` change it, puts it back, and sets its timer.
    fn with_call(&mut self, id: &[u8], act: impl FnOnce(&mut Self, &mut Call)) {
        let Some((id, mut call)) = self.calls.remove_entry(id) else { return };
        act(self, &mut call);
        let wake_at = call.state.wake_at();
        if wake_at != call.wake_at {
            call.wake_at = wake_at;
            if wake_at != u64::MAX {
                self.wakes.push(Reverse((wake_at, id.clone())));
            }
        }
        self.calls.insert(id, call);
    }

    fn on_invite(&mut self, now: u64, source: SocketAddr, invite: &Message<'_>) {
        self.tally.calls += 1;
        let number = invite.request_uri().and_then(|uri| call_of(uri.user?));
        let wants_media = !self.script.media.is_empty();
        let socket = if number.is_some() { self.free.pop_front() } else { None };
        let refusal = match (number, socket) {
            (None, _) => Some(404),
            (Some(_), None) if wants_media => Some(503),
            (Some(_), _) => self.script.refuse,
        };
        let mut call = Call {
            state: State::Ringing { answer_at: now + self.script.answer_after_ns },
            number: number.unwrap_or(0),
            source,
            invite: invite.raw().to_vec(),
            response: vec![],
            tag: format!("b{}{}", self.tally.calls, self.run),
            socket,
            remote: session::read(invite.body()),
            wake_at: u64::MAX,
        };
        self.active += 1;
        match (refusal, self.script.ring) {
            (Some(status), _) if self.script.refuse != Some(status) => self.refuse(&mut call, now, status),
            (_, Ring::None) if self.script.answer_after_ns == 0 => self.answer(&mut call, now),
            (_, Ring::None) => self.respond(&mut call, 100, false),
            (_, Ring::Ringing) => self.respond(&mut call, 180, false),
            (_, Ring::Progress) => self.respond(&mut call, 183, true),
        }
        let id = invite.call_id().to_vec();
        self.calls.insert(id.clone(), call);
        self.with_call(&id, |_, _| ());
    }

    /// Sends the final answer that the script wants.
    fn answer(&mut self, call: &mut Call, now: u64) {
        if let Some(status) = self.script.refuse {
            self.refuse(call, now, status);
            return;
        }
        self.tally.answered += 1;
        self.respond(call, 200, true);
        call.state = State::Answered(Resend::new(now, call.response.clone(), call.source, T2));
    }

    fn refuse(&mut self, call: &mut Call, now: u64, status: u16) {
        self.tally.refused += 1;
        self.respond(call, status, false);
        call.state = State::Refused(Resend::new(now, call.response.clone(), call.source, T2));
    }

    fn respond(&mut self, call: &mut Call, status: u16, with_session: bool) {
        let invite = Message::parse(&call.invite, Framing::Datagram).expect("it was read before");
        let mut response = Writer::reply_from(&invite, call.source, status, Some(call.tag.as_bytes()));
        response.header("Contact", format!("<sip:callee@{}>", self.script.local));
        if with_session {
            let answer = self.session_of(call);
            response.body("application/sdp", answer.as_bytes());
        }
        call.response = response.finish();
        self.outputs.push_back(Output::Send { to: call.source, bytes: call.response.clone() });
    }

    fn session_of(&self, call: &Call) -> String {
        let discard = SocketAddr::new(self.script.local.ip(), 9);
        let address = call.socket.map_or(discard, |socket| self.script.media[socket]);
        session::write(address, self.script.codec, u64::from(call.number))
    }

    fn on_repeated_invite(&mut self, call: &mut Call, source: SocketAddr, invite: &Message<'_>) {
        let first = Message::parse(&call.invite, Framing::Datagram).expect("it was read before");
        if first.top_via().branch() == invite.top_via().branch() {
            self.tally.repeated += 1;
            self.outputs.push_back(Output::Send { to: source, bytes: call.response.clone() });
        } else {
            // The same call by another way (RFC 3261 section 8.2.2.2).
            self.tally.strays += 1;
            self.reply(invite, source, 482);
        }
    }

    fn on_ack(&mut self, call: &mut Call, now: u64, ack: &Message<'_>) {
        match call.state {
            State::Answered(_) => {
                self.tally.acknowledged += 1;
                call.state = State::Talking;
                call.remote = session::read(ack.body()).or(call.remote);
                if let (Some(socket), Some(remote)) = (call.socket, call.remote) {
                    self.outputs.push_back(Output::Speak { call: call.number, socket, remote });
                }
            }
            State::Refused(_) => self.end(call, now),
            State::Ringing { .. } | State::Talking | State::Ending(_) | State::Over { .. } => (),
        }
    }

    fn on_bye(&mut self, call: &mut Call, now: u64, source: SocketAddr, bye: &Message<'_>) {
        self.reply(bye, source, 200);
        match call.state {
            State::Over { .. } => self.tally.repeated += 1,
            _ => {
                self.tally.ended += 1;
                self.outputs.push_back(Output::Hush(call.number));
                self.end(call, now);
            }
        }
    }

    fn on_cancel(&mut self, call: &mut Call, now: u64, source: SocketAddr, cancel: &Message<'_>) {
        self.reply(cancel, source, 200);
        // After the final answer it has no effect (RFC 3261 section 9.2).
        if matches!(call.state, State::Ringing { .. }) {
            self.tally.cancelled += 1;
            self.respond(call, 487, false);
            call.state = State::Refused(Resend::new(now, call.response.clone(), call.source, T2));
        }
    }

    fn on_new_offer(&mut self, call: &mut Call, source: SocketAddr, request: &Message<'_>) {
        self.tally.others += 1;
        let answer = self.session_of(call);
        let mut reply = Writer::reply_from(request, source, 200, None);
        reply.header("Contact", format!("<sip:callee@{}>", self.script.local));
        reply.body("application/sdp", answer.as_bytes());
        self.outputs.push_back(Output::Send { to: source, bytes: reply.finish() });
    }

    fn on_other(&mut self, source: SocketAddr, request: &Message<'_>) {
        self.tally.others += 1;
        self.reply(request, source, 200);
    }

    fn hang_up(&mut self, call: &mut Call, now: u64) {
        let invite = Message::parse(&call.invite, Framing::Datagram).expect("it was read before");
        let answer = Message::parse(&call.response, Framing::Datagram).expect("we wrote it");
        let dialog = Dialog::of_callee(&invite, answer.to().raw.to_vec(), call.source);
        let via = format!("SIP/2.0/UDP {};branch=z9hG4bKb{};rport", self.script.local, call.tag);
        let mut bye = Writer::request(b"BYE", &dialog.target);
        bye.header("Via", via).header("Max-Forwards", "70");
        for route in &dialog.routes {
            bye.header("Route", route);
        }
        let remote = NameAddr::read(&dialog.remote);
        bye.header("From", &dialog.local)
            .header("To", remote.raw)
            .header("Call-ID", invite.call_id())
            .header("CSeq", "1 BYE");
        let bye = Resend::new(now, bye.finish(), dialog.next_hop, T2);
        self.outputs.push_back(bye.send());
        call.state = State::Ending(bye);
    }

    fn send_again(&mut self, output: Output) {
        self.tally.resent += 1;
        self.outputs.push_back(output);
    }

    fn end(&mut self, call: &mut Call, now: u64) {
        self.free.extend(call.socket.take());
        self.active -= 1;
        call.state = State::Over { until: now + AFTERLIFE };
    }

    fn reply(&mut self, request: &Message<'_>, source: SocketAddr, status: u16) {
        let tag = format!("b0{}", self.run);
        let bytes = Writer::reply_from(request, source, status, Some(tag.as_bytes())).finish();
        self.outputs.push_back(Output::Send { to: source, bytes });
    }
}

impl State {
    fn wake_at(&self) -> u64 {
        match self {
            State::Ringing { answer_at } => *answer_at,
            State::Answered(resend) | State::Refused(resend) | State::Ending(resend) => resend.at,
            State::Talking => u64::MAX,
            State::Over { until } => *until,
        }
    }
}
