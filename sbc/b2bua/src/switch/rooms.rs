//! What is asked of the media of calls and rooms.

use super::Switch;
use base::Now;
use ledger::Ask;

impl Switch {
    pub(super) fn handle_media_ask(&mut self, _now: Now, ask: Ask) {
        drop(ask);
    }
}
