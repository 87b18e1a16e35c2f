//! A recording in Opus: from samples to pages, so that what has been written is a whole file at any time. Stereo is two
//! streams that know nothing of each other (mapping family 1): neither party is heard in the other's channel.

use super::packet;
use super::page::Sheet;
use super::{PAUSE, Pause};
use crate::coder::{Encoder, PAYLOAD_MAX};

/// Makes the bytes of one file: [`Recording::begin`], then what [`Recording::push`] gives, each behind the last;
/// [`Recording::tags`] goes over its old place.
pub struct Recording {
    serial: u32,
    rate: u32,
    sheet: Sheet,
    channels: Vec<Channel>,
    /// What the packets so far hold at 48 kHz.
    granule: u64,
    /// What was pushed of each channel.
    samples: u64,
    packet: Vec<u8>,
}

struct Channel {
    encoder: Box<dyn Encoder>,
    /// Less than a frame.
    pending: Vec<i16>,
    payload: Box<[u8; PAYLOAD_MAX]>,
    /// The first byte of its last packet.
    toc: u8,
}

impl Recording {
    /// One encoder of Opus for each of one or two channels, all of them for `rate`: 8, 12, 16, 24 or 48 kHz. `serial` is
    /// any number.
    pub fn new(serial: u32, rate: u32, encoders: Vec<Box<dyn Encoder>>) -> Recording {
        assert!((1..=2).contains(&encoders.len()), "one channel or two");
        let channel = |encoder| Channel {
            encoder,
            pending: Vec::with_capacity(rate as usize / FRAMES_A_SECOND),
            payload: Box::new([0; PAYLOAD_MAX]),
            toc: TOC,
        };
        Recording {
            serial,
            rate,
            sheet: Sheet::new(serial, 0),
            channels: encoders.into_iter().map(channel).collect(),
            granule: 0,
            samples: 0,
            packet: Vec::new(),
        }
    }

    /// Appends the headers, which every file begins with: [`Recording::tags`] without a pause is part of them.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        let count = self.channels.len() as u8;
        let mut head = b"OpusHead\x01".to_vec();
        head.push(count);
        head.extend_from_slice(&PRE_SKIP.to_le_bytes());
        head.extend_from_slice(&self.rate.to_le_bytes());
        head.extend_from_slice(&[0, 0]);
        match count {
            1 => head.push(0),
            _ => head.extend_from_slice(&[1, 2, 0, 0, 1]),
        }
        self.sheet.add(&head);
        self.sheet.write(0, false, out);
        self.tags(&[], out);
        self.sheet = Sheet::new(self.serial, 2);
    }

    /// Where in the file the page of [`Recording::tags`] is.
    pub fn tags_at(&self) -> u64 {
        // A page's head with one segment, and the first header.
        28 + if self.channels.len() == 1 { 19 } else { 23 }
    }

    /// Appends the page of comments: each pause is one, `PAUSE=12.345-67.890` in seconds. It has always the same
    /// length; pauses that find no room in it, beyond a hundred, are silence without a mark.
    pub fn tags(&self, pauses: &[Pause], out: &mut Vec<u8>) {
        let mut comments = Vec::new();
        let mut count = 0u32;
        for pause in pauses {
            let time = |time: core::time::Duration| format!("{}.{:03}", time.as_secs(), time.subsec_millis());
            let comment = format!("{PAUSE}{}-{}", time(pause.start), time(pause.end));
            if TAGS_HEAD + comments.len() + 4 + comment.len() > TAGS_LEN {
                break;
            }
            comments.extend_from_slice(&(comment.len() as u32).to_le_bytes());
            comments.extend_from_slice(comment.as_bytes());
            count += 1;
        }
        let mut tags = b"OpusTags".to_vec();
        tags.extend_from_slice(&(VENDOR.len() as u32).to_le_bytes());
        tags.extend_from_slice(VENDOR);
        tags.extend_from_slice(&count.to_le_bytes());
        tags.extend_from_slice(&comments);
        // What follows the comments and begins with an even byte is padding.
        tags.resize(TAGS_LEN, 0);
        let mut sheet = Sheet::new(self.serial, 1);
        sheet.add(&tags);
        sheet.write(0, false, out);
    }

    /// How hard the encoders try from now on, 0 to 10.
    pub fn set_complexity(&mut self, complexity: u8) {
        self.channels.iter_mut().for_each(|channel| channel.encoder.set_complexity(complexity));
    }

    /// Adds samples, as many for each channel; appends pages that are full.
    pub fn push(&mut self, pcm: &[&[i16]], out: &mut Vec<u8>) {
        assert_eq!(pcm.len(), self.channels.len(), "samples for each channel");
        let frame = self.rate as usize / FRAMES_A_SECOND;
        let mut at = 0;
        while at < pcm[0].len() {
            let taken = (frame - self.channels[0].pending.len()).min(pcm[0].len() - at);
            for (channel, pcm) in self.channels.iter_mut().zip(pcm) {
                channel.pending.extend_from_slice(&pcm[at..at + taken]);
            }
            at += taken;
            if self.channels[0].pending.len() == frame {
                self.encode(out);
            }
        }
        self.samples += pcm[0].len() as u64;
    }

    /// Appends what there is of packets as a page: what is written then is a whole file up to here, but for less than a
    /// frame.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        if !self.sheet.is_empty() {
            self.sheet.write(self.granule, false, out);
        }
    }

    /// Appends the rest and the end. Nothing may be pushed afterwards.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let frame = self.rate as usize / FRAMES_A_SECOND;
        let end = u64::from(PRE_SKIP) + self.samples * 48_000 / u64::from(self.rate);
        while self.granule < end {
            self.channels.iter_mut().for_each(|channel| channel.pending.resize(frame, 0));
            self.encode(out);
        }
        self.sheet.write(end, true, out);
    }

    fn encode(&mut self, out: &mut Vec<u8>) {
        self.packet.clear();
        let count = self.channels.len();
        for (number, channel) in (1..).zip(&mut self.channels) {
            let len = match channel.encoder.encode(&channel.pending, &mut channel.payload) {
                // The encoder would rather send nothing: a packet without a frame.
                0 => {
                    channel.payload[0] = channel.toc & !3;
                    1
                }
                len => len,
            };
            channel.pending.clear();
            let payload = &channel.payload[..len];
            channel.toc = payload[0];
            // All but the last say how long they are.
            if number == count {
                self.packet.extend_from_slice(payload);
            } else {
                let whole = packet::join(payload, &mut self.packet);
                debug_assert!(whole, "an encoder writes packets that are right");
            }
        }
        if !self.sheet.add(&self.packet) {
            self.flush(out);
            self.sheet.add(&self.packet);
        }
        self.granule += 48_000 / FRAMES_A_SECOND as u64;
    }
}

impl core::fmt::Debug for Recording {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Recording({} samples at {} Hz)", self.samples, self.rate)
    }
}

/// Packets hold 20 ms.
const FRAMES_A_SECOND: usize = 50;
/// What libopus adds in front, at 48 kHz and whatever its rate: 6.5 ms, in the modes that are used here.
const PRE_SKIP: u16 = 312;
const VENDOR: &[u8] = b"strowger";
const TAGS_LEN: usize = 4_000;
const TAGS_HEAD: usize = 8 + 4 + VENDOR.len() + 4;
/// A packet of 20 ms, until the encoder has written one.
const TOC: u8 = 1 << 3;
