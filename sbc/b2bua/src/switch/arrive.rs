//! Requests outside of any dialog: OPTIONS to us, and INVITEs on their way through admission to a call. What counts
//! (fraud, limits) is taken here, after `admit` has decided, and given back with whatever ends the call.

use super::Switch;
use crate::admit::{self, Admitted, Decision, Hooked, Origin, Refused};
use crate::call::{Call, Held, Release, refusal_of};
use crate::desk::{Output, Token, What};
use crate::headers;
use crate::judge::{self, Who};
use crate::leg::Arrival;
use crate::refusal::{Refusal, reason};
use crate::spec::{Limit, Spec, Texts};
use crate::tarpit::Diverted;
use base::{Duration, Instant, Key, Now};
use ledger::{Class, Event, HookAnswer, HookFailed, HookQuestion, Lease, LimitHit, Part};
use policy::fraud::{Facts, Ticket};
use sip::flow::Flow;
use sip::frame::Framing;
use sip::message::write::Writer;
use sip::message::{Message, Method};
use sip::stack::ServerTx;
use std::sync::Arc;

/// An INVITE whose route's hook is being asked.
pub(super) struct Asking {
    tx: ServerTx,
    flow: Flow,
    raw: Box<[u8]>,
    /// The route whose hook it is.
    route: String,
    /// The answer should have come by then; the shell keeps the deadline, this is for a lost one.
    until: Instant,
}

/// Calls that wait for their hook, per shard.
pub(super) const ASKING_MAX: u32 = 4_096;
/// What an answer may be late by before it is given up here.
const GRACE: Duration = Duration::from_secs(2);

impl Switch {
    /// A request for a dialog that is gone.
    pub(super) fn on_gone(&mut self, now: Now, tx: ServerTx, flow: &Flow, message: &Message<'_>) {
        self.reply(now, tx, flow, message, 481, None);
    }

    /// A request outside of any dialog, from a known source.
    pub(super) fn on_new(&mut self, now: Now, tx: ServerTx, flow: &Flow, message: &Message<'_>) {
        match message.method() {
            Method::Invite => {
                self.desk.stack.trying(now.mono, tx, flow, message);
                self.on_invite(now, tx, flow, message, None);
            }
            Method::Options => self.on_options(now, tx, flow, message),
            // These make sense within a dialog only.
            Method::Bye | Method::Prack | Method::Update | Method::Info => {
                let refusal = message.earns(&headers::SUPPORTED).map(Refusal::Message);
                self.reply(now, tx, flow, message, 481, refusal);
            }
            method => {
                let refusal = match message.earns(&headers::SUPPORTED) {
                    Some(status) => Refusal::Message(status),
                    None if method == Method::Refer => Refusal::ReferDeclined,
                    None => Refusal::MethodNotAllowed,
                };
                self.reply(now, tx, flow, message, refusal.status(Texts::Rfc), Some(refusal));
            }
        }
    }

    /// OPTIONS to us is answered by us, as an INVITE would be (RFC 3261 section 11.2).
    fn on_options(&mut self, now: Now, tx: ServerTx, flow: &Flow, message: &Message<'_>) {
        let refusal = match message.earns(&headers::SUPPORTED) {
            // An OPTIONS whose hops end here has found us (RFC 3261 section 11).
            Some(483) | None if !self.draining => None,
            Some(status) if status != 483 => Some(Refusal::Message(status)),
            _ => Some(Refusal::Draining),
        };
        self.reply(now, tx, flow, message, refusal.map_or(200, |r| r.status(Texts::Rfc)), refusal);
    }

    /// A new call, or one that comes back with the answer of its hook.
    fn on_invite(
        &mut self,
        now: Now,
        tx: ServerTx,
        flow: &Flow,
        message: &Message<'_>,
        hooked: Option<&Hooked>,
    ) {
        match admit::admit(&self.world(now), origin(flow), message, hooked, &mut ()) {
            Decision::Admit(admitted) => self.begin(now, Arrival { tx, flow, message }, admitted),
            Decision::Refuse(refused) => self.refuse_call(now, tx, flow, message, &refused),
            Decision::Ask(question) => self.ask_hook(now, tx, flow, message, question),
            // Its trunk has left the configuration while the hook was asked; the caller waits for an answer.
            Decision::Divert | Decision::Silence if hooked.is_some() => {
                let refused = Refused::new(Refusal::UnknownSource, None);
                self.refuse_call(now, tx, flow, message, &refused);
            }
            Decision::Divert => self.divert_stranger(now, tx, flow, message),
            Decision::Silence => self.desk.stack.forget(tx),
        }
    }

    /// Counts an admitted call, takes its places, and lets it begin.
    fn begin(&mut self, now: Now, arrival: Arrival<'_>, admitted: Box<Admitted>) {
        let Arrival { tx, flow, message } = arrival;
        let spec = Arc::clone(&self.desk.spec);
        let (trunk, route) = (admitted.trunk, &spec.routes[admitted.route]);
        let refused = |refusal| Refused {
            account: admitted.account,
            route: Some(admitted.route),
            texts: route.texts,
            ..Refused::new(refusal, Some(trunk))
        };
        // The key must be known before the call is made, for its tags carry it.
        let Some(key) = self.calls.next_key() else {
            return self.refuse_call(now, tx, flow, message, &refused(Refusal::Overload));
        };
        let who = Who { trunk, account: admitted.account };
        let mut ticket = None;
        if admitted.class != Class::Emergency {
            match self.watch(now, &spec, who, &admitted, flow, key) {
                Watched::Goes(counted) => ticket = counted,
                Watched::Refused(policy, rule) => {
                    let (by, detail) = (Some(policy), Some(rule));
                    let refused = Refused { by, detail, ..refused(Refusal::Fraud) };
                    return self.refuse_call(now, tx, flow, message, &refused);
                }
                Watched::Diverted(policy) => {
                    let name = spec.trunks[trunk].name.clone();
                    if !self.divert(now, tx, flow, message, Some(policy.clone()), Some(name)) {
                        // Strangers get nothing where there is no place; a trunk of ours is told.
                        let detail = Some("diverted, and no place for it".to_owned());
                        let refused = Refused { by: Some(policy), detail, ..refused(Refusal::Fraud) };
                        self.refuse_call(now, tx, flow, message, &refused);
                    }
                    return;
                }
            }
        }
        let lease = match self.take_places(now, &spec, who, &admitted, flow) {
            Ok(lease) => lease,
            Err(hit) => {
                let refused = Refused { by: Some(hit.limit.clone()), ..refused(refusal_of(&hit)) };
                let detail = Some(format!("limit {} reached", hit.limit));
                return self.refuse_call(now, tx, flow, message, &Refused { detail, ..refused });
            }
        };
        let lost = refused(Refusal::Internal);
        let call = match Call::new(&mut self.desk, now, key, arrival, admitted, Held { lease, ticket }) {
            Ok(call) => call,
            Err(refusal) => {
                let lost = Refused { refusal, ..lost };
                return self.refuse_call(now, tx, flow, message, &lost);
            }
        };
        self.by_id.insert(call.id, key);
        let Ok(made) = self.calls.insert(call) else { return };
        // At once, not with the other figures: a drain that waits for the last call looks here.
        self.desk.stats.calls_now.set(self.calls.len() as u64);
        debug_assert_eq!(made, key, "the slab gives the key that it promised");
        self.desk.stack.set_token(tx, Token { call: key, leg: 0, what: What::Invite });
        self.desk.stats.calls_active.add(&[&spec.trunks[trunk].name, "in"], 1);
        self.with_call(key, |call, desk| match call.choose_a_media(desk, flow) {
            true => call.start(desk, now),
            false => {
                let texts = call.route().texts;
                call.release(desk, now, Release::refused(Refusal::NoPorts, texts));
            }
        });
    }

    /// Counts the try in the fraud profiles of those who make it, and does what they want done.
    fn watch(
        &mut self,
        now: Now,
        spec: &Arc<Spec>,
        who: Who,
        admitted: &Admitted,
        flow: &Flow,
        key: Key,
    ) -> Watched {
        let profiles = judge::profiles(spec, who);
        if profiles.is_empty() {
            return Watched::Goes(None);
        }
        let facts = Facts {
            account: who.account.map(|account| spec.accounts[account].name.as_str()),
            trunk: &spec.trunks[who.trunk].name,
            caller: &admitted.caller,
            callee: &admitted.callee,
            source: flow.remote.ip(),
        };
        let mut found = Vec::new();
        let fraud = &self.desk.config.shared.fraud;
        let ticket = fraud.begin(now, &profiles, &facts, self.desk.config.shard, key.to_bits(), &mut found);
        let mut watched = Watched::Goes(Some(ticket));
        for finding in &found {
            let wanted = self.act(now, spec, who, flow.remote.ip(), finding);
            let policy = finding.profile.name.clone();
            let rule = format!("{} {}", finding.rule, finding.level.word());
            match wanted {
                super::live::Wanted::Refuse => watched = Watched::Refused(policy, rule),
                super::live::Wanted::Divert if matches!(watched, Watched::Goes(_)) => {
                    watched = Watched::Diverted(policy);
                }
                super::live::Wanted::Divert | super::live::Wanted::Nothing => {}
            }
        }
        watched
    }

    /// One place in every limit of those who call.
    fn take_places(
        &self,
        now: Now,
        spec: &Spec,
        who: Who,
        admitted: &Admitted,
        flow: &Flow,
    ) -> Result<Lease, LimitHit> {
        let source = flow.remote.ip().to_string();
        let trunk = &spec.trunks[who.trunk];
        let account = who.account.map(|account| &spec.accounts[account]);
        let pools = [Some(&trunk.pool), account.map(|account| &account.pool)].into_iter().flatten();
        let of_account = account.map(|account| account.limits.iter()).into_iter().flatten();
        let limits = trunk.limits_in.iter().chain(of_account);
        let further =
            limits.map(|limit: &Limit| limit.part(&admitted.caller, &admitted.callee, source.as_bytes()));
        let shard = self.desk.config.shard;
        Lease::take(shard, now.mono, admitted.class, pools.map(Part::Pool).chain(further))
    }

    /// Diverts a call of nobody; without a place for it there, nothing is answered at all.
    pub(super) fn divert_stranger(&mut self, now: Now, tx: ServerTx, flow: &Flow, message: &Message<'_>) {
        if !self.divert(now, tx, flow, message, None, None) {
            self.desk.stats.unknown_dropped.add(1);
            self.desk.stack.forget(tx);
        }
    }

    /// Answers a call that is to lead nowhere; false without a place for it there.
    pub(super) fn divert(
        &mut self,
        now: Now,
        tx: ServerTx,
        flow: &Flow,
        message: &Message<'_>,
        by: Option<String>,
        trunk: Option<String>,
    ) -> bool {
        let divert = self.desk.spec.unknown.divert.clone();
        self.tarpit.take(&mut self.desk, now, &divert, Diverted { tx, flow, message, by, trunk })
    }

    /// Asks the route's hook; the INVITE waits.
    fn ask_hook(
        &mut self,
        now: Now,
        tx: ServerTx,
        flow: &Flow,
        message: &Message<'_>,
        question: Box<HookQuestion>,
    ) {
        let until = now.mono + question.deadline + GRACE;
        let route = question.facts.iter().find(|(name, _)| name == "route").map(|(_, name)| name.clone());
        let route = route.unwrap_or_default();
        let asking = Asking { tx, flow: *flow, raw: message.raw().into(), route, until };
        self.asking_due = self.asking_due.min(until);
        match self.asking.insert(asking) {
            Ok(ticket) => self.desk.output.push_back(Output::Ask { ticket, question }),
            Err(asking) => {
                let answer = HookAnswer::Failed(HookFailed::Busy);
                self.on_invite(now, tx, flow, message, Some(&Hooked { route: asking.route, answer }));
            }
        }
    }

    /// The answer to `Output::Ask`.
    pub fn handle_hooked(&mut self, now: Now, ticket: Key, answer: &HookAnswer) {
        let Some(asking) = self.asking.remove(ticket) else { return };
        // It was checked when it came.
        let Ok(message) = Message::parse(&asking.raw, Framing::Stream) else { return };
        if !self.desk.stack.is_unanswered(asking.tx) {
            return;
        }
        let hooked = Hooked { route: asking.route, answer: answer.clone() };
        self.on_invite(now, asking.tx, &asking.flow, &message, Some(&hooked));
    }

    /// Hooks that the shell has lost.
    pub(super) fn expire_hooks(&mut self, now: Now) {
        if self.asking_due > now.mono {
            return;
        }
        let late: Vec<Key> =
            self.asking.iter().filter(|(_, asking)| asking.until <= now.mono).map(|(key, _)| key).collect();
        for ticket in late {
            self.handle_hooked(now, ticket, &HookAnswer::Failed(HookFailed::Late));
        }
        let next = self.asking.iter().map(|(_, asking)| asking.until).min();
        self.asking_due = next.unwrap_or(Instant(u64::MAX));
    }

    /// When the next hook is given up; perhaps it has answered by then.
    pub(super) fn hooks_due(&self) -> Option<(Instant, &'static str)> {
        (!self.asking.is_empty()).then_some((self.asking_due, "hook"))
    }

    /// CANCEL of a call that waits for its hook; false if there is none.
    pub(super) fn cancel_asking(&mut self, now: Now, invite: ServerTx) -> bool {
        let Some(ticket) = self.asking.iter().find(|(_, asking)| asking.tx == invite).map(|(key, _)| key)
        else {
            return false;
        };
        let Some(asking) = self.asking.remove(ticket) else { return false };
        let Ok(message) = Message::parse(&asking.raw, Framing::Stream) else { return false };
        let refused = Refused::new(Refusal::Cancelled, self.identify(&asking.flow, &message));
        self.refuse_call(now, invite, &asking.flow, &message, &refused);
        true
    }

    /// A call that does not come about still has its record.
    pub(super) fn refuse_call(
        &mut self,
        now: Now,
        tx: ServerTx,
        flow: &Flow,
        message: &Message<'_>,
        refused: &Refused,
    ) {
        let refusal = refused.refusal;
        let status = refusal.status(refused.texts);
        tracing::info!(
            call_id = %String::from_utf8_lossy(message.call_id()),
            source = %flow.remote,
            refusal = refusal.name(),
            status,
            by = refused.by.as_deref().unwrap_or_default(),
            detail = refused.detail.as_deref().unwrap_or_default(),
            tags = ?headers::tags(message),
            "refused"
        );
        let spec = Arc::clone(&self.desk.spec);
        let name = refused.trunk.map(|t| spec.trunks[t].name.as_str());
        self.desk.stats.calls.add(&[name.unwrap_or(""), "in", "refused"], 1);
        if matches!(refusal, Refusal::Policy | Refusal::Fraud | Refusal::LimitFull | Refusal::TooFast) {
            let event = Event::new(now.wall, "call.refused")
                .with("refusal", refusal.name())
                .with("trunk", name.unwrap_or(""))
                .with("by", refused.by.as_deref().unwrap_or(""))
                .with("rule", refused.detail.as_deref().unwrap_or(""))
                .with("call_id", String::from_utf8_lossy(message.call_id()));
            self.desk.config.shared.events.publish(event);
        }
        let id = self.desk.call_ids.mint();
        let cdr = crate::view::refused_record(id, now, flow, message, refused, &spec);
        self.desk.output.push_back(Output::Ended(Box::new(cdr)));
        self.desk.stats.refused.add(&[refusal.name()], 1);
        let tag = sip::stack::new_tag(&mut self.desk.rng);
        let bytes = refuse(refused, flow, message, &tag);
        self.desk.stack.respond(now.mono, tx, status, bytes);
    }

    /// An answer of ours outside of any call.
    pub(super) fn reply(
        &mut self,
        now: Now,
        tx: ServerTx,
        flow: &Flow,
        message: &Message<'_>,
        code: u16,
        refusal: Option<Refusal>,
    ) {
        let tag = sip::stack::new_tag(&mut self.desk.rng);
        if let Some(refusal) = refusal {
            self.desk.stats.refused.add(&[refusal.name()], 1);
            if code == refusal.status(Texts::Rfc) {
                let bytes = refuse(&Refused::new(refusal, None), flow, message, &tag);
                self.desk.stack.respond(now.mono, tx, code, bytes);
                return;
            }
        }
        let mut writer = Writer::reply_from(message, flow.remote, code, Some(&tag));
        if message.method() == Method::Options {
            writer.header("Allow", headers::ALLOW).header("Accept", headers::SDP);
            writer.header("Supported", "timer, 100rel");
        }
        self.desk.stack.respond(now.mono, tx, code, writer.finish());
    }
}

/// What the fraud profiles say of a try.
enum Watched {
    Goes(Option<Ticket>),
    /// By a policy, for a rule.
    Refused(String, String),
    /// By a policy.
    Diverted(String),
}

/// Where a request came from.
pub(super) fn origin(flow: &Flow) -> Origin {
    Origin { listener: usize::from(flow.listener), transport: flow.transport, source: flow.remote }
}

/// A refusal as a message.
pub(super) fn refuse(refused: &Refused, flow: &Flow, message: &Message<'_>, tag: &[u8]) -> Vec<u8> {
    let (refusal, texts) = (refused.refusal, refused.texts);
    let status = refusal.status(texts);
    let mut writer = Writer::reply_from(message, flow.remote, status, Some(tag));
    if let Some(seconds) = refusal.retry_after() {
        writer.header("Retry-After", seconds.to_string());
    }
    // What a policy or limit has against it; a hook's words are its phrase.
    if !matches!(refusal, Refusal::ByHook(_)) {
        let text = match (refusal, &refused.by, &refused.detail) {
            (Refusal::Policy | Refusal::Fraud, Some(by), Some(detail)) => {
                Some(format!("policy {by}: {detail}"))
            }
            (Refusal::Disabled, Some(by), Some(detail)) => Some(format!("{by}: {detail}")),
            (_, _, detail) => detail.clone(),
        };
        if let Some(text) = text {
            writer.header("Reason", reason(status, &text));
        }
    }
    match status {
        405 | 501 => drop(writer.header("Allow", headers::ALLOW)),
        415 | 406 | 488 => drop(writer.header("Accept", headers::SDP)),
        416 => drop(writer.header("Warning", "399 strowger \"sip, sips and tel URIs only\"")),
        420 => {
            let unsupported: Vec<&[u8]> = message.unsupported(&headers::SUPPORTED).collect();
            writer.header("Unsupported", unsupported.join(&b", "[..]));
        }
        _ => {}
    }
    let bytes = writer.finish();
    let phrase = match refusal {
        Refusal::ByHook(_) => refused.detail.as_deref(),
        refusal => refusal.phrase(texts),
    };
    match phrase {
        Some(phrase) => crate::call::with_phrase(&bytes, phrase),
        None => bytes,
    }
}
