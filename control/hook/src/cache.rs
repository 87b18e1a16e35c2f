//! Answers that still hold. Bounded: when it is full, the answer that would be forgotten first is.

use ledger::HookAnswer;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::time::Instant;

/// Answers by question.
#[derive(Debug)]
pub(crate) struct Cache {
    answers: HashMap<Arc<[u8]>, (HookAnswer, Place)>,
    by_end: BTreeMap<Place, Arc<[u8]>>,
    serial: u64,
    max: usize,
}

/// When it ends; the number keeps those of one moment apart.
type Place = (Instant, u64);

/// Longer questions are asked each time: a stranger's headers shall not fill the memory.
const KEY_MAX: usize = 4 << 10;

impl Cache {
    pub(crate) fn new(max: usize) -> Cache {
        Cache { answers: HashMap::new(), by_end: BTreeMap::new(), serial: 0, max }
    }

    /// The answer to this question, if it holds now.
    pub(crate) fn get(&mut self, key: &[u8], now: Instant) -> Option<HookAnswer> {
        self.forget(now);
        self.answers.get(key).map(|(answer, _)| answer.clone())
    }

    /// Keeps an answer until `end`.
    pub(crate) fn put(&mut self, key: Arc<[u8]>, answer: HookAnswer, end: Instant) {
        if key.len() > KEY_MAX || self.max == 0 {
            return;
        }
        if let Some((_, place)) = self.answers.remove(&key) {
            self.by_end.remove(&place);
        }
        if self.answers.len() >= self.max
            && let Some((_, first)) = self.by_end.pop_first()
        {
            self.answers.remove(&first);
        }
        self.serial += 1;
        self.by_end.insert((end, self.serial), Arc::clone(&key));
        self.answers.insert(key, (answer, (end, self.serial)));
    }

    fn forget(&mut self, now: Instant) {
        while let Some(entry) = self.by_end.first_entry()
            && entry.key().0 <= now
        {
            self.answers.remove(&entry.remove());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    #[test]
    fn answers_hold_for_their_time_and_the_memory_is_bounded() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let key = |n: usize| Arc::<[u8]>::from(n.to_string().as_bytes());
        let mut cache = Cache::new(3);
        for n in 0..5 {
            cache.put(key(n), HookAnswer::Continue, at(10 + n as u64));
        }
        assert_eq!((cache.answers.len(), cache.by_end.len()), (3, 3));
        assert_eq!(cache.get(&key(1), at(0)), None, "the first to end went first");
        assert_eq!(cache.get(&key(2), at(11)), Some(HookAnswer::Continue));
        assert_eq!(cache.get(&key(2), at(12)), None);
        cache.put(key(4), HookAnswer::Continue, at(99));
        assert_eq!((cache.get(&key(3), at(13)), cache.get(&key(4), at(98)).is_some()), (None, true));
        cache.put(Arc::from(vec![b'x'; KEY_MAX + 1]), HookAnswer::Continue, at(99));
        assert_eq!((cache.answers.len(), cache.by_end.len()), (1, 1));
    }
}
