//! Digits as pairs of tones in speech (ITU-T Q.23, Q.24), and the tones of fax (T.30): [`Detector`] finds them,
//! [`Generator`] makes them.

mod detect;
mod generate;

pub use detect::{Detector, Found};
pub use generate::{Generator, Levels};

/// Frequencies of the rows `123A`, `456B`, `789C`, `*0#D`, in Hz.
pub const LOW: [u16; 4] = [697, 770, 852, 941];
/// Frequencies of the columns, in Hz.
pub const HIGH: [u16; 4] = [1_209, 1_336, 1_477, 1_633];

/// Digits by row and column.
const PAD: [[u8; 4]; 4] = [*b"123A", *b"456B", *b"789C", *b"*0#D"];

/// Frequencies of a digit, in Hz.
pub fn frequencies(digit: char) -> Option<(u16, u16)> {
    let place = PAD.as_flattened().iter().position(|name| char::from(*name) == digit.to_ascii_uppercase())?;
    Some((LOW[place / 4], HIGH[place % 4]))
}
