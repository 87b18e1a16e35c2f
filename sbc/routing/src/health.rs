//! Whether a trunk may be tried: what probes, its own calls and the operator say of it. One for each trunk, shared by all
//! signalling shards and kept by name through versions of the configuration.

use base::{Duration, Instant};
use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// `trunk.NAME.probe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeSpec {
    /// So many missing answers in a row mean that it is down.
    pub down_after: u32,
    /// So many answers in a row mean that it is up again.
    pub up_after: u32,
}

/// `trunk.NAME.breaker`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerSpec {
    /// So many timeouts in a row open it; 0 never does.
    pub timeouts: u32,
    /// So does such a share of failed calls within [`RATIO_WINDOW`]; above 1 never does.
    pub fail_ratio: f64,
    /// From so many calls on.
    pub min_calls: u32,
    /// How long nobody tries.
    pub open: Duration,
    /// So many calls try it afterwards; when all are good, it closes.
    pub trial: u32,
}

/// How far back the share of failed calls looks.
pub const RATIO_WINDOW: Duration = Duration::from_secs(60);

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// 2xx.
    Answered,
    /// A final answer that says nothing against the trunk: busy, not found, challenge.
    Refused,
    /// A final answer of the failing kind: 408, 5xx.
    Failed,
    /// No answer.
    Timeout,
    /// Nobody there: connection refused, ICMP, no address.
    Unreachable,
    /// The caller went away before anything could be said.
    Abandoned,
}

/// Leave to try; to be given back by [`Health::on_result`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what became of the attempt must be told"]
pub struct Pass {
    /// Which turn of the breaker it belongs to: what comes late counts for nothing.
    turn: u64,
}

/// Why a trunk may not be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyNot {
    /// It does not answer probes.
    Down,
    /// Too many of its calls failed.
    Open {
        /// Then it is on trial.
        until: Instant,
    },
    /// It is on trial, and others try it.
    TrialTaken,
    /// It is switched off.
    Disabled {
        /// Then it comes back by itself.
        until: Option<Instant>,
    },
}

impl WhyNot {
    /// For people.
    pub fn word(self) -> &'static str {
        match self {
            WhyNot::Down => "down by probe",
            WhyNot::Open { .. } => "breaker open",
            WhyNot::TrialTaken => "breaker on trial",
            WhyNot::Disabled { .. } => "disabled",
        }
    }
}

/// The state of a trunk in one word; the first of these that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Switched off.
    Disabled,
    /// Does not answer probes.
    Down,
    /// Left alone after too many failures.
    Open,
    /// Some calls try it.
    HalfOpen,
    /// Nothing against it.
    Up,
}

impl Word {
    /// As in events, metrics and the API.
    pub fn name(self) -> &'static str {
        match self {
            Word::Disabled => "disabled",
            Word::Down => "down",
            Word::Open => "open",
            Word::HalfOpen => "half-open",
            Word::Up => "up",
        }
    }
}

/// A trunk as the operator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// In one word.
    pub word: Word,
    /// Since when; `Instant(0)` since the start.
    pub since: Instant,
    /// When that ends by itself, if it does.
    pub until: Option<Instant>,
    /// Timeouts in a row.
    pub timeouts: u32,
    /// Probes in a row without an answer.
    pub probes_missed: u32,
}

/// The word changed: an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it was when last told.
    pub from: Word,
    /// What it is.
    pub to: Word,
}

/// One trunk.
#[derive(Debug, Default)]
pub struct Health {
    /// Not up in every way, so that the lock must be taken to know more.
    troubled: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    probe: Option<ProbeSpec>,
    breaker: Option<BreakerSpec>,
    /// Switched off, and until when.
    disabled: Option<Option<Instant>>,
    down: bool,
    missed: u32,
    answered: u32,
    gate: Gate,
    turn: u64,
    timeouts: u32,
    recent: Recent,
    told: Option<Word>,
    since: Instant,
}

/// The breaker.
#[derive(Clone, Copy, Debug, Default)]
enum Gate {
    #[default]
    Closed,
    Open {
        until: Instant,
    },
    /// So many may still go, so many were good; after `until` those that never said what became of them count no more.
    Half {
        left: u32,
        good: u32,
        until: Instant,
    },
}

/// Calls and failures by the clock: the last minute in six parts.
#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    parts: [(u64, u32, u32); PARTS],
}

const PARTS: usize = 6;
const PART_NANOS: u64 = RATIO_WINDOW.as_nanos() as u64 / PARTS as u64;

impl Recent {
    fn count(&mut self, now: Instant, failed: bool) {
        let number = now.0 / PART_NANOS;
        let part = &mut self.parts[number as usize % PARTS];
        if part.0 != number {
            *part = (number, 0, 0);
        }
        part.1 = part.1.saturating_add(1);
        part.2 = part.2.saturating_add(failed.into());
    }

    /// Calls, and those that failed.
    fn sum(&self, now: Instant) -> (u64, u64) {
        let oldest = (now.0 / PART_NANOS).saturating_sub(PARTS as u64 - 1);
        let parts = self.parts.iter().filter(|part| part.0 >= oldest);
        parts.fold((0, 0), |sum, part| (sum.0 + u64::from(part.1), sum.1 + u64::from(part.2)))
    }
}

impl Health {
    /// Up, and neither probed nor guarded.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the configuration says. What is known stays, unless it can no longer change: a trunk that is no longer probed
    /// is not down, one without a breaker not open.
    pub fn set(&self, probe: Option<ProbeSpec>, breaker: Option<BreakerSpec>) {
        self.change(|inner| {
            if probe.is_none() {
                (inner.down, inner.missed, inner.answered) = (false, 0, 0);
            }
            if breaker.is_none() {
                inner.close();
            }
            (inner.probe, inner.breaker) = (probe, breaker);
        });
    }

    /// Whether it may be tried; takes nothing.
    ///
    /// # Errors
    /// Why not.
    pub fn would(&self, now: Instant) -> Result<(), WhyNot> {
        if !self.troubled.load(Ordering::Acquire) {
            return Ok(());
        }
        self.lock().would(now)
    }

    /// Leave to try it now. On trial, one place of the trial is taken.
    ///
    /// # Errors
    /// Why not.
    pub fn may_try(&self, now: Instant) -> Result<Pass, WhyNot> {
        self.change(|inner| {
            inner.would(now)?;
            inner.step(now);
            if let (Gate::Half { left, until, .. }, Some(spec)) = (&mut inner.gate, inner.breaker) {
                *left -= 1;
                // Who takes a place has the whole time to say what became of it, however long nobody came before.
                *until = now + spec.open;
            }
            Ok(Pass { turn: inner.turn })
        })
    }

    /// What became of an attempt.
    pub fn on_result(&self, now: Instant, pass: Pass, attempt: Attempt) -> Option<Change> {
        self.change(|inner| {
            inner.on_result(now, pass, attempt);
            inner.news(now)
        })
    }

    /// What became of a probe.
    pub fn on_probe(&self, now: Instant, answered: bool) -> Option<Change> {
        self.change(|inner| {
            let spec = inner.probe?;
            if answered {
                (inner.missed, inner.answered) = (0, inner.answered.saturating_add(1));
                inner.down &= inner.answered < spec.up_after;
            } else {
                (inner.missed, inner.answered) = (inner.missed.saturating_add(1), 0);
                inner.down |= inner.missed >= spec.down_after;
            }
            inner.news(now)
        })
    }

    /// Switches it off, for good or until then.
    pub fn disable(&self, now: Instant, until: Option<Instant>) -> Option<Change> {
        self.change(|inner| {
            inner.disabled = Some(until);
            inner.news(now)
        })
    }

    /// Switches it on, and gives it a new start: the breaker closes. What probes say holds on.
    pub fn enable(&self, now: Instant) -> Option<Change> {
        self.change(|inner| {
            inner.disabled = None;
            inner.close();
            inner.news(now)
        })
    }

    /// A change that time brought: to be asked now and then, such as once a second.
    pub fn poll(&self, now: Instant) -> Option<Change> {
        if !self.troubled.load(Ordering::Acquire) {
            return None;
        }
        self.change(|inner| inner.news(now))
    }

    /// For people.
    pub fn state(&self, now: Instant) -> State {
        let inner = self.lock();
        let word = inner.word(now);
        let until = match (word, inner.disabled, inner.gate) {
            (Word::Disabled, Some(until), _) => until,
            (Word::Open, _, Gate::Open { until }) => Some(until),
            _ => None,
        };
        let (timeouts, probes_missed) = (inner.timeouts, inner.missed);
        let since = match (word, inner.gate) {
            (word, _) if word == inner.told.unwrap_or(Word::Up) => inner.since,
            (Word::HalfOpen, Gate::Open { until }) => until,
            _ => now,
        };
        State { word, since, until, timeouts, probes_missed }
    }

    fn change<R>(&self, work: impl FnOnce(&mut Inner) -> R) -> R {
        let mut inner = self.lock();
        let result = work(&mut inner);
        let told = inner.told.unwrap_or(Word::Up);
        let troubled =
            inner.disabled.is_some() || inner.down || !matches!(inner.gate, Gate::Closed) || told != Word::Up;
        self.troubled.store(troubled, Ordering::Release);
        result
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn would(&self, now: Instant) -> Result<(), WhyNot> {
        if let Some(until) = self.disabled.filter(|until| until.is_none_or(|until| now < until)) {
            return Err(WhyNot::Disabled { until });
        }
        if self.down {
            return Err(WhyNot::Down);
        }
        match self.gate {
            Gate::Open { until } if now < until => Err(WhyNot::Open { until }),
            Gate::Half { left: 0, until, .. } if now < until => Err(WhyNot::TrialTaken),
            Gate::Closed | Gate::Open { .. } | Gate::Half { .. } => Ok(()),
        }
    }

    /// Does what time asks for.
    fn step(&mut self, now: Instant) {
        if self.disabled.is_some_and(|until| until.is_some_and(|until| now >= until)) {
            self.disabled = None;
        }
        let Some(spec) = self.breaker else { return };
        match self.gate {
            Gate::Open { until } if now >= until => self.on_trial(now, spec),
            // Those who took the trial never said what became of it.
            Gate::Half { left: 0, until, .. } if now >= until => self.on_trial(now, spec),
            Gate::Closed | Gate::Open { .. } | Gate::Half { .. } => {}
        }
    }

    fn on_trial(&mut self, now: Instant, spec: BreakerSpec) {
        self.turn += 1;
        self.gate = Gate::Half { left: spec.trial.max(1), good: 0, until: now + spec.open };
    }

    fn on_result(&mut self, now: Instant, pass: Pass, attempt: Attempt) {
        let Some(spec) = self.breaker.filter(|_| pass.turn == self.turn) else { return };
        let failed = matches!(attempt, Attempt::Failed | Attempt::Timeout | Attempt::Unreachable);
        match &mut self.gate {
            Gate::Open { .. } => {}
            Gate::Half { left, .. } if attempt == Attempt::Abandoned => *left += 1,
            Gate::Closed if attempt == Attempt::Abandoned => {}
            Gate::Half { .. } if failed => self.open(now, spec),
            Gate::Half { good, .. } => {
                *good += 1;
                if *good >= spec.trial {
                    self.close();
                }
            }
            Gate::Closed => {
                self.timeouts = match attempt {
                    Attempt::Timeout | Attempt::Unreachable => self.timeouts.saturating_add(1),
                    _ => 0,
                };
                self.recent.count(now, failed);
                let (calls, failures) = self.recent.sum(now);
                let too_many = failed
                    && calls >= u64::from(spec.min_calls)
                    && failures as f64 >= spec.fail_ratio * calls as f64;
                if too_many || (spec.timeouts > 0 && self.timeouts >= spec.timeouts) {
                    self.open(now, spec);
                }
            }
        }
    }

    fn open(&mut self, now: Instant, spec: BreakerSpec) {
        self.turn += 1;
        self.gate = Gate::Open { until: now + spec.open };
    }

    fn close(&mut self) {
        self.turn += 1;
        (self.gate, self.timeouts, self.recent) = (Gate::Closed, 0, Recent::default());
    }

    fn word(&self, now: Instant) -> Word {
        match self.would(now) {
            Err(WhyNot::Disabled { .. }) => Word::Disabled,
            Err(WhyNot::Down) => Word::Down,
            Err(WhyNot::Open { .. }) => Word::Open,
            Err(WhyNot::TrialTaken) => Word::HalfOpen,
            Ok(()) if matches!(self.gate, Gate::Closed) => Word::Up,
            Ok(()) => Word::HalfOpen,
        }
    }

    fn news(&mut self, now: Instant) -> Option<Change> {
        self.step(now);
        let (from, to) = (self.told.unwrap_or(Word::Up), self.word(now));
        (from != to).then(|| {
            (self.told, self.since) = (Some(to), now);
            Change { from, to }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BREAKER: BreakerSpec =
        BreakerSpec { timeouts: 3, fail_ratio: 0.5, min_calls: 10, open: Duration::from_secs(30), trial: 2 };

    fn at(seconds: u64) -> Instant {
        Instant(seconds * 1_000_000_000)
    }

    fn guarded() -> Health {
        let health = Health::new();
        health.set(Some(ProbeSpec { down_after: 3, up_after: 2 }), Some(BREAKER));
        health
    }

    /// One call at once.
    fn call(health: &Health, now: Instant, attempt: Attempt) -> Option<Change> {
        let pass = health.may_try(now).expect("may be tried");
        health.on_result(now, pass, attempt)
    }

    fn changed(from: Word, to: Word) -> Option<Change> {
        Some(Change { from, to })
    }

    #[test]
    fn probes_need_several_to_change_their_mind() {
        let health = guarded();
        let probes = [false, false, true, false, false, false, false, true, false, true, true, true];
        let changes: Vec<_> = (1..)
            .zip(probes)
            .filter_map(|(n, ok)| health.on_probe(at(n), ok).map(|change| (n, change.to)))
            .collect();
        assert_eq!(changes, [(6, Word::Down), (11, Word::Up)]);
        for n in 0..3 {
            health.on_probe(at(20 + n), false);
        }
        assert_eq!(health.may_try(at(30)), Err(WhyNot::Down));
        assert_eq!(health.state(at(30)).since, at(22));
        health.set(None, Some(BREAKER));
        assert_eq!(health.would(at(30)), Ok(()), "nobody could find out that it is up again");
        assert_eq!(health.poll(at(31)), changed(Word::Down, Word::Up));
    }

    #[test]
    fn timeouts_in_a_row_open_the_breaker_and_good_trials_close_it() {
        let health = guarded();
        for attempt in
            [Attempt::Timeout, Attempt::Unreachable, Attempt::Refused, Attempt::Timeout, Attempt::Timeout]
        {
            assert_eq!(call(&health, at(1), attempt), None);
        }
        assert_eq!(call(&health, at(2), Attempt::Timeout), changed(Word::Up, Word::Open));
        assert_eq!(health.may_try(at(31)), Err(WhyNot::Open { until: at(32) }));
        assert_eq!(health.state(at(31)).until, Some(at(32)));
        assert_eq!(health.poll(at(32)), changed(Word::Open, Word::HalfOpen));
        let trials = [health.may_try(at(32)).unwrap(), health.may_try(at(32)).unwrap()];
        assert_eq!(health.may_try(at(33)), Err(WhyNot::TrialTaken));
        assert_eq!(health.on_result(at(33), trials[0], Attempt::Abandoned), None);
        let third = health.may_try(at(33)).expect("a place of the trial came back");
        assert_eq!(health.on_result(at(34), third, Attempt::Refused), None);
        assert_eq!(health.may_try(at(34)), Err(WhyNot::TrialTaken), "one is still out");
        assert_eq!(health.on_result(at(35), trials[1], Attempt::Answered), changed(Word::HalfOpen, Word::Up));
        assert_eq!(
            health.state(at(36)),
            State { word: Word::Up, since: at(35), until: None, timeouts: 0, probes_missed: 0 }
        );
    }

    #[test]
    fn a_trial_that_begins_late_is_no_larger() {
        let health = guarded();
        for _ in 0..3 {
            call(&health, at(1), Attempt::Timeout);
        }
        assert_eq!(health.poll(at(32)), changed(Word::Open, Word::HalfOpen));
        let _trials = [health.may_try(at(100)).unwrap(), health.may_try(at(101)).unwrap()];
        assert_eq!(health.may_try(at(102)), Err(WhyNot::TrialTaken));
        assert!(health.may_try(at(131)).is_ok(), "nothing was heard of them for so long");
    }

    #[test]
    fn one_bad_trial_opens_again() {
        let health = guarded();
        let early = health.may_try(at(1)).unwrap();
        for _ in 0..3 {
            call(&health, at(1), Attempt::Timeout);
        }
        let trial = health.may_try(at(40)).unwrap();
        assert_eq!(health.on_result(at(40), early, Attempt::Answered), changed(Word::Open, Word::HalfOpen));
        assert_eq!(health.on_result(at(41), trial, Attempt::Failed), changed(Word::HalfOpen, Word::Open));
        assert_eq!(health.would(at(70)), Err(WhyNot::Open { until: at(71) }));
        assert_eq!(
            health.on_result(at(70), early, Attempt::Timeout),
            None,
            "what began before counts no more"
        );
    }

    #[test]
    fn trials_that_are_never_heard_of_do_not_block_for_ever() {
        let health = guarded();
        for _ in 0..3 {
            call(&health, at(1), Attempt::Timeout);
        }
        let lost = [health.may_try(at(40)).unwrap(), health.may_try(at(40)).unwrap()];
        assert_eq!(health.may_try(at(60)), Err(WhyNot::TrialTaken));
        let fresh = [health.may_try(at(70)).unwrap(), health.may_try(at(70)).unwrap()];
        assert_eq!(health.on_result(at(71), lost[0], Attempt::Timeout), changed(Word::Open, Word::HalfOpen));
        assert_eq!(health.on_result(at(71), fresh[0], Attempt::Answered), None);
        assert_eq!(health.on_result(at(71), fresh[1], Attempt::Answered), changed(Word::HalfOpen, Word::Up));
    }

    #[test]
    fn a_share_of_failures_within_a_minute_opens_it() {
        let health = guarded();
        for second in 0..9 {
            let attempt = if second % 2 == 0 { Attempt::Failed } else { Attempt::Answered };
            assert_eq!(call(&health, at(second), attempt), None, "too few calls to judge");
        }
        assert_eq!(call(&health, at(9), Attempt::Failed), changed(Word::Up, Word::Open));
        let health = guarded();
        for second in (0..10).map(|n| n * 20) {
            assert_eq!(call(&health, at(second), Attempt::Failed), None, "three in a minute are too few");
        }
        for _ in 0..20 {
            call(&health, at(200), Attempt::Answered);
        }
        assert_eq!(call(&health, at(201), Attempt::Failed), None);
    }

    #[test]
    fn the_operator_switches_off_and_on() {
        let health = guarded();
        assert_eq!(health.disable(at(1), None), changed(Word::Up, Word::Disabled));
        assert_eq!(health.disable(at(1), None), None, "told once");
        assert_eq!(health.may_try(at(999)), Err(WhyNot::Disabled { until: None }));
        assert_eq!(health.enable(at(999)), changed(Word::Disabled, Word::Up));
        assert_eq!(health.disable(at(1000), Some(at(1060))), changed(Word::Up, Word::Disabled));
        assert_eq!(health.would(at(1059)), Err(WhyNot::Disabled { until: Some(at(1060)) }));
        assert_eq!(health.would(at(1060)), Ok(()));
        assert_eq!(health.poll(at(1061)), changed(Word::Disabled, Word::Up));
        assert_eq!(health.poll(at(1061)), None);
        for _ in 0..3 {
            health.on_probe(at(1070), false);
        }
        health.disable(at(1071), None);
        assert_eq!(health.enable(at(1072)), changed(Word::Disabled, Word::Down), "probes go on");
    }

    #[test]
    fn many_threads_take_no_more_trials_than_there_are() {
        for round in 1..50 {
            let health = guarded();
            for _ in 0..3 {
                call(&health, at(1), Attempt::Timeout);
            }
            let passes: usize = std::thread::scope(|scope| {
                let take = || (0..10).filter(|_| health.may_try(at(31 + round)).is_ok()).count();
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).sum()
            });
            assert_eq!(passes, 2);
        }
    }

    #[test]
    fn each_change_is_told_to_one_thread() {
        let health = guarded();
        let told: usize = std::thread::scope(|scope| {
            let fail = || (0..500).filter(|n| health.on_probe(at(*n), false).is_some()).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(fail)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(told, 1);
    }

    #[derive(Clone, Debug)]
    enum Input {
        Try,
        Result(usize, Attempt),
        Probe(bool),
        Disable(Option<u64>),
        Enable,
        Poll,
    }

    fn any_input() -> impl Strategy<Value = Input> {
        let attempts = vec![
            Attempt::Answered,
            Attempt::Refused,
            Attempt::Failed,
            Attempt::Timeout,
            Attempt::Unreachable,
            Attempt::Abandoned,
        ];
        prop_oneof![
            6 => Just(Input::Try),
            6 => (any::<usize>(), prop::sample::select(attempts)).prop_map(|(n, attempt)| Input::Result(n, attempt)),
            2 => any::<bool>().prop_map(Input::Probe),
            1 => prop::option::of(1u64..60).prop_map(Input::Disable),
            1 => Just(Input::Enable),
            1 => Just(Input::Poll),
        ]
    }

    proptest! {
        #[test]
        fn whatever_comes_changes_chain_and_trials_stay_bounded(inputs in prop::collection::vec((any_input(), 0u64..20), 1..200)) {
            let health = guarded();
            let (mut now, mut word, mut out) = (at(1), Word::Up, Vec::new());
            let mut trials = 0;
            for (input, later) in inputs {
                now += Duration::from_secs(later);
                let before = health.state(now).word;
                let would = health.would(now);
                let change = match input {
                    Input::Try => {
                        let pass = health.may_try(now);
                        prop_assert_eq!(pass.map(drop), would, "looking and taking agree");
                        trials = if before == Word::HalfOpen { trials + usize::from(pass.is_ok()) } else { 0 };
                        prop_assert!(before == Word::HalfOpen || pass.is_ok() == (before == Word::Up));
                        out.extend(pass.ok());
                        None
                    }
                    Input::Result(n, attempt) if !out.is_empty() => {
                        let pass = out.swap_remove(n % out.len());
                        trials = 0;
                        health.on_result(now, pass, attempt)
                    }
                    Input::Result(..) => None,
                    Input::Probe(answered) => health.on_probe(now, answered),
                    Input::Disable(seconds) => health.disable(now, seconds.map(|s| now + Duration::from_secs(s))),
                    Input::Enable => { trials = 0; health.enable(now) }
                    Input::Poll => health.poll(now),
                };
                // Within one trial that lasts `open`; a lost one may be followed by another.
                prop_assert!(trials <= 4 || later > 0, "{trials} trials at once");
                if let Some(change) = change {
                    prop_assert_eq!(change.from, word, "each change begins where the last one ended");
                    prop_assert_ne!(change.from, change.to);
                    word = change.to;
                    prop_assert_eq!(health.state(now).word, word);
                }
            }
            if let Some(change) = health.poll(now) {
                prop_assert_eq!(change.from, word);
                word = change.to;
            }
            prop_assert_eq!(health.state(now).word, word, "nothing goes untold");
        }
    }
}
