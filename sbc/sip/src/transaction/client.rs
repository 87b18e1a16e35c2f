//! Non-INVITE client transaction (RFC 3261 section 17.1.2).

use super::{Backoff, Heard, Output, Timers, earlier};
use base::Instant;

/// Repeats a request until its final response comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    state: State,
    reliable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Sent, nothing heard.
    Trying {
        resend: Option<Backoff>,
        give_up_at: Instant,
    },
    /// A provisional response has come: repeated at T2, since the final one may still be lost.
    Proceeding {
        resend: Option<Backoff>,
        give_up_at: Instant,
    },
    /// Answered; repetitions are absorbed.
    Completed {
        end_at: Instant,
    },
    Terminated,
}

impl Client {
    /// The request has just been sent.
    pub fn new(now: Instant, reliable: bool, timers: &Timers) -> Self {
        let resend = (!reliable).then(|| Backoff::new(now, timers.t1));
        Client { state: State::Trying { resend, give_up_at: now + timers.give_up() }, reliable }
    }

    /// A response with this status code has come.
    pub fn handle_response(&mut self, now: Instant, code: u16, timers: &Timers) -> Heard {
        match (self.state, code) {
            (State::Trying { resend, give_up_at }, ..200) => {
                // The running timer E ends as it was set; its next gaps are T2.
                let resend = resend.map(|resend| Backoff { gap: timers.t2, ..resend });
                self.state = State::Proceeding { resend, give_up_at };
                Heard::Show
            }
            (State::Proceeding { .. }, ..200) => Heard::Show,
            (State::Trying { .. } | State::Proceeding { .. }, 200..) => {
                self.state = match self.reliable {
                    true => State::Terminated,
                    false => State::Completed { end_at: now + timers.t4 },
                };
                Heard::Show
            }
            (State::Completed { .. } | State::Terminated, _) => Heard::Absorb,
        }
    }

    /// The network says that the request did not arrive. `true`: it has failed, tell the user.
    pub fn handle_transport_error(&mut self) -> bool {
        let failed = self.is_trying();
        if failed {
            self.state = State::Terminated;
        }
        failed
    }

    /// Call at or after the time that `poll_timeout` gave; earlier calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant, timers: &Timers) -> Option<Output> {
        match &mut self.state {
            State::Trying { give_up_at, .. } | State::Proceeding { give_up_at, .. } if *give_up_at <= now => {
                self.state = State::Terminated;
                Some(Output::TimedOut)
            }
            State::Trying { resend: Some(resend), .. } | State::Proceeding { resend: Some(resend), .. }
                if resend.at <= now =>
            {
                resend.advance(now, timers.t2);
                Some(Output::Resend)
            }
            State::Completed { end_at } if *end_at <= now => {
                self.state = State::Terminated;
                Some(Output::Ended)
            }
            State::Trying { .. } | State::Proceeding { .. } | State::Completed { .. } | State::Terminated => {
                None
            }
        }
    }

    /// When to wake, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        match self.state {
            State::Trying { resend, give_up_at } | State::Proceeding { resend, give_up_at } => {
                earlier(resend.map(|resend| (resend.at, "timer_e")), (give_up_at, "timer_f"))
            }
            State::Completed { end_at } => Some((end_at, "timer_k")),
            State::Terminated => None,
        }
    }

    /// Whether nothing has been heard yet.
    pub fn is_trying(&self) -> bool {
        matches!(self.state, State::Trying { .. })
    }

    /// Whether it can be forgotten.
    pub fn is_terminated(&self) -> bool {
        self.state == State::Terminated
    }
}

#[cfg(test)]
mod tests {
    use super::super::run as run_machine;
    use super::*;

    fn ms(ms: u64) -> Instant {
        Instant(ms * 1_000_000)
    }

    fn run(tx: &mut Client) -> String {
        run_machine(tx, Client::poll_timeout, |tx, now| tx.handle_timeout(now, &Timers::default()))
    }

    fn new(reliable: bool) -> Client {
        Client::new(ms(0), reliable, &Timers::default())
    }

    fn heard(tx: &mut Client, at: u64, code: u16) -> Heard {
        tx.handle_response(ms(at), code, &Timers::default())
    }

    #[test]
    fn a_request_is_resent_at_gaps_of_at_most_t2_then_given_up() {
        insta::assert_snapshot!(run(&mut new(false)), @"
        500ms timer_e Resend
        1500ms timer_e Resend
        3500ms timer_e Resend
        7500ms timer_e Resend
        11500ms timer_e Resend
        15500ms timer_e Resend
        19500ms timer_e Resend
        23500ms timer_e Resend
        27500ms timer_e Resend
        31500ms timer_e Resend
        32000ms timer_f TimedOut
        ");
        insta::assert_snapshot!(run(&mut new(true)), @"32000ms timer_f TimedOut");
    }

    #[test]
    fn a_provisional_response_slows_repetition_to_t2() {
        let mut tx = new(false);
        assert_eq!(heard(&mut tx, 100, 100), Heard::Show);
        assert_eq!(heard(&mut tx, 200, 183), Heard::Show);
        insta::assert_snapshot!(run(&mut tx), @"
        500ms timer_e Resend
        4500ms timer_e Resend
        8500ms timer_e Resend
        12500ms timer_e Resend
        16500ms timer_e Resend
        20500ms timer_e Resend
        24500ms timer_e Resend
        28500ms timer_e Resend
        32000ms timer_f TimedOut
        ");
    }

    #[test]
    fn the_final_response_is_shown_once() {
        let mut tx = new(false);
        assert_eq!(heard(&mut tx, 100, 200), Heard::Show);
        assert_eq!(heard(&mut tx, 200, 200), Heard::Absorb);
        assert_eq!(heard(&mut tx, 300, 100), Heard::Absorb);
        insta::assert_snapshot!(run(&mut tx), @"5100ms timer_k Ended");
        assert_eq!(heard(&mut tx, 9000, 200), Heard::Absorb);
        let mut tx = new(false);
        heard(&mut tx, 100, 100);
        assert_eq!(heard(&mut tx, 200, 404), Heard::Show);
        insta::assert_snapshot!(run(&mut tx), @"5200ms timer_k Ended");
    }

    #[test]
    fn the_final_response_over_a_stream_ends_at_once() {
        let mut tx = new(true);
        assert_eq!(heard(&mut tx, 100, 200), Heard::Show);
        assert!(tx.is_terminated());
    }

    #[test]
    fn a_transport_error_counts_only_before_the_first_response() {
        let mut tx = new(false);
        assert!(tx.handle_transport_error() && tx.is_terminated());
        let mut tx = new(false);
        heard(&mut tx, 1, 100);
        assert!(!tx.handle_transport_error() && !tx.is_terminated());
    }

    #[test]
    fn after_a_long_pause_one_repetition_is_enough() {
        let (mut tx, timers) = (new(false), Timers::default());
        assert_eq!(tx.handle_timeout(ms(10_000), &timers), Some(Output::Resend));
        assert_eq!(tx.handle_timeout(ms(10_000), &timers), None);
        assert_eq!(tx.poll_timeout(), Some((ms(11_000), "timer_e")));
    }
}
