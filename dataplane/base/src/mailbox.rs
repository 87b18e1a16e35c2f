//! Bounded rings between threads. A full ring is an answer, not a wait: the sender gets its message back.

use crossbeam_queue::ArrayQueue;
use std::sync::Arc;

use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// How a sleeping receiver is woken; shells implement it with an eventfd or a task waker.
pub trait Wake: Send + Sync {
    /// Wakes the receiver; called only when it may be asleep.
    fn wake(&self);
}

/// The sending and receiving end of one bounded ring; clones are the same ring. Any number of senders, one receiver.
pub struct Mailbox<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    ring: ArrayQueue<T>,
    wake: Box<dyn Wake>,
    /// Whether a message must be looked at at once; the others wake nobody who only dozes.
    urgent: fn(&T) -> bool,
    /// Set by the receiver before it sleeps, cleared by the first sender that wakes it.
    asleep: AtomicU8,
    refused: AtomicU64,
}

const AWAKE: u8 = 0;
const DOZING: u8 = 1;
const ASLEEP: u8 = 2;

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Mailbox { shared: Arc::clone(&self.shared) }
    }
}

impl<T> core::fmt::Debug for Mailbox<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Mailbox({}/{})", self.len(), self.shared.ring.capacity())
    }
}

impl<T> Mailbox<T> {
    /// A ring of `capacity` messages, all of them urgent.
    pub fn new(capacity: usize, wake: impl Wake + 'static) -> Self {
        Mailbox::with_urgency(capacity, wake, |_| true)
    }

    /// A ring of `capacity` messages, some of which can wait until the receiver looks by itself, if it does so soon
    /// ([`Mailbox::doze`]).
    pub fn with_urgency(capacity: usize, wake: impl Wake + 'static, urgent: fn(&T) -> bool) -> Self {
        let shared = Shared {
            ring: ArrayQueue::new(capacity),
            wake: Box::new(wake),
            urgent,
            asleep: AtomicU8::new(ASLEEP),
            refused: AtomicU64::new(0),
        };
        Mailbox { shared: Arc::new(shared) }
    }

    /// Puts a message in and wakes the receiver if it sleeps, or if it dozes and the message is urgent.
    ///
    /// # Errors
    /// Gives the message back when the ring is full; [`Mailbox::refused`] counts it.
    pub fn send(&self, message: T) -> Result<(), T> {
        let urgent = (self.shared.urgent)(&message);
        let sent = self.shared.ring.push(message);
        if sent.is_err() {
            self.shared.refused.fetch_add(1, Ordering::Relaxed);
        }
        // A SeqCst pair with `sleep`: either the receiver sees the message, or we see that it sleeps.
        core::sync::atomic::fence(Ordering::SeqCst);
        let hears = if urgent { DOZING } else { ASLEEP };
        if self.shared.asleep.load(Ordering::Relaxed) >= hears
            && self.shared.asleep.swap(AWAKE, Ordering::AcqRel) != AWAKE
        {
            self.shared.wake.wake();
        }
        sent
    }

    /// Takes the oldest message.
    pub fn receive(&self) -> Option<T> {
        self.shared.ring.pop()
    }

    /// Called by the receiver before it sleeps: from now on senders wake it. `false` means that something has come
    /// meanwhile and it must not sleep.
    pub fn sleep(&self) -> bool {
        self.lie_down(ASLEEP)
    }

    /// As [`Mailbox::sleep`], by a receiver that looks again soon in any case: only urgent messages wake it.
    pub fn doze(&self) -> bool {
        self.lie_down(DOZING)
    }

    fn lie_down(&self, how: u8) -> bool {
        self.shared.asleep.store(how, Ordering::Relaxed);
        core::sync::atomic::fence(Ordering::SeqCst);
        self.shared.ring.is_empty()
    }

    /// Called by the receiver when it is up again: senders need not wake it.
    pub fn awake(&self) {
        self.shared.asleep.store(AWAKE, Ordering::Relaxed);
    }

    /// How many messages wait.
    pub fn len(&self) -> usize {
        self.shared.ring.len()
    }

    /// Whether no message waits.
    pub fn is_empty(&self) -> bool {
        self.shared.ring.is_empty()
    }

    /// How full it is, 0 to 1: a measure of the receiver's overload.
    pub fn fill(&self) -> f64 {
        self.len() as f64 / self.shared.ring.capacity() as f64
    }

    /// How many messages were refused because the ring was full.
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Count(Arc<AtomicU64>);
    impl Wake for Count {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_sleeper_is_woken_once_and_a_full_ring_gives_back() {
        let wakes = Arc::new(AtomicU64::new(0));
        let mailbox = Mailbox::new(2, Count(Arc::clone(&wakes)));
        assert!(mailbox.sleep());
        assert_eq!((mailbox.send(1), mailbox.send(2), mailbox.send(3)), (Ok(()), Ok(()), Err(3)));
        assert_eq!((wakes.load(Ordering::Relaxed), mailbox.refused()), (1, 1));
        assert!(!mailbox.sleep());
        mailbox.awake();
        assert_eq!((mailbox.receive(), mailbox.receive(), mailbox.receive()), (Some(1), Some(2), None));
    }

    #[test]
    fn what_can_wait_wakes_a_sleeper_but_nobody_who_dozes() {
        let wakes = Arc::new(AtomicU64::new(0));
        let mailbox = Mailbox::with_urgency(8, Count(Arc::clone(&wakes)), |number| *number > 9);
        let sent = |number| {
            mailbox.send(number).unwrap();
            wakes.load(Ordering::Relaxed)
        };
        assert!(mailbox.doze());
        assert_eq!([sent(1), sent(2), sent(10), sent(11)], [0, 0, 1, 1]);
        assert!(!mailbox.doze(), "what could wait is seen before the next nap");
        while mailbox.receive().is_some() {}
        assert!(mailbox.sleep());
        assert_eq!([sent(1), sent(10)], [2, 2]);
    }
}
