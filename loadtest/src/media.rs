//! RTP of many calls, driven and judged by one thread. Every stream sends at its own phase, at intended times that
//! nothing can push back (open loop); every arrival is stamped by the kernel and compared with what was sent.
mod stream; // one SSRC: its packets, their times, and the verdict on each arrival
mod words; // what streams say
mod heard; // the verdict on a stream that was converted on the way
mod digits; // digits within a stream (RFC 4733)
mod rtcp; // sender reports with one report block (RFC 3550 section 6.4)
mod engine; // the thread's loop

pub use words::{Decode, Recording, TONES, Tone, speech_with};

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::Serialize;

use crate::figures::{Percentiles, Times, mos};
use crate::speech::Codec;
use crate::sys;

/// How media is driven.
#[derive(Clone, Debug)]
pub struct Config {
    /// What is said.
    pub codec: Codec,
    /// Phases, SSRCs, sequence numbers and audio follow from it.
    pub seed: u64,
    /// In what else parties may speak.
    pub also: Vec<Codec>,
    /// Whether each stream sends a sender report every 5 s.
    pub rtcp: bool,
    /// The run is invalid when 1 % of the packets left later than this after their intended time.
    pub lateness_max: Duration,
    /// How long after a stream's last packet arrivals still count.
    pub linger: Duration,
    /// The core to stay on.
    pub cpu: Option<usize>,
    /// What A and what B says instead of speech in `codec`.
    pub says: [Option<Arc<Recording>>; 2],
    /// Whether what arrives has been converted, so that it is judged as another stream. Then each party has a socket of
    /// its own.
    pub converted: bool,
    /// When in its 20 ms each stream sends.
    pub phases: Phases,
    /// How far a stream's clock may be off, either way, in millionths.
    pub drift_ppm: u32,
}

/// When streams send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phases {
    /// Each at a time of its own, by the seed.
    #[default]
    Random,
    /// All at once, every 20 ms, with clocks that are right: the worst there can be.
    Burst,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            codec: Codec::Pcmu,
            also: Vec::new(),
            seed: 1,
            rtcp: true,
            lateness_max: Duration::from_millis(5),
            linger: Duration::from_secs(1),
            cpu: None,
            says: [None, None],
            converted: false,
            phases: Phases::Random,
            drift_ppm: 50,
        }
    }
}

/// Where one party sends and receives: an even port for RTP and the next one for RTCP.
#[derive(Debug)]
pub struct Socket {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    address: SocketAddr,
}

impl Socket {
    /// Binds a free pair at `ip`.
    ///
    /// # Errors
    /// As `bind`: not our address, no descriptor left.
    pub fn bind(ip: IpAddr) -> io::Result<Self> {
        // 512 KiB hold some 600 packets: a socket shared by 50 streams may wait 200 ms.
        let (rtp, rtcp) = sys::udp_pair(ip, 512 << 10)?;
        let address = rtp.local_addr()?;
        Ok(Socket { rtp, rtcp, address })
    }

    /// Binds `count` pairs at `ip`.
    ///
    /// # Errors
    /// As [`Socket::bind`].
    pub fn bind_many(ip: IpAddr, count: usize) -> io::Result<Vec<Self>> {
        (0..count).map(|_| Self::bind(ip)).collect()
    }

    /// Where it receives RTP, as its party's SDP says.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The two parties of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Who calls.
    A,
    /// Who answers.
    B,
}

/// One party of a call begins to speak.
#[derive(Clone, Copy, Debug)]
pub struct Party {
    /// The number of the call; both its parties tell the same, and no two calls that overlap do.
    pub call: u32,
    /// Which of the two this is.
    pub side: Side,
    /// Index of its socket in the list that [`Media::start`] got.
    pub socket: usize,
    /// Where it sends to: the relay's port that faces it. Packets for it must come from there.
    pub send_to: SocketAddr,
    /// Where it sends RTCP to; the next port if the SDP says nothing else.
    pub rtcp_to: SocketAddr,
}

impl Party {
    /// With RTCP at the next port.
    pub fn new(call: u32, side: Side, socket: usize, send_to: SocketAddr) -> Self {
        let rtcp_to = SocketAddr::new(send_to.ip(), send_to.port().saturating_add(1));
        Party { call, side, socket, send_to, rtcp_to }
    }
}

enum Command {
    Speak(Party, Option<u8>),
    Hush(u32),
    Pause(u32, Side),
    Dial(u32, Side, Box<str>),
    ResetTimes,
    FreezeTimes,
    Finish,
}

/// Running media.
#[derive(Debug)]
pub struct Media {
    thread: JoinHandle<Report>,
    commands: Sender<Command>,
    live: Arc<Mutex<Live>>,
    received: Arc<AtomicU64>,
}

/// Tells the media thread about parties; one for each signalling thread.
#[derive(Clone, Debug)]
pub struct Switchboard(Sender<Command>);

impl Switchboard {
    /// `party` begins to speak, at a phase of its own within the next 20 ms. At most 4,000 times in 20 ms, please. A party
    /// that speaks already, or pauses, goes on where this says.
    pub fn speak(&self, party: Party) {
        // A send fails only when the media thread is gone; its own join tells of that.
        let _ = self.0.send(Command::Speak(party, None));
    }

    /// The same under the payload type that the other side asked for.
    pub fn speak_as(&self, party: Party, payload_type: u8) {
        let _ = self.0.send(Command::Speak(party, Some(payload_type)));
    }

    /// A party is silent until it speaks again; its stream stays the same.
    pub fn pause(&self, call: u32, side: Side) {
        let _ = self.0.send(Command::Pause(call, side));
    }

    /// A party that speaks sends these digits (RFC 4733), 200 ms each.
    pub fn dial(&self, call: u32, side: Side, digits: &str) {
        let _ = self.0.send(Command::Dial(call, side, digits.into()));
    }

    /// Both parties of `call` stop speaking; what is under way still counts.
    pub fn hush(&self, call: u32) {
        let _ = self.0.send(Command::Hush(call));
    }
}

impl Media {
    /// Starts the media thread. It owns the sockets; their indices name them.
    ///
    /// # Errors
    /// No descriptor or thread left.
    pub fn start(config: Config, sockets: Vec<Socket>) -> io::Result<Self> {
        let (commands, inbox) = mpsc::channel();
        let (live, received) = (Arc::new(Mutex::new(Live::default())), Arc::new(AtomicU64::new(0)));
        let shared = (Arc::clone(&live), Arc::clone(&received));
        let engine = engine::Engine::new(config, sockets, inbox, shared)?;
        let thread = thread::Builder::new().name("load-media".to_owned()).spawn(move || engine.run())?;
        Ok(Media { thread, commands, live, received })
    }

    /// For telling it about parties.
    pub fn switchboard(&self) -> Switchboard {
        Switchboard(self.commands.clone())
    }

    /// Forgets the times (latency, lateness, jitter) measured so far, not the counts: call it when all is warm.
    pub fn reset_times(&self) {
        let _ = self.commands.send(Command::ResetTimes);
    }

    /// Keeps the times as they are now: what is measured from here on is shown live, but is not in the report.
    pub fn freeze_times(&self) {
        let _ = self.commands.send(Command::FreezeTimes);
    }

    /// The state of the last quarter of a second or so.
    ///
    /// # Panics
    /// If the media thread did.
    pub fn live(&self) -> Live {
        self.live.lock().expect("the media thread does not panic").clone()
    }

    /// Packets received so far, each once; not older than a millisecond or two.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Ends all streams, waits for what is under way, and reports.
    ///
    /// # Panics
    /// If the media thread did.
    pub fn finish(self) -> Report {
        let _ = self.commands.send(Command::Finish);
        self.thread.join().expect("the media thread does not panic")
    }
}

/// How media stands while it runs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Live {
    /// Parties that speak now.
    pub streams: u64,
    /// Packets sent so far.
    pub sent: u64,
    /// Packets received so far, each once.
    pub received: u64,
    /// Packets missing so far: gaps that later packets have shown, and what ended streams lack.
    pub missing: u64,
    /// Packets that arrived other than they were sent, or at the wrong place.
    pub wrong: u64,
    /// Latency in the last interval, microseconds.
    pub p50_us: f64,
    /// Latency in the last interval, microseconds.
    pub p99_us: f64,
}

/// What was counted, summed over streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Streams that ended.
    pub streams: u64,
    /// Packets sent.
    pub sent: u64,
    /// Packets received, each once.
    pub received: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets that came again.
    pub duplicated: u64,
    /// Packets that came after a later one.
    pub reordered: u64,
    /// Packets whose payload, payload type or time stamp was not what had been sent.
    pub corrupted: u64,
    /// Packets that came from another address than the party sends to.
    pub wrong_source: u64,
    /// Packets that reached another party than the one meant.
    pub wrong_party: u64,
    /// Packets that belong to no stream of this run, or to one that ended long ago.
    pub unknown: u64,
    /// Converted streams that became another one (SSRC) on the way.
    pub ssrc_changed: u64,
    /// Converted packets whose time stamp does not go with their sequence number.
    pub timestamp_jumps: u64,
    /// Converted streams that were decoded and listened to.
    pub listened: u64,
    /// Those in which the voice of the other party was not heard, or one's own was.
    pub wrong_voice: u64,
    /// Packets that the kernel did not take, for example because of an ICMP error.
    pub send_errors: u64,
    /// Streams of which nothing arrived.
    pub silent_streams: u64,
    /// Streams of which something was lost.
    pub lossy_streams: u64,
    /// Digits sent within streams.
    pub digits_sent: u64,
    /// Digits that arrived in their order.
    pub digits_heard: u64,
    /// Sender reports sent.
    pub rtcp_sent: u64,
    /// RTCP packets received that name a stream of this run.
    pub rtcp_received: u64,
    /// Packets that arrived but were dropped by the kernel, because this generator did not fetch them in time.
    pub own_drops: u64,
}

impl Counts {
    fn add(&mut self, other: &Counts) {
        self.streams += other.streams;
        self.sent += other.sent;
        self.received += other.received;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.corrupted += other.corrupted;
        self.wrong_source += other.wrong_source;
        self.wrong_party += other.wrong_party;
        self.unknown += other.unknown;
        self.ssrc_changed += other.ssrc_changed;
        self.timestamp_jumps += other.timestamp_jumps;
        self.listened += other.listened;
        self.wrong_voice += other.wrong_voice;
        self.send_errors += other.send_errors;
        self.silent_streams += other.silent_streams;
        self.lossy_streams += other.lossy_streams;
        self.digits_sent += other.digits_sent;
        self.digits_heard += other.digits_heard;
        self.rtcp_sent += other.rtcp_sent;
        self.rtcp_received += other.rtcp_received;
        self.own_drops += other.own_drops;
    }

    /// Whether every packet arrived once, unchanged, from and at the right place.
    pub fn clean(&self) -> bool {
        self.lost == 0 && self.wrongs() == 0
    }

    /// Everything but loss.
    pub fn wrongs(&self) -> u64 {
        let misdirected = self.wrong_source + self.wrong_party + self.unknown;
        let converted = self.ssrc_changed + self.timestamp_jumps + self.wrong_voice;
        self.duplicated + self.corrupted + misdirected + converted
    }

    /// Each fault and how often it was, in words.
    pub fn complaints(&self) -> Vec<String> {
        let all = [
            (self.lost, "packets lost"),
            (self.duplicated, "packets came twice"),
            (self.corrupted, "packets changed on the way"),
            (self.reordered, "packets came out of order"),
            (self.wrong_source, "packets came from the wrong address"),
            (self.wrong_party, "packets reached the wrong party"),
            (self.unknown, "packets came that nobody sent"),
            (self.ssrc_changed, "streams became another one on the way"),
            (self.timestamp_jumps, "packets had a time stamp that does not go with their number"),
            (self.wrong_voice, "streams did not have the other party's voice in them"),
        ];
        all.iter().filter(|fault| fault.0 > 0).map(|(count, what)| format!("{count} {what}")).collect()
    }

    /// Share of the packets sent that never came, 0 to 1.
    pub fn loss(&self) -> f64 {
        if self.sent == 0 { 0.0 } else { self.lost as f64 / self.sent as f64 }
    }
}

/// What media did, and how well.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Sums over all streams.
    pub counts: Counts,
    /// From just before the send call to the kernel's receive stamp: what the system between adds, and about 2 µs
    /// of this machine's own.
    pub latency: Percentiles,
    /// From the intended to the actual time of sending: the generator's own fault.
    pub lateness: Percentiles,
    /// Interarrival jitter of each stream at its end (RFC 3550 section 6.4.1).
    pub jitter: Percentiles,
    /// Round trip by RTCP, both ways through the system (RFC 3550 section 6.4.1).
    pub rtcp_round_trip: Percentiles,
    /// Mean opinion score at the end of the listener: loss, and latency plus 60 ms for framing and play-out.
    pub mos: f64,
    /// Length of the run.
    pub seconds: f64,
    /// CPU time of the media thread.
    pub cpu_seconds: f64,
    /// Why the figures must not be believed: the generator was late, lost packets itself, or the clock was set.
    pub invalid: Option<String>,
}

struct Measured {
    latency: Times,
    lateness: Times,
    jitter: Times,
    round_trip: Times,
    counts: Counts,
    seconds: f64,
    cpu_seconds: f64,
    clock_was_set: bool,
}

impl Measured {
    fn report(&self, lateness_max: Duration) -> Report {
        let late_ns = u64::try_from(lateness_max.as_nanos()).unwrap_or(u64::MAX);
        let invalid = if self.clock_was_set {
            Some("the wall clock was set during the run".to_owned())
        } else if self.counts.own_drops > 0 {
            Some(format!("the generator's own sockets dropped {} packets", self.counts.own_drops))
        } else if self.lateness.at(0.99) > late_ns {
            Some(format!("the generator was late: {}", self.lateness.percentiles()))
        } else {
            None
        };
        let latency = self.latency.percentiles();
        Report {
            counts: self.counts,
            latency,
            lateness: self.lateness.percentiles(),
            jitter: self.jitter.percentiles(),
            rtcp_round_trip: self.round_trip.percentiles(),
            mos: mos(self.counts.loss(), latency.p99_us / 1e3 + 60.0),
            seconds: self.seconds,
            cpu_seconds: self.cpu_seconds,
            invalid,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn wait_until(condition: impl Fn() -> bool) {
        let begun = std::time::Instant::now();
        while !condition() {
            assert!(begun.elapsed() < Duration::from_secs(60), "it never came true");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// `calls` calls between sockets that send to each other directly.
    fn direct(calls: u32, wrong_target: bool) -> Report {
        let sockets = Socket::bind_many(LOCALHOST, calls as usize * 2).unwrap();
        let addresses: Vec<_> = sockets.iter().map(Socket::address).collect();
        let media = Media::start(Config { seed: 3, ..Config::default() }, sockets).unwrap();
        let switchboard = media.switchboard();
        for call in 0..calls {
            let (a, b) = (call as usize * 2, call as usize * 2 + 1);
            let b_target = if wrong_target { addresses[b] } else { addresses[a] };
            switchboard.speak(Party::new(call, Side::A, a, addresses[b]));
            switchboard.speak(Party::new(call, Side::B, b, b_target));
        }
        wait_until(|| media.live().sent >= u64::from(calls) * 2 * 25);
        (0..calls).for_each(|call| switchboard.hush(call));
        media.finish()
    }

    #[test]
    fn direct_calls_lose_nothing_and_are_measured() {
        let report = direct(20, false);
        assert!(report.counts.clean(), "{report:?}");
        assert_eq!(report.counts.streams, 40);
        assert!(report.counts.sent >= 1_000 && report.counts.received == report.counts.sent, "{report:?}");
        assert_eq!(report.latency.count, report.counts.sent);
        assert!(report.counts.rtcp_sent >= 40 && report.counts.rtcp_received == report.counts.rtcp_sent);
        assert!(report.latency.p50_us < 5_000.0 && report.mos > 4.0, "{report:?}");
    }

    #[test]
    fn frozen_times_are_those_of_before() {
        let sockets = Socket::bind_many(LOCALHOST, 2).unwrap();
        let [a, b] = [0, 1].map(|at: usize| sockets[at].address());
        let media = Media::start(Config { seed: 3, rtcp: false, ..Config::default() }, sockets).unwrap();
        media.switchboard().speak(Party::new(0, Side::A, 0, b));
        media.switchboard().speak(Party::new(0, Side::B, 1, a));
        wait_until(|| media.received() >= 10);
        media.freeze_times();
        let before = media.received();
        wait_until(|| media.received() >= before + 20);
        let report = media.finish();
        assert!(report.latency.count >= 10 && report.latency.count < before + 10, "{report:?}");
        assert!(report.counts.received >= before + 20 && report.lateness.count < before + 10, "{report:?}");
    }

    #[test]
    fn a_party_that_hears_itself_is_noticed() {
        let report = direct(1, true);
        assert!(!report.counts.clean());
        assert!(report.counts.wrong_party > 0, "{report:?}");
    }

    #[test]
    fn a_packet_from_an_address_that_the_party_does_not_send_to_is_noticed() {
        let sockets = Socket::bind_many(LOCALHOST, 2).unwrap();
        let [x, y, other] = [0; 3].map(|_| UdpSocket::bind((LOCALHOST, 0)).unwrap());
        let [to_x, to_y, to_other] = [&x, &y, &other].map(|socket| socket.local_addr().unwrap());
        let pair = crate::bare::Pair { x, y, x_peer: sockets[0].address(), y_peer: sockets[1].address() };
        let relay = crate::bare::epoll::start(vec![pair], None).unwrap();
        let media = Media::start(Config { rtcp: false, ..Config::default() }, sockets).unwrap();
        // B believes that its port is another one than the relay sends from.
        media.switchboard().speak(Party::new(1, Side::B, 1, to_other));
        media.switchboard().speak(Party::new(1, Side::A, 0, to_x));
        wait_until(|| media.received() >= 10);
        let report = media.finish();
        relay.stop();
        assert!(to_y != to_other && report.counts.wrong_source >= 10, "{report:?}");
        assert_eq!((report.counts.wrong_party, report.counts.corrupted), (0, 0));
    }

    #[test]
    fn a_deaf_relay_shows_as_loss_and_silent_streams() {
        let hole = UdpSocket::bind((LOCALHOST, 0)).unwrap(); // takes everything, passes nothing on
        let media = Media::start(
            Config { linger: Duration::from_millis(50), ..Config::default() },
            vec![Socket::bind(LOCALHOST).unwrap()],
        )
        .unwrap();
        media.switchboard().speak(Party::new(9, Side::A, 0, hole.local_addr().unwrap()));
        wait_until(|| media.live().sent >= 5);
        let report = media.finish();
        assert_eq!(report.counts.lost, report.counts.sent);
        assert_eq!((report.counts.silent_streams, report.counts.lossy_streams), (1, 1));
        assert!(report.mos < 1.5);
    }
}
