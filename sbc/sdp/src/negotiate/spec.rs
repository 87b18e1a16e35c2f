//! From the SDP that both sides said and were told to the [`BridgeSpec`] that media wants. Holds no state.

use super::codecs::{self, Rules, find_same};
use super::config::DigitsBy;
use super::keys;
use super::passage::{class, is_live, reachable};
use super::{Exchange, Negotiation, Side, SideConfig, WhyNot};
use crate::address::signalling_rank;
use crate::codec::Codec;
use crate::crypto::Agreed;
use crate::parse::{Direction, Kind, Media, Sdp};
use command::spec::{Audience, Secure};
use command::{
    BridgeSpec, Digits, DigitsTowards, EdgeSpec, Learn, MediaClass, Payload, Phase, PortIndex, PortSpec,
    Remote, RemoteTag, RtcpMux, SdesKeys, Transform, Voice,
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
    rules: Rules<'r>,
    offer: &'r Media<'a>,
    offered: &'r Media<'a>,
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
        let Some(line) = reading.line(index, negotiation.rules(reading.offerer)) else { continue };
        let port = |side: Side| negotiation.ports[side as usize].get(index).map(|(port, _)| *port);
        let (offerer, answerer) = (reading.offerer, reading.offerer.other());
        let (Some(near), Some(far)) = (port(offerer), port(answerer)) else { continue };
        ports.push(line.offerer_port(near, negotiation));
        ports.push(line.answerer_port(far, negotiation));
        let (forth, back) = line.flows();
        // On hold the edges stay open: a remote that does not receive gets no media, but reports go on (RFC 3264
        // section 5.1). Closed are only those before A has an SDP, and those that nobody has answered.
        let is_open = (negotiation.is_answered || negotiation.is_early_open) && line.answer.is_some();
        let [there, here] = if is_open { line.transforms() } else { [Transform::Drop, Transform::Drop] };
        edges.push(edge(near, far, there));
        edges.push(edge(far, near, here));
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

fn edge(from: PortIndex, to: PortIndex, transform: Transform) -> EdgeSpec {
    EdgeSpec { from, to, transform, gain_centibel: 0, audience: Audience::All }
}

pub(super) fn why_not_open(negotiation: &Negotiation) -> Option<WhyNot> {
    let reading = Reading::of(negotiation.holding()?)?;
    (0..reading.offer.media().len()).find_map(|index| {
        let line = reading.line(index, negotiation.rules(reading.offerer)).filter(LiveLine::is_speech)?;
        codecs::why_not_open(line.offer, line.answer?, line.told?, &line.rules)
    })
}

/// Places of the audio lines that are not refused.
pub(super) fn audio_lines(negotiation: &Negotiation) -> Vec<usize> {
    let Some(reading) = negotiation.holding().and_then(Reading::of) else { return Vec::new() };
    let is_speech = |index: &usize| {
        let line = reading.line(*index, negotiation.rules(reading.offerer));
        line.is_some_and(|line| line.is_speech())
    };
    (0..reading.offer.media().len()).filter(is_speech).collect()
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

    fn line<'r>(&'r self, index: usize, rules: Rules<'r>) -> Option<LiveLine<'r, 'a>> {
        let offer = self.offer.media().get(index)?;
        let offered = self.offered.media().get(index).filter(|offered| offered.port() != 0)?;
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
        let (offerer, active) = (self.offerer, self.active);
        Some(LiveLine { offerer, class, rules, offer, offered, told, answers, answer, active })
    }
}

impl LiveLine<'_, '_> {
    /// Whether it carries audio over RTP.
    fn is_speech(&self) -> bool {
        self.offer.kind() == Kind::Audio && self.class == MediaClass::Rtp
    }

    /// Which ways media flows: from the offerer, and to it.
    fn flows(&self) -> (bool, bool) {
        let Some(answer) = self.answer else { return (false, false) };
        let (near, far) = (self.offer.effective_direction(), answer.effective_direction());
        (near.sends() && far.receives(), far.sends() && near.receives())
    }

    fn offerer_port(&self, port: PortIndex, negotiation: &Negotiation) -> PortSpec {
        let tag = negotiation.tags[self.offerer as usize];
        let mut payloads = Vec::new();
        // Numbers and names as agreed, parameters as this side said them: it is what it wants to get.
        let said = self.codecs(self.offer);
        for codec in &self.codecs(self.told.unwrap_or(self.offer)) {
            let fmtp = find_same(&said, codec).map_or(codec.fmtp, |said| said.fmtp);
            add_payload(&mut payloads, codec.number, &Codec { fmtp, ..*codec });
        }
        let remotes = [(tag, self.offer)];
        PortSpec { payloads, ..self.port(port, self.offerer, negotiation, &remotes, Some(tag)) }
    }

    fn answerer_port(&self, port: PortIndex, negotiation: &Negotiation) -> PortSpec {
        let mut payloads = Vec::new();
        let offered = self.codecs(self.offered);
        match self.answer.map(|answer| self.codecs(answer)) {
            // It sends what it was offered under the offer's numbers; some send their own.
            Some(answered) => {
                if self.conversion().is_some() {
                    // What we make goes under its own.
                    answered.iter().for_each(|codec| add_payload(&mut payloads, codec.number, codec));
                }
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
        let active_media = said.iter().find(|(tag, _)| Some(*tag) == active).map(|(_, media)| *media);
        let address = active_media.and_then(Media::address);
        let is_sealed = self.is_sealed();
        let keys = self.keys(side);
        let remotes = said.iter().map(|(tag, media)| {
            let keys = if side == self.offerer {
                keys.as_ref().map(|keys| keys.theirs.clone())
            } else {
                keys::answerer_keys(self.offered, media).filter(|_| self.ends_keys()).map(|keys| keys.theirs)
            };
            Remote { keys, sealed: is_sealed, ..remote(*tag, media, is_muxed, config) }
        });
        PortSpec {
            port,
            party: side.party(),
            class: self.class,
            remotes: remotes.collect(),
            active,
            mux,
            // Not even the first rank may be corrected while we cannot see who holds the key.
            learn: if is_sealed { Learn::Strict } else { config.learn },
            signalling_source: signalling_rank(address, config.sip_source).filter(|_| !is_sealed),
            accept: config.accept,
            send_to: config.send_to,
            payloads: Vec::new(),
            dscp: config.dscp,
            secure: self.our_keys(side, keys).map(Secure::Sdes),
            ice: None,
            voice: self.voice(side),
        }
    }

    /// Whether packets are encrypted with keys that only the two ends have.
    fn is_sealed(&self) -> bool {
        self.rules.is_sealed(self.offer) || self.answer.is_some_and(|answer| self.rules.is_sealed(answer))
    }

    fn ends_keys(&self) -> bool {
        keys::end_here(self.rules.offerer, self.rules.answerer)
    }

    /// The keys of both directions towards a side, once they are agreed.
    fn keys(&self, side: Side) -> Option<Agreed> {
        if !self.ends_keys() {
            return None;
        }
        match side == self.offerer {
            true => keys::offerer_keys(self.offer, self.told?),
            false => keys::answerer_keys(self.offered, self.answer?),
        }
    }

    /// What we encrypt with. A side that may still answer with a key is not taken for a plain one.
    fn our_keys(&self, side: Side, agreed: Option<Agreed>) -> Option<SdesKeys> {
        match agreed {
            Some(agreed) => Some(agreed.ours),
            None if side != self.offerer && self.answer.is_none() && self.ends_keys() => {
                keys::offered_keys(self.offered)
            }
            None => None,
        }
    }

    /// The codecs between which speech is converted.
    fn conversion(&self) -> Option<(Codec<'_>, Codec<'_>)> {
        codecs::conversion(self.offer, self.offered, self.answer?, self.told?, &self.rules)
    }

    /// From the offerer, and to it.
    fn transforms(&self) -> [Transform; 2] {
        if let (Some((near, far)), Some(answer)) = (self.conversion(), self.answer) {
            let time = |said: &Media<'_>, codec| codecs::packet_time(said, codec, self.rules.makeable);
            return [
                Transform::Transcode { to_payload: far.number, ptime_ms: time(answer, &far) },
                Transform::Transcode { to_payload: near.number, ptime_ms: time(self.offer, &near) },
            ];
        }
        [self.map_forth(), self.map_back()].map(|payload_map| Transform::Relay { payload_map, rewrite: None })
    }

    /// Digits, levels and echo of a side.
    fn voice(&self, side: Side) -> Voice {
        if !self.is_speech() || self.is_sealed() {
            return Voice::default();
        }
        let (config, other) = match side == self.offerer {
            true => (self.rules.offerer, self.rules.answerer),
            false => (self.rules.answerer, self.rules.offerer),
        };
        let agreed = if side == self.offerer { self.told } else { self.answer };
        let has_events = agreed.is_some_and(|media| media.codecs().iter().any(Codec::is_event));
        let towards = match config.digits {
            DigitsBy::Events => DigitsTowards::Events,
            DigitsBy::Tones => DigitsTowards::Tones,
            DigitsBy::Info => DigitsTowards::Nothing,
            // Events that this side has not negotiated exist only because the other one was asked for them.
            DigitsBy::Auto if other.digits == DigitsBy::Events && agreed.is_some() && !has_events => {
                DigitsTowards::Tones
            }
            DigitsBy::Auto => DigitsTowards::Auto,
        };
        let is_only_tones = config.digits == DigitsBy::Auto
            && matches!(other.digits, DigitsBy::Events | DigitsBy::Info)
            && agreed.is_some()
            && !has_events;
        Voice {
            digits: Digits {
                towards,
                listen_inband: config.digits == DigitsBy::Tones || is_only_tones,
                report: other.digits == DigitsBy::Info,
                block: config.block_digits,
            },
            echo_cancel: config.echo_cancel,
            seat: None,
            level_extension: agreed.and_then(codecs::level_extension),
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
        if !self.rules.can_renumber(self.offer, answer) {
            return Vec::new();
        }
        let (told, answered) = (told.codecs(), answer.codecs());
        let pairs = told.iter().filter_map(|from| Some((from.number, find_same(&answered, from)?.number)));
        pairs.filter(|(from, to)| from != to).collect()
    }

    /// The same for an answerer that sends its own numbers instead of the offer's, where they mean nothing else.
    fn map_back(&self) -> Vec<(u8, u8)> {
        let Some(answer) = self.answer else { return Vec::new() };
        if !self.rules.can_renumber(self.offer, answer) {
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
