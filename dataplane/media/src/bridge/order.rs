//! Orders to a bridge or room: play, digits, recordings, forks, and what ends them. Each that is taken ends once; what a file
//! needs is the shard's.

use super::audio::{TICK_SAMPLES, tick_samples, widest};
use super::domain::Room;
use super::fit::is_makeable;
use super::sounds::Play;
use super::{Bridges, Pulse, Scratch, Unsupported};
use crate::dtmf::plan::Plan;
use crate::playout::Pulled;
use base::{Duration, Instant, Key, Now};
use codec::pcm;
use codec::resample::Resampler;
use command::{BridgeId, Event, Layout, Order, Outcome, Party, PortIndex, Recording, Ticket};
use std::collections::VecDeque;

/// Recordings of one bridge or room at once.
const RECORDINGS_MAX: usize = 8;
/// Announcements in rooms are mixed at this rate.
const ROOM_RATE: u32 = 16_000;

/// What takes a recording's samples. The shard makes one for each; pushing neither allocates nor waits.
pub trait Tape: Send {
    /// Samples at the recording's rate, as many of each channel; a mono tape looks at the first only.
    fn push(&mut self, left: &[i16], right: &[i16]);
    /// What follows is a marked pause, or no longer.
    fn mark_pause(&mut self, on: bool);
    /// The end; what was pushed is still written, and the shard tells when it is.
    fn finish(self: Box<Self>, outcome: Outcome);
}

/// What a recording needs before it can begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TapeWant {
    /// Samples a second that hold all that is said; the recording may ask for another rate.
    pub widest: u32,
}

/// One recording.
pub(super) struct Recorder {
    ticket: Ticket,
    tape: Box<dyn Tape>,
    /// Samples a second.
    pub rate: u32,
    sources: Vec<Source>,
    /// Listens to the room instead of ports.
    of_room: bool,
    to_room: Option<Resampler>,
    stereo: bool,
    pub masks: bool,
    /// Pauses that are still to be marked, or ends of them: in so many ticks.
    marks: VecDeque<(u32, bool)>,
    /// Ports may be heard late, if that makes them heard better: what becomes a file need not be there at once.
    pub patient: bool,
    waits: bool,
    /// So long nothing is put on the tape: what is heard was said before the order.
    skips: Duration,
    /// It has been stopped: what was said until then is still to be heard for so long.
    ends_in: Option<Duration>,
}

/// How a tape listens.
struct Listening {
    rate: u32,
    stereo: bool,
    masks: bool,
    patient: bool,
    waits: bool,
}

/// A port that is recorded.
struct Source {
    place: u32,
    left: bool,
    resampler: Option<(u32, Resampler)>,
    /// In which of the last ticks a key was down, by its events; the last one lowest.
    pressed: u128,
}

impl Bridges {
    /// Takes an order, but for those that need a tape: [`Bridges::record`], [`Bridges::fork`].
    ///
    /// # Errors
    /// What cannot be done, in words; nothing has changed then.
    pub fn order(
        &mut self,
        now: Now,
        bridge: BridgeId,
        ticket: Ticket,
        order: &Order,
    ) -> Result<(), Unsupported> {
        let key = *self.by_id.get(&bridge).ok_or(Unsupported("a bridge that was never opened"))?;
        let now = now.mono;
        match order {
            Order::Play { port: Some(port), sound, mode, times, start, gain_centibel } => {
                let place = self.place_of(key, *port)?;
                let rate = self.hold_mouth(now, key, place, Play::rate_of(sound))?;
                let play = Play::new(ticket, sound, *mode, *times, *start, *gain_centibel, rate);
                self.with_mouth(now, key, place, "too many sounds wait already", |mouth| {
                    mouth.sounds.add(play)
                })
            }
            Order::Play { port: None, sound, mode, times, start, gain_centibel } => {
                let Some(room) = self.room(key) else {
                    return Err(Unsupported("a sound for everybody where there is no room"));
                };
                let play = Play::new(ticket, sound, *mode, *times, *start, *gain_centibel, ROOM_RATE);
                if !room.sounds.add(play) {
                    return Err(Unsupported("too many sounds wait already"));
                }
                self.start_ticking(now, key);
                Ok(())
            }
            Order::Dtmf { port, digits, duration_ms, gap_ms } => {
                let place = self.place_of(key, *port)?;
                let plan = Plan::new(digits, *duration_ms, *gap_ms).map_err(|bad| Unsupported(bad.text()))?;
                self.hold_mouth(now, key, place, 0)?;
                let what = "digits towards a peer that takes neither events nor tones";
                self.with_mouth(now, key, place, what, |mouth| {
                    mouth.keys.can_send() && mouth.keys.queue(now, ticket, plan)
                })
            }
            Order::Record(_) | Order::Fork(_) => Err(Unsupported("a recording without a tape")),
            Order::Pause { started } => self.pause(key, *started, true),
            Order::Resume { started } => self.pause(key, *started, false),
            Order::Stop { started } => {
                self.stop(now, key, *started);
                Ok(())
            }
        }
    }

    /// What a recording of this bridge needs.
    ///
    /// # Errors
    /// It cannot be recorded, in words.
    pub fn tape_want(&self, bridge: BridgeId) -> Result<TapeWant, Unsupported> {
        let key = *self.by_id.get(&bridge).ok_or(Unsupported("a bridge that was never opened"))?;
        let bridge = self.bridges.get(key).ok_or(Unsupported("a bridge that was never opened"))?;
        let domain = bridge.domain.as_ref();
        if domain.is_some_and(|domain| domain.recordings.len() >= RECORDINGS_MAX) {
            return Err(Unsupported("too many recordings of one bridge"));
        }
        if domain.is_some_and(|domain| domain.room.is_some()) {
            return Ok(TapeWant { widest: ROOM_RATE });
        }
        let ports = bridge.ports.iter().filter_map(|place| self.ports.at(*place)).map(|(_, port)| port);
        if ports.clone().any(|port| port.sealed && port.named) {
            return Err(Unsupported("recording of media whose keys pass through"));
        }
        let widest = ports.filter_map(|port| widest(&port.payloads)).map(|(_, rate)| rate).max();
        widest
            .map(|widest| TapeWant { widest })
            .ok_or(Unsupported("recording of a format that cannot be decoded"))
    }

    /// Begins a recording on a tape of `rate`.
    ///
    /// # Errors
    /// As [`Bridges::tape_want`]; the tape is dropped.
    pub fn record(
        &mut self,
        now: Now,
        bridge: BridgeId,
        ticket: Ticket,
        recording: &Recording,
        rate: u32,
        tape: Box<dyn Tape>,
    ) -> Result<(), Unsupported> {
        let listening = Listening {
            rate,
            stereo: recording.layout == Layout::Stereo,
            masks: recording.mask_digits,
            patient: true,
            waits: recording.from_first_packet,
        };
        self.put_on(now, bridge, ticket, &listening, tape)
    }

    /// Begins a fork on a tape of `rate`: what is said is on it as soon as it can be heard.
    ///
    /// # Errors
    /// As [`Bridges::tape_want`]; the tape is dropped.
    pub fn fork(
        &mut self,
        now: Now,
        bridge: BridgeId,
        ticket: Ticket,
        layout: Layout,
        rate: u32,
        tape: Box<dyn Tape>,
    ) -> Result<(), Unsupported> {
        let stereo = layout == Layout::Stereo;
        let listening = Listening { rate, stereo, masks: false, patient: false, waits: false };
        self.put_on(now, bridge, ticket, &listening, tape)
    }

    fn put_on(
        &mut self,
        now: Now,
        bridge: BridgeId,
        ticket: Ticket,
        listening: &Listening,
        tape: Box<dyn Tape>,
    ) -> Result<(), Unsupported> {
        let Listening { rate, stereo, masks, patient, waits } = *listening;
        self.tape_want(bridge)?;
        let key = *self.by_id.get(&bridge).ok_or(Unsupported("a bridge that was never opened"))?;
        let places = self.bridges.get(key).map(|bridge| bridge.ports.clone()).unwrap_or_default();
        let sources = places.into_iter().filter_map(|place| {
            let (_, port) = self.ports.at(place)?;
            widest(&port.payloads)?;
            Some(Source { place, left: port.party == Party(0), resampler: None, pressed: 0 })
        });
        let sources: Vec<Source> = sources.collect();
        let domain = self.domain(now.mono, key, Duration::from_millis(20));
        let of_room = domain.room.is_some();
        let listens_at = domain.room.as_mut().and_then(|room| room.recorder(ROOM_RATE)).map(|(_, rate)| rate);
        domain.recordings.push(Recorder {
            ticket,
            tape,
            rate,
            sources,
            of_room,
            to_room: listens_at.map(|from| Resampler::new(from, rate)),
            marks: VecDeque::new(),
            stereo,
            masks,
            patient,
            waits,
            skips: Duration::ZERO,
            ends_in: None,
        });
        self.fit(now.mono, key);
        let lag = self.lag_of(key, ticket);
        let domain = self.bridges.get_mut(key).and_then(|bridge| bridge.domain.as_mut());
        if let Some(recorder) =
            domain.and_then(|domain| domain.recordings.iter_mut().find(|r| r.ticket == ticket))
        {
            recorder.skips = if waits { Duration::ZERO } else { lag };
        }
        Ok(())
    }

    /// How late a recording hears its ports.
    fn lag_of(&self, key: Key, ticket: Ticket) -> Duration {
        let domain = self.bridges.get(key).and_then(|bridge| bridge.domain.as_ref());
        let recorder = domain.and_then(|domain| domain.recordings.iter().find(|r| r.ticket == ticket));
        let ears = recorder.iter().flat_map(|recorder| &recorder.sources).filter_map(|source| {
            let (_, port) = self.ports.at(source.place)?;
            port.audio.as_ref()?.ear.as_ref()
        });
        ears.map(|ear| ear.lag()).max().unwrap_or_default()
    }

    /// A recording has ended by itself: its disk is full, or gone.
    pub fn forget_recording(&mut self, bridge: BridgeId, ticket: Ticket) {
        let Some(key) = self.by_id.get(&bridge) else { return };
        if let Some(domain) = self.bridges.get_mut(*key).and_then(|bridge| bridge.domain.as_mut()) {
            let before = domain.recordings.len();
            domain.recordings.retain(|recorder| recorder.ticket != ticket);
            if domain.recordings.len() < before {
                // Nobody needs its ears any more.
                self.pulses.insert(self.timed, Pulse::Fit(*key));
            }
        }
    }

    /// A bridge closes: whatever it was ordered ends.
    pub(super) fn end_orders(&mut self, now: Instant, key: Key) {
        self.hear_out(now, key);
        let Some(bridge) = self.bridges.get_mut(key) else { return };
        let (id, places, domain) = (bridge.id, bridge.ports.clone(), bridge.domain.take());
        for place in places {
            self.leave_seat(place);
            self.leave_abroad(place);
            let Some((_, port)) = self.ports.at_mut(place) else { continue };
            let Some(mut mouth) = port.audio.as_mut().and_then(|audio| audio.mouth.take()) else { continue };
            let mut told = Vec::new();
            mouth.sounds.close(|ticket, how| told.push((ticket, how)));
            mouth.keys.close(now, |ticket, how| told.push((ticket, how)));
            told.into_iter()
                .for_each(|(ticket, ended)| self.tell(Event::Ended { bridge: id, ticket, ended }));
        }
        let Some(mut domain) = domain else { return };
        for recorder in domain.recordings.drain(..) {
            recorder.tape.finish(Outcome::Closed);
        }
        let Some(mut room) = domain.room.take() else { return };
        let mut told = Vec::new();
        room.sounds.close(|ticket, how| told.push((ticket, how)));
        told.into_iter().for_each(|(ticket, ended)| self.tell(Event::Ended { bridge: id, ticket, ended }));
        for seated in room.seats {
            // Whoever sat there hears nothing until its own bridge is set anew.
            let mouth =
                self.ports.at_mut(seated.place).and_then(|(_, port)| port.audio.as_mut()?.mouth.as_mut());
            if let Some(mouth) = mouth {
                mouth.seat = None;
            }
        }
    }

    /// Ends an order. Nothing happens if it has ended.
    fn stop(&mut self, now: Instant, key: Key, ticket: Ticket) {
        let Some(bridge) = self.bridges.get_mut(key) else { return };
        let id = bridge.id;
        let mut found = None;
        if let Some(domain) = &mut bridge.domain {
            if let Some(place) = domain.recordings.iter().position(|recorder| recorder.ticket == ticket) {
                let lag = self.lag_of(key, ticket);
                let domain = self.bridges.get_mut(key).and_then(|bridge| bridge.domain.as_mut());
                let Some(domain) = domain else { return };
                if !lag.is_zero() {
                    domain.recordings[place].ends_in.get_or_insert(lag);
                    return;
                }
                domain.recordings.swap_remove(place).tape.finish(Outcome::Done);
                return self.fit(now, key);
            }
            found = domain.room.as_mut().and_then(|room| room.sounds.stop(ticket));
        }
        for place in bridge.ports.clone() {
            let mouth = self.ports.at_mut(place).and_then(|(_, port)| port.audio.as_mut()?.mouth.as_mut());
            let Some(mouth) = mouth else { continue };
            found = found.or_else(|| mouth.sounds.stop(ticket)).or_else(|| mouth.keys.stop(now, ticket));
        }
        if let Some(how) = found {
            self.tell(Event::Ended { bridge: id, ticket, ended: how });
            self.fit(now, key);
        }
    }

    fn place_of(&self, key: Key, port: PortIndex) -> Result<u32, Unsupported> {
        let place = self.bridges.get(key).and_then(|bridge| bridge.ports.get(usize::from(port.0)).copied());
        let named = place.filter(|place| self.ports.at(*place).is_some_and(|(_, port)| port.named));
        named.ok_or(Unsupported("a port that is not in use"))
    }

    /// Makes sure that a port has a mouth, for an order that is about to use it; the rate that it speaks at.
    fn hold_mouth(
        &mut self,
        now: Instant,
        key: Key,
        place: u32,
        sound_rate: u32,
    ) -> Result<u32, Unsupported> {
        let sealed = |place: u32| self.ports.at(place).is_some_and(|(_, port)| port.sealed);
        let Some((_, port)) = self.ports.at(place) else {
            return Err(Unsupported("a port that is not in use"));
        };
        if sealed(place) || port.feeders.iter().any(|feeder| sealed(*feeder)) {
            return Err(Unsupported("media whose keys pass through"));
        }
        if !port.payloads.iter().any(is_makeable) {
            return Err(Unsupported("a format that cannot be made here"));
        }
        let can_decode =
            |place: &u32| self.ports.at(*place).is_none_or(|(_, port)| widest(&port.payloads).is_some());
        if !port.feeders.iter().all(can_decode) {
            return Err(Unsupported("a format that cannot be decoded here"));
        }
        if let Some((_, port)) = self.ports.at_mut(place) {
            let audio = port.audio.get_or_insert_default();
            audio.holds = true;
            audio.sound_rate = audio.sound_rate.max(sound_rate);
        }
        self.fit(now, key);
        let audio = self.ports.at(place).and_then(|(_, port)| port.audio.as_ref());
        let rate = audio.and_then(|audio| audio.maker.as_ref()).map(|maker| maker.rate());
        rate.ok_or(Unsupported("a format that cannot be made here"))
    }

    fn with_mouth(
        &mut self,
        now: Instant,
        key: Key,
        place: u32,
        what: &'static str,
        give: impl FnOnce(&mut super::audio::Mouth) -> bool,
    ) -> Result<(), Unsupported> {
        let audio = self.ports.at_mut(place).and_then(|(_, port)| port.audio.as_mut());
        let Some(audio) = audio else { return Err(Unsupported(what)) };
        audio.holds = false;
        let taken = audio.mouth.as_mut().is_some_and(|mouth| give(mouth));
        if taken {
            return Ok(());
        }
        // What was made for it goes again.
        self.fit(now, key);
        Err(Unsupported(what))
    }

    /// What is said from now on is not recorded, or is again. Speech is heard late, so its place on the tape is yet to
    /// come; where that is not exact, rather less is recorded than more.
    fn pause(&mut self, key: Key, ticket: Ticket, on: bool) -> Result<(), Unsupported> {
        let Bridges { bridges, ports, .. } = self;
        let domain = bridges.get_mut(key).and_then(|bridge| bridge.domain.as_deref_mut());
        let Some(domain) = domain else { return Err(Unsupported("a recording that is not there")) };
        let Some(recorder) = domain.recordings.iter_mut().find(|recorder| recorder.ticket == ticket) else {
            return Err(Unsupported("a recording that is not there"));
        };
        let seats = domain.room.iter().filter(|_| recorder.of_room).flat_map(|room| &room.seats);
        let places = recorder.sources.iter().map(|source| source.place).chain(seats.map(|seat| seat.place));
        let ears = places.filter_map(|place| ports.at(place)?.1.audio.as_ref()?.ear.as_ref());
        let ticks = |delay: Duration| (delay.as_millis() / domain.tick.as_millis().max(1)) as u32;
        let delays = ears.map(|ear| ticks(ear.delay()));
        let (least, most) =
            delays.fold((u32::MAX, 0), |(least, most), ticks| (least.min(ticks), most.max(ticks)));
        if on {
            // What would go on in the middle of the new pause does not.
            recorder.marks.retain(|(_, on)| *on);
            recorder.marks.push_back((least.min(most).saturating_sub(1), true));
        } else {
            recorder.marks.push_back((most + 2, false));
        }
        recorder.mark();
        Ok(())
    }

    fn room(&mut self, key: Key) -> Option<&mut Room> {
        self.bridges.get_mut(key)?.domain.as_mut()?.room.as_mut()
    }
}

/// What a recording hears of a port.
pub(super) struct HeardOf<'a> {
    pub pcm: &'a [i16],
    /// Samples a second.
    pub rate: u32,
    pub pulled: Pulled,
    /// How far behind its packets it is.
    pub delay: Duration,
    /// An event says now that a key is down.
    pub pressed: bool,
    /// What is heard may be a digit.
    pub suspicious: bool,
}

impl Recorder {
    /// It was stopped, and all that was said until then is on the tape.
    pub fn is_over(&self) -> bool {
        self.ends_in.is_some_and(|left| left.is_zero())
    }

    /// The end.
    pub fn finish(self, outcome: Outcome) {
        self.tape.finish(outcome);
    }

    /// Marks pauses whose place has come.
    fn mark(&mut self) {
        while let Some((_, on)) = self.marks.pop_front_if(|(ticks, _)| *ticks == 0) {
            self.tape.mark_pause(on);
        }
    }

    /// Adds a tick to the tape.
    pub fn tick<'a>(
        &mut self,
        tick: Duration,
        room: Option<&Room>,
        scratch: &mut Scratch,
        hear: impl Fn(u32) -> Option<HeardOf<'a>>,
    ) {
        let len = tick_samples(self.rate, tick).min(TICK_SAMPLES);
        self.ends_in = self.ends_in.map(|left| left.saturating_sub(tick));
        let skips = !self.skips.is_zero();
        self.skips = self.skips.saturating_sub(tick);
        self.marks.iter_mut().for_each(|(ticks, _)| *ticks = ticks.saturating_sub(1));
        self.mark();
        let mut sums = [[0; TICK_SAMPLES]; 2];
        if self.of_room {
            let Some((room, (seat, rate))) = room.and_then(|room| Some((room, room.recorder?))) else {
                return;
            };
            let from = tick_samples(rate, tick);
            room.mixer.take(seat, &mut scratch.first[..from]);
            if let Some(resampler) = &mut self.to_room {
                let len = resampler.process(&scratch.first[..from], &mut scratch.second).min(len);
                pcm::mix_in(&mut sums[0][..len], &scratch.second[..len]);
                sums[1] = sums[0];
            }
            self.waits = false;
        }
        for source in &mut self.sources {
            let Some(heard) = hear(source.place) else { continue };
            // Events come at once, the speech beside them late.
            source.pressed = source.pressed << 1 | u128::from(heard.pressed);
            let behind = (heard.delay.as_millis() / tick.as_millis().max(1)) as u32;
            let pressed = source.pressed.checked_shr(behind.saturating_sub(2)).unwrap_or(0) & 0b1_1111 != 0;
            if heard.pulled == Pulled::Silence {
                continue;
            }
            self.waits = false;
            if self.masks && (pressed || heard.suspicious) {
                continue;
            }
            let (heard, rate) = (heard.pcm, heard.rate);
            if source.resampler.as_ref().is_none_or(|(from, _)| *from != rate) {
                source.resampler = Some((rate, Resampler::new(rate, self.rate)));
            }
            let Some((_, resampler)) = &mut source.resampler else { continue };
            let len = resampler.process(heard, &mut scratch.first).min(len);
            let channel = usize::from(self.stereo && !source.left);
            pcm::mix_in(&mut sums[channel][..len], &scratch.first[..len]);
        }
        if !self.waits && !skips {
            let [left, right] = [&mut scratch.first, &mut scratch.second];
            pcm::saturate(&sums[0][..len], &mut left[..len]);
            pcm::saturate(&sums[1][..len], &mut right[..len]);
            self.tape.push(&left[..len], &right[..len]);
        }
    }
}
