//! All NG calls of one signalling thread: takes requests, media's events, questions of control and time, finds the call
//! that each is for, and collects what is to be done. Opens no socket.

use crate::book::{Book, Ended};
use crate::call::Call;
use crate::counts::NgStats;
use crate::failure::Failure;
use crate::frame::{self, Frame, Origin};
use crate::replay;
use crate::request::{Command as Verb, Request};
use crate::spec::Spec;
use crate::tools::{Asked, Said, Tools};
use crate::tree;
use crate::value::{Dict, Value};
use base::hash::KeyedMap;
use base::{Duration, HashKey, Instant, Key, Now, Rng, Slab, Wheel};
use command::{BridgeId, Clip, Command, Ended as Ending, Event, Outcome, Ticket};
use core::net::SocketAddr;
use ledger::{
    Ask, AskFailed, Auditor, CallFilter, CallId, CallSummary, EventBus, Lease, Limit, Part, Recordings, Why,
};
use std::sync::Arc;

pub use crate::control::SoundSource;

/// Where this shard stands in the engine.
#[derive(Clone, Debug)]
pub struct Config {
    /// This machine, in ids.
    pub node: u8,
    /// This shard.
    pub shard: u8,
    /// How many media shards there are.
    pub media_shards: usize,
    /// How often this shard has been started.
    pub generation: u32,
    /// NG calls that may exist at once on this shard.
    pub calls_max: u32,
    /// The installation's secret.
    pub secret: HashKey,
    /// Recordings that run.
    pub recordings: Arc<Recordings>,
    /// What the world is told.
    pub events: Arc<EventBus>,
    /// What all shards know of NG calls.
    pub book: Arc<Book>,
}

/// What the shell has to do.
#[derive(Debug)]
pub enum Output {
    /// Answer a request.
    Reply {
        /// Where it came from.
        origin: Origin,
        /// The reply, with its cookie.
        bytes: Vec<u8>,
    },
    /// Ask a media shard.
    Media {
        /// Which.
        shard: usize,
        /// What.
        command: Command,
    },
    /// Load a sound; answered by [`Ng::handle_sound`].
    Sound {
        /// Comes back with the answer. No other ticket of this shard is the same.
        ticket: Ticket,
        /// Where it is.
        source: SoundSource,
    },
    /// Tell somebody of a digit, over UDP.
    Notify {
        /// Whom.
        to: SocketAddr,
        /// What.
        bytes: Vec<u8>,
    },
}

/// The NG calls of one shard.
pub struct Ng {
    pub(crate) tools: Tools,
    spec: Arc<Spec>,
    calls: Slab<Call>,
    /// Calls that requests find. One that is being closed is not among them.
    by_name: KeyedMap<Arc<[u8]>, Key>,
    by_id: KeyedMap<CallId, Key>,
    by_bridge: KeyedMap<BridgeId, Key>,
    wheel: Wheel<Key>,
    auditor: Auditor,
    audit_at: Instant,
    overloaded: bool,
    draining: bool,
}

/// Calls wake exactly to this.
const TICK: Duration = Duration::from_millis(10);
/// Calls wake at least so often while something of them will be due.
const ALARM_MAX: Duration = Duration::from_secs(20);
/// How often the books of the limits are recounted while there are calls.
const AUDIT: Duration = Duration::from_secs(5);
/// What `delete` says where there is nothing to delete.
pub(crate) const NOT_FOUND: &str = "Call-ID not found or tags didn't match";

impl Ng {
    /// An empty one.
    pub fn new(now: Now, config: Config, spec: Arc<Spec>, mut rng: Rng, stats: Arc<NgStats>) -> Ng {
        // What an earlier generation of this shard has left behind.
        config.book.forget_shard(config.node, usize::from(config.shard));
        config.book.join(&stats);
        let key = HashKey::new([rng.u64(), rng.u64()]);
        let (calls_max, shard) = (config.calls_max, config.shard);
        Ng {
            tools: Tools::new(now, config, rng, stats),
            spec,
            calls: Slab::with_max(calls_max),
            by_name: KeyedMap::with_hasher(key),
            by_id: KeyedMap::with_hasher(key),
            by_bridge: KeyedMap::with_hasher(key),
            wheel: Wheel::new(now.mono, TICK),
            auditor: Auditor::new(ledger::ng_shard(shard)),
            audit_at: now.mono + AUDIT,
            overloaded: false,
            draining: false,
        }
    }

    /// A new configuration is in force. Calls keep the one that they started with.
    pub fn apply(&mut self, spec: Arc<Spec>) {
        self.spec = spec;
    }

    /// Whether new calls are shed because this shard is behind.
    pub fn set_overloaded(&mut self, overloaded: bool) {
        self.overloaded = overloaded;
    }

    /// No new calls (`true`), or again (`false`).
    pub fn set_draining(&mut self, draining: bool) {
        self.draining = draining;
    }

    /// Whether a bridge is one of NG's: its media events come here.
    pub fn owns(&self, bridge: BridgeId) -> bool {
        bridge.is_ng()
    }

    /// Whether a call is here.
    pub fn knows(&self, id: CallId) -> bool {
        self.by_id.contains_key(&id)
    }

    /// How many calls there are, those that are deleted and still to go included.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// The counters of this shard.
    pub fn stats(&self) -> &Arc<NgStats> {
        &self.tools.stats
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.tools.output.pop_front()
    }

    /// A request has come. It is answered once, now or later; if it came before, as it was answered then.
    pub fn handle_request(&mut self, now: Now, origin: Origin, frame: Frame<'_>) {
        let stats = &self.tools.stats;
        let key = match self.tools.replay.ask(now.mono, frame.cookie, frame.payload, origin) {
            replay::Asked::New(key) => key,
            replay::Asked::Waits => return stats.waited.add(1),
            replay::Asked::Again(bytes) => {
                stats.replayed.add(1);
                return self.tools.output.push_back(Output::Reply { origin, bytes });
            }
        };
        let mut asked = Asked::new(now, &frame, key);
        let request = frame::read(frame.payload).and_then(|(_, dict)| Request::read(&dict));
        match request {
            Ok(mut request) => {
                asked.command = Some(request.command);
                asked.unknown = core::mem::take(&mut request.unknown);
                self.handle(now, request, asked);
            }
            Err(failure) => self.tools.answer(now, asked, failure),
        }
    }

    fn handle(&mut self, now: Now, request: Request, asked: Asked) {
        let book = &self.tools.config.book;
        match request.command {
            Verb::Ping => return self.tools.answer(now, asked, Said::Pong),
            Verb::List => {
                let dict = tree::list(book, request.options.limit);
                return self.tools.answer(now, asked, Said::Ok(dict));
            }
            Verb::Statistics => {
                let figures = tree::Figures {
                    uptime: now.mono.since(Instant(0)),
                    totals: book.totals(),
                    requests: book.requests(),
                    clients: book.clients(),
                };
                return self.tools.answer(now, asked, Said::Ok(tree::statistics(&figures)));
            }
            _ => {}
        }
        let Some(name) = request.call_id.as_deref() else {
            return self.tools.answer(now, asked, Failure::NoCallId);
        };
        let known = self.by_name.get(name).copied();
        match (known, request.command) {
            (Some(key), _) => self.with_call(now, key, |call, tools| call.handle(tools, now, request, asked)),
            (None, Verb::Offer | Verb::Publish) => self.begin(now, request, asked),
            (None, Verb::Delete) if !request.options.fatal => {
                let dict = Dict::new().with("warning", Value::text(NOT_FOUND));
                self.tools.answer(now, asked, Said::Ok(dict));
            }
            (None, Verb::Delete) => self.tools.answer(now, asked, Failure::Value(NOT_FOUND)),
            (None, _) => self.tools.answer(now, asked, Failure::UnknownCall),
        }
    }

    /// A call that is not there yet.
    fn begin(&mut self, now: Now, request: Request, asked: Asked) {
        let full = Said::LoadLimit { is_known: request.options.knows_load_limit };
        if self.overloaded || self.draining {
            return self.tools.answer(now, asked, full);
        }
        // What cannot become a call takes no place.
        if let Err(failure) = Call::check(&request) {
            return self.tools.answer(now, asked, failure);
        }
        let shard = ledger::ng_shard(self.tools.config.shard);
        let parts = self.spec.pools.iter().map(Part::Pool);
        let lease = match Lease::take(shard, now.mono, ledger::Class::Normal, parts) {
            Ok(lease) => lease,
            Err(hit) => {
                let refusal = if matches!(hit.why, Why::Fast { .. }) { "too_fast" } else { "limit_full" };
                let event = ledger::Event::new(now.wall, "call.refused")
                    .with("refusal", refusal)
                    .with("trunk", "ng")
                    .with("by", hit.limit)
                    .with("rule", hit.why.name())
                    .with("call_id", String::from_utf8_lossy(request.call_id.as_deref().unwrap_or_default()));
                self.tools.config.events.publish(event);
                return self.tools.answer(now, asked, full);
            }
        };
        let Some(key) = self.calls.next_key() else {
            return self.tools.answer(now, asked, full);
        };
        let name: Arc<[u8]> = request.call_id.as_deref().unwrap_or_default().into();
        let call = Call::new(&mut self.tools, now, key, Arc::clone(&self.spec), Arc::clone(&name), lease);
        let (id, bridge) = (call.id, call.bridge);
        let is_taken = self.calls.insert(call).is_ok();
        debug_assert!(is_taken, "there was a place");
        self.by_name.insert(name, key);
        self.by_id.insert(id, key);
        self.by_bridge.insert(bridge, key);
        self.tools.stats.calls_now.set(self.calls.len() as u64);
        self.with_call(now, key, |call, tools| call.handle(tools, now, request, asked));
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
            && let Some((_, late)) = self.tools.late.remove(ticket)
        {
            return late.end(now, *ended);
        }
        if let Some(key) = self.by_bridge.get(&bridge).copied() {
            self.with_call(now, key, |call, tools| call.handle_media(tools, now, event));
        }
    }

    fn on_media_restarted(&mut self, now: Now, shard: usize) {
        let lost = self.calls.iter().filter(|(_, call)| call.bridge.media_shard() == shard);
        let lost: Vec<Key> = lost.map(|(key, _)| key).collect();
        for key in lost {
            self.with_call(now, key, |call, tools| call.lose_media(tools, now));
        }
        // Nobody will tell of its files.
        let ended = Ending::after(Outcome::Failed, Duration::ZERO);
        for (_, (_, late)) in self.tools.late.extract_if(.., |_, (of, _)| *of == shard) {
            late.end(now, ended);
        }
    }

    /// A sound was loaded, or why it could not be.
    pub fn handle_sound(&mut self, now: Now, ticket: Ticket, clip: Result<Clip, &'static str>) {
        if let Some((key, _)) = self.tools.sounds.remove(&ticket) {
            self.with_call(now, key, |call, tools| call.handle_sound(tools, now, ticket, clip));
        }
    }

    /// A question of control: one about an NG call, or one that is for all calls.
    pub fn handle_ask(&mut self, now: Now, ask: Ask) {
        const NO: AskFailed = AskFailed::Unsupported("the call is controlled over NG");
        match ask {
            Ask::List(filter, reply) => reply(self.list(&filter)),
            Ask::Show(id, reply) => match self.by_id.get(&id).copied() {
                Some(key) => self.with_call(now, key, |call, tools| call.show(tools, now, reply)),
                None => reply(Err(AskFailed::NoCall)),
            },
            Ask::Trace(id, reply) => {
                reply(if self.knows(id) { Ok(ledger::TraceView::default()) } else { Err(AskFailed::NoCall) });
            }
            Ask::Hangup(id, reply) => match self.by_id.get(&id).copied() {
                Some(key) if self.calls.get(key).is_some_and(Call::is_over) => reply(Err(AskFailed::Ending)),
                Some(key) => {
                    self.with_call(now, key, |call, tools| call.end(tools, now, Ended::Hangup));
                    reply(Ok(()));
                }
                None => reply(Err(AskFailed::NoCall)),
            },
            Ask::Drain(on) => self.draining = on,
            Ask::HangupAll => {
                let keys: Vec<Key> = self.calls.iter().map(|(key, _)| key).collect();
                for key in keys {
                    self.with_call(now, key, |call, tools| call.end(tools, now, Ended::Hangup));
                }
            }
            Ask::Play(_, _, reply) | Ask::Fork(_, _, reply) => reply(Err(NO)),
            Ask::Dtmf(_, _, reply) => reply(Err(NO)),
            Ask::Stop(_, _, reply) => reply(Err(NO)),
            Ask::Record(_, _, reply) => reply(Err(NO)),
            Ask::Mute(_, _, reply) => reply(Err(NO)),
            Ask::Hold(_, _, reply) => reply(Err(NO)),
            Ask::Join(_, _, reply) => reply(Err(NO)),
            Ask::Leave(_, _, reply) => reply(Err(NO)),
            Ask::PutRoom(_, _, reply) => reply(Err(NO)),
            Ask::Rooms(_, reply) => reply(Vec::new()),
            Ask::CloseRoom(_, reply) => reply(false),
            Ask::Explain(_, reply) => reply(Err("NG calls have no route".into())),
            Ask::Panic => {}
        }
    }

    fn list(&self, filter: &CallFilter) -> Vec<CallSummary> {
        let is_of =
            |row: &CallSummary, trunk: &str| row.trunk_in == trunk || row.trunk_out.as_deref() == Some(trunk);
        let matches = |row: &CallSummary| {
            filter.trunk.as_deref().is_none_or(|trunk| is_of(row, trunk))
                && filter.number.as_deref().is_none_or(|n| row.from.contains(n) || row.to.contains(n))
        };
        self.calls.iter().map(|(_, call)| call.summary()).filter(matches).take(filter.limit).collect()
    }

    /// Call at or after the time that `poll_timeout` gave.
    pub fn handle_timeout(&mut self, now: Now) {
        let mut due = Vec::new();
        self.wheel.expire(now.mono, |at, key| due.push((at, key)));
        for (at, key) in due {
            if self.calls.get(key).is_some_and(|call| call.alarm == at) {
                self.with_call(now, key, |call, tools| {
                    call.alarm = Instant(u64::MAX);
                    call.handle_timeout(tools, now);
                });
            }
        }
        while let Some((ticket, _)) = self.first_sound().filter(|(_, until)| *until <= now.mono) {
            self.handle_sound(now, ticket, Err("it was not loaded in time"));
        }
        if self.audit_at <= now.mono {
            self.audit_at = now.mono + AUDIT;
            self.audit();
        }
    }

    /// When to wake, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let call = self.wheel.poll_timeout().map(|at| (at, "ng call"));
        let audit = (!self.calls.is_empty()).then_some((self.audit_at, "ng audit"));
        let sound = self.first_sound().map(|(_, until)| (until, "ng sound"));
        call.into_iter().chain(audit).chain(sound).min_by_key(|(at, _)| *at)
    }

    /// The sound that is waited for longest, and until when.
    fn first_sound(&self) -> Option<(Ticket, Instant)> {
        self.tools.sounds.first_key_value().map(|(ticket, (_, until))| (*ticket, *until))
    }

    /// Recounts the places of this shard's NG calls; what differs is a leak, which is told and never repaired.
    fn audit(&mut self) {
        let leases = self.calls.iter().filter_map(|(_, call)| call.lease());
        let recount = self.auditor.recount(self.spec.pools.iter().map(Limit::Pool), leases);
        self.tools.stats.limit_drift.set(recount.drift());
    }

    /// Lets a call act, then looks after what follows: its name, its alarm, its end.
    fn with_call(&mut self, now: Now, key: Key, act: impl FnOnce(&mut Call, &mut Tools)) {
        let Some(call) = self.calls.get_mut(key) else { return };
        act(call, &mut self.tools);
        call.catch_up(&mut self.tools, now);
        if call.is_over() && self.by_name.get(&call.name) == Some(&key) {
            self.by_name.remove(&call.name);
        }
        if call.is_gone() {
            self.by_id.remove(&call.id);
            self.by_bridge.remove(&call.bridge);
            self.calls.remove(key);
            self.tools.stats.calls_now.set(self.calls.len() as u64);
            return;
        }
        // Timers cannot be taken back: those of calls that end soon must not lie about until an hour has passed.
        let soon = now.mono + ALARM_MAX;
        if let Some(at) = call.poll_timeout().map(|at| at.min(soon))
            && at < call.alarm
        {
            call.alarm = at;
            self.wheel.insert(at, key);
        }
    }
}
