//! From the INVITE to its final response: challenges, ringing, answers, refusals, CANCEL (RFC 3261 sections 9, 13, 22).

use std::cmp::Reverse;

use sip::frame::Framing;
use sip::message::Message;
use sip::message::write::Writer;

use super::{Call, Moment, State, Uac};
use crate::dialog::{AFTERLIFE, Dialog, NUMBERS, Output, Resend, T2, number_of};
use crate::session::{self, Direction};

impl Uac {
    /// Places the call that is due at `at`. Its times count from there: what the generator is late by is no less
    /// waited for.
    pub(super) fn place(&mut self, at: u64, now: u64) {
        // Numbers come again, in a long run, once the call that had them is gone.
        let numbers = (0..NUMBERS).map(|step| (self.next_call + step) % NUMBERS);
        let number = numbers.into_iter().find(|number| !self.calls.contains_key(number)).unwrap_or(0);
        self.next_call = (number + 1) % NUMBERS;
        let course = self.plan.scenario.course(self.plan.seed, number, self.plan.talk_ns);
        let host = match &self.plan.account {
            Some(_) => self.domain(),
            None => self.plan.target.to_string(),
        };
        let mut call = Call {
            number,
            state: State::Waiting { until: u64::MAX },
            call_id: format!("{number}-{}@{}", self.run, self.plan.local.ip()),
            from: format!("<sip:{}@{}>;tag=a{number}{}", self.user(), self.domain(), self.run),
            uri: format!("sip:{}@{host}", number_of(number)),
            cseq: 1,
            invite_cseq: 1,
            invite_at: at,
            bye_at: 0,
            rang: false,
            course,
            socket: self.free.pop_front(),
            new_socket: None,
            codec: self.plan.codec,
            direction: Direction::Both,
            version: 1,
            remote: None,
            dialog: None,
            challenged: false,
            failure: None,
            ack: (0, Vec::new()),
            wake_at: 0,
        };
        self.active += 1;
        self.tally.placed += 1;
        self.kind_of(&call).placed += 1;
        self.invite(&mut call, now, None);
        call.wake_at = call.state.wake_at();
        self.wakes.push(Reverse((call.wake_at, number)));
        self.calls.insert(number, call);
    }

    fn invite(&mut self, call: &mut Call, now: u64, credentials: Option<(&'static str, String)>) {
        let offer = self.description(call, call.socket, Direction::Both);
        let mut request = Writer::request(b"INVITE", call.uri.as_bytes());
        request
            .header("Via", self.via(call.number, "INVITE", call.cseq))
            .header("Max-Forwards", "70")
            .header("From", &call.from)
            .header("To", format!("<{}>", call.uri))
            .header("Call-ID", &call.call_id)
            .header("CSeq", format!("{} INVITE", call.cseq))
            .header("Contact", format!("<sip:{}@{}>", self.user(), self.plan.local))
            .header("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO, NOTIFY")
            .header("User-Agent", "strowger-load");
        if let Some((name, value)) = credentials {
            request.header(name, value);
        }
        let bytes = request.body("application/sdp", offer.as_bytes()).finish();
        let invite = Resend::new(now, bytes, self.plan.target, u64::MAX);
        self.outputs.push_back(invite.send());
        call.invite_cseq = call.cseq;
        call.state = State::Calling(invite);
    }

    pub(super) fn on_invite_response(
        &mut self,
        call: &mut Call,
        moment: Moment,
        status: u16,
        message: &Message<'_>,
    ) {
        let Moment { now, arrived } = moment;
        let after = arrived.saturating_sub(call.invite_at);
        let is_old = message.cseq().number < call.invite_cseq;
        match &mut call.state {
            // Of the INVITE that was challenged: its refusal comes again.
            _ if is_old => {
                if status >= 300 && call.ack.0 == message.cseq().number {
                    self.send_again(Output::Send { to: self.plan.target, bytes: call.ack.1.clone() });
                }
            }
            State::Calling(_) | State::Proceeding { .. } | State::Cancelling { .. } if status < 200 => {
                if status >= 180 && !std::mem::replace(&mut call.rang, true) {
                    self.tally.ringing.record(after);
                }
                if let State::Calling(resend) = &mut call.state {
                    if self.winding_up {
                        call.course.cancel_after = Some(0);
                    }
                    let cancel_at = call.course.cancel_after.map(|ns| call.invite_at.saturating_add(ns));
                    let give_up_at = cancel_at.unwrap_or(now + self.plan.ring_max_ns).max(now);
                    call.state = State::Proceeding { invite: std::mem::take(&mut resend.bytes), give_up_at };
                }
            }
            State::Calling(_) | State::Proceeding { .. } | State::Cancelling { .. } if status < 300 => {
                self.tally.setup.record(after);
                self.tally.answered += 1;
                self.on_answer(call, now, message);
            }
            State::Calling(Resend { bytes: invite, .. })
            | State::Proceeding { invite, .. }
            | State::Cancelling { invite, .. } => {
                let ack = ack_to_refusal(invite, message);
                self.outputs.push_back(Output::Send { to: self.plan.target, bytes: ack.clone() });
                self.on_refusal(call, moment, status, message, ack);
            }
            // A response that comes again wants its ACK again (RFC 3261 sections 13.2.2.4 and 17.1.1.2).
            _ => {
                let refused = match &call.state {
                    State::Over { ack: Some(ack), .. } if status >= 300 => Some(ack),
                    _ => None,
                };
                let ack = refused.or((call.ack.0 == message.cseq().number).then_some(&call.ack.1));
                if let Some(ack) = ack.filter(|ack| status >= 200 && !ack.is_empty()) {
                    let to = match &call.dialog {
                        Some(dialog) if status < 300 => dialog.next_hop,
                        _ => self.plan.target,
                    };
                    let bytes = ack.clone();
                    self.send_again(Output::Send { to, bytes });
                }
            }
        }
    }

    fn on_refusal(
        &mut self,
        call: &mut Call,
        moment: Moment,
        status: u16,
        message: &Message<'_>,
        ack: Vec<u8>,
    ) {
        let Moment { now, arrived } = moment;
        let cancelled = match &call.state {
            State::Cancelling { since, .. } => Some(*since),
            _ => None,
        };
        if matches!(status, 401 | 407)
            && cancelled.is_none()
            && !call.challenged
            && let Some(credentials) = self.credentials("INVITE", &call.uri, message)
        {
            call.challenged = true;
            self.tally.challenged += 1;
            call.ack = (call.cseq, ack);
            call.cseq += 1;
            self.invite(call, now, Some(credentials));
            return;
        }
        if let Some(since) = cancelled {
            self.tally.cancel.record(arrived.saturating_sub(since));
        }
        let as_planned = match (call.course.answer, cancelled) {
            (_, Some(_)) if self.winding_up => true,
            (Some(answer), _) => answer == status,
            (None, Some(_)) => call.course.cancel_after.is_some(),
            (None, None) => false,
        };
        if as_planned {
            self.complete(call, now);
        } else if cancelled.is_some() {
            self.fail(call, now, "no-answer");
        } else {
            self.fail(call, now, status.to_string());
        }
        call.state = State::Over { until: now + AFTERLIFE, ack: Some(ack) };
    }

    /// The caller gives up: because the scenario says so, or because nobody answers.
    pub(super) fn cancel(&mut self, call: &mut Call, now: u64) {
        let State::Proceeding { invite, .. } = &mut call.state else { return };
        let cancel = Resend::new(now, cancel_of(invite), self.plan.target, T2);
        self.outputs.push_back(cancel.send());
        call.state = State::Cancelling { invite: std::mem::take(invite), cancel, since: now };
    }

    fn on_answer(&mut self, call: &mut Call, now: u64, message: &Message<'_>) {
        let dialog =
            Dialog { local: call.from.clone().into(), ..Dialog::of_caller(message, self.plan.target) };
        let via = self.via(call.number, "ACK", call.cseq);
        let ack = dialog.request("ACK", &via, call.call_id.as_bytes(), call.cseq).finish();
        self.outputs.push_back(Output::Send { to: dialog.next_hop, bytes: ack.clone() });
        call.ack = (call.cseq, ack);
        call.dialog = Some(dialog);
        let said = session::understand(message.body());
        if call.course.answer.is_some() || call.course.cancel_after.is_some() {
            // Refusal or CANCEL was meant to come first. An answer that overtook the CANCEL is nobody's fault.
            if call.course.cancel_after.is_some() {
                self.hang_up(call, now);
            } else {
                self.give_up(call, now, "answered");
            }
            return;
        }
        match (call.socket, said) {
            (Some(_), Some(said)) => {
                call.remote = Some(said.remote);
                call.codec = said.codecs.first().copied().unwrap_or(call.codec);
                self.tally.talked += 1;
                self.speak(call);
            }
            (None, _) => (),
            (Some(_), None) => return self.give_up(call, now, "no-media"),
        }
        self.advance(call, now);
    }

    /// The caller's audio goes where and as the session says.
    pub(super) fn speak(&mut self, call: &Call) {
        if let (Some(socket), Some(remote)) = (call.socket, call.remote) {
            let (number, codec) = (call.number, call.codec);
            self.outputs.push_back(Output::Speak { call: number, socket, remote, codec });
        }
    }
}

/// ACK to a refusal: the INVITE's own branch, the To of the response (RFC 3261 section 17.1.1.3).
pub(super) fn ack_to_refusal(invite: &[u8], response: &Message<'_>) -> Vec<u8> {
    let to = response.to().raw.to_vec();
    same_branch(invite, "ACK", Some(&to))
}

/// CANCEL: all as in the INVITE but the method (RFC 3261 section 9.1).
fn cancel_of(invite: &[u8]) -> Vec<u8> {
    same_branch(invite, "CANCEL", None)
}

fn same_branch(invite: &[u8], method: &str, to: Option<&[u8]>) -> Vec<u8> {
    let invite = Message::parse(invite, Framing::Datagram).expect("we wrote it");
    let uri = invite.request().expect("it is a request").uri;
    let mut request = Writer::request(method.as_bytes(), uri);
    request.header("Via", invite.top_via().raw).header("Max-Forwards", "70");
    for route in invite.routes() {
        request.header("Route", route.raw);
    }
    request
        .header("From", invite.from().raw)
        .header("To", to.unwrap_or(invite.to().raw))
        .header("Call-ID", invite.call_id())
        .header("CSeq", format!("{} {method}", invite.cseq().number))
        .finish()
}
