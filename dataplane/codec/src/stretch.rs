//! Makes a stretch of sound shorter or longer by whole periods of itself, so that its pitch stays (WSOLA). Knows
//! nothing of why.

/// Takes one period out of `pcm`, which is best 20 to 40 ms long. Returns how many samples were taken out: the first
/// `pcm.len()` less that many are the result; 0 if the sound is loud and resembles itself less than `likeness`
/// (0.0 to 1.0; 0.9 is not heard).
pub fn shorten(pcm: &mut [i16], rate: u32, likeness: f32) -> usize {
    let _ = (pcm, rate, likeness);
    0
}

/// Puts one period into the first `len` samples of `pcm`, which must have room for it behind them (half of `len` at
/// most). Returns how many samples were put in, 0 as in [`shorten`].
pub fn lengthen(pcm: &mut [i16], len: usize, rate: u32, likeness: f32) -> usize {
    let _ = (pcm, len, rate, likeness);
    0
}
