//! The calling parties: INVITEs at times that nothing pushes back, what the scenario wants of each call, BYE
//! (RFC 3261 sections 13, 15 and 17.1). One machine for all calls, in virtual time; it opens no socket.
mod setup; // from the INVITE to the answer: challenges, refusals, CANCEL
mod course; // what happens within a call: holds, digits, transfers, the end
mod register; // the account that calls are made with
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use base::Rng;
use serde::Serialize;
use sip::frame::Framing;
use sip::message::write::Writer;
use sip::message::{Message, Method};

use crate::dialog::{AFTERLIFE, Dialog, Output, Resend};
use crate::digest::{Account, Challenge};
use crate::figures::Times;
use crate::profile::{Arrivals, Gaps, Profile};
use crate::scenario::{Act, Course, Request, Scenario};
use crate::session::{Description, Direction, Remote};
use crate::speech::Codec;
use register::Registration;

/// How calls are placed.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where INVITEs go.
    pub target: SocketAddr,
    /// Our own address: Via, Contact, From.
    pub local: SocketAddr,
    /// Where each media socket receives; one call uses one at a time, two while it moves. Empty: calls without media.
    pub media: Vec<SocketAddr>,
    /// What is offered.
    pub codec: Codec,
    /// Calls that may live at the same time; arrivals beyond are not placed, but counted.
    pub calls_max: usize,
    /// When calls arrive.
    pub profile: Profile,
    /// The gaps between them.
    pub gaps: Gaps,
    /// How many calls to place at most.
    pub total: u32,
    /// How long calls talk whose scenario does not say it, nanoseconds.
    pub talk_ns: u64,
    /// From the end of talking to BYE, so that what is under way arrives, nanoseconds.
    pub settle_ns: u64,
    /// How long it may ring before CANCEL, nanoseconds.
    pub ring_max_ns: u64,
    /// What happens in calls.
    pub scenario: Arc<Scenario>,
    /// The course of each call follows from it; the answering side knows it too.
    pub seed: u64,
    /// A step that the other side refuses is a call that failed; else it is only counted.
    pub strict: bool,
    /// With whose name calls are made, and what challenges are answered with.
    pub account: Option<Account>,
    /// It is registered before the first call, and no longer after the last.
    pub register: bool,
}

/// What became of the calls.
#[derive(Debug, Default)]
pub struct Tally {
    /// INVITEs sent, each call once.
    pub placed: u64,
    /// Arrivals for which there was no room: the calls of before live longer than planned.
    pub unplaced: u64,
    /// Calls that went as their scenario says: answered and ended with BYE and its 200, or cancelled, or refused.
    pub completed: u64,
    /// Calls that were answered.
    pub answered: u64,
    /// Calls in which the caller spoke.
    pub talked: u64,
    /// Calls that did not complete, by reason: a status, `timeout`, `no-answer`, `no-media`, `bye-…`, `hung-up`, a step.
    pub failures: BTreeMap<String, u64>,
    /// By kind of call.
    pub kinds: BTreeMap<String, KindTally>,
    /// By step within calls.
    pub steps: BTreeMap<&'static str, StepTally>,
    /// INVITEs that were challenged and sent again with credentials.
    pub challenged: u64,
    /// How registering went: `None` if it was not wanted or is not over.
    pub registered: Option<Result<(), String>>,
    /// Datagrams that were sent again.
    pub resent: u64,
    /// Datagrams that belong to no call, or cannot be read.
    pub strays: u64,
    /// First INVITE sent to its 200 received.
    pub setup: Times,
    /// First INVITE sent to the first 180 or 183 received.
    pub ringing: Times,
    /// BYE sent to its 200 received.
    pub bye: Times,
    /// CANCEL sent to the end of the INVITE.
    pub cancel: Times,
    /// Intended to actual time of an INVITE: the generator's own fault.
    pub lateness: Times,
}

/// Calls of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KindTally {
    /// Begun.
    pub placed: u64,
    /// Ended as they should.
    pub completed: u64,
    /// Did not.
    pub failed: u64,
}

/// What became of one kind of step.
#[derive(Debug, Default)]
pub struct StepTally {
    /// Begun.
    pub sent: u64,
    /// Accepted, for a transfer also reported as done.
    pub done: u64,
    /// Refused, by status; `timeout`, or `no-notify` for a transfer of which nothing was heard any more.
    pub refused: BTreeMap<String, u64>,
    /// Request sent to its final response.
    pub time: Times,
}

impl Tally {
    /// Calls that did not complete.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }
}

/// The calling parties.
#[derive(Debug)]
pub struct Uac {
    plan: Plan,
    rng: Rng,
    /// Distinguishes this run from others in Call-IDs and branches.
    run: String,
    registration: Registration,
    calls: BTreeMap<u32, Call>,
    /// Calls that are not over.
    active: usize,
    wakes: BinaryHeap<Reverse<(u64, u32)>>,
    /// Media sockets that no call uses.
    free: VecDeque<usize>,
    next_call: u32,
    /// No more calls are placed, and those that ring are cancelled.
    winding_up: bool,
    start: u64,
    arrivals: Arrivals,
    next_arrival: Option<u64>,
    outputs: VecDeque<Output>,
    tally: Tally,
}

#[derive(Debug)]
struct Call {
    number: u32,
    state: State,
    call_id: String,
    from: String,
    /// Request-URI of the INVITE.
    uri: String,
    /// CSeq number of the last request, and of the first INVITE with its last try.
    cseq: u32,
    invite_cseq: u32,
    invite_at: u64,
    bye_at: u64,
    /// Set by the first 180 or 183.
    rang: bool,
    /// What is still to come.
    course: Course,
    socket: Option<usize>,
    /// Where a call that moves will receive.
    new_socket: Option<usize>,
    codec: Codec,
    direction: Direction,
    version: u32,
    /// Where the other side wants audio.
    remote: Option<Remote>,
    dialog: Option<Dialog>,
    challenged: bool,
    /// Why the call has failed although its BYE is still under way.
    failure: Option<String>,
    /// ACKs to the last 2xx, by CSeq number, for when that comes again.
    ack: (u32, Vec<u8>),
    wake_at: u64,
}

#[derive(Debug)]
enum State {
    /// INVITE sent, nothing heard.
    Calling(Resend),
    /// A provisional response came.
    Proceeding { invite: Vec<u8>, give_up_at: u64 },
    /// CANCEL sent.
    Cancelling { invite: Vec<u8>, cancel: Resend, since: u64 },
    /// Answered; the next act comes at `until`.
    Waiting { until: u64 },
    /// A request within the call was sent.
    Asking(Ask),
    /// The transfer was accepted; news of it are awaited.
    Referred { until: u64 },
    /// The callee is to hang up.
    AwaitingBye { until: u64 },
    /// Silence; BYE goes at `until`.
    Settling { until: u64 },
    /// BYE sent.
    Ending(Resend),
    /// Over; late messages are answered until `until`. The ACK to a refusal is kept for when that comes again.
    Over { until: u64, ack: Option<Vec<u8>> },
}

/// A request within a call that has no final response yet.
#[derive(Debug)]
struct Ask {
    what: Request,
    request: Resend,
    cseq: u32,
    since: u64,
    /// How often it was put off by a 491 (RFC 3261 section 14.1).
    put_off: u8,
    /// To be sent (again) at the time of `request`, since the other side was busy with an offer of its own.
    resting: bool,
}

/// When something happened to which call.
#[derive(Clone, Copy)]
struct Moment {
    now: u64,
    arrived: u64,
}

impl Uac {
    /// The first call is due at `now`, or once the account is registered.
    pub fn new(plan: Plan, now: u64, mut rng: Rng) -> Self {
        let mut run = Vec::new();
        rng.token(8, &mut run);
        // Not from the seed: a system under test still knows the calls of the run before for half a minute, and what
        // comes again under their names it rightly takes for repetitions (RFC 3261 section 17.2).
        run.extend_from_slice(format!("{:x}", crate::sys::real_ns() / 1_000_000).as_bytes());
        let run = String::from_utf8(run).expect("tokens are ASCII");
        let arrivals = plan.profile.arrivals(plan.gaps, rng.fork());
        let mut uac = Uac {
            run,
            registration: Registration::default(),
            rng,
            calls: BTreeMap::new(),
            active: 0,
            wakes: BinaryHeap::new(),
            free: (0..plan.media.len()).collect(),
            next_call: 0,
            winding_up: false,
            start: now,
            arrivals,
            next_arrival: None,
            outputs: VecDeque::new(),
            tally: Tally::default(),
            plan,
        };
        if uac.plan.register && uac.plan.account.is_some() {
            uac.register(now);
        } else {
            uac.begin(now);
        }
        uac
    }

    /// Calls come from now on.
    fn begin(&mut self, now: u64) {
        self.start = now;
        self.next_arrival = if self.winding_up { None } else { self.arrival() };
    }

    fn arrival(&mut self) -> Option<u64> {
        let attempts = self.tally.placed + self.tally.unplaced;
        let due = self.arrivals.next().filter(|_| attempts < u64::from(self.plan.total));
        due.map(|ns| self.start.saturating_add(ns))
    }

    /// Whether all calls were placed and are over, and nothing is registered any more.
    pub fn is_done(&self) -> bool {
        self.has_placed_all() && self.registration.is_idle()
    }

    fn has_placed_all(&self) -> bool {
        self.next_arrival.is_none() && self.active == 0
    }

    /// Calls that are not over.
    pub fn active(&self) -> usize {
        self.active
    }

    /// What became of the calls so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The final count.
    pub fn into_tally(self) -> Tally {
        self.tally
    }

    /// Places no more calls and lets the present ones end at once: those that ring are cancelled, which then is as
    /// it should be.
    pub fn wind_up(&mut self, now: u64) {
        self.winding_up = true;
        self.next_arrival = None;
        let numbers: Vec<u32> = self.calls.keys().copied().collect();
        for number in numbers {
            self.with_call(number, |uac, call| {
                call.course.acts.clear();
                match call.state {
                    State::Waiting { .. } | State::Referred { .. } | State::AwaitingBye { .. } => {
                        uac.settle(call, now);
                    }
                    State::Proceeding { .. } => {
                        call.course.cancel_after = Some(0);
                        uac.cancel(call, now);
                    }
                    _ => (),
                }
            });
        }
        self.unregister_when_done(now);
    }

    /// What is to be done next, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Uac::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<u64> {
        let wake = self.wakes.peek().map(|wake| wake.0.0);
        [wake, self.next_arrival, self.registration.due()].into_iter().flatten().min()
    }

    /// Does one thing that is due: places a call or handles a timer. Call again while `poll_timeout` is due.
    pub fn handle_timeout(&mut self, now: u64) {
        if let Some(at) = self.next_arrival.filter(|&at| at <= now) {
            self.arrive(at, now);
        } else if self.registration.due().is_some_and(|at| at <= now) {
            self.on_registration_timer(now);
        } else if let Some(Reverse((_, number))) = self.wakes.peek().copied().filter(|wake| wake.0.0 <= now) {
            self.wakes.pop();
            // A timer that was moved has left its old entry behind.
            if self.calls.get(&number).is_some_and(|call| call.wake_at <= now) {
                self.wake(number, now);
            }
        }
        self.unregister_when_done(now);
    }

    /// A datagram that came from `source`; the kernel took it in at `arrived`.
    pub fn handle_datagram(&mut self, now: u64, arrived: u64, source: SocketAddr, bytes: &[u8]) {
        let Ok(message) = Message::parse(bytes, Framing::Datagram) else {
            self.tally.strays += 1;
            return;
        };
        let number = call_of(message.call_id(), &self.run);
        let number = number.filter(|number| self.calls.contains_key(number));
        match (message.status(), number) {
            (Some(status), Some(number)) => {
                self.with_call(number, |uac, call| {
                    let moment = Moment { now, arrived };
                    match message.method() {
                        Method::Invite if message.cseq().number <= call.invite_cseq => {
                            uac.on_invite_response(call, moment, status, &message);
                        }
                        Method::Bye => uac.on_bye_response(call, moment, status, &message),
                        Method::Cancel => (), // the INVITE's own response says all
                        _ => uac.on_ask_response(call, moment, status, &message),
                    }
                });
            }
            (None, Some(number)) => {
                self.with_call(number, |uac, call| uac.on_request(call, now, source, &message));
            }
            (Some(status), None) if self.registration.is_about(&message) => {
                self.on_register_response(now, status, &message);
            }
            (None, None) if message.method() == Method::Options => self.reply(&message, source, 200, None),
            (None, None) if message.method() == Method::Ack => self.tally.strays += 1,
            (None, None) => {
                self.tally.strays += 1;
                self.reply(&message, source, 481, None);
            }
            (Some(_), None) => self.tally.strays += 1,
        }
        self.unregister_when_done(now);
    }

    /// Takes the call out, lets `act` change it, puts it back, and sets its timer.
    fn with_call(&mut self, number: u32, act: impl FnOnce(&mut Self, &mut Call)) {
        let Some(mut call) = self.calls.remove(&number) else { return };
        act(self, &mut call);
        let wake_at = call.state.wake_at();
        if wake_at != call.wake_at {
            call.wake_at = wake_at;
            self.wakes.push(Reverse((wake_at, number)));
        }
        self.calls.insert(number, call);
    }

    fn arrive(&mut self, at: u64, now: u64) {
        self.tally.lateness.record(now - at);
        if self.active >= self.plan.calls_max || (!self.plan.media.is_empty() && self.free.is_empty()) {
            self.tally.unplaced += 1;
        } else {
            self.place(at, now);
        }
        self.next_arrival = self.arrival();
    }

    fn wake(&mut self, number: u32, now: u64) {
        if matches!(&self.calls[&number].state, State::Over { until, .. } if *until <= now) {
            self.calls.remove(&number);
            return;
        }
        self.with_call(number, |uac, call| match &mut call.state {
            State::Calling(resend) => match resend.again() {
                Some(again) => uac.send_again(again),
                None => uac.fail(call, now, "timeout"),
            },
            State::Proceeding { .. } => uac.cancel(call, now),
            State::Cancelling { cancel, .. } => match cancel.again() {
                Some(again) => uac.send_again(again),
                None => uac.fail(call, now, "no-answer"),
            },
            State::Waiting { .. } => uac.advance(call, now),
            State::Asking(_) => uac.on_ask_timer(call, now),
            State::Referred { .. } => uac.on_step_refused(call, now, "refer", "no-notify"),
            State::AwaitingBye { .. } => uac.give_up(call, now, "no-bye"),
            State::Settling { .. } => uac.hang_up(call, now),
            State::Ending(bye) => match bye.again() {
                Some(again) => uac.send_again(again),
                None => uac.fail(call, now, "bye-timeout"),
            },
            State::Over { .. } => (),
        });
    }

    fn send_again(&mut self, output: Output) {
        self.tally.resent += 1;
        self.outputs.push_back(output);
    }

    fn complete(&mut self, call: &mut Call, now: u64) {
        if let Some(reason) = call.failure.take() {
            return self.fail(call, now, reason);
        }
        self.tally.completed += 1;
        self.kind_of(call).completed += 1;
        self.end(call, now);
    }

    /// The call is over and was not as it should be.
    fn fail(&mut self, call: &mut Call, now: u64, reason: impl Into<String>) {
        let reason = call.failure.take().unwrap_or_else(|| reason.into());
        *self.tally.failures.entry(reason).or_default() += 1;
        self.kind_of(call).failed += 1;
        self.end(call, now);
    }

    fn kind_of(&mut self, call: &Call) -> &mut KindTally {
        let name = &self.plan.scenario.kinds[call.course.kind].name;
        if !self.tally.kinds.contains_key(name) {
            self.tally.kinds.insert(name.clone(), KindTally::default());
        }
        self.tally.kinds.get_mut(name).expect("it was put there")
    }

    fn end(&mut self, call: &mut Call, now: u64) {
        self.free.extend(call.socket.take());
        self.free.extend(call.new_socket.take());
        self.active -= 1;
        call.state = State::Over { until: now + AFTERLIFE, ack: None };
    }

    /// What we say of the session of `call`, with media at `socket`.
    fn description(&self, call: &Call, socket: Option<usize>, direction: Direction) -> String {
        // Without media the offer names the discard port (RFC 863).
        let discard = SocketAddr::new(self.plan.local.ip(), 9);
        let address = socket.map_or(discard, |socket| self.plan.media[socket]);
        let (session_id, version) = (u64::from(call.number), call.version);
        Description { address, codec: call.codec, session_id, version, direction, digits: true }.text()
    }

    fn via(&self, number: u32, method: &str, cseq: u32) -> String {
        let kind = method[..1].to_ascii_lowercase();
        format!("SIP/2.0/UDP {};branch=z9hG4bK{kind}{cseq}x{number}{};rport", self.plan.local, self.run)
    }

    /// Our own name in From and in Contact.
    fn user(&self) -> &str {
        self.plan.account.as_ref().map_or("caller", |account| &account.user)
    }

    /// What stands behind the `@` of our own address of record.
    fn domain(&self) -> String {
        let domain = self.plan.account.as_ref().and_then(|account| account.domain.clone());
        match (domain, &self.plan.account) {
            (Some(domain), _) => domain,
            (None, Some(_)) => self.plan.target.to_string(),
            (None, None) => self.plan.local.to_string(),
        }
    }

    /// The credentials that a 401 or 407 asks for; `None` without an account, or if nobody can answer that.
    fn credentials(
        &mut self,
        method: &str,
        uri: &str,
        response: &Message<'_>,
    ) -> Option<(&'static str, String)> {
        let account = self.plan.account.as_ref()?;
        let challenge = Challenge::of(response)?;
        let mut nonce = Vec::new();
        self.rng.token(16, &mut nonce);
        Some(challenge.answer(account, method, uri, &String::from_utf8_lossy(&nonce)))
    }

    fn reply(&mut self, request: &Message<'_>, source: SocketAddr, status: u16, tag: Option<&[u8]>) {
        let bytes = Writer::reply_from(request, source, status, tag).finish();
        self.outputs.push_back(Output::Send { to: source, bytes });
    }
}

impl State {
    fn wake_at(&self) -> u64 {
        match self {
            State::Calling(resend) | State::Ending(resend) => resend.at,
            State::Cancelling { cancel, .. } => cancel.at,
            State::Proceeding { give_up_at, .. } => *give_up_at,
            State::Asking(ask) => ask.request.at,
            State::Waiting { until }
            | State::Referred { until }
            | State::AwaitingBye { until }
            | State::Settling { until }
            | State::Over { until, .. } => *until,
        }
    }
}

/// The number in one of our Call-IDs.
fn call_of(call_id: &[u8], run: &str) -> Option<u32> {
    let (number, rest) = std::str::from_utf8(call_id).ok()?.split_once('-')?;
    rest.starts_with(run).then(|| number.parse().ok())?
}
