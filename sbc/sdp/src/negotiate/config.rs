//! What holds for a call and towards each of its sides. Plain data.

use super::Side;
use super::policy::{AvoidTranscoding, CodecPolicy, Makeable};
use command::{Accept, Learn, SendTo, Timeouts};
use core::net::IpAddr;
use std::sync::Arc;

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
    /// What can be decoded and encoded here; empty where nothing is converted.
    pub makeable: Arc<[Makeable]>,
    /// How codecs are chosen.
    pub policy: &'static dyn CodecPolicy,
}

impl NegotiationConfig {
    pub(super) fn side(&self, side: Side) -> &SideConfig {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }

    pub(super) fn side_mut(&mut self, side: Side) -> &mut SideConfig {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
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
            makeable: Arc::from([]),
            policy: &AvoidTranscoding,
        }
    }
}

/// What holds towards one side.
#[derive(Clone, Debug)]
pub struct SideConfig {
    /// Our address in the SDP that this side gets; may come later by [`super::Negotiation::set_local`].
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
    /// Audio codecs that this side may be offered, by encoding name (`opus`) or with the clock (`L16/16000`); what the
    /// other side does not offer is made, in this order. Empty: what the other side offers.
    pub codecs: Arc<[Box<str>]>,
    /// Whether codecs are converted; both sides must agree.
    pub transcode: Transcode,
    /// Whether this side's media is encrypted. Keys pass from side to side as they are where neither side says.
    pub srtp: Option<Srtp>,
    /// How digits travel to and from this side.
    pub digits: DigitsBy,
    /// Digits of this side reach nobody.
    pub block_digits: bool,
    /// The echo of what this side hears is taken out of what it says.
    pub echo_cancel: bool,
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
            transcode: Transcode::default(),
            srtp: None,
            digits: DigitsBy::default(),
            block_digits: false,
            echo_cancel: false,
        }
    }
}

/// Whether codecs are converted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transcode {
    /// Where both sides share none.
    #[default]
    Needed,
    /// Never.
    Never,
}

/// Whether media of a side is encrypted (media.md "SRTP by SDES").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Srtp {
    /// Plain RTP only.
    Never,
    /// We offer RTP/AVP with keys (RFC 8643), and take RTP/SAVP, RTP/AVP with keys, or plain.
    Optional,
    /// RTP/SAVP only.
    Required,
}

/// How digits travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DigitsBy {
    /// As negotiated.
    #[default]
    Auto,
    /// As `telephone-event`, whatever the other side does.
    Events,
    /// By INFO: signalling sends and takes them.
    Info,
    /// As tones in the speech.
    Tones,
}

impl DigitsBy {
    /// Whether such a side may have `telephone-event` in its SDP.
    pub(super) fn has_events(self) -> bool {
        matches!(self, DigitsBy::Auto | DigitsBy::Events)
    }
}
