//! G.711 sixteen samples at a time, for processors with AVX2. The same codes and samples as the tables, but computed: a
//! table of this size would have to be gathered.
#![expect(unsafe_code, reason = "vectors are loaded and stored by address, and the processor is asked first")]

use core::arch::x86_64::*;

/// Samples at a time.
const LANES: usize = 16;

/// Proof that this processor has AVX2.
#[derive(Clone, Copy)]
pub struct Avx2(());

impl Avx2 {
    /// Asks the processor once, and remembers.
    pub fn detect() -> Option<Self> {
        std::arch::is_x86_feature_detected!("avx2").then_some(Avx2(()))
    }

    /// Decodes whole sixteens of µ-law; says how many samples that were.
    pub fn decode_ulaw(self, coded: &[u8], samples: &mut [i16]) -> usize {
        // SAFETY: there is AVX2, else there were no `self`.
        unsafe { decode_ulaw(coded, samples) }
    }

    /// Decodes whole sixteens of A-law; says how many samples that were.
    pub fn decode_alaw(self, coded: &[u8], samples: &mut [i16]) -> usize {
        // SAFETY: there is AVX2, else there were no `self`.
        unsafe { decode_alaw(coded, samples) }
    }

    /// Encodes whole sixteens of µ-law; says how many samples that were.
    pub fn encode_ulaw(self, samples: &[i16], coded: &mut [u8]) -> usize {
        // SAFETY: there is AVX2, else there were no `self`.
        unsafe { encode_ulaw(samples, coded) }
    }

    /// Encodes whole sixteens of A-law; says how many samples that were.
    pub fn encode_alaw(self, samples: &[i16], coded: &mut [u8]) -> usize {
        // SAFETY: there is AVX2, else there were no `self`.
        unsafe { encode_alaw(samples, coded) }
    }
}

#[target_feature(enable = "avx2")]
fn decode_ulaw(coded: &[u8], samples: &mut [i16]) -> usize {
    let powers =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(1, 2, 4, 8, 16, 32, 64, -128, 0, 0, 0, 0, 0, 0, 0, 0));
    let (bias, low) = (_mm256_set1_epi16(0x84), _mm256_set1_epi16(0x0f));
    let mut done = 0;
    for (codes, out) in coded.chunks_exact(LANES).zip(samples.chunks_exact_mut(LANES)) {
        let bits = _mm256_xor_si256(widen(codes), _mm256_set1_epi16(0xff));
        let step = _mm256_slli_epi16::<3>(_mm256_and_si256(bits, low));
        let magnitude = _mm256_mullo_epi16(_mm256_add_epi16(step, bias), by_segment(powers, bits));
        let is_negative = _mm256_cmpgt_epi16(bits, _mm256_set1_epi16(0x7f));
        store(out, negate(_mm256_sub_epi16(magnitude, bias), is_negative));
        done += LANES;
    }
    done
}

#[target_feature(enable = "avx2")]
fn decode_alaw(coded: &[u8], samples: &mut [i16]) -> usize {
    let powers =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(1, 1, 2, 4, 8, 16, 32, 64, 0, 0, 0, 0, 0, 0, 0, 0));
    let (half, low) = (_mm256_set1_epi16(8), _mm256_set1_epi16(0x0f));
    let mut done = 0;
    for (codes, out) in coded.chunks_exact(LANES).zip(samples.chunks_exact_mut(LANES)) {
        let bits = _mm256_xor_si256(widen(codes), _mm256_set1_epi16(0x55));
        let step = _mm256_or_si256(_mm256_slli_epi16::<4>(_mm256_and_si256(bits, low)), half);
        // All segments but the lowest have a leading one.
        let segment = _mm256_and_si256(bits, _mm256_set1_epi16(0x70));
        let has_one = _mm256_cmpgt_epi16(segment, _mm256_setzero_si256());
        let step = _mm256_or_si256(step, _mm256_and_si256(has_one, _mm256_set1_epi16(0x100)));
        let magnitude = _mm256_mullo_epi16(step, by_segment(powers, bits));
        let is_negative = _mm256_cmpgt_epi16(_mm256_set1_epi16(0x80), bits);
        store(out, negate(magnitude, is_negative));
        done += LANES;
    }
    done
}

#[target_feature(enable = "avx2")]
fn encode_ulaw(samples: &[i16], coded: &mut [u8]) -> usize {
    let mut done = 0;
    for (pcm, out) in samples.chunks_exact(LANES).zip(coded.chunks_exact_mut(LANES)) {
        let short = _mm256_srai_epi16::<2>(load(pcm));
        let magnitude = _mm256_min_epi16(_mm256_abs_epi16(short), _mm256_set1_epi16(8_158));
        let biased = _mm256_add_epi16(magnitude, _mm256_set1_epi16(33));
        let code = logarithm::<5>(biased);
        let is_negative = _mm256_srai_epi16::<15>(short);
        let mask =
            _mm256_xor_si256(_mm256_set1_epi16(0xff), _mm256_and_si256(is_negative, _mm256_set1_epi16(0x80)));
        narrow(out, _mm256_xor_si256(code, mask));
        done += LANES;
    }
    done
}

#[target_feature(enable = "avx2")]
fn encode_alaw(samples: &[i16], coded: &mut [u8]) -> usize {
    let mut done = 0;
    for (pcm, out) in samples.chunks_exact(LANES).zip(coded.chunks_exact_mut(LANES)) {
        let short = _mm256_srai_epi16::<3>(load(pcm));
        let is_negative = _mm256_srai_epi16::<15>(short);
        let magnitude = _mm256_xor_si256(short, is_negative);
        // The lowest two segments have the same step.
        let is_low = _mm256_cmpgt_epi16(_mm256_set1_epi16(32), magnitude);
        let code = _mm256_blendv_epi8(logarithm::<4>(magnitude), _mm256_srli_epi16::<1>(magnitude), is_low);
        let mask =
            _mm256_xor_si256(_mm256_set1_epi16(0xd5), _mm256_and_si256(is_negative, _mm256_set1_epi16(0x80)));
        narrow(out, _mm256_xor_si256(code, mask));
        done += LANES;
    }
    done
}

/// Place of the highest bit less `LOWEST`, and the four bits that follow it: what a floating-point number is made of.
#[target_feature(enable = "avx2")]
fn logarithm<const LOWEST: i32>(values: __m256i) -> __m256i {
    let zero = _mm256_setzero_si256();
    let exponents = |half| {
        let bits = _mm256_castps_si256(_mm256_cvtepi32_ps(half));
        _mm256_sub_epi32(_mm256_srli_epi32::<19>(bits), _mm256_set1_epi32((127 + LOWEST) << 4))
    };
    // Both work within halves of the vector, so that the order comes out as it was.
    let low = exponents(_mm256_unpacklo_epi16(values, zero));
    let high = exponents(_mm256_unpackhi_epi16(values, zero));
    _mm256_packs_epi32(low, high)
}

/// What the table has for the segment of each code.
#[target_feature(enable = "avx2")]
fn by_segment(table: __m256i, bits: __m256i) -> __m256i {
    let segment = _mm256_and_si256(_mm256_srli_epi16::<4>(bits), _mm256_set1_epi16(7));
    // The upper byte of each lane becomes zero.
    _mm256_shuffle_epi8(table, _mm256_or_si256(segment, _mm256_set1_epi16(i16::MIN)))
}

#[target_feature(enable = "avx2")]
fn negate(values: __m256i, which: __m256i) -> __m256i {
    _mm256_sub_epi16(_mm256_xor_si256(values, which), which)
}

#[target_feature(enable = "avx2")]
fn widen(codes: &[u8]) -> __m256i {
    assert!(codes.len() == LANES);
    // SAFETY: there are sixteen bytes; any alignment will do.
    _mm256_cvtepu8_epi16(unsafe { _mm_loadu_si128(codes.as_ptr().cast()) })
}

#[target_feature(enable = "avx2")]
fn load(samples: &[i16]) -> __m256i {
    assert!(samples.len() == LANES);
    // SAFETY: there are sixteen samples; any alignment will do.
    unsafe { _mm256_loadu_si256(samples.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
fn store(out: &mut [i16], samples: __m256i) {
    assert!(out.len() == LANES);
    // SAFETY: there is room for sixteen samples; any alignment will do.
    unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), samples) }
}

#[target_feature(enable = "avx2")]
fn narrow(out: &mut [u8], codes: __m256i) {
    assert!(out.len() == LANES);
    let codes = _mm_packus_epi16(_mm256_castsi256_si128(codes), _mm256_extracti128_si256::<1>(codes));
    // SAFETY: there is room for sixteen bytes; any alignment will do.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), codes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::g711::{ALAW, ULAW, alaw_of, ulaw_of};

    #[test]
    fn all_codes_and_all_samples_come_out_as_by_the_tables() {
        let Some(avx2) = Avx2::detect() else { return };
        let codes: Vec<u8> = (0..=255).collect();
        let mut samples = [0; 256];
        assert_eq!(avx2.decode_ulaw(&codes, &mut samples), 256);
        assert_eq!(samples, ULAW);
        assert_eq!(avx2.decode_alaw(&codes, &mut samples), 256);
        assert_eq!(samples, ALAW);

        let samples: Vec<i16> = (i16::MIN..=i16::MAX).collect();
        let mut codes = vec![0; samples.len()];
        assert_eq!(avx2.encode_ulaw(&samples, &mut codes), samples.len());
        assert!(samples.iter().zip(&codes).all(|(sample, code)| ulaw_of(*sample) == *code));
        assert_eq!(avx2.encode_alaw(&samples, &mut codes), samples.len());
        assert!(samples.iter().zip(&codes).all(|(sample, code)| alaw_of(*sample) == *code));
    }

    #[test]
    fn only_whole_sixteens_are_touched() {
        let Some(avx2) = Avx2::detect() else { return };
        let mut samples = [7; 40];
        assert_eq!(avx2.decode_ulaw(&[0xff; 35], &mut samples), 32);
        assert_eq!((samples[31], samples[32]), (0, 7));
        let mut codes = [7; 20];
        assert_eq!(avx2.encode_alaw(&samples, &mut codes), 16);
        assert_eq!(codes[16], 7);
    }
}
