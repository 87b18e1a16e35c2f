//! Which packets of one stream have been: the index of a sequence number (RFC 3711 section 3.3.1) and a window over the
//! last of them (section 3.3.2), for those that come as for those that go.

/// Indices below the highest that are told apart; older ones count as known.
pub const LEN: u64 = 128;

/// Of RTP: the roll-over counter above the sequence number.
const INDEX_END: u64 = 1 << 48;

/// The last indices of one stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    highest: u64,
    /// Bit n is set if `highest - n` has been; 0 before the first.
    seen: u128,
}

/// Whether an index may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It has not been.
    Fresh,
    /// It has been.
    Known,
    /// Too far behind to be told.
    Behind,
}

impl Window {
    /// The index of a sequence number: the nearest to the highest, of the first packet the number itself. `None` if it
    /// would be before the beginning or beyond the end of all indices.
    #[inline]
    pub fn index(&self, sequence: u16) -> Option<u64> {
        if self.seen == 0 {
            return Some(sequence.into());
        }
        let low = self.highest as u16;
        let ahead = sequence.wrapping_sub(low);
        // Half way round belongs to the same round.
        let ahead = if ahead == 0x8000 && low < 0x8000 { 0x8000 } else { i64::from(ahead as i16) };
        self.highest.checked_add_signed(ahead).filter(|index| *index < INDEX_END)
    }

    /// Where an index stands.
    #[inline]
    pub fn place(&self, index: u64) -> Place {
        match self.highest.checked_sub(index) {
            _ if self.seen == 0 => Place::Fresh,
            None => Place::Fresh,
            Some(behind) if behind >= LEN => Place::Behind,
            Some(behind) if self.seen >> behind & 1 != 0 => Place::Known,
            Some(_) => Place::Fresh,
        }
    }

    /// Notes a fresh index.
    #[inline]
    pub fn note(&mut self, index: u64) {
        if self.seen == 0 {
            (self.highest, self.seen) = (index, 1);
        } else if let Some(behind) = self.highest.checked_sub(index) {
            self.seen |= 1u128.checked_shl(behind as u32).unwrap_or(0);
        } else {
            let ahead = index - self.highest;
            self.seen = if ahead < LEN { self.seen << ahead | 1 } else { 1 };
            self.highest = index;
        }
    }
}
