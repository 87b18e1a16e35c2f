//! The media thread: sockets, ports, the loop around `media`'s bridges, and what keeps it alive.
//! Signalling reaches it by commands and hears of it by events.
#![deny(unsafe_code)]
pub mod stats; // what a shard publishes about itself
pub mod address; // socket addresses as the kernel writes them
pub mod sys; // the calls into the kernel that std and socket2 lack
pub mod ports; // pairs of ports: order, rest, sockets
pub mod io; // packets from and to the kernel: Batch, epoll, io_uring
pub mod outbox; // events on their way to signalling
pub mod recorder; // recordings and forks, off the media cores
pub mod run; // Shard: the turn
pub mod spawn; // the thread, its supervision, probing of back ends

pub use spawn::{BackendChoice, Probe, ShardConfig, ShardHandle, SpawnError, crossing_rings, probe, spawn};
pub use stats::{ListenerStats, MediaListener, ShardStats};
