//! The few calls into the kernel that neither std nor socket2 has, each behind a safe function. Linux only.
#![expect(unsafe_code, reason = "system calls")]

use crate::address;
use base::Wake;
use core::net::IpAddr;
use core::ptr::NonNull;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;

/// Turns the kernel's -1 into its error.
pub fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A counter in the kernel that wakes a thread which waits in epoll or io_uring. Clones are the same.
#[derive(Clone, Debug)]
pub struct Bell {
    descriptor: Arc<OwnedFd>,
}

impl Bell {
    /// # Errors
    /// No descriptor left.
    pub fn new() -> io::Result<Bell> {
        // SAFETY: takes no pointer; the result is checked and owned by nobody else.
        let descriptor =
            unsafe { OwnedFd::from_raw_fd(check(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK))?) };
        Ok(Bell { descriptor: Arc::new(descriptor) })
    }

    /// Rings: the descriptor is readable until [`Bell::quiet`].
    pub fn ring(&self) {
        // SAFETY: the descriptor is open as long as `self`. It can only fail when the counter is full, and then the
        // bell is ringing already.
        unsafe { libc::eventfd_write(self.descriptor.as_raw_fd(), 1) };
    }

    /// Makes the descriptor unreadable.
    pub fn quiet(&self) {
        let mut count = 0;
        // SAFETY: the pointer is to a live number; the descriptor does not block.
        unsafe { libc::eventfd_read(self.descriptor.as_raw_fd(), &raw mut count) };
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Wake for Bell {
    fn wake(&self) {
        self.ring();
    }
}

/// Page-aligned zeroed memory that the kernel may write into while we hold slices of other parts of it.
#[derive(Debug)]
pub struct Memory {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: it owns its pages; the pointer is not shared.
unsafe impl Send for Memory {}

impl Memory {
    /// # Errors
    /// The kernel has no such memory.
    pub fn new(len: usize) -> io::Result<Memory> {
        assert!(len > 0, "memory of no bytes");
        // SAFETY: a fresh private mapping; the result is checked.
        let start = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            libc::mmap(core::ptr::null_mut(), len, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
        Ok(Memory { start, len })
    }

    /// Where it begins; valid for all its bytes while `self` lives.
    pub fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// A part of it.
    ///
    /// # Panics
    /// If the part is not within it.
    #[inline]
    pub fn slice(&self, start: usize, len: usize) -> &[u8] {
        assert!(start <= self.len && len <= self.len - start, "a slice within the memory");
        // SAFETY: checked to be inside the mapping, which is initialised; nobody here writes while `self` is borrowed,
        // and the kernel only into buffers that were handed to it, of which nobody keeps slices.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr().add(start), len) }
    }

    /// A part of it, to write.
    ///
    /// # Panics
    /// If the part is not within it.
    #[inline]
    pub fn slice_mut(&mut self, start: usize, len: usize) -> &mut [u8] {
        assert!(start <= self.len && len <= self.len - start, "a slice within the memory");
        // SAFETY: as for `slice`, and `self` is borrowed alone.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr().add(start), len) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: this is the whole mapping that `new` made; slices of it borrow `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// How many packets the kernel has dropped at this socket because its queue was full; counts up, wraps at 2^32.
pub fn kernel_drops(socket: BorrowedFd<'_>) -> u32 {
    let mut info = [0u32; 9]; // SK_MEMINFO_VARS
    let mut len = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the pointers are to live values of the lengths that are told.
    let result = unsafe {
        let (level, name) = (libc::SOL_SOCKET, libc::SO_MEMINFO);
        libc::getsockopt(socket.as_raw_fd(), level, name, info.as_mut_ptr().cast(), &raw mut len)
    };
    if result == 0 { info[8] } else { 0 } // SK_MEMINFO_DROPS
}

/// Keeps the calling thread on one CPU.
///
/// # Errors
/// There is no such CPU, or it is not allowed.
pub fn pin_to(cpu: usize) -> io::Result<()> {
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: all zeroes is the empty set; `cpu` is within it; the pointer is to a live set of the length told.
    unsafe {
        let mut set: libc::cpu_set_t = core::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        check(libc::sched_setaffinity(0, size_of_val(&set), &raw const set)).map(drop)
    }
}

/// The CPUs that this process may run on, in order.
pub fn allowed_cpus() -> Vec<usize> {
    // SAFETY: all zeroes is the empty set; the pointer is to a live set of the length told; the numbers are within it.
    unsafe {
        let mut set: libc::cpu_set_t = core::mem::zeroed();
        if libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) != 0 {
            return vec![0];
        }
        (0..libc::CPU_SETSIZE as usize).filter(|cpu| libc::CPU_ISSET(*cpu, &set)).collect()
    }
}

/// CPU time of the calling thread, nanoseconds.
pub fn thread_cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live value; the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// How many descriptors the process may have: now, and at most.
pub fn descriptor_limits() -> (u64, u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live value.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    (limit.rlim_cur, limit.rlim_max)
}

/// Raises the number of descriptors that the process may have to what is allowed at most, and tells it. For `main`,
/// once at the start: every call takes four.
pub fn raise_descriptor_limit() -> u64 {
    let (now, most) = descriptor_limits();
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: the pointer is to a live value.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    if result == 0 { most } else { now }
}

/// The addresses of this machine's interfaces; none if the kernel does not tell.
pub fn own_addresses() -> Vec<IpAddr> {
    let mut list: *mut libc::ifaddrs = core::ptr::null_mut();
    let mut own = Vec::new();
    // SAFETY: the kernel's list is walked until its end before it is freed; an address is read with the length of its
    // family only, and only families with a known length are read.
    unsafe {
        if libc::getifaddrs(&raw mut list) != 0 {
            return own;
        }
        let mut next = list;
        while let Some(entry) = next.as_ref() {
            next = entry.ifa_next;
            let len = match entry.ifa_addr.as_ref().map(|address| i32::from(address.sa_family)) {
                Some(libc::AF_INET) => size_of::<libc::sockaddr_in>(),
                Some(libc::AF_INET6) => size_of::<libc::sockaddr_in6>(),
                _ => continue,
            };
            let bytes = core::slice::from_raw_parts(entry.ifa_addr.cast::<u8>(), len);
            own.extend(address::parse(bytes).map(|address| address.ip()));
        }
        libc::freeifaddrs(list);
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_zeroed_and_sliced_within_its_bounds() {
        let mut memory = Memory::new(8192).unwrap();
        assert!(memory.slice(0, 8192).iter().all(|byte| *byte == 0));
        memory.slice_mut(8190, 2).copy_from_slice(&[1, 2]);
        assert_eq!(memory.slice(8190, 2), [1, 2]);
        assert!(std::panic::catch_unwind(|| Memory::new(16).unwrap().slice(16, 1).len()).is_err());
    }

    #[test]
    fn the_machine_knows_its_loopback_address() {
        assert!(own_addresses().iter().any(IpAddr::is_loopback));
    }

    #[test]
    fn the_process_may_run_somewhere_and_be_pinned_there() {
        let cpu = allowed_cpus()[0];
        std::thread::scope(|scope| {
            scope.spawn(|| pin_to(cpu).unwrap());
            scope.spawn(|| assert!(pin_to(usize::MAX).is_err()));
        });
    }
}
