//! Diverted calls: answered, held and ended after a while. They lead to nobody and open no port: nothing is played. Their
//! number has a cap of its own, and what does not fit gets no answer at all.

use crate::desk::{Desk, Token, What};
use crate::headers;
use crate::leg::{Record, Unacked};
use crate::spec::Divert;
use base::{Instant, Key, Now, Slab};
use core::net::SocketAddr;
use ledger::{Cdr, Class, Direction, Lease, Part, ReleasedBy};
use sdp::{Kind, Sdp};
use sip::dialog::Dialog;
use sip::flow::{Flow, Target};
use sip::message::write::Writer;
use sip::message::{Message, Method};
use sip::stack::ServerTx;
use sip::transaction::{Output, Repeat};
use std::sync::Arc;

/// The diverted calls of one shard.
pub(crate) struct Tarpit {
    held: Slab<Held>,
}

/// The leg number in tags of diverted calls; attempts never come so far.
pub(crate) const LEG: u16 = 0xff;

/// One of them.
struct Held {
    lease: Lease,
    id: ledger::CallId,
    dialog: Dialog,
    record: Record,
    /// Why it is here: the policy, or nothing for a stranger.
    by: Option<String>,
    trunk: Option<String>,
    target: Target,
    public: SocketAddr,
    sdp: Option<Vec<u8>>,
    unacked: Option<Unacked>,
    until: Instant,
}

/// A call that is to be held.
pub(crate) struct Diverted<'m> {
    pub tx: ServerTx,
    pub flow: &'m Flow,
    pub message: &'m Message<'m>,
    /// The policy that wants it, and the trunk it came from; nothing for strangers.
    pub by: Option<String>,
    pub trunk: Option<String>,
}

/// Whatever the cap says.
const HELD_MAX: u32 = 1 << 17;

impl Tarpit {
    /// An empty one.
    pub fn new() -> Tarpit {
        Tarpit { held: Slab::with_max(HELD_MAX) }
    }

    /// Answers a call and holds it; false if there is no place, or the message makes no dialog.
    pub fn take(&mut self, desk: &mut Desk, now: Now, divert: &Divert, call: Diverted<'_>) -> bool {
        let Diverted { tx, flow, message, by, trunk } = call;
        let Ok(lease) = Lease::take(desk.config.shard, now.mono, Class::Normal, [Part::Pool(&divert.pool)])
        else {
            return false;
        };
        let Some(key) = self.held.next_key() else { return false };
        let tag = desk.new_tag(key, LEG);
        let Ok(dialog) = Dialog::uas(message, &tag) else { return false };
        let Some((_, public)) = desk.local(usize::from(flow.listener), flow.transport, flow.local.ip())
        else {
            return false;
        };
        let mut record = Record::new(now, Direction::In, message);
        record.answered = Some(now);
        record.final_answer = Some((200, "OK".to_owned()));
        let mut held = Held {
            lease,
            id: desk.call_ids.mint(),
            dialog,
            record,
            by,
            trunk,
            target: flow.back(),
            public,
            sdp: answer(message.body(), public),
            unacked: None,
            until: now.mono + divert.duration,
        };
        tracing::info!(
            call = %held.id,
            call_id = %held.record.sip_call_id(),
            source = %flow.remote,
            from = %held.record.caller(),
            to = %held.record.callee(),
            policy = held.by.as_deref().unwrap_or_default(),
            "diverted"
        );
        let bytes = held.write_answer(flow, message, &tag);
        let bytes = desk.respond(now, tx, 200, bytes);
        held.unacked = Some(unacked(desk, now, flow, message, bytes));
        desk.stats.diverted.add(1);
        self.held.insert(held).is_ok()
    }

    /// A request within a diverted call.
    pub fn handle_request(
        &mut self,
        desk: &mut Desk,
        now: Now,
        tx: ServerTx,
        key: Key,
        flow: &Flow,
        message: &Message<'_>,
    ) {
        let Some(held) = self.held.get_mut(key).filter(|held| held.dialog.matches(message)) else {
            let reply = Writer::reply_from(message, flow.remote, 481, None).finish();
            desk.respond(now, tx, 481, reply);
            return;
        };
        match message.method() {
            Method::Bye => {
                let reply = Writer::reply_from(message, flow.remote, 200, None).finish();
                desk.respond(now, tx, 200, reply);
                self.end(desk, now, key, ReleasedBy::Caller);
            }
            Method::Invite => {
                let bytes = held.answer_again(flow, message);
                let bytes = desk.respond(now, tx, 200, bytes);
                held.unacked = Some(unacked(desk, now, flow, message, bytes));
            }
            Method::Update if !message.body().is_empty() => {
                let bytes = held.answer_again(flow, message);
                desk.respond(now, tx, 200, bytes);
            }
            Method::Options | Method::Info | Method::Update => {
                let reply = Writer::reply_from(message, flow.remote, 200, None).finish();
                desk.respond(now, tx, 200, reply);
            }
            _ => {
                let mut reply = Writer::reply_from(message, flow.remote, 405, None);
                reply.header("Allow", headers::ALLOW);
                desk.respond(now, tx, 405, reply.finish());
            }
        }
    }

    /// An ACK within a diverted call.
    pub fn handle_ack(&mut self, key: Key, message: &Message<'_>) {
        let Some(held) = self.held.get_mut(key) else { return };
        held.unacked.take_if(|unacked| unacked.cseq == message.cseq().number);
    }

    /// Whether this call is held.
    pub fn holds(&self, key: Key) -> bool {
        self.held.get(key).is_some()
    }

    /// Whether this call was held.
    pub fn has_held(&self, key: Key) -> bool {
        self.held.has_had(key)
    }

    /// The places that are held: for the auditor.
    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.held.iter().map(|(_, held)| &held.lease)
    }

    /// When to wake, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let due = |held: &Held| {
            held.unacked
                .as_ref()
                .map_or(held.until, |unacked| unacked.repeat.poll_timeout().0.min(held.until))
        };
        // There are never more than its cap.
        self.held.iter().map(|(_, held)| (due(held), "diverted")).min()
    }

    /// Call at or after the time that `poll_timeout` gave.
    pub fn handle_timeout(&mut self, desk: &mut Desk, now: Now) {
        let mut over = Vec::new();
        for (key, held) in self.held.iter_mut() {
            if held.until <= now.mono {
                over.push(key);
                continue;
            }
            let Some(unacked) = &mut held.unacked else { continue };
            match unacked.repeat.handle_timeout(now.mono) {
                Some(Output::Resend) => desk.stack.send(unacked.target, Arc::clone(&unacked.bytes)),
                // It never says ACK: a forged source, or a scanner that has moved on.
                Some(Output::TimedOut) => over.push(key),
                Some(Output::Ended) | None => {}
            }
        }
        for key in over {
            self.end(desk, now, key, ReleasedBy::Engine);
        }
    }

    /// Ends one: its place is free, its record is written, and the far end is told if it does not know.
    fn end(&mut self, desk: &mut Desk, now: Now, key: Key, by: ReleasedBy) {
        let Some(mut held) = self.held.remove(key) else { return };
        if by == ReleasedBy::Engine && held.unacked.is_none() {
            let via = desk.via(held.target.transport, held.public);
            let bye = held.dialog.next_request(Method::Bye, &via).finish();
            desk.request(now, held.target, Token { call: key, leg: LEG, what: What::Tarpit }, bye);
        }
        let cdr = Cdr {
            trunk: held.trunk,
            policy: held.by,
            local: held.target.local,
            remote: Some(held.target.remote),
            ended: now.wall,
            duration: held.record.answered.map(|at| now.mono.since(at.mono)).unwrap_or_default(),
            released_by: by,
            release_cause: "diverted".to_owned(),
            billable: false,
            ..held.record.begin(held.id, 0)
        };
        desk.output.push_back(crate::desk::Output::Ended(Box::new(cdr)));
    }
}

impl Held {
    /// To an offer within the call.
    fn answer_again(&mut self, flow: &Flow, message: &Message<'_>) -> Vec<u8> {
        self.sdp = answer(message.body(), self.public);
        let tag = self.dialog.local_tag().to_vec();
        self.write_answer(flow, message, &tag)
    }

    fn write_answer(&self, flow: &Flow, message: &Message<'_>, tag: &[u8]) -> Vec<u8> {
        let mut writer = Writer::reply_from(message, flow.remote, 200, Some(tag));
        writer.header("Contact", format!("<sip:{}>", self.public)).header("Allow", headers::ALLOW);
        if let Some(sdp) = &self.sdp {
            writer.body(headers::SDP, sdp);
        }
        writer.finish()
    }
}

/// A 200 that is repeated until its ACK.
fn unacked(desk: &Desk, now: Now, flow: &Flow, invite: &Message<'_>, bytes: Arc<[u8]>) -> Unacked {
    Unacked {
        cseq: invite.cseq().number,
        bytes,
        target: sip::stack::reply_target(flow, &invite.top_via()),
        repeat: Repeat::until_ack(now.mono, &desk.config.timers),
    }
}

/// An answer that looks like one and names the discard port: the first audio line is taken, others are not.
fn answer(offer: &[u8], public: SocketAddr) -> Option<Vec<u8>> {
    const DISCARD: u16 = 9;
    let family = if public.is_ipv4() { "IP4" } else { "IP6" };
    let ip = public.ip();
    let mut sdp = format!("v=0\r\no=- 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n");
    if offer.is_empty() {
        sdp.push_str(&format!("m=audio {DISCARD} RTP/AVP 0\r\n"));
        return Some(sdp.into_bytes());
    }
    let offer = Sdp::parse(offer).ok()?;
    let mut taken = false;
    for media in offer.media() {
        let proto = String::from_utf8_lossy(media.proto_text());
        let formats: Vec<String> = media.formats().map(|f| String::from_utf8_lossy(f).into_owned()).collect();
        let wanted = formats.iter().find(|f| *f == "0" || *f == "8").or(formats.first())?;
        let kind = media.kind().name();
        let port = if media.kind() == Kind::Audio && !taken { DISCARD } else { 0 };
        taken |= port != 0;
        sdp.push_str(&format!("m={kind} {port} {proto} {wanted}\r\n"));
    }
    Some(sdp.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::answer;

    #[test]
    fn one_audio_line_is_taken_and_leads_nowhere() {
        let offer = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
            m=audio 4000 RTP/AVP 18 8 101\r\nm=video 4002 RTP/AVP 96\r\n";
        let answer = answer(offer, "198.51.100.1:5060".parse().unwrap()).unwrap();
        let text = String::from_utf8(answer).unwrap();
        assert!(text.contains("m=audio 9 RTP/AVP 8\r\n"), "{text}");
        assert!(text.contains("m=video 0 RTP/AVP 96\r\n"), "{text}");
    }
}
