//! Generated tones: [`Player`] sounds a [`Tone`], [`named`] and [`parse`] make one of a name, a country or a cadence.
//! Levels are in dBm0 as G.711 defines it.

mod names;
mod player;
mod text;

pub use names::{COUNTRIES, NAMES, named};
pub use player::{Filled, Oscillator, Player, amplitude};
pub use text::{ToneError, parse};

/// The most steps of a tone.
pub const STEPS_MAX: usize = 8;
