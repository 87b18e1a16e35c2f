//! Starts a shard's thread and keeps a shard alive in it: a panic ends the shard's turn and all that it held, and the
//! next generation begins in the same thread. Also says which back ends this host allows.

use crate::io::Io;
use crate::io::epoll::Epoll;
use crate::io::uring::Uring;
use crate::outbox::Outbox;
use crate::recorder::Recorder;
use crate::run::{Remains, Shard};
use crate::stats::{MediaListener, ShardStats};
use crate::sys::{self, Bell};
use base::{Clock, Duration, Mailbox};
use command::{Command, Event, Generation};
use core::net::IpAddr;
use media::Crossing;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

/// What a shard needs to know at start. [`ShardConfig::new`] has defaults.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// Its number, below `shards`.
    pub index: u8,
    /// How many there are: each owns its part of every range of ports.
    pub shards: u8,
    /// For the order of ports and what must not be guessed: from the operating system, or a number in tests.
    pub seed: u64,
    /// The clock of the process.
    pub clock: Clock,
    /// The CPU to stay on.
    pub cpu: Option<usize>,
    /// Where ports are opened.
    pub listeners: Vec<MediaListener>,
    /// How packets come and go.
    pub back_end: BackendChoice,
    /// Whether [`Command::Panic`] is obeyed: only in an engine that was started for tests.
    pub allow_panic: bool,
    /// How long a pair of ports rests before it is used again.
    pub rest: Duration,
    /// How long bridges of a dead signalling shard live on.
    pub orphan: Duration,
    /// Bridges at most.
    pub bridges_max: u32,
    /// Pairs of ports at most; two sockets each.
    pub pairs_max: u32,
    /// Commands that may wait.
    pub commands_max: usize,
    /// The event rings of the signalling shards, by their numbers.
    pub events: Vec<Mailbox<Event>>,
    /// Rings for speech between the media shards, one for each to read, by their numbers ([`crossing_rings`]).
    pub crossings: Vec<Mailbox<Crossing>>,
    /// What writes recordings; none are made without it.
    pub recorder: Option<Recorder>,
    /// How hard encoders try, 0 to 10.
    pub complexity: u8,
    /// Whether they try less under load.
    pub adapts: bool,
}

impl ShardConfig {
    /// The only shard, with defaults: no listener, back end `auto`, 4 s of rest, 60 s for orphans, as many pairs as
    /// the limit of descriptors allows but at most 16,384.
    pub fn new(clock: Clock, seed: u64) -> Self {
        let pairs_max = (sys::descriptor_limits().0 / 2).clamp(1, 16_384) as u32;
        ShardConfig {
            index: 0,
            shards: 1,
            seed,
            clock,
            cpu: None,
            listeners: Vec::new(),
            back_end: BackendChoice::Auto,
            allow_panic: false,
            rest: Duration::from_secs(4),
            orphan: Duration::from_secs(60),
            bridges_max: pairs_max,
            pairs_max,
            commands_max: 1024,
            events: Vec::new(),
            crossings: Vec::new(),
            recorder: None,
            complexity: 5,
            adapts: true,
        }
    }

    /// The addresses that media listens on; with a wildcard listener all of the machine's.
    pub(crate) fn own_addresses(&self) -> Vec<IpAddr> {
        let mut own: Vec<IpAddr> = self.listeners.iter().map(|listener| listener.address).collect();
        if own.iter().any(IpAddr::is_unspecified) {
            own.extend(sys::own_addresses());
        }
        own.retain(|address| !address.is_unspecified());
        own.sort_unstable();
        own.dedup();
        own
    }
}

/// Rings for speech between `shards` media shards; none where there is only one. Nobody is woken by them.
pub fn crossing_rings(shards: usize) -> Vec<Mailbox<Crossing>> {
    struct Nobody;
    impl base::Wake for Nobody {
        fn wake(&self) {}
    }
    let rings = if shards > 1 { shards } else { 0 };
    (0..rings).map(|_| Mailbox::new(CROSSINGS_MAX, Nobody)).collect()
}

/// Ticks of speech that may wait for one shard.
const CROSSINGS_MAX: usize = 512;

/// Which back end: as in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BackendChoice {
    /// The best that the host allows: `epoll`, as long as io_uring only ties with it below saturation.
    #[default]
    Auto,
    /// Sockets and epoll.
    Epoll,
    /// io_uring; an error where the host does not allow it.
    Uring,
}

impl BackendChoice {
    /// What it means on this host.
    fn resolve(self) -> &'static str {
        match self {
            Self::Auto | Self::Epoll => Epoll::NAME,
            Self::Uring => Uring::NAME,
        }
    }
}

/// Whether this host allows a back end.
#[derive(Debug)]
pub struct Probe {
    /// As in the configuration: `epoll`, `uring`, `xdp`.
    pub name: &'static str,
    /// Why not, in words.
    pub absent: Option<String>,
}

/// Tries every back end on this host with a packet through loopback; `doctor` prints it.
pub fn probe() -> [Probe; 3] {
    let said = |result: io::Result<()>| result.err().map(|error| error.to_string());
    let config = xdp::Config { interface: "lo".to_owned(), mode: xdp::Mode::Auto };
    let xdp = xdp::Xdp::attach(&config).err().map(|absent| absent.to_string());
    [
        Probe { name: Epoll::NAME, absent: said(try_back_end::<Epoll>()) },
        Probe { name: Uring::NAME, absent: said(try_back_end::<Uring>()) },
        Probe { name: "xdp", absent: xdp },
    ]
}

/// Passes one packet through a back end: its set-up may be allowed where what it needs later is not.
fn try_back_end<I: Io>() -> io::Result<()> {
    let mut io = I::new(1, Bell::new()?)?;
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&std::net::SocketAddrV4::new(core::net::Ipv4Addr::LOCALHOST, 0).into())?;
    let here = socket.local_addr()?.as_socket().ok_or_else(|| io::Error::other("no local address"))?;
    let outside = std::net::UdpSocket::bind((core::net::Ipv4Addr::LOCALHOST, 0))?;
    outside.set_read_timeout(Some(Duration::from_millis(500)))?;
    let slot = media::Slot(0);
    io.open(slot, socket)?;
    outside.send_to(b"probe", here)?;
    for _ in 0..50 {
        io.wait(Duration::from_millis(10));
        io.recv();
        io.batch().route(|slot, target, _packet, hops| hops.push(media::Hop { slot, target }));
        if io.batch().sends() > 0 {
            io.send();
            io.wait(Duration::ZERO);
            outside.recv_from(&mut [0; 8])?;
            return Ok(());
        }
    }
    Err(io::Error::other("no packet came through"))
}

/// Why a shard could not be started.
#[derive(Debug)]
pub enum SpawnError {
    /// The back end is not to be had on this host.
    BackEnd {
        /// Which.
        name: &'static str,
        /// The kernel's answer.
        error: io::Error,
    },
    /// No thread or descriptor left, or no such CPU.
    Thread(io::Error),
}

impl core::fmt::Display for SpawnError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::BackEnd { name, error } => {
                write!(f, "this host does not allow the back end `{name}`: {error}")
            }
            Self::Thread(error) => write!(f, "a media thread cannot be started: {error}"),
        }
    }
}

impl core::error::Error for SpawnError {}

/// A running shard. Dropping it stops the thread and closes all that it holds.
#[derive(Debug)]
pub struct ShardHandle {
    commands: Mailbox<Command>,
    stats: Arc<ShardStats>,
    back_end: &'static str,
    stop: Arc<AtomicBool>,
    bell: Bell,
    thread: Option<JoinHandle<()>>,
}

impl ShardHandle {
    /// Where it takes commands.
    pub fn commands(&self) -> &Mailbox<Command> {
        &self.commands
    }

    /// Its counters.
    pub fn stats(&self) -> &Arc<ShardStats> {
        &self.stats
    }

    /// The back end in use: `epoll` or `uring`.
    pub fn back_end(&self) -> &'static str {
        self.back_end
    }
}

impl Drop for ShardHandle {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.bell.ring();
        if let Some(thread) = self.thread.take() {
            // It ended by itself only if catching the panic of a turn has panicked.
            let _ = thread.join();
        }
    }
}

/// Starts a shard's thread, named `media-<index>`, and waits until it is ready to take commands.
///
/// # Errors
/// The back end that was asked for is not to be had, or no thread.
pub fn spawn(config: ShardConfig) -> Result<ShardHandle, SpawnError> {
    let name = config.back_end.resolve();
    match name {
        Uring::NAME => start::<Uring>(config),
        _ => start::<Epoll>(config),
    }
}

fn start<I: Io>(config: ShardConfig) -> Result<ShardHandle, SpawnError> {
    let bell = Bell::new().map_err(SpawnError::Thread)?;
    let commands = Mailbox::with_urgency(config.commands_max, bell.clone(), Command::is_urgent);
    let stats = Arc::new(ShardStats::new(&config.listeners));
    let stop = Arc::new(AtomicBool::new(false));
    let (ready, started) = mpsc::sync_channel(1);
    let supervisor = Supervisor {
        commands: commands.clone(),
        bell: bell.clone(),
        stats: Arc::clone(&stats),
        stop: Arc::clone(&stop),
        config,
    };
    let thread = thread::Builder::new()
        .name(format!("media-{}", supervisor.config.index))
        .spawn(move || supervisor.run::<I>(&ready))
        .map_err(SpawnError::Thread)?;
    started.recv().unwrap_or_else(|_| Err(SpawnError::Thread(io::Error::other("it ended at once"))))?;
    Ok(ShardHandle { commands, stats, back_end: I::NAME, stop, bell, thread: Some(thread) })
}

/// What outlives the generations of a shard.
struct Supervisor {
    config: ShardConfig,
    commands: Mailbox<Command>,
    bell: Bell,
    stats: Arc<ShardStats>,
    stop: Arc<AtomicBool>,
}

impl Supervisor {
    fn run<I: Io>(self, ready: &mpsc::SyncSender<Result<(), SpawnError>>) {
        if let Some(cpu) = self.config.cpu
            && let Err(error) = sys::pin_to(cpu)
        {
            let _ = ready.send(Err(SpawnError::Thread(error)));
            return;
        }
        let outbox = Outbox::new(self.config.events.clone(), Arc::clone(&self.stats));
        let mut remains = Remains { outbox, places: Vec::new() };
        let mut generation = Generation(1);
        while !self.stop.load(Ordering::Relaxed) {
            let (commands, bell, stats) = (self.commands.clone(), self.bell.clone(), Arc::clone(&self.stats));
            match Shard::<I>::new(&self.config, generation, commands, bell, remains, stats) {
                Ok(mut shard) => {
                    // Nobody listens any more after the first generation.
                    let _ = ready.try_send(Ok(()));
                    // What a panic leaves half done is dropped with the shard; only the outbox goes on, whose queues
                    // are whole between any two calls, and the list of ports in use.
                    let ended = catch_unwind(AssertUnwindSafe(|| shard.run(&self.stop)));
                    remains = shard.into_remains();
                    if ended.is_ok() {
                        return;
                    }
                    tracing::error!(shard = self.config.index, "media shard failed; its bridges are gone");
                    generation.0 += 1;
                }
                Err((error, kept)) => {
                    remains = kept;
                    if generation.0 == 1 {
                        let _ = ready.send(Err(SpawnError::BackEnd { name: I::NAME, error }));
                        return;
                    }
                    tracing::error!(shard = self.config.index, %error, "media shard cannot start again");
                    thread::sleep(RESTART);
                }
            }
        }
    }
}

/// Between two tries to start again.
const RESTART: Duration = Duration::from_millis(200);
