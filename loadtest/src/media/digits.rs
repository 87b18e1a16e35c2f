//! Digits within a stream (RFC 4733): what is sent each period, and what arrived. No socket, no clock.

use std::collections::VecDeque;

/// Digits that a stream is to send.
#[derive(Debug, Default)]
pub(super) struct Dialling {
    waiting: VecDeque<u8>,
    /// The digit that is being sent: its event, the period it began in, periods of it that went by.
    now: Option<(u8, u64, u8)>,
    dialled: Vec<u8>,
}

/// One packet of a digit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// The first of its digit: has the marker.
    pub first: bool,
    /// The period in which it began.
    pub began: u64,
    pub payload: [u8; 4],
}

/// Periods in which a digit sounds.
const SOUNDS: u8 = 5;
/// Then the end is told three times (RFC 4733 section 2.5.1.4).
const ENDS: u8 = 3;
/// Then there is speech for this long.
const RESTS: u8 = 2;
/// 10 dB below the loudest.
const VOLUME: u8 = 10;

impl Dialling {
    /// Adds what is a digit (`0-9*#A-D`).
    pub(super) fn add(&mut self, digits: &str) {
        self.waiting.extend(digits.bytes().filter_map(event_of));
    }

    /// The packet of this `period`, which lasts `step` ticks; `None` if there is speech.
    pub(super) fn next(&mut self, now: u64, step: u32) -> Option<Part> {
        let (event, began, period) = match self.now.take() {
            Some(now) => now,
            None => {
                let event = self.waiting.pop_front()?;
                self.dialled.push(event);
                (event, now, 0)
            }
        };
        if period + 1 < SOUNDS + ENDS + RESTS {
            self.now = Some((event, began, period + 1));
        }
        if period >= SOUNDS + ENDS {
            return None;
        }
        let duration = (step * u32::from((period + 1).min(SOUNDS))).min(0xffff) as u16;
        let end = if period >= SOUNDS { 0x80 } else { 0 };
        let [high, low] = duration.to_be_bytes();
        Some(Part { first: period == 0, began, payload: [event, end | VOLUME, high, low] })
    }

    /// All events begun so far.
    pub(super) fn dialled(&self) -> &[u8] {
        &self.dialled
    }
}

/// Digits that arrived.
#[derive(Debug, Default)]
pub(super) struct Heard {
    events: Vec<u8>,
    last: Option<u32>,
}

/// More than any call dials here; what is beyond is not kept.
const HEARD_MAX: usize = 256;

impl Heard {
    /// A packet of telephone-event came. All parts of one digit have one time stamp.
    pub(super) fn on_part(&mut self, timestamp: u32, payload: &[u8]) {
        if let [event, _, _, _] = payload
            && self.last != Some(timestamp)
            && self.events.len() < HEARD_MAX
        {
            self.last = Some(timestamp);
            self.events.push(*event);
        }
    }

    /// How many are as dialled, each in its place.
    pub(super) fn like(&self, dialled: &[u8]) -> u64 {
        self.events.iter().zip(dialled).filter(|(heard, dialled)| heard == dialled).count() as u64
    }
}

fn event_of(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'*' => Some(10),
        b'#' => Some(11),
        b'A'..=b'D' => Some(digit - b'A' + 12),
        b'a'..=b'd' => Some(digit - b'a' + 12),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digit_grows_ends_thrice_and_is_followed_by_a_rest() {
        let mut dialling = Dialling::default();
        dialling.add("9 d");
        let parts: Vec<_> = (0..21).map(|period| dialling.next(period, 160)).collect();
        let durations: Vec<_> = parts[..8].iter().map(|part| part.unwrap().payload[2..4].to_vec()).collect();
        assert_eq!(
            durations.iter().map(|d| u16::from_be_bytes([d[0], d[1]])).collect::<Vec<_>>(),
            [160, 320, 480, 640, 800, 800, 800, 800]
        );
        assert!(parts[8].is_none() && parts[9].is_none() && parts[20].is_none());
        assert_eq!(parts[10].map(|part| (part.first, part.began, part.payload[0])), Some((true, 10, 15)));
        assert_eq!(dialling.dialled(), [9, 15]);
    }

    #[test]
    fn what_is_heard_is_compared_in_its_place() {
        let mut heard = Heard::default();
        for (timestamp, payload) in
            [(1, &[5, 0, 0, 1][..]), (1, &[5, 0, 0, 2]), (2, &[6, 0, 0, 1]), (3, b"x")]
        {
            heard.on_part(timestamp, payload);
        }
        assert_eq!(
            (heard.like(&[5, 6]), heard.like(&[5, 7]), heard.like(&[6, 5, 6]), heard.like(&[])),
            (2, 1, 0, 0)
        );
    }
}
