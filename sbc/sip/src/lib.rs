//! SIP as the engine speaks it: messages, transactions, dialogs. Opens no socket and reads no clock.
#![forbid(unsafe_code)]
pub mod frame; // where one message ends: datagrams and streams
pub mod message; // one message as a checked, borrowed view; building messages
pub mod flow; // where a message came from, where one goes
pub mod transaction; // the four machines of RFC 3261 section 17, in virtual time
