//! Writes compound RTCP packets into a given buffer, part by part (RFC 3550 section 6, RFC 3611 section 4.7). What does
//! not fit is left out whole.

use super::{BLOCK_LEN, BYE, RR, ReportBlock, SDES, SR, SenderInfo, XR, word};

/// A compound packet that grows in a buffer.
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    /// Nothing is written yet.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Writer { buffer, len: 0 }
    }

    /// Bytes written.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A sender report; of more than 31 blocks the first. Like all that follow, `false` if it does not fit.
    pub fn sender_report(&mut self, ssrc: u32, info: &SenderInfo, blocks: &[ReportBlock]) -> bool {
        self.part(SR, |part| {
            part.word(ssrc)?;
            part.bytes(&info.ntp.to_be_bytes())?;
            [info.timestamp, info.packets, info.octets].into_iter().try_for_each(|word| part.word(word))?;
            part.blocks(blocks)
        })
    }

    /// A receiver report; of more than 31 blocks the first.
    pub fn receiver_report(&mut self, ssrc: u32, blocks: &[ReportBlock]) -> bool {
        self.part(RR, |part| {
            part.word(ssrc)?;
            part.blocks(blocks)
        })
    }

    /// A source description with a canonical name of at most 255 bytes.
    pub fn description(&mut self, ssrc: u32, cname: &[u8]) -> bool {
        const CNAME: u8 = 1;
        self.part(SDES, |part| {
            part.word(ssrc)?;
            part.bytes(&[CNAME, u8::try_from(cname.len()).ok()?])?;
            part.bytes(cname)?;
            // The chunk ends with one to four zeros, on a word.
            let end = 4 - part.len % 4;
            part.bytes(&[0; 4][..end])?;
            Some(1)
        })
    }

    /// The end of a source.
    pub fn goodbye(&mut self, ssrc: u32) -> bool {
        self.part(BYE, |part| {
            part.word(ssrc)?;
            Some(1)
        })
    }

    /// An extended report with the metrics of one stream.
    pub fn voip_metrics(&mut self, ssrc: u32, metrics: &VoipMetrics) -> bool {
        self.part(XR, |part| {
            part.word(ssrc)?;
            part.bytes(&metrics.to_bytes())?;
            Some(0)
        })
    }

    /// Header and length around what `fill` writes; it returns the five bits of the header.
    fn part(&mut self, kind: u8, fill: impl FnOnce(&mut Filling<'_>) -> Option<u8>) -> bool {
        let mut part = Filling { buffer: &mut self.buffer[self.len..], len: 0 };
        let filled = part.word(0).and_then(|()| fill(&mut part));
        let len = part.len;
        let (Some(count), Ok(words)) = (filled, u16::try_from(len / 4 - 1)) else { return false };
        let head = u32::from(0x80 | count) << 24 | u32::from(kind) << 16 | u32::from(words);
        super::set_word(self.buffer, self.len, head);
        self.len += len;
        true
    }
}

struct Filling<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl Filling<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> Option<()> {
        self.buffer.get_mut(self.len..self.len + bytes.len())?.copy_from_slice(bytes);
        self.len += bytes.len();
        Some(())
    }

    fn word(&mut self, word: u32) -> Option<()> {
        self.bytes(&word.to_be_bytes())
    }

    fn blocks(&mut self, blocks: &[ReportBlock]) -> Option<u8> {
        let blocks = &blocks[..blocks.len().min(31)];
        blocks.iter().try_for_each(|block| self.bytes(&block.to_bytes()))?;
        Some(blocks.len() as u8)
    }
}

impl ReportBlock {
    /// As on the wire; a loss beyond 24 bits stays at their end.
    pub fn to_bytes(&self) -> [u8; BLOCK_LEN] {
        let lost = self.lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff;
        let loss = u32::from(self.fraction_lost) << 24 | lost;
        let mut bytes = [0; BLOCK_LEN];
        let words = [self.ssrc, loss, self.highest, self.jitter, self.last_sr, self.delay];
        for (four, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *four = word.to_be_bytes();
        }
        bytes
    }
}

/// What is heard of one stream of speech (RFC 3611 section 4.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct VoipMetrics {
    /// Which stream it is about.
    pub ssrc: u32,
    /// Packets that never came, of 256.
    pub loss_rate: u8,
    /// Packets that came too late, of 256.
    pub discard_rate: u8,
    /// Share of packets lost or discarded within bursts, of 256.
    pub burst_density: u8,
    /// The same outside of bursts.
    pub gap_density: u8,
    /// Mean length of a burst in milliseconds.
    pub burst_ms: u16,
    /// Mean length of a gap in milliseconds.
    pub gap_ms: u16,
    /// Round trip between the interfaces in milliseconds; 0 if it is not known.
    pub round_trip_ms: u16,
    /// What the system adds, with its jitter buffer, in milliseconds.
    pub end_system_ms: u16,
    /// 0 to 100.
    pub r_factor: Option<u8>,
    /// Ten times the mean opinion score: of listening, and of conversation.
    pub mos: Option<(u8, u8)>,
    /// How losses are concealed and jitter is buffered, as in RFC 3611.
    pub receiver: u8,
    /// Delay of the jitter buffer in milliseconds: now, the most it reached, the most it can reach.
    pub buffer_ms: [u16; 3],
}

impl VoipMetrics {
    /// Bytes of the block with its header.
    pub const LEN: usize = 36;
    /// Losses are concealed as usual, and the buffer is adaptive.
    pub const RECEIVER_ADAPTIVE: u8 = 0b1111_0000;

    const KIND: u8 = 7;
    /// What is not known: signal, noise, echo, scores.
    const UNKNOWN: u8 = 127;
    /// Good packets that end a burst, as the RFC recommends.
    const GAP_MIN: u8 = 16;

    /// As on the wire.
    pub fn to_bytes(&self) -> [u8; VoipMetrics::LEN] {
        let (listening, conversation) = self.mos.unwrap_or((Self::UNKNOWN, Self::UNKNOWN));
        let two = |one: u16, other: u16| u32::from(one) << 16 | u32::from(other);
        let words = [
            u32::from_be_bytes([Self::KIND, 0, 0, (Self::LEN / 4 - 1) as u8]),
            self.ssrc,
            u32::from_be_bytes([self.loss_rate, self.discard_rate, self.burst_density, self.gap_density]),
            two(self.burst_ms, self.gap_ms),
            two(self.round_trip_ms, self.end_system_ms),
            u32::from_be_bytes([Self::UNKNOWN, Self::UNKNOWN, Self::UNKNOWN, Self::GAP_MIN]),
            u32::from_be_bytes([
                self.r_factor.unwrap_or(Self::UNKNOWN),
                Self::UNKNOWN,
                listening,
                conversation,
            ]),
            two(u16::from_be_bytes([self.receiver, 0]), self.buffer_ms[0]),
            two(self.buffer_ms[1], self.buffer_ms[2]),
        ];
        let mut bytes = [0; Self::LEN];
        for (four, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *four = word.to_be_bytes();
        }
        bytes
    }

    /// The first such block of an extended report.
    pub fn of(part: &super::Part<'_>) -> Option<Self> {
        let mut bytes = part.bytes().get(8..).filter(|_| part.kind() == XR)?;
        loop {
            let head = word(bytes, 0)?;
            let len = (head as usize % 0x1_0000 + 1) * 4;
            let (block, rest) = bytes.split_at_checked(len)?;
            match block.first_chunk() {
                Some(block) if head >> 24 == u32::from(Self::KIND) => return Some(Self::from_bytes(block)),
                _ => bytes = rest,
            }
        }
    }

    fn from_bytes(b: &[u8; VoipMetrics::LEN]) -> Self {
        let two = |at: usize| u16::from_be_bytes([b[at], b[at + 1]]);
        let known = |value: u8| (value != Self::UNKNOWN).then_some(value);
        VoipMetrics {
            ssrc: u32::from_be_bytes([b[4], b[5], b[6], b[7]]),
            loss_rate: b[8],
            discard_rate: b[9],
            burst_density: b[10],
            gap_density: b[11],
            burst_ms: two(12),
            gap_ms: two(14),
            round_trip_ms: two(16),
            end_system_ms: two(18),
            r_factor: known(b[24]),
            mos: known(b[26]).zip(known(b[27])),
            receiver: b[28],
            buffer_ms: [two(30), two(32), two(34)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Compound, Part};
    use super::*;
    use proptest::prelude::*;

    const INFO: SenderInfo =
        SenderInfo { ntp: 0x0102_0304_0506_0708, timestamp: 160, packets: 2, octets: 320 };
    const BLOCK: ReportBlock = ReportBlock {
        ssrc: 9,
        fraction_lost: 64,
        lost: -2,
        highest: 0x1_0009,
        jitter: 5,
        last_sr: 0x0304_0506,
        delay: 65_536,
    };
    const METRICS: VoipMetrics = VoipMetrics {
        ssrc: 9,
        loss_rate: 3,
        discard_rate: 4,
        burst_density: 5,
        gap_density: 6,
        burst_ms: 700,
        gap_ms: 8000,
        round_trip_ms: 90,
        end_system_ms: 100,
        r_factor: Some(87),
        mos: Some((42, 41)),
        receiver: VoipMetrics::RECEIVER_ADAPTIVE,
        buffer_ms: [40, 60, 200],
    };

    #[test]
    fn parts_are_as_the_rfcs_draw_them() {
        let mut buffer = [0xee; 200];
        let mut writer = Writer::new(&mut buffer);
        assert!(writer.receiver_report(7, &[BLOCK]) && writer.description(7, b"ab") && writer.goodbye(7));
        let len = writer.len();
        let mut expected =
            vec![0x81, RR, 0, 7, 0, 0, 0, 7, 0, 0, 0, 9, 64, 0xff, 0xff, 0xfe, 0, 1, 0, 9, 0, 0, 0, 5];
        expected.extend([3, 4, 5, 6, 0, 1, 0, 0]);
        expected.extend([0x81, SDES, 0, 3, 0, 0, 0, 7, 1, 2, b'a', b'b', 0, 0, 0, 0]);
        expected.extend([0x81, BYE, 0, 1, 0, 0, 0, 7]);
        assert_eq!(buffer[..len], expected);
        assert_eq!(METRICS.to_bytes()[..4], [7, 0, 0, 8]);
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut buffer = [0xee; 400];
        let mut writer = Writer::new(&mut buffer);
        assert!(writer.sender_report(7, &INFO, &[BLOCK, ReportBlock { ssrc: 10, lost: 1 << 30, ..BLOCK }]));
        assert!(writer.description(7, b"0123456789abcdef") && writer.voip_metrics(7, &METRICS));
        let len = writer.len();
        let compound = Compound::parse(&buffer[..len]).unwrap();
        let parts: Vec<Part<'_>> = compound.parts().collect();
        assert_eq!(parts.iter().map(Part::kind).collect::<Vec<_>>(), [SR, SDES, XR]);
        assert_eq!((parts[0].sender(), parts[0].sender_info()), (Some(7), Some(INFO)));
        let blocks: Vec<_> = parts[0].blocks().collect();
        assert_eq!((blocks[0], blocks[1].lost), (BLOCK, 0x7f_ffff));
        let (ssrc, kind, text) = parts[1].items().next().unwrap();
        assert_eq!((ssrc, kind, &parts[1].bytes()[text]), (7, 1, &b"0123456789abcdef"[..]));
        assert_eq!(parts[1].items().count(), 1);
        assert_eq!((VoipMetrics::of(&parts[2]), VoipMetrics::of(&parts[0])), (Some(METRICS), None));
    }

    #[test]
    fn a_part_that_does_not_fit_is_left_out() {
        let mut buffer = [0; 60];
        let mut writer = Writer::new(&mut buffer);
        assert!(writer.receiver_report(7, &[BLOCK]));
        assert!(!writer.voip_metrics(7, &METRICS));
        assert!(writer.goodbye(7));
        let len = writer.len();
        assert_eq!(
            Compound::parse(&buffer[..len]).unwrap().parts().map(|p| p.kind()).collect::<Vec<_>>(),
            [RR, BYE]
        );
    }

    proptest! {
        #[test]
        fn names_of_any_length_end_on_a_word(len in 0..300usize) {
            let mut buffer = [0xee; 300];
            let mut writer = Writer::new(&mut buffer);
            prop_assert_eq!(writer.description(7, &vec![b'x'; len]), len <= 255);
            let written = writer.len();
            if len <= 255 {
                let compound = Compound::parse(&buffer[..written]).unwrap();
                let items: Vec<_> = compound.parts().next().unwrap().items().collect();
                prop_assert_eq!(items, [(7, 1, 10..10 + len)]);
            }
        }

        #[test]
        fn a_block_reads_back(words: [u32; 6], lost in -0x80_0000..0x80_0000i32) {
            let block = ReportBlock {
                ssrc: words[0], fraction_lost: words[1] as u8, lost, highest: words[2], jitter: words[3],
                last_sr: words[4], delay: words[5],
            };
            prop_assert_eq!(ReportBlock::from_bytes(&block.to_bytes()), block);
        }
    }
}
