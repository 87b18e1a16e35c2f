//! `strowger load ng`: load on any media proxy that speaks rtpengine's NG protocol.

use super::voices;
use crate::usage;
use anyhow::{Context, Result, anyhow, bail};
use loadtest::attack::stays_here;
use loadtest::media::Phases;
use loadtest::ng::{LoadNg, Progress, Says, Transport};
use loadtest::profile::Shape;
use loadtest::{html, ng};
use std::io::{IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Arguments of `load ng`.
#[derive(clap::Args)]
pub struct Arguments {
    /// The proxy's NG address: HOST:PORT.
    #[arg(long)]
    to: String,
    /// How requests travel.
    #[arg(long, value_enum, default_value_t = Carrier::Udp)]
    transport: Carrier,
    /// Speaks JSON instead of bencode.
    #[arg(long)]
    json_ng: bool,
    /// Calls that live at the same time.
    #[arg(long)]
    calls: usize,
    /// New calls a second.
    #[arg(long)]
    cps: f64,
    /// How long all calls live together; with a profile, how long calls arrive.
    #[arg(long)]
    seconds: f64,
    /// New calls all the time, each lasting CALLS / CPS seconds: ramp, steady, soak, spike or attack. Without it all calls
    /// are set up, live together, and are deleted.
    #[arg(long)]
    profile: Option<Shape>,
    /// What is said: pcmu, pcma, g722, opus or none.
    #[arg(long, default_value = "pcmu")]
    media: String,
    /// What the answering party speaks instead: the proxy is asked to convert.
    #[arg(long, value_name = "CODEC")]
    to_media: Option<String>,
    /// More flags for offers and answers, with spaces between them.
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    flags: String,
    /// Asks the proxy to keep calls so many seconds after their delete.
    #[arg(long, value_name = "SECONDS")]
    delete_delay: Option<u32>,
    /// The attacked proxy is beyond this machine, and ours to attack.
    #[arg(long)]
    yes_attack: bool,
    /// The process under test: its CPU and memory are reported.
    #[arg(long)]
    pid: Option<u32>,
    /// What it has started counts as well.
    #[arg(long, requires = "pid")]
    children: bool,
    /// Everything random follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// All streams send at the same moments: a second figure, and the worst case.
    #[arg(long)]
    burst: bool,
    /// Addresses of the calling and the answering parties.
    #[arg(long, value_name = "A,B", value_delimiter = ',', num_args = 1..=2)]
    parties: Vec<IpAddr>,
    /// Opens the parties' sockets in this network namespace (`ip netns`).
    #[arg(long, value_name = "NAME")]
    netns: Option<String>,
    /// Beyond this lateness of the generator itself (99th percentile, milliseconds) the run is invalid.
    #[arg(long, value_name = "MS", default_value_t = 5.0)]
    lateness: f64,
    /// What decides, such as 'setup_p99<50ms,latency_p99<2ms,loss<0.01%'; without it everything must be right.
    #[arg(long, default_value = "")]
    slo: String,
    /// Writes the findings here.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes them here as a page with plots.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Carrier {
    Udp,
    Tcp,
    Http,
}

/// Runs it and tells what it found.
pub fn run(arguments: &Arguments) -> ExitCode {
    let load = match plan(arguments) {
        Ok(load) => load,
        Err(error) => return usage(format!("load ng: {error:#}")),
    };
    let report = match ng::run(&load, line()) {
        Ok(report) => report,
        Err(error) => return usage(format!("load ng: {error}")),
    };
    println!("{report}");
    let pages = [(&arguments.json, report.json()), (&arguments.html, html::write(&report.page()))];
    for (file, text) in pages {
        if let Err(error) = written(file.as_deref(), &text) {
            return usage(format!("load ng: {error:#}"));
        }
    }
    ExitCode::from(report.exit_status())
}

/// Writes `text` to a file, if one is wanted.
pub fn written(file: Option<&Path>, text: &str) -> Result<()> {
    match file {
        Some(file) => std::fs::write(file, text).with_context(|| format!("{}", file.display())),
        None => Ok(()),
    }
}

fn plan(arguments: &Arguments) -> Result<LoadNg> {
    let to = arguments.to.to_socket_addrs().with_context(|| format!("--to {}", arguments.to))?.next();
    let to = to.ok_or_else(|| anyhow!("--to {} has no address", arguments.to))?;
    let positive = arguments.calls > 0 && arguments.cps > 0.0 && arguments.seconds > 0.0;
    if !(positive && arguments.cps.is_finite() && arguments.seconds.is_finite()) {
        bail!("--calls, --cps and --seconds must be more than 0");
    }
    if arguments.profile == Some(Shape::Attack) && !arguments.yes_attack && !stays_here(to.ip()) {
        bail!("--profile attack on {to}, which is beyond this machine: only with --yes-attack");
    }
    let mut load = LoadNg::new(to, arguments.calls, arguments.cps, arguments.seconds);
    load.transport = match arguments.transport {
        Carrier::Udp => Transport::Udp,
        Carrier::Tcp => Transport::Tcp,
        Carrier::Http => Transport::Http,
    };
    load.json = arguments.json_ng;
    load.profile = arguments.profile;
    (load.media, load.converts) = media(&arguments.media, arguments.to_media.as_deref())?;
    load.flags = arguments.flags.split_whitespace().map(str::to_owned).collect();
    load.delete_delay = arguments.delete_delay;
    (load.pid, load.children, load.seed) = (arguments.pid, arguments.children, arguments.seed);
    load.phases = if arguments.burst { Phases::Burst } else { Phases::Random };
    load.parties = match arguments.parties[..] {
        [a, b] => [a, b],
        [both] => [both; 2],
        _ => parties(to)?,
    };
    load.netns.clone_from(&arguments.netns);
    if !(arguments.lateness > 0.0 && arguments.lateness.is_finite()) {
        bail!("--lateness must be more than 0");
    }
    load.lateness_max = Duration::from_secs_f64(arguments.lateness / 1e3);
    load.slo = arguments.slo.parse().map_err(|error| anyhow!("--slo: {error}"))?;
    Ok(load)
}

fn media(name: &str, to: Option<&str>) -> Result<(Option<[Says; 2]>, bool)> {
    const KNOWN: &str = "pcmu, pcma, g722 or opus";
    let Some(to) = to else {
        return match name {
            "none" => Ok((None, false)),
            name => match voices::relayed(name) {
                Some(says) => Ok((Some(says), false)),
                None => bail!("--media {name}: {KNOWN}, or none"),
            },
        };
    };
    let side = |name: &str, side| {
        let recording = voices::recording(name, side).map(Says::Recording);
        recording.ok_or_else(|| anyhow!("{name}: with --to-media both are {KNOWN}"))
    };
    Ok((Some([side(name, 0)?, side(to, 1)?]), true))
}

/// Addresses that can be told from each other and from the proxy's, on loopback; else the one that leads there.
fn parties(to: SocketAddr) -> Result<[IpAddr; 2]> {
    Ok(match to.ip() {
        IpAddr::V4(ip) if ip.is_loopback() => [2, 3].map(|host| Ipv4Addr::new(127, 0, 0, host).into()),
        IpAddr::V6(ip) if ip.is_loopback() => [Ipv6Addr::LOCALHOST.into(); 2],
        _ => {
            let any: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
            let socket = UdpSocket::bind(any)?;
            socket.connect(to)?;
            [socket.local_addr()?.ip(); 2]
        }
    })
}

/// A line that is written over, on a terminal; nothing in a pipe.
fn line() -> impl FnMut(&Progress) {
    let live = std::io::stderr().is_terminal();
    move |progress| {
        if !live {
            return;
        }
        let (tally, media) = (&progress.tally, progress.media.as_ref());
        eprint!(
            "\r{:>6.0} s  {} calls, {} done, {} failed  offer p50 {:.2} p99 {:.2} ms  {} packets, {} missing, p99 {:.2} ms  {:.2} cores ",
            progress.seconds,
            tally.active,
            tally.completed,
            tally.failed,
            progress.offer_us[0] / 1e3,
            progress.offer_us[1] / 1e3,
            media.map_or(0, |media| media.received),
            media.map_or(0, |media| media.missing),
            media.map_or(0.0, |media| media.p99_us / 1e3),
            progress.cores.unwrap_or(0.0),
        );
        let _ = std::io::stderr().flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn planned(more: &str) -> Result<LoadNg> {
        let words = format!("ng --to 127.0.0.1:2223 --calls 5 --cps 10 --seconds 2 {more}");
        plan(&Command::try_parse_from(words.split_whitespace())?.arguments)
    }

    #[test]
    fn arguments_become_a_load() {
        let load = planned("").unwrap();
        assert_eq!(load.parties.map(|ip| ip.to_string()), ["127.0.0.2", "127.0.0.3"]);
        assert!(load.media.is_some() && !load.converts && load.profile.is_none());
        let load =
            planned("--profile spike --media pcmu --to-media opus --burst --parties 10.0.0.1 --json-ng")
                .unwrap();
        assert!(load.converts && load.json && load.profile == Some(Shape::Spike));
        assert_eq!((load.phases, load.parties[1].to_string()), (Phases::Burst, "10.0.0.1".to_owned()));
        assert!(planned("--media none").unwrap().media.is_none());
    }

    #[test]
    fn who_is_beyond_this_machine_is_attacked_only_on_purpose() {
        let far = |more: &str| {
            let words = format!(
                "ng --to 192.0.2.1:2223 --calls 5 --cps 10 --seconds 2 --parties 127.0.0.1 --profile {more}"
            );
            plan(&Command::try_parse_from(words.split_whitespace()).unwrap().arguments)
        };
        assert!(far("attack").unwrap_err().to_string().contains("--yes-attack"));
        assert!(
            far("attack --yes-attack").is_ok()
                && far("steady").is_ok()
                && planned("--profile attack").is_ok()
        );
    }

    #[test]
    fn mistakes_are_said_before_anything_is_sent() {
        for bad in [
            "--media amr",
            "--to-media none",
            "--media none --to-media pcmu",
            "--slo loss",
            "--lateness 0",
            "--cps 0",
        ] {
            assert!(planned(bad).is_err(), "{bad}");
        }
    }
}
