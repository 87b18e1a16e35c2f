//! Random numbers from a seed, so that a seed replays a whole run (xoshiro256**, by Blackman and Vigna).
//! For tags, branches, SSRCs and choices among equals; keys and secrets come from the operating system.

/// A seeded generator. Shells seed it from the operating system, tests from a number.
#[derive(Clone, Debug)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// The same seed gives the same numbers, on every machine.
    pub fn from_seed(seed: u64) -> Self {
        let mut mix = seed;
        // splitmix64, as the authors advise for filling the state
        let state = core::array::from_fn(|_| {
            mix = mix.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = mix;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        });
        Rng { state }
    }

    /// The next 64 bits.
    pub fn u64(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// The next 32 bits.
    pub fn u32(&mut self) -> u32 {
        (self.u64() >> 32) as u32
    }

    /// Uniform below `bound` (by multiplication; the bias is below 2^-32 for bounds below 2^32). Zero for a bound of zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.u64()) * u128::from(bound)) >> 64) as u64
    }

    /// `len` characters of `0-9a-z` (5.17 bits each), as used in tags, branches and Call-IDs.
    pub fn token(&mut self, len: usize, out: &mut Vec<u8>) {
        const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        for _ in 0..len {
            out.push(ALPHABET[self.below(36) as usize]);
        }
    }

    /// A generator of its own, whose numbers do not depend on how often this one is used later.
    pub fn fork(&mut self) -> Rng {
        Rng::from_seed(self.u64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_replays_and_bounds_hold() {
        let (mut a, mut b) = (Rng::from_seed(7), Rng::from_seed(7));
        for _ in 0..1000 {
            assert_eq!(a.u64(), b.u64());
            assert!(a.below(10) < 10 && b.below(10) < 10);
        }
        let mut token = Vec::new();
        a.token(12, &mut token);
        assert!(token.len() == 12 && token.iter().all(u8::is_ascii_alphanumeric));
    }
}
