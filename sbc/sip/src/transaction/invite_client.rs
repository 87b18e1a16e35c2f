//! INVITE client transaction: RFC 3261 section 17.1.1 with the Accepted state of RFC 6026 section 7.2, and the
//! end of a cancelled INVITE that nobody answers (RFC 3261 section 9.1).

use super::{Backoff, Heard, Output, Timers, earlier};
use base::Instant;

/// Repeats an INVITE until somebody answers, and acknowledges failures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InviteClient {
    state: State,
    reliable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Sent, nothing heard.
    Calling {
        resend: Option<Backoff>,
        give_up_at: Instant,
    },
    /// A provisional response has come; a deadline only after CANCEL.
    Proceeding {
        give_up_at: Option<Instant>,
    },
    /// A failure has come; repetitions are acknowledged.
    Completed {
        end_at: Instant,
    },
    /// A 2xx has come; its repetitions and those of other forks pass.
    Accepted {
        end_at: Instant,
    },
    Terminated,
}

impl InviteClient {
    /// The INVITE has just been sent.
    pub fn new(now: Instant, reliable: bool, timers: &Timers) -> Self {
        let resend = (!reliable).then(|| Backoff::new(now, timers.t1));
        InviteClient { state: State::Calling { resend, give_up_at: now + timers.give_up() }, reliable }
    }

    /// A response with this status code has come.
    pub fn handle_response(&mut self, now: Instant, code: u16, timers: &Timers) -> Heard {
        match (self.state, code) {
            (State::Calling { .. }, ..200) => {
                self.state = State::Proceeding { give_up_at: None };
                Heard::Show
            }
            (State::Proceeding { .. }, ..200) => Heard::Show,
            (State::Calling { .. } | State::Proceeding { .. }, 200..300) => {
                self.state = State::Accepted { end_at: now + timers.give_up() };
                Heard::Show
            }
            (State::Calling { .. } | State::Proceeding { .. }, 300..) => {
                // Timer D is zero where nothing is repeated.
                self.state = match self.reliable {
                    true => State::Terminated,
                    false => State::Completed { end_at: now + timers.d() },
                };
                Heard::ShowAndAck
            }
            (State::Completed { .. }, 300..) => Heard::AckAgain,
            (State::Completed { .. }, 200..300) => Heard::Unwanted,
            (State::Accepted { .. }, 200..300) => Heard::Show,
            (State::Completed { .. } | State::Accepted { .. } | State::Terminated, _) => Heard::Absorb,
        }
    }

    /// CANCEL has been sent: from now on the INVITE has 64 * T1 to be answered.
    pub fn handle_cancel_sent(&mut self, now: Instant, timers: &Timers) {
        if let State::Proceeding { give_up_at: give_up_at @ None } = &mut self.state {
            *give_up_at = Some(now + timers.give_up());
        }
    }

    /// The network says that the request did not arrive. `true`: it has failed, tell the user. Once somebody has
    /// answered, such news is old.
    pub fn handle_transport_error(&mut self) -> bool {
        let failed = self.is_calling();
        if failed {
            self.state = State::Terminated;
        }
        failed
    }

    /// Call at or after the time that `poll_timeout` gave; earlier calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant, timers: &Timers) -> Option<Output> {
        match &mut self.state {
            State::Calling { give_up_at, .. } | State::Proceeding { give_up_at: Some(give_up_at) }
                if *give_up_at <= now =>
            {
                self.state = State::Terminated;
                Some(Output::TimedOut)
            }
            State::Calling { resend: Some(resend), .. } if resend.at <= now => {
                // Timer A doubles without the bound of T2.
                resend.advance(now, timers.give_up());
                Some(Output::Resend)
            }
            State::Completed { end_at } | State::Accepted { end_at } if *end_at <= now => {
                self.state = State::Terminated;
                Some(Output::Ended)
            }
            State::Calling { .. }
            | State::Proceeding { .. }
            | State::Completed { .. }
            | State::Accepted { .. }
            | State::Terminated => None,
        }
    }

    /// When to wake, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        match self.state {
            State::Calling { resend, give_up_at } => {
                earlier(resend.map(|resend| (resend.at, "timer_a")), (give_up_at, "timer_b"))
            }
            State::Proceeding { give_up_at } => give_up_at.map(|at| (at, "cancelled")),
            State::Completed { end_at } => Some((end_at, "timer_d")),
            State::Accepted { end_at } => Some((end_at, "timer_m")),
            State::Terminated => None,
        }
    }

    /// Whether nothing has been heard yet: a CANCEL must wait.
    pub fn is_calling(&self) -> bool {
        matches!(self.state, State::Calling { .. })
    }

    /// Whether a provisional but no final response has come: a CANCEL may go.
    pub fn is_proceeding(&self) -> bool {
        matches!(self.state, State::Proceeding { .. })
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

    const T: Timers = Timers {
        t1: base::Duration::from_millis(500),
        t2: base::Duration::from_secs(4),
        t4: base::Duration::from_secs(5),
    };

    fn ms(ms: u64) -> Instant {
        Instant(ms * 1_000_000)
    }

    fn run(tx: &mut InviteClient) -> String {
        run_machine(tx, InviteClient::poll_timeout, |tx, now| tx.handle_timeout(now, &T))
    }

    #[test]
    fn invite_is_resent_at_doubling_gaps_then_given_up() {
        let mut tx = InviteClient::new(ms(0), false, &T);
        insta::assert_snapshot!(run(&mut tx), @"
        500ms timer_a Resend
        1500ms timer_a Resend
        3500ms timer_a Resend
        7500ms timer_a Resend
        15500ms timer_a Resend
        31500ms timer_a Resend
        32000ms timer_b TimedOut
        ");
        assert!(tx.is_terminated());
    }

    #[test]
    fn nothing_is_resent_over_a_stream() {
        let mut tx = InviteClient::new(ms(0), true, &T);
        insta::assert_snapshot!(run(&mut tx), @"32000ms timer_b TimedOut");
    }

    #[test]
    fn a_provisional_response_stops_repetition_for_as_long_as_it_rings() {
        let mut tx = InviteClient::new(ms(0), false, &T);
        assert_eq!(tx.handle_response(ms(100), 100, &T), Heard::Show);
        assert_eq!(tx.handle_response(ms(200), 180, &T), Heard::Show);
        assert!(tx.is_proceeding());
        assert_eq!(tx.poll_timeout(), None);
    }

    #[test]
    fn a_cancelled_invite_has_64_t1_to_be_answered() {
        let mut tx = InviteClient::new(ms(0), false, &T);
        tx.handle_cancel_sent(ms(50), &T); // too early: changes nothing
        tx.handle_response(ms(100), 180, &T);
        tx.handle_cancel_sent(ms(1000), &T);
        tx.handle_cancel_sent(ms(2000), &T); // asked twice: the first counts
        assert_eq!(tx.handle_response(ms(3000), 183, &T), Heard::Show);
        insta::assert_snapshot!(run(&mut tx), @"33000ms cancelled TimedOut");
    }

    #[test]
    fn every_2xx_passes_while_accepted() {
        let mut tx = InviteClient::new(ms(0), false, &T);
        assert_eq!(tx.handle_response(ms(100), 200, &T), Heard::Show);
        assert_eq!(tx.handle_response(ms(600), 200, &T), Heard::Show);
        assert_eq!(tx.handle_response(ms(700), 202, &T), Heard::Show);
        assert_eq!(tx.handle_response(ms(800), 183, &T), Heard::Absorb);
        assert_eq!(tx.handle_response(ms(900), 486, &T), Heard::Absorb);
        insta::assert_snapshot!(run(&mut tx), @"32100ms timer_m Ended");
        assert_eq!(tx.handle_response(ms(40_000), 200, &T), Heard::Absorb);
    }

    #[test]
    fn a_repeated_failure_is_acknowledged_again_but_shown_once() {
        let mut tx = InviteClient::new(ms(0), false, &T);
        tx.handle_response(ms(50), 180, &T);
        assert_eq!(tx.handle_response(ms(100), 486, &T), Heard::ShowAndAck);
        assert_eq!(tx.handle_response(ms(600), 486, &T), Heard::AckAgain);
        assert_eq!(tx.handle_response(ms(600), 180, &T), Heard::Absorb);
        assert_eq!(tx.handle_response(ms(700), 200, &T), Heard::Unwanted);
        insta::assert_snapshot!(run(&mut tx), @"32100ms timer_d Ended");
    }

    #[test]
    fn a_failure_over_a_stream_ends_at_once() {
        let mut tx = InviteClient::new(ms(0), true, &T);
        assert_eq!(tx.handle_response(ms(100), 404, &T), Heard::ShowAndAck);
        assert!(tx.is_terminated());
    }

    #[test]
    fn a_transport_error_counts_only_before_the_first_response() {
        let mut tx = InviteClient::new(ms(0), false, &T);
        assert!(tx.handle_transport_error() && tx.is_terminated());
        assert!(!tx.handle_transport_error());
        let mut tx = InviteClient::new(ms(0), false, &T);
        tx.handle_response(ms(1), 100, &T);
        assert!(!tx.handle_transport_error() && tx.is_proceeding());
    }
}
