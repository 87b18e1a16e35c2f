//! What happens in calls: kinds of calls by weight, each a list of steps. By name or from a file. The course of call
//! number N follows from the seed, so that caller and callee know it without telling each other.
mod step; // one step as text
mod file; // scenarios in TOML

pub use file::BadScenario;
pub use step::{BadStep, Hold, Span, Step};

use std::collections::VecDeque;

use base::Rng;
use serde::Serialize;

use crate::speech::Codec;

/// Kinds of calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Scenario {
    /// How it is called.
    pub name: String,
    /// The kinds; never empty.
    pub kinds: Vec<Kind>,
}

/// One kind of call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kind {
    /// How it is called in reports.
    pub name: String,
    /// How often it comes, beside the other kinds.
    pub weight: u32,
    /// What the callee answers instead of 200; the call is then as it should be if the caller hears just that.
    pub answer: Option<u16>,
    /// What happens from the answer on; then the caller hangs up.
    pub steps: Vec<Step>,
}

/// What a call does, with all that is random decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Course {
    /// Index of its kind.
    pub kind: usize,
    /// When the caller gives up, after its INVITE, nanoseconds.
    pub cancel_after: Option<u64>,
    /// What the callee answers instead of 200.
    pub answer: Option<u16>,
    /// When the callee hangs up, after the ACK, nanoseconds.
    pub callee_hangs_up: Option<u64>,
    /// What comes after the answer.
    pub acts: VecDeque<Act>,
}

impl Course {
    /// Digits that are sent by INFO, in order.
    pub fn info_digits(&self) -> impl Iterator<Item = char> {
        self.acts
            .iter()
            .filter_map(|act| if let Act::Ask(Request::Info(digit)) = act { Some(*digit) } else { None })
    }
}

/// One thing that a caller does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// So many nanoseconds pass.
    Wait(u64),
    /// Digits within the audio.
    Dial(String),
    /// A request, and its answer.
    Ask(Request),
    /// The callee ought to hang up.
    AwaitBye,
}

/// Requests within a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// re-INVITE that puts the callee on hold.
    Hold(Hold),
    /// re-INVITE that takes it back.
    Resume,
    /// re-INVITE that changes nothing.
    Refresh,
    /// re-INVITE with another port.
    Move,
    /// re-INVITE with another codec.
    Switch(Codec),
    /// UPDATE that changes nothing.
    Update,
    /// OPTIONS.
    Options,
    /// INFO with a digit.
    Info(char),
    /// REFER to this number, or to the call's own.
    Refer(Option<String>),
}

impl Request {
    /// How it is called in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Request::Hold(_) => "hold",
            Request::Resume => "resume",
            Request::Refresh => "reinvite",
            Request::Move => "address",
            Request::Switch(_) => "codec",
            Request::Update => "update",
            Request::Options => "options",
            Request::Info(_) => "info",
            Request::Refer(_) => "refer",
        }
    }

    /// The method that it goes by.
    pub fn method(&self) -> &'static str {
        match self {
            Request::Hold(_) | Request::Resume | Request::Refresh | Request::Move | Request::Switch(_) => {
                "INVITE"
            }
            Request::Update => "UPDATE",
            Request::Options => "OPTIONS",
            Request::Info(_) => "INFO",
            Request::Refer(_) => "REFER",
        }
    }
}

/// A digit within the audio takes so long, nanoseconds.
pub const DIGIT_NS: u64 = 200_000_000;

/// The named scenarios: name and kinds, each with weight, answer and steps.
const NAMED: &[(&str, &[Named])] = &[
    ("basic", &[BASIC]),
    ("hold", &[HOLD]),
    ("reinvite", &[REINVITE]),
    ("codec", &[("codec", 1, None, &["talk", "reinvite codec pcma", "talk", "reinvite codec pcmu", "talk"])]),
    ("update", &[("update", 1, None, &["talk", "update", "talk"])]),
    ("options", &[("options", 1, None, &["talk", "options", "talk"])]),
    ("dtmf", &[DTMF]),
    ("info", &[("info", 1, None, &["talk", "info 1#", "talk"])]),
    ("cancel", &[CANCEL]),
    ("refer", &[("refer", 1, None, &["talk", "refer"])]),
    ("busy", &[BUSY]),
    ("hangup", &[HANGUP]),
    (
        "mixed",
        &[
            (BASIC.0, 8, BASIC.2, BASIC.3),
            (HOLD.0, 3, HOLD.2, HOLD.3),
            (REINVITE.0, 2, REINVITE.2, REINVITE.3),
            (DTMF.0, 3, DTMF.2, DTMF.3),
            (CANCEL.0, 2, CANCEL.2, CANCEL.3),
            (BUSY.0, 1, BUSY.2, BUSY.3),
            (HANGUP.0, 2, HANGUP.2, HANGUP.3),
        ],
    ),
];

type Named = (&'static str, u32, Option<u16>, &'static [&'static str]);
const BASIC: Named = ("basic", 1, None, &["talk"]);
const HOLD: Named =
    ("hold", 1, None, &["talk", "hold 500ms", "resume", "talk", "hold inactive 500ms", "resume", "talk"]);
const REINVITE: Named = ("reinvite", 1, None, &["talk", "reinvite", "talk", "reinvite address", "talk"]);
const DTMF: Named = ("dtmf", 1, None, &["talk", "dtmf 123#", "talk"]);
const CANCEL: Named = ("cancel", 1, None, &["cancel 0s-2s"]);
const BUSY: Named = ("busy", 1, Some(486), &[]);
const HANGUP: Named = ("hangup", 1, None, &["talk", "await bye"]);

impl Default for Scenario {
    fn default() -> Self {
        Scenario::named("basic").expect("it is in the list")
    }
}

impl Scenario {
    /// One of [`Scenario::names`].
    pub fn named(name: &str) -> Option<Scenario> {
        let (name, kinds) = NAMED.iter().find(|named| named.0 == name)?;
        let kinds = kinds.iter().map(|(name, weight, answer, steps)| Kind {
            name: (*name).to_owned(),
            weight: *weight,
            answer: *answer,
            steps: steps.iter().map(|step| step.parse().expect("the list is right")).collect(),
        });
        Some(Scenario { name: (*name).to_owned(), kinds: kinds.collect() })
    }

    /// Names that there are.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMED.iter().map(|named| named.0)
    }

    /// Reads a scenario from TOML: `[[call]]` tables with `steps`, and perhaps `name`, `weight` and `answer`.
    ///
    /// # Errors
    /// What is wrong, and in which line.
    pub fn read(name: &str, text: &str) -> Result<Scenario, BadScenario> {
        file::read(name, text)
    }

    /// Whether calls move their media to another port.
    pub fn moves(&self) -> bool {
        self.kinds.iter().flat_map(|kind| &kind.steps).any(|step| *step == Step::Move)
    }

    /// Whether a party's audio stops or becomes something else for a while: on hold, for digits, while it moves.
    pub fn interrupts(&self) -> bool {
        let mut steps = self.kinds.iter().flat_map(|kind| &kind.steps);
        steps.any(|step| {
            matches!(step, Step::Hold(..) | Step::Resume | Step::Move | Step::Switch(_) | Step::Dtmf(_))
        })
    }

    /// In what else than the first codec calls speak.
    pub fn codecs(&self) -> Vec<Codec> {
        let steps = self.kinds.iter().flat_map(|kind| &kind.steps);
        steps.filter_map(|step| if let Step::Switch(codec) = step { Some(*codec) } else { None }).collect()
    }

    /// What call number `number` of a run with `seed` does. A `talk` without a time is an equal share of `talk_ns`.
    pub fn course(&self, seed: u64, number: u32, talk_ns: u64) -> Course {
        let mut rng = Rng::from_seed(seed ^ (u64::from(number) << 20) ^ 0x5ce_4a10);
        let total: u64 = self.kinds.iter().map(|kind| u64::from(kind.weight)).sum();
        let mut place = rng.below(total);
        let weighs = |kind: &Kind| {
            let here = place < u64::from(kind.weight);
            place = place.saturating_sub(u64::from(kind.weight));
            here
        };
        let index = self.kinds.iter().position(weighs).unwrap_or(0);
        let kind = &self.kinds[index];
        let shares = kind.steps.iter().filter(|step| matches!(step, Step::Talk(None))).count();
        let share = talk_ns / shares.max(1) as u64;
        let mut course = Course { kind: index, answer: kind.answer, ..Course::default() };
        let mut passed = 0;
        for step in &kind.steps {
            let acts: &mut VecDeque<Act> = &mut course.acts;
            let mut wait = |acts: &mut VecDeque<Act>, ns: u64| {
                passed += ns;
                acts.push_back(Act::Wait(ns));
            };
            match step {
                Step::Cancel(span) => course.cancel_after = Some(span.pick(&mut rng)),
                Step::Talk(None) => wait(acts, share),
                Step::Talk(Some(span)) => wait(acts, span.pick(&mut rng)),
                Step::Hold(hold, span) => {
                    acts.push_back(Act::Ask(Request::Hold(*hold)));
                    wait(acts, span.pick(&mut rng));
                }
                Step::Resume => acts.push_back(Act::Ask(Request::Resume)),
                Step::Refresh => acts.push_back(Act::Ask(Request::Refresh)),
                Step::Move => acts.push_back(Act::Ask(Request::Move)),
                Step::Switch(codec) => acts.push_back(Act::Ask(Request::Switch(*codec))),
                Step::Update => acts.push_back(Act::Ask(Request::Update)),
                Step::Options => acts.push_back(Act::Ask(Request::Options)),
                Step::Dtmf(digits) => {
                    passed += DIGIT_NS * digits.len() as u64;
                    acts.push_back(Act::Dial(digits.clone()));
                }
                Step::Info(digits) => {
                    acts.extend(digits.chars().map(|digit| Act::Ask(Request::Info(digit))));
                }
                Step::Refer(number) => acts.push_back(Act::Ask(Request::Refer(number.clone()))),
                Step::AwaitBye => {
                    acts.push_back(Act::AwaitBye);
                    course.callee_hangs_up = Some(passed);
                }
            }
        }
        course
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn holds_digits_and_moves_interrupt_the_audio() {
        let interrupts = |name: &&str| Scenario::named(name).unwrap().interrupts();
        let names: Vec<_> = Scenario::names().filter(interrupts).collect();
        assert_eq!(names, ["hold", "reinvite", "codec", "dtmf", "mixed"]);
    }

    #[test]
    fn every_named_scenario_reads_and_has_a_course() {
        for name in Scenario::names() {
            let scenario = Scenario::named(name).expect("listed");
            let course = scenario.course(1, 0, 3_000_000_000);
            assert!(course.kind < scenario.kinds.len(), "{name}");
        }
        assert!(Scenario::named("bsic").is_none());
        assert!(Scenario::named("reinvite").unwrap().moves() && !Scenario::default().moves());
        assert_eq!(Scenario::named("codec").unwrap().codecs(), [Codec::Pcma, Codec::Pcmu]);
    }

    #[test]
    fn kinds_come_by_weight_and_a_course_follows_from_seed_and_number() {
        let mixed = Scenario::named("mixed").unwrap();
        let mut counts = BTreeMap::<usize, u32>::new();
        for number in 0..21_000 {
            let course = mixed.course(7, number, 1);
            assert_eq!(course, mixed.course(7, number, 1));
            *counts.entry(course.kind).or_default() += 1;
        }
        for (index, kind) in mixed.kinds.iter().enumerate() {
            assert!(counts[&index].abs_diff(kind.weight * 1_000) < 200, "{}: {}", kind.name, counts[&index]);
        }
        assert!((0..100).any(|number| mixed.course(7, number, 1).kind != mixed.course(8, number, 1).kind));
    }

    #[test]
    fn talks_share_the_time_and_the_callee_knows_when_to_hang_up() {
        let hold = Scenario::named("hold").unwrap().course(1, 1, 3_000);
        let waits = hold.acts.iter().filter_map(|act| if let Act::Wait(ns) = act { Some(*ns) } else { None });
        assert_eq!(waits.collect::<Vec<_>>(), [1_000, 500_000_000, 1_000, 500_000_000, 1_000]);
        let hangup = Scenario::named("hangup").unwrap().course(1, 1, 3_000);
        assert_eq!(hangup.callee_hangs_up, Some(3_000));
        let after = Scenario::named("cancel").unwrap().course(1, 1, 3_000).cancel_after.unwrap();
        assert!(after <= 2_000_000_000);
    }
}
