//! What signalling asks of a media shard.

use crate::ids::{BridgeId, Generation, PortIndex, Ticket};
use crate::spec::BridgeSpec;
use crate::voice::{Fork, PlayMode, Recording, Sound};
use base::Duration;
use core::net::IpAddr;

/// One request to a media shard, on a bounded ring. When the ring is full the call is refused, nothing waits.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// A signalling shard has started. Bridges that an earlier generation of it left behind relay on for the orphan
    /// time and are then closed, unless the new one sends `Set` for them.
    Hello {
        /// Which signalling shard.
        signalling: u8,
        /// Its generation.
        generation: Generation,
    },
    /// Opens ports for a bridge; the first makes the bridge. Answered by `Opened` or `Refused` (then none was opened).
    Open {
        /// Whose.
        bridge: BridgeId,
        /// In order; they get the next port indexes.
        want: Vec<PortWant>,
    },
    /// The whole wanted state.
    Set {
        /// Whose.
        bridge: BridgeId,
        /// See [`BridgeSpec`].
        spec: Box<BridgeSpec>,
    },
    /// Ends a bridge and frees its ports; answered by `Closed` with the final report.
    Close {
        /// Whose.
        bridge: BridgeId,
    },
    /// Asks for a report; answered by `Report`.
    Report {
        /// Whose.
        bridge: BridgeId,
        /// Comes back with the answer.
        ticket: Ticket,
    },
    /// Something that ends by itself or by another order; answered by `Ended`, or by `Unsupported`.
    Order {
        /// Whose.
        bridge: BridgeId,
        /// Comes back with the answers.
        ticket: Ticket,
        /// What.
        order: Order,
    },
    /// Fails on purpose, so that tests see what the death of a shard does; only accepted when the engine was started
    /// for tests.
    Panic,
}

impl Command {
    /// Whether the media shard must act on it at once. The others may ride on whatever wakes it next, some 20 ms later
    /// at most: nobody hears it, and nobody waits for more than a record.
    pub fn is_urgent(&self) -> bool {
        match self {
            Command::Close { .. } => false,
            Command::Set { spec, .. } => !spec.is_mute(),
            Command::Hello { .. }
            | Command::Open { .. }
            | Command::Report { .. }
            | Command::Order { .. }
            | Command::Panic => true,
        }
    }
}

/// One port to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortWant {
    /// The listener, as numbered in the configuration that the shard has.
    pub listener: u16,
    /// The address to bind: the listener's, which has at most one range for each family, or any of this machine where
    /// that is a wildcard.
    pub address: IpAddr,
}

/// Orders to a bridge. A room takes `Play` (heard by all), `Record`, `Fork` and what ends them.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// Plays a sound. Several for one port are played one after the other, those that mix beside each other.
    Play {
        /// Who hears it; `None` is everybody in the room.
        port: Option<PortIndex>,
        /// What.
        sound: Sound,
        /// How it meets what is heard otherwise.
        mode: PlayMode,
        /// How often; `None` until stopped.
        times: Option<u32>,
        /// Where it begins.
        start: Duration,
        /// Hundredths of a decibel.
        gain_centibel: i16,
    },
    /// Sends digits towards a port, as its [`crate::Voice::digits`] says.
    Dtmf {
        /// Who gets them.
        port: PortIndex,
        /// `0-9A-D*#`, at most 100.
        digits: String,
        /// Milliseconds a digit, 40 to 6,000.
        duration_ms: u16,
        /// Milliseconds between digits, at least 40.
        gap_ms: u16,
    },
    /// Records the bridge or room.
    Record(Recording),
    /// Sends what is said there elsewhere.
    Fork(Fork),
    /// What is recorded from now on is silence, marked in the file.
    Pause {
        /// The recording's ticket.
        started: Ticket,
    },
    /// Goes on after a pause.
    Resume {
        /// The recording's ticket.
        started: Ticket,
    },
    /// Ends an earlier order; of one that has ended nothing is told.
    Stop {
        /// That order's ticket.
        started: Ticket,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Party, RemoteTag};
    use crate::spec::{Audience, EdgeSpec, Phase, PortSpec, Transform};

    /// Two ports with edges both ways; `faced` says which of them face somebody.
    fn set(phase: Phase, faced: [bool; 2], transform: &Transform) -> Command {
        let port = |index: u16| PortSpec {
            port: PortIndex(index),
            party: Party(index),
            active: faced[usize::from(index)].then_some(RemoteTag(1)),
            ..PortSpec::default()
        };
        let edge = |from, to| EdgeSpec {
            from: PortIndex(from),
            to: PortIndex(to),
            transform: transform.clone(),
            gain_centibel: 0,
            audience: Audience::All,
        };
        let (ports, edges) = (vec![port(0), port(1)], vec![edge(0, 1), edge(1, 0)]);
        let spec = Box::new(BridgeSpec { phase, ports, edges, ..BridgeSpec::default() });
        Command::Set { bridge: BridgeId::new(0, 0, 0, 1), spec }
    }

    #[test]
    fn only_what_nobody_hears_can_wait() {
        let relay = Transform::Relay { payload_map: Vec::new(), rewrite: None };
        assert!(!set(Phase::Early, [false, false], &relay).is_urgent());
        assert!(!set(Phase::Early, [true, true], &Transform::Drop).is_urgent());
        assert!(!set(Phase::Early, [true, false], &relay).is_urgent(), "nobody is called yet");
        assert!(set(Phase::Early, [true, true], &relay).is_urgent());
        for phase in [Phase::Active, Phase::Held] {
            assert!(
                set(phase, [false, false], &Transform::Drop).is_urgent(),
                "a hold is a change that is heard"
            );
        }
        let bridge = BridgeId::new(0, 0, 0, 1);
        assert!(!Command::Close { bridge }.is_urgent());
        assert!(Command::Open { bridge, want: Vec::new() }.is_urgent());
    }
}
