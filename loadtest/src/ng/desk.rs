//! The signalling of a load run: offers at their intended times whatever the proxy does, answers as soon as there is
//! something to answer, deletes when calls have lasted; requests repeated as Kamailio repeats them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base::Rng;
use serde::Serialize;

use super::session::{self, Format};
use super::wire::{Came, Wire};
use crate::bencode::Value;
use crate::figures::Times;
use crate::machine::ClockWatch;
use crate::media::{Party, Side, Switchboard};
use crate::session::Remote;
use crate::sys;

/// As Kamailio does: the same cookie again, a second apart.
const TRIES: u32 = 5;
const TRY_EVERY_NS: u64 = 1_000_000_000;
/// From a party's last packet to the delete: what is under way arrives.
const LAST_WORDS_NS: u64 = 200_000_000;
/// From the delete to the next call at the same sockets: the books of the streams before are closed by then.
const REST_NS: u64 = 1_300_000_000;
/// Requests sent before replies are looked at.
const BATCH: usize = 64;

/// What is asked of the proxy.
pub(super) struct Plan {
    /// What both sides speak.
    pub formats: [Format; 2],
    /// Whether the proxy is to convert between them.
    pub converts: bool,
    /// Words for the flags of offers and answers.
    pub flags: Vec<String>,
    /// Seconds that a call is to be kept after its delete.
    pub delete_delay: Option<u32>,
    /// Where the parties receive, in pairs.
    pub pairs: Vec<[SocketAddr; 2]>,
    /// Whether a pair belongs to one call at a time.
    pub exclusive: bool,
    /// Intended times of offers, after the start.
    pub arrivals: Box<dyn Iterator<Item = u64> + Send>,
    /// How long a call lasts from its intended time on, or, if `until` is later than that, until then.
    pub hold_ns: u64,
    /// Calls do not end before, after the start: then they do in the order and at the pace of their beginning.
    pub until_ns: u64,
    /// Garbage goes beside the offers.
    pub hostile: bool,
    pub seed: u64,
    /// For media; `None`: nobody speaks.
    pub switchboard: Option<Switchboard>,
}

/// What became of the requests.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tally {
    /// Offers sent, each call once.
    pub placed: u64,
    /// Arrivals for which there were no sockets left.
    pub unplaced: u64,
    /// Calls whose answer was accepted.
    pub set_up: u64,
    /// Calls that ended as they should.
    pub completed: u64,
    /// Calls that did not.
    pub failed: u64,
    /// Those by reason.
    pub failures: BTreeMap<String, u64>,
    /// What was wrong with SDP of the proxy that could be used all the same.
    pub sdp_faults: BTreeMap<String, u64>,
    /// Requests sent again.
    pub sent_again: u64,
    /// Replies to requests that had one already.
    pub extra_replies: u64,
    /// Hostile datagrams sent.
    pub hostile: u64,
    /// Calls that live.
    pub active: u64,
    /// Replies that the kernel dropped at our socket.
    pub kernel_drops: u64,
}

/// The times of requests, from the intended time of the first copy to the reply.
#[derive(Clone, Debug, Default)]
pub(super) struct Timings {
    pub offer: Times,
    pub answer: Times,
    pub delete: Times,
    /// From the intended time of the offer to the reply to the answer.
    pub set_up: Times,
    /// From the intended to the actual time of sending: our own fault.
    pub lateness: Times,
    /// Offers since it was last read.
    pub recent: Times,
}

/// What can be seen of a desk while it works.
#[derive(Default)]
pub(super) struct Seen {
    pub tally: Tally,
    pub timings: Timings,
    pub clock_was_set: bool,
    pub done: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Offer,
    Answer,
    Delete,
}

#[derive(Debug)]
struct Call {
    pair: usize,
    intended_ns: u64,
    /// What the callee is told, then the caller.
    told: [Option<session::Told>; 2],
    failed: bool,
}

struct Pending {
    call: u32,
    kind: Kind,
    intended_ns: u64,
    tries: u32,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Again(u64),
    HangUp(u32),
    Delete(u32),
    Rested(usize),
}

pub(super) struct Desk {
    plan: Plan,
    wire: Wire,
    seen: Arc<Mutex<Seen>>,
    run: String,
    start_ns: u64,
    next_arrival: Option<u64>,
    free: VecDeque<usize>,
    calls: BTreeMap<u32, Call>,
    /// Ports of the proxy in use, and by which call.
    ports: BTreeMap<SocketAddr, u32>,
    numbers: u32,
    pending: BTreeMap<u64, Pending>,
    serials: u64,
    timers: BinaryHeap<Reverse<(u64, Timer)>>,
    tally: Tally,
    timings: Timings,
    rng: Rng,
}

impl Desk {
    pub(super) fn new(
        mut plan: Plan,
        wire: Wire,
        run: String,
        start_ns: u64,
        seen: Arc<Mutex<Seen>>,
    ) -> Self {
        let next_arrival = plan.arrivals.next();
        let (free, rng) = ((0..plan.pairs.len()).collect(), Rng::from_seed(plan.seed));
        Desk {
            plan,
            wire,
            seen,
            run,
            start_ns,
            next_arrival,
            free,
            calls: BTreeMap::new(),
            ports: BTreeMap::new(),
            numbers: 0,
            pending: BTreeMap::new(),
            serials: 0,
            timers: BinaryHeap::new(),
            tally: Tally::default(),
            timings: Timings::default(),
            rng,
        }
    }

    /// Works until every call has ended, at the latest until the time. All times are of the clock that nobody sets.
    pub(super) fn run(mut self, give_up_ns: u64) {
        const PUBLISH_EVERY_NS: u64 = 100_000_000;
        sys::sharpen_thread(None);
        let (mut publish_at, mut clock) = (0, ClockWatch::start());
        let mut arrived: Vec<Came> = Vec::new();
        let mut broken = None;
        loop {
            let now = sys::mono_ns();
            if self.is_done() || now >= give_up_ns || broken.is_some() {
                break;
            }
            self.send_due(now);
            if let Err(error) = self.wire.receive(&mut |came| arrived.push(came)) {
                broken = Some(error);
            }
            arrived.drain(..).for_each(|came| self.on_reply(came));
            if now >= publish_at {
                publish_at = now + PUBLISH_EVERY_NS;
                clock.check();
                self.publish(clock.was_set(), false);
            }
            let next = self.next_due().unwrap_or(u64::MAX).min(publish_at).min(give_up_ns);
            if next > sys::mono_ns() {
                self.wire.wait(next);
            }
        }
        let left = match broken {
            Some(error) => format!("the connection is gone: {error}"),
            None => "not done when the run ended".to_owned(),
        };
        for pending in std::mem::take(&mut self.pending).into_values() {
            self.in_vain(&pending, sys::mono_ns());
        }
        for call in std::mem::take(&mut self.calls).into_values() {
            if !call.failed {
                self.failed(&left);
            }
        }
        clock.check();
        self.publish(clock.was_set(), true);
    }

    fn is_done(&self) -> bool {
        self.next_arrival.is_none() && self.calls.is_empty()
    }

    fn next_due(&self) -> Option<u64> {
        let arrival = self.next_arrival.map(|at| self.start_ns + at);
        let timer = self.timers.peek().map(|timer| timer.0.0);
        arrival.into_iter().chain(timer).min()
    }

    fn publish(&mut self, clock_was_set: bool, done: bool) {
        self.tally.active = self.calls.len() as u64;
        self.tally.kernel_drops = self.wire.kernel_drops();
        if let Ok(mut seen) = self.seen.lock() {
            seen.tally.clone_from(&self.tally);
            (seen.clock_was_set, seen.done) = (clock_was_set, done);
            let all = &mut seen.timings;
            for (to, from) in [
                (&mut all.offer, &mut self.timings.offer),
                (&mut all.answer, &mut self.timings.answer),
                (&mut all.delete, &mut self.timings.delete),
                (&mut all.set_up, &mut self.timings.set_up),
                (&mut all.lateness, &mut self.timings.lateness),
                (&mut all.recent, &mut self.timings.recent),
            ] {
                if from.count() > 0 {
                    to.add(from);
                    from.reset();
                }
            }
        }
    }

    /// What is due, oldest first, a batch at most.
    fn send_due(&mut self, now: u64) {
        for _ in 0..BATCH {
            let arrival = self.next_arrival.map_or(u64::MAX, |at| self.start_ns + at);
            let timer = self.timers.peek().map_or(u64::MAX, |timer| timer.0.0);
            if arrival.min(timer) > now {
                return;
            }
            if arrival <= timer {
                self.next_arrival = self.plan.arrivals.next();
                self.arrive(arrival);
                continue;
            }
            let Some(Reverse((due, timer))) = self.timers.pop() else { return };
            match timer {
                Timer::Again(serial) => self.again(serial, now),
                Timer::HangUp(number) => {
                    if let Some(switchboard) = &self.plan.switchboard {
                        switchboard.hush(number);
                        self.timers.push(Reverse((due + LAST_WORDS_NS, Timer::Delete(number))));
                    } else {
                        self.delete(number, due);
                    }
                }
                Timer::Delete(number) => self.delete(number, due),
                Timer::Rested(pair) => self.free.push_back(pair),
            }
        }
    }

    fn arrive(&mut self, intended_ns: u64) {
        if self.plan.hostile {
            self.throw();
        }
        let pair = if self.plan.exclusive {
            let Some(pair) = self.free.pop_front() else {
                self.tally.unplaced += 1;
                return;
            };
            pair
        } else {
            self.numbers as usize % self.plan.pairs.len().max(1)
        };
        let number = self.numbers;
        self.numbers += 1;
        self.tally.placed += 1;
        self.calls.insert(number, Call { pair, intended_ns, told: [None, None], failed: false });
        let mut entries = self.describe(number, 0, &self.plan.formats[0].clone(), pair);
        if self.plan.converts {
            let list = |format: &Format| Value::List(vec![Value::text(format.name())]);
            let [own, other] = &self.plan.formats;
            let rules = vec![(b"mask".to_vec(), list(own)), (b"transcode".to_vec(), list(other))];
            entries.push(("codec", Value::Dict(rules)));
        }
        self.ask(number, Kind::Offer, entries, intended_ns);
    }

    /// What a proxy must survive: cut, nested, lying and unknown requests.
    fn throw(&mut self) {
        let lengths: u64 = 1_000_000_000_000_000_000;
        let bytes = match self.rng.below(5) {
            0 => b"x d7:command5:off".to_vec(),
            1 => [&b"x "[..], &vec![b'l'; 10_000]].concat(),
            2 => format!("x d{lengths}:ae").into_bytes(),
            3 => format!("{:x} d7:command6:delete7:call-id4:nonee", self.rng.u64()).into_bytes(),
            _ => (0..200).map(|_| self.rng.below(256) as u8).collect(),
        };
        self.wire.throw(&bytes);
        self.tally.hostile += 1;
    }

    fn describe(&self, number: u32, side: usize, format: &Format, pair: usize) -> Vec<(&'static str, Value)> {
        let sdp =
            session::write(self.plan.pairs[pair][side], format, u64::from(number) * 2 + side as u64 + 1);
        let mut flags = vec![Value::text("trust-address")];
        flags.extend(self.plan.flags.iter().map(Value::text));
        vec![
            ("sdp", Value::text(sdp)),
            ("ICE", Value::text("remove")),
            ("flags", Value::List(flags)),
            ("replace", Value::List(vec![Value::text("origin"), Value::text("session-connection")])),
            ("transport-protocol", Value::text("RTP/AVP")),
        ]
    }

    fn ask(&mut self, call: u32, kind: Kind, mut entries: Vec<(&'static str, Value)>, intended_ns: u64) {
        let name = match kind {
            Kind::Offer => "offer",
            Kind::Answer => "answer",
            Kind::Delete => "delete",
        };
        entries.push(("command", Value::text(name)));
        entries.push(("call-id", Value::text(format!("{}-{call}", self.run))));
        entries.push(("from-tag", Value::text(format!("a{call}"))));
        if kind == Kind::Answer {
            entries.push(("to-tag", Value::text(format!("b{call}"))));
        }
        let entries = entries.into_iter().map(|(key, value)| (key.as_bytes().to_vec(), value)).collect();
        self.serials += 1;
        let serial = self.serials;
        let bytes = self.wire.encode(serial, &Value::Dict(entries));
        let now = sys::mono_ns();
        self.timings.lateness.record(now.saturating_sub(intended_ns));
        // What the kernel does not take now is sent again like what nobody answers.
        let _ = self.wire.send(serial, &bytes);
        self.pending.insert(serial, Pending { call, kind, intended_ns, tries: 1, bytes });
        self.timers.push(Reverse((now + TRY_EVERY_NS, Timer::Again(serial))));
    }

    fn again(&mut self, serial: u64, now: u64) {
        let Some(pending) = self.pending.get_mut(&serial) else { return };
        if pending.tries == TRIES {
            let (call, kind) = (pending.call, pending.kind);
            if let Some(pending) = self.pending.remove(&serial) {
                self.in_vain(&pending, now);
            }
            self.spoil(call, kind, &format!("no reply to the {} in five seconds", word(kind)));
            return;
        }
        pending.tries += 1;
        if self.wire.is_lossy() {
            self.tally.sent_again += 1;
            let _ = self.wire.send(serial, &pending.bytes);
        }
        self.timers.push(Reverse((now + TRY_EVERY_NS, Timer::Again(serial))));
    }

    fn on_reply(&mut self, came: Came) {
        let Some(pending) = self.pending.remove(&came.serial) else {
            self.tally.extra_replies += u64::from(came.serial <= self.serials);
            return;
        };
        let (call, kind, intended_ns) = (pending.call, pending.kind, pending.intended_ns);
        let Some(value) = came.value else {
            return self.spoil(call, kind, &format!("an unreadable reply to the {}", word(kind)));
        };
        match super::check(value) {
            Ok(reply) => {
                self.took(kind, came.at_ns.saturating_sub(intended_ns));
                match kind {
                    Kind::Offer => self.offered(call, &reply, came.at_ns),
                    Kind::Answer => self.answered(call, &reply, came.at_ns),
                    Kind::Delete => self.ended(call),
                }
            }
            Err(failed) => self.spoil(call, kind, &format!("{}: {failed}", word(kind))),
        }
    }

    /// How long a request took that was done. Refusals are quick and would flatter: they are failures instead.
    fn took(&mut self, kind: Kind, ns: u64) {
        let times = match kind {
            Kind::Offer => &mut self.timings.offer,
            Kind::Answer => &mut self.timings.answer,
            Kind::Delete => &mut self.timings.delete,
        };
        times.record(ns);
        if kind == Kind::Offer {
            self.timings.recent.record(ns);
        }
    }

    /// Nobody answered `pending`: it took at least as long as we have waited, and so did the call.
    fn in_vain(&mut self, pending: &Pending, now: u64) {
        self.took(pending.kind, now.saturating_sub(pending.intended_ns));
        if pending.kind != Kind::Delete
            && let Some(call) = self.calls.get(&pending.call)
        {
            self.timings.set_up.record(now.saturating_sub(call.intended_ns));
        }
    }

    /// Reads the SDP in the reply to `side`'s offer or answer.
    fn told(&mut self, number: u32, side: usize, reply: &Value) -> Result<session::Told, String> {
        let call = self.calls.get(&number).ok_or("a reply to no call")?;
        let from = self.plan.pairs[call.pair][side];
        let wanted = &self.plan.formats[1 - side];
        let sdp = reply.get("sdp").and_then(Value::as_text).ok_or("a reply without SDP")?;
        // A caller is told only what it offered; a callee may be offered more than we look for.
        let only = side == 1 || !self.plan.converts;
        let (told, mut faults) = session::read(sdp, from, wanted, only)?;
        if let Some(other) = self.ports.insert(told.remote.rtp, number)
            && other != number
        {
            faults.push("a port that another call has");
        }
        for fault in faults {
            *self.tally.sdp_faults.entry(fault.to_owned()).or_default() += 1;
        }
        Ok(told)
    }

    fn offered(&mut self, number: u32, reply: &Value, at_ns: u64) {
        let told = match self.told(number, 0, reply) {
            Ok(told) => told,
            Err(fault) => return self.spoil(number, Kind::Offer, &fault),
        };
        let Some(call) = self.calls.get_mut(&number) else { return };
        let format = told.format.clone();
        call.told[0] = Some(told);
        let pair = call.pair;
        let entries = self.describe(number, 1, &format, pair);
        self.ask(number, Kind::Answer, entries, at_ns);
    }

    fn answered(&mut self, number: u32, reply: &Value, at_ns: u64) {
        let told = match self.told(number, 1, reply) {
            Ok(told) => told,
            Err(fault) => return self.spoil(number, Kind::Answer, &fault),
        };
        let Some(call) = self.calls.get_mut(&number) else { return };
        self.tally.set_up += 1;
        self.timings.set_up.record(at_ns.saturating_sub(call.intended_ns));
        if let (Some(switchboard), Some(to_callee)) = (&self.plan.switchboard, &call.told[0]) {
            let party = |side, socket, remote: &Remote| Party {
                call: number,
                side,
                socket,
                send_to: remote.rtp,
                rtcp_to: remote.rtcp,
            };
            // A's sockets come first, then B's.
            let (a, b) = (call.pair, self.plan.pairs.len() + call.pair);
            switchboard.speak_as(party(Side::A, a, &told.remote), told.format.number);
            switchboard.speak_as(party(Side::B, b, &to_callee.remote), to_callee.format.number);
        }
        call.told[1] = Some(told);
        let after = call.intended_ns - self.start_ns;
        let ends = self.start_ns + (after + self.plan.hold_ns).max(self.plan.until_ns + after);
        self.timers.push(Reverse((ends.max(sys::mono_ns()), Timer::HangUp(number))));
    }

    fn delete(&mut self, number: u32, intended_ns: u64) {
        let delay = self.plan.delete_delay.map(|seconds| ("delete-delay", Value::Int(seconds.into())));
        self.ask(number, Kind::Delete, delay.into_iter().collect(), intended_ns);
    }

    fn ended(&mut self, number: u32) {
        let Some(call) = self.calls.remove(&number) else { return };
        if !call.failed {
            self.tally.completed += 1;
        }
        for told in call.told.iter().flatten() {
            if self.ports.get(&told.remote.rtp) == Some(&number) {
                self.ports.remove(&told.remote.rtp);
            }
        }
        if self.plan.exclusive {
            self.timers.push(Reverse((sys::mono_ns() + REST_NS, Timer::Rested(call.pair))));
        }
    }

    fn failed(&mut self, why: &str) {
        self.tally.failed += 1;
        // Reasons are the proxy's words: not more kinds of them than a report can show.
        let key = if self.tally.failures.len() < 32 || self.tally.failures.contains_key(why) {
            why
        } else {
            "other"
        };
        *self.tally.failures.entry(key.to_owned()).or_default() += 1;
    }

    /// A call has failed; what the proxy may have of it is deleted.
    fn spoil(&mut self, number: u32, kind: Kind, why: &str) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        if !std::mem::replace(&mut call.failed, true) {
            self.failed(why);
        }
        match kind {
            Kind::Offer | Kind::Answer => self.delete(number, sys::mono_ns()),
            Kind::Delete => self.ended(number),
        }
    }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Offer => "offer",
        Kind::Answer => "answer",
        Kind::Delete => "delete",
    }
}

/// Starts the desk's thread.
pub(super) fn spawn(desk: Desk, give_up_ns: u64) -> io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name("load-ng".to_owned()).spawn(move || desk.run(give_up_ns))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ng::Transport;

    #[test]
    fn a_request_that_nobody_answers_counts_with_its_age() {
        let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = nobody.local_addr().unwrap();
        let wire = Wire::open(to, Transport::Udp, false, "r".into()).unwrap();
        let format = Format { number: 0, map: "PCMU/8000".into() };
        let plan = Plan {
            formats: [format.clone(), format],
            converts: false,
            flags: Vec::new(),
            delete_delay: None,
            pairs: vec![["127.0.0.2:4000".parse().unwrap(), "127.0.0.3:4000".parse().unwrap()]],
            exclusive: false,
            arrivals: Box::new([0].into_iter()),
            hold_ns: 0,
            until_ns: 0,
            hostile: false,
            seed: 1,
            switchboard: None,
        };
        let start_ns = sys::mono_ns();
        let mut desk = Desk::new(plan, wire, "r".into(), start_ns, Arc::default());
        desk.send_due(start_ns);
        for second in 1..=u64::from(TRIES) {
            desk.again(1, start_ns + second * TRY_EVERY_NS);
        }
        let offers = desk.timings.offer.percentiles();
        assert!(offers.count == 1 && (offers.p50_us - 5e6).abs() < 5e4, "{offers}");
        assert_eq!((desk.timings.set_up.count(), desk.tally.failed), (1, 1));
    }
}
