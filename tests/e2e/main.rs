//! The real binary with real peers on loopback: each test has addresses of its own, so that tests run side by side.
//! `STROWGER_PEERS=required` makes a missing peer a failure; elsewhere it is named loudly and its tests pass empty.
#![expect(clippy::disallowed_methods, reason = "these tests live in real time, with deadlines")]
#![expect(clippy::print_stderr, reason = "what a failed test tells")]
mod support; // engine, SIPp, sockets, waiting: what the tests stand on
mod sipp_basic; // calls that come about
mod sipp_ends; // how calls end
mod sipp_midcall; // what happens within a call
mod sipp_reliable; // 100rel and session timers
mod sipp_failure; // calls that do not come about: refusals, failover, loops, forks
mod sipp_transport; // TCP and UDP, by size, IPv4 and IPv6
mod datagrams; // single messages, right and wrong
mod media; // what passes untouched, what is learned, what is dropped
mod restart; // shards that fail, an engine that is killed
mod shards; // several shards of both kinds
mod hostile; // what nobody should send
mod attack; // floods from strangers
mod strangers; // nobodies: answers, bans, scanners, the tarpit
mod timeouts; // calls that nobody ends
mod records; // one record a leg, and the log
mod balance; // which member of a group gets a call, and who comes next
mod routing; // where calls go, and what explains it
mod limits; // how many calls, and who is refused
mod fraud; // where calls may go, and what is cut
mod cdrs; // records in all sinks
mod config_apply; // a configuration that changes, a drain
mod demo; // commands that need no peer
mod load; // calls by the load generator
mod baresip; // two real phones hear each other
mod dns; // trunks by name
mod tshark; // what leaves the engine, as tshark sees it
mod transcode; // sides that speak different codecs
mod srtp; // media that is encrypted on one side or both
mod digits; // digits as events, INFO and tones
mod ng; // calls that a client of rtpengine directs
mod api; // the API and the commands
mod play; // sounds, digits, mute and hold by the API
mod record; // recordings of calls
mod forks; // copies of what is said
mod rooms; // calls that are mixed
