//! Sender reports with one report block and a CNAME (RFC 3550 sections 6.4.1 and 6.5), written and read.

use super::stream::Stream;

/// Nanoseconds between two reports of a stream.
pub(super) const PERIOD_NS: u64 = 5_000_000_000;

/// The middle 32 bits of the NTP time: seconds in the upper, fractions in the lower half.
pub(super) fn ntp_middle(real_ns: u64) -> u32 {
    (ntp(real_ns) >> 16) as u32
}

fn ntp(real_ns: u64) -> u64 {
    const SECONDS_1900_TO_1970: u64 = 2_208_988_800;
    let seconds = real_ns / 1_000_000_000 + SECONDS_1900_TO_1970;
    let fraction = ((real_ns % 1_000_000_000) << 32) / 1_000_000_000;
    (seconds << 32) | fraction
}

/// A sender report of `own`, with a block about `heard`, the stream that its party receives.
pub(super) fn write(now_ns: u64, own: &Stream, heard: Option<&mut Stream>) -> Vec<u8> {
    let mut out = Vec::with_capacity(80);
    let (sent, _) = own.progress();
    let blocks = u8::from(heard.is_some());
    out.extend([0x80 | blocks, 200, 0, 6 + 6 * blocks]);
    out.extend(own.ssrc().to_be_bytes());
    out.extend(ntp(now_ns).to_be_bytes());
    out.extend(own.timestamp().to_be_bytes());
    out.extend((sent as u32).to_be_bytes());
    out.extend(((sent * 160) as u32).to_be_bytes());
    if let Some(heard) = heard {
        let (_, expected) = heard.progress();
        let received = heard.counts.received.min(expected);
        let (expected_before, received_before) = heard.reports.before;
        heard.reports.before = (expected, received);
        let expected_now = expected.saturating_sub(expected_before);
        let lost_now = expected_now.saturating_sub(received.saturating_sub(received_before));
        let fraction = (lost_now * 256).checked_div(expected_now).unwrap_or(0).min(255);
        let lost = (expected - received).min(0x7f_ffff);
        out.extend(heard.ssrc().to_be_bytes());
        out.extend((((fraction as u32) << 24) | lost as u32).to_be_bytes());
        let highest = u64::from(heard.first_seq()) + expected.saturating_sub(1);
        out.extend((highest as u32).to_be_bytes());
        out.extend(heard.jitter_units().to_be_bytes());
        let (last, delay) = match heard.reports.last {
            Some((ntp, at_ns)) => {
                (ntp, ((u128::from(now_ns.saturating_sub(at_ns)) << 16) / 1_000_000_000) as u32)
            }
            None => (0, 0),
        };
        out.extend(last.to_be_bytes());
        out.extend(delay.to_be_bytes());
    }
    // Source description: one chunk with a CNAME, ended by zeroes up to the next word.
    out.extend([0x81, 202, 0, 3]);
    out.extend(own.ssrc().to_be_bytes());
    out.extend([1, 4, b'l', b'o', b'a', b'd', 0, 0]);
    out
}

/// What is used of a report that arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SenderReport {
    /// Whose report it is.
    pub ssrc: u32,
    /// Middle of its NTP time.
    pub ntp_middle: u32,
    /// Of its first block: the stream reported on, middle NTP time of the last report heard of it, and the delay
    /// since then in units of 1/65536 s.
    pub block: Option<(u32, u32, u32)>,
}

/// `None` if the packet does not begin with a sender report.
pub(super) fn read(bytes: &[u8]) -> Option<SenderReport> {
    let word =
        |at: usize| bytes.get(at..at + 4).map(|b| u32::from_be_bytes(b.try_into().expect("four bytes")));
    let (first, kind) = (*bytes.first()?, *bytes.get(1)?);
    if first >> 6 != 2 || kind != 200 {
        return None;
    }
    let ntp_middle = (word(8)? << 16) | (word(12)? >> 16);
    let block = if first & 0x1f == 0 { None } else { Some((word(28)?, word(44)?, word(48)?)) };
    Some(SenderReport { ssrc: word(4)?, ntp_middle, block })
}

/// Round trip in nanoseconds from a block that came at `now_ns`; `None` if the other side had heard no report yet.
pub(super) fn round_trip_ns(now_ns: u64, last: u32, delay: u32) -> Option<u64> {
    if last == 0 {
        return None;
    }
    let units = ntp_middle(now_ns).wrapping_sub(last).wrapping_sub(delay);
    // Units are 15 µs: a fast round trip may come out just below zero.
    if units > u32::MAX / 2 { Some(0) } else { Some((u64::from(units) * 1_000_000_000) >> 16) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::stream::Birth;
    use crate::media::words::Words;
    use crate::media::{Recording, Side, TONES};
    use crate::speech::Codec;
    use crate::sys::Target;
    use std::sync::Arc;

    fn stream(ssrc: u32) -> Stream {
        let target = Target::from(std::net::SocketAddr::from(([127, 0, 0, 1], 4000)));
        let (first_seq, first_timestamp) = (10, 20);
        let birth = Birth {
            ssrc,
            first_seq,
            first_timestamp,
            start: 0,
            side: Side::A,
            words: Words::Recording(Arc::new(Recording::g711(Codec::Pcmu, 1, TONES[0]))),
            payload_type: 0,
            period_ns: 20_000_000,
            socket: 0,
            target,
            rtcp_target: target,
        };
        Stream::new(birth)
    }

    #[test]
    fn a_report_reads_back_and_gives_the_round_trip() {
        let now = 1_795_000_000_250_000_000;
        let (own, mut heard) = (stream(1), stream(2));
        let report = write(now, &own, None);
        assert_eq!(report.len(), 28 + 16);
        let read_back = read(&report).unwrap();
        assert_eq!(read_back, SenderReport { ssrc: 1, ntp_middle: ntp_middle(now), block: None });

        // The other party heard it 1 ms later and answers 2 s after that; the answer takes 1 ms as well.
        heard.reports.last = Some((read_back.ntp_middle, now + 1_000_000));
        let answer = write(now + 2_001_000_000, &own, Some(&mut heard));
        let (about, last, delay) = read(&answer).unwrap().block.unwrap();
        assert_eq!(about, 2);
        let round_trip = round_trip_ns(now + 2_002_000_000, last, delay).unwrap();
        assert!(round_trip.abs_diff(2_000_000) < 50_000, "{round_trip}");
    }

    #[test]
    fn lengths_add_up_and_cut_reports_are_refused() {
        let report = write(5_000_000_000, &stream(1), Some(&mut stream(2)));
        let first = (usize::from(report[3]) + 1) * 4;
        assert_eq!(first + (usize::from(report[first + 3]) + 1) * 4, report.len());
        for len in 0..52 {
            assert_eq!(read(&report[..len]), None, "{len}");
        }
        assert_eq!(round_trip_ns(5, 0, 7), None);
    }
}
