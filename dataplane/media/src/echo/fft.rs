//! Fourier transform of real blocks whose length is a power of two. Real and imaginary parts lie apart, so that the
//! compiler can work on several at once.

/// Half of a real signal's spectrum: from 0 to half the rate.
#[derive(Clone, Debug, Default)]
pub struct Spectrum {
    pub re: Vec<f32>,
    pub im: Vec<f32>,
}

impl Spectrum {
    pub fn new(bins: usize) -> Self {
        Spectrum { re: vec![0.0; bins], im: vec![0.0; bins] }
    }
}

/// Tables and working space for one length.
#[derive(Debug)]
pub struct Fft {
    /// Half of the length: the real signal is transformed as pairs.
    half: usize,
    /// Twiddles of each stage, one stage after the other.
    re: Vec<f32>,
    im: Vec<f32>,
    /// Those between the transform of pairs and that of the signal.
    split_re: Vec<f32>,
    split_im: Vec<f32>,
    places: Vec<u16>,
    work_re: Vec<f32>,
    work_im: Vec<f32>,
}

impl Fft {
    /// For signals of `len` samples, a power of two from 4 to 65,536.
    pub fn new(len: usize) -> Self {
        assert!(len.is_power_of_two() && (4..=65_536).contains(&len), "a power of two");
        let half = len / 2;
        let turn = |part: f64| {
            let (sin, cos) = (-core::f64::consts::TAU * part).sin_cos();
            (cos as f32, sin as f32)
        };
        let stages =
            core::iter::successors(Some(1), |width| Some(width * 2)).take_while(|width| *width < half);
        let twiddles = stages.flat_map(|width| (0..width).map(move |j| turn(j as f64 / (2 * width) as f64)));
        let (re, im) = twiddles.unzip();
        let (split_re, split_im) = (0..=half).map(|k| turn(k as f64 / len as f64)).unzip();
        let bits = half.trailing_zeros();
        let places =
            (0..half).map(|at| (at as u32).reverse_bits().checked_shr(32 - bits).unwrap_or(0) as u16);
        Fft {
            half,
            re,
            im,
            split_re,
            split_im,
            places: places.collect(),
            work_re: vec![0.0; half],
            work_im: vec![0.0; half],
        }
    }

    /// Bins of a spectrum.
    pub fn bins(&self) -> usize {
        self.half + 1
    }

    pub fn forward(&mut self, signal: &[f32], spectrum: &mut Spectrum) {
        let (pairs, _) = signal.as_chunks::<2>();
        for (place, [even, odd]) in self.places.iter().zip(pairs) {
            self.work_re[usize::from(*place)] = *even;
            self.work_im[usize::from(*place)] = *odd;
        }
        self.transform();
        for k in 0..=self.half {
            let (a, b) = (k % self.half, (self.half - k) % self.half);
            let (even_re, even_im) = (self.work_re[a] + self.work_re[b], self.work_im[a] - self.work_im[b]);
            let (odd_re, odd_im) = (self.work_im[a] + self.work_im[b], self.work_re[b] - self.work_re[a]);
            let (cos, sin) = (self.split_re[k], self.split_im[k]);
            spectrum.re[k] = 0.5 * (even_re + odd_re * cos - odd_im * sin);
            spectrum.im[k] = 0.5 * (even_im + odd_re * sin + odd_im * cos);
        }
    }

    pub fn inverse(&mut self, spectrum: &Spectrum, signal: &mut [f32]) {
        // The inverse is the forward transform with real and imaginary parts changed over.
        for k in 0..self.half {
            let mirror = self.half - k;
            let (a_re, a_im) = (spectrum.re[k], spectrum.im[k]);
            let (b_re, b_im) = (spectrum.re[mirror], -spectrum.im[mirror]);
            let (even_re, even_im) = (a_re + b_re, a_im + b_im);
            let (odd_re, odd_im) = (a_re - b_re, a_im - b_im);
            let (cos, sin) = (self.split_re[k], -self.split_im[k]);
            let place = usize::from(self.places[k]);
            // even + i * odd * turn back
            self.work_im[place] = even_re - (odd_re * sin + odd_im * cos);
            self.work_re[place] = even_im + (odd_re * cos - odd_im * sin);
        }
        self.transform();
        let scale = 0.5 / self.half as f32;
        let (pairs, _) = signal.as_chunks_mut::<2>();
        for ([even, odd], (im, re)) in pairs.iter_mut().zip(self.work_re.iter().zip(&self.work_im)) {
            *even = re * scale;
            *odd = im * scale;
        }
    }

    /// In place; what comes in is in bit-reversed order.
    fn transform(&mut self) {
        let mut width = 1;
        let mut table = 0;
        while width < self.half {
            let (cos, sin) = (&self.re[table..table + width], &self.im[table..table + width]);
            let groups =
                self.work_re.chunks_exact_mut(2 * width).zip(self.work_im.chunks_exact_mut(2 * width));
            for (re, im) in groups {
                let (re_a, re_b) = re.split_at_mut(width);
                let (im_a, im_b) = im.split_at_mut(width);
                for j in 0..width {
                    let turned_re = re_b[j] * cos[j] - im_b[j] * sin[j];
                    let turned_im = re_b[j] * sin[j] + im_b[j] * cos[j];
                    (re_b[j], im_b[j]) = (re_a[j] - turned_re, im_a[j] - turned_im);
                    (re_a[j], im_a[j]) = (re_a[j] + turned_re, im_a[j] + turned_im);
                }
            }
            table += width;
            width *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Rng;

    #[test]
    fn a_transform_is_the_sum_that_defines_it_and_comes_back() {
        let mut rng = Rng::from_seed(3);
        for len in [4, 8, 64, 256] {
            let signal: Vec<f32> = (0..len).map(|_| rng.below(2_001) as f32 - 1_000.0).collect();
            let mut fft = Fft::new(len);
            let mut spectrum = Spectrum::new(fft.bins());
            fft.forward(&signal, &mut spectrum);
            for k in 0..fft.bins() {
                let (mut re, mut im) = (0.0, 0.0);
                for (n, sample) in signal.iter().enumerate() {
                    let (sin, cos) = (-core::f64::consts::TAU * (k * n) as f64 / len as f64).sin_cos();
                    re += f64::from(*sample) * cos;
                    im += f64::from(*sample) * sin;
                }
                let off = (re - f64::from(spectrum.re[k])).abs().max((im - f64::from(spectrum.im[k])).abs());
                assert!(off < 0.05, "bin {k} of {len}: {off}");
            }
            let mut back = vec![0.0; len];
            fft.inverse(&spectrum, &mut back);
            for (before, after) in signal.iter().zip(&back) {
                assert!((before - after).abs() < 0.01, "{before} became {after} of {len}");
            }
        }
    }
}
