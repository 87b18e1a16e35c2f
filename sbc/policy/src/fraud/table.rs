//! Keys and their counts, at most so many. Keys with live calls stay; of the others the one goes that was used least
//! recently, of the profile that has most, so that a flood of keys in one profile evicts its own; keys at a level last.

use super::counts::Counts;
use super::profile::{Level, Profile};
use base::slab::{Key, Slab};
use core::hash::{BuildHasherDefault, Hasher};
use std::collections::HashMap;

#[derive(Debug)]
pub struct Table {
    /// By the key's hash, which is keyed already.
    places: HashMap<u64, Key, BuildHasherDefault<Hashed>>,
    states: Slab<State>,
    idle: Vec<Idle>,
    /// Keys with live calls.
    pub pinned: u64,
    /// Keys forgotten.
    pub evicted: u64,
}

/// All that is known of one key.
#[derive(Debug)]
pub struct State {
    id: u64,
    /// [`Profile::id`], and the hash of its name alone.
    profile: u64,
    policy: u64,
    pub shape: u64,
    /// For people.
    pub name: Box<str>,
    pub counts: Counts,
    pub live: u32,
    /// At the last judgement.
    pub level: Option<Level>,
    /// While idle: neighbours in a list of `Table::idle`.
    newer: u32,
    older: u32,
}

/// The keys of one profile without live calls.
#[derive(Debug)]
struct Idle {
    profile: u64,
    /// Those at no level, and those at one.
    lists: [List; 2],
}

#[derive(Debug)]
struct List {
    newest: u32,
    oldest: u32,
    len: u32,
}

impl Table {
    pub fn new(keys_max: u32) -> Table {
        Table {
            places: HashMap::default(),
            states: Slab::with_max(keys_max),
            idle: Vec::new(),
            pinned: 0,
            evicted: 0,
        }
    }

    /// The key of this hash with one more live call, made if it is new; `None` if all keys have live calls.
    pub fn pin(
        &mut self,
        id: u64,
        profile: &Profile,
        name: impl FnOnce() -> Box<str>,
    ) -> Option<(Key, &mut State)> {
        let key = match self.places.get(&id) {
            Some(key) => *key,
            None => {
                if self.states.next_key().is_none() {
                    self.evict()?;
                }
                let state = State {
                    id,
                    profile: profile.id,
                    policy: profile.policy,
                    shape: profile.shape,
                    name: name(),
                    counts: Counts::new(&profile.rules),
                    live: 0,
                    level: None,
                    newer: NOBODY,
                    older: NOBODY,
                };
                let key = self.states.insert(state).ok()?;
                self.places.insert(id, key);
                // Taken out again below, as every idle key that gets a call.
                self.rest(key);
                key
            }
        };
        if self.states.get(key)?.live == 0 {
            self.wake(key);
            self.pinned += 1;
        }
        let state = self.states.get_mut(key)?;
        state.live += 1;
        if state.shape != profile.shape {
            // The configuration changed what is kept.
            state.counts = Counts::new(&profile.rules);
            state.shape = profile.shape;
        }
        Some((key, state))
    }

    /// One live call less.
    pub fn unpin(&mut self, key: Key) {
        let Some(state) = self.states.get_mut(key) else { return };
        debug_assert!(state.live > 0, "a call ends once");
        state.live = state.live.saturating_sub(1);
        if state.live == 0 {
            self.pinned -= 1;
            self.rest(key);
        }
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut State> {
        self.states.get_mut(key)
    }

    pub fn find(&self, id: u64) -> Option<&State> {
        self.states.get(*self.places.get(&id)?)
    }

    /// Forgets the counts of the key of this name; false if there is none.
    pub fn reset(&mut self, policy: u64, name: &str) -> bool {
        let mut found = self.states.iter().filter(|(_, s)| s.policy == policy && &*s.name == name);
        let Some((key, idle)) = found.next().map(|(key, state)| (key, state.live == 0)) else { return false };
        drop(found);
        // An idle key stands in the list of its level.
        if idle {
            self.wake(key);
        }
        if let Some(state) = self.states.get_mut(key) {
            state.counts.clear();
            state.level = None;
        }
        if idle {
            self.rest(key);
        }
        true
    }

    pub fn len(&self) -> usize {
        self.states.len()
    }

    /// Forgets one idle key.
    fn evict(&mut self) -> Option<()> {
        let longest = |which: usize| {
            let lists = self.idle.iter().map(|idle| &idle.lists[which]);
            lists.max_by_key(|list| list.len).filter(|list| list.len > 0).map(|list| list.oldest)
        };
        let index = longest(QUIET).or_else(|| longest(LOUD))?;
        let key = self.states.at(index)?.0;
        self.wake(key);
        let state = self.states.remove(key)?;
        self.places.remove(&state.id);
        self.evicted += 1;
        Some(())
    }

    /// Puts a key at the new end of its idle list.
    fn rest(&mut self, key: Key) {
        let Some(state) = self.states.get_mut(key) else { return };
        let place = match self.idle.iter().position(|idle| idle.profile == state.profile) {
            Some(place) => place,
            None => {
                let list = || List { newest: NOBODY, oldest: NOBODY, len: 0 };
                self.idle.push(Idle { profile: state.profile, lists: [list(), list()] });
                self.idle.len() - 1
            }
        };
        let list = &mut self.idle[place].lists[which(state.level)];
        (state.newer, state.older) = (NOBODY, list.newest);
        let before = core::mem::replace(&mut list.newest, key.index);
        list.len += 1;
        match self.states.at_mut(before) {
            Some((_, before)) => before.newer = key.index,
            None => list.oldest = key.index,
        }
    }

    /// Takes a key out of its idle list.
    fn wake(&mut self, key: Key) {
        let Some(state) = self.states.get(key) else { return };
        let (newer, older) = (state.newer, state.older);
        let Some(idle) = self.idle.iter_mut().find(|idle| idle.profile == state.profile) else { return };
        let list = &mut idle.lists[which(state.level)];
        list.len -= 1;
        match self.states.at_mut(newer) {
            Some((_, newer)) => newer.older = older,
            None => list.newest = older,
        }
        match self.states.at_mut(older) {
            Some((_, older)) => older.newer = newer,
            None => list.oldest = newer,
        }
    }
}

fn which(level: Option<Level>) -> usize {
    if level.is_some() { LOUD } else { QUIET }
}

const QUIET: usize = 0;
const LOUD: usize = 1;
/// No place of a slab.
const NOBODY: u32 = u32::MAX;

/// Passes a hash through.
#[derive(Debug, Default)]
pub struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
