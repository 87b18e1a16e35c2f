//! A whole load run on an NG proxy: sockets, signalling and media in their threads; readings of the process under test and
//! of the machine at the times fixed beforehand.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::Rng;
use serde::Serialize;

use super::desk::{self, Desk, Plan, Seen, Tally, Timings};
use super::report::{Found, Point, Report};
use super::session::Format;
use super::wire::{Transport, Wire};
use super::{Client, Failed};
use crate::machine::{self, Busy};
use crate::media::{self, Live, Media, Phases, Recording, Socket};
use crate::process::{Sample, sample_all};
use crate::profile::{Gaps, Profile, Shape};
use crate::slo::Slo;
use crate::speech::Codec;
use crate::sys;
use crate::validity::LATENESS_MAX;

/// What a party says.
#[derive(Clone, Debug)]
pub enum Says {
    /// Speech of our own, of which every packet is known.
    Speech(Codec),
    /// What somebody else has coded.
    Recording(Arc<Recording>),
}

impl Says {
    fn format(&self) -> Format {
        match self {
            Says::Speech(codec) => {
                Format { number: codec.payload_type(), map: format!("{}/8000", codec.name()) }
            }
            Says::Recording(recording) => {
                Format { number: recording.payload_type, map: recording.format.clone() }
            }
        }
    }
}

/// Load on an NG proxy.
#[derive(Clone, Debug, Serialize)]
pub struct LoadNg {
    /// The proxy's NG address.
    pub to: SocketAddr,
    /// How requests travel.
    pub transport: Transport,
    /// JSON instead of bencode.
    pub json: bool,
    /// Calls that live together.
    pub calls: usize,
    /// New calls a second.
    pub cps: f64,
    /// Without a profile: how long all calls live together once they are up. With one: how long calls arrive.
    pub seconds: f64,
    /// How calls arrive, each lasting `calls / cps` seconds; `None`: all are set up, live together, and are deleted.
    pub profile: Option<Shape>,
    /// What the calling and the answering party say; `None`: no media.
    #[serde(skip)]
    pub media: Option<[Says; 2]>,
    /// Whether the proxy is asked to convert between them.
    pub converts: bool,
    /// More words for the flags of offers and answers.
    pub flags: Vec<String>,
    /// Seconds that the proxy is asked to keep a call after its delete; `None`: as it is configured.
    pub delete_delay: Option<u32>,
    /// When streams send.
    pub phases: Phases,
    /// How far their clocks may be off, millionths.
    pub drift_ppm: u32,
    /// Whether the parties also send RTCP.
    pub rtcp: bool,
    /// Everything random follows from it.
    pub seed: u64,
    /// Addresses of our calling and answering parties.
    pub parties: [IpAddr; 2],
    /// The network namespace that their sockets are opened in.
    pub netns: Option<String>,
    /// The process under test.
    pub pid: Option<u32>,
    /// Whether what it starts counts as well.
    pub children: bool,
    /// Before figures count: from the moment that all calls should be up.
    pub warm_up: f64,
    /// How long the machine is watched in idleness before the run, seconds.
    pub idle: f64,
    /// Beyond this lateness of the generator the run is invalid.
    pub lateness_max: Duration,
    /// The processor that media stays on.
    pub cpu: Option<usize>,
    /// What decides; without any condition everything must be right.
    pub slo: Slo,
}

impl LoadNg {
    /// Calls without media: set up, held, deleted.
    pub fn new(to: SocketAddr, calls: usize, cps: f64, seconds: f64) -> Self {
        LoadNg {
            to,
            transport: Transport::Udp,
            json: false,
            calls,
            cps,
            seconds,
            profile: None,
            media: None,
            converts: false,
            flags: Vec::new(),
            delete_delay: None,
            phases: Phases::Random,
            drift_ppm: 50,
            rtcp: true,
            seed: 1,
            parties: [Ipv4Addr::new(127, 0, 0, 2).into(), Ipv4Addr::new(127, 0, 0, 3).into()],
            netns: None,
            pid: None,
            children: false,
            warm_up: (seconds / 4.0).min(1.5),
            idle: 2.0,
            lateness_max: LATENESS_MAX,
            cpu: None,
            slo: Slo::default(),
        }
    }

    fn formats(&self) -> [Format; 2] {
        match &self.media {
            Some(says) => says.each_ref().map(Says::format),
            None => [Says::Speech(Codec::Pcmu).format(), Says::Speech(Codec::Pcmu).format()],
        }
    }

    /// How long a call lasts under a profile.
    fn hold(&self) -> f64 {
        self.calls as f64 / self.cps
    }

    /// From and to when figures of the steady state count, and when the last call should be gone: seconds after the
    /// start.
    fn window(&self) -> [f64; 3] {
        match self.profile {
            None => {
                let up = self.hold();
                [up + self.warm_up.min(self.seconds / 2.0), up + self.seconds, 2.0 * up + self.seconds]
            }
            Some(_) => {
                let from = (self.hold() + self.warm_up).min(self.seconds / 2.0);
                [from, self.seconds, self.seconds + self.hold()]
            }
        }
    }
}

/// How a run stands.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Since it began.
    pub seconds: f64,
    /// Requests and calls so far.
    pub tally: Tally,
    /// Offers of the last second: 50th and 99th percentile, microseconds.
    pub offer_us: [f64; 2],
    /// Media, where there is any.
    pub media: Option<Live>,
    /// CPU seconds a second of the process under test.
    pub cores: Option<f64>,
}

/// Sockets that a pair may be waiting for after its call, and calls that last longer than meant: two seconds' worth.
const SPARE_SECONDS: f64 = 2.0;

/// Runs it; `progress` is shown how it stands, once a second.
///
/// # Errors
/// The proxy does not answer a `ping`, there are not enough descriptors, or the process under test is not there.
pub fn run(load: &LoadNg, mut progress: impl FnMut(&Progress)) -> Result<Report, Failed> {
    sys::raise_descriptor_limit();
    // Where requests do not go by datagram, opening the connection tells as much.
    if load.transport == Transport::Udp && !load.json {
        Client::connect(load.to)?.ping()?;
    }
    if let Some(pid) = load.pid {
        Sample::of(pid)?;
    }
    let run = format!("{:x}", sys::real_ns() / 1_000);
    let wire = Wire::open(load.to, load.transport, load.json, run.clone())?;
    let profile = Profile::new(
        load.profile.unwrap_or_default(),
        load.cps,
        Duration::from_secs_f64(if load.profile.is_some() { load.seconds } else { load.hold() }),
    );
    let mut rng = Rng::from_seed(load.seed);
    let arrivals = profile.arrivals(Gaps::Even, rng.fork());
    let sockets = sockets(load, profile.peak())?;
    let pairs = {
        let (a, b) = sockets.split_at(sockets.len() / 2);
        a.iter().zip(b).map(|(a, b)| [a.address(), b.address()]).collect()
    };
    let media = match &load.media {
        Some(says) => Some(Media::start(media_config(load, says), sockets)?),
        None => None,
    };
    let idle = machine::idle(Duration::from_secs_f64(load.idle))?;

    let plan = Plan {
        formats: load.formats(),
        converts: load.converts,
        flags: load.flags.clone(),
        delete_delay: load.delete_delay,
        pairs,
        exclusive: load.media.is_some(),
        arrivals: match load.profile {
            None => Box::new(arrivals.take(load.calls)),
            Some(_) => Box::new(arrivals),
        },
        hold_ns: ns(if load.profile.is_some() { load.hold() } else { 0.0 }),
        until_ns: ns(if load.profile.is_some() { 0.0 } else { load.hold() + load.seconds }),
        hostile: load.profile == Some(Shape::Attack),
        seed: rng.u64(),
        switchboard: media.as_ref().map(Media::switchboard),
    };
    let mut watch = Watch::new(load, media, idle)?;
    let start_ns = sys::mono_ns() + 20_000_000;
    let [.., gone] = load.window();
    let give_up_ns = start_ns + ns(gone) + 10_000_000_000;
    let desk = Desk::new(plan, wire, run, start_ns, Arc::clone(&watch.seen));
    let desk = desk::spawn(desk, give_up_ns)?;
    // A desk that is gone without a word has panicked, which `join` tells.
    watch.until_done(start_ns, &|| desk.is_finished(), &mut progress);
    desk.join().map_err(|_| io::Error::other("the signalling thread panicked"))?;
    Ok(watch.report())
}

fn media_config(load: &LoadNg, says: &[Says; 2]) -> media::Config {
    let codec = says.iter().find_map(|says| match says {
        Says::Speech(codec) => Some(*codec),
        Says::Recording(_) => None,
    });
    media::Config {
        codec: codec.unwrap_or(Codec::Pcmu),
        seed: load.seed,
        // A converter makes reports of its own about streams of its own.
        rtcp: load.rtcp && !load.converts,
        lateness_max: load.lateness_max,
        cpu: load.cpu,
        says: says.clone().map(|says| match says {
            Says::Speech(_) => None,
            Says::Recording(recording) => Some(recording),
        }),
        converted: load.converts,
        phases: load.phases,
        drift_ppm: load.drift_ppm,
        ..media::Config::default()
    }
}

/// A's, then B's.
fn sockets(load: &LoadNg, peak: f64) -> io::Result<Vec<Socket>> {
    let count = match (&load.media, load.profile) {
        // Nobody sends: they only have to be somebody's.
        (None, _) => load.calls.clamp(1, 64),
        (Some(_), None) => load.calls,
        (Some(_), Some(_)) => (peak * (load.hold() + SPARE_SECONDS)).ceil() as usize,
    };
    machine::in_namespace(load.netns.as_deref(), || {
        let [a, b] = load.parties;
        let mut sockets = Socket::bind_many(a, count)?;
        sockets.extend(Socket::bind_many(b, count)?);
        Ok(sockets)
    })
}

fn ns(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1e9) as u64
}

/// A reading of everything at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    pub processes: Vec<(u32, Sample)>,
    pub busy: Busy,
    pub received: u64,
    pub completed: u64,
    pub active: u64,
}

/// Looks on while a run goes.
struct Watch<'a> {
    load: &'a LoadNg,
    media: Option<Media>,
    seen: Arc<Mutex<Seen>>,
    idle: machine::Spent,
    began: String,
    before: Reading,
    /// At the beginning and at the end of the steady state.
    steady: [Option<Reading>; 2],
    last: Reading,
    last_live: Live,
    points: Vec<Point>,
    seconds: f64,
}

impl<'a> Watch<'a> {
    fn new(load: &'a LoadNg, media: Option<Media>, idle: machine::Spent) -> io::Result<Self> {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut watch = Watch {
            load,
            media,
            seen,
            idle,
            began: crate::report::started(),
            before: Reading::default(),
            steady: [None, None],
            last: Reading::default(),
            last_live: Live::default(),
            points: Vec::new(),
            seconds: 0.0,
        };
        watch.before = watch.read()?;
        watch.last = watch.before.clone();
        Ok(watch)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> io::Result<Reading> {
        let pids: Vec<u32> = self.load.pid.into_iter().collect();
        let (completed, active) = {
            let seen = self.seen();
            (seen.tally.completed, seen.tally.active)
        };
        Ok(Reading {
            processes: sample_all(&pids, self.load.children),
            busy: Busy::read()?,
            received: self.media.as_ref().map_or(0, Media::received),
            completed,
            active,
        })
    }

    fn until_done(&mut self, start_ns: u64, is_gone: &dyn Fn() -> bool, progress: &mut dyn FnMut(&Progress)) {
        const LOOK_EVERY_NS: u64 = 50_000_000;
        let [from, to, _] = self.load.window().map(|at| start_ns + ns(at));
        let mut next_point = start_ns + 1_000_000_000;
        loop {
            let now = sys::mono_ns();
            if self.steady[0].is_none() && now >= from {
                if let Some(media) = &self.media {
                    media.reset_times();
                }
                self.steady[0] = self.read().ok();
            }
            if self.steady[1].is_none() && now >= to {
                if let Some(media) = &self.media {
                    media.freeze_times();
                }
                self.steady[1] = self.read().ok();
            }
            let done = is_gone() || self.seen().done;
            if now >= next_point || done {
                next_point += 1_000_000_000;
                self.seconds = now.saturating_sub(start_ns) as f64 / 1e9;
                self.point(progress);
            }
            if done {
                return;
            }
            let mut next = now + LOOK_EVERY_NS;
            for at in [from, to, next_point] {
                if at > now {
                    next = next.min(at);
                }
            }
            sys::sleep_until(next);
        }
    }

    /// What the last second was like.
    fn point(&mut self, progress: &mut dyn FnMut(&Progress)) {
        let Ok(reading) = self.read() else { return };
        let (tally, offers) = {
            let mut seen = self.seen();
            let offers = std::mem::take(&mut seen.timings.recent).percentiles();
            (seen.tally.clone(), offers)
        };
        let media = self.media.as_ref().map(Media::live);
        let usage = crate::process::usage_of(&self.last.processes, &reading.processes);
        let cores = usage.as_ref().map(|usage| usage.cores);
        let live = media.clone().unwrap_or_default();
        let lost = live.missing.saturating_sub(self.last_live.missing);
        let sent = live.sent.saturating_sub(self.last_live.sent);
        self.points.push(Point {
            seconds: self.seconds,
            calls: tally.active,
            completed: tally.completed.saturating_sub(self.last.completed),
            offers: offers.count,
            offer_p50_us: offers.p50_us,
            offer_p99_us: offers.p99_us,
            packets: live.received.saturating_sub(self.last_live.received),
            latency_p50_us: live.p50_us,
            latency_p99_us: live.p99_us,
            loss: if sent > 0 { lost as f64 / sent as f64 } else { 0.0 },
            cores,
        });
        progress(&Progress {
            seconds: self.seconds,
            tally,
            offer_us: [offers.p50_us, offers.p99_us],
            media,
            cores,
        });
        self.last = Reading { completed: self.points.iter().map(|p| p.completed).sum(), ..reading };
        self.last_live = live;
    }

    fn report(mut self) -> Report {
        let after = self.read().unwrap_or_default();
        let media = self.media.take().map(Media::finish);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let timings: Timings = std::mem::take(&mut seen.timings);
        let (tally, clock_was_set) = (seen.tally.clone(), seen.clock_was_set);
        drop(seen);
        Found {
            load: self.load,
            started: self.began,
            seconds: self.seconds,
            tally,
            timings,
            clock_was_set,
            media,
            before: self.before,
            steady: self.steady,
            after,
            idle: self.idle,
            points: self.points,
        }
        .report()
    }
}
