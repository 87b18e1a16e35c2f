//! What a phone does in a call: sets it up from either side, changes it, ends it.

use super::super::plan::Plan;
use super::Phone;
use super::description::Remote;
use base::{Duration, Instant};
use sip::frame::Framing;
use sip::message::Message;
use sip::message::write::Writer;
use std::collections::BTreeMap;

/// One dialog of a phone; a callee that forks has several in a call.
pub struct Dialog {
    /// Of the call, as it was dialled.
    pub number: u32,
    pub is_caller: bool,
    pub call_id: Vec<u8>,
    pub state: State,
    pub end: Option<End>,
    pub plan: Plan,
    pub has_vanished: bool,
    pub rtp_port: u16,
    pub rtp_heard: u64,
    pub codec_heard: Option<u8>,
    /// What the other side said last of its media.
    pub remote: Option<Remote>,
    /// What happened: status of an answer or method of a request, in order.
    pub heard: Vec<(Instant, String)>,
    /// The final answer to the INVITE, with its header section.
    pub answer_text: String,
    pub ring_text: String,
    /// The engine said that it does not know this dialog.
    pub lost: Option<String>,
    pub(super) sip: Option<sip::dialog::Dialog>,
    pub(super) local_tag: Vec<u8>,
    pub(super) remote_tag: Vec<u8>,
    /// The caller's INVITE.
    pub(super) invite: Option<usize>,
    pub(super) direction: &'static str,
    pub(super) codecs: Vec<u8>,
    pub(super) version: u32,
    /// Our INVITE or UPDATE with an offer, or for one.
    pub(super) offer_out: Option<usize>,
    /// A re-INVITE or UPDATE of the engine that we think about.
    pub(super) offer_in: Option<usize>,
    pub(super) unacked: Option<Unacked>,
    pub(super) acks: BTreeMap<u32, Vec<u8>>,
    pub(super) reliable: Option<Reliable>,
    pub(super) rseq: u32,
    pub(super) rseq_heard: Option<u32>,
    pub(super) session: Option<(u32, bool)>,
    pub(super) session_serial: u32,
    pub(super) rtp_sequence: u16,
    pub(super) rtp_runs: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Calling,
    Early,
    Up,
    Ended,
}

/// How a dialog ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Refused(u16),
    Cancelled,
    ByeSent,
    ByeHeard,
    /// The engine did not answer, or no longer knew it.
    Lost,
    /// Nobody refreshed the session.
    Expired,
    NoAck,
}

/// A 2xx of ours without its ACK.
pub(super) struct Unacked {
    pub(super) cseq: u32,
    pub(super) bytes: Vec<u8>,
    pub(super) gap: Duration,
    /// It had the offer.
    pub(super) wants_answer: bool,
}

pub(super) struct Reliable {
    pub(super) rseq: u32,
    pub(super) bytes: Vec<u8>,
    pub(super) gap: Duration,
}

/// What an entry of the agenda is; its number is that of a client, a server or a dialog.
#[derive(Clone, Copy, Debug)]
pub enum Todo {
    ClientResend,
    ClientGiveUp,
    LosePatience,
    ServerResend,
    ServerGiveUp,
    Answer(usize),
    AnswerOffer,
    TakeBack,
    Cancel,
    Act(usize),
    Bye,
    Vanish,
    Rtp,
    Refresh(u32),
    Expire(u32),
    Repeat2xx(u32),
    LoseAck(u32),
    RepeatReliable(u32),
    LosePrack(u32),
}

pub(super) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, INFO, MESSAGE";

impl Phone {
    pub(super) fn act(&mut self, now: Instant, id: usize, todo: Todo) {
        match todo {
            Todo::ClientResend => self.on_client_resend(now, id),
            Todo::ClientGiveUp => self.on_client_give_up(now, id),
            Todo::LosePatience => self.cancel(now, id),
            Todo::TakeBack => self.cancel(now, id),
            Todo::ServerResend => self.on_server_resend(now, id),
            Todo::ServerGiveUp => self.servers[id].is_acked = true,
            Todo::Answer(step) => self.on_answer_step(now, id, step),
            Todo::AnswerOffer => self.answer_offer(now, id),
            Todo::Cancel => self.give_up(now, id),
            Todo::Act(step) => self.on_act(now, id, step),
            Todo::Bye => self.hang_up(now, id),
            Todo::Vanish => self.vanish(id),
            Todo::Rtp => self.send_rtp(now, id),
            Todo::Refresh(serial) => self.refresh(now, id, serial),
            Todo::Expire(serial) => self.expire(now, id, serial),
            Todo::Repeat2xx(cseq) => self.repeat_2xx(now, id, cseq),
            Todo::LoseAck(cseq) => self.lose_ack(now, id, cseq),
            Todo::RepeatReliable(rseq) => self.repeat_reliable(now, id, rseq),
            Todo::LosePrack(rseq) => self.lose_prack(now, id, rseq),
        }
    }
}

impl Dialog {
    /// What it has heard, without times.
    pub fn words(&self) -> Vec<&str> {
        self.heard.iter().map(|(_, word)| word.as_str()).collect()
    }

    /// When it heard this first.
    pub fn heard_at(&self, word: &str) -> Option<Instant> {
        self.heard.iter().find(|(_, heard)| heard == word).map(|(at, _)| *at)
    }

    pub fn is_busy(&self) -> bool {
        self.offer_out.is_some() || self.offer_in.is_some()
    }

    /// Heard of it last, before it ended or was forgotten.
    pub fn is_over(&self) -> bool {
        self.state == State::Ended || self.has_vanished
    }
}

/// Digits of a user part but for the first, which chooses the route.
pub(super) fn number_of(user: &str) -> u32 {
    user.get(1..).and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

pub(super) fn pending(invite: &[u8]) -> sip::dialog::Dialog {
    sip::dialog::Dialog::uac(&Message::parse(invite, Framing::Stream).expect("a phone writes SIP"))
}

/// The header lines of a message that was only made to hold them.
pub(super) fn copy_lines(from: &[u8], to: &mut Writer) {
    let text = String::from_utf8_lossy(from);
    for line in text.lines().skip(1) {
        if let Some((name, value)) = line.split_once(": ")
            && name != "Content-Length"
        {
            to.header(name, value);
        }
    }
}

pub(super) fn write_session(writer: &mut Writer, session: Option<(u32, bool)>) {
    if let Some((interval, ours)) = session {
        let who = if ours { "uas" } else { "uac" };
        writer.header("Session-Expires", format!("{interval};refresher={who}"));
        if !ours {
            writer.header("Require", "timer");
        }
    }
}
