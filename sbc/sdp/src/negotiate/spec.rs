//! From the SDP that both sides said and were told to the [`BridgeSpec`] that media wants. Holds no state.

use super::passage::{can_renumber, class, find_same, is_encrypted, is_live, reachable};
use super::{Exchange, Negotiation, Side, SideConfig};
use crate::address::signalling_rank;
use crate::codec::Codec;
use crate::parse::{Direction, Media, Sdp};
use command::spec::Audience;
use command::{
    BridgeSpec, EdgeSpec, Learn, MediaClass, Payload, Phase, PortIndex, PortSpec, Remote, RemoteTag, RtcpMux,
    Transform,
};

/// The SDP of one exchange, read again.
struct Reading<'a> {
    offerer: Side,
    offer: Sdp<'a>,
    offered: Sdp<'a>,
    told: Option<Sdp<'a>>,
    /// By fork.
    answers: Vec<(RemoteTag, Sdp<'a>)>,
    active: Option<RemoteTag>,
}

/// One m-line that is not refused.
struct LiveLine<'r, 'a> {
    offerer: Side,
    class: MediaClass,
    offer: &'r Media<'a>,
    told: Option<&'r Media<'a>>,
    answers: Vec<(RemoteTag, &'r Media<'a>)>,
    /// The active fork's.
    answer: Option<&'r Media<'a>>,
    active: Option<RemoteTag>,
}

pub(super) fn build(negotiation: &Negotiation) -> BridgeSpec {
    let Some(exchange) = negotiation.holding() else {
        return BridgeSpec { timeouts: negotiation.config.timeouts, ..BridgeSpec::default() };
    };
    let Some(reading) = Reading::of(exchange) else {
        return BridgeSpec { timeouts: negotiation.config.timeouts, ..BridgeSpec::default() };
    };
    let (mut ports, mut edges) = (Vec::new(), Vec::new());
    let (mut is_any_live, mut is_any_both_ways) = (false, false);
    for index in 0..reading.offer.media().len().min(negotiation.config.lines_max) {
        let Some(line) = reading.line(index) else { continue };
        let port = |side: Side| negotiation.ports[side as usize].get(index).map(|(port, _)| *port);
        let (offerer, answerer) = (reading.offerer, reading.offerer.other());
        let (Some(near), Some(far)) = (port(offerer), port(answerer)) else { continue };
        ports.push(line.offerer_port(near, negotiation));
        ports.push(line.answerer_port(far, negotiation));
        let (forth, back) = line.flows();
        // On hold the edges stay open: a remote that does not receive gets no media, but reports go on (RFC 3264
        // section 5.1). Closed are only those before A has an SDP, and those that nobody has answered.
        let is_open = (negotiation.is_answered || negotiation.is_early_open) && line.answer.is_some();
        edges.push(edge(near, far, is_open, || line.map_forth()));
        edges.push(edge(far, near, is_open, || line.map_back()));
        is_any_live = true;
        is_any_both_ways |= forth && back;
    }
    // A late offer waits for the ACK's answer: until then nobody can be silent.
    let phase = match (negotiation.is_answered && reading.active.is_some(), is_any_live && !is_any_both_ways)
    {
        (false, _) => Phase::Early,
        (true, false) => Phase::Active,
        (true, true) => Phase::Held,
    };
    ports.sort_by_key(|port| port.port);
    edges.sort_by_key(|edge| (edge.from, edge.to));
    BridgeSpec { phase, timeouts: negotiation.config.timeouts, ports, edges, room: None }
}

fn edge(from: PortIndex, to: PortIndex, relays: bool, map: impl FnOnce() -> Vec<(u8, u8)>) -> EdgeSpec {
    let transform =
        if relays { Transform::Relay { payload_map: map(), rewrite: None } } else { Transform::Drop };
    EdgeSpec { from, to, transform, gain_centibel: 0, audience: Audience::All }
}

impl<'a> Reading<'a> {
    /// `None` cannot happen: all of it was parsed when it was taken.
    fn of(exchange: &'a Exchange) -> Option<Self> {
        let mut answers = Vec::with_capacity(exchange.forks.len());
        for fork in &exchange.forks {
            answers.push((fork.tag, Sdp::parse(&fork.sdp).ok()?));
        }
        Some(Reading {
            offerer: exchange.offerer,
            offer: Sdp::parse(&exchange.offer).ok()?,
            offered: Sdp::parse(&exchange.offered).ok()?,
            told: match &exchange.answer {
                Some(answer) => Some(Sdp::parse(answer).ok()?),
                None => None,
            },
            answers,
            active: exchange.active,
        })
    }

    fn line<'r>(&'r self, index: usize) -> Option<LiveLine<'r, 'a>> {
        let offer = self.offer.media().get(index)?;
        if self.offered.media().get(index).is_none_or(|offered| offered.port() == 0) {
            return None;
        }
        let told = self.told.as_ref().and_then(|told| told.media().get(index));
        let answers: Vec<_> =
            self.answers.iter().filter_map(|(tag, sdp)| Some((*tag, sdp.media().get(index)?))).collect();
        let answer = answers.iter().find(|(tag, _)| Some(*tag) == self.active).map(|(_, media)| *media);
        if self.active.is_some() && !answer.is_some_and(|answer| is_live(offer, answer)) {
            return None;
        }
        if told.is_some_and(|told| told.port() == 0) {
            return None;
        }
        let class = class(offer)?;
        Some(LiveLine { offerer: self.offerer, class, offer, told, answers, answer, active: self.active })
    }
}

impl LiveLine<'_, '_> {
    /// Which ways media flows: from the offerer, and to it.
    fn flows(&self) -> (bool, bool) {
        let Some(answer) = self.answer else { return (false, false) };
        let (near, far) = (self.offer.effective_direction(), answer.effective_direction());
        (near.sends() && far.receives(), far.sends() && near.receives())
    }

    fn offerer_port(&self, port: PortIndex, negotiation: &Negotiation) -> PortSpec {
        let tag = negotiation.tags[self.offerer as usize];
        let mut payloads = Vec::new();
        for codec in &self.codecs(self.told.unwrap_or(self.offer)) {
            add_payload(&mut payloads, codec.number, codec);
        }
        let remotes = [(tag, self.offer)];
        PortSpec { payloads, ..self.port(port, self.offerer, negotiation, &remotes, Some(tag)) }
    }

    fn answerer_port(&self, port: PortIndex, negotiation: &Negotiation) -> PortSpec {
        let mut payloads = Vec::new();
        let offered = self.codecs(self.offer);
        match self.answer.map(|answer| self.codecs(answer)) {
            // It sends what it was offered under the offer's numbers; some send their own.
            Some(answered) => {
                for codec in &answered {
                    if let Some(offered) = find_same(&offered, codec) {
                        add_payload(&mut payloads, offered.number, codec);
                    }
                }
                answered.iter().for_each(|codec| add_payload(&mut payloads, codec.number, codec));
            }
            None => offered.iter().for_each(|codec| add_payload(&mut payloads, codec.number, codec)),
        }
        PortSpec {
            payloads,
            ..self.port(port, self.offerer.other(), negotiation, &self.answers, self.active)
        }
    }

    fn codecs<'m>(&self, media: &Media<'m>) -> Vec<Codec<'m>> {
        if self.class == MediaClass::Rtp { media.codecs() } else { Vec::new() }
    }

    /// All but the payload types.
    fn port(
        &self,
        port: PortIndex,
        side: Side,
        negotiation: &Negotiation,
        said: &[(RemoteTag, &Media<'_>)],
        active: Option<RemoteTag>,
    ) -> PortSpec {
        let config = negotiation.config.side(side);
        let mux = self.mux(side);
        let is_muxed = mux == RtcpMux::Muxed;
        let remotes = said.iter().map(|(tag, media)| remote(*tag, media, is_muxed, config)).collect();
        let active_media = said.iter().find(|(tag, _)| Some(*tag) == active).map(|(_, media)| *media);
        let address = active_media.and_then(Media::address);
        let is_encrypted = is_encrypted(self.offer) || self.answer.is_some_and(is_encrypted);
        PortSpec {
            port,
            party: side.party(),
            class: self.class,
            remotes,
            active,
            mux,
            // Not even the first rank may be corrected while we cannot see who holds the key.
            learn: if is_encrypted { Learn::Strict } else { config.learn },
            signalling_source: signalling_rank(address, config.sip_source).filter(|_| !is_encrypted),
            accept: config.accept,
            send_to: config.send_to,
            payloads: Vec::new(),
            dscp: config.dscp,
            secure: None,
            ice: None,
            voice: command::Voice::default(),
        }
    }

    /// Each side for itself: what it offered or answered, and what the other end of its exchange said to that.
    fn mux(&self, side: Side) -> RtcpMux {
        let answer = if side == self.offerer { self.told } else { self.answer };
        match (self.offer.rtcp_mux(), answer) {
            (false, _) => RtcpMux::Separate,
            (true, None) => RtcpMux::Offered,
            (true, Some(answer)) if answer.rtcp_mux() => RtcpMux::Muxed,
            (true, Some(_)) => RtcpMux::Separate,
        }
    }

    /// Payload types that the answerer numbers differently from what the offerer was told.
    fn map_forth(&self) -> Vec<(u8, u8)> {
        let (Some(told), Some(answer)) = (self.told, self.answer) else { return Vec::new() };
        if !can_renumber(self.offer, answer) {
            return Vec::new();
        }
        let (told, answered) = (told.codecs(), answer.codecs());
        let pairs = told.iter().filter_map(|from| Some((from.number, find_same(&answered, from)?.number)));
        pairs.filter(|(from, to)| from != to).collect()
    }

    /// The same for an answerer that sends its own numbers instead of the offer's, where they mean nothing else.
    fn map_back(&self) -> Vec<(u8, u8)> {
        let Some(answer) = self.answer else { return Vec::new() };
        if !can_renumber(self.offer, answer) {
            return Vec::new();
        }
        let (offered, answered) = (self.offer.codecs(), answer.codecs());
        let pairs: Vec<(u8, u8)> = answered
            .iter()
            .filter_map(|from| Some((from.number, find_same(&offered, from)?.number)))
            .collect();
        let is_offered = |number: u8| pairs.iter().any(|(_, to)| *to == number);
        pairs.iter().filter(|(from, to)| from != to && !is_offered(*from)).copied().collect()
    }
}

fn remote(tag: RemoteTag, media: &Media<'_>, is_muxed: bool, config: &SideConfig) -> Remote {
    let direction = if media.port() == 0 { Direction::Inactive } else { media.effective_direction() };
    Remote {
        tag,
        rtp: media.rtp().and_then(|rtp| reachable(rtp, config.address)),
        rtcp: media.rtcp(is_muxed).and_then(|rtcp| reachable(rtcp, config.address)),
        sends: direction.sends(),
        receives: direction.receives(),
        keys: None,
        sealed: false,
    }
}

fn add_payload(payloads: &mut Vec<Payload>, number: u8, codec: &Codec<'_>) {
    if payloads.iter().all(|payload| payload.number != number) {
        payloads.push(Payload {
            number,
            clock: codec.clock,
            encoding: codec.name.to_ascii_lowercase(),
            fmtp: codec.fmtp.to_owned(),
        });
    }
}
