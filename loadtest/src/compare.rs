//! Two engines under the same load in turns (A B, B A, …), each measurement on an engine started afresh where we start it;
//! what comes of it is ratios, round by round, and their spread.

use std::fmt::{self, Write as _};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::sync::Arc;

use serde::Serialize;

use crate::figures::Rounds;
use crate::html::{Page, Plot, Series, Table};
use crate::media::Recording;
use crate::ng::{self, Failed, LoadNg, Report, Says};
use crate::peers::{GENERATOR, RtpEngine, Strowger, tested};
use crate::profile::Shape;
use crate::report::{Machine, Verdict};
use crate::speech::Codec;

/// An engine to compare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Spec {
    /// Our own program, started on loopback.
    Strowger,
    /// Debian's rtpengine in user space, started on loopback.
    RtpEngine,
    /// One that runs already.
    Running {
        /// Where it takes NG.
        to: SocketAddr,
        /// Its process, for CPU and memory.
        pid: Option<u32>,
    },
}

/// A text that names no engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no engine: strowger, rtpengine, or ng:ADDRESS:PORT[,pid=NUMBER] of one that runs")]
pub struct UnknownEngine(String);

impl FromStr for Spec {
    type Err = UnknownEngine;

    fn from_str(text: &str) -> Result<Self, UnknownEngine> {
        let unknown = || UnknownEngine(text.to_owned());
        match text {
            "strowger" => return Ok(Spec::Strowger),
            "rtpengine" => return Ok(Spec::RtpEngine),
            _ => {}
        }
        let mut parts = text.strip_prefix("ng:").ok_or_else(unknown)?.split(',');
        let to = parts.next().and_then(|to| to.parse().ok()).ok_or_else(unknown)?;
        let mut pid = None;
        for part in parts {
            pid = Some(part.strip_prefix("pid=").and_then(|pid| pid.parse().ok()).ok_or_else(unknown)?);
        }
        Ok(Spec::Running { to, pid })
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Spec::Strowger => f.write_str("strowger"),
            Spec::RtpEngine => f.write_str("rtpengine"),
            Spec::Running { to, .. } => write!(f, "{to}"),
        }
    }
}

/// One load that both get.
#[derive(Clone, Debug, Serialize)]
pub struct Case {
    /// What it is called in the table.
    pub name: String,
    /// The load; address, process and seed are those of the run.
    pub load: LoadNg,
    /// First with so few calls, so that what a call takes is told by the slope and not by what is there anyway.
    pub few: Option<usize>,
}

/// What is compared, and how often.
#[derive(Clone, Debug, Serialize)]
pub struct Compare {
    /// The engines; ratios are those of the first to the second.
    pub engines: [Spec; 2],
    /// The loads.
    pub cases: Vec<Case>,
    /// How often each; in every other round the second engine comes first.
    pub rounds: usize,
    /// Everything random follows from it.
    pub seed: u64,
    /// The program of [`Spec::Strowger`].
    #[serde(skip)]
    pub program: PathBuf,
    /// More lines for its section `[engine]`.
    pub engine: Vec<String>,
}

/// Makes what a side says in a codec: `pcmu`, `pcma`, `g722`, `opus`; the side is 0 for A and 1 for B.
pub type Voices<'a> = &'a dyn Fn(&str, usize) -> Option<Arc<Recording>>;

/// The table of the issue: relay at 250 and 500 calls, set-up at 500 calls a second, conversions, memory.
pub fn issue(seconds: f64, voices: Voices<'_>) -> Vec<Case> {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
    let pinned = tested().map(|_| GENERATOR);
    let plain = |calls, cps, seconds| LoadNg { cpu: pinned, ..LoadNg::new(nowhere, calls, cps, seconds) };
    let speech = [Says::Speech(Codec::Pcmu), Says::Speech(Codec::Pcmu)];
    let relay =
        |calls: usize, seconds| LoadNg { media: Some(speech.clone()), ..plain(calls, 250.0, seconds) };
    let mut cases: Vec<Case> = [250, 500]
        .into_iter()
        .map(|calls| Case { name: format!("relay, {calls} calls"), load: relay(calls, seconds), few: None })
        .collect();
    // Each call lasts a second. Deleted at once: else ports are held for half a minute, and the range runs out.
    let set_up = LoadNg {
        profile: Some(Shape::Steady),
        delete_delay: Some(0),
        ..plain(500, 500.0, (seconds * 2.0).max(2.0))
    };
    cases.push(Case { name: "set-up, 500 calls a second".into(), load: set_up, few: None });
    for (name, a, b, calls) in [
        ("PCMU to Opus", "pcmu", "opus", 25),
        ("PCMU to PCMA", "pcmu", "pcma", 200),
        ("PCMU to G.722", "pcmu", "g722", 100),
    ] {
        let (Some(a), Some(b)) = (voices(a, 0), voices(b, 1)) else { continue };
        let media = Some([Says::Recording(a), Says::Recording(b)]);
        let load = LoadNg { media, converts: true, ..plain(calls, 100.0, seconds) };
        cases.push(Case { name: format!("{name}, {calls} calls"), load, few: None });
    }
    // The few must be gone when the many come.
    let memory = LoadNg { rtcp: false, delete_delay: Some(0), ..relay(1_000, seconds.min(2.0)) };
    cases.push(Case { name: "memory, 200 to 1,000 calls".into(), load: memory, few: Some(200) });
    cases
}

/// The findings.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Of this program.
    pub version: &'static str,
    /// When it began, RFC 3339.
    pub started: String,
    /// Where it ran.
    pub machine: Machine,
    /// Load average before and after: figures of a busy machine are not to be believed.
    pub busy: [String; 2],
    /// What was asked for.
    pub arguments: Compare,
    /// What the engines say that they are.
    pub versions: [Option<String>; 2],
    /// The table.
    pub rows: Vec<Row>,
    /// What was wrong in a round, engine by engine.
    pub notes: Vec<String>,
    /// Whether every run may be believed and nothing failed.
    pub clean: bool,
    /// Every run.
    pub runs: Vec<Run>,
}

/// One figure of one case.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The case's name.
    pub case: String,
    /// What was measured, with its unit.
    pub figure: &'static str,
    /// Round by round, of both engines.
    pub values: [Rounds; 2],
    /// The first engine's by the second's, round by round.
    pub ratio: Rounds,
    /// Engines that had less than a tenth of a processor left in some round: their CPU looks better than it is.
    pub saturated: [bool; 2],
    /// Rounds of each engine that are left out, because the run was invalid.
    pub invalid: [usize; 2],
}

/// One run.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// The case's name.
    pub case: String,
    /// Round, from 0.
    pub round: usize,
    /// Which engine: 0 or 1.
    pub engine: usize,
    /// What it found, without its seconds.
    pub report: Report,
}

/// Above this share of a processor an engine counts as saturated.
pub const SATURATED: f64 = 0.9;

/// A figure's name with its unit, and how it is read from a run.
type Figure = (&'static str, fn(&Report) -> Option<f64>);

/// Less is better, but for the calls a core.
const FIGURES: [Figure; 9] = [
    ("CPU a packet, ns", |r| r.steady.as_ref()?.cpu_ns_per_packet),
    ("converted calls a core, by CPU", |r| {
        // 50 packets a second each way.
        let ns = r.steady.as_ref()?.cpu_ns_per_packet.filter(|_| r.arguments.converts)?;
        Some(1e9 / (ns * 100.0))
    }),
    ("latency p50, µs", |r| Some(r.media.as_ref()?.latency.p50_us)),
    ("latency p99, µs", |r| Some(r.media.as_ref()?.latency.p99_us)),
    ("offer p99, µs", |r| (r.offer.count > 0).then_some(r.offer.p99_us)),
    ("CPU a call set up and deleted, µs", |r| r.cpu_us_per_call),
    ("KB a call", |r| Some(r.bytes_per_call? / 1e3)),
    ("descriptors a call", |r| r.descriptors_per_call),
    // Not where nothing was left for the engine: its machine was busy with other things.
    ("machine's busy time a packet, ns", |r| r.steady.as_ref()?.machine_ns_per_packet.filter(|ns| *ns > 0.0)),
];

/// An engine under test; ends when dropped, if it is ours.
enum Engine {
    Strowger(Strowger),
    RtpEngine(RtpEngine),
    Running(SocketAddr, Option<u32>),
}

impl Engine {
    fn start(spec: &Spec, compare: &Compare) -> io::Result<Engine> {
        match spec {
            Spec::Strowger => Strowger::start(&compare.program, &compare.engine).map(Engine::Strowger),
            Spec::RtpEngine => RtpEngine::start()?
                .map(Engine::RtpEngine)
                .ok_or_else(|| io::Error::other("rtpengine is not installed (apt install rtpengine-daemon)")),
            Spec::Running { to, pid } => Ok(Engine::Running(*to, *pid)),
        }
    }

    fn ng(&self) -> SocketAddr {
        match self {
            Engine::Strowger(engine) => engine.ng,
            Engine::RtpEngine(engine) => engine.ng,
            Engine::Running(to, _) => *to,
        }
    }

    fn pid(&self) -> Option<u32> {
        match self {
            Engine::Strowger(engine) => Some(engine.pid()),
            Engine::RtpEngine(engine) => Some(engine.pid()),
            Engine::Running(_, pid) => *pid,
        }
    }
}

/// Compares; `told` hears of each run before it begins.
///
/// # Errors
/// An engine does not start or does not answer.
pub fn run(compare: &Compare, mut told: impl FnMut(&str)) -> Result<Comparison, Failed> {
    let started = crate::report::started();
    let busy_before = load_average();
    let mut runs = Vec::new();
    for case in &compare.cases {
        for round in 0..compare.rounds {
            let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
            for engine in order {
                let spec = &compare.engines[engine];
                told(&format!("{}, round {} of {}: {spec}", case.name, round + 1, compare.rounds));
                let report = measure(compare, case, spec, compare.seed + round as u64)?;
                runs.push(Run { case: case.name.clone(), round, engine, report });
            }
        }
    }
    let mut comparison = Comparison {
        version: env!("CARGO_PKG_VERSION"),
        started,
        machine: Machine::here(),
        busy: [busy_before, load_average()],
        versions: compare.engines.each_ref().map(|spec| version_of(spec, &compare.program)),
        arguments: compare.clone(),
        rows: Vec::new(),
        notes: Vec::new(),
        clean: true,
        runs,
    };
    comparison.sum_up();
    Ok(comparison)
}

fn measure(compare: &Compare, case: &Case, spec: &Spec, seed: u64) -> Result<Report, Failed> {
    let engine = Engine::start(spec, compare)?;
    let load = LoadNg { to: engine.ng(), pid: engine.pid(), seed, ..case.load.clone() };
    let few = case.few.map(|calls| ng::run(&LoadNg { calls, ..load.clone() }, |_| ())).transpose()?;
    let mut report = ng::run(&load, |_| ())?;
    if let Some(few) = few {
        let up = |report: &Report| {
            let steady = report.steady.as_ref()?;
            let process = steady.process.as_ref()?;
            Some([process.rss_bytes as f64, process.descriptors as f64, steady.calls as f64])
        };
        let slope = up(&few).zip(up(&report)).filter(|(few, many)| many[2] > few[2]);
        let slope = |at: usize| slope.map(|(few, many)| (many[at] - few[at]) / (many[2] - few[2]));
        (report.bytes_per_call, report.descriptors_per_call) = (slope(0), slope(1));
        report.verdict = with_few(report.verdict, &few.verdict, few.arguments.calls);
    }
    Ok(report)
}

/// The verdict of a run whose slope also rests on a run with few calls.
fn with_few(many: Verdict, few: &Verdict, calls: usize) -> Verdict {
    let tell = |what: &String| format!("with {calls} calls: {what}");
    let mut complaints = many.complaints;
    complaints.extend(few.complaints.iter().map(tell));
    let reasons: Vec<String> = many.invalid.into_iter().chain(few.invalid.iter().map(tell)).collect();
    let invalid = (!reasons.is_empty()).then(|| reasons.join("; "));
    Verdict { passed: many.passed && few.passed, complaints, invalid }
}

/// Ours is asked: it may be another build than this one.
fn version_of(spec: &Spec, program: &Path) -> Option<String> {
    match spec {
        Spec::Strowger => {
            let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
            let text = String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned();
            (output.status.success() && !text.is_empty()).then_some(text)
        }
        Spec::RtpEngine => RtpEngine::version().map(|version| format!("rtpengine, {version}")),
        Spec::Running { .. } => None,
    }
}

fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

impl Comparison {
    /// 0 if every run was what it should be, else 1.
    pub fn exit_status(&self) -> u8 {
        u8::from(!self.clean)
    }

    /// As JSON text.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain data")
    }

    fn sum_up(&mut self) {
        for case in &self.arguments.cases {
            let of =
                |engine: usize| self.runs.iter().filter(move |r| r.case == case.name && r.engine == engine);
            let saturated =
                [0, 1].map(|engine| of(engine).any(|r| r.report.cores().is_some_and(|c| c > SATURATED)));
            let is_invalid = |run: &&Run| run.report.verdict.invalid.is_some();
            let invalid = [0, 1].map(|engine| of(engine).filter(is_invalid).count());
            for (figure, read) in FIGURES {
                let is_memory = figure.starts_with("KB") || figure.starts_with("descriptors");
                if is_memory != case.few.is_some() {
                    continue; // what a call takes is told where its slope was measured
                }
                let mut values = [Rounds::default(), Rounds::default()];
                let mut ratio = Rounds::default();
                for round in 0..self.arguments.rounds {
                    let [a, b] = [0, 1].map(|engine| {
                        of(engine)
                            .find(|r| r.round == round && !is_invalid(r))
                            .and_then(|r| read(&r.report))
                            .filter(|v| v.is_finite())
                    });
                    a.into_iter().for_each(|a| values[0].add(a));
                    b.into_iter().for_each(|b| values[1].add(b));
                    if let (Some(a), Some(b)) = (a, b)
                        && b != 0.0
                    {
                        ratio.add(a / b);
                    }
                }
                let is_known = values.iter().any(|rounds| !rounds.values().is_empty());
                let of_invalid = of(0).chain(of(1)).filter(is_invalid).any(|r| read(&r.report).is_some());
                if is_known || of_invalid {
                    let case = case.name.clone();
                    self.rows.push(Row { case, figure, values, ratio, saturated, invalid });
                }
            }
        }
        for run in &mut self.runs {
            let verdict = &run.report.verdict;
            for why in
                verdict.invalid.iter().map(|why| format!("INVALID: {why}")).chain(verdict.complaints.clone())
            {
                let engine = &self.arguments.engines[run.engine];
                self.notes.push(format!("{}, round {}, {engine}: {why}", run.case, run.round + 1));
            }
            self.clean &= verdict.passed;
            run.report.points.clear();
        }
    }

    /// The report as a page.
    pub fn page(&self) -> Page {
        let fact = |name: &str, value: String| (name.to_owned(), value);
        let machine = &self.machine;
        let [a, b] = &self.arguments.engines;
        let version = |at: usize| self.versions[at].clone().unwrap_or_else(|| "not known".into());
        let mut facts = vec![
            fact("began", self.started.clone()),
            fact("A", format!("{a} ({})", version(0))),
            fact("B", format!("{b} ({})", version(1))),
            fact(
                "machine",
                format!("{}, {} processors, Linux {}", machine.cpu, machine.cpus, machine.kernel),
            ),
            fact("load average", format!("{} before, {} after", self.busy[0], self.busy[1])),
            fact("rounds", format!("{}, seed {}", self.arguments.rounds, self.arguments.seed)),
        ];
        facts.extend(self.notes.iter().map(|note| fact("note", note.clone())));
        let head = ["load", "figure", "A", "B", "A / B", ""].map(str::to_owned).to_vec();
        let rows = self.rows.iter().map(|row| row.cells().to_vec()).collect();
        let table = Table { title: "Minimum / median / maximum of the rounds".into(), head, rows };
        let figures: Vec<&str> = FIGURES.iter().map(|figure| figure.0).collect();
        let plots = figures.iter().filter_map(|figure| {
            let rows: Vec<&Row> = self.rows.iter().filter(|row| row.figure == *figure).collect();
            let lines = rows.iter().map(|row| Series {
                name: row.case.clone(),
                points: row.ratio.values().iter().enumerate().map(|(n, ratio)| (n as f64, *ratio)).collect(),
            });
            let title = format!("A / B by round: {figure}");
            (!rows.is_empty()).then(|| Plot { title, unit: String::new(), series: lines.collect() })
        });
        Page { title: format!("{a} beside {b}"), facts, tables: vec![table], plots: plots.collect() }
    }
}

impl Row {
    fn cells(&self) -> [String; 6] {
        let digits = |rounds: &Rounds| if rounds.median() >= 100.0 { 0 } else { 2 };
        let [a, b] = self.values.each_ref().map(|rounds| format!("{rounds:.*}", digits(rounds)));
        let mut words: Vec<String> = match self.saturated {
            [false, false] => vec![],
            [true, false] => vec!["A saturated".into()],
            [false, true] => vec!["B saturated".into()],
            [true, true] => vec!["both saturated".into()],
        };
        for (name, rounds) in ["A", "B"].iter().zip(self.invalid).filter(|(_, rounds)| *rounds > 0) {
            words.push(format!("{rounds} of {name} INVALID and left out"));
        }
        [self.case.clone(), self.figure.to_owned(), a, b, format!("{:.2}", self.ratio), words.join(", ")]
    }
}

impl fmt::Display for Comparison {
    /// A table for people, without a line end at its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        let [a, b] = &self.arguments.engines;
        writeln!(
            out,
            "{}, {} processors, Linux {}",
            self.machine.cpu, self.machine.cpus, self.machine.kernel
        )?;
        for (engine, version) in [(a, &self.versions[0]), (b, &self.versions[1])] {
            writeln!(out, "{engine}: {}", version.as_deref().unwrap_or("version not known"))?;
        }
        writeln!(out, "load average {} before, {} after", self.busy[0], self.busy[1])?;
        let rounds = self.arguments.rounds;
        writeln!(out, "{rounds} rounds in turns, seed {}; min / median / max\n", self.arguments.seed)?;
        writeln!(out, "| load | figure | {a} | {b} | {a} / {b} | |\n|---|---|---|---|---|---|")?;
        for row in &self.rows {
            writeln!(out, "| {} |", row.cells().join(" | "))?;
        }
        for note in &self.notes {
            writeln!(out, "{note}")?;
        }
        f.write_str(out.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::TONES;

    fn g711(name: &str, side: usize) -> Option<Arc<Recording>> {
        let codec = match name {
            "pcmu" => Codec::Pcmu,
            "pcma" => Codec::Pcma,
            _ => return None,
        };
        Some(Arc::new(Recording::g711(codec, 1, TONES[side])))
    }

    #[test]
    fn engines_are_named_or_addressed() {
        let running = |text: &str, pid| Ok(Spec::Running { to: text.parse().unwrap(), pid });
        for (text, spec) in [
            ("strowger", Ok(Spec::Strowger)),
            ("rtpengine", Ok(Spec::RtpEngine)),
            ("ng:127.0.0.1:2223", running("127.0.0.1:2223", None)),
            ("ng:[::1]:2223,pid=7", running("[::1]:2223", Some(7))),
        ] {
            assert_eq!(text.parse(), spec);
        }
        for bad in ["", "ng:", "ng:here", "ng:127.0.0.1:1,pid=x", "ng:127.0.0.1:1,cpu=1", "kamailio"] {
            assert_eq!(bad.parse::<Spec>(), Err(UnknownEngine(bad.to_owned())));
        }
    }

    #[test]
    fn the_table_of_the_issue_has_its_rows_and_leaves_out_codecs_that_are_not_there() {
        let names: Vec<String> = issue(3.0, &g711).into_iter().map(|case| case.name).collect();
        assert_eq!(
            names,
            [
                "relay, 250 calls",
                "relay, 500 calls",
                "set-up, 500 calls a second",
                "PCMU to PCMA, 200 calls",
                "memory, 200 to 1,000 calls"
            ]
        );
    }

    #[test]
    fn runs_that_are_invalid_are_left_out_and_said() {
        let report = ng::fake::plain_report();
        let load = report.arguments.clone();
        let run = |round, engine, us: f64, invalid: Option<&str>| {
            let mut report = report.clone();
            report.offer.p99_us = us;
            report.verdict.invalid = invalid.map(str::to_owned);
            report.verdict.passed = invalid.is_none();
            if let Some(steady) = &mut report.steady {
                steady.machine_ns_per_packet = Some(us - 20.0);
            }
            Run { case: "set-up".into(), round, engine, report }
        };
        let mut comparison = Comparison {
            version: "",
            started: String::new(),
            machine: Machine::here(),
            busy: [String::new(), String::new()],
            versions: [None, None],
            arguments: Compare {
                engines: [Spec::RtpEngine, Spec::RtpEngine],
                cases: vec![Case { name: "set-up".into(), load, few: None }],
                rounds: 2,
                seed: 1,
                program: PathBuf::new(),
                engine: Vec::new(),
            },
            rows: Vec::new(),
            notes: Vec::new(),
            clean: true,
            runs: vec![
                run(0, 0, 10.0, None),
                run(0, 1, 40.0, None),
                run(1, 0, 9_000.0, Some("the generator was late")),
                run(1, 1, 40.0, None),
            ],
        };
        comparison.sum_up();
        let row = |figure: &str| comparison.rows.iter().find(|row| row.figure.starts_with(figure)).unwrap();
        let offers = row("offer p99");
        assert_eq!([offers.values[0].values(), offers.values[1].values()], [&[10.0][..], &[40.0, 40.0]]);
        assert_eq!((offers.ratio.values(), offers.invalid), (&[0.25][..], [1, 0]));
        // Where the machine had less than nothing left for A, there is no ratio.
        assert!(row("machine's").ratio.values().is_empty() && !comparison.clean);
        assert!(comparison.to_string().contains("1 of A INVALID and left out"), "{comparison}");
    }

    #[test]
    fn a_slope_is_as_good_as_both_of_its_runs() {
        let good = || Verdict { passed: true, ..Verdict::default() };
        let late = Verdict { passed: false, complaints: vec![], invalid: Some("late".into()) };
        assert!(with_few(good(), &good(), 5).passed);
        let verdict = with_few(good(), &late, 5);
        assert_eq!((verdict.passed, verdict.invalid.as_deref()), (false, Some("with 5 calls: late")));
    }

    #[test]
    fn our_engine_s_version_is_what_its_program_says() {
        assert_eq!(version_of(&Spec::Strowger, Path::new("/no/such/program")), None);
        let version = version_of(&Spec::Strowger, Path::new("cargo")).unwrap();
        assert!(version.starts_with("cargo "), "{version}");
    }

    #[test]
    fn an_engine_beside_itself_is_about_as_good() {
        let engine = Spec::RtpEngine;
        if !crate::peers::is_installed("rtpengine") {
            return show("rtpengine is not installed (apt install rtpengine-daemon): not compared");
        }
        let mut cases = issue(0.6, &g711);
        cases.retain(|case| case.name.starts_with("relay, 250") || case.name.starts_with("memory"));
        for case in &mut cases {
            (case.load.calls, case.load.warm_up, case.load.idle) = (20, 0.2, 0.0);
            case.load.lateness_max = std::time::Duration::from_secs(5);
            case.few = case.few.map(|_| 5);
        }
        let compare = Compare {
            engines: [engine.clone(), engine],
            cases,
            rounds: 2,
            seed: 1,
            program: PathBuf::new(),
            engine: Vec::new(),
        };
        let mut order = Vec::new();
        let comparison = run(&compare, |what| order.push(what.to_owned())).unwrap();
        assert_eq!(order.len(), 8);
        // Its threads now and then overtake each other; the judge rightly says so.
        assert!(comparison.notes.iter().all(|note| note.contains("out of order")), "{comparison}");
        let rows: Vec<_> = comparison.rows.iter().map(|row| row.figure).collect();
        assert!(rows.contains(&"CPU a packet, ns") && rows.contains(&"descriptors a call"), "{rows:?}");
        let descriptors = comparison.rows.iter().find(|row| row.figure == "descriptors a call").unwrap();
        assert!((descriptors.values[0].median() - 4.0).abs() < 0.5, "{comparison}");
        assert!((descriptors.ratio.median() - 1.0).abs() < 0.2, "{comparison}");
        assert!(crate::html::write(&comparison.page()).contains("rtpengine beside rtpengine"));
    }

    #[expect(clippy::print_stderr, reason = "a test says what it leaves out")]
    fn show(text: &str) {
        eprintln!("{text}");
    }
}
