//! The connections to each host: so many at most, kept while they are good. Speaks HTTP/1.1 (RFC 9112) through hyper.

use crate::client::{Failed, Limits};
use crate::url::Url;
use core::time::Duration;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// A connection that can take a request.
pub(crate) type Sender = SendRequest<Full<Bytes>>;

/// All hosts.
#[derive(Debug)]
pub(crate) struct Pool {
    limits: Limits,
    hosts: Mutex<BTreeMap<Key, Arc<Host>>>,
}

type Key = (bool, String, u16);

#[derive(Debug)]
struct Host {
    places: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    sender: Sender,
    since: Instant,
}

/// One of a host's places, with its connection. Dropped while a request is under way it closes the connection.
pub(crate) struct Place {
    pub sender: Sender,
    /// Whether the connection has served before: then the server may have closed it a moment ago.
    pub reused: bool,
    host: Arc<Host>,
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    pub fn new(limits: Limits) -> Pool {
        Pool { limits, hosts: Mutex::default() }
    }

    /// A connection to the host of `url`, a kept one if there is one and `fresh` does not forbid it. Waits for a place.
    pub async fn place(&self, url: &Url, fresh: bool) -> Result<Place, Failed> {
        let host = self.host(url);
        let permit = Arc::clone(&host.places).acquire_owned().await.map_err(|_| Failed::Connect)?;
        let kept = if fresh { None } else { host.take() };
        let (sender, reused) = match kept {
            Some(sender) => (sender, true),
            None => (connect(url).await?, false),
        };
        Ok(Place { sender, reused, host, _permit: permit })
    }

    fn host(&self, url: &Url) -> Arc<Host> {
        let key = (url.secure(), url.host().to_owned(), url.port());
        let mut hosts = lock(&self.hosts);
        if !hosts.contains_key(&key) && hosts.len() >= HOSTS_MAX {
            hosts.retain(|_, host| Arc::strong_count(host) > 1);
        }
        let new = || {
            let places = Arc::new(Semaphore::new(self.limits.connections_per_host.max(1)));
            Arc::new(Host { places, idle: Mutex::default() })
        };
        Arc::clone(hosts.entry(key).or_insert_with(new))
    }
}

impl Host {
    fn take(&self) -> Option<Sender> {
        let mut idle = lock(&self.idle);
        idle.retain(|idle| !idle.sender.is_closed() && idle.since.elapsed() < IDLE_MAX);
        // The last one used is the warmest; the others may age.
        let at = idle.iter().rposition(|idle| idle.sender.is_ready())?;
        Some(idle.remove(at).sender)
    }
}

impl Place {
    /// The reply is read whole: the connection may serve again.
    pub fn keep(self) {
        if !self.sender.is_closed() {
            lock(&self.host.idle).push(Idle { sender: self.sender, since: Instant::now() });
        }
    }
}

async fn connect(url: &Url) -> Result<Sender, Failed> {
    if url.secure() {
        return Err(Failed::Tls);
    }
    let stream = open(url).await?;
    handshake(TokioIo::new(stream)).await
}

/// Tries each address of the host in the order of the system's resolver.
async fn open(url: &Url) -> Result<TcpStream, Failed> {
    let addresses = tokio::net::lookup_host((url.host(), url.port())).await.map_err(|_| Failed::Resolve)?;
    let mut failed = Failed::Resolve;
    for address in addresses.take(ADDRESSES_MAX) {
        failed = Failed::Connect;
        if let Ok(Ok(stream)) = tokio::time::timeout(CONNECT_MAX, TcpStream::connect(address)).await {
            let _ = stream.set_nodelay(true);
            return Ok(stream);
        }
    }
    Err(failed)
}

async fn handshake(
    io: impl hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
) -> Result<Sender, Failed> {
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_MAX)
        .max_headers(HEADERS_MAX)
        .handshake(io)
        .await
        .map_err(|_| Failed::Connect)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to an HTTP server ended");
        }
    });
    Ok(sender)
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hosts that are remembered; beyond that those without a request are forgotten, and their connections close.
const HOSTS_MAX: usize = 64;
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;
/// One address may take so long to answer before the next is tried.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// A connection without request is kept so long.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// A reply's head may have so many octets.
const HEAD_MAX: usize = 64 << 10;
/// And so many headers.
const HEADERS_MAX: usize = 64;
