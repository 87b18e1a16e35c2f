//! `listener.NAME`: where we are heard.

use crate::describe::table;
use crate::words::{Dscp, MediaAddress, SipAddress, Texts};
use core::net::IpAddr;

table! {
    /// Where SIP and media are heard. One without `sip` serves media only.
    pub struct Listener {
        /// SIP addresses; port 0 lets the system choose. On a wildcard address, Via, Contact and SDP carry the address
        /// that faces the peer.
        sip: Vec<SipAddress> = Vec::new();
        /// Media addresses, one range for each address, two ports a call leg. Below 32768, or reserve the range.
        media: Vec<MediaAddress> = Vec::new();
        /// What to write instead of our own address (1:1 NAT), at most one for IPv4 and one for IPv6.
        advertise: Vec<IpAddr> = Vec::new();
        /// Marks of quality of service.
        dscp: Marks = Marks::default();
        /// Which codes and texts refused callers get.
        texts: Texts = Texts::Rfc;
    }
}

table! {
    /// How packets are marked for quality of service (RFC 4594).
    pub struct Marks {
        /// SIP.
        sip: Dscp = Dscp(24);
        /// RTP and RTCP.
        rtp: Dscp = Dscp(46);
    }
}
