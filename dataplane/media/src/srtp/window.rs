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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn at(highest: u64) -> Window {
        let mut window = Window::default();
        window.note(highest);
        window
    }

    #[test]
    fn a_number_means_the_nearest_index() {
        assert_eq!(Window::default().index(65_535), Some(65_535));
        assert_eq!(at(65_535).index(0), Some(65_536));
        assert_eq!(at(65_536).index(65_535), Some(65_535));
        assert_eq!(at(65_536 + 40_000).index(10), Some(2 * 65_536 + 10));
        assert_eq!(at(2 * 65_536 + 10).index(40_000), Some(65_536 + 40_000));
        // Half way round (RFC 3711 section 3.3.1): the same round, from below as from above.
        assert_eq!(at(65_536 + 5).index(0x8005), Some(65_536 + 0x8005));
        assert_eq!(at(65_536 + 0x8005).index(5), Some(65_536 + 5));
        // Before the beginning, and behind the end.
        assert_eq!(at(5).index(65_000), None);
        assert_eq!(at(INDEX_END - 1).index(0), None);
    }

    #[test]
    fn what_has_been_is_known_and_what_is_far_behind_is_not_told() {
        let mut window = at(1000);
        assert_eq!(
            (window.place(1000), window.place(999), window.place(1001)),
            (Place::Known, Place::Fresh, Place::Fresh)
        );
        window.note(1000 - (LEN - 1));
        assert_eq!((window.place(1000 - (LEN - 1)), window.place(1000 - LEN)), (Place::Known, Place::Behind));
        window.note(1001);
        assert_eq!((window.place(1000), window.place(1000 - (LEN - 1))), (Place::Known, Place::Behind));
        window.note(5000);
        assert_eq!(
            (window.place(5000), window.place(4999), window.place(1001)),
            (Place::Known, Place::Fresh, Place::Behind)
        );
    }

    proptest! {
        /// Against a set that forgets nothing.
        #[test]
        fn nothing_is_fresh_twice(start in 0..1u64 << 40, steps in proptest::collection::vec(-140..200i64, 1..400)) {
            let (mut window, mut all) = (Window::default(), BTreeSet::new());
            let mut index = start + 100_000;
            for step in steps {
                index = index.saturating_add_signed(step);
                let highest = all.last().copied();
                let expected = match highest {
                    Some(highest) if index + LEN <= highest => Place::Behind,
                    _ if all.contains(&index) => Place::Known,
                    _ => Place::Fresh,
                };
                prop_assert_eq!(window.place(index), expected);
                if highest.is_some() {
                    prop_assert_eq!(window.index(index as u16), Some(index));
                }
                if expected == Place::Fresh {
                    window.note(index);
                    all.insert(index);
                }
            }
        }
    }
}
