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
            if let Gate::Half { left, .. } = &mut inner.gate {
                *left -= 1;
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
