//! What a limit says and why it refuses: bounds that may change under the calls that they count, classes of calls, and
//! what each shard holds. Shared by single pools and pools by key.

use crate::rate::{Pace, Rate};
use base::Duration;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Signalling shards that can be told apart; the configuration allows no more.
pub const SHARDS_MAX: usize = 64;

/// What [`crate::Lease::take`] and [`crate::Auditor::new`] call the NG calls of a signalling shard: its leases are
/// recounted apart from those of the B2BUA, which live in another list.
pub fn ng_shard(shard: u8) -> u8 {
    SHARDS_MAX as u8 + shard
}

/// The B2BUA's leases of each shard, and NG's.
const SHARES: usize = 2 * SHARDS_MAX;

/// What a limit allows. The default only counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Calls at one time; `u32::MAX` only counts.
    pub calls: u32,
    /// Of these, places that only priority and emergency calls may take.
    pub reserved: u32,
    /// How fast they may come.
    pub rate: Option<Rate>,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { calls: u32::MAX, reserved: 0, rate: None }
    }
}

/// How a call is treated where room is scarce.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Class {
    /// May use what is not reserved.
    #[default]
    Normal,
    /// May use reserved places too.
    Priority,
    /// Exceeds every limit; its places are counted, its arrival uses up no rate.
    Emergency,
}

/// A lease that was not granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitHit {
    /// Name of the limit, for the `Reason` of the answer.
    pub limit: String,
    /// What it lacked.
    pub why: Why,
}

/// Why a limit refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// No place left for this class.
    Full,
    /// Calls come too fast.
    Fast {
        /// When the next one would be granted, if nobody else comes.
        retry_after: Duration,
    },
    /// Too many keys have calls at this time; there is no room to count another one.
    Crowded,
}

impl Why {
    /// Stable word for counters and events.
    pub fn name(self) -> &'static str {
        match self {
            Why::Full => "full",
            Why::Fast { .. } => "fast",
            Why::Crowded => "crowded",
        }
    }
}

/// How often a limit refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// No place.
    pub full: u64,
    /// Too fast.
    pub fast: u64,
    /// No room for another key.
    pub crowded: u64,
}

/// Bounds as all shards read them. A change is seen field by field: a call at that very moment may meet the old rate
/// with the new burst, which is as good as either.
#[derive(Debug)]
pub(crate) struct Rules {
    calls: AtomicU32,
    reserved: AtomicU32,
    /// The extra ceiling; `u32::MAX` is none.
    lowered: AtomicU32,
    burst: AtomicU32,
    /// Nanoseconds; zero is no rate.
    interval: AtomicU64,
    full: AtomicU64,
    fast: AtomicU64,
    crowded: AtomicU64,
}

impl Rules {
    pub fn new(bounds: Bounds) -> Rules {
        let rules = Rules {
            calls: AtomicU32::new(0),
            reserved: AtomicU32::new(0),
            lowered: AtomicU32::new(u32::MAX),
            burst: AtomicU32::new(1),
            interval: AtomicU64::new(0),
            full: AtomicU64::new(0),
            fast: AtomicU64::new(0),
            crowded: AtomicU64::new(0),
        };
        rules.set(bounds);
        rules
    }

    pub fn set(&self, bounds: Bounds) {
        self.calls.store(bounds.calls, Ordering::Relaxed);
        self.reserved.store(bounds.reserved, Ordering::Relaxed);
        self.burst.store(bounds.rate.map_or(1, |rate| rate.burst), Ordering::Relaxed);
        self.interval.store(Pace::of(bounds.rate).interval, Ordering::Relaxed);
    }

    pub fn bounds(&self) -> Bounds {
        Bounds {
            calls: self.calls.load(Ordering::Relaxed),
            reserved: self.reserved.load(Ordering::Relaxed),
            rate: self.rate(),
        }
    }

    pub fn lower(&self, to: Option<u32>) {
        self.lowered.store(to.unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    pub fn lowered(&self) -> Option<u32> {
        Some(self.lowered.load(Ordering::Relaxed)).filter(|to| *to != u32::MAX)
    }

    /// A call of this class gets a place while fewer than so many are in use.
    pub fn room(&self, class: Class) -> u32 {
        let (calls, lowered) = (self.calls.load(Ordering::Relaxed), self.lowered.load(Ordering::Relaxed));
        match class {
            Class::Emergency => u32::MAX,
            Class::Priority => calls.min(lowered),
            // What only counts has no end of which a part could be kept.
            Class::Normal if calls == u32::MAX => lowered,
            Class::Normal => calls.saturating_sub(self.reserved.load(Ordering::Relaxed)).min(lowered),
        }
    }

    pub fn pace(&self) -> Pace {
        match self.interval.load(Ordering::Relaxed) {
            0 => Pace { interval: 0, tolerance: 0 },
            _ => Pace::of(self.rate()),
        }
    }

    fn rate(&self) -> Option<Rate> {
        let interval = Duration::from_nanos(self.interval.load(Ordering::Relaxed));
        (!interval.is_zero()).then(|| Rate { interval, burst: self.burst.load(Ordering::Relaxed) })
    }

    /// Counts a refusal and words it.
    pub fn refuse(&self, limit: &str, why: Why) -> LimitHit {
        let counter = match why {
            Why::Full => &self.full,
            Why::Fast { .. } => &self.fast,
            Why::Crowded => &self.crowded,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        LimitHit { limit: limit.to_owned(), why }
    }

    pub fn refused(&self) -> Refused {
        Refused {
            full: self.full.load(Ordering::Relaxed),
            fast: self.fast.load(Ordering::Relaxed),
            crowded: self.crowded.load(Ordering::Relaxed),
        }
    }
}

/// Who holds how many places of a limit, by shard: what the auditor compares its recount with. Only the shard itself
/// changes its share, so it may compare at any moment of its own while the others go on.
#[derive(Debug)]
pub(crate) struct Shares {
    shards: [Share; SHARES],
}

#[derive(Debug, Default)]
struct Share {
    held: AtomicU32,
    /// The running recount; only the shard's auditor touches it.
    counted: AtomicU32,
}

impl Shares {
    pub fn new() -> Shares {
        Shares { shards: core::array::from_fn(|_| Share::default()) }
    }

    fn share(&self, shard: u8) -> &Share {
        debug_assert!(usize::from(shard) < SHARES, "the configuration allows {SHARDS_MAX} shards");
        &self.shards[usize::from(shard) % SHARES]
    }

    pub fn take(&self, shard: u8) {
        self.share(shard).held.fetch_add(1, Ordering::Relaxed);
    }

    pub fn give(&self, shard: u8) {
        let before = self.share(shard).held.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "a place is given back once, by the shard that took it");
    }

    pub fn held(&self, shard: u8) -> u32 {
        self.share(shard).held.load(Ordering::Relaxed)
    }

    /// All shards together; exact while none of them changes it.
    pub fn held_by_all(&self) -> u64 {
        self.shards.iter().map(|share| u64::from(share.held.load(Ordering::Relaxed))).sum()
    }

    /// Counts one place of a live lease; true for the first one of a recount.
    pub fn count(&self, shard: u8) -> bool {
        let counted = &self.share(shard).counted;
        let before = counted.load(Ordering::Relaxed);
        counted.store(before.saturating_add(1), Ordering::Relaxed);
        before == 0
    }

    /// The result of a recount; the next one begins at zero.
    pub fn counted(&self, shard: u8) -> u32 {
        let counted = &self.share(shard).counted;
        let count = counted.load(Ordering::Relaxed);
        counted.store(0, Ordering::Relaxed);
        count
    }
}
