//! The io_uring back end: every socket has one multishot receive armed that fills provided buffers; sends ride in the
//! system call that waits for the next packets. Needs Linux 6.0 and a host that allows io_uring.
#![expect(unsafe_code, reason = "the kernel reads and writes our memory")]

use super::{BATCH, Batch, Io, PACKET_MAX, SENDS, Sockets};
use crate::address::{self, RawAddress};
use crate::ports::drain;
use crate::sys::{self, Bell, Memory};
use core::sync::atomic::{AtomicU16, Ordering};
use core::time::Duration;
use io_uring::types::{BufRingEntry, CancelBuilder, Fd, RecvMsgOut, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use media::Slot;
use socket2::Socket;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// See the module. Dropping it cancels and waits for all that is in flight, then the ring goes, then the memory.
pub struct Uring {
    ring: IoUring,
    /// Sockets are registered with the ring by slot, which saves a look-up a request; `false` where limits forbid.
    registered: bool,
    sockets: Sockets,
    buffers: BufferRing,
    batch: Batch,
    /// The buffers of the batch, given back once the kernel has read what was to be sent from them.
    lent: Vec<u16>,
    /// Targets of the sends that wait in the submission queue.
    targets: Box<[RawAddress]>,
    targets_used: usize,
    /// Tells the kernel how much room for the source is in each buffer.
    header: Box<libc::msghdr>,
    bell: Bell,
}

// SAFETY: the raw pointers in `header` are null and are never followed.
unsafe impl Send for Uring {}

impl core::fmt::Debug for Uring {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Uring").field("registered", &self.registered).finish_non_exhaustive()
    }
}

impl Io for Uring {
    const NAME: &'static str = "uring";

    fn new(slots_max: u32, bell: Bell) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_coop_taskrun()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        let registered = u64::from(slots_max) <= sys::descriptor_limits().0
            && ring.submitter().register_files_sparse(slots_max).is_ok();
        let batch = Batch::new(Memory::new(usize::from(BUFFERS) * BUFFER_BYTES)?)?;
        let mut buffers = BufferRing::new()?;
        (0..BUFFERS).for_each(|buffer| buffers.give(buffer, &batch.memory));
        // SAFETY: the ring of descriptions is page-aligned and has room for BUFFERS entries; both it and the buffers
        // live until `Drop` has waited for everything in flight and the ring is gone.
        unsafe {
            let start = buffers.memory.as_ptr() as u64;
            ring.submitter().register_buf_ring_with_flags(start, BUFFERS, GROUP, 0)?;
        }
        // SAFETY: all zeroes is a valid msghdr; only the lengths in it are read.
        let mut header: Box<libc::msghdr> = Box::new(unsafe { core::mem::zeroed() });
        header.msg_namelen = RawAddress::MAX as u32;
        let mut back_end = Uring {
            ring,
            registered,
            sockets: Sockets::with_max(slots_max),
            buffers,
            batch,
            lent: Vec::with_capacity(BUFFERS.into()),
            targets: vec![RawAddress::EMPTY; 2 * SENDS].into(),
            targets_used: 0,
            header,
            bell,
        };
        back_end.listen_to_bell();
        back_end.ring.submit()?;
        Ok(back_end)
    }

    fn open(&mut self, slot: Slot, socket: Socket) -> io::Result<()> {
        let descriptor = socket.as_raw_fd();
        let generation = self.sockets.insert(slot, socket)?;
        if self.registered {
            let added = self.ring.submitter().register_files_update(slot.0, &[descriptor]);
            if let Err(error) = added {
                self.sockets.remove(slot);
                return Err(error);
            }
        }
        self.arm(slot, generation);
        Ok(())
    }

    fn close(&mut self, slot: Slot) {
        let Some((socket, generation)) = self.sockets.remove(slot) else { return };
        // The armed receive holds the socket open until it is cancelled, by the next system call of the turn.
        self.disarm(slot, generation);
        if self.registered {
            // It was registered, so it can be taken out.
            let _ = self.ring.submitter().register_files_update(slot.0, &[-1]);
        }
        drop(socket);
    }

    fn rest(&mut self, slot: Slot) {
        // What the old receive still brings is of another generation: nobody gets it.
        if let Some((armed, _)) = self.sockets.renew(slot) {
            self.disarm(slot, armed);
        }
    }

    fn resume(&mut self, slot: Slot) -> u64 {
        let Some((_, generation)) = self.sockets.renew(slot) else { return 0 };
        let stale = self.sockets.get(slot).map_or(0, drain);
        self.arm(slot, generation);
        stale
    }

    fn socket(&self, slot: Slot) -> Option<&Socket> {
        self.sockets.get(slot)
    }

    fn wait(&mut self, timeout: Duration) {
        let time = Timespec::from(timeout);
        // Ends with ETIME when nothing came and EINTR on signals; sends that were not taken are tried again below.
        let _ = self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&time));
        self.settle();
    }

    fn recv(&mut self) {
        self.settle();
        self.batch.clear();
        while self.batch.packets.len() < BATCH {
            // Taken one by one: handling one may need the ring.
            let Some(completion) = self.ring.completion().next() else { break };
            self.complete(&completion);
        }
    }

    fn batch(&mut self) -> &mut Batch {
        &mut self.batch
    }

    fn send(&mut self) {
        for i in 0..self.batch.sends() {
            let (hop, bytes) = self.batch.sending(i);
            let (Some(descriptor), Some(target)) =
                (self.descriptor(hop.slot), self.targets.get_mut(self.targets_used))
            else {
                self.batch.fail(hop.slot);
                continue;
            };
            self.targets_used += 1;
            *target = RawAddress::from(hop.target);
            let target = target.as_bytes();
            // Without MSG_DONTWAIT a full send buffer would keep the request, and its buffer would be reused under it.
            let send = opcode::Send::new(descriptor, bytes.as_ptr(), bytes.len() as u32)
                .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
                .dest_addr(target.as_ptr().cast())
                .dest_addr_len(target.len() as u32)
                .build()
                .flags(squeue::Flags::SKIP_SUCCESS | self.file_flag())
                .user_data(Kind::Send.tag(hop.slot, 0));
            self.push(&send);
        }
        self.batch.sends.clear();
    }

    fn flush(&mut self) {
        self.send();
        self.hand_over();
    }
}

impl Uring {
    /// Handles one completion: a packet into the batch, a failed send into `failed`, an ended request armed again.
    fn complete(&mut self, completion: &cqueue::Entry) {
        let (kind, slot, generation) = Kind::parse(completion.user_data());
        let more = cqueue::more(completion.flags());
        match kind {
            Kind::Receive => {
                let result = completion.result();
                if let Some(buffer) = cqueue::buffer_select(completion.flags()) {
                    self.take(slot, generation, buffer, result);
                }
                if more {
                    return;
                }
                // It ends with an error, with the buffers, with an empty datagram, or because the slot was closed.
                let Some(place) = self.sockets.current(slot, generation) else { return };
                place.failures = if result >= 0 || -result == libc::ENOBUFS { 0 } else { place.failures + 1 };
                if place.failures < FAILURES_MAX {
                    self.arm(slot, generation);
                } else {
                    tracing::error!(slot = slot.0, errno = -result, "a socket cannot be read any more");
                }
            }
            // Success is not told.
            Kind::Send => self.batch.fail(slot),
            Kind::Bell => {
                self.bell.quiet();
                if !more {
                    self.listen_to_bell();
                }
            }
            Kind::Other => {}
        }
    }

    /// Takes a filled buffer into the batch, or gives it back if nobody wants it.
    fn take(&mut self, slot: Slot, generation: u32, buffer: u16, result: i32) {
        let start = usize::from(buffer) * BUFFER_BYTES;
        let filled = self.batch.memory.slice(start, (result.max(0) as usize).min(BUFFER_BYTES));
        let open = self.sockets.current(slot, generation).is_some();
        if open
            && let Ok(out) = RecvMsgOut::parse(filled, &self.header)
            && let Some(source) = address::parse(out.name_data())
        {
            // The kernel tells the kept length and, by a flag, that there was more.
            let len = out.payload_data().len() + usize::from(out.is_payload_truncated());
            self.batch.push(slot, source, start + PAYLOAD_AT, len);
            self.lent.push(buffer);
        } else {
            self.buffers.give(buffer, &self.batch.memory);
        }
    }

    /// Sees to it that everything queued is with the kernel, then gives the last batch's buffers back: sends copy
    /// their bytes before the call returns.
    fn settle(&mut self) {
        if self.hand_over() {
            for buffer in self.lent.drain(..) {
                self.buffers.give(buffer, &self.batch.memory);
            }
        }
    }

    /// Sees to it that everything queued is with the kernel; if so, the room of targets and of packets made here is
    /// free again.
    fn hand_over(&mut self) -> bool {
        for _ in 0..SETTLE_TRIES {
            if self.ring.submission().is_empty() {
                break;
            }
            // EBUSY or EAGAIN: the kernel wants completions to be reaped, or memory; the next turn goes on.
            if self.ring.submit().is_err() {
                return false;
            }
        }
        let done = self.ring.submission().is_empty();
        if done {
            self.targets_used = 0;
            self.batch.made_ends.clear();
        }
        done
    }

    fn arm(&mut self, slot: Slot, generation: u32) {
        let Some(descriptor) = self.descriptor(slot) else { return };
        let receive = opcode::RecvMsgMulti::new(descriptor, &raw const *self.header, GROUP)
            .build()
            .flags(self.file_flag())
            .user_data(Kind::Receive.tag(slot, generation));
        self.push(&receive);
    }

    fn disarm(&mut self, slot: Slot, generation: u32) {
        let cancel = opcode::AsyncCancel::new(Kind::Receive.tag(slot, generation)).build();
        self.push(&cancel.flags(squeue::Flags::SKIP_SUCCESS).user_data(Kind::Other.tag(slot, generation)));
    }

    fn listen_to_bell(&mut self) {
        let bell = Fd(self.bell.as_fd().as_raw_fd());
        let poll = opcode::PollAdd::new(bell, libc::POLLIN as u32).multi(true).build();
        self.push(&poll.user_data(Kind::Bell.tag(Slot(0), 0)));
    }

    /// How requests name a slot's socket: by its place in the ring's table, or by its descriptor.
    fn descriptor(&self, slot: Slot) -> Option<Fd> {
        let socket = self.sockets.get(slot)?;
        Some(Fd(if self.registered { slot.0 as i32 } else { socket.as_raw_fd() }))
    }

    fn file_flag(&self) -> squeue::Flags {
        if self.registered { squeue::Flags::FIXED_FILE } else { squeue::Flags::empty() }
    }

    fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: what entries point to lives in boxes and mappings of `self` that stay where they are: the header and
        // the buffers until `Drop` has waited; targets and packets of a batch until `settle` has seen the queue empty.
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            // The queue is full: let the kernel take it. Sends of this batch done here are done, nothing is reused yet.
            if let Err(error) = self.ring.submit()
                && !matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY))
            {
                tracing::error!(%error, "io_uring takes no more requests");
                return;
            }
        }
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        let second = Timespec::new().sec(1);
        // ENOENT when nothing was in flight.
        let _ = self.ring.submitter().register_sync_cancel(Some(second), CancelBuilder::any());
        if self.registered {
            // Else the sockets would stay bound until the kernel takes the ring apart, some time later.
            let _ = self.ring.submitter().unregister_files();
        }
    }
}

/// What a completion belongs to: the two highest bits of its user data; 30 bits of generation and 32 of slot follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Receive,
    Send,
    Bell,
    Other,
}

impl Kind {
    fn tag(self, slot: Slot, generation: u32) -> u64 {
        (self as u64) << 62 | u64::from(generation) << 32 | u64::from(slot.0)
    }

    fn parse(tag: u64) -> (Kind, Slot, u32) {
        let kind = match tag >> 62 {
            0 => Kind::Receive,
            1 => Kind::Send,
            2 => Kind::Bell,
            _ => Kind::Other,
        };
        (kind, Slot(tag as u32), (tag >> 32) as u32 & 0x3fff_ffff)
    }
}

/// The descriptions of free buffers, shared with the kernel, which takes them from the front.
struct BufferRing {
    memory: Memory,
    tail: u16,
}

impl BufferRing {
    fn new() -> io::Result<Self> {
        Ok(BufferRing { memory: Memory::new(usize::from(BUFFERS) * size_of::<BufRingEntry>())?, tail: 0 })
    }

    /// Lets the kernel write into a buffer of `packets`.
    fn give(&mut self, buffer: u16, packets: &Memory) {
        let place = usize::from(self.tail & (BUFFERS - 1));
        let start = packets.slice(usize::from(buffer) * BUFFER_BYTES, BUFFER_BYTES).as_ptr();
        // SAFETY: `place` is within the ring, whose entries are initialised (zeroes are valid); the kernel reads an
        // entry only after the tail has passed it. The tail overlays an unused field of the first entry, which the
        // setters leave alone.
        unsafe {
            let first = self.memory.as_ptr().cast::<BufRingEntry>();
            let entry = &mut *first.add(place);
            entry.set_addr(start as u64);
            entry.set_len(BUFFER_BYTES as u32);
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
            let tail = BufRingEntry::tail(first).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }
}

const GROUP: u16 = 0;
/// Provided buffers, a power of two: 10 ms of 100,000 packets a second. When they run out packets wait in the sockets.
const BUFFERS: u16 = 1024;
/// What the kernel writes before the payload: a header of four words, then the room for the source.
const PAYLOAD_AT: usize = 16 + RawAddress::MAX;
/// A packet with what stands before it, in whole cache lines.
const BUFFER_BYTES: usize = (PAYLOAD_AT + PACKET_MAX).next_multiple_of(64);
const SUBMISSIONS: u32 = 1024;
const COMPLETIONS: u32 = 4096;
/// Receives of a socket that may fail in a row before it is given up.
const FAILURES_MAX: u32 = 64;
const SETTLE_TRIES: usize = 4;

const _: () = assert!(BUFFERS.is_power_of_two() && BATCH < BUFFERS as usize && BATCH < SUBMISSIONS as usize);
