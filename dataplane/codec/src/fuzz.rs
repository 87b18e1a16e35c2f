//! Entries that take any bytes, for `tests/fuzz.rs`: decoders of what comes from outside must neither panic nor go on
//! for ever.

use crate::coder::Format;
use crate::ogg::OpusFile;
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

/// An Ogg-Opus file, decoded.
pub fn ogg(bytes: &[u8]) {
    let (Ok(file), Some(opus)) = (OpusFile::parse(bytes), registry::find(&OPUS)) else { return };
    let mut decoders: Vec<_> = (0..file.streams()).map(|_| opus.decoder(&OPUS, file.rate())).collect();
    let most = 10 * file.rate() as usize;
    if let Ok(pcm) = file.mono(&mut decoders, most) {
        assert!(pcm.len() <= most, "bounded");
    }
}

const OPUS: Format<'_> = Format { name: "opus", clock: 48_000, channels: 2, fmtp: "" };
