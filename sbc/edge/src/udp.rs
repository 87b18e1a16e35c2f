//! Sockets. Datagrams of the signalling thread are received in batches with the local address that the peer used, and
//! sent from the address that was asked for; kernel drops and ICMP errors are told. Addresses are bound twice, and a
//! program of the kernel chooses by the source. The only unsafe code of this crate.

use core::mem::{MaybeUninit, size_of, zeroed};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// One bound datagram socket.
#[derive(Debug)]
pub struct UdpSocket {
    socket: Socket,
    local: SocketAddr,
    /// The kernel's count of datagrams that it dropped because our queue was full, as last told.
    drops: u32,
}

/// The sockets of one address that one signalling thread reads.
#[derive(Debug)]
pub struct Paths {
    /// For sources that the configuration names; all that we send goes out here.
    pub known: UdpSocket,
    /// For all others; `None` where the kernel cannot tell them apart, then all arrive on the other one.
    pub strangers: Option<UdpSocket>,
}

/// What was received.
#[derive(Clone, Copy, Debug)]
pub struct Datagram {
    /// Bytes of it, from the start of its buffer.
    pub len: usize,
    /// From whom.
    pub remote: SocketAddr,
    /// To which of our addresses.
    pub local: SocketAddr,
    /// It was longer than the buffer.
    pub truncated: bool,
}

/// Datagrams that one system call takes.
pub const BATCH: usize = 32;
/// The longest datagram there is.
pub const DATAGRAM_MAX: usize = 65_536;
const CONTROL: usize = 128;
/// Bytes that may wait for the thread, with the kernel's bookkeeping: 0.8 kB and more for each datagram.
const QUEUE_KNOWN: i32 = 8 << 20;
/// A thousand datagrams or less: what waits longer than a retransmission is of no use.
const QUEUE_STRANGERS: i32 = 512 << 10;

/// Memory for one batch; one for each thread.
#[derive(Debug)]
pub struct Buffers {
    data: Box<[u8]>,
    control: Box<[u8]>,
    /// What the last call received.
    pub received: Vec<Datagram>,
}

impl Default for Buffers {
    fn default() -> Self {
        Buffers {
            data: vec![0; BATCH * DATAGRAM_MAX].into(),
            control: vec![0; BATCH * CONTROL].into(),
            received: Vec::with_capacity(BATCH),
        }
    }
}

impl Buffers {
    /// Holds no memory; stands in while the real ones are in use.
    pub fn empty() -> Self {
        Buffers { data: Box::default(), control: Box::default(), received: Vec::new() }
    }

    /// The bytes of one received datagram.
    pub fn datagram(&self, index: usize) -> &[u8] {
        let start = index * DATAGRAM_MAX;
        let len = self.received.get(index).map_or(0, |d| d.len);
        &self.data[start..start + len]
    }
}

impl UdpSocket {
    /// Binds an address for this socket alone.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub fn bind(address: SocketAddr, dscp: u8) -> io::Result<UdpSocket> {
        Self::bound(Self::open(address, dscp, QUEUE_KNOWN)?, address)
    }

    /// Binds one address as often as there are shards, twice each: for known sources and for strangers. Nobody else
    /// may have the address. Until [`Group::attach`] the kernel chooses among all of them.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub fn bind_paths(address: SocketAddr, dscp: u8, shards: usize) -> io::Result<Vec<Paths>> {
        // Bound before it may be shared: a second engine with the same configuration must not get half of the calls.
        let first = UdpSocket::bind(address, dscp)?;
        first.socket.set_reuse_port(true)?;
        // With port 0 the others join the port that the system chose for the first.
        let address = first.local;
        let join = |queue| {
            let socket = Self::open(address, dscp, queue)?;
            socket.set_reuse_port(true)?;
            Self::bound(socket, address)
        };
        // Programs name sockets by the order in which they were bound: all known ones first.
        let mut known = vec![first];
        for _ in 1..shards {
            known.push(join(QUEUE_KNOWN)?);
        }
        let strangers = (0..shards).map(|_| join(QUEUE_STRANGERS)).collect::<io::Result<Vec<_>>>()?;
        Ok(known.into_iter().zip(strangers).map(|(known, s)| Paths { known, strangers: Some(s) }).collect())
    }

    /// Binds one address once a shard; nobody else may have it. The kernel gives all that one peer sends from one port to
    /// the same of them, so that it stays in order.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub fn bind_shards(address: SocketAddr, shards: usize) -> io::Result<Vec<UdpSocket>> {
        let first = UdpSocket::bind(address, 0)?;
        first.socket.set_reuse_port(true)?;
        let address = first.local;
        let mut sockets = vec![first];
        for _ in 1..shards {
            let socket = Self::open(address, 0, QUEUE_KNOWN)?;
            socket.set_reuse_port(true)?;
            sockets.push(Self::bound(socket, address)?);
        }
        Ok(sockets)
    }

    /// Bytes that may wait for the thread: what the kernel has granted of what was asked for.
    ///
    /// # Errors
    /// As `getsockopt`.
    pub fn queue_len(&self) -> io::Result<(usize, usize)> {
        // The kernel doubles what is asked for, for its own bookkeeping.
        Ok((self.socket.recv_buffer_size()?, QUEUE_KNOWN as usize * 2))
    }

    /// Another handle on the same socket, to tell its address's program.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn group(&self) -> io::Result<Group> {
        Ok(Group { socket: self.socket.try_clone()?, local: self.local })
    }

    fn open(address: SocketAddr, dscp: u8, queue: i32) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        // Bursts of a whole trunk must fit while the thread is busy; the kernel may cut this to its own limit.
        let fd = socket.as_raw_fd();
        if set(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, queue).is_err() {
            let _ = set(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, queue); // without privilege
        }
        let _ = socket.set_send_buffer_size(4 << 20);
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
            set(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
            set(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1)?;
            let _ = set(fd, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, i32::from(dscp) << 2);
        } else {
            set(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
            set(fd, libc::IPPROTO_IP, libc::IP_RECVERR, 1)?;
            let _ = set(fd, libc::IPPROTO_IP, libc::IP_TOS, i32::from(dscp) << 2);
        }
        set(fd, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
        Ok(socket)
    }

    fn bound(socket: Socket, address: SocketAddr) -> io::Result<UdpSocket> {
        socket.bind(&SockAddr::from(address))?;
        let local = socket.local_addr()?.as_socket().unwrap_or(address);
        Ok(UdpSocket { socket, local, drops: 0 })
    }

    /// Where it is bound; the address may be a wildcard.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// To be watched by epoll.
    pub fn raw(&self) -> i32 {
        self.socket.as_raw_fd()
    }

    /// How many datagrams the kernel has dropped since this was asked last.
    pub fn new_drops(&mut self, seen: u32) -> u32 {
        let new = seen.wrapping_sub(self.drops);
        self.drops = seen;
        new
    }

    /// Takes up to [`BATCH`] datagrams; the answer is the kernel's drop counter, if it told one.
    ///
    /// # Errors
    /// An error that waits on the socket (ICMP); [`UdpSocket::next_error`] says which. `WouldBlock` is no error here.
    pub fn receive(&self, buffers: &mut Buffers) -> io::Result<Option<u32>> {
        buffers.received.clear();
        // SAFETY: all-zero is a valid value of these C structs.
        let mut names: [libc::sockaddr_storage; BATCH] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut iovecs: [libc::iovec; BATCH] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        for i in 0..BATCH {
            iovecs[i].iov_base = buffers.data[i * DATAGRAM_MAX..].as_mut_ptr().cast();
            iovecs[i].iov_len = DATAGRAM_MAX;
            let header = &mut headers[i].msg_hdr;
            header.msg_name = (&raw mut names[i]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
            header.msg_iov = &raw mut iovecs[i];
            header.msg_iovlen = 1;
            header.msg_control = buffers.control[i * CONTROL..].as_mut_ptr().cast();
            header.msg_controllen = CONTROL;
        }
        // SAFETY: every header points at memory of this call that outlives it, with its true length.
        let count = unsafe {
            libc::recvmmsg(
                self.raw(),
                headers.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT,
                core::ptr::null_mut(),
            )
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::WouldBlock { Ok(None) } else { Err(error) };
        }
        let mut drops = None;
        for i in 0..count as usize {
            let header = &headers[i].msg_hdr;
            let Some(remote) = read_name(&names[i]) else { continue };
            let mut local = self.local;
            for_each_control(header, |level, kind, data| match (level, kind) {
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    drops = data.first_chunk().map(|b| u32::from_ne_bytes(*b)).or(drops);
                }
                // in_pktinfo: interface, the local address to answer from, the destination of the header.
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    if let Some(ip) = data.get(8..12).and_then(|b| b.first_chunk::<4>()) {
                        local.set_ip(IpAddr::V4(Ipv4Addr::from(*ip)));
                    }
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    if let Some(ip) = data.first_chunk::<16>() {
                        local.set_ip(IpAddr::V6(Ipv6Addr::from(*ip)));
                    }
                }
                _ => {}
            });
            let truncated = header.msg_flags & libc::MSG_TRUNC != 0;
            buffers.received.push(Datagram { len: headers[i].msg_len as usize, remote, local, truncated });
        }
        Ok(drops)
    }

    /// Sends one datagram, from `local` if the socket is bound to a wildcard.
    ///
    /// # Errors
    /// The kernel did not take it.
    pub fn send(&self, bytes: &[u8], remote: SocketAddr, local: Option<IpAddr>) -> io::Result<()> {
        let name = SockAddr::from(remote);
        let from = local.filter(|ip| self.local.ip().is_unspecified() && !ip.is_unspecified());
        let Some(from) = from else {
            return self.socket.send_to(bytes, &name).map(|_| ());
        };
        let mut iovec = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let mut control = [0u64; CONTROL / 8]; // u64 for the alignment of a control header
        // SAFETY: all-zero is a valid value of this C struct.
        let mut header: libc::msghdr = unsafe { zeroed() };
        header.msg_name = name.as_ptr().cast_mut().cast();
        header.msg_namelen = name.len();
        header.msg_iov = &raw mut iovec;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = CONTROL;
        // SAFETY: the control buffer is larger than one header with either pktinfo, and aligned; CMSG_FIRSTHDR of it
        // is therefore not null, and the data written fits what `CMSG_SPACE` counts.
        unsafe {
            let control = libc::CMSG_FIRSTHDR(&raw const header);
            match from {
                IpAddr::V4(ip) => {
                    let mut info: libc::in_pktinfo = zeroed();
                    info.ipi_spec_dst.s_addr = u32::from_ne_bytes(ip.octets());
                    (*control).cmsg_level = libc::IPPROTO_IP;
                    (*control).cmsg_type = libc::IP_PKTINFO;
                    (*control).cmsg_len = libc::CMSG_LEN(size_of::<libc::in_pktinfo>() as u32) as usize;
                    libc::CMSG_DATA(control).cast::<libc::in_pktinfo>().write_unaligned(info);
                    header.msg_controllen = libc::CMSG_SPACE(size_of::<libc::in_pktinfo>() as u32) as usize;
                }
                IpAddr::V6(ip) => {
                    let mut info: libc::in6_pktinfo = zeroed();
                    info.ipi6_addr.s6_addr = ip.octets();
                    (*control).cmsg_level = libc::IPPROTO_IPV6;
                    (*control).cmsg_type = libc::IPV6_PKTINFO;
                    (*control).cmsg_len = libc::CMSG_LEN(size_of::<libc::in6_pktinfo>() as u32) as usize;
                    libc::CMSG_DATA(control).cast::<libc::in6_pktinfo>().write_unaligned(info);
                    header.msg_controllen = libc::CMSG_SPACE(size_of::<libc::in6_pktinfo>() as u32) as usize;
                }
            }
        }
        // SAFETY: the header points at memory that outlives the call, with its true length.
        let sent = unsafe { libc::sendmsg(self.raw(), &raw const header, libc::MSG_DONTWAIT) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Takes one error off the socket's error queue: where the datagram was sent to, and how it began. `None` when
    /// there is none left, or it came from no peer.
    pub fn next_error(&self, datagram: &mut [u8]) -> Option<(SocketAddr, usize)> {
        // SAFETY: all-zero is a valid value of these C structs.
        let (mut name, mut header): (libc::sockaddr_storage, libc::msghdr) = unsafe { (zeroed(), zeroed()) };
        let mut control = [0u64; 64];
        let mut iovec = libc::iovec { iov_base: datagram.as_mut_ptr().cast(), iov_len: datagram.len() };
        header.msg_name = (&raw mut name).cast();
        header.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
        header.msg_iov = &raw mut iovec;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&control);
        // SAFETY: the header points at memory of this call, with its true length.
        let len =
            unsafe { libc::recvmsg(self.raw(), &raw mut header, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT) };
        if len < 0 {
            return None;
        }
        Some((read_name(&name)?, len as usize))
    }
}

/// A socket as the kernel's programs see it, alone or with all that share its address.
#[derive(Debug)]
pub struct Group {
    socket: Socket,
    local: SocketAddr,
}

impl Group {
    /// The address.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Gives the kernel the program; it replaces an earlier one.
    ///
    /// # Errors
    /// The kernel does not want it.
    pub fn attach(&self, program: &[libc::sock_filter]) -> io::Result<()> {
        self.give(libc::SO_ATTACH_REUSEPORT_CBPF, program)
    }

    /// Gives the kernel a program that says which datagrams this one socket does not get; it replaces an earlier one.
    ///
    /// # Errors
    /// The kernel does not want it.
    pub fn attach_filter(&self, program: &[libc::sock_filter]) -> io::Result<()> {
        self.give(libc::SO_ATTACH_FILTER, program)
    }

    fn give(&self, what: i32, program: &[libc::sock_filter]) -> io::Result<()> {
        let too_long = |_| io::Error::from(io::ErrorKind::InvalidInput);
        let program = libc::sock_fprog {
            len: u16::try_from(program.len()).map_err(too_long)?,
            filter: program.as_ptr().cast_mut(), // The kernel copies it.
        };
        // SAFETY: the program is alive during the call, and its length is the slice's.
        let result = unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_SOCKET,
                what,
                (&raw const program).cast(),
                size_of::<libc::sock_fprog>() as libc::socklen_t,
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// Where connections of one address are accepted.
#[derive(Debug)]
pub struct Listening {
    /// Those of known sources.
    pub known: TcpListener,
    /// Those of all others; `None` where the kernel cannot tell them apart.
    pub strangers: Option<TcpListener>,
}

impl Listening {
    /// Listens twice on one address, which nobody else may have. Until [`Group::attach`] the kernel chooses.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub fn bind(address: SocketAddr) -> io::Result<Listening> {
        const BACKLOG: i32 = 1_024;
        let open = || {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_nonblocking(true)?;
            socket.set_reuse_address(true)?; // Connections of an earlier run may linger.
            if address.is_ipv6() {
                socket.set_only_v6(true)?;
            }
            io::Result::Ok(socket)
        };
        let known = open()?;
        known.bind(&SockAddr::from(address))?;
        known.set_reuse_port(true)?;
        known.listen(BACKLOG)?;
        let strangers = open()?;
        strangers.set_reuse_port(true)?;
        strangers.bind(&known.local_addr()?)?;
        strangers.listen(BACKLOG)?;
        Ok(Listening { known: known.into(), strangers: Some(strangers.into()) })
    }

    /// Another handle on the same socket, to tell its address's program.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn group(&self) -> io::Result<Group> {
        Ok(Group { socket: self.known.try_clone()?.into(), local: self.known.local_addr()? })
    }
}

/// Control messages of a received header: level, type, data.
fn for_each_control(header: &libc::msghdr, mut each: impl FnMut(i32, i32, &[u8])) {
    // SAFETY: the kernel has filled the header and its control buffer; the CMSG macros walk within `msg_controllen`.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while !control.is_null() {
            let start = libc::CMSG_DATA(control);
            let len = (*control).cmsg_len.saturating_sub(libc::CMSG_LEN(0) as usize);
            each((*control).cmsg_level, (*control).cmsg_type, core::slice::from_raw_parts(start, len));
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
}

fn read_name(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says which struct it is; sockaddr_storage is large and aligned enough for it.
            let v4 = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddr::from((ip, u16::from_be(v4.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddr::from((ip, u16::from_be(v6.sin6_port))))
        }
        _ => None,
    }
}

fn set(fd: i32, level: i32, option: i32, value: i32) -> io::Result<()> {
    // SAFETY: the value lives for the call and its length is given.
    let result = unsafe {
        libc::setsockopt(fd, level, option, (&raw const value).cast(), size_of::<i32>() as libc::socklen_t)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A counter that epoll can watch.
pub(crate) fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed; the descriptor that comes back is ours alone.
    let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(crate) fn ring_eventfd(fd: &OwnedFd) {
    let one = 1u64.to_ne_bytes();
    // SAFETY: eight bytes are read from a live array. A full counter already wakes, so the result does not matter.
    let _ = unsafe { libc::write(fd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
}

pub(crate) fn read_eventfd(fd: &OwnedFd) {
    let mut count = [0u8; 8];
    // SAFETY: eight bytes are written into a live array.
    let _ = unsafe { libc::read(fd.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
}

/// A set of descriptors to wait for.
#[derive(Debug)]
pub struct Poll {
    fd: OwnedFd,
}

impl Poll {
    /// An empty one.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn new() -> io::Result<Poll> {
        // SAFETY: no memory is passed; the descriptor that comes back is ours alone.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and nobody else has it.
        Ok(Poll { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Watches a descriptor for reading; `token` comes back when it is ready.
    ///
    /// # Errors
    /// The descriptor cannot be watched.
    pub fn watch(&self, fd: i32, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, 0)
    }

    /// Watches a descriptor until it is ready once; then not before [`Poll::watch_again`].
    ///
    /// # Errors
    /// The descriptor cannot be watched.
    pub fn watch_once(&self, fd: i32, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, libc::EPOLLONESHOT)
    }

    /// Once more; what is ready already counts.
    ///
    /// # Errors
    /// The descriptor was never watched.
    pub fn watch_again(&self, fd: i32, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, libc::EPOLLONESHOT)
    }

    fn control(&self, what: i32, fd: i32, token: u64, flags: i32) -> io::Result<()> {
        let mut event = libc::epoll_event { events: (libc::EPOLLIN | flags) as u32, u64: token };
        // SAFETY: the event lives for the call.
        let result = unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), what, fd, &raw mut event) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits until something is ready, at most so many milliseconds (-1 for ever), and gives the tokens.
    pub fn wait(&self, timeout_ms: i32, ready: &mut Vec<u64>) {
        let mut events = [const { MaybeUninit::<libc::epoll_event>::uninit() }; 64];
        ready.clear();
        // SAFETY: the kernel writes at most as many events as the array has places.
        let count = unsafe {
            libc::epoll_wait(self.fd.as_raw_fd(), events.as_mut_ptr().cast(), events.len() as i32, timeout_ms)
        };
        for event in events.iter().take(usize::try_from(count).unwrap_or(0)) {
            // SAFETY: the kernel has filled the first `count` events.
            ready.push(unsafe { event.assume_init() }.u64);
        }
    }
}

/// The address that the kernel would send from towards a peer.
pub fn source_address(remote: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = match remote {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = std::net::UdpSocket::bind(any).ok()?;
    socket.connect(remote).ok()?; // chooses a route; sends nothing
    socket.local_addr().ok().map(|a| a.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_socket_tells_and_uses_the_local_address() {
        let mut socket = UdpSocket::bind("0.0.0.0:0".parse().unwrap(), 0).unwrap();
        let port = socket.local().port();
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        peer.send_to(b"hello", ("127.0.0.7", port)).unwrap();
        let mut buffers = Buffers::default();
        let poll = Poll::new().unwrap();
        poll.watch(socket.raw(), 7).unwrap();
        let mut ready = Vec::new();
        poll.wait(5_000, &mut ready);
        assert_eq!(ready, [7]);
        socket.receive(&mut buffers).unwrap();
        assert_eq!(buffers.datagram(0), b"hello");
        let got = buffers.received[0];
        assert_eq!(got.local, SocketAddr::from(([127, 0, 0, 7], port)));
        assert_eq!(got.remote, peer.local_addr().unwrap());
        socket.send(b"back", got.remote, Some(got.local.ip())).unwrap();
        let mut bytes = [0; 16];
        let (len, from) = peer.recv_from(&mut bytes).unwrap();
        assert_eq!((&bytes[..len], from), (&b"back"[..], got.local));
        assert_eq!((socket.new_drops(5), socket.new_drops(7)), (5, 2));
    }

    #[test]
    fn shards_share_an_address_and_each_peer_stays_with_one_of_them() {
        let mut sockets = UdpSocket::bind_shards("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let address = sockets[0].local();
        assert!(sockets.iter().all(|socket| socket.local() == address));
        assert!(UdpSocket::bind(address, 0).is_err(), "it is ours");
        let peers: Vec<_> = (0..16).map(|_| std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        for _ in 0..20 {
            peers.iter().for_each(|peer| assert_eq!(peer.send_to(b"c d1:xi1ee", address).unwrap(), 10));
        }
        let mut buffers = Buffers::default();
        let mut seen = std::collections::BTreeMap::<SocketAddr, Vec<(usize, usize)>>::new();
        for (index, socket) in sockets.iter_mut().enumerate() {
            while socket.receive(&mut buffers).is_ok() && !buffers.received.is_empty() {
                for datagram in &buffers.received {
                    let places = seen.entry(datagram.remote).or_default();
                    match places.iter_mut().find(|(at, _)| *at == index) {
                        Some((_, count)) => *count += 1,
                        None => places.push((index, 1)),
                    }
                }
            }
        }
        assert!(
            seen.len() == 16 && seen.values().all(|places| places.len() == 1 && places[0].1 == 20),
            "{seen:?}"
        );
        let used: std::collections::BTreeSet<_> = seen.values().map(|places| places[0].0).collect();
        assert!(used.len() > 1, "{used:?}");
    }

    #[test]
    fn an_icmp_error_names_the_peer_and_quotes_the_datagram() {
        let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), 0).unwrap();
        let gone = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        socket.send(b"INVITE nobody", gone, None).unwrap();
        let poll = Poll::new().unwrap();
        poll.watch(socket.raw(), 1).unwrap();
        let mut ready = Vec::new();
        poll.wait(5_000, &mut ready);
        let mut bytes = [0; 64];
        let (remote, len) = socket.next_error(&mut bytes).expect("loopback answers with ICMP at once");
        assert_eq!((remote, &bytes[..len]), (gone, &b"INVITE nobody"[..]));
        assert!(socket.next_error(&mut bytes).is_none());
    }

    #[test]
    fn an_error_that_a_send_was_told_of_still_waits_in_its_queue() {
        let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), 0).unwrap();
        let gone = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        socket.send(b"one", gone, None).unwrap();
        let refused = socket.send(b"two", gone, None).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let mut buffers = Buffers::default();
        assert!(matches!(socket.receive(&mut buffers), Ok(None)) && buffers.received.is_empty());
        let (poll, mut ready) = (Poll::new().unwrap(), Vec::new());
        poll.watch(socket.raw(), 1).unwrap();
        poll.wait(0, &mut ready);
        assert_eq!(ready, [1], "whoever does not look into the queue is woken for ever");
        while socket.next_error(&mut [0; 64]).is_some() {}
        poll.wait(0, &mut ready);
        assert!(ready.is_empty());
    }
}
