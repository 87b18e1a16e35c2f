//! Offers and answers of one two-sided call: what each side is told, and the [`BridgeSpec`] that follows. Passes SDP
//! between the sides and never invents media of its own. RFC 3264, RFC 6337, RFC 4145; media.md "Offers, answers, codecs".

use crate::parse::{Direction, Kind, SdpError};
use command::{Accept, BridgeSpec, Learn, Party, PortIndex, RemoteTag, SendTo, Timeouts};
use core::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// One side of a two-sided call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// Who called; `Party(0)`.
    A,
    /// Who is called; `Party(1)`.
    B,
}

impl Side {
    /// The side across.
    pub fn other(self) -> Side {
        match self {
            Side::A => Side::B,
            Side::B => Side::A,
        }
    }

    /// Its name in a [`BridgeSpec`].
    pub fn party(self) -> Party {
        Party(self as u16)
    }
}

/// What holds for a whole call.
#[derive(Clone, Debug)]
pub struct NegotiationConfig {
    /// Side A.
    pub a: SideConfig,
    /// Side B.
    pub b: SideConfig,
    /// How long silence may last.
    pub timeouts: Timeouts,
    /// m-lines beyond this many are refused with port 0.
    pub lines_max: usize,
}

/// What holds towards one side.
#[derive(Clone, Debug)]
pub struct SideConfig {
    /// Our address in the SDP that this side gets; may come later by [`Negotiation::set_local`].
    pub address: Option<IpAddr>,
    /// Session id of our o= line towards this side: random, never the other side's.
    pub session_id: u64,
    /// User name of our o= line.
    pub username: Arc<str>,
    /// Where this side's SIP comes from; used only if its SDP address is private and this is not.
    pub sip_source: Option<IpAddr>,
    /// How its source may be corrected.
    pub learn: Learn,
    /// Whose packets are taken.
    pub accept: Accept,
    /// Where packets go.
    pub send_to: SendTo,
    /// DSCP of what it is sent, 0 to 63.
    pub dscp: u8,
    /// Audio codecs that this side may be offered, by encoding name; empty is all.
    pub codecs: Arc<[Box<str>]>,
}

impl Default for SideConfig {
    fn default() -> Self {
        SideConfig {
            address: None,
            session_id: 0,
            username: Arc::from("-"),
            sip_source: None,
            learn: Learn::default(),
            accept: Accept::default(),
            send_to: SendTo::default(),
            dscp: 0,
            codecs: Arc::from([]),
        }
    }
}

impl Default for NegotiationConfig {
    fn default() -> Self {
        NegotiationConfig {
            a: SideConfig::default(),
            b: SideConfig::default(),
            timeouts: Timeouts::default(),
            lines_max: 8,
        }
    }
}

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
    /// Media to a group, a broadcast or a reserved address.
    #[error("media address is multicast or broadcast")]
    Address,
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
    /// More forks than are followed.
    #[error("too many forks")]
    TooManyForks,
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
            | Self::Address
            | Self::Loop
            | Self::Mismatch
            | Self::TooManyForks => 488,
            Self::OfferPending => 491,
            Self::NoPorts => 500,
        }
    }

    /// Code of a Warning header (RFC 3261 section 20.43); its text is the `Display` of this.
    pub fn warning(self) -> u16 {
        match self {
            Self::NothingLeft => 302,
            Self::NoCommonCodec => 305,
            Self::Address => 330,
            Self::Malformed(_)
            | Self::NoOffer
            | Self::Loop
            | Self::Mismatch
            | Self::TooManyForks
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
            Self::Address => "media_address",
            Self::Loop => "media_loop",
            Self::Mismatch => "answer_mismatch",
            Self::OfferPending => "offer_pending",
            Self::NoOffer => "no_offer",
            Self::TooManyForks => "too_many_forks",
            Self::NoPorts => "no_ports",
        }
    }
}

/// What an answer leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The SDP for the offerer: of the first answer, repeated exactly for later ones.
    pub sdp: Vec<u8>,
    /// Whether [`Negotiation::spec`] is another one now.
    pub changed: bool,
    /// This answer wants other media than the offerer was told: if it is the final one, the offerer needs a re-INVITE
    /// (`offer(answerer, said(answerer))`).
    pub reoffer: bool,
}

/// One m-line as one side sees it, for `calls show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineView {
    /// Place in the SDP.
    pub index: usize,
    /// What it carries.
    pub kind: Kind,
    /// Refused by one of the sides.
    pub refused: bool,
    /// Names of the codecs that this side was told or told last, `PCMU/8000`.
    pub codecs: Vec<String>,
    /// Which way media flows, seen from this side.
    pub direction: Direction,
    /// Where this side wants RTP.
    pub remote: Option<SocketAddr>,
}

/// The media agreement of one two-sided call.
#[derive(Clone, Debug)]
pub struct Negotiation {
    config: NegotiationConfig,
    ports: [Vec<(PortIndex, u16)>; 2],
}

impl Negotiation {
    /// Nothing offered yet.
    pub fn new(config: NegotiationConfig) -> Self {
        Negotiation { config, ports: [Vec::new(), Vec::new()] }
    }

    /// Our address in the SDP that `side` gets.
    pub fn set_local(&mut self, side: Side, address: IpAddr) {
        let _ = (side, address);
    }

    /// Replaces what holds towards a side, such as for the next target of a failover, and forgets its ports if
    /// `forget_ports`.
    pub fn set_side(&mut self, side: Side, config: SideConfig, forget_ports: bool) {
        let _ = (side, config, forget_ports);
    }

    /// How many port pairs each side must have open so that this offer can be passed.
    ///
    /// # Errors
    /// The SDP is malformed.
    pub fn lines_wanted(&self, offer: &[u8]) -> Result<usize, SdpError> {
        let _ = offer;
        Ok(1)
    }

    /// How many port pairs a side has open.
    pub fn lines_open(&self, side: Side) -> usize {
        self.ports[side as usize].len()
    }

    /// Ports for the next m-lines of a side, each with its even port number. They stay with their m-line.
    pub fn add_ports(&mut self, side: Side, ports: impl IntoIterator<Item = (PortIndex, u16)>) {
        self.ports[side as usize].extend(ports);
    }

    /// Takes an offer of one side and gives the SDP to offer to the other.
    ///
    /// # Errors
    /// See [`Unacceptable`]; nothing has changed then.
    pub fn offer(&mut self, from: Side, sdp: &[u8]) -> Result<Vec<u8>, Unacceptable> {
        let _ = (from, sdp);
        Err(Unacceptable::NothingLeft)
    }

    /// Writes the pending offer anew for the next target of the other side (serial failover): earlier answers are
    /// forgotten, but what the offerer has been told stays told.
    ///
    /// # Errors
    /// See [`Unacceptable`].
    pub fn offer_again(&mut self) -> Result<Vec<u8>, Unacceptable> {
        Err(Unacceptable::NoOffer)
    }

    /// Takes an answer, provisional or final, to the pending offer; forks have different tags. Also takes a repeated
    /// answer, or one of another fork, after [`Negotiation::commit`].
    ///
    /// # Errors
    /// See [`Unacceptable`]; nothing has changed then.
    pub fn answer(&mut self, from: Side, tag: RemoteTag, sdp: &[u8]) -> Result<Answered, Unacceptable> {
        let _ = (from, tag, sdp);
        Err(Unacceptable::NoOffer)
    }

    /// The final answer has come (2xx, or the PRACK of a reliable provisional): its fork becomes the active one, the
    /// others are forgotten, the exchange is agreed. True if the offerer needs a re-INVITE (see [`Answered::reoffer`]).
    ///
    /// # Errors
    /// [`Unacceptable::NoOffer`] if that fork has not answered.
    pub fn commit(&mut self, tag: RemoteTag) -> Result<bool, Unacceptable> {
        let _ = tag;
        Err(Unacceptable::NoOffer)
    }

    /// The pending offer was refused: what was agreed before holds, unchanged.
    pub fn rollback(&mut self) {}

    /// Whether an offer waits for [`Negotiation::commit`], and whose it is.
    pub fn pending(&self) -> Option<Side> {
        None
    }

    /// Early media may flow: A has got an SDP.
    pub fn open_early(&mut self) {}

    /// The call is answered: the clocks of silence run.
    pub fn answered(&mut self) {}

    /// The whole wanted state.
    pub fn spec(&self) -> BridgeSpec {
        BridgeSpec::default()
    }

    /// Whether this offer only repeats what `from` said last (a session refresh): then [`Negotiation::last_sent`] to it
    /// is a valid answer, and the other side need not be asked.
    pub fn same_as_last(&self, from: Side, sdp: &[u8]) -> bool {
        let _ = (from, sdp);
        false
    }

    /// The SDP that a side was told last and that holds; `None` before.
    pub fn last_sent(&self, to: Side) -> Option<&[u8]> {
        let _ = to;
        None
    }

    /// The SDP that a side said last and that holds; `None` before.
    pub fn said(&self, by: Side) -> Option<&[u8]> {
        let _ = by;
        None
    }

    /// Its m-lines as one side sees them.
    pub fn describe(&self, side: Side) -> Vec<LineView> {
        let _ = side;
        Vec::new()
    }
}
