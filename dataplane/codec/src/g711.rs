//! G.711: µ-law and A-law, octets as on the wire (A-law with the even bits inverted), samples of 16 bits.
//! Encoding rounds as the reference code of CCITT does, so that decode and encode are exact over all inputs (G.711).

#[cfg_attr(not(target_arch = "x86_64"), path = "g711/no_avx2.rs")]
mod avx2;

use crate::coder::{Decoder, Encoder, EncoderSettings, Format, PACKET_MS_MAX, PAYLOAD_MAX, Undecodable};
use crate::plc::Plc;
use crate::registry::Codec;

/// µ-law.
pub static PCMU: Codec = Codec {
    name: "pcmu",
    clock: RATE,
    channels: 1,
    rates: &[RATE],
    ptimes: &[10, 20, 30, 40, 60],
    decoder: |_, _| Box::new(LawDecoder { decode: decode_ulaw, plc: Plc::new(RATE) }),
    encoder: |_, _: EncoderSettings| Box::new(LawEncoder { encode: encode_ulaw }),
    bandwidth: |_: &Format<'_>| RATE,
    silence: |samples, payload| constant(0xff, samples, payload),
};

/// A-law.
pub static PCMA: Codec = Codec {
    name: "pcma",
    decoder: |_, _| Box::new(LawDecoder { decode: decode_alaw, plc: Plc::new(RATE) }),
    encoder: |_, _| Box::new(LawEncoder { encode: encode_alaw }),
    silence: |samples, payload| constant(0xd5, samples, payload),
    ..PCMU
};

const RATE: u32 = 8_000;
const SAMPLES_MAX: usize = (RATE / 1_000 * PACKET_MS_MAX) as usize;

struct LawDecoder {
    decode: fn(&[u8], &mut [i16]),
    plc: Plc,
}

impl Decoder for LawDecoder {
    fn rate(&self) -> u32 {
        RATE
    }

    fn samples(&self, payload: &[u8]) -> Result<usize, Undecodable> {
        if (1..=SAMPLES_MAX).contains(&payload.len()) { Ok(payload.len()) } else { Err(Undecodable) }
    }

    fn decode(&mut self, payload: &[u8], pcm: &mut [i16]) -> Result<usize, Undecodable> {
        let samples = self.samples(payload)?;
        let pcm = pcm.get_mut(..samples).ok_or(Undecodable)?;
        (self.decode)(payload, pcm);
        self.plc.heard(pcm);
        Ok(samples)
    }

    fn conceal(&mut self, pcm: &mut [i16]) {
        self.plc.conceal(pcm);
    }
}

struct LawEncoder {
    encode: fn(&[i16], &mut [u8]),
}

impl Encoder for LawEncoder {
    fn rate(&self) -> u32 {
        RATE
    }

    fn encode(&mut self, pcm: &[i16], payload: &mut [u8; PAYLOAD_MAX]) -> usize {
        (self.encode)(pcm, payload);
        pcm.len().min(PAYLOAD_MAX)
    }

    fn reset(&mut self) {}
}

/// A payload of the same code throughout.
fn constant(code: u8, samples: usize, payload: &mut [u8]) -> Option<usize> {
    payload.get_mut(..samples)?.fill(code);
    Some(samples)
}

/// Decodes µ-law. Stops at the end of the shorter slice.
pub fn decode_ulaw(coded: &[u8], samples: &mut [i16]) {
    let done = vectors(|avx2| avx2.decode_ulaw(coded, samples));
    decode_by(&ULAW, &coded[done..], &mut samples[done..]);
}

/// Decodes A-law. Stops at the end of the shorter slice.
pub fn decode_alaw(coded: &[u8], samples: &mut [i16]) {
    let done = vectors(|avx2| avx2.decode_alaw(coded, samples));
    decode_by(&ALAW, &coded[done..], &mut samples[done..]);
}

/// Encodes µ-law. Stops at the end of the shorter slice.
pub fn encode_ulaw(samples: &[i16], coded: &mut [u8]) {
    let done = vectors(|avx2| avx2.encode_ulaw(samples, coded));
    for (code, sample) in coded[done..].iter_mut().zip(&samples[done..]) {
        *code = ulaw_of(*sample);
    }
}

/// Encodes A-law. Stops at the end of the shorter slice.
pub fn encode_alaw(samples: &[i16], coded: &mut [u8]) {
    let done = vectors(|avx2| avx2.encode_alaw(samples, coded));
    for (code, sample) in coded[done..].iter_mut().zip(&samples[done..]) {
        *code = alaw_of(*sample);
    }
}

fn decode_by(table: &[i16; 256], coded: &[u8], samples: &mut [i16]) {
    for (sample, code) in samples.iter_mut().zip(coded) {
        *sample = table[usize::from(*code)];
    }
}

/// How much the processor's vectors have done; nothing where it has none of the right kind.
fn vectors(work: impl FnOnce(avx2::Avx2) -> usize) -> usize {
    avx2::Avx2::detect().map_or(0, work)
}

/// Turns µ-law into A-law in place.
pub fn ulaw_to_alaw(coded: &mut [u8]) {
    for code in coded {
        *code = ULAW_TO_ALAW[usize::from(*code)];
    }
}

/// Turns A-law into µ-law in place.
pub fn alaw_to_ulaw(coded: &mut [u8]) {
    for code in coded {
        *code = ALAW_TO_ULAW[usize::from(*code)];
    }
}

/// One sample in µ-law. Code 127, the negative zero, is never made.
pub const fn ulaw_of(sample: i16) -> u8 {
    // 14 bits are coded; the shift rounds towards minus infinity, as in the reference code.
    let short = sample >> 2;
    let (magnitude, mask) = if short < 0 { (-short, 0x7f) } else { (short, 0xff) };
    let biased = (if magnitude > 8158 { 8158 } else { magnitude }) as u16 + 33;
    // `biased` has its highest bit at 5 to 12: that is the segment.
    let segment = 10 - biased.leading_zeros() as u8;
    let step = (biased >> (segment + 1)) as u8 & 0x0f;
    (segment << 4 | step) ^ mask
}

/// One sample in A-law.
pub const fn alaw_of(sample: i16) -> u8 {
    let short = sample >> 3;
    let (magnitude, mask) = if short < 0 { (-short - 1, 0x55) } else { (short, 0xd5) };
    let magnitude = magnitude as u16;
    // Segments 0 and 1 have the same step; from there each is twice as coarse.
    let segment = if magnitude < 32 { 0 } else { 11 - magnitude.leading_zeros() as u8 };
    let step = (magnitude >> (if segment < 2 { 1 } else { segment })) as u8 & 0x0f;
    (segment << 4 | step) ^ mask
}

/// What each µ-law code stands for.
pub const ULAW: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        let bits = !(code as u8);
        let magnitude = (((((bits & 0x0f) as i16) << 3) + 0x84) << ((bits & 0x70) >> 4)) - 0x84;
        table[code] = if bits & 0x80 != 0 { -magnitude } else { magnitude };
        code += 1;
    }
    table
};

/// What each A-law code stands for.
pub const ALAW: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        let bits = code as u8 ^ 0x55;
        let segment = (bits & 0x70) >> 4;
        let step = ((bits & 0x0f) as i16) << 4;
        let magnitude = if segment == 0 { step + 8 } else { (step + 0x108) << (segment - 1) };
        table[code] = if bits & 0x80 != 0 { magnitude } else { -magnitude };
        code += 1;
    }
    table
};

const ULAW_TO_ALAW: [u8; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = alaw_of(ULAW[code]);
        code += 1;
    }
    table
};

const ALAW_TO_ULAW: [u8; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = ulaw_of(ALAW[code]);
        code += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn codes_decode_as_the_recommendation_says() {
        check_decode("ulaw.csv", &ULAW);
        check_decode("alaw.csv", &ALAW);
        assert_eq!((ULAW[0], ULAW[0x80], ULAW[0xff], ULAW[0x7f]), (-32124, 32124, 0, 0));
        assert_eq!((ALAW[0x55], ALAW[0xd5], ALAW[0x2a], ALAW[0xaa]), (-8, 8, -32256, 32256));
    }

    #[test]
    fn every_sample_encodes_to_the_code_whose_interval_holds_it() {
        check_encode("ulaw_encode.csv", ulaw_of);
        check_encode("alaw_encode.csv", alaw_of);
    }

    #[test]
    fn what_was_decoded_encodes_to_itself() {
        for code in 0..=255u8 {
            assert_eq!(alaw_of(ALAW[usize::from(code)]), code);
            // The negative zero becomes the positive one.
            assert_eq!(ulaw_of(ULAW[usize::from(code)]), if code == 127 { 255 } else { code });
        }
    }

    #[test]
    fn louder_samples_never_decode_softer() {
        let (mut last_ulaw, mut last_alaw) = (i16::MIN, i16::MIN);
        for sample in i16::MIN..=i16::MAX {
            let (ulaw, alaw) = (ULAW[usize::from(ulaw_of(sample))], ALAW[usize::from(alaw_of(sample))]);
            assert!(ulaw >= last_ulaw && alaw >= last_alaw, "at {sample}");
            (last_ulaw, last_alaw) = (ulaw, alaw);
        }
    }

    #[test]
    fn one_law_turns_into_the_other_and_back_within_a_step() {
        let mut coded: Vec<u8> = (0..=255).collect();
        ulaw_to_alaw(&mut coded);
        for (code, turned) in (0..=255u8).zip(&coded) {
            assert_eq!(*turned, alaw_of(ULAW[usize::from(code)]));
        }
        alaw_to_ulaw(&mut coded);
        for (code, back) in (0..=255u8).zip(&coded) {
            let (before, after) = (ULAW[usize::from(code)], ULAW[usize::from(*back)]);
            let step = 8 << ((!code & 0x70) >> 4);
            assert!((i32::from(before) - i32::from(after)).abs() <= step, "{code}: {before} became {after}");
        }
    }

    #[test]
    fn slices_of_different_lengths_stop_at_the_shorter() {
        let mut samples = [1; 2];
        decode_ulaw(&[0xff, 0x80, 0], &mut samples);
        assert_eq!(samples, [0, 32124]);
        let mut coded = [0; 3];
        encode_alaw(&samples, &mut coded);
        assert_eq!(coded, [0xd5, 0xaa, 0]);
        encode_ulaw(&samples, &mut coded[..1]);
        assert_eq!(coded, [0xff, 0xaa, 0]);
        decode_alaw(&coded, &mut samples);
        assert_eq!(samples[1], 32256);
    }

    fn check_decode(name: &str, table: &[i16; 256]) {
        for row in rows(name) {
            assert_eq!(i64::from(table[row[0] as usize]), row[1], "{name}, code {}", row[0]);
        }
    }

    fn check_encode(name: &str, encode: fn(i16) -> u8) {
        let rows = rows(name);
        let mut seen = 0;
        for row in &rows {
            for sample in row[1]..=row[2] {
                assert_eq!(i64::from(encode(sample as i16)), row[0], "{name}, sample {sample}");
                seen += 1;
            }
        }
        assert!(rows.is_empty() || seen == 65_536, "{name} covers {seen} samples");
    }

    /// The rows of one table of the shared test data; none, loudly, where it is absent.
    #[expect(clippy::print_stderr, reason = "absent material is named")]
    fn rows(name: &str) -> Vec<Vec<i64>> {
        let root = std::env::var_os("STROWGER_TESTDATA").map_or_else(
            || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/testdata"),
            PathBuf::from,
        );
        let Ok(text) = std::fs::read_to_string(root.join("g711").join(name)) else {
            eprintln!("ABSENT: testdata/g711/{name}: this table was not compared");
            return Vec::new();
        };
        let number = |cell: &str| cell.trim().parse().ok();
        text.lines().skip(1).filter_map(|line| line.split(',').map(number).collect()).collect()
    }
}
