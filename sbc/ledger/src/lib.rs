//! The calls that exist, as everybody but their owner sees them: ids, leases, records, views, and the questions that
//! control may ask of a signalling shard. Shared by B2BUA, NG and API; knows no protocol, opens no socket.
#![forbid(unsafe_code)]
pub mod id; // CallId
pub mod rate; // calls a second (GCRA)
pub mod limit; // bounds, classes, refusals, shares of shards
pub mod pool; // a single limit
pub mod keyed; // a limit by caller, callee or source
pub mod lease; // places that give themselves back
pub mod audit; // recounts leases; reports, never repairs
pub mod net; // networks by prefix
pub mod ban; // banned sources
pub mod event; // what the engine tells the world
pub mod cdr; // one record a leg
pub mod control; // what may be asked of the media of a call or room
pub mod rooms; // rooms and who sits in them, of all shards
pub mod recordings; // recordings that run, and those whose record is still to be kept
pub mod view; // what a call looks like from outside
pub mod ask; // questions of control to a signalling shard, and their answers
pub mod explain; // a decision told step by step, without a call
pub mod hook; // questions to a route's HTTP hook, and answers
pub mod stats; // counters of a signalling shard

pub use ask::{Answer, Ask, AskFailed, CallFilter, Reply};
pub use audit::{Auditor, Drift, Limit, Recount};
pub use ban::{Added, Ban, Banner, Bans, BansFull, DropList, NoDropList};
pub use cdr::{Cdr, Direction, Quality, ReleasedBy};
pub use control::{
    ForkStart, Hold, Join, Legs, Mute, MuteDirection, OrderId, Play, RecordAsk, RecordFrom, RecordStart,
    Recorded, RoomOptions, SeatOptions, SendDigits, Subject,
};
pub use event::{Event, EventBus, Numbered, Subscribed, Subscription};
pub use explain::{ExplainQuestion, ExplainStep, Explanation};
pub use hook::{HookAnswer, HookFailed, HookQuestion};
pub use id::{CallId, CallIds};
pub use keyed::KeyedPools;
pub use lease::{Lease, Part};
pub use limit::{Bounds, Class, LimitHit, Refused, SHARDS_MAX, Why, ng_shard};
pub use net::{Net, NoNet};
pub use pool::Pool;
pub use rate::Rate;
pub use recordings::{RecordingRow, RecordingState, Recordings};
pub use rooms::Rooms;
pub use stats::SignallingStats;
pub use view::{CallState, CallSummary, CallView, LegView, RoomMember, RoomView, TraceEntry, TraceView};
