//! Makes a stretch of sound shorter or longer by whole periods of itself, so that its pitch stays: the most alike
//! neighbours are faded into each other (WSOLA). 8 to 48 kHz. Knows nothing of why, and keeps nothing.

/// Longest and shortest period that is looked for, in hertz: 15 ms and 2.5 ms.
const PITCH: (usize, usize) = (66, 400);
/// The first search is made at this rate.
const COARSE_RATE: usize = 4_000;
const COARSE_LEN: usize = COARSE_RATE / 25;
/// Neighbours are compared over at least this part of a second.
const COMPARED: usize = 160;
/// A sum of squares a sample below this is quiet (-50 dBov): what is done to it is not heard.
const QUIET: u64 = 10_800;

/// Takes one period out of `pcm`, which is best 20 to 40 ms long. Returns how many samples were taken out: the first
/// `pcm.len()` less that many are the result. 0 if it is too short, or if it is loud and resembles itself less than
/// `likeness` (0.0 to 1.0; 0.9 is not heard, 0.0 takes what there is).
pub fn shorten(pcm: &mut [i16], rate: u32, likeness: f32) -> usize {
    period(pcm, rate, likeness).map_or(0, |period| shorten_by(pcm, period))
}

/// As [`shorten`] by so many samples, whatever the sound is like; 0 if it is not twice as long.
pub fn shorten_by(pcm: &mut [i16], period: usize) -> usize {
    if pcm.len() / 2 < period {
        return 0;
    }
    let (first, second) = pcm.split_at_mut(period);
    for (n, (one, next)) in first.iter_mut().zip(&*second).enumerate() {
        *one = faded(*one, *next, n, period);
    }
    pcm.copy_within(2 * period.., period);
    period
}

/// Puts one period into the first `len` samples of `pcm`, which must have room for it behind them (half of `len` is
/// enough). Returns how many samples were put in; 0 as for [`shorten`], or where there is no room.
pub fn lengthen(pcm: &mut [i16], len: usize, rate: u32, likeness: f32) -> usize {
    let Some(sound) = pcm.get(..len) else { return 0 };
    period(sound, rate, likeness).map_or(0, |period| lengthen_by(pcm, len, period))
}

/// As [`lengthen`] by so many samples, whatever the sound is like; 0 if it is not twice as long.
pub fn lengthen_by(pcm: &mut [i16], len: usize, period: usize) -> usize {
    if len / 2 < period || pcm.len() < len + period {
        return 0;
    }
    // First the first period, then the second faded back into the first, then all from the second on.
    pcm.copy_within(period..len, 2 * period);
    for n in 0..period {
        pcm[period + n] = faded(pcm[2 * period + n], pcm[n], n, period);
    }
    period
}

/// From `one` to `next` in `len` steps: the `n`th.
fn faded(one: i16, next: i16, n: usize, len: usize) -> i16 {
    let (n, len) = (n as i64, len as i64);
    ((i64::from(one) * (len - n) + i64::from(next) * n) / len) as i16
}

/// The distance at which the beginning is most alike what follows, if alike enough; at most half the length.
fn period(pcm: &[i16], rate: u32, likeness: f32) -> Option<usize> {
    let rate = rate as usize;
    let factor = rate / COARSE_RATE;
    if factor == 0 {
        return None;
    }
    let pcm = &pcm[..pcm.len().min(COARSE_LEN * factor)];
    let mut coarse = [0i16; COARSE_LEN];
    let coarse = &mut coarse[..pcm.len() / factor];
    for (sample, block) in coarse.iter_mut().zip(pcm.chunks_exact(factor)) {
        *sample = (block.iter().map(|sample| i32::from(*sample)).sum::<i32>() / factor as i32) as i16;
    }
    let (longest, shortest) = (COARSE_RATE / PITCH.0, COARSE_RATE / PITCH.1);
    let mut best = (f32::MIN, 0);
    for lag in shortest..=longest.min(coarse.len() / 2) {
        // Of equals the longer one: it does more at once.
        let score = alike(coarse, lag, COARSE_RATE / COMPARED) + 0.03 * lag as f32 / longest as f32;
        if score > best.0 {
            best = (score, lag);
        }
    }
    if best.1 == 0 {
        return None;
    }
    let near = (best.1 - 1) * factor..=((best.1 + 1) * factor).min(pcm.len() / 2);
    let mut found = (f32::MIN, 0);
    for lag in near {
        let likeness = alike(pcm, lag, rate / COMPARED);
        if likeness > found.0 {
            found = (likeness, lag);
        }
    }
    let quiet = || square(pcm, pcm) as u64 / pcm.len() as u64 <= QUIET;
    (found.1 > 0 && (found.0 >= likeness || likeness <= 0.0 || quiet())).then_some(found.1)
}

/// How alike the beginning is to what is `lag` behind it, -1.0 to 1.0; silence is alike.
fn alike(pcm: &[i16], lag: usize, least: usize) -> f32 {
    let len = lag.max(least).min(pcm.len() - lag);
    let (one, next) = (&pcm[..len], &pcm[lag..lag + len]);
    // Not the plain correlation: it would take the ringing of a voice for its period, which only fades.
    let power = square(one, one) + square(next, next);
    if power == 0 { 1.0 } else { 2.0 * square(one, next) as f32 / power as f32 }
}

fn square(one: &[i16], next: &[i16]) -> i64 {
    one.iter().zip(next).map(|(one, next)| i64::from(i32::from(*one) * i32::from(*next))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Rng;

    const RATES: [u32; 6] = [8_000, 12_000, 16_000, 24_000, 32_000, 48_000];

    fn sine(hertz: f32, rate: u32, len: usize) -> Vec<i16> {
        let step = core::f32::consts::TAU * hertz / rate as f32;
        (0..len).map(|n| (8_000.0 * (step * n as f32).sin()) as i16).collect()
    }

    fn noise(amplitude: i32, len: usize) -> Vec<i16> {
        let mut rng = Rng::from_seed(7);
        (0..len).map(|_| (rng.u32() as i32 % amplitude) as i16).collect()
    }

    /// Sounds like a voice: a train of decaying rings.
    fn voice(hertz: u32, rate: u32, len: usize) -> Vec<i16> {
        let period = (rate / hertz) as usize;
        let ring = |n: usize| {
            let t = (n % period) as f32 / rate as f32;
            9_000.0 * (-t * 300.0).exp() * (core::f32::consts::TAU * 700.0 * t).sin()
        };
        (0..len).map(|n| ring(n) as i16).collect()
    }

    /// The greatest second difference: large where the sound breaks.
    fn roughness(pcm: &[i16]) -> i32 {
        let bends = pcm.windows(3).map(|w| (i32::from(w[0]) - 2 * i32::from(w[1]) + i32::from(w[2])).abs());
        bends.max().unwrap_or(0)
    }

    #[test]
    fn tones_keep_their_pitch_and_do_not_break() {
        for rate in RATES {
            for hertz in [97.0, 200.0, 440.0, 1_004.0] {
                let len = rate as usize / 25;
                let plain = sine(hertz, rate, len);
                let mut short = plain.clone();
                let removed = shorten(&mut short, rate, 0.9);
                assert!(removed > rate as usize / 450, "{rate} {hertz}: {removed}");
                short.truncate(len - removed);
                assert_eq!(short[..1], plain[..1]);
                assert_eq!(short[len - removed - 1], plain[len - 1], "the end joins what follows");
                assert!(roughness(&short) <= roughness(&plain) * 3 / 2 + 4, "{rate} {hertz}");
                let mut long = plain.clone();
                long.resize(len + len / 2, 0);
                let added = lengthen(&mut long, len, rate, 0.9);
                assert!(added > rate as usize / 450, "{rate} {hertz}: {added}");
                long.truncate(len + added);
                assert_eq!(long[len + added - 1], plain[len - 1], "the end joins what follows");
                assert!(roughness(&long) <= roughness(&plain) * 3 / 2 + 4, "{rate} {hertz}");
            }
        }
    }

    #[test]
    fn a_voice_loses_and_gains_whole_periods() {
        for rate in RATES {
            for hertz in [90, 125, 220] {
                let len = rate as usize / 25;
                let plain = voice(hertz, rate, len + len / 2);
                let mut short = plain[..len].to_vec();
                let removed = shorten(&mut short, rate, 0.9);
                let periods = removed as f32 * hertz as f32 / rate as f32;
                assert!(
                    periods > 0.9 && (periods - periods.round()).abs() < 0.03,
                    "{rate} {hertz}: {periods}"
                );
                let mut long = plain.clone();
                let added = lengthen(&mut long, len, rate, 0.9);
                let periods = added as f32 * hertz as f32 / rate as f32;
                assert!(
                    periods > 0.9 && (periods - periods.round()).abs() < 0.03,
                    "{rate} {hertz}: {periods}"
                );
            }
        }
    }

    #[test]
    fn loud_noise_is_left_alone_unless_it_must_be_and_quiet_noise_is_not() {
        let loud = noise(9_000, 320);
        let check = |sound: &[i16], likeness, expected: bool| {
            let mut pcm = sound.to_vec();
            assert_eq!(shorten(&mut pcm, 8_000, likeness) > 0, expected);
            let mut pcm = [sound, &[0; 160]].concat();
            assert_eq!(lengthen(&mut pcm, 320, 8_000, likeness) > 0, expected);
        };
        check(&loud, 0.9, false);
        check(&loud, 0.0, true);
        check(&noise(150, 320), 0.9, true);
        check(&[0; 320], 0.9, true);
    }

    #[test]
    fn refused_sound_stays_as_it_is_and_any_length_is_survived() {
        let loud = noise(32_000, 700);
        for len in 0..700 {
            for rate in [1, 8_000, 48_000] {
                let mut pcm = loud[..len].to_vec();
                if shorten(&mut pcm, rate, 1.1) == 0 {
                    assert_eq!(pcm, loud[..len]);
                }
                assert!(shorten(&mut pcm, rate, -1.0) <= len / 2);
                let mut pcm = loud[..len].to_vec();
                // No room at all.
                assert_eq!(lengthen(&mut pcm, len, rate, 0.0), 0);
                assert_eq!(pcm, loud[..len]);
                assert_eq!(lengthen(&mut pcm, len + 1, rate, 0.0), 0);
            }
        }
        let mut extreme = [i16::MIN; 1_920];
        assert!(shorten(&mut extreme, 48_000, 0.9) > 0);
        assert_eq!(extreme, [i16::MIN; 1_920]);
    }
}
