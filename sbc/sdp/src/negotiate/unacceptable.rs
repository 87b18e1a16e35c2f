//! Why an offer or answer cannot be passed on, and what the one who sent it is told. Plain data.

use crate::parse::SdpError;

/// Why an offer or answer cannot be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unacceptable {
    /// Not an SDP.
    #[error("malformed SDP: {0}")]
    Malformed(SdpError),
    /// No m-line is left that we can pass: all are refused, or need TCP or DTLS.
    #[error("no media line can be passed")]
    NothingLeft,
    /// No audio codec that both may use.
    #[error("no common codec")]
    NoCommonCodec,
    /// No audio codec that both may use, and none that could be converted.
    #[error("no common codec: {0}")]
    NotConvertible(WhyNot),
    /// Encryption is required, and there is no key of RTP/SAVP that we can use.
    #[error("media must be encrypted, and there is no usable key")]
    KeyMissing,
    /// Encrypted media for a side that takes none.
    #[error("media must not be encrypted")]
    KeyUnwanted,
    /// Media to a group, a broadcast or a reserved address.
    #[error("media address is multicast or broadcast")]
    Address,
    /// Media to an address of another family than ours towards that side.
    #[error("media address is of another family")]
    Family,
    /// Media to the port that it would come from.
    #[error("media address is our own")]
    Loop,
    /// The answer's m-lines are of other kinds than the offer's.
    #[error("the answer does not fit the offer")]
    Mismatch,
    /// An offer while another waits for its answer (glare).
    #[error("another offer waits for its answer")]
    OfferPending,
    /// An answer without an offer.
    #[error("there is no offer to answer")]
    NoOffer,
    /// Ports or the address of the other side are not set: a mistake of the caller.
    #[error("no port is open for a media line")]
    NoPorts,
}

impl Unacceptable {
    /// SIP status for who sent the SDP (RFC 3261 section 21).
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed(_) | Self::NoOffer => 400,
            Self::NothingLeft
            | Self::NoCommonCodec
            | Self::NotConvertible(_)
            | Self::KeyMissing
            | Self::KeyUnwanted
            | Self::Address
            | Self::Family
            | Self::Loop
            | Self::Mismatch => 488,
            Self::OfferPending => 491,
            Self::NoPorts => 500,
        }
    }

    /// Code of a Warning header (RFC 3261 section 20.43); its text is the `Display` of this.
    pub fn warning(self) -> u16 {
        match self {
            Self::NothingLeft | Self::KeyMissing | Self::KeyUnwanted => 302,
            Self::NoCommonCodec | Self::NotConvertible(_) => 305,
            Self::Address => 330,
            Self::Family => 301,
            Self::Malformed(_)
            | Self::NoOffer
            | Self::Loop
            | Self::Mismatch
            | Self::OfferPending
            | Self::NoPorts => 399,
        }
    }

    /// Stable name.
    pub fn class(self) -> &'static str {
        match self {
            Self::Malformed(error) => error.class(),
            Self::NothingLeft => "nothing_left",
            Self::NoCommonCodec => "no_common_codec",
            Self::NotConvertible(why) => why.class(),
            Self::KeyMissing => "key_missing",
            Self::KeyUnwanted => "key_unwanted",
            Self::Address => "media_address",
            Self::Family => "media_family",
            Self::Loop => "media_loop",
            Self::Mismatch => "answer_mismatch",
            Self::OfferPending => "offer_pending",
            Self::NoOffer => "no_offer",
            Self::NoPorts => "no_ports",
        }
    }
}

/// Why speech of a call cannot be decoded and encoded here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum WhyNot {
    /// A side's `transcode` says never.
    #[error("`transcode` is \"never\"")]
    Never,
    /// Keys pass from side to side, so what is in the packets is not ours to see.
    #[error("media is encrypted with keys that pass through")]
    Sealed,
    /// A side has none of our codecs.
    #[error("it has no codec that can be converted here")]
    NotMade,
}

impl WhyNot {
    /// A sentence for who asked to hear or be heard in such a call.
    pub fn reason(self) -> &'static str {
        match self {
            WhyNot::Never => "`transcode` is \"never\" and the sides share no codec",
            WhyNot::Sealed => "its media is encrypted with keys that pass through",
            WhyNot::NotMade => "a side of it has no codec that is made here",
        }
    }

    /// Stable name.
    pub fn class(self) -> &'static str {
        match self {
            WhyNot::Never => "transcode_never",
            WhyNot::Sealed => "media_sealed",
            WhyNot::NotMade => "codec_not_made",
        }
    }
}

impl From<SdpError> for Unacceptable {
    fn from(error: SdpError) -> Self {
        Unacceptable::Malformed(error)
    }
}
