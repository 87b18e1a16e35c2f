//! What parties of calls say: speech from a file or of the generator's own making, coded once before the run. Opus is
//! coded and decoded by the engine's own library; G.711 is the generator's.

use anyhow::{Context, Result, anyhow, bail};
use codec::coder::{EncoderSettings, Format, PAYLOAD_MAX};
use codec::wav::Wav;
use codec::{registry, resample};
use loadtest::media::{Decode, Recording};
use loadtest::speech::{Codec, RATE, Speech};
use std::path::Path;
use std::sync::Arc;

/// Seconds of a file that are used.
const LONGEST: usize = 60;
/// 120 ms at 48 kHz: the longest payload.
const SAMPLES_MAX: usize = 5_760;
const OPUS: Format<'static> = Format { name: "opus", clock: 48_000, channels: 2, fmtp: "" };

/// A WAV file as samples at 8 kHz, all channels as one.
pub fn file(path: &Path) -> Result<Vec<i16>> {
    let name = || path.display().to_string();
    let bytes = std::fs::read(path).with_context(name)?;
    let wav = Wav::parse(&bytes).map_err(|error| anyhow!("{}: {error}", name()))?;
    let mut samples = vec![0; wav.frames().min(wav.rate() as usize * LONGEST)];
    wav.mono(0, &mut samples);
    let samples = resample::clip(wav.rate(), RATE as u32, &samples);
    if samples.len() < RATE {
        bail!("{}: less than a second of sound", name());
    }
    Ok(samples)
}

/// These samples at 8 kHz in `codec`, 20 ms a payload.
pub fn recording(codec: Codec, samples: &[i16]) -> Result<Arc<Recording>> {
    let frames = samples.chunks_exact(Speech::FRAME);
    let (payloads, decode): (Vec<Vec<u8>>, Decode) = match codec {
        Codec::Opus => {
            let opus = registry::find(&OPUS).ok_or_else(|| anyhow!("this build has no Opus"))?;
            let mut encoder = opus.encoder(&OPUS, EncoderSettings { rate: RATE as u32, complexity: 5 });
            let mut coded = [0; PAYLOAD_MAX];
            let payloads = frames.map(|frame| {
                let len = encoder.encode(frame, &mut coded);
                coded[..len].to_vec()
            });
            let decode = |packets: &[Vec<u8>]| {
                let Some(opus) = registry::find(&OPUS) else { return Vec::new() };
                let mut decoder = opus.decoder(&OPUS, RATE as u32);
                let (mut pcm, mut heard) = (vec![0; SAMPLES_MAX], Vec::new());
                for packet in packets {
                    let len = decoder.decode(packet, &mut pcm).unwrap_or(0);
                    heard.extend_from_slice(&pcm[..len.min(SAMPLES_MAX)]);
                }
                resample::clip(decoder.rate(), RATE as u32, &heard)
            };
            (payloads.collect(), Arc::new(decode))
        }
        Codec::Pcmu | Codec::Pcma => {
            let payloads = frames.map(|frame| frame.iter().map(|sample| codec.encode(*sample)).collect());
            let decode =
                move |packets: &[Vec<u8>]| packets.iter().flatten().map(|byte| codec.decode(*byte)).collect();
            (payloads.collect(), Arc::new(decode))
        }
    };
    let channels = if codec == Codec::Opus { "/2" } else { "" };
    Ok(Arc::new(Recording {
        format: format!("{}/{}{channels}", codec.name(), codec.clock()),
        payload_type: codec.payload_type(),
        step: codec.clock() / 50,
        payloads,
        decode: Some(decode),
    }))
}
