//! Requests of ours: sent, repeated, cancelled; responses matched to them and failures acknowledged
//! (RFC 3261 sections 8.1.3, 9.1, 17.1 and 18.1.2).

use super::answer::{NEVER, reserved};
use super::identity::{self, Id};
use super::{ClientTx, Event, Incoming, NotSent, Owner, Stack, Transmit};
use crate::flow::{FlowId, Target, Transport};
use crate::frame::Framing;
use crate::message::write::Writer;
use crate::message::{Message, Method, Name};
use crate::transaction::{Client, Heard, InviteClient, Output, Timers};
use base::{Instant, Key};
use std::net::SocketAddr;
use std::sync::Arc;

/// One client transaction.
#[derive(Debug)]
pub(super) struct Slot<T> {
    machine: Machine,
    id: Id,
    /// What else a response must bring back.
    echo: u64,
    target: Target,
    /// What is repeated: the request, after a failure of an INVITE its ACK; nothing once it cannot be needed.
    bytes: Option<Arc<[u8]>>,
    role: Role<T>,
    cancel: Cancel,
    /// The one timer on the wheel that counts; others are stale.
    wake_at: Instant,
}

#[derive(Debug)]
enum Machine {
    Invite(InviteClient),
    Other(Client),
}

#[derive(Clone, Copy, Debug)]
enum Role<T> {
    /// A request of the user, with what it wants to get back.
    User(T),
    /// A CANCEL of ours: nobody wants to know.
    Cancel,
}

#[derive(Debug)]
enum Cancel {
    No,
    /// As soon as a provisional response has come, with this Reason.
    Wanted(Option<Box<[u8]>>),
    Sent,
}

impl Machine {
    fn new(now: Instant, is_invite: bool, transport: Transport, timers: &Timers) -> Self {
        match is_invite {
            true => Machine::Invite(InviteClient::new(now, transport.is_reliable(), timers)),
            false => Machine::Other(Client::new(now, transport.is_reliable(), timers)),
        }
    }

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

    fn handle_transport_error(&mut self) -> bool {
        match self {
            Machine::Invite(machine) => machine.handle_transport_error(),
            Machine::Other(machine) => machine.handle_transport_error(),
        }
    }
}

impl<T: Copy> Stack<T> {
    /// Sends a request in a transaction of its own. `bytes` is all of it, with our Via and a fresh
    /// [`super::new_branch`] on top. `token` comes back with every answer.
    ///
    /// # Errors
    /// [`NotSent`]; nothing was sent and nothing is kept.
    pub fn request(
        &mut self,
        now: Instant,
        target: Target,
        token: T,
        bytes: impl Into<Arc<[u8]>>,
    ) -> Result<ClientTx, NotSent> {
        let bytes = bytes.into();
        let Ok(message) = Message::parse(&bytes, Framing::Datagram) else { return Err(NotSent::Malformed) };
        let (method, is_initial) = (message.method(), message.to_tag().is_none());
        if !message.is_request() || matches!(method, Method::Ack | Method::Cancel) {
            return Err(NotSent::Malformed);
        }
        if !target.is_unicast() {
            self.counts.not_one_host += 1;
            return Err(NotSent::NotOneHost);
        }
        if is_initial && self.clients.len() >= reserved(self.limits.clients_max) {
            self.counts.full += 1;
            return Err(NotSent::Full);
        }
        self.open_client(now, target, Role::User(token), &message, Arc::clone(&bytes))
    }

    /// Ends an INVITE that has no final response. CANCEL goes out when a provisional response has come, and not at
    /// all if a final one comes first. The user goes on to get every response: mostly a 487, but a 2xx may have
    /// crossed. `reason` is the value of a Reason field (RFC 3326).
    pub fn cancel(&mut self, now: Instant, tx: ClientTx, reason: Option<&[u8]>) {
        let Some(slot) = self.clients.get_mut(tx.0) else { return };
        let (Machine::Invite(machine), Cancel::No) = (&slot.machine, &slot.cancel) else { return };
        if machine.is_calling() || machine.is_proceeding() {
            slot.cancel = Cancel::Wanted(reason.map(Box::from));
            self.send_cancel(now, tx.0);
        }
    }

    /// What the user gave with the request; `None` once it has ended.
    pub fn client_token(&self, tx: ClientTx) -> Option<T> {
        match self.clients.get(tx.0)?.role {
            Role::User(token) => Some(token),
            Role::Cancel => None,
        }
    }

    /// The network says that what we sent to `remote` did not arrive (ICMP). With the branch of the message that it
    /// quotes only that request fails, without it every one to there that has no response yet.
    pub fn handle_transport_error(
        &mut self,
        transport: Transport,
        remote: SocketAddr,
        branch: Option<&[u8]>,
    ) {
        let keys: Vec<Key> = match branch {
            Some(branch) => [false, true]
                .iter()
                .filter_map(|&is_cancel| {
                    self.client_ids.get(&identity::client(&self.key, branch, is_cancel)).copied()
                })
                .collect(),
            None => self.clients.iter().map(|(key, _)| key).collect(),
        };
        for key in keys {
            if self
                .clients
                .get(key)
                .is_some_and(|slot| slot.target.transport == transport && slot.target.remote == remote)
            {
                self.fail_client(key);
            }
        }
    }

    /// A connection has closed: requests whose target named it and that have no response yet have failed. Where the
    /// shell chose the connection, it tells by [`Stack::handle_transport_error`].
    pub fn handle_stream_failed(&mut self, stream: FlowId) {
        if !self.streams.contains_key(&stream) {
            return;
        }
        let keys: Vec<Key> = self
            .clients
            .iter()
            .filter(|(_, slot)| slot.target.stream == Some(stream))
            .map(|(key, _)| key)
            .collect();
        for key in keys {
            self.fail_client(key);
        }
    }

    /// A [`Transmit`] of this transaction could not be sent: no connection, no route, no room.
    pub fn handle_send_failed(&mut self, tx: ClientTx) {
        self.fail_client(tx.0);
    }

    pub(super) fn handle_response(&mut self, now: Instant, message: &Message<'_>) -> Incoming<T> {
        let Some(found) = self.find_client(message) else {
            self.counts.stray += 1;
            return Incoming::Stray;
        };
        let (key, code) = (found, message.status().unwrap_or_default());
        let Some(slot) = self.clients.get_mut(key) else { return Incoming::Stray };
        let (role, target) = (slot.role, slot.target);
        let heard = match &mut slot.machine {
            Machine::Invite(machine) => machine.handle_response(now, code, &self.timers),
            Machine::Other(machine) => machine.handle_response(now, code, &self.timers),
        };
        match heard {
            Heard::Show if code >= 200 => slot.bytes = None,
            Heard::Show => self.send_cancel(now, key),
            Heard::ShowAndAck => {
                let ack: Option<Arc<[u8]>> =
                    slot.bytes.as_deref().and_then(|invite| ack_for_failure(invite, message)).map(Arc::from);
                slot.bytes = ack.clone();
                if let Some(bytes) = ack {
                    self.push(Transmit { target, bytes, repeated: false, client: None });
                }
            }
            Heard::AckAgain => {
                self.counts.responses_repeated += 1;
                self.resend_request(key);
            }
            Heard::Absorb => self.counts.responses_repeated += 1,
            Heard::Unwanted => {}
        }
        self.tend_client(key);
        let tx = ClientTx(key);
        match (heard, role) {
            (Heard::Show | Heard::ShowAndAck, Role::User(token)) => Incoming::Response { tx, token },
            (Heard::Unwanted, Role::User(token)) => Incoming::Stray2xx { tx, token },
            (Heard::AckAgain | Heard::Absorb, _) | (_, Role::Cancel) => Incoming::Absorbed,
        }
    }

    /// The transaction of a response. More than one Via means that it was not for us (RFC 3261 section 8.1.3.3).
    fn find_client(&self, message: &Message<'_>) -> Option<Key> {
        let mut vias = message.vias();
        let (via, None) = (vias.next()?, vias.next()) else { return None };
        let method = message.cseq().method;
        let id = identity::client(&self.key, via.branch()?, method == Method::Cancel);
        let key = *self.client_ids.get(&id)?;
        let slot = self.clients.get(key)?;
        (slot.echo == identity::echo(&self.key, &via, method)).then_some(key)
    }

    fn open_client(
        &mut self,
        now: Instant,
        target: Target,
        role: Role<T>,
        message: &Message<'_>,
        bytes: Arc<[u8]>,
    ) -> Result<ClientTx, NotSent> {
        let (via, method) = (message.top_via(), message.method());
        let Some(branch) = via.transaction_branch() else { return Err(NotSent::Malformed) };
        let id = identity::client(&self.key, branch, method == Method::Cancel);
        if self.client_ids.contains_key(&id) {
            return Err(NotSent::Malformed);
        }
        let slot = Slot {
            machine: Machine::new(now, method == Method::Invite, target.transport, &self.timers),
            id,
            echo: identity::echo(&self.key, &via, method),
            target,
            bytes: Some(Arc::clone(&bytes)),
            role,
            cancel: Cancel::No,
            wake_at: NEVER,
        };
        let Ok(key) = self.clients.insert(slot) else {
            self.counts.full += 1;
            return Err(NotSent::Full);
        };
        self.client_ids.insert(id, key);
        if let Some(stream) = target.stream {
            *self.streams.entry(stream).or_default() += 1;
        }
        self.push(Transmit { target, bytes, repeated: false, client: Some(ClientTx(key)) });
        self.tend_client(key);
        Ok(ClientTx(key))
    }

    /// Sends the CANCEL that is wanted, if it may go by now.
    fn send_cancel(&mut self, now: Instant, key: Key) {
        let Some(slot) = self.clients.get_mut(key) else { return };
        let Machine::Invite(machine) = &mut slot.machine else { return };
        let Cancel::Wanted(reason) = &slot.cancel else { return };
        if !machine.is_proceeding() {
            return;
        }
        let cancel = slot.bytes.as_deref().and_then(|invite| cancel_for(invite, reason.as_deref()));
        let target = slot.target;
        slot.cancel = Cancel::Sent;
        machine.handle_cancel_sent(now, &self.timers);
        self.tend_client(key);
        let Some(bytes) = cancel.map(Arc::<[u8]>::from) else { return };
        let Ok(message) = Message::parse(&bytes, Framing::Datagram) else { return };
        if self.open_client(now, target, Role::Cancel, &message, Arc::clone(&bytes)).is_err() {
            // No place to repeat it from: one try is better than none.
            self.send(target, bytes);
        }
    }

    pub(super) fn handle_client_timeout(&mut self, now: Instant, at: Instant, key: Key) {
        let Some(slot) = self.clients.get_mut(key).filter(|slot| slot.wake_at == at) else { return };
        slot.wake_at = NEVER;
        let output = match &mut slot.machine {
            Machine::Invite(machine) => machine.handle_timeout(now, &self.timers),
            Machine::Other(machine) => machine.handle_timeout(now, &self.timers),
        };
        match (output, slot.role) {
            (Some(Output::Resend), _) => self.resend_request(key),
            (Some(Output::TimedOut), Role::User(token)) => {
                self.events.push_back(Event::TimedOut { tx: ClientTx(key), token });
            }
            (Some(Output::TimedOut), Role::Cancel) | (Some(Output::Ended) | None, _) => {}
        }
        self.tend_client(key);
    }

    fn fail_client(&mut self, key: Key) {
        let Some(slot) = self.clients.get_mut(key) else { return };
        if slot.machine.handle_transport_error() {
            if let Role::User(token) = slot.role {
                self.events.push_back(Event::TransportFailed { tx: ClientTx(key), token });
            }
            self.tend_client(key);
        }
    }

    fn resend_request(&mut self, key: Key) {
        let Some(slot) = self.clients.get(key) else { return };
        if let Some(bytes) = &slot.bytes {
            let (target, bytes) = (slot.target, Arc::clone(bytes));
            self.push(Transmit { target, bytes, repeated: true, client: Some(ClientTx(key)) });
        }
    }

    /// After every step: sets the timer, or forgets what has ended.
    fn tend_client(&mut self, key: Key) {
        let Some(slot) = self.clients.get_mut(key) else { return };
        if slot.machine.is_terminated() {
            let (id, stream) = (slot.id, slot.target.stream);
            self.clients.remove(key);
            self.client_ids.remove(&id);
            if let Some(stream) = stream
                && let Some(count) = self.streams.get_mut(&stream)
            {
                *count -= 1;
                if *count == 0 {
                    self.streams.remove(&stream);
                }
            }
            return;
        }
        if let Some((at, _)) = slot.machine.poll_timeout()
            && at < slot.wake_at
        {
            slot.wake_at = at;
            self.wheel.insert(at, Owner::Client(key));
        }
    }
}

/// The ACK for a failure: the request again, with the To of the response (RFC 3261 section 17.1.1.3).
fn ack_for_failure(invite: &[u8], response: &Message<'_>) -> Option<Vec<u8>> {
    let invite = Message::parse(invite, Framing::Datagram).ok()?;
    Some(same_hop(&invite, b"ACK", response)?.finish())
}

/// The CANCEL of an INVITE (RFC 3261 section 9.1).
fn cancel_for(invite: &[u8], reason: Option<&[u8]>) -> Option<Vec<u8>> {
    let invite = Message::parse(invite, Framing::Datagram).ok()?;
    let mut writer = same_hop(&invite, b"CANCEL", &invite)?;
    if let Some(reason) = reason {
        writer.header("Reason", reason);
    }
    Some(writer.finish())
}

/// A request that takes the same way as the INVITE and is matched to it by every hop; To is that of `to`.
fn same_hop(invite: &Message<'_>, method: &[u8], to: &Message<'_>) -> Option<Writer> {
    let mut writer = Writer::request(method, invite.request()?.uri);
    writer.header("Via", invite.top_via().raw);
    writer.copy(invite, Name::Route).header("Max-Forwards", "70");
    writer.copy(invite, Name::From).copy(to, Name::To).copy(invite, Name::CallId);
    writer.header("CSeq", [invite.cseq().number.to_string().as_bytes(), b" ", method].concat());
    Some(writer)
}
