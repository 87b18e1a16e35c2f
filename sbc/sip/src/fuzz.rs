//! Entries for fuzzers: plain functions on octets that must return, whatever they are given. The seeded mutator of
//! the tests drives them, and they fit cargo-fuzz as they are.
use crate::frame::{Frame, Framing, MESSAGE_MAX, Progress, frame, resume};
use crate::inspect::inspect;
use crate::message::write::Writer;
use crate::message::{Message, Name};

/// Parses as datagram and as stream, reads everything that can be read, and answers.
pub fn parse(bytes: &[u8]) {
    for framing in [Framing::Datagram, Framing::Stream] {
        match Message::parse(bytes, framing) {
            Ok(message) => {
                read(&message);
                let reply = Writer::reply(&message, 200, Some(b"tag")).finish();
                if let Err(malformed) = Message::parse(&reply, Framing::Stream) {
                    // Only what the request itself brought may be at fault: its size.
                    assert!(reply.len() > 8_000, "{malformed}: the reply to a valid message is invalid");
                }
            }
            Err(malformed) => {
                read(malformed.readable());
                if let Some(request) = malformed.reply_to() {
                    let _ = Writer::reply(request, malformed.status().unwrap_or(400), Some(b"tag")).finish();
                }
            }
        }
    }
}

/// Cuts frames off a stream, whole and octet by octet: both ways must see the same borders.
pub fn cut(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(MESSAGE_MAX)];
    let _ = frame(bytes, Framing::Datagram);
    let (mut at, mut have, mut progress) = (0, 0, Progress::default());
    while have < bytes.len() {
        have += 1;
        match resume(&bytes[at..have], Framing::Stream, &mut progress) {
            Frame::Message(range) => {
                assert_eq!(frame(&bytes[at..], Framing::Stream), Frame::Message(range.clone()));
                assert!(
                    Message::parse(&bytes[at..][range.clone()], Framing::Stream)
                        .map_or_else(|bad| bad.readable().raw().len(), |good| good.raw().len())
                        <= range.len()
                );
                at += range.end;
                progress = Progress::default();
            }
            Frame::NeedMore(least) => assert!(least > have - at, "it has what it wants"),
            Frame::KeepAlive { len, .. } => {
                at += len;
                progress = Progress::default();
            }
            Frame::Bad(_) => return,
        }
    }
}

/// What the command prints.
pub fn show(bytes: &[u8]) {
    let inspection = inspect(bytes);
    let json = inspection.to_json();
    assert!(json.starts_with("{\n") && json.ends_with("\n}\n"), "one object");
}

fn read(message: &Message<'_>) {
    for field in message.headers() {
        let _ = message.header_named(field.raw_name);
        let _ = message.values(field.name).count();
        let _ = message.addresses(field.name).filter_map(|address| address.parsed()?.user_text()).count();
    }
    let _ = (message.top_via(), message.from().display_text(), message.to_tag(), message.contact());
    let _ = (message.session_expires(), message.min_se(), message.rseq(), message.rack(), message.expires());
    let _ = (message.retry_after(), message.request_uri(), message.earns(&[]), message.body().len());
    let _ = (message.supports(b"timer"), message.requires(b"timer"), message.header(Name::Other));
}
