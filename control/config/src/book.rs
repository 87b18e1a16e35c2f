//! What versions of the configuration share: pools, keyed pools, what groups remember, the health of trunks. Each is
//! found by its name, so that calls in progress stay counted and a trunk that is down stays down.

use b2bua::spec::KeyOf;
use base::HashKey;
use ledger::{Bounds, KeyedPools, Pool};
use routing::group::GroupState;
use routing::health::Health;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

/// All shared state by name, as long as anybody holds it: a version that is in force, or a call.
#[derive(Debug, Default)]
pub struct PoolBook {
    hash: HashKey,
    pools: BTreeMap<String, Weak<Pool>>,
    keyed: BTreeMap<String, Keyed>,
    groups: BTreeMap<String, Weak<GroupState>>,
    healths: BTreeMap<String, Weak<Health>>,
}

#[derive(Debug)]
struct Keyed {
    pools: Weak<KeyedPools>,
    /// Another key or bound is another limit.
    by: KeyOf,
    keys_max: usize,
}

impl PoolBook {
    /// Empty, with a key that everybody knows: for tests, and where no strangers call.
    pub fn new() -> PoolBook {
        PoolBook::default()
    }

    /// Empty, with a secret key: strangers choose by what keyed pools are found.
    pub fn with_key(hash: HashKey) -> PoolBook {
        PoolBook { hash, ..PoolBook::default() }
    }

    /// Forgets what nobody holds.
    pub(crate) fn sweep(&mut self) {
        self.pools.retain(|_, pool| pool.strong_count() > 0);
        self.keyed.retain(|_, keyed| keyed.pools.strong_count() > 0);
        self.groups.retain(|_, group| group.strong_count() > 0);
        self.healths.retain(|_, health| health.strong_count() > 0);
    }

    /// The pool of this kind of object, with new bounds; `name` is what it is called in answers and metrics.
    pub(crate) fn pool(&mut self, kind: &str, name: &str, bounds: Bounds) -> Arc<Pool> {
        let make = || Pool::with(name, bounds);
        let pool = kept(&mut self.pools, format!("{kind} {name}"), make);
        if pool.bounds() != bounds {
            pool.set(bounds);
        }
        pool
    }

    /// A limit by key, with new bounds.
    pub(crate) fn keyed(
        &mut self,
        name: &str,
        bounds: Bounds,
        by: KeyOf,
        keys_max: usize,
    ) -> Arc<KeyedPools> {
        let known = self.keyed.get(name).filter(|known| known.by == by && known.keys_max == keys_max);
        if let Some(pools) = known.and_then(|known| known.pools.upgrade()) {
            pools.set(bounds);
            return pools;
        }
        let pools = KeyedPools::new(name, bounds, keys_max, self.hash);
        self.keyed.insert(name.to_owned(), Keyed { pools: Arc::downgrade(&pools), by, keys_max });
        pools
    }

    /// What a group remembers.
    pub(crate) fn group(&mut self, name: &str) -> Arc<GroupState> {
        kept(&mut self.groups, name.to_owned(), || Arc::new(GroupState::new()))
    }

    /// Whether a trunk or account may be used.
    pub(crate) fn health(&mut self, kind: &str, name: &str) -> Arc<Health> {
        kept(&mut self.healths, format!("{kind} {name}"), || Arc::new(Health::new()))
    }
}

fn kept<T>(book: &mut BTreeMap<String, Weak<T>>, key: String, make: impl FnOnce() -> Arc<T>) -> Arc<T> {
    if let Some(known) = book.get(&key).and_then(Weak::upgrade) {
        return known;
    }
    let new = make();
    book.insert(key, Arc::downgrade(&new));
    new
}
