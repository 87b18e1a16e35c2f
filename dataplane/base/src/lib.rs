//! What every part of the engine stands on. No I/O, no protocol; the one clock reader is named as such.
#![forbid(unsafe_code)]
pub mod time; // Instant, Now, Wall, Clock
pub mod rng; // seeded random numbers
pub mod hash; // keyed hashing of what strangers choose
pub mod slab; // dense storage with generations
pub mod wheel; // hashed timer wheel
pub mod counter; // counters and histograms with one writer and any readers
pub mod mailbox; // bounded rings between threads

pub use counter::{Counter, Histogram};
pub use hash::HashKey;
pub use mailbox::{Mailbox, Wake};
pub use rng::Rng;
pub use slab::{Key, Slab};
pub use time::{Clock, Duration, Instant, Now, Wall};
pub use wheel::Wheel;
