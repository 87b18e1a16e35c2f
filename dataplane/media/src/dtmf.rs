//! Digits: as RFC 4733 events, as tones in speech, and as a plan of keys to press. Decides nothing about who gets
//! them.

pub mod event; // RFC 4733: the payload, Receiver, Sender
pub mod plan; // digits to send, as keys that are due
pub mod tones; // digits and fax tones in speech: Detector, Generator

/// How many event codes are digits: `0-9*#A-D` (RFC 4733 table 3).
pub const DIGITS: u8 = 16;

const NAMES: &[u8; DIGITS as usize] = b"0123456789*#ABCD";

/// The digit of an event code; `None` for other events (16 is the hook flash).
pub fn digit(code: u8) -> Option<char> {
    NAMES.get(usize::from(code)).map(|name| char::from(*name))
}

/// The event code of a digit, `a` to `d` in either case.
pub fn code(digit: char) -> Option<u8> {
    let digit = u8::try_from(digit.to_ascii_uppercase()).ok()?;
    NAMES.iter().position(|name| *name == digit).map(|code| code as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_rfc_4733() {
        for (at, name) in "0123456789*#ABCD".chars().enumerate() {
            assert_eq!((code(name), digit(at as u8)), (Some(at as u8), Some(name)));
        }
        assert_eq!((code('d'), code('E'), code('é'), digit(16)), (Some(15), None, None, None));
    }
}
