//! Limits by caller, callee or source: one pool a key, made when the key's first call comes and gone when its last call
//! has gone and its rate has recovered. Strangers choose the keys, so their number and length are bounded.

use crate::limit::{Bounds, Class, LimitHit, Refused, Rules, Shares, Why};
use crate::pool::fast;
use crate::rate::Token;
use base::hash::KeyedMap;
use base::{HashKey, Instant, Key, Slab};
use core::cmp::Reverse;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One limit that holds for each key on its own. Shared by all shards and exact.
#[derive(Debug)]
pub struct KeyedPools {
    tables: Box<[Mutex<Table>]>,
    rules: Rules,
    keys: AtomicUsize,
    keys_max: usize,
    hash: HashKey,
    name: String,
    shares: Shares,
}

/// A part of the keys behind one lock.
#[derive(Debug)]
struct Table {
    by_key: KeyedMap<Arc<[u8]>, Key>,
    entries: Slab<Entry>,
    /// Keys without calls that wait for their rate to recover, soonest first; each at most once.
    fading: BinaryHeap<Reverse<(u64, Key)>>,
    /// The latest time that was seen: what is given back has no clock at hand.
    seen: Instant,
}

#[derive(Debug)]
struct Entry {
    key: Arc<[u8]>,
    used: u32,
    /// When its next call would be due at an even rate.
    due: u64,
    is_fading: bool,
}

/// Where a lease holds a place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    table: u32,
    entry: Key,
}

impl KeyedPools {
    /// `bounds` for each key; at most `keys_max` keys at a time, and none above for emergency calls only.
    pub fn new(name: impl Into<String>, bounds: Bounds, keys_max: usize, hash: HashKey) -> Arc<KeyedPools> {
        let table = || {
            Mutex::new(Table {
                by_key: KeyedMap::with_hasher(hash),
                entries: Slab::with_max(u32::MAX),
                fading: BinaryHeap::new(),
                seen: Instant(0),
            })
        };
        Arc::new(KeyedPools {
            tables: (0..TABLES).map(|_| table()).collect(),
            rules: Rules::new(bounds),
            keys: AtomicUsize::new(0),
            keys_max,
            hash,
            name: name.into(),
            shares: Shares::new(),
        })
    }

    /// A changed configuration, for all keys: calls above a lowered limit keep their places.
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

    /// An extra ceiling for each key; `None` lifts it.
    pub fn lower(&self, to: Option<u32>) {
        self.rules.lower(to);
    }

    /// How often it refused a lease.
    pub fn refused(&self) -> Refused {
        self.rules.refused()
    }

    /// Keys that are remembered now.
    pub fn keys_len(&self) -> usize {
        self.keys.load(Ordering::Relaxed)
    }

    /// Places in use, all keys together.
    pub fn used(&self) -> u64 {
        self.shares.held_by_all()
    }

    /// Places that one key uses.
    pub fn used_by(&self, key: &[u8]) -> u32 {
        let key = &*self.folded(key);
        let table = self.table(self.table_of(key));
        table.find(key).map_or(0, |entry| entry.used)
    }

    /// What a lease would meet here; takes nothing and counts nothing.
    ///
    /// # Errors
    /// Why it would be refused.
    pub fn check(&self, now: Instant, class: Class, key: &[u8]) -> Result<(), Why> {
        let key = &*self.folded(key);
        let (used, due) = {
            let mut table = self.table(self.table_of(key));
            table.expire(now, &self.keys);
            table.find(key).map_or((None, 0), |entry| (Some(entry.used), entry.due))
        };
        if used.unwrap_or(0) >= self.rules.room(class) {
            return Err(Why::Full);
        }
        if class == Class::Emergency {
            return Ok(());
        }
        if used.is_none() && self.keys_len() >= self.keys_max {
            self.expire(now);
            if self.keys_len() >= self.keys_max {
                return Err(Why::Crowded);
            }
        }
        self.rules.pace().step(due, now).map(drop).map_err(|early| fast(early.wait))
    }

    /// Forgets keys without calls whose rate has recovered. Calls do this for the keys that they meet; a timer of some
    /// seconds does it for the others.
    pub fn expire(&self, now: Instant) {
        for table in 0..self.tables.len() {
            self.table(table).expire(now, &self.keys);
        }
    }

    /// What each shard holds.
    pub(crate) fn shares(&self) -> &Shares {
        &self.shares
    }

    pub(crate) fn take(&self, shard: u8, now: Instant, class: Class, key: &[u8]) -> Result<Place, LimitHit> {
        let key = &*self.folded(key);
        let index = self.table_of(key);
        let room = self.rules.room(class);
        let mut taken = self.table(index).take(now, key, room, &self.keys, self.keys_allowed(class));
        if taken == Err(Why::Crowded) {
            // Other tables may keep keys that nobody has asked for since they recovered.
            self.expire(now);
            taken = self.table(index).take(now, key, room, &self.keys, self.keys_allowed(class));
        }
        let entry = taken.map_err(|why| self.refuse(why))?;
        self.shares.take(shard);
        Ok(Place { table: index as u32, entry })
    }

    pub(crate) fn give(&self, shard: u8, place: Place) {
        self.shares.give(shard);
        self.table(place.table as usize).give(place.entry, &self.keys);
    }

    pub(crate) fn is_paced(&self) -> bool {
        self.rules.pace().is_set()
    }

    pub(crate) fn check_pace(&self, now: Instant, place: Place) -> Result<(), Why> {
        let due = self.table(place.table as usize).entries.get(place.entry).map_or(0, |entry| entry.due);
        self.rules.pace().step(due, now).map(drop).map_err(|early| fast(early.wait))
    }

    /// `None`: the key has gone, which a place prevents.
    pub(crate) fn spend(&self, now: Instant, place: Place) -> Result<Option<Token>, Why> {
        let mut table = self.table(place.table as usize);
        let Some(entry) = table.entries.get_mut(place.entry) else { return Ok(None) };
        self.rules.pace().spend(&mut entry.due, now).map(Some).map_err(|early| fast(early.wait))
    }

    pub(crate) fn unspend(&self, place: Place, token: Token) {
        if let Some(entry) = self.table(place.table as usize).entries.get_mut(place.entry) {
            entry.due = token.undo(entry.due);
        }
    }

    pub(crate) fn refuse(&self, why: Why) -> LimitHit {
        self.rules.refuse(&self.name, why)
    }

    /// Emergency calls are counted even where no other key would be: their number is bounded by the engine's calls.
    fn keys_allowed(&self, class: Class) -> usize {
        match class {
            Class::Emergency => usize::MAX,
            Class::Normal | Class::Priority => self.keys_max,
        }
    }

    fn table_of(&self, key: &[u8]) -> usize {
        self.hash.owner(key, self.tables.len())
    }

    /// No code under this lock can panic between two changes, so a poisoned table is as good as any.
    fn table(&self, index: usize) -> MutexGuard<'_, Table> {
        self.tables[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A long key as its beginning and its hash: strangers choose the length.
    fn folded<'k>(&self, key: &'k [u8]) -> std::borrow::Cow<'k, [u8]> {
        if key.len() <= KEY_LEN_MAX {
            return key.into();
        }
        let mut folded = key[..KEY_LEN_MAX].to_vec();
        folded.extend_from_slice(&self.hash.of(key).to_be_bytes());
        folded.into()
    }
}

impl Table {
    fn find(&self, key: &[u8]) -> Option<&Entry> {
        self.entries.get(*self.by_key.get(key)?)
    }

    fn take(
        &mut self,
        now: Instant,
        key: &[u8],
        room: u32,
        keys: &AtomicUsize,
        keys_max: usize,
    ) -> Result<Key, Why> {
        self.expire(now, keys);
        if let Some(at) = self.by_key.get(key)
            && let Some(entry) = self.entries.get_mut(*at)
        {
            if entry.used >= room {
                return Err(Why::Full);
            }
            entry.used += 1;
            return Ok(*at);
        }
        if room == 0 {
            return Err(Why::Full);
        }
        keys.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < keys_max).then_some(n + 1))
            .map_err(|_| Why::Crowded)?;
        let key: Arc<[u8]> = key.into();
        let entry = Entry { key: Arc::clone(&key), used: 1, due: 0, is_fading: false };
        let Ok(at) = self.entries.insert(entry) else {
            keys.fetch_sub(1, Ordering::Relaxed);
            return Err(Why::Crowded);
        };
        self.by_key.insert(key, at);
        Ok(at)
    }

    fn give(&mut self, at: Key, keys: &AtomicUsize) {
        let Some(entry) = self.entries.get_mut(at) else { return };
        debug_assert!(entry.used > 0, "a place is given back once");
        entry.used = entry.used.saturating_sub(1);
        if entry.used > 0 {
            return;
        }
        if entry.is_fading {
            // It waits already; its time is looked at again when the old one has come.
        } else if entry.due <= self.seen.0 {
            self.forget(at, keys);
        } else {
            entry.is_fading = true;
            self.fading.push(Reverse((entry.due, at)));
        }
    }

    fn expire(&mut self, now: Instant, keys: &AtomicUsize) {
        self.seen = self.seen.max(now);
        while let Some(Reverse((due, at))) = self.fading.peek().copied()
            && due <= self.seen.0
        {
            self.fading.pop();
            let Some(entry) = self.entries.get_mut(at) else { continue };
            entry.is_fading = false;
            if entry.used > 0 {
                continue;
            }
            if entry.due <= self.seen.0 {
                self.forget(at, keys);
            } else {
                entry.is_fading = true;
                self.fading.push(Reverse((entry.due, at)));
            }
        }
    }

    fn forget(&mut self, at: Key, keys: &AtomicUsize) {
        if let Some(entry) = self.entries.remove(at) {
            self.by_key.remove(&entry.key);
            keys.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Locks; many more than shards that could meet.
const TABLES: usize = 64;

/// Longer keys are folded; numbers and addresses are much shorter.
const KEY_LEN_MAX: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::{Lease, Part};
    use crate::rate::Rate;
    use base::Duration;

    fn at(ms: u64) -> Instant {
        Instant((1_000 + ms) * 1_000_000)
    }

    fn keyed(bounds: Bounds, keys_max: usize) -> Arc<KeyedPools> {
        KeyedPools::new("per caller", bounds, keys_max, HashKey::new([7, 9]))
    }

    fn lease(pools: &Arc<KeyedPools>, now: Instant, key: &[u8]) -> Result<Lease, Why> {
        Lease::take(0, now, Class::Normal, [Part::Key(pools, key)]).map_err(|hit| {
            assert_eq!(hit.limit, "per caller");
            hit.why
        })
    }

    fn one_a_second() -> Bounds {
        let rate = Rate { interval: Duration::from_secs(1), burst: 1 };
        Bounds { calls: 2, reserved: 0, rate: Some(rate) }
    }

    #[test]
    fn each_key_has_its_own_places_and_goes_with_its_last_call() {
        let pools = keyed(Bounds { calls: 2, ..Bounds::default() }, 10);
        let (a, b) = (lease(&pools, at(0), b"a").unwrap(), lease(&pools, at(0), b"a").unwrap());
        assert_eq!(lease(&pools, at(0), b"a").unwrap_err(), Why::Full);
        let other = lease(&pools, at(0), b"b").unwrap();
        assert_eq!((pools.used_by(b"a"), pools.used_by(b"b"), pools.used(), pools.keys_len()), (2, 1, 3, 2));
        drop((a, other));
        assert_eq!((pools.used_by(b"a"), pools.keys_len()), (1, 1));
        drop(b);
        assert_eq!((pools.used(), pools.keys_len(), pools.refused().full), (0, 0, 1));
    }

    #[test]
    fn a_key_without_calls_stays_until_its_rate_has_recovered() {
        let pools = keyed(one_a_second(), 10);
        drop(lease(&pools, at(0), b"a").unwrap());
        assert_eq!(pools.keys_len(), 1, "hanging up does not wipe out what was spent");
        let early = Why::Fast { retry_after: Duration::from_millis(1) };
        assert_eq!(lease(&pools, at(999), b"a").unwrap_err(), early);
        assert_eq!(pools.check(at(999), Class::Normal, b"a"), Err(early));
        pools.expire(at(999));
        assert_eq!(pools.keys_len(), 1);
        pools.expire(at(1_000));
        assert_eq!(pools.keys_len(), 0);
        // A call that outlives its wait takes the key along when it ends.
        let long = lease(&pools, at(2_000), b"a").unwrap();
        pools.expire(at(9_000));
        assert_eq!(pools.keys_len(), 1);
        drop(long);
        assert_eq!(pools.keys_len(), 0);
    }

    #[test]
    fn a_key_that_is_called_again_and_again_waits_once() {
        let rate = Rate { interval: Duration::from_millis(10), burst: 1_000 };
        let pools = keyed(Bounds { rate: Some(rate), ..Bounds::default() }, 10);
        for n in 0..500 {
            drop(lease(&pools, at(n), b"a").unwrap());
        }
        let waiting: usize = pools.tables.iter().map(|table| table.lock().unwrap().fading.len()).sum();
        assert_eq!((waiting, pools.keys_len()), (1, 1));
        pools.expire(at(4_999));
        assert_eq!(pools.keys_len(), 1, "500 calls at 10 ms each");
        pools.expire(at(5_000));
        assert_eq!(pools.keys_len(), 0);
    }

    #[test]
    fn strangers_cannot_make_it_grow_and_emergency_is_counted_all_the_same() {
        let pools = keyed(one_a_second(), 3);
        let held: Vec<_> = (0..3u8).map(|n| lease(&pools, at(0), &[n]).unwrap()).collect();
        for n in 3..200u8 {
            assert_eq!(lease(&pools, at(0), &[n]).unwrap_err(), Why::Crowded);
        }
        assert_eq!(pools.check(at(0), Class::Normal, b"new"), Err(Why::Crowded));
        assert_eq!((pools.keys_len(), pools.refused().crowded), (3, 197));
        let emergency = Lease::take(0, at(0), Class::Emergency, [Part::Key(&pools, b"112")]).unwrap();
        assert_eq!((pools.keys_len(), pools.used_by(b"112")), (4, 1));
        drop((held, emergency));
        // The three have no calls but are still known; when they have recovered, whoever comes finds room.
        assert_eq!(lease(&pools, at(999), b"x").unwrap_err(), Why::Crowded);
        assert!(lease(&pools, at(1_000), b"x").is_ok());
        assert_eq!(pools.keys_len(), 1);
    }

    #[test]
    fn long_keys_are_kept_apart_but_not_kept() {
        let pools = keyed(Bounds { calls: 1, ..Bounds::default() }, 10);
        let (a, b) = (vec![b'7'; 10_000], [vec![b'7'; 9_999], vec![b'8']].concat());
        let held = lease(&pools, at(0), &a).unwrap();
        assert_eq!(lease(&pools, at(0), &a).unwrap_err(), Why::Full);
        assert!(lease(&pools, at(0), &b).is_ok());
        let table = pools.tables.iter().map(|table| table.lock().unwrap()).find(|t| !t.by_key.is_empty());
        assert!(table.unwrap().entries.iter().all(|(_, entry)| entry.key.len() <= KEY_LEN_MAX + 8));
        drop(held);
        assert_eq!(pools.keys_len(), 0);
    }

    #[test]
    fn a_closed_limit_makes_no_keys() {
        let pools = keyed(Bounds { calls: 0, ..Bounds::default() }, 10);
        assert_eq!(lease(&pools, at(0), b"a").unwrap_err(), Why::Full);
        assert_eq!((pools.keys_len(), pools.check(at(0), Class::Normal, b"a")), (0, Err(Why::Full)));
        pools.set(Bounds::default());
        assert!(lease(&pools, at(0), b"a").is_ok());
        pools.lower(Some(0));
        assert_eq!(lease(&pools, at(0), b"a").unwrap_err(), Why::Full);
    }
}
