//! Binding to the system's libopus by `audiopus`. Only what differs between back ends.

use audiopus::coder::GenericCtl as _;
use audiopus::{Application, Bandwidth, Bitrate, Channels, MutSignals, SampleRate};

pub struct Decoder(audiopus::coder::Decoder);

impl Decoder {
    pub fn new(rate: u32) -> Self {
        let decoder = audiopus::coder::Decoder::new(sample_rate(rate), Channels::Mono);
        Decoder(decoder.expect("libopus makes a decoder for each of its rates"))
    }

    /// Without payload, and with `redundancy` where the payload has none, libopus conceals: it fills `pcm`.
    pub fn decode(&mut self, payload: Option<&[u8]>, pcm: &mut [i16], redundancy: bool) -> Option<usize> {
        let payload = payload.map(TryFrom::try_from).transpose().ok()?;
        self.0.decode(payload, MutSignals::try_from(pcm).ok()?, redundancy).ok()
    }
}

pub struct Encoder(audiopus::coder::Encoder);

impl Encoder {
    pub fn new(rate: u32) -> Self {
        let encoder = audiopus::coder::Encoder::new(sample_rate(rate), Channels::Mono, Application::Voip);
        Encoder(encoder.expect("libopus makes an encoder for each of its rates"))
    }

    pub fn encode(&mut self, pcm: &[i16], payload: &mut [u8]) -> Option<usize> {
        self.0.encode(pcm, payload).ok()
    }

    pub fn set_bitrate(&mut self, bits: u32) {
        done(&self.0.set_bitrate(Bitrate::BitsPerSecond(bits as i32)));
    }

    pub fn set_vbr(&mut self, on: bool) {
        done(&self.0.set_vbr(on));
    }

    pub fn set_dtx(&mut self, on: bool) {
        done(&self.0.set_dtx(on));
    }

    pub fn set_fec(&mut self, on: bool) {
        done(&self.0.set_inband_fec(on));
    }

    pub fn set_loss(&mut self, percent: u8) {
        done(&self.0.set_packet_loss_perc(percent));
    }

    pub fn set_complexity(&mut self, complexity: u8) {
        done(&self.0.set_complexity(complexity));
    }

    /// What is above half of `rate` is not coded.
    pub fn set_bandwidth_max(&mut self, rate: u32) {
        done(&self.0.set_max_bandwidth(match rate {
            8_000 => Bandwidth::Narrowband,
            12_000 => Bandwidth::Mediumband,
            16_000 => Bandwidth::Wideband,
            24_000 => Bandwidth::Superwideband,
            _ => Bandwidth::Fullband,
        }));
    }

    pub fn reset(&mut self) {
        done(&self.0.reset_state());
    }
}

/// Settings in range cannot fail; were one to, the stream would still be right, so nobody is stopped for it.
fn done<E>(result: &Result<(), E>) {
    debug_assert!(result.is_ok(), "libopus refuses a setting");
}

fn sample_rate(rate: u32) -> SampleRate {
    match rate {
        8_000 => SampleRate::Hz8000,
        12_000 => SampleRate::Hz12000,
        16_000 => SampleRate::Hz16000,
        24_000 => SampleRate::Hz24000,
        _ => SampleRate::Hz48000,
    }
}

/// A decoder at 48 kHz that tells what the range coder ended with.
#[cfg(test)]
pub struct Ranged(Decoder);

#[cfg(test)]
impl Ranged {
    pub fn new() -> Self {
        Ranged(Decoder::new(48_000))
    }

    pub fn decode(&mut self, payload: &[u8], pcm: &mut [i16; 5_760]) -> u32 {
        self.0.decode(Some(payload), pcm, false).expect("decoded");
        self.0.0.final_range().expect("a number")
    }
}
