//! Codecs by the names that SDP gives them, and how those that we make are offered.

use crate::error::nearest;
use crate::value::{Bad, Word};
use b2bua::spec::Makeable;
use std::sync::Arc;

/// An encoding name of SDP, as it is written there, perhaps with its clock: `opus`, `L16/16000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codec(pub String);

impl Word for Codec {
    const FORM: &'static str = "a codec by its SDP name: \"opus\", \"PCMU\", \"PCMA\", \"G722\", \"L16/16000\", or one that \
                                only passes, such as \"G729\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"-.+_/".contains(&b);
        if !(1..=32).contains(&text.len()) || !text.bytes().all(token) {
            return Err(Bad::new("is no name of a codec"));
        }
        let (name, clock) = text.split_once('/').map_or((text, None), |(name, clock)| (name, Some(clock)));
        let is = |known: &&str| known.eq_ignore_ascii_case(name);
        if BESIDE.iter().any(is) {
            return Err(Bad::new("is no codec of speech; it is offered wherever it is needed"));
        }
        if let Some((_, meant)) = COLLOQUIAL.iter().find(|(known, _)| is(known)) {
            return Err(Bad::meant("is no name of SDP", *meant));
        }
        let clocks = || made().filter(|made| is(&made.name)).map(|made| made.clock);
        let Some(first) = clocks().next() else {
            return match nearest(name, names()) {
                Some(meant) if !PASSING.iter().any(is) => Err(Bad::meant("is not known", meant)),
                Some(_) | None => Ok(Codec(text.to_owned())),
            };
        };
        let said = clock.map(|clock| clock.split('/').next().unwrap_or_default().parse::<u32>());
        match said {
            Some(said) if !clocks().any(|clock| said == Ok(clock)) => {
                Err(Bad::meant("has no such clock here", format!("{name}/{first}")))
            }
            Some(_) | None => Ok(Codec(text.to_owned())),
        }
    }

    fn word(&self) -> String {
        self.0.clone()
    }
}

/// What can be decoded and encoded here, as it is offered.
pub(crate) fn makeable() -> Arc<[Makeable]> {
    made().collect()
}

fn made() -> impl Iterator<Item = Makeable> {
    codec::registry::CODECS.iter().map(|made| {
        let known = OFFERED.iter().find(|(name, ..)| name.eq_ignore_ascii_case(made.name));
        let (name, number, fmtp) = known.copied().unwrap_or((made.name, FIRST_DYNAMIC, ""));
        Makeable { name, clock: made.clock, channels: made.channels, fmtp, number, ptimes: made.ptimes }
    })
}

fn names() -> Vec<&'static str> {
    made().map(|made| made.name).chain(PASSING.iter().copied()).collect()
}

/// How codecs of the registry are written, the payload type that peers are used to (RFC 3551 section 6 where it is
/// static), and what we say of what we take.
const OFFERED: [(&str, u8, &str); 5] = [
    ("PCMU", 0, ""),
    ("PCMA", 8, ""),
    ("G722", 9, ""),
    ("L16", FIRST_DYNAMIC, ""),
    ("opus", 111, "useinbandfec=1"),
];
const FIRST_DYNAMIC: u8 = 96;
/// Known from the IANA registry of RTP payload formats; they pass from side to side.
const PASSING: [&str; 25] = [
    "AMR",
    "AMR-WB",
    "AMR-WB+",
    "BV16",
    "BV32",
    "CLEARMODE",
    "DVI4",
    "EVRC",
    "EVRC0",
    "EVS",
    "G719",
    "G7221",
    "G723",
    "G726-16",
    "G726-24",
    "G726-32",
    "G726-40",
    "G728",
    "G729",
    "G7291",
    "GSM",
    "GSM-EFR",
    "iLBC",
    "LPC",
    "speex",
];
/// What stands beside speech.
const BESIDE: [&str; 4] = ["telephone-event", "CN", "tone", "red"];
/// What people call codecs.
const COLLOQUIAL: [(&str, &str); 10] = [
    ("ulaw", "PCMU"),
    ("mulaw", "PCMU"),
    ("alaw", "PCMA"),
    ("g711", "PCMA"),
    ("g711u", "PCMU"),
    ("g711a", "PCMA"),
    ("g711ulaw", "PCMU"),
    ("g711alaw", "PCMA"),
    ("slin", "L16/8000"),
    ("g729a", "G729"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::tests::check;

    #[test]
    fn codecs_are_known_by_their_names() {
        check::<Codec>(
            &[
                ("opus", "opus"),
                ("PCMU", "PCMU"),
                ("pcma", "pcma"),
                ("L16/16000", "L16/16000"),
                ("opus/48000/2", "opus/48000/2"),
                ("G729", "G729"),
                ("X-our-own-format", "X-our-own-format"),
            ],
            &[
                ("PCMV", Some("PCMU")),
                ("ulaw", Some("PCMU")),
                ("opuss", Some("opus")),
                ("L16/44100", Some("L16/8000")),
                ("G722/16000", Some("G722/8000")),
                ("telephone-event", None),
                ("", None),
                ("a b", None),
            ],
        );
    }

    #[test]
    fn what_we_make_is_offered_as_peers_know_it() {
        let made = makeable();
        let shown: Vec<_> = made
            .iter()
            .filter(|made| made.name != "L16")
            .map(|made| {
                format!("{} {}/{}/{} {}", made.number, made.name, made.clock, made.channels, made.fmtp)
            })
            .collect();
        assert_eq!(
            shown,
            ["0 PCMU/8000/1 ", "8 PCMA/8000/1 ", "9 G722/8000/1 ", "111 opus/48000/2 useinbandfec=1"]
        );
        assert!(made.iter().all(|made| !made.ptimes.is_empty()));
    }
}
