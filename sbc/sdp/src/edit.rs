//! Writes an SDP anew as ours: addresses, ports and origin are replaced, what would show or bypass is dropped, the rest
//! is kept byte for byte and in order. docs/sdp.md has the table. Decides nothing about calls.

use crate::crypto::CryptoLine;
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
    /// The payload types to write, in order; `None` keeps all formats.
    pub formats: Option<Vec<Format>>,
    /// The largest a=ptime to write, in milliseconds.
    pub ptime_max: Option<u16>,
    /// Media does not pass as it is: what the writer says of its packets is not true of those that the reader gets.
    pub ends_here: Option<EndsHere>,
    /// Written instead of the writer's protocol.
    pub proto: Option<Box<[u8]>>,
    /// Written instead of the writer's a=crypto; `None` keeps them.
    pub crypto: Option<Vec<CryptoLine>>,
}

/// One payload type of an m-line that is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// One of the writer's, with what it says of it.
    Kept {
        /// Its number in the input.
        from: u8,
        /// Its number in the output.
        to: u8,
    },
    /// One of ours.
    Made(MadeFormat),
}

impl Format {
    /// Its number in the output.
    pub fn number(&self) -> u8 {
        match self {
            Format::Kept { to, .. } => *to,
            Format::Made(made) => made.number,
        }
    }
}

/// A payload type that the writer did not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeFormat {
    /// 0 to 127.
    pub number: u8,
    /// Encoding name.
    pub name: Box<str>,
    /// RTP clock in Hz.
    pub clock: u32,
    /// Written from 2 on.
    pub channels: u8,
    /// Format parameters, empty if none.
    pub fmtp: Box<str>,
}

/// What holds of packets that are made here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndsHere {
    /// a=ptime in milliseconds, if the reader has spoken of it.
    pub ptime: Option<u16>,
    /// The number of the header extension for levels (RFC 6464), if the reader has it.
    pub level_extension: Option<u8>,
}

/// The name of the header extension that tells levels (RFC 6464).
pub(crate) const LEVEL_EXTENSION: &[u8] = b"urn:ietf:params:rtp-hdrext:ssrc-audio-level";

/// Writes the edited SDP into `out`, whose content is replaced.
pub fn write(sdp: &Sdp<'_>, edit: &Edit<'_>, out: &mut Vec<u8>) {
    let names = Names::of(sdp);
    out.clear();
    put(out, format_args!("v=0"));
    put_origin(edit, out);
    let keys_are_ours = edit.lines.iter().any(|line| line.crypto.is_some());
    write_session(sdp, edit, keys_are_ours, &names, out);
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
    put_media_head(media, 0, media.proto_text(), None, out);
    if media.lines().any(|line| line.letter == b'c') {
        put_connection(address, out);
    }
    let is_mid = |line: &Line<'_>| line.attribute().is_some_and(|(name, _)| name == b"mid");
    if let Some(line) = media.lines().find(is_mid) {
        put_unless_revealing(line, names, out);
    }
}

fn write_session(sdp: &Sdp<'_>, edit: &Edit<'_>, keys_are_ours: bool, names: &Names<'_>, out: &mut Vec<u8>) {
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
                let is_key = line.attribute().is_some_and(|(name, _)| name == b"crypto");
                if is_kept_in_session(line) && !(is_key && keys_are_ours) && !names.are_in(line.value) {
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
    let proto = edit.proto.as_deref().unwrap_or(media.proto_text());
    put_media_head(media, edit.port, proto, edit.formats.as_deref(), out);
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
            b"ptime"
                if edit.ends_here.is_none()
                    && media.ptime().zip(edit.ptime_max).is_some_and(|(ptime, max)| ptime > max) =>
            {
                put(out, format_args!("a=ptime:{}", edit.ptime_max.unwrap_or_default()));
            }
            b"crypto" if edit.crypto.is_some() => {}
            _ if edit.ends_here.is_some() && is_of_packets(name) => {}
            b"rtpmap" | b"fmtp" | b"rtcp-fb" => {
                if !names.are_in(value) {
                    put_of_payload(line, name, value, edit.formats.as_deref(), out);
                }
            }
            _ if is_dropped(name) || names.are_in(line.value) => {}
            _ => put_line(line.text, out),
        }
    }
    put_made(edit, out);
    if let Some(direction) = direction_is_due {
        put(out, format_args!("a={}", direction.name()));
    }
}

/// What is ours and not the writer's: formats, packet time, keys.
fn put_made(edit: &LineEdit, out: &mut Vec<u8>) {
    for format in edit.formats.iter().flatten() {
        let Format::Made(MadeFormat { number, name, clock, channels, fmtp }) = format else { continue };
        put_piece(out, format_args!("a=rtpmap:{number} {name}/{clock}"));
        if *channels > 1 {
            put_piece(out, format_args!("/{channels}"));
        }
        out.extend_from_slice(b"\r\n");
        if !fmtp.is_empty() {
            put(out, format_args!("a=fmtp:{number} {fmtp}"));
        }
    }
    if let Some(EndsHere { ptime, level_extension }) = edit.ends_here {
        if let Some(ptime) = ptime {
            put(out, format_args!("a=ptime:{ptime}"));
        }
        if let Some(number) = level_extension {
            put_piece(out, format_args!("a=extmap:{number} "));
            put_line(LEVEL_EXTENSION, out);
        }
    }
    for line in edit.crypto.iter().flatten() {
        out.extend_from_slice(b"a=crypto:");
        line.write(out);
        out.extend_from_slice(b"\r\n");
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

/// Attributes that speak of packets and reports as their sender makes them.
fn is_of_packets(name: &[u8]) -> bool {
    matches!(
        name,
        b"ptime"
            | b"maxptime"
            | b"extmap"
            | b"extmap-allow-mixed"
            | b"rtcp-fb"
            | b"rtcp-rsize"
            | b"rtcp-xr"
            | b"ssrc"
            | b"ssrc-group"
            | b"msid"
    )
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
fn put_of_payload(line: Line<'_>, name: &[u8], value: &[u8], formats: Option<&[Format]>, out: &mut Vec<u8>) {
    let (number, rest) = word(value);
    let (Some(formats), Some(number)) = (formats, parse_number(number)) else {
        put_line(line.text, out);
        return;
    };
    let kept = formats.iter().find_map(|format| match format {
        Format::Kept { from, to } if u32::from(*from) == number => Some((*from, *to)),
        Format::Kept { .. } | Format::Made(_) => None,
    });
    match kept {
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

fn put_media_head(media: &Media<'_>, port: u16, proto: &[u8], formats: Option<&[Format]>, out: &mut Vec<u8>) {
    let head = media.lines().next().map(|line| line.value).unwrap_or_default();
    out.extend_from_slice(b"m=");
    out.extend_from_slice(word(head).0);
    put_piece(out, format_args!(" {port} "));
    out.extend_from_slice(proto);
    match formats {
        Some(formats) => {
            formats.iter().for_each(|format| put_piece(out, format_args!(" {}", format.number())));
        }
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
