//! INVITE server transaction: RFC 3261 section 17.2.1 with the Accepted state of RFC 6026 section 7.1. The 2xx is
//! repeated by the transaction user ([`super::Repeat`]), since only an ACK of the dialog ends it.

use super::{Backoff, Output, Repeated, Timers, earlier};
use base::Instant;

/// Answers one INVITE and makes sure that a failure is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InviteServer {
    state: State,
    reliable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No final response yet; no timer, the user decides how long it may ring.
    Proceeding,
    /// A failure was sent and is repeated until its ACK comes.
    Completed {
        resend: Option<Backoff>,
        give_up_at: Instant,
    },
    /// The ACK has come; its repetitions are absorbed.
    Confirmed {
        end_at: Instant,
    },
    /// A 2xx was sent; repeated INVITEs are absorbed, ACKs pass.
    Accepted {
        end_at: Instant,
    },
    Terminated,
}

/// What is to be done with an ACK that matches the INVITE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acked {
    /// It was for the failure, or it has no meaning.
    Absorb,
    /// It is for the 2xx: it belongs to the dialog. Correct peers give it a branch of its own.
    Show,
}

impl InviteServer {
    /// A new INVITE has come. The user says 100 at once or answers within 200 ms.
    pub fn new(reliable: bool) -> Self {
        InviteServer { state: State::Proceeding, reliable }
    }

    /// The user answers. `true`: send it and keep it for repetition. `false`: it is too late for this code.
    #[must_use]
    pub fn respond(&mut self, now: Instant, code: u16, timers: &Timers) -> bool {
        match (self.state, code) {
            (State::Proceeding, ..200) => true,
            (State::Proceeding, 200..300) => {
                self.state = State::Accepted { end_at: now + timers.give_up() };
                true
            }
            (State::Proceeding, 300..) => {
                let resend = (!self.reliable).then(|| Backoff::new(now, timers.t1));
                self.state = State::Completed { resend, give_up_at: now + timers.give_up() };
                true
            }
            (State::Accepted { .. }, 200..300) => true,
            (
                State::Completed { .. }
                | State::Confirmed { .. }
                | State::Accepted { .. }
                | State::Terminated,
                _,
            ) => false,
        }
    }

    /// The INVITE has come again.
    pub fn handle_repeated(&self) -> Repeated {
        match self.state {
            State::Proceeding | State::Completed { .. } => Repeated::Resend,
            State::Confirmed { .. } | State::Accepted { .. } | State::Terminated => Repeated::Absorb,
        }
    }

    /// An ACK with the INVITE's branch has come.
    pub fn handle_ack(&mut self, now: Instant, timers: &Timers) -> Acked {
        match self.state {
            State::Completed { .. } => {
                // Timer I is zero where nothing is repeated.
                self.state = match self.reliable {
                    true => State::Terminated,
                    false => State::Confirmed { end_at: now + timers.t4 },
                };
                Acked::Absorb
            }
            State::Accepted { .. } => Acked::Show,
            State::Proceeding | State::Confirmed { .. } | State::Terminated => Acked::Absorb,
        }
    }

    /// Call at or after the time that `poll_timeout` gave; earlier calls do nothing. `TimedOut`: no ACK came.
    pub fn handle_timeout(&mut self, now: Instant, timers: &Timers) -> Option<Output> {
        match &mut self.state {
            State::Completed { give_up_at, .. } if *give_up_at <= now => {
                self.state = State::Terminated;
                Some(Output::TimedOut)
            }
            State::Completed { resend: Some(resend), .. } if resend.at <= now => {
                resend.advance(now, timers.t2);
                Some(Output::Resend)
            }
            State::Confirmed { end_at } | State::Accepted { end_at } if *end_at <= now => {
                self.state = State::Terminated;
                Some(Output::Ended)
            }
            State::Proceeding
            | State::Completed { .. }
            | State::Confirmed { .. }
            | State::Accepted { .. }
            | State::Terminated => None,
        }
    }

    /// When to wake, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        match self.state {
            State::Completed { resend, give_up_at } => {
                earlier(resend.map(|resend| (resend.at, "timer_g")), (give_up_at, "timer_h"))
            }
            State::Confirmed { end_at } => Some((end_at, "timer_i")),
            State::Accepted { end_at } => Some((end_at, "timer_l")),
            State::Proceeding | State::Terminated => None,
        }
    }

    /// Whether no final response was sent: a CANCEL still has a meaning.
    pub fn is_proceeding(&self) -> bool {
        self.state == State::Proceeding
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

    fn run(tx: &mut InviteServer) -> String {
        run_machine(tx, InviteServer::poll_timeout, |tx, now| tx.handle_timeout(now, &Timers::default()))
    }

    fn respond(tx: &mut InviteServer, at: u64, code: u16) -> bool {
        tx.respond(ms(at), code, &Timers::default())
    }

    fn ack(tx: &mut InviteServer, at: u64) -> Acked {
        tx.handle_ack(ms(at), &Timers::default())
    }

    #[test]
    fn a_failure_is_resent_until_given_up() {
        let mut tx = InviteServer::new(false);
        assert_eq!(tx.poll_timeout(), None);
        assert!(respond(&mut tx, 0, 100) && respond(&mut tx, 0, 180) && respond(&mut tx, 0, 486));
        insta::assert_snapshot!(run(&mut tx), @"
        500ms timer_g Resend
        1500ms timer_g Resend
        3500ms timer_g Resend
        7500ms timer_g Resend
        11500ms timer_g Resend
        15500ms timer_g Resend
        19500ms timer_g Resend
        23500ms timer_g Resend
        27500ms timer_g Resend
        31500ms timer_g Resend
        32000ms timer_h TimedOut
        ");
    }

    #[test]
    fn a_failure_over_a_stream_is_sent_once_but_its_ack_awaited() {
        let mut tx = InviteServer::new(true);
        assert!(respond(&mut tx, 0, 486));
        insta::assert_snapshot!(run(&mut tx), @"32000ms timer_h TimedOut");
    }

    #[test]
    fn the_ack_ends_repetition_and_its_own_repetitions_are_absorbed() {
        let mut tx = InviteServer::new(false);
        assert!(respond(&mut tx, 0, 487));
        assert_eq!(ack(&mut tx, 100), Acked::Absorb);
        assert_eq!(tx.handle_repeated(), Repeated::Absorb);
        assert_eq!(ack(&mut tx, 200), Acked::Absorb);
        insta::assert_snapshot!(run(&mut tx), @"5100ms timer_i Ended");
        assert_eq!(ack(&mut tx, 6000), Acked::Absorb);

        let mut tx = InviteServer::new(true);
        assert!(respond(&mut tx, 0, 487));
        assert_eq!(ack(&mut tx, 100), Acked::Absorb);
        assert!(tx.is_terminated());
    }

    #[test]
    fn while_accepted_invites_are_absorbed_and_acks_pass() {
        let mut tx = InviteServer::new(false);
        assert!(respond(&mut tx, 0, 200) && respond(&mut tx, 500, 200), "the user repeats the 2xx");
        assert!(!respond(&mut tx, 600, 486) && !respond(&mut tx, 600, 180));
        assert_eq!(tx.handle_repeated(), Repeated::Absorb);
        assert_eq!(ack(&mut tx, 700), Acked::Show);
        insta::assert_snapshot!(run(&mut tx), @"32000ms timer_l Ended");
        assert!(!respond(&mut tx, 33_000, 200));
    }

    #[test]
    fn a_repeated_invite_gets_the_last_response() {
        let mut tx = InviteServer::new(false);
        assert_eq!(tx.handle_repeated(), Repeated::Resend);
        assert_eq!(ack(&mut tx, 0), Acked::Absorb, "an ACK before any final response has no meaning");
        assert!(tx.is_proceeding() && respond(&mut tx, 0, 404) && !tx.is_proceeding());
        assert_eq!(tx.handle_repeated(), Repeated::Resend);
        assert!(!respond(&mut tx, 1, 200) && !respond(&mut tx, 1, 404), "one final response");
    }
}
