//! Parties that only speak or only hear: gives [`Subscriptions`] the ports, names and exchanges that they need.

use super::bridge::CROWDED;
use super::offer::{Plan, Work};
use super::party::PORTS_MAX;
use super::place::{self, Bound};
use super::{Call, Media, Spare};
use crate::exchange::{Exchange, Place};
use crate::facts::Role;
use crate::failure::Failure;
use crate::request::{Command as Verb, Request};
use crate::subscription::{Helper, OpenLine};
use crate::tools::{Asked, Tools};
use crate::value::Dict;
use base::Now;
use command::{Command, Party, PortIndex, PortWant};

/// Ports for a publication or subscription.
#[derive(Debug)]
pub(super) struct Watching {
    bound: Bound,
    /// Those that were there.
    pub ports: Vec<PortIndex>,
    /// How many had to be opened.
    missing: usize,
}

impl Call {
    /// `publish`, `subscribe request`, `subscribe answer`, `unsubscribe`.
    pub(super) fn watch(&mut self, tools: &mut Tools, now: Now, request: Request, mut asked: Asked) {
        let watching = match self.plan_watch(&request, &mut asked.warnings) {
            Ok(watching) => watching,
            Err(failure) => return self.fail(tools, now, asked, failure),
        };
        let missing = watching.missing;
        if missing == 0 {
            return self.finish_watch(tools, now, &request, asked, &watching);
        }
        let want = PortWant { listener: watching.bound.listener, address: watching.bound.bind };
        tools.media(self.bridge, Command::Open { bridge: self.bridge, want: vec![want; missing] });
        self.media = Media::Opening { has_bridge: self.media == Media::Open };
        self.work = Some(Box::new(Work { request, asked, plan: Plan::Watch(watching) }));
    }

    fn plan_watch(&mut self, request: &Request, warnings: &mut Vec<String>) -> Result<Watching, Failure> {
        let wanted = self.subscriptions.ports_wanted(request, &self.facts())?;
        let options = &request.options;
        let (name, said) = match request.command {
            Verb::Publish => (&options.interfaces[0], request.sdp.as_deref().and_then(place::is_ipv6)),
            _ => (&options.interfaces[1], None),
        };
        let bound = place::choose(&self.spec, name.as_deref(), options.is_ipv6.or(said), warnings);
        let bound = bound.ok_or(Failure::NoPorts)?;
        let mut ports = Vec::with_capacity(wanted);
        while ports.len() < wanted {
            let fits = |spare: &Spare| (spare.listener, spare.bind) == (bound.listener, bound.bind);
            let Some(at) = self.spare.iter().position(fits) else { break };
            ports.push(self.spare.swap_remove(at).port);
        }
        let watching = Watching { bound, missing: wanted - ports.len(), ports };
        if self.ports.len() + watching.missing > PORTS_MAX {
            self.give_back(&watching);
            return Err(Failure::NoPorts);
        }
        Ok(watching)
    }

    /// All ports are there.
    pub(super) fn finish_watch(
        &mut self,
        tools: &mut Tools,
        now: Now,
        request: &Request,
        asked: Asked,
        watching: &Watching,
    ) {
        match self.handle_watch(tools, now, request, watching) {
            Ok(dict) => {
                // Who only says what it hears, or goes, calls nobody back.
                if matches!(request.command, Verb::Publish | Verb::SubscribeRequest) {
                    self.deleted_at = None;
                }
                if request.command == Verb::Publish {
                    self.tell_answered(tools, now);
                    let tag = request.from_tag.as_deref().unwrap_or_default();
                    let party =
                        self.subscriptions.parties().find(|party| party.tag == tag).map(|party| party.party);
                    if let Some(party) = party {
                        self.controls_take_options(tools, party, &request.options);
                    }
                }
                self.set_media(tools);
                self.settle_controls(tools, now);
                tools.answer(now, asked, Ok(dict));
                self.end_if_empty(tools, now);
            }
            Err(failure) => {
                self.give_back(watching);
                self.fail(tools, now, asked, failure);
            }
        }
    }

    fn handle_watch(
        &mut self,
        tools: &mut Tools,
        now: Now,
        request: &Request,
        watching: &Watching,
    ) -> Result<Dict, Failure> {
        let facts = self.facts();
        let address = request.options.media_address.unwrap_or(watching.bound.advertised);
        let listener = self.spec.listeners.get(usize::from(watching.bound.listener));
        let dscp = listener.map_or(0, |listener| listener.dscp);
        let open = |port: &PortIndex| {
            let local = self.ports[usize::from(port.0)];
            OpenLine { port: *port, local, place: Place { address, port: local.port() }, dscp }
        };
        let opened: Vec<OpenLine> = watching.ports.iter().map(open).collect();
        // Only an answer makes somebody hear.
        let is_answer = request.command == Verb::SubscribeAnswer;
        let before = is_answer.then(|| (self.excess(), self.subscriptions.clone()));
        let mut subscriptions = core::mem::take(&mut self.subscriptions);
        let mut made = self.parties_made;
        let session_id = tools.rng.u64() >> 1;
        let (keys, rng) = (&mut tools.keys, &mut tools.rng);
        let makeable = &self.spec.makeable;
        let said = |party: Party| {
            let dialogue = self.dialogues.iter().find_map(|dialogue| Some((dialogue, dialogue.side(party)?)));
            dialogue.and_then(|(dialogue, side)| dialogue.exchange.said(side)).map(<[u8]>::to_vec)
        };
        let mut helper = Helper {
            wall: now.wall,
            new_party: &mut || {
                made += 1;
                Party(made - 1)
            },
            new_exchange: &mut || Exchange::new(makeable.clone(), keys.fork(), session_id),
            rng,
            said: &said,
            makeable,
        };
        let result = subscriptions.handle(request, &facts, &opened, &mut helper);
        self.subscriptions = subscriptions;
        self.parties_made = made;
        if let Some((excess, before)) = before
            && self.excess() > excess
        {
            self.subscriptions = before;
            return Err(CROWDED);
        }
        result
    }

    /// Ports that nobody was told of can serve again.
    pub(super) fn give_back(&mut self, watching: &Watching) {
        let Bound { listener, bind, .. } = watching.bound;
        self.spare.extend(watching.ports.iter().map(|&port| Spare { listener, bind, port }));
    }

    /// Whether nobody is left who could be heard.
    pub(super) fn is_empty(&self) -> bool {
        self.dialogues.is_empty() && !self.subscriptions.parties().any(|party| party.role == Role::Publishes)
    }
}
