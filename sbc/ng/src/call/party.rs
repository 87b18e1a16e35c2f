//! Who takes part in a call: tags, the ports that face them, and who talks with whom. Nothing here decides.

use super::{Call, Spare};
use crate::exchange::{Exchange, LineState};
use crate::source::MediaSource;
use base::{Instant, Wall};
use command::{Party, PortIndex};
use core::net::IpAddr;
use sdp::Side;

/// One tag, or the side of an offer that nobody has answered yet.
#[derive(Debug)]
pub(super) struct Participant {
    /// Its name in the bridge and among remotes.
    pub id: Party,
    /// Empty until it has answered.
    pub tag: Box<[u8]>,
    pub label: Option<Box<[u8]>>,
    pub created: Wall,
    pub source: MediaSource,
}

/// Ports of ours that face one party, or all forks that were offered the same SDP: one for each m-line.
#[derive(Debug)]
pub(super) struct PortSet {
    pub id: SetId,
    /// `via-branch` of the offer, empty without one.
    pub branch: Box<[u8]>,
    pub listener: u16,
    /// Where they are bound.
    pub bind: IpAddr,
    /// What SDPs say.
    pub advertised: IpAddr,
    pub ports: Vec<PortIndex>,
    /// Who is heard there: the dialogue that was answered last.
    pub active: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SetId(pub u32);

/// Two parties and what they agree.
#[derive(Debug)]
pub(super) struct Dialogue {
    pub id: u32,
    pub parties: [Party; 2],
    pub sets: [SetId; 2],
    pub exchange: Exchange,
    /// What media has to do since the last answer; empty before the first. An offer changes nothing.
    pub lines: Vec<LineState>,
    /// Who made the last offer.
    pub offerer: Side,
    pub offered_at: Instant,
    /// Which of the call's answers was its last one; 0 before it.
    pub answer: u32,
    pub is_held: bool,
    pub deleted_at: Option<Instant>,
}

/// Parties of one call, also of one that goes on for days.
pub(super) const PARTIES_MAX: usize = 32;
/// Ports of one call, also those of parties that have gone.
pub(super) const PORTS_MAX: usize = 256;

impl Dialogue {
    pub fn is_answered(&self) -> bool {
        !self.lines.is_empty()
    }

    /// The side of a party.
    pub fn side(&self, party: Party) -> Option<Side> {
        match () {
            () if self.parties[0] == party => Some(Side::A),
            () if self.parties[1] == party => Some(Side::B),
            () => None,
        }
    }

    pub fn joins(&self, one: Party, two: Party) -> bool {
        self.parties == [one, two] || self.parties == [two, one]
    }

    pub fn party(&self, side: Side) -> Party {
        self.parties[side as usize]
    }

    pub fn set(&self, side: Side) -> SetId {
        self.sets[side as usize]
    }

    pub fn answerer(&self) -> Party {
        self.party(self.offerer.other())
    }
}

impl Call {
    pub(super) fn party(&self, id: Party) -> Option<&Participant> {
        self.parties.iter().find(|party| party.id == id)
    }

    pub(super) fn party_mut(&mut self, id: Party) -> Option<&mut Participant> {
        self.parties.iter_mut().find(|party| party.id == id)
    }

    pub(super) fn tagged(&self, tag: &[u8]) -> Option<Party> {
        self.parties.iter().find(|party| !tag.is_empty() && *party.tag == *tag).map(|party| party.id)
    }

    /// Whether it has not answered yet, so that it has no tag.
    pub(super) fn is_unnamed(&self, id: Party) -> bool {
        self.party(id).is_some_and(|party| party.tag.is_empty())
    }

    pub(super) fn set(&self, id: SetId) -> &PortSet {
        self.sets.iter().find(|set| set.id == id).expect("dialogues name sets of their call")
    }

    pub(super) fn set_mut(&mut self, id: SetId) -> &mut PortSet {
        self.sets.iter_mut().find(|set| set.id == id).expect("dialogues name sets of their call")
    }

    pub(super) fn dialogue(&self, id: u32) -> Option<&Dialogue> {
        self.dialogues.iter().find(|dialogue| dialogue.id == id)
    }

    pub(super) fn dialogue_mut(&mut self, id: u32) -> Option<&mut Dialogue> {
        self.dialogues.iter_mut().find(|dialogue| dialogue.id == id)
    }

    /// Whether there is room for another party.
    pub(super) fn has_room(&self) -> bool {
        self.parties.len() < PARTIES_MAX && self.parties_made < u16::MAX
    }

    pub(super) fn add_party(&mut self, tag: &[u8], created: Wall) -> Party {
        // The caller is 0, as in the bridges of the B2BUA.
        let id = Party(self.parties_made);
        self.parties_made += 1;
        let source = MediaSource::default();
        self.parties.push(Participant { id, tag: tag.into(), label: None, created, source });
        id
    }

    /// Takes dialogues away, and whatever only they needed. Ports whose number nobody was told can serve again.
    pub(super) fn remove_dialogues(
        &mut self,
        is_known: bool,
        is_meant: impl Fn(&Dialogue) -> bool,
    ) -> Vec<Party> {
        self.dialogues.retain(|dialogue| !is_meant(dialogue));
        let dialogues = &self.dialogues;
        let spare = &mut self.spare;
        self.sets.retain(|set| {
            let is_used = dialogues.iter().any(|dialogue| dialogue.sets.contains(&set.id));
            if !is_used && !is_known {
                let (listener, bind) = (set.listener, set.bind);
                spare.extend(set.ports.iter().map(|&port| Spare { listener, bind, port }));
            }
            is_used
        });
        for set in &mut self.sets {
            // Of those that are left, whoever answered last is heard.
            if !set.active.is_some_and(|active| dialogues.iter().any(|dialogue| dialogue.id == active)) {
                let of_set = dialogues.iter().filter(|d| d.is_answered() && d.sets.contains(&set.id));
                set.active = of_set.max_by_key(|dialogue| dialogue.answer).map(|dialogue| dialogue.id);
            }
        }
        let mut left = Vec::new();
        self.parties.retain(|party| {
            let stays = dialogues.iter().any(|dialogue| dialogue.parties.contains(&party.id));
            if !stays {
                left.push(party.id);
            }
            stays
        });
        left
    }
}
