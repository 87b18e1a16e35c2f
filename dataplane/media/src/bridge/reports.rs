//! The RTCP of streams whose header identity is rewritten: what a report says of them must fit what the other side
//! sees (media.md, "Relay"). What cannot be mapped is taken out; the rest is moved together in place.

use crate::wire::rtcp::{
    APP, BLOCK_LEN, BYE, Compound, PSFB, RR, RTPFB, SDES, SR, SR_LEN, XR, set_word, word,
};
use command::Verdict;
use command::spec::Rewrite;

/// How the SSRCs of a port's RTCP change on the way to a sink.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Identity {
    /// The stream that the port's peer sends and how the sink sees it; the SSRC is `None` before there is a stream.
    pub forward: Option<(Option<u32>, Rewrite)>,
    /// The stream that the port's peer hears and how it sees it: to be taken back.
    pub back: Option<(Option<u32>, Rewrite)>,
}

impl Identity {
    /// Whether anything changes.
    pub fn is_plain(&self) -> bool {
        self.forward.is_none() && self.back.is_none()
    }

    /// A stream of the sender, as the sink knows it.
    fn own(&self, ssrc: u32) -> Option<u32> {
        match self.forward {
            None => Some(ssrc),
            Some((current, rewrite)) => {
                (current.is_none_or(|current| current == ssrc)).then_some(rewrite.ssrc)
            }
        }
    }

    /// A stream that the sender hears, as its source knows it.
    fn heard(&self, ssrc: u32) -> Option<u32> {
        match self.back {
            None => Some(ssrc),
            Some((current, rewrite)) => current.filter(|_| rewrite.ssrc == ssrc),
        }
    }

    fn heard_sequence(&self, sequence: u16) -> u16 {
        sequence.wrapping_sub(self.back.map_or(0, |(_, rewrite)| rewrite.sequence_offset))
    }

    /// An extended number of a stream that the sender hears; a cycle that only the offset made is taken back.
    fn heard_highest(&self, highest: u32) -> u32 {
        let (cycles, low) = (highest >> 16, highest as u16);
        let mapped = self.heard_sequence(low);
        let cycles = if mapped > low { cycles.saturating_sub(1) } else { cycles };
        cycles << 16 | u32::from(mapped)
    }
}

/// Rewrites a compound packet in place and returns its new length, which is never more.
///
/// # Errors
/// [`Verdict::Unmapped`] if nothing is left, and what [`Compound::parse`] says.
pub(super) fn translate(identity: &Identity, packet: &mut [u8]) -> Result<usize, Verdict> {
    Compound::parse(packet)?;
    let (mut read, mut write) = (0, 0);
    while let Some(part_len) = word(packet, read).map(|head| (head as usize % 0x1_0000 + 1) * 4) {
        let Some(part) = packet.get_mut(read..read + part_len) else { break };
        let kept = translate_part(identity, part).unwrap_or(0);
        if kept >= 4 {
            let words = (kept / 4 - 1) as u16;
            part[2..4].copy_from_slice(&words.to_be_bytes());
            packet.copy_within(read..read + kept, write);
            write += kept;
        }
        read += part_len;
    }
    if write == 0 { Err(Verdict::Unmapped) } else { Ok(write) }
}

/// Returns how much of the part is left; `None` if it cannot be mapped.
fn translate_part(identity: &Identity, part: &mut [u8]) -> Option<usize> {
    let len = part.len();
    let padding = if part[0] & 0x20 != 0 { usize::from(part[len - 1]) } else { 0 };
    // Padding serves block ciphers only; it is left out where lengths change.
    part[0] &= !0x20;
    let part = part.get_mut(..len.checked_sub(padding)?)?;
    match part[1] {
        SR => {
            map_sender(identity, part)?;
            if let (Some((_, rewrite)), Some(timestamp)) = (identity.forward, word(part, 16)) {
                set_word(part, 16, timestamp.wrapping_add(rewrite.timestamp_offset));
            }
            Some(map_blocks(identity, part, SR_LEN))
        }
        RR => {
            map_sender(identity, part)?;
            Some(map_blocks(identity, part, 8))
        }
        // Several chunks come from mixers, whose contributors nobody on the other side knows.
        SDES if part[0] & 0x1f == 1 => {
            map_sender(identity, part)?;
            Some(part.len())
        }
        BYE => {
            for n in 0..usize::from(part[0] & 0x1f) {
                let ssrc = identity.own(word(part, 4 + n * 4)?)?;
                set_word(part, 4 + n * 4, ssrc);
            }
            Some(part.len())
        }
        APP => {
            map_sender(identity, part)?;
            Some(part.len())
        }
        RTPFB | PSFB => {
            map_sender(identity, part)?;
            map_feedback(identity, part)?;
            Some(part.len())
        }
        XR => {
            map_sender(identity, part)?;
            Some(map_extended(identity, part))
        }
        _ => None,
    }
}

fn map_sender(identity: &Identity, part: &mut [u8]) -> Option<()> {
    let ssrc = identity.own(word(part, 4)?)?;
    set_word(part, 4, ssrc);
    Some(())
}

/// Keeps the blocks about streams that the other side knows; extensions behind them go.
fn map_blocks(identity: &Identity, part: &mut [u8], from: usize) -> usize {
    let mut write = from;
    let mut kept = 0;
    for n in 0..usize::from(part[0] & 0x1f) {
        let at = from + n * BLOCK_LEN;
        let Some(ssrc) = word(part, at).and_then(|ssrc| identity.heard(ssrc)) else { continue };
        if let Some(highest) = word(part, at + 8) {
            set_word(part, at + 8, identity.heard_highest(highest));
        }
        set_word(part, at, ssrc);
        part.copy_within(at..at + BLOCK_LEN, write);
        write += BLOCK_LEN;
        kept += 1;
    }
    part[0] = part[0] & !0x1f | kept;
    write
}

/// RFC 4585, RFC 5104 and the receiver-estimated bit rate.
fn map_feedback(identity: &Identity, part: &mut [u8]) -> Option<()> {
    let (kind, format) = (part[1], part[0] & 0x1f);
    let media = word(part, 8)?;
    match (kind, format) {
        // Full intra request and temporary bit rates name their streams in entries of two words.
        (PSFB, 4) | (RTPFB, 3 | 4) => map_listed(identity, part, 12, 8)?,
        (PSFB, 15) if part.get(12..16) == Some(b"REMB") => map_listed(identity, part, 20, 4)?,
        (RTPFB, 1) => {
            for entry in part.get_mut(12..)?.as_chunks_mut::<4>().0 {
                let sequence = identity.heard_sequence(u16::from_be_bytes([entry[0], entry[1]]));
                entry[..2].copy_from_slice(&sequence.to_be_bytes());
            }
        }
        _ => {}
    }
    if media != 0 {
        set_word(part, 8, identity.heard(media)?);
    }
    Some(())
}

fn map_listed(identity: &Identity, part: &mut [u8], from: usize, step: usize) -> Option<()> {
    let mut at = from;
    while let Some(ssrc) = word(part, at) {
        set_word(part, at, identity.heard(ssrc)?);
        at += step;
    }
    Some(())
}

/// RFC 3611: keeps the blocks that can be mapped.
fn map_extended(identity: &Identity, part: &mut [u8]) -> usize {
    let (mut read, mut write) = (8, 8);
    while let Some(head) = word(part, read) {
        let len = (head as usize % 0x1_0000 + 1) * 4;
        let Some(block) = part.get_mut(read..read + len) else { break };
        if map_extended_block(identity, block).is_some() {
            part.copy_within(read..read + len, write);
            write += len;
        }
        read += len;
    }
    write
}

fn map_extended_block(identity: &Identity, block: &mut [u8]) -> Option<()> {
    match block[0] {
        // Loss, duplicates, receipt times, statistics: a stream and a range of its numbers.
        1..=3 | 6 => {
            set_word(block, 4, identity.heard(word(block, 4)?)?);
            let range = word(block, 8)?;
            let (begin, end) = ((range >> 16) as u16, range as u16);
            let range =
                u32::from(identity.heard_sequence(begin)) << 16 | u32::from(identity.heard_sequence(end));
            set_word(block, 8, range);
        }
        // A receiver's reference time names nobody.
        4 => {}
        // The answer to it names receivers by their SSRC.
        5 => map_listed(identity, block, 4, 12)?,
        // VoIP metrics.
        7 => set_word(block, 4, identity.heard(word(block, 4)?)?),
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: u32 = 0xaaaa_aaaa;
    const B: u32 = 0xbbbb_bbbb;
    const A_SEEN: u32 = 0xa1a1_a1a1;
    const B_SEEN: u32 = 0xb1b1_b1b1;

    /// A's packets on their way to B: B sees A as `A_SEEN`, A sees B as `B_SEEN`.
    fn identity() -> Identity {
        let forward = Rewrite { ssrc: A_SEEN, sequence_offset: 100, timestamp_offset: 5000 };
        let back = Rewrite { ssrc: B_SEEN, sequence_offset: 40, timestamp_offset: 70 };
        Identity { forward: Some((Some(A), forward)), back: Some((Some(B), back)) }
    }

    fn part(head: u8, kind: u8, words: &[u32]) -> Vec<u8> {
        let mut bytes = vec![head, kind];
        bytes.extend((words.len() as u16).to_be_bytes());
        words.iter().for_each(|word| bytes.extend(word.to_be_bytes()));
        bytes
    }

    fn check(parts: &[Vec<u8>], expected: &[Vec<u8>]) {
        let mut packet = parts.concat();
        let len = translate(&identity(), &mut packet).unwrap_or(0);
        assert_eq!(packet[..len], expected.concat(), "{parts:x?}");
    }

    #[test]
    fn a_sender_report_speaks_of_the_streams_as_the_other_side_sees_them() {
        check(
            &[part(0x81, SR, &[A, 1, 2, 1000, 4, 5, B_SEEN, 7, 0x0001_0032, 9, 10, 11])],
            &[part(0x81, SR, &[A_SEEN, 1, 2, 6000, 4, 5, B, 7, 0x0001_000a, 9, 10, 11])],
        );
    }

    #[test]
    fn blocks_about_strangers_are_taken_out() {
        check(
            &[part(0x82, RR, &[A, 5, 1, 2, 3, 4, 5, B_SEEN, 1, 50, 3, 4, 5])],
            &[part(0x81, RR, &[A_SEEN, B, 1, 10, 3, 4, 5])],
        );
    }

    #[test]
    fn a_cycle_that_the_offset_made_is_taken_back() {
        let identity = identity();
        assert_eq!(identity.heard_highest(0x0001_0005), 0x0000_ffdd);
        assert_eq!(identity.heard_highest(0x0000_0005), 0x0000_ffdd);
        assert_eq!(identity.heard_highest(0x0002_0028), 0x0002_0000);
    }

    #[test]
    fn a_report_of_a_stranger_is_dropped() {
        let mut packet = part(0x80, RR, &[77]);
        assert_eq!(translate(&identity(), &mut packet), Err(Verdict::Unmapped));
        check(&[part(0x80, RR, &[77]), part(0x81, BYE, &[A])], &[part(0x81, BYE, &[A_SEEN])]);
    }

    #[test]
    fn descriptions_goodbyes_and_feedback_are_mapped() {
        check(&[part(0x81, SDES, &[A, 0x0102_6162, 0])], &[part(0x81, SDES, &[A_SEEN, 0x0102_6162, 0])]);
        check(&[part(0x81, BYE, &[A])], &[part(0x81, BYE, &[A_SEEN])]);
        check(&[part(0x80, APP, &[A, 5])], &[part(0x80, APP, &[A_SEEN, 5])]);
        // Picture loss, negative acknowledgement, full intra request, bit rate.
        check(&[part(0x81, PSFB, &[A, B_SEEN])], &[part(0x81, PSFB, &[A_SEEN, B])]);
        check(
            &[part(0x81, RTPFB, &[A, B_SEEN, 0x0028_ffff])],
            &[part(0x81, RTPFB, &[A_SEEN, B, 0x0000_ffff])],
        );
        check(&[part(0x84, PSFB, &[A, 0, B_SEEN, 1])], &[part(0x84, PSFB, &[A_SEEN, 0, B, 1])]);
        let remb = u32::from_be_bytes(*b"REMB");
        check(
            &[part(0x8f, PSFB, &[A, 0, remb, 0x0100_0000, B_SEEN])],
            &[part(0x8f, PSFB, &[A_SEEN, 0, remb, 0x0100_0000, B])],
        );
        check(&[part(0x81, PSFB, &[A, 99])], &[]);
    }

    #[test]
    fn extended_reports_keep_what_can_be_mapped() {
        check(
            &[part(0x80, XR, &[A, 0x0400_0002, 1, 2, 0x0600_0002, B_SEEN, 0x0032_0033, 0x0700_0001, 99])],
            &[part(0x80, XR, &[A_SEEN, 0x0400_0002, 1, 2, 0x0600_0002, B, 0x000a_000b])],
        );
    }

    proptest! {
        #[test]
        fn any_packet_stays_a_packet_and_never_grows(
            parts in proptest::collection::vec(
                (0..32u8, 200..208u8, proptest::collection::vec(prop_oneof![Just(A), Just(B_SEEN), any::<u32>()], 0..20)),
                1..5,
            ),
        ) {
            let mut packet: Vec<u8> =
                parts.iter().flat_map(|(count, kind, words)| part(0x80 | count, *kind, words)).collect();
            if let Ok(len) = translate(&identity(), &mut packet) {
                prop_assert!(len <= packet.len());
                prop_assert!(Compound::parse(&packet[..len]).is_ok());
            }
        }
    }
}
