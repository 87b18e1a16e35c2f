//! What is counted of one key, and the level that it is at. Bounded: windows are fixed, distinct numbers are capped by
//! their own threshold.

use super::profile::{DISTINCT_MAX, Level, Levels, Profile, Rules};
use crate::window::{Bucket, Span, Window};
use base::{Duration, Instant};

/// The counts of one key.
#[derive(Clone, Debug)]
pub struct Counts {
    minute: Option<Window<u32>>,
    total: Option<Window<u32>>,
    sequential: Option<Run>,
    distinct: Option<Distinct>,
    spend: Option<Window<u64>>,
    ended: Option<Window<u32>>,
    answered: Option<Window<u32>>,
    short: Option<Window<u32>>,
    /// By rule and level: one more than the second at which it was last found; zero once the episode is over.
    told: [u32; RULES * 2],
}

/// When something happens, in the buckets of a profile.
#[derive(Clone, Copy, Debug)]
pub struct When {
    window: Bucket,
    minute: Bucket,
    second: u32,
}

/// A rule that has reached a level.
#[derive(Clone, Copy, Debug)]
pub struct Hit {
    pub rule: &'static str,
    pub level: Level,
    pub value: f64,
    pub threshold: f64,
    pub first: bool,
}

/// Consecutive calls to one number.
#[derive(Clone, Debug)]
struct Run {
    number: u64,
    calls: Window<u32>,
}

/// The numbers called last, as many as the highest threshold: so the count is exact up to there, whatever is called.
#[derive(Clone, Debug)]
struct Distinct {
    /// Hash and bucket of the last call. Two of a thousand numbers share a hash once in 10,000 keys.
    seen: Vec<(u32, u32)>,
}

impl When {
    pub fn of(profile: &Profile, now: Instant) -> When {
        When {
            window: profile.span.bucket(now),
            minute: Span::of(MINUTE).bucket(now),
            second: u32::try_from(now.0 / 1_000_000_000).unwrap_or(u32::MAX - 1),
        }
    }
}

impl Counts {
    pub fn new(rules: &Rules) -> Counts {
        fn kept<T: Default>(wanted: bool) -> Option<T> {
            wanted.then(T::default)
        }
        Counts {
            minute: kept(rules.cpm.is_some()),
            total: kept(rules.total.is_some()),
            sequential: rules.sequential.map(|_| Run { number: 0, calls: Window::new() }),
            distinct: rules.distinct.map(|_| Distinct { seen: Vec::new() }),
            spend: kept(rules.spend.is_some()),
            ended: kept(rules.answer_ratio.is_some()),
            answered: kept(rules.answer_ratio.is_some() || rules.short_calls.is_some()),
            short: kept(rules.short_calls.is_some()),
            told: [0; RULES * 2],
        }
    }

    /// A call begins; `number` is the hash of the called number.
    pub fn on_try(&mut self, profile: &Profile, when: When, number: u64) {
        if let Some(minute) = &mut self.minute {
            minute.add(when.minute, 1);
        }
        if let Some(total) = &mut self.total {
            total.add(when.window, 1);
        }
        if let Some(run) = &mut self.sequential {
            if run.number != number {
                run.number = number;
                run.calls.clear();
            }
            run.calls.add(when.window, 1);
        }
        if let (Some(distinct), Some(levels)) = (&mut self.distinct, profile.rules.distinct) {
            distinct.add(number as u32, when.window, distinct_max(levels));
        }
    }

    /// Money was spent.
    pub fn on_spent(&mut self, when: When, amount: u64) {
        if let Some(spend) = self.spend.as_mut().filter(|_| amount > 0) {
            spend.add(when.window, amount);
        }
    }

    /// A call ended; `lasted` if it was answered.
    pub fn on_end(&mut self, profile: &Profile, when: When, lasted: Option<Duration>) {
        if let Some(ended) = &mut self.ended {
            ended.add(when.window, 1);
        }
        let Some(lasted) = lasted else { return };
        if let Some(answered) = &mut self.answered {
            answered.add(when.window, 1);
        }
        if let (Some(short), Some(rule)) = (&mut self.short, profile.rules.short_calls)
            && lasted < rule.under
        {
            short.add(when.window, 1);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        let counts =
            [&mut self.minute, &mut self.total, &mut self.ended, &mut self.answered, &mut self.short];
        for window in counts.into_iter().flatten() {
            window.clear();
        }
        if let Some(run) = &mut self.sequential {
            run.calls.clear();
        }
        if let Some(distinct) = &mut self.distinct {
            distinct.seen.clear();
        }
        if let Some(spend) = &mut self.spend {
            spend.clear();
        }
        self.told = [0; RULES * 2];
    }

    /// The worst that is found now; among equals what was not told yet, then the rule that stands first here.
    pub fn judge(&mut self, profile: &Profile, when: When, live: u32) -> Option<Hit> {
        let rules = &profile.rules;
        let mut worst = Worst { told: &mut self.told, second: when.second, lull: lull(profile), hit: None };
        let sum = |window: &mut Option<Window<u32>>| window.as_mut().map_or(0, |w| w.sum(when.window)) as f64;
        if let (Some(levels), Some(minute)) = (rules.cpm, &mut self.minute) {
            worst.above(0, levels, minute.sum(when.minute) as f64);
        }
        if let (Some(levels), Some(total)) = (rules.total, &mut self.total) {
            worst.above(1, levels, total.sum(when.window) as f64);
        }
        if let Some(levels) = rules.concurrent {
            worst.above(2, levels, f64::from(live));
        }
        if let (Some(levels), Some(run)) = (rules.sequential, &mut self.sequential) {
            worst.above(3, levels, run.calls.sum(when.window) as f64);
        }
        if let (Some(levels), Some(spend)) = (rules.spend, &mut self.spend) {
            worst.above(4, levels, spend.sum(when.window) as f64 / 1e9);
        }
        if let (Some(levels), Some(distinct)) = (rules.distinct, &self.distinct) {
            let max = f64::from(DISTINCT_MAX);
            let levels = Levels { warning: levels.warning.min(max), critical: levels.critical.min(max) };
            worst.above(5, levels, distinct.count(when.window) as f64);
        }
        if let Some(rule) = rules.short_calls {
            let (short, answered) = (sum(&mut self.short), sum(&mut self.answered));
            let enough = answered >= f64::from(rule.min_calls.max(1));
            worst.above(6, rule.ratio, if enough { short / answered } else { 0.0 });
        }
        if let Some(rule) = rules.answer_ratio {
            let (answered, ended) = (sum(&mut self.answered), sum(&mut self.ended));
            let enough = ended >= f64::from(rule.min_calls.max(1));
            worst.below(7, rule.below, if enough { answered / ended } else { 1.0 });
        }
        worst.hit
    }
}

/// Collects the worst hit and keeps what was told.
struct Worst<'a> {
    told: &'a mut [u32; RULES * 2],
    second: u32,
    lull: u32,
    hit: Option<Hit>,
}

impl Worst<'_> {
    fn above(&mut self, rule: usize, levels: Levels<f64>, value: f64) {
        self.compare(rule, levels, value, |threshold| threshold > 0.0 && value >= threshold);
    }

    fn below(&mut self, rule: usize, levels: Levels<f64>, value: f64) {
        self.compare(rule, levels, value, |threshold| value < threshold);
    }

    fn compare(&mut self, rule: usize, levels: Levels<f64>, value: f64, reached: impl Fn(f64) -> bool) {
        for level in [Level::Warning, Level::Critical] {
            let told = &mut self.told[rule * 2 + level as usize];
            let silent = self.second.saturating_sub(told.saturating_sub(1));
            let threshold = levels.at(level);
            if !reached(threshold) {
                // A value that hovers around its threshold is one episode.
                if *told > 0 && u64::from(silent) >= MINUTE.as_secs() {
                    *told = 0;
                }
                continue;
            }
            let first = *told == 0 || silent > self.lull;
            *told = self.second + 1;
            let hit = Hit { rule: RULE_NAMES[rule], level, value, threshold, first };
            if self.hit.is_none_or(|known| (hit.level, hit.first) > (known.level, known.first)) {
                self.hit = Some(hit);
            }
        }
    }
}

/// So long without any finding nothing of the last episode can be left in the window.
fn lull(profile: &Profile) -> u32 {
    u32::try_from(profile.window.as_secs() + MINUTE.as_secs()).unwrap_or(u32::MAX)
}

fn distinct_max(levels: Levels<f64>) -> usize {
    levels.warning.max(levels.critical).ceil().clamp(1.0, f64::from(DISTINCT_MAX)) as usize
}

impl Distinct {
    fn add(&mut self, number: u32, now: Bucket, max: usize) {
        let bucket = now.0 as u32;
        if let Some((_, seen)) = self.seen.iter_mut().find(|(known, _)| *known == number) {
            *seen = bucket;
            return;
        }
        if self.seen.len() >= max
            && let Some(oldest) = (0..self.seen.len()).max_by_key(|at| age(self.seen[*at].1, now))
        {
            self.seen.swap_remove(oldest);
        }
        self.seen.push((number, bucket));
    }

    fn count(&self, now: Bucket) -> usize {
        self.seen.iter().filter(|(_, seen)| age(*seen, now) <= WINDOW_BUCKETS).count()
    }
}

/// Buckets since, of which only the low halves are kept: they come round after two years at the least. A reading of
/// another thread that is a little older counts as none.
fn age(seen: u32, now: Bucket) -> u32 {
    let age = (now.0 as u32).wrapping_sub(seen);
    if age > u32::MAX / 2 { 0 } else { age }
}

const RULE_NAMES: [&str; RULES] =
    ["cpm", "total", "concurrent", "sequential", "spend", "distinct", "short_calls", "answer_ratio"];
const RULES: usize = 8;
const MINUTE: Duration = Duration::from_secs(60);
const WINDOW_BUCKETS: u32 = 60;
