//! The four transaction machines of RFC 3261 section 17 with the Accepted states of RFC 6026, and what the
//! transaction user repeats itself. Each is a few words of state in virtual time: it knows neither messages nor
//! addresses, only codes and what to do. [`crate::stack`] owns them.
pub mod invite_client; // 17.1.1
pub mod invite_server; // 17.2.1
pub mod client; // 17.1.2
pub mod server; // 17.2.2
pub mod repeat; // 2xx until its ACK, reliable 1xx until its PRACK

pub use client::Client;
pub use invite_client::InviteClient;
pub use invite_server::InviteServer;
pub use repeat::Repeat;
pub use server::Server;

use base::{Duration, Instant};

/// The three times from which all others follow (RFC 3261 section 17.1.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Estimate of a round trip: the first gap between repetitions. Default 500 ms.
    pub t1: Duration,
    /// The longest gap between repetitions of non-INVITE requests and of INVITE responses. Default 4 s.
    pub t2: Duration,
    /// How long a message may stay in the network. Default 5 s.
    pub t4: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Timers { t1: Duration::from_millis(500), t2: Duration::from_secs(4), t4: Duration::from_secs(5) }
    }
}

impl Timers {
    /// 64 * T1: how long to wait for an answer (timers B, F, H, J, L, M).
    pub fn give_up(&self) -> Duration {
        self.t1 * 64
    }

    /// How long repeated final responses to an INVITE are acknowledged (timer D: at least 32 s over UDP).
    fn d(&self) -> Duration {
        self.give_up().max(Duration::from_secs(32))
    }
}

/// What a machine wants when its time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send again what was sent last.
    Resend,
    /// Nobody answered: tell the user, then forget the transaction.
    TimedOut,
    /// All is done: forget the transaction.
    Ended,
}

/// What a client machine wants done with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Show it to the user.
    Show,
    /// Acknowledge it and show it to the user (a final response but 2xx to an INVITE).
    ShowAndAck,
    /// A repetition: acknowledge it again, show nothing.
    AckAgain,
    /// A repetition or too late: nothing to do.
    Absorb,
    /// A 2xx to an INVITE that has already failed elsewhere: no call of ours, but one at the sender.
    Unwanted,
}

/// What a server machine wants done with a repeated request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeated {
    /// Send the last response again.
    Resend,
    /// Nothing to do.
    Absorb,
}

/// A repetition whose gap doubles: the next time and the gap after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Backoff {
    at: Instant,
    gap: Duration,
}

impl Backoff {
    fn new(now: Instant, first: Duration) -> Self {
        Backoff { at: now + first, gap: first }
    }

    /// The next time, counted from when this one was due, but never in the past: after a long pause one
    /// repetition is enough.
    fn advance(&mut self, now: Instant, gap_max: Duration) {
        self.gap = (self.gap * 2).min(gap_max);
        self.at += self.gap;
        if self.at <= now {
            self.at = now + self.gap;
        }
    }
}

/// The earlier of a repetition and a deadline, with the deadline first where they coincide.
fn earlier(
    repeat: Option<(Instant, &'static str)>,
    deadline: (Instant, &'static str),
) -> Option<(Instant, &'static str)> {
    match repeat {
        Some(repeat) if repeat.0 < deadline.0 => Some(repeat),
        Some(_) | None => Some(deadline),
    }
}

/// Runs a machine on its own until it wants nothing more, as text: one line a wake-up.
#[cfg(test)]
fn run<M>(
    machine: &mut M,
    poll: impl Fn(&M) -> Option<(Instant, &'static str)>,
    mut fire: impl FnMut(&mut M, Instant) -> Option<Output>,
) -> String {
    use core::fmt::Write;
    let mut text = String::new();
    while let Some((at, reason)) = poll(machine) {
        assert_eq!(fire(machine, at - Duration::from_nanos(1)), None, "early calls do nothing");
        let output = fire(machine, at).expect("the machine asked for this time");
        writeln!(text, "{}ms {reason} {output:?}", at.0 / 1_000_000).expect("writing to a string");
        assert!(text.len() < 4000, "the machine never ends:\n{text}");
    }
    text
}
