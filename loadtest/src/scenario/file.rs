//! Scenarios in TOML. Every mistake is told with its line; everything is bounded.

use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::step::Step;
use super::{Kind, Scenario};

/// Why a file is no scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadScenario {
    /// From 1.
    pub line: usize,
    /// What is wrong, and what was expected.
    pub message: String,
}

impl fmt::Display for BadScenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for BadScenario {}

const BYTES_MAX: usize = 64 << 10;
const KINDS_MAX: usize = 64;
const STEPS_MAX: usize = 64;
const WEIGHT_MAX: i64 = 1_000_000;

struct Reader<'t> {
    text: &'t str,
}

type Item<'t> = Spanned<DeValue<'t>>;

pub(super) fn read(name: &str, text: &str) -> Result<Scenario, BadScenario> {
    let reader = Reader { text };
    if text.len() > BYTES_MAX {
        return Err(reader.bad(0, format!("a scenario has {BYTES_MAX} bytes at most")));
    }
    let document = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        reader.bad(at, error.message().to_owned())
    })?;
    let (mut name, mut kinds) = (name.to_owned(), Vec::new());
    for (key, value) in document.get_ref() {
        match &**key.get_ref() {
            "name" => name = reader.word(value)?,
            "call" => kinds = reader.kinds(value)?,
            other => {
                return Err(
                    reader.bad(key.span().start, format!("{other:?} is no key; there are name and [[call]]"))
                );
            }
        }
    }
    if kinds.is_empty() {
        return Err(reader.bad(0, "there is no [[call]], so nobody calls".to_owned()));
    }
    Ok(Scenario { name, kinds })
}

impl Reader<'_> {
    fn bad(&self, at: usize, message: String) -> BadScenario {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        BadScenario { line: before.iter().filter(|&&byte| byte == b'\n').count() + 1, message }
    }

    fn wrong(&self, at: &Range<usize>, expected: &str) -> BadScenario {
        self.bad(at.start, format!("expected is {expected}"))
    }

    fn word(&self, value: &Item<'_>) -> Result<String, BadScenario> {
        let text = value.get_ref().as_str().filter(|text| !text.is_empty() && text.len() <= 64);
        text.map(str::to_owned).ok_or_else(|| self.wrong(&value.span(), "a text of 1 to 64 characters"))
    }

    fn number(&self, value: &Item<'_>, range: std::ops::RangeInclusive<i64>) -> Result<i64, BadScenario> {
        let number = match value.get_ref() {
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix()).ok(),
            _ => None,
        };
        let expected =
            || self.wrong(&value.span(), &format!("a number from {} to {}", range.start(), range.end()));
        number.filter(|number| range.contains(number)).ok_or_else(expected)
    }

    fn kinds(&self, value: &Item<'_>) -> Result<Vec<Kind>, BadScenario> {
        let calls = match value.get_ref() {
            DeValue::Array(calls) if calls.len() <= KINDS_MAX => calls,
            _ => return Err(self.wrong(&value.span(), "[[call]], 64 times at most")),
        };
        let mut kinds = Vec::new();
        for (number, call) in calls.iter().enumerate() {
            let DeValue::Table(table) = call.get_ref() else {
                return Err(self.wrong(&call.span(), "[[call]] with steps"));
            };
            kinds.push(self.kind(number, &call.span(), table)?);
        }
        Ok(kinds)
    }

    fn kind(&self, number: usize, at: &Range<usize>, table: &DeTable<'_>) -> Result<Kind, BadScenario> {
        let mut kind =
            Kind { name: format!("call {}", number + 1), weight: 1, answer: None, steps: Vec::new() };
        let mut has_steps = false;
        for (key, value) in table {
            match &**key.get_ref() {
                "name" => kind.name = self.word(value)?,
                "weight" => kind.weight = self.number(value, 1..=WEIGHT_MAX)? as u32,
                "answer" => kind.answer = Some(self.number(value, 300..=699)? as u16),
                "steps" => (kind.steps, has_steps) = (self.steps(value)?, true),
                other => {
                    let message =
                        format!("{other:?} is no key of [[call]]; there are name, weight, answer and steps");
                    return Err(self.bad(key.span().start, message));
                }
            }
        }
        if !has_steps && kind.answer.is_none() {
            return Err(self.wrong(at, "steps = [\"talk 2s\"] or the like in each [[call]]"));
        }
        if kind.answer.is_some() && !kind.steps.is_empty() {
            return Err(self.wrong(at, "either answer or steps: a call that is refused has none"));
        }
        Ok(kind)
    }

    fn steps(&self, value: &Item<'_>) -> Result<Vec<Step>, BadScenario> {
        let expected = "steps = [\"talk 2s\", …], 64 steps at most";
        let items = match value.get_ref() {
            DeValue::Array(items) if items.len() <= STEPS_MAX => items,
            _ => return Err(self.wrong(&value.span(), expected)),
        };
        let (mut steps, mut over, mut held) = (Vec::new(), false, false);
        for (place, item) in items.iter().enumerate() {
            let at = item.span();
            let text = item.get_ref().as_str().ok_or_else(|| self.wrong(&at, expected))?;
            if over {
                return Err(self.bad(at.start, format!("{text:?} comes after the end of the call")));
            }
            match text.trim() {
                "invite" if place == 0 => continue,
                "invite" => return Err(self.wrong(&at, "invite as the first step")),
                "bye" => {
                    over = true;
                    continue;
                }
                _ => (),
            }
            let step: Step = text.parse().map_err(|error| self.bad(at.start, format!("{error}")))?;
            match step {
                Step::Cancel(_) if !steps.is_empty() => {
                    return Err(self.wrong(&at, "cancel before all other steps: it comes before the answer"));
                }
                Step::Resume if !held => return Err(self.wrong(&at, "hold before resume")),
                Step::Hold(..) => held = true,
                Step::Resume => held = false,
                _ => (),
            }
            over = matches!(step, Step::Cancel(_) | Step::AwaitBye);
            steps.push(step);
        }
        Ok(steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "name = \"office\"\n\n[[call]]\nweight = 3\n\
        steps = [\"invite\", \"talk 2s\", \"hold 1s\", \"resume\", \"dtmf 123#\", \"bye\"]\n\n\
        [[call]]\nname = \"engaged\"\nanswer = 486\n";

    #[test]
    fn the_documented_example_reads() {
        let scenario = read("x", GOOD).unwrap();
        assert_eq!((scenario.name.as_str(), scenario.kinds.len()), ("office", 2));
        assert_eq!((scenario.kinds[0].weight, scenario.kinds[0].steps.len()), (3, 4));
        assert_eq!((scenario.kinds[1].name.as_str(), scenario.kinds[1].answer), ("engaged", Some(486)));
    }

    #[test]
    fn mistakes_are_told_with_line_and_what_was_expected() {
        let many = format!("[[call]]\nsteps = [{}]", "\"talk\",".repeat(65));
        for (text, line, words) in [
            ("", 1, "no [[call]]"),
            ("[[call]]\n", 1, "steps"),
            ("[[call]]\nsteps = [\"talk 2s\",\n\"tlak\"]", 3, "talk [TIME]"),
            ("[[call]]\nsteps = [1]", 2, "steps = ["),
            ("[[call]]\nstep = []", 2, "name, weight, answer and steps"),
            ("calls = 1", 1, "[[call]]"),
            ("[[call]]\nweight = 0\nsteps = []", 2, "1 to 1000000"),
            ("[[call]]\nanswer = 200", 2, "300 to 699"),
            ("[[call]]\nanswer = 486\nsteps = [\"talk\"]", 1, "either"),
            ("[[call]]\nsteps = [\"resume\"]", 2, "hold before resume"),
            ("[[call]]\nsteps = [\"bye\", \"talk\"]", 2, "after the end"),
            ("[[call]]\nsteps = [\"talk\", \"invite\"]", 2, "first"),
            ("[[call]]\nsteps = [\"talk\", \"cancel 1s\"]", 2, "before the answer"),
            ("[[call]]\nsteps = [", 2, ""),
            (many.as_str(), 2, "64 steps"),
        ] {
            let error = read("x", text).unwrap_err();
            assert!(error.line == line && error.message.contains(words), "{text:?}: {error}");
        }
        assert!(read("x", &"#".repeat(70_000)).unwrap_err().message.contains("65536"));
    }

    proptest::proptest! {
        #[test]
        fn anything_is_a_scenario_or_an_error(text: String, steps: Vec<String>) {
            let _ = read("x", &text);
            let _ = read("x", &format!("[[call]]\nsteps = {steps:?}"));
        }
    }
}
