//! What an Opus packet says of itself, checked before libopus sees it (RFC 6716 section 3). Decodes nothing.

use crate::coder::{PACKET_MS_MAX, Undecodable};

/// The longest frame in bytes (RFC 6716 section 3.4, requirement R2).
const FRAME_LEN_MAX: usize = 1_275;
/// The longest packet, in units of 2.5 ms.
const UNITS_MAX: usize = PACKET_MS_MAX as usize * 2 / 5;

/// A packet that holds together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    toc: u8,
    frames: usize,
    first: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Checks all lengths once.
    ///
    /// # Errors
    /// Any requirement of RFC 6716 section 3.4 that does not hold.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Undecodable> {
        let (toc, rest) = payload.split_first().ok_or(Undecodable)?;
        let (frames, first) = match toc & 3 {
            0 => (1, frame(rest)?),
            1 => {
                let first = frame(&rest[..rest.len() / 2])?;
                (2, if rest.len().is_multiple_of(2) { first } else { return Err(Undecodable) })
            }
            2 => {
                let (len, rest) = length(rest)?;
                let (first, second) = rest.split_at_checked(len).ok_or(Undecodable)?;
                frame(second)?;
                (2, first)
            }
            _ => any_number(rest)?,
        };
        let packet = Packet { toc: *toc, frames, first };
        if packet.units() <= UNITS_MAX { Ok(packet) } else { Err(Undecodable) }
    }

    /// How long the packet is, in units of 2.5 ms: at least 1, at most 48.
    pub fn units(&self) -> usize {
        self.frames * self.frame_units()
    }

    /// How long one of its frames is, in units of 2.5 ms.
    pub fn frame_units(&self) -> usize {
        let config = usize::from(self.toc >> 3);
        match config {
            0..12 => [4, 8, 16, 24][config % 4],
            12..16 => [4, 8][config % 2],
            _ => [1, 2, 4, 8][config % 4],
        }
    }

    /// Whether its first frame also holds, coded more coarsely, what the frame before it held (low bit-rate redundancy,
    /// RFC 6716 section 4.2.4).
    pub fn has_redundancy(&self) -> bool {
        let is_celt = self.toc & 0x80 != 0;
        // A frame of one byte or none carries nothing.
        let [flags, _, ..] = self.first else { return false };
        if is_celt {
            return false;
        }
        // The frame begins with a voice flag for each 20 ms of a channel, then the redundancy flag, each one half likely:
        // so the range coder writes them as plain bits.
        let voices = self.frame_units().div_ceil(8);
        let mid = flags >> (7 - voices) & 1 != 0;
        let is_stereo = self.toc & 4 != 0;
        let side = is_stereo && 2 * voices <= 6 && flags >> (6 - 2 * voices) & 1 != 0;
        mid || side
    }
}

fn frame(bytes: &[u8]) -> Result<&[u8], Undecodable> {
    if bytes.len() <= FRAME_LEN_MAX { Ok(bytes) } else { Err(Undecodable) }
}

/// The length of a frame, in one byte or two (RFC 6716 section 3.2.1), and what follows it.
fn length(bytes: &[u8]) -> Result<(usize, &[u8]), Undecodable> {
    match bytes {
        [one @ 0..252, rest @ ..] => Ok((usize::from(*one), rest)),
        [one, two, rest @ ..] => Ok((usize::from(*two) * 4 + usize::from(*one), rest)),
        _ => Err(Undecodable),
    }
}

/// Code 3: a count, padding, and lengths where frames differ (RFC 6716 section 3.2.5). Gives the count and the first
/// frame.
fn any_number(bytes: &[u8]) -> Result<(usize, &[u8]), Undecodable> {
    let (head, mut rest) = bytes.split_first().ok_or(Undecodable)?;
    let frames = usize::from(head & 0x3f);
    if frames == 0 || frames > UNITS_MAX {
        return Err(Undecodable);
    }
    if head & 0x40 != 0 {
        let mut padding = 0;
        loop {
            let (more, after) = rest.split_first().ok_or(Undecodable)?;
            rest = after;
            padding += usize::from(*more).min(254);
            if *more < 255 {
                break;
            }
        }
        rest = &rest[..rest.len().checked_sub(padding).ok_or(Undecodable)?];
    }
    if head & 0x80 == 0 {
        let len = rest.len() / frames;
        let first = frame(&rest[..len])?;
        return if len * frames == rest.len() { Ok((frames, first)) } else { Err(Undecodable) };
    }
    let (mut first_len, mut total) = (None, 0);
    for _ in 1..frames {
        let (len, after) = length(rest)?;
        (rest, total) = (after, total + len);
        first_len.get_or_insert(len);
    }
    let last_len = rest.len().checked_sub(total).ok_or(Undecodable)?;
    if last_len > FRAME_LEN_MAX {
        return Err(Undecodable);
    }
    Ok((frames, &rest[..first_len.unwrap_or(last_len)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Units and first frame, or nothing if refused.
    fn check(payload: &[u8], expected: Option<(usize, &[u8])>) {
        let parsed = Packet::parse(payload).ok().map(|packet| (packet.units(), packet.first));
        assert_eq!(parsed, expected, "{payload:02x?}");
    }

    #[test]
    fn the_first_byte_says_how_long_a_frame_is() {
        let units = |config: u8| Packet::parse(&[config << 3]).unwrap().units();
        let silk = [4, 8, 16, 24];
        for config in 0..12 {
            assert_eq!(units(config), silk[usize::from(config % 4)]);
        }
        assert_eq!([12, 13, 14, 15].map(units), [4, 8, 4, 8]);
        for config in 16..32 {
            assert_eq!(units(config), 1 << (config % 4));
        }
    }

    #[test]
    fn each_way_of_packing_is_read() {
        check(&[0x08, 1, 2, 3], Some((8, &[1, 2, 3])));
        check(&[0x09, 1, 2, 3, 4], Some((16, &[1, 2])));
        check(&[0x0a, 1, 9, 8, 7], Some((16, &[9])));
        check(&[0x0b, 3, 1, 2, 3], Some((24, &[1])));
        check(&[0x0b, 0x80 | 3, 1, 0, 7, 8, 8], Some((24, &[7])));
        check(&[0x0b, 0x40 | 2, 3, 1, 2, 0, 0, 0], Some((16, &[1])));
        let long = [&[0x0a, 252, 1][..], &[5; 256]].concat();
        check(&long, Some((16, &[5; 256])));
    }

    #[test]
    fn lengths_that_contradict_each_other_are_refused() {
        check(&[], None);
        check(&[0x09, 1, 2, 3], None);
        check(&[0x0a], None);
        check(&[0x0a, 252], None);
        check(&[0x0a, 4, 1, 2, 3], None);
        check(&[0x0b], None);
        // No frame; 140 ms; an uneven share; padding that never ends, and more of it than there is.
        check(&[0x0b, 0], None);
        check(&[0x0b, 7, 0, 0, 0, 0, 0, 0, 0], None);
        check(&[0x0b, 2, 1, 2, 3], None);
        check(&[0x0b, 0x41, 255, 255], None);
        check(&[0x0b, 0x41, 3, 0, 0], None);
        check(&[0x0b, 0x82, 9, 1, 2], None);
        check(&[0x0b, 0x83, 1], None);
        for (toc, len) in [(0x08, 1_276), (0x09, 2_552), (0x0b, 1_277)] {
            let payload = [&[toc, 1][..], &vec![0; len - 1]].concat();
            check(&payload, None);
        }
    }

    #[test]
    fn redundancy_stands_behind_the_voice_flags_of_silk() {
        let has = |payload: &[u8]| Packet::parse(payload).unwrap().has_redundancy();
        // 20 ms, mono: voice, redundancy. 60 ms: three voice flags first.
        assert!(has(&[0x48, 0b0100_0000, 0]) && !has(&[0x48, 0b1000_0000, 0]));
        assert!(has(&[0x58, 0b0001_0000, 0]) && !has(&[0x58, 0b1110_0000, 0]));
        // Stereo: the side channel has its own.
        assert!(has(&[0x4c, 0b0001_0000, 0]) && !has(&[0x48, 0b0001_0000, 0]));
        // CELT has none; nor has a frame of nothing.
        assert!(!has(&[0xf8, 0xff, 0xfe]) && !has(&[0x48]) && !has(&[0x48, 0xff]));
    }
}
