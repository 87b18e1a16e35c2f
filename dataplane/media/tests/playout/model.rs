//! Any sequence of packets and pulls.

use crate::traces::{LEVEL, levels_payload, playout};
use base::{Duration, Instant};
use media::playout::{PlayoutReport, Pulled};
use media::wire::rtp::Header;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    /// A packet so many behind or ahead of the last.
    Packet(i16),
    /// Numbers or times from elsewhere.
    Jump(u16, u32, u32),
    Pull(bool),
    Pass(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Packet(1)),
        2 => (-6..8i16).prop_map(Step::Packet),
        1 => (any::<u16>(), any::<u32>(), 0..3u32).prop_map(|(number, time, ssrc)| Step::Jump(number, time, ssrc)),
        8 => any::<bool>().prop_map(Step::Pull),
        2 => (0..100u16).prop_map(Step::Pass),
    ]
}

fn bounded(report: &PlayoutReport) -> bool {
    report.buffered <= Duration::from_secs(8) && report.packets * 160 == report.played
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Numbers in one run: what is heard of them is in order, once, and only what was sent.
    #[test]
    fn packets_are_played_once_and_in_order(
        steps in proptest::collection::vec(step(), 1..400),
        patient: bool,
        start: u16,
    ) {
        let mut playout = playout(patient);
        let mut now = Instant(1_000_000_000);
        let (mut number, mut last) = (0i64, -1);
        let mut sent = std::collections::BTreeSet::new();
        let mut refused = 0;
        for step in steps {
            match step {
                Step::Packet(ahead) => {
                    number = (number + i64::from(ahead)).max(0);
                    let header = Header {
                        sequence: start.wrapping_add(number as u16),
                        timestamp: number as u32 * 160,
                        ..Header::default()
                    };
                    if playout.insert(now, &header, &levels_payload(number as i16)).is_ok() {
                        prop_assert!(sent.insert(number), "{} was taken twice", number);
                        refused = 0;
                    } else {
                        refused += 1;
                    }
                    // So many behind in a row say that the sender has begun anew: no longer one run.
                    if refused == 16 {
                        break;
                    }
                }
                Step::Jump(..) => {}
                Step::Pull(short) => {
                    let mut pcm = vec![-1; if short { 80 } else { 160 }];
                    let before = playout.report().stretched;
                    playout.pull(now, &mut pcm);
                    prop_assert!(!pcm.contains(&-1), "all is filled");
                    let again = playout.report().stretched != before || before > 0;
                    for sample in pcm.into_iter().filter(|sample| *sample >= LEVEL) {
                        let level = i64::from(sample - LEVEL);
                        prop_assert!(level >= last || again && level + 3 >= last, "{} behind {}", level, last);
                        last = last.max(level);
                    }
                }
                Step::Pass(ms) => now += Duration::from_millis(ms.into()),
            }
            prop_assert!(bounded(&playout.report()), "{:?}", playout.report());
        }
        prop_assert!(playout.report().packets as usize <= sent.len());
    }

    /// Whatever comes, in whatever order: nothing breaks, and all counts stay in bounds.
    #[test]
    fn anything_is_survived(steps in proptest::collection::vec(step(), 1..400), patient: bool, scaled: bool) {
        let mut playout = if scaled { playout(patient) } else { playout(patient).without_scaling() };
        let mut now = Instant(1_000_000_000);
        let mut header = Header::default();
        for step in steps {
            match step {
                Step::Packet(ahead) => {
                    header.sequence = header.sequence.wrapping_add_signed(ahead);
                    header.timestamp = header.timestamp.wrapping_add_signed(i32::from(ahead) * 160);
                    let _ = playout.insert(now, &header, &levels_payload(5));
                }
                Step::Jump(number, time, ssrc) => {
                    header = Header { sequence: number, timestamp: time, ssrc, ..header };
                    let _ = playout.insert(now, &header, &levels_payload(5));
                }
                Step::Pull(short) => {
                    let mut pcm = vec![-1; if short { 80 } else { 160 }];
                    let pulled = playout.pull(now, &mut pcm);
                    prop_assert!(!pcm.contains(&-1));
                    if pulled == Pulled::Silence {
                        prop_assert!(pcm.iter().all(|sample| *sample == 0));
                    }
                }
                Step::Pass(ms) => now += Duration::from_millis(u64::from(ms) * 20),
            }
            prop_assert!(bounded(&playout.report()), "{:?}", playout.report());
        }
    }
}
