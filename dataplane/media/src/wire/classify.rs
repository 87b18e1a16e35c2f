//! Says what a datagram on an RTP port is from its first two bytes (RFC 7983 section 7, RFC 5761 section 4).
//! Looks no deeper: the parsers do that.

use command::Verdict;

/// What goes on to a parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Media.
    Rtp,
    /// Control.
    Rtcp,
}

/// Tells RTP from RTCP and names what is neither.
///
/// # Errors
/// [`Verdict::Short`], [`Verdict::Stun`], [`Verdict::Dtls`], [`Verdict::Version`], [`Verdict::NotRtp`].
#[inline]
pub fn classify(bytes: &[u8]) -> Result<Kind, Verdict> {
    let [first, second, ..] = *bytes else { return Err(Verdict::Short) };
    match first {
        // RTCP's types 192 to 223 are RTP's 64 to 95 with the marker: nobody may use those beside RTCP.
        128..=191 if matches!(second, 192..=223) => Ok(Kind::Rtcp),
        128..=191 => Ok(Kind::Rtp),
        0..=3 => Err(Verdict::Stun),
        20..=63 => Err(Verdict::Dtls),
        // 16 to 19 is ZRTP, 64 to 79 a TURN channel.
        4..=19 | 64..=79 => Err(Verdict::NotRtp),
        80..=127 | 192..=255 => Err(Verdict::Version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_fall_into_the_ranges_of_rfc_7983() {
        let check = |first: u8, second: u8, expected| {
            assert_eq!(classify(&[first, second, 0, 0]), expected, "{first} {second}");
        };
        check(0, 1, Err(Verdict::Stun));
        check(3, 1, Err(Verdict::Stun));
        check(16, 0, Err(Verdict::NotRtp));
        check(20, 254, Err(Verdict::Dtls));
        check(63, 254, Err(Verdict::Dtls));
        check(64, 0, Err(Verdict::NotRtp));
        check(127, 0, Err(Verdict::Version));
        check(128, 0, Ok(Kind::Rtp));
        check(191, 96, Ok(Kind::Rtp));
        check(128, 128 + 63, Ok(Kind::Rtp));
        check(128, 200, Ok(Kind::Rtcp));
        check(143, 223, Ok(Kind::Rtcp));
        check(128, 128 + 96, Ok(Kind::Rtp));
        check(192, 0, Err(Verdict::Version));
        assert_eq!(classify(&[128]), Err(Verdict::Short));
        assert_eq!(classify(&[]), Err(Verdict::Short));
    }
}
