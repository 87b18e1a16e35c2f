//! Session timers (RFC 4028), by the book and not by the engine.

use super::super::plan::seconds;
use super::Phone;
use super::dialog::{End, State, Todo};
use base::Instant;
use sip::message::{Message, Refresher};

impl Phone {
    /// What our 2xx says: seconds, and whether we refresh.
    pub(super) fn session_answer(&self, id: usize, request: &Message<'_>) -> Option<(u32, bool)> {
        let plan = &self.dialogs[id].plan;
        let asked = request.session_expires()?;
        if !plan.supported.contains(&"timer") || !request.supports(b"timer") {
            return None;
        }
        let ours = match asked.refresher {
            Some(Refresher::Uac) => false,
            Some(Refresher::Uas) => true,
            None => plan.refresher == "uas",
        };
        Some((asked.seconds, ours))
    }

    /// What their 2xx says.
    pub(super) fn set_session(&mut self, now: Instant, id: usize, answer: &Message<'_>, _is_ours: bool) {
        if !self.dialogs[id].plan.supported.contains(&"timer") {
            return;
        }
        let session = answer.session_expires().map(|s| (s.seconds, s.refresher != Some(Refresher::Uas)));
        self.start_session(now, id, session);
    }

    pub(super) fn start_session(&mut self, now: Instant, id: usize, session: Option<(u32, bool)>) {
        let dialog = &mut self.dialogs[id];
        if dialog.state == State::Ended {
            return;
        }
        dialog.session = session;
        dialog.session_serial += 1;
        let serial = dialog.session_serial;
        match session {
            Some((interval, true)) => {
                self.later(now + seconds(u64::from(interval / 2)), id, Todo::Refresh(serial));
            }
            Some((interval, false)) => {
                let wait = u64::from(interval - (interval / 3).min(32));
                self.later(now + seconds(wait), id, Todo::Expire(serial));
            }
            None => {}
        }
    }

    pub(super) fn refresh(&mut self, now: Instant, id: usize, serial: u32) {
        let dialog = &self.dialogs[id];
        if dialog.session_serial != serial || dialog.state != State::Up || dialog.has_vanished {
            return;
        }
        if dialog.offer_in.is_some() || dialog.offer_out.is_some() || dialog.unacked.is_some() {
            return self.later(now + seconds(2), id, Todo::Refresh(serial));
        }
        let by_update = self.rng.below(2) == 0;
        let sdp = (!by_update).then(|| self.describe(id));
        self.offer(now, id, by_update, sdp.as_deref());
    }

    pub(super) fn expire(&mut self, now: Instant, id: usize, serial: u32) {
        let dialog = &self.dialogs[id];
        if dialog.session_serial != serial || dialog.state != State::Up || dialog.has_vanished {
            return;
        }
        // With an offer on its way the engine may have had no chance.
        if !dialog.is_busy() {
            let (number, session) = (dialog.number, dialog.session);
            self.faults.push(format!("{now:?} call {number} was not refreshed: {session:?}"));
        }
        self.send_bye(now, id);
        self.dialogs[id].end = Some(End::Expired);
    }
}
