//! What a phone does in a call: sets it up from either side, changes it, ends it.

use super::description::{self, Remote};
use super::{Client, GIVE_UP, Phone, Purpose, Sent, T1, T2};
use crate::plan::{Acks, Act, Answer, Plan, ms, seconds};
use crate::world::SBC;
use base::{Duration, Instant};
use core::net::SocketAddr;
use media::wire::rtp::Header;
use sip::frame::Framing;
use sip::message::write::Writer;
use sip::message::{Message, Method, Refresher};
use std::collections::BTreeMap;

/// One dialog of a phone; a callee that forks has several in a call.
pub struct Dialog {
    /// Of the call, as it was dialled.
    pub number: u32,
    pub is_caller: bool,
    pub call_id: Vec<u8>,
    pub state: State,
    pub end: Option<End>,
    pub plan: Plan,
    pub has_vanished: bool,
    pub rtp_port: u16,
    pub rtp_heard: u64,
    pub codec_heard: Option<u8>,
    /// What the other side said last of its media.
    pub remote: Option<Remote>,
    /// What happened: status of an answer or method of a request, in order.
    pub heard: Vec<(Instant, String)>,
    /// The final answer to the INVITE, with its header section.
    pub answer_text: String,
    pub ring_text: String,
    /// The engine said that it does not know this dialog.
    pub lost: Option<String>,
    sip: Option<sip::dialog::Dialog>,
    local_tag: Vec<u8>,
    remote_tag: Vec<u8>,
    /// The caller's INVITE.
    invite: Option<usize>,
    direction: &'static str,
    codecs: Vec<u8>,
    version: u32,
    /// Our INVITE or UPDATE with an offer, or for one.
    offer_out: Option<usize>,
    /// A re-INVITE or UPDATE of the engine that we think about.
    offer_in: Option<usize>,
    unacked: Option<Unacked>,
    acks: BTreeMap<u32, Vec<u8>>,
    reliable: Option<Reliable>,
    rseq: u32,
    rseq_heard: Option<u32>,
    session: Option<(u32, bool)>,
    session_serial: u32,
    rtp_sequence: u16,
    rtp_runs: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Calling,
    Early,
    Up,
    Ended,
}

/// How a dialog ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Refused(u16),
    Cancelled,
    ByeSent,
    ByeHeard,
    /// The engine did not answer, or no longer knew it.
    Lost,
    /// Nobody refreshed the session.
    Expired,
    NoAck,
}

/// A 2xx of ours without its ACK.
struct Unacked {
    cseq: u32,
    bytes: Vec<u8>,
    gap: Duration,
    /// It had the offer.
    wants_answer: bool,
}

struct Reliable {
    rseq: u32,
    bytes: Vec<u8>,
    gap: Duration,
}

/// What an entry of the agenda is; its number is that of a client, a server or a dialog.
#[derive(Clone, Copy, Debug)]
pub enum Todo {
    ClientResend,
    ClientGiveUp,
    LosePatience,
    ServerResend,
    ServerGiveUp,
    Answer(usize),
    AnswerOffer,
    TakeBack,
    Cancel,
    Act(usize),
    Bye,
    Vanish,
    Rtp,
    Refresh(u32),
    Expire(u32),
    Repeat2xx(u32),
    LoseAck(u32),
    RepeatReliable(u32),
    LosePrack(u32),
}

const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, INFO, MESSAGE";

impl Phone {
    pub(super) fn act(&mut self, now: Instant, id: usize, todo: Todo) {
        match todo {
            Todo::ClientResend => self.on_client_resend(now, id),
            Todo::ClientGiveUp => self.on_client_give_up(now, id),
            Todo::LosePatience => self.cancel(now, id),
            Todo::TakeBack => self.cancel(now, id),
            Todo::ServerResend => self.on_server_resend(now, id),
            Todo::ServerGiveUp => self.servers[id].is_acked = true,
            Todo::Answer(step) => self.on_answer_step(now, id, step),
            Todo::AnswerOffer => self.answer_offer(now, id),
            Todo::Cancel => self.give_up(now, id),
            Todo::Act(step) => self.on_act(now, id, step),
            Todo::Bye => self.hang_up(now, id),
            Todo::Vanish => self.vanish(id),
            Todo::Rtp => self.send_rtp(now, id),
            Todo::Refresh(serial) => self.refresh(now, id, serial),
            Todo::Expire(serial) => self.expire(now, id, serial),
            Todo::Repeat2xx(cseq) => self.repeat_2xx(now, id, cseq),
            Todo::LoseAck(cseq) => self.lose_ack(now, id, cseq),
            Todo::RepeatReliable(rseq) => self.repeat_reliable(now, id, rseq),
            Todo::LosePrack(rseq) => self.lose_prack(now, id, rseq),
        }
    }

    // ---- the caller

    /// Calls `user` through the engine; the number of the dialog.
    pub fn call(&mut self, now: Instant, user: &str, plan: &Plan) -> usize {
        let (via, tag, call_id) = (self.via(), self.token(8), self.token(16));
        let id = self.add_dialog(number_of(user), true, call_id.clone(), tag.clone(), plan.clone());
        let mut writer = Writer::request(b"INVITE", format!("sip:{user}@{SBC}").as_bytes());
        writer.header("Via", via).header("Max-Forwards", plan.max_forwards.to_string());
        let from = format!("<sip:caller@{}>;tag=", self.address);
        writer.header("From", [from.as_bytes(), &tag].concat());
        writer.header("To", format!("<sip:{user}@{SBC}>")).header("Call-ID", &call_id);
        writer.header("CSeq", "1 INVITE");
        self.write_abilities(&mut writer, id);
        if !plan.required.is_empty() {
            writer.header("Require", plan.required.join(", "));
        }
        if let Some(seconds) = plan.session {
            let who = if plan.refresher.is_empty() { "" } else { ";refresher=" };
            writer.header("Session-Expires", format!("{seconds}{who}{}", plan.refresher));
        }
        for (name, value) in &plan.headers {
            writer.header(name, value);
        }
        if !plan.late_offer {
            writer.body("application/sdp", &self.describe(id));
        }
        let bytes = writer.finish();
        let client = self.request(now, Some(id), Purpose::Call, bytes);
        self.dialogs[id].invite = Some(client);
        if let Some(after) = plan.cancel_after {
            self.later(now + after, id, Todo::Cancel);
        }
        if let Some(after) = plan.vanish_after {
            self.later(now + after, id, Todo::Vanish);
        }
        id
    }

    fn add_dialog(
        &mut self,
        number: u32,
        is_caller: bool,
        call_id: Vec<u8>,
        local_tag: Vec<u8>,
        plan: Plan,
    ) -> usize {
        let rtp_port = self.next_port;
        self.next_port += 2;
        self.dialogs.push(Dialog {
            number,
            is_caller,
            call_id,
            state: State::Calling,
            end: None,
            codecs: plan.codecs.clone(),
            plan,
            has_vanished: false,
            rtp_port,
            rtp_heard: 0,
            codec_heard: None,
            remote: None,
            heard: Vec::new(),
            answer_text: String::new(),
            ring_text: String::new(),
            lost: None,
            sip: None,
            local_tag,
            remote_tag: Vec::new(),
            invite: None,
            direction: "sendrecv",
            version: 1,
            offer_out: None,
            offer_in: None,
            unacked: None,
            acks: BTreeMap::new(),
            reliable: None,
            rseq: 0,
            rseq_heard: None,
            session: None,
            session_serial: 0,
            rtp_sequence: 0,
            rtp_runs: false,
        });
        self.dialogs.len() - 1
    }

    fn write_abilities(&self, writer: &mut Writer, id: usize) {
        let plan = &self.dialogs[id].plan;
        let update = if plan.updates { ", UPDATE" } else { "" };
        writer.header("Contact", format!("<sip:me@{}>", self.address));
        writer.header("Allow", format!("{ALLOW}{update}"));
        if !plan.supported.is_empty() {
            writer.header("Supported", plan.supported.join(", "));
        }
    }

    /// What we say of our media now.
    fn describe(&self, id: usize) -> Vec<u8> {
        let dialog = &self.dialogs[id];
        let rtp = SocketAddr::new(self.address.ip(), dialog.rtp_port);
        description::write(rtp, dialog.version, &dialog.codecs, dialog.direction)
    }

    fn give_up(&mut self, now: Instant, id: usize) {
        let dialog = &self.dialogs[id];
        let Some(invite) = dialog.invite else { return };
        if dialog.state == State::Early && dialog.plan.cancels_by_bye && dialog.sip.is_some() {
            return self.send_bye(now, id);
        }
        if matches!(dialog.state, State::Calling | State::Early) {
            self.cancel(now, invite);
        }
    }

    pub(super) fn on_response(&mut self, now: Instant, client: usize, code: u16, message: &Message<'_>) {
        let Client { dialog, purpose, .. } = self.clients[client];
        let (Some(id), false) = (dialog, purpose == Purpose::Lone) else {
            if code >= 200 {
                let method = String::from_utf8_lossy(&self.clients[client].method).into_owned();
                self.lone.push((method, code));
            }
            return;
        };
        let method = message.cseq().method;
        let word = match purpose {
            Purpose::Call => code.to_string(),
            _ => format!("{code} {}", String::from_utf8_lossy(method.as_bytes())),
        };
        self.dialogs[id].heard.push((now, word));
        match purpose {
            Purpose::Call => self.on_call_answer(now, id, client, code, message),
            Purpose::Offer => self.on_offer_answer(now, id, client, code, message),
            Purpose::Bye if code >= 200 => {
                // One of an early dialog may cross the refusal.
                let dialog = &self.dialogs[id];
                let was_up = !dialog.is_caller || dialog.answer_text.starts_with("SIP/2.0 2");
                if code == 481 && was_up && dialog.end == Some(End::ByeSent) {
                    self.dialogs[id].lost = Some(format!("{now:?} BYE gets {message:?}"));
                }
            }
            Purpose::Other if code == 481 && method != Method::Prack && method != Method::Cancel => {
                self.lose(now, id, message);
            }
            Purpose::Bye | Purpose::Other | Purpose::Lone => {}
        }
    }

    /// The engine says that it does not know a dialog that we believe in.
    fn lose(&mut self, now: Instant, id: usize, message: &Message<'_>) {
        let dialog = &mut self.dialogs[id];
        // Before the ACK our 2xx may not have arrived yet.
        if dialog.state == State::Up && dialog.unacked.is_none() {
            dialog.state = State::Ended;
            dialog.end = Some(End::Lost);
            // Its BYE may still be on the way.
            dialog.lost =
                Some(format!("{now:?} lost call {}: {}", dialog.number, message.raw().escape_ascii()));
        }
    }

    fn on_call_answer(&mut self, now: Instant, id: usize, client: usize, code: u16, message: &Message<'_>) {
        if code > 100 {
            self.check_answer(id, message);
        }
        match code {
            100 => {}
            101..200 => self.on_ringing(now, id, client, message),
            200..300 => self.on_answered(now, id, client, message),
            _ => {
                let dialog = &mut self.dialogs[id];
                dialog.answer_text = String::from_utf8_lossy(message.raw()).into_owned();
                dialog.state = State::Ended;
                if dialog.end.is_none() {
                    dialog.end = Some(End::Refused(code));
                }
            }
        }
    }

    /// However many forks there are behind it, the engine is one user agent.
    fn check_answer(&mut self, id: usize, message: &Message<'_>) {
        let dialog = &mut self.dialogs[id];
        let tag = message.to_tag().unwrap_or_default().to_vec();
        if dialog.remote_tag.is_empty() {
            dialog.remote_tag = tag;
        } else if dialog.remote_tag != tag {
            self.faults.push(format!("a second To tag: {message:?}"));
        }
        let code = message.status().unwrap_or_default();
        if code < 300 && message.contact().is_none() {
            self.faults.push(format!("no Contact: {message:?}"));
        }
    }

    fn on_ringing(&mut self, now: Instant, id: usize, client: usize, message: &Message<'_>) {
        let dialog = &mut self.dialogs[id];
        if !matches!(dialog.state, State::Calling | State::Early) {
            return;
        }
        dialog.state = State::Early;
        dialog.ring_text = String::from_utf8_lossy(message.raw()).into_owned();
        if dialog.sip.is_none() {
            dialog.sip = pending(&self.clients[client].bytes).fork(message);
        }
        if !message.body().is_empty() && !dialog.plan.late_offer {
            self.take_answer(now, id, message.body());
        }
        if message.requires(b"100rel") {
            self.acknowledge_reliable(now, id, message);
        }
    }

    fn acknowledge_reliable(&mut self, now: Instant, id: usize, message: &Message<'_>) {
        let Some(rseq) = message.rseq() else {
            return self.faults.push(format!("no RSeq: {message:?}"));
        };
        let dialog = &mut self.dialogs[id];
        let does = dialog.plan.supported.contains(&"100rel") || dialog.plan.required.contains(&"100rel");
        if !does {
            self.faults.push(format!("reliable although we do not do that: {message:?}"));
            return;
        }
        match dialog.rseq_heard {
            Some(last) if rseq <= last => return,
            Some(last) if rseq != last + 1 => {
                self.faults.push(format!("RSeq {rseq} after {last}: {message:?}"));
                return;
            }
            _ => dialog.rseq_heard = Some(rseq),
        }
        if dialog.plan.pracks {
            let rack = format!("{rseq} {} INVITE", message.cseq().number);
            self.send_within(now, id, Method::Prack, Purpose::Other, |writer| {
                writer.header("RAck", rack);
            });
        }
    }

    fn on_answered(&mut self, now: Instant, id: usize, client: usize, message: &Message<'_>) {
        let cseq = message.cseq().number;
        let dialog = &mut self.dialogs[id];
        if !matches!(dialog.state, State::Calling | State::Early) {
            if let Some(ack) = dialog.acks.get(&cseq) {
                self.outbox.push(Sent::Sip(ack.clone()));
            } else if dialog.end == Some(End::ByeSent) && dialog.sip.is_some() {
                // Our BYE within the early dialog crossed it.
                self.send_ack(id, cseq, None);
            }
            return;
        }
        dialog.answer_text = String::from_utf8_lossy(message.raw()).into_owned();
        match &mut dialog.sip {
            Some(sip) => sip.handle_response(message),
            None => dialog.sip = pending(&self.clients[client].bytes).fork(message),
        }
        let is_late = dialog.plan.late_offer;
        let acks = dialog.plan.acks;
        if !is_late && message.body().is_empty() && dialog.remote.is_none() {
            self.faults.push(format!("no SDP: {message:?}"));
        }
        if !is_late && !message.body().is_empty() {
            self.take_answer(now, id, message.body());
        }
        let answer = is_late.then(|| self.answer_offer_of(now, id, message.body(), None)).flatten();
        match acks {
            Acks::Never => {}
            Acks::Empty => self.send_ack(id, cseq, None),
            Acks::Normal => self.send_ack(id, cseq, answer.as_deref()),
        }
        self.set_session(now, id, message, true);
        self.on_up(now, id);
        if self.clients[client].cancel_wanted {
            self.hang_up(now, id);
        }
    }

    /// The first words of a call that is up.
    fn on_up(&mut self, now: Instant, id: usize) {
        let dialog = &mut self.dialogs[id];
        dialog.state = State::Up;
        let plan = dialog.plan.clone();
        let mut at = now;
        for (step, (after, _)) in plan.acts.iter().enumerate() {
            at += *after;
            self.later(at, id, Todo::Act(step));
        }
        if let Some(after) = plan.bye_after {
            self.later(now + after, id, Todo::Bye);
        }
        self.start_rtp(now, id);
    }

    fn send_ack(&mut self, id: usize, cseq: u32, sdp: Option<&[u8]>) {
        let via = self.via();
        let dialog = &mut self.dialogs[id];
        let Some(sip) = &dialog.sip else { return };
        let mut writer = sip.ack(cseq, &via);
        if let Some(sdp) = sdp {
            writer.body("application/sdp", sdp);
        }
        let bytes = writer.finish();
        dialog.acks.insert(cseq, bytes.clone());
        self.outbox.push(Sent::Sip(bytes));
    }

    // ---- the callee

    pub(super) fn on_request(&mut self, now: Instant, server: usize, message: &Message<'_>) {
        match (message.to_tag(), message.method()) {
            (Some(_), _) => self.on_request_within(now, server, message),
            (None, Method::Invite) => self.on_call(now, server, message),
            (None, Method::Options) => drop(self.respond(now, server, 200, b"options", |_| {})),
            (None, _) => {
                self.faults.push(format!("outside of a dialog: {message:?}"));
                self.respond(now, server, 481, b"none", |_| {});
            }
        }
    }

    fn on_call(&mut self, now: Instant, server: usize, message: &Message<'_>) {
        let user = message.request_uri().and_then(|uri| uri.user_text()).unwrap_or_default();
        let number = number_of(&String::from_utf8_lossy(&user));
        let plan = (self.answering)(&mut self.rng, number);
        let (first, min_se) = (plan.answers.first().map(|(after, _)| *after), plan.min_se);
        let does_timer = plan.supported.contains(&"timer");
        let (vanish_after, says_trying) = (plan.vanish_after, plan.says_trying);
        self.servers[server].plan = Some(plan);
        self.servers[server].number = number;
        let asked = message.session_expires().map(|s| s.seconds);
        if does_timer && asked.is_some_and(|seconds| seconds < min_se) {
            self.respond(now, server, 422, b"short", |writer| {
                writer.header("Min-SE", min_se.to_string());
            });
            return;
        }
        if let Some(after) = first {
            if after > ms(200) && says_trying {
                self.respond(now, server, 100, b"", |_| {}); // RFC 3261 section 17.2.1
            }
            self.later(now + after, server, Todo::Answer(0));
        }
        if let Some(after) = vanish_after {
            let id = self.fork(server, 0);
            self.later(now + after, id, Todo::Vanish);
        }
    }

    /// The dialog of one To tag.
    fn fork(&mut self, server: usize, fork: u8) -> usize {
        if let Some(id) = self.servers[server].forks.get(&fork) {
            return *id;
        }
        let (request, number) = (self.servers[server].request.clone(), self.servers[server].number);
        let message = Message::parse(&request, Framing::Stream).expect("it was read before");
        let plan = self.servers[server].plan.clone().expect("set when it came");
        let tag = self.token(8);
        let id = self.add_dialog(number, false, message.call_id().to_vec(), tag.clone(), plan);
        let dialog = &mut self.dialogs[id];
        dialog.heard.push((Instant(0), "INVITE".into()));
        match sip::dialog::Dialog::uas(&message, &tag) {
            Ok(sip) => dialog.sip = Some(sip),
            Err(error) => self.faults.push(format!("{error}: {message:?}")),
        }
        self.servers[server].forks.insert(fork, id);
        id
    }

    fn on_answer_step(&mut self, now: Instant, server: usize, step: usize) {
        let Some(plan) = self.servers[server].plan.clone() else { return };
        let Some((_, answer)) = plan.answers.get(step).copied() else { return };
        let code = self.servers[server].code;
        if code >= 300 || (code >= 200 && !(200..300).contains(&answer.code)) {
            return;
        }
        if let Some(first) = self.servers[server].forks.values().next()
            && self.dialogs[*first].has_vanished
        {
            return;
        }
        if answer.code > 100 {
            let id = self.fork(server, answer.fork);
            if self.dialogs[id].reliable.is_some() && answer.code < 300 {
                return self.later(now + ms(300), server, Todo::Answer(step));
            }
            if matches!(self.dialogs[id].state, State::Up | State::Ended) {
                return;
            }
        }
        self.give_answer(now, server, answer);
        if let Some((after, _)) = plan.answers.get(step + 1) {
            self.later(now + *after, server, Todo::Answer(step + 1));
        }
    }

    fn give_answer(&mut self, now: Instant, server: usize, answer: Answer) {
        if answer.code == 100 {
            self.respond(now, server, 100, b"", |_| {});
            return;
        }
        let id = self.fork(server, answer.fork);
        let request = self.servers[server].request.clone();
        let message = Message::parse(&request, Framing::Stream).expect("it was read before");
        let tag = self.dialogs[id].local_tag.clone();
        if answer.code >= 300 {
            return self.refuse_call(now, server, answer.code, &tag);
        }
        let has_offer = !message.body().is_empty();
        let sdp = match (answer.sdp, has_offer) {
            (false, _) => None,
            (true, true) => match self.answer_offer_of(now, id, message.body(), answer.codec) {
                Some(sdp) => Some(sdp),
                None if answer.code >= 200 => return self.refuse_call(now, server, 488, &tag),
                None => None,
            },
            (true, false) if answer.code >= 200 => Some(self.describe(id)),
            (true, false) => None,
        };
        let reliable = answer.reliable
            && answer.code < 200
            && (message.supports(b"100rel") || message.requires(b"100rel"));
        let mut probe = Writer::request(b"X", b"sip:x");
        self.write_abilities(&mut probe, id);
        let abilities = probe.finish();
        if reliable {
            self.dialogs[id].rseq += 1;
        }
        let rseq = self.dialogs[id].rseq;
        let session = (answer.code >= 200).then(|| self.session_answer(id, &message)).flatten();
        let bytes = self.respond(now, server, answer.code, &tag, |writer| {
            copy_lines(&abilities, writer);
            if reliable {
                writer.header("Require", "100rel").header("RSeq", rseq.to_string());
            }
            write_session(writer, session);
            if let Some(sdp) = &sdp {
                writer.body("application/sdp", sdp);
            }
        });
        if reliable {
            self.dialogs[id].reliable = Some(Reliable { rseq, bytes: bytes.clone(), gap: T1 });
            self.later(now + T1, id, Todo::RepeatReliable(rseq));
            self.later(now + GIVE_UP, id, Todo::LosePrack(rseq));
        }
        if answer.code >= 200 {
            self.start_session(now, id, session);
            self.await_ack(now, id, message.cseq().number, bytes, !has_offer);
            if let Some(sip) = &mut self.dialogs[id].sip {
                sip.confirm();
            }
            self.on_up(now, id);
        } else {
            self.dialogs[id].state = State::Early;
            if sdp.is_some() {
                self.start_rtp(now, id);
            }
        }
    }

    fn refuse_call(&mut self, now: Instant, server: usize, code: u16, tag: &[u8]) {
        self.respond(now, server, code, tag, |writer| match code {
            302 => drop(writer.header("Contact", "<sip:elsewhere@203.0.113.250>")),
            401 => drop(writer.header("WWW-Authenticate", "Digest realm=\"r\", nonce=\"n\"")),
            407 => drop(writer.header("Proxy-Authenticate", "Digest realm=\"r\", nonce=\"n\"")),
            503 => drop(writer.header("Retry-After", "5")),
            _ => {}
        });
        self.end_forks(server, End::Refused(code));
    }

    fn end_forks(&mut self, server: usize, end: End) {
        let forks: Vec<usize> = self.servers[server].forks.values().copied().collect();
        for id in forks {
            let dialog = &mut self.dialogs[id];
            if dialog.state != State::Ended {
                dialog.state = State::Ended;
                dialog.end = Some(end);
                dialog.reliable = None;
            }
        }
    }

    pub(super) fn on_cancel(&mut self, now: Instant, server: usize, invite: Option<usize>) {
        let Some(invite) = invite else {
            self.respond(now, server, 481, b"none", |_| {});
            return;
        };
        self.respond(now, server, 200, b"cancel", |_| {});
        if self.servers[invite].code < 200 {
            self.respond(now, invite, 487, b"cancelled", |_| {});
            self.end_forks(invite, End::Cancelled);
            for dialog in &mut self.dialogs {
                dialog.offer_in.take_if(|offer| *offer == invite);
            }
        }
    }

    fn await_ack(&mut self, now: Instant, id: usize, cseq: u32, bytes: Vec<u8>, wants_answer: bool) {
        self.dialogs[id].unacked = Some(Unacked { cseq, bytes, gap: T1, wants_answer });
        self.later(now + T1, id, Todo::Repeat2xx(cseq));
        self.later(now + GIVE_UP, id, Todo::LoseAck(cseq));
    }

    fn repeat_2xx(&mut self, now: Instant, id: usize, cseq: u32) {
        let dialog = &mut self.dialogs[id];
        let is_over = dialog.has_vanished || dialog.state == State::Ended;
        let Some(unacked) = dialog.unacked.as_mut().filter(|u| u.cseq == cseq && !is_over) else { return };
        unacked.gap = (unacked.gap * 2).min(T2);
        let at = now + unacked.gap;
        self.outbox.push(Sent::Sip(unacked.bytes.clone()));
        self.later(at, id, Todo::Repeat2xx(cseq));
    }

    fn lose_ack(&mut self, now: Instant, id: usize, cseq: u32) {
        let dialog = &mut self.dialogs[id];
        if dialog.has_vanished || dialog.state == State::Ended {
            return;
        }
        if dialog.unacked.take_if(|u| u.cseq == cseq).is_some() {
            self.send_bye(now, id);
            self.dialogs[id].end = Some(End::NoAck);
        }
    }

    fn repeat_reliable(&mut self, now: Instant, id: usize, rseq: u32) {
        let dialog = &mut self.dialogs[id];
        let is_over = dialog.has_vanished || dialog.state == State::Ended;
        let Some(reliable) = dialog.reliable.as_mut().filter(|r| r.rseq == rseq && !is_over) else { return };
        reliable.gap *= 2;
        let at = now + reliable.gap;
        self.outbox.push(Sent::Sip(reliable.bytes.clone()));
        self.later(at, id, Todo::RepeatReliable(rseq));
    }

    /// A reliable answer that nobody acknowledges ends the call (RFC 3262 section 3).
    fn lose_prack(&mut self, now: Instant, id: usize, rseq: u32) {
        let dialog = &mut self.dialogs[id];
        if dialog.reliable.take_if(|r| r.rseq == rseq).is_none() || dialog.is_over() {
            return;
        }
        dialog.state = State::Ended;
        dialog.end = Some(End::Refused(504));
        let server = self.servers.iter().position(|s| s.forks.values().any(|fork| *fork == id));
        if let Some(server) = server.filter(|server| self.servers[*server].code < 200) {
            self.refuse_call(now, server, 504, b"unheard");
        }
    }

    pub(super) fn on_ack(&mut self, now: Instant, message: &Message<'_>) {
        let Some(id) = self.dialog_of(message) else { return };
        let cseq = message.cseq().number;
        let Some(unacked) = self.dialogs[id].unacked.take_if(|u| u.cseq == cseq) else { return };
        self.dialogs[id].heard.push((now, "ACK".into()));
        if unacked.wants_answer && !message.body().is_empty() {
            self.take_answer(now, id, message.body());
        }
    }

    // ---- within the dialog

    fn dialog_of(&self, message: &Message<'_>) -> Option<usize> {
        self.dialogs.iter().position(|d| {
            d.call_id == message.call_id() && Some(&*d.local_tag) == message.to_tag() && d.sip.is_some()
        })
    }

    fn on_request_within(&mut self, now: Instant, server: usize, message: &Message<'_>) {
        let Some(id) = self.dialog_of(message) else {
            self.respond(now, server, 481, b"none", |_| {});
            return;
        };
        let dialog = &mut self.dialogs[id];
        let method = message.method();
        dialog.heard.push((now, String::from_utf8_lossy(method.as_bytes()).into_owned()));
        let in_order = dialog.sip.as_mut().is_some_and(|sip| sip.check_cseq(message).is_ok());
        if !in_order {
            self.respond(now, server, 500, b"", |_| {});
            return;
        }
        if method == Method::Bye {
            return self.on_bye(now, server, id, message);
        }
        if dialog.state == State::Ended {
            self.respond(now, server, 481, b"", |_| {});
            return;
        }
        match method {
            Method::Invite | Method::Update => self.on_offer(now, server, id, message),
            Method::Prack => {
                let rack = message.rack().map(|rack| rack.rseq);
                let found = dialog.reliable.take_if(|r| Some(r.rseq) == rack).is_some();
                self.respond(now, server, if found { 200 } else { 481 }, b"", |_| {});
            }
            Method::Info | Method::Message | Method::Options => {
                self.respond(now, server, 200, b"", |_| {});
            }
            _ => {
                self.faults.push(format!("what for? {message:?}"));
                self.respond(now, server, 405, b"", |_| {});
            }
        }
    }

    fn on_bye(&mut self, now: Instant, server: usize, id: usize, message: &Message<'_>) {
        self.respond(now, server, 200, b"", |_| {});
        let dialog = &mut self.dialogs[id];
        if dialog.state == State::Early || dialog.state == State::Calling {
            let text = message.raw().escape_ascii();
            self.faults.push(format!("BYE within an early dialog: {text}"));
        }
        let dialog = &mut self.dialogs[id];
        dialog.state = State::Ended;
        dialog.end = Some(End::ByeHeard);
        dialog.lost = None;
        dialog.unacked = None;
        dialog.session = None;
        if let Some(offer) = dialog.offer_in.take() {
            self.respond(now, offer, 487, b"", |_| {});
        }
    }

    fn on_offer(&mut self, now: Instant, server: usize, id: usize, message: &Message<'_>) {
        let is_refresh = message.method() == Method::Update && message.body().is_empty();
        if is_refresh {
            return self.accept_offer(now, server, id);
        }
        let dialog = &mut self.dialogs[id];
        if dialog.offer_in.is_some() {
            self.faults.push(format!("a second offer before the first is answered: {message:?}"));
            self.respond(now, server, 500, b"", |writer| {
                writer.header("Retry-After", "2");
            });
            return;
        }
        if dialog.offer_out.is_some() || dialog.unacked.is_some() {
            self.respond(now, server, 491, b"", |_| {});
            return;
        }
        dialog.offer_in = Some(server);
        let delay = dialog.plan.offer_delay;
        self.later(now + delay, server, Todo::AnswerOffer);
    }

    /// The owner has thought about an offer of the engine.
    fn answer_offer(&mut self, now: Instant, server: usize) {
        let Some(id) = self.dialogs.iter().position(|d| d.offer_in == Some(server)) else { return };
        let dialog = &mut self.dialogs[id];
        if dialog.has_vanished {
            return;
        }
        dialog.offer_in = None;
        let code = dialog.plan.offer_code;
        let message = self.servers[server].request.clone();
        let message = Message::parse(&message, Framing::Stream).expect("it was read before");
        let is_refresh = self.is_refresh(id, &message);
        if code != 200 && !is_refresh {
            self.respond(now, server, code, b"", |_| {});
            return;
        }
        self.accept_offer(now, server, id);
    }

    /// Whether an offer only repeats what we know: phones that refuse changes take these.
    fn is_refresh(&self, id: usize, message: &Message<'_>) -> bool {
        let (said, known) = (description::read(message.body()), &self.dialogs[id].remote);
        let same = |said: &Remote, known: &Remote| {
            (said.rtp, said.sends, said.receives) == (known.rtp, known.sends, known.receives)
        };
        said.zip(known.as_ref()).is_some_and(|(said, known)| same(&said, known))
    }

    fn accept_offer(&mut self, now: Instant, server: usize, id: usize) {
        let request = self.servers[server].request.clone();
        let message = Message::parse(&request, Framing::Stream).expect("it was read before");
        let is_invite = message.method() == Method::Invite;
        let has_offer = !message.body().is_empty();
        let sdp = match (has_offer, is_invite) {
            (true, _) => match self.answer_offer_of(now, id, message.body(), None) {
                Some(sdp) => Some(sdp),
                None => {
                    self.respond(now, server, 488, b"", |_| {});
                    return;
                }
            },
            (false, true) => {
                self.dialogs[id].version += 1;
                Some(self.describe(id))
            }
            (false, false) => None,
        };
        if let Some(sip) = &mut self.dialogs[id].sip {
            sip.handle_request(&message);
        }
        let session = self.session_answer(id, &message);
        let mut probe = Writer::request(b"X", b"sip:x");
        self.write_abilities(&mut probe, id);
        let abilities = probe.finish();
        let bytes = self.respond(now, server, 200, b"", |writer| {
            copy_lines(&abilities, writer);
            write_session(writer, session);
            if let Some(sdp) = &sdp {
                writer.body("application/sdp", sdp);
            }
        });
        self.start_session(now, id, session);
        if is_invite {
            self.await_ack(now, id, message.cseq().number, bytes, !has_offer);
        }
    }

    /// Takes an offer and gives the answer; `None` if there is no common codec.
    fn answer_offer_of(
        &mut self,
        now: Instant,
        id: usize,
        offer: &[u8],
        only: Option<u8>,
    ) -> Option<Vec<u8>> {
        let offer = description::read(offer)?;
        let dialog = &mut self.dialogs[id];
        let mine: Vec<u8> = match only {
            Some(codec) => vec![codec],
            None => dialog.plan.codecs.clone(),
        };
        let codec = mine.iter().copied().find(|codec| offer.codecs.contains(codec))?;
        dialog.codecs = vec![codec];
        dialog.plan.codecs.extend(only);
        dialog.direction = description::answering(&offer, "sendrecv");
        dialog.version += 1;
        dialog.remote = Some(offer);
        let sdp = self.describe(id);
        self.start_rtp(now, id);
        Some(sdp)
    }

    /// Takes the answer to an offer of ours.
    fn take_answer(&mut self, now: Instant, id: usize, answer: &[u8]) {
        let Some(remote) = description::read(answer) else {
            return self.faults.push(format!("no answer: {}", answer.escape_ascii()));
        };
        let dialog = &mut self.dialogs[id];
        // An answer may list more than was offered, but not nothing of it (RFC 3264 section 6.1).
        if !remote.codecs.iter().any(|codec| dialog.codecs.contains(codec)) {
            let (number, offered) = (dialog.number, dialog.codecs.clone());
            self.faults.push(format!("call {number} was answered {:?}, offered {offered:?}", remote.codecs));
        }
        self.dialogs[id].remote = Some(remote);
        self.start_rtp(now, id);
    }

    pub(super) fn send_within(
        &mut self,
        now: Instant,
        id: usize,
        method: Method<'_>,
        purpose: Purpose,
        fill: impl FnOnce(&mut Writer),
    ) -> Option<usize> {
        let via = self.via();
        let sip = self.dialogs[id].sip.as_mut()?;
        let mut writer = sip.next_request(method, &via);
        fill(&mut writer);
        let bytes = writer.finish();
        Some(self.request(now, Some(id), purpose, bytes))
    }

    /// A request that changes nothing.
    fn say(&mut self, now: Instant, id: usize, method: Method<'_>, fill: impl FnOnce(&mut Writer)) {
        self.send_within(now, id, method, Purpose::Other, fill);
    }

    fn on_act(&mut self, now: Instant, id: usize, step: usize) {
        let dialog = &self.dialogs[id];
        if dialog.state != State::Up || dialog.has_vanished {
            return;
        }
        let act = dialog.plan.acts[step].1;
        let is_offer = matches!(act, Act::Offer { .. } | Act::LateOffer | Act::TakenBack(_));
        let is_busy = dialog.offer_in.is_some() || dialog.offer_out.is_some() || dialog.unacked.is_some();
        if is_offer && is_busy {
            return self.later(now + seconds(1), id, Todo::Act(step));
        }
        self.do_act(now, id, act);
    }

    /// Does something within a call that is up.
    pub fn do_act(&mut self, now: Instant, id: usize, act: Act) {
        let text = |writer: &mut Writer| {
            writer.body("text/plain", b"hello");
        };
        match act {
            Act::Offer { update, direction, codec } => {
                let dialog = &mut self.dialogs[id];
                dialog.direction = direction;
                dialog.codecs = vec![codec, 8 - codec];
                dialog.plan.codecs.clone_from(&dialog.codecs);
                dialog.version += 1;
                let sdp = self.describe(id);
                self.offer(now, id, update, Some(&sdp));
            }
            Act::LateOffer => {
                self.offer(now, id, false, None);
            }
            Act::TakenBack(after) => {
                self.dialogs[id].version += 1;
                let sdp = self.describe(id);
                if let Some(client) = self.offer(now, id, false, Some(&sdp)) {
                    self.later(now + after, client, Todo::TakeBack);
                }
            }
            Act::Update => {
                self.offer(now, id, true, None);
            }
            Act::Info => self.say(now, id, Method::Info, text),
            Act::Message => self.say(now, id, Method::Message, text),
            Act::Options => self.say(now, id, Method::Options, |_| {}),
            Act::Refer => self.say(now, id, Method::Refer, |writer| {
                writer.header("Refer-To", "<sip:x@y.example>").header("Contact", "<sip:me@192.0.2.250>");
            }),
            Act::Unknown => self.say(now, id, Method::of(b"FETCH"), |_| {}),
            Act::Junk => {
                let mut junk = b"INVITE sip:1@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP x\r\nCSeq: -1".to_vec();
                let cut = self.rng.below(junk.len() as u64) as usize;
                junk.truncate(cut.max(5));
                self.outbox.push(Sent::Sip(junk));
            }
        }
    }

    fn offer(&mut self, now: Instant, id: usize, update: bool, sdp: Option<&[u8]>) -> Option<usize> {
        let mut probe = Writer::request(b"X", b"sip:x");
        self.write_abilities(&mut probe, id);
        let abilities = probe.finish();
        let session = self.dialogs[id].session.filter(|_| self.dialogs[id].plan.supported.contains(&"timer"));
        let method = if update { Method::Update } else { Method::Invite };
        let client = self.send_within(now, id, method, Purpose::Offer, |writer| {
            copy_lines(&abilities, writer);
            if let Some((interval, ours)) = session {
                let who = if ours { "uac" } else { "uas" };
                writer.header("Session-Expires", format!("{interval};refresher={who}"));
            }
            if let Some(sdp) = sdp {
                writer.body("application/sdp", sdp);
            }
        });
        if sdp.is_some() || !update {
            self.dialogs[id].offer_out = client;
        }
        client
    }

    fn on_offer_answer(&mut self, now: Instant, id: usize, client: usize, code: u16, message: &Message<'_>) {
        let cseq = message.cseq().number;
        let is_invite = message.cseq().method == Method::Invite;
        if code < 200 {
            return;
        }
        self.dialogs[id].offer_out.take_if(|out| *out == client);
        if code >= 300 {
            if code == 481 || code == 408 {
                self.lose(now, id, message);
            }
            if self.dialogs[id].session.is_some_and(|(_, ours)| ours) {
                // A refresh may have been refused; once more.
                let serial = self.dialogs[id].session_serial;
                self.later(now + seconds(4), id, Todo::Refresh(serial));
            }
            return;
        }
        if is_invite && let Some(ack) = self.dialogs[id].acks.get(&cseq) {
            let ack = ack.clone();
            return self.outbox.push(Sent::Sip(ack));
        }
        if let Some(sip) = &mut self.dialogs[id].sip {
            sip.handle_response(message);
        }
        let sent = self.clients[client].bytes.clone();
        let sent = Message::parse(&sent, Framing::Stream).expect("a phone writes SIP");
        let was_offer = !sent.body().is_empty();
        let is_over = self.dialogs[id].state == State::Ended;
        if was_offer && !is_over {
            match message.body().is_empty() {
                true => self.faults.push(format!("an offer without answer: {message:?}")),
                false => self.take_answer(now, id, message.body()),
            }
        }
        if is_invite {
            let answer = (!was_offer).then(|| self.answer_offer_of(now, id, message.body(), None)).flatten();
            self.send_ack(id, cseq, answer.as_deref());
        }
        self.set_session(now, id, message, true);
    }

    pub fn hang_up(&mut self, now: Instant, id: usize) {
        let dialog = &self.dialogs[id];
        if dialog.state != State::Up || dialog.has_vanished {
            return;
        }
        if dialog.unacked.is_some() {
            // RFC 3261 section 15: not before the ACK.
            return self.later(now + seconds(1), id, Todo::Bye);
        }
        self.send_bye(now, id);
    }

    fn send_bye(&mut self, now: Instant, id: usize) {
        let dialog = &mut self.dialogs[id];
        dialog.state = State::Ended;
        dialog.end = Some(End::ByeSent);
        dialog.unacked = None;
        if let Some(offer) = self.dialogs[id].offer_in.take() {
            self.respond(now, offer, 487, b"", |_| {});
        }
        self.send_within(now, id, Method::Bye, Purpose::Bye, |_| {});
    }

    fn vanish(&mut self, id: usize) {
        let call_id = self.dialogs[id].call_id.clone();
        for dialog in self.dialogs.iter_mut().filter(|d| d.call_id == call_id) {
            dialog.has_vanished = true;
        }
    }

    pub(super) fn on_unanswered(&mut self, _now: Instant, client: usize) {
        let Client { dialog, purpose, .. } = self.clients[client];
        let Some(dialog) = dialog.map(|id| &mut self.dialogs[id]) else { return };
        if matches!(purpose, Purpose::Call | Purpose::Offer) && dialog.state != State::Ended {
            dialog.state = State::Ended;
            dialog.end = Some(End::Lost);
        }
    }

    // ---- session timers (RFC 4028)

    /// What our 2xx says: seconds, and whether we refresh.
    fn session_answer(&self, id: usize, request: &Message<'_>) -> Option<(u32, bool)> {
        let plan = &self.dialogs[id].plan;
        let asked = request.session_expires()?;
        if !plan.supported.contains(&"timer") || !request.supports(b"timer") {
            return None;
        }
        let ours = match asked.refresher {
            Some(Refresher::Uac) => false,
            Some(Refresher::Uas) => true,
            None => plan.refresher == "uas",
        };
        Some((asked.seconds, ours))
    }

    /// What their 2xx says.
    fn set_session(&mut self, now: Instant, id: usize, answer: &Message<'_>, _is_ours: bool) {
        if !self.dialogs[id].plan.supported.contains(&"timer") {
            return;
        }
        let session = answer.session_expires().map(|s| (s.seconds, s.refresher != Some(Refresher::Uas)));
        self.start_session(now, id, session);
    }

    fn start_session(&mut self, now: Instant, id: usize, session: Option<(u32, bool)>) {
        let dialog = &mut self.dialogs[id];
        if dialog.state == State::Ended {
            return;
        }
        dialog.session = session;
        dialog.session_serial += 1;
        let serial = dialog.session_serial;
        match session {
            Some((interval, true)) => {
                self.later(now + seconds(u64::from(interval / 2)), id, Todo::Refresh(serial));
            }
            Some((interval, false)) => {
                let wait = u64::from(interval - (interval / 3).min(32));
                self.later(now + seconds(wait), id, Todo::Expire(serial));
            }
            None => {}
        }
    }

    fn refresh(&mut self, now: Instant, id: usize, serial: u32) {
        let dialog = &self.dialogs[id];
        if dialog.session_serial != serial || dialog.state != State::Up || dialog.has_vanished {
            return;
        }
        if dialog.offer_in.is_some() || dialog.offer_out.is_some() || dialog.unacked.is_some() {
            return self.later(now + seconds(2), id, Todo::Refresh(serial));
        }
        let by_update = self.rng.below(2) == 0;
        let sdp = (!by_update).then(|| self.describe(id));
        self.offer(now, id, by_update, sdp.as_deref());
    }

    fn expire(&mut self, now: Instant, id: usize, serial: u32) {
        let dialog = &self.dialogs[id];
        if dialog.session_serial != serial || dialog.state != State::Up || dialog.has_vanished {
            return;
        }
        // With an offer on its way the engine may have had no chance.
        if !dialog.is_busy() {
            let (number, session) = (dialog.number, dialog.session);
            self.faults.push(format!("{now:?} call {number} was not refreshed: {session:?}"));
        }
        self.send_bye(now, id);
        self.dialogs[id].end = Some(End::Expired);
    }

    // ---- media

    fn start_rtp(&mut self, now: Instant, id: usize) {
        let dialog = &mut self.dialogs[id];
        if dialog.plan.rtp_every.is_some() && !std::mem::replace(&mut dialog.rtp_runs, true) {
            self.later(now + ms(20), id, Todo::Rtp);
        }
    }

    fn send_rtp(&mut self, now: Instant, id: usize) {
        let dialog = &mut self.dialogs[id];
        let Some(every) =
            dialog.plan.rtp_every.filter(|_| dialog.state != State::Ended && !dialog.has_vanished)
        else {
            dialog.rtp_runs = false;
            return;
        };
        let sends = matches!(dialog.direction, "sendrecv" | "sendonly");
        if let Some(remote) = dialog.remote.as_ref().filter(|remote| sends && remote.receives)
            && let Some(to) = remote.rtp
        {
            let payload_type = dialog.codecs.iter().copied().find(|c| remote.codecs.contains(c)).unwrap_or(0);
            dialog.rtp_sequence = dialog.rtp_sequence.wrapping_add(1);
            let header = Header {
                marker: false,
                payload_type,
                sequence: dialog.rtp_sequence,
                timestamp: (now.0 / 125_000) as u32,
                ssrc: dialog.number * 2 + u32::from(!dialog.is_caller),
            };
            let mut bytes = header.to_bytes().to_vec();
            bytes.extend([0x55; 20]);
            let port = dialog.rtp_port;
            self.outbox.push(Sent::Rtp { port, to, bytes });
        }
        self.later(now + every, id, Todo::Rtp);
    }
}

impl Dialog {
    /// What it has heard, without times.
    pub fn words(&self) -> Vec<&str> {
        self.heard.iter().map(|(_, word)| word.as_str()).collect()
    }

    /// When it heard this first.
    pub fn heard_at(&self, word: &str) -> Option<Instant> {
        self.heard.iter().find(|(_, heard)| heard == word).map(|(at, _)| *at)
    }

    pub fn is_busy(&self) -> bool {
        self.offer_out.is_some() || self.offer_in.is_some()
    }

    /// Heard of it last, before it ended or was forgotten.
    pub fn is_over(&self) -> bool {
        self.state == State::Ended || self.has_vanished
    }
}

/// Digits of a user part but for the first, which chooses the route.
fn number_of(user: &str) -> u32 {
    user.get(1..).and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

fn pending(invite: &[u8]) -> sip::dialog::Dialog {
    sip::dialog::Dialog::uac(&Message::parse(invite, Framing::Stream).expect("a phone writes SIP"))
}

/// The header lines of a message that was only made to hold them.
fn copy_lines(from: &[u8], to: &mut Writer) {
    let text = String::from_utf8_lossy(from);
    for line in text.lines().skip(1) {
        if let Some((name, value)) = line.split_once(": ")
            && name != "Content-Length"
        {
            to.header(name, value);
        }
    }
}

fn write_session(writer: &mut Writer, session: Option<(u32, bool)>) {
    if let Some((interval, ours)) = session {
        let who = if ours { "uas" } else { "uac" };
        writer.header("Session-Expires", format!("{interval};refresher={who}"));
        if !ours {
            writer.header("Require", "timer");
        }
    }
}
