//! The engine's HTTP side: calls, configuration, health, metrics, and the page that documents them. A shell that owns
//! sockets and waits for strangers; what it shows comes from the [`Engine`] that `main` hands in.
#![forbid(unsafe_code)]
pub mod metrics; // families, and the page that Prometheus reads
pub mod standing; // how trunks, groups and limits stand now
pub mod engine; // what the API needs of the engine
pub mod auth; // tokens and roles
mod problem; // errors as application/problem+json
mod input; // bodies and query strings, bounded
mod ask; // questions to signalling shards, with a deadline
mod view; // calls as JSON
mod pcap; // a ladder as a capture file
mod calls; // /v1/calls
mod media; // /v1/calls/{id}/play, stop, dtmf, record, mute, hold
mod forks; // /v1/calls/{id}/fork and the same of rooms
mod rooms; // /v1/rooms, and calls that join them or each other
mod recordings; // /v1/recordings
mod objects; // /v1/listeners, trunks, groups, routes, number_rules, policies
mod trunks; // whether trunks are called, members of groups, /v1/limits
pub mod explain; // /v1/route/explain
mod cdrs; // /v1/cdrs
mod bans; // /v1/bans
mod fraud; // /v1/fraud/reset
mod events; // /v1/events
mod configuration; // /v1/config
mod operation; // drain, log, health, metrics
mod debug; // a shard that fails, for tests
mod routes; // all of them in one table, and OpenAPI
mod connection; // a client's connection and how long it may dawdle
pub mod server; // accept and serve

pub use auth::{Role, TokenError, Tokens};
pub use engine::{ApplyError, ConfigVersion, Engine, Fault, Loading, Resolving, SoundError};
pub use metrics::Page;
pub use server::{Limits, ServeError, Server, serve, spawn};
