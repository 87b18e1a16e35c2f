//! Banned sources, told to the kernel: their datagrams never reach the strangers' queue, where they would crowd out other
//! strangers. The kernel is given as many as it takes, the newest first; the others are read and dropped. It is a filter
//! on our own sockets and needs no privilege; trunks have other sockets.

use crate::filter::{self, Family, Net};
use crate::udp::Group;
use base::{Clock, Duration, Instant};
use ledger::DropList;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Shared by whoever bans and by the signalling threads.
#[derive(Clone, Debug)]
pub struct Blocked {
    clock: Clock,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    sockets: Vec<Group>,
    /// Both ways: when each was banned, by a counter.
    by_net: BTreeMap<Net, u64>,
    by_age: BTreeMap<u64, Net>,
    next: u64,
    attached: Instant,
    late: bool,
}

/// Networks that the kernel is told; a program of them stays below what all kernels allow.
const TOLD_MAX: usize = 512;
const INSTRUCTIONS_MAX: usize = 2_048;
/// Programs are made no more often than this.
const ATTACH_EVERY: Duration = Duration::from_millis(50);

impl Blocked {
    /// Nobody.
    pub fn new(clock: Clock) -> Blocked {
        Blocked { clock, state: Arc::default() }
    }

    /// From now on this socket, too, gets nothing from them.
    pub fn guard(&self, socket: Group) {
        self.change(|state| {
            state.sockets.push(socket);
            state.late |= !state.by_net.is_empty();
        });
    }

    /// Tells the kernel what came too soon after the last time.
    pub fn catch_up(&self) {
        self.change(|_| {});
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        let now = self.clock.now().mono;
        if state.late && now.since(state.attached) >= ATTACH_EVERY {
            state.attached = now;
            state.tell();
        }
    }
}

impl DropList for Blocked {
    fn add(&self, net: ledger::Net) {
        let net = Net { address: net.address(), prefix: net.prefix() };
        self.change(|state| {
            let age = state.next;
            state.next += 1;
            if let Some(earlier) = state.by_net.insert(net, age) {
                state.by_age.remove(&earlier);
            }
            state.by_age.insert(age, net);
            state.late = true;
        });
    }

    fn remove(&self, net: ledger::Net) {
        let net = Net { address: net.address(), prefix: net.prefix() };
        self.change(|state| {
            if let Some(age) = state.by_net.remove(&net) {
                state.by_age.remove(&age);
                state.late = true;
            }
        });
    }
}

impl State {
    fn tell(&mut self) {
        self.late = false;
        let newest: Vec<Net> = self.by_age.values().rev().take(TOLD_MAX).copied().collect();
        for socket in &self.sockets {
            let family = if socket.local().is_ipv4() { Family::V4 } else { Family::V6 };
            let program = filter::compile_drops(family, &newest, INSTRUCTIONS_MAX);
            if let Err(error) = socket.attach_filter(&program) {
                // They are still read and dropped.
                tracing::debug!(address = %socket.local(), %error, "bans not told to the kernel");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::udp::{Buffers, Poll, UdpSocket};
    use core::net::IpAddr;

    fn net(text: &str) -> ledger::Net {
        let address: IpAddr = text.parse().unwrap();
        ledger::Net::new(address, if address.is_ipv4() { 32 } else { 128 }).unwrap()
    }

    /// Whether a datagram from `source` arrives; one from an address that is never banned says that it is time.
    fn arrives(socket: &UdpSocket, source: &str) -> bool {
        for (source, word) in [(source, b"first"), ("127.0.9.99", b"later")] {
            std::net::UdpSocket::bind((source, 0)).unwrap().send_to(word, socket.local()).unwrap();
        }
        let poll = Poll::new().unwrap();
        poll.watch(socket.raw(), 0).unwrap();
        poll.wait(5_000, &mut Vec::new());
        let mut buffers = Buffers::default();
        socket.receive(&mut buffers).unwrap();
        assert_eq!(buffers.datagram(buffers.received.len() - 1), b"later");
        buffers.received.len() == 2
    }

    fn soon(blocked: &Blocked, done: impl Fn() -> bool) {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while !done() {
            assert!(std::time::Instant::now() < end, "the kernel has not heard of it");
            blocked.catch_up();
        }
    }

    #[test]
    fn the_kernel_drops_what_banned_sources_send() {
        let blocked = Blocked::new(Clock::start());
        let socket = UdpSocket::bind("127.0.9.1:0".parse().unwrap(), 0).unwrap();
        blocked.guard(socket.group().unwrap());
        assert!(arrives(&socket, "127.0.9.2"));
        blocked.add(net("127.0.9.2"));
        soon(&blocked, || !arrives(&socket, "127.0.9.2"));
        assert!(arrives(&socket, "127.0.9.3"));
        // The newest of many is told.
        for n in 0..5_000u32 {
            blocked.add(net(&core::net::Ipv4Addr::from_bits(0x0a00_0000 + 3 * n).to_string()));
        }
        blocked.add(net("127.0.9.3"));
        soon(&blocked, || !arrives(&socket, "127.0.9.3"));
        blocked.remove(net("127.0.9.3"));
        soon(&blocked, || arrives(&socket, "127.0.9.3"));
        // A socket that is bound later hears of earlier bans.
        let later = UdpSocket::bind("127.0.9.1:0".parse().unwrap(), 0).unwrap();
        blocked.add(net("127.0.9.4"));
        soon(&blocked, || !arrives(&socket, "127.0.9.4"));
        blocked.guard(later.group().unwrap());
        soon(&blocked, || !arrives(&later, "127.0.9.4"));
    }

    #[test]
    fn a_ban_that_is_renewed_and_ends_leaves_nothing() {
        let blocked = Blocked::new(Clock::start());
        for _ in 0..3 {
            blocked.add(net("2001:db8::1"));
        }
        blocked.remove(net("2001:db8::1"));
        blocked.remove(net("2001:db8::1"));
        let state = blocked.state.lock().unwrap();
        assert!(state.by_net.is_empty() && state.by_age.is_empty());
    }
}
