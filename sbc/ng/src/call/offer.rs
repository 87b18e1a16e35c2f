//! Offers: whose they are, the ports that they need, and what the other side is told. What fails leaves the call as it
//! was.

use super::find::tag;
use super::party::{Dialogue, PORTS_MAX, PortSet, SetId};
use super::place::{self, Bound};
use super::watch::Watching;
use super::{Call, Media, What};
use crate::book::Ended;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::options::Tos;
use crate::request::Request;
use crate::tools::{Asked, Tools};
use crate::value::{Dict, Value};
use base::Now;
use command::{BridgeReport, Command, OpenedPort, Party, PortWant};
use sdp::Side;

/// A request that waits for its ports.
#[derive(Debug)]
pub(super) struct Work {
    pub request: Request,
    pub asked: Asked,
    pub plan: Plan,
}

/// What it wants the ports for.
#[derive(Debug)]
pub(super) enum Plan {
    Offer(Offering),
    Watch(Watching),
}

/// What an offer does.
#[derive(Debug)]
pub(super) struct Offering {
    dialogue: u32,
    from: Side,
    /// Made for this offer: it goes if the offer fails.
    is_new: bool,
    /// Whose ports are missing, in the order in which they are asked for.
    missing: Vec<SetId>,
}

impl Call {
    pub(super) fn offer(&mut self, tools: &mut Tools, now: Now, request: Request, mut asked: Asked) {
        let plan = match self.plan(tools, now, &request, &mut asked.warnings) {
            Ok(plan) => plan,
            Err(failure) => return self.fail(tools, now, asked, failure),
        };
        if plan.missing.is_empty() {
            return self.finish_offer(tools, now, &request, asked, &plan);
        }
        let want = |set: &SetId| {
            let set = self.set(*set);
            PortWant { listener: set.listener, address: set.bind }
        };
        let want = plan.missing.iter().map(want).collect();
        tools.media(self.bridge, Command::Open { bridge: self.bridge, want });
        self.media = Media::Opening { has_bridge: self.media == Media::Open };
        self.work = Some(Box::new(Work { request, asked, plan: Plan::Offer(plan) }));
    }

    fn plan(
        &mut self,
        tools: &mut Tools,
        now: Now,
        request: &Request,
        warnings: &mut Vec<String>,
    ) -> Result<Offering, Failure> {
        let from = tag(&request.from_tag).ok_or(Failure::NoFromTag)?;
        if tag(&request.to_tag) == Some(from) {
            return Err(Failure::Dialogue);
        }
        let sdp = request.sdp.as_deref().ok_or(Failure::NoSdp)?;
        let lines = Exchange::lines_wanted(sdp)?;
        let party = self.tagged(from);
        let known = party.and_then(|party| Some((party, self.find_offered(party, request)?)));
        let (dialogue, side, is_new) = match known {
            Some((party, id)) => {
                let side = self.dialogue(id).and_then(|dialogue| dialogue.side(party)).unwrap_or(Side::A);
                (id, side, false)
            }
            None => (self.begin_dialogue(tools, now, party, request, warnings)?, Side::A, true),
        };
        let mut plan = Offering { dialogue, from: side, is_new, missing: Vec::new() };
        match self.find_missing(dialogue, self.lines_wanted(dialogue, side, lines)) {
            Ok(missing) => plan.missing = missing,
            Err(failure) => {
                self.undo(&plan);
                return Err(failure);
            }
        }
        Ok(plan)
    }

    /// How many lines a dialogue has with an offer of so many: lines that its sender cannot see stay.
    fn lines_wanted(&self, dialogue: u32, from: Side, offered: usize) -> usize {
        let known = self.dialogue(dialogue).filter(|dialogue| dialogue.is_answered());
        let said = known.and_then(|known| Some((known, known.exchange.said(from)?)));
        let Some((known, said)) = said else { return offered };
        let seen = Exchange::lines_wanted(said).unwrap_or(0);
        offered.max(known.lines.len() + offered.saturating_sub(seen))
    }

    /// Whose ports are missing so that so many m-lines can pass. Ports of nobody come first.
    fn find_missing(&mut self, dialogue: u32, lines: usize) -> Result<Vec<SetId>, Failure> {
        let Some(dialogue) = self.dialogue(dialogue) else { return Err(Failure::Internal) };
        let mut missing = Vec::new();
        for id in dialogue.sets {
            let Some(set) = self.sets.iter_mut().find(|set| set.id == id) else { continue };
            while set.ports.len() < lines {
                let fits = |spare: &super::Spare| (spare.listener, spare.bind) == (set.listener, set.bind);
                let Some(at) = self.spare.iter().position(fits) else { break };
                set.ports.push(self.spare.swap_remove(at).port);
            }
            missing.extend((set.ports.len()..lines).map(|_| id));
        }
        if self.ports.len() + missing.len() > PORTS_MAX {
            return Err(Failure::NoPorts);
        }
        Ok(missing)
    }

    /// Parties that have not talked with each other yet.
    fn begin_dialogue(
        &mut self,
        tools: &mut Tools,
        now: Now,
        from: Option<Party>,
        request: &Request,
        warnings: &mut Vec<String>,
    ) -> Result<u32, Failure> {
        if !self.has_room() {
            return Err(Failure::Value("Too many parties in one call"));
        }
        let options = &request.options;
        let [near, far] = [&options.interfaces[0], &options.interfaces[1]].map(Option::as_deref);
        let said = request.sdp.as_deref().and_then(place::is_ipv6);
        let near = place::choose(&self.spec, near, said, warnings).ok_or(Failure::NoPorts)?;
        let far =
            place::choose(&self.spec, far, options.is_ipv6.or(said), warnings).ok_or(Failure::NoPorts)?;
        let to_tag = tag(&request.to_tag);
        let to = to_tag.and_then(|tag| self.tagged(tag));
        // The ports of a party are the same for all whom it talks with.
        let (near_set, far_set) = (from.and_then(|id| self.set_of(id)), to.and_then(|id| self.set_of(id)));
        let branch = request.via_branch.as_deref().unwrap_or_default();
        let near_set = near_set.unwrap_or_else(|| self.add_set(&[], near));
        // Forks that share ports cannot talk with each other over them.
        let far_set = far_set.filter(|set| *set != near_set).unwrap_or_else(|| self.add_set(branch, far));
        let from_tag = request.from_tag.as_deref().unwrap_or_default();
        let from = from.unwrap_or_else(|| self.add_party(from_tag, now.wall));
        let to = to.unwrap_or_else(|| self.add_party(to_tag.unwrap_or_default(), now.wall));
        let id = self.new_serial();
        let session_id = tools.rng.u64() >> 1;
        self.dialogues.push(Dialogue {
            id,
            parties: [from, to],
            sets: [near_set, far_set],
            exchange: Exchange::new(self.spec.makeable.clone(), tools.keys.fork(), session_id),
            lines: Vec::new(),
            offerer: Side::A,
            offered_at: now.mono,
            answer: 0,
            is_held: false,
            deleted_at: None,
        });
        Ok(id)
    }

    fn set_of(&self, party: Party) -> Option<SetId> {
        self.dialogues.iter().find_map(|dialogue| Some(dialogue.set(dialogue.side(party)?)))
    }

    fn add_set(&mut self, branch: &[u8], bound: Bound) -> SetId {
        let id = SetId(self.new_serial());
        let Bound { listener, bind, advertised } = bound;
        let ports = Vec::with_capacity(1);
        self.sets.push(PortSet {
            id,
            branch: branch.into(),
            listener,
            bind,
            advertised,
            ports,
            active: None,
        });
        id
    }

    /// Ports are open: what waited for them goes on.
    pub(super) fn on_opened(&mut self, tools: &mut Tools, now: Now, opened: &[OpenedPort]) {
        if !matches!(self.media, Media::Opening { .. }) {
            return;
        }
        self.media = Media::Open;
        for port in opened {
            let index = usize::from(port.port.0);
            if index >= self.ports.len() {
                self.ports.resize(index + 1, port.local);
            }
            self.ports[index] = port.local;
        }
        self.tell(now, What::Opened(opened.len() as u16));
        let work = self.work.take();
        if self.is_over() {
            return self.close(tools);
        }
        let Some(work) = work else { return };
        let Work { request, asked, plan } = *work;
        match plan {
            Plan::Offer(plan) => {
                for (id, port) in plan.missing.iter().zip(opened) {
                    if let Some(set) = self.sets.iter_mut().find(|set| set.id == *id) {
                        set.ports.push(port.port);
                    }
                }
                self.finish_offer(tools, now, &request, asked, &plan);
            }
            Plan::Watch(mut watching) => {
                watching.ports.extend(opened.iter().map(|port| port.port));
                self.finish_watch(tools, now, &request, asked, &watching);
            }
        }
    }

    /// No port could be opened.
    pub(super) fn on_refused(&mut self, tools: &mut Tools, now: Now) {
        let Media::Opening { has_bridge } = self.media else { return };
        self.media = if has_bridge { Media::Open } else { Media::None };
        let work = self.work.take();
        if self.is_over() {
            self.close(tools);
            if self.media == Media::None {
                self.leave(tools, now, &BridgeReport::default());
            }
            return;
        }
        let Some(work) = work else { return };
        let Work { asked, plan, .. } = *work;
        self.undo_any(&plan);
        self.fail(tools, now, asked, Failure::NoPorts);
    }

    /// All ports are there.
    fn finish_offer(
        &mut self,
        tools: &mut Tools,
        now: Now,
        request: &Request,
        asked: Asked,
        plan: &Offering,
    ) {
        match self.exchange_offer(request, plan) {
            Ok(told) => {
                self.after_offer(tools, now, request, plan);
                tools.answer(now, asked, Ok(Dict::new().with("sdp", Value::Text(told))));
            }
            Err(failure) => {
                self.undo(plan);
                self.fail(tools, now, asked, failure);
            }
        }
    }

    fn exchange_offer(&mut self, request: &Request, plan: &Offering) -> Result<Vec<u8>, Failure> {
        let sdp = request.sdp.as_deref().ok_or(Failure::NoSdp)?;
        let far = self.dialogue(plan.dialogue).ok_or(Failure::Internal)?.set(plan.from.other());
        let places = self.places(far, request.options.media_address);
        let dialogue = self.dialogue_mut(plan.dialogue).ok_or(Failure::Internal)?;
        dialogue.exchange.offer(plan.from, sdp, &request.options, &places)
    }

    /// The offer was taken: what it says beside its SDP holds from now on.
    fn after_offer(&mut self, tools: &mut Tools, now: Now, request: &Request, plan: &Offering) {
        let Some(dialogue) = self.dialogues.iter_mut().find(|dialogue| dialogue.id == plan.dialogue) else {
            return;
        };
        let is_revived = dialogue.deleted_at.take().is_some();
        self.deleted_at = None;
        dialogue.offerer = plan.from;
        dialogue.offered_at = now.mono;
        let [from, to] = [dialogue.party(plan.from), dialogue.party(plan.from.other())];
        let is_answered = dialogue.is_answered();
        if is_revived {
            self.tell(now, What::Revived);
        }
        if self.is_unnamed(to)
            && let Some(to_tag) = tag(&request.to_tag)
            && self.tagged(to_tag).is_none()
            && let Some(party) = self.party_mut(to)
        {
            party.tag = to_tag.into();
        }
        if request.options.tos == Tos::Listener {
            self.dscp = None;
        }
        self.take_options(tools, from, &request.options);
        self.tell(now, What::Offered(from.0));
        // What was agreed before goes on until the answer; but who may send what may have changed.
        if is_answered {
            self.set_media(tools);
            self.settle_controls(tools, now);
        }
    }

    /// What a request says of its sender and of the call. An answer that is silent about `TOS` leaves the offer's.
    pub(super) fn take_options(&mut self, tools: &mut Tools, from: Party, options: &crate::options::Options) {
        if let Tos::Octet(octet) = options.tos {
            self.dscp = Some(octet >> 2);
        }
        if let Some(party) = self.party_mut(from) {
            party.source.take(options);
            if let Some(label) = options.selector.set_label.as_deref().or(options.selector.label.as_deref()) {
                party.label = Some(label.into());
            }
        }
        self.controls_take_options(tools, from, options);
    }

    fn undo_any(&mut self, plan: &Plan) {
        match plan {
            Plan::Offer(plan) => self.undo(plan),
            Plan::Watch(watching) => self.give_back(watching),
        }
    }

    /// Takes back what was made for an offer that failed.
    fn undo(&mut self, plan: &Offering) {
        if plan.is_new {
            self.remove_dialogues(false, |dialogue| dialogue.id == plan.dialogue);
        }
    }

    /// A failure; a call in which nothing has come about yet ends with it.
    pub(super) fn fail(&mut self, tools: &mut Tools, now: Now, asked: Asked, failure: Failure) {
        self.tell(now, What::Failed(failure));
        tools.answer(now, asked, failure);
        if self.dialogues.is_empty() && self.subscriptions.is_empty() {
            self.end(tools, now, Ended::Refused);
        }
    }

    /// The request that waits for ports is told that there will be none.
    pub(super) fn give_up_work(&mut self, tools: &mut Tools, now: Now, failure: Failure) {
        if let Some(work) = self.work.take() {
            let Work { asked, plan, .. } = *work;
            self.undo_any(&plan);
            tools.answer(now, asked, failure);
        }
    }
}
