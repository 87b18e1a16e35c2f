//! What is asked of a call that is up, by the API: mute, hold, rooms, clips, digits, recordings. Negotiates nothing: it
//! lies over what the sides have agreed, and stays there whatever they agree next.

use super::{Call, Media, Stage, name};
use crate::desk::Desk;
use crate::orders::{Answer, Orders, Verdict};
use base::{Duration, Now};
use command::voice::RoomSpec;
use command::{BridgeId, BridgeSpec, Command, Ended, Outcome, PlayMode, PortIndex, Seat, Ticket, Transform};
use ledger::rooms::{Guest, NewRoom, NoSeat};
use ledger::view::OrderView;
use ledger::{
    AskFailed, Event, ForkStart, Hold, Join, Legs, Mute, MuteDirection, OrderId, Play, RecordAsk, RecordFrom,
    RecordStart, Recorded, Reply, RoomOptions, RoomView, SendDigits,
};
use sdp::{DigitsBy, Side};

/// What was asked of one call. Most calls have none.
#[derive(Default)]
pub(crate) struct Control {
    orders: Orders,
    overlay: Overlay,
    /// The overlay that media holds for sure, while a change of it waits for media's verdict.
    before: Option<Overlay>,
    /// The orders of the music that legs on hold hear.
    music: [Option<OrderId>; 2],
    /// Somebody's digits have been told of in the timeline.
    digits_noted: [bool; 2],
}

/// What lies over the agreed media; the caller's leg first.
#[derive(Clone, Debug, Default, PartialEq)]
struct Overlay {
    /// Nobody hears it.
    says_nothing: [bool; 2],
    /// It hears nobody.
    hears_nothing: [bool; 2],
    /// It is on hold by us: both of the above, until it is taken back.
    held: [bool; 2],
    /// The room that it sits in, and how.
    seats: Option<(String, [Seat; 2])>,
}

impl Overlay {
    /// Whether anybody hears this side, and whether it hears anybody.
    fn is_silent(&self, side: usize) -> (bool, bool) {
        (self.says_nothing[side] || self.held[side], self.hears_nothing[side] || self.held[side])
    }
}

/// Why nothing can be done.
const NO_MEDIA: AskFailed = AskFailed::WrongState("the call has no media yet");
const NOT_ANSWERED: AskFailed = AskFailed::WrongState("the call is not answered");
const NO_AUDIO: AskFailed = AskFailed::WrongState("the call has no audio that passes through us");
const WAIT: AskFailed = AskFailed::WrongState("another change of this call's media is on its way");

impl Call {
    /// Puts what was asked of this call over what its sides have agreed.
    pub(super) fn overlay(&self, spec: &mut BridgeSpec) {
        let Some(control) = self.control.as_deref().filter(|c| c.overlay != Overlay::default()) else {
            return;
        };
        let [a, b] = self.audio_ports(spec);
        for (side, port) in [a, b].into_iter().enumerate() {
            let Some(port) = port else { continue };
            let (says_nothing, hears_nothing) = control.overlay.is_silent(side);
            for edge in &mut spec.edges {
                let is_silent = says_nothing && edge.from == port || hears_nothing && edge.to == port;
                if is_silent && edge.transform != Transform::Drop {
                    edge.transform = Transform::Silence;
                }
            }
            // A side on hold neither sees nor is seen, and has no second line.
            let party = spec.ports.iter().find(|spec| spec.port == port).map(|spec| spec.party);
            let others = spec.ports.iter().filter(|spec| Some(spec.party) == party && spec.port != port);
            let others: Vec<_> = others.map(|spec| spec.port).collect();
            for edge in spec.edges.iter_mut().filter(|_| control.overlay.held[side]) {
                if others.contains(&edge.from) || others.contains(&edge.to) {
                    edge.transform = Transform::Drop;
                }
            }
            if let Some((_, seats)) = &control.overlay.seats
                && let Some(spec) = spec.ports.iter_mut().find(|spec| spec.port == port)
            {
                let seat = &seats[side];
                spec.voice.seat = Some(Seat {
                    talks: seat.talks && !says_nothing,
                    hears: seat.hears && !hears_nothing,
                    ..seat.clone()
                });
            }
        }
    }

    /// The port that speech of each side goes through, the caller's first, where it is one of these.
    fn audio_ports(&self, spec: &BridgeSpec) -> [Option<PortIndex>; 2] {
        [Side::A, Side::B].map(|side| {
            let (port, _) = self.negotiation.speech_port(side)?;
            spec.ports.iter().any(|spec| spec.port == port).then_some(port)
        })
    }

    /// Plays a sound to one leg or both.
    pub(crate) fn play(
        &mut self,
        desk: &mut Desk,
        now: Now,
        play: &Play,
        reply: Reply<Result<OrderId, AskFailed>>,
    ) {
        let (bridge, ports) = match self.ports_of(play.legs) {
            Ok(ports) => ports,
            Err(failed) => return reply(Err(failed)),
        };
        let ports: Vec<_> = ports.into_iter().map(Some).collect();
        let orders = &mut self.control().orders;
        match orders.play(desk, now, bridge, &ports, play) {
            Ok(id) => {
                let tickets = orders.tickets(id);
                orders.await_media(desk, bridge, tickets, false, with(reply, id));
                self.tell(now, format!("{} is played to {}", play.source, play.legs.name()));
            }
            Err(failed) => reply(Err(failed)),
        }
    }

    /// Sends digits to one leg or both, as each gets them.
    pub(crate) fn send_digits(
        &mut self,
        desk: &mut Desk,
        now: Now,
        digits: &SendDigits,
        reply: Reply<Result<OrderId, AskFailed>>,
    ) {
        let (bridge, ports) = match self.ports_of(digits.legs) {
            Ok(found) => found,
            Err(failed) => return reply(Err(failed)),
        };
        let sides = [Side::A, Side::B].into_iter().zip(digits.legs.each());
        let sides: Vec<Side> = sides.filter(|(_, meant)| *meant).map(|(side, _)| side).collect();
        let by_info = |side: &Side| self.media_of(*side).is_some_and(|media| media.dtmf == DigitsBy::Info);
        let by_info: Vec<bool> = sides.iter().map(by_info).collect();
        if by_info.contains(&true) && self.stage != Stage::Up {
            return reply(Err(NOT_ANSWERED));
        }
        let ports: Vec<PortIndex> =
            ports.into_iter().zip(&by_info).filter(|(_, info)| !**info).map(|(port, _)| port).collect();
        let orders = &mut self.control().orders;
        let id = match orders.dtmf(desk, now, bridge, &ports, digits) {
            Ok(id) => id,
            Err(failed) => return reply(Err(failed)),
        };
        let tickets = orders.tickets(id);
        if tickets.is_empty() {
            // INFO goes out digit by digit as the peer answers; media has no part in it.
            orders.end_now(desk, now, id);
            reply(Ok(id));
        } else {
            orders.await_media(desk, bridge, tickets, false, with(reply, id));
        }
        let duration = Duration::from_millis(digits.duration_ms.into());
        for (side, _) in sides.into_iter().zip(by_info).filter(|(_, info)| *info) {
            for digit in digits.digits.chars() {
                self.tell_digit(desk, now, side.other(), digit, duration);
            }
        }
        self.tell(now, format!("{} digits are sent to {}", digits.digits.len(), digits.legs.name()));
    }

    /// Begins, ends or pauses a recording.
    pub(crate) fn record_media(
        &mut self,
        desk: &mut Desk,
        now: Now,
        ask: RecordAsk,
        reply: Reply<Result<Recorded, AskFailed>>,
    ) {
        let bridge = self.open_bridge();
        let is_answered = self.answered.is_some();
        let orders = &mut self.control().orders;
        let done = match (ask, bridge) {
            (RecordAsk::Start(start), bridge) => {
                let now_or_later = match start.from {
                    RecordFrom::Answer if !is_answered => Ok(None),
                    RecordFrom::Answer | RecordFrom::Now | RecordFrom::FirstPacket => {
                        bridge.map(Some).ok_or(NO_MEDIA)
                    }
                };
                now_or_later
                    .and_then(|bridge| orders.record(desk, now, bridge, start))
                    .map(|recorded| (orders.tickets(recorded.id), recorded))
            }
            (RecordAsk::Stop(id), bridge) => {
                orders.stop_recording(desk, now, bridge, id).map(|recorded| (Vec::new(), recorded))
            }
            (RecordAsk::Pause(id), Some(bridge)) => {
                orders.pause(desk, now, bridge, id, true).map(|(recorded, tickets)| (tickets, recorded))
            }
            (RecordAsk::Resume(id), Some(bridge)) => {
                orders.pause(desk, now, bridge, id, false).map(|(recorded, tickets)| (tickets, recorded))
            }
            (RecordAsk::Pause(_) | RecordAsk::Resume(_), None) => Err(NO_MEDIA),
        };
        let (tickets, recorded) = match done {
            Ok(done) => done,
            Err(failed) => return reply(Err(failed)),
        };
        let line = match ask {
            RecordAsk::Start(_) => format!("{} is recorded", recorded.file),
            RecordAsk::Stop(_) => format!("the recording {} is ended", recorded.file),
            RecordAsk::Pause(_) => format!("the recording {} is paused", recorded.file),
            RecordAsk::Resume(_) => format!("the recording {} goes on", recorded.file),
        };
        match bridge.filter(|_| !tickets.is_empty()) {
            Some(bridge) => orders.await_media(desk, bridge, tickets, false, with(reply, recorded)),
            None => reply(Ok(recorded)),
        }
        self.tell(now, line);
    }

    /// Sends what is said elsewhere.
    pub(crate) fn fork_media(
        &mut self,
        desk: &mut Desk,
        now: Now,
        start: &ForkStart,
        reply: Reply<Result<OrderId, AskFailed>>,
    ) {
        let Some(bridge) = self.open_bridge() else { return reply(Err(NO_MEDIA)) };
        let orders = &mut self.control().orders;
        match orders.fork(desk, now, bridge, start) {
            Ok(id) => {
                let tickets = orders.tickets(id);
                orders.await_media(desk, bridge, tickets, false, with(reply, id));
                self.tell(now, format!("what is said goes to {}, too", start.target));
            }
            Err(failed) => reply(Err(failed)),
        }
    }

    /// Ends what was asked for.
    pub(crate) fn stop_order(
        &mut self,
        desk: &mut Desk,
        now: Now,
        id: Option<OrderId>,
    ) -> Result<(), AskFailed> {
        if self.stage == Stage::Ending {
            return Err(AskFailed::Ending);
        }
        let bridge = self.open_bridge();
        self.control().orders.stop(desk, now, bridge, id)
    }

    /// The call is answered: it is recorded, if a trunk or account of it wants that, and so is what has waited for it.
    pub(super) fn begin_recordings(&mut self, desk: &mut Desk, now: Now) {
        let Some(bridge) = self.open_bridge() else { return };
        let trunks = [Some(self.admitted.trunk), self.trunk_out()];
        let is_wanted = trunks.into_iter().flatten().any(|trunk| self.trunk(trunk).record)
            || self.admitted.account.is_some_and(|account| self.spec.accounts[account].record);
        if self.control.is_none() && !is_wanted {
            return;
        }
        let orders = &mut self.control().orders;
        orders.begin_waiting(desk, now, bridge);
        if is_wanted {
            match orders.record(desk, now, Some(bridge), RecordStart::default()) {
                Ok(recorded) => {
                    self.tell(now, format!("{} is recorded, as the configuration says", recorded.file));
                }
                Err(failed) => tracing::error!(call = %self.id, ?failed, "not recorded"),
            }
        }
    }

    /// Silences legs, or lets them be heard again.
    pub(crate) fn mute(
        &mut self,
        desk: &mut Desk,
        now: Now,
        mute: Mute,
        reply: Reply<Result<(), AskFailed>>,
    ) {
        let Mute { legs, direction, on } = mute;
        let changed = self.change_overlay(desk, |overlay| {
            for (side, _) in legs.each().into_iter().enumerate().filter(|(_, meant)| *meant) {
                if direction != MuteDirection::Out {
                    overlay.says_nothing[side] = on;
                }
                if direction != MuteDirection::In {
                    overlay.hears_nothing[side] = on;
                }
            }
        });
        let bridge = match changed {
            Ok(bridge) => bridge,
            Err(failed) => return reply(Err(failed)),
        };
        self.control().orders.await_media(desk, bridge, Vec::new(), true, reply);
        let (kind, word) = if on { ("call.muted", "muted") } else { ("call.unmuted", "heard again") };
        self.publish(desk, now, kind, &[("leg", legs.name()), ("direction", direction.name())]);
        self.tell(now, format!("{} {word}: {}", legs.name(), direction.name()));
    }

    /// Puts legs on hold, or takes them back.
    pub(crate) fn hold(
        &mut self,
        desk: &mut Desk,
        now: Now,
        hold: &Hold,
        reply: Reply<Result<(), AskFailed>>,
    ) {
        if self.answered.is_none() {
            return reply(Err(NOT_ANSWERED));
        }
        let sides =
            || hold.legs.each().into_iter().enumerate().filter(|(_, meant)| *meant).map(|(side, _)| side);
        let changed =
            self.change_overlay(desk, |overlay| sides().for_each(|side| overlay.held[side] = hold.on));
        let bridge = match changed {
            Ok(bridge) => bridge,
            Err(failed) => return reply(Err(failed)),
        };
        let mut tickets = Vec::new();
        for side in sides() {
            let legs = if side == 0 { Legs::A } else { Legs::B };
            let ports = self.ports_of(legs);
            let control = self.control();
            // Music that played before, or nobody wants any more.
            if let Some(id) = control.music[side].take() {
                let _ = control.orders.stop(desk, now, Some(bridge), Some(id)); // it may have ended by itself
            }
            if let Some((sound, source)) = hold.music.as_ref().filter(|_| hold.on)
                && let Ok((_, ports)) = ports
            {
                let music = Play {
                    legs,
                    sound: sound.clone(),
                    source: source.clone(),
                    mode: PlayMode::Replace,
                    times: None,
                    start: Duration::ZERO,
                    gain_centibel: 0,
                };
                let ports: Vec<_> = ports.into_iter().map(Some).collect();
                if let Ok(id) = control.orders.play(desk, now, bridge, &ports, &music) {
                    control.music[side] = Some(id);
                    tickets.extend(control.orders.tickets(id));
                }
            }
        }
        self.control().orders.await_media(desk, bridge, tickets, true, reply);
        let (kind, word) =
            if hold.on { ("call.held", "on hold") } else { ("call.resumed", "back from hold") };
        self.publish(desk, now, kind, &[("leg", hold.legs.name())]);
        self.tell(now, format!("{} {word}", hold.legs.name()));
    }

    /// Takes its seats in a room, or sits otherwise than before.
    pub(crate) fn join(
        &mut self,
        desk: &mut Desk,
        now: Now,
        join: &Join,
        reply: Reply<Result<RoomView, AskFailed>>,
    ) {
        match self.sit_down(desk, now, join) {
            Ok((bridge, view)) => {
                self.control().orders.await_media(desk, bridge, Vec::new(), true, with(reply, view));
            }
            Err(failed) => reply(Err(failed)),
        }
    }

    fn sit_down(
        &mut self,
        desk: &mut Desk,
        now: Now,
        join: &Join,
    ) -> Result<(BridgeId, RoomView), AskFailed> {
        let (_, ports) = self.ports_of(Legs::Both)?;
        if self.answered.is_none() {
            return Err(NOT_ANSWERED);
        }
        let bridge = self.open_bridge().ok_or(NO_MEDIA)?;
        let [a, b] = ports.try_into().map_err(|_| NO_AUDIO)?;
        if self.control().before.is_some() {
            return Err(WAIT);
        }
        let rooms = std::sync::Arc::clone(&desk.config.shared.rooms);
        if join.ad_hoc {
            let new =
                || NewRoom { id: desk.call_ids.mint(), serial: desk.new_bridge_serial(), created: now.wall };
            let (_, is_new) = rooms.put(&join.room, RoomOptions::default(), true, new).map_err(no_seat)?;
            if is_new {
                tell_room(desk, now, "room.created", &join.room);
            }
        }
        let guest = Guest { call: self.id, bridge, ports: [a, b] };
        let seats = join.legs.each().map(|meant| join.seats.filter(|_| meant));
        let seated = match rooms.join(&join.room, guest, now.wall, seats) {
            Ok(seated) => seated,
            Err(failed) => {
                // A room that was made for nobody.
                if rooms.is_empty(&join.room) && join.ad_hoc {
                    rooms.remove(&join.room);
                }
                return Err(no_seat(failed));
            }
        };
        if seated.is_first {
            open_room(desk, seated.room, &seated.options);
        }
        if self.room().is_some_and(|room| room != join.room) {
            self.leave_room(desk, now);
        }
        let seats = rooms.seats(&join.room, self.id).ok_or(AskFailed::NoRoom)?;
        self.change_overlay(desk, |overlay| overlay.seats = Some((join.room.clone(), seats)))?;
        if !seated.is_old {
            let event = Event::new(now.wall, "room.joined").with("room", &join.room).with("call", self.id);
            desk.config.shared.events.publish(event);
            self.tell(now, format!("joined room {}", join.room));
        }
        Ok((bridge, seated.view))
    }

    /// Leaves its room, or only the named one: its legs hear each other as before.
    pub(crate) fn leave(&mut self, desk: &mut Desk, now: Now, room: Option<&str>) -> Result<(), AskFailed> {
        match self.room() {
            Some(own) if room.is_none_or(|room| own == room) => {
                if self.stage == Stage::Ending {
                    return Err(AskFailed::Ending);
                }
                self.leave_room(desk, now);
                self.send_spec(desk);
                Ok(())
            }
            Some(_) | None => Err(AskFailed::WrongState("the call is not in the room")),
        }
    }

    /// Out of the books of its room; media hears of it by the next spec.
    fn leave_room(&mut self, desk: &mut Desk, now: Now) {
        let Some(control) = self.control.as_deref_mut() else { return };
        if let Some(before) = &mut control.before {
            before.seats = None;
        }
        let Some((room, _)) = control.overlay.seats.take() else { return };
        let closing = desk.config.shared.rooms.leave(&room, self.id);
        let event = Event::new(now.wall, "room.left").with("room", &room).with("call", self.id);
        desk.config.shared.events.publish(event);
        self.tell(now, format!("left room {room}"));
        if let Some(bridge) = closing {
            // The seats are given up first.
            self.send_spec(desk);
            desk.media(bridge.media_shard(), Command::Close { bridge });
        }
    }

    /// The call ends: whoever waits is told so, its seats are free.
    pub(super) fn end_control(&mut self, desk: &mut Desk, now: Now) {
        self.leave_room(desk, now);
        if self.media == Media::Closed {
            self.on_orders_closed(desk, now, Outcome::Closed);
        }
    }

    /// Its media is gone.
    pub(super) fn on_orders_closed(&mut self, desk: &mut Desk, now: Now, outcome: Outcome) {
        let shard = self.bridge.map_or(0, BridgeId::media_shard);
        if let Some(control) = self.control.as_deref_mut() {
            control.before = None;
            control.orders.on_closed(desk, now, shard, outcome);
        }
    }

    /// An order has ended.
    pub(super) fn on_order_ended(&mut self, desk: &Desk, now: Now, ticket: Ticket, ended: Ended) {
        let control = self.control.as_deref_mut();
        if let Some(line) = control.and_then(|control| control.orders.on_ended(desk, now, ticket, ended)) {
            self.tell(now, line);
        }
    }

    /// Media refuses an order or the wanted state.
    pub(super) fn on_unsupported(
        &mut self,
        desk: &mut Desk,
        now: Now,
        ticket: Option<Ticket>,
        what: &'static str,
    ) {
        let line = match (self.control.as_deref_mut(), self.bridge) {
            (Some(control), Some(bridge)) => control.orders.on_unsupported(desk, now, bridge, ticket, what),
            _ => Some(format!("media cannot do: {what}")),
        };
        if let Some(line) = line {
            self.tell(now, line);
        }
    }

    /// A report has come: perhaps somebody waits for what it stands behind.
    pub(super) fn on_fence(&mut self, desk: &mut Desk, now: Now, ticket: Ticket) {
        let Some(control) = self.control.as_deref_mut() else { return };
        match control.orders.on_report(ticket) {
            Verdict::NotOurs | Verdict::Order => {}
            Verdict::Taken => control.before = None,
            Verdict::Refused => {
                let Some(before) = control.before.take() else { return };
                let is_out = control.overlay.seats.is_some() && before.seats.is_none();
                let restored = Overlay { seats: control.overlay.seats.clone(), ..before };
                control.overlay = restored;
                if is_out {
                    self.leave_room(desk, now);
                }
                self.tell(now, "media cannot do what was asked: everything is as before");
                self.send_spec(desk);
            }
        }
    }

    /// A digit came from one side.
    pub(super) fn on_digit(&mut self, desk: &Desk, now: Now, side: Side, digit: char, duration: Duration) {
        let event = Event::new(now.wall, "dtmf.digit")
            .with("call", self.id)
            .with("leg", leg_word(side))
            .with("digit", digit)
            .with("duration_ms", duration.as_millis());
        desk.config.shared.events.publish(event);
        // Digits may be somebody's secret: the timeline only tells that there were some.
        if !core::mem::replace(&mut self.control().digits_noted[side as usize], true) {
            self.tell(now, format!("digits come from {}", name(side)));
        }
    }

    /// A tone that is no digit came from one side.
    pub(super) fn on_signal(&mut self, desk: &Desk, now: Now, side: Side, signal: command::Signal) {
        let word = match signal {
            command::Signal::FaxCalling => "fax_calling",
            command::Signal::FaxAnswer => "fax_answer",
        };
        self.publish(desk, now, "call.signal", &[("leg", leg_word(side)), ("signal", word)]);
        self.tell(now, format!("{} from {}", word.replace('_', " "), name(side)));
    }

    /// The room that it sits in.
    pub(crate) fn room(&self) -> Option<&str> {
        self.control.as_deref()?.overlay.seats.as_ref().map(|(room, _)| room.as_str())
    }

    /// What goes on, for those who look.
    pub(crate) fn order_views(&self) -> Vec<OrderView> {
        self.control.as_deref().map(|control| control.orders.views()).unwrap_or_default()
    }

    /// The bridge and the ports of these legs' speech.
    fn ports_of(&self, legs: Legs) -> Result<(BridgeId, Vec<PortIndex>), AskFailed> {
        if self.stage == Stage::Ending {
            return Err(AskFailed::Ending);
        }
        let bridge = self.open_bridge().ok_or(NO_MEDIA)?;
        let meant = legs.each();
        let ports = self.audio_ports(&self.negotiation.spec());
        let ports: Vec<_> =
            ports.into_iter().zip(meant).filter(|(_, meant)| *meant).map(|(p, _)| p).collect();
        match ports.into_iter().collect::<Option<Vec<PortIndex>>>() {
            Some(ports) => Ok((bridge, ports)),
            None => Err(NO_AUDIO),
        }
    }

    fn open_bridge(&self) -> Option<BridgeId> {
        self.bridge.filter(|_| self.media == Media::Open && self.stage != Stage::Ending)
    }

    /// Changes what lies over the agreed media, unless a change before that is still on its way.
    fn change_overlay(
        &mut self,
        desk: &mut Desk,
        change: impl FnOnce(&mut Overlay),
    ) -> Result<BridgeId, AskFailed> {
        let (bridge, _) = self.ports_of(Legs::Both)?;
        let control = self.control();
        if control.before.is_some() {
            return Err(WAIT);
        }
        control.before = Some(control.overlay.clone());
        change(&mut control.overlay);
        self.send_spec(desk);
        Ok(bridge)
    }

    fn control(&mut self) -> &mut Control {
        let id = self.id;
        self.control
            .get_or_insert_with(|| Box::new(Control { orders: Orders::new(id, None), ..Control::default() }))
    }

    fn publish(&self, desk: &Desk, now: Now, kind: &'static str, fields: &[(&'static str, &str)]) {
        let event = Event::new(now.wall, kind).with("call", self.id);
        let event = fields.iter().fold(event, |event, (name, value)| event.with(name, value));
        desk.config.shared.events.publish(event);
    }
}

/// Answers with this once media has taken it.
pub(crate) fn with<T: Send + 'static>(reply: Reply<Result<T, AskFailed>>, answer: T) -> Answer {
    Box::new(move |done| reply(done.map(|()| answer)))
}

/// The room's bridge comes into being.
pub(crate) fn open_room(desk: &mut Desk, bridge: BridgeId, options: &RoomOptions) {
    desk.media(bridge.media_shard(), Command::Open { bridge, want: Vec::new() });
    set_room(desk, bridge, options);
}

/// What holds for a room.
pub(crate) fn set_room(desk: &mut Desk, bridge: BridgeId, options: &RoomOptions) {
    let room = RoomSpec { talkers: options.talkers, tones: options.tones, tell_talking: true };
    let spec = Box::new(BridgeSpec { room: Some(room), ..BridgeSpec::default() });
    desk.media(bridge.media_shard(), Command::Set { bridge, spec });
}

/// The world hears of a room.
pub(crate) fn tell_room(desk: &Desk, now: Now, kind: &'static str, room: &str) {
    desk.config.shared.events.publish(Event::new(now.wall, kind).with("room", room));
}

pub(crate) fn no_seat(failed: NoSeat) -> AskFailed {
    match failed {
        NoSeat::NoRoom => AskFailed::NoRoom,
        NoSeat::WrongState(why) => AskFailed::WrongState(why),
    }
}

/// `a` or `b`, as the API says it.
pub(crate) fn leg_word(side: Side) -> &'static str {
    match side {
        Side::A => "a",
        Side::B => "b",
    }
}
