//! Answers: the first one of a party that was offered, the next ones, and those of forks that share its ports.

use super::find::Answered;
use super::party::Dialogue;
use super::{Call, What};
use crate::failure::Failure;
use crate::request::Request;
use crate::tools::{Asked, Tools};
use crate::value::{Dict, Value};
use base::Now;
use sdp::Side;

impl Call {
    pub(super) fn answer(&mut self, tools: &mut Tools, now: Now, request: &Request, asked: Asked) {
        match self.take_answer(tools, now, request) {
            Ok(told) => tools.answer(now, asked, Ok(Dict::new().with("sdp", Value::Text(told)))),
            Err(failure) => self.fail(tools, now, asked, failure),
        }
    }

    fn take_answer(&mut self, tools: &mut Tools, now: Now, request: &Request) -> Result<Vec<u8>, Failure> {
        let (found, tag) = self.find_answered(request)?;
        let sdp = request.sdp.as_deref().ok_or(Failure::NoSdp)?;
        let (id, is_fork) = match found {
            Answered::Known(id) | Answered::First(id) => (id, false),
            Answered::Fork(id) => (id, true),
        };
        if is_fork && !self.has_room() {
            return Err(Failure::Value("Too many parties in one call"));
        }
        let dialogue = self.dialogue(id).ok_or(Failure::Internal)?;
        let (offerer, answerer) = (dialogue.offerer, dialogue.offerer.other());
        let places = self.places(dialogue.set(offerer), request.options.media_address);
        let (id, told) = if is_fork {
            // Each fork agrees for itself, from the same offer.
            let mut exchange = dialogue.exchange.clone();
            let told = exchange.answer(answerer, sdp, &request.options, &places)?;
            let mut parties = dialogue.parties;
            let (sets, offered_at) = (dialogue.sets, dialogue.offered_at);
            let party = self.tagged(tag).unwrap_or_else(|| self.add_party(tag, now.wall));
            parties[answerer as usize] = party;
            let id = self.new_serial();
            self.dialogues.push(Dialogue {
                id,
                parties,
                sets,
                exchange,
                lines: Vec::new(),
                offerer,
                offered_at,
                answer: 0,
                is_held: false,
                deleted_at: None,
            });
            (id, told)
        } else {
            let dialogue = self.dialogue_mut(id).ok_or(Failure::Internal)?;
            let told = dialogue.exchange.answer(answerer, sdp, &request.options, &places)?;
            self.name_answerer(id, answerer, tag);
            (id, told)
        };
        self.after_answer(tools, now, request, id, answerer);
        Ok(told)
    }

    /// Whoever was offered has a name now.
    fn name_answerer(&mut self, dialogue: u32, answerer: Side, tag: &[u8]) {
        let Some(party) = self.dialogue(dialogue).map(|dialogue| dialogue.party(answerer)) else { return };
        if !self.is_unnamed(party) {
            return;
        }
        match self.tagged(tag) {
            // It is there already, by another dialogue.
            Some(known) => {
                if let Some(dialogue) = self.dialogue_mut(dialogue) {
                    dialogue.parties[answerer as usize] = known;
                }
                self.remove_dialogues(true, |_| false);
            }
            None => {
                if let Some(party) = self.party_mut(party) {
                    party.tag = tag.into();
                }
            }
        }
    }

    fn after_answer(&mut self, tools: &mut Tools, now: Now, request: &Request, id: u32, answerer: Side) {
        self.answers += 1;
        let answers = self.answers;
        let Some(dialogue) = self.dialogue_mut(id) else { return };
        dialogue.lines = dialogue.exchange.lines();
        dialogue.is_held = dialogue.exchange.is_held();
        dialogue.answer = answers;
        let is_revived = dialogue.deleted_at.take().is_some();
        let (sets, party) = (dialogue.sets, dialogue.party(answerer));
        let offerer = dialogue.party(answerer.other());
        self.deleted_at = None;
        for set in sets {
            self.set_mut(set).active = Some(id);
        }
        if is_revived {
            self.tell(now, What::Revived);
        }
        self.tell(now, What::Answered(party.0));
        self.tell_answered(tools, now);
        self.take_options(tools, party, &request.options);
        if let Some(controls) = &mut self.controls {
            controls.agreed(offerer, party);
        }
        self.set_media(tools);
        self.settle_controls(tools, now);
    }
}
