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
        && entry.fmtp.as_ref().is_none_or(|fmtp| *fmtp == format.fmtp)
}

/// `all` is all that no other list names; `full` is all whatever `transcode` names.
fn is_all(entry: &CodecName) -> bool {
    ["all", "full"].iter().any(|word| entry.name.eq_ignore_ascii_case(word))
}

fn listed(list: &[CodecName], format: &Format) -> bool {
    list.iter().any(|entry| names(entry, format))
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
    let is_named = |format: &Format| hidden().any(|entry| !is_all(entry) && names(entry, format));
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
        let mut numbers = Numbers::new(theirs, before);
        for entry in &options.transcode {
            if formats.iter().any(|format| names(entry, format)) {
                continue;
            }
            let restored =
                theirs.iter().find(|format| has_all && !is_full && names(entry, format) && !is_named(format));
            match restored {
                Some(format) => insert_speech(&mut formats, format.clone()),
                None => add_made(entry, &mut formats, theirs, made, &mut numbers),
            }
        }
    }
    if formats.is_empty() { theirs.clone() } else { formats }
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
fn add_made(
    entry: &CodecName,
    formats: &mut Vec<Format>,
    theirs: &[Format],
    made: &[Makeable],
    numbers: &mut Numbers<'_>,
) {
    if entry.name.eq_ignore_ascii_case("telephone-event") {
        let clock = entry.clock.unwrap_or(8000);
        if let Some(format) = numbers.make("telephone-event", clock, 1, EVENTS, DIGITS) {
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
    let made = numbers.make(makeable.name, makeable.clock, makeable.channels, makeable.number, fmtp);
    let Some(mut format) = made else { return };
    format.bitrate = entry.bitrate.filter(|bitrate| *bitrate > 0);
    let mut at = formats.iter().position(Format::is_supplement).unwrap_or(formats.len());
    formats.insert(at, format);
    for name in ["CN", "telephone-event"] {
        let is_it = |format: &&Format| format.name.eq_ignore_ascii_case(name);
        let model = formats.iter().find(is_it).cloned();
        let has_clock = formats.iter().any(|format| is_it(&format) && format.clock == makeable.clock);
        // Both sides of a call have the number that events had where they had one.
        let theirs = theirs.iter().find(|format| is_it(format) && format.clock == makeable.clock);
        let Some(model) = model.filter(|_| !has_clock) else { continue };
        let more = match theirs {
            Some(theirs) => Some(theirs.clone()),
            None => numbers.make(name, makeable.clock, 1, FIRST_DYNAMIC, &model.fmtp),
        };
        if let Some(more) = more {
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

    /// A payload type of ours; `None` if no number is left.
    fn make(&mut self, name: &str, clock: u32, channels: u8, wanted: u8, fmtp: &str) -> Option<Format> {
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
        let was = |list: &'b [Format], format: &Format| {
            list.iter().find(|other| other.is_same(format)).map(|other| other.number)
        };
        let number = was(self.theirs, &format)
            .or_else(|| was(self.before, &format).filter(is_free))
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

/// What the offerer is told of an answer.
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
    let theirs: Vec<&Format> = offer.formats.iter().filter(|f| !listed(&asked.ignore, f)).collect();
    let mut accepted: Vec<Format> =
        answer.formats.iter().filter(|format| find(offered.iter(), format).is_some()).cloned().collect();
    if accepted.is_empty() {
        // Nothing of it was offered: it is told as it is, and the two ends may make of it what they can.
        accepted.clone_from(&answer.formats);
    }
    if options.single
        && let Some(first) = accepted.iter().find(|format| format.is_speech()).cloned()
    {
        accepted.retain(|f| f.number == first.number || f.is_supplement() && f.clock == first.clock);
    }
    let mut formats: Vec<Format> = Vec::new();
    let convertible = is_convertible(offer) && is_convertible(answer);
    let partner = theirs.iter().find(|format| convertible && makeable(made, format).is_some());
    // Codecs that the offerer gets although the answerer has not taken them.
    let forced = |format: &Format| {
        let wanted = || asked.consume.iter().chain(&asked.accept);
        let is_wanted = asked.always_transcode || wanted().any(|entry| is_all(entry) || names(entry, format));
        convertible && makeable(made, format).is_some() && is_wanted
    };
    let is_makeable_answer = accepted.iter().any(|format| makeable(made, format).is_some());
    let first_forced = theirs.iter().find(|format| format.is_speech() && forced(format));
    if let Some(format) = first_forced.filter(|_| is_makeable_answer) {
        formats.push((*format).clone());
    } else {
        for format in &accepted {
            let near = find(theirs.iter().copied(), format).filter(|_| !is_ours(offered, format));
            let near = near.or_else(|| partner.copied().filter(|_| format.is_speech()));
            if let Some(near) = near {
                push_as_answered(&mut formats, near, format);
            }
        }
    }
    // Events and noise of the clocks that the offerer speaks at.
    let clocks: Vec<u32> = formats.iter().filter(|f| f.is_speech()).map(|f| f.clock).collect();
    let answered_kind = |format: &Format| {
        accepted.iter().any(|other| other.is_supplement() && other.name.eq_ignore_ascii_case(&format.name))
    };
    for near in theirs.iter().filter(|format| format.is_supplement() && clocks.contains(&format.clock)) {
        if answered_kind(near) {
            let model = accepted.iter().find(|other| other.is_same(near)).unwrap_or(near);
            push_as_answered(&mut formats, near, model);
        }
    }
    if formats.is_empty() {
        formats.clone_from(&accepted);
    }
    Told { formats, accepted }
}

/// In the offerer's number, with what the answerer says of it.
fn push_as_answered(formats: &mut Vec<Format>, near: &Format, answered: &Format) {
    if formats.iter().any(|format| format.number == near.number) {
        return;
    }
    let format = match near.is_same(answered) || answered.name.is_empty() {
        true => Format { number: near.number, is_made: false, ..answered.clone() },
        false => near.clone(),
    };
    formats.push(format);
}

/// Whether an accepted payload type is one that we put into the offer.
fn is_ours(offered: &[Format], accepted: &Format) -> bool {
    find(offered.iter(), accepted).is_some_and(|format| format.is_made)
}

/// The same payload type in a list: under the same number if there is one, else the same encoding. Sloppy answers leave
/// names away: then the number decides.
pub(super) fn find<'f>(
    list: impl Iterator<Item = &'f Format> + Clone,
    wanted: &Format,
) -> Option<&'f Format> {
    let is_alike = |format: &&Format| {
        let is_named = !format.name.is_empty() && !wanted.name.is_empty();
        let is_clock_same = format.clock == wanted.clock || format.number < 35;
        format.number == wanted.number
            && (!is_named || format.name.eq_ignore_ascii_case(&wanted.name) && is_clock_same)
    };
    let same = || list.clone().filter(|format| format.is_same(wanted));
    list.clone()
        .find(is_alike)
        .or_else(|| same().find(|format| format.fmtp.eq_ignore_ascii_case(&wanted.fmtp)))
        .or_else(|| same().next())
}

/// The number that most peers give `telephone-event`.
const EVENTS: u8 = 101;
/// The events that we take and make: digits.
const DIGITS: &str = "0-15";
const FIRST_DYNAMIC: u8 = 96;
