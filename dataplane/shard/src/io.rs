//! How packets come from and go to the kernel: one trait, several back ends, chosen at start. A back end owns the
//! sockets and the packet buffers; it knows slots and addresses, not what packets mean.
pub mod epoll; // a socket a port, one system call a packet: runs anywhere
pub mod uring; // io_uring: multishot receive, batched sends

use crate::sys::{Bell, Memory};
use core::net::SocketAddr;
use core::time::Duration;
use media::{Hop, Packet, Slot};
use socket2::Socket;
use std::io;

/// A back end. One thread makes it, uses it and drops it.
pub trait Io: Sized {
    /// As in the configuration and in `doctor`.
    const NAME: &'static str;

    /// A back end for slots below `slots_max`, which [`Io::wait`] ends early when `bell` rings.
    ///
    /// # Errors
    /// The host does not allow it, or lacks memory or descriptors.
    fn new(slots_max: u32, bell: Bell) -> io::Result<Self>;

    /// Receives from a socket from now on, as `slot`, which must be closed.
    ///
    /// # Errors
    /// The kernel's; the socket is closed then.
    fn open(&mut self, slot: Slot, socket: Socket) -> io::Result<()>;

    /// Closes a socket. Nothing of it is received any more, not even what waits. Unknown slots are ignored.
    fn close(&mut self, slot: Slot);

    /// Nobody wants what comes to an open slot until [`Io::resume`]: it may be given out all the same.
    fn rest(&mut self, slot: Slot);

    /// Gives out what comes to a resting slot from now on. What came before is thrown away; says how many packets.
    fn resume(&mut self, slot: Slot) -> u64;

    /// The socket of an open slot.
    fn socket(&self, slot: Slot) -> Option<&Socket>;

    /// Waits until a packet has come, the bell has rung, or the time is over (it may be up to a millisecond late).
    /// Whatever [`Io::send`] has left to do is done first.
    fn wait(&mut self, timeout: Duration);

    /// Fills the batch anew with what has come, in order of arrival in each slot. Each socket's share of a batch is
    /// bounded; what is left comes next time, and [`Io::wait`] does not wait then.
    fn recv(&mut self);

    /// The packets of the last [`Io::recv`].
    fn batch(&mut self) -> &mut Batch;

    /// Sends the packets of the batch that have a hop, without waiting; failures are found in [`Batch::failed`], at
    /// once or after a later turn.
    fn send(&mut self);

    /// As [`Io::send`], and what was sent is with the kernel afterwards: [`Batch::put`] has all of its room again.
    fn flush(&mut self);
}

/// Packets in their buffers, made once and used again and again: those that were received, and those made here.
#[derive(Debug)]
pub struct Batch {
    memory: Memory,
    packets: Vec<Received>,
    /// Bytes of packets made here, one after the other, and where each ends.
    made: Memory,
    made_ends: Vec<u32>,
    sends: Vec<Send>,
    /// Slots whose sends have failed since this was last emptied; bounded.
    pub failed: Vec<Slot>,
}

/// One received packet. Its bytes are in the batch's memory.
#[derive(Clone, Copy, Debug)]
struct Received {
    slot: Slot,
    source: SocketAddr,
    /// Where its bytes begin, and how many there are.
    start: u32,
    len: u32,
    truncated: bool,
}

/// One send: which packet, where to. Packets made here are numbered from [`MADE`] on.
#[derive(Clone, Copy, Debug)]
struct Send {
    packet: u32,
    hop: Hop,
}

const MADE: u32 = 1 << 31;

/// Where one packet goes: nowhere, to one hop, or to several.
#[derive(Debug)]
pub struct Hops<'b> {
    packet: u32,
    sends: &'b mut Vec<Send>,
    failed: &'b mut Vec<Slot>,
}

impl Hops<'_> {
    /// Sends the packet there as well.
    #[inline]
    pub fn push(&mut self, hop: Hop) {
        if self.sends.len() < SENDS {
            self.sends.push(Send { packet: self.packet, hop });
        } else {
            fail(self.failed, hop.slot);
        }
    }
}

fn fail(failed: &mut Vec<Slot>, slot: Slot) {
    if failed.len() < SENDS {
        failed.push(slot);
    }
}

impl Batch {
    fn new(memory: Memory) -> io::Result<Self> {
        let (packets, sends) = (Vec::with_capacity(BATCH), Vec::with_capacity(SENDS));
        let (made, made_ends) = (Memory::new(MADE_BYTES)?, Vec::with_capacity(SENDS));
        Ok(Batch { memory, packets, made, made_ends, sends, failed: Vec::with_capacity(SENDS) })
    }

    fn clear(&mut self) {
        self.packets.clear();
        self.sends.clear();
    }

    /// Adds a packet that was made here. `false` when there is no room: [`Io::flush`] makes some.
    pub fn put(&mut self, hop: Hop, bytes: &[u8]) -> bool {
        let start = self.made_ends.last().map_or(0, |end| *end as usize);
        let end = start + bytes.len();
        if end > MADE_BYTES || self.sends.len() >= SENDS {
            return false;
        }
        self.made.slice_mut(start, bytes.len()).copy_from_slice(bytes);
        self.sends.push(Send { packet: MADE | self.made_ends.len() as u32, hop });
        self.made_ends.push(end as u32);
        true
    }

    /// How many packets there are.
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// How many sends [`Batch::route`] has asked for.
    pub fn sends(&self) -> usize {
        self.sends.len()
    }

    /// Asks for each packet where it goes. The packet may be changed in place and may grow up to its buffer's length.
    pub fn route(&mut self, mut handle: impl FnMut(Slot, SocketAddr, &mut Packet<'_>, &mut Hops<'_>)) {
        let Batch { memory, packets, sends, failed, .. } = self;
        for (number, received) in packets.iter_mut().enumerate() {
            let buffer = memory.slice_mut(received.start as usize, PACKET_MAX);
            let mut packet = Packet { buffer, len: received.len as usize, truncated: received.truncated };
            let mut hops = Hops { packet: number as u32, sends, failed };
            handle(received.slot, received.source, &mut packet, &mut hops);
            received.len = packet.len.min(PACKET_MAX) as u32;
        }
    }

    fn push(&mut self, slot: Slot, source: SocketAddr, start: usize, len: usize) {
        let truncated = len > PACKET_MAX;
        let len = len.min(PACKET_MAX) as u32;
        self.packets.push(Received { slot, source, start: start as u32, len, truncated });
    }

    /// A send's hop and bytes.
    fn sending(&self, send: usize) -> (Hop, &[u8]) {
        let Send { packet, hop } = self.sends[send];
        if packet & MADE != 0 {
            let number = (packet & !MADE) as usize;
            let start = number.checked_sub(1).map_or(0, |before| self.made_ends[before]);
            return (hop, self.made.slice(start as usize, (self.made_ends[number] - start) as usize));
        }
        let packet = &self.packets[packet as usize];
        (hop, self.memory.slice(packet.start as usize, packet.len as usize))
    }

    fn fail(&mut self, slot: Slot) {
        fail(&mut self.failed, slot);
    }
}

/// Sockets by slot, with a generation that tells a slot's successive sockets apart in what the kernel gives back.
#[derive(Debug, Default)]
struct Sockets {
    places: Vec<Place>,
}

#[derive(Debug, Default)]
struct Place {
    socket: Option<Socket>,
    generation: u32,
    /// Receives that failed in a row.
    failures: u32,
}

impl Place {
    fn renew(&mut self) -> u32 {
        // 30 bits: io_uring's user data has two more for the kind of the request.
        self.generation = self.generation.wrapping_add(1) & 0x3fff_ffff;
        self.failures = 0;
        self.generation
    }
}

impl Sockets {
    fn with_max(slots_max: u32) -> Self {
        Sockets { places: Vec::with_capacity(slots_max as usize) }
    }

    /// # Errors
    /// The slot is beyond the limit or open.
    fn insert(&mut self, slot: Slot, socket: Socket) -> io::Result<u32> {
        let index = slot.0 as usize;
        if index >= self.places.capacity() {
            return Err(io::Error::other("the slot is beyond the back end's limit"));
        }
        if index >= self.places.len() {
            self.places.resize_with(index + 1, Place::default);
        }
        let place = &mut self.places[index];
        if place.socket.is_some() {
            return Err(io::Error::other("the slot is open"));
        }
        place.socket = Some(socket);
        Ok(place.renew())
    }

    /// Another generation of an open slot, without another socket: the old one and the new.
    fn renew(&mut self, slot: Slot) -> Option<(u32, u32)> {
        let place = self.places.get_mut(slot.0 as usize).filter(|place| place.socket.is_some())?;
        Some((place.generation, place.renew()))
    }

    fn remove(&mut self, slot: Slot) -> Option<(Socket, u32)> {
        let place = self.places.get_mut(slot.0 as usize)?;
        place.socket.take().map(|socket| (socket, place.generation))
    }

    #[inline]
    fn get(&self, slot: Slot) -> Option<&Socket> {
        self.places.get(slot.0 as usize)?.socket.as_ref()
    }

    /// The place of an open slot, if it still is of that generation.
    #[inline]
    fn current(&mut self, slot: Slot, generation: u32) -> Option<&mut Place> {
        let place = self.places.get_mut(slot.0 as usize)?;
        (place.generation == generation && place.socket.is_some()).then_some(place)
    }
}

/// The longest packet that is taken, bytes of UDP payload; a longer one is marked as truncated.
pub const PACKET_MAX: usize = 2048;
/// Packets in a batch at most: bounds a turn to about half a millisecond of work.
pub const BATCH: usize = 256;
/// Sends of a batch at most: packets with several hops are few.
pub const SENDS: usize = 2 * BATCH;
/// Bytes of packets made here that a batch holds.
const MADE_BYTES: usize = 1 << 18;

#[cfg(test)]
mod tests;
