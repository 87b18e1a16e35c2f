//! Opus (RFC 6716, RTP as RFC 7587), mono, by libopus behind checks of our own: no packet reaches it whose lengths
//! contradict each other. Which libopus is a feature; only the binding differs.

mod packet;

#[cfg(all(feature = "audiopus", not(feature = "opusic")))]
#[path = "opus/audiopus.rs"]
mod binding;
#[cfg(feature = "opusic")]
#[path = "opus/opusic.rs"]
mod binding;
#[cfg(all(feature = "opusic", feature = "audiopus"))]
compile_error!(
    "features `opusic` (default) and `audiopus` exclude each other: build with --no-default-features"
);
#[cfg(not(any(feature = "opusic", feature = "audiopus")))]
compile_error!("Opus needs a libopus: feature `opusic` (bundled, default) or `audiopus` (the system's)");

use crate::coder::{Decoder, Encoder, EncoderSettings, PACKET_MS_MAX, PAYLOAD_MAX, Undecodable};
use crate::registry::Codec;
use packet::Packet;

/// Opus. Its clock is 48 kHz whatever it is run at.
pub static OPUS: Codec = Codec {
    name: "opus",
    clock: 48_000,
    channels: 2,
    rates: &[8_000, 12_000, 16_000, 24_000, 48_000],
    // A frame of 30 ms there is not.
    ptimes: &[10, 20, 40, 60],
    decoder: |_, rate| Box::new(OpusDecoder { rate, inner: binding::Decoder::new(rate) }),
    encoder: |format, settings| Box::new(OpusEncoder::new(Wishes::read(format.fmtp), settings)),
    bandwidth: |format| Wishes::read(format.fmtp).rate_max,
    silence,
};

/// A payload is sent at least this often in silence, by libopus; others of it are as short as this (RFC 7587 section
/// 3.1.3: they say nothing but that nobody speaks).
const DTX_LEN_MAX: usize = 2;

struct OpusDecoder {
    rate: u32,
    inner: binding::Decoder,
}

impl OpusDecoder {
    /// Samples in 2.5 ms, of which everything in Opus is a multiple.
    fn unit(&self) -> usize {
        self.rate as usize / 400
    }

    fn samples_max(&self) -> usize {
        (self.rate / 1_000 * PACKET_MS_MAX) as usize
    }
}

impl Decoder for OpusDecoder {
    fn rate(&self) -> u32 {
        self.rate
    }

    fn samples(&self, payload: &[u8]) -> Result<usize, Undecodable> {
        Ok(Packet::parse(payload)?.units() * self.unit())
    }

    fn decode(&mut self, payload: &[u8], pcm: &mut [i16]) -> Result<usize, Undecodable> {
        let samples = self.samples(payload)?;
        let pcm = pcm.get_mut(..samples).ok_or(Undecodable)?;
        self.inner.decode(Some(payload), pcm, false).filter(|found| *found == samples).ok_or(Undecodable)
    }

    fn recover(&mut self, next_payload: &[u8], pcm: &mut [i16]) -> bool {
        let Ok(packet) = Packet::parse(next_payload) else { return false };
        // What is missing before the frame that is repeated, libopus conceals.
        let holds = packet.frame_units() * self.unit() <= pcm.len() && pcm.len() <= self.samples_max();
        packet.has_redundancy()
            && holds
            && pcm.len().is_multiple_of(self.unit())
            && self.inner.decode(Some(next_payload), pcm, true).is_some()
    }

    fn conceal(&mut self, pcm: &mut [i16]) {
        let (unit, samples_max) = (self.unit(), self.samples_max());
        for piece in pcm.chunks_mut(samples_max) {
            let whole = piece.len() - piece.len() % unit;
            let (whole, rest) = piece.split_at_mut(whole);
            if whole.is_empty() || self.inner.decode(None, whole, false).is_none() {
                whole.fill(0);
            }
            rest.fill(0);
        }
    }

    fn is_silence(&self, payload: &[u8]) -> bool {
        (1..=DTX_LEN_MAX).contains(&payload.len())
    }
}

/// What the far end asks for (RFC 7587 section 6.1). We encode mono, so that `stereo` changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wishes {
    /// The PCM rate that holds what it can play.
    rate_max: u32,
    bitrate_max: u32,
    fec: bool,
    dtx: bool,
    cbr: bool,
}

impl Wishes {
    /// What is not understood is as if it were not there.
    fn read(fmtp: &str) -> Self {
        let mut wishes =
            Wishes { rate_max: 48_000, bitrate_max: 510_000, fec: false, dtx: false, cbr: false };
        for parameter in fmtp.split(';') {
            let Some((name, value)) = parameter.split_once('=') else { continue };
            let (name, Ok(value)) = (name.trim(), value.trim().parse::<u32>()) else { continue };
            let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
            if is("maxplaybackrate") {
                let above = OPUS.rates.iter().copied().find(|rate| *rate >= value);
                wishes.rate_max = above.unwrap_or(48_000);
            } else if is("maxaveragebitrate") {
                wishes.bitrate_max = value.clamp(6_000, 510_000);
            } else if is("useinbandfec") {
                wishes.fec = value == 1;
            } else if is("usedtx") {
                wishes.dtx = value == 1;
            } else if is("cbr") {
                wishes.cbr = value == 1;
            }
        }
        wishes
    }
}

struct OpusEncoder {
    rate: u32,
    inner: binding::Encoder,
    wishes: Wishes,
    loss: u8,
    complexity: u8,
    /// Nobody spoke in the last packet, and the far end has been told.
    silent: bool,
}

impl OpusEncoder {
    fn new(wishes: Wishes, settings: EncoderSettings) -> Self {
        let EncoderSettings { rate, complexity } = settings;
        let complexity = complexity.min(10);
        let mut inner = binding::Encoder::new(rate);
        inner.set_bandwidth_max(rate.min(wishes.rate_max));
        inner.set_vbr(!wishes.cbr);
        inner.set_dtx(wishes.dtx);
        inner.set_complexity(complexity);
        let mut encoder = OpusEncoder { rate, inner, wishes, loss: 0, complexity, silent: false };
        encoder.follow_loss();
        encoder
    }

    fn follow_loss(&mut self) {
        let redundant = self.loss > 0;
        let bits = bitrate(self.rate.min(self.wishes.rate_max), redundant);
        self.inner.set_bitrate(bits.min(self.wishes.bitrate_max));
        self.inner.set_fec(redundant);
        self.inner.set_loss(self.loss);
    }
}

impl Encoder for OpusEncoder {
    fn rate(&self) -> u32 {
        self.rate
    }

    /// 0 also for lengths that are not in [`Codec::ptimes`]. The first packet of a silence is sent, short as it is: it
    /// tells the far end that silence is not loss.
    fn encode(&mut self, pcm: &[i16], payload: &mut [u8; PAYLOAD_MAX]) -> usize {
        let len = self.inner.encode(pcm, payload).unwrap_or(0);
        let (was_silent, silent) = (self.silent, self.wishes.dtx && len <= DTX_LEN_MAX);
        self.silent = silent;
        if was_silent && silent { 0 } else { len }
    }

    fn set_loss(&mut self, percent: u8) {
        let percent = if self.wishes.fec { percent.min(100) } else { 0 };
        if percent != self.loss {
            self.loss = percent;
            self.follow_loss();
        }
    }

    fn set_complexity(&mut self, complexity: u8) {
        let complexity = complexity.min(10);
        if complexity != self.complexity {
            self.complexity = complexity;
            self.inner.set_complexity(complexity);
        }
    }

    fn reset(&mut self) {
        self.inner.reset();
        self.silent = false;
    }
}

/// Bits a second that speech of this rate is worth, alone and with redundancy: from less than the latter libopus spares
/// none for it at the lowest complexity.
fn bitrate(rate: u32, with_redundancy: bool) -> u32 {
    let (alone, redundant) = match rate {
        0..=8_000 => (16_000, 26_000),
        8_001..=12_000 => (20_000, 30_000),
        12_001..=16_000 => (24_000, 34_000),
        16_001..=24_000 => (28_000, 42_000),
        _ => (32_000, 44_000),
    };
    if with_redundancy { redundant } else { alone }
}

/// CELT frames whose first symbol says that there is nothing in them (RFC 6716 section 4.3), full band, any number of
/// them in a packet (code 3).
fn silence(samples: usize, payload: &mut [u8]) -> Option<usize> {
    const FRAME: [u8; 2] = [0xff, 0xfe];
    let lengths = [(31, 960), (30, 480), (29, 240), (28, 120)];
    let (config, length) = lengths.into_iter().find(|(_, length)| samples.is_multiple_of(*length))?;
    let frames = u8::try_from(samples / length).ok().filter(|frames| *frames > 0)?;
    if samples > 48 * PACKET_MS_MAX as usize {
        return None;
    }
    let len = 2 + 2 * usize::from(frames);
    let packet = payload.get_mut(..len)?;
    packet[..2].copy_from_slice(&[config << 3 | 3, frames]);
    packet[2..].chunks_exact_mut(2).for_each(|frame| frame.copy_from_slice(&FRAME));
    Some(len)
}

#[cfg(test)]
mod tests;
