//! One tick: what all say is heard, mixed, and said to each. No allocation, whatever the size of the room.

use super::audio::{Audio, Mouth, TICK_SAMPLES, tick_samples};
use super::domain::{Domain, Room};
use super::order::{HeardOf, Recorder};
use super::{Bridges, Pulse};
use crate::dtmf::event::{Event as Key4733, Phase};
use crate::dtmf::tones::Found as Tone;
use crate::mixer::Heard;
use crate::playout::Pulled;
use base::{Duration, Instant, Key};
use codec::pcm;
use command::{BridgeId, DigitsTowards, Event, Outcome, Verdict};

/// Ticks that are made up for in one go; what was missed beyond is left out.
const CATCH_UP: u32 = 10;

impl Bridges {
    /// Ticks of a domain that are due.
    pub(super) fn run_domain(&mut self, now: Instant, at: Instant, key: Key) {
        let Some(bridge) = self.bridges.get_mut(key) else { return };
        let id = bridge.id;
        let Some(mut domain) = bridge.domain.take_if(|domain| domain.due == Some(at)) else { return };
        domain.due = None;
        let missed = now.nanos_since(domain.next) / (domain.tick.as_nanos() as u64).max(1);
        let left_out = (missed + 1).saturating_sub(CATCH_UP.into());
        domain.next += domain.tick * u32::try_from(left_out).unwrap_or(u32::MAX);
        // What has been made is sent before more is; the rest is due at once then.
        while domain.next <= now && !self.made.is_crowded() {
            let nominal = domain.next;
            domain.next = nominal + domain.tick;
            self.tick(now, nominal, id, &mut domain);
        }
        let Some(bridge) = self.bridges.get_mut(key) else { return };
        bridge.domain = Some(domain);
        if self.has_finished(key) {
            self.pulses.insert(now, Pulse::Fit(key));
        }
        let Some(domain) = self.bridges.get_mut(key).and_then(|bridge| bridge.domain.as_mut()) else {
            return;
        };
        if !domain.is_idle() {
            domain.due = Some(domain.next);
            self.pulses.insert(domain.next, Pulse::Tick(key));
        }
    }

    /// Whether something of a bridge ticks that need not any more.
    fn has_finished(&self, key: Key) -> bool {
        let Some(bridge) = self.bridges.get(key) else { return false };
        bridge.domain.as_ref().is_some_and(|domain| {
            domain.mouths.iter().any(|place| {
                let has_audio = self.ports.at(*place).is_some_and(|(_, port)| port.audio.is_some());
                has_audio && !self.is_mixed(domain.next, *place)
            })
        })
    }

    fn tick(&mut self, now: Instant, nominal: Instant, id: BridgeId, domain: &mut Domain) {
        let Domain { tick, ears, mouths, room, recordings, .. } = domain;
        for place in ears.iter() {
            self.hear(now, *tick, *place);
        }
        for place in mouths.iter() {
            self.speak_abroad(*place);
        }
        if let Some(room) = room {
            room.mixer.begin();
            for n in 0..room.seats.len() {
                let seated = room.seats[n];
                self.hear(now, *tick, seated.place);
                self.speak(room, n);
            }
            self.hear_guests(now, room);
            self.mix(id, *tick, room);
            self.tell_guests(*tick, room);
            for n in 0..room.seats.len() {
                self.say(nominal, *tick, room.seats[n].place, Some(room));
            }
        }
        for place in mouths.iter() {
            self.say(nominal, *tick, *place, None);
        }
        if recordings.iter().any(Recorder::is_over)
            && let Some(key) = self.by_id.get(&id)
        {
            recordings.extract_if(.., |recorder| recorder.is_over()).for_each(|r| r.finish(Outcome::Done));
            self.pulses.insert(now, Pulse::Fit(*key));
        }
        for recorder in recordings.iter_mut() {
            self.write_down(*tick, recorder, room.as_ref());
        }
    }

    /// What one port's peer says in this tick.
    fn hear(&mut self, now: Instant, tick: Duration, place: u32) {
        let Some((_, port)) = self.ports.at_mut(place) else { return };
        let Some(audio) = port.audio.as_deref_mut() else { return };
        let Audio { ear: Some(ear), mouth, .. } = audio else { return };
        let reference = mouth.as_ref().and_then(|mouth| mouth.reference());
        let mut found = [None; 4];
        let mut count = 0;
        ear.tick(now, tick, reference, |tone| {
            if let Some(room) = found.get_mut(count) {
                *room = Some(tone);
                count += 1;
            }
        });
        for tone in found.into_iter().flatten() {
            self.on_tone(now, place, tone);
        }
        // Keys that are told by time.
        self.take_keys(now, place);
    }

    /// One seat's part of the mix.
    fn speak(&mut self, room: &mut Room, n: usize) {
        let seated = room.seats[n];
        let Bridges { ports, scratch, .. } = self;
        let Some((_, port)) = ports.at_mut(seated.place) else { return };
        let Some(Audio { ear: Some(ear), mouth: Some(mouth), .. }) = port.audio.as_deref_mut() else {
            return;
        };
        if ear.pulled != Pulled::Silence {
            let voice = mouth.voice(ear.heard(), &mut scratch.first);
            room.mixer.put(seated.seat, voice, Some(ear.level));
        }
    }

    fn mix(&mut self, id: BridgeId, tick: Duration, room: &mut Room) {
        let rate = 16_000;
        if !room.sounds.is_empty() {
            let mut block = [0; TICK_SAMPLES];
            let block = &mut block[..tick_samples(rate, tick)];
            room.sounds.render(block, |ticket, ended| self.tell(Event::Ended { bridge: id, ticket, ended }));
            if let Some(seat) = room.announcer(rate) {
                room.mixer.put(seat, block, None);
            }
        }
        room.mixer.mix();
        while let Some((seat, on)) = room.mixer.poll_talking() {
            if let Some(who) = room.who_of(seat).filter(|_| room.spec.tell_talking) {
                self.tell(Event::Talking { bridge: id, who, on });
            }
        }
        room.left.clear();
    }

    /// What one port's peer hears in this tick.
    fn say(&mut self, nominal: Instant, tick: Duration, place: u32, room: Option<&mut Room>) {
        let Some((_, port)) = self.ports.at_mut(place) else { return };
        let (bridge, complexity) = (port.bridge, self.complexity);
        let Some(mut mouth) = port.audio.as_mut().and_then(|audio| audio.mouth.take()) else { return };
        let id = self.bridges.get(bridge).map(|bridge| bridge.id);
        let rate =
            port.audio.as_ref().and_then(|audio| audio.maker.as_ref()).map_or(8_000, |maker| maker.rate());
        let len = tick_samples(rate, tick);
        let mut common = None;
        match (room, mouth.seat) {
            (Some(room), Some((_, seat))) => {
                let heard = room.mixer.hears(seat);
                match heard {
                    Heard::Common(group) if !mouth.is_busy() && mouth.reference().is_none() => {
                        common = Some((group, room));
                    }
                    Heard::Common(_) | Heard::Own | Heard::Nothing => {
                        room.mixer.take(seat, mouth.block(len));
                    }
                }
            }
            _ if mouth.abroad.is_some() => mouth.listen_abroad(len),
            _ => self.listen(&mut mouth, len),
        }
        let mut tell = |ticket, ended| {
            if let Some(bridge) = id {
                self.tell(Event::Ended { bridge, ticket, ended });
            }
        };
        if common.is_none() {
            mouth.sound(len, &mut tell);
        }
        let Bridges { ports, made, .. } = self;
        let mut failed = None;
        if let Some((_, port)) = ports.at_mut(place)
            && let Some((maker, mut leave)) = port.leave(nominal, made)
        {
            maker.set_complexity(complexity);
            let said = match common {
                Some((group, room)) => say_common(room, group, maker, &mut leave, tick, &mut mouth, len),
                None => mouth.say(maker, &mut leave, tick),
            };
            failed = said.err();
        }
        if let Some(verdict) = failed {
            self.count_drop_of(place, verdict);
        }
        while let Some((ticket, ended)) = mouth.keys.poll_ended() {
            if let Some(bridge) = id {
                self.tell(Event::Ended { bridge, ticket, ended });
            }
        }
        if let Some(audio) = self.ports.at_mut(place).and_then(|(_, port)| port.audio.as_mut()) {
            audio.mouth = Some(mouth);
        }
    }

    /// The sum of what a mouth hears directly.
    fn listen(&mut self, mouth: &mut Mouth, len: usize) {
        let Bridges { ports, scratch, .. } = self;
        let sum = &mut scratch.sum[..len.min(TICK_SAMPLES)];
        sum.fill(0);
        if !mouth.sounds.replaces() {
            for feed in &mut mouth.feeds {
                let ear = ports.at(feed.place).and_then(|(_, port)| port.audio.as_ref()?.ear.as_ref());
                if let Some(ear) = ear.filter(|ear| ear.pulled != Pulled::Silence) {
                    feed.add(ear.heard(), sum, &mut scratch.first);
                }
            }
        }
        pcm::saturate(sum, mouth.block(len));
    }

    /// A bridge closes: what was said until now is still put on its tapes.
    pub(super) fn hear_out(&mut self, now: Instant, key: Key) {
        let Some(mut domain) = self.bridges.get_mut(key).and_then(|bridge| bridge.domain.take()) else {
            return;
        };
        if !domain.recordings.is_empty() && domain.room.is_none() {
            let ears =
                domain.ears.iter().filter_map(|place| self.ports.at(*place)?.1.audio.as_ref()?.ear.as_ref());
            let lag = ears.map(|ear| ear.lag()).max().unwrap_or_default();
            let tick = domain.tick;
            for _ in 0..lag.as_millis() / tick.as_millis().max(1) {
                for place in &domain.ears {
                    self.hear(now, tick, *place);
                }
                for recorder in domain.recordings.iter_mut().filter(|recorder| !recorder.is_over()) {
                    self.write_down(tick, recorder, None);
                }
            }
        }
        if let Some(bridge) = self.bridges.get_mut(key) {
            bridge.domain = Some(domain);
        }
    }

    /// A tick of a recording.
    fn write_down(&mut self, tick: Duration, recorder: &mut Recorder, room: Option<&Room>) {
        let Bridges { ports, scratch, .. } = self;
        recorder.tick(tick, room, scratch, |place| {
            let (_, port) = ports.at(place)?;
            let audio = port.audio.as_deref()?;
            let ear = audio.ear.as_ref()?;
            Some(HeardOf {
                pcm: ear.heard(),
                rate: ear.rate,
                pulled: ear.pulled,
                delay: ear.delay(),
                pressed: audio.keys.as_ref().is_some_and(|keys| keys.is_pressed()),
                suspicious: ear.suspects_digit(),
            })
        });
    }

    /// A tone in somebody's speech.
    fn on_tone(&mut self, now: Instant, place: u32, tone: Tone) {
        let Some((_, port)) = self.ports.at(place) else { return };
        let (index, bridge) = (port.index, port.bridge);
        let reports = port.audio.as_ref().is_some_and(|audio| audio.wants.digits.report);
        let Some(id) = self.bridges.get(bridge).map(|bridge| bridge.id) else { return };
        let key = |digit: char, phase: Phase, duration: Duration| Key4733 {
            code: crate::dtmf::code(digit).unwrap_or(0),
            phase,
            ticks: (duration.as_millis() as u32).saturating_mul(8),
            clock: 8_000,
            volume: 10,
            timestamp: 0,
        };
        match tone {
            Tone::Begin { digit, back } => self.pass_key(now, place, &key(digit, Phase::Begin, back)),
            Tone::End { digit, duration, .. } => {
                self.pass_key(now, place, &key(digit, Phase::End, duration));
                if reports {
                    self.tell(Event::Digit { bridge: id, port: index, digit, duration });
                }
            }
            Tone::Signal(signal) => self.tell(Event::Signal { bridge: id, port: index, signal }),
        }
    }

    /// What has come as events by now: told, and passed to all who hear this port at the tick.
    pub(super) fn take_keys(&mut self, now: Instant, place: u32) {
        while let Some((_, port)) = self.ports.at_mut(place)
            && let Some(keys) = port.audio.as_mut().and_then(|audio| audio.keys.as_mut())
            && let Some(event) = keys.poll(now)
        {
            let (index, bridge) = (port.index, port.bridge);
            let reports = port.audio.as_ref().is_some_and(|audio| audio.wants.digits.report);
            if let (Phase::End, true, Some(digit)) = (event.phase, reports, event.digit())
                && let Some(id) = self.bridges.get(bridge).map(|bridge| bridge.id)
            {
                self.tell(Event::Digit { bridge: id, port: index, digit, duration: event.duration() });
            }
            self.pass_key(now, place, &event);
        }
        let Some((key, port)) = self.ports.at_mut(place) else { return };
        let Some(keys) = port.audio.as_mut().and_then(|audio| audio.keys.as_mut()) else { return };
        let next = keys.poll_timeout();
        if let Some(at) = next
            && keys.due.is_none_or(|due| at < due || due <= now)
        {
            keys.due = Some(at);
            self.pulses.insert(at, Pulse::Keys(key));
        }
    }

    /// Keys of a port that time has told.
    pub(super) fn run_keys(&mut self, now: Instant, key: Key) {
        if self.ports.get(key).is_some() {
            self.take_keys(now, key.index);
        }
    }

    /// A digit of one port for those who hear it.
    fn pass_key(&mut self, now: Instant, place: u32, event: &Key4733) {
        let Some((_, port)) = self.ports.at(place) else { return };
        if port.audio.as_ref().is_some_and(|audio| audio.wants.digits.block) {
            return;
        }
        let mut sinks = [u32::MAX; super::SINKS_MAX];
        for (sink, edge) in sinks.iter_mut().zip(port.edges()) {
            if edge.wanted != super::relay::Wanted::Drop && edge.wanted != super::relay::Wanted::Silence {
                *sink = edge.sink;
            }
        }
        for sink in sinks.into_iter().filter(|sink| *sink != u32::MAX) {
            let Some((_, port)) = self.ports.at_mut(sink) else { continue };
            let takes_events = port.has_events();
            let audio = port.audio.as_deref_mut();
            let by_info =
                audio.as_ref().is_some_and(|audio| audio.wants.digits.towards == DigitsTowards::Nothing);
            match audio.and_then(|audio| Some((audio.mouth.as_mut()?, audio.out.as_ref()?))) {
                Some((mouth, out)) if mouth.seat.is_none() => {
                    let timestamp = out.timestamp_now(now);
                    mouth.keys.follow(now, event, timestamp);
                }
                Some(_) => {}
                // It is made in the next turn, and the next packet of the event finds it.
                None if !takes_events && !by_info && event.phase != Phase::End => {
                    self.ask_tones(now, sink);
                }
                None => {}
            }
        }
    }

    fn count_drop_of(&mut self, place: u32, verdict: Verdict) {
        self.count_drop(super::Place::new(place, false), verdict);
    }
}

/// What all silent listeners hear is encoded once.
fn say_common(
    room: &mut Room,
    group: crate::mixer::Group,
    maker: &mut super::maker::Maker,
    leave: &mut super::maker::Leave<'_>,
    tick: Duration,
    mouth: &mut Mouth,
    len: usize,
) -> Result<(), Verdict> {
    let nominal = leave.now;
    let shared = room.shared.iter_mut().find(|shared| shared.maker.making == maker.making);
    let Some(shared) = shared.filter(|_| maker.ptime() == tick) else {
        let block = mouth.block(len);
        let common = room.mixer.common(group);
        let len = block.len().min(common.len());
        block[..len].copy_from_slice(&common[..len]);
        return mouth.say(maker, leave, tick);
    };
    if shared.tick != nominal || shared.group != Some(group) {
        (shared.tick, shared.group) = (nominal, Some(group));
        shared.len = shared.maker.encode_shared(room.mixer.common(group), &mut shared.payload);
    }
    maker.forget();
    let timestamp = leave.out.timestamp_at(nominal, tick);
    let payload = &shared.payload[..shared.len];
    leave.packet(maker.making.payload.number, timestamp, |buffer| super::maker::copy(payload, buffer))
}
