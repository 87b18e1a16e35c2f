//! From packets of one source to speech at the playout tick: keeps, orders, delays just enough, decodes, conceals, and
//! follows the sender's clock. For media that is mixed, recorded or listened to; relayed media never comes here.

mod grain; // time that does not round
mod numbers; // from the header's numbers and times to extended ones
mod sound; // what waits to be pulled
mod store; // the packets that wait
mod window; // how late packets were

use crate::wire::rtp::Header;
use base::{Duration, Instant};
use codec::coder::{Decoder, PACKET_MS_MAX};
use codec::noise::ComfortNoise;
use codec::payload::Kind;
use codec::resample::Resampler;
use codec::stretch;
use command::Verdict;
use grain::Grains;
use numbers::{Numbers, Place};
use sound::Sound;
use store::{PAYLOAD_MAX, Store, WAITING_MAX, Waiting};
use window::Window;

/// One format of the packets that may come.
pub struct Coded {
    /// As negotiated, 0 to 127.
    pub payload_type: u8,
    /// RTP clock in Hz.
    pub clock: u32,
    /// What it carries. Events are no speech and leave no gap; kinds other than events, audio and noise are refused.
    pub kind: Kind,
    /// Of audio; none else has one.
    pub decoder: Option<Box<dyn Decoder>>,
}

/// How one source is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayoutConfig {
    /// Samples a second of what comes out: 8,000, 12,000, 16,000, 24,000, 32,000 or 48,000.
    pub rate: u32,
    /// The least delay behind the fastest packets. 20 ms suit most.
    pub min: Duration,
    /// The most delay behind the fastest packets that is kept up.
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
    /// Samples made up because packets were missing.
    pub concealed: u64,
    /// Samples made up while packets were waited for that came in the end and were played.
    pub waited: u64,
    /// Samples that a later packet held (forward error correction).
    pub recovered: u64,
    /// Packets that came when their time was over.
    pub late: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Packets that gave way because there was no room, or because all was behind the greatest delay.
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

/// A recording is this far behind.
const PATIENT_DELAY: Grains = Grains::from_ms(240);
/// A burst behind a stall of this length is kept whole beside what is delayed.
const STALL: Grains = Grains::from_ms(600);
/// What is made up comes in blocks of this many milliseconds.
const BLOCK_MS: usize = 10;
/// So much of a gap without notice is concealed, and in so much more it fades to noise (media.md, "Gaps").
const CONCEALED_MAX: Grains = Grains::from_ms(60);
const FADE: Grains = Grains::from_ms(20);
/// What most pull and most send at a time.
const TICK: Grains = Grains::from_ms(20);
/// A jump of the timestamp of less than this is no silence.
const HAIR: Grains = Grains::from_ms(5);
/// After so much of nothing the source is gone; what comes then is a new beginning.
const GONE: Grains = Grains::from_ms(5_000);
/// Without time-scaling, from one frame that is left out or repeated to the next.
const UNSCALED_PAUSE: Grains = Grains::from_ms(100);
/// Time-scaling looks at this much at a time.
const SCALED: Grains = Grains::from_ms(40);
/// Beyond the tick, the delay may be this much longer than it need before it is shortened.
const SLACK: Grains = Grains::from_ms(4);
/// Ticks are made up for if they come within this.
const TICK_WINDOW: Grains = Grains::from_ms(2_000);

/// The packets of one source and the speech that is made of them.
pub struct Playout {
    rate: u32,
    min: Grains,
    max: Grains,
    patient: bool,
    scaling: bool,
    formats: Vec<Coded>,
    store: Store,
    numbers: Option<Numbers>,
    window: Window,
    sound: Sound,
    noise: ComfortNoise,
    /// From the rates of decoders to ours.
    resamplers: Vec<(u32, Resampler)>,
    /// Before resampling, or while one block is faded into another.
    scratch: Box<[i16]>,
    /// The format of the audio that was played last.
    current: Option<u8>,
    ticks: Ticks,
    started: bool,
    /// The next number to be played.
    next: i64,
    /// Where on the sender's clock what has been decoded ends.
    cursor: Grains,
    gap: Gap,
    /// The sender has said that it is silent.
    quiet: bool,
    /// Since the delay was last changed.
    unchanged: Grains,
    report: PlayoutReport,
}

/// What has been made up since a packet was decoded.
#[derive(Clone, Copy, Debug, Default)]
struct Gap {
    filled: Grains,
    recovered: Grains,
}

impl Playout {
    /// Allocates all that it will ever need: about 20 KB for G.711.
    pub fn new(config: PlayoutConfig, formats: Vec<Coded>) -> Self {
        let rate = config.rate.max(8_000);
        let (min, max) = (Grains::from_duration(config.min), Grains::from_duration(config.max));
        let mut rates: Vec<u32> =
            formats.iter().filter_map(|coded| Some(coded.decoder.as_ref()?.rate())).collect();
        rates.retain(|other| *other != rate);
        rates.sort_unstable();
        rates.dedup();
        let widest = rates.last().copied().unwrap_or(0) as usize;
        let resamplers = rates.into_iter().map(|from| (from, Resampler::new(from, rate))).collect();
        let kept_ms =
            (max.max(if config.patient { PATIENT_DELAY } else { min }) + STALL).samples(1_000) as usize;
        // A packet, what is looked at beside it, and room to stretch.
        let sound_ms = PACKET_MS_MAX as usize + 120;
        Playout {
            rate,
            min,
            max,
            patient: config.patient,
            scaling: true,
            store: Store::new(formats.iter().map(bytes_a_ms).max().unwrap_or(0) * kept_ms),
            numbers: None,
            window: Window::new(),
            sound: Sound::new(rate as usize / 1_000 * sound_ms),
            noise: ComfortNoise::new(rate, config.seed),
            resamplers,
            scratch: vec![0; widest / 1_000 * PACKET_MS_MAX as usize].into(),
            formats,
            current: None,
            ticks: Ticks::default(),
            started: false,
            next: 0,
            cursor: Grains::ZERO,
            gap: Gap::default(),
            quiet: false,
            unchanged: Grains::ZERO,
            report: PlayoutReport::default(),
        }
    }

    /// The same without time-scaling: the delay changes by whole frames and in silence only, whatever that sounds like.
    #[must_use]
    pub fn without_scaling(mut self) -> Self {
        self.scaling = false;
        self
    }

    /// Samples a second of what is pulled.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Takes one packet, in whatever order it comes.
    ///
    /// # Errors
    /// [`Verdict::Late`], [`Verdict::Duplicate`], [`Verdict::Undecodable`], [`Verdict::NoCodec`],
    /// [`Verdict::Overrun`]: it will not be played.
    pub fn insert(&mut self, now: Instant, header: &Header, payload: &[u8]) -> Result<(), Verdict> {
        let format = self.formats.iter().position(|coded| coded.payload_type == header.payload_type);
        let format = format.ok_or(Verdict::NoCodec)?;
        let coded = &self.formats[format];
        let span = match (coded.kind, &coded.decoder) {
            (Kind::Audio, Some(decoder)) => {
                let samples = decoder.samples(payload).map_err(|_| Verdict::Undecodable)?;
                Grains::from_samples(samples as i64, decoder.rate())
            }
            (Kind::Noise | Kind::Event, _) => Grains::ZERO,
            (Kind::Audio | Kind::Video | Kind::Other, _) => return Err(Verdict::NoCodec),
        };
        if payload.len() > PAYLOAD_MAX {
            return Err(Verdict::Undecodable);
        }
        let (kind, clock) = (coded.kind, coded.clock);
        let now = Grains::at(now);
        let waiting = match self.numbers.as_mut() {
            // Nobody begins with a digit: there is nothing to tell its time by.
            None if kind == Kind::Event => return Ok(()),
            None => {
                let start = self.begin(now, header, clock);
                Waiting::new(0, start, span, format as u8)
            }
            Some(numbers) => {
                let fastest = self.window.least();
                let place = numbers.place(now, fastest, header, (kind != Kind::Event).then_some(clock));
                let Place { number, start, broken } = place.inspect_err(|_| self.report.late += 1)?;
                if broken {
                    self.window.clear();
                }
                Waiting::new(number, start, span, format as u8)
            }
        };
        let first = self.numbers.as_mut().is_none_or(|numbers| numbers.is_first(waiting.number));
        if first && kind == Kind::Event {
            // Its number is known now; nothing of it is played here.
            return Ok(());
        }
        if !self.started {
            self.next = self.next.min(waiting.number);
        }
        let behind = !first || waiting.number < self.next;
        if let Some(numbers) = &mut self.numbers {
            numbers.judged(header.sequence, behind);
        }
        if !first {
            self.report.duplicates += 1;
            return Err(Verdict::Duplicate);
        }
        if kind == Kind::Audio {
            self.window.push(now, now - waiting.start);
        }
        if behind {
            self.report.late += 1;
            return Err(Verdict::Late);
        }
        self.make_room(&waiting, payload.len());
        if waiting.number < self.next {
            self.report.overruns += 1;
            return Err(Verdict::Overrun);
        }
        self.store.put(waiting, payload);
        if let Some(numbers) = &mut self.numbers {
            numbers.ends_at(waiting.end());
        }
        Ok(())
    }

    /// The next samples: 10 or 20 ms at the configured rate. Always fills all of `pcm`. A tick that was late is made
    /// up for by several pulls in a row.
    pub fn pull(&mut self, now: Instant, pcm: &mut [i16]) -> Pulled {
        let longest = self.rate as usize / 1_000 * 60;
        if pcm.len() > longest {
            // Nobody asks for this much; it is made of what they do ask for.
            let (first, rest) = pcm.split_at_mut(longest);
            let pulled = self.pull(now, first);
            self.pull(now, rest);
            return pulled;
        }
        let tick = Grains::from_samples(pcm.len() as i64, self.rate);
        let now = self.ticks.on_pull(Grains::at(now), tick);
        if !self.started && !self.start(now) {
            pcm.fill(0);
            return Pulled::Silence;
        }
        let left = Grains::from_samples(self.sound.len() as i64, self.rate);
        while self.sound.len() < pcm.len() {
            self.produce(now);
        }
        self.unchanged += tick;
        self.adapt(now, tick, Grains(left.0 % tick.0.max(1)), pcm.len());
        let pulled = self.sound.take(pcm);
        if self.gap.filled > GONE && !self.quiet {
            self.end();
        }
        pulled
    }

    /// What it has done, and where it stands.
    pub fn report(&self) -> PlayoutReport {
        let mut report = self.report;
        if self.numbers.is_none() || !self.started {
            return report;
        }
        let sound = Grains::from_samples(self.sound.len() as i64, self.rate);
        report.delay =
            (self.ticks.now() + sound - self.gap.filled - self.cursor - self.window.least()).to_duration();
        report.buffered = (sound + self.store.held()).to_duration();
        report
    }

    /// The first packet of a source that was not there.
    fn begin(&mut self, now: Grains, header: &Header, clock: u32) -> Grains {
        self.store.clear();
        self.window.clear();
        self.next = 0;
        self.started = false;
        let numbers = Numbers::begin(now, header, clock);
        let start = numbers.end();
        self.numbers = Some(numbers);
        start
    }

    /// The source is gone.
    fn end(&mut self) {
        self.store.clear();
        self.sound.clear();
        self.numbers = None;
        self.started = false;
        self.gap = Gap::default();
    }

    /// The oldest give way, so that a burst shortens what waits instead of being lost itself.
    fn make_room(&mut self, waiting: &Waiting, len: usize) {
        let first = waiting.number - WAITING_MAX;
        while self.next <= first || !self.store.has_room(len) {
            let Some(oldest) = self.first() else {
                self.next = self.next.max(first + 1);
                return;
            };
            if oldest.number > first && self.store.has_room(len) {
                self.next = first + 1;
                return;
            }
            self.store.remove(oldest.number);
            self.next = oldest.number + 1;
            self.cursor = self.cursor.max(oldest.end());
            self.report.overruns += 1;
        }
    }

    /// The first packet that waits.
    fn first(&self) -> Option<Waiting> {
        let highest = self.numbers.as_ref()?.highest();
        (self.next..=highest.min(self.next + WAITING_MAX - 1))
            .find_map(|number| self.store.get(number))
            .copied()
    }

    /// Whether the packet to play next is there and goes on where the last one ended.
    fn goes_on(&self) -> bool {
        let waiting = self.store.get(self.next);
        waiting.is_some_and(|waiting| waiting.span > Grains::ZERO && waiting.start <= self.cursor)
    }

    /// Begins to play once the first packets have waited long enough.
    fn start(&mut self, now: Grains) -> bool {
        let Some(first) = self.first() else { return false };
        let delay = if self.patient { PATIENT_DELAY.max(self.min).min(self.max) } else { self.min };
        if now - first.start < self.window.least() + delay {
            return false;
        }
        self.started = true;
        self.cursor = first.start;
        self.next = first.number;
        self.gap = Gap::default();
        self.quiet = false;
        self.unchanged = Grains::ZERO;
        true
    }

    /// One step towards more samples: a packet, or a block of what stands for one.
    fn produce(&mut self, now: Grains) {
        let block = Grains::from_ms(BLOCK_MS as i64);
        let Some(first) = self.first() else {
            let announced = self.quiet || self.events_before(i64::MAX) > 0;
            return self.fill(!announced, block);
        };
        let missing = first.number - self.next - self.events_before(first.number);
        let ahead = first.start - self.cursor;
        // How far behind the fastest packets it would be played now.
        let sound = Grains::from_samples(self.sound.len() as i64, self.rate);
        let delay = now + sound - first.start - self.window.least();
        if delay > self.max + TICK && self.gap.filled > Grains::ZERO && self.give_up(&first) {
            return;
        }
        let mut left = ahead - self.gap.filled;
        if missing == 0 && ahead < HAIR {
            left = Grains::ZERO;
        } else if missing == 0 && !self.patient {
            // A silence that was meant may be as long as suits us.
            let wanted = self.wanted(Grains::ZERO) - self.window.least();
            if !(wanted..=wanted + TICK + TICK).contains(&(delay + left)) {
                left = wanted + TICK - delay;
            }
        }
        if left > Grains::ZERO {
            if missing == 0 || self.quiet {
                return self.fill(false, left.min(block));
            }
            if left == first.span && self.recover(&first, left) {
                return;
            }
            // The last part may be won back from the packet behind it.
            let before = if left > first.span { left - first.span } else { left };
            return self.fill(true, before.min(block));
        }
        self.settle(missing, ahead, first.span);
        self.play(&first, ahead);
    }

    /// Leaves out a packet that would be played too late, if there is one behind it.
    fn give_up(&mut self, first: &Waiting) -> bool {
        let highest = self.numbers.as_ref().map_or(0, Numbers::highest);
        if (first.number + 1..=highest)
            .take(WAITING_MAX as usize)
            .all(|number| self.store.get(number).is_none())
        {
            return false;
        }
        self.store.remove(first.number);
        self.report.overruns += 1;
        self.next = first.number + 1;
        self.cursor = self.cursor.max(first.end());
        true
    }

    /// How many of the numbers from the next one to this one were events.
    fn events_before(&self, number: i64) -> i64 {
        self.numbers.as_ref().map_or(0, |numbers| numbers.events_between(self.next, number))
    }

    /// The gap is over: says what it was.
    fn settle(&mut self, missing: i64, ahead: Grains, span: Grains) {
        let filled = self.gap.filled;
        let samples = |grains: Grains| u64::try_from(grains.samples(self.rate)).unwrap_or(0);
        let lost = Grains(missing.saturating_mul(span.0)).min(ahead).min(filled);
        self.report.concealed += samples(lost - self.gap.recovered);
        self.report.recovered += samples(self.gap.recovered);
        if !self.quiet {
            self.report.waited += samples(filled - ahead.max(Grains::ZERO));
        }
    }

    fn play(&mut self, waiting: &Waiting, ahead: Grains) {
        let format = waiting.format;
        let mut buffer = [0; PAYLOAD_MAX];
        let payload = self.store.read(waiting, &mut buffer);
        self.store.remove(waiting.number);
        self.next = waiting.number + 1;
        let rate = self.rate;
        let Some(decoder) = &mut self.formats[usize::from(format)].decoder else {
            self.noise.describe(payload);
            self.quiet = true;
            self.cursor = self.cursor.max(waiting.start);
            self.gap.filled = (self.gap.filled - ahead.max(Grains::ZERO)).max(Grains::ZERO);
            self.gap.recovered = Grains::ZERO;
            return;
        };
        self.current = Some(format);
        self.quiet = decoder.is_silence(payload);
        self.gap = Gap::default();
        self.cursor = waiting.end();
        let room = self.sound.room();
        let decoded = if decoder.rate() == rate {
            decoder.decode(payload, room)
        } else {
            let decoded = decoder.decode(payload, &mut self.scratch);
            let resampler = resampler(&mut self.resamplers, decoder.rate());
            decoded.map(|samples| {
                resampler.map_or(0, |resampler| resampler.process(&self.scratch[..samples], room))
            })
        };
        let samples = decoded.unwrap_or_else(|_| {
            // It lied about what it holds.
            let samples = (waiting.span.samples(rate).max(0) as usize).min(room.len());
            room[..samples].fill(0);
            samples
        });
        for block in room[..samples].chunks(rate as usize / 50) {
            self.noise.learn(block);
        }
        self.sound.add(Pulled::Speech, samples);
        self.report.packets += 1;
        self.report.played += samples as u64;
    }

    /// Wins back what is missing just before a packet, if that packet holds it.
    fn recover(&mut self, next: &Waiting, missing: Grains) -> bool {
        let rate = self.rate;
        if self.current != Some(next.format) {
            return false;
        }
        let Some(decoder) = &mut self.formats[usize::from(next.format)].decoder else { return false };
        let mut buffer = [0; PAYLOAD_MAX];
        let payload = self.store.read(next, &mut buffer);
        let samples = missing.samples(decoder.rate()).max(0) as usize;
        let room = self.sound.room();
        let samples = if decoder.rate() == rate {
            let Some(room) = room.get_mut(..samples) else { return false };
            if !decoder.recover(payload, room) {
                return false;
            }
            samples
        } else {
            let Some(scratch) = self.scratch.get_mut(..samples) else { return false };
            if !decoder.recover(payload, scratch) {
                return false;
            }
            let Some(resampler) = resampler(&mut self.resamplers, decoder.rate()) else { return false };
            resampler.process(scratch, room)
        };
        self.sound.add(Pulled::Speech, samples);
        self.gap.filled += missing;
        self.gap.recovered += missing;
        true
    }

    /// Adds a block of at most [`BLOCK_MS`] that nobody sent: concealment first if speech is missing, then noise.
    fn fill(&mut self, missing: bool, length: Grains) {
        let concealed = if missing { CONCEALED_MAX } else { Grains::ZERO };
        let fade = if missing { FADE } else { Grains::from_ms(BLOCK_MS as i64) };
        let into_fade = self.gap.filled - concealed;
        let block = self.rate as usize / 1_000 * BLOCK_MS;
        let samples = (length.samples(self.rate).max(1) as usize).min(block);
        let filled = Grains::from_samples(samples as i64, self.rate);
        let made_up = into_fade < fade && self.conceal(block);
        self.gap.filled += filled;
        if made_up && into_fade < Grains::ZERO {
            return self.sound.add(Pulled::Concealed, samples);
        }
        if !made_up {
            self.noise.fill(&mut self.sound.room()[..samples]);
            return self.sound.add(Pulled::Noise, samples);
        }
        let mut noise = [0; 480];
        let noise = &mut noise[..block];
        self.noise.fill(noise);
        let room = self.sound.room();
        let before = into_fade.samples(self.rate);
        let whole = fade.samples(self.rate).max(1);
        for (n, (sample, noise)) in (before..).zip(room.iter_mut().zip(noise)) {
            let n = n.min(whole);
            *sample = ((i64::from(*sample) * (whole - n) + i64::from(*noise) * n) / whole) as i16;
        }
        self.sound.add(Pulled::Noise, samples);
    }

    /// Writes a whole block of concealment into the room of the sound, without adding it. `false` if nothing has been
    /// heard that could be gone on with.
    fn conceal(&mut self, block: usize) -> bool {
        let rate = self.rate;
        let Some(format) = self.current else { return false };
        let Some(decoder) = &mut self.formats[usize::from(format)].decoder else { return false };
        let room = self.sound.room();
        if decoder.rate() == rate {
            decoder.conceal(&mut room[..block]);
        } else {
            let scratch = &mut self.scratch[..decoder.rate() as usize / 1_000 * BLOCK_MS];
            decoder.conceal(scratch);
            let Some(resampler) = resampler(&mut self.resamplers, decoder.rate()) else { return false };
            resampler.process(scratch, room);
        }
        true
    }

    /// The lateness that must be waited for; what is asked for at a tick lies up to `phase` behind it.
    fn wanted(&self, phase: Grains) -> Grains {
        let (least, worst) = (self.window.least(), self.window.worst() + phase);
        if self.patient {
            return worst;
        }
        worst.max(least + self.min).min(least + self.max)
    }

    /// Makes the delay shorter or longer where the packets ask for it.
    fn adapt(&mut self, now: Grains, tick: Grains, phase: Grains, needed: usize) {
        if self.gap.filled > Grains::ZERO || self.quiet || !self.sound.is_speech() {
            return;
        }
        let sound = Grains::from_samples(self.sound.len() as i64, self.rate);
        let delay = now + sound - self.cursor;
        let slack = delay - self.wanted(phase);
        let excess =
            if self.patient { delay - self.window.least() - self.max - tick } else { slack - tick - SLACK };
        let ms = Grains::from_ms;
        if excess >= Grains::ZERO {
            let (pause, likeness) = match excess {
                far if far > ms(150) => (ms(0), 0.0),
                far if far > ms(50) => (ms(20), 0.3),
                _ => (ms(80), 0.85),
            };
            // What refuses for long is not asked so much any more.
            let likeness = likeness - (self.unchanged - pause).0 as f32 / ms(800).0 as f32;
            if self.unchanged > pause {
                self.hasten(now, needed, likeness.max(0.0));
            }
        } else if slack < Grains::ZERO {
            let (pause, likeness) = if slack < ms(-20) { (ms(20), 0.6) } else { (ms(60), 0.85) };
            let likeness = likeness - (self.unchanged - pause).0 as f32 / ms(500).0 as f32;
            if self.unchanged > pause {
                self.linger(likeness.max(0.0));
            }
        }
    }

    fn hasten(&mut self, now: Grains, needed: usize, likeness: f32) {
        let rate = self.rate;
        if !self.scaling && self.unchanged < UNSCALED_PAUSE {
            return;
        }
        let wanted = SCALED.samples(rate) as usize;
        while self.sound.len() < wanted.max(needed) && self.goes_on() {
            let Some(first) = self.first() else { return };
            self.play(&first, Grains::ZERO);
        }
        let mut len = self.sound.len().min(wanted);
        if !self.goes_on() {
            // Only what is not needed now may go.
            len = len.min((self.sound.len() - needed) * 2);
        }
        let whole = TICK.samples(rate) as usize;
        let changed = self.sound.reshape(len, |pcm| {
            let pcm = &mut pcm[..len];
            let cut = match self.scaling {
                true => stretch::shorten(pcm, rate, likeness),
                false => stretch::shorten_by(pcm, whole),
            };
            -(cut as isize)
        });
        if changed != 0 {
            self.report.shortened += changed.unsigned_abs() as u64;
            self.unchanged = Grains::ZERO;
        }
        while self.sound.len() < needed {
            self.produce(now);
        }
    }

    fn linger(&mut self, likeness: f32) {
        let rate = self.rate;
        if !self.scaling && self.unchanged < UNSCALED_PAUSE {
            return;
        }
        let len = self.sound.len().min(SCALED.samples(rate) as usize);
        let whole = (TICK.samples(rate) as usize).min(len / 2);
        let changed = self.sound.reshape(len, |pcm| {
            let added = match self.scaling {
                true => stretch::lengthen(pcm, len, rate, likeness),
                false => stretch::lengthen_by(pcm, len, whole),
            };
            added as isize
        });
        if changed != 0 {
            self.report.stretched += changed.unsigned_abs() as u64;
            self.unchanged = Grains::ZERO;
        }
    }
}

fn resampler(resamplers: &mut [(u32, Resampler)], from: u32) -> Option<&mut Resampler> {
    resamplers.iter_mut().find(|(rate, _)| *rate == from).map(|(_, resampler)| resampler)
}

/// How many bytes of payload a millisecond takes, as far as a payload of nothing tells.
fn bytes_a_ms(coded: &Coded) -> usize {
    const LEN: usize = 240;
    /// What says less of its length (Opus) seldom needs more.
    const USUAL: usize = 8;
    let Some(decoder) = &coded.decoder else { return 0 };
    decoder.samples(&[0; LEN]).map_or(USUAL, |samples| {
        let micros = samples * 1_000_000 / decoder.rate().max(1) as usize;
        LEN * 1_000 / micros.max(1)
    })
}

/// When pulls come, and when they should: a late one is made up for by those behind it.
#[derive(Clone, Copy, Debug, Default)]
struct Ticks {
    /// How much has been pulled.
    pulled: Grains,
    /// The earliest that a pull has come, less what had been pulled, in this window and the one before.
    earliest: [Option<Grains>; 2],
    window: Grains,
}

impl Ticks {
    /// When this pull should have come.
    fn on_pull(&mut self, now: Grains, tick: Grains) -> Grains {
        let offset = now - self.pulled;
        if now - self.window > TICK_WINDOW {
            self.earliest = [None, self.earliest[0]];
            self.window = now;
        }
        self.earliest[0] = Some(self.earliest[0].map_or(offset, |earliest| earliest.min(offset)));
        let due = self.now();
        self.pulled += tick;
        due
    }

    /// When the next pull is due.
    fn now(&self) -> Grains {
        let earliest = self.earliest.iter().flatten().min();
        self.pulled + earliest.copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codec::coder::Format;

    #[test]
    fn a_party_with_g711_takes_little() {
        let format = Format { name: "pcmu", clock: 8_000, channels: 1, fmtp: "" };
        let codec = codec::registry::find(&format).expect("G.711 is always there");
        let decoder = codec.decoder(&format, 8_000);
        let decoder_len = size_of_val(&*decoder);
        let coded = Coded { payload_type: 0, clock: 8_000, kind: Kind::Audio, decoder: Some(decoder) };
        let (min, max) = (Duration::from_millis(20), Duration::from_millis(500));
        let playout =
            Playout::new(PlayoutConfig { rate: 8_000, min, max, patient: false, seed: 1 }, vec![coded]);
        let heap_len = playout.store.heap_len() + playout.window.heap_len() + playout.sound.heap_len();
        let len = heap_len + size_of_val(&playout) + decoder_len;
        assert!(len <= 24 * 1024, "{len} bytes, {decoder_len} of them the decoder's own");
    }

    #[test]
    fn ticks_are_due_when_the_earliest_ones_came() {
        let ms = Grains::from_ms;
        let mut ticks = Ticks::default();
        let due: Vec<_> = [100, 120, 190, 190, 190, 200].map(|at| ticks.on_pull(ms(at), ms(20))).into();
        assert_eq!(due, [100, 120, 140, 160, 180, 200].map(ms));
        // One that comes earlier than all is due then; ticks that stay late are late no more after a while.
        assert_eq!(ticks.on_pull(ms(215), ms(20)), ms(215));
        let last = (0..250).map(|n| ticks.on_pull(ms(265 + n * 20), ms(20))).last();
        assert_eq!(last, Some(ms(265 + 249 * 20)));
    }
}
