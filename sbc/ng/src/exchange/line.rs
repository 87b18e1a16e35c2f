//! One m-line through its offers and answers: what each side said, what it was told, what was agreed. What media does
//! about it is in `state`. RFC 3264.

use super::codecs;
use super::keys;
use super::said::{Format, Medium, Profile};
use super::state::Agreement;
use crate::failure::Failure;
use crate::options::{Options, SdpOptions, Transport};
use command::{MediaClass, Transform};
use sdp::crypto::{Agreed, CryptoLine, KeySource};
use sdp::{Direction, Kind, Makeable, Media, Side};

/// One m-line.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub kind: Kind,
    /// By [`Side`].
    pub said: [Option<Medium>; 2],
    /// By [`Side`].
    pub told: [Option<Told>; 2],
    /// A side that never hears of it (`sdp-media-remove`).
    pub hidden_from: Option<Side>,
    /// Of the last answer.
    pub agreed: Option<Agreement>,
}

/// What one side is told of an m-line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    pub is_refused: bool,
    pub profile: Profile,
    pub formats: Vec<Format>,
    pub crypto: Vec<CryptoLine>,
    /// `None` where the source says none, and that passes.
    pub direction: Option<Direction>,
    /// `a=rtcp-mux`.
    pub mux: bool,
    /// RTCP goes with RTP, and the SDP says so.
    pub is_muxed: bool,
    pub ptime: Option<u16>,
    pub maxptime: Option<u16>,
    /// The source holds by 0.0.0.0, and that passes.
    pub is_zero: bool,
    /// Header extensions of the source do not come through.
    pub ends_extensions: bool,
}

impl Told {
    fn refused(profile: Profile) -> Told {
        Told {
            is_refused: true,
            profile,
            formats: Vec::new(),
            crypto: Vec::new(),
            direction: None,
            mux: false,
            is_muxed: false,
            ptime: None,
            maxptime: None,
            is_zero: false,
            ends_extensions: false,
        }
    }
}

/// What an offer is passed on by.
#[derive(Debug)]
pub(super) struct Offering<'o> {
    pub from: Side,
    pub options: &'o Options,
    pub makeable: &'o [Makeable],
}

/// What an answer is passed on by.
#[derive(Debug)]
pub(super) struct Answering<'o> {
    pub from: Side,
    pub options: &'o Options,
    /// Those of the offer.
    pub asked: &'o Options,
    pub makeable: &'o [Makeable],
}

impl Line {
    /// Nothing said of it yet.
    pub fn new(kind: Kind) -> Self {
        Line { kind, said: [None, None], told: [None, None], hidden_from: None, agreed: None }
    }

    /// Whether it has a place in the SDP of a side.
    pub fn is_seen_by(&self, side: Side) -> bool {
        self.hidden_from != Some(side)
    }

    /// Nothing passes through us.
    pub fn is_dead(&self) -> bool {
        let refuses = |side: Side| {
            self.said[side as usize].as_ref().is_some_and(|said| said.is_refused)
                || self.told[side as usize].as_ref().is_some_and(|told| told.is_refused)
                || self.hidden_from == Some(side)
        };
        refuses(Side::A) || refuses(Side::B) || self.class().is_none()
    }

    /// How packets are told apart, by who spoke last of it.
    pub fn class(&self) -> Option<MediaClass> {
        let told = self.told.iter().flatten().next();
        self.said.iter().flatten().next().map(|said| said.profile).or(told.map(|told| told.profile))?.class()
    }

    /// Whether both sides send and receive, as far as they have said.
    pub fn is_both_ways(&self) -> bool {
        self.said.iter().flatten().all(|said| said.intent() == Direction::SendRecv)
    }

    /// A later offer leaves it out.
    pub fn withdraw(&mut self, from: Side) {
        if let Some(said) = &mut self.said[from as usize] {
            said.is_refused = true;
            said.formats.clear();
        }
        let profile = self.said[from as usize].as_ref().map_or(Profile::Udp, |said| said.profile);
        self.told[from.other() as usize] = Some(Told::refused(profile));
        self.agreed = None;
    }

    /// Takes an offer of it.
    pub fn offer(
        &mut self,
        media: &Media<'_>,
        by: &Offering<'_>,
        source: &mut KeySource,
    ) -> Result<(), Failure> {
        let (from, to) = (by.from as usize, by.from.other() as usize);
        let said = Medium::read(media);
        let is_unwanted = by
            .options
            .sdp
            .remove_media
            .iter()
            .any(|kind| kind.eq_ignore_ascii_case(media.kind().name().as_bytes()));
        if is_unwanted && self.told[to].is_none() && self.said[to].is_none() {
            self.hidden_from = Some(by.from.other());
        } else if !is_unwanted && self.hidden_from == Some(by.from.other()) {
            self.hidden_from = None;
        }
        if self.kind != said.kind {
            // A line that is used for something else begins anew (RFC 3264 section 8.3.1).
            *self = Line { hidden_from: self.hidden_from, ..Line::new(said.kind) };
        }
        let told = match said.is_refused || is_unwanted || said.profile.class().is_none() {
            true => Told::refused(said.profile),
            false => self.offered(&said, by, source)?,
        };
        if told.is_refused {
            self.agreed = None;
        }
        self.said[from] = Some(said);
        self.told[to] = Some(told);
        Ok(())
    }

    /// What the receiver of an offer is told.
    fn offered(&self, said: &Medium, by: &Offering<'_>, source: &mut KeySource) -> Result<Told, Failure> {
        let (to, options) = (by.from.other() as usize, by.options);
        let profile = match (said.profile, options.transport) {
            (Profile::Rtp { .. }, Some(Transport::Rtp { secure, feedback })) => {
                Profile::Rtp { secure, feedback }
            }
            (profile, _) => profile,
        };
        let earlier = self.told[to].as_ref();
        let known: Vec<Format> = earlier
            .iter()
            .flat_map(|told| &told.formats)
            .chain(self.said[to].iter().flat_map(|said| &said.formats))
            .cloned()
            .collect();
        let makeable = if is_sealed(said) { &[] } else { by.makeable };
        let is_offered_by_both = !said.profile.is_secure() && said.has_crypto;
        let wants_keys = profile.is_secure()
            || matches!(profile, Profile::Rtp { .. })
                && (is_offered_by_both && !options.sdes.off || options.osrtp.offer);
        let crypto = match wants_keys && !is_sealed(said) {
            true => keys::offer(said, &options.sdes, earlier.map_or(&[][..], |told| &told.crypto), source),
            false => Vec::new(),
        };
        if said.profile.is_secure() && said.crypto.is_empty() && (said.has_crypto || !profile.is_secure()) {
            return Err(Failure::NoKeys);
        }
        if profile.is_secure() && crypto.is_empty() && !is_sealed(said) {
            return Err(Failure::Transport);
        }
        let mux = &options.rtcp_mux;
        let is_rtp = profile.is_rtp();
        let was_muxed = self.agreed.as_ref().is_some_and(|agreed| agreed.muxed[to]);
        let mut formats = codecs::offered(said, &options.codec, makeable, &known);
        if options.codec.reuse
            && let Some(agreed) = &self.agreed
        {
            let agreed =
                if agreed.offerer == by.from { &agreed.codecs.accepted } else { &agreed.codecs.formats };
            let used = agreed.iter().find(|format| format.is_speech());
            formats.sort_by_key(|format| !used.is_some_and(|used| used.is_same(format)));
        }
        Ok(Told {
            is_refused: false,
            profile,
            formats,
            crypto,
            direction: direction(said, &options.sdp),
            mux: is_rtp && (said.mux && !mux.demux || mux.offer || mux.require),
            is_muxed: is_rtp && (mux.require || said.mux && !mux.demux && was_muxed),
            ptime: options.ptime.filter(|_| is_rtp).or(said.ptime),
            maxptime: said.maxptime,
            is_zero: said.is_zero && !options.sdp.replace_zero_address,
            ends_extensions: false,
        })
    }

    /// Takes an answer to it; `None` where the answer leaves it out.
    pub fn answer(
        &mut self,
        media: Option<&Media<'_>>,
        by: &Answering<'_>,
        source: &mut KeySource,
    ) -> Result<(), Failure> {
        let (from, to) = (by.from as usize, by.from.other() as usize);
        let (Some(offer), Some(offered)) = (&self.said[to], &self.told[from]) else {
            return Err(Failure::Dialogue);
        };
        let said = media.map(Medium::read);
        let usable = said.as_ref().filter(|said| {
            !said.is_refused
                && !offered.is_refused
                && !offer.is_refused
                && said.kind == self.kind
                && said.profile.class() == offered.profile.class()
        });
        let Some(answer) = usable else {
            let profile = offer.profile;
            self.said[from] = said.map(|said| Medium { is_refused: true, ..said });
            self.told[to] = Some(Told::refused(profile));
            self.agreed = None;
            return Ok(());
        };
        // Who is elsewhere by now may be another phone, which must not go on where the first one was.
        let is_there = |agreed: &&Agreement| agreed.addresses[to] == offer.rtp;
        let before = self.agreed.as_ref().filter(is_there).and_then(|agreed| agreed.keys[to].as_ref());
        let (far, near, crypto) = Self::agree_keys(offer, offered, answer, before, by, source)?;
        let sealed = is_sealed(offer) || answer.profile.is_secure() && far.is_none();
        let makeable = if sealed { &[] } else { by.makeable };
        let codecs =
            codecs::told(offer, &offered.formats, answer, &by.asked.codec, &by.options.codec, makeable);
        let mux = &by.asked.rtcp_mux;
        let is_muxed = offer.profile.is_rtp()
            && offer.mux
            && !mux.reject
            && (answer.mux && offered.mux || mux.demux || mux.accept);
        let ptime = match (by.options.ptime, by.asked.ptime_reverse, by.asked.ptime) {
            (Some(ptime), ..) | (None, Some(ptime), _) => Some(ptime),
            (None, None, Some(_)) => offer.ptime,
            (None, None, None) => answer.ptime.or(offer.ptime),
        };
        let mut told = Told {
            is_refused: false,
            profile: offer.profile,
            formats: codecs.formats.clone(),
            crypto,
            direction: direction(answer, &by.options.sdp),
            mux: is_muxed,
            is_muxed,
            ptime,
            maxptime: answer.maxptime,
            is_zero: answer.is_zero && !by.options.sdp.replace_zero_address,
            ends_extensions: false,
        };
        let mut keys = [None, None];
        (keys[from], keys[to]) = (far, near);
        let mut muxed = [false, false];
        (muxed[from], muxed[to]) = (offered.mux && answer.mux || mux.require, is_muxed);
        let mut addresses = [None, None];
        (addresses[from], addresses[to]) = (answer.rtp, offer.rtp);
        let agreement = Agreement { offerer: by.from.other(), codecs, keys, muxed, sealed, addresses };
        self.agreed = Some(agreement);
        self.said[from] = said;
        let mut asked = [by.asked, by.asked];
        asked[from] = by.options;
        let is_converted = |transform: &Transform| matches!(transform, Transform::Transcode { .. });
        told.ends_extensions = self.transforms(asked, by.makeable).iter().any(is_converted);
        self.told[to] = Some(told);
        Ok(())
    }

    /// Keys towards the answerer and the offerer, and the line that the offerer is answered with.
    #[expect(clippy::type_complexity, reason = "three halves of one agreement, used at once")]
    fn agree_keys(
        offer: &Medium,
        offered: &Told,
        answer: &Medium,
        before: Option<&Agreed>,
        by: &Answering<'_>,
        source: &mut KeySource,
    ) -> Result<(Option<Agreed>, Option<Agreed>, Vec<CryptoLine>), Failure> {
        let far = keys::accept(&offered.crypto, answer);
        let must_be = answer.profile.is_secure() || answer.has_crypto && offered.profile.is_secure();
        if !offered.crypto.is_empty() && must_be && far.is_none() {
            return Err(Failure::NoKeys);
        }
        if offered.crypto.is_empty() && answer.profile.is_secure() && !offered.profile.is_secure() {
            return Err(Failure::NoKeys);
        }
        let is_secure = offer.profile.is_secure();
        let is_wanted = is_secure && !is_sealed(offer)
            || !is_secure
                && !offer.crypto.is_empty()
                && (far.is_some() || by.options.osrtp.accept || by.asked.osrtp.accept);
        if !is_wanted {
            return Ok((far, None, Vec::new()));
        }
        let across = far.as_ref().map(|far| far.theirs.suite);
        let sdes = [&by.options.sdes, &by.asked.sdes];
        let answered = keys::answer(offer, sdes, across, before, source);
        match answered {
            Some((line, near)) => Ok((far, Some(near), vec![line])),
            None if is_secure => Err(Failure::NoKeys),
            None => Ok((far, None, Vec::new())),
        }
    }
}

/// Which way media goes as the other side is told it; with `original-sendrecv` only what the m-line says itself.
fn direction(said: &Medium, options: &SdpOptions) -> Option<Direction> {
    match options.original_direction {
        true => said.has_direction.then_some(said.direction),
        false => Some(said.intent()),
    }
}

/// Whether keys pass through that we do not see: a secure profile that names none, as with keys agreed elsewhere.
pub(super) fn is_sealed(medium: &Medium) -> bool {
    medium.profile.is_secure() && !medium.has_crypto
}
