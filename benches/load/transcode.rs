//! Converted calls: what they cost here and in rtpengine, at how many of them the processor is full, and how much memory
//! they take. Both get the same packets; ours are opened by commands, rtpengine's by NG.

use crate::Options;
use crate::peers::{RtpEngine, rtpengine, sample};
use crate::plane::{Kind, Plane};
use crate::relay::{CALLEES, CALLERS};
use crate::streams::{Outcome, Recording, Streams, opus_says};
use anyhow::{Context, Result, bail};
use loadtest::bencode::Value;
use loadtest::figures::Rounds;
use loadtest::ng::Client;
use loadtest::session;
use std::net::SocketAddr;
use std::rc::Rc;

/// One way of converting.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    /// What the two parties speak.
    codecs: [&'static str; 2],
    /// How hard our encoder tries; `None`: rtpengine's, 10 as libopus has it by itself.
    ours: Option<u8>,
    /// Whether only relayed.
    relay: bool,
    /// Calls at once, so that neither is full.
    calls: usize,
}

const fn case(name: &'static str, codecs: [&'static str; 2], ours: Option<u8>, calls: usize) -> Case {
    Case { name, codecs, ours, relay: false, calls }
}

/// What is compared with each other stands together: the last of a group is what the others are measured by.
const GROUPS: [&[Case]; 3] = [
    &[
        case("PCMU, PCMA: strowger", ["pcmu", "pcma"], Some(5), 200),
        case("PCMU, PCMA: rtpengine", ["pcmu", "pcma"], None, 200),
        Case { relay: true, ..case("PCMU relayed: strowger", ["pcmu", "pcmu"], Some(5), 200) },
    ],
    &[
        case("PCMU, G.722: strowger", ["pcmu", "g722"], Some(5), 100),
        case("PCMU, G.722: rtpengine", ["pcmu", "g722"], None, 100),
    ],
    &[
        case("PCMU, Opus: strowger, complexity 5", ["pcmu", "opus"], Some(5), 25),
        case("PCMU, Opus: strowger, complexity 10", ["pcmu", "opus"], Some(10), 25),
        case("L16 at 32 kHz, Opus at 48 kHz mono: strowger, complexity 10", ["l16", "opus"], Some(10), 25),
        case("PCMU, Opus at 48 kHz mono: rtpengine", ["pcmu", "opus/48000/1"], None, 25),
        case("PCMU, Opus: rtpengine", ["pcmu", "opus"], None, 25),
    ],
];

#[derive(Default)]
struct Row {
    cpu_us: Rounds,
    p99_us: Rounds,
    lost: u64,
    late: usize,
    wire: String,
}

/// All groups, round by round.
pub fn measure(options: &Options) -> Result<()> {
    println!("\nConversion: {} rounds of {} s; min / median / max", options.rounds, options.seconds);
    for group in GROUPS {
        let group: Vec<Case> =
            group.iter().filter(|case| case.name.contains(&options.only)).copied().collect();
        let group = &group[..];
        if group.is_empty() {
            continue;
        }
        let mut rows: Vec<Row> = group.iter().map(|_| Row::default()).collect();
        for _ in 0..options.rounds {
            for (case, row) in group.iter().zip(&mut rows) {
                let calls = options.calls.first().copied().unwrap_or(case.calls);
                let mut system = System::start(*case)?;
                let Some(system) = &mut system else { continue };
                system.add(calls)?;
                let (outcome, cpu) = system.talk(1.0, options.seconds)?;
                // Each call has 50 packets a second both ways.
                row.cpu_us.add(cpu * 1e6 / (options.seconds * calls as f64 * 100.0));
                row.p99_us.add(outcome.latency.percentiles().p99_us);
                row.lost += outcome.lost;
                row.late += usize::from(outcome.lateness.percentiles().p99_us > 5_000.0);
                row.wire = system.wire(&outcome);
            }
        }
        show(group, &rows);
        if options.fill {
            group.iter().zip(&rows).try_for_each(|(case, row)| fill(*case, row, options.seconds))?;
        }
    }
    if options.only.is_empty() { memory() } else { Ok(()) }
}

fn show(group: &[Case], rows: &[Row]) {
    println!(
        "\n| | CPU µs a packet | calls a core by CPU | × CPU of the last line | p99 µs | lost | rounds in which the generator was late | on the wire |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let Some(last) = rows.last() else { return };
    for (case, row) in group.iter().zip(rows).filter(|(_, row)| !row.cpu_us.values().is_empty()) {
        let mut calls = Rounds::default();
        row.cpu_us.values().iter().for_each(|us| calls.add(1e6 / (us * 100.0)));
        println!(
            "| {} | {:.1} | {:.0} | {:.2} | {:.0} | {} | {} | {} |",
            case.name,
            row.cpu_us,
            calls,
            row.cpu_us.ratio(&last.cpu_us),
            row.p99_us,
            row.lost,
            row.late,
            row.wire,
        );
    }
}

/// Adds calls until packets are late or lost.
fn fill(case: Case, row: &Row, seconds: f64) -> Result<()> {
    let Some(mut system) = System::start(case)? else { return Ok(()) };
    let by_cpu = (1e4 / row.cpu_us.median()).min(2_000.0);
    let step = ((by_cpu / 10.0) as usize).max(1);
    let (mut calls, mut most) = (0, (0, 0.0));
    loop {
        let more = if calls == 0 { step * 6 } else { step };
        system.add(more)?;
        calls += more;
        let (mut outcome, _) = system.talk(1.0, seconds)?;
        let late = |outcome: &Outcome| outcome.lateness.percentiles().p99_us;
        for _ in 0..3 {
            // Not its fault.
            if late(&outcome) > 5_000.0 {
                outcome = system.talk(0.5, seconds)?.0;
            }
        }
        let (p99, late) = (outcome.latency.percentiles().p99_us, late(&outcome));
        if p99 >= 10_000.0 || outcome.lost > 0 {
            println!(
                "{}: {} calls with p99 {:.1} ms and no loss; at {calls} p99 {:.1} ms, {} lost, the generator late by {:.1} ms",
                case.name,
                most.0,
                most.1,
                p99 / 1e3,
                outcome.lost,
                late / 1e3
            );
            return Ok(());
        }
        most = (calls, p99 / 1e3);
    }
}

/// What converts, with calls in it.
struct System {
    case: Case,
    converter: Converter,
    streams: Vec<Streams>,
    calls: usize,
}

enum Converter {
    Ours(Plane),
    Theirs(RtpEngine, Box<Client>),
}

impl System {
    fn start(case: Case) -> Result<Option<System>> {
        let converter = match case.ours {
            Some(complexity) => Converter::Ours(Plane::start(complexity)?),
            None => match rtpengine()? {
                Some(proxy) => {
                    let client = Box::new(Client::connect(proxy.ng)?);
                    Converter::Theirs(proxy, client)
                }
                None => return Ok(None),
            },
        };
        Ok(Some(System { case, converter, streams: Vec::new(), calls: 0 }))
    }

    /// All calls talk anew with so many more of them.
    fn add(&mut self, calls: usize) -> Result<()> {
        let spoken = self.case.codecs.map(|name| name.split('/').next().unwrap_or(name));
        let mut says = spoken.map(Recording::speech);
        // Opened before anything is said: rtpengine chooses the number of the codec.
        let mut streams = Streams::bind([CALLERS, CALLEES], &says.each_ref().map(|_| silent()), calls)?;
        let mut number = None;
        let ports = match &mut self.converter {
            Converter::Ours(plane) => {
                let kind = match self.case.relay {
                    true => Kind::Relay,
                    false => Kind::Transcode(spoken[0].to_owned(), spoken[1].to_owned()),
                };
                plane.open(&kind, streams.addresses(2)?)?.concat()
            }
            Converter::Theirs(_, client) => {
                let mut ports = Vec::new();
                for parties in streams.addresses(2)? {
                    self.calls += 1;
                    let call = format!("convert-{}", self.calls);
                    let (ours, chosen) = offer(client, &call, parties[0], parties[1], self.case.codecs)?;
                    number = Some(chosen);
                    ports.extend(ours);
                }
                ports
            }
        };
        if let Some(number) = number {
            let [a, b] = says;
            says = [a, b.numbered(number)];
        }
        let says = says.map(Rc::new);
        streams.aim(ports);
        streams.say_all(&says);
        self.streams.push(streams);
        Ok(())
    }

    /// CPU seconds of the process beside what was heard. Only the last added calls and all before talk together.
    fn talk(&mut self, warm_up: f64, seconds: f64) -> Result<(Outcome, f64)> {
        let pid = match &self.converter {
            Converter::Ours(plane) => plane.pid(),
            Converter::Theirs(proxy, _) => proxy.pid(),
        };
        let first = self.streams.remove(0);
        let mut all = std::mem::take(&mut self.streams).into_iter().fold(first, Streams::join);
        let mut readings = Vec::new();
        let outcome = all.talk(warm_up, seconds, |_| readings.push(sample(&[pid])));
        self.streams.push(all);
        let [before, after] = &readings[..] else { bail!("the run was not measured") };
        Ok((outcome, crate::peers::cpu_seconds(before, after)))
    }

    fn wire(&mut self, outcome: &Outcome) -> String {
        let [a, b] = outcome.kilobits;
        let opus = match self.case.codecs[1].starts_with("opus") {
            true => format!(" ({})", opus_says(&self.streams[0].party(1).heard)),
            false => String::new(),
        };
        format!("{a:.0} and {b:.0} kb/s{opus}")
    }
}

fn silent() -> Rc<Recording> {
    Rc::new(Recording::tone(0.0, 0.0))
}

/// A call through rtpengine whose caller speaks the first codec and whose callee only the second: our two ports, and
/// the number of the second codec.
fn offer(
    client: &mut Client,
    call: &str,
    caller: SocketAddr,
    callee: SocketAddr,
    codecs: [&str; 2],
) -> Result<([SocketAddr; 2], u8)> {
    let list = |name: &str| Value::List(vec![Value::text(name)]);
    let codec = |name: &str| match name {
        "g722" => "G722".to_owned(),
        name => name.to_uppercase().replace("OPUS", "opus"),
    };
    let (first, second) = (codec(codecs[0]), codec(codecs[1]));
    let common = |sdp: String| {
        vec![
            ("sdp", Value::text(sdp)),
            ("ICE", Value::text("remove")),
            ("flags", Value::List(vec![Value::text("trust-address")])),
            ("replace", Value::List(vec![Value::text("origin"), Value::text("session-connection")])),
            ("transport-protocol", Value::text("RTP/AVP")),
            ("call-id", Value::text(call)),
            ("from-tag", Value::text("a")),
        ]
    };
    let rules = vec![(b"mask".to_vec(), list(&first)), (b"transcode".to_vec(), list(&second))];
    let mut entries = common(session::write(caller, loadtest::speech::Codec::Pcmu, 1));
    entries.push(("codec", Value::Dict(rules)));
    let reply = client.command("offer", entries)?;
    let sdp = reply.get("sdp").and_then(Value::as_text).context("no SDP in the reply")?;
    let faces_callee = session::read(sdp).context("no audio in the reply")?;
    let text = String::from_utf8_lossy(sdp).into_owned();
    let name = second.split('/').next().unwrap_or_default();
    let mut rtpmaps = text.lines().filter_map(|line| line.strip_prefix("a=rtpmap:")?.split_once(' '));
    let found = rtpmaps.find(|(_, map)| map.to_lowercase().starts_with(&name.to_lowercase()));
    let (number, map) = match found {
        Some((number, map)) => (number.parse()?, map.to_owned()),
        None if name == "PCMA" => (8, "PCMA/8000".to_owned()),
        None if name == "G722" => (9, "G722/8000".to_owned()),
        None => bail!("rtpengine does not offer {second}: {text}"),
    };
    let answer = session::write(callee, loadtest::speech::Codec::Pcmu, 2).replace(
        "RTP/AVP 0\r\na=rtpmap:0 PCMU/8000",
        &format!("RTP/AVP {number}\r\na=rtpmap:{number} {map}"),
    );
    let mut entries = common(answer);
    entries.push(("to-tag", Value::text("b")));
    let reply = client.command("answer", entries)?;
    let sdp = reply.get("sdp").and_then(Value::as_text).context("no SDP in the reply")?;
    let faces_caller = session::read(sdp).context("no audio in the reply")?;
    Ok(([faces_caller.rtp, faces_callee.rtp], number))
}

/// What a call takes in the data plane, both parties having talked: the slope between few and many.
fn memory() -> Result<()> {
    println!("\nMemory of the data plane, both parties talking:");
    let kinds = [("relayed", ["pcmu"; 2], 1_000), ("PCMU, Opus", ["pcmu", "opus"], 300)];
    for (name, codecs, calls) in kinds {
        let relay = codecs[0] == codecs[1];
        let Some(mut system) = System::start(Case { relay, ..case(name, codecs, Some(0), calls) })? else {
            continue;
        };
        let mut resident = Vec::new();
        for calls in [calls / 5, calls] {
            system.add(calls)?;
            system.talk(0.5, 1.5)?;
            let Converter::Ours(plane) = &system.converter else { continue };
            resident.push(plane.sample()?.rss_bytes as f64);
        }
        let [few, many] = resident[..] else { continue };
        println!("{name}: {:.1} KB a call", (many - few) / calls as f64 / 1e3);
    }
    Ok(())
}

/// A few calls that are converted here.
pub fn smoke() -> Result<()> {
    let mut system = System::start(case("PCMU, Opus", ["pcmu", "opus"], Some(0), 2))?.context("ours")?;
    system.add(2)?;
    let (outcome, _) = system.talk(0.2, 0.5)?;
    if outcome.received < 50 || outcome.lost > 0 {
        bail!("{} packets converted, {} lost", outcome.received, outcome.lost);
    }
    Ok(())
}
