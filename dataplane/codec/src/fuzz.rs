//! Entries that take any bytes, for `tests/fuzz.rs`: decoders of what comes from outside must neither panic nor go on
//! for ever.

use crate::coder::Format;
use crate::noise::ComfortNoise;
use crate::ogg::{self, OpusFile};
use crate::pcm;
use crate::registry;
use crate::wav::Wav;

/// A WAV file, read as one channel and by channels.
pub fn wav(bytes: &[u8]) {
    let Ok(wav) = Wav::parse(bytes) else { return };
    let mut pcm = [0; 100];
    let mut from = 0;
    while from < wav.frames() {
        let read = wav.mono(from, &mut pcm);
        assert_eq!(read, wav.frames().saturating_sub(from).min(pcm.len()), "frames are whole");
        assert_eq!(wav.channel(wav.channels() - 1, from, &mut pcm), read, "each channel is as long");
        from += pcm.len();
    }
}

/// An Ogg-Opus file, decoded: as it is, and with the checksums that its pages should have.
pub fn ogg(bytes: &[u8]) {
    ogg_as_is(bytes);
    let mut sealed = bytes.to_vec();
    let starts = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"OggS"));
    let mut starts: Vec<_> = starts.take(100).collect();
    starts.push(bytes.len());
    starts.windows(2).for_each(|two| ogg::seal(&mut sealed[two[0]..two[1]]));
    ogg_as_is(&sealed);
}

fn ogg_as_is(bytes: &[u8]) {
    let (Ok(file), Some(opus)) = (OpusFile::parse(bytes), registry::find(&OPUS)) else { return };
    let mut decoders: Vec<_> = (0..file.streams()).map(|_| opus.decoder(&OPUS, file.rate())).collect();
    let most = 10 * file.rate() as usize;
    if let Ok(pcm) = file.mono(&mut decoders, most) {
        assert!(pcm.len() <= most, "bounded");
    }
}

/// Every decoder: the first byte says which one, then come steps of an instruction, a length and that many bytes.
pub fn decoders(bytes: &[u8]) {
    let Some((which, mut steps)) = bytes.split_first() else { return };
    let codec = registry::CODECS[usize::from(*which) % registry::CODECS.len()];
    let rate = codec.rates[usize::from(*which >> 4) % codec.rates.len()];
    let format = Format { name: codec.name, clock: codec.clock, channels: codec.channels, fmtp: "" };
    let mut decoder = codec.decoder(&format, rate);
    let mut pcm = [0; PCM_MAX];
    while let [instruction, len, rest @ ..] = steps {
        // Lengths beyond a byte's: sample codecs have long packets.
        let len = usize::from(*len) << (instruction >> 6);
        let (payload, after) = rest.split_at(len.min(rest.len()));
        steps = after;
        let wanted = usize::from(*instruction & 0x0f) * rate as usize / 400;
        let _ = decoder.is_silence(payload);
        match instruction >> 4 & 3 {
            0 | 1 => {
                let (said, done) = (decoder.samples(payload), decoder.decode(payload, &mut pcm));
                assert_eq!(said, done, "what it says and what it does");
                assert!(said.is_err() || (1..=rate as usize * 120 / 1_000).contains(&said.unwrap_or(0)));
            }
            2 => {
                let before = pcm;
                if !decoder.recover(payload, &mut pcm[..wanted]) {
                    assert!(pcm == before, "untouched");
                }
            }
            _ => decoder.conceal(&mut pcm[..wanted]),
        }
    }
}

/// Samples of 120 ms at 48 kHz.
const PCM_MAX: usize = 5_760;

/// A description of comfort noise, obeyed: never louder than it says.
pub fn noise(bytes: &[u8]) {
    let mut noise = ComfortNoise::new(8_000, 1);
    noise.describe(bytes);
    let level = bytes.first().map_or(pcm::LEVEL_SILENT, |level| level & 0x7f);
    for _ in 0..10 {
        let mut made = [0; 160];
        noise.fill(&mut made);
        assert!(pcm::level(&made) >= level, "{} dB below overload, not {level}", pcm::level(&made));
    }
}

const OPUS: Format<'_> = Format { name: "opus", clock: 48_000, channels: 2, fmtp: "" };
