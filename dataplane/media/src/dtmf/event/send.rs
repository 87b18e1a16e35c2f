//! From keys pressed to packets, by our clock or after an incoming event (with its clock scaled to ours). The caller
//! gives sequence numbers, and lets the audio clock run on underneath.

use super::{Event, Payload, Phase, SEGMENT_MAX};
use base::{Duration, Instant};

/// One packet to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Of the RTP header.
    pub marker: bool,
    /// Of the RTP header: the same for all packets of a key (of a segment, if it is long).
    pub timestamp: u32,
    /// All of it.
    pub payload: [u8; Payload::LEN],
}

/// Keys towards one peer, one after the other. A key that begins while another is down ends that one.
#[derive(Debug)]
pub struct Sender {
    clock: u32,
    interval: Duration,
    /// Ended, but not told so three times when the next began.
    left: Option<Key>,
    key: Option<Key>,
}

impl Sender {
    /// `clock` is that of the payload type that was negotiated, `interval` the time between packets (the ptime).
    pub fn new(clock: u32, interval: Duration) -> Self {
        Sender {
            clock: clock.max(1),
            interval: interval.max(Duration::from_millis(5)),
            left: None,
            key: None,
        }
    }

    /// Presses a key for `duration`, from the audio clock's `timestamp` on; volume as in [`Payload`].
    pub fn press(&mut self, now: Instant, code: u8, volume: u8, timestamp: u32, duration: Duration) {
        let ticks =
            (duration.as_nanos() * u128::from(self.clock) / 1_000_000_000).min(u32::MAX.into()) as u32;
        self.begin(Key::new(now, code, volume, timestamp, Goal::After(ticks.max(1))));
    }

    /// Passes an incoming event on; `timestamp` is the audio clock's now, and counts at its begin.
    pub fn follow(&mut self, now: Instant, event: &Event, timestamp: u32) {
        let scaled = u64::from(event.ticks) * u64::from(self.clock) / u64::from(event.clock.max(1));
        let ticks = u32::try_from(scaled).unwrap_or(u32::MAX);
        match event.phase {
            Phase::Begin => {
                let goal = Goal::Followed { ticks, fresh: true };
                self.begin(Key::new(now, event.code, event.volume, timestamp, goal));
            }
            Phase::Update | Phase::End => {
                let Some(key) = self.key.as_mut().filter(|key| key.code == event.code) else { return };
                let Goal::Followed { ticks: told, fresh } = &mut key.goal else { return };
                *told = ticks.max(*told);
                *fresh = true;
                if event.phase == Phase::End {
                    key.goal = Goal::Ended(*told);
                    key.due = now;
                }
            }
        }
    }

    /// Lets the key go that is down, at what was told of it.
    pub fn release(&mut self, now: Instant) {
        if let Some(key) = &mut self.key {
            key.release(now);
        }
    }

    /// What is to be sent now; ask until there is nothing.
    pub fn poll(&mut self, now: Instant) -> Option<Packet> {
        if let Some(left) = &mut self.left {
            if let Some(packet) = left.poll(left.due, self.clock, self.interval) {
                return Some(packet);
            }
            self.left = None;
        }
        let key = self.key.as_mut()?;
        let packet = key.poll(now, self.clock, self.interval);
        if key.ends == ENDS {
            self.key = None;
        }
        packet
    }

    /// When to poll next, if time alone brings a packet.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if let Some(left) = &self.left {
            return Some(left.due);
        }
        let key = self.key.as_ref()?;
        match key.goal {
            Goal::Followed { fresh: false, .. } => None,
            Goal::After(_) | Goal::Followed { .. } | Goal::Ended(_) => Some(key.due),
        }
    }

    /// Whether a key is down: no audio is sent then.
    pub fn is_down(&self) -> bool {
        self.key.as_ref().is_some_and(|key| !matches!(key.goal, Goal::Ended(_)))
    }

    /// Whether packets are still to come.
    pub fn is_active(&self) -> bool {
        self.key.is_some() || self.left.is_some()
    }

    fn begin(&mut self, key: Key) {
        if let Some(mut left) = self.key.replace(key) {
            left.release(left.due);
            self.left = Some(left);
        }
    }
}

/// One key.
#[derive(Debug)]
struct Key {
    code: u8,
    volume: u8,
    /// Of the segment that is being told.
    timestamp: u32,
    /// Ticks before that segment.
    before: u32,
    goal: Goal,
    /// Ticks told.
    told: u32,
    /// How often the end was told.
    ends: u8,
    started: Instant,
    due: Instant,
    first: bool,
}

#[derive(Debug)]
enum Goal {
    /// It ends by itself after so many ticks.
    After(u32),
    /// It lasts as long as another.
    Followed { ticks: u32, fresh: bool },
    /// It has ended after so many ticks.
    Ended(u32),
}

impl Key {
    fn new(now: Instant, code: u8, volume: u8, timestamp: u32, goal: Goal) -> Key {
        Key {
            code,
            volume,
            timestamp,
            before: 0,
            goal,
            told: 0,
            ends: 0,
            started: now,
            due: now,
            first: true,
        }
    }

    fn release(&mut self, now: Instant) {
        match self.goal {
            Goal::After(_) => self.goal = Goal::Ended(self.told.max(1)),
            Goal::Followed { ticks, .. } => self.goal = Goal::Ended(ticks),
            Goal::Ended(_) => return,
        }
        self.due = now;
    }

    fn poll(&mut self, now: Instant, clock: u32, interval: Duration) -> Option<Packet> {
        let ticks = match self.goal {
            Goal::Followed { ticks, fresh } => {
                if !fresh {
                    return None;
                }
                ticks
            }
            Goal::After(goal) => {
                if now < self.due {
                    return None;
                }
                // The packet that goes out now tells of the frame that begins now; a late one catches up.
                let frames = now.nanos_since(self.started) / interval.as_nanos() as u64 + 1;
                let passed = u128::from(frames) * interval.as_nanos() * u128::from(clock) / 1_000_000_000;
                let ticks = passed.min(goal.into()) as u32;
                if ticks == goal {
                    self.goal = Goal::Ended(goal);
                }
                ticks
            }
            Goal::Ended(ticks) => {
                if now < self.due || self.ends == ENDS {
                    return None;
                }
                ticks
            }
        };
        if ticks - self.before > SEGMENT_MAX {
            let full = self.packet(SEGMENT_MAX, false);
            self.before += SEGMENT_MAX;
            self.timestamp = self.timestamp.wrapping_add(SEGMENT_MAX);
            self.told = self.before;
            return Some(full);
        }
        let end = match &mut self.goal {
            Goal::Followed { fresh, .. } => {
                *fresh = false;
                false
            }
            Goal::After(_) => false,
            Goal::Ended(_) => true,
        };
        self.told = ticks;
        self.ends += u8::from(end);
        let frames = self.due.max(now).nanos_since(self.started) / interval.as_nanos() as u64 + 1;
        self.due = match self.goal {
            // The grid is kept, however late a poll is.
            Goal::After(_) => self.started + interval * u32::try_from(frames).unwrap_or(u32::MAX),
            Goal::Followed { .. } => now,
            Goal::Ended(_) => self.due.max(now.min(self.due + interval)) + interval,
        };
        Some(self.packet(ticks - self.before, end))
    }

    fn packet(&mut self, duration: u32, end: bool) -> Packet {
        let payload = Payload { code: self.code, end, volume: self.volume, duration: duration as u16 };
        let marker = core::mem::take(&mut self.first);
        Packet { marker, timestamp: self.timestamp, payload: payload.to_bytes() }
    }
}

/// The end is told so often (RFC 4733 section 2.5.1.4).
const ENDS: u8 = 3;
