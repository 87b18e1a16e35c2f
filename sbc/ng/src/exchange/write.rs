//! The SDP that a side is told, written anew in rtpengine's order: session lines, then each m-line with what we say of
//! it. Decides nothing but what is never passed on: transport of the other side, and its addresses.

use super::said::{Format, Profile, is_direction};
use crate::options::{AttributePlace, Change, SdpOptions};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use sdp::crypto::CryptoLine;
use sdp::{Direction, Host, Line, Lines, Media, Names, Sdp, parse_number, word};
use std::io::Write;

/// The o= line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OriginLine {
    pub username: Vec<u8>,
    pub session_id: Vec<u8>,
    pub version: Vec<u8>,
    /// Network, family and address: `IN IP4 192.0.2.1`.
    pub at: Vec<u8>,
}

/// Session lines that are not the source's.
#[derive(Clone, Debug)]
pub(super) struct Head<'a> {
    pub origin: &'a OriginLine,
    /// s=
    pub name: &'a [u8],
    /// `a=rtpengine:`
    pub mark: Option<u64>,
}

/// Where an m-line's lines come from, and what is said of it.
#[derive(Debug)]
pub(super) enum Part<'a> {
    /// Of a live m-line, as we have it.
    Live(&'a Media<'a>, LivePart<'a>),
    /// Port 0, with the receiver's own name for it.
    Refused(&'a Media<'a>, Profile, Option<&'a [u8]>),
}

/// What is said of one live m-line.
#[derive(Debug)]
pub(super) struct LivePart<'a> {
    /// Our address; 0.0.0.0 where the source holds by it.
    pub address: IpAddr,
    pub port: u16,
    pub profile: Profile,
    pub formats: &'a [Format],
    pub crypto: &'a [CryptoLine],
    /// `None` for no line.
    pub direction: Option<Direction>,
    /// `None` for no a=rtcp; with the address where asked for.
    pub rtcp: Option<(u16, bool)>,
    pub mux: bool,
    pub ptime: Option<u16>,
    pub maxptime: Option<u16>,
    /// Header extensions of the source do not come through.
    pub ends_extensions: bool,
    /// Where the source has none: the receiver's own, or one that is made up.
    pub mid: Option<Vec<u8>>,
    /// How keys are written.
    pub pad: bool,
    pub lifetime: bool,
}

/// Writes all of it. `from` is where unknown lines are taken from.
pub(super) fn write(from: &Sdp<'_>, head: &Head<'_>, parts: &[Part<'_>], options: &SdpOptions) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    let names = Names::of(from);
    let OriginLine { username, session_id, version, at } = head.origin;
    out.extend_from_slice(b"v=0\r\n");
    put(&mut out, b"o=", &[username, b" ", session_id, b" ", version, b" ", at]);
    put(&mut out, b"s=", &[head.name]);
    let put_lines = |letters: &[u8], out: &mut Vec<u8>| {
        let lines = from.session_lines().filter(|line| letters.contains(&line.letter));
        lines.for_each(|line| put(out, b"", &[line.text]));
    };
    put_lines(b"iuep", &mut out);
    put_bandwidths(&mut out, from.session_lines());
    // Not the source's k=: it is the key of a peer that the reader does not talk with.
    put_lines(b"trz", &mut out);
    let mut attributes: Vec<Vec<u8>> = Vec::new();
    for line in from.session_lines() {
        let is_original = options.original_direction && is_direction(&line);
        if (is_original || is_kept_in_session(&line)) && !names.are_in(line.value) {
            attributes.push(line.value.to_vec());
        }
    }
    if let Some(mark) = head.mark {
        attributes.push(format!("rtpengine:{mark:012x}").into_bytes());
    }
    change(&mut attributes, options, |place| matches!(place, AttributePlace::Session | AttributePlace::All));
    attributes.iter().for_each(|attribute| put(&mut out, b"a=", &[attribute]));
    for part in parts {
        match part {
            Part::Live(media, part) => put_live(&mut out, media, part, options, &names),
            Part::Refused(media, profile, mid) => put_refused(&mut out, media, *profile, *mid),
        }
    }
    out
}

fn put_live(
    out: &mut Vec<u8>,
    media: &Media<'_>,
    part: &LivePart<'_>,
    options: &SdpOptions,
    names: &Names<'_>,
) {
    let formats: Vec<String> = match part.profile.is_rtp() && !part.formats.is_empty() {
        true => part.formats.iter().map(|format| format.number.to_string()).collect(),
        false => media.formats().map(|format| String::from_utf8_lossy(format).into_owned()).collect(),
    };
    put_head(out, media, part.port, part.profile, formats.iter().map(|format| format.as_bytes()));
    let lines_of = |letter: u8| media.lines().filter(move |line| line.letter == letter);
    lines_of(b'i').for_each(|line| put(out, b"", &[line.text]));
    put_connection(out, part.address);
    put_bandwidths(out, media.lines());

    let mut attributes: Vec<Vec<u8>> = Vec::new();
    let mut add = |attribute: &[u8]| attributes.push(attribute.to_vec());
    match (media.mid(), &part.mid) {
        (Some(mid), _) => add(&[b"mid:", mid].concat()),
        (None, Some(mid)) => add(&[b"mid:", &mid[..]].concat()),
        (None, None) => {}
    }
    if let Some(label) = media.attribute("label") {
        add(&[b"label:", label].concat());
    }
    for format in part.formats {
        let number = format.number;
        if !format.map.is_empty() {
            add(format!("rtpmap:{number} {}", format.map).as_bytes());
        }
        if !format.fmtp.is_empty() {
            add(format!("fmtp:{number} {}", format.fmtp).as_bytes());
        }
        format.feedback.iter().for_each(|feedback| add(format!("rtcp-fb:{number} {feedback}").as_bytes()));
    }
    if !options.strip_extmap && !part.ends_extensions {
        for line in media.lines().filter(|line| is_named(line, b"extmap")) {
            add(line.value);
        }
    }
    for is_feedback in [true, false] {
        let unknown =
            media.lines().filter(|line| is_unknown(line, part.profile) && !names.are_in(line.value));
        unknown.filter(|line| is_named(line, b"rtcp-fb") == is_feedback).for_each(|line| add(line.value));
    }
    if let Some(direction) = part.direction {
        add(direction.name().as_bytes());
    }
    match part.rtcp {
        Some((port, false)) => add(format!("rtcp:{port}").as_bytes()),
        Some((port, true)) => {
            let (family, address) = (family(part.address), part.address);
            add(format!("rtcp:{port} IN {family} {address}").as_bytes());
        }
        None => {}
    }
    if part.mux {
        add(b"rtcp-mux");
    }
    for line in part.crypto {
        let mut attribute = b"crypto:".to_vec();
        line.write(&mut attribute);
        if !part.pad {
            // Padding stands before the identifier, if there is one.
            attribute.retain(|byte| *byte != b'=');
        }
        if part.lifetime && line.keys.mki.is_empty() {
            attribute.extend_from_slice(b"|2^31");
        }
        add(&attribute);
    }
    if let Some(ptime) = part.ptime {
        add(format!("ptime:{ptime}").as_bytes());
    }
    if let Some(maxptime) = part.maxptime {
        add(format!("maxptime:{maxptime}").as_bytes());
    }
    let kind = kind_text(media);
    change(&mut attributes, options, |place| match place {
        AttributePlace::Kind(wanted) => wanted.eq_ignore_ascii_case(kind),
        AttributePlace::All => true,
        AttributePlace::Session => false,
    });
    attributes.iter().for_each(|attribute| put(out, b"a=", &[attribute]));
}

/// In an order of their own.
fn put_bandwidths(out: &mut Vec<u8>, lines: Lines<'_>) {
    let known = [&b"AS:"[..], b"CT:", b"TIAS:", b"RR:", b"RS:"];
    let rank = |line: &Line<'_>| known.iter().position(|name| line.value.starts_with(name));
    let mut lines: Vec<Line<'_>> = lines.filter(|line| line.letter == b'b').collect();
    lines.sort_by_key(|line| rank(line).unwrap_or(known.len()));
    lines.iter().for_each(|line| put(out, b"", &[line.text]));
}

/// What stays of an m-line that nobody takes: its head and its names.
fn put_refused(out: &mut Vec<u8>, media: &Media<'_>, profile: Profile, mid: Option<&[u8]>) {
    put_head(out, media, 0, profile, media.formats());
    let v6 = matches!(media.connection().map(|c| c.host), Some(Host::Address(IpAddr::V6(_))));
    let none = if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    put_connection(out, none);
    if let Some(mid) = media.mid().or(mid) {
        put(out, b"a=mid:", &[mid]);
    }
    if let Some(label) = media.attribute("label") {
        put(out, b"a=label:", &[label]);
    }
}

fn put_head<'f>(
    out: &mut Vec<u8>,
    media: &Media<'_>,
    port: u16,
    profile: Profile,
    formats: impl Iterator<Item = &'f [u8]>,
) {
    let proto = profile.name().map_or(media.proto_text(), str::as_bytes);
    put(out, b"m=", &[kind_text(media), b" ", port.to_string().as_bytes(), b" ", proto, &joined(formats)]);
}

fn joined<'f>(formats: impl Iterator<Item = &'f [u8]>) -> Vec<u8> {
    formats.flat_map(|format| [b" ", format]).flatten().copied().collect()
}

fn kind_text<'a>(media: &Media<'a>) -> &'a [u8] {
    media.lines().next().map_or(&b""[..], |line| word(line.value).0)
}

fn put_connection(out: &mut Vec<u8>, address: IpAddr) {
    let _ = write!(out, "c=IN {} {address}\r\n", family(address));
}

fn put(out: &mut Vec<u8>, before: &[u8], pieces: &[&[u8]]) {
    out.extend_from_slice(before);
    pieces.iter().for_each(|piece| out.extend_from_slice(piece));
    out.extend_from_slice(b"\r\n");
}

/// `IP4` or `IP6`.
pub(super) fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IP4" } else { "IP6" }
}

/// Changes that the client asks for, after all else (`sdp-attr`).
fn change(attributes: &mut Vec<Vec<u8>>, options: &SdpOptions, is_here: impl Fn(&AttributePlace) -> bool) {
    // What is named may go on with a value: `fmtp:101` is all of that payload type's.
    let is = |attribute: &[u8], wanted: &[u8]| {
        let rest = attribute.strip_prefix(wanted).filter(|_| !wanted.is_empty());
        rest.is_some_and(|rest| matches!(rest.first(), None | Some(b':' | b' ')))
    };
    for change in options.attributes.iter().filter(|change| is_here(&change.place)) {
        match &change.change {
            Change::Add(value) => attributes.push(clean(value)),
            Change::Remove(value) => attributes.retain(|attribute| !is(attribute, value)),
            Change::Substitute(old, new) => {
                for attribute in attributes.iter_mut().filter(|attribute| is(attribute, old)) {
                    *attribute = clean(new);
                }
            }
        }
    }
}

/// One line stays one.
fn clean(value: &[u8]) -> Vec<u8> {
    value.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)).collect()
}

fn is_named(line: &Line<'_>, name: &[u8]) -> bool {
    line.attribute().is_some_and(|(found, _)| found == name)
}

fn is_kept_in_session(line: &Line<'_>) -> bool {
    match line.attribute() {
        Some((b"group", value)) => word(value).0 != b"BUNDLE",
        Some((b"rtcp" | b"rtcp-mux" | b"rtcp-mux-only" | b"crypto" | b"rtpengine", _)) => false,
        Some((name, _)) => !is_direction(line) && !is_transport(name),
        None => false,
    }
}

/// Lines that are neither made anew nor dropped.
fn is_unknown(line: &Line<'_>, profile: Profile) -> bool {
    let Some((name, value)) = line.attribute() else { return false };
    let of_known_payload = || parse_number(word(value).0).is_some();
    match name {
        b"rtpmap" | b"fmtp" => !profile.is_rtp(),
        // `*` is for all.
        b"rtcp-fb" => !of_known_payload(),
        b"mid" | b"label" | b"extmap" | b"rtcp" | b"rtcp-mux" | b"rtcp-mux-only" | b"crypto" | b"ptime"
        | b"maxptime" | b"rtpengine" => false,
        _ => !is_direction(line) && !is_transport(name),
    }
}

/// Attributes of transports that end here, and that would lead around us.
fn is_transport(name: &[u8]) -> bool {
    name.starts_with(b"ice-")
        || matches!(
            name,
            b"candidate"
                | b"remote-candidates"
                | b"end-of-candidates"
                | b"bundle-only"
                | b"fingerprint"
                | b"setup"
                | b"tls-id"
                | b"identity"
                | b"connection"
                | b"source-filter"
                // Capabilities would agree profiles and keys that we do not see (RFC 5939, 6871).
                | b"csup" | b"creq" | b"acap" | b"tcap" | b"pcfg" | b"acfg" | b"rmcap" | b"omcap" | b"mfcap"
                | b"mscap" | b"lcfg" | b"sescap" | b"bcap" | b"ccap" | b"icap"
        )
}
