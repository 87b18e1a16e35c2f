//! The packets that wait to be played, by number. Fixed room: a ring of slots, and payloads in chained blocks.

use crate::playout::grain::Grains;

/// Numbers that can wait at a time; a power of two.
pub const WAITING_MAX: i64 = 64;
/// The longest payload that is taken: an Ethernet frame.
pub const PAYLOAD_MAX: usize = 1_500;
/// Two hold 20 ms of G.711.
const BLOCK: usize = 80;
const NONE: u16 = u16::MAX;

/// What is known of a packet that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its extended number.
    pub number: i64,
    /// When it begins, on the sender's clock.
    pub start: Grains,
    /// How long it lasts; nothing for comfort noise.
    pub span: Grains,
    /// Which of the formats.
    pub format: u8,
    first_block: u16,
    len: u16,
}

impl Waiting {
    pub fn new(number: i64, start: Grains, span: Grains, format: u8) -> Self {
        Waiting { number, start, span, format, first_block: NONE, len: 0 }
    }

    pub fn end(&self) -> Grains {
        self.start + self.span
    }
}

pub struct Store {
    slots: Box<[Option<Waiting>]>,
    blocks: Box<[[u8; BLOCK]]>,
    /// The block after each block, of its payload or of the free ones.
    following: Box<[u16]>,
    first_free: u16,
    free: usize,
    held: Grains,
}

impl Store {
    /// Room for this many bytes of payloads in all, at least one of the longest.
    pub fn new(bytes: usize) -> Self {
        let blocks = bytes.max(PAYLOAD_MAX).div_ceil(BLOCK).min(usize::from(NONE) - 1);
        Store {
            slots: vec![None; WAITING_MAX as usize].into(),
            blocks: vec![[0; BLOCK]; blocks].into(),
            following: (1..=blocks as u16).collect(),
            first_free: 0,
            free: blocks,
            held: Grains::ZERO,
        }
    }

    /// Bytes on the heap.
    #[cfg(test)]
    pub fn heap_len(&self) -> usize {
        size_of_val(&*self.slots) + size_of_val(&*self.blocks) + size_of_val(&*self.following)
    }

    /// How much time all packets last that wait.
    pub fn held(&self) -> Grains {
        self.held
    }

    /// Whether there are blocks for a payload of this length.
    pub fn has_room(&self, len: usize) -> bool {
        len.div_ceil(BLOCK) <= self.free
    }

    /// Keeps a packet. The caller has made room: its slot is empty and [`Store::has_room`].
    pub fn put(&mut self, mut waiting: Waiting, payload: &[u8]) {
        debug_assert!(self.get(waiting.number).is_none() && self.has_room(payload.len()), "room was made");
        waiting.len = payload.len() as u16;
        self.held += waiting.span;
        waiting.first_block = if payload.is_empty() { NONE } else { self.first_free };
        for part in payload.chunks(BLOCK) {
            let block = usize::from(self.first_free);
            self.blocks[block][..part.len()].copy_from_slice(part);
            self.first_free = self.following[block];
            self.free -= 1;
        }
        self.slots[slot(waiting.number)] = Some(waiting);
    }

    pub fn get(&self, number: i64) -> Option<&Waiting> {
        self.slots[slot(number)].as_ref().filter(|waiting| waiting.number == number)
    }

    /// Copies the payload of a packet that waits.
    pub fn read<'a>(&self, waiting: &Waiting, buffer: &'a mut [u8; PAYLOAD_MAX]) -> &'a [u8] {
        let payload = &mut buffer[..usize::from(waiting.len)];
        let mut block = waiting.first_block;
        for part in payload.chunks_mut(BLOCK) {
            part.copy_from_slice(&self.blocks[usize::from(block)][..part.len()]);
            block = self.following[usize::from(block)];
        }
        payload
    }

    /// Forgets a packet.
    pub fn remove(&mut self, number: i64) {
        let Some(waiting) = self.slots[slot(number)].take_if(|waiting| waiting.number == number) else {
            return;
        };
        self.held -= waiting.span;
        let mut block = waiting.first_block;
        for _ in 0..usize::from(waiting.len).div_ceil(BLOCK) {
            let following = self.following[usize::from(block)];
            self.following[usize::from(block)] = self.first_free;
            self.first_free = block;
            self.free += 1;
            block = following;
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        for place in 0..self.slots.len() {
            if let Some(waiting) = self.slots[place] {
                self.remove(waiting.number);
            }
        }
    }
}

fn slot(number: i64) -> usize {
    (number & (WAITING_MAX - 1)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_put_is_read_until_it_is_removed(
            steps in proptest::collection::vec((0..100i64, 0..=PAYLOAD_MAX, any::<u8>()), 1..200),
        ) {
            let mut store = Store::new(8_000);
            let mut kept = std::collections::BTreeMap::new();
            for (number, len, byte) in steps {
                if kept.remove(&number).is_some() {
                    store.remove(number);
                } else if kept.keys().all(|n| n % WAITING_MAX != number % WAITING_MAX) && store.has_room(len) {
                    let payload: Vec<u8> = (0..len).map(|n| byte.wrapping_add(n as u8)).collect();
                    store.put(Waiting::new(number, Grains(1), Grains(2), 0), &payload);
                    kept.insert(number, payload);
                }
                for (number, payload) in &kept {
                    let waiting = store.get(*number).unwrap();
                    let mut buffer = [0; PAYLOAD_MAX];
                    prop_assert_eq!(store.read(waiting, &mut buffer), payload);
                }
            }
            store.clear();
            prop_assert!(store.has_room(8_000));
        }
    }
}
