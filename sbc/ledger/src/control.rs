//! What control may ask of the media of a call or room: play, digits, recordings, forks, mute, hold, places in rooms. Plain
//! data, checked by whoever makes it; what becomes of it is the signalling shard's.

use crate::id::CallId;
use base::Duration;
use command::{FileFormat, ForkTo, Layout, PlayMode, Sound};
use core::fmt;
use core::str::FromStr;

/// Something that was asked for and goes on for a while: a sound that plays, digits on their way, a recording. Unique
/// over restarts, as its call or room is. Prints as `CALL-NUMBER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId {
    /// Whose.
    pub of: CallId,
    /// Counts up from 1 within the call or room.
    pub number: u32,
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.of, self.number)
    }
}

/// The text is no id of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoOrderId;

impl FromStr for OrderId {
    type Err = NoOrderId;

    fn from_str(text: &str) -> Result<Self, NoOrderId> {
        let (of, number) = text.split_once('-').ok_or(NoOrderId)?;
        let is_plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        let number = number.parse().ok().filter(|_| is_plain).ok_or(NoOrderId)?;
        Ok(OrderId { of: of.parse().map_err(|_| NoOrderId)?, number })
    }
}

/// Whose media: a call's or a room's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A call.
    Call(CallId),
    /// A room, by its name.
    Room(String),
}

/// Which legs of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Legs {
    /// The caller's.
    A,
    /// The callee's.
    B,
    /// Both.
    #[default]
    Both,
}

impl Legs {
    /// Whether the caller's is one of them, and the callee's.
    pub fn each(self) -> [bool; 2] {
        [self != Legs::B, self != Legs::A]
    }

    /// `a`, `b` or `both`.
    pub fn name(self) -> &'static str {
        match self {
            Legs::A => "a",
            Legs::B => "b",
            Legs::Both => "both",
        }
    }
}

/// A sound to play.
#[derive(Clone, Debug, PartialEq)]
pub struct Play {
    /// Who of a call hears it; in a room all do.
    pub legs: Legs,
    /// What.
    pub sound: Sound,
    /// What it is called, for people: a file, an address, a tone.
    pub source: String,
    /// How it meets what is heard otherwise.
    pub mode: PlayMode,
    /// How often; `None` until it is stopped.
    pub times: Option<u32>,
    /// Where it begins.
    pub start: Duration,
    /// Hundredths of a decibel.
    pub gain_centibel: i16,
}

/// Digits to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendDigits {
    /// Who gets them.
    pub legs: Legs,
    /// `0-9A-D*#`, 1 to [`DIGITS_MAX`].
    pub digits: String,
    /// Milliseconds a digit, 100 to 1,000.
    pub duration_ms: u16,
    /// Milliseconds between digits, 0 to 5,000; fewer than a receiver can tell apart are sent as those.
    pub gap_ms: u16,
}

/// Digits of one [`SendDigits`] at most.
pub const DIGITS_MAX: usize = 100;

/// Something about recordings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordAsk {
    /// Begins one.
    Start(RecordStart),
    /// Ends one: the one that runs, if none is named.
    Stop(Option<OrderId>),
    /// Writes silence from now on.
    Pause(Option<OrderId>),
    /// Goes on after a pause.
    Resume(Option<OrderId>),
}

/// How to record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RecordStart {
    /// Channels.
    pub layout: Layout,
    /// Of the file.
    pub format: FileFormat,
    /// Samples a second; `None` is the narrowest that holds all that is said.
    pub rate: Option<u32>,
    /// Digits are heard as silence.
    pub mask_digits: bool,
    /// Where its time begins.
    pub from: RecordFrom,
}

/// Where a recording begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RecordFrom {
    /// When the call is answered, or at once if it is.
    #[default]
    Answer,
    /// At once.
    Now,
    /// With the first packet.
    FirstPacket,
}

/// A recording that has been begun or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Which.
    pub id: OrderId,
    /// Its file, below the folder of recordings.
    pub file: String,
}

/// A copy of what is said, to be sent elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForkStart {
    /// Where, checked and resolved.
    pub to: ForkTo,
    /// What that is called, for people.
    pub target: String,
    /// Channels.
    pub layout: Layout,
    /// Samples a second; `None` is the narrowest that holds all that is said.
    pub rate: Option<u32>,
}

/// Who is silenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mute {
    /// Which legs.
    pub legs: Legs,
    /// What they say, what they hear, or both.
    pub direction: MuteDirection,
    /// Silenced, or heard again.
    pub on: bool,
}

/// What of a leg is silenced, as seen from us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MuteDirection {
    /// What it says.
    #[default]
    In,
    /// What it hears.
    Out,
    /// Both.
    Both,
}

impl MuteDirection {
    /// `in`, `out` or `both`.
    pub fn name(self) -> &'static str {
        match self {
            MuteDirection::In => "in",
            MuteDirection::Out => "out",
            MuteDirection::Both => "both",
        }
    }
}

/// Who is put on hold by us, without a word to the peers.
#[derive(Clone, Debug, PartialEq)]
pub struct Hold {
    /// Which legs: they hear the music, the other one hears nothing.
    pub legs: Legs,
    /// On hold, or back.
    pub on: bool,
    /// What is heard, with its name; silence if none.
    pub music: Option<(Sound, String)>,
}

/// How a call sits in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatOptions {
    /// Others hear it.
    pub talks: bool,
    /// It hears others.
    pub hears: bool,
    /// On what it says, hundredths of a decibel.
    pub gain_centibel: i16,
    /// Only this leg of this call hears it, which is in the same room: 0 is the caller's, 1 the callee's.
    pub coaches: Option<(CallId, u8)>,
}

impl Default for SeatOptions {
    fn default() -> Self {
        SeatOptions { talks: true, hears: true, gain_centibel: 0, coaches: None }
    }
}

/// A call that takes its seats in a room, or sits otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// The room's name.
    pub room: String,
    /// Made if there is none, and gone when its last call but one leaves: a call joins a call.
    pub ad_hoc: bool,
    /// Whom the options are for; both legs sit in the room.
    pub legs: Legs,
    /// How they sit; `None` leaves seats as they are.
    pub seats: Option<SeatOptions>,
}

/// What holds for a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomOptions {
    /// So many of the loudest are heard, 1 to 8.
    pub talkers: u8,
    /// A tone when somebody joins or leaves.
    pub tones: bool,
    /// It is recorded from its first member on.
    pub record: Option<RecordStart>,
}

impl Default for RoomOptions {
    fn default() -> Self {
        RoomOptions { talkers: 3, tones: false, record: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::CallIds;
    use base::Wall;

    #[test]
    fn ids_of_orders_print_and_parse_and_nothing_else_does() {
        let id = OrderId { of: CallIds::new(Wall(1_795_248_116_500_000), 0, 1).mint(), number: 7 };
        assert_eq!(id.to_string().parse(), Ok(id));
        let call = id.of.to_string();
        for wrong in
            ["", "7", &call, &format!("{call}-"), &format!("{call}-+7"), &format!("{call}-99999999999")]
        {
            assert_eq!(wrong.parse::<OrderId>(), Err(NoOrderId), "{wrong}");
        }
    }

    #[test]
    fn legs_say_whom_they_mean() {
        assert_eq!(
            [Legs::A, Legs::B, Legs::Both].map(Legs::each),
            [[true, false], [false, true], [true, true]]
        );
    }
}
