//! Media without signalling, through a relay whose ports are known: for measuring a data plane alone, ours, another
//! NG proxy's or the bare one's, with the same generator in the same way.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::bare::{Bare, Pair};
use crate::media::{self, Media, Party, Side, Socket};
use crate::process::{Sample, Usage};

/// The two ports of a relay that serve one call.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// Where the calling party sends.
    pub a: SocketAddr,
    /// Where the answering party sends.
    pub b: SocketAddr,
}

/// Sockets of the parties: those of call n are A's and B's number n, or shared when there are fewer.
#[derive(Debug)]
pub struct Parties {
    /// Of the calling parties.
    pub a: Vec<Socket>,
    /// Of the answering parties.
    pub b: Vec<Socket>,
}

impl Parties {
    /// One socket pair for each party of `calls` calls, at two addresses of this machine.
    ///
    /// # Errors
    /// As [`Socket::bind`].
    pub fn bind(calls: usize, a: IpAddr, b: IpAddr) -> io::Result<Self> {
        Ok(Parties { a: Socket::bind_many(a, calls)?, b: Socket::bind_many(b, calls)? })
    }
}

/// How long to send, and what to measure besides.
#[derive(Clone, Debug)]
pub struct Load {
    /// Codec, seed, RTCP and so on.
    pub media: media::Config,
    /// Time before measuring.
    pub warm_up: Duration,
    /// Time of measuring.
    pub measure: Duration,
    /// The process under test.
    pub pid: Option<u32>,
}

/// What a relay did under load.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Calls that were relayed.
    pub calls: usize,
    /// The judge's findings; counts are of the whole run, times of the measured part.
    pub media: media::Report,
    /// RTP packets that arrived in the measured part.
    pub packets: u64,
    /// What the process under test used in the measured part.
    pub process: Option<Usage>,
    /// Its CPU time for each packet relayed, nanoseconds.
    pub cpu_ns_per_packet: Option<f64>,
}

/// Sends through `ports` as `load` says, for `warm_up` and `measure`; `cpu_ns` reads the CPU time of the relay where
/// it is a thread of this process and not a process of its own.
///
/// # Errors
/// As [`Media::start`], or the process under test is gone.
pub fn run(
    load: &Load,
    parties: Parties,
    ports: &[Ports],
    cpu_ns: Option<&dyn Fn() -> u64>,
) -> io::Result<Report> {
    let Parties { a, b } = parties;
    let (a_count, b_count) = (a.len(), b.len());
    let media = Media::start(load.media.clone(), a.into_iter().chain(b).collect())?;
    let switchboard = media.switchboard();
    for (call, port) in ports.iter().enumerate() {
        switchboard.speak(Party::new(call as u32, Side::A, call % a_count, port.a));
        switchboard.speak(Party::new(call as u32, Side::B, a_count + call % b_count, port.b));
    }
    thread::sleep(load.warm_up);
    media.reset_times();
    let sample = || load.pid.map(Sample::of).transpose();
    let (before, cpu_before, received_before) = (sample()?, cpu_ns.map(|read| read()), media.received());
    thread::sleep(load.measure);
    let (after, cpu_after, received_after) = (sample()?, cpu_ns.map(|read| read()), media.received());
    let report = media.finish();

    let packets = received_after - received_before;
    let process = after.zip(before).map(|(after, before)| after.since(&before));
    let cpu = match (&process, cpu_after.zip(cpu_before)) {
        (Some(usage), _) => Some(usage.cpu_seconds * 1e9),
        (None, Some((after, before))) => Some(after.saturating_sub(before) as f64),
        (None, None) => None,
    };
    let cpu_ns_per_packet = cpu.filter(|_| packets > 0).map(|cpu| cpu / packets as f64);
    Ok(Report { calls: ports.len(), media: report, packets, process, cpu_ns_per_packet })
}

/// The same load through a bare relay of this process, which serves `calls` calls at `ip`: the yardstick.
///
/// # Errors
/// As [`run`] and `start`, which is `bare::epoll::start` or `bare::uring::start`.
pub fn run_bare(
    load: &Load,
    calls: usize,
    ip: IpAddr,
    relay_cpu: Option<usize>,
    start: impl Fn(Vec<Pair>, Option<usize>) -> io::Result<Bare>,
) -> io::Result<Report> {
    let parties = Parties::bind(calls, ip, ip)?;
    let mut pairs = Vec::with_capacity(calls);
    let mut ports = Vec::with_capacity(calls);
    for (a, b) in parties.a.iter().zip(&parties.b) {
        let (x, y) = (std::net::UdpSocket::bind((ip, 0))?, std::net::UdpSocket::bind((ip, 0))?);
        ports.push(Ports { a: x.local_addr()?, b: y.local_addr()? });
        pairs.push(Pair { x, y, x_peer: a.address(), y_peer: b.address() });
    }
    let relay = start(pairs, relay_cpu)?;
    // The bare relay has no RTCP ports.
    let load = Load { media: media::Config { rtcp: false, ..load.media.clone() }, ..load.clone() };
    let report = run(&load, parties, &ports, Some(&|| relay.cpu_ns()));
    relay.stop();
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bare;
    use std::net::Ipv4Addr;

    #[test]
    fn a_bare_relay_carries_calls_and_its_cost_is_known() {
        let load = Load {
            media: media::Config::default(),
            warm_up: Duration::from_millis(300),
            measure: Duration::from_millis(700),
            pid: None,
        };
        let report = run_bare(&load, 10, Ipv4Addr::LOCALHOST.into(), None, bare::epoll::start).unwrap();
        assert!(report.media.counts.clean(), "{report:?}");
        assert!(report.packets > 400 && report.cpu_ns_per_packet.is_some_and(|ns| ns > 100.0), "{report:?}");
    }
}
