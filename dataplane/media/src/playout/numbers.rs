//! From the numbers and times of headers to extended ones that go on over wraps, restarts, new sources and new clocks
//! (RFC 3550 sections 5.1 and A.1).

use crate::playout::grain::Grains;
use crate::wire::rtp::Header;
use command::Verdict;

/// A step of the number beyond these is a restart, if the packet behind it confirms it.
const AHEAD_MAX: i16 = 3_000;
const BEHIND_MAX: i16 = -(REMEMBERED as i16);
/// So many packets in a row that are behind are a restart as well.
const BEHIND_RUN: u8 = 16;
/// A timestamp that goes back by this much, or comes before its time by this much, counts from elsewhere.
const BACK_MAX: Grains = Grains::from_ms(500);
const EARLY_MAX: Grains = Grains::from_ms(1_000);
/// So many numbers back it is remembered what has come.
const REMEMBERED: i64 = 128;

pub struct Numbers {
    ssrc: u32,
    clock: u32,
    highest: i64,
    highest_sequence: u16,
    /// A timestamp and where it lies.
    reference: (u32, Grains),
    /// Where what has come ends.
    end: Grains,
    /// Bit n is set if `highest - n` has come, or was an event.
    seen: u128,
    events: u128,
    /// What would confirm a restart.
    restart: Option<u16>,
    /// How many packets in a row were behind all that can be played, and what would be the next of them.
    behind: (u8, u16),
}

/// Where a packet belongs.
pub struct Place {
    pub number: i64,
    pub start: Grains,
    /// Nothing that was known of lateness holds any more.
    pub broken: bool,
}

impl Numbers {
    /// The first packet has number 0 and begins at [`Numbers::end`].
    pub fn begin(now: Grains, header: &Header, clock: u32) -> Self {
        Numbers {
            ssrc: header.ssrc,
            clock,
            highest: 0,
            highest_sequence: header.sequence,
            reference: (header.timestamp, now),
            end: now,
            seen: 0,
            events: 0,
            restart: None,
            behind: (0, 0),
        }
    }

    pub fn highest(&self) -> i64 {
        self.highest
    }

    pub fn end(&self) -> Grains {
        self.end
    }

    pub fn ends_at(&mut self, end: Grains) {
        self.end = self.end.max(end);
    }

    /// Finds the place of a packet. `fastest` is the least lateness of late; `clock` is missing for events, whose
    /// timestamps do not say when they were sent.
    ///
    /// # Errors
    /// [`Verdict::Late`]: a number from far away that nothing has confirmed yet.
    pub fn place(
        &mut self,
        now: Grains,
        fastest: Grains,
        header: &Header,
        clock: Option<u32>,
    ) -> Result<Place, Verdict> {
        let mut broken = header.ssrc != self.ssrc;
        let mut step = header.sequence.wrapping_sub(self.highest_sequence) as i16;
        if !broken && !(BEHIND_MAX..=AHEAD_MAX).contains(&step) {
            let confirmed = self.restart == Some(header.sequence);
            self.restart = Some(header.sequence.wrapping_add(1));
            if !confirmed {
                return Err(Verdict::Late);
            }
            broken = true;
        }
        self.restart = None;
        broken |= self.behind == (BEHIND_RUN, header.sequence);
        if broken {
            // It goes on behind what waits, so that nothing of that is lost.
            step = 1;
        }
        self.ssrc = header.ssrc;
        let number = self.highest + i64::from(step);
        broken |= clock.is_some_and(|clock| clock != self.clock);
        let ticks = header.timestamp.wrapping_sub(self.reference.0) as i32;
        let mut start = self.reference.1 + Grains::from_samples(i64::from(ticks), self.clock);
        if clock.is_some() && step > 0 {
            let back = self.reference.1 - start;
            broken |= back > BACK_MAX || now - start < fastest - EARLY_MAX;
        }
        if broken {
            start = self.end.max(now - fastest);
            self.clock = clock.unwrap_or(self.clock);
        }
        if step > 0 {
            self.highest = number;
            self.highest_sequence = header.sequence;
            self.seen = self.seen.checked_shl(step.unsigned_abs().into()).unwrap_or(0);
            self.events = self.events.checked_shl(step.unsigned_abs().into()).unwrap_or(0);
        }
        if broken || step > 0 && clock.is_some() {
            self.reference = (header.timestamp, start);
        }
        if clock.is_none()
            && let Some(bit) = self.bit(number)
        {
            self.events |= bit;
        }
        Ok(Place { number, start, broken })
    }

    /// Remembers whether a packet could be played or was behind.
    pub fn judged(&mut self, sequence: u16, behind: bool) {
        let run = if !behind {
            0
        } else if sequence == self.behind.1 {
            (self.behind.0 + 1).min(BEHIND_RUN)
        } else {
            1
        };
        self.behind = (run, sequence.wrapping_add(1));
    }

    /// Whether this number comes for the first time, as far as is remembered.
    pub fn is_first(&mut self, number: i64) -> bool {
        let Some(bit) = self.bit(number) else { return true };
        let first = self.seen & bit == 0;
        self.seen |= bit;
        first
    }

    /// How many of these numbers were events: from the first one to the one before the last.
    pub fn events_between(&self, first: i64, last: i64) -> i64 {
        let older = |number: i64| {
            // Those up to this number.
            let back = (self.highest - number).clamp(0, REMEMBERED) as u32;
            self.events.checked_shr(back).unwrap_or(0).count_ones()
        };
        if last <= first { 0 } else { i64::from(older(last - 1)) - i64::from(older(first - 1)) }
    }

    fn bit(&self, number: i64) -> Option<u128> {
        let back = self.highest - number;
        (0..REMEMBERED).contains(&back).then(|| 1 << back)
    }
}
