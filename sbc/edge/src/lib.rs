//! The signalling thread and what serves it: sockets, connections, DNS. Holds no opinion about calls; the B2BUA has them.
#![expect(
    clippy::disallowed_methods,
    reason = "a shell: it reads the clock once a turn and makes its threads"
)]
pub mod filter; // which sources are known, as a program for the kernel
pub mod udp; // datagram sockets: batches, local addresses, ICMP errors
pub mod input; // what others put into a signalling thread's mailbox
pub mod strangers; // what strangers may cost
pub mod gate; // who is known, told to the kernel
pub mod blocked; // who is banned, told to the kernel
pub mod ng_stream; // NG on connections on the control threads, and TCP among them
mod ng_web; // HTTP and WebSockets among them
pub mod stream; // TCP connections on the control threads
pub mod resolver; // RFC 3263 look-ups on the control threads
mod ng_turn; // NG's part of a turn
pub mod run; // the loop of a signalling thread
pub mod spawn; // its start, its death, its restart

pub use input::{Hooks, Input, Records, Sounds, put};
pub use ng_turn::NgEdge;
pub use spawn::{EdgeConfig, spawn};
