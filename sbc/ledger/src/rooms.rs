//! Rooms and who sits in them, of all signalling shards: plain data behind a lock that is only taken when somebody
//! joins, leaves or looks. A room is owned by the shard that made it, which gets the events of its media; the media
//! shard that mixes it is that of its first member.

use crate::control::{RecordStart, RoomOptions, SeatOptions};
use crate::id::CallId;
use crate::view::{RoomMember, RoomView};
use base::Wall;
use command::{BridgeId, PortIndex, Seat};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// All rooms of one engine.
#[derive(Debug, Default)]
pub struct Rooms {
    rooms: Mutex<BTreeMap<String, Room>>,
}

#[derive(Debug)]
struct Room {
    id: CallId,
    /// Its bridge's serial at its owner, kept for the day when its media shard is known.
    serial: u64,
    bridge: Option<BridgeId>,
    created: Wall,
    ad_hoc: bool,
    is_closing: bool,
    options: RoomOptions,
    /// Its recording has been begun.
    is_recorded: bool,
    members: BTreeMap<CallId, Member>,
}

#[derive(Debug)]
struct Member {
    bridge: BridgeId,
    ports: [PortIndex; 2],
    joined: Wall,
    seats: [SeatOptions; 2],
}

/// What a new room is called by those who own it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewRoom {
    /// Unique over restarts; carries node and owner.
    pub id: CallId,
    /// Serial of its bridge, of the owner's.
    pub serial: u64,
    /// Now.
    pub created: Wall,
}

/// A call that wants to sit down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guest {
    /// Which.
    pub call: CallId,
    /// Its media.
    pub bridge: BridgeId,
    /// The ports that speech of the caller and the callee goes through.
    pub ports: [PortIndex; 2],
}

/// A call sits in a room now, or otherwise than before.
#[derive(Clone, Debug, PartialEq)]
pub struct Seated {
    /// The room's bridge, which exists on the media shard unless `is_first`.
    pub room: BridgeId,
    /// The room has just got its place in media: the bridge is to be opened.
    pub is_first: bool,
    /// It sat there before.
    pub is_old: bool,
    /// What holds for the room.
    pub options: RoomOptions,
    /// What others see of it.
    pub view: RoomView,
}

/// Why a room cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSeat {
    /// There is none of that name.
    NoRoom,
    /// In words.
    WrongState(&'static str),
}

impl Rooms {
    /// Makes a room, or changes what holds for the one that there is; whether it is new.
    ///
    /// # Errors
    /// It is being ended, or there are too many.
    pub fn put(
        &self,
        name: &str,
        options: RoomOptions,
        ad_hoc: bool,
        new: impl FnOnce() -> NewRoom,
    ) -> Result<(RoomView, bool), NoSeat> {
        let mut rooms = self.lock();
        if let Some(room) = rooms.get_mut(name) {
            if room.is_closing {
                return Err(NoSeat::WrongState(CLOSING));
            }
            // Who asks for a room by a call joins what there is, as it is.
            if !ad_hoc {
                room.options = options;
                room.ad_hoc = false;
            }
            return Ok((room.view(name), false));
        }
        if rooms.len() >= ROOMS_MAX {
            return Err(NoSeat::WrongState("there are as many rooms as there can be"));
        }
        let NewRoom { id, serial, created } = new();
        let room = Room {
            id,
            serial,
            bridge: None,
            created,
            ad_hoc,
            is_closing: false,
            options,
            is_recorded: false,
            members: BTreeMap::new(),
        };
        let view = room.view(name);
        rooms.insert(name.to_owned(), room);
        Ok((view, true))
    }

    /// Seats a call, or changes how it sits: those legs whose options are given.
    ///
    /// # Errors
    /// There is no such room, it is full or being ended, or whom the call coaches is not there.
    pub fn join(
        &self,
        name: &str,
        guest: Guest,
        now: Wall,
        seats: [Option<SeatOptions>; 2],
    ) -> Result<Seated, NoSeat> {
        let mut rooms = self.lock();
        let room = rooms.get_mut(name).ok_or(NoSeat::NoRoom)?;
        if room.is_closing {
            return Err(NoSeat::WrongState(CLOSING));
        }
        let coached = |(call, _): (CallId, u8)| call == guest.call || room.members.contains_key(&call);
        if !seats.iter().flatten().filter_map(|seat| seat.coaches).all(coached) {
            return Err(NoSeat::WrongState("the call that is to be coached is not in the room"));
        }
        let is_old = room.members.contains_key(&guest.call);
        if !is_old && room.members.len() >= MEMBERS_MAX {
            return Err(NoSeat::WrongState("the room is full"));
        }
        let is_first = room.bridge.is_none();
        let bridge = *room.bridge.get_or_insert_with(|| {
            let (shard, owner) = (guest.bridge.media_shard() as u8, room.id.shard() as u8);
            BridgeId::new(room.id.node(), shard, owner, room.serial)
        });
        let Guest { call, bridge: of_call, ports } = guest;
        let member = room.members.entry(call).or_insert_with(|| Member {
            bridge: of_call,
            ports,
            joined: now,
            seats: [SeatOptions::default(); 2],
        });
        (member.bridge, member.ports) = (of_call, ports);
        for (seat, wanted) in member.seats.iter_mut().zip(seats) {
            *seat = wanted.unwrap_or(*seat);
        }
        Ok(Seated { room: bridge, is_first, is_old, options: room.options, view: room.view(name) })
    }

    /// The seats of a call, the caller's first, as media wants them; `None` if it sits in no such room.
    pub fn seats(&self, name: &str, call: CallId) -> Option<[Seat; 2]> {
        let rooms = self.lock();
        let room = rooms.get(name)?;
        let (member, bridge) = (room.members.get(&call)?, room.bridge?);
        Some(member.seats.map(|seat| {
            let coached = seat.coaches.map(|(coached, leg)| {
                let coached = room.members.get(&coached)?;
                Some((coached.bridge, coached.ports[usize::from(leg.min(1))]))
            });
            Seat {
                room: bridge,
                // Whom it coached has left: nobody hears it.
                talks: seat.talks && coached != Some(None),
                hears: seat.hears,
                gain_centibel: seat.gain_centibel,
                coaches: coached.flatten(),
            }
        }))
    }

    /// Takes a call out; the room's bridge, if it is to be closed because nobody is left in a room made for calls.
    pub fn leave(&self, name: &str, call: CallId) -> Option<BridgeId> {
        let mut rooms = self.lock();
        let room = rooms.get_mut(name)?;
        room.members.remove(&call)?;
        if !room.ad_hoc || room.is_closing || !room.members.is_empty() {
            return None;
        }
        room.is_closing = true;
        let bridge = room.bridge;
        if bridge.is_none() {
            rooms.remove(name);
        }
        bridge
    }

    /// Whether a call sits alone in a room that was made for calls that join each other.
    pub fn is_alone(&self, name: &str, call: CallId) -> bool {
        let rooms = self.lock();
        let is_alone = |room: &Room| room.ad_hoc && room.members.keys().eq([&call]);
        rooms.get(name).is_some_and(is_alone)
    }

    /// Whether a room has no place in media, and nobody sits in it.
    pub fn is_empty(&self, name: &str) -> bool {
        self.lock().get(name).is_some_and(|room| room.bridge.is_none() && room.members.is_empty())
    }

    /// Whether there is no room at all.
    pub fn is_none(&self) -> bool {
        self.lock().is_empty()
    }

    /// Rooms of a signalling shard whose recording is to begin now; each comes once.
    pub fn take_to_record(&self, owner: usize) -> Vec<(RoomView, BridgeId, RecordStart)> {
        let mut found = Vec::new();
        for (name, room) in self.lock().iter_mut() {
            if let (Some(bridge), Some(start)) = (room.bridge, room.options.record)
                && room.id.shard() == owner
                && !room.is_closing
                && !core::mem::replace(&mut room.is_recorded, true)
            {
                found.push((room.view(name), bridge, start));
            }
        }
        found
    }

    /// All rooms in the order of their names, or one.
    pub fn list(&self, name: Option<&str>) -> Vec<RoomView> {
        let rooms = self.lock();
        match name {
            Some(name) => rooms.get(name).map(|room| room.view(name)).into_iter().collect(),
            None => rooms.iter().map(|(name, room)| room.view(name)).collect(),
        }
    }

    /// The room that a bridge belongs to, without its members: events of large rooms are many.
    pub fn of_bridge(&self, bridge: BridgeId) -> Option<RoomView> {
        let rooms = self.lock();
        let (name, room) = rooms.iter().find(|(_, room)| room.bridge == Some(bridge))?;
        Some(room.head(name))
    }

    /// The bridge of a room that has one.
    pub fn bridge(&self, name: &str) -> Option<BridgeId> {
        self.lock().get(name)?.bridge
    }

    /// The call in a room whose port it is, and whether it is the caller's (0) or the callee's (1).
    pub fn who(&self, name: &str, (bridge, port): (BridgeId, PortIndex)) -> Option<(CallId, u8)> {
        let rooms = self.lock();
        rooms.get(name)?.members.iter().find(|(_, member)| member.bridge == bridge).map(|(call, member)| {
            let leg = u8::from(member.ports[0] != port);
            (*call, leg)
        })
    }

    /// Nobody may join any more.
    pub fn begin_close(&self, name: &str) {
        if let Some(room) = self.lock().get_mut(name) {
            room.is_closing = true;
        }
    }

    /// The room has ended.
    pub fn remove(&self, name: &str) {
        let removed = self.lock().remove(name);
        drop(removed);
    }

    /// A signalling shard has died: its rooms have no owner, its calls sit nowhere.
    pub fn forget_shard(&self, node: u8, shard: usize) {
        let of_it = |id: &CallId| id.node() == node && id.shard() == shard;
        let mut rooms = self.lock();
        rooms.retain(|_, room| !of_it(&room.id));
        for room in rooms.values_mut() {
            room.members.retain(|call, _| !of_it(call));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Room>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    fn view(&self, name: &str) -> RoomView {
        let member = |(call, member): (&CallId, &Member)| RoomMember {
            call: *call,
            joined: member.joined,
            seats: member.seats,
        };
        RoomView { members: self.members.iter().map(member).collect(), ..self.head(name) }
    }

    /// All but who sits in it.
    fn head(&self, name: &str) -> RoomView {
        RoomView {
            name: name.to_owned(),
            id: self.id,
            created: self.created,
            ad_hoc: self.ad_hoc,
            is_closing: self.is_closing,
            options: self.options,
            media_shard: self.bridge.map(BridgeId::media_shard),
            owner: self.id.shard(),
            members: Vec::new(),
        }
    }
}

const CLOSING: &str = "the room is being ended";
/// Rooms at a time.
pub const ROOMS_MAX: usize = 4_096;
/// Calls in one room.
pub const MEMBERS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::CallIds;

    fn ids(shard: u8) -> CallIds {
        CallIds::new(Wall(1_795_248_116_500_000), 0, shard)
    }

    fn guest(call: CallId, media: u8, serial: u64) -> Guest {
        let bridge = BridgeId::new(0, media, call.shard() as u8, serial);
        Guest { call, bridge, ports: [PortIndex(0), PortIndex(1)] }
    }

    fn room(rooms: &Rooms, name: &str, ad_hoc: bool) -> RoomView {
        let new = || NewRoom { id: ids(1).mint(), serial: 99, created: Wall(5) };
        rooms.put(name, RoomOptions::default(), ad_hoc, new).unwrap().0
    }

    #[test]
    fn a_room_gets_its_place_in_media_with_its_first_member() {
        let (rooms, mut ids) = (Rooms::default(), ids(0));
        let made = room(&rooms, "blue", false);
        assert_eq!((made.media_shard, made.owner), (None, 1));
        let (a, b) = (ids.mint(), ids.mint());
        let first = rooms.join("blue", guest(a, 3, 1), Wall(6), [None; 2]).unwrap();
        assert_eq!((first.is_first, first.is_old, first.room), (true, false, BridgeId::new(0, 3, 1, 99)));
        let second = rooms.join("blue", guest(b, 3, 2), Wall(7), [None; 2]).unwrap();
        assert!(!second.is_first);
        assert_eq!(second.view.members.len(), 2);
        assert_eq!(rooms.of_bridge(second.room).map(|room| (room.id, room.members)), Some((made.id, vec![])));
        let elsewhere = rooms.join("blue", guest(ids.mint(), 2, 3), Wall(8), [None; 2]).unwrap();
        assert_eq!((elsewhere.is_first, elsewhere.room), (false, first.room), "the room stays where it is");
        assert_eq!(elsewhere.view.media_shard, Some(3));
        assert_eq!(rooms.join("red", guest(a, 3, 1), Wall(9), [None; 2]).unwrap_err(), NoSeat::NoRoom);
    }

    #[test]
    fn a_seat_keeps_what_is_not_said_anew() {
        let (rooms, call) = (Rooms::default(), ids(0).mint());
        room(&rooms, "blue", false);
        let quiet = SeatOptions { talks: false, ..SeatOptions::default() };
        rooms.join("blue", guest(call, 0, 1), Wall(6), [Some(quiet), None]).unwrap();
        let loud = SeatOptions { gain_centibel: 300, ..SeatOptions::default() };
        assert!(rooms.join("blue", guest(call, 0, 1), Wall(7), [None, Some(loud)]).unwrap().is_old);
        let [a, b] = rooms.seats("blue", call).unwrap();
        assert_eq!((a.talks, a.gain_centibel, b.talks, b.gain_centibel), (false, 0, true, 300));
    }

    #[test]
    fn who_coaches_is_heard_by_one_leg_and_by_nobody_when_that_has_left() {
        let (rooms, mut ids) = (Rooms::default(), ids(0));
        room(&rooms, "blue", false);
        let (agent, coach) = (ids.mint(), ids.mint());
        let coaches = Some(SeatOptions { coaches: Some((agent, 1)), ..SeatOptions::default() });
        let early = rooms.join("blue", guest(coach, 0, 2), Wall(1), [coaches, None]);
        assert!(matches!(early, Err(NoSeat::WrongState(_))), "{early:?}");
        rooms.join("blue", guest(agent, 0, 1), Wall(1), [None; 2]).unwrap();
        rooms.join("blue", guest(coach, 0, 2), Wall(1), [coaches, None]).unwrap();
        let seat = &rooms.seats("blue", coach).unwrap()[0];
        assert_eq!((seat.talks, seat.coaches), (true, Some((guest(agent, 0, 1).bridge, PortIndex(1)))));
        rooms.leave("blue", agent);
        let seat = &rooms.seats("blue", coach).unwrap()[0];
        assert_eq!((seat.talks, seat.coaches), (false, None));
    }

    #[test]
    fn a_room_made_by_calls_ends_with_the_last_and_one_made_by_name_stays() {
        let (rooms, mut ids) = (Rooms::default(), ids(0));
        let (a, b) = (ids.mint(), ids.mint());
        for (name, ad_hoc) in [("calls", true), ("named", false)] {
            room(&rooms, name, ad_hoc);
            rooms.join(name, guest(a, 0, 1), Wall(6), [None; 2]).unwrap();
            rooms.join(name, guest(b, 0, 2), Wall(6), [None; 2]).unwrap();
            assert_eq!((rooms.leave(name, a), rooms.is_alone(name, b)), (None, ad_hoc));
        }
        let bridge = rooms.leave("calls", b);
        assert_eq!((bridge, rooms.bridge("named")), (rooms.bridge("calls"), rooms.bridge("named")));
        let closing = rooms.join("calls", guest(a, 0, 1), Wall(7), [None; 2]).unwrap_err();
        assert_eq!(closing, NoSeat::WrongState(CLOSING), "its media is still going");
        rooms.remove("calls");
        assert_eq!((rooms.leave("named", b), rooms.list(None).len()), (None, 1));
    }

    #[test]
    fn a_shard_that_dies_takes_its_rooms_and_its_calls_along() {
        let rooms = Rooms::default();
        room(&rooms, "blue", false);
        let (of_0, of_2) = (ids(0).mint(), ids(2).mint());
        rooms.join("blue", guest(of_0, 0, 1), Wall(6), [None; 2]).unwrap();
        rooms.join("blue", guest(of_2, 0, 2), Wall(6), [None; 2]).unwrap();
        rooms.forget_shard(0, 2);
        let members: Vec<CallId> = rooms.list(Some("blue"))[0].members.iter().map(|m| m.call).collect();
        assert_eq!(members, [of_0]);
        rooms.forget_shard(0, 1);
        assert_eq!(rooms.list(None), []);
    }
}
