//! What controls, trees and subscriptions have to know of a call: its parties, their lines and ports, and which of them
//! talk with each other. Plain data, made by whoever holds the call.

use crate::exchange::SideState;
use base::Wall;
use command::{Party, PortIndex};
use core::net::{IpAddr, SocketAddr};
use sdp::Kind;

/// One call.
#[derive(Clone, Debug, PartialEq)]
pub struct CallFacts {
    /// `call-id`, as in the requests.
    pub call_id: Vec<u8>,
    /// Since when.
    pub created: Wall,
    /// When the last request of signalling about it came.
    pub last_signal: Wall,
    /// In the order in which they came.
    pub parties: Vec<PartyFacts>,
}

/// One party: a tag, or a side that has not answered yet and has none.
#[derive(Clone, Debug, PartialEq)]
pub struct PartyFacts {
    /// Its name in the bridge; no two parties of a call share one.
    pub party: Party,
    /// Its tag; empty until it has answered.
    pub tag: Vec<u8>,
    /// `via-branch` of its fork, empty without one.
    pub via_branch: Vec<u8>,
    /// `label` or `set-label`.
    pub label: Option<Vec<u8>>,
    /// Since when.
    pub created: Wall,
    /// What it is there for.
    pub role: Role,
    /// Whom it talks with by offer and answer: for an offerer all of its forks.
    pub peers: Vec<Party>,
    /// Whom it hears by subscription (`subscribe request`).
    pub sources: Vec<Party>,
    /// Where the SIP message came from (`received-from`), or what its SDP said, for `address` and for events.
    pub address: Option<IpAddr>,
    /// By m-line; one that has several ports, of branches, comes several times.
    pub lines: Vec<LineFacts>,
}

/// What a party is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Role {
    /// It offers and answers.
    #[default]
    Talks,
    /// It only sends (`publish`).
    Publishes,
    /// It only hears (`subscribe request`).
    Subscribes,
}

/// One m-line of a party, and the port of ours that its peer of the wire sends to.
#[derive(Clone, Debug, PartialEq)]
pub struct LineFacts {
    /// Which m-line, counted from 0.
    pub line: usize,
    /// Its kind.
    pub kind: Kind,
    /// As in the party's SDP: `RTP/AVP` …
    pub protocol: Vec<u8>,
    /// The port of ours that faces the party.
    pub port: PortIndex,
    /// Where that port is bound.
    pub local: SocketAddr,
    /// The address that the party was told.
    pub advertised: IpAddr,
    /// Refused, or left out: nothing passes.
    pub is_refused: bool,
    /// What its SDP said; `None` until it has said something.
    pub state: Option<SideState>,
}

impl CallFacts {
    /// The party of this tag.
    pub fn tagged(&self, tag: &[u8]) -> Option<&PartyFacts> {
        self.parties.iter().find(|party| !tag.is_empty() && party.tag == tag)
    }

    /// The party of this label.
    pub fn labelled(&self, label: &[u8]) -> Option<&PartyFacts> {
        self.parties.iter().find(|party| party.label.as_deref() == Some(label))
    }

    /// The party whose SDP names this address, or whose address it is otherwise.
    pub fn at_address(&self, address: IpAddr) -> Option<&PartyFacts> {
        let said = |line: &LineFacts| line.state.as_ref()?.rtp.map(|rtp| rtp.ip());
        let names = |party: &&PartyFacts| party.lines.iter().any(|line| said(line) == Some(address));
        let known = |party: &&PartyFacts| party.address == Some(address);
        self.parties.iter().find(names).or_else(|| self.parties.iter().find(known))
    }

    /// The party of this name.
    pub fn party(&self, party: Party) -> Option<&PartyFacts> {
        self.parties.iter().find(|facts| facts.party == party)
    }

    /// Whose port it is.
    pub fn owner(&self, port: PortIndex) -> Option<&PartyFacts> {
        self.parties.iter().find(|party| party.ports().any(|own| own == port))
    }
}

impl PartyFacts {
    /// All of its ports.
    pub fn ports(&self) -> impl Iterator<Item = PortIndex> {
        self.lines.iter().map(|line| line.port)
    }

    /// The ports that speech goes through, where something passes.
    pub fn speech_ports(&self) -> impl Iterator<Item = PortIndex> {
        let speech = self.lines.iter().filter(|line| line.kind == Kind::Audio && !line.is_refused);
        speech.map(|line| line.port)
    }
}

#[cfg(test)]
pub(crate) mod testing; // calls for tests of this crate
