//! The back end that runs anywhere: epoll tells which sockets have packets, one system call fetches or sends each.
//! Level-triggered and one packet a socket a turn: at 50 packets a second a port there is hardly ever a second one,
//! asking for it would cost a call, and no socket can keep the others waiting.
#![expect(unsafe_code, reason = "system calls that neither std nor socket2 has in this form")]

use super::{BATCH, Batch, Io, PACKET_MAX, Sockets};
use crate::address::{self, RawAddress};
use crate::ports::drain;
use crate::sys::{Bell, Memory, check};
use core::net::SocketAddr;
use core::time::Duration;
use media::Slot;
use socket2::Socket;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

/// See the module.
#[derive(Debug)]
pub struct Epoll {
    epoll: OwnedFd,
    bell: Bell,
    sockets: Sockets,
    ready: Vec<libc::epoll_event>,
    batch: Batch,
}

const BELL: u64 = u64::MAX;

impl Io for Epoll {
    const NAME: &'static str = "epoll";

    fn new(slots_max: u32, bell: Bell) -> io::Result<Self> {
        // SAFETY: takes no pointer; the result is checked and owned by nobody else.
        let epoll = unsafe { OwnedFd::from_raw_fd(check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?) };
        let batch = Batch::new(Memory::new(BATCH * PACKET_MAX)?)?;
        let sockets = Sockets::with_max(slots_max);
        let back_end = Epoll { epoll, bell, sockets, ready: Vec::with_capacity(BATCH), batch };
        // Told once for each ring: nothing needs to be read.
        back_end.add(back_end.bell.as_fd().as_raw_fd(), BELL, libc::EPOLLIN | libc::EPOLLET)?;
        Ok(back_end)
    }

    fn open(&mut self, slot: Slot, socket: Socket) -> io::Result<()> {
        let descriptor = socket.as_raw_fd();
        let generation = self.sockets.insert(slot, socket)?;
        let added = self.add(descriptor, u64::from(generation) << 32 | u64::from(slot.0), libc::EPOLLIN);
        if added.is_err() {
            self.sockets.remove(slot);
        }
        added
    }

    fn close(&mut self, slot: Slot) {
        // Closing the only descriptor of a socket takes it out of epoll.
        drop(self.sockets.remove(slot));
    }

    fn rest(&mut self, _slot: Slot) {
        // To take it out of epoll and to put it in again would be two system calls; hardly anything comes.
    }

    fn resume(&mut self, slot: Slot) -> u64 {
        self.sockets.get(slot).map_or(0, drain)
    }

    fn socket(&self, slot: Slot) -> Option<&Socket> {
        self.sockets.get(slot)
    }

    fn wait(&mut self, timeout: Duration) {
        // Rounded up: waking before the time would only mean to wait again.
        let milliseconds = timeout.as_nanos().div_ceil(1_000_000).min(60_000) as i32;
        // SAFETY: there is room for BATCH events, and the kernel tells how many it wrote. An error (a signal) leaves
        // none.
        unsafe {
            let (room, max) = (self.ready.as_mut_ptr(), BATCH as i32);
            let count = libc::epoll_wait(self.epoll.as_raw_fd(), room, max, milliseconds);
            self.ready.set_len(count.max(0) as usize);
        }
    }

    fn recv(&mut self) {
        self.batch.clear();
        for event in self.ready.drain(..) {
            if event.u64 == BELL {
                continue;
            }
            // The slot may have been closed, and even opened again, since epoll spoke.
            let (slot, generation) = (Slot(event.u64 as u32), (event.u64 >> 32) as u32);
            let Some(socket) = self.sockets.current(slot, generation).and_then(|p| p.socket.as_ref()) else {
                continue;
            };
            let start = self.batch.packets.len() * PACKET_MAX;
            let buffer = self.batch.memory.slice_mut(start, PACKET_MAX);
            if let Some((len, source)) = receive(socket.as_raw_fd(), buffer) {
                self.batch.push(slot, source, start, len);
            }
        }
    }

    fn batch(&mut self) -> &mut Batch {
        &mut self.batch
    }

    fn send(&mut self) {
        for i in 0..self.batch.sends() {
            let (hop, bytes) = self.batch.sending(i);
            let sent = self.sockets.get(hop.slot).is_some_and(|s| send(s.as_raw_fd(), bytes, hop.target));
            if !sent {
                self.batch.fail(hop.slot);
            }
        }
        self.batch.sends.clear();
        self.batch.made_ends.clear();
    }

    fn flush(&mut self) {
        self.send();
    }
}

impl Epoll {
    fn add(&self, descriptor: RawFd, data: u64, events: i32) -> io::Result<()> {
        let mut event = libc::epoll_event { events: events as u32, u64: data };
        // SAFETY: both descriptors are open, and the pointer is to a live event.
        let result = unsafe {
            libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, descriptor, &raw mut event)
        };
        check(result).map(drop)
    }
}

/// One datagram: its true length, which may be more than was kept, and its source.
fn receive(descriptor: RawFd, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
    let mut source = RawAddress::EMPTY;
    // An ICMP error that came for an earlier packet is told here, in the place of a packet: try once more.
    for _ in 0..2 {
        let mut source_len = RawAddress::MAX as libc::socklen_t;
        // SAFETY: the pointers are to live memory of the lengths that are told.
        let len = unsafe {
            let (start, flags) = (buffer.as_mut_ptr().cast(), libc::MSG_DONTWAIT | libc::MSG_TRUNC);
            let source = source.room().as_mut_ptr().cast();
            libc::recvfrom(descriptor, start, buffer.len(), flags, source, &raw mut source_len)
        };
        if let Ok(len) = usize::try_from(len) {
            return Some((len, address::parse(source.room())?));
        }
        if io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock {
            return None;
        }
    }
    None
}

fn send(descriptor: RawFd, bytes: &[u8], target: SocketAddr) -> bool {
    let target = RawAddress::from(target);
    // As in `receive`, an old ICMP error may be told here.
    for _ in 0..2 {
        // SAFETY: the pointers are to live memory of the lengths that are told.
        let sent = unsafe {
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            let (address, len) = (target.as_bytes().as_ptr().cast(), target.as_bytes().len());
            let len = len as libc::socklen_t;
            libc::sendto(descriptor, bytes.as_ptr().cast(), bytes.len(), flags, address, len)
        };
        if sent >= 0 {
            return true;
        }
        if io::Error::last_os_error().kind() != io::ErrorKind::ConnectionRefused {
            return false;
        }
    }
    false
}
