//! SIP as the engine speaks it: messages, transactions, dialogs. Opens no socket and reads no clock.
#![forbid(unsafe_code)]
pub mod frame; // where one message ends: datagrams and streams
pub mod message; // one message as a checked, borrowed view; building messages
pub mod inspect; // what one message is and earns, as JSON
pub mod flow; // where a message came from, where one goes
pub mod transaction; // the four machines of RFC 3261 section 17, in virtual time
#[doc(hidden)]
pub mod fuzz; // entries for fuzzers
pub mod stack; // matches messages to transactions, repeats what is lost, answers what needs no user
pub mod dialog; // what two user agents remember of each other between requests
