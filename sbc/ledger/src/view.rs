//! What a call looks like from outside: rows for a list, all of one call, its ladder.

use crate::cdr::Direction;
use crate::control::{OrderId, RoomOptions, SeatOptions};
use crate::id::CallId;
use base::Wall;
use command::PortReport;
use core::net::SocketAddr;

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallState {
    /// Looking up, opening ports, waiting for a first answer.
    Setup,
    /// The callee rings.
    Ringing,
    /// Talking.
    Answered,
    /// Going down.
    Ending,
}

impl CallState {
    /// Stable word.
    pub fn name(self) -> &'static str {
        match self {
            CallState::Setup => "setup",
            CallState::Ringing => "ringing",
            CallState::Answered => "answered",
            CallState::Ending => "ending",
        }
    }
}

/// A row of `calls list`.
#[derive(Clone, Debug, PartialEq)]
pub struct CallSummary {
    /// Which call.
    pub id: CallId,
    /// Where it stands.
    pub state: CallState,
    /// INVITE received.
    pub created: Wall,
    /// Answered at.
    pub answered: Option<Wall>,
    /// Calling number as the caller gave it.
    pub from: String,
    /// Called number as the caller gave it.
    pub to: String,
    /// Trunk that the call came from.
    pub trunk_in: String,
    /// Trunk that it went to, once chosen.
    pub trunk_out: Option<String>,
}

/// All of one call.
#[derive(Clone, Debug, PartialEq)]
pub struct CallView {
    /// The row.
    pub summary: CallSummary,
    /// The route that was taken.
    pub route: Option<String>,
    /// Legs, the caller's first.
    pub legs: Vec<LegView>,
    /// What happened, in order.
    pub timeline: Vec<(Wall, String)>,
    /// The room that it sits in.
    pub room: Option<String>,
    /// What was asked of its media and goes on.
    pub orders: Vec<OrderView>,
}

/// A sound, digits or a recording on their way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderView {
    /// Which.
    pub id: OrderId,
    /// `play`, `dtmf` or `record`.
    pub kind: &'static str,
    /// The sound's name, the recording's file, or where the fork goes.
    pub what: String,
    /// Since when.
    pub since: Wall,
    /// A recording that is paused.
    pub paused: bool,
}

/// A room and who sits in it.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomView {
    /// Its name.
    pub name: String,
    /// Unique over restarts; what plays and is recorded in it is named by it.
    pub id: CallId,
    /// Since when.
    pub created: Wall,
    /// It ends by itself.
    pub ad_hoc: bool,
    /// It is being ended.
    pub is_closing: bool,
    /// What holds for it.
    pub options: RoomOptions,
    /// The media shard that mixes it, once somebody has joined.
    pub media_shard: Option<usize>,
    /// The signalling shard that owns it.
    pub owner: usize,
    /// Who sits in it.
    pub members: Vec<RoomMember>,
}

/// A call in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomMember {
    /// Which.
    pub call: CallId,
    /// Since when.
    pub joined: Wall,
    /// How the caller's leg sits, and the callee's.
    pub seats: [SeatOptions; 2],
}

/// One leg.
#[derive(Clone, Debug, PartialEq)]
pub struct LegView {
    /// `A`, `B`, `B2` …
    pub name: String,
    /// As seen from us.
    pub direction: Direction,
    /// Its trunk.
    pub trunk: Option<String>,
    /// Dialog state in a word: `early`, `confirmed`, `ended` …
    pub state: String,
    /// Call-ID of its dialog.
    pub sip_call_id: String,
    /// Where signalling comes from and goes to.
    pub remote: Option<SocketAddr>,
    /// Our signalling address.
    pub local: Option<SocketAddr>,
    /// Transport in upper case.
    pub transport: &'static str,
    /// Media by port, as the media shard reports it; empty before ports are open.
    pub media: Vec<PortReport>,
    /// Negotiated codecs by m-line, such as `audio PCMU telephone-event`.
    pub codecs: Vec<String>,
    /// One sentence that explains what this leg's media does or lacks.
    pub sentence: String,
}

/// A call's ladder.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct TraceView {
    /// Messages in order.
    pub entries: Vec<TraceEntry>,
    /// Older entries that the bounded memory has let go.
    pub forgotten: u64,
}

/// One SIP message of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceEntry {
    /// When.
    pub at: Wall,
    /// Leg number, as in the CDR.
    pub leg: u16,
    /// Came from the peer rather than went to it.
    pub received: bool,
    /// Our address.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// Transport in upper case.
    pub transport: &'static str,
    /// `INVITE`, `200 OK (INVITE)` …
    pub line: String,
    /// The message as it was on the wire, while the trace memory still has it.
    pub raw: Option<Vec<u8>>,
}
