//! How a call ends, whoever ends it: both legs are told, media closes, places are given back, records are written.

use super::{Call, Media, Stage, name};
use crate::desk::{Desk, Output, What};
use crate::headers;
use crate::leg::{Leg, text};
use crate::refusal::Refusal;
use crate::spec::Texts;
use base::{Duration, Now};
use command::{Command, PortReport};
use ledger::{Cdr, Event, LimitHit, Quality, ReleasedBy};
use routing::health::Attempt;
use sdp::Side;
use sip::flow::Flow;
use sip::message::write::Writer;
use sip::message::{Message, Method, Name};
use sip::stack::ServerTx;

/// Why a call ended, and what a side that was not asked yet is told.
#[derive(Clone, Debug)]
pub struct Release {
    pub by: ReleasedBy,
    /// Stable word.
    pub cause: String,
    /// Status for a caller that has no final answer yet.
    code: u16,
    /// Its phrase, if it is not the usual one.
    phrase: Option<String>,
    retry_after: Option<u32>,
    warning: Option<u16>,
    /// Value of a Reason header that came with the end (RFC 3326).
    reason: Option<Vec<u8>>,
    pub refusal: Option<Refusal>,
    /// The policy with its rule, or the limit that wanted it.
    pub rule: Option<String>,
    pub at: Now,
}

impl Release {
    fn new(by: ReleasedBy, cause: &str, code: u16) -> Self {
        Release {
            by,
            cause: cause.to_owned(),
            code,
            phrase: None,
            retry_after: None,
            warning: None,
            reason: None,
            refusal: None,
            rule: None,
            at: Now::default(),
        }
    }

    /// We end it; `code` is for a caller without an answer.
    pub fn engine(cause: &str, code: u16) -> Self {
        Release::new(ReleasedBy::Engine, cause, if code == 0 { 480 } else { code })
    }

    /// Somebody asked us to.
    pub fn operator() -> Self {
        Release::new(ReleasedBy::Operator, "hangup", 480)
    }

    /// We refuse it.
    pub fn refused(refusal: Refusal, texts: Texts) -> Self {
        Release {
            phrase: refusal.phrase(texts).map(str::to_owned),
            retry_after: refusal.retry_after(),
            refusal: Some(refusal),
            ..Release::new(ReleasedBy::Engine, refusal.name(), refusal.status(texts))
        }
    }

    /// As [`Release::refused`], by a limit: the caller and the record are told which.
    pub fn by_limit(self, hit: Option<LimitHit>) -> Self {
        let Some(hit) = hit else { return self };
        let text = format!("limit {} reached", hit.limit);
        Release { reason: Some(crate::refusal::reason(self.code, &text)), rule: Some(hit.limit), ..self }
    }

    /// A policy ends a call that is up: `rule` is its name and rule.
    pub fn cut(rule: &str, policy: &str) -> Self {
        let reason = Some(crate::refusal::reason(403, &format!("policy {policy}: {rule}")));
        Release {
            rule: Some(format!("{policy}: {rule}")),
            reason,
            ..Release::new(ReleasedBy::Engine, "fraud", 403)
        }
    }

    /// SDP that cannot be passed on.
    pub fn bad_media(code: u16, warning: Option<u16>) -> Self {
        Release {
            warning,
            refusal: Some(Refusal::BadMedia),
            ..Release::new(ReleasedBy::Engine, "bad_media", code)
        }
    }

    /// The far end refused or failed.
    pub fn failed(code: u16) -> Self {
        let cause = match code {
            408 => "no_answer",
            486 | 600 => "busy",
            404 | 604 => "not_found",
            480 => "unavailable",
            487 => "cancel",
            403 | 603 => "declined",
            488 | 606 => "bad_media",
            _ => "failed",
        };
        Release::new(ReleasedBy::Callee, cause, code)
    }

    /// As [`Release::failed`], with what the answer said.
    pub fn failed_with(code: u16, message: &Message<'_>) -> Self {
        Release {
            phrase: Some(text(message.reason())).filter(|p| !p.is_empty()),
            reason: message.header(Name::Reason).map(<[u8]>::to_vec),
            ..Release::failed(code)
        }
    }

    /// The caller gave up.
    pub fn cancelled(message: &Message<'_>) -> Self {
        Release {
            reason: message.header(Name::Reason).map(<[u8]>::to_vec),
            ..Release::new(ReleasedBy::Caller, "cancel", 487)
        }
    }

    fn hung_up(side: Side, message: &Message<'_>) -> Self {
        let by = match side {
            Side::A => ReleasedBy::Caller,
            Side::B => ReleasedBy::Callee,
        };
        Release {
            reason: message.header(Name::Reason).map(<[u8]>::to_vec),
            ..Release::new(by, "normal", 487)
        }
    }
}

impl Call {
    /// Ends the call; the first reason counts, later ones change nothing.
    pub(crate) fn release(&mut self, desk: &mut Desk, now: Now, release: Release) {
        if self.stage == Stage::Ending {
            return;
        }
        let release = Release { at: now, ..release };
        tracing::info!(
            call = %self.id,
            call_id = %self.a.record.sip_call_id(),
            b_call_id = %self.b.as_ref().map(|b| b.record.sip_call_id()).unwrap_or_default(),
            by = release.by.name(),
            cause = %release.cause,
            answered = self.answered.is_some(),
            "ended"
        );
        self.tell(now, format!("ended by {}: {}", release.by.name(), release.cause));
        if let Some(refusal) = release.refusal {
            desk.stats.refused.add(&[refusal.name()], 1);
        }
        self.stage = Stage::Ending;
        self.no_answer_at = None;
        // The caller went away, or we did: nothing is known of the trunk.
        self.note_health(desk, now, Attempt::Abandoned);
        // What we refuse was nobody's to answer: its ticket is only dropped.
        let counts = release.refusal.is_none() || self.answered.is_some();
        if let Some(ticket) = self.ticket.take().filter(|_| counts) {
            self.money = desk.config.shared.fraud.end(now, ticket, self.answered.is_some());
        }
        self.tell_ended(desk, now, &release);
        self.abandon_late_offer(desk, now);
        self.abandon_offer(desk, now);
        self.release = Some(release);
        self.end_leg_a(desk, now);
        self.end_leg_b(desk, now);
        self.close_bridge(desk);
        self.end_control(desk, now);
        // Places are free from now on, whatever last messages are still to come.
        self.lease_in = None;
        self.lease_out = None;
    }

    /// The world hears of the end of a call.
    fn tell_ended(&self, desk: &Desk, now: Now, release: &Release) {
        let event = Event::new(now.wall, "call.ended")
            .with("call", self.id)
            .with("by", release.by.name())
            .with("cause", &release.cause)
            .with("result", self.result_of(release))
            .with("trunk", &self.trunk(self.admitted.trunk).name);
        desk.config.shared.events.publish(event);
    }

    fn end_leg_a(&mut self, desk: &mut Desk, now: Now) {
        if self.a.ended {
            return;
        }
        if self.a.invite.is_some() {
            self.refuse_caller(desk, now);
        } else if self.a.unacked.is_some() {
            // RFC 3261 section 15: not before the ACK.
            self.a.bye_wanted = true;
            self.a.ended = true;
        } else {
            self.send_bye(desk, now, Side::A);
        }
    }

    fn end_leg_b(&mut self, desk: &mut Desk, now: Now) {
        let reason = self.release.as_ref().and_then(|r| r.reason.clone());
        let Some(b) = &mut self.b else { return };
        if b.ended {
            return;
        }
        if b.dialog.is_some() {
            return self.send_bye(desk, now, Side::B);
        }
        b.ended = true;
        if let Some(tx) = b.client {
            desk.stack.cancel(now.mono, tx, reason.as_deref());
        }
    }

    /// The final answer to a caller whose call did not come about.
    fn refuse_caller(&mut self, desk: &mut Desk, now: Now) {
        let Some(release) = &self.release else { return };
        let Some(inbound) = self.a.invite.take() else { return };
        let code = match release.by {
            ReleasedBy::Callee => match self.towards_caller(release.code) {
                // Redirections are not followed, credentials are ours to give, and so are extensions and intervals.
                300..=399 => 480,
                401 | 407 => 403,
                420..=422 => 500,
                code => code,
            },
            ReleasedBy::Caller | ReleasedBy::Engine | ReleasedBy::Operator => release.code,
        };
        let message = inbound.message();
        let mut writer = Writer::reply_from(&message, inbound.flow.remote, code, Some(&self.a.local_tag));
        if let Some(seconds) = release.retry_after {
            writer.header("Retry-After", seconds.to_string());
        }
        if let Some(warning) = release.warning {
            writer.header("Warning", format!("{warning} strowger \"media unacceptable\""));
        }
        if let Some(reason) = &release.reason {
            writer.header("Reason", reason);
        }
        match code {
            422 => drop(writer.header("Min-SE", crate::session::MIN_SE.to_string())),
            488 => drop(writer.header("Accept", headers::SDP)),
            _ => {}
        }
        let mut bytes = writer.finish();
        if let Some(phrase) = release.phrase.as_ref().filter(|_| code == release.code) {
            bytes = with_phrase(&bytes, phrase);
        }
        let phrase = bytes.split(|b| *b == b'\r').next().and_then(|line| line.get(12..)).map(text);
        self.a.record.final_answer = Some((code, phrase.unwrap_or_default()));
        // The callee may have answered while our 200 still waited for a PRACK.
        self.a.record.answered = None;
        self.a.reliable = crate::leg::Reliable::default();
        self.a.ended = true;
        desk.note(&mut self.steps, now, self.key, 0, false, &bytes);
        desk.respond(now, inbound.tx, code, bytes);
    }

    /// What the caller is told of a failure of the trunk that was called last.
    fn towards_caller(&self, code: u16) -> u16 {
        match self.plan.tried.last() {
            Some(trunk) => self.trunk(*trunk).codes.towards_caller(code),
            None => code,
        }
    }

    pub(super) fn send_bye(&mut self, desk: &mut Desk, now: Now, side: Side) {
        let key = self.key;
        let release = self.release.clone();
        let Some(leg) = self.leg_mut(side) else { return };
        leg.ended = true;
        leg.session = None;
        leg.unacked = None;
        let token = leg.token(key, What::Bye);
        let Some((mut writer, target)) = leg.next_request(desk, Method::Bye) else { return };
        if let Some(release) = release {
            match (&release.reason, release.by) {
                (Some(reason), _) => drop(writer.header("Reason", reason)),
                (None, ReleasedBy::Engine | ReleasedBy::Operator) => {
                    let reason = format!("SIP;cause={};text=\"{}\"", release.code, release.cause);
                    writer.header("Reason", reason);
                }
                (None, ReleasedBy::Caller | ReleasedBy::Callee) => {}
            }
        }
        let bytes = writer.finish();
        let number = leg.number;
        desk.note(&mut self.steps, now, key, number, false, &bytes);
        let bye = desk.request(now, target, token, bytes);
        if let Some(leg) = self.leg_mut(side) {
            leg.bye = bye;
        }
    }

    pub(super) fn on_bye(
        &mut self,
        desk: &mut Desk,
        now: Now,
        tx: ServerTx,
        side: Side,
        flow: &Flow,
        message: &Message<'_>,
    ) {
        self.reply_plainly(desk, now, tx, flow, message, 200);
        if let Some(leg) = self.leg_mut(side) {
            if leg.dialog.is_none() {
                return; // A callee cannot end an early dialog so (RFC 3261 section 15).
            }
            // A 2xx of ours that has not arrived yet goes on being repeated: their INVITE wants its answer.
            leg.ended = true;
            leg.bye_wanted = false;
            leg.session = None;
        }
        if side == Side::A && self.a.invite.is_some() {
            // RFC 3261 section 15.1.2: a BYE within the caller's early dialog ends its INVITE with 487.
            self.a.ended = false;
        }
        self.tell(now, format!("BYE from {}", name(side)));
        self.release(desk, now, Release::hung_up(side, message));
    }

    pub(super) fn close_bridge(&mut self, desk: &mut Desk) {
        match (self.bridge, self.media) {
            (Some(bridge), Media::Open | Media::Opening { .. }) => {
                // The shard takes commands in order: what is still being opened is closed right after.
                self.media = Media::Closing;
                desk.media(bridge.media_shard(), Command::Close { bridge });
            }
            (_, Media::None) => self.media = Media::Closed,
            (_, Media::Open | Media::Opening { .. } | Media::Closing | Media::Closed) => {}
        }
    }

    /// Writes the records once nothing can change them any more.
    pub fn settle(&mut self, desk: &mut Desk) {
        let b_settled = self.b.as_ref().is_none_or(|b| b.ended && (b.client.is_none() || b.dialog.is_none()));
        let ready = self.stage == Stage::Ending && self.media == Media::Closed && self.a.ended && b_settled;
        if !ready || self.records_written {
            return;
        }
        self.records_written = true;
        let Some(release) = self.release.clone() else { return };
        self.count_speech(desk);
        for side in [Side::A, Side::B] {
            let quality = self.quality(side);
            if quality.is_some_and(|q| q.one_way) && self.answered.is_some() {
                self.note_one_way(desk, side);
            }
            if let Some(leg) = self.leg(side) {
                desk.stats.rtp_lost.add(quality.map_or(0, |q| q.lost));
                if let Some(mos) = quality.and_then(|q| q.mos) {
                    desk.stats.add_mos(&self.trunk(leg.trunk).name, mos);
                }
                let cdr = self.record(leg, &release, quality);
                desk.output.push_back(Output::Ended(Box::new(cdr)));
            }
        }
    }

    /// An attempt that failed has its record at once.
    pub(super) fn write_attempt_record(&mut self, desk: &mut Desk, now: Now) {
        let code =
            self.b.as_ref().and_then(|b| b.record.final_answer.as_ref()).map_or(408, |(code, _)| *code);
        let release = Release { at: now, ..Release::failed(code) };
        if let Some(mut b) = self.b.take() {
            if let Some(tx) = b.client.take() {
                desk.stack.cancel(now.mono, tx, None);
            }
            let cdr = self.record(&b, &release, None);
            desk.output.push_back(Output::Ended(Box::new(cdr)));
        }
        // The next attempt is on the same trunk and keeps its place.
    }

    /// What would be lost if we died now: the records of an answered call as far as they are known.
    pub(super) fn keep_open_records(&mut self, desk: &mut Desk, now: Now) {
        let release = Release { at: now, ..Release::engine("interrupted", 0) };
        for side in [Side::A, Side::B] {
            if let Some(leg) = self.leg(side) {
                let cdr = self.record(leg, &release, None);
                desk.output.push_back(Output::Opened(Box::new(cdr)));
            }
        }
    }

    fn record(&self, leg: &Leg, release: &Release, quality: Option<Quality>) -> Cdr {
        let ended = release.at;
        // What the caller is charged stands in the caller's record.
        let price = Some(()).filter(|()| leg.side == Side::A && self.money.price_per_minute.0 > 0);
        Cdr {
            trunk: Some(self.trunk(leg.trunk).name.clone()),
            route: Some(self.route().name.clone()),
            local: leg.target.local,
            remote: Some(leg.target.remote),
            ended: ended.wall,
            duration: leg.record.answered.map_or(Duration::ZERO, |at| ended.mono.since(at.mono)),
            released_by: release.by,
            release_cause: release.cause.clone(),
            quality,
            account: self.admitted.account.map(|index| self.spec.accounts[index].name.clone()),
            group: self.group_of(leg),
            policy: release.rule.clone(),
            billable: self.is_billable(leg),
            price_per_minute: price.map(|_| self.money.price_per_minute.units()),
            cost: price.map(|_| self.money.cost.units()),
            ..leg.record.begin(self.id, leg.number)
        }
    }

    /// The group by which the trunk of a leg was chosen.
    fn group_of(&self, leg: &Leg) -> Option<String> {
        let chosen =
            self.chosen.as_ref().filter(|chosen| leg.side == Side::B && chosen.trunk == leg.trunk)?;
        chosen.group.map(|group| self.spec.groups[group].name.clone())
    }

    /// Whether a leg is billed: it was answered, or its failure is of those that are billed all the same.
    fn is_billable(&self, leg: &Leg) -> bool {
        let bills = |code: u16| self.trunk(leg.trunk).codes.bill.iter().any(|range| range.contains(&code));
        leg.record.answered.is_some()
            || leg.record.final_answer.as_ref().is_some_and(|(code, _)| bills(*code))
    }

    /// How evenly streams came, and how much of them was made up.
    fn count_speech(&self, desk: &Desk) {
        for port in self.report.iter().flat_map(|report| &report.ports) {
            for stream in &port.streams {
                desk.stats.jitter.record(u64::try_from(stream.jitter_mean.as_nanos()).unwrap_or(u64::MAX), 1);
            }
            let frames = port.voice.map_or(0, |voice| voice.concealed.as_millis() / 20);
            desk.stats.concealed.add(u64::try_from(frames).unwrap_or(0));
        }
    }

    /// All ports of one side together.
    fn quality(&self, side: Side) -> Option<Quality> {
        let report = self.report.as_ref()?;
        let mut quality = Quality::default();
        let ports: Vec<&PortReport> = report.ports.iter().filter(|p| p.party == side.party()).collect();
        for port in &ports {
            quality.received += port.received.packets;
            quality.sent += port.sent.packets;
            quality.mos = quality.mos.or(port.mos());
            for stream in &port.streams {
                quality.lost += stream.lost;
                let jitter = u64::try_from(stream.jitter_max.as_micros()).unwrap_or(u64::MAX);
                quality.jitter_max_us = quality.jitter_max_us.max(jitter);
            }
        }
        quality.one_way = quality.received == 0 && quality.sent > 0;
        (!ports.is_empty()).then_some(quality)
    }

    /// The result word of the calls counter.
    pub(crate) fn result(&self) -> &'static str {
        self.release.as_ref().map_or("failed", |release| self.result_of(release))
    }

    fn result_of(&self, release: &Release) -> &'static str {
        match self.answered {
            Some(_) => "answered",
            None if release.cause == "cancel" => "cancelled",
            None if release.refusal.is_some() => "refused",
            None => "failed",
        }
    }
}

/// A response with another reason phrase; control octets in it become blanks.
pub(crate) fn with_phrase(response: &[u8], phrase: &str) -> Vec<u8> {
    const UP_TO_STATUS: usize = "SIP/2.0 200".len();
    let end = response.iter().position(|b| *b == b'\r').unwrap_or(response.len());
    let mut out = Vec::with_capacity(response.len() + phrase.len());
    out.extend_from_slice(response.get(..UP_TO_STATUS).unwrap_or(response));
    out.push(b' ');
    out.extend(phrase.bytes().map(|b| if b < b' ' || b == 0x7f { b' ' } else { b }));
    out.extend_from_slice(&response[end..]);
    out
}

#[cfg(test)]
mod tests {
    use super::with_phrase;

    #[test]
    fn a_phrase_takes_the_place_of_the_usual_one_and_cannot_break_the_line() {
        let with = |phrase| with_phrase(b"SIP/2.0 486 Busy Here\r\nTo: x\r\n\r\n", phrase);
        assert_eq!(with("On The Phone"), b"SIP/2.0 486 On The Phone\r\nTo: x\r\n\r\n");
        assert_eq!(with("a\r\nb"), b"SIP/2.0 486 a  b\r\nTo: x\r\n\r\n");
    }
}
