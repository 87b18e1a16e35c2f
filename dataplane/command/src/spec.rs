//! The wanted state of one bridge. `Set` carries it whole: sending it twice changes nothing, sending the last one after
//! a restart restores everything. Hold, fork, early media, re-INVITE and promotion are changes of the spec.

use crate::ids::{Party, PortIndex, RemoteTag};
use crate::secure::SdesKeys;
use crate::voice::{RoomSpec, Voice};
use base::Duration;
use core::net::{IpAddr, SocketAddr};

/// Sinks that one port may feed: a spec in which one feeds more is refused.
pub const SINKS_MAX: usize = 16;

/// Ports and the edges between them. A port that was opened and is not named here drops what it receives.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct BridgeSpec {
    /// Which clock of silence runs.
    pub phase: Phase,
    /// How long silence may last.
    pub timeouts: Timeouts,
    /// What each port faces.
    pub ports: Vec<PortSpec>,
    /// What goes from where to where. A pair without an edge passes nothing.
    pub edges: Vec<EdgeSpec>,
    /// What holds for the seats that name this bridge as their room.
    pub room: Option<RoomSpec>,
}

impl BridgeSpec {
    /// Whether it is that of a call being set up in which nobody can be heard yet: no edge leads from a port that takes
    /// packets to one that faces somebody.
    pub fn is_mute(&self) -> bool {
        let port = |port: PortIndex| self.ports.iter().find(|spec| spec.port == port);
        let takes = |spec: &PortSpec| {
            spec.active.is_some() || spec.accept == Accept::Any || spec.learn == Learn::Signalled
        };
        let passes = |edge: &EdgeSpec| {
            edge.transform != Transform::Drop
                && port(edge.from).is_some_and(takes)
                && port(edge.to).is_some_and(|spec| spec.active.is_some())
        };
        self.phase == Phase::Early && !self.edges.iter().any(passes)
    }
}

/// Where the call stands, as far as silence is concerned (media.md, "Silence").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Phase {
    /// Not answered: no clock of silence runs.
    #[default]
    Early,
    /// Answered.
    Active,
    /// Some side is on hold.
    Held,
}

/// How long silence may last; `None` is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// All sides that should send are silent, while active.
    pub both: Option<Duration>,
    /// One side that should send is silent: an event, not an end.
    pub one: Option<Duration>,
    /// All sides are silent, while held.
    pub hold: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            both: Some(Duration::from_secs(60)),
            one: Some(Duration::from_secs(30)),
            hold: Some(Duration::from_secs(4 * 3600)),
        }
    }
}

/// One RTP/RTCP address of ours and the one active remote that it faces. The default faces nobody.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct PortSpec {
    /// Which of the opened ports.
    pub port: PortIndex,
    /// Whose it is.
    pub party: Party,
    /// How its packets are classified. A change between `Rtp` and `Udptl` accepts both for 2 s.
    pub class: MediaClass,
    /// Forks, each with what its SDP said. Media of an inactive one is dropped and counted.
    pub remotes: Vec<Remote>,
    /// The one that is sent to and listened to; `None` before any is known.
    pub active: Option<RemoteTag>,
    /// Where RTCP comes from and goes to.
    pub mux: RtcpMux,
    /// How the source may be corrected.
    pub learn: Learn,
    /// The address that signalling came from, a rank of its own (media.md, "Learning the source"); set only where the
    /// rules allow to use it.
    pub signalling_source: Option<IpAddr>,
    /// Whose packets are taken.
    pub accept: Accept,
    /// Where packets go.
    pub send_to: SendTo,
    /// The negotiated payload types as this peer numbers them; others are forwarded from the locked source but never
    /// learned from. Empty where the class has none.
    pub payloads: Vec<Payload>,
    /// DSCP of what is sent, 0 to 63.
    pub dscp: u8,
    /// Keys, where media is encrypted towards this peer.
    pub secure: Option<Secure>,
    /// ICE, where this peer does it.
    pub ice: Option<Ice>,
    /// Speech and digits, where they are more than passed on.
    pub voice: Voice,
}

impl PortSpec {
    /// All keys of its encryption: ours, and those of its remotes.
    pub fn keys(&self) -> impl Iterator<Item = &SdesKeys> {
        let own = match &self.secure {
            Some(Secure::Sdes(keys)) => Some(keys),
            Some(Secure::Dtls { .. }) | None => None,
        };
        own.into_iter().chain(self.remotes.iter().filter_map(|remote| remote.keys.as_ref()))
    }
}

/// How packets of a port are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MediaClass {
    /// RTP profiles: RFC 7983 and RFC 5761 say what a packet is.
    #[default]
    Rtp,
    /// T.38 over UDP: opaque, for its first byte looks like anything. Learns from its first datagram.
    Udptl,
    /// Unknown profile over UDP: relayed as it comes, never looked into.
    Opaque,
}

/// One candidate peer of a port.
#[derive(Clone, Debug, PartialEq)]
pub struct Remote {
    /// Its name.
    pub tag: RemoteTag,
    /// Its SDP's address; `None` while unknown or 0.0.0.0.
    pub rtp: Option<SocketAddr>,
    /// Where it wants RTCP; ignored when muxed.
    pub rtcp: Option<SocketAddr>,
    /// Its SDP says that it sends: it may be learned from, and its silence counts.
    pub sends: bool,
    /// Its SDP says that it receives: it is sent to.
    pub receives: bool,
    /// The keys that it encrypts with, where encryption ends here ([`PortSpec::secure`]).
    pub keys: Option<SdesKeys>,
    /// What it sends is encrypted with keys that pass through: only headers are looked at.
    pub sealed: bool,
}

/// Where RTCP lives (RFC 5761).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RtcpMux {
    /// On the odd port.
    #[default]
    Separate,
    /// With RTP on the even port.
    Muxed,
    /// Offered: taken on both until the answer says which.
    Offered,
}

/// How the source of a stream may be corrected (media.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Learn {
    /// By rank, within 3 s after the SDP, then locked.
    #[default]
    Window,
    /// Never: what comes from elsewhere than the signalled address is dropped.
    Strict,
    /// Never, and nothing is dropped for its source.
    Signalled,
    /// As `Window`; after the lock re-learned when the old source is silent.
    Handover,
}

/// Whose packets a port takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Accept {
    /// Those of the learned and locked source.
    #[default]
    Locked,
    /// Anybody's.
    Any,
    /// Anybody's for 3 s after the SDP, then the learned source's (NG `asymmetric`).
    AnyThenLocked,
    /// Those of the signalled address.
    Signalled,
}

/// Where a port sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SendTo {
    /// To the learned source.
    #[default]
    Learned,
    /// To the signalled address, whatever was learned.
    Signalled,
}

/// One negotiated payload type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// As on this port's wire, 0 to 127.
    pub number: u8,
    /// RTP clock in Hz.
    pub clock: u32,
    /// Encoding name as in SDP, in lower case: `pcmu`, `opus`, `telephone-event`.
    pub encoding: String,
    /// Format parameters as in SDP, empty if none.
    pub fmtp: String,
}

/// From one port to another.
#[derive(Clone, Debug, PartialEq)]
pub struct EdgeSpec {
    /// Source port.
    pub from: PortIndex,
    /// Sink port.
    pub to: PortIndex,
    /// What happens on the way.
    pub transform: Transform,
    /// Gain in hundredths of a decibel; only where media is decoded.
    pub gain_centibel: i16,
    /// Who of the sink's party may hear it; for whisper and coach.
    pub audience: Audience,
}

/// What happens to a stream between its source and its sink.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Transform {
    /// Payload untouched.
    Relay {
        /// Payload types that the sink numbers differently: (source's, sink's).
        payload_map: Vec<(u8, u8)>,
        /// A new header identity, after a demotion or where SSRCs must not show.
        rewrite: Option<Rewrite>,
    },
    /// Audio is decoded and encoded, driven by arrival. Payload types of the source that the sink has, too, under the
    /// same name and clock (events, noise) are mapped; those of other clocks are scaled; other kinds of media on the
    /// same port pass.
    Transcode {
        /// The sink's payload type to make.
        to_payload: u8,
        /// Packet time towards the sink in milliseconds.
        ptime_ms: u16,
    },
    /// Replaced by the codec's silence, packet for packet (mute); dropped where the codec is not known.
    Silence,
    /// Counted and dropped: hold, early media before its SDP, a muted leg.
    #[default]
    Drop,
}

/// New header identity of a stream; applies to its RTCP as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Rewrite {
    /// New SSRC.
    pub ssrc: u32,
    /// Added to the sequence number, wrapping.
    pub sequence_offset: u16,
    /// Added to the timestamp, wrapping.
    pub timestamp_offset: u32,
}

/// Who hears an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Audience {
    /// Everybody on the sink.
    #[default]
    All,
    /// Only this party (whisper, coach).
    Only(Party),
}

/// Encryption towards one peer. Relayed ports have none: keys of SDES then pass in the SDP.
#[derive(Clone, Debug, PartialEq)]
pub enum Secure {
    /// RFC 4568: our keys here, the peer's in [`Remote::keys`]. While the peer's have not come, what it sends is
    /// dropped ([`crate::Verdict::NoKey`]).
    Sdes(SdesKeys),
    /// RFC 5763.
    Dtls {
        /// Whether we begin.
        active: bool,
        /// The peer's certificate: hash name and fingerprint as in SDP.
        fingerprint: (String, String),
    },
}

/// ICE credentials of both sides (RFC 8445).
#[derive(Clone, PartialEq, Eq)]
pub struct Ice {
    /// Ours: user fragment and password.
    pub local: (String, String),
    /// The peer's.
    pub remote: (String, String),
    /// Whether we only answer checks.
    pub lite: bool,
}

impl core::fmt::Debug for Ice {
    /// Passwords are never printed.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Ice({}:{})", self.local.0, self.remote.0)
    }
}
