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
    /// that keeps the lease (below [`crate::SHARDS_MAX`]). A part that is named twice counts twice.
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
