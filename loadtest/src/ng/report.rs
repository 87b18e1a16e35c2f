//! What a load run on an NG proxy found: all that is needed to repeat it and to believe it, for machines and for people.

use std::fmt::{self, Write as _};

use serde::Serialize;

use super::desk::{Tally, Timings};
use super::load::{LoadNg, Reading, Says};
use crate::figures::{Percentiles, human_us};
use crate::html::{Page, Plot, Series, Table};
use crate::machine::{Machinery, Spent};
use crate::media;
use crate::process::{Usage, usage_of};
use crate::relay;
use crate::report::{Machine, Verdict};
use crate::slo::{Condition, Metric, Point as Quantile, Subject};
use crate::validity::{self, Validity};

/// The findings of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Of this program.
    pub version: &'static str,
    /// When the run began, RFC 3339.
    pub started: String,
    /// Where it ran.
    pub machine: Machine,
    /// What the process under test is: its command, as far as it can be seen.
    pub engine: Option<String>,
    /// What was asked for, seed included.
    pub arguments: LoadNg,
    /// What the two parties said, where they did.
    pub said: Option<[String; 2]>,
    /// How long it took.
    pub seconds: f64,
    /// Calls and requests.
    pub calls: Tally,
    /// Time of each offer, from its intended time.
    pub offer: Percentiles,
    /// Time of each answer, from the reply to the offer.
    pub answer: Percentiles,
    /// Time of each delete, from its intended time.
    pub delete: Percentiles,
    /// From the intended time of the offer to the reply to the answer.
    pub set_up: Percentiles,
    /// From the intended to the actual time of requests: the generator's own fault.
    pub lateness: Percentiles,
    /// The media judge's findings: counts of the whole run, times of the steady state.
    pub media: Option<media::Report>,
    /// What the process under test used in the whole run.
    pub process: Option<Usage>,
    /// What happened while all calls were up.
    pub steady: Option<Steady>,
    /// CPU time of one offer, answer and delete, microseconds; only of runs without media.
    pub cpu_us_per_call: Option<f64>,
    /// Resident memory that one call took, bytes, by the time that all were up.
    pub bytes_per_call: Option<f64>,
    /// Descriptors that one call took.
    pub descriptors_per_call: Option<f64>,
    /// Whether the generator did its part.
    pub validity: Validity,
    /// The judgement.
    pub verdict: Verdict,
    /// Second by second.
    pub points: Vec<Point>,
}

/// The part of a run in which all calls are up.
#[derive(Clone, Debug, Serialize)]
pub struct Steady {
    /// Calls at its beginning.
    pub calls: u64,
    /// RTP packets that arrived.
    pub packets: u64,
    /// What the process under test used.
    pub process: Option<Usage>,
    /// Its CPU time for each packet, nanoseconds.
    pub cpu_ns_per_packet: Option<f64>,
    /// What the whole machine did.
    pub machine: Machinery,
    /// What is left of that for the system under test, for each packet, nanoseconds.
    pub machine_ns_per_packet: Option<f64>,
}

/// One second.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "named as in the report")]
pub struct Point {
    /// Its end, after the start.
    pub seconds: f64,
    pub calls: u64,
    pub completed: u64,
    pub offers: u64,
    pub offer_p50_us: f64,
    pub offer_p99_us: f64,
    pub packets: u64,
    pub latency_p50_us: f64,
    pub latency_p99_us: f64,
    /// 0 to 1.
    pub loss: f64,
    pub cores: Option<f64>,
}

/// What a run leaves behind.
pub(super) struct Found<'a> {
    pub load: &'a LoadNg,
    pub started: String,
    pub seconds: f64,
    pub tally: Tally,
    pub timings: Timings,
    pub clock_was_set: bool,
    pub media: Option<media::Report>,
    pub before: Reading,
    pub steady: [Option<Reading>; 2],
    pub after: Reading,
    pub idle: Spent,
    pub points: Vec<Point>,
}

impl Found<'_> {
    pub(super) fn report(self) -> Report {
        let load = self.load;
        let process = usage_of(&self.before.processes, &self.after.processes);
        let completed = self.tally.completed.max(1) as f64;
        let cpu_us_per_call = match (&load.media, &process) {
            (None, Some(usage)) if self.tally.completed > 0 => Some(usage.cpu_seconds * 1e6 / completed),
            _ => None,
        };
        let up = self.steady[0].as_ref().filter(|up| up.active > 0);
        let grown = |value: fn(&crate::process::Sample) -> u64| {
            let up = up.filter(|up| !up.processes.is_empty())?;
            let sum = |reading: &Reading| reading.processes.iter().map(|p| value(&p.1) as f64).sum::<f64>();
            Some((sum(up) - sum(&self.before)) / up.active as f64)
        };
        let lateness = self.timings.lateness.percentiles();
        let mut validity = Validity::with_bound(load.lateness_max);
        validity.late(lateness.p99_us);
        validity.kernel_drops = self.tally.kernel_drops;
        validity.unplaced = self.tally.unplaced;
        validity.clock_was_set = self.clock_was_set;
        if let Some(media) = &self.media {
            validity.late(media.lateness.p99_us);
            validity.kernel_drops += media.counts.own_drops;
            validity.send_errors = media.counts.send_errors;
            // Its other reasons are told above already.
            validity.clock_was_set |= media.invalid.as_deref().is_some_and(|why| why.contains("clock"));
        }
        if load.pid.is_some() && self.after.processes.is_empty() {
            validity.other.push("the process under test went away".to_owned());
        }
        Report {
            version: env!("CARGO_PKG_VERSION"),
            started: self.started.clone(),
            machine: Machine::here(),
            engine: load.pid.and_then(command_of),
            arguments: load.clone(),
            said: load.media.as_ref().map(|says| {
                says.each_ref().map(|says| match says {
                    Says::Speech(codec) => format!("{}/8000", codec.name()),
                    Says::Recording(recording) => recording.format.clone(),
                })
            }),
            seconds: self.seconds,
            offer: self.timings.offer.percentiles(),
            answer: self.timings.answer.percentiles(),
            delete: self.timings.delete.percentiles(),
            set_up: self.timings.set_up.percentiles(),
            lateness,
            steady: self.steady_state(),
            bytes_per_call: grown(|sample| sample.rss_bytes),
            descriptors_per_call: grown(|sample| sample.descriptors),
            calls: self.tally,
            media: self.media,
            process,
            cpu_us_per_call,
            validity,
            verdict: Verdict::default(),
            points: self.points,
        }
        .judged()
    }

    fn steady_state(&self) -> Option<Steady> {
        let [Some(from), Some(to)] = &self.steady else { return None };
        let packets = to.received.saturating_sub(from.received);
        let process = usage_of(&from.processes, &to.processes);
        let machine = Machinery::new(to.busy.since(&from.busy), self.idle);
        let per_packet = |seconds: f64| (packets > 0).then(|| seconds * 1e9 / packets as f64);
        Some(Steady {
            calls: from.active,
            packets,
            cpu_ns_per_packet: process.as_ref().and_then(|usage| per_packet(usage.cpu_seconds)),
            // Nothing left over: the machine was busy with other things, and nothing can be said.
            machine_ns_per_packet: per_packet(machine.left_seconds).filter(|ns| *ns > 0.0),
            process,
            machine,
        })
    }
}

/// `None` if it is gone or somebody else's.
fn command_of(pid: u32) -> Option<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let text = String::from_utf8_lossy(&bytes).trim_end_matches('\0').replace('\0', " ");
    (!text.is_empty()).then_some(text)
}

impl Report {
    /// 0 if the run passed and may be believed, else 1.
    pub fn exit_status(&self) -> u8 {
        u8::from(!self.verdict.passed)
    }

    /// As JSON text.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain data")
    }

    /// The media part as a test of a relay alone would tell it.
    pub fn relay(&self) -> Option<relay::Report> {
        let (media, steady) = (self.media.clone()?, self.steady.as_ref()?);
        Some(relay::Report {
            calls: steady.calls as usize,
            media,
            packets: steady.packets,
            process: steady.process.clone(),
            cpu_ns_per_packet: steady.cpu_ns_per_packet,
        })
    }

    /// Share of a processor that the process under test took in the steady state, or in the whole run without one.
    pub fn cores(&self) -> Option<f64> {
        let steady = self.steady.as_ref().and_then(|steady| steady.process.as_ref());
        steady.or(self.process.as_ref()).map(|usage| usage.cores)
    }

    fn judged(mut self) -> Self {
        let slo = self.arguments.slo.clone();
        let mut complaints = Vec::new();
        if slo.conditions().is_empty() {
            self.expect_perfection(&mut complaints);
        }
        // Calls that fail take no time: without a word on them, none may.
        let names_failures = slo.conditions().iter().any(|condition| condition.metric() == Metric::Fail);
        let failed = self.calls.failed + self.calls.unplaced;
        if !slo.conditions().is_empty() && !names_failures && failed > 0 {
            complaints.push(format!("{failed} of {} calls failed", self.calls.placed + self.calls.unplaced));
        }
        for condition in slo.conditions() {
            match self.value_of(condition) {
                Some(value) if condition.holds(value) => (),
                Some(value) => complaints.push(format!("{condition}: {value:.4}")),
                None => complaints.push(format!("{condition}: not measured")),
            }
        }
        let invalid = self.validity.verdict().reasons();
        self.verdict = Verdict { passed: complaints.is_empty() && invalid.is_none(), complaints, invalid };
        self
    }

    fn expect_perfection(&self, complaints: &mut Vec<String>) {
        let calls = &self.calls;
        if calls.placed == 0 {
            complaints.push("no call was placed".to_owned());
        }
        if calls.failed > 0 {
            complaints.push(format!("{} of {} calls failed", calls.failed, calls.placed));
        }
        complaints.extend(calls.sdp_faults.iter().map(|(fault, count)| format!("{count} times {fault}")));
        let Some(media) = &self.media else { return };
        complaints.extend(media.counts.complaints());
        if media.counts.sent == 0 {
            complaints.push("no media flowed".to_owned());
        }
    }

    fn value_of(&self, condition: &Condition) -> Option<f64> {
        let media = self.media.as_ref();
        let calls = &self.calls;
        match condition.metric() {
            Metric::Time(subject, point) => {
                let times = match subject {
                    Subject::Setup => self.set_up,
                    Subject::Latency => media?.latency,
                    Subject::Jitter => media?.jitter,
                    Subject::Bye => self.delete,
                    _ => return None,
                };
                let value = match point {
                    Quantile::P50 => times.p50_us,
                    Quantile::P90 => times.p90_us,
                    Quantile::P99 => times.p99_us,
                    Quantile::P999 => times.p999_us,
                    Quantile::Max => times.max_us,
                };
                (times.count > 0).then_some(value)
            }
            Metric::Loss => media.filter(|media| media.counts.sent > 0).map(|media| media.counts.loss()),
            Metric::Fail => {
                let placed = calls.placed + calls.unplaced;
                (placed > 0).then(|| (calls.failed + calls.unplaced) as f64 / placed as f64)
            }
            Metric::Mos => media.filter(|media| media.counts.sent > 0).map(|media| media.mos),
            Metric::Cpu => self.cores(),
            Metric::CpuPerPacket => Some(self.steady.as_ref()?.cpu_ns_per_packet? / 1e3),
        }
    }

    /// The report as a page with plots.
    pub fn page(&self) -> Page {
        let fact = |name: &str, value: String| (name.to_owned(), value);
        let (machine, load) = (&self.machine, &self.arguments);
        let mut facts = vec![
            fact("verdict", if self.verdict.passed { "passed".into() } else { "FAILED".into() }),
            fact("began", self.started.clone()),
            fact("generator", format!("strowger {}, seed {}", self.version, load.seed)),
            fact(
                "machine",
                format!("{}, {} processors, Linux {}", machine.cpu, machine.cpus, machine.kernel),
            ),
            fact(
                "under test",
                format!("{} ({})", load.to, self.engine.as_deref().unwrap_or("process unknown")),
            ),
            fact("load", format!("{} calls, {} a second, {} s", load.calls, load.cps, load.seconds)),
        ];
        if let Some([a, b]) = &self.said {
            facts.push(fact("media", if load.converts { format!("{a} to {b}") } else { a.clone() }));
        }
        facts.extend(self.verdict.invalid.iter().map(|why| fact("INVALID", why.clone())));
        facts.extend(self.verdict.complaints.iter().map(|what| fact("not reached", what.clone())));
        let row = |name: &str, p: &Percentiles| {
            let times = [p.p50_us, p.p90_us, p.p99_us, p.p999_us, p.max_us].map(human_us);
            [vec![name.to_owned(), p.count.to_string()], times.to_vec()].concat()
        };
        let mut rows = vec![
            row("offer", &self.offer),
            row("answer", &self.answer),
            row("delete", &self.delete),
            row("set-up", &self.set_up),
        ];
        if let Some(media) = &self.media {
            rows.push(row("media", &media.latency));
            rows.push(row("jitter", &media.jitter));
            rows.push(row("generator late, media", &media.lateness));
        }
        rows.push(row("generator late, requests", &self.lateness));
        let head = ["", "count", "p50", "p90", "p99", "p99.9", "max"].map(str::to_owned).to_vec();
        let text = self.to_string();
        let lines = text.lines().map(|line| {
            let (name, rest) = line.split_at_checked(13).unwrap_or((line, ""));
            vec![name.trim().to_owned(), rest.to_owned()]
        });
        let tables = vec![
            Table { title: "Times".into(), head, rows },
            Table { title: "Findings".into(), head: vec![String::new(); 2], rows: lines.collect() },
        ];
        let series = |name: &str, value: &dyn Fn(&Point) -> f64| Series {
            name: name.to_owned(),
            points: self.points.iter().map(|point| (point.seconds, value(point))).collect(),
        };
        let some = |count: u64, value: f64| if count > 0 { value } else { f64::NAN };
        let plot = |title: &str, unit: &str, series: Vec<Series>| Plot {
            title: title.to_owned(),
            unit: unit.to_owned(),
            series,
        };
        let offers = vec![
            series("p50", &|p| some(p.offers, p.offer_p50_us / 1e3)),
            series("p99", &|p| some(p.offers, p.offer_p99_us / 1e3)),
        ];
        let rate =
            vec![series("offers", &|p| p.offers as f64), series("calls ended", &|p| p.completed as f64)];
        let mut plots = vec![
            plot("Requests a second", "", rate),
            plot("Calls", "", vec![series("calls", &|p| p.calls as f64)]),
            plot("Offers", "ms", offers),
        ];
        if self.media.is_some() {
            let latency = vec![
                series("p50", &|p| some(p.packets, p.latency_p50_us / 1e3)),
                series("p99", &|p| some(p.packets, p.latency_p99_us / 1e3)),
            ];
            plots.push(plot("Latency of media", "ms", latency));
            plots.push(plot("Packets received a second", "", vec![series("packets", &|p| p.packets as f64)]));
            plots.push(plot("Loss", "%", vec![series("loss", &|p| p.loss * 100.0)]));
        }
        if self.process.is_some() {
            let cores = series("cores", &|p| p.cores.unwrap_or(f64::NAN));
            plots.push(plot("CPU of the process under test", "processors", vec![cores]));
        }
        Page { title: format!("strowger load ng {}", load.to), facts, tables, plots }
    }

    fn table(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        let calls = &self.calls;
        let (placed, completed, failed) = (calls.placed, calls.completed, calls.failed);
        writeln!(out, "calls        {placed} placed, {completed} completed, {failed} failed")?;
        for (reason, count) in &calls.failures {
            writeln!(out, "             {count} × {reason}")?;
        }
        for (fault, count) in &calls.sdp_faults {
            writeln!(out, "SDP          {count} × {fault}")?;
        }
        writeln!(out, "offer        {}", self.offer)?;
        writeln!(out, "answer       {}", self.answer)?;
        writeln!(out, "delete       {}", self.delete)?;
        writeln!(out, "set-up       {}", self.set_up)?;
        if calls.sent_again + calls.extra_replies > 0 {
            writeln!(
                out,
                "sent again   {} requests; {} extra replies",
                calls.sent_again, calls.extra_replies
            )?;
        }
        if calls.hostile > 0 {
            writeln!(out, "attack       {} hostile datagrams", calls.hostile)?;
        }
        if let Some(media) = &self.media {
            let c = &media.counts;
            let loss = c.loss() * 100.0;
            writeln!(
                out,
                "RTP          {} sent, {} received, {} lost ({loss:.4} %)",
                c.sent, c.received, c.lost
            )?;
            let wrong = c.wrong_source + c.wrong_party + c.unknown;
            writeln!(
                out,
                "             {} twice, {} reordered, {} changed, {wrong} misdirected",
                c.duplicated, c.reordered, c.corrupted
            )?;
            if self.arguments.converts {
                writeln!(
                    out,
                    "converted    {} streams listened to, {} with a wrong voice, {} changes of SSRC, {} jumps in time",
                    c.listened, c.wrong_voice, c.ssrc_changed, c.timestamp_jumps
                )?;
            }
            writeln!(out, "latency      {}", media.latency)?;
            writeln!(out, "jitter       {}", media.jitter)?;
            writeln!(out, "generator    late by {} (media)", media.lateness)?;
        }
        writeln!(out, "generator    late by {} (requests)", self.lateness)?;
        if let Some(usage) = &self.process {
            let (cores, rss) = (usage.cores * 100.0, usage.rss_bytes as f64 / 1e6);
            write!(
                out,
                "process      {cores:.1} % of a core, {rss:.1} MB, {} descriptors",
                usage.descriptors
            )?;
            if let Some(cpu) = self.cpu_us_per_call {
                write!(out, ", {} CPU a call", human_us(cpu))?;
            }
            writeln!(out)?;
        }
        if let Some((bytes, descriptors)) = self.bytes_per_call.zip(self.descriptors_per_call) {
            writeln!(out, "a call       {:.1} KB, {descriptors:.2} descriptors", bytes / 1e3)?;
        }
        if let Some(steady) = &self.steady {
            write!(out, "all calls up {} calls", steady.calls)?;
            if let Some(usage) = &steady.process {
                write!(out, ", {:.1} % of a core", usage.cores * 100.0)?;
            }
            if let Some(ns) = steady.cpu_ns_per_packet {
                write!(out, ", {} CPU a packet", human_us(ns / 1e3))?;
            }
            writeln!(out)?;
            let machine = &steady.machine;
            write!(
                out,
                "machine      {:.2} s busy, of it {:.2} s the generator, {:.2} s beyond what it does when idle",
                machine.measured.busy_seconds, machine.measured.generator_seconds, machine.left_seconds
            )?;
            if let Some(ns) = steady.machine_ns_per_packet {
                write!(out, ": {} a packet", human_us(ns / 1e3))?;
            }
            writeln!(out)?;
        }
        for complaint in &self.verdict.complaints {
            writeln!(out, "not reached  {complaint}")?;
        }
        if let validity::Verdict::Invalid(reasons) = self.validity.verdict() {
            for why in reasons {
                writeln!(out, "INVALID      {why}")?;
            }
        }
        write!(out, "verdict      {}", if self.verdict.passed { "passed" } else { "FAILED" })?;
        Ok(out)
    }
}

impl fmt::Display for Report {
    /// A table for people, without a line end at its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.table()?)
    }
}
