//! Offers and answers of one two-sided call: what each side is told, and the [`BridgeSpec`] that follows. Passes SDP
//! between the sides and never invents media of its own. RFC 3264, RFC 6337, RFC 4145; media.md "Offers, answers, codecs".

pub mod config; // what holds for a call and its sides
pub mod policy; // which codecs are offered and told
mod codecs; // audio formats of an m-line, and what is converted
mod keys; // SDES towards each side
mod passage; // what becomes of each m-line
mod spec; // the BridgeSpec that follows
mod unacceptable; // why an SDP cannot be passed on

pub use config::{DigitsBy, NegotiationConfig, SideConfig, Srtp, Transcode};
pub use policy::{AvoidTranscoding, CodecPolicy, Makeable};
pub use unacceptable::{Unacceptable, WhyNot};

use crate::crypto::KeySource;
use crate::edit::{self, Edit, LineEdit, OriginEdit};
use crate::parse::{Direction, Kind, Sdp, SdpError};
use crate::reveal::Names;
use codecs::Rules;
use command::{BridgeSpec, Party, PortIndex, RemoteTag};
use core::net::{IpAddr, SocketAddr};
use passage::{Before, Ours};

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
#[derive(Debug)]
pub struct Negotiation {
    config: NegotiationConfig,
    /// Where keys of ours come from; needed where encryption ends here.
    keys: Option<Box<KeySource>>,
    /// By m-line; an index that has a port keeps it.
    ports: [Vec<(PortIndex, u16)>; 2],
    /// The version of the last SDP that was written for each side, also of one that was refused.
    versions: [u64; 2],
    /// The name of each side's remote in the spec.
    tags: [RemoteTag; 2],
    agreed: Option<Exchange>,
    pending: Option<Exchange>,
    is_early_open: bool,
    is_answered: bool,
}

/// One offer and its answers. The text is kept, not what it means: it is the smallest form, and all of it is needed
/// again to repeat, to compare and to roll back.
#[derive(Clone, Debug)]
struct Exchange {
    offerer: Side,
    /// As the offerer said it.
    offer: Box<[u8]>,
    /// As the other side was told it.
    offered: Box<[u8]>,
    /// As the other side answered it, by fork, in order of arrival.
    forks: Vec<Fork>,
    active: Option<RemoteTag>,
    /// As the offerer was told it: once, whoever answers later.
    answer: Option<Box<[u8]>>,
}

#[derive(Clone, Debug)]
struct Fork {
    tag: RemoteTag,
    sdp: Box<[u8]>,
    /// Wants other media than the offerer was told.
    is_other: bool,
}

impl Exchange {
    fn said(&self, by: Side) -> Option<&[u8]> {
        if by == self.offerer {
            return Some(&self.offer);
        }
        self.forks.iter().find(|fork| Some(fork.tag) == self.active).map(|fork| &*fork.sdp)
    }

    fn told(&self, to: Side) -> Option<&[u8]> {
        if to == self.offerer { self.answer.as_deref() } else { Some(&self.offered) }
    }

    /// Takes a fork's answer and makes it the active one; false if nothing is new.
    fn activate(&mut self, tag: RemoteTag, sdp: &[u8], is_other: bool) -> bool {
        let was_active = self.active.replace(tag) == Some(tag);
        match self.forks.iter_mut().find(|fork| fork.tag == tag) {
            Some(fork) if *fork.sdp == *sdp => return !was_active,
            Some(fork) => *fork = Fork { tag, sdp: sdp.into(), is_other },
            None => {
                // One that was forgotten comes back with its final answer.
                if self.forks.len() == FORKS_MAX {
                    self.forks.remove(0);
                }
                self.forks.push(Fork { tag, sdp: sdp.into(), is_other });
            }
        }
        true
    }
}

impl Negotiation {
    /// Nothing offered yet.
    pub fn new(config: NegotiationConfig) -> Self {
        Negotiation {
            config,
            keys: None,
            ports: [Vec::new(), Vec::new()],
            versions: [0; 2],
            tags: [RemoteTag::default(); 2],
            agreed: None,
            pending: None,
            is_early_open: false,
            is_answered: false,
        }
    }

    /// Where keys come from; needed where a side has [`SideConfig::srtp`].
    pub fn set_keys(&mut self, keys: KeySource) {
        self.keys = Some(Box::new(keys));
    }

    /// Our address in the SDP that `side` gets.
    pub fn set_local(&mut self, side: Side, address: IpAddr) {
        self.config.side_mut(side).address = Some(address);
    }

    /// Replaces what holds towards a side, such as for the next target of a failover, and forgets its ports if
    /// `forget_ports` (they stay open at the shard, unnamed by the spec).
    pub fn set_side(&mut self, side: Side, config: SideConfig, forget_ports: bool) {
        *self.config.side_mut(side) = config;
        if forget_ports {
            self.ports[side as usize].clear();
        }
    }

    /// How many port pairs each side must have open so that this offer can be passed.
    ///
    /// # Errors
    /// The SDP is malformed.
    pub fn lines_wanted(&self, offer: &[u8]) -> Result<usize, SdpError> {
        let offer = Sdp::parse(offer)?;
        let lines = &offer.media()[..offer.media().len().min(self.config.lines_max)];
        Ok(lines.iter().rposition(|media| passage::class(media).is_some()).map_or(0, |last| last + 1))
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
        if self.pending.is_some() {
            return Err(Unacceptable::OfferPending);
        }
        let offer = Sdp::parse(sdp)?;
        self.check_addresses(from, &offer)?;
        let offered = self.write_offer(from, &offer)?;
        self.pending = Some(Exchange {
            offerer: from,
            offer: sdp.into(),
            offered: offered.clone().into(),
            forks: Vec::new(),
            active: None,
            answer: None,
        });
        Ok(offered)
    }

    /// Writes the pending offer anew for the next target of the other side (serial failover): earlier answers are
    /// forgotten, but what the offerer has been told stays told.
    ///
    /// # Errors
    /// See [`Unacceptable`]; nothing has changed then.
    pub fn offer_again(&mut self) -> Result<Vec<u8>, Unacceptable> {
        let mut exchange = self.pending.clone().ok_or(Unacceptable::NoOffer)?;
        let offer = Sdp::parse(&exchange.offer)?;
        let offered = self.write_offer(exchange.offerer, &offer)?;
        exchange.offered = offered.clone().into();
        exchange.forks.clear();
        exchange.active = None;
        self.pending = Some(exchange);
        Ok(offered)
    }

    /// Takes an answer, provisional or final, to the pending offer; forks have different tags. Also takes a repeated
    /// answer, or one of another fork, after [`Negotiation::commit`]. A side that never forks (A) has
    /// `RemoteTag::default()`, always.
    ///
    /// # Errors
    /// See [`Unacceptable`]; nothing has changed then.
    pub fn answer(&mut self, from: Side, tag: RemoteTag, sdp: &[u8]) -> Result<Answered, Unacceptable> {
        let (is_pending, exchange) = match (&self.pending, &self.agreed) {
            (Some(pending), _) => (true, pending),
            (None, Some(agreed)) => (false, agreed),
            (None, None) => return Err(Unacceptable::NoOffer),
        };
        if exchange.offerer == from {
            return Err(Unacceptable::NoOffer);
        }
        let answer = Sdp::parse(sdp)?;
        self.check_addresses(from, &answer)?;
        let mut keys = self.keys.take();
        let written = self.write_answer(exchange, &answer, keys.as_deref_mut());
        let told = written.map(|(fresh, version)| match &exchange.answer {
            Some(told) => {
                let is_other = self.is_other_media(exchange, told, &fresh, &answer);
                (told.to_vec(), is_other, None)
            }
            None => (fresh, false, Some(version)),
        });
        self.keys = keys;
        let (told, is_other, version) = told?;
        if let Some(version) = version {
            self.versions[from.other() as usize] = version;
        }
        let exchange = if is_pending { &mut self.pending } else { &mut self.agreed };
        let exchange = exchange.as_mut().expect("it was there above");
        let changed = exchange.activate(tag, sdp, is_other);
        if exchange.answer.is_none() {
            exchange.answer = Some(told.clone().into());
        }
        if !is_pending {
            self.tags[from as usize] = tag;
        }
        Ok(Answered { sdp: told, changed, reoffer: is_other })
    }

    /// The final answer has come (2xx, or the PRACK of a reliable provisional): its fork becomes the active one, the
    /// others are forgotten, the exchange is agreed. True if the offerer needs a re-INVITE (see [`Answered::reoffer`]).
    ///
    /// # Errors
    /// [`Unacceptable::NoOffer`] if that fork has not answered.
    pub fn commit(&mut self, tag: RemoteTag) -> Result<bool, Unacceptable> {
        let is_pending = self.pending.is_some();
        let exchange = if is_pending { &mut self.pending } else { &mut self.agreed };
        let exchange = exchange.as_mut().ok_or(Unacceptable::NoOffer)?;
        let fork = exchange.forks.iter().find(|fork| fork.tag == tag).ok_or(Unacceptable::NoOffer)?;
        let is_other = fork.is_other;
        exchange.active = Some(tag);
        exchange.forks.retain(|fork| fork.tag == tag);
        exchange.forks.shrink_to_fit();
        self.tags[exchange.offerer.other() as usize] = tag;
        if is_pending {
            self.agreed = self.pending.take();
        }
        Ok(is_other)
    }

    /// The pending offer was refused: what was agreed before holds, unchanged.
    pub fn rollback(&mut self) {
        self.pending = None;
    }

    /// Whether an offer waits for [`Negotiation::commit`], and whose it is.
    pub fn pending(&self) -> Option<Side> {
        self.pending.as_ref().map(|pending| pending.offerer)
    }

    /// Early media may flow: A has got an SDP.
    pub fn open_early(&mut self) {
        self.is_early_open = true;
    }

    /// The call is answered: the clocks of silence run.
    pub fn answered(&mut self) {
        self.is_answered = true;
    }

    /// The whole wanted state.
    pub fn spec(&self) -> BridgeSpec {
        spec::build(self)
    }

    /// The port that a side's speech goes through, that of its first live audio line, and whether it has
    /// `telephone-event`.
    pub fn speech_port(&self, side: Side) -> Option<(PortIndex, bool)> {
        let spec = self.spec();
        let has_events = |port: PortIndex| {
            let port = spec.ports.iter().find(|spec| spec.port == port);
            port.is_some_and(|port| port.payloads.iter().any(|p| p.encoding == "telephone-event"))
        };
        let lines = spec::audio_lines(self);
        let port = lines.iter().find_map(|index| self.ports[side as usize].get(*index));
        port.map(|(port, _)| (*port, has_events(*port)))
    }

    /// Whether a side wants its keys made here, and nobody has said yet where they come from.
    pub fn wants_keys(&self) -> bool {
        self.keys.is_none() && keys::end_here(&self.config.a, &self.config.b)
    }

    /// Why the speech of this call cannot be decoded and encoded here, so that nothing can be played, recorded or mixed;
    /// `None` if it can, for every audio line.
    pub fn why_not_open(&self) -> Option<WhyNot> {
        spec::why_not_open(self)
    }

    /// Whether this offer only repeats what `from` said last (a session refresh): then [`Negotiation::last_sent`] to it
    /// is a valid answer, and the other side need not be asked. The o= line may differ: some count it up regardless.
    pub fn same_as_last(&self, from: Side, sdp: &[u8]) -> bool {
        let Some(agreed) = self.agreed.as_ref().filter(|_| self.pending.is_none()) else { return false };
        let (Some(said), Some(told)) = (agreed.said(from), agreed.told(from)) else { return false };
        let (Ok(now), Ok(before), Ok(told)) = (Sdp::parse(sdp), Sdp::parse(said), Sdp::parse(told)) else {
            return false;
        };
        let is_same = without_origin(&now).eq(without_origin(&before));
        // An answer holds one key; what was told as an offer may hold several (RFC 4568 section 5.1.2).
        let has_crypto = now.media().iter().any(|media| media.has_crypto());
        let answers =
            now.media().iter().zip(told.media()).all(|(now, told)| {
                now.port() == 0 || told.port() == 0 || passage::answers_direction(now, told)
            });
        is_same && answers && (!has_crypto || from == agreed.offerer)
    }

    /// The SDP that a side was told last and that holds; `None` before.
    pub fn last_sent(&self, to: Side) -> Option<&[u8]> {
        self.holding()?.told(to)
    }

    /// The SDP that a side said last and that holds; `None` before.
    pub fn said(&self, by: Side) -> Option<&[u8]> {
        self.holding()?.said(by)
    }

    /// Its m-lines as one side sees them.
    pub fn describe(&self, side: Side) -> Vec<LineView> {
        let Some(exchange) = self.holding() else { return Vec::new() };
        let (own, other) = (exchange.said(side), exchange.said(side.other()));
        let told = exchange.told(side);
        // Without an answer from this side there is what it was offered.
        let text = own.or(told);
        let Some(shown) = read(text) else { return Vec::new() };
        let (told, other) = (read(told), read(other));
        let line = |(index, media): (usize, &crate::parse::Media<'_>)| {
            let far = other.as_ref().and_then(|sdp| sdp.media().get(index));
            let told = told.as_ref().and_then(|sdp| sdp.media().get(index));
            // The narrower of both: what was agreed.
            let agreed = if exchange.offerer == side { told.unwrap_or(media) } else { media };
            let flows = far.map_or(Direction::SendRecv, |far| far.effective_direction().reversed());
            LineView {
                index,
                kind: media.kind(),
                refused: media.port() == 0 || told.is_some_and(|told| told.port() == 0),
                codecs: agreed
                    .codecs()
                    .iter()
                    .map(|codec| format!("{}/{}", codec.name, codec.clock))
                    .collect(),
                direction: media.effective_direction().and(flows),
                remote: own.and(media.rtp()),
            }
        };
        shown.media().iter().enumerate().map(line).collect()
    }

    /// The exchange that media follows: what is agreed, before that what is on the way.
    fn holding(&self) -> Option<&Exchange> {
        self.agreed.as_ref().or(self.pending.as_ref())
    }

    fn check_addresses(&self, from: Side, sdp: &Sdp<'_>) -> Result<(), Unacceptable> {
        let ours = Ours {
            addresses: [self.config.a.address, self.config.b.address],
            ports: self.ports.iter().flatten().map(|(_, port)| *port).collect(),
        };
        passage::check_addresses(sdp, self.config.side(from).address, &ours)
    }

    /// The rules of an exchange that this side began.
    fn rules(&self, offerer: Side) -> Rules<'_> {
        Rules {
            offerer: self.config.side(offerer),
            answerer: self.config.side(offerer.other()),
            makeable: &self.config.makeable,
            policy: self.config.policy,
        }
    }

    fn write_offer(&mut self, from: Side, offer: &Sdp<'_>) -> Result<Vec<u8>, Unacceptable> {
        let to = from.other();
        let mut keys = self.keys.take();
        let edits = self.with_before(to, |before| {
            let (ports, lines_max) = (self.port_numbers(to), self.config.lines_max);
            passage::offer_edits(offer, &ports, lines_max, &self.rules(from), before, keys.as_deref_mut())
        });
        self.keys = keys;
        let edits = edits?;
        let mut out = Vec::new();
        let version = self.write(to, offer, &edits, &mut out)?;
        self.versions[to as usize] = version;
        Ok(out)
    }

    /// Reads again what was agreed with a side before.
    fn with_before<T>(&self, side: Side, then: impl FnOnce(Option<Before<'_, '_>>) -> T) -> T {
        let agreed = self.agreed.as_ref();
        let told = read(agreed.and_then(|agreed| agreed.told(side)));
        let said = read(agreed.and_then(|agreed| agreed.said(side)));
        let offered = agreed.is_some_and(|agreed| agreed.offerer == side);
        then(told.as_ref().map(|told| Before { told, said: said.as_ref(), offered }))
    }

    /// The SDP for the offerer, and its version.
    fn write_answer(
        &self,
        exchange: &Exchange,
        answer: &Sdp<'_>,
        keys: Option<&mut KeySource>,
    ) -> Result<(Vec<u8>, u64), Unacceptable> {
        let to = exchange.offerer;
        let (offer, offered) = (Sdp::parse(&exchange.offer)?, Sdp::parse(&exchange.offered)?);
        let told = read(exchange.answer.as_deref());
        let edits = self.with_before(to, |before| {
            let (ports, rules) = (self.port_numbers(to), self.rules(to));
            passage::answer_edits(&offer, &offered, answer, told.as_ref(), &ports, &rules, before, keys)
        })?;
        // An answer has as many m-lines as its offer (RFC 3264 section 6); some forget refused ones.
        let missing = offer.media().get(edits.len()..).unwrap_or_default();
        let mut out = Vec::new();
        let version = self.write_with(to, answer, &edits, &mut out, |address, out| {
            let names = Names::of(&offer);
            missing.iter().for_each(|media| edit::write_refused(media, address, &names, out));
        })?;
        Ok((out, version))
    }

    fn write(
        &self,
        to: Side,
        sdp: &Sdp<'_>,
        edits: &[LineEdit],
        out: &mut Vec<u8>,
    ) -> Result<u64, Unacceptable> {
        self.write_with(to, sdp, edits, out, |_, _| {})
    }

    /// Writes an SDP for a side and gives its version: the last one's if nothing but the version would differ
    /// (RFC 3264 section 8).
    fn write_with(
        &self,
        to: Side,
        sdp: &Sdp<'_>,
        edits: &[LineEdit],
        out: &mut Vec<u8>,
        append: impl FnOnce(IpAddr, &mut Vec<u8>),
    ) -> Result<u64, Unacceptable> {
        let config = self.config.side(to);
        let address = config.address.ok_or(Unacceptable::NoPorts)?;
        let version = self.versions[to as usize] + 1;
        let origin = OriginEdit { username: &config.username, session_id: config.session_id, version };
        edit::write(sdp, &Edit { origin, address, lines: edits }, out);
        append(address, out);
        let last = self.agreed.as_ref().and_then(|agreed| agreed.told(to));
        if let Some(last) = last
            && after_version(last) == after_version(out)
        {
            out.clear();
            out.extend_from_slice(last);
            return Ok(self.versions[to as usize]);
        }
        Ok(version)
    }

    fn is_other_media(&self, exchange: &Exchange, told: &[u8], fresh: &[u8], answer: &Sdp<'_>) -> bool {
        let texts = [&exchange.offer, &exchange.offered, told, fresh].map(|text| Sdp::parse(text).ok());
        let [Some(offer), Some(offered), Some(told), Some(fresh)] = texts else { return true };
        passage::is_other_media((&offer, &offered), &told, &fresh, answer, &self.rules(exchange.offerer))
    }

    fn port_numbers(&self, side: Side) -> Vec<u16> {
        self.ports[side as usize].iter().map(|(_, port)| *port).collect()
    }
}

fn read(text: Option<&[u8]>) -> Option<Sdp<'_>> {
    Sdp::parse(text?).ok()
}

/// All lines but o=.
fn without_origin<'a>(sdp: &Sdp<'a>) -> impl Iterator<Item = &'a [u8]> {
    let media: Vec<&[u8]> =
        sdp.media().iter().flat_map(|media| media.lines()).map(|line| line.text).collect();
    sdp.session_lines().filter(|line| line.letter != b'o').map(|line| line.text).chain(media)
}

/// An SDP of ours from the address of its o= line on, so that two can be compared without their versions.
fn after_version(text: &[u8]) -> &[u8] {
    memchr::memmem::find(text, b" IN IP").map_or(text, |at| &text[at..])
}

/// Forks that are followed at a time.
const FORKS_MAX: usize = 8;
