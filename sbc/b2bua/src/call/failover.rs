//! Attempts that fail: refused, unreachable or silent ones; what leads to the next target and what ends the call.

use super::ending::Release;
use super::{Call, Stage};
use crate::desk::{Desk, What};
use crate::leg::text;
use crate::refusal::Refusal;
use crate::spec::Transport;
use base::Now;
use routing::health::Attempt;
use sip::flow::Flow;
use sip::message::Message;

impl Call {
    pub(super) fn on_failure_response(
        &mut self,
        desk: &mut Desk,
        now: Now,
        message: &Message<'_>,
        code: u16,
    ) {
        let Some(b) = &mut self.b else { return };
        b.client = None;
        b.record.final_answer = Some((code, text(message.reason())));
        b.ended = true;
        if self.stage != Stage::Calling {
            return;
        }
        tracing::info!(call = %self.id, call_id = %self.a.record.sip_call_id(), code, "attempt failed");
        self.tell(now, format!("{code} from B"));
        let attempt = match code {
            408 | 500..=599 => Attempt::Failed,
            _ => Attempt::Refused, // whatever it says, it lives
        };
        self.note_health(desk, now, attempt);
        if code == 422
            && let Some(min_se) = message.min_se()
            && self.plan.min_se.replace(min_se).is_none()
        {
            // RFC 4028 section 7.3: the same target again, with an interval that it takes.
            self.write_attempt_record(desk, now);
            return self.call_out(desk, now);
        }
        self.on_attempt_failed(desk, now, Some((code, message)));
    }

    /// The INVITE timed out or did not arrive.
    pub(super) fn on_invite_failed(&mut self, desk: &mut Desk, now: Now, transport: bool) {
        let Some(b) = &mut self.b else { return };
        b.client = None;
        b.ended = true;
        let was_stream = b.target.transport == Transport::Tcp;
        if self.stage != Stage::Calling {
            return;
        }
        let is_free = self.current_target().is_none_or(|target| target.transport.is_none());
        let hop_is_udp = self.plan.hop.is_some_and(|h| h.transport == Transport::Udp);
        if transport && was_stream && is_free && hop_is_udp {
            self.tell(now, "no stream opens: as a datagram instead");
            self.plan.no_stream = true;
            self.write_attempt_record(desk, now);
            return self.call_out(desk, now);
        }
        self.tell(now, if transport { "B cannot be reached" } else { "B does not answer" });
        self.note_health(desk, now, if transport { Attempt::Unreachable } else { Attempt::Timeout });
        if !transport {
            self.plan.last_failure = Some(408);
        }
        self.on_attempt_failed(desk, now, None);
    }

    /// The target has said nothing at all for a while and there is another one.
    pub(super) fn on_no_answer(&mut self, desk: &mut Desk, now: Now) {
        self.no_answer_at = None;
        if self.stage != Stage::Calling {
            return;
        }
        self.tell(now, "no answer in time: the next target");
        self.note_health(desk, now, Attempt::Timeout);
        if let Some(b) = &mut self.b
            && let Some(tx) = b.client.take()
        {
            // CANCEL goes out if a provisional response comes after all.
            desk.stack.cancel(now.mono, tx, None);
            b.ended = true;
        }
        self.plan.last_failure = Some(408);
        self.on_attempt_failed(desk, now, None);
    }

    /// The attempt is over: its record, then the next one if the code table says so.
    pub(super) fn on_attempt_failed(
        &mut self,
        desk: &mut Desk,
        now: Now,
        failure: Option<(u16, &Message<'_>)>,
    ) {
        self.no_answer_at = None;
        let goes_on = match failure {
            Some((code, _)) => self.trunk_out().is_some_and(|trunk| self.trunk(trunk).codes.retries(code)),
            None => true,
        };
        if goes_on {
            if let Some((code, _)) = failure {
                self.plan.last_failure = Some(code);
            }
            if self.has_more() {
                self.write_attempt_record(desk, now);
                return self.next_attempt(desk, now);
            }
        }
        match failure {
            Some((code, message)) => self.release(desk, now, Release::failed_with(code, message)),
            None => self.give_up(desk, now, Refusal::NoDestination, None),
        }
    }

    /// A response to an attempt that has been given up.
    pub(super) fn on_stale_response(
        &mut self,
        desk: &mut Desk,
        now: Now,
        token: crate::desk::Token,
        flow: &Flow,
        message: &Message<'_>,
    ) {
        let code = message.status().unwrap_or_default();
        if token.what == What::Invite && (200..300).contains(&code) {
            self.tell(now, format!("late 2xx of attempt {} ended", token.leg));
            desk.end_unwanted(now, flow, message, token);
        }
    }
}
