//! Named telephone events in RTP (RFC 4733): the payload; [`Receiver`] makes presses of packets, [`Sender`] packets of
//! presses.

mod receive;
mod send;

pub use receive::{END_AFTER, REORDER, Receiver};
pub use send::{Packet, Sender};

use base::Duration;
use command::Verdict;

/// The longest duration of one payload, in ticks of the clock; longer events are cut into segments
/// (RFC 4733 section 2.5.1.3).
pub const SEGMENT_MAX: u32 = 0xffff;

/// One block of a `telephone-event` payload (RFC 4733 section 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Which event; 0 to 15 are digits.
    pub code: u8,
    /// It has ended.
    pub end: bool,
    /// Level in dBm0 without its sign, 0 to 63.
    pub volume: u8,
    /// Ticks since its (or its segment's) timestamp.
    pub duration: u16,
}

impl Payload {
    /// Bytes of one block.
    pub const LEN: usize = 4;

    /// The first block.
    ///
    /// # Errors
    /// [`Verdict::Undecodable`] if there is none.
    pub fn parse(payload: &[u8]) -> Result<Payload, Verdict> {
        let block = payload.first_chunk::<4>().ok_or(Verdict::Undecodable)?;
        Ok(Payload::read(block))
    }

    /// As it goes out.
    pub fn to_bytes(self) -> [u8; Payload::LEN] {
        let [high, low] = self.duration.to_be_bytes();
        [self.code, u8::from(self.end) << 7 | self.volume & 0x3f, high, low]
    }

    fn read(&[code, flags, high, low]: &[u8; Payload::LEN]) -> Payload {
        Payload {
            code,
            end: flags & 0x80 != 0,
            volume: flags & 0x3f,
            duration: u16::from_be_bytes([high, low]),
        }
    }
}

/// Something that happens to a pressed key. Each key has one `Begin`, any number of `Update`s, then one `End`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which event; see [`super::digit`].
    pub code: u8,
    /// What happens.
    pub phase: Phase,
    /// How long it has lasted so far, in ticks; at `End` all of it. Never shrinks.
    pub ticks: u32,
    /// Ticks a second.
    pub clock: u32,
    /// Level in dBm0 without its sign, 0 to 63.
    pub volume: u8,
    /// RTP timestamp at which it began.
    pub timestamp: u32,
}

impl Event {
    /// How long it has lasted so far.
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(u64::from(self.ticks) * 1_000_000_000 / u64::from(self.clock.max(1)))
    }

    /// The digit, if it is one.
    pub fn digit(&self) -> Option<char> {
        super::digit(self.code)
    }
}

/// What happens to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It goes down.
    Begin,
    /// It is still down.
    Update,
    /// It is let go.
    End,
}

#[cfg(test)]
mod tests;
