//! What the transaction user repeats itself, over any transport, since the answer comes from the far end: a 2xx
//! until its ACK (RFC 3261 section 13.3.1.4), a reliable provisional response until its PRACK (RFC 3262 section 3).

use super::{Backoff, Output, Timers, earlier};
use base::{Duration, Instant};

/// When to repeat one response. The owner keeps the bytes, and drops this when the ACK or PRACK comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeat {
    resend: Backoff,
    gap_max: Duration,
    give_up_at: Instant,
}

impl Repeat {
    /// A 2xx to an INVITE has just been sent: T1 doubling up to T2, for 64 * T1. Without an ACK by then, the
    /// dialog is to be ended with BYE.
    pub fn until_ack(now: Instant, timers: &Timers) -> Self {
        Repeat {
            resend: Backoff::new(now, timers.t1),
            gap_max: timers.t2,
            give_up_at: now + timers.give_up(),
        }
    }

    /// A reliable provisional response has just been sent: T1 doubling without bound, for 64 * T1. Without a
    /// PRACK by then, the INVITE is to be refused with a 5xx.
    pub fn until_prack(now: Instant, timers: &Timers) -> Self {
        Repeat { gap_max: timers.give_up(), ..Repeat::until_ack(now, timers) }
    }

    /// Call at or after the time that `poll_timeout` gave; earlier calls do nothing. After `TimedOut` the owner
    /// drops it.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Output> {
        if self.give_up_at <= now {
            return Some(Output::TimedOut);
        }
        if self.resend.at > now {
            return None;
        }
        self.resend.advance(now, self.gap_max);
        Some(Output::Resend)
    }

    /// When to wake, and why.
    pub fn poll_timeout(&self) -> (Instant, &'static str) {
        let (resend, give_up) = ((self.resend.at, "repeat"), (self.give_up_at, "no_ack"));
        earlier(Some(resend), give_up).unwrap_or(give_up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(repeat: Repeat) -> String {
        super::super::run(
            &mut Some(repeat),
            |repeat| repeat.as_ref().map(Repeat::poll_timeout),
            |slot, now| {
                let output = slot.as_mut()?.handle_timeout(now);
                if output == Some(Output::TimedOut) {
                    *slot = None;
                }
                output
            },
        )
    }

    #[test]
    fn a_2xx_is_repeated_at_gaps_of_at_most_t2() {
        insta::assert_snapshot!(run(Repeat::until_ack(Instant(0), &Timers::default())), @"
        500ms repeat Resend
        1500ms repeat Resend
        3500ms repeat Resend
        7500ms repeat Resend
        11500ms repeat Resend
        15500ms repeat Resend
        19500ms repeat Resend
        23500ms repeat Resend
        27500ms repeat Resend
        31500ms repeat Resend
        32000ms no_ack TimedOut
        ");
    }

    #[test]
    fn a_reliable_provisional_response_is_repeated_at_doubling_gaps() {
        insta::assert_snapshot!(run(Repeat::until_prack(Instant(0), &Timers::default())), @"
        500ms repeat Resend
        1500ms repeat Resend
        3500ms repeat Resend
        7500ms repeat Resend
        15500ms repeat Resend
        31500ms repeat Resend
        32000ms no_ack TimedOut
        ");
    }
}
