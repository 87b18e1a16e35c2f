//! The call in the words of [`crate::facts`], for controls, trees and events.

use super::Call;
use super::party::{Dialogue, Participant};
use crate::facts::{CallFacts, LineFacts, PartyFacts, Role};
use command::Party;
use sdp::{Kind, Sdp, Side};

impl Call {
    /// The call as it stands.
    pub(super) fn facts(&self) -> CallFacts {
        CallFacts {
            call_id: self.name.to_vec(),
            created: self.created.wall,
            last_signal: self.last_signal,
            parties: {
                let watching = self.subscriptions.parties();
                self.parties.iter().map(|party| self.party_facts(party)).chain(watching).collect()
            },
        }
    }

    fn party_facts(&self, party: &Participant) -> PartyFacts {
        let mut lines: Vec<LineFacts> = Vec::with_capacity(2);
        let (mut peers, mut branch) = (Vec::with_capacity(1), Vec::new());
        let mut said = None;
        // Of several forks on the same ports, the one that is heard tells what this party is like.
        let mine = || self.dialogues.iter().filter_map(|d| Some((d, d.side(party.id)?)));
        let (active, rest): (Vec<_>, Vec<_>) = mine().partition(|(dialogue, _)| self.is_active(dialogue));
        for (dialogue, side) in active.into_iter().chain(rest) {
            let set = self.set(dialogue.set(side));
            let peer = dialogue.party(side.other());
            if !peers.contains(&peer) {
                peers.push(peer);
            }
            if branch.is_empty() {
                branch = set.branch.to_vec();
            }
            if set.ports.first().is_some_and(|port| lines.iter().any(|line| line.port == *port)) {
                continue;
            }
            self.line_facts(dialogue, side, &mut lines);
            let first = || dialogue.lines.iter().find_map(|line| line.sides[side as usize].rtp);
            said = said.or_else(first);
        }
        PartyFacts {
            party: party.id,
            tag: party.tag.to_vec(),
            via_branch: branch,
            label: party.label.as_deref().map(<[u8]>::to_vec),
            created: party.created,
            role: Role::Talks,
            peers,
            sources: Vec::new(),
            address: party.source.signalling.or(said.map(|rtp| rtp.ip())),
            lines,
        }
    }

    fn line_facts(&self, dialogue: &Dialogue, side: Side, lines: &mut Vec<LineFacts>) {
        let set = self.set(dialogue.set(side));
        let sdp = dialogue.exchange.said(side).or_else(|| dialogue.exchange.said(side.other()));
        let sdp = sdp.and_then(|sdp| Sdp::parse(sdp).ok());
        for (line, port) in set.ports.iter().enumerate() {
            let media = sdp.as_ref().and_then(|sdp| sdp.media().get(line));
            let state = dialogue.lines.get(line);
            lines.push(LineFacts {
                line,
                kind: state
                    .map(|state| state.kind)
                    .or(media.map(|media| media.kind()))
                    .unwrap_or(Kind::Audio),
                protocol: media.map(|media| media.proto_text().to_vec()).unwrap_or_default(),
                port: *port,
                local: self.ports[usize::from(port.0)],
                advertised: set.advertised,
                is_refused: state.is_none_or(|state| state.is_refused),
                state: state.map(|state| state.sides[side as usize].clone()),
            });
        }
    }

    /// The tag of a party, for people.
    pub(super) fn tag_text(&self, party: Party) -> String {
        let tag = self.party(party).map(|party| String::from_utf8_lossy(&party.tag).into_owned());
        tag.unwrap_or_default()
    }
}
