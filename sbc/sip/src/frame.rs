//! Where one SIP message ends, in a datagram and in a stream of octets, and how its header section divides into
//! lines. One set of rules for both, so that nobody can be made to see two borders (RFC 3261 sections 7.5 and 18.3).
use crate::message::{Class, ErrorClass, Name, is_token, skip, trim, trim_end};
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
        if start == 0 && mode == Framing::Stream {
            return Err(Frame::NeedMore(1));
        }
        let ping = bytes.starts_with(b"\r\n\r\n");
        // A lone CRLF on a stream may be the first half of a ping: the caller drops either kind at once.
        return Err(Frame::KeepAlive { len: start, ping });
    }
    if bytes[start..] == *b"\r" && mode == Framing::Stream {
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
        let (name, _, value) = field(line)?;
        (name == Name::ContentLength).then(|| &line[value])
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

/// Name of a field line, the length of its text, and the place of the value; `None` without colon or where the name
/// is no token.
pub(crate) fn field(line: &[u8]) -> Option<(Name, usize, Range<usize>)> {
    let colon = memchr::memchr(b':', line)?;
    let mut name_len = colon;
    while name_len > 0 && matches!(line[name_len - 1], b' ' | b'\t') {
        name_len -= 1;
    }
    let name = Name::of(&line[..name_len]);
    if name == Name::Other && (name_len > usize::from(u8::MAX) || !is_token(&line[..name_len])) {
        return None;
    }
    let start = skip(line, colon + 1, Class::BLANK);
    Some((name, name_len, start..start + trim_end(&line[start..]).len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP c\r\n";

    fn check(fields: &str, datagram: &Frame, stream: &Frame) {
        let bytes = format!("{HEAD}{fields}\r\nfour");
        assert_eq!(&frame(bytes.as_bytes(), Framing::Datagram), datagram, "{fields}");
        assert_eq!(&frame(bytes.as_bytes(), Framing::Stream), stream, "{fields}");
    }

    fn message(fields: &str, body: usize) -> Frame {
        Frame::Message(0..HEAD.len() + fields.len() + 2 + body)
    }

    #[test]
    fn the_body_is_as_long_as_content_length_says() {
        for fields in [
            "Content-Length: 4\r\n",
            "l:4\r\n",
            "Content-Length :\r\n 4\r\n",
            "L: 4\r\nContent-Length: 04\r\n",
        ] {
            check(fields, &message(fields, 4), &message(fields, 4));
        }
        let fields = "l: 3\r\n";
        check(fields, &message(fields, 3), &message(fields, 3));
    }

    #[test]
    fn only_a_datagram_may_leave_content_length_out() {
        check("", &message("", 4), &Frame::Bad(ErrorClass::ContentLengthMissing));
    }

    #[test]
    fn a_length_beyond_the_octets_is_a_fault_of_a_datagram_and_a_wait_of_a_stream() {
        let more = Frame::NeedMore(HEAD.len() + "l: 5\r\n".len() + 2 + 5);
        check("l: 5\r\n", &Frame::Bad(ErrorClass::ContentLengthTooLarge), &more);
    }

    #[test]
    fn lying_lengths_are_faults_everywhere() {
        for (fields, class) in [
            ("l: -4\r\n", ErrorClass::ContentLength),
            ("l: +4\r\n", ErrorClass::ContentLength),
            ("l: 4, 4\r\n", ErrorClass::ContentLength),
            ("l: 4x\r\n", ErrorClass::ContentLength),
            ("l:\r\n", ErrorClass::ContentLength),
            ("l: 4\r\nContent-Length: 3\r\n", ErrorClass::ContentLengthMismatch),
        ] {
            check(fields, &Frame::Bad(class), &Frame::Bad(class));
        }
        let bytes = format!("{HEAD}l: 99999999999999999999999\r\n\r\n");
        assert_eq!(frame(bytes.as_bytes(), Framing::Stream), Frame::Bad(ErrorClass::TooLarge));
    }

    #[test]
    fn a_field_that_only_looks_like_content_length_says_nothing() {
        let fields = "Subject: x\r\n l: 1\r\nX-l: 2\r\nl: 4\r\n";
        check(fields, &message(fields, 4), &message(fields, 4));
    }

    #[test]
    fn empty_lines_before_a_message_are_skipped_and_alone_they_are_a_ping() {
        let bytes = format!("\r\n\r\n{HEAD}l: 0\r\n\r\n");
        assert_eq!(frame(bytes.as_bytes(), Framing::Stream), Frame::Message(4..bytes.len()));
        for mode in [Framing::Datagram, Framing::Stream] {
            assert_eq!(frame(b"\r\n\r\n", mode), Frame::KeepAlive { len: 4, ping: true });
            assert_eq!(frame(b"\r\n", mode), Frame::KeepAlive { len: 2, ping: false });
        }
        assert_eq!(frame(b"", Framing::Stream), Frame::NeedMore(1));
        assert_eq!(frame(b"\r", Framing::Stream), Frame::NeedMore(2));
        assert_eq!(frame(b"", Framing::Datagram), Frame::KeepAlive { len: 0, ping: false });
        assert_eq!(frame(b"\r", Framing::Datagram), Frame::Bad(ErrorClass::Truncated));
    }

    #[test]
    fn bare_line_feeds_end_lines_too() {
        let bytes = b"OPTIONS sip:a@b SIP/2.0\nl: 1\n\nxrest";
        assert_eq!(frame(bytes, Framing::Stream), Frame::Message(0..bytes.len() - 4));
    }

    #[test]
    fn a_head_without_end_is_waited_for_up_to_the_limit() {
        let mut bytes = b"OPTIONS sip:a@b SIP/2.0\r\nX: ".to_vec();
        let mut progress = Progress::default();
        while bytes.len() <= MESSAGE_MAX {
            let more = resume(&bytes, Framing::Stream, &mut progress);
            assert_eq!(more, Frame::NeedMore(bytes.len() + 1));
            assert!(progress.searched + 2 >= bytes.len(), "no octet is searched twice");
            bytes.resize(bytes.len() + 1_000, b'x');
        }
        assert_eq!(resume(&bytes, Framing::Stream, &mut progress), Frame::Bad(ErrorClass::TooLarge));
        assert_eq!(
            frame(b"OPTIONS sip:a@b SIP/2.0\r\n", Framing::Datagram),
            Frame::Bad(ErrorClass::Truncated)
        );
    }
}
