//! The ports that a shard owns: pairs of an even port (RTP) and the odd one above (RTCP), in random order, resting
//! before they are used again. When calls come fast their sockets stay open meanwhile, for the next call: to make new
//! ones would be most of what a call costs here. The local port says the shard: `port / 2 mod shards`. Reads and writes
//! no packet.

use crate::stats::{ListenerStats, MediaListener, ShardStats};
use base::{Duration, Instant, Key, Rng};
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
    rng: Rng,
    keeping: Keeping,
}

/// How many sockets stay open while their ports rest, and which go.
#[derive(Debug)]
struct Keeping {
    /// Pairs that have open sockets and no call, in all ranges.
    pairs: usize,
    /// Open pairs, with and without a call, from which on none is kept: the rest of the process needs descriptors too.
    pairs_max: usize,
    /// When this second ends.
    until: Instant,
    /// Pairs taken in this second and in the last one.
    taken: [u32; 2],
    /// The fewest that were ready in this second: so many nobody needed.
    spare: usize,
    /// Pairs still to be closed in this second.
    to_close: usize,
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
    /// Even ports that rest, until when, and their sockets where they are kept; times ascend.
    resting: VecDeque<(Instant, u16, Option<Kept>)>,
    /// Bound ahead in idle turns.
    stock: VecDeque<Pair>,
    /// Rested, with open sockets.
    kept: Vec<Kept>,
    used: u64,
}

/// A pair whose sockets the shard has kept open, by its own key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    key: Key,
    local: SocketAddr,
}

/// What a call gets.
#[derive(Debug)]
pub enum Taken {
    /// New sockets.
    Bound(Pair),
    /// Those that the shard has kept open under this key.
    Kept(Key, Place),
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
    /// The pairs of `shard` (of `shards`) in every range, shuffled. Sockets are kept open only while fewer than half of
    /// `pairs_max` pairs are.
    pub fn new(
        listeners: &[MediaListener],
        shard: u8,
        shards: u8,
        rest: Duration,
        pairs_max: usize,
        rng: &mut Rng,
        stats: Arc<ShardStats>,
    ) -> Self {
        let owner = Owner { shard: shard.into(), shards: u16::from(shards).max(1) };
        let ranges = listeners.iter().map(|listener| Range::new(listener, owner, rng)).collect();
        let keeping = Keeping {
            pairs: 0,
            pairs_max: pairs_max / 2,
            until: Instant(0),
            taken: [0; 2],
            spare: 0,
            to_close: 0,
        };
        let mut ports = Ports { ranges, rest, owner, stats, rng: rng.fork(), keeping };
        ports.publish();
        ports
    }

    /// Takes a pair that was kept open or bound ahead, or binds one. Packets that came to one bound ahead are thrown
    /// away: the second value says how many. What came to a kept one is its keeper's to throw away.
    ///
    /// # Errors
    /// `NoListener`, `NoPorts`, `NoDescriptors`; for the last [`Ports::evict`] may help.
    pub fn take(&mut self, now: Instant, want: PortWant) -> Result<(Taken, u64), OpenRefusal> {
        let exact = |range: &Range| range.listener == want.listener && range.address == want.address;
        let covers = |range: &Range| range.listener == want.listener && range.covers(want.address);
        let index = self.ranges.iter().position(exact).or_else(|| self.ranges.iter().position(covers));
        let index = index.ok_or(OpenRefusal::NoListener)?;
        let (range, stats) = (&mut self.ranges[index], &self.stats.listeners[index]);
        range.wake_rested(now);
        // Among few, a stranger who had one of them before could guess which comes next.
        let kept = if range.kept.len() >= CHOICE { range.choose(want.address, &mut self.rng) } else { None };
        let ahead =
            if kept.is_none() && range.address == want.address { range.stock.pop_front() } else { None };
        let mut taken = match (kept, ahead) {
            (Some(kept), _) => Ok((Taken::Kept(kept.key, kept.place(index)), 0)),
            (None, Some(pair)) => {
                let stale = drain(&pair.rtp) + drain(&pair.rtcp);
                Ok((Taken::Bound(pair), stale))
            }
            (None, None) => range
                .bind_next(want.address, index as u16, now + self.rest, self.owner, stats)
                .map(|pair| (Taken::Bound(pair), 0)),
        };
        if taken.is_err()
            && let Some(kept) = range.choose(want.address, &mut self.rng)
        {
            taken = Ok((Taken::Kept(kept.key, kept.place(index)), 0));
        }
        range.used += u64::from(taken.is_ok());
        range.publish(stats);
        if let Ok((taken, _)) = &taken {
            self.keeping.taken[0] = self.keeping.taken[0].saturating_add(1);
            self.keeping.pairs -= usize::from(matches!(taken, Taken::Kept(..)));
            self.keeping.spare = self.keeping.spare.min(self.ready());
        }
        taken
    }

    /// Takes back a pair; it rests. `key` is that of its sockets in the shard; `true` if they are to stay open, else
    /// they are to be closed.
    pub fn give_back(&mut self, now: Instant, place: Place, key: Key) -> bool {
        let keeps = self.keeps(place);
        let range = &mut self.ranges[usize::from(place.range)];
        range.used -= 1;
        if !range.ephemeral {
            let kept = keeps.then_some(Kept { key, local: place.local });
            range.resting.push_back((now + self.rest, place.local.port(), kept));
            self.keeping.pairs += usize::from(keeps);
        }
        range.publish(&self.stats.listeners[usize::from(place.range)]);
        keeps
    }

    /// Whether the sockets of a pair are worth keeping: somebody will want them soon, and there are enough descriptors.
    fn keeps(&self, place: Place) -> bool {
        let used: u64 = self.ranges.iter().map(|range| range.used).sum();
        let fast = self.keeping.taken.iter().any(|taken| *taken >= FAST);
        let open = used as usize + self.keeping.pairs;
        fast && open < self.keeping.pairs_max && !self.ranges[usize::from(place.range)].ephemeral
    }

    /// How many pairs have open sockets and no call.
    pub fn kept(&self) -> usize {
        self.keeping.pairs
    }

    /// To be called every turn: a pair that was kept and that nobody has needed for a while, a bounded number a
    /// second. Its sockets are to be closed now.
    pub fn release(&mut self, now: Instant) -> Option<Key> {
        if self.keeping.pairs == 0 && now < self.keeping.until {
            return None;
        }
        if now >= self.keeping.until {
            self.ranges.iter_mut().for_each(|range| range.wake_rested(now));
            let Keeping { spare, .. } = self.keeping;
            let ready = self.ready();
            let keeping = &mut self.keeping;
            keeping.until = now + SECOND;
            keeping.taken = [0, keeping.taken[0]];
            keeping.to_close = spare.min(ready).div_ceil(SHARE);
            keeping.spare = ready;
            self.publish();
        }
        if self.keeping.to_close == 0 {
            return None;
        }
        let key = self.drop_ready();
        self.keeping.to_close = if key.is_some() { self.keeping.to_close - 1 } else { 0 };
        key
    }

    /// Descriptors are short: a pair that was kept, if there is any. Its sockets are to be closed now.
    pub fn evict(&mut self) -> Option<Key> {
        if let Some(key) = self.drop_ready() {
            return Some(key);
        }
        let kept = self.ranges.iter_mut().find_map(|range| {
            // It rests on without sockets.
            range.resting.iter_mut().find_map(|(_, _, kept)| kept.take())
        })?;
        self.keeping.pairs -= 1;
        Some(kept.key)
    }

    /// Gives up the sockets of a rested pair; its port is free.
    fn drop_ready(&mut self) -> Option<Key> {
        let (index, range) = (0..).zip(&mut self.ranges).find(|(_, range)| !range.kept.is_empty())?;
        let kept = range.kept.pop()?;
        range.free.push_back(kept.local.port());
        range.publish(&self.stats.listeners[index]);
        self.keeping.pairs -= 1;
        self.keeping.spare = self.keeping.spare.min(self.ready());
        Some(kept.key)
    }

    /// How many pairs are kept and rested.
    fn ready(&self) -> usize {
        self.ranges.iter().map(|range| range.kept.len()).sum()
    }

    /// Lets free pairs rest that somebody else of this process has used; for the next generation of a shard.
    pub fn rest(&mut self, now: Instant, places: &[Place]) {
        for (number, range) in (0..).zip(&mut self.ranges) {
            let here = places.iter().filter(|place| place.range == number);
            let mut used: Vec<u16> = here.map(|place| place.local.port()).collect();
            used.sort_unstable();
            range.free.retain(|port| used.binary_search(port).is_err());
            if !range.ephemeral {
                range.resting.extend(used.into_iter().map(|port| (now + self.rest, port, None)));
            }
        }
        self.publish();
    }

    /// Takes back a pair that was never used.
    pub fn put_back(&mut self, taken: Taken) {
        let place = match &taken {
            Taken::Bound(pair) => pair.place,
            Taken::Kept(_, place) => *place,
        };
        let index = usize::from(place.range);
        let range = &mut self.ranges[index];
        range.used -= 1;
        match (taken, place.local) {
            (Taken::Kept(key, _), local) => {
                range.kept.push(Kept { key, local });
                self.keeping.pairs += 1;
            }
            (Taken::Bound(_), _) if range.ephemeral => {}
            (Taken::Bound(pair), local) if local.ip() == range.address => range.stock.push_front(pair),
            (Taken::Bound(_), local) => range.free.push_front(local.port()),
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
            kept: Vec::new(),
            used: 0,
        }
    }

    /// A wildcard has a port on any address of this machine: what is bound to one sends from it.
    fn covers(&self, address: IpAddr) -> bool {
        self.address.is_unspecified() && self.address.is_ipv4() == address.is_ipv4()
    }

    fn wake_rested(&mut self, now: Instant) {
        while let Some((_, port, kept)) = self.resting.pop_front_if(|(until, ..)| *until <= now) {
            match kept {
                Some(kept) => self.kept.push(kept),
                None => self.free.push_back(port),
            }
        }
    }

    /// A rested pair with open sockets on this address, by chance.
    fn choose(&mut self, address: IpAddr, rng: &mut Rng) -> Option<Kept> {
        if self.kept.is_empty() {
            return None;
        }
        // All are on one address, but for a wildcard.
        let tries = self.kept.len().min(CHOICE);
        let mut places = (0..tries).map(|_| rng.below(self.kept.len() as u64) as usize);
        let place = places.find(|place| self.kept[*place].local.ip() == address)?;
        Some(self.kept.swap_remove(place))
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
                        self.resting.push_back((retry, port, None));
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
        stats.free.set((self.free.len() + self.stock.len() + self.kept.len()) as u64);
        stats.resting.set(self.resting.len() as u64);
        stats.used.set(self.used);
    }
}

impl Kept {
    fn place(&self, range: usize) -> Place {
        Place { range: range as u16, local: self.local }
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

/// Throws away what strangers sent to a socket before its call began, a bounded number; says how many.
pub fn drain(socket: &Socket) -> u64 {
    let mut nothing = [core::mem::MaybeUninit::uninit(); 1];
    (0..DRAIN_MAX).take_while(|_| socket.recv(&mut nothing).is_ok()).count() as u64
}

/// Pairs taken in a second from which on sockets are kept: some thirty calls.
const FAST: u32 = 64;
/// Rested pairs with open sockets among which the next is chosen.
const CHOICE: usize = 32;
/// The part of the pairs that nobody needed in a second which is closed in the next one.
const SHARE: usize = 8;
const SECOND: Duration = Duration::from_secs(1);
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
        Ports::new(&listeners, shard, shards, REST, 4_000, &mut Rng::from_seed(1), stats)
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
        assert!(!ports.give_back(now, place, key(0)), "few calls come");
    }

    fn key(index: u32) -> Key {
        Key::from_bits(1 << 32 | u64::from(index))
    }

    fn bound(taken: Result<(Taken, u64), OpenRefusal>) -> (Pair, u64) {
        match taken.unwrap() {
            (Taken::Bound(pair), stale) => (pair, stale),
            (Taken::Kept(key, place), _) => panic!("{key:?} was kept at {place:?}"),
        }
    }

    #[test]
    fn a_pair_is_an_even_port_and_the_odd_one_above() {
        for range in [0..=0, quiet_range(4)] {
            let mut ports = ports(range, 0, 1);
            let (pair, stale) = bound(ports.take(Instant(0), WANT));
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
        let mut ports = Ports::new(&listeners, 0, 1, REST, 4_000, &mut Rng::from_seed(1), stats);
        assert!(!ports.stock_up(Instant(0)), "nothing is bound before the address is known");
        let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
        let want = PortWant { listener: 0, address };
        let (pair, _) = bound(ports.take(Instant(0), want));
        assert_eq!(pair.rtp.local_addr().unwrap().as_socket().unwrap().ip(), address);
        assert_eq!(pair.place.local.ip(), address);
        let place = pair.place;
        ports.put_back(Taken::Bound(pair));
        assert_eq!(
            bound(ports.take(Instant(0), want)).0.place,
            place,
            "it was never used, so it need not rest"
        );
        let v6 = PortWant { listener: 0, address: Ipv6Addr::LOCALHOST.into() };
        assert_eq!(ports.take(Instant(0), v6).unwrap_err(), OpenRefusal::NoListener);
    }

    #[test]
    fn a_closed_pair_rests_and_an_empty_range_says_so() {
        let mut ports = ports(quiet_range(2), 0, 1);
        let (a, _) = bound(ports.take(Instant(0), WANT));
        let (b, _) = bound(ports.take(Instant(0), WANT));
        assert_eq!(ports.take(Instant(0), WANT).unwrap_err(), OpenRefusal::NoPorts);
        let (first, second) = (b.place, a.place);
        close(&mut ports, Instant(0) + Duration::from_secs(1), b);
        close(&mut ports, Instant(0) + Duration::from_secs(2), a);
        let gauges = &ports.stats.listeners[0];
        assert_eq!((gauges.free.get(), gauges.resting.get(), gauges.used.get()), (0, 2, 0));
        let at = |seconds| Instant(0) + Duration::from_secs(seconds);
        assert_eq!(ports.take(at(4), WANT).unwrap_err(), OpenRefusal::NoPorts);
        let (b, _) = bound(ports.take(at(5), WANT));
        assert_eq!(b.place, first, "first in, first out");
        assert_eq!(ports.take(at(5), WANT).unwrap_err(), OpenRefusal::NoPorts);
        assert_eq!(bound(ports.take(at(6), WANT)).0.place, second);
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
                let (pair, _) = bound(ports.take(Instant(0), WANT));
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
        let (pair, _) = bound(ports.take(Instant(0), WANT));
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
        let (pair, stale) = bound(ports.take(Instant(0), WANT));
        assert_eq!((pair.place.local, stale), (next, 2));
        ports.put_back(Taken::Bound(pair));
        assert_eq!(bound(ports.take(Instant(0), WANT)).0.place.local, next, "never used: no rest");
    }

    /// Ports on addresses of loopback that no other test has, and what they are wanted as; open pairs are bounded.
    fn roomy(pairs_max: usize) -> (Ports, PortWant) {
        static TESTS: AtomicU32 = AtomicU32::new(1);
        let (process, test) = (std::process::id(), TESTS.fetch_add(1, Ordering::Relaxed));
        let address = IpAddr::V4(Ipv4Addr::new(127, test as u8, (process >> 8) as u8, process as u8));
        let listeners = [MediaListener { listener: 0, address, ports: 20_000..=21_999 }];
        let stats = Arc::new(ShardStats::new(&listeners));
        let ports = Ports::new(&listeners, 0, 1, REST, pairs_max, &mut Rng::from_seed(1), stats);
        (ports, PortWant { listener: 0, address })
    }

    fn at_ms(ms: u64) -> Instant {
        Instant(0) + Duration::from_millis(ms)
    }

    /// So many pairs taken and given back within a second, keyed from 0; how many were to be kept.
    fn burst(ports: &mut Ports, now: Instant, want: PortWant, pairs: u32) -> usize {
        let places: Vec<_> = (0..pairs).map(|_| bound(ports.take(now, want)).0.place).collect();
        (0..).zip(places).filter(|(n, place)| ports.give_back(now, *place, key(*n))).count()
    }

    #[test]
    fn fast_calls_keep_their_sockets_which_rest_and_are_taken_by_chance() {
        let (mut ports, want) = roomy(4_000);
        assert_eq!(burst(&mut ports, at_ms(0), want, 100), 100);
        assert_eq!((ports.kept(), ports.stats.listeners[0].resting.get()), (100, 100));
        // While they rest others are bound.
        let (early, _) = bound(ports.take(at_ms(3_999), want));
        let mut keys = Vec::new();
        for _ in 0..69 {
            match ports.take(at_ms(4_000), want).unwrap() {
                (Taken::Kept(key, place), 0) => {
                    assert_ne!(place, early.place);
                    keys.push(key.to_bits());
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(!keys.is_sorted(), "nobody can tell which comes next");
        keys.sort_unstable();
        keys.dedup();
        assert_eq!((keys.len(), ports.kept()), (69, 31));
        bound(ports.take(at_ms(4_000), want)); // among few the next could be guessed
        assert_eq!(ports.stats.listeners[0].used.get(), 71);
    }

    #[test]
    fn kept_pairs_are_taken_from_the_last_one_when_no_other_is_left() {
        let (mut ports, want) = roomy(4_000);
        burst(&mut ports, at_ms(0), want, 100);
        for range in &mut ports.ranges {
            range.free.clear();
        }
        let taken = (0..100).filter(|_| matches!(ports.take(at_ms(5_000), want), Ok((Taken::Kept(..), _))));
        assert_eq!(taken.count(), 100);
        assert_eq!(ports.take(at_ms(5_000), want).unwrap_err(), OpenRefusal::NoPorts);
    }

    #[test]
    fn an_idle_shard_gives_its_descriptors_back_slowly_and_all_of_them() {
        let (mut ports, want) = roomy(4_000);
        burst(&mut ports, at_ms(0), want, 160);
        let free = ports.stats.listeners[0].free.get();
        let mut closed = Vec::new();
        for second in 1..90 {
            let now = at_ms(second * 1_000 + 1);
            closed.push(std::iter::from_fn(|| ports.release(now)).count());
        }
        assert_eq!(closed[..4], [0; 4], "they rest, and may be wanted");
        assert_eq!(closed.iter().copied().max(), Some(20), "an eighth of those that nobody needed");
        assert_eq!((closed.iter().sum::<usize>(), ports.kept()), (160, 0));
        assert_eq!(ports.stats.listeners[0].free.get(), free + 160);
    }

    #[test]
    fn what_is_needed_every_second_is_not_given_back() {
        let (mut ports, want) = roomy(4_000);
        burst(&mut ports, at_ms(0), want, 100);
        // All that are ready are taken once a second, and rest again.
        let mut keys = Vec::new();
        for second in 4..40 {
            let now = at_ms(second * 1_000 + 1);
            keys.extend(ports.release(now));
            let taken: Vec<_> = (0..100).map(|_| ports.take(now, want).unwrap().0).collect();
            for (n, taken) in (0..).zip(taken) {
                match taken {
                    Taken::Kept(key, place) => assert!(ports.give_back(now, place, key)),
                    Taken::Bound(pair) => {
                        assert!(ports.give_back(now, pair.place, key(1_000 * second as u32 + n)));
                    }
                }
            }
        }
        assert!(keys.len() < 36 * 5, "{} were closed and bound anew", keys.len());
    }

    #[test]
    fn no_more_are_kept_than_leave_descriptors_for_others() {
        let (mut ports, want) = roomy(200);
        assert_eq!(burst(&mut ports, at_ms(0), want, 150), 99);
    }

    #[test]
    fn short_descriptors_evict_rested_pairs_first_and_then_those_that_rest() {
        let (mut ports, want) = roomy(4_000);
        burst(&mut ports, at_ms(0), want, 80);
        let place = bound(ports.take(at_ms(1_000), want)).0.place;
        assert!(ports.give_back(at_ms(1_000), place, key(900)));
        let late = (place, key(900));
        ports.ranges[0].wake_rested(at_ms(4_500));
        let evicted: Vec<_> = std::iter::from_fn(|| ports.evict()).collect();
        assert_eq!((evicted.len(), evicted[80], ports.kept()), (81, late.1, 0));
        assert_eq!(ports.stats.listeners[0].resting.get(), 1);
        // Its port rests on.
        assert!(!ports.ranges[0].free.contains(&late.0.local.port()));
        ports.ranges[0].wake_rested(at_ms(5_000));
        assert!(ports.ranges[0].free.contains(&late.0.local.port()));
    }

    #[test]
    fn a_kept_pair_that_was_not_used_after_all_stays_kept() {
        let (mut ports, want) = roomy(4_000);
        burst(&mut ports, at_ms(0), want, 100);
        let (taken, _) = ports.take(at_ms(5_000), want).unwrap();
        assert!(matches!(taken, Taken::Kept(..)));
        ports.put_back(taken);
        assert_eq!((ports.kept(), ports.stats.listeners[0].used.get()), (100, 0));
    }

    #[test]
    fn a_wildcard_takes_kept_pairs_of_the_wanted_address_only() {
        let (_, want) = roomy(0);
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let listeners = [MediaListener { listener: 0, address: any, ports: 20_000..=21_999 }];
        let stats = Arc::new(ShardStats::new(&listeners));
        let mut ports = Ports::new(&listeners, 0, 1, REST, 4_000, &mut Rng::from_seed(1), stats);
        burst(&mut ports, at_ms(0), want, 100);
        let (_, other) = roomy(0);
        let (pair, _) = bound(ports.take(at_ms(5_000), other));
        assert_eq!(pair.place.local.ip(), other.address);
        assert!(matches!(ports.take(at_ms(5_000), want), Ok((Taken::Kept(..), 0))));
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
        let mut ports = Ports::new(&listeners, 0, 1, REST, 4_000, &mut Rng::from_seed(1), stats);
        let want = PortWant { listener: 0, address: foreign };
        assert_eq!(ports.take(Instant(0), want).unwrap_err(), OpenRefusal::NoPorts);
    }
}
