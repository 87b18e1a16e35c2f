//! Keyed hashing (SipHash-1-3) of values that strangers choose: Call-IDs, branches, tags. Without the key
//! nobody can make values collide, and the same key on every shard names the same owner.

use core::hash::{BuildHasher, Hasher};
use siphasher::sip::SipHasher13;

/// The key; one for a process (or an installation, where values must keep their meaning).
#[derive(Clone, Copy, Debug, Default)]
pub struct HashKey {
    key: [u64; 2],
}

impl HashKey {
    /// From 128 random bits.
    pub fn new(key: [u64; 2]) -> Self {
        HashKey { key }
    }

    /// The hash of some bytes.
    pub fn of(&self, bytes: &[u8]) -> u64 {
        let mut hasher = self.build_hasher();
        hasher.write(bytes);
        hasher.finish()
    }

    /// Which of `shards` owns this value: uniform, and the same on every shard.
    pub fn owner(&self, bytes: &[u8], shards: usize) -> usize {
        ((u128::from(self.of(bytes)) * shards as u128) >> 64) as usize
    }
}

/// So that a `HashMap` can be built with it.
impl BuildHasher for HashKey {
    type Hasher = SipHasher13;
    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.key[0], self.key[1])
    }
}

/// A map for look-ups only; where order matters, use a slab or a `BTreeMap`.
pub type KeyedMap<K, V> = std::collections::HashMap<K, V, HashKey>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_spread_and_stable() {
        let key = HashKey::new([1, 2]);
        let mut seen = [0; 4];
        for n in 0u32..4000 {
            seen[key.owner(&n.to_le_bytes(), 4)] += 1;
        }
        assert!(seen.iter().all(|n| (900..1100).contains(n)), "{seen:?}");
        assert_eq!(key.owner(b"abc", 4), HashKey::new([1, 2]).owner(b"abc", 4));
        assert_ne!(key.of(b"abc"), HashKey::new([1, 3]).of(b"abc"));
    }
}
