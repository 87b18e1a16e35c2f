//! What strangers may cost: a share of the thread's time, a look at a datagram before any parser sees it, and a number
//! of connections and messages on them.

use base::{Duration, Instant};
use core::net::{IpAddr, Ipv6Addr};
use std::collections::BTreeMap;

/// Strangers find no room in a mailbox that is filled so far.
pub const MAILBOX_FILL: f64 = 0.1;

/// The time that a signalling thread has for strangers: a fifth of it, whatever they send. What they send beyond that
/// is dropped by the kernel in their own queue.
#[derive(Debug)]
pub struct Allowance {
    /// Below zero after a batch that took longer than was left.
    left_ns: i64,
    at: Instant,
}

/// One part of the time of so many.
const SHARE: i64 = 5;
/// What may be saved up.
const SAVED_NS: i64 = 4_000_000;

impl Allowance {
    /// A full one.
    pub fn new(now: Instant) -> Allowance {
        Allowance { left_ns: SAVED_NS, at: now }
    }

    /// Time has passed.
    pub fn refill(&mut self, now: Instant) {
        let earned = i64::try_from(now.nanos_since(self.at)).unwrap_or(i64::MAX) / SHARE;
        self.left_ns = self.left_ns.saturating_add(earned).min(SAVED_NS);
        self.at = now;
    }

    /// Whether another batch may be taken.
    pub fn is_left(&self) -> bool {
        self.left_ns > 0
    }

    /// A batch has taken this long.
    pub fn spend(&mut self, took_ns: u64) {
        self.left_ns = self.left_ns.saturating_sub(i64::try_from(took_ns).unwrap_or(i64::MAX));
    }

    /// How long it takes until something is left again.
    pub fn wait(&self) -> Duration {
        Duration::from_nanos(u64::try_from(1 - self.left_ns).unwrap_or(0).saturating_mul(SHARE as u64))
    }
}

/// Connections that strangers have opened.
#[derive(Debug, Default)]
pub struct Crowd {
    all: usize,
    /// By address, IPv6 by its /64: whoever has one of these has all of them.
    by_source: BTreeMap<IpAddr, usize>,
}

/// Connections of all strangers together: a quarter of all that there may be.
const CROWD_MAX: usize = 1_024;
/// Connections of one stranger; many phones may be behind one NAT.
const SOURCE_MAX: usize = 64;

impl Crowd {
    /// One more; false if there are too many, then nothing has changed.
    pub fn enter(&mut self, source: IpAddr) -> bool {
        let of_source = self.by_source.get(&place(source)).copied().unwrap_or_default();
        if self.all >= CROWD_MAX || of_source >= SOURCE_MAX {
            return false;
        }
        self.all += 1;
        self.by_source.insert(place(source), of_source + 1);
        true
    }

    /// One of those that have entered has closed.
    pub fn leave(&mut self, source: IpAddr) {
        self.all = self.all.saturating_sub(1);
        if let Some(of_source) = self.by_source.get_mut(&place(source)) {
            *of_source -= 1;
            if *of_source == 0 {
                self.by_source.remove(&place(source));
            }
        }
    }
}

fn place(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

/// How fast messages are taken: what comes faster waits with its sender.
#[derive(Debug)]
pub struct Pace {
    every: Duration,
    burst: Duration,
    /// When all that has been taken would have been due.
    due: Instant,
}

impl Pace {
    /// So many a second, and so many at once.
    pub fn new(a_second: u32, at_once: u32) -> Pace {
        let every = Duration::from_secs(1) / a_second;
        Pace { every, burst: every * at_once, due: Instant(0) }
    }

    /// Takes one; it may be worked on after this time.
    pub fn take(&mut self, now: Instant) -> Duration {
        self.due = self.due.max(now) + self.every;
        self.due.since(now).saturating_sub(self.burst)
    }
}

/// Whether a datagram begins like SIP: a letter, and the protocol's name in the first line. Cheaper than the parser,
/// and all that most junk is worth.
pub fn may_be_sip(bytes: &[u8]) -> bool {
    const LINE_MAX: usize = 2_048;
    if !bytes.first().is_some_and(u8::is_ascii_alphabetic) {
        return false;
    }
    let head = &bytes[..bytes.len().min(LINE_MAX)];
    let line = memchr::memchr(b'\n', head).map_or(head, |end| &head[..end]);
    line.windows(8).rev().any(|word| word.eq_ignore_ascii_case(b"SIP/2.0 "))
        || line.trim_ascii_end().last_chunk::<8>().is_some_and(|end| end.eq_ignore_ascii_case(b" SIP/2.0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_get_a_fifth_of_the_time_and_no_more() {
        let mut now = Instant(1_000_000_000);
        let mut allowance = Allowance::new(now);
        let start = now;
        let mut spent = 0u64;
        while now.nanos_since(start) < 1_000_000_000 {
            allowance.refill(now);
            if allowance.is_left() {
                allowance.spend(300_000);
                spent += 300_000;
                now += Duration::from_nanos(300_000);
            } else {
                now += allowance.wait();
            }
        }
        assert!((195_000_000..=205_000_000).contains(&spent), "{spent}");
        // Silence earns a few batches, not a second's worth.
        now += Duration::from_secs(60);
        allowance.refill(now);
        allowance.spend(SAVED_NS as u64);
        assert!(!allowance.is_left());
        assert!(allowance.wait() > Duration::ZERO);
    }

    #[test]
    fn connections_are_counted_by_source_and_in_all() {
        let mut crowd = Crowd::default();
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        assert!((0..SOURCE_MAX).all(|_| crowd.enter(one)));
        assert!(!crowd.enter(one));
        crowd.leave(one);
        assert!(crowd.enter(one) && !crowd.enter(one));
        // A host that takes another address of its own network is the same host.
        let six = |n: u16| Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, n).into();
        assert_eq!((0..1_000).filter(|n| crowd.enter(six(*n))).count(), SOURCE_MAX);
        let many = (0..5_000u32).filter(|n| crowd.enter(core::net::Ipv4Addr::from_bits(*n).into())).count();
        assert_eq!(many, CROWD_MAX - 2 * SOURCE_MAX);
        for n in 0..5_000u32 {
            crowd.by_source.contains_key(&core::net::Ipv4Addr::from_bits(n).into()).then(|| {
                crowd.leave(core::net::Ipv4Addr::from_bits(n).into());
            });
        }
        assert_eq!(
            (crowd.all, crowd.by_source.len()),
            (2 * SOURCE_MAX, 2),
            "those that left have left nothing"
        );
    }

    #[test]
    fn messages_come_at_once_up_to_a_burst_and_then_at_the_pace() {
        let mut pace = Pace::new(50, 100);
        let now = Instant(5_000_000_000);
        assert!((0..100).all(|_| pace.take(now).is_zero()));
        assert_eq!(pace.take(now), Duration::from_millis(20));
        assert_eq!(pace.take(now), Duration::from_millis(40));
        assert!(pace.take(now + Duration::from_secs(1)).is_zero());
    }

    #[test]
    fn what_begins_like_sip_is_let_through() {
        for sip in [
            "INVITE sip:x SIP/2.0\r\n",
            "OPTIONS sip:x sip/2.0\n",
            "SIP/2.0 200 OK\r\n",
            "SIP/2.0 200\r\n",
            "x sip:y SIP/2.0  \r\nVia",
        ] {
            assert!(may_be_sip(sip.as_bytes()), "{sip}");
        }
        let long = "a".repeat(70_000);
        for junk in
            ["", "\r\n\r\n", "\0\0\0\0", "\u{80}\u{1}", "GET / HTTP/1.1\r\n", "x", "\nSIP/2.0 200 OK", &long]
        {
            assert!(!may_be_sip(junk.as_bytes()), "{}", &junk[..junk.len().min(20)]);
        }
    }
}
