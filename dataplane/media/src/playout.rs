//! From packets of one source to speech at the playout tick: keeps, orders, delays just enough, decodes, conceals, and
//! follows the sender's clock. For media that is mixed, recorded or listened to; relayed media never comes here.

use crate::wire::rtp::Header;
use base::{Duration, Instant};
use codec::coder::Decoder;
use codec::payload::Kind;
use command::Verdict;

/// One format of the packets that may come.
pub struct Coded {
    /// As negotiated, 0 to 127.
    pub payload_type: u8,
    /// RTP clock in Hz.
    pub clock: u32,
    /// What it carries. [`Kind::Event`] is taken to be no speech; kinds other than that, audio and noise are refused.
    pub kind: Kind,
    /// Of audio; none else has one.
    pub decoder: Option<Box<dyn Decoder>>,
}

/// How one source is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayoutConfig {
    /// Samples a second of what comes out: 8,000 to 48,000.
    pub rate: u32,
    /// The least delay behind the fastest packets.
    pub min: Duration,
    /// The most delay behind the fastest packets; what comes later is lost.
    pub max: Duration,
    /// For recordings: a long, steady delay, and no time-scaling unless the sender's clock drifts.
    pub patient: bool,
    /// Of the comfort noise.
    pub seed: u64,
}

/// What most of the samples are that were pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulled {
    /// What the sender sent, or what a later packet held of it.
    Speech,
    /// Made up: a packet was missing.
    Concealed,
    /// Comfort noise: the sender is silent, or a gap has become long.
    Noise,
    /// Nothing has come yet, or for long.
    Silence,
}

/// What one playout has done since it was made. Samples count at the rate that comes out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlayoutReport {
    /// Packets decoded.
    pub packets: u64,
    /// Samples decoded.
    pub played: u64,
    /// Samples made up where speech was missing or not yet there, with the noise that a long gap fades to.
    pub concealed: u64,
    /// Samples that a later packet held (forward error correction).
    pub recovered: u64,
    /// Packets that came when their time was over.
    pub late: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Packets that gave way because there was no room.
    pub overruns: u64,
    /// Samples cut out to play earlier.
    pub shortened: u64,
    /// Samples put in to play later.
    pub stretched: u64,
    /// What is played now is this far behind the fastest packets.
    pub delay: Duration,
    /// What is held and not yet played.
    pub buffered: Duration,
}

/// The packets of one source and the speech that is made of them.
pub struct Playout {
    config: PlayoutConfig,
    formats: Vec<Coded>,
    report: PlayoutReport,
}

impl Playout {
    /// Allocates all that it will ever need.
    pub fn new(config: PlayoutConfig, formats: Vec<Coded>) -> Self {
        Playout { config, formats, report: PlayoutReport::default() }
    }

    /// Takes one packet, in whatever order it comes.
    ///
    /// # Errors
    /// [`Verdict::Late`], [`Verdict::Duplicate`], [`Verdict::Undecodable`], [`Verdict::NoCodec`],
    /// [`Verdict::Overrun`]: it will not be played.
    pub fn insert(&mut self, now: Instant, header: &Header, payload: &[u8]) -> Result<(), Verdict> {
        let _ = (now, header, payload, &self.formats, self.config);
        Err(Verdict::NoCodec)
    }

    /// The next samples: 10 or 20 ms at the configured rate. Always fills all of `pcm`. A tick that was late is made
    /// up for by several pulls in a row.
    pub fn pull(&mut self, now: Instant, pcm: &mut [i16]) -> Pulled {
        let _ = now;
        pcm.fill(0);
        Pulled::Silence
    }

    /// What it has done, and where it stands.
    pub fn report(&self) -> PlayoutReport {
        self.report
    }
}
