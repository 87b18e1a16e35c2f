//! What is asked of media that is decoded: digits, echo, rooms, clips, tones and recordings. Plain data.

use crate::ids::{BridgeId, PortIndex};
use base::Duration;
use core::fmt;
use core::net::SocketAddr;
use std::sync::Arc;

/// What happens to the speech and the digits of one port, beyond passing. The default is a plain port, which costs
/// nothing.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Voice {
    /// How digits reach this port's peer, and what is done with its own.
    pub digits: Digits,
    /// The echo of what this peer hears is taken out of what it says (line echo); its media is decoded then.
    pub echo_cancel: bool,
    /// Its place in a room; its edges to and from other ports are then not used for audio.
    pub seat: Option<Seat>,
    /// Header extension by which this peer tells its level (RFC 6464), if negotiated: its number, 1 to 14.
    pub level_extension: Option<u8>,
}

/// Digits of one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Digits {
    /// How this peer gets the digits of others.
    pub towards: DigitsTowards,
    /// Tones in this peer's speech are digits: they are looked for, which needs its media decoded.
    pub listen_inband: bool,
    /// Each digit of this peer is an [`crate::Event::Digit`].
    pub report: bool,
    /// Digits of this peer reach nobody, in whatever form.
    pub block: bool,
}

/// How a peer gets digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DigitsTowards {
    /// As `telephone-event` where negotiated, else as tones where media is decoded anyway.
    #[default]
    Auto,
    /// As `telephone-event`.
    Events,
    /// As tones in the speech.
    Tones,
    /// Signalling sends INFO: nothing in media.
    Nothing,
}

/// A port's place in a room. The room is a bridge (with or without ports of its own) on the same media shard.
#[derive(Clone, Debug, PartialEq)]
pub struct Seat {
    /// The room.
    pub room: BridgeId,
    /// Others hear it.
    pub talks: bool,
    /// It hears others.
    pub hears: bool,
    /// On what it says, hundredths of a decibel.
    pub gain_centibel: i16,
    /// Only this one hears it (whisper, coach); it hears everybody.
    pub coaches: Option<(BridgeId, PortIndex)>,
}

/// What holds for a room. A bridge without it has the default as soon as a seat names it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoomSpec {
    /// So many of the loudest are heard, 1 to 8.
    pub talkers: u8,
    /// A tone when somebody joins or leaves.
    pub tones: bool,
    /// Changes of who speaks are events.
    pub tell_talking: bool,
}

impl Default for RoomSpec {
    fn default() -> Self {
        RoomSpec { talkers: 3, tones: false, tell_talking: true }
    }
}

/// Sound in memory, decoded: made by control, shared by all who hear it. Mono.
#[derive(Clone)]
pub struct Clip {
    /// Samples a second: 8,000, 16,000, 24,000, 32,000 or 48,000.
    pub rate: u32,
    /// All of it.
    pub samples: Arc<[i16]>,
}

impl PartialEq for Clip {
    /// Whether it is the same sound in the same memory.
    fn eq(&self, other: &Self) -> bool {
        self.rate == other.rate && Arc::ptr_eq(&self.samples, &other.samples)
    }
}

impl fmt::Debug for Clip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clip({} samples at {} Hz)", self.samples.len(), self.rate)
    }
}

/// What is played.
#[derive(Clone, Debug, PartialEq)]
pub enum Sound {
    /// A file that has been loaded.
    Clip(Clip),
    /// A generated tone.
    Tone(Tone),
}

/// A tone with its cadence: up to 8 steps, then again from the first, or once.
#[derive(Clone, Debug, PartialEq)]
pub struct Tone {
    /// Its steps.
    pub steps: Vec<ToneStep>,
    /// Once rather than again and again.
    pub once: bool,
}

/// One step of a cadence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ToneStep {
    /// Frequencies in Hz that sound together; 0 is none. All zero is a pause.
    pub frequencies: [u16; 4],
    /// Amplitude modulation in Hz of the first by the second (UK-style tones); `false` adds them.
    pub modulated: bool,
    /// Level of each in dBm0, -63 to 3.
    pub level_dbm0: i8,
    /// How long.
    pub duration: Duration,
}

/// How a sound meets what its hearer hears otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PlayMode {
    /// Only the sound is heard.
    #[default]
    Replace,
    /// Both are heard.
    Mix,
}

/// How a recording lays out the parties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Layout {
    /// All in one channel.
    #[default]
    Mono,
    /// Left is the first party (the caller), right all others.
    Stereo,
}

/// File formats of recordings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum FileFormat {
    /// 16-bit PCM.
    #[default]
    Wav,
    /// Opus in Ogg (RFC 7845).
    OggOpus,
}

/// A recording to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// Where its file is to be, without the extension; made unique and safe by control.
    pub path: String,
    /// Channels.
    pub layout: Layout,
    /// Of the file.
    pub format: FileFormat,
    /// Samples a second; `None` is the narrowest that holds all that is said.
    pub rate: Option<u32>,
    /// Digits are heard as silence.
    pub mask_digits: bool,
    /// Its time begins with the first packet rather than now.
    pub from_first_packet: bool,
}

/// A copy of what is said, sent elsewhere as it is said. Nothing comes back from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// What control calls it, for whoever gets it: `CALL-NUMBER`.
    pub id: String,
    /// The room's name, if it is not a call that is heard.
    pub room: Option<String>,
    /// Where.
    pub to: ForkTo,
    /// Channels.
    pub layout: Layout,
    /// Samples a second; `None` is the narrowest that holds all that is said.
    pub rate: Option<u32>,
}

/// Where a fork goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForkTo {
    /// RTP in packets of 20 ms, a stream for each channel: the caller's has an even SSRC, the callee's the next one.
    Rtp {
        /// One receiver, which is none of the engine's own ports.
        target: SocketAddr,
        /// How samples are written.
        coding: ForkCoding,
    },
    /// A WebSocket that the engine opens: a text that says what comes, then 20 ms of samples a message.
    WebSocket {
        /// `ws://HOST/PATH`.
        url: String,
    },
}

/// How samples of an RTP fork are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ForkCoding {
    /// 16 bits, the high octet first (RFC 3551 section 4.5.11), payload type 96.
    #[default]
    L16,
    /// G.711 µ-law at 8 kHz, payload type 0.
    Pcmu,
}

/// How an order ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it was done.
    Done,
    /// It was stopped.
    Stopped,
    /// The bridge closed before.
    Closed,
    /// It could not go on; for a recording the file holds what came before.
    Failed,
}

/// What is told of an order that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub outcome: Outcome,
    /// How long it sounded, or what the file holds.
    pub length: Duration,
    /// Of a recording or fork: how much could not be written or sent.
    pub lost: Duration,
}

impl Ended {
    /// Nothing was lost on the way.
    pub fn after(outcome: Outcome, length: Duration) -> Ended {
        Ended { outcome, length, lost: Duration::ZERO }
    }
}

/// What a tone detector has heard that is no digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// A fax calls: 1,100 Hz (T.30).
    FaxCalling,
    /// A fax or modem answers: 2,100 Hz (T.30, V.25).
    FaxAnswer,
}
