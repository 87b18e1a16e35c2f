//! Thin, safe wrappers of the system calls that the standard library lacks: clocks, batched receive with kernel
//! time stamps, UDP sends to prepared addresses, epoll. No policy.

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use socket2::{Domain, Protocol, Socket, Type};

/// Wall-clock nanoseconds since 1970: the clock of the kernel's receive stamps.
pub fn real_ns() -> u64 {
    clock_ns(libc::CLOCK_REALTIME)
}

/// Nanoseconds of a clock that nobody sets.
pub fn mono_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// CPU time that the calling thread has used, nanoseconds.
pub fn thread_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// CPU time that all threads of this process have used, nanoseconds.
pub fn process_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// CPU time of all threads of process `pid`, also those that ended, nanoseconds; `None` if it is gone.
pub fn cpu_ns_of(pid: u32) -> Option<u64> {
    let mut clock: libc::clockid_t = 0;
    // SAFETY: `clock` is a valid place to write to.
    let result = unsafe { libc::clock_getcpuclockid(libc::pid_t::try_from(pid).ok()?, &raw mut clock) };
    (result == 0).then(|| clock_ns(clock))
}

/// Moves the calling thread into a network namespace by the name that `ip netns` knows.
///
/// # Errors
/// There is none, or we may not.
pub fn enter_namespace(name: &str) -> io::Result<()> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let file = std::fs::File::open(std::path::Path::new("/run/netns").join(name))?;
    // SAFETY: the descriptor is open through the call; a namespace of another kind is refused.
    let result = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The kernel's number of the calling thread.
pub fn thread_id() -> u32 {
    // SAFETY: takes no argument and cannot fail.
    unsafe { libc::gettid() }.unsigned_abs()
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place to write to; a clock that is not there leaves it as it is.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

fn timespec(ns: u64) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(ns / 1_000_000_000).unwrap_or(libc::time_t::MAX),
        tv_nsec: (ns % 1_000_000_000) as libc::c_long,
    }
}

/// Sleeps until the wall clock shows `at_ns`. May return early after a signal.
pub fn sleep_until_real(at_ns: u64) {
    let time = timespec(at_ns);
    // SAFETY: `time` is valid, and no remainder is asked for.
    unsafe {
        libc::clock_nanosleep(libc::CLOCK_REALTIME, libc::TIMER_ABSTIME, &raw const time, ptr::null_mut())
    };
}

/// Sleeps until the clock that nobody sets shows `at_ns`. May return early after a signal.
pub fn sleep_until(at_ns: u64) {
    let time = timespec(at_ns);
    // SAFETY: `time` is valid, and no remainder is asked for.
    unsafe {
        libc::clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &raw const time, ptr::null_mut())
    };
}

/// What the clock that nobody sets showed when the wall clock showed `real_at_ns`, a moment ago.
pub fn mono_at(real_at_ns: u64) -> u64 {
    mono_ns().saturating_sub(real_ns().saturating_sub(real_at_ns))
}

/// `command` is asked to end when the thread that started it does, however that comes about.
pub fn end_with_us(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    let ask = || {
        // SAFETY: PR_SET_PDEATHSIG takes a number.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM as libc::c_ulong) };
        Ok(())
    };
    // SAFETY: between fork and exec it makes one system call and touches no memory.
    unsafe { command.pre_exec(ask) };
}

/// Makes sleeps of the calling thread exact (the default lets the kernel add 50 µs), and pins it to `cpu` if given.
/// Both are wishes: a kernel that refuses changes nothing but the lateness that is reported.
pub fn sharpen_thread(cpu: Option<usize>) {
    // An ordinary thread that asks for short slices is let in sooner when it wakes up (Linux 6.12; older ones ignore
    // or refuse it). It gets no larger share by that.
    let short_slices =
        SchedAttr { size: size_of::<SchedAttr>() as u32, runtime: 100_000, ..SchedAttr::default() };
    // SAFETY: PR_SET_TIMERSLACK takes a number; the attributes are valid and their size is told; `set` is a plain bit
    // set, and CPU_SET checks nothing but its size, which `cpu` is compared with.
    unsafe {
        libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong);
        libc::syscall(libc::SYS_sched_setattr, 0, &raw const short_slices, 0);
        if let Some(cpu) = cpu.filter(|&cpu| cpu < libc::CPU_SETSIZE as usize) {
            let mut set: libc::cpu_set_t = mem::zeroed();
            libc::CPU_SET(cpu, &mut set);
            libc::sched_setaffinity(0, mem::size_of::<libc::cpu_set_t>(), &raw const set);
        }
    }
}

/// `struct sched_attr` of sched_setattr(2), its first version.
#[repr(C)]
#[derive(Default)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Raises the descriptor limit of this process to its hard limit and returns it.
pub fn raise_descriptor_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for both calls.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
    limit.rlim_cur
}

/// A UDP socket that does not block and stamps what it receives. `buffer_bytes` is the receive buffer wished for.
///
/// # Errors
/// As `bind`: address in use, not ours, no descriptor left.
pub fn udp_socket(address: SocketAddr, buffer_bytes: usize) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // Beyond the system's maximum only with privilege; the kernel cuts the plain wish down by itself.
    if set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, buffer_bytes as libc::c_int)
        .is_err()
    {
        socket.set_recv_buffer_size(buffer_bytes)?;
    }
    set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// An even port and the next one, both free at `ip`: RTP and RTCP (RFC 3550 section 11).
///
/// # Errors
/// As `bind`, after 200 tries.
pub fn udp_pair(ip: IpAddr, buffer_bytes: usize) -> io::Result<(UdpSocket, UdpSocket)> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..200 {
        let rtp = udp_socket(SocketAddr::new(ip, 0), buffer_bytes)?;
        let port = rtp.local_addr()?.port();
        // The kernel hands out odd and even ports: keep the first one where it fits, look beside it where not.
        let (first, second) = if port.is_multiple_of(2) { (port, port + 1) } else { (port - 1, port) };
        let other = if port == first { second } else { first };
        match udp_socket(SocketAddr::new(ip, other), buffer_bytes) {
            Ok(other) if port == first => return Ok((rtp, other)),
            Ok(other) => return Ok((other, rtp)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn set_option(fd: RawFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: `value` is an int, as these options take, and its size is told.
    let result = unsafe {
        let size = mem::size_of::<libc::c_int>() as libc::socklen_t;
        libc::setsockopt(fd, level, name, (&raw const value).cast(), size)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Packets that the kernel dropped because this socket's buffer was full, since it was opened.
pub fn kernel_drops(socket: &impl AsRawFd) -> u64 {
    const DROPS: usize = 8; // SK_MEMINFO_DROPS
    let mut info = [0u32; 9];
    let mut len = mem::size_of_val(&info) as libc::socklen_t;
    // SAFETY: `info` is writable for the `len` bytes that are told.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if result == 0 { u64::from(info[DROPS]) } else { 0 }
}

/// A socket address in the kernel's form, made once and used for every send.
#[derive(Clone, Copy)]
pub struct Target {
    storage: libc::sockaddr_storage,
    len: libc::socklen_t,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.address().fmt(f)
    }
}

impl Target {
    /// The address it was made of, or that the kernel wrote; `None` for another family.
    pub fn address(&self) -> Option<SocketAddr> {
        address_of(&self.storage)
    }

    /// Pointer and length for a call that is made while `self` stays in place.
    pub(crate) fn raw(&self) -> (*const libc::sockaddr, libc::socklen_t) {
        ((&raw const self.storage).cast(), self.len)
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        // SAFETY: all zeroes is a valid storage; the casts write a smaller struct into its beginning, and the storage
        // is aligned for all of them.
        unsafe {
            let mut storage: libc::sockaddr_storage = mem::zeroed();
            let len = match address {
                SocketAddr::V4(v4) => {
                    let out = (&raw mut storage).cast::<libc::sockaddr_in>();
                    (*out).sin_family = libc::AF_INET as libc::sa_family_t;
                    (*out).sin_port = v4.port().to_be();
                    (*out).sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
                    mem::size_of::<libc::sockaddr_in>()
                }
                SocketAddr::V6(v6) => {
                    let out = (&raw mut storage).cast::<libc::sockaddr_in6>();
                    (*out).sin6_family = libc::AF_INET6 as libc::sa_family_t;
                    (*out).sin6_port = v6.port().to_be();
                    (*out).sin6_addr.s6_addr = v6.ip().octets();
                    (*out).sin6_scope_id = v6.scope_id();
                    mem::size_of::<libc::sockaddr_in6>()
                }
            };
            Target { storage, len: len as libc::socklen_t }
        }
    }
}

fn address_of(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    // SAFETY: the family says which struct the kernel wrote; the storage is large and aligned enough for each.
    unsafe {
        match libc::c_int::from(storage.ss_family) {
            libc::AF_INET => {
                let v4 = &*(&raw const *storage).cast::<libc::sockaddr_in>();
                let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddr::new(ip.into(), u16::from_be(v4.sin_port)))
            }
            libc::AF_INET6 => {
                let v6 = &*(&raw const *storage).cast::<libc::sockaddr_in6>();
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                Some(SocketAddr::new(ip.into(), u16::from_be(v6.sin6_port)))
            }
            _ => None,
        }
    }
}

/// Sends one datagram without waiting.
///
/// # Errors
/// As `sendto`: a full buffer (`WouldBlock`), or an ICMP error of an earlier packet.
pub fn send_to(socket: &impl AsRawFd, bytes: &[u8], target: &Target) -> io::Result<()> {
    // SAFETY: the buffer and the address are valid for the lengths told.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            (&raw const target.storage).cast(),
            target.len,
        )
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Waits until `socket` is readable or the wall clock shows `until_ns`. May return early.
pub fn wait_readable(socket: &impl AsRawFd, until_ns: u64) {
    wait_readable_for(socket, until_ns.saturating_sub(real_ns()));
}

/// Waits until `socket` is readable, at most so many nanoseconds. May return early.
pub fn wait_readable_for(socket: &impl AsRawFd, ns: u64) {
    let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let timeout = timespec(ns);
    // SAFETY: one pollfd, a valid timeout, and no signal mask.
    unsafe { libc::ppoll(&raw mut poll, 1, &raw const timeout, ptr::null()) };
}

/// One received datagram, borrowed from its [`Inbox`].
#[derive(Debug)]
pub struct Datagram<'a> {
    /// What came; longer ones are cut at the inbox's size.
    pub bytes: &'a [u8],
    /// Who sent it.
    pub source: SocketAddr,
    /// When the kernel took it in, wall-clock nanoseconds; the time of reading where the kernel gave none.
    pub arrived_ns: u64,
}

/// Buffers for receiving many datagrams in one system call.
pub struct Inbox {
    bytes: Vec<u8>,
    size: usize,
    sources: Vec<libc::sockaddr_storage>,
    controls: Vec<[u64; CONTROL_WORDS]>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

const CONTROL_WORDS: usize = 8; // one time stamp needs 32 bytes

// SAFETY: the raw pointers inside lead only to the inbox's own heap blocks, which move with it.
unsafe impl Send for Inbox {}

impl Inbox {
    /// Room for `batch` datagrams of up to `size` bytes.
    pub fn new(batch: usize, size: usize) -> Self {
        // SAFETY: all zeroes is a valid value of these plain C structs.
        let (source, vector, header) = unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
        let mut inbox = Inbox {
            bytes: vec![0; batch * size],
            size,
            sources: vec![source; batch],
            controls: vec![[0; CONTROL_WORDS]; batch],
            vectors: vec![vector; batch],
            headers: vec![header; batch],
        };
        for i in 0..batch {
            inbox.vectors[i] =
                libc::iovec { iov_base: inbox.bytes[i * size..].as_mut_ptr().cast(), iov_len: size };
            let header = &mut inbox.headers[i].msg_hdr;
            header.msg_name = (&raw mut inbox.sources[i]).cast();
            header.msg_iov = &raw mut inbox.vectors[i];
            header.msg_iovlen = 1;
            header.msg_control = (&raw mut inbox.controls[i]).cast();
        }
        inbox
    }

    /// Reads what waits, at most one batch, without waiting, and shows each datagram. Returns how many came.
    ///
    /// # Errors
    /// As `recvmmsg`, except that an empty socket is 0.
    pub fn receive(
        &mut self,
        socket: &impl AsRawFd,
        mut each: impl FnMut(Datagram<'_>),
    ) -> io::Result<usize> {
        for message in &mut self.headers {
            message.msg_hdr.msg_namelen = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            message.msg_hdr.msg_controllen = mem::size_of::<[u64; CONTROL_WORDS]>();
        }
        // SAFETY: every header leads to buffers of this inbox, which live and stay in place through the call.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.headers.len() as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::WouldBlock { Ok(0) } else { Err(error) };
        }
        let count = count.unsigned_abs() as usize;
        for i in 0..count {
            let Some(source) = address_of(&self.sources[i]) else { continue };
            let len = (self.headers[i].msg_len as usize).min(self.size);
            let bytes = &self.bytes[i * self.size..i * self.size + len];
            let arrived_ns = stamp_of(&self.headers[i].msg_hdr).unwrap_or_else(real_ns);
            each(Datagram { bytes, source, arrived_ns });
        }
        Ok(count)
    }
}

/// The kernel's receive stamp among the control messages.
fn stamp_of(header: &libc::msghdr) -> Option<u64> {
    // SAFETY: the kernel filled the control buffer and its length; the macros stay within it.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            if (*message).cmsg_level == libc::SOL_SOCKET && (*message).cmsg_type == libc::SCM_TIMESTAMPNS {
                let time = ptr::read_unaligned(libc::CMSG_DATA(message).cast::<libc::timespec>());
                return Some(time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs());
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    None
}

/// An epoll instance; every socket has a number that comes back when it is readable.
#[derive(Debug)]
pub struct Epoll {
    fd: OwnedFd,
}

impl Epoll {
    /// # Errors
    /// No descriptor left.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes only flags; the result is checked before it is owned.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a fresh descriptor that nobody else owns.
        Ok(Epoll { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Watches `socket` for reading (level-triggered) under `number`.
    ///
    /// # Errors
    /// As `epoll_ctl`.
    pub fn add(&self, socket: &impl AsRawFd, number: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: number };
        // SAFETY: both descriptors are open and `event` is valid.
        let result = unsafe {
            libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &raw mut event)
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Waits up to `timeout_ms` (0: not at all) and puts the numbers of readable sockets into `ready`, at most its
    /// capacity.
    pub fn wait(&self, ready: &mut Vec<u64>, timeout_ms: i32) {
        const EVENTS: usize = 64;
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
        let room = ready.capacity().clamp(1, EVENTS);
        ready.clear();
        // SAFETY: `events` has room for the number told.
        let count = unsafe {
            libc::epoll_wait(self.fd.as_raw_fd(), events.as_mut_ptr(), room as libc::c_int, timeout_ms)
        };
        ready.extend(events.iter().take(usize::try_from(count).unwrap_or(0)).map(|event| event.u64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_kernel_s_form() {
        for text in ["127.0.0.9:4000", "[2001:db8::7]:65535"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(Target::from(address).address(), Some(address));
        }
    }

    #[test]
    fn datagrams_come_with_source_and_kernel_stamp() {
        let (a, b) = udp_pair(Ipv4Addr::LOCALHOST.into(), 1 << 16).unwrap();
        let (from, to) = (a.local_addr().unwrap(), b.local_addr().unwrap());
        assert!(from.port().is_multiple_of(2) && to.port() == from.port() + 1);
        let before = real_ns();
        send_to(&a, b"one", &to.into()).unwrap();
        send_to(&a, b"two", &to.into()).unwrap();
        let mut inbox = Inbox::new(4, 64);
        let mut seen = Vec::new();
        let count = inbox.receive(&b, |d| seen.push((d.bytes.to_vec(), d.source, d.arrived_ns))).unwrap();
        assert_eq!(count, 2);
        assert_eq!((seen[0].0.as_slice(), seen[1].0.as_slice()), (&b"one"[..], &b"two"[..]));
        assert!(seen.iter().all(|s| s.1 == from && s.2 >= before && s.2 <= real_ns()));
        assert_eq!(inbox.receive(&b, |_| ()).unwrap(), 0);
        assert_eq!(kernel_drops(&b), 0);
    }

    #[test]
    fn drops_of_a_full_socket_are_counted_by_the_kernel() {
        let (a, b) = udp_pair(Ipv4Addr::LOCALHOST.into(), 4096).unwrap();
        let to = Target::from(b.local_addr().unwrap());
        for _ in 0..100 {
            send_to(&a, &[0; 172], &to).unwrap();
        }
        let mut inbox = Inbox::new(100, 256);
        let received = inbox.receive(&b, |_| ()).unwrap();
        assert_eq!(received as u64 + kernel_drops(&b), 100);
    }
}
