//! The transaction layer: owns all client and server transactions of one signalling thread, matches messages to
//! them, repeats what is lost and answers what needs no user (RFC 3261 sections 8.2.2.2, 9, 17 and 18.2.2,
//! RFC 3581, RFC 6026). It knows no dialogs; messages go in borrowed, bytes come out by [`Stack::poll_output`].
mod answer; // requests of others: server transactions
mod ask; // our requests: client transactions
mod identity; // what names a transaction
#[cfg(test)]
mod storm; // any sequence of inputs
#[cfg(test)]
mod tests;

pub use answer::reply_target;

use crate::flow::{Flow, FlowId, Target};
use crate::message::Message;
use crate::transaction::Timers;
use base::hash::KeyedMap;
use base::{Duration, HashKey, Instant, Key, Rng, Slab, Wheel};
use identity::Id;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// All transactions of one signalling thread. `T` is what the user wants to get back with each answer: the key of
/// a call and its leg.
#[derive(Debug)]
pub struct Stack<T> {
    timers: Timers,
    key: HashKey,
    limits: Limits,
    servers: Slab<answer::Slot<T>>,
    clients: Slab<ask::Slot<T>>,
    server_ids: KeyedMap<Id, Key>,
    client_ids: KeyedMap<Id, Key>,
    /// The first of several copies of a request that come on different ways.
    merged_ids: KeyedMap<Id, Key>,
    /// How many client transactions use a connection: most that close have none.
    streams: BTreeMap<FlowId, u32>,
    wheel: Wheel<Owner>,
    /// Kept empty between calls, for its memory.
    due: Vec<(Instant, Owner)>,
    output: VecDeque<Transmit>,
    events: VecDeque<Event<T>>,
    counts: Counts,
}

/// Names a server transaction: a request that we answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerTx(pub Key);

/// Names a client transaction: a request that we sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientTx(pub Key);

/// How many transactions may live at once. One eighth of each is kept for requests within dialogs, so that a
/// flood of new calls cannot keep the old ones from ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests of others.
    pub servers_max: u32,
    /// Requests of ours.
    pub clients_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { servers_max: 262_144, clients_max: 262_144 }
    }
}

/// What a message that came in means to the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming<T> {
    /// A new request, neither ACK nor a CANCEL: to be answered by [`Stack::respond`].
    Request(ServerTx),
    /// An ACK for a 2xx: it belongs to a dialog, or to nobody.
    Ack,
    /// A CANCEL and the INVITE that it means. The user answers `cancel` with 200 and, where
    /// [`Stack::is_unanswered`], `invite` with 487.
    Cancel {
        /// The CANCEL itself.
        cancel: ServerTx,
        /// The INVITE, perhaps answered by now.
        invite: ServerTx,
    },
    /// A response that is news: any provisional, the final one, and every 2xx to an INVITE, repeated or from
    /// another fork.
    Response {
        /// Which request it answers; may have ended with this response.
        tx: ClientTx,
        /// What the user gave with the request.
        token: T,
    },
    /// A 2xx from another fork after a failure has already ended the INVITE: the sender believes in a call, which
    /// the user ends with ACK and BYE.
    Stray2xx {
        /// Which request it answers.
        tx: ClientTx,
        /// What the user gave with the request.
        token: T,
    },
    /// A response that matches nothing of ours; it is dropped.
    Stray,
    /// Dealt with: a repetition, an ACK for a failure, a response to our CANCEL, a request that the stack answered.
    Absorbed,
}

/// What happened without a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<T> {
    /// Nobody gave a final answer to our request in time (timers B and F, or 64 * T1 after CANCEL).
    TimedOut {
        /// The request; it has ended.
        tx: ClientTx,
        /// What the user gave with the request.
        token: T,
    },
    /// Our request did not arrive: the next target may be tried.
    TransportFailed {
        /// The request; it has ended.
        tx: ClientTx,
        /// What the user gave with the request.
        token: T,
    },
    /// The failure that we sent to an INVITE was never acknowledged (timer H).
    NoAck {
        /// The INVITE; it has ended.
        tx: ServerTx,
        /// What the user set.
        token: Option<T>,
    },
}

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub target: Target,
    /// The whole message.
    pub bytes: Arc<[u8]>,
    /// Whether the same bytes were sent before.
    pub repeated: bool,
    /// The request's transaction, to be named in [`Stack::handle_send_failed`] when it cannot be sent.
    pub client: Option<ClientTx>,
}

/// Why a request was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// As many transactions live as may.
    #[error("transactions are full")]
    Full,
    /// Our own bytes are no request with a top Via, a branch of its own, CSeq and Call-ID: a bug of the caller.
    #[error("not a sendable request")]
    Malformed,
    /// The target is a group, a broadcast address or none.
    #[error("target is not one host")]
    NotOneHost,
}

/// What the stack did on its own, since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that came again.
    pub requests_repeated: u64,
    /// Responses that came again or too late.
    pub responses_repeated: u64,
    /// Messages that we sent again.
    pub resent: u64,
    /// Responses that match nothing, or have not exactly one Via.
    pub stray: u64,
    /// Copies of a request that came on another way: 482.
    pub merged: u64,
    /// CANCELs without INVITE: 481.
    pub cancel_unmatched: u64,
    /// Requests refused because too many transactions live.
    pub full: u64,
    /// Messages not sent because the target is not one host.
    pub not_one_host: u64,
    /// Requests that the user left unanswered for 64 * T1.
    pub unanswered: u64,
}

/// Whose timer it is.
#[derive(Clone, Copy, Debug)]
enum Owner {
    Server(Key),
    Client(Key),
}

/// Timers are exact to this; a lap of the wheel covers 64 * T1.
const TICK: Duration = Duration::from_millis(10);

impl<T: Copy> Stack<T> {
    /// An empty one. `key` comes from the operating system's random numbers.
    pub fn new(now: Instant, timers: Timers, limits: Limits, key: HashKey) -> Self {
        Stack {
            timers,
            key,
            limits,
            servers: Slab::with_max(limits.servers_max),
            clients: Slab::with_max(limits.clients_max),
            server_ids: KeyedMap::with_hasher(key),
            client_ids: KeyedMap::with_hasher(key),
            merged_ids: KeyedMap::with_hasher(key),
            streams: BTreeMap::new(),
            wheel: Wheel::new(now, TICK),
            due: Vec::new(),
            output: VecDeque::new(),
            events: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// A message has come. It must have passed the checks of `Message::parse`.
    pub fn handle_message(&mut self, now: Instant, flow: &Flow, message: &Message<'_>) -> Incoming<T> {
        match message.is_request() {
            true => self.handle_request(now, flow, message),
            false => self.handle_response(now, message),
        }
    }

    /// Call at or after the time that [`Stack::poll_timeout`] gave; earlier calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        let mut due = core::mem::take(&mut self.due);
        self.wheel.expire(now, |at, owner| due.push((at, owner)));
        for (at, owner) in due.drain(..) {
            match owner {
                Owner::Server(key) => self.handle_server_timeout(now, at, key),
                Owner::Client(key) => self.handle_client_timeout(now, at, key),
            }
        }
        self.due = due;
    }

    /// When to wake, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.wheel.poll_timeout().map(|at| (at, "transaction"))
    }

    /// The next message to send, oldest first.
    pub fn poll_output(&mut self) -> Option<Transmit> {
        self.output.pop_front()
    }

    /// What happened without a message, oldest first.
    pub fn poll_event(&mut self) -> Option<Event<T>> {
        self.events.pop_front()
    }

    /// Sends without a transaction: an ACK for a 2xx, and what the user repeats itself.
    pub fn send(&mut self, target: Target, bytes: impl Into<Arc<[u8]>>) {
        self.push(Transmit { target, bytes: bytes.into(), repeated: false, client: None });
    }

    /// What the stack did on its own, since its start.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The timers that transactions run on, also for [`crate::transaction::Repeat`].
    pub fn timers(&self) -> &Timers {
        &self.timers
    }

    /// How many server transactions live.
    pub fn servers_len(&self) -> usize {
        self.servers.len()
    }

    /// How many client transactions live.
    pub fn clients_len(&self) -> usize {
        self.clients.len()
    }

    fn push(&mut self, transmit: Transmit) {
        if !transmit.target.is_unicast() {
            self.counts.not_one_host += 1;
            return;
        }
        self.counts.resent += u64::from(transmit.repeated);
        self.output.push_back(transmit);
    }
}

/// A branch that no other request of ours has: the cookie and 82 random bits.
pub fn new_branch(rng: &mut Rng) -> Vec<u8> {
    let mut branch = Vec::with_capacity(23);
    branch.extend_from_slice(crate::message::COOKIE);
    rng.token(16, &mut branch);
    branch
}

/// A tag for From or To: 82 random bits (RFC 3261 section 19.3 asks for 32).
pub fn new_tag(rng: &mut Rng) -> Vec<u8> {
    let mut tag = Vec::with_capacity(16);
    rng.token(16, &mut tag);
    tag
}
