//! The arithmetic of one room: who is heard, and what each hears: everybody but itself. No packets, no codecs, no time
//! but the tick. Sums have 32 bits and are clipped only when somebody takes them.

mod chime; // tones when somebody joins or leaves
mod slot; // one who is heard: its fades, and its speech at each rate
#[cfg(test)]
mod tests;

pub use chime::Chime;

use base::slab::{Key, Slab};
use chime::Chimes;
use codec::pcm::{self, Gain};
use codec::resample::{RATES, Resampler};
use slot::{Fade, Slot};

/// Names a seat; a key of a seat that was left finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeatKey(pub Key);

/// What holds for a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MixerConfig {
    /// Length of a tick: 10 or 20 ms; others are taken as 20.
    pub frame_ms: u8,
    /// So many of the loudest are heard, 1 to 8.
    pub talkers: u8,
    /// No more seats than these.
    pub seats_max: u32,
}

/// What holds for a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatConfig {
    /// Samples a second, of what it says and of what it hears: one of [`RATES`].
    pub rate: u32,
    /// Others hear it.
    pub talks: bool,
    /// It hears others.
    pub hears: bool,
    /// On what it says, hundredths of a decibel; at most 30 dB.
    pub gain_centibel: i16,
    /// Only this one hears it; it takes no place among the loudest.
    pub coaches: Option<SeatKey>,
    /// It is heard before all others however loud they are: announcements.
    pub announces: bool,
}

impl SeatConfig {
    /// Talks and hears at that rate.
    pub fn at(rate: u32) -> Self {
        SeatConfig { rate, talks: true, hears: true, gain_centibel: 0, coaches: None, announces: false }
    }
}

/// What a seat hears in this tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Exactly the samples of all others of this group who are not heard themselves: worth encoding once.
    Common(Group),
    /// What nobody else hears.
    Own,
    /// It does not hear.
    Nothing,
}

/// Those who hear the same: all silent listeners of one rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(u8);

impl Group {
    /// Samples a second.
    pub fn rate(self) -> u32 {
        RATES[usize::from(self.0)]
    }

    /// A small number for tables: below the number of [`RATES`].
    pub fn index(self) -> usize {
        self.0.into()
    }
}

/// Why a seat was not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The room is full.
    Full,
    /// Not one of [`RATES`].
    Rate,
}

/// One room. A tick is [`Mixer::begin`], [`Mixer::put`] for each who may speak, [`Mixer::mix`], then [`Mixer::take`] for
/// each who hears. What changes seats may allocate, a tick never does.
#[derive(Debug)]
pub struct Mixer {
    frame_ms: usize,
    talkers: usize,
    tick: u64,
    seats: Slab<Seat>,
    /// Those who are heard, and those who fade out: twice as many as may be heard.
    slots: Vec<Slot>,
    /// By rate; `None` until a seat has it.
    buses: [Option<Bus>; RATES.len()],
    /// Seats that coach.
    coaches: Vec<SeatKey>,
    /// Those of whom it was told that they talk.
    told: Vec<SeatKey>,
    chimes: Chimes,
}

#[derive(Debug)]
struct Seat {
    config: SeatConfig,
    rate: usize,
    gain: Gain,
    /// What it says in this tick, if `put` is the tick.
    pcm: Box<[i16]>,
    put: u64,
    /// How loud that is in dB, 0 is silence.
    level: u8,
    /// How loud it was lately: falls slowly.
    lately: u8,
    /// Since it was as loud as `lately`.
    lately_ms: u16,
    /// Since it last spoke aloud.
    quiet_ms: u16,
    slot: Option<u8>,
    coach: Option<Coach>,
}

/// How one speaks to one other.
#[derive(Debug)]
struct Coach {
    to: SeatKey,
    resampler: Resampler,
    fade: Fade,
    /// At the rate of the other; of this tick if `sounds`.
    part: Box<[i16]>,
    sounds: bool,
}

/// What is heard at one rate.
#[derive(Debug)]
struct Bus {
    listeners: u32,
    sum: Box<[i32]>,
    common: Box<[i16]>,
}

/// The longest frame, in samples: 20 ms of 48 kHz.
const FRAME_MAX: usize = 960;
/// The most talkers of a room.
const TALKERS_MAX: usize = 8;
/// Who is heard stays so until somebody is louder by this many dB.
const LEAD: u8 = 6;
/// So long a talker's loudness outlasts a pause.
const HOLD_MS: u16 = 300;
/// From here on it is talking rather than noise: -45 dBov, in dB above silence.
const ALOUD: u8 = pcm::LEVEL_SILENT - 45;

impl Mixer {
    /// An empty room.
    pub fn new(config: MixerConfig) -> Self {
        let mut mixer = Mixer {
            frame_ms: if config.frame_ms == 10 { 10 } else { 20 },
            talkers: 0,
            tick: 1,
            seats: Slab::with_max(config.seats_max),
            slots: Vec::new(),
            buses: [const { None }; RATES.len()],
            coaches: Vec::new(),
            told: Vec::with_capacity(2 * TALKERS_MAX),
            chimes: Chimes::default(),
        };
        mixer.set_talkers(config.talkers);
        mixer
    }

    /// How many of the loudest are heard from now on, 1 to 8.
    pub fn set_talkers(&mut self, talkers: u8) {
        self.talkers = usize::from(talkers).clamp(1, TALKERS_MAX);
        while self.slots.len() < 2 * self.talkers {
            self.slots.push(Slot::default());
        }
        self.grow();
    }

    /// Takes a seat.
    ///
    /// # Errors
    /// The room is full, or the rate is not one of [`RATES`].
    pub fn join(&mut self, config: SeatConfig) -> Result<SeatKey, Refused> {
        let rate = place_of(config.rate).ok_or(Refused::Rate)?;
        let seat = Seat {
            config: SeatConfig { hears: false, coaches: None, ..config },
            rate,
            gain: Gain::from_centibel(config.gain_centibel),
            pcm: vec![0; self.frame(rate)].into(),
            put: 0,
            level: 0,
            lately: 0,
            lately_ms: 0,
            quiet_ms: HOLD_MS,
            slot: None,
            coach: None,
        };
        let key = SeatKey(self.seats.insert(seat).map_err(|_| Refused::Full)?);
        let configured = self.configure(key, config);
        debug_assert!(configured.is_ok(), "the seat is there and the rate is known");
        Ok(key)
    }

    /// Leaves. What it last said fades out.
    pub fn leave(&mut self, key: SeatKey) {
        let Some(seat) = self.seats.remove(key.0) else { return };
        if seat.config.hears
            && let Some(bus) = &mut self.buses[seat.rate]
        {
            bus.listeners -= 1;
        }
        self.coaches.retain(|coach| *coach != key);
        if let Some(slot) = seat.slot {
            self.slots[usize::from(slot)].cut();
        }
    }

    /// Changes what holds for a seat; nothing if it has been left.
    ///
    /// # Errors
    /// The rate is not one of [`RATES`]; nothing is changed then.
    pub fn configure(&mut self, key: SeatKey, config: SeatConfig) -> Result<(), Refused> {
        let rate = place_of(config.rate).ok_or(Refused::Rate)?;
        let frame = self.frame(rate);
        let Some(seat) = self.seats.get_mut(key.0) else { return Ok(()) };
        let before = core::mem::replace(&mut seat.config, config);
        let rate_before = core::mem::replace(&mut seat.rate, rate);
        seat.gain = Gain::from_centibel(config.gain_centibel);
        if rate != rate_before {
            seat.pcm = vec![0; frame].into();
            seat.put = 0;
        }
        // From now on nothing of it may reach the room, not even a fade.
        let silenced = !config.talks || config.coaches.is_some() || rate != rate_before;
        if silenced && let Some(slot) = seat.slot {
            self.slots[usize::from(slot)].cut();
        }
        let bus = self.buses[rate].get_or_insert_with(|| Bus::new(frame));
        let was_empty = bus.listeners == 0;
        bus.listeners += u32::from(config.hears);
        if was_empty && config.hears {
            // Nothing has been resampled for it lately.
            self.slots.iter_mut().for_each(|slot| slot.forget(rate));
        }
        if before.hears
            && let Some(bus) = &mut self.buses[rate_before]
        {
            bus.listeners -= 1;
        }
        self.grow();
        if before.coaches != config.coaches || rate != rate_before {
            self.seat_coach(key);
        }
        for n in 0..if rate == rate_before { 0 } else { self.coaches.len() } {
            let coach = self.coaches[n];
            let coached = self.seats.get(coach.0).and_then(|seat| seat.config.coaches);
            if coached == Some(key) {
                self.seat_coach(coach);
            }
        }
        Ok(())
    }

    /// A tick begins: nobody has said anything yet.
    pub fn begin(&mut self) {
        self.tick += 1;
        for slot in &mut self.slots {
            if let Some(key) = slot.free_if_done()
                && let Some(seat) = self.seats.get_mut(key.0)
            {
                seat.slot = None;
            }
        }
    }

    /// What a seat says in this tick; silence is not worth it. `level` is its level in dB below overload (RFC 6464),
    /// measured here if it is not known. Too short a block is filled up with silence, too long a one is cut.
    pub fn put(&mut self, key: SeatKey, pcm: &[i16], level: Option<u8>) {
        let Some(seat) = self.seats.get_mut(key.0) else { return };
        if !seat.config.talks {
            return;
        }
        let len = pcm.len().min(seat.pcm.len());
        seat.pcm[..len].copy_from_slice(&pcm[..len]);
        seat.pcm[len..].fill(0);
        seat.put = self.tick;
        let below = level.map_or_else(|| pcm::level(&seat.pcm), |level| level & 0x7f);
        seat.level = match pcm::LEVEL_SILENT.saturating_sub(below) {
            0 => 0,
            above => (i16::from(above) + seat.config.gain_centibel / 100).clamp(1, 200) as u8,
        };
    }

    /// All has been said: chooses who is heard, and sums it up.
    pub fn mix(&mut self) {
        self.choose();
        for bus in self.buses.iter_mut().flatten() {
            bus.sum.fill(0);
        }
        let mut work = [0; FRAME_MAX];
        for slot in &mut self.slots {
            let Some(key) = slot.seat() else { continue };
            let work = &mut work[..self.frame_ms * RATES[slot.rate()] as usize / 1_000];
            let speaks = self.seats.get(key.0).filter(|seat| seat.put == self.tick);
            if !slot.speak(speaks.map(|seat| (&*seat.pcm, seat.gain)), RATES[slot.rate()], work) {
                continue;
            }
            for (rate, bus) in self.buses.iter_mut().enumerate() {
                if let Some(bus) = bus.as_mut().filter(|bus| bus.listeners > 0) {
                    pcm::mix_in(&mut bus.sum, slot.render(rate, work));
                }
            }
        }
        for n in 0..self.coaches.len() {
            self.mix_coach(self.coaches[n]);
        }
        for (rate, bus) in self.buses.iter_mut().enumerate() {
            if let Some(bus) = bus.as_mut().filter(|bus| bus.listeners > 0) {
                self.chimes.add(RATES[rate], &mut bus.sum);
                pcm::saturate(&bus.sum, &mut bus.common);
            }
        }
        self.chimes.advance(self.frame_ms);
    }

    /// What a seat hears, without the samples.
    pub fn hears(&self, key: SeatKey) -> Heard {
        let Some(seat) = self.seats.get(key.0).filter(|seat| seat.config.hears) else {
            return Heard::Nothing;
        };
        let speaks = seat.slot.is_some_and(|slot| self.slots[usize::from(slot)].sounds());
        if speaks || self.whispers(key).next().is_some() {
            Heard::Own
        } else {
            Heard::Common(Group(seat.rate as u8))
        }
    }

    /// Fills `out` with what a seat hears: a frame at its rate; with silence if it hears nothing.
    pub fn take(&self, key: SeatKey, out: &mut [i16]) -> Heard {
        let heard = self.hears(key);
        let filled = match heard {
            Heard::Nothing => 0,
            Heard::Common(group) => {
                let common = self.common(group);
                let len = common.len().min(out.len());
                out[..len].copy_from_slice(&common[..len]);
                len
            }
            Heard::Own => self.take_own(key, out),
        };
        out[filled..].fill(0);
        heard
    }

    /// What all silent listeners of a group hear.
    pub fn common(&self, group: Group) -> &[i16] {
        self.buses[group.index()].as_ref().map_or(&[], |bus| &bus.common)
    }

    /// The next change of who talks: a seat, and whether it does. A seat that was left while it talked is told too.
    pub fn poll_talking(&mut self) -> Option<(SeatKey, bool)> {
        if let Some(place) = self.told.iter().position(|key| !self.is_talking(*key)) {
            return Some((self.told.swap_remove(place), false));
        }
        let heard = self.slots.iter().filter_map(Slot::seat);
        let begun = heard.filter(|key| self.is_talking(*key)).find(|key| !self.told.contains(key))?;
        self.told.push(begun);
        Some((begun, true))
    }

    /// Sounds for everybody from the next tick on, after those that still sound; more than a few are not kept.
    pub fn chime(&mut self, chime: Chime) {
        self.chimes.push(chime);
    }

    /// How many seats are taken.
    pub fn seats(&self) -> usize {
        self.seats.len()
    }

    /// Chooses the loudest; who is heard already has a lead.
    fn choose(&mut self) {
        let frame_ms = self.frame_ms as u16;
        let mut best = [(0u8, SeatKey(Key::default())); TALKERS_MAX];
        let best = &mut best[..self.talkers];
        let mut count = 0;
        for (key, seat) in self.seats.iter_mut() {
            let rank = seat.rank(self.tick, frame_ms);
            let leaving = seat.slot.is_some_and(|slot| self.slots[usize::from(slot)].is_leaving());
            if rank == 0 || leaving || (count == best.len() && rank <= best[count - 1].0) {
                continue;
            }
            // Kept in order; among equals the one who sat there before.
            count = (count + 1).min(best.len());
            let place = best[..count - 1].iter().position(|(other, _)| *other < rank).unwrap_or(count - 1);
            best[place..count].rotate_right(1);
            best[place] = (rank, SeatKey(key));
        }
        let best = &best[..count];
        for slot in &mut self.slots {
            if slot.seat().is_some_and(|key| best.iter().all(|(_, other)| *other != key)) {
                slot.leave();
            }
        }
        for (_, key) in best {
            let Some(seat) = self.seats.get_mut(key.0).filter(|seat| seat.slot.is_none()) else { continue };
            // Those who leave are gone after one tick, so that there is room; else it waits for the next.
            let Some(place) = self.slots.iter().position(|slot| slot.seat().is_none()) else { continue };
            self.slots[place].enter(*key, seat.rate);
            seat.slot = Some(place as u8);
        }
    }

    fn is_talking(&self, key: SeatKey) -> bool {
        let Some(seat) = self.seats.get(key.0) else { return false };
        let heard = seat.slot.is_some_and(|slot| !self.slots[usize::from(slot)].is_leaving());
        heard && seat.quiet_ms < HOLD_MS
    }

    fn take_own(&self, key: SeatKey, out: &mut [i16]) -> usize {
        let Some(seat) = self.seats.get(key.0) else { return 0 };
        let Some(bus) = &self.buses[seat.rate] else { return 0 };
        let len = bus.sum.len().min(out.len());
        let own = seat.slot.map(|slot| &self.slots[usize::from(slot)]).filter(|slot| slot.sounds());
        let own = own.map(|slot| slot.part(seat.rate));
        let mut whispers = self.whispers(key).peekable();
        if let Some(own) = own
            && whispers.peek().is_none()
        {
            pcm::saturate_without(&bus.sum[..len], own, &mut out[..len]);
            return len;
        }
        let mut sum = [0; FRAME_MAX];
        let sum = &mut sum[..len];
        sum.copy_from_slice(&bus.sum[..len]);
        for (sum, own) in sum.iter_mut().zip(own.unwrap_or_default()) {
            *sum -= i32::from(*own);
        }
        whispers.for_each(|coach| pcm::mix_in(sum, &coach.part));
        pcm::saturate(sum, &mut out[..len]);
        len
    }

    /// Those who speak to this one alone in this tick.
    fn whispers(&self, key: SeatKey) -> impl Iterator<Item = &Coach> {
        let coaches = self.coaches.iter().filter_map(|coach| self.seats.get(coach.0)?.coach.as_ref());
        coaches.filter(move |coach| coach.to == key && coach.sounds)
    }

    fn mix_coach(&mut self, key: SeatKey) {
        let tick = self.tick;
        let Some(seat) = self.seats.get_mut(key.0) else { return };
        let Some(coach) = &mut seat.coach else { return };
        let mut work = [0; FRAME_MAX];
        let work = &mut work[..seat.pcm.len()];
        let speaks = (seat.put == tick).then_some((&*seat.pcm, seat.gain));
        coach.sounds = coach.fade.speak(speaks, seat.config.rate, work);
        if coach.sounds {
            coach.resampler.process(work, &mut coach.part);
        }
    }

    /// Makes what a seat needs to coach, or takes it away.
    fn seat_coach(&mut self, key: SeatKey) {
        let to = self.seats.get(key.0).and_then(|seat| seat.config.coaches);
        let rate = to.and_then(|to| self.seats.get(to.0)).map(|seat| seat.rate);
        let frame = rate.map_or(0, |rate| self.frame(rate));
        let Some(seat) = self.seats.get_mut(key.0) else { return };
        // Who would coach itself, or somebody who is gone, is heard by nobody.
        let (Some(to), Some(rate)) = (to.filter(|to| *to != key), rate) else {
            seat.coach = None;
            self.coaches.retain(|coach| *coach != key);
            return;
        };
        let resampler = Resampler::new(seat.config.rate, RATES[rate]);
        let part = vec![0; frame].into();
        seat.coach = Some(Coach { to, resampler, fade: Fade::default(), part, sounds: false });
        // In its place, if it has one: the list may be walked through just now.
        if !self.coaches.contains(&key) {
            self.coaches.push(key);
        }
    }

    /// Makes what the slots need for the rates in use.
    fn grow(&mut self) {
        let frames: [usize; RATES.len()] = core::array::from_fn(|rate| self.frame(rate));
        let used = |rate: usize| self.buses[rate].is_some();
        for slot in &mut self.slots {
            slot.grow(&used, &frames);
        }
    }

    fn frame(&self, rate: usize) -> usize {
        RATES[rate] as usize * self.frame_ms / 1_000
    }
}

impl Seat {
    /// How much it deserves to be heard in this tick; 0 is not at all.
    fn rank(&mut self, tick: u64, frame_ms: u16) -> u8 {
        let level = if self.put == tick && self.config.talks { self.level } else { 0 };
        self.quiet_ms = if level >= ALOUD { 0 } else { self.quiet_ms.saturating_add(frame_ms) };
        if level >= self.lately {
            (self.lately, self.lately_ms) = (level, 0);
        } else {
            self.lately_ms = self.lately_ms.saturating_add(frame_ms);
            if self.lately_ms > HOLD_MS {
                self.lately = level.max(self.lately.saturating_sub((frame_ms / 10) as u8));
            }
        }
        match self.lately {
            _ if self.config.coaches.is_some() || !self.config.talks => 0,
            0 => 0,
            // Before all others while it speaks, and in nobody's way after that.
            _ if self.config.announces => {
                if self.put == tick {
                    u8::MAX
                } else {
                    0
                }
            }
            lately => lately + if self.slot.is_some() { LEAD } else { 0 },
        }
    }
}

impl Bus {
    fn new(frame: usize) -> Self {
        Bus { listeners: 0, sum: vec![0; frame].into(), common: vec![0; frame].into() }
    }
}

fn place_of(rate: u32) -> Option<usize> {
    RATES.iter().position(|known| *known == rate)
}
