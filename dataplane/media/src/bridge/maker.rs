//! Speech towards one peer: cut into packets of its packet time, encoded, given the identity of the stream. What is
//! said and when is decided elsewhere.

use super::made::{MADE_LEN_MAX, Made};
use super::outgoing::Outgoing;
use super::port::Aim;
use crate::reporter::Reporter;
use crate::srtp::Sealer;
use crate::wire::rtp::{HEADER_LEN, Header};
use base::{Duration, Instant};
use codec::coder::{Encoder, EncoderSettings, Format, PAYLOAD_MAX};
use codec::registry;
use command::report::Totals;
use command::{Payload, Verdict};

/// What one port's made stream is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Making {
    /// The peer's payload format; its parameters say what it wants.
    pub payload: Payload,
    /// Milliseconds a packet: 10, 20, 30, 40, 50 or 60.
    pub ptime_ms: u16,
    /// Samples a second of what it is fed.
    pub rate: u32,
}

/// See the module.
pub(super) struct Maker {
    pub making: Making,
    pub name: &'static str,
    encoder: Box<dyn Encoder>,
    /// Samples a packet.
    frame: usize,
    /// What does not fill a packet yet, and the timestamp of its first sample.
    pending: Vec<i16>,
    pending_at: u32,
    complexity: u8,
    loss: u8,
    /// Another one makes the stream.
    forgotten: bool,
}

/// How packets of a port leave: to whom, under which key, and what counts them.
pub(super) struct Leave<'p> {
    pub now: Instant,
    pub made: &'p mut Made,
    pub aim: Aim,
    pub sealer: Option<&'p mut Sealer>,
    pub out: &'p mut Outgoing,
    pub reporter: Option<&'p mut Reporter>,
    pub sent: &'p mut Totals,
}

impl Leave<'_> {
    /// Makes a packet of the stream: `fill` writes the payload and says how long it is (0: no packet).
    pub fn packet(
        &mut self,
        payload_type: u8,
        timestamp: u32,
        fill: impl FnOnce(&mut [u8; PAYLOAD_MAX]) -> usize,
    ) -> Result<(), Verdict> {
        let now = self.now;
        self.write(fill, true, |out| out.next(now, payload_type, timestamp))
    }

    /// Makes a packet beside the audio's time (an event).
    pub fn beside(
        &mut self,
        marker: bool,
        payload_type: u8,
        timestamp: u32,
        payload: &[u8],
    ) -> Result<(), Verdict> {
        let fill = |buffer: &mut [u8; PAYLOAD_MAX]| copy(payload, buffer);
        self.write(fill, false, |out| out.next_beside(marker, payload_type, timestamp))
    }

    fn write(
        &mut self,
        fill: impl FnOnce(&mut [u8; PAYLOAD_MAX]) -> usize,
        paced: bool,
        head: impl FnOnce(&mut Outgoing) -> Header,
    ) -> Result<(), Verdict> {
        let Leave { now, made, aim, sealer, out, reporter, sent } = self;
        let target = aim.target?;
        let mut failed = None;
        let has_room = made.make(super::Hop { slot: aim.slot, target }, |buffer| {
            let room = buffer[HEADER_LEN..].first_chunk_mut::<PAYLOAD_MAX>()?;
            let len = fill(room).min(PAYLOAD_MAX);
            if len == 0 {
                out.break_off();
                return None;
            }
            let header = head(out);
            buffer[..HEADER_LEN].copy_from_slice(&header.to_bytes());
            if let Some(reporter) = reporter {
                reporter.on_sent(*now, &header, out.clock(), paced, len);
            }
            let len = match sealer {
                Some(sealer) => {
                    sealer.seal_rtp(buffer, HEADER_LEN + len).map_err(|why| failed = Some(why)).ok()?
                }
                None => HEADER_LEN + len,
            };
            sent.packets += 1;
            sent.bytes += len as u64;
            Some(len)
        });
        match failed {
            Some(why) => Err(why),
            None if has_room => Ok(()),
            None => Err(Verdict::Overrun),
        }
    }
}

const _: () = assert!(HEADER_LEN + PAYLOAD_MAX + crate::srtp::OVERHEAD_MAX <= MADE_LEN_MAX);

/// Copies a payload, as far as it fits.
pub(super) fn copy(payload: &[u8], buffer: &mut [u8; PAYLOAD_MAX]) -> usize {
    let len = payload.len().min(PAYLOAD_MAX);
    buffer[..len].copy_from_slice(&payload[..len]);
    len
}

impl Maker {
    /// `None` if the format cannot be made here.
    pub fn new(making: Making, complexity: u8) -> Option<Self> {
        let format = format_of(&making.payload);
        let codec = registry::find(&format)?;
        let encoder = codec.encoder(&format, EncoderSettings { rate: making.rate, complexity });
        let rate = encoder.rate();
        let making = Making { rate, ..making };
        let frame = rate as usize * usize::from(making.ptime_ms) / 1000;
        Some(Maker {
            name: codec.name,
            encoder,
            frame,
            pending: Vec::with_capacity(frame),
            pending_at: 0,
            complexity,
            loss: 0,
            forgotten: false,
            making,
        })
    }

    /// Whether it does for what is wanted: a wider one does for a narrower.
    pub fn suits(&self, wanted: &Making) -> bool {
        Making { rate: self.making.rate, ..wanted.clone() } == self.making && wanted.rate <= self.making.rate
    }

    /// Samples a second that it takes.
    pub fn rate(&self) -> u32 {
        self.making.rate
    }

    pub fn ptime(&self) -> Duration {
        Duration::from_millis(self.making.ptime_ms.into())
    }

    /// How hard the encoder tries from now on.
    #[inline]
    pub fn set_complexity(&mut self, complexity: u8) {
        if self.complexity != complexity {
            self.complexity = complexity;
            self.encoder.set_complexity(complexity);
        }
    }

    /// The far end loses this much, in percent.
    pub fn set_loss(&mut self, percent: u8) {
        if self.loss != percent {
            self.loss = percent;
            self.encoder.set_loss(percent);
        }
    }

    /// Ticks of the stream's clock that so many samples take.
    fn ticks(&self, samples: usize) -> u32 {
        (samples as u64 * u64::from(self.making.payload.clock) / u64::from(self.making.rate.max(1))) as u32
    }

    /// Says `pcm`, whose first sample belongs to `timestamp`. What goes on from before fills packets with it; where time
    /// jumps, what is pending leaves first.
    pub fn say(&mut self, leave: &mut Leave<'_>, timestamp: u32, pcm: &[i16]) -> Result<(), Verdict> {
        if self.pending.is_empty() {
            self.pending_at = timestamp;
        } else {
            let expected = self.pending_at.wrapping_add(self.ticks(self.pending.len()));
            let ahead = timestamp.wrapping_sub(expected) as i32;
            // What overlaps goes on: time is never turned back.
            if ahead > self.ticks(self.frame) as i32 / 4 {
                self.flush(leave)?;
                leave.out.break_off();
                self.pending_at = timestamp;
            }
        }
        let mut result = Ok(());
        let mut pcm = pcm;
        while !pcm.is_empty() {
            if self.pending.is_empty() && pcm.len() >= self.frame {
                let (packet, rest) = pcm.split_at(self.frame);
                pcm = rest;
                result = result.and(self.encode(leave, Some(packet)));
                continue;
            }
            let take = (self.frame - self.pending.len()).min(pcm.len());
            self.pending.extend_from_slice(&pcm[..take]);
            pcm = &pcm[take..];
            if self.pending.len() == self.frame {
                result = result.and(self.encode(leave, None));
            }
        }
        result
    }

    /// Sends what is pending, filled up with silence.
    pub fn flush(&mut self, leave: &mut Leave<'_>) -> Result<(), Verdict> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.pending.resize(self.frame, 0);
        self.encode(leave, None)
    }

    /// One packet, of `samples` or of what is pending.
    fn encode(&mut self, leave: &mut Leave<'_>, samples: Option<&[i16]>) -> Result<(), Verdict> {
        self.forgotten = false;
        let timestamp = self.pending_at;
        self.pending_at = timestamp.wrapping_add(self.ticks(self.frame));
        let Maker { encoder, pending, making, .. } = self;
        let samples = samples.unwrap_or(pending);
        let result =
            leave.packet(making.payload.number, timestamp, |payload| encoder.encode(samples, payload));
        pending.clear();
        result
    }

    /// Another one makes the stream for a while: what is pending is old, and the encoder begins anew after that.
    pub fn forget(&mut self) {
        if !core::mem::replace(&mut self.forgotten, true) {
            self.pending.clear();
            self.encoder.reset();
        }
    }

    /// Encodes one packet for several listeners; its length.
    pub fn encode_shared(&mut self, pcm: &[i16], payload: &mut [u8; PAYLOAD_MAX]) -> usize {
        self.encoder.encode(pcm, payload)
    }
}

impl core::fmt::Debug for Maker {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Maker({} {} ms at {} Hz)", self.name, self.making.ptime_ms, self.making.rate)
    }
}

/// A negotiated payload as codecs know it.
pub(super) fn format_of(payload: &Payload) -> Format<'_> {
    let channels = if payload.encoding.eq_ignore_ascii_case("opus") { 2 } else { 1 };
    Format { name: &payload.encoding, clock: payload.clock, channels, fmtp: &payload.fmtp }
}
