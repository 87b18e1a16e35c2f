//! A whole run: calling and answering parties in a thread each, media in a third, the process under test read
//! before and after.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use base::Rng;
use serde::{Serialize, Serializer};

use crate::attack::{Assault, Attack};
use crate::digest::Account;
use crate::machine::ClockWatch;
use crate::media::{self, Media, Recording, Socket};
use crate::phone::{self, Answering, Phone, Voice};
use crate::process::{Sample, Usage};
use crate::profile::{Gaps, Profile, Shape};
use crate::report::{self, Calls, Machine, Moment, Report, Step, Verdict};
use crate::scenario::Scenario;
use crate::slo::Slo;
use crate::speech::Codec;
use crate::sys;
use crate::uac::{Plan, Uac};
use crate::uas::{Ring, Script, Uas};
use crate::validity::Validity;

/// SIP calls with media through a system. Made by [`LoadSip::ramp`] or [`LoadSip::steady`], then changed at will.
#[derive(Clone, Debug, Serialize)]
pub struct LoadSip {
    /// Where INVITEs go.
    pub to: SocketAddr,
    /// The calling parties' own address; port 0 for any.
    pub uac: SocketAddr,
    /// The answering parties' address; `None` if somebody else answers.
    pub uas: Option<SocketAddr>,
    /// Calls that are to live at the same time.
    pub calls: u32,
    /// New calls a second.
    pub cps: f64,
    /// How many calls in all; `None`: as many as come in `place_for`.
    pub total: Option<u32>,
    /// How long calls are placed.
    pub place_for: Duration,
    /// How long each call talks.
    pub hold: Duration,
    /// From the end of talking to BYE: what is under way then arrives, so that loss means loss.
    pub settle: Duration,
    /// How the rate goes over that time.
    pub profile: Shape,
    /// Random gaps between calls or equal ones.
    pub gaps: Gaps,
    /// What happens in calls.
    #[serde(serialize_with = "in_full")]
    pub scenario: Arc<Scenario>,
    /// A step that the other side refuses is a call that failed; else it is only counted.
    pub strict: bool,
    /// With whose name calls are made, and what challenges are answered with.
    pub account: Option<Account>,
    /// It is registered first, and forgotten at the end.
    pub register: bool,
    /// Hostile traffic beside the calls.
    pub attack: Option<Attack>,
    /// What is said; `None` for signalling alone.
    pub media: Option<Codec>,
    /// What our answering parties say, if not the same; then somebody between converts, and what arrives is judged by
    /// what is heard in it.
    pub uas_media: Option<Codec>,
    /// What callers and callees say, if not speech made from the seed: needed where the codec is Opus or one side's is
    /// another than the other's.
    #[serde(skip)]
    pub says: [Option<Arc<Recording>>; 2],
    /// The file that it comes from.
    pub speech: Option<String>,
    /// Whether streams send RTCP as well.
    pub rtcp: bool,
    /// What our answering parties send before they answer.
    pub ring: Ring,
    /// When they answer, after the INVITE.
    pub answer_after: Duration,
    /// Answer with this status instead.
    pub refuse: Option<u16>,
    /// Everything random follows from it.
    pub seed: u64,
    /// The process under test, if it runs on this machine.
    pub pid: Option<u32>,
    /// What decides; empty: all calls and packets must arrive.
    pub slo: Slo,
    /// Figures are not to be believed when 1 % of the packets left later than this after their intended time.
    pub lateness_max: Duration,
    /// The core for the media thread.
    pub media_cpu: Option<usize>,
    /// Set by the caller to end early; calls then hang up and the report is made of what there was.
    #[serde(skip)]
    pub stop: Option<Arc<AtomicBool>>,
}

impl LoadSip {
    /// `calls` calls come at `cps` and then live together; the whole takes about `seconds`.
    pub fn ramp(to: SocketAddr, calls: u32, cps: f64, seconds: f64) -> Self {
        let ramp = f64::from(calls) / cps;
        let hold = (seconds - ramp).max(1.0);
        LoadSip { total: Some(calls), ..Self::new(to, calls, cps, ramp * 4.0 + 1.0, hold) }
    }

    /// Calls come at `cps` for `seconds` and last so long that about `calls` live at the same time.
    pub fn steady(to: SocketAddr, calls: u32, cps: f64, seconds: f64) -> Self {
        Self::new(to, calls, cps, seconds, f64::from(calls) / cps)
    }

    /// As [`LoadSip::steady`], with the rate going as `profile` says.
    pub fn profiled(profile: Shape, to: SocketAddr, calls: u32, cps: f64, seconds: f64) -> Self {
        LoadSip { profile, ..Self::steady(to, calls, cps, seconds) }
    }

    /// When calls come.
    fn arrivals(&self) -> Profile {
        Profile::new(self.profile, self.cps, self.place_for)
    }

    /// Calls that may have to live at the same time: overlap by set-up and settling, and what a spike brings at once.
    fn calls_max(&self) -> usize {
        let arrivals = self.arrivals();
        let beyond = (arrivals.expected() - self.cps * self.place_for.as_secs_f64()).max(0.0);
        let beyond = beyond.min(f64::from(self.total.unwrap_or(u32::MAX))) as usize;
        self.calls as usize + self.calls as usize / 4 + 16 + beyond
    }

    fn new(to: SocketAddr, calls: u32, cps: f64, place_for: f64, life: f64) -> Self {
        let settle = 0.2;
        let any_port = SocketAddr::new(local_ip_towards(to.ip()), 0);
        LoadSip {
            to,
            uac: any_port,
            uas: None,
            calls,
            cps,
            total: None,
            place_for: Duration::from_secs_f64(place_for),
            hold: Duration::from_secs_f64((life - settle).max(0.0)),
            settle: Duration::from_secs_f64(settle),
            profile: Shape::Steady,
            gaps: Gaps::Even,
            scenario: Arc::default(),
            strict: false,
            account: None,
            register: false,
            attack: None,
            media: Some(Codec::Pcmu),
            uas_media: None,
            says: [None, None],
            speech: None,
            rtcp: true,
            ring: Ring::Ringing,
            answer_after: Duration::ZERO,
            refuse: None,
            seed: 1,
            pid: None,
            slo: Slo::default(),
            lateness_max: media::Config::default().lateness_max,
            media_cpu: None,
            stop: None,
        }
    }
}

/// A live view, given to the progress callback about once a second.
#[derive(Clone, Debug, Serialize)]
pub struct Progress {
    /// Since the beginning.
    pub seconds: f64,
    /// The calling side.
    pub calls: phone::Live,
    /// Media, where there is any.
    pub media: Option<media::Live>,
    /// CPU seconds a second that the process under test used since the last view.
    pub cores: Option<f64>,
    /// Its resident memory.
    pub rss_bytes: Option<u64>,
}

/// Two sockets of our own, bound before anything starts: for callers that must know the addresses beforehand.
#[derive(Debug)]
pub struct Lines {
    uac: std::net::UdpSocket,
    uas: Option<std::net::UdpSocket>,
}

impl Lines {
    /// Binds the SIP sockets of a run.
    ///
    /// # Errors
    /// As `bind`.
    pub fn bind(uac: SocketAddr, uas: Option<SocketAddr>) -> io::Result<Self> {
        // 4 MiB hold some 2,000 INVITEs: a burst of retransmissions must not be lost here.
        let bind = |address| sys::udp_socket(address, 4 << 20);
        Ok(Lines { uac: bind(uac)?, uas: uas.map(bind).transpose()? })
    }

    /// Where calls come from.
    ///
    /// # Errors
    /// As `getsockname`.
    pub fn uac(&self) -> io::Result<SocketAddr> {
        self.uac.local_addr()
    }

    /// Where calls are answered.
    ///
    /// # Errors
    /// As `getsockname`.
    pub fn uas(&self) -> io::Result<Option<SocketAddr>> {
        self.uas.as_ref().map(std::net::UdpSocket::local_addr).transpose()
    }
}

/// Runs `load`, telling `progress` about once a second how it stands.
///
/// # Errors
/// Addresses that cannot be bound, want of descriptors or threads, a process under test that is gone.
pub fn run(load: &LoadSip, progress: impl FnMut(&Progress)) -> io::Result<Report> {
    run_on(Lines::bind(load.uac, load.uas)?, load, progress)
}

/// As [`run`], on sockets that are bound already.
///
/// # Errors
/// As [`run`].
pub fn run_on(lines: Lines, load: &LoadSip, mut progress: impl FnMut(&Progress)) -> io::Result<Report> {
    sys::raise_descriptor_limit();
    let started = report::started();
    let start_ns = sys::mono_ns();
    let mut rng = Rng::from_seed(load.seed);
    // What is beyond that shows as unplaced.
    let calls_max = load.calls_max();
    let (uac_at, uas_at) = (lines.uac()?, lines.uas()?);
    let stage = Stage::open(load, calls_max, uac_at.ip(), uas_at.map(|at| at.ip()), &mut rng)?;

    let mut validity = Validity::default();
    // All that can be refused comes before the threads, or ends them by being dropped.
    let before = load.pid.map(Sample::of).transpose()?;

    let uas = match lines.uas.zip(uas_at) {
        Some((socket, local)) => {
            let script = Script {
                local,
                media: stage.uas_media.clone(),
                codec: load.uas_media.or(load.media).unwrap_or(Codec::Pcmu),
                ring: load.ring,
                answer_after_ns: ns(load.answer_after),
                refuse: load.refuse,
                scenario: Arc::clone(&load.scenario),
                seed: load.seed,
                talk_ns: ns(load.hold),
                settle_ns: ns(load.settle),
            };
            let machine = Answering::new(Uas::new(script, rng.fork()));
            Some(Phone::start("load-uas", socket, machine, stage.voice(stage.uac_media.len()))?)
        }
        None => None,
    };
    let plan = Plan {
        target: load.to,
        local: uac_at,
        media: stage.uac_media.clone(),
        codec: load.media.unwrap_or(Codec::Pcmu),
        calls_max,
        profile: load.arrivals(),
        gaps: load.gaps,
        total: load.total.unwrap_or(u32::MAX),
        talk_ns: ns(load.hold),
        settle_ns: ns(load.settle),
        ring_max_ns: 60_000_000_000,
        scenario: Arc::clone(&load.scenario),
        seed: load.seed,
        strict: load.strict,
        account: load.account.clone(),
        register: load.register,
    };
    let machine = Uac::new(plan, sys::mono_ns(), rng.fork());
    let uac = Phone::start("load-uac", lines.uac, machine, stage.voice(0))?;

    let attack = load.attack.map(|attack| Assault::start(attack, load.to, rng.fork())).transpose()?;

    let media = stage.media.as_ref();
    let (steady, series) = watch(load, &uac, media, before.clone(), start_ns, &mut validity, &mut progress);

    // The process is read before the generator rests, so that idle time does not dilute its figures.
    let after = load.pid.and_then(|pid| Sample::of(pid).ok());
    if load.pid.is_some() && after.is_none() {
        validity.other.push("the process under test went away".to_owned());
    }
    let attack = attack.map(Assault::stop);
    let (uac, uac_drops) = uac.join();
    if let Some(uas) = &uas {
        uas.wind_up();
    }
    let uas = uas.map(Phone::join);
    let media = stage.media.map(Media::finish);

    let process = after.zip(before).map(|(after, before)| after.since(&before));
    let tally = uac.into_tally();
    let cpu_seconds = process.as_ref().map(|usage| usage.cpu_seconds);
    let packets = media.as_ref().map_or(0, |media| media.counts.received);
    let calls = Calls {
        placed: tally.placed,
        unplaced: tally.unplaced,
        answered: tally.answered,
        talked: tally.talked,
        completed: tally.completed,
        failed: tally.failed(),
        resent: tally.resent,
        strays: tally.strays,
        own_drops: uac_drops + uas.as_ref().map_or(0, |uas| uas.1),
        setup: tally.setup.percentiles(),
        ringing: tally.ringing.percentiles(),
        bye: tally.bye.percentiles(),
        lateness: tally.lateness.percentiles(),
        cancel: tally.cancel.percentiles(),
        failures: tally.failures,
        kinds: tally.kinds,
        steps: tally.steps.into_iter().map(|(name, step)| (name, Step::of(step))).collect(),
        challenged: tally.challenged,
        registered: tally.registered.map(|outcome| outcome.err().unwrap_or_else(|| "yes".to_owned())),
    };
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        started,
        machine: Machine::here(),
        arguments: load.clone(),
        seconds: (sys::mono_ns() - start_ns) as f64 / 1e9,
        cpu_us_per_packet: cpu_seconds.filter(|_| packets > 0).map(|cpu| cpu * 1e6 / packets as f64),
        calls_per_cpu_second: cpu_seconds.filter(|&cpu| cpu > 0.0).map(|cpu| calls.completed as f64 / cpu),
        calls,
        answering: uas.map(|(machine, _)| machine.uas.tally().clone()),
        media,
        process,
        steady,
        attack,
        series,
        validity,
        verdict: Verdict::default(),
    };
    Ok(report.judge())
}

/// From the wish to end until calls that still go on are left alone: two of SIP's timers of 32 s, and some.
const WIND_UP_NS: u64 = 70_000_000_000;

/// Shows progress until the calling side has ended, or the caller wants it to. Returns what the process under test
/// used while all calls were up and none had ended yet, if that was for some seconds.
fn watch(
    load: &LoadSip,
    uac: &Phone<Uac>,
    media: Option<&Media>,
    mut last: Option<Sample>,
    start_ns: u64,
    validity: &mut Validity,
    progress: &mut impl FnMut(&Progress),
) -> (Option<Steady>, Vec<Moment>) {
    let (mut series, mut placed) = (Series::default(), 0);
    let mut show_at = start_ns;
    let mut plateau: Option<(Sample, u64)> = None;
    let mut steady = None;
    let mut clock = ClockWatch::start();
    let mut end_at = None;
    while !uac.is_finished() {
        thread::sleep(Duration::from_millis(20));
        let now = sys::mono_ns();
        if load.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed)) {
            uac.wind_up();
            if now >= *end_at.get_or_insert(now + WIND_UP_NS) {
                let active = uac.live().active;
                validity
                    .other
                    .push(format!("the calling side did not come to its end: {active} calls went on"));
                uac.abandon();
                break;
            }
        }
        if now < show_at {
            continue;
        }
        clock.check();
        show_at = now + 1_000_000_000;
        let sample = load.pid.and_then(|pid| Sample::of(pid).ok());
        let usage = sample.as_ref().zip(last.as_ref()).map(|(now, before)| now.since(before));
        let calls = uac.live();
        if calls.active >= u64::from(load.calls)
            && calls.completed + calls.failed == 0
            && let Some(sample) = &sample
        {
            let received = media.map_or(0, Media::received);
            let (from, received_from) = plateau.get_or_insert_with(|| (sample.clone(), received));
            steady = Steady::between(from, sample, received - *received_from);
        }
        last = sample.or(last);
        let live = Progress {
            seconds: (now - start_ns) as f64 / 1e9,
            calls,
            media: media.map(Media::live),
            cores: usage.as_ref().map(|usage| usage.cores),
            rss_bytes: usage.as_ref().map(|usage| usage.rss_bytes),
        };
        series.add(&live, live.calls.placed - placed);
        placed = live.calls.placed;
        progress(&live);
    }
    clock.check();
    validity.clock_was_set |= clock.was_set();
    (steady, series.moments)
}

/// How a run went, second by second; a long one by fewer moments.
#[derive(Default)]
struct Series {
    moments: Vec<Moment>,
    /// So many seconds a moment, less one.
    skip: u64,
    skipped: u64,
    arrived: u64,
}

const MOMENTS_MAX: usize = 3_600;

impl Series {
    fn add(&mut self, live: &Progress, arrived: u64) {
        self.arrived += arrived;
        self.skipped += 1;
        if self.skipped <= self.skip {
            return;
        }
        let arrived = self.arrived as f64 / self.skipped as f64;
        (self.arrived, self.skipped) = (0, 0);
        self.moments.push(Moment::of(live, arrived));
        if self.moments.len() >= MOMENTS_MAX {
            let mut index = 0;
            self.moments.retain(|_| {
                index += 1;
                index % 2 == 0
            });
            self.skip = self.skip * 2 + 1;
        }
    }
}

/// What the process under test used while all calls were up: media alone, without set-up and hang-up.
#[derive(Clone, Debug, Serialize)]
pub struct Steady {
    /// In that time.
    pub process: Usage,
    /// RTP packets that it relayed.
    pub packets: u64,
    /// CPU time for each of them, microseconds.
    pub cpu_us_per_packet: f64,
}

impl Steady {
    fn between(from: &Sample, to: &Sample, packets: u64) -> Option<Self> {
        let process = to.since(from);
        let cpu_us_per_packet = process.cpu_seconds * 1e6 / packets as f64;
        (process.seconds >= 0.9 && packets > 0).then_some(Steady { process, packets, cpu_us_per_packet })
    }
}

/// The media thread, and where its sockets are.
struct Stage {
    media: Option<Media>,
    uac_media: Vec<SocketAddr>,
    uas_media: Vec<SocketAddr>,
}

impl Stage {
    fn open(
        load: &LoadSip,
        calls_max: usize,
        uac: IpAddr,
        uas: Option<IpAddr>,
        rng: &mut Rng,
    ) -> io::Result<Self> {
        let Some(codec) = load.media else {
            return Ok(Stage { media: None, uac_media: vec![], uas_media: vec![] });
        };
        let bind = |ip| Socket::bind_many(ip, calls_max);
        // Who moves has two for a while.
        let mut sockets = bind(uac)?;
        if load.scenario.moves() {
            sockets.extend(bind(uac)?);
        }
        let uac_media: Vec<_> = sockets.iter().map(Socket::address).collect();
        sockets.extend(uas.map(bind).transpose()?.into_iter().flatten());
        let uas_media = sockets[uac_media.len()..].iter().map(Socket::address).collect();
        let config = media::Config {
            codec,
            says: load.says.clone(),
            converted: load.uas_media.is_some_and(|other| other != codec),
            also: load.scenario.codecs(),
            seed: rng.u64(),
            rtcp: load.rtcp,
            lateness_max: load.lateness_max,
            cpu: load.media_cpu,
            ..media::Config::default()
        };
        Ok(Stage { media: Some(Media::start(config, sockets)?), uac_media, uas_media })
    }

    fn voice(&self, first_socket: usize) -> Option<Voice> {
        self.media.as_ref().map(|media| Voice { switchboard: media.switchboard(), first_socket })
    }
}

/// The address that the kernel would send from; SDP must name one that is not a wildcard.
fn local_ip_towards(ip: IpAddr) -> IpAddr {
    let any: IpAddr = if ip.is_ipv4() {
        std::net::Ipv4Addr::UNSPECIFIED.into()
    } else {
        std::net::Ipv6Addr::UNSPECIFIED.into()
    };
    // Connecting a UDP socket sends nothing.
    let local = std::net::UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((ip, 9))?;
        socket.local_addr()
    });
    local.map_or(any, |local| local.ip())
}

fn in_full<S: Serializer>(scenario: &Arc<Scenario>, serializer: S) -> Result<S::Ok, S::Error> {
    scenario.as_ref().serialize(serializer)
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direct(change: impl FnOnce(&mut LoadSip)) -> Report {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let lines = Lines::bind(any, Some(any)).unwrap();
        let to = lines.uas().unwrap().unwrap();
        let mut load = LoadSip::ramp(to, 20, 40.0, 2.0);
        (load.uac, load.uas) = (any, Some(any));
        change(&mut load);
        let mut shown = 0;
        let report = run_on(lines, &load, |progress| {
            assert!(progress.calls.active <= 20);
            shown += 1;
        })
        .unwrap();
        assert!(shown > 0);
        report
    }

    #[test]
    fn twenty_direct_calls_talk_both_ways_and_lose_nothing() {
        let report = direct(|load| load.pid = Some(std::process::id()));
        let media = report.media.as_ref().expect("media was wanted");
        // Lateness is the test machine's affair; all the rest must be perfect.
        assert!(report.verdict.complaints.is_empty(), "{report}");
        assert_eq!((report.calls.completed, media.counts.streams), (20, 40));
        assert!(media.counts.sent > 40 * 40 && media.counts.clean(), "{report}");
        assert!(media.counts.rtcp_received > 0 && report.cpu_us_per_packet.is_some());
        assert_eq!(report.answering.as_ref().map(|a| (a.calls, a.ended)), Some((20, 20)));
    }

    #[test]
    fn signalling_alone_sends_no_media() {
        let report = direct(|load| {
            load.media = None;
            load.hold = Duration::from_millis(100);
        });
        assert!(report.verdict.complaints.is_empty(), "{report}");
        assert!(report.media.is_none() && report.calls.setup.count == 20);
    }

    #[test]
    fn a_process_that_goes_away_leaves_a_report_that_says_so() {
        let mut process = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let id = process.id();
        let mut running = Some(&mut process);
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let lines = Lines::bind(any, Some(any)).unwrap();
        let mut load = LoadSip::ramp(lines.uas().unwrap().unwrap(), 2, 10.0, 1.0);
        (load.uac, load.uas, load.pid, load.media) = (any, Some(any), Some(id), None);
        let report = run_on(lines, &load, |_| {
            if let Some(process) = running.take() {
                process.kill().unwrap();
                process.wait().unwrap();
            }
        })
        .unwrap();
        assert!(report.verdict.complaints.is_empty() && !report.verdict.passed, "{report}");
        let why = report.verdict.invalid.as_deref().unwrap_or_default();
        assert!(why.contains("went away"), "{why}");
    }

    #[test]
    fn a_phone_that_is_dropped_gives_its_socket_back() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let lines = Lines::bind(any, None).unwrap();
        let at = lines.uac().unwrap();
        let script = Script {
            local: at,
            media: vec![],
            codec: Codec::Pcmu,
            ring: Ring::Ringing,
            answer_after_ns: 0,
            refuse: None,
            scenario: Arc::default(),
            seed: 1,
            talk_ns: 0,
            settle_ns: 0,
        };
        let machine = Answering::new(Uas::new(script, Rng::from_seed(1)));
        drop(Phone::start("load-uas", lines.uac, machine, None).unwrap());
        let begun = std::time::Instant::now();
        while std::net::UdpSocket::bind(at).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "the thread goes on");
            thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn a_run_that_is_stopped_hangs_up_and_reports() {
        let stop = Arc::new(AtomicBool::new(true));
        let report = direct(|load| {
            load.hold = Duration::from_secs(3600);
            load.stop = Some(stop);
        });
        assert!(report.calls.completed == report.calls.placed && report.seconds < 60.0, "{report}");
    }
}
