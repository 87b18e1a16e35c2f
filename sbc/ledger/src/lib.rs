//! The calls that exist, as everybody but their owner sees them: ids, leases, records, views, and the questions that
//! control may ask of a signalling shard. Shared by B2BUA, NG and API; knows no protocol, opens no socket.
#![forbid(unsafe_code)]
pub mod id; // CallId
pub mod lease; // pools and leases: places that give themselves back
pub mod cdr; // one record a leg
pub mod view; // what a call looks like from outside
pub mod ask; // questions of control to a signalling shard, and their answers
pub mod explain; // a decision told step by step, without a call
pub mod hook; // questions to a route's HTTP hook, and answers
pub mod stats; // counters of a signalling shard

pub use ask::{Answer, Ask, AskFailed, CallFilter, Reply};
pub use cdr::{Cdr, Direction, Quality, ReleasedBy};
pub use explain::{ExplainQuestion, ExplainStep, Explanation};
pub use hook::{HookAnswer, HookFailed, HookQuestion};
pub use id::{CallId, CallIds};
pub use lease::{Lease, Pool, PoolFull};
pub use stats::SignallingStats;
pub use view::{CallState, CallSummary, CallView, LegView, TraceEntry, TraceView};
