//! SDPs that stand for the side that is not there: what parties who are heard would offer to one who only hears, and
//! what we answer to one who only speaks. Addresses in them mean nothing: they are replaced before anybody reads them.

use crate::failure::Failure;
use crate::options::CodecName;
use sdp::{Codec, Line, Makeable, Media, Sdp};
use std::io::Write as _;

/// How an answer chooses its codec.
pub(super) struct Choice<'a> {
    /// `codec-accept`: in order of preference, with `all` and `any`.
    pub accept: &'a [CodecName],
    /// What can be decoded.
    pub makeable: &'a [Makeable],
    /// Media goes both ways.
    pub is_both_ways: bool,
}

/// An offer with these m-lines. `is_one`: they are one party's, whose session lines it keeps.
pub(super) fn offer(
    lines: &[(&Sdp<'_>, usize)],
    is_one: bool,
    is_both_ways: bool,
    session_id: u64,
) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::with_capacity(1_024);
    match lines.first().filter(|_| is_one) {
        Some((first, _)) => session_of(first, &mut out),
        None => own_session(session_id, &mut out),
    }
    let direction: &[u8] = if is_both_ways { b"a=sendrecv" } else { b"a=sendonly" };
    for (sdp, number) in lines {
        let media = sdp.media().get(*number).ok_or(Failure::Internal)?;
        for line in media.lines().filter(|line| !is_of_source(line)) {
            // Lines of several parties may have the same names.
            if !is_one && line.attribute().is_some_and(|(name, _)| name == b"mid") {
                continue;
            }
            put(line.text, &mut out);
            if line.letter == b'm' && !is_one {
                put(b"c=IN IP4 127.0.0.1", &mut out);
            }
        }
        if media.rtcp_mux() && media.attribute("rtcp-mux").is_none() {
            put(b"a=rtcp-mux", &mut out);
        }
        put(direction, &mut out);
    }
    Ok(out)
}

/// Our answer to an offer that somebody publishes: one codec for each m-line, which we receive.
///
/// # Errors
/// [`Failure::NoCodecs`] if nothing of any m-line can be taken.
pub(super) fn answer(offer: &[u8], choice: &Choice<'_>) -> Result<Vec<u8>, Failure> {
    let offer = Sdp::parse(offer).map_err(|_| Failure::BadSdp)?;
    let mut out = Vec::with_capacity(512);
    own_session(1, &mut out);
    let mut is_any = false;
    for media in offer.media() {
        is_any |= answer_line(media, choice, &mut out);
    }
    if is_any { Ok(out) } else { Err(Failure::NoCodecs) }
}

fn answer_line(media: &Media<'_>, choice: &Choice<'_>, out: &mut Vec<u8>) -> bool {
    let codecs = media.codecs();
    let taken: Vec<&Codec<'_>> = match media.proto().is_rtp() {
        true => choose(&codecs, media, choice),
        false => Vec::new(),
    };
    let is_taken = media.port() != 0 && (!taken.is_empty() || !media.proto().is_rtp());
    let formats: Vec<String> = match media.proto().is_rtp() && is_taken {
        true => taken.iter().map(|codec| codec.number.to_string()).collect(),
        false => media.formats().map(|format| String::from_utf8_lossy(format).into_owned()).collect(),
    };
    let port = if is_taken { 9 } else { 0 };
    let protocol = String::from_utf8_lossy(media.proto_text()).into_owned();
    line(out, format_args!("m={} {port} {protocol} {}", media.kind().name(), formats.join(" ")));
    line(out, format_args!("c=IN IP4 127.0.0.1"));
    if !is_taken {
        return false;
    }
    for codec in taken.iter().filter(|codec| !codec.name.is_empty()) {
        let channels = if codec.channels > 1 { format!("/{}", codec.channels) } else { String::new() };
        line(out, format_args!("a=rtpmap:{} {}/{}{channels}", codec.number, codec.name, codec.clock));
        if !codec.fmtp.is_empty() {
            line(out, format_args!("a=fmtp:{} {}", codec.number, codec.fmtp));
        }
    }
    if media.rtcp_mux() {
        line(out, format_args!("a=rtcp-mux"));
    }
    line(out, format_args!("{}", if choice.is_both_ways { "a=sendrecv" } else { "a=recvonly" }));
    true
}

/// The codecs that are taken: as `accept` prefers them, else the first that can be decoded.
fn choose<'c, 'a>(codecs: &'c [Codec<'a>], media: &Media<'_>, choice: &Choice<'_>) -> Vec<&'c Codec<'a>> {
    let says = |word: &str| choice.accept.iter().any(|name| name.name.eq_ignore_ascii_case(word));
    let is_makeable = |codec: &Codec<'_>| choice.makeable.iter().any(|makeable| makeable.is(codec));
    let is_speech = |codec: &&Codec<'_>| codec.is_speech() && !codec.is_redundancy();
    if says("all") {
        let kept = |codec: &&Codec<'_>| says("any") || !is_speech(codec) || is_makeable(codec);
        return codecs.iter().filter(kept).collect();
    }
    let preferred = choice.accept.iter().find_map(|wanted| {
        let is = |codec: &&Codec<'_>| {
            wanted.name.eq_ignore_ascii_case(codec.name)
                && wanted.clock.is_none_or(|clock| clock == codec.clock)
                && wanted.channels.is_none_or(|channels| channels == codec.channels)
        };
        codecs.iter().find(is)
    });
    // What is no speech is only passed on: the first of it will do.
    let is_other = media.kind() != sdp::Kind::Audio;
    let first = || {
        let mut speech = codecs.iter().filter(is_speech);
        match says("any") || is_other {
            true => speech.next(),
            false => speech.find(|codec| is_makeable(codec)),
        }
    };
    preferred.or_else(first).into_iter().collect()
}

/// Session lines of a party, without what says where and which way media goes.
fn session_of(sdp: &Sdp<'_>, out: &mut Vec<u8>) {
    let (mut has_name, mut has_time) = (false, false);
    for line in sdp.session_lines().filter(|line| !is_of_source(line) && line.letter != b'a') {
        if line.letter == b't' {
            if !has_name {
                put(b"s=-", out);
            }
            put(b"c=IN IP4 127.0.0.1", out);
            has_time = true;
        }
        has_name |= line.letter == b's';
        put(line.text, out);
    }
    if !has_time {
        put(b"c=IN IP4 127.0.0.1", out);
        put(b"t=0 0", out);
    }
}

fn own_session(session_id: u64, out: &mut Vec<u8>) {
    line(out, format_args!("v=0"));
    line(out, format_args!("o=- {session_id} {session_id} IN IP4 127.0.0.1"));
    line(out, format_args!("s=strowger"));
    line(out, format_args!("t=0 0"));
}

/// Whether a line is about the way to its writer, rather than about what is sent.
fn is_of_source(line: &Line<'_>) -> bool {
    const NAMES: [&[u8]; 18] = [
        b"sendrecv",
        b"sendonly",
        b"recvonly",
        b"inactive",
        b"rtcp",
        b"candidate",
        b"end-of-candidates",
        b"ice-ufrag",
        b"ice-pwd",
        b"ice-options",
        b"ice-lite",
        b"fingerprint",
        b"setup",
        b"tls-id",
        b"ssrc",
        b"ssrc-group",
        b"msid",
        b"group",
    ];
    match line.letter {
        b'c' => true,
        b'a' => line.attribute().is_some_and(|(name, _)| NAMES.contains(&name)),
        _ => false,
    }
}

fn put(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

fn line(out: &mut Vec<u8>, text: core::fmt::Arguments<'_>) {
    // Writing into memory cannot fail.
    let _ = out.write_fmt(text);
    out.extend_from_slice(b"\r\n");
}
