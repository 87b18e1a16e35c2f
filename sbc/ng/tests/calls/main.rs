//! NG calls as a client and media see them: requests in, replies and bridges out, in virtual time.

mod world; // a client, a shell and media shards in one

mod dialogues; // offers, answers, re-INVITEs, holds, late offers
mod forks; // several answers, branches
mod deleting; // delays, revivals, parts of calls
mod ports; // listeners, families, what media refuses
mod sources; // how sources are learned
mod waiting; // order, repetitions, bounds
mod lives; // limits, timeouts, restarts
mod looks; // what control sees
mod controls; // blocking, playing, digits
mod watching; // publish and subscribe
mod any_order; // whatever comes, in any order
