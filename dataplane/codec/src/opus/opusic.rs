//! Binding to libopus 1.6 by `opusic-c`. Only what differs between back ends.
#![expect(unsafe_code, reason = "opusic-c takes samples as u16")]

use opusic_c::{Application, Bandwidth, Bitrate, Channels, InbandFec, SampleRate};

pub struct Decoder(opusic_c::Decoder);

impl Decoder {
    pub fn new(rate: u32) -> Self {
        let decoder = opusic_c::Decoder::new(Channels::Mono, sample_rate(rate));
        Decoder(decoder.expect("libopus makes a decoder for each of its rates"))
    }

    /// Without payload, and with `redundancy` where the payload has none, libopus conceals: it fills `pcm`.
    pub fn decode(&mut self, payload: Option<&[u8]>, pcm: &mut [i16], redundancy: bool) -> Option<usize> {
        // SAFETY: i16 and u16 have the same size and alignment, and all their bits mean something.
        let pcm = unsafe { core::slice::from_raw_parts_mut(pcm.as_mut_ptr().cast::<u16>(), pcm.len()) };
        self.0.decode_to_slice(payload.unwrap_or(&[]), pcm, redundancy).ok()
    }
}

pub struct Encoder(opusic_c::Encoder);

impl Encoder {
    pub fn new(rate: u32) -> Self {
        let encoder = opusic_c::Encoder::new(Channels::Mono, sample_rate(rate), Application::Voip);
        Encoder(encoder.expect("libopus makes an encoder for each of its rates"))
    }

    pub fn encode(&mut self, pcm: &[i16], payload: &mut [u8]) -> Option<usize> {
        // SAFETY: i16 and u16 have the same size and alignment, and all their bits mean something.
        let pcm = unsafe { core::slice::from_raw_parts(pcm.as_ptr().cast::<u16>(), pcm.len()) };
        self.0.encode_to_slice(pcm, payload).ok()
    }

    pub fn set_bitrate(&mut self, bits: u32) {
        done(&self.0.set_bitrate(Bitrate::Value(bits)));
    }

    pub fn set_vbr(&mut self, on: bool) {
        done(&self.0.set_vbr(on));
    }

    pub fn set_dtx(&mut self, on: bool) {
        done(&self.0.set_dtx(on));
    }

    pub fn set_fec(&mut self, on: bool) {
        done(&self.0.set_inband_fec(if on { InbandFec::Mode1 } else { InbandFec::Off }));
    }

    pub fn set_loss(&mut self, percent: u8) {
        done(&self.0.set_packet_loss(percent));
    }

    pub fn set_complexity(&mut self, complexity: u8) {
        done(&self.0.set_complexity(complexity));
    }

    /// What is above half of `rate` is not coded.
    pub fn set_bandwidth_max(&mut self, rate: u32) {
        done(&self.0.set_max_bandwidth(match rate {
            8_000 => Bandwidth::Narrow,
            12_000 => Bandwidth::Medium,
            16_000 => Bandwidth::Wide,
            24_000 => Bandwidth::Superwide,
            _ => Bandwidth::Full,
        }));
    }

    pub fn reset(&mut self) {
        done(&self.0.reset());
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

/// Bytes of an encoder and a decoder.
#[cfg(test)]
pub fn sizes() -> (usize, usize) {
    // SAFETY: these only compute.
    let (encoder, decoder) =
        unsafe { (opusic_c::sys::opus_encoder_get_size(1), opusic_c::sys::opus_decoder_get_size(1)) };
    (encoder as usize, decoder as usize)
}

/// A decoder at 48 kHz that tells what the range coder ended with, which `opusic-c` does not.
#[cfg(test)]
pub struct Ranged(*mut opusic_c::sys::OpusDecoder);

#[cfg(test)]
impl Ranged {
    pub fn new() -> Self {
        // SAFETY: made for one channel; the error goes nowhere.
        let made = unsafe { opusic_c::sys::opus_decoder_create(48_000, 1, core::ptr::null_mut()) };
        assert!(!made.is_null(), "libopus makes a decoder");
        Ranged(made)
    }

    pub fn decode(&mut self, payload: &[u8], pcm: &mut [i16; 5_760]) -> u32 {
        use opusic_c::sys::{OPUS_GET_FINAL_RANGE_REQUEST, opus_decode, opus_decoder_ctl};
        let mut range = 0u32;
        // SAFETY: lengths are those of the slices; the request takes a pointer to a u32.
        let done = unsafe {
            let samples =
                opus_decode(self.0, payload.as_ptr(), payload.len() as i32, pcm.as_mut_ptr(), 5_760, 0);
            samples > 0 && opus_decoder_ctl(self.0, OPUS_GET_FINAL_RANGE_REQUEST, &raw mut range) == 0
        };
        assert!(done, "decoded");
        range
    }
}

#[cfg(test)]
impl Drop for Ranged {
    fn drop(&mut self) {
        // SAFETY: made by `opus_decoder_create`, and used by nobody else.
        unsafe { opusic_c::sys::opus_decoder_destroy(self.0) }
    }
}
