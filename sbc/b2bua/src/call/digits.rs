//! Digits by INFO (`application/dtmf-relay`, `application/dtmf`): those of a side become what the other side wants, and
//! those that media has heard go out to a side that wants INFO. Digits in media are media's.

use super::{Call, Media, Stage};
use crate::desk::{Desk, What};
use crate::spec;
use base::{Duration, Now};
use command::{Command, Order};
use sdp::{DigitsBy, Side, WhyNot};
use sip::message::{Message, Method};
use std::collections::VecDeque;

/// Digits on their way to sides that want INFO: one at a time, for the next may overtake the one before.
#[derive(Default)]
pub(super) struct Outgoing {
    waiting: [VecDeque<(char, u16)>; 2],
    is_out: [bool; 2],
}

/// Digits that may wait for a side; more than this nobody types ahead.
const WAITING_MAX: usize = 64;
/// How long a digit lasts where nobody says, in milliseconds.
const DURATION_MS: u16 = 160;
/// What media takes.
const DURATIONS_MS: core::ops::RangeInclusive<u16> = 40..=6_000;
/// Pause after a digit, in milliseconds.
const GAP_MS: u16 = 60;
const RELAY: &str = "application/dtmf-relay";

impl Call {
    /// What the configuration says of a side's media.
    pub(super) fn media_of(&self, side: Side) -> Option<&spec::Media> {
        match (side, self.admitted.account) {
            (Side::A, Some(account)) => Some(&self.spec.accounts[account].media),
            (Side::A, None) => Some(&self.trunk(self.admitted.trunk).media),
            (Side::B, _) => self.trunk_out().map(|trunk| &self.trunk(trunk).media),
        }
    }

    /// An INFO that has digits which do not pass as they are: they are taken, and this is the answer.
    pub(super) fn take_digits(
        &mut self,
        desk: &mut Desk,
        now: Now,
        from: Side,
        message: &Message<'_>,
    ) -> Option<u16> {
        let is_relay = message.is_content(RELAY.as_bytes());
        if message.method() != Method::Info || !(is_relay || message.is_content(b"application/dtmf")) {
            return None;
        }
        let (own, other) = (self.media_of(from)?, self.media_of(from.other())?);
        if own.block_dtmf {
            return Some(200);
        }
        let (sink, sink_has_events) = self.negotiation.speech_port(from.other())?;
        let (_, has_events) = self.negotiation.speech_port(from)?;
        let is_wanted_otherwise = match other.dtmf {
            DigitsBy::Info => false,
            DigitsBy::Events | DigitsBy::Tones => true,
            DigitsBy::Auto => own.dtmf == DigitsBy::Info || sink_has_events,
        };
        // Some send each digit twice, in INFO and in media: media's are then the ones that count.
        let is_only_way = own.dtmf == DigitsBy::Info || own.dtmf == DigitsBy::Auto && !has_events;
        let is_sealed = self.negotiation.why_not_open() == Some(WhyNot::Sealed);
        let bridge = self.bridge.filter(|_| self.media == Media::Open)?;
        if !is_wanted_otherwise || !is_only_way || is_sealed {
            return None;
        }
        let Some((digit, duration_ms)) = read(message.body(), is_relay) else {
            // A hook flash is no digit, yet no mistake either.
            return Some(if message.body().is_empty() { 400 } else { 200 });
        };
        let ticket = desk.new_ticket();
        let digits = digit.to_string();
        let order = Order::Dtmf { port: sink, digits, duration_ms, gap_ms: GAP_MS };
        desk.media(bridge.media_shard(), Command::Order { bridge, ticket, order });
        self.on_digit(desk, now, from, digit, Duration::from_millis(duration_ms.into()));
        Some(200)
    }

    /// Media has heard a digit of this side: the other one gets it by INFO, if that is what it wants.
    pub(super) fn tell_digit(
        &mut self,
        desk: &mut Desk,
        now: Now,
        from: Side,
        digit: char,
        duration: Duration,
    ) {
        let (own, other) = (self.media_of(from), self.media_of(from.other()));
        let is_wanted = other.is_some_and(|media| media.dtmf == DigitsBy::Info);
        if self.stage != Stage::Up || !is_wanted || own.is_none_or(|media| media.block_dtmf) {
            return;
        }
        let outgoing = self.digits.get_or_insert_default();
        let waiting = &mut outgoing.waiting[from.other() as usize];
        if waiting.len() < WAITING_MAX {
            let duration_ms = u16::try_from(duration.as_millis()).unwrap_or(u16::MAX);
            waiting.push_back((digit, duration_ms.clamp(*DURATIONS_MS.start(), *DURATIONS_MS.end())));
        }
        self.send_next_digit(desk, now, from.other());
    }

    /// The INFO of a digit is answered, or never will be.
    pub(super) fn on_digit_told(&mut self, desk: &mut Desk, now: Now, to: Side) {
        if let Some(outgoing) = &mut self.digits {
            outgoing.is_out[to as usize] = false;
        }
        self.send_next_digit(desk, now, to);
    }

    fn send_next_digit(&mut self, desk: &mut Desk, now: Now, to: Side) {
        let key = self.key;
        let Some(outgoing) = self.digits.as_mut().filter(|out| !out.is_out[to as usize]) else { return };
        if self.stage != Stage::Up {
            return;
        }
        let Some((digit, duration_ms)) = outgoing.waiting[to as usize].pop_front() else { return };
        let Some(leg) = self.leg_mut(to) else { return };
        let token = leg.token(key, What::Digit);
        let Some((mut writer, target)) = leg.next_request(desk, Method::Info) else { return };
        writer.body(RELAY, format!("Signal={digit}\r\nDuration={duration_ms}\r\n").as_bytes());
        let bytes = writer.finish();
        let number = leg.number;
        desk.note(&mut self.steps, now, key, number, false, &bytes);
        let is_out = desk.request(now, target, token, bytes).is_some();
        if let Some(outgoing) = &mut self.digits {
            outgoing.is_out[to as usize] = is_out;
        }
    }
}

/// A digit and its length in milliseconds. `Signal` may be a number above 9, as in the events of RFC 4733.
fn read(body: &[u8], is_relay: bool) -> Option<(char, u16)> {
    let text = core::str::from_utf8(body).ok()?;
    let fields = || text.lines().filter_map(|line| line.split_once('='));
    let field = |name: &str| {
        fields().find(|(key, _)| key.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    let signal = match field("signal") {
        Some(signal) => signal,
        None if is_relay => return None,
        None => text.trim(),
    };
    let digit = match signal {
        "10" => '*',
        "11" => '#',
        "12" => 'A',
        "13" => 'B',
        "14" => 'C',
        "15" => 'D',
        other => {
            let mut letters = other.chars();
            let digit = letters.next()?.to_ascii_uppercase();
            (letters.next().is_none() && matches!(digit, '0'..='9' | 'A'..='D' | '*' | '#'))
                .then_some(digit)?
        }
    };
    let duration = field("duration").and_then(|value| value.parse().ok()).unwrap_or(DURATION_MS);
    Some((digit, duration.clamp(*DURATIONS_MS.start(), *DURATIONS_MS.end())))
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn bodies_of_many_phones_are_read() {
        for (body, is_relay, expected) in [
            ("Signal=5\r\nDuration=160\r\n", true, Some(('5', 160))),
            ("Signal= *\r\nDuration= 250", true, Some(('*', 250))),
            ("signal=11\nduration=10\n", true, Some(('#', 40))),
            ("Signal=b", true, Some(('B', 160))),
            ("Signal=#\r\nDuration=99999\r\n", true, Some(('#', 160))),
            ("5", false, Some(('5', 160))),
            ("Signal=7\r\n", false, Some(('7', 160))),
            ("5", true, None),
            ("Signal=16", true, None),
            ("Signal=!", true, None),
            ("55", false, None),
            ("", false, None),
        ] {
            assert_eq!(read(body.as_bytes(), is_relay), expected, "{body:?}");
        }
        assert_eq!(read(&[0xFF, 0xFE], false), None);
    }
}
