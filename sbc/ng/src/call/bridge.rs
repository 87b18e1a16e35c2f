//! From what the parties of a call have agreed to the spec that media wants. Holds no state.

use super::Call;
use super::party::{Dialogue, PortSet};
use crate::failure::Failure;
use command::spec::{Audience, SINKS_MAX};
use command::{
    BridgeSpec, EdgeSpec, MediaClass, Phase, PortIndex, PortSpec, Remote, RemoteTag, Transform, Voice,
};
use sdp::Side;
use std::collections::BTreeMap;

/// Why a party is refused that would be one too many to hear a port; see [`Call::excess`].
pub(super) const CROWDED: Failure = Failure::Media("Too many hear the same media");

impl Call {
    /// The whole wanted state of its bridge.
    pub(super) fn bridge_spec(&self) -> BridgeSpec {
        let mut spec = self.whole_spec();
        // Media would refuse all of it. What was agreed comes first, and stays.
        take_excess(&mut spec);
        spec
    }

    /// How many edges cannot be served, as their ports feed too many others already.
    pub(super) fn excess(&self) -> usize {
        take_excess(&mut self.whole_spec())
    }

    fn whole_spec(&self) -> BridgeSpec {
        let mut spec = self.agreed_spec();
        if !self.subscriptions.is_empty() {
            self.subscriptions.apply(self.spec.source, self.dscp, &mut spec);
            spec.ports.sort_unstable_by_key(|port| port.port);
        }
        if let Some(controls) = &self.controls {
            controls.apply(&self.facts(), self.tells_digits(), &mut spec);
        } else if self.tells_digits() {
            spec.ports.iter_mut().for_each(|port| port.voice.digits.report = true);
        }
        spec
    }

    /// Whether somebody hears of digits.
    pub(super) fn tells_digits(&self) -> bool {
        !self.spec.events_to.is_empty()
    }

    fn agreed_spec(&self) -> BridgeSpec {
        let mut ports = Vec::with_capacity(self.ports.len());
        for set in &self.sets {
            let Some(active) = set.active.and_then(|id| self.dialogue(id)) else { continue };
            for (line, port) in set.ports.iter().enumerate() {
                ports.extend(self.port(set, active, line, *port));
            }
        }
        let mut edges = Vec::with_capacity(ports.len());
        let (mut is_any, mut is_all_held) = (false, true);
        for dialogue in self.dialogues.iter().filter(|dialogue| self.is_active(dialogue)) {
            is_any = true;
            is_all_held &= dialogue.is_held;
            let [near, far] = dialogue.sets.map(|set| &self.set(set).ports);
            for (line, (near, far)) in dialogue.lines.iter().zip(near.iter().zip(far)) {
                if line.is_refused {
                    continue;
                }
                edges.push(edge(*near, *far, &line.transforms[0]));
                edges.push(edge(*far, *near, &line.transforms[1]));
            }
        }
        ports.sort_unstable_by_key(|port| port.port);
        edges.sort_unstable_by_key(|edge| (edge.from, edge.to));
        let phase = match (is_any, is_all_held) {
            (false, _) => Phase::Early,
            (true, false) => Phase::Active,
            (true, true) => Phase::Held,
        };
        BridgeSpec { phase, timeouts: self.spec.timeouts, ports, edges, room: None }
    }

    /// Whether its two sides hear each other: whoever answered last on both ends.
    pub(super) fn is_active(&self, dialogue: &Dialogue) -> bool {
        dialogue.is_answered() && dialogue.sets.iter().all(|set| self.set(*set).active == Some(dialogue.id))
    }

    /// One port; `None` where nothing passes.
    fn port(&self, set: &PortSet, active: &Dialogue, line: usize, port: PortIndex) -> Option<PortSpec> {
        let side = side_of(active, set);
        let state = active.lines.get(line).filter(|line| !line.is_refused)?;
        let said = &state.sides[side as usize];
        let source = self.party(active.party(side))?.source;
        let listener = self.spec.listeners.get(usize::from(set.listener));
        Some(PortSpec {
            port,
            party: active.party(side),
            class: state.class,
            remotes: self.remotes(set, active, line),
            active: Some(tag_of(active, side)),
            mux: said.mux,
            learn: source.learn(said),
            signalling_source: source.signalling_rank(said),
            accept: source.accept(self.spec.source),
            send_to: source.send_to(),
            payloads: if state.class == MediaClass::Rtp { said.payloads.clone() } else { Vec::new() },
            dscp: self.dscp.unwrap_or_else(|| listener.map_or(0, |listener| listener.dscp)),
            secure: said.secure.clone(),
            ice: None,
            voice: Voice { digits: said.digits, ..Voice::default() },
        })
    }

    /// All who have answered on these ports, each once.
    fn remotes(&self, set: &PortSet, active: &Dialogue, line: usize) -> Vec<Remote> {
        let mut remotes: Vec<Remote> = Vec::with_capacity(1);
        let others =
            self.dialogues.iter().filter(|other| other.id != active.id && other.sets.contains(&set.id));
        for dialogue in core::iter::once(active).chain(others) {
            let side = side_of(dialogue, set);
            let tag = tag_of(dialogue, side);
            let Some(state) = dialogue.lines.get(line).filter(|line| !line.is_refused) else { continue };
            if remotes.iter().any(|remote| remote.tag == tag) {
                continue;
            }
            let source = self.party(dialogue.party(side)).map(|party| party.source).unwrap_or_default();
            let said = &state.sides[side as usize];
            remotes.push(Remote {
                tag,
                rtp: source.expected(said.rtp),
                rtcp: source.expected(said.rtcp),
                sends: said.sends,
                receives: said.receives,
                keys: said.keys.clone(),
                sealed: said.is_sealed,
            });
        }
        remotes
    }
}

/// Which side of a dialogue a set of ports faces.
fn side_of(dialogue: &Dialogue, set: &PortSet) -> Side {
    if dialogue.sets[0] == set.id { Side::A } else { Side::B }
}

/// A party is one remote, whomever it talks with.
fn tag_of(dialogue: &Dialogue, side: Side) -> RemoteTag {
    RemoteTag(u32::from(dialogue.party(side).0))
}

/// Takes the last edges of ports that feed too many; how many they were.
fn take_excess(spec: &mut BridgeSpec) -> usize {
    let all = spec.edges.len();
    if all > SINKS_MAX {
        let mut fed: BTreeMap<PortIndex, usize> = BTreeMap::new();
        spec.edges.retain(|edge| {
            let sinks = fed.entry(edge.from).or_default();
            *sinks += 1;
            *sinks <= SINKS_MAX
        });
    }
    all - spec.edges.len()
}

fn edge(from: PortIndex, to: PortIndex, transform: &Transform) -> EdgeSpec {
    EdgeSpec { from, to, transform: transform.clone(), gain_centibel: 0, audience: Audience::All }
}
