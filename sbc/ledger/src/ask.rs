//! Questions that control (API, commands, NG over streams) asks of a signalling shard over its mailbox. Every question
//! carries the way back; a shard that dies drops it, which the asker sees as a closed channel.

use crate::control::{
    ForkStart, Hold, Join, Mute, OrderId, Play, RecordAsk, Recorded, RoomOptions, SendDigits, Subject,
};
use crate::explain::{ExplainQuestion, Explanation};
use crate::id::CallId;
use crate::view::{CallSummary, CallView, RoomView, TraceView};

/// The way back; called once, on the shard's thread, and must not block.
pub type Reply<T> = Box<dyn FnOnce(T) + Send>;

/// One question.
pub enum Ask {
    /// Rows of this shard's calls.
    List(CallFilter, Reply<Vec<CallSummary>>),
    /// All of one call; answered when the media shard has reported.
    Show(CallId, Reply<Result<CallView, AskFailed>>),
    /// Its ladder.
    Trace(CallId, Reply<Result<TraceView, AskFailed>>),
    /// Ends it: CANCEL or BYE to both sides.
    Hangup(CallId, Reply<Result<(), AskFailed>>),
    /// Plays a sound; answered when it has been taken.
    Play(Subject, Box<Play>, Reply<Result<OrderId, AskFailed>>),
    /// Ends what was asked for: a sound, digits, a recording, a fork; all sounds and digits if nothing is named.
    Stop(Subject, Option<OrderId>, Reply<Result<(), AskFailed>>),
    /// Sends digits.
    Dtmf(CallId, Box<SendDigits>, Reply<Result<OrderId, AskFailed>>),
    /// Begins, ends or pauses a recording.
    Record(Subject, RecordAsk, Reply<Result<Recorded, AskFailed>>),
    /// Sends what is said elsewhere, until it is stopped.
    Fork(Subject, Box<ForkStart>, Reply<Result<OrderId, AskFailed>>),
    /// Silences legs, or lets them be heard again.
    Mute(CallId, Mute, Reply<Result<(), AskFailed>>),
    /// Puts legs on hold, or takes them back.
    Hold(CallId, Box<Hold>, Reply<Result<(), AskFailed>>),
    /// Puts both legs of a call into a room.
    Join(CallId, Box<Join>, Reply<Result<RoomView, AskFailed>>),
    /// Takes it out again: its legs hear each other as before.
    Leave(CallId, Option<String>, Reply<Result<(), AskFailed>>),
    /// Makes a room, or changes what holds for it; whether it is new.
    PutRoom(String, RoomOptions, Reply<Result<(RoomView, bool), AskFailed>>),
    /// All rooms, or one; of all shards, whoever is asked.
    Rooms(Option<String>, Reply<Vec<RoomView>>),
    /// Ends this shard's calls in a room; its owner ends the room. To be asked of all shards; whether it was there.
    CloseRoom(String, Reply<bool>),
    /// What would happen to a call; refused with a reason if it names what does not exist.
    Explain(Box<ExplainQuestion>, Reply<Result<Box<Explanation>, String>>),
    /// No new calls (`true`), or again (`false`).
    Drain(bool),
    /// Ends all calls, for a stop that has waited long enough.
    HangupAll,
    /// Fails on purpose; only in engines started for tests.
    Panic,
}

impl core::fmt::Debug for Ask {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Ask::List(filter, _) => write!(f, "List({filter:?})"),
            Ask::Show(id, _) => write!(f, "Show({id})"),
            Ask::Trace(id, _) => write!(f, "Trace({id})"),
            Ask::Hangup(id, _) => write!(f, "Hangup({id})"),
            Ask::Play(subject, play, _) => write!(f, "Play({subject:?}, {play:?})"),
            Ask::Stop(subject, id, _) => write!(f, "Stop({subject:?}, {id:?})"),
            Ask::Dtmf(id, digits, _) => write!(f, "Dtmf({id}, {} digits)", digits.digits.len()),
            Ask::Record(subject, record, _) => write!(f, "Record({subject:?}, {record:?})"),
            Ask::Fork(subject, fork, _) => write!(f, "Fork({subject:?}, {fork:?})"),
            Ask::Mute(id, mute, _) => write!(f, "Mute({id}, {mute:?})"),
            Ask::Hold(id, hold, _) => write!(f, "Hold({id}, {hold:?})"),
            Ask::Join(id, join, _) => write!(f, "Join({id}, {join:?})"),
            Ask::Leave(id, room, _) => write!(f, "Leave({id}, {room:?})"),
            Ask::PutRoom(name, options, _) => write!(f, "PutRoom({name}, {options:?})"),
            Ask::Rooms(name, _) => write!(f, "Rooms({name:?})"),
            Ask::CloseRoom(name, _) => write!(f, "CloseRoom({name})"),
            Ask::Explain(question, _) => write!(f, "Explain({question:?})"),
            Ask::Drain(on) => write!(f, "Drain({on})"),
            Ask::HangupAll => write!(f, "HangupAll"),
            Ask::Panic => write!(f, "Panic"),
        }
    }
}

/// Which calls to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallFilter {
    /// Only of this trunk, either side.
    pub trunk: Option<String>,
    /// Only calls whose caller or callee contains this.
    pub number: Option<String>,
    /// At most so many rows (of each shard).
    pub limit: usize,
}

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskFailed {
    /// No such call (any more).
    NoCall,
    /// The call is ending already.
    Ending,
    /// It cannot be done as things stand, in words.
    WrongState(&'static str),
    /// What was asked for has ended, or never was.
    NoOrder,
    /// No such room (any more).
    NoRoom,
    /// Media cannot do it, in words.
    Unsupported(&'static str),
    /// Another signalling shard owns it; ask that one.
    Elsewhere(usize),
}

/// What a waiting task gets: the answer, or that the shard has gone.
pub type Answer<T> = Result<T, AskFailed>;
