//! SIP over TCP on the control threads: cuts frames, passes whole messages to the thread that owns their Call-ID, and
//! sends what the signalling threads give it, on the connection that they name or on one that it opens. It reads no
//! further on a connection whose messages find no room (RFC 3261 section 18, RFC 5626 keep-alives).

use crate::input::{Input, QueueFull};
use b2bua::Transport;
use base::{Duration, HashKey, Key, Mailbox, Slab};
use core::net::SocketAddr;
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
/// A peer must have sent the rest of a message by then.
const REST: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(4);

struct Hub {
    inboxes: Vec<Mailbox<Input>>,
    steering: HashKey,
    table: Mutex<Table>,
}

struct Table {
    connections: Slab<Connection>,
    /// The newest connection to a peer's address, for reuse.
    by_remote: BTreeMap<SocketAddr, Key>,
}

struct Connection {
    remote: SocketAddr,
    out: mpsc::Sender<StreamOut>,
}

impl Streams {
    /// Starts on the runtime that this is called in; `listeners` are bound already, each with its listener's number.
    pub fn start(
        listeners: Vec<(u16, TcpListener)>,
        inboxes: Vec<Mailbox<Input>>,
        steering: HashKey,
    ) -> Streams {
        let table = Table { connections: Slab::with_max(CONNECTIONS_MAX), by_remote: BTreeMap::new() };
        let hub = Arc::new(Hub { inboxes, steering, table: Mutex::new(table) });
        for (listener, socket) in listeners {
            tokio::spawn(accept(Arc::clone(&hub), listener, socket));
        }
        let (queue, outgoing) = mpsc::channel(4_096);
        tokio::spawn(distribute(hub, outgoing));
        Streams { queue }
    }

    /// Posts a message.
    ///
    /// # Errors
    /// Too many wait already.
    pub fn send(&self, out: StreamOut) -> Result<(), QueueFull> {
        self.queue.try_send(out).map_err(|_| QueueFull)
    }
}

async fn accept(hub: Arc<Hub>, listener: u16, socket: TcpListener) {
    loop {
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
    /// Starts to serve a connection; false if there are too many.
    fn adopt(self: &Arc<Self>, stream: TcpStream, listener: u16, first: Option<StreamOut>) -> bool {
        let (Ok(remote), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else { return false };
        let _ = stream.set_nodelay(true);
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        if let Some(first) = first {
            let _ = sender.try_send(first);
        }
        let key = {
            let Ok(mut table) = self.table.lock() else { return false };
            let Ok(key) = table.connections.insert(Connection { remote, out: sender }) else { return false };
            table.by_remote.insert(remote, key);
            key
        };
        let (read, write) = stream.into_split();
        let stream = Some(FlowId { index: key.index, generation: key.generation });
        let flow = Flow { transport: Transport::Tcp, listener, local, remote, stream };
        tokio::spawn(write_all(Arc::clone(self), write, receiver, key));
        tokio::spawn(read_all(Arc::clone(self), read, flow, key));
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

async fn read_all(hub: Arc<Hub>, mut read: OwnedReadHalf, flow: Flow, key: Key) {
    let mut buffer: Vec<u8> = Vec::with_capacity(8_192);
    let mut progress = Progress::default();
    'reading: loop {
        // Cut all whole messages out of what is there.
        let mut start = 0;
        while start < buffer.len() {
            match resume(&buffer[start..], Framing::Stream, &mut progress) {
                Frame::Message(range) => {
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
        let patience = if buffer.is_empty() { IDLE } else { REST };
        match tokio::time::timeout(patience, read.read_buf(&mut buffer)).await {
            Ok(Ok(n)) if n > 0 => {}
            Ok(_) | Err(_) => break,
        }
    }
    hub.close(key);
}

impl Hub {
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
