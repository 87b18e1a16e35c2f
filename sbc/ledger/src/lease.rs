//! Places in limits. A lease is taken once for a call (or an attempt) and gives everything back when it is dropped,
//! however the call ended; so a limit cannot drift. It is granted whole or leaves nothing behind.

use crate::keyed::{KeyedPools, Place};
use crate::limit::{Class, LimitHit, Shares, Why};
use crate::pool::Pool;
use crate::rate::Token;
use base::Instant;
use std::sync::Arc;

/// A limit in which a lease wants a place.
#[derive(Clone, Copy, Debug)]
pub enum Part<'p> {
    /// A single pool.
    Pool(&'p Arc<Pool>),
    /// The pool of one key.
    Key(&'p Arc<KeyedPools>, &'p [u8]),
}

/// The places that one call (or one attempt) holds. Dropping it frees them, on the thread of the shard that took them:
/// the shard's auditor counts leases and places at one moment.
#[derive(Debug, Default)]
pub struct Lease {
    shard: u8,
    held: Vec<Held>,
}

/// One place.
#[derive(Debug)]
pub(crate) enum Held {
    Pool(Arc<Pool>),
    Key(Arc<KeyedPools>, Place),
}

impl Lease {
    /// Takes one place in each part and one call of each part's rate, or none at all. `shard` is the signalling shard
    /// that keeps the lease (below [`crate::SHARDS_MAX`], or [`crate::ng_shard`]). A part that is named twice counts twice.
    ///
    /// # Errors
    /// The first part without a place; if all have one, the first whose calls come too fast.
    pub fn take<'p>(
        shard: u8,
        now: Instant,
        class: Class,
        parts: impl IntoIterator<Item = Part<'p>>,
    ) -> Result<Lease, LimitHit> {
        // An early return drops the lease, which gives back what was taken so far.
        let mut lease = Lease { shard, held: Vec::with_capacity(PARTS_USUAL) };
        let mut paced = 0;
        for part in parts {
            let held = match part {
                Part::Pool(pool) => {
                    pool.take(shard, class)?;
                    Held::Pool(Arc::clone(pool))
                }
                Part::Key(pools, key) => {
                    let place = pools.take(shard, now, class, key)?;
                    Held::Key(Arc::clone(pools), place)
                }
            };
            paced += usize::from(held.is_paced());
            lease.held.push(held);
        }
        if paced == 0 || class == Class::Emergency {
            return Ok(lease);
        }
        // What is spent of a rate can be undone, but other shards may be refused meanwhile: look before.
        if paced > 1 {
            for held in &lease.held {
                held.check_pace(now).map_err(|why| held.refuse(why))?;
            }
        }
        spend(&lease.held, now)?;
        Ok(lease)
    }

    /// The single pools in which it holds a place.
    pub fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.held.iter().filter_map(|held| match held {
            Held::Pool(pool) => Some(pool),
            Held::Key(..) => None,
        })
    }

    /// How many places it holds.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The shard that took it.
    pub fn shard(&self) -> u8 {
        self.shard
    }

    /// What the auditor recounts.
    pub(crate) fn held(&self) -> &[Held] {
        &self.held
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        for held in &self.held {
            match held {
                Held::Pool(pool) => pool.give(self.shard),
                Held::Key(pools, place) => pools.give(self.shard, *place),
            }
        }
    }
}

/// One call of each rate, or of none.
fn spend(parts: &[Held], now: Instant) -> Result<(), LimitHit> {
    let Some((first, rest)) = parts.split_first() else { return Ok(()) };
    if !first.is_paced() {
        return spend(rest, now);
    }
    let token = first.spend(now).map_err(|why| first.refuse(why))?;
    spend(rest, now).inspect_err(|_| first.unspend(token))
}

impl Held {
    pub fn shares(&self) -> &Shares {
        match self {
            Held::Pool(pool) => pool.shares(),
            Held::Key(pools, _) => pools.shares(),
        }
    }

    fn is_paced(&self) -> bool {
        match self {
            Held::Pool(pool) => pool.is_paced(),
            Held::Key(pools, _) => pools.is_paced(),
        }
    }

    fn check_pace(&self, now: Instant) -> Result<(), Why> {
        match self {
            Held::Pool(pool) => pool.check_pace(now),
            Held::Key(pools, place) => pools.check_pace(now, *place),
        }
    }

    fn spend(&self, now: Instant) -> Result<Option<Token>, Why> {
        match self {
            Held::Pool(pool) => pool.spend(now).map(Some),
            Held::Key(pools, place) => pools.spend(now, *place),
        }
    }

    fn unspend(&self, token: Option<Token>) {
        match (self, token) {
            (Held::Pool(pool), Some(token)) => pool.unspend(token),
            (Held::Key(pools, place), Some(token)) => pools.unspend(*place, token),
            (_, None) => {}
        }
    }

    fn refuse(&self, why: Why) -> LimitHit {
        match self {
            Held::Pool(pool) => pool.refuse(why),
            Held::Key(pools, _) => pools.refuse(why),
        }
    }
}

/// Trunk, account, number and pool: what most leases hold.
const PARTS_USUAL: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::{Bounds, Refused};
    use crate::rate::Rate;
    use base::{Duration, HashKey};

    const NOW: Instant = Instant(1_000_000_000);

    fn lease(class: Class, pools: &[&Arc<Pool>]) -> Result<Lease, LimitHit> {
        Lease::take(0, NOW, class, pools.iter().map(|pool| Part::Pool(pool)))
    }

    fn hit(limit: &str, why: Why) -> LimitHit {
        LimitHit { limit: limit.into(), why }
    }

    fn per_second(count: u32, burst: u32) -> Bounds {
        Bounds { rate: Some(Rate::each(count, Duration::from_secs(1), burst)), ..Bounds::default() }
    }

    #[test]
    fn a_dropped_lease_frees_its_place() {
        let (trunk, engine) = (Pool::new("acme", 1), Pool::new("engine", 5));
        let held = lease(Class::Normal, &[&engine, &trunk]).unwrap();
        assert_eq!((engine.used(), trunk.used(), held.len()), (1, 1, 2));
        assert_eq!(held.pools().map(|pool| pool.name()).collect::<Vec<_>>(), ["engine", "acme"]);
        assert_eq!(lease(Class::Normal, &[&engine, &trunk]).unwrap_err(), hit("acme", Why::Full));
        assert_eq!((engine.used(), trunk.used()), (1, 1), "a refused lease leaves nothing behind");
        assert_eq!(trunk.refused(), Refused { full: 1, ..Refused::default() });
        drop(held);
        assert_eq!((engine.used(), trunk.used()), (0, 0));
    }

    #[test]
    fn reserved_places_are_for_priority_and_emergency_exceeds_all() {
        let pool = Pool::with("acme", Bounds { calls: 3, reserved: 2, ..Bounds::default() });
        let mut held = vec![lease(Class::Normal, &[&pool]).unwrap()];
        assert_eq!(lease(Class::Normal, &[&pool]).unwrap_err(), hit("acme", Why::Full));
        held.push(lease(Class::Priority, &[&pool]).unwrap());
        held.push(lease(Class::Priority, &[&pool]).unwrap());
        assert_eq!(lease(Class::Priority, &[&pool]).unwrap_err(), hit("acme", Why::Full));
        assert_eq!(pool.check(NOW, Class::Priority), Err(Why::Full));
        assert_eq!(pool.check(NOW, Class::Emergency), Ok(()));
        held.push(lease(Class::Emergency, &[&pool]).unwrap());
        assert_eq!(pool.used(), 4, "what exceeds is counted all the same");
        held.clear();
        assert_eq!(pool.used(), 0);
    }

    #[test]
    fn a_lowered_limit_keeps_the_calls_that_exist_and_lets_no_new_one_in() {
        let pool = Pool::new("acme", 10);
        let mut held: Vec<_> = (0..5).map(|_| lease(Class::Normal, &[&pool]).unwrap()).collect();
        pool.lower(Some(3));
        assert_eq!((pool.used(), pool.lowered(), pool.bounds().calls), (5, Some(3), 10));
        assert!(lease(Class::Priority, &[&pool]).is_err());
        held.truncate(2);
        held.push(lease(Class::Normal, &[&pool]).unwrap());
        assert!(lease(Class::Normal, &[&pool]).is_err());
        pool.lower(None);
        held.push(lease(Class::Normal, &[&pool]).unwrap());
        pool.set(Bounds { calls: 0, ..Bounds::default() });
        assert!(lease(Class::Normal, &[&pool]).is_err() && pool.used() == 4);
        held.clear();
        assert_eq!(pool.used(), 0);
    }

    #[test]
    fn a_lease_that_fails_uses_up_no_rate_and_no_place() {
        let (fast, slow) = (Pool::with("fast", per_second(10, 2)), Pool::with("slow", per_second(1, 1)));
        let full = Pool::new("full", 0);
        for _ in 0..50 {
            assert_eq!(lease(Class::Normal, &[&fast, &full]).unwrap_err(), hit("full", Why::Full));
        }
        let first = lease(Class::Normal, &[&fast, &slow]).unwrap();
        let why = Why::Fast { retry_after: Duration::from_secs(1) };
        for _ in 0..50 {
            assert_eq!(lease(Class::Normal, &[&fast, &slow]).unwrap_err(), hit("slow", why));
        }
        assert!(lease(Class::Normal, &[&fast]).is_ok(), "the second call of the burst is still there");
        let why = Why::Fast { retry_after: Duration::from_millis(100) };
        assert_eq!(lease(Class::Normal, &[&fast]).unwrap_err(), hit("fast", why));
        assert_eq!(fast.check(NOW, Class::Normal), Err(why));
        assert_eq!((fast.used(), slow.used(), full.used()), (1, 1, 0));
        assert_eq!((slow.refused().fast, full.refused().full), (50, 50));
        drop(first);
        assert!(
            lease(Class::Normal, &[&fast]).is_err(),
            "what was spent of a rate is not given back by the end"
        );
    }

    #[test]
    fn a_rate_spent_before_a_second_one_refuses_is_given_back() {
        // The same rate twice: the look before finds one call of it, spending needs two.
        let pool = Pool::with("twice", per_second(1, 1));
        assert!(lease(Class::Normal, &[&pool, &pool]).is_err());
        assert_eq!(pool.used(), 0);
        assert!(lease(Class::Normal, &[&pool]).is_ok());
        let keyed = KeyedPools::new("caller", per_second(1, 1), 10, HashKey::default());
        let part = || Part::Key(&keyed, b"+4989");
        assert!(Lease::take(0, NOW, Class::Normal, [part(), part()]).is_err());
        assert_eq!(keyed.keys_len(), 0);
        assert!(Lease::take(0, NOW, Class::Normal, [part()]).is_ok());
    }

    #[test]
    fn an_emergency_call_neither_waits_for_a_rate_nor_uses_it_up() {
        let pool = Pool::with("acme", per_second(1, 1));
        for _ in 0..10 {
            assert!(lease(Class::Emergency, &[&pool]).is_ok());
        }
        assert!(lease(Class::Normal, &[&pool]).is_ok());
        assert!(lease(Class::Normal, &[&pool]).is_err());
        assert!(lease(Class::Emergency, &[&pool]).is_ok());
    }

    #[test]
    fn shards_never_share_the_last_place_nor_a_call_of_the_rate() {
        let pool = Pool::with("p", Bounds { calls: 300, ..per_second(1, 100_000) });
        let other = Pool::with("q", Bounds { calls: 500, ..per_second(1, 60_000) });
        let granted: usize = std::thread::scope(|scope| {
            let shard = |shard: u8| {
                let (pool, other) = (&pool, &other);
                move || {
                    let (mut kept, mut granted) = (Vec::new(), 0);
                    for n in 0..40_000 {
                        let parts = [Part::Pool(pool), Part::Pool(other)];
                        if let Ok(lease) = Lease::take(shard, NOW, Class::Normal, parts) {
                            assert!(pool.used() <= 300);
                            granted += 1;
                            kept.push(lease);
                        }
                        if kept.len() > 120 || n % 97 == 0 {
                            kept.clear();
                        }
                    }
                    granted
                }
            };
            let threads: Vec<_> = (0..4).map(|n| scope.spawn(shard(n))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!((pool.used(), other.used()), (0, 0));
        assert!(granted <= 60_000, "{granted}");
        // What the leases did not use is all there: nothing was lost in races either.
        let rest = (0..100_000).filter(|_| lease(Class::Normal, &[&other]).is_ok()).count();
        assert_eq!(granted + rest, 60_000);
    }
}
