//! Recordings and forks of speech: what takes blocks of samples from a media shard and writes or sends them on threads of
//! its own, so that no disk is ever waited for. The shard's side neither allocates, locks nor waits after the start of
//! a recording; files are whole at any time up to the last half second.
pub mod tape; // from the shard to the thread: blocks, lost time, pauses
pub mod sink; // who takes the blocks: files, anybody
mod rtp; // forks as RTP
pub mod disk; // how bytes get into files: plain calls
pub mod uring; // the same by io_uring
mod thread; // the loops that empty tapes

pub use disk::{Disk, DiskChoice};
pub use sink::{Dial, Feed, Greeting, Sink};
pub use tape::{Block, Tape};

use base::{Duration, Wake};
use command::{BridgeId, Ended, FileFormat, Fork, ForkCoding, ForkTo, Layout, Outcome, Recording, Ticket};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use crossbeam_queue::ArrayQueue;
use rtp::RtpSink;
use sink::{OpusSink, Place, WavSink};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};
use tape::{Reel, Spec};
use thread::Worker;

/// What recordings may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecorderConfig {
    /// The folder under which all files are. It is made when the first file is.
    pub folder: PathBuf,
    /// Recordings and forks at once.
    pub tapes_max: usize,
    /// Octets of samples that may wait to be written, over all tapes: one of a recording takes 96 KB for each channel at
    /// 8 kHz. Twice as much is used at the worst, while a disk takes what has just been given to it.
    pub memory_max: usize,
    /// Threads that write.
    pub threads: usize,
    /// How they write.
    pub disk: DiskChoice,
}

impl RecorderConfig {
    /// 4,096 recordings in 512 MiB, a thread for each four CPUs, the best way of writing that the host allows.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        RecorderConfig {
            folder: folder.into(),
            tapes_max: 4_096,
            memory_max: 512 << 20,
            threads: (cpus / 4).max(1),
            disk: DiskChoice::Auto,
        }
    }
}

/// The threads that write, and one that sends forks. Clones are the same; when the last one and all decks are gone, what is on the tapes is written
/// and the files are ended.
#[derive(Clone)]
pub struct Recorder {
    inner: Arc<Inner>,
}

struct Inner {
    config: RecorderConfig,
    workers: Vec<Worker>,
    /// Forks wait for no disk.
    forks: Worker,
    dial: OnceLock<Arc<dyn Dial>>,
    disk: &'static str,
    next: AtomicU32,
    usage: Arc<Usage>,
}

/// What tapes use now.
#[derive(Debug, Default)]
struct Usage {
    tapes: AtomicUsize,
    memory: AtomicUsize,
}

impl Recorder {
    /// Starts the threads, named `recorder-<index>` and `forks`.
    ///
    /// # Errors
    /// No thread, or the way of writing that was asked for is not to be had on this host.
    pub fn start(config: RecorderConfig) -> io::Result<Recorder> {
        let choice = config.disk;
        Self::start_with(config, || choice.open())
    }

    /// As [`Recorder::start`], with disks of the caller's.
    ///
    /// # Errors
    /// No thread, or no disk.
    pub fn start_with(
        config: RecorderConfig,
        mut disk: impl FnMut() -> io::Result<Box<dyn Disk>>,
    ) -> io::Result<Recorder> {
        let (mut workers, mut name) = (Vec::new(), "");
        for index in 0..config.threads.max(1) {
            let disk = disk()?;
            name = disk.name();
            let thread = format!("recorder-{index}");
            workers.push(Worker::start(thread, thread::LOOK, config.tapes_max, disk)?);
        }
        let none = Box::new(disk::BlockingDisk::default());
        let forks = Worker::start("forks".to_owned(), thread::LOOK_FORKS, config.tapes_max, none)?;
        let inner = Inner {
            config,
            workers,
            forks,
            dial: OnceLock::new(),
            disk: name,
            next: AtomicU32::new(0),
            usage: Arc::default(),
        };
        Ok(Recorder { inner: Arc::new(inner) })
    }

    /// WebSockets are opened by this from now on; the first one stays.
    pub fn dial_by(&self, dial: Arc<dyn Dial>) {
        let _ = self.inner.dial.set(dial);
    }

    /// How files are written: `blocking` or `uring`.
    pub fn disk(&self) -> &'static str {
        self.inner.disk
    }

    /// Recordings and forks whose end has not been reached.
    pub fn tapes(&self) -> usize {
        self.inner.usage.tapes.load(Ordering::Relaxed)
    }

    /// Octets of samples that their tapes hold room for.
    pub fn memory(&self) -> usize {
        self.inner.usage.memory.load(Ordering::Relaxed)
    }

    /// Where a shard starts recordings and hears of their ends; `wake` is called after each.
    pub fn deck(&self, wake: impl Wake + 'static) -> Deck {
        let finished = ArrayQueue::new(self.inner.config.tapes_max);
        let returns = Arc::new(Returns { finished, wake: Box::new(wake) });
        Deck { recorder: self.clone(), returns, open: 0 }
    }
}

/// One shard's access to the recorder.
pub struct Deck {
    recorder: Recorder,
    returns: Arc<Returns>,
    /// Started, and their ends not yet polled.
    open: usize,
}

/// Ends on their way to the shard.
struct Returns {
    /// As long as there may be tapes: never full.
    finished: ArrayQueue<Finished>,
    wake: Box<dyn Wake>,
}

/// A recording or fork that is over: its file is whole and on the disk, or it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Whose.
    pub bridge: BridgeId,
    /// The order that began it.
    pub ticket: Ticket,
    /// How it ended. A recording can fail before it is finished by the shard.
    pub ended: Ended,
}

/// Why nothing is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// As many recordings as there may be, or as much memory.
    Full,
    /// The path leads out of the folder, or is none.
    Path,
    /// Not a rate of this format: see [`rate_for`].
    Rate,
    /// Nobody here opens WebSockets.
    WebSocket,
}

impl Refused {
    /// For [`command::Event::Unsupported`].
    pub fn what(self) -> &'static str {
        match self {
            Refused::Full => "there are too many recordings and forks",
            Refused::Path => "the path of the recording leads out of the folder of recordings",
            Refused::Rate => "the format of the recording or fork has no such sample rate",
            Refused::WebSocket => "a fork to a WebSocket in an engine that opens none",
        }
    }
}

/// The rate at which a recording is to be made where `widest` is the narrowest that holds all that is said: what was
/// asked for goes first, and Opus has no 32 kHz.
pub fn rate_for(recording: &Recording, widest: u32) -> u32 {
    let rate = recording.rate.unwrap_or(widest);
    match recording.format {
        FileFormat::OggOpus if rate == 32_000 => 48_000,
        FileFormat::OggOpus | FileFormat::Wav => rate,
    }
}

/// The rate at which a fork is to be made, as [`rate_for`].
pub fn fork_rate_for(fork: &Fork, widest: u32) -> u32 {
    match fork.to {
        ForkTo::Rtp { coding: ForkCoding::Pcmu, .. } => fork.rate.unwrap_or(8_000),
        ForkTo::Rtp { coding: ForkCoding::L16, .. } | ForkTo::WebSocket { .. } => fork.rate.unwrap_or(widest),
    }
}

/// What is said in 16 bits can be had at these.
const RATES: [u32; 6] = [8_000, 12_000, 16_000, 24_000, 32_000, 48_000];

fn channels_of(layout: Layout) -> usize {
    match layout {
        Layout::Mono => 1,
        Layout::Stereo => 2,
    }
}

impl Deck {
    /// Begins a recording at `rate` (see [`rate_for`]), with one channel or two. The file is made on the thread: what
    /// goes wrong there is a [`Finished`]. Allocates; what the tape does afterwards does not.
    ///
    /// # Errors
    /// Nothing is recorded, and no [`Finished`] follows.
    pub fn record(
        &mut self,
        bridge: BridgeId,
        ticket: Ticket,
        recording: &Recording,
        rate: u32,
    ) -> Result<Tape, Refused> {
        let channels = channels_of(recording.layout);
        let rates: &[u32] = match recording.format {
            FileFormat::Wav => &RATES,
            FileFormat::OggOpus => &[8_000, 12_000, 16_000, 24_000, 48_000],
        };
        if !rates.contains(&rate) {
            return Err(Refused::Rate);
        }
        let folder = &self.recorder.inner.config.folder;
        let place = |extension| place(folder, &recording.path, extension).ok_or(Refused::Path);
        let sink: Box<dyn Sink> = match recording.format {
            FileFormat::Wav => Box::new(WavSink::new(place("wav")?, rate, channels)),
            FileFormat::OggOpus => {
                let serial = self.recorder.inner.next.load(Ordering::Relaxed) ^ 0x5357_4752;
                Box::new(OpusSink::new(place("opus")?, rate, channels, serial))
            }
        };
        self.start(bridge, ticket, (Spec::recording(channels, rate), false), sink)
    }

    /// Begins a fork at `rate` (see [`fork_rate_for`]), as [`Deck::record`]. Identities of RTP streams come from `seed`.
    ///
    /// # Errors
    /// Nothing is sent, and no [`Finished`] follows.
    pub fn fork_to(
        &mut self,
        bridge: BridgeId,
        ticket: Ticket,
        fork: &Fork,
        rate: u32,
        seed: u64,
    ) -> Result<Tape, Refused> {
        let channels = channels_of(fork.layout);
        let rates: &[u32] = match fork.to {
            ForkTo::Rtp { coding: ForkCoding::Pcmu, .. } => &[8_000],
            ForkTo::Rtp { coding: ForkCoding::L16, .. } | ForkTo::WebSocket { .. } => &RATES,
        };
        if !rates.contains(&rate) {
            return Err(Refused::Rate);
        }
        let sink: Box<dyn Sink> = match &fork.to {
            ForkTo::Rtp { target, coding } => Box::new(RtpSink::new(*target, *coding, channels, rate, seed)),
            ForkTo::WebSocket { url } => {
                let dial = self.recorder.inner.dial.get().ok_or(Refused::WebSocket)?;
                dial.dial(url, Greeting { id: fork.id.clone(), room: fork.room.clone(), rate, channels })
            }
        };
        self.fork(bridge, ticket, channels, rate, sink)
    }

    /// Begins to hand blocks of 20 ms and of one or two channels to a sink, on a thread that only does that.
    ///
    /// # Errors
    /// [`Refused::Full`]; no [`Finished`] follows.
    pub fn fork(
        &mut self,
        bridge: BridgeId,
        ticket: Ticket,
        channels: usize,
        rate: u32,
        sink: Box<dyn Sink>,
    ) -> Result<Tape, Refused> {
        self.start(bridge, ticket, (Spec::fork(channels, rate), true), sink)
    }

    fn start(
        &mut self,
        bridge: BridgeId,
        ticket: Ticket,
        (spec, is_fork): (Spec, bool),
        sink: Box<dyn Sink>,
    ) -> Result<Tape, Refused> {
        let inner = &self.recorder.inner;
        // Where two shards ask at once one may be refused although the other is, too: it is full then anyway.
        let usage = UsageLease::take(&inner.usage, spec.pool_len(), &inner.config).ok_or(Refused::Full)?;
        if self.open == self.returns.finished.capacity() {
            return Err(Refused::Full);
        }
        let (tape, shared) = tape::new(spec, usage);
        let returns = Arc::clone(&self.returns);
        let reel =
            Reel::new(spec, shared, sink, move |ended| returns.put(Finished { bridge, ticket, ended }));
        let number = inner.next.fetch_add(1, Ordering::Relaxed) as usize;
        let worker = match is_fork {
            true => &inner.forks,
            false => &inner.workers[number % inner.workers.len()],
        };
        worker.give(reel).map_err(|_| Refused::Full)?;
        self.open += 1;
        Ok(tape)
    }

    /// What is over, once each.
    pub fn poll(&mut self) -> Option<Finished> {
        let finished = self.returns.finished.pop()?;
        self.open -= 1;
        Some(finished)
    }
}

impl core::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Recorder({:?}, {} tapes)", self.inner.config, self.tapes())
    }
}

impl core::fmt::Debug for Deck {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Deck({} open)", self.open)
    }
}

impl Returns {
    fn put(&self, finished: Finished) {
        let full = self.finished.push(finished);
        debug_assert!(full.is_ok(), "there is room for the end of each tape");
        self.wake.wake();
    }
}

/// A tape's share of what there is; given back by dropping it.
#[derive(Debug)]
struct UsageLease {
    usage: Arc<Usage>,
    memory: usize,
}

impl UsageLease {
    fn take(usage: &Arc<Usage>, memory: usize, config: &RecorderConfig) -> Option<Self> {
        let tapes = usage.tapes.fetch_add(1, Ordering::Relaxed) + 1;
        let all = usage.memory.fetch_add(memory, Ordering::Relaxed) + memory;
        let lease = UsageLease { usage: Arc::clone(usage), memory };
        (tapes <= config.tapes_max && all <= config.memory_max).then_some(lease)
    }
}

impl Drop for UsageLease {
    fn drop(&mut self) {
        self.usage.tapes.fetch_sub(1, Ordering::Relaxed);
        self.usage.memory.fetch_sub(self.memory, Ordering::Relaxed);
    }
}

/// Where a recording's file is; `None` if its path is not one of plain names below the folder. It may name the folder
/// first, as it was configured.
fn place(folder: &Path, path: &str, extension: &str) -> Option<Place> {
    if path.is_empty() || path.ends_with('/') || path.contains('\0') {
        return None;
    }
    let relative = Path::new(path).strip_prefix(folder).unwrap_or(Path::new(path));
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    let inside = relative.components().next().is_some() && relative.components().all(plain);
    let name = format!("{}.{extension}", relative.to_str()?);
    inside.then(|| Place { file: folder.join(name) })
}

/// What a tape that ended is told by.
fn ended(outcome: Outcome, frames: u64, lost: u64, rate: u32) -> Ended {
    let time = |frames: u64| {
        let (rate, nanos) = (u64::from(rate), 1_000_000_000);
        Duration::new(frames / rate, (frames % rate * nanos / rate) as u32)
    };
    Ended { outcome, length: time(frames), lost: time(lost) }
}

/// Set when a thread is to end.
type Stop = AtomicBool;

#[cfg(test)]
mod tests;
