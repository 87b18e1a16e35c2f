//! What happens within a call that was answered: the steps of its scenario one after the other, what the other side asks
//! for meanwhile, and the end (RFC 3261 sections 12.2, 14 and 15, RFC 3311, RFC 3515, RFC 6086).

use std::net::SocketAddr;

use sip::message::write::Writer;
use sip::message::{Message, Method};

use super::setup::ack_to_refusal;
use super::{Act, Ask, Call, Moment, Request, State, Uac};
use crate::dialog::{Output, Resend, T2, number_of};
use crate::scenario::{DIGIT_NS, Hold};
use crate::session::{self, Direction};

/// How long news of a transfer are awaited.
const TRANSFER_NS: u64 = 32_000_000_000;
/// How long a callee that is to hang up is awaited.
const AWAIT_BYE_NS: u64 = 32_000_000_000;
/// How long a request within the call may take once the other side has said that it is at work.
const ASK_NS: u64 = 64_000_000_000;
/// An offer that met one of the other side is made again so often.
const PUT_OFF_MAX: u8 = 5;

impl Uac {
    /// Does what comes next.
    pub(super) fn advance(&mut self, call: &mut Call, now: u64) {
        match call.course.acts.pop_front() {
            Some(Act::Wait(ns)) => call.state = State::Waiting { until: now.saturating_add(ns) },
            Some(Act::Dial(digits)) => {
                let ns = DIGIT_NS * (digits.len() as u64 + 1);
                let step = self.tally.steps.entry("dtmf").or_default();
                step.sent += 1;
                step.done += 1;
                self.outputs.push_back(Output::Dial { call: call.number, digits });
                call.state = State::Waiting { until: now + ns };
            }
            Some(Act::Ask(request)) => self.ask(call, now, request),
            Some(Act::AwaitBye) => call.state = State::AwaitingBye { until: now + AWAIT_BYE_NS },
            None => self.settle(call, now),
        }
    }

    /// Silence, then BYE.
    pub(super) fn settle(&mut self, call: &mut Call, now: u64) {
        self.outputs.push_back(Output::Hush(call.number));
        call.state = State::Settling { until: now + self.plan.settle_ns };
    }

    fn ask(&mut self, call: &mut Call, now: u64, what: Request) {
        self.tally.steps.entry(what.name()).or_default().sent += 1;
        if what == Request::Move && call.socket.is_some() {
            call.new_socket = self.free.pop_front();
            if call.new_socket.is_none() {
                self.on_step_refused(call, now, what.name(), "no socket left");
                return;
            }
        }
        // While it is open where or in what to talk, nobody does: what is lost then would be nobody's fault.
        if matches!(what, Request::Move | Request::Switch(_)) {
            self.outputs.push_back(Output::Rest(call.number));
        }
        call.cseq += 1;
        if what.method() == "INVITE" || what == Request::Update {
            call.version += 1;
        }
        let request = self.request_of(call, now, &what, None);
        self.outputs.push_back(request.send());
        let cseq = call.cseq;
        call.state = State::Asking(Ask { what, request, cseq, since: now, put_off: 0, resting: false });
    }

    fn request_of(
        &self,
        call: &mut Call,
        now: u64,
        what: &Request,
        credentials: Option<(&'static str, String)>,
    ) -> Resend {
        let method = what.method();
        let via = self.via(call.number, method, call.cseq);
        let codec = call.codec;
        if let Request::Switch(codec) = what {
            call.codec = *codec;
        }
        let direction = match what {
            Request::Hold(Hold::SendOnly) => Direction::Send,
            Request::Hold(Hold::Inactive) => Direction::Neither,
            Request::Resume => Direction::Both,
            _ => call.direction,
        };
        let socket = if *what == Request::Move { call.new_socket.or(call.socket) } else { call.socket };
        let offer = self.description(call, socket, direction);
        call.codec = codec;
        let dialog = call.dialog.as_ref().expect("only calls that were answered ask");
        let mut request = dialog.request(method, &via, call.call_id.as_bytes(), call.cseq);
        if let Some((name, value)) = credentials {
            request.header(name, value);
        }
        let contact = format!("<sip:{}@{}>", self.user(), self.plan.local);
        match what {
            Request::Options => {
                request.header("Accept", "application/sdp");
            }
            Request::Info(digit) => {
                let body = format!("Signal={digit}\r\nDuration=160\r\n");
                request.body("application/dtmf-relay", body.as_bytes());
            }
            Request::Refer(number) => {
                let number = number.clone().unwrap_or_else(|| number_of(call.number));
                let host = call.uri.split_once('@').map_or("", |parts| parts.1);
                request
                    .header("Contact", contact)
                    .header("Refer-To", format!("<sip:{number}@{host}>"))
                    .header("Referred-By", call.from.split(';').next().unwrap_or_default());
            }
            _ => {
                request.header("Contact", contact).body("application/sdp", offer.as_bytes());
            }
        }
        let gap_max = if method == "INVITE" { u64::MAX } else { T2 };
        Resend::new(now, request.finish(), dialog.next_hop, gap_max)
    }

    pub(super) fn on_ask_timer(&mut self, call: &mut Call, now: u64) {
        let State::Asking(ask) = &mut call.state else { return };
        if ask.resting {
            let (what, put_off, since) = (ask.what.clone(), ask.put_off, ask.since);
            call.cseq += 1;
            let request = self.request_of(call, now, &what, None);
            self.outputs.push_back(request.send());
            call.state =
                State::Asking(Ask { what, request, cseq: call.cseq, since, put_off, resting: false });
            return;
        }
        match ask.request.again() {
            Some(again) => self.send_again(again),
            None => {
                let what = ask.what.clone();
                self.take_back(call, &what);
                self.on_step_refused(call, now, what.name(), "timeout");
            }
        }
    }

    pub(super) fn on_ask_response(
        &mut self,
        call: &mut Call,
        moment: Moment,
        status: u16,
        message: &Message<'_>,
    ) {
        let Moment { now, arrived } = moment;
        let number = message.cseq().number;
        let is_invite = message.method() == Method::Invite;
        let State::Asking(ask) = &mut call.state else {
            return self.on_late_response(call, status, message);
        };
        if ask.cseq != number || ask.what.method().as_bytes() != message.method().as_bytes() {
            return self.on_late_response(call, status, message);
        }
        if status < 200 {
            if !ask.resting {
                ask.request.on_provisional(now, ASK_NS);
            }
            return;
        }
        let what = ask.what.clone();
        if is_invite {
            self.acknowledge(call, status, message);
        }
        let State::Asking(ask) = &mut call.state else { return };
        match status {
            200..300 => {
                let step = self.tally.steps.entry(what.name()).or_default();
                step.time.record(arrived.saturating_sub(ask.since));
                if let Request::Refer(_) = what {
                    call.state = State::Referred { until: now + TRANSFER_NS };
                    return;
                }
                step.done += 1;
                self.on_agreed(call, &what, message);
                self.advance(call, now);
            }
            // Both sides made an offer at once; ours may come again after 2.1 to 4 s (RFC 3261 section 14.1).
            491 if is_invite && ask.put_off < PUT_OFF_MAX => {
                let wait = 2_100_000_000 + self.rng.below(1_900_000_000);
                ask.put_off += 1;
                ask.resting = true;
                ask.request.wait(now, wait);
            }
            401 | 407 if ask.put_off == 0 => {
                ask.put_off = PUT_OFF_MAX;
                let since = ask.since;
                let uri = call.dialog.as_ref().map(|d| String::from_utf8_lossy(&d.target).into_owned());
                let credentials = self.credentials(what.method(), &uri.unwrap_or_default(), message);
                if credentials.is_none() {
                    self.take_back(call, &what);
                    return self.on_step_refused(call, now, what.name(), &status.to_string());
                }
                call.cseq += 1;
                let request = self.request_of(call, now, &what, credentials);
                self.outputs.push_back(request.send());
                let cseq = call.cseq;
                call.state =
                    State::Asking(Ask { what, request, cseq, since, put_off: PUT_OFF_MAX, resting: false });
            }
            // The call is gone for the other side (RFC 3261 section 12.2.1.2).
            408 | 481 => {
                self.give_up(call, now, &format!("{}-{status}", what.name()));
            }
            _ => {
                self.take_back(call, &what);
                self.on_step_refused(call, now, what.name(), &status.to_string());
            }
        }
    }

    /// ACK to the final response of a re-INVITE.
    fn acknowledge(&mut self, call: &mut Call, status: u16, message: &Message<'_>) {
        let State::Asking(ask) = &call.state else { return };
        let Some(dialog) = &call.dialog else { return };
        let ack = if status < 300 {
            let via = self.via(call.number, "ACK", ask.cseq);
            dialog.request("ACK", &via, call.call_id.as_bytes(), ask.cseq).finish()
        } else {
            ack_to_refusal(&ask.request.bytes, message)
        };
        self.outputs.push_back(Output::Send { to: dialog.next_hop, bytes: ack.clone() });
        call.ack = (ask.cseq, ack);
    }

    fn on_late_response(&mut self, call: &mut Call, status: u16, message: &Message<'_>) {
        let again =
            message.method() == Method::Invite && status >= 200 && call.ack.0 == message.cseq().number;
        if let Some(dialog) = call.dialog.as_ref().filter(|_| again) {
            let output = Output::Send { to: dialog.next_hop, bytes: call.ack.1.clone() };
            self.send_again(output);
        }
    }

    /// The other side agrees.
    fn on_agreed(&mut self, call: &mut Call, what: &Request, message: &Message<'_>) {
        match what {
            Request::Hold(Hold::SendOnly) => call.direction = Direction::Send,
            Request::Hold(Hold::Inactive) => call.direction = Direction::Neither,
            Request::Resume => call.direction = Direction::Both,
            Request::Move => {
                if let Some(new) = call.new_socket.take() {
                    self.free.extend(call.socket.replace(new));
                }
            }
            Request::Switch(codec) => call.codec = *codec,
            _ => (),
        }
        if what.method() != "INVITE" && *what != Request::Update {
            return;
        }
        if let Some(said) = session::understand(message.body()) {
            call.remote = Some(said.remote);
            call.codec = said.codecs.first().copied().unwrap_or(call.codec);
        }
        if call.direction.sends() {
            self.speak(call);
        } else {
            self.outputs.push_back(Output::Rest(call.number));
        }
    }

    /// What was asked for does not come: all stays as it was.
    fn take_back(&mut self, call: &mut Call, what: &Request) {
        self.free.extend(call.new_socket.take());
        if matches!(what, Request::Move | Request::Switch(_)) && call.direction.sends() {
            self.speak(call);
        }
    }

    /// A step did not come about: a failure where that is asked for, else counted.
    pub(super) fn on_step_refused(&mut self, call: &mut Call, now: u64, step: &'static str, reason: &str) {
        let refused = &mut self.tally.steps.entry(step).or_default().refused;
        *refused.entry(reason.to_owned()).or_default() += 1;
        if self.plan.strict {
            return self.give_up(call, now, &format!("{step}-{reason}"));
        }
        // A hold that did not come about need not last.
        if step == "hold" && matches!(call.course.acts.front(), Some(Act::Wait(_))) {
            call.course.acts.pop_front();
        }
        self.advance(call, now);
    }

    /// Hangs up a call that has failed, and counts it as failed once that is done.
    pub(super) fn give_up(&mut self, call: &mut Call, now: u64, reason: &str) {
        call.failure = Some(reason.to_owned());
        self.outputs.push_back(Output::Hush(call.number));
        self.hang_up(call, now);
    }

    pub(super) fn hang_up(&mut self, call: &mut Call, now: u64) {
        call.cseq += 1;
        let Some(dialog) = &call.dialog else { return };
        let via = self.via(call.number, "BYE", call.cseq);
        let bytes = dialog.request("BYE", &via, call.call_id.as_bytes(), call.cseq).finish();
        let bye = Resend::new(now, bytes, dialog.next_hop, T2);
        self.outputs.push_back(bye.send());
        call.bye_at = now;
        call.state = State::Ending(bye);
    }

    pub(super) fn on_bye_response(
        &mut self,
        call: &mut Call,
        moment: Moment,
        status: u16,
        message: &Message<'_>,
    ) {
        let State::Ending(bye) = &mut call.state else { return };
        if status < 200 || message.cseq().number != call.cseq {
            return;
        }
        if matches!(status, 401 | 407) && !std::mem::replace(&mut call.challenged, true) {
            let uri = call.dialog.as_ref().map(|d| String::from_utf8_lossy(&d.target).into_owned());
            if let Some((name, value)) = self.credentials("BYE", &uri.unwrap_or_default(), message) {
                call.cseq += 1;
                let via = self.via(call.number, "BYE", call.cseq);
                let Some(dialog) = &call.dialog else { return };
                let mut request = dialog.request("BYE", &via, call.call_id.as_bytes(), call.cseq);
                let bytes = request.header(name, value).finish();
                *bye = Resend::new(moment.now, bytes, dialog.next_hop, T2);
                self.outputs.push_back(bye.send());
                return;
            }
        }
        self.tally.bye.record(moment.arrived.saturating_sub(call.bye_at));
        if status < 300 {
            self.complete(call, moment.now);
        } else {
            self.fail(call, moment.now, format!("bye-{status}"));
        }
    }

    pub(super) fn on_request(
        &mut self,
        call: &mut Call,
        now: u64,
        source: SocketAddr,
        request: &Message<'_>,
    ) {
        let tag = format!("a{}{}", call.number, self.run);
        match request.method() {
            Method::Ack => (),
            Method::Bye => {
                self.reply(request, source, 200, None);
                self.on_bye(call, now);
            }
            Method::Notify => {
                self.reply(request, source, 200, Some(tag.as_bytes()));
                self.on_notify(call, now, request);
            }
            // Our own offer is under way (RFC 3261 section 14.2).
            Method::Invite | Method::Update if matches!(&call.state, State::Asking(ask) if ask.what.method() == "INVITE" && !ask.resting) =>
            {
                self.reply(request, source, 491, Some(tag.as_bytes()));
            }
            // A refreshed or moved session: our side stays as it is.
            Method::Invite | Method::Update => {
                let mut reply = Writer::reply_from(request, source, 200, Some(tag.as_bytes()));
                reply.header("Contact", format!("<sip:{}@{}>", self.user(), self.plan.local));
                if call.socket.is_some() {
                    let said = session::understand(request.body());
                    let direction = said.as_ref().map_or(call.direction, |said| said.direction.answer());
                    let answer = self.description(call, call.socket, direction);
                    reply.body("application/sdp", answer.as_bytes());
                    if let Some(said) = said.filter(|_| direction.sends() && call.direction.sends()) {
                        call.remote = Some(said.remote);
                        self.speak(call);
                    }
                }
                self.outputs.push_back(Output::Send { to: source, bytes: reply.finish() });
            }
            _ => self.reply(request, source, 200, Some(tag.as_bytes())),
        }
    }

    fn on_bye(&mut self, call: &mut Call, now: u64) {
        match call.state {
            // Both sides hung up at once.
            State::Ending(_) => self.complete(call, now),
            State::Over { .. } => (),
            _ => {
                self.outputs.push_back(Output::Hush(call.number));
                let transferred = matches!(call.state, State::Referred { .. });
                if transferred {
                    self.tally.steps.entry("refer").or_default().done += 1;
                }
                if transferred || call.course.callee_hangs_up.is_some() {
                    self.complete(call, now);
                } else {
                    self.fail(call, now, "hung-up");
                }
            }
        }
    }

    /// News of a transfer: a status line as body (RFC 3515 section 2.4.5).
    fn on_notify(&mut self, call: &mut Call, now: u64, request: &Message<'_>) {
        if !matches!(call.state, State::Referred { .. }) {
            return;
        }
        let body = String::from_utf8_lossy(request.body());
        let status = body.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)?.parse::<u16>().ok());
        match status {
            Some(200..300) => {
                self.tally.steps.entry("refer").or_default().done += 1;
                self.advance(call, now);
            }
            Some(status) if status >= 300 => {
                self.on_step_refused(call, now, "refer", &format!("then {status}"));
            }
            _ => (),
        }
    }
}
