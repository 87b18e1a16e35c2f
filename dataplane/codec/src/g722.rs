//! G.722: 16 kHz in 64 kbit/s, two bands of adaptive differential PCM (ITU-T G.722 mode 1). One octet a pair of samples,
//! the two bits of the upper band above the six of the lower one; its RTP clock is 8 kHz (RFC 3551 section 4.5.2).

mod band;
mod mirror;

use crate::coder::{Decoder, Encoder, PACKET_MS_MAX, PAYLOAD_MAX, Undecodable};
use crate::plc::Plc;
use crate::registry::Codec;
use band::{Lower, Upper};
use mirror::{Analysis, Synthesis};

/// G.722.
pub static G722: Codec = Codec {
    name: "g722",
    clock: 8_000,
    channels: 1,
    rates: &[RATE],
    ptimes: &[10, 20, 30, 40, 60],
    decoder: |_, _| Box::new(G722Decoder::new()),
    encoder: |_, _| Box::new(G722Encoder::default()),
    bandwidth: |_| RATE,
    // The code at which the lower band adds nothing and both steps shrink: whatever was said before is gone within
    // 20 ms, and 58 dB below full scale remain at the upper edge of the band.
    silence: |samples, payload| {
        let codes = samples.is_multiple_of(2).then(|| payload.get_mut(..samples / 2))??;
        codes.fill(0xfd);
        Some(codes.len())
    },
};

const RATE: u32 = 16_000;
const LEN_MAX: usize = (RATE / 2_000 * PACKET_MS_MAX) as usize;

struct G722Decoder {
    lower: Lower,
    upper: Upper,
    synthesis: Synthesis,
    plc: Plc,
}

impl G722Decoder {
    fn new() -> Self {
        G722Decoder {
            lower: Lower::default(),
            upper: Upper::default(),
            synthesis: Synthesis::default(),
            plc: Plc::new(RATE),
        }
    }
}

impl Decoder for G722Decoder {
    fn rate(&self) -> u32 {
        RATE
    }

    fn samples(&self, payload: &[u8]) -> Result<usize, Undecodable> {
        if (1..=LEN_MAX).contains(&payload.len()) { Ok(2 * payload.len()) } else { Err(Undecodable) }
    }

    fn decode(&mut self, payload: &[u8], pcm: &mut [i16]) -> Result<usize, Undecodable> {
        let samples = self.samples(payload)?;
        let pcm = pcm.get_mut(..samples).ok_or(Undecodable)?;
        for (code, pair) in payload.iter().zip(pcm.chunks_exact_mut(2)) {
            let (low, high) = (self.lower.decode(code & 0x3f), self.upper.decode(code >> 6));
            pair.copy_from_slice(&self.synthesis.join(low, high));
        }
        self.plc.heard(pcm);
        Ok(samples)
    }

    fn conceal(&mut self, pcm: &mut [i16]) {
        self.plc.conceal(pcm);
    }
}

#[derive(Default)]
struct G722Encoder {
    lower: Lower,
    upper: Upper,
    analysis: Analysis,
}

impl Encoder for G722Encoder {
    fn rate(&self) -> u32 {
        RATE
    }

    fn encode(&mut self, pcm: &[i16], payload: &mut [u8; PAYLOAD_MAX]) -> usize {
        for (pair, code) in pcm.chunks_exact(2).zip(payload.iter_mut()) {
            let (low, high) = self.analysis.split([pair[0], pair[1]]);
            *code = (self.upper.encode(high) << 6) | self.lower.encode(low);
        }
        (pcm.len() / 2).min(PAYLOAD_MAX)
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests;
