//! The bare relay with epoll: a socket a port, one `recvfrom` and one `sendto` a packet, one thread.

use std::io;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Bare, Pair, Used};
use crate::sys::{self, Epoll, Target};

/// Starts the relay. It runs until [`Bare::stop`].
///
/// # Errors
/// No descriptor or thread left.
pub fn start(pairs: Vec<Pair>, cpu: Option<usize>) -> io::Result<Bare> {
    let epoll = Epoll::new()?;
    let mut ports = Vec::with_capacity(pairs.len() * 2);
    for Pair { x, y, x_peer, y_peer } in pairs {
        // What arrives at port 2n leaves through 2n + 1, and the other way round.
        ports.push(Port { socket: x, peer: Target::from(x_peer) });
        ports.push(Port { socket: y, peer: Target::from(y_peer) });
    }
    for (number, port) in ports.iter().enumerate() {
        port.socket.set_nonblocking(true)?;
        epoll.add(&port.socket, number as u64)?;
    }
    Bare::spawn("bare-epoll", move |stop| {
        sys::sharpen_thread(cpu);
        relay(&epoll, &ports, stop)
    })
}

struct Port {
    socket: UdpSocket,
    peer: Target,
}

fn relay(epoll: &Epoll, ports: &[Port], stop: &AtomicBool) -> Used {
    let mut used = Used::default();
    let mut ready = Vec::with_capacity(64);
    let mut buffer = [0u8; 2048];
    while !stop.load(Ordering::Relaxed) {
        epoll.wait(&mut ready, 50);
        for &number in &ready {
            // One packet a wake-up: at 50 packets a second a port there is hardly ever a second one, and asking for
            // it would cost a system call. Epoll tells again if there is.
            let (from, through) = (&ports[number as usize], &ports[number as usize ^ 1]);
            let Ok((len, _source)) = from.socket.recv_from(&mut buffer) else { continue };
            match sys::send_to(&through.socket, &buffer[..len], &through.peer) {
                Ok(()) => used.packets += 1,
                Err(_) => used.send_errors += 1,
            }
        }
    }
    used
}
