//! What can be known of a stream by looking at it: extended sequence, loss, duplicates, reordering (RFC 3550 A.1, A.3),
//! jitter (A.8), and what the peers' reports say of it. Drops nothing and never changes a packet.

mod emodel; // from loss and delay to a score

use crate::wire::rtcp::{ReportBlock, SenderInfo};
use crate::wire::rtp::Header;
use base::{Duration, Instant};
use codec::payload::Impairment;
use command::{RemoteTag, StreamReport};
use emodel::Heard;

/// What the timestamps of a payload type mean, and what its coding costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// RTP clock in Hz; 0 if it is not known.
    pub clock: u32,
    /// Whether timestamps say when a packet was made; those of events do not.
    pub paced: bool,
    /// What its coding costs a listener; `None` for what is no speech.
    pub codec: Option<Impairment>,
}

/// One SSRC from one candidate, one way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stream {
    ssrc: u32,
    tag: RemoteTag,
    /// It comes from the locked source, so it may show that a packet from elsewhere goes on with it.
    trusted: bool,
    /// Nanoseconds of one tick of the payload's clock, times 2^16; 0 while no jitter can be told.
    tick: u64,
    payload: u8,
    /// A jump was seen: the number that would confirm it (RFC 3550 A.1).
    bad_sequence: Option<u16>,
    timestamp: u32,
    /// The timestamp and arrival that jitter is told against.
    paced: Option<(u32, Instant)>,
    last: Instant,
    /// Highest sequence number, extended; begins in the second cycle so that nothing goes below zero.
    highest: u64,
    /// Bit n is set if `highest - n` has come.
    window: u64,
    /// First number of this run.
    base: u64,
    /// Different packets of this run.
    unique: u64,
    packets: u64,
    reordered: u32,
    duplicates: u32,
    /// Lost in runs before this one.
    lost_before: u64,
    /// Gaps between packets that came, of all runs.
    bursts: u32,
    jitter_ns: u64,
    jitter_max_ns: u64,
    /// Of the jitter after each packet that told one, and how many did.
    jitter_sum_ns: u64,
    jitters: u32,
    /// The shortest step forward between timestamps: one packet. `u32::MAX` before the first.
    step_ns: u32,
    /// Of the speech that was heard last.
    codec: Option<Impairment>,
    first: Instant,
    /// The last two sender reports of this stream: (middle of NTP, arrival).
    sender_reports: [(u32, Instant); 2],
    round_trip: Option<Duration>,
    reported_loss: Option<u8>,
    /// What our last report said: packets expected, missing among them (fewer than none if some came twice), received.
    told: (u64, i64, u64),
}

/// A jump ahead of this many numbers or more begins a new run if the next packet confirms it (RFC 3550 A.1).
const DROPOUT_MAX: u16 = 3000;
/// A packet this far behind is late rather than a new run.
const MISORDER_MAX: u16 = 100;
/// A source that moved may have lost this many packets on the way (media.md, "Learning the source").
const REBIND_GAP: u16 = 500;
/// A timestamp of a source that moved may be ahead of the time that has passed by this much.
const REBIND_SLACK: Duration = Duration::from_secs(2);
/// Round trips beyond this are errors of some clock.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(30);
/// Fewer packets than this (a second) say nothing of what a listener would say.
const RATED_MIN: u64 = 50;
/// One packet, where the timestamps do not tell, and at most.
const PACKET_TIME: Duration = Duration::from_millis(20);
const PACKET_TIME_MAX: Duration = Duration::from_millis(200);

impl Stream {
    fn begin(now: Instant, tag: RemoteTag, trusted: bool, header: &Header) -> Self {
        let number = 1 << 16 | u64::from(header.sequence);
        Stream {
            ssrc: header.ssrc,
            tag,
            trusted,
            payload: u8::MAX,
            timestamp: header.timestamp,
            last: now,
            highest: number,
            base: number,
            step_ns: u32::MAX,
            first: now,
            ..Stream::default()
        }
    }

    #[inline]
    fn on_packet(&mut self, now: Instant, header: &Header, pace_of: impl FnOnce(u8) -> Pace) {
        if header.payload_type != self.payload {
            self.on_payload(header.payload_type, pace_of(header.payload_type));
        }
        self.packets += 1;
        let ahead = header.sequence.wrapping_sub(self.highest as u16);
        if ahead == 1 && self.window != 0 {
            self.highest += 1;
            self.window = self.window << 1 | 1;
            self.unique += 1;
            self.bad_sequence = None;
            self.on_pace(now, header.timestamp);
        } else {
            self.on_disorder(now, header, ahead);
        }
        self.last = now;
    }

    fn on_payload(&mut self, payload: u8, pace: Pace) {
        self.payload = payload;
        let tick =
            if pace.clock == 0 || !pace.paced { 0 } else { (1_000_000_000 << 16) / u64::from(pace.clock) };
        // Another clock counts from elsewhere; so does the audio that comes back after an event.
        if tick != 0 && tick != self.tick {
            self.paced = None;
        }
        if pace.codec.is_some() && pace.codec != self.codec {
            self.codec = pace.codec;
            self.step_ns = u32::MAX;
        }
        self.tick = tick;
    }

    /// Interarrival jitter (RFC 3550 A.8), in nanoseconds.
    #[inline]
    fn on_pace(&mut self, now: Instant, timestamp: u32) {
        self.timestamp = timestamp;
        if self.tick == 0 {
            return;
        }
        if let Some((before, arrival)) = self.paced {
            let ticks = timestamp.wrapping_sub(before) as i32;
            if ticks == 0 {
                // Packets of one frame of video: they tell how long the frame takes to send, not jitter.
                return;
            }
            if ticks.unsigned_abs() < 1 << 26 {
                let made = (i64::from(ticks) * self.tick as i64) >> 16;
                let deviation = (now.nanos_since(arrival) as i64).saturating_sub(made).unsigned_abs();
                self.jitter_ns = self.jitter_ns - (self.jitter_ns >> 4) + (deviation >> 4);
                self.jitter_max_ns = self.jitter_max_ns.max(self.jitter_ns);
                self.jitter_sum_ns = self.jitter_sum_ns.saturating_add(self.jitter_ns);
                self.jitters = self.jitters.saturating_add(1);
                // A step backwards is a long one as well.
                self.step_ns = u64::from(self.step_ns).min(made as u64) as u32;
            }
        }
        self.paced = Some((timestamp, now));
    }

    #[cold]
    fn on_disorder(&mut self, now: Instant, header: &Header, ahead: u16) {
        if self.window == 0 {
            // The very first packet.
            (self.window, self.unique) = (1, 1);
            return self.on_pace(now, header.timestamp);
        }
        if ahead == 0 {
            self.duplicates = self.duplicates.saturating_add(1);
        } else if ahead < DROPOUT_MAX {
            self.highest += u64::from(ahead);
            self.window = self.window.checked_shl(u32::from(ahead)).unwrap_or(0) | 1;
            self.unique += 1;
            self.bursts = self.bursts.saturating_add(1);
            self.bad_sequence = None;
            self.on_pace(now, header.timestamp);
        } else if ahead <= u16::MAX - MISORDER_MAX + 1 {
            self.on_jump(header);
        } else {
            self.on_late(u64::from(ahead.wrapping_neg()));
        }
    }

    /// Far away from where the run is: the source has restarted if the next packet follows this one.
    fn on_jump(&mut self, header: &Header) {
        if self.bad_sequence != Some(header.sequence) {
            self.bad_sequence = Some(header.sequence.wrapping_add(1));
            return;
        }
        self.lost_before = self.lost();
        self.bad_sequence = None;
        self.highest = 1 << 16 | u64::from(header.sequence);
        self.base = self.highest - 1;
        (self.window, self.unique) = (0b11, 2);
        self.timestamp = header.timestamp;
        self.paced = None;
    }

    fn on_late(&mut self, behind: u64) {
        let bit = 1u64.checked_shl(behind as u32).unwrap_or(0);
        if self.window & bit != 0 {
            self.duplicates = self.duplicates.saturating_add(1);
            return;
        }
        self.on_filled(behind, bit);
        self.window |= bit;
        self.reordered = self.reordered.saturating_add(1);
        self.unique += 1;
        // One that was sent before the first that came.
        self.base = self.base.min(self.highest - behind);
    }

    /// A packet that was missing has come: its gap is gone, shorter, or two. Beyond the window nothing is known of its
    /// neighbours, and the gap is taken to be as many.
    fn on_filled(&mut self, behind: u64, bit: u64) {
        let number = self.highest - behind;
        if number < self.base {
            self.bursts = self.bursts.saturating_add((self.base - number > 1).into());
        } else if bit != 0 {
            let newer = self.window & (bit >> 1) != 0;
            let older = behind == 63 || self.window & (bit << 1) != 0;
            match (newer, older) {
                (true, true) => self.bursts = self.bursts.saturating_sub(1),
                (false, false) => self.bursts = self.bursts.saturating_add(1),
                (true, false) | (false, true) => {}
            }
        }
    }

    fn lost(&self) -> u64 {
        let expected = self.highest - self.base + 1;
        self.lost_before + expected.saturating_sub(self.unique)
    }

    /// Whether a packet from elsewhere goes on with this stream: the next numbers, and a timestamp that has moved by no
    /// more than the time that has passed.
    pub fn is_continued_by(&self, now: Instant, header: &Header) -> bool {
        let ahead = header.sequence.wrapping_sub(self.highest as u16);
        let ticks = header.timestamp.wrapping_sub(self.timestamp);
        let most = (now.since(self.last) + REBIND_SLACK).as_nanos() << 16;
        header.ssrc == self.ssrc
            && (1..=REBIND_GAP).contains(&ahead)
            && ticks < 1 << 31
            && u128::from(ticks) * u128::from(self.tick) <= most
    }

    /// A sender report of this stream passes by.
    pub fn on_sender_report(&mut self, now: Instant, info: &SenderInfo) {
        self.sender_reports = [(info.middle(), now), self.sender_reports[0]];
    }

    /// A report about this stream passes by. The round trip is the one between here and whoever reports: from the
    /// passing of the sender report that it names until now, less the time that it was held (RFC 3550 section 6.4.1).
    pub fn on_report(&mut self, now: Instant, block: &ReportBlock) {
        self.reported_loss = Some(block.fraction_lost);
        if block.last_sr == 0 {
            return;
        }
        let Some((_, passed)) = self.sender_reports.iter().find(|(middle, _)| *middle == block.last_sr)
        else {
            return;
        };
        let held = Duration::from_nanos((u64::from(block.delay) * 1_000_000_000) >> 16);
        if let Some(round_trip) = now.since(*passed).checked_sub(held).filter(|d| *d < ROUND_TRIP_MAX) {
            self.round_trip = Some(round_trip);
        }
    }

    /// What our own report says of the stream, and how much was lost since the last one (RFC 3550 section 6.4.1 and A.3).
    pub fn report_block(&mut self, now: Instant) -> ReportBlock {
        let lost = self.lost();
        let expected = (self.packets - u64::from(self.duplicates)).saturating_add(lost);
        let missing = lost as i64 - i64::from(self.duplicates);
        let of = expected.saturating_sub(self.told.0);
        let fraction = u64::try_from(missing - self.told.1).unwrap_or(0).saturating_mul(256).checked_div(of);
        self.told = (expected, missing, self.packets);
        let (last_sr, arrival) = self.sender_reports[0];
        let held = if last_sr == 0 { 0 } else { u128::from(now.nanos_since(arrival)) << 16 };
        ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: fraction.unwrap_or(0).min(255) as u8,
            lost: missing.clamp(-0x80_0000, 0x7f_ffff) as i32,
            highest: (self.highest - (1 << 16)) as u32,
            jitter: (self.jitter_ns << 16).checked_div(self.tick).unwrap_or(0) as u32,
            last_sr,
            delay: (held / 1_000_000_000) as u32,
        }
    }

    /// What has been seen. `before` is the round trip between here and the source, as far as it is known.
    pub fn report(&self, before: Option<Duration>) -> StreamReport {
        let rating = self.rating(before);
        StreamReport {
            ssrc: self.ssrc,
            payload: self.payload,
            packets: self.packets,
            lost: self.lost(),
            bursts: self.bursts.into(),
            reordered: self.reordered.into(),
            duplicates: self.duplicates.into(),
            jitter: Duration::from_nanos(self.jitter_ns),
            jitter_max: Duration::from_nanos(self.jitter_max_ns),
            jitter_mean: self.jitter_mean(),
            round_trip: self.round_trip,
            reported_loss: self.reported_loss,
            r_factor: rating.map(|rating| rating as f32),
            mos: rating.map(|rating| emodel::mos(rating) as f32),
            first: self.first,
            last: self.last,
        }
    }

    fn jitter_mean(&self) -> Duration {
        Duration::from_nanos(self.jitter_sum_ns.checked_div(self.jitters.into()).unwrap_or(0))
    }

    /// How the stream is heard at its end: with what was lost until here, after half of either round trip, one packet's
    /// time and a jitter buffer that holds twice the jitter.
    fn rating(&self, before: Option<Duration>) -> Option<f64> {
        let codec = self.codec.filter(|_| self.unique >= RATED_MIN)?;
        let packet = match self.step_ns {
            u32::MAX => PACKET_TIME,
            step => Duration::from_nanos(step.into()).min(PACKET_TIME_MAX),
        };
        let network = (before.unwrap_or_default() + self.round_trip.unwrap_or_default()) / 2;
        let delay = packet + 2 * self.jitter_mean() + network;
        let lost = self.lost();
        let expected = (self.packets - u64::from(self.duplicates)).saturating_add(lost);
        Some(Heard { codec, expected, lost, bursts: self.bursts.into(), delay }.rating())
    }
}

/// The streams that came to one port; when there are too many, the one that has been silent longest gives way.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    list: [Stream; STREAMS_MAX],
    len: u8,
    current: u8,
}

/// Streams that one port remembers.
pub const STREAMS_MAX: usize = 4;

impl Streams {
    /// Notes a packet that was accepted from a candidate; `trusted` if it came from its locked source. What others
    /// send beside that are streams of their own, even with the same SSRC.
    #[inline]
    pub fn on_packet(
        &mut self,
        now: Instant,
        (tag, trusted): (RemoteTag, bool),
        header: &Header,
        pace_of: impl FnOnce(u8) -> Pace,
    ) {
        let mut stream = &mut self.list[usize::from(self.current) % STREAMS_MAX];
        if stream.ssrc != header.ssrc || stream.tag != tag || stream.trusted != trusted || self.len == 0 {
            stream = self.choose(now, tag, trusted, header);
        }
        stream.on_packet(now, header, pace_of);
    }

    #[cold]
    fn choose(&mut self, now: Instant, tag: RemoteTag, trusted: bool, header: &Header) -> &mut Stream {
        let len = usize::from(self.len);
        let is_it = |s: &Stream| s.ssrc == header.ssrc && s.tag == tag && s.trusted == trusted;
        let known = self.list[..len].iter().position(is_it);
        let place = known.unwrap_or_else(|| {
            let place = if len < STREAMS_MAX {
                self.len += 1;
                len
            } else {
                (0..len).min_by_key(|i| self.list[*i].last).unwrap_or(0)
            };
            self.list[place] = Stream::begin(now, tag, trusted, header);
            place
        });
        self.current = place as u8;
        &mut self.list[place]
    }

    /// The stream of an SSRC that a candidate's locked source has sent.
    pub fn find(&mut self, tag: RemoteTag, ssrc: u32) -> Option<&mut Stream> {
        let mut streams = self.list[..usize::from(self.len)].iter_mut();
        streams.find(|s| s.ssrc == ssrc && s.tag == tag && s.trusted)
    }

    /// Whether a candidate's locked source has sent such a stream.
    pub fn knows(&self, tag: RemoteTag, ssrc: u32) -> bool {
        let mut streams = self.list[..usize::from(self.len)].iter();
        streams.any(|s| s.ssrc == ssrc && s.tag == tag && s.trusted)
    }

    /// The source of a stream has just been locked: what it sent before belongs to it.
    pub fn trust(&mut self, tag: RemoteTag, ssrc: u32) {
        if !self.knows(tag, ssrc) {
            let mut streams = self.list[..usize::from(self.len)].iter_mut();
            if let Some(stream) = streams.find(|s| s.ssrc == ssrc && s.tag == tag) {
                stream.trusted = true;
            }
        }
    }

    /// Our reports of the streams that a candidate's locked source has sent something of since the last ones; returns
    /// how many there are.
    pub fn report_blocks(&mut self, now: Instant, tag: RemoteTag, out: &mut [ReportBlock]) -> usize {
        let streams = self.list[..usize::from(self.len)].iter_mut();
        let heard = streams.filter(|s| s.tag == tag && s.trusted && s.packets != s.told.2);
        let pairs = out.iter_mut().zip(heard).map(|(block, stream)| *block = stream.report_block(now));
        pairs.count()
    }

    /// The SSRC heard last.
    pub fn current_ssrc(&self) -> Option<u32> {
        (self.len > 0).then(|| self.list[usize::from(self.current) % STREAMS_MAX].ssrc)
    }

    /// What has been seen of the stream heard last.
    pub fn current_report(&self) -> Option<StreamReport> {
        (self.len > 0).then(|| self.list[usize::from(self.current) % STREAMS_MAX].report(None))
    }

    /// The last packet of the stream heard last, and when it came.
    pub fn last(&self) -> Option<(Header, Instant)> {
        let stream = (self.len > 0).then(|| &self.list[usize::from(self.current) % STREAMS_MAX])?;
        let header = Header {
            marker: false,
            payload_type: stream.payload & 0x7f,
            sequence: stream.highest as u16,
            timestamp: stream.timestamp,
            ssrc: stream.ssrc,
        };
        Some((header, stream.last))
    }

    /// The round trip between here and where these streams go, of the one heard last that knows it.
    pub fn round_trip(&self) -> Option<Duration> {
        let known = self.list[..usize::from(self.len)].iter().filter(|stream| stream.round_trip.is_some());
        known.max_by_key(|stream| stream.last)?.round_trip
    }

    /// What has been seen, in order of appearance; `before` is the round trip between here and the peer, if known.
    pub fn report(&self, before: Option<Duration>) -> Vec<StreamReport> {
        let streams = &self.list[..usize::from(self.len)];
        let mut streams: Vec<_> = streams.iter().map(|stream| stream.report(before)).collect();
        streams.sort_by_key(|stream| stream.first);
        streams
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const PCMU: Pace = Pace { clock: 8_000, paced: true, codec: Some(G711) };
    const G711: Impairment = Impairment { ie: 0.0, bpl: 25.1 };
    const MS: u64 = 1_000_000;

    fn header(sequence: u16, timestamp: u32) -> Header {
        Header { sequence, timestamp, ssrc: 7, ..Header::default() }
    }

    /// Plays (sequence, timestamp, arrival in ms) and tells what was seen.
    fn played(packets: impl IntoIterator<Item = (u16, u32, u64)>) -> StreamReport {
        let mut streams = Streams::default();
        for (sequence, timestamp, at) in packets {
            streams.on_packet(Instant(at * MS), (RemoteTag(0), true), &header(sequence, timestamp), |_| PCMU);
        }
        streams.report(None)[0]
    }

    fn paced(sequences: impl IntoIterator<Item = u16>) -> StreamReport {
        played((0u64..).zip(sequences).map(|(n, s)| (s, n as u32 * 160, n * 20)))
    }

    #[test]
    fn gaps_are_lost_until_they_are_filled_late() {
        let seen = paced([1, 2, 5, 6]);
        assert_eq!((seen.packets, seen.lost, seen.reordered), (4, 2, 0));
        let seen = paced([1, 2, 5, 3, 6]);
        assert_eq!((seen.packets, seen.lost, seen.reordered), (5, 1, 1));
    }

    #[test]
    fn numbers_wrap_without_loss() {
        let seen = paced((0..2000u16).map(|n| n.wrapping_add(65_000)));
        assert_eq!((seen.packets, seen.lost, seen.reordered, seen.duplicates), (2000, 0, 0, 0));
        // A packet of before the wrap comes after it.
        let seen = paced([65_534, 0, 65_535, 1]);
        assert_eq!((seen.lost, seen.reordered), (0, 1));
    }

    #[test]
    fn copies_are_duplicates_and_fill_no_gap() {
        let seen = paced([1, 2, 2, 4, 2, 4]);
        assert_eq!((seen.packets, seen.duplicates, seen.lost), (6, 3, 1));
    }

    #[test]
    fn a_late_packet_from_before_the_first_widens_the_run() {
        let seen = paced([10, 9, 8, 11]);
        assert_eq!((seen.lost, seen.reordered), (0, 2));
        let seen = paced([10, 7]);
        assert_eq!((seen.lost, seen.reordered), (2, 1));
    }

    #[test]
    fn a_restart_is_believed_when_the_next_number_confirms_it() {
        // 3 is lost, then the source restarts at 30,000 and loses 30,002.
        let seen = paced([1, 2, 4, 30_000, 30_001, 30_003]);
        assert_eq!((seen.packets, seen.lost), (6, 2));
        // A single stray changes nothing.
        let seen = paced([1, 2, 30_000, 3, 4]);
        assert_eq!((seen.packets, seen.lost), (5, 0));
    }

    #[test]
    fn an_even_stream_has_no_jitter_and_an_uneven_one_has() {
        assert_eq!(paced(0..100).jitter, Duration::ZERO);
        // Every second packet is 8 ms late: deviations are 8 ms each, so the estimate goes there.
        let seen = played((0..200u64).map(|n| (n as u16, n as u32 * 160, n * 20 + n % 2 * 8)));
        let jitter = seen.jitter.as_secs_f64() * 1e3;
        assert!((7.9..=8.0).contains(&jitter), "{jitter} ms");
        assert_eq!(seen.jitter_max, seen.jitter);
    }

    #[test]
    fn jitter_follows_a_timestamp_that_wraps_and_ignores_events() {
        let start = u32::MAX - 1600;
        let seen = played((0..40u64).map(|n| (n as u16, start.wrapping_add(n as u32 * 160), n * 20)));
        assert_eq!(seen.jitter, Duration::ZERO);
        // A digit of ten packets with one timestamp in the middle of even speech.
        let mut streams = Streams::default();
        for n in 0..60u64 {
            let digit = (20..30).contains(&n);
            let mut header = header(n as u16, if digit { 20 * 160 } else { n as u32 * 160 });
            header.payload_type = if digit { 101 } else { 0 };
            let pace_of =
                |pt| if pt == 101 { Pace { clock: 8_000, paced: false, codec: None } } else { PCMU };
            streams.on_packet(Instant(n * 20 * MS), (RemoteTag(0), true), &header, pace_of);
        }
        assert_eq!(streams.report(None)[0].jitter_max, Duration::ZERO);
    }

    #[test]
    fn a_clean_stream_of_speech_earns_the_best_score() {
        let seen = paced(0..50);
        // 20 ms of packet cost 0.48.
        let (rating, mos) = (seen.r_factor.unwrap(), seen.mos.unwrap());
        assert!((rating - 92.72).abs() < 0.01 && (mos - 4.40).abs() < 0.01, "{rating} {mos}");
    }

    #[test]
    fn too_few_packets_and_what_is_no_speech_are_not_rated() {
        assert_eq!((paced(0..49).mos, paced(0..49).r_factor), (None, None));
        let mut streams = Streams::default();
        for n in 0..100u64 {
            let video = Pace { clock: 90_000, paced: true, codec: None };
            streams.on_packet(
                Instant(n * MS),
                (RemoteTag(0), true),
                &header(n as u16, n as u32 * 90),
                |_| video,
            );
        }
        assert_eq!(streams.report(None)[0].mos, None);
    }

    #[test]
    fn loss_jitter_and_round_trips_lower_the_score() {
        let clean = paced(0..1_000).r_factor.unwrap();
        let apart = paced((0..1_000).filter(|n| n % 20 != 7));
        let runs = paced((0..1_000).filter(|n| n % 100 < 90 || n % 100 > 94));
        assert_eq!((apart.lost, apart.bursts, runs.lost, runs.bursts), (50, 50, 50, 10));
        let (apart, runs) = (apart.r_factor.unwrap(), runs.r_factor.unwrap());
        assert!(runs < apart && apart < clean - 10.0, "{runs} {apart} {clean}");
        // Ten packets at a time.
        let uneven = played((0..200u64).map(|n| (n as u16, n as u32 * 160, n / 10 * 200)));
        assert!(uneven.jitter_mean > Duration::from_millis(25) && uneven.jitter_mean < uneven.jitter_max);
        assert!(uneven.r_factor.unwrap() < clean - 1.2);
        // Half a second to the source and back: 250 ms more on the way.
        let mut streams = Streams::default();
        for n in 0..1_000u64 {
            streams.on_packet(
                Instant(n * 20 * MS),
                (RemoteTag(0), true),
                &header(n as u16, n as u32 * 160),
                |_| PCMU,
            );
        }
        let far = streams.report(Some(Duration::from_millis(500)))[0].r_factor.unwrap();
        assert!((clean - far - (0.024 * 250.0 + 0.11 * 92.7)).abs() < 0.1, "{far}");
    }

    #[test]
    fn digits_in_the_middle_keep_the_codec_of_the_speech() {
        let mut streams = Streams::default();
        for n in 0..100u64 {
            let mut header = header(n as u16, n as u32 * 160);
            header.payload_type = if n < 80 { 18 } else { 101 };
            let g729 = Pace { codec: Some(Impairment { ie: 11.0, bpl: 19.0 }), ..PCMU };
            let pace_of = |pt| if pt == 18 { g729 } else { Pace { clock: 8_000, paced: false, codec: None } };
            streams.on_packet(Instant(n * 20 * MS), (RemoteTag(0), true), &header, pace_of);
        }
        let rating = streams.report(None)[0].r_factor.unwrap();
        assert!((rating - 81.72).abs() < 0.01, "{rating}");
    }

    #[test]
    fn a_gap_that_is_filled_late_is_no_burst_and_one_filled_in_the_middle_is_two() {
        assert_eq!(paced([1, 2, 4, 3, 5]).bursts, 0);
        assert_eq!(paced([1, 2, 6, 4, 7]).bursts, 2);
        assert_eq!(paced([1, 2, 6, 5, 7]).bursts, 1);
        assert_eq!(paced([10, 7, 11]).bursts, 1);
    }

    #[test]
    fn each_ssrc_has_its_own_figures_and_the_longest_silent_gives_way() {
        let mut streams = Streams::default();
        let play = |streams: &mut Streams, ssrc: u32, at: u64| {
            let header = Header { ssrc, sequence: at as u16, ..Header::default() };
            streams.on_packet(Instant(at * MS), (RemoteTag(0), true), &header, |_| PCMU);
        };
        for at in 0..4 {
            play(&mut streams, at as u32, at);
        }
        play(&mut streams, 0, 10); // the first lives on
        play(&mut streams, 9, 11); // takes the place of the second
        let ssrcs: Vec<_> = streams.report(None).iter().map(|s| s.ssrc).collect();
        assert_eq!(ssrcs, [0, 2, 3, 9]);
        assert_eq!(streams.report(None)[0].packets, 2);
        assert_eq!(streams.current_ssrc(), Some(9));
    }

    #[test]
    fn candidates_with_one_ssrc_are_two_streams() {
        let mut streams = Streams::default();
        for tag in [1, 2, 1] {
            streams.on_packet(Instant(0), (RemoteTag(tag), true), &header(1, 1), |_| PCMU);
        }
        assert_eq!(streams.report(None).iter().map(|s| s.packets).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn what_a_stranger_sends_is_a_stream_of_its_own_until_its_source_is_locked() {
        let mut streams = Streams::default();
        for trusted in [true, false, true] {
            streams.on_packet(Instant(0), (RemoteTag(0), trusted), &header(1, 1), |_| PCMU);
        }
        assert_eq!(streams.report(None).iter().map(|s| s.packets).collect::<Vec<_>>(), [2, 1]);
        let mut streams = Streams::default();
        streams.on_packet(Instant(0), (RemoteTag(0), false), &header(1, 1), |_| PCMU);
        assert!(!streams.knows(RemoteTag(0), 7) && streams.find(RemoteTag(0), 7).is_none());
        streams.trust(RemoteTag(0), 7);
        streams.on_packet(Instant(0), (RemoteTag(0), true), &header(2, 2), |_| PCMU);
        assert_eq!(streams.report(None).iter().map(|s| s.packets).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn a_stream_goes_on_only_with_its_next_numbers_and_a_timestamp_in_time() {
        let mut stream = Stream::begin(Instant(0), RemoteTag(0), true, &header(65_500, 1000));
        stream.on_packet(Instant(0), &header(65_500, 1000), |_| PCMU);
        let later = Instant(1_000 * MS);
        let check = |sequence, timestamp, ssrc, expected| {
            let header = Header { sequence, timestamp, ssrc, ..Header::default() };
            assert_eq!(stream.is_continued_by(later, &header), expected, "{header:?}");
        };
        check(65_501, 1160, 7, true);
        check(14, 9000, 7, true); // 50 packets further, across the wrap
        check(464, 9000, 7, true);
        check(465, 9000, 7, false); // 501 further
        check(65_500, 9000, 7, false);
        check(65_499, 9000, 7, false);
        check(65_501, 1000 + 3 * 8000, 7, true);
        check(65_501, 1001 + 3 * 8000, 7, false); // more than a second and the slack
        check(65_501, 999, 7, false); // back in time
        check(65_501, 1160, 8, false);
    }

    #[test]
    fn the_round_trip_is_from_the_sender_report_to_its_echo_less_the_holding() {
        let mut stream = Stream::begin(Instant(0), RemoteTag(0), true, &header(1, 1));
        let info = |ntp| SenderInfo { ntp, timestamp: 0, packets: 0, octets: 0 };
        stream.on_sender_report(Instant(1_000 * MS), &info(0xabcd_0123_4567_89ab));
        stream.on_sender_report(Instant(6_000 * MS), &info(0xabcd_0128_4567_89ab));
        let block = |last_sr, delay| ReportBlock {
            ssrc: 7,
            fraction_lost: 12,
            lost: 0,
            highest: 0,
            jitter: 0,
            last_sr,
            delay,
        };
        // An echo of the report before the last, held for half a second.
        stream.on_report(Instant(1_540 * MS), &block(0x0123_4567, 32_768));
        assert_eq!(stream.report(None).round_trip, Some(Duration::from_millis(40)));
        assert_eq!(stream.report(None).reported_loss, Some(12));
        // One that names no report of this stream, one without, one that was held longer than it can have been.
        stream.on_report(Instant(7_000 * MS), &block(5, 0));
        stream.on_report(Instant(7_000 * MS), &block(0, 0));
        stream.on_report(Instant(6_100 * MS), &block(0x0128_4567, 65_536));
        assert_eq!(stream.report(None).round_trip, Some(Duration::from_millis(40)));
    }

    proptest! {
        /// Against the plain definition, for streams that are disturbed no further than the window can see.
        #[test]
        fn figures_are_those_of_counting_by_hand(
            start: u16,
            disturbances in proptest::collection::vec((0..20u8, 0..8u64), 1..400),
        ) {
            let mut sent: Vec<(u64, u64)> = Vec::new(); // (order of arrival, number)
            for (n, (kind, delay)) in (100u64..).zip(&disturbances) {
                match kind {
                    0 => {}
                    1 => sent.extend([(n * 2, n), (n * 2 + delay, n)]),
                    2 => sent.push((n * 2 + delay * 2 + 1, n)),
                    _ => sent.push((n * 2, n)),
                }
            }
            sent.sort_unstable();
            prop_assume!(!sent.is_empty());
            let seen = paced(sent.iter().map(|(_, n)| start.wrapping_add(*n as u16)));
            let (mut numbers, mut highest, mut late, mut copies) = (BTreeSet::new(), 0, 0, 0);
            for (_, n) in &sent {
                if !numbers.insert(*n) {
                    copies += 1;
                } else if *n < highest {
                    late += 1;
                }
                highest = highest.max(*n);
            }
            let expected = numbers.last().unwrap() - numbers.first().unwrap() + 1;
            prop_assert_eq!(seen.lost, expected - numbers.len() as u64);
            prop_assert_eq!((seen.reordered, seen.duplicates), (late, copies));
            let gaps = numbers.iter().zip(numbers.iter().skip(1)).filter(|(one, next)| *one + 1 < **next);
            prop_assert_eq!(seen.bursts, gaps.count() as u64);
            prop_assert_eq!(seen.packets, sent.len() as u64);
        }

        #[test]
        fn any_sequence_of_headers_is_survived(
            headers in proptest::collection::vec((any::<u16>(), any::<u32>(), 0..3u32, 0..200u8, any::<u32>()), 0..300),
        ) {
            let mut streams = Streams::default();
            let mut now = 0;
            for (sequence, timestamp, ssrc, payload_type, wait) in headers {
                now += u64::from(wait);
                let header = Header { sequence, timestamp, ssrc, payload_type, marker: false };
                streams.on_packet(Instant(now), (RemoteTag(0), true), &header, |pt| Pace {
                    clock: u32::from(pt) * 1000,
                    paced: pt % 2 == 0,
                    codec: (pt % 3 == 0).then_some(G711),
                });
            }
            for stream in streams.report(None) {
                prop_assert!(stream.duplicates <= stream.packets && stream.jitter <= stream.jitter_max);
                prop_assert!(stream.jitter_mean <= stream.jitter_max);
                prop_assert!(stream.mos.is_none_or(|mos| (1.0..=4.5).contains(&mos)));
            }
        }
    }
}
