//! Requests that come twice, because a datagram was lost or its answer took long: each is done once, and its answer given
//! to all that ask. Remembers answers at least 30 seconds, within bounds. Reads no request.

use crate::frame::Origin;
use base::hash::{HashKey, KeyedMap};
use base::{Duration, Instant};

/// How long an answer is kept at least, and at most twice as long.
pub const KEPT: Duration = Duration::from_secs(30);

/// Answers of half a minute at most: beyond, the older half goes early. Clients give up after about five seconds.
pub const ENTRIES_MAX: usize = 65_536;

/// Bytes of such answers at most.
pub const BYTES_MAX: usize = 32 << 20;

/// Who may wait for one answer, beside the first who asked.
pub const WAITERS_MAX: usize = 16;

/// Names a request until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Cookie and body as a keyed hash; `None` without a cookie: nothing is remembered.
    digest: Option<u128>,
    origin: Origin,
}

/// What to do with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It is new: do it, and say [`Replay::answered`].
    New(Key),
    /// It is being done; whoever asks gets the answer when it comes.
    Waits,
    /// It was answered: with this.
    Again(Vec<u8>),
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that were answered again.
    pub again: u64,
    /// Requests that waited for an answer that was on its way.
    pub waited: u64,
    /// Requests whose answer went nowhere because too many wait for it.
    pub dropped: u64,
    /// Times when answers went early for want of room.
    pub early: u64,
}

/// The memory of one shard.
#[derive(Debug)]
pub struct Replay {
    keys: [HashKey; 2],
    young: Generation,
    old: Generation,
    /// When the young will be the old.
    next: Instant,
    /// Of all since the beginning.
    pub counts: Counts,
}

#[derive(Debug)]
struct Generation {
    entries: KeyedMap<u128, Entry>,
    bytes: usize,
}

#[derive(Debug)]
enum Entry {
    /// Who waits for the answer, beside the first.
    Open(Vec<Origin>),
    Answered(Vec<u8>),
}

impl Replay {
    /// Empty. The key must be random: who can foresee the hash can be taken for another.
    pub fn new(now: Instant, key: HashKey) -> Replay {
        let keys = [HashKey::new([key.of(b"a"), key.of(b"b")]), HashKey::new([key.of(b"c"), key.of(b"d")])];
        let empty = || Generation { entries: KeyedMap::with_hasher(keys[0]), bytes: 0 };
        Replay { keys, young: empty(), old: empty(), next: now + KEPT, counts: Counts::default() }
    }

    /// What to do with a request that begins with `cookie`. The same cookie with another body is another request.
    pub fn ask(&mut self, now: Instant, cookie: &[u8], body: &[u8], origin: Origin) -> Asked {
        if now >= self.next {
            self.turn();
            // Nobody has asked for long: the other half is old, too.
            if now >= self.next + KEPT {
                self.turn();
            }
            self.next = now + KEPT;
        }
        if cookie.is_empty() {
            return Asked::New(Key { digest: None, origin });
        }
        let digest = self.digest(cookie, body);
        let known = [&mut self.young, &mut self.old].into_iter().find_map(|it| it.entries.get_mut(&digest));
        match known {
            Some(Entry::Answered(reply)) => {
                self.counts.again += 1;
                Asked::Again(reply.clone())
            }
            Some(Entry::Open(waiters)) => {
                self.counts.waited += 1;
                if !waiters.contains(&origin) {
                    let fits = waiters.len() < WAITERS_MAX;
                    self.counts.dropped += u64::from(!fits);
                    waiters.extend(fits.then_some(origin));
                }
                Asked::Waits
            }
            None => {
                self.make_room(0);
                self.young.entries.insert(digest, Entry::Open(Vec::new()));
                Asked::New(Key { digest: Some(digest), origin })
            }
        }
    }

    /// Keeps an answer, and says who gets it: everybody who has asked, once.
    pub fn answered(&mut self, key: Key, reply: Vec<u8>) -> Vec<Origin> {
        let mut origins = vec![key.origin];
        let Some(digest) = key.digest else { return origins };
        let open = [&mut self.young, &mut self.old].into_iter().find_map(|it| it.entries.remove(&digest));
        if let Some(Entry::Open(waiters)) = open {
            for waiter in waiters {
                if !origins.contains(&waiter) {
                    origins.push(waiter);
                }
            }
        }
        self.make_room(reply.len());
        self.young.bytes += reply.len();
        self.young.entries.insert(digest, Entry::Answered(reply));
        origins
    }

    /// How many requests are remembered, and the bytes of their answers.
    pub fn len(&self) -> (usize, usize) {
        (self.young.entries.len() + self.old.entries.len(), self.young.bytes + self.old.bytes)
    }

    /// The older half goes, if the younger is full.
    fn make_room(&mut self, bytes: usize) {
        if self.young.entries.len() >= ENTRIES_MAX || self.young.bytes + bytes > BYTES_MAX {
            self.counts.early += 1;
            self.turn();
        }
    }

    /// The young become the old, and the old are gone, but for what is not answered yet.
    fn turn(&mut self) {
        core::mem::swap(&mut self.young, &mut self.old);
        let room = ENTRIES_MAX / 2;
        let mut open = 0;
        self.young.entries.retain(|_, entry| {
            open += usize::from(matches!(entry, Entry::Open(_)));
            matches!(entry, Entry::Open(_)) && open <= room
        });
        self.young.bytes = 0;
    }

    fn digest(&self, cookie: &[u8], body: &[u8]) -> u128 {
        use core::hash::{BuildHasher, Hasher};
        let [high, low] = self.keys.map(|key| {
            let mut hasher = key.build_hasher();
            hasher.write_usize(cookie.len());
            hasher.write(cookie);
            hasher.write(body);
            u128::from(hasher.finish())
        });
        high << 64 | low
    }
}
