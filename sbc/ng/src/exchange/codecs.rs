//! Payload types: which of them a side is offered, which of its own an offerer is told of an answer, in rtpengine's way
//! (`strip`, `mask`, `offer`, `transcode` …). Holds no state.

use super::said::{Format, Medium, map};
use crate::options::{CodecName, CodecOptions};
use sdp::{Kind, Makeable};

/// Whether an entry of a list means a payload type: by name, and by whatever else it says, or by number.
pub(super) fn names(entry: &CodecName, format: &Format) -> bool {
    if let Ok(number) = entry.name.parse::<u8>() {
        return number == format.number;
    }
    entry.name.eq_ignore_ascii_case(&format.name)
        && entry.clock.is_none_or(|clock| clock == format.clock)
        && entry.channels.is_none_or(|channels| channels.max(1) == format.channels)
}

/// Whether an entry that has parameters has those of a payload type, in any order.
fn fits(entry: &CodecName, format: &Format) -> bool {
    let parameters = |fmtp: &str| {
        let mut list: Vec<String> =
            fmtp.split([';', ' ']).filter(|part| !part.is_empty()).map(str::to_ascii_lowercase).collect();
        list.sort_unstable();
        list
    };
    entry.fmtp.as_deref().is_none_or(|fmtp| fmtp.is_empty() || parameters(fmtp) == parameters(&format.fmtp))
}

/// `all` is all that no other list names; `full` is all whatever `transcode` names.
fn is_all(entry: &CodecName) -> bool {
    ["all", "full"].iter().any(|word| entry.name.eq_ignore_ascii_case(word))
}

fn listed(list: &[CodecName], format: &Format) -> bool {
    list.iter().any(|entry| names(entry, format) && fits(entry, format))
}

/// Whether a side is to have events although the other has none.
pub(super) fn wants_events(options: &CodecOptions) -> bool {
    let is_event = |entry: &CodecName| is_all(entry) || entry.name.eq_ignore_ascii_case("telephone-event");
    options.always_transcode || options.accept.iter().chain(&options.consume).any(is_event)
}

/// Whether payloads of a line can be told apart and converted.
pub(super) fn is_convertible(medium: &Medium) -> bool {
    medium.kind == Kind::Audio && medium.profile.is_rtp()
}

/// Which of ours a payload type is.
pub(super) fn makeable<'m>(makeable: &'m [Makeable], format: &Format) -> Option<&'m Makeable> {
    makeable.iter().find(|makeable| makeable.is(&format.codec()))
}

/// What the receiver of an offer is told. `before` are the payload types that it was told or has said earlier.
pub(super) fn offered(
    said: &Medium,
    options: &CodecOptions,
    made: &[Makeable],
    before: &[Format],
) -> Vec<Format> {
    let theirs = &said.formats;
    if !said.profile.is_rtp() {
        return Vec::new();
    }
    let hidden = || options.strip.iter().chain(&options.mask).chain(&options.consume);
    let is_named =
        |format: &Format| hidden().any(|entry| !is_all(entry) && names(entry, format) && fits(entry, format));
    let has_all = hidden().any(is_all);
    let is_full = hidden().any(|entry| entry.name.eq_ignore_ascii_case("full"));
    let mut formats: Vec<Format> = match has_all {
        false => theirs.iter().filter(|format| !is_named(format)).cloned().collect(),
        true => {
            let kept = theirs.iter().filter(|format| !is_named(format) && listed(&options.except, format));
            let mut formats: Vec<Format> = kept.cloned().collect();
            for entry in &options.offer {
                let more = theirs.iter().filter(|format| names(entry, format) && !is_named(format));
                for format in more {
                    if formats.iter().all(|other| other.number != format.number) {
                        formats.push(format.clone());
                    }
                }
            }
            formats
        }
    };
    if is_convertible(said) {
        let has_lost = theirs.iter().any(|f| f.is_speech() && !formats.iter().any(|g| g.number == f.number));
        let mut numbers = Numbers::new(theirs, before);
        for entry in &options.transcode {
            if formats.iter().any(|format| names(entry, format)) {
                continue;
            }
            let restored =
                theirs.iter().find(|format| has_all && !is_full && names(entry, format) && !is_named(format));
            match restored {
                Some(format) => insert_speech(&mut formats, format.clone()),
                None => add_made(entry, &mut formats, made, &mut numbers),
            }
        }
        if has_lost {
            drop_supplements(&mut formats);
        }
    }
    // Without speech there is nothing to say: the list stays as it was.
    let is_mute = !formats.iter().any(Format::is_speech) && theirs.iter().any(Format::is_speech);
    if is_mute && said.kind == Kind::Audio || formats.is_empty() {
        return theirs.clone();
    }
    formats
}

/// Events and noise go with the last codec of their clock. Events at 8 kHz stay: many take no others, also beside Opus.
fn drop_supplements(formats: &mut Vec<Format>) {
    let clocks: Vec<u32> = formats.iter().filter(|f| f.is_speech()).map(|f| f.clock).collect();
    if !clocks.is_empty() {
        let is_usual = |format: &Format| format.is_event() && format.clock == EVENT_CLOCK;
        formats.retain(|f| !f.is_supplement() || clocks.contains(&f.clock) || is_usual(f));
    }
}

/// Behind the last codec of speech that stands before events and noise.
fn insert_speech(formats: &mut Vec<Format>, format: Format) {
    let at = match format.is_supplement() {
        true => formats.len(),
        false => formats.iter().position(Format::is_supplement).unwrap_or(formats.len()),
    };
    formats.insert(at, format);
}

/// Adds a codec of ours, and the events and noise of its clock where there are such of another.
fn add_made(entry: &CodecName, formats: &mut Vec<Format>, made: &[Makeable], numbers: &mut Numbers<'_>) {
    if entry.name.eq_ignore_ascii_case("telephone-event") {
        let clock = entry.clock.unwrap_or(EVENT_CLOCK);
        if let Some(format) = numbers.make(("telephone-event", clock, 1), FIRST_DYNAMIC, DIGITS, formats) {
            formats.push(format);
        }
        return;
    }
    let fits = |makeable: &&Makeable| {
        makeable.name.eq_ignore_ascii_case(&entry.name)
            && entry.clock.is_none_or(|clock| clock == makeable.clock)
            && entry.channels.is_none_or(|channels| channels.max(1) == makeable.channels)
    };
    let Some(makeable) = made.iter().find(fits) else { return };
    let fmtp = entry.fmtp.as_deref().unwrap_or(makeable.fmtp);
    let codec = (makeable.name, makeable.clock, makeable.channels);
    let Some(mut format) = numbers.make(codec, makeable.number, fmtp, formats) else { return };
    format.bitrate = entry.bitrate.filter(|bitrate| *bitrate > 0);
    let mut at = formats.iter().position(Format::is_supplement).unwrap_or(formats.len());
    formats.insert(at, format);
    for name in ["CN", "telephone-event"] {
        let is_it = |format: &&Format| format.name.eq_ignore_ascii_case(name);
        let model = formats.iter().find(is_it).cloned();
        let has_clock = formats.iter().any(|format| is_it(&format) && format.clock == makeable.clock);
        let Some(model) = model.filter(|_| !has_clock) else { continue };
        let fmtp = if model.is_event() && model.fmtp.is_empty() { DIGITS } else { &model.fmtp };
        if let Some(more) = numbers.make((name, makeable.clock, 1), FIRST_DYNAMIC, fmtp, formats) {
            at += 1;
            formats.insert(at, more);
        }
    }
}

/// Payload types of one m-line that is offered.
struct Numbers<'b> {
    theirs: &'b [Format],
    /// What numbers meant earlier: they may not change their meaning in a call (RFC 3264 section 8.3.2).
    before: &'b [Format],
    is_taken: [bool; 128],
}

impl<'b> Numbers<'b> {
    fn new(theirs: &'b [Format], before: &'b [Format]) -> Self {
        let mut is_taken = [false; 128];
        theirs.iter().for_each(|format| is_taken[usize::from(format.number & 127)] = true);
        Numbers { theirs, before, is_taken }
    }

    /// A payload type of ours, for the list; `None` if no number is left.
    fn make(
        &mut self,
        (name, clock, channels): (&str, u32, u8),
        wanted: u8,
        fmtp: &str,
        list: &[Format],
    ) -> Option<Format> {
        let mut format = Format {
            number: wanted,
            map: map(name, clock, channels),
            name: name.to_owned(),
            clock,
            channels,
            fmtp: fmtp.to_owned(),
            feedback: Vec::new(),
            is_made: true,
            bitrate: None,
        };
        let is_free = |number: &u8| !self.is_taken[usize::from(*number & 127)];
        let is_new = |number: &u8| is_free(number) && self.before.iter().all(|b| b.number != *number);
        let was = |known: &'b [Format]| known.iter().find(|other| other.is_same(&format)).map(|o| o.number);
        // Both sides go on with the number that either knows.
        let number = was(self.theirs)
            .filter(|number| list.iter().all(|listed| listed.number != *number))
            .or_else(|| was(self.before).filter(is_free))
            .or_else(|| Some(wanted).filter(|wanted| *wanted < FIRST_DYNAMIC && is_new(wanted)))
            .or_else(|| (FIRST_DYNAMIC..=127).find(is_new))
            .or_else(|| (FIRST_DYNAMIC..=127).find(is_free))?;
        self.is_taken[usize::from(number & 127)] = true;
        format.number = number;
        Some(format)
    }
}

/// What an answer leads to: what the offerer is told, and what of the answer counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Told {
    /// In the offerer's numbers.
    pub formats: Vec<Format>,
    /// As the answerer said them: those that it was offered.
    pub accepted: Vec<Format>,
}

/// What the offerer is told of an answer. `asked` is what the offer wanted, `options` what the answer wants.
pub(super) fn told(
    offer: &Medium,
    offered: &[Format],
    answer: &Medium,
    asked: &CodecOptions,
    options: &CodecOptions,
    made: &[Makeable],
) -> Told {
    if !answer.profile.is_rtp() {
        return Told::default();
    }
    let accepted = accepted(offered, answer, options);
    let theirs: Vec<&Format> = offer.formats.iter().filter(|f| !listed(&asked.ignore, f)).collect();
    // Redundancy holds numbers of others, as do repairs of video: those stay.
    let has_numbers_inside = accepted.iter().any(|format| format.codec().is_redundancy());
    if !is_convertible(offer) || !is_convertible(answer) || has_numbers_inside {
        return Told { formats: accepted.clone(), accepted };
    }
    let is_made = |format: &Format| makeable(made, format).is_some();
    let partner = theirs.iter().find(|format| is_made(format));
    let near = |format: &Format| {
        let is_ours = find(offered.iter(), format).is_some_and(|format| format.is_made);
        find(theirs.iter().copied(), format).filter(|_| !is_ours)
    };
    // What the offerer gets although the answerer has not taken it.
    let forced = |format: &Format| {
        let wanted = || asked.consume.iter().chain(&asked.accept);
        asked.always_transcode || wanted().any(|entry| is_all(entry) || names(entry, format))
    };
    let can_convert = accepted.iter().any(is_made);
    let first = theirs.iter().find(|f| can_convert && f.is_speech() && is_made(f) && forced(f));
    let is_converted = first.is_some() || accepted.iter().any(|f| f.is_speech() && near(f).is_none());
    let mut formats: Vec<Format> = Vec::new();
    match first {
        Some(first) => formats.push(as_ours(first, made)),
        None => {
            for format in accepted.iter().filter(|f| !is_converted || !f.is_supplement()) {
                match (near(format), partner) {
                    (Some(near), _) => push(&mut formats, as_answered(near, format)),
                    (None, Some(partner)) if is_made(format) => push(&mut formats, as_ours(partner, made)),
                    (None, _) => {}
                }
            }
        }
    }
    // Events and noise of the clocks that the offerer speaks at.
    let clocks: Vec<u32> = formats.iter().filter(|f| f.is_speech()).map(|f| f.clock).collect();
    let is_taken = |format: &Format| {
        accepted.iter().any(|other| other.is_supplement() && other.name.eq_ignore_ascii_case(&format.name))
    };
    let is_spoken = |format: &&&Format| format.is_supplement() && clocks.contains(&format.clock);
    let has_events = theirs.iter().filter(is_spoken).any(|format| format.is_event());
    // Who has no events at the clock that it speaks at takes them at 8 kHz.
    let is_usual = |f: &&&Format| !has_events && f.is_event() && f.clock == EVENT_CLOCK;
    for near in theirs.iter().filter(|format| is_spoken(format) || is_usual(format)) {
        let is_forced = can_convert && near.is_event() && forced(near);
        if is_converted && is_taken(near) || is_forced {
            let answered = accepted.iter().find(|other| other.is_same(near)).unwrap_or(near);
            push(&mut formats, as_answered(near, answered));
        }
    }
    let is_mute = |formats: &[Format]| !formats.iter().any(Format::is_speech);
    if formats.is_empty() || is_mute(&formats) && !is_mute(&accepted) {
        formats.clone_from(&accepted);
    }
    Told { formats, accepted }
}

/// What counts of an answer: the payload types that were offered. If none was, the two ends may make of it what they can.
fn accepted(offered: &[Format], answer: &Medium, options: &CodecOptions) -> Vec<Format> {
    let was_offered = |format: &&Format| find(offered.iter(), format).is_some();
    let mut accepted: Vec<Format> = answer.formats.iter().filter(was_offered).cloned().collect();
    if accepted.is_empty() {
        accepted.clone_from(&answer.formats);
    }
    if options.single
        && let Some(first) = accepted.iter().find(|format| format.is_speech()).cloned()
    {
        accepted.retain(|f| f.number == first.number || f.is_supplement() && f.clock == first.clock);
    }
    accepted
}

fn push(formats: &mut Vec<Format>, format: Format) {
    if formats.iter().all(|other| other.number != format.number) {
        formats.push(format);
    }
}

/// In the offerer's number, with what the answerer says of it.
fn as_answered(near: &Format, answered: &Format) -> Format {
    let map = if answered.map.is_empty() { near.map.clone() } else { answered.map.clone() };
    let name = if answered.name.is_empty() { near.name.clone() } else { answered.name.clone() };
    Format { number: near.number, map, name, is_made: false, ..answered.clone() }
}

/// In the offerer's number, with what we say of it: it is we who take it.
fn as_ours(near: &Format, made: &[Makeable]) -> Format {
    let fmtp = makeable(made, near).map_or("", |makeable| makeable.fmtp);
    Format { fmtp: fmtp.to_owned(), feedback: Vec::new(), is_made: false, ..near.clone() }
}

/// The same payload type in a list: under the same number if there is one, else the same encoding. Sloppy answers leave
/// names away: then the number decides.
pub(super) fn find<'f>(
    list: impl Iterator<Item = &'f Format> + Clone,
    wanted: &Format,
) -> Option<&'f Format> {
    let is_alike = |format: &&Format| {
        let is_named = !format.name.is_empty() && !wanted.name.is_empty();
        let is_clock_same = format.clock == wanted.clock;
        // A static number says enough, whatever some call it.
        let is_static = format.number < 35 && format.number == wanted.number;
        format.number == wanted.number
            && (!is_named || is_static || format.name.eq_ignore_ascii_case(&wanted.name) && is_clock_same)
    };
    if let Some(alike) = list.clone().find(is_alike) {
        return Some(alike);
    }
    let mut same = list.filter(|format| format.is_same(wanted)).peekable();
    let first = same.peek().copied();
    same.find(|format| format.fmtp.eq_ignore_ascii_case(&wanted.fmtp)).or(first)
}

/// What telephone events are counted in where nothing else is said.
const EVENT_CLOCK: u32 = 8000;
/// The events that we take and make: digits.
const DIGITS: &str = "0-15";
const FIRST_DYNAMIC: u8 = 96;
