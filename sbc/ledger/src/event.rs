//! What the engine tells the world: events for `GET /v1/events`, webhooks and logs. A bounded fan-out that never waits
//! for a listener: who is too slow loses events and can see how many.

use base::mailbox::Mailbox;
use base::{Wake, Wall};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Wall,
    /// What, in stable words: `fraud.critical`, `trunk.down`, `ban.added`, `limit.full`, `call.refused` …
    pub kind: &'static str,
    /// To whom and how, in the order in which it is told. Numbers only as the privacy setting allows.
    pub fields: Vec<(&'static str, String)>,
}

impl Event {
    /// Without fields.
    pub fn new(at: Wall, kind: &'static str) -> Event {
        Event { at, kind, fields: Vec::new() }
    }

    /// With one more field.
    #[must_use]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "numbers and names as they stand read better than borrowed"
    )]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Event {
        self.fields.push((name, value.to_string()));
        self
    }

    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str())
    }
}

/// An event with its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// Rises by one with every event, and over restarts: the `id` of a server-sent event.
    pub serial: u64,
    /// The event.
    pub event: Event,
}

/// Takes events from all threads and gives them to all subscribers.
#[derive(Debug)]
pub struct EventBus {
    inner: Mutex<Inner>,
    published: AtomicU64,
    dropped: AtomicU64,
    subscribers: AtomicUsize,
}

#[derive(Debug)]
struct Inner {
    next: u64,
    recent: VecDeque<Arc<Numbered>>,
    subscribers: Vec<(u64, Mailbox<Arc<Numbered>>)>,
    next_subscriber: u64,
}

/// One listener. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Subscription {
    id: u64,
    bus: Arc<EventBus>,
    queue: Mailbox<Arc<Numbered>>,
}

/// What a subscriber gets at once.
#[derive(Debug)]
pub struct Subscribed {
    /// From where further events come.
    pub subscription: Subscription,
    /// Events after the one that it saw last, oldest first; empty if it asked for none.
    pub backlog: Vec<Arc<Numbered>>,
    /// Events after that one that are no longer remembered.
    pub missed: u64,
}

/// There are [`SUBSCRIBERS_MAX`] already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManySubscribers;

impl EventBus {
    /// `started` begins the serial numbers, so that they rise over restarts: no engine makes a million events a second.
    pub fn new(started: Wall) -> Arc<EventBus> {
        let inner = Inner {
            next: started.0.max(1),
            recent: VecDeque::with_capacity(RECENT_MAX),
            subscribers: Vec::new(),
            next_subscriber: 1,
        };
        Arc::new(EventBus {
            inner: Mutex::new(inner),
            published: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            subscribers: AtomicUsize::new(0),
        })
    }

    /// Tells everybody. Never waits for a listener: a full queue loses this event and counts it.
    pub fn publish(&self, event: Event) {
        self.published.fetch_add(1, Ordering::Relaxed);
        let mut inner = self.inner();
        let numbered = Arc::new(Numbered { serial: inner.next, event });
        inner.next += 1;
        for (_, queue) in &inner.subscribers {
            if queue.send(Arc::clone(&numbered)).is_err() {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        let oldest = if inner.recent.len() == RECENT_MAX { inner.recent.pop_front() } else { None };
        inner.recent.push_back(numbered);
        drop(inner);
        // Its strings are freed without the lock.
        drop(oldest);
    }

    /// Listens from now on, with a queue of `capacity` events; `wake` is called when the queue is no longer empty (see
    /// [`Mailbox`]). `after` is the serial number that the listener saw last (`Last-Event-ID`).
    ///
    /// # Errors
    /// Too many listen.
    pub fn subscribe(
        self: &Arc<Self>,
        capacity: usize,
        wake: impl Wake + 'static,
        after: Option<u64>,
    ) -> Result<Subscribed, TooManySubscribers> {
        let queue = Mailbox::new(capacity.max(1), wake);
        let mut inner = self.inner();
        if inner.subscribers.len() >= SUBSCRIBERS_MAX {
            return Err(TooManySubscribers);
        }
        let id = inner.next_subscriber;
        inner.next_subscriber += 1;
        inner.subscribers.push((id, queue.clone()));
        self.subscribers.store(inner.subscribers.len(), Ordering::Relaxed);
        let (backlog, missed) = after.map_or_else(Default::default, |after| inner.after(after));
        drop(inner);
        Ok(Subscribed { subscription: Subscription { id, bus: Arc::clone(self), queue }, backlog, missed })
    }

    /// The latest events, oldest first, at most `limit`.
    pub fn recent(&self, limit: usize) -> Vec<Arc<Numbered>> {
        let inner = self.inner();
        inner.recent.iter().skip(inner.recent.len().saturating_sub(limit)).cloned().collect()
    }

    /// Events published.
    pub fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// Events that a subscriber lost because its queue was full, of all subscribers.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// How many listen.
    pub fn subscribers(&self) -> usize {
        self.subscribers.load(Ordering::Relaxed)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// What came after an event, and how much of it is forgotten.
    fn after(&self, seen: u64) -> (Vec<Arc<Numbered>>, u64) {
        let oldest = self.recent.front().map_or(self.next, |first| first.serial);
        let from = self.recent.partition_point(|numbered| numbered.serial <= seen);
        let backlog = self.recent.iter().skip(from).cloned().collect();
        (backlog, oldest.saturating_sub(seen.saturating_add(1)))
    }
}

impl Subscription {
    /// Which one, for logs.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The queue: `receive` until it is empty, then `sleep` and wait to be woken.
    pub fn queue(&self) -> &Mailbox<Arc<Numbered>> {
        &self.queue
    }

    /// Events that it lost because its queue was full.
    pub fn dropped(&self) -> u64 {
        self.queue.refused()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut inner = self.bus.inner();
        inner.subscribers.retain(|(id, _)| *id != self.id);
        self.bus.subscribers.store(inner.subscribers.len(), Ordering::Relaxed);
    }
}

/// Events that are remembered for those who come back.
pub const RECENT_MAX: usize = 1_024;

/// Listeners at one time.
pub const SUBSCRIBERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Woken(Arc<AtomicU64>);

    impl Wake for Woken {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn event(n: u64) -> Event {
        Event::new(Wall(n), "ban.added").with("n", n)
    }

    fn serials(events: &[Arc<Numbered>]) -> Vec<u64> {
        events.iter().map(|numbered| numbered.serial).collect()
    }

    #[test]
    fn every_subscriber_gets_every_event_in_order() {
        let bus = EventBus::new(Wall(100));
        bus.publish(event(0));
        let woken = Woken::default();
        let a = bus.subscribe(10, woken.clone(), None).unwrap();
        let b = bus.subscribe(10, Woken::default(), None).unwrap();
        assert!(a.backlog.is_empty() && a.missed == 0 && a.subscription.id() != b.subscription.id());
        for n in 1..=3 {
            bus.publish(event(n));
        }
        assert_eq!(woken.0.load(Ordering::Relaxed), 1, "once, until it sleeps again");
        for subscription in [&a.subscription, &b.subscription] {
            let got: Vec<_> = core::iter::from_fn(|| subscription.queue().receive()).collect();
            assert_eq!(serials(&got), [101, 102, 103]);
            assert_eq!((got[2].event.kind, got[2].event.field("n")), ("ban.added", Some("3")));
        }
        assert_eq!((bus.subscribers(), bus.published(), bus.dropped()), (2, 4, 0));
        drop(a);
        assert_eq!(bus.subscribers(), 1);
    }

    #[test]
    fn a_slow_subscriber_loses_events_and_knows_how_many() {
        let bus = EventBus::new(Wall(1));
        let slow = bus.subscribe(2, Woken::default(), None).unwrap().subscription;
        let quick = bus.subscribe(10, Woken::default(), None).unwrap().subscription;
        for n in 0..5 {
            bus.publish(event(n));
        }
        assert_eq!((slow.dropped(), quick.dropped(), bus.dropped()), (3, 0, 3));
        assert_eq!((slow.queue().len(), quick.queue().len()), (2, 5));
        drop(slow);
        assert_eq!(bus.dropped(), 3, "the total stays when the slow one has gone");
    }

    #[test]
    fn who_comes_back_gets_what_came_meanwhile_and_learns_what_is_forgotten() {
        let bus = EventBus::new(Wall(1_000));
        let back = |after| {
            let subscribed = bus.subscribe(1, Woken::default(), Some(after)).unwrap();
            (serials(&subscribed.backlog), subscribed.missed)
        };
        assert_eq!(back(999), (vec![], 0));
        for n in 0..3 {
            bus.publish(event(n));
        }
        assert_eq!(back(1_000), (vec![1_001, 1_002], 0));
        assert_eq!(back(1_002), (vec![], 0));
        assert_eq!(back(999), (vec![1_000, 1_001, 1_002], 0));
        assert_eq!(back(5_000), (vec![], 0), "from a future that has not happened");
        for n in 0..RECENT_MAX as u64 {
            bus.publish(event(n));
        }
        let (backlog, missed) = back(1_000);
        assert_eq!((backlog.len(), backlog[0], missed), (RECENT_MAX, 1_003, 2));
        assert_eq!(serials(&bus.recent(2)), [1_003 + RECENT_MAX as u64 - 2, 1_003 + RECENT_MAX as u64 - 1]);
    }

    #[test]
    fn there_is_an_end_to_subscribers() {
        let bus = EventBus::new(Wall(1));
        let all: Vec<_> =
            (0..SUBSCRIBERS_MAX).map(|_| bus.subscribe(1, Woken::default(), None).unwrap()).collect();
        assert_eq!(bus.subscribe(1, Woken::default(), None).unwrap_err(), TooManySubscribers);
        drop(all);
        assert!(bus.subscribe(1, Woken::default(), None).is_ok());
    }

    #[test]
    fn threads_publish_without_losing_or_repeating_a_number() {
        let bus = EventBus::new(Wall(1));
        let all = bus.subscribe(4_000, Woken::default(), None).unwrap().subscription;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1_000).for_each(|n| bus.publish(event(n))));
            }
        });
        let got: Vec<_> = core::iter::from_fn(|| all.queue().receive()).collect();
        assert_eq!(serials(&got), (1..=4_000).collect::<Vec<_>>());
    }
}
