//! From packets of one stream to keys pressed, whatever is lost, late or doubled. Does not know what becomes of them.

use super::{Event, Payload, Phase, SEGMENT_MAX};
use crate::wire::rtp::Header;
use base::{Duration, Instant};
use command::Verdict;

/// How long a key whose end is lost is taken to last after its last packet.
pub const END_AFTER: Duration = Duration::from_millis(250);
/// How long a key may wait for an earlier one that is late, where nothing has put the packets in order.
pub const REORDER: Duration = Duration::from_millis(100);

/// Keys of one stream (SSRC). Feed it each packet of the payload types that are `telephone-event`, and poll it until it
/// has nothing left, after each packet and when [`Receiver::poll_timeout`] says so.
#[derive(Debug)]
pub struct Receiver {
    hold: Duration,
    /// Not told to the end, in the order of their sequence numbers.
    keys: [Option<Key>; KEYS_MAX],
    /// The last that were told to the end: what comes of them is no news.
    done: [Option<Key>; DONE_MAX],
    done_next: usize,
    /// Extended sequence number and arrival of the newest packet.
    newest: Option<(u64, Instant)>,
    /// Extended sequence number of the last key that has begun.
    begun: Option<u64>,
}

impl Receiver {
    /// `hold`: how long the begin of a key waits for an earlier one that is late; [`REORDER`] for packets as they come
    /// from the network, zero behind something that puts them in order.
    pub fn new(hold: Duration) -> Self {
        Receiver {
            hold,
            keys: [None; KEYS_MAX],
            done: [None; DONE_MAX],
            done_next: 0,
            newest: None,
            begun: None,
        }
    }

    /// Takes one packet; `clock` is that of its payload type. What is known already is taken without effect.
    ///
    /// # Errors
    /// [`Verdict::Undecodable`]; [`Verdict::Late`] if a later key has begun; [`Verdict::Overrun`] if more keys wait than
    /// can be.
    pub fn handle(
        &mut self,
        now: Instant,
        header: &Header,
        clock: u32,
        payload: &[u8],
    ) -> Result<(), Verdict> {
        let (blocks, _) = payload.as_chunks::<{ Payload::LEN }>();
        if blocks.is_empty() || clock == 0 {
            return Err(Verdict::Undecodable);
        }
        let sequence = self.extend(now, header.sequence);
        let mut timestamp = header.timestamp;
        // Several blocks are events without a pause between them (section 2.5.1.5).
        for (at, block) in blocks.iter().take(KEYS_MAX).enumerate() {
            let payload = Payload::read(block);
            let payload = Payload { end: payload.end || at + 1 < blocks.len(), ..payload };
            let marker = header.marker && at == 0;
            self.on_block(now, Packet { sequence, timestamp, marker, clock, payload })?;
            timestamp = timestamp.wrapping_add(payload.duration.into());
        }
        Ok(())
    }

    /// What has happened by now; ask until there is nothing.
    pub fn poll(&mut self, now: Instant) -> Option<Event> {
        let next_due = self.next_due();
        let key = self.keys[0].as_mut()?;
        if !key.begun {
            if next_due? > now {
                return None;
            }
            key.begun = true;
            key.fresh = false;
            self.begun = Some(key.sequence);
            return Some(key.event(Phase::Begin));
        }
        if key.ended || key.last + END_AFTER <= now || next_due.is_some_and(|due| due <= now) {
            let key = *key;
            self.finish();
            return Some(key.event(Phase::End));
        }
        if key.fresh {
            key.fresh = false;
            return Some(key.event(Phase::Update));
        }
        None
    }

    /// When to poll next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let key = self.keys[0].as_ref()?;
        let next_due = self.next_due();
        if !key.begun {
            return next_due;
        }
        if key.ended || key.fresh {
            return Some(key.last);
        }
        let silent = key.last + END_AFTER;
        Some(next_due.map_or(silent, |due| due.min(silent)))
    }

    /// The stream has ended, or another SSRC takes its place: what was down is let go, and numbers begin anew. Poll it
    /// afterwards.
    pub fn restart(&mut self, now: Instant) {
        for key in self.keys.iter_mut().flatten() {
            key.first = now - self.hold;
            key.ended = true;
        }
        self.newest = self.newest.map(|(newest, _)| (newest, Instant(0)));
    }

    /// Whether a key is down or waits to be told.
    pub fn is_active(&self) -> bool {
        self.keys[0].is_some()
    }

    /// When the first key that has not begun may, as nothing earlier can come any more.
    fn next_due(&self) -> Option<Instant> {
        let waiting = self.keys.iter().flatten().filter(|key| !key.begun);
        waiting.map(|key| key.first + self.hold).min()
    }

    fn on_block(&mut self, now: Instant, packet: Packet) -> Result<(), Verdict> {
        for key in self.keys.iter_mut().flatten() {
            if key.takes(&packet) {
                key.on_packet(now, &packet);
                return Ok(());
            }
        }
        let known =
            |key: &&Key| now.since(key.last) < DONE_FOR && key.holds(&packet) && !key.repeats(&packet);
        if self.done.iter().flatten().any(|key| known(&key)) {
            return Ok(());
        }
        if self.begun.is_some_and(|begun| packet.sequence < begun) {
            return Err(Verdict::Late);
        }
        if self.keys[KEYS_MAX - 1].is_some() {
            return Err(Verdict::Overrun);
        }
        let later = |key: &Option<Key>| key.is_none_or(|key| key.sequence > packet.sequence);
        let place = self.keys.iter().position(later).unwrap_or(KEYS_MAX - 1);
        self.keys[place..].rotate_right(1);
        self.keys[place] = Some(Key::new(now, &packet));
        Ok(())
    }

    /// The first key has been told to the end.
    fn finish(&mut self) {
        self.done[self.done_next] = self.keys[0].take();
        self.done_next = (self.done_next + 1) % DONE_MAX;
        self.keys.rotate_left(1);
    }

    fn extend(&mut self, now: Instant, sequence: u16) -> u64 {
        let Some((newest, at)) = self.newest else {
            let first = EPOCH | u64::from(sequence);
            self.newest = Some((first, now));
            return first;
        };
        let step = sequence.wrapping_sub(newest as u16) as i16;
        // Between keys the numbers run on unseen, so after a pause they say nothing. A long way back is a restart.
        let extended = if now.since(at) > QUIET || at == Instant(0) || step < -BACK_MAX {
            ((newest & !0xffff) + EPOCH) | u64::from(sequence)
        } else {
            newest.saturating_add_signed(step.into())
        };
        self.newest = Some((extended.max(newest), now));
        extended
    }
}

/// One key, from its first packet on.
#[derive(Clone, Copy, Debug)]
struct Key {
    code: u8,
    volume: u8,
    clock: u32,
    /// Timestamp of its first segment, as far as we know.
    start: u32,
    /// From there to the newest segment, in ticks.
    segment: u32,
    /// How long it has lasted.
    ticks: u32,
    /// Its sender moves the timestamp with each packet.
    moves: bool,
    ended: bool,
    begun: bool,
    fresh: bool,
    sequence: u64,
    sequence_last: u64,
    first: Instant,
    last: Instant,
}

impl Key {
    fn new(now: Instant, packet: &Packet) -> Key {
        Key {
            code: packet.payload.code,
            volume: packet.payload.volume,
            clock: packet.clock,
            start: packet.timestamp,
            segment: 0,
            ticks: packet.payload.duration.into(),
            moves: false,
            ended: packet.payload.end,
            begun: false,
            fresh: true,
            sequence: packet.sequence,
            sequence_last: packet.sequence,
            first: now,
            last: now,
        }
    }

    /// Whether the packet tells of the time of this key.
    fn holds(&self, packet: &Packet) -> bool {
        if packet.payload.code != self.code {
            return false;
        }
        let offset = packet.timestamp.wrapping_sub(self.start);
        let is_repeated_end = packet.payload.end && u32::from(packet.payload.duration) == self.ticks;
        offset <= self.segment.max(self.ticks)
            || self.moves && is_repeated_end && offset <= self.ticks + self.clock / 10
    }

    /// Whether the packet is the key pressed again by a sender that keeps its timestamp.
    fn repeats(&self, packet: &Packet) -> bool {
        let fewer = u32::from(packet.payload.duration) < self.ticks;
        packet.marker && !packet.payload.end && fewer && packet.sequence > self.sequence_last && self.ended
    }

    /// Whether the packet belongs to this key, also as its next segment.
    fn takes(&self, packet: &Packet) -> bool {
        if self.holds(packet) {
            return !self.repeats(packet);
        }
        if packet.payload.code != self.code || self.ended || packet.marker {
            return false;
        }
        let offset = packet.timestamp.wrapping_sub(self.start).wrapping_sub(self.segment);
        let known = self.ticks.saturating_sub(self.segment);
        // What may have been lost: a few packets of a long key; fewer than the shortest pause between two.
        if (SEGMENT_MAX / 2..=SEGMENT_MAX + 1).contains(&offset) {
            return offset <= known.saturating_add(self.clock / 5);
        }
        // Some senders move the timestamp with each packet.
        offset < known.saturating_add(self.clock / 25) && u32::from(packet.payload.duration) >= offset
    }

    fn on_packet(&mut self, now: Instant, packet: &Packet) {
        let mut offset = packet.timestamp.wrapping_sub(self.start);
        if offset > self.segment {
            let moved = offset - self.segment;
            if moved >= SEGMENT_MAX / 2 {
                self.segment = offset;
            } else {
                offset = self.segment;
                self.moves = true;
            }
        }
        let ticks = offset.saturating_add(packet.payload.duration.into());
        // What comes after the end is of before it.
        if !self.ended && (ticks > self.ticks || packet.payload.end) {
            self.fresh = true;
            self.ticks = self.ticks.max(ticks);
        }
        self.ended |= packet.payload.end;
        self.sequence_last = self.sequence_last.max(packet.sequence);
        self.last = now;
    }

    fn event(&self, phase: Phase) -> Event {
        Event {
            code: self.code,
            phase,
            ticks: self.ticks,
            clock: self.clock,
            volume: self.volume,
            timestamp: self.start,
        }
    }
}

/// One block of a packet.
#[derive(Clone, Copy)]
struct Packet {
    sequence: u64,
    timestamp: u32,
    marker: bool,
    clock: u32,
    payload: Payload,
}

/// Keys that wait for each other.
const KEYS_MAX: usize = 8;
/// Keys that are remembered.
const DONE_MAX: usize = 8;
/// How long they are.
const DONE_FOR: Duration = Duration::from_secs(30);
/// After so long nothing of before comes any more.
const QUIET: Duration = Duration::from_secs(2);
/// Further back is a restart: far more than two seconds of late packets.
const BACK_MAX: i16 = 1_000;
/// Lies between what comes before a pause and after it.
const EPOCH: u64 = 0x2_0000;
