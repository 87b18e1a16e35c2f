//! Bounded rings between threads. A full ring is an answer, not a wait: the sender gets its message back.

use crossbeam_queue::ArrayQueue;
use std::sync::Arc;

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

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
    /// Set by the receiver before it sleeps, cleared by the first sender after that.
    asleep: AtomicBool,
    refused: AtomicU64,
}

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
    /// A ring of `capacity` messages.
    pub fn new(capacity: usize, wake: impl Wake + 'static) -> Self {
        let shared = Shared {
            ring: ArrayQueue::new(capacity),
            wake: Box::new(wake),
            asleep: AtomicBool::new(true),
            refused: AtomicU64::new(0),
        };
        Mailbox { shared: Arc::new(shared) }
    }

    /// Puts a message in and wakes the receiver if it sleeps.
    ///
    /// # Errors
    /// Gives the message back when the ring is full; [`Mailbox::refused`] counts it.
    pub fn send(&self, message: T) -> Result<(), T> {
        let sent = self.shared.ring.push(message);
        if sent.is_err() {
            self.shared.refused.fetch_add(1, Ordering::Relaxed);
        }
        // A SeqCst pair with `sleep`: either the receiver sees the message, or we see that it sleeps.
        core::sync::atomic::fence(Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::Relaxed) && self.shared.asleep.swap(false, Ordering::AcqRel) {
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
        self.shared.asleep.store(true, Ordering::Relaxed);
        core::sync::atomic::fence(Ordering::SeqCst);
        self.shared.ring.is_empty()
    }

    /// Called by the receiver when it is up again: senders need not wake it.
    pub fn awake(&self) {
        self.shared.asleep.store(false, Ordering::Relaxed);
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
}
