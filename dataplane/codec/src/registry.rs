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

    /// Writes a payload that decodes to silence (at most a faint remnant) whatever came before it, as long as `samples`
    /// at the highest of [`Codec::rates`], and returns its length. `None` if there is no such payload for that many
    /// samples, or no room.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coder::{PACKET_MS_MAX, PAYLOAD_MAX};
    use crate::payload;
    use proptest::prelude::*;

    fn format(codec: &Codec) -> Format<'static> {
        Format { name: codec.name, clock: codec.clock, channels: codec.channels, fmtp: "" }
    }

    fn tone(rate: u32, samples: usize) -> Vec<i16> {
        let step = 440.0 * core::f64::consts::TAU / f64::from(rate);
        (0..samples).map(|n| (8_000.0 * (n as f64 * step).sin()) as i16).collect()
    }

    fn level(pcm: &[i16]) -> f64 {
        (pcm.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / pcm.len().max(1) as f64).sqrt()
    }

    /// A new codec is a file and a line of the list: all that is asked of one is asked here of each line.
    #[test]
    fn every_line_of_the_list_is_found_codes_speech_and_conceals() {
        for codec in CODECS {
            let format = format(codec);
            assert!(core::ptr::eq(find(&format).unwrap(), *codec), "{codec:?} is found by its own format");
            let facts = payload::by_name(codec.name).unwrap();
            assert_eq!((facts.kind, facts.name), (payload::Kind::Audio, codec.name));
            assert!(codec.rates.is_sorted() && codec.ptimes.is_sorted());
            assert_eq!(Some(&codec.bandwidth(&format)), codec.rates.last(), "{codec:?} without fmtp");
            for rate in codec.rates {
                for ptime in codec.ptimes {
                    speaks(codec, *rate, usize::from(*ptime));
                }
            }
        }
    }

    /// One tone, encoded, decoded, interrupted, reset.
    fn speaks(codec: &Codec, rate: u32, ptime: usize) {
        let samples = rate as usize / 1_000 * ptime;
        let mut encoder = codec.encoder(&format(codec), EncoderSettings { rate, complexity: 5 });
        let mut decoder = codec.decoder(&format(codec), rate);
        assert_eq!((encoder.rate(), decoder.rate()), (rate, rate));
        let mut pcm = vec![0; (rate / 1_000 * PACKET_MS_MAX) as usize];
        let (mut payload, mut first) = ([0; PAYLOAD_MAX], Vec::new());
        let spoken = tone(rate, samples * 10);
        for block in spoken.chunks(samples) {
            let len = encoder.encode(block, &mut payload);
            assert!(len > 0, "{codec:?}, {ptime} ms");
            assert_eq!(decoder.samples(&payload[..len]), Ok(samples));
            assert_eq!(decoder.decode(&payload[..len], &mut pcm), Ok(samples));
            if first.is_empty() {
                first = payload[..len].to_vec();
            }
        }
        let heard = level(&pcm[..samples]);
        assert!((4_500.0..7_000.0).contains(&heard), "{codec:?} at {rate}, {ptime} ms: {heard:.0}");
        decoder.conceal(&mut pcm[..rate as usize / 100]);
        assert!(level(&pcm[..rate as usize / 100]) > 2_000.0, "{codec:?}: a lost packet is covered");
        assert_eq!(decoder.decode(&[], &mut pcm), Err(crate::coder::Undecodable));
        encoder.reset();
        let len = encoder.encode(&spoken[..samples], &mut payload);
        assert_eq!(payload[..len], first, "{codec:?} begins anew");
    }

    #[test]
    fn silence_is_silent_after_anything() {
        for codec in CODECS {
            let highest = *codec.rates.last().unwrap();
            let samples = highest as usize / 50;
            let (mut payload, mut pcm) = ([0; 2_000], vec![0; highest as usize / 8]);
            let len = codec.silence(samples, &mut payload).unwrap();
            let mut decoder = codec.decoder(&format(codec), highest);
            assert_eq!(decoder.decode(&payload[..len], &mut pcm), Ok(samples));
            assert!(level(&pcm[..samples]) < 50.0, "{codec:?}");
            assert_eq!(codec.silence(samples, &mut [0; 1]), None, "{codec:?}: no room");
        }
    }

    #[test]
    fn what_is_only_relayed_is_not_found() {
        let missing = |name, clock, channels| find(&Format { name, clock, channels, fmtp: "" }).is_none();
        assert!(missing("g729", 8_000, 1) && missing("L16", 44_100, 1) && missing("L16", 11_025, 1));
        assert!(missing("L16", 48_000, 2) && missing("opus", 48_000, 1) && missing("g722", 16_000, 1));
        assert!(!missing("PCMU", 8_000, 1) && !missing("OPUS", 48_000, 2) && !missing("l16", 16_000, 1));
    }

    #[test]
    fn a_rate_that_is_not_there_becomes_the_next_above() {
        let opus = find(&Format { name: "opus", clock: 48_000, channels: 2, fmtp: "" }).unwrap();
        let made = |rate| opus.decoder(&format(opus), rate).rate();
        assert_eq!([8_000, 8_001, 32_000, 96_000].map(made), [8_000, 12_000, 48_000, 48_000]);
        let g722 = find(&Format { name: "G722", clock: 8_000, channels: 1, fmtp: "" }).unwrap();
        assert_eq!(g722.decoder(&format(g722), 8_000).rate(), 16_000);
    }

    proptest! {
        #[test]
        fn any_steps_of_any_decoder_are_survived(data in proptest::collection::vec(any::<u8>(), 0..600)) {
            crate::fuzz::decoders(&data);
        }

        #[test]
        fn any_samples_make_a_payload_that_is_as_long(
            which in 0..CODECS.len(), ptime in 0..6usize, pcm in proptest::collection::vec(any::<i16>(), 2_880),
        ) {
            let codec = CODECS[which];
            for rate in codec.rates {
                let ptime = codec.ptimes[ptime % codec.ptimes.len()];
                let samples = (*rate as usize / 1_000 * usize::from(ptime)).min(pcm.len());
                let mut encoder = codec.encoder(&format(codec), EncoderSettings { rate: *rate, complexity: 1 });
                let mut payload = [0; PAYLOAD_MAX];
                let len = encoder.encode(&pcm[..samples], &mut payload);
                prop_assert_eq!(codec.decoder(&format(codec), *rate).samples(&payload[..len]), Ok(samples));
            }
        }
    }
}
