//! What NG requests do to the media of one call beside its offers and answers: block, silence, echo, connect, play,
//! send digits, record. Lies over what the parties have agreed, and stays there whatever they agree next. Sends nothing
//! itself: it says what is to be sent.

mod marks; // what is blocked, silenced, echoed, connected, and what becomes of the spec
mod orders; // sounds, digits and recordings that go on
mod select; // whom a request is for

use crate::facts::CallFacts;
use crate::failure::Failure;
use crate::options::Options;
use crate::request::{Command, Request};
use crate::value::Dict;
use base::{Now, Rng};
use command::{BridgeSpec, Clip, Event, Order, Party, Ticket};
use ledger::{CallId, EventBus, Recordings};
pub(crate) use marks::Connection;
use marks::Marks;
pub use orders::LateRecording;
use orders::Orders;
use sdp::Makeable;
pub(crate) use select::sources;
use std::sync::Arc;

/// All of one call. Most calls have said nothing, and cost nothing.
#[derive(Debug)]
pub struct Controls {
    marks: Marks,
    orders: Orders,
}

/// What has to be done after a request or event. The owner of the call does it in this order: the spec first, if it is
/// another one now, then `asks` as they stand.
pub struct Effects<'a> {
    /// Mints tickets of media, which no other order of this shard has.
    pub new_ticket: &'a mut dyn FnMut() -> Ticket,
    /// The spec is another one now: it is to be built, laid over ([`Controls::apply`]) and set.
    pub is_changed: bool,
    /// What media and the keeper of sounds are to be asked.
    pub asks: Vec<MediaAsk>,
    /// Requests that were answered with [`Answer::Later`] and are answered now.
    pub answered: Vec<(Ticket, Result<Dict, Failure>)>,
}

/// One question to media or to the keeper of sounds.
#[derive(Clone, Debug, PartialEq)]
pub enum MediaAsk {
    /// `command::Command::Order` to the call's bridge.
    Order {
        /// Comes back with its events.
        ticket: Ticket,
        /// What.
        order: Order,
    },
    /// `command::Command::Report` to the call's bridge; its answer goes to [`Controls::handle_media`].
    Report {
        /// Comes back with the report.
        ticket: Ticket,
    },
    /// A sound is to be loaded; its answer goes to [`Controls::handle_sound`].
    Sound {
        /// Comes back with the clip.
        ticket: Ticket,
        /// Where it is.
        source: SoundSource,
    },
}

/// Where a sound is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SoundSource {
    /// A file below the folder of sounds, or what `engine.sounds` allows else.
    File(String),
    /// The content of a file.
    Blob(Vec<u8>),
}

/// How a request is answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// At once. The dictionary has no `result` yet; it may have a `warning`.
    Now(Result<Dict, Failure>),
    /// By [`Effects::answered`] under this ticket, when media has taken or refused it.
    Later(Ticket),
}

impl<'a> Effects<'a> {
    /// Nothing so far.
    pub fn new(new_ticket: &'a mut dyn FnMut() -> Ticket) -> Self {
        Effects { new_ticket, is_changed: false, asks: Vec::new(), answered: Vec::new() }
    }
}

impl Controls {
    /// Of one call. `rng` names streams that are echoed; `makeable` is what can be decoded and made for `connect`.
    pub fn new(
        id: CallId,
        rng: Rng,
        makeable: Arc<[Makeable]>,
        recordings: Arc<Recordings>,
        events: Arc<EventBus>,
    ) -> Self {
        Controls { marks: Marks::new(rng, makeable), orders: Orders::new(id, recordings, events) }
    }

    /// Whether this module does what the request asks.
    pub fn knows(command: Command) -> bool {
        match command {
            Command::BlockDtmf
            | Command::UnblockDtmf
            | Command::BlockMedia
            | Command::UnblockMedia
            | Command::SilenceMedia
            | Command::UnsilenceMedia
            | Command::PlayMedia
            | Command::StopMedia
            | Command::PlayDtmf
            | Command::StartRecording
            | Command::StopRecording
            | Command::PauseRecording
            | Command::Connect => true,
            Command::Ping
            | Command::Offer
            | Command::Answer
            | Command::Delete
            | Command::Query
            | Command::List
            | Command::Statistics
            | Command::Publish
            | Command::SubscribeRequest
            | Command::SubscribeAnswer
            | Command::Unsubscribe => false,
        }
    }

    /// Does what a request asks ([`Controls::knows`] its command), but for `connect`.
    pub fn handle(
        &mut self,
        now: Now,
        request: &Request,
        facts: &CallFacts,
        effects: &mut Effects<'_>,
    ) -> Answer {
        match request.command {
            Command::PlayMedia
            | Command::StopMedia
            | Command::PlayDtmf
            | Command::StartRecording
            | Command::StopRecording
            | Command::PauseRecording => self.orders.handle(now, request, facts, effects),
            _ => Answer::Now(self.marks.handle(request, facts).map(|(dict, is_changed)| {
                effects.is_changed |= is_changed;
                dict
            })),
        }
    }

    /// Does what `connect` asks: the spec is another one after it. Gives the connections that were there before, for
    /// [`Controls::restore`].
    pub(crate) fn connect(
        &mut self,
        request: &Request,
        facts: &CallFacts,
    ) -> Result<Vec<Connection>, Failure> {
        self.marks.connect(request, facts)
    }

    /// The connections are these again.
    pub(crate) fn restore(&mut self, connections: Vec<Connection>) {
        self.marks.restore(connections);
    }

    /// Takes what an offer, an answer or a publication of this party says of blocking, echo, digits and recordings. The
    /// spec is set after it in any case, then [`Controls::settle`] is called.
    pub fn take_options(&mut self, from: Party, options: &Options) {
        self.marks.take_options(from, options);
        self.orders.take_options(options);
    }

    /// These two have agreed by offer and answer: what one of them was connected to before (`connect`) is over.
    pub fn agreed(&mut self, one: Party, two: Party) {
        self.marks.agreed(one, two);
    }

    /// The spec has been set: what waited for it begins.
    pub fn settle(&mut self, now: Now, facts: &CallFacts, effects: &mut Effects<'_>) {
        self.orders.settle(now, facts, effects);
    }

    /// Lays all of it over a spec that was made of what the parties have agreed. `tells_digits`: somebody listens to
    /// digits of all calls.
    pub fn apply(&self, facts: &CallFacts, tells_digits: bool, spec: &mut BridgeSpec) {
        self.marks.apply(facts, tells_digits, spec);
    }

    /// A sound was loaded, or why it could not be; whether it was one of these.
    pub fn handle_sound(
        &mut self,
        now: Now,
        ticket: Ticket,
        clip: Result<Clip, &'static str>,
        facts: &CallFacts,
        effects: &mut Effects<'_>,
    ) -> bool {
        self.orders.handle_sound(now, ticket, clip, facts, effects)
    }

    /// Takes an event of the call's bridge that answers an order or report of these; whether it was one.
    pub fn handle_media(&mut self, now: Now, event: &Event, effects: &mut Effects<'_>) -> bool {
        self.orders.handle_media(now, event, effects)
    }

    /// A party is gone: what was said of it holds no more.
    pub fn forget(&mut self, party: Party, effects: &mut Effects<'_>) {
        self.marks.forget(party);
        self.orders.forget(party, effects);
    }

    /// Whether the call is being recorded: running or paused.
    pub fn is_recorded(&self) -> bool {
        self.orders.is_recorded()
    }

    /// The last `metadata` of the call.
    pub fn metadata(&self) -> Option<&[u8]> {
        self.orders.metadata()
    }

    /// The call is over: whoever waits is told so. What is left is to be kept until media tells that its file is whole.
    pub fn close(&mut self, effects: &mut Effects<'_>) -> Vec<LateRecording> {
        self.orders.close(effects)
    }
}

#[cfg(test)]
mod tests;
