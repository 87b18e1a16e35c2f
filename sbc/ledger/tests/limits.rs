//! Leases against a plain model: any sequence of calls that come and go, over pools and keys, while bounds change and
//! time passes or stands, must be granted and refused for the same reasons, and every recount must be exact.

use base::{Duration, HashKey, Instant};
use ledger::{Auditor, Bounds, Class, KeyedPools, Lease, Limit, LimitHit, Part, Pool, Rate, Why};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

const POOLS: usize = 3;
const KEYED: usize = 2;
const KEYS_MAX: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    Take { shard: u8, class: Class, parts: Vec<(usize, u8)> },
    Drop(prop::sample::Index),
    Pass(Duration),
    Set { limit: usize, bounds: Bounds },
    Lower { limit: usize, to: Option<u32> },
}

/// One limit as a child would write it: who is in it, and how much of the burst is used up.
#[derive(Clone, Default)]
struct Plain {
    bounds: Bounds,
    lowered: Option<u32>,
    /// By key; a pool has one, the empty one. Places and the nanoseconds that its calls are ahead of their time.
    keys: BTreeMap<Vec<u8>, (u32, u64)>,
    keys_max: Option<usize>,
}

impl Plain {
    fn pass(&mut self, nanos: u64) {
        for (_, ahead) in self.keys.values_mut() {
            *ahead = ahead.saturating_sub(nanos);
        }
        self.keys.retain(|_, state| *state != (0, 0));
    }

    fn room(&self, class: Class) -> u64 {
        let all = u64::from(self.bounds.calls.min(self.lowered.unwrap_or(u32::MAX)));
        match class {
            Class::Emergency => u64::MAX,
            Class::Priority => all,
            Class::Normal if self.bounds.calls == u32::MAX => all,
            Class::Normal => all.min(u64::from(self.bounds.calls.saturating_sub(self.bounds.reserved))),
        }
    }

    fn place(&mut self, class: Class, key: &[u8]) -> Result<(), Why> {
        let state = self.keys.get(key).copied();
        if u64::from(state.unwrap_or_default().0) >= self.room(class) {
            return Err(Why::Full);
        }
        let is_crowded = self.keys_max.is_some_and(|max| self.keys.len() >= max);
        if state.is_none() && is_crowded && class != Class::Emergency {
            return Err(Why::Crowded);
        }
        self.keys.entry(key.to_vec()).or_default().0 += 1;
        Ok(())
    }

    fn give(&mut self, key: &[u8]) {
        self.keys.get_mut(key).unwrap().0 -= 1;
        self.keys.retain(|_, state| *state != (0, 0));
    }

    /// How far ahead one more call would be.
    fn pace(&self, key: &[u8]) -> Result<u64, Why> {
        let ahead = self.keys.get(key).map_or(0, |state| state.1);
        let Some(rate) = self.bounds.rate else { return Ok(ahead) };
        let interval = rate.interval.as_nanos() as u64;
        let tolerance = interval * u64::from(rate.burst.max(1) - 1);
        match ahead.checked_sub(tolerance) {
            Some(wait) if wait > 0 => Err(Why::Fast { retry_after: Duration::from_nanos(wait) }),
            _ => Ok(ahead + interval),
        }
    }
}

#[derive(Clone, Default)]
struct Model {
    limits: Vec<Plain>,
}

impl Model {
    fn take(&mut self, class: Class, parts: &[(usize, Vec<u8>)]) -> Result<(), (usize, Why)> {
        let before = self.clone();
        let taken = self.try_take(class, parts);
        if taken.is_err() {
            *self = before;
        }
        taken
    }

    fn try_take(&mut self, class: Class, parts: &[(usize, Vec<u8>)]) -> Result<(), (usize, Why)> {
        for (limit, key) in parts {
            self.limits[*limit].place(class, key).map_err(|why| (*limit, why))?;
        }
        if class == Class::Emergency {
            return Ok(());
        }
        for (limit, key) in parts {
            self.limits[*limit].pace(key).map_err(|why| (*limit, why))?;
        }
        for (limit, key) in parts {
            let ahead = self.limits[*limit].pace(key).map_err(|why| (*limit, why))?;
            self.limits[*limit].keys.get_mut(key).unwrap().1 = ahead;
        }
        Ok(())
    }
}

fn bounds() -> impl Strategy<Value = Bounds> {
    let rate = prop::option::of((1..200u64, 0..5u32))
        .prop_map(|rate| rate.map(|(ms, burst)| Rate { interval: Duration::from_millis(ms), burst }));
    let calls = prop_oneof![Just(u32::MAX), 0..6u32];
    (calls, 0..3u32, rate).prop_map(|(calls, reserved, rate)| Bounds { calls, reserved, rate })
}

fn step() -> impl Strategy<Value = Step> {
    let class =
        prop_oneof![4 => Just(Class::Normal), 1 => Just(Class::Priority), 1 => Just(Class::Emergency)];
    let limit = 0..POOLS + KEYED;
    let take = (0..3u8, class, prop::collection::vec((limit.clone(), 0..8u8), 0..5))
        .prop_map(|(shard, class, parts)| Step::Take { shard, class, parts });
    prop_oneof![
        8 => take,
        4 => any::<prop::sample::Index>().prop_map(Step::Drop),
        3 => (0..400_000_000u64).prop_map(|n| Step::Pass(Duration::from_nanos(n))),
        // Whole milliseconds meet the edges of rates exactly.
        2 => (0..200u64).prop_map(|ms| Step::Pass(Duration::from_millis(ms))),
        1 => (limit.clone(), bounds()).prop_map(|(limit, bounds)| Step::Set { limit, bounds }),
        1 => (limit, prop::option::of(0..4u32)).prop_map(|(limit, to)| Step::Lower { limit, to }),
    ]
}

/// Limits by number, with keys.
type Wanted = Vec<(usize, Vec<u8>)>;

struct World {
    now: Instant,
    pools: Vec<Arc<Pool>>,
    keyed: Vec<Arc<KeyedPools>>,
    auditors: Vec<Auditor>,
    leases: Vec<(Lease, Wanted)>,
    model: Model,
}

impl World {
    fn new(all: &[Bounds]) -> World {
        let pools = (0..POOLS).map(|n| Pool::with(n.to_string(), all[n])).collect();
        let keyed = (POOLS..POOLS + KEYED)
            .map(|n| KeyedPools::new(n.to_string(), all[n], KEYS_MAX, HashKey::new([1, 2])))
            .collect();
        let plain = |(n, bounds): (usize, &Bounds)| Plain {
            bounds: *bounds,
            keys_max: (n >= POOLS).then_some(KEYS_MAX),
            ..Plain::default()
        };
        World {
            now: Instant(1_000_000_000),
            pools,
            keyed,
            auditors: (0..3).map(Auditor::new).collect(),
            leases: Vec::new(),
            model: Model { limits: all.iter().enumerate().map(plain).collect() },
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Take { shard, class, parts } => self.take(*shard, *class, parts),
            Step::Drop(index) if !self.leases.is_empty() => {
                let (_, parts) = self.leases.swap_remove(index.index(self.leases.len()));
                for (limit, key) in parts {
                    self.model.limits[limit].give(&key);
                }
            }
            Step::Drop(_) => {}
            Step::Pass(time) => {
                self.now += *time;
                self.model.limits.iter_mut().for_each(|limit| limit.pass(time.as_nanos() as u64));
            }
            Step::Set { limit, bounds } => {
                match self.pools.get(*limit) {
                    Some(pool) => pool.set(*bounds),
                    None => self.keyed[limit - POOLS].set(*bounds),
                }
                self.model.limits[*limit].bounds = *bounds;
            }
            Step::Lower { limit, to } => {
                match self.pools.get(*limit) {
                    Some(pool) => pool.lower(*to),
                    None => self.keyed[limit - POOLS].lower(*to),
                }
                self.model.limits[*limit].lowered = *to;
            }
        }
    }

    fn take(&mut self, shard: u8, class: Class, parts: &[(usize, u8)]) {
        let parts: Wanted = parts
            .iter()
            .map(|(limit, key)| (*limit, if *limit < POOLS { vec![] } else { vec![*key] }))
            .collect();
        let wanted = parts.iter().map(|(limit, key)| match self.pools.get(*limit) {
            Some(pool) => Part::Pool(pool),
            None => Part::Key(&self.keyed[limit - POOLS], key),
        });
        let checked = match &parts[..] {
            [(limit, key)] => Some(match self.pools.get(*limit) {
                Some(pool) => pool.check(self.now, class),
                None => self.keyed[limit - POOLS].check(self.now, class, key),
            }),
            _ => None,
        };
        let taken = Lease::take(shard, self.now, class, wanted);
        let expected = self.model.take(class, &parts);
        let hit = |(limit, why): &(usize, Why)| LimitHit { limit: limit.to_string(), why: *why };
        assert_eq!(taken.as_ref().map(|_| ()).map_err(Clone::clone), expected.as_ref().copied().map_err(hit));
        if let Some(checked) = checked {
            assert_eq!(checked, expected.map_err(|(_, why)| why), "a look tells what a lease then meets");
        }
        if let Ok(lease) = taken {
            self.leases.push((lease, parts));
        }
    }

    fn compare(&mut self) {
        for (n, limit) in self.model.limits.iter().enumerate() {
            match self.pools.get(n) {
                Some(pool) => assert_eq!(pool.used(), limit.keys.get(&[][..]).map_or(0, |state| state.0)),
                None => {
                    let pools = &self.keyed[n - POOLS];
                    for key in 0..8 {
                        let used = limit.keys.get(&[key][..]).map_or(0, |state| state.0);
                        assert_eq!(pools.used_by(&[key]), used);
                    }
                    assert!(pools.keys_len() >= limit.keys.len());
                }
            }
        }
        for auditor in &mut self.auditors {
            let limits = self.pools.iter().map(Limit::Pool).chain(self.keyed.iter().map(Limit::Keyed));
            let recount = auditor.recount(limits, self.leases.iter().map(|(lease, _)| lease));
            assert_eq!(recount.drifts, []);
            assert_eq!(recount.leases + recount.foreign, self.leases.len());
        }
    }

    fn end(mut self) {
        self.leases.clear();
        self.now += Duration::from_secs(3_600);
        assert!(self.pools.iter().all(|pool| pool.used() == 0));
        for pools in &self.keyed {
            pools.expire(self.now);
            assert_eq!((pools.used(), pools.keys_len()), (0, 0), "keys go away by themselves");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn leases_do_what_a_plain_model_does(
        all in prop::collection::vec(bounds(), POOLS + KEYED),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut world = World::new(&all);
        for step in &steps {
            world.step(step);
            world.compare();
        }
        world.end();
    }
}
