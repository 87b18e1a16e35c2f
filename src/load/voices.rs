//! What the parties of a load say in codecs that the generator does not have itself: the same speech with the same tones,
//! coded and decoded by the engine's own libraries. G.711 stays the generator's own.

use codec::coder::{EncoderSettings, Format, PAYLOAD_MAX};
use codec::{registry, resample};
use loadtest::media::{Recording, TONES, speech_with};
use loadtest::ng::Says;
use loadtest::speech::{Codec, RATE};
use std::sync::Arc;

/// How hard Opus is encoded by a party: what an ordinary phone does.
const COMPLEXITY: u8 = 5;
/// The longest that a payload of 20 ms decodes to, at 48 kHz, with room for longer ones.
const SAMPLES_MAX: usize = 5_760;

/// What side `side` (0 for the caller) says in a codec by its name on the command line; `None` if there is no such codec.
pub fn recording(name: &str, side: usize) -> Option<Arc<Recording>> {
    let tone = *TONES.get(side)?;
    let (number, map, channels) = match name {
        "pcmu" => return Some(Arc::new(Recording::g711(Codec::Pcmu, 1, tone))),
        "pcma" => return Some(Arc::new(Recording::g711(Codec::Pcma, 1, tone))),
        "g722" => (9, "G722/8000", 1),
        "opus" => (96, "opus/48000/2", 2),
        _ => return None,
    };
    let clock = if name == "opus" { 48_000 } else { 8_000 };
    let format =
        move || Format { name: if clock == 48_000 { "opus" } else { "g722" }, clock, channels, fmtp: "" };
    let codec = registry::find(&format())?;
    let mut encoder = codec.encoder(&format(), EncoderSettings { rate: RATE as u32, complexity: COMPLEXITY });
    let pcm = resample::clip(RATE as u32, encoder.rate(), &speech_with(1, tone));
    let mut coded = [0; PAYLOAD_MAX];
    let frames = pcm.chunks_exact(encoder.rate() as usize / 50);
    let payloads = frames.map(|frame| {
        let len = encoder.encode(frame, &mut coded);
        coded[..len].to_vec()
    });
    let payloads = payloads.collect();
    let decode = move |packets: &[Vec<u8>]| {
        let mut decoder = codec.decoder(&format(), RATE as u32);
        let (mut pcm, mut heard) = (vec![0; SAMPLES_MAX], Vec::new());
        for packet in packets {
            let len = decoder.decode(packet, &mut pcm).unwrap_or(0);
            heard.extend_from_slice(&pcm[..len.min(SAMPLES_MAX)]);
        }
        resample::clip(decoder.rate(), RATE as u32, &heard)
    };
    Some(Arc::new(Recording {
        format: map.to_owned(),
        payload_type: number,
        step: clock / 50,
        payloads,
        decode: Some(Arc::new(decode)),
    }))
}

/// What two parties say that are only relayed: in G.711 the generator's own speech.
pub fn relayed(name: &str) -> Option<[Says; 2]> {
    Some(match name {
        "pcmu" => [Says::Speech(Codec::Pcmu), Says::Speech(Codec::Pcmu)],
        "pcma" => [Says::Speech(Codec::Pcma), Says::Speech(Codec::Pcma)],
        _ => [Says::Recording(recording(name, 0)?), Says::Recording(recording(name, 1)?)],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_carries_the_tone_of_its_side() {
        for name in ["pcmu", "pcma", "g722", "opus"] {
            for side in 0..2 {
                let recording = recording(name, side).unwrap();
                assert_eq!(recording.payloads.len(), 500, "{name}");
                let heard = recording.decode.as_ref().unwrap()(&recording.payloads[100..150]);
                let loud = TONES.map(|tone| tone.loudness_in(&heard));
                assert!(loud[side] > 0.6 && loud[1 - side] < 0.3, "{name} {side}: {loud:?}");
            }
        }
        assert!(recording("amr", 0).is_none() && relayed("none").is_none());
    }
}
