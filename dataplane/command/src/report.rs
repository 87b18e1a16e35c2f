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
    /// What became of its speech, where it is decoded or made here.
    pub voice: Option<VoiceReport>,
    /// The streams that the peer sent, in order of appearance; the last ones when there were too many.
    pub streams: Vec<StreamReport>,
}

/// Speech of one port that is decoded (what the peer says) or encoded (what it hears).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct VoiceReport {
    /// Encoding name of what is decoded, in lower case.
    pub decodes: Option<&'static str>,
    /// Encoding name of what is made.
    pub encodes: Option<&'static str>,
    /// What was played of the peer's speech, gaps and all.
    pub played: Duration,
    /// How much of that was concealment.
    pub concealed: Duration,
    /// Frames that were won back by forward error correction.
    pub recovered: u64,
    /// Packets that came too late to be played.
    pub late: u64,
    /// What waits to be played, now.
    pub delay: Duration,
    /// Time that was taken out, and put in, to follow the sender's clock and the jitter.
    pub shortened: Duration,
    /// See `shortened`.
    pub stretched: Duration,
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
    /// Runs of packets that never came, one after the other.
    pub bursts: u64,
    /// Packets that came after one with a higher number.
    pub reordered: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Interarrival jitter now (RFC 3550 section 6.4.1).
    pub jitter: Duration,
    /// The largest jitter so far.
    pub jitter_max: Duration,
    /// The mean of the jitter over the packets.
    pub jitter_mean: Duration,
    /// Round-trip time that the peers' RTCP tells, if it does.
    pub round_trip: Option<Duration>,
    /// Fraction lost that the far end reported last (RFC 3550), 0 to 255 of 256.
    pub reported_loss: Option<u8>,
    /// What a listener would say, 0 to 100 (ITU-T G.107); `None` where there is no speech, or too little to tell.
    pub r_factor: Option<f32>,
    /// The same as mean opinion score, 1.0 to 4.5.
    pub mos: Option<f32>,
    /// First and last packet.
    pub first: Instant,
    /// See `first`.
    pub last: Instant,
}

impl PortReport {
    /// One mean opinion score of all that the peer sent, 1.0 to 4.5: of its streams, weighted by their packets.
    pub fn mos(&self) -> Option<f32> {
        let rated =
            self.streams.iter().filter_map(|stream| Some((f64::from(stream.mos?), stream.packets as f64)));
        let (sum, packets) = rated.fold((0.0, 0.0), |(sum, all), (mos, n)| (sum + mos * n, all + n));
        (packets > 0.0).then(|| (sum / packets) as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_of_a_port_is_that_of_its_streams_by_packets() {
        let of = |streams: &[(u64, Option<f32>)]| {
            let stream = |(packets, mos): &(u64, Option<f32>)| StreamReport {
                packets: *packets,
                mos: *mos,
                ..StreamReport::default()
            };
            let report = PortReport {
                port: PortIndex(0),
                party: Party(0),
                local: SocketAddr::from(([192, 0, 2, 1], 10_000)),
                signalled: None,
                learned: None,
                moves: 0,
                received: Totals::default(),
                sent: Totals::default(),
                rtcp_received: 0,
                rtcp_sent: 0,
                last_heard: None,
                dropped: Vec::new(),
                foreign: None,
                kernel_drops: 0,
                voice: None,
                streams: streams.iter().map(stream).collect(),
            };
            report.mos()
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[(10, None)]), None);
        assert_eq!(of(&[(100, Some(4.0)), (300, Some(2.0)), (10, None)]), Some(2.5));
    }
}
