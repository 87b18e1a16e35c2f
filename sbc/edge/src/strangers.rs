//! What strangers may cost: a share of the thread's time, and a look at a datagram before any parser sees it.

use base::{Duration, Instant};

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
