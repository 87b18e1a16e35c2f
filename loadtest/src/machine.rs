//! The machine that a run ran on: how busy all of it was, what the generator took of that, network namespaces for the
//! parties, and a watch on its clock.

use std::io;
use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::sys;

/// Processor time of the whole machine so far, and this process's part of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Busy {
    at_ns: u64,
    /// In the kernel's ticks of 10 ms: all that was not idle, waiting for a disk, or stolen by the host.
    ticks: u64,
    own_ns: u64,
}

impl Busy {
    /// Reads it.
    ///
    /// # Errors
    /// There is no `/proc/stat`, or it is another one than Linux has.
    pub fn read() -> io::Result<Self> {
        let text = std::fs::read_to_string("/proc/stat")?;
        let ticks = busy_ticks(&text)
            .ok_or_else(|| io::Error::other("/proc/stat tells nothing of the processors"))?;
        Ok(Busy { at_ns: sys::mono_ns(), ticks, own_ns: sys::process_cpu_ns() })
    }

    /// What was used between an `earlier` reading and this one.
    pub fn since(&self, earlier: &Busy) -> Spent {
        Spent {
            seconds: self.at_ns.saturating_sub(earlier.at_ns) as f64 / 1e9,
            busy_seconds: self.ticks.saturating_sub(earlier.ticks) as f64 / 100.0,
            generator_seconds: self.own_ns.saturating_sub(earlier.own_ns) as f64 / 1e9,
        }
    }
}

/// The line of all processors (proc_stat(5)): user, nice, system, idle, iowait, irq, softirq, steal, and guests, which
/// are in user already.
fn busy_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Vec<u64> = line.split_whitespace().map(|n| n.parse().unwrap_or(0)).collect();
    let at = |place: usize| fields.get(place).copied().unwrap_or(0);
    (fields.len() >= 4).then(|| at(0) + at(1) + at(2) + at(5) + at(6))
}

/// Processor time in an interval.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Spent {
    /// Its length.
    pub seconds: f64,
    /// Of all processors together.
    pub busy_seconds: f64,
    /// By this process.
    pub generator_seconds: f64,
}

/// The second figure of a run: what the whole machine did, less the generator and less what it does when idle. It also
/// has the work that a process under test leaves to the kernel: interrupts, raw sends, XDP.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Machinery {
    /// The measured time.
    pub measured: Spent,
    /// A stretch just before the run in which nobody asked anything of the system under test.
    pub idle: Spent,
    /// What is left over for the system under test, seconds of one processor; below zero on a machine that is busy
    /// with other things.
    pub left_seconds: f64,
}

impl Machinery {
    /// From both stretches.
    pub fn new(measured: Spent, idle: Spent) -> Self {
        // The kernel counts in ticks of 10 ms: less than ten of them tell nothing.
        let rate = match idle.seconds {
            seconds if seconds > 0.1 => (idle.busy_seconds - idle.generator_seconds) / seconds,
            _ => 0.0,
        };
        let left_seconds = measured.busy_seconds - measured.generator_seconds - rate * measured.seconds;
        Machinery { measured, idle, left_seconds }
    }
}

/// Runs `work` in the network namespace that `ip netns add NAME` made: what it opens stays in there.
///
/// # Errors
/// There is none of this name, we may not enter it, or `work` failed.
pub fn in_namespace<T: Send>(
    name: Option<&str>,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    let Some(name) = name else { return work() };
    // A thread of its own: it is lost to the namespace for good.
    let inside = || {
        sys::enter_namespace(name)
            .map_err(|error| io::Error::new(error.kind(), format!("network namespace {name}: {error}")))?;
        work()
    };
    thread::scope(|scope| scope.spawn(inside).join())
        .unwrap_or_else(|_| Err(io::Error::other("the work panicked")))
}

/// The stretch before a run that tells what the machine does by itself.
///
/// # Errors
/// As [`Busy::read`].
pub fn idle(for_time: Duration) -> io::Result<Spent> {
    let before = Busy::read()?;
    thread::sleep(for_time);
    Ok(Busy::read()?.since(&before))
}

/// Latency compares the kernel's wall-clock stamps with ours: a clock that is set meanwhile makes it worthless.
#[derive(Debug)]
pub(crate) struct ClockWatch {
    offset: i128,
    was_set: bool,
}

impl ClockWatch {
    pub(crate) fn start() -> Self {
        ClockWatch { offset: Self::offset(), was_set: false }
    }

    pub(crate) fn check(&mut self) {
        let offset = Self::offset();
        // Slewing moves it by up to 0.5 ms a second, which four looks a second share.
        self.was_set |= (offset - self.offset).abs() > 1_000_000;
        self.offset = offset;
    }

    pub(crate) fn was_set(&self) -> bool {
        self.was_set
    }

    /// The closest of three readings: a thread may be put aside between the two clocks.
    fn offset() -> i128 {
        let read = |_| {
            let before = sys::mono_ns();
            let real = sys::real_ns();
            let after = sys::mono_ns();
            (after - before, i128::from(real) - i128::from(before))
        };
        (0..3).map(read).min().map_or(0, |closest| closest.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_time_is_all_but_idle_waiting_stolen_and_guests() {
        let stat = "cpu  10 20 30 4000 50 6 7 800 9 9\ncpu0 1 1 1 1\n";
        assert_eq!(busy_ticks(stat), Some(73));
        assert_eq!((busy_ticks("cpu x"), busy_ticks("")), (None, None));
    }

    #[test]
    fn the_generator_and_the_idle_machine_are_taken_off() {
        let measured = Spent { seconds: 10.0, busy_seconds: 8.0, generator_seconds: 3.0 };
        let idle = Spent { seconds: 1.0, busy_seconds: 0.3, generator_seconds: 0.1 };
        assert!((Machinery::new(measured, idle).left_seconds - 3.0).abs() < 1e-9);
    }

    #[test]
    fn our_own_work_shows_in_both_counts() {
        let before = Busy::read().unwrap();
        while Busy::read().unwrap().since(&before).generator_seconds < 0.1 {}
        let spent = Busy::read().unwrap().since(&before);
        assert!(spent.busy_seconds >= 0.05 && spent.seconds >= 0.09, "{spent:?}");
    }

    #[test]
    fn a_namespace_that_is_not_there_is_named() {
        let error = in_namespace(Some("strowger-no-such"), || Ok(())).unwrap_err();
        assert!(error.to_string().contains("strowger-no-such"), "{error}");
        assert!(in_namespace(Some("../net"), || Ok(())).is_err());
        assert_eq!(in_namespace(None, || Ok(5)).unwrap(), 5);
    }

    #[test]
    fn work_in_a_namespace_leaves_everybody_else_where_they_are() {
        let name = format!("strowger-test-{}", std::process::id());
        let ip = |word: &str| {
            let output = std::process::Command::new("ip").args(["netns", word, &name]).output();
            output.is_ok_and(|output| output.status.success())
        };
        if !ip("add") {
            return show("no network namespace can be made here (root, iproute2): not tested in one");
        }
        let place = || std::fs::read_link("/proc/thread-self/ns/net");
        let (outside, inside) = (place().unwrap(), in_namespace(Some(&name), place));
        let socket = in_namespace(Some(&name), || std::net::UdpSocket::bind("0.0.0.0:0"));
        assert!(ip("delete"));
        assert_ne!(inside.unwrap(), outside);
        assert_eq!(place().unwrap(), outside);
        // It lives as long as the socket does; nobody out here hears it.
        assert!(socket.unwrap().connect("192.0.2.1:9").is_err());
    }

    #[expect(clippy::print_stderr, reason = "a test says what it leaves out")]
    fn show(text: &str) {
        eprintln!("{text}");
    }
}
