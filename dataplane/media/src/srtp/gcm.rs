//! AES-GCM (NIST SP 800-38D) with a nonce of 96 bits, in place. Two passes over a packet, which is in the cache anyway.

use super::counter::{self, Aes};
use aes::cipher::Array;
use ghash::GHash;
use ghash::universal_hash::UniversalHash;

/// Bytes of a tag.
pub const LEN: usize = 16;

/// A key, ready to be used.
#[derive(Clone)]
pub struct Gcm<C> {
    cipher: C,
    hash: GHash,
}

impl<C: Aes> Gcm<C> {
    /// Of a cipher that holds the key.
    pub fn new(cipher: C) -> Self {
        let mut zero = Array::default();
        cipher.encrypt_block(&mut zero);
        Gcm { cipher, hash: GHash::new(&zero) }
    }

    /// Encrypts the data and returns the tag over it and what stays clear.
    #[inline]
    pub fn seal(&self, nonce: [u8; 12], clear: &[u8], data: &mut [u8]) -> [u8; LEN] {
        let mut mask = [0; LEN];
        counter::apply_behind(&self.cipher, first(nonce), &mut mask, data);
        let mut tag = self.hash(clear, data);
        counter::xor(&mut tag, &mask);
        tag
    }

    /// Decrypts the data if the tag is right; otherwise the data stays as it is.
    #[inline]
    pub fn open(&self, nonce: [u8; 12], clear: &[u8], data: &mut [u8], tag: &[u8; LEN]) -> bool {
        let mut own = self.hash(clear, data);
        counter::apply_behind(&self.cipher, first(nonce), &mut own, data);
        let is_right = super::is_same(&own, tag);
        if !is_right {
            counter::apply(&self.cipher, first(nonce) + 1, data);
        }
        is_right
    }

    /// The tag but for its mask.
    #[inline]
    fn hash(&self, clear: &[u8], data: &[u8]) -> [u8; LEN] {
        let mut hash = Hashing { hash: self.hash.clone(), blocks: [[0; 16]; BATCH], len: 0 };
        hash.absorb(clear);
        hash.absorb(data);
        hash.push((((clear.len() as u128 * 8) << 64) | (data.len() as u128 * 8)).to_be_bytes());
        hash.hash.update(Array::cast_slice_from_core(&hash.blocks[..hash.len]));
        hash.hash.finalize().into()
    }
}

/// The counter of the first block: one behind the nonce.
#[inline]
fn first(nonce: [u8; 12]) -> u128 {
    let mut block = [0; 16];
    block[..12].copy_from_slice(&nonce);
    block[15] = 1;
    u128::from_be_bytes(block)
}

/// Blocks hashed at a time: a packet of 20 ms of G.711 with header and lengths.
const BATCH: usize = 12;

/// Gathers blocks, so that the hash gets several at a time: alone each waits for the one before.
struct Hashing {
    hash: GHash,
    blocks: [[u8; 16]; BATCH],
    len: usize,
}

impl Hashing {
    /// Takes the bytes and zeros up to a whole block.
    #[inline]
    fn absorb(&mut self, data: &[u8]) {
        let (blocks, rest) = data.as_chunks();
        for block in blocks {
            self.push(*block);
        }
        if !rest.is_empty() {
            let mut block = [0; 16];
            block.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            self.push(block);
        }
    }

    #[inline]
    fn push(&mut self, block: [u8; 16]) {
        if self.len == BATCH {
            self.hash.update(Array::cast_slice_from_core(&self.blocks));
            self.len = 0;
        }
        self.blocks[self.len] = block;
        self.len += 1;
    }
}
