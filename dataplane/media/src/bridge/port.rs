//! One port: what comes from its peer and what goes there. Classifies, checks the source, counts; knows no other port.

use super::audio::Audio;
use super::keys::{OwnKey, renew_opener};
use super::learn::{self, Asked, Evidence, Judgement, Probes, Rank, Source, WINDOW, same};
use super::relay::{Edge, Way};
use super::{OpenPort, Slot};
use crate::quality::{Pace, Streams};
use crate::srtp::Opener;
use crate::wire::classify::{Kind, classify};
use crate::wire::rtcp::{Compound, word};
use crate::wire::rtp::{Header, Rtp};
use base::{Duration, Instant, Key};
use command::report::Totals;
use command::{
    Accept, Learn, MediaClass, Party, Payload, PortIndex, PortReport, PortSpec, Remote, RemoteTag, RtcpMux,
    SendTo, Verdict, Voice, VoiceReport,
};
use core::net::{IpAddr, SocketAddr};

/// During a change between audio and image both are taken for this long (media.md, "Classes and m-lines").
const OVERLAP: Duration = Duration::from_secs(2);

/// One port. What every packet from the peer touches stands first, then what every packet to it touches.
#[derive(Debug)]
pub(super) struct Port {
    /// The spec names it; until then everything is dropped.
    pub named: bool,
    class: MediaClass,
    /// The class of before a change, and until when it is taken as well.
    former: Option<(MediaClass, Instant)>,
    /// What comes may be encrypted: only headers are looked at.
    pub sealed: bool,
    pub mux: RtcpMux,
    learn: Learn,
    accept: Accept,
    send_to: SendTo,
    /// The candidate that is listened to and sent to.
    pub active: Option<Candidate>,
    /// Where media goes; nearly every port has one sink.
    pub edge: Option<Edge>,
    pub more_edges: Vec<Edge>,
    /// When a packet of any kind was accepted last.
    pub heard: Option<Instant>,
    pub received: Totals,
    rtcp_received: u64,
    negotiated: u128,
    pub streams: Streams,

    pub media: Aim,
    pub control: Aim,
    /// Speech that is more than passed on.
    pub audio: Option<Box<Audio>>,
    /// What is sent is encrypted here, and what comes is decrypted.
    pub own_key: Option<Box<OwnKey>>,
    pub sent: Totals,
    pub rtcp_sent: u64,

    /// Its peer takes no events: until then digits are made tones for it.
    pub tones_until: Option<Instant>,
    /// What comes for it has another packet time than it wants.
    pub repacketises: bool,
    /// The formats that were negotiated, as this peer numbers them.
    pub payloads: Box<[Payload]>,
    pub bridge: Key,
    pub index: PortIndex,
    pub party: Party,
    pub local: SocketAddr,
    pub rtp: Slot,
    pub rtcp: Slot,
    pub dscp: u8,
    /// Ports that have an edge to this one.
    pub feeders: Vec<u32>,
    /// Candidates that are not active, with what was learned of them.
    others: Vec<Candidate>,
    signalling_source: Option<IpAddr>,
    probes: Probes,
    /// By reason; 32 bits keep the port small.
    pub dropped: [u32; Verdict::COUNT],
    /// The last foreign source that was refused.
    pub foreign: Option<SocketAddr>,
    moves: u32,
    pub kernel_drops: [u64; 2],
    /// Since when the SDP says that the peer sends.
    pub expected_since: Option<Instant>,
}

/// A fork, or the only peer.
#[derive(Debug)]
pub(super) struct Candidate {
    tag: RemoteTag,
    rtp: Option<SocketAddr>,
    rtcp: Option<SocketAddr>,
    pub sends: bool,
    receives: bool,
    sealed: bool,
    /// What it sends is decrypted with its key here.
    pub opener: Option<Box<Opener>>,
    /// The last addresses that signalling knew: 0.0.0.0 of an old hold is not a change.
    known: (Option<SocketAddr>, Option<SocketAddr>),
    window_until: Instant,
    media: Source,
    control: Source,
}

/// Where packets to the peer go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aim {
    pub slot: Slot,
    pub target: Result<SocketAddr, Verdict>,
}

/// What a packet is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found {
    Rtp(Header),
    /// With the SSRC of who sends it.
    Rtcp(u32),
    /// Something that is not looked into.
    Datagram,
}

/// Whose packet it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sender {
    /// The locked source's.
    Locked,
    /// Of a source that has just been learned; `moved` if another was locked before.
    Learned { moved: bool },
    /// Taken, though nothing was learned from it.
    Unproven,
}

// A relayed call is two ports and a bridge, and has 8 KB in the data plane (design.md).
const _: () = assert!(size_of::<Port>() <= 2 * 1024 + 128);

impl Port {
    pub fn new(bridge: Key, open: &OpenPort) -> Self {
        Port {
            named: false,
            class: MediaClass::Rtp,
            former: None,
            sealed: false,
            mux: RtcpMux::Separate,
            learn: Learn::Window,
            accept: Accept::Locked,
            send_to: SendTo::Learned,
            active: None,
            edge: None,
            more_edges: Vec::new(),
            heard: None,
            received: Totals::default(),
            rtcp_received: 0,
            negotiated: u128::MAX,
            streams: Streams::default(),
            media: Aim { slot: open.rtp, target: Err(Verdict::NoTarget) },
            control: Aim { slot: open.rtcp, target: Err(Verdict::NoTarget) },
            audio: None,
            own_key: None,
            tones_until: None,
            repacketises: false,
            payloads: Box::default(),
            sent: Totals::default(),
            rtcp_sent: 0,
            bridge,
            index: open.port,
            party: Party::default(),
            local: open.local,
            rtp: open.rtp,
            rtcp: open.rtcp,
            dscp: 0,
            feeders: Vec::new(),
            others: Vec::new(),
            signalling_source: None,
            probes: Probes::default(),
            dropped: [0; Verdict::COUNT],
            foreign: None,
            moves: 0,
            kernel_drops: [0; 2],
            expected_since: None,
        }
    }

    /// What the packet is, by the m-line's class.
    #[inline]
    pub fn classify(&self, now: Instant, on_rtcp: bool, bytes: &[u8]) -> Result<Found, Verdict> {
        if self.class == MediaClass::Rtp && self.former.is_none() {
            self.classify_rtp(on_rtcp, bytes)
        } else {
            self.classify_other(now, on_rtcp, bytes)
        }
    }

    #[inline]
    fn classify_rtp(&self, on_rtcp: bool, bytes: &[u8]) -> Result<Found, Verdict> {
        let kind = match classify(bytes)? {
            // A payload type that only looks like RTCP; nobody may negotiate it where both share a port.
            Kind::Rtcp
                if !on_rtcp && self.mux == RtcpMux::Separate && self.names_payload(bytes[1] & 0x7f) =>
            {
                Kind::Rtp
            }
            kind => kind,
        };
        match kind {
            Kind::Rtp if on_rtcp => Err(Verdict::NotRtp),
            Kind::Rtp if self.sealed || self.own_key.is_some() => {
                Ok(Found::Rtp(Rtp::parse_sealed(bytes)?.header()))
            }
            Kind::Rtp => Ok(Found::Rtp(Rtp::parse(bytes)?.header())),
            Kind::Rtcp => {
                if self.sealed || self.own_key.is_some() {
                    Compound::check_sealed(bytes)?;
                } else {
                    Compound::parse(bytes)?;
                }
                Ok(Found::Rtcp(word(bytes, 4).unwrap_or(0)))
            }
        }
    }

    #[cold]
    fn classify_other(&self, now: Instant, on_rtcp: bool, bytes: &[u8]) -> Result<Found, Verdict> {
        let former = self.former.filter(|(_, until)| now < *until).map(|(class, _)| class);
        let as_datagram = || match (bytes.is_empty(), on_rtcp) {
            (true, _) => Err(Verdict::Short),
            (false, true) if self.class != MediaClass::Opaque => Err(Verdict::NotRtp),
            (false, _) => Ok(Found::Datagram),
        };
        match (self.class, former) {
            (MediaClass::Rtp, Some(MediaClass::Udptl)) => match self.classify_rtp(on_rtcp, bytes) {
                Ok(Found::Rtp(header)) if self.is_negotiated(header.payload_type) => Ok(Found::Rtp(header)),
                Ok(found @ Found::Rtcp(_)) => Ok(found),
                Ok(_) | Err(_) => as_datagram(),
            },
            (MediaClass::Udptl, Some(MediaClass::Rtp)) => match self.classify_rtp(on_rtcp, bytes) {
                // Only streams that were there before: the first byte of UDPTL looks like anything.
                Ok(Found::Rtp(header)) if self.knows_stream(header.ssrc) => Ok(Found::Rtp(header)),
                Ok(found @ Found::Rtcp(_)) => Ok(found),
                Ok(_) | Err(_) => as_datagram(),
            },
            (MediaClass::Rtp, _) => self.classify_rtp(on_rtcp, bytes),
            (MediaClass::Udptl | MediaClass::Opaque, _) => as_datagram(),
        }
    }

    /// Whether the packet comes from somebody who may send here; learns where that is.
    #[inline]
    pub fn check_source(
        &mut self,
        now: Instant,
        source: SocketAddr,
        on_rtcp: bool,
        found: &Found,
    ) -> Result<Sender, Verdict> {
        let locked = match &mut self.active {
            Some(active) if on_rtcp => active.control.is_locked_to(now, source),
            Some(active) => active.media.is_locked_to(now, source),
            None => false,
        };
        let sender = if locked { Sender::Locked } else { self.judge(now, source, on_rtcp, found)? };
        self.heard = Some(now);
        Ok(sender)
    }

    #[cold]
    fn judge(
        &mut self,
        now: Instant,
        source: SocketAddr,
        on_rtcp: bool,
        found: &Found,
    ) -> Result<Sender, Verdict> {
        let Some(active) = &mut self.active else {
            let anybody = self.accept == Accept::Any || self.learn == Learn::Signalled;
            let known = self.others.iter().any(|other| other.knows(source));
            return match (known, anybody) {
                (true, _) => Err(Verdict::ForkInactive),
                (false, true) => Ok(Sender::Unproven),
                (false, false) => Err(Verdict::SourceUnknown),
            };
        };
        let rtp_source = active.media.learned();
        let (signalled, by_rtp) = if on_rtcp {
            (active.control_signalled(), rtp_source.map(|learned| learned.ip()))
        } else {
            (active.rtp, None)
        };
        let rank = learn::rank(source, signalled, self.signalling_source.into_iter().chain(by_rtp));
        if rank != Rank::Exact && self.others.iter().any(|other| other.knows(source)) {
            return Err(Verdict::ForkInactive);
        }
        if self.accept == Accept::Signalled && rank != Rank::Exact {
            return Err(self.refuse(Verdict::SourceLocked, source));
        }
        let evidence = match found {
            Found::Rtp(header) => {
                let stream = self.streams.find(active.tag, header.ssrc).map(|stream| &*stream);
                let negotiated = self.negotiated >> (header.payload_type & 0x7f) & 1 == 1;
                Evidence::Rtp { header: *header, negotiated, stream }
            }
            Found::Rtcp(sender) if on_rtcp => {
                let sibling = by_rtp == Some(source.ip()) && self.streams.knows(active.tag, *sender);
                Evidence::Rtcp { sibling }
            }
            Found::Rtcp(_) => Evidence::MuxedRtcp,
            Found::Datagram if self.class == MediaClass::Udptl => Evidence::Udptl,
            // Also what comes late on a port that is audio again.
            Found::Datagram => Evidence::Opaque,
        };
        let in_window = now < active.window_until;
        let asked = Asked {
            now,
            source,
            rank,
            policy: self.learn,
            sends: active.sends,
            in_window,
            // What has a key comes here only after it was opened.
            authenticated: self.own_key.is_some() && !matches!(found, Found::Datagram),
            evidence,
        };
        let learner = if on_rtcp { &mut active.control } else { &mut active.media };
        match learner.judge(&asked, &mut self.probes) {
            Judgement::Take => Ok(Sender::Unproven),
            Judgement::Learn { moved } => {
                self.moves += u32::from(moved);
                if let Found::Rtp(header) = found {
                    self.streams.trust(active.tag, header.ssrc);
                }
                Ok(Sender::Learned { moved })
            }
            Judgement::Drop(verdict) => match self.accept {
                Accept::Any => Ok(Sender::Unproven),
                Accept::AnyThenLocked if in_window => Ok(Sender::Unproven),
                Accept::AnyThenLocked | Accept::Locked | Accept::Signalled => {
                    Err(self.refuse(verdict, source))
                }
            },
        }
    }

    fn refuse(&mut self, verdict: Verdict, source: SocketAddr) -> Verdict {
        if verdict == Verdict::SourceLocked {
            self.foreign = Some(source);
        }
        verdict
    }

    /// Why a packet that cannot be opened is not taken: one of another fork has another key.
    #[cold]
    pub fn why_sealed(&self, source: SocketAddr, why: Verdict) -> Verdict {
        let is_active = self.active.as_ref().is_some_and(|active| active.knows(source));
        let is_other = self.others.iter().any(|other| other.knows(source));
        if is_other && !is_active { Verdict::ForkInactive } else { why }
    }

    /// Counts a packet that was accepted.
    #[inline]
    pub fn count(&mut self, now: Instant, found: &Found, sender: Sender, len: usize) {
        match found {
            Found::Rtp(header) => {
                let origin = (self.tag(), !matches!(sender, Sender::Unproven));
                let payloads = &self.payloads;
                self.streams.on_packet(now, origin, header, |payload| pace_of(payloads, payload));
                self.received.packets += 1;
                self.received.bytes += len as u64;
            }
            Found::Datagram => {
                self.received.packets += 1;
                self.received.bytes += len as u64;
            }
            Found::Rtcp(_) => self.rtcp_received += 1,
        }
    }

    /// Makes the port what the spec says; whether its peer's SDP has changed.
    pub fn apply(&mut self, now: Instant, spec: &PortSpec) -> bool {
        if self.named && self.class != spec.class {
            let both = [self.class, spec.class].iter().all(|class| *class != MediaClass::Opaque);
            self.former = both.then_some((self.class, now + OVERLAP));
        }
        self.named = true;
        self.class = spec.class;
        self.party = spec.party;
        self.mux = spec.mux;
        self.learn = spec.learn;
        self.accept = spec.accept;
        self.send_to = spec.send_to;
        self.signalling_source = spec.signalling_source;
        self.dscp = spec.dscp;
        self.set_payloads(&spec.payloads);
        self.own_key = OwnKey::renew(self.own_key.take(), spec.secure.as_ref());
        self.set_voice(&spec.voice);
        let changed = self.apply_remotes(now, spec);
        self.sealed = self.learn == Learn::Strict || self.active.as_ref().is_some_and(|active| active.sealed);
        changed
    }

    fn apply_remotes(&mut self, now: Instant, spec: &PortSpec) -> bool {
        let mut changed = false;
        let was = self.active.as_ref().map(|active| active.tag);
        let mut known: Vec<Candidate> = self.active.take().into_iter().chain(self.others.drain(..)).collect();
        for remote in &spec.remotes {
            let mut placed = self.active.iter().chain(&self.others);
            if placed.any(|candidate| candidate.tag == remote.tag) {
                continue;
            }
            let place = known.iter().position(|candidate| candidate.tag == remote.tag);
            let mut candidate = match place {
                Some(place) => known.swap_remove(place),
                None => Candidate::new(remote.tag),
            };
            changed |= candidate.apply(remote) || place.is_none();
            candidate.keep_to(self.learn, self.accept);
            if spec.active == Some(remote.tag) {
                self.active = Some(candidate);
            } else {
                self.others.push(candidate);
            }
        }
        let is = self.active.as_ref().map(|active| active.tag);
        if is != was {
            self.probes.clear();
            changed = true;
        }
        let expected = self.active.as_ref().is_some_and(|active| active.sends);
        self.expected_since = match self.expected_since {
            Some(since) if expected && is == was => Some(since),
            _ => expected.then_some(now),
        };
        changed
    }

    /// The spec no longer names the port.
    pub fn retire(&mut self) {
        self.named = false;
        self.expected_since = None;
    }

    fn set_payloads(&mut self, payloads: &[Payload]) {
        self.negotiated = if payloads.is_empty() {
            u128::MAX
        } else {
            payloads.iter().fold(0, |mask, payload| mask | 1 << (payload.number & 0x7f))
        };
        if *self.payloads != *payloads {
            self.payloads = payloads.into();
        }
    }

    fn set_voice(&mut self, voice: &Voice) {
        match &mut self.audio {
            Some(audio) => audio.wants.clone_from(voice),
            None if *voice != Voice::default() => {
                self.audio = Some(Box::new(Audio { wants: voice.clone(), ..Audio::default() }));
            }
            None => {}
        }
    }

    /// An SDP of the bridge has changed: who is not locked yet gets the window again. The other side's SDP counts
    /// too, for only its answer lets this side begin to send.
    pub fn reopen_window(&mut self, now: Instant) {
        if let Some(active) = &mut self.active
            && active.media.learned().is_none()
        {
            active.window_until = now + WINDOW;
            self.probes.clear();
        }
    }

    /// Where media and RTCP to the peer are to go.
    pub fn aims(&self) -> [Aim; 2] {
        let by = |source: &Source, signalled: Option<SocketAddr>| match self.send_to {
            SendTo::Learned => source.learned().or(signalled),
            SendTo::Signalled => signalled,
        };
        let sendable = |target: Option<SocketAddr>| {
            let target = target.filter(|target| target.port() != 0 && !target.ip().is_unspecified());
            target.ok_or(Verdict::NoTarget)
        };
        let Some(active) = self.active.as_ref().filter(|_| self.named) else {
            return [self.rtp, self.rtcp].map(|slot| Aim { slot, target: Err(Verdict::NoTarget) });
        };
        let media = sendable(by(&active.media, active.rtp));
        let control = if self.mux == RtcpMux::Muxed {
            Aim { slot: self.rtp, target: media }
        } else {
            let target = sendable(by(&active.control, active.control_signalled()));
            Aim { slot: self.rtcp, target }
        };
        // RTCP goes on when media does not (RFC 3264 section 5.1).
        let media = if active.receives { media } else { Err(Verdict::NoTarget) };
        [Aim { slot: self.rtp, target: media }, control]
    }

    /// The candidate's tag, for its streams.
    pub fn tag(&self) -> RemoteTag {
        self.active.as_ref().map_or(RemoteTag::default(), |active| active.tag)
    }

    /// Whether its peer takes digits as events.
    pub fn has_events(&self) -> bool {
        self.payloads.iter().any(|payload| payload.encoding == "telephone-event")
    }

    pub fn edges(&self) -> impl Iterator<Item = &Edge> {
        self.edge.iter().chain(&self.more_edges)
    }

    pub fn edges_mut(&mut self) -> impl Iterator<Item = &mut Edge> {
        self.edge.iter_mut().chain(&mut self.more_edges)
    }

    /// Whether RTCP of its peer ends here: what it tells of is not what the others see.
    pub fn ends_rtcp(&self) -> bool {
        !self.edges().any(Edge::passes_rtcp) && self.edges().any(Edge::is_made)
    }

    /// What came and went; `before` is the round trip between here and the peer, if known.
    pub fn report(&self, before: Option<Duration>) -> PortReport {
        let dropped =
            Verdict::ALL.iter().map(|verdict| (*verdict, u64::from(self.dropped[*verdict as usize])));
        PortReport {
            port: self.index,
            party: self.party,
            local: self.local,
            signalled: self.active.as_ref().and_then(|active| active.rtp),
            learned: self.active.as_ref().and_then(|active| active.media.learned()),
            moves: self.moves,
            received: self.received,
            sent: self.sent,
            rtcp_received: self.rtcp_received,
            rtcp_sent: self.rtcp_sent,
            last_heard: self.heard,
            dropped: dropped.filter(|(_, n)| *n > 0).collect(),
            foreign: self.foreign,
            kernel_drops: self.kernel_drops.iter().sum(),
            voice: self.voice_report(),
            streams: self.streams.report(before),
        }
    }

    /// What is known of its peer's speech, where that is decoded.
    fn voice_report(&self) -> Option<VoiceReport> {
        let mut report = self.audio.as_ref().map(|audio| audio.report());
        for edge in self.edges() {
            if let Way::Transcode(coder) = &edge.way {
                coder.add_to(report.get_or_insert_default());
            }
        }
        report
    }

    fn is_negotiated(&self, payload: u8) -> bool {
        self.negotiated >> (payload & 0x7f) & 1 == 1
    }

    /// As [`Port::is_negotiated`], but not by an empty list.
    fn names_payload(&self, payload: u8) -> bool {
        self.negotiated != u128::MAX && self.is_negotiated(payload)
    }

    fn knows_stream(&self, ssrc: u32) -> bool {
        self.streams.knows(self.tag(), ssrc)
    }
}

impl Candidate {
    fn new(tag: RemoteTag) -> Self {
        Candidate {
            tag,
            rtp: None,
            rtcp: None,
            sends: false,
            receives: false,
            sealed: false,
            opener: None,
            known: (None, None),
            window_until: Instant(0),
            media: Source::default(),
            control: Source::default(),
        }
    }

    /// Takes what the SDP says; whether anything but keys has changed. A changed address must be learned anew.
    fn apply(&mut self, remote: &Remote) -> bool {
        let before = (self.rtp, self.rtcp, self.sends, self.receives);
        (self.rtp, self.rtcp, self.sends, self.receives) =
            (remote.rtp, remote.rtcp, remote.sends, remote.receives);
        self.sealed = remote.sealed;
        self.opener = renew_opener(self.opener.take(), remote.keys.as_ref());
        let changed = before != (self.rtp, self.rtcp, self.sends, self.receives);
        let control = self.control_signalled();
        if replaces(&mut self.known.0, self.rtp) {
            self.media.restart();
        }
        if replaces(&mut self.known.1, control) {
            self.control.restart();
        }
        changed
    }

    /// Policies that never learn keep no other lock than the signalled one.
    fn keep_to(&mut self, learn: Learn, accept: Accept) {
        for source in [&mut self.media, &mut self.control] {
            let exact_only = learn == Learn::Strict || accept == Accept::Signalled;
            if learn == Learn::Signalled || (exact_only && !source.is_exact()) {
                source.forget();
            }
        }
    }

    /// Where RTCP is expected from: as signalled, else one above RTP (RFC 3550 section 11).
    fn control_signalled(&self) -> Option<SocketAddr> {
        self.rtcp.or_else(|| {
            let rtp = self.rtp?;
            Some(SocketAddr::new(rtp.ip(), rtp.port().checked_add(1)?))
        })
    }

    /// Whether packets from there are this candidate's.
    fn knows(&self, source: SocketAddr) -> bool {
        let places = [self.rtp, self.control_signalled(), self.media.learned(), self.control.learned()];
        places.into_iter().flatten().any(|place| same(place, source))
    }
}

/// Keeps the last known address; whether a known one has become another.
fn replaces(known: &mut Option<SocketAddr>, now: Option<SocketAddr>) -> bool {
    match (*known, now) {
        (_, None) => false,
        (before, Some(now)) => {
            *known = Some(now);
            before.is_some_and(|before| !same(before, now))
        }
    }
}

/// The clock of a payload type: as negotiated, else that of the static number.
fn pace_of(payloads: &[Payload], number: u8) -> Pace {
    let negotiated = payloads.iter().find(|payload| payload.number & 0x7f == number);
    let negotiated = negotiated.map(|payload| pace(&payload.encoding, payload.clock));
    negotiated.unwrap_or_else(|| match codec::payload::by_number(number) {
        Some(facts) => pace(facts.name, facts.clock),
        None => Pace { clock: 0, paced: false, codec: Some(codec::payload::UNKNOWN) },
    })
}

fn pace(encoding: &str, clock: u32) -> Pace {
    let codec = codec::payload::impairment(encoding);
    // Nobody knows the format; speech has no such clock, pictures have no other.
    let codec = codec.filter(|_| clock != 90_000);
    Pace { clock, paced: codec::payload::is_paced(encoding), codec }
}
