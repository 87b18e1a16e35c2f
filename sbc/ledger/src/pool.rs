//! A single limit: calls of a trunk, an account, a named pool, the whole engine. Shared by all shards and exact: places
//! are taken by compare-and-swap. Places are taken and given back only by leases.

use crate::limit::{Bounds, Class, LimitHit, Refused, Rules, Shares, Why};
use crate::rate::Token;
use base::{Duration, Instant};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::Arc;

/// Something of which a limited number may be in use.
#[derive(Debug)]
pub struct Pool {
    used: AtomicU32,
    /// When the next call would be due at an even rate.
    due: AtomicU64,
    rules: Rules,
    name: String,
    shares: Shares,
}

impl Pool {
    /// A pool with `max` places; `u32::MAX` only counts.
    pub fn new(name: impl Into<String>, max: u32) -> Arc<Pool> {
        Pool::with(name, Bounds { calls: max, ..Bounds::default() })
    }

    /// A pool with all that bounds can say.
    pub fn with(name: impl Into<String>, bounds: Bounds) -> Arc<Pool> {
        Arc::new(Pool {
            used: AtomicU32::new(0),
            due: AtomicU64::new(0),
            rules: Rules::new(bounds),
            name: name.into(),
            shares: Shares::new(),
        })
    }

    /// A changed configuration: calls above a lowered limit keep their places, and what was used up of a rate stays so.
    pub fn set(&self, bounds: Bounds) {
        self.rules.set(bounds);
    }

    /// As configured.
    pub fn bounds(&self) -> Bounds {
        self.rules.bounds()
    }

    /// As in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Places in use now.
    pub fn used(&self) -> u32 {
        self.used.load(Ordering::Acquire)
    }

    /// An extra ceiling below the configured one, as a fraud policy sets it; `None` lifts it. Calls that exist stay.
    pub fn lower(&self, to: Option<u32>) {
        self.rules.lower(to);
    }

    /// The extra ceiling.
    pub fn lowered(&self) -> Option<u32> {
        self.rules.lowered()
    }

    /// How often it refused a lease.
    pub fn refused(&self) -> Refused {
        self.rules.refused()
    }

    /// What a lease would meet here; takes nothing and counts nothing.
    ///
    /// # Errors
    /// Why it would be refused.
    pub fn check(&self, now: Instant, class: Class) -> Result<(), Why> {
        if self.used() >= self.rules.room(class) {
            return Err(Why::Full);
        }
        match class {
            Class::Emergency => Ok(()),
            Class::Normal | Class::Priority => self.check_pace(now),
        }
    }

    pub(crate) fn check_pace(&self, now: Instant) -> Result<(), Why> {
        let early = self.rules.pace().step(self.due.load(Ordering::Acquire), now);
        early.map(drop).map_err(|early| fast(early.wait))
    }

    /// What each shard holds.
    pub(crate) fn shares(&self) -> &Shares {
        &self.shares
    }

    pub(crate) fn take(&self, shard: u8, class: Class) -> Result<(), LimitHit> {
        let room = self.rules.room(class);
        let mut used = self.used.load(Ordering::Relaxed);
        loop {
            if used >= room {
                return Err(self.refuse(Why::Full));
            }
            match self.used.compare_exchange_weak(used, used + 1, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => break,
                Err(changed) => used = changed,
            }
        }
        self.shares.take(shard);
        Ok(())
    }

    pub(crate) fn give(&self, shard: u8) {
        self.shares.give(shard);
        let before = self.used.fetch_sub(1, Ordering::AcqRel);
        debug_assert!(before > 0, "a place is given back once");
    }

    pub(crate) fn is_paced(&self) -> bool {
        self.rules.pace().is_set()
    }

    pub(crate) fn spend(&self, now: Instant) -> Result<Token, Why> {
        self.rules.pace().spend_shared(&self.due, now).map_err(|early| fast(early.wait))
    }

    pub(crate) fn unspend(&self, token: Token) {
        token.undo_shared(&self.due);
    }

    pub(crate) fn refuse(&self, why: Why) -> LimitHit {
        self.rules.refuse(&self.name, why)
    }
}

/// As a refusal says it.
pub(crate) fn fast(wait: u64) -> Why {
    Why::Fast { retry_after: Duration::from_nanos(wait) }
}
