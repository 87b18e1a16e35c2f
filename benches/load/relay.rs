//! Media through the engine (both back ends, calls set up by SIP), through rtpengine (set up by NG) and through bare
//! loops: the same generator, the same judge, taking turns.

use crate::Options;
use crate::peers::{Engine, GENERATOR, rtpengine, sample, tested};
use anyhow::{Context, Result, bail};
use base::Rng;
use loadtest::bare;
use loadtest::dialog::Output;
use loadtest::figures::Rounds;
use loadtest::ng::{self, LoadNg, Says};
use loadtest::profile::{Gaps, Profile, Shape};
use loadtest::relay::{self, Load, Parties, Ports, Report};
use loadtest::session::Remote;
use loadtest::speech::Codec;
use loadtest::uac::{Plan, Uac};
use loadtest::uas::{Ring, Script, Uas};
use loadtest::{media, sys};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

/// Where calling parties are.
pub const CALLERS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// Where answering parties are.
pub const CALLEES: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

#[derive(Clone, Copy, PartialEq, Eq)]
enum Candidate {
    BareEpoll,
    BareUring,
    Epoll,
    Uring,
    RtpEngine,
}

impl Candidate {
    const ALL: [Candidate; 5] = [
        Candidate::BareEpoll,
        Candidate::Epoll,
        Candidate::BareUring,
        Candidate::Uring,
        Candidate::RtpEngine,
    ];

    fn name(self) -> &'static str {
        match self {
            Candidate::BareEpoll => "bare epoll",
            Candidate::BareUring => "bare uring",
            Candidate::Epoll => "strowger epoll",
            Candidate::Uring => "strowger uring",
            Candidate::RtpEngine => "rtpengine",
        }
    }
}

/// One candidate at one number of calls.
#[derive(Default)]
struct Row {
    cpu_ns: Rounds,
    latency_us: [Rounds; 3],
    lost: u64,
    wrong: u64,
    bytes: Rounds,
    descriptors: Rounds,
    invalid: Vec<String>,
}

impl Row {
    fn add(&mut self, report: &Report, grown: Option<(f64, f64)>) {
        let latency = &report.media.latency;
        self.cpu_ns.add(report.cpu_ns_per_packet.unwrap_or(f64::NAN));
        for (rounds, value) in
            self.latency_us.iter_mut().zip([latency.p50_us, latency.p99_us, latency.p999_us])
        {
            rounds.add(value);
        }
        let counts = &report.media.counts;
        self.lost += counts.lost;
        self.wrong +=
            counts.duplicated + counts.corrupted + counts.wrong_source + counts.wrong_party + counts.unknown;
        if let Some((bytes, descriptors)) = grown {
            self.bytes.add(bytes);
            self.descriptors.add(descriptors);
        }
        self.invalid.extend(report.media.invalid.clone());
    }
}

/// All candidates at all numbers of calls.
pub fn measure(options: &Options) -> Result<()> {
    println!("\nRelay: {} rounds of {} s; min / median / max", options.rounds, options.seconds);
    let calls = if options.calls.is_empty() { &[100, 250, 500, 1_000][..] } else { &options.calls };
    for &calls in calls {
        let mut rows: Vec<(Candidate, Row)> = Candidate::ALL.iter().map(|c| (*c, Row::default())).collect();
        for round in 0..options.rounds {
            for (candidate, row) in &mut rows {
                run(*candidate, calls, round as u64, options.seconds, row)
                    .with_context(|| format!("{}, {calls} calls", candidate.name()))?;
            }
        }
        show(calls, &rows);
    }
    Ok(())
}

/// A few calls through what is always there.
pub fn smoke(options: &Options) -> Result<()> {
    for candidate in [Candidate::BareEpoll, Candidate::Epoll] {
        let mut row = Row::default();
        run(candidate, options.calls[0], 1, options.seconds, &mut row)?;
        if row.wrong > 0 || row.cpu_ns.values().len() != 1 {
            bail!("{}: {} packets went wrong", candidate.name(), row.wrong);
        }
    }
    Ok(())
}

fn show(calls: usize, rows: &[(Candidate, Row)]) {
    let of = |wanted| rows.iter().find(|(c, _)| *c == wanted).map(|(_, row)| row);
    println!(
        "\n| {calls} calls | CPU ns a packet | × bare of its kind | × rtpengine | p50 µs | p99 µs | p99.9 µs | lost | KB a call | descriptors a call |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for (candidate, row) in rows.iter().filter(|(_, row)| !row.cpu_ns.values().is_empty()) {
        let bare = match candidate {
            Candidate::Epoll => of(Candidate::BareEpoll),
            Candidate::Uring => of(Candidate::BareUring),
            _ => None,
        };
        let ratio = |other: Option<&Row>| other.map_or_else(Rounds::default, |o| row.cpu_ns.ratio(&o.cpu_ns));
        let rtpengine = of(Candidate::RtpEngine).filter(|_| *candidate != Candidate::RtpEngine);
        let [p50, p99, p999] = &row.latency_us;
        let mut kilobytes = Rounds::default();
        row.bytes.values().iter().for_each(|b| kilobytes.add(b / 1e3));
        println!(
            "| {} | {:.0} | {:.2} | {:.2} | {p50:.0} | {p99:.0} | {p999:.0} | {} | {kilobytes:.1} | {:.1} |",
            candidate.name(),
            row.cpu_ns,
            ratio(bare),
            ratio(rtpengine),
            row.lost,
            row.descriptors,
        );
        if row.wrong > 0 {
            println!("{}: {} packets changed, twice or misdirected", candidate.name(), row.wrong);
        }
        for why in &row.invalid {
            println!("{}: a round is not to be believed: {why}", candidate.name());
        }
    }
}

/// One round; does nothing where the candidate is not there.
fn run(candidate: Candidate, calls: usize, seed: u64, seconds: f64, row: &mut Row) -> Result<()> {
    let load = Load {
        // Without RTCP, since the bare loops have no ports for it.
        media: media::Config {
            seed: seed + 1,
            rtcp: false,
            lateness_max: Duration::from_millis(5),
            cpu: tested().map(|_| GENERATOR),
            ..media::Config::default()
        },
        warm_up: Duration::from_secs_f64(seconds.min(1.5)),
        measure: Duration::from_secs_f64(seconds),
        pid: None,
    };
    let local: IpAddr = Ipv4Addr::LOCALHOST.into();
    match candidate {
        Candidate::BareEpoll => {
            row.add(&relay::run_bare(&load, calls, local, tested(), bare::epoll::start)?, None);
        }
        Candidate::BareUring => match relay::run_bare(&load, calls, local, tested(), bare::uring::start) {
            Ok(report) => row.add(&report, None),
            Err(error) => println!("bare uring is left out: {error}"),
        },
        Candidate::Epoll => through_engine("epoll", calls, load, row)?,
        Candidate::Uring => {
            if let Err(error) = through_engine("uring", calls, load, row) {
                println!("strowger uring is left out: {error:#}");
            }
        }
        Candidate::RtpEngine => {
            let Some(proxy) = rtpengine()? else { return Ok(()) };
            let mut plan = LoadNg::new(proxy.ng, calls, 250.0, (load.warm_up + load.measure).as_secs_f64());
            plan.media = Some([Says::Speech(load.media.codec), Says::Speech(load.media.codec)]);
            plan.warm_up = load.warm_up.as_secs_f64();
            (plan.parties, plan.pid, plan.idle) = ([CALLERS, CALLEES], Some(proxy.pid()), 0.0);
            (plan.seed, plan.rtcp, plan.cpu) = (load.media.seed, load.media.rtcp, load.media.cpu);
            let report = ng::run(&plan, |_| ())?;
            let relayed = report.relay().context("the run was not measured")?;
            row.add(&relayed, report.bytes_per_call.zip(report.descriptors_per_call));
        }
    }
    Ok(())
}

/// Calls are set up by SIP, then media runs exactly as through the others, then they are hung up.
fn through_engine(backend: &str, calls: usize, load: Load, row: &mut Row) -> Result<()> {
    let sockets = [CALLERS, CALLEES].map(|ip| sys::udp_socket((ip, 0).into(), 4 << 20));
    let [uac, uas] = sockets;
    let (uac, uas) = (uac?, uas?);
    let engine = Engine::start(backend, uac.local_addr()?, uas.local_addr()?)?;
    let mut parties = Parties::bind(calls, CALLERS, CALLEES)?;
    let before = sample(&[engine.pid()]);
    let mut phones = Phones::new(&engine, uac, uas, &parties, calls)?;
    let remotes = phones.set_up(calls)?;
    let after = sample(&[engine.pid()]);
    let grown = before.first().zip(after.first()).map(|((_, before), (_, after))| {
        let per_call = |now: u64, then: u64| (now as f64 - then as f64) / calls as f64;
        (per_call(after.rss_bytes, before.rss_bytes), per_call(after.descriptors, before.descriptors))
    });
    // Number n of either side's sockets must be call n's.
    let mut ports = Vec::with_capacity(calls);
    let mut order = [Vec::new(), Vec::new()];
    for call in remotes {
        let ([Some((a, to_a)), Some((b, to_b))], [order_a, order_b]) = (call, &mut order) else {
            bail!("a call has audio on one side only")
        };
        order_a.push(a);
        order_b.push(b);
        ports.push(Ports { a: to_a.rtp, b: to_b.rtp });
    }
    let [order_a, order_b] = order;
    parties.a = reordered(parties.a, &order_a);
    parties.b = reordered(parties.b, &order_b);
    let report = relay::run(&Load { pid: Some(engine.pid()), ..load }, parties, &ports, None)?;
    phones.hang_up()?;
    row.add(&report, grown);
    Ok(())
}

fn reordered<T>(things: Vec<T>, order: &[usize]) -> Vec<T> {
    let mut things: Vec<Option<T>> = things.into_iter().map(Some).collect();
    order.iter().filter_map(|&index| things[index].take()).collect()
}

/// Socket and remote of a call's two parties.
type Spoken = [Option<(usize, Remote)>; 2];

/// Calling and answering parties in this thread.
struct Phones {
    uac: (Uac, UdpSocket),
    uas: (Uas, UdpSocket),
    calls: Vec<Spoken>,
}

impl Phones {
    fn new(
        engine: &Engine,
        uac: UdpSocket,
        uas: UdpSocket,
        parties: &Parties,
        calls: usize,
    ) -> Result<Phones> {
        let mut rng = Rng::from_seed(sys::real_ns());
        let addresses = |sockets: &[media::Socket]| sockets.iter().map(media::Socket::address).collect();
        let plan = Plan {
            target: engine.sip,
            local: uac.local_addr()?,
            media: addresses(&parties.a),
            codec: Codec::Pcmu,
            calls_max: calls,
            profile: Profile::new(Shape::Steady, 250.0, Duration::from_secs(100_000)),
            gaps: Gaps::Even,
            total: calls as u32,
            talk_ns: u64::MAX / 4,
            settle_ns: 0,
            ring_max_ns: 10_000_000_000,
            scenario: Arc::default(),
            seed: 1,
            strict: false,
            account: None,
            register: false,
        };
        let script = Script {
            local: uas.local_addr()?,
            media: addresses(&parties.b),
            codec: Codec::Pcmu,
            ring: Ring::Ringing,
            answer_after_ns: 0,
            refuse: None,
            scenario: Arc::default(),
            seed: 1,
            talk_ns: u64::MAX / 4,
            settle_ns: 0,
        };
        let (caller, callee) = (Uac::new(plan, sys::real_ns(), rng.fork()), Uas::new(script, rng.fork()));
        Ok(Phones { uac: (caller, uac), uas: (callee, uas), calls: vec![[None, None]; calls] })
    }

    /// All calls up: sockets and remotes of each.
    fn set_up(&mut self, calls: usize) -> Result<Vec<Spoken>> {
        self.drive(|phones| {
            phones.calls.iter().flatten().filter(|side| side.is_some()).count() == calls * 2
        })?;
        Ok(self.calls.clone())
    }

    fn hang_up(&mut self) -> Result<()> {
        self.uac.0.wind_up(sys::real_ns());
        self.drive(|phones| phones.uac.0.is_done())
    }

    fn drive(&mut self, is_done: impl Fn(&Phones) -> bool) -> Result<()> {
        let mut inbox = sys::Inbox::new(64, 4096);
        let give_up_at = sys::mono_ns() + 60_000_000_000;
        while !is_done(self) {
            if sys::mono_ns() > give_up_at {
                bail!("calls do not come to their state: {:?}", self.uac.0.tally().failures);
            }
            let (uac, socket) = &mut self.uac;
            let _ = inbox
                .receive(socket, |d| uac.handle_datagram(sys::real_ns(), d.arrived_ns, d.source, d.bytes));
            while uac.poll_timeout().is_some_and(|at| at <= sys::real_ns()) {
                uac.handle_timeout(sys::real_ns());
            }
            while let Some(output) = uac.poll_output() {
                perform(output, socket, &mut self.calls, 0);
            }
            let (uas, socket) = &mut self.uas;
            let _ = inbox.receive(socket, |d| uas.handle_datagram(sys::real_ns(), d.source, d.bytes));
            while uas.poll_timeout().is_some_and(|at| at <= sys::real_ns()) {
                uas.handle_timeout(sys::real_ns());
            }
            while let Some(output) = uas.poll_output() {
                perform(output, socket, &mut self.calls, 1);
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }
}

fn perform(output: Output, socket: &UdpSocket, calls: &mut [Spoken], side: usize) {
    match output {
        Output::Send { to, bytes } => {
            let _ = socket.send_to(&bytes, to);
        }
        Output::Speak { call, socket, remote, .. } => calls[call as usize][side] = Some((socket, remote)),
        Output::Hush(_) | Output::Rest(_) | Output::Dial { .. } => {}
    }
}
