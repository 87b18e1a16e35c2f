//! What was asked of the media of one bridge, a call's or a room's, and goes on: sounds, digits, recordings, forks. Sends the
//! orders, holds back answers until media has taken or refused them, and tells the world how they began and ended.

use crate::desk::Desk;
use base::{Duration, Now, Wall};
use command::{BridgeId, Command, Ended, FileFormat, Fork, Order, Outcome, PortIndex, Recording, Ticket};
use ledger::view::OrderView;
use ledger::{
    AskFailed, CallId, Event, ForkStart, OrderId, Play, RecordFrom, RecordStart, Recorded, RecordingRow,
    RecordingState,
};
use std::collections::BTreeMap;

/// Orders of one bridge.
#[derive(Default)]
pub(crate) struct Orders {
    /// The call or room.
    pub of: CallId,
    /// The room's name.
    pub room: Option<String>,
    made: u32,
    running: Vec<Running>,
    asked: Vec<Asked>,
}

/// Tells whoever asked: media has taken it, or why not.
pub(crate) type Answer = Box<dyn FnOnce(Result<(), AskFailed>) + Send>;

/// Something that goes on.
struct Running {
    id: OrderId,
    kind: Kind,
    /// The sound's name, the recording's file, or where the fork goes.
    what: String,
    since: Wall,
    /// Of the orders that have not ended: one for each leg. None of a recording that waits for the answer.
    tickets: Vec<Ticket>,
    ended: Option<Ended>,
}

enum Kind {
    Play,
    Dtmf,
    Record { start: RecordStart, paused: bool },
    Fork,
}

/// A question whose answer waits for media.
struct Asked {
    /// A report that is asked for behind the orders: media answers in order, so what was not refused before was taken.
    fence: Ticket,
    tickets: Vec<Ticket>,
    /// It is about the wanted state.
    is_spec: bool,
    refused: Option<&'static str>,
    answer: Answer,
}

/// A recording or fork whose call or room is gone: its file is still being written, its last samples are being sent.
pub(crate) struct Late {
    of: CallId,
    room: Option<String>,
    /// Of its media.
    shard: usize,
    order: Running,
}

/// How a question about the wanted state came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The report is not of ours.
    NotOurs,
    /// It was about orders.
    Order,
    /// Media has taken the wanted state.
    Taken,
    /// Media has refused the wanted state, or an order that came with it.
    Refused,
}

/// Orders of one bridge that may go on at a time.
pub(crate) const RUNNING_MAX: usize = 32;
/// Recordings that may be written out behind their calls; of more the end is told at once, without a length.
const LATE_MAX: usize = 4_096;
/// Questions that may wait for media at a time.
const ASKED_MAX: usize = 16;
const ASKED_ENOUGH: AskFailed = AskFailed::WrongState("too many questions wait for the media of this call");
/// Receivers cannot tell digits apart with less between them (RFC 4733 section 2.5.1.4, Q.24).
const GAP_MIN_MS: u16 = 40;

impl Orders {
    pub(crate) fn new(of: CallId, room: Option<String>) -> Orders {
        Orders { of, room, ..Orders::default() }
    }

    /// Plays a sound on each of these ports; `None` is the whole room.
    pub(crate) fn play(
        &mut self,
        desk: &mut Desk,
        now: Now,
        bridge: BridgeId,
        ports: &[Option<PortIndex>],
        play: &Play,
    ) -> Result<OrderId, AskFailed> {
        self.check_room()?;
        let id = self.new_id();
        let order = |port: &Option<PortIndex>| Order::Play {
            port: *port,
            sound: play.sound.clone(),
            mode: play.mode,
            times: play.times,
            start: play.start,
            gain_centibel: play.gain_centibel,
        };
        let tickets = ports.iter().map(|port| send(desk, bridge, order(port))).collect();
        let event = self.event(now, "play.started").with("id", id).with("leg", play.legs.name());
        desk.config.shared.events.publish(event.with("source", &play.source));
        self.run(now, id, Kind::Play, play.source.clone(), tickets);
        Ok(id)
    }

    /// Sends digits on each of these ports.
    pub(crate) fn dtmf(
        &mut self,
        desk: &mut Desk,
        now: Now,
        bridge: BridgeId,
        ports: &[PortIndex],
        digits: &ledger::SendDigits,
    ) -> Result<OrderId, AskFailed> {
        self.check_room()?;
        let id = self.new_id();
        let order = |port: &PortIndex| Order::Dtmf {
            port: *port,
            digits: digits.digits.clone(),
            duration_ms: digits.duration_ms,
            gap_ms: digits.gap_ms.max(GAP_MIN_MS),
        };
        let tickets = ports.iter().map(|port| send(desk, bridge, order(port))).collect();
        let event = self.event(now, "dtmf.started").with("id", id).with("leg", digits.legs.name());
        desk.config.shared.events.publish(event);
        self.run(now, id, Kind::Dtmf, format!("{} digits", digits.digits.len()), tickets);
        Ok(id)
    }

    /// It is done already: media has no part in it.
    pub(crate) fn end_now(&mut self, desk: &Desk, now: Now, id: OrderId) {
        if let Some(at) = self.running.iter().position(|order| order.id == id) {
            let mut order = self.running.remove(at);
            order.ended = Some(Ended::after(Outcome::Done, Duration::ZERO));
            self.tell_ended(desk, now, &order);
        }
    }

    /// Begins a recording; without a bridge it waits for [`Orders::begin_waiting`].
    pub(crate) fn record(
        &mut self,
        desk: &mut Desk,
        now: Now,
        bridge: Option<BridgeId>,
        start: RecordStart,
    ) -> Result<Recorded, AskFailed> {
        self.check_room()?;
        let id = self.new_id();
        let extension = match start.format {
            FileFormat::Wav => "wav",
            FileFormat::OggOpus => "opus",
        };
        let file = format!("{id}.{extension}");
        self.run(now, id, Kind::Record { start, paused: false }, file.clone(), Vec::new());
        if let Some(bridge) = bridge {
            self.begin(desk, now, bridge, Some(id));
        }
        Ok(Recorded { id, file })
    }

    /// Sends what is said elsewhere.
    pub(crate) fn fork(
        &mut self,
        desk: &mut Desk,
        now: Now,
        bridge: BridgeId,
        start: &ForkStart,
    ) -> Result<OrderId, AskFailed> {
        self.check_room()?;
        let id = self.new_id();
        let fork = Fork {
            id: id.to_string(),
            room: self.room.clone(),
            to: start.to.clone(),
            layout: start.layout,
            rate: start.rate,
        };
        let ticket = send(desk, bridge, Order::Fork(fork));
        let event = self.event(now, "fork.started").with("id", id).with("to", &start.target);
        desk.config.shared.events.publish(event);
        self.run(now, id, Kind::Fork, start.target.clone(), vec![ticket]);
        Ok(id)
    }

    /// There is something to record: what has waited for that begins.
    pub(crate) fn begin_waiting(&mut self, desk: &mut Desk, now: Now, bridge: BridgeId) {
        self.begin(desk, now, bridge, None);
    }

    /// Begins one recording, or all that have waited.
    fn begin(&mut self, desk: &mut Desk, now: Now, bridge: BridgeId, only: Option<OrderId>) {
        let mut begun = Vec::new();
        for order in &mut self.running {
            if let Kind::Record { start, .. } = &order.kind
                && order.tickets.is_empty()
                && only.is_none_or(|only| only == order.id)
            {
                let recording = recording(order.id, *start);
                order.tickets.push(send(desk, bridge, recording));
                order.since = now.wall;
                begun.push((order.id, order.what.clone(), *start));
            }
        }
        for (id, file, start) in begun {
            let event = self.event(now, "recording.started").with("id", id).with("file", &file);
            desk.config.shared.events.publish(event);
            desk.config.shared.recordings.note(RecordingRow {
                id,
                room: self.room.clone(),
                file,
                started: now.wall,
                layout: start.layout,
                format: start.format,
                state: RecordingState::Recording,
                length: Duration::ZERO,
                lost: Duration::ZERO,
                metadata: None,
            });
        }
    }

    /// Pauses a recording or lets it go on.
    pub(crate) fn pause(
        &mut self,
        desk: &mut Desk,
        now: Now,
        bridge: BridgeId,
        id: Option<OrderId>,
        pause: bool,
    ) -> Result<(Recorded, Vec<Ticket>), AskFailed> {
        self.check_questions()?;
        let at = self.find_recording(id)?;
        let order = &mut self.running[at];
        let Kind::Record { paused, .. } = &mut order.kind else { return Err(AskFailed::NoOrder) };
        let recorded = Recorded { id: order.id, file: order.what.clone() };
        let Some(started) = order.tickets.first().copied() else {
            return Err(AskFailed::WrongState("the recording has not begun: the call is not answered"));
        };
        if *paused == pause {
            return Ok((recorded, Vec::new()));
        }
        *paused = pause;
        let ticket =
            send(desk, bridge, if pause { Order::Pause { started } } else { Order::Resume { started } });
        let (kind, state) = match pause {
            true => ("recording.paused", RecordingState::Paused),
            false => ("recording.resumed", RecordingState::Recording),
        };
        desk.config.shared.recordings.change(recorded.id, |row| row.state = state);
        let event = self.event(now, kind).with("id", recorded.id).with("file", &recorded.file);
        desk.config.shared.events.publish(event);
        Ok((recorded, vec![ticket]))
    }

    /// Ends a recording: that one, or the one that there is.
    pub(crate) fn stop_recording(
        &mut self,
        desk: &mut Desk,
        now: Now,
        bridge: Option<BridgeId>,
        id: Option<OrderId>,
    ) -> Result<Recorded, AskFailed> {
        let at = self.find_recording(id)?;
        let recorded = Recorded { id: self.running[at].id, file: self.running[at].what.clone() };
        self.stop_at(desk, now, bridge, at);
        Ok(recorded)
    }

    /// Ends what was asked for; all sounds and digits if nothing is named.
    pub(crate) fn stop(
        &mut self,
        desk: &mut Desk,
        now: Now,
        bridge: Option<BridgeId>,
        id: Option<OrderId>,
    ) -> Result<(), AskFailed> {
        let Some(id) = id else {
            let is_sound = |order: &Running| !matches!(order.kind, Kind::Record { .. } | Kind::Fork);
            for order in self.running.iter().filter(|order| is_sound(order)) {
                order.stop(desk, bridge);
            }
            return Ok(());
        };
        let at = self.running.iter().position(|order| order.id == id).ok_or(AskFailed::NoOrder)?;
        self.stop_at(desk, now, bridge, at);
        Ok(())
    }

    fn stop_at(&mut self, desk: &mut Desk, now: Now, bridge: Option<BridgeId>, at: usize) {
        self.running[at].stop(desk, bridge);
        if self.running[at].tickets.is_empty() {
            // It has not begun: nobody will tell of its end.
            let order = self.running.remove(at);
            self.tell_ended(desk, now, &order);
        }
    }

    /// Whether media may be asked one thing more.
    fn check_questions(&self) -> Result<(), AskFailed> {
        if self.asked.len() < ASKED_MAX { Ok(()) } else { Err(ASKED_ENOUGH) }
    }

    /// Whoever asked is answered when media has seen all that was sent so far.
    pub(crate) fn await_media(
        &mut self,
        desk: &mut Desk,
        bridge: BridgeId,
        tickets: Vec<Ticket>,
        is_spec: bool,
        answer: Answer,
    ) {
        // What changes the spec comes one at a time, and must be answered to be undone.
        if !is_spec && self.asked.len() >= ASKED_MAX {
            return answer(Err(ASKED_ENOUGH));
        }
        let fence = desk.new_ticket();
        desk.media(bridge.media_shard(), Command::Report { bridge, ticket: fence });
        self.asked.push(Asked { fence, tickets, is_spec, refused: None, answer });
    }

    /// The tickets of an order that goes on.
    pub(crate) fn tickets(&self, id: OrderId) -> Vec<Ticket> {
        self.running
            .iter()
            .find(|order| order.id == id)
            .map(|order| order.tickets.clone())
            .unwrap_or_default()
    }

    /// Media has refused an order (or, without a ticket, the wanted state); a line for people if nobody asked for it.
    pub(crate) fn on_unsupported(
        &mut self,
        desk: &mut Desk,
        now: Now,
        bridge: BridgeId,
        ticket: Option<Ticket>,
        what: &'static str,
    ) -> Option<String> {
        let is_about = |asked: &&mut Asked| match ticket {
            Some(ticket) => asked.tickets.contains(&ticket),
            None => asked.is_spec && asked.refused.is_none(),
        };
        let asked = self.asked.iter_mut().find(is_about);
        let is_awaited = asked.is_some();
        if let Some(asked) = asked {
            asked.refused = Some(what);
        }
        let at =
            ticket.and_then(|ticket| self.running.iter().position(|order| order.tickets.contains(&ticket)));
        if let Some(at) = at {
            let mut order = self.running.remove(at);
            order.tickets.retain(|other| Some(*other) != ticket);
            order.stop(desk, Some(bridge)); // what the other leg would hear all the same
            order.ended = Some(Ended::after(Outcome::Failed, Duration::ZERO));
            self.tell_ended(desk, now, &order);
        }
        (!is_awaited).then(|| format!("media cannot do: {what}"))
    }

    /// An order has ended; a line for people if that was all of it.
    pub(crate) fn on_ended(&mut self, desk: &Desk, now: Now, ticket: Ticket, ended: Ended) -> Option<String> {
        let at = self.running.iter().position(|order| order.tickets.contains(&ticket))?;
        let order = &mut self.running[at];
        order.tickets.retain(|other| *other != ticket);
        order.ended = Some(match order.ended {
            None => ended,
            Some(before) => Ended {
                outcome: if ended.outcome == Outcome::Done { before.outcome } else { ended.outcome },
                length: before.length.max(ended.length),
                lost: before.lost + ended.lost,
            },
        });
        if !order.tickets.is_empty() {
            return None;
        }
        let order = self.running.remove(at);
        Some(self.tell_ended(desk, now, &order))
    }

    /// A report has come: if it is the one that a question waits for, whoever asked is answered.
    pub(crate) fn on_report(&mut self, ticket: Ticket) -> Verdict {
        let Some(at) = self.asked.iter().position(|asked| asked.fence == ticket) else {
            return Verdict::NotOurs;
        };
        let asked = self.asked.remove(at);
        (asked.answer)(asked.refused.map_or(Ok(()), |what| Err(AskFailed::Unsupported(what))));
        match (asked.is_spec, asked.refused) {
            (false, _) => Verdict::Order,
            (true, None) => Verdict::Taken,
            (true, Some(_)) => Verdict::Refused,
        }
    }

    /// The bridge, which was on this media shard, is no more: whatever goes on has ended, whoever waits is told so. The
    /// end of a recording is told when its file is whole.
    pub(crate) fn on_closed(&mut self, desk: &mut Desk, now: Now, shard: usize, outcome: Outcome) {
        for asked in core::mem::take(&mut self.asked) {
            (asked.answer)(Err(AskFailed::Ending));
        }
        for mut order in core::mem::take(&mut self.running) {
            if let (Outcome::Closed, Kind::Record { .. } | Kind::Fork, [_]) =
                (outcome, &order.kind, &order.tickets[..])
                && desk.late.len() < LATE_MAX
            {
                let late = Late { of: self.of, room: self.room.clone(), shard, order };
                desk.late.insert(late.order.tickets[0], late);
                continue;
            }
            let gone = Ended::after(outcome, Duration::ZERO);
            order.ended.get_or_insert(gone);
            self.tell_ended(desk, now, &order);
        }
    }

    /// What goes on, for those who look.
    pub(crate) fn views(&self) -> Vec<OrderView> {
        let view = |order: &Running| OrderView {
            id: order.id,
            kind: order.kind.name(),
            what: order.what.clone(),
            since: order.since,
            paused: matches!(order.kind, Kind::Record { paused: true, .. }),
        };
        self.running.iter().map(view).collect()
    }

    /// The event of a call or room.
    pub(crate) fn event(&self, now: Now, kind: &'static str) -> Event {
        match &self.room {
            Some(room) => Event::new(now.wall, kind).with("room", room),
            None => Event::new(now.wall, kind).with("call", self.of),
        }
    }

    fn check_room(&self) -> Result<(), AskFailed> {
        match self.running.len() < RUNNING_MAX && self.asked.len() < ASKED_MAX {
            true => Ok(()),
            false => {
                Err(AskFailed::WrongState("as many sounds, digits, recordings and forks go on here as may"))
            }
        }
    }

    fn new_id(&mut self) -> OrderId {
        self.made += 1;
        OrderId { of: self.of, number: self.made }
    }

    fn run(&mut self, now: Now, id: OrderId, kind: Kind, what: String, tickets: Vec<Ticket>) {
        self.running.push(Running { id, kind, what, since: now.wall, tickets, ended: None });
    }

    /// The recording that is meant: the named one, else the only one.
    fn find_recording(&self, id: Option<OrderId>) -> Result<usize, AskFailed> {
        let is_meant =
            |order: &Running| matches!(order.kind, Kind::Record { .. }) && id.is_none_or(|id| order.id == id);
        let mut found = (0..self.running.len()).filter(|at| is_meant(&self.running[*at]));
        match (found.next(), found.next()) {
            (Some(at), None) => Ok(at),
            (Some(_), Some(_)) => Err(AskFailed::WrongState("several recordings run: name one by its id")),
            (None, _) if id.is_some() => Err(AskFailed::NoOrder),
            (None, _) => Err(AskFailed::WrongState("nothing is being recorded")),
        }
    }

    /// The world hears how something ended; a line of it for people.
    fn tell_ended(&self, desk: &Desk, now: Now, order: &Running) -> String {
        let gone = Ended::after(Outcome::Stopped, Duration::ZERO);
        let Ended { outcome, length, lost } = order.ended.unwrap_or(gone);
        let kind = match order.kind {
            Kind::Play => "play.ended",
            Kind::Dtmf => "dtmf.ended",
            Kind::Record { .. } => "recording.ended",
            Kind::Fork => "fork.ended",
        };
        let mut event = self.event(now, kind).with("id", order.id).with("outcome", outcome_name(outcome));
        event = event.with("length_ms", length.as_millis());
        if let Kind::Fork = order.kind {
            event = event.with("to", &order.what).with("lost_ms", lost.as_millis());
        }
        if let Kind::Record { .. } = order.kind {
            event = event.with("file", &order.what).with("lost_ms", lost.as_millis());
            let state = match outcome {
                Outcome::Done | Outcome::Stopped | Outcome::Closed => RecordingState::Done,
                Outcome::Failed => RecordingState::Failed,
            };
            desk.config.shared.recordings.change(order.id, |row| {
                (row.state, row.length, row.lost) = (state, length, lost);
            });
            if lost > Duration::ZERO {
                tracing::error!(id = %order.id, lost_ms = lost.as_millis(), "recording has gaps");
            }
        }
        desk.config.shared.events.publish(event);
        let lost =
            if lost > Duration::ZERO { format!(", {} ms lost", lost.as_millis()) } else { String::new() };
        let (what, outcome) = (&order.what, outcome_name(outcome));
        format!("{} of {what} {outcome} after {} ms{lost}", order.kind.name(), length.as_millis())
    }
}

impl Late {
    /// The file of a recording is whole; whether it was one of these.
    pub(crate) fn end(desk: &mut Desk, now: Now, ticket: Ticket, ended: Ended) -> bool {
        let Some(late) = desk.late.remove(&ticket) else { return false };
        late.tell(desk, now, ended);
        true
    }

    /// A media shard has died: nobody will tell of its files.
    pub(crate) fn lose(desk: &mut Desk, now: Now, shard: usize) {
        let (lost, kept) =
            core::mem::take(&mut desk.late).into_iter().partition(|(_, late)| late.shard == shard);
        desk.late = kept;
        let lost: BTreeMap<Ticket, Late> = lost;
        let ended = Ended::after(Outcome::Failed, Duration::ZERO);
        lost.into_values().for_each(|late| late.tell(desk, now, ended));
    }

    fn tell(self, desk: &Desk, now: Now, ended: Ended) {
        let Late { of, room, mut order, .. } = self;
        order.ended = Some(ended);
        Orders::new(of, room).tell_ended(desk, now, &order);
    }
}

impl Running {
    fn stop(&self, desk: &mut Desk, bridge: Option<BridgeId>) {
        let Some(bridge) = bridge else { return };
        for started in &self.tickets {
            send(desk, bridge, Order::Stop { started: *started });
        }
    }
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Kind::Play => "play",
            Kind::Dtmf => "dtmf",
            Kind::Record { .. } => "record",
            Kind::Fork => "fork",
        }
    }
}

fn send(desk: &mut Desk, bridge: BridgeId, order: Order) -> Ticket {
    let ticket = desk.new_ticket();
    desk.media(bridge.media_shard(), Command::Order { bridge, ticket, order });
    ticket
}

fn recording(id: OrderId, start: RecordStart) -> Order {
    let RecordStart { layout, format, rate, mask_digits, from } = start;
    Order::Record(Recording {
        // Below the recorder's folder. Ids are digits and a dash: no name of a client's ever comes near a path.
        path: id.to_string(),
        layout,
        format,
        rate,
        mask_digits,
        from_first_packet: from == RecordFrom::FirstPacket,
    })
}

/// Stable word.
fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::Stopped => "stopped",
        Outcome::Closed => "closed",
        Outcome::Failed => "failed",
    }
}
