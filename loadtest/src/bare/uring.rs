//! The bare relay with io_uring: multishot receive from a socket a port into provided buffers, sends in the same
//! ring, one system call a turn, one thread.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::mpsc;

use io_uring::types::{BufRingEntry, Fixed, RecvMsgOut, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};

use super::{Bare, Pair, Used};
use crate::sys::{self, Target};

/// Starts the relay. It runs until [`Bare::stop`].
///
/// # Errors
/// The kernel (or the container) forbids io_uring or lacks multishot receive; no descriptor or thread left.
pub fn start(pairs: Vec<Pair>, cpu: Option<usize>) -> io::Result<Bare> {
    let mut ports = Vec::with_capacity(pairs.len() * 2);
    for Pair { x, y, x_peer, y_peer } in pairs {
        // What arrives at port 2n leaves through 2n + 1, and the other way round.
        ports.push(Port { socket: x, peer: Target::from(x_peer) });
        ports.push(Port { socket: y, peer: Target::from(y_peer) });
    }
    // The ring belongs to the thread that made it, so that the kernel may do its work there.
    let (ready, made) = mpsc::channel();
    let bare = Bare::spawn("bare-uring", move |stop| {
        sys::sharpen_thread(cpu);
        match Relay::new(ports) {
            Ok(mut relay) => {
                let _ = ready.send(Ok(()));
                relay.run(stop)
            }
            Err(error) => {
                let _ = ready.send(Err(error));
                Used::default()
            }
        }
    })?;
    made.recv().map_err(|_| io::Error::other("the relay's thread ended at once"))??;
    Ok(bare)
}

struct Port {
    socket: UdpSocket,
    peer: Target,
}

struct Relay {
    ring: IoUring,
    buffers: Buffers,
    /// What a multishot receive is told about names and control data; must outlive the requests.
    header: Box<libc::msghdr>,
    ports: Vec<Port>,
    /// Buffers whose sends are in the submission queue: free when the next system call has returned.
    sending: Vec<u16>,
    used: Used,
}

const ENTRIES: u32 = 2048;
const GROUP: u16 = 0;
const SEND: u64 = 1 << 63;
const NAME_BYTES: u32 = size_of::<libc::sockaddr_in6>() as u32;

impl Relay {
    fn new(ports: Vec<Port>) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_coop_taskrun()
            .setup_cqsize(ENTRIES * 4)
            .build(ENTRIES)?;
        let buffers = Buffers::new();
        // SAFETY: the memory is page-aligned, has room for all entries, and lives as long as the ring (`Relay`
        // drops the ring first).
        unsafe {
            let address = buffers.ring.as_ptr() as u64;
            ring.submitter().register_buf_ring_with_flags(address, Buffers::COUNT, GROUP, 0)?;
        }
        let files: Vec<_> = ports.iter().map(|port| port.socket.as_raw_fd()).collect();
        ring.submitter().register_files(&files)?;
        // SAFETY: all zeroes is a valid msghdr; only the name's length is read.
        let mut header: Box<libc::msghdr> = Box::new(unsafe { std::mem::zeroed() });
        header.msg_namelen = NAME_BYTES;
        let mut relay =
            Relay { ring, buffers, header, ports, sending: Vec::with_capacity(4096), used: Used::default() };
        for number in 0..relay.ports.len() {
            relay.receive(number);
        }
        Ok(relay)
    }

    fn run(&mut self, stop: &AtomicBool) -> Used {
        let pause = Timespec::new().nsec(50_000_000);
        let mut completions: Vec<cqueue::Entry> = Vec::with_capacity(ENTRIES as usize);
        while !stop.load(Ordering::Relaxed) {
            // Ends with ETIME when nothing comes; whatever else goes wrong shows as missing packets.
            let _ = self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&pause));
            self.give_back_sent();
            completions.extend(self.ring.completion().take(ENTRIES as usize));
            for completion in completions.drain(..) {
                self.handle(&completion);
            }
        }
        self.used
    }

    fn handle(&mut self, completion: &cqueue::Entry) {
        if completion.user_data() & SEND != 0 {
            // Only failures are told.
            self.used.packets -= 1;
            self.used.send_errors += 1;
            return;
        }
        let number = completion.user_data() as usize;
        if let Some(buffer) = cqueue::buffer_select(completion.flags()) {
            match self.buffers.payload(buffer, completion.result(), &self.header) {
                Some((payload, len)) => self.send(number ^ 1, buffer, payload, len),
                None => self.buffers.give_back(buffer),
            }
        }
        if !cqueue::more(completion.flags()) {
            self.receive(number);
        }
    }

    fn receive(&mut self, number: usize) {
        let entry = opcode::RecvMsgMulti::new(Fixed(number as u32), &raw const *self.header, GROUP)
            .build()
            .user_data(number as u64);
        self.push(&entry);
    }

    fn send(&mut self, number: usize, buffer: u16, payload: *const u8, len: u32) {
        let (address, address_len) = self.ports[number].peer.raw();
        // Without MSG_DONTWAIT a full send buffer would keep the request, and its buffer would be reused under it.
        let entry = opcode::Send::new(Fixed(number as u32), payload, len)
            .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
            .dest_addr(address)
            .dest_addr_len(address_len)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(SEND | number as u64);
        self.push(&entry);
        self.sending.push(buffer);
        self.used.packets += 1;
    }

    fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: what the entries point to (header, peers, buffers) lives in `self`, is not moved while the ring
        // lives, and buffers are given back only after the call that has done their sends.
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            let _ = self.ring.submit();
            self.give_back_sent();
        }
    }

    fn give_back_sent(&mut self) {
        for buffer in self.sending.drain(..) {
            self.buffers.give_back(buffer);
        }
    }
}

/// The provided buffers: a ring of descriptions shared with the kernel, and the memory that they describe.
struct Buffers {
    ring: NonNull<BufRingEntry>,
    memory: Vec<u8>,
    tail: u16,
}

// SAFETY: the pointer leads to memory that only this struct (and the kernel) uses.
unsafe impl Send for Buffers {}

impl Buffers {
    const COUNT: u16 = 2048;
    const SIZE: usize = 2048;
    const LAYOUT: Layout = {
        match Layout::from_size_align(Self::COUNT as usize * size_of::<BufRingEntry>(), 4096) {
            Ok(layout) => layout,
            Err(_) => panic!("constant sizes are valid"),
        }
    };

    fn new() -> Self {
        // SAFETY: the layout has a size; the result is checked.
        let ring = unsafe { alloc_zeroed(Self::LAYOUT) }.cast::<BufRingEntry>();
        let Some(ring) = NonNull::new(ring) else { handle_alloc_error(Self::LAYOUT) };
        let memory = vec![0; usize::from(Self::COUNT) * Self::SIZE];
        let mut buffers = Buffers { ring, memory, tail: 0 };
        (0..Self::COUNT).for_each(|buffer| buffers.give_back(buffer));
        buffers
    }

    fn give_back(&mut self, buffer: u16) {
        let place = usize::from(self.tail % Self::COUNT);
        // SAFETY: `place` is within the ring; zeroed entries are initialised; the tail lives in the first entry
        // and is written after the entry that it publishes.
        unsafe {
            let entry = &mut *self.ring.as_ptr().add(place);
            entry.set_addr(self.memory.as_ptr().add(usize::from(buffer) * Self::SIZE) as u64);
            entry.set_len(Self::SIZE as u32);
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
            let tail = BufRingEntry::tail(self.ring.as_ptr()).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }

    /// The datagram in a filled buffer; `None` if the receive failed.
    fn payload(&self, buffer: u16, result: i32, header: &libc::msghdr) -> Option<(*const u8, u32)> {
        let len = usize::try_from(result).ok()?;
        let at = usize::from(buffer) * Self::SIZE;
        let out = RecvMsgOut::parse(&self.memory[at..at + len.min(Self::SIZE)], header).ok()?;
        let payload = out.payload_data();
        Some((payload.as_ptr(), payload.len() as u32))
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and the kernel's ring is gone by now.
        unsafe { dealloc(self.ring.as_ptr().cast(), Self::LAYOUT) };
    }
}
