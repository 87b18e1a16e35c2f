//! What a callee says before it answers: early dialogs, early media, reliable responses and their PRACKs.

use super::offer::sdp_of;
use super::{Call, Stage};
use crate::desk::{Desk, What};
use crate::headers;
use crate::leg::{Fork, Leg, SentReliable};
use base::{Duration, Now};
use command::RemoteTag;
use sdp::Side;
use sip::flow::Flow;
use sip::message::write::Writer;
use sip::message::{Message, Method};
use sip::transaction::Repeat;

/// How long a callee may ring after its last word; RFC 3261 section 16.6 wants more than three minutes.
pub(super) const RING: Duration = Duration::from_secs(185);
/// Reliable provisional responses that may wait for the PRACK of the one before.
const RELIABLE_MAX: usize = 8;
/// Early dialogs that one INVITE may have.
pub(super) const FORKS_MAX: usize = 12;
impl Call {
    pub(super) fn on_provisional(
        &mut self,
        desk: &mut Desk,
        now: Now,
        flow: &Flow,
        message: &Message<'_>,
        code: u16,
    ) {
        if self.stage != Stage::Calling {
            return;
        }
        self.setup_until = Some(now.mono + RING);
        let Some((fork, news)) = self.fork_of(desk, now, flow, message) else {
            // No tag, so no dialog: only the fact that something goes on.
            return self.tell_caller(desk, now, code, None, message);
        };
        if !news {
            return; // A reliable response that came again; it has been acknowledged again.
        }
        let Some(b) = &mut self.b else { return };
        if b.record.progress.is_none() {
            b.record.progress = Some((now.wall, code));
            b.record.progress_at = Some(now.mono);
            self.a.record.progress = Some((now.wall, code));
            self.a.record.progress_at = Some(now.mono);
        }
        if code == 199 {
            return; // A fork has failed (RFC 6228); the others go on.
        }
        let tag = fork_tag(b.number, fork);
        let mut sdp = None;
        if self.initial_offer().is_some()
            && let Some(answer) = sdp_of(message)
        {
            match self.negotiation.answer(Side::B, tag, answer) {
                Ok(answered) => {
                    self.b_tag = tag;
                    self.negotiation.open_early();
                    self.send_spec(desk);
                    sdp = Some(answered.sdp);
                }
                Err(error) => self.tell(now, format!("SDP of B in {code}: {error}")),
            }
        }
        let with = if sdp.is_some() { " with SDP" } else { "" };
        self.tell(now, format!("{code} from B{with}"));
        tracing::info!(call = %self.id, call_id = %self.a.record.sip_call_id(), code, sdp = sdp.is_some(), "progress");
        self.tell_caller(desk, now, code, sdp.as_deref(), message);
    }

    /// Finds or makes the early dialog of a response, acknowledges a reliable one, and says whether it is news.
    fn fork_of(
        &mut self,
        desk: &mut Desk,
        now: Now,
        _flow: &Flow,
        message: &Message<'_>,
    ) -> Option<(usize, bool)> {
        let key = self.key;
        let b = self.b.as_mut()?;
        b.learn_abilities(message);
        let to_tag = message.to_tag()?;
        let at = match b.forks.iter().position(|f| f.dialog.remote_tag() == to_tag) {
            Some(at) => at,
            None if b.forks.len() < FORKS_MAX => {
                let dialog = b.pending.as_ref()?.fork(message)?;
                b.forks.push(Fork { dialog, rseq: None });
                b.forks.len() - 1
            }
            None => return None,
        };
        let rseq = message.rseq().filter(|_| message.requires(b"100rel"));
        let Some(rseq) = rseq else { return Some((at, true)) };
        // RFC 3262 section 4: in order, and each one acknowledged; a gap waits for what is missing.
        let news = match b.forks[at].rseq {
            Some(last) if rseq <= last => false,
            Some(last) if rseq != last.wrapping_add(1) => return Some((at, false)),
            _ => true,
        };
        let via = desk.via(b.target.transport, b.public);
        let cseq = message.cseq().number;
        let fork = &mut b.forks[at];
        fork.rseq = Some(fork.rseq.map_or(rseq, |last| last.max(rseq)));
        let mut prack = fork.dialog.next_request(Method::Prack, &via);
        prack.header("RAck", format!("{rseq} {cseq} INVITE"));
        let bytes = prack.finish();
        let target = Leg::hop_of(b.target, &b.forks[at].dialog);
        let token = b.token(key, What::Prack);
        let number = b.number;
        if news {
            desk.note(&mut self.steps, now, key, number, false, &bytes);
            desk.request(now, target, token, bytes);
        }
        Some((at, news))
    }

    /// Passes a provisional response on to the caller, reliably if the caller asked for it (RFC 3262).
    fn tell_caller(&mut self, desk: &mut Desk, now: Now, code: u16, sdp: Option<&[u8]>, from: &Message<'_>) {
        let Some(inbound) = &self.a.invite else { return };
        let invite = inbound.message();
        let required = invite.requires(b"100rel");
        let reliable = required || (invite.supports(b"100rel") && from.requires(b"100rel"));
        if reliable && self.a.reliable.queue.len() >= RELIABLE_MAX {
            return; // Numbers must have no gap, so it is left out before it has one.
        }
        let mut writer = Writer::reply_from(&invite, inbound.flow.remote, code, Some(&self.a.local_tag));
        writer.header("Contact", self.a.contact()).header("Allow", headers::ALLOW);
        headers::carry(from, &mut writer, &[]);
        if reliable {
            if self.a.reliable.rseq == 0 {
                self.a.reliable.rseq = desk.rng.u32() >> 8; // 1 to 2^31-1 (RFC 3262 section 3)
            }
            self.a.reliable.rseq += 1;
            writer.header("Require", "100rel").header("RSeq", self.a.reliable.rseq.to_string());
        }
        if let Some(sdp) = sdp {
            writer.body(headers::SDP, sdp);
        }
        let bytes = writer.finish();
        let tx = inbound.tx;
        if reliable {
            self.a.reliable.queue.push_back((code, bytes));
            return self.send_reliable(desk, now);
        }
        desk.note(&mut self.steps, now, self.key, 0, false, &bytes);
        desk.respond(now, tx, code, bytes);
    }

    /// The next of the queued responses to the caller, once the one before has been acknowledged.
    pub(super) fn send_reliable(&mut self, desk: &mut Desk, now: Now) {
        if self.a.reliable.sent.is_some() {
            return;
        }
        let Some((code, bytes)) = self.a.reliable.queue.pop_front() else { return };
        if code >= 200 {
            return self.send_answer(desk, now, code, bytes);
        }
        let Some(inbound) = &self.a.invite else { return };
        let (tx, target) = (inbound.tx, desk.stack.reply_target(inbound.tx).unwrap_or(inbound.flow.back()));
        desk.note(&mut self.steps, now, self.key, 0, false, &bytes);
        let bytes = desk.respond(now, tx, code, bytes);
        let rseq =
            Message::parse(&bytes, sip::frame::Framing::Stream).ok().and_then(|m| m.rseq()).unwrap_or(0);
        let repeat = Repeat::until_prack(now.mono, desk.stack.timers());
        self.a.reliable.sent = Some(SentReliable { rseq, bytes, target, repeat });
    }
}

/// The name that a fork's remote has in the bridge: attempts and forks never share one.
pub(super) fn fork_tag(leg: u16, fork: usize) -> RemoteTag {
    RemoteTag(u32::from(leg) << 8 | fork as u32)
}
