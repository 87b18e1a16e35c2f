//! The API over real sockets, with an engine that is a thread and a few canned calls.
#![expect(clippy::print_stderr, reason = "seeds and absent peers are told to whoever runs the tests")]
mod fake; // the engine, and a client of raw bytes
mod endpoints; // what each route answers
mod clients; // clients that mean no good
mod metrics; // the page, judged by promtool
mod terminal; // the commands of `strowger calls` and friends
