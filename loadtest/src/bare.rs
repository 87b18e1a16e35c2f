//! The least RTP relays that there can be: receive and send, nothing else. They are the yardstick beside which the
//! engine's CPU a packet is judged. What arrives at one port of a pair leaves through the other.
pub mod epoll; // a socket a port, one packet a system call
pub mod uring; // multishot receive into provided buffers, batched sends

use std::fs;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// One call through the relay: what arrives at `x` is sent from `y` to `y_peer`, what arrives at `y` from `x` to
/// `x_peer`. Nobody's address is learned or checked.
#[derive(Debug)]
pub struct Pair {
    /// The port that faces the first party.
    pub x: UdpSocket,
    /// The port that faces the second party.
    pub y: UdpSocket,
    /// Where the first party receives.
    pub x_peer: SocketAddr,
    /// Where the second party receives.
    pub y_peer: SocketAddr,
}

/// What a relay did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Packets sent on.
    pub packets: u64,
    /// Packets that the kernel did not take.
    pub send_errors: u64,
    /// CPU time of the relay's thread, nanoseconds.
    pub cpu_ns: u64,
}

/// A running relay, one thread.
#[derive(Debug)]
pub struct Bare {
    thread: JoinHandle<Used>,
    id: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
}

impl Bare {
    fn spawn(name: &str, relay: impl FnOnce(&AtomicBool) -> Used + Send + 'static) -> io::Result<Self> {
        let (id, stop) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let (its_id, its_stop) = (Arc::clone(&id), Arc::clone(&stop));
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            its_id.store(crate::sys::thread_id(), Ordering::Release);
            let mut used = relay(&its_stop);
            used.cpu_ns = crate::sys::thread_cpu_ns();
            used
        })?;
        Ok(Bare { thread, id, stop })
    }

    /// CPU time of the relay's thread so far, nanoseconds; for measuring a part of a run.
    pub fn cpu_ns(&self) -> u64 {
        let id = loop {
            match self.id.load(Ordering::Acquire) {
                0 if !self.thread.is_finished() => thread::sleep(Duration::from_millis(1)),
                id => break id,
            }
        };
        let text = fs::read_to_string(format!("/proc/self/task/{id}/schedstat")).unwrap_or_default();
        text.split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
    }

    /// Ends the relay and closes its ports.
    ///
    /// # Panics
    /// If the relay's thread did.
    pub fn stop(self) -> Used {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the relay's thread does not panic")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys;
    use std::net::Ipv4Addr;

    fn passes_packets_both_ways(start: impl Fn(Vec<Pair>, Option<usize>) -> io::Result<Bare>) {
        let socket = || sys::udp_socket((Ipv4Addr::LOCALHOST, 0).into(), 1 << 20).unwrap();
        let at = |socket: &UdpSocket| socket.local_addr().unwrap();
        let mut pairs = Vec::new();
        let mut phones = Vec::new();
        for _ in 0..20 {
            let (a, b, x, y) = (socket(), socket(), socket(), socket());
            let (to_x, to_y) = (at(&x), at(&y));
            pairs.push(Pair { x, y, x_peer: at(&a), y_peer: at(&b) });
            phones.push((a, to_x, b, to_y));
        }
        let relay = start(pairs, None).unwrap();
        for round in 0..50u8 {
            for (number, (a, to_x, b, to_y)) in phones.iter().enumerate() {
                let packet = [&[round, number as u8][..], &[7; 170]].concat();
                a.send_to(&packet, to_x).unwrap();
                b.send_to(&packet, to_y).unwrap();
            }
        }
        for (number, (a, to_x, b, to_y)) in phones.iter().enumerate() {
            for (phone, source) in [(a, to_x), (b, to_y)] {
                phone.set_nonblocking(false).unwrap();
                phone.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                let mut buffer = [0; 2048];
                for round in 0..50u8 {
                    let (len, from) = loop {
                        match phone.recv_from(&mut buffer) {
                            // Closing the ring of the probe interrupts this thread once.
                            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                            result => break result.expect("a packet a round"),
                        }
                    };
                    assert_eq!((len, buffer[0], buffer[1], from), (172, round, number as u8, *source));
                }
            }
        }
        let cpu = relay.cpu_ns();
        let used = relay.stop();
        assert_eq!((used.packets, used.send_errors), (2_000, 0));
        assert!(used.cpu_ns >= cpu && used.cpu_ns > 0);
    }

    #[test]
    fn the_epoll_relay_passes_packets_both_ways() {
        passes_packets_both_ways(epoll::start);
    }

    #[expect(clippy::print_stdout, reason = "a test that cannot be run here says so")]
    #[test]
    fn the_uring_relay_passes_packets_both_ways() {
        if io_uring::IoUring::new(8).is_err() {
            println!("this kernel or container forbids io_uring: its bare relay was not tried");
            return;
        }
        passes_packets_both_ways(uring::start);
    }
}
