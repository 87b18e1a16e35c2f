//! Offers and answers between two parties of an NG call: reads what one says, writes what the other is told in
//! rtpengine's way (the whole SDP anew, in its order), and says what media has to do in between. Opens no port, knows no
//! call. RFC 3264, 4566, 4568, 5761; `reference/rtpengine.md` sections 2.4 and 1.2.

use command::spec::Secure;
use command::{Digits, MediaClass, Payload, RtcpMux, SdesKeys, Transform};
use core::net::{IpAddr, SocketAddr};
use sdp::Kind;

/// A pair of ports of ours, as the SDP names it: RTP here, RTCP one above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The address that the receiver of the SDP sends to.
    pub address: IpAddr,
    /// Even.
    pub port: u16,
}

/// What became of one m-line.
#[derive(Clone, Debug, PartialEq)]
pub struct LineState {
    /// Its kind.
    pub kind: Kind,
    /// How its packets are told apart.
    pub class: MediaClass,
    /// Port 0 on either side, or left out: nothing passes.
    pub is_refused: bool,
    /// The two sides, in the order of [`sdp::Side`].
    pub sides: [SideState; 2],
    /// What happens to media from A, and from B.
    pub transforms: [Transform; 2],
}

/// One side of an m-line, as far as it is known.
#[derive(Clone, Debug, PartialEq)]
pub struct SideState {
    /// Where its SDP wants RTP; `None` if it has said nothing yet, or 0.0.0.0.
    pub rtp: Option<SocketAddr>,
    /// Where it wants RTCP.
    pub rtcp: Option<SocketAddr>,
    /// Its SDP says that it sends.
    pub sends: bool,
    /// Its SDP says that it receives.
    pub receives: bool,
    /// Where RTCP lives on this side.
    pub mux: RtcpMux,
    /// Payload types as this side numbers them.
    pub payloads: Vec<Payload>,
    /// What we encrypt with towards it, where keys end here.
    pub secure: Option<Secure>,
    /// What it encrypts with, where keys end here.
    pub keys: Option<SdesKeys>,
    /// Keys pass through: only headers are looked at.
    pub is_sealed: bool,
    /// Digits towards it and from it.
    pub digits: Digits,
}
