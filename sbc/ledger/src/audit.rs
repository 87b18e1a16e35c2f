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
