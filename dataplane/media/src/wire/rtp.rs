//! One RTP packet, borrowed (RFC 3550 section 5.1). Checks lengths once; does not know what a payload means.

use command::Verdict;

/// Bytes of the fixed header.
pub const HEADER_LEN: usize = 12;

/// One RTP packet whose lengths have been checked.
#[derive(Clone, Copy, Debug)]
pub struct Rtp<'a> {
    head: &'a [u8; HEADER_LEN],
    csrcs: &'a [u8],
    extension: Option<(u16, &'a [u8])>,
    payload: &'a [u8],
    padding: u8,
}

impl<'a> Rtp<'a> {
    /// Checks version, CSRC count, extension and padding, so that every getter is infallible.
    ///
    /// # Errors
    /// [`Verdict::Short`], [`Verdict::Version`], [`Verdict::Malformed`].
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Verdict> {
        let mut rtp = Self::parse_sealed(bytes)?;
        if rtp.head[0] & 0x20 != 0 {
            let padding = rtp.payload.last().copied().unwrap_or(0);
            let kept = rtp.payload.len().checked_sub(usize::from(padding)).ok_or(Verdict::Malformed)?;
            if padding == 0 {
                return Err(Verdict::Malformed);
            }
            rtp.payload = &rtp.payload[..kept];
            rtp.padding = padding;
        }
        Ok(rtp)
    }

    /// As [`Rtp::parse`] for a packet that may be SRTP: padding is encrypted (RFC 3711 section 3.1) and not looked
    /// at; the payload includes it and the tag.
    ///
    /// # Errors
    /// [`Verdict::Short`], [`Verdict::Version`], [`Verdict::Malformed`].
    #[inline]
    pub fn parse_sealed(bytes: &'a [u8]) -> Result<Self, Verdict> {
        let (head, rest) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(Verdict::Short)?;
        if head[0] >> 6 != 2 {
            return Err(Verdict::Version);
        }
        let csrcs_len = usize::from(head[0] & 0x0f) * 4;
        let (csrcs, mut payload) = rest.split_at_checked(csrcs_len).ok_or(Verdict::Malformed)?;
        let mut extension = None;
        if head[0] & 0x10 != 0 {
            let ([a, b, c, d], rest) = payload.split_first_chunk::<4>().ok_or(Verdict::Malformed)?;
            let words = usize::from(u16::from_be_bytes([*c, *d]));
            let (body, rest) = rest.split_at_checked(words * 4).ok_or(Verdict::Malformed)?;
            extension = Some((u16::from_be_bytes([*a, *b]), body));
            payload = rest;
        }
        Ok(Rtp { head, csrcs, extension, payload, padding: 0 })
    }

    /// The fixed header's fields.
    #[inline]
    pub fn header(&self) -> Header {
        let h = self.head;
        Header {
            marker: h[1] & 0x80 != 0,
            payload_type: h[1] & 0x7f,
            sequence: u16::from_be_bytes([h[2], h[3]]),
            timestamp: u32::from_be_bytes([h[4], h[5], h[6], h[7]]),
            ssrc: u32::from_be_bytes([h[8], h[9], h[10], h[11]]),
        }
    }

    /// Contributing sources, at most 15.
    pub fn csrcs(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.csrcs.as_chunks::<4>().0.iter().map(|csrc| u32::from_be_bytes(*csrc))
    }

    /// The header extension: what its profile calls it, and its body in whole words (RFC 8285 for the common ones).
    pub fn extension(&self) -> Option<(u16, &'a [u8])> {
        self.extension
    }

    /// The payload without padding.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Bytes of padding behind the payload, with the count itself; 0 if there is none.
    pub fn padding(&self) -> u8 {
        self.padding
    }
}

/// The fields of the fixed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Header {
    /// Start of a talk spurt (audio), end of a frame (video).
    pub marker: bool,
    /// 0 to 127.
    pub payload_type: u8,
    /// Wraps.
    pub sequence: u16,
    /// In units of the payload's clock; wraps.
    pub timestamp: u32,
    /// Who sends.
    pub ssrc: u32,
}

impl Header {
    /// The fixed header of a packet without CSRCs, extension and padding.
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0] = 0x80;
        self.write(&mut bytes);
        bytes
    }

    /// Writes the fields over those of a packet; its version, CSRC count, extension and padding bits stay.
    /// Does nothing to fewer than [`HEADER_LEN`] bytes.
    #[inline]
    pub fn write(self, packet: &mut [u8]) {
        let Some(head) = packet.first_chunk_mut::<HEADER_LEN>() else { return };
        head[1] = u8::from(self.marker) << 7 | self.payload_type & 0x7f;
        head[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        head[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        head[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLAIN: [u8; 14] = [0x80, 0x80 | 8, 0x12, 0x34, 0, 0, 0, 160, 0xde, 0xad, 0xbe, 0xef, 1, 2];

    #[test]
    fn fields_are_where_rfc_3550_puts_them() {
        let rtp = Rtp::parse(&PLAIN).unwrap();
        let header =
            Header { marker: true, payload_type: 8, sequence: 0x1234, timestamp: 160, ssrc: 0xdead_beef };
        assert_eq!(rtp.header(), header);
        assert_eq!((rtp.payload(), rtp.extension(), rtp.padding()), (&[1, 2][..], None, 0));
        assert_eq!(header.to_bytes(), PLAIN[..12]);
    }

    #[test]
    fn csrcs_extension_and_padding_are_cut_off() {
        let mut bytes = PLAIN[..12].to_vec();
        bytes[0] = 0x80 | 0x20 | 0x10 | 2;
        bytes.extend([0, 0, 0, 1, 0, 0, 0, 2]); // CSRCs
        bytes.extend([0xbe, 0xde, 0, 1, 0x10, 7, 0, 0]); // one word of extension
        bytes.extend([9, 9, 0, 0, 3]); // payload, padding
        let rtp = Rtp::parse(&bytes).unwrap();
        assert_eq!(rtp.csrcs().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(rtp.extension(), Some((0xbede, &[0x10, 7, 0, 0][..])));
        assert_eq!((rtp.payload(), rtp.padding()), (&[9, 9][..], 3));
        assert_eq!(Rtp::parse_sealed(&bytes).unwrap().payload(), [9, 9, 0, 0, 3]);
    }

    #[test]
    fn lengths_that_lie_are_told_apart() {
        let check = |change: fn(&mut Vec<u8>), expected| {
            let mut bytes = PLAIN.to_vec();
            change(&mut bytes);
            assert_eq!(Rtp::parse(&bytes).map(|_| ()), Err(expected), "{bytes:x?}");
        };
        check(|b| b.truncate(11), Verdict::Short);
        check(|b| b[0] = 0x40, Verdict::Version);
        check(|b| b[0] = 0x81, Verdict::Malformed); // a CSRC that is not there
        check(|b| b[0] = 0x90, Verdict::Malformed); // an extension that is not there
        check(
            |b| {
                b[0] = 0x90;
                b.extend([0, 0, 0, 0]);
                b[15] = 9; // nine words, none there
            },
            Verdict::Malformed,
        );
        check(
            |b| {
                b[0] = 0xa0;
                b[13] = 3; // more padding than payload
            },
            Verdict::Malformed,
        );
        check(
            |b| {
                b[0] = 0xa0;
                b[13] = 0; // padding without its own count
            },
            Verdict::Malformed,
        );
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(rtp) = Rtp::parse(&bytes) {
                let extension = rtp.extension().map_or(0, |(_, body)| body.len() + 4);
                let whole = 12 + rtp.csrcs().count() * 4 + extension + rtp.payload().len() + usize::from(rtp.padding());
                prop_assert_eq!(whole, bytes.len());
            }
        }

        #[test]
        fn a_written_header_reads_back(marker: bool, payload_type in 0..128u8, sequence: u16, timestamp: u32, ssrc: u32) {
            let header = Header { marker, payload_type, sequence, timestamp, ssrc };
            prop_assert_eq!(Rtp::parse(&header.to_bytes()).unwrap().header(), header);
        }
    }
}
