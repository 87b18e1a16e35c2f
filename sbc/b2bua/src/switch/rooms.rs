//! What is asked of the media of calls and rooms: finds the call or room that is meant, and looks after rooms, which
//! belong to no call. A room is owned by the shard that made it; its members may belong to any.

use super::Switch;
use crate::call::control::{no_seat, set_room, tell_room, with};
use crate::call::{Call, Release};
use crate::desk::Desk;
use crate::orders::Orders;
use base::{Key, Now};
use command::{BridgeId, Command, Event, Outcome};
use ledger::rooms::NewRoom;
use ledger::{
    Ask, AskFailed, CallId, ForkStart, Hold, Join, Mute, OrderId, Play, RecordAsk, Recorded, Reply,
    RoomOptions, RoomView, SendDigits, Subject,
};
use sdp::Side;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rooms of this shard in which something goes on, by the room's id.
pub(super) type RoomOrders = BTreeMap<CallId, Orders>;

impl Switch {
    /// A question about media.
    pub(super) fn handle_media_ask(&mut self, now: Now, ask: Ask) {
        match ask {
            Ask::Play(Subject::Call(id), play, reply) => self.in_call(id, reply, |call, desk, reply| {
                call.play(desk, now, &play, reply);
            }),
            Ask::Play(Subject::Room(name), play, reply) => self.play_in_room(now, &name, &play, reply),
            Ask::Stop(Subject::Call(id), order, reply) => self.in_call(id, reply, |call, desk, reply| {
                reply(call.stop_order(desk, now, order));
            }),
            Ask::Stop(Subject::Room(name), order, reply) => {
                reply(self.own_room(&name).and_then(|(room, bridge)| {
                    let (orders, desk) = self.room_orders(&room);
                    orders.stop(desk, now, bridge, order)
                }));
            }
            Ask::Dtmf(id, digits, reply) => self.in_call(id, reply, |call, desk, reply| {
                let digits: &SendDigits = &digits;
                call.send_digits(desk, now, digits, reply);
            }),
            Ask::Record(Subject::Call(id), record, reply) => self.in_call(id, reply, |call, desk, reply| {
                call.record_media(desk, now, record, reply);
            }),
            Ask::Record(Subject::Room(name), record, reply) => {
                self.record_room(now, &name, record, reply);
            }
            Ask::Fork(Subject::Call(id), fork, reply) => self.in_call(id, reply, |call, desk, reply| {
                call.fork_media(desk, now, &fork, reply);
            }),
            Ask::Fork(Subject::Room(name), fork, reply) => self.fork_room(now, &name, &fork, reply),
            Ask::Mute(id, mute, reply) => self.in_call(id, reply, |call, desk, reply| {
                let mute: Mute = mute;
                call.mute(desk, now, mute, reply);
            }),
            Ask::Hold(id, hold, reply) => self.in_call(id, reply, |call, desk, reply| {
                let hold: &Hold = &hold;
                call.hold(desk, now, hold, reply);
            }),
            Ask::Join(id, join, reply) => {
                self.in_call(id, reply, |call, desk, reply| {
                    let join: &Join = &join;
                    call.join(desk, now, join, reply);
                });
                self.begin_room_recordings(now);
            }
            Ask::Leave(id, room, reply) => self.in_call(id, reply, |call, desk, reply| {
                reply(call.leave(desk, now, room.as_deref()));
            }),
            Ask::PutRoom(name, options, reply) => reply(self.put_room(now, &name, options)),
            Ask::Rooms(name, reply) => reply(self.desk.config.shared.rooms.list(name.as_deref())),
            Ask::CloseRoom(name, reply) => reply(self.close_room(now, &name)),
            Ask::List(..)
            | Ask::Show(..)
            | Ask::Trace(..)
            | Ask::Hangup(..)
            | Ask::Explain(..)
            | Ask::Drain(_)
            | Ask::HangupAll
            | Ask::Panic => {}
        }
    }

    fn in_call<T>(
        &mut self,
        id: CallId,
        reply: Reply<Result<T, AskFailed>>,
        act: impl FnOnce(&mut Call, &mut Desk, Reply<Result<T, AskFailed>>),
    ) {
        let Some(key) = self.by_id.get(&id).copied() else { return reply(Err(AskFailed::NoCall)) };
        if self.calls.get(key).is_some_and(Call::is_ending) {
            return reply(Err(AskFailed::Ending));
        }
        self.with_call(key, |call, desk| act(call, desk, reply));
    }

    fn play_in_room(&mut self, now: Now, name: &str, play: &Play, reply: Reply<Result<OrderId, AskFailed>>) {
        let (room, bridge) = match self.open_room(name) {
            Ok(found) => found,
            Err(failed) => return reply(Err(failed)),
        };
        let (orders, desk) = self.room_orders(&room);
        match orders.play(desk, now, bridge, &[None], play) {
            Ok(id) => {
                let tickets = orders.tickets(id);
                orders.await_media(desk, bridge, tickets, false, with(reply, id));
            }
            Err(failed) => reply(Err(failed)),
        }
    }

    fn fork_room(
        &mut self,
        now: Now,
        name: &str,
        fork: &ForkStart,
        reply: Reply<Result<OrderId, AskFailed>>,
    ) {
        let (room, bridge) = match self.open_room(name) {
            Ok(found) => found,
            Err(failed) => return reply(Err(failed)),
        };
        let (orders, desk) = self.room_orders(&room);
        match orders.fork(desk, now, bridge, fork) {
            Ok(id) => {
                let tickets = orders.tickets(id);
                orders.await_media(desk, bridge, tickets, false, with(reply, id));
            }
            Err(failed) => reply(Err(failed)),
        }
    }

    fn record_room(
        &mut self,
        now: Now,
        name: &str,
        ask: RecordAsk,
        reply: Reply<Result<Recorded, AskFailed>>,
    ) {
        let (room, bridge) = match self.open_room(name) {
            Ok(found) => found,
            Err(failed) => return reply(Err(failed)),
        };
        let (orders, desk) = self.room_orders(&room);
        let done = match ask {
            RecordAsk::Start(start) => orders
                .record(desk, now, Some(bridge), start)
                .map(|recorded| (orders.tickets(recorded.id), recorded)),
            RecordAsk::Stop(id) => {
                orders.stop_recording(desk, now, Some(bridge), id).map(|recorded| (Vec::new(), recorded))
            }
            RecordAsk::Pause(id) | RecordAsk::Resume(id) => {
                let pause = matches!(ask, RecordAsk::Pause(_));
                orders.pause(desk, now, bridge, id, pause).map(|(recorded, tickets)| (tickets, recorded))
            }
        };
        match done {
            Ok((tickets, recorded)) if !tickets.is_empty() => {
                orders.await_media(desk, bridge, tickets, false, with(reply, recorded));
            }
            Ok((_, recorded)) => reply(Ok(recorded)),
            Err(failed) => reply(Err(failed)),
        }
    }

    fn put_room(
        &mut self,
        now: Now,
        name: &str,
        options: RoomOptions,
    ) -> Result<(RoomView, bool), AskFailed> {
        let rooms = Arc::clone(&self.desk.config.shared.rooms);
        let new = || NewRoom {
            id: self.desk.call_ids.mint(),
            serial: self.desk.new_bridge_serial(),
            created: now.wall,
        };
        let (view, is_new) = rooms.put(name, options, false, new).map_err(no_seat)?;
        match rooms.bridge(name) {
            // Whoever is asked may say what holds; only events are its owner's.
            Some(bridge) => set_room(&mut self.desk, bridge, &options),
            None if is_new => tell_room(&self.desk, now, "room.created", name),
            None => {}
        }
        self.begin_room_recordings(now);
        Ok((view, is_new))
    }

    /// Ends the calls of this shard that sit in a room, and the room itself if it is this shard's; whether there is one.
    fn close_room(&mut self, now: Now, name: &str) -> bool {
        let rooms = Arc::clone(&self.desk.config.shared.rooms);
        let Some(view) = rooms.list(Some(name)).pop() else { return false };
        rooms.begin_close(name);
        let members: Vec<Key> =
            view.members.iter().filter_map(|member| self.by_id.get(&member.call).copied()).collect();
        for key in members {
            self.with_call(key, |call, desk| {
                call.tell(now, format!("room {name} is ended"));
                call.release(desk, now, Release::operator());
            });
        }
        if self.owns(&view) {
            match rooms.bridge(name) {
                Some(bridge) => self.desk.media(bridge.media_shard(), Command::Close { bridge }),
                None => self.forget_room(now, &view, Outcome::Closed),
            }
        }
        true
    }

    /// Something of a room's bridge.
    pub(super) fn handle_room_media(&mut self, now: Now, bridge: BridgeId, event: &Event) {
        let Some(room) = self.desk.config.shared.rooms.of_bridge(bridge) else { return };
        match *event {
            Event::Ended { ticket, ended, .. } => {
                let (orders, desk) = self.room_orders(&room);
                orders.on_ended(desk, now, ticket, ended);
            }
            Event::Unsupported { ticket, what, .. } => {
                let (orders, desk) = self.room_orders(&room);
                if orders.on_unsupported(desk, now, bridge, ticket, what).is_some() {
                    tracing::warn!(room = %room.name, what, "media cannot do what a room wants");
                }
            }
            Event::Report { ticket, .. } => {
                self.room_orders(&room).0.on_report(ticket);
            }
            Event::Talking { who, on, .. } => self.tell_talking(now, &room, who, on),
            Event::Closed { .. } => self.forget_room(now, &room, Outcome::Closed),
            Event::Started { .. }
            | Event::Opened { .. }
            | Event::Refused { .. }
            | Event::Learned { .. }
            | Event::Foreign { .. }
            | Event::OneSideSilent { .. }
            | Event::Silent { .. }
            | Event::Digit { .. }
            | Event::Signal { .. } => {}
        }
    }

    /// A media shard has died, and with it the rooms that it mixed.
    pub(super) fn on_rooms_lost(&mut self, now: Now, shard: usize) {
        for room in self.desk.config.shared.rooms.list(None) {
            if room.media_shard != Some(shard) {
                continue;
            }
            // Calls whose own media lives elsewhere hear each other directly again.
            let seated = |call: &Call| call.room() == Some(room.name.as_str());
            let left: Vec<Key> =
                self.calls.iter().filter(|(_, call)| seated(call)).map(|(key, _)| key).collect();
            for key in left {
                self.with_call(key, |call, desk| {
                    let _ = call.leave(desk, now, None); // it may be ending, and leaves so
                });
            }
            if self.owns(&room) {
                self.forget_room(now, &room, Outcome::Failed);
            }
        }
    }

    /// Calls that sit alone in a room that was made for calls to meet hear each other directly again.
    pub(super) fn tend_rooms(&mut self, now: Now) {
        if self.desk.config.shared.rooms.is_none() {
            return;
        }
        let rooms = Arc::clone(&self.desk.config.shared.rooms);
        let is_alone = |call: &Call| call.room().is_some_and(|room| rooms.is_alone(room, call.id));
        let alone: Vec<Key> =
            self.calls.iter().filter(|(_, call)| is_alone(call)).map(|(key, _)| key).collect();
        for key in alone {
            self.with_call(key, |call, desk| {
                let _ = call.leave(desk, now, None); // it may be ending, and leaves so
            });
        }
        self.begin_room_recordings(now);
    }

    /// Rooms that are to be recorded from their first member on.
    fn begin_room_recordings(&mut self, now: Now) {
        let shard = usize::from(self.desk.config.shard);
        let rooms = Arc::clone(&self.desk.config.shared.rooms);
        for (room, bridge, start) in rooms.take_to_record(shard) {
            let (orders, desk) = self.room_orders(&room);
            if let Err(failed) = orders.record(desk, now, Some(bridge), start) {
                tracing::error!(room = %room.name, ?failed, "room is not recorded");
            }
        }
    }

    fn tell_talking(&self, now: Now, room: &RoomView, who: (BridgeId, command::PortIndex), on: bool) {
        let shared = &self.desk.config.shared;
        let Some((call, leg)) = shared.rooms.who(&room.name, who) else { return };
        let side = if leg == 0 { Side::A } else { Side::B };
        let event = ledger::Event::new(now.wall, "room.talking").with("room", &room.name).with("call", call);
        let event = event.with("leg", crate::call::control::leg_word(side)).with("on", on);
        shared.events.publish(event);
    }

    /// A room has ended.
    fn forget_room(&mut self, now: Now, room: &RoomView, outcome: Outcome) {
        if let Some(mut orders) = self.room_orders.remove(&room.id) {
            orders.on_closed(&mut self.desk, now, room.media_shard.unwrap_or(0), outcome);
        }
        self.desk.config.shared.rooms.remove(&room.name);
        tell_room(&self.desk, now, "room.ended", &room.name);
    }

    /// A room of this shard, and its bridge if it has one.
    fn own_room(&self, name: &str) -> Result<(RoomView, Option<BridgeId>), AskFailed> {
        let rooms = &self.desk.config.shared.rooms;
        let view = rooms.list(Some(name)).pop().ok_or(AskFailed::NoRoom)?;
        if view.is_closing {
            return Err(AskFailed::WrongState("the room is being ended"));
        }
        if !self.owns(&view) {
            return Err(AskFailed::Elsewhere(view.owner));
        }
        Ok((view, rooms.bridge(name)))
    }

    /// A room of this shard that has media.
    fn open_room(&self, name: &str) -> Result<(RoomView, BridgeId), AskFailed> {
        let (view, bridge) = self.own_room(name)?;
        Ok((view, bridge.ok_or(AskFailed::WrongState("nobody has joined the room yet"))?))
    }

    fn room_orders(&mut self, room: &RoomView) -> (&mut Orders, &mut Desk) {
        let new = || Orders::new(room.id, Some(room.name.clone()));
        (self.room_orders.entry(room.id).or_insert_with(new), &mut self.desk)
    }

    fn owns(&self, room: &RoomView) -> bool {
        room.owner == usize::from(self.desk.config.shard) && room.id.node() == self.desk.config.node
    }
}

#[cfg(test)]
mod world; // a switch with peers who behave
#[cfg(test)]
mod tests; // what is asked, and what comes of it
#[cfg(test)]
mod between; // sides that want different media
