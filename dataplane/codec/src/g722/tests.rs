//! Against other implementations of G.722, and on its own.

use super::*;
use crate::coder::{EncoderSettings, Format};

/// Codes of [`signal`], a hash for each kind of it: spandsp's encoder and libg722's (sippy) made the same.
const CODED: [u64; 5] = [
    0xec8a_3456_7ec9_8c43,
    0x333d_e9dc_31e5_e0fe,
    0x4f09_caf6_a940_151c,
    0x1a05_f498_78fc_7b24,
    0xdeac_71f6_00e6_5a80,
];
/// Samples that libg722's decoder made of these codes; spandsp's differ only where they overflow.
const DECODED: [u64; 5] = [
    0xc40c_54c3_5bec_08b2,
    0xc7bf_dac4_7961_244b,
    0xd7d9_e4d8_c1a0_7434,
    0xad51_c30e_92e4_052c,
    0x0bd1_d859_3ded_9e17,
];
/// Samples that libg722's decoder made of 5,000 random codes.
const OF_RANDOM_CODES: u64 = 0x9ba5_6bb9_0295_ccf1;

/// Noise at full scale, a square wave at full scale whose pitch rises, faint noise, nothing, something like speech.
fn signal() -> Vec<i16> {
    let saw = |at: i32, period: i32, height: i32| (at % period) * 2 * height / period - height;
    let sample = |(at, number): (i32, i32)| {
        let (noise, m) = ((number >> 15) - 32_768, at % 4_000);
        match at / 4_000 {
            0 => noise,
            1 if m * (m / 100 + 1) / 400 % 2 == 0 => 32_767,
            1 => -32_768,
            2 => noise >> 9,
            3 => 0,
            _ => saw(m, 133, 9_000) + saw(m, 37, 4_000) + saw(m, 7, 1_500) + (noise >> 7),
        }
    };
    (0..20_000).zip(numbers(1)).map(|pair| sample(pair) as i16).collect()
}

fn numbers(seed: i32) -> impl Iterator<Item = i32> {
    let next = |x: &i32| Some(x.wrapping_mul(1_103_515_245).wrapping_add(12_345) & 0x7fff_ffff);
    core::iter::successors(next(&seed), next)
}

fn encoder() -> Box<dyn Encoder> {
    let format = Format { name: "g722", clock: 8_000, channels: 1, fmtp: "" };
    G722.encoder(&format, EncoderSettings { rate: RATE, complexity: 0 })
}

fn decoder() -> Box<dyn Decoder> {
    G722.decoder(&Format { name: "g722", clock: 8_000, channels: 1, fmtp: "" }, RATE)
}

fn encode(encoder: &mut dyn Encoder, pcm: &[i16]) -> Vec<u8> {
    let mut payload = [0; PAYLOAD_MAX];
    let mut packet = |pcm| {
        let len = encoder.encode(pcm, &mut payload);
        payload[..len].to_vec()
    };
    pcm.chunks(320).flat_map(&mut packet).collect()
}

fn decode(coded: &[u8]) -> Vec<i16> {
    let (mut decoder, mut pcm) = (decoder(), [0; 1_920]);
    let mut packet = |payload| {
        let samples = decoder.decode(payload, &mut pcm).unwrap();
        pcm[..samples].to_vec()
    };
    coded.chunks(160).flat_map(&mut packet).collect()
}

/// FNV-1a.
fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, step)
}

fn hash_samples(samples: &[i16]) -> u64 {
    hash(samples.iter().flat_map(|sample| sample.to_le_bytes()))
}

#[test]
fn codes_are_those_of_other_encoders() {
    let coded = encode(&mut *encoder(), &signal());
    let hashes: Vec<u64> = coded.chunks(2_000).map(|piece| hash(piece.iter().copied())).collect();
    assert_eq!(hashes, CODED, "begins {:02x?}", &coded[..16]);
}

#[test]
fn samples_are_those_of_another_decoder() {
    let decoded = decode(&encode(&mut *encoder(), &signal()));
    assert_eq!(decoded.chunks(4_000).map(hash_samples).collect::<Vec<_>>(), DECODED);
    let codes: Vec<u8> = numbers(7).take(5_000).map(|number| (number >> 16) as u8).collect();
    assert_eq!(hash_samples(&decode(&codes)), OF_RANDOM_CODES);
}

#[test]
fn a_tone_keeps_its_level_and_little_is_added() {
    let tone: Vec<i16> = (0..16_000).map(|n| (8_000.0 * (f64::from(n) * 0.4).sin()) as i16).collect();
    let heard = decode(&encode(&mut *encoder(), &tone));
    // Both filters together are late by 22 samples.
    let (mut power, mut error) = (0.0, 0.0);
    for (sent, heard) in tone.iter().zip(&heard[22..]).skip(1_000) {
        power += f64::from(*sent).powi(2);
        error += (f64::from(*sent) - f64::from(*heard)).powi(2);
    }
    let ratio = 10.0 * (power / error).log10();
    assert!(ratio > 30.0, "{ratio:.1} dB");
}

#[test]
fn after_a_reset_it_is_as_if_just_made() {
    let (signal, mut encoder) = (signal(), encoder());
    let first = encode(&mut *encoder, &signal);
    encoder.reset();
    assert_eq!(encode(&mut *encoder, &signal), first);
}

#[test]
fn nothing_and_more_than_120_ms_are_refused() {
    let mut decoder = decoder();
    assert_eq!(decoder.samples(&[]), Err(Undecodable));
    assert_eq!(decoder.samples(&[0; 960]), Ok(1_920));
    assert_eq!(decoder.decode(&[0; 961], &mut [0; 2_000]), Err(Undecodable));
    assert_eq!(decoder.decode(&[0; 2], &mut [0; 3]), Err(Undecodable), "no room");
}

#[test]
fn silence_follows_on_anything_within_a_packet() {
    for from in [0, 2_000, 4_000, 18_000] {
        let mut decoder = decoder();
        let (mut pcm, mut payload) = ([0; 1_920], [0; 200]);
        for payload in encode(&mut *encoder(), &signal()[from..][..2_000]).chunks(160) {
            decoder.decode(payload, &mut pcm).unwrap();
        }
        let len = G722.silence(320, &mut payload).unwrap();
        for _ in 0..2 {
            assert_eq!(decoder.decode(&payload[..len], &mut pcm), Ok(320));
        }
        assert!(pcm[..320].iter().all(|sample| sample.abs() < 100), "{:?}", &pcm[..320]);
    }
    assert_eq!(G722.silence(321, &mut [0; 200]), None, "half an octet");
}
