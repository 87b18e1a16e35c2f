//! NG's part of a signalling thread's turn: requests from its datagram sockets go to the thread that owns their Call-ID,
//! replies leave from the address that was asked, events of media and questions of control find their calls.

use crate::input::{Input, NgRequest, Sounds};
use crate::ng_stream::NgStreams;
use crate::run::Turner;
use crate::udp::{BATCH, Buffers, UdpSocket};
use base::Now;
use command::{BridgeId, Event, Generation};
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use ledger::{Ask, CallId, CallSummary, Reply, control::Subject};
use ng::counts::NgStats;
use ng::desk::{Config, Ng, Output};
use ng::frame::{self, Carrier, Frame, Origin};
use ng::spec::Spec;
use std::sync::{Arc, Mutex};

/// What a signalling thread needs for NG.
pub struct NgEdge {
    /// What its calls are told.
    pub config: Config,
    /// The configuration in force.
    pub spec: Arc<Spec>,
    /// Bound datagram sockets: in the same order on all threads, since an [`Origin`] names them by number.
    pub sockets: Vec<UdpSocket>,
    /// Connections.
    pub streams: NgStreams,
    /// Who reads sounds.
    pub sounds: Arc<dyn Sounds>,
    /// Its counters.
    pub stats: Arc<NgStats>,
}

/// What a signalling thread keeps of NG over its restarts.
pub(crate) struct NgWorld {
    pub spec: Arc<Spec>,
    pub sockets: Vec<UdpSocket>,
    pub streams: NgStreams,
    pub sounds: Arc<dyn Sounds>,
    /// For events: one for each family, when it is needed.
    pub events: [Option<UdpSocket>; 2],
}

/// Tokens of epoll: behind those of SIP's sockets.
const FIRST_TOKEN: u64 = 1 << 32;
/// Batches of one socket in a turn: what is more waits in the kernel, and live calls go on.
const BATCHES: usize = 4;

/// Requests find no room in a mailbox that is filled so far: the rest is for SIP and for what control asks.
pub(crate) const MAILBOX_FILL: f64 = 0.5;

impl NgWorld {
    pub fn watch(&self, poll: &crate::udp::Poll) -> std::io::Result<()> {
        for (index, socket) in self.sockets.iter().enumerate() {
            poll.watch(socket.raw(), token(index))?;
        }
        Ok(())
    }

    /// Sends the reply to a datagram.
    fn send(&self, origin: Origin, bytes: &[u8]) -> bool {
        let socket = usize::try_from(origin.connection).ok().and_then(|index| self.sockets.get(index));
        socket.is_some_and(|socket| send(socket, bytes, origin.remote, origin.local).is_ok())
    }

    /// Tells somebody of an event.
    fn notify(&mut self, to: SocketAddr, bytes: &[u8]) -> bool {
        let socket = &mut self.events[usize::from(to.is_ipv6())];
        if socket.is_none() {
            let any = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
            *socket = UdpSocket::bind(SocketAddr::new(any, 0), 0).ok();
        }
        socket.as_ref().is_some_and(|socket| send(socket, bytes, to, None).is_ok())
    }
}

fn token(index: usize) -> u64 {
    FIRST_TOKEN + index as u64
}

fn send(
    socket: &UdpSocket,
    bytes: &[u8],
    to: SocketAddr,
    local: Option<core::net::IpAddr>,
) -> std::io::Result<()> {
    socket.send(bytes, to, local).or_else(|error| match error.kind() {
        // An ICMP error of an earlier datagram was waiting. Once more.
        std::io::ErrorKind::ConnectionRefused | std::io::ErrorKind::HostUnreachable => {
            socket.send(bytes, to, local)
        }
        _ => Err(error),
    })
}

impl Turner<'_> {
    /// Requests of all sockets that have some.
    pub(crate) fn take_ng_datagrams(&mut self, now: Now) {
        let sockets = self.world.ng.as_ref().map_or(0, |ng| ng.sockets.len());
        for index in 0..sockets {
            if !self.world.ready.contains(&token(index)) {
                continue;
            }
            for _ in 0..BATCHES {
                if self.take_ng_batch(now, index) < BATCH {
                    break;
                }
            }
        }
    }

    fn take_ng_batch(&mut self, now: Now, index: usize) -> usize {
        // Taken out for the batch, as for SIP.
        let mut buffers = core::mem::replace(&mut self.world.buffers, Buffers::empty());
        buffers.received.clear();
        if let Some(socket) = self.world.ng.as_mut().and_then(|ng| ng.sockets.get_mut(index)) {
            if let Ok(Some(drops)) = socket.receive(&mut buffers) {
                let new = socket.new_drops(drops);
                if new > 0 {
                    self.switch.stats().kernel_drops.add(&["ng"], i64::from(new));
                }
            }
            // A peer that has gone does not hear of its replies, and what it quotes is of no use. The error may be told
            // to a send instead: then the queue alone keeps waking us.
            if buffers.received.is_empty() {
                while socket.next_error(&mut [0; 64]).is_some() {}
            }
        }
        let count = buffers.received.len();
        for at in 0..count {
            let datagram = buffers.received[at];
            let origin = Origin {
                carrier: Carrier::Udp,
                connection: index as u64,
                remote: datagram.remote,
                local: Some(datagram.local.ip()),
            };
            match Frame::datagram(buffers.datagram(at)) {
                Some(frame) => self.take_ng(now, origin, frame),
                None => {
                    if let Some(stats) = &self.ng_stats {
                        stats.dropped.add(1);
                    }
                }
            }
        }
        self.world.buffers = buffers;
        self.flush(now);
        count
    }

    /// One request: handled here, or handed to the thread that owns its Call-ID.
    fn take_ng(&mut self, now: Now, origin: Origin, frame: Frame<'_>) {
        let shards = self.world.peers.len();
        let owner = match frame::call_id_of(frame.payload) {
            Some(call_id) => self.world.steering.owner(&call_id, shards),
            None => self.shard,
        };
        let peer = &self.world.peers[owner];
        if owner == self.shard {
            self.handle_ng(now, origin, frame);
        } else if peer.fill() > MAILBOX_FILL || peer.send(Input::Ng(NgRequest::new(origin, frame))).is_err() {
            // The peer asks again.
            self.switch.stats().queue_dropped.add(&["ng"], 1);
        }
    }

    pub(crate) fn handle_ng(&mut self, now: Now, origin: Origin, frame: Frame<'_>) {
        if let Some(ng) = &mut self.ng {
            ng.handle_request(now, origin, frame);
        }
    }

    /// An event of media: to the calls of SIP, those of NG, or both.
    pub(crate) fn handle_media(&mut self, now: Now, event: Event) {
        // A media shard that starts for the first time has lost nothing: what it was asked for before waits for it.
        if matches!(event, Event::Started { generation: Generation(1), .. }) {
            return;
        }
        match (&mut self.ng, bridge_of(&event)) {
            (Some(ng), Some(bridge)) if ng.owns(bridge) => ng.handle_media(now, event),
            (Some(ng), None) => {
                ng.handle_media(now, event.clone());
                self.switch.handle_media(now, event);
            }
            (Some(_) | None, _) => self.switch.handle_media(now, event),
        }
    }

    /// A question of control: to whoever has the call, or both.
    pub(crate) fn handle_ask(&mut self, now: Now, ask: Ask) {
        let Some(ng) = &mut self.ng else { return self.switch.handle_ask(now, ask) };
        match ask {
            Ask::List(filter, reply) => {
                let rows = Rows::new(reply);
                self.switch.handle_ask(now, Ask::List(filter.clone(), rows.part()));
                ng.handle_ask(now, Ask::List(filter, rows.part()));
            }
            Ask::HangupAll => {
                self.switch.handle_ask(now, Ask::HangupAll);
                ng.handle_ask(now, Ask::HangupAll);
            }
            Ask::Drain(on) => {
                self.switch.handle_ask(now, Ask::Drain(on));
                ng.handle_ask(now, Ask::Drain(on));
            }
            ask if call_of(&ask).is_some_and(|call| ng.knows(call)) => ng.handle_ask(now, ask),
            ask => self.switch.handle_ask(now, ask),
        }
    }

    /// Does all that NG's calls want done.
    pub(crate) fn flush_ng(&mut self, now: Now) {
        while let Some(output) = self.ng.as_mut().and_then(Ng::poll_output) {
            let Some(world) = &mut self.world.ng else { return };
            match output {
                Output::Reply { origin, bytes } => {
                    let sent = match origin.carrier {
                        Carrier::Udp => world.send(origin, &bytes),
                        Carrier::Tcp | Carrier::Http | Carrier::WebSocket => {
                            world.streams.reply(origin, bytes).is_ok()
                        }
                    };
                    if !sent {
                        // The peer asks again, and gets the same reply.
                        self.switch.stats().queue_dropped.add(&["ng_replies"], 1);
                    }
                }
                Output::Media { shard, command } => self.ask_media(now, shard, command),
                Output::Sound { ticket, source } => world.sounds.load(self.shard, ticket, source),
                Output::Notify { to, bytes } => {
                    if !world.notify(to, &bytes) {
                        self.switch.stats().queue_dropped.add(&["ng_events"], 1);
                    }
                }
            }
        }
    }
}

/// Whose event it is; none for one that concerns all.
fn bridge_of(event: &Event) -> Option<BridgeId> {
    match event {
        Event::Started { .. } => None,
        Event::Opened { bridge, .. }
        | Event::Refused { bridge, .. }
        | Event::Unsupported { bridge, .. }
        | Event::Learned { bridge, .. }
        | Event::Foreign { bridge, .. }
        | Event::OneSideSilent { bridge, .. }
        | Event::Silent { bridge, .. }
        | Event::Digit { bridge, .. }
        | Event::Signal { bridge, .. }
        | Event::Talking { bridge, .. }
        | Event::Ended { bridge, .. }
        | Event::Report { bridge, .. }
        | Event::Closed { bridge, .. } => Some(*bridge),
    }
}

/// The call that a question is about.
fn call_of(ask: &Ask) -> Option<CallId> {
    match ask {
        Ask::Show(id, _)
        | Ask::Trace(id, _)
        | Ask::Hangup(id, _)
        | Ask::Dtmf(id, ..)
        | Ask::Mute(id, ..)
        | Ask::Hold(id, ..)
        | Ask::Join(id, ..)
        | Ask::Leave(id, ..)
        | Ask::Play(Subject::Call(id), ..)
        | Ask::Stop(Subject::Call(id), ..)
        | Ask::Record(Subject::Call(id), ..)
        | Ask::Fork(Subject::Call(id), ..) => Some(*id),
        Ask::Play(Subject::Room(_), ..)
        | Ask::Stop(Subject::Room(_), ..)
        | Ask::Record(Subject::Room(_), ..)
        | Ask::Fork(Subject::Room(_), ..)
        | Ask::List(..)
        | Ask::PutRoom(..)
        | Ask::Rooms(..)
        | Ask::CloseRoom(..)
        | Ask::Explain(..)
        | Ask::Drain(_)
        | Ask::HangupAll
        | Ask::Panic => None,
    }
}

/// Rows of a list that come in two parts.
struct Rows {
    parts: Arc<Mutex<Parts>>,
}

struct Parts {
    rows: Vec<CallSummary>,
    missing: u8,
    reply: Option<Reply<Vec<CallSummary>>>,
}

impl Rows {
    fn new(reply: Reply<Vec<CallSummary>>) -> Rows {
        Rows { parts: Arc::new(Mutex::new(Parts { rows: Vec::new(), missing: 2, reply: Some(reply) })) }
    }

    fn part(&self) -> Reply<Vec<CallSummary>> {
        let parts = Arc::clone(&self.parts);
        Box::new(move |rows| {
            let Ok(mut parts) = parts.lock() else { return };
            parts.rows.extend(rows);
            parts.missing -= 1;
            if parts.missing == 0
                && let Some(reply) = parts.reply.take()
            {
                reply(core::mem::take(&mut parts.rows));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_handed_over_whole() {
        let origin = Origin {
            carrier: Carrier::Udp,
            connection: 3,
            remote: "127.0.0.1:9".parse().unwrap(),
            local: None,
        };
        for frame in [
            Frame { cookie: b"c1", payload: b"d7:command4:pinge" },
            Frame { cookie: b"", payload: b"{\"command\": \"ping\"}" },
            Frame { cookie: b"c", payload: b"" },
        ] {
            assert_eq!(NgRequest::new(origin, frame).frame(), frame);
        }
    }

    #[test]
    fn a_list_is_answered_when_both_parts_are_there() {
        let (sender, answer) = std::sync::mpsc::channel();
        let rows = Rows::new(Box::new(move |rows: Vec<CallSummary>| sender.send(rows.len()).unwrap()));
        let (one, two) = (rows.part(), rows.part());
        one(Vec::new());
        assert!(answer.try_recv().is_err());
        two(Vec::new());
        assert_eq!(answer.try_recv(), Ok(0));
    }
}
