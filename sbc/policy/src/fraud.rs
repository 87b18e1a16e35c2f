//! Fraud profiles: what is counted a key over a sliding window, at which level that is, and the live calls that it
//! concerns. Shared by all signalling shards; acts on nothing itself.

mod counts;
mod profile;
mod table;

pub use profile::{
    Action, AnswerRatio, DISTINCT_MAX, Level, Levels, Per, Prefixes, Profile, ProfileSpec, Rules, ShortCalls,
};

use crate::rates::{Amount, Rate, Rates};
use base::slab::{Key, Slab};
use base::{Duration, HashKey, Instant, Now};
use core::fmt::Write;
use core::net::IpAddr;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use counts::{Counts, Hit, When};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use table::Table;

/// All counts. A key is told from others by a keyed hash of 64 bits: two of 100,000 share their counts with a
/// probability of 3 in 10 thousand millions, and nobody outside can make them.
#[derive(Debug)]
pub struct Fraud {
    inner: Arc<Inner>,
}

/// Who calls whom.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The account that proved itself.
    pub account: Option<&'a str>,
    /// The trunk that it came by.
    pub trunk: &'a str,
    /// The caller's number; the first 128 bytes count.
    pub caller: &'a [u8],
    /// The called number after all rewriting; the first 128 bytes count.
    pub callee: &'a [u8],
    /// Where it came from.
    pub source: IpAddr,
}

/// A rule whose value has reached a level.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Whose rule.
    pub profile: Arc<Profile>,
    /// `cpm`, `total`, `concurrent`, `sequential`, `spend`, `distinct`, `short_calls`, `answer_ratio`, `duration`.
    pub rule: &'static str,
    /// The level reached.
    pub level: Level,
    /// For people: `account=2001@acme.test prefix=44`.
    pub key: String,
    /// The value; seconds for `duration`.
    pub value: f64,
    /// What it reached, or fell below for `answer_ratio`.
    pub threshold: f64,
    /// Not told before in this episode: worth an event. An episode is over when the value was below for a minute.
    pub first: bool,
}

/// A finding about a live call, of [`Fraud::tick`].
#[derive(Clone, Debug)]
pub struct LiveFinding {
    /// As given to [`Fraud::begin`].
    pub call: u64,
    /// What was found.
    pub finding: Finding,
}

/// What a call cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Money {
    /// Zero if no profile has rates or none knows the prefix.
    pub price_per_minute: Amount,
    /// Of the whole call.
    pub cost: Amount,
}

/// A call that is counted. Ends it exactly once: by [`Fraud::end`], or when it is dropped, at the last time that was
/// told to anything here.
#[must_use = "a dropped ticket ends its call"]
#[derive(Debug)]
pub struct Ticket {
    /// Nothing if no profile counts the call.
    held: Option<(Arc<Inner>, u8, Key)>,
}

/// Figures for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Stats {
    /// Keys now.
    pub keys: u64,
    /// Of these, keys with live calls, which are never evicted.
    pub pinned: u64,
    /// Calls that are counted now.
    pub live: u64,
    /// Keys forgotten to make room.
    pub evicted: u64,
    /// Times that a profile did not count a call, because all keys had live calls. Such a call passes.
    pub untracked: u64,
    /// Times that a profile with `spend` met a number that its rates do not know. It costs nothing.
    pub unrated: u64,
}

#[derive(Debug)]
struct Inner {
    key: HashKey,
    tables: Vec<Mutex<Table>>,
    /// By signalling shard.
    live: Vec<Mutex<Slab<LiveCall>>>,
    /// For tickets that are dropped: nanoseconds.
    latest: AtomicU64,
    untracked: AtomicU64,
    unrated: AtomicU64,
}

#[derive(Debug)]
struct LiveCall {
    /// The shard's name of it.
    call: u64,
    answered: Option<Instant>,
    /// A finding kept it from its destination: how it ends says nothing about its key.
    refused: bool,
    rate: Option<Rate>,
    counted: Vec<Counted>,
}

/// A live call in one profile.
#[derive(Debug)]
struct Counted {
    profile: Arc<Profile>,
    table: usize,
    key: Key,
    rate: Option<Rate>,
    /// What was added to the key's spend so far.
    charged: u64,
    /// The levels last told for this call: of its key, of its own length.
    told: Option<Level>,
    told_duration: Option<Level>,
}

impl Fraud {
    /// Holds at most `keys_max` keys of all profiles together, each of up to 2.6 kB and 8 bytes for each number below
    /// the threshold of `distinct`.
    pub fn new(key: HashKey, keys_max: usize) -> Fraud {
        let tables = if keys_max >= TABLES * 256 { TABLES } else { 1 };
        let each = u32::try_from(keys_max.div_ceil(tables)).unwrap_or(u32::MAX - 1);
        Fraud {
            inner: Arc::new(Inner {
                key,
                tables: (0..tables).map(|_| Mutex::new(Table::new(each))).collect(),
                live: (0..SHARDS).map(|_| Mutex::new(Slab::with_max(u32::MAX))).collect(),
                latest: AtomicU64::new(0),
                untracked: AtomicU64::new(0),
                unrated: AtomicU64::new(0),
            }),
        }
    }

    /// At set-up: counts the try in each profile and puts what is found into `found`, the worst level first, at most
    /// one finding a profile. `call` is the shard's own name of the call, told back by [`Fraud::tick`]. Whoever then
    /// refuses the call drops the ticket: the try stays counted, the call is over, and counts as no unanswered one.
    pub fn begin(
        &self,
        now: Now,
        profiles: &[Arc<Profile>],
        facts: &Facts<'_>,
        shard: u8,
        call: u64,
        found: &mut Vec<Finding>,
    ) -> Ticket {
        if profiles.is_empty() {
            return Ticket { held: None };
        }
        let inner = &self.inner;
        inner.saw(now.mono);
        let mut hashes = Hashes::new(&inner.key, facts);
        let mut live = LiveCall {
            call,
            answered: None,
            refused: false,
            rate: None,
            counted: Vec::with_capacity(profiles.len()),
        };
        let (mut known_rate, found_before): (Option<(&Arc<Rates>, Option<Rate>)>, _) = (None, found.len());
        for profile in profiles {
            let Some(id) = hashes.of_key(profile) else { continue };
            let rate = profile.rates.as_ref().and_then(|rates| match known_rate {
                Some((same, rate)) if Arc::ptr_eq(same, rates) => rate,
                _ => {
                    let rate = rates.find(hashes.callee);
                    known_rate = Some((rates, rate));
                    rate
                }
            });
            if rate.is_none() && profile.spends() {
                inner.unrated.fetch_add(1, Relaxed);
            }
            live.rate = live.rate.or(rate);
            let (at, when) = (inner.table_of(id), When::of(profile, now.mono));
            let mut table = lock(&inner.tables[at]);
            let Some((key, state)) = table.pin(id, profile, || hashes.name(profile)) else {
                inner.untracked.fetch_add(1, Relaxed);
                continue;
            };
            state.counts.on_try(profile, when, hashes.callee_hash());
            let hit = state.counts.judge(profile, when, state.live);
            state.level = hit.map(|hit| hit.level);
            if let Some(hit) = hit {
                live.refused |= profile.refuses(hit.level);
                found.push(finding(profile, hit, &state.name));
            }
            drop(table);
            live.counted.push(Counted {
                profile: Arc::clone(profile),
                table: at,
                key,
                rate,
                charged: 0,
                told: None,
                told_duration: None,
            });
        }
        found[found_before..].sort_by_key(|finding| core::cmp::Reverse(finding.level));
        if live.counted.is_empty() && live.rate.is_none() {
            return Ticket { held: None };
        }
        let held = lock(&inner.live[usize::from(shard)]).insert(live);
        match held {
            Ok(key) => Ticket { held: Some((Arc::clone(inner), shard, key)) },
            Err(live) => {
                // Four thousand million calls on one shard: gives back what was counted.
                inner.over(now.mono, live, false);
                Ticket { held: None }
            }
        }
    }

    /// What [`Fraud::begin`] would find; counts nothing.
    pub fn peek(&self, now: Now, profiles: &[Arc<Profile>], facts: &Facts<'_>) -> Vec<Finding> {
        let inner = &self.inner;
        let mut hashes = Hashes::new(&inner.key, facts);
        let mut found = Vec::new();
        for profile in profiles {
            let Some(id) = hashes.of_key(profile) else { continue };
            let when = When::of(profile, now.mono);
            let table = lock(&inner.tables[inner.table_of(id)]);
            let known = table.find(id);
            let live = known.map_or(0, |state| state.live) + 1;
            let mut counts = match known.filter(|state| state.shape == profile.shape) {
                Some(state) => state.counts.clone(),
                None => Counts::new(&profile.rules),
            };
            drop(table);
            counts.on_try(profile, when, hashes.callee_hash());
            found.extend(
                counts.judge(profile, when, live).map(|hit| finding(profile, hit, &hashes.name(profile))),
            );
        }
        found.sort_by_key(|finding| core::cmp::Reverse(finding.level));
        found
    }

    /// The call was answered: it begins to last and to cost.
    pub fn answered(&self, now: Now, ticket: &mut Ticket) {
        let Some((inner, shard, key)) = &ticket.held else { return };
        inner.saw(now.mono);
        if let Some(live) = lock(&inner.live[usize::from(*shard)]).get_mut(*key) {
            live.answered.get_or_insert(now.mono);
        }
    }

    /// The call is over. An answered one that was never told to be so lasted no time.
    pub fn end(&self, now: Now, mut ticket: Ticket, answered: bool) -> Money {
        self.inner.saw(now.mono);
        match ticket.held.take() {
            Some((inner, shard, key)) => inner.end(now.mono, shard, key, answered),
            None => Money::default(),
        }
    }

    /// Judges the live calls of a shard; call it every 250 ms. Told are: calls that last too long, each level once; for
    /// a key that has reached a level with [`Action::Cut`], each of its live calls on the call's own shard, once; for
    /// other findings of `spend`, the call at which it was noticed. What live calls cost is added here as it grows.
    pub fn tick(&self, now: Now, shard: u8, found: &mut Vec<LiveFinding>) {
        let inner = &self.inner;
        inner.saw(now.mono);
        let mut live = lock(&inner.live[usize::from(shard)]);
        for (_, live) in live.iter_mut() {
            let LiveCall { call, answered, counted, .. } = live;
            for counted in counted {
                let profile = Arc::clone(&counted.profile);
                let mut tell = |finding| found.push(LiveFinding { call: *call, finding });
                if let Some(hit) = answered.and_then(|since| counted.lasts(now.mono.since(since))) {
                    let name = inner.name_of(counted);
                    tell(finding(&profile, hit, &name));
                }
                let cuts = profile.cuts(Level::Warning) || profile.cuts(Level::Critical);
                if !cuts && !profile.spends() {
                    continue;
                }
                let mut table = lock(&inner.tables[counted.table]);
                let Some(state) = table.get_mut(counted.key).filter(|s| s.shape == profile.shape) else {
                    continue;
                };
                let when = When::of(&profile, now.mono);
                if let Some(since) = *answered {
                    counted.charge(&mut state.counts, when, now.mono.since(since));
                }
                if state.level.is_none() && !profile.spends() {
                    counted.told = None;
                    continue;
                }
                let hit = state.counts.judge(&profile, when, state.live);
                state.level = hit.map(|hit| hit.level);
                if let Some(hit) = hit
                    && (hit.first || (profile.cuts(hit.level) && Some(hit.level) > counted.told))
                {
                    tell(finding(&profile, hit, &state.name));
                }
                counted.told = hit.map(|hit| hit.level);
            }
        }
    }

    /// Forgets the counts of a key, as [`Finding::key`] names it; its live calls stay counted. False if there is none.
    pub fn reset(&self, profile: &str, key: &str) -> bool {
        let wanted = base::HashKey::default().of(profile.as_bytes());
        let forget = |table: &Mutex<Table>| lock(table).reset(wanted, key);
        self.inner.tables.iter().filter(|table| forget(table)).count() > 0
    }

    /// Figures for metrics.
    pub fn stats(&self) -> Stats {
        let inner = &self.inner;
        let mut stats = Stats {
            untracked: inner.untracked.load(Relaxed),
            unrated: inner.unrated.load(Relaxed),
            live: inner.live.iter().map(|live| lock(live).len() as u64).sum(),
            ..Stats::default()
        };
        for table in &inner.tables {
            let table = lock(table);
            stats.keys += table.len() as u64;
            stats.pinned += table.pinned;
            stats.evicted += table.evicted;
        }
        stats
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some((inner, shard, key)) = self.held.take() {
            let now = Instant(inner.latest.load(Relaxed));
            // Refused by us, or lost: nobody was asked, so it says nothing of who answers this key's calls.
            if let Some(live) = lock(&inner.live[usize::from(shard)]).get_mut(key) {
                live.refused = true;
            }
            inner.end(now, shard, key, false);
        }
    }
}

impl Inner {
    fn saw(&self, now: Instant) {
        if self.latest.load(Relaxed) < now.0 {
            self.latest.fetch_max(now.0, Relaxed);
        }
    }

    fn table_of(&self, id: u64) -> usize {
        // The map inside takes the other end of the hash.
        (id >> 32) as usize % self.tables.len()
    }

    fn name_of(&self, counted: &Counted) -> String {
        lock(&self.tables[counted.table])
            .get_mut(counted.key)
            .map(|state| state.name.to_string())
            .unwrap_or_default()
    }

    fn end(&self, now: Instant, shard: u8, key: Key, answered: bool) -> Money {
        let removed = lock(&self.live[usize::from(shard)]).remove(key);
        match removed {
            Some(live) => self.over(now, live, answered),
            None => Money::default(),
        }
    }

    fn over(&self, now: Instant, mut live: LiveCall, answered: bool) -> Money {
        let lasted = match live.answered {
            Some(since) => Some(now.since(since)),
            None => answered.then_some(Duration::ZERO),
        };
        for counted in &mut live.counted {
            let mut table = lock(&self.tables[counted.table]);
            let profile = Arc::clone(&counted.profile);
            if let Some(state) = table.get_mut(counted.key).filter(|state| state.shape == profile.shape) {
                let when = When::of(&profile, now);
                if let Some(lasted) = lasted {
                    counted.charge(&mut state.counts, when, lasted);
                }
                if lasted.is_some() || !live.refused {
                    state.counts.on_end(&profile, when, lasted);
                }
            }
            table.unpin(counted.key);
        }
        Money {
            price_per_minute: live.rate.map(|rate| rate.price).unwrap_or_default(),
            cost: live.rate.zip(lasted).map(|(rate, lasted)| rate.cost(lasted)).unwrap_or_default(),
        }
    }
}

impl Counted {
    /// Adds what the call has cost since the last time.
    fn charge(&mut self, counts: &mut Counts, when: When, lasted: Duration) {
        let Some(rate) = self.rate else { return };
        let cost = rate.cost(lasted).0;
        counts.on_spent(when, cost.saturating_sub(self.charged));
        self.charged = self.charged.max(cost);
    }

    /// A level of `duration` that this call has newly reached.
    fn lasts(&mut self, lasted: Duration) -> Option<Hit> {
        let levels = self.profile.rules.duration?;
        let reached = |level: &Level| !levels.at(*level).is_zero() && lasted >= levels.at(*level);
        let level = [Level::Critical, Level::Warning].into_iter().find(reached)?;
        if Some(level) <= self.told_duration {
            return None;
        }
        self.told_duration = Some(level);
        let threshold = levels.at(level).as_secs_f64();
        Some(Hit { rule: "duration", level, value: lasted.as_secs_f64(), threshold, first: true })
    }
}

fn finding(profile: &Arc<Profile>, hit: Hit, name: &str) -> Finding {
    Finding {
        profile: Arc::clone(profile),
        rule: hit.rule,
        level: hit.level,
        key: name.to_owned(),
        value: hit.value,
        threshold: hit.threshold,
        first: hit.first,
    }
}

impl Finding {
    /// What to do now.
    pub fn actions(&self) -> &[Action] {
        self.profile.actions(self.level)
    }
}

/// Hashes of what calls are told apart by, each made once a call.
struct Hashes<'a> {
    key: &'a HashKey,
    facts: &'a Facts<'a>,
    caller: &'a [u8],
    callee: &'a [u8],
    parts: [Option<u64>; 5],
}

impl<'a> Hashes<'a> {
    fn new(key: &'a HashKey, facts: &'a Facts<'a>) -> Self {
        let cut = |number: &'a [u8]| &number[..number.len().min(NUMBER_MAX)];
        Hashes { key, facts, caller: cut(facts.caller), callee: cut(facts.callee), parts: [None; 5] }
    }

    /// The key of a profile; `None` if the profile does not count this number.
    fn of_key(&mut self, profile: &Profile) -> Option<u64> {
        let mut id = profile.id;
        for per in &profile.per {
            let part = match per {
                Per::Account => match self.facts.account {
                    Some(account) => self.part(0, account.as_bytes()),
                    // Apart from an account of that name.
                    None => !self.part(1, self.facts.trunk.as_bytes()),
                },
                Per::Trunk => self.part(1, self.facts.trunk.as_bytes()),
                Per::Caller => self.part(2, self.caller),
                Per::Callee => self.callee_hash(),
                Per::Source => match self.facts.source.to_canonical() {
                    IpAddr::V4(v4) => self.part(4, &v4.octets()),
                    IpAddr::V6(v6) => self.part(4, &v6.octets()),
                },
                Per::Prefix => self.key.of(profile.prefix_of(self.callee)?),
            };
            // The parts are keyed hashes; the order of the tuple is that of the profile, which `id` began with.
            id = (id.rotate_left(23) ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            id ^= id >> 29;
        }
        Some(id)
    }

    fn part(&mut self, at: usize, bytes: &[u8]) -> u64 {
        let key = self.key;
        *self.parts[at].get_or_insert_with(|| key.of(bytes))
    }

    fn callee_hash(&mut self) -> u64 {
        self.part(3, self.callee)
    }

    /// For people; what is not printable is shown as `\xNN`.
    fn name(&self, profile: &Profile) -> Box<str> {
        let mut name = String::new();
        for per in &profile.per {
            let (word, value): (_, &[u8]) = match (per, self.facts.account) {
                (Per::Account, Some(account)) => ("account", account.as_bytes()),
                (Per::Account, None) | (Per::Trunk, _) => ("trunk", self.facts.trunk.as_bytes()),
                (Per::Prefix, _) => ("prefix", profile.prefix_of(self.callee).unwrap_or_default()),
                (Per::Caller, _) => ("caller", self.caller),
                (Per::Callee, _) => ("callee", self.callee),
                (Per::Source, _) => ("source", &[]),
            };
            let space = if name.is_empty() { "" } else { " " };
            // Writing to a String cannot fail.
            let _ = match per {
                Per::Source => write!(name, "{space}source={}", self.facts.source.to_canonical()),
                _ => write!(name, "{space}{word}={}", value.escape_ascii()),
            };
        }
        if name.is_empty() { "all".into() } else { name.into() }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A shard that panicked left at most one count unfinished.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const TABLES: usize = 16;
const SHARDS: usize = 256;
/// Bytes of a number that count.
const NUMBER_MAX: usize = 128;

#[cfg(test)]
mod tests;
