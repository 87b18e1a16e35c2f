//! Calling: the INVITE, what rings, the answer, giving up.

use super::super::plan::{Acks, Plan};
use super::super::world::SBC;
use super::dialog::{ALLOW, Dialog, End, State, Todo, number_of, pending};
use super::{Client, Phone, Purpose, Sent, description};
use base::Instant;
use core::net::SocketAddr;
use sip::message::write::Writer;
use sip::message::{Message, Method};
use std::collections::BTreeMap;

impl Phone {
    /// Calls `user` through the engine; the number of the dialog.
    pub fn call(&mut self, now: Instant, user: &str, plan: &Plan) -> usize {
        let (via, tag, call_id) = (self.via(), self.token(8), self.token(16));
        let id = self.add_dialog(number_of(user), true, call_id.clone(), tag.clone(), plan.clone());
        let mut writer = Writer::request(b"INVITE", format!("sip:{user}@{SBC}").as_bytes());
        writer.header("Via", via).header("Max-Forwards", plan.max_forwards.to_string());
        let from = format!("<sip:{}@{}>;tag=", plan.caller, self.address);
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

    pub(super) fn add_dialog(
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

    pub(super) fn write_abilities(&self, writer: &mut Writer, id: usize) {
        let plan = &self.dialogs[id].plan;
        let update = if plan.updates { ", UPDATE" } else { "" };
        writer.header("Contact", format!("<sip:me@{}>", self.address));
        writer.header("Allow", format!("{ALLOW}{update}"));
        if !plan.supported.is_empty() {
            writer.header("Supported", plan.supported.join(", "));
        }
    }

    /// What we say of our media now.
    pub(super) fn describe(&self, id: usize) -> Vec<u8> {
        let dialog = &self.dialogs[id];
        let rtp = SocketAddr::new(self.address.ip(), dialog.rtp_port);
        description::write(rtp, dialog.version, &dialog.codecs, dialog.direction)
    }

    pub(super) fn give_up(&mut self, now: Instant, id: usize) {
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
    pub(super) fn lose(&mut self, now: Instant, id: usize, message: &Message<'_>) {
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

    pub(super) fn on_call_answer(
        &mut self,
        now: Instant,
        id: usize,
        client: usize,
        code: u16,
        message: &Message<'_>,
    ) {
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
    pub(super) fn check_answer(&mut self, id: usize, message: &Message<'_>) {
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

    pub(super) fn on_ringing(&mut self, now: Instant, id: usize, client: usize, message: &Message<'_>) {
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

    pub(super) fn acknowledge_reliable(&mut self, now: Instant, id: usize, message: &Message<'_>) {
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

    pub(super) fn on_answered(&mut self, now: Instant, id: usize, client: usize, message: &Message<'_>) {
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
    pub(super) fn on_up(&mut self, now: Instant, id: usize) {
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

    pub(super) fn send_ack(&mut self, id: usize, cseq: u32, sdp: Option<&[u8]>) {
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
}
