//! Encryption that ends here: our key towards one peer, and its keys, a candidate each (RFC 3711, RFC 4568).

use super::port::{Found, Port};
use crate::srtp::{Opener, Sealer};
use crate::wire::rtcp::{Compound, word};
use crate::wire::rtp::Rtp;
use command::spec::Secure;
use command::{SdesKeys, Verdict};

/// What a port's packets are sealed with.
pub(super) struct OwnKey {
    pub sealer: Sealer,
    /// Those of keys that other forks agreed on: they know which indices are spent, should their fork come back.
    before: Vec<Sealer>,
}

/// Keys that one port remembers: as many as an offer has lines.
const KEYS_MAX: usize = 6;

impl OwnKey {
    /// Keeps what there is while the key stays the same: an index must not be used twice (RFC 3711 section 9.1).
    pub fn renew(before: Option<Box<OwnKey>>, secure: Option<&Secure>) -> Option<Box<OwnKey>> {
        let Some(Secure::Sdes(keys)) = secure else { return None };
        let Some(mut own) = before else {
            return Sealer::new(keys).ok().map(|sealer| Box::new(OwnKey { sealer, before: Vec::new() }));
        };
        if own.sealer.same_key(keys) {
            return Some(own);
        }
        let known = own.before.iter().position(|sealer| sealer.same_key(keys));
        let next = known.map(|place| own.before.remove(place)).or_else(|| Sealer::new(keys).ok())?;
        if own.before.len() >= KEYS_MAX {
            own.before.remove(0);
        }
        let last = core::mem::replace(&mut own.sealer, next);
        own.before.push(last);
        Some(own)
    }
}

/// The same for what a candidate sends.
pub(super) fn renew_opener(before: Option<Box<Opener>>, keys: Option<&SdesKeys>) -> Option<Box<Opener>> {
    let keys = keys?;
    match before {
        Some(opener) if opener.same_key(keys) => Some(opener),
        Some(_) | None => Opener::new(keys).ok().map(Box::new),
    }
}

impl Port {
    /// Authenticates and decrypts in place; what the packet is now, and its new length.
    pub(super) fn unseal(&mut self, found: Found, bytes: &mut [u8]) -> Result<(Found, usize), Verdict> {
        let opener = self.active.as_mut().and_then(|active| active.opener.as_deref_mut());
        let opener = match found {
            Found::Datagram => return Ok((found, bytes.len())),
            Found::Rtp(_) | Found::Rtcp(_) => opener.ok_or(Verdict::NoKey)?,
        };
        if matches!(found, Found::Rtp(_)) {
            let len = opener.open_rtp(bytes)?;
            let header = Rtp::parse(bytes.get(..len).ok_or(Verdict::Malformed)?)?.header();
            return Ok((Found::Rtp(header), len));
        }
        let len = opener.open_rtcp(bytes)?;
        let clear = bytes.get(..len).ok_or(Verdict::Malformed)?;
        Compound::parse(clear)?;
        Ok((Found::Rtcp(word(clear, 4).unwrap_or(0)), len))
    }
}

impl core::fmt::Debug for OwnKey {
    /// Keys are never printed.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("OwnKey")
    }
}
