//! Digits to send as a plan in time: which key is due when. Neither sends nor sounds them.

use base::{Duration, Instant};

/// A key that is to be pressed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Press {
    /// Its event code; see [`super::digit`].
    pub code: u8,
    /// How long.
    pub duration: Duration,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// A key.
    Press(Press),
    /// The last key has been let go; told once.
    Done,
}

/// Why digits cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadDigits {
    /// None.
    Empty,
    /// More than [`DIGITS_MAX`].
    TooMany,
    /// This is none of `0-9A-D*#`.
    Digit(char),
    /// Outside of [`DURATION_MS`].
    Duration,
    /// Below [`GAP_MS_MIN`], or longer than [`GAP_MS_MAX`].
    Gap,
}

impl BadDigits {
    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            BadDigits::Empty => "no digits",
            BadDigits::TooMany => "more than 100 digits",
            BadDigits::Digit(_) => "digits are 0-9, A-D, * and #",
            BadDigits::Duration => "a digit lasts 40 to 6,000 ms",
            BadDigits::Gap => "digits are 40 to 10,000 ms apart",
        }
    }
}

/// The most digits of one plan.
pub const DIGITS_MAX: usize = 100;
/// Milliseconds that a digit may last.
pub const DURATION_MS: core::ops::RangeInclusive<u16> = 40..=6_000;
/// The shortest pause between two digits, in milliseconds.
pub const GAP_MS_MIN: u16 = 40;
/// The longest.
pub const GAP_MS_MAX: u16 = 10_000;

/// Digits, one after the other. The first is due at the first poll.
#[derive(Clone, Debug)]
pub struct Plan {
    codes: [u8; DIGITS_MAX],
    len: u8,
    next: u8,
    duration: Duration,
    gap: Duration,
    due: Option<Instant>,
    done: bool,
}

impl Plan {
    /// Makes a plan of digits.
    ///
    /// # Errors
    /// [`BadDigits`].
    pub fn new(digits: &str, duration_ms: u16, gap_ms: u16) -> Result<Self, BadDigits> {
        let mut codes = [0; DIGITS_MAX];
        let mut len = 0;
        for digit in digits.chars() {
            let place = codes.get_mut(len).ok_or(BadDigits::TooMany)?;
            *place = super::code(digit).ok_or(BadDigits::Digit(digit))?;
            len += 1;
        }
        if len == 0 {
            return Err(BadDigits::Empty);
        }
        if !DURATION_MS.contains(&duration_ms) {
            return Err(BadDigits::Duration);
        }
        if !(GAP_MS_MIN..=GAP_MS_MAX).contains(&gap_ms) {
            return Err(BadDigits::Gap);
        }
        Ok(Plan {
            codes,
            len: len as u8,
            next: 0,
            duration: Duration::from_millis(duration_ms.into()),
            gap: Duration::from_millis(gap_ms.into()),
            due: None,
            done: false,
        })
    }

    /// What is due by now; ask until there is nothing. A poll that is late makes later keys late: none is shortened.
    pub fn poll(&mut self, now: Instant) -> Option<Due> {
        let due = self.due.unwrap_or(now);
        if now < due || self.done {
            return None;
        }
        if self.next == self.len {
            self.done = true;
            return Some(Due::Done);
        }
        // Lateness within a tick does not add up.
        let pressed = if now.since(due) <= TICK { due } else { now };
        let code = self.codes[usize::from(self.next)];
        self.next += 1;
        let last = self.next == self.len;
        let (pause, pause_min) = if last { (Duration::ZERO, Duration::ZERO) } else { (self.gap, GAP_MIN) };
        self.due = Some((pressed + self.duration + pause).max(now + self.duration + pause_min));
        Some(Due::Press(Press { code, duration: self.duration }))
    }

    /// When to poll next; `None` before the first poll and after the end.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due.filter(|_| !self.done)
    }

    /// How many digits have been pressed.
    pub fn pressed(&self) -> usize {
        self.next.into()
    }
}

const TICK: Duration = Duration::from_millis(20);
const GAP_MIN: Duration = Duration::from_millis(GAP_MS_MIN as u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_due_one_duration_and_one_gap_apart() {
        let mut plan = Plan::new("1#d", 100, 50).unwrap();
        assert_eq!(plan.poll_timeout(), None);
        let mut told = Vec::new();
        let mut now = Instant(7_000_000_000);
        while told.last().is_none_or(|(_, due)| *due != Due::Done) {
            while let Some(due) = plan.poll(now) {
                told.push(((now.0 - 7_000_000_000) / 1_000_000, due));
            }
            now = plan.poll_timeout().unwrap_or(now);
        }
        let key = |code| Due::Press(Press { code, duration: Duration::from_millis(100) });
        assert_eq!(told, [(0, key(1)), (150, key(11)), (300, key(15)), (400, Due::Done)]);
        assert_eq!((plan.poll(now), plan.poll_timeout(), plan.pressed()), (None, None, 3));
    }

    #[test]
    fn ticks_do_not_add_up_and_a_stall_shortens_no_gap() {
        let mut plan = Plan::new("1111", 70, 60).unwrap();
        let mut pressed = Vec::new();
        // Polled each 20 ms, but for a stall from 200 to 600.
        for ms in (0..1_000).step_by(20).filter(|ms| !(200..600).contains(ms)) {
            while let Some(due) = plan.poll(Instant(ms * 1_000_000)) {
                pressed.push((ms, due == Due::Done));
            }
        }
        // due at 0, 130, 260 but 600, 730 and, 70 after it was pressed, the end
        assert_eq!(pressed, [(0, false), (140, false), (600, false), (740, false), (820, true)]);
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        let check = |digits: &str, duration, gap, expected| {
            assert_eq!(Plan::new(digits, duration, gap).map(|_| ()), expected, "{digits}");
        };
        check("", 100, 50, Err(BadDigits::Empty));
        check(&"1".repeat(100), 6_000, 40, Ok(()));
        check(&"1".repeat(101), 100, 50, Err(BadDigits::TooMany));
        check("12x", 100, 50, Err(BadDigits::Digit('x')));
        check("1", 39, 50, Err(BadDigits::Duration));
        check("1", 6_001, 50, Err(BadDigits::Duration));
        check("1", 40, 39, Err(BadDigits::Gap));
    }
}
