//! Parties of a call that only speak (`publish`) or only hear (`subscribe request`, `subscribe answer`, `unsubscribe`).
//! Each has offers and answers with us alone; what one of them says or hears is laid beside what the others have agreed.
//! Opens no port: it says how many it needs.

mod compose; // SDPs that stand for the side that is not there

use crate::control::sources;
use crate::exchange::{Exchange, LineState, Place};
use crate::facts::{CallFacts, LineFacts, PartyFacts, Role};
use crate::failure::Failure;
use crate::options::{CodecOptions, Options, Transport};
use crate::request::{Command, Request};
use crate::source::MediaSource;
use crate::spec::SourceRule;
use crate::value::{Dict, Value};
use base::{Rng, Wall};
use command::spec::Audience;
use command::{
    BridgeSpec, EdgeSpec, MediaClass, Party, Phase, PortIndex, PortSpec, Remote, RemoteTag, Voice,
};
use core::net::SocketAddr;
use sdp::{Kind, Makeable, Sdp, Side};

/// All of one call. Most calls have none.
#[derive(Clone, Debug, Default)]
pub struct Subscriptions {
    publications: Vec<Watched>,
    subscriptions: Vec<Watched>,
}

/// A pair of ports that was opened for one m-line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenLine {
    /// Which.
    pub port: PortIndex,
    /// Where it is bound.
    pub local: SocketAddr,
    /// What SDPs say of it.
    pub place: Place,
    /// What its listener marks packets with, 0 to 63, if no request says.
    pub dscp: u8,
}

/// What the owner of the call lends for one request.
pub struct Helper<'a> {
    /// Now.
    pub wall: Wall,
    /// Makes the name of a new party in the bridge.
    pub new_party: &'a mut dyn FnMut() -> Party,
    /// Makes an exchange in which nothing is said yet.
    pub new_exchange: &'a mut dyn FnMut() -> Exchange,
    /// For tags that nobody gave.
    pub rng: &'a mut Rng,
    /// What a party of offers and answers has said last.
    pub said: &'a dyn Fn(Party) -> Option<Vec<u8>>,
    /// What can be decoded.
    pub makeable: &'a [Makeable],
}

/// Parties that publish or subscribe, of one call.
pub const WATCHED_MAX: usize = 64;

/// A party that talks with us alone: side A speaks, side B hears; one of them is us.
#[derive(Clone, Debug)]
struct Watched {
    party: Party,
    tag: Vec<u8>,
    label: Option<Vec<u8>>,
    created: Wall,
    exchange: Exchange,
    /// By m-line.
    lines: Vec<OpenLine>,
    /// By m-line: what it hears. Empty for who publishes.
    sources: Vec<Source>,
    /// What media does; empty until it has answered.
    states: Vec<LineState>,
    /// Where its media comes from.
    media: MediaSource,
    is_both_ways: bool,
}

/// A line of another party that is heard.
#[derive(Clone, Debug, PartialEq)]
struct Source {
    party: Party,
    tag: Vec<u8>,
    label: Option<Vec<u8>>,
    line: usize,
    kind: Kind,
    port: PortIndex,
    direction: &'static str,
}

impl Subscriptions {
    /// Whether this module does what the request asks.
    pub fn knows(command: Command) -> bool {
        matches!(
            command,
            Command::Publish | Command::SubscribeRequest | Command::SubscribeAnswer | Command::Unsubscribe
        )
    }

    /// Whether nobody publishes or subscribes.
    pub fn is_empty(&self) -> bool {
        self.publications.is_empty() && self.subscriptions.is_empty()
    }

    /// How many pairs of ports have to be opened before [`Subscriptions::handle`] can do what is asked. For `publish` they
    /// are those towards the sender, for `subscribe request` those towards the receiver.
    ///
    /// # Errors
    /// What cannot be done, whatever ports there are.
    pub fn ports_wanted(&self, request: &Request, facts: &CallFacts) -> Result<usize, Failure> {
        let (lines, known) = match request.command {
            Command::Publish => {
                let tag = named(request.from_tag.as_deref()).ok_or(Failure::NoFromTag)?;
                let known = self.publications.iter().find(|party| party.tag == tag);
                if known.is_none() && facts.tagged(tag).is_some() {
                    return Err(Failure::Media("The from-tag is that of a party that does not only publish"));
                }
                let sdp = request.sdp.as_deref().ok_or(Failure::NoSdp)?;
                (Exchange::lines_wanted(sdp)?, known)
            }
            Command::SubscribeRequest => {
                let tag = named(request.to_tag.as_deref());
                let known = self.subscriptions.iter().find(|party| Some(&*party.tag) == tag);
                if known.is_none() && tag.is_some_and(|tag| facts.tagged(tag).is_some()) {
                    return Err(Failure::Media("The to-tag is that of a party that does not only subscribe"));
                }
                (wanted(request, facts)?.len(), known)
            }
            _ => return Ok(0),
        };
        if known.is_none() && self.publications.len() + self.subscriptions.len() >= WATCHED_MAX {
            return Err(Failure::Media("Too many publications and subscriptions in one call"));
        }
        Ok(lines.saturating_sub(known.map_or(0, |known| known.lines.len())))
    }

    /// Does what a request asks; the spec is another one after it. `opened` are the ports that
    /// [`Subscriptions::ports_wanted`] has asked for. The reply has no `result` yet.
    ///
    /// # Errors
    /// Why it cannot be done; nothing has changed then, and the ports are nobody's.
    pub fn handle(
        &mut self,
        request: &Request,
        facts: &CallFacts,
        opened: &[OpenLine],
        helper: &mut Helper<'_>,
    ) -> Result<Dict, Failure> {
        match request.command {
            Command::Publish => self.publish(request, facts, opened, helper),
            Command::SubscribeRequest => self.request(request, facts, opened, helper),
            Command::SubscribeAnswer => self.answer(request),
            Command::Unsubscribe => self.end(request),
            _ => Err(Failure::UnsupportedCommand),
        }
    }

    fn publish(
        &mut self,
        request: &Request,
        facts: &CallFacts,
        opened: &[OpenLine],
        helper: &mut Helper<'_>,
    ) -> Result<Dict, Failure> {
        let tag = named(request.from_tag.as_deref()).ok_or(Failure::NoFromTag)?;
        let sdp = request.sdp.as_deref().ok_or(Failure::NoSdp)?;
        let at = self.publications.iter().position(|party| party.tag == tag);
        let known = at.map(|at| &self.publications[at]);
        let mut exchange = known.map_or_else(|| (helper.new_exchange)(), |known| known.exchange.clone());
        let lines: Vec<OpenLine> =
            known.iter().flat_map(|known| &known.lines).chain(opened).copied().collect();
        let places: Vec<Place> = lines.iter().map(|line| line.place).collect();
        let is_both_ways = request.options.selector.bidirectional;
        // The other side is us: keys and codecs are ours to choose.
        let options = Options {
            transport: Some(Transport::Rtp { secure: false, feedback: false }),
            codec: CodecOptions::default(),
            ..request.options.clone()
        };
        let told = exchange.offer(Side::A, sdp, &options, &places)?;
        let choice = compose::Choice {
            accept: &request.options.codec.accept,
            makeable: helper.makeable,
            is_both_ways,
        };
        let own = compose::answer(&told, &choice)?;
        let reply = exchange.answer(Side::B, &own, &Options { transport: None, ..options }, &places)?;
        let states = exchange.lines();
        let label = label_of(&request.options);
        let mut media = known.map(|known| known.media).unwrap_or_default();
        media.take(&request.options);
        match at {
            Some(at) => {
                let known = &mut self.publications[at];
                (known.exchange, known.lines, known.states) = (exchange, lines, states);
                (known.media, known.is_both_ways) = (media, is_both_ways);
                known.label = label.or(known.label.take());
            }
            None => self.publications.push(Watched {
                party: (helper.new_party)(),
                tag: tag.to_vec(),
                label,
                created: helper.wall,
                exchange,
                lines,
                sources: Vec::new(),
                states,
                media,
                is_both_ways,
            }),
        }
        let mut dict = Dict::new();
        dict.put("call-id", Value::text(facts.call_id.clone()));
        dict.put("from-tag", Value::text(tag));
        dict.put("sdp", Value::Text(reply));
        Ok(dict)
    }

    fn request(
        &mut self,
        request: &Request,
        facts: &CallFacts,
        opened: &[OpenLine],
        helper: &mut Helper<'_>,
    ) -> Result<Dict, Failure> {
        let sources = wanted(request, facts)?;
        let tag = match named(request.to_tag.as_deref()) {
            Some(tag) => tag.to_vec(),
            None => new_tag(helper.rng),
        };
        let at = self.subscriptions.iter().position(|party| party.tag == tag);
        let known = at.map(|at| &self.subscriptions[at]);
        let lines: Vec<OpenLine> =
            known.iter().flat_map(|known| &known.lines).chain(opened).copied().collect();
        if lines.len() < sources.len() {
            return Err(Failure::NoPorts);
        }
        let is_both_ways = request.options.selector.bidirectional;
        let texts: Vec<Vec<u8>> =
            sources.iter().map(|source| self.said(source.party, helper)).collect::<Result<_, _>>()?;
        let parsed: Vec<Sdp<'_>> = texts
            .iter()
            .map(|text| Sdp::parse(text))
            .collect::<Result<_, _>>()
            .map_err(|_| Failure::BadSdp)?;
        let lines_said: Vec<(&Sdp<'_>, usize)> =
            parsed.iter().zip(&sources).map(|(sdp, source)| (sdp, source.line)).collect();
        let is_one = sources.iter().all(|source| source.party == sources[0].party);
        let offered = compose::offer(&lines_said, is_one, is_both_ways, helper.rng.u64() >> 1)?;
        // A subscription that is asked for again begins anew.
        let mut exchange = (helper.new_exchange)();
        let places: Vec<Place> = lines.iter().map(|line| line.place).collect();
        let told = exchange.offer(Side::A, &offered, &request.options, &places)?;
        let selector = &request.options.selector;
        let label = selector.set_label.clone().or_else(|| selector.to_label.clone());
        let mut media = known.map(|known| known.media).unwrap_or_default();
        media.take(&request.options);
        let watched = Watched {
            party: known.map_or_else(|| (helper.new_party)(), |known| known.party),
            tag,
            label: label.or_else(|| known.and_then(|known| known.label.clone())),
            created: known.map_or(helper.wall, |known| known.created),
            exchange,
            lines,
            sources,
            states: Vec::new(),
            media,
            is_both_ways,
        };
        let dict = watched.reply(told);
        match at {
            Some(at) => self.subscriptions[at] = watched,
            None => self.subscriptions.push(watched),
        }
        Ok(dict)
    }

    /// What a party has said last.
    fn said(&self, party: Party, helper: &Helper<'_>) -> Result<Vec<u8>, Failure> {
        let published = self.publications.iter().find(|known| known.party == party);
        let said = match published {
            Some(published) => published.exchange.said(Side::A).map(<[u8]>::to_vec),
            None => (helper.said)(party),
        };
        said.ok_or(Failure::Media("The party has not said yet what it sends"))
    }

    fn answer(&mut self, request: &Request) -> Result<Dict, Failure> {
        let sdp = request.sdp.as_deref().ok_or(Failure::NoSdp)?;
        let at = self.find(request)?;
        let known = &mut self.subscriptions[at];
        let mut exchange = known.exchange.clone();
        // What we would tell the source is told to nobody.
        let places: Vec<Place> = known.lines.iter().map(|line| line.place).collect();
        exchange.answer(Side::B, sdp, &request.options, &places)?;
        known.states = exchange.lines();
        known.exchange = exchange;
        known.media.add(&request.options);
        Ok(Dict::new())
    }

    fn end(&mut self, request: &Request) -> Result<Dict, Failure> {
        let at = self.find(request)?;
        // Its ports stay open: a peer that still sends there must not be heard as another one.
        self.subscriptions.remove(at);
        Ok(Dict::new())
    }

    fn find(&self, request: &Request) -> Result<usize, Failure> {
        let tag = named(request.to_tag.as_deref()).ok_or(Failure::NoToTag)?;
        let at = self.subscriptions.iter().position(|party| party.tag == tag);
        at.ok_or(Failure::Media("To-tag not found"))
    }

    /// Ends what this tag publishes or subscribes to, for a `delete` of one tag; whether there was something. Who
    /// subscribed to it hears nothing more.
    pub fn delete(&mut self, tag: &[u8]) -> Option<Party> {
        let of = |list: &[Watched]| list.iter().position(|party| party.tag == tag);
        let gone = match (of(&self.publications), of(&self.subscriptions)) {
            (Some(at), _) => self.publications.remove(at),
            (None, Some(at)) => self.subscriptions.remove(at),
            (None, None) => return None,
        };
        Some(gone.party)
    }

    /// Parties that publish and subscribe, in the words of [`crate::facts`].
    pub fn parties(&self) -> impl Iterator<Item = PartyFacts> {
        let publish = self.publications.iter().map(|party| party.facts(Role::Publishes));
        publish.chain(self.subscriptions.iter().map(|party| party.facts(Role::Subscribes)))
    }

    /// Lays ports and edges of all of them over a spec that was made of what the others have agreed; before
    /// [`crate::control::Controls::apply`]. `rule` says whose packets are taken, `dscp` what all packets are
    /// marked with, where requests do not and do.
    pub fn apply(&self, rule: SourceRule, dscp: Option<u8>, spec: &mut BridgeSpec) {
        for published in &self.publications {
            published.add_ports(Side::A, rule, dscp, spec);
        }
        if !self.publications.is_empty() && spec.phase == Phase::Early {
            spec.phase = Phase::Active;
        }
        for subscribed in self.subscriptions.iter().filter(|known| !known.states.is_empty()) {
            subscribed.add_ports(Side::B, rule, dscp, spec);
            for ((source, line), state) in subscribed.open_lines() {
                let is_named = |port: PortIndex| spec.ports.iter().any(|spec| spec.port == port);
                if !is_named(source.port) || !is_named(line.port) {
                    continue;
                }
                let edge = |from, to, transform: &command::Transform| EdgeSpec {
                    from,
                    to,
                    transform: transform.clone(),
                    gain_centibel: 0,
                    audience: Audience::All,
                };
                let [there, back] = &state.transforms;
                let back = subscribed.is_both_ways.then(|| edge(line.port, source.port, back));
                spec.edges.push(edge(source.port, line.port, there));
                spec.edges.extend(back);
            }
        }
    }
}

impl Watched {
    /// What is heard, where, and what media has to do.
    fn open_lines(&self) -> impl Iterator<Item = ((&Source, &OpenLine), &LineState)> {
        let lines = self.sources.iter().zip(&self.lines).zip(&self.states);
        lines.filter(|(_, state)| !state.is_refused)
    }

    fn add_ports(&self, side: Side, rule: SourceRule, dscp: Option<u8>, spec: &mut BridgeSpec) {
        let tag = RemoteTag(u32::from(self.party.0));
        for (line, state) in self.lines.iter().zip(&self.states).filter(|(_, state)| !state.is_refused) {
            let said = &state.sides[side as usize];
            spec.ports.push(PortSpec {
                port: line.port,
                party: self.party,
                class: state.class,
                remotes: vec![Remote {
                    tag,
                    rtp: self.media.expected(said.rtp),
                    rtcp: self.media.expected(said.rtcp),
                    sends: said.sends,
                    receives: said.receives,
                    keys: said.keys.clone(),
                    sealed: said.is_sealed,
                }],
                active: Some(tag),
                mux: said.mux,
                learn: self.media.learn(said),
                signalling_source: self.media.signalling_rank(said),
                accept: self.media.accept(rule),
                send_to: self.media.send_to(),
                payloads: if state.class == MediaClass::Rtp { said.payloads.clone() } else { Vec::new() },
                dscp: dscp.unwrap_or(line.dscp),
                secure: said.secure.clone(),
                voice: Voice { digits: said.digits, ..Voice::default() },
                ..PortSpec::default()
            });
        }
    }

    fn facts(&self, role: Role) -> PartyFacts {
        let side = if role == Role::Publishes { Side::A } else { Side::B };
        let said = self.exchange.said(side).and_then(|text| Sdp::parse(text).ok());
        let media = |line: usize| said.as_ref().and_then(|sdp| sdp.media().get(line));
        let lines = self.lines.iter().enumerate().filter_map(|(number, line)| {
            let state = self.states.get(number);
            let kind = state.map(|state| state.kind).or(self.sources.get(number).map(|source| source.kind));
            Some(LineFacts {
                line: number,
                kind: kind.or(media(number).map(|media| media.kind()))?,
                protocol: media(number).map(|media| media.proto_text().to_vec()).unwrap_or_default(),
                port: line.port,
                local: line.local,
                advertised: line.place.address,
                is_refused: state.is_some_and(|state| state.is_refused),
                state: state.map(|state| state.sides[side as usize].clone()),
            })
        });
        let mut heard: Vec<Party> = self.sources.iter().map(|source| source.party).collect();
        heard.dedup();
        PartyFacts {
            party: self.party,
            tag: self.tag.clone(),
            via_branch: Vec::new(),
            label: self.label.clone(),
            created: self.created,
            role,
            peers: Vec::new(),
            sources: heard,
            address: said.as_ref().and_then(Sdp::first_address),
            lines: lines.collect(),
        }
    }

    /// The answer to the request that made it.
    fn reply(&self, told: Vec<u8>) -> Dict {
        let mut dict = Dict::new();
        dict.put("sdp", Value::Text(told));
        let mut by_party: Vec<(&Source, Vec<&Source>)> = Vec::new();
        for source in &self.sources {
            match by_party.iter_mut().find(|(first, _)| first.party == source.party) {
                Some((_, of_party)) => of_party.push(source),
                None => by_party.push((source, vec![source])),
            }
        }
        if let [(only, _)] = &by_party[..] {
            dict.put("from-tag", Value::text(only.tag.clone()));
        }
        let tags = by_party.iter().map(|(source, _)| source.tag.clone());
        dict.put("from-tags", Value::texts(tags));
        let tag_medias = by_party.iter().map(|(first, of_party)| {
            let mut entry = Dict::new();
            entry.put("tag", Value::text(first.tag.clone()));
            if let Some(label) = &first.label {
                entry.put("label", Value::text(label.clone()));
            }
            let medias = of_party.iter().map(|source| {
                let mut media = Dict::new();
                media.put("index", Value::count(source.line + 1));
                media.put("type", Value::text(source.kind.name()));
                media.put("mode", Value::text(source.direction));
                media.into()
            });
            entry.put("medias", Value::List(medias.collect()));
            entry.into()
        });
        dict.put("tag-medias", Value::List(tag_medias.collect()));
        dict.put("to-tag", Value::text(self.tag.clone()));
        dict
    }
}

/// The lines that a request wants to hear, each once.
fn wanted(request: &Request, facts: &CallFacts) -> Result<Vec<Source>, Failure> {
    let mut wanted: Vec<Source> = Vec::new();
    for party in sources(request, facts)? {
        for line in party.lines.iter().filter(|line| !line.is_refused) {
            let Some(state) = &line.state else { continue };
            if state.is_sealed {
                return Err(Failure::Media("Media whose keys pass through cannot be subscribed to"));
            }
            if wanted.iter().any(|known| known.party == party.party && known.line == line.line) {
                continue;
            }
            wanted.push(Source {
                party: party.party,
                tag: party.tag.clone(),
                label: party.label.clone(),
                line: line.line,
                kind: line.kind,
                port: line.port,
                direction: match (state.sends, state.receives) {
                    (true, true) => "sendrecv",
                    (true, false) => "sendonly",
                    (false, true) => "recvonly",
                    (false, false) => "inactive",
                },
            });
        }
    }
    match wanted.len() {
        0 => Err(Failure::Media("No medias found (no monologues matched)")),
        n if n > sdp::parse::MEDIA_MAX => Err(Failure::Media("Too many medias for one subscription")),
        _ => Ok(wanted),
    }
}

fn named(tag: Option<&[u8]>) -> Option<&[u8]> {
    tag.filter(|tag| !tag.is_empty())
}

fn label_of(options: &Options) -> Option<Vec<u8>> {
    options.selector.set_label.clone().or_else(|| options.selector.label.clone())
}

fn new_tag(rng: &mut Rng) -> Vec<u8> {
    let mut tag = Vec::with_capacity(32);
    rng.token(32, &mut tag);
    tag
}

/// See [`crate::fuzz::subscribe`].
pub(crate) fn fuzz(bytes: &[u8]) {
    const MAKEABLE: [Makeable; 1] =
        [Makeable { name: "PCMU", clock: 8_000, channels: 1, fmtp: "", number: 0, ptimes: &[20] }];
    let mut subscriptions = Subscriptions::default();
    let facts = |subscriptions: &Subscriptions| CallFacts {
        call_id: b"call".to_vec(),
        created: Wall(0),
        last_signal: Wall(0),
        parties: subscriptions.parties().collect(),
    };
    let (mut parties, mut ports) = (0, 0_u16);
    let mut rng = Rng::from_seed(1);
    let steps = [Command::Publish, Command::SubscribeRequest, Command::SubscribeAnswer];
    for command in steps.into_iter().chain(steps) {
        let request = Request {
            command,
            call_id: Some(b"call".to_vec()),
            from_tag: Some(b"P".to_vec()),
            to_tag: Some(b"S".to_vec()),
            via_branch: None,
            sdp: Some(bytes.to_vec()),
            options: Options::default(),
            unknown: Vec::new(),
        };
        let known = facts(&subscriptions);
        let Ok(wanted) = subscriptions.ports_wanted(&request, &known) else { continue };
        assert!(wanted <= sdp::parse::MEDIA_MAX);
        let opened: Vec<OpenLine> = (0..wanted)
            .map(|_| {
                ports += 2;
                let local = SocketAddr::new(core::net::IpAddr::from([127, 0, 0, 1]), 30_000 + ports);
                let place = Place { address: local.ip(), port: local.port() };
                OpenLine { port: PortIndex(ports / 2 - 1), local, place, dscp: 0 }
            })
            .collect();
        let mut new_party = || {
            parties += 1;
            Party(parties)
        };
        let keys = || sdp::crypto::KeySource::from_seed([1; 32]);
        let mut new_exchange = || Exchange::new(std::sync::Arc::from(MAKEABLE), keys(), 1);
        let mut helper = Helper {
            wall: Wall(0),
            new_party: &mut new_party,
            new_exchange: &mut new_exchange,
            rng: &mut rng,
            said: &|_| None,
            makeable: &MAKEABLE,
        };
        match subscriptions.handle(&request, &known, &opened, &mut helper) {
            Ok(dict) => {
                let told = dict.get("sdp").and_then(Value::as_text);
                assert!(told.is_none_or(|told| Sdp::parse(told).is_ok()), "what is told can be read");
            }
            Err(_) => assert_eq!(facts(&subscriptions), known, "what fails changes nothing"),
        }
        let mut spec = BridgeSpec::default();
        subscriptions.apply(SourceRule::Locked, None, &mut spec);
        let is_named = |port: PortIndex| spec.ports.iter().any(|spec| spec.port == port);
        assert!(spec.edges.iter().all(|edge| is_named(edge.from) && is_named(edge.to)));
    }
}

#[cfg(test)]
mod tests;
