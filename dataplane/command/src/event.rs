//! What media tells signalling. Events of one bridge come in the order in which they happened.

use crate::ids::{BridgeId, Generation, PortIndex, Ticket};
use crate::report::BridgeReport;
use crate::voice::{Ended, Signal};
use base::Duration;
use core::net::SocketAddr;

/// One event of a media shard, sent to the signalling shard that owns the bridge.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The shard has (re)started: every bridge of an earlier generation is gone.
    Started {
        /// Which media shard.
        shard: u8,
        /// Its generation.
        generation: Generation,
    },
    /// Ports are open.
    Opened {
        /// Whose.
        bridge: BridgeId,
        /// In the order of the request.
        ports: Vec<OpenedPort>,
    },
    /// Ports could not be opened; none was.
    Refused {
        /// Whose.
        bridge: BridgeId,
        /// Why.
        why: OpenRefusal,
    },
    /// A spec or order asks for what this build cannot do; the bridge is as before.
    Unsupported {
        /// Whose.
        bridge: BridgeId,
        /// The order's ticket, if it was one.
        ticket: Option<Ticket>,
        /// What, in words.
        what: &'static str,
    },
    /// A source was learned or moved.
    Learned {
        /// Whose.
        bridge: BridgeId,
        /// Which port.
        port: PortIndex,
        /// RTCP's address rather than RTP's.
        rtcp: bool,
        /// Where packets come from.
        source: SocketAddr,
        /// Whether it moved after the lock (a rebind).
        moved: bool,
    },
    /// The first packet of a call from a foreign source after the lock.
    Foreign {
        /// Whose.
        bridge: BridgeId,
        /// Which port.
        port: PortIndex,
        /// Who sent it.
        source: SocketAddr,
    },
    /// One side that should send has been silent for `Timeouts::one`.
    OneSideSilent {
        /// Whose.
        bridge: BridgeId,
        /// The silent port.
        port: PortIndex,
        /// For how long.
        silent: Duration,
    },
    /// All sides that should send have been silent for `Timeouts::both` (or `hold`): the call should end.
    Silent {
        /// Whose.
        bridge: BridgeId,
        /// For how long.
        silent: Duration,
    },
    /// A digit was received.
    Digit {
        /// Whose.
        bridge: BridgeId,
        /// From which port.
        port: PortIndex,
        /// `0-9A-D*#`.
        digit: char,
        /// How long it was pressed.
        duration: Duration,
    },
    /// A tone that is no digit was heard.
    Signal {
        /// Whose.
        bridge: BridgeId,
        /// From which port.
        port: PortIndex,
        /// What.
        signal: Signal,
    },
    /// Somebody in a room has begun to speak, or has stopped.
    Talking {
        /// The room.
        bridge: BridgeId,
        /// Who.
        who: (BridgeId, PortIndex),
        /// Began.
        on: bool,
    },
    /// An order has ended, by itself or not; every order that was taken ends once.
    Ended {
        /// Whose.
        bridge: BridgeId,
        /// Which order.
        ticket: Ticket,
        /// How.
        ended: Ended,
    },
    /// The report that was asked for.
    Report {
        /// Whose.
        bridge: BridgeId,
        /// The question's ticket.
        ticket: Ticket,
        /// What it has seen so far.
        report: Box<BridgeReport>,
    },
    /// The bridge has ended: closed by signalling, or as an orphan.
    Closed {
        /// Whose.
        bridge: BridgeId,
        /// What it had seen.
        report: Box<BridgeReport>,
    },
}

/// One opened port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenedPort {
    /// Its index in the bridge.
    pub port: PortIndex,
    /// Where it is bound: an even port; the address is unspecified on a wildcard listener. RTCP is one above.
    pub local: SocketAddr,
}

/// Why no port could be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OpenRefusal {
    /// The listener's range is used up (or resting before reuse).
    NoPorts,
    /// The process has no descriptor left.
    NoDescriptors,
    /// The listener has no range for that address.
    NoListener,
    /// The shard holds as many bridges as it can.
    Full,
}
