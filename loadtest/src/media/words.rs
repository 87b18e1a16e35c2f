//! What streams say: G.711 of our own, or payloads that somebody else has coded. Both repeat without end. And the tone
//! by which a listener knows whom it hears when everything else has been converted on the way.

use std::f64::consts::TAU;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::speech::{self, Codec, RATE, Speech};

/// Turns payloads of consecutive packets into samples at 8 kHz.
pub type Decode = Arc<dyn Fn(&[Vec<u8>]) -> Vec<i16> + Send + Sync>;

/// Payloads of 20 ms each.
#[derive(Clone)]
pub struct Recording {
    /// As `a=rtpmap` names it, with clock and channels: `opus/48000/2`.
    pub format: String,
    /// The number it is offered under; the other side may choose another one.
    pub payload_type: u8,
    /// Ticks of its RTP clock a packet.
    pub step: u32,
    /// What is sent, one after the other, again from the first.
    pub payloads: Vec<Vec<u8>>,
    /// How to hear what comes in this format; without it the tone is not listened for.
    pub decode: Option<Decode>,
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} packets", self.format, self.payloads.len())
    }
}

impl Recording {
    /// Speech with a tone, in G.711.
    pub fn g711(codec: Codec, seed: u64, tone: Tone) -> Self {
        let pcm = speech_with(seed, tone);
        let payloads = pcm.chunks_exact(Speech::FRAME);
        Recording {
            format: format!("{}/8000", codec.name()),
            payload_type: codec.payload_type(),
            step: Speech::FRAME as u32,
            payloads: payloads.map(|frame| frame.iter().map(|s| codec.encode(*s)).collect()).collect(),
            decode: Some(Arc::new(move |packets| {
                packets.iter().flatten().map(|b| codec.decode(*b)).collect()
            })),
        }
    }
}

impl Recording {
    /// The length of all payloads, where it is one.
    pub(super) fn payload_bytes(&self) -> Option<usize> {
        let first = self.payloads.first()?.len();
        self.payloads.iter().all(|payload| payload.len() == first).then_some(first)
    }
}

/// The tone of one side of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Tone {
    /// Its frequency.
    pub hertz: u32,
}

/// The tone of who calls and the tone of who answers.
pub const TONES: [Tone; 2] = [Tone { hertz: 1_000 }, Tone { hertz: 1_500 }];
const LOUDNESS: f64 = 4_000.0;
/// A stretch that is listened to at once: 200 ms, so that a packet concealed elsewhere changes nothing.
const STRETCH: usize = RATE / 5;

/// Ten seconds of speech at 8 kHz with a tone throughout: what a converter is given, in whichever codec.
pub fn speech_with(seed: u64, tone: Tone) -> Vec<i16> {
    let mut pcm = speech::synthesize(seed, 10);
    for (n, sample) in pcm.iter_mut().enumerate() {
        let tone = LOUDNESS * (n as f64 * f64::from(tone.hertz) * TAU / RATE as f64).sin();
        *sample = (f64::from(*sample) * 0.5 + tone) as i16;
    }
    pcm
}

impl Tone {
    /// How loud it is in `pcm`: 1 as it was said, 0 not at all. The median of stretches of 200 ms.
    pub fn loudness_in(self, pcm: &[i16]) -> f64 {
        let step = f64::from(self.hertz) * TAU / RATE as f64;
        let mut found: Vec<f64> = pcm
            .chunks_exact(STRETCH)
            .map(|stretch| {
                let (mut sine, mut cosine) = (0.0, 0.0);
                for (n, sample) in stretch.iter().enumerate() {
                    sine += f64::from(*sample) * (n as f64 * step).sin();
                    cosine += f64::from(*sample) * (n as f64 * step).cos();
                }
                sine.hypot(cosine) * 2.0 / STRETCH as f64 / LOUDNESS
            })
            .collect();
        found.sort_by(f64::total_cmp);
        found.get(found.len() / 2).copied().unwrap_or(0.0)
    }
}

/// What one stream says.
#[derive(Clone, Debug)]
pub(super) enum Words {
    /// From any sample of a long recording.
    Speech {
        speech: Arc<Speech>,
        codec: Codec,
    },
    Recording(Arc<Recording>),
}

impl Words {
    pub(super) fn payload_type(&self) -> u8 {
        match self {
            Words::Speech { codec, .. } => codec.payload_type(),
            Words::Recording(recording) => recording.payload_type,
        }
    }

    pub(super) fn step(&self) -> u32 {
        match self {
            Words::Speech { .. } => Speech::FRAME as u32,
            Words::Recording(recording) => recording.step,
        }
    }

    /// Payload number `number` of a stream that began at `start`.
    pub(super) fn payload(&self, start: usize, number: u64) -> &[u8] {
        match self {
            Words::Speech { speech, .. } => speech.frame(start, number),
            Words::Recording(recording) => {
                let count = recording.payloads.len().max(1) as u64;
                let at = (start as u64 + number) % count;
                recording.payloads.get(at as usize).map_or(&[], Vec::as_slice)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_is_known_by_its_tone_and_only_by_its_own() {
        for (own, other) in [(TONES[0], TONES[1]), (TONES[1], TONES[0])] {
            for codec in [Codec::Pcmu, Codec::Pcma] {
                let recording = Recording::g711(codec, 3, own);
                assert_eq!(recording.payloads.len(), 500);
                let heard = recording.decode.unwrap()(&recording.payloads[100..150]);
                assert_eq!(heard.len(), 8_000);
                let [own, other] = [own, other].map(|tone| tone.loudness_in(&heard));
                assert!((0.8..1.2).contains(&own) && other < 0.3, "{own} {other}");
            }
        }
        assert!(TONES[0].loudness_in(&speech::synthesize(3, 4)) < 0.3);
        assert_eq!(TONES[0].loudness_in(&[]), 0.0);
    }

    #[test]
    fn recordings_repeat() {
        let recording = Arc::new(Recording::g711(Codec::Pcmu, 1, TONES[0]));
        let words = Words::Recording(recording);
        assert_eq!(words.payload(499, 0), words.payload(0, 999));
        assert_eq!((words.payload_type(), words.step()), (0, 160));
    }
}
