//! One stream: one SSRC, one way. Writes its packets and judges those that arrive. No socket, no clock.

use rtp::header::Header;
use webrtc_util::marshal::{Marshal, MarshalSize, Unmarshal};

use super::digits::{self, Dialling};
use super::heard::Heard;
use super::words::Words;
use super::{Counts, Side};
use crate::figures::Times;
use crate::sys::Target;

/// Nanoseconds between two packets of a stream whose clock is right.
pub(super) const PERIOD_NS: u64 = 20_000_000;
/// The longest packet that is sent.
pub(super) const PACKET_BYTES: usize = 1_500;

/// Packets whose time of sending is remembered: 5.1 s. What is later than that counts as lost.
const REMEMBERED: u64 = 256;
const ARRIVED: u64 = 1 << 63;

/// What a new stream is made of.
pub(super) struct Birth {
    pub ssrc: u32,
    pub first_seq: u16,
    pub first_timestamp: u32,
    /// Where in the recording it begins: samples of speech, packets of a recording.
    pub start: usize,
    pub side: Side,
    pub words: Words,
    /// The number that the other side wants for what is said.
    pub payload_type: u8,
    /// By its own clock.
    pub period_ns: u64,
    pub socket: usize,
    pub target: Target,
    pub rtcp_target: Target,
}

pub(super) struct Stream {
    birth: Birth,
    /// The stream of the other party, once that has begun.
    pub side: Side,
    pub peer: Option<u32>,
    pub hushed: bool,
    pub next_rtcp_ns: u64,
    pub reports: Reports,
    header: [u8; 12],
    /// What it has said so far and says, each with its number; and which of these now.
    voices: Vec<(Words, u8)>,
    voice: u8,
    /// Nothing is sent, but time goes on.
    pub paused: bool,
    /// Where its party received before it moved, where that was from, and until when both still hold.
    before: Option<(usize, Target, u64)>,
    /// Packets sent; the number of the next one.
    sent: u64,
    /// Periods that went by.
    period: u64,
    /// The next packet begins a talk spurt.
    spurt: bool,
    dialling: Dialling,
    heard_digits: digits::Heard,
    /// By number modulo `REMEMBERED`: when it was sent, and whether it has arrived.
    times: Box<[u64]>,
    /// By number modulo `REMEMBERED`: what it was.
    packets: Box<[Sent]>,
    /// One more than the highest number that has arrived.
    heard_to: u64,
    jitter_ns: f64,
    last_transit_ns: Option<u64>,
    pub counts: Counts,
    /// What its party hears, where that has been converted.
    pub heard: Option<Box<Heard>>,
}

/// What the other side's reports need to know (RFC 3550 section 6.4.1).
#[derive(Default)]
pub(super) struct Reports {
    /// Middle of the NTP time in the last sender report of this stream that arrived, and when that was.
    pub last: Option<(u32, u64)>,
    /// Packets expected and received when the last report block about this stream was made.
    pub before: (u64, u64),
}

/// What a packet was.
#[derive(Clone, Copy)]
enum Sent {
    /// What was said in this period, in which voice.
    Words { period: u64, voice: u8 },
    /// Part of a digit that began in this period.
    Digit { period: u64, payload: [u8; 4] },
}

/// An RTP header as it arrived, and where its payload begins.
pub(super) struct Arrived {
    header: Header,
    payload_at: usize,
}

impl Arrived {
    /// `None` if it is no RTP packet.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let header = Header::unmarshal(&mut &*bytes).ok().filter(|header| header.version == 2)?;
        let payload_at = header.marshal_size();
        (payload_at <= bytes.len()).then_some(Arrived { header, payload_at })
    }

    pub(super) fn ssrc(&self) -> u32 {
        self.header.ssrc
    }

    pub(super) fn sequence(&self) -> u16 {
        self.header.sequence_number
    }

    pub(super) fn timestamp(&self) -> u32 {
        self.header.timestamp
    }

    pub(super) fn payload_type(&self) -> u8 {
        self.header.payload_type
    }

    pub(super) fn payload<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.payload_at..).unwrap_or_default()
    }
}

impl Stream {
    pub(super) fn new(birth: Birth) -> Self {
        let header = Header {
            version: 2,
            payload_type: birth.payload_type,
            sequence_number: birth.first_seq,
            timestamp: birth.first_timestamp,
            ssrc: birth.ssrc,
            ..Header::default()
        };
        let mut bytes = [0; 12];
        header.marshal_to(&mut bytes).expect("12 bytes are a header without extras");
        Stream {
            header: bytes,
            voices: vec![(birth.words.clone(), birth.payload_type)],
            voice: 0,
            side: birth.side,
            birth,
            peer: None,
            hushed: false,
            next_rtcp_ns: 0,
            reports: Reports::default(),
            paused: false,
            before: None,
            period: 0,
            spurt: true,
            dialling: Dialling::default(),
            heard_digits: digits::Heard::default(),
            packets: vec![Sent::Words { period: 0, voice: 0 }; REMEMBERED as usize].into(),
            sent: 0,
            times: vec![0; REMEMBERED as usize].into(),
            heard_to: 0,
            jitter_ns: 0.0,
            last_transit_ns: None,
            counts: Counts { streams: 1, ..Counts::default() },
            heard: None,
        }
    }

    pub(super) fn ssrc(&self) -> u32 {
        self.birth.ssrc
    }

    pub(super) fn period_ns(&self) -> u64 {
        self.birth.period_ns
    }

    pub(super) fn socket(&self) -> usize {
        self.birth.socket
    }

    pub(super) fn target(&self) -> &Target {
        &self.birth.target
    }

    pub(super) fn rtcp_target(&self) -> &Target {
        &self.birth.rtcp_target
    }

    /// RTP time stamp of the next packet.
    pub(super) fn timestamp(&self) -> u32 {
        self.timestamp_of(self.period)
    }

    /// Its party goes on, perhaps elsewhere. What is under way to the old place at `now_ns` is still welcome there for a
    /// second.
    pub(super) fn take_up(&mut self, now_ns: u64, socket: usize, target: Target, rtcp_target: Target) {
        if socket != self.birth.socket || target.address() != self.birth.target.address() {
            self.before = Some((self.birth.socket, self.birth.target, now_ns + 1_000_000_000));
        }
        (self.birth.socket, self.birth.target, self.birth.rtcp_target) = (socket, target, rtcp_target);
        self.paused = false;
    }

    /// Whether its party receives at `socket` when it is `at_ns`.
    pub(super) fn receives_at(&self, socket: usize, at_ns: u64) -> bool {
        let before = self.before.filter(|before| at_ns < before.2);
        socket == self.birth.socket || before.is_some_and(|before| before.0 == socket)
    }

    /// Whether what its party receives may come from `source` when it is `at_ns`.
    pub(super) fn hears_from(&self, source: std::net::SocketAddr, at_ns: u64) -> bool {
        let before = self.before.filter(|before| at_ns < before.2);
        self.birth.target.address() == Some(source)
            || before.is_some_and(|before| before.1.address() == Some(source))
    }

    /// From now on it says `words` under `payload_type`.
    pub(super) fn switch(&mut self, words: &Words, payload_type: u8) {
        let known = self.voices.iter().position(|voice| voice.1 == payload_type);
        self.voice = known.unwrap_or_else(|| {
            self.voices.push((words.clone(), payload_type));
            self.voices.len() - 1
        }) as u8;
    }

    /// These digits are to be sent (RFC 4733), one after the other; what is no digit is left out.
    pub(super) fn dial(&mut self, digits: &str) {
        self.dialling.add(digits);
    }

    /// A period goes by in which nothing is sent.
    pub(super) fn pass(&mut self) {
        self.period += 1;
        self.spurt = true;
    }

    /// Packets sent, and one more than the highest that arrived, both in extended sequence numbers from 0.
    pub(super) fn progress(&self) -> (u64, u64) {
        (self.sent, self.heard_to)
    }

    /// First sequence number, for turning [`Stream::progress`] into what RTCP says.
    pub(super) fn first_seq(&self) -> u16 {
        self.birth.first_seq
    }

    /// Interarrival jitter in RTP time stamp units.
    pub(super) fn jitter_units(&self) -> u32 {
        (self.jitter_ns / 125_000.0) as u32
    }

    /// Interarrival jitter, nanoseconds; `None` before the second arrival.
    pub(super) fn jitter_ns(&self) -> Option<u64> {
        (self.counts.received > 1).then_some(self.jitter_ns as u64)
    }

    /// How long the last arrival took, nanoseconds.
    pub(super) fn last_transit_ns(&self) -> u64 {
        self.last_transit_ns.unwrap_or(0)
    }

    /// Writes the next packet, to be sent at once, and returns its length: `now_ns` is what its arrival will be compared
    /// with.
    pub(super) fn write(&mut self, now_ns: u64, packet: &mut [u8; PACKET_BYTES]) -> usize {
        let number = self.sent;
        let digit = self.dialling.next(self.period, self.birth.words.step());
        let sent = match digit {
            Some(part) => Sent::Digit { period: part.began, payload: part.payload },
            None => Sent::Words { period: self.period, voice: self.voice },
        };
        // The marker: a talk spurt begins (RFC 3551 section 4.1), or a digit (RFC 4733 section 2.3.4).
        let marker = match digit {
            Some(part) => part.first,
            None => std::mem::take(&mut self.spurt),
        };
        self.counts.digits_sent += u64::from(digit.is_some_and(|part| part.first));
        let (payload_type, timestamp, payload) = self.content(&sent);
        packet[..12].copy_from_slice(&self.header);
        packet[1] = payload_type | if marker { 0x80 } else { 0 };
        packet[2..4].copy_from_slice(&self.seq_of(number).to_be_bytes());
        packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
        let len = 12 + payload.len().min(PACKET_BYTES - 12);
        packet[12..len].copy_from_slice(&payload[..len - 12]);
        self.times[(number % REMEMBERED) as usize] = now_ns;
        self.packets[(number % REMEMBERED) as usize] = sent;
        self.sent += 1;
        self.period += 1;
        self.counts.sent += 1;
        len
    }

    /// Payload type, time stamp and payload of a packet.
    fn content<'a>(&'a self, sent: &'a Sent) -> (u8, u32, &'a [u8]) {
        match sent {
            Sent::Words { period, voice } => {
                let (words, payload_type) = &self.voices[usize::from(*voice)];
                (*payload_type, self.timestamp_of(*period), words.payload(self.birth.start, *period))
            }
            Sent::Digit { period, payload } => (crate::session::DIGITS, self.timestamp_of(*period), payload),
        }
    }

    /// Judges a packet of this stream that arrived, and records how long it took.
    pub(super) fn arrive(&mut self, arrived: &Arrived, bytes: &[u8], at_ns: u64, times: &mut Times) {
        let Some(number) = self.number_of(arrived.header.sequence_number) else {
            self.counts.unknown += 1;
            return;
        };
        if !self.tick_off(number, at_ns, times) {
            return;
        }
        if arrived.header.payload_type == crate::session::DIGITS {
            self.heard_digits.on_part(arrived.header.timestamp, arrived.payload(bytes));
        }
        let sent = self.packets[(number % REMEMBERED) as usize];
        let what = (arrived.header.payload_type, arrived.header.timestamp, arrived.payload(bytes));
        if what != self.content(&sent) {
            self.counts.corrupted += 1;
        }
    }

    /// What was made of packet `number` elsewhere has arrived.
    pub(super) fn arrive_converted(&mut self, number: u64, at_ns: u64, times: &mut Times) {
        if self.sent.checked_sub(number).is_none_or(|age| age == 0 || age > REMEMBERED) {
            self.counts.unknown += 1;
        } else {
            self.tick_off(number, at_ns, times);
        }
    }

    /// Whether it is the first of this number.
    fn tick_off(&mut self, number: u64, at_ns: u64, times: &mut Times) -> bool {
        let time = &mut self.times[(number % REMEMBERED) as usize];
        if *time & ARRIVED != 0 {
            self.counts.duplicated += 1;
            return false;
        }
        let transit_ns = at_ns.saturating_sub(*time);
        *time |= ARRIVED;
        self.counts.received += 1;
        times.record(transit_ns);
        self.on_transit(transit_ns);
        if number < self.heard_to {
            self.counts.reordered += 1;
        } else {
            self.heard_to = number + 1;
        }
        true
    }

    /// Packets that are missing before the highest that arrived.
    pub(super) fn missing(&self) -> u64 {
        self.heard_to.saturating_sub(self.counts.received)
    }

    /// Closes the books: what has not come by now is lost.
    pub(super) fn close(&mut self) -> &Counts {
        self.counts.lost = self.counts.sent - self.counts.received;
        self.counts.lossy_streams = u64::from(self.counts.lost > 0);
        self.counts.silent_streams = u64::from(self.counts.received == 0 && self.counts.sent > 0);
        self.counts.digits_heard = self.heard_digits.like(self.dialling.dialled());
        &self.counts
    }

    fn seq_of(&self, number: u64) -> u16 {
        self.birth.first_seq.wrapping_add(number as u16)
    }

    fn timestamp_of(&self, period: u64) -> u32 {
        self.birth.first_timestamp.wrapping_add((period as u32).wrapping_mul(self.birth.words.step()))
    }

    /// The packet's number, if one with this sequence number was sent lately.
    fn number_of(&self, seq: u16) -> Option<u64> {
        let last = self.sent.checked_sub(1)?;
        let age = u64::from(self.seq_of(last).wrapping_sub(seq));
        if age < REMEMBERED { last.checked_sub(age) } else { None }
    }

    /// RFC 3550 section 6.4.1 and appendix A.8, with the spacing of sending known exactly.
    fn on_transit(&mut self, transit_ns: u64) {
        if let Some(last) = self.last_transit_ns.replace(transit_ns) {
            self.jitter_ns += (transit_ns.abs_diff(last) as f64 - self.jitter_ns) / 16.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::{Codec, Speech};
    use proptest::prelude::*;
    use std::sync::{Arc, LazyLock};

    fn stream(first_seq: u16) -> Stream {
        let target = Target::from(std::net::SocketAddr::from(([127, 0, 0, 1], 4000)));
        let birth = Birth {
            ssrc: 77,
            first_seq,
            first_timestamp: u32::MAX - 100,
            start: 12_345,
            side: Side::A,
            words: Words::Speech { speech: Arc::clone(&SPEECH), codec: Codec::Pcma },
            payload_type: 8,
            period_ns: PERIOD_NS,
            socket: 0,
            target,
            rtcp_target: target,
        };
        Stream::new(birth)
    }

    static SPEECH: LazyLock<Arc<Speech>> = LazyLock::new(|| Arc::new(Speech::new(5, Codec::Pcma)));

    struct Bench {
        stream: Stream,
        times: Times,
    }

    impl Bench {
        fn new(first_seq: u16) -> Self {
            Bench { stream: stream(first_seq), times: Times::default() }
        }

        fn sent(&mut self, count: u64) -> Vec<Vec<u8>> {
            let write = |i: u64| {
                let mut packet = [0; PACKET_BYTES];
                let len = self.stream.write(i * PERIOD_NS, &mut packet);
                packet[..len].to_vec()
            };
            (0..count).map(write).collect()
        }

        fn arrive(&mut self, packet: &[u8], at_ns: u64) {
            let arrived = Arrived::parse(packet).unwrap();
            self.stream.arrive(&arrived, packet, at_ns, &mut self.times);
        }
    }

    #[test]
    fn packets_read_as_rtp_with_the_marker_on_the_first() {
        let mut bench = Bench::new(u16::MAX);
        let packets = bench.sent(2);
        let headers: Vec<_> = packets.iter().map(|p| Header::unmarshal(&mut &p[..]).unwrap()).collect();
        assert_eq!((headers[0].sequence_number, headers[1].sequence_number), (u16::MAX, 0));
        assert_eq!((headers[0].timestamp, headers[1].timestamp), (u32::MAX - 100, 59));
        assert_eq!((headers[0].marker, headers[1].marker), (true, false));
        assert_eq!((headers[0].payload_type, headers[0].ssrc), (8, 77));
    }

    #[test]
    fn what_goes_wrong_is_told_apart() {
        let mut bench = Bench::new(65_530);
        let packets = bench.sent(10);
        for number in [0, 1, 2, 4, 3, 4, 6] {
            bench.arrive(&packets[number], number as u64 * PERIOD_NS + 1_000); // 5 never comes, 4 comes twice
        }
        assert_eq!(bench.stream.missing(), 1);
        let mut bitten = packets[7].clone();
        bitten[171] ^= 1;
        bench.arrive(&bitten, 8 * PERIOD_NS);
        bench.arrive(&packets[8][..171], 9 * PERIOD_NS); // cut short
        let mut other = packets[9].clone();
        other[2..4].copy_from_slice(&20_000u16.to_be_bytes());
        bench.arrive(&other, 9 * PERIOD_NS);
        let counts = *bench.stream.close();
        assert_eq!((counts.sent, counts.received, counts.lost), (10, 8, 2));
        assert_eq!((counts.duplicated, counts.reordered, counts.corrupted, counts.unknown), (1, 1, 2, 1));
        assert_eq!((counts.lossy_streams, counts.silent_streams), (1, 0));
        assert_eq!(bench.times.count(), 8);
    }

    #[test]
    fn latency_is_from_sending_to_arrival() {
        let mut bench = Bench::new(0);
        let packets = bench.sent(2);
        bench.arrive(&packets[0], 50_000);
        bench.arrive(&packets[1], PERIOD_NS + 150_000);
        let p = bench.times.percentiles();
        assert!((p.min_us - 50.0).abs() < 0.1 && (p.max_us - 150.0).abs() < 0.2, "{p:?}");
        assert_eq!(bench.stream.jitter_ns(), Some(100_000 / 16));
    }

    #[test]
    fn digits_are_sent_within_the_stream_and_known_on_arrival() {
        let mut bench = Bench::new(0);
        bench.sent(3);
        bench.stream.dial("1#");
        let packets = bench.sent(24);
        let types: Vec<u8> = packets.iter().map(|packet| packet[1]).collect();
        assert_eq!(types[..11], [229, 101, 101, 101, 101, 101, 101, 101, 8, 8, 229], "8 parts, then speech");
        let stamp = |i: usize| u32::from_be_bytes(packets[i][4..8].try_into().unwrap());
        assert!((1..8).all(|i| stamp(i) == stamp(0)), "all parts of a digit have the stamp of its beginning");
        assert_eq!(stamp(8), stamp(0).wrapping_add(8 * 160), "speech goes on with the time that went by");
        assert_eq!(&packets[7][12..], &[1, 0x8a, 3, 32]);
        for packet in &packets[..20] {
            bench.arrive(packet, PERIOD_NS);
        }
        let counts = *bench.stream.close();
        assert_eq!((counts.digits_sent, counts.digits_heard, counts.corrupted), (2, 2, 0));
    }

    #[test]
    fn a_stream_pauses_moves_and_changes_its_codec() {
        let mut bench = Bench::new(0);
        let before = bench.sent(1);
        (0..50).for_each(|_| bench.stream.pass());
        let target = Target::from(std::net::SocketAddr::from(([127, 0, 0, 1], 4002)));
        bench.stream.take_up(5, 9, target, target);
        let speech = Arc::new(Speech::new(6, Codec::Pcmu));
        bench.stream.switch(&Words::Speech { speech, codec: Codec::Pcmu }, 0);
        let after = bench.sent(1);
        let stamp = |packet: &[u8]| u32::from_be_bytes(packet[4..8].try_into().unwrap());
        assert_eq!(stamp(&after[0]), stamp(&before[0]).wrapping_add(51 * 160));
        assert_eq!((after[0][1], after[0][3]), (0x80, 1), "a new spurt, no gap in numbers");
        before.iter().chain(&after).for_each(|packet| bench.arrive(packet, PERIOD_NS));
        let old = std::net::SocketAddr::from(([127, 0, 0, 1], 4000));
        assert!(
            bench.stream.receives_at(0, 6)
                && bench.stream.receives_at(9, 6)
                && bench.stream.hears_from(old, 6)
        );
        let later = 2_000_000_000;
        assert!(!bench.stream.receives_at(0, later) && !bench.stream.hears_from(old, later));
        assert_eq!(bench.stream.close().corrupted, 0);
    }

    proptest! {
        #[test]
        fn any_order_of_arrival_is_counted_exactly(first_seq: u16, order in Just((0..200usize).collect::<Vec<_>>()).prop_shuffle(), keep in 1..200usize) {
            let mut bench = Bench::new(first_seq);
            let packets = bench.sent(200);
            for &number in &order[..keep] {
                bench.arrive(&packets[number], 200 * PERIOD_NS);
            }
            let counts = *bench.stream.close();
            prop_assert_eq!((counts.received, counts.lost), (keep as u64, 200 - keep as u64));
            prop_assert_eq!(counts.corrupted + counts.duplicated + counts.unknown, 0);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut bench = Bench::new(1);
            bench.sent(3);
            if let Some(arrived) = Arrived::parse(&bytes) {
                bench.stream.arrive(&arrived, &bytes, 5, &mut bench.times);
            }
        }
    }
}
