//! What a run found: everything that is needed to repeat it and to believe it, as JSON and as a table.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs;

use base::Wall;
use serde::Serialize;

use crate::attack;
use crate::figures::{Percentiles, human_us};
use crate::html::{Page, Plot, Series, Table};
use crate::media;
use crate::process::Usage;
use crate::run::Progress;
use crate::run::{LoadSip, Steady};
use crate::slo::{Condition, Metric, Point, Subject};
use crate::speech::Codec;
use crate::uac::{KindTally, StepTally};
use crate::uas;
use crate::validity::Validity;

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
    /// What the attacker sent and heard, where there was one.
    pub attack: Option<attack::Report>,
    /// How it went over time.
    pub series: Vec<Moment>,
    /// What speaks against the figures.
    pub validity: Validity,
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
    /// Calls in which the caller spoke.
    pub talked: u64,
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
    /// The INVITE's intended time to 200 received.
    pub setup: Percentiles,
    /// The INVITE's intended time to 180 or 183 received.
    pub ringing: Percentiles,
    /// BYE sent to 200 received.
    pub bye: Percentiles,
    /// CANCEL sent to the final response of its INVITE.
    pub cancel: Percentiles,
    /// Intended to actual time of INVITEs: the generator's own fault.
    pub lateness: Percentiles,
    /// By kind of call, as the scenario names them.
    pub kinds: BTreeMap<String, KindTally>,
    /// By step within calls.
    pub steps: BTreeMap<&'static str, Step>,
    /// INVITEs that were challenged and sent again with credentials.
    pub challenged: u64,
    /// Whether the account was registered: `yes`, or why not. Nothing where that was not wanted.
    pub registered: Option<String>,
}

/// What became of one kind of step within calls.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Step {
    /// Begun.
    pub sent: u64,
    /// Accepted; a transfer: reported as done.
    pub done: u64,
    /// Refused or without an answer, by status or reason.
    pub refused: BTreeMap<String, u64>,
    /// Request sent to final response.
    pub time: Percentiles,
}

impl Step {
    pub(crate) fn of(tally: StepTally) -> Self {
        let StepTally { sent, done, refused, time } = tally;
        Step { sent, done, refused, time: time.percentiles() }
    }
}

/// One moment of a run.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Moment {
    /// Since the beginning.
    pub seconds: f64,
    /// New calls a second since the moment before.
    pub arrived: f64,
    /// Calls that went on.
    pub active: u64,
    /// Calls that had failed by then.
    pub failed: u64,
    /// INVITE to 200 so far, 99th percentile, microseconds.
    pub setup_p99_us: f64,
    /// Latency of RTP in the last interval, 99th percentile, microseconds.
    pub latency_p99_us: Option<f64>,
    /// Packets missing by then.
    pub missing: Option<u64>,
    /// CPU seconds a second of the process under test.
    pub cores: Option<f64>,
    /// Its resident memory.
    pub rss_bytes: Option<u64>,
}

impl Moment {
    pub(crate) fn of(live: &Progress, arrived: f64) -> Self {
        let media = live.media.as_ref();
        Moment {
            seconds: live.seconds,
            arrived,
            active: live.calls.active,
            failed: live.calls.failed,
            setup_p99_us: live.calls.setup_p99_us,
            latency_p99_us: media.map(|media| media.p99_us),
            missing: media.map(|media| media.missing),
            cores: live.cores,
            rss_bytes: live.rss_bytes,
        }
    }
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
    /// A run whose figures must not be believed has not passed.
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
        self.validity = self.weigh();
        let invalid = self.validity.verdict().reasons();
        let passed = complaints.is_empty() && invalid.is_none();
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
        if let Some(reason) = calls.registered.as_ref().filter(|registered| *registered != "yes") {
            complaints.push(format!("the account was not registered: {reason}"));
        }
        if let Some(wrong) = self.answering.as_ref().map(|a| a.wrong_info_digits).filter(|&wrong| wrong > 0) {
            complaints.push(format!("{wrong} digits came by INFO that nobody had sent"));
        }
        let Some(media) = &self.media else { return };
        let counts = &media.counts;
        if counts.sent == 0 && calls.answered > 0 {
            complaints.push("no media flowed".to_owned());
        }
        if self.answering.is_none() {
            return; // Only who hears can say what was lost.
        }
        if counts.digits_heard != counts.digits_sent {
            complaints.push(format!("{} of {} digits arrived", counts.digits_heard, counts.digits_sent));
        }
        complaints.extend(counts.complaints());
        if counts.streams < 2 * calls.talked {
            let (streams, talked) = (counts.streams, calls.talked);
            complaints.push(format!("only {streams} parties spoke in {talked} calls"));
        }
        if self.is_converted() && counts.listened == 0 {
            complaints.push("nothing of what was converted could be listened to".to_owned());
        }
    }

    /// Whether what one party says reaches the other in another codec.
    fn is_converted(&self) -> bool {
        let LoadSip { media, uas_media, .. } = &self.arguments;
        uas_media.is_some() && media.is_some() && media != uas_media
    }

    /// The mean opinion score; `None` where it is not known, as its model has figures for G.711 alone.
    fn mos(&self) -> Option<f64> {
        let load = &self.arguments;
        let spoken = load.media.into_iter().chain(load.uas_media).chain(load.scenario.codecs());
        let is_known = spoken.into_iter().all(|codec| matches!(codec, Codec::Pcmu | Codec::Pcma));
        self.media.as_ref().filter(|media| is_known && media.counts.sent > 0).map(|media| media.mos)
    }

    fn weigh(&self) -> Validity {
        let mut validity = Validity::with_bound(self.arguments.lateness_max);
        // What the run itself has noticed.
        validity.other.clone_from(&self.validity.other);
        validity.clock_was_set = self.validity.clock_was_set;
        validity.unplaced = self.calls.unplaced;
        validity.kernel_drops = self.calls.own_drops;
        validity.late(self.calls.lateness.p99_us);
        if let Some(attack) = &self.attack {
            validity.send_errors += attack.send_errors;
            validity.kernel_drops += attack.own_drops;
        }
        if let Some(media) = &self.media {
            validity.late(media.lateness.p99_us);
            validity.kernel_drops += media.counts.own_drops;
            validity.send_errors += media.counts.send_errors;
            // Drops and lateness are told above; what is left is the clock.
            validity.clock_was_set |= media.invalid.as_ref().is_some_and(|why| why.contains("clock was set"));
        }
        validity
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
            Metric::Mos => self.mos(),
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
        if calls.cancel.count > 0 {
            writeln!(out, "cancelled    {}", calls.cancel)?;
        }
        if calls.kinds.len() > 1 {
            for (name, kind) in &calls.kinds {
                writeln!(
                    out,
                    "{name:<12} {} placed, {} completed, {} failed",
                    kind.placed, kind.completed, kind.failed
                )?;
            }
        }
        for (name, step) in &calls.steps {
            write!(out, "{:<12} {} sent, {} done", format!("· {name}"), step.sent, step.done)?;
            for (reason, count) in &step.refused {
                write!(out, ", {count} × {reason}")?;
            }
            if step.time.count > 0 { writeln!(out, "  {}", step.time)? } else { writeln!(out)? }
        }
        if let Some(attack) = &self.attack {
            let sent: u64 = attack.sent.values().sum();
            let replies: u64 = attack.replies.values().sum();
            writeln!(out, "attack       {sent} messages, {replies} replies")?;
        }
        if calls.resent > 0 {
            writeln!(out, "sent again   {} SIP datagrams", calls.resent)?;
        }
        if let Some(media) = self.media.as_ref().filter(|_| self.answering.is_none()) {
            let c = &media.counts;
            writeln!(
                out,
                "RTP          {} sent, {} heard; what was lost only the other side knows",
                c.sent, c.unknown
            )?;
        }
        if let Some(media) = self.media.as_ref().filter(|_| self.answering.is_some()) {
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
            if c.digits_sent > 0 {
                writeln!(out, "digits       {} sent, {} arrived", c.digits_sent, c.digits_heard)?;
            }
            writeln!(out, "RTCP         {} sent, {} received", c.rtcp_sent, c.rtcp_received)?;
            writeln!(out, "latency      {}", media.latency)?;
            writeln!(out, "jitter       {}", media.jitter)?;
            match self.mos() {
                Some(mos) => writeln!(out, "MOS          {mos:.2}")?,
                None => writeln!(out, "MOS          not measured")?,
            }
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
        if let Some(why) = &self.verdict.invalid {
            writeln!(out, "INVALID      {why}")?;
        }
        write!(out, "verdict      {}", if self.verdict.passed { "passed" } else { "FAILED" })?;
        Ok(out)
    }
}

impl Report {
    /// As a page for a browser.
    pub fn page(&self) -> Page {
        let load = &self.arguments;
        let fact = |name: &str, value: String| (name.to_owned(), value);
        let facts = vec![
            fact("verdict", if self.verdict.passed { "passed".into() } else { "failed".into() }),
            fact("not reached", self.verdict.complaints.join("; ")),
            fact("figures", self.verdict.invalid.clone().unwrap_or_else(|| "may be believed".into())),
            fact("begun", self.started.clone()),
            fact("took", format!("{:.1} s", self.seconds)),
            fact("target", load.to.to_string()),
            fact("load", format!("{} calls, {} a second, profile {}", load.calls, load.cps, load.profile)),
            fact("scenario", load.scenario.name.clone()),
            fact("seed", load.seed.to_string()),
            fact("conditions", load.slo.to_string()),
            fact(
                "machine",
                format!("{}, {} processors, {}", self.machine.cpu, self.machine.cpus, self.machine.kernel),
            ),
            fact("version", self.version.to_owned()),
        ];
        Page {
            title: "strowger load sip".to_owned(),
            facts: facts.into_iter().filter(|fact| !fact.1.is_empty()).collect(),
            tables: self.tables(),
            plots: self.plots(),
        }
    }

    fn tables(&self) -> Vec<Table> {
        let table = |title: &str, head: &[&str], rows| Table {
            title: title.to_owned(),
            head: head.iter().map(|&name| name.to_owned()).collect(),
            rows,
        };
        let mut times: Vec<(&str, Percentiles)> = vec![
            ("INVITE to 200", self.calls.setup),
            ("INVITE to ringing", self.calls.ringing),
            ("BYE to 200", self.calls.bye),
            ("CANCEL to the end", self.calls.cancel),
            ("late INVITEs (generator)", self.calls.lateness),
        ];
        times.extend(self.calls.steps.iter().map(|(name, step)| (*name, step.time)));
        if let Some(media) = &self.media {
            times.extend([("RTP latency", media.latency), ("RTP jitter", media.jitter)]);
            times.push(("late RTP (generator)", media.lateness));
        }
        let times = times.iter().filter(|time| time.1.count > 0).map(|(name, time)| {
            let points = [time.p50_us, time.p99_us, time.p999_us, time.max_us].map(human_us);
            [vec![(*name).to_owned(), time.count.to_string()], points.to_vec()].concat()
        });
        let kinds = self.calls.kinds.iter().map(|(name, kind)| {
            let counts = [kind.placed, kind.completed, kind.failed].map(|count| count.to_string());
            [vec![name.clone()], counts.to_vec()].concat()
        });
        let steps = self.calls.steps.iter().map(|(name, step)| {
            let refused: Vec<_> =
                step.refused.iter().map(|(why, count)| format!("{count} × {why}")).collect();
            vec![(*name).to_owned(), step.sent.to_string(), step.done.to_string(), refused.join(", ")]
        });
        let failures = self.calls.failures.iter().map(|(why, count)| vec![why.clone(), count.to_string()]);
        let attack = self.attack.iter().flat_map(|attack| {
            let sent =
                attack.sent.iter().map(|(trick, count)| vec![format!("sent {trick}"), count.to_string()]);
            let replies =
                attack.replies.iter().map(|(reply, count)| vec![format!("reply {reply}"), count.to_string()]);
            sent.chain(replies)
        });
        let media = self.media.iter().flat_map(|media| {
            let c = &media.counts;
            [
                ("sent", c.sent),
                ("received", c.received),
                ("lost", c.lost),
                ("twice", c.duplicated),
                ("out of order", c.reordered),
                ("changed", c.corrupted),
                ("misdirected", c.wrong_source + c.wrong_party + c.unknown),
            ]
            .map(|(name, count)| vec![name.to_owned(), count.to_string()])
        });
        let all = [
            table("Calls", &["kind", "placed", "completed", "failed"], kinds.collect()),
            table("Failures", &["reason", "calls"], failures.collect()),
            table("Steps", &["step", "sent", "done", "refused"], steps.collect()),
            table("Times", &["", "count", "p50", "p99", "p99.9", "max"], times.collect()),
            table("RTP packets", &["", "packets"], media.collect()),
            table("Attack", &["", "messages"], attack.collect()),
        ];
        all.into_iter().filter(|table| !table.rows.is_empty()).collect()
    }

    fn plots(&self) -> Vec<Plot> {
        type Value = fn(&Moment) -> Option<f64>;
        let plot = |title: &str, unit: &str, lines: &[(&str, Value)]| {
            let line = |(name, value): &(&str, Value)| {
                let points = self.series.iter().filter_map(|m| Some((m.seconds, value(m)?)));
                Series { name: (*name).to_owned(), points: points.collect() }
            };
            let series = lines.iter().map(line).filter(|series| !series.points.is_empty()).collect();
            Plot { title: title.to_owned(), unit: unit.to_owned(), series }
        };
        let all = [
            plot(
                "Calls",
                "",
                &[("active", |m| Some(m.active as f64)), ("failed so far", |m| Some(m.failed as f64))],
            ),
            plot("New calls", "1/s", &[("placed", |m| Some(m.arrived))]),
            plot("INVITE to 200 so far, p99", "ms", &[("set-up", |m| Some(m.setup_p99_us / 1e3))]),
            plot("RTP latency, p99", "µs", &[("latency", |m| m.latency_p99_us)]),
            plot("RTP missing so far", "packets", &[("missing", |m| m.missing.map(|n| n as f64))]),
            plot("CPU of the process under test", "cores", &[("CPU", |m| m.cores)]),
            plot(
                "Memory of the process under test",
                "MB",
                &[("resident", |m| m.rss_bytes.map(|n| n as f64 / 1e6))],
            ),
        ];
        all.into_iter().filter(|plot| !plot.series.is_empty()).collect()
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
            attack: None,
            series: vec![Moment { seconds: 1.0, active: 7, ..Moment::default() }],
            validity: Validity::default(),
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

    #[test]
    fn the_page_shows_times_failures_and_what_was_asked() {
        let mut report = report("");
        report.calls.failures.insert("<486>".to_owned(), 1);
        let html = crate::html::write(&report.page());
        for text in ["INVITE to 200", "&lt;486&gt;", "60.00 ms", "<svg", "127.0.0.1:5060"] {
            assert!(html.contains(text), "{text}: {html}");
        }
    }

    #[test]
    fn a_generator_at_fault_makes_the_figures_invalid() {
        let mut report = report("setup_p99<61ms");
        assert!(report.verdict.passed);
        report.calls.lateness.p99_us = 6_000.0;
        report.calls.own_drops = 3;
        let report = report.judge();
        let why = report.verdict.invalid.as_deref().unwrap_or_default();
        assert!(!report.verdict.passed && why.contains("was late") && why.contains("dropped 3"), "{why}");
    }

    #[test]
    fn an_invalid_run_has_not_passed_even_where_no_figure_decides() {
        let mut report = report("");
        report.calls.failed = 0;
        report = report.judge();
        assert!(report.verdict.passed);
        report.validity.other.push("the process under test went away".to_owned());
        let report = report.judge();
        assert!(report.verdict.complaints.is_empty() && report.exit_status() == 1, "{report}");
        assert!(report.to_string().contains("INVALID      the process under test went away"), "{report}");
    }

    /// A run of ten calls with media that went well, then changed.
    fn with_media(slo: &str, change: impl FnOnce(&mut Report)) -> Report {
        let mut report = report(slo);
        report.calls = Calls { placed: 10, answered: 10, talked: 10, completed: 10, ..Calls::default() };
        report.answering = Some(uas::Tally::default());
        let counts = media::Counts { streams: 20, sent: 1_000, received: 1_000, ..media::Counts::default() };
        report.media = Some(media::Report {
            counts,
            latency: Percentiles::default(),
            lateness: Percentiles::default(),
            jitter: Percentiles::default(),
            rtcp_round_trip: Percentiles::default(),
            mos: 4.2,
            seconds: 2.0,
            cpu_seconds: 0.1,
            invalid: None,
        });
        change(&mut report);
        report.judge()
    }

    fn complaints(change: impl FnOnce(&mut Report, &mut media::Counts)) -> Vec<String> {
        let report = with_media("", |report| {
            let mut counts = report.media.as_ref().unwrap().counts;
            change(report, &mut counts);
            report.media.as_mut().unwrap().counts = counts;
        });
        assert_eq!(report.verdict.passed, report.verdict.complaints.is_empty());
        report.verdict.complaints
    }

    #[test]
    fn what_converted_streams_did_wrong_is_complained_of() {
        assert_eq!(complaints(|_, _| ()), [""; 0]);
        for wrong in [
            (|counts| &mut counts.wrong_voice) as fn(&mut media::Counts) -> &mut u64,
            |counts| &mut counts.ssrc_changed,
            |counts| &mut counts.timestamp_jumps,
            |counts| &mut counts.reordered,
        ] {
            assert_eq!(complaints(|_, counts| *wrong(counts) = 3).len(), 1);
        }
        let converts = |listened| {
            complaints(|report, counts| {
                report.arguments.uas_media = Some(Codec::Pcma);
                counts.listened = listened;
            })
        };
        assert_eq!(converts(0), ["nothing of what was converted could be listened to"]);
        assert_eq!(converts(1), [""; 0]);
    }

    #[test]
    fn a_party_that_never_spoke_is_complained_of() {
        assert_eq!(complaints(|_, counts| counts.streams = 19), ["only 19 parties spoke in 10 calls"]);
    }

    #[test]
    fn a_mean_opinion_score_is_told_of_g711_alone() {
        assert!(with_media("mos>4", |_| ()).verdict.passed);
        let report = with_media("mos>4", |report| report.arguments.media = Some(Codec::Opus));
        assert_eq!(report.verdict.complaints, ["mos>4: not measured"]);
        assert!(report.to_string().contains("MOS          not measured"), "{report}");
    }
}
