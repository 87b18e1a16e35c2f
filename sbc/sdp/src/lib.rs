//! Session descriptions: read, rewritten, and agreed between two sides. Knows nothing of SIP, sockets or clocks; what it
//! asks of media it says in the words of `command`. RFC 4566 and 8866 (syntax), 3264 (offer and answer).
#![forbid(unsafe_code)]
pub mod address; // what kind of address a peer named
mod line; // lines and words
pub mod parse; // the borrowed reader and its limits
pub mod crypto; // keys of encrypted media: a=crypto
pub mod codec; // payload types and what they name
mod reveal; // addresses and host names in lines that would be kept
pub mod edit; // writing an SDP as ours: what is kept, rewritten, dropped
pub mod negotiate; // offers and answers of one two-sided call, and the BridgeSpec that follows
pub mod fuzz; // entries for fuzzers: plain functions on bytes

pub use address::{AddressKind, address_kind, signalling_rank};
pub use codec::Codec;
pub use edit::{Edit, EndsHere, Format, LineEdit, MadeFormat, OriginEdit};
pub use line::{Line, Lines, parse_number, trim, word, words};
pub use negotiate::{
    Answered, AvoidTranscoding, CodecPolicy, DigitsBy, LineView, Makeable, Negotiation, NegotiationConfig,
    Side, SideConfig, Srtp, Transcode, Unacceptable, WhyNot,
};
pub use parse::{Connection, Direction, Host, Kind, Media, Origin, Proto, Rtcp, Sdp, SdpError};
pub use reveal::Names;
