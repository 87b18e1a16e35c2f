//! Entries for fuzzers: plain functions on bytes that must neither panic nor break what they state.

pub use crate::exchange::fuzz::exchange;

use crate::bencode::{BencodeError, Value, Writer};
use crate::frame::{self, Cutter, Frame, Notation};
use crate::request::{NAME_LEN_MAX, Request, UNKNOWN_LEN_MAX, UNKNOWN_MAX};
use crate::value::Dict;
use crate::{json as notation, reply::Reply};

/// Reads whatever comes; what can be read is written and read again, and means the same.
pub fn bencode(bytes: &[u8]) {
    match Value::read_first(bytes) {
        Ok((value, rest)) => {
            assert!(bytes.ends_with(rest), "what follows is handed back");
            let mut writer = Writer::default();
            writer.value(&value);
            let written = writer.finish();
            let again = Value::read(&written).expect("what was written can be read");
            assert_eq!(again, value, "and means the same");
        }
        Err(BencodeError::Truncated) => {}
        // More bytes cannot mend it: a stream is given up here.
        Err(error) => {
            let mut longer = bytes.to_vec();
            longer.extend_from_slice(b"e0:e");
            assert_eq!(Value::read_first(&longer).unwrap_err(), error);
        }
    }
}

/// Somebody publishes an SDP, others hear it and answer with the same: whatever it says, what fails changes nothing, and
/// what succeeds is an SDP that can be read.
pub fn subscribe(bytes: &[u8]) {
    crate::subscription::fuzz(bytes);
}

/// What is JSON to us is written and read again, and means the same.
pub fn json(bytes: &[u8]) {
    let Ok(crate::value::Value::Dict(dict)) = notation::read(bytes) else { return };
    let written = notation::write(&dict);
    assert_eq!(notation::read(&written), Ok(crate::value::Value::Dict(dict)));
}

/// A datagram as a whole: frame, dictionary, request, reply. Whoever steers by Call-ID and whoever reads it agree; what a
/// request says is within bounds; the same in the other notation is the same request.
pub fn request(bytes: &[u8]) {
    let Some(frame) = Frame::datagram(bytes) else { return };
    let steered = frame::call_id_of(frame.payload);
    let (how, dict) = match frame::read(frame.payload) {
        Ok(read) => read,
        Err(failure) => {
            let reply = Reply::error(failure).into_dict();
            let written = frame::write_reply(frame.cookie, Notation::of(frame.payload), &reply);
            assert!(written.starts_with(frame.cookie));
            return;
        }
    };
    let read = Request::read(&dict);
    if let Ok(request) = &read {
        assert_eq!(request.call_id.as_deref(), steered.as_deref(), "steered to where it belongs");
        assert!(request.unknown.len() <= UNKNOWN_MAX);
        assert!(request.unknown.iter().all(|note| note.len() <= UNKNOWN_LEN_MAX));
        let tags = [&request.call_id, &request.from_tag, &request.to_tag, &request.via_branch];
        assert!(tags.into_iter().flatten().all(|tag| (1..=NAME_LEN_MAX).contains(&tag.len())));
        let mut reply = Reply::ok();
        reply.warn_of_unknown(&request.unknown);
        let written = frame::write_reply(frame.cookie, how, &reply.into_dict());
        assert!(frame::read(&written[frame.cookie.len() + 1..]).is_ok());
    }
    let (_, again) = frame::read(&dict.to_bencode()).expect("what was written can be read");
    assert_eq!(again, dict);
    if how == Notation::Json {
        assert_eq!(Request::read(&again), read);
    }
}

/// A stream in two ways of arriving: the same requests, and the same end.
pub fn stream(bytes: &[u8]) {
    let cut = |step: usize| {
        let (mut cutter, mut frames) = (Cutter::default(), Vec::new());
        let (mut from, mut to) = (0, 0);
        loop {
            match cutter.next(&bytes[from..to]) {
                Ok(Some((frame, len))) => {
                    assert!(len > 0 && len <= to - from);
                    assert!(!frame.cookie.is_empty() && !frame.cookie.contains(&b' '));
                    frames.push((frame.cookie.to_vec(), frame.payload.to_vec()));
                    from += len;
                }
                Ok(None) if to == bytes.len() => return (frames, None),
                Ok(None) => to = bytes.len().min(to + step),
                Err(failure) => return (frames, Some(failure)),
            }
        }
    };
    let whole = cut(usize::MAX - bytes.len());
    assert_eq!(cut(1), whole);
    assert_eq!(cut(7), whole);
}

/// Flags as one text, and each line as an entry of `flags`: read the same way whether the flag stands alone or not.
pub fn flags(bytes: &[u8]) {
    use crate::value::Value;
    let ping = || Dict::new().with("command", Value::text("ping"));
    let raw = Request::read(&ping().with("rtpp-flags", Value::text(bytes)));
    let lines = bytes.split(|byte| *byte == b'\n');
    let list = Request::read(&ping().with("flags", Value::texts(lines)));
    for request in [raw, list].into_iter().flatten() {
        assert!(request.unknown.len() <= UNKNOWN_MAX);
        assert!(request.unknown.iter().all(|note| note.len() <= UNKNOWN_LEN_MAX));
        let codec = &request.options.codec;
        assert!(codec.strip.iter().chain(&codec.offer).all(|codec| !codec.name.is_empty()));
    }
}
