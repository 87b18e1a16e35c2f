//! One step of a call as text: `talk 2s`, `hold inactive 1s-3s`, `dtmf 123#`.

use std::fmt;
use std::str::FromStr;

use base::Rng;
use serde::{Serialize, Serializer};

use crate::speech::Codec;

/// A time, or any between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    from_ns: u64,
    to_ns: u64,
}

impl Span {
    /// One of them.
    pub fn pick(&self, rng: &mut Rng) -> u64 {
        self.from_ns + rng.below(self.to_ns - self.from_ns + 1)
    }
}

/// How the callee is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It still hears the caller: `sendonly`.
    SendOnly,
    /// Nobody hears anything: `inactive`.
    Inactive,
}

/// What a scenario can say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The caller gives up before there is an answer, this long after its INVITE.
    Cancel(Span),
    /// Both talk; without a time, for an equal share of what the run says.
    Talk(Option<Span>),
    /// The callee is put on hold for this long.
    Hold(Hold, Span),
    /// It is taken back.
    Resume,
    /// re-INVITE that changes nothing.
    Refresh,
    /// The caller moves to another port.
    Move,
    /// Both change the codec.
    Switch(Codec),
    /// UPDATE that changes nothing.
    Update,
    /// OPTIONS within the call.
    Options,
    /// Digits within the audio.
    Dtmf(String),
    /// Digits by INFO.
    Info(String),
    /// Blind transfer, to this number or to the one that was called.
    Refer(Option<String>),
    /// The callee hangs up.
    AwaitBye,
}

/// What a step is expected to be; the text for people.
pub(super) const EXPECTED: &str = "one of: talk [TIME], hold [sendonly|inactive] TIME, resume, \
     reinvite [address|codec pcmu|codec pcma], update, options, dtmf DIGITS, info DIGITS, refer [NUMBER], \
     cancel TIME, await bye, with TIME such as 500ms, 2s, 1m or 1s-3s";

const DIGITS_MAX: usize = 32;
const LONGEST_NS: u64 = 24 * 3_600 * 1_000_000_000;

/// A text that is no step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no step; expected is {expected}")]
pub struct BadStep {
    text: String,
    expected: &'static str,
}

impl FromStr for Step {
    type Err = BadStep;

    fn from_str(text: &str) -> Result<Self, BadStep> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let bad = |expected| BadStep { text: text.chars().take(60).collect(), expected };
        let time = |word: &str| {
            span(word).ok_or_else(|| bad("a time up to 24h such as 500ms, 2s, 1m or 1s-3s at its end"))
        };
        let digits = |word: &str| {
            let good = word.len() <= DIGITS_MAX
                && word.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'*' | b'#' | b'A'..=b'D'));
            if good { Ok(word.to_owned()) } else { Err(bad("up to 32 digits of 0-9 * # A-D at its end")) }
        };
        Ok(match words[..] {
            ["talk"] => Step::Talk(None),
            ["talk", word] => Step::Talk(Some(time(word)?)),
            ["hold" | "hold-sendonly", word] | ["hold", "sendonly", word] => {
                Step::Hold(Hold::SendOnly, time(word)?)
            }
            ["hold", "inactive", word] => Step::Hold(Hold::Inactive, time(word)?),
            ["resume"] => Step::Resume,
            ["reinvite"] => Step::Refresh,
            ["reinvite", "address"] => Step::Move,
            ["reinvite", "codec", "pcmu"] => Step::Switch(Codec::Pcmu),
            ["reinvite", "codec", "pcma"] => Step::Switch(Codec::Pcma),
            ["update"] => Step::Update,
            ["options"] => Step::Options,
            ["dtmf", word] => Step::Dtmf(digits(word)?),
            ["info", word] => Step::Info(digits(word)?),
            ["refer"] => Step::Refer(None),
            ["refer", number] => {
                let good = number.len() <= DIGITS_MAX
                    && number.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'+');
                if !good {
                    return Err(bad("a number at its end"));
                }
                Step::Refer(Some(number.to_owned()))
            }
            ["cancel", word] => Step::Cancel(time(word)?),
            ["await", "bye"] => Step::AwaitBye,
            _ => return Err(bad(EXPECTED)),
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Cancel(span) => write!(f, "cancel {span}"),
            Step::Talk(None) => f.write_str("talk"),
            Step::Talk(Some(span)) => write!(f, "talk {span}"),
            Step::Hold(Hold::SendOnly, span) => write!(f, "hold {span}"),
            Step::Hold(Hold::Inactive, span) => write!(f, "hold inactive {span}"),
            Step::Resume => f.write_str("resume"),
            Step::Refresh => f.write_str("reinvite"),
            Step::Move => f.write_str("reinvite address"),
            Step::Switch(codec) => write!(f, "reinvite codec {}", codec.name().to_ascii_lowercase()),
            Step::Update => f.write_str("update"),
            Step::Options => f.write_str("options"),
            Step::Dtmf(digits) => write!(f, "dtmf {digits}"),
            Step::Info(digits) => write!(f, "info {digits}"),
            Step::Refer(None) => f.write_str("refer"),
            Step::Refer(Some(number)) => write!(f, "refer {number}"),
            Step::AwaitBye => f.write_str("await bye"),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |ns: u64| ns / 1_000_000;
        write!(f, "{}ms", ms(self.from_ns))?;
        if self.to_ns > self.from_ns { write!(f, "-{}ms", ms(self.to_ns)) } else { Ok(()) }
    }
}

impl Serialize for Step {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn span(text: &str) -> Option<Span> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let (from_ns, to_ns) = (time_ns(from)?, time_ns(to)?);
    (from_ns <= to_ns).then_some(Span { from_ns, to_ns })
}

fn time_ns(text: &str) -> Option<u64> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit_at);
    let factor = match unit {
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3_600e9,
        _ => return None,
    };
    let plain = number.bytes().all(|c| c.is_ascii_digit() || c == b'.');
    let ns = number.parse::<f64>().ok().filter(|_| plain)? * factor;
    (ns <= LONGEST_NS as f64).then_some(ns as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for text in [
            "talk",
            "talk 2s",
            "hold 1s",
            "hold sendonly 1s",
            "hold inactive 1s-3s",
            "resume",
            "reinvite",
            "reinvite address",
            "reinvite codec pcma",
            "update",
            "options",
            "dtmf 123#",
            "info *0D",
            "refer",
            "refer +15550100",
            "cancel 0s-2.5s",
            "await bye",
            "talk 1m",
            "talk 24h",
        ] {
            let step: Step = text.parse().unwrap();
            assert_eq!(step.to_string().parse(), Ok(step), "{text}");
        }
    }

    #[test]
    fn mistakes_say_what_was_expected() {
        for (text, expected) in [
            ("tlak 2s", "talk [TIME]"),
            ("", "talk [TIME]"),
            ("talk 2", "500ms"),
            ("talk 3s-1s", "500ms"),
            ("talk 25h", "24h"),
            ("talk -1s", "500ms"),
            ("talk 1e3s", "500ms"),
            ("dtmf 12x", "32 digits"),
            ("dtmf 123456789012345678901234567890123", "32 digits"),
            ("refer a@b", "a number"),
            ("reinvite codec opus", "talk [TIME]"),
        ] {
            let error = text.parse::<Step>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
