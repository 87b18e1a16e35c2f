//! What a bridge has seen, for `calls show`, CDRs and metrics.

use crate::ids::{Party, PortIndex};
use crate::verdict::Verdict;
use base::{Duration, Instant};
use core::net::SocketAddr;

/// All of one bridge.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct BridgeReport {
    /// By port.
    pub ports: Vec<PortReport>,
}

/// One port: what came from its peer and what went there.
#[derive(Clone, Debug, PartialEq)]
pub struct PortReport {
    /// Which.
    pub port: PortIndex,
    /// Whose.
    pub party: Party,
    /// Our address; unspecified on a wildcard listener.
    pub local: SocketAddr,
    /// What the peer's SDP said.
    pub signalled: Option<SocketAddr>,
    /// Where its packets really come from, once learned.
    pub learned: Option<SocketAddr>,
    /// How often the source moved after it was locked.
    pub moves: u32,
    /// RTP (or UDPTL) packets and payload bytes received and accepted.
    pub received: Totals,
    /// RTP (or UDPTL) packets and bytes sent.
    pub sent: Totals,
    /// RTCP packets received and accepted.
    pub rtcp_received: u64,
    /// RTCP packets sent.
    pub rtcp_sent: u64,
    /// When the last packet of any kind was accepted.
    pub last_heard: Option<Instant>,
    /// What was dropped and why; only reasons that occurred.
    pub dropped: Vec<(Verdict, u64)>,
    /// The last foreign source that was refused.
    pub foreign: Option<SocketAddr>,
    /// Packets that the kernel dropped because the socket's queue was full.
    pub kernel_drops: u64,
    /// The streams that the peer sent, in order of appearance; the last ones when there were too many.
    pub streams: Vec<StreamReport>,
}

/// Packets and bytes (of UDP payload).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Totals {
    /// Packets.
    pub packets: u64,
    /// Bytes of UDP payload.
    pub bytes: u64,
}

/// One SSRC, one way (RFC 3550 section 6.4.1 and appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct StreamReport {
    /// As on the source's wire.
    pub ssrc: u32,
    /// The payload type seen last.
    pub payload: u8,
    /// Packets received.
    pub packets: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets that came after one with a higher number.
    pub reordered: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Interarrival jitter now (RFC 3550 section 6.4.1).
    pub jitter: Duration,
    /// The largest jitter so far.
    pub jitter_max: Duration,
    /// Round-trip time that the peers' RTCP tells, if it does.
    pub round_trip: Option<Duration>,
    /// Fraction lost that the far end reported last (RFC 3550), 0 to 255 of 256.
    pub reported_loss: Option<u8>,
    /// First and last packet.
    pub first: Instant,
    /// See `first`.
    pub last: Instant,
}
