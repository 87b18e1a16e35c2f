//! What stands behind keys and flags: numbers, words, addresses, codecs, suites. Keeps nothing.

use crate::options::{AttributePlace, CodecName, DtmfSecurity, Echo, Tos};
use crate::raw::{Word, after_word, is_word};
use crate::value::Value;
use command::Suite;
use core::net::IpAddr;
use std::borrow::Cow;

/// Whether a key may have a list or a dictionary.
pub(super) fn is_list(key: &str) -> bool {
    let lists = [
        "all",
        "codecs",
        "direction",
        "dtls",
        "flags",
        "from-tags",
        "ice",
        "osrtp",
        "received-from",
        "replace",
        "rtcp-mux",
        "sdes",
        "sdp-attr",
        "sdp-media-remove",
        "supports",
        "t38",
        "t.38",
        "transcode",
    ];
    lists.contains(&key) || key.starts_with("codec")
}

/// Shows each text of a list, or of one text with commas. Numbers count as texts. Whether it is such a value.
pub(super) fn texts(value: &Value, mut show: impl FnMut(&[u8])) -> bool {
    match value {
        Value::Text(text) => {
            let pieces = text.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            pieces.filter(|piece| !piece.is_empty()).for_each(show);
        }
        Value::List(values) => {
            for value in values {
                match value.to_text() {
                    Some(text) => show(&text),
                    None => show(b"[]"),
                }
            }
        }
        Value::Int(number) => show(number.to_string().as_bytes()),
        Value::Dict(_) => return false,
    }
    true
}

/// Keeps a value if there is one; whether there is.
pub(super) fn set<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    let is_there = value.is_some();
    if is_there {
        *place = value;
    }
    is_there
}

/// Bytes that name something; empty ones name nothing.
pub(super) fn name(place: &mut Option<Vec<u8>>, value: &Value) -> bool {
    let text = value.to_text();
    let is_text = text.is_some();
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        *place = Some(text);
    }
    is_text
}

pub(super) fn string(value: &Value) -> Option<String> {
    String::from_utf8(value.to_text()?).ok().filter(|text| !text.is_empty())
}

pub(super) fn number_in<T: TryFrom<i64> + PartialOrd>(
    place: &mut Option<T>,
    value: &Value,
    range: core::ops::RangeInclusive<T>,
) -> bool {
    let number = value.as_int().and_then(|number| T::try_from(number).ok());
    set(place, number.filter(|number| range.contains(number)))
}

pub(super) fn word_in<T: Copy>(value: &Value, words: &[(&str, T)]) -> Option<T> {
    let word = Word::of(value.as_text()?);
    words.iter().find(|(known, _)| *known == word.as_str()).map(|(_, meaning)| *meaning)
}

pub(super) fn switch(value: &Value) -> Option<bool> {
    let words =
        [("yes", true), ("on", true), ("true", true), ("no", false), ("off", false), ("false", false)];
    match value {
        Value::Int(number) => Some(*number != 0),
        _ => word_in(value, &words),
    }
}

pub(super) fn security(value: &Value) -> Option<DtmfSecurity> {
    let words = [
        ("off", DtmfSecurity::Off),
        ("drop", DtmfSecurity::Drop),
        ("silence", DtmfSecurity::Silence),
        ("tone", DtmfSecurity::Tone),
        ("random", DtmfSecurity::Random),
        ("zero", DtmfSecurity::Zero),
        ("dtmf", DtmfSecurity::Dtmf),
    ];
    word_in(value, &words)
}

pub(super) fn echo(value: &Value) -> Option<Echo> {
    let words = [
        ("blackhole", Echo::Blackhole),
        ("sinkhole", Echo::Blackhole),
        ("forward", Echo::Forward),
        ("fwd", Echo::Forward),
        ("fw", Echo::Forward),
        ("backwards", Echo::Backwards),
        ("backward", Echo::Backwards),
        ("reverse", Echo::Backwards),
        ("back", Echo::Backwards),
        ("bkw", Echo::Backwards),
        ("bk", Echo::Backwards),
        ("both", Echo::Both),
    ];
    word_in(value, &words)
}

/// An address by itself, in brackets, or with its family before it: `["IP4", "192.0.2.1"]`, `IP4 192.0.2.1`.
pub(super) fn address(value: &Value) -> Option<IpAddr> {
    match value {
        Value::List(values) => address(values.last().filter(|value| value.as_list().is_none())?),
        Value::Text(text) => {
            let text = text.trim_ascii();
            let text = [&b"ip4"[..], b"ip6"]
                .iter()
                .find_map(|family| {
                    let rest = after_word(text, str::from_utf8(family).ok()?)?;
                    rest.strip_prefix(b" ")
                        .or_else(|| rest.strip_prefix(b"-"))
                        .or_else(|| rest.strip_prefix(b":"))
                })
                .unwrap_or(text);
            let text = text.strip_prefix(b"[").and_then(|text| text.strip_suffix(b"]")).unwrap_or(text);
            str::from_utf8(text).ok()?.parse().ok()
        }
        Value::Int(_) | Value::Dict(_) => None,
    }
}

/// `NAME/clock/channels/bitrate/ptime/fmtp/…`; pieces may be empty, those behind the format parameters say nothing here.
pub(super) fn codec_name(text: &[u8]) -> Option<CodecName> {
    fn number<T: core::str::FromStr>(piece: Option<&str>) -> Option<Option<T>> {
        piece.filter(|piece| !piece.is_empty()).map_or(Some(None), |piece| piece.parse().ok().map(Some))
    }
    let text = str::from_utf8(text).ok().filter(|text| text.len() <= 256)?;
    let mut pieces = text.split('/');
    let name =
        pieces.next().filter(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()))?;
    Some(CodecName {
        name: name.to_owned(),
        clock: number(pieces.next())?,
        channels: number(pieces.next())?,
        bitrate: number(pieces.next())?,
        ptime: number(pieces.next())?,
        fmtp: pieces
            .next()
            .filter(|fmtp| !fmtp.is_empty() && !fmtp.contains(char::is_control))
            .map(str::to_owned),
    })
}

/// Suites divided by semicolons. Those that rtpengine has and we have not are no word in vain.
pub(super) fn push_suites(list: &mut Vec<Suite>, text: &[u8]) -> bool {
    let mut all_known = true;
    for name in text.split(|byte| *byte == b';').filter(|name| !name.is_empty()) {
        let name = str::from_utf8(name).unwrap_or("");
        match Suite::by_name(name) {
            Some(suite) if !list.contains(&suite) => list.push(suite),
            Some(_) => {}
            None => all_known &= THEIR_SUITES.iter().any(|known| known.eq_ignore_ascii_case(name)),
        }
    }
    all_known
}

const THEIR_SUITES: [&str; 6] = [
    "AES_192_CM_HMAC_SHA1_80",
    "AES_192_CM_HMAC_SHA1_32",
    "F8_128_HMAC_SHA1_80",
    "F8_128_HMAC_SHA1_32",
    "NULL_HMAC_SHA1_80",
    "NULL_HMAC_SHA1_32",
];

pub(super) fn media_kind(text: &[u8]) -> Option<Vec<u8>> {
    let kinds = ["audio", "video", "image", "text", "message", "application", "other"];
    let word = Word::of(text);
    kinds.contains(&word.as_str()).then(|| word.as_str().as_bytes().to_vec())
}

pub(super) fn attribute_place(text: &[u8]) -> Option<AttributePlace> {
    match Word::of(text).as_str() {
        "none" | "global" | "session" => Some(AttributePlace::Session),
        "all" => Some(AttributePlace::All),
        _ => media_kind(text).map(AttributePlace::Kind),
    }
}

/// `--` for `=` and `..` for a space, because neither fits into a flag.
pub(super) fn escaped(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.windows(2).any(|two| two == b"--" || two == b"..") {
        return Cow::Borrowed(text);
    }
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text);
    while let [first, behind @ ..] = rest {
        let (byte, behind) = match (first, behind) {
            (b'-', [b'-', behind @ ..]) => (b'=', behind),
            (b'.', [b'.', behind @ ..]) => (b' ', behind),
            (other, behind) => (*other, behind),
        };
        out.push(byte);
        rest = behind;
    }
    Cow::Owned(out)
}

/// Base64, with its padding or without.
pub(super) fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let digits = text.get(..text.len() - padding).filter(|_| padding <= 2)?;
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 3);
    for chunk in digits.chunks(4) {
        let mut bits = 0u32;
        for digit in chunk {
            let value = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'+' | b'-' => 62,
                b'/' | b'_' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        bits <<= 6 * (4 - chunk.len());
        // One digit alone is no byte.
        let len = chunk.len().checked_sub(1).filter(|len| *len > 0)?;
        bytes.extend_from_slice(&bits.to_be_bytes()[1..=len]);
    }
    Some(bytes)
}

/// Beyond an octet: as if nothing had been said.
pub(super) fn tos(number: i64) -> Tos {
    match u8::try_from(number) {
        Ok(octet) => Tos::Octet(octet),
        Err(_) if number < 0 => Tos::Unchanged,
        Err(_) => Tos::Listener,
    }
}

/// Words by which a script says where Kamailio is to find the branch. `1` and `2` may be branches, too, where no branch
/// was found by them.
pub(super) fn is_branch_word(text: &[u8], has_branch: bool) -> bool {
    let words = ["auto", "extra", "next", "auto-next", "next-auto", "auto-extra", "extra-auto", "none"];
    words.iter().any(|word| is_word(text, word)) || has_branch && (text == b"1" || text == b"2")
}
