//! Events on their way to the signalling shards, in order. They wait here for the end of the turn, so that a signalling
//! thread is woken once for all of them, and longer while its ring is full, within bounds: what is news may be given up
//! and counted, an answer never is.

use crate::stats::ShardStats;
use base::Mailbox;
use command::{BridgeId, Event, Generation};
use std::collections::VecDeque;
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub struct Outbox {
    /// By signalling shard.
    lanes: Vec<Lane>,
    stats: Arc<ShardStats>,
}

#[derive(Debug)]
struct Lane {
    ring: Mailbox<Event>,
    waiting: VecDeque<Event>,
}

impl Outbox {
    /// `rings` are in the order of the signalling shards' numbers.
    pub fn new(rings: Vec<Mailbox<Event>>, stats: Arc<ShardStats>) -> Self {
        let lane = |ring| Lane { ring, waiting: VecDeque::with_capacity(LANE) };
        let lanes = rings.into_iter().map(lane).collect();
        Outbox { lanes, stats }
    }

    /// An event of a bridge for the signalling shard that owns the bridge; goes with the next [`Outbox::flush`].
    pub fn put(&mut self, bridge: BridgeId, event: Event) {
        let sent = self.lanes.get_mut(bridge.signalling_shard()).is_some_and(|lane| lane.put(event));
        self.stats.events_lost.add(u64::from(!sent));
    }

    /// Tells everybody that the shard has started.
    pub fn started(&mut self, shard: u8, generation: Generation) {
        for lane in &mut self.lanes {
            lane.put(Event::Started { shard, generation });
        }
        self.flush();
    }

    /// Whether events wait to be sent.
    pub fn has_waiting(&self) -> bool {
        self.lanes.iter().any(|lane| !lane.waiting.is_empty())
    }

    /// Sends what waits, as far as the rings have room.
    pub fn flush(&mut self) {
        let mut left = 0;
        for lane in &mut self.lanes {
            while let Some(event) = lane.waiting.pop_front() {
                if let Err(event) = lane.ring.send(event) {
                    lane.waiting.push_front(event);
                    break;
                }
            }
            left += lane.waiting.len();
        }
        self.stats.event_backlog.set(left as u64);
    }

    /// So many answers wait that no command should be taken: each makes another one.
    pub fn is_clogged(&self) -> bool {
        self.lanes.iter().any(|lane| lane.waiting.len() >= ANSWERS_MAX)
    }
}

impl Lane {
    /// `false` if the event was given up.
    fn put(&mut self, event: Event) -> bool {
        if self.waiting.len() >= NEWS_MAX && !is_answer(&event) {
            return false;
        }
        self.waiting.push_back(event);
        true
    }
}

/// Whether somebody waits for it, or a call's end or record depends on it.
fn is_answer(event: &Event) -> bool {
    match event {
        Event::Started { .. }
        | Event::Opened { .. }
        | Event::Refused { .. }
        | Event::Unsupported { .. }
        | Event::Report { .. }
        | Event::Ended { .. }
        | Event::Silent { .. }
        | Event::Closed { .. } => true,
        Event::Learned { .. }
        | Event::Foreign { .. }
        | Event::OneSideSilent { .. }
        | Event::Digit { .. }
        | Event::Signal { .. }
        | Event::Talking { .. } => false,
    }
}

/// Events of a usual turn.
const LANE: usize = 64;
/// Events that may wait for one signalling shard before news is given up.
const NEWS_MAX: usize = 4096;
/// Events that may wait before the shard takes no more commands.
const ANSWERS_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;
    use command::{BridgeReport, PortIndex};
    use core::sync::atomic::{AtomicU64, Ordering};

    struct Nobody;
    impl base::Wake for Nobody {
        fn wake(&self) {}
    }

    fn outbox(capacity: usize) -> (Outbox, Mailbox<Event>) {
        let ring = Mailbox::new(capacity, Nobody);
        (Outbox::new(vec![ring.clone()], Arc::new(ShardStats::new(&[]))), ring)
    }

    fn closed(serial: u64) -> (BridgeId, Event) {
        let bridge = BridgeId::new(0, 0, 0, serial);
        (bridge, Event::Closed { bridge, report: Box::new(BridgeReport::default()) })
    }

    #[test]
    fn a_full_ring_keeps_the_order_and_loses_no_answer() {
        let (mut outbox, ring) = outbox(2);
        let total = NEWS_MAX as u64 + 10;
        for serial in 0..total {
            let (bridge, event) = closed(serial);
            outbox.put(bridge, event);
            outbox.put(
                bridge,
                Event::Foreign { bridge, port: PortIndex(0), source: "[::1]:9".parse().unwrap() },
            );
        }
        let mut next = 0;
        let mut news = 0;
        loop {
            outbox.flush();
            let Some(event) = ring.receive() else { break };
            match event {
                Event::Closed { bridge, .. } => {
                    assert_eq!(bridge, BridgeId::new(0, 0, 0, next));
                    next += 1;
                }
                _ => news += 1,
            }
        }
        assert_eq!((next, news), (total, total - outbox.stats.events_lost.get()));
        assert_eq!(outbox.stats.event_backlog.get(), 0);
    }

    #[test]
    fn a_turn_wakes_its_reader_once() {
        struct Count(Arc<AtomicU64>);
        impl base::Wake for Count {
            fn wake(&self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let wakes = Arc::new(AtomicU64::new(0));
        let ring = Mailbox::new(16, Count(Arc::clone(&wakes)));
        let mut outbox = Outbox::new(vec![ring.clone()], Arc::new(ShardStats::new(&[])));
        for serial in 0..5 {
            let (bridge, event) = closed(serial);
            outbox.put(bridge, event);
        }
        assert_eq!((ring.len(), wakes.load(Ordering::Relaxed)), (0, 0));
        outbox.flush();
        assert_eq!((ring.len(), wakes.load(Ordering::Relaxed)), (5, 1));
    }

    #[test]
    fn an_event_for_a_signalling_shard_that_does_not_exist_is_counted() {
        let (mut outbox, ring) = outbox(2);
        let bridge = BridgeId::new(0, 0, 7, 1);
        outbox.put(bridge, Event::Silent { bridge, silent: base::Duration::from_secs(60) });
        assert_eq!((outbox.stats.events_lost.get(), ring.len()), (1, 0));
    }

    #[test]
    fn a_reader_that_is_gone_stops_the_commands_at_last() {
        let (mut outbox, _ring) = outbox(1);
        for serial in 0..=ANSWERS_MAX as u64 {
            assert!(!outbox.is_clogged());
            let (bridge, event) = closed(serial);
            outbox.put(bridge, event);
            if serial == 0 {
                outbox.flush(); // the ring has room for one
            }
        }
        assert!(outbox.is_clogged());
    }
}
