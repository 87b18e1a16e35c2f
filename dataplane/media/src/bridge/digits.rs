//! Digits that a peer sends as events, and digits towards a peer: as events where it takes them, else as tones over
//! what it hears. Who gets whose is decided elsewhere.

use super::maker::Leave;
use super::sounds::SOUNDS_MAX;
use crate::dtmf::event::{Event, Phase, REORDER, Receiver, Sender};
use crate::dtmf::plan::{Due, Plan};
use crate::dtmf::tones::{Generator, Levels};
use crate::wire::rtp::Header;
use base::{Duration, Instant};
use command::{DigitsTowards, Ended, Outcome, Payload, Ticket};
use std::collections::VecDeque;

/// Level of events that we make, in dBm0 without its sign.
const VOLUME: u8 = 10;
/// Packets of an event are so far apart.
const INTERVAL: Duration = Duration::from_millis(20);

/// Digits that one peer sends as events.
pub(super) struct KeysIn {
    /// Payload types and their clocks.
    types: Vec<(u8, u32)>,
    payloads: Box<[Payload]>,
    receiver: Receiver,
    ssrc: Option<u32>,
    /// When [`KeysIn::poll`] wants to be asked again; others that were planned are stale.
    pub due: Option<Instant>,
    pressed: bool,
}

impl KeysIn {
    /// `None` if nothing of what was negotiated is `telephone-event`.
    pub fn new(payloads: &[Payload]) -> Option<Self> {
        let events = payloads.iter().filter(|payload| payload.encoding == "telephone-event");
        let types: Vec<(u8, u32)> = events.map(|payload| (payload.number, payload.clock)).collect();
        let receiver = Receiver::new(REORDER);
        let payloads = payloads.into();
        (!types.is_empty()).then_some(KeysIn {
            types,
            payloads,
            receiver,
            ssrc: None,
            due: None,
            pressed: false,
        })
    }

    /// Whether it was made for these formats.
    pub fn is_of(&self, payloads: &[Payload]) -> bool {
        *self.payloads == *payloads
    }

    #[inline]
    pub fn knows(&self, payload_type: u8) -> bool {
        self.types.iter().any(|(number, _)| *number == payload_type)
    }

    /// What is no event, or comes too late, is none of a digit.
    pub fn on_packet(&mut self, now: Instant, header: &Header, payload: &[u8]) {
        let Some((_, clock)) = self.types.iter().find(|(number, _)| *number == header.payload_type) else {
            return;
        };
        if self.ssrc.replace(header.ssrc).is_some_and(|before| before != header.ssrc) {
            self.receiver.restart(now);
        }
        // The port counts what cannot be read.
        let _ = self.receiver.handle(now, header, *clock, payload);
    }

    pub fn poll(&mut self, now: Instant) -> Option<Event> {
        let event = self.receiver.poll(now)?;
        self.pressed = event.phase != Phase::End;
        Some(event)
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.receiver.poll_timeout()
    }

    /// Whether a key is down.
    pub fn is_pressed(&self) -> bool {
        self.pressed
    }
}

/// Digits towards one peer.
pub(super) struct KeysOut {
    events: Option<(u8, Sender)>,
    tones: Option<Generator>,
    plans: VecDeque<(Ticket, Plan, Instant)>,
    ended: Vec<(Ticket, Ended)>,
}

impl KeysOut {
    /// As the policy and what was negotiated say. `rate` is that of the samples that tones are written over, `clock`
    /// that of the speech.
    pub fn new(towards: DigitsTowards, payloads: &[Payload], clock: u32, rate: u32) -> Self {
        let of_peer = || payloads.iter().filter(|payload| payload.encoding == "telephone-event");
        let to = of_peer().find(|payload| payload.clock == clock).or_else(|| of_peer().next());
        let (as_events, as_tones) = match towards {
            DigitsTowards::Auto => (to, to.is_none()),
            DigitsTowards::Events => (to, false),
            DigitsTowards::Tones => (None, true),
            DigitsTowards::Nothing => (None, false),
        };
        KeysOut {
            events: as_events.map(|to| (to.number, Sender::new(to.clock, INTERVAL))),
            tones: as_tones.then(|| Generator::new(rate)),
            plans: VecDeque::new(),
            ended: Vec::with_capacity(SOUNDS_MAX),
        }
    }

    /// Takes over what an earlier one still had to send.
    pub fn take_over(&mut self, before: KeysOut) {
        (self.plans, self.ended) = (before.plans, before.ended);
    }

    /// Whether digits can be sent at all.
    pub fn can_send(&self) -> bool {
        self.events.is_some() || self.tones.is_some()
    }

    /// Whether something is still to be sent.
    pub fn is_active(&self) -> bool {
        !self.plans.is_empty()
            || !self.ended.is_empty()
            || self.events.as_ref().is_some_and(|(_, sender)| sender.is_active())
            || self.tones.as_ref().is_some_and(Generator::is_active)
    }

    /// Digits of an order; `false` if too many wait.
    pub fn queue(&mut self, now: Instant, ticket: Ticket, plan: Plan) -> bool {
        let has_room = self.plans.len() + self.ended.len() < SOUNDS_MAX;
        if has_room {
            self.plans.push_back((ticket, plan, now));
        }
        has_room
    }

    /// Ends an order's digits; the one that is down is let go.
    pub fn stop(&mut self, now: Instant, ticket: Ticket) -> Option<Ended> {
        let place = self.plans.iter().position(|(of, ..)| *of == ticket)?;
        let (_, _, begun) = self.plans.remove(place)?;
        if place == 0 {
            if let Some((_, sender)) = &mut self.events {
                sender.release(now);
            }
            if let Some(tones) = &mut self.tones {
                tones.finish(Duration::ZERO);
            }
        }
        Some(Ended::after(Outcome::Stopped, now.since(begun)))
    }

    /// Ends all, for the bridge closes.
    pub fn close(&mut self, now: Instant, mut ended: impl FnMut(Ticket, Ended)) {
        for (ticket, _, begun) in self.plans.drain(..) {
            ended(ticket, Ended::after(Outcome::Closed, now.since(begun)));
        }
        self.ended.drain(..).for_each(|(ticket, how)| ended(ticket, how));
    }

    /// Orders that have ended since this was last asked.
    pub fn poll_ended(&mut self) -> Option<(Ticket, Ended)> {
        self.ended.pop()
    }

    /// Passes on a digit of another peer; `timestamp` is the audio clock of this one.
    pub fn follow(&mut self, now: Instant, event: &Event, timestamp: u32) {
        if let Some((_, sender)) = &mut self.events {
            sender.follow(now, event, timestamp);
        } else if let (Some(tones), Some(digit)) = (&mut self.tones, event.digit()) {
            match event.phase {
                Phase::Begin => tones.start(digit, Levels::default(), None),
                // It began before there was anything to sound it.
                Phase::Update if !tones.is_active() => tones.start(digit, Levels::default(), None),
                Phase::Update => {}
                Phase::End if !tones.is_active() => {
                    tones.start(digit, Levels::default(), Some(event.duration()));
                }
                Phase::End => tones.finish(event.duration()),
            }
        }
    }

    /// What is due in this tick: events are sent, tones are written over what is heard.
    pub fn tick(&mut self, leave: &mut Leave<'_>, timestamp: u32, block: &mut [i16]) {
        let now = leave.now;
        if let Some((ticket, plan, begun)) = self.plans.front_mut() {
            match plan.poll(now) {
                Some(Due::Press(press)) => match (&mut self.events, &mut self.tones) {
                    (Some((_, sender)), _) => {
                        sender.press(now, press.code, VOLUME, timestamp, press.duration);
                    }
                    (None, Some(tones)) => {
                        let digit = crate::dtmf::digit(press.code).unwrap_or('0');
                        tones.start(digit, Levels::default(), Some(press.duration));
                    }
                    (None, None) => {}
                },
                Some(Due::Done) => {
                    let ended = Ended::after(Outcome::Done, now.since(*begun));
                    self.ended.push((*ticket, ended));
                    self.plans.pop_front();
                }
                None => {}
            }
        }
        if let Some((number, sender)) = &mut self.events {
            while let Some(packet) = sender.poll(now) {
                // What cannot be sent now is repeated by the next packet of the event.
                let _ = leave.beside(packet.marker, *number, packet.timestamp, &packet.payload);
            }
        }
        if let Some(tones) = &mut self.tones {
            tones.fill(block);
        }
    }
}
