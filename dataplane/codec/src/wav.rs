//! WAV files as bytes: a reader of what is found in the world, which believes no length, and what a writer of 16-bit
//! PCM needs. Opens no file. RIFF as in Microsoft's "Multimedia Programming Interface and Data Specifications 1.0".

use crate::g711;
use core::time::Duration;

/// A WAV file in memory, checked once. What its header says of lengths holds as far as the bytes go.
#[derive(Clone, Debug)]
pub struct Wav<'a> {
    coding: Coding,
    channels: usize,
    rate: u32,
    /// Whole frames only.
    data: &'a [u8],
    pauses: Vec<Pause>,
}

/// How a sample is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Unsigned8,
    Signed16,
    Signed24,
    Signed32,
    Float32,
    Ulaw,
    Alaw,
}

/// A part of a recording that was left out at somebody's wish: silence in the file, marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// From the beginning of the file.
    pub start: Duration,
    /// From the beginning of the file.
    pub end: Duration,
}

/// Why bytes are no WAV file that can be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadWav {
    /// Does not begin with `RIFF`…`WAVE`.
    NotWav,
    /// No `fmt ` before the samples, or one that is too short.
    NoFormat,
    /// No `data`.
    NoData,
    /// Neither PCM of 8, 16, 24 or 32 bits, nor 32-bit floating point, nor G.711.
    Coding,
    /// No channel, more than [`CHANNELS_MAX`], or a frame whose length is not that of its samples.
    Frame,
    /// Not [`RATE_MIN`] to [`RATE_MAX`].
    Rate,
}

impl core::fmt::Display for BadWav {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            BadWav::NotWav => "it is no WAV file",
            BadWav::NoFormat => "the WAV file does not say its format",
            BadWav::NoData => "the WAV file has no samples",
            BadWav::Coding => "the WAV file is neither PCM (8, 16, 24, 32 bits, float) nor G.711",
            BadWav::Frame => "the WAV file contradicts itself on channels and frames",
            BadWav::Rate => "the WAV file has an impossible sample rate",
        })
    }
}

impl core::error::Error for BadWav {}

/// Channels at most.
pub const CHANNELS_MAX: usize = 64;
/// Samples a second at least.
pub const RATE_MIN: u32 = 4_000;
/// Samples a second at most.
pub const RATE_MAX: u32 = 384_000;
/// Pauses that are marked in one file; more are silence without a mark.
pub const PAUSES_MAX: usize = 1_000;

impl<'a> Wav<'a> {
    /// Finds format, samples and marks.
    ///
    /// # Errors
    /// It is no WAV file, or none that can be read.
    pub fn parse(bytes: &'a [u8]) -> Result<Wav<'a>, BadWav> {
        let form = bytes.get(8..12);
        if !(bytes.starts_with(b"RIFF") || bytes.starts_with(b"RF64")) || form != Some(b"WAVE") {
            return Err(BadWav::NotWav);
        }
        let mut format = None;
        let mut samples = None;
        let mut marks = Marks::default();
        let mut rest = &bytes[12..];
        while let Some(chunk) = Chunk::take(&mut rest) {
            match &chunk.name {
                b"fmt " if format.is_none() => format = Some(Format::parse(chunk.body)?),
                b"data" if samples.is_none() => {
                    if format.is_none() {
                        return Err(BadWav::NoFormat);
                    }
                    samples = Some(chunk.body);
                }
                b"cue " => marks.cue(chunk.body),
                b"LIST" if chunk.body.starts_with(b"adtl") => marks.lengths(&chunk.body[4..]),
                _ => {}
            }
        }
        let Some(Format { coding, channels, rate }) = format else { return Err(BadWav::NoFormat) };
        let data = samples.ok_or(BadWav::NoData)?;
        let frame = coding.bytes() * channels;
        let data = &data[..data.len() / frame * frame];
        Ok(Wav { coding, channels, rate, data, pauses: marks.pauses(rate) })
    }

    /// Samples a second of each channel.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// 1 to [`CHANNELS_MAX`].
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Samples of each channel.
    pub fn frames(&self) -> usize {
        self.data.len() / self.frame_len()
    }

    /// The pauses that are marked, in the order of their marks.
    pub fn pauses(&self) -> &[Pause] {
        &self.pauses
    }

    /// Fills `pcm` with the mean of all channels, beginning with frame `from`. Returns how much there was.
    pub fn mono(&self, from: usize, pcm: &mut [i16]) -> usize {
        let (width, channels) = (self.coding.bytes(), self.channels as i32);
        self.read(from, pcm, |frame| {
            let sum: i32 =
                frame.chunks_exact(width).map(|sample| i32::from(self.coding.sample(sample))).sum();
            (sum / channels) as i16
        })
    }

    /// Fills `pcm` with one channel, beginning with frame `from`. Returns how much there was; of a channel that does
    /// not exist nothing.
    pub fn channel(&self, channel: usize, from: usize, pcm: &mut [i16]) -> usize {
        if channel >= self.channels {
            return 0;
        }
        let width = self.coding.bytes();
        self.read(from, pcm, |frame| self.coding.sample(&frame[channel * width..][..width]))
    }

    fn read(&self, from: usize, pcm: &mut [i16], sample: impl Fn(&[u8]) -> i16) -> usize {
        let start = from.min(self.frames()) * self.frame_len();
        let frames = self.data[start..].chunks_exact(self.frame_len());
        let len = frames.len().min(pcm.len());
        for (into, frame) in pcm.iter_mut().zip(frames) {
            *into = sample(frame);
        }
        len
    }

    fn frame_len(&self) -> usize {
        self.coding.bytes() * self.channels
    }
}

impl Coding {
    fn bytes(self) -> usize {
        match self {
            Coding::Unsigned8 | Coding::Ulaw | Coding::Alaw => 1,
            Coding::Signed16 => 2,
            Coding::Signed24 => 3,
            Coding::Signed32 | Coding::Float32 => 4,
        }
    }

    /// `bytes` has as many as [`Coding::bytes`] says.
    fn sample(self, bytes: &[u8]) -> i16 {
        let mut one = [0];
        match (self, bytes) {
            (Coding::Unsigned8, [byte]) => (i16::from(*byte) - 128) << 8,
            (Coding::Signed16, [low, high]) => i16::from_le_bytes([*low, *high]),
            (Coding::Signed24, [_, low, high]) | (Coding::Signed32, [_, _, low, high]) => {
                i16::from_le_bytes([*low, *high])
            }
            (Coding::Float32, [a, b, c, d]) => {
                // The conversion clips, and makes nothing of what is no number.
                (f32::from_le_bytes([*a, *b, *c, *d]) * 32_768.0).round() as i16
            }
            (Coding::Ulaw, coded) => {
                g711::decode_ulaw(coded, &mut one);
                one[0]
            }
            (Coding::Alaw, coded) => {
                g711::decode_alaw(coded, &mut one);
                one[0]
            }
            _ => 0,
        }
    }
}

struct Chunk<'a> {
    name: [u8; 4],
    body: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// The next chunk. Samples whose length is a lie go on to the end of the file; any other such chunk is the end.
    fn take(rest: &mut &'a [u8]) -> Option<Chunk<'a>> {
        let (name, after) = rest.split_first_chunk::<4>()?;
        let (len, after) = after.split_first_chunk::<4>()?;
        let len = u32::from_le_bytes(*len) as usize;
        let samples = name == b"data";
        if after.len() < len || samples && len == 0 && !Self::follows(after) {
            *rest = &[];
            return samples.then_some(Chunk { name: *name, body: after });
        }
        let (body, after) = after.split_at(len);
        // Chunks begin at even places; some writers forget it.
        *rest = match after.split_first() {
            Some((0, padded)) if len % 2 == 1 => padded,
            _ => after,
        };
        Some(Chunk { name: *name, body })
    }

    /// Whether what follows can be a chunk: else a length of 0 is that of a file which was streamed.
    fn follows(after: &[u8]) -> bool {
        let Some((name, rest)) = after.split_first_chunk::<4>() else { return after.is_empty() };
        let len = rest.first_chunk::<4>().map(|len| u32::from_le_bytes(*len) as usize);
        let named = name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b' ');
        named && len.is_some_and(|len| len <= rest.len() - 4)
    }
}

struct Format {
    coding: Coding,
    channels: usize,
    rate: u32,
}

impl Format {
    fn parse(body: &[u8]) -> Result<Format, BadWav> {
        let word = |at: usize| body.get(at..at + 2).map(|two| u16::from_le_bytes([two[0], two[1]]));
        let field = |at| word(at).ok_or(BadWav::NoFormat);
        let (mut tag, channels, bits) = (field(0)?, usize::from(field(2)?), field(14)?);
        let rate = u32::from(field(6)?) << 16 | u32::from(field(4)?);
        let frame_len = usize::from(field(12)?);
        if tag == EXTENSIBLE {
            // The format is the beginning of an identifier whose rest is always the same.
            tag = word(24).ok_or(BadWav::NoFormat)?;
            if body.get(26..40) != Some(&EXTENSIBLE_REST) {
                return Err(BadWav::Coding);
            }
        }
        let coding = match (tag, bits) {
            (1, 8) => Coding::Unsigned8,
            (1, 16) => Coding::Signed16,
            (1, 24) => Coding::Signed24,
            (1, 32) => Coding::Signed32,
            (3, 32) => Coding::Float32,
            (6, 8) => Coding::Alaw,
            (7, 8) => Coding::Ulaw,
            _ => return Err(BadWav::Coding),
        };
        if !(1..=CHANNELS_MAX).contains(&channels) || frame_len != channels * coding.bytes() {
            return Err(BadWav::Frame);
        }
        if !(RATE_MIN..=RATE_MAX).contains(&rate) {
            return Err(BadWav::Rate);
        }
        Ok(Format { coding, channels, rate })
    }
}

const EXTENSIBLE: u16 = 0xfffe;
const EXTENSIBLE_REST: [u8; 14] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];

/// What `cue ` and `ltxt` say: places, and the lengths of those that have one.
#[derive(Default)]
struct Marks {
    /// Number and frame.
    points: Vec<(u32, u32)>,
    /// Number and frames.
    lengths: Vec<(u32, u32)>,
}

impl Marks {
    fn cue(&mut self, body: &[u8]) {
        let Some((_count, points)) = body.split_first_chunk::<4>() else { return };
        for point in points.chunks_exact(CUE_LEN).take(PAUSES_MAX) {
            self.points.push((number(point, 0), number(point, 20)));
        }
        self.points.truncate(PAUSES_MAX);
    }

    fn lengths(&mut self, mut body: &[u8]) {
        while let Some(chunk) = Chunk::take(&mut body) {
            if &chunk.name == b"ltxt" && chunk.body.len() >= 12 && &chunk.body[8..12] == PAUSE {
                self.lengths.push((number(chunk.body, 0), number(chunk.body, 4)));
            }
        }
        self.lengths.truncate(PAUSES_MAX);
        self.lengths.sort_by_key(|(mark, _)| *mark);
    }

    fn pauses(&self, rate: u32) -> Vec<Pause> {
        let pause = |(mark, start): &(u32, u32)| {
            let at = self.lengths.binary_search_by_key(mark, |(mark, _)| *mark).ok()?;
            let end = u64::from(*start) + u64::from(self.lengths[at].1);
            Some(Pause { start: time((*start).into(), rate), end: time(end, rate) })
        };
        self.points.iter().filter_map(pause).collect()
    }
}

/// The caller has seen to it that there are four bytes.
fn number(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |four| u32::from_le_bytes(*four))
}

/// When a frame is, from the beginning.
fn time(frame: u64, rate: u32) -> Duration {
    let rate = u64::from(rate);
    Duration::new(frame / rate, ((frame % rate) * 1_000_000_000 / rate) as u32)
}

/// The frame that is nearest to a time.
fn frame(time: Duration, rate: u32) -> u32 {
    let frames = (time.as_nanos() * u128::from(rate) + 500_000_000) / 1_000_000_000;
    u32::try_from(frames).unwrap_or(u32::MAX)
}

/// Bytes of [`header`]; the samples follow at once.
pub const HEADER_LEN: usize = 44;

/// What a file of 16-bit PCM begins with when its samples are so many bytes and a [`tail`] of so many follows. While a
/// file grows it is written anew over the old one. What is beyond 4 GiB gets the lengths of a file without end.
pub fn header(rate: u32, channels: u16, data_len: u64, tail_len: usize) -> [u8; HEADER_LEN] {
    let whole = (HEADER_LEN as u64 - 8).saturating_add(data_len).saturating_add(tail_len as u64);
    let fits = u32::try_from(whole).is_ok();
    let len = |len: u64| if fits { len as u32 } else { u32::MAX }.to_le_bytes();
    let mut header = [0; HEADER_LEN];
    header[0..4].copy_from_slice(b"RIFF");
    header[4..8].copy_from_slice(&len(whole));
    header[8..16].copy_from_slice(b"WAVEfmt ");
    header[16..22].copy_from_slice(&[16, 0, 0, 0, 1, 0]);
    header[22..24].copy_from_slice(&channels.to_le_bytes());
    header[24..28].copy_from_slice(&rate.to_le_bytes());
    header[28..32].copy_from_slice(&(rate * u32::from(channels) * 2).to_le_bytes());
    header[32..34].copy_from_slice(&(channels * 2).to_le_bytes());
    header[34..36].copy_from_slice(&16u16.to_le_bytes());
    header[36..40].copy_from_slice(b"data");
    header[40..44].copy_from_slice(&len(data_len));
    header
}

/// Appends what follows the samples: marks of the pauses, each a region with the label `pause` (`cue `, and `LIST`
/// `adtl` with `ltxt` and `labl`). Nothing without pauses; of more than [`PAUSES_MAX`] the first ones. It can be written
/// after every part of the samples, to be overwritten by the next one with a tail that is no shorter.
pub fn tail(rate: u32, pauses: &[Pause], out: &mut Vec<u8>) {
    let pauses = &pauses[..pauses.len().min(PAUSES_MAX)];
    if pauses.is_empty() {
        return;
    }
    let count = pauses.len() as u32;
    let chunk = |out: &mut Vec<u8>, name: &[u8; 4], len: u32| {
        out.extend_from_slice(name);
        out.extend_from_slice(&len.to_le_bytes());
    };
    let numbers = |out: &mut Vec<u8>, numbers: &[u32]| {
        numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
    };
    chunk(out, b"cue ", 4 + CUE_LEN as u32 * count);
    numbers(out, &[count]);
    for (mark, pause) in (1..).zip(pauses) {
        let start = frame(pause.start, rate);
        numbers(out, &[mark, start]);
        out.extend_from_slice(b"data");
        numbers(out, &[0, 0, start]);
    }
    chunk(out, b"LIST", 4 + (8 + LTXT_LEN + 8 + LABL_LEN) * count);
    out.extend_from_slice(b"adtl");
    for (mark, pause) in (1..).zip(pauses) {
        chunk(out, b"ltxt", LTXT_LEN);
        numbers(out, &[mark, frame(pause.end, rate).saturating_sub(frame(pause.start, rate))]);
        out.extend_from_slice(PAUSE);
        numbers(out, &[0, 0]);
        chunk(out, b"labl", LABL_LEN);
        numbers(out, &[mark]);
        out.extend_from_slice(b"pause\0");
    }
}

const CUE_LEN: usize = 24;
const LTXT_LEN: u32 = 20;
const LABL_LEN: u32 = 10;
/// Purpose of a region.
const PAUSE: &[u8; 4] = b"paus";

#[cfg(test)]
mod tests;
