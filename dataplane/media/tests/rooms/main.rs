//! Rooms, promotion and demotion, play and recordings, through the boundary that the shard uses: peers with real codecs
//! talk in virtual time, and what each hears is decoded and judged (media.md).

#[path = "../../../../tests/support/counting.rs"]
mod counting;
mod world; // bridges, peers and time

mod forks; // what is sent elsewhere as it is said
mod mixing; // who hears whom
mod playing; // prompts, tones, announcements
mod promotion; // from relay to mix and back
mod recording; // what is written down
mod timing; // late turns, large rooms, echoes, the heap
