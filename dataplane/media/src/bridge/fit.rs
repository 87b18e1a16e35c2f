//! What each port of a bridge decodes and makes: worked out from the spec and from orders whenever one of them changes,
//! never per packet. Promotion and demotion happen here (media.md, "Promotion"): a sink that hears more than one relayed
//! stream gets a mouth, its sources get ears, and streams go on under their identity.

use super::audio::{Ear, EarNeed, Mouth, widest};
use super::digits::{KeysIn, KeysOut};
use super::domain::{Domain, Seated};
use super::law::Law;
use super::maker::{Maker, Making, format_of};
use super::outgoing::Outgoing;
use super::port::Port;
use super::relay::{Edge, Wanted, Way};
use super::transcode::Transcoder;
use super::{Bridges, Pulse};
use crate::mixer::{Chime, SeatConfig};
use crate::reporter::{Cname, Reporter};
use crate::wire::rtp::{HEADER_LEN, Header};
use base::{Duration, Instant, Key};
use codec::registry;
use command::{DigitsTowards, Ended, Event, Outcome, Payload, RoomSpec, Voice};

/// Tones for a peer that takes no events are made for so long after the last digit.
const TONES_LINGER: Duration = Duration::from_secs(5);
/// Where nothing says how long packets are.
const PTIME_MS: u16 = 20;

/// Whether the engine can make this format.
pub(super) fn is_makeable(payload: &Payload) -> bool {
    registry::find(&format_of(payload)).is_some()
}

/// Whether it can make it in packets of so many milliseconds.
pub(super) fn can_make(payload: &Payload, ptime_ms: u16) -> bool {
    registry::find(&format_of(payload))
        .is_some_and(|codec| u8::try_from(ptime_ms).is_ok_and(|ms| codec.ptimes.contains(&ms)))
}

/// The packet time nearest to what is usual.
fn usual_ptime(payload: &Payload) -> u16 {
    if can_make(payload, PTIME_MS) {
        return PTIME_MS;
    }
    let ptimes = registry::find(&format_of(payload)).map_or(&[][..], |codec| codec.ptimes);
    ptimes.iter().min().map_or(PTIME_MS, |ptime| u16::from(*ptime))
}

/// What one port is to have.
struct Need {
    place: u32,
    mixed: bool,
    making: Option<Making>,
    ear: Option<EarNeed>,
    keys: bool,
}

impl Bridges {
    /// Makes every port of a bridge decode and encode what is wanted of it now, no more.
    pub(super) fn fit(&mut self, now: Instant, key: Key) {
        let Some(bridge) = self.bridges.get(key) else { return };
        let places = bridge.ports.clone();
        let records = bridge.domain.as_ref().and_then(|d| d.recordings.iter().map(|r| r.rate).max());
        let masks = bridge.domain.as_ref().is_some_and(|d| d.recordings.iter().any(|r| r.masks));
        let patient = bridge.domain.as_ref().is_none_or(|d| d.recordings.iter().all(|r| r.patient));
        if records.is_none() && places.iter().all(|place| self.is_plain(*place)) {
            for place in places {
                let Some((_, port)) = self.ports.at_mut(place) else { continue };
                for edge in port.edges_mut() {
                    edge.way = if edge.wanted == Wanted::Relay { Way::Relay } else { Way::Closed };
                }
            }
            return self.take_stock(key);
        }
        let mut needs: Vec<Need> = places.iter().map(|place| self.sink_need(now, *place)).collect();
        for n in 0..needs.len() {
            (needs[n].ear, needs[n].keys) =
                self.source_need(&needs, needs[n].place, (records, masks, patient));
        }
        // Streams go on from where they are, so identities are taken before anything changes.
        for need in &needs {
            self.fit_maker(now, need);
        }
        for need in &needs {
            self.fit_ear(need);
        }
        for need in &needs {
            self.fit_mouth(now, key, need);
        }
        for need in &needs {
            self.fit_edges(&needs, need.place);
        }
        self.fit_domain(now, key);
        self.take_stock(key);
    }

    /// Takes what the spec says of the room.
    pub(super) fn set_room(&mut self, now: Instant, key: Key, spec: Option<RoomSpec>) {
        let Some(spec) = spec else { return };
        self.domain(now, key, Duration::from_millis(20)).room().set(spec);
    }

    pub(super) fn domain(&mut self, now: Instant, key: Key, tick: Duration) -> &mut Domain {
        let bridge = self.bridges.get_mut(key).expect("the caller has just found it");
        bridge.domain.get_or_insert_with(|| Box::new(Domain::new(now, tick)))
    }

    /// Whether packets of this port only pass, and nothing is made for it.
    fn is_plain(&self, place: u32) -> bool {
        self.ports.at(place).is_none_or(|(_, port)| {
            port.audio.is_none()
                && port.edges().all(|edge| matches!(edge.wanted, Wanted::Relay | Wanted::Drop))
                && !self.lacks_events(port)
        })
    }

    /// Whether digits of this port reach somebody who takes no events.
    fn lacks_events(&self, port: &Port) -> bool {
        port.has_events()
            && port.edges().any(|edge| {
                edge.wanted != Wanted::Drop
                    && self.ports.at(edge.sink).is_some_and(|(_, sink)| {
                        !sink.payloads.is_empty() && !sink.has_events() && widest(&sink.payloads).is_some()
                    })
            })
    }

    /// What a port needs to make.
    fn sink_need(&self, now: Instant, place: u32) -> Need {
        let none = Need { place, mixed: false, making: None, ear: None, keys: false };
        let Some((_, port)) = self.ports.at(place) else { return none };
        let Some((_, bandwidth)) = widest(&port.payloads).filter(|_| port.named) else { return none };
        let mixed = self.is_mixed(now, place);
        let feeders = || self.feeders(port);
        let transcodes = feeders().find_map(|feeder| {
            feeder.edges().find(|edge| edge.sink == place).and_then(|edge| match edge.wanted {
                Wanted::Transcode { to_payload, ptime_ms } => Some((to_payload, ptime_ms)),
                Wanted::Drop | Wanted::Relay | Wanted::Silence => None,
            })
        });
        if !mixed && transcodes.is_none() {
            return none;
        }
        let relayed = || {
            feeders().find_map(|feeder| {
                let number = feeder.streams.last()?.0.payload_type;
                let edge = feeder.edges().find(|edge| edge.sink == place)?;
                Some(edge.mapped(number))
            })
        };
        let by_number = |number: u8| {
            port.payloads.iter().find(|payload| payload.number == number && is_makeable(payload))
        };
        let (payload, ptime_ms) = match transcodes {
            Some((number, ptime_ms)) => (by_number(number), ptime_ms),
            None => {
                let current = relayed().and_then(by_number);
                let payload = current.or_else(|| port.payloads.iter().find(|payload| is_makeable(payload)));
                (payload, payload.map_or(PTIME_MS, usual_ptime))
            }
        };
        let Some(payload) = payload else { return none };
        let own =
            registry::find(&format_of(payload)).map_or(8_000, |codec| codec.bandwidth(&format_of(payload)));
        let sources = feeders().filter_map(|feeder| widest(&feeder.payloads)).map(|(_, rate)| rate).max();
        let seated = port.audio.as_ref().is_some_and(|audio| audio.wants.seat.is_some());
        let wanted = port.audio.as_ref().map_or(0, |audio| audio.sound_rate);
        let rate = if seated { own } else { own.min(sources.unwrap_or(8_000).max(wanted)) };
        let making = Making { payload: payload.clone(), ptime_ms, rate: rate.min(bandwidth) };
        let is_law = !mixed && self.is_law(port, place, &making);
        Need { mixed, making: (!is_law).then_some(making), ..none }
    }

    /// Whether all that it is fed is G.711, converted in place.
    fn is_law(&self, port: &Port, place: u32, making: &Making) -> bool {
        !port.repacketises
            && self
                .feeders(port)
                .all(|feeder| feeder.more_edges.is_empty() && law_of(feeder, port, place, making).is_some())
    }

    /// Whether what a port's peer hears is made at the tick.
    pub(super) fn is_mixed(&self, now: Instant, place: u32) -> bool {
        let Some((_, port)) = self.ports.at(place) else { return false };
        let wants =
            |port: &Port, is: fn(&Voice) -> bool| port.audio.as_ref().is_some_and(|audio| is(&audio.wants));
        let towards = port.audio.as_ref().map(|audio| audio.wants.digits.towards).unwrap_or_default();
        let is_busy = port
            .audio
            .as_ref()
            .is_some_and(|audio| audio.holds || audio.mouth.as_ref().is_some_and(|mouth| mouth.is_busy()));
        let by_feeder = self.feeders(port).any(|feeder| {
            let found = wants(feeder, |of| of.digits.listen_inband) && port.has_events();
            wants(feeder, |of| of.echo_cancel)
                || found && matches!(towards, DigitsTowards::Auto | DigitsTowards::Events)
                || towards == DigitsTowards::Tones && feeder.has_events()
        });
        let tones = port.tones_until.is_some_and(|until| now < until);
        // Silence in a codec that the source does not send has to be made.
        let silence = self.feeders(port).any(|feeder| {
            let silenced = |edge: &Edge| edge.wanted == Wanted::Silence && edge.sink == place;
            feeder.edges().any(silenced) && !shares_speech(feeder, port)
        });
        wants(port, |own| own.seat.is_some() || own.echo_cancel) || is_busy || tones || by_feeder || silence
    }

    /// The ports with an edge to this one.
    fn feeders(&self, port: &Port) -> impl Iterator<Item = &Port> {
        port.feeders.iter().filter_map(|feeder| self.ports.at(*feeder)).map(|(_, feeder)| feeder)
    }

    /// What a port needs to decode, and whether its events are looked at.
    fn source_need(
        &self,
        needs: &[Need],
        place: u32,
        (records, masks, patient): (Option<u32>, bool, bool),
    ) -> (Option<EarNeed>, bool) {
        let Some((_, port)) = self.ports.at(place).filter(|(_, port)| port.named) else {
            return (None, false);
        };
        let wants = port.audio.as_ref().map(|audio| audio.wants.clone()).unwrap_or_default();
        let mixed_sinks =
            || port.edges().filter_map(|edge| needs.iter().find(|n| n.place == edge.sink && n.mixed));
        let heard = mixed_sinks().filter_map(|need| need.making.as_ref()).map(|making| making.rate).max();
        let talks = wants.seat.as_ref().is_some_and(|seat| seat.talks);
        let listens = wants.digits.listen_inband || wants.echo_cancel;
        let rates = [heard, records, talks.then_some(48_000), listens.then_some(8_000)];
        let need = rates.into_iter().flatten().max().map(|rate| EarNeed {
            rate,
            patient: patient && records.is_some() && heard.is_none() && !talks && !listens,
            echo_cancel: wants.echo_cancel,
            listens_inband: wants.digits.listen_inband || masks,
        });
        let keys = port.has_events()
            && (wants.digits.report || wants.digits.block || need.is_some() || self.lacks_events(port));
        (need, keys)
    }

    /// The maker of a port, and the identity of its stream.
    fn fit_maker(&mut self, now: Instant, need: &Need) {
        let Some(making) = &need.making else {
            if let Some((_, port)) = self.ports.at_mut(need.place)
                && let Some(audio) = &mut port.audio
            {
                audio.maker = None;
                audio.reporter = None;
            }
            return;
        };
        let last = self.last_relayed(need.place);
        let (ssrc, sequence, timestamp) = (self.rng.u32(), self.rng.u32() as u16, self.rng.u32());
        let (rng, complexity) = (self.rng.fork(), self.complexity);
        let cname = self.cname_of(need.place);
        let Some((key, port)) = self.ports.at_mut(need.place) else { return };
        let sent = port.sent;
        let audio = port.audio.get_or_insert_default();
        let keeps = audio.maker.as_ref().is_some_and(|maker| maker.suits(making));
        if !keeps {
            audio.maker = Maker::new(making.clone(), complexity);
        }
        let clock = making.payload.clock;
        if audio.out.as_ref().is_none_or(|out| out.clock() != clock) {
            audio.out = Some(match last {
                // The clock of a stream does not change within its SSRC.
                Some((header, at, relayed_clock)) if relayed_clock == clock && audio.out.is_none() => {
                    Outgoing::continuing(header, at, clock)
                }
                Some(_) | None => Outgoing::new(ssrc, sequence, timestamp, clock),
            });
        }
        if audio.reporter.is_none() {
            let mut reporter = Box::new(Reporter::new(now, cname, rng));
            // The first report tells of the stream as it was relayed, at once.
            if let Some(out) = &audio.out
                && let Some((timestamp, at)) = out.last()
            {
                let last = Header { ssrc: out.ssrc(), timestamp, ..Header::default() };
                let octets = sent.bytes.saturating_sub(sent.packets * HEADER_LEN as u64);
                reporter.take_over(at, &last, clock, (sent.packets as u32, octets as u32));
            }
            audio.reporter = Some(reporter);
            audio.report_due = Some(now);
            self.pulses.insert(now, Pulse::Report(key));
        }
    }

    /// The name that all streams of a port's bridge carry; it tells nothing.
    fn cname_of(&self, place: u32) -> Cname {
        let bridge = self.ports.at(place).and_then(|(_, port)| self.bridges.get(port.bridge));
        let number = bridge.map_or(0, |bridge| bridge.secret.of(b"cname"));
        core::array::from_fn(|n| b"0123456789abcdef"[(number >> (4 * n) & 0xf) as usize])
    }

    /// The last packet that was relayed to a port, as its peer saw it, when, and its clock.
    fn last_relayed(&self, place: u32) -> Option<(Header, Instant, u32)> {
        let (_, port) = self.ports.at(place)?;
        port.feeders.iter().find_map(|feeder| {
            let (_, feeder) = self.ports.at(*feeder)?;
            let edge = feeder.edges().find(|edge| edge.sink == place)?;
            matches!(edge.way, Way::Relay | Way::Law(_) | Way::Silence).then_some(())?;
            let passed = feeder.audio.as_ref().and_then(|audio| audio.last_passed);
            let (header, at) = passed.or_else(|| feeder.streams.last())?;
            let clock = feeder.payloads.iter().find(|payload| payload.number == header.payload_type)?.clock;
            Some((edge.rewritten(header, edge.rewrite), at, clock))
        })
    }

    fn fit_ear(&mut self, need: &Need) {
        let seed = self.rng.u64();
        let Some((_, port)) = self.ports.at_mut(need.place) else { return };
        if need.ear.is_none() && !need.keys && port.audio.is_none() {
            return;
        }
        let payloads = &port.payloads;
        let audio = port.audio.get_or_insert_default();
        match (need.keys, &audio.keys) {
            (true, Some(keys)) if keys.is_of(payloads) => {}
            (true, _) => audio.keys = KeysIn::new(payloads),
            (false, _) => audio.keys = None,
        }
        let keeps = match (&need.ear, &audio.ear) {
            (Some(wanted), Some(ear)) => ear.suits(*wanted, payloads),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !keeps {
            audio.drop_ear();
            audio.ear = need.ear.and_then(|wanted| Ear::new(wanted, payloads, seed));
        }
    }

    fn fit_mouth(&mut self, now: Instant, key: Key, need: &Need) {
        if !need.mixed || need.making.is_none() {
            self.leave_seat(need.place);
            self.leave_abroad(need.place);
            return self.drop_mouth(now, need.place);
        }
        let Some((_, port)) = self.ports.at(need.place) else { return };
        let feeds: Vec<(u32, u32, i16)> = port
            .feeders
            .iter()
            .filter_map(|place| {
                let (_, feeder) = self.ports.at(*place)?;
                let edge = feeder.edges().find(|edge| edge.sink == need.place)?;
                let audible = matches!(edge.wanted, Wanted::Relay | Wanted::Transcode { .. });
                let ear = feeder.audio.as_ref()?.ear.as_ref().filter(|_| audible)?;
                Some((*place, ear.rate, edge.gain_centibel))
            })
            .collect();
        let (index, towards) =
            (port.index, port.audio.as_ref().map(|a| a.wants.digits.towards).unwrap_or_default());
        let Some((_, port)) = self.ports.at_mut(need.place) else { return };
        let payloads = port.payloads.clone();
        let Some(audio) = port.audio.as_deref_mut() else { return };
        let Some(maker) = &audio.maker else { return };
        let (rate, clock) = (maker.rate(), maker.making.payload.clock);
        if audio.mouth.is_none() {
            audio.mouth = Some(Box::new(Mouth::new(
                KeysOut::new(towards, &payloads, clock, rate),
                towards,
                &payloads,
                rate,
            )));
        }
        let Some(mouth) = &mut audio.mouth else { return };
        if !mouth.suits(towards, &payloads, rate) {
            mouth.retune(KeysOut::new(towards, &payloads, clock, rate), towards, &payloads, rate);
        }
        mouth.set_feeds(&feeds, rate);
        match &audio.ear {
            Some(ear) if audio.wants.echo_cancel => mouth.keep_reference(rate, ear.rate),
            Some(_) | None => {}
        }
        let seat = audio.wants.seat.clone();
        match seat {
            Some(seat) if seat.room.media_shard() == usize::from(self.shard) => {
                self.leave_abroad(need.place);
                self.take_seat(now, key, need.place, index, &seat);
            }
            Some(seat) => {
                self.leave_seat(need.place);
                self.go_abroad(need.place, &seat);
            }
            None => {
                self.leave_seat(need.place);
                self.leave_abroad(need.place);
            }
        }
    }

    /// The port speaks no more: what it still had to say has failed.
    fn drop_mouth(&mut self, now: Instant, place: u32) {
        let Some((_, port)) = self.ports.at_mut(place) else { return };
        let bridge = port.bridge;
        let Some(mut mouth) = port.audio.as_mut().and_then(|audio| audio.mouth.take()) else { return };
        let Some(id) = self.bridges.get(bridge).map(|bridge| bridge.id) else { return };
        let mut told = Vec::new();
        mouth.sounds.close(|ticket, how| told.push((ticket, how)));
        mouth.keys.close(now, |ticket, how| told.push((ticket, how)));
        for (ticket, ended) in told {
            let outcome = if ended.outcome == Outcome::Done { Outcome::Done } else { Outcome::Failed };
            self.tell(Event::Ended { bridge: id, ticket, ended: Ended { outcome, ..ended } });
        }
    }

    /// Takes or keeps a seat in a room.
    fn take_seat(
        &mut self,
        now: Instant,
        key: Key,
        place: u32,
        index: command::PortIndex,
        seat: &command::Seat,
    ) {
        let Some(room_key) = self.by_id.get(&seat.room).copied() else { return };
        let Some(id) = self.bridges.get(key).map(|bridge| bridge.id) else { return };
        let Some((_, port)) = self.ports.at(place) else { return };
        let Some(audio) = &port.audio else { return };
        let (Some(maker), Some(mouth)) = (&audio.maker, &audio.mouth) else { return };
        let (rate, making, before) = (maker.rate(), maker.making.clone(), mouth.seat);
        let ear_rate = audio.ear.as_ref().map_or(rate, |ear| ear.rate);
        if before.is_some_and(|(room, _)| room != room_key) {
            self.leave_seat(place);
        }
        let complexity = self.complexity;
        let domain = self.domain(now, room_key, Duration::from_millis(20));
        let room = domain.room();
        let config = SeatConfig {
            rate,
            talks: seat.talks,
            hears: seat.hears,
            gain_centibel: seat.gain_centibel,
            coaches: None,
            announces: false,
        };
        let terms = room.coaching(config, seat.coaches);
        let known = room.seats.iter().position(|seated| seated.place == place);
        let taken = match known {
            Some(known) => {
                room.mixer.configure(room.seats[known].seat, terms).map(|()| room.seats[known].seat)
            }
            None => room.mixer.join(terms),
        };
        let Ok(taken) = taken else { return };
        let seated = Seated { place, seat: taken, who: (id, index), config, coaches: seat.coaches };
        match known {
            Some(known) => room.seats[known] = seated,
            None => {
                room.seats.push(seated);
                room.settle_coaches();
                if room.spec.tones {
                    room.mixer.chime(Chime::Joined);
                }
            }
        }
        room.share(&making, complexity);
        if let Some((_, port)) = self.ports.at_mut(place)
            && let Some(mouth) = port.audio.as_mut().and_then(|audio| audio.mouth.as_mut())
        {
            mouth.seat = Some((room_key, taken));
            mouth.set_voice_in(ear_rate, rate);
        }
        self.start_ticking(now, room_key);
    }

    /// Gives up a seat, if there is one.
    pub(super) fn leave_seat(&mut self, place: u32) {
        let Some((_, port)) = self.ports.at_mut(place) else { return };
        let mouth = port.audio.as_mut().and_then(|audio| audio.mouth.as_mut());
        let Some((room_key, seat)) = mouth.and_then(|mouth| mouth.seat.take()) else { return };
        let Some(domain) = self.bridges.get_mut(room_key).and_then(|bridge| bridge.domain.as_mut()) else {
            return;
        };
        let room = domain.room();
        room.mixer.leave(seat);
        if let Some(who) = room.who_of(seat) {
            room.left.push((seat, who));
        }
        room.seats.retain(|seated| seated.seat != seat);
        room.settle_coaches();
        if room.spec.tones {
            room.mixer.chime(Chime::Left);
        }
    }

    fn fit_edges(&mut self, needs: &[Need], place: u32) {
        let seed = self.rng.u64() | 1;
        let Some((_, port)) = self.ports.at_mut(place) else { return };
        let mut edges = (port.edge.take(), core::mem::take(&mut port.more_edges));
        let blocks = port.audio.as_ref().is_some_and(|audio| audio.wants.digits.block);
        let single = edges.1.is_empty();
        for edge in edges.0.iter_mut().chain(&mut edges.1) {
            let need = needs.iter().find(|need| need.place == edge.sink);
            let mixed = need.is_some_and(|need| need.mixed && need.making.is_some());
            let way = core::mem::replace(&mut edge.way, Way::Closed);
            edge.way = match edge.wanted {
                Wanted::Drop => Way::Closed,
                _ if mixed => Way::Heard,
                Wanted::Relay => Way::Relay,
                Wanted::Silence => Way::Silence,
                Wanted::Transcode { to_payload, ptime_ms } => self.transcoding(
                    place,
                    edge.sink,
                    (to_payload, ptime_ms),
                    way,
                    edge.gain_centibel,
                    single,
                    seed,
                ),
            };
            if let Way::Transcode(coder) = &mut edge.way {
                coder.set_keeps_digits(blocks);
            }
            if let Way::Law(_) = edge.way
                && let (Some((_, from)), Some((_, to))) = (self.ports.at(place), self.ports.at(edge.sink))
            {
                edge.set_map(&same_payloads(&from.payloads, &to.payloads));
            }
        }
        if let Some((_, port)) = self.ports.at_mut(place) {
            (port.edge, port.more_edges) = edges;
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one edge with all that is known of it")]
    fn transcoding(
        &self,
        place: u32,
        sink: u32,
        (to_payload, ptime_ms): (u8, u16),
        before: Way,
        gain_centibel: i16,
        single: bool,
        seed: u64,
    ) -> Way {
        let (Some((_, source)), Some((_, sink))) = (self.ports.at(place), self.ports.at(sink)) else {
            return Way::Closed;
        };
        let Some(maker) = sink.audio.as_ref().and_then(|audio| audio.maker.as_ref()) else {
            let to = sink.payloads.iter().find(|payload| payload.number == to_payload);
            let law =
                to.filter(|_| single).and_then(|to| Law::new(&source.payloads, &sink.payloads, to, ptime_ms));
            return law.map_or(Way::Closed, Way::Law);
        };
        match before {
            Way::Transcode(coder)
                if coder.suits(&source.payloads, &sink.payloads, maker.rate(), gain_centibel) =>
            {
                Way::Transcode(coder)
            }
            before => {
                let mut coder =
                    Transcoder::new(&source.payloads, &sink.payloads, maker.rate(), gain_centibel, seed);
                let passed = matches!(before, Way::Relay | Way::Law(_) | Way::Silence);
                let out = sink.audio.as_ref().and_then(|audio| audio.out.as_ref()).filter(|_| passed);
                // What was passed last is what went out last, so time goes on without a seam.
                if let Some(out) = out
                    && let (Some((last, came)), Some((timestamp, left))) = (source.streams.last(), out.last())
                    && came == left
                    && source.payloads.iter().any(|p| p.number == last.payload_type && p.clock == out.clock())
                {
                    coder.continue_from(&last, timestamp);
                }
                Way::Transcode(Box::new(coder))
            }
        }
    }

    /// What of a bridge ticks now.
    fn fit_domain(&mut self, now: Instant, key: Key) {
        let Some(bridge) = self.bridges.get(key) else { return };
        let (mut ears, mut mouths, mut fine, mut abroad) = (Vec::new(), Vec::new(), false, false);
        for place in &bridge.ports {
            let Some((_, port)) = self.ports.at(*place) else { continue };
            let Some(audio) = &port.audio else { continue };
            let seated = audio.mouth.as_ref().is_some_and(|mouth| mouth.seat.is_some());
            if audio.ear.is_some() && !seated {
                ears.push(*place);
            }
            if audio.mouth.is_some() && !seated {
                mouths.push(*place);
                fine |= audio.maker.as_ref().is_some_and(|maker| maker.making.ptime_ms % 20 != 0);
                abroad |= audio.mouth.as_ref().is_some_and(|mouth| mouth.abroad.is_some());
            }
        }
        // A room on another shard ticks at its own pace; makers cut packets of any length.
        fine &= !abroad;
        if bridge.domain.is_none() && ears.is_empty() && mouths.is_empty() {
            return;
        }
        let tick = Duration::from_millis(if fine { 10 } else { 20 });
        let domain = self.domain(now, key, tick);
        (domain.ears, domain.mouths) = (ears, mouths);
        if domain.room.is_none() {
            domain.tick = tick;
        }
        self.start_ticking(now, key);
    }

    /// Sees to it that a domain ticks, or ends it.
    pub(super) fn start_ticking(&mut self, now: Instant, key: Key) {
        let Some(bridge) = self.bridges.get_mut(key) else { return };
        let Some(domain) = &mut bridge.domain else { return };
        if domain.is_idle() {
            domain.due = None;
            if domain.room.is_none() {
                bridge.domain = None;
            }
            return;
        }
        if domain.due.is_none() {
            let at = now + domain.tick;
            (domain.next, domain.due) = (at, Some(at));
            self.pulses.insert(at, Pulse::Tick(key));
        }
    }

    /// The sink wants another packet time than the source has: the table alone does not do.
    #[cold]
    pub(super) fn ask_repacketising(&mut self, now: Instant, sink: u32) {
        let Some((_, port)) = self.ports.at_mut(sink) else { return };
        let bridge = port.bridge;
        // In the next turn of timers: it takes memory, which packets do not.
        if !core::mem::replace(&mut port.repacketises, true) {
            self.pulses.insert(now, Pulse::Fit(bridge));
        }
    }

    /// A digit for somebody who takes no events: what it hears is made here for a while.
    pub(super) fn ask_tones(&mut self, now: Instant, sink: u32) {
        let Some((_, port)) = self.ports.at_mut(sink) else { return };
        let bridge = port.bridge;
        let until = now + TONES_LINGER;
        let begins = port.tones_until.is_none_or(|until| until < now);
        port.tones_until = Some(until);
        // The tick sees when the time is over.
        if begins {
            self.pulses.insert(now, Pulse::Fit(bridge));
        }
    }
}

/// Whether some speech of one is under the same number what it is to the other.
fn shares_speech(from: &Port, to: &Port) -> bool {
    let same =
        |a: &Payload, b: &Payload| (a.number, &a.encoding, a.clock) == (b.number, &b.encoding, b.clock);
    from.payloads
        .iter()
        .filter(|payload| is_makeable(payload))
        .any(|a| to.payloads.iter().any(|b| same(a, b)))
}

/// The conversion in place from a feeder, if that is all that is needed.
fn law_of(feeder: &Port, sink: &Port, place: u32, making: &Making) -> Option<Law> {
    let edge = feeder.edges().find(|edge| edge.sink == place)?;
    match edge.wanted {
        Wanted::Transcode { .. } => {
            Law::new(&feeder.payloads, &sink.payloads, &making.payload, making.ptime_ms)
        }
        Wanted::Drop | Wanted::Relay | Wanted::Silence => None,
    }
}

/// Payload types that mean the same on both sides, other than G.711's.
fn same_payloads(from: &[Payload], to: &[Payload]) -> Vec<(u8, u8)> {
    let other = from.iter().filter(|payload| !is_makeable(payload));
    let pairs = other.filter_map(|payload| {
        let same =
            to.iter().find(|other| other.encoding == payload.encoding && other.clock == payload.clock)?;
        Some((payload.number, same.number))
    });
    pairs.collect()
}
