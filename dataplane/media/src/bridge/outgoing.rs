//! The identity of the audio stream that one port sends: SSRC, sequence and timestamp, which go on without a jump when
//! the stream is relayed, then made here, then relayed again (media.md, "Promotion"). Knows no codec.

use crate::wire::rtp::Header;
use base::{Duration, Instant};
use command::spec::Rewrite;

/// See the module.
#[derive(Debug)]
pub(super) struct Outgoing {
    ssrc: u32,
    /// Of the last packet, made or passed.
    sequence: u16,
    timestamp: u32,
    /// When that packet left; `None` before the first.
    sent_at: Option<Instant>,
    /// RTP clock in Hz.
    clock: u32,
    /// Relayed streams come with this identity since the last of ours: the source's SSRC, and how it is changed.
    splice: Option<(u32, Rewrite)>,
    /// The next packet begins anew in time: it gets the marker.
    breaks: bool,
}

/// What is relayed after something that was made here comes so much later in time, at least.
const FRAME: Duration = Duration::from_millis(20);

impl Outgoing {
    /// A stream of our own; the numbers are random. The first sequence number leaves room, so that no receiver that
    /// loses the first packets can take a wrap for the beginning (media.md, "SRTP by SDES").
    pub fn new(ssrc: u32, sequence: u16, timestamp: u32, clock: u32) -> Self {
        let sequence = sequence & 0x7fff;
        Outgoing { ssrc, sequence, timestamp, sent_at: None, clock: clock.max(1), splice: None, breaks: true }
    }

    /// Goes on where a relayed stream is: its last packet, as the peer saw it.
    pub fn continuing(last: Header, sent_at: Instant, clock: u32) -> Self {
        let Header { ssrc, sequence, timestamp, .. } = last;
        let own = Outgoing::new(ssrc, 0, timestamp, clock);
        Outgoing { sequence, sent_at: Some(sent_at), breaks: false, ..own }
    }

    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    pub fn clock(&self) -> u32 {
        self.clock
    }

    /// The last packet's timestamp, and when that packet left; `None` before the first.
    pub fn last(&self) -> Option<(u32, Instant)> {
        Some((self.timestamp, self.sent_at?))
    }

    /// The timestamp for what is said now: as much later than the last packet as time has passed, in whole frames, and
    /// by one frame at least.
    pub fn timestamp_at(&self, now: Instant, frame: Duration) -> u32 {
        let Some(sent_at) = self.sent_at else { return self.timestamp };
        let frame_ns = (frame.as_nanos() as u64).max(1);
        let frames = ((now.nanos_since(sent_at) + frame_ns / 2) / frame_ns).max(1);
        let ticks = u128::from(frames) * u128::from(frame_ns) * u128::from(self.clock) / 1_000_000_000;
        self.timestamp.wrapping_add(ticks as u32)
    }

    /// The timestamp that belongs to this moment, for a sender report.
    pub fn timestamp_now(&self, now: Instant) -> u32 {
        let passed = self.sent_at.map_or(0, |at| now.nanos_since(at));
        self.timestamp.wrapping_add((u128::from(passed) * u128::from(self.clock) / 1_000_000_000) as u32)
    }

    /// What comes next does not go on in time where the last packet ended.
    pub fn break_off(&mut self) {
        self.breaks = true;
    }

    /// The header of the next packet that is made here.
    pub fn next(&mut self, now: Instant, payload_type: u8, timestamp: u32) -> Header {
        self.sequence = self.sequence.wrapping_add(1);
        self.splice = None;
        let marker = core::mem::take(&mut self.breaks);
        (self.timestamp, self.sent_at) = (timestamp, Some(now));
        Header { marker, payload_type, sequence: self.sequence, timestamp, ssrc: self.ssrc }
    }

    /// As [`Outgoing::next`] for a packet of an event, which lies beside the audio's time.
    pub fn next_beside(&mut self, marker: bool, payload_type: u8, timestamp: u32) -> Header {
        self.sequence = self.sequence.wrapping_add(1);
        Header { marker, payload_type, sequence: self.sequence, timestamp, ssrc: self.ssrc }
    }

    /// How a relayed stream is changed, so that it goes on from the last packet that was made here: sequence and
    /// timestamp grow by one frame at least.
    pub fn splice(&mut self, now: Instant, incoming: &Header, frame: Duration) -> Rewrite {
        let rewrite = match self.splice {
            Some((ssrc, rewrite)) if ssrc == incoming.ssrc => rewrite,
            Some(_) | None => {
                let timestamp = self.timestamp_at(now, frame);
                let rewrite = Rewrite {
                    ssrc: self.ssrc,
                    sequence_offset: self.sequence.wrapping_add(1).wrapping_sub(incoming.sequence),
                    timestamp_offset: timestamp.wrapping_sub(incoming.timestamp),
                };
                self.splice = Some((incoming.ssrc, rewrite));
                rewrite
            }
        };
        let sequence = incoming.sequence.wrapping_add(rewrite.sequence_offset);
        // The highest counts: what comes late must not turn the stream back.
        if (sequence.wrapping_sub(self.sequence) as i16) > 0 || self.sent_at.is_none() {
            self.sequence = sequence;
            self.timestamp = incoming.timestamp.wrapping_add(rewrite.timestamp_offset);
            self.sent_at = Some(now);
        }
        rewrite
    }

    /// A relayed packet as it goes out.
    pub fn spliced_header(&mut self, now: Instant, incoming: &Header) -> Header {
        let rewrite = self.splice(now, incoming, FRAME);
        Header {
            ssrc: rewrite.ssrc,
            sequence: incoming.sequence.wrapping_add(rewrite.sequence_offset),
            timestamp: incoming.timestamp.wrapping_add(rewrite.timestamp_offset),
            ..*incoming
        }
    }

    /// The relayed stream is spliced anew, behind the last packet.
    pub fn forget_splice(&mut self) {
        self.splice = None;
    }

    /// How the relayed stream is changed now, if one is.
    pub fn spliced(&self) -> Option<Rewrite> {
        self.splice.map(|(_, rewrite)| rewrite)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant(1_000_000_000 + ms * 1_000_000)
    }

    fn header(sequence: u16, timestamp: u32) -> Header {
        Header { ssrc: 7, sequence, timestamp, ..Header::default() }
    }

    #[test]
    fn what_is_made_goes_on_from_what_was_relayed() {
        let mut out = Outgoing::continuing(header(65_535, u32::MAX - 79), at(0), 8_000);
        let timestamp = out.timestamp_at(at(20), FRAME);
        let next = out.next(at(20), 0, timestamp);
        let expected = Header { ssrc: 7, sequence: 0, timestamp: 80, ..Header::default() };
        assert_eq!(next, expected, "sequence and timestamp wrap, and nothing breaks");
        assert_eq!(out.timestamp_at(at(21), FRAME), 240, "one frame at least");
        assert_eq!(out.timestamp_at(at(139), FRAME), 80 + 6 * 160, "whole frames");
        assert_eq!(out.timestamp_now(at(30)), 160);
    }

    #[test]
    fn what_is_relayed_again_is_mapped_behind_what_was_made() {
        let mut out = Outgoing::new(9, 0xffff, 1000, 8_000);
        let first = out.next(at(0), 0, 1000);
        assert_eq!((first.sequence, first.marker), (0x8000, true));
        let rewrite = out.splice(at(20), &header(50, 5000), FRAME);
        assert_eq!(rewrite.ssrc, 9);
        assert_eq!(50u16.wrapping_add(rewrite.sequence_offset), 0x8001);
        assert_eq!(5000u32.wrapping_add(rewrite.timestamp_offset), 1160);
        assert_eq!(out.splice(at(40), &header(51, 5160), FRAME), rewrite);
        // One that comes late keeps its own number; another source is spliced anew.
        assert_eq!(out.splice(at(41), &header(49, 4840), FRAME), rewrite);
        let other = Header { ssrc: 8, ..header(0, 0) };
        let again = out.splice(at(60), &other, FRAME);
        assert_eq!((again.sequence_offset, again.timestamp_offset), (0x8003, 1480));
        let made = out.next(at(80), 0, out.timestamp_at(at(80), FRAME));
        assert_eq!((made.sequence, made.timestamp), (0x8004, 1640));
    }
}
