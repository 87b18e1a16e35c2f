//! What a shard publishes about itself: written by its thread alone, read by anybody, without a lock.

use base::{Counter, Histogram};
use command::Verdict;
use core::net::IpAddr;
use core::ops::RangeInclusive;
use media::{Bridges, CODECS_MAX, Kind};

/// Counters of one media shard. They live as long as the process and go on counting over restarts of the shard.
#[derive(Debug)]
pub struct ShardStats {
    /// Packets received, whatever became of them.
    pub packets_in: Counter,
    /// Bytes of UDP payload received.
    pub bytes_in: Counter,
    /// Packets handed to the kernel.
    pub packets_out: Counter,
    /// Bytes of UDP payload handed to the kernel.
    pub bytes_out: Counter,
    /// Packets that were not forwarded, by [`Verdict`] number.
    pub dropped: [Counter; Verdict::COUNT],
    /// Packets that the kernel dropped because a socket's queue was full, as far as bridges have been reported.
    pub kernel_drops: Counter,
    /// From the start of the turn that took a packet to its end, when the packet is with the kernel or (io_uring)
    /// in the queue of the system call that ends the turn. A packet is charged the whole turn.
    pub forward: Histogram,
    /// How much later than asked for the thread woke up for a timer.
    pub lateness: Histogram,
    /// Turns of the loop.
    pub turns: Counter,
    /// Thousandths of the last second or so that the thread was on a CPU, in user code and in the kernel.
    pub load_permille: Counter,
    /// Bridges that exist now.
    pub bridges: Counter,
    /// Those that have been set, by what they do: [`Kind`]'s number.
    pub kinds: [Counter; Kind::ALL.len()],
    /// Streams that are converted now: from and to, by the place of a codec in the registry of codecs.
    pub transcodes: Box<[[Counter; CODECS_MAX]; CODECS_MAX]>,
    /// Commands taken from the ring.
    pub commands: Counter,
    /// Events that wait because a signalling shard's ring is full.
    pub event_backlog: Counter,
    /// Events that were given up: a signalling shard did not read for long, or does not exist. Never an answer.
    pub events_lost: Counter,
    /// Ticks of speech for rooms on other shards that were given up: their ring was full.
    pub crossings_lost: Counter,
    /// How often the shard was started; its generation.
    pub starts: Counter,
    /// The ranges of ports, in the order of the configuration.
    pub listeners: Box<[ListenerStats]>,
}

/// One range of ports on one address, as far as one shard owns it.
#[derive(Debug)]
pub struct ListenerStats {
    /// The listener, as numbered in the configuration.
    pub listener: u16,
    /// Its address.
    pub address: IpAddr,
    /// Pairs that can be opened now, those bound ahead among them.
    pub free: Counter,
    /// Pairs that rest before they are used again.
    pub resting: Counter,
    /// Pairs in use.
    pub used: Counter,
    /// How often a pair could not be bound, because somebody else has it.
    pub taken_by_others: Counter,
}

/// A range of ports that media listens on. Port 0 alone (`0..=0`) lets the system choose every pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaListener {
    /// Its number; one for each family may share it.
    pub listener: u16,
    /// The address to bind, or the unspecified one.
    pub address: IpAddr,
    /// Both ends are in it. Only whole pairs of an even port and the odd one above are used.
    pub ports: RangeInclusive<u16>,
}

impl ShardStats {
    /// All zero, for these listeners.
    pub fn new(listeners: &[MediaListener]) -> Self {
        let listeners = listeners.iter().map(|one| ListenerStats {
            listener: one.listener,
            address: one.address,
            free: Counter::default(),
            resting: Counter::default(),
            used: Counter::default(),
            taken_by_others: Counter::default(),
        });
        ShardStats {
            packets_in: Counter::default(),
            bytes_in: Counter::default(),
            packets_out: Counter::default(),
            bytes_out: Counter::default(),
            dropped: core::array::from_fn(|_| Counter::default()),
            kernel_drops: Counter::default(),
            forward: Histogram::default(),
            lateness: Histogram::default(),
            turns: Counter::default(),
            load_permille: Counter::default(),
            bridges: Counter::default(),
            kinds: core::array::from_fn(|_| Counter::default()),
            transcodes: Box::new(core::array::from_fn(|_| core::array::from_fn(|_| Counter::default()))),
            commands: Counter::default(),
            event_backlog: Counter::default(),
            events_lost: Counter::default(),
            crossings_lost: Counter::default(),
            starts: Counter::default(),
            listeners: listeners.collect(),
        }
    }

    /// Publishes what the bridges do now.
    pub(crate) fn take_stock(&self, bridges: &Bridges) {
        self.bridges.set(bridges.len() as u64);
        let stock = bridges.stock();
        for (counter, count) in self.kinds.iter().zip(&stock.kinds) {
            counter.set((*count).into());
        }
        let counts = stock.transcodes.as_flattened();
        for (counter, count) in self.transcodes.as_flattened().iter().zip(counts) {
            counter.set((*count).into());
        }
    }

    /// A shard begins: there is no bridge yet.
    pub(crate) fn forget_stock(&self) {
        self.bridges.set(0);
        self.kinds.iter().chain(self.transcodes.as_flattened()).for_each(|counter| counter.set(0));
    }

    /// Packets dropped for one reason.
    pub fn dropped(&self, why: Verdict) -> u64 {
        self.dropped[why as usize].get()
    }

    /// Packets dropped for any reason.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().map(Counter::get).sum()
    }
}
