//! RTCP of streams that begin or end here: sender and receiver reports about every five seconds, a random name, call
//! quality, a goodbye (RFC 3550 section 6, RFC 3611 section 4.7). Sends nothing and takes nothing that was relayed.

use crate::quality::{STREAMS_MAX, Streams};
use crate::wire::rtcp::{ReportBlock, SenderInfo, VoipMetrics, Writer};
use crate::wire::rtp::Header;
use base::{Duration, Instant, Now, Rng, Wall};
use command::{RemoteTag, StreamReport, VoiceReport};

/// Bytes that suffice for any report, without what encryption adds.
pub const REPORT_MAX: usize = 256;

/// A canonical name that tells nothing: the same for all streams of a bridge.
pub type Cname = [u8; 16];

/// The mean time between two reports; each is half of it to one and a half (RFC 3550 section 6.2), and half of that after
/// the first.
const INTERVAL: Duration = Duration::from_secs(5);
/// A stream whose timestamps jump by more than this against the clock is told anew.
const JUMP: Duration = Duration::from_millis(100);
/// Round trips beyond this are errors of some clock.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(30);

/// The reports of one port towards its peer.
#[derive(Debug)]
pub struct Reporter {
    rng: Rng,
    cname: Cname,
    /// Who reports: the stream that we send, or a number of its own before there is one.
    ssrc: u32,
    sent: Option<Sent>,
    /// A stream that was sent before this one and has not been taken leave of.
    ended: Option<u32>,
    next: Instant,
    /// None was made yet.
    is_first: bool,
    /// The last sender reports: (middle of NTP, when).
    told: [(u32, Instant); 4],
    round_trip: Option<Duration>,
    reported_loss: Option<u8>,
}

/// The stream that we send.
#[derive(Clone, Copy, Debug)]
struct Sent {
    packets: u32,
    octets: u32,
    /// Hz.
    clock: u32,
    /// A moment, and the timestamp of what is spoken then.
    anchor: (Instant, u32),
    /// Nothing was told of it yet.
    is_new: bool,
    /// Packets when the last report was made, and the one before.
    told: [u32; 2],
}

impl Reporter {
    /// Its first report is due at once.
    pub fn new(now: Instant, cname: Cname, mut rng: Rng) -> Self {
        let ssrc = rng.u32();
        let never = (0, Instant::default());
        Reporter {
            rng,
            cname,
            ssrc,
            sent: None,
            ended: None,
            next: now,
            is_first: true,
            told: [never; 4],
            round_trip: None,
            reported_loss: None,
        }
    }

    /// The stream that we send goes on as one that was relayed until now, with so many packets and payload bytes; the
    /// next report is due at once.
    pub fn take_over(&mut self, now: Instant, last: &Header, clock: u32, (packets, octets): (u32, u32)) {
        self.begin(now, last, clock);
        self.sent = self.sent.map(|sent| Sent { packets, octets, told: [packets; 2], ..sent });
        self.next = now;
    }

    /// A packet of ours goes out, with payload of so many bytes. `paced` if its timestamp says when it was made; those
    /// of events do not. Another SSRC than before ends the stream before.
    #[inline]
    pub fn on_sent(&mut self, now: Instant, header: &Header, clock: u32, paced: bool, octets: usize) {
        if self.ssrc != header.ssrc || self.sent.is_none_or(|sent| sent.clock != clock && paced) {
            self.begin(now, header, clock);
        }
        let Some(sent) = &mut self.sent else { return };
        sent.packets = sent.packets.wrapping_add(1);
        sent.octets = sent.octets.wrapping_add(octets as u32);
        if paced {
            sent.on_pace(now, header.timestamp);
        }
    }

    #[cold]
    fn begin(&mut self, now: Instant, header: &Header, clock: u32) {
        let (mut packets, mut octets, mut told) = (0, 0, [0; 2]);
        match &self.sent {
            Some(sent) if self.ssrc == header.ssrc => {
                (packets, octets, told) = (sent.packets, sent.octets, sent.told);
            }
            Some(_) => {
                self.ended = Some(self.ssrc);
                self.next = now;
            }
            None => {}
        }
        self.ssrc = header.ssrc;
        self.sent =
            Some(Sent { packets, octets, clock, anchor: (now, header.timestamp), is_new: true, told });
    }

    /// A report of the peer about one of our streams.
    pub fn on_report(&mut self, now: Instant, block: &ReportBlock) {
        if block.ssrc != self.ssrc {
            return;
        }
        self.reported_loss = Some(block.fraction_lost);
        let told = self.told.iter().find(|(middle, _)| *middle == block.last_sr && *middle != 0);
        if let Some((_, when)) = told {
            let held = Duration::from_nanos((u64::from(block.delay) * 1_000_000_000) >> 16);
            let round_trip = now.since(*when).checked_sub(held).filter(|time| *time < ROUND_TRIP_MAX);
            self.round_trip = round_trip.or(self.round_trip);
        }
    }

    /// Between here and the peer, as its reports tell.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// What the peer said last of our packets: lost, of 256.
    pub fn reported_loss(&self) -> Option<u8> {
        self.reported_loss
    }

    /// Who sends our reports.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// When the next report is due.
    pub fn poll_timeout(&self) -> Instant {
        self.next
    }

    /// The next report is due at once: what we send or hear has become another's.
    pub fn hurry(&mut self, now: Instant) {
        self.next = self.next.min(now);
    }

    /// Writes the report that is due about what a candidate sends, and returns its length; `None` if none is due or the
    /// buffer is shorter than [`REPORT_MAX`].
    pub fn report(
        &mut self,
        now: Now,
        heard: (&mut Streams, RemoteTag),
        metrics: Option<&VoipMetrics>,
        buffer: &mut [u8],
    ) -> Option<usize> {
        if now.mono < self.next || buffer.len() < REPORT_MAX {
            return None;
        }
        // The first can hardly tell of anything, so that the next comes sooner (RFC 3550 section 6.3.1).
        let mean = if core::mem::take(&mut self.is_first) { INTERVAL / 2 } else { INTERVAL };
        let nanos = mean.as_nanos() as u64;
        self.next = now.mono + Duration::from_nanos(nanos / 2 + self.rng.below(nanos));
        let mut writer = Writer::new(buffer);
        self.begin_report(now, heard, &mut writer);
        if let Some(metrics) = metrics {
            writer.voip_metrics(self.ssrc, metrics);
        }
        if let Some(ssrc) = self.ended.take() {
            writer.goodbye(ssrc);
        }
        Some(writer.len())
    }

    /// Writes the last report, with a goodbye, and returns its length; `None` if nothing was ever sent or the buffer is
    /// shorter than [`REPORT_MAX`]. What is sent later is a new beginning.
    pub fn goodbye(
        &mut self,
        now: Now,
        heard: (&mut Streams, RemoteTag),
        buffer: &mut [u8],
    ) -> Option<usize> {
        if self.sent.is_none() || buffer.len() < REPORT_MAX {
            return None;
        }
        let mut writer = Writer::new(buffer);
        self.begin_report(now, heard, &mut writer);
        if let Some(ssrc) = self.ended.take() {
            writer.goodbye(ssrc);
        }
        writer.goodbye(self.ssrc);
        self.sent = None;
        self.next = now.mono + INTERVAL;
        Some(writer.len())
    }

    /// What every compound packet begins with: a report of one kind, and our name.
    fn begin_report(&mut self, now: Now, (streams, tag): (&mut Streams, RemoteTag), writer: &mut Writer<'_>) {
        let mut blocks = [ReportBlock::default(); STREAMS_MAX];
        let count = streams.report_blocks(now.mono, tag, &mut blocks);
        let blocks = &blocks[..count];
        // Who has sent nothing since the report before the last is no sender (RFC 3550 section 6.4).
        match self.sent.as_mut().filter(|sent| sent.is_new || sent.packets != sent.told[1]) {
            Some(sent) => {
                sent.told = [sent.packets, sent.told[0]];
                sent.is_new = false;
                let info = sent.info(now);
                writer.sender_report(self.ssrc, &info, blocks);
                self.told.rotate_right(1);
                self.told[0] = (info.middle(), now.mono);
            }
            None => {
                writer.receiver_report(self.ssrc, blocks);
            }
        }
        writer.description(self.ssrc, &self.cname);
    }
}

impl Sent {
    /// The timestamp of what is spoken at a moment.
    fn timestamp_at(&self, at: Instant) -> u32 {
        let (then, timestamp) = self.anchor;
        let nanos = i128::from(at.0) - i128::from(then.0);
        timestamp.wrapping_add((nanos * i128::from(self.clock) / 1_000_000_000) as u32)
    }

    /// Packets that follow those that arrive go out with their jitter: the anchor follows slowly, but at once over a
    /// jump.
    #[inline]
    fn on_pace(&mut self, now: Instant, timestamp: u32) {
        let (then, before) = self.anchor;
        let ticks = i64::from(timestamp.wrapping_sub(before) as i32);
        let step = ticks * 1_000_000_000 / i64::from(self.clock.max(1));
        let due = then.0.saturating_add_signed(step);
        let late = now.0.wrapping_sub(due) as i64;
        let is_jump = late.unsigned_abs() > JUMP.as_nanos() as u64;
        let at = if is_jump { now.0 } else { due.saturating_add_signed(late / 16) };
        self.anchor = (Instant(at), timestamp);
    }

    fn info(&self, now: Now) -> SenderInfo {
        SenderInfo {
            ntp: ntp(now.wall),
            timestamp: self.timestamp_at(now.mono),
            packets: self.packets,
            octets: self.octets,
        }
    }
}

/// Seconds since 1900 and their fraction.
fn ntp(wall: Wall) -> u64 {
    const FROM_1900_TO_1970: u64 = 2_208_988_800;
    let fraction = ((wall.0 % 1_000_000) << 32) / 1_000_000;
    wall.seconds().wrapping_add(FROM_1900_TO_1970) << 32 | fraction
}

/// What a report on call quality says of a stream and of its speech, where that is played. Bursts are counted here, not
/// their lengths, so that all is said to be one gap: the densities are those of the whole.
pub fn metrics_of(stream: &StreamReport, voice: Option<&VoiceReport>) -> VoipMetrics {
    let expected = (stream.packets.saturating_sub(stream.duplicates) + stream.lost).max(1);
    let rate = |count: u64| (count.saturating_mul(256) / expected).min(255) as u8;
    let late = voice.map_or(0, |voice| voice.late);
    let ms = |time: Duration| u16::try_from(time.as_millis()).unwrap_or(u16::MAX);
    let delay = voice.map_or(0, |voice| ms(voice.delay));
    let tenth = |mos: f32| (mos * 10.0).round().clamp(10.0, 50.0) as u8;
    VoipMetrics {
        ssrc: stream.ssrc,
        loss_rate: rate(stream.lost),
        discard_rate: rate(late),
        burst_density: 0,
        gap_density: rate(stream.lost.saturating_add(late)),
        burst_ms: 0,
        gap_ms: ms(stream.last.since(stream.first)),
        round_trip_ms: stream.round_trip.map_or(0, ms),
        end_system_ms: delay,
        r_factor: stream.r_factor.map(|rating| rating.round().clamp(0.0, 100.0) as u8),
        mos: stream.mos.map(|mos| (tenth(mos), tenth(mos))),
        receiver: if voice.is_some() { VoipMetrics::RECEIVER_ADAPTIVE } else { 0 },
        buffer_ms: [delay; 3],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::Pace;
    use crate::wire::rtcp::{BYE, Compound, Part, RR, SDES, SR, XR};

    const CNAME: &Cname = b"0123456789abcdef";
    const TAG: RemoteTag = RemoteTag(1);
    const WALL: u64 = 1_700_000_000_000_000;

    /// One port in virtual time.
    struct World {
        reporter: Reporter,
        streams: Streams,
        now: Now,
        packet: Header,
    }

    impl World {
        fn new() -> Self {
            let start = Instant(1_000_000_000);
            World {
                reporter: Reporter::new(start, *CNAME, Rng::from_seed(1)),
                streams: Streams::default(),
                now: Now { mono: start, wall: Wall(WALL) },
                packet: Header { ssrc: 7, timestamp: u32::MAX - 8000, ..Header::default() },
            }
        }

        fn pass(&mut self, time: Duration) {
            self.now = Now { mono: self.now.mono + time, wall: self.now.wall + time };
        }

        /// 20 ms of G.711, which goes out later than it should by so much.
        fn send(&mut self, jitter: Duration) {
            let at = self.now.mono + jitter;
            self.reporter.on_sent(at, &self.packet, 8000, true, 160);
            self.packet.timestamp = self.packet.timestamp.wrapping_add(160);
            self.packet.sequence = self.packet.sequence.wrapping_add(1);
            self.pass(Duration::from_millis(20));
        }

        fn hear(&mut self, ssrc: u32, sequence: u16) {
            let header = Header { ssrc, sequence, timestamp: u32::from(sequence) * 160, ..Header::default() };
            let pace = |_| Pace { clock: 8000, paced: true, codec: None };
            self.streams.on_packet(self.now.mono, (TAG, true), &header, pace);
        }

        /// The report that is due.
        fn report(&mut self) -> Option<Vec<u8>> {
            let mut buffer = [0xee; REPORT_MAX];
            let len = self.reporter.report(self.now, (&mut self.streams, TAG), None, &mut buffer)?;
            Some(buffer[..len].to_vec())
        }

        /// Lets time pass without packets until a report is due.
        fn next(&mut self) -> Vec<u8> {
            let wait = self.reporter.poll_timeout().since(self.now.mono);
            self.pass(wait);
            self.report().expect("the time has come")
        }
    }

    fn kinds(report: &[u8]) -> Vec<u8> {
        Compound::parse(report).unwrap().parts().map(|part| part.kind()).collect()
    }

    fn first(report: &[u8]) -> Part<'_> {
        Compound::parse(report).unwrap().parts().next().unwrap()
    }

    #[test]
    fn a_sender_report_agrees_with_what_was_sent_within_5_ms() {
        let mut world = World::new();
        let start = (world.now.wall, world.packet.timestamp);
        // As after a transcoder: up to 15 ms late, each packet otherwise; and a report now and then.
        for n in 0..2000u64 {
            world.send(Duration::from_millis(n * 7 % 16));
            world.pass(Duration::from_micros(n % 3));
            if let Some(report) = world.report().filter(|_| n > 20) {
                let info = first(&report).sender_info().unwrap();
                assert_eq!((info.packets, info.octets), (n as u32 + 1, (n as u32 + 1) * 160));
                let seconds =
                    (info.ntp >> 32) as f64 - 2_208_988_800.0 + (info.ntp as u32) as f64 / 2f64.powi(32);
                let passed = seconds - start.0.0 as f64 / 1e6;
                let spoken = f64::from(info.timestamp.wrapping_sub(start.1)) / 8000.0;
                // On average a packet is 7.5 ms late, and a little for the microseconds above.
                let drift = n as f64 * 1e-6;
                assert!((passed - drift - 0.0075 - spoken).abs() < 0.005, "{n}: {passed} {spoken}");
            }
        }
    }

    #[test]
    fn a_jump_of_the_timestamps_is_followed_at_once() {
        let mut world = World::new();
        (0..50).for_each(|_| world.send(Duration::ZERO));
        world.packet.timestamp = 5_000_000;
        world.send(Duration::ZERO);
        let info = first(&world.next()).sender_info().unwrap();
        let at = world.now.mono.since(Instant(1_000_000_000) + Duration::from_millis(1000));
        assert_eq!(info.timestamp, 5_000_000 + (at.as_nanos() * 8000 / 1_000_000_000) as u32);
    }

    #[test]
    fn reports_come_every_five_seconds_or_so() {
        let mut world = World::new();
        assert!(world.report().is_some(), "the first at once");
        assert_eq!(world.report(), None);
        let start = world.now.mono;
        world.next();
        let second = world.now.mono.since(start);
        assert!((Duration::from_millis(1250)..Duration::from_millis(3750)).contains(&second), "{second:?}");
        let (start, mut before) = (world.now.mono, world.now.mono);
        for _ in 0..400 {
            world.next();
            let gap = world.now.mono.since(before);
            assert!((Duration::from_millis(2500)..Duration::from_millis(7500)).contains(&gap), "{gap:?}");
            before = world.now.mono;
        }
        let mean = before.since(start) / 400;
        assert!((Duration::from_millis(4700)..Duration::from_millis(5300)).contains(&mean), "{mean:?}");
    }

    #[test]
    fn who_has_not_sent_for_two_reports_is_a_receiver() {
        let mut world = World::new();
        assert_eq!(kinds(&world.next()), [RR, SDES]);
        world.send(Duration::ZERO);
        let report = world.next();
        assert_eq!(kinds(&report), [SR, SDES]);
        assert_eq!(first(&report).sender(), Some(7));
        let part = Compound::parse(&report).unwrap().parts().nth(1).unwrap();
        let (ssrc, _, name) = part.items().next().unwrap();
        assert_eq!((ssrc, &part.bytes()[name]), (7, &CNAME[..]));
        assert_eq!(kinds(&world.next()), [SR, SDES]);
        assert_eq!(kinds(&world.next()), [RR, SDES]);
        world.send(Duration::ZERO);
        assert_eq!(kinds(&world.next()), [SR, SDES]);
    }

    #[test]
    fn a_stream_that_was_relayed_is_reported_at_once() {
        let mut world = World::new();
        world.next();
        world.reporter.take_over(world.now.mono, &world.packet, 8000, (1000, 160_000));
        let report = world.report().expect("at once");
        let info = first(&report).sender_info().unwrap();
        assert_eq!((info.packets, info.octets, info.timestamp), (1000, 160_000, world.packet.timestamp));
        world.packet.timestamp = world.packet.timestamp.wrapping_add(160);
        world.pass(Duration::from_millis(20));
        world.send(Duration::ZERO);
        assert_eq!(first(&world.next()).sender_info().unwrap().packets, 1001);
    }

    #[test]
    fn the_end_of_a_stream_is_told() {
        let mut world = World::new();
        let mut buffer = [0; REPORT_MAX];
        let none = world.reporter.goodbye(world.now, (&mut world.streams, TAG), &mut buffer);
        assert_eq!(none, None, "nothing began");
        world.send(Duration::ZERO);
        world.next();
        world.packet.ssrc = 8;
        world.send(Duration::ZERO);
        let report = world.report().expect("another stream is told at once");
        assert_eq!((kinds(&report), first(&report).sender()), (vec![SR, SDES, BYE], Some(8)));
        assert_eq!(report[report.len() - 4..], [0, 0, 0, 7]);
        let len = world.reporter.goodbye(world.now, (&mut world.streams, TAG), &mut buffer).unwrap();
        assert_eq!(kinds(&buffer[..len]), [SR, SDES, BYE]);
        assert_eq!(buffer[len - 4..len], [0, 0, 0, 8]);
    }

    #[test]
    fn what_is_heard_is_reported_while_it_is_heard() {
        let mut world = World::new();
        for sequence in (65_500..65_536u32).chain(0..64).filter(|n| n % 4 != 1) {
            world.hear(20, sequence as u16);
            world.pass(Duration::from_millis(20));
        }
        world.hear(21, 5);
        let sr = SenderInfo { ntp: 0x1_2345_6789_abcd, timestamp: 0, packets: 0, octets: 0 };
        world.streams.find(TAG, 20).unwrap().on_sender_report(world.now.mono, &sr);
        world.pass(Duration::from_millis(500));
        let report = world.next();
        let waited = Duration::from_millis(500);
        let blocks: Vec<_> = first(&report).blocks().collect();
        assert_eq!(blocks.len(), 2);
        let block = blocks[0];
        assert_eq!((block.ssrc, block.highest, block.lost), (20, 0x1_003f, 25));
        assert!((63..=65).contains(&block.fraction_lost), "{block:?}");
        assert_eq!((block.last_sr, block.delay), (0x2345_6789, (waited.as_millis() as u32) * 65_536 / 1000));
        assert_eq!((blocks[1].ssrc, blocks[1].highest, blocks[1].last_sr), (21, 5, 0));
        // Only one goes on, without loss.
        for sequence in 64..74 {
            world.hear(20, sequence);
            world.pass(Duration::from_millis(20));
        }
        let report = world.next();
        let blocks: Vec<_> = first(&report).blocks().collect();
        assert_eq!(blocks.len(), 1);
        assert_eq!((blocks[0].fraction_lost, blocks[0].lost, blocks[0].highest), (0, 25, 0x1_0049));
    }

    #[test]
    fn the_peers_reports_tell_the_round_trip_and_the_loss() {
        let mut world = World::new();
        world.send(Duration::ZERO);
        let middle = first(&world.next()).sender_info().unwrap().middle();
        world.pass(Duration::from_millis(580));
        let block = ReportBlock {
            ssrc: 7,
            fraction_lost: 26,
            last_sr: middle,
            delay: 32_768,
            ..ReportBlock::default()
        };
        world.reporter.on_report(world.now.mono, &ReportBlock { ssrc: 99, ..block });
        assert_eq!((world.reporter.round_trip(), world.reporter.reported_loss()), (None, None));
        world.reporter.on_report(world.now.mono, &block);
        assert_eq!(world.reporter.round_trip(), Some(Duration::from_millis(80)));
        assert_eq!(world.reporter.reported_loss(), Some(26));
        world.reporter.on_report(world.now.mono, &ReportBlock { last_sr: middle ^ 1, ..block });
        assert_eq!(
            world.reporter.round_trip(),
            Some(Duration::from_millis(80)),
            "an unknown report tells none"
        );
    }

    #[test]
    fn the_quality_of_a_call_is_reported() {
        let mut world = World::new();
        let stream = StreamReport {
            ssrc: 20,
            packets: 90,
            lost: 10,
            round_trip: Some(Duration::from_millis(70)),
            mos: Some(3.94),
            r_factor: Some(77.6),
            first: Instant(0),
            last: Instant(2_000_000_000),
            ..StreamReport::default()
        };
        let voice = VoiceReport { late: 5, delay: Duration::from_millis(45), ..VoiceReport::default() };
        let metrics = metrics_of(&stream, Some(&voice));
        let mut buffer = [0; REPORT_MAX];
        world.reporter.on_sent(world.now.mono, &world.packet, 8000, true, 160);
        for ssrc in 0..6 {
            world.hear(ssrc, 1);
        }
        let heard = (&mut world.streams, TAG);
        let len = world.reporter.report(world.now, heard, Some(&metrics), &mut buffer).unwrap();
        assert_eq!(kinds(&buffer[..len]), [SR, SDES, XR], "the longest report fits");
        let part = Compound::parse(&buffer[..len]).unwrap().parts().nth(2).unwrap();
        let read = VoipMetrics::of(&part).unwrap();
        assert_eq!(read, metrics);
        assert_eq!((read.loss_rate, read.discard_rate, read.gap_density), (25, 12, 38));
        assert_eq!((read.r_factor, read.mos), (Some(78), Some((39, 39))));
        assert_eq!((read.round_trip_ms, read.end_system_ms, read.gap_ms), (70, 45, 2000));
        assert_eq!(metrics_of(&StreamReport::default(), None).mos, None);
    }
}
