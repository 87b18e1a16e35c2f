//! A thread of the recorder: looks at all tapes again and again, hands their blocks to the sinks and has the disk do what
//! these ask for. No shard ever wakes it for a block.

use super::Stop;
use super::disk::{Disk, Jobs};
use super::tape::Reel;
use base::Duration;
use command::Outcome;
use core::sync::atomic::Ordering;
use crossbeam_queue::ArrayQueue;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// Between two looks at recordings, and at forks: whoever hears those should not hear them in bursts.
pub(super) const LOOK: Duration = Duration::from_millis(50);
pub(super) const LOOK_FORKS: Duration = Duration::from_millis(5);

/// One thread. Dropping it ends all its tapes and waits until their files are whole.
#[derive(Debug)]
pub(super) struct Worker {
    inbox: Arc<ArrayQueue<Reel>>,
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// A thread for so many tapes at most, that looks at them each `look`.
    pub fn start(name: String, look: Duration, tapes_max: usize, disk: Box<dyn Disk>) -> io::Result<Worker> {
        let (inbox, stop) = (Arc::new(ArrayQueue::new(tapes_max.max(1))), Arc::new(Stop::new(false)));
        let mut bench = Bench { inbox: Arc::clone(&inbox), disk, reels: Vec::new() };
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name(name).spawn(move || {
            loop {
                // Looked at first: what was given before the stop is still written.
                let stop = stopped.load(Ordering::Acquire);
                bench.round(stop);
                if stop {
                    return;
                }
                if bench.reels.is_empty() && bench.inbox.is_empty() {
                    thread::park();
                } else {
                    thread::park_timeout(look);
                }
            }
        })?;
        Ok(Worker { inbox, stop, thread: Some(thread) })
    }

    /// A new tape; given back when there are too many.
    pub fn give(&self, reel: Reel) -> Result<(), Reel> {
        self.inbox.push(reel)?;
        self.wake();
        Ok(())
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread works at.
struct Bench {
    inbox: Arc<ArrayQueue<Reel>>,
    disk: Box<dyn Disk>,
    reels: Vec<Reel>,
}

impl Bench {
    /// Empties all tapes once, writes, and lets those go that ended.
    fn round(&mut self, stop: bool) {
        while let Some(reel) = self.inbox.pop() {
            self.reels.push(reel);
        }
        let mut outcomes = vec![None; self.reels.len()];
        for (owner, reel) in self.reels.iter_mut().enumerate() {
            let mut jobs = Jobs { disk: &mut *self.disk, owner: owner as u32, backlog: 0 };
            // A sink that fails takes nobody with it; it is not used again.
            outcomes[owner] = match catch_unwind(AssertUnwindSafe(|| reel.pump(&mut jobs, stop))) {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "a recording has failed");
                    Some(Outcome::Failed)
                }
                Err(_) => {
                    tracing::error!("a recording's sink panicked");
                    Some(Outcome::Failed)
                }
            };
        }
        self.disk.settle(&mut |owner, error| {
            tracing::warn!(%error, "a recording could not be written");
            outcomes[owner as usize] = Some(Outcome::Failed);
        });
        for (reel, outcome) in self.reels.iter_mut().zip(&outcomes) {
            if let Some(outcome) = outcome {
                reel.tell(*outcome);
            }
        }
        let mut outcomes = outcomes.into_iter();
        self.reels.retain(|_| outcomes.next().flatten().is_none());
    }
}
