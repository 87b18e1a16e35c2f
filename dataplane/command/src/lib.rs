//! The one language between signalling and media: what may be asked, what is answered. Plain data, no protocol. Signalling holds the wanted state and sends it whole; media answers with events only.
#![forbid(unsafe_code)]
pub mod ids; // bridges, ports, parties, shards
pub mod secure; // keys of media: suites and SDES keys
pub mod voice; // what is asked of media that is decoded
pub mod spec; // BridgeSpec: the wanted state of one bridge
pub mod verdict; // why a packet was dropped
pub mod report; // what a bridge has seen
pub mod order; // Command: what signalling asks
pub mod event; // Event: what media answers

pub use event::{Event, OpenRefusal, OpenedPort};
pub use ids::{BridgeId, Generation, Party, PortIndex, RemoteTag, Ticket};
pub use order::{Command, Order, PortWant};
pub use report::{BridgeReport, PortReport, StreamReport, VoiceReport};
pub use secure::{SdesKeys, Suite};
pub use spec::{
    Accept, BridgeSpec, EdgeSpec, Learn, MediaClass, Payload, Phase, PortSpec, Remote, RtcpMux, SendTo,
    Timeouts, Transform,
};
pub use verdict::Verdict;
pub use voice::{
    Clip, Digits, DigitsTowards, Ended, FileFormat, Fork, ForkCoding, ForkTo, Layout, Outcome, PlayMode,
    Recording, RoomSpec, Seat, Signal, Sound, Tone, ToneStep, Voice,
};
