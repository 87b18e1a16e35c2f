//! The judge of a stream that was converted on the way: another SSRC, other numbers, other payload. What can be known is
//! that it is one stream whose time goes on, in the format agreed, with the voice of the other party in it.

use super::stream::Arrived;
use super::words::{Decode, Tone};

/// What a party hears.
#[derive(Debug)]
pub(super) struct Heard {
    payload_type: u8,
    /// Ticks a packet.
    step: u32,
    /// Bytes a packet must have; `None`: any but none.
    payload_bytes: Option<usize>,
    stream: Option<Known>,
    /// The last payloads, where this stream is one of those listened to.
    kept: Option<Vec<Vec<u8>>>,
}

/// The stream as it has been so far.
#[derive(Clone, Copy, Debug)]
struct Known {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    /// Number of the last packet, in the sender's count.
    number: u64,
    packets: u64,
}

/// Payloads that are listened to: a second.
const KEPT: usize = 50;
/// Packets after which a later beginning of the count is no longer believed.
const SETTLED: u64 = 50;

/// What an arrival was.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judgement {
    /// Which of the sender's packets it is made of; `None` if none that was sent.
    pub number: Option<u64>,
    /// Not the format agreed.
    pub corrupted: bool,
    /// Another stream than before.
    pub ssrc_changed: bool,
    /// Its time does not go with its sequence numbers.
    pub timestamp_jumped: bool,
}

impl Heard {
    pub(super) fn new(payload_type: u8, step: u32, payload_bytes: Option<usize>, listen: bool) -> Self {
        let kept = listen.then(|| Vec::with_capacity(KEPT));
        Heard { payload_type, step: step.max(1), payload_bytes, stream: None, kept }
    }

    /// Judges a packet that came when the other party had sent `sent` packets.
    pub(super) fn judge(&mut self, arrived: &Arrived, payload: &[u8], sent: u64) -> Judgement {
        let mut judgement = Judgement::default();
        let (sequence, timestamp) = (arrived.sequence(), arrived.timestamp());
        judgement.corrupted = arrived.payload_type() != self.payload_type
            || payload.is_empty()
            || self.payload_bytes.is_some_and(|bytes| payload.len() != bytes);
        if !judgement.corrupted
            && let Some(kept) = &mut self.kept
        {
            if kept.len() == KEPT {
                kept.remove(0);
            }
            kept.push(payload.to_vec());
        }
        let latest = sent.saturating_sub(1);
        let known = match &mut self.stream {
            Some(known) if known.ssrc == arrived.ssrc() => known,
            other => {
                judgement.ssrc_changed = other.is_some();
                // What it is made of nobody can say: the last one sent is the closest guess.
                let known = Known { ssrc: arrived.ssrc(), sequence, timestamp, number: latest, packets: 1 };
                *other = Some(known);
                judgement.number = (sent > 0).then_some(latest);
                return judgement;
            }
        };
        known.packets += 1;
        let ticks = i64::from(timestamp.wrapping_sub(known.timestamp) as i32);
        let packets = i64::from(sequence.wrapping_sub(known.sequence) as i16);
        judgement.timestamp_jumped = ticks != packets * i64::from(self.step);
        let mut number = known.number.saturating_add_signed(ticks / i64::from(self.step));
        if judgement.timestamp_jumped {
            number = latest;
        }
        if number > latest && known.packets < SETTLED {
            // The first that came was an older one than it seemed.
            number = latest;
        }
        judgement.number = (number <= latest && sent > 0).then_some(number);
        if packets > 0 {
            (known.sequence, known.timestamp, known.number) = (sequence, timestamp, number);
        }
        judgement
    }

    /// How loud the two tones are in what was heard last; `None` if too little was, or nobody can decode it.
    pub(super) fn listen(&self, decode: Option<&Decode>, tones: [Tone; 2]) -> Option<[f64; 2]> {
        let kept = self.kept.as_ref().filter(|kept| kept.len() == KEPT)?;
        let pcm = decode?(kept);
        Some(tones.map(|tone| tone.loudness_in(&pcm)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(sequence: u16, timestamp: u32, ssrc: u32, payload_type: u8) -> Vec<u8> {
        let mut bytes = vec![0x80, payload_type];
        bytes.extend(sequence.to_be_bytes());
        bytes.extend(timestamp.to_be_bytes());
        bytes.extend(ssrc.to_be_bytes());
        bytes.extend([1; 40]);
        bytes
    }

    fn judge(heard: &mut Heard, bytes: &[u8], sent: u64) -> Judgement {
        heard.judge(&Arrived::parse(bytes).unwrap(), &bytes[12..], sent)
    }

    #[test]
    fn a_stream_that_goes_on_is_matched_packet_by_packet() {
        let mut heard = Heard::new(96, 960, None, false);
        for n in 0..10u16 {
            let bytes =
                packet(65_530u16.wrapping_add(n), (u32::MAX - 2_000).wrapping_add(u32::from(n) * 960), 5, 96);
            let judgement = judge(&mut heard, &bytes, u64::from(n) + 3);
            assert_eq!(judgement, Judgement { number: Some(u64::from(n) + 2), ..Judgement::default() });
        }
    }

    #[test]
    fn gaps_old_ones_and_late_beginnings_keep_their_numbers() {
        let mut heard = Heard::new(0, 160, Some(40), false);
        let number =
            |heard: &mut Heard, n: u16, sent| judge(heard, &packet(n, u32::from(n) * 160, 5, 0), sent).number;
        assert_eq!(number(&mut heard, 10, 4), Some(3));
        assert_eq!(number(&mut heard, 12, 6), Some(5)); // 11 is missing …
        assert_eq!(number(&mut heard, 11, 6), Some(4)); // … and comes late
        assert_eq!(number(&mut heard, 13, 6), Some(5)); // nobody has sent 6: the first one was an older one
        assert_eq!(number(&mut heard, 14, 7), Some(6));
    }

    #[test]
    fn what_no_listener_likes_is_named() {
        let mut heard = Heard::new(0, 160, Some(40), false);
        judge(&mut heard, &packet(1, 160, 5, 0), 10);
        assert!(judge(&mut heard, &packet(2, 320, 5, 8), 11).corrupted);
        assert!(judge(&mut heard, &packet(3, 480, 5, 0)[..40], 12).corrupted);
        assert!(judge(&mut heard, &packet(4, 9_000, 5, 0), 13).timestamp_jumped);
        let other = judge(&mut heard, &packet(5, 9_160, 6, 0), 14);
        assert!(other.ssrc_changed && !other.timestamp_jumped);
    }

    #[test]
    fn only_a_whole_second_is_listened_to() {
        let mut heard = Heard::new(0, 160, None, true);
        let decode: Decode = std::sync::Arc::new(|packets| vec![0; packets.len() * 160]);
        for n in 0..50u16 {
            assert_eq!(heard.listen(Some(&decode), super::super::words::TONES), None);
            judge(&mut heard, &packet(n, u32::from(n) * 160, 5, 0), u64::from(n) + 1);
        }
        assert_eq!(heard.listen(Some(&decode), super::super::words::TONES), Some([0.0, 0.0]));
        assert_eq!(heard.listen(None, super::super::words::TONES), None);
    }
}
