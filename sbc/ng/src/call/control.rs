//! What is asked of the media of a call beside offers and answers: passes it to its [`Controls`] and does what follows.

use super::bridge::CROWDED;
use super::{Call, What};
use crate::control::{Answer, Controls, Effects, MediaAsk};
use crate::desk::Output;
use crate::facts::CallFacts;
use crate::failure::Failure;
use crate::notify;
use crate::options::{MediaOptions, Options};
use crate::request::{Command as Verb, Request};
use crate::tools::{Asked, SOUND_WAIT, Tools};
use crate::value::Dict;
use base::{Duration, Now};
use command::{Clip, Command, Event, Party, PortIndex, Ticket};
use std::sync::Arc;

/// Requests of one call that wait for media to take their orders.
const LATER_MAX: usize = 64;

impl Call {
    pub(super) fn control(&mut self, tools: &mut Tools, now: Now, request: &Request, asked: Asked) {
        if self.later.len() == LATER_MAX {
            tools.stats.crowded.add(1);
            return tools.answer(now, asked, Failure::Value("Too many requests of one call at once"));
        }
        self.tell(now, What::Asked(request.command));
        if request.command == Verb::Connect {
            let result = self.connect(tools, request);
            return tools.answer(now, asked, result);
        }
        let answer = self.with_controls(tools, now, |controls, facts, effects| {
            controls.handle(now, request, facts, effects)
        });
        match answer {
            Answer::Now(result) => tools.answer(now, asked, result),
            Answer::Later(ticket) => self.later.push((ticket, asked)),
        }
    }

    /// `connect`: refused where more would hear a port than media serves.
    fn connect(&mut self, tools: &mut Tools, request: &Request) -> Result<Dict, Failure> {
        let (excess, facts) = (self.excess(), self.facts());
        let mut controls = self.controls.take().unwrap_or_else(|| Box::new(self.new_controls(tools)));
        let result = controls.connect(request, &facts);
        self.controls = Some(controls);
        let before = result?;
        if self.excess() > excess {
            if let Some(controls) = &mut self.controls {
                controls.restore(before);
            }
            return Err(CROWDED);
        }
        self.set_media(tools);
        Ok(Dict::new())
    }

    /// Lets the controls act, and does what they want done: the spec first, if it is another one now.
    pub(super) fn with_controls<R>(
        &mut self,
        tools: &mut Tools,
        now: Now,
        act: impl FnOnce(&mut Controls, &CallFacts, &mut Effects<'_>) -> R,
    ) -> R {
        let facts = self.facts();
        let mut controls = self.controls.take().unwrap_or_else(|| Box::new(self.new_controls(tools)));
        let mut mint = || tools.new_ticket();
        let mut effects = Effects::new(&mut mint);
        let result = act(&mut controls, &facts, &mut effects);
        let Effects { is_changed, asks, answered, .. } = effects;
        self.controls = Some(controls);
        if is_changed {
            self.set_media(tools);
        }
        for ask in asks {
            self.ask(tools, now, ask);
        }
        self.answer_later(tools, now, answered);
        result
    }

    fn new_controls(&self, tools: &mut Tools) -> Controls {
        let (recordings, events) = (Arc::clone(&tools.config.recordings), Arc::clone(&tools.config.events));
        Controls::new(self.id, tools.rng.fork(), self.spec.makeable.clone(), recordings, events)
    }

    fn ask(&self, tools: &mut Tools, now: Now, ask: MediaAsk) {
        let bridge = self.bridge;
        match ask {
            MediaAsk::Order { ticket, order } => {
                tools.media(bridge, Command::Order { bridge, ticket, order });
            }
            MediaAsk::Report { ticket } => tools.media(bridge, Command::Report { bridge, ticket }),
            MediaAsk::Sound { ticket, source } => {
                tools.sounds.insert(ticket, (self.key, now.mono + SOUND_WAIT));
                tools.output.push_back(Output::Sound { ticket, source });
            }
        }
    }

    fn answer_later(&mut self, tools: &mut Tools, now: Now, answered: Vec<(Ticket, Result<Dict, Failure>)>) {
        for (ticket, result) in answered {
            if let Some(at) = self.later.iter().position(|(waits, _)| *waits == ticket) {
                let (_, asked) = self.later.swap_remove(at);
                tools.answer(now, asked, result);
            }
        }
    }

    /// What an offer or an answer says of blocking, echo, digits and recordings. Most say nothing of it.
    pub(super) fn controls_take_options(&mut self, tools: &mut Tools, from: Party, options: &Options) {
        if self.controls.is_none() {
            if options.media == MediaOptions::default() && options.metadata.is_none() {
                return;
            }
            self.controls = Some(Box::new(self.new_controls(tools)));
        }
        if let Some(controls) = &mut self.controls {
            controls.take_options(from, options);
        }
    }

    /// The spec has been set: what waited for it begins.
    pub(super) fn settle_controls(&mut self, tools: &mut Tools, now: Now) {
        if self.controls.is_some() {
            self.with_controls(tools, now, |controls, facts, effects| controls.settle(now, facts, effects));
        }
    }

    /// A sound that it wanted was loaded, or why it could not be.
    pub fn handle_sound(
        &mut self,
        tools: &mut Tools,
        now: Now,
        ticket: Ticket,
        clip: Result<Clip, &'static str>,
    ) {
        if self.controls.is_some() && !self.is_over() {
            self.with_controls(tools, now, |controls, facts, effects| {
                controls.handle_sound(now, ticket, clip, facts, effects)
            });
        }
    }

    /// Whether an event was the answer to an order of the controls.
    pub(super) fn controls_take(&mut self, tools: &mut Tools, now: Now, event: &Event) -> bool {
        let is_answer = matches!(
            event,
            Event::Ended { .. } | Event::Report { .. } | Event::Unsupported { ticket: Some(_), .. }
        );
        if !is_answer || self.controls.is_none() || self.is_over() {
            return false;
        }
        self.with_controls(tools, now, |controls, _, effects| controls.handle_media(now, event, effects))
    }

    /// A digit was heard: the world is told, and whoever listens to NG events.
    pub(super) fn on_digit(
        &self,
        tools: &mut Tools,
        now: Now,
        port: PortIndex,
        digit: char,
        duration: Duration,
    ) {
        let facts = self.facts();
        let is_first = facts.owner(port).is_none_or(|party| party.party == Party(0));
        let event = ledger::Event::new(now.wall, "dtmf.digit")
            .with("call", self.id)
            .with("leg", if is_first { "a" } else { "b" })
            .with("digit", digit)
            .with("duration_ms", duration.as_millis());
        tools.config.events.publish(event);
        if self.spec.events_to.is_empty() {
            return;
        }
        let Some(bytes) = notify::digit(now.wall, &facts, port, digit, duration, None) else { return };
        for to in &self.spec.events_to {
            tools.output.push_back(Output::Notify { to: *to, bytes: bytes.clone() });
        }
    }

    /// The call is over: recordings that run are kept in mind until their files are whole.
    pub(super) fn close_controls(&mut self, tools: &mut Tools, now: Now) {
        if self.controls.is_some() {
            let late = self.with_controls(tools, now, |controls, _, effects| controls.close(effects));
            let shard = self.bridge.media_shard();
            tools.late.extend(late.into_iter().map(|late| (late.ticket, (shard, late))));
        }
        for (_, asked) in core::mem::take(&mut self.later) {
            tools.answer(now, asked, Failure::UnknownCall);
        }
    }
}
