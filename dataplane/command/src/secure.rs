//! Keys of encrypted media: the suites of RFC 4568, 6188 and 7714, and one key of one of them. Encrypts nothing.

use core::fmt;

/// A suite of SRTP. The order is that of preference where nothing else decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suite {
    /// RFC 7714.
    AeadAes256Gcm,
    /// RFC 7714.
    AeadAes128Gcm,
    /// RFC 6188.
    AesCm256Sha1_80,
    /// RFC 6188.
    AesCm256Sha1_32,
    /// RFC 4568.
    AesCm128Sha1_80,
    /// RFC 4568; RTCP has a tag of 80 bits all the same.
    AesCm128Sha1_32,
}

impl Suite {
    /// All, in order of preference.
    pub const ALL: [Suite; 6] = [
        Suite::AeadAes256Gcm,
        Suite::AeadAes128Gcm,
        Suite::AesCm256Sha1_80,
        Suite::AesCm256Sha1_32,
        Suite::AesCm128Sha1_80,
        Suite::AesCm128Sha1_32,
    ];

    /// As in `a=crypto`.
    pub const fn name(self) -> &'static str {
        match self {
            Suite::AeadAes256Gcm => "AEAD_AES_256_GCM",
            Suite::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Suite::AesCm256Sha1_80 => "AES_256_CM_HMAC_SHA1_80",
            Suite::AesCm256Sha1_32 => "AES_256_CM_HMAC_SHA1_32",
            Suite::AesCm128Sha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Suite::AesCm128Sha1_32 => "AES_CM_128_HMAC_SHA1_32",
        }
    }

    /// The suite of a name, in any case (RFC 4568 section 9.2 has them in capitals; not all write them so).
    pub fn by_name(name: &str) -> Option<Suite> {
        Suite::ALL.into_iter().find(|suite| suite.name().eq_ignore_ascii_case(name))
    }

    /// Bytes of the master key.
    pub const fn key_len(self) -> usize {
        match self {
            Suite::AeadAes256Gcm | Suite::AesCm256Sha1_80 | Suite::AesCm256Sha1_32 => 32,
            Suite::AeadAes128Gcm | Suite::AesCm128Sha1_80 | Suite::AesCm128Sha1_32 => 16,
        }
    }

    /// Bytes of the master salt.
    pub const fn salt_len(self) -> usize {
        match self {
            Suite::AeadAes256Gcm | Suite::AeadAes128Gcm => 12,
            _ => 14,
        }
    }
}

/// One key of RFC 4568.
#[derive(Clone, PartialEq, Eq)]
pub struct SdesKeys {
    /// What it is for.
    pub suite: Suite,
    /// Master key and salt, one after the other: `key_len + salt_len` bytes.
    pub key: Vec<u8>,
    /// Master key identifier: its bytes as on the wire, 1 to 128; empty if there is none.
    pub mki: Vec<u8>,
}

impl fmt::Debug for SdesKeys {
    /// Keys are never printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SdesKeys({})", self.suite.name())
    }
}
