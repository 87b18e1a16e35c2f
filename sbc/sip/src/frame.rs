//! Where one SIP message ends, in a datagram and in a stream of octets, and how its header section divides into
//! lines. One set of rules for both, so that nobody can be made to see two borders (RFC 3261 sections 7.5 and 18.3).
use crate::message::{Class, ErrorClass, Name, skip, trim, trim_end};
use std::ops::Range;

/// Octets that one message may have.
pub const MESSAGE_MAX: usize = 65_535;

/// How messages arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One message a datagram (or a WebSocket message); Content-Length may be missing.
    Datagram,
    /// Messages follow each other; Content-Length is a must.
    Stream,
}

/// What stands at the start of the octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A message is at this range. In a stream the next frame begins at its end; in a datagram the rest is dropped.
    Message(Range<usize>),
    /// Stream only: more octets are needed; at least this many in all, as far as is known.
    NeedMore(usize),
    /// Empty lines only, `len` octets of them. A double CRLF is a ping that wants a single CRLF back
    /// (RFC 5626 section 4.4.1); a single one is its answer.
    KeepAlive {
        /// How many octets to drop.
        len: usize,
        /// Whether it was a ping.
        ping: bool,
    },
    /// No message can be cut here. In a stream nothing behind it can be trusted: answer what
    /// [`crate::message::Message::parse`] makes of the octets and close.
    Bad(ErrorClass),
}

/// What is known of the frame that a stream is in the middle of, so that its octets are looked at once only.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// No empty line ends before this offset.
    searched: usize,
    /// Start and end of the message, once its header section was read.
    message: Option<(usize, usize)>,
}

/// Finds the first frame of `bytes`.
#[must_use]
pub fn frame(bytes: &[u8], mode: Framing) -> Frame {
    resume(bytes, mode, &mut Progress::default())
}

/// As [`frame`], for the same octets again with more behind them: what was looked at before is skipped. The caller
/// starts with a new [`Progress`] after each frame that it takes off.
#[must_use]
pub fn resume(bytes: &[u8], mode: Framing, progress: &mut Progress) -> Frame {
    let (start, end) = match progress.message {
        Some(known) => known,
        None => match find_message(bytes, mode, progress) {
            Ok(found) => found,
            Err(frame) => return frame,
        },
    };
    progress.message = Some((start, end));
    if bytes.len() < end { Frame::NeedMore(end) } else { Frame::Message(start..end) }
}

fn find_message(bytes: &[u8], mode: Framing, progress: &mut Progress) -> Result<(usize, usize), Frame> {
    let start = empty_lines(bytes);
    if start == bytes.len() {
        if start == 0 {
            return Err(Frame::NeedMore(1));
        }
        let ping = bytes.starts_with(b"\r\n\r\n");
        // A lone CRLF on a stream may be the first half of a ping: the caller drops either kind at once.
        return Err(Frame::KeepAlive { len: start, ping });
    }
    if bytes[start..] == *b"\r" {
        return Err(Frame::NeedMore(start + 2));
    }
    let head = match find_empty_line(bytes, progress.searched.max(start)) {
        Some(head) if head - start <= MESSAGE_MAX => head,
        Some(_) => return Err(Frame::Bad(ErrorClass::TooLarge)),
        None if bytes.len() - start > MESSAGE_MAX => return Err(Frame::Bad(ErrorClass::TooLarge)),
        None if mode == Framing::Datagram => return Err(Frame::Bad(ErrorClass::Truncated)),
        None => {
            progress.searched = bytes.len().saturating_sub(2);
            return Err(Frame::NeedMore(bytes.len() + 1));
        }
    };
    let lengths = Lines::new(&bytes[start..head]).skip(1).filter_map(|line| {
        let (from, to) = line.ok()?;
        let line = &bytes[start + from..start + to];
        let (name_len, value) = field(line)?;
        (Name::of(&line[..name_len]) == Name::ContentLength).then(|| &line[value])
    });
    let len = body_len(lengths, bytes.len() - head, mode).map_err(Frame::Bad)?;
    if head - start + len > MESSAGE_MAX {
        return Err(Frame::Bad(ErrorClass::TooLarge));
    }
    Ok((start, head + len))
}

/// How many octets the empty lines at the start have; a CR whose LF is not there yet is not counted.
pub(crate) fn empty_lines(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        match &bytes[at..] {
            [b'\n', ..] => at += 1,
            [b'\r', b'\n', ..] => at += 2,
            _ => return at,
        }
    }
}

/// Offset after the empty line that ends the header section, the search beginning at `from`.
fn find_empty_line(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += memchr::memchr(b'\n', &bytes[at..])? + 1;
        match &bytes[at..] {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
}

/// How long the body is, by the values of all Content-Length fields and the octets that are there.
pub(crate) fn body_len<'v>(
    values: impl Iterator<Item = &'v [u8]>,
    available: usize,
    mode: Framing,
) -> Result<usize, ErrorClass> {
    let mut said = None;
    for value in values {
        let value = trim(value);
        let end = value.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(value.len());
        let (digits, junk) = value.split_at(end);
        // A datagram has its own border, so quotes behind the number, as some captures have them, harm nobody.
        let harmless = mode == Framing::Datagram && matches!(junk.first(), Some(b'"' | b'\'' | b' '));
        if digits.is_empty() || !(junk.is_empty() || harmless) {
            return Err(ErrorClass::ContentLength);
        }
        // Beyond every limit is all the same.
        let len = digits.iter().fold(0_usize, |sum, digit| {
            sum.saturating_mul(10).saturating_add(usize::from(digit - b'0')).min(MESSAGE_MAX + 1)
        });
        if said.is_some_and(|said| said != len) {
            return Err(ErrorClass::ContentLengthMismatch);
        }
        said = Some(len);
    }
    match (said, mode) {
        (None, Framing::Datagram) => Ok(available),
        (None, Framing::Stream) => Err(ErrorClass::ContentLengthMissing),
        (Some(len), Framing::Datagram) if len > available => Err(ErrorClass::ContentLengthTooLarge),
        (Some(len), _) => Ok(len),
    }
}

/// The lines of a header section, start line first, each with its folds, as (start, end) without the line end.
/// Stops after the empty line.
pub(crate) struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    ended: bool,
    first: bool,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, ended: false, first: true }
    }

    /// Whether the empty line was there.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Offset of what comes next: after the end the body.
    pub(crate) fn at(&self) -> usize {
        self.at
    }
}

impl Iterator for Lines<'_> {
    type Item = Result<(usize, usize), ErrorClass>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let start = self.at;
        match &self.bytes[start..] {
            [] => return None,
            [b'\n', ..] => {
                self.at += 1;
                self.ended = true;
                return None;
            }
            [b'\r', b'\n', ..] => {
                self.at += 2;
                self.ended = true;
                return None;
            }
            _ => {}
        }
        let mut lone_cr = false;
        loop {
            let Some(found) = memchr::memchr2(b'\r', b'\n', &self.bytes[self.at..]) else {
                // The octets end within a line.
                self.at = self.bytes.len();
                return Some(Err(ErrorClass::Truncated));
            };
            let mut end = self.at + found;
            let line_end = end;
            if self.bytes[end] == b'\r' {
                if self.bytes.get(end + 1) != Some(&b'\n') {
                    // Others might take a lone CR for a line end.
                    lone_cr = true;
                    self.at = end + 1;
                    continue;
                }
                end += 1;
            }
            self.at = end + 1;
            // The start line has no folds.
            if self.first || !matches!(self.bytes.get(self.at), Some(b' ' | b'\t')) {
                self.first = false;
                return Some(if lone_cr { Err(ErrorClass::HeaderLine) } else { Ok((start, line_end)) });
            }
        }
    }
}

/// Length of the name and place of the value in a field line; `None` without colon or where the name is no token.
pub(crate) fn field(line: &[u8]) -> Option<(usize, Range<usize>)> {
    let name_len = skip(line, 0, Class::TOKEN);
    let mut colon = name_len;
    while matches!(line.get(colon), Some(b' ' | b'\t')) {
        colon += 1;
    }
    if name_len == 0 || name_len > usize::from(u8::MAX) || line.get(colon) != Some(&b':') {
        return None;
    }
    let start = skip(line, colon + 1, Class::BLANK);
    Some((name_len, start..start + trim_end(&line[start..]).len()))
}
