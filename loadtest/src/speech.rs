//! Speech-like audio made from a seed (voiced syllables, breaths, pauses that are never quite silent) and its G.711
//! form (ITU-T G.711). It is the judge's own coder: nothing here is shared with the engine.

use std::f32::consts::TAU;

use base::Rng;
use serde::Serialize;

/// Samples a second.
pub const RATE: usize = 8_000;

/// The payload that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// G.711 µ-law, payload type 0.
    Pcmu,
    /// G.711 A-law, payload type 8.
    Pcma,
    /// Opus, payload type 111 (RFC 7587). Somebody else encodes it, before the run.
    Opus,
}

impl Codec {
    /// RTP payload type (RFC 3551).
    pub fn payload_type(self) -> u8 {
        match self {
            Codec::Pcmu => 0,
            Codec::Pcma => 8,
            Codec::Opus => 111,
        }
    }

    /// RTP clock, Hz. Opus has 48 kHz whatever it carries.
    pub fn clock(self) -> u32 {
        match self {
            Codec::Pcmu | Codec::Pcma => 8_000,
            Codec::Opus => 48_000,
        }
    }

    /// The name in `a=rtpmap`.
    pub fn name(self) -> &'static str {
        match self {
            Codec::Pcmu => "PCMU",
            Codec::Pcma => "PCMA",
            Codec::Opus => "opus",
        }
    }

    /// One sample as one byte.
    ///
    /// # Panics
    /// Opus has no byte for a sample.
    pub fn encode(self, sample: i16) -> u8 {
        match self {
            Codec::Pcmu => ulaw(sample),
            Codec::Pcma => alaw(sample),
            Codec::Opus => panic!("Opus has no byte for a sample"),
        }
    }

    /// One byte as one sample.
    ///
    /// # Panics
    /// As [`Codec::encode`].
    pub fn decode(self, byte: u8) -> i16 {
        match self {
            Codec::Pcmu => ulaw_decode(byte),
            Codec::Pcma => alaw_decode(byte),
            Codec::Opus => panic!("Opus has no byte for a sample"),
        }
    }
}

/// `seconds` of audio, repeatable without a seam that matters. The same seed gives the same samples.
///
/// Syllables of 120 to 320 ms: harmonics of a gliding pitch under three formants, or hiss; every few words a pause.
/// A noise floor runs through all of it, so that no two stretches of a packet's length are alike.
pub fn synthesize(seed: u64, seconds: usize) -> Vec<i16> {
    let mut rng = Rng::from_seed(seed);
    let mut unit = move || rng.u32() as f32 / u32::MAX as f32;
    let mut samples = Vec::with_capacity(seconds * RATE);
    let mut phase = 0.0f32;
    while samples.len() < seconds * RATE {
        let len = (RATE as f32 * (0.12 + 0.2 * unit())) as usize;
        let kind = unit();
        let (pitch_start, pitch_end) = (95.0 + 60.0 * unit(), 90.0 + 60.0 * unit());
        let formants = [300.0 + 500.0 * unit(), 900.0 + 1200.0 * unit(), 2300.0 + 600.0 * unit()];
        let mut hiss = 0.0f32;
        for i in 0..len {
            let at = i as f32 / len as f32;
            let envelope = (at * TAU / 2.0).sin();
            let noise = 2.0 * unit() - 1.0;
            let value = if kind < 0.15 {
                0.0 // pause
            } else if kind < 0.3 {
                let fresh = noise - hiss; // crude high pass: s, f, sh
                hiss = noise;
                fresh * 0.12
            } else {
                let pitch = pitch_start + (pitch_end - pitch_start) * at;
                phase = (phase + pitch / RATE as f32).fract();
                voiced(phase, pitch, &formants)
            };
            let loud = value * envelope * 9_000.0 + noise * 40.0;
            samples.push(loud.clamp(-32_000.0, 32_000.0) as i16);
        }
    }
    samples.truncate(seconds * RATE);
    samples
}

/// A few harmonics of the pitch, each as loud as its distance to the nearest formant allows.
fn voiced(phase: f32, pitch: f32, formants: &[f32; 3]) -> f32 {
    let mut sum = 0.0;
    for harmonic in 1..=12u8 {
        let frequency = pitch * f32::from(harmonic);
        let mut gain = 0.02;
        for (formant, strength) in formants.iter().zip([1.0, 0.5, 0.25]) {
            let distance = (frequency - formant) / 180.0;
            gain += strength / (1.0 + distance * distance);
        }
        sum += gain * (phase * f32::from(harmonic) * TAU).sin();
    }
    sum * 0.4
}

/// What all streams of a run say: each starts at a place of its own in one long recording, so its payload tells it
/// from the others although no byte of the audio is a marker.
#[derive(Debug)]
pub struct Speech {
    bytes: Vec<u8>,
    len: usize,
}

impl Speech {
    /// Payload size of 20 ms.
    pub const FRAME: usize = RATE / 50;

    /// 20 s of speech in `codec`.
    pub fn new(seed: u64, codec: Codec) -> Self {
        let mut bytes: Vec<u8> = synthesize(seed, 20).iter().map(|&sample| codec.encode(sample)).collect();
        let len = bytes.len();
        // So that a frame that begins near the end is one slice.
        bytes.extend_from_within(..Self::FRAME);
        Speech { bytes, len }
    }

    /// Frame number `index` of a stream that began at `start`.
    pub fn frame(&self, start: usize, index: u64) -> &[u8] {
        let at = (start as u64 + index * Self::FRAME as u64) % self.len as u64;
        &self.bytes[at as usize..at as usize + Self::FRAME]
    }
}

/// G.711 µ-law of a 16-bit sample.
fn ulaw(sample: i16) -> u8 {
    let magnitude = (i32::from(sample).abs() >> 2).min(8158) + 33;
    let segment = magnitude.ilog2() - 5;
    let step = (magnitude >> (segment + 1)) & 0x0f;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | (segment << 4) as u8 | step as u8)
}

fn ulaw_decode(byte: u8) -> i16 {
    let byte = !byte;
    let segment = (byte >> 4) & 7;
    let magnitude = ((i32::from(byte & 0x0f) * 2 + 33) << segment) - 33;
    let sample = (magnitude << 2) as i16;
    if byte & 0x80 != 0 { -sample } else { sample }
}

/// G.711 A-law of a 16-bit sample.
fn alaw(sample: i16) -> u8 {
    // Negative values are counted from -1 downwards, so that both signs have the same steps.
    let magnitude = if sample < 0 { !i32::from(sample) } else { i32::from(sample) } >> 3;
    let segment = if magnitude < 32 { 0 } else { magnitude.ilog2() - 4 };
    let step = if segment == 0 { magnitude >> 1 } else { magnitude >> segment } & 0x0f;
    let sign = if sample < 0 { 0 } else { 0x80 };
    (sign | (segment << 4) as u8 | step as u8) ^ 0x55
}

fn alaw_decode(byte: u8) -> i16 {
    let byte = byte ^ 0x55;
    let segment = (byte >> 4) & 7;
    let step = i32::from(byte & 0x0f);
    let magnitude = if segment == 0 { step * 2 + 1 } else { (step * 2 + 33) << (segment - 1) };
    let sample = (magnitude << 3) as i16;
    if byte & 0x80 != 0 { sample } else { -sample }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_decoding_and_encoding() {
        for codec in [Codec::Pcmu, Codec::Pcma] {
            for byte in 0..=255 {
                let again = codec.encode(codec.decode(byte));
                // µ-law has two zeroes.
                let same = again == byte || (codec == Codec::Pcmu && byte == 0x7f && again == 0xff);
                assert!(same, "{codec:?} {byte:#x} became {again:#x}");
            }
        }
    }

    #[test]
    fn coding_is_monotonic_and_within_half_a_step() {
        for codec in [Codec::Pcmu, Codec::Pcma] {
            let mut last = i16::MIN;
            for sample in i16::MIN..=i16::MAX {
                let heard = codec.decode(codec.encode(sample));
                assert!(heard >= last, "{codec:?} {sample}");
                last = heard;
                let error = (i32::from(heard) - i32::from(sample)).abs();
                let clipped = sample.unsigned_abs() > 32_000;
                assert!(clipped || error <= 16 + i32::from(sample).abs() / 25, "{codec:?} {sample} {heard}");
            }
        }
    }

    #[test]
    fn known_codes_of_the_recommendation() {
        // G.711 table 2a and 1a: the loudest and the quietest.
        assert_eq!([ulaw(0), ulaw(i16::MAX), ulaw(i16::MIN)], [0xff, 0x80, 0x00]);
        assert_eq!([alaw(0), alaw(-1), alaw(i16::MAX), alaw(i16::MIN)], [0xd5, 0x55, 0xaa, 0x2a]);
    }

    #[test]
    fn speech_replays_is_loud_enough_and_never_repeats_a_frame() {
        assert_eq!(synthesize(7, 1), synthesize(7, 1));
        assert_ne!(synthesize(7, 1), synthesize(8, 1));
        let speech = Speech::new(1, Codec::Pcmu);
        let frames: std::collections::BTreeSet<_> = (0..1000).map(|i| speech.frame(0, i)).collect();
        assert_eq!(frames.len(), 1000);
        assert_eq!(speech.frame(0, 0), speech.frame(0, 1000));
        let samples = synthesize(1, 20);
        let power = samples.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / samples.len() as f64;
        assert!((500.0..8_000.0).contains(&power.sqrt()), "{}", power.sqrt());
    }
}
