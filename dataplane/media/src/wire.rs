//! Wire formats as borrowed views: lengths are checked once, getters cannot fail afterwards, nothing is copied.
pub mod classify; // what a datagram on a media port is (RFC 7983, RFC 5761)
pub mod rtp; // one RTP packet (RFC 3550 section 5)
pub mod rtcp; // a compound RTCP packet (RFC 3550 section 6)
