//! Entries for fuzzers: plain functions on octets that must return, whatever they are given. The seeded mutator of
//! the tests drives them, and they fit cargo-fuzz as they are.
use crate::frame::{Frame, Framing, MESSAGE_MAX, Progress, frame, resume};
use crate::inspect::inspect;
use crate::message::write::Writer;
use crate::message::{ErrorClass, Message, Name};

/// Parses as datagram and as stream, reads everything that can be read, and answers.
pub fn parse(bytes: &[u8]) {
    for framing in [Framing::Datagram, Framing::Stream] {
        match Message::parse(bytes, framing) {
            Ok(message) => {
                read(&message);
                if message.is_request() {
                    answer(&message);
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

/// The reply to a valid request is valid and belongs to it.
fn answer(request: &Message<'_>) {
    let source = std::net::SocketAddr::from(([192, 0, 2, 7], 5070));
    let reply = Writer::reply_from(request, source, 200, Some(b"ours")).finish();
    match Message::parse(&reply, Framing::Stream) {
        Ok(reply) => {
            assert_eq!(reply.to_tag(), Some(request.to_tag().unwrap_or(b"ours")), "{:?}", reply);
            assert_eq!(reply.top_via().branch(), request.top_via().branch());
            assert_eq!((reply.call_id(), reply.cseq()), (request.call_id(), request.cseq()));
        }
        // What is added may bring a line beyond its limit.
        Err(malformed) => {
            assert_eq!(malformed.class, ErrorClass::HeaderTooLong, "{:?}", malformed.readable());
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
