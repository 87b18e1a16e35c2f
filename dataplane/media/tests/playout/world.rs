//! One sender and one playout, in virtual time.

use base::{Duration, Instant};
use codec::coder::{Decoder, Undecodable};
use codec::payload::Kind;
use command::Verdict;
use media::playout::{Coded, Playout, PlayoutConfig, Pulled};
use media::wire::rtp::Header;
use std::sync::{Arc, Mutex};

pub const MS: u64 = 1_000_000;
pub const FRAME: usize = 160;

/// Samples of 16 bits as payload, at any rate. Conceals with [`MADE_UP`], and wins back [`WON_BACK`] from a payload
/// whose first sample is [`HOLDS_MORE`]; one of a single sample says that the sender is silent.
pub struct Plain {
    pub rate: u32,
    pub concealed: Arc<Mutex<usize>>,
}

pub const MADE_UP: i16 = 111;
pub const WON_BACK: i16 = 222;
pub const HOLDS_MORE: i16 = 333;

impl Decoder for Plain {
    fn rate(&self) -> u32 {
        self.rate
    }

    fn samples(&self, payload: &[u8]) -> Result<usize, Undecodable> {
        let most = (self.rate / 1_000 * 120) as usize;
        match payload.len() {
            2 => Ok(self.rate as usize / 50),
            len if len > 0 && len % 2 == 0 && len / 2 <= most => Ok(len / 2),
            _ => Err(Undecodable),
        }
    }

    fn decode(&mut self, payload: &[u8], pcm: &mut [i16]) -> Result<usize, Undecodable> {
        let samples = self.samples(payload)?;
        let (silent, payload) = (self.is_silence(payload), payload.chunks_exact(2));
        pcm[..samples].fill(0);
        if !silent {
            for (sample, bytes) in pcm.iter_mut().zip(payload) {
                *sample = i16::from_be_bytes([bytes[0], bytes[1]]);
            }
        }
        Ok(samples)
    }

    fn recover(&mut self, next: &[u8], pcm: &mut [i16]) -> bool {
        let holds = next.get(..2) == Some(&HOLDS_MORE.to_be_bytes()[..]);
        if holds {
            pcm.fill(WON_BACK);
        }
        holds
    }

    fn conceal(&mut self, pcm: &mut [i16]) {
        *self.concealed.lock().expect("nobody else panics") += pcm.len();
        pcm.fill(MADE_UP);
    }

    fn is_silence(&self, payload: &[u8]) -> bool {
        payload.len() == 2
    }
}

pub fn plain(payload_type: u8, clock: u32, rate: u32) -> Coded {
    let decoder = Box::new(Plain { rate, concealed: Arc::default() });
    Coded { payload_type, clock, kind: Kind::Audio, decoder: Some(decoder) }
}

pub fn other(payload_type: u8, kind: Kind) -> Coded {
    Coded { payload_type, clock: 8_000, kind, decoder: None }
}

pub const SPEECH: u8 = 11;
pub const CN: u8 = 13;
pub const EVENT: u8 = 101;

pub struct World {
    pub playout: Playout,
    /// Next header that is sent.
    pub header: Header,
    pub now: Instant,
    pub heard: Vec<i16>,
    pub kinds: Vec<Pulled>,
}

impl World {
    pub fn new(patient: bool) -> World {
        let formats = vec![plain(SPEECH, 8_000, 8_000), other(CN, Kind::Noise), other(EVENT, Kind::Event)];
        World::with(patient, 8_000, formats)
    }

    pub fn with(patient: bool, rate: u32, formats: Vec<Coded>) -> World {
        let (min, max) = (Duration::from_millis(20), Duration::from_millis(500));
        let config = PlayoutConfig { rate, min, max, patient, seed: 5 };
        World {
            playout: Playout::new(config, formats),
            header: Header {
                payload_type: SPEECH,
                sequence: 65_530,
                timestamp: u32::MAX - 1_000,
                ssrc: 9,
                marker: false,
            },
            now: Instant(1_000 * MS),
            heard: Vec::new(),
            kinds: Vec::new(),
        }
    }

    /// Counts on without sending.
    pub fn lose(&mut self) {
        self.header.sequence = self.header.sequence.wrapping_add(1);
        self.header.timestamp = self.header.timestamp.wrapping_add(FRAME as u32);
    }

    /// Sends 20 ms that are numbered next.
    pub fn send(&mut self, samples: &[i16]) -> Result<(), Verdict> {
        let header = self.header;
        self.lose();
        self.playout.insert(self.now, &header, &bytes(samples))
    }

    /// Sends a payload without a time of its own.
    pub fn send_other(&mut self, payload_type: u8, payload: &[u8]) -> Result<(), Verdict> {
        let header = Header { payload_type, ..self.header };
        self.header.sequence = self.header.sequence.wrapping_add(1);
        self.playout.insert(self.now, &header, payload)
    }

    /// The next tick: 20 ms are pulled, and 20 ms pass.
    pub fn tick(&mut self) -> Pulled {
        let pulled = self.pull();
        self.now += Duration::from_millis(20);
        pulled
    }

    pub fn pull(&mut self) -> Pulled {
        let mut pcm = vec![7_777; self.playout_rate() as usize / 50];
        let pulled = self.playout.pull(self.now, &mut pcm);
        self.heard.extend(pcm);
        self.kinds.push(pulled);
        pulled
    }

    fn playout_rate(&self) -> u32 {
        self.playout.rate()
    }
}

pub fn bytes(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_be_bytes()).collect()
}

/// Loud noise that is different in each frame, so that a sample out of place shows; never what a decoder makes up.
pub fn frame(n: u32) -> [i16; FRAME] {
    let mut rng = base::Rng::from_seed(n.into());
    core::array::from_fn(|_| (rng.u32() as i16 / 2).max(1_000))
}

pub fn frames(range: impl Iterator<Item = u32>) -> Vec<i16> {
    range.flat_map(frame).collect()
}

/// Where a run of samples is found in what was heard.
pub fn find(heard: &[i16], wanted: &[i16]) -> Option<usize> {
    heard.windows(wanted.len()).position(|window| window == wanted)
}
