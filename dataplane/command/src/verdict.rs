//! Why a packet was not forwarded. Small, `Copy`, counted by its number; nothing is dropped uncounted.

macro_rules! verdicts {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Why a packet was not forwarded.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Verdict { $($(#[doc = $doc])+ $variant,)+ }

        impl Verdict {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Verdict] = &[$(Verdict::$variant,)+];
            /// How many there are: the length of a table of counters.
            pub const COUNT: usize = Verdict::ALL.len();

            /// Stable name, as in metrics and `calls show`.
            pub fn name(self) -> &'static str {
                match self { $(Verdict::$variant => $name,)+ }
            }
        }
    };
}

verdicts! {
    /// Too short for its header.
    Short = "short",
    /// Longer than any packet we take (it was cut by the kernel).
    Oversize = "oversize",
    /// Not version 2 of RTP.
    Version = "version",
    /// Lengths inside contradict the packet's length (CSRC, extension, padding, RTCP).
    Malformed = "malformed",
    /// Neither RTP nor RTCP on a port that carries RTP.
    NotRtp = "not_rtp",
    /// STUN on a port without ICE.
    Stun = "stun",
    /// DTLS on a port without DTLS.
    Dtls = "dtls",
    /// The port belongs to no bridge yet, or its spec does not name it.
    Idle = "idle",
    /// From elsewhere than the locked source.
    SourceLocked = "source_locked",
    /// From a source that has not earned to be learned yet.
    SourceUnknown = "source_unknown",
    /// From a fork that is not the active one.
    ForkInactive = "fork_inactive",
    /// The edge is closed: hold, early media before its SDP, mute.
    Closed = "closed",
    /// Nobody to send it to is known, or the peer does not receive.
    NoTarget = "no_target",
    /// Would have gone to the port that it came from.
    SelfSend = "self_send",
    /// An RTCP report that names streams which the other side cannot know.
    Unmapped = "unmapped",
    /// No key for it yet.
    NoKey = "no_key",
    /// It did not authenticate.
    AuthFailed = "auth_failed",
    /// It was seen before.
    Replayed = "replayed",
    /// Its payload is not of a format that was negotiated, where media is decoded.
    NoCodec = "no_codec",
    /// Its payload is not what its format allows: empty, too long, or with lengths that contradict each other.
    Undecodable = "undecodable",
    /// It came when its time was over, where media is decoded.
    Late = "late",
    /// It came twice, where media is decoded.
    Duplicate = "duplicate",
    /// A digit, where digits are blocked.
    DigitBlocked = "digit_blocked",
    /// More waits to be played than may.
    Overrun = "overrun",
    /// The kernel did not take it.
    SendFailed = "send_failed",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_places_in_the_table() {
        for (i, verdict) in Verdict::ALL.iter().enumerate() {
            assert_eq!(*verdict as usize, i);
        }
    }
}
