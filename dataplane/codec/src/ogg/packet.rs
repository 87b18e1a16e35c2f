//! What an Opus packet says of itself (RFC 6716): how long it sounds, and the form in which several stand in one packet
//! of Ogg (appendix B).

/// Samples at 48 kHz; `None` if the packet contradicts itself or is longer than 120 ms.
pub fn duration(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    let frame = match toc >> 3 {
        config @ 0..=11 => [480, 960, 1_920, 2_880][usize::from(config & 3)],
        config @ 12..=15 => [480, 960][usize::from(config & 1)],
        config => [120, 240, 480, 960][usize::from(config & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 0x3f),
    };
    let samples = frame * frames;
    (1..=5_760).contains(&samples).then_some(samples)
}

/// Takes one packet off the front of those that say their own length: the packet in the plain form, and the rest.
pub fn split(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let head = Head::parse(bytes)?;
    let (last_len, width) = length(bytes, head.len)?;
    let body = head.len + width;
    let frames = if head.equal { head.frames * last_len } else { head.known + last_len };
    let end = body + frames + head.padding;
    let body = bytes.get(body..end)?;
    Some(([&bytes[..head.len], body].concat(), &bytes[end..]))
}

/// Appends a packet in the form that says its own length; `false` if it contradicts itself.
pub fn join(packet: &[u8], out: &mut Vec<u8>) -> bool {
    let Some(head) = Head::parse(packet) else { return false };
    let Some(body) = packet.len().checked_sub(head.len + head.padding + head.known) else { return false };
    let last_len = if head.equal { body / head.frames } else { body };
    out.extend_from_slice(&packet[..head.len]);
    match last_len {
        0..252 => out.push(last_len as u8),
        _ => {
            let low = 252 + (last_len & 3);
            out.extend_from_slice(&[low as u8, ((last_len - low) / 4) as u8]);
        }
    }
    out.extend_from_slice(&packet[head.len..]);
    last_len <= 1_275
}

/// What stands before the frames.
struct Head {
    /// Its bytes, up to where the length of the last frame is, or would be.
    len: usize,
    frames: usize,
    /// All frames have one length; else `known` is that of all but the last together.
    equal: bool,
    known: usize,
    padding: usize,
}

impl Head {
    fn parse(bytes: &[u8]) -> Option<Head> {
        let mut head = Head { len: 1, frames: 1, equal: true, known: 0, padding: 0 };
        match bytes.first()? & 3 {
            0 => {}
            1 => head.frames = 2,
            2 => {
                (head.frames, head.equal) = (2, false);
                head.lengths(bytes, 1)?;
            }
            _ => {
                let count = *bytes.get(1)?;
                head.len = 2;
                head.frames = usize::from(count & 0x3f);
                head.equal = count & 0x80 == 0;
                let mut more = count & 0x40 != 0;
                while more {
                    let padding = *bytes.get(head.len)?;
                    head.len += 1;
                    more = padding == 255;
                    head.padding += if more { 254 } else { usize::from(padding) };
                }
                if head.frames == 0 {
                    return None;
                }
                if !head.equal {
                    head.lengths(bytes, head.frames - 1)?;
                }
            }
        }
        Some(head)
    }

    fn lengths(&mut self, bytes: &[u8], count: usize) -> Option<()> {
        for _ in 0..count {
            let (len, width) = length(bytes, self.len)?;
            self.known += len;
            self.len += width;
        }
        Some(())
    }
}

/// A frame's length at a place, and in how many bytes it is written.
fn length(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let first = usize::from(*bytes.get(at)?);
    if first < 252 {
        return Some((first, 1));
    }
    Some((usize::from(*bytes.get(at + 1)?) * 4 + first, 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_says_how_long_it_is() {
        let of = |toc: u8, count: u8| duration(&[toc, count]);
        assert_eq!(of(1 << 3, 0), Some(960), "SILK, 20 ms");
        assert_eq!(of(3 << 3 | 1, 0), Some(5_760), "two of 60 ms");
        assert_eq!(of(12 << 3, 0), Some(480), "hybrid, 10 ms");
        assert_eq!(of(16 << 3 | 3, 48), Some(5_760), "48 of 2.5 ms");
        assert_eq!((of(16 << 3 | 3, 49), of(3, 0), duration(&[])), (None, None, None));
    }

    #[test]
    fn what_is_joined_is_split_again() {
        let long = [&[0x08][..], &[7; 1_275]].concat();
        let two_unequal = [&[0x0a, 3][..], &[1; 3], &[2; 300]].concat();
        let many =
            [&[0x0b, 0x80 | 0x40 | 3, 2, 4, 253, 1][..], &[1; 4], &[2; 257], &[3; 9], &[0; 2]].concat();
        let equal = [&[0x0b, 3][..], &[1; 30]].concat();
        let packets =
            [vec![0x08, 1, 2, 3], vec![0x08], long, vec![0x09, 1, 2, 3, 4], two_unequal, many, equal];
        let mut joined = Vec::new();
        for packet in &packets {
            assert!(join(packet, &mut joined), "{packet:?}");
        }
        let mut rest = &joined[..];
        for packet in &packets {
            let (split, after) = split(rest).unwrap();
            assert_eq!(&split, packet);
            rest = after;
        }
        assert!(rest.is_empty());
    }
}
