//! Which formats can be decoded and encoded here: a list, one file a codec. A new codec is a file with a [`Codec`] and a
//! line in [`CODECS`]; what only passes as relay is not here (its facts are in `payload`).

use crate::coder::{Decoder, Encoder, EncoderSettings, Format};
use crate::{g711, g722, l16, opus};

/// Every codec, once a clock.
pub static CODECS: &[&Codec] = &[
    &g711::PCMU,
    &g711::PCMA,
    &g722::G722,
    &l16::L16_8000,
    &l16::L16_16000,
    &l16::L16_32000,
    &l16::L16_48000,
    &opus::OPUS,
];

/// One codec: what it is called, and how its two halves are made. Its file fills this in.
pub struct Codec {
    /// Encoding name, in lower case.
    pub name: &'static str,
    /// RTP clock in Hz.
    pub clock: u32,
    /// Channels as in SDP; what is decoded and encoded is mono all the same.
    pub channels: u8,
    /// PCM rates that it can be run at, narrowest first.
    pub rates: &'static [u32],
    /// Lengths of packets that its encoder takes, in milliseconds, shortest first: what the format allows and what fits
    /// into `PAYLOAD_MAX`.
    pub ptimes: &'static [u8],
    pub(crate) decoder: fn(&Format<'_>, u32) -> Box<dyn Decoder>,
    pub(crate) encoder: fn(&Format<'_>, EncoderSettings) -> Box<dyn Encoder>,
    pub(crate) bandwidth: fn(&Format<'_>) -> u32,
    pub(crate) silence: fn(usize, &mut [u8]) -> Option<usize>,
}

/// The codec of a negotiated format; `None` if it passes as relay only.
pub fn find(format: &Format<'_>) -> Option<&'static Codec> {
    CODECS.iter().copied().find(|codec| {
        codec.name.eq_ignore_ascii_case(format.name)
            && codec.clock == format.clock
            && codec.channels == format.channels
    })
}

impl Codec {
    /// Makes a decoder that yields `rate`, one of [`Codec::rates`]; another one becomes the nearest above, else the
    /// highest (see [`Decoder::rate`]). Allocates; the decoder does not.
    pub fn decoder(&self, format: &Format<'_>, rate: u32) -> Box<dyn Decoder> {
        (self.decoder)(format, self.rate_for(rate))
    }

    /// Makes an encoder that takes `settings.rate`, chosen like a decoder's. `format` is the far end's: its `fmtp` says
    /// what it wants to receive. Allocates; the encoder does not.
    pub fn encoder(&self, format: &Format<'_>, settings: EncoderSettings) -> Box<dyn Encoder> {
        (self.encoder)(format, EncoderSettings { rate: self.rate_for(settings.rate), ..settings })
    }

    /// The PCM rate that holds all that the far end, whose format this is, wants to receive.
    pub fn bandwidth(&self, format: &Format<'_>) -> u32 {
        (self.bandwidth)(format)
    }

    /// Writes a payload that decodes to silence whatever came before it, as long as `samples` at the highest of
    /// [`Codec::rates`], and returns its length. `None` if there is no such payload for that many samples, or no room.
    pub fn silence(&self, samples: usize, payload: &mut [u8]) -> Option<usize> {
        (self.silence)(samples, payload)
    }

    fn rate_for(&self, wanted: u32) -> u32 {
        let above = self.rates.iter().copied().find(|rate| *rate >= wanted);
        above.or(self.rates.last().copied()).unwrap_or(wanted)
    }
}

impl core::fmt::Debug for Codec {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}/{}/{}", self.name, self.clock, self.channels)
    }
}
