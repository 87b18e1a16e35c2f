//! One media shard in a process of its own on the processor under test, without signalling: it opens what it is told by
//! lines of JSON, and tells what it has seen. For measuring the data plane alone.

use anyhow::{Context, Result, bail};
use base::{Clock, Mailbox, Wake};
use command::spec::Audience;
use command::{
    BridgeId, BridgeSpec, Command, EdgeSpec, Event, Party, Payload, Phase, PortIndex, PortSpec, PortWant,
    Remote, RemoteTag, RoomSpec, Seat, Timeouts, Transform, Verdict, Voice,
};
use loadtest::process::Sample;
use serde::{Deserialize, Serialize};
use shard::{MediaListener, ShardConfig};
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

/// What the child is told.
#[derive(Debug, Deserialize, Serialize)]
enum Ask {
    /// More calls: of each, where its parties receive. One answer: our ports, in the same order.
    Open { kind: Kind, calls: Vec<Vec<SocketAddr>> },
    /// What has been seen: one answer.
    Tell,
}

/// What becomes of the media of a call.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Kind {
    /// Passed on.
    Relay,
    /// Converted: what the parties speak.
    Transcode(String, String),
    /// All parties of all calls hear each other.
    Room,
}

/// What a shard has seen.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Seen {
    /// Packets that came to nothing, by reason, where there are any.
    pub dropped: Vec<(String, u64)>,
    /// Of the histogram of late wake-ups: how many up to each bound, and beyond.
    pub lateness: Vec<u64>,
}

impl Seen {
    /// What was dropped since `before`.
    pub fn dropped_since(&self, before: &Seen) -> Vec<(String, u64)> {
        let old = |name: &str| before.dropped.iter().find(|(n, _)| n == name).map_or(0, |(_, count)| *count);
        let since = self.dropped.iter().map(|(name, count)| (name.clone(), count - old(name)));
        since.filter(|(_, count)| *count > 0).collect()
    }

    /// The bound in microseconds below which `share` of the wake-ups since `before` were late.
    pub fn lateness_us(&self, before: &Seen, share: f64) -> f64 {
        let counts = self.lateness.iter().zip(before.lateness.iter().chain(std::iter::repeat(&0)));
        let counts: Vec<u64> = counts.map(|(after, before)| after - before).collect();
        let wanted = (counts.iter().sum::<u64>() as f64 * share).ceil() as u64;
        let mut sum = 0;
        for (place, count) in counts.iter().enumerate() {
            sum += count;
            if sum >= wanted {
                return base::counter::BOUNDS_US.get(place).map_or(f64::INFINITY, |bound| *bound as f64);
            }
        }
        f64::NAN
    }
}

/// The child, as the generator sees it.
pub struct Plane {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Plane {
    /// Starts it; encoders try so hard.
    pub fn start(complexity: u8) -> Result<Plane> {
        let own = std::env::current_exe()?;
        let mut child = crate::peers::on_tested(&own.display().to_string())
            .args(["--plane", &complexity.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take().context("no output")?);
        let mut plane = Plane { child, input, output: BufReader::new(output) };
        let _: Seen = plane.ask(&Ask::Tell)?; // it is up
        Ok(plane)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Our ports, by call and party.
    pub fn open(&mut self, kind: &Kind, calls: Vec<Vec<SocketAddr>>) -> Result<Vec<Vec<SocketAddr>>> {
        self.ask(&Ask::Open { kind: kind.clone(), calls })
    }

    pub fn tell(&mut self) -> Result<Seen> {
        self.ask(&Ask::Tell)
    }

    /// What the process uses.
    pub fn sample(&self) -> Result<Sample> {
        Ok(Sample::of(self.pid())?)
    }

    fn ask<T: for<'de> Deserialize<'de>>(&mut self, ask: &Ask) -> Result<T> {
        let input = self.input.as_mut().context("it has ended")?;
        writeln!(input, "{}", serde_json::to_string(ask)?)?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("the data plane says {line:?}"))
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.input = None; // it ends when nobody can tell it anything
        let _ = self.child.wait();
    }
}

struct Unpark(std::thread::Thread);
impl Wake for Unpark {
    fn wake(&self) {
        self.0.unpark();
    }
}

/// The child's own side.
pub fn serve(complexity: u8) -> Result<()> {
    loadtest::sys::raise_descriptor_limit();
    let events = Mailbox::new(65_536, Unpark(std::thread::current()));
    let mut config = ShardConfig::new(Clock::start(), 7);
    let local: IpAddr = Ipv4Addr::LOCALHOST.into();
    config.listeners = vec![MediaListener { listener: 0, address: local, ports: 10_000..=29_999 }];
    config.events = vec![events.clone()];
    // Fixed, so that what is compared does the same work.
    (config.complexity, config.adapts) = (complexity, false);
    let shard = shard::spawn(config).map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut desk = Desk { commands: shard.commands().clone(), events, serial: 1, room: None };
    for line in std::io::stdin().lines() {
        let ask: Ask = serde_json::from_str(&line?)?;
        let answer = match ask {
            Ask::Open { kind, calls } => {
                let ports: Result<Vec<_>> = calls.iter().map(|parties| desk.open(&kind, parties)).collect();
                serde_json::to_string(&ports?)?
            }
            Ask::Tell => {
                let stats = shard.stats();
                let dropped = Verdict::ALL.iter().map(|why| (format!("{why:?}"), stats.dropped(*why)));
                let dropped = dropped.filter(|(_, count)| *count > 0).collect();
                serde_json::to_string(&Seen { dropped, lateness: stats.lateness.counts().to_vec() })?
            }
        };
        println!("{answer}");
    }
    Ok(())
}

/// Who sends commands and hears of their outcome.
struct Desk {
    commands: Mailbox<Command>,
    events: Mailbox<Event>,
    serial: u64,
    room: Option<BridgeId>,
}

impl Desk {
    fn open(&mut self, kind: &Kind, parties: &[SocketAddr]) -> Result<Vec<SocketAddr>> {
        if matches!(kind, Kind::Room) && self.room.is_none() {
            let room = self.bridge();
            self.ports(room, 0)?;
            let spec = BridgeSpec { room: Some(RoomSpec::default()), ..BridgeSpec::default() };
            self.send(Command::Set { bridge: room, spec: Box::new(spec) })?;
            self.room = Some(room);
        }
        let bridge = self.bridge();
        let ports = self.ports(bridge, parties.len())?;
        let spec = Box::new(spec(kind, parties, self.room));
        self.send(Command::Set { bridge, spec })?;
        Ok(ports)
    }

    fn bridge(&mut self) -> BridgeId {
        self.serial += 1;
        BridgeId::new(0, 0, 0, self.serial)
    }

    #[expect(clippy::disallowed_methods, reason = "a process that measures has a clock")]
    fn ports(&mut self, bridge: BridgeId, count: usize) -> Result<Vec<SocketAddr>> {
        let want = PortWant { listener: 0, address: Ipv4Addr::LOCALHOST.into() };
        self.send(Command::Open { bridge, want: vec![want; count] })?;
        let asked = Instant::now();
        loop {
            match self.events.receive() {
                Some(Event::Opened { bridge: whose, ports }) if whose == bridge => {
                    return Ok(ports.iter().map(|port| port.local).collect());
                }
                Some(refused @ (Event::Refused { .. } | Event::Unsupported { .. })) => bail!("{refused:?}"),
                Some(_) => {}
                None if asked.elapsed() > Duration::from_secs(10) => bail!("the shard does not answer"),
                None => std::thread::sleep(Duration::from_micros(100)),
            }
        }
    }

    fn send(&self, command: Command) -> Result<()> {
        self.commands.send(command).map_err(|_| anyhow::anyhow!("the ring of commands is full"))
    }
}

/// A format of SDP.
pub fn payload(name: &str) -> Payload {
    let (number, clock) = match name {
        "pcmu" => (0, 8_000),
        "pcma" => (8, 8_000),
        "g722" => (9, 8_000),
        "l16" => (97, 32_000),
        _ => (111, 48_000),
    };
    Payload { number, clock, encoding: name.into(), fmtp: String::new() }
}

fn spec(kind: &Kind, parties: &[SocketAddr], room: Option<BridgeId>) -> BridgeSpec {
    let names = match kind {
        Kind::Transcode(a, b) => [a.as_str(), b.as_str()],
        Kind::Relay | Kind::Room => ["pcmu"; 2],
    };
    let transform = |to: &str| match kind {
        Kind::Transcode(..) => Transform::Transcode { to_payload: payload(to).number, ptime_ms: 20 },
        Kind::Relay | Kind::Room => Transform::Relay { payload_map: Vec::new(), rewrite: None },
    };
    let edge = |from, to, name| EdgeSpec {
        from: PortIndex(from),
        to: PortIndex(to),
        transform: transform(name),
        gain_centibel: 0,
        audience: Audience::All,
    };
    let seat = room.map(|room| Seat { room, talks: true, hears: true, gain_centibel: 0, coaches: None });
    let ports = parties.iter().zip(names).zip(0..).map(|((at, name), index)| PortSpec {
        port: PortIndex(index),
        party: Party(index),
        remotes: vec![Remote {
            tag: RemoteTag(1),
            rtp: Some(*at),
            rtcp: None,
            sends: true,
            receives: true,
            keys: None,
            sealed: false,
        }],
        active: Some(RemoteTag(1)),
        payloads: vec![payload(name)],
        voice: Voice { seat: seat.clone(), ..Voice::default() },
        ..PortSpec::default()
    });
    BridgeSpec {
        phase: Phase::Active,
        timeouts: Timeouts { both: None, one: None, hold: None },
        ports: ports.collect(),
        edges: match kind {
            Kind::Room => Vec::new(),
            Kind::Relay | Kind::Transcode(..) => vec![edge(0, 1, names[1]), edge(1, 0, names[0])],
        },
        room: None,
    }
}
