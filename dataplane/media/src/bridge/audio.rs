//! Speech of one port, where it is more than passed on: the ear, which decodes what the peer says at the tick, and the
//! mouth, which makes what it hears. A port that only relays has none of this.

use super::crossing::Abroad;
use super::digits::{KeysIn, KeysOut};
use super::maker::{Leave, Maker, format_of};
use super::outgoing::Outgoing;
use super::sounds::Sounds;
use crate::dtmf::tones::{Detector, Found};
use crate::echo::Canceller;
use crate::mixer::SeatKey;
use crate::playout::{Coded, Playout, PlayoutConfig, Pulled};
use crate::reporter::Reporter;
use crate::wire::rtp::Header;
use base::{Duration, Instant, Key};
use codec::payload::{Kind, by_name};
use codec::pcm;
use codec::registry;
use codec::resample::Resampler;
use command::{DigitsTowards, Ended, Payload, Ticket, Verdict, Voice, VoiceReport};

/// Samples of the longest tick at the highest rate.
pub(super) const TICK_SAMPLES: usize = 960;

/// Samples of a tick at a rate.
pub(super) fn tick_samples(rate: u32, tick: Duration) -> usize {
    (u64::from(rate) * tick.as_millis() as u64 / 1000) as usize
}

/// Delay of what is played: little, for people talk; recordings have time.
const DELAY_MIN: Duration = Duration::from_millis(20);
const DELAY_MAX: Duration = Duration::from_millis(500);
const PATIENT_MIN: Duration = Duration::from_millis(240);
const PATIENT_MAX: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Default)]
pub(super) struct Audio {
    /// What the spec wants of the port.
    pub wants: Voice,
    /// The identity of what is sent, once something has been made.
    pub out: Option<Outgoing>,
    pub maker: Option<Maker>,
    pub ear: Option<Ear>,
    pub mouth: Option<Box<Mouth>>,
    /// Digits that come as events.
    pub keys: Option<KeysIn>,
    pub reporter: Option<Box<Reporter>>,
    /// When the next report is due; others that were planned are stale.
    pub report_due: Option<Instant>,
    /// A mouth is wanted, for an order is about to use it.
    pub holds: bool,
    /// Samples a second that the sounds of orders are worth.
    pub sound_rate: u32,
    /// The last packet of the peer that passed on, where others of it do not.
    pub last_passed: Option<(Header, Instant)>,
    /// What an ear that is gone has done.
    pub past: VoiceReport,
}

impl Audio {
    /// What is known of its speech.
    pub fn report(&self) -> VoiceReport {
        let mut report = self.past;
        if let Some(ear) = &self.ear {
            ear.add_to(&mut report);
        }
        report.encodes = self.maker.as_ref().map(|maker| maker.name).or(report.encodes);
        report
    }

    /// The ear is not needed any more.
    pub fn drop_ear(&mut self) {
        if let Some(ear) = self.ear.take() {
            ear.add_to(&mut self.past);
            self.past.delay = Duration::ZERO;
        }
    }
}

/// What an ear is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EarNeed {
    /// Samples a second at most.
    pub rate: u32,
    /// Only for a recording.
    pub patient: bool,
    pub echo_cancel: bool,
    pub listens_inband: bool,
}

/// From packets to speech at the tick.
pub(super) struct Ear {
    pub need: EarNeed,
    playout: Playout,
    /// Samples a second of `pcm`.
    pub rate: u32,
    /// The last tick.
    pcm: Vec<i16>,
    len: usize,
    pub pulled: Pulled,
    /// dB below overload.
    pub level: u8,
    echo: Option<Box<Canceller>>,
    detector: Option<Box<Detector>>,
    decodes: &'static str,
    /// What the peer may send, when the ear was made.
    payloads: Box<[Payload]>,
}

impl Ear {
    /// `None` if nothing of what the peer may send can be decoded.
    pub fn new(need: EarNeed, payloads: &[Payload], seed: u64) -> Option<Self> {
        let widest = widest(payloads)?;
        // A line's echo has no wider band, and the canceller's memory grows with the rate.
        let most = if need.echo_cancel { 16_000 } else { 48_000 };
        let rate = need.rate.min(widest.1).min(most);
        let coded = payloads.iter().filter_map(|payload| {
            let format = format_of(payload);
            let decoder = registry::find(&format).map(|codec| codec.decoder(&format, rate));
            let kind = match (&decoder, by_name(&payload.encoding)) {
                (Some(_), _) => Kind::Audio,
                (None, Some(facts)) if matches!(facts.kind, Kind::Event | Kind::Noise) => facts.kind,
                (None, _) => return None,
            };
            Some(Coded { payload_type: payload.number, clock: payload.clock, kind, decoder })
        });
        let (min, max) = if need.patient { (PATIENT_MIN, PATIENT_MAX) } else { (DELAY_MIN, DELAY_MAX) };
        let config = PlayoutConfig { rate, min, max, patient: need.patient, seed };
        Some(Ear {
            need,
            playout: Playout::new(config, coded.collect()),
            rate,
            pcm: vec![0; TICK_SAMPLES],
            len: 0,
            pulled: Pulled::Silence,
            level: pcm::LEVEL_SILENT,
            echo: need.echo_cancel.then(|| Box::new(Canceller::new(rate))),
            detector: need.listens_inband.then(|| Box::new(Detector::new(rate))),
            decodes: widest.0,
            payloads: payloads.into(),
        })
    }

    /// Whether it does for a need: a wider one does for a narrower.
    pub fn suits(&self, need: EarNeed, payloads: &[Payload]) -> bool {
        *self.payloads == *payloads
            && EarNeed { rate: self.need.rate, ..need } == self.need
            && need.rate <= self.need.rate
    }

    #[inline]
    pub fn insert(&mut self, now: Instant, header: &Header, payload: &[u8]) -> Result<(), Verdict> {
        self.playout.insert(now, header, payload)
    }

    /// The next tick of speech. `reference` is what the peer was sent last, at this rate; `found` hears of tones in it.
    pub fn tick(
        &mut self,
        now: Instant,
        tick: Duration,
        reference: Option<&[i16]>,
        mut found: impl FnMut(Found),
    ) {
        self.len = tick_samples(self.rate, tick);
        let pcm = &mut self.pcm[..self.len];
        self.pulled = self.playout.pull(now, pcm);
        if let Some(echo) = &mut self.echo {
            // Without anything sent its time passes all the same.
            echo.process(reference.unwrap_or(&[]), pcm);
        }
        if let Some(detector) = &mut self.detector {
            detector.process(pcm, &mut found);
        }
        self.level = if self.pulled == Pulled::Silence { pcm::LEVEL_SILENT } else { pcm::level(pcm) };
    }

    /// The last tick's samples.
    pub fn heard(&self) -> &[i16] {
        &self.pcm[..self.len]
    }

    /// How far behind its packets it is.
    pub fn delay(&self) -> Duration {
        self.playout.report().delay
    }

    /// How far behind what is said it is on purpose.
    pub fn lag(&self) -> Duration {
        if self.need.patient { PATIENT_MIN } else { Duration::ZERO }
    }

    /// Whether a digit sounds, or may.
    pub fn suspects_digit(&self) -> bool {
        self.detector.as_ref().is_some_and(|detector| detector.suspects())
    }

    fn add_to(&self, report: &mut VoiceReport) {
        let done = self.playout.report();
        let time = |samples: u64| {
            Duration::from_nanos(samples.saturating_mul(1_000_000_000) / u64::from(self.rate.max(1)))
        };
        report.decodes = Some(self.decodes);
        report.played += time(done.played + done.concealed + done.recovered);
        report.concealed += time(done.concealed);
        report.recovered += done.recovered;
        report.late += done.late;
        report.delay = done.delay;
        report.shortened += time(done.shortened);
        report.stretched += time(done.stretched);
    }
}

/// The speech of a list of formats that needs most samples a second: its name and that rate.
pub(super) fn widest(payloads: &[Payload]) -> Option<(&'static str, u32)> {
    let speech = payloads.iter().filter_map(|payload| {
        let format = format_of(payload);
        registry::find(&format).map(|codec| (codec.name, codec.bandwidth(&format)))
    });
    speech.reduce(|best, next| if next.1 > best.1 { next } else { best })
}

/// What one port's peer hears, made at the tick.
pub(super) struct Mouth {
    /// Ports that are heard directly: those that have an edge to this one.
    pub feeds: Vec<Feed>,
    /// The room that is heard instead: its bridge, and the seat.
    pub seat: Option<(Key, SeatKey)>,
    /// A room on another media shard that is heard instead.
    pub abroad: Option<Abroad>,
    pub sounds: Sounds,
    pub keys: KeysOut,
    /// The last tick, before it was coded.
    pub pcm: Vec<i16>,
    len: usize,
    /// What the seat says, at the seat's rate.
    voice_in: Option<(u32, u32, Resampler)>,
    /// What `keys` was made for.
    made_for: (DigitsTowards, Box<[Payload]>, u32),
    /// For the echo canceller: the same at the ear's rate.
    reference: Vec<i16>,
    reference_len: usize,
    to_ear: Option<Resampler>,
}

/// One source of a mouth.
pub(super) struct Feed {
    /// Place of the port.
    pub place: u32,
    /// From the rate of its ear, when the resampler was made.
    from: u32,
    to: u32,
    gain_centibel: i16,
    resampler: Resampler,
    gain: pcm::Gain,
}

impl Feed {
    pub fn new(place: u32, from: u32, to: u32, gain_centibel: i16) -> Self {
        let gain = pcm::Gain::from_centibel(gain_centibel);
        Feed { place, from, to, gain_centibel, resampler: Resampler::new(from, to), gain }
    }

    fn is_from(&self, place: u32, from: u32, to: u32, gain_centibel: i16) -> bool {
        (self.place, self.from, self.to, self.gain_centibel) == (place, from, to, gain_centibel)
    }

    /// Adds what is heard to a tick of the mouth.
    pub fn add(&mut self, heard: &[i16], sum: &mut [i32], scratch: &mut [i16]) {
        let len = self.resampler.process(heard, scratch).min(sum.len());
        let block = &mut scratch[..len];
        self.gain.apply(block);
        pcm::mix_in(&mut sum[..len], block);
    }
}

impl Mouth {
    pub fn new(keys: KeysOut, towards: DigitsTowards, payloads: &[Payload], rate: u32) -> Self {
        Mouth {
            feeds: Vec::new(),
            seat: None,
            abroad: None,
            sounds: Sounds::default(),
            keys,
            pcm: vec![0; TICK_SAMPLES],
            len: 0,
            voice_in: None,
            made_for: (towards, payloads.into(), rate),
            reference: Vec::new(),
            reference_len: 0,
            to_ear: None,
        }
    }

    /// Whether something keeps it that ends by itself.
    pub fn is_busy(&self) -> bool {
        !self.sounds.is_empty() || self.keys.is_active()
    }

    /// Whether it is made for this.
    pub fn suits(&self, towards: DigitsTowards, payloads: &[Payload], rate: u32) -> bool {
        self.made_for.0 == towards && *self.made_for.1 == *payloads && self.made_for.2 == rate
    }

    /// Another codec, or another way to send digits: what goes on goes on.
    pub fn retune(&mut self, keys: KeysOut, towards: DigitsTowards, payloads: &[Payload], rate: u32) {
        let before = core::mem::replace(&mut self.keys, keys);
        self.keys.take_over(before);
        self.sounds.retune(rate);
        self.made_for = (towards, payloads.into(), rate);
        self.to_ear = None;
        self.voice_in = None;
    }

    /// Hears these: place, rate of the ear, gain.
    pub fn set_feeds(&mut self, feeds: &[(u32, u32, i16)], rate: u32) {
        let before = core::mem::take(&mut self.feeds);
        let mut before: Vec<Option<Feed>> = before.into_iter().map(Some).collect();
        self.feeds.extend(feeds.iter().map(|(place, from, gain)| {
            let same = before
                .iter_mut()
                .find(|feed| feed.as_ref().is_some_and(|f| f.is_from(*place, *from, rate, *gain)));
            same.and_then(Option::take).unwrap_or_else(|| Feed::new(*place, *from, rate, *gain))
        }));
    }

    /// Its seat hears the ear at another rate.
    pub fn set_voice_in(&mut self, from: u32, to: u32) {
        if self.voice_in.as_ref().is_none_or(|(f, t, _)| (*f, *t) != (from, to)) {
            self.voice_in = Some((from, to, Resampler::new(from, to)));
        }
    }

    /// What the seat says, at its rate.
    pub fn voice<'v>(&mut self, heard: &'v [i16], scratch: &'v mut [i16]) -> &'v [i16] {
        match &mut self.voice_in {
            Some((from, to, resampler)) if from != to => {
                let len = resampler.process(heard, scratch);
                &scratch[..len]
            }
            Some(_) | None => heard,
        }
    }

    /// Keeps what is said for the echo canceller of the ear, at its rate.
    pub fn keep_reference(&mut self, from: u32, to: u32) {
        if self.to_ear.is_none() {
            self.to_ear = Some(Resampler::new(from, to));
            self.reference = vec![0; TICK_SAMPLES];
        }
    }

    /// What was said in the last tick, for the echo canceller.
    pub fn reference(&self) -> Option<&[i16]> {
        self.to_ear.as_ref().map(|_| &self.reference[..self.reference_len])
    }

    /// Fills the block of this tick with what comes from the room on another shard.
    pub fn listen_abroad(&mut self, len: usize) {
        self.len = len.min(TICK_SAMPLES);
        if let Some(abroad) = &mut self.abroad {
            abroad.listen(&mut self.pcm[..self.len]);
        }
    }

    /// The block of this tick, to be filled.
    pub fn block(&mut self, len: usize) -> &mut [i16] {
        self.len = len.min(TICK_SAMPLES);
        &mut self.pcm[..self.len]
    }

    /// Puts what is played to this peer over the block of this tick.
    pub fn sound(&mut self, len: usize, ended: impl FnMut(Ticket, Ended)) {
        let len = len.min(TICK_SAMPLES);
        self.sounds.render(&mut self.pcm[..len], ended);
    }

    /// Says the block of this tick: tones of digits over it, then coded and sent.
    pub fn say(&mut self, maker: &mut Maker, leave: &mut Leave<'_>, tick: Duration) -> Result<(), Verdict> {
        let block = &mut self.pcm[..self.len];
        let timestamp = leave.out.timestamp_at(leave.now, tick);
        self.keys.tick(leave, timestamp, block);
        if let Some(to_ear) = &mut self.to_ear {
            self.reference_len = to_ear.process(block, &mut self.reference);
        }
        maker.say(leave, timestamp, block)
    }
}

impl core::fmt::Debug for Audio {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (ear, mouth) = (self.ear.is_some(), self.mouth.is_some());
        write!(f, "Audio({:?}, ear {ear}, mouth {mouth})", self.maker)
    }
}
