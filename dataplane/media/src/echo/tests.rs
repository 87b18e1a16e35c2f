//! Echoes of known paths, under speech of one side and of both.

use super::*;
use base::Rng;
use std::collections::VecDeque;

#[test]
fn a_copy_of_noise_and_speech_30_ms_later_is_gone_after_two_seconds() {
    for rate in [8_000, 16_000] {
        let mut world = World::new(rate, 30, -10.0);
        let noise = noise(rate, 6, 3_000);
        check("noise", &world.run(&noise, &[]), rate, 25.0);
        let mut world_fresh = World::new(rate, 30, -10.0);
        if let Some(speech) =
            crate::material::wav(if rate == 8_000 { "speech_8k_a.wav" } else { "speech_16k_a.wav" })
        {
            check("speech", &world_fresh.run(&speech, &[]), rate, 20.0);
        }
        world = World::new(rate, 30, -10.0);
        check("speech of our own", &world.run(&babble(rate, 8, 1), &[]), rate, 20.0);
    }
}

#[test]
fn echoes_from_far_away_are_found() {
    for (delay_ms, least) in [(0, 20.0), (5, 20.0), (80, 20.0), (150, 20.0), (250, 11.0)] {
        let mut world = World::new(8_000, delay_ms, -10.0);
        check(&format!("{delay_ms} ms"), &world.run(&babble(8_000, 8, 2), &[]), 8_000, least);
    }
}

#[test]
fn a_line_that_smears_its_echo_is_learned() {
    let mut world = World::new(8_000, 12, -12.0);
    let mut rng = Rng::from_seed(8);
    world.path = (0..128).map(|at| gauss(&mut rng) * 0.12 * (-(at as f32) / 24.0).exp()).collect();
    check("a hybrid", &world.run(&babble(8_000, 8, 3), &[]), 8_000, 20.0);
}

#[test]
fn both_talk_and_the_near_one_is_kept() {
    let far = babble(8_000, 16, 4);
    let mut near = vec![0; far.len()];
    // Silent for four seconds, then as loud as the far one.
    near[32_000..96_000].copy_from_slice(&babble(8_000, 8, 5));
    let mut world = World::new(8_000, 30, -10.0);
    let run = world.run(&far, &near);
    let during = 40_000..96_000;
    let off: f64 = during.clone().map(|at| square(f64::from(run.out[at]) - f64::from(near[at]))).sum();
    let said: f64 = during.clone().map(|at| square(f64::from(near[at]))).sum();
    let echo: f64 = during.map(|at| square(f64::from(run.echo[at]))).sum();
    let (snr, before) = (10.0 * (said / off).log10(), 10.0 * (said / echo).log10());
    assert!(snr > before + 5.0 && snr > 14.0, "{snr:.1} dB, {before:.1} without the canceller");
    // And the echo is still known afterwards.
    let rest = 100_000..far.len();
    assert!(erle(&run, rest.clone()) > 18.0, "{:.1} dB", erle(&run, rest));
}

#[test]
fn without_echo_nothing_changes() {
    let far = babble(8_000, 8, 6);
    let near = babble(8_000, 8, 7);
    let mut world = World::new(8_000, 30, -90.0);
    let run = world.run(&far, &near);
    let off: f64 =
        run.out.iter().zip(&near).map(|(out, near)| square(f64::from(*out) - f64::from(*near))).sum();
    let said: f64 = near.iter().map(|near| square(f64::from(*near))).sum();
    assert!(10.0 * (said / off).log10() > 13.0, "{:.1} dB", 10.0 * (said / off).log10());
    let mut silent = World::new(8_000, 30, -10.0);
    let run = silent.run(&vec![0; near.len()], &near);
    assert!(run.out.iter().zip(&near).all(|(out, near)| (out - near).abs() <= 1), "nothing was sent");
}

#[test]
fn a_changed_delay_is_learned_anew() {
    let far = babble(8_000, 16, 9);
    let mut world = World::new(8_000, 30, -10.0);
    world.run(&far[..64_000], &[]);
    world.delay = 60 * 8;
    let run = world.run(&far[64_000..], &[]);
    let rest = 32_000..run.out.len();
    assert!(erle(&run, rest.clone()) > 18.0, "{:.1} dB after four seconds", erle(&run, rest));
}

#[test]
fn odd_lengths_and_extremes_do_no_harm() {
    let mut canceller = Canceller::new(8_000);
    let mut rng = Rng::from_seed(11);
    for _ in 0..300 {
        let len = rng.below(400) as usize;
        let sent: Vec<i16> =
            (0..rng.below(400)).map(|_| if rng.below(2) == 0 { i16::MIN } else { i16::MAX }).collect();
        let mut heard: Vec<i16> =
            (0..len).map(|_| if rng.below(2) == 0 { i16::MIN } else { i16::MAX }).collect();
        canceller.process(&sent, &mut heard);
        assert!(canceller.gain_db().is_finite());
    }
    let mut world = World::new(8_000, 30, -10.0);
    world.canceller = canceller;
    let run = world.run(&babble(8_000, 10, 12), &[]);
    assert!(erle(&run, 40_000..80_000) > 15.0, "{:.1} dB", erle(&run, 40_000..80_000));
}

fn check(name: &str, run: &Run, rate: u32, least: f64) {
    let after = 2 * rate as usize..run.out.len();
    let erle = erle(run, after);
    assert!(erle >= least, "{name} at {rate}: {erle:.1} dB");
}

/// How much softer the echo is.
fn erle(run: &Run, during: core::ops::Range<usize>) -> f64 {
    let before: f64 = run.echo[during.clone()].iter().map(|sample| square(f64::from(*sample))).sum();
    let after: f64 = run.out[during].iter().map(|sample| square(f64::from(*sample))).sum();
    10.0 * (before / after.max(1.0)).log10()
}

fn square(x: f64) -> f64 {
    x * x
}

/// A leg that returns what it hears.
struct World {
    canceller: Canceller,
    delay: usize,
    path: Vec<f32>,
    rate: u32,
    line: VecDeque<f32>,
}

struct Run {
    echo: Vec<i16>,
    out: Vec<i16>,
}

impl World {
    fn new(rate: u32, delay_ms: usize, level_db: f32) -> World {
        World {
            canceller: Canceller::new(rate),
            delay: delay_ms * rate as usize / 1_000,
            path: vec![10f32.powf(level_db / 20.0)],
            rate,
            line: VecDeque::from(vec![0.0; rate as usize]),
        }
    }

    fn run(&mut self, far: &[i16], near: &[i16]) -> Run {
        let mut run = Run { echo: Vec::new(), out: Vec::new() };
        for (at, sent) in far.chunks(self.rate as usize / 50).enumerate() {
            let mut heard = Vec::new();
            for (n, sample) in sent.iter().enumerate() {
                self.line.push_back(f32::from(*sample));
                self.line.pop_front();
                let newest = self.line.len() - 1 - self.delay;
                let echo: f32 =
                    self.path.iter().enumerate().map(|(k, tap)| tap * self.line[newest - k]).sum();
                let said = near.get(at * (self.rate as usize / 50) + n).copied().unwrap_or(0);
                run.echo.push(echo as i16);
                heard.push(said.saturating_add(echo as i16));
            }
            self.canceller.process(sent, &mut heard);
            run.out.extend(heard);
        }
        run
    }
}

fn noise(rate: u32, seconds: usize, level: i32) -> Vec<i16> {
    let mut rng = Rng::from_seed(17);
    (0..rate as usize * seconds).map(|_| (gauss(&mut rng) * level as f32) as i16).collect()
}

/// Something like speech: syllables with pitch and formants, with pauses, and hiss below.
fn babble(rate: u32, seconds: usize, seed: u64) -> Vec<i16> {
    let mut rng = Rng::from_seed(seed);
    let len = rate as usize * seconds;
    let mut pcm = Vec::with_capacity(len + rate as usize);
    let mut states = [[0f32; 2]; 3];
    while pcm.len() < len {
        let (voiced, syllable) = (rng.below(4) > 0, rng.below(200) as usize + 80);
        let pause = rng.below(4) == 0;
        let pitch = rate as f32 / (90.0 + rng.below(160) as f32);
        let formants =
            [300.0 + rng.below(500) as f32, 900.0 + rng.below(1_200) as f32, 2_300.0 + rng.below(900) as f32];
        let mut phase = 0.0;
        for _ in 0..syllable * rate as usize / 1_000 {
            phase += 1.0;
            let mut drive = gauss(&mut rng) * 6.0;
            if !pause && voiced && phase >= pitch {
                phase -= pitch;
                drive += 900.0;
            } else if !pause && !voiced {
                drive = gauss(&mut rng) * 90.0;
            }
            let mut sum = 0.0;
            for ((state, formant), gain) in states.iter_mut().zip(formants).zip([1.0, 0.6, 0.3]) {
                let angle = core::f32::consts::TAU * formant / rate as f32;
                let next = drive + 2.0 * 0.96 * angle.cos() * state[0] - 0.96 * 0.96 * state[1];
                *state = [next, state[0]];
                sum += next * gain;
            }
            pcm.push(sum.clamp(-30_000.0, 30_000.0) as i16);
        }
    }
    pcm.truncate(len);
    pcm
}

/// Twelve uniform numbers: near enough.
fn gauss(rng: &mut Rng) -> f32 {
    (0..12).map(|_| rng.u32() as f32 / u32::MAX as f32).sum::<f32>() - 6.0
}
