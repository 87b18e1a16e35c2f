//! All calls of one signalling thread: takes what comes (messages, media events, answers of DNS, questions of control,
//! time), finds the call that it is for, and collects what is to be done. The first steps of a call's way are here and in
//! `arrive`.
mod arrive; // requests outside of dialogs, up to a call
mod stranger; // sources that are nobody
mod health; // probes of trunks
mod live; // what is watched while calls are up
mod told; // decisions without a call
mod rooms; // what is asked of the media of calls and rooms

pub use told::explain_offline;

use crate::admit::World;
use crate::call::{Call, Release};
use crate::desk::{Config, Desk, Hop, Of, Output, Query, Token, What};
use crate::orders::Late;
use crate::spec::{Spec, Transport};
use crate::tarpit::{self, Tarpit};
use crate::trunk::Identities;
use arrive::{ASKING_MAX, Asking};
use base::hash::KeyedMap;
use base::{Instant, Key, Now, Rng, Slab, Wheel};
use command::{BridgeId, Event};
use core::net::{IpAddr, SocketAddr};
use health::Probes;
pub(crate) use health::tell as tell_health;
use ledger::{Ask, AskFailed, Auditor, CallFilter, CallId, CallSummary, SignallingStats};
use sip::flow::{Flow, FlowId};
use sip::message::write::Writer;
use sip::message::{Malformed, Message, Method};
use sip::stack::{Incoming, reply_target};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The calls of one shard.
pub struct Switch {
    desk: Desk,
    calls: Slab<Call>,
    by_id: BTreeMap<CallId, Key>,
    by_bridge: KeyedMap<BridgeId, Key>,
    identities: Identities,
    resolved: BTreeMap<String, Vec<IpAddr>>,
    wheel: Wheel<Key>,
    /// INVITEs whose hook is being asked.
    asking: Slab<Asking>,
    /// The first of them to be given up, or earlier.
    asking_due: Instant,
    tarpit: Tarpit,
    probes: Probes,
    auditor: Auditor,
    watch: live::Watch,
    /// What goes on in rooms of this shard.
    room_orders: rooms::RoomOrders,
    draining: bool,
    overloaded: bool,
}

/// Calls wake exactly to this.
const TICK: base::Duration = base::Duration::from_millis(10);

impl Switch {
    /// An empty one.
    pub fn new(now: Now, config: Config, spec: Arc<Spec>, rng: Rng, stats: Arc<SignallingStats>) -> Self {
        let steering = config.steering;
        let (calls_max, shard) = (config.calls_max, config.shard);
        config.shared.guard.set(spec.unknown.guard.clone());
        // What an earlier generation of this shard has left behind.
        config.shared.rooms.forget_shard(config.node, usize::from(shard));
        config.shared.recordings.interrupt_shard(config.node, usize::from(shard));
        Switch {
            identities: Identities::new(&spec, &BTreeMap::new()),
            desk: Desk::new(now, config, spec, rng, stats),
            calls: Slab::with_max(calls_max),
            by_id: BTreeMap::new(),
            by_bridge: KeyedMap::with_hasher(steering),
            resolved: BTreeMap::new(),
            wheel: Wheel::new(now.mono, TICK),
            asking: Slab::with_max(ASKING_MAX),
            asking_due: Instant(u64::MAX),
            tarpit: Tarpit::new(),
            probes: Probes::new(),
            auditor: Auditor::new(shard),
            watch: live::Watch::default(),
            room_orders: rooms::RoomOrders::new(),
            draining: false,
            overloaded: false,
        }
    }

    /// A new configuration is in force. Calls keep the one that they started with.
    pub fn apply(&mut self, spec: Arc<Spec>) {
        self.identities = Identities::new(&spec, &self.resolved);
        self.desk.config.shared.guard.set(spec.unknown.guard.clone());
        self.desk.spec = spec;
    }

    /// The configuration in force.
    pub fn spec(&self) -> Arc<Spec> {
        Arc::clone(&self.desk.spec)
    }

    /// What the listeners are really bound to, by listener.
    pub fn set_bound(&mut self, bound: Vec<Vec<(Transport, SocketAddr)>>) {
        self.desk.bound = bound;
    }

    /// Addresses of a host name that identifies a trunk.
    pub fn set_resolved(&mut self, host: String, addresses: Vec<IpAddr>) {
        self.resolved.insert(host, addresses);
        self.identities = Identities::new(&self.desk.spec, &self.resolved);
    }

    /// Whether new calls are shed because this shard is behind.
    pub fn set_overloaded(&mut self, overloaded: bool) {
        self.overloaded = overloaded;
    }

    /// A checked message has come.
    pub fn handle_message(&mut self, now: Now, flow: &Flow, message: &Message<'_>) {
        if self.is_shut_out(now, flow) {
            return;
        }
        let in_call = message.to_tag().and_then(|tag| self.find_tag(tag));
        let is_stranger = || self.identify(flow, message).is_none() && !self.is_of_past(message);
        if message.is_request() && in_call.is_none() && is_stranger() {
            return self.on_stranger(now, flow, message);
        }
        if let Some(key) = self.find_diverted(message) {
            return self.on_diverted(now, key, flow, message);
        }
        match self.desk.stack.handle_message(now.mono, flow, message) {
            Incoming::Request(tx) => match in_call {
                Some((key, leg)) => self.with_call(key, |call, desk| {
                    desk.stack.set_token(tx, Token { call: key, leg, what: What::Offer });
                    call.handle_request(desk, now, tx, leg, flow, message);
                }),
                None if message.to_tag().is_some() => self.on_gone(now, tx, flow, message),
                None => self.on_new(now, tx, flow, message),
            },
            Incoming::Ack => {
                if let Some((key, leg)) = in_call {
                    self.with_call(key, |call, desk| call.handle_ack(desk, now, leg, message));
                }
            }
            Incoming::Cancel { cancel, invite } => match self.desk.stack.token(invite) {
                Some(token) if self.calls.get(token.call).is_some() => {
                    self.with_call(token.call, |call, desk| {
                        call.handle_cancel(desk, now, cancel, invite, flow, message);
                    });
                }
                // The INVITE has been refused by now and its answer is on the way, or it waits for its hook.
                Some(_) | None => {
                    self.reply(now, cancel, flow, message, 200, None);
                    self.cancel_asking(now, invite);
                }
            },
            Incoming::Response { token, .. } if token.what == What::Tarpit => {}
            Incoming::Response { token, .. } if token.what == What::Probe => {
                if message.status().is_some_and(|code| code >= 200) {
                    self.on_probe_answer(now, token.call, true);
                }
            }
            Incoming::Response { token, .. } if self.calls.get(token.call).is_none() => {
                // The call has gone; an answer that comes now makes one at the far end, which must not go on.
                if token.what == What::Invite && matches!(message.status(), Some(200..300)) {
                    self.desk.end_unwanted(now, flow, message, token);
                }
            }
            Incoming::Response { token, .. } => {
                self.with_call(token.call, |call, desk| {
                    call.handle_response(desk, now, token, flow, message);
                });
            }
            Incoming::Stray2xx { token, .. } => self.desk.end_unwanted(now, flow, message, token),
            Incoming::Stray | Incoming::Absorbed => {}
        }
        self.drain_events(now);
    }

    /// A message that is none. Known sources are told why, if it can be answered at all.
    pub fn handle_malformed(&mut self, now: Now, flow: &Flow, malformed: &Malformed<'_>) {
        if self.is_shut_out(now, flow) {
            return;
        }
        self.desk.stats.parse_errors.add(&[malformed.class.name()], 1);
        if !self.identities.knows(flow.remote.ip()) {
            return self.on_malformed_stranger(now, flow.remote.ip());
        }
        let (Some(status), Some(message)) = (malformed.status(), malformed.reply_to()) else { return };
        let port = message.top_via().port;
        let known = self.identities.find(usize::from(flow.listener), flow.transport, flow.remote, port);
        if known.is_none() || !message.is_request() || message.method() == Method::Ack {
            return;
        }
        // Whatever else is missing, the branch in its Via tells the sender what this answers (RFC 4475 section 3.3.1).
        let mut reply = Writer::reply_from(message, flow.remote, status, Some(b"malformed"));
        reply.header("Warning", format!("399 strowger \"{}\"", malformed.class));
        self.desk.stack.send(reply_target(flow, &message.top_via()), reply.finish());
    }

    /// Something of a media shard.
    pub fn handle_media(&mut self, now: Now, event: Event) {
        let bridge = match &event {
            Event::Started { shard, .. } => return self.on_media_restarted(now, usize::from(*shard)),
            Event::Opened { bridge, .. }
            | Event::Refused { bridge, .. }
            | Event::Unsupported { bridge, .. }
            | Event::Learned { bridge, .. }
            | Event::Foreign { bridge, .. }
            | Event::OneSideSilent { bridge, .. }
            | Event::Silent { bridge, .. }
            | Event::Digit { bridge, .. }
            | Event::Signal { bridge, .. }
            | Event::Talking { bridge, .. }
            | Event::Ended { bridge, .. }
            | Event::Report { bridge, .. }
            | Event::Closed { bridge, .. } => *bridge,
        };
        if let Event::Ended { ticket, ended, .. } = &event
            && Late::end(&mut self.desk, now, *ticket, *ended)
        {
            return;
        }
        match self.by_bridge.get(&bridge).copied() {
            Some(key) => self.with_call(key, |call, desk| call.handle_media(desk, now, event)),
            None => self.handle_room_media(now, bridge, &event),
        }
    }

    /// The answer to `Output::Resolve`; empty if the name has no address.
    pub fn handle_resolved(&mut self, now: Now, query: Query, hops: Vec<Hop>) {
        match query.of {
            Of::Call(key) => {
                self.with_call(key, |call, desk| call.handle_resolved(desk, now, query.target, hops));
            }
            Of::Probe(round) => self.on_probe_resolved(now, round, &hops),
        }
    }

    /// ICMP says that a datagram did not arrive; `branch` is that of the message, if the error quotes enough of it.
    pub fn handle_unreachable(&mut self, now: Now, remote: SocketAddr, branch: Option<&[u8]>) {
        self.desk.stack.handle_transport_error(Transport::Udp, remote, branch);
        self.drain_events(now);
    }

    /// A message could not be sent on a stream.
    pub fn handle_send_failed(&mut self, now: Now, client: sip::stack::ClientTx) {
        self.desk.stack.handle_send_failed(client);
        self.drain_events(now);
    }

    /// A stream has closed.
    pub fn handle_stream_failed(&mut self, now: Now, stream: FlowId) {
        self.desk.stack.handle_stream_failed(stream);
        self.drain_events(now);
    }

    /// A question of control.
    pub fn handle_ask(&mut self, now: Now, ask: Ask) {
        match ask {
            Ask::List(filter, reply) => reply(self.list(&filter)),
            Ask::Show(id, reply) => match self.by_id.get(&id).copied() {
                Some(key) => self.with_call(key, |call, desk| call.show(desk, reply)),
                None => reply(Err(AskFailed::NoCall)),
            },
            Ask::Trace(id, reply) => {
                let call = self.by_id.get(&id).and_then(|key| self.calls.get(*key));
                reply(call.map(|call| call.trace(&self.desk)).ok_or(AskFailed::NoCall));
            }
            Ask::Hangup(id, reply) => {
                let answer = match self.by_id.get(&id).copied() {
                    Some(key) => match self.calls.get(key).is_some_and(Call::is_ending) {
                        true => Err(AskFailed::Ending),
                        false => {
                            self.with_call(key, |call, desk| call.release(desk, now, Release::operator()));
                            Ok(())
                        }
                    },
                    None => Err(AskFailed::NoCall),
                };
                reply(answer);
            }
            ask @ (Ask::Play(..)
            | Ask::Stop(..)
            | Ask::Dtmf(..)
            | Ask::Record(..)
            | Ask::Fork(..)
            | Ask::Mute(..)
            | Ask::Hold(..)
            | Ask::Join(..)
            | Ask::Leave(..)
            | Ask::PutRoom(..)
            | Ask::Rooms(..)
            | Ask::CloseRoom(..)) => self.handle_media_ask(now, ask),
            Ask::Explain(question, reply) => reply(self.explain(now, &question).map(Box::new)),
            Ask::Drain(on) => self.draining = on,
            Ask::HangupAll => {
                let keys: Vec<Key> = self.calls.iter().map(|(key, _)| key).collect();
                for key in keys {
                    self.with_call(key, |call, desk| call.release(desk, now, Release::operator()));
                }
            }
            Ask::Panic => assert!(!self.desk.config.allow_panic, "asked to panic by a test"),
        }
        self.drain_events(now);
    }

    /// Call at or after the time that `poll_timeout` gave.
    pub fn handle_timeout(&mut self, now: Now) {
        self.desk.stack.handle_timeout(now.mono);
        self.drain_events(now);
        let mut due = Vec::new();
        self.wheel.expire(now.mono, |at, key| due.push((at, key)));
        for (at, key) in due {
            if self.calls.get(key).is_some_and(|call| call.alarm == at) {
                self.with_call(key, |call, desk| {
                    call.alarm = Instant(u64::MAX);
                    call.handle_timeout(desk, now);
                });
            }
        }
        self.tarpit.handle_timeout(&mut self.desk, now);
        self.expire_hooks(now);
        self.handle_watch(now);
        self.handle_probes(now);
    }

    /// When to wake, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let calls = self.wheel.poll_timeout().map(|at| (at, "call"));
        let own = [self.tarpit.poll_timeout(), self.hooks_due(), self.watch_due(), self.probes_due()];
        own.into_iter().chain([calls, self.desk.stack.poll_timeout()]).flatten().min_by_key(|(at, _)| *at)
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        // Media hears of a change before the peers do: their first packets come at once.
        self.desk.output.pop_front().or_else(|| self.desk.stack.poll_output().map(Output::Send))
    }

    /// How many calls there are.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// INVITEs that are no calls: those whose hook is being asked, and those that are held and lead nowhere.
    pub fn waiting(&self) -> usize {
        self.asking.iter().count() + self.tarpit.leases().count()
    }

    /// Publishes what is only counted inside.
    pub fn publish(&self) {
        let (stats, counts) = (&self.desk.stats, self.desk.stack.counts());
        stats.calls_now.set(self.calls.len() as u64);
        stats.transactions.set((self.desk.stack.servers_len() + self.desk.stack.clients_len()) as u64);
        stats.retransmissions_in.set(counts.requests_repeated + counts.responses_repeated);
        stats.retransmissions_out.set(counts.resent);
    }

    /// The counters of this shard.
    pub fn stats(&self) -> &Arc<SignallingStats> {
        &self.desk.stats
    }

    /// The trunk that a message is from.
    fn identify(&self, flow: &Flow, message: &Message<'_>) -> Option<usize> {
        let port = message.top_via().port;
        self.identities.find(usize::from(flow.listener), flow.transport, flow.remote, port)
    }

    fn world(&self, now: Now) -> World<'_> {
        World {
            now,
            spec: &self.desk.spec,
            identities: &self.identities,
            secret: &self.desk.config.secret,
            draining: self.draining,
            overloaded: self.overloaded,
        }
    }

    /// The call and leg that a tag of ours names, if they still exist.
    fn find_tag(&self, tag: &[u8]) -> Option<(Key, u16)> {
        let (key, leg) = self.desk.read_tag(tag).filter(|(_, leg)| *leg != tarpit::LEG)?;
        self.calls.get(key).map(|_| (key, leg))
    }

    /// Whether a request is within a call that has gone: its sender, who may be somebody that is only called, is told so.
    fn is_of_past(&self, message: &Message<'_>) -> bool {
        match message.to_tag().and_then(|tag| self.desk.read_tag(tag)) {
            Some((key, tarpit::LEG)) => self.tarpit.has_held(key),
            Some((key, _)) => self.calls.has_had(key),
            None => false,
        }
    }

    /// The diverted call that a request is within.
    fn find_diverted(&self, message: &Message<'_>) -> Option<Key> {
        let tag = message.to_tag().filter(|_| message.is_request())?;
        let (key, leg) = self.desk.read_tag(tag)?;
        (leg == tarpit::LEG && self.tarpit.holds(key)).then_some(key)
    }

    fn on_diverted(&mut self, now: Now, key: Key, flow: &Flow, message: &Message<'_>) {
        match self.desk.stack.handle_message(now.mono, flow, message) {
            Incoming::Request(tx) => {
                self.tarpit.handle_request(&mut self.desk, now, tx, key, flow, message);
            }
            Incoming::Ack => self.tarpit.handle_ack(key, message),
            _ => {}
        }
        self.drain_events(now);
    }

    fn on_media_restarted(&mut self, now: Now, shard: usize) {
        let lost: Vec<Key> = self
            .calls
            .iter()
            .filter(|(_, call)| call.bridge.is_some_and(|b| b.media_shard() == shard))
            .map(|(key, _)| key)
            .collect();
        for key in lost {
            self.with_call(key, |call, desk| call.handle_media_lost(desk, now));
        }
        self.on_rooms_lost(now, shard);
        Late::lose(&mut self.desk, now, shard);
    }

    /// Lets a call act, then looks after what follows: its bridge, its alarm, its end.
    fn with_call(&mut self, key: Key, act: impl FnOnce(&mut Call, &mut Desk)) {
        let Some(call) = self.calls.get_mut(key) else { return };
        let bridge_before = call.bridge;
        act(call, &mut self.desk);
        call.settle(&mut self.desk);
        if let Some(bridge) = call.bridge
            && bridge_before.is_none()
        {
            self.by_bridge.insert(bridge, key);
        }
        if call.is_gone() {
            let id = call.id;
            let bridge = call.bridge;
            let name = call.trunk(call.admitted.trunk).name.clone();
            let name_out = call.trunk_out().map(|trunk| call.trunk(trunk).name.clone());
            self.desk.stats.calls_active.add(&[&name, "in"], -1);
            self.desk.stats.calls.add(&[&name, "in", call.result()], 1);
            if let Some(name_out) = name_out {
                self.desk.stats.calls_active.add(&[&name_out, "out"], -1);
                self.desk.stats.calls.add(&[&name_out, "out", call.result()], 1);
            }
            self.by_id.remove(&id);
            if let Some(bridge) = bridge {
                self.by_bridge.remove(&bridge);
            }
            self.calls.remove(key);
            self.desk.stats.calls_now.set(self.calls.len() as u64);
            return;
        }
        if let Some((at, _)) = call.poll_timeout()
            && at < call.alarm
        {
            call.alarm = at;
            self.wheel.insert(at, key);
        }
    }

    fn drain_events(&mut self, now: Now) {
        use sip::stack::Event;
        while let Some(event) = self.desk.stack.poll_event() {
            match event {
                Event::TimedOut { token, .. } | Event::TransportFailed { token, .. }
                    if token.what == What::Probe =>
                {
                    self.on_probe_answer(now, token.call, false);
                }
                Event::TimedOut { token, .. } | Event::TransportFailed { token, .. }
                    if token.what == What::Tarpit => {}
                Event::TimedOut { tx, token } => {
                    self.with_call(token.call, |call, desk| call.handle_failure(desk, now, tx, token, false));
                }
                Event::TransportFailed { tx, token } => {
                    self.with_call(token.call, |call, desk| call.handle_failure(desk, now, tx, token, true));
                }
                Event::NoAck { .. } => {} // A refusal that nobody acknowledged; nothing hangs on it.
            }
        }
    }

    fn list(&self, filter: &CallFilter) -> Vec<CallSummary> {
        let matches = |row: &CallSummary| {
            filter.trunk.as_ref().is_none_or(|t| row.trunk_in == *t || row.trunk_out.as_ref() == Some(t))
                && filter
                    .number
                    .as_ref()
                    .is_none_or(|n| row.from.contains(n.as_str()) || row.to.contains(n.as_str()))
        };
        self.calls.iter().map(|(_, call)| call.summary()).filter(matches).take(filter.limit).collect()
    }
}
