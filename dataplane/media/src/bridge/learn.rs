//! Where packets of one candidate may come from: ranks, window, lock, rebind (media.md, "Learning the source").
//! Decides only; who is sent to and what is counted is the port's business.

use crate::quality::Stream;
use crate::wire::rtp::Header;
use base::{Duration, Instant};
use command::{Learn, Verdict};
use core::net::{IpAddr, SocketAddr};

/// "Any other" source is learned within this time after the SDP.
pub(super) const WINDOW: Duration = Duration::from_secs(3);
/// After the lock a new source is only taken when the old one has been silent for this long.
const SILENT_MIN: Duration = Duration::from_millis(500);
/// At most one move in this time.
const CALM: Duration = Duration::from_secs(1);
/// Packets in sequence that "any other" source needs.
const IN_SEQUENCE: u8 = 5;
/// Strangers that are on probation at once, so that one cannot interrupt another by single packets.
const PROBES: usize = 4;

/// How likely a source is the one that signalling means, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Address and port of the SDP.
    Exact,
    /// Address of the SDP.
    Address,
    /// Address that signalling came from, where the rules allow it; for RTCP also the one that RTP was learned from.
    Signalling,
    /// Any other.
    Other,
    /// The source of before a change of the SDP: kept until somebody fits the new one better.
    Carried,
}

/// The learned source of one kind of packet (RTP or RTCP) of one candidate.
#[derive(Clone, Debug, Default)]
pub(super) struct Source {
    lock: Option<Lock>,
    /// What was locked before the SDP changed.
    previous: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug)]
struct Lock {
    address: SocketAddr,
    rank: Rank,
    /// `rank` gives way to any other that fits until the window ends.
    carried: bool,
    heard: Instant,
    /// When it last moved here from another address.
    moved: Option<Instant>,
}

/// A packet from a source that is not the locked one.
#[derive(Debug)]
pub(super) struct Asked<'p> {
    pub now: Instant,
    pub source: SocketAddr,
    pub rank: Rank,
    pub policy: Learn,
    /// The SDP says that this side sends.
    pub sends: bool,
    pub in_window: bool,
    /// It was encrypted with the peer's key.
    pub authenticated: bool,
    pub evidence: Evidence<'p>,
}

/// What the packet shows of its origin.
#[derive(Debug)]
pub(super) enum Evidence<'p> {
    /// RTP, and the stream of the same SSRC that the locked source has sent.
    Rtp { header: Header, negotiated: bool, stream: Option<&'p Stream> },
    /// A datagram of UDPTL, which is enough when it comes first.
    Udptl,
    /// A datagram of nobody knows what.
    Opaque,
    /// RTCP; `sibling` if it comes from where RTP was learned from and names a stream of that.
    Rtcp { sibling: bool },
    /// RTCP on the port of RTP: RTP's source is learned from RTP alone.
    MuxedRtcp,
}

/// What to do with such a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Take it, learn nothing.
    Take,
    /// Take it: its source is the one from now on. `moved` if another was locked before.
    Learn { moved: bool },
    /// Do not take it.
    Drop(Verdict),
}

impl Source {
    /// The fast way: the packet comes from where it always comes from.
    #[inline]
    pub fn is_locked_to(&mut self, now: Instant, source: SocketAddr) -> bool {
        match &mut self.lock {
            Some(lock) if same(lock.address, source) => {
                lock.heard = now;
                true
            }
            _ => false,
        }
    }

    pub fn learned(&self) -> Option<SocketAddr> {
        self.lock.map(|lock| lock.address)
    }

    pub fn is_exact(&self) -> bool {
        self.lock.is_some_and(|lock| lock.rank == Rank::Exact)
    }

    /// The SDP names another address: the source must be learned anew.
    pub fn restart(&mut self) {
        self.previous = self.lock.take().map(|lock| lock.address).or(self.previous);
    }

    pub fn forget(&mut self) {
        *self = Source::default();
    }

    /// The slow way: the packet comes from elsewhere.
    pub fn judge(&mut self, asked: &Asked<'_>, probes: &mut Probes) -> Judgement {
        match asked.policy {
            Learn::Signalled => return Judgement::Take,
            Learn::Strict if asked.rank != Rank::Exact => return Judgement::Drop(Verdict::SourceLocked),
            Learn::Strict | Learn::Window | Learn::Handover => {}
        }
        let judgement = match self.lock {
            None => self.before_lock(asked, probes),
            Some(lock) => after_lock(lock, asked, probes),
        };
        if let Judgement::Learn { moved } = judgement {
            let carried = asked.rank != Rank::Exact && self.previous == Some(asked.source);
            self.lock = Some(Lock {
                address: asked.source,
                rank: asked.rank,
                carried,
                heard: asked.now,
                moved: if moved { Some(asked.now) } else { None },
            });
            self.previous = None;
            probes.clear();
        }
        judgement
    }

    fn before_lock(&self, asked: &Asked<'_>, probes: &mut Probes) -> Judgement {
        let teaches = asked.sends && asked.teaches();
        match asked.rank {
            Rank::Exact if !teaches => Judgement::Take,
            // A side that does not send still reports; nothing is learned from it.
            Rank::Address | Rank::Signalling if !teaches && asked.is_rtcp() => Judgement::Take,
            Rank::Exact | Rank::Address | Rank::Signalling if teaches => Judgement::Learn { moved: false },
            Rank::Other if teaches && asked.in_window && asked.is_proven(probes) => {
                Judgement::Learn { moved: false }
            }
            // What the old source still had on the way when the SDP changed.
            Rank::Other if asked.in_window && self.previous == Some(asked.source) => Judgement::Take,
            Rank::Exact | Rank::Address | Rank::Signalling | Rank::Other | Rank::Carried => {
                Judgement::Drop(Verdict::SourceUnknown)
            }
        }
    }
}

fn after_lock(lock: Lock, asked: &Asked<'_>, probes: &mut Probes) -> Judgement {
    let teaches = asked.sends && asked.teaches();
    let rank = if lock.carried && asked.in_window { Rank::Carried } else { lock.rank };
    if asked.rank < rank {
        if asked.is_rtcp() && asked.rank != Rank::Other && !teaches {
            return Judgement::Take;
        }
        // A higher rank displaces at once, whatever its SSRC; "any other" can only displace what was carried over.
        if teaches && (asked.rank != Rank::Other || asked.is_proven(probes)) {
            return Judgement::Learn { moved: true };
        }
    }
    let calm = lock.moved.is_none_or(|moved| asked.now.since(moved) >= CALM);
    if teaches && calm && asked.authenticated {
        return Judgement::Learn { moved: true };
    }
    let silent = asked.now.since(lock.heard) >= SILENT_MIN;
    if !(teaches && silent && calm) {
        return Judgement::Drop(Verdict::SourceLocked);
    }
    let handed_over = match asked.policy {
        Learn::Handover => asked.rank != Rank::Other || asked.is_proven(probes),
        Learn::Window | Learn::Strict | Learn::Signalled => false,
    };
    if handed_over || asked.continues() {
        Judgement::Learn { moved: true }
    } else {
        Judgement::Drop(Verdict::SourceLocked)
    }
}

impl Asked<'_> {
    /// Whether anything may be learned from such a packet at all.
    fn teaches(&self) -> bool {
        match self.evidence {
            Evidence::Rtp { negotiated, .. } => negotiated,
            Evidence::Udptl | Evidence::Opaque | Evidence::Rtcp { .. } => true,
            Evidence::MuxedRtcp => false,
        }
    }

    fn is_rtcp(&self) -> bool {
        matches!(self.evidence, Evidence::Rtcp { .. } | Evidence::MuxedRtcp)
    }

    /// Whether a stranger has shown enough.
    fn is_proven(&self, probes: &mut Probes) -> bool {
        match self.evidence {
            Evidence::Rtp { header, .. } => probes.is_proven(self.now, self.source, &header),
            Evidence::Udptl => true,
            // Without numbers nothing can be shown, so only the better ranks are learned.
            Evidence::Opaque | Evidence::Rtcp { .. } | Evidence::MuxedRtcp => false,
        }
    }

    /// Whether it goes on where the locked source stopped.
    fn continues(&self) -> bool {
        match self.evidence {
            Evidence::Rtp { header, stream, .. } => {
                stream.is_some_and(|stream| stream.is_continued_by(self.now, &header))
            }
            Evidence::Rtcp { sibling } => sibling,
            Evidence::Udptl | Evidence::Opaque | Evidence::MuxedRtcp => false,
        }
    }
}

/// Strangers on probation.
#[derive(Clone, Debug, Default)]
pub(super) struct Probes {
    list: [Option<Probe>; PROBES],
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    source: SocketAddr,
    ssrc: u32,
    sequence: u16,
    count: u8,
    last: Instant,
}

impl Probes {
    pub fn clear(&mut self) {
        self.list = [None; PROBES];
    }

    /// Counts packets in sequence; the stranger that has been quiet longest gives way to a new one.
    fn is_proven(&mut self, now: Instant, source: SocketAddr, header: &Header) -> bool {
        let known = self.list.iter_mut().flatten().find(|probe| probe.source == source);
        if let Some(probe) = known {
            let next = header.ssrc == probe.ssrc && header.sequence == probe.sequence.wrapping_add(1);
            probe.count = if next { probe.count + 1 } else { 1 };
            (probe.ssrc, probe.sequence, probe.last) = (header.ssrc, header.sequence, now);
            return probe.count >= IN_SEQUENCE;
        }
        let place = self.list.iter_mut().min_by_key(|place| place.map(|probe| probe.last));
        if let Some(place) = place {
            let probe = Probe { source, ssrc: header.ssrc, sequence: header.sequence, count: 1, last: now };
            *place = Some(probe);
        }
        false
    }
}

/// The rank of a source.
pub(super) fn rank(
    source: SocketAddr,
    signalled: Option<SocketAddr>,
    signalling: impl IntoIterator<Item = IpAddr>,
) -> Rank {
    match signalled {
        Some(signalled) if same(signalled, source) => Rank::Exact,
        Some(signalled) if signalled.ip() == source.ip() => Rank::Address,
        _ if signalling.into_iter().any(|ip| ip == source.ip()) => Rank::Signalling,
        _ => Rank::Other,
    }
}

/// Whether two addresses are the same place; flow labels and scopes of IPv6 do not count.
#[inline]
pub(super) fn same(a: SocketAddr, b: SocketAddr) -> bool {
    match (a, b) {
        (SocketAddr::V4(a), SocketAddr::V4(b)) => a == b,
        (SocketAddr::V6(a), SocketAddr::V6(b)) => a.port() == b.port() && a.ip() == b.ip(),
        _ => false,
    }
}
