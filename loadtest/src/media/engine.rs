//! The media thread: sends what is due, fetches what came, sleeps until something is due. What is due follows the clock
//! that nobody sets; only what is compared with the kernel's stamps follows the wall clock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex};

use base::Rng;

use super::heard::Heard;
use super::rtcp;
use super::stream::{Arrived, Birth, PACKET_BYTES, PERIOD_NS, Stream};
use super::words::{TONES, Words};
use super::{Command, Config, Counts, Live, Measured, Party, Phases, Report, Side, Socket};
use crate::figures::Times;
use crate::machine::ClockWatch;
use crate::speech::{Codec, Speech};
use crate::sys::{self, Datagram, Epoll, Inbox, Target};

/// How often sockets are looked at. Arrivals are stamped by the kernel, so fetching them late costs no truth; waking
/// up for each would cost the system under test, which shares the machine.
const FETCH_EVERY_NS: u64 = 1_000_000;
const PUBLISH_EVERY_NS: u64 = 250_000_000;

pub(super) struct Engine {
    config: Config,
    inbox: Receiver<Command>,
    live: Arc<Mutex<Live>>,
    received: Arc<AtomicU64>,
    epoll: Epoll,
    sockets: Vec<Socket>,
    book: Book,
    /// In what else parties may speak.
    also: Vec<Words>,
    rng: Rng,
    /// By the time at which they send next.
    schedule: BinaryHeap<Reverse<(u64, u32)>>,
    /// Streams that stopped, by the time at which their books are closed.
    ending: VecDeque<(u64, u32)>,
    finishing: bool,
    lateness: Times,
    /// The times of the report, once they are settled.
    frozen: Option<Frozen>,
    clock: ClockWatch,
}

/// Times up to some moment.
struct Frozen {
    lateness: Times,
    latency: Times,
    round_trip: Times,
}

/// Streams and verdicts: what an arrival touches.
struct Book {
    /// What either side says.
    words: [Words; 2],
    /// Who speaks from which socket, where what arrives tells nothing of who sent it.
    by_socket: Option<Vec<Option<u32>>>,
    /// Converted streams that may still be listened to.
    ears: usize,
    streams: Vec<Option<Stream>>,
    free: Vec<u32>,
    calls: BTreeMap<u32, [Option<u32>; 2]>,
    /// Packets received, each once, by all streams that ever were.
    received: u64,
    /// Of streams that are gone, and of packets that belong to none.
    closed: Counts,
    latency: Times,
    recent: Times,
    jitter: Times,
    round_trip: Times,
}

/// Streams are found by the lower bits of their SSRC; the upper ones are random.
const INDEX_BITS: u32 = 18;
const STREAMS_MAX: usize = 1 << INDEX_BITS;
/// Converted streams that are decoded and listened to: the first of a run.
const EARS: usize = 32;

impl Engine {
    pub(super) fn new(
        config: Config,
        sockets: Vec<Socket>,
        inbox: Receiver<Command>,
        (live, received): (Arc<Mutex<Live>>, Arc<AtomicU64>),
    ) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        for (number, socket) in sockets.iter().enumerate() {
            epoll.add(&socket.rtp, number as u64 * 2)?;
            epoll.add(&socket.rtcp, number as u64 * 2 + 1)?;
        }
        let mut rng = Rng::from_seed(config.seed);
        let speech = Arc::new(Speech::new(rng.u64(), config.codec));
        let words = config.says.clone().map(|says| match says {
            Some(recording) => Words::Recording(recording),
            None => Words::Speech { speech: Arc::clone(&speech), codec: config.codec },
        });
        let also = config.also.clone().into_iter().filter(|&codec| codec != Codec::Opus);
        let seed = config.seed;
        let also = also.map(|codec| Words::Speech { speech: Arc::new(Speech::new(seed, codec)), codec });
        let by_socket = config.converted.then(|| vec![None; sockets.len()]);
        Ok(Engine {
            inbox,
            live,
            received,
            epoll,
            sockets,
            book: Book::new(words, by_socket),
            also: also.collect(),
            rng,
            schedule: BinaryHeap::new(),
            ending: VecDeque::new(),
            finishing: false,
            lateness: Times::default(),
            frozen: None,
            clock: ClockWatch::start(),
            config,
        })
    }

    pub(super) fn run(mut self) -> Report {
        sys::sharpen_thread(self.config.cpu);
        let started_ns = sys::mono_ns();
        let mut inbox = Inbox::new(32, 2048);
        let mut ready = Vec::with_capacity(16);
        let (mut fetch_at, mut publish_at) = (0, 0);
        loop {
            self.obey();
            self.send_due();
            let now = sys::mono_ns();
            if now >= fetch_at {
                self.epoll.wait(&mut ready, 0);
                for &number in &ready {
                    self.fetch(number, &mut inbox);
                }
                self.received.store(self.book.received, Ordering::Relaxed);
                // More may wait: go on at once, after what has become due meanwhile.
                if ready.len() < ready.capacity() {
                    fetch_at = now + FETCH_EVERY_NS;
                }
            }
            self.close_ended(now);
            if now >= publish_at {
                publish_at = now + PUBLISH_EVERY_NS;
                self.publish();
            }
            if self.finishing && self.schedule.is_empty() && self.ending.is_empty() {
                break;
            }
            let next = self.schedule.peek().map_or(u64::MAX, |next| next.0.0).min(fetch_at);
            if next > now {
                sys::sleep_until(next);
            }
        }
        self.publish();
        self.report(started_ns)
    }

    /// Orders from signalling.
    fn obey(&mut self) {
        loop {
            match self.inbox.try_recv() {
                Ok(Command::Speak(party, payload_type)) => self.speak(&party, payload_type),
                Ok(Command::Hush(call)) => self.hush(call),
                Ok(Command::Pause(call, side)) => {
                    if let Some(stream) = self.book.stream_of(call, side) {
                        stream.paused = true;
                    }
                }
                Ok(Command::Dial(call, side, digits)) => {
                    if let Some(stream) = self.book.stream_of(call, side) {
                        stream.dial(&digits);
                    }
                }
                Ok(Command::ResetTimes) => {
                    self.lateness.reset();
                    self.book.latency.reset();
                    self.book.round_trip.reset();
                }
                Ok(Command::FreezeTimes) => {
                    let [lateness, latency, round_trip] =
                        [&self.lateness, &self.book.latency, &self.book.round_trip].map(Times::clone);
                    self.frozen = Some(Frozen { lateness, latency, round_trip });
                }
                Ok(Command::Finish) | Err(TryRecvError::Disconnected) => {
                    self.finishing = true;
                    self.book.streams.iter_mut().flatten().for_each(|stream| stream.hushed = true);
                    return;
                }
                Err(TryRecvError::Empty) => return,
            }
        }
    }

    fn speak(&mut self, party: &Party, payload_type: Option<u8>) {
        if self.finishing || party.socket >= self.sockets.len() {
            return;
        }
        let now = sys::mono_ns();
        if let Some(stream) = self.book.stream_of(party.call, party.side) {
            stream.take_up(sys::real_ns(), party.socket, party.send_to.into(), party.rtcp_to.into());
            self.switch(party, payload_type);
            return;
        }
        let Some(index) = self.book.open(party, payload_type, &mut self.rng, &self.config) else { return };
        let due = match self.config.phases {
            Phases::Random => now + self.rng.below(PERIOD_NS),
            Phases::Burst => (now / PERIOD_NS + 1) * PERIOD_NS,
        };
        self.schedule.push(Reverse((due, index)));
    }

    /// Lets `party` speak what it is to speak, if that is one of the others that there are.
    fn switch(&mut self, party: &Party, payload_type: Option<u8>) {
        let own = &self.book.words[usize::from(party.side == Side::B)];
        let is_wanted = |words: &&Words| Some(words.payload_type()) == payload_type;
        let Some(words) = self.also.iter().chain([own]).find(is_wanted).cloned() else { return };
        if let Some(stream) = self.book.stream_of(party.call, party.side) {
            stream.switch(&words, words.payload_type());
        }
    }

    fn hush(&mut self, call: u32) {
        for index in self.book.calls.remove(&call).into_iter().flatten().flatten() {
            if let Some(stream) = self.book.stream(index) {
                stream.hushed = true;
            }
        }
    }

    fn send_due(&mut self) {
        let mut packet = [0; PACKET_BYTES];
        // Bounded, so that arrivals are fetched even when sending cannot keep up.
        for _ in 0..256 {
            let Some(&Reverse((due, index))) = self.schedule.peek() else { return };
            let now = sys::mono_ns();
            if due > now {
                return;
            }
            self.schedule.pop();
            let Some(stream) = self.book.streams[index as usize].as_mut() else { continue };
            if stream.hushed {
                let linger = u64::try_from(self.config.linger.as_nanos()).unwrap_or(u64::MAX);
                self.ending.push_back((now.saturating_add(linger), index));
                continue;
            }
            // The schedule keeps to intended times whatever happens here.
            self.schedule.push(Reverse((due + stream.period_ns(), index)));
            self.lateness.record(now - due);
            if stream.paused {
                stream.pass();
            } else {
                let len = stream.write(sys::real_ns(), &mut packet);
                let socket = &self.sockets[stream.socket()].rtp;
                if sys::send_to(socket, &packet[..len], stream.target()).is_err() {
                    stream.counts.send_errors += 1;
                }
            }
            if self.config.rtcp && now >= stream.next_rtcp_ns {
                self.send_report(now, index);
            }
        }
    }

    fn send_report(&mut self, now: u64, index: u32) {
        let Some(mut stream) = self.book.streams[index as usize].take() else { return };
        // The interval is spread as RFC 3550 section 6.3.5 asks; the first report comes at once.
        stream.next_rtcp_ns = now + rtcp::PERIOD_NS / 2 + self.rng.below(rtcp::PERIOD_NS);
        let heard = stream.peer.and_then(|peer| self.book.stream(peer));
        let report = rtcp::write(sys::real_ns(), &stream, heard);
        match sys::send_to(&self.sockets[stream.socket()].rtcp, &report, stream.rtcp_target()) {
            Ok(()) => stream.counts.rtcp_sent += 1,
            Err(_) => stream.counts.send_errors += 1,
        }
        self.book.streams[index as usize] = Some(stream);
    }

    fn fetch(&mut self, number: u64, inbox: &mut Inbox) {
        let socket = (number / 2) as usize;
        let book = &mut self.book;
        // An ICMP error of an earlier send shows here; it is counted where the packet is missed.
        let _ = if number.is_multiple_of(2) {
            inbox.receive(&self.sockets[socket].rtp, |datagram| book.on_rtp(socket, &datagram))
        } else {
            inbox.receive(&self.sockets[socket].rtcp, |datagram| book.on_rtcp(&datagram))
        };
    }

    fn close_ended(&mut self, now: u64) {
        while let Some(&(at, index)) = self.ending.front()
            && at <= now
        {
            self.ending.pop_front();
            self.book.close(index);
        }
    }

    fn publish(&mut self) {
        self.clock.check();
        let book = &self.book;
        let mut sums = book.closed;
        let mut missing = sums.lost;
        for stream in book.streams.iter().flatten() {
            sums.add(&stream.counts);
            missing += stream.missing();
        }
        let counts = &sums;
        let wrong = counts.wrongs();
        let live = Live {
            streams: self.schedule.len() as u64,
            sent: sums.sent,
            received: sums.received,
            missing,
            wrong,
            p50_us: book.recent.at(0.5) as f64 / 1e3,
            p99_us: book.recent.at(0.99) as f64 / 1e3,
        };
        self.book.recent.reset();
        if let Ok(mut shared) = self.live.lock() {
            *shared = live;
        }
    }

    fn report(self, started_ns: u64) -> Report {
        let mut counts = self.book.closed;
        counts.own_drops =
            self.sockets.iter().map(|s| sys::kernel_drops(&s.rtp) + sys::kernel_drops(&s.rtcp)).sum();
        let (lateness, latency, round_trip) = match self.frozen {
            Some(Frozen { lateness, latency, round_trip }) => (lateness, latency, round_trip),
            None => (self.lateness, self.book.latency, self.book.round_trip),
        };
        let measured = Measured {
            latency,
            lateness,
            jitter: self.book.jitter,
            round_trip,
            counts,
            seconds: (sys::mono_ns() - started_ns) as f64 / 1e9,
            cpu_seconds: sys::thread_cpu_ns() as f64 / 1e9,
            clock_was_set: self.clock.was_set(),
        };
        measured.report(self.config.lateness_max)
    }
}

impl Book {
    fn new(words: [Words; 2], by_socket: Option<Vec<Option<u32>>>) -> Self {
        Book {
            words,
            by_socket,
            ears: EARS,
            streams: Vec::new(),
            free: Vec::new(),
            calls: BTreeMap::new(),
            received: 0,
            closed: Counts::default(),
            latency: Times::default(),
            recent: Times::default(),
            jitter: Times::default(),
            round_trip: Times::default(),
        }
    }

    fn stream(&mut self, index: u32) -> Option<&mut Stream> {
        self.streams.get_mut(index as usize)?.as_mut()
    }

    fn stream_of(&mut self, call: u32, side: Side) -> Option<&mut Stream> {
        let index = self.calls.get(&call)?[usize::from(side == Side::B)]?;
        self.stream(index)
    }

    /// A new stream for `party`; `None` if it speaks already or there are too many.
    fn open(
        &mut self,
        party: &Party,
        payload_type: Option<u8>,
        rng: &mut Rng,
        config: &Config,
    ) -> Option<u32> {
        let side = match party.side {
            Side::A => 0,
            Side::B => 1,
        };
        let call = self.calls.entry(party.call).or_default();
        if call[side].is_some() {
            return None;
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.streams.len() < STREAMS_MAX => {
                self.streams.push(None);
                self.streams.len() as u32 - 1
            }
            None => return None,
        };
        call[side] = Some(index);
        let other = call[1 - side];
        let words = self.words[side].clone();
        let payload_type = payload_type.unwrap_or(words.payload_type());
        let drift = match config.phases {
            Phases::Random => u64::from(config.drift_ppm) * (PERIOD_NS / 1_000_000),
            Phases::Burst => 0,
        };
        let heard = self.by_socket.as_mut().map(|by_socket| {
            by_socket[party.socket] = Some(index);
            let bytes = match &words {
                Words::Speech { .. } => Some(Speech::FRAME),
                Words::Recording(recording) => recording.payload_bytes(),
            };
            let listen = self.ears > 0;
            self.ears = self.ears.saturating_sub(1);
            Box::new(Heard::new(payload_type, words.step(), bytes, listen))
        });
        let birth = Birth {
            ssrc: (rng.u32() << INDEX_BITS) | index,
            first_seq: rng.u32() as u16,
            first_timestamp: rng.u32(),
            start: rng.u32() as usize,
            side: party.side,
            words,
            payload_type,
            period_ns: PERIOD_NS - drift + rng.below(2 * drift + 1),
            socket: party.socket,
            target: Target::from(party.send_to),
            rtcp_target: Target::from(party.rtcp_to),
        };
        let mut stream = Stream::new(birth);
        (stream.peer, stream.heard) = (other, heard);
        if let Some(other) = other.and_then(|other| self.stream(other)) {
            other.peer = Some(index);
        }
        self.streams[index as usize] = Some(stream);
        Some(index)
    }

    fn close(&mut self, index: u32) {
        let Some(mut stream) = self.streams[index as usize].take() else { return };
        self.listen(&mut stream);
        if let Some(by_socket) = &mut self.by_socket
            && by_socket[stream.socket()] == Some(index)
        {
            by_socket[stream.socket()] = None;
        }
        self.closed.add(stream.close());
        stream.jitter_ns().into_iter().for_each(|jitter| self.jitter.record(jitter));
        self.free.push(index);
        if let Some(peer) = stream.peer.and_then(|peer| self.stream(peer)).filter(|p| p.peer == Some(index)) {
            peer.peer = None;
        }
    }

    /// Whether its party heard the tone of the other one, where that was listened for.
    fn listen(&self, stream: &mut Stream) {
        let Some(heard) = &stream.heard else { return };
        let side = usize::from(stream.side == Side::B);
        let Words::Recording(own) = &self.words[side] else { return };
        let Some(loud) = heard.listen(own.decode.as_ref(), TONES) else { return };
        stream.counts.listened += 1;
        stream.counts.wrong_voice += u64::from(loud[1 - side] < 0.4 || loud[side] > 0.4);
    }

    /// A packet of a stream that somebody else made of one of ours.
    fn on_converted(&mut self, arrived: &Arrived, socket: usize, datagram: &Datagram<'_>) {
        let index = self.by_socket.as_ref().and_then(|by_socket| by_socket[socket]);
        let Some(hearer) = index.and_then(|index| self.streams[index as usize].as_mut()) else {
            self.closed.unknown += 1;
            return;
        };
        if hearer.target().address() != Some(datagram.source) {
            hearer.counts.wrong_source += 1;
            return;
        }
        let Some(mut heard) = hearer.heard.take() else { return };
        let (peer, hushed) = (hearer.peer, hearer.hushed);
        if let Some(speaker) = peer.and_then(|peer| self.streams[peer as usize].as_mut()) {
            let judgement = heard.judge(arrived, arrived.payload(datagram.bytes), speaker.progress().0);
            let counts = &mut speaker.counts;
            counts.corrupted += u64::from(judgement.corrupted);
            counts.ssrc_changed += u64::from(judgement.ssrc_changed);
            counts.timestamp_jumps += u64::from(judgement.timestamp_jumped);
            let before = counts.received;
            match judgement.number {
                Some(number) => {
                    speaker.arrive_converted(number, datagram.arrived_ns, &mut self.latency);
                    if speaker.counts.received > before {
                        self.recent.record(speaker.last_transit_ns());
                        self.received += 1;
                    }
                }
                // Converters go on for a moment when nothing more comes.
                None if speaker.hushed => {}
                None => speaker.counts.unknown += 1,
            }
        } else if !hushed {
            self.closed.unknown += 1;
        }
        if let Some(hearer) = index.and_then(|index| self.streams[index as usize].as_mut()) {
            hearer.heard = Some(heard);
        }
    }

    fn on_rtp(&mut self, socket: usize, datagram: &Datagram<'_>) {
        let Some(arrived) = Arrived::parse(datagram.bytes) else {
            self.closed.unknown += 1;
            return;
        };
        if self.by_socket.is_some() {
            return self.on_converted(&arrived, socket, datagram);
        }
        let index = arrived.ssrc() & (STREAMS_MAX as u32 - 1);
        let Some(stream) = self.stream(index).filter(|stream| stream.ssrc() == arrived.ssrc()) else {
            self.closed.unknown += 1;
            return;
        };
        let peer = stream.peer;
        let at_ns = datagram.arrived_ns;
        let place = peer
            .and_then(|peer| self.stream(peer))
            .map(|p| (p.receives_at(socket, at_ns), p.hears_from(datagram.source, at_ns)));
        let stream = self.streams[index as usize].as_mut().expect("it was there three lines ago");
        // Before the other party has begun, nobody can say where packets ought to arrive.
        if let Some((place, source)) = place {
            stream.counts.wrong_party += u64::from(!place);
            stream.counts.wrong_source += u64::from(place && !source);
        }
        let before = stream.counts.received;
        stream.arrive(&arrived, datagram.bytes, datagram.arrived_ns, &mut self.latency);
        if stream.counts.received > before {
            self.recent.record(stream.last_transit_ns());
            self.received += 1;
        }
    }

    fn on_rtcp(&mut self, datagram: &Datagram<'_>) {
        let Some(report) = rtcp::read(datagram.bytes) else { return };
        let index = report.ssrc & (STREAMS_MAX as u32 - 1);
        let Some(stream) = self.stream(index).filter(|stream| stream.ssrc() == report.ssrc) else {
            return;
        };
        stream.counts.rtcp_received += 1;
        stream.reports.last = Some((report.ntp_middle, datagram.arrived_ns));
        if let Some((_, last, delay)) = report.block
            && let Some(round_trip) = rtcp::round_trip_ns(datagram.arrived_ns, last, delay)
        {
            self.round_trip.record(round_trip);
        }
    }
}
