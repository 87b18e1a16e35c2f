//! One NG call: its parties by tag, the ports that face them, who talks with whom, and what is asked of all that in the
//! order in which it comes. What it wants of media it says as one bridge.

mod party; // who is there, and which ports face whom
mod find; // whom a request means
mod offer; // offers, and the ports they need
mod answer; // answers, and forks
mod watch; // parties that only speak or only hear
mod place; // where ports are bound and what SDPs say of them
mod bridge; // the spec that follows from what was agreed
mod delete; // what delete is for, its delay
mod ending; // how a call ends, and its timers
mod control; // what is asked of its media beside that
mod report; // answers that need media's report
mod facts; // the call as controls and trees see it
mod view; // the call as people see it

use crate::book::Ended;
use crate::control::Controls;
use crate::desk::NOT_FOUND;
use crate::failure::Failure;
use crate::request::{Command as Verb, Request};
use crate::spec::Spec;
use crate::subscription::Subscriptions;
use crate::tools::{Asked, Said, Tools};
use crate::value::{Dict, Value};
use base::{Instant, Key, Now, Wall};
use command::{BridgeId, Command, Event, PortIndex, Ticket};
use core::net::{IpAddr, SocketAddr};
use ledger::{CallId, Lease};
use offer::Work;
use party::{Dialogue, Participant, PortSet};
use report::Awaiting;
use std::collections::VecDeque;
use std::sync::Arc;

/// One call.
pub(crate) struct Call {
    pub id: CallId,
    /// Its place among the calls of the shard.
    key: Key,
    /// Its Call-ID.
    pub name: Arc<[u8]>,
    pub bridge: BridgeId,
    /// The earliest of its timers in the wheel.
    pub alarm: Instant,
    spec: Arc<Spec>,
    /// Travels with the call until its ports are gone.
    lease: Option<Lease>,
    created: Now,
    answered: Option<Now>,
    /// When the last request came that keeps it alive.
    last_signal: Wall,
    ended: Option<(Now, Ended)>,
    media: Media,
    parties: Vec<Participant>,
    sets: Vec<PortSet>,
    dialogues: Vec<Dialogue>,
    /// By [`PortIndex`]: where it is bound.
    ports: Vec<SocketAddr>,
    /// Ports that were opened for an offer that failed: nobody has heard of them.
    spare: Vec<Spare>,
    /// Names sets and dialogues.
    serial: u32,
    parties_made: u16,
    answers: u32,
    /// `TOS` for all of it.
    dscp: Option<u8>,
    /// The request that waits for ports.
    work: Option<Box<Work>>,
    /// Requests behind it.
    queue: VecDeque<(Request, Asked)>,
    /// Who waits for a report of media.
    awaiting: Vec<(Ticket, Awaiting)>,
    /// Parties that only speak or only hear.
    subscriptions: Subscriptions,
    /// When all of it goes, if nobody calls it back.
    deleted_at: Option<Instant>,
    /// Made when something is first asked.
    controls: Option<Box<Controls>>,
    /// Requests that wait for what the controls have asked.
    later: Vec<(Ticket, Asked)>,
    steps: Vec<Step>,
}

/// What media holds of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Media {
    /// Nothing.
    None,
    /// Ports have been asked for; with whether there are others already.
    Opening { has_bridge: bool },
    /// Ports.
    Open,
    /// It was told to close.
    Closing,
    /// It has closed.
    Closed,
}

/// A port of nobody.
#[derive(Clone, Copy, Debug)]
struct Spare {
    listener: u16,
    bind: IpAddr,
    port: PortIndex,
}

/// What happened, for people; told in words only when somebody asks.
#[derive(Clone, Copy, Debug)]
struct Step {
    at: Wall,
    what: What,
}

/// See [`Step`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Offered(u16),
    Answered(u16),
    Failed(Failure),
    Opened(u16),
    Deleted,
    Revived,
    PartyLeft(u16),
    Learned(u16, SocketAddr),
    Moved(u16, SocketAddr),
    Foreign(u16, SocketAddr),
    OneSideSilent(u16),
    Unsupported(&'static str),
    Asked(Verb),
    Ended(Ended),
}

/// Requests of one call that wait for its ports.
const QUEUE_MAX: usize = 16;
/// Answers that wait for a report.
const AWAITING_MAX: usize = 32;
/// Entries of the timeline; the middle of a long call is forgotten.
const STEPS_MAX: usize = 32;

impl Call {
    /// What can be said of the first request of a call without making one.
    pub fn check(request: &Request) -> Result<(), Failure> {
        if request.command == Verb::Offer || request.command == Verb::Publish {
            request.from_tag.as_deref().filter(|tag| !tag.is_empty()).ok_or(Failure::NoFromTag)?;
            request.sdp.as_deref().ok_or(Failure::NoSdp)?;
        }
        Ok(())
    }

    pub fn new(
        tools: &mut Tools,
        now: Now,
        key: Key,
        spec: Arc<Spec>,
        name: Arc<[u8]>,
        lease: Lease,
    ) -> Call {
        let id = tools.call_ids.mint();
        tools.config.book.begin(id, Arc::clone(&name));
        Call {
            id,
            key,
            name,
            bridge: tools.new_bridge(),
            alarm: Instant(u64::MAX),
            spec,
            lease: Some(lease),
            created: now,
            answered: None,
            last_signal: now.wall,
            ended: None,
            media: Media::None,
            parties: Vec::with_capacity(2),
            sets: Vec::with_capacity(2),
            dialogues: Vec::with_capacity(1),
            ports: Vec::with_capacity(2),
            spare: Vec::new(),
            serial: 0,
            parties_made: 0,
            answers: 0,
            dscp: None,
            work: None,
            queue: VecDeque::new(),
            awaiting: Vec::new(),
            subscriptions: Subscriptions::default(),
            deleted_at: None,
            controls: None,
            later: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// Whether requests find it no more.
    pub fn is_over(&self) -> bool {
        self.ended.is_some()
    }

    /// Whether nothing of it is left.
    pub fn is_gone(&self) -> bool {
        self.is_over() && matches!(self.media, Media::None | Media::Closed)
    }

    /// The places that it holds.
    pub fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    /// A request about it: now, or when what came before it is done.
    pub fn handle(&mut self, tools: &mut Tools, now: Now, request: Request, asked: Asked) {
        if self.work.is_none() {
            return self.act(tools, now, request, asked);
        }
        if self.queue.len() == QUEUE_MAX {
            tools.stats.crowded.add(1);
            return tools.answer(now, asked, Failure::Value("Too many requests of one call at once"));
        }
        self.queue.push_back((request, asked));
    }

    /// What came while ports were being opened goes on.
    pub fn catch_up(&mut self, tools: &mut Tools, now: Now) {
        while self.work.is_none()
            && let Some((request, asked)) = self.queue.pop_front()
        {
            self.act(tools, now, request, asked);
        }
    }

    fn act(&mut self, tools: &mut Tools, now: Now, request: Request, asked: Asked) {
        if self.is_over() {
            return tools.answer(now, asked, unknown_call(&request));
        }
        self.last_signal = now.wall;
        match request.command {
            Verb::Offer => self.offer(tools, now, request, asked),
            Verb::Answer => self.answer(tools, now, &request, asked),
            Verb::Delete => self.delete(tools, now, &request, asked),
            Verb::Query => self.query(tools, now, &request, asked),
            command if Subscriptions::knows(command) => self.watch(tools, now, request, asked),
            command if Controls::knows(command) => self.control(tools, now, &request, asked),
            _ => tools.answer(now, asked, Failure::UnsupportedCommand),
        }
    }

    /// Something of its bridge.
    pub fn handle_media(&mut self, tools: &mut Tools, now: Now, event: Event) {
        if self.controls_take(tools, now, &event) {
            return;
        }
        match event {
            Event::Opened { ports, .. } => self.on_opened(tools, now, &ports),
            Event::Refused { .. } => self.on_refused(tools, now),
            Event::Report { ticket, report, .. } => self.on_report(tools, now, ticket, &report),
            Event::Closed { report, .. } => self.on_closed(tools, now, &report),
            Event::Silent { .. } => self.end(tools, now, Ended::Silence),
            Event::Unsupported { what, .. } => self.tell(now, What::Unsupported(what)),
            Event::Learned { port, rtcp: false, source, moved: false, .. } => {
                self.tell(now, What::Learned(port.0, source));
            }
            Event::Learned { port, rtcp: false, source, .. } => self.tell(now, What::Moved(port.0, source)),
            Event::Foreign { port, source, .. } => self.tell(now, What::Foreign(port.0, source)),
            Event::OneSideSilent { port, .. } => self.tell(now, What::OneSideSilent(port.0)),
            Event::Digit { port, digit, duration, .. } => self.on_digit(tools, now, port, digit, duration),
            Event::Learned { .. }
            | Event::Signal { .. }
            | Event::Talking { .. }
            | Event::Ended { .. }
            | Event::Started { .. } => {}
        }
    }

    fn tell(&mut self, now: Now, what: What) {
        if self.steps.len() == STEPS_MAX {
            self.steps.remove(STEPS_MAX / 2);
        }
        self.steps.push(Step { at: now.wall, what });
    }

    fn new_serial(&mut self) -> u32 {
        self.serial += 1;
        self.serial
    }

    /// Sends the bridge's spec.
    fn set_media(&mut self, tools: &mut Tools) {
        if self.media == Media::Open || self.media == (Media::Opening { has_bridge: true }) {
            let spec = Box::new(self.bridge_spec());
            tools.media(self.bridge, Command::Set { bridge: self.bridge, spec });
        }
    }
}

/// What a request is answered whose call has gone.
fn unknown_call(request: &Request) -> Said {
    match request.command {
        Verb::Delete if !request.options.fatal => {
            Said::Ok(Dict::new().with("warning", Value::text(NOT_FOUND)))
        }
        Verb::Delete => Said::Failed(Failure::Value(NOT_FOUND)),
        _ => Said::Failed(Failure::UnknownCall),
    }
}
