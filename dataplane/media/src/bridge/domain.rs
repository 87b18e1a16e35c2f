//! What ticks together: the ports of one call whose speech is mixed, or a room with the seats of many calls; and what is
//! recorded of them. Holds the lists; `tick` goes through them, `fit` fills them.

use super::crossing::Guest;
use super::maker::{Maker, Making};
use super::order::Recorder;
use super::sounds::Sounds;
use crate::mixer::{Group, Mixer, MixerConfig, SeatConfig, SeatKey};
use base::{Duration, Instant};
use codec::coder::PAYLOAD_MAX;
use command::{BridgeId, PortIndex, RoomSpec};

/// Seats that one room may have.
const SEATS_MAX: u32 = 10_000;
/// Encodings that one room shares among its listeners.
const SHARED_MAX: usize = 16;

/// See the module.
pub(super) struct Domain {
    /// 10 or 20 ms.
    pub tick: Duration,
    /// The time of the next tick, and when it was planned; others are stale.
    pub next: Instant,
    pub due: Option<Instant>,
    /// Places of own ports that are heard, and of those that hear; ports with a seat are in the room's list.
    pub ears: Vec<u32>,
    pub mouths: Vec<u32>,
    pub room: Option<Room>,
    pub recordings: Vec<Recorder>,
}

/// A room.
pub(super) struct Room {
    pub spec: RoomSpec,
    pub mixer: Mixer,
    pub seats: Vec<Seated>,
    /// Those who sit here from other shards.
    pub guests: Vec<Guest>,
    /// Those who have left since the last tick: that they do not talk any more is still to be told.
    pub left: Vec<(SeatKey, (BridgeId, PortIndex))>,
    /// What all hear, and the seat that it speaks from while there is something.
    pub sounds: Sounds,
    pub announcer: Option<SeatKey>,
    /// Listens for the recordings.
    pub recorder: Option<(SeatKey, u32)>,
    pub shared: Vec<Shared>,
}

/// A port in a room.
#[derive(Clone, Copy)]
pub(super) struct Seated {
    pub place: u32,
    pub seat: SeatKey,
    pub who: (BridgeId, PortIndex),
    /// Its terms but for whom it coaches.
    pub config: SeatConfig,
    pub coaches: Option<(BridgeId, PortIndex)>,
}

/// One encoding for all who hear the same.
pub(super) struct Shared {
    pub maker: Maker,
    /// What it holds now, and of which tick.
    pub group: Option<Group>,
    pub tick: Instant,
    pub payload: Box<[u8; PAYLOAD_MAX]>,
    pub len: usize,
}

impl Domain {
    pub fn new(now: Instant, tick: Duration) -> Self {
        Domain {
            tick,
            next: now,
            due: None,
            ears: Vec::new(),
            mouths: Vec::new(),
            room: None,
            recordings: Vec::new(),
        }
    }

    /// Whether nothing ticks any more.
    pub fn is_idle(&self) -> bool {
        let empty_room = self
            .room
            .as_ref()
            .is_none_or(|room| room.seats.is_empty() && room.guests.is_empty() && room.sounds.is_empty());
        self.ears.is_empty() && self.mouths.is_empty() && self.recordings.is_empty() && empty_room
    }

    /// The room of this domain; made by the first who asks.
    pub fn room(&mut self) -> &mut Room {
        let frame_ms = self.tick.as_millis() as u8;
        self.room.get_or_insert_with(|| Room::new(frame_ms))
    }
}

impl Room {
    fn new(frame_ms: u8) -> Self {
        let spec = RoomSpec::default();
        Room {
            spec,
            mixer: Mixer::new(MixerConfig { frame_ms, talkers: spec.talkers, seats_max: SEATS_MAX }),
            seats: Vec::new(),
            guests: Vec::new(),
            left: Vec::new(),
            sounds: Sounds::default(),
            announcer: None,
            recorder: None,
            shared: Vec::new(),
        }
    }

    pub fn set(&mut self, spec: RoomSpec) {
        self.spec = spec;
        self.mixer.set_talkers(spec.talkers.clamp(1, 8));
    }

    /// Says anew who coaches whom, when somebody has come or gone.
    pub fn settle_coaches(&mut self) {
        for n in 0..self.seats.len() {
            let Seated { seat, config, coaches, .. } = self.seats[n];
            if coaches.is_some() {
                let config = self.coaching(config, coaches);
                let configured = self.mixer.configure(seat, config);
                debug_assert!(configured.is_ok(), "its rate was good when it sat down");
            }
        }
        self.settle_guests();
    }

    /// The terms of a seat that coaches: who is to be heard by somebody who is not here is heard by nobody.
    pub fn coaching(&self, config: SeatConfig, whom: Option<(BridgeId, PortIndex)>) -> SeatConfig {
        let coaches = whom.and_then(|whom| self.seat_of(whom));
        SeatConfig { coaches, talks: config.talks && (whom.is_none() || coaches.is_some()), ..config }
    }

    /// A seat that only speaks, to all: announcements.
    pub fn announcer(&mut self, rate: u32) -> Option<SeatKey> {
        if self.announcer.is_none() {
            let config = SeatConfig { hears: false, announces: true, ..SeatConfig::at(rate) };
            self.announcer = self.mixer.join(config).ok();
        }
        self.announcer
    }

    /// A seat that only listens, for recordings, and its rate.
    pub fn recorder(&mut self, rate: u32) -> Option<(SeatKey, u32)> {
        if self.recorder.is_none() {
            let config = SeatConfig { talks: false, ..SeatConfig::at(rate) };
            self.recorder = self.mixer.join(config).ok().map(|seat| (seat, rate));
        }
        self.recorder
    }

    /// Makes sure that there is one encoding for all who want it so.
    pub fn share(&mut self, making: &Making, complexity: u8) {
        if self.shared.iter().any(|shared| shared.maker.making == *making) {
            return;
        }
        if self.shared.len() >= SHARED_MAX
            && let Some(place) = (0..self.shared.len()).min_by_key(|place| self.shared[*place].tick)
        {
            // Peers choose their parameters; who finds none encodes for itself.
            self.shared.swap_remove(place);
        }
        if let Some(maker) = Maker::new(making.clone(), complexity) {
            let payload = Box::new([0; PAYLOAD_MAX]);
            self.shared.push(Shared { maker, group: None, tick: Instant(0), payload, len: 0 });
        }
    }
}

impl core::fmt::Debug for Domain {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let seats = self.room.as_ref().map_or(0, |room| room.seats.len());
        write!(f, "Domain({} ears, {} mouths, {seats} seats)", self.ears.len(), self.mouths.len())
    }
}
