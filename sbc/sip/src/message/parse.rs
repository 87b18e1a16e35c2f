//! From octets to a checked message: start line, field lines, framing of the body, then the values of the fields
//! that every element reads. Reading goes on after a fault, so that the fault can be answered (RFC 4475).
use super::grammar::{self, Address};
use super::text;
use super::{
    ABSENT, CSeq, ErrorClass, HEADER_LINE_MAX, HEADERS_MAX, Malformed, Message, Method, Name, RAck,
    RequestLine, Slot, StartLine, URI_MAX, Uri, Via,
};
use crate::frame::{self, Framing, MESSAGE_MAX};

/// See [`Message::parse`].
#[expect(
    clippy::result_large_err,
    reason = "the error holds the same view as the message, so nothing is allocated"
)]
pub(super) fn parse(bytes: &[u8], framing: Framing) -> Result<Message<'_>, Malformed<'_>> {
    let bytes = &bytes[frame::empty_lines(bytes)..];
    let mut faults = Faults { first: None };
    let mut message = Message {
        raw: &bytes[..bytes.len().min(MESSAGE_MAX)],
        line: StartLine::Request(RequestLine { method: Method::Other(b""), uri: b"" }),
        body: 0,
        cseq: CSeq { number: 0, method: Method::Other(b"") },
        max_forwards: None,
        is_ambiguous: false,
        field_count: 0,
        first: [ABSENT; Name::COUNT],
        fields: [NO_SLOT; HEADERS_MAX],
    };
    read_head(&mut message, &mut faults);
    let available = bytes.len() - message.body;
    match frame::body_len(message.lines(Name::ContentLength), available, framing) {
        Ok(len) if message.body + len > MESSAGE_MAX => faults.add(ErrorClass::TooLarge),
        Ok(len) if len > available => faults.add(ErrorClass::ContentLengthTooLarge),
        Ok(len) => message.raw = &bytes[..message.body + len],
        Err(class) => faults.add(class),
    }
    check(&mut message, &mut faults);
    match faults.first {
        None => Ok(message),
        Some(class) => Err(Malformed { class, message }),
    }
}

const NO_SLOT: Slot = Slot { name: Name::Other, name_len: 0, name_at: 0, value_at: 0, value_len: 0 };

/// Keeps the first fault.
struct Faults {
    first: Option<ErrorClass>,
}

impl Faults {
    fn add(&mut self, class: ErrorClass) {
        self.first.get_or_insert(class);
    }

    fn check(&mut self, good: bool, class: ErrorClass) {
        if !good {
            self.add(class);
        }
    }
}

fn read_head<'a>(message: &mut Message<'a>, faults: &mut Faults) {
    let raw = message.raw;
    let mut lines = frame::Lines::new(raw);
    match lines.next() {
        Some(Ok((start, end))) => read_start_line(message, &raw[start..end], faults),
        Some(Err(class)) => faults.add(class),
        None => faults.add(ErrorClass::Truncated),
    }
    for line in lines.by_ref() {
        match line {
            Ok((start, end)) => read_field(message, start, end, faults),
            Err(class) => faults.add(class),
        }
    }
    faults.check(lines.ended(), ErrorClass::Truncated);
    message.body = lines.at();
}

fn read_start_line<'a>(message: &mut Message<'a>, line: &'a [u8], faults: &mut Faults) {
    if line.len() >= 4 && line[..4].eq_ignore_ascii_case(b"SIP/") {
        read_status_line(message, line, faults);
    } else {
        read_request_line(message, line, faults);
    }
}

fn read_status_line<'a>(message: &mut Message<'a>, line: &'a [u8], faults: &mut Faults) {
    let (version, rest) = cut(line);
    check_version(version, faults);
    let (code, reason) = cut(rest);
    let status =
        if code.len() == 3 { text::number(code).filter(|code| (100..700).contains(code)) } else { None };
    faults.check(status.is_some(), ErrorClass::StatusCode);
    message.line = StartLine::Response { status: status.unwrap_or(0) as u16, reason };
}

fn read_request_line<'a>(message: &mut Message<'a>, line: &'a [u8], faults: &mut Faults) {
    let (method, rest) = cut(line);
    let split = memchr::memrchr(b' ', rest);
    let (uri, version) = split.map_or((rest, &b""[..]), |at| (&rest[..at], &rest[at + 1..]));
    message.line = StartLine::Request(RequestLine { method: Method::of(method), uri });
    if !text::is_token(method) || uri.is_empty() || uri[0] == b' ' || uri.ends_with(b" ") {
        return faults.add(ErrorClass::StartLine);
    }
    check_version(version, faults);
    if uri.len() > URI_MAX {
        return faults.add(ErrorClass::UriTooLong);
    }
    // Header fields in a Request-URI could become real ones further on (RFC 3261 section 19.1.1).
    let good = Uri::parse(uri).is_some_and(|uri| uri.headers.is_none());
    faults.check(good, ErrorClass::RequestUri);
}

/// What stands before and after the first space.
fn cut(line: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b' ', line) {
        Some(at) => (&line[..at], &line[at + 1..]),
        None => (line, b""),
    }
}

fn check_version(version: &[u8], faults: &mut Faults) {
    if version.eq_ignore_ascii_case(b"SIP/2.0") {
        return;
    }
    let other = version.len() > 4
        && version[..4].eq_ignore_ascii_case(b"SIP/")
        && memchr::memchr(b'.', &version[4..]).is_some_and(|dot| {
            text::number(&version[4..4 + dot]).is_some() && text::number(&version[5 + dot..]).is_some()
        });
    faults.add(if other { ErrorClass::Version } else { ErrorClass::StartLine });
}

fn read_field(message: &mut Message<'_>, start: usize, end: usize, faults: &mut Faults) {
    if end - start > HEADER_LINE_MAX {
        return faults.add(ErrorClass::HeaderTooLong);
    }
    let line = &message.raw[start..end];
    let Some((name, name_len, value)) = frame::field(line) else {
        return faults.add(ErrorClass::HeaderLine);
    };
    let index = message.field_count;
    if usize::from(index) == HEADERS_MAX {
        return faults.add(ErrorClass::TooManyHeaders);
    }
    message.fields[usize::from(index)] = Slot {
        name,
        name_len: name_len as u8,
        name_at: start as u16,
        value_at: (start + value.start) as u16,
        value_len: value.len() as u16,
    };
    message.field_count += 1;
    let first = &mut message.first[name as usize];
    if *first == ABSENT {
        *first = index;
    } else if matches!(name, Name::CallId | Name::CSeq | Name::MaxForwards) {
        // Everything is found by these, so two of them are two messages; other doubles only earn a refusal.
        faults.add(ErrorClass::DuplicateHeader);
    } else {
        message.is_ambiguous |= name.is_single();
    }
}

fn check(message: &mut Message<'_>, faults: &mut Faults) {
    for name in [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq] {
        faults.check(message.header(name).is_some(), ErrorClass::MissingHeader);
    }
    if let Some(value) = message.header(Name::CSeq) {
        match cseq(value) {
            Some(cseq) => message.cseq = cseq,
            // A response that names no method matches no transaction, and is dropped there; a number beyond the
            // limit must not wrap anywhere (RFC 4475 section 3.1.2.5).
            None => faults.check(!message.is_request() && !is_overlarge(value), ErrorClass::CSeq),
        }
        if let StartLine::Request(line) = message.line {
            faults.check(message.cseq.method == line.method, ErrorClass::CSeqMethod);
        }
    }
    if let Some(value) = message.header(Name::MaxForwards) {
        message.max_forwards = text::number(value).and_then(|number| u8::try_from(number).ok());
        faults.check(message.max_forwards.is_some(), ErrorClass::MaxForwards);
    }
    for index in 0..message.field_count {
        let slot = message.fields[usize::from(index)];
        check_value(slot.name, message.field(slot).value, message.is_request(), faults);
    }
}

/// Checks one value. A response is not answered, and is matched by its top branch: what it repeats of the request
/// (`strict` is false) may be damaged, as captures of old gateways show.
fn check_value(name: Name, value: &[u8], strict: bool, faults: &mut Faults) {
    match name {
        Name::Via if strict => faults.check(grammar::are_vias(value), ErrorClass::Via),
        Name::Via => {
            let good = text::split(value, b',').all(|via| via.is_empty() || Via::read(via).is_some());
            faults.check(good, ErrorClass::Via);
        }
        Name::From if strict => faults.check(grammar::is_address(value, Address::Party), ErrorClass::From),
        Name::To if strict => faults.check(grammar::is_address(value, Address::Party), ErrorClass::To),
        Name::CallId => {
            let good =
                !value.is_empty() && (!strict || value.iter().all(|&byte| byte > b' ' && byte != 0x7f));
            faults.check(good, ErrorClass::CallId);
        }
        Name::Contact => {
            let good = value == b"*" || grammar::are_addresses(value, Address::Contact);
            faults.check(good, ErrorClass::Contact);
        }
        Name::Route | Name::RecordRoute | Name::Path | Name::ServiceRoute => {
            let kind = if strict { Address::Route } else { Address::Contact };
            faults.check(grammar::are_addresses(value, kind), ErrorClass::Route);
        }
        Name::ContentType => faults.check(is_media_type(value), ErrorClass::ContentType),
        Name::Expires => faults.check(seconds(value).is_some(), ErrorClass::Expires),
        Name::SessionExpires | Name::MinSe => {
            faults.check(seconds(value).is_some(), ErrorClass::SessionExpires);
        }
        Name::RSeq => faults.check(rseq(value).is_some(), ErrorClass::Reliability),
        Name::RAck => faults.check(rack(value).is_some(), ErrorClass::Reliability),
        Name::Date if strict => faults.check(is_gmt(value), ErrorClass::Date),
        _ => {}
    }
}

/// Whether a date ends in the only zone that there is (RFC 3261 section 20.17).
fn is_gmt(date: &[u8]) -> bool {
    date.last_chunk::<3>().is_some_and(|zone| zone.eq_ignore_ascii_case(b"GMT"))
}

fn is_media_type(value: &[u8]) -> bool {
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    let Some(slash) = memchr::memchr(b'/', &value[..end]) else { return false };
    text::is_token(text::trim(&value[..slash])) && text::is_token(text::trim(&value[slash + 1..end]))
}

fn cseq(value: &[u8]) -> Option<CSeq<'_>> {
    let blank = value.iter().position(|&byte| text::is_blank(byte))?;
    let number = text::number(&value[..blank]).filter(|&number| number <= CSEQ_MAX)?;
    let method = text::trim_start(&value[blank..]);
    text::is_token(method).then_some(CSeq { number: number as u32, method: Method::of(method) })
}

/// RFC 3261 section 8.1.1.5.
const CSEQ_MAX: u64 = (1 << 31) - 1;

fn is_overlarge(cseq: &[u8]) -> bool {
    let (digits, _) = leading_digits(cseq);
    !digits.is_empty() && text::number(digits).is_none_or(|number| number > CSEQ_MAX)
}

/// The number that a value begins with, clamped to `u32`; what follows behind a blank, `;` or `(` is left out.
/// `None` without digits.
pub(super) fn seconds(value: &[u8]) -> Option<u32> {
    let (digits, rest) = leading_digits(value);
    let ends = rest.first().is_none_or(|&byte| text::is_blank(byte) || matches!(byte, b';' | b'('));
    if digits.is_empty() || !ends {
        return None;
    }
    Some(text::number(digits).and_then(|number| u32::try_from(number).ok()).unwrap_or(u32::MAX))
}

fn leading_digits(value: &[u8]) -> (&[u8], &[u8]) {
    value.split_at(value.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(value.len()))
}

pub(super) fn rseq(value: &[u8]) -> Option<u32> {
    text::number(value).and_then(|number| u32::try_from(number).ok())
}

pub(super) fn rack(value: &[u8]) -> Option<RAck<'_>> {
    let blank = value.iter().position(|&byte| text::is_blank(byte))?;
    Some(RAck { rseq: rseq(&value[..blank])?, cseq: cseq(text::trim_start(&value[blank..]))? })
}
