//! A room of a thousand G.711 parties, all of whom send sound all the time: the three loudest are heard by everybody
//! else. From packets to packets, over loopback.

use crate::Options;
use crate::peers::{cpu_seconds, sample};
use crate::plane::{Kind, Plane};
use crate::relay::{CALLEES, CALLERS};
use crate::streams::{Kept, Recording, Streams};
use anyhow::{Result, bail};
use loadtest::figures::Rounds;
use loadtest::figures::Times;
use loadtest::speech::Codec;
use std::f64::consts::TAU;
use std::rc::Rc;

/// What the loud ones say: parties 0, 1 and 2.
const LOUD: [f64; 3] = [500.0, 850.0, 1_300.0];
/// What all others say, quietly.
const QUIET: f64 = 2_000.0;

/// Rounds of one room.
pub fn measure(options: &Options) -> Result<()> {
    let sizes = if options.calls.is_empty() { &[1_000][..] } else { &options.calls };
    for &parties in sizes {
        println!(
            "\nA room of {parties}, {} rounds of {} s; min / median / max",
            options.rounds, options.seconds
        );
        let mut figures: [Rounds; 5] = Default::default();
        for _ in 0..options.rounds {
            let round = run(parties, options.seconds)?;
            for (figure, value) in figures.iter_mut().zip(round.figures) {
                figure.add(value);
            }
            println!(
                "{} of {} listeners that were sampled hear what they should; dropped by the engine: {:?}; {:.0} came for {:.0} expected",
                round.right, round.sampled, round.dropped, round.received, round.expected
            );
        }
        let [cpu, lateness, timers, party_us, generator] = figures;
        println!("CPU share of one processor {cpu:.2}; {party_us:.1} µs a party and tick");

        println!(
            "ticks late, as listeners see it: p99 {lateness:.0} µs; the shard's timers of all kinds: p99 below {timers:.0} µs"
        );
        println!("the generator's own lateness p99 {generator:.0} µs");
    }
    Ok(())
}

struct Round {
    figures: [f64; 5],
    right: usize,
    sampled: usize,
    dropped: Vec<(String, u64)>,
    received: f64,
    expected: f64,
}

fn run(parties: usize, seconds: f64) -> Result<Round> {
    let mut plane = Plane::start(5)?;
    let quiet = Rc::new(Recording::tone(QUIET, 400.0));
    let mut streams = Streams::bind([CALLERS, CALLEES], &[quiet], parties)?;
    for (party, hertz) in LOUD.into_iter().enumerate() {
        streams.say(party, Recording::tone(hertz, 8_000.0));
    }
    let ports = plane.open(&Kind::Room, streams.addresses(1)?)?;
    streams.aim(ports.concat());
    let sampled: Vec<usize> = (0..parties).step_by((parties / 50).max(1)).chain([1, 2]).collect();
    // Until all are in and the loudest are known.
    streams.talk(1.0, 1.0, |_| ());
    for party in &sampled {
        streams.party(*party).kept = Some(Vec::new());
    }
    let (pid, mut cpu, mut seen) = (plane.pid(), Vec::new(), Vec::new());
    let mut told = |plane: &mut Plane| {
        cpu.push(sample(&[pid]));
        seen.push(plane.tell());
    };
    let outcome = streams.talk(0.5, seconds, |_| told(&mut plane));
    let ([before, after], [Ok(at_first), Ok(at_last)]) = (&cpu[..], &seen[..]) else {
        bail!("the data plane is gone")
    };
    let cpu = cpu_seconds(before, after);
    let ticks = seconds * 50.0 * parties as f64;
    let (mut right, mut ticks_late) = (0, Times::default());
    for party in &sampled {
        let kept = streams.party(*party).kept.take().unwrap_or_default();
        right += usize::from(hears_right(*party, &kept));
        // Each has its place in a tick: what comes later than its earliest packet was made by a late tick.
        let delays: Vec<u64> = kept.iter().map(|one| one.at_ns - one.number * 20_000_000).collect();
        let earliest = delays.iter().min().copied().unwrap_or(0);
        delays.iter().for_each(|delay| ticks_late.record(delay - earliest));
    }
    Ok(Round {
        right,
        sampled: sampled.len(),
        dropped: at_last.dropped_since(at_first),
        received: outcome.received as f64,
        expected: ticks,
        figures: [
            cpu / seconds,
            ticks_late.percentiles().p99_us,
            at_last.lateness_us(at_first, 0.99),
            cpu * 1e6 / ticks,
            outcome.lateness.percentiles().p99_us,
        ],
    })
}

/// Whether a party hears the loud ones, but never itself nor the quiet ones, in every second that was kept.
fn hears_right(party: usize, kept: &[Kept]) -> bool {
    let bytes = kept.iter().flat_map(|one| &one.payload);
    let pcm: Vec<f64> = bytes.map(|byte| f64::from(Codec::Pcmu.decode(*byte))).collect();
    let seconds = pcm.chunks_exact(8_000);
    seconds.len() > 0
        && seconds.into_iter().all(|second| {
            let loud = LOUD.into_iter().enumerate().all(|(talker, hertz)| {
                let heard = amplitude(second, hertz);
                if talker == party { heard < 400.0 } else { heard > 4_000.0 }
            });
            loud && amplitude(second, QUIET) < 400.0
        })
}

/// Of one frequency, by parts of 100 ms, so that a step of the phase does not hide it.
fn amplitude(pcm: &[f64], hertz: f64) -> f64 {
    let parts = pcm.chunks_exact(800).map(|part| {
        let (mut re, mut im) = (0.0, 0.0);
        for (n, sample) in part.iter().enumerate() {
            let angle = n as f64 * hertz * TAU / 8_000.0;
            re += sample * angle.cos();
            im += sample * angle.sin();
        }
        2.0 * f64::hypot(re, im) / part.len() as f64
    });
    let parts: Vec<f64> = parts.collect();
    parts.iter().sum::<f64>() / parts.len().max(1) as f64
}

/// A small room; a machine that is too busy for it is asked again. Who hears whom to the last is for the tests of rooms:
/// here the bench must only keep working.
pub fn smoke() -> Result<()> {
    let mut told = String::new();
    for _ in 0..5 {
        let round = run(6, 1.2)?;
        if round.right * 2 >= round.sampled && round.dropped.is_empty() {
            return Ok(());
        }
        told = format!("{} of {} hear what they should, {:?}", round.right, round.sampled, round.dropped);
    }
    bail!("a room of six: {told}")
}
