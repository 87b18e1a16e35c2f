//! The answer of the callee, and what the caller is told: codecs, session timers, the 200 and its ACK.

use super::ending::Release;
use super::offer::{Late, Reoffer, sdp_of};
use super::ringing::{FORKS_MAX, fork_tag};
use super::{Call, Stage};
use crate::desk::{Desk, What};
use crate::headers;
use crate::leg::{Unacked, text};
use crate::session;
use base::Now;
use ledger::Event;
use routing::health::Attempt;
use sdp::Side;
use sip::flow::Flow;
use sip::message::Message;
use sip::message::write::Writer;
use sip::transaction::Repeat;
use std::sync::Arc;

impl Call {
    /// 2xx from B.
    pub(super) fn on_answer(&mut self, desk: &mut Desk, now: Now, flow: &Flow, message: &Message<'_>) {
        let key = self.key;
        let Some(b) = &mut self.b else { return };
        let cseq = message.cseq().number;
        if let Some(dialog) = &b.dialog {
            if Some(dialog.remote_tag()) == message.to_tag() {
                // The ACK was lost, or the 2xx crossed it.
                if let Some(ack) = b.ack.as_ref().filter(|a| a.cseq == cseq) {
                    desk.stack.send(ack.target, Arc::clone(&ack.bytes));
                }
            } else {
                desk.end_unwanted(now, flow, message, b.token(key, What::Bye));
            }
            return;
        }
        let at = b.forks.iter().position(|f| Some(f.dialog.remote_tag()) == message.to_tag());
        let dialog = match at {
            Some(at) => {
                let mut dialog = b.forks.swap_remove(at).dialog;
                dialog.handle_response(message);
                Some(dialog)
            }
            None => b.pending.as_ref().and_then(|p| p.fork(message)),
        };
        // The number that the fork had when its provisional responses came; its SDP hangs on it.
        let tag = fork_tag(b.number, at.unwrap_or(FORKS_MAX));
        b.client = None;
        self.note_health(desk, now, Attempt::Answered);
        let Some(b) = &mut self.b else { return };
        let Some(dialog) = dialog else {
            tracing::warn!(call = %self.id, "2xx makes no dialog");
            return self.release(desk, now, Release::failed(502));
        };
        b.dialog = Some(dialog);
        b.pending = None;
        b.forks = Vec::new();
        b.learn_abilities(message);
        b.session = session::agreed(now.mono, message);
        if self.stage != Stage::Ending {
            b.record.answered = Some(now);
            b.record.final_answer = Some((message.status().unwrap_or(200), text(message.reason())));
        }
        if self.stage == Stage::Ending {
            // The CANCEL came too late: a call that nobody wants any more.
            self.acknowledge_b(desk, now, cseq, None);
            return self.send_bye(desk, now, Side::B);
        }
        self.b_tag = tag;
        let answer = sdp_of(message).map(<[u8]>::to_vec);
        if self.initial_offer().is_none() {
            let Some(offer) = answer else {
                self.acknowledge_b(desk, now, cseq, None);
                return self.release(desk, now, Release::bad_media(488, None));
            };
            self.late = Some(Late::initial(cseq, offer));
            return self.on_late_offer(desk, now);
        }
        self.acknowledge_b(desk, now, cseq, None);
        let answered = match &answer {
            Some(sdp) => self.negotiation.answer(Side::B, tag, sdp).map(Some),
            None => Ok(None), // It stood in a reliable provisional response.
        };
        let committed = answered.and_then(|answered| {
            let reoffer = self.negotiation.commit(tag)?;
            Ok((answered.map(|a| a.sdp), reoffer))
        });
        let (sdp, reoffer) = match committed {
            Ok(committed) => committed,
            Err(error) => {
                self.tell(now, format!("SDP of B: {error}"));
                return self.release(desk, now, Release::bad_media(488, Some(error.warning())));
            }
        };
        let sdp = sdp.or_else(|| self.negotiation.last_sent(Side::A).map(<[u8]>::to_vec));
        if reoffer && let Some(sdp) = self.negotiation.said(Side::B) {
            // A was told a fork's codec, and the final answer has another.
            self.reoffer = Some(Reoffer { from: Side::B, sdp: sdp.into(), at: now.mono });
        }
        self.answer_caller(desk, now, sdp.as_deref(), Some(message));
        self.send_spec(desk);
        self.begin_recordings(desk, now);
    }

    fn acknowledge_b(&mut self, desk: &mut Desk, now: Now, cseq: u32, sdp: Option<&[u8]>) {
        let key = self.key;
        if let Some(b) = &mut self.b
            && let Some(ack) = b.send_ack(desk, cseq, sdp)
        {
            desk.note(&mut self.steps, now, key, b.number, false, &ack);
        }
    }

    /// The caller gets its 200 with this SDP.
    pub(super) fn answer_caller(
        &mut self,
        desk: &mut Desk,
        now: Now,
        sdp: Option<&[u8]>,
        from: Option<&Message<'_>>,
    ) {
        self.stage = Stage::Up;
        self.answered = Some(now);
        self.offer = None; // it has served
        self.setup_until = None;
        self.negotiation.open_early();
        self.negotiation.answered();
        let longest = [
            self.trunk(self.admitted.trunk).max_duration,
            self.trunk_out().and_then(|trunk| self.trunk(trunk).max_duration),
            self.admitted.max_duration,
        ];
        self.max_at = longest.into_iter().flatten().min().map(|d| now.mono + d);
        self.tell(now, "answered");
        if let Some(ticket) = &mut self.ticket {
            desk.config.shared.fraud.answered(now, ticket);
        }
        let event = Event::new(now.wall, "call.answered")
            .with("call", self.id)
            .with("trunk", &self.trunk(self.admitted.trunk).name)
            .with("to", self.trunk_out().map(|trunk| self.trunk(trunk).name.as_str()).unwrap_or_default());
        desk.config.shared.events.publish(event);
        tracing::info!(
            call = %self.id,
            call_id = %self.a.record.sip_call_id(),
            b_call_id = %self.b.as_ref().map(|b| b.record.sip_call_id()).unwrap_or_default(),
            "answered"
        );
        let setup = now.mono.nanos_since(self.a.record.created.mono);
        desk.stats.setup.record(setup, 1);
        let Some(inbound) = &self.a.invite else { return };
        let invite = inbound.message();
        let mut writer = Writer::reply_from(&invite, inbound.flow.remote, 200, Some(&self.a.local_tag));
        writer.header("Contact", self.a.contact()).header("Allow", headers::ALLOW);
        writer.header("Supported", "timer, 100rel");
        let asked = session::answer(&invite, self.session_wanted(Side::A));
        self.a.session = session::write_answer(&mut writer, now.mono, asked);
        if let Some(from) = from {
            headers::carry(from, &mut writer, &[]);
        }
        if let Some(sdp) = sdp {
            writer.body(headers::SDP, sdp);
        }
        let bytes = writer.finish();
        if let Some(dialog) = &mut self.a.dialog {
            dialog.confirm();
        }
        self.a.record.answered = Some(now);
        self.a.record.final_answer = Some((200, "OK".into()));
        if self.a.reliable.sent.is_some() {
            // RFC 3262 section 3: not before the provisional response with SDP has been acknowledged.
            self.a.reliable.queue.push_back((200, bytes));
        } else {
            self.send_answer(desk, now, 200, bytes);
        }
        self.keep_open_records(desk, now);
    }

    pub(super) fn send_answer(&mut self, desk: &mut Desk, now: Now, code: u16, bytes: Vec<u8>) {
        let Some(inbound) = self.a.invite.take() else { return };
        let target = desk.stack.reply_target(inbound.tx).unwrap_or(inbound.flow.back());
        let cseq = inbound.message().cseq().number;
        desk.note(&mut self.steps, now, self.key, 0, false, &bytes);
        let bytes = desk.respond(now, inbound.tx, code, bytes);
        let repeat = Repeat::until_ack(now.mono, desk.stack.timers());
        self.a.unacked = Some(Unacked { cseq, bytes, target, repeat });
    }
}
