//! Opus in Ogg files, as bytes (RFC 7845, 3533): a reader that believes no length, and the writer of recordings. Decodes
//! and encodes through the two traits of [`crate::coder`]; opens no file.
mod page; // pages of Ogg
mod packet; // how long an Opus packet is; several in one
mod write; // recordings

pub use crate::wav::Pause;
pub(crate) use page::seal;
pub use write::Recording;

use crate::coder::{Decoder, PACKET_MS_MAX};
use core::time::Duration;
use page::{Page, Pages};
use std::borrow::Cow;

/// An Ogg file with a stream of Opus in memory; what other streams it has is passed over. What comes after the end of
/// that stream is not read.
#[derive(Clone, Debug)]
pub struct OpusFile<'a> {
    bytes: &'a [u8],
    serial: u32,
    head: Head,
    pauses: Vec<Pause>,
}

/// What the stream says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Head {
    channels: usize,
    /// Samples at 48 kHz that are not to be heard.
    pre_skip: u64,
    /// What was encoded, as far as it is told.
    rate: u32,
    /// In 256ths of a decibel.
    gain: i16,
    streams: usize,
    /// So many of the first streams hold two channels.
    coupled: usize,
    /// The decoded channel for each channel of the output; 255 is silence.
    mapping: Vec<u8>,
}

/// Why bytes are no Ogg-Opus file that can be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadOgg {
    /// No page with a right checksum.
    NotOgg,
    /// No stream of Opus in it.
    NoOpus,
    /// The stream's header is damaged, or of a later version.
    Head,
    /// More than [`STREAMS_MAX`] streams in one, or channels that do not exist.
    Channels,
    /// More samples than were asked for at most.
    TooLong,
}

impl core::fmt::Display for BadOgg {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            BadOgg::NotOgg => "it is no Ogg file",
            BadOgg::NoOpus => "the Ogg file has no Opus in it",
            BadOgg::Head => "the Ogg file's Opus header is damaged",
            BadOgg::Channels => "the Ogg file has channels that contradict each other, or too many",
            BadOgg::TooLong => "the Ogg file is too long",
        })
    }
}

impl core::error::Error for BadOgg {}

/// Streams in one packet at most: 8 channels, each by itself.
pub const STREAMS_MAX: usize = 8;
/// The longest packet that is put together: what RFC 7845 section 6 asks of readers.
const PACKET_MAX: usize = 61_440 * STREAMS_MAX;

impl<'a> OpusFile<'a> {
    /// Finds the stream and reads its two headers.
    ///
    /// # Errors
    /// It is no Ogg file, or has no Opus in it that can be read.
    pub fn parse(bytes: &'a [u8]) -> Result<OpusFile<'a>, BadOgg> {
        let mut pages = Pages::new(bytes).peekable();
        pages.peek().ok_or(BadOgg::NotOgg)?;
        // All streams begin before any goes on.
        let mut beginnings = pages.take_while(|page| page.first);
        let page = beginnings.find(|page| page.body.starts_with(b"OpusHead")).ok_or(BadOgg::NoOpus)?;
        let head = Head::parse(page.body)?;
        let mut file = OpusFile { bytes, serial: page.serial, head, pauses: Vec::new() };
        let tags = file.all_packets().nth(1).ok_or(BadOgg::NoOpus)?;
        file.pauses = pauses(&tags.data).ok_or(BadOgg::Head)?;
        Ok(file)
    }

    /// Channels of the output.
    pub fn channels(&self) -> usize {
        self.head.channels
    }

    /// Streams that each packet holds: so many decoders are needed, 1 to [`STREAMS_MAX`].
    pub fn streams(&self) -> usize {
        self.head.streams
    }

    /// The narrowest rate of 8, 12, 16, 24 or 48 kHz that holds what was encoded, as far as the file tells.
    pub fn rate(&self) -> u32 {
        let narrow = [8_000, 12_000, 16_000, 24_000].into_iter().find(|rate| self.head.rate <= *rate);
        narrow.filter(|_| self.head.rate > 0).unwrap_or(48_000)
    }

    /// The pauses that its comments mark.
    pub fn pauses(&self) -> &[Pause] {
        &self.pauses
    }

    /// All of it, the mean of its channels, by fresh decoders of Opus, one for each of [`OpusFile::streams`], all of one
    /// rate. Packets that cannot be decoded are concealed.
    ///
    /// # Errors
    /// [`BadOgg::TooLong`]: more than `samples_max`.
    pub fn mono(&self, decoders: &mut [Box<dyn Decoder>], samples_max: usize) -> Result<Vec<i16>, BadOgg> {
        let mut weights = vec![0; self.head.streams];
        let channels = self.head.mapping.iter().filter(|channel| **channel != 255);
        channels.for_each(|channel| weights[self.head.stream_of(*channel)] += 1);
        self.decode(decoders, &weights, samples_max)
    }

    /// As [`OpusFile::mono`], one channel alone; of two that were encoded together their mean.
    ///
    /// # Errors
    /// As [`OpusFile::mono`]; [`BadOgg::Channels`] if there is no such channel.
    pub fn channel(
        &self,
        channel: usize,
        decoders: &mut [Box<dyn Decoder>],
        samples_max: usize,
    ) -> Result<Vec<i16>, BadOgg> {
        let mapped = *self.head.mapping.get(channel).ok_or(BadOgg::Channels)?;
        let mut weights = vec![0; self.head.streams];
        if mapped != 255 {
            weights[self.head.stream_of(mapped)] = 1;
        }
        self.decode(decoders, &weights, samples_max)
    }

    fn decode(
        &self,
        decoders: &mut [Box<dyn Decoder>],
        weights: &[i32],
        samples_max: usize,
    ) -> Result<Vec<i16>, BadOgg> {
        assert_eq!(decoders.len(), self.head.streams, "a decoder for each stream");
        let rate = u64::from(decoders[0].rate());
        let at_rate = |samples: u64| (samples * rate / 48_000) as usize;
        let mut skip = at_rate(self.head.pre_skip);
        let mut pcm = Vec::new();
        let mut mix = vec![0i32; at_rate(u64::from(PACKET_MS_MAX) * 48)];
        let mut one = vec![0; mix.len()];
        let mut clock = Clock::default();
        let gain = self.head.gain();
        for packet in self.packets() {
            let lasts = packet::duration(&packet.data).unwrap_or(960);
            clock.pass(lasts.into(), packet.page_end);
            let len = at_rate(lasts.into());
            mix[..len].fill(0);
            let mut rest = &packet.data[..];
            for (stream, decoder) in decoders.iter_mut().enumerate() {
                let last = stream + 1 == self.head.streams;
                let parted = if last { None } else { packet::split(rest) };
                let payload = match &parted {
                    Some((payload, after)) => {
                        rest = after;
                        payload
                    }
                    None => core::mem::take(&mut rest),
                };
                if decoder.decode(payload, &mut one) != Ok(len) {
                    decoder.conceal(&mut one[..len]);
                }
                mix.iter_mut()
                    .zip(&one[..len])
                    .for_each(|(sum, one)| *sum += i32::from(*one) * weights[stream]);
            }
            let parts = weights.iter().sum::<i32>().max(1);
            let skipped = skip.min(len);
            skip -= skipped;
            if pcm.len() + len - skipped > samples_max {
                return Err(BadOgg::TooLong);
            }
            // The conversion clips.
            pcm.extend(mix[skipped..len].iter().map(|sum| ((sum / parts) as f32 * gain) as i16));
        }
        pcm.truncate(pcm.len().saturating_sub(at_rate(clock.surplus)));
        Ok(pcm)
    }

    /// The packets of sound in order.
    fn packets(&self) -> impl Iterator<Item = Packet<'a>> {
        self.all_packets().skip(2)
    }

    fn all_packets(&self) -> Packets<'a> {
        let pages = Pages::new(self.bytes);
        Packets { pages, serial: self.serial, page: None, begun: None, sequence: 0, ended: false }
    }
}

impl Head {
    fn parse(packet: &[u8]) -> Result<Head, BadOgg> {
        let Some((fixed, table)) = packet.split_first_chunk::<19>() else { return Err(BadOgg::Head) };
        let word = |at: usize| u16::from_le_bytes([fixed[at], fixed[at + 1]]);
        let (version, channels, family) = (fixed[8], usize::from(fixed[9]), fixed[18]);
        if version & 0xf0 != 0 || channels == 0 {
            return Err(BadOgg::Head);
        }
        let (streams, coupled, mapping) = match family {
            0 if channels <= 2 => (1, channels - 1, (0..channels as u8).collect()),
            0 => return Err(BadOgg::Channels),
            _ => {
                let [streams, coupled, mapping @ ..] = table else { return Err(BadOgg::Head) };
                let mapping = mapping.get(..channels).ok_or(BadOgg::Head)?;
                (usize::from(*streams), usize::from(*coupled), mapping.to_vec())
            }
        };
        let exists = |channel: &u8| *channel == 255 || usize::from(*channel) < streams + coupled;
        if !(1..=STREAMS_MAX).contains(&streams) || coupled > streams || !mapping.iter().all(exists) {
            return Err(BadOgg::Channels);
        }
        Ok(Head {
            channels,
            pre_skip: word(10).into(),
            rate: u32::from(word(14)) << 16 | u32::from(word(12)),
            gain: word(16) as i16,
            streams,
            coupled,
            mapping,
        })
    }

    /// The stream that holds a decoded channel other than 255.
    fn stream_of(&self, channel: u8) -> usize {
        let channel = usize::from(channel);
        if channel < 2 * self.coupled { channel / 2 } else { channel - self.coupled }
    }

    fn gain(&self) -> f32 {
        10f32.powf(f32::from(self.gain) / (20.0 * 256.0))
    }
}

/// A packet of one stream.
struct Packet<'a> {
    data: Cow<'a, [u8]>,
    /// If it is the last that ends on its page: that page's granule position, and whether it is the stream's last page.
    page_end: Option<(u64, bool)>,
}

/// Puts packets together from pages.
struct Packets<'a> {
    pages: Pages<'a>,
    serial: u32,
    page: Option<Page<'a>>,
    /// What has come of a packet that goes on on the next page.
    begun: Option<Vec<u8>>,
    sequence: u32,
    ended: bool,
}

impl<'a> Iterator for Packets<'a> {
    type Item = Packet<'a>;

    fn next(&mut self) -> Option<Packet<'a>> {
        loop {
            let Some(page) = &mut self.page else {
                self.turn()?;
                continue;
            };
            let Some(segments) = page.lacing.iter().position(|len| *len < 255) else {
                // The rest of the page, if there is one, goes on on the next.
                if !page.lacing.is_empty() {
                    let begun = self.begun.get_or_insert_default();
                    begun.extend_from_slice(page.body);
                }
                self.page = None;
                continue;
            };
            let len = segments * 255 + usize::from(page.lacing[segments]);
            let (data, body) = page.body.split_at(len);
            (page.lacing, page.body) = (&page.lacing[segments + 1..], body);
            let is_last = page.lacing.iter().all(|len| *len == 255);
            let page_end = page.granule.filter(|_| is_last).map(|granule| (granule, page.last));
            let continued = core::mem::take(&mut page.continued);
            let data = match (self.begun.take(), continued) {
                (Some(mut begun), true) if begun.len() + len <= PACKET_MAX => {
                    begun.extend_from_slice(data);
                    Cow::Owned(begun)
                }
                // Its beginning is lost, or it is longer than any packet.
                (_, true) => continue,
                (_, false) => Cow::Borrowed(data),
            };
            return Some(Packet { data, page_end });
        }
    }
}

impl Packets<'_> {
    /// Goes on to the stream's next page.
    fn turn(&mut self) -> Option<()> {
        if self.ended {
            return None;
        }
        let serial = self.serial;
        let page = self.pages.find(|page| page.serial == serial)?;
        self.ended = page.last;
        let follows = page.sequence == self.sequence.wrapping_add(1);
        if !follows || !page.continued || self.begun.as_ref().is_some_and(|begun| begun.len() > PACKET_MAX) {
            self.begun = None;
        }
        self.sequence = page.sequence;
        self.page = Some(page);
        Some(())
    }
}

/// Where the stream is, to find out how much of its end is not to be heard (RFC 7845 section 4.4).
#[derive(Default)]
struct Clock {
    /// By the packets so far.
    passed: u64,
    /// The same at the end of the page before.
    page: u64,
    /// What the first page's position is beyond its packets: where a part of a longer stream begins.
    start: Option<u64>,
    /// At the end of the stream; no longer than its last page.
    surplus: u64,
}

impl Clock {
    fn pass(&mut self, lasts: u64, page_end: Option<(u64, bool)>) {
        self.passed += lasts;
        let Some((granule, last)) = page_end else { return };
        let start = *self.start.get_or_insert(granule.saturating_sub(self.passed));
        if last {
            self.surplus = (start + self.passed).saturating_sub(granule).min(self.passed - self.page);
        }
        self.page = self.passed;
    }
}

/// The pauses that a comment header marks; `None` if it is none.
fn pauses(tags: &[u8]) -> Option<Vec<Pause>> {
    let mut rest = tags.strip_prefix(b"OpusTags")?;
    let mut pauses = Vec::new();
    let mut take = |len: Option<usize>| {
        let (len, after) = match len {
            Some(len) => (len, rest),
            None => rest
                .split_first_chunk::<4>()
                .map(|(len, after)| (u32::from_le_bytes(*len) as usize, after))?,
        };
        let (text, after) = after.split_at_checked(len)?;
        rest = after;
        Some(text)
    };
    let _vendor = take(None)?;
    let count = u32::from_le_bytes(*take(Some(4))?.first_chunk()?);
    for _ in 0..count {
        // A lying count ends with the packet.
        let Some(comment) = take(None) else { break };
        let Some(value) = comment.strip_prefix(PAUSE.as_bytes()) else { continue };
        pauses.extend(core::str::from_utf8(value).ok().and_then(pause));
    }
    pauses.truncate(crate::wav::PAUSES_MAX);
    Some(pauses)
}

/// `12.345-67.890`: seconds.
fn pause(text: &str) -> Option<Pause> {
    let (start, end) = text.split_once('-')?;
    let time = |text: &str| {
        let (seconds, millis) = text.split_once('.').filter(|(_, millis)| millis.len() == 3)?;
        let (seconds, millis): (u32, u32) = (seconds.parse().ok()?, millis.parse().ok()?);
        Some(Duration::new(seconds.into(), millis * 1_000_000))
    };
    Some(Pause { start: time(start)?, end: time(end)? })
}

/// The name of the comment that marks a pause.
const PAUSE: &str = "PAUSE=";

#[cfg(test)]
mod tests;
