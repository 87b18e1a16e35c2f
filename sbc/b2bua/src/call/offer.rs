//! Offers that pass from one side to the other once the call is up: re-INVITE and UPDATE, with or without SDP, ours
//! and theirs; late offers; session refreshes. One exchange at a time; a second one is glare (RFC 3261 section 14).

use super::ending::Release;
use super::{Call, Stage, name};
use crate::desk::{Desk, What};
use crate::headers;
use crate::leg::{Inbound, Leg, Unacked};
use crate::refusal::Refusal;
use crate::session::{self, Asked, MIN_SE, SessionTimer};
use base::{Duration, Instant, Now};
use command::RemoteTag;
use sdp::{Side, Unacceptable};
use sip::flow::Flow;
use sip::message::write::Writer;
use sip::message::{Message, Method, Refresher};
use sip::stack::{ClientTx, ServerTx};
use sip::transaction::{Output, Repeat};
use std::sync::Arc;

/// An offer on its way.
pub(super) struct Exchange {
    /// Whose it is.
    from: Side,
    /// The request that brought it; `None` for one of ours.
    inbound: Option<Inbound>,
    /// The SDP; `None` when the other side shall make the offer.
    sdp: Option<Vec<u8>>,
    /// Our request to the other side and its CSeq, once it is out.
    client: Option<(ClientTx, u32)>,
    /// The one who asked has taken it back.
    cancelled: bool,
}

/// An offer that came in a 2xx; its answer comes in the ACK of the other side, and goes out in ours.
pub(super) struct Late {
    /// Who made the offer.
    offerer: Side,
    /// CSeq of our INVITE, to be acknowledged.
    cseq: u32,
    /// The offer, until it has been passed on.
    sdp: Option<Vec<u8>>,
    /// Whether it is the first one of the call.
    initial: bool,
}

/// An offer of ours that is still to be made.
pub(super) struct Reoffer {
    /// Whose media the other side is to be told.
    pub from: Side,
    /// As that side said it.
    pub sdp: Box<[u8]>,
    /// Not before.
    pub at: Instant,
}

/// INFO or MESSAGE that waits for the other side's answer.
pub(super) struct Pass {
    pub from: Side,
    pub inbound: Inbound,
    /// Our request to the other side, and its CSeq.
    pub client: ClientTx,
    pub cseq: u32,
}

impl Late {
    pub fn initial(cseq: u32, sdp: Vec<u8>) -> Self {
        Late { offerer: Side::B, cseq, sdp: Some(sdp), initial: true }
    }
}

impl Call {
    /// A re-INVITE or UPDATE, in order and of this dialog.
    pub(super) fn on_offer(
        &mut self,
        desk: &mut Desk,
        now: Now,
        tx: ServerTx,
        side: Side,
        flow: &Flow,
        message: &Message<'_>,
    ) {
        let inbound = Inbound::new(tx, flow, message);
        let sdp = sdp_of(message);
        if session::answer(message, self.session_wanted(side)) == Asked::TooShort {
            return self.refuse_offer(desk, now, &inbound, 422, None);
        }
        let is_update = message.method() == Method::Update;
        if is_update && sdp.is_none() {
            // A refresh of the session only; nobody else need know.
            self.accept_target(side, message);
            return self.accept_offer(desk, now, &inbound, side, None);
        }
        // RFC 3261 section 14.1: no INVITE while another one is on its way, on either side.
        let waits = |leg: &Leg| leg.unacked.is_some() || leg.invite.is_some();
        let unanswered = waits(&self.a) || self.b.as_ref().is_some_and(waits);
        if self.stage != Stage::Up || self.is_exchanging() || unanswered {
            // RFC 3261 section 14.2: our offer is out: 491; theirs still waits: 500 with a time.
            let theirs = self.exchange.as_ref().is_some_and(|e| e.from == side && e.inbound.is_some());
            return self.refuse_offer(desk, now, &inbound, if theirs { 500 } else { 491 }, None);
        }
        self.accept_target(side, message);
        if let Some(sdp) = sdp
            && self.negotiation.same_as_last(side, sdp)
            && let Some(last) = self.negotiation.last_sent(side).map(<[u8]>::to_vec)
        {
            return self.accept_offer(desk, now, &inbound, side, Some(&last));
        }
        if message.method() == Method::Invite {
            desk.stack.trying(now.mono, tx, flow, message);
        }
        self.tell(now, format!("{} offers other media", name(side)));
        let wanted = sdp.map(|sdp| self.negotiation.lines_wanted(sdp));
        self.exchange = Some(Exchange {
            from: side,
            inbound: Some(inbound),
            sdp: sdp.map(<[u8]>::to_vec),
            client: None,
            cancelled: false,
        });
        match wanted {
            Some(Err(_)) => self.finish_refused(desk, now, 488, None),
            Some(Ok(wanted)) if self.open_ports(desk, wanted) => {}
            Some(Ok(_)) | None => self.pass_offer(desk, now),
        }
    }

    /// Whether some offer is on its way, ours or theirs.
    fn is_exchanging(&self) -> bool {
        let refreshing = [Some(&self.a), self.b.as_ref()].into_iter().flatten().any(|leg| leg.refreshing);
        self.exchange.is_some() || self.late.is_some() || refreshing
    }

    /// Ports that an offer waited for are open.
    pub(super) fn on_offer_ports(&mut self, desk: &mut Desk, now: Now) {
        match (&self.late, &self.exchange) {
            (Some(late), _) if late.sdp.is_some() => self.pass_late_offer(desk, now),
            (_, Some(exchange)) if exchange.client.is_none() => self.pass_offer(desk, now),
            _ => {}
        }
    }

    /// There are none.
    pub(super) fn on_offer_ports_refused(&mut self, desk: &mut Desk, now: Now, refusal: Refusal) {
        match (&self.late, &self.exchange) {
            (Some(late), _) if late.initial => {
                self.release(desk, now, Release::refused(refusal, self.route().texts));
            }
            (Some(_), _) => self.release(desk, now, Release::engine(refusal.name(), 0)),
            (None, Some(_)) => self.finish_refused(desk, now, refusal.status(self.route().texts), None),
            (None, None) => {}
        }
    }

    /// The offer goes to the other side.
    fn pass_offer(&mut self, desk: &mut Desk, now: Now) {
        let Some(exchange) = &self.exchange else { return };
        let (from, to) = (exchange.from, exchange.from.other());
        let by_update = exchange.inbound.as_ref().is_some_and(|i| i.message().method() == Method::Update)
            && self.leg(to).is_some_and(|l| l.allows_update);
        let offer = exchange.sdp.clone().map(|sdp| self.negotiation.offer(from, &sdp)).transpose();
        let offer = match offer {
            Ok(offer) => offer,
            Err(error) => return self.finish_refused(desk, now, error.status(), Some(error)),
        };
        let client = self.send_offer(desk, now, to, by_update, offer.as_deref(), What::Offer);
        match (&mut self.exchange, client) {
            (Some(exchange), Some(client)) => exchange.client = Some(client),
            _ => self.finish_refused(desk, now, 500, None),
        }
    }

    /// Sends a re-INVITE or UPDATE.
    fn send_offer(
        &mut self,
        desk: &mut Desk,
        now: Now,
        to: Side,
        by_update: bool,
        sdp: Option<&[u8]>,
        what: What,
    ) -> Option<(ClientTx, u32)> {
        let key = self.key;
        let method = if by_update { Method::Update } else { Method::Invite };
        let leg = self.leg_mut(to)?;
        let token = leg.token(key, what);
        let (mut writer, target) = leg.next_request(desk, method)?;
        if let Some(session) = &leg.session {
            let refresher = if session.ours { Refresher::Uac } else { Refresher::Uas };
            writer.header("Session-Expires", SessionTimer::header(session.interval, refresher));
            writer.header("Min-SE", MIN_SE.to_string());
        }
        if let Some(sdp) = sdp {
            writer.body(headers::SDP, sdp);
        }
        let bytes = writer.finish();
        let number = leg.number;
        let cseq = leg.dialog.as_ref().map_or(0, |dialog| dialog.local_cseq());
        desk.note(&mut self.steps, now, key, number, false, &bytes);
        desk.request(now, target, token, bytes).map(|client| (client, cseq))
    }

    /// The other side's word on an offer that was passed (or on one of ours).
    pub(super) fn on_offer_response(&mut self, desk: &mut Desk, now: Now, side: Side, message: &Message<'_>) {
        let code = message.status().unwrap_or_default();
        let (is_invite, cseq) = (message.method() == Method::Invite, message.cseq().number);
        if code < 200 {
            return;
        }
        // A 2xx to an earlier INVITE may come again while this one waits.
        let is_its = |e: &Exchange| e.from == side.other() && e.client.is_some_and(|(_, sent)| sent == cseq);
        let awaited = self.exchange.as_ref().is_some_and(is_its);
        if (200..300).contains(&code) && is_invite && !awaited {
            // It came again, or too late: in both cases it wants its ACK.
            let known = self.leg(side).and_then(|l| l.ack.as_ref()).is_some_and(|a| a.cseq == cseq);
            return match known {
                true => self.acknowledge_again(desk, side, cseq),
                false => self.acknowledge(desk, now, side, cseq, None),
            };
        }
        if !awaited {
            return;
        }
        match code {
            200..300 => self.on_offer_accepted(desk, now, side, message, is_invite, cseq),
            // RFC 3261 section 12.2.1.2: the far end knows the dialog no longer.
            408 | 481 => {
                self.tell(now, format!("{} has lost the call ({code})", name(side)));
                self.release(desk, now, Release::engine("peer_lost", code));
            }
            _ => {
                self.tell(now, format!("{code} from {} to the offer", name(side)));
                self.negotiation.rollback();
                if code == 491
                    && let Some(Exchange { from, inbound: None, sdp: Some(sdp), .. }) = &self.exchange
                {
                    // RFC 3261 section 14.1: ours met theirs; once more when theirs is through.
                    let wait = Duration::from_millis(2_100 + desk.rng.below(1_900));
                    self.reoffer =
                        Some(Reoffer { from: *from, sdp: sdp.as_slice().into(), at: now.mono + wait });
                }
                // Credentials of a trunk are not the other side's to give.
                let code = if matches!(code, 300..=399 | 401 | 407) { 488 } else { code };
                self.finish_refused(desk, now, code, None);
            }
        }
    }

    fn on_offer_accepted(
        &mut self,
        desk: &mut Desk,
        now: Now,
        side: Side,
        message: &Message<'_>,
        is_invite: bool,
        cseq: u32,
    ) {
        if let Some(leg) = self.leg_mut(side) {
            if let Some(dialog) = &mut leg.dialog {
                dialog.handle_response(message);
            }
            leg.learn_abilities(message);
            if let Some(session) = session::agreed(now.mono, message) {
                leg.session = Some(session);
            }
        }
        let Some(exchange) = self.exchange.take() else { return };
        let sdp = sdp_of(message).map(<[u8]>::to_vec);
        if exchange.sdp.is_none() {
            // The other side makes the offer: it goes on in our 200, and is answered in the ACK.
            let Some(sdp) = sdp.filter(|_| !exchange.cancelled) else {
                // What this side was told before answers an offer that nobody wants any more.
                let told = self.negotiation.last_sent(side).map(<[u8]>::to_vec);
                self.acknowledge(desk, now, side, cseq, told.as_deref());
                if let Some(inbound) = &exchange.inbound {
                    self.refuse_offer(desk, now, inbound, 488, None);
                }
                return;
            };
            self.exchange = Some(exchange);
            self.late = Some(Late { offerer: side, cseq, sdp: Some(sdp), initial: false });
            return self.on_late_offer(desk, now);
        }
        if is_invite {
            self.acknowledge(desk, now, side, cseq, None);
        }
        let tag = self.tag_of(side);
        let before = self.negotiation.said(exchange.from).map(Box::<[u8]>::from);
        let answered = match &sdp {
            Some(sdp) => self.negotiation.answer(side, tag, sdp),
            None => Err(Unacceptable::NoOffer),
        };
        match answered.and_then(|a| self.negotiation.commit(tag).map(|_| a.sdp)) {
            Ok(answer) => {
                self.send_spec(desk);
                self.tell(now, format!("{} has agreed to other media", name(side)));
                let Some(inbound) = &exchange.inbound else { return };
                if exchange.cancelled {
                    // The one who asked believes in the media of before; so the other side is asked back.
                    self.reoffer = before.map(|sdp| Reoffer { from: exchange.from, sdp, at: now.mono });
                    return self.tell(now, "the offer was taken back too late");
                }
                self.accept_offer(desk, now, inbound, exchange.from, Some(&answer));
            }
            Err(error) => {
                self.negotiation.rollback();
                self.tell(now, format!("SDP of {}: {error}", name(side)));
                if let Some(inbound) = exchange.inbound.as_ref().filter(|_| !exchange.cancelled) {
                    self.refuse_offer(desk, now, inbound, 488, Some(error));
                }
            }
        }
    }

    /// An offer has come in a 2xx.
    pub(super) fn on_late_offer(&mut self, desk: &mut Desk, now: Now) {
        let Some(sdp) = self.late.as_ref().and_then(|l| l.sdp.clone()) else { return };
        match self.negotiation.lines_wanted(&sdp) {
            Ok(wanted) if self.open_ports(desk, wanted) => {}
            Ok(_) => self.pass_late_offer(desk, now),
            Err(error) => self.drop_late_offer(desk, now, Unacceptable::Malformed(error)),
        }
    }

    fn pass_late_offer(&mut self, desk: &mut Desk, now: Now) {
        let Some(late) = &mut self.late else { return };
        let (offerer, initial) = (late.offerer, late.initial);
        let Some(sdp) = late.sdp.take() else { return };
        match self.negotiation.offer(offerer, &sdp) {
            Ok(offer) if initial => self.answer_caller(desk, now, Some(&offer), None),
            Ok(offer) => {
                if let Some(exchange) = self.exchange.take()
                    && let Some(inbound) = &exchange.inbound
                {
                    self.accept_offer(desk, now, inbound, exchange.from, Some(&offer));
                }
            }
            Err(error) => self.drop_late_offer(desk, now, error),
        }
    }

    fn drop_late_offer(&mut self, desk: &mut Desk, now: Now, error: Unacceptable) {
        self.tell(now, format!("late offer: {error}"));
        self.release(desk, now, Release::bad_media(488, Some(error.warning())));
    }

    /// The ACK of `side` has come: if it answers a late offer, the offerer gets its own.
    pub(super) fn on_late_answer(&mut self, desk: &mut Desk, now: Now, side: Side, message: &Message<'_>) {
        let Some(late) = self.late.take_if(|l| l.offerer == side.other() && l.sdp.is_none()) else { return };
        let tag = self.tag_of(side);
        let answered = match sdp_of(message) {
            Some(sdp) => {
                let sdp = sdp.to_vec();
                self.negotiation
                    .answer(side, tag, &sdp)
                    .and_then(|a| self.negotiation.commit(tag).map(|_| a.sdp))
            }
            None => Err(Unacceptable::NoOffer),
        };
        match answered {
            Ok(answer) => {
                self.acknowledge(desk, now, late.offerer, late.cseq, Some(&answer));
                self.send_spec(desk);
            }
            Err(error) => {
                // No SDP in the ACK means BYE to both (media.md).
                self.acknowledge(desk, now, late.offerer, late.cseq, None);
                self.tell(now, format!("ACK of {}: {error}", name(side)));
                self.release(desk, now, Release::bad_media(488, None));
            }
        }
    }

    /// A late offer that will not be answered any more: the 2xx is acknowledged all the same.
    pub(super) fn abandon_late_offer(&mut self, desk: &mut Desk, now: Now) {
        if let Some(late) = self.late.take() {
            self.acknowledge(desk, now, late.offerer, late.cseq, None);
        }
    }

    /// When an offer of ours may be made: not while another is on its way, nor before the ACK.
    pub(super) fn reoffer_due(&self) -> Option<Instant> {
        let reoffer = self.reoffer.as_ref()?;
        let leg = self.leg(reoffer.from.other())?;
        let is_free = leg.unacked.is_none() && leg.invite.is_none();
        (self.stage == Stage::Up && is_free && !self.is_exchanging()).then_some(reoffer.at)
    }

    /// A side believes in other media than the other one: it is asked to change.
    pub(super) fn make_reoffer(&mut self, desk: &mut Desk, now: Now) {
        let Some(Reoffer { from, sdp, .. }) = self.reoffer.take() else { return };
        self.tell(now, format!("{} is told the media of {}", name(from.other()), name(from)));
        self.exchange =
            Some(Exchange { from, inbound: None, sdp: Some(sdp.into()), client: None, cancelled: false });
        self.pass_offer(desk, now);
    }

    /// The INVITE of the exchange was cancelled by who sent it.
    pub(super) fn on_cancelled_offer(&mut self, desk: &mut Desk, now: Now, invite: ServerTx) {
        let Some(exchange) = &mut self.exchange else { return };
        let Some(inbound) = exchange.inbound.clone().filter(|i| i.tx == invite) else { return };
        exchange.cancelled = true;
        if let Some((client, _)) = exchange.client {
            desk.stack.cancel(now.mono, client, None);
        } else {
            self.exchange = None;
        }
        self.refuse_offer(desk, now, &inbound, 487, None);
    }

    /// The exchange has failed: who asked is told.
    fn finish_refused(&mut self, desk: &mut Desk, now: Now, code: u16, error: Option<Unacceptable>) {
        let Some(exchange) = self.exchange.take() else { return };
        if let Some(inbound) = exchange.inbound.as_ref().filter(|_| !exchange.cancelled) {
            self.refuse_offer(desk, now, inbound, code, error);
        }
    }

    /// Ends what is on its way because the call ends.
    pub(super) fn abandon_offer(&mut self, desk: &mut Desk, now: Now) {
        if let Some((client, _)) = self.exchange.as_ref().and_then(|e| e.client) {
            desk.stack.cancel(now.mono, client, None);
        }
        self.finish_refused(desk, now, 487, None);
        for pass in core::mem::take(&mut self.passes) {
            self.refuse_offer(desk, now, &pass.inbound, 487, None);
        }
    }

    pub(super) fn refuse_offer(
        &mut self,
        desk: &mut Desk,
        now: Now,
        inbound: &Inbound,
        code: u16,
        error: Option<Unacceptable>,
    ) {
        let message = inbound.message();
        let mut writer = Writer::reply_from(&message, inbound.flow.remote, code, Some(&self.a.local_tag));
        match code {
            422 => drop(writer.header("Min-SE", MIN_SE.to_string())),
            500 | 503 => drop(writer.header("Retry-After", (1 + desk.rng.below(9)).to_string())),
            _ => {}
        }
        if let Some(error) = error {
            writer.header("Warning", format!("{} strowger \"{error}\"", error.warning()));
        }
        let bytes = writer.finish();
        let leg = self.side_of_tag(message.to_tag());
        desk.note(&mut self.steps, now, self.key, leg, false, &bytes);
        desk.respond(now, inbound.tx, code, bytes);
    }

    /// 200 to a re-INVITE or UPDATE.
    fn accept_offer(&mut self, desk: &mut Desk, now: Now, inbound: &Inbound, side: Side, sdp: Option<&[u8]>) {
        let ours = self.session_wanted(side);
        let key = self.key;
        let Some(leg) = self.leg_mut(side) else { return };
        let message = inbound.message();
        let mut writer = Writer::reply_from(&message, inbound.flow.remote, 200, Some(&leg.local_tag));
        writer
            .header("Contact", leg.contact())
            .header("Allow", headers::ALLOW)
            .header("Supported", "timer, 100rel");
        leg.session = session::write_answer(&mut writer, now.mono, session::answer(&message, ours));
        if let Some(sdp) = sdp {
            writer.body(headers::SDP, sdp);
        }
        let bytes = writer.finish();
        let (is_invite, cseq) = (message.method() == Method::Invite, message.cseq().number);
        let number = leg.number;
        let target = desk.stack.reply_target(inbound.tx).unwrap_or(inbound.flow.back());
        let bytes = desk.respond(now, inbound.tx, 200, bytes);
        if is_invite {
            let repeat = Repeat::until_ack(now.mono, desk.stack.timers());
            leg.unacked = Some(Unacked { cseq, bytes: Arc::clone(&bytes), target, repeat });
        }
        desk.note(&mut self.steps, now, key, number, false, &bytes);
    }

    /// Keeps the session of a leg alive.
    pub(super) fn refresh(&mut self, desk: &mut Desk, now: Now, side: Side) {
        let busy = self.exchange.is_some() || self.late.is_some();
        let Some(leg) = self.leg_mut(side) else { return };
        let Some(session) = leg.session else { return };
        // An UPDATE without SDP meets nobody's offer; a re-INVITE must wait.
        let by_update = leg.allows_update;
        if leg.dialog.is_none() || !by_update && (busy || leg.unacked.is_some()) {
            // Half of the interval is still left for another try.
            leg.session = Some(SessionTimer::start_in(now.mono, session, Duration::from_secs(1)));
            return;
        }
        // Until the answer has come the old interval stands; it is long enough for the transaction.
        leg.session = Some(SessionTimer::start_in(now.mono, session, Duration::from_secs(40)));
        leg.refreshing = !by_update;
        let sdp = if by_update { None } else { self.negotiation.last_sent(side).map(<[u8]>::to_vec) };
        if self.send_offer(desk, now, side, by_update, sdp.as_deref(), What::Refresh).is_none()
            && let Some(leg) = self.leg_mut(side)
        {
            leg.refreshing = false;
        }
    }

    /// What came of a refresh of ours.
    pub(super) fn on_refresh_response(
        &mut self,
        desk: &mut Desk,
        now: Now,
        side: Side,
        message: &Message<'_>,
    ) {
        let code = message.status().unwrap_or_default();
        let cseq = message.cseq().number;
        if code >= 200
            && let Some(leg) = self.leg_mut(side)
        {
            leg.refreshing = false;
        }
        match code {
            0..200 => {}
            200..300 => {
                if message.method() == Method::Invite {
                    let again = self.leg(side).and_then(|l| l.ack.as_ref()).is_some_and(|a| a.cseq == cseq);
                    match again {
                        true => return self.acknowledge_again(desk, side, cseq),
                        false => self.acknowledge(desk, now, side, cseq, None),
                    }
                }
                let Some(leg) = self.leg_mut(side) else { return };
                if let Some(dialog) = &mut leg.dialog {
                    dialog.handle_response(message);
                }
                // A peer that no longer speaks of a timer has dropped it (RFC 4028 section 7.2).
                leg.session = session::agreed(now.mono, message);
            }
            408 | 481 => {
                self.tell(now, format!("{} has lost the call ({code})", name(side)));
                self.release(desk, now, Release::engine("peer_lost", code));
            }
            422 => {
                let wanted = message.min_se().unwrap_or(MIN_SE);
                if let Some(leg) = self.leg_mut(side)
                    && let Some(session) = &mut leg.session
                {
                    session.interval = session.interval.max(wanted);
                    *session = SessionTimer::start_in(now.mono, *session, Duration::from_secs(1));
                }
            }
            // 491 and the like: tried again while there is time.
            _ => {
                if let Some(leg) = self.leg_mut(side)
                    && let Some(session) = &mut leg.session
                {
                    *session = SessionTimer::start_in(now.mono, *session, Duration::from_secs(10));
                }
            }
        }
    }

    /// Repeats and time-outs of one leg.
    pub(super) fn on_leg_timeout(&mut self, desk: &mut Desk, now: Now, side: Side) {
        let Some(leg) = self.leg_mut(side) else { return };
        if let Some(unacked) = &mut leg.unacked {
            match unacked.repeat.handle_timeout(now.mono) {
                Some(Output::Resend) => desk.stack.send(unacked.target, Arc::clone(&unacked.bytes)),
                Some(Output::TimedOut) => {
                    leg.unacked = None;
                    let bye_wanted = core::mem::take(&mut leg.bye_wanted);
                    if bye_wanted {
                        return self.send_bye(desk, now, side);
                    }
                    self.tell(now, format!("no ACK from {}", name(side)));
                    return self.release(desk, now, Release::engine("no_ack", 408));
                }
                Some(Output::Ended) | None => {}
            }
        }
        let Some(leg) = self.leg_mut(side) else { return };
        if let Some(sent) = &mut leg.reliable.sent {
            match sent.repeat.handle_timeout(now.mono) {
                Some(Output::Resend) => desk.stack.send(sent.target, Arc::clone(&sent.bytes)),
                Some(Output::TimedOut) => {
                    leg.reliable.sent = None;
                    self.tell(now, format!("no PRACK from {}", name(side)));
                    return self.release(desk, now, Release::engine("no_prack", 504));
                }
                Some(Output::Ended) | None => {}
            }
        }
        let due = self.leg(side).filter(|l| !l.ended).and_then(|l| l.session).filter(|s| s.due() <= now.mono);
        match due {
            Some(session) if self.stage == Stage::Up && session.ours => self.refresh(desk, now, side),
            Some(_) if self.stage == Stage::Up => {
                self.tell(now, format!("{} has not refreshed its session", name(side)));
                self.release(desk, now, Release::engine("session_expired", 408));
            }
            Some(_) => {
                // The call is ending anyway.
                if let Some(leg) = self.leg_mut(side) {
                    leg.session = None;
                }
            }
            None => {}
        }
    }

    fn accept_target(&mut self, side: Side, message: &Message<'_>) {
        if let Some(leg) = self.leg_mut(side) {
            leg.learn_abilities(message);
            if let Some(dialog) = &mut leg.dialog {
                dialog.handle_request(message);
            }
        }
    }

    fn acknowledge(&mut self, desk: &mut Desk, now: Now, side: Side, cseq: u32, sdp: Option<&[u8]>) {
        let key = self.key;
        if let Some(leg) = self.leg_mut(side)
            && let Some(ack) = leg.send_ack(desk, cseq, sdp)
        {
            let number = leg.number;
            desk.note(&mut self.steps, now, key, number, false, &ack);
        }
    }

    /// The 2xx came again, so the ACK was lost.
    fn acknowledge_again(&mut self, desk: &mut Desk, side: Side, cseq: u32) {
        if let Some(ack) = self.leg(side).and_then(|l| l.ack.as_ref()).filter(|a| a.cseq == cseq) {
            desk.stack.send(ack.target, Arc::clone(&ack.bytes));
        }
    }

    /// The name that a side's remote has in the bridge.
    fn tag_of(&self, side: Side) -> RemoteTag {
        match side {
            Side::A => RemoteTag(0),
            Side::B => self.b_tag,
        }
    }

    fn side_of_tag(&self, tag: Option<&[u8]>) -> u16 {
        match (&self.b, tag) {
            (Some(b), Some(tag)) if b.local_tag == tag => b.number,
            _ => 0,
        }
    }
}

/// The session description of a message.
pub(super) fn sdp_of<'m>(message: &Message<'m>) -> Option<&'m [u8]> {
    let is_sdp = message.content_type().is_none() || message.is_content(b"application/sdp");
    (is_sdp && !message.body().is_empty()).then(|| message.body())
}
