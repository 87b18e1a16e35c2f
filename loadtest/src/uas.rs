//! The answering parties: ring, answer, wait for ACK, talk, agree to whatever the caller asks for, answer BYE and CANCEL,
//! hang up where the scenario says so (RFC 3261 sections 8.2, 13.3, 14.2 and 17.2). One machine for all calls, in virtual
//! time; it opens no socket.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use base::Rng;
use serde::Serialize;
use sip::frame::Framing;
use sip::message::write::Writer;
use sip::message::{Message, Method};

use crate::dialog::{AFTERLIFE, Dialog, Output, Resend, T2, call_of};
use crate::scenario::{Course, Scenario};
use crate::session::{self, Description, Direction};
use crate::speech::Codec;

/// How calls are answered.
#[derive(Clone, Debug)]
pub struct Script {
    /// Our own address: Contact.
    pub local: SocketAddr,
    /// Where each media socket receives; one call uses one at a time. Empty: calls without media.
    pub media: Vec<SocketAddr>,
    /// What is answered, if the offer has it; else the first of the offer that we know.
    pub codec: Codec,
    /// What comes before the answer.
    pub ring: Ring,
    /// From the INVITE to the final answer, nanoseconds.
    pub answer_after_ns: u64,
    /// Answer with this status (300 to 699) instead of 200.
    pub refuse: Option<u16>,
    /// As the calling side has it: what happens in calls.
    pub scenario: Arc<Scenario>,
    /// As the calling side has it.
    pub seed: u64,
    /// As the calling side has it.
    pub talk_ns: u64,
    /// From the end of talking to BYE, nanoseconds, where we hang up.
    pub settle_ns: u64,
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
    /// Calls that we ended, as the scenario says, with a 200 to our BYE.
    pub hung_up: u64,
    /// Calls cancelled.
    pub cancelled: u64,
    /// Calls refused: by script or scenario, because the number names no call, or for want of a media socket.
    pub refused: u64,
    /// Calls whose 200 was never acknowledged; we hang up then.
    pub no_ack: u64,
    /// re-INVITEs and UPDATEs, each once.
    pub reinvites: u64,
    /// Those that put us on hold.
    pub holds: u64,
    /// Digits that came by INFO.
    pub info_digits: u64,
    /// Digits that came by INFO, but are not the next ones of the call's scenario.
    pub wrong_info_digits: u64,
    /// Transfers that we accepted and reported as done.
    pub transfers: u64,
    /// Requests that came again.
    pub repeated: u64,
    /// Datagrams that we sent again.
    pub resent: u64,
    /// Requests within a dialog that are none of these: OPTIONS …
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
    course: Course,
    source: SocketAddr,
    /// As it came: provisional and final responses are made from it.
    invite: Vec<u8>,
    /// The last response to it.
    response: Vec<u8>,
    tag: String,
    socket: Option<usize>,
    codec: Codec,
    direction: Direction,
    version: u32,
    /// Where the caller wants its audio: from the INVITE, or from the ACK of a late offer.
    remote: Option<session::Remote>,
    /// CSeq of the last re-INVITE or UPDATE, and the response to it.
    offered: (u32, Vec<u8>),
    /// Of our own requests.
    cseq: u32,
    /// Set at the ACK where we are to hang up.
    bye_at: Option<u64>,
    /// Digits that came by INFO.
    info: usize,
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
    /// 200 to a re-INVITE sent, no ACK yet.
    Agreed(Resend),
    /// The news of a transfer sent, no response yet.
    Notifying(Resend),
    /// Silence; our BYE goes at `until`.
    Settling { until: u64 },
    /// BYE of our own sent, because no ACK came or because the scenario wants it.
    Ending(Resend),
    /// Late messages are answered until `until`.
    Over { until: u64 },
}

/// A call that is to be cancelled rings so long.
const RINGS_NS: u64 = 60_000_000_000;

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
            State::Agreed(answer) => match answer.again() {
                Some(again) => uas.send_again(again),
                None => {
                    uas.tally.no_ack += 1;
                    uas.outputs.push_back(Output::Hush(call.number));
                    uas.hang_up(call, now);
                }
            },
            State::Notifying(news) => match news.again() {
                Some(again) => uas.send_again(again),
                None => call.state = State::Talking,
            },
            State::Refused(refusal) => match refusal.again() {
                Some(again) => uas.send_again(again),
                None => uas.end(call, now),
            },
            State::Ending(bye) => match bye.again() {
                Some(again) => uas.send_again(again),
                None => uas.end(call, now),
            },
            State::Talking => {
                uas.outputs.push_back(Output::Hush(call.number));
                call.state = State::Settling { until: now + uas.script.settle_ns };
            }
            State::Settling { .. } => uas.hang_up(call, now),
            State::Over { .. } => (),
        });
    }

    /// A datagram that came from `source`.
    pub fn handle_datagram(&mut self, now: u64, source: SocketAddr, bytes: &[u8]) {
        let Ok(message) = Message::parse(bytes, Framing::Datagram) else {
            self.tally.strays += 1;
            return;
        };
        let id = message.call_id().to_vec();
        if let Some(status) = message.status() {
            self.with_call(&id, |uas, call| uas.on_response(call, now, status, &message));
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
                    Method::Invite | Method::Update => uas.on_new_offer(call, now, source, &message),
                    Method::Info => uas.on_info(call, source, &message),
                    Method::Refer => uas.on_refer(call, now, source, &message),
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
        let wake_at = call.wakes_at();
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
        let course = self.script.scenario.course(self.script.seed, number.unwrap_or(0), self.script.talk_ns);
        let refusal = match (number, socket) {
            (None, _) => Some(404),
            (Some(_), None) if wants_media => Some(503),
            (Some(_), _) => None,
        };
        let said = session::understand(invite.body());
        let waits_ns = if course.cancel_after.is_some() { RINGS_NS } else { self.script.answer_after_ns };
        let mut call = Call {
            state: State::Ringing { answer_at: now + waits_ns },
            number: number.unwrap_or(0),
            course,
            source,
            invite: invite.raw().to_vec(),
            response: vec![],
            tag: format!("b{}{}", self.tally.calls, self.run),
            socket,
            codec: self.choose(said.as_ref().map(|said| &said.codecs[..]).unwrap_or_default()),
            direction: said.as_ref().map_or(Direction::Both, |said| said.direction.answer()),
            version: 1,
            remote: said.map(|said| said.remote),
            offered: (0, vec![]),
            cseq: 0,
            bye_at: None,
            info: 0,
            wake_at: u64::MAX,
        };
        self.active += 1;
        match (refusal, self.script.ring) {
            (Some(status), _) => self.refuse(&mut call, now, status),
            (None, Ring::None) if waits_ns == 0 => self.answer(&mut call, now),
            (None, Ring::None) => self.respond(&mut call, 100, false),
            (None, Ring::Ringing) => self.respond(&mut call, 180, false),
            (None, Ring::Progress) => self.respond(&mut call, 183, true),
        }
        let id = invite.call_id().to_vec();
        self.calls.insert(id.clone(), call);
        self.with_call(&id, |_, _| ());
    }

    /// What is spoken, of what the other side offers.
    fn choose(&self, offered: &[Codec]) -> Codec {
        let own = self.script.codec;
        if offered.contains(&own) { own } else { offered.first().copied().unwrap_or(own) }
    }

    /// Sends the final answer that script and scenario want.
    fn answer(&mut self, call: &mut Call, now: u64) {
        let unanswered = call.course.cancel_after.map(|_| 480);
        if let Some(status) = self.script.refuse.or(call.course.answer).or(unanswered) {
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
        let session_id = u64::from(call.number);
        let Call { codec, version, direction, .. } = *call;
        Description { address, codec, session_id, version, direction, digits: true }.text()
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
                call.bye_at = call.course.callee_hangs_up.map(|ns| now.saturating_add(ns));
                if let Some(said) = session::understand(ack.body()) {
                    call.remote = Some(said.remote);
                }
                self.speak(call);
            }
            State::Agreed(_) if call.offered.0 == ack.cseq().number => {
                call.state = State::Talking;
                if let Some(said) = session::understand(ack.body()) {
                    (call.remote, call.direction) = (Some(said.remote), said.direction.answer());
                }
                self.speak(call);
            }
            State::Refused(_) => self.end(call, now),
            _ => (),
        }
    }

    /// Speaks where and as the session says, or not at all.
    fn speak(&mut self, call: &Call) {
        if !call.direction.sends() {
            self.outputs.push_back(Output::Rest(call.number));
        } else if let (Some(socket), Some(remote)) = (call.socket, call.remote) {
            let (number, codec) = (call.number, call.codec);
            self.outputs.push_back(Output::Speak { call: number, socket, remote, codec });
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

    /// A re-INVITE or UPDATE. Whoever moves or changes the codec is silent until all know it; so are we, until the ACK.
    fn on_new_offer(&mut self, call: &mut Call, now: u64, source: SocketAddr, request: &Message<'_>) {
        if matches!(call.state, State::Ending(_) | State::Over { .. }) {
            return self.reply(request, source, 481);
        }
        let number = request.cseq().number;
        if call.offered.0 == number {
            self.tally.repeated += 1;
            self.outputs.push_back(Output::Send { to: source, bytes: call.offered.1.clone() });
            return;
        }
        let is_invite = request.method() == Method::Invite;
        if is_invite && !matches!(call.state, State::Talking | State::Notifying(_)) {
            // One offer after the other (RFC 3261 section 14.2).
            return self.reply(request, source, 491);
        }
        self.tally.reinvites += 1;
        call.version += 1;
        if let Some(said) = session::understand(request.body()) {
            self.tally.holds += u64::from(!said.direction.answer().sends() && call.direction.sends());
            call.direction = said.direction.answer();
            call.remote = Some(said.remote);
            if !said.codecs.contains(&call.codec) {
                call.codec = self.choose(&said.codecs);
            }
        }
        let mut reply = Writer::reply_from(request, source, 200, None);
        reply.header("Contact", format!("<sip:callee@{}>", self.script.local));
        if is_invite || !request.body().is_empty() {
            let answer = self.session_of(call);
            reply.body("application/sdp", answer.as_bytes());
        }
        let bytes = reply.finish();
        call.offered = (number, bytes.clone());
        if is_invite {
            self.outputs.push_back(Output::Rest(call.number));
            let answer = Resend::new(now, bytes, source, T2);
            self.outputs.push_back(answer.send());
            call.state = State::Agreed(answer);
        } else {
            self.outputs.push_back(Output::Send { to: source, bytes });
            self.speak(call);
        }
    }

    fn on_info(&mut self, call: &mut Call, source: SocketAddr, request: &Message<'_>) {
        self.reply(request, source, 200);
        if call.offered.0 == request.cseq().number {
            self.tally.repeated += 1;
            return;
        }
        call.offered.0 = request.cseq().number;
        let body = String::from_utf8_lossy(request.body());
        let signal = body.lines().find_map(|line| line.trim().strip_prefix("Signal=")?.trim().chars().next());
        let Some(digit) = signal else { return };
        self.tally.info_digits += 1;
        let expected = call.course.info_digits().nth(call.info);
        self.tally.wrong_info_digits += u64::from(expected != Some(digit));
        call.info += 1;
    }

    /// Accepts a transfer and reports it as done; nobody is called.
    fn on_refer(&mut self, call: &mut Call, now: u64, source: SocketAddr, request: &Message<'_>) {
        if !matches!(call.state, State::Talking) {
            // Repeated, or at a bad moment.
            let status = match call.state {
                State::Notifying(_) => 202,
                State::Ending(_) | State::Over { .. } => 481,
                _ => 491,
            };
            return self.reply(request, source, status);
        }
        let mut reply = Writer::reply_from(request, source, 202, None);
        reply.header("Contact", format!("<sip:callee@{}>", self.script.local));
        self.outputs.push_back(Output::Send { to: source, bytes: reply.finish() });
        self.tally.transfers += 1;
        let mut notify = self.request(call, "NOTIFY");
        notify
            .header("Contact", format!("<sip:callee@{}>", self.script.local))
            .header("Event", "refer")
            .header("Subscription-State", "terminated;reason=noresource")
            .body("message/sipfrag", b"SIP/2.0 200 OK\r\n");
        let news = Resend::new(now, notify.finish(), self.next_hop(call), T2);
        self.outputs.push_back(news.send());
        call.state = State::Notifying(news);
    }

    fn on_other(&mut self, source: SocketAddr, request: &Message<'_>) {
        self.tally.others += 1;
        self.reply(request, source, 200);
    }

    fn on_response(&mut self, call: &mut Call, now: u64, status: u16, response: &Message<'_>) {
        if status < 200 || response.cseq().number != call.cseq {
            return;
        }
        match (&call.state, response.method()) {
            (State::Ending(_), Method::Bye) => {
                if call.bye_at.is_some() && status < 300 {
                    self.tally.hung_up += 1;
                }
                self.end(call, now);
            }
            (State::Notifying(_), Method::Notify) => call.state = State::Talking,
            _ => (),
        }
    }

    fn hang_up(&mut self, call: &mut Call, now: u64) {
        let bytes = self.request(call, "BYE").finish();
        let bye = Resend::new(now, bytes, self.next_hop(call), T2);
        self.outputs.push_back(bye.send());
        call.state = State::Ending(bye);
    }

    fn dialog(call: &Call) -> Dialog {
        let invite = Message::parse(&call.invite, Framing::Datagram).expect("it was read before");
        let answer = Message::parse(&call.response, Framing::Datagram).expect("we wrote it");
        Dialog::of_callee(&invite, answer.to().raw.to_vec(), call.source)
    }

    fn next_hop(&self, call: &Call) -> SocketAddr {
        Self::dialog(call).next_hop
    }

    /// The next request of our own within the dialog.
    fn request(&self, call: &mut Call, method: &str) -> Writer {
        call.cseq += 1;
        let (dialog, cseq) = (Self::dialog(call), call.cseq);
        let via = format!("SIP/2.0/UDP {};branch=z9hG4bK{cseq}x{};rport", self.script.local, call.tag);
        let invite = Message::parse(&call.invite, Framing::Datagram).expect("it was read before");
        dialog.request(method, &via, invite.call_id(), cseq)
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

impl Call {
    fn wakes_at(&self) -> u64 {
        match &self.state {
            State::Ringing { answer_at } => *answer_at,
            State::Answered(resend)
            | State::Refused(resend)
            | State::Agreed(resend)
            | State::Notifying(resend)
            | State::Ending(resend) => resend.at,
            State::Talking => self.bye_at.unwrap_or(u64::MAX),
            State::Settling { until } | State::Over { until } => *until,
        }
    }
}
