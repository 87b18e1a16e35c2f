//! How bytes get into files: what one round over all tapes has to write is put together and then done at once, by plain
//! calls or by io_uring.

use super::uring::UringDisk;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Does what a round has to write. A test may have one of its own that stalls or is full.
pub trait Disk: Send {
    /// As in the configuration: `blocking`, `uring`.
    fn name(&self) -> &'static str;

    /// Takes a job; jobs of one owner are done in order.
    fn put(&mut self, job: Job);

    /// Does all jobs, and says which owners' failed.
    fn settle(&mut self, failed: &mut dyn FnMut(u32, io::Error));
}

/// One thing to do.
#[derive(Debug)]
pub struct Job {
    /// For whom; comes back if it fails.
    pub owner: u32,
    /// Where.
    pub file: Arc<File>,
    /// What.
    pub what: What,
}

/// What is done to a file.
#[derive(Debug)]
pub enum What {
    /// Bytes are written at a place.
    Write {
        /// From the beginning of the file.
        at: u64,
        /// All of them.
        bytes: Vec<u8>,
    },
    /// What was written outlives the machine.
    Sync,
}

/// What one sink gives to the disk.
pub struct Jobs<'a> {
    pub(super) disk: &'a mut dyn Disk,
    pub(super) owner: u32,
    pub(super) backlog: usize,
}

impl Jobs<'_> {
    /// Blocks of the same tape that wait behind the one that is being taken: the thread does not keep up.
    pub fn backlog(&self) -> usize {
        self.backlog
    }

    /// Writes bytes at a place.
    pub fn write(&mut self, file: &Arc<File>, at: u64, bytes: Vec<u8>) {
        let what = What::Write { at, bytes };
        self.disk.put(Job { owner: self.owner, file: Arc::clone(file), what });
    }

    /// Sees to it that what was written is on the disk.
    pub fn sync(&mut self, file: &Arc<File>) {
        self.disk.put(Job { owner: self.owner, file: Arc::clone(file), what: What::Sync });
    }
}

impl core::fmt::Debug for Jobs<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Jobs of {}", self.owner)
    }
}

/// Which way of writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DiskChoice {
    /// io_uring where the host allows it, else plain calls.
    #[default]
    Auto,
    /// Plain calls.
    Blocking,
    /// io_uring; an error where the host does not allow it.
    Uring,
}

impl DiskChoice {
    /// Opens it; io_uring is tried with one write.
    ///
    /// # Errors
    /// The host does not allow what was asked for.
    pub fn open(self) -> io::Result<Box<dyn Disk>> {
        match self {
            DiskChoice::Blocking => Ok(Box::new(BlockingDisk::default())),
            DiskChoice::Uring => Ok(Box::new(UringDisk::new()?)),
            DiskChoice::Auto => match UringDisk::new() {
                Ok(disk) => Ok(Box::new(disk)),
                Err(error) => {
                    tracing::info!(%error, "recordings are written without io_uring");
                    Ok(Box::new(BlockingDisk::default()))
                }
            },
        }
    }
}

/// Plain calls, one job after the other.
#[derive(Debug, Default)]
pub struct BlockingDisk {
    jobs: Vec<Job>,
}

impl Disk for BlockingDisk {
    fn name(&self) -> &'static str {
        "blocking"
    }

    fn put(&mut self, job: Job) {
        self.jobs.push(job);
    }

    fn settle(&mut self, failed: &mut dyn FnMut(u32, io::Error)) {
        for job in self.jobs.drain(..) {
            if let Err(error) = job.run() {
                failed(job.owner, error);
            }
        }
    }
}

impl Job {
    /// Does it by plain calls.
    pub(super) fn run(&self) -> io::Result<()> {
        self.run_from(0)
    }

    /// Does what is left of it when so many bytes are written.
    pub(super) fn run_from(&self, written: usize) -> io::Result<()> {
        match &self.what {
            What::Write { at, bytes } => self.file.write_all_at(&bytes[written..], at + written as u64),
            What::Sync => self.file.sync_all(),
        }
    }
}
