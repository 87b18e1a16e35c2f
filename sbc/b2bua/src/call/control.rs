//! What is asked of a call that is up, by the API: mute, hold, rooms, clips, digits, recordings. Negotiates nothing.

use super::Call;
use command::BridgeSpec;

impl Call {
    /// Puts what was asked of this call over what its sides have agreed.
    pub(super) fn overlay(&self, _spec: &mut BridgeSpec) {}
}
