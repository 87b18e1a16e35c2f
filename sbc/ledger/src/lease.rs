//! Places in pools. A lease is taken once for a call and gives everything back when it is dropped, however the call
//! ended; so a limit cannot drift. Pools are shared by all shards and exact: places are taken by compare-and-swap.

use std::sync::Arc;

use core::sync::atomic::{AtomicU32, Ordering};

/// Something of which a limited number may be in use: calls of a trunk, an account, the whole engine.
#[derive(Debug)]
pub struct Pool {
    name: String,
    used: AtomicU32,
    max: AtomicU32,
}

/// The pool has no place left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolFull {
    /// Its name, for the `Reason` of the answer.
    pub pool: String,
}

impl Pool {
    /// A pool with `max` places; `u32::MAX` only counts.
    pub fn new(name: impl Into<String>, max: u32) -> Arc<Pool> {
        Arc::new(Pool { name: name.into(), used: AtomicU32::new(0), max: AtomicU32::new(max) })
    }

    /// As in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Places in use now.
    pub fn used(&self) -> u32 {
        self.used.load(Ordering::Acquire)
    }

    /// A changed configuration: calls above a lowered limit keep their places.
    pub fn set_max(&self, max: u32) {
        self.max.store(max, Ordering::Release);
    }

    fn take(&self) -> bool {
        let max = self.max.load(Ordering::Acquire);
        self.used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| (used < max).then_some(used + 1))
            .is_ok()
    }

    fn give(&self) {
        let before = self.used.fetch_sub(1, Ordering::AcqRel);
        debug_assert!(before > 0, "a place is given back once");
    }
}

/// The places that one call (or one attempt) holds. Dropping it frees them.
#[derive(Debug, Default)]
pub struct Lease {
    held: Vec<Arc<Pool>>,
}

impl Lease {
    /// Takes one place in each pool, or none at all.
    ///
    /// # Errors
    /// The first pool that is full.
    pub fn take<'p>(pools: impl IntoIterator<Item = &'p Arc<Pool>>) -> Result<Lease, PoolFull> {
        let mut lease = Lease::default();
        for pool in pools {
            if !pool.take() {
                // What was taken so far goes back with the lease.
                return Err(PoolFull { pool: pool.name.clone() });
            }
            lease.held.push(Arc::clone(pool));
        }
        Ok(lease)
    }

    /// The pools in which it holds a place: what the auditor recounts.
    pub fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.held.iter()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        for pool in &self.held {
            pool.give();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_lease_frees_its_place() {
        let (trunk, engine) = (Pool::new("acme", 1), Pool::new("engine", 5));
        let lease = Lease::take([&engine, &trunk]).unwrap();
        assert_eq!((engine.used(), trunk.used()), (1, 1));
        assert_eq!(Lease::take([&engine, &trunk]).unwrap_err(), PoolFull { pool: "acme".into() });
        assert_eq!((engine.used(), trunk.used()), (1, 1), "a refused lease leaves nothing behind");
        drop(lease);
        assert_eq!((engine.used(), trunk.used()), (0, 0));
    }

    #[test]
    fn two_threads_never_share_the_last_place() {
        let pool = Pool::new("p", 1000);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut kept = Vec::new();
                    for _ in 0..1000 {
                        if let Ok(lease) = Lease::take([&pool]) {
                            assert!(pool.used() <= 1000);
                            kept.push(lease);
                            if kept.len() > 200 {
                                kept.clear();
                            }
                        }
                    }
                });
            }
        });
        assert_eq!(pool.used(), 0);
    }
}
