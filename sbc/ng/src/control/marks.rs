//! What is blocked, silenced, echoed and connected, and what becomes of a spec by it.

use super::select::{self, Selected};
use crate::facts::{CallFacts, LineFacts, PartyFacts};
use crate::failure::Failure;
use crate::options::{DtmfSecurity, Echo, Options};
use crate::passage;
use crate::request::{Command, Request};
use crate::value::{Dict, Value};
use base::Rng;
use command::spec::{Audience, Rewrite};
use command::{BridgeSpec, EdgeSpec, MediaClass, Party, PortIndex, Transform};
use sdp::Makeable;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Connections of one call at most; a request for more is refused.
const CONNECTIONS_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Marks {
    digits: Digits,
    blocked: Marked,
    silenced: Marked,
    /// Whose digits are told of (`detect-DTMF`).
    told: BTreeSet<Party>,
    /// By the sender of the message that asked for it.
    echoes: BTreeMap<Party, Echo>,
    connections: Vec<Connection>,
    /// The names of streams that go back begin here.
    names: u32,
    /// What can be decoded and made.
    makeable: Arc<[Makeable]>,
}

/// Digits that reach nobody. What is not said here stays as the parties' options have it.
#[derive(Debug, Default)]
struct Digits {
    whole: Option<bool>,
    parties: BTreeMap<Party, bool>,
}

/// What is blocked or silenced.
#[derive(Debug, Default)]
struct Marked {
    whole: bool,
    parties: BTreeSet<Party>,
    flows: BTreeSet<(Party, Party)>,
}

/// Media of one party goes to another, without an offer and answer between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Connection {
    from: Party,
    to: Party,
    /// Both give up whom they talked with before.
    is_transfer: bool,
}

impl Marks {
    pub fn new(mut rng: Rng, makeable: Arc<[Makeable]>) -> Self {
        let names = rng.u32();
        Marks {
            digits: Digits::default(),
            blocked: Marked::default(),
            silenced: Marked::default(),
            told: BTreeSet::new(),
            echoes: BTreeMap::new(),
            connections: Vec::new(),
            names,
            makeable,
        }
    }

    /// The reply, and whether the spec is another one now.
    pub fn handle(&mut self, request: &Request, facts: &CallFacts) -> Result<(Dict, bool), Failure> {
        let mut reply = Dict::new();
        match request.command {
            Command::BlockDtmf | Command::UnblockDtmf => {
                let selected = select::blocked(request, facts, false)?;
                let security = request.options.media.dtmf_security;
                let on = request.command == Command::BlockDtmf && security != Some(DtmfSecurity::Off);
                self.digits.mark(&selected, on);
                let told = request.options.media.detect_dtmf;
                let named = facts.parties.iter().filter(|party| selected.means(party.party));
                named.for_each(|party| self.tell(party.party, told));
                if let Some(warning) = security.filter(|_| on).and_then(replacement_warning) {
                    reply.put("warning", Value::text(warning));
                }
            }
            Command::BlockMedia | Command::UnblockMedia => {
                let selected = select::blocked(request, facts, true)?;
                self.blocked.mark(&selected, request.command == Command::BlockMedia);
            }
            Command::SilenceMedia | Command::UnsilenceMedia => {
                let selected = select::blocked(request, facts, true)?;
                self.silenced.mark(&selected, request.command == Command::SilenceMedia);
            }
            _ => return Err(Failure::UnsupportedCommand),
        }
        Ok((reply, true))
    }

    fn tell(&mut self, party: Party, on: bool) {
        if on {
            self.told.insert(party);
        } else {
            self.told.remove(&party);
        }
    }

    pub fn take_options(&mut self, from: Party, options: &Options) {
        if options.media.block_dtmf {
            let on = options.media.dtmf_security != Some(DtmfSecurity::Off);
            self.digits.mark(&Selected::Party(from), on);
        }
        if options.media.detect_dtmf {
            self.tell(from, true);
        }
        if let Some(echo) = options.media.echo {
            self.echoes.insert(from, echo);
        }
    }

    /// What was there before.
    pub fn connect(&mut self, request: &Request, facts: &CallFacts) -> Result<Vec<Connection>, Failure> {
        let selector = &request.options.selector;
        if selector.to_call_id.as_ref().is_some_and(|other| *other != facts.call_id) {
            return Err(Failure::Media("Parties of different calls cannot be connected"));
        }
        let to = request.to_tag.as_deref().ok_or(Failure::NoToTag)?;
        let to = facts.tagged(to).ok_or(Failure::Media("To-tag not found"))?;
        let sources = select::sources(request, facts)?;
        if sources.iter().any(|from| from.party == to.party) {
            return Err(Failure::Media("Trying to connect to self"));
        }
        let is_transfer = !selector.directional;
        let mut wanted = Vec::new();
        for from in sources {
            wanted.push(Connection { from: from.party, to: to.party, is_transfer });
            if is_transfer || selector.bidirectional {
                wanted.push(Connection { from: to.party, to: from.party, is_transfer });
            }
        }
        let same = |one: &Connection, two: &Connection| (one.from, one.to) == (two.from, two.to);
        let kept = |old: &&Connection| {
            let is_given_up = is_transfer
                && wanted.iter().any(|new| [old.from, old.to].contains(&new.from) && old.is_transfer);
            !is_given_up && !wanted.iter().any(|new| same(new, old))
        };
        let mut kept: Vec<Connection> = self.connections.iter().filter(kept).copied().collect();
        if kept.len() + wanted.len() > CONNECTIONS_MAX {
            return Err(Failure::Media("Too many parties are connected"));
        }
        kept.append(&mut wanted);
        Ok(core::mem::replace(&mut self.connections, kept))
    }

    pub fn restore(&mut self, connections: Vec<Connection>) {
        self.connections = connections;
    }

    #[cfg(test)]
    pub fn blocks(&self, from: Party, to: Party) -> bool {
        self.blocked.means(from, to)
    }

    /// Two parties have agreed anew by offer and answer: what connected one of them to somebody else is over.
    pub fn agreed(&mut self, one: Party, two: Party) {
        let touches = |c: &Connection| [one, two].iter().any(|party| [c.from, c.to].contains(party));
        self.connections.retain(|c| !(c.is_transfer && touches(c)));
    }

    pub fn forget(&mut self, party: Party) {
        self.digits.parties.remove(&party);
        for marked in [&mut self.blocked, &mut self.silenced] {
            marked.parties.remove(&party);
            marked.flows.retain(|(from, to)| *from != party && *to != party);
        }
        self.told.remove(&party);
        self.echoes.remove(&party);
        self.connections.retain(|c| c.from != party && c.to != party);
    }

    pub fn apply(&self, facts: &CallFacts, tells_digits: bool, spec: &mut BridgeSpec) {
        self.lay_connections(facts, spec);
        for edge in &mut spec.edges {
            let (Some(from), Some(to)) = (facts.owner(edge.from), facts.owner(edge.to)) else { continue };
            if self.blocked.means(from.party, to.party) {
                edge.transform = Transform::Drop;
            } else if self.silenced.means(from.party, to.party) && edge.transform != Transform::Drop {
                edge.transform = Transform::Silence;
            }
        }
        self.lay_echoes(facts, spec);
        for port in &mut spec.ports {
            let Some(owner) = facts.owner(port.port) else { continue };
            if let Some(block) = self.digits.of(owner.party) {
                port.voice.digits.block = block;
            }
            port.voice.digits.report |= tells_digits || self.told.contains(&owner.party);
        }
    }

    fn lay_connections(&self, facts: &CallFacts, spec: &mut BridgeSpec) {
        for connection in &self.connections {
            let (Some(from), Some(to)) = (facts.party(connection.from), facts.party(connection.to)) else {
                continue;
            };
            if connection.is_transfer {
                let is_between = |edge: &EdgeSpec| {
                    facts.owner(edge.from).is_some_and(|owner| owner.party == from.party)
                        && facts.owner(edge.to).is_some_and(|owner| owner.party == to.party)
                };
                let gives_up = |edge: &EdgeSpec| {
                    let touches =
                        |party: &PartyFacts| party.ports().any(|port| [edge.from, edge.to].contains(&port));
                    (touches(from) || touches(to)) && self.is_agreed(facts, edge)
                };
                spec.edges.retain(|edge| !gives_up(edge) && !is_between(edge));
            }
            for (one, two) in passage::pairs(from, to) {
                if spec.edges.iter().any(|edge| (edge.from, edge.to) == (one.port, two.port)) {
                    continue;
                }
                let named = |line: &LineFacts| spec.ports.iter().any(|port| port.port == line.port);
                let transform = passage::between(one, two, &self.makeable);
                if let Some(transform) = transform.filter(|_| named(one) && named(two)) {
                    spec.edges.push(EdgeSpec {
                        from: one.port,
                        to: two.port,
                        transform,
                        gain_centibel: 0,
                        audience: Audience::All,
                    });
                }
            }
        }
    }

    /// Whether an edge is there by offer and answer, rather than by a connection that was laid before.
    fn is_agreed(&self, facts: &CallFacts, edge: &EdgeSpec) -> bool {
        let (Some(from), Some(to)) = (facts.owner(edge.from), facts.owner(edge.to)) else { return false };
        from.peers.contains(&to.party)
            && !self.connections.iter().any(|c| (c.from, c.to) == (from.party, to.party))
    }

    fn lay_echoes(&self, facts: &CallFacts, spec: &mut BridgeSpec) {
        for (sender, echo) in &self.echoes {
            let Some(sender) = facts.party(*sender) else { continue };
            let receivers: Vec<&PartyFacts> =
                sender.peers.iter().filter_map(|peer| facts.party(*peer)).collect();
            let (back, there) = match echo {
                Echo::Blackhole => (false, false),
                Echo::Forward => (false, true),
                Echo::Backwards => (true, false),
                Echo::Both => (true, true),
            };
            let is_one = |port: PortIndex, party: &PartyFacts| party.ports().any(|own| own == port);
            for edge in &mut spec.edges {
                let across = receivers.iter().any(|receiver| {
                    is_one(edge.from, sender) && is_one(edge.to, receiver)
                        || is_one(edge.from, receiver) && is_one(edge.to, sender)
                });
                if across {
                    edge.transform = Transform::Drop;
                }
            }
            let echoing = back.then_some(sender).into_iter().chain(receivers.into_iter().filter(|_| there));
            for party in echoing {
                self.lay_echo(party, spec);
            }
        }
    }

    /// What a party says goes back to it, as a stream of another name.
    fn lay_echo(&self, party: &PartyFacts, spec: &mut BridgeSpec) {
        if self.blocked.means(party.party, party.party) {
            return;
        }
        let is_silent = self.silenced.means(party.party, party.party);
        for line in party.lines.iter().filter(|line| !line.is_refused) {
            let Some(port) = spec.ports.iter().find(|port| port.port == line.port) else { continue };
            // What is no RTP has no name; what others have encrypted cannot be given one.
            let has_name = port.class == MediaClass::Rtp && !port.remotes.iter().any(|remote| remote.sealed);
            if spec.edges.iter().any(|edge| edge.from == line.port && edge.to == line.port) {
                continue;
            }
            let rewrite = Rewrite { ssrc: self.name_of(line.port), ..Rewrite::default() };
            let transform = match is_silent {
                true => Transform::Silence,
                false => Transform::Relay { payload_map: Vec::new(), rewrite: has_name.then_some(rewrite) },
            };
            // What nobody gets is not worth an edge of its own.
            spec.edges.retain(|edge| edge.from != line.port || edge.transform != Transform::Drop);
            spec.edges.push(EdgeSpec {
                from: line.port,
                to: line.port,
                transform,
                gain_centibel: 0,
                audience: Audience::All,
            });
        }
    }

    /// The SSRC of what goes back through a port; the same for every spec of the call.
    fn name_of(&self, port: PortIndex) -> u32 {
        self.names.wrapping_add(u32::from(port.0).wrapping_mul(0x9e37_79b9)) | 1
    }
}

impl Selected {
    fn means(&self, party: Party) -> bool {
        match self {
            Selected::Whole { .. } => true,
            Selected::Party(one) => *one == party,
            Selected::Flows(flows) => flows.iter().any(|(from, _)| *from == party),
        }
    }
}

impl Digits {
    fn mark(&mut self, selected: &Selected, on: bool) {
        match selected {
            Selected::Whole { all } => {
                self.whole = Some(on);
                if *all && !on {
                    self.parties.clear();
                }
            }
            Selected::Party(party) => _ = self.parties.insert(*party, on),
            Selected::Flows(flows) => {
                flows.iter().for_each(|(from, _)| _ = self.parties.insert(*from, on));
            }
        }
    }

    /// Whether digits of this party are blocked; `None` if nobody said so.
    fn of(&self, party: Party) -> Option<bool> {
        let said = [self.whole, self.parties.get(&party).copied()];
        if said.contains(&Some(true)) { Some(true) } else { said.into_iter().flatten().next() }
    }
}

impl Marked {
    fn mark(&mut self, selected: &Selected, on: bool) {
        match selected {
            Selected::Whole { all } => {
                self.whole = on;
                if *all && !on {
                    self.parties.clear();
                    self.flows.clear();
                }
            }
            Selected::Party(party) if on => _ = self.parties.insert(*party),
            Selected::Party(party) => _ = self.parties.remove(party),
            Selected::Flows(flows) if on => self.flows.extend(flows),
            Selected::Flows(flows) => self.flows.retain(|flow| !flows.contains(flow)),
        }
    }

    fn means(&self, from: Party, to: Party) -> bool {
        self.whole || self.parties.contains(&from) || self.flows.contains(&(from, to))
    }
}

/// What blocked digits do not become here.
fn replacement_warning(security: DtmfSecurity) -> Option<&'static str> {
    match security {
        DtmfSecurity::Off | DtmfSecurity::Drop => None,
        DtmfSecurity::Silence => Some("DTMF-security=silence: digits are dropped instead"),
        DtmfSecurity::Tone => Some("DTMF-security=tone: digits are dropped instead"),
        DtmfSecurity::Random => Some("DTMF-security=random: digits are dropped instead"),
        DtmfSecurity::Zero => Some("DTMF-security=zero: digits are dropped instead"),
        DtmfSecurity::Dtmf => Some("DTMF-security=DTMF: digits are dropped instead"),
    }
}
