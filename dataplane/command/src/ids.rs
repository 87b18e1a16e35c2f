//! Names that both planes use. None is ever reused within the life of a process.

use core::fmt;

/// One bridge: the media of a call or room. Minted by signalling, so that `Set` can be replayed; carries the node, the
/// media shard that holds it and the signalling shard that owns it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BridgeId(u64);

impl BridgeId {
    /// `serial` counts up within one signalling shard and one generation of it; its low 40 bits are kept.
    pub fn new(node: u8, media_shard: u8, signalling_shard: u8, serial: u64) -> Self {
        BridgeId(
            u64::from(node) << 56
                | u64::from(media_shard) << 48
                | u64::from(signalling_shard) << 40
                | serial & 0xff_ffff_ffff,
        )
    }

    /// The media shard that holds its ports.
    pub fn media_shard(self) -> usize {
        usize::from((self.0 >> 48) as u8)
    }

    /// The signalling shard that owns its call and gets its events.
    pub fn signalling_shard(self) -> usize {
        usize::from((self.0 >> 40) as u8)
    }

    /// Whether NG minted it rather than the B2BUA of the same shard: serials of NG are odd, those of the B2BUA even.
    pub fn is_ng(self) -> bool {
        self.0 % 2 == 1
    }

    /// All of it in one word.
    pub fn to_bits(self) -> u64 {
        self.0
    }
}

impl fmt::Display for BridgeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for BridgeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bridge {self}")
    }
}

/// One port of a bridge: counted from 0 in the order in which `Open` asked for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PortIndex(pub u16);

/// One participant of a bridge (a leg of a call, a member of a room): all ports that face the same peer share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Party(pub u16);

/// One candidate remote of a port: a fork, named by signalling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RemoteTag(pub u32);

/// Ties an answer to its question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ticket(pub u64);

/// How often a shard has been started. What an earlier generation held is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Generation(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_says_where_it_lives_and_who_minted_it() {
        let bridge = BridgeId::new(1, 2, 3, 0x1_0000_0005);
        assert_eq!((bridge.media_shard(), bridge.signalling_shard(), bridge.is_ng()), (2, 3, true));
        assert!(!BridgeId::new(1, 2, 3, 0x1_0000_0004).is_ng());
    }
}
