//! One call: two legs, the media between them, and where it stands. `setup` to `failover` bring it up, `midcall` and
//! `offer` change it, `ending` takes it down and writes its records. It never sees a socket; all that it does goes through the desk.
mod setup; // from the INVITE of the caller to that of the callee
mod ports; // where media is bound, and what waits for it
mod ringing; // what the callee says before it answers
mod answer; // the answer, and what the caller is told
mod choose; // who is called next
mod failover; // attempts that fail
mod midcall; // requests within the call
pub(crate) mod control; // what is asked of a call that is up, by the API
mod digits; // digits by INFO, both ways
mod offer; // offers that pass from one side to the other, once the call is up
mod ending; // BYE, CANCEL, failures; records

pub(crate) use choose::{Trunks, refusal_of};
pub use ending::Release;
pub(crate) use ending::with_phrase;
pub(crate) use setup::{Held, escape_strictly, escape_user};

use crate::admit::Admitted;
use crate::desk::{Desk, Hop, Token, What};
use crate::judge::Who;
use crate::leg::Leg;
use crate::spec::{Route, Spec, Trunk};
use crate::trace::Step;
use base::{Instant, Key, Now, Wall};
use command::{BridgeId, BridgeReport, Command, Event, OpenRefusal, Outcome, RemoteTag, Ticket};
use control::Control;
use core::net::IpAddr;
use ledger::{AskFailed, CallId, CallView, Lease, Reply};
use offer::{Exchange, Late, Pass, Reoffer};
use policy::fraud::{Money, Ticket as Counted};
use routing::group::Shape;
use routing::health::Pass as Trial;
use sdp::{Negotiation, Side};
use sip::flow::Flow;
use sip::message::{Message, Method};
use sip::stack::{ClientTx, ServerTx};
use std::collections::VecDeque;
use std::sync::Arc;

/// One call.
pub struct Call {
    pub key: Key,
    pub id: CallId,
    pub(crate) spec: Arc<Spec>,
    pub(crate) admitted: Box<Admitted>,
    pub(crate) stage: Stage,
    pub(crate) a: Leg,
    pub(crate) b: Option<Leg>,
    /// The SDP of the caller's INVITE; none for a late offer, and none any more once the call is answered.
    offer: Option<Arc<[u8]>>,
    /// Where the call may still be tried.
    plan: Plan,
    /// Who is being called, once somebody has been chosen.
    pub(crate) chosen: Option<Chosen>,
    pub(crate) bridge: Option<BridgeId>,
    pub(crate) media: Media,
    pub(crate) negotiation: Negotiation,
    /// Where the ports of each side are bound: a family each.
    a_bind: Option<IpAddr>,
    b_bind: Option<IpAddr>,
    /// The remote that speaks for side B: its leg and fork.
    b_tag: RemoteTag,
    /// An offer that waits for its answer, once the call is up.
    exchange: Option<Exchange>,
    /// An offer that came in a 2xx and is answered in an ACK.
    late: Option<Late>,
    /// INFO and MESSAGE on their way.
    passes: Vec<Pass>,
    /// Digits that go out by INFO; most calls have none.
    digits: Option<Box<digits::Outgoing>>,
    /// An offer of ours that is still to be made.
    reoffer: Option<Reoffer>,
    /// The places that the call holds whoever is called.
    lease_in: Option<Lease>,
    /// The places that the current attempt holds.
    lease_out: Option<Lease>,
    /// The call in the tables of fraud; gone once it is over there.
    ticket: Option<Counted>,
    /// What the call has cost, once it is over.
    money: Money,
    pub(crate) answered: Option<Now>,
    pub(crate) release: Option<Release>,
    report: Option<Box<BridgeReport>>,
    records_written: bool,
    pub(crate) timeline: Vec<(Wall, String)>,
    pub(crate) steps: Vec<Step>,
    shows: Vec<(Ticket, Reply<Result<CallView, AskFailed>>)>,
    /// The call ends here at the latest.
    max_at: Option<Instant>,
    /// The call must be answered by then: a callee that rings for ever may have gone (RFC 3261 timer C).
    setup_until: Option<Instant>,
    /// The next target is tried if this one has not said anything by then.
    no_answer_at: Option<Instant>,
    /// When the wheel will wake this call next.
    pub(crate) alarm: Instant,
    one_way_noted: bool,
    /// What was asked of its media by the API, if anything was.
    control: Option<Box<Control>>,
}

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A target is being looked up.
    Resolving,
    /// Ports are being opened.
    Opening,
    /// The INVITE is out.
    Calling,
    /// Answered.
    Up,
    /// Over; waiting for last answers and the media report.
    Ending,
}

/// Where the call's bridge stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    /// There is none (yet).
    None,
    /// Ports have been asked for: so many for A and for B.
    Opening { a: usize, b: usize },
    /// Open.
    Open,
    /// Being closed.
    Closing,
    /// Closed, or lost with its shard.
    Closed,
}

/// Who is being called.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// Index of the trunk.
    pub trunk: usize,
    /// Index of the group that it was chosen from.
    pub group: Option<usize>,
    /// What its line wants of numbers and host.
    pub shape: Shape,
    /// What its health is told how the attempt went with.
    pub trial: Option<Trial>,
}

/// What of the way to the callee is left.
#[derive(Debug, Default)]
struct Plan {
    /// Trunks that have been called.
    tried: Vec<usize>,
    /// The next of the trunk's targets to look up.
    next_target: usize,
    /// Addresses of the current target that are left.
    hops: VecDeque<Hop>,
    /// Where the current attempt went.
    hop: Option<Hop>,
    attempts: u16,
    /// A stream has failed for this hop: datagrams, however large.
    no_stream: bool,
    last_failure: Option<u16>,
    /// The interval that the callee wants at least (422), if it has said so.
    min_se: Option<u32>,
}

/// Lines of a timeline that a call keeps.
const TIMELINE_MAX: usize = 40;

impl Call {
    pub(crate) fn trunk(&self, index: usize) -> &Trunk {
        &self.spec.trunks[index]
    }

    /// Index of the trunk that the call goes to, once one has been chosen.
    pub(crate) fn trunk_out(&self) -> Option<usize> {
        self.chosen.as_ref().map(|chosen| chosen.trunk)
    }

    /// The route that it takes.
    pub(crate) fn route(&self) -> &Route {
        &self.spec.routes[self.admitted.route]
    }

    /// Who makes it.
    pub(crate) fn who(&self) -> Who {
        Who { trunk: self.admitted.trunk, account: self.admitted.account }
    }

    pub(crate) fn leg(&self, side: Side) -> Option<&Leg> {
        match side {
            Side::A => Some(&self.a),
            Side::B => self.b.as_ref(),
        }
    }

    pub(crate) fn leg_mut(&mut self, side: Side) -> Option<&mut Leg> {
        match side {
            Side::A => Some(&mut self.a),
            Side::B => self.b.as_mut(),
        }
    }

    /// The side of a leg number; `None` for an attempt that has been given up.
    fn side_of(&self, leg: u16) -> Option<Side> {
        match leg {
            0 => Some(Side::A),
            _ if self.b.as_ref().is_some_and(|b| b.number == leg) => Some(Side::B),
            _ => None,
        }
    }

    /// A line for people.
    pub(crate) fn tell(&mut self, now: Now, text: impl Into<String>) {
        if self.timeline.len() < TIMELINE_MAX {
            self.timeline.push((now.wall, text.into()));
        }
    }

    /// A request within the call, already matched to a leg by its To tag.
    pub fn handle_request(
        &mut self,
        desk: &mut Desk,
        now: Now,
        tx: ServerTx,
        leg: u16,
        flow: &Flow,
        message: &Message<'_>,
    ) {
        let Some(side) = self.side_of(leg).filter(|side| self.is_of_dialog(*side, message)) else {
            return self.reply_plainly(desk, now, tx, flow, message, 481);
        };
        desk.note(&mut self.steps, now, self.key, leg, true, message.raw());
        self.on_request(desk, now, tx, side, flow, message);
    }

    /// An ACK for a 2xx of ours.
    pub fn handle_ack(&mut self, desk: &mut Desk, now: Now, leg: u16, message: &Message<'_>) {
        let Some(side) = self.side_of(leg) else { return };
        desk.note(&mut self.steps, now, self.key, leg, true, message.raw());
        self.on_ack(desk, now, side, message);
    }

    /// CANCEL of an INVITE of this call, already matched.
    pub fn handle_cancel(
        &mut self,
        desk: &mut Desk,
        now: Now,
        cancel: ServerTx,
        invite: ServerTx,
        flow: &Flow,
        message: &Message<'_>,
    ) {
        desk.note(&mut self.steps, now, self.key, 0, true, message.raw());
        self.reply_plainly(desk, now, cancel, flow, message, 200);
        if !desk.stack.is_unanswered(invite) {
            return; // Too late: the 2xx has gone out, so the caller will send BYE.
        }
        if self.a.invite.as_ref().is_some_and(|i| i.tx == invite) {
            // Perhaps the callee has answered by now and our 200 waits for a PRACK: nobody knows of it yet.
            return self.release(desk, now, Release::cancelled(message));
        }
        self.on_cancelled_offer(desk, now, invite);
    }

    /// A response to a request of this call.
    pub fn handle_response(
        &mut self,
        desk: &mut Desk,
        now: Now,
        token: Token,
        flow: &Flow,
        message: &Message<'_>,
    ) {
        desk.note(&mut self.steps, now, self.key, token.leg, true, message.raw());
        let Some(side) = self.side_of(token.leg) else {
            return self.on_stale_response(desk, now, token, flow, message);
        };
        let code = message.status().unwrap_or_default();
        match token.what {
            What::Invite => self.on_invite_response(desk, now, flow, message),
            What::Bye => {
                if code >= 200
                    && let Some(leg) = self.leg_mut(side)
                {
                    leg.bye = None;
                }
            }
            What::Prack => {}
            What::Offer => self.on_offer_response(desk, now, side, message),
            What::Refresh => self.on_refresh_response(desk, now, side, message),
            What::Pass => self.on_pass_response(desk, now, side, message),
            What::Digit => {
                if code >= 200 {
                    self.on_digit_told(desk, now, side);
                }
            }
            What::Probe | What::Tarpit => {} // of no call
        }
    }

    /// A request of ours got no final answer, or did not arrive.
    pub fn handle_failure(&mut self, desk: &mut Desk, now: Now, tx: ClientTx, token: Token, transport: bool) {
        let Some(side) = self.side_of(token.leg) else { return };
        match token.what {
            What::Invite => self.on_invite_failed(desk, now, transport),
            What::Bye => {
                if let Some(leg) = self.leg_mut(side) {
                    leg.bye = None;
                }
            }
            // RFC 3261 section 12.2.1.2: a peer that does not answer has lost the dialog.
            What::Offer | What::Refresh => {
                self.tell(now, format!("{} does not answer", name(side)));
                self.release(desk, now, Release::engine("peer_lost", 408));
            }
            What::Prack | What::Probe | What::Tarpit => {}
            What::Pass => self.on_pass_failed(desk, now, tx),
            What::Digit => self.on_digit_told(desk, now, side),
        }
    }

    /// Something of the bridge.
    pub fn handle_media(&mut self, desk: &mut Desk, now: Now, event: Event) {
        match event {
            Event::Opened { ports, .. } => self.on_opened(desk, now, &ports),
            Event::Refused { why, .. } => self.on_ports_refused(desk, now, why),
            Event::Closed { report, .. } => {
                self.media = Media::Closed;
                self.report = Some(report);
                self.answer_shows(desk, None);
                self.on_orders_closed(desk, now, Outcome::Closed);
                if self.stage != Stage::Ending {
                    self.release(desk, now, Release::engine("media_failed", 500));
                }
            }
            Event::Report { ticket, report, .. } => {
                self.answer_shows(desk, Some((ticket, &report)));
                self.on_fence(desk, now, ticket);
            }
            Event::Silent { silent, .. } => {
                self.tell(now, format!("no media from any side for {} s", silent.as_secs()));
                self.release(desk, now, Release::engine("media_timeout", 0));
            }
            Event::OneSideSilent { port, silent, .. } => {
                let side = self.side_of_port(port);
                self.tell(now, format!("no media from {} for {} s", name(side), silent.as_secs()));
                self.note_one_way(desk, side);
                let trunk = self.leg(side).map(|l| l.trunk);
                if trunk.is_some_and(|t| self.trunk(t).one_ends) {
                    self.release(desk, now, Release::engine("media_timeout", 0));
                }
            }
            Event::Learned { port, rtcp: false, source, moved, .. } => {
                let side = self.side_of_port(port);
                let verb = if moved { "moved to" } else { "comes from" };
                self.tell(now, format!("media of {} {verb} {source}", name(side)));
            }
            Event::Foreign { port, source, .. } => {
                let side = self.side_of_port(port);
                self.tell(
                    now,
                    format!(
                        "media of {} from foreign source {source} dropped; option `learn` decides",
                        name(side)
                    ),
                );
            }
            Event::Unsupported { ticket, what, .. } => self.on_unsupported(desk, now, ticket, what),
            Event::Ended { ticket, ended, .. } => self.on_order_ended(desk, now, ticket, ended),
            Event::Digit { port, digit, duration, .. } => {
                let side = self.side_of_port(port);
                self.on_digit(desk, now, side, digit, duration);
                self.tell_digit(desk, now, side, digit, duration);
            }
            Event::Signal { port, signal, .. } => {
                self.on_signal(desk, now, self.side_of_port(port), signal);
            }
            Event::Started { .. } | Event::Learned { .. } | Event::Talking { .. } => {}
        }
    }

    /// The media shard has died and all its bridges with it.
    pub fn handle_media_lost(&mut self, desk: &mut Desk, now: Now) {
        if let Some(bridge) = self.bridge {
            // What we asked for while it was dead may have been opened by its successor.
            desk.media(bridge.media_shard(), Command::Close { bridge });
        }
        self.media = Media::Closed;
        self.answer_shows(desk, None);
        self.on_orders_closed(desk, now, Outcome::Failed);
        self.tell(now, "the media shard has failed");
        self.release(desk, now, Release::engine("media_failed", 500));
    }

    /// Something may be due.
    pub fn handle_timeout(&mut self, desk: &mut Desk, now: Now) {
        if self.stage != Stage::Ending {
            if self.no_answer_at.is_some_and(|at| at <= now.mono) {
                self.on_no_answer(desk, now);
            }
            if self.setup_until.is_some_and(|at| at <= now.mono) {
                self.setup_until = None;
                self.tell(now, "not answered in time");
                self.release(desk, now, Release::failed(408));
            }
            if self.max_at.is_some_and(|at| at <= now.mono) {
                self.max_at = None;
                self.tell(now, "the longest allowed duration is over");
                self.release(desk, now, Release::engine("max_duration", 0));
            }
            if self.reoffer_due().is_some_and(|at| at <= now.mono) {
                self.make_reoffer(desk, now);
            }
        }
        for side in [Side::A, Side::B] {
            self.on_leg_timeout(desk, now, side);
        }
    }

    /// When to wake, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let next = self.no_answer_at.filter(|_| self.stage != Stage::Ending).map(|at| (at, "no_answer"));
        let setup = self.setup_until.filter(|_| self.stage != Stage::Ending).map(|at| (at, "timer_c"));
        let max = self.max_at.filter(|_| self.stage != Stage::Ending).map(|at| (at, "max_duration"));
        let reoffer = self.reoffer_due().map(|at| (at, "reoffer"));
        let legs = [Some(&self.a), self.b.as_ref()].into_iter().flatten().filter_map(Leg::poll_timeout);
        legs.chain(next).chain(setup).chain(reoffer).chain(max).min_by_key(|(at, _)| *at)
    }

    /// Somebody wants to see the call; answered when the media shard has reported.
    pub fn show(&mut self, desk: &mut Desk, reply: Reply<Result<CallView, AskFailed>>) {
        const SHOWS_MAX: usize = 16;
        match self.bridge {
            Some(bridge) if self.media == Media::Open && self.shows.len() < SHOWS_MAX => {
                let ticket = desk.new_ticket();
                desk.media(bridge.media_shard(), Command::Report { bridge, ticket });
                self.shows.push((ticket, reply));
            }
            _ => reply(Ok(self.view(desk, self.report.as_deref()))),
        }
    }

    fn answer_shows(&mut self, desk: &Desk, report: Option<(Ticket, &BridgeReport)>) {
        let shows = core::mem::take(&mut self.shows);
        for (ticket, reply) in shows {
            match report {
                Some((answered, report)) if answered == ticket => reply(Ok(self.view(desk, Some(report)))),
                Some(_) => self.shows.push((ticket, reply)),
                None => reply(Ok(self.view(desk, self.report.as_deref()))),
            }
        }
    }

    /// Whether the switch may forget it.
    pub fn is_gone(&self) -> bool {
        self.stage == Stage::Ending
            && self.records_written
            && self.a.is_done()
            && self.b.as_ref().is_none_or(Leg::is_done)
    }

    /// Sends the wanted state to the media shard: what the sides have agreed, and on top what was asked of this call
    /// (mute, hold, rooms). The one place that does.
    pub(crate) fn send_spec(&mut self, desk: &mut Desk) {
        if let Some(bridge) = self.bridge
            && self.media == Media::Open
        {
            let mut spec = Box::new(self.negotiation.spec());
            self.overlay(&mut spec);
            desk.media(bridge.media_shard(), Command::Set { bridge, spec });
        }
    }

    fn is_of_dialog(&self, side: Side, message: &Message<'_>) -> bool {
        let Some(leg) = self.leg(side) else { return false };
        match &leg.dialog {
            Some(dialog) => dialog.matches(message),
            None => leg.forks.iter().any(|fork| fork.dialog.matches(message)),
        }
    }

    fn side_of_port(&self, port: command::PortIndex) -> Side {
        let spec = self.negotiation.spec();
        match spec.ports.iter().find(|p| p.port == port).map(|p| p.party) {
            Some(party) if party == Side::B.party() => Side::B,
            _ => Side::A,
        }
    }

    fn note_one_way(&mut self, desk: &Desk, side: Side) {
        if !core::mem::replace(&mut self.one_way_noted, true)
            && let Some(leg) = self.leg(side)
        {
            desk.stats.one_way.add(&[&self.trunk(leg.trunk).name], 1);
        }
    }

    /// A reply with nothing in it but what every reply has.
    fn reply_plainly(
        &mut self,
        desk: &mut Desk,
        now: Now,
        tx: ServerTx,
        flow: &Flow,
        message: &Message<'_>,
        code: u16,
    ) {
        let mut writer =
            sip::message::write::Writer::reply_from(message, flow.remote, code, Some(&self.a.local_tag));
        match code {
            405 => drop(writer.header("Allow", crate::headers::ALLOW)),
            200 if message.method() == Method::Options => {
                writer.header("Allow", crate::headers::ALLOW).header("Accept", crate::headers::SDP);
                writer.header("Supported", "timer, 100rel");
            }
            _ => {}
        }
        desk.respond(now, tx, code, writer.finish());
    }

    fn on_ports_refused(&mut self, desk: &mut Desk, now: Now, why: OpenRefusal) {
        use crate::refusal::Refusal;
        let refusal = match why {
            OpenRefusal::NoDescriptors => Refusal::NoDescriptors,
            OpenRefusal::NoPorts | OpenRefusal::NoListener | OpenRefusal::Full => Refusal::NoPorts,
        };
        self.tell(now, format!("no media port: {}", refusal.name()));
        match self.stage {
            Stage::Opening => {
                self.media = if self.negotiation.lines_open(Side::A) > 0 { Media::Open } else { Media::None };
                self.release(desk, now, Release::refused(refusal, self.route().texts));
            }
            // What is open already is being closed, and its report is still to come.
            Stage::Ending => {}
            Stage::Resolving | Stage::Calling | Stage::Up => {
                self.media = if self.negotiation.lines_open(Side::A) > 0 { Media::Open } else { Media::None };
                self.on_offer_ports_refused(desk, now, refusal);
            }
        }
    }
}

impl PartialOrd for Stage {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        (*self as u8).partial_cmp(&(*other as u8))
    }
}

/// `A` or `B`.
pub(crate) fn name(side: Side) -> &'static str {
    match side {
        Side::A => "A",
        Side::B => "B",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_small() {
        // A B leg lies inside. What peers wrote (dialogs, SDP, records) comes on top.
        assert!(size_of::<Call>() <= 3_904, "{} with legs of {}", size_of::<Call>(), size_of::<Leg>());
    }
}
