//! AES in counter mode, as both kinds of suites use it: the counter is the low end of one big number.

use aes::cipher::consts::U16;
use aes::cipher::typenum::Unsigned;
use aes::cipher::{
    Array, BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, ParBlocks,
};

/// A block cipher of 128-bit blocks.
pub trait Aes: BlockCipherEncrypt<BlockSize = U16> {}

impl<C: BlockCipherEncrypt<BlockSize = U16>> Aes for C {}

/// XORs the data with the key stream that begins at `counter`, of which only the low 32 bits count up.
#[inline]
pub fn apply(cipher: &impl Aes, counter: u128, data: &mut [u8]) {
    cipher.encrypt_with_backend(Apply { counter: Counter::new(counter), first: None, data });
}

/// As [`apply`] behind one block of key stream, which is XORed into `first` (the tag's mask in GCM).
#[inline]
pub fn apply_behind(cipher: &impl Aes, counter: u128, first: &mut [u8; 16], data: &mut [u8]) {
    cipher.encrypt_with_backend(Apply { counter: Counter::new(counter), first: Some(first), data });
}

struct Apply<'a> {
    counter: Counter,
    first: Option<&'a mut [u8; 16]>,
    data: &'a mut [u8],
}

impl BlockSizeUser for Apply<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for Apply<'_> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(mut self, backend: &B) {
        let at_once = B::ParBlocksSize::USIZE;
        if let Some(first) = self.first {
            xor(first, &encrypt(backend, self.counter.next()));
        }
        let mut data = self.data;
        // Wide units take many blocks at once or one: most packets are shorter than their many.
        while at_once > 1 && data.len() >= 16 * at_once {
            let (chunk, rest) = data.split_at_mut(16 * at_once);
            let mut blocks = ParBlocks::<B>::default();
            blocks.iter_mut().for_each(|block| *block = self.counter.next().into());
            backend.encrypt_par_blocks((&mut blocks).into());
            for (chunk, block) in chunk.as_chunks_mut().0.iter_mut().zip(&blocks) {
                xor(chunk, &block.0);
            }
            data = rest;
        }
        let (chunks, rest) = data.as_chunks_mut();
        for chunk in chunks {
            xor(chunk, &encrypt(backend, self.counter.next()));
        }
        if !rest.is_empty() {
            let stream = encrypt(backend, self.counter.next());
            rest.iter_mut().zip(stream).for_each(|(byte, stream)| *byte ^= stream);
        }
    }
}

#[inline(always)]
fn encrypt<B: BlockCipherEncBackend<BlockSize = U16>>(backend: &B, block: [u8; 16]) -> [u8; 16] {
    let mut block = Array(block);
    backend.encrypt_block((&mut block).into());
    block.0
}

#[inline(always)]
pub fn xor(data: &mut [u8; 16], stream: &[u8; 16]) {
    data.iter_mut().zip(stream).for_each(|(byte, stream)| *byte ^= stream);
}

struct Counter {
    high: u128,
    low: u32,
}

impl Counter {
    #[inline(always)]
    fn new(counter: u128) -> Self {
        Counter { high: counter >> 32 << 32, low: counter as u32 }
    }

    #[inline(always)]
    fn next(&mut self) -> [u8; 16] {
        let block = (self.high | u128::from(self.low)).to_be_bytes();
        self.low = self.low.wrapping_add(1);
        block
    }
}
