//! The thread that drives calling or answering parties: one UDP socket for all their calls. It holds no SIP logic.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use serde::Serialize;

use crate::dialog::Output;
use crate::media::{Party, Side, Switchboard};
use crate::sys::{self, Inbox, Target};
use crate::uac::Uac;
use crate::uas::Uas;

/// A machine that a phone thread drives.
pub trait Machine: Send + 'static {
    /// A datagram came; the kernel took it in at `arrived`.
    fn handle_datagram(&mut self, now: u64, arrived: u64, source: SocketAddr, bytes: &[u8]);
    /// Something is due.
    fn handle_timeout(&mut self, now: u64);
    /// When something is due.
    fn poll_timeout(&self) -> Option<u64>;
    /// What is to be done.
    fn poll_output(&mut self) -> Option<Output>;
    /// Whether the thread may end.
    fn is_done(&self) -> bool;
    /// End what goes on, soon.
    fn wind_up(&mut self, now: u64);
    /// How it stands.
    fn live(&self) -> Live;
    /// Which party of each call it is.
    const SIDE: Side;
}

/// How signalling stands while it runs; an answering machine tells only of its own calls.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Live {
    /// Calls begun.
    pub placed: u64,
    /// Calls that go on.
    pub active: u64,
    /// Calls that ended as they should.
    pub completed: u64,
    /// Calls that did not.
    pub failed: u64,
    /// INVITE to 200 so far, microseconds.
    pub setup_p50_us: f64,
    /// INVITE to 200 so far, microseconds.
    pub setup_p99_us: f64,
}

/// A phone thread; dropped, it ends within a tenth of a second.
#[derive(Debug)]
pub struct Phone<M> {
    /// There until it is joined.
    thread: Option<JoinHandle<(M, u64)>>,
    live: Arc<Mutex<Live>>,
    orders: Arc<Orders>,
}

/// What a phone's thread is told.
#[derive(Debug, Default)]
struct Orders {
    /// Let calls end.
    wind_up: AtomicBool,
    /// Leave calls as they are.
    abandon: AtomicBool,
}

/// Media of the calls: whom to tell, and where this machine's sockets begin in the media thread's list.
#[derive(Debug)]
pub struct Voice {
    /// The media thread.
    pub switchboard: Switchboard,
    /// Index of the machine's first socket.
    pub first_socket: usize,
}

impl<M: Machine> Phone<M> {
    /// Drives `machine` on `socket` until it is done. The machine's times are monotonic ones, so that a wall clock
    /// that is set holds nothing up.
    ///
    /// # Errors
    /// No thread left.
    pub fn start(name: &str, socket: UdpSocket, machine: M, voice: Option<Voice>) -> io::Result<Self> {
        let live = Arc::new(Mutex::new(Live::default()));
        let orders = Arc::new(Orders::default());
        let (its_live, its_orders) = (Arc::clone(&live), Arc::clone(&orders));
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            sys::sharpen_thread(None);
            let line = Line { socket, voice };
            let machine = drive(&line, machine, &its_live, &its_orders);
            (machine, sys::kernel_drops(&line.socket))
        })?;
        Ok(Phone { thread: Some(thread), live, orders })
    }

    /// How it stands, not older than a tenth of a second.
    ///
    /// # Panics
    /// If the phone's thread did.
    pub fn live(&self) -> Live {
        *self.live.lock().expect("the phone's thread does not panic")
    }

    /// Lets calls end soon, and the thread after them.
    pub fn wind_up(&self) {
        self.orders.wind_up.store(true, Ordering::Relaxed);
    }

    /// Lets the thread end now, whatever becomes of its calls.
    pub fn abandon(&self) {
        self.orders.abandon.store(true, Ordering::Relaxed);
    }

    /// Whether the thread has ended.
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for the end; gives the machine back, and how many datagrams the kernel dropped because this thread did
    /// not fetch them in time.
    ///
    /// # Panics
    /// If the phone's thread did.
    pub fn join(mut self) -> (M, u64) {
        let thread = self.thread.take().expect("only joining takes it");
        thread.join().expect("the phone's thread does not panic")
    }
}

impl<M> Drop for Phone<M> {
    fn drop(&mut self) {
        self.orders.abandon.store(true, Ordering::Relaxed);
    }
}

struct Line {
    socket: UdpSocket,
    voice: Option<Voice>,
}

const LOOK_EVERY_NS: u64 = 100_000_000;

fn drive<M: Machine>(line: &Line, mut machine: M, live: &Mutex<Live>, orders: &Orders) -> M {
    let mut inbox = Inbox::new(64, 4096);
    let mut look_at = 0;
    let mut winding_up = false;
    loop {
        let now = sys::mono_ns();
        if now >= look_at {
            look_at = now + LOOK_EVERY_NS;
            if let Ok(mut shared) = live.lock() {
                *shared = machine.live();
            }
            if !winding_up && orders.wind_up.load(Ordering::Relaxed) {
                winding_up = true;
                machine.wind_up(now);
                line.work_off(&mut machine);
            }
            if machine.is_done() || orders.abandon.load(Ordering::Relaxed) {
                return machine;
            }
        }
        // A batch of what came, then one thing that is due, then the next: neither starves the other.
        let mut came = false;
        // An ICMP error of an earlier send; its call times out.
        let _ = inbox.receive(&line.socket, |datagram| {
            came = true;
            // The kernel's stamp is of the wall clock: what counts is how long ago that was.
            let (now, age) = (sys::mono_ns(), sys::real_ns().saturating_sub(datagram.arrived_ns));
            machine.handle_datagram(now, now.saturating_sub(age), datagram.source, datagram.bytes);
            line.work_off::<M>(&mut machine);
        });
        let due = machine.poll_timeout().unwrap_or(u64::MAX);
        let now = sys::mono_ns();
        if due <= now {
            machine.handle_timeout(now);
            line.work_off(&mut machine);
        } else if !came {
            let ns = due.min(look_at).saturating_sub(now);
            sys::wait_readable(&line.socket, sys::real_ns().saturating_add(ns));
        }
    }
}

impl Line {
    fn work_off<M: Machine>(&self, machine: &mut M) {
        while let Some(output) = machine.poll_output() {
            match (output, &self.voice) {
                (Output::Send { to, bytes }, _) => {
                    // What the kernel does not take is lost like any datagram; timers send it again.
                    let _ = sys::send_to(&self.socket, &bytes, &Target::from(to));
                }
                (Output::Speak { call, socket, remote, codec }, Some(voice)) => {
                    let party = Party {
                        call,
                        side: M::SIDE,
                        socket: voice.first_socket + socket,
                        send_to: remote.rtp,
                        rtcp_to: remote.rtcp,
                    };
                    voice.switchboard.speak_as(party, codec.payload_type());
                }
                (Output::Hush(call), Some(voice)) => voice.switchboard.hush(call),
                (Output::Rest(call), Some(voice)) => voice.switchboard.pause(call, M::SIDE),
                (Output::Dial { call, digits }, Some(voice)) => {
                    voice.switchboard.dial(call, M::SIDE, &digits);
                }
                (Output::Speak { .. } | Output::Hush(_) | Output::Rest(_) | Output::Dial { .. }, None) => (),
            }
        }
    }
}

impl Machine for Uac {
    const SIDE: Side = Side::A;
    fn handle_datagram(&mut self, now: u64, arrived: u64, source: SocketAddr, bytes: &[u8]) {
        self.handle_datagram(now, arrived, source, bytes);
    }
    fn handle_timeout(&mut self, now: u64) {
        self.handle_timeout(now);
    }
    fn poll_timeout(&self) -> Option<u64> {
        self.poll_timeout()
    }
    fn poll_output(&mut self) -> Option<Output> {
        self.poll_output()
    }
    fn is_done(&self) -> bool {
        self.is_done()
    }
    fn wind_up(&mut self, now: u64) {
        self.wind_up(now);
    }
    fn live(&self) -> Live {
        let tally = self.tally();
        Live {
            placed: tally.placed,
            active: self.active() as u64,
            completed: tally.completed,
            failed: tally.failed(),
            setup_p50_us: tally.setup.at(0.5) as f64 / 1e3,
            setup_p99_us: tally.setup.at(0.99) as f64 / 1e3,
        }
    }
}

/// Answering parties wait for calls until they are told to end.
#[derive(Debug)]
pub struct Answering {
    /// The machine.
    pub uas: Uas,
    ending: bool,
}

impl Answering {
    /// Waits for calls.
    pub fn new(uas: Uas) -> Self {
        Answering { uas, ending: false }
    }
}

impl Machine for Answering {
    const SIDE: Side = Side::B;
    fn handle_datagram(&mut self, now: u64, _arrived: u64, source: SocketAddr, bytes: &[u8]) {
        self.uas.handle_datagram(now, source, bytes);
    }
    fn handle_timeout(&mut self, now: u64) {
        self.uas.handle_timeout(now);
    }
    fn poll_timeout(&self) -> Option<u64> {
        self.uas.poll_timeout()
    }
    fn poll_output(&mut self) -> Option<Output> {
        self.uas.poll_output()
    }
    fn is_done(&self) -> bool {
        self.ending
    }
    fn wind_up(&mut self, _now: u64) {
        self.ending = true;
    }
    fn live(&self) -> Live {
        let tally = self.uas.tally();
        Live {
            placed: tally.calls,
            active: self.uas.active() as u64,
            completed: tally.ended,
            failed: tally.no_ack,
            ..Live::default()
        }
    }
}
