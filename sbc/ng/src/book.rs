//! What all signalling shards know of all NG calls: their Call-IDs for `list`, totals for `statistics`. Its lock is short
//! and taken twice a call. It owns no call.

use crate::counts::NgStats;
use base::Duration;
use ledger::CallId;
use ledger::stats::Labelled;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The book.
#[derive(Debug, Default)]
pub struct Book {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    calls: BTreeMap<CallId, Arc<[u8]>>,
    totals: Totals,
    /// Of each shard.
    stats: Vec<Arc<NgStats>>,
}

/// Sums over all NG calls since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Calls that exist now.
    pub now: u64,
    /// Calls that there have been.
    pub calls: u64,
    /// Offers of calls that were refused for want of room.
    pub rejected: u64,
    /// By how they ended.
    pub ended: [u64; Ended::COUNT],
    /// Of all calls that have ended.
    pub duration: Duration,
    /// Packets that calls which have ended relayed.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets that were dropped.
    pub errors: u64,
    /// Answered calls of which no side sent anything.
    pub silent: u64,
    /// Answered calls of which only one side sent.
    pub one_way: u64,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By `delete`.
    Deleted,
    /// Nobody sent media.
    Silence,
    /// Nobody answered.
    Unanswered,
    /// By an operator.
    Hangup,
    /// Its media shard was restarted, or lost it.
    MediaLost,
    /// Its first offer failed.
    Refused,
}

impl Ended {
    /// How many there are.
    pub const COUNT: usize = 6;

    /// Stable word.
    pub fn name(self) -> &'static str {
        match self {
            Ended::Deleted => "deleted",
            Ended::Silence => "silence",
            Ended::Unanswered => "unanswered",
            Ended::Hangup => "hangup",
            Ended::MediaLost => "media_restarted",
            Ended::Refused => "refused",
        }
    }
}

/// What a call that has ended leaves to the totals.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left {
    pub ended: Ended,
    pub duration: Duration,
    pub packets: u64,
    pub bytes: u64,
    pub errors: u64,
    /// Sides that sent something.
    pub heard: usize,
    pub is_answered: bool,
}

impl Book {
    /// Call-IDs, the oldest first, at most `limit`.
    pub fn list(&self, limit: usize) -> Vec<Arc<[u8]>> {
        self.lock().calls.values().take(limit).cloned().collect()
    }

    /// The totals.
    pub fn totals(&self) -> Totals {
        self.lock().totals
    }

    /// Requests of all shards by command and result.
    pub fn requests(&self) -> Vec<(Vec<String>, i64)> {
        self.sums(|stats| &stats.requests)
    }

    /// Requests of all shards by client, command, and `ok` or `error`.
    pub fn clients(&self) -> Vec<(Vec<String>, i64)> {
        self.sums(|stats| &stats.clients)
    }

    fn sums(&self, family: impl Fn(&NgStats) -> &Labelled) -> Vec<(Vec<String>, i64)> {
        let stats = self.lock().stats.clone();
        let mut sums: BTreeMap<Vec<String>, i64> = BTreeMap::new();
        for (labels, count) in stats.iter().flat_map(|stats| family(stats).snapshot()) {
            *sums.entry(labels).or_default() += count;
        }
        sums.into_iter().collect()
    }

    /// The counters of a shard that begins, or begins again.
    pub(crate) fn join(&self, stats: &Arc<NgStats>) {
        let known = &mut self.lock().stats;
        if !known.iter().any(|one| Arc::ptr_eq(one, stats)) {
            known.push(Arc::clone(stats));
        }
    }

    /// A signalling shard has been restarted: its calls are gone.
    pub fn forget_shard(&self, node: u8, shard: usize) {
        let mut inner = self.lock();
        let before = inner.calls.len();
        inner.calls.retain(|id, _| (id.node(), id.shard()) != (node, shard));
        let lost = (before - inner.calls.len()) as u64;
        inner.totals.now -= lost;
        inner.totals.ended[Ended::MediaLost as usize] += lost;
    }

    pub(crate) fn begin(&self, id: CallId, name: Arc<[u8]>) {
        let mut inner = self.lock();
        inner.calls.insert(id, name);
        inner.totals.now = inner.calls.len() as u64;
        inner.totals.calls += 1;
    }

    pub(crate) fn reject(&self) {
        self.lock().totals.rejected += 1;
    }

    pub(crate) fn end(&self, id: CallId, left: &Left) {
        let mut inner = self.lock();
        let name = inner.calls.remove(&id);
        let totals = &mut inner.totals;
        totals.now -= u64::from(name.is_some());
        totals.ended[left.ended as usize] += 1;
        totals.duration += left.duration;
        totals.packets += left.packets;
        totals.bytes += left.bytes;
        totals.errors += left.errors;
        totals.silent += u64::from(left.is_answered && left.heard == 0);
        totals.one_way += u64::from(left.is_answered && left.heard == 1);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Totals {
    /// How many calls ended this way.
    pub fn ended(&self, how: Ended) -> u64 {
        self.ended[how as usize]
    }

    /// The mean duration of calls that have ended.
    pub fn mean_duration(&self) -> Duration {
        let ended: u64 = self.ended.iter().sum();
        self.duration.checked_div(u32::try_from(ended).unwrap_or(u32::MAX)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Wall;
    use ledger::CallIds;

    fn left(ended: Ended, heard: usize) -> Left {
        Left {
            ended,
            duration: Duration::from_secs(10),
            packets: 100,
            bytes: 1_000,
            errors: 1,
            heard,
            is_answered: true,
        }
    }

    #[test]
    fn calls_are_listed_in_their_order_until_they_end_and_leave_their_sums() {
        let book = Book::default();
        let mut ids = CallIds::ng(Wall(1_795_248_116_500_000), 0, 1);
        let [one, two, three] = core::array::from_fn(|_| ids.mint());
        for (id, name) in [(one, "one"), (two, "two"), (three, "three")] {
            book.begin(id, name.as_bytes().into());
        }
        assert_eq!(book.list(2).iter().map(|name| &name[..]).collect::<Vec<_>>(), [&b"one"[..], b"two"]);
        book.end(one, &left(Ended::Deleted, 2));
        book.end(two, &left(Ended::Silence, 1));
        let totals = book.totals();
        assert_eq!((totals.now, totals.calls, totals.packets, totals.one_way), (1, 3, 200, 1));
        assert_eq!((totals.ended(Ended::Silence), totals.mean_duration()), (1, Duration::from_secs(10)));
        book.forget_shard(0, 0);
        assert_eq!(book.totals().now, 1, "of another shard");
        book.forget_shard(0, 1);
        assert_eq!((book.totals().now, book.list(9).len()), (0, 0));
    }
}
