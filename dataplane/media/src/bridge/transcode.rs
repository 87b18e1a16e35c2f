//! One stream on its way from a source to a sink that has another codec: reorder window, decoder, resampler; the
//! sink's maker does the rest. Driven by arrival: only a gap is waited for, at most 40 ms, and steps of the timestamp
//! are scaled and kept, so that pauses and jitter pass on to the receiver's own buffer (media.md, "Transcode").

use super::Scratch;
use super::maker::{Leave, Maker, format_of};
use crate::dtmf::event::{Receiver, Sender};
use crate::wire::rtp::Header;
use base::{Duration, Instant};
use codec::coder::{Decoder, PACKET_MS_MAX};
use codec::noise::ComfortNoise;
use codec::payload::{Kind, by_name};
use codec::registry;
use codec::resample::Resampler;
use command::{Payload, Verdict, VoiceReport};

/// Packets that wait for one that is missing.
const HELD_MAX: usize = 6;
/// A missing packet is waited for so long.
const WINDOW: Duration = Duration::from_millis(40);
/// A gap without notice is concealed for so long.
const CONCEALED_MAX: Duration = Duration::from_millis(60);
/// A packet so far ahead of the last begins anew.
const JUMP: u16 = 200;
/// Payloads up to this length can wait; formats with longer ones have slots of their own length.
const SLOT_LEN: usize = 512;
const SLOT_LEN_MAX: usize = 2_048;
/// Comfort noise is made a frame at a time.
const NOISE_FRAME: Duration = Duration::from_millis(20);
/// Noise is so much later than speech would be, so that speech that comes back meets no noise in its place.
const NOISE_LAG: Duration = Duration::from_millis(10);
/// Noise that was made in the place of speech puts that off, and the next pause is shorter. By more than this it is the
/// source's clock that has stood still.
const AHEAD_MAX: Duration = Duration::from_millis(200);

/// See the module.
pub(super) struct Transcoder {
    lines: Vec<Line>,
    /// Index into `lines` of the speech heard last.
    speaking: usize,
    /// To the sink's rate, from that of each line.
    resamplers: Vec<Resampler>,
    window: Window,
    ssrc: Option<u32>,
    /// A timestamp of the source and what became of it.
    anchor: Option<(u32, u32)>,
    /// The timestamp that would go on from the last speech, and how long that packet was, in ticks of the source.
    next_timestamp: u32,
    step: u32,
    pause: Pause,
    /// In a pause: when the next frame of noise is due, and its timestamp towards the sink.
    noise_due: Option<(Instant, u32)>,
    /// Ticks of the sink by which speech is put off, since noise took its place.
    ahead: u32,
    /// For a sink that takes no comfort noise from a source that sends some.
    noise: Option<Box<ComfortNoise>>,
    /// Hundredths of a decibel.
    gain_centibel: i16,
    /// No digit passes.
    keeps_digits: bool,
    /// What it was made for: formats of source and sink, and the sink's rate.
    made_for: (Box<[Payload]>, Box<[Payload]>, u32),
    /// When [`Transcoder::on_time`] is to be called; others that were planned are stale.
    pub due: Option<Instant>,
    /// Frames won back by forward error correction, and time concealed.
    pub recovered: u64,
    pub concealed: Duration,
}

/// One payload type of the source.
struct Line {
    payload_type: u8,
    clock: u32,
    role: Role,
}

enum Role {
    Speech(Box<dyn Decoder>),
    /// To this payload type of the sink.
    Events(Box<Events>, u8),
    /// Comfort noise; to this payload type of the sink, if it takes any.
    Noise(Option<u8>),
    /// Nothing can be done with it.
    Unknown,
}

/// Digits that come as events, and leave as events of another clock.
struct Events {
    receiver: Receiver,
    sender: Sender,
}

impl Events {
    /// Passes on what has come by now; `at` is the audio clock of the sink.
    fn run(&mut self, to: u8, at: u32, leave: &mut Leave<'_>) -> Result<(), Verdict> {
        while let Some(event) = self.receiver.poll(leave.now) {
            self.sender.follow(leave.now, &event, at);
        }
        while let Some(packet) = self.sender.poll(leave.now) {
            leave.beside(packet.marker, to, packet.timestamp, &packet.payload)?;
        }
        Ok(())
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.receiver.poll_timeout().into_iter().chain(self.sender.poll_timeout()).min()
    }
}

/// A pause that the source has announced.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pause {
    None,
    /// The sink gets noise, a frame at a time, until speech comes back.
    Noise,
    /// As `Noise`, made by the decoder of the speech (Opus).
    Decoder,
}

/// Packets that wait for one that is missing.
struct Window {
    /// The sequence number that would go on.
    next: Option<u16>,
    /// Which of the 64 numbers before that have come, the last one lowest.
    seen: u64,
    held: Vec<Held>,
    bytes: Box<[u8]>,
    slot_len: usize,
    since: Instant,
}

impl Window {
    /// Begins anew at a number.
    fn restart(&mut self, next: u16) {
        (self.next, self.seen) = (Some(next), 0);
    }

    /// Goes on to a number; whether the one before it has come.
    fn advance(&mut self, next: u16, came: bool) {
        let steps = next.wrapping_sub(self.next.unwrap_or(next));
        self.seen = self.seen.checked_shl(steps.into()).unwrap_or(0) | u64::from(came);
        self.next = Some(next);
    }

    /// Why a number from before the next one is of no use.
    fn why_not(&self, sequence: u16) -> Verdict {
        let behind = self.next.unwrap_or(sequence).wrapping_sub(sequence).wrapping_sub(1);
        let came = self.seen.checked_shr(behind.into()).unwrap_or(0) & 1 == 1;
        if came { Verdict::Duplicate } else { Verdict::Late }
    }
}

#[derive(Clone, Copy)]
struct Held {
    header: Header,
    slot: u8,
    len: u16,
}

impl Transcoder {
    /// From the payload types of the source to one that takes `rate` samples a second and knows `sink`'s other formats.
    pub fn new(source: &[Payload], sink: &[Payload], rate: u32, gain_centibel: i16, seed: u64) -> Self {
        let mut slot_len = SLOT_LEN;
        let mut resamplers = Vec::new();
        let lines: Vec<Line> = source
            .iter()
            .map(|payload| {
                let kind = by_name(&payload.encoding).map(|facts| facts.kind);
                let role = match (kind, registry::find(&format_of(payload))) {
                    (_, Some(codec)) => {
                        let format = format_of(payload);
                        let decoder = codec.decoder(&format, rate.min(codec.bandwidth(&format)));
                        if payload.encoding == "l16" {
                            slot_len = SLOT_LEN_MAX;
                        }
                        Role::Speech(decoder)
                    }
                    (Some(Kind::Event), None) => events(payload, sink),
                    (Some(Kind::Noise), None) => {
                        Role::Noise(sink.iter().find(|p| p.encoding == "cn").map(|p| p.number))
                    }
                    (_, None) => Role::Unknown,
                };
                let from = if let Role::Speech(decoder) = &role { decoder.rate() } else { rate };
                resamplers.push(Resampler::new(from, rate));
                Line { payload_type: payload.number, clock: payload.clock.max(1), role }
            })
            .collect();
        let wants_noise = lines.iter().any(|line| matches!(line.role, Role::Noise(None)));
        Transcoder {
            noise: wants_noise.then(|| Box::new(ComfortNoise::new(rate, seed))),
            lines,
            speaking: 0,
            resamplers,
            window: Window {
                next: None,
                seen: 0,
                held: Vec::with_capacity(HELD_MAX),
                bytes: vec![0; HELD_MAX * slot_len].into(),
                slot_len,
                since: Instant(0),
            },
            ssrc: None,
            anchor: None,
            next_timestamp: 0,
            step: 0,
            pause: Pause::None,
            noise_due: None,
            ahead: 0,
            gain_centibel,
            keeps_digits: false,
            made_for: (source.into(), sink.into(), rate),
            due: None,
            recovered: 0,
            concealed: Duration::ZERO,
        }
    }

    /// Goes on after a packet that was passed, and the timestamp that this had towards the sink.
    pub fn continue_from(&mut self, last: &Header, timestamp: u32) {
        self.ssrc = Some(last.ssrc);
        self.window.restart(last.sequence.wrapping_add(1));
        self.window.seen = 1;
        self.anchor = Some((last.timestamp, timestamp));
    }

    /// Whether it is made for this.
    pub fn suits(&self, source: &[Payload], sink: &[Payload], rate: u32, gain_centibel: i16) -> bool {
        let (of, to, at) = &self.made_for;
        (&**of, &**to, *at, self.gain_centibel) == (source, sink, rate, gain_centibel)
    }

    /// A packet of the source. Decodes it and what waited for it, or lets it wait.
    ///
    /// # Errors
    /// Why nothing came of it.
    pub fn on_packet(
        &mut self,
        header: &Header,
        payload: &[u8],
        maker: &mut Maker,
        leave: &mut Leave<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), Verdict> {
        if self.ssrc != Some(header.ssrc) {
            self.restart(header, maker, leave, scratch);
        }
        let ahead = header.sequence.wrapping_sub(self.window.next.unwrap_or(header.sequence));
        if (JUMP..u16::MAX - JUMP).contains(&ahead) {
            self.restart(header, maker, leave, scratch);
            return self.take(header, payload, maker, leave, scratch);
        }
        match ahead {
            0 => {
                let taken = self.take(header, payload, maker, leave, scratch);
                self.catch_up(maker, leave, scratch);
                taken
            }
            1..JUMP => {
                if self.window.held.is_empty() {
                    self.window.since = leave.now;
                }
                self.hold(header, payload, maker, leave, scratch)
            }
            _ => Err(self.window.why_not(header.sequence)),
        }
    }

    /// From now on, whether digits are kept back.
    pub fn set_keeps_digits(&mut self, keeps_digits: bool) {
        self.keeps_digits = keeps_digits;
    }

    /// Adds what it has done.
    pub fn add_to(&self, report: &mut VoiceReport) {
        let source = self.lines.get(self.speaking).map(|line| line.payload_type);
        let source = self.made_for.0.iter().find(|payload| Some(payload.number) == source);
        let codec = source.and_then(|payload| registry::find(&format_of(payload)));
        report.decodes = codec.map(|codec| codec.name).or(report.decodes);
        report.recovered += self.recovered;
        report.concealed += self.concealed;
    }

    /// When [`Transcoder::on_time`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let gap = (!self.window.held.is_empty()).then(|| self.window.since + WINDOW);
        let noise = if self.pause == Pause::None { None } else { self.noise_due.map(|(due, _)| due) };
        let events = self.lines.iter().filter_map(|line| match &line.role {
            Role::Events(events, _) => events.poll_timeout(),
            Role::Speech(_) | Role::Noise(_) | Role::Unknown => None,
        });
        gap.into_iter().chain(noise).chain(events).min()
    }

    /// Gives up what has been waited for long enough, and fills announced pauses with noise.
    pub fn on_time(&mut self, maker: &mut Maker, leave: &mut Leave<'_>, scratch: &mut Scratch) {
        if !self.window.held.is_empty() && leave.now >= self.window.since + WINDOW {
            self.give_up(maker, leave, scratch);
        }
        let at = leave.out.timestamp_now(leave.now);
        for line in &mut self.lines {
            if let Role::Events(events, to) = &mut line.role {
                // What cannot be sent now is repeated by the next packet of the event.
                let _ = events.run(*to, at, leave);
            }
        }
        let Some((due, timestamp)) = self.noise_due.filter(|(due, _)| *due <= leave.now) else { return };
        let ticks = ticks_of(NOISE_FRAME, leave.out.clock());
        // What a stall has left out is not made up for.
        let missed = (leave.now.nanos_since(due) / NOISE_FRAME.as_nanos() as u64) as u32;
        let timestamp = timestamp.wrapping_add(missed.wrapping_mul(ticks));
        self.noise_due = Some((due + NOISE_FRAME * (missed + 1), timestamp.wrapping_add(ticks)));
        let len = maker.rate() as usize / 50;
        let pcm = &mut scratch.second[..len];
        match self.pause {
            Pause::None => return,
            Pause::Noise => {
                let Some(noise) = &mut self.noise else { return };
                noise.fill(pcm);
            }
            Pause::Decoder => {
                let Some(Role::Speech(decoder)) = self.lines.get_mut(self.speaking).map(|l| &mut l.role)
                else {
                    return;
                };
                let from = decoder.rate() as usize / 50;
                decoder.conceal(&mut scratch.first[..from]);
                self.resamplers[self.speaking].process(&scratch.first[..from], pcm);
            }
        }
        // What cannot be sent is counted when speech comes back; noise is not missed.
        let _ = maker.say(leave, timestamp, pcm);
    }

    /// Another stream, or the same one from elsewhere: what waited is decoded, then all begins anew.
    #[cold]
    fn restart(&mut self, header: &Header, maker: &mut Maker, leave: &mut Leave<'_>, scratch: &mut Scratch) {
        while !self.window.held.is_empty() {
            self.give_up(maker, leave, scratch);
        }
        self.ssrc = Some(header.ssrc);
        self.window.restart(header.sequence);
        self.anchor = None;
        self.ahead = 0;
        self.step = 0;
        self.pause = Pause::None;
        leave.out.break_off();
    }

    fn hold(
        &mut self,
        header: &Header,
        payload: &[u8],
        maker: &mut Maker,
        leave: &mut Leave<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), Verdict> {
        if self.window.held.iter().any(|held| held.header.sequence == header.sequence) {
            return Err(Verdict::Duplicate);
        }
        if payload.len() > self.window.slot_len || self.window.held.len() == HELD_MAX {
            // There is no room to wait.
            while !self.window.held.is_empty() {
                self.give_up(maker, leave, scratch);
            }
            let ahead = header.sequence.wrapping_sub(self.window.next.unwrap_or(header.sequence));
            if ahead >= JUMP {
                return Err(Verdict::Late);
            }
            self.fill(header, payload, ahead, maker, leave, scratch);
            return self.take(header, payload, maker, leave, scratch);
        }
        let Window { held, bytes, slot_len, .. } = &mut self.window;
        let slot = (0..HELD_MAX as u8).find(|slot| held.iter().all(|held| held.slot != *slot)).unwrap_or(0);
        let start = usize::from(slot) * *slot_len;
        bytes[start..start + payload.len()].copy_from_slice(payload);
        let place =
            held.partition_point(|other| (other.header.sequence.wrapping_sub(header.sequence) as i16) < 0);
        held.insert(place, Held { header: *header, slot, len: payload.len() as u16 });
        Ok(())
    }

    /// Takes what waited, as far as nothing is missing before it.
    fn catch_up(&mut self, maker: &mut Maker, leave: &mut Leave<'_>, scratch: &mut Scratch) {
        while let Some(first) = self.window.held.first().copied()
            && Some(first.header.sequence) == self.window.next
        {
            self.take_held(first, maker, leave, scratch);
        }
        self.window.since = leave.now;
    }

    /// What is missing before the first that waits will not come.
    fn give_up(&mut self, maker: &mut Maker, leave: &mut Leave<'_>, scratch: &mut Scratch) {
        let Some(first) = self.window.held.first().copied() else { return };
        let missing = first.header.sequence.wrapping_sub(self.window.next.unwrap_or(first.header.sequence));
        if missing > 0 {
            let bytes = core::mem::take(&mut self.window.bytes);
            let start = usize::from(first.slot) * self.window.slot_len;
            let payload = &bytes[start..start + usize::from(first.len)];
            self.fill(&first.header, payload, missing, maker, leave, scratch);
            self.window.bytes = bytes;
        }
        self.take_held(first, maker, leave, scratch);
        self.catch_up(maker, leave, scratch);
    }

    fn take_held(&mut self, held: Held, maker: &mut Maker, leave: &mut Leave<'_>, scratch: &mut Scratch) {
        self.window.held.retain(|other| other.slot != held.slot);
        // Lent for the call: taking one allocates nothing.
        let bytes = core::mem::take(&mut self.window.bytes);
        let start = usize::from(held.slot) * self.window.slot_len;
        // It was counted as accepted when it came; what it holds is judged only now.
        let _ = self.take(&held.header, &bytes[start..start + usize::from(held.len)], maker, leave, scratch);
        self.window.bytes = bytes;
    }

    /// Fills the time before a packet, `missing` packets of which are lost: what the packet holds of the last of them,
    /// else what probably was there, for 60 ms at most.
    fn fill(
        &mut self,
        header: &Header,
        payload: &[u8],
        missing: u16,
        maker: &mut Maker,
        leave: &mut Leave<'_>,
        scratch: &mut Scratch,
    ) {
        self.window.advance(header.sequence, false);
        let speaking = self.speaking;
        let Some(line) = self.lines.get_mut(speaking) else { return };
        let is_next = line.payload_type == header.payload_type;
        let Role::Speech(decoder) = &mut line.role else { return };
        let gap = header.timestamp.wrapping_sub(self.next_timestamp);
        // What is lost may have been events, or a pause may be the rest of the gap: no more than the lost packets held.
        let lost = gap.min(self.step.saturating_mul(missing.into()));
        if !is_next || self.step == 0 || gap > i32::MAX as u32 || lost == 0 {
            return;
        }
        let clock = u64::from(line.clock);
        let rate = u64::from(decoder.rate());
        let frame = (u64::from(self.step) * rate / clock) as usize;
        if frame == 0 || frame > scratch.first.len() {
            return;
        }
        let frames = (lost / self.step) as usize;
        for n in 0..frames {
            let at = header.timestamp.wrapping_sub(lost - n as u32 * self.step);
            let pcm = &mut scratch.first[..frame];
            let elapsed = Duration::from_nanos(n as u64 * u64::from(self.step) * 1_000_000_000 / clock);
            if n + 1 == frames && decoder.recover(payload, pcm) {
                self.recovered += 1;
            } else if elapsed < CONCEALED_MAX {
                decoder.conceal(pcm);
                self.concealed += Duration::from_nanos(u64::from(self.step) * 1_000_000_000 / clock);
            } else {
                leave.out.break_off();
                continue;
            }
            let timestamp = scale(&mut self.anchor, at, line.clock, leave, maker.ptime());
            let len = self.resamplers[speaking].process(&scratch.first[..frame], &mut scratch.second);
            let _ = maker.say(leave, timestamp, &scratch.second[..len]);
        }
    }

    /// A pause begins, the first frame of noise in which has this timestamp towards the sink and is due by then.
    fn begin_pause(&mut self, pause: Pause, due: Instant, timestamp: u32, clock: u32) {
        if self.pause == Pause::None {
            // Speech that was put off has time again: so many frames of noise are left out.
            let frame = ticks_of(NOISE_FRAME, clock);
            let skipped = self.ahead.div_ceil(frame.max(1));
            let natural = timestamp.wrapping_sub(self.ahead);
            if let Some((_, to)) = &mut self.anchor {
                *to = to.wrapping_sub(self.ahead);
            }
            self.ahead = 0;
            let first = natural.wrapping_add(skipped.wrapping_mul(frame));
            self.noise_due = Some((due + NOISE_FRAME * skipped + NOISE_LAG, first));
        }
        self.pause = pause;
    }

    /// Speech is back: it begins where noise has ended, if not later.
    fn end_pause(&mut self, timestamp: u32, leave: &mut Leave<'_>) -> u32 {
        let noise = self.noise_due.take().filter(|_| self.pause != Pause::None);
        self.pause = Pause::None;
        let Some((_, next)) = noise else { return timestamp };
        let over = next.wrapping_sub(timestamp);
        if over == 0 || over > i32::MAX as u32 {
            return timestamp;
        }
        if let Some((_, to)) = &mut self.anchor {
            *to = to.wrapping_add(over);
        }
        let is_little = over <= ticks_of(AHEAD_MAX, leave.out.clock());
        self.ahead = if is_little { over } else { 0 };
        next
    }

    /// A packet in its order.
    fn take(
        &mut self,
        header: &Header,
        payload: &[u8],
        maker: &mut Maker,
        leave: &mut Leave<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), Verdict> {
        self.window.advance(header.sequence.wrapping_add(1), true);
        let place = self.lines.iter().position(|line| line.payload_type == header.payload_type);
        let place = place.ok_or(Verdict::NoCodec)?;
        let now = leave.now;
        let audio_clock = self.lines.get(self.speaking).map(|line| line.clock);
        let line = &mut self.lines[place];
        match &mut line.role {
            Role::Speech(decoder) => {
                let decoded = decoder.decode(payload, &mut scratch.first);
                let samples = match decoded {
                    Ok(samples) => samples,
                    Err(_) if self.step > 0 && self.speaking == place => {
                        // Its time passes all the same.
                        let samples = (u64::from(self.step) * u64::from(decoder.rate())
                            / u64::from(line.clock)) as usize;
                        let samples = samples.min(scratch.first.len());
                        decoder.conceal(&mut scratch.first[..samples]);
                        samples
                    }
                    Err(_) => return Err(Verdict::Undecodable),
                };
                self.step = (samples as u64 * u64::from(line.clock) / u64::from(decoder.rate())) as u32;
                let (is_silence, clock) = (decoder.is_silence(payload), line.clock);
                self.speaking = place;
                self.next_timestamp = header.timestamp.wrapping_add(self.step);
                if is_silence && self.pause == Pause::Decoder {
                    // The decoder knows now; noise goes on by timer.
                    return Ok(());
                }
                if header.marker && self.anchor.is_some() {
                    leave.out.break_off();
                }
                let mut timestamp = scale(&mut self.anchor, header.timestamp, clock, leave, maker.ptime());
                if self.pause != Pause::None {
                    timestamp = self.end_pause(timestamp, leave);
                }
                if is_silence {
                    let length =
                        Duration::from_nanos(u64::from(self.step) * 1_000_000_000 / u64::from(clock));
                    let next = timestamp.wrapping_add(ticks_of(length, leave.out.clock()));
                    self.begin_pause(Pause::Decoder, now + length, next, leave.out.clock());
                }
                let len = self.resamplers[place].process(&scratch.first[..samples], &mut scratch.second);
                let pcm = &mut scratch.second[..len];
                if self.gain_centibel != 0 {
                    codec::pcm::Gain::from_centibel(self.gain_centibel).apply(pcm);
                }
                let said = maker.say(leave, timestamp, pcm);
                if decoded.is_err() { Err(Verdict::Undecodable) } else { said }
            }
            Role::Events(..) if self.keeps_digits => Err(Verdict::Closed),
            Role::Events(events, to) => {
                let clock = line.clock;
                // Timestamps of events whose clock is not the audio's tell nothing about that.
                let of_audio = audio_clock == Some(clock) || self.anchor.is_none();
                let at = if of_audio {
                    scale(&mut self.anchor, header.timestamp, clock, leave, maker.ptime())
                } else {
                    leave.out.timestamp_now(now)
                };
                events.receiver.handle(now, header, line.clock, payload)?;
                events.run(*to, at, leave)
            }
            Role::Noise(Some(to)) => {
                let timestamp = scale(&mut self.anchor, header.timestamp, line.clock, leave, maker.ptime());
                let _ = maker.flush(leave);
                leave.packet(*to, timestamp, |buffer| super::maker::copy(payload, buffer))
            }
            Role::Noise(None) => {
                if let Some(noise) = &mut self.noise {
                    noise.describe(payload);
                    let timestamp =
                        scale(&mut self.anchor, header.timestamp, line.clock, leave, maker.ptime());
                    self.begin_pause(Pause::Noise, now, timestamp, leave.out.clock());
                }
                Ok(())
            }
            Role::Unknown => Err(Verdict::NoCodec),
        }
    }
}

/// What a timestamp of the source is towards the sink: by as many ticks of its clock behind the anchor. Without one the
/// stream goes on from its last packet by the time that has passed.
fn scale(
    anchor: &mut Option<(u32, u32)>,
    timestamp: u32,
    clock: u32,
    leave: &Leave<'_>,
    frame: Duration,
) -> u32 {
    let (from, to) = *anchor.get_or_insert_with(|| (timestamp, leave.out.timestamp_at(leave.now, frame)));
    let ticks = i64::from(timestamp.wrapping_sub(from) as i32) * i64::from(leave.out.clock());
    let scaled = to.wrapping_add((ticks / i64::from(clock)) as u32);
    // Moved on where nothing is rounded, so that the distance never wraps.
    if ticks % i64::from(clock) == 0 && ticks > 0 {
        *anchor = Some((timestamp, scaled));
    }
    scaled
}

/// How many ticks of a clock so much time is.
fn ticks_of(time: Duration, clock: u32) -> u32 {
    (time.as_nanos() * u128::from(clock) / 1_000_000_000) as u32
}

/// To the sink's events of the same clock, else of any.
fn events(source: &Payload, sink: &[Payload]) -> Role {
    let of_sink = || sink.iter().filter(|payload| payload.encoding == "telephone-event");
    let to = of_sink().find(|payload| payload.clock == source.clock).or_else(|| of_sink().next());
    match to {
        Some(to) => {
            // The window puts packets in order; nothing needs to be held back.
            let receiver = Receiver::new(Duration::ZERO);
            let sender = Sender::new(to.clock, Duration::from_millis(20));
            Role::Events(Box::new(Events { receiver, sender }), to.number)
        }
        None => Role::Unknown,
    }
}

/// Samples of the longest packet at the highest rate.
pub(super) const SAMPLES_MAX: usize = 48 * PACKET_MS_MAX as usize;

impl core::fmt::Debug for Transcoder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Transcoder({} formats, {} held)", self.lines.len(), self.window.held.len())
    }
}
