//! Forks to WebSockets (RFC 6455): the engine opens them, says in a text what comes, and sends 20 ms of samples a message.
//! What finds no room in a queue of a second is dropped and counted; what comes back is not listened to.

use base::Duration;
use core::fmt;
use futures_util::{SinkExt, StreamExt};
use http_out::Url;
use serde_json::json;
use shard::recorder::disk::Jobs;
use shard::recorder::{Block, Dial, Greeting, Sink};
use std::io;
use std::thread::JoinHandle;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// Messages that may wait for one receiver: a second.
const WAITING_MAX: usize = 50;
/// What may wait in the kernel for it: more would be old when it is heard.
const KERNEL_MAX: u32 = 64 << 10;
/// How long connecting may take, and a receiver that takes nothing is waited for.
const CONNECT: Duration = Duration::from_secs(5);
const STALL: Duration = Duration::from_secs(10);
/// For the last words.
const CLOSE: Duration = Duration::from_secs(1);
/// Of what a receiver says, which nobody reads.
const HEARD_MAX: usize = 64 << 10;

/// A thread that opens WebSockets and writes to them. Dropping it ends them.
pub struct WebSockets {
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl WebSockets {
    /// Starts the thread, named `websockets`.
    ///
    /// # Errors
    /// There is none to be had.
    pub fn start() -> io::Result<WebSockets> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let handle = runtime.handle().clone();
        let thread = std::thread::Builder::new().name("websockets".to_owned()).spawn(move || {
            let _ = runtime.block_on(stopped);
        })?;
        Ok(WebSockets { runtime: handle, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for WebSockets {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Dial for WebSockets {
    fn dial(&self, url: &str, greeting: Greeting) -> Box<dyn Sink> {
        let (url, runtime) = (url.to_owned(), self.runtime.clone());
        Box::new(Wire { runtime, begin: Some((url, greeting)), queue: None, lost: 0, gap: 0 })
    }
}

/// The recorder's end.
struct Wire {
    runtime: Handle,
    begin: Option<(String, Greeting)>,
    queue: Option<mpsc::Sender<Frame>>,
    /// Samples of each channel that found no room, and those that the receiver has not been told of.
    lost: u64,
    gap: u64,
}

/// What goes into one message, or two.
struct Frame {
    /// Samples that are missing before it.
    gap: u64,
    pcm: Vec<u8>,
}

impl Sink for Wire {
    fn begin(&mut self, _jobs: &mut Jobs<'_>) -> io::Result<()> {
        let Some((url, greeting)) = self.begin.take() else { return Ok(()) };
        let (queue, frames) = mpsc::channel(WAITING_MAX);
        self.queue = Some(queue);
        self.runtime.spawn(async move {
            if let Err(error) = carry(&url, &greeting, frames).await {
                tracing::warn!(id = greeting.id, url, %error, "a fork has failed");
            }
        });
        Ok(())
    }

    fn take(&mut self, block: &Block, _jobs: &mut Jobs<'_>) -> io::Result<()> {
        self.gap += block.silence();
        if block.frames() == 0 {
            return Ok(());
        }
        let Some(queue) = &self.queue else { return Err(io::ErrorKind::NotConnected.into()) };
        match queue.try_reserve() {
            Ok(place) => {
                place.send(Frame { gap: core::mem::take(&mut self.gap), pcm: interleaved(block) });
                Ok(())
            }
            Err(mpsc::error::TrySendError::Full(())) => {
                self.lost += block.frames() as u64;
                self.gap += block.frames() as u64;
                Ok(())
            }
            Err(mpsc::error::TrySendError::Closed(())) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn lost(&self) -> u64 {
        self.lost
    }
}

/// Samples in the order of time, the low octet first.
fn interleaved(block: &Block) -> Vec<u8> {
    let mut pcm = Vec::with_capacity(2 * block.frames() * block.channels());
    for frame in 0..block.frames() {
        for channel in 0..block.channels() {
            pcm.extend_from_slice(&block.channel(channel)[frame].to_le_bytes());
        }
    }
    pcm
}

/// What went wrong with a WebSocket.
#[derive(Debug)]
enum Failed {
    Connect(io::Error),
    Late,
    Stalled,
    Socket(Error),
    Hung,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failed::Connect(error) => write!(f, "no connection: {error}"),
            Failed::Late => write!(f, "no connection within {CONNECT:?}"),
            Failed::Stalled => write!(f, "nothing was taken for {STALL:?}"),
            Failed::Socket(error) => write!(f, "{error}"),
            Failed::Hung => f.write_str("the receiver has closed it"),
        }
    }
}

/// Opens it and sends until there is nothing more to send.
async fn carry(url: &str, greeting: &Greeting, mut frames: mpsc::Receiver<Frame>) -> Result<(), Failed> {
    let mut socket = timeout(CONNECT, open(url)).await.map_err(|_| Failed::Late)??;
    send(&mut socket, Message::text(text_of(greeting))).await?;
    loop {
        tokio::select! {
            frame = frames.recv() => {
                let Some(Frame { gap, pcm }) = frame else { break };
                if gap > 0 {
                    let lost_ms = gap * 1_000 / u64::from(greeting.rate);
                    send(&mut socket, Message::text(json!({ "lost_ms": lost_ms }).to_string())).await?;
                }
                send(&mut socket, Message::binary(pcm)).await?;
            }
            said = socket.next() => match said {
                None | Some(Ok(Message::Close(_))) => return Err(Failed::Hung),
                Some(Ok(_)) => {} // robots that answer come later
                Some(Err(error)) => return Err(Failed::Socket(error)),
            },
        }
    }
    let _ = timeout(CLOSE, socket.close(None)).await;
    Ok(())
}

async fn open(url: &str) -> Result<WebSocketStream<TcpStream>, Failed> {
    let nowhere = || io::Error::from(io::ErrorKind::AddrNotAvailable);
    let parsed: Url =
        url.replacen("ws", "http", 1).parse().map_err(|error| Failed::Connect(io::Error::other(error)))?;
    let mut addresses = lookup_host((parsed.host(), parsed.port())).await.map_err(Failed::Connect)?;
    let address = addresses.next().ok_or_else(nowhere).map_err(Failed::Connect)?;
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(Failed::Connect)?;
    socket.set_send_buffer_size(KERNEL_MAX).map_err(Failed::Connect)?;
    let stream = socket.connect(address).await.map_err(Failed::Connect)?;
    stream.set_nodelay(true).map_err(Failed::Connect)?;
    let config = WebSocketConfig::default()
        .write_buffer_size(0)
        .max_message_size(Some(HEARD_MAX))
        .max_frame_size(Some(HEARD_MAX));
    let (socket, _answer) =
        client_async_with_config(url, stream, Some(config)).await.map_err(Failed::Socket)?;
    Ok(socket)
}

async fn send(socket: &mut WebSocketStream<TcpStream>, message: Message) -> Result<(), Failed> {
    timeout(STALL, socket.send(message)).await.map_err(|_| Failed::Stalled)?.map_err(Failed::Socket)
}

/// What comes, as the first message says it.
fn text_of(greeting: &Greeting) -> String {
    let Greeting { id, room, rate, channels } = greeting;
    let mut text = json!({
        "id": id, "format": "s16le", "rate": rate, "channels": channels, "frame_ms": 20,
    });
    match room {
        Some(room) => text["room"] = json!(room),
        None => text["call"] = json!(id.split('-').next().unwrap_or_default()),
    }
    text.to_string()
}
