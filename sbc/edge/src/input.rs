//! What others put into a signalling thread's mailbox, and how they wake it.

use b2bua::{Hop, Query, Spec};
use base::{Duration, Key, Mailbox, Wake};
use command::{Clip, Ticket};
use core::net::{IpAddr, SocketAddr};
use ledger::{Ask, Cdr, HookAnswer, HookQuestion};
use ng::frame::{Frame, Origin};
use sip::flow::{Flow, FlowId};
use sip::stack::ClientTx;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use tokio::time::{Instant, sleep};

/// For a mailbox to have room for what is put into it.
const PUT: Duration = Duration::from_secs(10);

/// One thing that has come from elsewhere than the thread's own sockets.
#[derive(Debug)]
pub enum Input {
    /// A whole message from a stream, or one that another signalling thread received and that is ours by its Call-ID.
    Message(Flow, Box<[u8]>),
    /// The answer of DNS.
    Resolved(Query, Vec<Hop>),
    /// Addresses of a host name that identifies a trunk.
    Host(String, Vec<IpAddr>),
    /// ICMP says that a request to this peer did not arrive; its branch, if quoted. The kernel tells any thread.
    Unreachable(SocketAddr, Option<Box<[u8]>>),
    /// A message could not be sent on a stream.
    SendFailed(ClientTx),
    /// A stream has closed.
    StreamClosed(FlowId),
    /// The answer of a route's hook.
    Hooked(Key, HookAnswer),
    /// A request of NG, from a stream or from another signalling thread, that is ours by its Call-ID or nobody's.
    Ng(NgRequest),
    /// A sound that NG wants played, or why there is none.
    NgSound(Ticket, Result<Clip, &'static str>),
    /// A question of control.
    Ask(Ask),
    /// A new configuration, for SIP and for NG.
    Apply(Arc<Spec>, Arc<ng::spec::Spec>),
    /// Stop the thread.
    Stop,
}

/// Where records go; never blocks.
pub trait Records: Send + Sync {
    /// A leg was answered.
    fn opened(&self, cdr: Box<Cdr>);
    /// A leg ended.
    fn ended(&self, cdr: Box<Cdr>);
    /// A signalling thread has died: what was answered on it has no other end.
    fn shard_lost(&self, shard: usize);
}

/// Who asks the hooks of routes; never blocks. The answer comes to the shard's mailbox as [`Input::Hooked`], soon after
/// the question's deadline at the latest.
pub trait Hooks: Send + Sync {
    /// Asks for a call of this shard.
    fn ask(&self, shard: usize, ticket: Key, question: Box<HookQuestion>);
}

/// Who reads the sounds that NG wants played; never blocks. The sound comes to the shard's mailbox as
/// [`Input::NgSound`].
pub trait Sounds: Send + Sync {
    /// Reads one for a call of this shard.
    fn load(&self, shard: usize, ticket: Ticket, source: ng::desk::SoundSource);
}

/// Puts something into a mailbox as soon as there is room, on a runtime of tokio; given up when there was none for ten
/// seconds.
///
/// # Errors
/// It was given up.
pub async fn put(inbox: Mailbox<Input>, mut input: Input) -> Result<(), QueueFull> {
    let deadline = Instant::now() + PUT;
    while let Err(back) = inbox.send(input) {
        if Instant::now() >= deadline {
            return Err(QueueFull);
        }
        input = back;
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// A request of NG as it came, with where it came from.
#[derive(Debug)]
pub struct NgRequest {
    /// Where its reply goes.
    pub origin: Origin,
    /// Of the cookie, which a blank follows; 0 for a request without one.
    cookie_len: usize,
    bytes: Box<[u8]>,
}

impl NgRequest {
    /// Copies a request.
    pub fn new(origin: Origin, frame: Frame<'_>) -> NgRequest {
        let Frame { cookie, payload } = frame;
        let bytes = if cookie.is_empty() { payload.into() } else { [cookie, b" ", payload].concat().into() };
        NgRequest { origin, cookie_len: cookie.len(), bytes }
    }

    /// The request.
    pub fn frame(&self) -> Frame<'_> {
        let (cookie, rest) = self.bytes.split_at(self.cookie_len);
        Frame { cookie, payload: if cookie.is_empty() { rest } else { &rest[1..] } }
    }
}

/// An eventfd that wakes a thread out of epoll.
#[derive(Clone, Debug)]
pub struct Bell {
    fd: Arc<OwnedFd>,
}

impl Bell {
    /// A silent one.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn new() -> std::io::Result<Bell> {
        Ok(Bell { fd: Arc::new(crate::udp::eventfd()?) })
    }

    /// To be watched for reading.
    pub fn raw(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    /// Makes it silent again.
    pub fn quiet(&self) {
        crate::udp::read_eventfd(&self.fd);
    }
}

impl Wake for Bell {
    fn wake(&self) {
        crate::udp::ring_eventfd(&self.fd);
    }
}

/// A queue on its way out of a signalling thread is full; nothing was posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFull;
