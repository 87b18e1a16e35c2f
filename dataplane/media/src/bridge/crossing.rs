//! Seats of ports on other media shards. A port cannot move: its shard decodes and encodes, and one tick of speech a
//! direction crosses between it and the room's shard. Both tick by the same clock, so a short queue is enough and
//! nothing drifts.

use super::Bridges;
use super::audio::{TICK_SAMPLES, tick_samples};
use super::domain::Room;
use crate::mixer::{Heard, SeatConfig, SeatKey};
use base::{Duration, Instant};
use codec::resample::Resampler;
use command::{BridgeId, PortIndex, Seat};
use std::collections::VecDeque;

/// Crossings that wait to be taken away; one more is lost and counted.
const CROSSINGS_MAX: usize = 512;
/// Ticks that wait on the other side: the phases of two shards differ, and either may be late.
const QUEUE: usize = 4;
/// A guest of whom nothing has been heard for so long has gone with its shard.
const GONE_AFTER: Duration = Duration::from_secs(1);

/// A tick of speech on its way from one media shard to another.
#[derive(Clone, Debug)]
pub struct Crossing {
    /// The shard that it goes to.
    pub to: u8,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    /// What a guest says, to its room, with the terms of its seat.
    Voice { room: BridgeId, who: Who, terms: Terms, level: u8, frame: Frame },
    /// What it hears.
    Mix { who: Who, frame: Frame },
    /// It has left.
    Leave { room: BridgeId, who: Who },
}

type Who = (BridgeId, PortIndex);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Terms {
    rate: u32,
    talks: bool,
    hears: bool,
    gain_centibel: i16,
    coaches: Option<Who>,
}

/// Samples of one tick; none where all is silent.
#[derive(Clone, Debug)]
struct Frame {
    rate: u32,
    len: u16,
    samples: [i16; TICK_SAMPLES],
}

impl Frame {
    fn of(rate: u32, pcm: &[i16]) -> Self {
        let mut samples = [0; TICK_SAMPLES];
        let len = pcm.len().min(TICK_SAMPLES);
        samples[..len].copy_from_slice(&pcm[..len]);
        Frame { rate, len: len as u16, samples }
    }

    fn pcm(&self) -> &[i16] {
        &self.samples[..usize::from(self.len).min(TICK_SAMPLES)]
    }
}

/// The mouth's side of a seat on another shard.
pub(super) struct Abroad {
    pub room: BridgeId,
    terms: Terms,
    heard: VecDeque<Frame>,
    resampler: Option<(u32, u32, Resampler)>,
}

impl Abroad {
    /// The seat as the spec has it, for a mouth of `rate`; what was there before goes on.
    pub fn renew(before: Option<Abroad>, seat: &Seat, rate: u32) -> Self {
        let terms = Terms {
            rate,
            talks: seat.talks,
            hears: seat.hears,
            gain_centibel: seat.gain_centibel,
            coaches: seat.coaches,
        };
        match before {
            Some(before) if before.room == seat.room => Abroad { terms, ..before },
            Some(_) | None => {
                Abroad { room: seat.room, terms, heard: VecDeque::with_capacity(QUEUE), resampler: None }
            }
        }
    }

    /// The next tick of what is heard.
    pub fn listen(&mut self, block: &mut [i16]) {
        let frame = self.heard.pop_front();
        let len = match &frame {
            Some(frame) if frame.rate == self.terms.rate => {
                let len = frame.pcm().len().min(block.len());
                block[..len].copy_from_slice(&frame.pcm()[..len]);
                len
            }
            Some(frame) => {
                let (from, to) = (frame.rate, self.terms.rate);
                if self.resampler.as_ref().is_none_or(|(f, t, _)| (*f, *t) != (from, to)) {
                    self.resampler = Some((from, to, Resampler::new(from, to)));
                }
                let mut room = [0; TICK_SAMPLES];
                let made = self.resampler.as_mut().map_or(0, |(.., r)| r.process(frame.pcm(), &mut room));
                let len = made.min(block.len());
                block[..len].copy_from_slice(&room[..len]);
                len
            }
            None => 0,
        };
        block[len..].fill(0);
    }

    fn take(&mut self, frame: Frame) {
        if self.heard.len() >= QUEUE {
            self.heard.pop_front();
        }
        self.heard.push_back(frame);
    }
}

/// The room's side.
pub(super) struct Guest {
    pub who: Who,
    pub seat: SeatKey,
    terms: Terms,
    said: VecDeque<(u8, Frame)>,
    last: Instant,
}

impl Bridges {
    /// The next crossing that is to be taken to its shard.
    pub fn poll_crossing(&mut self) -> Option<Crossing> {
        self.crossings.pop_front()
    }

    /// A crossing has come from another shard.
    pub fn handle_crossing(&mut self, now: Instant, crossing: Crossing) {
        match crossing.what {
            What::Voice { room, who, terms, level, frame } => {
                self.hear_guest(now, room, who, terms, level, frame);
            }
            What::Mix { who: (bridge, port), frame } => {
                let place = self.bridge(bridge).and_then(|b| b.ports.get(usize::from(port.0)).copied());
                let port = place.and_then(|place| self.ports.at_mut(place));
                let mouth = port.and_then(|(_, port)| port.audio.as_mut()?.mouth.as_mut());
                if let Some(abroad) = mouth.and_then(|mouth| mouth.abroad.as_mut()) {
                    abroad.take(frame);
                }
            }
            What::Leave { room, who } => {
                if let Some(room) = self.room_of(room) {
                    room.drop_guests(|guest| guest.who == who);
                }
            }
        }
    }

    fn room_of(&mut self, room: BridgeId) -> Option<&mut Room> {
        let key = *self.by_id.get(&room)?;
        self.bridges.get_mut(key)?.domain.as_mut()?.room.as_mut()
    }

    fn hear_guest(&mut self, now: Instant, id: BridgeId, who: Who, terms: Terms, level: u8, frame: Frame) {
        let Some(key) = self.by_id.get(&id).copied() else { return };
        let Some(room) = self.room_of(id) else { return };
        let known = room.guests.iter().position(|guest| guest.who == who);
        let place = match known {
            Some(place) => place,
            None => {
                let Ok(seat) = room.mixer.join(room.config_of(&terms)) else { return };
                let said = VecDeque::with_capacity(QUEUE);
                room.guests.push(Guest { who, seat, terms, said, last: now });
                room.settle_coaches();
                if room.spec.tones {
                    room.mixer.chime(crate::mixer::Chime::Joined);
                }
                room.guests.len() - 1
            }
        };
        if room.guests[place].terms != terms {
            let config = room.config_of(&terms);
            if room.mixer.configure(room.guests[place].seat, config).is_ok() {
                room.guests[place].terms = terms;
            }
        }
        let guest = &mut room.guests[place];
        guest.last = now;
        if guest.said.len() >= QUEUE {
            guest.said.pop_front();
        }
        guest.said.push_back((level, frame));
        self.start_ticking(now, key);
    }

    /// What a port here says in a room elsewhere.
    pub(super) fn speak_abroad(&mut self, place: u32) {
        let Bridges { ports, bridges, scratch, crossings, counters, .. } = self;
        let Some((_, port)) = ports.at_mut(place) else { return };
        let Some(id) = bridges.get(port.bridge).map(|bridge| bridge.id) else { return };
        let index = port.index;
        let Some(audio) = port.audio.as_deref_mut() else { return };
        let Some(mouth) = &mut audio.mouth else { return };
        let Some(terms) = mouth.abroad.as_ref().map(|abroad| (abroad.room, abroad.terms)) else { return };
        let (room, terms) = terms;
        let ear = audio.ear.as_ref().filter(|ear| ear.pulled != crate::playout::Pulled::Silence);
        let (level, frame) = match ear {
            Some(ear) => (ear.level, Frame::of(terms.rate, mouth.voice(ear.heard(), &mut scratch.first))),
            None => (codec::pcm::LEVEL_SILENT, Frame::of(terms.rate, &[])),
        };
        let what = What::Voice { room, who: (id, index), terms, level, frame };
        put(crossings, counters, Crossing { to: room.media_shard() as u8, what });
    }

    /// A port takes or keeps a seat in a room elsewhere.
    pub(super) fn go_abroad(&mut self, place: u32, seat: &Seat) {
        let other = |abroad: &Abroad| abroad.room != seat.room;
        let mouth_of = |port: &mut super::Port| port.audio.as_mut()?.mouth.as_mut()?.abroad.take();
        let Some((_, port)) = self.ports.at_mut(place) else { return };
        let before = mouth_of(port);
        if before.as_ref().is_some_and(other)
            && let Some(mouth) = port.audio.as_mut().and_then(|audio| audio.mouth.as_mut())
        {
            mouth.abroad = before;
            return self.move_abroad(place, seat);
        }
        self.crossings.reserve(CROSSINGS_MAX.saturating_sub(self.crossings.len()));
        let Some(audio) = self.ports.at_mut(place).and_then(|(_, port)| port.audio.as_deref_mut()) else {
            return;
        };
        let (Some(maker), Some(mouth)) = (&audio.maker, &mut audio.mouth) else { return };
        let rate = maker.rate();
        mouth.abroad = Some(Abroad::renew(before, seat, rate));
        let ear_rate = audio.ear.as_ref().map_or(rate, |ear| ear.rate);
        mouth.set_voice_in(ear_rate, rate);
    }

    /// From one room to another.
    fn move_abroad(&mut self, place: u32, seat: &Seat) {
        self.leave_abroad(place);
        self.go_abroad(place, seat);
    }

    /// A port has left a room elsewhere.
    pub(super) fn leave_abroad(&mut self, place: u32) {
        let Bridges { ports, bridges, crossings, counters, .. } = self;
        let Some((_, port)) = ports.at_mut(place) else { return };
        let Some(id) = bridges.get(port.bridge).map(|bridge| bridge.id) else { return };
        let who = (id, port.index);
        let mouth = port.audio.as_mut().and_then(|audio| audio.mouth.as_mut());
        let Some(abroad) = mouth.and_then(|mouth| mouth.abroad.take()) else { return };
        let what = What::Leave { room: abroad.room, who };
        put(crossings, counters, Crossing { to: abroad.room.media_shard() as u8, what });
    }

    /// What guests say in this tick.
    pub(super) fn hear_guests(&mut self, now: Instant, room: &mut Room) {
        room.drop_guests(|guest| now.since(guest.last) > GONE_AFTER);
        let Room { guests, mixer, .. } = room;
        for guest in guests {
            if let Some((level, frame)) = guest.said.pop_front()
                && frame.len > 0
            {
                mixer.put(guest.seat, frame.pcm(), Some(level));
            }
        }
    }

    /// What guests hear in this tick.
    pub(super) fn tell_guests(&mut self, tick: Duration, room: &Room) {
        let Bridges { crossings, counters, .. } = self;
        for guest in &room.guests {
            let mut block = [0; TICK_SAMPLES];
            let len = tick_samples(guest.terms.rate, tick);
            let block = &mut block[..len.min(TICK_SAMPLES)];
            if room.mixer.take(guest.seat, block) != Heard::Nothing {
                let what = What::Mix { who: guest.who, frame: Frame::of(guest.terms.rate, block) };
                put(crossings, counters, Crossing { to: guest.who.0.media_shard() as u8, what });
            }
        }
    }
}

impl Room {
    fn config_of(&self, terms: &Terms) -> SeatConfig {
        let config = SeatConfig {
            rate: terms.rate,
            talks: terms.talks,
            hears: terms.hears,
            gain_centibel: terms.gain_centibel,
            coaches: None,
            announces: false,
        };
        self.coaching(config, terms.coaches)
    }

    /// As [`Room::settle_coaches`], for those from elsewhere.
    pub fn settle_guests(&mut self) {
        for n in 0..self.guests.len() {
            let Guest { seat, terms, .. } = self.guests[n];
            if terms.coaches.is_some() {
                let config = self.config_of(&terms);
                let configured = self.mixer.configure(seat, config);
                debug_assert!(configured.is_ok(), "its rate was good when it sat down");
            }
        }
    }

    /// The seat of somebody, here or from elsewhere.
    pub fn seat_of(&self, who: Who) -> Option<SeatKey> {
        let here = self.seats.iter().find(|seated| seated.who == who).map(|seated| seated.seat);
        here.or_else(|| self.guests.iter().find(|guest| guest.who == who).map(|guest| guest.seat))
    }

    /// Whose seat it is.
    pub fn who_of(&self, seat: SeatKey) -> Option<Who> {
        let here = self.seats.iter().find(|seated| seated.seat == seat).map(|seated| seated.who);
        let here = here.or_else(|| self.left.iter().find(|(of, _)| *of == seat).map(|(_, who)| *who));
        here.or_else(|| self.guests.iter().find(|guest| guest.seat == seat).map(|guest| guest.who))
    }

    fn drop_guests(&mut self, goes: impl Fn(&Guest) -> bool) {
        let Room { guests, mixer, spec, left, .. } = self;
        let before = guests.len();
        guests.retain(|guest| {
            let stays = !goes(guest);
            if !stays {
                mixer.leave(guest.seat);
                left.push((guest.seat, guest.who));
                if spec.tones {
                    mixer.chime(crate::mixer::Chime::Left);
                }
            }
            stays
        });
        if self.guests.len() < before {
            self.settle_coaches();
        }
    }
}

fn put(crossings: &mut VecDeque<Crossing>, counters: &mut super::Counters, crossing: Crossing) {
    if crossings.len() < CROSSINGS_MAX {
        crossings.push_back(crossing);
    } else {
        counters.crossings_lost += 1;
    }
}
