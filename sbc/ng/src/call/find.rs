//! Whom a request means: its tags on whichever side they stand, its branch, what was offered and not answered yet.

use super::Call;
use super::party::Dialogue;
use crate::failure::Failure;
use crate::request::Request;
use command::Party;

/// What an answer is for.
pub(super) enum Answered {
    /// The answer of a party that has been offered this.
    Known(u32),
    /// The first answer of whoever was offered this.
    First(u32),
    /// Another one has answered the same offer.
    Fork(u32),
}

impl Call {
    /// The dialogue that an offer of a known party goes on with; `None` if it begins another one.
    pub(super) fn find_offered(&self, from: Party, request: &Request) -> Option<u32> {
        let branch = branch_of(request);
        let mine = || self.dialogues.iter().filter(|dialogue| dialogue.side(from).is_some());
        let on_branch = |dialogue: &&Dialogue| self.is_on(dialogue, from, branch);
        if let Some(to) = tag(&request.to_tag) {
            if let Some(to) = self.tagged(to) {
                return mine().find(|dialogue| dialogue.joins(from, to)).map(|dialogue| dialogue.id);
            }
            // Not heard of: whoever was offered and has not answered yet, it seems.
            let unnamed = |dialogue: &&Dialogue| self.is_unnamed(self.other(dialogue, from));
            return mine().filter(unnamed).find(on_branch).map(|dialogue| dialogue.id);
        }
        // Nobody is named: whoever was offered last, be it again after a failure.
        let found = || mine().filter(on_branch);
        let unnamed = found().filter(|dialogue| self.is_unnamed(self.other(dialogue, from)));
        unnamed.last().or_else(|| found().last()).map(|dialogue| dialogue.id)
    }

    /// What an answer is for, and the tag of who gives it. Some clients name the answerer first: who made the last offer
    /// tells.
    pub(super) fn find_answered<'r>(&self, request: &'r Request) -> Result<(Answered, &'r [u8]), Failure> {
        let from = tag(&request.from_tag).ok_or(Failure::NoFromTag)?;
        let to = tag(&request.to_tag).ok_or(Failure::NoToTag)?;
        if from == to {
            return Err(Failure::Dialogue);
        }
        let (offerer, answerer) = (self.tagged(from), self.tagged(to));
        if let (Some(offerer), Some(answerer)) = (offerer, answerer)
            && let Some(dialogue) = self.dialogues.iter().find(|dialogue| dialogue.joins(offerer, answerer))
        {
            return Ok((Answered::Known(dialogue.id), to));
        }
        let (offerer, tag) = match (offerer, answerer) {
            (Some(offerer), _) => (offerer, to),
            (None, Some(offerer)) => (offerer, from),
            (None, None) => return Err(Failure::Dialogue),
        };
        let branch = branch_of(request);
        let offered = || {
            let mine = |dialogue: &&Dialogue| dialogue.party(dialogue.offerer) == offerer;
            self.dialogues.iter().filter(mine)
        };
        let first = |on_branch: bool| {
            let open = |dialogue: &&Dialogue| {
                self.is_unnamed(dialogue.answerer()) && (!on_branch || self.is_on(dialogue, offerer, branch))
            };
            offered().filter(open).map(|dialogue| dialogue.id).last()
        };
        let fork = |on_branch: bool| {
            let same = |dialogue: &&Dialogue| !on_branch || self.is_on(dialogue, offerer, branch);
            offered().filter(same).map(|dialogue| dialogue.id).last()
        };
        let found = first(true).map(Answered::First);
        let found = found.or_else(|| fork(true).map(Answered::Fork));
        let found = found.or_else(|| first(false).map(Answered::First));
        let found = found.or_else(|| fork(false).map(Answered::Fork)).ok_or(Failure::Dialogue)?;
        Ok((found, tag))
    }

    /// The other party of one's dialogue.
    pub(super) fn other(&self, dialogue: &Dialogue, party: Party) -> Party {
        dialogue.parties[usize::from(dialogue.parties[0] == party)]
    }

    /// Whether what faces the other party is of this branch.
    pub(super) fn is_on(&self, dialogue: &Dialogue, party: Party, branch: &[u8]) -> bool {
        let set = dialogue.sets[usize::from(dialogue.parties[0] == party)];
        *self.set(set).branch == *branch
    }
}

/// A tag that says something.
pub(super) fn tag(tag: &Option<Vec<u8>>) -> Option<&[u8]> {
    tag.as_deref().filter(|tag| !tag.is_empty())
}

/// The branch of a request, empty without one.
pub(super) fn branch_of(request: &Request) -> &[u8] {
    request.via_branch.as_deref().unwrap_or_default()
}
