//! Tones that must be found, and speech in which none may be.

use super::*;
use crate::dtmf::tones::{Generator, Levels};
use base::Rng;

const ALL: &str = "0123456789*#ABCD";

#[test]
fn every_digit_is_heard_once_with_its_time() {
    for rate in [8_000, 16_000, 24_000, 48_000] {
        for (duration, gap) in [(40, 40), (70, 50), (100, 100), (333, 77)] {
            let mut line = Line::new(rate);
            line.rest(37);
            let mut at = Vec::new();
            for digit in ALL.chars() {
                at.push(line.pcm.len());
                line.digit(digit, Levels::default(), duration);
                line.rest(gap);
            }
            line.rest(100);
            let heard = line.hear();
            let name = format!("{duration} ms at {rate}");
            assert_eq!(heard.iter().map(|digit| digit.digit).collect::<String>(), ALL, "{name}");
            for (digit, at) in heard.iter().zip(at) {
                let begin = at as f64 * 1_000.0 / f64::from(rate);
                assert!((digit.begin_ms - begin).abs() < 10.0, "{name}: {digit:?} began at {begin}");
                let off = digit.duration_ms - duration as f64;
                assert!(off.abs() < 10.0, "{name}: {digit:?}");
                assert!((digit.end_ms - begin - duration as f64).abs() < 10.0, "{name}: {digit:?}");
            }
        }
    }
}

#[test]
fn digits_are_heard_at_any_place_of_the_blocks() {
    for offset in 0..102 {
        let mut line = Line::new(8_000);
        line.pcm.extend(vec![0; offset]);
        line.digit('5', Levels::default(), 40);
        line.rest(40);
        line.digit('5', Levels::default(), 40);
        line.rest(100);
        let heard = line.hear();
        assert_eq!(heard.len(), 2, "at {offset}: {heard:?}");
        assert!(heard.iter().all(|digit| (digit.duration_ms - 40.0).abs() < 8.0), "at {offset}: {heard:?}");
    }
}

#[test]
fn what_is_too_short_or_bent_is_no_digit() {
    let check = |name: &str, low: f64, high: f64, levels: (f32, f32), ms: usize, expected: usize| {
        let mut line = Line::new(8_000);
        line.rest(50);
        line.tones(&[(low, levels.0), (high, levels.1)], ms);
        line.rest(100);
        assert_eq!(line.hear().len(), expected, "{name}");
    };
    let even = (-10.0, -10.0);
    check("as it should be", 770.0, 1_336.0, even, 60, 1);
    check("20 ms", 770.0, 1_336.0, even, 20, 0);
    check("soft", 770.0, 1_336.0, (-29.0, -29.0), 60, 1);
    check("too soft", 770.0, 1_336.0, (-42.0, -42.0), 60, 0);
    check("loud", 770.0, 1_336.0, (-3.0, -3.0), 60, 1);
    for sign in [-1.0, 1.0] {
        for (low, high) in LOW.iter().zip(HIGH) {
            let (low, high) = (f64::from(*low), f64::from(high));
            check("1.5 % off", low * (1.0 + sign * 0.015), high * (1.0 - sign * 0.015), even, 60, 1);
            check("4 % off", low * (1.0 + sign * 0.04), high, even, 200, 0);
            check("4 % off", low, high * (1.0 + sign * 0.04), even, 200, 0);
        }
    }
    check("high 4 dB louder", 941.0, 1_633.0, (-12.0, -8.0), 60, 1);
    check("low 8 dB louder", 941.0, 1_633.0, (-8.0, -16.0), 60, 1);
    check("high 9 dB louder", 941.0, 1_633.0, (-15.0, -6.0), 200, 0);
    check("low 13 dB louder", 941.0, 1_633.0, (-4.0, -17.0), 200, 0);
    check("one tone", 770.0, 770.0, even, 200, 0);
}

#[test]
fn noise_of_15_db_below_hides_no_digit_and_noise_alone_is_none() {
    let mut rng = Rng::from_seed(5);
    let mut missed = 0;
    for round in 0..100 {
        let mut line = Line::new(8_000);
        line.rest(40 + round);
        for digit in ALL.chars() {
            line.digit(digit, Levels { low_dbm0: -15.0, high_dbm0: -15.0 }, 60);
            line.rest(60);
        }
        line.rest(60);
        // 15 dB below the two tones together.
        let deviation = f64::from(amplitude(-15.0)) * 10f64.powf(-15.0 / 20.0);
        for sample in &mut line.pcm {
            *sample = (f64::from(*sample) + gauss(&mut rng) * deviation) as i16;
        }
        let heard: String = line.hear().iter().map(|digit| digit.digit).collect();
        missed += ALL.len().abs_diff(heard.len());
        assert!(heard.chars().all(|digit| ALL.contains(digit)));
    }
    assert!(missed <= 8, "{missed} of 1,600 missed");
    let noise: Vec<i16> = (0..8_000 * 120).map(|_| (gauss(&mut rng) * 4_000.0) as i16).collect();
    assert_eq!(hear(8_000, &noise).len(), 0);
}

#[test]
fn a_drop_out_does_not_double_a_digit() {
    for at in (40..160).step_by(7) {
        let mut line = Line::new(8_000);
        line.digit('9', Levels::default(), 200);
        line.pcm[at * 8..at * 8 + 120].fill(0);
        line.rest(100);
        let heard = line.hear();
        assert_eq!(heard.len(), 1, "15 ms lost at {at}: {heard:?}");
        assert!((heard[0].duration_ms - 200.0).abs() < 12.0, "{heard:?}");
    }
}

#[test]
fn fax_tones_are_told_once() {
    let check = |tones: &[(f64, f32)], ms: usize, expected: &[Signal]| {
        for rate in [8_000, 16_000] {
            let mut line = Line::new(rate);
            for _ in 0..3 {
                line.rest(300);
                line.tones(tones, ms);
            }
            assert_eq!(line.signals(), expected, "{tones:?} for {ms} ms at {rate}");
        }
    };
    check(&[(1_100.0, -13.0)], 500, &[Signal::FaxCalling]);
    check(&[(1_062.0, -13.0)], 430, &[Signal::FaxCalling]);
    check(&[(1_138.0, -40.0)], 430, &[Signal::FaxCalling]);
    check(&[(1_100.0, -13.0)], 250, &[]);
    check(&[(2_100.0, -13.0)], 2_600, &[Signal::FaxAnswer]);
    check(&[(2_115.0, -13.0)], 2_600, &[Signal::FaxAnswer]);
    check(&[(2_225.0, -13.0)], 2_600, &[]);
    check(&[(1_004.0, -13.0)], 2_000, &[]);
    check(&[(440.0, -13.0), (480.0, -13.0)], 2_000, &[]);
    check(&[(1_209.0, -13.0), (697.0, -13.0)], 2_000, &[]);
}

#[test]
fn an_answer_with_phase_reversals_is_an_answer() {
    let mut line = Line::new(8_000);
    let mut oscillator = crate::tone::Oscillator::new(2_100.0, 8_000);
    let mut modulation = crate::tone::Oscillator::new(15.0, 8_000);
    for at in 0..8_000 * 3 {
        let sign = if at / 3_600 % 2 == 0 { 1.0 } else { -1.0 };
        let envelope = 1.0 + 0.2 * modulation.next();
        line.pcm.push((oscillator.next() * sign * envelope * amplitude(-13.0)) as i16);
    }
    assert_eq!(line.signals(), [Signal::FaxAnswer]);
}

#[test]
fn speech_is_no_digit() {
    for (name, rate) in [
        ("speech_8k_a.wav", 8_000),
        ("speech_8k_b.wav", 8_000),
        ("speech_8k_long.wav", 8_000),
        ("speech_16k_a.wav", 16_000),
        ("speech_16k_b.wav", 16_000),
        ("speech_48k_a.wav", 48_000),
        ("synth_48k.wav", 48_000),
    ] {
        let Some(speech) = crate::material::wav(name) else { continue };
        assert!(speech.len() > rate as usize * 5, "{name}");
        let mut told = Vec::new();
        for gain in [0.25, 1.0, 2.0] {
            let mut detector = Detector::new(rate);
            let pcm: Vec<i16> = speech.iter().map(|sample| (f32::from(*sample) * gain) as i16).collect();
            detector.process(&pcm, |found| told.push(found));
        }
        assert_eq!(told, [], "{name}");
    }
}

#[test]
fn digits_over_soft_speech_are_heard() {
    let Some(speech) = crate::material::wav("speech_8k_a.wav") else { return };
    let mut line = Line::new(8_000);
    for digit in ALL.chars() {
        line.rest(200);
        line.digit(digit, Levels::default(), 80);
    }
    line.rest(200);
    for (sample, speech) in line.pcm.iter_mut().zip(&speech[8_000..]) {
        *sample = sample.saturating_add(speech / 16);
    }
    assert_eq!(line.hear().iter().map(|digit| digit.digit).collect::<String>(), ALL);
}

#[test]
fn a_mask_knows_of_a_digit_before_it_is_sure() {
    let mut line = Line::new(8_000);
    line.digit('3', Levels::default(), 60);
    let mut detector = Detector::new(8_000);
    let mut first = None;
    for (at, sample) in line.pcm.chunks(8).enumerate() {
        detector.process(sample, |_| {});
        if detector.suspects() && first.is_none() {
            first = Some(at);
        }
    }
    assert_eq!(first, Some(12), "after the first block");
}

/// What was heard of one digit.
#[derive(Debug)]
struct Digit {
    digit: char,
    begin_ms: f64,
    duration_ms: f64,
    end_ms: f64,
}

fn hear(rate: u32, pcm: &[i16]) -> Vec<Digit> {
    let mut detector = Detector::new(rate);
    let mut digits: Vec<Digit> = Vec::new();
    let ms = |duration: Duration| duration.as_secs_f64() * 1_000.0;
    let mut now = 0.0;
    for block in pcm.chunks(rate as usize / 50) {
        now += block.len() as f64 * 1_000.0 / f64::from(rate);
        detector.process(block, |found| match found {
            Found::Begin { digit, back } => {
                assert!(digits.last().is_none_or(|last| last.end_ms > 0.0), "one ends before the next");
                let begin_ms = now - ms(back);
                digits.push(Digit { digit, begin_ms, duration_ms: 0.0, end_ms: 0.0 });
            }
            Found::End { digit, duration, back } => {
                let last = digits.last_mut().expect("it began");
                assert_eq!((last.digit, last.end_ms), (digit, 0.0));
                (last.duration_ms, last.end_ms) = (ms(duration), now - ms(back));
            }
            Found::Signal(signal) => panic!("{signal:?} among digits"),
        });
    }
    digits
}

struct Line {
    rate: u32,
    pcm: Vec<i16>,
}

impl Line {
    fn new(rate: u32) -> Line {
        Line { rate, pcm: Vec::new() }
    }

    fn rest(&mut self, ms: usize) {
        let len = self.pcm.len() + self.rate as usize * ms / 1_000;
        self.pcm.resize(len, 0);
    }

    fn digit(&mut self, digit: char, levels: Levels, ms: usize) {
        let mut generator = Generator::new(self.rate);
        generator.start(digit, levels, Some(Duration::from_millis(ms as u64)));
        let at = self.pcm.len();
        self.rest(ms);
        assert_eq!(generator.fill(&mut self.pcm[at..]), self.pcm.len() - at);
    }

    fn tones(&mut self, tones: &[(f64, f32)], ms: usize) {
        let at = self.pcm.len();
        self.rest(ms);
        for (frequency, level) in tones {
            let mut oscillator = crate::tone::Oscillator::new(*frequency, self.rate);
            for sample in &mut self.pcm[at..] {
                *sample += (oscillator.next() * amplitude(*level)) as i16;
            }
        }
    }

    fn hear(&self) -> Vec<Digit> {
        hear(self.rate, &self.pcm)
    }

    fn signals(&self) -> Vec<Signal> {
        let mut signals = Vec::new();
        let mut detector = Detector::new(self.rate);
        detector.process(&self.pcm, |found| {
            if let Found::Signal(signal) = found {
                signals.push(signal);
            }
        });
        signals
    }
}

/// Twelve uniform numbers: near enough.
fn gauss(rng: &mut Rng) -> f64 {
    (0..12).map(|_| f64::from(rng.u32()) / f64::from(u32::MAX)).sum::<f64>() - 6.0
}
