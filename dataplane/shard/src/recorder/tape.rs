//! The way of samples from a shard to the recorder: blocks that go round between the two, from a pool that is as large as
//! the longest stall of a disk, or of whoever hears a fork. What finds no block is counted as lost, and silence of that length takes its place.

use super::{Sink, UsageLease, ended};
use command::{Ended, Outcome};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use crossbeam_queue::ArrayQueue;
use std::sync::Arc;

/// What goes through a tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    /// One or two.
    pub channels: usize,
    /// Samples a second of each.
    pub rate: u32,
    /// Milliseconds in a block.
    block_ms: usize,
    /// How many there are.
    blocks: usize,
}

impl Spec {
    /// A quarter of a second a block, 6 s in all: files are whole up to the last block, and disks stall for seconds.
    pub fn recording(channels: usize, rate: u32) -> Spec {
        Spec { channels, rate, block_ms: 250, blocks: 24 }
    }

    /// 20 ms a block, as media ticks, and 1 s in all: who listens wants it now or not at all.
    pub fn fork(channels: usize, rate: u32) -> Spec {
        Spec { channels, rate, block_ms: 20, blocks: 50 }
    }

    fn frames(self) -> usize {
        self.rate as usize * self.block_ms / 1_000
    }

    /// Octets of all its blocks: of a recording 96 KB for each channel at 8 kHz, 576 KB at 48 kHz; of a fork a sixth.
    pub fn pool_len(self) -> usize {
        self.blocks * self.frames() * self.channels * size_of::<i16>()
    }
}

/// As many samples as a block of the tape holds, or less where something ends.
#[derive(Debug)]
pub struct Block {
    /// The channels one behind the other, each with room for a whole block.
    samples: Box<[i16]>,
    capacity: usize,
    frames: usize,
    silence: u64,
    paused: bool,
}

impl Block {
    fn new(spec: Spec) -> Block {
        let capacity = spec.frames();
        let samples = vec![0; capacity * spec.channels].into();
        Block { samples, capacity, frames: 0, silence: 0, paused: false }
    }

    /// One for a test of a sink: these samples of each channel, behind so many that were lost.
    #[cfg(test)]
    pub(super) fn holding(spec: Spec, channels: [&[i16]; 2], silence: u64) -> Block {
        let mut block = Block { frames: channels[0].len(), silence, ..Block::new(spec) };
        for (channel, pcm) in block.samples.chunks_exact_mut(block.capacity).zip(channels) {
            channel[..pcm.len()].copy_from_slice(pcm);
        }
        block
    }

    /// Samples of each channel.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// One or two; none where only time has passed.
    pub fn channels(&self) -> usize {
        self.samples.len().checked_div(self.capacity).unwrap_or(0)
    }

    /// The samples of a channel: 0 is left, or all; 1 is right.
    pub fn channel(&self, channel: usize) -> &[i16] {
        &self.samples[channel * self.capacity..][..self.frames]
    }

    /// So many samples were lost just before this block.
    pub fn silence(&self) -> u64 {
        self.silence
    }

    /// It holds silence because the recording pauses.
    pub fn is_paused(&self) -> bool {
        self.paused
    }
}

/// The shard's end of a recording or fork. Dropping it without [`Tape::finish`] ends it as closed.
#[derive(Debug)]
pub struct Tape {
    shared: Arc<Shared>,
    spec: Spec,
    block: Option<Box<Block>>,
    /// Lost since the last block.
    owed: u64,
    paused: bool,
}

/// What both ends hold.
#[derive(Debug)]
pub(super) struct Shared {
    /// Room for all blocks in both, so that neither is ever too full to take one.
    full: ArrayQueue<Box<Block>>,
    free: ArrayQueue<Box<Block>>,
    lost: AtomicU64,
    /// What is lost and no block tells of; written before `end`.
    owed: AtomicU64,
    /// [`RUNNING`], or the outcome as its number.
    end: AtomicU8,
    /// The sink takes no more.
    failed: AtomicBool,
    _usage: UsageLease,
}

const RUNNING: u8 = u8::MAX;
const OUTCOMES: [Outcome; 4] = [Outcome::Done, Outcome::Stopped, Outcome::Closed, Outcome::Failed];

pub(super) fn new(spec: Spec, usage: UsageLease) -> (Tape, Arc<Shared>) {
    let shared = Shared {
        full: ArrayQueue::new(spec.blocks),
        free: ArrayQueue::new(spec.blocks),
        lost: AtomicU64::new(0),
        owed: AtomicU64::new(0),
        end: AtomicU8::new(RUNNING),
        failed: AtomicBool::new(false),
        _usage: usage,
    };
    for _ in 0..spec.blocks {
        let _ = shared.free.push(Box::new(Block::new(spec)));
    }
    let shared = Arc::new(shared);
    (Tape { shared: Arc::clone(&shared), spec, block: None, owed: 0, paused: false }, shared)
}

impl Tape {
    /// Adds samples, as many of each channel; with one channel `right` is not looked at. While the recording pauses
    /// they become silence. Neither allocates nor waits: what finds no free block is lost, counted, and silence later.
    pub fn push(&mut self, left: &[i16], right: &[i16]) {
        debug_assert!(self.spec.channels == 1 || left.len() == right.len(), "both channels are as long");
        let mut at = 0;
        while at < left.len() {
            let Some(block) = self.free_block() else {
                let lost = (left.len() - at) as u64;
                self.owed += lost;
                self.shared.lost.fetch_add(lost, Ordering::Relaxed);
                return;
            };
            let len = (block.capacity - block.frames).min(left.len() - at);
            for (channel, pcm) in block.samples.chunks_exact_mut(block.capacity).zip([left, right]) {
                let into = &mut channel[block.frames..][..len];
                match pcm.get(at..at + len) {
                    Some(pcm) if !block.paused => into.copy_from_slice(pcm),
                    _ => into.fill(0),
                }
            }
            block.frames += len;
            at += len;
            if block.frames == block.capacity {
                self.hand_over();
            }
        }
    }

    /// What is pushed from now on is silence, marked as a pause, or no longer.
    pub fn mark_pause(&mut self, on: bool) {
        if on != self.paused {
            self.hand_over();
            self.paused = on;
        }
    }

    /// Whether it pauses.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// The sink has failed and the end was told: what is pushed goes nowhere.
    pub fn has_failed(&self) -> bool {
        self.shared.failed.load(Ordering::Relaxed)
    }

    /// Blocks that the thread has not taken yet.
    pub fn waiting(&self) -> usize {
        self.shared.full.len()
    }

    /// Samples a second that it takes.
    pub fn rate(&self) -> u32 {
        self.spec.rate
    }

    /// One or two.
    pub fn channels(&self) -> usize {
        self.spec.channels
    }

    /// The end. What is on the tape is still written; its [`super::Finished`] comes when the file is whole.
    pub fn finish(mut self, outcome: Outcome) {
        self.end(outcome);
    }

    fn free_block(&mut self) -> Option<&mut Block> {
        if self.block.is_none() {
            let mut block = self.shared.free.pop()?;
            (block.frames, block.silence, block.paused) = (0, core::mem::take(&mut self.owed), self.paused);
            self.block = Some(block);
        }
        self.block.as_deref_mut()
    }

    /// Gives the block to the thread, which looks for it by itself.
    fn hand_over(&mut self) {
        if let Some(block) = self.block.take() {
            let full = self.shared.full.push(block);
            debug_assert!(full.is_ok(), "there is room for all blocks");
        }
    }

    fn end(&mut self, outcome: Outcome) {
        if self.shared.end.load(Ordering::Relaxed) != RUNNING {
            return;
        }
        self.hand_over();
        self.shared.owed.store(self.owed, Ordering::Relaxed);
        let number = OUTCOMES.iter().position(|known| *known == outcome).unwrap_or(0);
        // After the last block: who sees the end sees all that came before.
        self.shared.end.store(number as u8, Ordering::Release);
    }
}

impl media::Tape for Tape {
    fn push(&mut self, left: &[i16], right: &[i16]) {
        self.push(left, right);
    }

    fn mark_pause(&mut self, on: bool) {
        self.mark_pause(on);
    }

    fn finish(self: Box<Self>, outcome: Outcome) {
        (*self).finish(outcome);
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        self.end(Outcome::Closed);
    }
}

/// The thread's end: what it reads, and who gets it.
pub(super) struct Reel {
    spec: Spec,
    shared: Arc<Shared>,
    sink: Box<dyn Sink>,
    /// Called once, with the end.
    tell: Option<Box<dyn FnOnce(Ended) + Send>>,
    begun: bool,
    /// What the sink holds.
    frames: u64,
    /// What it could not pass on.
    lost: u64,
}

impl Reel {
    pub fn new(
        spec: Spec,
        shared: Arc<Shared>,
        sink: Box<dyn Sink>,
        tell: impl FnOnce(Ended) + Send + 'static,
    ) -> Reel {
        Reel { spec, shared, sink, tell: Some(Box::new(tell)), begun: false, frames: 0, lost: 0 }
    }

    /// Hands all blocks that wait to the sink. The outcome if this was the end; it is to be told when the disk has
    /// settled. `stop` is the end in any case.
    ///
    /// # Errors
    /// The sink's.
    pub fn pump(&mut self, jobs: &mut super::disk::Jobs<'_>, stop: bool) -> std::io::Result<Option<Outcome>> {
        if !core::mem::replace(&mut self.begun, true) {
            self.sink.begin(jobs)?;
        }
        let end = self.shared.end.load(Ordering::Acquire);
        while let Some(block) = self.shared.full.pop() {
            jobs.backlog = self.shared.full.len();
            let taken = self.sink.take(&block, jobs);
            self.frames += block.silence + block.frames as u64;
            self.lost = self.sink.lost();
            let _ = self.shared.free.push(block);
            taken?;
        }
        let outcome = match OUTCOMES.get(usize::from(end)) {
            Some(outcome) => *outcome,
            None if stop => Outcome::Closed,
            None => return Ok(None),
        };
        let owed = self.shared.owed.load(Ordering::Relaxed);
        if owed > 0 {
            let samples = Box::default();
            self.sink.take(&Block { samples, capacity: 0, frames: 0, silence: owed, paused: false }, jobs)?;
            self.frames += owed;
        }
        self.sink.finish(jobs)?;
        Ok(Some(outcome))
    }

    /// Tells the end, once.
    pub fn tell(&mut self, outcome: Outcome) {
        if outcome == Outcome::Failed {
            self.shared.failed.store(true, Ordering::Relaxed);
        }
        let lost = self.shared.lost.load(Ordering::Relaxed) + self.lost;
        if let Some(tell) = self.tell.take() {
            tell(ended(outcome, self.frames, lost, self.spec.rate));
        }
    }
}
