//! Packets that were made here, beside those that pass, until the shard has sent them. Bounded: what finds no room is
//! lost and counted, as in a full send buffer.

use super::Hop;

/// The longest packet that is made: what an encoder writes, its header, and what sealing adds.
pub(super) const MADE_LEN_MAX: usize = 1_500;
/// So much is made before it is sent: a tick of everything that is due stops there and goes on after that.
const CROWD_PACKETS: usize = 2_048;
const CROWD_BYTES: usize = 1 << 19;
/// What may wait: a tick of the largest room beside that. Memory that was never needed is never touched.
const PACKETS_MAX: usize = 16_384;
const BYTES_MAX: usize = 8 << 20;

/// See the module.
#[derive(Debug)]
pub(super) struct Made {
    bytes: Vec<u8>,
    used: usize,
    packets: Vec<(Hop, u32, u16)>,
}

impl Made {
    /// Takes its memory now.
    pub fn new() -> Self {
        Made { bytes: vec![0; BYTES_MAX], used: 0, packets: Vec::with_capacity(PACKETS_MAX) }
    }

    /// Whether so little room is left that whoever makes many should let them be sent first.
    pub fn is_crowded(&self) -> bool {
        self.packets.len() >= CROWD_PACKETS || self.used >= CROWD_BYTES
    }

    /// Makes one: `write` fills the buffer and says how long the packet is, or that there is none after all. `false`
    /// without room.
    pub fn make(&mut self, hop: Hop, write: impl FnOnce(&mut [u8; MADE_LEN_MAX]) -> Option<usize>) -> bool {
        let room = self.bytes.get_mut(self.used..).and_then(|room| room.first_chunk_mut::<MADE_LEN_MAX>());
        let Some(room) = room.filter(|_| self.packets.len() < PACKETS_MAX) else { return false };
        if let Some(len) = write(room) {
            let len = len.min(MADE_LEN_MAX);
            self.packets.push((hop, self.used as u32, len as u16));
            self.used += len;
        }
        true
    }

    /// Hands all over, in order.
    pub fn drain(&mut self, mut send: impl FnMut(Hop, &[u8])) {
        for (hop, start, len) in self.packets.drain(..) {
            let start = start as usize;
            send(hop, &self.bytes[start..start + usize::from(len)]);
        }
        self.used = 0;
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }
}
