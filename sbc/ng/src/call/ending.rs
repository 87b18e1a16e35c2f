//! How a call ends, whoever ends it: everybody who waits is told, media closes, places are given back when its ports are
//! gone.

use super::{Call, Media, What, unknown_call};
use crate::book::{Ended, Left};
use crate::failure::Failure;
use crate::tools::Tools;
use base::{Instant, Now};
use command::{BridgeReport, Command};
use ledger::Event;

impl Call {
    /// Ends the call; the first reason counts, later ones change nothing.
    pub fn end(&mut self, tools: &mut Tools, now: Now, why: Ended) {
        if self.is_over() {
            return;
        }
        self.ended = Some((now, why));
        self.tell(now, What::Ended(why));
        self.close_controls(tools, now);
        let failure = if why == Ended::MediaLost { Failure::Internal } else { Failure::UnknownCall };
        self.give_up_work(tools, now, failure);
        for (request, asked) in core::mem::take(&mut self.queue) {
            tools.answer(now, asked, unknown_call(&request));
        }
        tools.stats.ended.add(&[why.name()], 1);
        let by = match why {
            Ended::Deleted => "caller",
            Ended::Hangup => "operator",
            Ended::Silence | Ended::Unanswered | Ended::MediaLost | Ended::Refused => "engine",
        };
        let event = Event::new(now.wall, "call.ended")
            .with("call", self.id)
            .with("by", by)
            .with("cause", why.name())
            .with("result", if self.answered.is_some() { "answered" } else { "failed" })
            .with("trunk", "ng");
        tools.config.events.publish(event);
        self.close(tools);
        if matches!(self.media, Media::None | Media::Closed) {
            self.leave(tools, now, &BridgeReport::default());
        }
    }

    /// Its first answer has come: the world hears of it.
    pub(super) fn tell_answered(&mut self, tools: &Tools, now: Now) {
        if self.answered.replace(self.answered.unwrap_or(now)).is_none() {
            let event = Event::new(now.wall, "call.answered")
                .with("call", self.id)
                .with("trunk", "ng")
                .with("to", "");
            tools.config.events.publish(event);
        }
    }

    /// Media is told to close, as soon as it is known what it holds.
    pub(super) fn close(&mut self, tools: &mut Tools) {
        if self.media == Media::Open {
            self.media = Media::Closing;
            tools.media(self.bridge, Command::Close { bridge: self.bridge });
        }
    }

    /// Its bridge has closed: because we wanted it, or because media has lost it.
    pub(super) fn on_closed(&mut self, tools: &mut Tools, now: Now, report: &BridgeReport) {
        self.media = Media::Closing;
        self.end(tools, now, Ended::MediaLost);
        self.media = Media::Closed;
        self.leave(tools, now, report);
    }

    /// Its media shard has been restarted: the ports are gone.
    pub fn lose_media(&mut self, tools: &mut Tools, now: Now) {
        if !matches!(self.media, Media::None | Media::Closed) {
            // What we asked for while it was dead may have been opened by its successor.
            tools.media(self.bridge, Command::Close { bridge: self.bridge });
        }
        self.on_closed(tools, now, &BridgeReport::default());
    }

    /// Its ports are gone: places are given back, and what it has seen goes into the book. Happens once.
    pub(super) fn leave(&mut self, tools: &mut Tools, now: Now, report: &BridgeReport) {
        self.answer_awaiting(tools, now, report);
        if self.lease.take().is_none() {
            return;
        }
        let Some((at, ended)) = self.ended else { return };
        let received = report.ports.iter().map(|port| port.received);
        let heard = |party: &command::Party| {
            report.ports.iter().any(|port| port.party == *party && port.received.packets > 0)
        };
        let mut parties: Vec<_> = report.ports.iter().map(|port| port.party).collect();
        parties.sort_unstable();
        parties.dedup();
        tools.config.book.end(
            self.id,
            &Left {
                ended,
                duration: at.mono.since(self.answered.unwrap_or(at).mono),
                packets: received.clone().map(|totals| totals.packets).sum(),
                bytes: received.map(|totals| totals.bytes).sum(),
                errors: report.ports.iter().flat_map(|port| &port.dropped).map(|(_, count)| count).sum(),
                heard: parties.iter().filter(|party| heard(party)).count(),
                is_answered: self.answered.is_some(),
            },
        );
    }

    /// Something of it is due.
    pub fn handle_timeout(&mut self, tools: &mut Tools, now: Now) {
        if !self.is_over() {
            self.remove_deleted(tools, now);
        }
        if !self.is_over() {
            self.remove_unanswered(tools, now);
        }
    }

    /// When something of it is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.is_over() || self.work.is_some() {
            return None;
        }
        self.removal_at()
    }
}
