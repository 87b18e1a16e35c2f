//! Requests within a dialog, from either side: offers, BYE, and what changes nothing.

use super::super::plan::{Act, seconds};
use super::description::Remote;
use super::dialog::{End, State, Todo, copy_lines, write_session};
use super::{Client, Phone, Purpose, Sent, description};
use base::Instant;
use sip::frame::Framing;
use sip::message::write::Writer;
use sip::message::{Message, Method};

impl Phone {
    pub(super) fn dialog_of(&self, message: &Message<'_>) -> Option<usize> {
        self.dialogs.iter().position(|d| {
            d.call_id == message.call_id() && Some(&*d.local_tag) == message.to_tag() && d.sip.is_some()
        })
    }

    pub(super) fn on_request_within(&mut self, now: Instant, server: usize, message: &Message<'_>) {
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

    pub(super) fn on_bye(&mut self, now: Instant, server: usize, id: usize, message: &Message<'_>) {
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

    pub(super) fn on_offer(&mut self, now: Instant, server: usize, id: usize, message: &Message<'_>) {
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
    pub(super) fn answer_offer(&mut self, now: Instant, server: usize) {
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
    pub(super) fn is_refresh(&self, id: usize, message: &Message<'_>) -> bool {
        let (said, known) = (description::read(message.body()), &self.dialogs[id].remote);
        let same = |said: &Remote, known: &Remote| {
            (said.rtp, said.sends, said.receives) == (known.rtp, known.sends, known.receives)
        };
        said.zip(known.as_ref()).is_some_and(|(said, known)| same(&said, known))
    }

    pub(super) fn accept_offer(&mut self, now: Instant, server: usize, id: usize) {
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
    pub(super) fn answer_offer_of(
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
    pub(super) fn take_answer(&mut self, now: Instant, id: usize, answer: &[u8]) {
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
    pub(super) fn say(
        &mut self,
        now: Instant,
        id: usize,
        method: Method<'_>,
        fill: impl FnOnce(&mut Writer),
    ) {
        self.send_within(now, id, method, Purpose::Other, fill);
    }

    pub(super) fn on_act(&mut self, now: Instant, id: usize, step: usize) {
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

    pub(super) fn offer(
        &mut self,
        now: Instant,
        id: usize,
        update: bool,
        sdp: Option<&[u8]>,
    ) -> Option<usize> {
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

    pub(super) fn on_offer_answer(
        &mut self,
        now: Instant,
        id: usize,
        client: usize,
        code: u16,
        message: &Message<'_>,
    ) {
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

    pub(super) fn send_bye(&mut self, now: Instant, id: usize) {
        let dialog = &mut self.dialogs[id];
        dialog.state = State::Ended;
        dialog.end = Some(End::ByeSent);
        dialog.unacked = None;
        if let Some(offer) = self.dialogs[id].offer_in.take() {
            self.respond(now, offer, 487, b"", |_| {});
        }
        self.send_within(now, id, Method::Bye, Purpose::Bye, |_| {});
    }

    pub(super) fn vanish(&mut self, id: usize) {
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
}
