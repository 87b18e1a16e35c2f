//! NG on connections, on the control thread: whole requests go to the signalling thread that owns their Call-ID, replies
//! come back to the connection that asked. Here what all connections have in common, and TCP; HTTP and WebSockets are in
//! `ng_web`. A connection whose requests find no room is not read, one that takes no replies is cut.

use crate::input::{Input, NgRequest, QueueFull};
use crate::ng_turn::MAILBOX_FILL;
use base::{Duration, HashKey, Mailbox};
use core::net::SocketAddr;
use core::sync::atomic::{AtomicU64, Ordering};
use ng::frame::{self, Carrier, Cutter, Frame, Origin};
use socket2::{SockRef, TcpKeepalive};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

/// What an address speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NgSpeaks {
    /// Cookies and values, one after the other.
    Tcp,
    /// HTTP, and WebSockets on top of it.
    Web,
}

/// The sending end of replies; clones share the queue.
#[derive(Clone, Debug)]
pub struct NgStreams {
    queue: mpsc::Sender<(u64, Vec<u8>)>,
}

/// Connections at most, of all carriers; further ones are closed at once.
const CONNECTIONS_MAX: usize = 1_024;
/// Replies that may wait for the control thread.
const REPLIES_MAX: usize = 4_096;
/// Requests of one connection that wait for their replies; no more are read until then.
pub(crate) const ASKED_MAX: usize = 256;
/// Bytes of one request at most.
pub(crate) const REQUEST_MAX: usize = 1 << 20;
/// For a peer to take a reply.
pub(crate) const WRITE: Duration = Duration::from_secs(20);
/// For the rest of a request.
const REST: Duration = Duration::from_secs(30);
/// Requests without an answer are given up after this: their shard has died.
pub(crate) const ANSWER: Duration = Duration::from_secs(10);
/// A peer that is silent so long is asked whether it is there.
pub(crate) const IDLE: Duration = Duration::from_secs(60);
/// For a mailbox to have room again.
const ROOM: Duration = Duration::from_secs(2);

/// What all connections have in common.
pub(crate) struct Hub {
    inboxes: Vec<Mailbox<Input>>,
    steering: HashKey,
    /// Who waits for replies, by connection.
    asking: Mutex<BTreeMap<u64, mpsc::Sender<Vec<u8>>>>,
    next: AtomicU64,
    places: Arc<Semaphore>,
}

impl NgStreams {
    /// Starts on the runtime that this is called in; the sockets are bound already.
    ///
    /// # Errors
    /// The runtime cannot watch a socket.
    pub fn start(
        listeners: Vec<(NgSpeaks, std::net::TcpListener)>,
        inboxes: Vec<Mailbox<Input>>,
        steering: HashKey,
    ) -> io::Result<NgStreams> {
        let hub = Arc::new(Hub {
            inboxes,
            steering,
            asking: Mutex::default(),
            next: AtomicU64::new(1),
            places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        });
        for (speaks, listener) in listeners {
            listener.set_nonblocking(true)?;
            tokio::spawn(accept(Arc::clone(&hub), speaks, TcpListener::from_std(listener)?));
        }
        let (queue, replies) = mpsc::channel(REPLIES_MAX);
        tokio::spawn(distribute(hub, replies));
        Ok(NgStreams { queue })
    }

    /// Posts a reply to who asked; a connection that has gone meanwhile misses it.
    ///
    /// # Errors
    /// Too many wait already; the peer asks again.
    pub fn reply(&self, origin: Origin, bytes: Vec<u8>) -> Result<(), QueueFull> {
        self.queue.try_send((origin.connection, bytes)).map_err(|_| QueueFull)
    }
}

async fn accept(hub: Arc<Hub>, speaks: NgSpeaks, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                let Ok(place) = Arc::clone(&hub.places).try_acquire_owned() else {
                    tracing::debug!(%remote, "too many connections of NG");
                    continue;
                };
                let _ = stream.set_nodelay(true);
                notice_death(&stream);
                let hub = Arc::clone(&hub);
                tokio::spawn(async move {
                    match speaks {
                        NgSpeaks::Tcp => serve(&hub, stream, remote).await,
                        NgSpeaks::Web => crate::ng_web::serve(hub, stream, remote, place).await,
                    }
                });
            }
            // No descriptor left: connections that exist may end meanwhile.
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

/// A peer that is gone without a word gives its place back: in two minutes and a half, the kernel asks after it.
fn notice_death(stream: &TcpStream) {
    let ask = TcpKeepalive::new().with_time(IDLE).with_interval(Duration::from_secs(30)).with_retries(3);
    let _ = SockRef::from(stream).set_tcp_keepalive(&ask);
}

async fn distribute(hub: Arc<Hub>, mut replies: mpsc::Receiver<(u64, Vec<u8>)>) {
    while let Some((connection, bytes)) = replies.recv().await {
        let mut asking = hub.asking();
        if asking.get(&connection).is_some_and(|sender| sender.try_send(bytes).is_err()) {
            // It takes none of them: without its sender it ends.
            asking.remove(&connection);
        }
    }
}

impl Hub {
    fn asking(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, mpsc::Sender<Vec<u8>>>> {
        // The map is whole between any two calls.
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers one that asks; replies come out of the receiver until it is dropped.
    pub(crate) fn enter(self: &Arc<Self>, carrier: Carrier, remote: SocketAddr, waiting_max: usize) -> Asker {
        let connection = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, replies) = mpsc::channel(waiting_max);
        self.asking().insert(connection, sender);
        let origin = Origin { carrier, connection, remote, local: None };
        Asker { hub: Arc::clone(self), origin, replies }
    }

    /// Brings a request to the signalling thread that owns its Call-ID; false if that has no room for a while.
    async fn pass(&self, origin: Origin, frame: Frame<'_>) -> bool {
        let shards = self.inboxes.len();
        let owner = match frame::call_id_of(frame.payload) {
            Some(call_id) => self.steering.owner(&call_id, shards),
            // Nobody's: any thread can answer, and the same one answers a copy of it.
            None => origin.connection as usize % shards,
        };
        let inbox = &self.inboxes[owner];
        let deadline = Instant::now() + ROOM;
        while inbox.fill() > MAILBOX_FILL {
            if Instant::now() >= deadline {
                return false;
            }
            sleep(Duration::from_millis(5)).await;
        }
        inbox.send(Input::Ng(NgRequest::new(origin, frame))).is_ok()
    }
}

/// One connection, or one request over HTTP, that waits for replies.
pub(crate) struct Asker {
    hub: Arc<Hub>,
    origin: Origin,
    pub(crate) replies: mpsc::Receiver<Vec<u8>>,
}

impl Asker {
    /// Asks; false if there was no room for it.
    pub(crate) async fn ask(&self, frame: Frame<'_>) -> bool {
        self.hub.pass(self.origin, frame).await
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.hub.asking().remove(&self.origin.connection);
    }
}

/// How many requests of a connection wait for their replies.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    count: usize,
    since: Option<Instant>,
}

impl Waiting {
    pub(crate) fn asked(&mut self) {
        self.count += 1;
        self.since = Some(Instant::now());
    }

    pub(crate) fn answered(&mut self) {
        self.count = self.count.saturating_sub(1);
        self.since = Some(Instant::now());
    }

    /// Whether another may be read.
    pub(crate) fn has_room(&self) -> bool {
        self.count < ASKED_MAX
    }

    pub(crate) fn is_done(&self) -> bool {
        self.count == 0
    }

    /// Answers that have not come for this long do not come any more.
    pub(crate) async fn given_up(&mut self) {
        match self.since {
            Some(since) if self.count > 0 => sleep_until(since + ANSWER).await,
            _ => core::future::pending().await,
        }
        self.count = 0;
    }
}

/// When a peer last said something.
#[derive(Debug)]
pub(crate) struct Silence {
    since: Instant,
    is_asked: bool,
}

/// What a silence calls for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Ask,
    End,
}

impl Silence {
    pub(crate) fn begin() -> Silence {
        Silence { since: Instant::now(), is_asked: false }
    }

    /// The peer said something.
    pub(crate) fn broken(&mut self) {
        *self = Silence::begin();
    }

    /// Until it has lasted long, and again.
    pub(crate) async fn lasts(&mut self) -> Next {
        sleep_until(self.since + IDLE).await;
        self.since += IDLE;
        match core::mem::replace(&mut self.is_asked, true) {
            false => Next::Ask,
            true => Next::End,
        }
    }
}

/// One TCP connection, until it ends.
async fn serve(hub: &Arc<Hub>, stream: TcpStream, remote: SocketAddr) {
    let mut asker = hub.enter(Carrier::Tcp, remote, ASKED_MAX);
    let (mut read, mut write) = stream.into_split();
    let mut buffer = Buffer::default();
    let (mut waiting, mut at_end) = (Waiting::default(), false);
    loop {
        // All whole requests that are there.
        while waiting.has_room() && !buffer.bytes.is_empty() {
            match buffer.cutter.next(&buffer.bytes) {
                Ok(Some((frame, len))) => {
                    // Without room it is lost; the peer asks again with the same cookie.
                    if asker.ask(frame).await {
                        waiting.asked();
                    }
                    buffer.take(len);
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::debug!(%remote, %error, "a connection of NG is no NG");
                    return;
                }
            }
        }
        if at_end && waiting.is_done() {
            return;
        }
        let may_read = waiting.has_room() && !at_end;
        tokio::select! {
            reply = asker.replies.recv() => {
                let Some(reply) = reply else { return };
                waiting.answered();
                if !matches!(timeout(WRITE, write.write_all(&reply)).await, Ok(Ok(()))) {
                    return;
                }
            }
            more = buffer.fill(&mut read), if may_read => match more {
                Ok(true) => {}
                Ok(false) => at_end = true,
                Err(_) => return,
            },
            () = waiting.given_up() => {}
        }
    }
}

/// What has come and is no whole request yet.
#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    cutter: Cutter,
    /// When the first of these bytes came.
    since: Option<Instant>,
}

impl Buffer {
    /// Takes a request away.
    fn take(&mut self, len: usize) {
        self.bytes.drain(..len);
        self.since = (!self.bytes.is_empty()).then(Instant::now);
    }

    /// Waits for more; false at the end of the stream. What it has taken stays when it is cancelled.
    async fn fill(&mut self, read: &mut OwnedReadHalf) -> io::Result<bool> {
        let more = read.read_buf(&mut self.bytes);
        let taken = match self.since {
            Some(since) => timeout_at(since + REST, more).await.map_err(|_| io::ErrorKind::TimedOut)??,
            None => more.await?,
        };
        self.since.get_or_insert_with(Instant::now);
        Ok(taken > 0)
    }
}

#[cfg(test)]
mod tests;
