//! L16: samples of 16 bits as they are, the high byte first (RFC 3551 section 4.5.11). Mono, at the rates that speech is
//! mixed at; other clocks (the static types 10 and 11 have 44,100) pass as relay.

use crate::coder::{Decoder, Encoder, PACKET_MS_MAX, PAYLOAD_MAX, Undecodable};
use crate::plc::Plc;
use crate::registry::Codec;

/// At 8 kHz.
pub static L16_8000: Codec = at::<8_000>(&[8_000], &[10, 20, 30, 40, 60]);
/// At 16 kHz.
pub static L16_16000: Codec = at::<16_000>(&[16_000], &[10, 20, 30, 40]);
/// At 32 kHz.
pub static L16_32000: Codec = at::<32_000>(&[32_000], &[10, 20]);
/// At 48 kHz.
pub static L16_48000: Codec = at::<48_000>(&[48_000], &[10]);

const fn at<const RATE: u32>(rates: &'static [u32], ptimes: &'static [u8]) -> Codec {
    Codec {
        name: "l16",
        clock: RATE,
        channels: 1,
        rates,
        ptimes,
        decoder: |_, _| Box::new(L16Decoder { rate: RATE, plc: Plc::new(RATE) }),
        encoder: |_, _| Box::new(L16Encoder { rate: RATE }),
        bandwidth: |_| RATE,
        silence: |samples, payload| {
            payload.get_mut(..samples.checked_mul(2)?)?.fill(0);
            Some(samples * 2)
        },
    }
}

struct L16Decoder {
    rate: u32,
    plc: Plc,
}

impl Decoder for L16Decoder {
    fn rate(&self) -> u32 {
        self.rate
    }

    fn samples(&self, payload: &[u8]) -> Result<usize, Undecodable> {
        let (samples, rest) = (payload.len() / 2, payload.len() % 2);
        let samples_max = (self.rate / 1_000 * PACKET_MS_MAX) as usize;
        if rest == 0 && (1..=samples_max).contains(&samples) { Ok(samples) } else { Err(Undecodable) }
    }

    fn decode(&mut self, payload: &[u8], pcm: &mut [i16]) -> Result<usize, Undecodable> {
        let samples = self.samples(payload)?;
        let pcm = pcm.get_mut(..samples).ok_or(Undecodable)?;
        for (sample, bytes) in pcm.iter_mut().zip(payload.chunks_exact(2)) {
            *sample = i16::from_be_bytes([bytes[0], bytes[1]]);
        }
        self.plc.heard(pcm);
        Ok(samples)
    }

    fn conceal(&mut self, pcm: &mut [i16]) {
        self.plc.conceal(pcm);
    }
}

struct L16Encoder {
    rate: u32,
}

impl Encoder for L16Encoder {
    fn rate(&self) -> u32 {
        self.rate
    }

    fn encode(&mut self, pcm: &[i16], payload: &mut [u8; PAYLOAD_MAX]) -> usize {
        for (bytes, sample) in payload.chunks_exact_mut(2).zip(pcm) {
            bytes.copy_from_slice(&sample.to_be_bytes());
        }
        pcm.len().min(PAYLOAD_MAX / 2) * 2
    }

    fn reset(&mut self) {}
}
