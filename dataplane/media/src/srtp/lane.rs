//! One direction of RTP or of RTCP under one key: cipher and tag of one packet whose index is known. Keeps no state.
//!
//! Trailers (RFC 3711 sections 3.1 and 3.4, RFC 7714 sections 8 and 9): AES-CM ends with \[index\], MKI, tag; AES-GCM with
//! tag, \[index\], MKI.

use super::counter::{self, Aes};
use super::derive::{Label, Master, number};
use super::gcm::{self, Gcm};
use super::hmac::{self, Hmac};
use super::is_same;
use aes::cipher::KeyInit;
use aes::{Aes128Enc, Aes256Enc};
use command::Suite;

/// Keys of one direction of RTP or RTCP.
pub struct Lane {
    cipher: Cipher,
    salt: u128,
    tag_len: usize,
}

enum Cipher {
    Counter128(Box<Aes128Enc>, Hmac),
    Counter256(Box<Aes256Enc>, Hmac),
    Gcm128(Box<Gcm<Aes128Enc>>),
    Gcm256(Box<Gcm<Aes256Enc>>),
}

/// One packet on its way through a lane.
pub struct Job<'a> {
    /// Who sends it.
    pub ssrc: u32,
    /// Its index.
    pub index: u64,
    /// RTCP: the word on the wire, index and flag of encryption.
    pub word: Option<u32>,
    /// Identifier of the master key.
    pub mki: &'a [u8],
    /// Bytes in front that stay clear.
    pub clear: usize,
}

/// The flag in an RTCP packet's index that says that it is encrypted.
pub const ENCRYPTED: u32 = 1 << 31;

impl Lane {
    /// `None` if the key does not fit the suite.
    pub fn new(suite: Suite, master: &Master<'_>, rtcp: bool) -> Option<Self> {
        let mut key = [0; 32];
        let key = &mut key[..suite.key_len()];
        master.derive(Label::Key, rtcp, key);
        let (mut salt, mut auth) = ([0; 14], [0; hmac::LEN]);
        let salt = &mut salt[..suite.salt_len()];
        master.derive(Label::Salt, rtcp, salt);
        master.derive(Label::Auth, rtcp, &mut auth);
        Lane::of_session_keys(suite, rtcp, key, number(salt), &auth)
    }

    /// As [`Lane::new`] with keys that have been derived.
    pub fn of_session_keys(suite: Suite, rtcp: bool, key: &[u8], salt: u128, auth: &[u8]) -> Option<Self> {
        let hmac = Hmac::new(auth);
        let cipher = match suite {
            Suite::AesCm128Sha1_80 | Suite::AesCm128Sha1_32 => {
                Cipher::Counter128(Box::new(Aes128Enc::new_from_slice(key).ok()?), hmac)
            }
            Suite::AesCm256Sha1_80 | Suite::AesCm256Sha1_32 => {
                Cipher::Counter256(Box::new(Aes256Enc::new_from_slice(key).ok()?), hmac)
            }
            Suite::AeadAes128Gcm => Cipher::Gcm128(Box::new(Gcm::new(Aes128Enc::new_from_slice(key).ok()?))),
            Suite::AeadAes256Gcm => Cipher::Gcm256(Box::new(Gcm::new(Aes256Enc::new_from_slice(key).ok()?))),
        };
        let tag_len = match suite {
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => gcm::LEN,
            Suite::AesCm128Sha1_32 | Suite::AesCm256Sha1_32 if !rtcp => 4,
            _ => 10,
        };
        Some(Lane { cipher, salt, tag_len })
    }

    /// Bytes behind the packet, but for the MKI and RTCP's index.
    pub fn tag_len(&self) -> usize {
        self.tag_len
    }

    /// Whether the tag stands right behind the packet.
    pub fn is_aead(&self) -> bool {
        matches!(self.cipher, Cipher::Gcm128(_) | Cipher::Gcm256(_))
    }

    /// Where the word with RTCP's index stands in a sealed packet of `len` bytes; `None` if it is too short.
    pub fn word_at(&self, len: usize, mki: &[u8]) -> Option<usize> {
        let behind = if self.is_aead() { 0 } else { self.tag_len };
        len.checked_sub(4 + mki.len() + behind)
    }

    /// Seals the first `len` bytes; the trailer has its place behind them. Returns the new length.
    #[inline]
    pub fn seal(&self, job: &Job<'_>, buffer: &mut [u8], len: usize) -> usize {
        match &self.cipher {
            Cipher::Counter128(cipher, hmac) => self.seal_counter(&**cipher, hmac, job, buffer, len),
            Cipher::Counter256(cipher, hmac) => self.seal_counter(&**cipher, hmac, job, buffer, len),
            Cipher::Gcm128(gcm) => self.seal_gcm(gcm, job, buffer, len),
            Cipher::Gcm256(gcm) => self.seal_gcm(gcm, job, buffer, len),
        }
    }

    /// Opens a packet whose trailer leaves `len` bytes before it. `false`, and the bytes unchanged, if the tag is wrong.
    #[inline]
    pub fn open(&self, job: &Job<'_>, packet: &mut [u8], len: usize) -> bool {
        match &self.cipher {
            Cipher::Counter128(cipher, hmac) => self.open_counter(&**cipher, hmac, job, packet, len),
            Cipher::Counter256(cipher, hmac) => self.open_counter(&**cipher, hmac, job, packet, len),
            Cipher::Gcm128(gcm) => self.open_gcm(gcm, job, packet, len),
            Cipher::Gcm256(gcm) => self.open_gcm(gcm, job, packet, len),
        }
    }

    /// In AES-CM two bytes of it are the block's counter behind.
    #[inline]
    fn nonce(&self, job: &Job<'_>) -> u128 {
        self.salt ^ (u128::from(job.ssrc) << 48 | u128::from(job.index))
    }

    #[inline]
    fn gcm_nonce(&self, job: &Job<'_>) -> [u8; 12] {
        let [_, _, _, _, nonce @ ..] = self.nonce(job).to_be_bytes();
        nonce
    }

    #[inline]
    fn seal_counter(
        &self,
        cipher: &impl Aes,
        hmac: &Hmac,
        job: &Job<'_>,
        buffer: &mut [u8],
        len: usize,
    ) -> usize {
        counter::apply(cipher, self.nonce(job) << 16, &mut buffer[job.clear..len]);
        let tag = hmac.tag(&buffer[..len], &job.tail());
        let mut trailer = Trailer { buffer, len };
        if let Some(word) = job.word {
            trailer.push(&word.to_be_bytes());
        }
        trailer.push(job.mki);
        trailer.push(&tag[..self.tag_len]);
        trailer.len
    }

    #[inline]
    fn open_counter(
        &self,
        cipher: &impl Aes,
        hmac: &Hmac,
        job: &Job<'_>,
        packet: &mut [u8],
        len: usize,
    ) -> bool {
        let tag = hmac.tag(&packet[..len], &job.tail());
        let is_right = is_same(&tag[..self.tag_len], &packet[packet.len() - self.tag_len..]);
        if is_right && job.is_encrypted() {
            counter::apply(cipher, self.nonce(job) << 16, &mut packet[job.clear..len]);
        }
        is_right
    }

    #[inline]
    fn seal_gcm(&self, gcm: &Gcm<impl Aes>, job: &Job<'_>, buffer: &mut [u8], len: usize) -> usize {
        let (clear, data) = buffer[..len].split_at_mut(job.clear);
        let tag = match job.word {
            None => gcm.seal(self.gcm_nonce(job), clear, data),
            Some(word) => gcm.seal(self.gcm_nonce(job), &with_word(clear, word), data),
        };
        let mut trailer = Trailer { buffer, len };
        trailer.push(&tag);
        if let Some(word) = job.word {
            trailer.push(&word.to_be_bytes());
        }
        trailer.push(job.mki);
        trailer.len
    }

    #[inline]
    fn open_gcm(&self, gcm: &Gcm<impl Aes>, job: &Job<'_>, packet: &mut [u8], len: usize) -> bool {
        let (body, trailer) = packet.split_at_mut(len);
        let Some(tag) = trailer.first_chunk_mut::<{ gcm::LEN }>() else { return false };
        let nonce = self.gcm_nonce(job);
        match job.word {
            None => {
                let (clear, data) = body.split_at_mut(job.clear);
                gcm.open(nonce, clear, data, tag)
            }
            Some(word) if job.is_encrypted() => {
                let (clear, data) = body.split_at_mut(job.clear);
                gcm.open(nonce, &with_word(clear, word), data, tag)
            }
            Some(word) => {
                // All of it is in the clear, and the index right behind it is under the tag as well.
                let tag = *tag;
                packet[len..len + 4].copy_from_slice(&word.to_be_bytes());
                gcm.open(nonce, &packet[..len + 4], &mut [], &tag)
            }
        }
    }
}

impl Job<'_> {
    /// What the tag of AES-CM covers behind the packet.
    #[inline]
    fn tail(&self) -> [u8; 4] {
        self.word.unwrap_or((self.index >> 16) as u32).to_be_bytes()
    }

    fn is_encrypted(&self) -> bool {
        self.word.is_none_or(|word| word & ENCRYPTED != 0)
    }
}

/// The eight clear bytes of an encrypted RTCP packet with its index.
#[inline]
fn with_word(clear: &[u8], word: u32) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes.iter_mut().zip(clear.iter().chain(&word.to_be_bytes())).for_each(|(to, from)| *to = *from);
    bytes
}

struct Trailer<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl Trailer<'_> {
    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        self.buffer[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }
}
