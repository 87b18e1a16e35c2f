//! Being called: the answers of a plan, forks, reliable responses, the 2xx until its ACK.

use super::super::plan::{Answer, ms};
use super::dialog::{End, Reliable, State, Todo, Unacked, copy_lines, number_of, write_session};
use super::{GIVE_UP, Phone, Sent, T1, T2};
use base::Instant;
use sip::frame::Framing;
use sip::message::write::Writer;
use sip::message::{Message, Method};

impl Phone {
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

    pub(super) fn on_call(&mut self, now: Instant, server: usize, message: &Message<'_>) {
        let user = message.request_uri().and_then(|uri| uri.user_text()).unwrap_or_default();
        let number = number_of(&String::from_utf8_lossy(&user));
        let plan = (self.answering)(&mut self.rng, number);
        let (first, min_se) = (plan.answers.first().map(|(after, _)| *after), plan.min_se);
        let does_timer = plan.supported.contains(&"timer");
        let (vanish_after, says_trying) = (plan.vanish_after, plan.says_trying);
        self.servers[server].plan = Some(plan);
        self.servers[server].number = number;
        self.offered += 1;
        self.most = self.most.max(self.calls_in());
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
    pub(super) fn fork(&mut self, server: usize, fork: u8) -> usize {
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

    pub(super) fn on_answer_step(&mut self, now: Instant, server: usize, step: usize) {
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

    pub(super) fn give_answer(&mut self, now: Instant, server: usize, answer: Answer) {
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

    pub(super) fn refuse_call(&mut self, now: Instant, server: usize, code: u16, tag: &[u8]) {
        self.respond(now, server, code, tag, |writer| match code {
            302 => drop(writer.header("Contact", "<sip:elsewhere@203.0.113.250>")),
            401 => drop(writer.header("WWW-Authenticate", "Digest realm=\"r\", nonce=\"n\"")),
            407 => drop(writer.header("Proxy-Authenticate", "Digest realm=\"r\", nonce=\"n\"")),
            503 => drop(writer.header("Retry-After", "5")),
            _ => {}
        });
        self.end_forks(server, End::Refused(code));
    }

    pub(super) fn end_forks(&mut self, server: usize, end: End) {
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

    pub(super) fn await_ack(
        &mut self,
        now: Instant,
        id: usize,
        cseq: u32,
        bytes: Vec<u8>,
        wants_answer: bool,
    ) {
        self.dialogs[id].unacked = Some(Unacked { cseq, bytes, gap: T1, wants_answer });
        self.later(now + T1, id, Todo::Repeat2xx(cseq));
        self.later(now + GIVE_UP, id, Todo::LoseAck(cseq));
    }

    pub(super) fn repeat_2xx(&mut self, now: Instant, id: usize, cseq: u32) {
        let dialog = &mut self.dialogs[id];
        let is_over = dialog.has_vanished || dialog.state == State::Ended;
        let Some(unacked) = dialog.unacked.as_mut().filter(|u| u.cseq == cseq && !is_over) else { return };
        unacked.gap = (unacked.gap * 2).min(T2);
        let at = now + unacked.gap;
        self.outbox.push(Sent::Sip(unacked.bytes.clone()));
        self.later(at, id, Todo::Repeat2xx(cseq));
    }

    pub(super) fn lose_ack(&mut self, now: Instant, id: usize, cseq: u32) {
        let dialog = &mut self.dialogs[id];
        if dialog.has_vanished || dialog.state == State::Ended {
            return;
        }
        if dialog.unacked.take_if(|u| u.cseq == cseq).is_some() {
            self.send_bye(now, id);
            self.dialogs[id].end = Some(End::NoAck);
        }
    }

    pub(super) fn repeat_reliable(&mut self, now: Instant, id: usize, rseq: u32) {
        let dialog = &mut self.dialogs[id];
        let is_over = dialog.has_vanished || dialog.state == State::Ended;
        let Some(reliable) = dialog.reliable.as_mut().filter(|r| r.rseq == rseq && !is_over) else { return };
        reliable.gap *= 2;
        let at = now + reliable.gap;
        self.outbox.push(Sent::Sip(reliable.bytes.clone()));
        self.later(at, id, Todo::RepeatReliable(rseq));
    }

    /// A reliable answer that nobody acknowledges ends the call (RFC 3262 section 3).
    pub(super) fn lose_prack(&mut self, now: Instant, id: usize, rseq: u32) {
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
}
