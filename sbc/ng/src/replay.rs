//! Requests that come twice, because a datagram was lost or its answer took long: each is done once, and its answer given
//! to all that ask. Remembers answers at least 30 seconds, within bounds. Reads no request.

use crate::frame::{Carrier, Origin};
use base::hash::{HashKey, KeyedMap};
use base::{Duration, Instant};
use core::net::IpAddr;

/// How long an answer is kept at least, and at most twice as long.
pub const KEPT: Duration = Duration::from_secs(30);

/// Answers of half a minute at most: beyond, the older half goes early. Clients give up after about five seconds.
pub const ENTRIES_MAX: usize = 65_536;

/// Bytes of such answers at most.
pub const BYTES_MAX: usize = 32 << 20;

/// Requests at most that are being done: beyond, one that comes twice is done twice.
pub const OPEN_MAX: usize = 16_384;

/// Who may wait for one answer, beside the first who asked.
pub const WAITERS_MAX: usize = 16;

/// Names a request until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Cookie and body as a keyed hash; `None` without a cookie: nothing is remembered.
    digest: Option<u128>,
    origin: Origin,
}

impl Key {
    /// Who asked first.
    pub fn client(self) -> IpAddr {
        self.origin.remote.ip()
    }
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
    /// Who waits for what is being done, beside the first who asked.
    open: KeyedMap<u128, Vec<Origin>>,
    young: Answers,
    old: Answers,
    /// When the young will be the old.
    next: Instant,
    /// Of all since the beginning.
    pub counts: Counts,
}

#[derive(Debug)]
struct Answers {
    replies: KeyedMap<u128, Vec<u8>>,
    bytes: usize,
}

impl Replay {
    /// Empty. The key must be random: who can foresee the hash can be taken for another.
    pub fn new(now: Instant, key: HashKey) -> Replay {
        let keys = [HashKey::new([key.of(b"a"), key.of(b"b")]), HashKey::new([key.of(b"c"), key.of(b"d")])];
        let empty = || Answers { replies: KeyedMap::with_hasher(keys[0]), bytes: 0 };
        let open = KeyedMap::with_hasher(keys[1]);
        Replay { keys, open, young: empty(), old: empty(), next: now + KEPT, counts: Counts::default() }
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
        if let Some(reply) = self.young.replies.get(&digest).or_else(|| self.old.replies.get(&digest)) {
            self.counts.again += 1;
            return Asked::Again(reply.clone());
        }
        if let Some(waiters) = self.open.get_mut(&digest) {
            self.counts.waited += 1;
            // Connections count what they have asked: each time has its reply. Datagrams come twice on their own.
            if origin.carrier != Carrier::Udp || !waiters.contains(&origin) {
                let fits = waiters.len() < WAITERS_MAX;
                self.counts.dropped += u64::from(!fits);
                waiters.extend(fits.then_some(origin));
            }
            return Asked::Waits;
        }
        let fits = self.open.len() < OPEN_MAX;
        if fits {
            self.open.insert(digest, Vec::new());
        }
        Asked::New(Key { digest: fits.then_some(digest), origin })
    }

    /// Keeps an answer, and says who gets it: everybody who has asked, once; a connection as often as it has asked.
    pub fn answered(&mut self, key: Key, reply: Vec<u8>) -> Vec<Origin> {
        let mut origins = vec![key.origin];
        let Some(digest) = key.digest else { return origins };
        for waiter in self.open.remove(&digest).into_iter().flatten() {
            if waiter.carrier != Carrier::Udp || !origins.contains(&waiter) {
                origins.push(waiter);
            }
        }
        if self.young.replies.len() >= ENTRIES_MAX || self.young.bytes + reply.len() > BYTES_MAX {
            self.counts.early += 1;
            self.turn();
        }
        self.young.bytes += reply.len();
        self.young.replies.insert(digest, reply);
        origins
    }

    /// How many requests are remembered, and the bytes of their answers.
    pub fn len(&self) -> (usize, usize) {
        let answered = self.young.replies.len() + self.old.replies.len();
        (self.open.len() + answered, self.young.bytes + self.old.bytes)
    }

    /// The young become the old, and the old are gone.
    fn turn(&mut self) {
        core::mem::swap(&mut self.young, &mut self.old);
        self.young.replies.clear();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(n: u16) -> Origin {
        let remote = ([192, 0, 2, 1], n).into();
        Origin { carrier: Carrier::Udp, connection: 0, remote, local: None }
    }

    fn at(seconds: u64) -> Instant {
        Instant(0) + Duration::from_secs(seconds)
    }

    fn replay() -> Replay {
        Replay::new(at(0), HashKey::new([1, 2]))
    }

    /// Asks what must be new.
    fn new(replay: &mut Replay, seconds: u64, cookie: &str, body: &str) -> Key {
        match replay.ask(at(seconds), cookie.as_bytes(), body.as_bytes(), origin(1)) {
            Asked::New(key) => key,
            other => panic!("{cookie} {body}: {other:?}"),
        }
    }

    #[test]
    fn a_request_that_comes_again_is_answered_without_being_done() {
        let mut replay = replay();
        let key = new(&mut replay, 0, "1", "ping");
        assert_eq!(replay.answered(key, b"1 pong".to_vec()), [origin(1)]);
        for from in [1, 2] {
            assert_eq!(replay.ask(at(1), b"1", b"ping", origin(from)), Asked::Again(b"1 pong".to_vec()));
        }
        assert_eq!(replay.counts, Counts { again: 2, ..Counts::default() });
    }

    #[test]
    fn the_same_cookie_with_another_body_is_another_request() {
        let mut replay = replay();
        let key = new(&mut replay, 0, "1", "offer");
        replay.answered(key, b"a".to_vec());
        new(&mut replay, 0, "1", "delete");
        new(&mut replay, 0, "1o", "ffer");
        new(&mut replay, 0, "2", "offer");
    }

    #[test]
    fn who_asks_while_it_is_being_done_waits_for_the_one_answer() {
        let mut replay = replay();
        let key = new(&mut replay, 0, "1", "offer");
        for from in [1, 2, 2, 3] {
            assert_eq!(replay.ask(at(0), b"1", b"offer", origin(from)), Asked::Waits);
        }
        assert_eq!(replay.answered(key, b"a".to_vec()), [origin(1), origin(2), origin(3)]);
        assert_eq!(replay.counts.waited, 4);
    }

    #[test]
    fn a_connection_has_a_reply_for_each_time_it_asks() {
        let mut replay = replay();
        let on_tcp = Origin { carrier: Carrier::Tcp, ..origin(1) };
        let Asked::New(key) = replay.ask(at(0), b"1", b"offer", on_tcp) else { panic!() };
        for _ in 0..2 {
            assert_eq!(replay.ask(at(0), b"1", b"offer", on_tcp), Asked::Waits);
        }
        assert_eq!(replay.answered(key, b"a".to_vec()), [on_tcp; 3]);
    }

    #[test]
    fn those_who_wait_for_one_answer_are_bounded() {
        let mut replay = replay();
        let key = new(&mut replay, 0, "1", "offer");
        for from in 2..60_000 {
            assert_eq!(replay.ask(at(0), b"1", b"offer", origin(from)), Asked::Waits);
        }
        assert_eq!(replay.counts.dropped, 60_000 - 2 - WAITERS_MAX as u64);
        assert_eq!(replay.answered(key, Vec::new()).len(), 1 + WAITERS_MAX);
    }

    #[test]
    fn answers_are_kept_for_half_a_minute_and_gone_after_a_whole_one() {
        for start in 0..60 {
            let mut replay = replay();
            new(&mut replay, start, "0", "");
            let key = new(&mut replay, start, "1", "a");
            replay.answered(key, b"x".to_vec());
            for later in 0..30 {
                assert_eq!(
                    replay.ask(at(start + later), b"1", b"a", origin(1)),
                    Asked::Again(b"x".to_vec()),
                    "{start} + {later}"
                );
            }
            new(&mut replay, start + 60, "1", "a");
        }
    }

    #[test]
    fn what_is_not_answered_yet_is_not_forgotten() {
        let mut replay = replay();
        let key = new(&mut replay, 0, "1", "slow");
        for seconds in [29, 59, 100, 500] {
            assert_eq!(replay.ask(at(seconds), b"1", b"slow", origin(2)), Asked::Waits, "{seconds}");
        }
        assert_eq!(replay.answered(key, b"x".to_vec()), [origin(1), origin(2)]);
        assert_eq!(replay.ask(at(529), b"1", b"slow", origin(1)), Asked::Again(b"x".to_vec()));
    }

    #[test]
    fn without_a_cookie_nothing_is_remembered() {
        let mut replay = replay();
        let key = new(&mut replay, 0, "", "ping");
        assert_eq!(replay.answered(key, b"pong".to_vec()), [origin(1)]);
        new(&mut replay, 0, "", "ping");
        assert_eq!(replay.len(), (0, 0));
    }

    #[test]
    fn memory_is_bounded_by_answers_and_by_bytes() {
        let mut replay = replay();
        for n in 0..3 * ENTRIES_MAX {
            let key = new(&mut replay, 0, &n.to_string(), "");
            replay.answered(key, b"x".to_vec());
            assert!(replay.len().0 <= 2 * ENTRIES_MAX);
        }
        assert_eq!(replay.counts.early, 2);
        for n in 0..2 * OPEN_MAX {
            new(&mut replay, 0, &n.to_string(), "never answered");
        }
        assert!(replay.len().0 <= 2 * ENTRIES_MAX + OPEN_MAX);
        let key = new(&mut replay, 0, "one more", "");
        assert_eq!(replay.answered(key, b"x".to_vec()), [origin(1)], "who asks is answered all the same");
        let mut replay = super::tests::replay();
        let reply = vec![0; 1 << 20];
        for n in 0..100 {
            let key = new(&mut replay, 0, &n.to_string(), "large");
            replay.answered(key, reply.clone());
            assert!(replay.len().1 <= 2 * BYTES_MAX);
        }
    }
}
