//! Sources that are nobody: what they get, what is counted against them, and when they are no longer listened to. A
//! request of theirs makes no transaction and no memory but the guard's, which is bounded; identified trunks never
//! come here.

use super::Switch;
use super::arrive::refuse;
use crate::admit::{self, Decision};
use base::Now;
use core::net::IpAddr;
use ledger::{Ban, Banner, Event, Net};
use policy::guard::{BanWanted, Offence};
use sip::flow::Flow;
use sip::message::{Message, Method, Name};
use sip::stack::{Incoming, reply_target};

impl Switch {
    /// A request from nobody, outside of any dialog of a call.
    pub(super) fn on_stranger(&mut self, now: Now, flow: &Flow, message: &Message<'_>) {
        let source = flow.remote.ip();
        if self.desk.config.shared.bans.is_banned(now.wall, source) {
            return self.desk.stats.banned_dropped.add(1);
        }
        if let Some(key) = self.find_diverted(message) {
            return self.on_diverted(now, key, flow, message);
        }
        self.desk.stats.unknown_dropped.add(1);
        let (user_agent, from, to) = (message.header(Name::UserAgent), message.from().raw, message.to().raw);
        let guard = std::sync::Arc::clone(&self.desk.config.shared.guard);
        let offence = match guard.is_scanner(user_agent, from, to) {
            true => Offence::Scanner,
            false => Offence::UnknownRequest,
        };
        let decision = admit::unknown(&self.desk.spec, message);
        // Who is to be held in the tarpit is not sent away after three calls; scanners and floods are all the same. An
        // ACK is the end of a request that has been counted.
        let is_more = !matches!(decision, Decision::Divert) && message.method() != Method::Ack;
        let counts = offence == Offence::Scanner || is_more;
        if self.on_request(now, source) || (counts && self.offend(now, source, offence)) {
            return;
        }
        match decision {
            Decision::Refuse(refused) if message.method() != Method::Ack => {
                if matches!(refused.refusal, crate::refusal::Refusal::Attack) {
                    tracing::warn!(
                        call_id = %String::from_utf8_lossy(message.call_id()),
                        source = %flow.remote,
                        tags = ?crate::headers::tags(message),
                        "Attack from {}!!!", flow.remote
                    );
                }
                self.desk.stats.refused.add(&[refused.refusal.name()], 1);
                let reply = refuse(&refused, flow, message, b"refused");
                self.desk.stack.send(reply_target(flow, &message.top_via()), reply);
            }
            Decision::Divert => {
                if let Incoming::Request(tx) = self.desk.stack.handle_message(now.mono, flow, message) {
                    self.divert_stranger(now, tx, flow, message);
                }
            }
            Decision::Refuse(_) | Decision::Silence | Decision::Admit(_) | Decision::Ask(_) => {}
        }
    }

    /// A message of a stranger that is none.
    pub(super) fn on_malformed_stranger(&mut self, now: Now, source: IpAddr) {
        if self.desk.config.shared.bans.is_banned(now.wall, source) {
            return self.desk.stats.banned_dropped.add(1);
        }
        if !self.on_request(now, source) {
            self.offend(now, source, Offence::Malformed);
        }
    }

    /// Counts a request against `unknown.flood`; true if its source is banned now.
    fn on_request(&mut self, now: Now, source: IpAddr) -> bool {
        let guard = std::sync::Arc::clone(&self.desk.config.shared.guard);
        let wanted = guard.request(now, source, |ip| self.is_known(ip));
        wanted.is_some_and(|wanted| self.ban(now, &wanted))
    }

    /// Counts an offence; true if its source is banned now. Failed authentications come here too.
    pub(super) fn offend(&mut self, now: Now, source: IpAddr, offence: Offence) -> bool {
        let guard = std::sync::Arc::clone(&self.desk.config.shared.guard);
        let wanted = guard.offence(now, source, offence, |ip| self.is_known(ip));
        wanted.is_some_and(|wanted| self.ban(now, &wanted))
    }

    /// Whether this is a trunk's address that an operator has banned all the same. Of others the edge has let nothing in.
    pub(super) fn is_shut_out(&self, now: Now, flow: &Flow) -> bool {
        let source = flow.remote.ip();
        let shut_out =
            self.desk.config.shared.bans.is_banned_by_operator(now.wall, source) && self.is_known(source);
        if shut_out {
            self.desk.stats.banned_dropped.add(1);
        }
        shut_out
    }

    /// Whether an address is a trunk's on any listener: such a one is never banned by itself.
    fn is_known(&self, source: IpAddr) -> bool {
        self.identities.knows(source)
    }

    fn ban(&mut self, now: Now, wanted: &BanWanted) -> bool {
        let Some(net) = Net::new(wanted.network.address, wanted.network.bits) else { return false };
        let until = wanted.until.map(|until| now.wall + until.since(now.mono));
        let reason = wanted.reason.word().to_owned();
        let ban = Ban { net, until, since: now.wall, by: Banner::Auto, reason };
        self.add_ban(now, ban)
    }

    /// Bans, and tells the world.
    pub(super) fn add_ban(&mut self, now: Now, ban: Ban) -> bool {
        let event = Event::new(now.wall, "ban.added")
            .with("net", ban.net)
            .with("by", ban.by.name())
            .with("reason", &ban.reason)
            .with("until", ban.until.map(|until| until.to_string()).unwrap_or_default());
        tracing::warn!(net = %ban.net, reason = %ban.reason, by = ban.by.name(), "banned");
        let added = self.desk.config.shared.bans.add(ban).is_ok();
        if added {
            self.desk.config.shared.events.publish(event);
        }
        added
    }
}
