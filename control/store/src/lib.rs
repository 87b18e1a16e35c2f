//! What must outlive the process: call detail records, the journal of calls in progress, the secret of the
//! installation. A shell: it owns files and one writer thread; whoever hands a record over never waits for a disk.
#![forbid(unsafe_code)]
pub mod secret; // 32 bytes of the installation, made at first start
pub mod record; // one CDR as one line of JSON
mod append; // a file that only grows, by whole lines, through errors
mod journal; // legs that are up: what a crash would lose
pub mod cdr; // the writer thread and its handle

pub use cdr::{CdrHandle, CdrWriter, Sink, SinkError, StartError, Started};
pub use secret::{Secret, SecretError};
