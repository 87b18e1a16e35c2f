//! What must outlive the process: call detail records and the journal that guards them, bans, versions of the
//! configuration, the secret of the installation. A shell: it owns files, a database and the threads that write them;
//! whoever hands a record over never waits for a disk or a server.
#![forbid(unsafe_code)]
pub mod secret; // 32 bytes of the installation, made at first start
pub mod time; // times as text
pub mod record; // one CDR as others see it, and as a line of JSON
pub mod csv; // one CDR as a line of comma-separated values
pub mod sink; // where records go: the entries of `engine.cdr`
mod append; // a file that only grows, by whole lines, through errors
mod journal; // what a crash would lose: legs that are up, records on their way
pub mod database; // the SQLite file: how it is opened, how its tables came to be
mod rows; // records as rows
pub mod table; // records on their way into the database, and out of it when they are old
pub mod query; // asking for records
pub mod keep; // bans and versions of the configuration
pub mod recordings; // the index of recordings
pub mod webhook; // records posted to others, at least once and in order
pub mod cdr; // the writer thread and its handle
#[cfg(test)]
mod testing;

pub use cdr::{CdrHandle, CdrSettings, CdrStats, CdrWriter, StartError, Started};
pub use database::StoreError;
pub use keep::{BanRow, ConfigVersion, Store};
pub use query::{CdrPage, CdrQuery, CdrReader, Match, Order, PageToken};
pub use record::{Record, RecordId};
pub use recordings::RecordingQuery;
pub use secret::{Secret, SecretError};
pub use sink::{Sink, SinkError};
pub use table::Keep;
pub use time::Time;
pub use webhook::WebhookStats;
