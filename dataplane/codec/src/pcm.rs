//! Arithmetic on blocks of samples: level, gain, sum. The plain loops are compiled twice, once for AVX2, and chosen
//! when the engine runs; both give the same numbers.
#![expect(unsafe_code, reason = "calls of functions that are compiled for AVX2, after asking for it")]

/// The level of silence.
pub const LEVEL_SILENT: u8 = 127;

/// Declares a function that runs a plain one, compiled for AVX2 where the machine has it.
macro_rules! wide {
    ($(#[$doc:meta])* $seen:vis fn $name:ident($($arg:ident: $type:ty),*) $(-> $result:ty)? = $plain:ident) => {
        $(#[$doc])*
        $seen fn $name($($arg: $type),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn with_avx2($($arg: $type),*) $(-> $result)? {
                    $plain($($arg),*)
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: the machine has AVX2.
                    return unsafe { with_avx2($($arg),*) };
                }
            }
            $plain($($arg),*)
        }
    };
}
pub(crate) use wide;

wide! {
    /// Adds a block to a sum. Stops at the end of the shorter slice. The sum wraps beyond 65,536 full blocks.
    pub fn mix_in(sum: &mut [i32], pcm: &[i16]) = mix_in_plain
}

wide! {
    /// The sum as samples; what is too loud is clipped. Stops at the end of the shorter slice.
    pub fn saturate(sum: &[i32], pcm: &mut [i16]) = saturate_plain
}

wide! {
    /// The sum without one of its blocks, as samples; what is too loud is clipped. Stops at the end of the shortest.
    pub fn saturate_without(sum: &[i32], own: &[i16], pcm: &mut [i16]) = saturate_without_plain
}

wide! {
    /// The sum of squares.
    pub fn energy(pcm: &[i16]) -> u64 = energy_plain
}

wide! {
    /// The sum of products. Stops at the end of the shorter slice. Wraps; for samples of 11 bits it is exact up to
    /// 1,024 of them.
    pub fn dot(left: &[i16], right: &[i16]) -> i32 = dot_plain
}

wide! {
    /// Multiplies samples by `mantissa` / 2^`shift`, rounded and clipped.
    pub fn scale(pcm: &mut [i16], mantissa: i16, shift: u32) = scale_plain
}

/// Level of a block below overload, in dB: 0 is a square wave of full scale, [`LEVEL_SILENT`] is silence (RFC 6464).
pub fn level(pcm: &[i16]) -> u8 {
    level_of(energy(pcm), pcm.len())
}

/// As [`level`], from the sum of squares of `len` samples.
pub fn level_of(energy: u64, len: usize) -> u8 {
    if energy == 0 || len == 0 {
        return LEVEL_SILENT;
    }
    let share = energy as f64 / (len as f64 * 32_768.0 * 32_768.0);
    (-10.0 * share.log10()).round().clamp(0.0, f64::from(LEVEL_SILENT)) as u8
}

/// What multiplies samples. One is exact.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gain {
    factor: f32,
    mantissa: i16,
    shift: u32,
}

impl Gain {
    /// Changes nothing.
    pub const ONE: Gain = Gain { factor: 1.0, mantissa: 1 << 14, shift: 14 };
    /// Silences.
    pub const ZERO: Gain = Gain { factor: 0.0, mantissa: 0, shift: 14 };

    /// From hundredths of a decibel; at most 3,000, and silence below -9,600.
    pub fn from_centibel(centibel: i16) -> Gain {
        match centibel {
            0 => Gain::ONE,
            ..-9_600 => Gain::ZERO,
            _ => Gain::from_factor(10f32.powf(f32::from(centibel.min(3_000)) / 2_000.0)),
        }
    }

    /// From a factor of 0 to 32.
    pub fn from_factor(factor: f32) -> Gain {
        if factor == 1.0 {
            return Gain::ONE;
        }
        let factor = factor.clamp(0.0, 32.0);
        // As many bits as a product of 32 bits leaves.
        let mut shift = 10;
        while shift < 24 && factor * ((2u32 << shift) as f32) < 32_767.0 {
            shift += 1;
        }
        let mantissa = (factor * (1u32 << shift) as f32).round().min(32_767.0) as i16;
        Gain { factor, mantissa, shift }
    }

    /// What it multiplies by.
    pub fn factor(self) -> f32 {
        self.factor
    }

    /// Multiplies a block.
    pub fn apply(self, pcm: &mut [i16]) {
        if self != Gain::ONE {
            scale(pcm, self.mantissa, self.shift);
        }
    }
}

/// Multiplies by a factor that goes evenly from one value to another over the block; the last sample has the other.
pub fn ramp(pcm: &mut [i16], from: f32, to: f32) {
    let step = (to - from) / pcm.len().max(1) as f32;
    for (n, sample) in pcm.iter_mut().enumerate() {
        // A cast from a float saturates.
        *sample = (f32::from(*sample) * (from + step * (n + 1) as f32)).round() as i16;
    }
}

#[inline(always)]
fn mix_in_plain(sum: &mut [i32], pcm: &[i16]) {
    for (sum, sample) in sum.iter_mut().zip(pcm) {
        *sum = sum.wrapping_add(i32::from(*sample));
    }
}

#[inline(always)]
fn saturate_plain(sum: &[i32], pcm: &mut [i16]) {
    for (sample, sum) in pcm.iter_mut().zip(sum) {
        *sample = clip(*sum);
    }
}

#[inline(always)]
fn saturate_without_plain(sum: &[i32], own: &[i16], pcm: &mut [i16]) {
    for ((sample, sum), own) in pcm.iter_mut().zip(sum).zip(own) {
        *sample = clip(sum.wrapping_sub(i32::from(*own)));
    }
}

#[inline(always)]
fn energy_plain(pcm: &[i16]) -> u64 {
    // Halves of the squares are summed apart, so that all of it fits 32 bits a lane.
    let mut total = 0;
    for block in pcm.chunks(32_768) {
        let (mut low, mut high) = (0u32, 0u32);
        for sample in block {
            let square = (i32::from(*sample) * i32::from(*sample)) as u32;
            low += square & 0xffff;
            high += square >> 16;
        }
        total += u64::from(low) + (u64::from(high) << 16);
    }
    total
}

#[inline(always)]
fn dot_plain(left: &[i16], right: &[i16]) -> i32 {
    left.iter().zip(right).fold(0i32, |sum, (a, b)| sum.wrapping_add(i32::from(*a) * i32::from(*b)))
}

#[inline(always)]
fn scale_plain(pcm: &mut [i16], mantissa: i16, shift: u32) {
    let half = (1i32 << shift) >> 1;
    for sample in pcm {
        *sample = clip((i32::from(*sample) * i32::from(mantissa) + half) >> shift);
    }
}

#[inline(always)]
fn clip(value: i32) -> i16 {
    value.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize) -> Vec<i16> {
        let mut rng = base::Rng::from_seed(1);
        (0..len).map(|_| rng.u32() as i16).collect()
    }

    #[test]
    fn wide_and_plain_give_the_same() {
        for len in [0, 1, 7, 80, 160, 333, 960] {
            let (a, b) = (noise(len), noise(len + 3));
            let (mut wide, mut plain) = (vec![7; len], vec![7; len]);
            mix_in(&mut wide, &a);
            mix_in_plain(&mut plain, &a);
            assert_eq!(wide, plain);
            assert_eq!(energy(&a), a.iter().map(|s| (i64::from(*s) * i64::from(*s)) as u64).sum::<u64>());
            assert_eq!(dot(&a, &b), dot_plain(&a, &b));
        }
        assert_eq!(energy(&vec![i16::MIN; 70_000]), 70_000 << 30);
    }

    #[test]
    fn sums_are_clipped_and_what_is_taken_out_was_never_there() {
        let mut sum = vec![0; 3];
        for block in [[30_000, -30_000, 5], [30_000, -30_000, 6], [1, 2, 3]] {
            mix_in(&mut sum, &block);
        }
        let mut pcm = [0; 3];
        saturate(&sum, &mut pcm);
        assert_eq!(pcm, [32_767, -32_768, 14]);
        saturate_without(&sum, &[30_000, -30_000, 6], &mut pcm);
        assert_eq!(pcm, [30_001, -29_998, 8]);
    }

    #[test]
    fn gain_of_zero_decibel_is_exact_and_others_are_near() {
        let samples: Vec<i16> = (i16::MIN..=i16::MAX).collect();
        for centibel in [-10_000, -9_000, -2_000, -600, -1, 0, 1, 600, 1_234, 3_000, 9_999] {
            let mut scaled = samples.clone();
            Gain::from_centibel(centibel).apply(&mut scaled);
            let wanted =
                if centibel < -9_600 { 0.0 } else { 10f64.powf(f64::from(centibel.min(3_000)) / 2_000.0) };
            for (before, after) in samples.iter().zip(&scaled) {
                let exact = (f64::from(*before) * wanted).clamp(-32_768.0, 32_767.0);
                let off = (exact - f64::from(*after)).abs();
                assert!(off <= 0.51 + exact.abs() / 16_000.0, "{before} at {centibel}: {after}, not {exact}");
                assert!(centibel != 0 || before == after);
            }
        }
    }

    #[test]
    fn levels_are_below_overload() {
        assert_eq!(level(&[]), 127);
        assert_eq!(level(&[0; 160]), 127);
        assert_eq!(level(&[i16::MIN; 160]), 0);
        assert_eq!(level(&[3_277; 160]), 20);
        let sine: Vec<i16> =
            (0..160).map(|n| ((n as f32 * core::f32::consts::FRAC_PI_4).sin() * 32_767.0) as i16).collect();
        assert_eq!(level(&sine), 3);
        assert_eq!(level(&[1; 160]), 90);
    }

    #[test]
    fn a_ramp_ends_where_it_should() {
        let mut pcm = [1_000; 10];
        ramp(&mut pcm, 0.0, 1.0);
        assert_eq!(pcm, [100, 200, 300, 400, 500, 600, 700, 800, 900, 1_000]);
    }
}
