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
            Some(b'{' | b'[') => Notation::Json,
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
/// [`Failure::JsonType`], [`Failure::Format`].
pub fn read(payload: &[u8]) -> Result<(Notation, Dict), Failure> {
    let payload = payload.trim_ascii();
    match payload.first() {
        None => Err(Failure::Empty),
        Some(b'd') => {
            let dict = bencode::Value::read(payload).ok().and_then(bencode::Value::dict);
            let dict = dict.and_then(|dict| Dict::from_bencode(dict).ok()).ok_or(Failure::Bencode)?;
            Ok((Notation::Bencode, dict))
        }
        Some(b'{' | b'[') => match json::read(payload)? {
            value::Value::Dict(dict) => Ok((Notation::Json, dict)),
            _ => Err(Failure::JsonType),
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
