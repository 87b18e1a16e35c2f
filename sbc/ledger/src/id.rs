//! Names of calls: unique over restarts, and they say where the call lives.

use base::Wall;
use core::fmt;
use core::str::FromStr;

/// One call. Prints as 24 hexadecimal digits: milliseconds of the shard's start (12), node (2), shard (2), serial (8).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct CallId(u128);

impl CallId {
    /// The signalling shard that owns the call.
    pub fn shard(self) -> usize {
        usize::from((self.0 >> 32) as u8)
    }

    /// The node that the call lives on.
    pub fn node(self) -> u8 {
        (self.0 >> 40) as u8
    }

    /// Whether it is an NG call: their serials are odd, those of the B2BUA even.
    pub fn is_ng(self) -> bool {
        self.0 % 2 == 1
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:024x}", self.0)
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call {self}")
    }
}

/// The text is no call id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoCallId;

impl FromStr for CallId {
    type Err = NoCallId;
    fn from_str(s: &str) -> Result<Self, NoCallId> {
        if s.len() != 24 || !s.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(NoCallId);
        }
        u128::from_str_radix(s, 16).map(CallId).map_err(|_| NoCallId)
    }
}

/// Mints the ids of one signalling shard.
#[derive(Clone, Debug)]
pub struct CallIds {
    prefix: u128,
    serial: u32,
}

impl CallIds {
    /// `started` keeps ids apart over restarts; two starts of one shard are never in the same millisecond.
    pub fn new(started: Wall, node: u8, shard: u8) -> Self {
        let millis = u128::from((started.0 / 1_000) & 0xffff_ffff_ffff);
        CallIds { prefix: millis << 48 | u128::from(node) << 40 | u128::from(shard) << 32, serial: 0 }
    }

    /// As [`CallIds::new`], for the NG calls of the shard.
    pub fn ng(started: Wall, node: u8, shard: u8) -> Self {
        CallIds { serial: u32::MAX, ..CallIds::new(started, node, shard) }
    }

    /// The next id.
    pub fn mint(&mut self) -> CallId {
        self.serial = self.serial.wrapping_add(2);
        CallId(self.prefix | u128::from(self.serial))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_print_parse_and_say_their_shard() {
        let mut ids = CallIds::new(Wall(1_795_248_116_500_000), 3, 2);
        let (a, b) = (ids.mint(), ids.mint());
        assert_ne!(a, b);
        assert_eq!(a.to_string().parse(), Ok(a));
        assert_eq!((a.shard(), a.node(), a.to_string().len()), (2, 3, 24));
        let ng = CallIds::ng(Wall(1_795_248_116_500_000), 3, 2).mint();
        assert!(ng.is_ng() && !a.is_ng() && !b.is_ng(), "who started at the same moment mints others");
        assert_eq!("xyz".parse::<CallId>(), Err(NoCallId));
        assert_eq!("+00000000000000000000000".parse::<CallId>(), Err(NoCallId));
    }
}
