//! How many bridges do what, and which codecs are converted: kept up whenever a bridge is fitted, so that figures cost
//! nothing to read.

use super::relay::Way;
use super::{Bridges, audio};
use base::Key;
use codec::registry::CODECS;

/// What a bridge does, the dearest that it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Kind {
    /// Packets pass.
    #[default]
    Relay,
    /// Codecs are converted.
    Transcode,
    /// Speech is decoded at a tick: prompts, recordings, digits in speech.
    Mix,
    /// A room.
    Room,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Kind; 4] = [Kind::Relay, Kind::Transcode, Kind::Mix, Kind::Room];

    /// As in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Relay => "relay",
            Kind::Transcode => "transcode",
            Kind::Mix => "mix",
            Kind::Room => "room",
        }
    }
}

/// Entries of [`CODECS`] at most.
pub const CODECS_MAX: usize = 16;
const _: () = assert!(CODECS_MAX >= 9);

/// What the bridges of a shard do now.
#[derive(Clone, Debug, Default)]
pub struct Stock {
    /// By `Kind as usize`.
    pub kinds: [u32; Kind::ALL.len()],
    /// Streams that are converted: from and to, by the place of a codec in [`CODECS`].
    pub transcodes: [[u32; CODECS_MAX]; CODECS_MAX],
}

/// What one bridge adds to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Share {
    kind: Option<Kind>,
    transcodes: Vec<(u8, u8)>,
}

impl Bridges {
    /// What the bridges do now.
    pub fn stock(&self) -> &Stock {
        &self.stock
    }

    /// Counts a bridge as what it is now.
    pub(super) fn take_stock(&mut self, key: Key) {
        self.leave_stock(key);
        let Some(bridge) = self.bridges.get(key) else { return };
        let mut share = Share::default();
        let (mut transcodes, mut mixes) = (false, false);
        for (_, port) in bridge.ports.iter().filter_map(|place| self.ports.at(*place)) {
            mixes |= port.audio.as_ref().is_some_and(|audio| audio.ear.is_some() || audio.mouth.is_some());
            for edge in port.edges() {
                let Some((_, sink)) = self.ports.at(edge.sink) else { continue };
                let to = match &edge.way {
                    Way::Transcode(_) => {
                        sink.audio.as_ref().and_then(|audio| audio.maker.as_ref()).map(|m| m.name)
                    }
                    Way::Law(law) => Some(law.makes()),
                    Way::Closed | Way::Relay | Way::Heard | Way::Silence => None,
                };
                transcodes |= to.is_some();
                let from = audio::widest(&port.payloads).map(|(name, _)| name);
                if let (Some(from), Some(to)) = (from.and_then(place_of), to.and_then(place_of)) {
                    share.transcodes.push((from, to));
                }
            }
        }
        let is_room = bridge.domain.as_ref().is_some_and(|domain| domain.room.is_some());
        let kind = match (is_room, mixes, transcodes) {
            (true, ..) => Kind::Room,
            (false, true, _) => Kind::Mix,
            (false, false, true) => Kind::Transcode,
            (false, false, false) => Kind::Relay,
        };
        share.kind = Some(kind);
        self.stock.kinds[kind as usize] += 1;
        for (from, to) in &share.transcodes {
            self.stock.transcodes[usize::from(*from)][usize::from(*to)] += 1;
        }
        if let Some(bridge) = self.bridges.get_mut(key) {
            bridge.share = share;
        }
    }

    /// A bridge goes, or is counted anew.
    pub(super) fn leave_stock(&mut self, key: Key) {
        let Some(bridge) = self.bridges.get_mut(key) else { return };
        let Share { kind, transcodes } = core::mem::take(&mut bridge.share);
        if let Some(kind) = kind {
            self.stock.kinds[kind as usize] -= 1;
        }
        for (from, to) in transcodes {
            self.stock.transcodes[usize::from(from)][usize::from(to)] -= 1;
        }
    }
}

fn place_of(name: &str) -> Option<u8> {
    CODECS
        .iter()
        .position(|codec| codec.name == name)
        .filter(|place| *place < CODECS_MAX)
        .map(|place| place as u8)
}
