//! Whom a request is for: a label, an address, a tag, all of a call, or single flows. Knows the words of the protocol,
//! changes nothing.

use crate::facts::{CallFacts, PartyFacts, Role};
use crate::failure::Failure;
use crate::options::All;
use crate::request::Request;
use command::Party;

/// Whom a request about all or some of a call is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selected {
    /// The call as a whole. `all`: each of its parties, too.
    Whole {
        /// `all` was said.
        all: bool,
    },
    /// What this party says.
    Party(Party),
    /// What these say to those.
    Flows(Vec<(Party, Party)>),
}

/// The party that a request names: by `label`, by `address`, or by `from-tag`.
fn named<'f>(request: &Request, facts: &'f CallFacts, tag: bool) -> Result<Option<&'f PartyFacts>, Failure> {
    let selector = &request.options.selector;
    if let Some(label) = &selector.label {
        let party = facts.labelled(label);
        return party.map(Some).ok_or(Failure::Media("No monologue matching the given label"));
    }
    if let Some(address) = selector.address {
        let party = facts.at_address(address);
        return party.map(Some).ok_or(Failure::Media("Failed to match address to any tag"));
    }
    let Some(from) = request.from_tag.as_deref().filter(|_| tag) else { return Ok(None) };
    let party = facts.tagged(from);
    party.map(Some).ok_or(Failure::Media("From-tag given, but no such tag exists"))
}

/// For what is blocked and silenced: a `from-tag` counts if `directional` is said, or single flows of it.
pub(super) fn blocked(request: &Request, facts: &CallFacts, flows: bool) -> Result<Selected, Failure> {
    let selector = &request.options.selector;
    if selector.all == Some(All::All) {
        return Ok(Selected::Whole { all: true });
    }
    let Some(from) = named(request, facts, selector.directional)? else {
        return Ok(Selected::Whole { all: false });
    };
    if !flows {
        return Ok(Selected::Party(from.party));
    }
    let to = match (&request.to_tag, &selector.to_label) {
        (Some(tag), _) => {
            Some(facts.tagged(tag).ok_or(Failure::Media("Media flow not found (to-tag not found)"))?)
        }
        (None, Some(label)) => {
            Some(facts.labelled(label).ok_or(Failure::Media("Media flow not found (to-label not found)"))?)
        }
        (None, None) => None,
    };
    if let Some(to) = to {
        return match hears(from, to) {
            true => Ok(Selected::Flows(vec![(from.party, to.party)])),
            false => Err(Failure::Media("Media flow not found (to-tag not subscribed)")),
        };
    }
    let by_answer = |to: &&PartyFacts| from.peers.contains(&to.party);
    let hearers = facts.parties.iter().filter(|to| hears(from, to));
    let flows: Vec<(Party, Party)> = match selector.all {
        None | Some(All::All) => return Ok(Selected::Party(from.party)),
        Some(All::OfferAnswer) => hearers.filter(by_answer).map(|to| (from.party, to.party)).collect(),
        Some(All::ExceptOfferAnswer) => {
            hearers.filter(|to| !by_answer(to)).map(|to| (from.party, to.party)).collect()
        }
        Some(All::Flows) => hearers.map(|to| (from.party, to.party)).collect(),
    };
    match flows.is_empty() {
        true => Err(Failure::Media("No eligible media subscriptions found")),
        false => Ok(Selected::Flows(flows)),
    }
}

/// For what is played: one party, or all that can hear.
pub(super) fn hearers<'f>(request: &Request, facts: &'f CallFacts) -> Result<Vec<&'f PartyFacts>, Failure> {
    if request.options.selector.all == Some(All::All) {
        return Ok(facts.parties.iter().collect());
    }
    match named(request, facts, true)? {
        Some(party) => Ok(vec![party]),
        None => Err(Failure::Media("No participant party specified")),
    }
}

/// For what is subscribed to: one party, a list of tags, or all that offer and answer.
pub(crate) fn sources<'f>(request: &Request, facts: &'f CallFacts) -> Result<Vec<&'f PartyFacts>, Failure> {
    let selector = &request.options.selector;
    let found: Vec<&PartyFacts> = if selector.all == Some(All::All) {
        facts.parties.iter().filter(|party| party.role == Role::Talks).collect()
    } else if let Some(party) = named(request, facts, true)? {
        vec![party]
    } else {
        selector.from_tags.iter().filter_map(|tag| facts.tagged(tag)).collect()
    };
    match found.is_empty() {
        true => Err(Failure::Media("No call participant specified")),
        false => Ok(found),
    }
}

/// Whether one hears the other: by offer and answer, by subscription, or by being connected.
fn hears(from: &PartyFacts, to: &PartyFacts) -> bool {
    from.peers.contains(&to.party) || to.sources.contains(&from.party)
}
