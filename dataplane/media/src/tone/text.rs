//! Tones as text: `busy/de`, or a cadence such as `440+480/2000,0/4000`.

use super::{COUNTRIES, NAMES, STEPS_MAX, named};
use base::Duration;
use command::{Tone, ToneStep};
use core::fmt;

/// Makes a tone of its text.
///
/// - A name, or a name and a country: `ring`, `busy/de`; without a country that of the USA is meant.
/// - A cadence: steps with commas between, each `frequencies[@level][/milliseconds]`. Frequencies are in Hz, up to four
///   with `+` between, or two with `*`: the first modulated by the second; `0` is a pause. The level of each is in dBm0,
///   -13 if not said. A step without a length goes on for ever, so it is the only one. With `!` before it, a cadence is
///   heard once rather than again and again.
///
/// # Errors
/// What is wrong first.
pub fn parse(text: &str) -> Result<Tone, ToneError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(ToneError::Empty);
    }
    if !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return match text.strip_prefix('!') {
            Some(rest) => cadence(rest, true),
            None => cadence(text, false),
        };
    }
    let (name, country) = text.split_once('/').unwrap_or((text, "us"));
    if named(name, "us").is_none() {
        return Err(ToneError::Name);
    }
    named(name, country).ok_or(ToneError::Country)
}

/// Why a text is no tone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToneError {
    /// There is none.
    Empty,
    /// No tone has this name.
    Name,
    /// No tones of this country are known.
    Country,
    /// More than [`STEPS_MAX`] steps.
    Steps,
    /// Not a frequency from 16 to 20,000 Hz, nor 0.
    Frequency,
    /// More than four frequencies, or more than two where one modulates the other.
    Frequencies,
    /// Not a level from -63 to 3 dBm0.
    Level,
    /// Not 10 to 600,000 ms, or missing where there are several steps.
    Duration,
}

impl fmt::Display for ToneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ToneError::Empty => f.write_str("a tone is a name, a name/country, or a cadence"),
            ToneError::Name => write!(f, "no tone has this name; there are {}", NAMES.join(", ")),
            ToneError::Country => write!(f, "no tones of this country; there are {}", COUNTRIES.join(", ")),
            ToneError::Steps => write!(f, "a cadence has at most {STEPS_MAX} steps"),
            ToneError::Frequency => f.write_str("a frequency is 16 to 20000 Hz, or 0 for a pause"),
            ToneError::Frequencies => {
                f.write_str("a step has up to four frequencies (a+b+c+d) or one modulated by another (a*b)")
            }
            ToneError::Level => f.write_str("a level is -63 to 3 dBm0, as in 440@-20"),
            ToneError::Duration => {
                f.write_str("a step lasts 10 to 600000 ms, as in 440/500; only a single step may go without")
            }
        }
    }
}

impl core::error::Error for ToneError {}

/// A cadence without its `!`.
pub(super) fn cadence(text: &str, once: bool) -> Result<Tone, ToneError> {
    let mut steps = Vec::new();
    let single = !text.contains(',');
    for part in text.split(',') {
        if steps.len() == STEPS_MAX {
            return Err(ToneError::Steps);
        }
        steps.push(step(part.trim(), single)?);
    }
    Ok(Tone { steps, once })
}

fn step(text: &str, single: bool) -> Result<ToneStep, ToneError> {
    let (sound, duration) = match text.split_once('/') {
        Some((sound, ms)) => {
            let ms: u64 = digits(ms).ok_or(ToneError::Duration)?;
            if !(10..=600_000).contains(&ms) {
                return Err(ToneError::Duration);
            }
            (sound, Duration::from_millis(ms))
        }
        None if single => (text, Duration::from_secs(1)),
        None => return Err(ToneError::Duration),
    };
    let (sound, level_dbm0) = match sound.split_once('@') {
        Some((sound, level)) => {
            let level = level.parse().ok().filter(|level| (-63..=3).contains(level));
            (sound, level.ok_or(ToneError::Level)?)
        }
        None => (sound, LEVEL_DBM0),
    };
    let modulated = sound.contains('*');
    let (between, most) = if modulated { ('*', 2) } else { ('+', 4) };
    let mut frequencies = [0; 4];
    for (at, frequency) in sound.split(between).enumerate() {
        if at == most {
            return Err(ToneError::Frequencies);
        }
        let hertz = digits(frequency).filter(|hertz| *hertz == 0 || (16..=20_000).contains(hertz));
        frequencies[at] = hertz.ok_or(ToneError::Frequency)? as u16;
    }
    Ok(ToneStep { frequencies, modulated, level_dbm0, duration })
}

/// Up to six digits.
fn digits(text: &str) -> Option<u64> {
    let plain = (1..=6).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// Of each frequency, where none is said.
const LEVEL_DBM0: i8 = -13;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_countries_and_cadences_are_read() {
        assert_eq!(parse("busy/de"), Ok(named("busy", "de").unwrap()));
        assert_eq!(parse(" ring "), Ok(named("ring", "us").unwrap()));
        let step = |frequencies, ms| ToneStep {
            frequencies,
            modulated: false,
            level_dbm0: LEVEL_DBM0,
            duration: Duration::from_millis(ms),
        };
        assert_eq!(parse("440"), Ok(Tone { steps: vec![step([440, 0, 0, 0], 1_000)], once: false }));
        let ring = vec![step([440, 480, 0, 0], 2_000), step([0; 4], 4_000)];
        assert_eq!(parse("440+480/2000,0/4000"), Ok(Tone { steps: ring.clone(), once: false }));
        assert_eq!(parse("!440+480/2000, 0/4000"), Ok(Tone { steps: ring, once: true }));
        let modulated = parse("400*20@-20/1000").unwrap().steps[0];
        assert_eq!(
            (modulated.frequencies, modulated.modulated, modulated.level_dbm0),
            ([400, 20, 0, 0], true, -20)
        );
    }

    #[test]
    fn what_is_wrong_is_told() {
        let check = |text: &str, expected| {
            assert_eq!(parse(text), Err(expected), "{text}");
            assert!(!expected.to_string().is_empty());
        };
        check("", ToneError::Empty);
        check("hum", ToneError::Name);
        check("hum/de", ToneError::Name);
        check("busy/zz", ToneError::Country);
        check("440/100,440/100,100,", ToneError::Duration);
        check(&["440/100"; 9].join(","), ToneError::Steps);
        check("440/5", ToneError::Duration);
        check("440/x", ToneError::Duration);
        check("440,0/500", ToneError::Duration);
        check("5", ToneError::Frequency);
        check("99999", ToneError::Frequency);
        check("+440", ToneError::Frequency);
        check("1+2", ToneError::Frequency);
        check("440+440+440+440+440", ToneError::Frequencies);
        check("440*20*20", ToneError::Frequencies);
        check("440@4/100", ToneError::Level);
        check("!", ToneError::Frequency);
    }

    proptest! {
        #[test]
        fn any_text_is_a_tone_or_not(text in "[0-9+*@/,!a-z -]{0,60}") {
            if let Ok(tone) = parse(&text) {
                prop_assert!((1..=STEPS_MAX).contains(&tone.steps.len()));
                prop_assert!(tone.steps.iter().all(|step| step.duration > Duration::ZERO));
            }
        }
    }
}
