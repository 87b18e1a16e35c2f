//! The loop of a signalling thread. One turn: mailbox, media events, datagrams, timers, then all that is to be sent.
//! First file of a call's way: a datagram is parsed here once and handed to its owner.

use crate::blocked::Blocked;
use crate::gate::{Gate, Told};
use crate::input::{Hooks, Input, Records};
use crate::ng_turn::NgWorld;
use crate::resolver::{Resolver, is_literal};
use crate::strangers::{Allowance, MAILBOX_FILL, may_be_sip};
use crate::stream::{StreamOut, Streams};
use crate::udp::{BATCH, Buffers, Datagram, Paths, Poll, UdpSocket, source_address};
use b2bua::desk::Query;
use b2bua::spec::Target as SpecTarget;
use b2bua::{Hop, Output, Switch, Transport};
use base::{Clock, HashKey, Instant, Mailbox, Now};
use command::{Command, Event};
use core::net::{IpAddr, SocketAddr};
use ledger::Bans;
use sip::flow::Flow;
use sip::frame::Framing;
use sip::message::Message;
use sip::stack::Transmit;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Tokens of epoll: two numbers for each pair of sockets, and this.
const BELL: u64 = u64::MAX;
/// Inputs that one turn takes before it looks at its sockets again.
const INPUTS: usize = 256;

/// One signalling thread, as long as it lives. Sockets and rings outlive it.
pub(crate) struct Turner<'a> {
    pub clock: Clock,
    pub shard: usize,
    pub switch: Switch,
    /// Calls of the NG protocol, where it is spoken.
    pub ng: Option<ng::desk::Ng>,
    pub ng_stats: Option<Arc<ng::counts::NgStats>>,
    pub world: &'a mut World,
}

/// What a signalling thread keeps over its restarts.
pub(crate) struct World {
    /// Datagram sockets with the listener that each belongs to.
    pub sockets: Vec<(u16, Paths)>,
    /// Those whose strangers' socket has something and is not watched until that is read.
    pub waiting: VecDeque<usize>,
    pub allowance: Allowance,
    pub gate: Arc<Gate>,
    pub told: Told,
    pub bans: Arc<Bans>,
    pub blocked: Blocked,
    pub poll: Poll,
    pub bell: crate::input::Bell,
    pub inbox: Mailbox<Input>,
    pub events: Mailbox<Event>,
    /// All signalling threads, this one included.
    pub peers: Vec<Mailbox<Input>>,
    pub media: Vec<Mailbox<Command>>,
    pub steering: HashKey,
    pub records: Arc<dyn Records>,
    pub hooks: Arc<dyn Hooks>,
    pub streams: Streams,
    pub resolver: Resolver,
    pub listener_names: Vec<String>,
    pub buffers: Buffers,
    pub ready: Vec<u64>,
    /// Commands for a media shard whose ring was full; `Close` must not be lost.
    pub backlog: Vec<VecDeque<Command>>,
    pub sources: Sources,
    pub ng: Option<NgWorld>,
    pub stop: bool,
    pub load: Load,
}

/// Local addresses towards peers, remembered for a while.
#[derive(Default)]
pub(crate) struct Sources {
    known: BTreeMap<IpAddr, (Instant, IpAddr)>,
}

/// How busy the thread is.
#[derive(Default)]
pub(crate) struct Load {
    since: Instant,
    busy_ns: u64,
    /// The last turn took too long.
    was_slow: bool,
}

impl Turner<'_> {
    /// Turns until it is told to stop.
    pub fn run(&mut self) {
        while !self.world.stop {
            self.turn();
        }
    }

    fn turn(&mut self) {
        let now = self.clock.now();
        self.take_inputs(now);
        self.take_events(now);
        self.take_datagrams(now);
        self.take_ng_datagrams(now);
        self.take_strangers(now);
        self.switch.handle_timeout(now);
        if let Some(ng) = &mut self.ng {
            ng.handle_timeout(now);
        }
        self.flush(now);
        self.measure(now);
        if !self.world.stop {
            self.sleep();
        }
    }

    fn take_inputs(&mut self, now: Now) {
        for _ in 0..INPUTS {
            let Some(input) = self.world.inbox.receive() else { return };
            match input {
                Input::Message(flow, bytes) => {
                    self.take_message(now, &flow, &bytes, Framing::Stream, HandOver::Never);
                }
                Input::Resolved(query, hops) => self.switch.handle_resolved(now, query, hops),
                Input::Host(name, addresses) => {
                    if self.shard == 0 {
                        self.world.gate.set_resolved(&name, &addresses);
                    }
                    self.switch.set_resolved(name, addresses);
                }
                Input::Unreachable(remote, branch) => {
                    self.switch.handle_unreachable(now, remote, branch.as_deref());
                }
                Input::SendFailed(client) => self.switch.handle_send_failed(now, client),
                Input::StreamClosed(stream) => self.switch.handle_stream_failed(now, stream),
                Input::Ng(request) => self.handle_ng(now, request.origin, request.frame()),
                Input::NgSound(ticket, sound) => {
                    if let Some(ng) = &mut self.ng {
                        ng.handle_sound(now, ticket, sound);
                    }
                }
                Input::Ask(ask) => self.handle_ask(now, ask),
                Input::Hooked(ticket, answer) => self.switch.handle_hooked(now, ticket, &answer),
                Input::Apply(spec, of_ng) => {
                    if let (Some(ng), Some(world)) = (&mut self.ng, &mut self.world.ng) {
                        world.spec = Arc::clone(&of_ng);
                        ng.apply(of_ng);
                    }
                    self.world.resolver.watch(&spec);
                    if self.shard == 0 {
                        self.world.gate.apply(&spec);
                    }
                    self.switch.apply(spec);
                }
                Input::Stop => self.world.stop = true,
            }
        }
    }

    fn take_events(&mut self, now: Now) {
        for _ in 0..INPUTS {
            let Some(event) = self.world.events.receive() else { return };
            self.handle_media(now, event);
            self.flush(now);
        }
    }

    /// Known sources: all that is there, within reason.
    fn take_datagrams(&mut self, now: Now) {
        for index in 0..self.world.sockets.len() {
            if !self.world.ready.contains(&Path::Known.token(index)) {
                continue;
            }
            // Bounded, so that one socket starves no other; epoll says again what is left.
            for _ in 0..4 {
                if self.take_batch(now, index, Path::Known) < BATCH {
                    break;
                }
            }
        }
    }

    /// Strangers: as much as their share of the time allows, a batch of each socket in turn.
    fn take_strangers(&mut self, now: Now) {
        for index in 0..self.world.sockets.len() {
            if self.world.ready.contains(&Path::Strangers.token(index)) {
                self.world.waiting.push_back(index);
            }
        }
        for _ in 0..self.world.waiting.len() {
            let began = self.clock.now().mono;
            self.world.allowance.refill(began);
            if !self.world.allowance.is_left() {
                return;
            }
            let Some(index) = self.world.waiting.pop_front() else { return };
            let count = self.take_batch(now, index, Path::Strangers);
            self.world.allowance.spend(self.clock.now().mono.nanos_since(began));
            if count == BATCH {
                self.world.waiting.push_back(index);
            } else if let Some(socket) = &self.world.sockets[index].1.strangers {
                let _ = self.world.poll.watch_again(socket.raw(), Path::Strangers.token(index));
            }
        }
    }

    /// Takes one batch from a socket; the answer is its size.
    fn take_batch(&mut self, now: Now, index: usize, path: Path) -> usize {
        // Taken out for the batch, so that the switch may be called with what is in them.
        let mut buffers = core::mem::replace(&mut self.world.buffers, Buffers::empty());
        buffers.received.clear();
        let (listener, paths) = &mut self.world.sockets[index];
        let listener = *listener;
        let undivided = paths.strangers.is_none();
        if let Some(socket) = path.of(paths) {
            match socket.receive(&mut buffers) {
                Ok(Some(drops)) => {
                    let new = socket.new_drops(drops);
                    if new > 0 {
                        self.count_kernel_drops(listener, path, new);
                    }
                }
                // A send may have been told of the error; what it was about waits all the same, and keeps waking us.
                Ok(None) if buffers.received.is_empty() => self.take_errors(now, index, path),
                Ok(None) => {}
                Err(_) => self.take_errors(now, index, path),
            }
        }
        let count = buffers.received.len();
        for i in 0..count {
            let datagram = buffers.received[i];
            let stranger = match path {
                Path::Strangers => true,
                Path::Known => undivided && !self.world.gate.is_known(datagram.remote.ip()),
            };
            if stranger && !self.may_enter(now, &datagram, buffers.datagram(i)) {
                continue;
            }
            let flow = Flow {
                transport: Transport::Udp,
                listener,
                local: datagram.local,
                remote: datagram.remote,
                stream: None,
            };
            let hand_over = if stranger { HandOver::IfIdle } else { HandOver::Yes };
            self.take_message(now, &flow, buffers.datagram(i), Framing::Datagram, hand_over);
        }
        self.world.buffers = buffers;
        self.flush(now);
        count
    }

    /// Whether a stranger's datagram is worth a parser's time.
    fn may_enter(&self, now: Now, datagram: &Datagram, bytes: &[u8]) -> bool {
        let enters = may_be_sip(bytes) && !self.world.bans.is_banned(now.wall, datagram.remote.ip());
        if !enters && !is_keep_alive(bytes) {
            self.switch.stats().unknown_dropped.add(1);
        }
        enters
    }

    fn count_kernel_drops(&self, listener: u16, path: Path, new: u32) {
        let name = self.world.listener_names[usize::from(listener)].as_str();
        let of_strangers;
        let label = match path {
            Path::Known => name,
            Path::Strangers => {
                of_strangers = format!("{name}/strangers");
                of_strangers.as_str()
            }
        };
        self.switch.stats().kernel_drops.add(&[label], i64::from(new));
    }

    /// One message: parsed once, then handled here or handed to the thread that owns its Call-ID.
    fn take_message(&mut self, now: Now, flow: &Flow, bytes: &[u8], framing: Framing, hand_over: HandOver) {
        if is_keep_alive(bytes) {
            return;
        }
        match Message::parse(bytes, framing) {
            Ok(message) => {
                let shards = self.world.peers.len();
                let owner = self.world.steering.owner(message.call_id(), shards);
                if owner != self.shard && hand_over != HandOver::Never {
                    let peer = &self.world.peers[owner];
                    if hand_over == HandOver::IfIdle && peer.fill() > MAILBOX_FILL {
                        self.switch.stats().unknown_dropped.add(1);
                    } else if peer.send(Input::Message(*flow, message.raw().into())).is_err() {
                        self.switch.stats().queue_dropped.add(&["signalling"], 1);
                    }
                    return;
                }
                count_message(&self.switch, "in", &message);
                self.switch.handle_message(now, flow, &message);
            }
            Err(malformed) => self.switch.handle_malformed(now, flow, &malformed),
        }
    }

    /// ICMP errors: the transactions to that peer need not wait for their time-out.
    fn take_errors(&mut self, now: Now, index: usize, path: Path) {
        let mut quoted = [0u8; 2048];
        for _ in 0..64 {
            let Some(socket) = path.of(&mut self.world.sockets[index].1) else { return };
            let Some((remote, len)) = socket.next_error(&mut quoted) else { return };
            let branch = branch_of(&quoted[..len]);
            self.switch.handle_unreachable(now, remote, branch);
            // The kernel tells any socket of the address, not the one that sent.
            for (shard, peer) in self.world.peers.iter().enumerate() {
                if shard != self.shard && peer.fill() < MAILBOX_FILL {
                    let _ = peer.send(Input::Unreachable(remote, branch.map(Box::from)));
                }
            }
        }
    }

    /// Does all that the switch and NG's calls want done.
    pub(crate) fn flush(&mut self, now: Now) {
        while let Some(output) = self.switch.poll_output() {
            match output {
                Output::Send(transmit) => self.send(now, transmit),
                Output::Media { shard, command } => self.ask_media(now, shard, command),
                Output::Resolve { query, target } => self.resolve(now, query, target),
                Output::Ask { ticket, question } => self.world.hooks.ask(self.shard, ticket, question),
                Output::Opened(cdr) => self.world.records.opened(cdr),
                Output::Ended(cdr) => self.world.records.ended(cdr),
            }
        }
        self.flush_ng(now);
        for shard in 0..self.world.backlog.len() {
            while let Some(command) = self.world.backlog[shard].pop_front() {
                if let Err(command) = self.world.media[shard].send(command) {
                    self.world.backlog[shard].push_front(command);
                    break;
                }
            }
        }
    }

    fn send(&mut self, now: Now, transmit: Transmit) {
        count_sent(&self.switch, &transmit.bytes);
        let target = transmit.target;
        if target.transport != Transport::Udp {
            let failed = transmit.client;
            let out = StreamOut { target, bytes: transmit.bytes, client: transmit.client, shard: self.shard };
            if self.world.streams.send(out).is_err()
                && let Some(client) = failed
            {
                let _ = self.world.inbox.send(Input::SendFailed(client));
            }
            return;
        }
        if transmit.client.is_some() {
            self.world.told.tell(&self.world.gate, now.mono, target.remote.ip());
        }
        let socket = self.world.sockets.iter().map(|(listener, paths)| (listener, &paths.known)).find(
            |(listener, socket)| {
                **listener == target.listener
                    && socket.local().is_ipv4() == target.remote.is_ipv4()
                    && target.local.is_none_or(|l| {
                        socket.local().port() == l.port()
                            && (socket.local().ip().is_unspecified() || socket.local().ip() == l.ip())
                    })
            },
        );
        let sent = match socket {
            Some((_, socket)) => {
                let local = target.local.map(|l| l.ip());
                socket.send(&transmit.bytes, target.remote, local).or_else(|error| match error.kind() {
                    // An ICMP error of an earlier datagram was waiting; it is told by the error queue. Once more.
                    std::io::ErrorKind::ConnectionRefused | std::io::ErrorKind::HostUnreachable => {
                        socket.send(&transmit.bytes, target.remote, local)
                    }
                    _ => Err(error),
                })
            }
            None => Err(std::io::Error::other("no socket of that family on the listener")),
        };
        if let Err(error) = sent {
            tracing::debug!(remote = %target.remote, %error, "not sent");
            if let Some(client) = transmit.client
                && error.kind() != std::io::ErrorKind::WouldBlock
            {
                let _ = self.world.inbox.send(Input::SendFailed(client));
            }
        }
    }

    pub(crate) fn ask_media(&mut self, now: Now, shard: usize, command: Command) {
        let Some(ring) = self.world.media.get(shard) else { return };
        let backlog = &mut self.world.backlog[shard];
        let refused = if backlog.is_empty() { ring.send(command).err() } else { Some(command) };
        match refused {
            None => {}
            // A full ring refuses new calls; what belongs to live ones is kept and sent as soon as there is room.
            Some(Command::Open { bridge, .. }) => {
                self.switch.stats().queue_dropped.add(&["media_open"], 1);
                let why = command::OpenRefusal::Full;
                self.handle_media(now, Event::Refused { bridge, why });
            }
            Some(command) => backlog.push_back(command),
        }
    }

    fn resolve(&mut self, now: Now, query: Query, target: SpecTarget) {
        if let Some(ip) = is_literal(&target.host) {
            let transport = target.transport.unwrap_or(Transport::Udp);
            let remote = SocketAddr::new(ip, target.port.unwrap_or(transport.default_port()));
            let hops =
                self.world.sources.find(now.mono, remote).map(|local| Hop { transport, remote, local });
            self.switch.handle_resolved(now, query, hops.into_iter().collect());
        } else if self.world.resolver.ask(self.shard, query, target).is_err() {
            self.switch.stats().queue_dropped.add(&["dns"], 1);
            self.switch.handle_resolved(now, query, Vec::new());
        }
    }

    fn measure(&mut self, started: Now) {
        let now = self.clock.now().mono;
        let load = &mut self.world.load;
        let turn_ns = now.nanos_since(started.mono);
        load.busy_ns += turn_ns;
        let window = now.nanos_since(load.since);
        if window >= 1_000_000_000 {
            let ppm = (u128::from(load.busy_ns) * 1_000_000 / u128::from(window)) as u64;
            self.switch.stats().load_ppm.set(ppm);
            (load.since, load.busy_ns) = (now, 0);
            self.world.gate.catch_up(now);
            self.world.blocked.catch_up();
            self.switch.publish();
        }
        // Turns that take a quarter of a second, or rings that fill, mean that T1 is in danger: new calls are shed. One
        // such turn alone is a host that looked away for a moment.
        let is_slow = turn_ns > 250_000_000;
        let was_slow = core::mem::replace(&mut load.was_slow, is_slow);
        let behind = is_slow && was_slow || self.world.inbox.fill() > 0.8 || self.world.events.fill() > 0.8;
        self.switch.set_overloaded(behind);
        if let Some(ng) = &mut self.ng {
            ng.set_overloaded(behind);
        }
    }

    fn sleep(&mut self) {
        let may_sleep = self.world.inbox.sleep() & self.world.events.sleep();
        let has_backlog = self.world.backlog.iter().any(|b| !b.is_empty());
        let due = [self.switch.poll_timeout(), self.ng.as_ref().and_then(ng::desk::Ng::poll_timeout)];
        let due = due.into_iter().flatten().min_by_key(|(at, _)| *at);
        let mut timeout = match (may_sleep, due) {
            (false, _) => 0,
            (true, _) if has_backlog => 1,
            // Rounded up, so that a timer is due when we wake; at least once a second for what is published.
            (true, Some((at, _))) => {
                let now = self.clock.now().mono;
                (at.nanos_since(now).div_ceil(1_000_000)).min(1_000) as i32
            }
            (true, None) => 1_000,
        };
        if !self.world.waiting.is_empty() {
            // Rounded up: then there is something left of the allowance.
            let rest_ns = self.world.allowance.wait().as_nanos();
            let rest = if self.world.allowance.is_left() { 0 } else { rest_ns.div_ceil(1_000_000) };
            timeout = timeout.min(rest as i32);
        }
        self.world.poll.wait(timeout, &mut self.world.ready);
        self.world.inbox.awake();
        self.world.events.awake();
        if self.world.ready.contains(&BELL) {
            self.world.bell.quiet();
        }
    }
}

/// Which of the two sockets of an address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Path {
    Known,
    Strangers,
}

/// Whether a message may go to the thread that owns its Call-ID.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HandOver {
    /// It has gone there already.
    Never,
    /// A stranger's, only where much room is left.
    IfIdle,
    Yes,
}

impl Path {
    fn token(self, index: usize) -> u64 {
        index as u64 * 2 + u64::from(self == Path::Strangers)
    }

    fn of(self, paths: &mut Paths) -> Option<&mut UdpSocket> {
        match self {
            Path::Known => Some(&mut paths.known),
            Path::Strangers => paths.strangers.as_mut(),
        }
    }
}

/// Of a peer behind a NAT (RFC 5626 section 4.4.1).
fn is_keep_alive(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| matches!(b, b'\r' | b'\n' | 0))
}

impl World {
    /// Watches the sockets and the bell.
    pub fn watch(&self) -> std::io::Result<()> {
        self.poll.watch(self.bell.raw(), BELL)?;
        for (index, (_, paths)) in self.sockets.iter().enumerate() {
            self.poll.watch(paths.known.raw(), Path::Known.token(index))?;
            if let Some(strangers) = &paths.strangers {
                self.poll.watch_once(strangers.raw(), Path::Strangers.token(index))?;
            }
        }
        if let Some(ng) = &self.ng {
            ng.watch(&self.poll)?;
        }
        Ok(())
    }
}

impl Sources {
    /// The kernel's choice, asked anew after some seconds since routes change.
    fn find(&mut self, now: Instant, remote: SocketAddr) -> Option<IpAddr> {
        const KEEP_NS: u64 = 5_000_000_000;
        const KNOWN_MAX: usize = 4_096;
        if let Some((at, local)) = self.known.get(&remote.ip())
            && now.nanos_since(*at) < KEEP_NS
        {
            return Some(*local);
        }
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        let local = source_address(remote)?;
        self.known.insert(remote.ip(), (now, local));
        Some(local)
    }
}

fn count_message(switch: &Switch, direction: &str, message: &Message<'_>) {
    let method =
        message.method().known().map_or("OTHER", |m| core::str::from_utf8(m.as_bytes()).unwrap_or("OTHER"));
    switch.stats().messages.add(&[direction, method, code_label(message.status())], 1);
}

/// Counts one of ours by its first line; it was made by us, so a look is enough.
fn count_sent(switch: &Switch, bytes: &[u8]) {
    let line = bytes.split(|b| *b == b'\r').next().unwrap_or_default();
    let text = |b| core::str::from_utf8(b).unwrap_or("OTHER");
    match line.strip_prefix(b"SIP/2.0 ") {
        Some(rest) => {
            let code =
                core::str::from_utf8(rest.get(..3).unwrap_or_default()).ok().and_then(|c| c.parse().ok());
            let method = memchr::memmem::find(bytes, b"\r\nCSeq: ")
                .and_then(|at| bytes[at + 8..].split(|b| *b == b'\r').next())
                .and_then(|value| value.rsplit(|b| *b == b' ').next())
                .unwrap_or_default();
            let known = sip::message::Method::of(method).known();
            switch
                .stats()
                .messages
                .add(&["out", known.map_or("OTHER", |m| text(m.as_bytes())), code_label(code)], 1);
        }
        None => {
            let method = line.split(|b| *b == b' ').next().unwrap_or_default();
            let known = sip::message::Method::of(method).known();
            switch
                .stats()
                .messages
                .add(&["out", known.map_or("OTHER", |m| text(m.as_bytes())), "request"], 1);
        }
    }
}

/// Codes as labels: the usual ones by name, others by class, so that strangers cannot make series.
fn code_label(code: Option<u16>) -> &'static str {
    match code {
        None => "request",
        Some(100) => "100",
        Some(180) => "180",
        Some(183) => "183",
        Some(200) => "200",
        Some(400) => "400",
        Some(401) => "401",
        Some(403) => "403",
        Some(404) => "404",
        Some(405) => "405",
        Some(407) => "407",
        Some(408) => "408",
        Some(422) => "422",
        Some(480) => "480",
        Some(481) => "481",
        Some(482) => "482",
        Some(483) => "483",
        Some(484) => "484",
        Some(486) => "486",
        Some(487) => "487",
        Some(488) => "488",
        Some(491) => "491",
        Some(500) => "500",
        Some(501) => "501",
        Some(503) => "503",
        Some(603) => "603",
        Some(100..=199) => "1xx",
        Some(200..=299) => "2xx",
        Some(300..=399) => "3xx",
        Some(400..=499) => "4xx",
        Some(500..=599) => "5xx",
        Some(_) => "6xx",
    }
}

/// The branch in the quoted beginning of a request of ours.
fn branch_of(quoted: &[u8]) -> Option<&[u8]> {
    let at = memchr::memmem::find(quoted, b";branch=")? + 8;
    let rest = &quoted[at..];
    let end = rest.iter().position(|b| matches!(b, b';' | b',' | b'\r' | b'\n' | b' '))?;
    Some(&rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_branch_is_found_in_what_icmp_quotes() {
        let quoted = b"INVITE sip:x SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKabc;rport\r\nMax-Forw";
        assert_eq!(branch_of(quoted), Some(&b"z9hG4bKabc"[..]));
        assert_eq!(branch_of(&quoted[..50]), None);
    }
}
