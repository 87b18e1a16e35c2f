//! HMAC-SHA1 (RFC 2104) with the key's two blocks hashed beforehand: three quarters of what AES-CM costs is here.

use sha1::block_api::compress;

/// Bytes of a whole tag.
pub const LEN: usize = 20;

/// A key, ready to be used.
#[derive(Clone)]
pub struct Hmac {
    inner: [u32; 5],
    outer: [u32; 5],
}

impl Hmac {
    /// The key has at most 64 bytes; what is longer is cut off.
    pub fn new(key: &[u8]) -> Self {
        let pad = |with: u8| {
            let mut block = [with; 64];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            let mut state = START;
            compress(&mut state, &[block]);
            state
        };
        Hmac { inner: pad(0x36), outer: pad(0x5c) }
    }

    /// The tag of `text` followed by `tail`, which has at most 8 bytes.
    #[inline]
    pub fn tag(&self, text: &[u8], tail: &[u8]) -> [u8; LEN] {
        let mut state = self.inner;
        let (blocks, rest) = text.as_chunks::<64>();
        compress(&mut state, blocks);
        // What is left, the tail, the mark and the length in bits: one block or two.
        let mut last = [[0; 64]; 2];
        let bytes = last.as_flattened_mut();
        let len = rest.len() + tail.len();
        bytes[..rest.len()].copy_from_slice(rest);
        bytes[rest.len()..len].copy_from_slice(tail);
        bytes[len] = 0x80;
        let used = if len < 56 { 1 } else { 2 };
        let bits = (64 + text.len() + tail.len()) as u64 * 8;
        bytes[used * 64 - 8..used * 64].copy_from_slice(&bits.to_be_bytes());
        compress(&mut state, &last[..used]);

        let mut block = [0; 64];
        block[..LEN].copy_from_slice(&bytes_of(state));
        block[LEN] = 0x80;
        block[56..].copy_from_slice(&((64 + LEN as u64) * 8).to_be_bytes());
        let mut state = self.outer;
        compress(&mut state, &[block]);
        bytes_of(state)
    }
}

fn bytes_of(state: [u32; 5]) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    for (four, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *four = word.to_be_bytes();
    }
    bytes
}

/// Where SHA-1 begins (FIPS 180-4 section 5.3.1).
const START: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn tags_are_those_of_rfc_2202() {
        let check = |key: &[u8], text: &[u8], expected: &str| {
            assert_eq!(hex(&Hmac::new(key).tag(text, &[])), expected);
            // Wherever the text is cut for the tail.
            for tail in 1..=text.len().min(8) {
                let (text, tail) = text.split_at(text.len() - tail);
                assert_eq!(hex(&Hmac::new(key).tag(text, tail)), expected);
            }
        };
        check(&[0x0b; 20], b"Hi There", "b617318655057264e28bc0b6fb378c8ef146be00");
        check(b"Jefe", b"what do ya want for nothing?", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        check(&[0xaa; 20], &[0xdd; 50], "125d7342b9ac11cd91a39af48aa17b4f63f175d3");
        check(&[0x0c; 20], b"Test With Truncation", "4c1a03424b55e07fe7f27be1d58bb9324a9a5a04");
    }

    #[test]
    fn every_length_around_a_block_is_padded_as_the_library_does() {
        use sha1::Digest;
        let text: Vec<u8> = (0..200).collect();
        for len in 0..text.len() {
            let pad = |with: u8| [0x42 ^ with; 64];
            let inner = sha1::Sha1::new()
                .chain_update(pad(0x36))
                .chain_update(&text[..len])
                .chain_update([1, 2, 3, 4]);
            let outer = sha1::Sha1::new().chain_update(pad(0x5c)).chain_update(inner.finalize());
            assert_eq!(
                Hmac::new(&[0x42; 64]).tag(&text[..len], &[1, 2, 3, 4])[..],
                outer.finalize()[..],
                "{len}"
            );
        }
    }
}
