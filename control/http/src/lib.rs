//! What the engine asks of other people's HTTP servers: webhooks, routing decisions, sounds. A shell: it owns connections
//! and deadlines; what is said is the caller's.
#![forbid(unsafe_code)]
pub mod url; // where to: scheme, host, port, path
mod pool; // connections a host, bounded and kept
pub mod client; // one POST or GET with a deadline

pub use client::{Client, Failed, Limits, Reply};
pub use url::{Url, UrlError};
