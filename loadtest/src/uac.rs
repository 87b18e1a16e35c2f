//! The calling parties: INVITEs at times that nothing pushes back, ACK, a while of talking, BYE (RFC 3261 sections 13,
//! 15 and 17.1). One machine for all calls, in virtual time; it opens no socket.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::SocketAddr;

use base::Rng;
use sip::frame::Framing;
use sip::message::write::Writer;
use sip::message::{Message, Method};

use crate::dialog::{AFTERLIFE, Dialog, Output, Resend, T2, number_of};
use crate::figures::Times;
use crate::session;
use crate::speech::Codec;

/// How calls are placed.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where INVITEs go.
    pub target: SocketAddr,
    /// Our own address: Via, Contact, From.
    pub local: SocketAddr,
    /// Where each media socket receives; one call uses one at a time. Empty: calls without media.
    pub media: Vec<SocketAddr>,
    /// What is offered.
    pub codec: Codec,
    /// Calls that may live at the same time; arrivals beyond are not placed, but counted.
    pub calls_max: usize,
    /// Mean arrivals a second.
    pub cps: f64,
    /// Random gaps (Poisson) or equal ones.
    pub poisson: bool,
    /// When the last arrival may be, after the first, nanoseconds.
    pub place_for_ns: u64,
    /// How many calls to place at most.
    pub total: u32,
    /// From the answer to the end of talking, nanoseconds.
    pub hold_ns: u64,
    /// From the end of talking to BYE, so that what is under way arrives, nanoseconds.
    pub settle_ns: u64,
    /// How long it may ring before CANCEL, nanoseconds.
    pub ring_max_ns: u64,
}

/// What became of the calls.
#[derive(Debug, Default)]
pub struct Tally {
    /// INVITEs sent, each call once.
    pub placed: u64,
    /// Arrivals for which there was no room: the calls of before live longer than planned.
    pub unplaced: u64,
    /// Calls that were answered, and ended with BYE and its 200.
    pub completed: u64,
    /// Calls that were answered.
    pub answered: u64,
    /// Calls that did not complete, by reason: a status, `timeout`, `no-answer`, `no-media`, `bye-…`, `hung-up`.
    pub failures: BTreeMap<String, u64>,
    /// Datagrams that were sent again.
    pub resent: u64,
    /// Datagrams that belong to no call, or cannot be read.
    pub strays: u64,
    /// INVITE sent to its 200 received.
    pub setup: Times,
    /// INVITE sent to the first 180 or 183 received.
    pub ringing: Times,
    /// BYE sent to its 200 received.
    pub bye: Times,
    /// Intended to actual time of an INVITE: the generator's own fault.
    pub lateness: Times,
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
    calls: BTreeMap<u32, Call>,
    /// Calls that are not over.
    active: usize,
    wakes: BinaryHeap<Reverse<(u64, u32)>>,
    /// Media sockets that no call uses.
    free: VecDeque<usize>,
    next_call: u32,
    next_arrival: Option<u64>,
    last_arrival: u64,
    outputs: VecDeque<Output>,
    tally: Tally,
}

#[derive(Debug)]
struct Call {
    state: State,
    call_id: String,
    from: String,
    invite_at: u64,
    bye_at: u64,
    /// Set by the first 180 or 183.
    rang: bool,
    socket: Option<usize>,
    dialog: Option<Dialog>,
    /// The ACK to the 2xx, for when that comes again.
    ack: Vec<u8>,
    wake_at: u64,
}

#[derive(Debug)]
enum State {
    /// INVITE sent, nothing heard.
    Calling(Resend),
    /// A provisional response came.
    Proceeding { invite: Vec<u8>, give_up_at: u64 },
    /// CANCEL sent.
    Cancelling { invite: Vec<u8>, cancel: Resend },
    /// Answered; talking ends at `until`.
    Talking { until: u64 },
    /// Silence; BYE goes at `until`.
    Settling { until: u64 },
    /// BYE sent.
    Ending(Resend),
    /// Over; late messages are answered until `until`. The ACK to a refusal is kept for when that comes again.
    Over { until: u64, ack: Option<Vec<u8>> },
}

impl Uac {
    /// The first call is due at `now`.
    pub fn new(plan: Plan, now: u64, mut rng: Rng) -> Self {
        let mut run = Vec::new();
        rng.token(8, &mut run);
        // Not from the seed: a system under test still knows the calls of the run before for half a minute, and what
        // comes again under their names it rightly takes for repetitions (RFC 3261 section 17.2).
        run.extend_from_slice(format!("{:x}", crate::sys::real_ns() / 1_000_000).as_bytes());
        Uac {
            run: String::from_utf8(run).expect("tokens are ASCII"),
            rng,
            calls: BTreeMap::new(),
            active: 0,
            wakes: BinaryHeap::new(),
            free: (0..plan.media.len()).collect(),
            next_call: 0,
            next_arrival: (plan.total > 0).then_some(now),
            last_arrival: now.saturating_add(plan.place_for_ns),
            outputs: VecDeque::new(),
            tally: Tally::default(),
            plan,
        }
    }

    /// Whether all calls were placed and are over.
    pub fn is_done(&self) -> bool {
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

    /// Places no more calls and lets the present ones end at once.
    pub fn wind_up(&mut self, now: u64) {
        self.next_arrival = None;
        let talking: Vec<u32> = self.calls.iter().filter(|c| c.1.is_talking()).map(|c| *c.0).collect();
        for number in talking {
            self.with_call(number, |uac, call| {
                uac.outputs.push_back(Output::Hush(number));
                call.state = State::Settling { until: now + uac.plan.settle_ns };
            });
        }
    }

    /// What is to be done next, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Uac::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<u64> {
        let wake = self.wakes.peek().map(|wake| wake.0.0);
        [wake, self.next_arrival].into_iter().flatten().min()
    }

    /// Does one thing that is due: places a call or handles a timer. Call again while `poll_timeout` is due.
    pub fn handle_timeout(&mut self, now: u64) {
        if let Some(at) = self.next_arrival.filter(|&at| at <= now) {
            self.arrive(at, now);
        } else if let Some(Reverse((_, number))) = self.wakes.peek().copied().filter(|wake| wake.0.0 <= now) {
            self.wakes.pop();
            // A timer that was moved has left its old entry behind.
            if self.calls.get(&number).is_some_and(|call| call.wake_at <= now) {
                self.wake(number, now);
            }
        }
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
                    let moment = Moment { number, now, arrived };
                    match message.method() {
                        Method::Invite => uac.on_invite_response(call, moment, status, &message),
                        Method::Bye => uac.on_bye_response(call, moment, status),
                        _ => (), // of CANCEL: the INVITE's own response says all
                    }
                });
            }
            (None, Some(number)) => {
                self.with_call(number, |uac, call| uac.on_request(number, call, now, source, &message));
            }
            (None, None) if message.method() == Method::Options => self.reply(&message, source, 200, None),
            (None, None) if message.method() == Method::Ack => self.tally.strays += 1,
            (None, None) => {
                self.tally.strays += 1;
                self.reply(&message, source, 481, None);
            }
            (Some(_), None) => self.tally.strays += 1,
        }
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
        let gap_ns = if self.plan.poisson {
            // Inverse of the exponential distribution; the uniform number is in (0, 1].
            let uniform = (self.rng.u32() as f64 + 1.0) / (f64::from(u32::MAX) + 1.0);
            -uniform.ln() * 1e9 / self.plan.cps
        } else {
            1e9 / self.plan.cps
        };
        let next = at.saturating_add(gap_ns as u64);
        let attempts = self.tally.placed + self.tally.unplaced + 1;
        self.next_arrival =
            (next < self.last_arrival && attempts < u64::from(self.plan.total)).then_some(next);
        if self.active >= self.plan.calls_max || (!self.plan.media.is_empty() && self.free.is_empty()) {
            self.tally.unplaced += 1;
            return;
        }
        self.place(now);
    }

    fn place(&mut self, now: u64) {
        let number = self.next_call;
        self.next_call += 1;
        let local = self.plan.local;
        let call_id = format!("{number}-{}@{}", self.run, local.ip());
        let from = format!("<sip:caller@{local}>;tag=a{number}{}", self.run);
        let uri = format!("sip:{}@{}", number_of(number), self.plan.target);
        let socket = self.free.pop_front();
        // Without media the offer names the discard port (RFC 863).
        let media = socket.map_or(SocketAddr::new(local.ip(), 9), |socket| self.plan.media[socket]);
        let offer = session::write(media, self.plan.codec, u64::from(number));
        let bytes = Writer::request(b"INVITE", uri.as_bytes())
            .header("Via", self.via(number, "i"))
            .header("Max-Forwards", "70")
            .header("From", &from)
            .header("To", format!("<{uri}>"))
            .header("Call-ID", &call_id)
            .header("CSeq", "1 INVITE")
            .header("Contact", format!("<sip:caller@{local}>"))
            .header("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE")
            .header("User-Agent", "strowger-load")
            .body("application/sdp", offer.as_bytes())
            .finish();
        let invite = Resend::new(now, bytes, self.plan.target, u64::MAX);
        self.outputs.push_back(invite.send());
        let state = State::Calling(invite);
        let wake_at = state.wake_at();
        self.wakes.push(Reverse((wake_at, number)));
        let (invite_at, bye_at) = (now, 0);
        let call = Call {
            state,
            call_id,
            from,
            invite_at,
            bye_at,
            rang: false,
            socket,
            dialog: None,
            ack: vec![],
            wake_at,
        };
        self.calls.insert(number, call);
        self.active += 1;
        self.tally.placed += 1;
    }

    fn on_invite_response(&mut self, call: &mut Call, moment: Moment, status: u16, message: &Message<'_>) {
        let Moment { number, now, arrived } = moment;
        let after = arrived.saturating_sub(call.invite_at);
        match &mut call.state {
            State::Calling(_) | State::Proceeding { .. } | State::Cancelling { .. } if status < 200 => {
                if status >= 180 && !std::mem::replace(&mut call.rang, true) {
                    self.tally.ringing.record(after);
                }
                if let State::Calling(resend) = &mut call.state {
                    let give_up_at = now + self.plan.ring_max_ns;
                    call.state = State::Proceeding { invite: std::mem::take(&mut resend.bytes), give_up_at };
                }
            }
            State::Calling(_) | State::Proceeding { .. } | State::Cancelling { .. } if status < 300 => {
                self.tally.setup.record(after);
                self.tally.answered += 1;
                self.on_answer(number, call, now, message);
            }
            State::Calling(Resend { bytes: invite, .. })
            | State::Proceeding { invite, .. }
            | State::Cancelling { invite, .. } => {
                let ack = ack_to_refusal(invite, message);
                self.outputs.push_back(Output::Send { to: self.plan.target, bytes: ack.clone() });
                let reason = if matches!(call.state, State::Cancelling { .. }) {
                    "no-answer".to_owned()
                } else {
                    status.to_string()
                };
                self.fail(call, now, reason);
                call.state = State::Over { until: now + AFTERLIFE, ack: Some(ack) };
            }
            // A response that comes again wants its ACK again (RFC 3261 sections 13.2.2.4 and 17.1.1.2).
            State::Talking { .. } | State::Settling { .. } | State::Ending(_) | State::Over { .. } => {
                let ack = match &call.state {
                    State::Over { ack: Some(ack), .. } if status >= 300 => ack,
                    _ => &call.ack,
                };
                if status >= 200 && !ack.is_empty() {
                    let to = match &call.dialog {
                        Some(dialog) if status < 300 => dialog.next_hop,
                        _ => self.plan.target,
                    };
                    self.tally.resent += 1;
                    self.outputs.push_back(Output::Send { to, bytes: ack.clone() });
                }
            }
        }
    }

    fn on_answer(&mut self, number: u32, call: &mut Call, now: u64, message: &Message<'_>) {
        let dialog = Dialog::of_caller(message, self.plan.target);
        call.ack = self.in_dialog(call, &dialog, "ACK", 1, number);
        self.outputs.push_back(Output::Send { to: dialog.next_hop, bytes: call.ack.clone() });
        call.dialog = Some(dialog);
        match (call.socket, session::read(message.body())) {
            (Some(socket), Some(remote)) => {
                self.outputs.push_back(Output::Speak { call: number, socket, remote });
            }
            (None, _) => (),
            (Some(_), None) => {
                self.hang_up(number, call, now);
                // Counted here; what becomes of the BYE does not matter any more.
                self.fail(call, now, "no-media".to_owned());
                return;
            }
        }
        call.state = State::Talking { until: now + self.plan.hold_ns };
    }

    fn hang_up(&mut self, number: u32, call: &mut Call, now: u64) {
        let Some(dialog) = call.dialog.take() else { return };
        let bytes = self.in_dialog(call, &dialog, "BYE", 2, number);
        let bye = Resend::new(now, bytes, dialog.next_hop, T2);
        self.outputs.push_back(bye.send());
        call.bye_at = now;
        call.dialog = Some(dialog);
        call.state = State::Ending(bye);
    }

    fn on_bye_response(&mut self, call: &mut Call, moment: Moment, status: u16) {
        if status < 200 || !matches!(call.state, State::Ending(_)) {
            return;
        }
        self.tally.bye.record(moment.arrived.saturating_sub(call.bye_at));
        if status < 300 {
            self.complete(call, moment.now);
        } else {
            self.fail(call, moment.now, format!("bye-{status}"));
        }
    }

    fn on_request(
        &mut self,
        number: u32,
        call: &mut Call,
        now: u64,
        source: SocketAddr,
        request: &Message<'_>,
    ) {
        let tag = format!("a{number}{}", self.run);
        match request.method() {
            Method::Ack => (),
            Method::Bye => {
                self.reply(request, source, 200, None);
                match call.state {
                    // Both sides hung up at once.
                    State::Ending(_) => self.complete(call, now),
                    State::Over { .. } => (),
                    _ => {
                        self.outputs.push_back(Output::Hush(number));
                        self.fail(call, now, "hung-up".to_owned());
                    }
                }
            }
            // A refreshed or moved session: our side stays as it is.
            Method::Invite | Method::Update => {
                let media = call.socket.map(|socket| self.plan.media[socket]);
                let answer = media.map(|media| session::write(media, self.plan.codec, u64::from(number)));
                let mut reply = Writer::reply_from(request, source, 200, Some(tag.as_bytes()));
                reply.header("Contact", format!("<sip:caller@{}>", self.plan.local));
                if let Some(answer) = answer {
                    reply.body("application/sdp", answer.as_bytes());
                }
                self.outputs.push_back(Output::Send { to: source, bytes: reply.finish() });
            }
            _ => self.reply(request, source, 200, Some(tag.as_bytes())),
        }
    }

    fn wake(&mut self, number: u32, now: u64) {
        if matches!(&self.calls[&number].state, State::Over { until, .. } if *until <= now) {
            self.calls.remove(&number);
            return;
        }
        self.with_call(number, |uac, call| match &mut call.state {
            State::Calling(resend) => match resend.again() {
                Some(again) => uac.send_again(again),
                None => uac.fail(call, now, "timeout".to_owned()),
            },
            State::Proceeding { invite, .. } => {
                let bytes = cancel_of(invite);
                let cancel = Resend::new(now, bytes, uac.plan.target, T2);
                uac.outputs.push_back(cancel.send());
                call.state = State::Cancelling { invite: std::mem::take(invite), cancel };
            }
            State::Cancelling { cancel, .. } => match cancel.again() {
                Some(again) => uac.send_again(again),
                None => uac.fail(call, now, "no-answer".to_owned()),
            },
            State::Talking { .. } => {
                uac.outputs.push_back(Output::Hush(number));
                call.state = State::Settling { until: now + uac.plan.settle_ns };
            }
            State::Settling { .. } => uac.hang_up(number, call, now),
            State::Ending(bye) => match bye.again() {
                Some(again) => uac.send_again(again),
                None => uac.fail(call, now, "bye-timeout".to_owned()),
            },
            State::Over { .. } => (),
        });
    }

    fn send_again(&mut self, output: Output) {
        self.tally.resent += 1;
        self.outputs.push_back(output);
    }

    fn complete(&mut self, call: &mut Call, now: u64) {
        self.tally.completed += 1;
        self.end(call, now);
    }

    fn fail(&mut self, call: &mut Call, now: u64, reason: String) {
        *self.tally.failures.entry(reason).or_default() += 1;
        self.end(call, now);
    }

    fn end(&mut self, call: &mut Call, now: u64) {
        self.free.extend(call.socket.take());
        self.active -= 1;
        call.state = State::Over { until: now + AFTERLIFE, ack: None };
    }

    fn in_dialog(&self, call: &Call, dialog: &Dialog, method: &str, cseq: u32, number: u32) -> Vec<u8> {
        let mut request = Writer::request(method.as_bytes(), &dialog.target);
        request.header("Via", self.via(number, &method[..1])).header("Max-Forwards", "70");
        for route in &dialog.routes {
            request.header("Route", route);
        }
        request
            .header("From", &call.from)
            .header("To", &dialog.remote)
            .header("Call-ID", &call.call_id)
            .header("CSeq", format!("{cseq} {method}"))
            .finish()
    }

    fn via(&self, number: u32, kind: &str) -> String {
        format!("SIP/2.0/UDP {};branch=z9hG4bK{kind}{number}{};rport", self.plan.local, self.run)
    }

    fn reply(&mut self, request: &Message<'_>, source: SocketAddr, status: u16, tag: Option<&[u8]>) {
        let bytes = Writer::reply_from(request, source, status, tag).finish();
        self.outputs.push_back(Output::Send { to: source, bytes });
    }
}

/// When something happened to which call.
#[derive(Clone, Copy)]
struct Moment {
    number: u32,
    now: u64,
    arrived: u64,
}

impl Call {
    fn is_talking(&self) -> bool {
        matches!(self.state, State::Talking { .. })
    }
}

impl State {
    fn wake_at(&self) -> u64 {
        match self {
            State::Calling(resend) | State::Ending(resend) => resend.at,
            State::Cancelling { cancel, .. } => cancel.at,
            State::Proceeding { give_up_at, .. } => *give_up_at,
            State::Talking { until } | State::Settling { until } | State::Over { until, .. } => *until,
        }
    }
}

/// The number in one of our Call-IDs.
fn call_of(call_id: &[u8], run: &str) -> Option<u32> {
    let (number, rest) = std::str::from_utf8(call_id).ok()?.split_once('-')?;
    rest.starts_with(run).then(|| number.parse().ok())?
}

/// ACK to a refusal: the INVITE's own branch, the To of the response (RFC 3261 section 17.1.1.3).
fn ack_to_refusal(invite: &[u8], response: &Message<'_>) -> Vec<u8> {
    let to = response.to().raw.to_vec();
    same_branch(invite, "ACK", Some(&to))
}

/// CANCEL: all as in the INVITE but the method (RFC 3261 section 9.1).
fn cancel_of(invite: &[u8]) -> Vec<u8> {
    same_branch(invite, "CANCEL", None)
}

fn same_branch(invite: &[u8], method: &str, to: Option<&[u8]>) -> Vec<u8> {
    let invite = Message::parse(invite, Framing::Datagram).expect("we wrote it");
    let uri = invite.request().expect("it is a request").uri;
    Writer::request(method.as_bytes(), uri)
        .header("Via", invite.top_via().raw)
        .header("Max-Forwards", "70")
        .header("From", invite.from().raw)
        .header("To", to.unwrap_or(invite.to().raw))
        .header("Call-ID", invite.call_id())
        .header("CSeq", format!("1 {method}"))
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uas::{Ring, Script, Uas};

    const SECOND: u64 = 1_000_000_000;
    const MS: u64 = 1_000_000;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn plan() -> Plan {
        Plan {
            target: address(5061),
            local: address(5060),
            media: (0..30).map(|i| address(4000 + 2 * i)).collect(),
            codec: Codec::Pcmu,
            calls_max: 30,
            cps: 10.0,
            poisson: true,
            place_for_ns: 3600 * SECOND,
            total: 20,
            hold_ns: 2 * SECOND,
            settle_ns: 200 * MS,
            ring_max_ns: 60 * SECOND,
        }
    }

    fn script() -> Script {
        Script {
            local: address(5061),
            media: (0..30).map(|i| address(5000 + 2 * i)).collect(),
            codec: Codec::Pcmu,
            ring: Ring::Ringing,
            answer_after_ns: 100 * MS,
            refuse: None,
        }
    }

    /// Caller and callee on a network that loses one datagram in `one_in`, in virtual time, until all is over.
    struct World {
        uac: Uac,
        uas: Uas,
        spoke: u64,
        hushed: u64,
        now: u64,
    }

    impl World {
        fn run(plan: Plan, script: Script, loss_one_in: u64, seed: u64) -> World {
            let mut rng = Rng::from_seed(seed);
            let start = 1_000 * SECOND;
            let uac = Uac::new(plan, start, rng.fork());
            let uas = Uas::new(script, rng.fork());
            let mut world = World { uac, uas, spoke: 0, hushed: 0, now: start };
            let mut network: VecDeque<(u64, SocketAddr, Vec<u8>)> = VecDeque::new();
            while !world.uac.is_done() || world.uas.active() > 0 {
                let timers =
                    [world.uac.poll_timeout(), world.uas.poll_timeout(), network.front().map(|p| p.0)];
                world.now = timers.into_iter().flatten().min().expect("something is due").max(world.now);
                let now = world.now;
                if let Some((_, to, bytes)) = network.pop_front_if(|packet| packet.0 <= now) {
                    if to == address(5061) {
                        world.uas.handle_datagram(now, address(5060), &bytes);
                    } else {
                        world.uac.handle_datagram(now, now, address(5061), &bytes);
                    }
                } else if world.uac.poll_timeout().is_some_and(|at| at <= now) {
                    world.uac.handle_timeout(now);
                } else {
                    world.uas.handle_timeout(now);
                }
                while let Some(output) = world.uac.poll_output().or_else(|| world.uas.poll_output()) {
                    match output {
                        Output::Send { .. } if loss_one_in > 0 && rng.below(loss_one_in) == 0 => (),
                        Output::Send { to, bytes } => network.push_back((now + MS, to, bytes)),
                        Output::Speak { remote, .. } => {
                            assert!(remote.rtp.port() >= 4000);
                            world.spoke += 1;
                        }
                        Output::Hush(_) => world.hushed += 1,
                    }
                }
                assert!(now < start + 600 * SECOND, "the calls never end");
            }
            world
        }
    }

    #[test]
    fn calls_complete_and_their_times_are_known() {
        let world = World::run(plan(), script(), 0, 1);
        let tally = world.uac.tally();
        assert_eq!((tally.placed, tally.completed, tally.failed(), tally.unplaced), (20, 20, 0, 0));
        assert_eq!((tally.resent, tally.strays), (0, 0));
        let ms = |times: &Times| ((times.at(0.0) + MS / 2) / MS, times.at(1.0) / MS);
        assert_eq!((ms(&tally.setup), ms(&tally.ringing)), ((102, 102), (2, 2)));
        assert_eq!((world.spoke, world.hushed), (40, 40));
        assert_eq!((world.uas.tally().acknowledged, world.uas.tally().ended), (20, 20));
    }

    #[test]
    fn every_call_ends_however_much_is_lost() {
        for seed in 0..20 {
            let world = World::run(plan(), script(), 4, seed);
            let tally = world.uac.tally();
            assert_eq!(tally.completed + tally.failed(), 20, "{tally:?}");
            assert!(tally.completed >= 18 && tally.resent > 0, "seed {seed}: {:?}", tally.failures);
        }
    }

    #[test]
    fn refusals_are_acknowledged_and_counted_by_status() {
        let world = World::run(plan(), Script { refuse: Some(486), ..script() }, 0, 3);
        assert_eq!(world.uac.tally().failures, BTreeMap::from([("486".to_owned(), 20)]));
        assert_eq!((world.uas.tally().refused, world.uas.tally().resent), (20, 0));
    }

    #[test]
    fn what_rings_too_long_is_cancelled() {
        let script = Script { answer_after_ns: 90 * SECOND, ring: Ring::Progress, ..script() };
        let world = World::run(Plan { ring_max_ns: SECOND, ..plan() }, script, 0, 4);
        assert_eq!(world.uac.tally().failures, BTreeMap::from([("no-answer".to_owned(), 20)]));
        assert_eq!((world.uas.tally().cancelled, world.uas.tally().answered), (20, 0));
    }

    #[test]
    fn nobody_there_is_a_timeout_after_32_s() {
        let world = World::run(Plan { total: 1, ..plan() }, script(), 1, 5);
        assert_eq!(world.uac.tally().failures, BTreeMap::from([("timeout".to_owned(), 1)]));
        assert_eq!(world.uac.tally().resent, 6);
        assert_eq!(world.now, 1_032 * SECOND);
    }

    #[test]
    fn arrivals_do_not_wait_for_calls_that_hang() {
        let plan = Plan { calls_max: 5, poisson: false, total: 20, ..plan() };
        let world = World::run(plan, Script { answer_after_ns: 10 * SECOND, ..script() }, 0, 6);
        let tally = world.uac.tally();
        assert_eq!((tally.placed, tally.unplaced, tally.completed), (5, 15, 5));
    }

    #[test]
    fn arrivals_keep_their_rate() {
        for poisson in [true, false] {
            let plan = Plan {
                cps: 100.0,
                total: u32::MAX,
                place_for_ns: 20 * SECOND,
                calls_max: 10_000,
                media: vec![],
                poisson,
                ..plan()
            };
            let world = World::run(plan, Script { media: vec![], ..script() }, 0, 7);
            let tally = world.uac.tally();
            assert!(tally.placed.abs_diff(2_000) < 150, "{}", tally.placed);
            assert_eq!((tally.completed, world.spoke), (tally.placed, 0));
        }
    }

    #[test]
    fn the_other_side_may_hang_up_or_refresh_the_session() {
        let start = 1_000 * SECOND;
        let mut uac = Uac::new(Plan { total: 1, ..plan() }, start, Rng::from_seed(8));
        let mut uas =
            Uas::new(Script { ring: Ring::None, answer_after_ns: 0, ..script() }, Rng::from_seed(9));
        let sent = |output: Option<Output>| match output {
            Some(Output::Send { bytes, .. }) => bytes,
            other => panic!("{other:?}"),
        };
        uac.handle_timeout(start);
        uas.handle_datagram(start, address(5060), &sent(uac.poll_output()));
        let answer = sent(uas.poll_output());
        uac.handle_datagram(start, start, address(5061), &answer);
        let answer = Message::parse(&answer, Framing::Datagram).unwrap();
        let request = |method: &str| {
            Writer::request(method.as_bytes(), b"sip:caller@127.0.0.1:5060")
                .header("Via", "SIP/2.0/UDP 127.0.0.1:5061;branch=z9hG4bKx")
                .header("From", answer.to().raw)
                .header("To", answer.from().raw)
                .header("Call-ID", answer.call_id())
                .header("CSeq", format!("7 {method}"))
                .finish()
        };
        while uac.poll_output().is_some() {}
        let mut status = |bytes: &[u8]| {
            uac.handle_datagram(start, start, address(5061), bytes);
            let reply = sent(uac.poll_output());
            let reply = Message::parse(&reply, Framing::Datagram).unwrap();
            (reply.status().unwrap(), session::read(reply.body()).is_some())
        };
        assert_eq!(status(&request("UPDATE")), (200, true));
        assert_eq!(status(&request("INVITE")), (200, true));
        assert_eq!(status(&request("OPTIONS")), (200, false));
        assert_eq!(status(&request("BYE")), (200, false));
        assert_eq!(uac.tally().failures, BTreeMap::from([("hung-up".to_owned(), 1)]));
        assert!(uac.is_done());
    }

    #[test]
    fn rubbish_is_a_stray() {
        let mut uac = Uac::new(plan(), 0, Rng::from_seed(1));
        for bytes in [&b""[..], b"\r\n\r\n", b"SIP/2.0 200 OK\r\n\r\n", &[0xff; 100]] {
            uac.handle_datagram(1, 1, address(1), bytes);
        }
        assert_eq!(uac.tally().strays, 4);
        assert!(uac.poll_output().is_none());
    }
}
