//! `delete`: what it is for, the delay in which a call can come back, and what is left of a call when a part of it goes.

use super::find::{branch_of, tag};
use super::party::Dialogue;
use super::{Call, What};
use crate::book::Ended;
use crate::desk::NOT_FOUND;
use crate::facts::Role;
use crate::failure::Failure;
use crate::request::Request;
use crate::tools::{Asked, Tools};
use crate::value::{Dict, Value};
use base::{Duration, Instant, Now};
use command::Party;

impl Call {
    pub(super) fn delete(&mut self, tools: &mut Tools, now: Now, request: &Request, asked: Asked) {
        let meant = self.find_deleted(request);
        let is_all = self.named(request).is_none() && branch_of(request).is_empty();
        if meant.is_empty() && !is_all {
            if self.delete_watching(tools, now, request) {
                tools.answer(now, asked, Ok(Dict::new()));
                return self.end_if_empty(tools, now);
            }
            let said = match request.options.fatal {
                true => Err(Failure::Value(NOT_FOUND)),
                false => Ok(Dict::new().with("warning", Value::text(NOT_FOUND))),
            };
            return tools.answer(now, asked, said);
        }
        self.tell(now, What::Deleted);
        let seconds = request.options.delete_delay.map(|seconds| Duration::from_secs(u64::from(seconds)));
        let at = now.mono + seconds.unwrap_or(self.spec.delete_delay);
        // Before the parties go, so that the answer has them all.
        self.report_deleted(tools, now, request, asked);
        for dialogue in self.dialogues.iter_mut().filter(|dialogue| meant.contains(&dialogue.id)) {
            dialogue.deleted_at = Some(dialogue.deleted_at.map_or(at, |earlier| earlier.min(at)));
        }
        if is_all {
            self.deleted_at = Some(self.deleted_at.map_or(at, |earlier| earlier.min(at)));
        }
        self.remove_deleted(tools, now);
    }

    /// Ends what a tag publishes or subscribes to; whether there was something. There is no delay: nobody calls it back.
    fn delete_watching(&mut self, tools: &mut Tools, now: Now, request: &Request) -> bool {
        let Some(party) = self.named(request).and_then(|tag| self.subscriptions.delete(tag)) else {
            return false;
        };
        self.forget(tools, now, party);
        self.set_media(tools);
        true
    }

    fn forget(&mut self, tools: &mut Tools, now: Now, party: Party) {
        self.tell(now, What::PartyLeft(party.0));
        if self.controls.is_some() {
            self.with_controls(tools, now, |controls, _, effects| controls.forget(party, effects));
        }
    }

    /// A call in which nobody is left ends.
    pub(super) fn end_if_empty(&mut self, tools: &mut Tools, now: Now) {
        if self.is_empty() && self.work.is_none() {
            self.end(tools, now, Ended::Deleted);
        }
    }

    /// Whom a `delete` names: whichever tag is known. `to-tag` counts, and goes first, if a flag says so or if it is the
    /// only tag.
    pub(super) fn named<'r>(&self, request: &'r Request) -> Option<&'r [u8]> {
        let from = tag(&request.from_tag);
        let to = tag(&request.to_tag).filter(|_| request.options.to_tag || from.is_none());
        [to, from].into_iter().flatten().find(|tag| self.tagged(tag).is_some()).or(to).or(from)
    }

    /// The dialogues that a `delete` is for: all of them if it names nobody.
    fn find_deleted(&self, request: &Request) -> Vec<u32> {
        let ids = |is_meant: &dyn Fn(&&Dialogue) -> bool| -> Vec<u32> {
            self.dialogues.iter().filter(is_meant).map(|dialogue| dialogue.id).collect()
        };
        let branch = branch_of(request);
        if !branch.is_empty() {
            let on_branch = ids(&|d| d.sets.iter().any(|set| *self.set(*set).branch == *branch));
            if !on_branch.is_empty() {
                return on_branch;
            }
        }
        match self.named(request) {
            Some(tag) => match self.tagged(tag) {
                Some(party) => ids(&|dialogue| dialogue.side(party).is_some()),
                None => Vec::new(),
            },
            None if branch.is_empty() => ids(&|_| true),
            None => Vec::new(),
        }
    }

    /// Dialogues whose delay is over go; with the last one, the call.
    pub(super) fn remove_deleted(&mut self, tools: &mut Tools, now: Now) {
        if self.deleted_at.is_some_and(|at| at <= now.mono) {
            return self.end(tools, now, Ended::Deleted);
        }
        let is_due = |dialogue: &Dialogue| dialogue.deleted_at.is_some_and(|at| at <= now.mono);
        self.remove(tools, now, Ended::Deleted, is_due);
    }

    /// Offers that nobody has answered in time go; with the last one, the call.
    pub(super) fn remove_unanswered(&mut self, tools: &mut Tools, now: Now) {
        let unanswered = self.spec.unanswered;
        let is_due =
            move |dialogue: &Dialogue| unanswered_at(dialogue, unanswered).is_some_and(|at| at <= now.mono);
        self.remove(tools, now, Ended::Unanswered, is_due);
    }

    fn remove(&mut self, tools: &mut Tools, now: Now, why: Ended, is_due: impl Fn(&Dialogue) -> bool) {
        if !self.dialogues.iter().any(&is_due) || self.work.is_some() {
            return;
        }
        let is_published = self.subscriptions.parties().any(|party| party.role == Role::Publishes);
        if self.dialogues.iter().all(&is_due) && !is_published {
            // The parties stay, for whoever asks what there was.
            return self.end(tools, now, why);
        }
        for party in self.remove_dialogues(true, is_due) {
            self.forget(tools, now, party);
        }
        self.set_media(tools);
    }

    /// When the next part of it goes by itself.
    pub(super) fn removal_at(&self) -> Option<Instant> {
        let unanswered = self.spec.unanswered;
        let at = |dialogue: &Dialogue| match (dialogue.deleted_at, unanswered_at(dialogue, unanswered)) {
            (Some(deleted), Some(unanswered)) => Some(deleted.min(unanswered)),
            (one, other) => one.or(other),
        };
        self.dialogues.iter().filter_map(at).chain(self.deleted_at).min()
    }

    /// Whether all of it is deleted and only its delay still runs.
    pub(super) fn is_deleted(&self) -> bool {
        let mut dialogues = self.dialogues.iter();
        self.deleted_at.is_some()
            || !self.is_empty() && dialogues.all(|dialogue| dialogue.deleted_at.is_some())
    }
}

fn unanswered_at(dialogue: &Dialogue, unanswered: Duration) -> Option<Instant> {
    (!dialogue.is_answered()).then(|| dialogue.offered_at + unanswered)
}
