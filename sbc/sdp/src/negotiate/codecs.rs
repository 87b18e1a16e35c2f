//! Audio formats of an m-line on its way: what the reader of an offer gets, what the offerer is told of the answer, and
//! whether speech must be converted between them. Holds no state. RFC 3264; media.md "Offers, answers, codecs".

use super::config::{DigitsBy, SideConfig, Transcode};
use super::passage::{class, is_encrypted};
use super::policy::{Choice, Choosing, CodecPolicy, Makeable, as_codec, find_makeable};
use super::{Unacceptable, WhyNot, keys};
use crate::codec::Codec;
use crate::edit::{EndsHere, Format, LEVEL_EXTENSION, MadeFormat};
use crate::line::{parse_number, word};
use crate::parse::{Kind, Media, Proto};
use command::MediaClass;

/// What holds between the two sides of one exchange.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'c> {
    pub(super) offerer: &'c SideConfig,
    pub(super) answerer: &'c SideConfig,
    pub(super) makeable: &'c [Makeable],
    pub(super) policy: &'static dyn CodecPolicy,
}

impl<'c> Rules<'c> {
    /// Whether media is encrypted with keys that only the two ends agree on.
    pub(super) fn is_sealed(&self, media: &Media<'_>) -> bool {
        is_encrypted(media) && !keys::end_here(self.offerer, self.answerer)
    }

    /// What may be converted if either of these is so.
    fn convertible(&self, is_sealed: bool) -> Result<&'c [Makeable], WhyNot> {
        if [self.offerer, self.answerer].iter().any(|side| side.transcode == Transcode::Never) {
            return Err(WhyNot::Never);
        }
        if is_sealed { Err(WhyNot::Sealed) } else { Ok(self.makeable) }
    }

    fn convertible_between(&self, offer: &Media<'_>, answer: &Media<'_>) -> Result<&'c [Makeable], WhyNot> {
        self.convertible(self.is_sealed(offer) || self.is_sealed(answer))
    }

    /// Whether payload types may be changed on the way: not under keys that we do not hold, for the header is
    /// authenticated; not beside redundancy, whose payload holds numbers too; and only where formats are narrowed.
    pub(super) fn can_renumber(&self, offer: &Media<'_>, answer: &Media<'_>) -> bool {
        offer.kind() == Kind::Audio
            && matches!(offer.proto(), Proto::Rtp | Proto::Srtp)
            && !self.is_sealed(offer)
            && !self.is_sealed(answer)
            && !answer.codecs().iter().any(Codec::is_redundancy)
    }

    fn none_common(&self, why: WhyNot) -> Unacceptable {
        if self.makeable.is_empty() { Unacceptable::NoCommonCodec } else { Unacceptable::NotConvertible(why) }
    }
}

fn is_audio(media: &Media<'_>) -> bool {
    media.kind() == Kind::Audio && class(media) == Some(MediaClass::Rtp)
}

/// The formats that the reader of an offer gets; `None` is all, as they are. `before` is what the reader spoke of
/// earlier in the call: its speech first.
pub(super) fn offered(
    media: &Media<'_>,
    rules: &Rules<'_>,
    before: &[Codec<'_>],
) -> Result<Option<Vec<Format>>, Unacceptable> {
    if !is_audio(media) {
        return Ok(None);
    }
    let (reader, offered) = (rules.answerer, media.codecs());
    let speech: Vec<Codec<'_>> = offered.iter().copied().filter(Codec::is_speech).collect();
    let convertible = rules.convertible(rules.is_sealed(media));
    // What nobody can decode cannot be converted either.
    let is_decodable = |made: &&[Makeable]| speech.iter().any(|codec| find_makeable(made, codec).is_some());
    let makeable = convertible.ok().filter(is_decodable).unwrap_or_default();
    // A side that is converted for goes on with its codec, whatever the other one offers next.
    let current = before.iter().find(|codec| codec.is_speech());
    let current =
        current.filter(|codec| reader.codecs.is_empty() && !speech.iter().any(|s| s.is_same(codec)));
    let current = current.and_then(|codec| find_makeable(makeable, codec));
    if reader.codecs.is_empty() && reader.digits == DigitsBy::Auto && current.is_none() {
        return Ok(None);
    }
    let choices = rules.policy.offer(&Choosing { theirs: &speech, list: &reader.codecs, makeable });
    let mut numbers = Numbers::new(&offered, before);
    let (mut formats, mut clocks, mut is_any_made) = (Vec::new(), Vec::new(), false);
    let mut make = |makeable: &Makeable, formats: &mut Vec<Format>, clocks: &mut Vec<u32>| {
        let codec = as_codec(makeable);
        let Some(number) = numbers.pick(&codec) else { return };
        formats.push(Format::Made(made(&codec, number, codec.fmtp)));
        clocks.push(codec.clock);
        is_any_made = true;
    };
    for choice in choices {
        match choice {
            Choice::Theirs(index) => {
                let Some(codec) = speech.get(index) else { continue };
                formats.push(Format::Kept { from: codec.number, to: codec.number });
                clocks.push(codec.clock);
            }
            Choice::Ours(index) => {
                let Some(makeable) = makeable.get(index) else { continue };
                make(makeable, &mut formats, &mut clocks);
            }
        }
    }
    if let Some(current) = current {
        make(current, &mut formats, &mut clocks);
    }
    if formats.is_empty() {
        return Err(rules.none_common(convertible.err().unwrap_or(WhyNot::NotMade)));
    }
    let others = offered.iter().filter(|codec| !codec.is_speech());
    let others: Vec<_> = others.filter(|codec| reader.digits.has_events() || !codec.is_event()).collect();
    formats.extend(others.iter().map(|codec| Format::Kept { from: codec.number, to: codec.number }));
    let has_events = others.iter().any(|codec| codec.is_event());
    let wants_events = match reader.digits {
        DigitsBy::Auto => has_events && is_any_made,
        DigitsBy::Events => !makeable.is_empty(),
        DigitsBy::Info | DigitsBy::Tones => false,
    };
    if wants_events {
        clocks.push(8000);
        clocks.sort_unstable();
        clocks.dedup();
        for clock in clocks {
            if others.iter().any(|codec| codec.is_event() && codec.clock == clock) {
                continue;
            }
            let events = Codec { number: EVENTS, name: "telephone-event", clock, channels: 1, fmtp: "" };
            if let Some(number) = numbers.pick(&events) {
                formats.push(Format::Made(made(&events, number, DIGITS)));
            }
        }
    }
    Ok(Some(formats))
}

/// What the offerer is told of an answer's formats; `None` tells all as they are. The second is set where media ends
/// here.
pub(super) fn told(
    offer: &Media<'_>,
    offered: &Media<'_>,
    answer: &Media<'_>,
    rules: &Rules<'_>,
) -> Result<(Option<Vec<Format>>, Option<EndsHere>), Unacceptable> {
    if !is_audio(offer) || class(answer) != Some(MediaClass::Rtp) {
        return Ok((None, None));
    }
    let (theirs, asked, answered) = (offer.codecs(), offered.codecs(), answer.codecs());
    let makeable = rules.convertible_between(offer, answer);
    // The answerer's choice, if the offerer offered it.
    let choice = first_choice(&asked, &answered)
        .and_then(|codec| Some((codec, find_same(&theirs, codec)?)))
        .filter(|(codec, _)| !is_made_here(&asked, &theirs, codec));
    let Some((far, near)) = choice else {
        let makeable = makeable.map_err(|why| rules.none_common(why))?;
        let near = convert_to(&theirs, makeable, rules);
        let far = answered.iter().find(|codec| can_be_far(codec, &asked, makeable));
        let (Some(near), Some(_)) = (near, far) else { return Err(rules.none_common(WhyNot::NotMade)) };
        return Ok(converted(offer, &theirs, &near, rules));
    };
    if far.is_redundancy() {
        return Ok((None, None));
    }
    if needs_repacking(offer, answer) && makeable.is_ok_and(|made| find_makeable(made, near).is_some()) {
        return Ok(converted(offer, &theirs, near, rules));
    }
    let can_renumber = rules.can_renumber(offer, answer);
    let has_events = rules.offerer.digits.has_events();
    let others = answered.iter().filter(|codec| !codec.is_speech() && (has_events || !codec.is_event()));
    let others = others.filter_map(|codec| Some((codec, find_same(&theirs, codec)?)));
    let mut pairs: Vec<(u8, u8)> = Vec::new();
    for (answered, offered) in core::iter::once((far, near)).chain(others) {
        let number = if can_renumber { offered.number } else { answered.number };
        if pairs.iter().all(|(from, to)| *from != answered.number && *to != number) {
            pairs.push((answered.number, number));
        }
    }
    let mut formats: Vec<Format> =
        pairs.iter().map(|(from, to)| Format::Kept { from: *from, to: *to }).collect();
    // Events that only the offerer has are taken where they become something else for the answerer.
    let becomes_other = rules.offerer.digits == DigitsBy::Events || !rules.answerer.digits.has_events();
    let is_open = makeable.is_ok_and(|made| find_makeable(made, near).is_some());
    if has_events
        && becomes_other
        && is_open
        && !answered.iter().any(|codec| codec.is_event() && find_same(&theirs, codec).is_some())
        && let Some(events) = events_for(&theirs, near)
        && formats.iter().all(|format| format.number() != events.number)
    {
        formats.push(Format::Made(events));
    }
    Ok((Some(formats), None))
}

/// The codecs between which speech is converted: as the offerer numbers its own, as the answerer numbers its own.
/// `None` where payloads pass.
pub(super) fn conversion<'a>(
    offer: &Media<'a>,
    offered: &Media<'_>,
    answer: &Media<'a>,
    told: &Media<'a>,
    rules: &Rules<'_>,
) -> Option<(Codec<'a>, Codec<'a>)> {
    if !is_audio(offer) || class(answer) != Some(MediaClass::Rtp) {
        return None;
    }
    let makeable = rules.convertible_between(offer, answer).ok()?;
    let (theirs, asked, answered) = (offer.codecs(), offered.codecs(), answer.codecs());
    let near = told.codecs().into_iter().find(Codec::is_speech)?;
    find_makeable(makeable, &near)?;
    let first = first_choice(&asked, &answered)?;
    let is_theirs = find_same(&theirs, first).is_some() && !is_made_here(&asked, &theirs, first);
    if is_theirs && let Some(same) = find_same(&answered, &near) {
        return needs_repacking(offer, answer).then_some((near, *same));
    }
    let far = answered.iter().find(|codec| can_be_far(codec, &asked, makeable))?;
    Some((near, *far))
}

/// Why the speech of an m-line cannot be decoded and encoded for both sides, if it cannot.
pub(super) fn why_not_open(
    offer: &Media<'_>,
    answer: &Media<'_>,
    told: &Media<'_>,
    rules: &Rules<'_>,
) -> Option<WhyNot> {
    if rules.is_sealed(offer) || rules.is_sealed(answer) {
        return Some(WhyNot::Sealed);
    }
    let is_made =
        |media: &Media<'_>| media.codecs().iter().any(|codec| find_makeable(rules.makeable, codec).is_some());
    (!is_made(told) || !is_made(answer)).then_some(WhyNot::NotMade)
}

/// Packet time towards who said this, in milliseconds: what it wants, else 20; the longest within that and its maximum that we make.
pub(super) fn packet_time(said: &Media<'_>, codec: &Codec<'_>, makeable: &[Makeable]) -> u16 {
    let wanted = said.ptime().unwrap_or(PTIME).min(said.maxptime().unwrap_or(u16::MAX));
    let ptimes = find_makeable(makeable, codec).map_or(&[20][..], |makeable| makeable.ptimes).iter();
    let fitting = ptimes.clone().rev().find(|ms| u16::from(**ms) <= wanted);
    fitting.or(ptimes.clone().next()).map_or(PTIME, |ms| u16::from(*ms))
}

/// The number under which levels are told (RFC 6464), if it is said.
pub(super) fn level_extension(media: &Media<'_>) -> Option<u8> {
    media.attributes("extmap").find_map(|value| {
        let (number, rest) = word(value);
        let number = number.split(|byte| *byte == b'/').next().and_then(parse_number)?;
        let is_level = word(rest).0 == LEVEL_EXTENSION;
        u8::try_from(number).ok().filter(|number| is_level && (1..=14).contains(number))
    })
}

/// The codec of a list that is the same as another: under the same number if there is one, then with the same
/// parameters, then any. Sloppy answers leave the rtpmap or its channels away: the number then decides.
pub(super) fn find_same<'r, 'a>(list: &'r [Codec<'a>], wanted: &Codec<'_>) -> Option<&'r Codec<'a>> {
    let is_alike = |codec: &&Codec<'_>| {
        let is_named = !codec.name.is_empty() && !wanted.name.is_empty();
        // Some write the sampling rate of G.722 instead of its clock; only a static number says enough.
        let is_clock_same = codec.clock == wanted.clock || codec.number < 35;
        codec.number == wanted.number
            && (!is_named || codec.name.eq_ignore_ascii_case(wanted.name) && is_clock_same)
    };
    let same = || list.iter().filter(|codec| codec.is_same(wanted));
    list.iter()
        .find(is_alike)
        .or_else(|| same().find(|codec| codec.fmtp.eq_ignore_ascii_case(wanted.fmtp)))
        .or_else(|| same().next())
}

/// The answerer's choice: its first speech codec that it was offered.
fn first_choice<'r, 'a>(asked: &[Codec<'_>], answered: &'r [Codec<'a>]) -> Option<&'r Codec<'a>> {
    answered.iter().find(|codec| codec.is_speech() && find_same(asked, codec).is_some())
}

/// Whether a codec of an answer is one that we put into the offer: a nameless number that the offerer has, too, then
/// means ours.
fn is_made_here(asked: &[Codec<'_>], theirs: &[Codec<'_>], answered: &Codec<'_>) -> bool {
    find_same(asked, answered).is_some_and(|asked| !theirs.iter().any(|codec| codec.is_same(asked)))
}

fn can_be_far(codec: &Codec<'_>, asked: &[Codec<'_>], makeable: &[Makeable]) -> bool {
    codec.is_speech() && find_makeable(makeable, codec).is_some() && find_same(asked, codec).is_some()
}

/// Which of its own codecs an offerer gets whose choice the answerer has not shared.
fn convert_to<'a>(theirs: &[Codec<'a>], makeable: &[Makeable], rules: &Rules<'_>) -> Option<Codec<'a>> {
    let speech: Vec<Codec<'a>> = theirs.iter().copied().filter(Codec::is_speech).collect();
    let index = rules.policy.convert(&Choosing { theirs: &speech, list: &[], makeable })?;
    speech.get(index).copied().filter(|codec| find_makeable(makeable, codec).is_some())
}

/// The formats of an answer that is made here: one speech codec, then events and noise of the same clock.
fn converted(
    offer: &Media<'_>,
    theirs: &[Codec<'_>],
    near: &Codec<'_>,
    rules: &Rules<'_>,
) -> (Option<Vec<Format>>, Option<EndsHere>) {
    let fmtp = find_makeable(rules.makeable, near).map_or("", |makeable| makeable.fmtp);
    let mut formats = vec![Format::Made(made(near, near.number, fmtp))];
    if rules.offerer.digits.has_events() {
        formats.extend(events_for(theirs, near).map(Format::Made));
    }
    let noise = theirs.iter().find(|codec| codec.is_noise() && codec.clock == near.clock);
    formats.extend(noise.map(|codec| Format::Made(made(codec, codec.number, ""))));
    let ptime = offer.ptime().map(|_| packet_time(offer, near, rules.makeable));
    (Some(formats), Some(EndsHere { ptime, level_extension: level_extension(offer) }))
}

/// Whether one side wants packets longer than the other can take.
fn needs_repacking(offer: &Media<'_>, answer: &Media<'_>) -> bool {
    let exceeds = |wants: &Media<'_>, takes: &Media<'_>| {
        wants.ptime().zip(takes.maxptime()).is_some_and(|(wanted, most)| wanted > most)
    };
    exceeds(offer, answer) || exceeds(answer, offer)
}

/// The events that an offerer has for a codec: at its clock, else at 8,000 Hz.
fn events_for(theirs: &[Codec<'_>], near: &Codec<'_>) -> Option<MadeFormat> {
    let events = |clock: u32| theirs.iter().find(move |codec| codec.is_event() && codec.clock == clock);
    let events = events(near.clock).or_else(|| events(8000))?;
    Some(made(events, events.number, if events.fmtp.is_empty() { DIGITS } else { events.fmtp }))
}

fn made(codec: &Codec<'_>, number: u8, fmtp: &str) -> MadeFormat {
    MadeFormat {
        number,
        name: codec.name.into(),
        clock: codec.clock,
        channels: codec.channels,
        fmtp: fmtp.into(),
    }
}

/// Payload types of one m-line that is offered.
struct Numbers<'b> {
    is_taken: [bool; 128],
    /// What numbers meant earlier: they may not change their meaning in a call (RFC 3264 section 8.3.2).
    before: &'b [Codec<'b>],
}

impl<'b> Numbers<'b> {
    fn new(offered: &[Codec<'_>], before: &'b [Codec<'b>]) -> Self {
        let mut is_taken = [false; 128];
        offered.iter().for_each(|codec| is_taken[usize::from(codec.number & 127)] = true);
        Numbers { is_taken, before }
    }

    /// A number for a codec that is not offered yet; `None` if none is left.
    fn pick(&mut self, codec: &Codec<'_>) -> Option<u8> {
        let is_free = |number: &u8| !self.is_taken[usize::from(*number & 127)];
        let is_new = |number: &u8| is_free(number) && self.before.iter().all(|b| b.number != *number);
        let same = self.before.iter().filter(|before| before.is_same(codec)).map(|before| before.number);
        let number = same
            .filter(|number| is_free(number))
            .chain(Some(codec.number).filter(is_new))
            .chain((96..=127).filter(is_new))
            .chain((96..=127).filter(is_free))
            .next()?;
        self.is_taken[usize::from(number & 127)] = true;
        Some(number)
    }
}

/// The number that most peers give `telephone-event`.
const EVENTS: u8 = 101;
/// The events that we take and make: digits.
const DIGITS: &str = "0-15";
/// Packet time where nobody says, in milliseconds.
const PTIME: u16 = 20;
