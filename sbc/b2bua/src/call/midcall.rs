//! Requests within the call: what each method means here, and who answers it.

use super::offer::{Pass, sdp_of};
use super::{Call, Stage};
use crate::desk::{Desk, What};
use crate::headers;
use crate::leg::Inbound;
use base::Now;
use sdp::Side;
use sip::flow::Flow;
use sip::message::write::Writer;
use sip::message::{Message, Method};
use sip::stack::{ClientTx, ServerTx};

/// INFO and MESSAGE that may be on their way at once.
const PASSES_MAX: usize = 8;

impl Call {
    /// A request of this dialog, neither ACK nor CANCEL.
    pub(super) fn on_request(
        &mut self,
        desk: &mut Desk,
        now: Now,
        tx: ServerTx,
        side: Side,
        flow: &Flow,
        message: &Message<'_>,
    ) {
        if !self.is_in_order(side, message) {
            return self.reply_plainly(desk, now, tx, flow, message, 500);
        }
        if let Some(status) = message.earns(&headers::SUPPORTED).filter(|_| message.method() != Method::Bye) {
            return self.reply_plainly(desk, now, tx, flow, message, status);
        }
        match message.method() {
            Method::Bye => self.on_bye(desk, now, tx, side, flow, message),
            _ if self.stage == Stage::Ending => self.reply_plainly(desk, now, tx, flow, message, 481),
            Method::Invite | Method::Update => self.on_offer(desk, now, tx, side, flow, message),
            Method::Prack => self.on_prack(desk, now, tx, side, flow, message),
            Method::Info | Method::Message => self.on_pass(desk, now, tx, side, flow, message),
            Method::Options => self.reply_plainly(desk, now, tx, flow, message, 200),
            Method::Refer => {
                // Nobody has allowed a transfer on this leg (requirements S2-19).
                desk.stats.refused.add(&["refer_declined"], 1);
                self.tell(now, "REFER declined");
                self.reply_plainly(desk, now, tx, flow, message, 603);
            }
            Method::Subscribe => self.reply_plainly(desk, now, tx, flow, message, 489),
            Method::Notify => self.reply_plainly(desk, now, tx, flow, message, 481),
            Method::Register | Method::Publish | Method::Ack | Method::Cancel | Method::Other(_) => {
                self.reply_plainly(desk, now, tx, flow, message, 405);
            }
        }
    }

    /// CSeq numbers of a dialog only grow (RFC 3261 section 12.2.2).
    fn is_in_order(&mut self, side: Side, message: &Message<'_>) -> bool {
        let Some(leg) = self.leg_mut(side) else { return false };
        match &mut leg.dialog {
            Some(dialog) => dialog.check_cseq(message).is_ok(),
            None => leg
                .forks
                .iter_mut()
                .find(|fork| fork.dialog.matches(message))
                .is_some_and(|fork| fork.dialog.check_cseq(message).is_ok()),
        }
    }

    pub(super) fn on_ack(&mut self, desk: &mut Desk, now: Now, side: Side, message: &Message<'_>) {
        let Some(leg) = self.leg_mut(side) else { return };
        let cseq = message.cseq().number;
        if leg.unacked.take_if(|unacked| unacked.cseq == cseq).is_none() {
            return; // It came again, or for nothing that we sent.
        }
        if core::mem::take(&mut leg.bye_wanted) {
            self.abandon_late_offer(desk, now);
            return self.send_bye(desk, now, side);
        }
        self.on_late_answer(desk, now, side, message);
    }

    /// Acknowledges a reliable provisional response of ours (RFC 3262 section 3).
    fn on_prack(
        &mut self,
        desk: &mut Desk,
        now: Now,
        tx: ServerTx,
        side: Side,
        flow: &Flow,
        message: &Message<'_>,
    ) {
        let rack = message.rack();
        let Some(leg) = self.leg_mut(side) else { return };
        let matches = |sent: &mut crate::leg::SentReliable| {
            rack.is_some_and(|rack| rack.rseq == sent.rseq && rack.cseq.method == Method::Invite)
        };
        if leg.reliable.sent.take_if(matches).is_none() {
            return self.reply_plainly(desk, now, tx, flow, message, 481);
        }
        if sdp_of(message).is_some() {
            // A new offer before the call is answered cannot be passed on in a PRACK to a side that sent none; the
            // response has been acknowledged all the same (RFC 3262 section 5 allows to refuse the offer).
            self.reply_plainly(desk, now, tx, flow, message, 488);
        } else {
            self.reply_plainly(desk, now, tx, flow, message, 200);
        }
        self.send_reliable(desk, now);
    }

    /// INFO or MESSAGE: body and type go to the other side, its answer comes back.
    fn on_pass(
        &mut self,
        desk: &mut Desk,
        now: Now,
        tx: ServerTx,
        side: Side,
        flow: &Flow,
        message: &Message<'_>,
    ) {
        if self.stage != Stage::Up || self.passes.len() >= PASSES_MAX {
            return self.reply_plainly(
                desk,
                now,
                tx,
                flow,
                message,
                if self.stage == Stage::Up { 503 } else { 481 },
            );
        }
        if let Some(code) = self.take_digits(desk, now, side, message) {
            return self.reply_plainly(desk, now, tx, flow, message, code);
        }
        let key = self.key;
        let other = side.other();
        let Some(leg) = self.leg_mut(other) else { return };
        let token = leg.token(key, What::Pass);
        let Some((mut writer, target)) = leg.next_request(desk, message.method()) else { return };
        headers::carry(message, &mut writer, &[]);
        if let Some(package) = message.header_named(b"Info-Package") {
            writer.header("Info-Package", package);
        }
        headers::carry_body(message, &mut writer);
        let bytes = writer.finish();
        let number = leg.number;
        let cseq = leg.dialog.as_ref().map_or(0, |d| d.local_cseq());
        desk.note(&mut self.steps, now, key, number, false, &bytes);
        match desk.request(now, target, token, bytes) {
            Some(client) => {
                let inbound = Inbound::new(tx, flow, message);
                self.passes.push(Pass { from: side, inbound, cseq, client });
            }
            None => self.reply_plainly(desk, now, tx, flow, message, 500),
        }
    }

    /// The other side's answer to what was passed.
    pub(super) fn on_pass_response(&mut self, desk: &mut Desk, now: Now, side: Side, message: &Message<'_>) {
        let code = message.status().unwrap_or_default();
        if code < 200 {
            return;
        }
        let cseq = message.cseq().number;
        let Some(at) = self.passes.iter().position(|p| p.from == side.other() && p.cseq == cseq) else {
            return;
        };
        let pass = self.passes.remove(at);
        let request = pass.inbound.message();
        let code = if matches!(code, 300..=399 | 401 | 407) { 403 } else { code };
        let mut writer = Writer::reply_from(&request, pass.inbound.flow.remote, code, None);
        headers::carry_body(message, &mut writer);
        let bytes = writer.finish();
        let number = self.leg(pass.from).map_or(0, |l| l.number);
        desk.note(&mut self.steps, now, self.key, number, false, &bytes);
        desk.respond(now, pass.inbound.tx, code, bytes);
    }

    pub(super) fn on_pass_failed(&mut self, desk: &mut Desk, now: Now, client: ClientTx) {
        if let Some(at) = self.passes.iter().position(|p| p.client == client) {
            let pass = self.passes.remove(at);
            self.refuse_offer(desk, now, &pass.inbound, 408, None);
        }
    }
}
