//! A compound RTCP packet, borrowed (RFC 3550 section 6, reduced size as in RFC 5506). Walks the parts with their
//! lengths checked; reports and descriptions have views of their own, other parts are bytes.

mod write; // compound packets into a buffer

use command::Verdict;

pub use write::{VoipMetrics, Writer};

/// Sender report.
pub const SR: u8 = 200;
/// Receiver report.
pub const RR: u8 = 201;
/// Source description.
pub const SDES: u8 = 202;
/// Goodbye.
pub const BYE: u8 = 203;
/// Application-defined.
pub const APP: u8 = 204;
/// Transport-layer feedback (RFC 4585).
pub const RTPFB: u8 = 205;
/// Payload-specific feedback (RFC 4585).
pub const PSFB: u8 = 206;
/// Extended report (RFC 3611).
pub const XR: u8 = 207;

/// Bytes of one report block.
pub const BLOCK_LEN: usize = 24;
/// Bytes of a sender report before its blocks: header, SSRC, sender information.
pub const SR_LEN: usize = 28;

/// A compound packet whose parts have been checked.
#[derive(Clone, Copy, Debug)]
pub struct Compound<'a> {
    bytes: &'a [u8],
}

impl<'a> Compound<'a> {
    /// Checks that the parts fill the datagram exactly, that counts fit their parts and that only the last is padded.
    ///
    /// # Errors
    /// [`Verdict::Short`], [`Verdict::Version`], [`Verdict::Malformed`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Verdict> {
        let mut rest = bytes;
        loop {
            let (part, after) = Part::parse(rest)?;
            if after.is_empty() {
                return Ok(Compound { bytes });
            }
            if part.bytes[0] & 0x20 != 0 {
                return Err(Verdict::Malformed);
            }
            rest = after;
        }
    }

    /// As [`Compound::parse`] for a packet that may be SRTCP: only the first eight bytes are in the clear
    /// (RFC 3711 section 3.4), so only they are judged.
    ///
    /// # Errors
    /// [`Verdict::Short`], [`Verdict::Version`].
    pub fn check_sealed(bytes: &[u8]) -> Result<(), Verdict> {
        let [first, _, _, _, _, _, _, _, ..] = bytes else { return Err(Verdict::Short) };
        if first >> 6 != 2 { Err(Verdict::Version) } else { Ok(()) }
    }

    /// The parts in order; at least one.
    pub fn parts(&self) -> impl Iterator<Item = Part<'a>> + use<'a> {
        let mut rest = self.bytes;
        core::iter::from_fn(move || {
            let (part, after) = Part::parse(rest).ok()?;
            rest = after;
            Some(part)
        })
    }
}

/// One part of a compound packet.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    bytes: &'a [u8],
}

impl<'a> Part<'a> {
    /// Takes the first part off; its counts fit its length.
    ///
    /// # Errors
    /// [`Verdict::Short`], [`Verdict::Version`], [`Verdict::Malformed`].
    pub fn parse(bytes: &'a [u8]) -> Result<(Part<'a>, &'a [u8]), Verdict> {
        let [first, kind, high, low, ..] = *bytes else { return Err(Verdict::Short) };
        if first >> 6 != 2 {
            return Err(Verdict::Version);
        }
        let len = (usize::from(u16::from_be_bytes([high, low])) + 1) * 4;
        let (own, rest) = bytes.split_at_checked(len).ok_or(Verdict::Malformed)?;
        let padding = if first & 0x20 != 0 { usize::from(own[len - 1]) } else { 0 };
        if (first & 0x20 != 0) && (padding == 0 || padding % 4 != 0) {
            return Err(Verdict::Malformed);
        }
        let count = usize::from(first & 0x1f);
        let least = match kind {
            SR => SR_LEN + count * BLOCK_LEN,
            RR => 8 + count * BLOCK_LEN,
            BYE | SDES => 4 + count * 4,
            APP | RTPFB | PSFB => 12,
            XR => 8,
            _ => 4,
        };
        if len < least + padding {
            return Err(Verdict::Malformed);
        }
        Ok((Part { bytes: own }, rest))
    }

    /// Which kind: [`SR`], [`RR`] …
    pub fn kind(&self) -> u8 {
        self.bytes[1]
    }

    /// The five bits behind the version: how many blocks, chunks or sources; for feedback its format.
    pub fn count(&self) -> u8 {
        self.bytes[0] & 0x1f
    }

    /// All of it, with header and padding.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Who sends this part; `None` for a kind that does not begin with that.
    pub fn sender(&self) -> Option<u32> {
        match self.kind() {
            SR | RR | APP | RTPFB | PSFB | XR => word(self.bytes, 4),
            _ => None,
        }
    }

    /// What a sender report says of the sender; `None` for another kind.
    pub fn sender_info(&self) -> Option<SenderInfo> {
        let b = self.bytes;
        (self.kind() == SR).then_some(())?;
        Some(SenderInfo {
            ntp: u64::from(word(b, 8)?) << 32 | u64::from(word(b, 12)?),
            timestamp: word(b, 16)?,
            packets: word(b, 20)?,
            octets: word(b, 24)?,
        })
    }

    /// The report blocks of a sender or receiver report; none for another kind.
    pub fn blocks(&self) -> impl Iterator<Item = ReportBlock> + use<'a> {
        let from = match self.kind() {
            SR => SR_LEN,
            RR => 8,
            _ => self.bytes.len(),
        };
        let blocks = self.bytes.get(from..).unwrap_or_default().as_chunks::<BLOCK_LEN>().0;
        let count = usize::from(self.count());
        blocks.iter().take(count).map(ReportBlock::from_bytes)
    }

    /// The items of a source description, see [`Items::next_in`]; none for another kind.
    pub fn items(&self) -> impl Iterator<Item = (u32, u8, core::ops::Range<usize>)> + use<'a> {
        let bytes = self.bytes;
        let mut items = Items::of(self);
        core::iter::from_fn(move || items.next_in(bytes))
    }
}

/// A walk over the items of a source description that does not hold on to the bytes, so that they can be changed
/// on the way.
#[derive(Clone, Debug)]
pub struct Items {
    chunks: u8,
    at: usize,
    ssrc: Option<u32>,
}

impl Items {
    /// Before the first item.
    pub fn of(part: &Part<'_>) -> Self {
        Items { chunks: if part.kind() == SDES { part.count() } else { 0 }, at: 4, ssrc: None }
    }

    /// The next item as (chunk's SSRC, item's type, range of its text in the part's bytes); stops at the first that
    /// does not fit.
    pub fn next_in(&mut self, bytes: &[u8]) -> Option<(u32, u8, core::ops::Range<usize>)> {
        loop {
            let Some(ssrc) = self.ssrc else {
                self.chunks = self.chunks.checked_sub(1)?;
                self.ssrc = Some(word(bytes, self.at)?);
                self.at += 4;
                continue;
            };
            let kind = *bytes.get(self.at)?;
            if kind == 0 {
                // The end of a chunk: padded to a word with at least one zero.
                self.at = (self.at / 4 + 1) * 4;
                self.ssrc = None;
                continue;
            }
            let start = self.at + 2;
            let end = start + usize::from(*bytes.get(self.at + 1)?);
            bytes.get(start..end)?;
            self.at = end;
            return Some((ssrc, kind, start..end));
        }
    }
}

/// What a sender report says of its sender (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderInfo {
    /// Seconds since 1900 and their fraction.
    pub ntp: u64,
    /// The same time in the stream's clock.
    pub timestamp: u32,
    /// Packets sent.
    pub packets: u32,
    /// Payload bytes sent.
    pub octets: u32,
}

impl SenderInfo {
    /// The middle of `ntp`: what receivers echo as [`ReportBlock::last_sr`].
    pub fn middle(&self) -> u32 {
        (self.ntp >> 16) as u32
    }
}

/// One report block (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ReportBlock {
    /// Which stream it is about.
    pub ssrc: u32,
    /// Lost since the last report, of 256.
    pub fraction_lost: u8,
    /// Lost since the beginning; 24 bits with sign.
    pub lost: i32,
    /// Highest extended sequence number received.
    pub highest: u32,
    /// In units of the stream's clock.
    pub jitter: u32,
    /// [`SenderInfo::middle`] of the last sender report received; 0 for none.
    pub last_sr: u32,
    /// Time since that report in 1/65536 s.
    pub delay: u32,
}

impl ReportBlock {
    fn from_bytes(b: &[u8; BLOCK_LEN]) -> Self {
        let word = |at: usize| u32::from_be_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
        ReportBlock {
            ssrc: word(0),
            fraction_lost: b[4],
            // 24 bits with sign
            lost: ((word(4) << 8) as i32) >> 8,
            highest: word(8),
            jitter: word(12),
            last_sr: word(16),
            delay: word(20),
        }
    }
}

/// The word at a byte offset.
pub(crate) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk::<4>()?))
}

/// Overwrites the word at a byte offset; does nothing beyond the end.
pub(crate) fn set_word(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<4>()) {
        *place = value.to_be_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sr_and_sdes() -> Vec<u8> {
        let mut b = vec![0x81, SR, 0, 12];
        b.extend(0x1111_1111u32.to_be_bytes());
        b.extend(0x0102_0304_0506_0708u64.to_be_bytes());
        b.extend([0, 0, 0, 160, 0, 0, 0, 2, 0, 0, 1, 0]);
        b.extend(0x2222_2222u32.to_be_bytes());
        b.extend([64, 0xff, 0xff, 0xff]); // a quarter lost; one came twice
        b.extend([0, 1, 0, 9, 0, 0, 0, 5, 3, 4, 5, 6, 0, 1, 0, 0]);
        b.extend([0x81, SDES, 0, 3]);
        b.extend(0x1111_1111u32.to_be_bytes());
        b.extend([1, 4, b'a', b'@', b'b', b'c', 0, 0]);
        b
    }

    #[test]
    fn a_sender_report_and_its_block_read_as_rfc_3550_draws_them() {
        let bytes = sr_and_sdes();
        let parts: Vec<_> = Compound::parse(&bytes).unwrap().parts().collect();
        assert_eq!(parts.iter().map(Part::kind).collect::<Vec<_>>(), [SR, SDES]);
        let info = parts[0].sender_info().unwrap();
        assert_eq!((parts[0].sender(), info.middle(), info.timestamp), (Some(0x1111_1111), 0x0304_0506, 160));
        let blocks: Vec<_> = parts[0].blocks().collect();
        let block = ReportBlock {
            ssrc: 0x2222_2222,
            fraction_lost: 64,
            lost: -1,
            highest: 0x0001_0009,
            jitter: 5,
            last_sr: 0x0304_0506,
            delay: 65_536,
        };
        assert_eq!(blocks, [block]);
        let items: Vec<_> = parts[1].items().collect();
        assert_eq!(items.len(), 1);
        assert_eq!(
            (items[0].0, items[0].1, &parts[1].bytes()[items[0].2.clone()]),
            (0x1111_1111, 1, &b"a@bc"[..])
        );
        assert_eq!(parts[1].blocks().count(), 0);
    }

    #[test]
    fn lengths_that_lie_are_told_apart() {
        let check = |change: fn(&mut Vec<u8>), expected| {
            let mut bytes = sr_and_sdes();
            change(&mut bytes);
            assert_eq!(Compound::parse(&bytes).map(|_| ()), Err(expected), "{bytes:x?}");
        };
        check(|b| b.truncate(3), Verdict::Short);
        check(|b| b[0] = 0x41, Verdict::Version);
        check(|b| b[3] = 200, Verdict::Malformed); // longer than the datagram
        check(|b| b[0] = 0x82, Verdict::Malformed); // a block that is not there
        check(|b| b[0] |= 0x20, Verdict::Malformed); // padding before the last part
        check(|b| b.push(0), Verdict::Short); // something behind the last part
        check(|b| b[55] = 100, Verdict::Malformed);
    }

    #[test]
    fn only_the_clear_part_of_a_sealed_packet_is_judged() {
        assert_eq!(Compound::check_sealed(&[0x80, SR, 0xff, 0xff, 0, 0, 0, 1, 9, 9]), Ok(()));
        assert_eq!(Compound::check_sealed(&[0x80, SR, 0, 0]), Err(Verdict::Short));
        assert_eq!(Compound::check_sealed(&[0x40, SR, 0, 0, 0, 0, 0, 1]), Err(Verdict::Version));
    }

    #[test]
    fn items_end_where_they_stop_fitting() {
        // Two chunks; the second item claims more than there is.
        let mut bytes = vec![0x82, SDES, 0, 5];
        bytes.extend([0, 0, 0, 1, 1, 1, b'x', 0, 0, 0, 0, 2, 1, 200, b'y', 0, 0, 0, 0, 0]);
        let (part, rest) = Part::parse(&bytes).unwrap();
        assert!(rest.is_empty());
        assert_eq!(part.items().collect::<Vec<_>>(), [(1, 1, 10..11)]);
    }

    proptest! {
        #[test]
        fn any_bytes_walk_to_an_end(mut bytes in proptest::collection::vec(any::<u8>(), 0..128), kind in 200..208u8) {
            if bytes.len() > 2 {
                bytes[0] = bytes[0] & 0x3f | 0x80;
                bytes[1] = kind;
                bytes[2] = 0;
            }
            if let Ok(compound) = Compound::parse(&bytes) {
                let mut len = 0;
                for part in compound.parts() {
                    len += part.bytes().len();
                    let (_, _, _) = (part.sender(), part.sender_info(), part.blocks().count());
                    for (_, _, text) in part.items() {
                        prop_assert!(part.bytes().get(text).is_some());
                    }
                }
                prop_assert_eq!(len, bytes.len());
            }
        }
    }
}
