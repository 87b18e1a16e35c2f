//! Where a request begins and ends, in which notation it is, and whose call it is about: datagrams, streams, and what
//! carries a request by itself (HTTP, WebSocket). Reads no key but `call-id`, and that only to steer.

use crate::value::{self, Dict};
use crate::{bencode, failure::Failure, json, raw};
use core::net::{IpAddr, SocketAddr};
use std::borrow::Cow;

/// Where a request came from, and its reply goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// By what.
    pub carrier: Carrier,
    /// Which connection; over UDP the index of the socket.
    pub connection: u64,
    /// Who asked.
    pub remote: SocketAddr,
    /// Over UDP the address of ours that was asked, so that the reply leaves from it.
    pub local: Option<IpAddr>,
}

/// What carries a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "protocols by their names")]
pub enum Carrier {
    Udp,
    Tcp,
    Http,
    WebSocket,
}

/// How a request is written, and its reply, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "notations by their names")]
pub enum Notation {
    #[default]
    Bencode,
    Json,
}

/// A request as it came: `COOKIE PAYLOAD`, or the payload alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the reply begins with; empty without one.
    pub cookie: &'a [u8],
    /// The dictionary, in either notation; not looked at yet.
    pub payload: &'a [u8],
}

/// Bytes of a cookie at most. Kamailio's have about 20.
pub const COOKIE_MAX: usize = 1_024;

/// Bytes of a stream at most that are no whole request yet.
pub const STREAM_MAX: usize = 1 << 20;

impl Notation {
    /// By the first byte of a payload; what is neither is answered in bencode.
    pub fn of(payload: &[u8]) -> Notation {
        match payload.trim_ascii_start().first() {
            Some(b'{') => Notation::Json,
            _ => Notation::Bencode,
        }
    }
}

impl<'a> Frame<'a> {
    /// A datagram, or whatever else is one request with its cookie. `None` without a cookie: such a thing cannot be
    /// answered.
    pub fn datagram(bytes: &'a [u8]) -> Option<Frame<'a>> {
        let len = bytes.iter().take(COOKIE_MAX + 1).position(|byte| *byte == b' ')?;
        (len > 0).then(|| Frame { cookie: &bytes[..len], payload: &bytes[len + 1..] })
    }

    /// A request without a cookie: `/ng-plain`.
    pub fn plain(payload: &'a [u8]) -> Frame<'a> {
        Frame { cookie: &[], payload }
    }
}

/// Finds requests in a stream, one after the other: a cookie, a space, a dictionary that ends by itself. It remembers how
/// far it has looked, so that whoever sends byte by byte has nothing looked at twice.
#[derive(Debug, Default)]
pub struct Cutter {
    /// Bytes of blanks and cookie before the dictionary; 0 until it is found.
    start: usize,
    /// How far the dictionary was looked at.
    inside: Inside,
}

#[derive(Debug, Default)]
enum Inside {
    #[default]
    Nothing,
    Bencode(bencode::Scan),
    Json(json::Scan),
}

impl Cutter {
    /// The first request of `buffer`, and how many bytes of it to drop then. `None` asks for more: call again with the
    /// same bytes and more behind them.
    ///
    /// # Errors
    /// [`Failure::Format`] for what will never be a request, or one beyond [`STREAM_MAX`]: the stream must be closed.
    pub fn next<'b>(&mut self, buffer: &'b [u8]) -> Result<Option<(Frame<'b>, usize)>, Failure> {
        let found = self.look(buffer);
        match found {
            Ok(None) if buffer.len() > STREAM_MAX => Err(Failure::Format),
            Ok(None) => Ok(None),
            Ok(Some(_)) | Err(_) => {
                *self = Cutter::default();
                found
            }
        }
    }

    fn look<'b>(&mut self, buffer: &'b [u8]) -> Result<Option<(Frame<'b>, usize)>, Failure> {
        let blanks = buffer.len() - buffer.trim_ascii_start().len();
        if self.start == 0 {
            let cookie = &buffer[blanks..];
            // Blanks and cookies that never end are given up early.
            let Some(len) = cookie.iter().take(COOKIE_MAX + 1).position(|byte| *byte == b' ') else {
                return if buffer.len() > 2 * COOKIE_MAX { Err(Failure::Format) } else { Ok(None) };
            };
            let payload = &cookie[len + 1..];
            let more = payload.len() - payload.trim_ascii_start().len();
            self.inside = match payload.get(more) {
                Some(b'd') => Inside::Bencode(bencode::Scan::default()),
                Some(b'{') => Inside::Json(json::Scan::default()),
                None if more <= COOKIE_MAX => return Ok(None),
                Some(_) | None => return Err(Failure::Format),
            };
            self.start = blanks + len + 1 + more;
        }
        let payload = &buffer[self.start..];
        let end = match &mut self.inside {
            Inside::Bencode(scan) => scan.end(payload).map_err(|_| Failure::Format)?,
            Inside::Json(scan) => scan.end(payload)?,
            Inside::Nothing => None,
        };
        Ok(end.map(|end| {
            let cookie = buffer[blanks..self.start].trim_ascii_end();
            (Frame { cookie, payload: &payload[..end] }, self.start + end)
        }))
    }
}

/// As [`Cutter::next`], from the beginning.
///
/// # Errors
/// As there.
pub fn next_in_stream(buffer: &[u8]) -> Result<Option<(Frame<'_>, usize)>, Failure> {
    Cutter::default().next(buffer)
}

/// Reads the dictionary of a request. Blanks around it count for nothing.
///
/// # Errors
/// What rtpengine says of such a payload: [`Failure::Empty`], [`Failure::Bencode`], [`Failure::Json`],
/// [`Failure::Format`].
pub fn read(payload: &[u8]) -> Result<(Notation, Dict), Failure> {
    let payload = payload.trim_ascii();
    match payload.first() {
        None => Err(Failure::Empty),
        Some(b'd') => {
            let dict = bencode::Value::read(payload).ok().and_then(bencode::Value::dict);
            let dict = dict.and_then(|dict| Dict::from_bencode(dict).ok()).ok_or(Failure::Bencode)?;
            Ok((Notation::Bencode, dict))
        }
        Some(b'{') => match json::read(payload)? {
            value::Value::Dict(dict) => Ok((Notation::Json, dict)),
            _ => Err(Failure::Json),
        },
        Some(_) => Err(Failure::Format),
    }
}

/// Whose call a request is about, without reading the rest: decides which shard gets it. `None` for commands about no
/// call and for what is no request; any shard answers those. Agrees with what [`crate::request::Request::read`] finds.
pub fn call_id_of(payload: &[u8]) -> Option<Cow<'_, [u8]>> {
    let payload = payload.trim_ascii();
    let (call_id, flags) = match Notation::of(payload) {
        Notation::Bencode => {
            let dict = bencode::Value::read(payload).ok()?.dict()?;
            let find = |wanted| {
                let (_, value) = dict.iter().find(|(key, _)| raw::is_word(key, wanted))?;
                match value {
                    bencode::Value::Text(text) => Some(Cow::Borrowed(text)),
                    bencode::Value::Int(number) => Some(Cow::Owned(number.to_string().into_bytes())),
                    bencode::Value::List(_) | bencode::Value::Dict(_) => None,
                }
            };
            (find("call-id"), find("rtpp-flags"))
        }
        Notation::Json => {
            let [call_id, flags] = json::texts_at_top(payload, ["call-id", "rtpp-flags"]);
            (call_id.map(Cow::Owned), flags.map(Cow::Owned))
        }
    };
    let call_id = call_id.filter(|id| !id.is_empty());
    call_id.or_else(|| raw::call_id_of(&flags?).map(|id| Cow::Owned(id.to_vec())))
}

/// A reply as it goes out. Without a cookie it is the dictionary alone.
pub fn write_reply(cookie: &[u8], notation: Notation, reply: &Dict) -> Vec<u8> {
    let written = match notation {
        Notation::Bencode => reply.to_bencode(),
        Notation::Json => json::write(reply),
    };
    if cookie.is_empty() { written } else { [cookie, b" ", &written].concat() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bencode::DEPTH_MAX;
    use crate::value::{VALUES_MAX, Value};
    use proptest::prelude::*;

    #[test]
    fn a_datagram_is_a_cookie_a_blank_and_a_payload() {
        let rows = [
            ("5_1 d7:command4:pinge", Some(("5_1", "d7:command4:pinge"))),
            ("5_1  d", Some(("5_1", " d"))),
            ("5_1 ", Some(("5_1", ""))),
            ("5_1", None),
            ("", None),
            (" d7:command4:pinge", None),
            ("d7:command4:pinge", None),
        ];
        for (bytes, expected) in rows {
            let expected = expected
                .map(|(cookie, payload)| Frame { cookie: cookie.as_bytes(), payload: payload.as_bytes() });
            assert_eq!(Frame::datagram(bytes.as_bytes()), expected, "{bytes}");
        }
        assert!(Frame::datagram(&[&[b'a'; COOKIE_MAX][..], b" de"].concat()).is_some());
        assert_eq!(Frame::datagram(&[&[b'a'; COOKIE_MAX + 1][..], b" de"].concat()), None);
    }

    #[test]
    fn each_payload_that_is_no_request_has_the_words_that_clients_know() {
        let rows: [(&[u8], &str); 12] = [
            (b"", "Invalid data (no payload)"),
            (b" \r\n", "Invalid data (no payload)"),
            (b"hello", "Invalid NG data format"),
            (b"5:hello", "Invalid NG data format"),
            (b"le", "Invalid NG data format"),
            (b"d7:command", "Could not decode bencode dictionary"),
            (b"d7:command1000000000000000000:a", "Could not decode bencode dictionary"),
            (b"d7:commandi1000000000000000000000ee", "Could not decode bencode dictionary"),
            (b"d7:command4:pingex", "Could not decode bencode dictionary"),
            (b"{\"command\":", "Failed to parse JSON document"),
            (b"{\"command\":\"ping\"}}", "Failed to parse JSON document"),
            (b"[\"ping\"]", "Invalid NG data format"),
        ];
        for (payload, words) in rows {
            assert_eq!(read(payload).unwrap_err().to_string(), words, "{}", payload.escape_ascii());
        }
        assert_eq!(read(b"d7:command4:pinge\r\n").unwrap().0, Notation::Bencode);
        assert_eq!(read(b" {\"command\":\"ping\"}\n").unwrap().0, Notation::Json);
    }

    /// Each byte of a hostile payload is looked at a bounded number of times: depth, not length, is the factor.
    #[test]
    fn hostile_payloads_are_refused_before_anything_is_built() {
        let deep = b"d1:a".repeat(10_000);
        let lists = [b"d1:a".to_vec(), vec![b'l'; 10_000], vec![b'e'; 10_001]].concat();
        let many = [b"d1:al".to_vec(), b"0:".repeat(VALUES_MAX), b"ee".to_vec()].concat();
        let wide = [b"d1:a".to_vec(), b"l".repeat(DEPTH_MAX), vec![b'e'; 20]].concat();
        for payload in [deep, lists, many, wide] {
            assert_eq!(read(&payload), Err(Failure::Bencode));
        }
        let just = [b"d1:al".to_vec(), b"0:".repeat(VALUES_MAX - 1), b"ee".to_vec()].concat();
        assert!(read(&just).is_ok());
    }

    #[test]
    fn the_call_id_is_found_in_any_spelling_and_order() {
        let rows: [(&[u8], Option<&str>); 12] = [
            (b"d7:call-id2:c17:command5:offere", Some("c1")),
            (b"d7:command5:offer7:Call ID2:c1e", Some("c1")),
            (b"d7:call_idi12ee", Some("12")),
            (b"d3:sdp16:7:call-id3:abc..7:call-id2:c1e", Some("c1")),
            (b"d7:call-id0:e", None),
            (b"d7:call-idlee", None),
            (b"d7:call-id2:c1", None),
            (b"d7:command4:pinge", None),
            (b"d10:rtpp-flags21:replace-origin a=[b] e", None),
            (b"d10:rtpp-flags22:label=[x] call-id=c1 ye", Some("c1")),
            (b"{\"call-id\":\"c1\"}", Some("c1")),
            (b"{\"rtpp_flags\":\"call-id=c1\",\"call-id\":\"\"}", Some("c1")),
        ];
        for (payload, expected) in rows {
            let found = call_id_of(payload);
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{}", payload.escape_ascii());
        }
    }

    #[test]
    fn requests_on_a_stream_are_found_one_after_the_other() {
        let stream = b"\n1 d7:command4:pinge2 {\"a\":\"}\"} \r\n3_x   d1:a0:e";
        let (mut rest, mut found) = (&stream[..], Vec::new());
        while let Some((frame, len)) = next_in_stream(rest).unwrap() {
            found.push((frame.cookie, frame.payload));
            rest = &rest[len..];
        }
        let expected: [(&[u8], &[u8]); 3] =
            [(b"1", b"d7:command4:pinge"), (b"2", b"{\"a\":\"}\"}"), (b"3_x", b"d1:a0:e")];
        assert_eq!(found, expected);
        assert_eq!(rest, b"");
    }

    #[test]
    fn a_stream_that_can_be_no_request_is_given_up() {
        let rows: [&[u8]; 10] = [
            b"1 hello",
            b"1 5:hello",
            b"1 [1]",
            b"1 dx",
            b"1 d1048577:",
            b"1 d1000000000000000000:",
            b"1 d1:ai99999999999999999999999",
            &[b'a'; 3 * COOKIE_MAX],
            &[b' '; 3 * COOKIE_MAX],
            &[&b"1 "[..], &[b' '; 3 * COOKIE_MAX]].concat(),
        ];
        for stream in rows {
            assert!(next_in_stream(stream).is_err(), "{}", stream[..stream.len().min(40)].escape_ascii());
        }
        let deep = [&b"1 "[..], &b"d1:a".repeat(10_000)].concat();
        assert_eq!(next_in_stream(&deep), Err(Failure::Format));
        let endless = [&b"1 d3:sdp1000000:"[..], &vec![b'x'; STREAM_MAX]].concat();
        assert_eq!(next_in_stream(&endless[..900_000]), Ok(None));
        let endless = [&b"1 {\"a\":\""[..], &vec![b'x'; STREAM_MAX]].concat();
        assert_eq!(next_in_stream(&endless[..STREAM_MAX]), Ok(None));
        assert_eq!(next_in_stream(&endless), Err(Failure::Format));
    }

    /// A mebibyte that comes byte by byte: were it looked at anew each time, this would take minutes.
    #[test]
    fn a_trickle_costs_no_more_than_a_flood() {
        let text = "x".repeat(STREAM_MAX - 100);
        for payload in [format!("d3:sdp{}:{text}e", text.len()), format!("{{\"sdp\":\"{text}\"}}")] {
            let stream = format!("1 {payload}");
            let mut cutter = Cutter::default();
            for to in 0..stream.len() {
                assert_eq!(cutter.next(&stream.as_bytes()[..to]), Ok(None));
            }
            let (frame, len) = cutter.next(stream.as_bytes()).unwrap().unwrap();
            assert_eq!((frame.payload, len), (payload.as_bytes(), stream.len()));
        }
    }

    #[test]
    fn replies_are_written_in_the_notation_of_the_request() {
        let reply = Dict::new().with("result", Value::text("ok")).with("created", 1);
        assert_eq!(write_reply(b"5_1", Notation::Bencode, &reply), b"5_1 d6:result2:ok7:createdi1ee");
        assert_eq!(write_reply(b"5_1", Notation::Json, &reply), b"5_1 {\"result\":\"ok\",\"created\":1}");
        assert_eq!(write_reply(b"", Notation::Bencode, &reply), b"d6:result2:ok7:createdi1ee");
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            crate::fuzz::request(&bytes);
            crate::fuzz::stream(&bytes);
        }

        #[test]
        fn any_likely_bytes_are_survived(text in r#"(a |\n)?[dl{\[][dlie0-9:,\[\]{}" a]{0,60}"#) {
            crate::fuzz::request(text.as_bytes());
            crate::fuzz::stream(text.as_bytes());
        }
    }
}
