//! Offers and answers between two parties of an NG call: reads what one says, writes what the other is told in
//! rtpengine's way (the whole SDP anew, in its order), and says what media has to do in between. Opens no port, knows no
//! call. RFC 3264, 4566, 4568, 5761; `reference/rtpengine.md` sections 2.4 and 1.2.

mod codecs; // which payload types a side is offered and told
pub mod fuzz; // entry for fuzzers
mod keys; // SDES towards each side
mod line; // one m-line: what was said, told and agreed, and what media does about it
mod origin; // the o= and s= lines
mod said; // what an SDP says, owned
mod state; // what media does about an m-line
mod write; // the SDP anew, in rtpengine's order

use crate::failure::Failure;
use crate::options::{Ice, Options, Transport};
use command::spec::Secure;
use command::{Digits, MediaClass, Payload, RtcpMux, SdesKeys, Transform};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use line::{Answering, Line, Offering};
use origin::Origins;
use sdp::crypto::KeySource;
use sdp::{Kind, Makeable, Media, Sdp, SdpError, Side};
use std::cell::RefCell;
use std::sync::Arc;
use write::{Head, LivePart, Part};

/// A pair of ports of ours, as the SDP names it: RTP here, RTCP one above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The address that the receiver of the SDP sends to.
    pub address: IpAddr,
    /// Even.
    pub port: u16,
}

/// What became of one m-line.
#[derive(Clone, Debug, PartialEq)]
pub struct LineState {
    /// Its kind.
    pub kind: Kind,
    /// How its packets are told apart.
    pub class: MediaClass,
    /// Port 0 on either side, or left out: nothing passes.
    pub is_refused: bool,
    /// The two sides, in the order of [`sdp::Side`].
    pub sides: [SideState; 2],
    /// What happens to media from A, and from B.
    pub transforms: [Transform; 2],
}

/// One side of an m-line, as far as it is known.
#[derive(Clone, Debug, PartialEq)]
pub struct SideState {
    /// Where its SDP wants RTP; `None` if it has said nothing yet, or 0.0.0.0.
    pub rtp: Option<SocketAddr>,
    /// Where it wants RTCP.
    pub rtcp: Option<SocketAddr>,
    /// Its SDP says that it sends.
    pub sends: bool,
    /// Its SDP says that it receives.
    pub receives: bool,
    /// Where RTCP lives on this side.
    pub mux: RtcpMux,
    /// Payload types as this side numbers them.
    pub payloads: Vec<Payload>,
    /// What we encrypt with towards it, where keys end here.
    pub secure: Option<Secure>,
    /// What it encrypts with, where keys end here.
    pub keys: Option<SdesKeys>,
    /// Keys pass through: only headers are looked at.
    pub is_sealed: bool,
    /// Digits towards it and from it.
    pub digits: Digits,
}

/// The media agreement of two parties of an NG call.
#[derive(Clone, Debug)]
pub struct Exchange {
    makeable: Arc<[Makeable]>,
    keys: Keys,
    session_id: u64,
    /// As each side said it last.
    said: [Option<Arc<[u8]>>; 2],
    /// As each side was told it last, to see whether anything changes.
    told: [Option<Arc<[u8]>>; 2],
    origins: [Origins; 2],
    lines: Vec<Line>,
    /// What the last message of each side wanted: half of an offer is due when the answer comes.
    asked: [Arc<Options>; 2],
}

/// A source of keys that is never shared: a copy goes on with keys of its own.
#[derive(Debug)]
struct Keys(RefCell<KeySource>);

impl Clone for Keys {
    fn clone(&self) -> Self {
        Keys(RefCell::new(self.0.borrow_mut().fork()))
    }
}

impl Exchange {
    /// Nothing said yet. `makeable` is what can be converted, `session_id` marks SDP of ours where that is asked for.
    pub fn new(makeable: Arc<[Makeable]>, keys: KeySource, session_id: u64) -> Self {
        Exchange {
            makeable,
            keys: Keys(RefCell::new(keys)),
            session_id,
            said: [None, None],
            told: [None, None],
            origins: Default::default(),
            lines: Vec::new(),
            asked: Default::default(),
        }
    }

    /// How many m-lines an SDP has, 1 to 32.
    ///
    /// # Errors
    /// [`Failure::BadSdp`], [`Failure::IncompleteSdp`].
    pub fn lines_wanted(sdp: &[u8]) -> Result<usize, Failure> {
        Ok(read(sdp)?.media().len())
    }

    /// Takes an offer of one side and gives the SDP for the other. `places` are ours towards the other side, by line (as
    /// in [`Exchange::lines`]).
    ///
    /// # Errors
    /// Why it cannot be passed on; nothing has changed then.
    pub fn offer(
        &mut self,
        from: Side,
        sdp: &[u8],
        options: &Options,
        places: &[Place],
    ) -> Result<Vec<u8>, Failure> {
        check(options)?;
        let offer = read(sdp)?;
        if options.sdp.loop_protect && self.is_marked(&offer) {
            return Ok(sdp.to_vec());
        }
        let mut lines = self.lines.clone();
        let mut keys = self.keys.0.borrow_mut();
        let mut seen: Vec<usize> = (0..lines.len()).filter(|index| lines[*index].is_seen_by(from)).collect();
        for (place, media) in offer.media().iter().enumerate() {
            let index = *seen.get(place).unwrap_or(&lines.len());
            if index == lines.len() {
                if index == LINES_MAX {
                    return Err(Failure::IncompleteSdp);
                }
                lines.push(Line::new(media.kind()));
                seen.push(index);
            }
            let by = Offering { from, options, makeable: &self.makeable };
            lines[index].offer(media, &by, &mut keys)?;
        }
        // What a later offer leaves out is refused by it.
        for index in &seen[offer.media().len()..] {
            lines[*index].withdraw(from);
        }
        drop(keys);
        if lines.iter().all(Line::is_dead) && offer.media().iter().any(|media| media.needs_dtls()) {
            return Err(Failure::Transport);
        }
        let told = self.tell(from.other(), &offer, &lines, options, places)?;
        Ok(self.commit(from, sdp, options, lines, told))
    }

    /// Takes an answer of one side to what it was offered and gives the SDP for the offerer. Several answers are normal:
    /// each replaces the last. `places` are ours towards the offerer, by line.
    ///
    /// # Errors
    /// Why it cannot be passed on; nothing has changed then. [`Failure::Dialogue`] if nothing was offered.
    pub fn answer(
        &mut self,
        from: Side,
        sdp: &[u8],
        options: &Options,
        places: &[Place],
    ) -> Result<Vec<u8>, Failure> {
        check(options)?;
        let answer = read(sdp)?;
        if options.sdp.loop_protect && self.is_marked(&answer) {
            return Ok(sdp.to_vec());
        }
        if self.said[from.other() as usize].is_none() {
            return Err(Failure::Dialogue);
        }
        let mut lines = self.lines.clone();
        let mut keys = self.keys.0.borrow_mut();
        let asked = &self.asked[from.other() as usize];
        let by = Answering { from, options, asked, makeable: &self.makeable };
        for (place, line) in lines.iter_mut().filter(|line| line.is_seen_by(from)).enumerate() {
            line.answer(answer.media().get(place), &by, &mut keys)?;
        }
        drop(keys);
        let told = self.tell(from.other(), &answer, &lines, options, places)?;
        Ok(self.commit(from, sdp, options, lines, told))
    }

    /// By m-line: what media has to know.
    pub fn lines(&self) -> Vec<LineState> {
        let asked = [&*self.asked[0], &*self.asked[1]];
        self.lines.iter().map(|line| line.state(asked, &self.makeable)).collect()
    }

    /// Whether no line passes media both ways although some are there.
    pub fn is_held(&self) -> bool {
        let mut live = self.lines.iter().filter(|line| !line.is_dead()).peekable();
        live.peek().is_some() && !live.any(Line::is_both_ways)
    }

    /// The SDP that a side said last.
    pub fn said(&self, side: Side) -> Option<&[u8]> {
        self.said[side as usize].as_deref()
    }

    /// Writes what a side is told of its other side's SDP.
    fn tell(
        &self,
        to: Side,
        source: &Sdp<'_>,
        lines: &[Line],
        options: &Options,
        places: &[Place],
    ) -> Result<Written, Failure> {
        let from = to.other();
        // Lines that the source does not have are written as the receiver knows them.
        let own = self.said[to as usize].as_deref().and_then(|text| Sdp::parse(text).ok());
        let (mut in_source, mut in_own) = (source.media().iter(), own.iter().flat_map(|own| own.media()));
        let mut parts = Vec::with_capacity(lines.len());
        let mut ours = options.media_address;
        for (index, line) in lines.iter().enumerate() {
            let media = line.is_seen_by(from).then(|| in_source.next()).flatten();
            let known = line.is_seen_by(to).then(|| in_own.next()).flatten();
            let Some(told) = line.told[to as usize].as_ref().filter(|_| line.is_seen_by(to)) else {
                let refused = known.filter(|_| line.is_seen_by(to));
                parts.extend(refused.map(|known| Part::Refused(known, said::Profile::Foreign, None)));
                continue;
            };
            let mid = known.and_then(Media::mid);
            let part = match (media, known) {
                (Some(media), _) if told.is_refused => Part::Refused(media, told.profile, mid),
                (Some(media), _) => {
                    let place = places.get(index).ok_or(Failure::NoPorts)?;
                    ours = ours.or(Some(place.address));
                    Part::Live(media, self.live(told, *place, options, (index, mid)))
                }
                (None, Some(known)) => Part::Refused(known, told.profile, mid),
                (None, None) => continue,
            };
            parts.push(part);
        }
        if parts.is_empty() {
            return Err(Failure::Rewrite);
        }
        let ours = ours.or(places.first().map(|place| place.address));
        let ours = ours.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let before = &self.origins[to as usize];
        let (mut origin, name, mut origins) = before.next(source, ours, &options.sdp);
        let mark = options.sdp.loop_protect.then_some(self.session_id & MARK);
        let write =
            |origin: &_| write::write(source, &Head { origin, name: &name, mark }, &parts, &options.sdp);
        let mut text = write(&origin);
        let how = &options.sdp;
        if how.replace_version || how.force_version || how.replace_origin_full {
            let last = self.told[to as usize].as_deref();
            if options.sdp.force_version || last != Some(&*text) {
                origins.count(&mut origin, last.is_none());
                text = write(&origin);
            }
        }
        Ok(Written { text, origins })
    }

    /// What is said of one live m-line.
    fn live<'l>(
        &self,
        told: &'l line::Told,
        place: Place,
        options: &Options,
        (index, mid): (usize, Option<&[u8]>),
    ) -> LivePart<'l> {
        let address = options.media_address.unwrap_or(place.address);
        let none = if address.is_ipv4() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        } else {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        };
        let rtcp = if told.is_muxed { place.port } else { place.port.saturating_add(1) };
        let made = || options.sdp.generate_mid.then(|| (index + 1).to_string().into_bytes());
        let has_rtcp = told.profile.is_rtp() && !options.sdp.no_rtcp;
        LivePart {
            address: if told.is_zero { none } else { address },
            port: place.port,
            profile: told.profile,
            formats: &told.formats,
            crypto: &told.crypto,
            direction: told.direction,
            rtcp: has_rtcp.then_some((rtcp, options.sdp.full_rtcp)),
            mux: told.mux,
            ptime: told.ptime,
            maxptime: told.maxptime,
            ends_extensions: told.ends_extensions,
            mid: mid.map(<[u8]>::to_vec).or_else(made),
            pad: options.sdes.pad,
            lifetime: options.sdes.lifetime,
        }
    }

    /// Takes what has succeeded.
    fn commit(
        &mut self,
        from: Side,
        sdp: &[u8],
        options: &Options,
        lines: Vec<Line>,
        written: Written,
    ) -> Vec<u8> {
        let to = from.other() as usize;
        self.lines = lines;
        self.asked[from as usize] = Arc::new(options.clone());
        self.said[from as usize] = Some(sdp.into());
        self.told[to] = Some(written.text.as_slice().into());
        self.origins[to] = written.origins;
        written.text
    }

    /// Whether an SDP carries the mark of one of ours.
    fn is_marked(&self, sdp: &Sdp<'_>) -> bool {
        let mark = format!("{:012x}", self.session_id & MARK);
        sdp.attribute("rtpengine").is_some_and(|value| value == mark.as_bytes())
    }
}

/// An SDP to tell, with what is to be kept if it is told.
struct Written {
    text: Vec<u8>,
    origins: Origins,
}

fn read(sdp: &[u8]) -> Result<Sdp<'_>, Failure> {
    let sdp = Sdp::parse(sdp).map_err(|error| match error {
        SdpError::NoConnection => Failure::IncompleteSdp,
        _ => Failure::BadSdp,
    })?;
    if sdp.media().is_empty() { Err(Failure::IncompleteSdp) } else { Ok(sdp) }
}

/// What is not there.
fn check(options: &Options) -> Result<(), Failure> {
    let is_missing = options.ice == Ice::Force || options.transport == Some(Transport::Dtls);
    if is_missing { Err(Failure::Transport) } else { Ok(()) }
}

/// Lines of one exchange, those included that a side never heard of.
const LINES_MAX: usize = sdp::parse::MEDIA_MAX;
/// Bits of a mark: twelve digits.
const MARK: u64 = 0xffff_ffff_ffff;

#[cfg(test)]
mod tests;
