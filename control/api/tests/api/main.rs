//! The API over real sockets, with an engine that is a thread and a few canned calls.
#![expect(clippy::print_stderr, reason = "seeds and absent peers are told to whoever runs the tests")]
mod fake; // the engine, and a client of raw bytes
mod endpoints; // what each route answers
mod media; // what is asked of a call's media, rooms, recordings
mod routing; // trunks, groups, limits, route explain
mod cdrs; // call detail records
mod protection; // bans, fraud
mod events; // those who follow, and those who are too slow
mod clients; // clients that mean no good
mod metrics; // the page, judged by promtool
mod terminal; // the commands of `strowger calls` and friends
