//! Non-INVITE server transaction (RFC 3261 section 17.2.2). One that the user leaves unanswered ends after 64 * T1:
//! the client has given up by then, and a later answer would only do harm (RFC 4320 section 4.2).

use super::{Output, Repeated, Timers};
use base::Instant;

/// Answers one request, again where it is repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    state: State,
    reliable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing answered.
    Trying {
        give_up_at: Instant,
    },
    /// A provisional response was sent.
    Proceeding {
        give_up_at: Instant,
    },
    /// The final response was sent.
    Completed {
        end_at: Instant,
    },
    Terminated,
}

impl Server {
    /// A new request has come.
    pub fn new(now: Instant, reliable: bool, timers: &Timers) -> Self {
        Server { state: State::Trying { give_up_at: now + timers.give_up() }, reliable }
    }

    /// The user answers. `true`: send it and keep it for repetition. `false`: it was answered before.
    #[must_use]
    pub fn respond(&mut self, now: Instant, code: u16, timers: &Timers) -> bool {
        match (self.state, code) {
            (State::Trying { give_up_at } | State::Proceeding { give_up_at }, ..200) => {
                self.state = State::Proceeding { give_up_at };
                true
            }
            (State::Trying { .. } | State::Proceeding { .. }, 200..) => {
                // Timer J is zero where nothing is repeated.
                self.state = match self.reliable {
                    true => State::Terminated,
                    false => State::Completed { end_at: now + timers.give_up() },
                };
                true
            }
            (State::Completed { .. } | State::Terminated, _) => false,
        }
    }

    /// The request has come again.
    pub fn handle_repeated(&self) -> Repeated {
        match self.state {
            State::Proceeding { .. } | State::Completed { .. } => Repeated::Resend,
            State::Trying { .. } | State::Terminated => Repeated::Absorb,
        }
    }

    /// Call at or after the time that `poll_timeout` gave; earlier calls do nothing. `TimedOut`: the user never
    /// answered.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Output> {
        let output = match self.state {
            State::Trying { give_up_at } | State::Proceeding { give_up_at } if give_up_at <= now => {
                Output::TimedOut
            }
            State::Completed { end_at } if end_at <= now => Output::Ended,
            State::Trying { .. } | State::Proceeding { .. } | State::Completed { .. } | State::Terminated => {
                return None;
            }
        };
        self.state = State::Terminated;
        Some(output)
    }

    /// When to wake, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        match self.state {
            State::Trying { give_up_at } | State::Proceeding { give_up_at } => {
                Some((give_up_at, "unanswered"))
            }
            State::Completed { end_at } => Some((end_at, "timer_j")),
            State::Terminated => None,
        }
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

    fn new(reliable: bool) -> Server {
        Server::new(ms(0), reliable, &Timers::default())
    }

    fn run(tx: &mut Server) -> String {
        run_machine(tx, Server::poll_timeout, |tx, now| tx.handle_timeout(now))
    }

    fn respond(tx: &mut Server, at: u64, code: u16) -> bool {
        tx.respond(ms(at), code, &Timers::default())
    }

    #[test]
    fn a_repeated_request_gets_the_last_response() {
        let mut tx = new(false);
        assert_eq!(tx.handle_repeated(), Repeated::Absorb);
        assert!(respond(&mut tx, 100, 100));
        assert_eq!(tx.handle_repeated(), Repeated::Resend);
        assert!(respond(&mut tx, 200, 183) && respond(&mut tx, 300, 200));
        assert_eq!(tx.handle_repeated(), Repeated::Resend);
        assert!(!respond(&mut tx, 400, 500) && !respond(&mut tx, 400, 100), "one final response");
        insta::assert_snapshot!(run(&mut tx), @"32300ms timer_j Ended");
        assert_eq!(tx.handle_repeated(), Repeated::Absorb);
    }

    #[test]
    fn a_final_response_over_a_stream_ends_at_once() {
        let mut tx = new(true);
        assert!(respond(&mut tx, 0, 200) && tx.is_terminated());
    }

    #[test]
    fn what_the_user_never_answers_ends() {
        insta::assert_snapshot!(run(&mut new(false)), @"32000ms unanswered TimedOut");
        let mut tx = new(true);
        assert!(respond(&mut tx, 9_000, 100));
        insta::assert_snapshot!(run(&mut tx), @"32000ms unanswered TimedOut");
        assert!(!respond(&mut tx, 33_000, 200));
    }
}
