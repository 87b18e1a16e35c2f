//! Session keys out of a master key (RFC 3711 section 4.3, RFC 6188, RFC 7714 section 11), with a derivation rate of 0:
//! once and for all.

use super::counter;
use aes::cipher::KeyInit;
use aes::{Aes128Enc, Aes256Enc};

/// What is derived. RTCP has its own three, behind those of RTP.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum Label {
    /// The cipher's key.
    Key = 0,
    /// The key of the tag.
    Auth = 1,
    /// The salt.
    Salt = 2,
}

/// A master key of 16 or 32 bytes with its salt of 14 or 12.
pub struct Master<'a> {
    key: &'a [u8],
    salt: u128,
}

impl<'a> Master<'a> {
    /// Shorter salts get zeros behind.
    pub fn new(key: &'a [u8], salt: &[u8]) -> Self {
        Master { key, salt: number(salt) << (8 * 14usize.saturating_sub(salt.len())) }
    }

    /// Fills `out`; nothing happens if the key is of another length.
    pub fn derive(&self, label: Label, rtcp: bool, out: &mut [u8]) {
        let label = label as u8 + if rtcp { 3 } else { 0 };
        let counter = (self.salt ^ u128::from(label) << 48) << 16;
        out.fill(0);
        if let Ok(cipher) = Aes128Enc::new_from_slice(self.key) {
            counter::apply(&cipher, counter, out);
        } else if let Ok(cipher) = Aes256Enc::new_from_slice(self.key) {
            counter::apply(&cipher, counter, out);
        }
    }
}

/// The bytes as one number; of more than 16 the last count.
pub fn number(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
}
