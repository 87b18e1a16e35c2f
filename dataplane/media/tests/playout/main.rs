//! What is heard of packets that networks delay, lose, repeat and reorder: in virtual time, over the shared traces and
//! some of our own.

#[path = "../../../../tests/support/counting.rs"]
mod counting;
mod exact; // samples that nobody may touch
mod gaps; // silence, loss, events, stalls
mod model; // any sequence of packets and pulls
mod sources; // new sources, formats and clocks
mod traces;
mod world;

use traces::{SHARED, Score, Trace, all, play, playout, shared};

/// The phases of the tick that each trace is played with, in microseconds.
const PHASES: [i64; 3] = [0, 7_000, 13_000];

/// Each trace with and without time-scaling, at each phase.
fn each(check: impl Fn(&Trace, &Score, &str)) {
    tell_of_absent();
    for trace in all() {
        for phase in PHASES {
            for scaling in [true, false] {
                let made = playout(false);
                let made = if scaling { made } else { made.without_scaling() };
                let name = format!("{}, phase {phase}, time-scaling {scaling}", trace.name);
                check(&trace, &play(&trace, made, phase), &name);
            }
        }
    }
}

#[expect(clippy::print_stderr, reason = "says loudly what is not tested")]
fn tell_of_absent() {
    if shared(SHARED[0]).is_none() {
        eprintln!(
            "NOT TESTED: the shared network traces are absent (STROWGER_TESTDATA); only our own are played"
        );
    }
}

#[test]
fn no_more_is_concealed_than_was_lost_and_half_a_percent() {
    each(|_, score, name| {
        assert!(score.concealed <= score.loss + 0.5, "{name}: {} of {}", score.concealed, score.loss);
        // Waiting for what comes in the end is concealed for 60 ms of each stall at most.
        assert!(score.waited <= 5.0, "{name}: {}", score.waited);
    });
}

#[test]
fn frames_that_are_concealed_while_packets_are_waited_for_are_few_too() {
    each(|trace, score, name| {
        // Without notice a pause is a gap; a stall that comes seldom is not foreseen.
        if !trace.pauses && !trace.name.contains("stall") {
            assert!(score.made_up <= score.loss + 0.7, "{name}: {} of {}", score.made_up, score.loss);
        }
    });
}

#[test]
fn what_comes_in_time_is_heard() {
    each(|_, score, name| {
        let refused = score.report.late + score.report.overruns;
        // A frame that is cut out by time-scaling or without it is heard in part, or counted.
        let cut = score.report.shortened.div_ceil(80) as usize;
        assert!(score.unheard <= refused as usize + cut, "{name}: {} {refused} {cut}", score.unheard);
    });
}

#[test]
fn the_mean_delay_is_at_most_the_jitter_and_a_packet_and_a_tick() {
    each(|_, score, name| {
        assert!(score.mean_delay <= score.p99 + 40.0, "{name}: {} of {}", score.mean_delay, score.p99);
    });
}

#[test]
fn a_recording_waits_for_all_that_comes_within_its_delay() {
    tell_of_absent();
    for trace in all() {
        for phase in PHASES {
            let score = play(&trace, playout(true), phase);
            let name = format!("{}, phase {phase}", trace.name);
            assert!(score.concealed <= score.loss + 0.1, "{name}: {} of {}", score.concealed, score.loss);
            if score.p99 < 200.0 {
                let changed = score.report.shortened + score.report.stretched;
                assert_eq!((changed, score.report.late, score.waited), (0, 0, 0.0), "{name}");
            }
        }
    }
}

#[test]
fn the_buffer_shrinks_within_ten_seconds_of_a_stall_or_a_step() {
    each(|trace, score, name| {
        let calm = match trace.name {
            // Second after the stall or the step down by which it has shrunk.
            "stall500" => &[9, 19, 29, 39, 49][..],
            "step_delay" => &[23, 58],
            "own_stall" => &[14, 29, 44],
            "own_step" => &[15, 50],
            _ => return,
        };
        for second in calm {
            let depth = score.depth[*second];
            assert!(depth < 20.0 + 60.0 + 20.0, "{name}: {depth} ms at {second} s of {:?}", score.depth);
        }
    });
}

#[test]
fn a_clock_that_is_off_does_not_move_the_depth() {
    each(|trace, score, name| {
        if trace.name.contains("skew") {
            let (first, last) = (score.depth[8], score.depth[58]);
            assert!((first - last).abs() <= 25.0, "{name}: {first} {last}");
            assert_eq!((score.concealed, score.waited), (0.0, 0.0), "{name}");
        }
    });
}
