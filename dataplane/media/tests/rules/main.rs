//! media.md, rule by rule, through the boundary that the shard uses, in virtual time.
mod world; // two peers and a bridge between them

mod captures;
mod classes;
mod echoes;
mod forks;
mod learning;
mod lifetime;
mod relaying;
mod reports;
mod silence;
mod storms;
