//! Accepts clients and serves them: a bounded number at a time, each within its time, all on one thread.

use crate::auth::Tokens;
use crate::connection::Patient;
use crate::engine::Engine;
use crate::events::EventCounts;
use crate::routes::router;
use core::net::SocketAddr;
use core::time::Duration;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// What every handler gets.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) events: Arc<EventCounts>,
}

/// Bounds on clients. The defaults are for use; tests are less patient.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at a time; one more is told 503.
    pub connections: usize,
    /// From the first byte (or the last answer) to the end of the header.
    pub header_timeout: Duration,
    /// For a body.
    pub body_timeout: Duration,
    /// For the client to take what waits for it.
    pub write_timeout: Duration,
    /// For signalling shards to answer.
    pub answer_timeout: Duration,
    /// Bytes of a header, its request line included.
    pub header_max: usize,
    /// Bytes of a body.
    pub body_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 256,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(20),
            answer_timeout: Duration::from_secs(1),
            header_max: 32 << 10,
            body_max: 32 << 20,
        }
    }
}

/// Why the API is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It would be open to everybody.
    #[error("api {address}: not a loopback address, so engine.tokens must have at least one token")]
    Open {
        /// The listener's address.
        address: SocketAddr,
    },
    /// The socket or thread cannot be had.
    #[error("api: {0}")]
    Io(#[from] io::Error),
}

/// Serves until `stop` is done; then answers that are under way get a moment to leave.
///
/// # Errors
/// At start only: not loopback and no token, or a socket that cannot be used.
pub async fn serve(
    listener: TcpListener,
    engine: Arc<dyn Engine>,
    tokens: Tokens,
    limits: Limits,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let address = listener.local_addr()?;
    if tokens.is_empty() && !address.ip().to_canonical().is_loopback() {
        return Err(ServeError::Open { address });
    }
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let connections_max = limits.connections;
    let api = Api { engine, tokens: Arc::new(tokens), limits: Arc::new(limits), events: Arc::default() };
    let service = TowerToHyperService::new(router(api.clone()));
    let mut http = http1::Builder::new();
    // A client may end its own side when it has asked. Buffers of less than 8 KiB the library refuses.
    http.half_close(true)
        .timer(TokioTimer::new())
        .header_read_timeout(api.limits.header_timeout)
        .max_buf_size(api.limits.header_max.max(8 << 10))
        .max_headers(64);
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) if connections.len() >= connections_max => refuse(&stream),
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                let io = TokioIo::new(Patient::new(stream, api.limits.write_timeout));
                let connection = http.serve_connection(io, service.clone());
                connections.spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::trace!(%error, "api connection");
                    }
                });
            }
            Err(error) => {
                // Out of descriptors: the next try would fail at once, too.
                tracing::warn!(%error, "api cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    let _ = tokio::time::timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
    Ok(())
}

/// For answers under way at a stop.
const GRACE: Duration = Duration::from_millis(200);

/// Too many clients: said if the socket takes it at once.
fn refuse(stream: &TcpStream) {
    let body = concat!(
        r#"{"type":"urn:strowger:problem:busy","title":"Service Unavailable","status":503,"#,
        r#""detail":"too many connections"}"#
    );
    let head = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n\
                Content-Type: application/problem+json\r\nContent-Length: ";
    let _ = stream.try_write(format!("{head}{}\r\n\r\n{body}", body.len()).as_bytes());
}

/// The API on a thread of its own. Dropping it stops the thread.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts a thread named `api` that serves with one small runtime.
///
/// # Errors
/// As [`serve`].
pub fn spawn(
    listener: TcpListener,
    engine: Arc<dyn Engine>,
    tokens: Tokens,
    limits: Limits,
) -> Result<Server, ServeError> {
    let address = listener.local_addr()?;
    if tokens.is_empty() && !address.ip().to_canonical().is_loopback() {
        return Err(ServeError::Open { address });
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::Builder::new().name("api".to_owned()).spawn(move || {
        let stopped = async move { drop(stopped.await) };
        if let Err(error) = runtime.block_on(serve(listener, engine, tokens, limits, stopped)) {
            tracing::error!(%error, "api has stopped");
        }
        // A validation that still runs is not waited for.
        runtime.shutdown_background();
    })?;
    Ok(Server { address, stop: Some(stop), thread: Some(thread) })
}
