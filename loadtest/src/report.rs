//! What a run found: everything that is needed to repeat it and to believe it, as JSON and as a table.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs;

use base::Wall;
use serde::Serialize;

use crate::figures::{Percentiles, human_us};
use crate::media;
use crate::process::Usage;
use crate::run::{LoadSip, Steady};
use crate::slo::{Condition, Metric, Point, Subject};
use crate::uas;

/// The findings of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Of this program.
    pub version: &'static str,
    /// When the run began, RFC 3339.
    pub started: String,
    /// Where it ran.
    pub machine: Machine,
    /// What was asked for, seed included.
    pub arguments: LoadSip,
    /// How long it took.
    pub seconds: f64,
    /// The calling side's findings.
    pub calls: Calls,
    /// The answering side's, where it was ours.
    pub answering: Option<uas::Tally>,
    /// The media judge's, where there was media.
    pub media: Option<media::Report>,
    /// What the process under test used in the whole run.
    pub process: Option<Usage>,
    /// What it used while all calls were up, if that was for a second at least.
    pub steady: Option<Steady>,
    /// Its CPU time for each RTP packet that it relayed, signalling included, microseconds.
    pub cpu_us_per_packet: Option<f64>,
    /// Calls completed for each second of its CPU time.
    pub calls_per_cpu_second: Option<f64>,
    /// The judgement.
    pub verdict: Verdict,
}

/// Where a run ran.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Kernel release.
    pub kernel: String,
    /// Processor model.
    pub cpu: String,
    /// Processors that this process may use.
    pub cpus: usize,
}

impl Machine {
    /// This machine.
    pub fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let info = read("/proc/cpuinfo");
        let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Machine {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            cpu: model.map_or_else(String::new, |model| model.1.trim().to_owned()),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// What became of the calls, as the calling side saw it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Calls {
    /// INVITEs sent, each call once.
    pub placed: u64,
    /// Arrivals for which there was no room, because calls before them lasted longer than planned.
    pub unplaced: u64,
    /// Calls that were answered.
    pub answered: u64,
    /// Calls that ended as they should.
    pub completed: u64,
    /// Calls that did not.
    pub failed: u64,
    /// Those by reason.
    pub failures: BTreeMap<String, u64>,
    /// Datagrams sent again.
    pub resent: u64,
    /// Datagrams that belong to no call.
    pub strays: u64,
    /// SIP datagrams that the kernel dropped at our own sockets.
    pub own_drops: u64,
    /// INVITE sent to 200 received.
    pub setup: Percentiles,
    /// INVITE sent to 180 or 183 received.
    pub ringing: Percentiles,
    /// BYE sent to 200 received.
    pub bye: Percentiles,
    /// Intended to actual time of INVITEs: the generator's own fault.
    pub lateness: Percentiles,
}

/// Whether the system under test did its work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Whether the run passed.
    pub passed: bool,
    /// What was not as it should be.
    pub complaints: Vec<String>,
    /// Why the figures must not be believed, whatever they say.
    pub invalid: Option<String>,
}

impl Report {
    /// 0 if the run passed, else 1.
    pub fn exit_status(&self) -> u8 {
        u8::from(!self.verdict.passed)
    }

    /// As JSON text.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain data")
    }

    /// Fills in the verdict. With an SLO that decides; without one every call must complete and every packet arrive.
    pub(crate) fn judge(mut self) -> Self {
        let slo = self.arguments.slo.clone();
        let mut complaints = Vec::new();
        if slo.conditions().is_empty() {
            self.expect_perfection(&mut complaints);
        }
        for condition in slo.conditions() {
            match self.value_of(condition) {
                Some(value) if condition.holds(value) => (),
                Some(value) => complaints.push(format!("{condition}: {}", shown(condition.metric(), value))),
                None => complaints.push(format!("{condition}: not measured")),
            }
        }
        let invalid = self.invalid();
        // Without an SLO no figure decides, so none needs to be believed.
        let passed = complaints.is_empty() && (invalid.is_none() || slo.conditions().is_empty());
        self.verdict = Verdict { passed, complaints, invalid };
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
        if calls.unplaced > 0 {
            complaints
                .push(format!("{} calls found no room: those before them lasted too long", calls.unplaced));
        }
        let Some(media) = &self.media else { return };
        let counts = &media.counts;
        let wrongs = [
            (counts.lost, "packets lost"),
            (counts.duplicated, "packets came twice"),
            (counts.corrupted, "packets changed on the way"),
            (counts.wrong_source, "packets came from the wrong address"),
            (counts.wrong_party, "packets reached the wrong party"),
            (counts.unknown, "packets came that nobody sent"),
        ];
        complaints.extend(wrongs.iter().filter(|wrong| wrong.0 > 0).map(|(n, what)| format!("{n} {what}")));
        if counts.sent == 0 {
            complaints.push("no media flowed".to_owned());
        }
    }

    fn invalid(&self) -> Option<String> {
        if self.calls.unplaced > 0 {
            return Some(format!("{} calls found no room in the generator", self.calls.unplaced));
        }
        if self.calls.own_drops > 0 {
            return Some(format!(
                "the generator's own sockets dropped {} SIP datagrams",
                self.calls.own_drops
            ));
        }
        self.media.as_ref().and_then(|media| media.invalid.clone())
    }

    fn value_of(&self, condition: &Condition) -> Option<f64> {
        let media = self.media.as_ref();
        match condition.metric() {
            Metric::Time(subject, point) => {
                let times = match subject {
                    Subject::Setup => self.calls.setup,
                    Subject::Ringing => self.calls.ringing,
                    Subject::Bye => self.calls.bye,
                    Subject::Latency => media?.latency,
                    Subject::Jitter => media?.jitter,
                };
                let value = match point {
                    Point::P50 => times.p50_us,
                    Point::P90 => times.p90_us,
                    Point::P99 => times.p99_us,
                    Point::P999 => times.p999_us,
                    Point::Max => times.max_us,
                };
                (times.count > 0).then_some(value)
            }
            Metric::Loss => media.filter(|media| media.counts.sent > 0).map(|media| media.counts.loss()),
            Metric::Fail => {
                let placed = self.calls.placed + self.calls.unplaced;
                let failed = self.calls.failed + self.calls.unplaced;
                (placed > 0).then(|| failed as f64 / placed as f64)
            }
            Metric::Mos => media.filter(|media| media.counts.sent > 0).map(|media| media.mos),
            Metric::Cpu => self.process.as_ref().map(|usage| usage.cores),
            Metric::CpuPerPacket => self.cpu_us_per_packet,
        }
    }

    fn table(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        let calls = &self.calls;
        let (placed, completed, failed) = (calls.placed, calls.completed, calls.failed);
        writeln!(out, "calls        {placed} placed, {completed} completed, {failed} failed")?;
        for (reason, count) in &calls.failures {
            writeln!(out, "             {count} × {reason}")?;
        }
        writeln!(out, "set-up       {}", calls.setup)?;
        writeln!(out, "ringing      {}", calls.ringing)?;
        writeln!(out, "hang-up      {}", calls.bye)?;
        if calls.resent > 0 {
            writeln!(out, "sent again   {} SIP datagrams", calls.resent)?;
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
            writeln!(out, "RTCP         {} sent, {} received", c.rtcp_sent, c.rtcp_received)?;
            writeln!(out, "latency      {}", media.latency)?;
            writeln!(out, "jitter       {}", media.jitter)?;
            writeln!(out, "MOS          {:.2}", media.mos)?;
            writeln!(out, "generator    late by {}", media.lateness)?;
        }
        if let Some(usage) = &self.process {
            let cores = usage.cores * 100.0;
            let rss = usage.rss_bytes as f64 / 1e6;
            write!(
                out,
                "process      {cores:.1} % of a core, {rss:.1} MB, {} descriptors",
                usage.descriptors
            )?;
            if let Some(cpu) = self.cpu_us_per_packet {
                write!(out, ", {} CPU a packet", human_us(cpu))?;
            }
            if let Some(calls) = self.calls_per_cpu_second {
                write!(out, ", {calls:.0} calls a CPU-second")?;
            }
            writeln!(out)?;
        }
        if let Some(steady) = &self.steady {
            let cores = steady.process.cores * 100.0;
            let cpu = human_us(steady.cpu_us_per_packet);
            writeln!(out, "all calls up {cores:.1} % of a core, {cpu} CPU a packet")?;
        }
        for complaint in &self.verdict.complaints {
            writeln!(out, "not reached  {complaint}")?;
        }
        match &self.verdict.invalid {
            // All has arrived, which stays true however late the generator was; its times are another matter.
            Some(why) if self.verdict.passed => writeln!(out, "times        not to be believed: {why}")?,
            Some(why) => writeln!(out, "INVALID      {why}")?,
            None => {}
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

/// Now, as reports show it.
pub(crate) fn started() -> String {
    Wall(crate::sys::real_ns() / 1_000).to_string()
}

fn shown(metric: Metric, value: f64) -> String {
    match metric {
        Metric::Time(..) | Metric::CpuPerPacket => human_us(value),
        Metric::Loss | Metric::Fail | Metric::Cpu => format!("{:.4} %", value * 100.0),
        Metric::Mos => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(slo: &str) -> Report {
        let mut arguments = LoadSip::ramp("127.0.0.1:5060".parse().unwrap(), 10, 10.0, 2.0);
        arguments.slo = slo.parse().unwrap();
        let setup = Percentiles { count: 1000, p99_us: 60_000.0, ..Percentiles::default() };
        let calls = Calls { placed: 1000, completed: 999, failed: 1, setup, ..Calls::default() };
        Report {
            version: "0",
            started: started(),
            machine: Machine::here(),
            arguments,
            seconds: 2.0,
            calls,
            answering: None,
            media: None,
            process: None,
            steady: None,
            cpu_us_per_packet: None,
            calls_per_cpu_second: None,
            verdict: Verdict::default(),
        }
        .judge()
    }

    #[test]
    fn without_an_slo_every_call_must_complete() {
        let report = report("");
        assert_eq!(report.verdict.complaints, ["1 of 1000 calls failed"]);
        assert_eq!(report.exit_status(), 1);
    }

    #[test]
    fn an_slo_decides_and_names_what_fell_short() {
        assert!(report("fail<=0.1%,setup_p99<61ms").verdict.passed);
        let verdict = report("fail<0.1%,setup_p99<50ms,loss<1%").verdict;
        assert_eq!(
            verdict.complaints,
            ["fail<0.1%: 0.1000 %", "setup_p99<50ms: 60.00 ms", "loss<1%: not measured"]
        );
    }

    #[test]
    fn both_forms_tell_the_essentials() {
        let report = report("");
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["calls"]["failed"], 1);
        assert_eq!(json["arguments"]["seed"], 1);
        let table = report.to_string();
        assert!(
            table.contains("1000 placed, 999 completed, 1 failed") && table.ends_with("FAILED"),
            "{table}"
        );
    }
}
