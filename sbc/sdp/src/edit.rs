//! Writes an SDP anew as ours: addresses, ports and origin are replaced, what would show or bypass is dropped, the rest
//! is kept byte for byte and in order. docs/sdp.md has the table. Decides nothing about calls.

use crate::line::{Line, parse_number, strip_word, word};
use crate::parse::{Direction, Media, Sdp};
use crate::reveal::Names;
use core::net::IpAddr;
use std::io::Write as _;

/// What the written SDP says instead.
#[derive(Clone, Debug)]
pub struct Edit<'e> {
    /// The o= line.
    pub origin: OriginEdit<'e>,
    /// Our address towards the reader, in o=, c= and a=rtcp.
    pub address: IpAddr,
    /// By m-line; m-lines beyond its end are left out.
    pub lines: &'e [LineEdit],
}

/// The o= line.
#[derive(Clone, Copy, Debug)]
pub struct OriginEdit<'e> {
    /// `-` where nothing should show.
    pub username: &'e str,
    /// Constant for a session.
    pub session_id: u64,
    /// Grows by one with each change (RFC 3264 section 8).
    pub version: u64,
}

/// What becomes of one m-line. The default refuses it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineEdit {
    /// Our RTP port; 0 refuses the line.
    pub port: u16,
    /// What a=rtcp says, where the writer had one.
    pub rtcp_port: u16,
    /// Whether a=rtcp-mux is kept, where the writer had one.
    pub keep_mux: bool,
    /// Written instead of the writer's.
    pub direction: Option<Direction>,
    /// Payload types to keep, in order, each with its number in the input and in the output; `None` keeps all formats.
    pub formats: Option<Vec<(u8, u8)>>,
    /// The largest a=ptime to write, in milliseconds.
    pub ptime_max: Option<u16>,
}

/// Writes the edited SDP into `out`, whose content is replaced.
pub fn write(sdp: &Sdp<'_>, edit: &Edit<'_>, out: &mut Vec<u8>) {
    let names = Names::of(sdp);
    out.clear();
    put(out, format_args!("v=0"));
    put_origin(edit, out);
    write_session(sdp, edit, &names, out);
    for (media, line_edit) in sdp.media().iter().zip(edit.lines) {
        if line_edit.port == 0 {
            write_refused(media, edit.address, &names, out);
        } else {
            write_media(media, line_edit, edit.address, &names, out);
        }
    }
}

/// Appends an m-line with port 0, and of its lines only what belongs to a refused one (RFC 3264 section 6).
pub(crate) fn write_refused(media: &Media<'_>, address: IpAddr, names: &Names<'_>, out: &mut Vec<u8>) {
    put_media_head(media, 0, None, out);
    if media.lines().any(|line| line.letter == b'c') {
        put_connection(address, out);
    }
    let is_mid = |line: &Line<'_>| line.attribute().is_some_and(|(name, _)| name == b"mid");
    if let Some(line) = media.lines().find(is_mid) {
        put_unless_revealing(line, names, out);
    }
}

fn write_session(sdp: &Sdp<'_>, edit: &Edit<'_>, names: &Names<'_>, out: &mut Vec<u8>) {
    // Strict readers want both; their place is before the attributes.
    let has = |letter| sdp.session_lines().any(|line| line.letter == letter && !names.are_in(line.value));
    if !has(b's') {
        put_line(b"s=-", out);
    }
    let (mut time_is_due, mut connection_is_due) = (!has(b't'), true);
    for line in sdp.session_lines() {
        match line.letter {
            b'v' | b'o' => {}
            // Who to ask about the session: never ours to tell.
            b'u' | b'e' | b'p' => {}
            b'c' => {
                if core::mem::take(&mut connection_is_due) {
                    put_connection(edit.address, out);
                }
            }
            b'a' => {
                if core::mem::take(&mut time_is_due) {
                    put_line(b"t=0 0", out);
                }
                if is_kept_in_session(line) && !names.are_in(line.value) {
                    put_line(line.text, out);
                }
            }
            _ => put_unless_revealing(line, names, out),
        }
    }
    if time_is_due {
        put_line(b"t=0 0", out);
    }
}

fn write_media(media: &Media<'_>, edit: &LineEdit, address: IpAddr, names: &Names<'_>, out: &mut Vec<u8>) {
    put_media_head(media, edit.port, edit.formats.as_deref(), out);
    let (mut direction_is_due, mut connection_is_due) = (edit.direction, true);
    for line in media.lines().skip(1) {
        if line.letter == b'c' {
            if core::mem::take(&mut connection_is_due) {
                put_connection(address, out);
            }
            continue;
        }
        let Some((name, value)) = line.attribute() else {
            put_unless_revealing(line, names, out);
            continue;
        };
        match name {
            b"rtcp" => {
                // RFC 3605: the address only where the writer gave one
                let has_address = media.rtcp_line().is_some_and(|rtcp| rtcp.host.is_some());
                if has_address {
                    put(out, format_args!("a=rtcp:{} IN {} {address}", edit.rtcp_port, family(address)));
                } else {
                    put(out, format_args!("a=rtcp:{}", edit.rtcp_port));
                }
            }
            b"rtcp-mux" | b"rtcp-mux-only" if !edit.keep_mux => {}
            b"sendrecv" | b"sendonly" | b"recvonly" | b"inactive" if edit.direction.is_some() => {
                if let Some(direction) = direction_is_due.take() {
                    put(out, format_args!("a={}", direction.name()));
                }
            }
            b"ptime" if media.ptime().zip(edit.ptime_max).is_some_and(|(ptime, max)| ptime > max) => {
                put(out, format_args!("a=ptime:{}", edit.ptime_max.unwrap_or_default()));
            }
            b"rtpmap" | b"fmtp" | b"rtcp-fb" => {
                if !names.are_in(value) {
                    put_of_payload(line, name, value, edit.formats.as_deref(), out);
                }
            }
            _ if is_dropped(name) || names.are_in(line.value) => {}
            _ => put_line(line.text, out),
        }
    }
    if let Some(direction) = direction_is_due {
        put(out, format_args!("a={}", direction.name()));
    }
}

/// Attributes of the session that stay. BUNDLE is ours to refuse; a=rtcp and a=rtcp-mux have no meaning here.
fn is_kept_in_session(line: Line<'_>) -> bool {
    match line.attribute() {
        Some((b"group", value)) => strip_word(value, b"BUNDLE").is_none(),
        Some((b"rtcp" | b"rtcp-mux" | b"rtcp-mux-only", _)) => false,
        Some((name, _)) => !is_dropped(name),
        None => true,
    }
}

/// Attributes that would lead around us, or to transports that we do not do.
fn is_dropped(name: &[u8]) -> bool {
    name.starts_with(b"ice-")
        || matches!(
            name,
            // ICE (RFC 8839)
            b"candidate" | b"remote-candidates" | b"end-of-candidates"
            // BUNDLE (RFC 9143)
            | b"bundle-only"
            // DTLS and connections (RFC 8842, 8122, 4145, 8827)
            | b"fingerprint" | b"setup" | b"connection" | b"tls-id" | b"identity"
            // sources of a group (RFC 4570)
            | b"source-filter"
            // capability negotiation would agree what we cannot see (RFC 5939, 6871, 7006)
            | b"csup" | b"creq" | b"acap" | b"tcap" | b"pcfg" | b"acfg" | b"rmcap" | b"omcap" | b"mfcap"
            | b"mscap" | b"lcfg" | b"sescap" | b"bcap" | b"ccap" | b"icap"
        )
}

/// A line about one payload type, under its new number, unless that type goes.
fn put_of_payload(
    line: Line<'_>,
    name: &[u8],
    value: &[u8],
    formats: Option<&[(u8, u8)]>,
    out: &mut Vec<u8>,
) {
    let (number, rest) = word(value);
    let (Some(formats), Some(number)) = (formats, parse_number(number)) else {
        put_line(line.text, out);
        return;
    };
    match formats.iter().find(|(from, _)| u32::from(*from) == number) {
        Some((from, to)) if from == to => put_line(line.text, out),
        Some((_, to)) => {
            out.extend_from_slice(b"a=");
            out.extend_from_slice(name);
            put_piece(out, format_args!(":{to}"));
            out.extend_from_slice(rest);
            out.extend_from_slice(b"\r\n");
        }
        None => {}
    }
}

fn put_media_head(media: &Media<'_>, port: u16, formats: Option<&[(u8, u8)]>, out: &mut Vec<u8>) {
    let head = media.lines().next().map(|line| line.value).unwrap_or_default();
    out.extend_from_slice(b"m=");
    out.extend_from_slice(word(head).0);
    put_piece(out, format_args!(" {port} "));
    out.extend_from_slice(media.proto_text());
    match formats {
        Some(formats) => formats.iter().for_each(|(_, to)| put_piece(out, format_args!(" {to}"))),
        None => {
            for format in media.formats() {
                out.push(b' ');
                out.extend_from_slice(format);
            }
        }
    }
    out.extend_from_slice(b"\r\n");
}

fn put_origin(edit: &Edit<'_>, out: &mut Vec<u8>) {
    let OriginEdit { username, session_id, version } = edit.origin;
    let (family, address) = (family(edit.address), edit.address);
    put(out, format_args!("o={username} {session_id} {version} IN {family} {address}"));
}

fn put_connection(address: IpAddr, out: &mut Vec<u8>) {
    put(out, format_args!("c=IN {} {address}", family(address)));
}

fn put_unless_revealing(line: Line<'_>, names: &Names<'_>, out: &mut Vec<u8>) {
    if !names.are_in(line.value) {
        put_line(line.text, out);
    }
}

fn put_line(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

fn put(out: &mut Vec<u8>, line: core::fmt::Arguments<'_>) {
    put_piece(out, line);
    out.extend_from_slice(b"\r\n");
}

fn put_piece(out: &mut Vec<u8>, piece: core::fmt::Arguments<'_>) {
    out.write_fmt(piece).expect("a Vec takes what is written");
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IP4" } else { "IP6" }
}
