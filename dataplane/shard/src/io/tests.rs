//! One suite for all back ends, with real sockets on loopback.

use super::epoll::Epoll;
use super::uring::Uring;
use super::*;
use socket2::{Domain, Protocol, Type};
use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::thread;

/// Makes a test of each behaviour for each back end. A host that forbids io_uring is named, and passes.
macro_rules! suite {
    ($($behaviour:ident)+) => {
        mod with_epoll {
            $(#[test] fn $behaviour() { super::$behaviour::<super::Epoll>(); })+
        }
        mod with_uring {
            $(#[test] fn $behaviour() {
                match super::make::<super::Uring>() {
                    Ok(_) => super::$behaviour::<super::Uring>(),
                    Err(error) => println!("io_uring is absent here ({error}): not tested"),
                }
            })+
        }
    };
}

suite! {
    packets_go_both_ways_byte_for_byte
    both_families_meet
    an_oversize_datagram_is_marked
    an_empty_datagram_is_a_packet_like_any_other
    many_sockets_share_the_turns_and_lose_nothing
    a_burst_on_one_socket_comes_in_order
    a_packet_may_go_to_several_places
    the_bell_ends_a_wait
    a_wait_without_packets_lasts_its_time
    a_closed_slot_is_silent_and_its_port_is_free
    a_reopened_slot_gives_nothing_of_its_predecessor
    a_send_that_fails_is_told_with_its_slot
    bad_slots_are_refused
    a_target_that_is_gone_harms_nobody
    hairpin_between_own_sockets_works
}

fn make<I: Io>() -> io::Result<(I, Bell)> {
    let bell = Bell::new()?;
    Ok((I::new(64, bell.clone())?, bell))
}

fn io<I: Io>() -> I {
    make::<I>().unwrap().0
}

fn bound(address: &str) -> Socket {
    let address: SocketAddr = address.parse().unwrap();
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP)).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket
}

/// Opens a socket of the back end on loopback and says where it is.
fn open(io: &mut impl Io, slot: u32, address: &str) -> SocketAddr {
    let socket = bound(address);
    let here = socket.local_addr().unwrap().as_socket().unwrap();
    io.open(Slot(slot), socket).unwrap();
    here
}

fn phone(address: &str) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let here = socket.local_addr().unwrap();
    (socket, here)
}

type Seen = (Slot, SocketAddr, Vec<u8>, bool);

/// Turns until `want` packets have come (or a lot of time has passed), sending each where `hop` says.
fn turn(io: &mut impl Io, want: usize, mut hop: impl FnMut(Slot) -> Vec<Hop>) -> Vec<Seen> {
    let mut seen = Vec::new();
    for _ in 0..500 {
        if seen.len() >= want {
            break;
        }
        io.wait(Duration::from_millis(10));
        io.recv();
        io.batch().route(|slot, source, packet, hops| {
            seen.push((slot, source, packet.buffer[..packet.len].to_vec(), packet.truncated));
            hop(slot).into_iter().for_each(|hop| hops.push(hop));
        });
        io.send();
    }
    io.wait(Duration::ZERO);
    seen
}

fn packets_go_both_ways_byte_for_byte<I: Io>() {
    let mut io = io::<I>();
    let (a, a_at) = phone("127.0.0.1:0");
    let (b, b_at) = phone("127.0.0.1:0");
    let (x, y) = (open(&mut io, 0, "127.0.0.1:0"), open(&mut io, 1, "127.0.0.1:0"));
    let hop = |slot| match slot {
        Slot(0) => vec![Hop { slot: Slot(1), target: b_at }],
        _ => vec![Hop { slot: Slot(0), target: a_at }],
    };
    for len in [1, 12, 172, 1472, PACKET_MAX] {
        let (up, down): (Vec<u8>, Vec<u8>) =
            ((0..len).map(|i| i as u8).collect(), (0..len).map(|i| (i * 7) as u8).collect());
        a.send_to(&up, x).unwrap();
        b.send_to(&down, y).unwrap();
        let mut seen = turn(&mut io, 2, hop);
        seen.sort();
        assert_eq!(seen, [(Slot(0), a_at, up.clone(), false), (Slot(1), b_at, down.clone(), false)]);
        let mut buffer = [0; 4096];
        assert_eq!(b.recv_from(&mut buffer).unwrap(), (len, y));
        assert_eq!(buffer[..len], up);
        assert_eq!(a.recv_from(&mut buffer).unwrap(), (len, x));
        assert_eq!(buffer[..len], down);
    }
}

fn both_families_meet<I: Io>() {
    let mut io = io::<I>();
    let (a, a_at) = phone("127.0.0.1:0");
    let (b, b_at) = phone("[::1]:0");
    let (x, y) = (open(&mut io, 0, "127.0.0.1:0"), open(&mut io, 1, "[::1]:0"));
    let hop = |slot| match slot {
        Slot(0) => vec![Hop { slot: Slot(1), target: b_at }],
        _ => vec![Hop { slot: Slot(0), target: a_at }],
    };
    a.send_to(b"four", x).unwrap();
    b.send_to(b"sixsix", y).unwrap();
    let mut seen = turn(&mut io, 2, hop);
    seen.sort();
    assert_eq!((seen[0].1, seen[1].1), (a_at, b_at));
    let mut buffer = [0; 64];
    assert_eq!(b.recv_from(&mut buffer).unwrap(), (4, y));
    assert_eq!(a.recv_from(&mut buffer).unwrap(), (6, x));
}

fn an_oversize_datagram_is_marked<I: Io>() {
    let mut io = io::<I>();
    let (a, _) = phone("127.0.0.1:0");
    let x = open(&mut io, 0, "127.0.0.1:0");
    for len in [PACKET_MAX, PACKET_MAX + 1, PACKET_MAX + 15, 9_000, 60_000] {
        a.send_to(&vec![7; len], x).unwrap();
        let seen = turn(&mut io, 1, |_| Vec::new());
        assert_eq!((seen[0].2.len(), seen[0].3), (len.min(PACKET_MAX), len > PACKET_MAX), "{len}");
    }
}

fn an_empty_datagram_is_a_packet_like_any_other<I: Io>() {
    let mut io = io::<I>();
    let (a, a_at) = phone("127.0.0.1:0");
    let x = open(&mut io, 0, "127.0.0.1:0");
    for _ in 0..3 {
        a.send_to(b"", x).unwrap();
        a.send_to(b"more", x).unwrap();
    }
    let seen = turn(&mut io, 6, |slot| vec![Hop { slot, target: a_at }]);
    assert_eq!(seen.iter().map(|seen| seen.2.len()).collect::<Vec<_>>(), [0, 4, 0, 4, 0, 4]);
    let mut buffer = [0; 64];
    let lens: Vec<_> = (0..6).map(|_| a.recv_from(&mut buffer).unwrap().0).collect();
    assert_eq!(lens, [0, 4, 0, 4, 0, 4]);
}

fn many_sockets_share_the_turns_and_lose_nothing<I: Io>() {
    let mut io = I::new(2_000, Bell::new().unwrap()).unwrap();
    let places: Vec<_> = (0..600).map(|slot| open(&mut io, slot, "127.0.0.1:0")).collect();
    let (a, a_at) = phone("127.0.0.1:0");
    for round in 0..4u8 {
        for place in &places {
            a.send_to(&[round], place).unwrap();
        }
    }
    let mut by_slot: BTreeMap<Slot, Vec<u8>> = BTreeMap::new();
    for (slot, source, bytes, _) in turn(&mut io, 2_400, |_| Vec::new()) {
        assert_eq!(source, a_at);
        by_slot.entry(slot).or_default().extend(bytes);
    }
    assert_eq!(by_slot.len(), 600);
    assert!(by_slot.values().all(|rounds| rounds == &[0, 1, 2, 3]));
}

fn a_burst_on_one_socket_comes_in_order<I: Io>() {
    let mut io = io::<I>();
    let (a, _) = phone("127.0.0.1:0");
    let x = open(&mut io, 0, "127.0.0.1:0");
    for n in 0..150u8 {
        a.send_to(&[n; 20], x).unwrap();
    }
    let seen = turn(&mut io, 150, |_| Vec::new());
    assert!(seen.iter().map(|seen| seen.2[0]).eq(0..150));
}

fn a_packet_may_go_to_several_places<I: Io>() {
    let mut io = io::<I>();
    let (a, _) = phone("127.0.0.1:0");
    let x = open(&mut io, 0, "127.0.0.1:0");
    let sinks: Vec<_> = (0..5).map(|_| phone("127.0.0.1:0")).collect();
    let hops: Vec<_> = sinks.iter().map(|(_, target)| Hop { slot: Slot(0), target: *target }).collect();
    a.send_to(b"to all", x).unwrap();
    turn(&mut io, 1, |_| hops.clone());
    for (sink, _) in &sinks {
        assert_eq!(sink.recv_from(&mut [0; 16]).unwrap(), (6, x));
    }
}

fn the_bell_ends_a_wait<I: Io>() {
    let (mut io, bell) = make::<I>().unwrap();
    for _ in 0..3 {
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(5));
                bell.ring();
            });
            // Three rings share one quiet: waiting may end early, never late.
            io.wait(Duration::from_secs(30));
        });
        io.recv();
        assert!(io.batch().is_empty());
    }
}

fn a_wait_without_packets_lasts_its_time<I: Io>() {
    let mut io = io::<I>();
    open(&mut io, 0, "127.0.0.1:0");
    io.wait(Duration::ZERO);
    let cpu = crate::sys::thread_cpu_ns();
    let clock = base::Clock::start();
    #[expect(clippy::disallowed_methods, reason = "measures a wait")]
    let passed = |since: base::Instant| clock.now().mono.since(since);
    let start = base::Instant(1_000_000_000);
    for _ in 0..3 {
        io.wait(Duration::from_millis(50));
        io.recv();
    }
    assert!(passed(start) >= Duration::from_millis(149), "{:?}", passed(start));
    assert!(crate::sys::thread_cpu_ns() - cpu < 20_000_000);
}

fn a_closed_slot_is_silent_and_its_port_is_free<I: Io>() {
    let mut io = io::<I>();
    let (a, _) = phone("127.0.0.1:0");
    let x = open(&mut io, 0, "127.0.0.1:0");
    a.send_to(b"waits", x).unwrap();
    io.wait(Duration::from_millis(100));
    io.close(Slot(0));
    assert!(io.socket(Slot(0)).is_none());
    io.recv();
    assert!(io.batch().is_empty());
    // io_uring lets the socket go with the next system calls.
    let mut bound = UdpSocket::bind(x);
    for _ in 0..100 {
        if bound.is_ok() {
            break;
        }
        io.wait(Duration::from_millis(1));
        io.recv();
        bound = UdpSocket::bind(x);
    }
    assert!(bound.is_ok());
    io.close(Slot(0));
    io.close(Slot(63));
    io.close(Slot(9_999));
}

fn a_reopened_slot_gives_nothing_of_its_predecessor<I: Io>() {
    let mut io = io::<I>();
    let (a, _) = phone("127.0.0.1:0");
    for round in 0..20u8 {
        let x = open(&mut io, 7, "127.0.0.1:0");
        a.send_to(&[round], x).unwrap();
        let seen = turn(&mut io, 1, |_| Vec::new());
        assert_eq!(seen.iter().map(|seen| seen.2[0]).collect::<Vec<_>>(), [round]);
        a.send_to(b"late", x).unwrap();
        if round % 2 == 0 {
            // The kernel has told of it already when the slot is closed.
            io.wait(Duration::from_millis(100));
        }
        io.close(Slot(7));
    }
}

fn a_send_that_fails_is_told_with_its_slot<I: Io>() {
    let mut io = io::<I>();
    let (a, a_at) = phone("127.0.0.1:0");
    let x = open(&mut io, 3, "127.0.0.1:0");
    // Loopback sockets have no way to the outside, and slot 4 is not open.
    let outside = "192.0.2.1:9".parse().unwrap();
    a.send_to(b"1", x).unwrap();
    let hops = [(3, outside), (4, a_at), (3, a_at)].map(|(slot, target)| Hop { slot: Slot(slot), target });
    turn(&mut io, 1, |_| hops.to_vec());
    io.recv();
    let mut failed: Vec<_> = io.batch().failed.drain(..).collect();
    failed.sort();
    assert_eq!(failed, [Slot(3), Slot(4)]);
    assert_eq!(a.recv_from(&mut [0; 4]).unwrap(), (1, x));
}

fn bad_slots_are_refused<I: Io>() {
    let mut io = io::<I>();
    open(&mut io, 0, "127.0.0.1:0");
    assert!(io.open(Slot(0), bound("127.0.0.1:0")).is_err());
    assert!(io.open(Slot(64), bound("127.0.0.1:0")).is_err());
    assert!(io.open(Slot(u32::MAX), bound("127.0.0.1:0")).is_err());
}

fn a_target_that_is_gone_harms_nobody<I: Io>() {
    let mut io = io::<I>();
    let (a, a_at) = phone("127.0.0.1:0");
    let x = open(&mut io, 0, "127.0.0.1:0");
    let gone = phone("127.0.0.1:0").1;
    for n in 0..5u8 {
        a.send_to(&[n], x).unwrap();
        let hops = [gone, a_at].map(|target| Hop { slot: Slot(0), target });
        assert_eq!(turn(&mut io, 1, |_| hops.to_vec()).len(), 1);
        let mut buffer = [9];
        assert_eq!(a.recv_from(&mut buffer).unwrap(), (1, x));
        assert_eq!(buffer, [n]);
    }
}

fn hairpin_between_own_sockets_works<I: Io>() {
    let mut io = io::<I>();
    let (a, a_at) = phone("127.0.0.1:0");
    let (x, y) = (open(&mut io, 0, "127.0.0.1:0"), open(&mut io, 1, "127.0.0.1:0"));
    a.send_to(b"round", x).unwrap();
    // In at 0, out by 0 to 1, in at 1 from 0, out by 1 to the phone.
    let seen = turn(&mut io, 2, |slot| match slot {
        Slot(0) => vec![Hop { slot, target: y }],
        _ => vec![Hop { slot, target: a_at }],
    });
    assert_eq!((seen[0].1, seen[1].1), (a_at, x));
    assert_eq!(a.recv_from(&mut [0; 16]).unwrap(), (5, y));
}
