//! The memory of recent SIP messages of one shard: bounded in bytes, oldest go first. Calls keep a short ladder of
//! their own; this keeps the messages themselves for as long as they fit.

use base::{Key, Wall};
use std::collections::VecDeque;

/// Recent messages of all calls of a shard.
#[derive(Debug)]
pub struct Trace {
    messages: VecDeque<Message>,
    bytes: usize,
    bytes_max: usize,
    serial: u64,
}

#[derive(Debug)]
struct Message {
    call: Key,
    serial: u64,
    raw: Box<[u8]>,
}

/// One line of a call's ladder. Small: a call keeps up to [`STEPS_MAX`] of them.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// When.
    pub at: Wall,
    /// Names the message in the shard's memory.
    pub serial: u64,
    /// Leg number.
    pub leg: u16,
    /// Status of a response, 0 for a request.
    pub code: u16,
    /// Which method, as numbered by [`method_number`].
    pub method: u8,
    /// From the peer.
    pub received: bool,
}

/// Lines of a ladder that a call keeps; the first and the latest are what people look for, so the middle goes.
pub const STEPS_MAX: usize = 48;

const METHODS: [&str; 15] = [
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "OPTIONS",
    "REGISTER",
    "PRACK",
    "UPDATE",
    "INFO",
    "MESSAGE",
    "REFER",
    "NOTIFY",
    "SUBSCRIBE",
    "PUBLISH",
    "OTHER",
];

/// A number for a method, so that a step stays small.
pub fn method_number(method: &[u8]) -> u8 {
    METHODS.iter().position(|m| m.as_bytes() == method).unwrap_or(METHODS.len() - 1) as u8
}

/// The reverse of [`method_number`].
pub fn method_name(number: u8) -> &'static str {
    METHODS.get(usize::from(number)).copied().unwrap_or("OTHER")
}

impl Trace {
    /// Keeps at most `bytes_max` bytes of messages.
    pub fn new(bytes_max: usize) -> Self {
        Trace { messages: VecDeque::new(), bytes: 0, bytes_max, serial: 0 }
    }

    /// Remembers a message; the number finds it again.
    pub fn push(&mut self, call: Key, raw: &[u8]) -> u64 {
        self.serial += 1;
        if raw.len() > self.bytes_max {
            return self.serial;
        }
        self.bytes += raw.len();
        self.messages.push_back(Message { call, serial: self.serial, raw: raw.into() });
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.messages.pop_front() else { break };
            self.bytes -= oldest.raw.len();
        }
        self.serial
    }

    /// A message that is still remembered.
    pub fn get(&self, call: Key, serial: u64) -> Option<&[u8]> {
        let at = self.messages.binary_search_by_key(&serial, |m| m.serial).ok()?;
        self.messages.get(at).filter(|m| m.call == call).map(|m| m.raw.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_messages_are_forgotten_first() {
        let mut trace = Trace::new(10);
        let call = Key { index: 1, generation: 1 };
        let serials: Vec<u64> = (0..4).map(|_| trace.push(call, b"abcd")).collect();
        let kept: Vec<bool> = serials.iter().map(|s| trace.get(call, *s).is_some()).collect();
        assert_eq!(kept, [false, false, true, true]);
        assert_eq!(trace.get(Key { index: 2, generation: 1 }, serials[3]), None);
        assert_eq!(trace.push(call, &[0; 11]), 5);
        assert_eq!(trace.get(call, 5), None);
    }

    #[test]
    fn methods_keep_their_names() {
        assert_eq!(
            (method_name(method_number(b"UPDATE")), method_name(method_number(b"FOO"))),
            ("UPDATE", "OTHER")
        );
    }
}
