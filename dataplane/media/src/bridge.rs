//! The bridges of one media shard: what signalling wants, what each packet meets on its way, what was seen.
//! Opens no socket and reads no clock: the shard numbers sockets by [`Slot`] and sends where a [`Hop`] says.

use base::{Duration, Instant, Now, Rng};
use command::{BridgeId, BridgeReport, BridgeSpec, Event, Generation, OpenRefusal, PortIndex, Verdict};
use core::net::{IpAddr, SocketAddr};

/// One local socket (an RTP or an RTCP address) as the shard numbers it: a dense index from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

/// Where a packet goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The socket that it leaves by.
    pub slot: Slot,
    /// Whom it goes to.
    pub target: SocketAddr,
}

/// A packet's bytes in a buffer of fixed capacity; what happens on the way may change the length.
#[derive(Debug)]
pub struct Packet<'b> {
    /// All of the buffer.
    pub buffer: &'b mut [u8],
    /// How much of it is the packet; at most `buffer.len()`.
    pub len: usize,
    /// The kernel cut it, because it was longer than the buffer.
    pub truncated: bool,
}

/// One pair of sockets that the shard has opened for a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenPort {
    /// Its index in the bridge: [`Bridges::next_port`].
    pub port: PortIndex,
    /// The even address; unspecified on a wildcard listener.
    pub local: SocketAddr,
    /// The socket of the even port.
    pub rtp: Slot,
    /// The socket of the odd port.
    pub rtcp: Slot,
}

/// What one shard's bridges need to know at start.
#[derive(Clone, Debug)]
pub struct BridgesConfig {
    /// Bridges at most.
    pub bridges_max: u32,
    /// Slots at most: slots are below this.
    pub slots_max: u32,
    /// Events that may wait; one more is lost and counted.
    pub events_max: usize,
    /// How long bridges of a dead signalling shard live on.
    pub orphan: Duration,
    /// Addresses of this machine, so that a port on a wildcard listener is known when it would send to itself.
    pub own: Vec<IpAddr>,
    /// For what must not be guessed by peers (CNAMEs).
    pub rng: Rng,
}

/// A spec asks for what this build cannot do; says what, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsupported(pub &'static str);

/// What all bridges of the shard have seen since start.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Packets that were handed in.
    pub packets_in: u64,
    /// Bytes of them.
    pub bytes_in: u64,
    /// Packets that got a hop (every hop counts).
    pub packets_out: u64,
    /// Bytes of them.
    pub bytes_out: u64,
    /// By `Verdict as usize`.
    pub dropped: [u64; Verdict::COUNT],
    /// Events that found the queue full.
    pub events_lost: u64,
}

/// The bridges of one shard.
#[derive(Debug)]
pub struct Bridges {
    counters: Counters,
}

impl Bridges {
    /// No bridge yet; takes the memory for `slots_max` slots now.
    pub fn new(_now: Now, _config: BridgesConfig) -> Self {
        Bridges { counters: Counters::default() }
    }

    /// Whether `ports` more ports for this bridge (which may be new) would be taken; ask before binding sockets.
    pub fn has_room(&self, _bridge: BridgeId, _ports: usize) -> bool {
        true
    }

    /// The index that the next port of this bridge gets; 0 for a new bridge.
    pub fn next_port(&self, _bridge: BridgeId) -> PortIndex {
        PortIndex(0)
    }

    /// Takes a pair of sockets over for a bridge; the first makes the bridge.
    ///
    /// # Errors
    /// [`OpenRefusal::Full`] when there is no room for it; nothing has changed then.
    pub fn open(&mut self, _now: Now, _bridge: BridgeId, _port: OpenPort) -> Result<(), OpenRefusal> {
        Ok(())
    }

    /// Makes a bridge what the spec says. The same spec again changes nothing.
    ///
    /// # Errors
    /// What cannot be done, in words; the bridge is as before.
    pub fn set(&mut self, _now: Now, _bridge: BridgeId, _spec: &BridgeSpec) -> Result<(), Unsupported> {
        Ok(())
    }

    /// Ends a bridge and gives its sockets back, a pair a call of `freed`: (RTP, RTCP). `None` if there is none.
    pub fn close(
        &mut self,
        _now: Now,
        _bridge: BridgeId,
        _freed: impl FnMut(Slot, Slot),
    ) -> Option<BridgeReport> {
        None
    }

    /// What a bridge has seen so far.
    pub fn report(&self, _now: Now, _bridge: BridgeId) -> Option<BridgeReport> {
        None
    }

    /// The packet path: from whom, what is it, may it, where to. The packet's bytes are as they are to be sent
    /// afterwards. No allocation, no lock, no log, no panic; every drop is counted here, by port and in all.
    ///
    /// `source` must be canonical: IPv4 in IPv4 form, also on a socket of both families.
    ///
    /// # Errors
    /// Why it goes nowhere.
    #[inline]
    pub fn handle_packet(
        &mut self,
        _now: Now,
        _slot: Slot,
        _source: SocketAddr,
        _packet: &mut Packet<'_>,
    ) -> Result<Hop, Verdict> {
        Err(Verdict::Idle)
    }

    /// Further hops of the packet that [`Bridges::handle_packet`] has just given a hop: the same bytes go there too.
    /// Empty but for ports with several sinks.
    #[inline]
    pub fn more_hops(&self) -> &[Hop] {
        &[]
    }

    /// The kernel did not take a packet that was to leave by this slot.
    pub fn handle_send_failed(&mut self, _slot: Slot) {}

    /// How many packets the kernel has dropped in all on this slot's socket (`SO_RXQ_OVFL`).
    pub fn set_kernel_drops(&mut self, _slot: Slot, _n: u64) {}

    /// The DSCP that packets leaving by this slot should carry, 0 to 63; changes only with [`Bridges::set`].
    pub fn dscp(&self, _slot: Slot) -> u8 {
        0
    }

    /// The sockets of a bridge, by port: (RTP, RTCP).
    pub fn slots(&self, _bridge: BridgeId) -> impl Iterator<Item = (PortIndex, Slot, Slot)> {
        core::iter::empty()
    }

    /// Runs the clocks of silence and of orphans that are due. Afterwards ask [`Bridges::poll_orphan`].
    pub fn handle_timeout(&mut self, _now: Now) {}

    /// When to call [`Bridges::handle_timeout`] next, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        None
    }

    /// The next event, in the order in which they happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }

    /// A bridge whose orphan time is over: the caller closes it as if its signalling shard had asked.
    pub fn poll_orphan(&mut self) -> Option<BridgeId> {
        None
    }

    /// A signalling shard has (re)started: bridges that an earlier generation of it left behind live on for the
    /// orphan time and are then named by [`Bridges::poll_orphan`], unless `set` or `open` comes for them before.
    pub fn hello(&mut self, _now: Now, _signalling: u8, _generation: Generation) {}

    /// How many bridges there are.
    pub fn len(&self) -> usize {
        0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was seen since start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}
