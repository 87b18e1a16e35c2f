//! SIP over TCP on the control threads: cuts frames, passes whole messages to the thread that owns their Call-ID, and
//! sends what the signalling threads give it, on the connection that they name or on one that it opens. It reads no
//! further on a connection whose messages find no room (RFC 3261 section 18, RFC 5626 keep-alives). Strangers have a
//! bounded number of connections, a pace, and little time to be slow in; trunks are exempt.

use crate::gate::Gate;
use crate::input::{Input, QueueFull};
use crate::strangers::{Crowd, MAILBOX_FILL, Pace};
use crate::udp::Listening;
use b2bua::Transport;
use base::{Clock, Duration, HashKey, Key, Mailbox, Slab};
use core::net::SocketAddr;
use ledger::Bans;
use sip::flow::{Flow, FlowId, Target};
use sip::frame::{Frame, Framing, Progress, resume};
use sip::message::Message;
use sip::stack::ClientTx;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// A message to send on a stream.
#[derive(Debug)]
pub struct StreamOut {
    /// Where to; its `stream` names the connection, if there is one.
    pub target: Target,
    /// The message.
    pub bytes: Arc<[u8]>,
    /// Who wants to know if it cannot be sent.
    pub client: Option<ClientTx>,
    /// That one's thread.
    pub shard: usize,
}

/// The sending end; clones share the queue.
#[derive(Clone, Debug)]
pub struct Streams {
    queue: mpsc::Sender<StreamOut>,
}

/// Connections at most; further ones are refused.
const CONNECTIONS_MAX: u32 = 4_096;
/// Messages that may wait for one connection; a peer that takes no more is cut off.
const WAITING_MAX: usize = 256;
/// A connection without any message is closed after this.
const IDLE: Duration = Duration::from_secs(600);
/// That of a stranger; a phone that keeps its way through a NAT open says something every two minutes (RFC 5626).
const IDLE_STRANGER: Duration = Duration::from_secs(180);
/// A stranger must have sent a whole message by then, whatever else it sends.
const FIRST_STRANGER: Duration = Duration::from_secs(20);
/// Messages a second, and at once, of one stranger's connection and of all strangers together.
const PACE_ONE: (u32, u32) = (50, 100);
const PACE_ALL: (u32, u32) = (2_000, 500);
/// Connections of strangers that one address accepts a second, and at once.
const PACE_ACCEPT: (u32, u32) = (500, 500);
/// A peer must have sent the rest of a message by then, however many pieces it comes in.
const REST: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(4);

struct Hub {
    inboxes: Vec<Mailbox<Input>>,
    steering: HashKey,
    guard: StreamGuard,
    table: Mutex<Table>,
    strangers: Mutex<Pace>,
}

/// Who may connect.
#[derive(Clone, Debug)]
pub struct StreamGuard {
    /// Who is known: others are bounded in number and pace.
    pub gate: Arc<Gate>,
    /// Who may not.
    pub bans: Arc<Bans>,
    /// The clock of the process.
    pub clock: Clock,
}

struct Table {
    connections: Slab<Connection>,
    /// The newest connection to a peer's address, for reuse.
    by_remote: BTreeMap<SocketAddr, Key>,
    crowd: Crowd,
}

struct Connection {
    remote: SocketAddr,
    out: mpsc::Sender<StreamOut>,
    /// It is counted in the crowd.
    stranger: bool,
}

impl Streams {
    /// Starts on the runtime that this is called in; `listeners` are bound already, each with its listener's number.
    ///
    /// # Errors
    /// The runtime cannot watch a socket.
    pub fn start(
        listeners: Vec<(u16, Listening)>,
        inboxes: Vec<Mailbox<Input>>,
        steering: HashKey,
        guard: StreamGuard,
    ) -> std::io::Result<Streams> {
        let table = Table {
            connections: Slab::with_max(CONNECTIONS_MAX),
            by_remote: BTreeMap::new(),
            crowd: Crowd::default(),
        };
        let strangers = Mutex::new(Pace::new(PACE_ALL.0, PACE_ALL.1));
        let hub = Arc::new(Hub { inboxes, steering, guard, table: Mutex::new(table), strangers });
        for (listener, sockets) in listeners {
            let known = TcpListener::from_std(sockets.known)?;
            tokio::spawn(accept(Arc::clone(&hub), listener, known, None));
            if let Some(strangers) = sockets.strangers {
                let strangers = TcpListener::from_std(strangers)?;
                let pace = Pace::new(PACE_ACCEPT.0, PACE_ACCEPT.1);
                tokio::spawn(accept(Arc::clone(&hub), listener, strangers, Some(pace)));
            }
        }
        let (queue, outgoing) = mpsc::channel(4_096);
        tokio::spawn(distribute(hub, outgoing));
        Ok(Streams { queue })
    }

    /// Posts a message.
    ///
    /// # Errors
    /// Too many wait already.
    pub fn send(&self, out: StreamOut) -> Result<(), QueueFull> {
        self.queue.try_send(out).map_err(|_| QueueFull)
    }
}

async fn accept(hub: Arc<Hub>, listener: u16, socket: TcpListener, mut pace: Option<Pace>) {
    loop {
        if let Some(pace) = &mut pace {
            let wait = pace.take(hub.guard.clock.now().mono);
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
        }
        match socket.accept().await {
            Ok((stream, _)) => {
                hub.adopt(stream, listener, None);
            }
            // No descriptor left: those that exist may end meanwhile.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Brings each message to its connection, opening it if there is none.
async fn distribute(hub: Arc<Hub>, mut outgoing: mpsc::Receiver<StreamOut>) {
    while let Some(out) = outgoing.recv().await {
        let (shard, client) = (out.shard, out.client);
        match hub.find(&out.target) {
            Some(connection) => {
                if connection.try_send(out).is_err() {
                    hub.failed(shard, client);
                }
            }
            // A reply on a connection that has gone: the peer will ask again.
            None if client.is_none() && out.target.stream.is_some() => {}
            None => {
                // Connecting must not hold up the others. What follows to the same peer meanwhile opens its own
                // connection, which both sides may do at any time.
                tokio::spawn(connect(Arc::clone(&hub), out));
            }
        }
    }
}

async fn connect(hub: Arc<Hub>, out: StreamOut) {
    let (shard, client) = (out.shard, out.client);
    let socket = match out.target.remote {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let opened = async {
        let socket = socket?;
        if let Some(local) = out.target.local {
            socket.bind(SocketAddr::new(local.ip(), 0))?; // from the address that Via and Contact say
        }
        socket.connect(out.target.remote).await
    };
    match tokio::time::timeout(CONNECT, opened).await {
        Ok(Ok(stream)) => {
            if !hub.adopt(stream, out.target.listener, Some(out)) {
                hub.failed(shard, client);
            }
        }
        Ok(Err(_)) | Err(_) => hub.failed(shard, client),
    }
}

impl Hub {
    /// Starts to serve a connection; false if there are too many, or the peer is banned. `first` is what it was opened
    /// for by us.
    fn adopt(self: &Arc<Self>, stream: TcpStream, listener: u16, first: Option<StreamOut>) -> bool {
        let (Ok(remote), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else { return false };
        let stranger = first.is_none() && !self.guard.gate.is_known(remote.ip());
        if stranger && self.guard.bans.is_banned(self.guard.clock.now().wall, remote.ip()) {
            return false;
        }
        let _ = stream.set_nodelay(true);
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        if let Some(first) = first {
            let _ = sender.try_send(first);
        }
        let key = {
            let Ok(mut table) = self.table.lock() else { return false };
            if stranger && !table.crowd.enter(remote.ip()) {
                tracing::debug!(%remote, "too many connections of strangers");
                return false;
            }
            let Ok(key) = table.connections.insert(Connection { remote, out: sender, stranger }) else {
                if stranger {
                    table.crowd.leave(remote.ip());
                }
                return false;
            };
            table.by_remote.insert(remote, key);
            key
        };
        let (read, write) = stream.into_split();
        let stream = Some(FlowId { index: key.index, generation: key.generation });
        let flow = Flow { transport: Transport::Tcp, listener, local, remote, stream };
        tokio::spawn(write_all(Arc::clone(self), write, receiver, key));
        tokio::spawn(read_all(Arc::clone(self), read, flow, key, stranger));
        true
    }

    fn find(&self, target: &Target) -> Option<mpsc::Sender<StreamOut>> {
        let table = self.table.lock().ok()?;
        let key = match target.stream {
            Some(flow) => Key { index: flow.index, generation: flow.generation },
            None => *table.by_remote.get(&target.remote)?,
        };
        table.connections.get(key).map(|c| c.out.clone())
    }

    fn close(&self, key: Key) {
        let gone = {
            let Ok(mut table) = self.table.lock() else { return };
            let gone = table.connections.remove(key);
            if let Some(gone) = &gone
                && gone.stranger
            {
                table.crowd.leave(gone.remote.ip());
            }
            if let Some(gone) = &gone
                && table.by_remote.get(&gone.remote) == Some(&key)
            {
                table.by_remote.remove(&gone.remote);
            }
            gone.is_some()
        };
        if gone {
            for inbox in &self.inboxes {
                let _ =
                    inbox.send(Input::StreamClosed(FlowId { index: key.index, generation: key.generation }));
            }
        }
    }

    fn failed(&self, shard: usize, client: Option<ClientTx>) {
        if let Some(client) = client {
            let _ = self.inboxes[shard].send(Input::SendFailed(client));
        }
    }
}

async fn write_all(hub: Arc<Hub>, mut write: OwnedWriteHalf, mut queue: mpsc::Receiver<StreamOut>, key: Key) {
    while let Some(out) = queue.recv().await {
        let sent = tokio::time::timeout(REST, write.write_all(&out.bytes)).await;
        if !matches!(sent, Ok(Ok(()))) {
            hub.failed(out.shard, out.client);
            break;
        }
    }
    // What still waits cannot be sent any more.
    queue.close();
    while let Some(out) = queue.recv().await {
        hub.failed(out.shard, out.client);
    }
    hub.close(key);
}

async fn read_all(hub: Arc<Hub>, mut read: OwnedReadHalf, flow: Flow, key: Key, stranger: bool) {
    let mut buffer: Vec<u8> = Vec::with_capacity(if stranger { 2_048 } else { 8_192 });
    let mut progress = Progress::default();
    let mut pace = Pace::new(PACE_ONE.0, PACE_ONE.1);
    let mut patience = Patience { opened: Instant::now(), greeted: false, rest: None };
    'reading: loop {
        // Cut all whole messages out of what is there.
        let mut start = 0;
        while start < buffer.len() {
            match resume(&buffer[start..], Framing::Stream, &mut progress) {
                Frame::Message(range) => {
                    // It may have become known since.
                    if stranger
                        && !hub.guard.gate.is_known(flow.remote.ip())
                        && !hub.may_go_on(&flow, &mut pace).await
                    {
                        break 'reading;
                    }
                    patience.greeted = true;
                    let end = start + range.end;
                    hub.pass_on(&flow, &buffer[start + range.start..end]).await;
                    start = end;
                }
                Frame::KeepAlive { len, ping } => {
                    if ping {
                        hub.pong(&flow, key);
                    }
                    start += len;
                }
                Frame::NeedMore(_) => break,
                Frame::Bad(class) => {
                    // After a length that cannot be trusted nothing more on this stream can.
                    tracing::debug!(remote = %flow.remote, class = class.name(), "stream closed");
                    hub.pass_on(&flow, &buffer[start..]).await;
                    // The answer to it goes out before the connection does.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    break 'reading;
                }
            }
            progress = Progress::default();
        }
        buffer.drain(..start);
        let until = patience.until(Instant::now(), stranger, start > 0, buffer.is_empty());
        match tokio::time::timeout_at(until, read.read_buf(&mut buffer)).await {
            Ok(Ok(n)) if n > 0 => {}
            Ok(_) | Err(_) => break,
        }
    }
    hub.close(key);
}

/// How long a peer is waited for.
struct Patience {
    opened: Instant,
    /// A whole message has come.
    greeted: bool,
    /// By when the message must be whole that has begun.
    rest: Option<Instant>,
}

impl Patience {
    /// `moved`: a message or keep-alive has been whole since the last time; `empty`: nothing has begun.
    fn until(&mut self, now: Instant, stranger: bool, moved: bool, empty: bool) -> Instant {
        if empty || moved {
            self.rest = None;
        }
        let until = match empty {
            true if stranger => now + IDLE_STRANGER,
            true => now + IDLE,
            false => *self.rest.get_or_insert(now + REST),
        };
        if stranger && !self.greeted { until.min(self.opened + FIRST_STRANGER) } else { until }
    }
}

impl Hub {
    /// Holds up a stranger that is too fast; false if it is banned by now.
    async fn may_go_on(&self, flow: &Flow, pace: &mut Pace) -> bool {
        let now = self.guard.clock.now();
        if self.guard.bans.is_banned(now.wall, flow.remote.ip()) {
            return false;
        }
        let of_all = self.strangers.lock().map_or(Duration::ZERO, |mut all| all.take(now.mono));
        let wait = pace.take(now.mono).max(of_all);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        // Trunks have the rest of each mailbox to themselves.
        while self.inboxes.iter().any(|inbox| inbox.fill() > MAILBOX_FILL) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        true
    }

    /// To the owner of its Call-ID; waits while that one's mailbox is full, so that the peer's window closes.
    async fn pass_on(&self, flow: &Flow, bytes: &[u8]) {
        let owner = match Message::parse(bytes, Framing::Stream) {
            Ok(message) => self.steering.owner(message.call_id(), self.inboxes.len()),
            Err(_) => 0, // Any thread can say what is wrong with it.
        };
        let mut input = Input::Message(*flow, bytes.into());
        while let Err(back) = self.inboxes[owner].send(input) {
            input = back;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn pong(&self, flow: &Flow, key: Key) {
        let Ok(table) = self.table.lock() else { return };
        if let Some(connection) = table.connections.get(key) {
            let out =
                StreamOut { target: flow.back(), bytes: Arc::from(&b"\r\n"[..]), client: None, shard: 0 };
            let _ = connection.out.try_send(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_in_small_pieces_has_no_more_time_than_one_in_large_ones() {
        let opened = Instant::now();
        let at = |seconds| opened + Duration::from_secs(seconds);
        let mut patience = Patience { opened, greeted: true, rest: None };
        assert_eq!(patience.until(at(0), false, false, true), at(0) + IDLE);
        assert_eq!(patience.until(at(5), false, false, false), at(5) + REST);
        for second in 6..30 {
            assert_eq!(patience.until(at(second), false, false, false), at(5) + REST);
        }
        // The next one begins anew.
        assert_eq!(patience.until(at(30), false, true, false), at(30) + REST);
        assert_eq!(patience.until(at(31), false, true, true), at(31) + IDLE);
    }

    #[test]
    fn a_stranger_that_only_keeps_the_connection_alive_is_closed_soon() {
        let opened = Instant::now();
        let at = |seconds| opened + Duration::from_secs(seconds);
        let mut patience = Patience { opened, greeted: false, rest: None };
        for second in [0, 5, 19] {
            assert_eq!(patience.until(at(second), true, true, true), opened + FIRST_STRANGER);
        }
        patience.greeted = true;
        assert_eq!(patience.until(at(19), true, true, true), at(19) + IDLE_STRANGER);
    }
}
