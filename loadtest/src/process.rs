//! What a process has cost so far, read from `/proc`: CPU to the nanosecond, memory, descriptors, context switches.

use std::fs;
use std::io;

use serde::Serialize;

/// One reading of a process.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// When it was read, monotonic nanoseconds.
    pub at_ns: u64,
    /// CPU time of all threads, also those that ended, nanoseconds.
    pub cpu_ns: u64,
    /// That of children that ended and were waited for, and of theirs; nanoseconds, to 10 ms.
    pub ended_children_ns: u64,
    /// User and system time of all threads, also those that ended, in the kernel's ticks of 10 ms.
    pub user_ticks: u64,
    /// System part of it.
    pub system_ticks: u64,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Voluntary and forced context switches of the threads that live now.
    pub switches: [u64; 2],
    /// Number, name and CPU time (schedstat, nanoseconds) of the threads that live now.
    pub threads: Vec<(u32, String, u64)>,
}

impl Sample {
    /// Reads process `pid`.
    ///
    /// # Errors
    /// The process is gone, or belongs to somebody else.
    pub fn of(pid: u32) -> io::Result<Self> {
        let root = format!("/proc/{pid}");
        let stat = fs::read_to_string(format!("{root}/stat"))?;
        let mut sample = Sample { at_ns: crate::sys::mono_ns(), ..Sample::default() };
        // The name in brackets may hold spaces and brackets; fields count from the last one. proc(5): 14 to 17.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|f| f.parse().ok()).unwrap_or(0);
        (sample.user_ticks, sample.system_ticks) = (number(11), number(12));
        sample.ended_children_ns = (number(13) + number(14)) * (1_000_000_000 / TICKS as u64);
        sample.cpu_ns = crate::sys::cpu_ns_of(pid).ok_or(io::ErrorKind::NotFound)?;
        sample.rss_bytes = field_kb(&fs::read_to_string(format!("{root}/status"))?, "VmRSS:") * 1024;
        sample.descriptors = fs::read_dir(format!("{root}/fd")).map_or(0, |dir| dir.count() as u64);
        for task in fs::read_dir(format!("{root}/task"))?.flatten() {
            let path = task.path();
            let read = |file: &str| fs::read_to_string(path.join(file)).unwrap_or_default();
            // A thread may end between the listing and the reading: then it is empty.
            let cpu = read("schedstat").split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0);
            let status = read("status");
            sample.switches[0] += field_kb(&status, "voluntary_ctxt_switches:");
            sample.switches[1] += field_kb(&status, "nonvoluntary_ctxt_switches:");
            let id = task.file_name().to_string_lossy().parse().unwrap_or(0);
            sample.threads.push((id, read("comm").trim().to_owned(), cpu));
        }
        Ok(sample)
    }

    /// What was used between an `earlier` reading and this one.
    pub fn since(&self, earlier: &Sample) -> Usage {
        let seconds = self.at_ns.saturating_sub(earlier.at_ns) as f64 / 1e9;
        let mut threads: Vec<ThreadUsage> = Vec::new();
        for (id, name, cpu) in &self.threads {
            let before = earlier.threads.iter().find(|t| t.0 == *id).map_or(0, |t| t.2);
            threads.push(ThreadUsage {
                name: name.clone(),
                cpu_seconds: cpu.saturating_sub(before) as f64 / 1e9,
            });
        }
        let cpu_seconds = self.cpu_ns.saturating_sub(earlier.cpu_ns) as f64 / 1e9;
        threads.sort_by(|a, b| b.cpu_seconds.total_cmp(&a.cpu_seconds));
        Usage {
            seconds,
            cpu_seconds,
            user_seconds: self.user_ticks.saturating_sub(earlier.user_ticks) as f64 / TICKS,
            system_seconds: self.system_ticks.saturating_sub(earlier.system_ticks) as f64 / TICKS,
            cores: if seconds > 0.0 { cpu_seconds / seconds } else { 0.0 },
            rss_bytes: self.rss_bytes,
            rss_growth_bytes: self.rss_bytes as i64 - earlier.rss_bytes as i64,
            descriptors: self.descriptors,
            voluntary_switches: self.switches[0].saturating_sub(earlier.switches[0]),
            forced_switches: self.switches[1].saturating_sub(earlier.switches[1]),
            threads,
        }
    }
}

/// Readings of processes, and of all that they have started since, where `children` is asked for; without it what their
/// children used does not count.
pub fn sample_all(pids: &[u32], children: bool) -> Vec<(u32, Sample)> {
    let mut found = Vec::new();
    let mut left = pids.to_vec();
    while let Some(pid) = left.pop() {
        let Ok(mut sample) = Sample::of(pid) else { continue };
        if !children {
            sample.ended_children_ns = 0;
        }
        for (task, ..) in sample.threads.iter().filter(|_| children) {
            let text = fs::read_to_string(format!("/proc/{pid}/task/{task}/children")).unwrap_or_default();
            left.extend(text.split_whitespace().filter_map(|number| number.parse::<u32>().ok()));
        }
        found.push((pid, sample));
    }
    found
}

/// What processes used between two readings, together; threads by name and process.
pub fn usage_of(before: &[(u32, Sample)], after: &[(u32, Sample)]) -> Option<Usage> {
    let none = Sample::default();
    let mut sum: Option<Usage> = None;
    for (pid, after) in after {
        let before = before.iter().find(|b| b.0 == *pid).map(|b| &b.1);
        let begun = Sample { at_ns: after.at_ns, ..none.clone() };
        let usage = after.since(before.unwrap_or(&begun));
        sum = Some(match sum {
            Some(sum) => sum.with(usage),
            None => usage,
        });
    }
    // A child that ended meanwhile has left its whole time with the one that waited for it, so that only the sums of all
    // compare; one that nobody waited for took its time along.
    let total =
        |all: &[(u32, Sample)]| -> u64 { all.iter().map(|s| s.1.cpu_ns + s.1.ended_children_ns).sum() };
    let together = total(after).saturating_sub(total(before)) as f64 / 1e9;
    sum.map(|sum| Usage { cpu_seconds: sum.cpu_seconds.max(together), ..sum }.with(Usage::default()))
}

impl Usage {
    fn with(mut self, other: Usage) -> Usage {
        self.seconds = self.seconds.max(other.seconds);
        self.cpu_seconds += other.cpu_seconds;
        self.user_seconds += other.user_seconds;
        self.system_seconds += other.system_seconds;
        self.cores = if self.seconds > 0.0 { self.cpu_seconds / self.seconds } else { 0.0 };
        self.rss_bytes += other.rss_bytes;
        self.rss_growth_bytes += other.rss_growth_bytes;
        self.descriptors += other.descriptors;
        self.voluntary_switches += other.voluntary_switches;
        self.forced_switches += other.forced_switches;
        self.threads.extend(other.threads);
        self
    }
}

/// The kernel's ticks a second in `/proc`, the same on every Linux of today.
const TICKS: f64 = 100.0;

/// The number after `key` in a `/proc/*/status` file.
fn field_kb(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// What a process used in an interval.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Usage {
    /// Length of the interval.
    pub seconds: f64,
    /// CPU time, also of threads that ended.
    pub cpu_seconds: f64,
    /// In user code, to 10 ms.
    pub user_seconds: f64,
    /// In the kernel, to 10 ms.
    pub system_seconds: f64,
    /// CPU time per second.
    pub cores: f64,
    /// Resident memory at the end.
    pub rss_bytes: u64,
    /// What it grew by.
    pub rss_growth_bytes: i64,
    /// Open descriptors at the end.
    pub descriptors: u64,
    /// Times that threads went to sleep by themselves.
    pub voluntary_switches: u64,
    /// Times that threads were put aside.
    pub forced_switches: u64,
    /// Thread by thread of those that lived at its end, the busiest first.
    pub threads: Vec<ThreadUsage>,
}

/// What one thread used.
#[derive(Clone, Debug, Serialize)]
pub struct ThreadUsage {
    /// Its name as the kernel knows it (15 bytes).
    pub name: String,
    /// CPU time.
    pub cpu_seconds: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_loop_shows_as_cpu_time_of_its_thread() {
        let before = Sample::of(std::process::id()).unwrap();
        let start = crate::sys::thread_cpu_ns();
        while crate::sys::thread_cpu_ns() - start < 60_000_000 {}
        let usage = Sample::of(std::process::id()).unwrap().since(&before);
        assert!(usage.cpu_seconds >= 0.03 && usage.seconds >= 0.03, "{usage:?}");
        assert!(usage.rss_bytes > 100_000 && usage.descriptors >= 3 && !usage.threads.is_empty());
    }

    fn burn() {
        let start = crate::sys::thread_cpu_ns();
        while crate::sys::thread_cpu_ns() - start < 60_000_000 {}
    }

    #[test]
    fn what_threads_used_that_ended_is_not_lost() {
        let before = Sample::of(std::process::id()).unwrap();
        std::thread::spawn(burn).join().unwrap();
        let usage = Sample::of(std::process::id()).unwrap().since(&before);
        assert!(usage.cpu_seconds >= 0.06, "{usage:?}");
    }

    #[test]
    fn what_children_used_that_ended_counts_where_children_do() {
        let me = [std::process::id()];
        let read = || [false, true].map(|children| sample_all(&me, children));
        let [alone, together] = read();
        let spin = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        std::process::Command::new("sh").args(["-c", spin]).status().unwrap();
        let after = read();
        let [alone, together] = [usage_of(&alone, &after[0]), usage_of(&together, &after[1])];
        let (alone, together) = (alone.unwrap(), together.unwrap());
        assert!(together.cpu_seconds > alone.cpu_seconds + 0.03, "{alone:?} {together:?}");
        assert!(together.cores > alone.cores);
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        assert!(Sample::of(u32::MAX).is_err());
    }
}
