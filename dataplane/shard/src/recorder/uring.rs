//! Files by io_uring: all that a round has to write goes to the kernel in one call, and its threads do what blocks.
//! Of its own rather than by `tokio-uring`, whose versions of io-uring, socket2 and bitflags are not this tree's.
#![expect(unsafe_code, reason = "the kernel reads buffers that it is given by address")]

use super::disk::{Disk, Job, What};
use io_uring::{IoUring, opcode, squeue, types};
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

/// A ring and the jobs that wait for it.
pub struct UringDisk {
    ring: IoUring,
    jobs: Vec<Job>,
    /// The ring failed: plain calls from now on.
    broken: bool,
}

/// Jobs in the kernel at once.
const DEPTH: usize = 128;

impl UringDisk {
    /// Makes a ring and writes a byte by it: its set-up may be allowed where writing is not.
    ///
    /// # Errors
    /// The host does not allow it.
    pub fn new() -> io::Result<Self> {
        let mut disk = UringDisk { ring: IoUring::new(DEPTH as u32)?, jobs: Vec::new(), broken: false };
        let file = Arc::new(std::fs::OpenOptions::new().write(true).open("/dev/null")?);
        disk.jobs.push(Job { owner: 0, file, what: What::Write { at: 0, bytes: vec![0] } });
        let results = disk.submit(0..1)?;
        if results[0] == 1 { Ok(disk) } else { Err(io::Error::from_raw_os_error(-results[0])) }
    }

    /// Has the kernel do some of the jobs, waits for all of them, and gives what it answered to each.
    fn submit(&mut self, range: core::ops::Range<usize>) -> io::Result<Vec<i32>> {
        let jobs = &self.jobs[range];
        let mut results = vec![-libc::ECANCELED; jobs.len()];
        let mut waiting = 0;
        for (number, job) in jobs.iter().enumerate() {
            let file = types::Fd(job.file.as_raw_fd());
            let entry = match &job.what {
                What::Write { at, bytes } => {
                    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                    opcode::Write::new(file, bytes.as_ptr(), len).offset(*at).build()
                }
                What::Sync => opcode::Fsync::new(file).build(),
            };
            // A job begins when the one before it is done, if that is for the same owner.
            let linked = jobs.get(number + 1).is_some_and(|next| next.owner == job.owner);
            let flags = if linked { squeue::Flags::IO_LINK } else { squeue::Flags::empty() };
            let entry = entry.user_data(number as u64).flags(flags);
            // SAFETY: the buffer and the file belong to a job in `self.jobs`, which is neither changed nor dropped before
            // this function has taken the answer to each entry, or has leaked them.
            let pushed = unsafe { self.ring.submission().push(&entry) };
            if pushed.is_err() {
                break;
            }
            waiting += 1;
        }
        let mut tries = 0;
        while waiting > 0 {
            if let Err(error) = self.ring.submit_and_wait(waiting)
                && error.kind() != io::ErrorKind::Interrupted
            {
                tries += 1;
                if tries > 1_000 {
                    self.broken = true;
                    // The kernel may still read them.
                    core::mem::forget(core::mem::take(&mut self.jobs));
                    return Err(error);
                }
            }
            for entry in self.ring.completion() {
                waiting -= 1;
                if let Some(result) = results.get_mut(entry.user_data() as usize) {
                    *result = entry.result();
                }
            }
        }
        Ok(results)
    }
}

impl Disk for UringDisk {
    fn name(&self) -> &'static str {
        "uring"
    }

    fn put(&mut self, job: Job) {
        self.jobs.push(job);
    }

    fn settle(&mut self, failed: &mut dyn FnMut(u32, io::Error)) {
        let mut start = 0;
        while start < self.jobs.len() {
            let end = (start + DEPTH).min(self.jobs.len());
            let results = if self.broken {
                vec![-libc::ECANCELED; end - start]
            } else {
                let owners: Vec<_> = self.jobs.iter().map(|job| job.owner).collect();
                match self.submit(start..end) {
                    Ok(results) => results,
                    Err(error) => {
                        let code = error.raw_os_error().unwrap_or(libc::EIO);
                        owners
                            .into_iter()
                            .for_each(|owner| failed(owner, io::Error::from_raw_os_error(code)));
                        return;
                    }
                }
            };
            for (job, result) in self.jobs[start..end].iter().zip(results) {
                if let Err(error) = finish(job, result) {
                    failed(job.owner, error);
                }
            }
            start = end;
        }
        self.jobs.clear();
    }
}

/// Does by a plain call what the kernel did in part, or not at all because the job before it was done in part.
fn finish(job: &Job, result: i32) -> io::Result<()> {
    let wanted = match &job.what {
        What::Write { bytes, .. } => bytes.len(),
        What::Sync => 0,
    };
    match usize::try_from(result) {
        Ok(written) if written >= wanted => Ok(()),
        Ok(written) => job.run_from(written),
        Err(_) if [-libc::ECANCELED, -libc::EINTR, -libc::EAGAIN].contains(&result) => job.run(),
        Err(_) => Err(io::Error::from_raw_os_error(-result)),
    }
}
