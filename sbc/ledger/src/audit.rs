//! The auditor: each signalling shard counts the places of its live leases every few seconds and compares them with
//! what the limits say that it holds. A difference is a leak. It reports and never repairs: a repaired leak is one that
//! nobody finds.

use crate::keyed::KeyedPools;
use crate::lease::{Held, Lease};
use crate::limit::Shares;
use crate::pool::Pool;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

/// Recounts for one shard. A shard that has been restarted makes a new one after the leases of its predecessor have
/// been dropped; what the predecessor leaked is found by it.
#[derive(Debug)]
pub struct Auditor {
    shard: u8,
    /// Every limit that was ever met and still exists, by address: one that has left the configuration may still have
    /// calls, or a leaked place.
    met: BTreeMap<usize, WeakLimit>,
}

/// A limit to look at even if no live lease holds a place in it.
#[derive(Clone, Copy, Debug)]
pub enum Limit<'l> {
    /// A single pool.
    Pool(&'l Arc<Pool>),
    /// All keys of a limit together.
    Keyed(&'l Arc<KeyedPools>),
}

/// What a recount found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recount {
    /// Live leases.
    pub leases: usize,
    /// Places that they hold.
    pub places: u64,
    /// Leases that another shard took: they are in the wrong list and make that shard's recount wrong.
    pub foreign: usize,
    /// Limits whose count differs, by name; empty when all is well.
    pub drifts: Vec<Drift>,
}

/// One limit whose count is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// Its name.
    pub limit: String,
    /// Places that the limit says this shard holds.
    pub held: u32,
    /// Places of this shard's live leases.
    pub counted: u32,
}

impl Recount {
    /// Places that are wrong, of all limits together: what this shard adds to `strowger_limit_drift`.
    pub fn drift(&self) -> u64 {
        self.drifts.iter().map(|drift| u64::from(drift.held.abs_diff(drift.counted))).sum()
    }
}

impl Auditor {
    /// For the shard whose leases it will see.
    pub fn new(shard: u8) -> Auditor {
        Auditor { shard, met: BTreeMap::new() }
    }

    /// Compares all live leases of this shard with what the limits say. Runs on the shard's thread between two changes,
    /// so it is exact while other shards go on. `configured` are all limits of the present configuration: one without a
    /// live lease may hold a leaked place.
    pub fn recount<'l>(
        &mut self,
        configured: impl IntoIterator<Item = Limit<'l>>,
        leases: impl IntoIterator<Item = &'l Lease>,
    ) -> Recount {
        for limit in configured {
            self.met.entry(limit.address()).or_insert_with(|| limit.downgrade());
        }
        self.met.retain(|_, limit| limit.shares(|_| ()).is_some());
        let mut recount = Recount::default();
        for lease in leases {
            if lease.shard() != self.shard {
                recount.foreign += 1;
                continue;
            }
            recount.leases += 1;
            recount.places += lease.len() as u64;
            for held in lease.held() {
                if held.shares().count(self.shard) {
                    let limit = held.limit();
                    self.met.entry(limit.address()).or_insert_with(|| limit.downgrade());
                }
            }
        }
        for limit in self.met.values() {
            let compared = limit.shares(|shares| (shares.held(self.shard), shares.counted(self.shard)));
            if let Some((held, counted)) = compared
                && held != counted
            {
                recount.drifts.push(Drift { limit: limit.name(), held, counted });
            }
        }
        recount.drifts.sort_by(|a, b| a.limit.cmp(&b.limit));
        recount
    }
}

/// A limit that is not kept alive by being audited.
#[derive(Debug)]
enum WeakLimit {
    Pool(Weak<Pool>),
    Keyed(Weak<KeyedPools>),
}

impl Limit<'_> {
    /// Unique as long as a weak pointer keeps the allocation.
    fn address(self) -> usize {
        match self {
            Limit::Pool(pool) => Arc::as_ptr(pool).addr(),
            Limit::Keyed(pools) => Arc::as_ptr(pools).addr(),
        }
    }

    fn downgrade(self) -> WeakLimit {
        match self {
            Limit::Pool(pool) => WeakLimit::Pool(Arc::downgrade(pool)),
            Limit::Keyed(pools) => WeakLimit::Keyed(Arc::downgrade(pools)),
        }
    }
}

impl WeakLimit {
    /// `None` once the limit has gone, and with it every place in it.
    fn shares<T>(&self, look: impl FnOnce(&Shares) -> T) -> Option<T> {
        match self {
            WeakLimit::Pool(pool) => pool.upgrade().map(|pool| look(pool.shares())),
            WeakLimit::Keyed(pools) => pools.upgrade().map(|pools| look(pools.shares())),
        }
    }

    fn name(&self) -> String {
        match self {
            WeakLimit::Pool(pool) => pool.upgrade().map(|pool| pool.name().to_owned()),
            WeakLimit::Keyed(pools) => pools.upgrade().map(|pools| pools.name().to_owned()),
        }
        .unwrap_or_default()
    }
}

impl Held {
    fn limit(&self) -> Limit<'_> {
        match self {
            Held::Pool(pool) => Limit::Pool(pool),
            Held::Key(pools, _) => Limit::Keyed(pools),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::Part;
    use crate::limit::{Bounds, Class};
    use base::{HashKey, Instant, Rng};

    const NOW: Instant = Instant(1_000_000_000);

    fn lease(shard: u8, parts: &[Part<'_>]) -> Lease {
        Lease::take(shard, NOW, Class::Normal, parts.iter().copied()).unwrap()
    }

    fn keyed() -> Arc<KeyedPools> {
        KeyedPools::new("per source", Bounds::default(), 1_000, HashKey::default())
    }

    #[test]
    fn a_leaked_lease_is_found_again_and_again_and_not_repaired() {
        let (trunk, engine, keyed) = (Pool::new("acme", 10), Pool::new("engine", 10), keyed());
        let configured = [Limit::Pool(&trunk), Limit::Pool(&engine), Limit::Keyed(&keyed)];
        let mut auditor = Auditor::new(3);
        let kept = lease(3, &[Part::Pool(&engine), Part::Pool(&trunk), Part::Key(&keyed, b"a")]);
        let well = auditor.recount(configured, [&kept]);
        assert_eq!(well, Recount { leases: 1, places: 3, ..Recount::default() });
        core::mem::forget(lease(3, &[Part::Pool(&engine), Part::Key(&keyed, b"a")]));
        for _ in 0..2 {
            let recount = auditor.recount(configured, [&kept]);
            let drifts: Vec<_> = recount.drifts.iter().map(|d| (&*d.limit, d.held, d.counted)).collect();
            assert_eq!(drifts, [("engine", 2, 1), ("per source", 2, 1)]);
            assert_eq!((recount.drift(), engine.used(), keyed.used()), (2, 2, 2));
        }
        // Other shards are not blamed, a successor on the same shard finds it.
        assert_eq!(Auditor::new(0).recount(configured, []).drift(), 0);
        assert_eq!(Auditor::new(3).recount(configured, [&kept]).drift(), 2);
    }

    #[test]
    fn a_leak_in_a_limit_that_has_left_the_configuration_is_found() {
        let trunk = Pool::new("gone", 10);
        let mut auditor = Auditor::new(0);
        let held = lease(0, &[Part::Pool(&trunk)]);
        drop(trunk);
        assert_eq!(auditor.recount([], [&held]).drift(), 0);
        core::mem::forget(held);
        assert_eq!(auditor.recount([], []).drifts, [Drift { limit: "gone".into(), held: 1, counted: 0 }]);
        // One whose last call ends properly is forgotten.
        let other = lease(0, &[Part::Pool(&Pool::new("other", 1))]);
        assert_eq!((auditor.recount([], [&other]).drift(), auditor.met.len()), (1, 2));
        drop(other);
        assert_eq!((auditor.recount([], []).drift(), auditor.met.len()), (1, 1));
    }

    #[test]
    fn a_lease_in_another_shards_list_is_told() {
        let pool = Pool::new("p", 10);
        let held = lease(1, &[Part::Pool(&pool)]);
        let recount = Auditor::new(0).recount([Limit::Pool(&pool)], [&held]);
        assert_eq!((recount.foreign, recount.leases, recount.drift()), (1, 0, 0));
        assert_eq!(Auditor::new(1).recount([Limit::Pool(&pool)], []).drift(), 1);
    }

    /// One shard's life: takes and drops at random, recounts in between; dies by panic every few hundred steps, and its
    /// successor goes on. Gives how many recounts it made.
    fn live(shard: u8, pools: &[Arc<Pool>], keyed: &Arc<KeyedPools>) -> usize {
        let mut rng = Rng::from_seed(u64::from(shard) + 1);
        let mut recounts = 0;
        for _ in 0..20 {
            let life = std::panic::AssertUnwindSafe(|| {
                let (mut leases, mut auditor) = (Vec::new(), Auditor::new(shard));
                for step in 0..1_500 {
                    let key = [rng.below(20) as u8];
                    let first = &pools[rng.below(pools.len() as u64) as usize];
                    let parts = [Part::Pool(first), Part::Pool(&pools[0]), Part::Key(keyed, &key)];
                    match rng.below(3) {
                        0 if !leases.is_empty() => {
                            leases.swap_remove(rng.below(leases.len() as u64) as usize);
                        }
                        _ => leases.extend(Lease::take(shard, NOW, Class::Normal, parts)),
                    }
                    if step % 10 == 0 {
                        let configured = pools.iter().map(Limit::Pool).chain([Limit::Keyed(keyed)]);
                        let recount = auditor.recount(configured, &leases);
                        assert_eq!((recount.drifts, recount.leases), (vec![], leases.len()));
                        recounts += 1;
                    }
                }
                // Without the hook's message: leases are dropped while the thread unwinds.
                std::panic::resume_unwind(Box::new("dies"));
            });
            let died = std::panic::catch_unwind(life).unwrap_err();
            if died.downcast_ref() != Some(&"dies") {
                std::panic::resume_unwind(died);
            }
        }
        recounts
    }

    #[test]
    fn recounts_are_exact_while_other_shards_run_and_die() {
        let pools: Vec<_> = [400, 90, 90, 1_000].map(|max| Pool::new(format!("p{max}"), max)).into();
        let keyed = KeyedPools::new("k", Bounds { calls: 70, ..Bounds::default() }, 15, HashKey::default());
        let recounts: usize = std::thread::scope(|scope| {
            let (pools, keyed) = (&pools, &keyed);
            let shards: Vec<_> = (0..4).map(|n| scope.spawn(move || live(n, pools, keyed))).collect();
            shards.into_iter().map(|shard| shard.join().unwrap()).sum()
        });
        assert_eq!(recounts, 4 * 20 * 150);
        assert!(pools.iter().all(|pool| pool.used() == 0) && keyed.used() == 0 && keyed.keys_len() == 0);
        assert!(pools[0].refused().full > 0 && keyed.refused().crowded > 0, "the limits were reached");
    }
}
