//! Questions that control (API, commands, NG over streams) asks of a signalling shard over its mailbox. Every question
//! carries the way back; a shard that dies drops it, which the asker sees as a closed channel.

use crate::explain::{ExplainQuestion, Explanation};
use crate::id::CallId;
use crate::view::{CallSummary, CallView, TraceView};

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
}

/// What a waiting task gets: the answer, or that the shard has gone.
pub type Answer<T> = Result<T, AskFailed>;
