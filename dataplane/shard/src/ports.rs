//! The ports that a shard owns: pairs of an even port (RTP) and the odd one above (RTCP), in random order, resting
//! before they are used again. The local port says the shard: `port / 2 mod shards`. Reads and writes no packet.

use crate::stats::{ListenerStats, MediaListener, ShardStats};
use base::{Duration, Instant, Rng};
use command::{OpenRefusal, PortWant};
use core::net::{IpAddr, SocketAddr};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// The pairs of one shard.
#[derive(Debug)]
pub struct Ports {
    ranges: Vec<Range>,
    /// How long a pair rests before it is used again, so that late packets of the last call reach nobody.
    rest: Duration,
    owner: Owner,
    stats: Arc<ShardStats>,
}

/// Which ports are ours.
#[derive(Clone, Copy, Debug)]
struct Owner {
    shard: u16,
    shards: u16,
}

/// One listener's ports on one address.
#[derive(Debug)]
struct Range {
    listener: u16,
    address: IpAddr,
    /// The system chooses every pair; nothing is kept in the queues.
    ephemeral: bool,
    /// Even ports that can be bound, first in, first out.
    free: VecDeque<u16>,
    /// Even ports that rest, and until when; times ascend.
    resting: VecDeque<(Instant, u16)>,
    /// Bound ahead in idle turns.
    stock: VecDeque<Pair>,
    used: u64,
}

/// Two bound sockets, and where they came from.
#[derive(Debug)]
pub struct Pair {
    /// Returned with [`Ports::give_back`].
    pub place: Place,
    /// The even port.
    pub rtp: Socket,
    /// The odd port above.
    pub rtcp: Socket,
}

/// A port of a range: outlives the sockets, so that the port can rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    range: u16,
    /// The even port's address.
    pub local: SocketAddr,
}

impl Ports {
    /// The pairs of `shard` (of `shards`) in every range, shuffled.
    pub fn new(
        listeners: &[MediaListener],
        shard: u8,
        shards: u8,
        rest: Duration,
        rng: &mut Rng,
        stats: Arc<ShardStats>,
    ) -> Self {
        let owner = Owner { shard: shard.into(), shards: u16::from(shards).max(1) };
        let ranges = listeners.iter().map(|listener| Range::new(listener, owner, rng)).collect();
        let mut ports = Ports { ranges, rest, owner, stats };
        ports.publish();
        ports
    }

    /// Binds a pair, or takes one that was bound ahead. Packets that came before are thrown away: the second value
    /// says how many.
    ///
    /// # Errors
    /// `NoListener`, `NoPorts`, `NoDescriptors`.
    pub fn take(&mut self, now: Instant, want: PortWant) -> Result<(Pair, u64), OpenRefusal> {
        let exact = |range: &Range| range.listener == want.listener && range.address == want.address;
        let covers = |range: &Range| range.listener == want.listener && range.covers(want.address);
        let index = self.ranges.iter().position(exact).or_else(|| self.ranges.iter().position(covers));
        let index = index.ok_or(OpenRefusal::NoListener)?;
        let (range, stats) = (&mut self.ranges[index], &self.stats.listeners[index]);
        range.wake_rested(now);
        let ahead = if range.address == want.address { range.stock.pop_front() } else { None };
        let taken = match ahead {
            Some(pair) => {
                let stale = drain(&pair.rtp) + drain(&pair.rtcp);
                Ok((pair, stale))
            }
            None => range
                .bind_next(want.address, index as u16, now + self.rest, self.owner, stats)
                .map(|pair| (pair, 0)),
        };
        range.used += u64::from(taken.is_ok());
        range.publish(stats);
        taken
    }

    /// Takes back a pair whose sockets are closed; it rests.
    pub fn give_back(&mut self, now: Instant, place: Place) {
        let range = &mut self.ranges[usize::from(place.range)];
        range.used -= 1;
        if !range.ephemeral {
            range.resting.push_back((now + self.rest, place.local.port()));
        }
        range.publish(&self.stats.listeners[usize::from(place.range)]);
    }

    /// Lets free pairs rest that somebody else of this process has used; for the next generation of a shard.
    pub fn rest(&mut self, now: Instant, places: &[Place]) {
        for (number, range) in (0..).zip(&mut self.ranges) {
            let here = places.iter().filter(|place| place.range == number);
            let mut used: Vec<u16> = here.map(|place| place.local.port()).collect();
            used.sort_unstable();
            range.free.retain(|port| used.binary_search(port).is_err());
            if !range.ephemeral {
                range.resting.extend(used.into_iter().map(|port| (now + self.rest, port)));
            }
        }
        self.publish();
    }

    /// Takes back a pair that was never used.
    pub fn put_back(&mut self, pair: Pair) {
        let index = usize::from(pair.place.range);
        let range = &mut self.ranges[index];
        range.used -= 1;
        match pair.place.local {
            _ if range.ephemeral => {}
            local if local.ip() == range.address => range.stock.push_front(pair),
            local => range.free.push_front(local.port()),
        }
        range.publish(&self.stats.listeners[index]);
    }

    /// Binds at most one pair ahead; for turns that have nothing else to do. `true` if it did.
    pub fn stock_up(&mut self, now: Instant) -> bool {
        for (index, range) in self.ranges.iter_mut().enumerate() {
            range.wake_rested(now);
            // Of a wildcard nobody knows yet which address will be wanted.
            let unknown = range.ephemeral || range.address.is_unspecified();
            if unknown || range.stock.len() >= STOCK || range.free.is_empty() {
                continue;
            }
            let stats = &self.stats.listeners[index];
            if let Ok(pair) = range.bind_next(range.address, index as u16, now + self.rest, self.owner, stats)
            {
                range.stock.push_back(pair);
                range.publish(stats);
                return true;
            }
        }
        false
    }

    fn publish(&mut self) {
        for (range, stats) in self.ranges.iter().zip(&self.stats.listeners) {
            range.publish(stats);
        }
    }
}

impl Range {
    fn new(listener: &MediaListener, owner: Owner, rng: &mut Rng) -> Self {
        let ephemeral = *listener.ports.end() == 0;
        // A pair needs its odd port in the range as well.
        let (first, last) = (u32::from(*listener.ports.start()), u32::from(*listener.ports.end()));
        let evens = (first.next_multiple_of(2)..last).step_by(2).map(|port| port as u16);
        let mut free: Vec<u16> =
            if ephemeral { Vec::new() } else { evens.filter(|p| owner.has(*p)).collect() };
        for i in (1..free.len()).rev() {
            free.swap(i, rng.below(i as u64 + 1) as usize);
        }
        let pairs = free.len();
        Range {
            listener: listener.listener,
            address: listener.address,
            ephemeral,
            free: free.into(),
            resting: VecDeque::with_capacity(pairs),
            stock: VecDeque::with_capacity(STOCK + 1),
            used: 0,
        }
    }

    /// A wildcard has a port on any address of this machine: what is bound to one sends from it.
    fn covers(&self, address: IpAddr) -> bool {
        self.address.is_unspecified() && self.address.is_ipv4() == address.is_ipv4()
    }

    fn wake_rested(&mut self, now: Instant) {
        while let Some((_, port)) = self.resting.pop_front_if(|(until, _)| *until <= now) {
            self.free.push_back(port);
        }
    }

    /// Binds the next pair that nobody else has. Those that somebody has rest until `retry`.
    fn bind_next(
        &mut self,
        address: IpAddr,
        index: u16,
        retry: Instant,
        owner: Owner,
        stats: &ListenerStats,
    ) -> Result<Pair, OpenRefusal> {
        for _ in 0..TRIES {
            let bound = if self.ephemeral {
                bind_ephemeral(address, owner)
            } else {
                let port = self.free.pop_front().ok_or(OpenRefusal::NoPorts)?;
                match bind_pair(address, port) {
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                        self.resting.push_back((retry, port));
                        Err(error)
                    }
                    Err(error) => {
                        self.free.push_front(port);
                        Err(error)
                    }
                    Ok(sockets) => Ok(Some((port, sockets))),
                }
            };
            match bound {
                Ok(Some((port, (rtp, rtcp)))) => {
                    let local = SocketAddr::new(address, port);
                    return Ok(Pair { place: Place { range: index, local }, rtp, rtcp });
                }
                Ok(None) => {}
                Err(error) => match error.raw_os_error() {
                    Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                        return Err(OpenRefusal::NoDescriptors);
                    }
                    Some(libc::EADDRINUSE) => stats.taken_by_others.add(1),
                    _ => {
                        // The address is not ours, or not yet; a port below 1024 is not allowed.
                        tracing::warn!(%address, %error, "no port can be bound here");
                        return Err(OpenRefusal::NoPorts);
                    }
                },
            }
        }
        Err(OpenRefusal::NoPorts)
    }

    fn publish(&self, stats: &ListenerStats) {
        stats.free.set((self.free.len() + self.stock.len()) as u64);
        stats.resting.set(self.resting.len() as u64);
        stats.used.set(self.used);
    }
}

impl Owner {
    fn has(self, port: u16) -> bool {
        port / 2 % self.shards == self.shard
    }
}

/// Two sockets on an even port and the odd one above.
fn bind_pair(address: IpAddr, port: u16) -> io::Result<(Socket, Socket)> {
    Ok((bind(address, port)?, bind(address, port + 1)?))
}

/// Lets the system choose one port of a pair and takes the other; `None` if the pair is not ours or not free.
fn bind_ephemeral(address: IpAddr, owner: Owner) -> io::Result<Option<(u16, (Socket, Socket))>> {
    let one = bind(address, 0)?;
    let port = one.local_addr()?.as_socket().map_or(0, |local| local.port());
    let even = port & !1;
    if port == 0 || !owner.has(even) {
        return Ok(None);
    }
    match bind(address, port ^ 1) {
        Ok(other) if port == even => Ok(Some((even, (one, other)))),
        Ok(other) => Ok(Some((even, (other, one)))),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
        Err(error) => Err(error),
    }
}

fn bind(address: IpAddr, port: u16) -> io::Result<Socket> {
    let address = SocketAddr::new(address, port);
    // Made non-blocking and close-on-exec by the one call: a call opens four of them.
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // So that no source ever shows up as an IPv4 address in disguise.
        socket.set_only_v6(true)?;
    }
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Marks what leaves this socket (RFC 2474): `dscp` is 0 to 63.
///
/// # Errors
/// The kernel's, if it does not allow this mark.
pub fn mark(socket: &Socket, v6: bool, dscp: u8) -> io::Result<()> {
    let class = u32::from(dscp & 63) << 2;
    if v6 { socket.set_tclass_v6(class) } else { socket.set_tos_v4(class) }
}

/// Throws away what strangers sent to a socket before its call began, a bounded number.
fn drain(socket: &Socket) -> u64 {
    let mut nothing = [core::mem::MaybeUninit::uninit(); 1];
    (0..DRAIN_MAX).take_while(|_| socket.recv(&mut nothing).is_ok()).count() as u64
}

/// Pairs bound ahead in each range.
const STOCK: usize = 8;
/// Pairs that are tried for one request: bounds the time of a turn when somebody else sits in our range.
const TRIES: usize = 256;
/// About 100 packets of video, or 2 s of audio; memory is only used when packets wait.
const RECEIVE_BUFFER_BYTES: usize = 128 * 1024;
/// More packets than fit into the receive buffer.
const DRAIN_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};
    use std::net::UdpSocket;
    use std::sync::atomic::{AtomicU32, Ordering};

    const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const REST: Duration = Duration::from_secs(4);
    const WANT: PortWant = PortWant { listener: 0, address: LOCALHOST };

    fn ports(range: core::ops::RangeInclusive<u16>, shard: u8, shards: u8) -> Ports {
        let listeners = [MediaListener { listener: 0, address: LOCALHOST, ports: range }];
        let stats = Arc::new(ShardStats::new(&listeners));
        Ports::new(&listeners, shard, shards, REST, &mut Rng::from_seed(1), stats)
    }

    /// A range of `pairs` pairs that nobody has, below the ports that the system chooses for others.
    fn quiet_range(pairs: u16) -> core::ops::RangeInclusive<u16> {
        static TRIED: AtomicU32 = AtomicU32::new(0);
        loop {
            let place = std::process::id() * 16 + TRIED.fetch_add(1, Ordering::Relaxed);
            let first = 12_000 + (place % 600) as u16 * 32;
            let last = first + pairs * 2 - 1;
            let sockets: Vec<_> = (first..=last).map(|port| UdpSocket::bind((LOCALHOST, port))).collect();
            if sockets.iter().all(Result::is_ok) {
                return first..=last;
            }
        }
    }

    fn close(ports: &mut Ports, now: Instant, pair: Pair) {
        let place = pair.place;
        drop(pair);
        ports.give_back(now, place);
    }

    #[test]
    fn a_pair_is_an_even_port_and_the_odd_one_above() {
        for range in [0..=0, quiet_range(4)] {
            let mut ports = ports(range, 0, 1);
            let (pair, stale) = ports.take(Instant(0), WANT).unwrap();
            let local = |socket: &Socket| socket.local_addr().unwrap().as_socket().unwrap();
            assert_eq!(local(&pair.rtp), pair.place.local);
            assert_eq!((pair.place.local.port() % 2, stale), (0, 0));
            assert_eq!(local(&pair.rtcp).port(), pair.place.local.port() + 1);
        }
    }

    #[test]
    fn a_wildcard_range_binds_the_address_that_is_wanted() {
        let range = quiet_range(2);
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let listeners = [MediaListener { listener: 0, address: any, ports: range }];
        let stats = Arc::new(ShardStats::new(&listeners));
        let mut ports = Ports::new(&listeners, 0, 1, REST, &mut Rng::from_seed(1), stats);
        assert!(!ports.stock_up(Instant(0)), "nothing is bound before the address is known");
        let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
        let want = PortWant { listener: 0, address };
        let (pair, _) = ports.take(Instant(0), want).unwrap();
        assert_eq!(pair.rtp.local_addr().unwrap().as_socket().unwrap().ip(), address);
        assert_eq!(pair.place.local.ip(), address);
        let place = pair.place;
        ports.put_back(pair);
        assert_eq!(
            ports.take(Instant(0), want).unwrap().0.place,
            place,
            "it was never used, so it need not rest"
        );
        let v6 = PortWant { listener: 0, address: Ipv6Addr::LOCALHOST.into() };
        assert_eq!(ports.take(Instant(0), v6).unwrap_err(), OpenRefusal::NoListener);
    }

    #[test]
    fn a_closed_pair_rests_and_an_empty_range_says_so() {
        let mut ports = ports(quiet_range(2), 0, 1);
        let (a, _) = ports.take(Instant(0), WANT).unwrap();
        let (b, _) = ports.take(Instant(0), WANT).unwrap();
        assert_eq!(ports.take(Instant(0), WANT).unwrap_err(), OpenRefusal::NoPorts);
        let (first, second) = (b.place, a.place);
        close(&mut ports, Instant(0) + Duration::from_secs(1), b);
        close(&mut ports, Instant(0) + Duration::from_secs(2), a);
        let gauges = &ports.stats.listeners[0];
        assert_eq!((gauges.free.get(), gauges.resting.get(), gauges.used.get()), (0, 2, 0));
        let at = |seconds| Instant(0) + Duration::from_secs(seconds);
        assert_eq!(ports.take(at(4), WANT).unwrap_err(), OpenRefusal::NoPorts);
        let (b, _) = ports.take(at(5), WANT).unwrap();
        assert_eq!(b.place, first, "first in, first out");
        assert_eq!(ports.take(at(5), WANT).unwrap_err(), OpenRefusal::NoPorts);
        assert_eq!(ports.take(at(6), WANT).unwrap().0.place, second);
    }

    #[test]
    fn shards_own_disjoint_ports_and_together_all() {
        let mut all: Vec<u16> = Vec::new();
        for shard in 0..3 {
            let ports = ports(10_001..=10_200, shard, 3);
            assert!(ports.ranges[0].free.iter().all(|port| port / 2 % 3 == u16::from(shard)));
            all.extend(ports.ranges[0].free.iter());
        }
        assert!(!all.is_sorted(), "order is random");
        all.sort_unstable();
        assert!(all.iter().copied().eq((10_002..10_200).step_by(2)));
    }

    #[test]
    fn ephemeral_pairs_belong_to_their_shard() {
        for shard in 0..2 {
            let mut ports = ports(0..=0, shard, 2);
            for _ in 0..20 {
                let (pair, _) = ports.take(Instant(0), WANT).unwrap();
                assert_eq!(pair.place.local.port() / 2 % 2, u16::from(shard));
                close(&mut ports, Instant(0), pair);
            }
        }
    }

    #[test]
    fn pairs_of_others_are_skipped_counted_and_tried_later() {
        let range = quiet_range(3);
        let odd = UdpSocket::bind((LOCALHOST, range.start() + 1)).unwrap();
        let even = UdpSocket::bind((LOCALHOST, range.start() + 2)).unwrap();
        let mut ports = ports(range.clone(), 0, 1);
        let (pair, _) = ports.take(Instant(0), WANT).unwrap();
        assert_eq!(pair.place.local.port(), range.start() + 4);
        assert_eq!(ports.take(Instant(0), WANT).unwrap_err(), OpenRefusal::NoPorts);
        assert_eq!(ports.stats.listeners[0].taken_by_others.get(), 2);
        drop((odd, even));
        assert!(ports.take(Instant(0) + REST, WANT).is_ok());
    }

    #[test]
    fn pairs_are_bound_ahead_and_what_came_early_is_thrown_away() {
        let mut ports = ports(quiet_range(STOCK as u16 + 2), 0, 1);
        for _ in 0..STOCK {
            assert!(ports.stock_up(Instant(0)));
        }
        assert!(!ports.stock_up(Instant(0)), "the stock is full");
        assert_eq!(ports.stats.listeners[0].free.get(), STOCK as u64 + 2);
        let next = ports.ranges[0].stock[0].place.local;
        let stranger = UdpSocket::bind((LOCALHOST, 0)).unwrap();
        stranger.send_to(b"early", next).unwrap();
        stranger.send_to(b"early too", next).unwrap();
        let (pair, stale) = ports.take(Instant(0), WANT).unwrap();
        assert_eq!((pair.place.local, stale), (next, 2));
        ports.put_back(pair);
        assert_eq!(ports.take(Instant(0), WANT).unwrap().0.place.local, next, "never used: no rest");
    }

    #[test]
    fn an_unknown_listener_or_a_foreign_address_is_refused() {
        let mut ports = ports(0..=0, 0, 1);
        let elsewhere = PortWant { listener: 0, address: IpAddr::V6(Ipv6Addr::LOCALHOST) };
        assert_eq!(ports.take(Instant(0), elsewhere).unwrap_err(), OpenRefusal::NoListener);
        assert_eq!(
            ports.take(Instant(0), PortWant { listener: 9, ..WANT }).unwrap_err(),
            OpenRefusal::NoListener
        );
        let foreign = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let listeners = [MediaListener { listener: 0, address: foreign, ports: 10_000..=10_100 }];
        let stats = Arc::new(ShardStats::new(&listeners));
        let mut ports = Ports::new(&listeners, 0, 1, REST, &mut Rng::from_seed(1), stats);
        let want = PortWant { listener: 0, address: foreign };
        assert_eq!(ports.take(Instant(0), want).unwrap_err(), OpenRefusal::NoPorts);
    }
}
