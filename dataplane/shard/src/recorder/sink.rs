//! Who takes the blocks of a tape, on a thread of the recorder: files in two formats, or anybody.

use super::disk::Jobs;
use super::tape::Block;
use codec::coder::{EncoderSettings, Format};
use codec::wav::{self, Pause};
use codec::{ogg, registry};
use core::time::Duration;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;

/// Takes what comes through a tape. Its thread serves other tapes too: it must neither wait for somebody nor take long;
/// what it writes to files goes through [`Jobs`]. An error ends the tape as failed.
pub trait Sink: Send {
    /// Once, before anything else.
    ///
    /// # Errors
    /// There is nowhere to put blocks.
    fn begin(&mut self, jobs: &mut Jobs<'_>) -> io::Result<()> {
        let _ = jobs;
        Ok(())
    }

    /// The next block. Before its samples [`Block::silence`] is to be put in.
    ///
    /// # Errors
    /// It could not be taken, and no other will be.
    fn take(&mut self, block: &Block, jobs: &mut Jobs<'_>) -> io::Result<()>;

    /// Samples of each channel that were taken and have not reached whoever they are for.
    fn lost(&self) -> u64 {
        0
    }

    /// Once, after the last block.
    ///
    /// # Errors
    /// What was taken is not whole.
    fn finish(&mut self, jobs: &mut Jobs<'_>) -> io::Result<()> {
        let _ = jobs;
        Ok(())
    }
}

/// What whoever gets a fork is told first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// What control calls the fork: `CALL-NUMBER`.
    pub id: String,
    /// The room's name, if it is not a call that is heard.
    pub room: Option<String>,
    /// Samples a second of each channel.
    pub rate: u32,
    /// One or two.
    pub channels: usize,
}

/// Makes sinks that need more than a thread: WebSockets. It is asked on a media shard, so it only hands work on.
pub trait Dial: Send + Sync {
    /// A sink that opens this address by itself, and fails if it cannot.
    fn dial(&self, url: &str, greeting: Greeting) -> Box<dyn Sink>;
}

/// Hands blocks to a function; it says whether it wants more.
pub struct Feed(pub Box<dyn FnMut(&Block) -> bool + Send>);

impl Sink for Feed {
    fn take(&mut self, block: &Block, _jobs: &mut Jobs<'_>) -> io::Result<()> {
        if self.0(block) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }
}

impl core::fmt::Debug for Feed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Feed")
    }
}

/// Where a file is to be.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Checked to be below the folder of recordings.
    pub file: PathBuf,
}

impl Place {
    /// Makes the file, which must not be there, and the folders that it needs. For the owner and the group alone.
    fn create(&self) -> io::Result<Arc<File>> {
        if let Some(folder) = self.file.parent() {
            DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o640);
        options.open(&self.file).map(Arc::new)
    }

    /// The folder's entry outlives the machine, too.
    fn sync(&self, file: &Arc<File>, jobs: &mut Jobs<'_>) {
        jobs.sync(file);
        if let Some(folder) = self.file.parent().and_then(|folder| File::open(folder).ok()) {
            jobs.sync(&Arc::new(folder));
        }
    }
}

/// Finds pauses in the order of blocks.
#[derive(Debug)]
struct Marks {
    rate: u32,
    frames: u64,
    pauses: Vec<Pause>,
    /// The last of them goes on.
    open: bool,
    /// Since they were last written.
    changed: bool,
}

impl Marks {
    fn new(rate: u32) -> Marks {
        Marks { rate, frames: 0, pauses: Vec::new(), open: false, changed: false }
    }

    /// A block has been put behind the others.
    fn pass(&mut self, block: &Block) {
        let start = self.time();
        self.frames += block.silence() + block.frames() as u64;
        let end = self.time();
        if !block.is_paused() {
            self.open = false;
            return;
        }
        self.changed = true;
        if self.open {
            self.pauses.last_mut().into_iter().for_each(|pause| pause.end = end);
        } else if self.pauses.len() < wav::PAUSES_MAX {
            self.pauses.push(Pause { start, end });
            self.open = true;
        }
    }

    fn time(&self) -> Duration {
        let rate = u64::from(self.rate);
        Duration::new(self.frames / rate, (self.frames % rate * 1_000_000_000 / rate) as u32)
    }
}

/// 16-bit PCM. After each block the header says how much there is, and the marks of pauses stand behind it.
#[derive(Debug)]
pub(super) struct WavSink {
    place: Place,
    file: Option<Arc<File>>,
    rate: u32,
    channels: usize,
    marks: Marks,
    data_len: u64,
    tail_len: usize,
}

impl WavSink {
    pub fn new(place: Place, rate: u32, channels: usize) -> WavSink {
        WavSink { place, file: None, rate, channels, marks: Marks::new(rate), data_len: 0, tail_len: 0 }
    }

    fn header(&self) -> Vec<u8> {
        wav::header(self.rate, self.channels as u16, self.data_len, self.tail_len).to_vec()
    }
}

impl Sink for WavSink {
    fn begin(&mut self, jobs: &mut Jobs<'_>) -> io::Result<()> {
        let file = self.file.insert(self.place.create()?).clone();
        jobs.write(&file, 0, self.header());
        Ok(())
    }

    fn take(&mut self, block: &Block, jobs: &mut Jobs<'_>) -> io::Result<()> {
        let Some(file) = self.file.clone() else { return Err(io::ErrorKind::NotFound.into()) };
        self.marks.pass(block);
        let frame = 2 * self.channels as u64;
        let end = wav::HEADER_LEN as u64 + self.data_len;
        let silence = block.silence() * frame;
        // What is left out reads as zero; only the old marks are in the way.
        let old = (self.tail_len as u64).min(silence) as usize;
        if old > 0 {
            jobs.write(&file, end, vec![0; old]);
        }
        let mut bytes = Vec::with_capacity(block.frames() * frame as usize);
        match self.channels {
            1 => block.channel(0).iter().for_each(|sample| bytes.extend_from_slice(&sample.to_le_bytes())),
            _ => {
                for (left, right) in block.channel(0).iter().zip(block.channel(1)) {
                    bytes.extend_from_slice(&left.to_le_bytes());
                    bytes.extend_from_slice(&right.to_le_bytes());
                }
            }
        }
        self.data_len += silence + bytes.len() as u64;
        let samples_len = bytes.len();
        wav::tail(self.rate, &self.marks.pauses, &mut bytes);
        self.tail_len = bytes.len() - samples_len;
        if bytes.is_empty() && silence > 0 {
            // The file is to be as long as it says.
            jobs.write(&file, end + silence - 1, vec![0]);
        } else {
            jobs.write(&file, end + silence, bytes);
        }
        jobs.write(&file, 0, self.header());
        Ok(())
    }

    fn finish(&mut self, jobs: &mut Jobs<'_>) -> io::Result<()> {
        if let Some(file) = &self.file {
            self.place.sync(file, jobs);
        }
        Ok(())
    }
}

/// Opus in Ogg, a page for each block.
#[derive(Debug)]
pub(super) struct OpusSink {
    place: Place,
    file: Option<Arc<File>>,
    rate: u32,
    channels: usize,
    serial: u32,
    marks: Marks,
    recording: Option<ogg::Recording>,
    len: u64,
}

/// How hard Opus tries on recordings; and while the thread does not keep up.
const COMPLEXITY: u8 = 5;
const COMPLEXITY_BEHIND: u8 = 0;
/// Blocks that wait then.
const BEHIND: usize = 3;

impl OpusSink {
    pub fn new(place: Place, rate: u32, channels: usize, serial: u32) -> OpusSink {
        let marks = Marks::new(rate);
        OpusSink { place, file: None, rate, channels, serial, marks, recording: None, len: 0 }
    }

    fn write(&mut self, jobs: &mut Jobs<'_>, pages: Vec<u8>) {
        let (Some(file), Some(recording)) = (&self.file, &self.recording) else { return };
        let at = self.len;
        self.len += pages.len() as u64;
        if !pages.is_empty() {
            jobs.write(file, at, pages);
        }
        if core::mem::take(&mut self.marks.changed) {
            let mut tags = Vec::new();
            recording.tags(&self.marks.pauses, &mut tags);
            jobs.write(file, recording.tags_at(), tags);
        }
    }
}

impl Sink for OpusSink {
    fn begin(&mut self, jobs: &mut Jobs<'_>) -> io::Result<()> {
        let format = Format { name: "opus", clock: 48_000, channels: 2, fmtp: "" };
        let opus = registry::find(&format).ok_or(io::ErrorKind::Unsupported)?;
        let settings = EncoderSettings { rate: self.rate, complexity: COMPLEXITY };
        let encoders = (0..self.channels).map(|_| opus.encoder(&format, settings)).collect();
        self.file = Some(self.place.create()?);
        let mut recording = ogg::Recording::new(self.serial, self.rate, encoders);
        let mut pages = Vec::new();
        recording.begin(&mut pages);
        self.recording = Some(recording);
        self.write(jobs, pages);
        Ok(())
    }

    fn take(&mut self, block: &Block, jobs: &mut Jobs<'_>) -> io::Result<()> {
        let Some(recording) = &mut self.recording else { return Err(io::ErrorKind::NotFound.into()) };
        self.marks.pass(block);
        recording.set_complexity(if jobs.backlog() < BEHIND { COMPLEXITY } else { COMPLEXITY_BEHIND });
        let mut pages = Vec::new();
        let mut push = |channels: [&[i16]; 2]| recording.push(&channels[..self.channels], &mut pages);
        let mut silence = block.silence() as usize;
        let nothing = [0; 480];
        while silence > 0 {
            let part = &nothing[..silence.min(nothing.len())];
            push([part; 2]);
            silence -= part.len();
        }
        let right = if self.channels == 2 { block.channel(1) } else { &[] };
        push([block.channel(0), right]);
        recording.flush(&mut pages);
        self.write(jobs, pages);
        Ok(())
    }

    fn finish(&mut self, jobs: &mut Jobs<'_>) -> io::Result<()> {
        let mut pages = Vec::new();
        if let Some(recording) = &mut self.recording {
            recording.finish(&mut pages);
        }
        self.write(jobs, pages);
        if let Some(file) = &self.file {
            self.place.sync(file, jobs);
        }
        Ok(())
    }
}
