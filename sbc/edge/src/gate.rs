//! Who is known: the networks that the configuration names, the addresses of its host names, and peers that we have sent
//! requests to. The kernel sorts datagrams and connections by it, so that a flood from strangers fills the strangers' queue alone. Being
//! known is no trust: it may hold too many sources, and the B2BUA judges each message again.

use crate::filter::{self, Family, INSTRUCTIONS_MAX, Net};
use crate::resolver::is_literal;
use crate::udp::{Group, Listening, Paths};
use b2bua::spec::{Source, Spec};
use base::{Duration, Instant};
use core::net::IpAddr;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Shared by all signalling threads and the streams.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// One socket of each address: a program is for all sockets of its address.
    doors: Vec<Door>,
    configured: Vec<Net>,
    hosts: Vec<String>,
    resolved: BTreeMap<String, Vec<IpAddr>>,
    /// Peers that the configuration does not name as sources, with the time of our last request to them.
    peers: BTreeMap<IpAddr, Instant>,
    /// All of these as ranges in the IPv6 space (IPv4 mapped) that do not overlap, in order.
    known: Vec<(u128, u128)>,
    /// When peers were last given to the kernel, and whether there are new ones since.
    attached: Instant,
    late: bool,
}

#[derive(Debug)]
struct Door {
    group: Group,
    shards: u32,
    /// As the log says it.
    warned: Option<u8>,
}

/// What one thread has told the gate lately, so that it need not ask for the lock with each request.
#[derive(Debug, Default)]
pub struct Told {
    peers: BTreeMap<IpAddr, Instant>,
}

/// A thread says again after this that it sends to a peer.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// Peers that a thread remembers having told.
const TOLD_MAX: usize = 4_096;

/// Peers that are remembered.
const PEERS_MAX: usize = 1_024;
/// For so long after the last request to them.
const PEER_KEPT: Duration = Duration::from_secs(3_600);
/// Programs for new peers are made no more often than this.
const ATTACH_EVERY: Duration = Duration::from_millis(50);

impl Gate {
    /// Takes the networks and names of a configuration.
    pub fn apply(&self, spec: &Spec) {
        let (mut nets, mut hosts) = (Vec::new(), Vec::new());
        for trunk in &spec.trunks {
            for source in &trunk.from {
                match source {
                    Source::Net { address, prefix, .. } => {
                        nets.push(Net { address: *address, prefix: *prefix });
                    }
                    Source::Host { name, .. } => hosts.push(name.clone()),
                }
            }
            nets.extend(trunk.to.iter().filter_map(|target| is_literal(&target.host)).map(single));
        }
        self.set(nets, hosts);
    }

    fn set(&self, nets: Vec<Net>, hosts: Vec<String>) {
        let mut state = self.state();
        state.resolved.retain(|name, _| hosts.contains(name));
        (state.configured, state.hosts) = (nets, hosts);
        state.renew();
    }

    /// Addresses of a host name that identifies a trunk.
    pub fn set_resolved(&self, name: &str, addresses: &[IpAddr]) {
        let mut state = self.state();
        if state.resolved.get(name).is_none_or(|known| known != addresses) {
            state.resolved.insert(name.to_owned(), addresses.to_vec());
            state.renew();
        }
    }

    /// A request goes to `peer`: its answer must not wait among strangers.
    pub fn expect(&self, now: Instant, peer: IpAddr) {
        let mut state = self.state();
        let peer = peer.to_canonical();
        if let Some(at) = state.peers.get_mut(&peer) {
            *at = now;
        } else if !state.is_known(peer) {
            if state.peers.len() >= PEERS_MAX {
                state.peers.retain(|_, at| now.since(*at) < PEER_KEPT);
            }
            if state.peers.len() >= PEERS_MAX {
                return; // It is served, as strangers are.
            }
            state.peers.insert(peer, now);
            state.late = true;
        }
        if state.late && now.since(state.attached) >= ATTACH_EVERY {
            state.peers.retain(|_, at| now.since(*at) < PEER_KEPT);
            state.attached = now;
            state.renew();
        }
    }

    /// Gives new peers to the kernel that came too soon after the last ones.
    pub fn catch_up(&self, now: Instant) {
        let mut state = self.state();
        if state.late && now.since(state.attached) >= ATTACH_EVERY {
            state.attached = now;
            state.renew();
        }
    }

    /// Lets the kernel sort the datagrams of one address. Where it cannot, the strangers' sockets are closed and all
    /// datagrams arrive on the others; the answer says why.
    ///
    /// # Errors
    /// The kernel takes no program.
    pub fn divide(&self, paths: &mut [Paths]) -> std::io::Result<()> {
        let Some(first) = paths.first() else { return Ok(()) };
        let divided = first.known.group().and_then(|group| self.state().guard(group, paths.len() as u32));
        if divided.is_err() {
            for paths in paths {
                paths.strangers = None;
            }
        }
        divided
    }

    /// As [`Gate::divide`], for connections.
    ///
    /// # Errors
    /// The kernel takes no program.
    pub fn divide_streams(&self, listening: &mut Listening) -> std::io::Result<()> {
        let divided = listening.group().and_then(|group| self.state().guard(group, 1));
        if divided.is_err() {
            listening.strangers = None;
        }
        divided
    }

    /// Whether a source may be one of the configuration's.
    pub fn is_known(&self, source: IpAddr) -> bool {
        self.state().is_known(source)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    /// Tells the gate of a request, unless it was told just now.
    pub fn tell(&mut self, gate: &Gate, now: Instant, peer: IpAddr) {
        if self.peers.get(&peer).is_some_and(|at| now.since(*at) < TELL_EVERY) {
            return;
        }
        if self.peers.len() >= TOLD_MAX {
            self.peers.clear();
        }
        self.peers.insert(peer, now);
        gate.expect(now, peer);
    }
}

impl State {
    fn nets(&self) -> Vec<Net> {
        let resolved = self.hosts.iter().filter_map(|name| self.resolved.get(name)).flatten();
        let mut nets = self.configured.clone();
        nets.extend(resolved.chain(self.peers.keys()).map(|ip| single(*ip)));
        nets.sort_unstable();
        nets.dedup();
        nets
    }

    fn guard(&mut self, group: Group, shards: u32) -> std::io::Result<()> {
        let mut door = Door { group, shards, warned: None };
        door.attach(&self.nets())?;
        self.doors.push(door);
        Ok(())
    }

    /// Something has changed: for the kernel, and for us.
    fn renew(&mut self) {
        self.late = false;
        let nets = self.nets();
        let mut ranges: Vec<(u128, u128)> = nets.iter().map(range).collect();
        ranges.sort_unstable();
        self.known.clear();
        for (low, high) in ranges {
            match self.known.last_mut() {
                Some(last) if low <= last.1 => last.1 = last.1.max(high),
                _ => self.known.push((low, high)),
            }
        }
        for door in &mut self.doors {
            if let Err(error) = door.attach(&nets) {
                // The earlier program is still there.
                tracing::error!(address = %door.group.local(), %error, "known sources not told to the kernel");
            }
        }
    }

    fn is_known(&self, source: IpAddr) -> bool {
        let bits = widen(source);
        let after = self.known.partition_point(|(low, _)| *low <= bits);
        after > 0 && self.known[after - 1].1 >= bits
    }
}

impl Door {
    /// Makes the program and gives it to the kernel, a shorter one if that is too long for it.
    fn attach(&mut self, nets: &[Net]) -> std::io::Result<()> {
        let family = if self.group.local().is_ipv4() { Family::V4 } else { Family::V6 };
        let mut allowed = INSTRUCTIONS_MAX;
        loop {
            let program = filter::compile(family, nets, self.shards, allowed);
            match self.group.attach(&program.code) {
                Ok(()) => {
                    if program.cut_to.is_some() && program.cut_to != self.warned {
                        tracing::warn!(
                            address = %self.group.local(),
                            prefix = program.cut_to,
                            "too many trunk sources for the kernel: they share their queue with their neighbours"
                        );
                    }
                    self.warned = program.cut_to;
                    return Ok(());
                }
                // Kernels bound the memory of a program (net.core.optmem_max).
                Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && allowed > 64 => allowed /= 2,
                Err(error) => return Err(error),
            }
        }
    }
}

fn single(address: IpAddr) -> Net {
    let address = address.to_canonical();
    Net { address, prefix: if address.is_ipv4() { 32 } else { 128 } }
}

fn widen(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The first and the last address of a network.
fn range(net: &Net) -> (u128, u128) {
    let prefix = u32::from(net.prefix) + if net.address.is_ipv4() { 96 } else { 0 };
    let host = u128::MAX.checked_shr(prefix).unwrap_or(0);
    let bits = widen(net.address);
    (bits & !host, bits | host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::udp::{Buffers, Poll, UdpSocket};
    use std::os::fd::AsRawFd;

    fn set(gate: &Gate, nets: &[&str], hosts: &[&str]) {
        let net = |text: &&str| {
            let (address, prefix) = text.split_once('/').unwrap();
            Net { address: address.parse().unwrap(), prefix: prefix.parse().unwrap() }
        };
        gate.set(nets.iter().map(net).collect(), hosts.iter().map(|&host| host.to_owned()).collect());
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_names_and_peers_are_known_and_nobody_else() {
        let gate = Gate::default();
        set(&gate, &["192.0.2.0/28", "2001:db8:1::/48", "198.51.100.9/32"], &["sbc.example"]);
        for known in ["192.0.2.0", "192.0.2.15", "2001:db8:1:2::3", "198.51.100.9"] {
            assert!(gate.is_known(ip(known)), "{known}");
        }
        for stranger in ["192.0.2.16", "192.0.1.255", "198.51.100.8", "2001:db8:2::", "::", "203.0.113.1"] {
            assert!(!gate.is_known(ip(stranger)), "{stranger}");
        }
        gate.set_resolved("sbc.example", &[ip("203.0.113.1")]);
        assert!(gate.is_known(ip("203.0.113.1")));
        gate.expect(Instant(1_000_000_000), ip("203.0.113.7"));
        assert!(gate.is_known(ip("203.0.113.7")));
        // Another configuration without that name.
        set(&gate, &["192.0.2.0/28"], &[]);
        assert!(!gate.is_known(ip("203.0.113.1")));
        assert!(gate.is_known(ip("203.0.113.7")), "a call to it may still be up");
    }

    #[test]
    fn peers_are_few_and_are_forgotten_after_an_hour() {
        let gate = Gate::default();
        let at = |n: u64| Instant(n * 1_000_000_000);
        for n in 0..3 * PEERS_MAX as u32 {
            gate.expect(at(1 + u64::from(n)), core::net::Ipv4Addr::from_bits(0x0a00_0000 + n).into());
        }
        assert_eq!(gate.state().peers.len(), PEERS_MAX);
        assert!(gate.is_known(ip("10.0.0.1")));
        gate.expect(at(9_000), ip("192.0.2.1"));
        assert!(gate.is_known(ip("192.0.2.1")) && !gate.is_known(ip("10.0.0.1")));
    }

    #[test]
    fn peers_that_come_together_reach_the_kernel_a_little_later() {
        let gate = Gate::default();
        let at = |ms: u64| Instant(ms * 1_000_000);
        gate.expect(at(1_000), ip("192.0.2.1"));
        gate.expect(at(1_010), ip("192.0.2.2"));
        assert!(!gate.is_known(ip("192.0.2.2")));
        gate.catch_up(at(1_020));
        assert!(!gate.is_known(ip("192.0.2.2")));
        gate.catch_up(at(1_100));
        assert!(gate.is_known(ip("192.0.2.2")));
    }

    /// Where a datagram from `source` arrives: at the known socket of a shard (`Ok`) or at the strangers' (`Err`).
    fn arrives(paths: &[Paths], source: &str) -> Result<usize, usize> {
        let sender = std::net::UdpSocket::bind((ip(source), 0)).unwrap();
        let poll = Poll::new().unwrap();
        for (shard, paths) in paths.iter().enumerate() {
            poll.watch(paths.known.raw(), shard as u64 * 2).unwrap();
            poll.watch(paths.strangers.as_ref().unwrap().raw(), shard as u64 * 2 + 1).unwrap();
        }
        sender.send_to(b"hello", paths[0].known.local()).unwrap();
        let mut ready = Vec::new();
        poll.wait(5_000, &mut ready);
        let [token] = ready[..] else { panic!("one socket, not {ready:?}") };
        let shard = (token / 2) as usize;
        let (is_known, socket) = match token % 2 {
            0 => (true, &paths[shard].known),
            _ => (false, paths[shard].strangers.as_ref().unwrap()),
        };
        let mut buffers = Buffers::default();
        socket.receive(&mut buffers).unwrap();
        assert_eq!(
            (buffers.datagram(0), buffers.received[0].remote),
            (&b"hello"[..], sender.local_addr().unwrap())
        );
        if is_known { Ok(shard) } else { Err(shard) }
    }

    #[test]
    fn the_kernel_sorts_datagrams_by_their_source() {
        let gate = Gate::default();
        set(&gate, &["127.0.9.2/32", "127.0.10.0/24"], &[]);
        for shards in [1, 3] {
            let mut paths = UdpSocket::bind_paths("127.0.9.1:0".parse().unwrap(), 0, shards).unwrap();
            gate.divide(&mut paths).unwrap();
            assert!(arrives(&paths, "127.0.9.2").is_ok());
            assert!(arrives(&paths, "127.0.10.77").is_ok());
            assert!(arrives(&paths, "127.0.9.3").is_err());
            // A program is replaced while the sockets live.
            gate.expect(Instant(shards as u64 * 1_000_000_000), ip("127.0.9.3"));
            assert!(arrives(&paths, "127.0.9.3").is_ok());
            set(&gate, &["127.0.9.3/32"], &[]);
            assert!(arrives(&paths, "127.0.9.2").is_err());
            gate.state().peers.clear();
            set(&gate, &["127.0.9.2/32", "127.0.10.0/24"], &[]);
        }
    }

    #[test]
    fn the_kernel_sorts_ipv6_too() {
        let gate = Gate::default();
        let mut paths = UdpSocket::bind_paths("[::1]:0".parse().unwrap(), 0, 2).unwrap();
        gate.divide(&mut paths).unwrap();
        assert!(arrives(&paths, "::1").is_err());
        set(&gate, &["2001:db8::/32", "::1/128", "::8/125"], &[]);
        assert!(arrives(&paths, "::1").is_ok());
        set(&gate, &["2001:db8::/32", "::2/128", "::8/125"], &[]);
        assert!(arrives(&paths, "::1").is_err());
    }

    #[test]
    fn the_kernel_sorts_connections() {
        let gate = Gate::default();
        let mut listening = Listening::bind("127.0.9.1:0".parse().unwrap()).unwrap();
        gate.divide_streams(&mut listening).unwrap();
        let (known, strangers) = (&listening.known, listening.strangers.as_ref().unwrap());
        let address = known.local_addr().unwrap();
        let connect = || {
            let poll = Poll::new().unwrap();
            poll.watch(known.as_raw_fd(), 0).unwrap();
            poll.watch(strangers.as_raw_fd(), 1).unwrap();
            let stream = std::net::TcpStream::connect(address).unwrap();
            let mut ready = Vec::new();
            poll.wait(5_000, &mut ready);
            let accepted = if ready == [0] { known.accept() } else { strangers.accept() };
            assert_eq!(accepted.unwrap().1, stream.local_addr().unwrap());
            (ready == [0], stream.local_addr().unwrap().ip())
        };
        let (is_known, source) = connect();
        assert!(!is_known);
        gate.expect(Instant(1_000_000_000), source);
        assert!((0..5).all(|_| connect().0));
        assert!(Listening::bind(address).is_err(), "it is ours");
    }

    #[test]
    fn thousands_of_sources_are_told_to_the_kernel_as_well_as_it_can_take_them() {
        let gate = Gate::default();
        let mut paths = UdpSocket::bind_paths("127.0.9.1:0".parse().unwrap(), 0, 1).unwrap();
        gate.divide(&mut paths).unwrap();
        let from: Vec<String> = (0..5_000u32)
            .map(|n| format!("{}/32", core::net::Ipv4Addr::from_bits(0x0a00_0000 + n * 7_919)))
            .chain(["127.0.9.2/32".to_owned()])
            .collect();
        set(&gate, &from.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
        assert!(arrives(&paths, "127.0.9.2").is_ok(), "never fewer than those");
        assert!(arrives(&paths, "127.77.0.1").is_err(), "not everybody");
    }

    #[test]
    fn an_address_that_is_ours_is_nobody_elses() {
        let paths = UdpSocket::bind_paths("127.0.9.1:0".parse().unwrap(), 0, 2).unwrap();
        let address = paths[0].known.local();
        assert!(UdpSocket::bind_paths(address, 0, 2).is_err());
        assert!(UdpSocket::bind(address, 0).is_err());
    }
}
