//! Requests of others: matched to their server transaction, merged copies refused, repetitions answered again
//! (RFC 3261 sections 8.2.2.2, 9.2, 17.2 and 18.2.2, RFC 3581).

use super::identity::{self, Id};
use super::{Event, Incoming, Owner, ServerTx, Stack, Transmit};
use crate::flow::{Flow, Target, Transport};
use crate::frame::Framing;
use crate::message::write::Writer;
use crate::message::{Message, Method, Via};
use crate::transaction::invite_server::Acked;
use crate::transaction::{InviteServer, Output, Repeated, Server};
use base::{Instant, Key};
use core::net::IpAddr;
use std::sync::Arc;

/// One server transaction.
#[derive(Debug)]
pub(super) struct Slot<T> {
    machine: Machine,
    id: Id,
    /// Under which it is found by merged copies of the request.
    merged_id: Option<Id>,
    /// Where responses go.
    target: Target,
    /// What a repetition is answered with.
    last: Option<Arc<[u8]>>,
    token: Option<T>,
    /// The To tag of the final response, where an ACK must be told apart by it (RFC 2543).
    tag: Option<u64>,
    is_rfc_2543: bool,
    /// The one timer on the wheel that counts; others are stale.
    wake_at: Instant,
}

#[derive(Debug)]
enum Machine {
    Invite(InviteServer),
    Other(Server),
}

impl Machine {
    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        match self {
            Machine::Invite(machine) => machine.poll_timeout(),
            Machine::Other(machine) => machine.poll_timeout(),
        }
    }

    fn is_terminated(&self) -> bool {
        match self {
            Machine::Invite(machine) => machine.is_terminated(),
            Machine::Other(machine) => machine.is_terminated(),
        }
    }
}

impl<T: Copy> Stack<T> {
    /// Sends a response and keeps it for repetition. `false`: nothing was sent, since the transaction has gone or
    /// has a final response already. A 2xx to an INVITE may be sent again and again: the user repeats it.
    pub fn respond(&mut self, now: Instant, tx: ServerTx, code: u16, bytes: impl Into<Arc<[u8]>>) -> bool {
        let Some(slot) = self.servers.get_mut(tx.0) else { return false };
        let (send, keep) = match &mut slot.machine {
            // The user repeats a 2xx, from bytes of its own.
            Machine::Invite(machine) => {
                (machine.respond(now, code, &self.timers), !(200..300).contains(&code))
            }
            Machine::Other(machine) => (machine.respond(now, code, &self.timers), true),
        };
        if !send {
            return false;
        }
        let bytes = bytes.into();
        slot.last = keep.then(|| Arc::clone(&bytes));
        if slot.is_rfc_2543 && code >= 200 {
            slot.tag = tag_of(&self.key, &bytes);
        }
        let target = slot.target;
        if matches!(code, 401 | 407) {
            // Some phones try again with the same CSeq: that is no merged copy.
            let merged_id = slot.merged_id.take();
            self.forget_merged(merged_id, tx.0);
        }
        self.push(Transmit { target, bytes, repeated: false, client: None });
        self.tend_server(tx.0);
        true
    }

    /// Sends 100 to a new INVITE, so that it is not repeated: due within 200 ms unless another answer goes out
    /// (RFC 3261 section 17.2.1).
    pub fn trying(&mut self, now: Instant, tx: ServerTx, flow: &Flow, invite: &Message<'_>) {
        if self.servers.get(tx.0).is_some_and(|slot| slot.last.is_none()) {
            self.respond(now, tx, 100, Writer::reply_from(invite, flow.remote, 100, None).finish());
        }
    }

    /// Drops a request without an answer: strangers learn nothing. Repetitions of it are new requests.
    pub fn forget(&mut self, tx: ServerTx) {
        self.close_server(tx.0);
    }

    /// Keeps what the user wants to find again by the transaction.
    pub fn set_token(&mut self, tx: ServerTx, token: T) {
        if let Some(slot) = self.servers.get_mut(tx.0) {
            slot.token = Some(token);
        }
    }

    /// What the user set; `None` too once the transaction has gone.
    pub fn token(&self, tx: ServerTx) -> Option<T> {
        self.servers.get(tx.0)?.token
    }

    /// Whether an INVITE still waits for its final response.
    pub fn is_unanswered(&self, tx: ServerTx) -> bool {
        match self.servers.get(tx.0).map(|slot| &slot.machine) {
            Some(Machine::Invite(machine)) => machine.is_proceeding(),
            Some(Machine::Other(_)) | None => false,
        }
    }

    /// Where responses of this transaction go.
    pub fn reply_target(&self, tx: ServerTx) -> Option<Target> {
        Some(self.servers.get(tx.0)?.target)
    }

    pub(super) fn handle_request(&mut self, now: Instant, flow: &Flow, message: &Message<'_>) -> Incoming<T> {
        let method = message.method();
        let via = message.top_via();
        if method == Method::Ack {
            return self.handle_ack(now, message, &via);
        }
        let id = identity::server(&self.key, message, &via, method);
        if let Some(&key) = self.server_ids.get(&id) {
            return self.handle_repeated(key);
        }
        if method == Method::Cancel {
            let invite_id = identity::server(&self.key, message, &via, Method::Invite);
            let Some(&invite) = self.server_ids.get(&invite_id) else {
                self.counts.cancel_unmatched += 1;
                return self.refuse(flow, message, 481);
            };
            // Without a place it is not answered: it will be repeated.
            return match self.open_server(now, flow, message, &via, id, None) {
                Some(cancel) => Incoming::Cancel { cancel, invite: ServerTx(invite) },
                None => Incoming::Absorbed,
            };
        }
        let is_initial = message.to_tag().is_none();
        let merged_id = is_initial.then(|| identity::merged(&self.key, message));
        if let Some(merged_id) = merged_id
            && self.merged_ids.contains_key(&merged_id)
        {
            self.counts.merged += 1;
            return self.refuse(flow, message, 482);
        }
        if is_initial && self.servers.len() >= reserved(self.limits.servers_max) {
            self.counts.full += 1;
            return self.refuse(flow, message, 503);
        }
        match self.open_server(now, flow, message, &via, id, merged_id) {
            Some(tx) => Incoming::Request(tx),
            None => Incoming::Absorbed,
        }
    }

    fn handle_ack(&mut self, now: Instant, message: &Message<'_>, via: &Via<'_>) -> Incoming<T> {
        let id = identity::server(&self.key, message, via, Method::Invite);
        let Some(&key) = self.server_ids.get(&id) else { return Incoming::Ack };
        let Some(slot) = self.servers.get_mut(key) else { return Incoming::Ack };
        let Machine::Invite(machine) = &mut slot.machine else { return Incoming::Absorbed };
        if slot.tag.is_some() && slot.tag != message.to_tag().map(|tag| identity::tag(&self.key, tag)) {
            return Incoming::Ack;
        }
        let acked = machine.handle_ack(now, &self.timers);
        self.tend_server(key);
        match acked {
            Acked::Absorb => Incoming::Absorbed,
            Acked::Show => Incoming::Ack,
        }
    }

    fn handle_repeated(&mut self, key: Key) -> Incoming<T> {
        self.counts.requests_repeated += 1;
        if let Some(slot) = self.servers.get(key) {
            let repeated = match &slot.machine {
                Machine::Invite(machine) => machine.handle_repeated(),
                Machine::Other(machine) => machine.handle_repeated(),
            };
            match repeated {
                Repeated::Resend => self.resend_response(key),
                Repeated::Absorb => {}
            }
        }
        Incoming::Absorbed
    }

    fn open_server(
        &mut self,
        now: Instant,
        flow: &Flow,
        message: &Message<'_>,
        via: &Via<'_>,
        id: Id,
        merged_id: Option<Id>,
    ) -> Option<ServerTx> {
        let reliable = flow.transport.is_reliable();
        let machine = match message.method() {
            Method::Invite => Machine::Invite(InviteServer::new(reliable)),
            _ => Machine::Other(Server::new(now, reliable, &self.timers)),
        };
        let slot = Slot {
            machine,
            id,
            merged_id,
            target: reply_target(flow, via),
            last: None,
            token: None,
            tag: None,
            is_rfc_2543: via.transaction_branch().is_none(),
            wake_at: NEVER,
        };
        let Ok(key) = self.servers.insert(slot) else {
            self.counts.full += 1;
            return None;
        };
        self.server_ids.insert(id, key);
        if let Some(merged_id) = merged_id {
            self.merged_ids.insert(merged_id, key);
        }
        self.tend_server(key);
        Some(ServerTx(key))
    }

    /// Answers without a transaction: the same request gets the same answer each time it comes
    /// (RFC 3261 section 8.2.7).
    fn refuse(&mut self, flow: &Flow, message: &Message<'_>, code: u16) -> Incoming<T> {
        let tag = format!("{:016x}", identity::own_tag(&self.key, message.top_via().raw));
        let mut reply = Writer::reply_from(message, flow.remote, code, Some(tag.as_bytes()));
        if code == 503 {
            reply.header("Retry-After", "5");
        }
        self.send(reply_target(flow, &message.top_via()), reply.finish());
        Incoming::Absorbed
    }

    pub(super) fn handle_server_timeout(&mut self, now: Instant, at: Instant, key: Key) {
        let Some(slot) = self.servers.get_mut(key).filter(|slot| slot.wake_at == at) else { return };
        slot.wake_at = NEVER;
        let output = match &mut slot.machine {
            Machine::Invite(machine) => machine.handle_timeout(now, &self.timers),
            Machine::Other(machine) => machine.handle_timeout(now),
        };
        match (output, &slot.machine) {
            (Some(Output::Resend), _) => self.resend_response(key),
            (Some(Output::TimedOut), Machine::Invite(_)) => {
                self.events.push_back(Event::NoAck { tx: ServerTx(key), token: slot.token });
            }
            (Some(Output::TimedOut), Machine::Other(_)) => self.counts.unanswered += 1,
            (Some(Output::Ended) | None, _) => {}
        }
        self.tend_server(key);
    }

    fn resend_response(&mut self, key: Key) {
        let Some(slot) = self.servers.get(key) else { return };
        if let Some(last) = &slot.last {
            let (target, bytes) = (slot.target, Arc::clone(last));
            self.push(Transmit { target, bytes, repeated: true, client: None });
        }
    }

    /// After every step: sets the timer, or forgets what has ended.
    fn tend_server(&mut self, key: Key) {
        let Some(slot) = self.servers.get_mut(key) else { return };
        if slot.machine.is_terminated() {
            self.close_server(key);
            return;
        }
        if let Some((at, _)) = slot.machine.poll_timeout()
            && at < slot.wake_at
        {
            slot.wake_at = at;
            self.wheel.insert(at, Owner::Server(key));
        }
    }

    fn close_server(&mut self, key: Key) {
        if let Some(slot) = self.servers.remove(key) {
            self.server_ids.remove(&slot.id);
            self.forget_merged(slot.merged_id, key);
        }
    }

    fn forget_merged(&mut self, merged_id: Option<Id>, key: Key) {
        if let Some(id) = merged_id
            && self.merged_ids.get(&id) == Some(&key)
        {
            self.merged_ids.remove(&id);
        }
    }
}

/// Where the response to a request goes: back on the connection, or to the address that it came from. The port is
/// the one it came from if `rport` asks for it (RFC 3581) or if sent-by is not the address that we saw: then there
/// is a NAT, or a name that we need not resolve. Only a peer that names its own address is believed its port
/// (RFC 3261 section 18.2.2). `maddr` is ignored: it could name somebody else.
pub fn reply_target(flow: &Flow, via: &Via<'_>) -> Target {
    let mut target = flow.back();
    if flow.transport == Transport::Udp
        && via.rport().is_none()
        && host_ip(via.host) == Some(flow.remote.ip().to_canonical())
    {
        target.remote.set_port(via.port.unwrap_or(flow.transport.default_port()));
    }
    target
}

/// The host as an address, if it is one.
fn host_ip(host: &[u8]) -> Option<IpAddr> {
    core::str::from_utf8(host).ok()?.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

fn tag_of(key: &base::HashKey, response: &[u8]) -> Option<u64> {
    let response = Message::parse(response, Framing::Datagram).ok()?;
    Some(identity::tag(key, response.to_tag()?))
}

/// What of `max` new calls may take.
pub(super) fn reserved(max: u32) -> usize {
    (max - max / 8) as usize
}

/// Later than any timer.
pub(super) const NEVER: Instant = Instant(u64::MAX);
